/* SPDX-License-Identifier: MIT */
/*
 * Purpose: vhost-user, driver side (the "front-end"): a device behind a socket as a transport for the driver core.
 * Where it sits: transport/vhost_user_driver, below driver/core. A program (a load generator, a probe, a VMM without a guest
 * kernel) makes one, adds it to a bus, and its driver works on the queues with no message on the way.
 * Threads: the control thread; notifications of a queue are its owner's.
 * Trust: the device is hostile: replies are checked for kind, length and time, and what it writes in rings by ring/.
 */
#ifndef VIO_VHOST_USER_DRIVER_H
#define VIO_VHOST_USER_DRIVER_H

#include <vio/arena.h>
#include <vio/driver.h>

VIO_PUBLIC_BEGIN

enum { VIO_VUD_QUEUES_MAX = 256, VIO_VUD_CONFIG_MAX = 256, VIO_VUD_ARENAS_MAX = 32 };

struct vio_vud_params {
    const char *path;       /* where the device listens; copied */
    int fd;                 /* >= 0: a connected socket (taken, also on failure) instead of path; then there is no coming back */
    uint32_t type;          /* the device id, which vhost-user does not tell; 0: vio_bus_add() says it, or nobody knows */
    unsigned timeout_ms;    /* how long one reply may take; 0: 5000 */
    struct vio_arena *arena; /* memory for rings, and the platform; borrowed, and shared with the device as a whole */
    uint16_t queue_size_max; /* what queue_max() says, for vhost-user does not tell; 0: 1024 */
    bool poll_kick;         /* no kick descriptors: the device must poll */
    const struct vio_log *log;
};

/*
 * Connects and asks what there is: features, protocol features, number of queues. Nothing is negotiated but the protocol.
 * why: VIO_DRV_WHY bytes for a sentence, or NULL. -EINVAL: neither path nor fd, or no arena or a physical one; -ETIMEDOUT: no answer in time;
 * -ECONNRESET: hung up; -EPROTO: an answer that is none; or the errno of the socket.
 */
int vio_vud_create(const struct vio_vud_params *params, struct vio_transport **out, char *why) VIO_MUST_CHECK;

/* ---- what only vhost-user has; t: made by vio_vud_create(). After a failure vio_vud_why() has a sentence. */

const char *vio_vud_why(struct vio_transport *t);
bool vio_vud_connected(struct vio_transport *t);
/* The socket, to notice (POLLRDHUP) that the device went away: then vio_drvdev_reconnect(), or recover. -1: not connected. */
int vio_vud_fd(struct vio_transport *t);
uint64_t vio_vud_protocol_offered(struct vio_transport *t); /* VHOST_USER_PROTOCOL_F_* as bits */
uint64_t vio_vud_protocol(struct vio_transport *t);         /* those in use */
uint64_t vio_vud_slots_max(struct vio_transport *t);        /* regions of memory that the device takes; 8 where it does not say */

/*
 * Another arena, for a driver's own buffers: shared with the device from now, or from when memory is shared at all. Its `base`
 * must overlap no other's. -ENOTSUP: the device takes one more only before its queues start (no CONFIGURE_MEM_SLOTS); -ENOSPC.
 */
int vio_vud_memory_add(struct vio_transport *t, struct vio_arena *arena) VIO_MUST_CHECK;
/* Nothing of it may be in use. -ENOENT; -EBUSY: it is the first; -ENOTSUP as above. */
int vio_vud_memory_remove(struct vio_transport *t, struct vio_arena *arena) VIO_MUST_CHECK;

/*
 * The dirty log: from here on the device sets the bit of each 4096-byte page, by device address, that it writes to: bit
 * addr / 4096 % 8 of byte addr / 32768. The caller fetches and clears them atomically. -ENOTSUP: no LOG_SHMFD or F_LOG_ALL.
 */
struct vio_vud_log {
    uint8_t *bits;
    uint64_t bytes;
};
int vio_vud_log_start(struct vio_transport *t, struct vio_vud_log *log) VIO_MUST_CHECK;
int vio_vud_log_stop(struct vio_transport *t) VIO_MUST_CHECK; /* the bits are gone */

/*
 * Moving the device to another back-end, while its driver goes on. save: stops all queues and fetches the device's state
 * (DEVICE_STATE); free() the bytes. Then the other back-end takes the place at `path`, and load() says what it is to be given
 * at the coming vio_drvdev_reconnect(), which starts the queues again. -ENOTSUP: no DEVICE_STATE. The process must ignore
 * SIGPIPE: a device may stop to read its state.
 */
int vio_vud_state_save(struct vio_transport *t, uint8_t **bytes, size_t *size) VIO_MUST_CHECK;
int vio_vud_state_load(struct vio_transport *t, const uint8_t *bytes, size_t size) VIO_MUST_CHECK; /* copied */

VIO_PUBLIC_END

#endif
