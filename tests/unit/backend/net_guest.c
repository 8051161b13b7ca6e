/* SPDX-License-Identifier: MIT */
/* Purpose: see net_guest.h. Where it sits: tests/unit/backend. */
#include "net_guest.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

const uint8_t guest_mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

static unsigned deliver(void *ctx, const struct vio_net_packet *p, unsigned n)
{
    struct guest *g = ctx;
    unsigned done = 0;

    for (; done < n && done < g->room && g->nr < KEPT; done++) {
        struct frame *f = &g->kept[g->nr++];

        assert_true(p[done].len <= sizeof f->byte);
        assert_int_equal(p[done].hdr.flags | p[done].hdr.gso_type, 0);
        f->len = p[done].len;
        vio_net_packet_copy(&p[done], f->byte);
    }
    return done;
}

static void flush(void *ctx)
{
    ((struct guest *)ctx)->flushes++;
}

static void say(void *ctx, enum vio_log_level level, const char *name, const char *line)
{
    (void)ctx;
    (void)level;
    print_message("# %s: %s\n", name, line);
}

int open_network(struct guest *g, const char *const *forward, bool restricted, char *why, size_t why_size)
{
    struct vio_net_user_params params = { .forward = forward, .restricted = restricted, .log = &g->log };

    memset(g, 0, sizeof *g);
    g->log = (struct vio_log){ .write = say, .level = VIO_LOG_INFO };
    return vio_net_user_open(&params, &g->b, why, why_size);
}

struct guest *guest_make(const char *const *forward, bool restricted)
{
    struct guest *g = calloc(1, sizeof *g);
    char why[300] = "";

    assert_non_null(g);
    if (open_network(g, forward, restricted, why, sizeof why) < 0)
        fail_msg("%s", why);
    g->room = KEPT;
    g->sink = (struct vio_net_sink){ .deliver = deliver, .flush = flush, .ctx = g };
    assert_int_equal(g->b->ops->start(g->b, &g->sink), 0);
    return g;
}

void guest_free(struct guest *g)
{
    g->b->ops->stop(g->b);
    g->b->ops->destroy(g->b);
    free(g);
}

