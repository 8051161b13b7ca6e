/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the block device's requests (virtio 1.4, 5.2.6), a batch at a time: take, check, hand to the backend,
 * finish, publish once. Where it sits: device/blk. Threads: the owner of the queue.
 * Trust: a request's header and ranges are read once into private copies, and all decisions are made on these. Data
 * is not looked at. What breaks the framing breaks the queue; what is merely refused ends with a status.
 */
#include "device/blk_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* What is the same for all requests of one batch. */
struct batch {
    uint64_t capacity;
    bool fua;        /* write-through: by FUA... */
    bool then_flush; /* ...or by a flush after each write */
};

static inline struct vio_req *req_of(struct blk_req *br)
{
    return (struct vio_req *)(void *)br - 1; /* vio_req_priv() backwards */
}

/* ------------------------------------------------------------------ ends of a request */

static inline void finish(struct blk_queue *bq, struct blk_req *br, uint8_t status)
{
    *br->status = status;
    vio_devq_put(bq->vq, req_of(br));
    bq->put++;
}

static void finish_if(struct blk_queue *bq, struct blk_req *br, bool good)
{
    finish(bq, br, good ? (uint8_t)VIRTIO_BLK_S_OK : (uint8_t)VIRTIO_BLK_S_IOERR);
}

static void free_ranges(struct blk_req *br)
{
    free(br->ranges);
    br->ranges = NULL;
}

/* Broken framing: there is no place for an answer, or no knowing what was asked. */
static void broken(struct blk_queue *bq, struct vio_req *req, enum vio_fault fault)
{
    vio_devq_break(bq->vq, fault, req->id);
    vio_device_abandon(bq->blk->dev, bq->index, req);
}

static const char *op_name(unsigned op)
{
    static const char *const names[] = {
        [VIO_BLOCK_READ] = "read",       [VIO_BLOCK_WRITE] = "write",
        [VIO_BLOCK_FLUSH] = "flush",     [VIO_BLOCK_DISCARD] = "discard",
        [VIO_BLOCK_WRITE_ZEROES] = "write zeroes", [VIO_BLOCK_SECURE_ERASE] = "secure erase",
    };

    return op < sizeof(names) / sizeof(names[0]) ? names[op] : "?";
}

/* The backend failed, or gave the io back undone. */
static void failed(struct blk_queue *bq, struct blk_req *br)
{
    const struct vio_block_io *io = &br->io;
    struct vio_device *dev = bq->blk->dev;

    free_ranges(br);
    if (io->result == -ECANCELED && bq->cancelling) {
        vio_device_abandon(dev, bq->index, req_of(br));
        return;
    }
    if (io->result == -EOPNOTSUPP && io->op != VIO_BLOCK_READ && io->op != VIO_BLOCK_WRITE) {
        finish(bq, br, VIRTIO_BLK_S_UNSUPP);
        return;
    }
    vio_log_peer(vio_device_log(dev), &bq->limit, vio_device_name(dev),
                 "queue %u: %s of %" PRIu64 " bytes at %" PRIu64 " failed: %s", bq->index, op_name(io->op), io->length,
                 io->offset, strerror(-io->result));
    finish(bq, br, VIRTIO_BLK_S_IOERR);
}

/* ------------------------------------------------------------------ requests of several steps */

static void fill_range(struct blk_req *br, uint64_t offset, uint64_t length, bool unmap)
{
    br->io.flags = unmap ? VIO_BLOCK_IO_UNMAP : 0;
    br->io.offset = offset;
    br->io.length = length;
}

/* The next range that is not empty; false: there is none. */
static bool next_range(struct blk_req *br)
{
    struct blk_ranges *r = br->ranges;

    while (r != NULL && r->at < r->nr) {
        uint32_t i = r->at++;

        if (r->range[i].length == 0)
            continue;
        fill_range(br, r->range[i].offset, r->range[i].length, r->range[i].unmap);
        return true;
    }
    return false;
}

/* A step is done. True: br->io is the next one. False: that was the last, and the request has ended. */
static bool next_step(struct blk_queue *bq, struct blk_req *br)
{
    bool more = next_range(br);

    if (!more && br->then_flush) {
        br->then_flush = false;
        br->io.op = VIO_BLOCK_FLUSH;
        br->io.flags = 0;
        br->io.nr_seg = 0;
        br->io.offset = 0;
        br->io.length = 0;
        more = true;
    }
    if (more && !bq->cancelling)
        return true;
    free_ranges(br);
    if (more)
        vio_device_abandon(bq->blk->dev, bq->index, req_of(br)); /* the next owner does all of it again */
    else
        finish(bq, br, VIRTIO_BLK_S_OK);
    return false;
}

