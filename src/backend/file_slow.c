/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the slow lane, one thread for each file, made when first needed: block device ioctls that take seconds,
 * zeroes where the file system has no call for them, O_DIRECT requests that fit no alignment (which read, change
 * and write back whole blocks), and everything that waits where the host forbids io_uring.
 * Where it sits: backend/file. Threads: put and reap by channels' owners; the rest is the lane's own thread. That
 * it is one thread is what keeps two changes of one block apart.
 */
#include "backend/file.h"

#include <linux/falloc.h>
#include <linux/fs.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define LANE_ALIGN 4096u

void file_advance(struct vio_block_io *io, uint64_t n)
{
    io->priv[FILE_DONE] += n;
    while (n) {
        struct vio_seg *seg = &io->seg[io->priv[FILE_SEG]];
        size_t part = (size_t)vio_min_u64(n, seg->len);

        seg->base = (char *)seg->base + part;
        seg->len -= part;
        n -= part;
        if (seg->len == 0 && io->priv[FILE_SEG] + 1 < io->nr_seg)
            io->priv[FILE_SEG]++;
    }
}

/* Nothing more to read inside the disk, or with O_DIRECT the middle of a block: the file was cut. */
static int read_all(const struct file_backend *f, unsigned char *to, uint64_t length, uint64_t at)
{
    while (length) {
        ssize_t n = pread(f->fd, to, length, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0 || (uint64_t)n % f->align)
            return -EIO;
        to += n;
        at += (uint64_t)n;
        length -= (uint64_t)n;
    }
    return 0;
}

static int write_all(const struct file_backend *f, const unsigned char *from, uint64_t length, uint64_t at)
{
    while (length) {
        ssize_t n = pwrite(f->fd, from, length, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        from += n;
        at += (uint64_t)n;
        length -= (uint64_t)n;
    }
    return 0;
}

/* Between segments and a plain buffer; moves the io on. */
static void copy(struct vio_block_io *io, unsigned char *buffer, uint64_t n)
{
    while (n) {
        struct vio_seg *seg = &io->seg[io->priv[FILE_SEG]];
        uint64_t part = vio_min_u64(n, seg->len);

        if (io->op == VIO_BLOCK_READ)
            memcpy(seg->base, buffer, part);
        else
            memcpy(buffer, seg->base, part);
        file_advance(io, part);
        buffer += part;
        n -= part;
    }
}

/* Sets this file's ring writes aside and waits for those that are under way. */
static void exclude_ring(struct file_backend *f)
{
    const struct timespec nap = { .tv_nsec = 20000 };

    atomic_store(&f->exclusive, true);
    while (atomic_load(&f->ring_writes))
        nanosleep(&nap, NULL);
}

/*
 * One piece, whole blocks around [at, at + n): buffer has room for them. Writes come from the segments, or are
 * zeroes (zero).
 */
static int lane_piece(struct file_backend *f, struct vio_block_io *io, unsigned char *buffer, uint64_t at, uint64_t n,
                      bool zero)
{
    uint64_t start = at - at % f->align;
    uint64_t end = (at + n + f->align - 1) / f->align * f->align;
    bool part = start != at || end != at + n;
    int ret = 0;

    if (io->op == VIO_BLOCK_READ) {
        ret = read_all(f, buffer, end - start, start);
        if (ret == 0)
            copy(io, buffer + (at - start), n);
        return ret;
    }
    if (part) {
        exclude_ring(f);
        ret = read_all(f, buffer, f->align, start);
        if (ret == 0 && end - start > f->align)
            ret = read_all(f, buffer + (end - start - f->align), f->align, end - f->align);
    }
    if (ret == 0) {
        if (zero)
            memset(buffer + (at - start), 0, n);
        else
            copy(io, buffer + (at - start), n);
        ret = write_all(f, buffer, end - start, start);
    }
    if (part)
        atomic_store(&f->exclusive, false);
    return ret;
}

static int lane_transfer(struct file_backend *f, struct vio_block_io *io, bool zero)
{
    uint64_t done = zero ? 0 : io->priv[FILE_DONE];
    uint64_t room = vio_min_u64(FILE_BOUNCE_MAX, io->length - done) + 2 * (uint64_t)f->align;
    unsigned char *buffer = aligned_alloc(LANE_ALIGN, (room + LANE_ALIGN - 1) / LANE_ALIGN * LANE_ALIGN);
    int ret = 0;

    if (!buffer)
        return -ENOMEM;
    while (ret == 0 && done < io->length) {
        uint64_t n = vio_min_u64(FILE_BOUNCE_MAX, io->length - done);

        ret = lane_piece(f, io, buffer, io->offset + done, n, zero);
        done += n;
    }
    free(buffer);
    return ret;
}

static int lane_discard(struct file_backend *f, const struct vio_block_io *io, unsigned long request)
{
    uint64_t block = f->info.logical_block;
    uint64_t start = (io->offset + block - 1) / block * block;
    uint64_t end = (io->offset + io->length) / block * block;
    uint64_t range[2] = { start, end - start };

    if (!f->is_block) {
        if (request != BLKDISCARD)
            return -EOPNOTSUPP;
        if (fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)io->offset, (off_t)io->length) < 0)
            return -errno;
        return 0;
    }
    /* A discard may leave what is less than a block; an erasure that left something would be a lie. */
    if (request == BLKSECDISCARD && (start != io->offset || end != io->offset + io->length))
        return -EINVAL;
    if (start >= end)
        return 0;
    return ioctl(f->fd, request, range) < 0 ? -errno : 0;
}

