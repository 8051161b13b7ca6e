/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the block device and the interface of what stands behind it.
 * Where it sits: the device is device/blk; backends are backend/ and include nothing of virtio but this
 * interface and base/. Units: bytes, unless a name says sectors.
 */
#ifndef VIO_BLOCK_H
#define VIO_BLOCK_H

#include <stdatomic.h>
#include <vio/log.h>
#include <vio/types.h>

VIO_PUBLIC_BEGIN

struct vio_device;
struct vio_device_params;

/* ------------------------------------------------------------------ what a backend is */

enum vio_block_op {
    VIO_BLOCK_READ,
    VIO_BLOCK_WRITE,
    VIO_BLOCK_FLUSH,
    VIO_BLOCK_DISCARD,
    VIO_BLOCK_WRITE_ZEROES,
    VIO_BLOCK_SECURE_ERASE,
};

enum {
    VIO_BLOCK_IO_FUA = 1,   /* stable before it is done (write-through) */
    VIO_BLOCK_IO_UNMAP = 2, /* write zeroes: may deallocate */
};

/* An io has at most this many pieces (an iovec's limit on Linux). */
enum { VIO_BLOCK_SEGS_MAX = 1024 };

/*
 * One operation. The device fills the first part; the backend owns it from submit until it is returned as done,
 * and may change seg[] (base and len) and priv[] meanwhile. seg[] has the layout of struct iovec and names shared
 * memory: never parsed. [offset, offset + length) is inside the size that the device knows, both multiples of 512;
 * the backend checks again against what is really there.
 */
struct vio_block_io {
    uint8_t op; /* enum vio_block_op */
    uint8_t flags;
    uint32_t nr_seg;
    uint64_t offset;
    uint64_t length; /* sum of seg[].len for read and write */
    struct vio_seg *seg;
    int result;      /* 0 or -errno, when done */
    uint64_t priv[6];
    struct vio_block_io *next; /* the backend's, while it owns the io */
};

struct vio_block_info {
    uint64_t size;               /* bytes; whole 512-byte sectors */
    uint32_t logical_block;      /* 512..; requests need no alignment to it (backends handle unaligned ones) */
    uint32_t physical_block;
    uint32_t min_io, opt_io;     /* 0: unknown */
    uint32_t discard_granularity;
    uint64_t max_discard, max_zeroes; /* bytes a range; 0: no limit */
    bool read_only;
    bool can_flush, can_discard, can_zero, can_zero_unmap, can_secure_erase, can_fua;
    bool has_lifetime;
    uint16_t pre_eol, life_a, life_b;
    char serial[21];
};

/* Guest memory, for backends that register it (io_uring); hosts stay valid until memory_changed or close. */
struct vio_block_memory {
    const struct vio_seg *region;
    unsigned nr;
};

struct vio_block_backend;
struct vio_block_channel;

/*
 * A channel is one queue's way to the backend: all its calls are by the queue's owner thread, and it is opened on
 * that thread.
 */
struct vio_block_ops {
    const char *name;
    /* Any thread. What it is now; -errno where it cannot be known. */
    int (*info)(struct vio_block_backend *b, struct vio_block_info *info);
    /* Control thread: looks again (a file that grew); info afterwards tells the new size. */
    int (*refresh)(struct vio_block_backend *b);
    void (*destroy)(struct vio_block_backend *b);

    int (*open)(struct vio_block_backend *b, unsigned depth, const struct vio_block_memory *memory,
                struct vio_block_channel **out);
    void (*close)(struct vio_block_channel *c); /* nothing is in flight */
    void (*memory_changed)(struct vio_block_channel *c, const struct vio_block_memory *memory); /* may be NULL */
    /*
     * Takes all n (n <= depth less what is in flight). Those that finish at once are written to done[] (room for n) and
     * counted in the return value; the others come from reap later.
     */
    unsigned (*submit)(struct vio_block_channel *c, struct vio_block_io **io, unsigned n, struct vio_block_io **done);
    /* Finished ones, at most max. */
    unsigned (*reap)(struct vio_block_channel *c, struct vio_block_io **done, unsigned max);
    /* Polls readable while reap has something to return (level); -1: submit finishes everything at once. */
    int (*fd)(struct vio_block_channel *c);
    /* Before sleeping on fd (true): flush what is held back, make fd signal. True back: reap first. May be NULL. */
    bool (*arm)(struct vio_block_channel *c, bool sleep);
    /*
     * What is in flight is not wanted any more: end it soon, with -ECANCELED where it was not done and never will be. All
     * still come back through reap. May be NULL: they end in their own time.
     */
    void (*cancel)(struct vio_block_channel *c);
};

