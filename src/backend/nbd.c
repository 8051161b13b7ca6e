/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a disk on an NBD server: opening it and the calls of the interface; a request becomes one or more commands.
 * Where it sits: backend/. Threads: see nbd.h.
 * A server that comes back has what it had made stable; what it had only acknowledged may be lost with it, as with
 * a disk that lost its power. Requests on their way are sent again.
 */
#include "backend/nbd.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* The first connection must stand within this time. */
#define OPEN_NS 10000000000ull
#define REFRESH_NS 3000000000ull
/* Up to so many segments each is a command of its own; more of them are copied through one buffer, if that is small. */
#define SEGS_AS_COMMANDS 8u
#define BOUNCE_USUAL (1u << 20)
#define BOUNCE_MAX (64u << 20)
/* Lengths of commands without data have 32 bits. */
#define RANGE_MAX (1u << 30)

/* What an io carries in priv[]. */
enum { NBD_LEFT, NBD_ERROR, NBD_BOUNCE, NBD_SYNCED };

/* ------------------------------------------------------------------ the backend */

struct nbd_export nbd_export_of(struct nbd_backend *nbd)
{
    struct nbd_export e;

    pthread_mutex_lock(&nbd->lock);
    e = nbd->export;
    pthread_mutex_unlock(&nbd->lock);
    return e;
}

static int nbd_info(struct vio_block_backend *b, struct vio_block_info *info)
{
    struct nbd_backend *nbd = (struct nbd_backend *)b;
    struct nbd_export e = nbd_export_of(nbd);
    bool writable = !nbd->read_only && !e.read_only;
    uint32_t block = e.min_block > VIO_SECTOR ? e.min_block : VIO_SECTOR;

    *info = (struct vio_block_info){
        .size = atomic_load(&nbd->size),
        .logical_block = block,
        .physical_block = e.preferred_block > block && !(e.preferred_block & (e.preferred_block - 1)) ?
                              e.preferred_block : block,
        .discard_granularity = e.preferred_block > block ? e.preferred_block : block,
        .read_only = !writable,
        .can_flush = e.can_flush,
        .can_discard = writable && e.can_trim,
        .can_zero = writable && e.can_zero,
        .can_zero_unmap = writable && e.can_zero,
        .can_fua = e.can_fua,
    };
    return 0;
}

/* Until it is connected, or the first attempt has failed, or the time is over. */
static bool wait_connected(struct nbd_link *link, uint64_t wait_ns)
{
    uint64_t until = nbd_now_ns() + wait_ns;

    for (;;) {
        struct pollfd p = { .fd = link->epoll_fd, .events = POLLIN };

        nbd_link_turn(link, NULL);
        if (link->state == NBD_READY)
            return true;
        if (link->state == NBD_DOWN || nbd_now_ns() >= until)
            return false;
        poll(&p, 1, 100);
    }
}

/*
 * A server tells the size when a connection is made. So one is made to ask, and where the answer is a new one all
 * others are made again. A server that takes one connection only does not answer: then the size stays.
 */
static int nbd_refresh(struct vio_block_backend *b)
{
    struct nbd_backend *nbd = (struct nbd_backend *)b;
    uint64_t before = atomic_load(&nbd->size);
    struct nbd_link *link = nbd_link_make(nbd);
    bool connected;

    if (!link)
        return -ENOMEM;
    connected = wait_connected(link, REFRESH_NS);
    nbd_link_free(link);
    if (!connected)
        return -ETIMEDOUT;
    if (atomic_load(&nbd->size) != before)
        atomic_fetch_add(&nbd->generation, 1);
    return 0;
}

static void nbd_destroy(struct vio_block_backend *b)
{
    struct nbd_backend *nbd = (struct nbd_backend *)b;

    nbd_link_free(nbd->first);
    pthread_mutex_destroy(&nbd->lock);
    nbd_api_close(&nbd->api);
    free(nbd->uri);
    free(nbd);
}

/* ------------------------------------------------------------------ a channel */

/* The first link where it is free, or where the server does not say that several connections see the same. */
static struct nbd_link *take_link(struct nbd_backend *nbd)
{
    struct nbd_export e = nbd_export_of(nbd);
    struct nbd_link *link = nbd->first;
    bool share;

    pthread_mutex_lock(&link->lock);
    share = link->users == 0 || !e.can_multi_conn || e.min_block > VIO_SECTOR;
    link->users += share;
    pthread_mutex_unlock(&link->lock);
    return share ? link : nbd_link_make(nbd);
}

