/* SPDX-License-Identifier: MIT */
/*
 * Purpose: one connected front-end from its first byte to its last: messages are received, checked against the table,
 * handed to their handlers, and answered; see session.h.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spec/virtio.h"
#include "transport/vhost_user/session.h"

int vu_refuse(struct vu_session *s, int err, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(s->why, sizeof(s->why), format, ap);
    va_end(ap);
    return err;
}

void vu_over(struct vu_session *s, const char *format, ...)
{
    va_list ap;

    if (s->over)
        return;
    s->over = true;
    va_start(ap, format);
    vsnprintf(s->why, sizeof(s->why), format, ap);
    va_end(ap);
}

void vu_gone(struct vu_session *s, const char *why)
{
    s->gone = !s->over;
    vu_over(s, "%s", why);
}

void vu_say(struct vu_session *s, const char *format, ...)
{
    char line[400];
    va_list ap;

    va_start(ap, format);
    vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);
    vio_log_peer(s->log, s->limit, s->name, "%s", line);
}

int vu_take_fd(struct vu_msg *m, unsigned n)
{
    int fd = n < m->nr_fds ? m->fd[n] : -1;

    if (fd >= 0)
        m->fd[n] = -1;
    return fd;
}

/* ------------------------------------------------------------------ watching */

/* Nothing is read while a reply waits to be sent, or the front-end waits for the end of a device state. */
void vu_watch(struct vu_session *s)
{
    struct vio_vu *vu = s->vu;
    short events = vu_tx_busy(&s->tx) ? POLLOUT : s->state.check_due ? 0 : POLLIN;
    bool half = vu_tx_busy(&s->tx) || (vu_rx_half(&s->rx) && !s->state.check_due);

    if (half && s->stuck_ns == 0)
        s->stuck_ns = vu_now_ns() + VU_STUCK_MS * UINT64_C(1000000);
    else if (!half)
        s->stuck_ns = 0;
    if (half)
        vu_arm_timer(vu);
    vu->p.watch(vu->p.ctx, vu, s->fd, events);
}

void vu_reply(struct vu_session *s, const struct vu_msg *m, const void *payload, uint32_t size, int fd)
{
    int err;

    vu_tx_put(&s->tx, m->head.request, VHOST_USER_REPLY, payload, size, fd);
    err = vu_tx_send(&s->tx, s->fd);
    if (err != 0 && err != -EAGAIN)
        vu_over(s, "a reply cannot be sent: %s", strerror(-err));
}

void vu_reply_u64(struct vu_session *s, const struct vu_msg *m, uint64_t value)
{
    vu_reply(s, m, &value, sizeof(value), -1);
}

/* ------------------------------------------------------------------ refusing */

static unsigned open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned nr = 0;

    if (dir == NULL)
        return 0;
    while (readdir(dir) != NULL)
        nr++;
    closedir(dir);
    return nr > 3 ? nr - 3 : 0; /* ".", ".." and the directory itself */
}

/* The kernel dropped descriptors because we may not have more. */
static void say_no_files(struct vu_session *s)
{
    struct rlimit limit = { 0, 0 };
    char room[32];

    (void)getrlimit(RLIMIT_NOFILE, &limit);
    vu_over(s, "%s came with more descriptors than this process may open: %u of %llu are in use and this device needs up "
            "to %u more; raise the limit (ulimit -n, or LimitNOFILE= in the systemd unit)",
            vu_message_name(s->msg.head.request, room, sizeof(room)), open_files(),
            (unsigned long long)limit.rlim_cur, 3u * s->queues + VHOST_USER_TABLE_REGIONS + 4);
}

