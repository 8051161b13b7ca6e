/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a network behind a Unix socket with QEMU's framings: another QEMU, passt, or a program of yours. This file
 * makes sockets, finds the peer, and finds it again after it went. Where it sits: backend/net. Threads: the owner's, but
 * for opening and closing.
 * Trust: the peer is a stranger: what it sends is checked where it is read; it may stop reading, send garbage or go at
 * any time, and gets no memory but the buffers made at the start.
 */
#include "backend/net_socket.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#include "backend/backend.h"

#define RETRY_SECONDS 1

/* ------------------------------------------------------------------ the peer comes and goes */

static void set_timer(struct net_socket *s, bool on)
{
    struct itimerspec at = { .it_interval.tv_sec = on ? RETRY_SECONDS : 0, .it_value.tv_sec = on ? RETRY_SECONDS : 0 };

    timerfd_settime(s->timer.fd, 0, &at, NULL); /* cannot fail: ours, and a good time; also ends what has rung */
}

static bool timer_rang(struct net_socket *s)
{
    uint64_t times;

    return read(s->timer.fd, &times, sizeof times) == (ssize_t)sizeof times;
}

static bool is_absent(int error)
{
    return error == -ENOENT || error == -ECONNREFUSED || error == -EAGAIN || error == -EPERM;
}

/* The device may send while the queue sleeps that receives: who comes or goes then is waited for as it would have been. */
void socket_watch(struct net_socket *s)
{
    uint32_t in = s->in ? EPOLLIN : 0, out = s->up && (s->out || s->tx_end > s->tx_at) ? EPOLLOUT : 0;

    net_watch_set(s->epoll_fd, &s->peer, in | out);
    net_watch_set(s->epoll_fd, &s->listener, s->up || s->paused ? 0 : in);
    net_watch_set(s->epoll_fd, &s->timer, in);
}

static void came(struct net_socket *s)
{
    s->up = true;
    vio_log(s->log, s->was_up ? VIO_LOG_DEBUG : VIO_LOG_INFO, s->path.sun_path, "connected");
    s->was_up = true;
    socket_count(&s->connections, 1);
    if (!s->datagram)
        set_timer(s, false);
    socket_watch(s);
}

/* -errno. A connection between Unix sockets is made at once or not at all. */
static int connect_stream(struct net_socket *s)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error;

    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&s->path, sizeof s->path) < 0) {
        error = -errno;
        close(fd);
        return error;
    }
    s->peer = (struct net_watch){ .fd = fd };
    came(s);
    return 0;
}

/*
 * Connected, the kernel keeps all others out, and tells when the peer has room. Done again each second: the same peer
 * stays, a new one at the path takes over, and one that has only lost its path stays too.
 */
static int connect_dgram(struct net_socket *s)
{
    if (connect(s->peer.fd, (const struct sockaddr *)&s->path, sizeof s->path) < 0)
        return -errno;
    if (!s->up)
        came(s);
    return 0;
}

/* For a second: the listener would stay readable, and nothing could be done about it. */
static void pause_listening(struct net_socket *s)
{
    vio_log_peer(s->log, &s->limit, s->path.sun_path, "nobody can be let in: %s; tried again every second", strerror(errno));
    s->paused = true;
    set_timer(s, true);
    socket_watch(s);
}

static bool accept_stream(struct net_socket *s)
{
    int fd;

    if (s->paused && !timer_rang(s))
        return false;
    fd = accept4(s->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
        pause_listening(s);
        return false;
    }
    if (s->paused) {
        s->paused = false;
        set_timer(s, false);
        socket_watch(s);
    }
    if (fd < 0)
        return false;
    s->peer = (struct net_watch){ .fd = fd };
    came(s); /* the next one waits */
    return true;
}

bool socket_up(struct net_socket *s)
{
    if (s->up)
        return true;
    if (s->listens)
        return accept_stream(s);
    if (timer_rang(s))
        (void)(s->datagram ? connect_dgram(s) : connect_stream(s));
    return s->up;
}

void socket_tick(struct net_socket *s)
{
    int error;

    if (!timer_rang(s))
        return;
    error = connect_dgram(s);
    if (s->up && error == -ECONNREFUSED)
        socket_down(s, "the peer is gone: frames to it are dropped until it is back");
}

void socket_down(struct net_socket *s, const char *format, ...)
{
    char line[200];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    vio_log_peer(s->log, &s->limit, s->path.sun_path, "%s", line);
    s->up = false;
    s->tx_at = s->tx_end = 0;
    if (s->datagram)
        return; /* the socket stays, what has come by it is whole, and the timer runs anyway */
    net_watch_close(s->epoll_fd, &s->peer);
    s->rx_at = s->rx_end = 0;
    if (!s->listens)
        set_timer(s, true);
    socket_watch(s);
}

/* ------------------------------------------------------------------ the backend */

