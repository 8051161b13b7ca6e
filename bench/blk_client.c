/* SPDX-License-Identifier: MIT */
/*
 * Purpose: loads a block device behind a vhost-user socket from one polled queue and says how fast it is, as one line
 * of JSON. Where it sits: bench/, over the public driver side. Threads: one, pinned; it never sleeps.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vio/drv_generic.h>
#include <vio/vhost_user_driver.h>
#include "common.h"
#include "load.h"
#include "spec/blk.h"
#include "spec/virtio.h"

static const char usage[] =
    "usage: vio-bench-blk --socket=PATH [OPTIONS]      prints one line of JSON\n"
    "  --op=read|write      4 KiB random reads (default) or writes\n"
    "  --depth=N            requests in flight (32)\n"
    "  --batch=N            taken and published at once at most (16)\n"
    "  --block=BYTES        bytes a request (4096)\n"
    "  --size=BYTES         use only the first BYTES of the disk\n"
    "  --seconds=S          how long to measure (1), after --warmup=S (0.2)\n"
    "  --queue-size=N       entries of the queue (512)\n"
    "  --packed             packed queue; --indirect: indirect tables; --event-idx: EVENT_IDX\n"
    "  --in-order           IN_ORDER\n"
    "  --poll-kick          no kick descriptor (the device must poll)\n"
    "  --small-pages        no huge pages\n"
    "  --wait               sleeps until the device calls, instead of polling\n"
    "  --latency            percentiles (costs some ns a request)\n"
    "  --fill               writes each block once before\n"
    "  --hold=S             afterwards sits still for S seconds, the queue started\n"
    "  --cpu=N --peer-cpu=N pins us; measures the distance to the device's CPU before and after\n";

struct options {
    const char *socket;
    struct load_params load;
    struct vio_features features;
    uint16_t queue_size, indirect_max;
    bool poll_kick, small_pages;
    double warmup, hold;
    bool fill;
    int cpu, peer_cpu;
};

enum { O_OP = 1, O_DEPTH, O_BLOCK, O_SIZE, O_SECONDS, O_WARMUP, O_QUEUE_SIZE, O_PACKED, O_INDIRECT, O_EVENT_IDX,
       O_IN_ORDER, O_POLL_KICK, O_SMALL_PAGES, O_LATENCY, O_CPU, O_PEER_CPU, O_SOCKET, O_HOLD, O_BATCH, O_FILL, O_WAIT };

static const struct option long_options[] = {
    { "socket", required_argument, NULL, O_SOCKET },
    { "op", required_argument, NULL, O_OP },
    { "depth", required_argument, NULL, O_DEPTH },
    { "batch", required_argument, NULL, O_BATCH },
    { "block", required_argument, NULL, O_BLOCK },
    { "size", required_argument, NULL, O_SIZE },
    { "seconds", required_argument, NULL, O_SECONDS },
    { "warmup", required_argument, NULL, O_WARMUP },
    { "queue-size", required_argument, NULL, O_QUEUE_SIZE },
    { "packed", no_argument, NULL, O_PACKED },
    { "indirect", no_argument, NULL, O_INDIRECT },
    { "event-idx", no_argument, NULL, O_EVENT_IDX },
    { "in-order", no_argument, NULL, O_IN_ORDER },
    { "poll-kick", no_argument, NULL, O_POLL_KICK },
    { "small-pages", no_argument, NULL, O_SMALL_PAGES },
    { "latency", no_argument, NULL, O_LATENCY },
    { "fill", no_argument, NULL, O_FILL },
    { "wait", no_argument, NULL, O_WAIT },
    { "hold", required_argument, NULL, O_HOLD },
    { "cpu", required_argument, NULL, O_CPU },
    { "peer-cpu", required_argument, NULL, O_PEER_CPU },
    { 0 },
};

static void kick(void *ctx)
{
    vio_drvdev_kick(ctx, 0);
}

static void wait_for_call(void *ctx)
{
    struct pollfd call = { .fd = vio_drvdev_event_fd(ctx, 0), .events = POLLIN };

    if (poll(&call, 1, 5000) == 0)
        bench_die("the device did not call for 5 s");
    vio_drvdev_event(ctx, 0);
}

static void set_option(struct options *o, int option)
{
    switch (option) {
    case O_SOCKET: o->socket = optarg; break;
    case O_OP:
        o->load.write = strcmp(optarg, "write") == 0;
        if (!o->load.write && strcmp(optarg, "read") != 0)
            bench_die("--op=%s: read or write", optarg);
        break;
    case O_DEPTH: o->load.depth = (uint32_t)bench_number("--depth", optarg); break;
    case O_BATCH: o->load.batch = (unsigned)bench_number("--batch", optarg); break;
    case O_BLOCK: o->load.block = (uint32_t)bench_number("--block", optarg); break;
    case O_SIZE: o->load.size = bench_number("--size", optarg); break;
    case O_SECONDS: o->load.seconds = atof(optarg); break;
    case O_WARMUP: o->warmup = atof(optarg); break;
    case O_QUEUE_SIZE: o->queue_size = (uint16_t)bench_number("--queue-size", optarg); break;
    case O_PACKED: vio_features_set(&o->features, VIRTIO_F_RING_PACKED); break;
    case O_INDIRECT:
        vio_features_set(&o->features, VIRTIO_F_INDIRECT_DESC);
        o->indirect_max = 4;
        break;
    case O_EVENT_IDX: vio_features_set(&o->features, VIRTIO_F_EVENT_IDX); break;
    case O_IN_ORDER: vio_features_set(&o->features, VIRTIO_F_IN_ORDER); break;
    case O_POLL_KICK: o->poll_kick = true; break;
    case O_SMALL_PAGES: o->small_pages = true; break;
    case O_LATENCY: o->load.latency = true; break;
    case O_FILL: o->fill = true; break;
    case O_WAIT: o->load.wait = wait_for_call; break;
    case O_HOLD: o->hold = atof(optarg); break;
    case O_CPU: o->cpu = (int)bench_number("--cpu", optarg); break;
    case O_PEER_CPU: o->peer_cpu = (int)bench_number("--peer-cpu", optarg); break;
    default: fputs(usage, stderr); exit(2);
    }
}

static void parse(struct options *o, int argc, char **argv)
{
    int option;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) >= 0)
        set_option(o, option);
    if (o->socket == NULL || optind != argc) {
        fputs(usage, stderr);
        exit(2);
    }
    if (o->load.block == 0 || o->load.block % VIRTIO_BLK_SECTOR != 0 || o->load.depth == 0)
        bench_die("--block must be whole sectors and --depth at least 1");
    vio_features_set(&o->features, VIRTIO_F_VERSION_1);
}

/* The device, all that is needed to reach it, and the driver's word of what it wants. */
struct device {
    struct vio_arena *arena;
    struct vio_bus *bus;
    struct vio_drvdev *d;
    struct vio_drv_generic_driver driver;
    struct vio_drvdev_queue_plan plan;
};