/* ------------------------------------------------------------------ requests other than read and write */

/* The status that refuses a range, or OK. */
static uint8_t check_range(const struct blk *blk, uint64_t capacity, unsigned op, const struct virtio_blk_range *r)
{
    uint32_t flags = vio_cpu(r->flags), sectors = vio_cpu(r->num_sectors);
    uint32_t known = op == VIO_BLOCK_WRITE_ZEROES ? VIRTIO_BLK_RANGE_F_UNMAP : 0;

    if (flags & ~known)
        return VIRTIO_BLK_S_UNSUPP; /* unknown flags; unmap where it means nothing (5.2.6.2) */
    if (sectors > (op == VIO_BLOCK_WRITE_ZEROES ? blk->zero_sectors : blk->discard_sectors) ||
        !vio_range_ok(vio_cpu(r->sector), sectors, capacity))
        return VIRTIO_BLK_S_IOERR;
    return VIRTIO_BLK_S_OK;
}

/* Several ranges: all are copied and checked before the first is carried out. */
static uint8_t read_ranges(struct blk_queue *bq, struct blk_req *br, const struct batch *b, uint32_t nr)
{
    struct vio_reader *in = &req_of(br)->in;
    struct blk_ranges *ranges = calloc(1, sizeof(*ranges) + nr * sizeof(ranges->range[0]));

    if (ranges == NULL)
        return VIRTIO_BLK_S_IOERR;
    br->ranges = ranges;
    ranges->nr = nr;
    for (uint32_t i = 0; i < nr; i++) {
        struct virtio_blk_range r;
        uint8_t status = vio_reader_get(in, &r, sizeof(r)) ? check_range(bq->blk, b->capacity, br->io.op, &r) :
                                                             VIRTIO_BLK_S_IOERR;

        if (status != VIRTIO_BLK_S_OK)
            return status;
        ranges->range[i].offset = vio_cpu(r.sector) * VIRTIO_BLK_SECTOR;
        ranges->range[i].length = (uint64_t)vio_cpu(r.num_sectors) * VIRTIO_BLK_SECTOR;
        ranges->range[i].unmap = (vio_cpu(r.flags) & VIRTIO_BLK_RANGE_F_UNMAP) != 0;
    }
    return VIRTIO_BLK_S_OK;
}

static uint8_t read_one_range(struct blk_queue *bq, struct blk_req *br, const struct batch *b)
{
    struct virtio_blk_range r;
    uint8_t status;

    if (!vio_reader_get(&req_of(br)->in, &r, sizeof(r)))
        return VIRTIO_BLK_S_IOERR;
    status = check_range(bq->blk, b->capacity, br->io.op, &r);
    if (status == VIRTIO_BLK_S_OK)
        fill_range(br, vio_cpu(r.sector) * VIRTIO_BLK_SECTOR, (uint64_t)vio_cpu(r.num_sectors) * VIRTIO_BLK_SECTOR,
                   (vio_cpu(r.flags) & VIRTIO_BLK_RANGE_F_UNMAP) != 0);
    return status;
}

/* DISCARD, WRITE_ZEROES, SECURE_ERASE. True: br->io goes to the backend. */
static bool prepare_ranges(struct blk_queue *bq, struct blk_req *br, const struct batch *b, enum vio_block_op op)
{
    uint64_t bytes = req_of(br)->in.left;
    uint64_t nr = bytes / sizeof(struct virtio_blk_range);
    uint8_t status;

    br->io.op = (uint8_t)op;
    br->io.nr_seg = 0;
    br->io.seg = NULL;
    /* Zeroes are data: in write-through mode they must be as stable as a write. */
    br->then_flush = op == VIO_BLOCK_WRITE_ZEROES && (b->fua || b->then_flush);
    if (bytes % sizeof(struct virtio_blk_range) != 0 || nr == 0 || nr > BLK_RANGES_MAX)
        status = VIRTIO_BLK_S_IOERR;
    else
        status = nr == 1 ? read_one_range(bq, br, b) : read_ranges(bq, br, b, (uint32_t)nr);
    if (status == VIRTIO_BLK_S_OK && (nr == 1 ? br->io.length > 0 : next_range(br)))
        return true;
    free_ranges(br);
    finish(bq, br, status); /* refused; or OK where all ranges are empty */
    return false;
}

static void get_id(struct blk_queue *bq, struct blk_req *br)
{
    bool fits = vio_writer_put(&req_of(br)->out, bq->blk->serial, VIRTIO_BLK_ID_BYTES);

    finish_if(bq, br, fits);
}

