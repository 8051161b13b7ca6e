/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a tap of several queues: opened or given, attached while they are used, what cannot be. Needs /dev/net/tun and
 * the right to make a network namespace. Where it sits: tests/unit/backend.
 */
#include "net_tap_help.h"

#include <errno.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_ether.h>
#include <linux/if_tun.h>

#include <cmocka.h>

enum { LANES = 3, FLOWS = 64, FRAME = 60, MULTI = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE };

static char why[400];

struct lanes {
    struct vio_net_backend *b[LANES];
    struct fake_sink *f[LANES];
};

static void open_lanes(struct lanes *l, const struct vio_net_tap_params *p)
{
    for (unsigned i = 0; i < LANES; i++)
        l->f[i] = fake_sink_make();
    l->b[0] = tap_open(p, l->f[0]);
    for (unsigned i = 1; i < LANES; i++) {
        assert_int_equal(l->b[0]->ops->open_lane(l->b[0], &l->b[i], why, sizeof why), 0);
        assert_int_equal(l->b[i]->ops->start(l->b[i], &l->f[i]->sink), 0);
    }
}

static void close_lanes(struct lanes *l)
{
    for (unsigned i = LANES; i-- > 0;)
        tap_stop(l->b[i], l->f[i]);
}

/* UDP from a port of its own for each flow; what is behind the addresses says which. */
static void make_flow(uint8_t frame[FRAME], unsigned flow)
{
    static const uint8_t head[] = { 0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 9, 0x08, 0, 0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17,
                                    0, 0, 198, 51, 100, 1, 198, 51, 100, 2 };

    memset(frame, 0, FRAME);
    memcpy(frame, head, sizeof head);
    frame[34] = 0x40;
    frame[35] = (uint8_t)flow;
    frame[37] = 9;
    frame[39] = 26;
}

/* How many of the flows came, each once, to which lane. */
static void send_flows(const char *name, struct lanes *l, unsigned came[LANES])
{
    int raw = raw_socket(name, false, ETH_P_IP);
    bool seen[FLOWS] = { false };
    uint8_t frame[FRAME];
    unsigned all = 0;

    for (unsigned i = 0; i < LANES; i++)
        fake_sink_reset(l->f[i]);
    for (unsigned i = 0; i < FLOWS; i++) {
        make_flow(frame, i);
        assert_int_equal(send(raw, frame, FRAME, 0), FRAME);
    }
    close(raw);
    for (uint64_t until = test_ms() + 2000; all < FLOWS && test_ms() < until;) {
        all = 0;
        for (unsigned i = 0; i < LANES; i++) {
            (void)l->b[i]->ops->poll(l->b[i], 64);
            came[i] = frames_of(l->f[i], ETH_P_IP);
            all += came[i];
        }
    }
    assert_int_equal(all, FLOWS);
    for (unsigned i = 0; i < LANES; i++)
        for (unsigned k = 0; k < came[i]; k++) {
            unsigned flow = l->f[i]->frame[k].bytes[35];

            assert_true(flow < FLOWS && !seen[flow]);
            seen[flow] = true;
        }
}

static void frames_come_to_used_queues(const char *name, struct lanes *l)
{
    unsigned came[LANES];
    uint8_t frame[FRAME];

    send_flows(name, l, came);
    assert_int_equal(came[0], FLOWS);
    for (unsigned i = 1; i < LANES; i++) {
        l->b[i]->ops->use(l->b[i], true);
        l->b[i]->ops->use(l->b[i], true); /* as if it had not been heard */
        send_flows(name, l, came);
        for (unsigned k = 0; k < LANES; k++)
            assert_int_equal(came[k] > 0, k <= i);
    }
    l->b[1]->ops->use(l->b[1], false);
    l->b[0]->ops->use(l->b[0], false); /* stays: an interface has one at least */
    send_flows(name, l, came);
    assert_true(came[0] > 0 && came[1] == 0 && came[2] > 0);
    /* Detached, it polls as broken: nobody must be woken. What is sent all the same is lost, and counted. */
    (void)l->b[1]->ops->arm(l->b[1], true, true, false);
    assert_false(fd_readable(l->b[1]->ops->fd(l->b[1]), 50));
    make_flow(frame, 0);
    assert_int_equal(net_send_one(l->b[1], frame, FRAME), 1);
    assert_int_equal(tap_counter(l->b[1], "tx_refused"), 1);
    assert_int_equal(net_send_one(l->b[2], frame, FRAME), 1);
    assert_int_equal(tap_counter(l->b[2], "tx_refused"), 0);
    l->b[1]->ops->use(l->b[1], true);
    send_flows(name, l, came);
    assert_true(came[0] > 0 && came[1] > 0 && came[2] > 0);
    assert_int_equal(net_send_one(l->b[1], frame, FRAME), 1);
    assert_int_equal(tap_counter(l->b[1], "tx_refused"), 1);
}

