/* SPDX-License-Identifier: MIT */
/*
 * Purpose: loads a network device behind a vhost-user socket with vio's own driver, as vio-bench-net does with DPDK's, and says
 * how fast it is as one line of JSON. Where it sits: bench/, over the public driver side; it knows nothing of the device.
 * Threads: one, pinned; it never sleeps.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vio/drv_net.h>
#include <vio/vhost_user_driver.h>
#include "common.h"
#include "spec/net.h"
#include "spec/virtio.h"

static const char usage[] =
    "usage: vio-bench-net-driver --socket=PATH --mode=MODE [OPTIONS]      prints one line of JSON\n"
    "  --mode=tx            sends as fast as the device takes\n"
    "  --mode=rx            receives as fast as the device gives\n"
    "  --mode=pass          sends, and receives what the device sends back, --window=N (128) frames under way\n"
    "  --mode=ping          one frame at a time, which the device sends back: latency\n"
    "  --size=BYTES         of the frames that it sends (64)\n"
    "  --check              reads what it receives: order and loss by the running number\n"
    "  --packed             packed queue; --in-order: IN_ORDER; --mrg-rxbuf: MRG_RXBUF; --event-idx: EVENT_IDX\n"
    "  --queue-size=N       entries of each queue (256)\n"
    "  --seconds=S          how long to measure (1), after --warmup=S (0.2)\n"
    "  --no-huge            small pages\n"
    "  --cpu=N --peer-cpu=N pins us; measures the distance to the device's CPU before and after\n";

enum { BURST = 32, BUFFERS = 1536, ROOM = 2048, NUMBER = 42, PATIENCE = 20, LATENCIES = 1 << 20 };

enum mode { MODE_TX, MODE_RX, MODE_PASS, MODE_PING, MODE_COUNT };
static const char *const mode_names[] = { "tx", "rx", "pass", "ping" };

struct options {
    const char *socket;
    enum mode mode;
    struct vio_features features;
    uint32_t size;
    uint16_t queue_size;
    unsigned window;
    bool check, no_huge;
    double seconds, warmup;
    int cpu, peer_cpu;
};

struct run {
    const struct options *o;
    struct vio_arena *arena;
    struct vio_bus *bus;
    struct vio_drvdev *d;
    struct vio_drv_net_driver driver;
    struct vio_drv_net *n;
    struct vio_net_pool *tx_pool, *rx_pool;
    uint64_t number, all_sent, all_received;
    uint64_t sent, received, bytes, lost, disordered, foreign, expected;
    uint64_t offers, blocked, asks, empty; /* bursts to send and those not taken in full, to receive and those with nothing */
    bool begun;
    uint32_t *latency;
    unsigned nr_latency;
};

/* UDP over IPv4 from the first address to the second, without a UDP checksum: as vio-bench-net's. */
static void make_frame(uint8_t *f, uint32_t size)
{
    static const uint8_t head[NUMBER] = {
        2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0, 9, 0, 9,
    };
    uint32_t sum = 0;

    memset(f, 0, size);
    memcpy(f, head, sizeof(head));
    f[16] = (uint8_t)((size - 14) >> 8);
    f[17] = (uint8_t)(size - 14);
    f[38] = (uint8_t)((size - 34) >> 8);
    f[39] = (uint8_t)(size - 34);
    for (unsigned i = 14; i < 34; i += 2)
        sum += (uint32_t)f[i] << 8 | f[i + 1];
    sum = ~((sum & 0xffff) + (sum >> 16));
    f[24] = (uint8_t)(sum >> 8);
    f[25] = (uint8_t)sum;
}

/* Every buffer has its frame already. */
static void fill_pool(struct run *r)
{
    struct vio_net_buf *b;

    for (uint32_t i = 0; (b = vio_net_pool_at(r->tx_pool, i)) != NULL; i++) {
        b->len = r->o->size;
        make_frame(vio_net_buf_data(b), r->o->size);
    }
}

static void note(struct run *r, const struct vio_net_buf *b)
{
    const uint8_t *f = vio_net_buf_data(b);
    uint64_t number, swapped;

    if (b->pieces == 0 || b->len < NUMBER + sizeof(number) || f[12] != 8 || f[13] != 0 || f[23] != 17) {
        r->foreign++;
        return;
    }
    memcpy(&number, f + NUMBER, sizeof(number));
    swapped = __builtin_bswap64(number); /* a sender may write it in either order: small in one of them only */
    number = swapped < number ? swapped : number;
    if (r->begun && number < r->expected) {
        r->disordered++;
        return;
    }
    if (r->begun)
        r->lost += number - r->expected;
    r->begun = true;
    r->expected = number + 1;
}

