/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the driver side's core: found devices, the drivers that take them, and the life between: initialization, queues,
 * configuration, notifications, reset and another try, suspend and resume (virtio 1.4, 2 and 3).
 * Where it sits: driver/core, over ring/; transports stand below it behind struct vio_transport, drivers above it behind
 * struct vio_driver. Freestanding: what it needs of its surroundings is a struct vio_platform.
 * Threads: a device has one control thread, which makes every call here but those marked "queue owner".
 * Trust: the device is hostile. What it says is checked once, on a copy; what it does wrong ends in a named fault or a
 * sentence, and the device in FAILED; never in memory that is not its own.
 */
#ifndef VIO_DRIVER_H
#define VIO_DRIVER_H

#include <vio/features.h>
#include <vio/io.h>
#include <vio/platform.h>
#include <vio/queue.h>

VIO_PUBLIC_BEGIN

enum {
    VIO_DRV_QUEUES_MAX = 1024, /* of one device */
    VIO_DRV_WHY = 192,         /* a sentence about what failed */
    VIO_DRV_NAME = 64,
};

/* ------------------------------------------------------------------ a transport, as the core sees it */

struct vio_transport;

/* A queue that the device is told of. Areas are where the device sees them; `host` the same for us. */
struct vio_transport_queue {
    struct vio_queue_cfg cfg;
    void *desc, *driver, *device;
    bool polled; /* the driver looks for used buffers itself: no interrupt, no descriptor for one */
};

/* virtio 1.4, 2.10: a region of shared memory that the device has. */
struct vio_transport_shm {
    void *host;
    uint64_t len;
};

enum { VIO_EVENT_QUEUES = 1, VIO_EVENT_CONFIG = 2 };

/* What event_fd() and event_clear() take in place of a queue: changes of the configuration and of the status. */
enum { VIO_EVENT_QUEUE_CONFIG = 0xffff };

/*
 * Control thread, but kick, event_fd and event_clear, which are the queue owner's. All return 0 or -errno (-ETIMEDOUT,
 * -ECONNRESET, -EPROTO: the device, or what is between, does not answer as it must); after that why() has a sentence.
 */
struct vio_transport_ops {
    const char *name; /* "mmio" */
    void (*destroy)(struct vio_transport *t);
    const char *(*why)(struct vio_transport *t); /* "" where there is no more to say */

    int (*features)(struct vio_transport *t, struct vio_features *offered);
    int (*accept)(struct vio_transport *t, const struct vio_features *wanted);
    int (*status_get)(struct vio_transport *t, uint8_t *status);
    int (*status_set)(struct vio_transport *t, uint8_t status);
    /* Asks for the reset. 0: done; -EINPROGRESS: it goes on until status_get reads 0. */
    int (*reset)(struct vio_transport *t);

    /* Raw bytes of the device's configuration, with accesses as wide as the fields are. -ENOTSUP: it has none. */
    int (*config_read)(struct vio_transport *t, uint32_t offset, void *to, uint32_t len);
    int (*config_write)(struct vio_transport *t, uint32_t offset, const void *from, uint32_t len);
    /* NULL: none; then what is read is taken as it is. */
    int (*generation)(struct vio_transport *t, uint32_t *generation);

    /* The largest size of this queue; 0: there is no such queue. Where the transport cannot know: 0 < *size as it likes. */
    int (*queue_max)(struct vio_transport *t, uint16_t queue, uint16_t *size);
    /* Queues 0 to queues - 1, of at most size entries, will be started, not all perhaps; before the first. NULL: of no interest. */
    int (*queues_planned)(struct vio_transport *t, uint16_t queues, uint16_t size);
    /* Before DRIVER_OK, after queue_stop, or within a reconnect: goes on at q->cfg.state. */
    int (*queue_start)(struct vio_transport *t, uint16_t queue, const struct vio_transport_queue *q);
    /* Ends one queue while the others go on (virtio 1.4, 2.6.1). -ENOTSUP; NULL: the transport cannot. */
    int (*queue_stop)(struct vio_transport *t, uint16_t queue, struct vio_queue_state *state);