static void queues_are_opened(void **state)
{
    struct vio_net_tap_params p = { .name = "vtest%d", .fd = -1, .address = "192.0.2.1/24", .queues = LANES };
    struct vio_net_backend *more;
    struct vio_net_info a, b;
    struct lanes l;

    (void)state;
    need_tap();
    open_lanes(&l, &p);
    assert_int_equal(l.b[0]->ops->open_lane(l.b[0], &more, why, sizeof why), -ENOTSUP);
    assert_non_null(strstr(why, "vtest0"));
    l.b[0]->ops->info(l.b[0], &a);
    l.b[1]->ops->info(l.b[1], &b);
    assert_memory_equal(&a, &b, sizeof a);
    for (unsigned i = 0; i < LANES; i++)
        l.b[i]->ops->offloads(l.b[i], a.gives);
    frames_come_to_used_queues("vtest0", &l);
    close_lanes(&l);
    assert_int_equal(if_nametoindex("vtest0"), 0);
}

/* Lanes that nobody has opened go with the first one. */
static void queues_end_with_the_first(void **state)
{
    struct vio_net_tap_params p = NOT_SUCH;

    (void)state;
    need_tap();
    p.queues = 8;
    vio_net_close(tap_open(&p, NULL));
    assert_int_equal(if_nametoindex("vtest0"), 0);
}

static void queues_are_given(void **state)
{
    struct vio_net_tap_params p = { .address = "192.0.2.1/24", .queues = LANES };
    int fd[LANES];
    struct lanes l;

    (void)state;
    need_tap();
    for (unsigned i = 0; i < LANES; i++)
        fd[i] = other_tap("vgiven0", MULTI, false);
    p.fd = fd[0];
    p.fds = fd + 1;
    open_lanes(&l, &p);
    frames_come_to_used_queues("vgiven0", &l);
    close_lanes(&l);
    assert_int_equal(if_nametoindex("vgiven0"), 0);
}

static void refused(const struct vio_net_tap_params *p, int error, const char *part)
{
    struct vio_net_backend *b = NULL;

    why[0] = 0;
    assert_int_equal(vio_net_tap_open(p, &b, why, sizeof why), error);
    if (!strstr(why, part))
        fail_msg("no \"%s\" in \"%s\"", part, why);
}

static void other_kinds_are_said(void **state)
{
    struct vio_net_tap_params p = { .name = "vold0", .fd = -1, .queues = 2 };
    int one, two, other;

    (void)state;
    need_tap();
    one = other_tap("vold0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, true);
    refused(&p, -EINVAL, "made for one queue"); /* in use, too */
    close(one);
    refused(&p, -EINVAL, "made for one queue");
    assert_non_null(strstr(why, "multi_queue"));
    delete_interface("vold0");
    p.name = "lo";
    refused(&p, -EINVAL, "not a tap");
    close(other_tap("vold0", MULTI, true));
    p.name = "vold0";
    vio_net_close(tap_open(&p, NULL));
    assert_true(if_nametoindex("vold0") > 0); /* it was there */
    delete_interface("vold0");

    one = other_tap("vgiven0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, false);
    two = other_tap("vgiven1", MULTI, false);
    other = other_tap("vgiven2", MULTI, false);
    p = (struct vio_net_tap_params){ .fd = one, .queues = 2, .fds = &two };
    refused(&p, -EINVAL, "made for one queue");
    p = (struct vio_net_tap_params){ .fd = two, .queues = 2, .fds = &other };
    refused(&p, -EINVAL, "queues of one tap");
    assert_int_equal(close(one) + close(two) + close(other), 0); /* they stay the caller's */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queues_are_opened),
        cmocka_unit_test(queues_end_with_the_first),
        cmocka_unit_test(queues_are_given),
        cmocka_unit_test(other_kinds_are_said),
    };

    return cmocka_run_group_tests_name("backend-net-tap-queues", tests, tap_setup, NULL);
}
