/* SPDX-License-Identifier: MIT */
/*
 * Purpose: loads a network device behind a vhost-user socket with DPDK's own driver (virtio-user), and says how fast
 * it is as one line of JSON. Where it sits: bench/; it knows DPDK and nothing of vio: any device is loaded alike.
 * Threads: one, pinned; it never sleeps, but with --rate or --window it yields where it has to wait, unless --peer-cpu says that the
 * device has a CPU of its own.
 */
#include <getopt.h>
#include <rte_cycles.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common.h"
#include "net_common.h"

enum { PATIENCE = 20 }; /* seconds without a frame, where one has to come */

static const char usage[] =
    "usage: vio-bench-net --socket=PATH [--socket=PATH2] --mode=MODE [OPTIONS]      prints one line of JSON\n"
    "  --mode=tx            sends as fast as the device takes\n"
    "  --mode=rx            receives as fast as the device gives\n"
    "  --mode=pass          sends to the first socket, receives from the second, or from the first if it is alone\n"
    "  --mode=ping          one frame at a time, which the device sends back: latency\n"
    "  --rate=PPS           so many frames a second at most, sent or (rx) received; a delay is not made up for\n"
    "  --window=N           pass: at most N frames under way, and at the end waits for the last: what is not there\n"
    "                       after 20 s without a frame is \"missing\"\n"
    "  --hold               keeps the ports after the line is printed, until standard input ends\n"
    "  --mark               a line \"begin\" when it begins to measure, a line \"end\" after that\n"
    "  --sleep              ping: sleeps until it is interrupted, in place of polling\n"
    "  --size=BYTES         of the frames that it sends (64)\n"
    "  --check              reads what it receives: order and loss by the running number\n"
    "  --packed             packed queue; --in-order: IN_ORDER; --mrg-rxbuf: MRG_RXBUF\n"
    "  --vectorized         DPDK's vectorized driver, where it has one for the rest\n"
    "  --queue-size=N       entries of each queue (256)\n"
    "  --seconds=S          how long to measure (1), after --warmup=S (0.2)\n"
    "  --no-huge            small pages\n"
    "  --cpu=N --peer-cpu=N pins us; measures the distance to the device's CPU before and after\n";

enum mode { MODE_TX, MODE_RX, MODE_PASS, MODE_PING, MODE_COUNT };
static const char *const mode_names[] = { "tx", "rx", "pass", "ping" };

struct options {
    const char *socket[2];
    unsigned sockets;
    enum mode mode;
    uint16_t size, queue_size;
    unsigned rate, window; /* 0: no limit */
    bool check, packed, in_order, mrg_rxbuf, vectorized, huge, hold, mark, sleep;
    double seconds, warmup;
    int cpu, peer_cpu;
};

/*
 * What was seen: `expected` is the running number that comes next. Of the bursts that were sent, `blocked` were not taken
 * in full, of those that were asked for, `empty` brought nothing: where there are none, the device waits for us.
 */
struct seen {
    uint64_t sent, received, bytes, lost, disordered, foreign, expected;
    uint64_t offers, blocked, asks, empty;
    bool begun;
};

struct run {
    const struct options *o;
    struct rte_mempool *pool;
    uint16_t out, in;       /* ports */
    struct rte_mbuf *waiting[NET_BURST]; /* taken from the pool, not yet taken by the device */
    unsigned nr_waiting;
    uint64_t number;
    uint64_t sent;     /* since the start: seen.sent begins anew after the warm-up */
    uint64_t next;     /* when the next burst may go, with --rate */
    uint64_t heard;    /* when a frame came last */
    struct seen seen;
    uint64_t *latency;
    size_t nr_latency, latency_room;
};

static void note(struct seen *s, const struct rte_mbuf *m)
{
    uint64_t number;

    if (!net_number(m, &number)) {
        s->foreign++;
        return;
    }
    if (s->begun && number < s->expected) {
        s->disordered++;
        return;
    }
    if (s->begun)
        s->lost += number - s->expected;
    s->begun = true;
    s->expected = number + 1;
}

