/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the device core, where device types and transports meet: status machine, features, configuration
 * space, queues, faults, save and load (virtio 1.4, chapter 2 and 3.1).
 * Where it sits: device/core. A transport calls down with what the driver or front-end asked; the core calls the
 * device type; the core calls up to the transport through struct vio_device_transport_ops.
 * Threads: one control thread owns a device: every function here is its, unless it says "owner thread". A running
 * queue belongs to one owner thread (a worker of the embedder). With no host operations given, control thread
 * and owner are one and the embedder calls vio_device_queue_service() itself.
 */
#ifndef VIO_DEVICE_H
#define VIO_DEVICE_H

#include <vio/fault.h>
#include <vio/features.h>
#include <vio/log.h>
#include <vio/memory.h>
#include <vio/queue.h>

VIO_PUBLIC_BEGIN

enum { VIO_DEVICE_QUEUES_MAX = 256, VIO_DEVICE_CONFIG_MAX = 4096 };

struct vio_device;
struct vio_state; /* a saved device, see below */

/*
 * What a device type is: data that the core enforces, then a few calls. `self` is what the type's create
 * function gave to vio_device_create().
 */
struct vio_device_type {
    const char *name; /* "blk" */
    uint16_t id;      /* virtio 1.4, 5 */
    uint16_t queue_size_max;
    uint32_t config_size;
    uint32_t req_priv_size; /* bytes behind each struct vio_req */
    bool no_inflight;       /* its requests need no record for restarts: what was taken and not used is taken again */

    /* Names the missing dependency where the driver's set of device-type bits cannot be (virtio 1.4, 2.2.2); NULL: fine. */
    const char *(*features_refused)(void *self, struct vio_features features);
    /* FEATURES_OK was accepted: features are final until reset. */
    void (*negotiated)(void *self, struct vio_features features);
    /* DRIVER_OK; queues start after it. */
    int (*activate)(void *self);
    /* All queues have stopped and no request is in flight. Back to the state before activate; cannot fail. */
    void (*reset)(void *self);
    /* The driver wrote [offset, offset + len) of the configuration; the bytes are already in place. */
    void (*config_written)(void *self, uint32_t offset, uint32_t len);
    /* Whether the driver may write this range at all now. NULL: never. */
    bool (*config_writable)(void *self, uint32_t offset, uint32_t len);
    void (*destroy)(void *self);

    /* Owner thread. queue: before the first service and after the last one (nothing in flight then). */
    int (*queue_enter)(void *self, uint16_t queue, struct vio_devq *vq);
    void (*queue_leave)(void *self, uint16_t queue);
    /* The memory map changed while this queue was parked: pieces registered elsewhere are stale. NULL: none are. */
    void (*queue_map_changed)(void *self, uint16_t queue);
    /*
     * Finishes what the backend has finished, then takes at most `budget` new buffers (0: none) and serves them.
     * Returns how many buffers were taken or finished: 0 means there was nothing to do. Puts and publishes itself,
     * the latter through vio_device_publish().
     */
    unsigned (*service)(void *self, uint16_t queue, unsigned budget);
    /*
     * The queue is being suspended: no request need finish any more. The type asks its backend to give back what it
     * can; a request that was not done and never will be is given up with vio_device_abandon(). May be NULL.
     */
    void (*queue_cancel)(void *self, uint16_t queue);
    /*
     * Whether an available buffer notification would mean anything now. NULL: always. A queue whose buffers wait for
     * something else (packets) says false, and is not kept awake by them.
     */
    bool (*queue_wants_kick)(void *self, uint16_t queue);
    /* The queue must not be touched (true), or may be again: for a type that touches one queue while another is served. */
    void (*queue_parked)(void *self, uint16_t queue, bool parked);
    /* A descriptor that polls readable when service has something of the backend's to finish; -1: never. */
    int (*queue_fd)(void *self, uint16_t queue);
    /* About to sleep (true) or awake (false): whether queue_fd must signal. True back: finished work waits, do not sleep. */
    bool (*queue_arm)(void *self, uint16_t queue, bool sleep);
    /* Control thread: the driver has disabled the queue (virtio 1.4, 2.6.1); it has left. What it set for it is void. */
    void (*queue_reset)(void *self, uint16_t queue);
    /* Queues of one lane must have one owner thread; different lanes may have different ones. NULL: each queue is by itself. */
    unsigned (*queue_lane)(void *self, uint16_t queue);
    /* Control thread, after vio_device_ask(): all queues are parked, so that anything of any lane's may be changed. */
    void (*control)(void *self);

