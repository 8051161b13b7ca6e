/* SPDX-License-Identifier: MIT */
/*
 * Purpose: libslirp's sockets and timers. It names the sockets that it waits for anew each time, so a turn is: ask for them,
 * poll(2) without waiting, tell it. To sleep, the same sockets go into an epoll set, with a timer for the nearest end.
 * Where it sits: backend/net_user. Threads: the owner's, but for opening and closing.
 */
#include "backend/net_user.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* What libslirp answers where nothing of its own is due: it would be asked once a second. It need not be. */
#define SLIRP_TIMEOUT_NONE 1000u
#define USER_RETRY_MS 20

int64_t user_now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------ timers */

void *user_timer_new(SlirpTimerCb call, void *arg, void *opaque)
{
    struct user *u = opaque;

    for (unsigned i = 0; i < USER_TIMERS_MAX; i++) {
        if (!u->timer[i].used) {
            u->timer[i] = (struct user_timer){ .call = call, .arg = arg, .used = true };
            return &u->timer[i];
        }
    }
    return NULL;
}

void user_timer_free(void *timer, void *opaque)
{
    struct user_timer *t = timer;

    (void)opaque;
    if (t)
        *t = (struct user_timer){ 0 };
}

void user_timer_mod(void *timer, int64_t due_ms, void *opaque)
{
    struct user_timer *t = timer;

    (void)opaque;
    if (t) {
        t->due_ms = due_ms;
        t->running = true;
    }
}

static void fire_timers(struct user *u, int64_t now_ms)
{
    for (unsigned i = 0; i < USER_TIMERS_MAX; i++) {
        struct user_timer *t = &u->timer[i];

        if (t->running && t->due_ms <= now_ms) {
            t->running = false;
            t->call(t->arg);
        }
    }
}

/* When the nearest of our timers is due; -1: none runs. */
static int64_t next_timer_ms(const struct user *u)
{
    int64_t next = -1;

    for (unsigned i = 0; i < USER_TIMERS_MAX; i++) {
        if (u->timer[i].running && (next < 0 || u->timer[i].due_ms < next))
            next = u->timer[i].due_ms > 0 ? u->timer[i].due_ms : 0;
    }
    return next;
}

/* ------------------------------------------------------------------ sockets */

static short to_poll(int events)
{
    return (short)((events & SLIRP_POLL_IN ? POLLIN : 0) | (events & SLIRP_POLL_OUT ? POLLOUT : 0) |
                   (events & SLIRP_POLL_PRI ? POLLPRI : 0));
}

static int from_poll(int events)
{
    return (events & POLLIN ? SLIRP_POLL_IN : 0) | (events & POLLOUT ? SLIRP_POLL_OUT : 0) |
           (events & POLLPRI ? SLIRP_POLL_PRI : 0) | (events & (POLLERR | POLLNVAL) ? SLIRP_POLL_ERR : 0) |
           (events & POLLHUP ? SLIRP_POLL_HUP : 0);
}

/* Makes room for `need` elements of `size`; false: no memory. */
static bool grow(void *array, size_t *room, size_t need, size_t size)
{
    size_t more = *room ? *room * 2 : 64;
    void *old, *new;

    if (need <= *room)
        return true;
    memcpy(&old, array, sizeof old);
    new = realloc(old, more * size);
    if (!new)
        return false;
    memcpy(array, &new, sizeof new);
    *room = more;
    return true;
}

/* Without memory the socket is not looked at in this turn: -1 is how libslirp says that itself. */
static int add_socket(int fd, int events, void *opaque)
{
    struct user *u = opaque;

    if (!grow(&u->poll, &u->room_poll, u->nr_poll + 1, sizeof *u->poll))
        return -1;
    u->poll[u->nr_poll] = (struct pollfd){ .fd = fd, .events = to_poll(events) };
    return (int)u->nr_poll++;
}

static int socket_events(int index, void *opaque)
{
    const struct user *u = opaque;

    return index >= 0 && (size_t)index < u->nr_poll ? from_poll(u->poll[index].revents) : 0;
}

