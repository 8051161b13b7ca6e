/* SPDX-License-Identifier: MIT */
/*
 * Purpose: vhost-user messages from the front-end: send with descriptors, receive a reply or an acknowledgement.
 * Where it sits: transport/vhost_user_driver, over spec/vhost_user.h. Threads: the control thread; blocks, but never
 * longer than the timeout. Trust: a reply must answer what was asked, in the length it has, or the line is dropped.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "transport/vhost_user_driver/internal.h"

enum { FDS_MAX = 8, PAYLOAD_MAX = 512 };

const char *vud_message_name(uint32_t request)
{
    static const char *const names[] = {
        [VHOST_USER_GET_FEATURES] = "GET_FEATURES",
        [VHOST_USER_SET_FEATURES] = "SET_FEATURES",
        [VHOST_USER_SET_OWNER] = "SET_OWNER",
        [VHOST_USER_SET_MEM_TABLE] = "SET_MEM_TABLE",
        [VHOST_USER_SET_VRING_NUM] = "SET_VRING_NUM",
        [VHOST_USER_SET_VRING_ADDR] = "SET_VRING_ADDR",
        [VHOST_USER_SET_VRING_BASE] = "SET_VRING_BASE",
        [VHOST_USER_GET_VRING_BASE] = "GET_VRING_BASE",
        [VHOST_USER_SET_VRING_KICK] = "SET_VRING_KICK",
        [VHOST_USER_SET_VRING_CALL] = "SET_VRING_CALL",
        [VHOST_USER_GET_PROTOCOL_FEATURES] = "GET_PROTOCOL_FEATURES",
        [VHOST_USER_SET_PROTOCOL_FEATURES] = "SET_PROTOCOL_FEATURES",
        [VHOST_USER_GET_QUEUE_NUM] = "GET_QUEUE_NUM",
        [VHOST_USER_SET_VRING_ENABLE] = "SET_VRING_ENABLE",
        [VHOST_USER_GET_CONFIG] = "GET_CONFIG",
        [VHOST_USER_SET_CONFIG] = "SET_CONFIG",
        [VHOST_USER_GET_INFLIGHT_FD] = "GET_INFLIGHT_FD",
        [VHOST_USER_SET_INFLIGHT_FD] = "SET_INFLIGHT_FD",
        [VHOST_USER_SET_STATUS] = "SET_STATUS",
        [VHOST_USER_GET_STATUS] = "GET_STATUS",
        [VHOST_USER_SET_LOG_BASE] = "SET_LOG_BASE",
        [VHOST_USER_SET_VRING_ERR] = "SET_VRING_ERR",
        [VHOST_USER_SET_BACKEND_REQ_FD] = "SET_BACKEND_REQ_FD",
        [VHOST_USER_RESET_DEVICE] = "RESET_DEVICE",
        [VHOST_USER_GET_MAX_MEM_SLOTS] = "GET_MAX_MEM_SLOTS",
        [VHOST_USER_ADD_MEM_REG] = "ADD_MEM_REG",
        [VHOST_USER_REM_MEM_REG] = "REM_MEM_REG",
        [VHOST_USER_SET_DEVICE_STATE_FD] = "SET_DEVICE_STATE_FD",
        [VHOST_USER_CHECK_DEVICE_STATE] = "CHECK_DEVICE_STATE",
    };

    if (request >= sizeof(names) / sizeof(names[0]) || names[request] == NULL)
        return "?";
    return names[request];
}

int vud_fail(struct vio_vud *v, int error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(v->why, sizeof(v->why), format, arguments);
    va_end(arguments);
    vio_log(v->log, VIO_LOG_DEBUG, v->t.name, "%s", v->why);
    return error;
}

void vud_hang_up(struct vio_vud *v)
{
    if (v->fd >= 0)
        close(v->fd);
    v->fd = -1;
    v->shared = false;
    vud_events_gone(v);
}

bool vud_alive(const struct vio_vud *v)
{
    struct pollfd p = { .fd = v->fd, .events = POLLRDHUP };

    return v->fd >= 0 && poll(&p, 1, 0) == 0;
}

/* The line is no longer in step: whatever comes next on it cannot be told apart. */
static int drop(struct vio_vud *v, int error, uint32_t request, const char *what)
{
    vud_hang_up(v);
    return vud_fail(v, error, "%s: %s", vud_message_name(request), what);
}

