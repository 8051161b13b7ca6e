/* SPDX-License-Identifier: MIT */
/*
 * Purpose: see cli/worker.h. This file is what runs on a worker; making workers and sending them commands is
 * cli/worker_pool.c.
 * Threads: struct worker's `mail`, `reply` and `bell` are shared with the control thread; all else in it and in its
 * queues belongs to the worker while its thread runs.
 */
#include "cli/worker_internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS = 64,
    ROUNDS_BETWEEN_CLOCKS = 16,  /* idle rounds from one look at the clock to the next; a round is 20 to 50 ns */
    LOOK_AFTER = 1024,           /* buffers and rounds between two looks at sleeping queues while others are served */
    GRACE_NS = 2000,             /* about what arming and epoll_wait cost */
    POLL_FIRST_NS = 32000,
    POLL_MAX_NS = 100000,        /* more than a wake-up across cores takes, or polling could never catch on */
    STALLS_MAX = 8,
    STALL_TICK_MS = 1,
};

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* ------------------------------------------------------------------ lists of queues */

static void list_init(struct worker_queue *head)
{
    head->next = head->prev = head;
}

static bool list_empty(const struct worker_queue *head)
{
    return head->next == head;
}

static void list_remove(struct worker_queue *q)
{
    q->prev->next = q->next;
    q->next->prev = q->prev;
    q->next = q->prev = q;
}

static void move_to(struct worker_queue *q, struct worker_queue *head, enum queue_state state)
{
    list_remove(q);
    q->prev = head->prev;
    q->next = head;
    head->prev->next = q;
    head->prev = q;
    q->state = (uint8_t)state;
}

/* ------------------------------------------------------------------ descriptors */

/* What an event carries: the queue, and whether it is a kick. */
static const uintptr_t KICK = 1;

static int watch(struct worker *w, struct worker_queue *q, int fd, uint32_t events, uintptr_t kick)
{
    struct epoll_event event = { .events = events, .data.u64 = (uintptr_t)q | kick };

    if (fd < 0)
        return -1;
    if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &event) == 0)
        return fd;
    vio_log(vio_device_log(q->dev), VIO_LOG_WARNING, vio_device_name(q->dev),
            "queue %u: cannot wait for descriptor %d: %s; the front-end gave one that cannot be polled", q->queue, fd,
            strerror(errno));
    return -1;
}

/*
 * Kicks are watched by their edges: one that nobody reads wakes once. Adding one that was kicked already counts as an
 * edge. A queue that is disabled or being drained takes nothing, so its kicks mean nothing and nobody polls for them.
 */
static void watch_queue(struct worker *w, struct worker_queue *q)
{
    bool takes = q->draining == NULL && vio_device_queue_enabled(q->dev, q->queue);
    int kick = vio_device_queue_kick_fd(q->dev, q->queue);

    q->poll = !takes ? WORKER_POLL_OFF : kick < 0 ? WORKER_POLL_ON : q->wanted;
    if (takes)
        q->kick_fd = watch(w, q, kick, EPOLLIN | EPOLLET, KICK);
    q->backend_fd = watch(w, q, vio_device_queue_backend_fd(q->dev, q->queue), EPOLLIN, 0);
}

static void unwatch_queue(struct worker *w, struct worker_queue *q)
{
    if (q->kick_fd >= 0)
        epoll_ctl(w->epoll, EPOLL_CTL_DEL, q->kick_fd, NULL);
    if (q->backend_fd >= 0)
        epoll_ctl(w->epoll, EPOLL_CTL_DEL, q->backend_fd, NULL);
    q->kick_fd = q->backend_fd = -1;
}

/* ------------------------------------------------------------------ between active and asleep */

static void activate(struct worker *w, struct worker_queue *q)
{
    if (q->state == QUEUE_ARMED)
        vio_device_queue_disarm(q->dev, q->queue);
    q->idle_rounds = 0;
    q->idle_since = 0;
    move_to(q, &w->active, QUEUE_ACTIVE);
}

/* Work came after `gap` of nothing: would polling for longer have caught it? */
static void adapt(struct worker_queue *q, uint64_t gap)
{
    if (q->poll == WORKER_POLL_OFF || gap <= q->poll_ns)
        return;
    if (gap <= POLL_MAX_NS)
        q->poll_ns = q->poll_ns < POLL_MAX_NS / 2 ? q->poll_ns * 2 : POLL_MAX_NS;
    else
        q->poll_ns = q->poll_ns > GRACE_NS * 2 ? q->poll_ns / 2 : GRACE_NS;
}

/*
 * Arms the queue. Where the device says that work waits, but serving makes none of it (all requests it may hold are
 * with the backend, or a translation is missing), the queue is looked at once in a while, not in a circle.
 */
static void go_to_sleep(struct worker *w, struct worker_queue *q)
{
    if (!vio_device_queue_arm(q->dev, q->queue)) {
        q->stalls = 0;
        move_to(q, &w->armed, QUEUE_ARMED);
        return;
    }
    vio_device_queue_disarm(q->dev, q->queue);
    q->idle_rounds = 0;
    if (q->draining || ++q->stalls >= STALLS_MAX)
        move_to(q, &w->stalled, QUEUE_STALLED);
}

static void idle(struct worker *w, struct worker_queue *q)
{
    uint64_t now;

    if (++q->idle_rounds % ROUNDS_BETWEEN_CLOCKS != 0)
        return;
    /*
     * poll=on polls for the driver. For a backend it sleeps as auto does: what finishes the requests may be threads of the
     * kernel's that need this very processor, and would get it only at the end of our time slice. Yielding instead
     * gives whole slices to anybody, and the sleeper is woken sooner than the one who yielded comes back.
     */
    if (q->poll == WORKER_POLL_ON && (q->kick_fd < 0 || vio_device_queue_in_flight(q->dev, q->queue) == 0))
        return;
    now = now_ns();
    if (q->idle_since == 0)
        q->idle_since = now;
    else if (now - q->idle_since >= q->poll_ns)
        go_to_sleep(w, q);
}

