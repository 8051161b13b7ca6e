/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the threads that serve queues. Where it sits: cli/, above device/core, below nothing but the words of the
 * command; it knows no device type and no transport.
 * Threads: all functions here are the control thread's. A worker owns the queues it was given; the control thread
 * sends it one command at a time (attach, detach, park, unpark) and waits for the answer, so that nothing is locked
 * while queues are served.
 *
 * A worker serves its active queues in turn, at most WORKER_BUDGET buffers each. A queue with nothing to do for a
 * while is armed and sleeps: it costs nothing until its kick or backend descriptor is readable. How long "a while" is:
 *   off   about what going to sleep costs (2 us), so that a driver who answers at once is not met asleep;
 *   auto  between that and 100 us, longer where polling would have caught the next work, shorter where not;
 *   on    for ever, but as with auto while requests are with the backend. A queue without a kick descriptor is
 *         polled for ever, however it was asked for.
 */
#ifndef VIO_CLI_WORKER_H
#define VIO_CLI_WORKER_H

#include <vio/device.h>

enum { WORKER_BUDGET = 256, WORKER_THREADS_MAX = 256 };

enum worker_poll { WORKER_POLL_OFF, WORKER_POLL_ON, WORKER_POLL_AUTO };

struct worker_pool;
struct worker_group; /* one device's share of the pool; the host_ctx of its device */

/*
 * threads = 0: each group has workers of its own. Else all groups share that many. A worker's thread is made when
 * its first queue comes.
 */
int worker_pool_create(unsigned threads, const struct vio_log *log, struct worker_pool **out) VIO_MUST_CHECK;
/* Ends the threads. No queue is attached, and no group is left. NULL is fine. */
void worker_pool_destroy(struct worker_pool *pool);
unsigned worker_pool_running(const struct worker_pool *pool); /* threads there are now */

struct worker_group_params {
    unsigned threads;      /* the group's queues are spread over so many workers; >= 1 */
    /*
     * NULL, or what several groups have in common: those of one name are served by one and the same worker, so that what
     * their devices share needs no lock. threads is 1 then. Copied.
     */
    const char *name;
    enum worker_poll poll;
    void (*wake)(void *ctx, struct vio_device *dev); /* any thread: vio_host_ops.wake */
    void *wake_ctx;
};
int worker_group_create(struct worker_pool *pool, const struct worker_group_params *params, struct worker_group **out)
    VIO_MUST_CHECK;
void worker_group_destroy(struct worker_group *group); /* none of its queues is attached; NULL is fine */

/* The host operations of a device whose host_ctx is a struct worker_group. One device to a group. */
extern const struct vio_host_ops worker_host_ops;

#endif
