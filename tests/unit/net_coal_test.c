/* SPDX-License-Identifier: MIT */
/*
 * Notifications of a network device that wait (virtio 1.4, 5.1.9.5.10): until there are enough packets, until it has been
 * long enough, never past a stop; the commands that say so; who is woken for them. The clock is the test's own.
 */
#include "net_ctrl_help.h"

#include <poll.h>

enum { SIZE = 64, TX = 1, RX = 0, TX2 = 3, RX2 = 2, FRAME = 60, USEC = 1000 };

static uint64_t now;

static uint64_t test_clock(void *ctx)
{
    (void)ctx;
    return now;
}

/* Bits 0 and 1 of *state: packed, EVENT_IDX. */
static struct nbench bench;

static void start(unsigned how)
{
    struct vio_features f;

    nbench_init(&bench, 2, (how & 1) != 0, false);
    now = 1;
    net_coal_init(bench.fake.net, test_clock, NULL);
    f = nbench_all(&bench);
    if ((how & 2) == 0)
        vio_features_clear(&f, VIRTIO_F_EVENT_IDX);
    nbench_start(&bench, f);
    for (uint16_t i = 0; i < 4; i++)
        assert_false(vio_drvq_arm_call(bench.rig.queue[i].drv));
}

static int setup(void **state)
{
    *state = &bench;
    start(0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_free(&bench.rig);
    return 0;
}

#define BOTH_FORMATS(run)                    \
    do {                                     \
        run();                               \
        for (unsigned i = 1; i < 4; i++) {   \
            rig_free(&bench.rig);            \
            start(i);                        \
            run();                           \
        }                                    \
    } while (0)

/* ------------------------------------------------------------------ what a driver does */

static uint8_t set_all(uint8_t which, uint32_t packets, uint32_t usecs)
{
    vio_le32 wire[] = { vio_le32_of(packets), vio_le32_of(usecs) };

    return command(&bench, VIRTIO_NET_CTRL_NOTF_COAL, which, wire, sizeof(wire));
}

static uint8_t set_queue(uint16_t queue, uint32_t packets, uint32_t usecs)
{
    struct virtio_net_ctrl_coal_vq wire = {
        vio_le16_of(queue), vio_le16_of(0xffff), { vio_le32_of(packets), vio_le32_of(usecs) }
    };

    return command(&bench, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, &wire, sizeof(wire));
}

static uint8_t get_queue(uint16_t queue, uint32_t *packets, uint32_t *usecs)
{
    vio_le16 wire[] = { vio_le16_of(queue), vio_le16_of(0xabcd) };
    uint8_t ack = command_with(&bench, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET, wire, sizeof(wire), 9);
    struct virtio_net_ctrl_coal coal;

    if (ack != VIRTIO_NET_OK) {
        assert_int_equal(bench.used, 1);
        return ack;
    }
    assert_int_equal(bench.used, 9);
    memcpy(&coal, bench.answer.host + 1, sizeof(coal));
    *packets = vio_cpu(coal.max_packets);
    *usecs = vio_cpu(coal.max_usecs);
    return ack;
}

static void expect_params(uint16_t queue, uint32_t packets, uint32_t usecs)
{
    uint32_t p, u;

    assert_int_equal(get_queue(queue, &p, &u), VIRTIO_NET_OK);
    assert_int_equal(p, packets);
    assert_int_equal(u, usecs);
}

static void transmit(uint16_t queue, unsigned n)
{
    uint32_t bytes = bench.fake.net->hdr_bytes + FRAME;
    struct rig_at at = rig_alloc(&bench.rig, bytes);
    struct vio_buf buf = { at.gpa, bytes };

    for (unsigned i = 0; i < n; i++)
        assert_int_equal(vio_drvq_put(bench.rig.queue[queue].drv, &buf, 1, 0, i), 0);
    (void)!vio_drvq_publish(bench.rig.queue[queue].drv);
    rig_serve(&bench.rig, queue);
}

/* Frames to all, so that no filter holds them back; the flow chooses no queue but the first. */
static void receive(unsigned n)
{
    struct vio_net_sink *sink = &bench.fake.net->lane[0].sink;
    uint32_t bytes = bench.fake.net->hdr_bytes + FRAME;
    struct rig_at at = rig_alloc(&bench.rig, bytes);
    struct vio_buf buf = { at.gpa, bytes };
    uint8_t frame[FRAME] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    struct vio_seg seg = { frame, FRAME };
    struct vio_net_packet p = { .len = FRAME, .nr = 1, .seg = &seg };

    for (unsigned i = 0; i < n; i++)
        assert_int_equal(vio_drvq_put(bench.rig.queue[RX].drv, &buf, 0, 1, i), 0);
    (void)!vio_drvq_publish(bench.rig.queue[RX].drv);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(sink->deliver(sink->ctx, &p, 1), 1);
        sink->flush(sink->ctx);
    }
}

