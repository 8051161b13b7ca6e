/* SPDX-License-Identifier: MIT */
/* A block device on a fake disk, and its requests as a driver makes them. */
#ifndef VIO_TESTS_BLK_HELP_H
#define VIO_TESTS_BLK_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_disk.h"
#include "rig.h"
#include "spec/blk.h"
#include "spec/virtio.h"

enum { DISK_SECTORS = 2048, DISK_BYTES = DISK_SECTORS * 512 };

struct bench {
    struct rig rig;
    struct fake_disk disk;
    struct vio_features features; /* what start_bench negotiates */
    struct vio_blk_params params;
    struct vio_device_params device;
};

/* One request's bytes in the driver's memory. */
struct breq {
    struct rig_at head, data, status;
    uint32_t len;
};

static inline void bench_init(struct bench *b)
{
    memset(b, 0, sizeof(*b));
    rig_init(&b->rig);
    fake_disk_init(&b->disk, DISK_BYTES);
    b->device = (struct vio_device_params){ .name = "blk0", .log = &b->rig.log };
    b->params = (struct vio_blk_params){
        .backend = &b->disk.head,
        .queues = 1,
        .queue_size_max = 256,
        .device = &b->device,
    };
}

static inline void bench_create(struct bench *b)
{
    struct vio_device *dev;
    char why[128] = "";

    if (vio_blk_create(&b->params, &dev, why, sizeof(why)) != 0)
        fail_msg("vio_blk_create: %s", why);
    rig_device(&b->rig, dev);
}

static inline struct vio_features all_but(const struct bench *b, unsigned bit)
{
    struct vio_features f = vio_device_offered(b->rig.dev);

    vio_features_clear(&f, bit);
    return f;
}

static inline void bench_free(struct bench *b)
{
    rig_free(&b->rig);
    assert_int_equal(b->disk.destroyed, 1);
    assert_int_equal(b->disk.opened, b->disk.closed);
}

/* Header, len bytes of data and a status that no device writes. */
static inline struct breq breq_make(struct bench *b, uint32_t type, uint64_t sector, uint32_t len)
{
    struct breq r = {
        .head = rig_alloc(&b->rig, sizeof(struct virtio_blk_req)),
        .data = rig_alloc(&b->rig, len + 1u),
        .status = rig_alloc(&b->rig, 1),
        .len = len,
    };
    struct virtio_blk_req head = { .type = vio_le32_of(type), .sector = vio_le64_of(sector) };

    memcpy(r.head.host, &head, sizeof(head));
    *r.status.host = 0xff;
    return r;
}

static inline void put_bufs(struct bench *b, uint16_t queue, const struct vio_buf *bufs, unsigned nr_r, unsigned nr_w,
                            uint64_t token)
{
    assert_int_equal(vio_drvq_put(b->rig.queue[queue].drv, bufs, nr_r, nr_w, token), 0);
}

/* In the common framing: header, data, status. */
static inline void breq_put(struct bench *b, uint16_t queue, const struct breq *r, bool data_in, uint64_t token)
{
    struct vio_buf bufs[3] = { { r->head.gpa, sizeof(struct virtio_blk_req) }, { r->data.gpa, r->len } };
    unsigned nr = r->len > 0 ? 2 : 1;

    bufs[nr++] = (struct vio_buf){ r->status.gpa, 1 };
    if (data_in)
        put_bufs(b, queue, bufs, 1, nr - 1, token);
    else
        put_bufs(b, queue, bufs, nr - 1, 1, token);
}

static inline void publish(struct bench *b, uint16_t queue)
{
    (void)!vio_drvq_publish(b->rig.queue[queue].drv);
}

/* One used buffer; its length is returned. */
static inline uint32_t collect_one(struct bench *b, uint16_t queue, uint64_t token)
{
    struct vio_done done = { 0 };

    assert_int_equal(vio_drvq_collect(b->rig.queue[queue].drv, &done, 1), 1);
    assert_int_equal(done.token, token);
    return done.len;
}

static inline bool nothing_used(struct bench *b, uint16_t queue)
{
    return !vio_drvq_pending(b->rig.queue[queue].drv);
}

/* A request from start to end on queue 0; used is the used length. */
static inline uint8_t breq_run(struct bench *b, const struct breq *r, bool data_in, uint32_t *used)
{
    uint32_t len;

    breq_put(b, 0, r, data_in, 77);
    publish(b, 0);
    rig_serve(&b->rig, 0);
    len = collect_one(b, 0, 77);
    if (used != NULL)
        *used = len;
    return *r->status.host;
}

static inline uint8_t simple(struct bench *b, uint32_t type, uint64_t sector, uint32_t len)
{
    struct breq r = breq_make(b, type, sector, len);

    return breq_run(b, &r, type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID || type == VIRTIO_BLK_T_GET_LIFETIME,
                    NULL);
}

struct range {
    uint64_t sector;
    uint32_t sectors, flags;
};

static inline uint8_t ranges(struct bench *b, uint32_t type, const struct range *r, unsigned n)
{
    struct breq q = breq_make(b, type, 0, n * 16);

    for (unsigned i = 0; i < n; i++) {
        struct virtio_blk_range wire = {
            .sector = vio_le64_of(r[i].sector),
            .num_sectors = vio_le32_of(r[i].sectors),
            .flags = vio_le32_of(r[i].flags),
        };

        memcpy(q.data.host + i * 16, &wire, 16);
    }
    return breq_run(b, &q, false, NULL);
}

static inline struct virtio_blk_config blk_config(const struct bench *b)
{
    struct virtio_blk_config c;

    assert_int_equal(vio_device_config_read(b->rig.dev, 0, &c, sizeof(c)), 0);
    return c;
}

static inline void fill(uint8_t *to, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)(seed + i * 7 + i / 251);
}

#endif
