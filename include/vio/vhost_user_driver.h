/* SPDX-License-Identifier: MIT */
/*
 * Purpose: vhost-user, driver side (the "front-end"): reaches a device behind a socket and gives its queues to a driver.
 * Where it sits: transport/vhost_user_driver. A program (a load generator, a probe, a VMM without a guest kernel)
 * connects, asks, starts, and then works on each queue through vio_drvq_* with no message on the way.
 * Threads: one control thread; a started queue belongs to any one thread, which may also call kick and call_clear.
 * Trust: the device is hostile: replies are checked for kind, length and time, and what it writes in rings by ring/.
 */
#ifndef VIO_VHOST_USER_DRIVER_H
#define VIO_VHOST_USER_DRIVER_H

#include <vio/features.h>
#include <vio/log.h>
#include <vio/queue.h>

enum { VIO_VUD_QUEUES_MAX = 256, VIO_VUD_CONFIG_MAX = 256 };

struct vio_vud; /* a driver's end of one vhost-user connection */

struct vio_vud_params {
    const char *path;    /* where the device listens; copied */
    int fd;              /* >= 0: a connected socket (taken) instead of path; then there is no reconnecting */
    unsigned timeout_ms; /* how long one reply may take; 0: 5000 */
    const struct vio_log *log;
};

/* Connects nothing yet. -ENOMEM; -EINVAL: neither path nor fd, or a path too long for a socket. */
int vio_vud_create(const struct vio_vud_params *params, struct vio_vud **out) VIO_MUST_CHECK;
/* Stops what runs, hangs up, unmaps. NULL is fine. */
void vio_vud_destroy(struct vio_vud *v);
/* One sentence about the last call here that failed; valid until the next call. */
const char *vio_vud_why(const struct vio_vud *v);

/*
 * Connects and asks what there is: features, protocol features, number of queues. Nothing is negotiated but the protocol.
 * -ETIMEDOUT: no answer in time; -ECONNRESET: hung up; -EPROTO: an answer that is none; or the errno of the socket.
 */
int vio_vud_connect(struct vio_vud *v) VIO_MUST_CHECK;
bool vio_vud_connected(const struct vio_vud *v);
/* The socket, to notice (POLLIN, POLLHUP) that the device went away; -1 when not connected. */
int vio_vud_fd(const struct vio_vud *v);

/* After connect. The device's feature bits, without bit 30, which is the protocol's own. */
struct vio_features vio_vud_offered(const struct vio_vud *v);
uint64_t vio_vud_protocol_offered(const struct vio_vud *v); /* VHOST_USER_PROTOCOL_F_* as bits */
uint64_t vio_vud_protocol(const struct vio_vud *v);         /* those in use */
uint16_t vio_vud_queues_max(const struct vio_vud *v);       /* 1 where the device does not say (no MQ) */
/*
 * Device configuration space. -ENOTSUP: the device has no CONFIG; -EINVAL: more than VIO_VUD_CONFIG_MAX, or refused by it.
 */
int vio_vud_config_read(struct vio_vud *v, uint32_t offset, void *to, uint32_t len) VIO_MUST_CHECK;
int vio_vud_config_write(struct vio_vud *v, uint32_t offset, const void *from, uint32_t len) VIO_MUST_CHECK;
/* The device status field. -ENOTSUP without STATUS. */
int vio_vud_status(struct vio_vud *v, uint8_t *status) VIO_MUST_CHECK;

struct vio_vud_setup {
    struct vio_features features; /* wanted; all must be offered */
    uint16_t queues;
    uint16_t queue_size;
    uint16_t indirect_max;        /* descriptors of an indirect table; 0: no tables */
    uint64_t buffer_bytes;        /* memory for the caller's buffers, shared with the device */
    bool poll_kick;               /* no kick descriptors: the device must poll */
    bool poll_call;               /* no call descriptors: the caller polls */
    bool small_pages;             /* do not look for huge pages */
};

/*
 * Negotiates (FEATURES_OK, where the device has STATUS), shares memory, and starts every queue: from here on
 * vio_vud_queue() works. -EPROTO: a wanted feature is not offered, or the device refused something;
 * -EINVAL: a number of queues or a queue size that cannot be; -ENOMEM.
 */
int vio_vud_start(struct vio_vud *v, const struct vio_vud_setup *setup) VIO_MUST_CHECK;
/*
 * Ends all queues (GET_VRING_BASE: the device finishes what it has) and resets the device. The rings can be collected from
 * afterwards, until destroy or the next start; vio_drvq_detach() names what the device never gave back.
 */
int vio_vud_stop(struct vio_vud *v) VIO_MUST_CHECK;
/*
 * The device went away and is back: connects again and goes on with the same memory, rings and in-flight record, so
 * that no buffer is lost or served twice. -EBUSY: a queue has used buffers to collect first; -EPROTO: the device is
 * not what it was. Otherwise as connect and start; may be tried again.
 */
int vio_vud_reconnect(struct vio_vud *v) VIO_MUST_CHECK;

/* The negotiated features, without bit 30. */
struct vio_features vio_vud_features(const struct vio_vud *v);
uint16_t vio_vud_queues(const struct vio_vud *v); /* started */
struct vio_drvq *vio_vud_queue(struct vio_vud *v, uint16_t queue);
/* What a publish that returned true asks for. Any one thread a queue; nothing happens on a queue with poll_kick. */
void vio_vud_kick(struct vio_vud *v, uint16_t queue);
/* Polls readable after a used buffer notification; -1 with poll_call. call_clear makes it quiet again. */
int vio_vud_call_fd(const struct vio_vud *v, uint16_t queue);
void vio_vud_call_clear(struct vio_vud *v, uint16_t queue);

/* The caller's part of the shared memory: zeroed, in whole pages, at `host` for us and at `addr` for the device. */
struct vio_vud_memory {
    void *host;
    uint64_t addr;
    uint64_t size;
    bool huge; /* on 2 MiB pages of the hugetlb pool; else ordinary pages (transparent huge ones if the kernel likes) */
};
struct vio_vud_memory vio_vud_memory(const struct vio_vud *v);

#endif
