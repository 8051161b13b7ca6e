/* SPDX-License-Identifier: MIT */
/* Purpose: the switch's uplink: its life, who carries it. Where it sits: tests/unit/backend. */
#include "net_switch_help.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ------------------------------------------------------------------ life */

static void it_runs_while_a_port_runs(void **state)
{
    struct lan lan;
    struct lan_port *a, *b;
    struct vio_net_info info;

    (void)state;
    lan_open(&lan, VIO_NET_CSUM);
    assert_int_equal(lan.up.starts, 0);
    a = lan_port(&lan, 0, false);
    assert_int_equal(lan.up.starts, 1);
    b = lan_port(&lan, 0, false);
    lan_stop(a);
    assert_int_equal(lan.up.stops, 0);
    lan_stop(b);
    assert_int_equal(lan.up.stops, 1);
    lan_start(a);
    assert_int_equal(lan.up.starts, 2);
    a->b->ops->info(a->b, &info);
    assert_int_equal(info.mtu, 1400);
    assert_int_equal(info.takes, VIO_NET_OFFLOADS);
    /* What it counts is seen at the ports. */
    assert_int_equal(counter(a, "uplink_fake_lost"), 77);
    assert_int_equal(counter(a, "uplink_in_frames"), 0);
    uplink_say(&lan, 9, ALL_HEAR, NO_TAG);
    assert_int_equal(counter(a, "uplink_in_frames"), 1);
    assert_int_equal(counter(a, "uplink_flooded"), 1);
    /* What was behind it is forgotten when it stops. */
    lan_stop(a);
    lan_start(b);
    lan_start(a);
    heard(&lan);
    say(a, 1, 9);
    assert_int_equal(heard(&lan), LAN_UPLINK | 2);
    lan_close(&lan);
}

static void a_failed_start_is_the_ports(void **state)
{
    struct lan lan;
    struct lan_port *a, *b;

    (void)state;
    lan_open(&lan, 0);
    a = lan_port(&lan, 0, false);
    b = lan_port(&lan, 0, false);
    lan_stop(a);
    lan_stop(b);
    lan.up.start_error = -ENODEV;
    assert_int_equal(a->b->ops->start(a->b, &a->sink), -ENODEV);
    assert_int_equal(b->b->ops->start(b->b, &b->sink), -ENODEV);
    lan.up.start_error = 0;
    lan_start(b);
    say(b, 2, ALL_HEAR); /* a does not run: it would fail where it got something */
    assert_int_equal(heard(&lan), LAN_UPLINK);
    lan_close(&lan);
}

static void there_is_one_and_it_may_come_late(void **state)
{
    struct lan lan;
    struct lan_port *a;

    (void)state;
    lan_open(&lan, -1);
    a = lan_port(&lan, 0, false);
    say(a, 1, ALL_HEAR);
    assert_int_equal(a->b->ops->poll(a->b, 8), 0);
    assert_false(a->b->ops->arm(a->b, true, true, false));
    assert_int_equal(counter(a, "uplink_in_frames"), UINT64_MAX);
    lan_uplink(&lan, 0);
    assert_int_equal(vio_net_switch_uplink(lan.sw, &lan.up.head), -EBUSY);
    say(a, 1, ALL_HEAR);
    assert_int_equal(heard(&lan), 0);
    lan_port(&lan, 0, false); /* the next that starts */
    assert_int_equal(lan.up.starts, 1);
    say(a, 2, ALL_HEAR);
    assert_int_equal(heard(&lan), LAN_UPLINK | 2);
    lan_close(&lan);
}

static void the_last_reference_ends_it(void **state)
{
    struct lan lan;

    (void)state;
    lan_open(&lan, 0);
    lan_port(&lan, 0, false);
    lan_port(&lan, 0, false);
    vio_net_switch_release(lan.sw);
    say(&lan.port[0], 1, ALL_HEAR);
    assert_int_equal(heard(&lan), LAN_UPLINK | 2);
    lan_stop(&lan.port[0]);
    vio_net_close(lan.port[0].b);
    lan_stop(&lan.port[1]);
    assert_int_equal(lan.up.destroyed, 0);
    vio_net_close(lan.port[1].b);
    assert_int_equal(lan.up.destroyed, 1);
}

/* ------------------------------------------------------------------ who carries it */

static bool wakes(const struct lan_port *port)
{
    struct pollfd p = { .fd = port->b->ops->fd(port->b), .events = POLLIN };

    return poll(&p, 1, 0) == 1;
}

