/* SPDX-License-Identifier: MIT */
#include "fake_disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct fake_channel {
    struct fake_disk *disk;
    unsigned depth, in_flight;
};

static struct fake_disk *disk_of(struct vio_block_backend *b)
{
    return (struct fake_disk *)b;
}

static struct fake_disk *disk_of_channel(struct vio_block_channel *c)
{
    return ((struct fake_channel *)c)->disk;
}

static int fake_info(struct vio_block_backend *b, struct vio_block_info *info)
{
    *info = disk_of(b)->info;
    return 0;
}

static int fake_refresh(struct vio_block_backend *b)
{
    (void)b;
    return 0;
}

static void fake_destroy(struct vio_block_backend *b)
{
    struct fake_disk *d = disk_of(b);

    free(d->bytes);
    d->bytes = NULL;
    d->destroyed++;
}

static int fake_open(struct vio_block_backend *b, unsigned depth, const struct vio_block_memory *memory,
                     struct vio_block_channel **out)
{
    struct fake_disk *d = disk_of(b);
    struct fake_channel *c;

    if (d->open_error < 0)
        return d->open_error;
    c = calloc(1, sizeof(*c));
    if (c == NULL)
        return -ENOMEM;
    c->disk = d;
    c->depth = depth;
    __atomic_store_n(&d->regions, memory->nr, __ATOMIC_RELAXED);
    __atomic_add_fetch(&d->opened, 1, __ATOMIC_RELAXED);
    *out = (struct vio_block_channel *)c;
    return 0;
}

static void fake_close(struct vio_block_channel *channel)
{
    struct fake_channel *c = (struct fake_channel *)channel;

    if (c->in_flight != 0)
        abort(); /* the interface promises that nothing is */
    __atomic_add_fetch(&c->disk->closed, 1, __ATOMIC_RELAXED);
    free(c);
}

static void fake_memory_changed(struct vio_block_channel *c, const struct vio_block_memory *memory)
{
    __atomic_add_fetch(&disk_of_channel(c)->memory_changes, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&disk_of_channel(c)->regions, memory->nr, __ATOMIC_RELAXED);
}

static void copy(struct fake_disk *d, struct vio_block_io *io)
{
    uint64_t at = io->offset;

    for (uint32_t i = 0; i < io->nr_seg; i++) {
        if (io->op == VIO_BLOCK_READ)
            memcpy(io->seg[i].base, d->bytes + at, io->seg[i].len);
        else
            memcpy(d->bytes + at, io->seg[i].base, io->seg[i].len);
        at += io->seg[i].len;
    }
    if (at - io->offset != io->length)
        abort(); /* the pieces are not what length says */
    for (uint32_t i = 0; d->spoil_segs && i < io->nr_seg; i++) {
        io->seg[i].base = (uint8_t *)io->seg[i].base + io->seg[i].len;
        io->seg[i].len = 0;
    }
}

static void carry_out(struct fake_disk *d, struct vio_block_io *io)
{
    io->result = 0;
    if (d->fail_op == io->op) {
        io->result = d->fail_error;
        return;
    }
    /* What the interface promises to backends. */
    if (io->op != VIO_BLOCK_FLUSH && (!vio_range_ok(io->offset, io->length, d->room) || io->length == 0 ||
                                      io->offset % 512 != 0 || io->length % 512 != 0 || io->nr_seg > VIO_BLOCK_SEGS_MAX))
        abort();
    if (io->op == VIO_BLOCK_READ || io->op == VIO_BLOCK_WRITE)
        copy(d, io);
    else if (io->op == VIO_BLOCK_WRITE_ZEROES)
        memset(d->bytes + io->offset, 0, io->length);
    else if (io->op == VIO_BLOCK_DISCARD || io->op == VIO_BLOCK_SECURE_ERASE)
        memset(d->bytes + io->offset, 0xdd, io->length);
}

static unsigned fake_submit(struct vio_block_channel *channel, struct vio_block_io **io, unsigned n,
                            struct vio_block_io **done)
{
    struct fake_channel *c = (struct fake_channel *)channel;
    struct fake_disk *d = c->disk;
    unsigned finished = 0;