static void refill(struct run *r)
{
    struct vio_net_buf *bufs[BURST];

    while (vio_drv_net_give_room(r->n, 0) >= BURST && vio_net_pool_take(r->rx_pool, bufs, BURST)) {
        unsigned given = vio_drv_net_give(r->n, 0, bufs, BURST);

        vio_net_pool_give(r->rx_pool, bufs + given, BURST - given);
        if (given < BURST)
            bench_die("%s: the queue takes no buffers", r->o->socket);
    }
}

static unsigned receive(struct run *r)
{
    struct vio_net_buf *got[BURST];
    unsigned n = vio_drv_net_receive(r->n, 0, got, BURST);

    for (unsigned i = 0; i < n; i++)
        r->bytes += got[i]->len;
    if (r->o->check || r->o->mode == MODE_PASS) /* as vio-bench-net does with a window */
        for (unsigned i = 0; i < n; i++)
            note(r, got[i]);
    vio_net_pool_give(r->rx_pool, got, n);
    r->asks++;
    r->empty += n == 0;
    r->received += n;
    r->all_received += n;
    refill(r);
    return n;
}

static void transmit(struct run *r, unsigned burst)
{
    struct vio_net_buf *bufs[256];
    unsigned n;

    if (vio_drv_net_send_room(r->n, 0) < BURST) {
        n = vio_drv_net_send_done(r->n, 0, bufs, 256);
        vio_net_pool_give(r->tx_pool, bufs, n);
    }
    r->offers++;
    if (!vio_net_pool_take(r->tx_pool, bufs, burst)) {
        r->blocked++;
        return;
    }
    if (r->o->mode >= MODE_PASS)
        for (unsigned i = 0; i < burst; i++, r->number++)
            memcpy(vio_net_buf_data(bufs[i]) + NUMBER, &r->number, sizeof(r->number));
    n = vio_drv_net_send(r->n, 0, bufs, burst);
    vio_net_pool_give(r->tx_pool, bufs + n, burst - n);
    if (r->o->mode >= MODE_PASS)
        r->number -= burst - n;
    r->blocked += n < burst;
    r->sent += n;
    r->all_sent += n;
}

static void sound(struct run *r)
{
    if (vio_drv_net_fault(r->n, 0) != VIO_FAULT_NONE)
        bench_die("%s: %s", r->o->socket, vio_fault_text(vio_drv_net_fault(r->n, 0)));
}

static void ping(struct run *r)
{
    uint64_t begun = bench_now_ns(), took = 0;

    transmit(r, 1);
    while (receive(r) == 0) {
        took = bench_now_ns() - begun;
        if (took > UINT64_C(1000000000))
            bench_die("the device did not send back a frame for 1 s");
    }
    took = bench_now_ns() - begun;
    if (r->nr_latency < LATENCIES)
        r->latency[r->nr_latency++] = (uint32_t)took;
}

static void turn(struct run *r)
{
    if (r->o->mode == MODE_PING) {
        ping(r);
        return;
    }
    if (r->o->mode == MODE_TX || (r->o->mode == MODE_PASS && r->all_sent - r->all_received + BURST <= r->o->window))
        transmit(r, BURST);
    if (r->o->mode != MODE_TX)
        (void)receive(r);
}

static uint64_t run(struct run *r, double seconds)
{
    uint64_t begun = bench_now_ns(), now = begun;

    while ((double)(now - begun) < seconds * 1e9) {
        for (unsigned i = 0; i < 64; i++)
            turn(r);
        sound(r);
        now = bench_now_ns();
    }
    return now - begun;
}

/* Until something went through: a device may need a moment after it has been started. */
static void wait_for_traffic(struct run *r)
{
    uint64_t limit = bench_now_ns() + PATIENCE * UINT64_C(1000000000), again = 0;

    while (r->sent < 4u * r->o->queue_size && r->received == 0) {
        if (r->o->mode == MODE_TX)
            transmit(r, BURST);
        else if (r->o->mode != MODE_RX && bench_now_ns() > again) {
            transmit(r, 1); /* those that come before the device is ready are lost */
            again = bench_now_ns() + 10000000;
        }
        if (r->o->mode != MODE_TX)
            (void)receive(r);
        sound(r);
        if (bench_now_ns() > limit)
            bench_die("%s: no frame went through for %d s", r->o->socket, PATIENCE);
    }
    for (uint64_t heard = bench_now_ns(); r->o->mode >= MODE_PASS && bench_now_ns() - heard < 10000000;)
        if (receive(r) > 0)
            heard = bench_now_ns();
    r->all_sent = r->all_received = 0;
}