    /* Device-type state beyond what the core saves (status, features, queues, configuration). May be NULL. */
    int (*save)(void *self, struct vio_state *state);
    int (*load)(void *self, struct vio_state *state);
};

/* What the core asks of whoever carries the device to its driver. ctx is what attach was given. */
struct vio_device_transport_ops {
    /* Owner thread: a used buffer notification for this queue. */
    void (*used)(void *ctx, uint16_t queue);
    /* Control thread. */
    void (*config_changed)(void *ctx);
    void (*needs_reset)(void *ctx, uint16_t queue, enum vio_fault fault);
    /* Control thread: a translation is missing (ACCESS_PLATFORM); ask for it. */
    void (*iotlb_miss)(void *ctx, uint16_t queue, uint64_t iova, unsigned access);
    /* The descriptor whose readiness is an available buffer notification; -1: none, poll. */
    int (*kick_fd)(void *ctx, uint16_t queue);
};

/* What the core asks of the embedder's threads. All called on the control thread. */
struct vio_host_ops {
    /* The queue is live: have its owner call vio_device_queue_enter(), then serve it. */
    int (*attach)(void *ctx, struct vio_device *dev, uint16_t queue);
    /*
     * The owner stops taking, serves until nothing is in flight, calls vio_device_queue_leave() and forgets the
     * queue; returns after that.
     */
    void (*detach)(void *ctx, struct vio_device *dev, uint16_t queue);
    /* The owner does not touch the queue between the return of park and unpark; requests may be in flight. */
    void (*park)(void *ctx, struct vio_device *dev, uint16_t queue);
    void (*unpark)(void *ctx, struct vio_device *dev, uint16_t queue);
    /* Any thread: have the control thread call vio_device_control() soon. */
    void (*wake)(void *ctx, struct vio_device *dev);
};

struct vio_device_params {
    const struct vio_device_type *type;
    void *self;              /* handed back to the type's calls; destroyed with the device */
    const char *name;        /* for the log; copied */
    uint16_t queues;
    struct vio_features features;  /* device-type bits offered */
    struct vio_features ring_mask; /* ring bits NOT to offer (a user's `packed=off`) */
    struct vio_features ring_add;  /* ring bits to offer beside the core's own; see vio_device_offered() */
    const struct vio_log *log;    /* borrowed */
    const struct vio_host_ops *host; /* may be NULL */
    void *host_ctx;
};

int vio_device_create(const struct vio_device_params *params, struct vio_device **out) VIO_MUST_CHECK;
void vio_device_destroy(struct vio_device *dev); /* resets first; NULL is fine */

const char *vio_device_name(const struct vio_device *dev);
const struct vio_device_type *vio_device_type(const struct vio_device *dev);
void *vio_device_self(const struct vio_device *dev); /* for the type itself */
const struct vio_log *vio_device_log(const struct vio_device *dev);
uint16_t vio_device_queues(const struct vio_device *dev);
struct vio_memory *vio_device_memory(struct vio_device *dev); /* owned by the device */

/* ---- for transports: what the driver or the front-end does */

/* No queue goes live without a transport. One at a time: attaching replaces none. All queues are enabled then. */
void vio_device_attach(struct vio_device *dev, const struct vio_device_transport_ops *ops, void *ctx);
void vio_device_detach(struct vio_device *dev); /* resets, and forgets what the transport added to the features */