static void socket_info(struct vio_net_backend *b, struct vio_net_info *info)
{
    (void)b;
    *info = (struct vio_net_info){ 0 }; /* there is no place for a virtio header in these framings */
}

static void socket_destroy(struct vio_net_backend *b)
{
    struct net_socket *s = (struct net_socket *)b;
    struct stat st;

    net_watch_close(s->epoll_fd, &s->peer);
    net_watch_close(s->epoll_fd, &s->listener);
    net_watch_close(s->epoll_fd, &s->timer);
    if (s->epoll_fd >= 0)
        close(s->epoll_fd);
    /* Not what somebody else has put there meanwhile. */
    if (s->made && lstat(s->made, &st) == 0 && st.st_dev == s->made_dev && st.st_ino == s->made_ino)
        unlink(s->made);
    free(s->rx);
    free(s->tx);
    free(s);
}

static int socket_start(struct vio_net_backend *b, const struct vio_net_sink *sink)
{
    ((struct net_socket *)b)->sink = *sink;
    return 0;
}

static void socket_stop(struct vio_net_backend *b)
{
    struct net_socket *s = (struct net_socket *)b;

    s->in = s->out = false;
    net_watch_set(s->epoll_fd, &s->peer, 0);
    net_watch_set(s->epoll_fd, &s->listener, 0);
    net_watch_set(s->epoll_fd, &s->timer, 0);
}

static int socket_fd(struct vio_net_backend *b)
{
    return ((struct net_socket *)b)->epoll_fd;
}

/*
 * A device without room does not poll: then nobody is let in and no timer wakes it. A driver that only sends is served
 * all the same: send() looks for a peer itself.
 */
static bool socket_arm(struct vio_net_backend *b, bool sleep, bool receive, bool blocked)
{
    struct net_socket *s = (struct net_socket *)b;

    if (!sleep)
        return false;
    s->in = receive;
    s->out = blocked;
    socket_watch(s);
    if (blocked && !s->up)
        return true; /* to be dropped */
    return receive && (s->datagram ? s->rx_at < s->rx_end : stream_has_frame(s));
}

static void socket_counters(struct vio_net_backend *b, void (*line)(void *ctx, const char *name, uint64_t value), void *ctx)
{
    struct net_socket *s = (struct net_socket *)b;

    line(ctx, "connections", atomic_load_explicit(&s->connections, memory_order_relaxed));
    line(ctx, "tx_no_peer", atomic_load_explicit(&s->tx_no_peer, memory_order_relaxed));
    line(ctx, "tx_refused", atomic_load_explicit(&s->tx_refused, memory_order_relaxed));
    line(ctx, "rx_bad", atomic_load_explicit(&s->rx_bad, memory_order_relaxed));
}

#define SOCKET_OPS(send_, poll_)                                                                    \
    {                                                                                               \
        .name = "socket", .info = socket_info, .destroy = socket_destroy, .start = socket_start,    \
        .stop = socket_stop, .send = send_, .poll = poll_, .fd = socket_fd, .arm = socket_arm,      \
        .counters = socket_counters,                                                                \
    }
static const struct vio_net_ops stream_ops = SOCKET_OPS(stream_send, stream_poll);
static const struct vio_net_ops dgram_ops = SOCKET_OPS(dgram_send, dgram_poll);

/* ------------------------------------------------------------------ opening */

static int set_address(struct sockaddr_un *to, const char *path, char *why, size_t why_size)
{
    if (!path || !*path)
        return vio_why(-EINVAL, why, why_size, "a network socket needs a path");
    if (strlen(path) >= sizeof to->sun_path)
        return vio_why(-ENAMETOOLONG, why, why_size, "the socket path %s has %zu characters; a socket's may have %zu: "
                       "choose a shorter one", path, strlen(path), sizeof to->sun_path - 1);
    to->sun_family = AF_UNIX;
    memcpy(to->sun_path, path, strlen(path) + 1);
    return 0;
}

