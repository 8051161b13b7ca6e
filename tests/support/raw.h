/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a driver with no scruples: writes any bytes into the ring of a live device-side queue (or, as a device, into
 * that of a live driver-side queue).
 */
#ifndef VIO_TEST_RAW_H
#define VIO_TEST_RAW_H

#include <vio/queue.h>

#include "ring/inflight.h"
#include "spec/ring.h"
#include "spec/virtio.h"
#include "support/guest.h"
#include "le.h"

enum { RAW_TABLE = 65536, RAW_PAYLOAD = 1 << 20 };

struct raw {
    struct guest *g;
    uint16_t size;
    bool packed;
    struct vio_features features;
    struct vio_queue_cfg cfg;
    struct vio_devq *q;
    void *mem;
    size_t bytes;
    bool find_position; /* for the next start */
    void *record; /* in-flight record, or NULL */
    struct vio_inflight inflight;
    uint16_t at;  /* split: next available index; packed: next position */
    bool wrap;
};

/* bits: feature bits beside VERSION_1; RING_PACKED among them chooses the format. */
void raw_open(struct raw *r, uint16_t size, uint64_t bits, bool record);
void raw_close(struct raw *r);
/* The ring zeroed and the queue started; resume: from these indices, with the ring and the record as they are. */
void raw_start(struct raw *r);
enum vio_fault raw_resume(struct raw *r, const struct vio_queue_state *state);
struct vio_queue_state raw_stop(struct raw *r);
/* The process is gone. */
void raw_crash(struct raw *r);

static inline uint64_t raw_at(const struct raw *r, uint64_t offset)
{
    return r->g->payload + offset;
}

/* Split: entry i of the table, entry `at` of the available ring, the index. */
void raw_desc(struct raw *r, uint32_t i, uint64_t addr, uint32_t len, uint32_t flags, uint32_t next);
void raw_avail(struct raw *r, uint16_t head);
void raw_avail_idx(struct raw *r, uint16_t idx);
/* Packed: position i with the flags for this lap added; raw_packed_at writes the word as it is. */
void raw_packed_at(struct raw *r, uint32_t i, uint64_t addr, uint32_t len, uint32_t id, uint32_t flags);
/* Packed: at the next position, available in this lap. */
void raw_packed(struct raw *r, uint64_t addr, uint32_t len, uint32_t id, uint32_t flags);
static inline uint32_t raw_avail_flags(bool wrap)
{
    return wrap ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED;
}
/* Entry i of the table area, in either format's layout. */
void raw_table(struct raw *r, uint32_t i, uint64_t addr, uint32_t len, uint32_t flags, uint32_t next);
/* One good buffer of 16 readable and 16 writable bytes, with this head or id, in whichever format. */
void raw_good(struct raw *r, uint16_t id);

/* Takes everything, expecting `count` buffers and this fault afterwards. */
void raw_expect(struct raw *r, unsigned count, enum vio_fault fault);

#endif