/* The form that a refusal has for this message; false: there is none, only to hang up. */
static bool refuse_in_form(struct vu_session *s, const struct vu_message *row, struct vu_msg *m)
{
    bool wants_ack = vu_has(s, VHOST_USER_PROTOCOL_F_REPLY_ACK) && (m->head.flags & VHOST_USER_NEED_REPLY);

    if (row == NULL || row->reply == VU_REPLY_ACK) {
        if (wants_ack)
            vu_reply_u64(s, m, 1);
        return wants_ack;
    }
    switch (row->refusal) {
    case VU_REFUSE_CLOSE:
        break;
    case VU_REFUSE_U64:
        vu_reply_u64(s, m, row->id == VHOST_USER_SET_DEVICE_STATE_FD ? 1 | VHOST_USER_VRING_NOFD : 1);
        return true;
    case VU_REFUSE_EMPTY:
        vu_reply(s, m, NULL, 0, -1);
        return true;
    case VU_REFUSE_ZEROES:
        memset(m->payload, 0, m->head.size);
        vu_reply(s, m, m->payload, m->head.size, -1);
        return true;
    }
    /* SET_LOG_BASE's reply is read by those who set need_reply; QEMU does not look into it. */
    if (row->id == VHOST_USER_SET_LOG_BASE && wants_ack) {
        vu_reply_u64(s, m, 1);
        return true;
    }
    return false;
}

static void refused(struct vu_session *s, const struct vu_message *row, struct vu_msg *m)
{
    char room[32];
    const char *name = vu_message_name(m->head.request, room, sizeof(room));

    if (refuse_in_form(s, row, m)) {
        vu_say(s, "%s refused: %s", name, s->why);
    } else {
        char why[sizeof(s->why)];

        memcpy(why, s->why, sizeof(why));
        vu_over(s, "%s refused: %s; the protocol has no answer that says so", name, why);
    }
}

/* ------------------------------------------------------------------ dispatch */

static int check_state(struct vu_session *s, const struct vu_message *row, const struct vu_msg *m)
{
    uint32_t queue = vu_message_queue(row, m->payload);

    if (row->protocol_bit >= 0 && !vu_has(s, (unsigned)row->protocol_bit))
        return vu_refuse(s, -EPROTO, "the protocol feature %s was not negotiated",
                         vu_protocol_name((unsigned)row->protocol_bit));
    if (row->virtio_bit == VU_BIT_ANY_PROTOCOL && !s->protocol_set && !vu_has_feature(s, VIRTIO_F_PROTOCOL_FEATURES))
        return vu_refuse(s, -EPROTO, "VHOST_USER_F_PROTOCOL_FEATURES (bit 30) was not negotiated");
    if (row->virtio_bit >= 0 && !vu_has_feature(s, (unsigned)row->virtio_bit))
        return vu_refuse(s, -EPROTO, "the feature %s was not negotiated",
                         vio_feature_name(vio_device_type(s->dev)->id, (unsigned)row->virtio_bit));
    if ((row->when & VU_WHEN_OWNED) && !s->owned)
        return vu_refuse(s, -EPROTO, "it comes before SET_OWNER");
    if (row->index != VU_INDEX_NONE && queue >= s->queues)
        return vu_refuse(s, -EPROTO, "it names queue %" PRIu32 ", but the device has %u", queue, s->queues);
    if ((row->when & VU_WHEN_QUEUE_STOPPED) && s->vring[queue].begun)
        return vu_refuse(s, -EPROTO, "queue %" PRIu32 " is started; GET_VRING_BASE stops it", queue);
    if ((row->when & VU_WHEN_ALL_STOPPED) && vu_any_running(s))
        return vu_refuse(s, -EPROTO, "queues are started; GET_VRING_BASE stops them");
    return 0;
}

