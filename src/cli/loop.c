/* SPDX-License-Identifier: MIT */
/* Purpose: see cli/loop.h. */
#include "cli/loop.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 32 };
static const uint64_t NS_PER_MS = 1000000;

/*
 * A watch lives in a slot. An event carries the slot and its generation, so that one which was queued before the
 * watch ended, or before the slot was used again, is recognized.
 */
struct watch {
    int fd; /* -1: free */
    uint32_t generation;
    loop_fd_call *call;
    void *ctx;
};

struct loop {
    int epoll;
    int bell;
    bool stop;
    struct watch *watch;
    uint32_t nr_watch;
    struct loop_timer *timers;
    void (*poked)(void *ctx);
    void *poked_ctx;
};

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 * NS_PER_MS + (uint64_t)ts.tv_nsec;
}

/* ------------------------------------------------------------------ descriptors */

static struct watch *find_watch(struct loop *loop, int fd)
{
    for (uint32_t i = 0; i < loop->nr_watch; i++)
        if (loop->watch[i].fd == fd)
            return &loop->watch[i];
    return NULL;
}

static struct watch *new_watch(struct loop *loop)
{
    struct watch *free_one = find_watch(loop, -1), *more;
    uint32_t nr;

    if (free_one != NULL)
        return free_one;
    nr = loop->nr_watch > 0 ? loop->nr_watch * 2 : 16;
    more = realloc(loop->watch, nr * sizeof(*more));
    if (more == NULL)
        return NULL;
    for (uint32_t i = loop->nr_watch; i < nr; i++)
        more[i] = (struct watch){ .fd = -1 };
    free_one = &more[loop->nr_watch];
    loop->watch = more;
    loop->nr_watch = nr;
    return free_one;
}

static uint32_t to_epoll(short events)
{
    return ((events & POLLIN) != 0 ? (uint32_t)EPOLLIN : 0) | ((events & POLLOUT) != 0 ? (uint32_t)EPOLLOUT : 0);
}

static short from_epoll(uint32_t events)
{
    return (short)(((events & EPOLLIN) != 0 ? POLLIN : 0) | ((events & EPOLLOUT) != 0 ? POLLOUT : 0) |
                   ((events & EPOLLERR) != 0 ? POLLERR : 0) | ((events & EPOLLHUP) != 0 ? POLLHUP : 0));
}

int loop_watch(struct loop *loop, int fd, short events, loop_fd_call *call, void *ctx)
{
    struct epoll_event event = { .events = to_epoll(events) };
    struct watch *w = find_watch(loop, fd);

    if (events == 0) {
        loop_unwatch(loop, fd);
        return 0;
    }
    if (w == NULL)
        w = new_watch(loop);
    if (w == NULL)
        return -ENOMEM;
    event.data.u64 = (uint64_t)(w - loop->watch) << 32 | (w->generation + (w->fd == fd ? 0 : 1));
    /* The number may have been closed and opened again since: then the kernel has forgotten it, and we have not. */
    if (epoll_ctl(loop->epoll, EPOLL_CTL_MOD, fd, &event) < 0 && epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        return -errno;
    if (w->fd != fd)
        w->generation++;
    w->fd = fd;
    w->call = call;
    w->ctx = ctx;
    return 0;
}

void loop_unwatch(struct loop *loop, int fd)
{
    struct watch *w = find_watch(loop, fd);

    if (fd < 0 || w == NULL)
        return;
    epoll_ctl(loop->epoll, EPOLL_CTL_DEL, fd, NULL);
    w->fd = -1;
    w->generation++;
}

static void dispatch(struct loop *loop, const struct epoll_event *event)
{
    uint32_t slot = (uint32_t)(event->data.u64 >> 32);
    uint32_t generation = (uint32_t)event->data.u64;
    struct watch w;

    if (slot >= loop->nr_watch)
        return;
    w = loop->watch[slot]; /* a copy: the call may move the table */
    if (w.fd >= 0 && w.generation == generation)
        w.call(w.ctx, w.fd, from_epoll(event->events));
}

/* ------------------------------------------------------------------ deadlines */

void loop_timer_set(struct loop *loop, struct loop_timer *timer, unsigned ms)
{
    loop_timer_cancel(loop, timer);
    timer->due_ns = now_ns() + ms * NS_PER_MS;
    timer->next = loop->timers;
    loop->timers = timer;
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *timer)
{
    for (struct loop_timer **t = &loop->timers; *t != NULL; t = &(*t)->next) {
        if (*t == timer) {
            *t = timer->next;
            break;
        }
    }
    timer->due_ns = 0;
}

static int next_timeout(const struct loop *loop)
{
    uint64_t first = UINT64_MAX, now, ms;

    for (const struct loop_timer *t = loop->timers; t != NULL; t = t->next)
        first = vio_min_u64(first, t->due_ns);
    if (first == UINT64_MAX)
        return -1;
    now = now_ns();
    if (first <= now)
        return 0;
    ms = (first - now + NS_PER_MS - 1) / NS_PER_MS;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

/* Those that are due now; what a call sets anew waits for the next round. */
static void run_timers(struct loop *loop)
{
    uint64_t now;
    bool found = loop->timers != NULL;

    if (!found)
        return;
    now = now_ns();
    while (found && !loop->stop) {
        found = false;
        for (struct loop_timer *t = loop->timers; t != NULL; t = t->next) {
            if (t->due_ns > now)
                continue;
            loop_timer_cancel(loop, t);
            t->call(t->ctx); /* may change the list: start again */
            found = true;
            break;
        }
    }
}

/* ------------------------------------------------------------------ pokes, and the loop */

void loop_on_poke(struct loop *loop, void (*call)(void *ctx), void *ctx)
{
    loop->poked = call;
    loop->poked_ctx = ctx;
}

void loop_poke(struct loop *loop)
{
    uint64_t one = 1;
    int saved = errno;

    while (write(loop->bell, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
    errno = saved;
}

static void bell_rings(void *ctx, int fd, short revents)
{
    struct loop *loop = ctx;
    uint64_t count;

    (void)revents;
    if (read(fd, &count, sizeof(count)) == (ssize_t)sizeof(count) && loop->poked != NULL)
        loop->poked(loop->poked_ctx);
}

int loop_create(struct loop **out)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    int err = 0;

    if (loop == NULL)
        return -ENOMEM;
    loop->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (loop->bell < 0 || loop->epoll < 0)
        err = -errno;
    else
        err = loop_watch(loop, loop->bell, POLLIN, bell_rings, loop);
    if (err < 0) {
        loop_destroy(loop);
        return err;
    }
    *out = loop;
    return 0;
}

void loop_destroy(struct loop *loop)
{
    if (loop == NULL)
        return;
    if (loop->bell >= 0)
        close(loop->bell);
    if (loop->epoll >= 0)
        close(loop->epoll);
    free(loop->watch);
    free(loop);
}

void loop_stop(struct loop *loop)
{
    loop->stop = true;
}

int loop_run(struct loop *loop)
{
    struct epoll_event events[EVENTS];

    loop->stop = false;
    while (!loop->stop) {
        int n = epoll_wait(loop->epoll, events, EVENTS, next_timeout(loop));

        if (n < 0 && errno != EINTR)
            return -errno;
        for (int i = 0; i < n && !loop->stop; i++)
            dispatch(loop, &events[i]);
        run_timers(loop);
    }
    return 0;
}
