/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the back-end channel: the socket on which we ask the front-end. What is due is kept as flags, one of each kind
 * and queue, so that a front-end that does not read costs nothing. Where it sits: transport/vhost_user.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/vhost_user/session.h"

void vu_channel_end(struct vu_session *s)
{
    if (s->back_fd < 0)
        return;
    s->vu->p.watch(s->vu->p.ctx, s->vu, s->back_fd, 0);
    close(s->back_fd);
    s->back_fd = -1;
    s->back_rx = (struct vu_rx){ 0 };
    vu_tx_drop(&s->back_tx);
}

static void send_one(struct vu_session *s, uint32_t id, const void *payload)
{
    const struct vu_request *row = vu_request_find(id);

    vio_log(s->log, VIO_LOG_DEBUG, s->name, "sending %s", row->name);
    vu_tx_put(&s->back_tx, id, 0, payload, row->length, -1);
}

/* Puts one request that is due into the sender; false: none is. */
static bool next_due(struct vu_session *s)
{
    for (uint16_t i = 0; i < s->queues; i++) {
        struct vu_vring *v = &s->vring[i];
        struct vhost_user_vring_state state = { i, 0 };

        if (v->miss_due) {
            v->miss_due = false;
            send_one(s, VHOST_USER_BACKEND_IOTLB_MSG, &v->miss);
            return true;
        }
        if (s->inband_fd >= 0 && atomic_exchange_explicit(&v->call_inband, false, memory_order_acquire)) {
            send_one(s, VHOST_USER_BACKEND_VRING_CALL, &state);
            return true;
        }
        if (v->err_inband) {
            v->err_inband = false;
            send_one(s, VHOST_USER_BACKEND_VRING_ERR, &state);
            return true;
        }
    }
    if (!s->config_due)
        return false;
    s->config_due = false;
    send_one(s, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, NULL);
    return true;
}

void vu_channel_push(struct vu_session *s)
{
    int err = 0;

    if (s->back_fd < 0)
        return;
    do
        err = vu_tx_send(&s->back_tx, s->back_fd);
    while (err == 0 && next_due(s));
    if (err != 0 && err != -EAGAIN) {
        vu_say(s, "the back-end channel broke: %s", strerror(-err));
        vu_channel_end(s);
        return;
    }
    s->vu->p.watch(s->vu->p.ctx, s->vu, s->back_fd, vu_tx_busy(&s->back_tx) ? POLLIN | POLLOUT : POLLIN);
}

/* We ask for no replies, so what arrives is of no use; but it must be read, and its end noticed. */
void vu_channel_io(struct vu_session *s)
{
    char bytes[512];

    for (unsigned i = 0; i < VU_MESSAGES_A_TURN; i++) {
        ssize_t n = recv(s->back_fd, bytes, sizeof(bytes), MSG_DONTWAIT);

        if (n > 0 || (n < 0 && errno == EINTR))
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        vio_log(s->log, VIO_LOG_INFO, s->name, "the front-end closed the back-end channel");
        vu_channel_end(s);
        return;
    }
    vu_channel_push(s);
}

int vu_set_backend_req_fd(struct vu_session *s, struct vu_msg *m)
{
    int fd, kind = 0;
    socklen_t size = sizeof(kind);

    if (getsockopt(m->fd[0], SOL_SOCKET, SO_TYPE, &kind, &size) != 0 || kind != SOCK_STREAM)
        return vu_refuse(s, -EINVAL, "its descriptor is not a stream socket");
    fd = vu_take_fd(m, 0);
    vu_channel_end(s);
    s->back_fd = fd;
    vu_channel_push(s);
    return 0;
}
