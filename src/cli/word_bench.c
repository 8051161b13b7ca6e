/* SPDX-License-Identifier: MIT */
/* Purpose: `vio bench TARGET`: options, runs one after the other or two targets in turn, text. Where it sits: cli/. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/bench.h"
#include "cli/options.h"
#include "cli/spec.h"
#include "cli/words.h"
#include "spec/virtio.h"

enum {
    OPT_READS, OPT_BLOCK, OPT_DEPTH, OPT_SEQUENTIAL, OPT_VERIFY, OPT_SIZE, OPT_SEED, OPT_QUEUES, OPT_QUEUE_SIZE, OPT_PACKED,
    OPT_IN_ORDER, OPT_INDIRECT, OPT_EVENT_IDX, OPT_WAIT, OPT_SMALL_PAGES, OPT_TIME, OPT_WARMUP, OPT_COMPARE, OPT_REPEATS,
    OPT_HISTOGRAM, OPT_TIMEOUT, OPT_JSON, OPT_HELP,
};

static const struct option_text table[] = {
    [OPT_READS] = { "reads", "PERCENT", "reads among the requests; the rest are writes, which "
                                        "destroy what is on the disk (default 100)" },
    [OPT_BLOCK] = { "block", "SIZE", "bytes of a request, whole sectors (default 4K)" },
    [OPT_DEPTH] = { "depth", "N", "requests in flight on each queue (default 32)" },
    [OPT_SEQUENTIAL] = { "sequential", NULL, "one block after the other, not anywhere" },
    [OPT_VERIFY] = { "verify", NULL, "blocks that were written are checked where they are read" },
    [OPT_SIZE] = { "size", "SIZE", "use only the first SIZE bytes" },
    [OPT_SEED] = { "seed", "N", "of the random numbers, and of what is written (default 1)" },
    [OPT_QUEUES] = { "queues", "N", "queues, each driven by a thread of its own (default 1)" },
    [OPT_QUEUE_SIZE] = { "queue-size", "N", "entries of each queue (default 256)" },
    [OPT_PACKED] = { "packed", NULL, "packed queues, where the device has them" },
    [OPT_IN_ORDER] = { "in-order", NULL, "IN_ORDER, where the device has it" },
    [OPT_INDIRECT] = { "indirect", NULL, "indirect tables" },
    [OPT_EVENT_IDX] = { "event-idx", NULL, "EVENT_IDX" },
    [OPT_WAIT] = { "wait", NULL, "sleep until the device calls; else its answer is looked for all the time" },
    [OPT_SMALL_PAGES] = { "small-pages", NULL, "memory in 4 KiB pages, also where there are huge ones" },
    [OPT_TIME] = { "time", "SECONDS", "how long to measure (default 3)" },
    [OPT_WARMUP] = { "warmup", "SECONDS", "how long to load it before (default 0.3)" },
    [OPT_COMPARE] = { "compare", NULL, "two TARGETs in turn; the ratio of the second to the first, with its spread" },
    [OPT_REPEATS] = { "repeats", "N", "runs of each TARGET; the median counts (default 1, with --compare 5)" },
    [OPT_HISTOGRAM] = { "histogram", NULL, "print the latencies as a histogram" },
    [OPT_TIMEOUT] = { "timeout", "MS", "how long the device may be silent, in milliseconds (default 5000)" },
    [OPT_JSON] = { "json", NULL, "print as JSON" },
    [OPT_HELP] = { "help", NULL, "show this" },
    { NULL, NULL, NULL },
};

enum { TARGETS_MAX = 2, REPEATS_MAX = 1000 };

struct job {
    struct bench_params params;
    const char *target[TARGETS_MAX];
    unsigned targets, repeats;
    bool compare, histogram, json;
};

static int print_help(void)
{
    printf("usage: vio bench TARGET [OPTIONS]\n"
           "       vio bench --compare TARGET TARGET [OPTIONS]\n\n"
           "Loads the block device behind TARGET, which is written vhost-user:PATH, as its driver, and says how fast it\n"
           "is: requests a second, latency, CPU time. Whoever's device it is: vio's, qemu-storage-daemon's...\n"
           "Data is only written with --reads below 100.\n\n");
    options_help(table, stdout);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

/* ------------------------------------------------------------------ options */