/*
 * What is offered: the type's bits, VERSION_1, INDIRECT_DESC, EVENT_IDX, RING_PACKED and RING_RESET, less the user's
 * ring_mask. IN_ORDER only where ring_add asks: requests that finish out of order must then be held back. What only a
 * transport can keep (ACCESS_PLATFORM, NOTIFICATION_DATA...) is offered where it says so below.
 */
struct vio_features vio_device_offered(const struct vio_device *dev);
/*
 * For the transport that is attached: `add` what it can carry of ACCESS_PLATFORM, ORDER_PLATFORM, SR_IOV,
 * NOTIFICATION_DATA, NOTIF_CONFIG_DATA (other bits are ignored), `remove` what it cannot (VERSION_1 stays).
 * -EBUSY: after FEATURES_OK.
 */
int vio_device_transport_features(struct vio_device *dev, struct vio_features add, struct vio_features remove)
    VIO_MUST_CHECK;
/* What FEATURES_OK accepted; none before. */
struct vio_features vio_device_negotiated(const struct vio_device *dev);
/*
 * The driver's choice; kept until FEATURES_OK judges it. -EPROTO: bits not offered (the rest is not taken
 * either); -EBUSY: another choice after FEATURES_OK.
 */
int vio_device_set_features(struct vio_device *dev, struct vio_features features) VIO_MUST_CHECK;

uint8_t vio_device_status(const struct vio_device *dev);
/*
 * A write of the status field (virtio 1.4, 2.1 and 3.1.1). 0 resets. Several steps may come in one write. FEATURES_OK
 * stays clear where the features cannot be (2.2.2): that is 0 with a line in the log, and the driver sees it when it
 * reads back. DRIVER_OK starts the queues that are ready. -EPROTO with a line in the log: a bit cleared, a step
 * before its time, anything but a reset after FAILED; of a write that is refused nothing is taken. Bits that are not
 * the driver's to set (NEEDS_RESET, undefined ones) are ignored. A transport without a status field writes it for
 * its driver.
 */
int vio_device_set_status(struct vio_device *dev, uint8_t status) VIO_MUST_CHECK;
/* Ends every request, stops every queue, forgets features and status; memory stays. Cannot fail. */
void vio_device_reset(struct vio_device *dev);

/* Configuration space: bounded copies. -EINVAL: out of [0, config_size); -EACCES: not writable, or before FEATURES_OK. */
int vio_device_config_read(const struct vio_device *dev, uint32_t offset, void *to, uint32_t len) VIO_MUST_CHECK;
int vio_device_config_write(struct vio_device *dev, uint32_t offset, const void *from, uint32_t len) VIO_MUST_CHECK;
uint32_t vio_device_config_generation(const struct vio_device *dev);
/* For device types: new bytes; the generation moves and, after DRIVER_OK, the transport notifies (2.5.2). */
void vio_device_config_set(struct vio_device *dev, uint32_t offset, const void *from, uint32_t len, bool notify);
/*
 * For device types, owner thread: what the driver asked for through a queue, in place before the buffer is put. The driver
 * knows; nobody is notified.
 */
void vio_device_config_patch(struct vio_device *dev, uint32_t offset, const void *from, uint32_t len);
/* For device types, any thread: bits of one byte, in one step. notify: from the control thread only. */
void vio_device_config_bits(struct vio_device *dev, uint32_t offset, uint8_t clear, uint8_t set, bool notify);

/* The configuration of a queue, for a transport to edit while the queue is stopped. NULL: no such queue. */
struct vio_queue_cfg *vio_device_queue_cfg(struct vio_device *dev, uint16_t queue);
/*
 * Enabled (vhost-user SET_VRING_ENABLE): a queue that is disabled takes nothing; requests in flight still end. Queues
 * are enabled until a transport says otherwise, also across stop and reset.
 */
