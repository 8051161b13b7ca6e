/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the inside of user-mode networking, for its own files only:
 *   net_user.c          the calls of the interface, the guest's frames on their way in
 *   net_user_open.c     opening: the network, the forwards
 *   net_user_join.c     its fragments
 *   net_user_queue.c    libslirp's frames on their way out
 *   net_user_turn.c     its sockets and timers
 *   net_user_api.c      libslirp, opened at run time
 * Threads: libslirp's object is made and ended by the control thread and in between is the owner thread's alone. What the
 * library has outside its objects (the time of day, the host's name server) is the same for all of them.
 */
#ifndef VIO_BACKEND_NET_USER_H
#define VIO_BACKEND_NET_USER_H

#include "backend/backend.h"

#include <poll.h>
#include <slirp/libslirp.h>
#include <stdatomic.h>
#include <vio/net.h>

/* What is used of libslirp, all of it there since 4.0. */
#define USER_CALLS(X) \
    X(new) X(cleanup) X(pollfds_fill) X(pollfds_poll) X(input) X(add_hostfwd) X(version_string)

struct user_api {
    void *library;
#define USER_MEMBER(name) __typeof__(slirp_##name) *name;
    USER_CALLS(USER_MEMBER)
#undef USER_MEMBER
};

enum {
    USER_MTU = 1500,
    USER_TIMERS_MAX = 8, /* libslirp has one */
    USER_FORWARDS_MAX = 64,

    /* Frames for the driver that it has not taken; more are dropped, and TCP sends them again. */
    USER_QUEUE_FRAMES = 4096,
    USER_QUEUE_BYTES = 4 << 20,
    /* With so many waiting the sockets are left alone: the network shall wait, not lose. */
    USER_QUEUE_ENOUGH_FRAMES = 512,
    USER_QUEUE_ENOUGH_BYTES = 1 << 20,

    /*
     * Each connection of a guest's is a socket here: new ones are made only while the process's lowest free descriptor is
     * below this and leaves a quarter of what the process may have to all others.
     */
    USER_FD_MAX = 4096,
    USER_JOIN_MAX = 8, /* packets of the guest's that are put together of fragments at one time */
};

/* Frames one behind another in a ring of bytes; each is in one piece. */
struct user_queue {
    unsigned char *bytes;
    uint32_t write, waiting_bytes; /* where the next frame goes, if it fits there */
    uint32_t first, nr;            /* in frame[] */
    struct user_frame {
        uint32_t at, len;
    } frame[USER_QUEUE_FRAMES];
};

struct user_timer {
    SlirpTimerCb call;
    void *arg;
    bool used, running;
    int64_t due_ms;
};

struct user {
    struct vio_net_backend head;
    const struct vio_log *log;
    struct vio_log_limit limit;
    struct user_api api;
    Slirp *slirp;
    const struct vio_net_sink *sink; /* from start to stop */
    int64_t turned_ms;               /* when libslirp last looked at the time */
    bool asleep;                     /* the device sleeps and has room: what send() brings about must wake it */
    int fd_limit;
    struct user_timer timer[USER_TIMERS_MAX];

    /* net_user_turn.c */
    int epoll_fd, timer_fd;
    struct pollfd *poll;
    size_t nr_poll, room_poll;
    int *armed; /* descriptors in the epoll set */
    size_t nr_armed, room_armed;

    struct user_join *join; /* made with the first fragment */
    unsigned join_next;

    struct user_queue queue;
    unsigned char frame[VIO_NET_FRAME_MAX]; /* one of the guest's, whole */

    _Atomic uint64_t queue_drops, socket_drops, fragment_drops, guest_errors;
};

static inline void user_count(_Atomic uint64_t *counter)
{
    /* One writer: no read-modify-write needed. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

int64_t user_now_ms(void);

/* net_user.c */
extern const struct vio_net_ops user_ops;

/* net_user_api.c. The reason of a failure is in why. */
int user_api_open(struct user_api *api, char *why, size_t why_size) VIO_MUST_CHECK;
void user_api_close(struct user_api *api);

/*
 * net_user_join.c: u->frame is a fragment (of at least an IPv4 header). 0: it is kept, or dropped; else the length of the
 * packet that is whole with it, and in u->frame instead.
 */
uint32_t user_join(struct user *u, uint32_t len) VIO_MUST_CHECK;

/* net_user_queue.c */
bool user_queue_put(struct user_queue *q, const void *frame, size_t len);
static inline bool user_queue_enough(const struct user_queue *q)
{
    return q->nr >= USER_QUEUE_ENOUGH_FRAMES || q->waiting_bytes >= USER_QUEUE_ENOUGH_BYTES;
}
/* Up to max frames to the sink; how many are gone. */
unsigned user_queue_deliver(struct user_queue *q, const struct vio_net_sink *sink, unsigned max);
void user_queue_clear(struct user_queue *q);

/* net_user_turn.c */
int user_turn_open(struct user *u) VIO_MUST_CHECK;
void user_turn_close(struct user *u);
/* Serves the sockets that are ready, and the timers that are due. */
void user_turn(struct user *u);
/* The timers only: libslirp knows what time it is afterwards. */
void user_turn_timers(struct user *u);
/* The descriptor is readable from now on when there is something for user_turn(); quiet: never. */
void user_turn_arm(struct user *u, bool quiet);
/* It is readable now, until the next user_turn_arm(). */
void user_turn_ring(struct user *u);
void *user_timer_new(SlirpTimerCb call, void *arg, void *opaque);
void user_timer_free(void *timer, void *opaque);
void user_timer_mod(void *timer, int64_t due_ms, void *opaque);

#endif
