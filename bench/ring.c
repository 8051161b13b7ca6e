/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the ring with no device behind it: ns a buffer through vio_drvq and vio_devq, and what the block client costs
 * against a device that answers at once. One line of JSON. Where it sits: bench/.
 * Threads: the driver's and, with --peer-cpu, the device's; else both sides take turns in one thread.
 */
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vio/memory.h>
#include <vio/queue.h>
#include "common.h"
#include "load.h"
#include "spec/virtio.h"

static const char usage[] =
    "usage: vio-bench-ring [OPTIONS]      prints one line of JSON\n"
    "  --packed --in-order --event-idx --queue-size=N (256)\n"
    "  --batch=N       buffers taken, put and published at once (32)\n"
    "  --in-flight=N   buffers on their way at most (the queue's size)\n"
    "  --client        the block client's requests instead of bare buffers; --depth=N (32)\n"
    "  --seconds=S (1) --cpu=N, and --peer-cpu=N for the device in a thread there\n";

/* Where the memory stands for the device: not where it is for us. */
#define BASE UINT64_C(0x100000000)
enum { RING_AREA = 4 << 20, BUFFER_BYTES = 64 };

struct bench {
    struct vio_features features;
    uint16_t queue_size;
    unsigned batch, in_flight;
    uint32_t depth;
    bool client;
    double seconds;
    int cpu, peer_cpu;

    uint8_t *memory;
    struct vio_memory *map;
    struct vio_drvq *drvq;
    struct vio_devq *devq;
    _Alignas(128) atomic_bool stop;
};

static void *allocate(size_t size)
{
    void *at = aligned_alloc(64, (size + 63) & ~(size_t)63);

    if (at == NULL)
        bench_die("no memory");
    memset(at, 0, size);
    return at;
}

static uint64_t up(uint64_t n)
{
    return (n + 127) & ~UINT64_C(127);
}

static void make(struct bench *b)
{
    struct vio_queue_layout layout = vio_queue_layout(b->queue_size, vio_features_has(b->features, VIRTIO_F_RING_PACKED));
    uint64_t driver = up(layout.desc_bytes), device = driver + up(layout.driver_bytes);
    uint64_t size = RING_AREA + load_memory(b->depth, 4096);
    struct vio_memory_region region = { .gpa = BASE, .size = (size + 4095) & ~UINT64_C(4095), .uva = BASE };
    struct vio_queue_cfg cfg = { .size = b->queue_size, .ready = true, .desc = BASE, .driver = BASE + driver,
                                 .device = BASE + device };
    struct vio_drvq_params drv = { .size = b->queue_size, .features = b->features };
    struct vio_devq_params dev = { .cfg = &cfg, .features = b->features };
    enum bench_pages pages;
    enum vio_fault fault;

    cfg.state = vio_queue_state_initial(vio_features_has(b->features, VIRTIO_F_RING_PACKED));
    b->memory = bench_memory(region.size, &pages);
    drv.desc = b->memory;
    drv.driver = b->memory + driver;
    drv.device = b->memory + device;
    if (vio_memory_create(&b->map) != 0 || vio_memory_add_host(b->map, &region, b->memory) != 0)
        bench_die("no memory map");
    if (vio_drvq_start(allocate(vio_drvq_bytes(&drv)), &drv, &b->drvq) != 0)
        bench_die("queue size %u cannot be", b->queue_size);
    dev.map = vio_memory_map(b->map);
    fault = vio_devq_start(allocate(vio_devq_bytes(&dev)), &dev, &b->devq);
    if (fault != VIO_FAULT_NONE)
        bench_die("the device side does not start: %s", vio_fault_text(fault));
    vio_devq_disarm_kick(b->devq);
    vio_drvq_disarm_call(b->drvq);
}

/* A device that does nothing but answer: what a request's last byte is for, if it is a request. */
static unsigned serve(struct bench *b)
{
    struct vio_req *reqs[VIO_QUEUE_BATCH];
    unsigned n = vio_devq_take(b->devq, reqs, b->batch);

    for (unsigned i = 0; i < n; i++) {
        uint8_t *status = b->client ? vio_writer_take_last(&reqs[i]->out) : NULL;

        if (status != NULL)
            *status = 0;
        vio_devq_put(b->devq, reqs[i]);
    }
    if (n > 0)
        (void)!vio_devq_publish(b->devq);
    else if (vio_devq_fault(b->devq) != VIO_FAULT_NONE)
        bench_die("the device side found a fault: %s", vio_fault_text(vio_devq_fault(b->devq)));
    return n;
}

static void step(void *ctx)
{
    serve(ctx);
}

static void *device_thread(void *arg)
{
    struct bench *b = arg;

    bench_pin(b->peer_cpu);
    while (!atomic_load_explicit(&b->stop, memory_order_relaxed))
        serve(b);
    while (serve(b) > 0)
        ;
    return NULL;
}

/* One turn of the driver: new buffers as far as there is room, then those that came back. */
static unsigned drive(struct bench *b, bool more, uint64_t *slot)
{
    struct vio_done done[VIO_QUEUE_BATCH];
    unsigned n = 0;

    while (more && n < b->batch && vio_drvq_in_flight(b->drvq) < b->in_flight) {
        struct vio_buf buf = { BASE + RING_AREA + (*slot % b->queue_size) * BUFFER_BYTES, BUFFER_BYTES };

        if (vio_drvq_put(b->drvq, &buf, 1, 0, *slot) != 0)
            break;
        ++*slot;
        n++;
    }
    if (n > 0)
        (void)!vio_drvq_publish(b->drvq);
    if (b->peer_cpu < 0)
        serve(b);
    n = vio_drvq_collect(b->drvq, done, b->batch);
    if (n == 0 && vio_drvq_fault(b->drvq) != VIO_FAULT_NONE)
        bench_die("the driver side found a fault: %s", vio_fault_text(vio_drvq_fault(b->drvq)));
    return n;
}

