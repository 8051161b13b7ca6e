/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the inside of the file backend, for its own files only:
 *   file.c          opening, the calls of the interface, what a request goes through first
 *   file_probe.c    what the file and what lies under it can do; the lock
 *   file_map.c      reads and writes of what is cached, copied in submit where the file is mapped
 *   file_inline.c   others that need not wait, done in submit
 *   file_ring.c     the ring (io_uring) for all that may wait
 *   file_slow.c     one thread for what the ring cannot do
 * Threads: a channel is its owner's; of the backend only the atomics and the slow lane (with its lock) are shared.
 */
#ifndef VIO_BACKEND_FILE_H
#define VIO_BACKEND_FILE_H

#include "backend/backend.h"

#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/uio.h>

#define FILE_BOUNCE_MAX (1u << 20)
#define FILE_IOV_MAX 1024u

/* What an io carries in priv[] while it is ours. */
enum {
    FILE_DONE,   /* bytes done already */
    FILE_SEG,    /* first segment not done */
    FILE_STEP,   /* enum file_step: what it waits for */
    FILE_BOUNCE, /* its aligned copy, or 0 */
    FILE_TRIES,
    FILE_CHANNEL, /* in the slow lane: where it came from */
};

enum file_step {
    FILE_STEP_DATA,
    FILE_STEP_PUNCH,
    FILE_STEP_ZERO_RANGE,
    FILE_STEP_SYNC, /* the last step: flush, or what makes zeroes and discards stable (FUA) */
};

struct file_slow {
    pthread_mutex_t lock;
    pthread_cond_t work;
    pthread_t thread;
    bool started, stop;
    struct vio_block_io *first, *last;
};

/* What a map knows of each page. */
enum file_map_set {
    FILE_MAP_CACHED,  /* it was in the page cache when last looked at */
    FILE_MAP_WRITTEN, /* written as a whole since the last flush; */
    FILE_MAP_HOT,     /* and again */
    FILE_MAP_SETS,
};

struct file_map {
    unsigned char *base;
    uint64_t size;
    unsigned char *bits; /* [FILE_MAP_SETS][set_bytes] */
    size_t set_bytes;
    atomic_uint good;       /* bus_faults when all of it was the file's */
    atomic_bool written_to; /* since the last flush */
    unsigned lives;         /* under map_lock */
    struct file_map *older; /* a smaller one that may still be in use */
};

struct file_backend {
    struct vio_block_backend head;
    const struct vio_log *log;
    char *name; /* for messages: the path */
    int fd;
    bool read_only;
    bool direct;
    bool is_block;
    bool in_memory;           /* tmpfs: nothing waits for a device, nothing needs a flush */
    bool register_memory;
    uint32_t align;           /* direct: of offsets and lengths; else 1 */
    uint32_t memory_align;    /* direct: of buffers; else 1 */
    struct vio_block_info info; /* but the size */
    _Atomic uint64_t size;
    atomic_bool no_nowait_read, no_nowait_write, no_punch, no_zero_range;
    atomic_bool said_no_ring, said_no_register;
    /*
     * Where blocks are larger than sectors, a write of part of a block reads the whole, changes it and writes it
     * back, on the slow lane. It waits until writes on the rings are none, and these go the slow lane meanwhile.
     */
    atomic_uint ring_writes;
    atomic_bool exclusive;
    struct file_slow slow;
    const atomic_uint *bus_faults; /* NULL: never mapped */
    struct file_map *_Atomic map;  /* NULL: none */
    pthread_mutex_t map_lock;      /* for making it anew */
};

/* Whether doing it in place pays: closed for a while when it was seen to wait. */
struct file_guard {
    uint64_t closed_until_ns;
    uint32_t pause_ms;
    uint32_t strikes;
    uint32_t since_strike;
};

struct file_channel {
    struct vio_block_channel head;
    struct file_backend *file;
    unsigned depth;
    int wake_fd; /* an eventfd: the slow lane writes it, and the ring while armed */
    bool armed;
    /* inline */
    unsigned batch;  /* requests in this submit */
    uint64_t now_ns; /* 0: not looked at in this submit */
    uint32_t hit_rate; /* of reads that may not wait, 0..256, over about 32 */
    uint32_t skip_reads; /* go to the ring without trying */
    bool nowait_write_works;
    struct file_guard guard_read, guard_write, guard_part, guard_map;
    /* map */
    uint64_t map_used; /* requests since its pages were last given back */
    uint64_t map_used_then; /* when the timer was set */
    bool timer_set, timer_over;
    struct __kernel_timespec timer_time;
    /* ring */
    struct io_uring ring;
    bool ring_made, ring_failed, file_registered;
    struct iovec *memory; /* sorted pieces of at most 1 GiB */
    unsigned nr_memory, last_memory;
    bool memory_registered;
    unsigned ring_in_flight;
    struct vio_block_io *ring_waits; /* found no entry free */
    /* slow lane */
    atomic_bool slow_ready;
    struct vio_block_io *slow_done; /* under the lane's lock */
    struct vio_block_io *finished;  /* taken from there, not returned yet */
};

