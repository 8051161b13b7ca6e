/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the load of a network device (bench_net.c) and its runs (bench_net_run.c) share. Where it sits: cli/.
 * Threads: a worker's fields are its own while it runs, but those that are atomic.
 */
#ifndef VIO_CLI_BENCH_NET_H
#define VIO_CLI_BENCH_NET_H

#include <vio/drv_net.h>

#include "cli/bench.h"
#include "cli/bench_frame.h"

enum {
    NET_BURST = 256, /* frames that are sent at once, at most */
    NET_CHUNK = 32,  /* that are received, or given to receive into */
};

struct net_run;

struct net_worker {
    struct bench_worker head;
    struct net_run *run;
    uint16_t pair;
    bool stamps;                 /* frames carry a number: somebody looks at it */
    struct vio_net_pool *send_pool, *receive_pool;
    uint8_t *scratch;            /* a frame of several pieces, put together */

    unsigned burst, paced;       /* frames in a burst; with a rate */
    unsigned chunk;              /* buffers given to receive into at once: as a small queue allows */
    double due, gap;             /* ns: when the next frame is to go; from one to the next, 0: no rate */
    uint64_t number, number_before; /* of the next frame; at the beginning of this load */
    uint64_t given_up;           /* numbers below are not waited for */
    _Atomic uint64_t reached;    /* numbers below came back, or were overtaken; by whoever received them */

    uint64_t unique_before;      /* net_unique() at the beginning of this load */
    _Atomic uint64_t back;       /* and since: for others to see, after the end */
    unsigned heard;              /* by the last call of net_used() */
    uint64_t moved;              /* when something did; 0: just now */
    unsigned looks;
    bool silent, broken;

    uint64_t sent_measured, received_measured, bytes, corrupt, foreign, nonsense;
    struct frame_sequence *sequence; /* of each sender */
    struct histogram latency;
};

struct net_run {
    const struct bench_params *p;
    struct bench_device device;
    struct vio_drv_net_driver driver;
    struct vio_drv_net *n;
    struct net_worker *worker; /* p->queues */
    double rate;               /* of this load, all workers together; 0: none */
    bool flood;                /* a loop that sends whatever goes, not only what comes back */
    unsigned window;           /* frames under way, of each worker */
    _Atomic unsigned ended;
};

void net_work(struct bench_worker *head);
/* Different frames that came, of all senders. */
uint64_t net_unique(const struct net_worker *w);
void net_used(void *ctx, struct vio_drvdev *d, uint16_t queue);

#endif
