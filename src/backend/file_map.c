/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the shortest way of all: the file is mapped, and what is in the page cache is copied from there or to there
 * with no system call, three times as fast. Only what is known to be cached goes this way, since a page that is
 * not there would hold the thread up: a bit for each page says that it was there when last read or written.
 * Where it sits: backend/file. Threads: the owners of channels; the map is the backend's, its bits are atomics.
 * Trust: a file that is cut, or a page that cannot be read, is a SIGBUS here. The embedder's handler counts it, then
 * puts another page in its place and goes on (vio_block_file_params.bus_faults); a batch during which it counted is done
 * again by system calls, which tell what is wrong. One thing differs from those: what is cut off inside a page that
 * stays is read as zeroes, and written nowhere.
 */
#include "backend/file.h"

#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#define MAP_PAGE 4096u
#define MAP_SIZE_MAX ((uint64_t)1 << 45)
/* Longer requests gain little, and hold up the others longer. */
#define MAP_LENGTH_MAX 65536u
/* The map is given up after so many faults: something is wrong with this file. */
#define MAP_LIVES 8u
/* A batch that took longer, beside a nanosecond a byte, met pages that had gone. */
#define MAP_SLOW_NS 200000u
/* Mapped pages count as this process's own memory: an idle channel gives them back, if they may be so many. */
#define TRIM_PAGES 512u
#define TRIM_AFTER_S 2

/* ------------------------------------------------------------------ making it */

/* Where a mapping is coherent, and faults are short and end: not on what a network or another program stands behind. */
static bool good_file_system(int fd)
{
    static const unsigned long good[] = {
        TMPFS_MAGIC, RAMFS_MAGIC, EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, F2FS_SUPER_MAGIC,
    };
    struct statfs fs;

    if (fstatfs(fd, &fs) < 0)
        return false;
    for (unsigned i = 0; i < sizeof good / sizeof good[0]; i++)
        if ((unsigned long)fs.f_type == good[i])
            return true;
    return false;
}

static void *map_at(const struct file_backend *f, void *at, uint64_t size)
{
    int protection = PROT_READ | (f->read_only ? 0 : PROT_WRITE);
    void *base = mmap(at, size, protection, MAP_SHARED | (at ? MAP_FIXED : 0), f->fd, 0);

    if (base == MAP_FAILED)
        return NULL;
    madvise(base, size, MADV_RANDOM);
    madvise(base, size, MADV_DONTDUMP);
    return base;
}

static void map_free(struct file_map *m)
{
    if (m->base)
        munmap(m->base, m->size);
    if (m->bits)
        munmap(m->bits, FILE_MAP_SETS * m->set_bytes);
    free(m);
}

static struct file_map *map_new(const struct file_backend *f, uint64_t size)
{
    struct file_map *m = calloc(1, sizeof *m);
    uint64_t pages = (size + MAP_PAGE - 1) / MAP_PAGE;
    void *bits;

    if (!m)
        return NULL;
    m->size = size;
    m->lives = MAP_LIVES;
    m->set_bytes = (pages / 8 + MAP_PAGE) / MAP_PAGE * MAP_PAGE;
    atomic_init(&m->good, atomic_load(f->bus_faults));
    m->base = map_at(f, NULL, size);
    bits = mmap(NULL, FILE_MAP_SETS * m->set_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                -1, 0);
    if (bits != MAP_FAILED)
        m->bits = bits;
    if (m->base && m->bits)
        return m;
    map_free(m);
    return NULL;
}

/* An older map stays until the end: a channel may be copying from it. */
void file_map_make(struct file_backend *f)
{
    struct file_map *older = atomic_load(&f->map), *m;
    uint64_t size = atomic_load(&f->size);

    if (!f->bus_faults || f->direct || size > MAP_SIZE_MAX || (older && older->size >= size && older->lives))
        return;
    if (sysconf(_SC_PAGESIZE) != MAP_PAGE || !(f->is_block || good_file_system(f->fd)))
        return;
    m = map_new(f, size);
    if (!m)
        return; /* no address space: every request is a system call, as without bus_faults */
    m->older = older;
    atomic_store(&f->map, m);
}

void file_map_free(struct file_backend *f)
{
    struct file_map *m = atomic_load(&f->map), *older;

    for (; m; m = older) {
        older = m->older;
        map_free(m);
    }
}

/* ------------------------------------------------------------------ what is known of pages */

static _Atomic uint64_t *set_of(const struct file_map *m, enum file_map_set set)
{
    return (_Atomic uint64_t *)(void *)(m->bits + set * m->set_bytes);
}