static void receive(struct run *r)
{
    struct rte_mbuf *m[NET_BURST];
    unsigned n = rte_eth_rx_burst(r->in, 0, m, NET_BURST);

    for (unsigned i = 0; i < n; i++)
        r->seen.bytes += m[i]->pkt_len;
    if (r->o->check || r->o->window > 0)
        for (unsigned i = 0; i < n; i++)
            note(&r->seen, m[i]);
    r->seen.asks++;
    r->seen.empty += n == 0;
    if (n > 0)
        r->heard = rte_rdtsc();
    rte_pktmbuf_free_bulk(m, n);
    r->seen.received += n;
}

static void transmit(struct run *r, unsigned burst)
{
    unsigned n;

    if (r->nr_waiting == 0) {
        r->nr_waiting = net_take(r->pool, r->waiting, burst, r->o->size);
        if (r->o->mode == MODE_PASS)
            for (unsigned i = 0; i < r->nr_waiting; i++)
                net_number_set(r->waiting[i], r->number++);
    }
    n = rte_eth_tx_burst(r->out, 0, r->waiting, (uint16_t)r->nr_waiting);
    r->seen.offers++;
    r->seen.blocked += n < r->nr_waiting;
    r->nr_waiting -= n;
    memmove(r->waiting, r->waiting + n, r->nr_waiting * sizeof(r->waiting[0]));
    r->seen.sent += n;
    r->sent += n;
}

/* Frames that were numbered and did not come yet, the lost ones before the last that came apart. */
static uint64_t under_way(const struct run *r)
{
    return r->number - r->nr_waiting - r->seen.expected;
}

/* Whether a burst may move now. A delay is not made up for: that would be a burst faster than the rate. */
static bool may_move(struct run *r, uint64_t now)
{
    if (r->o->window > 0 && under_way(r) + NET_BURST > r->o->window)
        return false;
    if (r->o->rate == 0)
        return true;
    if (now < r->next)
        return false;
    r->next = now + rte_get_tsc_hz() * NET_BURST / r->o->rate;
    return true;
}

/* One turn of what the mode is. */
static void turn(struct run *r)
{
    bool limited = r->o->rate > 0 || r->o->window > 0;
    bool move = !limited || may_move(r, rte_rdtsc());

    if (r->o->mode != MODE_RX && (move || r->nr_waiting > 0))
        transmit(r, NET_BURST);
    if (r->o->mode == MODE_PASS || (r->o->mode == MODE_RX && move))
        receive(r);
    if (!move && r->o->peer_cpu < 0)
        sched_yield();
}

static void ping(struct run *r)
{
    uint64_t begun = rte_rdtsc(), had = r->seen.received, limit = begun + rte_get_tsc_hz();

    if (r->o->sleep)
        net_port_arm(r->in);
    transmit(r, 1);
    while (r->seen.received == had) {
        receive(r);
        if (r->o->sleep && r->seen.received == had)
            net_port_wait();
        if (rte_rdtsc() > limit)
            bench_die("the device did not send back a frame for 1 s");
    }
    if (r->nr_latency < r->latency_room)
        r->latency[r->nr_latency++] = rte_rdtsc() - begun;
}

/* How many cycles it took. */
static uint64_t run(struct run *r, double seconds)
{
    uint64_t begun = rte_rdtsc(), now = begun, span = (uint64_t)(seconds * (double)rte_get_tsc_hz());

    while (now - begun < span) {
        for (unsigned i = 0; i < 64; i++) {
            if (r->o->mode == MODE_PING)
                ping(r);
            else
                turn(r);
        }
        now = rte_rdtsc();
    }
    return now - begun;
}

/* Frames that the second port sends first, so that a switch knows where its address is. */
static void introduce(struct run *r)
{
    struct net_frame f;
    struct rte_mbuf *m = rte_pktmbuf_alloc(r->pool);

    if (m == NULL)
        bench_die("no buffer");
    net_frame_make(&f, NET_SIZE_MIN, 2, 1);
    memcpy(rte_pktmbuf_append(m, f.size), f.bytes, f.size);
    if (rte_eth_tx_burst(r->in, 0, &m, 1) != 1)
        bench_die("%s does not take a frame", r->o->socket[1]);
}