_Static_assert(sizeof(struct vio_seg) == sizeof(struct iovec), "a vio_seg is an iovec");
_Static_assert(offsetof(struct vio_seg, base) == offsetof(struct iovec, iov_base), "a vio_seg is an iovec");
_Static_assert(offsetof(struct vio_seg, len) == offsetof(struct iovec, iov_len), "a vio_seg is an iovec");

static inline struct iovec *file_iov(const struct vio_block_io *io)
{
    return (struct iovec *)(void *)(io->seg + io->priv[FILE_SEG]);
}

static inline unsigned file_nr_iov(const struct vio_block_io *io)
{
    return vio_min_u32(io->nr_seg - (uint32_t)io->priv[FILE_SEG], FILE_IOV_MAX);
}

static inline uint64_t file_left(const struct vio_block_io *io)
{
    return io->length - io->priv[FILE_DONE];
}

static inline bool file_finish(struct vio_block_io *io, int result)
{
    io->result = result;
    return true;
}

/* n more bytes are done: segments move on. */
void file_advance(struct vio_block_io *io, uint64_t n);

/* file_probe.c */
int file_probe(struct file_backend *f, char *why, size_t why_size) VIO_MUST_CHECK;
int file_probe_size(struct file_backend *f, uint64_t *size) VIO_MUST_CHECK;
int file_lock(struct file_backend *f, char *why, size_t why_size) VIO_MUST_CHECK;
/* eMMC and UFS tell how worn they are, below dir of sysfs; false where there is nothing to read. */
bool file_probe_lifetime(const char *dir, struct vio_block_info *info);

/* file_map.c: sends what it can through the map: taken out of io[], their number returned, and in done[]. */
unsigned file_map_batch(struct file_channel *c, struct vio_block_io **io, unsigned *n, struct vio_block_io **done);
/* Makes it, or a larger one; where that cannot be, there is none. */
void file_map_make(struct file_backend *f);
void file_map_free(struct file_backend *f);
/* A read or write of another way has succeeded: its pages are cached now. */
void file_map_learn(struct file_backend *f, const struct vio_block_io *io);
/* What is no read or write begins: a flush, or pages that will be gone. */
void file_map_unlearn(struct file_backend *f, const struct vio_block_io *io);
/* Before sleeping. */
void file_map_idle(struct file_channel *c);

/* file_inline.c: whether a way is open; and what an operation that began at c->now_ns says of it: true: closed now. */
bool file_guard_open(struct file_channel *c, const struct file_guard *g);
bool file_guard_seen(struct file_channel *c, uint64_t slow_ns, struct file_guard *g);
/* True: finished. */
bool file_read_inline(struct file_channel *c, struct vio_block_io *io);
bool file_write_inline(struct file_channel *c, struct vio_block_io *io);

/* file_ring.c */
int file_ring_make(struct file_channel *c) VIO_MUST_CHECK;
void file_ring_free(struct file_channel *c);
/* Takes the io's next step there. Sent by file_ring_send. */
void file_ring_put(struct file_channel *c, struct vio_block_io *io);
void file_ring_send(struct file_channel *c);
unsigned file_ring_reap(struct file_channel *c, struct vio_block_io **done, unsigned max);
/* The same with no system call. */
unsigned file_ring_reap_ready(struct file_channel *c, struct vio_block_io **done, unsigned max);
/* Whether completions write wake_fd. */
void file_ring_signal(struct file_channel *c, bool on);
bool file_ring_ready(struct file_channel *c);
/* One timer at a time: set, and whether it is over (then it is gone). */
bool file_ring_timer(struct file_channel *c, unsigned seconds);
bool file_ring_timer_over(struct file_channel *c);
int file_ring_memory(struct file_channel *c, const struct vio_block_memory *memory) VIO_MUST_CHECK;

/* file_slow.c */
int file_slow_init(struct file_backend *f) VIO_MUST_CHECK;
void file_slow_free(struct file_backend *f);
/* False: it could not be taken, and io->result says why. */
bool file_slow_put(struct file_channel *c, struct vio_block_io *io);
/* Ends what the lane has not begun; the rest is the disk's, and ends in its own time. */
void file_slow_cancel(struct vio_block_channel *channel);
unsigned file_slow_reap(struct file_channel *c, struct vio_block_io **done, unsigned max);

#endif
