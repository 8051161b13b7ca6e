/* SPDX-License-Identifier: MIT */
/*
 * Purpose: one connection to an NBD server, driven without waiting: commands are queued, sent, come back; when the
 * server goes away they are queued again and sent to it once it is back, or fail when it stays away too long.
 * Where it sits: backend/nbd. Threads: under link->lock; libnbd's callbacks run inside our own calls.
 * Trust: the server is the disk's owner; what it answers is data of the disk, its sizes are checked.
 */
#include "backend/nbd.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000ull
#define BACKOFF_MS 50u
#define BACKOFF_MAX_MS 2000u
#define ATTEMPT_MS 10000u
#define CANCEL_MS 1000u

uint64_t nbd_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct nbd_link *nbd_link_make(struct nbd_backend *nbd)
{
    struct nbd_link *link = calloc(1, sizeof *link);
    struct epoll_event event = { .events = EPOLLIN };

    if (!link)
        return NULL;
    link->nbd = nbd;
    link->export = nbd_export_of(nbd);
    link->queue_end = &link->queue;
    link->returned_end = &link->returned;
    link->socket_fd = -1;
    link->backoff_ms = BACKOFF_MS;
    link->down_since_ns = nbd_now_ns();
    link->retry_ns = link->down_since_ns;
    link->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    link->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (link->epoll_fd >= 0 && link->timer_fd >= 0 &&
        epoll_ctl(link->epoll_fd, EPOLL_CTL_ADD, link->timer_fd, &event) == 0 &&
        pthread_mutex_init(&link->lock, NULL) == 0)
        return link;
    if (link->epoll_fd >= 0)
        close(link->epoll_fd);
    if (link->timer_fd >= 0)
        close(link->timer_fd);
    free(link);
    return NULL;
}

/* ------------------------------------------------------------------ up and down */

