/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the host's side of a tap: tap.c makes or finds the interface and sets it up; who asked for it moves the frames.
 * Where it sits: base/, hosted: backend/net_tap.c and transport/vhost_kernel have it in common.
 */
#ifndef VIO_BASE_TAP_H
#define VIO_BASE_TAP_H

#include <net/if.h>
#include <vio/net.h>

enum { TAP_HEADER = 12 }; /* bytes before each frame: virtio 1.4, 5.1.9 */

struct tap_host {
    int fd;
    char name[IFNAMSIZ];
    bool vnet;      /* each frame has a virtio header before it: all but a descriptor made without */
    unsigned takes; /* enum vio_net_offload that may be written, and that it can be told to give */
    unsigned gives;
    bool multi;     /* made for several queues */
    uint16_t mtu;
};

/* Control thread. On success the descriptor is open, non-blocking, and gives nothing that is unfinished. */
int tap_host_open(const struct vio_net_tap_params *params, struct tap_host *out, char *why, size_t why_size) VIO_MUST_CHECK;
/*
 * Control thread: a further queue of an interface that is `multi`, given (taken on success) or, -1, opened. It is detached:
 * the kernel puts no frame into it.
 */
int tap_host_queue(const struct tap_host *host, int given, int *fd, char *why, size_t why_size) VIO_MUST_CHECK;
/* A queue is attached to the interface, or detached: then what waits in it is lost. */
int tap_host_use(int fd, bool use) VIO_MUST_CHECK;
/* Which offloads its frames may need from now on; the rest is finished by the kernel. */
int tap_host_offloads(const struct tap_host *host, unsigned offloads) VIO_MUST_CHECK;

/* Control thread: what the interface says of itself. -errno: it is not to be seen from here (another namespace), or gone. */
struct tap_link {
    bool up; /* brought up, and a carrier is there */
    uint16_t mtu;
};
int tap_host_link(const struct tap_host *host, struct tap_link *link) VIO_MUST_CHECK;
/* A descriptor of the caller's that polls readable after an interface of this namespace changed, until it is read empty. */
int tap_host_watch(void) VIO_MUST_CHECK;

#endif
