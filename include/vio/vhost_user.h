/* SPDX-License-Identifier: MIT */
/*
 * Purpose: vhost-user, device side (the "back-end"): gives one device to a front-end such as QEMU.
 * Where it sits: transport/vhost_user. Threads: everything by the device's control thread.
 * Trust: the peer is hostile; each message is checked against one table (length, descriptors, state) before use, and
 * a refusal names the message and the rule.
 */
#ifndef VIO_VHOST_USER_H
#define VIO_VHOST_USER_H

#include <vio/device.h>

VIO_PUBLIC_BEGIN

struct vio_vu; /* one device's vhost-user end: its socket and, when a front-end is there, the session */

enum vio_vu_side {
    VIO_VU_LISTEN,    /* we made the socket at path; front-ends come and go */
    VIO_VU_CONNECT,   /* the front-end listens at path; we connect, and again when it goes away */
    VIO_VU_LISTEN_FD, /* a listening socket that was handed to us (systemd) */
    VIO_VU_FD,        /* one connected socket that was handed to us: ends with it */
};

struct vio_vu_params {
    struct vio_device *dev;  /* borrowed; outlives the vio_vu */
    enum vio_vu_side side;
    const char *path;        /* copied; sockets that we made are removed at the end */
    int fd;                  /* LISTEN_FD, FD: taken */
    bool inband;             /* offer INBAND_NOTIFICATIONS (never to QEMU, which acknowledges it and does not speak it) */
    bool iommu;              /* offer ACCESS_PLATFORM: the front-end translates (QEMU: iommu_platform=on) */
    bool net_config;         /* offer CONFIG for a network device (never to QEMU before 8.0, which keeps that itself) */
    const struct vio_log *log;
    /* For network devices; NULL: not offered. 0 or -errno. */
    int (*net_rarp)(void *ctx, struct vio_vu *vu, const uint8_t mac[6]);
    int (*net_mtu)(void *ctx, struct vio_vu *vu, uint16_t mtu);
    /*
     * The embedder's loop: watch fd for `events` (poll's POLLIN|POLLOUT, level-triggered; 0: no more, it may be closed
     * next) and call vio_vu_event() with it. The same fd comes again where the events change.
     */
    void (*watch)(void *ctx, struct vio_vu *vu, int fd, short events);
    /* Call vio_vu_timer() in so many milliseconds (reconnecting, a sender that is stuck); one at a time, the last wins. */
    void (*timer)(void *ctx, struct vio_vu *vu, unsigned ms);
    /* A side VIO_VU_FD front-end went away for good. The vio_vu may be destroyed in here. May be NULL. */
    void (*ended)(void *ctx, struct vio_vu *vu);
    void *ctx;
};

/*
 * The process must ignore SIGPIPE: the front-end chooses the pipes that it is notified through. watch, timer and (side
 * FD) ended may be called before this returns. -EADDRINUSE: somebody listens at path (an orphan socket file is replaced); other errno of socket calls; the sentence
 * for a person is in `why`.
 */
int vio_vu_create(const struct vio_vu_params *params, struct vio_vu **out, char *why, size_t why_size) VIO_MUST_CHECK;
/* Stops the session (drained), closes and removes the socket. NULL is fine. */
void vio_vu_destroy(struct vio_vu *vu);
void vio_vu_event(struct vio_vu *vu, int fd, short revents);
void vio_vu_timer(struct vio_vu *vu);
/*
 * Ends the session as if the front-end had gone away; why goes into the log. Not from within a callback of this vio_vu.
 */
void vio_vu_drop(struct vio_vu *vu, const char *why);
bool vio_vu_connected(const struct vio_vu *vu);

VIO_PUBLIC_END

#endif