static void give_link(struct nbd_backend *nbd, struct nbd_link *link)
{
    if (link != nbd->first) {
        nbd_link_free(link);
        return;
    }
    pthread_mutex_lock(&link->lock);
    link->users--;
    pthread_mutex_unlock(&link->lock);
}

static void nbd_channel_close(struct vio_block_channel *channel)
{
    struct nbd_channel *c = (struct nbd_channel *)channel;

    give_link(c->nbd, c->link);
    close(c->epoll_fd);
    close(c->wake_fd);
    free(c);
}

static int nbd_channel_open(struct vio_block_backend *b, unsigned depth, const struct vio_block_memory *memory,
                            struct vio_block_channel **out)
{
    struct epoll_event event = { .events = EPOLLIN };
    struct nbd_channel *c = calloc(1, sizeof *c);
    int ret = -ENOMEM;

    (void)depth;
    (void)memory;
    if (!c)
        return -ENOMEM;
    c->head.backend = b;
    c->nbd = (struct nbd_backend *)b;
    c->done_end = &c->done;
    c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    c->link = take_link(c->nbd);
    if (c->link) {
        if (c->epoll_fd >= 0 && c->wake_fd >= 0 && epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, c->wake_fd, &event) == 0 &&
            epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, c->link->epoll_fd, &event) == 0) {
            *out = &c->head;
            return 0;
        }
        ret = -errno;
        give_link(c->nbd, c->link);
    }
    if (c->epoll_fd >= 0)
        close(c->epoll_fd);
    if (c->wake_fd >= 0)
        close(c->wake_fd);
    free(c);
    return ret;
}

static int nbd_fd(struct vio_block_channel *channel)
{
    return ((struct nbd_channel *)channel)->epoll_fd;
}

static bool nbd_arm(struct vio_block_channel *channel, bool sleep)
{
    struct nbd_channel *c = (struct nbd_channel *)channel;
    bool ready;

    if (!sleep)
        return false;
    pthread_mutex_lock(&c->link->lock);
    nbd_link_turn(c->link, c);
    ready = c->done != NULL;
    pthread_mutex_unlock(&c->link->lock);
    return ready;
}

static void nbd_cancel(struct vio_block_channel *channel)
{
    struct nbd_channel *c = (struct nbd_channel *)channel;

    pthread_mutex_lock(&c->link->lock);
    if (c->pending)
        nbd_link_cancel(c->link, c);
    pthread_mutex_unlock(&c->link->lock);
}

static void wake(struct nbd_channel *c)
{
    c->woken = true;
    eventfd_write(c->wake_fd, 1);
}

static unsigned nbd_reap(struct vio_block_channel *channel, struct vio_block_io **done, unsigned max)
{
    struct nbd_channel *c = (struct nbd_channel *)channel;
    unsigned n = 0;
    eventfd_t count;

    pthread_mutex_lock(&c->link->lock);
    if (!c->done)
        nbd_link_turn(c->link, c);
    if (c->woken)
        eventfd_read(c->wake_fd, &count);
    c->woken = false;
    while (c->done && n < max) {
        done[n++] = c->done;
        c->done = c->done->next;
    }
    if (!c->done)
        c->done_end = &c->done;
    else
        wake(c);
    pthread_mutex_unlock(&c->link->lock);
    return n;
}

/* ------------------------------------------------------------------ requests and their commands */

static void copy_segments(struct vio_block_io *io, bool to_segments)
{
    unsigned char *bounce = (unsigned char *)(uintptr_t)io->priv[NBD_BOUNCE];

    for (uint32_t i = 0; i < io->nr_seg; bounce += io->seg[i].len, i++) {
        if (to_segments)
            memcpy(io->seg[i].base, bounce, io->seg[i].len);
        else
            memcpy(bounce, io->seg[i].base, io->seg[i].len);
    }
}

static void io_done(struct nbd_channel *c, struct vio_block_io *io, const struct nbd_channel *self)
{
    io->result = -(int)io->priv[NBD_ERROR];
    if (io->priv[NBD_BOUNCE]) {
        if (io->op == VIO_BLOCK_READ && io->result == 0)
            copy_segments(io, true);
        free((void *)(uintptr_t)io->priv[NBD_BOUNCE]);
    }
    io->next = NULL;
    *c->done_end = io;
    c->done_end = &io->next;
    if (--c->pending == 0)
        c->cancelled = false;
    if (c != self)
        wake(c);
}

