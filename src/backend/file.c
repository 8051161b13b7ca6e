/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a disk in a file or on a block device: opening it and the calls of the interface. Each request takes
 * the first of four ways that suits it: the map (file_map.c), in place (file_inline.c), the ring (file_ring.c), the
 * slow lane (file_slow.c). Where it sits: backend/. Threads: see file.h.
 * Trust: the size is what the file had; it may be cut under us, which ends in EIO and never in stale bytes.
 */
#include "backend/file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BOUNCE_ALIGN 4096u

/* ------------------------------------------------------------------ the backend */

static int file_info(struct vio_block_backend *b, struct vio_block_info *info)
{
    struct file_backend *f = (struct file_backend *)b;

    *info = f->info;
    info->size = atomic_load(&f->size);
    return 0;
}

static int file_refresh(struct vio_block_backend *b)
{
    struct file_backend *f = (struct file_backend *)b;
    uint32_t unit = f->align > VIO_SECTOR ? f->align : VIO_SECTOR;
    uint64_t size;
    int ret = file_probe_size(f, &size);

    if (ret < 0)
        return ret;
    if (size % unit) {
        vio_log(f->log, VIO_LOG_WARNING, f->name,
                "has %" PRIu64 " bytes now, not whole blocks of %u: the last %" PRIu64 " are left out", size, unit,
                size % unit);
        size -= size % unit;
    }
    if (size == 0)
        return -EINVAL;
    atomic_store(&f->size, size);
    file_map_make(f);
    return 0;
}

static void file_destroy(struct vio_block_backend *b)
{
    struct file_backend *f = (struct file_backend *)b;

    file_slow_free(f);
    file_map_free(f);
    pthread_mutex_destroy(&f->map_lock);
    close(f->fd);
    free(f->name);
    free(f);
}

/* ------------------------------------------------------------------ a channel */

static void file_close(struct vio_block_channel *channel)
{
    struct file_channel *c = (struct file_channel *)channel;

    file_ring_free(c);
    close(c->wake_fd);
    free(c);
}

static int file_open(struct vio_block_backend *b, unsigned depth, const struct vio_block_memory *memory,
                     struct vio_block_channel **out)
{
    struct file_channel *c = calloc(1, sizeof *c);
    int ret;

    if (!c)
        return -ENOMEM;
    c->head.backend = b;
    c->file = (struct file_backend *)b;
    c->depth = depth ? depth : 1;
    c->hit_rate = 256;
    c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ret = c->wake_fd < 0 ? -errno : file_ring_memory(c, memory);
    if (ret < 0) {
        if (c->wake_fd >= 0)
            close(c->wake_fd);
        free(c);
        return ret;
    }
    *out = &c->head;
    return 0;
}

static void file_memory_changed(struct vio_block_channel *channel, const struct vio_block_memory *memory)
{
    struct file_channel *c = (struct file_channel *)channel;

    if (file_ring_memory(c, memory) < 0)
        vio_log(c->file->log, VIO_LOG_INFO, c->file->name, "out of memory: guest memory is not registered");
}

static int file_fd(struct vio_block_channel *channel)
{
    return ((struct file_channel *)channel)->wake_fd;
}

static void disarm(struct file_channel *c)
{
    eventfd_t count;

    c->armed = false;
    if (c->ring_made)
        file_ring_signal(c, false);
    eventfd_read(c->wake_fd, &count);
}

/* While awake the ring is looked at in memory and writes no eventfd. */
static bool file_arm(struct vio_block_channel *channel, bool sleep)
{
    struct file_channel *c = (struct file_channel *)channel;

    if (!sleep) {
        if (c->armed)
            disarm(c);
        return false;
    }
    c->armed = true;
    file_map_idle(c);
    if (c->ring_made)
        file_ring_signal(c, true);
    /* Pairs with the kernel's, which completes and then looks at the flag; and with the slow lane's. */
    atomic_thread_fence(memory_order_seq_cst);
    if (c->finished || atomic_load_explicit(&c->slow_ready, memory_order_acquire))
        return true;
    return c->ring_made && file_ring_ready(c);
}

/* Those of done[] that succeeded by system calls. */
static void learn(struct file_channel *c, struct vio_block_io **done, unsigned n)
{
    if (!atomic_load_explicit(&c->file->map, memory_order_relaxed))
        return;
    for (unsigned i = 0; i < n; i++)
        if (done[i]->result == 0)
            file_map_learn(c->file, done[i]);
}

static unsigned file_reap(struct vio_block_channel *channel, struct vio_block_io **done, unsigned max)
{
    struct file_channel *c = (struct file_channel *)channel;
    unsigned n;

    if (c->armed)
        disarm(c);
    n = file_slow_reap(c, done, max);
    if (c->ring_made)
        n += file_ring_reap(c, done + n, max - n);
    learn(c, done, n);
    return n;
}

/* ------------------------------------------------------------------ requests */

