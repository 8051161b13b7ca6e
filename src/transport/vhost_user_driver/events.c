/* SPDX-License-Identifier: MIT */
/*
 * Purpose: how a vhost-user device tells of changes: messages on the back-end channel, the rings' error descriptor, and the
 * end of the socket; one descriptor for a loop to watch. Where it sits: transport/vhost_user_driver.
 * Threads: the control thread. Trust: the channel's messages are foreign: bounded, and of no effect but "look again".
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/eventfd.h"
#include "transport/vhost_user_driver/internal.h"

enum { MESSAGES_A_TURN = 64, FDS_MAX = 8 };

int vud_events_open(struct vio_vud *v)
{
    int error;

    v->events_fd = epoll_create1(EPOLL_CLOEXEC);
    if (v->events_fd < 0 || vio_eventfd_need(&v->error_fd) != 0)
        return vud_fail(v, -errno, "epoll, eventfd: %s", strerror(errno));
    error = vio_epoll_add(v->events_fd, v->error_fd, EPOLLIN);
    return error != 0 ? vud_fail(v, error, "epoll: %s", strerror(-error)) : 0;
}

void vud_events_close(struct vio_vud *v)
{
    vud_events_gone(v);
    vio_eventfd_close(&v->error_fd);
    if (v->events_fd >= 0)
        close(v->events_fd);
    v->events_fd = -1;
}

/* A closed descriptor leaves the epoll by itself: ours is the only one of this end. */
void vud_events_gone(struct vio_vud *v)
{
    if (v->back_fd >= 0)
        close(v->back_fd);
    v->back_fd = -1;
    v->back_have = 0;
}

int vud_events_connected(struct vio_vud *v)
{
    struct vud_msg msg = { .request = VHOST_USER_SET_BACKEND_REQ_FD, .nr_fds = 1 };
    int pair[2], error = vio_epoll_add(v->events_fd, v->fd, EPOLLRDHUP);

    vud_events_gone(v);
    if (error != 0)
        return vud_fail(v, error, "epoll: %s", strerror(-error));
    if (!vud_has(v, VHOST_USER_PROTOCOL_F_BACKEND_REQ))
        return 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return vud_fail(v, -errno, "socketpair: %s", strerror(errno));
    v->back_fd = pair[0];
    msg.fds = &pair[1];
    error = vio_epoll_add(v->events_fd, v->back_fd, EPOLLIN);
    if (error == 0)
        error = vud_send(v, &msg);
    close(pair[1]);
    return error;
}

/* ------------------------------------------------------------------ the channel */

/* 0: done. What is not ours to do is refused, so that nobody waits. */
static void reply(const struct vio_vud *v, const struct vhost_user_header *header)
{
    struct {
        struct vhost_user_header header;
        uint64_t value;
    } __attribute__((packed)) answer = {
        .header = { header->request, VHOST_USER_VERSION | VHOST_USER_REPLY, sizeof(uint64_t) },
        .value = header->request != VHOST_USER_BACKEND_CONFIG_CHANGE_MSG,
    };

    (void)!send(v->back_fd, &answer, sizeof(answer), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* One more piece of a message; false: no more for now. */
static bool receive_some(struct vio_vud *v, size_t want)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control;
    struct iovec iov = { v->back + v->back_have, want - v->back_have };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes) };
    ssize_t n;

    if (want == v->back_have)
        return true;
    n = recvmsg(v->back_fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n > 0) {
        vud_take_fds(&m, NULL);
        v->back_have += (size_t)n;
        return true;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        vud_events_gone(v);
    return false;
}

static bool one_message(struct vio_vud *v)
{
    struct vhost_user_header header;

    if (v->back_have < sizeof(header) && !receive_some(v, sizeof(header)))
        return false;
    if (v->back_have < sizeof(header))
        return true;
    memcpy(&header, v->back, sizeof(header));
    if (header.size > VUD_BACK_BYTES) {
        (void)vud_fail(v, -EPROTO, "the back-end channel: a message of %u bytes; it is closed", header.size);
        vud_events_gone(v);
        return false;
    }
    if (!receive_some(v, sizeof(header) + header.size))
        return false;
    if (v->back_have < sizeof(header) + header.size)
        return true;
    v->back_have = 0;
    if ((header.flags & VHOST_USER_NEED_REPLY) != 0)
        reply(v, &header);
    return true;
}

void vud_events_clear(struct vio_vud *v)
{
    (void)vio_eventfd_clear(v->error_fd);
    for (unsigned i = 0; i < MESSAGES_A_TURN && v->back_fd >= 0 && one_message(v); i++)
        ;
}