/* The last frames that are under way. Nothing but a loss ends it early: the machine may be as slow as it likes. */
static void settle(struct run *r)
{
    r->heard = rte_rdtsc();
    while (under_way(r) > 0 && rte_rdtsc() - r->heard < PATIENCE * rte_get_tsc_hz()) {
        if (r->nr_waiting > 0)
            transmit(r, r->nr_waiting);
        receive(r);
        sched_yield();
    }
}

/*
 * The first frames one at a time: those that come before the device is ready are lost, and all that are sent after the
 * first that comes back are not.
 */
static void wait_for_window(struct run *r)
{
    uint64_t begun = rte_rdtsc(), hz = rte_get_tsc_hz(), again = begun, pause = hz / 100;

    while (!r->seen.begun) {
        if (rte_rdtsc() >= again) {
            transmit(r, 1);
            again = rte_rdtsc() + pause;
            pause *= 2;
        }
        receive(r);
        sched_yield();
        if (rte_rdtsc() - begun > PATIENCE * hz)
            bench_die("%s: no frame went through for %d s", r->o->socket[0], PATIENCE);
    }
    settle(r);
}

/* Until something went through: a device may need a moment after it has been started. */
static void wait_for_traffic(struct run *r)
{
    uint64_t limit = rte_rdtsc() + PATIENCE * rte_get_tsc_hz();

    while (r->seen.sent < 4 * r->o->queue_size && r->seen.received == 0) {
        if (r->o->mode != MODE_RX)
            transmit(r, NET_BURST);
        if (r->o->mode != MODE_TX)
            receive(r);
        if (rte_rdtsc() > limit)
            bench_die("%s: no frame went through for %d s", r->o->socket[0], PATIENCE);
    }
}