/* To the slow lane; true where it could not take it, which ends the request. */
static bool go_slow(struct file_channel *c, struct vio_block_io *io)
{
    return !file_slow_put(c, io);
}

static bool go_ring(struct file_channel *c, struct vio_block_io *io, enum file_step step)
{
    io->priv[FILE_STEP] = step;
    if (!c->ring_made && file_ring_make(c) < 0)
        return go_slow(c, io);
    file_ring_put(c, io);
    return false;
}

/* O_DIRECT: whether buffers, segment by segment, fit the alignment. */
static bool segments_fit(const struct file_backend *f, const struct vio_block_io *io)
{
    uintptr_t base = 0;
    size_t len = 0;

    for (uint32_t i = 0; i < io->nr_seg; i++) {
        base |= (uintptr_t)io->seg[i].base;
        len |= io->seg[i].len;
    }
    return !(base & (f->memory_align - 1)) && !(len & (f->align - 1));
}

/* An aligned copy of what the segments hold or will hold. */
static bool make_bounce(struct vio_block_io *io)
{
    unsigned char *bounce = aligned_alloc(BOUNCE_ALIGN, (io->length + BOUNCE_ALIGN - 1) / BOUNCE_ALIGN * BOUNCE_ALIGN);

    if (!bounce)
        return false;
    if (io->op == VIO_BLOCK_WRITE)
        for (uint32_t i = 0, at = 0; i < io->nr_seg; at += (uint32_t)io->seg[i].len, i++)
            memcpy(bounce + at, io->seg[i].base, io->seg[i].len);
    io->priv[FILE_BOUNCE] = (uintptr_t)bounce;
    return true;
}

/* See file_backend.exclusive. False: the slow lane has the blocks for itself just now. */
static bool share_blocks(struct file_backend *f)
{
    atomic_fetch_add(&f->ring_writes, 1);
    if (!atomic_load(&f->exclusive))
        return true;
    atomic_fetch_sub(&f->ring_writes, 1);
    return false;
}

static bool start_direct(struct file_channel *c, struct vio_block_io *io)
{
    struct file_backend *f = c->file;
    bool large_blocks = f->align > VIO_SECTOR;

    if (large_blocks && ((io->offset | io->length) & (f->align - 1)))
        return go_slow(c, io);
    if (!c->ring_made && file_ring_make(c) < 0)
        return go_slow(c, io);
    if (!segments_fit(f, io) && (io->length > FILE_BOUNCE_MAX || !make_bounce(io)))
        return go_slow(c, io);
    if (large_blocks && io->op == VIO_BLOCK_WRITE && !share_blocks(f)) {
        free((void *)(uintptr_t)io->priv[FILE_BOUNCE]);
        io->priv[FILE_BOUNCE] = 0;
        return go_slow(c, io);
    }
    return go_ring(c, io, FILE_STEP_DATA);
}

static bool start_zeroes(struct file_channel *c, struct vio_block_io *io)
{
    struct file_backend *f = c->file;

    if ((io->flags & VIO_BLOCK_IO_UNMAP) && !f->no_punch)
        return go_ring(c, io, FILE_STEP_PUNCH);
    if (!f->no_zero_range)
        return go_ring(c, io, FILE_STEP_ZERO_RANGE);
    return go_slow(c, io);
}

/* True: finished, result set. */
static bool start(struct file_channel *c, struct vio_block_io *io)
{
    struct file_backend *f = c->file;
    int ret = vio_backend_refuses(io, atomic_load_explicit(&f->size, memory_order_relaxed), f->read_only);

    if (ret < 0 || (io->length == 0 && io->op != VIO_BLOCK_FLUSH))
        return file_finish(io, ret);
    for (unsigned i = 0; i < sizeof io->priv / sizeof io->priv[0]; i++)
        io->priv[i] = 0;
    if (io->op > VIO_BLOCK_WRITE)
        file_map_unlearn(f, io);
    switch (io->op) {
    case VIO_BLOCK_READ:
        if (f->direct)
            return start_direct(c, io);
        return file_read_inline(c, io) || go_ring(c, io, FILE_STEP_DATA);
    case VIO_BLOCK_WRITE:
        if (f->direct)
            return start_direct(c, io);
        if ((io->flags & VIO_BLOCK_IO_FUA) && !f->in_memory)
            return go_ring(c, io, FILE_STEP_DATA);
        return file_write_inline(c, io) || go_ring(c, io, FILE_STEP_DATA);
    case VIO_BLOCK_FLUSH:
        if (f->in_memory || f->read_only)
            return file_finish(io, 0);
        return go_ring(c, io, FILE_STEP_SYNC);
    case VIO_BLOCK_DISCARD:
        if (!f->info.can_discard)
            return file_finish(io, -EOPNOTSUPP);
        return f->is_block ? go_slow(c, io) : go_ring(c, io, FILE_STEP_PUNCH);
    case VIO_BLOCK_WRITE_ZEROES:
        return start_zeroes(c, io);
    case VIO_BLOCK_SECURE_ERASE:
        return f->info.can_secure_erase ? go_slow(c, io) : file_finish(io, -EOPNOTSUPP);
    default:
        return file_finish(io, -EOPNOTSUPP);
    }
}

