/* SPDX-License-Identifier: MIT */
/*
 * Purpose: fuzzes the block device by what a driver can do: any bytes in any framing, rings poked at, resets and
 * suspends at any time, a disk that answers late and fails. Input: one byte of options, then operations.
 * Checked: the disk aborts on an io that is not whole sectors inside it; requests in flight never exceed the queue;
 * after a reset none is left and the device works.
 */
#include <stdlib.h>
#include <string.h>

#include "fake_disk.h"
#include "rig.h"
#include "spec/blk.h"
#include "spec/virtio.h"

enum { ARENA = 64 << 10, RING = 32, SECTORS = 256, RESTARTS_MAX = 40, PIECES_MAX = 12 };

enum { OPT_PACKED = 1, OPT_DIRECT = 2, OPT_IN_ORDER = 4, OPT_HOLD = 8, OPT_RO = 16, OPT_THROUGH = 32, OPT_NO_FUA = 64,
       OPT_FEW = 128 };

struct input {
    const uint8_t *at;
    size_t left;
};

struct run {
    struct rig rig;
    struct fake_disk disk;
    struct vio_features features;
    struct rig_at arena;
    uint64_t ring_from; /* what rings occupy of the driver's memory */
    unsigned restarts;
};

static uint8_t u8(struct input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

static uint16_t u16(struct input *in)
{
    uint16_t low = u8(in);

    return (uint16_t)(low | u8(in) << 8);
}

static void check(bool good)
{
    if (!good)
        abort();
}

/* ------------------------------------------------------------------ operations */

/* The header: mostly a known type and a sector nearby, sometimes anything. */
static void make_header(struct run *r, struct input *in, uint16_t at)
{
    static const uint8_t types[] = { 0, 1, 4, 8, 10, 11, 13, 14 };
    struct virtio_blk_req head = { 0 };
    uint8_t how = u8(in);

    head.type = vio_le32_of(how & 0x80 ? how : types[how % sizeof(types)]);
    head.sector = vio_le64_of(how & 0x40 ? UINT64_MAX - u16(in) : u16(in) % (SECTORS + 8));
    if (at + sizeof(head) <= ARENA)
        memcpy(r->arena.host + at, &head, sizeof(head));
}

static void make_ranges(struct run *r, struct input *in, uint16_t at)
{
    unsigned n = u8(in) % 8;

    for (unsigned i = 0; i < n && at + (i + 1) * 16 <= ARENA; i++) {
        struct virtio_blk_range range = {
            .sector = vio_le64_of(u8(in)),
            .num_sectors = vio_le32_of(u8(in)),
            .flags = vio_le32_of(u8(in) & 3),
        };

        memcpy(r->arena.host + at + i * 16, &range, 16);
    }
}

static struct vio_buf piece(struct run *r, struct input *in)
{
    uint16_t at = u16(in), len = u16(in);
    struct vio_buf b = { r->arena.gpa + at, len };

    if (len == 0xffff)
        b.addr = UINT64_C(0x123456789000) + at; /* nowhere */
    return b;
}

static void put_request(struct run *r, struct input *in)
{
    struct vio_buf bufs[2 * PIECES_MAX];
    uint8_t shape = u8(in);
    unsigned nr_r = shape % PIECES_MAX, nr_w = shape / PIECES_MAX % PIECES_MAX, n = 0;

    if (shape >= 200) { /* the common framing: header, data, status */
        uint16_t head = (uint16_t)(u16(in) & 0x7ff0), data = (uint16_t)((u8(in) % 9) * 512);
        bool reads = (shape & 1) != 0;

        make_header(r, in, head);
        make_ranges(r, in, (uint16_t)(head + 16));
        bufs[n++] = (struct vio_buf){ r->arena.gpa + head, 16 };
        if (data > 0)
            bufs[n++] = (struct vio_buf){ r->arena.gpa + head + 16u, shape & 2 ? data : 16u * (1 + data / 512u) };
        bufs[n++] = (struct vio_buf){ r->arena.gpa + head + 8192u, 1 };
        nr_w = reads ? n - 1 : 1;
        nr_r = n - nr_w;
    } else {
        for (n = 0; n < nr_r + nr_w; n++)
            bufs[n] = piece(r, in);
    }
    (void)!vio_drvq_put(r->rig.queue[0].drv, bufs, nr_r, nr_w, 1);
}

static void serve(struct run *r, unsigned budget)
{
    struct vio_done done[RING];

    (void)vio_device_queue_service(r->rig.dev, 0, budget);
    check(vio_device_queue_in_flight(r->rig.dev, 0) <= RING);
    (void)vio_drvq_collect(r->rig.queue[0].drv, done, RING);
}

/* Anywhere in the rings and tables, which the driver may write at any time. */
static void poke(struct run *r, struct input *in)
{
    uint64_t span = r->rig.next - r->ring_from;
    uint64_t at = r->ring_from + u16(in) % span;

    r->rig.host[at] = u8(in);
}

/* Before a drain: the disk answers after a while, and holds back no further step. */
static bool let_go(struct run *r)
{
    bool hold = r->disk.hold;

    r->disk.hold = false;
    r->disk.release_at = 2;
    return hold;
}

static void restart(struct run *r)
{
    bool hold;

    if (r->restarts++ >= RESTARTS_MAX)
        return;
    hold = let_go(r);
    check(vio_device_set_status(r->rig.dev, 0) == 0);
    check(vio_device_status(r->rig.dev) == 0 && r->disk.nr_held == 0 && r->disk.nr_ready == 0);
    r->disk.release_at = 0;
    r->disk.hold = hold;
    r->rig.next = r->ring_from;
    rig_start(&r->rig, r->features, RING);
}

static void stop_and_go(struct run *r)
{
    bool hold = let_go(r);

    vio_device_queue_stop(r->rig.dev, 0);
    r->disk.release_at = 0;
    r->disk.hold = hold;
    if (vio_device_queue_start(r->rig.dev, 0) < 0) /* the ring may be anything by now */
        restart(r);
}

static void resize(struct run *r, uint8_t sectors)
{
    r->disk.info.size = (uint64_t)(sectors + 1) * 512;
    check(vio_blk_refresh(r->rig.dev) == 0);
}

static void operate(struct run *r, struct input *in)
{
    uint8_t op = u8(in), value;

    switch (op % 16) {
    case 0: case 1: case 2: case 3: case 4:
        put_request(r, in);
        (void)!vio_drvq_publish(r->rig.queue[0].drv);
        break;
    case 5: case 6: case 7:
        serve(r, op >> 4);
        break;
    case 8:
        fake_disk_release(&r->disk, 1u + (op >> 4));
        break;
    case 9:
        poke(r, in);
        break;
    case 10:
        restart(r);
        break;
    case 11:
        value = u8(in);
        (void)!vio_device_config_write(r->rig.dev, op & 0x80 ? u8(in) : 32, &value, 1);
        break;
    case 12:
        (void)!vio_device_queue_enable(r->rig.dev, 0, (op & 16) != 0);
        break;
    case 13:
        if (r->disk.nr_held + r->disk.nr_ready == 0 || (op & 16))
            stop_and_go(r);
        break;
    case 14:
        r->disk.fail_op = (op >> 4) - 1;
        r->disk.fail_error = op & 16 ? -95 : -5;
        break;
    default:
        resize(r, u8(in));
        break;
    }
}

/* ------------------------------------------------------------------ one input */

static void start(struct run *r, unsigned options)
{
    struct vio_device_params device = { .name = "fuzz" };
    struct vio_blk_params params = { .backend = &r->disk.head, .queues = 1, .queue_size_max = 64, .device = &device };
    struct vio_device *dev;

    memset(r, 0, sizeof(*r));
    rig_init(&r->rig);
    fake_disk_init(&r->disk, SECTORS * 512);
    r->disk.hold = (options & OPT_HOLD) != 0;
    r->disk.newest_first = true;
    r->disk.info.can_fua = (options & OPT_NO_FUA) == 0;
    params.read_only = (options & OPT_RO) != 0;
    params.writeback_off = (options & OPT_THROUGH) != 0;
    if (options & OPT_IN_ORDER)
        vio_features_set(&device.ring_add, VIRTIO_F_IN_ORDER);
    check(vio_blk_create(&params, &dev, NULL, 0) == 0);
    rig_device(&r->rig, dev);
    r->features = vio_device_offered(dev);
    if ((options & OPT_PACKED) == 0)
        vio_features_clear(&r->features, VIRTIO_F_RING_PACKED);
    if (options & OPT_DIRECT)
        vio_features_clear(&r->features, VIRTIO_F_INDIRECT_DESC);
    if (options & OPT_FEW)
        r->features.w[0] &= ~UINT64_C(0xffffff);
    r->arena = rig_alloc(&r->rig, ARENA);
    r->ring_from = r->rig.next;
    rig_start(&r->rig, r->features, RING);
}

/* Nothing that came before may keep the device from serving a plain read. */
static void works_after_reset(struct run *r)
{
    struct vio_buf bufs[] = { { r->arena.gpa, 16 }, { r->arena.gpa + 512, 512 }, { r->arena.gpa + 4096, 1 } };
    struct vio_done done;

    r->restarts = 0;
    restart(r);
    r->disk.hold = false;
    r->disk.fail_op = -1;
    resize(r, SECTORS - 1);
    check(vio_device_queue_enable(r->rig.dev, 0, true) == 0);
    memset(r->arena.host, 0, 16);
    r->arena.host[4096] = 0xff;
    check(vio_drvq_put(r->rig.queue[0].drv, bufs, 1, 2, 7) == 0);
    (void)!vio_drvq_publish(r->rig.queue[0].drv);
    (void)vio_device_queue_service(r->rig.dev, 0, 64);
    check(vio_drvq_collect(r->rig.queue[0].drv, &done, 1) == 1 && done.token == 7 && done.len == 513);
    check(r->arena.host[4096] == VIRTIO_BLK_S_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct run run; /* large; made anew each time */
    struct input in = { data, size };

    start(&run, u8(&in));
    while (in.left > 0)
        operate(&run, &in);
    works_after_reset(&run);
    rig_free(&run.rig);
    check(run.disk.destroyed == 1 && run.disk.opened == run.disk.closed);
    return 0;
}