static void watch_socket(struct nbd_link *link)
{
    const struct nbd_api *api = &link->nbd->api;
    int fd = link->state == NBD_DOWN ? -1 : api->aio_get_fd(link->handle);
    struct epoll_event event = { 0 };
    unsigned direction;

    if (fd != link->socket_fd) { /* a closed one has left the set by itself */
        link->socket_fd = -1;
        link->events = 0;
    }
    if (fd < 0)
        return;
    direction = api->aio_get_direction(link->handle);
    event.events = (direction & LIBNBD_AIO_DIRECTION_READ ? (uint32_t)EPOLLIN : 0) |
                   (direction & LIBNBD_AIO_DIRECTION_WRITE ? (uint32_t)EPOLLOUT : 0);
    if (link->socket_fd == fd && link->events == event.events)
        return;
    /* While connecting, libnbd may have replaced a socket by another of the same number: then MOD finds none. */
    if (link->socket_fd != fd || epoll_ctl(link->epoll_fd, EPOLL_CTL_MOD, fd, &event) < 0)
        if (epoll_ctl(link->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
            epoll_ctl(link->epoll_fd, EPOLL_CTL_MOD, fd, &event);
    link->socket_fd = fd;
    link->events = event.events;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return !a ? b : !b ? a : a < b ? a : b;
}

static void set_timer(struct nbd_link *link)
{
    struct itimerspec at = { 0 };
    uint64_t when = earlier(link->drop_ns, link->state == NBD_DOWN         ? link->retry_ns
                                           : link->state == NBD_CONNECTING ? link->attempt_until_ns
                                                                           : 0);
    uint64_t rang;

    if (link->state != NBD_READY && link->queue)
        when = earlier(when, link->down_since_ns + link->nbd->reconnect_ns);
    if (when == link->timer_ns)
        return;
    link->timer_ns = when;
    at.it_value.tv_sec = (time_t)(when / 1000000000u);
    at.it_value.tv_nsec = (long)(when % 1000000000u);
    timerfd_settime(link->timer_fd, TFD_TIMER_ABSTIME, &at, NULL); /* also ends what has rung */
    (void)!read(link->timer_fd, &rang, sizeof rang);
}

/* Everything on its way comes back through the callbacks. */
static void link_close(struct nbd_link *link)
{
    if (link->handle)
        link->nbd->api.close(link->handle);
    link->handle = NULL;
    link->socket_fd = -1;
    link->events = 0;
}

static void link_down(struct nbd_link *link, const char *reason)
{
    struct nbd_backend *nbd = link->nbd;
    uint64_t now = nbd_now_ns();

    /* libnbd's reason lives no longer than its handle. */
    link->error = nbd->api.get_errno();
    snprintf(link->reason, sizeof link->reason, "%s", reason ? reason : "the server ended the connection");
    link_close(link);
    if (link->was_up || !link->down_since_ns) {
        link->down_since_ns = now;
        link->was_up = false;
        vio_log(nbd->log, VIO_LOG_WARNING, nbd->uri, "connection lost: %s; requests wait %" PRIu64 " s for it", link->reason,
                nbd->reconnect_ns / 1000000000u);
    }
    link->state = NBD_DOWN;
    link->drop_ns = 0;
    link->retry_ns = now + link->backoff_ms * MS;
    link->backoff_ms = vio_min_u32(link->backoff_ms * 2, BACKOFF_MAX_MS);
}

static void link_connect(struct nbd_link *link)
{
    struct nbd_backend *nbd = link->nbd;
    const struct nbd_api *api = &nbd->api;

    link->handle = api->create();
    if (!link->handle) {
        link_down(link, api->get_error());
        return;
    }
    link->state = NBD_CONNECTING;
    link->attempt_until_ns = nbd_now_ns() + ATTEMPT_MS * MS;
    /* The URI is the owner's own: it may name files with keys. Buffers are filled by the server or not at all. */
    api->set_uri_allow_local_file(link->handle, true);
    if (api->set_pread_initialize)
        api->set_pread_initialize(link->handle, false);
    if (api->aio_connect_uri(link->handle, nbd->uri) < 0)
        link_down(link, api->get_error());
}

static uint32_t block_of(int64_t size, uint32_t otherwise)
{
    return size > 0 && size <= (1 << 30) ? (uint32_t)size : otherwise;
}

static int read_export(struct nbd_link *link, struct nbd_export *e)
{
    const struct nbd_api *api = &link->nbd->api;
    struct nbd_handle *h = link->handle;
    int64_t size = api->get_size(h);
    uint32_t max;

    if (size < 0)
        return -EIO;
    *e = (struct nbd_export){
        .size = (uint64_t)size,
        .min_block = block_of(api->get_block_size(h, LIBNBD_SIZE_MINIMUM), 1),
        .preferred_block = block_of(api->get_block_size(h, LIBNBD_SIZE_PREFERRED), 4096),
        .read_only = api->is_read_only(h) > 0,
        .can_flush = api->can_flush(h) > 0,
        .can_fua = api->can_fua(h) > 0,
        .can_trim = api->can_trim(h) > 0,
        .can_zero = api->can_zero(h) > 0,
        .can_multi_conn = api->can_multi_conn(h) > 0,
    };
    if (e->min_block & (e->min_block - 1) || e->min_block > 65536)
        return -EINVAL;
    max = vio_min_u32(block_of(api->get_block_size(h, LIBNBD_SIZE_MAXIMUM), 32u << 20), 32u << 20);
    e->max_block = max / e->min_block * e->min_block;
    return e->max_block ? 0 : -EINVAL;
}

static void link_up(struct nbd_link *link)
{
    struct nbd_backend *nbd = link->nbd;
    uint32_t cut_for = link->export.min_block;
    uint32_t generation = atomic_load(&nbd->generation);
    struct nbd_export e;
    uint64_t before;

    if (read_export(link, &e) < 0) {
        link_down(link, "the server's sizes make no sense");
        return;
    }
    if (cut_for && e.min_block > cut_for) {
        link_down(link, "the server came back with larger blocks");
        return;
    }
    if (cut_for)
        e.min_block = cut_for; /* commands were cut for it already */
    pthread_mutex_lock(&nbd->lock);
    nbd->export = e;
    pthread_mutex_unlock(&nbd->lock);
    before = atomic_exchange(&nbd->size, e.size / VIO_SECTOR * VIO_SECTOR);
    if (before && before != e.size / VIO_SECTOR * VIO_SECTOR)
        vio_log(nbd->log, VIO_LOG_WARNING, nbd->uri, "has %" PRIu64 " bytes now, it had %" PRIu64, e.size, before);
    vio_log(nbd->log, VIO_LOG_INFO, nbd->uri, "connected: %" PRIu64 " bytes%s", e.size,
            e.read_only ? ", read-only" : "");
    link->export = e;
    link->generation = generation;
    link->state = NBD_READY;
    link->was_up = true;
    link->down_since_ns = 0;
    link->backoff_ms = BACKOFF_MS;
}

/* ------------------------------------------------------------------ commands */

void nbd_link_put(struct nbd_link *link, struct nbd_piece *piece)
{
    piece->next = NULL;
    *link->queue_end = piece;
    link->queue_end = &piece->next;
}

static int on_done(void *data, int *error)
{
    struct nbd_piece *piece = data;

    piece->error = *error;
    return 1; /* libnbd forgets it, and calls on_free */
}

/* Called once whatever becomes of a command: without on_done before, it was lost with the connection. */
static void on_free(void *data)
{
    struct nbd_piece *piece = data;
    struct nbd_link *link = piece->link;

    link->in_flight--;
    piece->next = NULL;
    *link->returned_end = piece;
    link->returned_end = &piece->next;
}

static int64_t send_piece(struct nbd_link *link, struct nbd_piece *p)
{
    const struct nbd_api *api = &link->nbd->api;
    const struct nbd_export *e = &link->export;
    nbd_completion_callback done = { .callback = on_done, .user_data = p, .free = on_free };
    struct nbd_handle *h = link->handle;
    uint64_t offset = p->offset, length = p->length;
    unsigned char *buffer = p->buffer;
    uint32_t flags = p->io->flags & VIO_BLOCK_IO_FUA && e->can_fua ? (uint32_t)LIBNBD_CMD_FLAG_FUA : 0;

    if (p->step != NBD_PLAIN) {
        offset -= offset % e->min_block;
        length = e->min_block;
        buffer = p->block;
        return p->step == NBD_PART_READ ? api->aio_pread(h, buffer, length, offset, done, 0)
                                        : api->aio_pwrite(h, buffer, length, offset, done, flags);
    }
    switch (p->op) {
    case VIO_BLOCK_READ:
        return api->aio_pread(h, buffer, length, offset, done, 0);
    case VIO_BLOCK_WRITE:
        return api->aio_pwrite(h, buffer, length, offset, done, flags);
    case VIO_BLOCK_FLUSH:
        return api->aio_flush(h, done, 0);
    case VIO_BLOCK_DISCARD:
        return api->aio_trim(h, length, offset, done, flags);
    default:
        if (!(p->io->flags & VIO_BLOCK_IO_UNMAP))
            flags |= LIBNBD_CMD_FLAG_NO_HOLE;
        return api->aio_zero(h, length, offset, done, flags);
    }
}

static void issue(struct nbd_link *link, struct nbd_piece *piece)
{
    piece->error = ENOTCONN; /* unless on_done tells better */
    piece->sent = true;
    link->in_flight++;
    /* On failure on_free was called already, and the piece is among the returned. */
    if (send_piece(link, piece) < 0) {
        int error = link->nbd->api.get_errno();

        piece->error = error ? error : EIO;
    }
}

static void issue_all(struct nbd_link *link)
{
    while (link->queue && link->state == NBD_READY && !link->part) {
        struct nbd_piece *piece = link->queue;

        if (piece->step != NBD_PLAIN) {
            if (link->in_flight)
                break;
            link->part = piece;
        }
        link->queue = piece->next;
        if (!link->queue)
            link->queue_end = &link->queue;
        issue(link, piece);
    }
}

/* The block has been read: the next half. True: it is on its way again. */
static bool part_goes_on(struct nbd_link *link, struct nbd_piece *p)
{
    uint64_t at = p->offset % link->export.min_block;

    if (p->step == NBD_PART_WRITE)
        return false;
    if (p->op == VIO_BLOCK_READ) {
        memcpy(p->buffer, p->block + at, p->length);
        return false;
    }
    if (p->op == VIO_BLOCK_WRITE)
        memcpy(p->block + at, p->buffer, p->length);
    else
        memset(p->block + at, 0, p->length);
    p->step = NBD_PART_WRITE;
    issue(link, p);
    return true;
}

static bool lost(int error)
{
    return error == ENOTCONN || error == ESHUTDOWN || error == ECONNRESET || error == EPIPE;
}

/* What came back: done, or lost with the connection and queued again before all others, in its order. */
static void sort_returned(struct nbd_link *link, const struct nbd_channel *self)
{
    struct nbd_piece *again = NULL, **again_end = &again, *piece;

    while ((piece = link->returned) != NULL) {
        link->returned = piece->next;
        if (!link->returned)
            link->returned_end = &link->returned;
        if (piece->error == 0 && piece->step != NBD_PLAIN && part_goes_on(link, piece))
            continue;
        if (piece == link->part)
            link->part = NULL;
        if (lost(piece->error) || (piece->error && link->state != NBD_READY)) {
            /* The server says that it is going: no use in asking it more. */
            if (link->state == NBD_READY)
                link_down(link, "the server is shutting down");
            if (!piece->channel->cancelled) {
                if (piece->step == NBD_PART_WRITE)
                    piece->step = NBD_PART_READ;
                *again_end = piece;
                again_end = &piece->next;
                continue;
            }
            piece->error = EIO;
        }
        nbd_piece_done(piece, self);
    }
    if (again) {
        *again_end = link->queue;
        if (!link->queue)
            link->queue_end = again_end;
        link->queue = again;
    }
}

static void fail_queue(struct nbd_link *link, const struct nbd_channel *self)
{
    while (link->queue) {
        struct nbd_piece *piece = link->queue;

        link->queue = piece->next;
        if (!link->queue)
            link->queue_end = &link->queue;
        piece->error = EIO;
        nbd_piece_done(piece, self);
    }
}

/* ------------------------------------------------------------------ a turn */

/* Lets libnbd read and write what it can without waiting. */
static void progress(struct nbd_link *link)
{
    const struct nbd_api *api = &link->nbd->api;
    struct nbd_handle *h = link->handle;

    while (!api->aio_is_dead(h) && !api->aio_is_closed(h)) {
        unsigned direction = api->aio_get_direction(h);
        struct pollfd p = { .fd = api->aio_get_fd(h) };

        p.events = (short)((direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
                           (direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
        if (p.fd < 0 || !p.events || poll(&p, 1, 0) <= 0)
            return;
        /* Reading first: that finds an end of the connection, too. */
        if (direction & LIBNBD_AIO_DIRECTION_READ && p.revents & (POLLIN | POLLHUP | POLLERR)) {
            if (api->aio_notify_read(h) < 0)
                return;
        } else if (p.revents & (POLLOUT | POLLHUP | POLLERR)) {
            if (api->aio_notify_write(h) < 0)
                return;
        }
    }
}

static void follow_state(struct nbd_link *link, uint64_t now)
{
    const struct nbd_api *api = &link->nbd->api;

    if (link->state == NBD_DOWN && now >= link->retry_ns)
        link_connect(link);
    if (link->state == NBD_DOWN)
        return;
    progress(link);
    if (api->aio_is_dead(link->handle) || api->aio_is_closed(link->handle))
        link_down(link, api->get_error());
    else if (link->state == NBD_CONNECTING && !api->aio_is_connecting(link->handle))
        link_up(link);
    else if (link->state == NBD_CONNECTING && now >= link->attempt_until_ns)
        link_down(link, "no answer");
    else if (link->state == NBD_READY && link->generation != atomic_load(&link->nbd->generation))
        link_down(link, "the size has changed");
    else if (link->drop_ns && now >= link->drop_ns)
        link_down(link, "the server does not answer, and its client wants to stop");
}

void nbd_link_turn(struct nbd_link *link, const struct nbd_channel *self)
{
    uint64_t now = nbd_now_ns();

    follow_state(link, now);
    do {
        sort_returned(link, self);
        issue_all(link);
    } while (link->returned);
    if (link->state != NBD_READY && link->queue && now >= link->down_since_ns + link->nbd->reconnect_ns)
        fail_queue(link, self);
    watch_socket(link);
    set_timer(link);
}

void nbd_link_cancel(struct nbd_link *link, struct nbd_channel *c)
{
    struct nbd_piece **at = &link->queue;

    c->cancelled = true;
    while (*at) {
        struct nbd_piece *piece = *at;

        if (piece->channel != c) {
            at = &piece->next;
            continue;
        }
        *at = piece->next;
        piece->error = piece->sent ? EIO : ECANCELED;
        nbd_piece_done(piece, c);
    }
    link->queue_end = at;
    if (c->pending && link->state == NBD_READY)
        link->drop_ns = earlier(link->drop_ns, nbd_now_ns() + CANCEL_MS * MS);
    set_timer(link);
}

void nbd_link_free(struct nbd_link *link)
{
    if (!link)
        return;
    if (link->handle && link->state == NBD_READY) /* a polite end, as far as it goes without waiting */
        link->nbd->api.aio_disconnect(link->handle, 0);
    link_close(link);
    close(link->epoll_fd);
    close(link->timer_fd);
    pthread_mutex_destroy(&link->lock);
    free(link);
}