int vio_device_queue_enable(struct vio_device *dev, uint16_t queue, bool enabled) VIO_MUST_CHECK;
/* What the queue keeps for crash recovery, given before start; borrowed until the queue stops. NULL: nothing. */
void vio_device_queue_inflight(struct vio_device *dev, uint16_t queue, struct vio_inflight *inflight);
/*
 * The queue is ready: it starts now or, before DRIVER_OK and while memory changes, as soon as that is over. -EINVAL
 * with the fault said and raised where its configuration is wrong; or what the type's queue_enter failed with. With
 * an IOMMU, a queue whose areas have no mapping yet asks for it and starts when it comes.
 */
int vio_device_queue_start(struct vio_device *dev, uint16_t queue) VIO_MUST_CHECK;
/* Stops one queue: drains, writes the indices back to its cfg. Fine where it does not run. */
void vio_device_queue_stop(struct vio_device *dev, uint16_t queue);
/*
 * The same without waiting for requests that the backend can give back: these stay in the in-flight record for the
 * next owner. Nothing of this queue is in progress when it returns. Without a record it drains.
 */
void vio_device_queue_suspend(struct vio_device *dev, uint16_t queue);
/* RING_RESET (virtio 1.4, 2.6.1): stops, drains and returns the queue to its initial state. */
void vio_device_queue_reset(struct vio_device *dev, uint16_t queue);
bool vio_device_queue_running(const struct vio_device *dev, uint16_t queue);
/* kick_fd changes: the owner is parked and picks the new one up. The old one is the transport's again after this. */
void vio_device_queue_kick_changed(struct vio_device *dev, uint16_t queue);

/*
 * Changes of memory happen between these two: every running queue is parked, or drained where `drain` (memory goes
 * away that requests in flight may use).
 */
void vio_device_memory_begin(struct vio_device *dev, bool drain);
void vio_device_memory_end(struct vio_device *dev);

/* Control thread, after host->wake: raises faults and misses that owners have found. */
void vio_device_control(struct vio_device *dev);

/* Stops (drained) what runs, to save; resume starts it again. Other errors as from vio_device_queue_start(). */
void vio_device_pause(struct vio_device *dev);
int vio_device_resume(struct vio_device *dev) VIO_MUST_CHECK;

/* ---- for owners of queues (owner thread) */

int vio_device_queue_enter(struct vio_device *dev, uint16_t queue) VIO_MUST_CHECK;
void vio_device_queue_leave(struct vio_device *dev, uint16_t queue);
/* Serves: at most budget new buffers (0: only finish). Returns how much was done. */
unsigned vio_device_queue_service(struct vio_device *dev, uint16_t queue, unsigned budget);
/* About to sleep. True: there is work already, serve again. */
bool vio_device_queue_arm(struct vio_device *dev, uint16_t queue) VIO_MUST_CHECK;
void vio_device_queue_disarm(struct vio_device *dev, uint16_t queue);
unsigned vio_device_queue_in_flight(const struct vio_device *dev, uint16_t queue);
/* Descriptors to sleep on: kick and backend; -1 where there is none. */
int vio_device_queue_kick_fd(struct vio_device *dev, uint16_t queue);
/* Woken by kick_fd: empties it (8 bytes) and counts the notification. Never blocks, whatever the descriptor is. */
void vio_device_queue_kick_drain(struct vio_device *dev, uint16_t queue);
int vio_device_queue_backend_fd(struct vio_device *dev, uint16_t queue);
/* Control thread, before attach: which queues must have one owner (struct vio_device_type.queue_lane); -1: it may be any. */
int vio_device_queue_lane(const struct vio_device *dev, uint16_t queue);
bool vio_device_queue_enabled(const struct vio_device *dev, uint16_t queue);

/* The owner is parked (true: now, before it says so), or goes on. */
void vio_device_queue_parked(struct vio_device *dev, uint16_t queue, bool parked);

/* ---- for device types (owner thread) */

