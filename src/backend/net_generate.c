/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the network that sends as fast as its frames are taken: UDP over IPv4 from 192.0.2.1 to 192.0.2.2, port 9,
 * with a running number; further lanes count by themselves, from port 10 on. What is left to measure is the way to the driver. What it is sent is dropped.
 * Where it sits: backend/net. Threads: the owner's; the count is read by any.
 * How: frames lie ready in a ring, and per frame only number, its check and the UDP checksum change.
 */
#include "backend/net_generate.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "backend/backend.h"
#include "backend/net_wait.h"
#include <vio/net.h>

#define GENERATE_FRAMES VIO_NET_BURST
#define GENERATE_LINE 64u
#define GENERATE_PORT 9

static const uint8_t generate_from[VIO_NET_MAC] = { 0x02, 'v', 'i', 'o', 0, 1 };
static const uint8_t generate_to[VIO_NET_MAC] = { 0x02, 'v', 'i', 'o', 0, 2 };

struct generate {
    struct vio_net_backend head;
    struct vio_net_sink sink;
    struct net_bell bell;
    uint32_t bytes;
    uint16_t port;          /* of the source: each lane is a flow of its own */
    uint16_t lanes;         /* of the first: opened beside it */
    bool unused;            /* one of several lanes, and nobody receives from it */
    uint64_t fixed_sum;     /* of all that the UDP checksum covers and that does not change */
    uint64_t number;        /* of the next frame to be filled */
    unsigned first, filled; /* in frames: [first, first + filled), around the end */
    _Atomic uint64_t frames;
    uint8_t *ring;
    struct vio_seg seg[GENERATE_FRAMES];
    /* Twice the ring: a burst that goes around the end is one array all the same. */
    struct vio_net_packet packet[2 * GENERATE_FRAMES];
};

/* ------------------------------------------------------------------ frames */

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* The words as they lie in memory: the sum of RFC 1071 does not mind the order of bytes, if one keeps to one. */
static uint64_t sum_words(const uint8_t *bytes, size_t len, uint64_t sum)
{
    uint8_t last[2] = { len % 2 ? bytes[len - 1] : 0, 0 };
    uint16_t word;

    for (size_t i = 0; i + 1 < len; i += 2) {
        memcpy(&word, bytes + i, sizeof word);
        sum += word;
    }
    memcpy(&word, last, sizeof word);
    return sum + word;
}

static inline uint16_t fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void frame_headers(uint8_t *frame, uint32_t bytes, uint16_t port)
{
    static const uint8_t ip[20] = { 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2 };
    uint16_t sum;

    for (uint32_t i = 0; i < bytes; i++)
        frame[i] = (uint8_t)i;
    memset(frame + GENERATE_NUMBER, 0, GENERATE_FILL - GENERATE_NUMBER);
    memcpy(frame, generate_to, VIO_NET_MAC);
    memcpy(frame + 6, generate_from, VIO_NET_MAC);
    put16(frame + 12, 0x0800);
    memcpy(frame + 14, ip, sizeof ip);
    put16(frame + 16, bytes - 14);
    sum = fold(sum_words(frame + 14, 20, 0));
    memcpy(frame + 24, &sum, sizeof sum);
    put16(frame + GENERATE_UDP, port);
    put16(frame + GENERATE_UDP + 2, 9);
    put16(frame + GENERATE_UDP + 4, bytes - GENERATE_UDP);
    put16(frame + GENERATE_SUM, 0);
}

/* Addresses, protocol and length of the pseudo header; the UDP header; the filling. */
static uint64_t frame_sum(const uint8_t *frame, uint32_t bytes)
{
    uint8_t pseudo[4] = { 0, 17, 0, 0 };

    put16(pseudo + 2, bytes - GENERATE_UDP);
    return sum_words(frame + 26, bytes - 26, sum_words(pseudo, sizeof pseudo, 0));
}

static inline void frame_number(const struct generate *g, uint8_t *frame, uint64_t number)
{
    vio_be64 n = vio_be64_of(number);
    vio_be32 check = vio_be32_of(net_generate_check(number));
    uint64_t sum = g->fixed_sum + (n.v_ & 0xffffffff) + (n.v_ >> 32) + check.v_;
    uint16_t folded = fold(sum);

    if (folded == 0)
        folded = 0xffff; /* 0 is "no checksum" (RFC 768) */
    memcpy(frame + GENERATE_SUM, &folded, sizeof folded);
    memcpy(frame + GENERATE_NUMBER, &n, sizeof n);
    memcpy(frame + GENERATE_CHECK, &check, sizeof check);
}

static void make_ring(struct generate *g, size_t stride)
{
    for (unsigned i = 0; i < GENERATE_FRAMES; i++) {
        uint8_t *frame = g->ring + i * stride;

        frame_headers(frame, g->bytes, g->port);
        g->seg[i] = (struct vio_seg){ frame, g->bytes };
        g->packet[i] = (struct vio_net_packet){ .len = g->bytes, .nr = 1, .seg = &g->seg[i] };
        g->packet[i + GENERATE_FRAMES] = g->packet[i];
    }
    g->fixed_sum = frame_sum(g->ring, g->bytes);
}

/* ------------------------------------------------------------------ the backend */