    __atomic_add_fetch(&d->nr_submit, 1, __ATOMIC_RELAXED);
    if (n > c->depth - c->in_flight)
        abort(); /* more than the depth that was opened */
    for (unsigned i = 0; i < n; i++) {
        unsigned at = __atomic_fetch_add(&d->nr_op, 1, __ATOMIC_RELAXED);

        if (at < FAKE_OPS_MAX)
            d->op[at] = (struct fake_op){ io[i]->op, io[i]->flags, io[i]->offset, io[i]->length };
        if (d->hold && d->nr_held < FAKE_HELD_MAX) {
            d->held[d->nr_held++] = io[i];
            c->in_flight++;
            continue;
        }
        carry_out(d, io[i]);
        done[finished++] = io[i];
    }
    return finished;
}

void fake_disk_release(struct fake_disk *d, unsigned n)
{
    while (n-- > 0 && d->nr_held > 0) {
        unsigned at = d->newest_first ? d->nr_held - 1 : 0;
        struct vio_block_io *io = d->held[at];

        memmove(&d->held[at], &d->held[at + 1], (d->nr_held - at - 1) * sizeof(d->held[0]));
        d->nr_held--;
        carry_out(d, io);
        d->ready[d->nr_ready++] = io;
    }
}

static unsigned fake_reap(struct vio_block_channel *channel, struct vio_block_io **done, unsigned max)
{
    struct fake_channel *c = (struct fake_channel *)channel;
    struct fake_disk *d = c->disk;
    unsigned n;

    if (d->release_at > 0 && --d->release_at == 0)
        fake_disk_release(d, FAKE_HELD_MAX);
    n = d->nr_ready < max ? d->nr_ready : max;
    memcpy(done, d->ready, n * sizeof(done[0]));
    memmove(d->ready, d->ready + n, (d->nr_ready - n) * sizeof(d->ready[0]));
    d->nr_ready -= n;
    c->in_flight -= n;
    return n;
}

static int fake_fd(struct vio_block_channel *c)
{
    (void)c;
    return -1;
}

static bool fake_arm(struct vio_block_channel *c, bool sleep)
{
    return sleep && disk_of_channel(c)->nr_ready > 0;
}

/* Half of what is held was done already, half never will be. */
static void fake_cancel(struct vio_block_channel *channel)
{
    struct fake_disk *d = disk_of_channel(channel);

    d->cancelled++;
    for (unsigned i = 0; d->nr_held > 0; i++) {
        struct vio_block_io *io = d->held[0];

        if (i % 2 == 0) {
            fake_disk_release(d, 1);
            continue;
        }
        memmove(&d->held[0], &d->held[1], (d->nr_held - 1) * sizeof(d->held[0]));
        d->nr_held--;
        io->result = -ECANCELED;
        d->ready[d->nr_ready++] = io;
    }
}

static const struct vio_block_ops fake_ops = {
    .name = "fake",
    .info = fake_info,
    .refresh = fake_refresh,
    .destroy = fake_destroy,
    .open = fake_open,
    .close = fake_close,
    .memory_changed = fake_memory_changed,
    .submit = fake_submit,
    .reap = fake_reap,
    .fd = fake_fd,
    .arm = fake_arm,
    .cancel = fake_cancel,
};

void fake_disk_init(struct fake_disk *d, uint64_t size)
{
    memset(d, 0, sizeof(*d));
    d->head.ops = &fake_ops;
    d->bytes = calloc(1, size);
    d->room = size;
    d->fail_op = -1;
    d->info = (struct vio_block_info){
        .size = size,
        .logical_block = 512,
        .physical_block = 4096,
        .min_io = 4096,
        .opt_io = 65536,
        .discard_granularity = 4096,
        .can_flush = true,
        .can_discard = true,
        .can_zero = true,
        .can_zero_unmap = true,
        .can_secure_erase = true,
        .can_fua = true,
        .has_lifetime = true,
        .pre_eol = 1,
        .life_a = 2,
        .life_b = 3,
        .serial = "fake-serial",
    };
    if (d->bytes == NULL)
        abort();
}

unsigned fake_disk_count(const struct fake_disk *d, enum vio_block_op op)
{
    unsigned n = 0;

    for (unsigned i = 0; i < d->nr_op && i < FAKE_OPS_MAX; i++)
        n += d->op[i].op == op;
    return n;
}
