/* SPDX-License-Identifier: MIT */
/* A host number has no endianness to take off. */
#include <vio/types.h>

uint32_t twice(uint32_t host, vio_le32 wire);
uint32_t twice(uint32_t host, vio_le32 wire)
{
#ifdef GOOD
    return host + vio_cpu(wire);
#else
    return vio_cpu(host) + vio_cpu(wire);
#endif
}