static void handle(struct vu_session *s, struct vu_msg *m)
{
    const struct vu_message *row = vu_message_find(m->head.request);
    bool wants_ack;
    int ret;

    vio_log(s->log, VIO_LOG_DEBUG, s->name, "%s, %" PRIu32 " bytes, %u descriptors%s",
            row != NULL ? row->name : "unknown message", m->head.size, m->nr_fds,
            m->head.flags & VHOST_USER_NEED_REPLY ? ", wants a reply" : "");
    s->why[0] = '\0';
    if (row == NULL)
        ret = vu_refuse(s, -EPROTO, "vio does not speak it, and did not offer to");
    else if (vu_message_check(row, m->payload, m->head.size, m->nr_fds, s->why, sizeof(s->why)) != 0)
        ret = -EPROTO;
    else if ((ret = check_state(s, row, m)) == 0)
        ret = row->handle(s, m);
    if (s->over || ret == VU_LATER)
        return;
    if (ret < 0) {
        refused(s, row, m);
        return;
    }
    if (ret == VU_BROKEN)
        vu_say(s, "%s: %s", row->name, s->why);
    /* Asked only now: the message that turns REPLY_ACK on is the first that is acknowledged (User Mode Linux waits for that). */
    wants_ack = vu_has(s, VHOST_USER_PROTOCOL_F_REPLY_ACK) && (m->head.flags & VHOST_USER_NEED_REPLY);
    if (row->reply == VU_REPLY_ACK && wants_ack)
        vu_reply_u64(s, m, ret == 0 ? 0 : 1);
}

static void broken_framing(struct vu_session *s, const char *why)
{
    vu_over(s, "%s%s", why, s->spoke ? "" : " (and it was the first thing to arrive)");
}

/* One message, or the reason why not. False: nothing more for now. */
static bool io_message(struct vu_session *s)
{
    const char *why = NULL;

    switch (vu_receive(&s->rx, s->fd, &s->msg, false, &why)) {
    case VU_RX_MESSAGE:
        s->spoke = true;
        s->silent_ns = 0;
        if (s->rx.truncated)
            say_no_files(s);
        else
            handle(s, &s->msg);
        vu_msg_drop(&s->msg);
        return !s->over && !vu_tx_busy(&s->tx) && !s->state.check_due;
    case VU_RX_WAIT:
        return false;
    case VU_RX_END:
        if (vu_rx_half(&s->rx))
            vu_over(s, "it hung up in the middle of a message");
        else
            vu_gone(s, "it hung up");
        break;
    case VU_RX_BAD:
        broken_framing(s, why);
        break;
    case VU_RX_ERROR:
        vu_over(s, "the socket failed: %s", strerror(errno));
        break;
    }
    vu_msg_drop(&s->msg);
    return false;
}

void vu_session_io(struct vu_session *s)
{
    if (vu_tx_busy(&s->tx)) {
        int err = vu_tx_send(&s->tx, s->fd);

        if (err != 0 && err != -EAGAIN)
            vu_over(s, "a reply cannot be sent: %s", strerror(-err));
    }
    for (unsigned i = 0; !s->over && !vu_tx_busy(&s->tx) && !s->state.check_due && i < VU_MESSAGES_A_TURN; i++) {
        if (!io_message(s))
            break;
    }
    if (s->over)
        return;
    vu_channel_push(s);
    vu_watch(s);
}

void vu_session_timer(struct vu_session *s, uint64_t now)
{
    if (s->stuck_ns != 0 && now >= s->stuck_ns) {
        vu_over(s, vu_tx_busy(&s->tx) ? "it does not read the reply that it was sent for %d s" :
                                        "it sent half a message and nothing more for %d s", VU_STUCK_MS / 1000);
        return;
    }
    if (s->state_ns != 0 && now >= s->state_ns) {
        vu_over(s, "CHECK_DEVICE_STATE waits for the end of the device's state for %d s", VU_STATE_MS / 1000);
        return;
    }
    if (s->silent_ns != 0 && now >= s->silent_ns) {
        s->silent_ns = 0;
        vio_log(s->log, VIO_LOG_WARNING, s->name,
                "connected to %s, but it says nothing for %d s: a front-end speaks first, so perhaps it is a back-end too "
                "(two back-ends, or a front-end that is paused)", s->who, VU_SILENT_MS / 1000);
    }
}

/* ------------------------------------------------------------------ begin and end */

