/* SPDX-License-Identifier: MIT */
/*
 * Purpose: user-mode networking with forwards that cannot be, and with a guest that misbehaves.
 * Where it sits: tests/unit/backend.
 */
#include "net_guest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static void forwards_are_checked(void **state)
{
    static const char *const bad[] = {
        "", "tcp", "tcp:1", "tcp:1:2:3:4", "icmp:1:2", "tcp:0:22", "tcp:65536:22", "tcp:22:", "tcp::22", "tcp:-1:22", "tcp:+1:22",
        "tcp:1000000000000000000000:22", "tcp:localhost:1:2", "tcp:1.2.3:1:2", "tcp:127.0.0.1:0:1", "TCP:1:2", "tcp:2222:22 ",
        "tcp:127.0.0.1:1111111111111111111111111111111111111111111111111111111111111111111111111:2",
    };
    struct guest *g = calloc(1, sizeof *g);
    const char *forward[2] = { NULL, NULL };
    char why[300], text[60];
    uint16_t port;
    int fd;

    (void)state;
    assert_non_null(g);
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        forward[0] = bad[i];
        why[0] = 0;
        if (open_network(g, forward, false, why, sizeof why) != -EINVAL)
            fail_msg("'%s' was accepted, or refused otherwise: %s", bad[i], why);
        assert_non_null(strstr(why, "forward '"));
    }
    forward[0] = text;
    for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
        fd = host_socket(type, &port);
        snprintf(text, sizeof text, "%s:%u:22", type == SOCK_STREAM ? "tcp" : "udp", port);
        assert_int_equal(open_network(g, forward, false, why, sizeof why), -EADDRINUSE);
        assert_non_null(strstr(why, text));
        assert_non_null(strstr(why, "on 127.0.0.1 is taken"));
        close(fd);
        /* Free again: and it is ours then. */
        assert_int_equal(open_network(g, forward, false, why, sizeof why), 0);
        {
            struct vio_net_user_params params = { .forward = forward };
            struct vio_net_backend *second = NULL;

            assert_int_equal(vio_net_user_open(&params, &second, NULL, 0), -EADDRINUSE);
        }
        g->b->ops->destroy(g->b);
    }
    snprintf(text, sizeof text, "udp:%u:22", port);
    assert_int_equal(open_network(g, forward, true, why, sizeof why), -ENOTSUP);
    assert_non_null(strstr(why, "restricted"));
    snprintf(text, sizeof text, "tcp:192.0.2.1:%u:22", port);
    assert_int_equal(open_network(g, forward, false, why, sizeof why), -EADDRNOTAVAIL);
    free(g);
}

static void connections_do_not_use_up_the_process(void **state)
{
    struct rlimit old, small;
    struct guest *g;
    uint16_t port;
    int fd = host_socket(SOCK_DGRAM, &port), spare[8];

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    small = old;
    small.rlim_cur = 64;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &small), 0);
    g = guest_make(NULL, false);
    learn(g);
    for (unsigned i = 0; i < 300; i++)
        send_udp(g, GUEST, 3000 + i, GATEWAY, port, "x", 1);
    assert_true(counter(g, "socket_drops") > 200);
    for (unsigned i = 0; i < 8; i++)
        assert_true((spare[i] = dup(fd)) >= 0);
    for (unsigned i = 0; i < 8; i++)
        close(spare[i]);
    learn(g); /* what needs no socket goes on */
    guest_free(g);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    close(fd);
}

/* A piece of a UDP datagram of `bytes` bytes, all 'x'. */
static void send_piece(struct guest *g, unsigned id, unsigned port, size_t bytes, size_t at, size_t n)
{
    struct frame f;
    uint8_t *udp = ipv4(g, &f, GUEST, GATEWAY, 17, n), *ip = f.byte + ETH;

    memset(udp, 'x', n);
    if (at == 0) {
        put16(udp, 5555);
        put16(udp + 2, port);
        put16(udp + 4, (unsigned)(UDP + bytes));
        put16(udp + 6, 0);
    }
    put16(ip + 4, id);
    put16(ip + 6, (unsigned)(at / 8) | (at + n < UDP + bytes ? 0x2000 : 0));
    put16(ip + 10, 0);
    put16(ip + 10, fold(sum(ip, IP)));
    send_raw(g, &f);
}

static void fragments_are_put_together(void **state)
{
    struct guest *g = guest_make(NULL, false);
    static char text[66000];
    uint16_t port;
    int fd = host_socket(SOCK_DGRAM, &port);

    (void)state;
    learn(g);
    /* Two at a time, and a third that never ends. */
    send_piece(g, 3, port, 9000, 0, 1480);
    for (size_t at = 0; at < 5008; at += 1480) {
        send_piece(g, 1, port, 5000, at, at + 1480 < 5008 ? 1480 : 5008 - at);
        send_piece(g, 2, port, 5000, at, at + 1480 < 5008 ? 1480 : 5008 - at);
    }
    for (unsigned i = 0; i < 2; i++) {
        memset(text, 0, sizeof text);
        assert_int_equal(recv(fd, text, sizeof text, 0), 5000);
        assert_int_equal(strspn(text, "x"), 5000);
    }
    assert_int_equal(counter(g, "fragment_drops"), 0);
    /* The largest there is. */
    for (size_t at = 0; at < 65515; at += 1480)
        send_piece(g, 4, port, 65507, at, at + 1480 < 65515 ? 1480 : 65515 - at);
    assert_int_equal(recv(fd, text, sizeof text, 0), 65507);
    /* Overlapping, with a hole, without a start, past the end. */
    send_piece(g, 5, port, 5000, 0, 1480);
    send_piece(g, 5, port, 5000, 1472, 1480);
    send_piece(g, 6, port, 5000, 0, 1480);
    send_piece(g, 6, port, 5000, 1488, 1480);
    send_piece(g, 7, port, 5000, 1480, 1480);
    send_piece(g, 8, port, 5000, 0, 1479);
    for (size_t at = 0; at < 65520; at += 1456)
        send_piece(g, 9, port, 70000, at, 1456);
    assert_int_equal(counter(g, "fragment_drops"), 5);
    /* As many as one likes. */
    for (unsigned i = 0; i < 5000; i++)
        send_piece(g, i, port, 5000, 0, 64);
    assert_int_equal(recv(fd, text, sizeof text, MSG_DONTWAIT), -1);
    learn(g);
    close(fd);
    guest_free(g);
}

