/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a network device and a driver without manners: it writes any descriptors into the rings of either queue. For the
 * hostile tests. Threads: one.
 */
#ifndef VIO_TESTS_HOSTILE_NET_VICTIM_H
#define VIO_TESTS_HOSTILE_NET_VICTIM_H

#include "net_tape.h"
#include "rig.h"
#include "spec/net.h"
#include "spec/ring.h"
#include "spec/virtio.h"
#include "support/guest.h"
#include "support/le.h"

enum { SIZE = 128, RX = 0, TX = 1, HDR = VIRTIO_NET_HDR_BYTES, FRAME = 60, TABLE = 4096, BUF = 32768, PAGE = 160 << 10 };

#define N VIRTQ_DESC_F_NEXT
#define W VIRTQ_DESC_F_WRITE
#define I VIRTQ_DESC_F_INDIRECT

/* 8 variants: split and packed, buffers merged, frames looked at. */
struct victim {
    struct rig rig;
    struct net_tape tape;
    bool packed, mergeable, look; /* look: frames are filtered, so received ones do not take the express way */
    struct rig_at page;           /* a packet at 0, tables at TABLE, buffers from BUF */
    uint64_t ring_from;
    uint16_t queue, at, avail;
};

void victim_open(struct victim *v, unsigned variant);
void victim_close(struct victim *v);
/* Reset, and new rings; what follows is about this queue. The page holds a header and a frame to all. */
void victim_start(struct victim *v, uint16_t queue);

/* The second word of a descriptor or a table's entry. */
uint64_t victim_word_of(const struct victim *v, uint32_t len, unsigned flags, unsigned next);
/* The next descriptor; split: with `next` naming the one behind it. Packed: it is available. */
void victim_desc(struct victim *v, uint64_t addr, uint32_t len, unsigned flags);
/* Split: makes a head available. */
void victim_offer(struct victim *v, uint16_t head);
/* One descriptor that is a buffer. */
void victim_single(struct victim *v, uint64_t addr, uint32_t len, unsigned flags);
/* `pieces` table entries of `step` bytes each from addr on, and the table as one buffer. */
void victim_table(struct victim *v, uint64_t addr, uint32_t step, unsigned pieces, unsigned flags);
/* How many buffers were used (packed: of single descriptors). */
uint16_t victim_used(const struct victim *v);
/* len bytes of the page's frame to the driver, through the sink; whether they are gone. */
bool victim_deliver(struct victim *v, uint32_t len);
/* A good packet each way, on fresh rings. */
void victim_works(struct victim *v);

#endif