struct range {
    uint64_t min, max;
};

static int number(const char *name, const char *text, struct range range, uint64_t *out)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || value < range.min || value > range.max)
        return usage_error("vio bench", "--%s=%s: a number from %llu to %llu", name, text, (unsigned long long)range.min,
                           (unsigned long long)range.max);
    *out = value;
    return EXIT_DONE;
}

static int seconds(const char *name, const char *text, double min, double *out)
{
    char *end;
    double value = strtod(text, &end);

    if (*end != '\0' || end == text || !(value >= min && value <= 1e6))
        return usage_error("vio bench", "--%s=%s: seconds, from %g to a million", name, text, min);
    *out = value;
    return EXIT_DONE;
}

static int size(const char *name, const char *text, struct range range, uint64_t *out)
{
    if (spec_parse_size(text, out) != 0 || *out < range.min || *out > range.max)
        return usage_error("vio bench", "--%s=%s: a size such as 4K, from %llu to %llu bytes", name, text,
                           (unsigned long long)range.min, (unsigned long long)range.max);
    return EXIT_DONE;
}

static int take_number(const struct option_seen *seen, struct job *job)
{
    static const struct {
        int option;
        struct range range;
    } ranges[] = {
        { OPT_READS, { 0, 100 } }, { OPT_DEPTH, { 1, 4096 } }, { OPT_QUEUES, { 1, 256 } }, { OPT_QUEUE_SIZE, { 1, 32768 } },
        { OPT_SEED, { 1, UINT64_MAX } }, { OPT_REPEATS, { 1, REPEATS_MAX } }, { OPT_TIMEOUT, { 1, 600000 } },
    };
    uint64_t value = 0;

    for (unsigned i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        if (ranges[i].option != seen->index)
            continue;
        if (number(table[seen->index].name, seen->value, ranges[i].range, &value) != EXIT_DONE)
            return EXIT_USAGE;
    }
    switch (seen->index) {
    case OPT_READS: job->params.reads = (unsigned)value; break;
    case OPT_DEPTH: job->params.depth = (uint32_t)value; break;
    case OPT_QUEUES: job->params.queues = (uint16_t)value; break;
    case OPT_QUEUE_SIZE: job->params.queue_size = (uint16_t)value; break;
    case OPT_SEED: job->params.seed = value; break;
    case OPT_REPEATS: job->repeats = (unsigned)value; break;
    default: job->params.timeout_ms = (unsigned)value; break;
    }
    return EXIT_DONE;
}

static int take(const struct option_seen *seen, struct job *job)
{
    struct bench_params *p = &job->params;
    uint64_t value;
    int status;

    switch (seen->index) {
    case -1:
        if (job->targets == TARGETS_MAX)
            return usage_error("vio bench", "'%s' is one TARGET too many", seen->value);
        job->target[job->targets++] = seen->value;
        return EXIT_DONE;
    case OPT_BLOCK:
        status = size("block", seen->value, (struct range){ 512, 16 << 20 }, &value);
        p->block = status == EXIT_DONE ? (uint32_t)value : p->block;
        return status;
    case OPT_SIZE: return size("size", seen->value, (struct range){ 512, UINT64_MAX }, &p->size);
    case OPT_TIME: return seconds("time", seen->value, 0.01, &p->seconds);
    case OPT_WARMUP: return seconds("warmup", seen->value, 0, &p->warmup);
    case OPT_SEQUENTIAL: p->sequential = true; return EXIT_DONE;
    case OPT_VERIFY: p->verify = true; return EXIT_DONE;
    case OPT_PACKED: vio_features_set(&p->ring, VIRTIO_F_RING_PACKED); return EXIT_DONE;
    case OPT_IN_ORDER: vio_features_set(&p->ring, VIRTIO_F_IN_ORDER); return EXIT_DONE;
    case OPT_INDIRECT: vio_features_set(&p->ring, VIRTIO_F_INDIRECT_DESC); return EXIT_DONE;
    case OPT_EVENT_IDX: vio_features_set(&p->ring, VIRTIO_F_EVENT_IDX); return EXIT_DONE;
    case OPT_WAIT: p->wait = true; return EXIT_DONE;
    case OPT_SMALL_PAGES: p->small_pages = true; return EXIT_DONE;
    case OPT_COMPARE: job->compare = true; return EXIT_DONE;
    case OPT_HISTOGRAM: job->histogram = true; return EXIT_DONE;
    case OPT_JSON: job->json = true; return EXIT_DONE;
    default: return take_number(seen, job);
    }
}

