/* SPDX-License-Identifier: MIT */
/* Purpose: what vio_net_segment() emits, collected, and judged against the frame it was made of. */
#ifndef VIO_TEST_NET_SEGMENT_HELP_H
#define VIO_TEST_NET_SEGMENT_HELP_H

#include "backend/net_offload.h"
#include "net_frame.h"

enum { PIECES_MAX = 5000 };

struct piece {
    struct vio_net_hdr hdr;
    uint32_t len;
    uint8_t *bytes;
};

struct pieces {
    unsigned nr;
    unsigned stop_after; /* 0: never */
    struct piece piece[PIECES_MAX];
};

/* vio_net_segment() on buffers that end where it may not read or write further. Free with pieces_free(). */
int segment(const struct vio_net_hdr *hdr, const uint8_t *bytes, uint32_t len, unsigned takes, struct pieces *out);
void pieces_free(struct pieces *p);

/* The header that a driver would give with this frame. */
struct vio_net_hdr header_of(const struct frame *f, uint8_t gso_type, uint16_t gso_size);

/* Each fails the test where a piece is not as it must be. */
void check_segments(const struct frame *f, const struct pieces *p, uint32_t size, unsigned takes);
void check_fragments(const struct frame *f, const struct pieces *p, uint32_t size);

#endif