static void set_ready(struct lan *lan, bool ready)
{
    uint64_t n = 1;

    if (ready)
        assert_int_equal(write(lan->up.fd, &n, sizeof n), sizeof n);
    else
        assert_int_equal(read(lan->up.fd, &n, sizeof n), sizeof n);
}

static bool arms(struct lan_port *port, bool sleep, bool receive)
{
    return port->b->ops->arm(port->b, sleep, receive, false);
}

static unsigned polls(struct lan_port *port)
{
    return port->b->ops->poll(port->b, 16);
}

static void one_port_polls_and_wakes(void **state)
{
    struct lan lan;
    struct lan_port *a, *b, *c;
    uint8_t frame[3][64];
    struct vio_seg seg[3] = { { frame[0], 64 }, { frame[1], 64 }, { frame[2], 64 } };
    struct vio_net_packet p[3];
    int fd;

    (void)state;
    lan_open(&lan, 0);
    a = lan_port(&lan, 0, false);
    b = lan_port(&lan, 0, false);
    c = lan_port(&lan, 0, false);
    fd = b->b->ops->fd(b->b);
    set_ready(&lan, true);
    assert_true(wakes(a) && !wakes(b) && !wakes(c));
    assert_int_equal(polls(a), 0);
    for (unsigned i = 0; i < 3; i++) {
        frame_make(frame[i], 64, i == 1 ? 3 : ALL_HEAR, 9, NO_TAG, 0);
        p[i] = (struct vio_net_packet){ .len = 64, .nr = 1, .seg = &seg[i] };
    }
    say(c, 3, ALL_HEAR);
    heard(&lan);
    lan.up.pending = p;
    lan.up.nr_pending = 3;
    assert_int_equal(polls(b), 0);
    assert_int_equal(heard(&lan), 0);
    assert_int_equal(a->b->ops->poll(a->b, 2), 2);
    assert_int_equal(c->ear.frames, 2);
    assert_int_equal(c->ear.flushes, 1);
    assert_int_equal(heard(&lan), 7);
    assert_int_equal(a->b->ops->poll(a->b, 2), 1);
    assert_int_equal(heard(&lan), 7);
    say(b, 2, 9); /* learned on the uplink's side */
    assert_int_equal(heard(&lan), LAN_UPLINK);
    /* It stops: another wakes now, and its descriptor is the one it always had. */
    lan_stop(a);
    assert_int_equal(wakes(b) + wakes(c), 1);
    assert_int_equal(b->b->ops->fd(b->b), fd);
    lan_stop(b);
    assert_true(wakes(c) && !wakes(b));
    set_ready(&lan, false);
    assert_false(wakes(c));
    lan_close(&lan);
}

static void arming_is_the_carriers(void **state)
{
    struct lan lan;
    struct lan_port *a, *b;

    (void)state;
    lan_open(&lan, 0);
    a = lan_port(&lan, 0, false);
    b = lan_port(&lan, 0, false);
    polls(a);
    lan.up.waiting = true;
    assert_false(arms(b, true, true));
    assert_int_equal(lan.up.arms, 0);
    assert_true(arms(a, true, true)); /* not yet: there is something to poll */
    assert_false(arms(a, false, true));
    assert_int_equal(polls(a), 0);
    assert_false(arms(a, true, true));
    assert_true(lan.up.asleep && lan.up.receive);
    /* a stops while b sleeps, and something has come meanwhile: b wakes, polls, and can sleep again. */
    lan.up.waiting = true;
    lan_stop(a);
    assert_true(wakes(b));
    assert_false(arms(b, false, true));
    polls(b);
    assert_false(lan.up.waiting || wakes(b));
    assert_false(arms(b, true, true));
    assert_false(wakes(b));
    assert_true(lan.up.asleep);
    /* Nothing has come: it sleeps on, and for the uplink too. */
    lan_start(a);
    polls(a);
    assert_false(arms(a, true, true));
    lan_stop(b);
    assert_true(lan.up.asleep && lan.up.receive);
    assert_false(wakes(a));
    set_ready(&lan, true);
    assert_true(wakes(a));
    lan_close(&lan);
}