/* A command for [offset, offset + length). Without memory for it the request fails. */
static struct nbd_piece *add_piece(struct nbd_channel *c, struct vio_block_io *io, uint8_t op, unsigned char *buffer,
                                   uint64_t offset, uint64_t length)
{
    struct nbd_piece *piece = calloc(1, sizeof *piece);

    if (!piece) {
        io->priv[NBD_ERROR] = ENOMEM;
        return NULL;
    }
    *piece = (struct nbd_piece){
        .link = c->link, .channel = c, .io = io, .op = op, .buffer = buffer, .offset = offset, .length = length,
    };
    io->priv[NBD_LEFT]++;
    return piece;
}

void nbd_piece_done(struct nbd_piece *piece, const struct nbd_channel *self)
{
    struct vio_block_io *io = piece->io;
    struct nbd_channel *c = piece->channel;

    if (piece->error && !io->priv[NBD_ERROR])
        io->priv[NBD_ERROR] = (uint64_t)piece->error;
    free(piece->block);
    free(piece);
    if (--io->priv[NBD_LEFT])
        return;
    /* To be stable, and the server has no flag for that: a flush behind it. */
    if (io->flags & VIO_BLOCK_IO_FUA && io->op != VIO_BLOCK_READ && !io->priv[NBD_ERROR] && !io->priv[NBD_SYNCED] &&
        !c->link->export.can_fua && c->link->export.can_flush) {
        struct nbd_piece *sync = add_piece(c, io, VIO_BLOCK_FLUSH, NULL, 0, 0);

        io->priv[NBD_SYNCED] = 1;
        if (sync) {
            nbd_link_put(c->link, sync);
            return;
        }
    }
    io_done(c, io, self);
}

/* Whole blocks go as they are, parts of blocks one block at a time: read, changed, written. */
static void add_range(struct nbd_channel *c, struct vio_block_io *io, const struct nbd_export *e, unsigned char *buffer,
                      uint64_t offset, uint64_t length)
{
    uint64_t max = buffer ? e->max_block : RANGE_MAX;

    while (length) {
        uint64_t inside = offset % e->min_block, n;
        struct nbd_piece *piece;
        bool part = inside || length < e->min_block;

        if (part)
            n = vio_min_u64(length, e->min_block - inside);
        else
            n = vio_min_u64(length / e->min_block * e->min_block, max);
        /* A discard may leave parts of blocks as they are. */
        piece = part && io->op == VIO_BLOCK_DISCARD ? NULL : add_piece(c, io, io->op, buffer, offset, n);
        if (piece && part) {
            piece->step = NBD_PART_READ;
            piece->block = malloc(e->min_block);
            if (!piece->block) {
                io->priv[NBD_ERROR] = ENOMEM;
                io->priv[NBD_LEFT]--;
                free(piece);
                return;
            }
        }
        if (piece)
            nbd_link_put(c->link, piece);
        offset += n;
        length -= n;
        buffer = buffer ? buffer + n : NULL;
    }
}

static bool segments_are_blocks(const struct vio_block_io *io, uint32_t block)
{
    size_t len = 0;

    for (uint32_t i = 0; i < io->nr_seg; i++)
        len |= io->seg[i].len;
    return !(len & (block - 1));
}

static void add_data(struct nbd_channel *c, struct vio_block_io *io, const struct nbd_export *e)
{
    uint64_t offset = io->offset;
    bool as_commands = io->nr_seg <= SEGS_AS_COMMANDS || io->length > BOUNCE_USUAL;

    if (io->nr_seg > 1 && !(as_commands && segments_are_blocks(io, e->min_block))) {
        unsigned char *bounce = io->length <= BOUNCE_MAX ? malloc(io->length) : NULL;

        if (!bounce) {
            io->priv[NBD_ERROR] = ENOMEM;
            return;
        }
        io->priv[NBD_BOUNCE] = (uintptr_t)bounce;
        if (io->op == VIO_BLOCK_WRITE)
            copy_segments(io, false);
        add_range(c, io, e, bounce, offset, io->length);
        return;
    }
    for (uint32_t i = 0; i < io->nr_seg; offset += io->seg[i].len, i++)
        add_range(c, io, e, io->seg[i].base, offset, io->seg[i].len);
}