static unsigned collect(uint16_t queue)
{
    struct vio_done done[SIZE];

    return vio_drvq_collect(bench.rig.queue[queue].drv, done, SIZE);
}

/* Took what there was, and asks for the next notification. */
static void rearm(uint16_t queue)
{
    (void)collect(queue);
    assert_false(vio_drvq_arm_call(bench.rig.queue[queue].drv));
}

static unsigned told(uint16_t queue)
{
    unsigned n = bench.rig.used[queue];

    bench.rig.used[queue] = 0;
    return n;
}

static unsigned waiting(void)
{
    return bench.fake.net->lane[0].waiting.nr_due;
}

static bool readable(int fd, int ms)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    return poll(&p, 1, ms) == 1;
}

/* ------------------------------------------------------------------ how many, how long */

static void packets_on(uint16_t queue, void (*make)(unsigned n))
{
    make(4);
    assert_int_equal(told(queue), 0);
    assert_int_equal(waiting(), 1);
    assert_int_equal(collect(queue), 4); /* they are there all the same */
    make(1);
    assert_int_equal(told(queue), 1);
    assert_int_equal(waiting(), 0);
    rearm(queue);
    make(2);
    assert_int_equal(told(queue), 0); /* counted from its beginning again */
    rig_serve(&bench.rig, queue);
    make(3);
    assert_int_equal(told(queue), 1);
    rearm(queue);
}

static void time_on(uint16_t queue, void (*make)(unsigned n))
{
    make(1);
    now += 99 * USEC;
    make(1); /* prolongs nothing */
    rig_serve(&bench.rig, TX2); /* any queue's service looks */
    assert_int_equal(told(queue), 0);
    now += 1 * USEC;
    rig_serve(&bench.rig, TX2);
    assert_int_equal(told(queue), 1);
    now += 1000 * USEC;
    rig_serve(&bench.rig, queue);
    assert_int_equal(told(queue), 0); /* once */
    rearm(queue);
}

static void make_tx(unsigned n)
{
    transmit(TX, n);
}

static void both_limits(void)
{
    assert_int_equal(set_all(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 5, 100), VIRTIO_NET_OK);
    receive(1);
    assert_int_equal(told(RX), 1); /* the other kind is as it was */
    rearm(RX);
    packets_on(TX, make_tx);
    time_on(TX, make_tx);
    assert_int_equal(set_all(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 0, 0), VIRTIO_NET_OK);
    assert_int_equal(set_all(VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 5, 100), VIRTIO_NET_OK);
    transmit(TX, 1);
    assert_int_equal(told(TX), 1);
    packets_on(RX, receive);
    time_on(RX, receive);
}

static void packets_and_time(void **state)
{
    (void)state;
    BOTH_FORMATS(both_limits);
}

static void one_batch_is_enough(void **state)
{
    (void)state;
    assert_int_equal(set_all(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 5, 100), VIRTIO_NET_OK);
    transmit(TX, 12);
    assert_int_equal(told(TX), 1);
    assert_int_equal(waiting(), 0);
}

