/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the files of the vhost-user driver side share. Where it sits: transport/vhost_user_driver.
 * Threads: the control thread, but kick and call_fd of a queue, which its owner reads.
 */
#ifndef VIO_TRANSPORT_VHOST_USER_DRIVER_INTERNAL_H
#define VIO_TRANSPORT_VHOST_USER_DRIVER_INTERNAL_H

#include <sys/un.h>
#include <vio/vhost_user_driver.h>
#include "spec/vhost_user.h"

struct vud_queue {
    struct vio_drvq *drvq;
    void *drvq_memory;
    void *desc, *driver, *device; /* in the shared memory */
    int kick_fd, call_fd;         /* -1: polled */
};

/* The shared memory: rings and tables first, the caller's buffers behind. One region for the device. */
struct vud_memory {
    int fd;
    uint8_t *host;
    uint64_t size;
    uint64_t buffers; /* offset */
    uint64_t buffer_bytes;
    bool huge;
};

struct vio_vud {
    struct sockaddr_un address;
    bool has_path;
    int given_fd; /* until connect takes it */
    unsigned timeout_ms;
    const struct vio_log *log;
    char why[256];

    int fd;
    struct vio_features offered;
    bool has_protocol; /* bit 30 */
    uint64_t protocol_offered, protocol;
    uint16_t queues_max;

    bool started; /* memory and rings are there */
    bool running; /* the queues were started and not stopped, though the connection may have gone */
    struct vio_vud_setup setup;
    struct vud_memory memory;
    struct vud_queue *queue;
    int inflight_fd;
    struct vhost_user_inflight inflight;
};

/* Guest-physical address of the region's first byte: not a host address, so that a mix-up fails at once. */
#define VUD_BASE UINT64_C(0x100000000)

/* One message to send; fds are borrowed. */
struct vud_msg {
    uint32_t request;
    const void *payload;
    uint32_t size;
    const int *fds;
    unsigned nr_fds;
};

/* Sets v->why; returns error. */
int vud_fail(struct vio_vud *v, int error, const char *format, ...) VIO_PRINTF(3, 4);

/* socket.c. On any failure the connection is closed: what would come next on it is unknown. */
int vud_connect_socket(struct vio_vud *v) VIO_MUST_CHECK;
void vud_hang_up(struct vio_vud *v);
/* Sends and, where REPLY_ACK allows it, waits for the device's word: -EPROTO where it refused. */
int vud_send(struct vio_vud *v, const struct vud_msg *msg) VIO_MUST_CHECK;
int vud_send_u64(struct vio_vud *v, uint32_t request, uint64_t value) VIO_MUST_CHECK;
/*
 * Sends, then receives the reply of at most max bytes to `reply`; *got says how many. fd: where a descriptor that
 * comes with it goes (-1: none came), or NULL: such are closed.
 */
int vud_ask(struct vio_vud *v, const struct vud_msg *msg, void *reply, uint32_t max, uint32_t *got, int *fd)
    VIO_MUST_CHECK;
int vud_ask_u64(struct vio_vud *v, uint32_t request, uint64_t *value) VIO_MUST_CHECK;
const char *vud_message_name(uint32_t request);

/* memory.c. size: as asked for, rounded up to whole pages in m->size. */
int vud_memory_create(struct vud_memory *m, uint64_t size, bool small_pages) VIO_MUST_CHECK;
void vud_memory_destroy(struct vud_memory *m);

/* session.c: what start and reconnect both say to the device. */
int vud_handshake(struct vio_vud *v) VIO_MUST_CHECK;
int vud_negotiate(struct vio_vud *v, bool again) VIO_MUST_CHECK;
int vud_share(struct vio_vud *v, bool again) VIO_MUST_CHECK;
int vud_start_queue(struct vio_vud *v, uint16_t queue, bool again) VIO_MUST_CHECK;

static inline bool vud_has(const struct vio_vud *v, unsigned protocol_bit)
{
    return (v->protocol >> protocol_bit & 1) != 0;
}

#endif
