/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a disk in anonymous memory of this process, on huge pages where the host gives them.
 * Where it sits: backend/. Threads: any number of channels copy to and from the same memory without a lock; which
 * of two requests for one sector in flight together comes first is the driver's own matter, as on any disk.
 * Trust: seg[] names memory that a guest may write meanwhile: it is copied, never looked at.
 */
#include "backend/backend.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Zeroing this much takes some milliseconds: longer ranges come in pieces, so that other queues get their turn. */
#define RAM_MAX_ZEROES (64u << 20)

struct ram_backend {
    struct vio_block_backend head;
    unsigned char *base; /* where the disk starts, inside map */
    uint64_t size;
    void *map;
    size_t mapped;
    size_t page;
    bool read_only;
};

struct ram_channel {
    struct vio_block_channel head;
    struct ram_backend ram; /* a copy: nothing in it changes, and the hot path follows one pointer less */
};

static int ram_info(struct vio_block_backend *b, struct vio_block_info *info)
{
    const struct ram_backend *ram = (const struct ram_backend *)b;

    *info = (struct vio_block_info){
        .size = ram->size,
        .logical_block = VIO_SECTOR,
        .physical_block = VIO_SECTOR,
        .discard_granularity = (uint32_t)ram->page,
        .max_zeroes = RAM_MAX_ZEROES,
        .read_only = ram->read_only,
        .can_flush = true,
        .can_discard = !ram->read_only,
        .can_zero = !ram->read_only,
        .can_zero_unmap = !ram->read_only,
        .can_fua = true,
    };
    return 0;
}

static int ram_refresh(struct vio_block_backend *b)
{
    (void)b;
    return 0;
}

static void ram_destroy(struct vio_block_backend *b)
{
    struct ram_backend *ram = (struct ram_backend *)b;

    munmap(ram->map, ram->mapped);
    free(ram);
}

static int ram_open(struct vio_block_backend *b, unsigned depth, const struct vio_block_memory *memory,
                    struct vio_block_channel **out)
{
    struct ram_channel *c = calloc(1, sizeof *c);

    (void)depth;
    (void)memory;
    if (!c)
        return -ENOMEM;
    c->head.backend = b;
    c->ram = *(struct ram_backend *)b;
    *out = &c->head;
    return 0;
}

static void ram_close(struct vio_block_channel *c)
{
    free(c);
}

/* Whole pages go back to the host and read as zeroes from then on; the edges are written. */
static int ram_release(const struct ram_backend *ram, uint64_t offset, uint64_t length)
{
    uint64_t end = offset + length;
    uint64_t first = (offset + ram->page - 1) / ram->page * ram->page;
    uint64_t last = end / ram->page * ram->page;

    if (first >= last) {
        memset(ram->base + offset, 0, length);
        return 0;
    }
    memset(ram->base + offset, 0, first - offset);
    memset(ram->base + last, 0, end - last);
    /* EINVAL where the memory is locked (mlockall): then the pages stay, as zeroes. */
    if (madvise(ram->base + first, last - first, MADV_DONTNEED) < 0)
        memset(ram->base + first, 0, last - first);
    return 0;
}

static int ram_do(const struct ram_backend *ram, const struct vio_block_io *io)
{
    int ret = vio_backend_refuses(io, ram->size, ram->read_only);

    if (ret < 0)
        return ret;
    switch (io->op) {
    case VIO_BLOCK_READ:
    case VIO_BLOCK_WRITE:
        vio_backend_copy(io, ram->base);
        return 0;
    case VIO_BLOCK_FLUSH:
        return 0;
    case VIO_BLOCK_DISCARD:
        return ram_release(ram, io->offset, io->length);
    case VIO_BLOCK_WRITE_ZEROES:
        if (io->flags & VIO_BLOCK_IO_UNMAP)
            return ram_release(ram, io->offset, io->length);
        memset(ram->base + io->offset, 0, io->length);
        return 0;
    default:
        return -EOPNOTSUPP;
    }
}

static unsigned ram_submit(struct vio_block_channel *channel, struct vio_block_io **io, unsigned n,
                           struct vio_block_io **done)
{
    const struct ram_backend *ram = &((const struct ram_channel *)channel)->ram;

    for (unsigned i = 0; i < n; i++) {
        if (i + 1 < n)
            vio_backend_prefetch(io[i + 1], ram->base);
        io[i]->result = ram_do(ram, io[i]);
        done[i] = io[i];
    }
    return n;
}

static unsigned ram_reap(struct vio_block_channel *c, struct vio_block_io **done, unsigned max)
{
    (void)c;
    (void)done;
    (void)max;
    return 0;
}

static int ram_fd(struct vio_block_channel *c)
{
    (void)c;
    return -1;
}

static const struct vio_block_ops ram_ops = {
    .name = "ram",
    .info = ram_info,
    .refresh = ram_refresh,
    .destroy = ram_destroy,
    .open = ram_open,
    .close = ram_close,
    .submit = ram_submit,
    .reap = ram_reap,
    .fd = ram_fd,
};

int vio_block_ram_open(uint64_t size, bool read_only, struct vio_block_backend **out, char *why, size_t why_size)
{
    const size_t huge = 2u << 20;
    struct ram_backend *ram;
    int ret = vio_backend_check_size(size, "the RAM disk", why, why_size);
    size_t mapped;
    void *base;

    if (ret < 0)
        return ret;
    /* Starts and ends on huge pages: older kernels map anything anywhere. */
    mapped = (size_t)((size + huge - 1) / huge * huge) + huge;
    base = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return vio_why(-errno, why, why_size, "a RAM disk of %" PRIu64 " bytes does not fit: %s", size,
                       strerror(errno));
    madvise(base, mapped, MADV_HUGEPAGE); /* faster, not needed: a host without them refuses */
    madvise(base, mapped, MADV_DONTFORK);
    madvise(base, mapped, MADV_DONTDUMP);
    ram = calloc(1, sizeof *ram);
    if (!ram) {
        munmap(base, mapped);
        return vio_why(-ENOMEM, why, why_size, "out of memory");
    }
    *ram = (struct ram_backend){
        .head.ops = &ram_ops,
        .map = base,
        .mapped = mapped,
        .base = (unsigned char *)base + (huge - (uintptr_t)base % huge) % huge,
        .size = size,
        .page = (size_t)sysconf(_SC_PAGESIZE),
        .read_only = read_only,
    };
    *out = &ram->head;
    return 0;
}