/* "When max_usecs = 0 or max_packets = 0, the notification conditions are met after every packet." */
static void nothing_waits_for_ever(void **state)
{
    static const uint32_t params[][2] = { { 0, 0 }, { 0, 100 }, { 100, 0 }, { 1, 100 }, { UINT32_MAX, 0 }, { 0, UINT32_MAX } };

    (void)state;
    for (size_t i = 0; i < sizeof(params) / sizeof(params[0]); i++) {
        assert_int_equal(set_all(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, params[i][0], params[i][1]), VIRTIO_NET_OK);
        transmit(TX, 1);
        assert_int_equal(told(TX), 1);
        rearm(TX);
    }
}

static void the_longest(void **state)
{
    (void)state;
    assert_int_equal(set_all(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, UINT32_MAX, UINT32_MAX), VIRTIO_NET_OK);
    transmit(TX, 1);
    now += (uint64_t)UINT32_MAX * USEC - 1;
    rig_serve(&bench.rig, TX);
    assert_int_equal(told(TX), 0);
    now += 1;
    rig_serve(&bench.rig, TX);
    assert_int_equal(told(TX), 1);
}

static void one_queue_for_itself(void **state)
{
    (void)state;
    assert_int_equal(set_queue(TX2, 3, 100), VIRTIO_NET_OK);
    assert_int_equal(set_queue(RX, 2, 50), VIRTIO_NET_OK);
    transmit(TX, 1);
    assert_int_equal(told(TX), 1);
    transmit(TX2, 2);
    receive(1);
    assert_int_equal(told(TX2) + told(RX), 0);
    assert_int_equal(waiting(), 2);
    now += 50 * USEC;
    rig_serve(&bench.rig, TX);
    assert_int_equal(told(RX), 1);
    assert_int_equal(told(TX2), 0);
    now += 50 * USEC;
    rig_serve(&bench.rig, TX);
    assert_int_equal(told(TX2), 1);
}

/* What the driver does not want is not sent: neither at once nor later. */
static void a_driver_that_is_silent(void **state)
{
    (void)state;
    for (unsigned packed = 0; packed < 2; packed++) {
        if (packed) {
            rig_free(&bench.rig);
            start(1);
        }
        assert_int_equal(set_all(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 5, 100), VIRTIO_NET_OK);
        vio_drvq_disarm_call(bench.rig.queue[TX].drv);
        transmit(TX, 9);
        assert_int_equal(waiting(), 0);
        rearm(TX);
        transmit(TX, 1);
        assert_int_equal(waiting(), 1);
        vio_drvq_disarm_call(bench.rig.queue[TX].drv); /* while it waits */
        now += 100 * USEC;
        rig_serve(&bench.rig, TX);
        assert_int_equal(waiting(), 0);
        assert_int_equal(told(TX), 0);
        assert_true(vio_drvq_arm_call(bench.rig.queue[TX].drv)); /* it looks for itself: nothing is lost */
    }
}

/* ------------------------------------------------------------------ who is woken */

static void the_timer(void **state)
{
    struct vio_device *dev = bench.fake.dev;
    int fd = vio_device_queue_backend_fd(dev, TX);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(vio_device_queue_backend_fd(dev, TX2), -1);
    assert_int_equal(set_all(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 5, 2000), VIRTIO_NET_OK);
    for (uint16_t i = 0; i < 5; i++)
        assert_false(vio_device_queue_arm(dev, i));
    assert_int_equal(bench.fake.net->lane[0].waiting.timer_at, 0); /* idle: none */
    assert_false(readable(fd, 0));

    vio_device_queue_disarm(dev, TX2);
    transmit(TX2, 1);
    assert_int_equal(bench.fake.net->lane[0].waiting.timer_at, 0); /* awake: it looks at the clock itself */
    assert_false(vio_device_queue_arm(dev, TX2));
    assert_int_equal(bench.fake.net->lane[0].waiting.timer_at, now + 2000 * USEC);
    assert_true(readable(fd, 5000));
    now += 2000 * USEC;
    vio_device_queue_disarm(dev, TX); /* whose descriptor it is */
    rig_serve(&bench.rig, TX);
    assert_int_equal(told(TX2), 1);
    assert_false(readable(fd, 0));
    assert_false(vio_device_queue_arm(dev, TX));
    assert_int_equal(bench.fake.net->lane[0].waiting.timer_at, 0);
}

