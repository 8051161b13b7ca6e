/* SPDX-License-Identifier: MIT */
/*
 * Purpose: user-mode networking as a guest uses it: addresses, both ways through the gateway, forwards.
 * Where it sits: tests/unit/backend.
 */
#include "net_guest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ------------------------------------------------------------------ tests: addresses */

static void the_gateway_is_there(void **state)
{
    struct guest *g = guest_make(NULL, false);
    struct vio_net_info info;
    struct frame f;
    uint8_t *icmp;

    (void)state;
    g->b->ops->info(g->b, &info);
    assert_int_equal(info.takes | info.gives, 0);
    assert_int_equal(info.mtu, 1500);
    assert_false(info.has_mac);
    learn(g);
    icmp = ipv4(g, &f, GUEST, GATEWAY, 1, 8 + 32);
    icmp[0] = 8;
    put16(icmp + 4, 77);
    memset(icmp + 8, 0xab, 32);
    put16(icmp + 2, fold(sum(icmp, 40)));
    send_raw(g, &f);
    f = expect(g, is_ping_reply, 77);
    assert_int_equal(get32(f.byte + ETH + 12), GATEWAY);
    assert_int_equal(payload(&f)[8 + 31], 0xab);
    assert_true(g->flushes > 0);
    guest_free(g);
}

static size_t dhcp_message(uint8_t *m, unsigned type, uint32_t wanted)
{
    uint8_t *o = m + 240;

    memset(m, 0, 300);
    m[0] = 1;
    m[1] = 1;
    m[2] = 6;
    put32(m + 4, 0x12345678);
    memcpy(m + 28, guest_mac, 6);
    put32(m + 236, 0x63825363);
    *o++ = 53, *o++ = 1, *o++ = (uint8_t)type;
    if (wanted) {
        *o++ = 50, *o++ = 4;
        put32(o, wanted);
        o += 4;
        *o++ = 54, *o++ = 4;
        put32(o, GATEWAY);
        o += 4;
    }
    *o = 255;
    return 300;
}

static const uint8_t *dhcp_option(const struct frame *f, unsigned code)
{
    const uint8_t *o = payload(f) + UDP + 240, *end = f->byte + f->len;

    while (o + 2 < end && *o != 255) {
        if (*o == code)
            return o + 2;
        o += *o ? 2u + o[1] : 1u;
    }
    fail_msg("no DHCP option %u", code);
    return NULL;
}

static void an_address_is_given(void **state)
{
    struct guest *g = guest_make(NULL, false);
    uint8_t m[300];
    struct frame f;

    (void)state;
    send_udp(g, 0, 68, UINT32_MAX, 67, m, dhcp_message(m, 1, 0));
    f = expect(g, is_udp_to, 68);
    assert_int_equal(dhcp_option(&f, 53)[0], 2);
    assert_int_equal(get32(payload(&f) + UDP + 16), GUEST);
    send_udp(g, 0, 68, UINT32_MAX, 67, m, dhcp_message(m, 3, GUEST));
    f = expect(g, is_udp_to, 68);
    assert_int_equal(dhcp_option(&f, 53)[0], 5);
    assert_int_equal(get32(payload(&f) + UDP + 16), GUEST);
    assert_int_equal(get32(dhcp_option(&f, 1)), 0xffffff00);
    assert_int_equal(get32(dhcp_option(&f, 3)), GATEWAY);
    assert_int_equal(get32(dhcp_option(&f, 6)), NAMES);
    guest_free(g);
}

static void ipv6_has_a_router(void **state)
{
    static const uint8_t to[6] = { 0x33, 0x33, 0, 0, 0, 2 };
    struct guest *g = guest_make(NULL, false);
    struct frame f;
    uint8_t *ip = f.byte + ETH, *icmp = ip + 40;
    const uint8_t *o;
    bool found = false;

    (void)state;
    ethernet(&f, to, 0x86dd);
    ip[0] = 0x60;
    put16(ip + 4, 8);
    ip[6] = 58;
    ip[7] = 255;
    put16(ip + 8, 0xfe80);
    ip[23] = 0x56;
    put16(ip + 24, 0xff02);
    ip[39] = 2;
    icmp[0] = 133;
    put16(icmp + 2, fold(sum(ip + 8, 32) + 8 + 58 + sum(icmp, 8)));
    f.len = ETH + 48;
    send_raw(g, &f);
    f = expect(g, is_router, 0);
    for (o = icmp + 16; o + 8 <= f.byte + f.len && o[1]; o += o[1] * 8)
        found |= o[0] == 3 && o[2] == 64 && get16(o + 16) == 0xfec0;
    assert_true(found);
    guest_free(g);
}