/* What is under way comes back, or is missing after a second without a frame. */
static uint64_t settle(struct run *r)
{
    uint64_t heard = bench_now_ns();

    while (r->all_received < r->all_sent && bench_now_ns() - heard < UINT64_C(1000000000))
        if (receive(r) > 0)
            heard = bench_now_ns();
    return r->all_sent - r->all_received;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void print(struct run *r, uint64_t ns)
{
    const struct options *o = r->o;
    struct vio_features f = vio_drvdev_features(r->d);
    uint64_t packets = o->mode == MODE_TX ? r->sent : r->received;
    struct vio_drv_net_counters c = vio_drv_net_counters(r->n, 0);

    printf("{\"mode\": \"%s\", \"mps\": %.4f, \"seconds\": %.4f, \"sent\": %" PRIu64 ", \"received\": %" PRIu64, mode_names[o->mode],
           (double)packets * 1e3 / (double)ns, (double)ns / 1e9, r->sent, r->received);
    printf(", \"mean_bytes\": %.1f", o->mode == MODE_TX ? (double)o->size :
                                     r->received > 0 ? (double)r->bytes / (double)r->received : 0.0);
    printf(", \"offers\": %" PRIu64 ", \"blocked\": %" PRIu64 ", \"asks\": %" PRIu64 ", \"empty\": %" PRIu64, r->offers, r->blocked,
           r->asks, r->empty);
    if (o->mode == MODE_PASS)
        printf(", \"missing\": %" PRIu64, settle(r));
    if (o->check)
        printf(", \"lost\": %" PRIu64 ", \"disordered\": %" PRIu64 ", \"foreign\": %" PRIu64, r->lost, r->disordered, r->foreign);
    printf(", \"bad\": %" PRIu64, c.short_ + c.count + c.header);
    if (o->mode == MODE_PING && r->nr_latency > 0) {
        qsort(r->latency, r->nr_latency, sizeof(r->latency[0]), compare);
        printf(", \"p50_ns\": %u, \"p99_ns\": %u", r->latency[r->nr_latency / 2], r->latency[(size_t)r->nr_latency * 99 / 100]);
    }
    printf(", \"format\": \"%s\", \"in_order\": %s, \"mrg_rxbuf\": %s, \"queue_size\": %u, \"size\": %u, \"huge\": %s",
           vio_features_has(f, VIRTIO_F_RING_PACKED) ? "packed" : "split",
           vio_features_has(f, VIRTIO_F_IN_ORDER) ? "true" : "false",
           vio_features_has(f, VIRTIO_NET_F_MRG_RXBUF) ? "true" : "false", vio_drvdev_queue_size(r->d, 0), o->size,
           vio_arena_region(r->arena).huge ? "true" : "false");
}

static void start(struct run *r)
{
    const struct options *o = r->o;
    struct vio_arena_params memory = { .size = 16 << 20, .small_pages = o->no_huge, .populate = true };
    struct vio_drv_net_params wanted = { .queue_size = o->queue_size };
    struct vio_vud_params params = { .path = o->socket, .fd = -1, .type = VIRTIO_ID_NET };
    struct vio_transport *t;
    char why[VIO_DRV_WHY];

    if (vio_arena_create(&memory, &r->arena) != 0)
        bench_die("no memory to share");
    params.arena = r->arena;
    if (vio_vud_create(&params, &t, why) != 0)
        bench_die("%s: %s", o->socket, why);
    if (vio_bus_create(t->platform, &r->bus) != 0)
        bench_die("no memory");
    vio_drv_net_driver(&r->driver, &wanted);
    r->driver.driver.features = o->features;
    r->driver.driver.needs = o->features;
    if (vio_bus_add(r->bus, t, VIRTIO_ID_NET, &r->driver.driver, &r->d) != 0)
        bench_die("no memory");
    r->n = vio_drv_net_of(r->d);
    if (r->n == NULL)
        bench_die("%s: %s", o->socket, vio_drvdev_why(r->d));
    if (vio_net_pool_create(t->platform, BUFFERS, ROOM, &r->tx_pool) != 0 ||
        vio_net_pool_create(t->platform, BUFFERS, ROOM, &r->rx_pool) != 0)
        bench_die("no memory for the frames");
    fill_pool(r);
    refill(r);
}

enum { O_SOCKET = 1, O_MODE, O_SIZE, O_CHECK, O_PACKED, O_IN_ORDER, O_MRG_RXBUF, O_EVENT_IDX, O_QUEUE_SIZE, O_SECONDS, O_WARMUP,
       O_NO_HUGE, O_CPU, O_PEER_CPU, O_WINDOW };

static const struct option long_options[] = {
    { "socket", required_argument, NULL, O_SOCKET },
    { "mode", required_argument, NULL, O_MODE },
    { "size", required_argument, NULL, O_SIZE },
    { "check", no_argument, NULL, O_CHECK },
    { "packed", no_argument, NULL, O_PACKED },
    { "in-order", no_argument, NULL, O_IN_ORDER },
    { "mrg-rxbuf", no_argument, NULL, O_MRG_RXBUF },
    { "event-idx", no_argument, NULL, O_EVENT_IDX },
    { "queue-size", required_argument, NULL, O_QUEUE_SIZE },
    { "seconds", required_argument, NULL, O_SECONDS },
    { "warmup", required_argument, NULL, O_WARMUP },
    { "no-huge", no_argument, NULL, O_NO_HUGE },
    { "cpu", required_argument, NULL, O_CPU },
    { "peer-cpu", required_argument, NULL, O_PEER_CPU },
    { "window", required_argument, NULL, O_WINDOW },
    { 0 },
};

static void set_option(struct options *o, int option)
{
    switch (option) {
    case O_SOCKET: o->socket = optarg; break;
    case O_MODE:
        for (o->mode = MODE_TX; o->mode < MODE_COUNT && strcmp(optarg, mode_names[o->mode]) != 0;)
            o->mode++;
        break;
    case O_SIZE: o->size = (uint32_t)bench_number("--size", optarg); break;
    case O_CHECK: o->check = true; break;
    case O_PACKED: vio_features_set(&o->features, VIRTIO_F_RING_PACKED); break;
    case O_IN_ORDER: vio_features_set(&o->features, VIRTIO_F_IN_ORDER); break;
    case O_MRG_RXBUF: vio_features_set(&o->features, VIRTIO_NET_F_MRG_RXBUF); break;
    case O_EVENT_IDX: vio_features_set(&o->features, VIRTIO_F_EVENT_IDX); break;
    case O_QUEUE_SIZE: o->queue_size = (uint16_t)bench_number("--queue-size", optarg); break;
    case O_SECONDS: o->seconds = atof(optarg); break;
    case O_WARMUP: o->warmup = atof(optarg); break;
    case O_NO_HUGE: o->no_huge = true; break;
    case O_CPU: o->cpu = (int)bench_number("--cpu", optarg); break;
    case O_PEER_CPU: o->peer_cpu = (int)bench_number("--peer-cpu", optarg); break;
    case O_WINDOW: o->window = (unsigned)bench_number("--window", optarg); break;
    default: fputs(usage, stderr); exit(2);
    }
}

static void parse(struct options *o, int argc, char **argv)
{
    int option;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) >= 0)
        set_option(o, option);
    if (o->socket == NULL || o->mode == MODE_COUNT || optind != argc || o->size < 60 || o->size > ROOM || o->window < BURST ||
        o->queue_size < 64 || o->queue_size > 1024) {
        fputs(usage, stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct options o = { .mode = MODE_COUNT, .size = 64, .queue_size = 256, .window = 128, .seconds = 1, .warmup = 0.2,
                         .cpu = -1, .peer_cpu = -1 };
    struct run r = { .o = &o };
    double before = 0;
    uint64_t ns;

    parse(&o, argc, argv);
    if (o.cpu >= 0 && o.peer_cpu >= 0)
        before = bench_line_ns(o.cpu, o.peer_cpu);
    else if (o.cpu >= 0)
        bench_pin(o.cpu);
    r.latency = calloc(LATENCIES, sizeof(r.latency[0]));
    if (r.latency == NULL)
        bench_die("no memory");
    start(&r);
    wait_for_traffic(&r);
    run(&r, o.warmup);
    r.sent = r.received = r.bytes = r.offers = r.blocked = r.asks = r.empty = 0;
    r.nr_latency = 0;
    ns = run(&r, o.seconds);
    print(&r, ns);
    vio_bus_destroy(r.bus); /* a device that polls would disturb the measurement */
    if (o.cpu >= 0 && o.peer_cpu >= 0)
        printf(", \"line_ns_before\": %.1f, \"line_ns_after\": %.1f", before, bench_line_ns(o.cpu, o.peer_cpu));
    printf("}\n");
    vio_net_pool_destroy(r.tx_pool);
    vio_net_pool_destroy(r.rx_pool);
    vio_arena_destroy(r.arena);
    free(r.latency);
    return 0;
}