static void who_is_late_does_not_sleep(void **state)
{
    struct vio_device *dev = bench.fake.dev;

    (void)state;
    assert_int_equal(set_all(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 5, 100), VIRTIO_NET_OK);
    transmit(TX2, 1);
    now += 100 * USEC;
    assert_true(vio_device_queue_arm(dev, TX2));
    rig_serve(&bench.rig, TX2);
    assert_int_equal(told(TX2), 1);
    assert_false(vio_device_queue_arm(dev, TX2));
}

/* Several deadlines, and one timer: the nearest of those that sleep, and then the next. */
static void one_timer_for_all(void **state)
{
    const struct net_waiting *w = &bench.fake.net->lane[0].waiting;
    struct vio_device *dev = bench.fake.dev;

    (void)state;
    assert_int_equal(set_queue(TX2, 5, 300), VIRTIO_NET_OK);
    assert_int_equal(set_queue(RX, 5, 100), VIRTIO_NET_OK);
    transmit(TX2, 1);
    assert_false(vio_device_queue_arm(dev, TX2));
    assert_false(vio_device_queue_arm(dev, TX));
    assert_false(vio_device_queue_arm(dev, RX));
    assert_int_equal(w->timer_at, now + 300 * USEC);
    receive(1); /* as from a switch: nobody of this device is awake */
    assert_int_equal(w->timer_at, now + 100 * USEC);
    now += 100 * USEC;
    vio_device_queue_disarm(dev, TX);
    rig_serve(&bench.rig, TX);
    assert_int_equal(told(RX), 1);
    assert_int_equal(told(TX2), 0);
    assert_int_equal(w->timer_at, 0);
    assert_false(vio_device_queue_arm(dev, TX));
    assert_int_equal(w->timer_at, now + 200 * USEC);
}

/* ------------------------------------------------------------------ nothing is lost */

static void one_waits_each(void)
{
    assert_int_equal(set_all(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 5, 100), VIRTIO_NET_OK);
    assert_int_equal(set_all(VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 5, 100), VIRTIO_NET_OK);
    transmit(TX, 1);
    transmit(TX2, 1);
    receive(1);
    assert_int_equal(told(TX) + told(TX2) + told(RX), 0);
    assert_int_equal(waiting(), 3);
}

static void at_a_stop(void **state)
{
    (void)state;
    one_waits_each();
    vio_device_queue_stop(bench.fake.dev, TX2);
    assert_int_equal(told(TX2), 1);
    assert_int_equal(told(TX) + told(RX), 0);
    vio_device_queue_stop(bench.fake.dev, TX); /* and with it the timer */
    assert_int_equal(told(TX), 1);
    assert_int_equal(told(RX), 1);
    assert_int_equal(waiting(), 0);
    rearm(RX);
    receive(1);
    assert_int_equal(told(RX), 1); /* nothing waits without */
}

static void at_a_reset(void **state)
{
    (void)state;
    one_waits_each();
    vio_device_reset(bench.fake.dev);
    assert_int_equal(told(TX), 1);
    assert_int_equal(told(TX2), 1);
    assert_int_equal(told(RX), 1);
    nbench_start(&bench, nbench_all(&bench));
    for (uint16_t i = 0; i < 4; i++)
        expect_params(i, 0, 0);
}

static void while_parked(void **state)
{
    struct vio_device *dev = bench.fake.dev;

    (void)state;
    one_waits_each();
    vio_device_queue_parked(dev, TX2, true);
    assert_int_equal(told(TX2), 1);
    assert_int_equal(told(TX) + told(RX), 0);
    vio_device_queue_parked(dev, TX2, false);
    vio_device_queue_parked(dev, TX, true); /* the timer's */
    assert_int_equal(told(TX), 1);
    assert_int_equal(told(RX), 1);
    rearm(RX);
    receive(1);
    assert_int_equal(told(RX), 1);
    vio_device_queue_parked(dev, TX, false);
    rearm(RX);
    receive(1);
    assert_int_equal(told(RX), 0);
    assert_int_equal(waiting(), 1);
}

