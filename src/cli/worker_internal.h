/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what cli/worker.c (a worker's thread) and cli/worker_pool.c (the control thread's end) share.
 */
#ifndef VIO_CLI_WORKER_INTERNAL_H
#define VIO_CLI_WORKER_INTERNAL_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "cli/worker.h"

enum command_what { COMMAND_ATTACH, COMMAND_DETACH, COMMAND_PARK, COMMAND_UNPARK, COMMAND_QUIT };

/* On the control thread's stack until it is answered. */
struct command {
    enum command_what what;
    struct worker_queue *queue;
    int result;
};

enum queue_state {
    QUEUE_ACTIVE,  /* served in each round */
    QUEUE_ARMED,   /* asleep until a descriptor is readable */
    QUEUE_STALLED, /* looked at by the clock: see go_to_sleep() */
    QUEUE_PARKED,  /* not touched */
};

/* One queue in a worker's hands. Made and freed by the control thread, between attach and detach the worker's. */
struct worker_queue {
    struct worker_queue *next, *prev;
    struct vio_device *dev;
    uint16_t queue;
    uint8_t state;        /* enum queue_state */
    enum worker_poll wanted, poll; /* as asked for, and as it is: without a kick descriptor it is polled */
    int kick_fd, backend_fd; /* as they are watched; -1: not */
    unsigned parked;      /* park without unpark, so many times */
    unsigned stalls;
    uint32_t idle_rounds; /* rounds of nothing to do since the last work */
    uint64_t idle_since;  /* ns; 0: not looked at the clock yet */
    uint64_t poll_ns;
    struct command *draining; /* to be answered when nothing is in flight; NULL: not draining */
};

struct worker {
    /* shared */
    _Alignas(64) _Atomic(struct command *) mail; /* one command at a time; emptied by the worker */
    sem_t reply;
    int bell; /* eventfd: wakes the worker for its mail */
    /* the worker's */
    _Alignas(64) struct worker_queue active;
    struct worker_queue armed, stalled; /* heads of lists */
    int epoll;
    unsigned since_look;
    bool quit;
    /* the control thread's */
    _Alignas(64) pthread_t thread;
    bool running;
    unsigned queues; /* attached */
    unsigned number;
};

void *worker_run(void *arg);

#endif