/* Takes what has become readable; timeout in ms, -1: until something is. */
static void look(struct worker *w, int timeout)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(w->epoll, events, EVENTS, timeout);
    uint64_t now = 0, bell;

    w->since_look = 0;
    for (int i = 0; i < n; i++) {
        bool kick = (events[i].data.u64 & KICK) != 0;
        struct worker_queue *q = (struct worker_queue *)(uintptr_t)(events[i].data.u64 & ~(uint64_t)KICK);

        if (q == NULL) { /* the bell: the mail is looked at anyway */
            while (read(w->bell, &bell, sizeof(bell)) < 0 && errno == EINTR)
                ;
            continue;
        }
        if (kick)
            vio_device_queue_kick_drain(q->dev, q->queue);
        if (q->state == QUEUE_ARMED) {
            if (now == 0)
                now = now_ns();
            adapt(q, now - q->idle_since);
            activate(w, q);
        } else if (q->state == QUEUE_STALLED) {
            activate(w, q);
        }
    }
    if (timeout != 0)
        while (!list_empty(&w->stalled))
            activate(w, w->stalled.next);
}

/* ------------------------------------------------------------------ commands */

static void answer(struct worker *w, struct command *command, int result)
{
    command->result = result;
    sem_post(&w->reply);
}

static void do_attach(struct worker *w, struct command *command)
{
    struct worker_queue *q = command->queue;
    int err = vio_device_queue_enter(q->dev, q->queue);

    if (err == 0) {
        list_init(q);
        q->kick_fd = q->backend_fd = -1;
        q->poll_ns = q->wanted == WORKER_POLL_OFF ? GRACE_NS : POLL_FIRST_NS;
        watch_queue(w, q);
        vio_device_queue_disarm(q->dev, q->queue);
        activate(w, q);
    }
    answer(w, command, err);
}

static void do_park(struct worker *w, struct command *command)
{
    struct worker_queue *q = command->queue;

    if (q->parked++ == 0) {
        unwatch_queue(w, q);
        if (q->state == QUEUE_ARMED)
            vio_device_queue_disarm(q->dev, q->queue);
        list_remove(q);
        q->state = QUEUE_PARKED;
        vio_device_queue_parked(q->dev, q->queue, true);
    }
    answer(w, command, 0);
}

static void do_unpark(struct worker *w, struct command *command)
{
    struct worker_queue *q = command->queue;

    assert(q->parked > 0);
    if (--q->parked == 0) {
        vio_device_queue_parked(q->dev, q->queue, false);
        watch_queue(w, q);
        activate(w, q);
    }
    answer(w, command, 0);
}

/* Answered when the last request is done; the worker serves its other queues meanwhile. */
static void do_detach(struct worker *w, struct command *command)
{
    struct worker_queue *q = command->queue;

    q->draining = command;
    unwatch_queue(w, q);
    watch_queue(w, q);
    activate(w, q);
}

static void drained(struct worker *w, struct worker_queue *q)
{
    struct command *command = q->draining;

    unwatch_queue(w, q);
    list_remove(q);
    vio_device_queue_leave(q->dev, q->queue);
    answer(w, command, 0);
}

static void take_command(struct worker *w)
{
    /* acquire: pairs with the release in tell(), so that the command's fields and the queue are seen */
    struct command *command = atomic_exchange_explicit(&w->mail, NULL, memory_order_acquire);

    if (command == NULL)
        return;
    switch (command->what) {
    case COMMAND_ATTACH: do_attach(w, command); break;
    case COMMAND_DETACH: do_detach(w, command); break;
    case COMMAND_PARK: do_park(w, command); break;
    case COMMAND_UNPARK: do_unpark(w, command); break;
    case COMMAND_QUIT:
        w->quit = true;
        answer(w, command, 0);
        break;
    }
}

/* ------------------------------------------------------------------ the loop */

static unsigned serve(struct worker *w, struct worker_queue *q)
{
    unsigned done = vio_device_queue_service(q->dev, q->queue, q->draining != NULL ? 0 : WORKER_BUDGET);

    if (q->draining != NULL && vio_device_queue_in_flight(q->dev, q->queue) == 0) {
        drained(w, q);
        return done;
    }
    if (done > 0) {
        q->idle_rounds = 0;
        q->idle_since = 0;
        q->stalls = 0;
    } else {
        idle(w, q);
    }
    return done;
}

void *worker_run(void *arg)
{
    struct worker *w = arg;

    list_init(&w->active);
    list_init(&w->armed);
    list_init(&w->stalled);
    while (!w->quit) {
        unsigned done = 0;

        if (atomic_load_explicit(&w->mail, memory_order_relaxed) != NULL)
            take_command(w);
        for (struct worker_queue *q = w->active.next, *next; q != &w->active; q = next) {
            next = q->next;
            done += serve(w, q);
        }
        if (list_empty(&w->active) && !w->quit) {
            look(w, list_empty(&w->stalled) ? -1 : STALL_TICK_MS);
            continue;
        }
        if (done == 0)
            cpu_relax();
        w->since_look += done + 1;
        if (w->since_look >= LOOK_AFTER && !(list_empty(&w->armed) && list_empty(&w->stalled)))
            look(w, 0);
    }
    return NULL;
}