/* What is at the place already: the orphan of a program that was killed goes, everything else stays. */
static int clear_place(const struct sockaddr_un *at, int type, char *why, size_t why_size)
{
    struct stat st;
    int fd, error;

    if (lstat(at->sun_path, &st) < 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return vio_why(-EEXIST, why, why_size, "%s exists and is not a socket: choose another path, or remove it",
                       at->sun_path);
    fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return vio_why(-errno, why, why_size, "no socket: %s", strerror(errno));
    error = connect(fd, (const struct sockaddr *)at, sizeof *at) < 0 ? -errno : 0;
    close(fd);
    if (error != -ECONNREFUSED)
        return vio_why(-EADDRINUSE, why, why_size, "the socket %s is in use by another program: stop that, or choose "
                       "another path", at->sun_path);
    if (unlink(at->sun_path) < 0 && errno != ENOENT)
        return vio_why(-errno, why, why_size, "the orphaned socket %s cannot be removed: %s", at->sun_path,
                       strerror(errno));
    return 0;
}

/* A socket at this place, in w; ours to remove. */
static int make_socket(struct net_socket *s, const struct sockaddr_un *at, int type, struct net_watch *w, char *why,
                       size_t why_size)
{
    struct stat st;
    int ret = clear_place(at, type, why, why_size);

    if (ret < 0)
        return ret;
    w->fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (w->fd < 0)
        return vio_why(-errno, why, why_size, "no socket: %s", strerror(errno));
    if (bind(w->fd, (const struct sockaddr *)at, sizeof *at) < 0)
        return vio_why(-errno, why, why_size, "no socket can be made at %s: %s%s", at->sun_path, strerror(errno),
                       errno == ENOENT ? "; make its directory first (mkdir -p)" : "");
    if (lstat(at->sun_path, &st) == 0) {
        s->made = at->sun_path;
        s->made_dev = st.st_dev;
        s->made_ino = st.st_ino;
    }
    return 0;
}

static int open_listener(struct net_socket *s, char *why, size_t why_size)
{
    int ret = make_socket(s, &s->path, SOCK_STREAM, &s->listener, why, why_size);

    if (ret == 0 && listen(s->listener.fd, 1) < 0)
        ret = vio_why(-errno, why, why_size, "nobody can connect to %s: %s", s->path.sun_path, strerror(errno));
    return ret;
}

static int open_dgram(struct net_socket *s, const char *local, char *why, size_t why_size)
{
    char beside[sizeof s->local.sun_path + 32];
    int ret;

    if (!local || !*local) {
        /* One of our own descriptors' numbers: several sockets of one process may have one peer. */
        snprintf(beside, sizeof beside, "%s.%d-%d", s->path.sun_path, (int)getpid(), s->epoll_fd);
        local = beside;
    }
    ret = set_address(&s->local, local, why, why_size);
    if (ret == 0 && !strcmp(s->local.sun_path, s->path.sun_path))
        ret = vio_why(-EINVAL, why, why_size, "a datagram socket cannot be its own peer: local and path are both %s",
                      local);
    return ret < 0 ? ret : make_socket(s, &s->local, SOCK_DGRAM, &s->peer, why, why_size);
}

/* The first try; a peer that is not there yet is waited for. */
static int look_for_peer(struct net_socket *s, char *why, size_t why_size)
{
    int ret;

    if (s->listens)
        return 0;
    set_timer(s, true);
    ret = s->datagram ? connect_dgram(s) : connect_stream(s);
    if (ret == 0)
        return 0;
    if (!is_absent(ret))
        return vio_why(ret, why, why_size, "the socket %s cannot be connected to: %s", s->path.sun_path,
                       strerror(-ret));
    vio_log(s->log, VIO_LOG_INFO, s->path.sun_path, "nobody is there to connect to (%s): tried again every second",
            strerror(-ret));
    return 0;
}

static int make_buffers(struct net_socket *s, char *why, size_t why_size)
{
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s->timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (s->epoll_fd < 0 || s->timer.fd < 0)
        return vio_why(-errno, why, why_size, "no descriptors for a network socket: %s", strerror(errno));
    s->rx = aligned_alloc(64, s->datagram ? (size_t)SOCKET_ROOMS * SOCKET_ROOM : SOCKET_RX_BYTES);
    s->tx = malloc(SOCKET_LENGTH + VIO_NET_FRAME_MAX);
    return s->rx && s->tx ? 0 : vio_why(-ENOMEM, why, why_size, "out of memory");
}

int vio_net_socket_open(const struct vio_net_socket_params *params, struct vio_net_backend **out, char *why, size_t why_size)
{
    struct net_socket *s;
    int ret;

    if (params->datagram && params->listen)
        return vio_why(-EINVAL, why, why_size, "a datagram socket does not listen: leave listen out");
    s = calloc(1, sizeof *s);
    if (!s)
        return vio_why(-ENOMEM, why, why_size, "out of memory");
    s->head.ops = params->datagram ? &dgram_ops : &stream_ops;
    s->log = params->log;
    s->datagram = params->datagram;
    s->listens = params->listen;
    s->epoll_fd = s->peer.fd = s->listener.fd = s->timer.fd = -1;
    ret = set_address(&s->path, params->path, why, why_size);
    if (ret == 0)
        ret = make_buffers(s, why, why_size);
    if (ret == 0 && s->listens)
        ret = open_listener(s, why, why_size);
    if (ret == 0 && s->datagram)
        ret = open_dgram(s, params->local, why, why_size);
    if (ret == 0)
        ret = look_for_peer(s, why, why_size);
    if (ret < 0) {
        socket_destroy(&s->head);
        return ret;
    }
    *out = &s->head;
    return 0;
}
