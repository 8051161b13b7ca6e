/* SPDX-License-Identifier: MIT */
/*
 * Purpose: virtqueues, split and packed, device side (vio_devq) and driver side (vio_drvq), in one shape.
 * Where it sits: ring/. Builds freestanding: memory for a queue is given by the caller, no call allocates.
 * Threads: a queue has one owner thread at a time; no call locks, blocks or makes a system call.
 * Trust: everything in shared memory is fetched once and checked on the copy; what the peer does wrong
 * breaks the queue with an enum vio_fault and nothing else.
 *
 * A queue's configuration (struct vio_queue_cfg, what a transport edits) and a live queue are two types:
 * start validates, aligns and translates the one into the other; stop writes the indices back.
 */
#ifndef VIO_QUEUE_H
#define VIO_QUEUE_H

#include <vio/cursor.h>
#include <vio/fault.h>
#include <vio/features.h>
#include <vio/types.h>

VIO_PUBLIC_BEGIN

struct vio_map;
struct vio_inflight;

enum {
    VIO_QUEUE_SIZE_MAX = 32768,   /* virtio 1.4, 2.7 and 2.8 */
    VIO_QUEUE_BATCH = 64,         /* what the devices take and give at once */
    VIO_REQ_INLINE_SEGS = 4,      /* chains up to this many pieces need no table */
    VIO_CHAIN_INDIRECT_MAX = 1024, /* longest chain taken from an indirect table of a smaller queue */
    VIO_CHAIN_EXTRA_SEGS = 512,   /* pieces beyond that for chains that cross regions */
};

/* Ring positions. packed: offset and wrap counter of each side; split: the wraps are unused. */
struct vio_queue_state {
    uint16_t avail_idx;
    uint16_t used_idx;
    bool avail_wrap;
    bool used_wrap;
    bool used_known; /* split: used_idx is meant; else start reads it from the used ring once */
};

/* The 32-bit form of vhost's vring base and of save files: split avail_idx; packed both with wraps. */
uint32_t vio_queue_state_pack(const struct vio_queue_state *state, bool packed);
void vio_queue_state_unpack(struct vio_queue_state *state, bool packed, uint32_t base);
struct vio_queue_state vio_queue_state_initial(bool packed);

struct vio_queue_cfg {
    uint16_t size;      /* entries; split: a power of two (virtio 1.4, 2.7); packed: any (2.8.10.1) */
    bool ready;         /* the driver has enabled it */
    uint64_t desc;      /* descriptor area, driver area, device area: addresses that `map` translates */
    uint64_t driver;
    uint64_t device;
    bool log_used;      /* also log writes to the device area... */
    uint64_t log_addr;  /* ...at this guest-physical address (vhost's log_guest_addr) */
    struct vio_queue_state state;
};

/* ------------------------------------------------------------------ buffers as a device sees them */

/*
 * One buffer taken from a queue: owned by the device from vio_devq_take() to vio_devq_put(), at a fixed address.
 * Behind it lie the device's own bytes (vio_devq_params.priv_size).
 */
struct vio_req {
    struct vio_reader in;  /* what the driver sent */
    struct vio_writer out; /* where the answer goes */
    uint16_t id;           /* split: head; packed: buffer id */
    uint16_t slots;        /* ring entries it occupies */
    uint16_t index;        /* < queue size, unique among requests in flight */
    uint8_t state_;
    uint16_t big_;        /* segment table it holds, or none */
    uint16_t rec_head_;   /* packed in-flight record: its first and last entry */
    uint16_t rec_last_;
    uint16_t log_nr_;     /* dirty log: writable pieces kept at log_ */
    struct vio_seg *log_;
    struct vio_seg *segs_;
    struct vio_seg inline_[VIO_REQ_INLINE_SEGS];
};

static inline void *vio_req_priv(struct vio_req *req)
{
    return req + 1;
}

/* ------------------------------------------------------------------ device side */

struct vio_devq;

struct vio_devq_params {
    const struct vio_queue_cfg *cfg;
    struct vio_features features;  /* as negotiated */
    const struct vio_map *map;     /* how descriptor and ring addresses translate */
    struct vio_inflight *inflight; /* may be NULL; see ring/inflight.h */
    uint32_t priv_size;            /* bytes behind each request for the device */
    /*
     * Buffers are used in the order in which they were taken, and with INDIRECT_DESC each is one descriptor: then a packed
     * ring that is said to be at its beginning, and is not, is found out (a device that was killed).
     */
    bool find_position;
};

