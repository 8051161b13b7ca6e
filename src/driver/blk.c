/* SPDX-License-Identifier: MIT */
/*
 * Purpose: requests of the block device, driver side (virtio 1.4, 5.2.6). Where it sits: driver/, freestanding.
 * Threads: the queue's owner. Trust: the one byte that is read of what the device can write, the status, is read once.
 */
#include <errno.h>
#include <string.h>
#include "driver/blk.h"
#include "spec/blk.h"

/*
 * In shared memory, one a request. Header and status in one line, as in most drivers: the device takes the line over
 * when it reads the header, so that its status costs no second one.
 */
struct slot {
    struct virtio_blk_req header;
    struct virtio_blk_range range;
    uint8_t status;
    uint8_t unused[31];
};
_Static_assert(sizeof(struct slot) == VIO_DRVBLK_SLOT, "a slot is a cache line");

struct vio_drvblk {
    struct vio_drvq *queue;
    struct slot *slots;
    uint64_t slots_addr;
    uint32_t depth;
    uint32_t nr_free;
    uint32_t size_max;
    uint64_t *tokens;
    uint32_t *free; /* a stack: the slot that came back last is still in the cache */
};

static size_t head_bytes(void)
{
    return (sizeof(struct vio_drvblk) + 63) & ~(size_t)63;
}

size_t vio_drvblk_bytes(uint32_t depth)
{
    return (head_bytes() + depth * (sizeof(uint64_t) + sizeof(uint32_t)) + 63) & ~(size_t)63;
}

int vio_drvblk_init(void *mem, const struct vio_drvblk_params *params, struct vio_drvblk **out)
{
    struct vio_drvblk *c = mem;

    if (params->depth == 0 || params->depth > 65536)
        return -EINVAL;
    if (((uintptr_t)mem | (uintptr_t)params->slots | params->slots_addr) % 64 != 0)
        return -EINVAL;
    c->queue = params->queue;
    c->slots = params->slots;
    c->slots_addr = params->slots_addr;
    c->depth = params->depth;
    c->nr_free = params->depth;
    c->size_max = params->size_max != 0 ? params->size_max : UINT32_MAX;
    c->tokens = (uint64_t *)(void *)((uint8_t *)mem + head_bytes());
    c->free = (uint32_t *)(void *)(c->tokens + params->depth);
    for (uint32_t i = 0; i < params->depth; i++)
        c->free[i] = params->depth - 1 - i;
    memset(c->slots, 0, (size_t)params->depth * sizeof(struct slot));
    *out = c;
    return 0;
}

/* Which way the data goes; false where a request of this type cannot have this op's data. */
static bool shape_of(const struct vio_drvblk_op *op, bool *device_writes, bool *has_range)
{
    *device_writes = false;
    *has_range = false;
    switch (op->type) {
    case VIRTIO_BLK_T_IN:
    case VIRTIO_BLK_T_GET_ID:
    case VIRTIO_BLK_T_GET_LIFETIME:
        *device_writes = true;
        return op->nr_data >= 1 && op->nr_data <= VIO_DRVBLK_PIECES_MAX;
    case VIRTIO_BLK_T_OUT:
        return op->nr_data >= 1 && op->nr_data <= VIO_DRVBLK_PIECES_MAX;
    case VIRTIO_BLK_T_DISCARD:
    case VIRTIO_BLK_T_WRITE_ZEROES:
    case VIRTIO_BLK_T_SECURE_ERASE:
        *has_range = true;
        return op->nr_data == 0;
    default:
        return op->nr_data == 0;
    }
}

/* The data, no piece longer than the device takes; 0: these are more pieces than there is room for. */
static unsigned pieces_of(const struct vio_drvblk *c, const struct vio_drvblk_op *op, struct vio_buf *bufs, unsigned nr)
{
    unsigned room = nr + VIO_DRVBLK_PIECES_MAX;

    for (uint32_t i = 0; i < op->nr_data; i++) {
        struct vio_buf rest = op->data[i];

        while (rest.len > c->size_max && nr < room) {
            bufs[nr++] = (struct vio_buf){ rest.addr, c->size_max };
            rest.addr += c->size_max;
            rest.len -= c->size_max;
        }
        if (nr == room)
            return 0;
        bufs[nr++] = rest;
    }
    return nr;
}