/* -EINVAL, and the sentence for a person in why (NULL: not wanted): for what a type's create function refuses. Any thread. */
int vio_device_refuse(char *why, size_t why_size, const char *format, ...) VIO_PRINTF(3, 4);
/* Whether buffers may be taken now: enabled, not broken, not about to end, no translation missing. */
bool vio_device_queue_takes(const struct vio_device *dev, uint16_t queue);
/* After a take outside of service: raises what it found (a fault, a missing translation). */
void vio_device_queue_report(struct vio_device *dev, uint16_t queue);
/* Any thread: has the control thread call the type's control() soon, with all queues parked. */
void vio_device_ask(struct vio_device *dev);
/* Control thread: has the owner serve the queue once, also if it sleeps. */
void vio_device_queue_poke(struct vio_device *dev, uint16_t queue);

struct vio_devq *vio_device_queue(struct vio_device *dev, uint16_t queue);
/* Shows the driver the n buffers that were put since the last time, and notifies it if it wants that. */
void vio_device_publish(struct vio_device *dev, uint16_t queue, unsigned n);
/* The same in two steps, where a notification may wait. Shows only; true: the driver wants to be told. */
bool vio_device_publish_quietly(struct vio_device *dev, uint16_t queue, unsigned n) VIO_MUST_CHECK;
/* Notifies the driver; of a queue that is entered and not parked. */
void vio_device_call(struct vio_device *dev, uint16_t queue);
/*
 * A taken buffer that will never be put: its request broke the queue, or it is left to the next owner (queue_cancel).
 * It no longer counts as in flight; its memory goes with the queue.
 */
void vio_device_abandon(struct vio_device *dev, uint16_t queue, struct vio_req *req);

/* Counters of one queue; written by its owner, read by anyone at any time. */
struct vio_queue_counters {
    uint64_t buffers;   /* used */
    uint64_t publishes; /* how often some of them were shown */
    uint64_t calls;     /* used buffer notifications sent */
    uint64_t services;  /* calls of vio_device_queue_service() */
    uint64_t idle;      /* of services, those that found nothing to do */
    uint64_t kicks;     /* available buffer notifications seen */
    uint64_t faults;
};
void vio_device_queue_counters(const struct vio_device *dev, uint16_t queue, struct vio_queue_counters *out);

/* ---- save and load: a stream of records, so that both ends may be of different versions */

/*
 * Bytes: a header (magic, version, device id), then records (tag, flags, size, bytes) up to an end record; all
 * little-endian; src/device/core_state.c has the layout. A record of an unknown tag is skipped unless its flags say that
 * it must be understood. The bytes are foreign: every size and value is checked, and one that does not fit refuses all.
 */

/* -EBUSY: a queue runs (stop or pause first). free() the bytes. */
int vio_device_save(struct vio_device *dev, uint8_t **bytes, size_t *size) VIO_MUST_CHECK;
/*
 * Into a device in its reset state: status, features, configuration, queues, the type's own; the queues that ran start
 * with vio_device_resume(), or each with vio_device_queue_start(). Into one that has passed FEATURES_OK with the same
 * features (a transport that negotiates before it loads): configuration and the type's own.
 * -EBUSY: a queue runs; -EINVAL with a line in the log: bytes that cannot be taken; then the device is reset.
 */
int vio_device_load(struct vio_device *dev, const uint8_t *bytes, size_t size) VIO_MUST_CHECK;

/* For a type's save: adds a record. tag < 0x8000. -EINVAL: tag; -ENOMEM. */
int vio_state_put(struct vio_state *state, uint16_t tag, const void *bytes, uint32_t size) VIO_MUST_CHECK;
/* For a type's load: the record `tag` of exactly `size` bytes; -ENOENT: not there; -EINVAL: another size. */
int vio_state_get(struct vio_state *state, uint16_t tag, void *bytes, uint32_t size) VIO_MUST_CHECK;

/* ---- names of features, for messages */

/* "SEG_MAX": the name of a bit for this device type (virtio 1.4, 5 and 6), NULL where it has none. Any thread. */
const char *vio_feature_name(uint16_t device_id, unsigned bit);
/* "VERSION_1, SEG_MAX, bit 45" into text, cut to size; "none" for the empty set. Returns text. */
const char *vio_features_text(uint16_t device_id, struct vio_features features, char *text, size_t size);

VIO_PUBLIC_END

#endif
