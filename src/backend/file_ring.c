/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the ring (io_uring) of a channel, for what may wait: reads that are not cached, O_DIRECT, flushes,
 * write-through, deallocation. Made when first needed; one system call sends a batch; completions are seen in
 * shared memory. Where it sits: backend/file. Threads: the channel's owner, which is also the one that may submit
 * (IORING_SETUP_SINGLE_ISSUER). Each io has at most one entry under way, and there are entries for all of them.
 */
#include "backend/file.h"

#include <inttypes.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>

#define RING_TRIES 8
#define RING_REAP 64u
/* io_uring's own limit for one registered buffer. */
#define REGISTER_MAX ((size_t)1 << 30)

static int ring_init(struct file_channel *c)
{
    /* Best first; what an older kernel does not know it refuses with EINVAL. */
    static const unsigned flags[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
        0,
    };
    int ret = -EINVAL;

    for (unsigned i = 0; ret == -EINVAL && i < sizeof flags / sizeof flags[0]; i++) {
        struct io_uring_params params = { .flags = flags[i] | IORING_SETUP_CLAMP };

        ret = io_uring_queue_init_params(c->depth, &c->ring, &params);
    }
    return ret;
}

int file_ring_make(struct file_channel *c)
{
    int ret;

    if (c->ring_made)
        return 0;
    if (c->ring_failed)
        return -ENOSYS;
    ret = ring_init(c);
    if (ret == 0) {
        /* Not the ring's own descriptor: with DEFER_TASKRUN a sleeper in epoll on that is not woken (Linux 6.18). */
        ret = io_uring_register_eventfd(&c->ring, c->wake_fd);
        if (ret < 0)
            io_uring_queue_exit(&c->ring);
    }
    if (ret < 0) {
        c->ring_failed = true;
        if (!atomic_exchange(&c->file->said_no_ring, true))
            vio_log(c->file->log, VIO_LOG_WARNING, c->file->name,
                    "io_uring is not to be had here (%s): what has to wait is done by one thread, slowly",
                    strerror(-ret));
        return ret;
    }
    c->ring_made = true;
    file_ring_signal(c, c->armed);
    c->file_registered = io_uring_register_files(&c->ring, &c->file->fd, 1) == 0;
    return 0;
}

void file_ring_free(struct file_channel *c)
{
    if (c->ring_made)
        io_uring_queue_exit(&c->ring);
    c->ring_made = false;
    free(c->memory);
}

/* ------------------------------------------------------------------ registered buffers */

static int by_address(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const struct iovec *)a)->iov_base, y = (uintptr_t)((const struct iovec *)b)->iov_base;

    return x < y ? -1 : x > y;
}

static void cut_regions(const struct vio_block_memory *memory, struct iovec *out, unsigned *nr)
{
    *nr = 0;
    for (unsigned i = 0; i < memory->nr; i++) {
        for (size_t at = 0; at < memory->region[i].len; at += REGISTER_MAX) {
            if (out)
                out[*nr] = (struct iovec){ (char *)memory->region[i].base + at,
                                           vio_min_u64(memory->region[i].len - at, REGISTER_MAX) };
            ++*nr;
        }
    }
}

/* Failing is no error: requests then name their buffers each time. */
static void ring_register(struct file_channel *c)
{
    int ret = io_uring_register_buffers(&c->ring, c->memory, c->nr_memory);

    c->memory_registered = ret == 0;
    c->last_memory = 0;
    if (ret < 0 && !atomic_exchange(&c->file->said_no_register, true))
        vio_log(c->file->log, VIO_LOG_INFO, c->file->name, "guest memory is not registered with io_uring: %s%s",
                strerror(-ret), ret == -ENOMEM ? " (raise the limit of locked memory, ulimit -l)" : "");
}

