/* SPDX-License-Identifier: MIT */
/* Purpose: see cli/bench_options.h. */
#include "cli/bench_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench_frame.h"
#include "cli/options.h"
#include "cli/spec.h"
#include "spec/virtio.h"

enum {
    OPT_TYPE, OPT_QUEUES, OPT_QUEUE_SIZE, OPT_PACKED, OPT_IN_ORDER, OPT_INDIRECT, OPT_EVENT_IDX, OPT_WAIT, OPT_SMALL_PAGES,
    OPT_TIME, OPT_WARMUP, OPT_COMPARE, OPT_REPEATS, OPT_HISTOGRAM, OPT_TIMEOUT, OPT_SEED, OPT_JSON, OPT_HELP,
    OPT_READS, OPT_BLOCK, OPT_DEPTH, OPT_SEQUENTIAL, OPT_VERIFY, OPT_SIZE,
    OPT_MODE, OPT_BURST, OPT_RATE, OPT_LOSS, OPT_MRG_RXBUF, OPT_DIRECTORY,
};

static const struct option_text table[] = {
    [OPT_TYPE] = { "type", "TYPE", "what the device is, blk, net or fs, where it cannot be seen" },
    [OPT_QUEUES] = { "queues", "N", "queues (net: pairs of them), each driven by a thread of its own (default 1)" },
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
    [OPT_SEED] = { "seed", "N", "of the random numbers, and of what is written or sent (default 1)" },
    [OPT_JSON] = { "json", NULL, "print as JSON" },
    [OPT_HELP] = { "help", NULL, "show this" },
    [OPT_READS] = { "reads", "PERCENT", "blk: reads among the requests; the rest are writes, which destroy what is on the disk "
                                        "(default 100)" },
    [OPT_BLOCK] = { "block", "SIZE", "bytes of a request: blk: whole sectors (default 4K). fs: of a small file (4K), of one read or write of "
                                     "a stream (64K)" },
    [OPT_DEPTH] = { "depth", "N", "blk: requests in flight on each queue (default 32). net, loop: packets under way on each "
                                  "pair, without --rate (default 128); 1: one after the other." },
    [OPT_SEQUENTIAL] = { "sequential", NULL, "blk: one block after the other, not anywhere" },
    [OPT_VERIFY] = { "verify", NULL, "blk: blocks that were written are checked where they are read. net: packets are numbered "
                                     "and filled also when only sent, checked as a whole when received. fs: streams are "
                                     "checked too" },
    [OPT_SIZE] = { "size", "SIZE", "blk: use only the first SIZE bytes. net: bytes of a frame (default 64), or several sizes "
                                   "with commas: one run each. fs: bytes of the file of a stream (default 64M)" },
    [OPT_MODE] = { "mode", "MODE", "net: out: sends. in: receives what the device gives. loop (default): sends, and receives "
                                   "what the device sends back: also latency, and what was lost. fs: ops (default): small files "
                                   "from their making to their end. out, in: a stream into a file, out of one" },
    [OPT_BURST] = { "burst", "N", "net: packets given to the device at once, at most (default 32)" },
    [OPT_RATE] = { "rate", "N", "net, out and loop: packets a second of all queues together; else as many as go" },
    [OPT_LOSS] = { "loss", "SHARE", "net, loop: looks for the highest rate at which at most so many packets are lost: 0, 0.001% "
                                    "or 1e-5" },
    [OPT_MRG_RXBUF] = { "mrg-rxbuf", NULL, "net: MRG_RXBUF, where the device has it" },
    [OPT_DIRECTORY] = { "directory", "PATH", "fs: where a directory is made, and removed again (default: the root)" },
    { NULL, NULL, NULL },
};

/* Types that an option is for; 0: all. */
enum { BLK = 1, NET = 2, FS = 4 };
static const struct {
    unsigned char types;
} only[] = {
    [OPT_READS] = { BLK }, [OPT_BLOCK] = { BLK | FS }, [OPT_SEQUENTIAL] = { BLK }, [OPT_MODE] = { NET | FS },
    [OPT_BURST] = { NET }, [OPT_RATE] = { NET }, [OPT_LOSS] = { NET }, [OPT_MRG_RXBUF] = { NET }, [OPT_DIRECTORY] = { FS },
    [OPT_QUEUES] = { BLK | NET }, [OPT_WAIT] = { BLK | NET },
    [OPT_QUEUE_SIZE] = { BLK | NET }, [OPT_DEPTH] = { BLK | NET }, [OPT_SIZE] = { BLK | NET | FS },
    [OPT_VERIFY] = { BLK | NET | FS },
};