static uint32_t random_next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*seed >> 33);
}

/* Frames of all lengths, most of them IP at the start; the guest takes little, so the queue fills, too. */
static void garbage_does_no_harm(void **state)
{
    static uint8_t byte[VIO_NET_FRAME_MAX];
    static const uint8_t over4[4] = { 1, 6, 17, 2 }, over6[4] = { 58, 6, 17, 0 };
    struct guest *g = guest_make(NULL, true);
    uint64_t seed = 1;
    struct frame f;

    (void)state;
    learn(g);
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t kind = random_next(&seed) % 8, len = random_next(&seed) % (i % 100 ? 400 : VIO_NET_FRAME_MAX);
        struct vio_seg seg;
        struct vio_net_packet p = { .nr = 1, .seg = &seg };

        len = len < VIO_NET_FRAME_MIN ? VIO_NET_FRAME_MIN : len;
        seg = (struct vio_seg){ byte, len };
        p.len = len;
        for (uint32_t k = 0; k < len && k < 120; k++)
            byte[k] = (uint8_t)random_next(&seed);
        memcpy(byte, g->gateway_mac, 6);
        put16(byte + 12, kind == 0 ? 0x88f8 : kind == 1 ? 0x0806 : kind < 4 ? 0x86dd : 0x0800);
        if (kind >= 4 && len >= ETH + IP) {
            byte[ETH] = kind == 4 ? byte[ETH] : 0x45;
            put16(byte + ETH + 2, kind == 5 ? get16(byte + ETH + 2) : len - ETH);
            put16(byte + ETH + 6, kind == 6 ? get16(byte + ETH + 6) : 0);
            byte[ETH + 9] = over4[random_next(&seed) % 4];
            put32(byte + ETH + 12, GUEST);
            put32(byte + ETH + 16, GATEWAY + random_next(&seed) % 3);
            put16(byte + ETH + 10, 0);
            put16(byte + ETH + 10, fold(sum(byte + ETH, IP)));
        } else if (kind >= 2 && kind < 4 && len >= ETH + 40) {
            byte[ETH] = 0x60;
            put16(byte + ETH + 4, len - ETH - 40);
            byte[ETH + 6] = over6[random_next(&seed) % 4];
        }
        assert_int_equal(g->b->ops->send(g->b, &p, 1), 1);
        g->room = 1;
        g->nr = 0;
        if (i % 10 == 0)
            g->b->ops->poll(g->b, 4);
    }
    g->room = KEPT;
    for (unsigned i = 0; i < 1000 && g->b->ops->poll(g->b, VIO_NET_BURST); i++)
        g->nr = 0;
    send_arp(g, 2, GATEWAY); /* garbage may have said that we are elsewhere */
    send_arp(g, 1, GATEWAY);
    assert_true(try_expect(g, &f, is_arp_reply, GATEWAY, WAIT_MS));
    guest_free(g);
}

static void a_queue_that_is_full_drops(void **state)
{
    struct guest *g = guest_make(NULL, false);
    unsigned n = 0;
    struct frame f;

    (void)state;
    learn(g);
    g->room = 0;
    for (unsigned i = 0; i < 5000; i++)
        send_arp(g, 1, GATEWAY);
    assert_int_equal(counter(g, "queue_drops"), 5000 - 4096);
    assert_int_equal(g->b->ops->poll(g->b, VIO_NET_BURST), 0);
    g->room = KEPT;
    for (unsigned taken; (taken = g->b->ops->poll(g->b, 50)) > 0; n += taken) {
        assert_true(taken <= 50);
        for (unsigned i = 0; i < g->nr; i++)
            assert_true(is_arp_reply(&g->kept[i], GATEWAY));
        g->nr = 0;
    }
    assert_int_equal(n, 4096);
    /* Stopped, it forgets what waits; started again, it is as before. */
    send_arp(g, 1, GATEWAY);
    g->b->ops->stop(g->b);
    assert_int_equal(g->b->ops->start(g->b, &g->sink), 0);
    assert_false(try_expect(g, &f, is_arp_reply, GATEWAY, 50));
    learn(g);
    guest_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forwards_are_checked),
        cmocka_unit_test(connections_do_not_use_up_the_process),
        cmocka_unit_test(fragments_are_put_together),
        cmocka_unit_test(garbage_does_no_harm),
        cmocka_unit_test(a_queue_that_is_full_drops),
    };
    struct vio_net_user_params params = { 0 };
    struct vio_net_backend *b = NULL;
    char why[300] = "";

    if (vio_net_user_open(&params, &b, why, sizeof why) == -ENOTSUP) {
        printf("SKIP: %s\n", why);
        return 77;
    }
    if (b)
        b->ops->destroy(b);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