static int check(struct job *job)
{
    struct bench_params *p = &job->params;

    if (job->targets == 0)
        return usage_error("vio bench", "no TARGET is named: vio bench vhost-user:PATH");
    if (job->compare != (job->targets == TARGETS_MAX))
        return usage_error("vio bench", job->compare ? "--compare wants two TARGETs" : "two TARGETs are for --compare");
    if (p->block % 512 != 0)
        return usage_error("vio bench", "--block=%u: whole 512-byte sectors", p->block);
    if ((p->queue_size & (p->queue_size - 1)) != 0 && !vio_features_has(p->ring, VIRTIO_F_RING_PACKED))
        return usage_error("vio bench", "--queue-size=%u: a power of two (virtio 1.4, 2.7), unless with --packed", p->queue_size);
    if (p->verify && p->reads == 100)
        return usage_error("vio bench", "--verify checks what was written: it goes with --reads below 100");
    if (job->repeats == 0)
        job->repeats = job->compare ? 5 : 1;
    return EXIT_DONE;
}

/* ------------------------------------------------------------------ text */

static double real(const json_t *object, const char *key)
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

    if (real(l, "count") <= 0)
        return;
    printf("  %s:", what);
    for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        print_time(keys[i], real(l, keys[i]));
    printf("\n");
}