/* ------------------------------------------------------------------ tests: both ways through it */

static void datagrams_reach_the_host(void **state)
{
    struct guest *g = guest_make(NULL, false);
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    uint16_t port;
    int fd = host_socket(SOCK_DGRAM, &port);
    char text[10] = "";
    struct frame f;

    (void)state;
    learn(g);
    send_udp(g, GUEST, 5555, GATEWAY, port, "hello", 5);
    assert_int_equal(recvfrom(fd, text, sizeof text, 0, (struct sockaddr *)&from, &len), 5);
    assert_string_equal(text, "hello");
    assert_int_equal(sendto(fd, "welcome", 7, 0, (struct sockaddr *)&from, len), 7);
    f = expect(g, is_udp_to, 5555);
    assert_int_equal(get16(payload(&f)), port);
    assert_memory_equal(payload(&f) + UDP, "welcome", 7);

    /* Without room nothing wakes us, and nothing is lost. */
    g->room = 0;
    assert_int_equal(sendto(fd, "later", 5, 0, (struct sockaddr *)&from, len), 5);
    for (unsigned i = 0; i < 3; i++) {
        struct pollfd p = { .fd = g->b->ops->fd(g->b), .events = POLLIN };

        assert_false(g->b->ops->arm(g->b, true, false, false));
        assert_int_equal(poll(&p, 1, 50), 0);
        g->b->ops->arm(g->b, false, false, false);
        assert_int_equal(g->b->ops->poll(g->b, 8), 0);
    }
    assert_true(g->b->ops->arm(g->b, true, true, false));
    g->room = KEPT;
    f = expect(g, is_udp_to, 5555);
    assert_memory_equal(payload(&f) + UDP, "later", 5);
    close(fd);
    guest_free(g);
}

/* The transmit queue sends while the receive queue sleeps: answers, and new sockets, are not to wait for a timer. */
static void a_sleeper_is_woken_by_what_is_sent(void **state)
{
    struct guest *g = guest_make(NULL, false);
    struct pollfd p = { .fd = g->b->ops->fd(g->b), .events = POLLIN };
    uint8_t m[300];

    (void)state;
    while (turn(g, 0))
        ;
    assert_false(g->b->ops->arm(g->b, true, true, false));
    assert_int_equal(poll(&p, 1, 0), 0);
    send_udp(g, 0, 68, UINT32_MAX, 67, m, dhcp_message(m, 1, 0));
    assert_int_equal(poll(&p, 1, 0), 1);
    g->b->ops->arm(g->b, false, false, false);
    expect(g, is_udp_to, 68);

    /* Who has no room for packets sleeps on. */
    assert_false(g->b->ops->arm(g->b, true, false, false));
    send_udp(g, 0, 68, UINT32_MAX, 67, m, dhcp_message(m, 1, 0));
    assert_int_equal(poll(&p, 1, 0), 0);
    guest_free(g);
}

