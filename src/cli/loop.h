/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the control thread's loop: descriptors, deadlines, and calls that other threads and signal handlers ask
 * for. Where it sits: cli/; it knows nothing of devices.
 * Threads: all by the thread that runs the loop, but loop_poke(), which is for any thread and any signal handler.
 */
#ifndef VIO_CLI_LOOP_H
#define VIO_CLI_LOOP_H

#include <vio/types.h>

struct loop;

int loop_create(struct loop **out) VIO_MUST_CHECK;
void loop_destroy(struct loop *loop); /* NULL is fine; descriptors that are watched stay open */
/* Until loop_stop(). -errno where the loop itself fails. */
int loop_run(struct loop *loop) VIO_MUST_CHECK;
void loop_stop(struct loop *loop);

/*
 * Calls call(ctx, fd, revents) while fd has one of `events` (poll's bits; POLLERR and POLLHUP always). One watch to
 * a descriptor: a second call changes it; 0 ends it, also for a descriptor that was closed already.
 */
typedef void loop_fd_call(void *ctx, int fd, short revents);
int loop_watch(struct loop *loop, int fd, short events, loop_fd_call *call, void *ctx) VIO_MUST_CHECK;
void loop_unwatch(struct loop *loop, int fd);

/* One deadline. Zero-initialized and given call and ctx by its owner. */
struct loop_timer {
    void (*call)(void *ctx);
    void *ctx;
    uint64_t due_ns; /* 0: not set */
    struct loop_timer *next;
};
void loop_timer_set(struct loop *loop, struct loop_timer *timer, unsigned ms); /* again: moves it */
void loop_timer_cancel(struct loop *loop, struct loop_timer *timer);

/* What loop_poke() has called: once for any number of pokes before it. One in a loop. */
void loop_on_poke(struct loop *loop, void (*call)(void *ctx), void *ctx);
void loop_poke(struct loop *loop);

#endif