bool turn(struct guest *g, int wait_ms)
{
    struct pollfd p = { .fd = g->b->ops->fd(g->b), .events = POLLIN };
    bool woken = true;

    if (!g->b->ops->arm(g->b, true, true, false))
        woken = poll(&p, 1, wait_ms) == 1;
    g->b->ops->arm(g->b, false, true, false);
    g->b->ops->poll(g->b, VIO_NET_BURST);
    return woken;
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------ frames */

void put16(uint8_t *at, unsigned v)
{
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
}

void put32(uint8_t *at, uint32_t v)
{
    put16(at, v >> 16);
    put16(at + 2, v & 0xffff);
}

unsigned get16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

uint32_t get32(const uint8_t *at)
{
    return (uint32_t)get16(at) << 16 | get16(at + 2);
}

uint32_t sum(const uint8_t *at, size_t n)
{
    uint32_t s = 0;

    for (size_t i = 0; i < n; i++)
        s += (uint32_t)at[i] << (i % 2 ? 0 : 8);
    return s;
}

unsigned fold(uint32_t s)
{
    while (s >> 16)
        s = (s & 0xffff) + (s >> 16);
    return ~s & 0xffff;
}

void ethernet(struct frame *f, const uint8_t *to, unsigned type)
{
    memset(f, 0, sizeof *f);
    memcpy(f->byte, to, 6);
    memcpy(f->byte + 6, guest_mac, 6);
    put16(f->byte + 12, type);
}

uint8_t *ipv4(const struct guest *g, struct frame *f, uint32_t from, uint32_t to, unsigned protocol, size_t bytes)
{
    static const uint8_t all[6] = { 255, 255, 255, 255, 255, 255 };
    uint8_t *ip = f->byte + ETH;

    ethernet(f, to == UINT32_MAX ? all : g->gateway_mac, 0x0800);
    ip[0] = 0x45;
    put16(ip + 2, (unsigned)(IP + bytes));
    ip[8] = 64;
    ip[9] = (uint8_t)protocol;
    put32(ip + 12, from);
    put32(ip + 16, to);
    put16(ip + 10, fold(sum(ip, IP)));
    f->len = ETH + IP + bytes;
    return ip + IP;
}

void send_raw(struct guest *g, struct frame *f)
{
    struct vio_seg seg[2] = { { f->byte, 5 }, { f->byte + 5, f->len - 5 } };
    struct vio_net_packet p = { .len = (uint32_t)f->len, .nr = 2, .seg = seg };

    assert_int_equal(g->b->ops->send(g->b, &p, 1), 1);
}

void send_udp(struct guest *g, uint32_t from, unsigned from_port, uint32_t to, unsigned to_port, const void *data, size_t n)
{
    struct frame f;
    uint8_t *udp = ipv4(g, &f, from, to, 17, UDP + n);

    put16(udp, from_port);
    put16(udp + 2, to_port);
    put16(udp + 4, (unsigned)(UDP + n));
    memcpy(udp + UDP, data, n);
    send_raw(g, &f);
}

void send_tcp(struct guest *g, unsigned from_port, uint32_t to, unsigned to_port, uint32_t seq, uint32_t ack, unsigned flags,
              const char *data)
{
    size_t n = strlen(data);
    struct frame f;
    uint8_t *tcp = ipv4(g, &f, GUEST, to, 6, TCP + n);

    put16(tcp, from_port);
    put16(tcp + 2, to_port);
    put32(tcp + 4, seq);
    put32(tcp + 8, ack);
    tcp[12] = 0x50;
    tcp[13] = (uint8_t)flags;
    put16(tcp + 14, 32000);
    memcpy(tcp + TCP, data, n);
    put16(tcp + 16, fold(sum(tcp, TCP + n) + sum(f.byte + ETH + 12, 8) + 6 + (uint32_t)(TCP + n)));
    send_raw(g, &f);
}

void send_arp(struct guest *g, unsigned op, uint32_t target)
{
    static const uint8_t all[6] = { 255, 255, 255, 255, 255, 255 };
    struct frame f;
    uint8_t *arp = f.byte + ETH;

    ethernet(&f, all, 0x0806);
    put16(arp, 1);
    put16(arp + 2, 0x0800);
    arp[4] = 6;
    arp[5] = 4;
    put16(arp + 6, op);
    memcpy(arp + 8, guest_mac, 6);
    put32(arp + 14, GUEST);
    put32(arp + 24, target);
    f.len = 60;
    send_raw(g, &f);
}

static bool is_ipv4(const struct frame *f, unsigned protocol)
{
    return f->len >= ETH + IP && get16(f->byte + 12) == 0x0800 && f->byte[ETH] == 0x45 && f->byte[ETH + 9] == protocol &&
           get16(f->byte + ETH + 2) <= f->len - ETH;
}

const uint8_t *payload(const struct frame *f)
{
    return f->byte + ETH + IP;
}

bool is_arp_reply(const struct frame *f, unsigned from)
{
    return f->len >= 42 && get16(f->byte + 12) == 0x0806 && get16(f->byte + ETH + 6) == 2 && get32(f->byte + ETH + 14) == from;
}

bool is_arp_request(const struct frame *f, unsigned whom)
{
    return f->len >= 42 && get16(f->byte + 12) == 0x0806 && get16(f->byte + ETH + 6) == 1 && get32(f->byte + ETH + 24) == whom;
}

bool is_udp_to(const struct frame *f, unsigned port)
{
    return is_ipv4(f, 17) && get16(payload(f) + 2) == port;
}

bool is_ping_reply(const struct frame *f, unsigned id)
{
    return is_ipv4(f, 1) && payload(f)[0] == 0 && get16(payload(f) + 4) == id;
}

size_t tcp_data(const struct frame *f)
{
    return get16(f->byte + ETH + 2) - IP - (payload(f)[12] >> 4) * 4u;
}

bool is_tcp(const struct frame *f, unsigned arg)
{
    return is_ipv4(f, 6) && get16(payload(f) + 2) == arg >> 8 && (payload(f)[13] & (arg & 255)) == (arg & 255);
}

bool is_tcp_data(const struct frame *f, unsigned port)
{
    return is_tcp(f, port << 8 | ACK) && tcp_data(f) > 0;
}

bool is_router(const struct frame *f, unsigned arg)
{
    (void)arg;
    return f->len > ETH + 40 && get16(f->byte + 12) == 0x86dd && f->byte[ETH + 6] == 58 && f->byte[ETH + 40] == 134;
}

bool try_expect(struct guest *g, struct frame *out, match *m, unsigned arg, int wait_ms)
{
    int64_t until = now_ms() + wait_ms;

    for (;;) {
        for (unsigned i = 0; i < g->nr; i++) {
            if (is_arp_request(&g->kept[i], GUEST) && m != is_arp_request)
                send_arp(g, 2, GATEWAY);
            if (!m(&g->kept[i], arg))
                continue;
            *out = g->kept[i];
            g->nr -= i + 1;
            memmove(g->kept, g->kept + i + 1, g->nr * sizeof g->kept[0]);
            return true;
        }
        g->nr = 0;
        if (now_ms() >= until)
            return false;
        turn(g, (int)(until - now_ms()));
    }
}

struct frame expect(struct guest *g, match *m, unsigned arg)
{
    struct frame f = { 0 };

    assert_true(try_expect(g, &f, m, arg, WAIT_MS));
    return f;
}

void learn(struct guest *g)
{
    struct frame f;

    send_arp(g, 1, GATEWAY);
    f = expect(g, is_arp_reply, GATEWAY);
    assert_memory_equal(f.byte, guest_mac, 6);
    memcpy(g->gateway_mac, f.byte + ETH + 8, 6);
}

/* ------------------------------------------------------------------ sockets of the host */

int host_socket(int type, uint16_t *port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;
    struct timeval wait = { .tv_sec = WAIT_MS / 1000 };
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    *port = ntohs(a.sin_port);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 4), 0);
    return fd;
}

uint16_t free_port(int type)
{
    uint16_t port;

    close(host_socket(type, &port));
    return port;
}

void host_connect(int fd, uint16_t port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port) };

    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
}

/* ------------------------------------------------------------------ counters */

struct wanted {
    const char *name;
    uint64_t value;
};

static void find(void *ctx, const char *name, uint64_t value)
{
    struct wanted *w = ctx;

    if (strcmp(name, w->name) == 0)
        w->value = value;
}

uint64_t counter(struct guest *g, const char *name)
{
    struct wanted w = { name, UINT64_MAX };

    g->b->ops->counters(g->b, find, &w);
    assert_true(w.value != UINT64_MAX);
    return w.value;
}