/* 0: on its way; 1: done, there was nothing to do; else -errno. */
static int start(struct nbd_channel *c, struct vio_block_io *io, const struct nbd_export *e)
{
    int ret = vio_backend_refuses(io, atomic_load_explicit(&c->nbd->size, memory_order_relaxed), c->nbd->read_only || e->read_only);
    struct nbd_piece *piece;

    if (ret < 0)
        return ret;
    memset(io->priv, 0, sizeof io->priv);
    /* Held until all commands are there, so that none ends it early. */
    io->priv[NBD_LEFT] = 1;
    switch (io->op) {
    case VIO_BLOCK_READ:
    case VIO_BLOCK_WRITE:
        add_data(c, io, e);
        break;
    case VIO_BLOCK_FLUSH:
        if (!e->can_flush || e->read_only)
            return 1;
        piece = add_piece(c, io, VIO_BLOCK_FLUSH, NULL, 0, 0);
        if (piece)
            nbd_link_put(c->link, piece);
        break;
    case VIO_BLOCK_DISCARD:
    case VIO_BLOCK_WRITE_ZEROES:
        if (io->op == VIO_BLOCK_DISCARD ? !e->can_trim : !e->can_zero)
            return -EOPNOTSUPP;
        add_range(c, io, e, NULL, io->offset, io->length);
        break;
    default:
        return -EOPNOTSUPP;
    }
    if (--io->priv[NBD_LEFT])
        return 0;
    free((void *)(uintptr_t)io->priv[NBD_BOUNCE]);
    return io->priv[NBD_ERROR] ? -(int)io->priv[NBD_ERROR] : 1;
}

static unsigned nbd_submit(struct vio_block_channel *channel, struct vio_block_io **io, unsigned n,
                           struct vio_block_io **done)
{
    struct nbd_channel *c = (struct nbd_channel *)channel;
    struct nbd_export e;
    unsigned nr_done = 0;

    pthread_mutex_lock(&c->link->lock);
    e = c->link->export;
    for (unsigned i = 0; i < n; i++) {
        int ret = start(c, io[i], &e);

        if (ret == 0) {
            c->pending++;
            continue;
        }
        io[i]->result = ret < 0 ? ret : 0;
        done[nr_done++] = io[i];
    }
    if (nr_done < n)
        nbd_link_turn(c->link, c);
    pthread_mutex_unlock(&c->link->lock);
    return nr_done;
}

static const struct vio_block_ops nbd_ops = {
    .name = "nbd",
    .info = nbd_info,
    .refresh = nbd_refresh,
    .destroy = nbd_destroy,
    .open = nbd_channel_open,
    .close = nbd_channel_close,
    .submit = nbd_submit,
    .reap = nbd_reap,
    .fd = nbd_fd,
    .arm = nbd_arm,
    .cancel = nbd_cancel,
};

/* ------------------------------------------------------------------ opening */

static int first_connection(struct nbd_backend *nbd, char *why, size_t why_size)
{
    const struct nbd_link *link = nbd->first;

    if (wait_connected(nbd->first, OPEN_NS))
        return 0;
    return vio_why(link->error ? -link->error : -ETIMEDOUT, why, why_size, "%s: %s", nbd->uri,
                   link->reason[0] ? link->reason : "no answer");
}

int vio_block_nbd_open(const struct vio_block_nbd_params *params, struct vio_block_backend **out, char *why,
                       size_t why_size)
{
    struct nbd_backend *nbd = calloc(1, sizeof *nbd);
    int ret;

    if (!nbd)
        return vio_why(-ENOMEM, why, why_size, "out of memory");
    ret = nbd_api_open(&nbd->api, why, why_size);
    if (ret < 0) {
        free(nbd);
        return ret;
    }
    nbd->head.ops = &nbd_ops;
    nbd->log = params->log;
    nbd->read_only = params->read_only;
    nbd->reconnect_ns = params->reconnect_s * 1000000000ull;
    nbd->uri = strdup(params->uri);
    ret = -pthread_mutex_init(&nbd->lock, NULL);
    if (ret < 0) {
        nbd_api_close(&nbd->api);
        free(nbd->uri);
        free(nbd);
        return ret;
    }
    nbd->first = nbd->uri ? nbd_link_make(nbd) : NULL;
    if (!nbd->first)
        ret = vio_why(-ENOMEM, why, why_size, "out of memory");
    if (ret == 0)
        ret = first_connection(nbd, why, why_size);
    if (ret == 0)
        ret = vio_backend_check_size(nbd->size, nbd->uri, why, why_size);
    if (ret < 0) {
        nbd_destroy(&nbd->head);
        return ret;
    }
    *out = &nbd->head;
    return 0;
}
