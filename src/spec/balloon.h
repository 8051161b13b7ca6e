/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the traditional balloon device's wire layout and constants (virtio 1.4, 5.5). Where it sits: spec/.
 */
#ifndef VIO_SPEC_BALLOON_H
#define VIO_SPEC_BALLOON_H

#include <vio/types.h>

/* virtio 1.4, 5.5.2: queues. Linux and QEMU count only those that there are. */
#define VIRTIO_BALLOON_INFLATEQ 0u
#define VIRTIO_BALLOON_DEFLATEQ 1u
#define VIRTIO_BALLOON_STATSQ 2u
#define VIRTIO_BALLOON_FREE_PAGE_VQ 3u
#define VIRTIO_BALLOON_REPORTING_VQ 4u

/* virtio 1.4, 5.5.3: feature bits */
#define VIRTIO_BALLOON_F_MUST_TELL_HOST 0
#define VIRTIO_BALLOON_F_STATS_VQ 1
#define VIRTIO_BALLOON_F_DEFLATE_ON_OOM 2
#define VIRTIO_BALLOON_F_FREE_PAGE_HINT 3
#define VIRTIO_BALLOON_F_PAGE_POISON 4
#define VIRTIO_BALLOON_F_PAGE_REPORTING 5

/* virtio 1.4, 5.5.4: device configuration, little-endian also on the legacy interface */
struct virtio_balloon_config {
    vio_le32 num_pages;
    vio_le32 actual;
    vio_le32 free_page_hint_cmd_id;
    vio_le32 poison_val;
};
_Static_assert(sizeof(struct virtio_balloon_config) == 16, "virtio 1.4, 5.5.4");

#define VIRTIO_BALLOON_PFN_SHIFT 12u

/* virtio 1.4, 5.5.6.3: statistics */
struct virtio_balloon_stat {
    vio_le16 tag;
    vio_le64 val;
} __attribute__((packed));
_Static_assert(sizeof(struct virtio_balloon_stat) == 10, "virtio 1.4, 5.5.6.3");

#define VIRTIO_BALLOON_S_SWAP_IN 0u
#define VIRTIO_BALLOON_S_SWAP_OUT 1u
#define VIRTIO_BALLOON_S_MAJFLT 2u
#define VIRTIO_BALLOON_S_MINFLT 3u
#define VIRTIO_BALLOON_S_MEMFREE 4u
#define VIRTIO_BALLOON_S_MEMTOT 5u
#define VIRTIO_BALLOON_S_AVAIL 6u
#define VIRTIO_BALLOON_S_CACHES 7u
#define VIRTIO_BALLOON_S_HTLB_PGALLOC 8u
#define VIRTIO_BALLOON_S_HTLB_PGFAIL 9u

/* virtio 1.4, 5.5.6.5: free page hinting; from 2 on a command is live */
#define VIRTIO_BALLOON_CMD_ID_STOP 0u
#define VIRTIO_BALLOON_CMD_ID_DONE 1u
#define VIRTIO_BALLOON_CMD_ID_MIN 2u

#endif