/* Bytes of zeroed, 64-byte aligned memory that a queue of these parameters needs. */
size_t vio_devq_bytes(const struct vio_devq_params *params);
/*
 * Makes a live queue in mem. VIO_FAULT_NONE, or why not: then mem is the caller's again. The size, the alignment
 * and the place of the three areas, and the saved indices are checked here and never again.
 */
enum vio_fault vio_devq_start(void *mem, const struct vio_devq_params *params, struct vio_devq **out) VIO_MUST_CHECK;
/* Ends the queue and writes its indices to state. Requests in flight are forgotten: drain and publish first. */
void vio_devq_stop(struct vio_devq *q, struct vio_queue_state *state);

/*
 * Takes up to max buffers. Fewer, also 0: no more available, the queue is broken (vio_devq_fault), all of vio's
 * segment tables are in use, or a translation is missing (vio_devq_miss).
 */
unsigned vio_devq_take(struct vio_devq *q, struct vio_req **reqs, unsigned max);
/*
 * Takes back the take of the newest n buffers (the last n of those taken, in the order they came, none of them put or
 * written to): they are available again. For queues without an in-flight record.
 */
void vio_devq_untake(struct vio_devq *q, struct vio_req **reqs, unsigned n);
/*
 * The same for all that are available, where they are too few for what waits: arm_kick does not count them until something
 * is taken, and asks for a notification of the next one.
 */
void vio_devq_untake_too_few(struct vio_devq *q, struct vio_req **reqs, unsigned n);
/*
 * The express way, for devices that give buffers back at once (packets): buffers of exactly one direct descriptor, with no
 * struct vio_req. Takes up to max of the next ones, writable or not; stops before one that is anything else (a chain, an
 * indirect table, the other direction, a miss, a fault): take() then deals with that. 0 also while requests are in
 * flight, with an in-flight record, with IN_ORDER, and while writes are logged. Ends with express_put: the first `nr` of
 * the `taken` are used, with lens[] bytes written each (NULL: none), and the rest are available again; nothing else may be done with
 * the queue between.
 */
struct vio_piece {
    uint8_t *base;
    uint32_t len;
    uint16_t id;
};
unsigned vio_devq_express(struct vio_devq *q, struct vio_piece *pieces, unsigned max, bool writable);
void vio_devq_express_put(struct vio_devq *q, const struct vio_piece *pieces, const uint32_t *lens, unsigned nr,
                          unsigned taken);
/* Marks one buffer used with the length its writer counted; invisible to the driver until published. */
void vio_devq_put(struct vio_devq *q, struct vio_req *req);
/* Shows the driver all that was put. True where the driver wants a used buffer notification (2.7.7, 2.8.14). */
bool vio_devq_publish(struct vio_devq *q) VIO_MUST_CHECK;
/*
 * For a notification that was delayed: whether the driver has switched all of them off since; it looks for used buffers
 * itself before it relies on them again. One load; false also where EVENT_IDX of a split queue does not tell.
 */
bool vio_devq_silenced(const struct vio_devq *q);
/*
 * Asks for available buffer notifications. True where buffers are available already, but for those of untake_too_few (the
 * request is then undone): do not sleep. disarm says that none are needed.
 */
bool vio_devq_arm_kick(struct vio_devq *q) VIO_MUST_CHECK;
void vio_devq_disarm_kick(struct vio_devq *q);
/* Whether a take would find something: one load. */
bool vio_devq_pending(const struct vio_devq *q);

unsigned vio_devq_in_flight(const struct vio_devq *q);
/* After start: how many buffers the in-flight record names that an earlier owner took and did not use. */
unsigned vio_devq_recovered(const struct vio_devq *q);
uint16_t vio_devq_size(const struct vio_devq *q);
/* Breaks the queue: nothing more is taken; the first fault stays. detail goes into the message. */
void vio_devq_break(struct vio_devq *q, enum vio_fault fault, uint64_t detail);
enum vio_fault vio_devq_fault(const struct vio_devq *q);
uint64_t vio_devq_fault_detail(const struct vio_devq *q);
/* With ACCESS_PLATFORM: the address whose translation the last take lacked. False: none. Cleared by the next take. */
bool vio_devq_miss(const struct vio_devq *q, uint64_t *iova, unsigned *access);
/* After a change of the map (parked): forgets cached places. The ring areas are found again. */
enum vio_fault vio_devq_map_changed(struct vio_devq *q) VIO_MUST_CHECK;
/* NOTIFICATION_DATA (virtio 1.4, 2.9): checks a 32-bit value from the driver against this queue's shape. */
enum vio_fault vio_devq_check_notify_data(const struct vio_devq *q, uint16_t queue, uint32_t data) VIO_MUST_CHECK;

