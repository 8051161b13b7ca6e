/* SPDX-License-Identifier: MIT */
/*
 * Purpose: between the two halves of the tap backend: net_tap_host.c makes or finds the interface and sets it up,
 * net_tap.c moves frames. Where it sits: backend/net, private.
 */
#ifndef VIO_BACKEND_NET_TAP_H
#define VIO_BACKEND_NET_TAP_H

#include <net/if.h>
#include <vio/net.h>

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

#endif