static void generate_info(struct vio_net_backend *b, struct vio_net_info *info)
{
    (void)b;
    *info = (struct vio_net_info){ .takes = VIO_NET_OFFLOADS, .has_mac = true };
    memcpy(info->mac, generate_to, VIO_NET_MAC);
}

static void generate_destroy(struct vio_net_backend *b)
{
    struct generate *g = (struct generate *)b;

    close(g->bell.fd);
    free(g->ring);
    free(g);
}

static int generate_start(struct vio_net_backend *b, const struct vio_net_sink *sink)
{
    ((struct generate *)b)->sink = *sink;
    return 0;
}

static void generate_stop(struct vio_net_backend *b)
{
    net_bell_set(&((struct generate *)b)->bell, false);
}

static unsigned generate_send(struct vio_net_backend *b, const struct vio_net_packet *p, unsigned n)
{
    (void)b;
    (void)p;
    return n;
}

/* At most `max` frames offered; how many were taken. What was not keeps its number and is offered first next time. */
static inline unsigned burst(struct generate *g, unsigned max)
{
    unsigned n = max < GENERATE_FRAMES ? max : GENERATE_FRAMES, taken;

    while (g->filled < n) {
        frame_number(g, g->seg[(g->first + g->filled) % GENERATE_FRAMES].base, g->number++);
        g->filled++;
    }
    taken = g->sink.deliver(g->sink.ctx, &g->packet[g->first], n);
    g->first = (g->first + taken) % GENERATE_FRAMES;
    g->filled -= taken;
    return taken;
}

static unsigned generate_poll(struct vio_net_backend *b, unsigned budget)
{
    struct generate *g = (struct generate *)b;
    unsigned done = 0;

    while (done < budget && !g->unused) {
        unsigned taken = burst(g, budget - done);

        done += taken;
        if (taken < GENERATE_FRAMES)
            break;
    }
    if (done == 0)
        return 0;
    g->sink.flush(g->sink.ctx);
    atomic_store_explicit(&g->frames, atomic_load_explicit(&g->frames, memory_order_relaxed) + done, memory_order_relaxed);
    return done;
}

static int generate_fd(struct vio_net_backend *b)
{
    return ((struct generate *)b)->bell.fd;
}

static bool generate_arm(struct vio_net_backend *b, bool sleep, bool receive, bool blocked)
{
    struct generate *g = (struct generate *)b;
    bool ready = receive && !g->unused;

    (void)blocked;
    if (!sleep)
        return false;
    net_bell_set(&g->bell, ready);
    return ready;
}

static void generate_use(struct vio_net_backend *b, bool use)
{
    struct generate *g = (struct generate *)b;

    g->unused = !use;
    if (!use)
        net_bell_set(&g->bell, false);
}

static void generate_counters(struct vio_net_backend *b, void (*line)(void *ctx, const char *name, uint64_t value),
                              void *ctx)
{
    line(ctx, "generated", atomic_load_explicit(&((struct generate *)b)->frames, memory_order_relaxed));
}

static int generate_open_lane(struct vio_net_backend *b, struct vio_net_backend **out, char *why, size_t why_size);

static const struct vio_net_ops generate_ops = {
    .name = "generate",
    .info = generate_info,
    .destroy = generate_destroy,
    .start = generate_start,
    .stop = generate_stop,
    .send = generate_send,
    .poll = generate_poll,
    .fd = generate_fd,
    .arm = generate_arm,
    .open_lane = generate_open_lane,
    .use = generate_use,
    .counters = generate_counters,
};

static int open_port(uint32_t bytes, uint16_t port, struct vio_net_backend **out, char *why, size_t why_size)
{
    struct generate *g;
    size_t stride = (bytes + GENERATE_LINE - 1) / GENERATE_LINE * GENERATE_LINE;

    if (bytes < GENERATE_MIN || bytes > GENERATE_MAX)
        return vio_why(-EINVAL, why, why_size,
                       "frames of %" PRIu32 " bytes cannot be generated: 60 to 65535 is possible", bytes);
    g = calloc(1, sizeof *g);
    if (!g)
        return vio_why(-ENOMEM, why, why_size, "out of memory");
    g->head.ops = &generate_ops;
    g->bytes = bytes;
    g->port = port;
    g->bell.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    g->ring = aligned_alloc(GENERATE_LINE, stride * GENERATE_FRAMES);
    if (g->bell.fd < 0 || !g->ring) {
        int error = g->bell.fd < 0 ? -errno : -ENOMEM;

        if (g->bell.fd >= 0)
            close(g->bell.fd);
        free(g->ring);
        free(g);
        return vio_why(error, why, why_size, "no frames can be generated: %s", strerror(-error));
    }
    make_ring(g, stride);
    *out = &g->head;
    return 0;
}

static int generate_open_lane(struct vio_net_backend *b, struct vio_net_backend **out, char *why, size_t why_size)
{
    struct generate *first = (struct generate *)b;
    int ret = open_port(first->bytes, (uint16_t)(first->port + first->lanes + 1), out, why, why_size);

    if (ret < 0)
        return ret;
    first->lanes++;
    ((struct generate *)*out)->unused = true;
    return 0;
}

int vio_net_generate_open(uint32_t bytes, struct vio_net_backend **out, char *why, size_t why_size)
{
    return open_port(bytes, GENERATE_PORT, out, why, why_size);
}
