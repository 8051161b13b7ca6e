/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the files of the vhost-user driver side share. Where it sits: transport/vhost_user_driver.
 * Threads: the control thread, but kick_fd and call_fd of a queue, which its owner uses.
 */
#ifndef VIO_TRANSPORT_VHOST_USER_DRIVER_INTERNAL_H
#define VIO_TRANSPORT_VHOST_USER_DRIVER_INTERNAL_H

#include <sys/un.h>
#include <vio/vhost_user_driver.h>
#include "spec/vhost_user.h"
#include "spec/virtio.h"

enum { VUD_BACK_BYTES = 256 }; /* the longest payload on the back-end channel that is no fault */

/* Descriptors are kept while the transport lives: a loop may watch them. */
struct vud_queue {
    int kick_fd, call_fd; /* -1: not made yet; kick: or the device polls */
    bool started;
    struct vio_transport_queue told; /* as it was started */
};

struct vio_vud {
    struct vio_transport t; /* first */
    struct sockaddr_un address;
    bool has_path, poll_kick;
    unsigned timeout_ms;
    uint16_t queue_size_max;
    const struct vio_log *log;
    char why[VIO_DRV_WHY];

    int fd;
    struct vio_features offered; /* what a driver may see */
    bool has_protocol;           /* bit 30 */
    bool has_log;                /* bit 26 */
    bool has_ring_reset;         /* bit 40; it is offered without: a ring is stopped and started again by messages */
    uint64_t protocol_offered, protocol;
    uint64_t slots_max;
    uint8_t status;              /* where the device has none */

    struct vio_arena *arena[VIO_VUD_ARENAS_MAX];
    unsigned nr_arenas;
    bool shared;                 /* the device of this connection knows the arenas */
    struct vio_features features; /* as they were last accepted */
    uint16_t planned, planned_size;
    struct vud_queue queue[VIO_VUD_QUEUES_MAX];
    int inflight_fd;
    struct vhost_user_inflight inflight;

    /* What tells of changes: the back-end channel, the rings' errors, the socket's end; all behind one epoll. */
    int events_fd, error_fd, back_fd;
    uint8_t back[sizeof(struct vhost_user_header) + VUD_BACK_BYTES];
    size_t back_have;

    int log_fd;
    struct vio_vud_log log_map;
    uint8_t *state; /* for the next reconnect */
    size_t state_size;
};

static inline struct vio_vud *vud_of(struct vio_transport *t)
{
    return (struct vio_vud *)t;
}

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

/* socket.c. Where the line is no longer in step the connection is closed: what would come next on it is unknown. */
int vud_connect_socket(struct vio_vud *v) VIO_MUST_CHECK;
void vud_hang_up(struct vio_vud *v);
/* Whether the other end is there, without a word. */
bool vud_alive(const struct vio_vud *v);
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
/* Closes all descriptors of a message but the first, which goes to *fd if that is -1. */
struct msghdr;
void vud_take_fds(struct msghdr *m, int *fd);

/* session.c: what is said on every connection. */
int vud_handshake(struct vio_vud *v) VIO_MUST_CHECK;
int vud_set_features(struct vio_vud *v) VIO_MUST_CHECK; /* v->features, and what the protocol adds */
int vud_share_memory(struct vio_vud *v) VIO_MUST_CHECK;
int vud_share_inflight(struct vio_vud *v, bool again) VIO_MUST_CHECK;
int vud_start_queue(struct vio_vud *v, uint16_t queue) VIO_MUST_CHECK; /* as told */
int vud_address_queue(struct vio_vud *v, uint16_t queue) VIO_MUST_CHECK;
int vud_stop_queue(struct vio_vud *v, uint16_t queue, struct vio_queue_state *state) VIO_MUST_CHECK;
/* The ring starts afresh: what the record says of it is of its former life. */
int vud_clear_inflight(struct vio_vud *v, uint16_t queue) VIO_MUST_CHECK;
int vud_stop_all(struct vio_vud *v) VIO_MUST_CHECK;
int vud_send_region(struct vio_vud *v, uint32_t request, const struct vio_arena *arena) VIO_MUST_CHECK;

/* events.c */
int vud_events_open(struct vio_vud *v) VIO_MUST_CHECK;
void vud_events_close(struct vio_vud *v);
/* A connection is there, or goes: what is watched changes with it. */
int vud_events_connected(struct vio_vud *v) VIO_MUST_CHECK;
void vud_events_gone(struct vio_vud *v);
/* Reads what came on the channel, answers where that is asked for, and makes the descriptor quiet. */
void vud_events_clear(struct vio_vud *v);

/* more.c: the log's part of SET_FEATURES, and the state that waits for a reconnect. */
int vud_log_again(struct vio_vud *v) VIO_MUST_CHECK;
void vud_log_forget(struct vio_vud *v);
int vud_state_give(struct vio_vud *v) VIO_MUST_CHECK;

static inline bool vud_has(const struct vio_vud *v, unsigned protocol_bit)
{
    return (v->protocol >> protocol_bit & 1) != 0;
}

#endif
