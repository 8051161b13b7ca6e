/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a network card that sends back what it gets, as vio's echo does, but does wrong on purpose: for tests of those who
 * measure networks. Where it sits: tests/support; a program on the public headers.
 * usage: net-peer SOCKET [drop=N] [corrupt=N] [swap=N] [twice=N] [limit=N] [die=N]
 *   every Nth packet is lost, has a byte flipped behind the headers, is sent after the next one, is sent twice; more than N packets
 *   a second are lost; the process ends at the Nth packet.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>
#include <vio/net.h>
#include <vio/serve.h>

enum { FLIPPED = 50, BUCKET = 100 };

struct peer {
    struct vio_net_backend head;
    struct vio_net_backend *echo;
    unsigned drop, corrupt, swap, twice, limit, die;
    uint64_t seen, filled_at; /* packets; ns */
    double tokens;
    uint8_t *held;            /* with swap: the one that waits for the next */
    uint32_t held_len;
    uint8_t *changed;
};

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static bool is_turn(const struct peer *p, unsigned every)
{
    return every != 0 && p->seen % every == 0;
}

static bool over_limit(struct peer *p)
{
    uint64_t now = now_ns();

    if (p->limit == 0)
        return false;
    p->tokens += (double)(now - p->filled_at) * p->limit / 1e9;
    p->filled_at = now;
    if (p->tokens > BUCKET)
        p->tokens = BUCKET;
    if (p->tokens < 1)
        return true;
    p->tokens -= 1;
    return false;
}

static bool pass(struct peer *p, uint8_t *bytes, uint32_t len)
{
    struct vio_seg seg = { bytes, len };
    struct vio_net_packet packet = { .len = len, .nr = 1, .seg = &seg };

    return p->echo->ops->send(p->echo, &packet, 1) == 1;
}

/* One packet; false: no room now, and it is offered again. */
static bool take(struct peer *p, const struct vio_net_packet *packet)
{
    p->seen++;
    if (p->die != 0 && p->seen == p->die)
        _exit(3);
    if (is_turn(p, p->drop) || over_limit(p))
        return true;
    if (is_turn(p, p->swap) && p->held_len == 0) {
        vio_net_packet_copy(packet, p->held);
        p->held_len = packet->len;
        return true;
    }
    vio_net_packet_copy(packet, p->changed);
    if (is_turn(p, p->corrupt) && packet->len > FLIPPED)
        p->changed[FLIPPED] ^= 1;
    if (!pass(p, p->changed, packet->len)) {
        p->seen--;
        return false;
    }
    if (p->held_len != 0 && pass(p, p->held, p->held_len))
        p->held_len = 0;
    if (is_turn(p, p->twice))
        (void)pass(p, p->changed, packet->len);
    return true;
}

static unsigned peer_send(struct vio_net_backend *b, const struct vio_net_packet *packet, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (!take((struct peer *)b, &packet[i]))
            return i;
    return n;
}

/* ------------------------------------------------------------------ the rest is the echo's */

static struct vio_net_backend *echo_of(struct vio_net_backend *b)
{
    return ((struct peer *)b)->echo;
}

static void peer_info(struct vio_net_backend *b, struct vio_net_info *info)
{
    echo_of(b)->ops->info(echo_of(b), info);
}

static void peer_destroy(struct vio_net_backend *b)
{
    vio_net_close(echo_of(b));
}

static int peer_start(struct vio_net_backend *b, const struct vio_net_sink *sink)
{
    ((struct peer *)b)->held_len = 0;
    return echo_of(b)->ops->start(echo_of(b), sink);
}

static void peer_stop(struct vio_net_backend *b)
{
    echo_of(b)->ops->stop(echo_of(b));
}

static unsigned peer_poll(struct vio_net_backend *b, unsigned budget)
{
    return echo_of(b)->ops->poll(echo_of(b), budget);
}

static int peer_fd(struct vio_net_backend *b)
{
    return echo_of(b)->ops->fd(echo_of(b));
}

static bool peer_arm(struct vio_net_backend *b, bool sleep, bool receive, bool blocked)
{
    return echo_of(b)->ops->arm(echo_of(b), sleep, receive, blocked);
}

static const struct vio_net_ops peer_ops = {
    .name = "peer", .info = peer_info, .destroy = peer_destroy, .start = peer_start, .stop = peer_stop, .send = peer_send,
    .poll = peer_poll, .fd = peer_fd, .arm = peer_arm,
};

static bool parse(struct peer *p, int argc, char **argv)
{
    const struct {
        const char *name;
        unsigned *to;
    } keys[] = { { "drop=", &p->drop }, { "corrupt=", &p->corrupt }, { "swap=", &p->swap }, { "twice=", &p->twice },
                 { "limit=", &p->limit }, { "die=", &p->die } };

    for (int i = 2; i < argc; i++) {
        unsigned k = 0;

        while (k < sizeof(keys) / sizeof(keys[0]) && strncmp(argv[i], keys[k].name, strlen(keys[k].name)) != 0)
            k++;
        if (k == sizeof(keys) / sizeof(keys[0]))
            return false;
        *keys[k].to = (unsigned)strtoul(argv[i] + strlen(keys[k].name), NULL, 10);
    }
    return argc >= 2;
}

int main(int argc, char **argv)
{
    struct peer peer = { .head = { &peer_ops }, .held = malloc(VIO_NET_FRAME_MAX), .changed = malloc(VIO_NET_FRAME_MAX) };
    struct vio_device_params device = { .name = "peer" };
    struct vio_net_params net = { .pairs = 1, .device = &device, .backend = &peer.head };
    struct vio_serve_params serve = { .path = argc > 1 ? argv[1] : "" };
    struct vio_device *dev = NULL;
    char why[256] = "net-peer SOCKET [drop=N] [corrupt=N] [swap=N] [twice=N] [limit=N] [die=N]";
    sigset_t stop;
    int error;

    if (!parse(&peer, argc, argv) || peer.held == NULL || peer.changed == NULL) {
        fprintf(stderr, "usage: %s\n", why);
        return 2;
    }
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    signal(SIGPIPE, SIG_IGN);
    serve.stop_fd = signalfd(-1, &stop, SFD_CLOEXEC);
    error = vio_net_echo_open(&peer.echo, why, sizeof(why));
    if (!error)
        error = vio_net_create(&net, &dev, why, sizeof(why));
    if (!error)
        error = vio_serve(dev, &serve, why, sizeof(why));
    if (error)
        fprintf(stderr, "net-peer: %s\n", why);
    vio_device_destroy(dev);
    free(peer.held);
    free(peer.changed);
    return error ? 1 : 0;
}