static void connections_reach_the_host(void **state)
{
    struct guest *g = guest_make(NULL, false);
    uint16_t port;
    int listener = host_socket(SOCK_STREAM, &port), fd;
    char text[10] = "";
    struct frame f;
    uint32_t theirs;

    (void)state;
    learn(g);
    send_tcp(g, 1000, GATEWAY, port, 100, 0, SYN, "");
    f = expect(g, is_tcp, 1000 << 8 | SYN | ACK);
    assert_int_equal(get32(payload(&f) + 8), 101);
    theirs = get32(payload(&f) + 4) + 1;
    send_tcp(g, 1000, GATEWAY, port, 101, theirs, ACK, "");
    fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    send_tcp(g, 1000, GATEWAY, port, 101, theirs, ACK | PSH, "abc");
    f = expect(g, is_tcp, 1000 << 8 | ACK); /* perhaps late, by a timer */
    assert_int_equal(get32(payload(&f) + 8), 104);
    assert_int_equal(recv(fd, text, sizeof text, 0), 3);
    assert_string_equal(text, "abc");
    assert_int_equal(send(fd, "defg", 4, 0), 4);
    f = expect(g, is_tcp_data, 1000);
    assert_int_equal(tcp_data(&f), 4);
    assert_memory_equal(payload(&f) + TCP, "defg", 4);
    send_tcp(g, 1000, GATEWAY, port, 104, theirs + 4, ACK, "");
    close(fd);
    f = expect(g, is_tcp, 1000 << 8 | FIN);
    assert_int_equal(get32(payload(&f) + 4), theirs + 4);
    close(listener);
    /* Nobody listens there any more. */
    send_tcp(g, 1001, GATEWAY, port, 5, 0, SYN, "");
    expect(g, is_tcp, 1001 << 8 | RST);
    guest_free(g);
}

static void much_data_arrives_whole(void **state)
{
    enum { BYTES = 1 << 20 };
    struct guest *g = guest_make(NULL, false);
    uint16_t port;
    int listener = host_socket(SOCK_STREAM, &port), fd;
    uint8_t *data = malloc(BYTES);
    size_t sent = 0, got = 0;
    struct frame f;
    uint32_t theirs;

    (void)state;
    for (size_t i = 0; i < BYTES; i++)
        data[i] = (uint8_t)(i * 31 + i / 251);
    learn(g);
    send_tcp(g, 1000, GATEWAY, port, 100, 0, SYN, "");
    f = expect(g, is_tcp, 1000 << 8 | SYN | ACK);
    theirs = get32(payload(&f) + 4) + 1;
    send_tcp(g, 1000, GATEWAY, port, 101, theirs, ACK, "");
    fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    while (got < BYTES) {
        ssize_t n = sent < BYTES ? send(fd, data + sent, BYTES - sent, MSG_DONTWAIT) : 0;

        sent += n > 0 ? (size_t)n : 0;
        g->room = 1 + (unsigned)(got / 1000 % 7); /* a device that is slow */
        f = expect(g, is_tcp_data, 1000);
        if (get32(payload(&f) + 4) != theirs + got)
            continue; /* again, or too early */
        assert_true(got + tcp_data(&f) <= BYTES);
        assert_memory_equal(payload(&f) + TCP, data + got, tcp_data(&f));
        got += tcp_data(&f);
        send_tcp(g, 1000, GATEWAY, port, 101, theirs + (uint32_t)got, ACK, "");
    }
    close(fd);
    close(listener);
    free(data);
    guest_free(g);
}

static void forwards_reach_the_guest(void **state)
{
    uint16_t tcp_port = free_port(SOCK_STREAM), udp_port = free_port(SOCK_DGRAM), own;
    char tcp[40], udp[60];
    const char *forward[] = { tcp, udp, NULL };
    struct guest *g;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), datagrams = host_socket(SOCK_DGRAM, &own);
    struct frame f;
    uint32_t theirs, whom;
    unsigned from;
    char text[10] = "";

    (void)state;
    snprintf(tcp, sizeof tcp, "tcp:%u:22", tcp_port);
    snprintf(udp, sizeof udp, "udp:127.0.0.1:%u:53", udp_port);
    g = guest_make(forward, false);
    learn(g);
    host_connect(fd, tcp_port);
    f = expect(g, is_tcp, 22 << 8 | SYN);
    assert_int_equal(get32(f.byte + ETH + 16), GUEST);
    from = get16(payload(&f));
    whom = get32(f.byte + ETH + 12);
    theirs = get32(payload(&f) + 4) + 1;
    send_tcp(g, 22, whom, from, 900, theirs, SYN | ACK, "");
    expect(g, is_tcp, 22 << 8 | ACK);
    assert_int_equal(send(fd, "who?", 4, 0), 4);
    f = expect(g, is_tcp_data, 22);
    assert_memory_equal(payload(&f) + (payload(&f)[12] >> 4) * 4, "who?", 4);
    send_tcp(g, 22, whom, from, 901, theirs + 4, ACK | PSH, "me");
    assert_int_equal(recv(fd, text, sizeof text, 0), 2);
    assert_string_equal(text, "me");
    send_tcp(g, 22, whom, from, 903, theirs + 4, RST | ACK, "");
    close(fd);

    host_connect(datagrams, udp_port);
    assert_int_equal(send(datagrams, "name?", 5, 0), 5);
    f = expect(g, is_udp_to, 53);
    assert_memory_equal(payload(&f) + UDP, "name?", 5);
    send_udp(g, GUEST, 53, get32(f.byte + ETH + 12), get16(payload(&f)), "yes", 3);
    memset(text, 0, sizeof text);
    assert_int_equal(recv(datagrams, text, sizeof text, 0), 3);
    assert_string_equal(text, "yes");
    close(datagrams);
    guest_free(g);
}

