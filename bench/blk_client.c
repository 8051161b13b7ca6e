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
    struct vio_vud_setup setup;
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
    vio_vud_kick(ctx, 0);
}

static void wait_for_call(void *ctx)
{
    struct pollfd call = { .fd = vio_vud_call_fd(ctx, 0), .events = POLLIN };

    if (poll(&call, 1, 5000) == 0)
        bench_die("the device did not call for 5 s");
    vio_vud_call_clear(ctx, 0);
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
    case O_QUEUE_SIZE: o->setup.queue_size = (uint16_t)bench_number("--queue-size", optarg); break;
    case O_PACKED: vio_features_set(&o->setup.features, VIRTIO_F_RING_PACKED); break;
    case O_INDIRECT:
        vio_features_set(&o->setup.features, VIRTIO_F_INDIRECT_DESC);
        o->setup.indirect_max = 4;
        break;
    case O_EVENT_IDX: vio_features_set(&o->setup.features, VIRTIO_F_EVENT_IDX); break;
    case O_IN_ORDER: vio_features_set(&o->setup.features, VIRTIO_F_IN_ORDER); break;
    case O_POLL_KICK: o->setup.poll_kick = true; break;
    case O_SMALL_PAGES: o->setup.small_pages = true; break;
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
    vio_features_set(&o->setup.features, VIRTIO_F_VERSION_1);
    o->setup.queues = 1;
    o->setup.buffer_bytes = load_memory(o->load.depth, o->load.block);
}

static struct vio_vud *connect_to(struct options *o)
{
    struct vio_vud_params params = { .path = o->socket, .fd = -1 };
    struct vio_vud *v;
    int error = vio_vud_create(&params, &v);

    if (error)
        bench_die("%s: %s", o->socket, strerror(-error));
    if (vio_vud_connect(v) != 0)
        bench_die("%s: %s", o->socket, vio_vud_why(v));
    /* A driver that does not know FLUSH is owed a write-through disk (virtio 1.4, 5.2.6.2): not what is measured. */
    if (vio_features_has(vio_vud_offered(v), VIRTIO_BLK_F_FLUSH))
        vio_features_set(&o->setup.features, VIRTIO_BLK_F_FLUSH);
    if (vio_vud_start(v, &o->setup) != 0)
        bench_die("%s: %s", o->socket, vio_vud_why(v));
    /*
     * A call descriptor is there all the same: qemu-storage-daemon (libvhost-user) breaks off where it wants to call
     * and has none.
     */
    vio_drvq_disarm_call(vio_vud_queue(v, 0));
    return v;
}

static uint64_t disk_size(struct vio_vud *v)
{
    vio_le64 capacity;

    if (vio_vud_config_read(v, 0, &capacity, sizeof(capacity)) != 0)
        bench_die("%s", vio_vud_why(v));
    return vio_cpu(capacity) * VIRTIO_BLK_SECTOR;
}

int main(int argc, char **argv)
{
    struct options o = {
        .load = { .depth = 32, .batch = 16, .block = 4096, .seconds = 1 },
        .setup = { .queue_size = 512 },
        .warmup = 0.2, .cpu = -1, .peer_cpu = -1,
    };
    double before = 0, after = 0, seconds;
    struct load_result result;
    struct vio_vud *v;
    uint64_t size;

    parse(&o, argc, argv);
    if (o.cpu >= 0 && o.peer_cpu >= 0)
        before = bench_line_ns(o.cpu, o.peer_cpu);
    else if (o.cpu >= 0)
        bench_pin(o.cpu);
    v = connect_to(&o);
    size = disk_size(v);
    if (o.load.size == 0 || o.load.size > size)
        o.load.size = size;
    o.load.queue = vio_vud_queue(v, 0);
    o.load.memory = vio_vud_memory(v).host;
    o.load.memory_addr = vio_vud_memory(v).addr;
    o.load.kick = kick;
    o.load.ctx = v;
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
           vio_features_has(o.setup.features, VIRTIO_F_RING_PACKED) ? "packed" : "split", o.setup.queue_size,
           o.setup.features.w[0], vio_vud_memory(v).huge ? "true" : "false");
    vio_vud_destroy(v);
    if (o.cpu >= 0 && o.peer_cpu >= 0) {
        after = bench_line_ns(o.cpu, o.peer_cpu);
        printf(", \"line_ns_before\": %.1f, \"line_ns_after\": %.1f", before, after);
    }
    printf("}\n");
    return 0;
}