/* The head of every backend. */
struct vio_block_backend {
    const struct vio_block_ops *ops;
};

/* ------------------------------------------------------------------ the backends there are */

struct vio_block_file_params {
    const char *path;
    int fd;          /* >= 0: use this (taken) instead of opening path */
    bool read_only;
    bool direct;     /* O_DIRECT */
    bool register_memory; /* direct: guest memory as registered buffers. Pins all of it: no balloon may shrink it */
    bool no_lock;    /* do not take the lock against a second writer */
    /*
     * For an embedder whose handler of SIGBUS lets copies go on, by putting another page where one was lost: what it
     * counts up *before* it does so. Then cached parts of the file are copied from a mapping. NULL: never mapped.
     */
    const atomic_uint *bus_faults;
    const struct vio_log *log;
};
/* File or block device. -EBUSY: somebody else has it locked; -EINVAL: not whole sectors. The reason is in `why`. */
int vio_block_file_open(const struct vio_block_file_params *params, struct vio_block_backend **out, char *why,
                        size_t why_size) VIO_MUST_CHECK;
/* Bytes in memory of this process (huge pages where the host gives them); zeroed. */
int vio_block_ram_open(uint64_t size, bool read_only, struct vio_block_backend **out, char *why, size_t why_size)
    VIO_MUST_CHECK;
/* Succeeds at everything and does nothing: reads leave the buffer as it was. For measuring. */
int vio_block_null_open(uint64_t size, bool read_only, struct vio_block_backend **out, char *why, size_t why_size)
    VIO_MUST_CHECK;
struct vio_block_nbd_params {
    const char *uri;
    bool read_only;
    unsigned reconnect_s; /* how long requests wait for a server that went away; then they fail with EIO */
    const struct vio_log *log;
};
/* Asynchronous, through libnbd, which is loaded when first used. -ENOTSUP: built without, or not installed. */
int vio_block_nbd_open(const struct vio_block_nbd_params *params, struct vio_block_backend **out, char *why,
                       size_t why_size) VIO_MUST_CHECK;
void vio_block_close(struct vio_block_backend *b); /* NULL is fine */

/* ------------------------------------------------------------------ the device (virtio 1.4, 5.2) */

struct vio_blk_params {
    struct vio_block_backend *backend; /* taken on success */
    uint16_t queues;
    uint16_t queue_size_max;  /* a power of two; 0: 1024 */
    /*
     * Data pieces of a request; 0: 126, what fits a queue of 128, which is what QEMU makes for vhost-user by itself: a
     * device behind vhost-user cannot know the size in advance, and Linux trusts seg_max more than the size.
     */
    uint32_t seg_max;
    uint32_t size_max;        /* bytes of one piece; 0: not offered */
    uint32_t block_size;      /* a power of two, 512 to 65536; 0: the backend's */
    bool read_only;
    bool writeback_off;       /* start in write-through */
    bool no_discard;
    char serial[21];
    const struct vio_device_params *device; /* name, log, host, ring bits; type, self, queues, features are filled in */
};
/* -EINVAL with the sentence for a person in `why` (NULL: not wanted); -ENOMEM; or what the backend's info failed with. */
int vio_blk_create(const struct vio_blk_params *params, struct vio_device **out, char *why, size_t why_size)
    VIO_MUST_CHECK;
/*
 * Control thread: asks the backend for its size again; the driver is told where it changed (5.2.6). Requests past the
 * end of a disk that shrank fail from now on. Errors: those of the backend; the size then stays.
 */
int vio_blk_refresh(struct vio_device *dev) VIO_MUST_CHECK;

VIO_PUBLIC_END

#endif
