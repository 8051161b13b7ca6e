/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the files of the transport to vhost in the kernel share. Where it sits: transport/vhost_kernel.
 * Threads: the control thread, but kick_fd and call_fd of a queue, which its owner uses.
 */
#ifndef VIO_TRANSPORT_VHOST_KERNEL_INTERNAL_H
#define VIO_TRANSPORT_VHOST_KERNEL_INTERNAL_H

#include <errno.h>
#include <string.h>
#include <vio/net.h>
#include <vio/vhost_kernel.h>
#include "base/eventfd.h"
#include "base/tap.h"
#include "spec/vhost.h"
#include "spec/virtio.h"

enum {
    VK_QUEUES_MAX = 2 * VIO_VHOST_KERNEL_PAIRS_MAX + 1,
    VK_CONFIG_MAX = 64,
};
_Static_assert(VIO_VHOST_KERNEL_REQUEST_QUEUES_MAX + 2 <= VK_QUEUES_MAX, "each queue has a place");

/*
 * What is asked of the system, so that a test can answer in its place. All return -errno for a failure; the calls of a tap
 * are as in base/tap.h.
 */
struct vk_sys {
    int (*open)(void *ctx, const char *path);
    int (*ioctl)(void *ctx, int fd, unsigned long request, void *arg);
    void (*close)(void *ctx, int fd);
    int (*tap_open)(void *ctx, const struct vio_net_tap_params *params, struct tap_host *out, char *why, size_t why_size);
    int (*tap_queue)(void *ctx, const struct tap_host *host, int given, int *fd, char *why, size_t why_size);
    int (*tap_use)(void *ctx, int fd, bool use);
    int (*tap_offloads)(void *ctx, const struct tap_host *host, unsigned offloads);
    int (*tap_link)(void *ctx, const struct tap_host *host, struct tap_link *link);
    int (*tap_watch)(void *ctx);
    void *ctx;
};
extern const struct vk_sys vk_system;

struct vio_vk;
struct vk_control;

/* Descriptors are kept while the transport lives: a loop may watch them. */
struct vk_queue {
    int kick_fd, call_fd, error_fd; /* -1: not made yet */
    bool started;                   /* the driver has it */
    bool running;                   /* the kernel works on it */
    bool kernel;                    /* it is one of the kernel's */
    struct vio_transport_queue told; /* as it was started */
};

struct vk_net {
    struct tap_host tap;
    int fd[VIO_VHOST_KERNEL_PAIRS_MAX]; /* of each pair; the first is tap.fd */
    uint16_t taps;                      /* of them there are... */
    bool given;                         /* ...and until all is made they are the caller's */
    int watch_fd;                       /* interfaces change; -1: none */
    uint16_t pairs, pairs_used;
    unsigned offloads; /* that the tap may give */
    struct vk_control *control; /* NULL: one pair, no control queue */
};

/* A kind of kernel device: what differs. All return 0 or -errno with a sentence. */
struct vk_kind {
    uint32_t type;
    const char *name, *node, *module;
    uint64_t kernel;         /* feature bits that may be the kernel's */
    uint16_t queue_size_max;
    bool one_by_one;         /* queues start and stop by themselves: the transport resets one, whether the kernel says so or not */

    /* Opens the node, and fills t.name, t.queues_max, own features and the configuration. */
    int (*open)(struct vio_vk *v, const struct vio_vhost_kernel_params *params);
    void (*close)(struct vio_vk *v);
    /* Features are agreed. NULL: the kernel has all there is to know. */
    int (*accept)(struct vio_vk *v);
    /* Of all queues that are started. */
    int (*run)(struct vio_vk *v);
    int (*halt)(struct vio_vk *v);
    /* Of one queue, with one_by_one. */
    int (*run_queue)(struct vio_vk *v, uint16_t queue);
    int (*halt_queue)(struct vio_vk *v, uint16_t queue);
    /* Which of the kernel's queues it is. False: the kernel has none. */
    bool (*place)(const struct vio_vk *v, uint16_t queue, unsigned *file, unsigned *index);
    /* A kick of a queue that is not the kernel's. NULL: nobody serves such. */
    void (*kick)(struct vio_vk *v, uint16_t queue);
    /* What is broken beside the kernel's rings: -errno with a sentence. NULL: nothing can be. */
    int (*check)(struct vio_vk *v);
    /* The configuration as it is now. NULL: it never changes. */
    void (*refresh)(struct vio_vk *v);
};
extern const struct vk_kind vk_net_kind, vk_vsock_kind, vk_scsi_kind;

struct vio_vk {
    struct vio_transport t; /* first */
    const struct vk_sys *sys;
    const struct vk_kind *kind;
    struct vio_arena *arena;
    const struct vio_log *log;
    const char *node;
    char node_name[VIO_DRV_NAME];
    char why[VIO_DRV_WHY];

    int file[VIO_VHOST_KERNEL_PAIRS_MAX]; /* the node, opened once for each pair */
    unsigned nr_files;
    uint64_t kernel;              /* features that the kernel offers, of those we know */
    uint64_t own;                 /* that this transport adds */
    struct vio_features features; /* as they were last accepted */
    uint8_t status;
    uint32_t ring_error;          /* 1 + the queue that the kernel found broken; 0: none */

    uint8_t config[VK_CONFIG_MAX];
    uint32_t config_size;
    uint32_t generation;
    int events_fd;                /* an epoll: errors of rings, changes */

    struct vk_queue queue[VK_QUEUES_MAX];
    struct vk_net net;
    struct vio_vhost_scsi_target scsi;
};

static inline struct vio_vk *vk_of(struct vio_transport *t)
{
    return (struct vio_vk *)t;
}

/* driver.c. With another system: for tests. */
int vk_create(const struct vio_vhost_kernel_params *params, const struct vk_sys *sys, struct vio_transport **out, char *why)
    VIO_MUST_CHECK;

/* node.c: what is said to the kernel. Sets v->why; returns error. */
int vk_fail(struct vio_vk *v, int error, const char *format, ...) VIO_PRINTF(3, 4);
/* One ioctl; name is what it is called in the sentence. */
int vk_ioctl(struct vio_vk *v, unsigned file, unsigned long request, void *arg, const char *name) VIO_MUST_CHECK;
/* Opens the node once more, becomes its owner, reads its features and gives it the memory. */
int vk_open_file(struct vio_vk *v) VIO_MUST_CHECK;
void vk_close_files(struct vio_vk *v);
int vk_set_features(struct vio_vk *v) VIO_MUST_CHECK;
int vk_ring_start(struct vio_vk *v, uint16_t queue) VIO_MUST_CHECK;
int vk_ring_base(struct vio_vk *v, uint16_t queue, struct vio_queue_state *state) VIO_MUST_CHECK;
/* A descriptor of ours that shows events. */
int vk_watch(struct vio_vk *v, int fd) VIO_MUST_CHECK;

#endif
