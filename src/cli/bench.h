/* SPDX-License-Identifier: MIT */
/*
 * Purpose: `vio bench TARGET`: loads a device as its driver and says how fast it was, as one JSON object a run.
 * Where it sits: cli/, over the driver side; bench_load.c is what the loads of all types share.
 * Threads: one for each queue that is loaded, made and ended by a run; the caller's waits for them and says how far they are.
 * Trust: what the device answers is checked, counted, and never acted on.
 */
#ifndef VIO_CLI_BENCH_H
#define VIO_CLI_BENCH_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <vio/features.h>

#include "cli/config_fields.h"
#include "cli/histogram.h"
#include "cli/target.h"

enum { BENCH_WHY = TARGET_WHY };

/* out: to the device; in: from it; loop: there and back; ops: small operations, each its own. */
enum bench_mode { BENCH_OUT, BENCH_IN, BENCH_LOOP, BENCH_OPS };

struct bench_params {
    const char *target;
    unsigned timeout_ms;      /* how long the device may be silent */
    double seconds, warmup;
    uint16_t queues, queue_size; /* of a network device: pairs of queues */
    struct vio_features ring; /* ring bits that are asked for where they are offered: PACKED, IN_ORDER... */
    bool wait;                /* sleeps until called, instead of looking all the time */
    bool small_pages;
    bool progress;            /* a line on standard error, each second */
    uint32_t depth;           /* requests in flight on a queue; packets under way in a loop */
    bool verify;
    uint64_t seed;
    uint64_t size;            /* block: only the first bytes of the disk, 0: all; network: bytes of a frame; fs: of a file */
    uint32_t block;           /* bytes of a request */
    enum bench_mode mode;     /* but of block devices */

    /* block */
    unsigned reads;           /* percent; the rest are writes */
    bool sequential;

    /* file system */
    const char *directory;    /* where a directory is made and removed; "" the root */

    /* network */
    unsigned burst;
    double rate;              /* packets a second in all; 0: as many as go */
    double loss;              /* of all packets, at most: the highest rate with that is looked for; negative: it is not */
    bool mergeable;
};

/* A run. NULL: the sentence is in why, BENCH_WHY bytes. */
typedef json_t *bench_load_fn(const struct bench_params *params, char *why);
bench_load_fn bench_blk, bench_net, bench_fs;

/* ------------------------------------------------------------------ the device, open */

struct bench_device { /* at first all 0 */
    struct target target;
    struct vio_bus *bus;
    struct vio_drvdev *d;
};

/* An arena of so many bytes of buffers, and room for rings beside them; and the transport. type: or 0. -errno: why. */
int bench_connect(struct bench_device *device, const struct bench_params *p, uint32_t type, uint64_t bytes,
                  char *why) VIO_MUST_CHECK;
/* The driver, with only those features of rings that were asked for; on a device of this type. -errno: why. */
int bench_drive(struct bench_device *device, const struct bench_params *p, uint32_t type, struct vio_driver *driver,
                char *why) VIO_MUST_CHECK;
/* With --wait queues are waited for by threads of their own: queue 0, stride, 2 * stride... must have calls of their own. */
int bench_check_calls(const struct bench_device *device, const struct bench_params *p, unsigned stride, char *why) VIO_MUST_CHECK;
void bench_disconnect(struct bench_device *device); /* the memory stays: target_free_memory() */

/* ------------------------------------------------------------------ workers, and the time that they are measured in */

enum bench_phase { BENCH_WARM, BENCH_MEASURE, BENCH_STOP };

struct bench_load;

/* The head of each worker. */
struct bench_worker {
    struct bench_load *load;
    pthread_t thread;
    enum bench_phase phase; /* its own: bench_phase() */
    uint64_t cpu_ns;        /* while it was measured */
    _Atomic uint64_t done;  /* while it is measured; for the progress line */
};

struct bench_load {
    const struct bench_params *p;
    void (*work)(struct bench_worker *worker); /* until bench_phase() says BENCH_STOP, and what is in flight came back */
    const char *unit;         /* "requests" */
    double warmup, seconds;
    unsigned workers;
    int socket;               /* to the device's process; -1: none */
    _Atomic bool gave_up;     /* a worker did, for its device does not go on: so does the run */
    _Atomic int phase;
    uint64_t elapsed, peer_cpu; /* ns */
};

/* What the run is at now; where measuring begins and ends, the CPU time is read. */
enum bench_phase bench_phase(struct bench_worker *worker);
/* Runs them all: worker[i] is i * size bytes behind the first. -errno: there is no thread, see why. */
int bench_load(struct bench_load *load, struct bench_worker *first, size_t size, char *why) VIO_MUST_CHECK;

/* ------------------------------------------------------------------ numbers */

/* What a mode is called. */
const char *bench_mode_name(enum bench_mode mode);
/* A latency summary in nanoseconds: {count, mean, min, p50, p90, p99, p99.9, max, histogram: [[upper, count]...]}. */
json_t *bench_latency_json(const struct histogram *h);
/* CPU time that the process at the other end of a socket has used, in ns; 0: not to be seen. */
uint64_t bench_peer_cpu(int socket);
/* The same for each of so many; null: not to be seen. */
json_t *bench_peer_json(const struct bench_device *device, uint64_t cpu, uint64_t count);
uint64_t bench_now(void); /* ns */
/* For people; histogram: with one of each latency. */
void bench_print(const json_t *result, bool histogram);
/* 0 where there is no such number. */
double bench_real(const json_t *object, const char *key);
/* One number from several, each change of any of them changing all its bits. */
uint64_t bench_mix(uint64_t a, uint64_t b, uint64_t c);

#endif
