/* SPDX-License-Identifier: MIT */
/* Shared bytes are loaded through the handle's functions, not dereferenced. */
#include "memory/shm.h"

uint16_t first(struct vio_shm ring);
uint16_t first(struct vio_shm ring)
{
#ifdef GOOD
    return vio_shm_load16(ring, 2);
#else
    return ((const uint16_t *)ring)[1];
#endif
}