static void get_lifetime(struct blk_queue *bq, struct blk_req *br)
{
    struct vio_block_info info;
    struct virtio_blk_lifetime life;
    int ret = bq->ops->info(bq->blk->backend, &info);
    bool fits;

    if (ret < 0 || !info.has_lifetime) {
        finish(bq, br, VIRTIO_BLK_S_IOERR);
        return;
    }
    /* Reserved values must not be sent (5.2.6.2): 0 says that it is not known. */
    life.pre_eol_info = vio_le16_of(info.pre_eol <= 3 ? info.pre_eol : 0);
    life.device_lifetime_est_typ_a = vio_le16_of(info.life_a <= 11 ? info.life_a : 0);
    life.device_lifetime_est_typ_b = vio_le16_of(info.life_b <= 11 ? info.life_b : 0);
    fits = vio_writer_put(&req_of(br)->out, &life, sizeof(life));
    finish_if(bq, br, fits);
}

static bool prepare_flush(struct blk_req *br)
{
    br->io.op = VIO_BLOCK_FLUSH;
    br->io.flags = 0;
    br->io.nr_seg = 0;
    br->io.offset = 0;
    br->io.length = 0;
    br->io.seg = NULL;
    return true;
}

/* Everything but reads and writes. True: br->io goes to the backend. */
static __attribute__((noinline)) bool prepare_other(struct blk_queue *bq, struct blk_req *br, const struct batch *b,
                                                    uint32_t type)
{
    static const struct {
        uint32_t type;
        unsigned may;
        enum vio_block_op op;
    } ranged[] = {
        { VIRTIO_BLK_T_DISCARD, BLK_MAY_DISCARD, VIO_BLOCK_DISCARD },
        { VIRTIO_BLK_T_WRITE_ZEROES, BLK_MAY_ZERO, VIO_BLOCK_WRITE_ZEROES },
        { VIRTIO_BLK_T_SECURE_ERASE, BLK_MAY_ERASE, VIO_BLOCK_SECURE_ERASE },
    };
    unsigned may = bq->blk->may;

    for (size_t i = 0; i < sizeof(ranged) / sizeof(ranged[0]); i++) {
        if (type != ranged[i].type)
            continue;
        if (!bq->blk->read_only && (may & ranged[i].may))
            return prepare_ranges(bq, br, b, ranged[i].op);
        finish(bq, br, bq->blk->read_only ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_UNSUPP);
        return false;
    }
    if (type == VIRTIO_BLK_T_FLUSH && (may & BLK_MAY_FLUSH))
        return prepare_flush(br);
    if (type == VIRTIO_BLK_T_GET_ID)
        get_id(bq, br);
    else if (type == VIRTIO_BLK_T_GET_LIFETIME && (may & BLK_MAY_LIFETIME))
        get_lifetime(bq, br);
    else
        finish(bq, br, VIRTIO_BLK_S_UNSUPP);
    return false;
}

/* ------------------------------------------------------------------ reads and writes: the hot path */

/* True: io goes to the backend. False: the request has ended. */
static inline bool prepare_data(struct blk_queue *bq, struct blk_req *br, const struct batch *b, uint64_t sector,
                                uint64_t len, uint32_t nr_seg)
{
    if (unlikely((len & (VIRTIO_BLK_SECTOR - 1)) != 0 || sector > b->capacity || len >> 9 > b->capacity - sector ||
                 nr_seg > VIO_BLOCK_SEGS_MAX)) {
        finish(bq, br, VIRTIO_BLK_S_IOERR);
        return false;
    }
    if (unlikely(len == 0)) {
        finish(bq, br, VIRTIO_BLK_S_OK);
        return false;
    }
    br->io.nr_seg = nr_seg;
    br->io.offset = sector << 9;
    br->io.length = len;
    return true;
}