static void run_ring(struct bench *b)
{
    uint64_t slot = 0, buffers = 0, turns = 0, start = bench_now_ns(), ns, limit;

    limit = start + (uint64_t)(b->seconds * 1e9);
    do {
        for (unsigned i = 0; i < 512; i++) {
            unsigned n = drive(b, true, &slot);

            buffers += n;
            turns += n > 0;
        }
    } while (bench_now_ns() < limit);
    ns = bench_now_ns() - start;
    while (vio_drvq_in_flight(b->drvq) > 0)
        drive(b, false, &slot);
    printf("\"buffers\": %" PRIu64 ", \"ns_per_buffer\": %.2f, \"mps\": %.3f, \"batch\": %u, \"in_flight\": %u, "
           "\"per_turn\": %.1f",
           buffers, (double)ns / (double)buffers, (double)buffers * 1e3 / (double)ns, b->batch, b->in_flight,
           (double)buffers / (double)turns);
}

static void run_client(struct bench *b)
{
    struct load_params params = {
        .queue = b->drvq, .memory = b->memory + RING_AREA, .memory_addr = BASE + RING_AREA, .depth = b->depth,
        .batch = b->batch, .block = 4096, .size = UINT64_C(1) << 30, .seconds = 0.1, .step = b->peer_cpu < 0 ? step : NULL, .ctx = b,
    };
    struct load_result result;

    load_run(&params, &result); /* warm */
    params.seconds = b->seconds;
    load_run(&params, &result);
    load_print(&params, &result);
    if (b->peer_cpu < 0)
        printf(", \"client_ns_per_request\": %.2f",
               (double)(result.ns - result.step_ns) / (double)result.requests);
}

static void parse(struct bench *b, int argc, char **argv)
{
    enum { PACKED = 1, IN_ORDER, EVENT_IDX, QUEUE_SIZE, BATCH, IN_FLIGHT, CLIENT, DEPTH, SECONDS, CPU, PEER };
    static const struct option long_options[] = {
        { "packed", no_argument, NULL, PACKED },          { "in-order", no_argument, NULL, IN_ORDER },
        { "event-idx", no_argument, NULL, EVENT_IDX },    { "queue-size", required_argument, NULL, QUEUE_SIZE },
        { "batch", required_argument, NULL, BATCH },      { "in-flight", required_argument, NULL, IN_FLIGHT },
        { "client", no_argument, NULL, CLIENT },          { "depth", required_argument, NULL, DEPTH },
        { "seconds", required_argument, NULL, SECONDS },  { "cpu", required_argument, NULL, CPU },
        { "peer-cpu", required_argument, NULL, PEER },    { 0 },
    };
    int option;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) >= 0) {
        switch (option) {
        case PACKED: vio_features_set(&b->features, VIRTIO_F_RING_PACKED); break;
        case IN_ORDER: vio_features_set(&b->features, VIRTIO_F_IN_ORDER); break;
        case EVENT_IDX: vio_features_set(&b->features, VIRTIO_F_EVENT_IDX); break;
        case QUEUE_SIZE: b->queue_size = (uint16_t)bench_number("--queue-size", optarg); break;
        case BATCH: b->batch = (unsigned)bench_number("--batch", optarg); break;
        case IN_FLIGHT: b->in_flight = (unsigned)bench_number("--in-flight", optarg); break;
        case CLIENT: b->client = true; break;
        case DEPTH: b->depth = (uint32_t)bench_number("--depth", optarg); break;
        case SECONDS: b->seconds = atof(optarg); break;
        case CPU: b->cpu = (int)bench_number("--cpu", optarg); break;
        case PEER: b->peer_cpu = (int)bench_number("--peer-cpu", optarg); break;
        default: fputs(usage, stderr); exit(2);
        }
    }
    if (optind != argc || b->batch == 0 || b->batch > VIO_QUEUE_BATCH) {
        fputs(usage, stderr);
        exit(2);
    }
    if (b->in_flight == 0 || b->in_flight > b->queue_size)
        b->in_flight = b->queue_size;
    vio_features_set(&b->features, VIRTIO_F_VERSION_1);
}

int main(int argc, char **argv)
{
    struct bench b = { .queue_size = 256, .batch = 32, .depth = 32, .seconds = 1, .cpu = -1, .peer_cpu = -1 };
    bool two;
    double before = 0;
    pthread_t thread;

    parse(&b, argc, argv);
    two = b.cpu >= 0 && b.peer_cpu >= 0;
    if (b.cpu >= 0)
        bench_pin(b.cpu);
    if (two)
        before = bench_line_ns(b.cpu, b.peer_cpu);
    make(&b);
    if (two && pthread_create(&thread, NULL, device_thread, &b) != 0)
        bench_die("no thread for the device");
    printf("{\"format\": \"%s\", ", vio_features_has(b.features, VIRTIO_F_RING_PACKED) ? "packed" : "split");
    if (b.client)
        run_client(&b);
    else
        run_ring(&b);
    if (two) {
        atomic_store(&b.stop, true);
        pthread_join(thread, NULL);
        printf(", \"line_ns_before\": %.1f, \"line_ns_after\": %.1f", before, bench_line_ns(b.cpu, b.peer_cpu));
    }
    printf("}\n");
    vio_memory_destroy(b.map);
    return 0;
}
