/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the eventfds by which a driver and a device in another process, or in the kernel, tell each other; and the epoll in
 * which several are one. Where it sits: base/, hosted: for the transports of the driver side. Threads: no state; write and
 * read are atomic.
 */
#ifndef VIO_BASE_EVENTFD_H
#define VIO_BASE_EVENTFD_H

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Makes *fd where it is -1. */
static inline int vio_eventfd_need(int *fd)
{
    if (*fd < 0)
        *fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return *fd < 0 ? -errno : 0;
}

/* A full counter (EAGAIN) is a notification that is not yet taken: as good. */
static inline void vio_eventfd_notify(int fd)
{
    uint64_t one = 1;

    (void)!write(fd, &one, sizeof(one));
}

/* Whether there was a notification; now there is none. */
static inline bool vio_eventfd_clear(int fd)
{
    uint64_t count;

    return read(fd, &count, sizeof(count)) == (ssize_t)sizeof(count);
}

static inline void vio_eventfd_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* The epoll `set` is readable from now on when `fd` has one of these events. Which descriptor it was, it does not tell. */
static inline int vio_epoll_add(int set, int fd, uint32_t events)
{
    struct epoll_event event = { .events = events };

    return epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static inline bool vio_fd_readable(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    return poll(&p, 1, 0) > 0;
}

#endif
