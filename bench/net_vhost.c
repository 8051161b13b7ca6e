/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the peer of the network figures: DPDK's own device side of vhost-user (net_vhost), doing what vio is asked
 * to do beside it. Where it sits: bench/; it knows nothing of vio. Threads: one that moves frames, pinned, which never
 * sleeps but with --sleep; DPDK has others for the sockets.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common.h"
#include "net_common.h"

static const char usage[] =
    "usage: vio-bench-net-vhost --socket=PATH [--socket=PATH2] --mode=MODE [OPTIONS]   until SIGTERM; then prints one\n"
    "line of JSON: its rounds from the first with a frame to the last, and those of them that moved none\n"
    "  --mode=drop          takes frames, each copied out, and drops them\n"
    "  --mode=send          gives frames of --size=BYTES (64) with a running number\n"
    "  --mode=forward       between two sockets, both ways\n"
    "  --mode=echo          sends back what it takes\n"
    "  --sleep              echo: sleeps until the driver kicks, in place of polling\n"
    "  --no-huge            small pages\n"
    "  --cpu=N              pins us (1)\n";

struct peer {
    struct rte_mempool *pool;
    uint16_t size;
    uint64_t number;
    uint64_t rounds, empty, idle; /* idle: empty ones since the last frame */
};

static volatile sig_atomic_t ended;

static void end(int signal_number)
{
    (void)signal_number;
    ended = 1;
}

static unsigned drop(struct peer *p)
{
    struct rte_mbuf *m[NET_BURST];
    unsigned n = rte_eth_rx_burst(0, 0, m, NET_BURST);

    (void)p;
    rte_pktmbuf_free_bulk(m, n);
    return n;
}

/* What the driver has no room for keeps its number: nothing is lost on the way. */
static unsigned send_frames(struct peer *p)
{
    struct rte_mbuf *m[NET_BURST];
    unsigned n = net_take(p->pool, m, NET_BURST, p->size), sent;

    for (unsigned i = 0; i < n; i++)
        net_number_set(m[i], p->number + i);
    sent = rte_eth_tx_burst(0, 0, m, (uint16_t)n);
    p->number += sent;
    rte_pktmbuf_free_bulk(m + sent, n - sent);
    return sent;
}

static unsigned move(uint16_t from, uint16_t to)
{
    struct rte_mbuf *m[NET_BURST];
    unsigned n = rte_eth_rx_burst(from, 0, m, NET_BURST);
    unsigned sent = n ? rte_eth_tx_burst(to, 0, m, (uint16_t)n) : 0;

    rte_pktmbuf_free_bulk(m + sent, n - sent);
    return n;
}

static unsigned forward(struct peer *p)
{
    unsigned n = move(0, 1);

    (void)p;
    return n + move(1, 0);
}

static unsigned echo(struct peer *p)
{
    (void)p;
    return move(0, 0);
}

/* One turn of what the mode is, counted: rounds before the first frame and after the last say nothing. */
static unsigned turn(struct peer *p, unsigned (*of_mode)(struct peer *p))
{
    unsigned n = of_mode(p);

    if (n == 0) {
        p->idle += p->rounds > 0;
        return 0;
    }
    p->rounds += p->idle + 1;
    p->empty += p->idle;
    p->idle = 0;
    return n;
}

static void sleep_once(struct peer *p, unsigned (*of_mode)(struct peer *p))
{
    net_port_arm(0);
    if (turn(p, of_mode) == 0 && !ended)
        net_port_wait();
    net_port_disarm(0);
}

static const struct {
    const char *name;
    unsigned sockets;
    unsigned (*turn)(struct peer *p);
} modes[] = { { "drop", 1, drop }, { "send", 1, send_frames }, { "forward", 2, forward }, { "echo", 1, echo } };

enum { O_SOCKET = 1, O_MODE, O_SIZE, O_NO_HUGE, O_CPU, O_SLEEP };

static const struct option long_options[] = {
    { "socket", required_argument, NULL, O_SOCKET },
    { "mode", required_argument, NULL, O_MODE },
    { "size", required_argument, NULL, O_SIZE },
    { "no-huge", no_argument, NULL, O_NO_HUGE },
    { "cpu", required_argument, NULL, O_CPU },
    { "sleep", no_argument, NULL, O_SLEEP },
    { 0 },
};

struct options {
    char vdev[2][256];
    unsigned sockets, mode;
    uint16_t size;
    bool huge, sleep;
    int cpu;
};

static void add_socket(struct options *o)
{
    if (o->sockets == 2)
        bench_die("--socket: two at most");
    if (snprintf(o->vdev[o->sockets], sizeof(o->vdev[0]), "net_vhost%u,iface=%s,queues=1,client=0", o->sockets,
                 optarg) >= (int)sizeof(o->vdev[0]))
        bench_die("%s: too long for a socket", optarg);
    o->sockets++;
}

static void set_option(struct options *o, int option)
{
    switch (option) {
    case O_SOCKET: add_socket(o); break;
    case O_MODE:
        for (o->mode = 0; o->mode < RTE_DIM(modes) && strcmp(modes[o->mode].name, optarg) != 0;)
            o->mode++;
        break;
    case O_SIZE: o->size = (uint16_t)net_range("--size", optarg, NET_SIZE_MIN, NET_SIZE_MAX); break;
    case O_NO_HUGE: o->huge = false; break;
    case O_SLEEP: o->sleep = true; break;
    case O_CPU: o->cpu = (int)net_range("--cpu", optarg, 0, 1023); break;
    default: o->mode = RTE_DIM(modes);
    }
}

int main(int argc, char **argv)
{
    struct options o = { .mode = RTE_DIM(modes), .size = 64, .huge = true, .cpu = 1 };
    const char *vdevs[3] = { NULL };
    struct net_frame f;
    struct peer p = { 0 };
    int option;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) >= 0)
        set_option(&o, option);
    if (o.mode == RTE_DIM(modes) || optind != argc || o.sockets != modes[o.mode].sockets ||
        (o.sleep && modes[o.mode].turn != echo)) {
        fputs(usage, stderr);
        return 2;
    }
    for (unsigned i = 0; i < o.sockets; i++)
        vdevs[i] = o.vdev[i];
    net_start("vio-bench-net-vhost", o.cpu, o.huge, vdevs);
    if (rte_eth_dev_count_avail() != o.sockets)
        bench_die("DPDK made no port of a socket");
    p.pool = net_pool();
    p.size = o.size;
    net_frame_make(&f, o.size, 2, 1);
    net_pool_fill(p.pool, &f);
    for (uint16_t port = 0; port < o.sockets; port++)
        net_port_start(port, p.pool, 1024, o.sleep);
    signal(SIGTERM, end);
    signal(SIGINT, end);
    while (!ended)
        for (unsigned i = 0; i < 1024 && !ended; i++)
            if (turn(&p, modes[o.mode].turn) == 0 && o.sleep)
                sleep_once(&p, modes[o.mode].turn);
    printf("{\"rounds\": %" PRIu64 ", \"empty\": %" PRIu64 "}\n", p.rounds, p.empty);
    for (uint16_t port = 0; port < o.sockets; port++) {
        rte_eth_dev_stop(port);
        rte_eth_dev_close(port); /* removes the socket */
    }
    return 0;
}
