/* SPDX-License-Identifier: MIT */
/* The control side of a network device on a fake backend, and its commands as a driver makes them. */
#ifndef VIO_TESTS_NET_CTRL_HELP_H
#define VIO_TESTS_NET_CTRL_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_net.h"
#include "rig.h"
#include "spec/virtio.h"

enum { PAIRS = 4, DATA_MAX = 8192, RESULT_MAX = 4096, NO_ANSWER = 0xff };

struct nbench {
    struct rig rig;
    struct fake_net fake;
    bool packed;
    bool scattered; /* commands come in pieces of single bytes */
    uint16_t ctrl;
    struct rig_at sent, answer;
    uint32_t used; /* length of the last answer */
};

static inline void nbench_init(struct nbench *b, uint16_t pairs, bool packed, bool scattered)
{
    memset(b, 0, sizeof(*b));
    rig_init(&b->rig);
    fake_net_init(&b->fake);
    b->packed = packed;
    b->scattered = scattered;
    assert_int_equal(fake_net_create(&b->fake, pairs, &b->rig.log), 0);
    rig_device(&b->rig, b->fake.dev);
    b->sent = rig_alloc(&b->rig, DATA_MAX);
    b->answer = rig_alloc(&b->rig, RESULT_MAX);
}

static inline struct vio_features nbench_all(const struct nbench *b)
{
    struct vio_features f = vio_device_offered(b->fake.dev);

    if (!b->packed)
        vio_features_clear(&f, VIRTIO_F_RING_PACKED);
    return f;
}

static inline struct vio_features nbench_but(const struct nbench *b, unsigned bit)
{
    struct vio_features f = nbench_all(b);

    vio_features_clear(&f, bit);
    return f;
}

static inline void nbench_start(struct nbench *b, struct vio_features features)
{
    rig_start(&b->rig, features, 64);
    b->ctrl = fake_net_ctrl(&b->fake);
}

static inline void nbench_restart(struct nbench *b, struct vio_features features)
{
    vio_device_reset(b->fake.dev);
    nbench_start(b, features);
}

/* n bytes at `at` as pieces: one, or the first `single` of them alone. */
static inline unsigned pieces(struct vio_buf *bufs, struct rig_at at, uint32_t n, unsigned single)
{
    unsigned nr = 0;
    uint32_t done = 0;

    for (; done < n && nr < single; done++)
        bufs[nr++] = (struct vio_buf){ at.gpa + done, 1 };
    if (done < n)
        bufs[nr++] = (struct vio_buf){ at.gpa + done, n - done };
    return nr;
}

/* Sends what lies at b->sent with `room` writable bytes; whether it was used. */
static inline bool send_raw(struct nbench *b, uint32_t bytes, uint32_t room)
{
    struct vio_drvq *drv = b->rig.queue[b->ctrl].drv;
    struct vio_buf bufs[32];
    struct vio_done done;
    unsigned nr_r = pieces(bufs, b->sent, bytes, b->scattered ? 6 : 0);
    unsigned nr_w = pieces(bufs + nr_r, b->answer, room, b->scattered ? 5 : 0);

    memset(b->answer.host, NO_ANSWER, RESULT_MAX);
    b->used = 0;
    assert_int_equal(vio_drvq_put(drv, bufs, nr_r, nr_w, 9), 0);
    (void)!vio_drvq_publish(drv);
    rig_serve(&b->rig, b->ctrl);
    if (vio_drvq_collect(drv, &done, 1) == 0)
        return false;
    assert_int_equal(done.token, 9);
    b->used = done.len;
    return true;
}

/* The ack; what follows it is at b->answer.host + 1. */
static inline uint8_t command_with(struct nbench *b, uint8_t class_, uint8_t command, const void *data, uint32_t bytes,
                                   uint32_t room)
{
    assert_true(bytes + 2 <= DATA_MAX && room <= RESULT_MAX);
    b->sent.host[0] = class_;
    b->sent.host[1] = command;
    if (bytes > 0)
        memcpy(b->sent.host + 2, data, bytes);
    assert_true(send_raw(b, bytes + 2, room));
    return b->answer.host[0];
}

static inline uint8_t command(struct nbench *b, uint8_t class_, uint8_t cmd, const void *data, uint32_t bytes)
{
    uint8_t ack = command_with(b, class_, cmd, data, bytes, 1);

    assert_int_equal(b->used, 1);
    return ack;
}

static inline uint8_t command_u16(struct nbench *b, uint8_t class_, uint8_t cmd, uint16_t value)
{
    vio_le16 wire = vio_le16_of(value);

    return command(b, class_, cmd, &wire, sizeof(wire));
}

/* Every length but the right one of a command whose right data are given. */
static inline void wrong_lengths(struct nbench *b, uint8_t class_, uint8_t cmd, const void *data, uint32_t bytes)
{
    uint8_t longer[DATA_MAX - 2] = { 0 };

    memcpy(longer, data, bytes);
    for (uint32_t n = 0; n <= bytes + 8; n++)
        if (n != bytes)
            assert_int_equal(command(b, class_, cmd, longer, n), VIRTIO_NET_ERR);
}

#endif
