/* SPDX-License-Identifier: MIT */
#include "fake_backend.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static bool read_all(int fd, void *to, size_t size, int *fds, unsigned *nr_fds)
{
    size_t done = 0;

    while (done < size) {
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(8 * sizeof(int))];
        } control;
        struct iovec iov = { (char *)to + done, size - done };
        struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
                            .msg_controllen = sizeof(control.bytes) };
        ssize_t n = recvmsg(fd, &m, 0);

        if (n <= 0)
            return false;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
            size_t got = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

            memcpy(fds + *nr_fds, CMSG_DATA(c), got * sizeof(int));
            *nr_fds += (unsigned)got;
        }
        done += (size_t)n;
    }
    return true;
}

static void answer(struct device *d, const struct seen *s, const void *payload, uint32_t size, int fd)
{
    struct vhost_user_header header = { s->header.request, VHOST_USER_VERSION | VHOST_USER_REPLY, size };
    uint8_t bytes[2048] = { 0 };
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control = { 0 };
    int fds[2] = { fd, fd };
    unsigned nr_fds = fd >= 0 ? 1 : 0;
    struct iovec iov = { bytes, sizeof(header) + size };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (s->header.request == d->quirk_on) {
        enum quirk quirk = d->quirk;

        switch (quirk) {
        case SILENT: return;
        case OTHER_REQUEST: header.request++; break;
        case NO_REPLY_FLAG: header.flags = VHOST_USER_VERSION; break;
        case TOO_LONG: header.size = 1000; iov.iov_len = sizeof(header) + 1000; break;
        case TOO_SHORT: header.size = size - 1; iov.iov_len--; break;
        case EMPTY: header.size = 0; iov.iov_len = sizeof(header); break;
        case CUT: iov.iov_len--; break;
        case WITH_FDS:
            fds[0] = fds[1] = d->fd;
            nr_fds = 2;
            break;
        default: break;
        }
    }
    memcpy(bytes, &header, sizeof(header));
    if (size > 0)
        memcpy(bytes + sizeof(header), payload, size);
    if (nr_fds > 0) {
        struct cmsghdr *c;

        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(nr_fds * sizeof(int));
        c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(nr_fds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, nr_fds * sizeof(int));
    }
    (void)!sendmsg(d->fd, &m, MSG_NOSIGNAL);
    if (s->header.request == d->quirk_on && d->quirk == CUT)
        shutdown(d->fd, SHUT_RDWR);
}

static void answer_u64(struct device *d, const struct seen *s, uint64_t value)
{
    answer(d, s, &value, sizeof(value), -1);
}

static void answer_config(struct device *d, const struct seen *s)
{
    uint32_t offset = s->u.config.head.offset, size = s->u.config.head.size;
    struct seen reply = *s;

    if (offset + size > sizeof(d->config)) {
        answer(d, s, NULL, 0, -1);
        return;
    }
    memcpy(reply.u.config.bytes, d->config + offset, size);
    answer(d, s, &reply.u, (uint32_t)sizeof(struct vhost_user_config) + size, -1);
}

/* The whole state through the pipe, while the driver's end writes or reads the other end. */
static void transfer(struct device *d, const struct seen *s, int fd)
{
    uint8_t got[4096];
    size_t at = 0;
    ssize_t n = 1;

    answer_u64(d, s, VHOST_USER_VRING_NOFD);
    if (d->quirk_on == VHOST_USER_CHECK_DEVICE_STATE && d->quirk == HANG_UP)
        return;
    if (s->u.transfer.direction == VHOST_USER_STATE_SAVE) {
        while (at < STATE_BYTES && (n = write(fd, d->state + at, STATE_BYTES - at)) > 0)
            at += (size_t)n;
        d->state_ok = at == STATE_BYTES;
        return;
    }
    d->state_ok = true;
    while ((n = read(fd, got, sizeof(got))) > 0) {
        d->state_ok &= at + (size_t)n <= STATE_BYTES && memcmp(got, d->state + at, (size_t)n) == 0;
        at += (size_t)n;
    }
    d->state_ok &= at == STATE_BYTES;
}