/* Milliseconds until libslirp wants to be called; UINT32_MAX: it does not. */
static uint32_t ask_sockets(struct user *u)
{
    uint32_t timeout = UINT32_MAX;

    u->nr_poll = 0;
    u->api.pollfds_fill(u->slirp, &timeout, add_socket, u);
    return timeout >= SLIRP_TIMEOUT_NONE ? UINT32_MAX : timeout;
}

static void tell(struct user *u, bool failed)
{
    u->turned_ms = user_now_ms();
    u->api.pollfds_poll(u->slirp, failed, socket_events, u);
    fire_timers(u, u->turned_ms);
}

void user_turn(struct user *u)
{
    bool failed;

    ask_sockets(u);
    failed = u->nr_poll && poll(u->poll, u->nr_poll, 0) < 0;
    tell(u, failed);
}

void user_turn_timers(struct user *u)
{
    tell(u, true);
}

/* ------------------------------------------------------------------ sleeping */

/* EPOLL* and POLL* of these are the same numbers. */
_Static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLPRI == POLLPRI, "events of poll are events of epoll");

/*
 * The epoll set becomes u->poll. A closed socket has left the set by itself and its number may be another's by now, so what
 * is in there is not remembered but asked: each is changed, and added where there is none.
 */
static int fill_epoll(struct user *u)
{
    for (size_t i = 0; i < u->nr_armed; i++) {
        if (i >= u->nr_poll || u->poll[i].fd != u->armed[i])
            epoll_ctl(u->epoll_fd, EPOLL_CTL_DEL, u->armed[i], NULL); /* gone already: fine */
    }
    u->nr_armed = 0;
    while (u->room_armed < u->nr_poll) {
        if (!grow(&u->armed, &u->room_armed, u->room_armed + 1, sizeof *u->armed))
            return -ENOMEM;
    }
    for (size_t i = 0; i < u->nr_poll; i++) {
        int fd = u->poll[i].fd;
        struct epoll_event event = { .events = (uint32_t)u->poll[i].events, .data.fd = fd };

        if (epoll_ctl(u->epoll_fd, EPOLL_CTL_MOD, fd, &event) < 0 &&
            (errno != ENOENT || epoll_ctl(u->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0))
            return -errno;
        u->armed[u->nr_armed++] = fd;
    }
    return 0;
}

/* due_ms: -1 for never. A time that has passed makes the descriptor readable at once. */
static void set_timer(struct user *u, int64_t due_ms)
{
    struct itimerspec t = { 0 };

    if (due_ms >= 0) {
        t.it_value.tv_sec = (time_t)(due_ms / 1000);
        t.it_value.tv_nsec = (long)(due_ms % 1000) * 1000000 + 1; /* 0.0 would be never */
    }
    timerfd_settime(u->timer_fd, TFD_TIMER_ABSTIME, &t, NULL); /* a time like this is never refused */
}

void user_turn_arm(struct user *u, bool quiet)
{
    int64_t due_ms = -1, now_ms = user_now_ms();
    uint32_t timeout;

    u->nr_poll = 0;
    if (!quiet) {
        timeout = ask_sockets(u);
        due_ms = next_timer_ms(u);
        if (timeout != UINT32_MAX && (due_ms < 0 || due_ms > now_ms + timeout))
            due_ms = now_ms + timeout;
    }
    /* The kernel has no memory for a wait on them all: then they are looked at now and then. */
    if (fill_epoll(u) < 0 && (due_ms < 0 || due_ms > now_ms + USER_RETRY_MS))
        due_ms = now_ms + USER_RETRY_MS;
    set_timer(u, due_ms);
}

void user_turn_ring(struct user *u)
{
    set_timer(u, 0);
}

int user_turn_open(struct user *u)
{
    struct epoll_event event = { .events = EPOLLIN };

    u->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    u->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (u->epoll_fd < 0 || u->timer_fd < 0 || epoll_ctl(u->epoll_fd, EPOLL_CTL_ADD, u->timer_fd, &event) < 0)
        return -errno;
    return 0;
}

void user_turn_close(struct user *u)
{
    if (u->epoll_fd >= 0)
        close(u->epoll_fd);
    if (u->timer_fd >= 0)
        close(u->timer_fd);
    free(u->poll);
    free(u->armed);
}