int vud_connect_socket(struct vio_vud *v)
{
    vud_hang_up(v);
    if (!v->has_path)
        return vud_fail(v, -ENOTCONN, "the socket that was given is gone, and there is no path to look for another");
    v->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (v->fd < 0)
        return vud_fail(v, -errno, "socket: %s", strerror(errno));
    if (connect(v->fd, (const struct sockaddr *)&v->address, sizeof(v->address)) < 0) {
        int error = -errno;

        vud_hang_up(v);
        return vud_fail(v, error, "%s: cannot connect: %s%s", v->address.sun_path, strerror(-error),
                        error == -ECONNREFUSED ? " (nobody listens there: start the device first)" : "");
    }
    return 0;
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* 0 when the socket is ready for `events`; -ETIMEDOUT past the deadline. */
static int wait_socket(const struct vio_vud *v, short events, int64_t deadline)
{
    for (;;) {
        int64_t left = deadline - now_ms();
        struct pollfd p = { .fd = v->fd, .events = events };
        int n;

        if (left < 0)
            return -ETIMEDOUT;
        n = poll(&p, 1, (int)left);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
    }
}

/* Descriptors go with the first byte; the rest of a message that was cut follows without them. */
static int send_all(struct vio_vud *v, const struct vud_msg *msg, uint32_t flags)
{
    struct vhost_user_header header = { msg->request, flags, msg->size };
    uint8_t bytes[sizeof(header) + PAYLOAD_MAX];
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control = { 0 };
    size_t size = sizeof(header) + msg->size, sent = 0;
    int64_t deadline = now_ms() + v->timeout_ms;

    if (msg->size > PAYLOAD_MAX || msg->nr_fds > FDS_MAX)
        return -EMSGSIZE;
    memcpy(bytes, &header, sizeof(header));
    if (msg->size > 0)
        memcpy(bytes + sizeof(header), msg->payload, msg->size);
    while (sent < size) {
        struct iovec iov = { bytes + sent, size - sent };
        struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
        ssize_t n;

        if (sent == 0 && msg->nr_fds > 0) {
            struct cmsghdr *c;

            m.msg_control = control.bytes;
            m.msg_controllen = CMSG_SPACE(msg->nr_fds * sizeof(int));
            c = CMSG_FIRSTHDR(&m);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(msg->nr_fds * sizeof(int));
            memcpy(CMSG_DATA(c), msg->fds, msg->nr_fds * sizeof(int));
        }
        n = sendmsg(v->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            sent += (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            int error = wait_socket(v, POLLOUT, deadline);

            if (error)
                return error;
        } else if (n < 0 && errno != EINTR) {
            return errno == EPIPE ? -ECONNRESET : -errno;
        }
    }
    return 0;
}

/* Keeps the first descriptor where one is wanted, and closes all others. */
void vud_take_fds(struct msghdr *m, int *fd)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        size_t n;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int got;

            memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (fd != NULL && *fd < 0)
                *fd = got;
            else
                close(got);
        }
    }
}

static int receive(struct vio_vud *v, void *to, size_t size, int64_t deadline, int *fd)
{
    size_t done = 0;

    while (done < size) {
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
        } control;
        struct iovec iov = { (uint8_t *)to + done, size - done };
        struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
                            .msg_controllen = sizeof(control.bytes) };
        ssize_t n;
        int error = wait_socket(v, POLLIN, deadline);

        if (error)
            return error;
        n = recvmsg(v->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n == 0)
            return -ECONNRESET;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        if (n > 0) {
            vud_take_fds(&m, fd);
            done += (size_t)n;
        }
    }
    return 0;
}

static const char *io_reason(int error)
{
    switch (error) {
    case -ETIMEDOUT:
        return "the device does not answer";
    case -ECONNRESET:
        return "the device hung up";
    default:
        return strerror(-error);
    }
}

int vud_ask(struct vio_vud *v, const struct vud_msg *msg, void *reply, uint32_t max, uint32_t *got, int *fd)
{
    struct vhost_user_header header;
    int64_t deadline;
    int error;

    if (v->fd < 0)
        return vud_fail(v, -ENOTCONN, "%s: not connected", vud_message_name(msg->request));
    error = send_all(v, msg, VHOST_USER_VERSION);
    if (error)
        return drop(v, error, msg->request, io_reason(error));
    deadline = now_ms() + v->timeout_ms;
    if (fd != NULL)
        *fd = -1;
    error = receive(v, &header, sizeof(header), deadline, fd);
    if (error)
        return drop(v, error, msg->request, io_reason(error));
    if (header.request != msg->request || (header.flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION ||
        !(header.flags & VHOST_USER_REPLY))
        error = drop(v, -EPROTO, msg->request, "the device answered something else");
    else if (header.size > max)
        error = drop(v, -EPROTO, msg->request, "the answer is longer than it can be");
    else if ((error = receive(v, reply, header.size, deadline, NULL)) != 0)
        error = drop(v, error, msg->request, io_reason(error));
    if (error) {
        if (fd != NULL && *fd >= 0) {
            close(*fd);
            *fd = -1;
        }
        return error;
    }
    *got = header.size;
    return 0;
}

int vud_ask_u64(struct vio_vud *v, uint32_t request, uint64_t *value)
{
    struct vud_msg msg = { .request = request };
    uint32_t got;
    int error = vud_ask(v, &msg, value, sizeof(*value), &got, NULL);

    if (error)
        return error;
    if (got != sizeof(*value))
        return drop(v, -EPROTO, request, "the answer is not 8 bytes long");
    return 0;
}

int vud_send(struct vio_vud *v, const struct vud_msg *msg)
{
    struct vhost_user_header header;
    int64_t deadline;
    uint64_t answer;
    int error;
    bool ack = vud_has(v, VHOST_USER_PROTOCOL_F_REPLY_ACK);

    if (v->fd < 0)
        return vud_fail(v, -ENOTCONN, "%s: not connected", vud_message_name(msg->request));
    error = send_all(v, msg, VHOST_USER_VERSION | (ack ? VHOST_USER_NEED_REPLY : 0));
    if (error)
        return drop(v, error, msg->request, io_reason(error));
    if (!ack)
        return 0;
    deadline = now_ms() + v->timeout_ms;
    error = receive(v, &header, sizeof(header), deadline, NULL);
    if (error)
        return drop(v, error, msg->request, io_reason(error));
    if (header.request != msg->request || header.size != sizeof(answer) || !(header.flags & VHOST_USER_REPLY))
        return drop(v, -EPROTO, msg->request, "the device acknowledged something else");
    error = receive(v, &answer, sizeof(answer), deadline, NULL);
    if (error)
        return drop(v, error, msg->request, io_reason(error));
    if (answer != 0)
        return vud_fail(v, -EPROTO, "%s: the device refused it (its log may say why)", vud_message_name(msg->request));
    return 0;
}

int vud_send_u64(struct vio_vud *v, uint32_t request, uint64_t value)
{
    struct vud_msg msg = { .request = request, .payload = &value, .size = sizeof(value) };

    return vud_send(v, &msg);
}
