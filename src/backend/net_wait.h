/* SPDX-License-Identifier: MIT */
/*
 * Purpose: how network backends keep their fd() honest: a bell (an eventfd that is readable or not), and descriptors
 * whose place in the backend's own epoll set follows what the device can use now.
 * Where it sits: backend/, private to the network backends. Threads: the owner's.
 */
#ifndef VIO_BACKEND_NET_WAIT_H
#define VIO_BACKEND_NET_WAIT_H

#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <vio/types.h>

struct net_bell {
    int fd;
    bool rung;
};

/* A system call only where something changes: a device that sleeps and wakes often asks for the same again. */
static inline void net_bell_set(struct net_bell *bell, bool ring)
{
    uint64_t count = 1;

    if (bell->rung == ring)
        return;
    /* Neither can fail or wait: the counter is 0 or 1, and the descriptor ours and non-blocking. */
    if (ring)
        (void)!write(bell->fd, &count, sizeof count);
    else
        (void)!read(bell->fd, &count, sizeof count);
    bell->rung = ring;
}

struct net_watch {
    int fd;          /* -1: none */
    uint32_t events; /* that it is in the set for; 0: it is not in the set, so that not even EPOLLHUP wakes anybody */
};

static inline void net_watch_set(int epoll_fd, struct net_watch *w, uint32_t events)
{
    struct epoll_event event = { .events = events };
    int op = !w->events ? EPOLL_CTL_ADD : !events ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;

    if (w->fd < 0 || w->events == events)
        return;
    if (epoll_ctl(epoll_fd, op, w->fd, &event) == 0)
        w->events = events;
}

/* Out of the set and closed. */
static inline void net_watch_close(int epoll_fd, struct net_watch *w)
{
    if (w->fd < 0)
        return;
    net_watch_set(epoll_fd, w, 0);
    close(w->fd);
    *w = (struct net_watch){ .fd = -1 };
}

#endif