/* One request as taken. True: its io goes to the backend. False: it has ended, or broken the queue. */
static inline bool prepare(struct blk_queue *bq, struct vio_req *req, const struct batch *b)
{
    struct blk_req *br = vio_req_priv(req);
    struct virtio_blk_req head;

    if (unlikely(!vio_reader_get(&req->in, &head, sizeof(head)))) {
        broken(bq, req, VIO_FAULT_REQ_SHORT);
        return false;
    }
    br->status = vio_writer_take_last(&req->out);
    if (unlikely(br->status == NULL)) {
        broken(bq, req, VIO_FAULT_REQ_NO_STATUS);
        return false;
    }
    br->ranges = NULL;
    br->then_flush = false;
    if (vio_cpu(head.type) == VIRTIO_BLK_T_IN) {
        br->io.op = VIO_BLOCK_READ;
        br->io.flags = 0;
        br->io.seg = req->out.seg;
        return prepare_data(bq, br, b, vio_cpu(head.sector), req->out.left, req->out.nr);
    }
    if (likely(vio_cpu(head.type) == VIRTIO_BLK_T_OUT)) {
        if (unlikely(bq->blk->read_only)) {
            finish(bq, br, VIRTIO_BLK_S_IOERR);
            return false;
        }
        br->io.op = VIO_BLOCK_WRITE;
        br->io.flags = b->fua ? VIO_BLOCK_IO_FUA : 0;
        br->then_flush = b->then_flush;
        br->io.seg = req->in.seg;
        return prepare_data(bq, br, b, vio_cpu(head.sector), req->in.left, req->in.nr);
    }
    return prepare_other(bq, br, b, vio_cpu(head.type));
}

/* Ends what is done. Those that go on with another step are put into again[]; how many is returned. */
static inline unsigned settle(struct blk_queue *bq, struct vio_block_io **done, unsigned n, struct vio_block_io **again)
{
    unsigned more = 0;

    for (unsigned i = 0; i < n; i++) {
        struct blk_req *br = (struct blk_req *)(void *)done[i];

        if (unlikely(br->io.result < 0)) {
            failed(bq, br);
        } else if (unlikely(br->then_flush || br->ranges != NULL)) {
            if (next_step(bq, br))
                again[more++] = &br->io;
        } else {
            if (br->io.op == VIO_BLOCK_READ)
                vio_writer_wrote(&req_of(br)->out, br->io.length);
            finish(bq, br, VIRTIO_BLK_S_OK);
        }
    }
    return more;
}

/* Submits, and again as long as what finishes at once has further steps. io[] is used up. */
static inline void submit(struct blk_queue *bq, struct vio_block_io **io, unsigned n)
{
    struct vio_block_io *done[VIO_QUEUE_BATCH];

    while (n > 0) {
        unsigned finished = bq->ops->submit(bq->channel, io, n, done);

        bq->pending += n - finished;
        n = settle(bq, done, finished, io);
    }
}

/* What the backend has finished since; returns how much. */
static unsigned reap(struct blk_queue *bq)
{
    struct vio_block_io *done[VIO_QUEUE_BATCH], *again[VIO_QUEUE_BATCH];
    unsigned all = 0, n;

    do {
        n = bq->ops->reap(bq->channel, done, VIO_QUEUE_BATCH);
        bq->pending -= n;
        all += n;
        submit(bq, again, settle(bq, done, n, again));
    } while (n == VIO_QUEUE_BATCH && bq->pending > 0);
    return all;
}

static unsigned take(struct blk_queue *bq, const struct batch *b, unsigned max)
{
    struct vio_req *reqs[VIO_QUEUE_BATCH];
    struct vio_block_io *io[VIO_QUEUE_BATCH];
    unsigned got = vio_devq_take(bq->vq, reqs, max), nr = 0;

    for (unsigned i = 0; i < got; i++) {
        struct blk_req *br = vio_req_priv(reqs[i]);

        if (prepare(bq, reqs[i], b))
            io[nr++] = &br->io;
    }
    submit(bq, io, nr);
    return got;
}

static inline void publish(struct blk_queue *bq)
{
    if (bq->put == 0)
        return;
    vio_device_publish(bq->blk->dev, bq->index, bq->put);
    bq->put = 0;
}

unsigned blk_service(void *self, uint16_t queue, unsigned budget)
{
    struct blk *blk = self;
    struct blk_queue *bq = &blk->queue[queue];
    bool stable = atomic_load_explicit(&blk->stable, memory_order_relaxed);
    struct batch b = {
        .capacity = atomic_load_explicit(&blk->capacity, memory_order_relaxed),
        .fua = stable && blk->info.can_fua,
        .then_flush = stable && !blk->info.can_fua,
    };
    unsigned work = 0;

    if (bq->pending > 0) {
        work = reap(bq);
        publish(bq);
    }
    while (budget > 0) {
        /* A backend that queues is asked once for as much as there is: one system call carries it. */
        unsigned batch = bq->pending > 0 ? VIO_QUEUE_BATCH : BLK_BATCH;
        unsigned max = budget < batch ? budget : batch;
        unsigned got = take(bq, &b, max);

        if (got == 0)
            break;
        publish(bq);
        work += got;
        budget -= got;
        if (got < max)
            break; /* that was all: no need to load the driver's index once more */
    }
    return work;
}