/* All that is on its way back is taken, so that a ping waits for its own frame. */
static void drain(struct run *r)
{
    uint64_t limit = rte_rdtsc() + rte_get_tsc_hz() / 10;

    while (rte_rdtsc() < limit)
        receive(r);
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static double percentile_ns(const struct run *r, double part)
{
    size_t at = (size_t)((double)r->nr_latency * part);

    return (double)r->latency[at < r->nr_latency ? at : r->nr_latency - 1] * 1e9 / (double)rte_get_tsc_hz();
}

static void print(struct run *r, uint64_t cycles)
{
    const struct options *o = r->o;
    const struct seen *s = &r->seen;
    uint64_t packets = o->mode == MODE_TX ? s->sent : s->received;
    double seconds = (double)cycles / (double)rte_get_tsc_hz();

    printf("{\"mode\": \"%s\", \"mps\": %.4f, \"seconds\": %.4f, \"cycles_per_packet\": %.1f", mode_names[o->mode],
           (double)packets / seconds / 1e6, seconds, packets ? (double)cycles / (double)packets : 0);
    printf(", \"sent\": %" PRIu64 ", \"received\": %" PRIu64 ", \"mean_bytes\": %.1f", s->sent, s->received,
           o->mode == MODE_TX ? (double)o->size : s->received ? (double)s->bytes / (double)s->received : 0);
    printf(", \"all_sent\": %" PRIu64 ", \"offers\": %" PRIu64 ", \"blocked\": %" PRIu64 ", \"asks\": %" PRIu64
           ", \"empty\": %" PRIu64, r->sent, s->offers, s->blocked, s->asks, s->empty);
    if (o->window > 0)
        printf(", \"missing\": %" PRIu64, under_way(r));
    if (o->check)
        printf(", \"lost\": %" PRIu64 ", \"disordered\": %" PRIu64 ", \"foreign\": %" PRIu64, s->lost, s->disordered,
               s->foreign);
    if (o->mode == MODE_PING && r->nr_latency > 0) {
        qsort(r->latency, r->nr_latency, sizeof(r->latency[0]), compare_u64);
        printf(", \"p50_ns\": %.0f, \"p99_ns\": %.0f", percentile_ns(r, 0.5), percentile_ns(r, 0.99));
    }
    printf(", \"format\": \"%s\", \"in_order\": %s, \"mrg_rxbuf\": %s, \"queue_size\": %u, \"size\": %u, \"huge\": %s",
           o->packed ? "packed" : "split", o->in_order ? "true" : "false", o->mrg_rxbuf ? "true" : "false",
           o->queue_size, o->size, o->huge ? "true" : "false");
}

enum { O_SOCKET = 1, O_MODE, O_SIZE, O_CHECK, O_PACKED, O_IN_ORDER, O_MRG_RXBUF, O_VECTORIZED, O_QUEUE_SIZE, O_SECONDS,
       O_WARMUP, O_NO_HUGE, O_CPU, O_PEER_CPU, O_RATE, O_WINDOW, O_HOLD, O_MARK, O_SLEEP };

static const struct option long_options[] = {
    { "socket", required_argument, NULL, O_SOCKET },
    { "mode", required_argument, NULL, O_MODE },
    { "size", required_argument, NULL, O_SIZE },
    { "check", no_argument, NULL, O_CHECK },
    { "packed", no_argument, NULL, O_PACKED },
    { "in-order", no_argument, NULL, O_IN_ORDER },
    { "mrg-rxbuf", no_argument, NULL, O_MRG_RXBUF },
    { "vectorized", no_argument, NULL, O_VECTORIZED },
    { "queue-size", required_argument, NULL, O_QUEUE_SIZE },
    { "seconds", required_argument, NULL, O_SECONDS },
    { "warmup", required_argument, NULL, O_WARMUP },
    { "no-huge", no_argument, NULL, O_NO_HUGE },
    { "cpu", required_argument, NULL, O_CPU },
    { "peer-cpu", required_argument, NULL, O_PEER_CPU },
    { "rate", required_argument, NULL, O_RATE },
    { "window", required_argument, NULL, O_WINDOW },
    { "hold", no_argument, NULL, O_HOLD },
    { "mark", no_argument, NULL, O_MARK },
    { "sleep", no_argument, NULL, O_SLEEP },
    { 0 },
};

static enum mode mode_of(const char *text)
{
    for (unsigned m = 0; m < MODE_COUNT; m++)
        if (strcmp(text, mode_names[m]) == 0)
            return (enum mode)m;
    bench_die("--mode=%s: tx, rx, pass or ping", text);
}

static void set_option(struct options *o, int option)
{
    switch (option) {
    case O_SOCKET:
        if (o->sockets == 2)
            bench_die("--socket: two at most");
        o->socket[o->sockets++] = optarg;
        break;
    case O_MODE: o->mode = mode_of(optarg); break;
    case O_SIZE: o->size = (uint16_t)net_range("--size", optarg, NET_SIZE_MIN, NET_SIZE_MAX); break;
    case O_CHECK: o->check = true; break;
    case O_PACKED: o->packed = true; break;
    case O_IN_ORDER: o->in_order = true; break;
    case O_MRG_RXBUF: o->mrg_rxbuf = true; break;
    case O_VECTORIZED: o->vectorized = true; break;
    case O_QUEUE_SIZE: o->queue_size = (uint16_t)net_range("--queue-size", optarg, 64, 4096); break;
    case O_SECONDS: o->seconds = atof(optarg); break;
    case O_WARMUP: o->warmup = atof(optarg); break;
    case O_NO_HUGE: o->huge = false; break;
    case O_CPU: o->cpu = (int)net_range("--cpu", optarg, 0, 1023); break;
    case O_PEER_CPU: o->peer_cpu = (int)net_range("--peer-cpu", optarg, 0, 1023); break;
    case O_RATE: o->rate = net_range("--rate", optarg, 1, 1000000000); break;
    case O_WINDOW: o->window = net_range("--window", optarg, NET_BURST, 4096); break;
    case O_HOLD: o->hold = true; break;
    case O_MARK: o->mark = true; break;
    case O_SLEEP: o->sleep = true; break;
    default: fputs(usage, stderr); exit(2);
    }
}

static void stop_ports(const struct options *o)
{
    for (uint16_t port = 0; port < o->sockets; port++)
        rte_eth_dev_stop(port);
}

/* Whoever started us looks at the device's counters. */
static void mark(const struct options *o, const char *what)
{
    if (!o->mark)
        return;
    printf("%s\n", what);
    fflush(stdout);
}

/* Whoever started us looks at the device meanwhile: what was sent last may still lie in the queue. */
static void hold(void)
{
    fflush(stdout);
    while (getchar() != EOF)
        ;
}

static void parse(struct options *o, int argc, char **argv)
{
    int option;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) >= 0)
        set_option(o, option);
    if (o->mode == MODE_COUNT || optind != argc || o->sockets == 0 || (o->sockets == 2 && o->mode != MODE_PASS) ||
        (o->window > 0 && o->mode != MODE_PASS) || (o->sleep && o->mode != MODE_PING)) {
        fputs(usage, stderr);
        exit(2);
    }
}