static unsigned file_submit(struct vio_block_channel *channel, struct vio_block_io **io, unsigned n,
                            struct vio_block_io **done)
{
    struct file_channel *c = (struct file_channel *)channel;
    unsigned nr_done = 0, mapped;

    c->now_ns = 0;
    mapped = file_map_batch(c, io, &n, done);
    done += mapped; /* the others come behind */
    c->batch = n;
    for (unsigned i = 0; i < n; i++)
        if (start(c, io[i]))
            done[nr_done++] = io[i];
    if (c->ring_made && nr_done < n) {
        file_ring_send(c);
        /* What was cached is done already. */
        nr_done += file_ring_reap_ready(c, done + nr_done, n - nr_done);
    }
    learn(c, done, nr_done);
    return mapped + nr_done;
}

static const struct vio_block_ops file_ops = {
    .name = "file",
    .info = file_info,
    .refresh = file_refresh,
    .destroy = file_destroy,
    .open = file_open,
    .close = file_close,
    .memory_changed = file_memory_changed,
    .submit = file_submit,
    .reap = file_reap,
    .fd = file_fd,
    .arm = file_arm,
    .cancel = file_slow_cancel,
};

/* ------------------------------------------------------------------ opening */

static int open_path(struct file_backend *f, const char *path, char *why, size_t why_size)
{
    int ret;

    /* O_NONBLOCK: a pipe by mistake is refused, not waited for. */
    f->fd = open(path, (f->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
    if (f->fd >= 0)
        return 0;
    ret = -errno;
    if (ret == -ENOENT)
        return vio_why(ret, why, why_size, "there is no %s; `truncate -s 10G %s` makes an empty disk", path,
                       path);
    if (!f->read_only && (ret == -EACCES || ret == -EROFS || ret == -EPERM))
        return vio_why(ret, why, why_size, "%s cannot be opened for writing: %s (read-only may do)", path,
                       strerror(-ret));
    return vio_why(ret, why, why_size, "%s cannot be opened: %s", path, strerror(-ret));
}

static int take_fd(struct file_backend *f, char *why, size_t why_size)
{
    int flags = fcntl(f->fd, F_GETFL);

    if (flags < 0)
        return vio_why(-errno, why, why_size, "%s is no open file: %s", f->name, strerror(errno));
    if ((flags & O_ACCMODE) == O_WRONLY || (!f->read_only && (flags & O_ACCMODE) != O_RDWR))
        return vio_why(-EACCES, why, why_size, "%s is open %s, and the disk needs reading%s", f->name,
                       (flags & O_ACCMODE) == O_WRONLY ? "for writing only" : "read-only",
                       f->read_only ? "" : " and writing");
    return 0;
}

static char *name_of(const struct vio_block_file_params *params)
{
    char number[32];

    if (params->path)
        return strdup(params->path);
    snprintf(number, sizeof number, "fd %d", params->fd);
    return strdup(number);
}

/* O_NONBLOCK means nothing to files but in a ring, where it turns every wait into EAGAIN. */
static int make_blocking(const struct file_backend *f, char *why, size_t why_size)
{
    int flags = fcntl(f->fd, F_GETFL);

    if (flags < 0 || fcntl(f->fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
        return vio_why(-errno, why, why_size, "%s: %s", f->name, strerror(errno));
    return 0;
}

/* Takes params->fd on success only. */
int vio_block_file_open(const struct vio_block_file_params *params, struct vio_block_backend **out, char *why,
                        size_t why_size)
{
    struct file_backend *f;
    int ret;

    if (!params->path && params->fd < 0)
        return vio_why(-EINVAL, why, why_size, "a disk needs a file");
    f = calloc(1, sizeof *f);
    if (!f)
        return vio_why(-ENOMEM, why, why_size, "out of memory");
    f->head.ops = &file_ops;
    f->log = params->log;
    f->fd = params->fd;
    f->read_only = params->read_only;
    f->direct = params->direct;
    f->register_memory = params->register_memory;
    f->bus_faults = params->bus_faults;
    f->name = name_of(params);
    ret = f->name ? 0 : -ENOMEM;
    if (ret == 0)
        ret = f->fd >= 0 ? take_fd(f, why, why_size) : open_path(f, params->path, why, why_size);
    if (ret == 0)
        ret = make_blocking(f, why, why_size);
    if (ret == 0 && !params->no_lock)
        ret = file_lock(f, why, why_size);
    if (ret == 0)
        ret = file_probe(f, why, why_size);
    if (ret == 0)
        ret = file_slow_init(f);
    if (ret == 0) {
        pthread_mutex_init(&f->map_lock, NULL);
        file_map_make(f);
        *out = &f->head;
        return 0;
    }
    if (f->fd >= 0 && params->fd < 0)
        close(f->fd);
    free(f->name);
    free(f);
    return ret;
}