static int lane_zero(struct file_backend *f, struct vio_block_io *io)
{
    off_t at = (off_t)io->offset, n = (off_t)io->length;

    if ((io->flags & VIO_BLOCK_IO_UNMAP) && !f->no_punch &&
        fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, n) == 0)
        return 0;
    if (!f->no_zero_range && fallocate(f->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, at, n) == 0)
        return 0;
    return lane_transfer(f, io, true);
}

static int lane_do(struct file_backend *f, struct vio_block_io *io)
{
    bool sync = io->flags & VIO_BLOCK_IO_FUA;
    int ret;

    switch (io->op) {
    case VIO_BLOCK_READ:
        return lane_transfer(f, io, false);
    case VIO_BLOCK_WRITE:
        ret = lane_transfer(f, io, false);
        break;
    case VIO_BLOCK_FLUSH:
        ret = 0;
        sync = true;
        break;
    case VIO_BLOCK_DISCARD:
        ret = lane_discard(f, io, BLKDISCARD);
        break;
    case VIO_BLOCK_WRITE_ZEROES:
        ret = lane_zero(f, io);
        break;
    default:
        ret = lane_discard(f, io, BLKSECDISCARD);
        break;
    }
    if (ret == 0 && sync && fdatasync(f->fd) < 0)
        ret = -errno;
    return ret;
}

/* With the lock held. */
static void give_back(struct file_channel *c, struct vio_block_io *io)
{
    io->next = c->slow_done;
    c->slow_done = io;
    atomic_store_explicit(&c->slow_ready, true, memory_order_release);
    /* Under the lock, so that the channel cannot have closed it. Adding one to so small a count cannot fail. */
    eventfd_write(c->wake_fd, 1);
}

static void *lane_main(void *arg)
{
    struct file_backend *f = arg;
    struct file_slow *slow = &f->slow;

    pthread_mutex_lock(&slow->lock);
    for (;;) {
        struct vio_block_io *io = slow->first;
        struct file_channel *c;

        if (!io) {
            if (slow->stop)
                break;
            pthread_cond_wait(&slow->work, &slow->lock);
            continue;
        }
        slow->first = io->next;
        pthread_mutex_unlock(&slow->lock);
        io->result = lane_do(f, io);
        c = (struct file_channel *)(uintptr_t)io->priv[FILE_CHANNEL];
        pthread_mutex_lock(&slow->lock);
        give_back(c, io);
    }
    pthread_mutex_unlock(&slow->lock);
    return NULL;
}

int file_slow_init(struct file_backend *f)
{
    int ret = pthread_mutex_init(&f->slow.lock, NULL);

    if (ret)
        return -ret;
    ret = pthread_cond_init(&f->slow.work, NULL);
    if (ret)
        pthread_mutex_destroy(&f->slow.lock);
    return -ret;
}

void file_slow_free(struct file_backend *f)
{
    pthread_mutex_lock(&f->slow.lock);
    f->slow.stop = true;
    pthread_cond_signal(&f->slow.work);
    pthread_mutex_unlock(&f->slow.lock);
    if (f->slow.started)
        pthread_join(f->slow.thread, NULL);
    pthread_cond_destroy(&f->slow.work);
    pthread_mutex_destroy(&f->slow.lock);
}

/* With the lock held. Signals are for the threads of the program, never for this one. */
static int lane_start(struct file_backend *f)
{
    sigset_t all, before;
    int ret;

    if (f->slow.started)
        return 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ret = pthread_create(&f->slow.thread, NULL, lane_main, f);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    f->slow.started = ret == 0;
    return -ret;
}

bool file_slow_put(struct file_channel *c, struct vio_block_io *io)
{
    struct file_slow *slow = &c->file->slow;
    int ret;

    pthread_mutex_lock(&slow->lock);
    ret = lane_start(c->file);
    if (ret == 0) {
        io->priv[FILE_CHANNEL] = (uintptr_t)c;
        io->next = NULL;
        if (slow->first)
            slow->last->next = io;
        else
            slow->first = io;
        slow->last = io;
        pthread_cond_signal(&slow->work);
    }
    pthread_mutex_unlock(&slow->lock);
    if (ret < 0) /* else it is the lane's by now, or even done */
        io->result = ret;
    return ret == 0;
}

void file_slow_cancel(struct vio_block_channel *channel)
{
    struct file_channel *c = (struct file_channel *)channel;
    struct file_slow *slow = &c->file->slow;
    struct vio_block_io **at = &slow->first, *last = NULL;

    pthread_mutex_lock(&slow->lock);
    while (*at) {
        struct vio_block_io *io = *at;

        if (io->priv[FILE_CHANNEL] == (uintptr_t)c) {
            *at = io->next;
            io->result = -ECANCELED;
            give_back(c, io);
        } else {
            last = io;
            at = &io->next;
        }
    }
    slow->last = last;
    pthread_mutex_unlock(&slow->lock);
}

unsigned file_slow_reap(struct file_channel *c, struct vio_block_io **done, unsigned max)
{
    unsigned n = 0;

    if (!c->finished) {
        if (!atomic_load_explicit(&c->slow_ready, memory_order_acquire))
            return 0;
        pthread_mutex_lock(&c->file->slow.lock);
        c->finished = c->slow_done;
        c->slow_done = NULL;
        atomic_store_explicit(&c->slow_ready, false, memory_order_relaxed);
        pthread_mutex_unlock(&c->file->slow.lock);
    }
    while (c->finished && n < max) {
        done[n++] = c->finished;
        c->finished = c->finished->next;
    }
    return n;
}