    /*
     * data: vio_drvq_notify_data() where NOTIFICATION_DATA is negotiated; else the queue. The transport orders it after what
     * the driver wrote to memory, also beyond the CPUs (io_barrier).
     */
    void (*kick)(struct vio_transport *t, uint16_t queue, uint32_t data);
    /* A descriptor that polls readable on an event; -1: none, there are interrupts or nothing. NULL: never. */
    int (*event_fd)(struct vio_transport *t, uint16_t queue);
    void (*event_clear)(struct vio_transport *t, uint16_t queue);
    /* What happened since the last call, VIO_EVENT_*, acknowledged by it; for transports with one interrupt. NULL: none. */
    unsigned (*events)(struct vio_transport *t);

    /* -ENOENT: the device has no region of this id. NULL: the transport has none at all. */
    int (*shm)(struct vio_transport *t, uint8_t id, struct vio_transport_shm *region);

    /*
     * The device went away and is back with a memory of what it had taken: everything up to FEATURES_OK is said to it again,
     * these features included, without a reset; queue_start of each queue and DRIVER_OK follow. NULL: it cannot come back.
     */
    int (*reconnect)(struct vio_transport *t, const struct vio_features *features);
};

/* The head of every transport. What it says of the device is fixed from its making. */
struct vio_transport {
    const struct vio_transport_ops *ops;
    const struct vio_platform *platform; /* memory that this device reaches comes from here; borrowed */
    char name[VIO_DRV_NAME];             /* "mmio@0xa000000" */
    uint32_t type;                       /* device id (virtio 1.4, 5); 0: not known by this transport, as over vhost-user */
    uint32_t vendor;
    uint16_t queues_max;  /* 0: not known; queue_max() tells */
    uint16_t queue_align; /* legacy: of the used ring; else 0 */
    bool legacy;          /* no VERSION_1, no FEATURES_OK (virtio 1.4, 2.2.3, 7.4) */
    bool size_fixed;      /* a queue has the size that queue_max() says, no other (legacy PCI: virtio 1.4, 4.1.5.1.3.1) */
};

/* For a transport's kick: all that the driver wrote to memory is there before the register that is written next. */
static inline void vio_transport_barrier(const struct vio_transport *t)
{
    vio_io_barrier();
    if (t->platform->io_barrier != NULL)
        t->platform->io_barrier(t->platform->ctx);
}

/* ------------------------------------------------------------------ a driver */

struct vio_drvdev;

/* A feature that means nothing without another (virtio 1.4, 2.2.2). */
struct vio_driver_depend {
    uint8_t bit, needs;
};

struct vio_driver {
    const char *name;
    const uint32_t *types; /* device ids, ended by 0; NULL: any that no other driver takes */
    /* Bits of the device type and of the ring that the driver can use; the core adds what it does by itself. */
    struct vio_features features;
    struct vio_features needs; /* of these, without which it cannot work */
    /* Of these, what a bit needs; ended by { 0, 0 }. A bit without it is not accepted. NULL: nothing. */
    const struct vio_driver_depend *depends;
    size_t state_size;         /* its own memory for each device, zeroed before probe: vio_drvdev_state() */

    /* Before FEATURES_OK: may drop bits that this device's configuration makes senseless. NULL: nothing to drop. */
    int (*validate)(struct vio_drvdev *d, struct vio_features *wanted);
    /*
     * Features are agreed: reads the configuration, plans queues by vio_drvdev_queues(). -errno: FAILED, with why; what it
     * took by itself is given back by itself, `remove` is not called.
     */
    int (*probe)(struct vio_drvdev *d);
    /* The device runs (DRIVER_OK): the first buffers go out. NULL: none. */
    int (*scan)(struct vio_drvdev *d);
    /* The device was reset; queues can still be emptied by vio_drvq_detach(). Frees what probe took. */
    void (*remove)(struct vio_drvdev *d);
    void (*config_changed)(struct vio_drvdev *d); /* NULL: of no interest */
    /*
     * Around a suspend. freeze: nothing more is put, what is in flight is waited for; then the device is reset, and the queues go.
     * restore: as probe, with the state as it is and the same features; its failure is followed by remove, without queues.
     * Both or neither; NULL: remove and probe are used.
     */
    int (*freeze)(struct vio_drvdev *d);
    int (*restore)(struct vio_drvdev *d);
};

/*
 * What the driver can be given of what a device offers: its own bits, and those that the core takes for every driver over this
 * transport. A device that does not offer what a bit depends on, or validate(), makes it fewer.
 */
struct vio_features vio_driver_takes(const struct vio_driver *driver, const struct vio_transport *t);

