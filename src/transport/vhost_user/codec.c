/* SPDX-License-Identifier: MIT */
/* Purpose: framing of vhost-user messages on a socket; see codec.h. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/vhost_user/codec.h"

void vu_msg_drop(struct vu_msg *m)
{
    for (unsigned i = 0; i < m->nr_fds; i++) {
        if (m->fd[i] >= 0)
            close(m->fd[i]);
    }
    m->nr_fds = 0;
}

/* Takes the descriptors off one recvmsg(). False: more than a message can have; all of them are closed then. */
static bool collect_fds(struct msghdr *h, struct vu_msg *m)
{
    bool fits = true;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
        size_t nr;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        nr = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < nr; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
            if (m->nr_fds < VU_FDS_MAX) {
                m->fd[m->nr_fds++] = fd;
            } else {
                close(fd);
                fits = false;
            }
        }
    }
    return fits;
}

static const char *check_head(const struct vhost_user_header *h, bool reply)
{
    if ((h->flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION)
        return "what arrived is not vhost-user: the version in the header's flags is not 1";
    if (h->flags & ~(VHOST_USER_VERSION_MASK | VHOST_USER_REPLY | VHOST_USER_NEED_REPLY))
        return "what arrived is not vhost-user: undefined bits in the header's flags";
    if (((h->flags & VHOST_USER_REPLY) != 0) != reply)
        return reply ? "a request came where only replies are due (bit 2 of the header's flags is clear)" :
                       "a reply came where only requests are due (bit 2 of the header's flags is set): is the other "
                       "side a back-end too?";
    if (h->size > VU_PAYLOAD_MAX)
        return "the header announces a payload longer than any message has";
    return NULL;
}

/* One recvmsg() of what the message still lacks. Bytes, 0 at the end, or -errno. */
static ssize_t receive_some(struct vu_rx *rx, int fd, struct vu_msg *m, size_t want)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(VU_FDS_MAX * sizeof(int))];
    } control;
    uint8_t *to = rx->got < sizeof(m->head) ? (uint8_t *)&m->head + rx->got : m->payload + (rx->got - sizeof(m->head));
    struct iovec iov = { to, want };
    struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room,
                        .msg_controllen = sizeof(control.room) };
    unsigned before = m->nr_fds;
    ssize_t n;

    do
        n = recvmsg(fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    if (h.msg_flags & MSG_CTRUNC)
        rx->truncated = true;
    if (!collect_fds(&h, m))
        return -EMSGSIZE;
    /* "file descriptors will only be received in the first recvmsg operation for a message header" */
    if (m->nr_fds > before && rx->got > 0)
        return -EBADMSG;
    return n;
}

enum vu_received vu_receive(struct vu_rx *rx, int fd, struct vu_msg *m, bool reply, const char **why)
{
    if (rx->got == 0) {
        m->nr_fds = 0;
        rx->truncated = false;
    }
    for (;;) {
        size_t whole = sizeof(m->head) + (rx->got < sizeof(m->head) ? 0 : m->head.size);
        ssize_t n;

        if (rx->got >= sizeof(m->head) && rx->got == whole) {
            rx->got = 0;
            return VU_RX_MESSAGE;
        }
        n = receive_some(rx, fd, m, whole - rx->got);
        if (n == -EAGAIN || n == -EWOULDBLOCK)
            return VU_RX_WAIT;
        if (n == -EBADMSG || n == -EMSGSIZE) {
            *why = n == -EBADMSG ? "descriptors came behind the first byte of a message" :
                                   "more descriptors than one message can have";
            return VU_RX_BAD;
        }
        if (n == 0 || n == -ECONNRESET)
            return VU_RX_END;
        if (n < 0) {
            errno = (int)-n;
            return VU_RX_ERROR;
        }
        rx->got += (size_t)n;
        if (rx->got == sizeof(m->head)) {
            *why = check_head(&m->head, reply);
            if (*why != NULL)
                return VU_RX_BAD;
        }
    }
}

void vu_tx_put(struct vu_tx *tx, uint32_t request, uint32_t flags, const void *payload, uint32_t size, int fd)
{
    struct vhost_user_header head = { request, flags | VHOST_USER_VERSION, size };

    memcpy(tx->bytes, &head, sizeof(head));
    if (size > 0)
        memcpy(tx->bytes + sizeof(head), payload, size);
    tx->at = 0;
    tx->size = sizeof(head) + size;
    tx->fd = fd;
}

void vu_tx_drop(struct vu_tx *tx)
{
    if (tx->fd >= 0)
        close(tx->fd);
    tx->fd = -1;
    tx->size = 0;
}

int vu_tx_send(struct vu_tx *tx, int fd)
{
    while (tx->size > 0) {
        union {
            struct cmsghdr align;
            char room[CMSG_SPACE(sizeof(int))];
        } control = { 0 };
        struct iovec iov = { tx->bytes + tx->at, tx->size - tx->at };
        struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
        ssize_t n;

        if (tx->fd >= 0) {
            h.msg_control = control.room;
            h.msg_controllen = sizeof(control.room);
            *CMSG_FIRSTHDR(&h) = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
                                                   .cmsg_len = CMSG_LEN(sizeof(int)) };
            memcpy(CMSG_DATA(CMSG_FIRSTHDR(&h)), &tx->fd, sizeof(int));
        }
        n = sendmsg(fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return errno == EWOULDBLOCK ? -EAGAIN : -errno;
        }
        if (tx->fd >= 0) {
            close(tx->fd);
            tx->fd = -1;
        }
        tx->at += (size_t)n;
        if (tx->at == tx->size)
            tx->size = 0;
    }
    return 0;
}
