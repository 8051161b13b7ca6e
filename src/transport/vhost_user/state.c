/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the device's own state through a pipe (DEVICE_STATE), a piece at a time as the pipe has room, so that a slow
 * front-end holds up nobody. Where it sits: transport/vhost_user. Trust: the core checks every byte that is loaded.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transport/vhost_user/session.h"

static void close_pipe(struct vu_session *s)
{
    if (s->state.fd < 0)
        return;
    s->vu->p.watch(s->vu->p.ctx, s->vu, s->state.fd, 0);
    close(s->state.fd);
    s->state.fd = -1;
}

void vu_state_end(struct vu_session *s)
{
    close_pipe(s);
    free(s->state.bytes);
    s->state = (struct vu_state_transfer){ .fd = -1 };
    s->state_ns = 0;
}

/* The transfer is over, well or not. */
static void finish(struct vu_session *s, int err, const char *what)
{
    struct vu_state_transfer *t = &s->state;

    close_pipe(s);
    t->done = true;
    t->failed = err != 0;
    if (err != 0)
        vu_say(s, "the device's state was not %s: %s%s", t->load ? "loaded" : "saved", what,
               err == -EINVAL ? "" : strerror(-err));
    else
        vio_log(s->log, VIO_LOG_INFO, s->name, "the device's state was %s, %zu bytes", t->load ? "loaded" : "saved", t->size);
    free(t->bytes);
    t->bytes = NULL;
}

/*
 * The front-end sets the queues up again itself ("re-initialize the vhost state on the destination"), so none of those
 * in the state starts; and what was negotiated here stands.
 */
static int take_over(struct vu_session *s)
{
    struct vio_features now = vio_device_negotiated(s->dev);
    struct vio_features want = vu_device_features(s);

    for (uint16_t i = 0; i < s->queues; i++) {
        vio_device_queue_stop(s->dev, i);
        vio_device_queue_cfg(s->dev, i)->ready = false;
    }
    if (s->features_set && !vio_features_none(now) && (now.w[0] != want.w[0] || now.w[1] != want.w[1])) {
        vio_device_reset(s->dev);
        return -EINVAL;
    }
    return vio_device_resume(s->dev);
}

static void loaded(struct vu_session *s)
{
    int err = vio_device_load(s->dev, s->state.bytes, s->state.size);

    if (err == 0)
        err = take_over(s);
    /* What the driver chose before the transfer stays chosen, whatever became of the state. */
    if (err != 0 && s->features_set && vio_device_set_features(s->dev, vu_device_features(s)) != 0)
        s->features_set = false;
    finish(s, err, err == -EINVAL ? "it does not fit this device, or the features of SET_FEATURES" : "");
}

/* A read or write of the transfer failed with err: whether to try at once again. What will not get better ends it. */
static bool try_again(struct vu_session *s, int err)
{
    if (err == EINTR)
        return true;
    if (err != EAGAIN && err != EWOULDBLOCK)
        finish(s, -err, "");
    return false;
}

/* Reads what is there; false: no more for now, or done. */
static bool load_some(struct vu_session *s)
{
    struct vu_state_transfer *t = &s->state;
    ssize_t n;

    if (t->size == t->room) {
        size_t room = t->room == 0 ? 65536 : t->room * 2;
        uint8_t *bytes = room <= VU_STATE_BYTES_MAX ? realloc(t->bytes, room) : NULL;

        if (bytes == NULL) {
            finish(s, room <= VU_STATE_BYTES_MAX ? -ENOMEM : -EFBIG, "");
            return false;
        }
        t->bytes = bytes;
        t->room = room;
    }
    n = read(t->fd, t->bytes + t->size, t->room - t->size);
    if (n < 0)
        return try_again(s, errno);
    t->size += (size_t)n;
    if (n == 0)
        loaded(s);
    return n > 0;
}

static bool save_some(struct vu_session *s)
{
    struct vu_state_transfer *t = &s->state;
    ssize_t n;

    if (t->at == t->size) {
        finish(s, 0, "");
        return false;
    }
    n = write(t->fd, t->bytes + t->at, t->size - t->at);
    if (n < 0)
        return try_again(s, errno);
    t->at += (size_t)n;
    return true;
}

static void answer_check(struct vu_session *s)
{
    struct vu_msg m = { .head = { .request = VHOST_USER_CHECK_DEVICE_STATE } };

    s->state.check_due = false;
    s->state_ns = 0;
    vu_reply_u64(s, &m, s->state.failed ? 1 : 0);
    vu_state_end(s);
}

void vu_state_io(struct vu_session *s)
{
    struct vu_state_transfer *t = &s->state;
    unsigned turns = 64; /* the rest comes with the next event: others have their turn */

    while (!t->done && turns > 0 && (t->load ? load_some(s) : save_some(s)))
        turns--;
    if (!t->done || !t->check_due)
        return;
    answer_check(s);
    if (!s->over)
        vu_watch(s);
}

int vu_set_device_state_fd(struct vu_session *s, struct vu_msg *m)
{
    const struct vhost_user_state_transfer *p = (const void *)m->payload;
    int flags = fcntl(m->fd[0], F_GETFL), err = 0;
    struct stat st;

    if (p->direction > VHOST_USER_STATE_LOAD || p->phase != VHOST_USER_STATE_STOPPED)
        return vu_refuse(s, -EINVAL, "direction %" PRIu32 " in phase %" PRIu32 "; there are 0 (save) and 1 (load) in phase 0",
                         p->direction, p->phase);
    if (flags < 0 || fstat(m->fd[0], &st) != 0 || (!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode)) ||
        fcntl(m->fd[0], F_SETFL, flags | O_NONBLOCK) != 0)
        return vu_refuse(s, -EINVAL, "its descriptor is neither a pipe nor a socket");
    if ((flags & O_ACCMODE) == (p->direction == VHOST_USER_STATE_LOAD ? O_WRONLY : O_RDONLY))
        return vu_refuse(s, -EINVAL, "its descriptor is the wrong end of the pipe");
    vu_state_end(s);
    s->state.load = p->direction == VHOST_USER_STATE_LOAD;
    if (!s->state.load)
        err = vio_device_save(s->dev, &s->state.bytes, &s->state.size);
    if (err != 0)
        return vu_refuse(s, err, "the device's state cannot be saved: %s", strerror(-err));
    s->state.fd = vu_take_fd(m, 0);
    s->vu->p.watch(s->vu->p.ctx, s->vu, s->state.fd, s->state.load ? POLLIN : POLLOUT);
    vu_reply_u64(s, m, VHOST_USER_VRING_NOFD);
    return VU_LATER;
}

int vu_check_device_state(struct vu_session *s, struct vu_msg *m)
{
    (void)m;
    if (s->state.fd < 0 && !s->state.done)
        return vu_refuse(s, -EINVAL, "no state was transferred: SET_DEVICE_STATE_FD comes first");
    if (s->state.done) {
        answer_check(s);
        return VU_LATER;
    }
    s->state.check_due = true;
    s->state_ns = vu_now_ns() + VU_STATE_MS * UINT64_C(1000000);
    vu_arm_timer(s->vu);
    return VU_LATER;
}