static int check_blk(struct bench_job *job), check_net(struct bench_job *job), check_fs(struct bench_job *job);

/* The types that there is a load for. */
static const struct loaded {
    const char *name;
    unsigned char bit;
    int (*check)(struct bench_job *job); /* its options, and their defaults */
    bench_load_fn *load;
} loaded[] = { { "blk", BLK, check_blk, bench_blk }, { "net", NET, check_net, bench_net }, { "fs", FS, check_fs, bench_fs } };

/* NULL: there is none. */
static const struct loaded *loaded_of(const char *type)
{
    for (unsigned i = 0; i < sizeof(loaded) / sizeof(loaded[0]); i++)
        if (strcmp(type, loaded[i].name) == 0)
            return &loaded[i];
    return NULL;
}

static int print_help(void)
{
    printf("usage: vio bench TARGET [OPTIONS]\n"
           "       vio bench --compare TARGET TARGET [OPTIONS]\n\n"
           "Loads the device behind TARGET, written\n"
           "    " TARGET_SYNTAX ",\n"
           "as its driver, and says how fast it is: requests or packets a second, latency, CPU time.\n"
           "Whoever's device it is: vio's, qemu-storage-daemon's, DPDK's...\n"
           "A disk is only written to with --reads below 100.\n\n");
    options_help(table, stdout);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

/* ------------------------------------------------------------------ values */

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

static int block(const char *text, struct bench_params *p)
{
    uint64_t value;

    if (spec_parse_size(text, &value) != 0 || value < 1 || value > 16 << 20)
        return usage_error("vio bench", "--block=%s: a size such as 4K, from 1 to 16777216 bytes", text);
    p->block = (uint32_t)value;
    return EXIT_DONE;
}

static int sizes(const char *text, struct bench_job *job)
{
    const char *all = text;
    char one[32];

    for (job->nr_sizes = 0;; text++) {
        size_t n = strcspn(text, ",");
        bool fits = n > 0 && n < sizeof(one) && job->nr_sizes < BENCH_SIZES_MAX;

        snprintf(one, sizeof(one), "%.*s", fits ? (int)n : 0, text);
        if (!fits || spec_parse_size(one, &job->sizes[job->nr_sizes]) != 0 || job->sizes[job->nr_sizes] == 0)
            return usage_error("vio bench", "--size=%s: a size such as 64 or 4K, or up to %d of them with commas", all,
                               BENCH_SIZES_MAX);
        job->nr_sizes++;
        text += n;
        if (*text == '\0')
            return EXIT_DONE;
    }
}

static int mode(const char *text, struct bench_params *p)
{
    for (unsigned i = BENCH_OUT; i <= BENCH_OPS; i++) {
        if (strcmp(text, bench_mode_name((enum bench_mode)i)) == 0) {
            p->mode = (enum bench_mode)i;
            return EXIT_DONE;
        }
    }
    return usage_error("vio bench", "--mode=%s: out, in, loop or ops", text);
}

static int rate(const char *text, struct bench_params *p)
{
    char *end;

    p->rate = strtod(text, &end);
    if (*end != '\0' || end == text || !(p->rate >= 1 && p->rate <= 1e10))
        return usage_error("vio bench", "--rate=%s: packets a second, from 1", text);
    return EXIT_DONE;
}

static int loss(const char *text, struct bench_params *p)
{
    char *end;

    p->loss = strtod(text, &end);
    if (*end == '%' && end != text) {
        p->loss /= 100;
        end++;
    }
    if (*end != '\0' || end == text || !(p->loss >= 0 && p->loss < 1))
        return usage_error("vio bench", "--loss=%s: a share of all packets, from 0, below 100%%: 0.001%%", text);
    return EXIT_DONE;
}

static int take_type(const char *text, struct bench_job *job)
{
    if (loaded_of(text) == NULL)
        return usage_error("vio bench", "--type=%s: there is a load for blk, net and fs", text);
    job->type = config_type_named(text);
    return EXIT_DONE;
}

/* ------------------------------------------------------------------ what was given */

static int take_number(const struct option_seen *seen, struct bench_job *job)
{
    static const struct {
        int option;
        struct range range;
    } ranges[] = {
        { OPT_READS, { 0, 100 } }, { OPT_DEPTH, { 1, 4096 } }, { OPT_QUEUES, { 1, 256 } }, { OPT_QUEUE_SIZE, { 1, 32768 } },
        { OPT_SEED, { 1, UINT64_MAX } }, { OPT_REPEATS, { 1, BENCH_REPEATS_MAX } }, { OPT_TIMEOUT, { 1, 600000 } },
        { OPT_BURST, { 1, 256 } },
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
    case OPT_BURST: job->params.burst = (unsigned)value; break;
    default: job->params.timeout_ms = (unsigned)value; break;
    }
    return EXIT_DONE;
}

static int take(const struct option_seen *seen, struct bench_job *job)
{
    struct bench_params *p = &job->params;

    if (seen->index >= 0)
        job->given |= UINT64_C(1) << seen->index;
    switch (seen->index) {
    case -1:
        if (job->targets == BENCH_TARGETS_MAX)
            return usage_error("vio bench", "'%s' is one TARGET too many", seen->value);
        job->target[job->targets++] = seen->value;
        return EXIT_DONE;
    case OPT_TYPE: return take_type(seen->value, job);
    case OPT_BLOCK: return block(seen->value, p);
    case OPT_SIZE: return sizes(seen->value, job);
    case OPT_MODE: return mode(seen->value, p);
    case OPT_DIRECTORY: p->directory = seen->value; return EXIT_DONE;
    case OPT_RATE: return rate(seen->value, p);
    case OPT_LOSS: return loss(seen->value, p);
    case OPT_TIME: return seconds("time", seen->value, 0.01, &p->seconds);
    case OPT_WARMUP: return seconds("warmup", seen->value, 0, &p->warmup);
    case OPT_SEQUENTIAL: p->sequential = true; return EXIT_DONE;
    case OPT_VERIFY: p->verify = true; return EXIT_DONE;
    case OPT_MRG_RXBUF: p->mergeable = true; return EXIT_DONE;
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

static bool given(const struct bench_job *job, int option)
{
    return job->given >> option & 1;
}

/* Options of one type alone say the type: some back-ends end when who only looked at them hangs up. */
static void imply_type(struct bench_job *job)
{
    if (job->type != NULL)
        return;
    if (given(job, OPT_DIRECTORY) || (given(job, OPT_MODE) && job->params.mode == BENCH_OPS))
        job->type = config_type_named("fs");
}

/* What is wrong whatever the device is. */
static int check_all(struct bench_job *job)
{
    struct bench_params *p = &job->params;
    char why[TARGET_WHY];

    if (job->targets == 0)
        return usage_error("vio bench", "no TARGET is named: vio bench vhost-user:PATH");
    for (unsigned i = 0; i < job->targets; i++) {
        struct target target = { 0 };

        if (target_parse(&target, job->target[i], why) != 0)
            return usage_error("vio bench", "%s", why);
    }
    if (job->compare != (job->targets == BENCH_TARGETS_MAX))
        return usage_error("vio bench", job->compare ? "--compare wants two TARGETs" : "two TARGETs are for --compare");
    if ((p->queue_size & (p->queue_size - 1)) != 0 && !vio_features_has(p->ring, VIRTIO_F_RING_PACKED))
        return usage_error("vio bench", "--queue-size=%u: a power of two (virtio 1.4, 2.7), unless with --packed", p->queue_size);
    if (job->repeats == 0)
        job->repeats = job->compare ? 5 : 1;
    return EXIT_DONE;
}

int bench_options_parse(struct bench_job *job, int argc, char **argv, bool *help)
{
    struct options options = { .word = "vio bench", .table = table, .argc = argc, .argv = argv };
    struct option_seen seen;
    int more, status;

    *job = (struct bench_job){
        .params = { .timeout_ms = 5000, .seconds = 3, .warmup = 0.3, .queues = 1, .queue_size = 256, .reads = 100, .seed = 1,
                    .burst = 32, .loss = -1, .directory = "" },
    };
    *help = false;
    while ((more = options_next(&options, &seen)) > 0) {
        *help = seen.index == OPT_HELP;
        if (*help)
            return print_help();
        status = take(&seen, job);
        if (status != EXIT_DONE)
            return status;
    }
    if (more < 0)
        return EXIT_USAGE;
    imply_type(job);
    return check_all(job);
}

/* ------------------------------------------------------------------ by the type of the device */

static int check_blk(struct bench_job *job)
{
    struct bench_params *p = &job->params;

    p->block = p->block != 0 ? p->block : 4096;
    if (p->block % 512 != 0)
        return usage_error("vio bench", "--block=%u: whole 512-byte sectors", p->block);
    if (p->verify && p->reads == 100)
        return usage_error("vio bench", "--verify checks what was written: it goes with --reads below 100");
    if (job->nr_sizes > 1 || (job->nr_sizes == 1 && job->sizes[0] < 512))
        return usage_error("vio bench", "--size: of a disk it is one size, from 512 bytes");
    p->depth = p->depth != 0 ? p->depth : 32;
    return EXIT_DONE;
}

static int check_net(struct bench_job *job)
{
    struct bench_params *p = &job->params;

    if (!given(job, OPT_MODE))
        p->mode = BENCH_LOOP;
    if (p->mode > BENCH_LOOP)
        return usage_error("vio bench", "--mode=%s: of a network device out, in or loop", bench_mode_name(p->mode));
    for (unsigned i = 0; i < job->nr_sizes; i++)
        if (job->sizes[i] < FRAME_MIN || job->sizes[i] > FRAME_MAX)
            return usage_error("vio bench", "--size=%llu: a frame has %d to %d bytes", (unsigned long long)job->sizes[i],
                               FRAME_MIN, FRAME_MAX);
    if (job->nr_sizes == 0)
        job->sizes[job->nr_sizes++] = 64;
    if (p->queues > FRAME_SOURCES)
        return usage_error("vio bench", "--queues=%u: of a network device at most %d pairs", p->queues, FRAME_SOURCES);
    if (p->loss >= 0 && (p->mode != BENCH_LOOP || p->rate > 0))
        return usage_error("vio bench", "--loss looks for a rate by itself, with --mode=loop");
    if (p->rate > 0 && p->mode == BENCH_IN)
        return usage_error("vio bench", "--rate is for what is sent: the device has its own with --mode=in");
    if (given(job, OPT_DEPTH) && (p->mode != BENCH_LOOP || p->rate > 0 || p->loss >= 0))
        return usage_error("vio bench", "--depth is for --mode=loop, without --rate and --loss");
    p->depth = p->depth != 0 ? p->depth : 128;
    return EXIT_DONE;
}

static int check_fs(struct bench_job *job)
{
    struct bench_params *p = &job->params;

    if (!given(job, OPT_MODE))
        p->mode = BENCH_OPS;
    if (p->mode == BENCH_LOOP)
        return usage_error("vio bench", "--mode=%s: of a file system ops, out or in", bench_mode_name(p->mode));
    if (p->mode == BENCH_OPS && (p->verify || job->nr_sizes > 0))
        return usage_error("vio bench", "--%s is for streams: small files have --block bytes, and are verified always",
                           p->verify ? "verify" : "size");
    if (p->block == 0)
        p->block = p->mode == BENCH_OPS ? 4096 : 64 << 10;
    if (job->nr_sizes == 0)
        job->sizes[job->nr_sizes++] = 64 << 20;
    for (unsigned i = 0; i < job->nr_sizes; i++)
        if (job->sizes[i] < p->block)
            return usage_error("vio bench", "--size=%llu: a file holds one --block at least", (unsigned long long)job->sizes[i]);
    return EXIT_DONE;
}

int bench_options_check(struct bench_job *job)
{
    const struct loaded *found = loaded_of(job->type->name);
    int status;

    if (found == NULL) {
        fprintf(stderr, "vio bench: %s is %s: there is a load for blk, net and fs (--type=TYPE says which it is)\n",
                job->target[0], job->type->says);
        return EXIT_FAILED;
    }
    for (unsigned i = 0; i < sizeof(only) / sizeof(only[0]); i++)
        if (given(job, (int)i) && only[i].types != 0 && !(only[i].types & found->bit))
            return usage_error("vio bench", "--%s is not for %s", table[i].name, job->type->says);
    job->load = found->load;
    status = found->check(job);
    if (job->nr_sizes == 0)
        job->sizes[job->nr_sizes++] = 0;
    return status;
}
