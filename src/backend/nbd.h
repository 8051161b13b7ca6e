/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the inside of the NBD backend, for its own files only:
 *   nbd.c        opening, the calls of the interface, cutting a request into commands
 *   nbd_link.c   a connection: commands on their way, and its loss and return
 *   nbd_api.c    libnbd, opened at run time
 * Threads: a link and all that is on its way there is under the link's lock, as two channels share one link where the
 * server does not say that several are coherent. Nothing waits under the lock.
 */
#ifndef VIO_BACKEND_NBD_H
#define VIO_BACKEND_NBD_H

#include "backend/backend.h"

#include <libnbd.h>
#include <pthread.h>
#include <stdatomic.h>

/* What is used of libnbd: name and whether it may be missing (newer than the oldest libnbd that does). */
#define NBD_CALLS(X)                                                                                          \
    X(create, true) X(close, true) X(get_error, true) X(get_errno, true) X(aio_connect_uri, true)            \
    X(aio_get_fd, true) X(aio_get_direction, true) X(aio_notify_read, true) X(aio_notify_write, true)        \
    X(aio_is_dead, true) X(aio_is_closed, true) X(aio_is_connecting, true) X(aio_pread, true)                \
    X(aio_pwrite, true) X(aio_flush, true) X(aio_trim, true) X(aio_zero, true)                               \
    X(aio_disconnect, true) X(get_size, true) X(is_read_only, true) X(can_flush, true)     \
    X(can_fua, true) X(can_trim, true) X(can_zero, true) X(can_multi_conn, true)                             \
    X(get_block_size, true) X(set_uri_allow_local_file, true)                                                \
    X(set_pread_initialize, false)

struct nbd_api {
    void *library;
#define NBD_MEMBER(name, needed) __typeof__(nbd_##name) *name;
    NBD_CALLS(NBD_MEMBER)
#undef NBD_MEMBER
};

/* What the server can do, learnt with each connection. */
struct nbd_export {
    uint64_t size;
    uint32_t min_block, preferred_block, max_block;
    bool read_only, can_flush, can_fua, can_trim, can_zero, can_multi_conn;
};

enum nbd_step { NBD_PLAIN, NBD_PART_READ, NBD_PART_WRITE };

/* One command on its way. */
struct nbd_piece {
    struct nbd_piece *next;
    struct nbd_link *link;
    struct nbd_channel *channel;
    struct vio_block_io *io;
    uint8_t op; /* enum vio_block_op; the flush behind a write that must be stable too */
    uint8_t step;
    bool sent; /* at least once: it may have been done */
    unsigned char *buffer;
    unsigned char *block; /* a part of a block: the whole of it */
    uint64_t offset, length;
    int error;
};

enum nbd_state { NBD_DOWN, NBD_CONNECTING, NBD_READY };

struct nbd_link {
    struct nbd_backend *nbd;
    pthread_mutex_t lock;
    struct nbd_handle *handle;
    enum nbd_state state;
    bool was_up;     /* the change to down was said */
    int epoll_fd;    /* the socket and the timer */
    int timer_fd;
    int socket_fd;   /* in the epoll set, or -1 */
    unsigned events; /* what epoll waits for there */
    uint64_t down_since_ns, retry_ns, attempt_until_ns, drop_ns; /* 0: not set */
    uint64_t timer_ns;
    uint32_t backoff_ms;
    unsigned in_flight, users;
    struct nbd_piece *queue, **queue_end; /* to be sent */
    struct nbd_piece *returned, **returned_end; /* came back in the last turn */
    struct nbd_export export; /* of this connection, or of the last */
    uint32_t generation;      /* of the size that it knows */
    int error;                /* of the last failure, with its reason */
    char reason[200];
    struct nbd_piece *part; /* reads, changes and writes a block: alone on the link */
};

struct nbd_backend {
    struct vio_block_backend head;
    const struct vio_log *log;
    char *uri;
    bool read_only;
    uint64_t reconnect_ns;
    struct nbd_api api;
    _Atomic uint64_t size;      /* what requests must fit in */
    _Atomic uint32_t generation; /* counts changes of the size: links of an older one connect again */
    pthread_mutex_t lock; /* of `export` */
    struct nbd_export export; /* as it was last learnt, by any link */
    struct nbd_link *first; /* made with the backend; a server of one connection has only this */
};

struct nbd_channel {
    struct vio_block_channel head;
    struct nbd_backend *nbd;
    struct nbd_link *link;
    int epoll_fd; /* the link's, and wake_fd */
    int wake_fd;  /* another channel's thread has finished a request of ours */
    /* under the link's lock */
    struct vio_block_io *done, **done_end;
    unsigned pending;
    bool cancelled;
    bool woken; /* wake_fd was written */
};

/* nbd_api.c. The reason of a failure is in why. */
int nbd_api_open(struct nbd_api *api, char *why, size_t why_size) VIO_MUST_CHECK;
void nbd_api_close(struct nbd_api *api);

/* nbd_link.c: all but make and free with the lock held. */
struct nbd_link *nbd_link_make(struct nbd_backend *nbd);
void nbd_link_free(struct nbd_link *link);
void nbd_link_put(struct nbd_link *link, struct nbd_piece *piece);
/* Sends what there is, takes what has come, and sees to the connection. self: who calls, or NULL. */
void nbd_link_turn(struct nbd_link *link, const struct nbd_channel *self);
/* Ends what was never sent, and after a second the connection, if the server still owes something. */
void nbd_link_cancel(struct nbd_link *link, struct nbd_channel *c);
uint64_t nbd_now_ns(void);

/* nbd.c: */
struct nbd_export nbd_export_of(struct nbd_backend *nbd);
/* The request has a command less on its way, and is perhaps done. */
void nbd_piece_done(struct nbd_piece *piece, const struct nbd_channel *self);

#endif