static void when_parameters_change(void **state)
{
    (void)state;
    one_waits_each();
    assert_int_equal(set_queue(TX2, 7, 700), VIRTIO_NET_OK);
    assert_int_equal(told(TX2), 1);
    assert_int_equal(set_all(VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 0, 0), VIRTIO_NET_OK);
    assert_int_equal(told(RX), 1);
    assert_int_equal(told(TX), 0);
}

/* ------------------------------------------------------------------ commands */

static void the_last_one_counts(void **state)
{
    (void)state;
    assert_int_equal(set_all(VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 15, 10), VIRTIO_NET_OK);
    expect_params(RX, 15, 10);
    expect_params(RX2, 15, 10);
    expect_params(TX, 0, 0);
    assert_int_equal(set_queue(RX, 20, 21), VIRTIO_NET_OK);
    expect_params(RX, 20, 21);
    expect_params(RX2, 15, 10);
    assert_int_equal(set_queue(TX, 30, 31), VIRTIO_NET_OK);
    expect_params(TX, 30, 31);
    expect_params(TX2, 0, 0);
    assert_int_equal(set_all(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 40, 41), VIRTIO_NET_OK);
    expect_params(TX, 40, 41);
    expect_params(TX2, 40, 41);
    expect_params(RX, 20, 21);
}

static void no_such_queue(void **state)
{
    static const uint16_t none[] = { 4, 5, 6, 0x7fff, 0xffff }; /* 4: the control queue */
    uint32_t p, u;

    (void)state;
    assert_int_equal(bench.ctrl, 4);
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        assert_int_equal(set_queue(none[i], 5, 100), VIRTIO_NET_ERR);
        assert_int_equal(get_queue(none[i], &p, &u), VIRTIO_NET_ERR);
    }
    vio_device_queue_stop(bench.fake.dev, RX2);
    assert_int_equal(set_queue(RX2, 5, 100), VIRTIO_NET_ERR); /* not enabled */
    assert_int_equal(get_queue(RX2, &p, &u), VIRTIO_NET_ERR);
    assert_int_equal(set_queue(RX, 5, 100), VIRTIO_NET_OK);
    for (uint16_t i = 1; i < 5; i++)
        assert_false(bench.fake.net->queue[i].coalesces);
}

static void lengths(void **state)
{
    const struct virtio_net_ctrl_coal_vq wire = { .coal = { vio_le32_of(5), vio_le32_of(100) } };
    vio_le16 which[2] = { vio_le16_of(0), vio_le16_of(0) };

    (void)state;
    wrong_lengths(&bench, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, &wire.coal, sizeof(wire.coal));
    wrong_lengths(&bench, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, &wire.coal, sizeof(wire.coal));
    wrong_lengths(&bench, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, &wire, sizeof(wire));
    wrong_lengths(&bench, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET, &which, sizeof(which));
    for (uint16_t i = 0; i < 4; i++)
        expect_params(i, 0, 0);
    /* An answer with less room than it needs: as much as fits. */
    assert_int_equal(set_queue(0, 0x04030201, 9), VIRTIO_NET_OK);
    assert_int_equal(command_with(&bench, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET, which, 4, 4),
                     VIRTIO_NET_OK);
    assert_int_equal(bench.used, 4);
    assert_memory_equal(bench.answer.host + 1, "\1\2\3", 3);
}

static void only_what_was_negotiated(void **state)
{
    uint32_t p, u;

    (void)state;
    nbench_restart(&bench, nbench_but(&bench, VIRTIO_NET_F_NOTF_COAL));
    assert_int_equal(set_all(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 5, 100), VIRTIO_NET_ERR);
    assert_int_equal(set_all(VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 5, 100), VIRTIO_NET_ERR);
    assert_int_equal(set_queue(TX, 5, 100), VIRTIO_NET_OK);
    nbench_restart(&bench, nbench_but(&bench, VIRTIO_NET_F_VQ_NOTF_COAL));
    assert_int_equal(set_all(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 5, 100), VIRTIO_NET_OK);
    assert_int_equal(set_queue(TX, 5, 100), VIRTIO_NET_ERR);
    assert_int_equal(get_queue(TX, &p, &u), VIRTIO_NET_ERR);
    assert_int_equal(bench.fake.net->queue[TX].coal.max_usecs, 100);
}