/* No socket of the host's wakes us for this: only libslirp's clock. */
static void what_is_not_answered_is_sent_again(void **state)
{
    uint16_t port = free_port(SOCK_STREAM);
    char text[40];
    const char *forward[] = { text, NULL };
    struct guest *g;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct frame first, second;

    (void)state;
    snprintf(text, sizeof text, "tcp:%u:22", port);
    g = guest_make(forward, false);
    learn(g);
    host_connect(fd, port);
    first = expect(g, is_tcp, 22 << 8 | SYN);
    assert_true(try_expect(g, &second, is_tcp, 22 << 8 | SYN, 2 * WAIT_MS));
    assert_int_equal(get32(payload(&first) + 4), get32(payload(&second) + 4));
    close(fd);
    guest_free(g);
}

static void restricted_has_no_way_out(void **state)
{
    uint16_t port, tcp_port, forwarded = free_port(SOCK_STREAM);
    char text[30];
    const char *forward[] = { text, NULL };
    int fd = host_socket(SOCK_DGRAM, &port), listener = host_socket(SOCK_STREAM, &tcp_port);
    int in = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct pollfd p[2] = { { .fd = fd, .events = POLLIN }, { .fd = listener, .events = POLLIN } };
    struct guest *g;
    struct frame f;

    (void)state;
    snprintf(text, sizeof text, "tcp:127.0.0.1:%u:22", forwarded);
    g = guest_make(forward, true);
    learn(g);
    send_udp(g, GUEST, 5555, GATEWAY, port, "hello", 5);
    send_tcp(g, 1000, GATEWAY, tcp_port, 100, 0, SYN, "");
    assert_false(try_expect(g, &f, is_tcp, 1000 << 8 | SYN, 200));
    assert_int_equal(poll(p, 2, 0), 0);
    host_connect(in, forwarded); /* but in */
    expect(g, is_tcp, 22 << 8 | SYN);
    close(in);
    close(fd);
    close(listener);
    guest_free(g);
}

static void idle_is_quiet(void **state)
{
    struct guest *g = guest_make(NULL, false);
    uint16_t port;
    int fd = host_socket(SOCK_DGRAM, &port);
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    char text[10];

    (void)state;
    learn(g);
    while (turn(g, 0))
        ;
    assert_false(turn(g, 1500));
    /* What begins after a long silence is no older than itself. */
    send_udp(g, GUEST, 5555, GATEWAY, port, "hello", 5);
    assert_int_equal(recvfrom(fd, text, sizeof text, 0, (struct sockaddr *)&from, &len), 5);
    turn(g, 0);
    assert_int_equal(sendto(fd, "welcome", 7, 0, (struct sockaddr *)&from, len), 7);
    expect(g, is_udp_to, 5555);
    close(fd);
    guest_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gateway_is_there),
        cmocka_unit_test(an_address_is_given),
        cmocka_unit_test(ipv6_has_a_router),
        cmocka_unit_test(datagrams_reach_the_host),
        cmocka_unit_test(a_sleeper_is_woken_by_what_is_sent),
        cmocka_unit_test(connections_reach_the_host),
        cmocka_unit_test(much_data_arrives_whole),
        cmocka_unit_test(forwards_reach_the_guest),
        cmocka_unit_test(what_is_not_answered_is_sent_again),
        cmocka_unit_test(restricted_has_no_way_out),
        cmocka_unit_test(idle_is_quiet),
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