/* Whether the driver names this type of device; one that takes any names none. */
static inline bool vio_driver_names(const struct vio_driver *driver, uint32_t type)
{
    for (const uint32_t *t = driver->types; t != NULL && *t != 0; t++)
        if (*t == type)
            return true;
    return false;
}

/* ------------------------------------------------------------------ the bus */

struct vio_bus;

/* platform: the core's own memory comes from it; each device's from its transport's. Both borrowed. */
int vio_bus_create(const struct vio_platform *platform, struct vio_bus **out) VIO_MUST_CHECK;
/* Removes every device. NULL is fine. */
void vio_bus_destroy(struct vio_bus *bus);
/* Devices that wait for a driver are probed at once. -EEXIST: it is there. The table is borrowed. */
int vio_bus_add_driver(struct vio_bus *bus, const struct vio_driver *driver) VIO_MUST_CHECK;

enum vio_drvdev_state_name {
    VIO_DRVDEV_WAITS,   /* no driver takes its type */
    VIO_DRVDEV_RUNS,    /* DRIVER_OK */
    VIO_DRVDEV_FAILED,  /* vio_drvdev_why() */
    VIO_DRVDEV_SUSPENDED,
    VIO_DRVDEV_BROKEN,  /* the device did what it must not, or asks for a reset (NEEDS_RESET) */
};

/*
 * A found device (the transport is taken, also on failure). Its driver is looked for and probed; a probe that fails is no
 * error here: *out is there, and says why. -ENOMEM, -EINVAL: nothing was made. type: the device id where the transport does
 * not know it; 0 otherwise. driver: NULL, or the one driver to use.
 */
int vio_bus_add(struct vio_bus *bus, struct vio_transport *t, uint32_t type, const struct vio_driver *driver,
                struct vio_drvdev **out) VIO_MUST_CHECK;
/* Ends the driver, resets the device, forgets both. */
void vio_bus_remove(struct vio_drvdev *d);
struct vio_drvdev *vio_bus_next(struct vio_bus *bus, const struct vio_drvdev *after); /* NULL: the first; NULL: the end */

/* ------------------------------------------------------------------ one device */

enum vio_drvdev_state_name vio_drvdev_status(const struct vio_drvdev *d);
const char *vio_drvdev_why(const struct vio_drvdev *d); /* one sentence; "" */
const char *vio_drvdev_name(const struct vio_drvdev *d);
uint32_t vio_drvdev_type(const struct vio_drvdev *d);
struct vio_transport *vio_drvdev_transport(struct vio_drvdev *d);
const struct vio_platform *vio_drvdev_platform(const struct vio_drvdev *d);
void *vio_drvdev_state(struct vio_drvdev *d); /* the driver's own */
const struct vio_driver *vio_drvdev_driver(const struct vio_drvdev *d); /* as it was given; NULL: none took it */
struct vio_features vio_drvdev_offered(const struct vio_drvdev *d);
struct vio_features vio_drvdev_features(const struct vio_drvdev *d); /* agreed */
static inline bool vio_drvdev_has(const struct vio_drvdev *d, unsigned bit)
{
    return vio_features_has(vio_drvdev_features(d), bit);
}

/* Sets why, says it, and returns error. At most one line; %s %u %d %x and their like, with l, ll, z (base/format.h). */
int vio_drvdev_fail(struct vio_drvdev *d, int error, const char *format, ...) VIO_PRINTF(3, 4);
/*
 * Any thread. The device did what it must not: it is BROKEN from now; FAILED is written to it, and the sentence said, by the
 * next call here of the control thread. The first stays. Both strings are kept as they are, not copied; clause may be NULL.
 */
void vio_drvdev_broken(struct vio_drvdev *d, const char *what, const char *clause);

/*
 * Configuration: read as one by the generation (virtio 1.4, 2.5.2), so that fields fit together. -EAGAIN: it does not stop
 * to change; -EINVAL: more than there is.
 */
int vio_drvdev_config_read(struct vio_drvdev *d, uint32_t offset, void *to, uint32_t len) VIO_MUST_CHECK;
int vio_drvdev_config_write(struct vio_drvdev *d, uint32_t offset, const void *from, uint32_t len) VIO_MUST_CHECK;
int vio_drvdev_shm(struct vio_drvdev *d, uint8_t id, struct vio_transport_shm *region) VIO_MUST_CHECK;

/* ------------------------------------------------------------------ queues */