/* ------------------------------------------------------------------ a queue comes back */

static void again(uint16_t queue)
{
    rig_queue(&bench.rig, queue, SIZE);
    assert_int_equal(vio_device_queue_start(bench.fake.dev, queue), 0);
    assert_true(vio_device_queue_running(bench.fake.dev, queue));
}

static void after_a_queue_reset(void **state)
{
    (void)state;
    assert_int_equal(set_all(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 5, 100), VIRTIO_NET_OK);
    assert_int_equal(set_queue(TX2, 6, 200), VIRTIO_NET_OK);
    assert_int_equal(set_queue(RX2, 7, 300), VIRTIO_NET_OK);
    vio_device_pause(bench.fake.dev); /* is none of the driver's doing */
    assert_int_equal(vio_device_resume(bench.fake.dev), 0);
    expect_params(TX2, 6, 200);
    expect_params(RX2, 7, 300);
    vio_device_queue_reset(bench.fake.dev, TX2);
    vio_device_queue_reset(bench.fake.dev, RX2);
    again(TX2);
    again(RX2);
    expect_params(TX2, 5, 100); /* TX_SET's */
    expect_params(RX2, 0, 0);   /* there was no RX_SET */
    assert_true(bench.fake.net->queue[TX2].coalesces);
    assert_false(bench.fake.net->queue[RX2].coalesces);
}

static void saved_and_loaded(void **state)
{
    static struct nbench to;
    uint8_t *bytes;
    size_t size;

    (void)state;
    assert_int_equal(set_all(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 5, 100), VIRTIO_NET_OK);
    assert_int_equal(set_all(VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 8, 400), VIRTIO_NET_OK);
    assert_int_equal(set_queue(TX2, 6, 200), VIRTIO_NET_OK);
    assert_int_equal(set_queue(RX2, 7, 300), VIRTIO_NET_OK);
    vio_device_queue_reset(bench.fake.dev, RX2);
    transmit(TX, 1);
    vio_device_pause(bench.fake.dev);
    assert_int_equal(told(TX), 1); /* nothing that waits is saved */
    assert_int_equal(vio_device_save(bench.fake.dev, &bytes, &size), 0);
    nbench_init(&to, 2, false, false);
    assert_int_equal(vio_device_load(to.fake.dev, bytes, size), 0);
    assert_int_equal(to.fake.net->coal_tx.max_packets, 5);
    assert_int_equal(to.fake.net->coal_rx.max_usecs, 400);
    assert_int_equal(to.fake.net->queue[TX].coal.max_usecs, 100);
    assert_int_equal(to.fake.net->queue[TX2].coal.max_usecs, 200);
    assert_int_equal(to.fake.net->queue[TX2].coal.max_packets, 6);
    assert_int_equal(to.fake.net->queue[RX].coal.max_packets, 8);
    assert_int_equal(to.fake.net->queue[RX2].coal.max_usecs, 400);
    assert_true(to.fake.net->queue[TX2].coalesces);
    free(bytes);
    rig_free(&to.rig);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(packets_and_time),
        TEST(one_batch_is_enough),
        TEST(nothing_waits_for_ever),
        TEST(the_longest),
        TEST(one_queue_for_itself),
        TEST(a_driver_that_is_silent),
        TEST(the_timer),
        TEST(who_is_late_does_not_sleep),
        TEST(one_timer_for_all),
        TEST(at_a_stop),
        TEST(at_a_reset),
        TEST(while_parked),
        TEST(when_parameters_change),
        TEST(the_last_one_counts),
        TEST(no_such_queue),
        TEST(lengths),
        TEST(only_what_was_negotiated),
        TEST(after_a_queue_reset),
        TEST(saved_and_loaded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