static inline bool has_page(const struct file_map *m, enum file_map_set set, uint64_t page)
{
    return atomic_load_explicit(&set_of(m, set)[page / 64], memory_order_relaxed) >> page % 64 & 1;
}

static bool has_pages(const struct file_map *m, enum file_map_set set, uint64_t page, uint64_t last)
{
    while (page <= last && has_page(m, set, page))
        page++;
    return page > last;
}

static void mark(struct file_map *m, enum file_map_set set, uint64_t page, bool on)
{
    uint64_t bit = UINT64_C(1) << page % 64;

    if (has_page(m, set, page) == on)
        return;
    if (on)
        atomic_fetch_or_explicit(&set_of(m, set)[page / 64], bit, memory_order_relaxed);
    else
        atomic_fetch_and_explicit(&set_of(m, set)[page / 64], ~bit, memory_order_relaxed);
}

/* Nothing is known any more. Bits that another channel sets meanwhile may stay: they are hints. */
static void forget(struct file_map *m, enum file_map_set first, unsigned sets)
{
    madvise(m->bits + first * m->set_bytes, sets * m->set_bytes, MADV_DONTNEED);
}

static struct file_map *map_for(const struct file_backend *f, const struct vio_block_io *io)
{
    struct file_map *m = atomic_load_explicit(&f->map, memory_order_acquire);

    return m && vio_range_ok(io->offset, io->length, m->size) && io->length ? m : NULL;
}

/*
 * A hole of a file in memory reads as zeroes; touched in a mapping, it would become memory. (Asked page by page: the end
 * of the data, SEEK_HOLE, is found by walking over all of it.)
 */
static bool is_hole(const struct file_backend *f, uint64_t page)
{
    off_t at = (off_t)(page * MAP_PAGE);

    return lseek(f->fd, at, SEEK_DATA) != at;
}

void file_map_learn(struct file_backend *f, const struct vio_block_io *io)
{
    struct file_map *m = map_for(f, io);
    uint64_t page = io->offset / MAP_PAGE, end = io->offset + io->length;
    bool ask = f->in_memory && io->op == VIO_BLOCK_READ;

    if (!m || io->op > VIO_BLOCK_WRITE || (ask && io->length > MAP_LENGTH_MAX) ||
        has_pages(m, FILE_MAP_HOT, page, (end - 1) / MAP_PAGE))
        return;
    for (; page * MAP_PAGE < end; page++) {
        bool whole = page * MAP_PAGE >= io->offset && (page + 1) * MAP_PAGE <= end;

        if (ask && is_hole(f, page))
            continue;
        mark(m, FILE_MAP_CACHED, page, true);
        if (io->op != VIO_BLOCK_WRITE || !whole)
            continue;
        mark(m, has_page(m, FILE_MAP_WRITTEN, page) ? FILE_MAP_HOT : FILE_MAP_WRITTEN, page, true);
        atomic_store_explicit(&m->written_to, true, memory_order_relaxed); /* a flush has something to forget */
    }
}

void file_map_unlearn(struct file_backend *f, const struct vio_block_io *io)
{
    struct file_map *m = map_for(f, io);

    if (io->op == VIO_BLOCK_FLUSH && !f->in_memory) {
        m = atomic_load_explicit(&f->map, memory_order_acquire);
        if (m && atomic_exchange_explicit(&m->written_to, false, memory_order_relaxed))
            forget(m, FILE_MAP_WRITTEN, 2);
        return;
    }
    if (!m || io->op <= VIO_BLOCK_FLUSH)
        return;
    for (uint64_t page = io->offset / MAP_PAGE; page * MAP_PAGE < io->offset + io->length; page++)
        for (unsigned set = 0; set < FILE_MAP_SETS; set++)
            mark(m, (enum file_map_set)set, page, false);
}

/*
 * Pages that are read must be there. Those that are written, too; and on a disk's file system they must have been
 * written twice since the last flush: the first write has found room for the page, so that none can be lacking here, and
 * a page that is written once between two flushes is cheaper by pwrite() than by the faults that tell the kernel of it.
 */
