/* SPDX-License-Identifier: MIT */
/* Purpose: the networks that need nothing outside: null, generate, echo. Where it sits: tests/unit/backend. */
#include "net_help.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/net_generate.h"

static char why[200];

static struct vio_net_backend *started(struct vio_net_backend *b, struct fake_sink *f)
{
    assert_int_equal(b->ops->start(b, &f->sink), 0);
    return b;
}

static struct vio_net_backend *generate(uint32_t bytes, struct fake_sink *f)
{
    struct vio_net_backend *b = NULL;

    assert_int_equal(vio_net_generate_open(bytes, &b, why, sizeof why), 0);
    return started(b, f);
}

static struct vio_net_backend *echo(struct fake_sink *f)
{
    struct vio_net_backend *b = NULL;

    assert_int_equal(vio_net_echo_open(&b, why, sizeof why), 0);
    return started(b, f);
}

static void stop(struct vio_net_backend *b, struct fake_sink *f)
{
    b->ops->stop(b);
    vio_net_close(b);
    fake_sink_free(f);
}

/* ------------------------------------------------------------------ null */

static void null_takes_everything(void **state)
{
    static uint8_t frame[VIO_NET_FRAME_MAX];
    static struct fake_packet made[3];

    (void)state;
    for (int copy = 0; copy < 2; copy++) {
        struct fake_sink *f = fake_sink_make();
        struct vio_net_packet p[VIO_NET_BURST];
        struct vio_net_backend *b = NULL;
        struct vio_net_info info;

        assert_int_equal(vio_net_null_open(copy != 0, &b, why, sizeof why), 0);
        b->ops->info(b, &info);
        assert_int_equal(info.takes, VIO_NET_OFFLOADS);
        assert_int_equal(info.gives, 0);
        started(b, f);
        fake_packet(&made[0], frame, sizeof frame, VIO_NET_SEGS_MAX);
        fake_packet(&made[1], frame, VIO_NET_FRAME_MIN, 1);
        fake_packet(&made[2], frame, 1518, 2);
        for (unsigned i = 0; i < VIO_NET_BURST; i++)
            p[i] = made[i % 3].packet;
        for (unsigned n = 1; n <= VIO_NET_BURST; n++)
            assert_int_equal(b->ops->send(b, p, n), n);
        assert_int_equal(b->ops->poll(b, 64), 0);
        assert_int_equal(b->ops->fd(b), -1);
        assert_int_equal(f->offered, 0);
        stop(b, f);
    }
    vio_net_close(NULL);
}

/* ------------------------------------------------------------------ generate */