int file_ring_memory(struct file_channel *c, const struct vio_block_memory *memory)
{
    unsigned nr = 0;

    if (!c->file->direct || !c->file->register_memory)
        return 0;
    if (c->memory_registered)
        io_uring_unregister_buffers(&c->ring);
    c->memory_registered = false;
    free(c->memory);
    c->memory = NULL;
    c->nr_memory = 0;
    if (!memory || !memory->nr)
        return 0;
    cut_regions(memory, NULL, &nr);
    c->memory = calloc(nr, sizeof *c->memory);
    if (!c->memory)
        return -ENOMEM;
    cut_regions(memory, c->memory, &c->nr_memory);
    qsort(c->memory, c->nr_memory, sizeof *c->memory, by_address);
    if (file_ring_make(c) == 0)
        ring_register(c);
    return 0;
}

static bool memory_holds(const struct iovec *m, const struct iovec *iov)
{
    return iov->iov_base >= m->iov_base &&
           vio_range_ok((uintptr_t)iov->iov_base - (uintptr_t)m->iov_base, iov->iov_len, m->iov_len);
}

/* The index of the registered buffer that holds all of iov, or -1. */
static int find_registered(struct file_channel *c, const struct iovec *iov)
{
    unsigned low = 0, high = c->nr_memory;

    if (!c->memory_registered)
        return -1;
    if (memory_holds(&c->memory[c->last_memory], iov))
        return (int)c->last_memory;
    while (high - low > 1) {
        unsigned middle = low + (high - low) / 2;

        if (c->memory[middle].iov_base <= iov->iov_base)
            low = middle;
        else
            high = middle;
    }
    if (!memory_holds(&c->memory[low], iov))
        return -1;
    c->last_memory = low;
    return (int)low;
}

/* ------------------------------------------------------------------ sending */

static void put_data(struct file_channel *c, struct io_uring_sqe *sqe, struct vio_block_io *io)
{
    struct iovec bounce = { (void *)(uintptr_t)io->priv[FILE_BOUNCE], 0 };
    uint64_t at = io->offset + io->priv[FILE_DONE];
    const struct iovec *iov = file_iov(io);
    unsigned nr = file_nr_iov(io);
    bool read = io->op == VIO_BLOCK_READ;
    int registered;

    if (bounce.iov_base) {
        bounce.iov_base = (char *)bounce.iov_base + io->priv[FILE_DONE];
        bounce.iov_len = file_left(io);
        iov = &bounce;
        nr = 1;
    }
    if (nr == 1) {
        unsigned length = (unsigned)vio_min_u64(iov->iov_len, 1u << 30);

        registered = iov->iov_len == length ? find_registered(c, iov) : -1;
        if (registered >= 0 && read)
            io_uring_prep_read_fixed(sqe, c->file->fd, iov->iov_base, length, at, registered);
        else if (registered >= 0)
            io_uring_prep_write_fixed(sqe, c->file->fd, iov->iov_base, length, at, registered);
        else if (read)
            io_uring_prep_read(sqe, c->file->fd, iov->iov_base, length, at);
        else
            io_uring_prep_write(sqe, c->file->fd, iov->iov_base, length, at);
    } else if (read) {
        io_uring_prep_readv(sqe, c->file->fd, iov, nr, at);
    } else {
        io_uring_prep_writev(sqe, c->file->fd, iov, nr, at);
    }
    if (!read && (io->flags & VIO_BLOCK_IO_FUA))
        sqe->rw_flags = RWF_DSYNC;
}

void file_ring_put(struct file_channel *c, struct vio_block_io *io)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&c->ring);

    if (!sqe) { /* only where the kernel clamped the ring below the depth, or would not take what was sent before */
        io_uring_submit(&c->ring);
        sqe = io_uring_get_sqe(&c->ring);
    }
    if (!sqe) {
        io->next = c->ring_waits;
        c->ring_waits = io;
        return;
    }
    switch ((enum file_step)io->priv[FILE_STEP]) {
    case FILE_STEP_DATA:
        put_data(c, sqe, io);
        break;
    case FILE_STEP_PUNCH:
        io_uring_prep_fallocate(sqe, c->file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)io->offset,
                                (off_t)io->length);
        break;
    case FILE_STEP_ZERO_RANGE:
        io_uring_prep_fallocate(sqe, c->file->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)io->offset,
                                (off_t)io->length);
        break;
    case FILE_STEP_SYNC:
        io_uring_prep_fsync(sqe, c->file->fd, IORING_FSYNC_DATASYNC);
        break;
    }
    if (c->file_registered) {
        sqe->fd = 0;
        sqe->flags |= IOSQE_FIXED_FILE;
    }
    io_uring_sqe_set_data(sqe, io);
    c->ring_in_flight++;
}

