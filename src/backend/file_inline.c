/* SPDX-License-Identifier: MIT */
/*
 * Purpose: reads and writes done in submit, where that does not wait: what is in the page cache is copied at once,
 * three times as fast as through a ring that hands such work to a thread. What would wait goes to the ring. Which
 * way a file needs is found by trying: RWF_NOWAIT where the file system has it, else in place with a clock beside.
 * Where it sits: backend/file. Threads: the channel's owner.
 */
#include "backend/file.h"

#include <time.h>

/*
 * What took longer, beside a nanosecond a byte, has waited: memory alone is far below, even with a slow host. A read
 * that waits has a disk's time and is better sent with others; a write waits only when the kernel slows it down.
 */
#define GUARD_READ_NS 60000u
#define GUARD_WRITE_NS 500000u
/* So many slow ones, each within so many operations of the last, close the way. */
#define GUARD_STRIKES 3u
#define GUARD_WINDOW 64u
/* One alone does, when it is so many times too slow. */
#define GUARD_LONG 40u
#define GUARD_PAUSE_MS 20u
#define GUARD_PAUSE_MAX_MS 1000u

/*
 * From so many requests on, one call that sends them all to the ring costs less than one call for each: where the
 * file system can say "not without waiting", a ring too does in place what is cached.
 */
#define RING_PAYS 4u

/* Below this rate of hits trying is a loss, and it is tried again after so many reads. */
#define HITS_LOW 64u
#define HITS_AGAIN 128u
#define HITS_SKIP 256u

static uint64_t clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

bool file_guard_open(struct file_channel *c, const struct file_guard *g)
{
    if (!c->now_ns)
        c->now_ns = clock_ns();
    return c->now_ns >= g->closed_until_ns;
}

bool file_guard_seen(struct file_channel *c, uint64_t slow_ns, struct file_guard *g)
{
    uint64_t now = clock_ns(), took = now - c->now_ns;

    c->now_ns = now;
    if (took < slow_ns) {
        if (g->since_strike < GUARD_WINDOW && ++g->since_strike == GUARD_WINDOW) {
            g->strikes = 0;
            g->pause_ms = GUARD_PAUSE_MS;
        }
        return false;
    }
    g->since_strike = 0;
    if (++g->strikes < GUARD_STRIKES && took < GUARD_LONG * slow_ns)
        return false;
    /* One more slow one after the pause closes it again, for twice as long. */
    g->strikes = GUARD_STRIKES - 1;
    if (!g->pause_ms)
        g->pause_ms = GUARD_PAUSE_MS;
    g->closed_until_ns = now + g->pause_ms * 1000000ull;
    g->pause_ms = vio_min_u32(g->pause_ms * 2, GUARD_PAUSE_MAX_MS);
    return true;
}

static ssize_t transfer(const struct file_backend *f, const struct vio_block_io *io, int flags)
{
    off_t at = (off_t)(io->offset + io->priv[FILE_DONE]);
    const struct iovec *iov = file_iov(io);
    unsigned nr = file_nr_iov(io);

    if (flags)
        return io->op == VIO_BLOCK_READ ? preadv2(f->fd, iov, (int)nr, at, flags)
                                        : pwritev2(f->fd, iov, (int)nr, at, flags);
    /* The plain calls are 100 ns faster than those for vectors. */
    if (nr == 1)
        return io->op == VIO_BLOCK_READ ? pread(f->fd, iov->iov_base, iov->iov_len, at)
                                        : pwrite(f->fd, iov->iov_base, iov->iov_len, at);
    return io->op == VIO_BLOCK_READ ? preadv(f->fd, iov, (int)nr, at) : pwritev(f->fd, iov, (int)nr, at);
}

/* To the end, waiting as it must. Nothing more to read inside the disk: the file was cut, and that is an error. */
static bool transfer_all(const struct file_backend *f, struct vio_block_io *io)
{
    while (file_left(io)) {
        ssize_t n = transfer(f, io, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return file_finish(io, n < 0 ? -errno : -EIO);
        file_advance(io, (uint64_t)n);
    }
    return file_finish(io, 0);
}

static bool transfer_guarded(struct file_channel *c, struct vio_block_io *io, struct file_guard *g)
{
    const struct file_backend *f = c->file;

    if (f->in_memory)
        return transfer_all(f, io);
    if (!file_guard_open(c, g))
        return false;
    transfer_all(f, io);
    file_guard_seen(c, (io->op == VIO_BLOCK_READ ? GUARD_READ_NS : GUARD_WRITE_NS) + io->length, g);
    return true;
}

enum tried { TRIED_DONE, TRIED_WAITS, TRIED_UNKNOWN };

static enum tried transfer_nowait(struct file_channel *c, struct vio_block_io *io)
{
    ssize_t n = transfer(c->file, io, RWF_NOWAIT);

    if (n == (ssize_t)file_left(io)) {
        file_finish(io, 0);
        return TRIED_DONE;
    }
    if (n > 0) {
        file_advance(io, (uint64_t)n);
        return TRIED_WAITS;
    }
    if (n == 0) {
        file_finish(io, -EIO);
        return TRIED_DONE;
    }
    if (errno == EAGAIN || errno == EINTR)
        return TRIED_WAITS;
    if (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS)
        return TRIED_UNKNOWN;
    file_finish(io, -errno);
    return TRIED_DONE;
}

bool file_read_inline(struct file_channel *c, struct vio_block_io *io)
{
    struct file_backend *f = c->file;
    enum tried tried;

    if (atomic_load_explicit(&f->no_nowait_read, memory_order_relaxed))
        return transfer_guarded(c, io, &c->guard_read);
    if (c->batch >= RING_PAYS && !c->ring_failed)
        return false;
    if (c->skip_reads) {
        if (--c->skip_reads == 0)
            c->hit_rate = HITS_AGAIN;
        return false;
    }
    tried = transfer_nowait(c, io);
    if (tried == TRIED_UNKNOWN) {
        atomic_store_explicit(&f->no_nowait_read, true, memory_order_relaxed);
        return transfer_guarded(c, io, &c->guard_read);
    }
    c->hit_rate -= c->hit_rate / 32;
    if (tried == TRIED_DONE)
        c->hit_rate += 8;
    else if (c->hit_rate < HITS_LOW)
        c->skip_reads = HITS_SKIP;
    return tried == TRIED_DONE;
}

bool file_write_inline(struct file_channel *c, struct vio_block_io *io)
{
    struct file_backend *f = c->file;
    bool whole_pages = ((io->offset | io->length) & 4095) == 0;

    if (!atomic_load_explicit(&f->no_nowait_write, memory_order_relaxed)) {
        enum tried tried;

        if (c->batch >= RING_PAYS && c->nowait_write_works && !c->ring_failed)
            return false;
        tried = transfer_nowait(c, io);
        c->nowait_write_works |= tried != TRIED_UNKNOWN;
        if (tried != TRIED_UNKNOWN)
            return tried == TRIED_DONE;
        atomic_store_explicit(&f->no_nowait_write, true, memory_order_relaxed);
    }
    /* Parts of pages have to be read first where they are not cached: another kind of wait. */
    return transfer_guarded(c, io, whole_pages ? &c->guard_write : &c->guard_part);
}