static void who_has_no_buffers_does_not_carry(void **state)
{
    struct lan lan;
    struct lan_port *a, *b, *c;

    (void)state;
    lan_open(&lan, 0);
    a = lan_port(&lan, 0, false);
    b = lan_port(&lan, 0, false);
    c = lan_port(&lan, 0, false);
    set_ready(&lan, true);
    arms(b, true, true);
    arms(c, true, false);
    lan.up.waiting = true;
    assert_false(arms(a, true, false)); /* out of buffers: b, which sleeps, is woken */
    assert_true(wakes(b) && !wakes(a) && !wakes(c));
    arms(b, false, true);
    polls(b);
    /* Nobody has buffers: the uplink hears that. */
    assert_false(arms(b, true, false));
    assert_true(lan.up.asleep && !lan.up.receive);
    /* The first that has some again takes it. */
    lan.up.waiting = true;
    assert_true(arms(a, true, true));
    assert_true(wakes(a) && !wakes(b));
    polls(a);
    arms(a, true, false);
    /* Or by polling. */
    assert_false(arms(c, false, true));
    lan.up.polls = 0;
    polls(c);
    assert_int_equal(lan.up.polls, 1);
    set_ready(&lan, false);
    assert_false(wakes(a) || wakes(b) || wakes(c));
    lan_close(&lan);
}

/* A driver may run its transmit queue alone: then nobody polls for that port, and its descriptor is not watched. */
static void who_never_polls_does_not_carry(void **state)
{
    struct lan lan;
    struct lan_port *a, *b, *c;

    (void)state;
    lan_open(&lan, 0);
    a = lan_port(&lan, 0, false);
    b = lan_port(&lan, 0, false);
    c = lan_port(&lan, 0, false);
    set_ready(&lan, true);
    say(a, 1, ALL_HEAR);
    polls(b);
    assert_int_equal(lan.up.polls, 1);
    assert_true(wakes(b) && !wakes(a));
    arms(c, true, true);
    lan_stop(b); /* not a's again */
    assert_true(wakes(c) && !wakes(a));
    lan_stop(c);
    assert_true(wakes(a));
    lan_start(c);
    assert_false(arms(c, true, true));
    assert_true(wakes(c) && !wakes(a));
    lan_close(&lan);
}

static void who_is_not_served_does_not_carry_for_long(void **state)
{
    struct lan lan;
    struct lan_port *a, *b;
    unsigned n;

    (void)state;
    lan_open(&lan, 0);
    a = lan_port(&lan, 0, false);
    b = lan_port(&lan, 0, false);
    for (unsigned i = 0; i < 1000; i++) { /* both are served: a carries */
        polls(a);
        polls(b);
    }
    assert_int_equal(lan.up.polls, 1000);
    for (n = 0; lan.up.polls == 1000 && n < 100000; n++)
        polls(b);
    assert_true(n < 1000);
    set_ready(&lan, true);
    assert_true(wakes(b) && !wakes(a));
    polls(a);
    assert_int_equal(lan.up.polls, 1001);
    lan_close(&lan);
}

/* An uplink that answers from inside send(): what was made for the way out is not what is made for the way back. */
static void an_uplink_may_answer_at_once(void **state)
{
    struct lan lan;
    struct lan_port *a, *b;
    uint8_t frame[2][64];
    struct vio_seg seg[2] = { { frame[0], 64 }, { frame[1], 64 } };
    struct vio_net_packet p[2] = { { .len = 64, .nr = 1, .seg = &seg[0] }, { .len = 64, .nr = 1, .seg = &seg[1] } };

    (void)state;
    lan_open(&lan, 0);
    a = lan_port(&lan, 5, false);
    b = lan_port(&lan, 5, false);
    lan.up.echo = true;
    frame_make(frame[0], 64, ALL_HEAR, 1, NO_TAG, 10);
    frame_make(frame[1], 64, ALL_HEAR, 1, NO_TAG, 20);
    assert_int_equal(a->b->ops->send(a->b, p, 2), 2);
    assert_int_equal(a->ear.frames, 2);
    assert_int_equal(b->ear.frames, 4);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(a->ear.kept[i].len, 64);
        assert_memory_equal(a->ear.kept[i].head, frame[i], 64);
        assert_int_equal(lan.up.ear.kept[i].len, 68);
        assert_int_equal(tag_of(&lan.up.ear.kept[i]), 5);
        assert_memory_equal(lan.up.ear.kept[i].head + 16, frame[i] + 12, 52);
    }
    heard(&lan);
    lan_close(&lan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_runs_while_a_port_runs),
        cmocka_unit_test(a_failed_start_is_the_ports),
        cmocka_unit_test(there_is_one_and_it_may_come_late),
        cmocka_unit_test(the_last_reference_ends_it),
        cmocka_unit_test(one_port_polls_and_wakes),
        cmocka_unit_test(arming_is_the_carriers),
        cmocka_unit_test(who_has_no_buffers_does_not_carry),
        cmocka_unit_test(who_never_polls_does_not_carry),
        cmocka_unit_test(who_is_not_served_does_not_carry_for_long),
        cmocka_unit_test(an_uplink_may_answer_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
