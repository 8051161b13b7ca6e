/* SPDX-License-Identifier: MIT */
/* A 16-bit field does not take a 32-bit number from the wire. */
#include <vio/types.h>

vio_le16 narrow(vio_le32 length);
vio_le16 narrow(vio_le32 length)
{
#ifdef GOOD
    return vio_le16_of((uint16_t)vio_cpu(length));
#else
    return length;
#endif
}