static bool put_one(struct vio_drvblk *c, const struct vio_drvblk_op *op)
{
    struct vio_buf bufs[VIO_DRVBLK_PIECES_MAX + 2];
    uint32_t index = c->free[c->nr_free - 1];
    struct slot *slot = &c->slots[index];
    uint64_t addr = c->slots_addr + (uint64_t)index * sizeof(*slot);
    bool device_writes, has_range, placed = op->type == VIRTIO_BLK_T_IN || op->type == VIRTIO_BLK_T_OUT;
    unsigned nr = 1, nr_r;

    if (!shape_of(op, &device_writes, &has_range))
        return false;
    slot->header.type = vio_le32_of(op->type);
    slot->header.reserved = vio_le32_of(0);
    slot->header.sector = vio_le64_of(placed ? op->sector : 0);
    slot->status = VIO_DRVBLK_NO_STATUS;
    bufs[0] = (struct vio_buf){ addr, sizeof(slot->header) };
    if (has_range) {
        slot->range.sector = vio_le64_of(op->sector);
        slot->range.num_sectors = vio_le32_of(op->sectors);
        slot->range.flags = vio_le32_of(op->flags);
        bufs[nr++] = (struct vio_buf){ addr + offsetof(struct slot, range), sizeof(slot->range) };
    } else if (op->nr_data > 0) {
        nr = pieces_of(c, op, bufs, nr);
        if (nr == 0)
            return false;
    }
    nr_r = device_writes ? 1 : nr;
    bufs[nr++] = (struct vio_buf){ addr + offsetof(struct slot, status), 1 };
    if (vio_drvq_put(c->queue, bufs, nr_r, nr - nr_r, index) != 0)
        return false;
    c->tokens[index] = op->token;
    c->nr_free--;
    return true;
}

unsigned vio_drvblk_put(struct vio_drvblk *c, const struct vio_drvblk_op *ops, unsigned n)
{
    unsigned done = 0;

    while (done < n && c->nr_free > 0 && put_one(c, &ops[done]))
        done++;
    return done;
}

bool vio_drvblk_publish(struct vio_drvblk *c)
{
    return vio_drvq_publish(c->queue);
}

static int16_t error_of(uint8_t status)
{
    switch (status) {
    case VIRTIO_BLK_S_OK:
        return 0;
    case VIRTIO_BLK_S_IOERR:
        return -EIO;
    case VIRTIO_BLK_S_UNSUPP:
        return -ENOTSUP;
    default:
        return -EPROTO;
    }
}

unsigned vio_drvblk_collect(struct vio_drvblk *c, struct vio_drvblk_result *results, unsigned max)
{
    struct vio_done done[VIO_QUEUE_BATCH];
    unsigned total = 0;

    while (total < max) {
        unsigned want = max - total < VIO_QUEUE_BATCH ? max - total : VIO_QUEUE_BATCH;
        unsigned got = vio_drvq_collect(c->queue, done, want);

        for (unsigned i = 0; i < got; i++) {
            uint32_t index = (uint32_t)done[i].token;

            uint8_t status = *(volatile const uint8_t *)&c->slots[index].status;

            results[total + i] = (struct vio_drvblk_result){
                .token = c->tokens[index],
                .len = done[i].len,
                .status = status,
                .error = error_of(status),
            };
            c->free[c->nr_free++] = index;
        }
        total += got;
        if (got < want)
            break;
    }
    return total;
}

uint64_t vio_drvblk_lost(struct vio_drvblk *c, uint64_t drvq_token)
{
    c->free[c->nr_free++] = (uint32_t)drvq_token;
    return c->tokens[drvq_token];
}

bool vio_drvblk_detach(struct vio_drvblk *c, uint64_t *token)
{
    uint64_t index;

    if (!vio_drvq_detach(c->queue, &index))
        return false;
    *token = vio_drvblk_lost(c, index);
    return true;
}

void vio_drvblk_queue(struct vio_drvblk *c, struct vio_drvq *queue)
{
    c->queue = queue;
}

uint32_t vio_drvblk_in_flight(const struct vio_drvblk *c)
{
    return c->depth - c->nr_free;
}