/* ------------------------------------------------------------------ driver side */

struct vio_drvq;

/* One piece of a buffer, as the device addresses it. */
struct vio_buf {
    uint64_t addr;
    uint32_t len;
};

struct vio_done {
    uint64_t token; /* what put was given */
    uint32_t len;   /* bytes the device says it wrote; <= the writable bytes of the buffer */
};

struct vio_drvq_params {
    uint16_t size;
    struct vio_features features;
    void *desc, *driver, *device;  /* the three areas in the driver's own memory; zeroed by start unless resuming */
    void *indirect;                /* size * indirect_max * 16 bytes for tables, or NULL: never indirect */
    uint64_t indirect_addr;        /* the same as the device addresses it */
    uint16_t indirect_max;         /* descriptors a table holds */
    /*
     * For packets: descriptors are used in turn and not the last free one first. Buffers of one descriptor that come back in
     * their order then leave a split queue's available ring as it is: its lines stay in both sides' caches.
     */
    bool in_turn;
    const struct vio_queue_state *resume; /* NULL: a fresh ring */
};

size_t vio_drvq_bytes(const struct vio_drvq_params *params);
/* -EINVAL: a size the format does not allow, or a misaligned area. mem: zeroed, 64-byte aligned. */
int vio_drvq_start(void *mem, const struct vio_drvq_params *params, struct vio_drvq **out) VIO_MUST_CHECK;

/*
 * Adds one buffer: nr_r device-readable pieces, then nr_w device-writable ones, nr_r + nr_w >= 1. Invisible to the
 * device until published. -ENOSPC: no room; -EINVAL: no piece, an empty one, more than the queue may hold, or more
 * than 2^32 bytes (virtio 1.4, 2.7.5.2); -EIO: broken.
 */
int vio_drvq_put(struct vio_drvq *q, const struct vio_buf *bufs, unsigned nr_r, unsigned nr_w, uint64_t token)
    VIO_MUST_CHECK;
/*
 * The express way, for packets: up to n buffers of one direct descriptor each, all device-readable or all device-writable.
 * Returns how many were put: fewer where no descriptor is free, at an empty one, or where the queue is broken. For the rest as put.
 */
struct vio_packet {
    uint64_t addr;
    uint64_t token;
    uint32_t len;
};
unsigned vio_drvq_express_put(struct vio_drvq *q, const struct vio_packet *packets, unsigned n, bool writable) VIO_MUST_CHECK;
/* Takes back what was put since the last publish. */
void vio_drvq_rewind(struct vio_drvq *q);
/* Shows the device all that was put; true where it wants an available buffer notification. */
bool vio_drvq_publish(struct vio_drvq *q) VIO_MUST_CHECK;
/* Used buffers, at most max. A fault (bad id, bad length...) breaks the queue: fewer are returned. */
unsigned vio_drvq_collect(struct vio_drvq *q, struct vio_done *done, unsigned max);
bool vio_drvq_pending(const struct vio_drvq *q);
/* Asks for used buffer notifications; true where used buffers are there already. */
bool vio_drvq_arm_call(struct vio_drvq *q) VIO_MUST_CHECK;
void vio_drvq_disarm_call(struct vio_drvq *q);
/* The 32-bit value for NOTIFICATION_DATA (virtio 1.4, 2.9): queue index, next_off, next_wrap. */
uint32_t vio_drvq_notify_data(const struct vio_drvq *q, uint16_t queue);
/* After the device is reset, at the end of this queue: one token of a buffer still in flight; false: none is left. */
bool vio_drvq_detach(struct vio_drvq *q, uint64_t *token);
unsigned vio_drvq_in_flight(const struct vio_drvq *q);
unsigned vio_drvq_free(const struct vio_drvq *q); /* descriptors free */
struct vio_queue_state vio_drvq_state(const struct vio_drvq *q);
enum vio_fault vio_drvq_fault(const struct vio_drvq *q);
/* Breaks the queue, for what a driver finds in its buffers: the first fault stays. */
void vio_drvq_break(struct vio_drvq *q, enum vio_fault fault);

/* Bytes of the three areas for a queue of `size` (virtio 1.4, 2.7 and 2.8.10.1), and their alignment. */
struct vio_queue_layout {
    size_t desc_bytes, driver_bytes, device_bytes;
    size_t desc_align, driver_align, device_align;
};
struct vio_queue_layout vio_queue_layout(uint16_t size, bool packed);
/* Whether the format allows this size. */
bool vio_queue_size_ok(uint32_t size, bool packed);

VIO_PUBLIC_END

#endif
