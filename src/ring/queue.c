/* SPDX-License-Identifier: MIT */
/* Purpose: what both sides and both formats share: sizes, layouts, saved positions. Freestanding. */
#include <vio/queue.h>

#include "spec/ring.h"

bool vio_queue_size_ok(uint32_t size, bool packed)
{
    if (size == 0 || size > VIO_QUEUE_SIZE_MAX)
        return false;
    return packed || (size & (size - 1)) == 0;
}

struct vio_queue_layout vio_queue_layout(uint16_t size, bool packed)
{
    if (packed)
        return (struct vio_queue_layout){
            .desc_bytes = VIRTQ_DESC_BYTES((size_t)size),
            .driver_bytes = PVIRTQ_EVENT_BYTES,
            .device_bytes = PVIRTQ_EVENT_BYTES,
            .desc_align = VIRTQ_DESC_ALIGN,
            .driver_align = PVIRTQ_EVENT_ALIGN,
            .device_align = PVIRTQ_EVENT_ALIGN,
        };
    return (struct vio_queue_layout){
        .desc_bytes = VIRTQ_DESC_BYTES((size_t)size),
        .driver_bytes = VIRTQ_AVAIL_BYTES((size_t)size),
        .device_bytes = VIRTQ_USED_BYTES((size_t)size),
        .desc_align = VIRTQ_DESC_ALIGN,
        .driver_align = VIRTQ_AVAIL_ALIGN,
        .device_align = VIRTQ_USED_ALIGN,
    };
}

struct vio_queue_state vio_queue_state_initial(bool packed)
{
    return (struct vio_queue_state){ .avail_wrap = packed, .used_wrap = packed, .used_known = true };
}

uint32_t vio_queue_state_pack(const struct vio_queue_state *s, bool packed)
{
    if (!packed)
        return s->avail_idx;
    return (uint32_t)(s->avail_idx & 0x7fffu) | (s->avail_wrap ? 0x8000u : 0) | (uint32_t)(s->used_idx & 0x7fffu) << 16 |
           (s->used_wrap ? 0x80000000u : 0);
}

void vio_queue_state_unpack(struct vio_queue_state *s, bool packed, uint32_t base)
{
    if (!packed) {
        *s = (struct vio_queue_state){ .avail_idx = (uint16_t)base };
        return;
    }
    *s = (struct vio_queue_state){
        .avail_idx = base & 0x7fffu,
        .avail_wrap = (base & 0x8000u) != 0,
        .used_idx = base >> 16 & 0x7fffu,
        .used_wrap = (base & 0x80000000u) != 0,
        .used_known = true,
    };
}