static bool may_map(const struct file_backend *f, const struct file_map *m, const struct vio_block_io *io)
{
    bool write = io->op == VIO_BLOCK_WRITE;

    if (io->op > VIO_BLOCK_WRITE || io->length > MAP_LENGTH_MAX || !io->length ||
        vio_backend_refuses(io, vio_min_u64(m->size, atomic_load_explicit(&f->size, memory_order_relaxed)), f->read_only))
        return false;
    if (write && !f->in_memory && (io->flags & VIO_BLOCK_IO_FUA))
        return false;
    return has_pages(m, write && !f->in_memory ? FILE_MAP_HOT : FILE_MAP_CACHED, io->offset / MAP_PAGE,
                     (io->offset + io->length - 1) / MAP_PAGE);
}

/* ------------------------------------------------------------------ copying */

/* Whether the map is whole, and the handler's count that says so. After faults, our own or others', it is made anew. */
static bool map_is_good(struct file_backend *f, struct file_map *m, unsigned *faults)
{
    unsigned good;

    *faults = atomic_load_explicit(f->bus_faults, memory_order_acquire);
    if (*faults == atomic_load_explicit(&m->good, memory_order_acquire))
        return true;
    pthread_mutex_lock(&f->map_lock);
    *faults = good = atomic_load(f->bus_faults);
    if (m->lives && good != atomic_load(&m->good)) {
        m->lives--;
        if (!m->lives)
            vio_log(f->log, VIO_LOG_WARNING, f->name,
                    "is read and written by system calls from now on: its pages went away from under the mapping again and "
                    "again (was it cut?)");
        else if (map_at(f, m->base, m->size))
            atomic_store(&m->good, good);
    }
    good = atomic_load(&m->good);
    pthread_mutex_unlock(&f->map_lock);
    return good == *faults;
}

/* The map's requests come first in done[]; the others stay in io[]. */
static unsigned copy_mapped(struct file_channel *c, struct file_map *m, struct vio_block_io **io, unsigned *n,
                            struct vio_block_io **done, uint64_t *bytes)
{
    unsigned nr_done = 0, rest = 0;

    for (unsigned i = 0; i < *n; i++) {
        if (!may_map(c->file, m, io[i])) {
            io[rest++] = io[i];
            continue;
        }
        if (i + 1 < *n && io[i + 1]->length && vio_range_ok(io[i + 1]->offset, io[i + 1]->length, m->size))
            vio_backend_prefetch(io[i + 1], m->base);
        vio_backend_copy(io[i], m->base);
        io[i]->result = 0;
        *bytes += io[i]->length;
        done[nr_done++] = io[i];
    }
    *n = rest;
    return nr_done;
}

unsigned file_map_batch(struct file_channel *c, struct vio_block_io **io, unsigned *n, struct vio_block_io **done)
{
    struct file_backend *f = c->file;
    struct file_map *m = atomic_load_explicit(&f->map, memory_order_acquire);
    unsigned faults, nr_done;
    uint64_t bytes = 0;

    if (!m || (!f->in_memory && !file_guard_open(c, &c->guard_map)) || !map_is_good(f, m, &faults))
        return 0;
    nr_done = copy_mapped(c, m, io, n, done, &bytes);
    if (!nr_done)
        return 0;
    c->map_used += nr_done;
    /* acquire, and the handler counts before it puts another page there: what we copied is the file's if it did not. */
    atomic_signal_fence(memory_order_seq_cst);
    if (atomic_load_explicit(f->bus_faults, memory_order_acquire) != faults) {
        memcpy(io + *n, done, nr_done * sizeof(struct vio_block_io *));
        *n += nr_done;
        forget(m, FILE_MAP_CACHED, FILE_MAP_SETS);
        return 0;
    }
    if (!f->in_memory && file_guard_seen(c, MAP_SLOW_NS + bytes, &c->guard_map))
        forget(m, FILE_MAP_CACHED, FILE_MAP_SETS);
    return nr_done;
}

/* ------------------------------------------------------------------ giving pages back */

static void trim(struct file_channel *c)
{
    struct file_map *m = atomic_load_explicit(&c->file->map, memory_order_acquire);

    if (m)
        madvise(m->base, m->size, MADV_DONTNEED); /* out of our page tables; the page cache keeps them */
    c->map_used = 0;
}

/* About to sleep: where pages are mapped a timer on the ring wakes us later, once. */
void file_map_idle(struct file_channel *c)
{
    if (c->timer_set && file_ring_timer_over(c)) {
        c->timer_set = false;
        if (c->map_used == c->map_used_then)
            trim(c);
    }
    if (c->timer_set || c->map_used < TRIM_PAGES)
        return;
    c->map_used_then = c->map_used;
    c->timer_set = file_ring_make(c) == 0 && file_ring_timer(c, TRIM_AFTER_S);
}
