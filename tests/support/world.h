/* SPDX-License-Identifier: MIT */
/*
 * Purpose: vio's driver side and vio's device side on one queue in one process, one step of one side at a time in an
 * order that a seed decides. A side sleeps only when arming said that it may, and wakes only when notified: a lost
 * notification ends in "both asleep". Every byte, order, length, count and notification decision is compared
 * with what a plain list says. On a difference the program ends with the run's name and seed.
 */
#ifndef VIO_TEST_WORLD_H
#define VIO_TEST_WORLD_H

#include <vio/queue.h>

#include "ring/inflight.h"
#include "support/guest.h"
#include "support/rng.h"

struct world_cfg {
    uint16_t size;
    bool packed, indirect, event_idx, in_order;
    bool inflight;     /* keep an in-flight record */
    bool tiny;         /* memory in many small regions */
    bool in_turn;      /* the driver uses descriptors in turn */
    bool express;      /* and puts bursts of buffers of one piece the express way, among the others */
    uint16_t table_max;
    uint16_t pieces;   /* most in one buffer */
    uint32_t piece;    /* most bytes in one piece */
    uint32_t payload;  /* bytes of memory for buffers */
    uint32_t buffers;  /* the run ends when so many came back */
    uint16_t start;    /* first index (split), first position (packed) */
    uint64_t seed;
    /* per 1000 steps */
    unsigned restart, crash, reset, migrate, remap;
    /* per 1000 notifications, and per 1000 steps */
    unsigned delay, spurious;
};

struct world_result {
    uint64_t steps, kicks, calls, crashes, restarts, resets, migrations, remaps, pages;
};

void world_run(const struct world_cfg *cfg, struct world_result *result);

/* ------------------------------------------------------------------ inside */

enum buf_state { BUF_NONE, BUF_FRESH, BUF_AVAIL, BUF_TAKEN, BUF_PUT, BUF_USED };

struct world_buf {
    enum buf_state state;
    uint64_t token, seq; /* seq: when it was taken */
    struct world_buf *older, *newer; /* taken and not yet visible, in the order of taking */
    struct vio_buf *piece;
    unsigned nr_r, nr_w;
    uint32_t len_r, len_w, slots;
    uint8_t *in, *out; /* what the device must find; what the driver must find */
    uint32_t len;      /* what the device must be said to have written */
    struct vio_req *req;
};

/* What one side's notifications from the other must be like now. */
enum wish { WISH_ANY, WISH_ALWAYS, WISH_ONCE, WISH_NEVER, WISH_NEVER_SOFT };

struct world_side {
    bool asleep, armed;
    enum wish wish;
    uint32_t since;  /* units published since the wish was met */
    uint64_t due;    /* when a notification under way arrives; 0: none */
};

struct world {
    struct world_cfg cfg;
    struct rng rng;
    struct vio_features features;
    struct guest *guest;
    struct vio_drvq *drv;
    struct vio_devq *dev;
    void *drv_mem, *dev_mem;
    size_t drv_bytes, dev_bytes;
    struct vio_queue_cfg queue;
    struct vio_inflight inflight;
    void *record;
    struct world_side driver_side, device_side;
    uint64_t now;

    struct world_buf *buf;   /* size of them, by token % size */
    uint32_t *idle, nr_idle; /* those not in use */
    uint32_t *fifo, fifo_head, fifo_nr, fifo_room; /* available, in order */
    uint32_t *held, nr_held; /* taken, not put */
    uint32_t too_few;        /* of the fifo, what the device has seen and waits for more of */
    struct world_buf *oldest, *newest; /* taken, not yet visible */
    uint32_t *fresh, nr_fresh;
    uint64_t seq;
    uint32_t nr_used;        /* visible to the driver */
    uint32_t nr_put;         /* put, not visible */
    uint32_t slots;          /* descriptors in use */
    bool unpublished;
    uint64_t serial, done;
    uint32_t pub_units;      /* units (split: buffers, packed: descriptors) not yet published */
    uint16_t pub_idx;        /* where the driver's published position must be */
    bool pub_wrap;
    uint8_t *shadow;         /* payload as it must be when nothing is in flight */
    uint8_t *scratch;

    /* migration under way */
    bool logging;
    uint32_t log_steps;
    int log_fd;
    uint8_t *log;
    uint64_t log_bytes;
    uint8_t *before, *after; /* images */
    uint8_t *by_device, *by_driver; /* pages that one side changed */
    struct guest *next;

    struct world_result result;
};

/* Where a new queue starts, in the words of the transport. */
void world_start_dev(struct world *w, const struct vio_queue_state *state, bool fresh_record);
void world_stop_dev(struct world *w, struct vio_queue_state *state);
void world_start_drv(struct world *w, const struct vio_queue_state *resume);
void world_complete_all(struct world *w);
void world_collect_all(struct world *w);
void world_dev_publish(struct world *w);
void world_rewind(struct world *w);
void world_forget(struct world *w, struct world_buf *b);
/* Out of the list of what was taken and is not visible. */
void world_unlink(struct world *w, struct world_buf *b);
void world_wake(struct world *w, struct world_side *side);
/* Compares a notification decision over `units` published entries with the other side's wish. */
void world_check_told(struct world *w, struct world_side *side, bool told, uint32_t units);
/* A side armed, and was told whether something is pending; a side disarmed. */
void world_armed(struct world *w, struct world_side *side, bool pending);
void world_disarmed(struct world *w, struct world_side *side, bool device);
/* world_device.c: one step of the device. */
void world_dev_step(struct world *w);
/* world_faults.c: one step of trouble, if it is the time for it. True: this step is used up. */
bool world_trouble(struct world *w);
/* Around every step while writes are logged. */
void world_log_before(struct world *w);
void world_log_after(struct world *w, bool device);

#endif