static void respond(struct device *d, const struct seen *s, int fd)
{
    struct vhost_user_inflight inflight = { .mmap_size = 4096, .num_queues = s->u.inflight.num_queues };

    switch (s->header.request) {
    case VHOST_USER_GET_FEATURES: answer_u64(d, s, d->features); return;
    case VHOST_USER_GET_PROTOCOL_FEATURES: answer_u64(d, s, d->protocol); return;
    case VHOST_USER_GET_QUEUE_NUM: answer_u64(d, s, d->queues); return;
    case VHOST_USER_GET_STATUS: answer_u64(d, s, d->status); return;
    case VHOST_USER_GET_VRING_BASE: answer(d, s, &s->u.state, sizeof(s->u.state), -1); return;
    case VHOST_USER_GET_CONFIG: answer_config(d, s); return;
    case VHOST_USER_GET_INFLIGHT_FD: answer(d, s, &inflight, sizeof(inflight), d->inflight_fd); return;
    case VHOST_USER_GET_MAX_MEM_SLOTS: answer_u64(d, s, d->slots); return;
    case VHOST_USER_SET_LOG_BASE: answer_u64(d, s, 0); return;
    case VHOST_USER_SET_DEVICE_STATE_FD: transfer(d, s, fd); return;
    case VHOST_USER_CHECK_DEVICE_STATE: answer_u64(d, s, !d->state_ok); return;
    case VHOST_USER_SET_BACKEND_REQ_FD:
        if (d->back_fd >= 0)
            close(d->back_fd);
        d->back_fd = dup(fd);
        break;
    case VHOST_USER_SET_STATUS:
        d->status = d->features_ok ? s->u.u64 : s->u.u64 & ~(uint64_t)VIRTIO_STATUS_FEATURES_OK;
        break;
    default: break;
    }
    if (s->header.flags & VHOST_USER_NEED_REPLY)
        answer_u64(d, s, s->header.request == d->quirk_on && d->quirk == REFUSE);
}

/* One connection, from the first message to the hang-up. */
static void converse(struct device *d)
{
    for (;;) {
        struct seen s = { 0 };
        struct stat status;
        int fds[32];

        if (!read_all(d->fd, &s.header, sizeof(s.header), fds, &s.nr_fds) || s.header.size > sizeof(s.u) ||
            !read_all(d->fd, &s.u, s.header.size, fds, &s.nr_fds))
            break;
        if (s.header.request == VHOST_USER_SET_INFLIGHT_FD && s.nr_fds == 1 && fstat(fds[0], &status) == 0)
            d->inflight_seen = status.st_ino;
        if (d->nr_seen < SEEN_MAX)
            d->seen[d->nr_seen++] = s;
        if (s.header.request == d->quirk_on && d->quirk == HANG_UP) {
            for (unsigned i = 0; i < s.nr_fds; i++)
                close(fds[i]);
            break;
        }
        respond(d, &s, s.nr_fds > 0 ? fds[0] : -1);
        for (unsigned i = 0; i < s.nr_fds; i++)
            close(fds[i]);
    }
    close(d->fd);
    d->fd = -1;
}

static void *device_thread(void *arg)
{
    struct device *d = arg;

    do {
        if (d->listener >= 0) {
            d->fd = accept(d->listener, NULL, NULL);
            if (d->fd < 0)
                break;
        }
        converse(d);
    } while (d->keep_listening);
    return NULL;
}

struct device device_of(uint64_t features, uint64_t protocol)
{
    return (struct device){
        .fd = -1, .listener = -1, .features = features, .protocol = protocol, .queues = 4, .slots = 32, .features_ok = true,
        .inflight_fd = -1, .back_fd = -1,
    };
}

void device_begin(struct device *d)
{
    signal(SIGPIPE, SIG_IGN); /* as vio/vhost_user_driver.h asks */
    d->inflight_fd = memfd_create("inflight", MFD_CLOEXEC);
    d->state = malloc(STATE_BYTES);
    for (unsigned i = 0; d->state != NULL && i < STATE_BYTES; i++)
        d->state[i] = (uint8_t)(i * 7 ^ i >> 8);
    if (d->state == NULL || d->inflight_fd < 0 || ftruncate(d->inflight_fd, 4096) != 0 ||
        pthread_create(&d->thread, NULL, device_thread, d) != 0) {
        fprintf(stderr, "fake_backend.c: no device\n");
        abort();
    }
}

void device_end(struct device *d)
{
    d->keep_listening = false;
    if (d->listener >= 0)
        shutdown(d->listener, SHUT_RDWR);
    pthread_join(d->thread, NULL);
    if (d->listener >= 0)
        close(d->listener);
    if (d->back_fd >= 0)
        close(d->back_fd);
    close(d->inflight_fd);
    free(d->state);
}

const struct seen *device_find(const struct device *d, uint32_t request, unsigned nth)
{
    for (unsigned i = 0; i < d->nr_seen; i++) {
        if (d->seen[i].header.request == request && nth-- == 0)
            return &d->seen[i];
    }
    return NULL;
}

unsigned device_count(const struct device *d, uint32_t request)
{
    unsigned n = 0;

    for (unsigned i = 0; i < d->nr_seen; i++)
        n += d->seen[i].header.request == request;
    return n;
}