void file_ring_send(struct file_channel *c)
{
    struct vio_block_io *waits = c->ring_waits;

    c->ring_waits = NULL;
    while (waits) {
        struct vio_block_io *io = waits;

        waits = io->next;
        file_ring_put(c, io);
    }
    /* What the kernel does not take now (short of memory) stays in the ring; reap and arm send again. */
    if (io_uring_sq_ready(&c->ring))
        io_uring_submit(&c->ring);
}

/* ------------------------------------------------------------------ completions */

static bool end_data(struct file_channel *c, struct vio_block_io *io, int result)
{
    unsigned char *bounce = (unsigned char *)(uintptr_t)io->priv[FILE_BOUNCE];

    if (bounce) {
        io->priv[FILE_BOUNCE] = 0;
        if (result == 0 && io->op == VIO_BLOCK_READ)
            for (uint32_t i = 0, at = 0; i < io->nr_seg; at += (uint32_t)io->seg[i].len, i++)
                memcpy(io->seg[i].base, bounce + at, io->seg[i].len);
        free(bounce);
    }
    if (c->file->align > VIO_SECTOR && io->op == VIO_BLOCK_WRITE)
        atomic_fetch_sub(&c->file->ring_writes, 1);
    return file_finish(io, result);
}

/* What the ring could not do the slow lane does: from the beginning, or from where the transfer stands. */
static bool to_lane(struct file_channel *c, struct vio_block_io *io)
{
    if (io->priv[FILE_BOUNCE])
        io->priv[FILE_DONE] = 0; /* the segments did not move */
    if (io->priv[FILE_STEP] == FILE_STEP_DATA)
        end_data(c, io, -EIO);
    return !file_slow_put(c, io);
}

static bool again(struct file_channel *c, struct vio_block_io *io)
{
    file_ring_put(c, io);
    return false;
}

static bool complete_data(struct file_channel *c, struct vio_block_io *io, int res)
{
    if (res == -EINTR || res == -EAGAIN)
        return io->priv[FILE_TRIES]++ < RING_TRIES ? again(c, io) : to_lane(c, io);
    if (res == -EINVAL && c->file->direct && !io->priv[FILE_BOUNCE])
        return to_lane(c, io); /* stricter about alignment here than it was where it was tried */
    /* Zero bytes inside the disk, or O_DIRECT ending in a block: the file was cut. */
    if (res <= 0)
        return end_data(c, io, res < 0 ? res : -EIO);
    if ((uint64_t)res >= file_left(io)) /* never more */
        return end_data(c, io, 0);
    if ((uint32_t)res % c->file->align)
        return end_data(c, io, -EIO);
    if (io->priv[FILE_BOUNCE])
        io->priv[FILE_DONE] += (uint64_t)res;
    else
        file_advance(io, (uint64_t)res);
    return again(c, io);
}

static bool complete_range(struct file_channel *c, struct vio_block_io *io, int res)
{
    struct file_backend *f = c->file;
    bool punch = io->priv[FILE_STEP] == FILE_STEP_PUNCH;

    if (res == 0 && (io->flags & VIO_BLOCK_IO_FUA)) {
        io->priv[FILE_STEP] = FILE_STEP_SYNC;
        return again(c, io);
    }
    if (res == -EINTR || res == -EAGAIN)
        return io->priv[FILE_TRIES]++ < RING_TRIES ? again(c, io) : to_lane(c, io);
    if (res == -EOPNOTSUPP)
        atomic_store_explicit(punch ? &f->no_punch : &f->no_zero_range, true, memory_order_relaxed);
    if (io->op == VIO_BLOCK_WRITE_ZEROES && (res == -EOPNOTSUPP || res == -EINVAL)) {
        if (punch && !f->no_zero_range) {
            io->priv[FILE_STEP] = FILE_STEP_ZERO_RANGE;
            return again(c, io);
        }
        return to_lane(c, io);
    }
    return file_finish(io, res);
}

