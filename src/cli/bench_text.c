/* SPDX-License-Identifier: MIT */
/* Purpose: what `vio bench` prints of a run, for people. Where it sits: cli/. Threads: none. Trust: its own results. */
#include <stdio.h>
#include <string.h>

#include "cli/bench.h"

double bench_real(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void print_time(const char *name, double ns)
{
    if (ns < 1e3)
        printf("  %s %.0f ns", name, ns);
    else if (ns < 1e6)
        printf("  %s %.1f us", name, ns / 1e3);
    else
        printf("  %s %.1f ms", name, ns / 1e6);
}

static void print_latency(const char *what, const json_t *l)
{
    static const char *const keys[] = { "mean", "p50", "p90", "p99", "p99.9", "max" };

    if (bench_real(l, "count") <= 0)
        return;
    printf("  %s:", what);
    for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        print_time(keys[i], bench_real(l, keys[i]));
    printf("\n");
}

/* Sixteen lines at most: buckets of a power of two, with a bar of their share. */
static void print_histogram(const char *what, const json_t *l)
{
    double power[64] = { 0 }, count = bench_real(l, "count");
    unsigned low = 63, high = 0;
    size_t i;
    json_t *pair;

    if (count <= 0)
        return;
    json_array_foreach(json_object_get(l, "histogram"), i, pair) {
        unsigned long long upper = (unsigned long long)json_integer_value(json_array_get(pair, 0));
        unsigned at = upper == 0 ? 0 : 63u - (unsigned)__builtin_clzll(upper);

        power[at] += (double)json_integer_value(json_array_get(pair, 1));
        low = at < low ? at : low;
        high = at > high ? at : high;
    }
    printf("  %s, from:\n", what);
    for (unsigned at = low; at <= high; at++) {
        int bar = (int)(power[at] / count * 60 + 0.5);

        print_time("  ", (double)(1ull << at));
        printf("%*s%6.2f %%  %.*s\n", 2, "", power[at] / count * 100, bar,
               "############################################################");
    }
}

/* what: "a request". */
static void print_cpu(const json_t *r, const char *what, const char *here, const char *there)
{
    printf("CPU %s: %.0f ns here", what, bench_real(r, here));
    if (json_is_real(json_object_get(r, there)))
        printf(", %.0f ns in the device's process", bench_real(r, there));
    printf("\n");
}

static void print_blk(const json_t *r)
{
    double rate = bench_real(r, "rate");

    printf("%s: %.2f GiB, %s %s queue%s of %lld at depth %lld, %lld-byte requests, %s, %lld %% reads\n",
           json_string_value(json_object_get(r, "target")), bench_real(r, "capacity") / (1 << 30),
           bench_real(r, "queues") == 1 ? "one" : "several", json_string_value(json_object_get(r, "ring")),
           bench_real(r, "queues") == 1 ? "" : "s", (long long)bench_real(r, "queue_size"), (long long)bench_real(r, "depth"),
           (long long)bench_real(r, "block"), json_string_value(json_object_get(r, "pattern")), (long long)bench_real(r, "reads_percent"));
    printf("  %.0f requests/s, %.1f MiB/s; ", rate, bench_real(r, "bytes_per_second") / (1 << 20));
    print_cpu(r, "a request", "cpu_ns_per_request", "peer_cpu_ns_per_request");
    print_latency("reads", json_object_get(r, "read_latency_ns"));
    print_latency("writes", json_object_get(r, "write_latency_ns"));
    if (json_is_true(json_object_get(r, "verified")))
        printf("  %lld blocks were not what was written\n", (long long)bench_real(r, "wrong_blocks"));
}

static void print_search(const json_t *r, const json_t *search)
{
    const json_t *trials = json_object_get(search, "trials");

    if (json_is_true(json_object_get(search, "found")))
        printf("  this is the highest rate that loses at most %g %% (tried: %zu)\n", bench_real(search, "loss") * 100,
               json_array_size(trials));
    else
        printf("  no rate was found that loses at most %g %% (tried: %zu); at the last one %.4f %% were lost\n",
               bench_real(search, "loss") * 100, json_array_size(trials), bench_real(r, "loss") * 100);
}

static void print_net(const json_t *r)
{
    static const struct {
        const char *key, *says;
    } odd[] = { { "reordered", "late" }, { "duplicated", "twice" }, { "corrupted", "changed on the way" },
                { "foreign", "not ours" }, { "not_frames", "no frames (virtio 1.4, 5.1.9.4)" } };
    const char *mode = json_string_value(json_object_get(r, "mode"));
    const json_t *search = json_object_get(r, "search");

    printf("%s: %lld-byte frames, mode %s, %s %s pair%s of queues of %lld, bursts of %lld\n",
           json_string_value(json_object_get(r, "target")), (long long)bench_real(r, "size"), mode,
           bench_real(r, "queues") == 1 ? "one" : "several", json_string_value(json_object_get(r, "ring")),
           bench_real(r, "queues") == 1 ? "" : "s", (long long)bench_real(r, "queue_size"), (long long)bench_real(r, "burst"));
    printf("  %.0f packets/s, %.1f Mbit/s; ", bench_real(r, "rate"), bench_real(r, "bytes_per_second") * 8 / 1e6);
    print_cpu(r, "a packet", "cpu_ns_per_packet", "peer_cpu_ns_per_packet");
    if (search != NULL)
        print_search(r, search);
    print_latency("there and back", json_object_get(r, "latency_ns"));
    if (json_is_integer(json_object_get(r, "lost")))
        printf("  lost: %lld (%.6f %%)", (long long)bench_real(r, "lost"), bench_real(r, "loss") * 100);
    else
        printf("  lost: not known");
    for (unsigned i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
        if (bench_real(r, odd[i].key) > 0)
            printf("; %s: %lld", odd[i].says, (long long)bench_real(r, odd[i].key));
    printf("\n");
}

static void print_fs(const json_t *r)
{
    bool small = strcmp(json_string_value(json_object_get(r, "mode")), "ops") == 0;
    const char *op;
    json_t *latency;

    printf("%s: a file system, mode %s, %lld bytes %s\n", json_string_value(json_object_get(r, "target")),
           json_string_value(json_object_get(r, "mode")), (long long)bench_real(r, "block"), small ? "a file" : "at a time");
    printf("  %.0f operations/s, %.1f MiB/s; ", bench_real(r, "rate"), bench_real(r, "bytes_per_second") / (1 << 20));
    print_cpu(r, "an operation", "cpu_ns_per_request", "peer_cpu_ns_per_request");
    json_object_foreach(json_object_get(r, "operations"), op, latency)
        print_latency(op, latency);
    if (json_is_true(json_object_get(r, "verified")))
        printf("  %lld times something else was read than was written\n", (long long)bench_real(r, "wrong_blocks"));
}

/* By the operation, of a file system. */
static void print_histograms(const json_t *all)
{
    const char *op;
    json_t *latency;

    json_object_foreach((json_t *)(uintptr_t)all, op, latency)
        print_histogram(op, latency);
}

void bench_print(const json_t *r, bool histogram)
{
    static const struct {
        const char *key, *says;
    } kinds[] = { { "read_latency_ns", "reads" }, { "write_latency_ns", "writes" }, { "latency_ns", "there and back" } };

    static const struct {
        const char *type;
        void (*print)(const json_t *r);
    } types[] = { { "blk", print_blk }, { "net", print_net }, { "fs", print_fs } };

    for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(json_string_value(json_object_get(r, "type")), types[i].type) == 0)
            types[i].print(r);
    if (histogram)
        print_histograms(json_object_get(r, "operations"));
    for (unsigned i = 0; histogram && i < sizeof(kinds) / sizeof(kinds[0]); i++)
        print_histogram(kinds[i].says, json_object_get(r, kinds[i].key));
}