/* Who it is, for the log. What /proc does not tell is left out. */
static void find_out_who(struct vu_session *s)
{
    struct ucred peer = { 0, 0, 0 };
    socklen_t size = sizeof(peer);
    char path[64], comm[32] = "";
    FILE *file;

    if (getsockopt(s->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.pid <= 0) {
        snprintf(s->who, sizeof(s->who), "a process that cannot be seen");
        return;
    }
    s->pid = peer.pid;
    snprintf(path, sizeof(path), "/proc/%ld/comm", (long)peer.pid);
    file = fopen(path, "re");
    if (file != NULL) {
        if (fgets(comm, sizeof(comm), file) == NULL)
            comm[0] = '\0';
        fclose(file);
    }
    comm[strcspn(comm, "\n")] = '\0';
    for (char *c = comm; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || (unsigned char)*c >= 0x7f)
            *c = '?';
    }
    snprintf(s->who, sizeof(s->who), "pid %ld%s%s%s, uid %ld", (long)peer.pid, comm[0] != '\0' ? " (" : "", comm,
             comm[0] != '\0' ? ")" : "", (long)peer.uid);
}

int vu_session_begin(struct vio_vu *vu, int fd)
{
    uint16_t queues = vio_device_queues(vu->p.dev);
    struct vu_session *s = calloc(1, sizeof(*s) + queues * sizeof(s->vring[0]));
    struct vio_features add = vio_features_of(vu->p.iommu ? VIO_FEATURE(VIRTIO_F_ACCESS_PLATFORM) : 0);
    /* What a front-end cannot pass on, or (RING_RESET) passes on wrongly: QEMU tells its back-end nothing of it. */
    struct vio_features remove = vio_features_of(VIO_FEATURE(VIRTIO_F_RING_RESET));
    int err;

    if (s == NULL) {
        close(fd);
        return -ENOMEM;
    }
    s->vu = vu;
    s->dev = vu->p.dev;
    s->log = vu->p.log;
    s->name = vu->name;
    s->limit = &vu->limit;
    s->fd = fd;
    s->queues = queues;
    s->back_fd = s->inband_fd = s->state.fd = s->tx.fd = s->back_tx.fd = -1;
    remove.w[1] = UINT64_MAX; /* GET_FEATURES has 64 bits */
    vu_vring_init(s);
    find_out_who(s);
    vio_device_attach(s->dev, &vu_transport_ops, s);
    err = vio_device_transport_features(s->dev, add, remove);
    for (uint16_t i = 0; err == 0 && i < queues; i++)
        err = vio_device_queue_enable(s->dev, i, false);
    vu->session = s;
    if (err != 0) {
        vu_over(s, "the device cannot be given to it: %s", strerror(-err));
        return err;
    }
    if (vu_may_chat(vu))
        vio_log(s->log, VIO_LOG_INFO, s->name, "front-end connected: %s", s->who);
    if (vu->p.side == VIO_VU_CONNECT)
        s->silent_ns = vu_now_ns() + VU_SILENT_MS * UINT64_C(1000000);
    vu_watch(s);
    vu_arm_timer(vu);
    return 0;
}

void vu_session_end(struct vio_vu *vu)
{
    struct vu_session *s = vu->session;

    if (s == NULL)
        return;
    if (!s->gone)
        vu_say(s, "ending the session with %s: %s", s->who, s->why);
    else if (vu_may_chat(vu))
        vio_log(s->log, VIO_LOG_INFO, s->name, "front-end gone (%s): %s", s->who, s->why);
    /* Requests in flight end while their memory is still there. */
    for (uint16_t i = 0; i < s->queues; i++)
        vu_vring_stop(s, i, false);
    vio_device_detach(s->dev);
    vu_memory_end(s);
    vu_inflight_end(s);
    vu_state_end(s);
    vu_channel_end(s);
    vu_vring_end(s);
    vu_msg_drop(&s->msg);
    vu_tx_drop(&s->tx);
    vu->p.watch(vu->p.ctx, vu, s->fd, 0);
    close(s->fd);
    vu->session = NULL;
    free(s);
}