/* Sixteen lines at most: buckets of a power of two, with a bar of their share. */
static void print_histogram(const char *what, const json_t *l)
{
    double power[64] = { 0 }, count = real(l, "count");
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

static void print_run(const json_t *r, bool histogram)
{
    double rate = real(r, "rate");

    printf("%s: %.2f GiB, %s %s queue%s of %lld at depth %lld, %lld-byte requests, %s, %lld %% reads\n",
           json_string_value(json_object_get(r, "target")), real(r, "capacity") / (1 << 30),
           real(r, "queues") == 1 ? "one" : "several", json_string_value(json_object_get(r, "ring")),
           real(r, "queues") == 1 ? "" : "s", (long long)real(r, "queue_size"), (long long)real(r, "depth"),
           (long long)real(r, "block"), json_string_value(json_object_get(r, "pattern")), (long long)real(r, "reads_percent"));
    printf("  %.0f requests/s, %.1f MiB/s; CPU a request: %.0f ns here, %.0f ns in the device's process\n", rate,
           real(r, "bytes_per_second") / (1 << 20), real(r, "cpu_ns_per_request"), real(r, "peer_cpu_ns_per_request"));
    print_latency("reads", json_object_get(r, "read_latency_ns"));
    print_latency("writes", json_object_get(r, "write_latency_ns"));
    if (histogram) {
        print_histogram("reads", json_object_get(r, "read_latency_ns"));
        print_histogram("writes", json_object_get(r, "write_latency_ns"));
    }
    if (json_is_true(json_object_get(r, "verified")))
        printf("  %lld blocks were not what was written\n", (long long)real(r, "wrong_blocks"));
}

/* ------------------------------------------------------------------ runs */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, unsigned n)
{
    qsort(values, n, sizeof(*values), by_value);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* The run of a list whose rate is the median: one that was, not a mixture. */
static json_t *median_run(const json_t *runs)
{
    double rates[REPEATS_MAX], wanted;
    unsigned n = (unsigned)json_array_size(runs);

    for (unsigned i = 0; i < n; i++)
        rates[i] = real(json_array_get(runs, i), "rate");
    qsort(rates, n, sizeof(*rates), by_value);
    wanted = rates[n / 2];
    for (unsigned i = 0; i < n; i++)
        if (real(json_array_get(runs, i), "rate") == wanted)
            return json_array_get(runs, i);
    return NULL;
}

static json_t *ratio_json(json_t *const *runs, unsigned n)
{
    double ratio[REPEATS_MAX], middle;

    for (unsigned i = 0; i < n; i++)
        ratio[i] = real(json_array_get(runs[1], i), "rate") / real(json_array_get(runs[0], i), "rate");
    middle = median(ratio, n); /* sorts them too */
    return json_pack("{s:f, s:f, s:f, s:i}", "median", middle, "lowest", ratio[0], "highest", ratio[n - 1], "pairs", (int)n);
}

static bool wrong_blocks(json_t *const *runs, unsigned targets)
{
    for (unsigned t = 0; t < targets; t++)
        for (size_t i = 0; i < json_array_size(runs[t]); i++)
            if (real(json_array_get(runs[t], i), "wrong_blocks") > 0)
                return true;
    return false;
}

static int report(const struct job *job, json_t *const *runs)
{
    json_t *ratio = job->compare ? ratio_json(runs, job->repeats) : NULL;
    bool wrong = wrong_blocks(runs, job->targets);
    int status;

    if (job->json) {
        json_t *all = json_array();

        for (unsigned t = 0; t < job->targets; t++)
            json_array_extend(all, runs[t]);
        status = print_json(ratio != NULL ? json_pack("{s:o, s:o}", "runs", all, "ratio", ratio) :
                                            json_pack("{s:o}", "runs", all), stdout);
    } else {
        for (unsigned t = 0; t < job->targets; t++)
            print_run(median_run(runs[t]), job->histogram);
        if (ratio != NULL)
            printf("the second is %.2fx of the first (%.2fx to %.2fx in %u pairs)\n", real(ratio, "median"),
                   real(ratio, "lowest"), real(ratio, "highest"), job->repeats);
        json_decref(ratio);
        status = fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
    }
    return status == EXIT_DONE && wrong ? EXIT_FAILED : status;
}

static int run(struct job *job)
{
    json_t *runs[TARGETS_MAX] = { json_array(), json_array() };
    char why[BENCH_WHY];
    int status = EXIT_DONE;

    job->params.progress = !job->json && isatty(STDERR_FILENO);
    for (unsigned i = 0; status == EXIT_DONE && i < job->repeats; i++) {
        for (unsigned t = 0; status == EXIT_DONE && t < job->targets; t++) {
            json_t *result;

            job->params.target = job->target[t];
            result = bench_blk(&job->params, why);
            if (result == NULL || json_array_append_new(runs[t], result) != 0) {
                fprintf(stderr, "vio bench: %s\n", why);
                status = EXIT_FAILED;
            }
        }
    }
    if (status == EXIT_DONE)
        status = report(job, runs);
    for (unsigned t = 0; t < TARGETS_MAX; t++)
        json_decref(runs[t]);
    return status;
}

int word_bench(int argc, char **argv)
{
    struct options options = { .word = "vio bench", .table = table, .argc = argc, .argv = argv };
    struct job job = {
        .params = { .timeout_ms = 5000, .seconds = 3, .warmup = 0.3, .queues = 1, .queue_size = 256, .depth = 32,
                    .block = 4096, .reads = 100, .seed = 1 },
    };
    struct option_seen seen;
    int more, status;

    while ((more = options_next(&options, &seen)) > 0) {
        if (seen.index == OPT_HELP)
            return print_help();
        status = take(&seen, &job);
        if (status != EXIT_DONE)
            return status;
    }
    if (more < 0)
        return EXIT_USAGE;
    status = check(&job);
    return status == EXIT_DONE ? run(&job) : status;
}