static uint32_t sum16(const uint8_t *bytes, size_t len, uint32_t sum)
{
    for (size_t i = 0; i < len; i++)
        sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

/* By another way than the generator's: the sum over everything, the checksum with it, is all ones. */
static bool headers_hold(const uint8_t *frame, uint32_t len)
{
    uint8_t pseudo[12] = { 192, 0, 2, 1, 192, 0, 2, 2, 0, 17, (uint8_t)((len - 34) >> 8), (uint8_t)(len - 34) };

    return frame[12] == 8 && frame[13] == 0 && frame[14] == 0x45 && frame[23] == 17 && !memcmp(frame + 26, pseudo, 8) &&
           (uint32_t)(frame[16] << 8 | frame[17]) == len - 14 && (uint32_t)(frame[38] << 8 | frame[39]) == len - 34 &&
           frame[36] == 0 && frame[37] == 9 && (frame[40] || frame[41]) && !(frame[0] & 1) && !(frame[6] & 1) &&
           sum16(frame + 14, 20, 0) == 0xffff && sum16(frame + 34, len - 34, sum16(pseudo, 12, 0)) == 0xffff;
}

static void generated_frames_are_whole(void **state)
{
    static const uint32_t bytes[] = { 60, 61, 64, 1514, 1518, 9000, 65535 };

    (void)state;
    for (unsigned i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        struct fake_sink *f = fake_sink_make();
        struct vio_net_backend *b = generate(bytes[i], f);
        uint64_t number;

        for (unsigned burst = 0; burst < 5; burst++)
            assert_int_equal(b->ops->poll(b, VIO_NET_BURST), VIO_NET_BURST);
        assert_int_equal(f->nr, 5 * VIO_NET_BURST);
        assert_int_equal(f->unflushed, 0);
        assert_int_equal(f->flushes, 5);
        for (unsigned n = 0; n < f->nr; n++) {
            assert_int_equal(f->frame[n].len, bytes[i]);
            assert_true(headers_hold(f->frame[n].bytes, bytes[i]));
            assert_true(net_generate_number(f->frame[n].bytes, bytes[i], &number));
            assert_int_equal(number, n);
        }
        f->frame[3].bytes[GENERATE_NUMBER + 3] ^= 0x10; /* damage is seen */
        assert_false(net_generate_number(f->frame[3].bytes, bytes[i], &number));
        assert_false(net_generate_number(f->frame[4].bytes, GENERATE_FILL - 1, &number));
        stop(b, f);
    }
}

static void nothing_generated_is_lost(void **state)
{
    struct fake_sink *f = fake_sink_make();
    struct vio_net_backend *b = generate(64, f);
    uint64_t number;
    unsigned want = 0;

    (void)state;
    for (unsigned i = 0; i < 60; i++) {
        unsigned budget = i % 7 == 0 ? 100 : 1 + i % 65;
        unsigned room = i * 5 % 71;
        unsigned take = budget < room ? budget : room;

        f->room = room;
        assert_int_equal(b->ops->poll(b, budget), take);
        want += take;
        assert_int_equal(f->nr, want);
        assert_int_equal(f->unflushed, 0);
        assert_true(f->max_burst <= VIO_NET_BURST);
    }
    for (unsigned i = 0; i < f->nr; i++) {
        assert_true(net_generate_number(f->frame[i].bytes, 64, &number));
        assert_true(headers_hold(f->frame[i].bytes, 64));
        assert_int_equal(number, i);
    }
    stop(b, f);
}

static void generate_wakes_only_for_room(void **state)
{
    struct fake_sink *f = fake_sink_make();
    struct vio_net_backend *b = generate(1518, f);
    struct vio_net_info info;
    uint8_t frame[64] = { 0 };
    int fd = b->ops->fd(b);

    (void)state;
    b->ops->info(b, &info);
    assert_true(info.has_mac);
    assert_int_equal(info.gives, 0);
    assert_int_equal(net_send_one(b, frame, sizeof frame), 1); /* and nothing comes of it */
    assert_false(fd_readable(fd, 0));
    assert_true(b->ops->arm(b, true, true, false));
    assert_true(fd_readable(fd, 0));
    assert_false(b->ops->arm(b, false, true, false));
    assert_false(b->ops->arm(b, true, false, true));
    assert_false(fd_readable(fd, 0));
    assert_int_equal(b->ops->fd(b), fd);
    assert_true(b->ops->arm(b, true, true, false));
    b->ops->stop(b);
    assert_false(fd_readable(fd, 0));
    assert_int_equal(b->ops->start(b, &f->sink), 0);
    assert_int_equal(vio_net_generate_open(59, &b, why, sizeof why), -EINVAL);
    assert_non_null(strstr(why, "60 to 65535"));
    assert_int_equal(vio_net_generate_open(65536, &b, why, sizeof why), -EINVAL);
    assert_int_equal(vio_net_generate_open(0, &b, NULL, 0), -EINVAL);
    stop(b, f);
}

/* ------------------------------------------------------------------ echo */

static void echo_swaps_and_keeps_order(void **state)
{
    static uint8_t frame[VIO_NET_FRAME_MAX];
    static struct fake_packet made;
    static const uint32_t bytes[] = { 14, 60, 1514, VIO_NET_FRAME_MAX, 15 };
    struct fake_sink *f = fake_sink_make();
    struct vio_net_backend *b = echo(f);
    struct vio_net_info info;

    (void)state;
    b->ops->info(b, &info);
    assert_int_equal(info.takes, 0);
    assert_int_equal(info.gives, 0);
    for (uint8_t i = 0; i < 5; i++) {
        test_frame(frame, bytes[i], 1, 2, i);
        fake_packet(&made, frame, bytes[i], i == 3 ? VIO_NET_SEGS_MAX : 3);
        assert_int_equal(b->ops->send(b, &made.packet, 1), 1);
        memset(frame, 0xee, sizeof frame); /* they were valid during the call only */
    }
    assert_int_equal(b->ops->poll(b, 2), 2);
    assert_int_equal(b->ops->poll(b, 64), 3);
    assert_int_equal(b->ops->poll(b, 64), 0);
    assert_int_equal(f->flushes, 2);
    for (uint8_t i = 0; i < 5; i++)
        assert_true(test_frame_is(&f->frame[i], bytes[i], 2, 1, i));
    stop(b, f);
}

/* Random sizes, random room: what went in comes out once, in order; and the ring says when it is full. */
static void echo_ring_goes_around(void **state)
{
    static uint8_t frame[VIO_NET_FRAME_MAX];
    struct fake_sink *f = fake_sink_make();
    struct vio_net_backend *b = echo(f);
    uint32_t *len = calloc(100000, sizeof *len);
    unsigned sent = 0, got = 0, refused = 0;

    (void)state;
    srand(7);
    for (unsigned round = 0; round < 3000; round++) {
        unsigned most = rand() % 3 == 0 ? VIO_NET_FRAME_MAX : 200;

        for (unsigned n = (unsigned)rand() % 100; n > 0; n--) {
            len[sent] = 14 + (uint32_t)rand() % (most - 13);
            test_frame(frame, len[sent], 1, 2, (uint8_t)sent);
            if (net_send_one(b, frame, len[sent]) == 0) {
                refused++;
                break;
            }
            sent++;
        }
        f->room = (unsigned)rand() % 120;
        (void)b->ops->poll(b, VIO_NET_BURST);
        for (unsigned i = 0; i < f->nr; i++, got++)
            assert_true(test_frame_is(&f->frame[i], len[got], 2, 1, (uint8_t)got));
        fake_sink_reset(f);
        if (sent > 99000)
            break;
    }
    assert_true(refused > 10);
    assert_true(got > 1000);
    assert_true(sent - got <= 256);
    free(len);
    stop(b, f);
}

static void echo_says_when_there_is_work(void **state)
{
    static uint8_t frame[60000];
    struct fake_sink *f = fake_sink_make();
    struct vio_net_backend *b = echo(f);
    int fd = b->ops->fd(b);
    unsigned n = 0;

    (void)state;
    assert_false(b->ops->arm(b, true, true, false));
    assert_false(fd_readable(fd, 0));
    while (net_send_one(b, frame, sizeof frame) == 1)
        n++;
    assert_true(n >= 15 && n < 100); /* a named cap */
    assert_true(fd_readable(fd, 0)); /* it came while the device slept, from a queue of the same owner */
    assert_false(b->ops->arm(b, true, false, true)); /* full, and nobody takes */
    assert_false(fd_readable(fd, 0));
    assert_true(b->ops->arm(b, true, true, true));
    assert_true(fd_readable(fd, 0));
    f->room = 1;
    assert_int_equal(b->ops->poll(b, 64), 1);
    f->room = FAKE_NO_LIMIT;
    assert_true(b->ops->arm(b, true, false, true)); /* room for what was refused */
    assert_int_equal(net_send_one(b, frame, sizeof frame), 1);
    assert_true(net_wait_frames(b, f, n + 1, 1000));
    assert_false(b->ops->arm(b, true, true, false));
    assert_false(fd_readable(fd, 0));
    /* What one driver sent is not delivered to the next. */
    assert_int_equal(net_send_one(b, frame, 60), 1);
    b->ops->stop(b);
    assert_int_equal(b->ops->start(b, &f->sink), 0);
    assert_int_equal(b->ops->poll(b, 64), 0);
    stop(b, f);
}

/* ------------------------------------------------------------------ lanes */

static struct vio_net_backend *lane_of(struct vio_net_backend *first, struct fake_sink *f)
{
    struct vio_net_backend *b = NULL;

    assert_int_equal(first->ops->open_lane(first, &b, why, sizeof why), 0);
    assert_ptr_equal(b->ops, first->ops);
    assert_int_equal(b->ops->start(b, &f->sink), 0);
    return b;
}

static void generated_lanes_are_flows(void **state)
{
    struct fake_sink *f = fake_sink_make(), *g = fake_sink_make();
    struct vio_net_backend *b = generate(64, f), *c = lane_of(b, g);
    uint64_t number;

    (void)state;
    assert_false(c->ops->arm(c, true, true, false)); /* nobody has asked for its frames */
    assert_false(fd_readable(c->ops->fd(c), 0));
    assert_int_equal(c->ops->poll(c, 8), 0);
    c->ops->use(c, true);
    assert_true(c->ops->arm(c, true, true, false));
    assert_true(fd_readable(c->ops->fd(c), 0));
    assert_int_equal(c->ops->poll(c, 8), 8);
    assert_int_equal(b->ops->poll(b, 8), 8);
    assert_true(net_generate_number(g->frame[7].bytes, 64, &number) && number == 7);
    assert_true(net_generate_number(f->frame[7].bytes, 64, &number) && number == 7);
    assert_int_equal(f->frame[7].bytes[GENERATE_UDP + 1], 9);
    assert_int_equal(g->frame[7].bytes[GENERATE_UDP + 1], 10);
    assert_true(headers_hold(g->frame[7].bytes, 64));
    c->ops->use(c, false);
    assert_false(fd_readable(c->ops->fd(c), 0));
    assert_int_equal(c->ops->poll(c, 8), 0);
    stop(c, g);
    stop(b, f);
}

static void echo_lanes_are_apart(void **state)
{
    static uint8_t frame[60];
    struct fake_sink *f = fake_sink_make(), *g = fake_sink_make();
    struct vio_net_backend *b = echo(f), *c = lane_of(b, g);

    (void)state;
    test_frame(frame, sizeof frame, 1, 2, 3);
    assert_int_equal(net_send_one(c, frame, sizeof frame), 1);
    assert_int_equal(b->ops->poll(b, 8), 0);
    assert_int_equal(c->ops->poll(c, 8), 1);
    assert_true(test_frame_is(&g->frame[0], sizeof frame, 2, 1, 3));
    stop(c, g);
    stop(b, f);
}

static void null_has_lanes(void **state)
{
    static uint8_t frame[60];
    struct fake_sink *f = fake_sink_make(), *g = fake_sink_make();
    struct vio_net_backend *b = NULL, *c;

    (void)state;
    assert_int_equal(vio_net_null_open(true, &b, why, sizeof why), 0);
    assert_int_equal(b->ops->start(b, &f->sink), 0);
    c = lane_of(b, g);
    assert_int_equal(net_send_one(c, frame, sizeof frame), 1);
    stop(c, g);
    stop(b, f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_takes_everything),
        cmocka_unit_test(generated_frames_are_whole),
        cmocka_unit_test(nothing_generated_is_lost),
        cmocka_unit_test(generate_wakes_only_for_room),
        cmocka_unit_test(echo_swaps_and_keeps_order),
        cmocka_unit_test(echo_ring_goes_around),
        cmocka_unit_test(echo_says_when_there_is_work),
        cmocka_unit_test(generated_lanes_are_flows),
        cmocka_unit_test(echo_lanes_are_apart),
        cmocka_unit_test(null_has_lanes),
    };

    return cmocka_run_group_tests_name("backend-net-simple", tests, NULL, NULL);
}
