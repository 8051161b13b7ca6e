/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the wire layout of split and packed virtqueues (virtio 1.4, 2.7 and 2.8).
 * Where it sits: spec/. Layout only; nobody but ring/ dereferences these in shared memory.
 */
#ifndef VIO_SPEC_RING_H
#define VIO_SPEC_RING_H

#include <vio/types.h>

/* virtio 1.4, 2.7.5 and 2.8: descriptor flags */
#define VIRTQ_DESC_F_NEXT 1u
#define VIRTQ_DESC_F_WRITE 2u
#define VIRTQ_DESC_F_INDIRECT 4u
#define VIRTQ_DESC_F_AVAIL 0x80u   /* packed */
#define VIRTQ_DESC_F_USED 0x8000u  /* packed */

/* virtio 1.4, 2.7.5: 16-byte aligned table of these */
struct virtq_desc {
    vio_le64 addr;
    vio_le32 len;
    vio_le16 flags;
    vio_le16 next;
};

/* virtio 1.4, 2.7.6: flags, idx, ring[size], used_event; 2-byte aligned */
#define VIRTQ_AVAIL_F_NO_INTERRUPT 1u
#define VIRTQ_AVAIL_FLAGS 0u
#define VIRTQ_AVAIL_IDX 2u
#define VIRTQ_AVAIL_RING 4u
#define VIRTQ_AVAIL_USED_EVENT(size) (4u + 2u * (size))
#define VIRTQ_AVAIL_BYTES(size) (6u + 2u * (size))

/* virtio 1.4, 2.7.8: flags, idx, {id, len}[size], avail_event; 4-byte aligned */
#define VIRTQ_USED_F_NO_NOTIFY 1u
#define VIRTQ_USED_FLAGS 0u
#define VIRTQ_USED_IDX 2u
#define VIRTQ_USED_RING 4u
#define VIRTQ_USED_AVAIL_EVENT(size) (4u + 8u * (size))
#define VIRTQ_USED_BYTES(size) (6u + 8u * (size))

struct virtq_used_elem {
    vio_le32 id;
    vio_le32 len;
};

/* virtio 1.4, 2.8.13: 16-byte aligned ring of these */
struct pvirtq_desc {
    vio_le64 addr;
    vio_le32 len;
    vio_le16 id;
    vio_le16 flags;
};

/* virtio 1.4, 2.8.14: event suppression; desc = {off:15, wrap:1}, flags = {flags:2, reserved:14} */
struct pvirtq_event {
    vio_le16 desc;
    vio_le16 flags;
};
#define VIRTQ_EVENT_F_ENABLE 0u
#define VIRTQ_EVENT_F_DISABLE 1u
#define VIRTQ_EVENT_F_DESC 2u
#define VIRTQ_EVENT_WRAP 0x8000u

#define VIRTQ_DESC_BYTES(size) (16u * (size))
#define PVIRTQ_EVENT_BYTES 4u

/* Alignment of the three parts: descriptor area, driver area, device area (virtio 1.4, 2.7 and 2.8.10.1) */
#define VIRTQ_DESC_ALIGN 16u
#define VIRTQ_AVAIL_ALIGN 2u
#define VIRTQ_USED_ALIGN 4u
#define PVIRTQ_EVENT_ALIGN 4u

/* Whether the areas of a split queue lie as the legacy layout has them: a device gets one address (virtio 1.4, 2.7.2). */
static inline bool virtq_in_one_piece(uint16_t size, uint64_t desc, uint64_t driver, uint64_t device, uint64_t align)
{
    uint64_t end = driver + VIRTQ_AVAIL_BYTES((uint64_t)size);

    return desc % align == 0 && driver == desc + VIRTQ_DESC_BYTES((uint64_t)size) &&
           device == (end + align - 1) / align * align;
}

_Static_assert(sizeof(struct virtq_desc) == 16, "virtio 1.4, 2.7.5");
_Static_assert(sizeof(struct pvirtq_desc) == 16, "virtio 1.4, 2.8.13");
_Static_assert(sizeof(struct virtq_used_elem) == 8, "virtio 1.4, 2.7.8");
_Static_assert(sizeof(struct pvirtq_event) == 4, "virtio 1.4, 2.8.14");

#endif
