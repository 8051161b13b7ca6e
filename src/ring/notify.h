/* SPDX-License-Identifier: MIT */
/*
 * Purpose: whether the other side wants to be told, the same rule in both directions (virtio 1.4, 2.7.7, 2.7.10, 2.8.14).
 * Where it sits: ring/, private, freestanding. Trust: the peer's wish is one load; any value of it is answered.
 */
#ifndef VIO_RING_NOTIFY_H
#define VIO_RING_NOTIFY_H

#include "memory/shm.h"
#include "spec/ring.h"

/* Whether the entry `event` is among the n that end before idx; all modulo 2^16. */
static inline bool vio_event_hit(uint16_t event, uint16_t idx, uint16_t n)
{
    return (uint16_t)(idx - event - 1) < n;
}

/* The packed form: the peer's event suppression structure, after n entries that end before idx under this wrap counter. */
static inline bool vio_packed_wanted(struct vio_shm peer, uint16_t size, uint16_t idx, bool wrap, uint16_t n,
                                     bool event_idx)
{
    uint32_t wish = vio_shm_load32(peer, 0);
    uint16_t event = (uint16_t)(wish & 0x7fff);

    switch (wish >> 16 & 3) {
    case VIRTQ_EVENT_F_DISABLE:
        return false;
    case VIRTQ_EVENT_F_DESC:
        if (!event_idx)
            return true;
        break;
    default: /* ENABLE; and for the reserved value one notification too many is the safe answer */
        return true;
    }
    if (((wish & VIRTQ_EVENT_WRAP) != 0) != wrap)
        event = (uint16_t)(event - size);
    return vio_event_hit(event, idx, n);
}

#endif