static void start(struct run *r)
{
    const struct options *o = r->o;
    char vdev[2][256];
    const char *vdevs[3] = { NULL };
    struct net_frame f;

    for (unsigned i = 0; i < o->sockets; i++) {
        if (snprintf(vdev[i], sizeof(vdev[i]),
                     "net_virtio_user%u,path=%s,queues=1,queue_size=%u,packed_vq=%d,in_order=%d,mrg_rxbuf=%d,"
                     "vectorized=%d,mac=02:00:00:00:00:%02x",
                     i, o->socket[i], o->queue_size, o->packed, o->in_order, o->mrg_rxbuf, o->vectorized, i + 1) >=
            (int)sizeof(vdev[i]))
            bench_die("%s: too long for a socket", o->socket[i]);
        vdevs[i] = vdev[i];
    }
    net_start("vio-bench-net", o->cpu, o->huge, vdevs);
    if (rte_eth_dev_count_avail() != o->sockets)
        bench_die("%s: DPDK made no port of it", o->socket[0]);
    r->pool = net_pool();
    net_frame_make(&f, o->size, 1, 2);
    net_pool_fill(r->pool, &f);
    for (unsigned i = 0; i < o->sockets; i++)
        net_port_start((uint16_t)i, r->pool, o->queue_size, o->sleep);
    r->in = (uint16_t)(o->sockets - 1);
}

int main(int argc, char **argv)
{
    struct options o = {
        .mode = MODE_COUNT, .size = 64, .queue_size = 256, .huge = true, .seconds = 1, .warmup = 0.2, .cpu = -1,
        .peer_cpu = -1,
    };
    struct run r = { .o = &o, .latency_room = 1 << 20 };
    double before = 0;
    uint64_t cycles;

    parse(&o, argc, argv);
    if (o.cpu >= 0 && o.peer_cpu >= 0)
        before = bench_line_ns(o.cpu, o.peer_cpu);
    if (o.cpu < 0)
        o.cpu = 0;
    r.latency = calloc(r.latency_room, sizeof(r.latency[0]));
    if (r.latency == NULL)
        bench_die("no memory");
    start(&r);
    if (o.sockets == 2)
        introduce(&r);
    if (o.window > 0)
        wait_for_window(&r);
    else
        wait_for_traffic(&r);
    if (o.mode == MODE_PING)
        drain(&r);
    run(&r, o.warmup);
    r.seen = (struct seen){ .begun = r.seen.begun, .expected = r.seen.expected };
    r.nr_latency = 0;
    mark(&o, "begin");
    cycles = run(&r, o.seconds);
    mark(&o, "end");
    if (o.window > 0)
        settle(&r);
    print(&r, cycles);
    if (!o.hold)
        stop_ports(&o); /* a device that polls would disturb the measurement */
    if (o.peer_cpu >= 0)
        printf(", \"line_ns_before\": %.1f, \"line_ns_after\": %.1f", before, bench_line_ns(o.cpu, o.peer_cpu));
    printf("}\n");
    if (o.hold) {
        hold();
        stop_ports(&o);
    }
    return 0;
}