static struct vio_transport *connect_to(const struct options *o, struct device *dev)
{
    uint64_t rings = (UINT64_C(1) << 20) + (uint64_t)o->queue_size * (64 + o->indirect_max * 16u);
    struct vio_arena_params memory = { .size = load_memory(o->load.depth, o->load.block) + rings,
                                       .small_pages = o->small_pages, .populate = true };
    struct vio_vud_params params = { .path = o->socket, .fd = -1, .type = VIRTIO_ID_BLOCK, .poll_kick = o->poll_kick,
                                     .queue_size_max = o->queue_size };
    char why[VIO_DRV_WHY];
    struct vio_transport *t;
    int error = vio_arena_create(&memory, &dev->arena);

    if (error)
        bench_die("no %" PRIu64 " bytes of memory to share: %s", memory.size, strerror(-error));
    params.arena = dev->arena;
    if (vio_vud_create(&params, &t, why) != 0)
        bench_die("%s: %s", o->socket, why);
    if (vio_bus_create(t->platform, &dev->bus) != 0)
        bench_die("no memory");
    return t;
}

static void start(struct options *o, struct device *dev)
{
    struct vio_transport *t = connect_to(o, dev);
    struct vio_drv_generic_params wanted = { .features = o->features, .needs = o->features, .plans = &dev->plan, .nr_plans = 1 };

    /* A driver that does not know FLUSH is owed a write-through disk (virtio 1.4, 5.2.6.2): not what is measured. */
    vio_features_set(&wanted.features, VIRTIO_BLK_F_FLUSH);
    /*
     * A call descriptor is there all the same: qemu-storage-daemon (libvhost-user) breaks off where it wants to call
     * and has none.
     */
    dev->plan = (struct vio_drvdev_queue_plan){ .size = o->queue_size, .indirect_max = o->indirect_max };
    vio_drv_generic_driver(&dev->driver, &wanted);
    if (vio_bus_add(dev->bus, t, VIRTIO_ID_BLOCK, &dev->driver.driver, &dev->d) != 0 ||
        vio_drvdev_status(dev->d) != VIO_DRVDEV_RUNS)
        bench_die("%s: %s", o->socket, dev->d != NULL ? vio_drvdev_why(dev->d) : "no memory");
    vio_drvq_disarm_call(vio_drvdev_queue(dev->d, 0));
    o->features = vio_drvdev_features(dev->d);
    o->load.queue = vio_drvdev_queue(dev->d, 0);
    o->load.memory = t->platform->dma_alloc(t->platform->ctx, load_memory(o->load.depth, o->load.block), 4096,
                                            &o->load.memory_addr);
    if (o->load.memory == NULL)
        bench_die("no memory for the buffers");
    o->load.kick = kick;
    o->load.ctx = dev->d;
}