/* The timer's entry carries no io. */
bool file_ring_timer(struct file_channel *c, unsigned seconds)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&c->ring);

    if (!sqe)
        return false;
    c->timer_time = (struct __kernel_timespec){ .tv_sec = seconds };
    c->timer_over = false;
    io_uring_prep_timeout(sqe, &c->timer_time, 0, 0);
    io_uring_sqe_set_data(sqe, NULL);
    io_uring_submit(&c->ring);
    return true;
}

bool file_ring_timer_over(struct file_channel *c)
{
    struct io_uring_cqe *cqe;

    /* Where it is the only one, nobody reaps it. */
    if (!c->timer_over && !c->ring_in_flight && io_uring_peek_cqe(&c->ring, &cqe) == 0) {
        c->timer_over = true;
        io_uring_cqe_seen(&c->ring, cqe);
    }
    return c->timer_over;
}

/* True: finished. */
static bool complete(struct file_channel *c, struct vio_block_io *io, int res)
{
    c->ring_in_flight--;
    switch ((enum file_step)io->priv[FILE_STEP]) {
    case FILE_STEP_DATA:
        return complete_data(c, io, res);
    case FILE_STEP_PUNCH:
    case FILE_STEP_ZERO_RANGE:
        return complete_range(c, io, res);
    case FILE_STEP_SYNC:
        if (res == -EINTR || res == -EAGAIN)
            return io->priv[FILE_TRIES]++ < RING_TRIES ? again(c, io) : to_lane(c, io);
        break;
    }
    return file_finish(io, res < 0 ? res : 0);
}

static unsigned take(struct file_channel *c, struct io_uring_cqe **cqe, unsigned nr, struct vio_block_io **done)
{
    unsigned n = 0;

    for (unsigned i = 0; i < nr; i++) {
        struct vio_block_io *io = io_uring_cqe_get_data(cqe[i]);

        if (!io)
            c->timer_over = true;
        else if (complete(c, io, cqe[i]->res))
            done[n++] = io;
    }
    io_uring_cq_advance(&c->ring, nr);
    return n;
}

unsigned file_ring_reap_ready(struct file_channel *c, struct vio_block_io **done, unsigned max)
{
    struct io_uring_cqe *cqe[RING_REAP];
    unsigned n = 0, ready;

    while (n < max && (ready = io_uring_cq_ready(&c->ring)) > 0)
        n += take(c, cqe, io_uring_peek_batch_cqe(&c->ring, cqe, vio_min_u32(vio_min_u32(ready, max - n), RING_REAP)),
                  done + n);
    if (c->ring_waits || io_uring_sq_ready(&c->ring))
        file_ring_send(c);
    return n;
}

unsigned file_ring_reap(struct file_channel *c, struct vio_block_io **done, unsigned max)
{
    struct io_uring_cqe *cqe[RING_REAP];
    unsigned n = 0;

    while (n < max && c->ring_in_flight) {
        unsigned want = vio_min_u32(max - n, RING_REAP);
        /* No system call but where the kernel says that it has something to hand over. */
        unsigned got = io_uring_peek_batch_cqe(&c->ring, cqe, want);

        n += take(c, cqe, got, done + n);
        if (got < want)
            break;
    }
    if (c->ring_waits || io_uring_sq_ready(&c->ring))
        file_ring_send(c);
    return n;
}

void file_ring_signal(struct file_channel *c, bool on)
{
    /* Refused only where the kernel has no such flag (before 5.8): then every completion writes. */
    (void)io_uring_cq_eventfd_toggle(&c->ring, on);
}

/* Before sleeping: whether reap has something at once. */
bool file_ring_ready(struct file_channel *c)
{
    unsigned flags;

    if (c->ring_waits || io_uring_sq_ready(&c->ring)) {
        file_ring_send(c);
        if (c->ring_waits || io_uring_sq_ready(&c->ring))
            return true;
    }
    flags = IO_URING_READ_ONCE(*c->ring.sq.kflags);
    return io_uring_cq_ready(&c->ring) || (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW));
}