struct vio_drvdev_queue_plan {
    uint16_t queue;        /* its number (virtio 1.4, 5.x.2) */
    uint16_t size;         /* wanted; the device's largest is the limit. 0: the largest, at most 256 */
    uint16_t indirect_max; /* descriptors of an indirect table; 0: no tables */
    bool polled;           /* no callback: collected by looking */
    bool in_turn;          /* for packets: see struct vio_drvq_params */
    /* Used buffers are there; from vio_drvdev_event() and vio_drvdev_interrupt(). NULL with polled. */
    void (*callback)(struct vio_drvdev *d, uint16_t queue);
};

/*
 * From probe, once: makes the queues and tells the device of them. -ENOENT: the device has no such queue; -ENOMEM. A split
 * ring gets the largest power of two that fits.
 */
int vio_drvdev_queues(struct vio_drvdev *d, const struct vio_drvdev_queue_plan *plans, unsigned n) VIO_MUST_CHECK;
/* Whether the device has this queue, and how large it may be; 0: no. */
uint16_t vio_drvdev_queue_max(struct vio_drvdev *d, uint16_t queue);
/* Queue owner. NULL: not planned, or not running. */
struct vio_drvq *vio_drvdev_queue(struct vio_drvdev *d, uint16_t queue);
uint16_t vio_drvdev_queue_size(const struct vio_drvdev *d, uint16_t queue);
/* Queue owner: shows the device all that was put, and kicks where it wants that. */
void vio_drvdev_publish(struct vio_drvdev *d, uint16_t queue);
/* Queue owner: kicks, whether the device wants it or not. */
void vio_drvdev_kick(struct vio_drvdev *d, uint16_t queue);
/*
 * One queue reset and started again while the others go on (RING_RESET; virtio 1.4, 2.6.1). Between, `lost` is given
 * each token that never came back. -ENOTSUP: not negotiated. size: 0: as before.
 */
int vio_drvdev_queue_reset(struct vio_drvdev *d, uint16_t queue, uint16_t size, void (*lost)(void *ctx, uint64_t token),
                           void *ctx) VIO_MUST_CHECK;

/* ------------------------------------------------------------------ events */

/*
 * Polls readable when vio_drvdev_event(d, queue) has something to do; -1: none. queue: or VIO_EVENT_QUEUE_CONFIG. Where several
 * have the same descriptor, one thread polls it, and calls vio_drvdev_event() for each; or vio_drvdev_interrupt(), if all have it.
 */
int vio_drvdev_event_fd(struct vio_drvdev *d, uint16_t queue);
/*
 * Of a queue (its owner): its callback collects all there is; then notifications are asked for again. True: the callback left
 * used buffers, or they come faster than it takes them: call again, there will be no other notification.
 */
bool vio_drvdev_event(struct vio_drvdev *d, uint16_t queue);
/*
 * From an interrupt that all share, or now and then where there is none: every queue with used buffers, and changes. True: as
 * above. Callbacks must not reset, recover, suspend or remove the device.
 */
bool vio_drvdev_interrupt(struct vio_drvdev *d);
/* Waits by looking until `queue` has used buffers, the device breaks (-EIO) or `ns` are over (-ETIMEDOUT). */
int vio_drvdev_wait(struct vio_drvdev *d, uint16_t queue, uint64_t ns) VIO_MUST_CHECK;

/* ------------------------------------------------------------------ another life */

/* A broken or failed device (or one that runs) is reset and probed again; the caller's program goes on. */
int vio_drvdev_recover(struct vio_drvdev *d) VIO_MUST_CHECK;
/*
 * The device went away and is back: goes on with the same rings and memory, no buffer is lost, the driver does not notice.
 * No queue may be used meanwhile. -EBUSY: a queue has used buffers to collect first; -ENOTSUP: this transport cannot; otherwise
 * as its transport says, and may be tried again.
 */
int vio_drvdev_reconnect(struct vio_drvdev *d) VIO_MUST_CHECK;
/* Quiet and powered down; then all of the initialization again, with the same driver. */
int vio_drvdev_suspend(struct vio_drvdev *d) VIO_MUST_CHECK;
int vio_drvdev_resume(struct vio_drvdev *d) VIO_MUST_CHECK;

/* ------------------------------------------------------------------ the drivers there are */

/* Any device that no other driver takes, or that is asked for by name: every queue planned as the caller wants it. */
extern const struct vio_driver vio_driver_generic;

VIO_PUBLIC_END

#endif