static uint64_t disk_size(struct vio_drvdev *d)
{
    vio_le64 capacity;

    if (vio_drvdev_config_read(d, 0, &capacity, sizeof(capacity)) != 0)
        bench_die("%s", vio_drvdev_why(d));
    return vio_cpu(capacity) * VIRTIO_BLK_SECTOR;
}

int main(int argc, char **argv)
{
    struct options o = {
        .load = { .depth = 32, .batch = 16, .block = 4096, .seconds = 1 },
        .queue_size = 512,
        .warmup = 0.2, .cpu = -1, .peer_cpu = -1,
    };
    double before = 0, after = 0, seconds;
    struct load_result result;
    struct device dev = { .d = NULL };
    uint64_t size;

    parse(&o, argc, argv);
    if (o.cpu >= 0 && o.peer_cpu >= 0)
        before = bench_line_ns(o.cpu, o.peer_cpu);
    else if (o.cpu >= 0)
        bench_pin(o.cpu);
    start(&o, &dev);
    size = disk_size(dev.d);
    if (o.load.size == 0 || o.load.size > size)
        o.load.size = size;
    if (o.fill)
        load_fill(&o.load);
    seconds = o.load.seconds;
    if (o.warmup > 0) {
        o.load.seconds = o.warmup;
        load_run(&o.load, &result);
        o.load.seconds = seconds;
    }
    load_run(&o.load, &result);
    usleep((useconds_t)(o.hold * 1e6));
    printf("{");
    load_print(&o.load, &result);
    printf(", \"format\": \"%s\", \"queue_size\": %u, \"features\": \"0x%" PRIx64 "\", \"huge_pages\": %s",
           vio_features_has(o.features, VIRTIO_F_RING_PACKED) ? "packed" : "split", o.queue_size,
           o.features.w[0], vio_arena_region(dev.arena).huge ? "true" : "false");
    vio_bus_destroy(dev.bus);
    vio_arena_destroy(dev.arena);
    if (o.cpu >= 0 && o.peer_cpu >= 0) {
        after = bench_line_ns(o.cpu, o.peer_cpu);
        printf(", \"line_ns_before\": %.1f, \"line_ns_after\": %.1f", before, after);
    }
    printf("}\n");
    return 0;
}
