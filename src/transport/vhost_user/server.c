/* SPDX-License-Identifier: MIT */
/*
 * Purpose: how a front-end comes and goes: a socket that we make, one that systemd made, one to connect to, or one that
 * is connected already. Where it sits: transport/vhost_user. One front-end at a time; when it goes, the next may come.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "transport/vhost_user/session.h"

enum { BACKOFF_MIN_MS = 50, BACKOFF_MAX_MS = 2000, NO_FILES_MS = 1000, CHAT_MS = 10000, CHATS = 20 };
static const uint64_t NS_PER_MS = 1000000;

uint64_t vu_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

bool vu_may_chat(struct vio_vu *vu)
{
    uint64_t now = vu_now_ns();

    if (vu->chat_ns == 0 || now - vu->chat_ns >= CHAT_MS * NS_PER_MS) {
        vu->chat_ns = now;
        vu->chats = 0;
    }
    return vu->chats++ < CHATS;
}

void vu_arm_timer(struct vio_vu *vu)
{
    const struct vu_session *s = vu->session;
    const uint64_t times[] = { vu->retry_ns, s != NULL ? s->stuck_ns : 0, s != NULL ? s->state_ns : 0,
                               s != NULL ? s->silent_ns : 0 };
    uint64_t next = 0, now;

    for (unsigned i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        if (times[i] != 0 && (next == 0 || times[i] < next))
            next = times[i];
    }
    if (next == 0)
        return;
    now = vu_now_ns();
    vu->p.timer(vu->p.ctx, vu, next > now ? (unsigned)((next - now) / NS_PER_MS) + 1 : 1);
}

/* ------------------------------------------------------------------ making a socket */

VIO_PRINTF(4, 5)
static int fail(char *why, size_t size, int err, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(why, size, format, ap);
    va_end(ap);
    return err;
}

static int set_address(struct vio_vu *vu, const char *path, char *why, size_t size)
{
    if (path == NULL || path[0] == '\0')
        return fail(why, size, -EINVAL, "a vhost-user socket needs a path");
    if (strlen(path) >= sizeof(vu->address.sun_path))
        return fail(why, size, -ENAMETOOLONG, "the socket path %s has %zu characters; a socket's may have %zu: choose a shorter "
                    "one", path, strlen(path), sizeof(vu->address.sun_path) - 1);
    vu->address.sun_family = AF_UNIX;
    strcpy(vu->address.sun_path, path);
    return 0;
}

static int new_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd >= 0 ? fd : -errno;
}

static int try_connect(const struct vio_vu *vu, int *out)
{
    int fd = new_socket();

    if (fd < 0)
        return fd;
    if (connect(fd, (const struct sockaddr *)&vu->address, sizeof(vu->address)) != 0) {
        int err = -errno;

        close(fd);
        return err;
    }
    *out = fd;
    return 0;
}

/* What is at our path already: an orphan of a vio that was killed goes, everything else stays. */
static int clear_path(struct vio_vu *vu, char *why, size_t size)
{
    const char *path = vu->address.sun_path;
    struct stat st;
    int fd, err;

    if (lstat(path, &st) != 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return fail(why, size, -EEXIST, "%s exists and is not a socket: choose another path, or remove it", path);
    err = try_connect(vu, &fd);
    if (err == 0)
        close(fd);
    if (err == 0 || err == -EAGAIN)
        return fail(why, size, -EADDRINUSE, "somebody listens at %s already: another vio (stop it, or choose another path), or "
                    "the front-end (in QEMU, server=on: then vio must connect instead of listening)", path);
    if (err != -ECONNREFUSED)
        return fail(why, size, err, "there is a socket at %s, and whether anybody uses it cannot be found out: %s", path,
                    strerror(-err));
    if (unlink(path) != 0 && errno != ENOENT) {
        err = -errno;
        return fail(why, size, err, "the orphaned socket %s cannot be removed: %s", path, strerror(-err));
    }
    vio_log(vu->p.log, VIO_LOG_INFO, vu->name, "replacing the orphaned socket %s", path);
    return 0;
}

static int say_not_bound(const struct vio_vu *vu, int err, char *why, size_t size)
{
    const char *path = vu->address.sun_path;
    const char *slash = strrchr(path, '/');
    int n = slash == NULL ? 1 : slash == path ? 1 : (int)(slash - path);
    const char *dir = slash == NULL ? "." : path;

    if (err == -ENOENT)
        return fail(why, size, err, "the directory %.*s of the socket does not exist: make it first (mkdir -p)", n, dir);
    if (err == -EACCES || err == -EPERM || err == -EROFS)
        return fail(why, size, err, "no socket can be made in %.*s: %s", n, dir, strerror(-err));
    return fail(why, size, err, "no socket can be made at %s: %s", path, strerror(-err));
}

static int make_listener(struct vio_vu *vu, char *why, size_t size)
{
    struct stat st;
    int fd, err = clear_path(vu, why, size);

    if (err != 0)
        return err;
    fd = new_socket();
    if (fd < 0)
        return fail(why, size, fd, "no socket: %s", strerror(-fd));
    if (bind(fd, (const struct sockaddr *)&vu->address, sizeof(vu->address)) != 0 || listen(fd, 16) != 0) {
        err = -errno;
        close(fd);
        return say_not_bound(vu, err, why, size);
    }
    if (lstat(vu->address.sun_path, &st) == 0) {
        vu->bound = (struct vu_file){ st.st_dev, st.st_ino };
        vu->made = true;
    }
    vu->listen_fd = fd;
    return 0;
}

/* A descriptor that we were handed: is it what it is said to be? Taken in any case. */
static int check_handed(int fd, bool listening, char *why, size_t size)
{
    int domain = 0, type = 0, listens = 0, flags = fcntl(fd, F_GETFL);
    socklen_t n = sizeof(int);

    if (flags < 0)
        return fail(why, size, -EBADF, "descriptor %d is not open", fd);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) != 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) != 0 ||
        domain != AF_UNIX || type != SOCK_STREAM)
        return fail(why, size, -ENOTSOCK, "descriptor %d is not a Unix stream socket", fd);
    (void)getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n);
    if ((listens != 0) != listening)
        return fail(why, size, -EINVAL, "descriptor %d is %s socket, but %s one is needed", fd,
                    listens ? "a listening" : "a connected", listening ? "a listening" : "a connected");
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return fail(why, size, -errno, "descriptor %d: %s", fd, strerror(errno));
    return 0;
}

/* ------------------------------------------------------------------ connecting */

static void retry_later(struct vio_vu *vu)
{
    vu->retry_ns = vu_now_ns() + vu->backoff_ms * NS_PER_MS;
    vu->backoff_ms = vu->backoff_ms * 2 < BACKOFF_MAX_MS ? vu->backoff_ms * 2 : BACKOFF_MAX_MS;
    vu_arm_timer(vu);
}

static void connect_now(struct vio_vu *vu)
{
    const char *path = vu->address.sun_path;
    int fd = -1, err = try_connect(vu, &fd);

    vu->retry_ns = 0;
    if (err == 0) {
        vu->said_waiting = false;
        vu->backoff_ms = BACKOFF_MIN_MS;
        if (vu_session_begin(vu, fd) != 0 && vu->session == NULL)
            retry_later(vu);
        return;
    }
    if (!vu->said_waiting) {
        if (err == -ECONNREFUSED || err == -ENOENT)
            vio_log(vu->p.log, VIO_LOG_WARNING, vu->name, "%s %s yet: waiting for a front-end that listens there (in QEMU, "
                    "-chardev socket,path=%s,server=on)", err == -ENOENT ? "nothing is at" : "nobody listens at", path, path);
        else
            vio_log(vu->p.log, VIO_LOG_WARNING, vu->name, "%s cannot be connected to: %s; trying again", path, strerror(-err));
    }
    vu->said_waiting = true;
    retry_later(vu);
}

/* ------------------------------------------------------------------ accepting */

static void stop_listening_for(struct vio_vu *vu, unsigned ms)
{
    vu->p.watch(vu->p.ctx, vu, vu->listen_fd, 0);
    vu->retry_ns = vu_now_ns() + ms * NS_PER_MS;
    vu_arm_timer(vu);
}

static void refuse_second(struct vio_vu *vu, int fd)
{
    struct ucred peer = { 0, 0, 0 };
    socklen_t size = sizeof(peer);

    (void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
    vio_log_peer(vu->p.log, &vu->limit, vu->name, "refused a second front-end (pid %ld): %s is connected, and one device has "
                 "one front-end", (long)peer.pid, vu->session->who);
    close(fd);
}

static bool hung_up(int fd)
{
    struct pollfd p = { .fd = fd };

    return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP) != 0;
}

/* The old front-end may have gone without our having looked yet, or while an answer to it is due. */
static void settle_session(struct vio_vu *vu)
{
    for (unsigned i = 0; vu->session != NULL && i < 64; i++) {
        struct vu_session *s = vu->session;
        char byte;
        ssize_t n = recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        vu_session_io(s);
        if (!s->over && (s->state.check_due || vu_tx_busy(&s->tx)) && hung_up(s->fd))
            vu_gone(s, "it hung up");
        if (s->over)
            vu_session_end(vu);
    }
}

static void accept_one(struct vio_vu *vu)
{
    struct rlimit limit = { 0, 0 };
    int fd = accept4(vu->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0) {
        if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS)
            return; /* gone again, or not for us */
        (void)getrlimit(RLIMIT_NOFILE, &limit);
        vio_log_peer(vu->p.log, &vu->limit, vu->name, "a front-end waits, but no descriptor is free for it (%s; the limit is "
                     "%llu): raise ulimit -n, or LimitNOFILE= in the systemd unit; trying again", strerror(errno),
                     (unsigned long long)limit.rlim_cur);
        stop_listening_for(vu, NO_FILES_MS);
        return;
    }
    settle_session(vu);
    if (vu->session != NULL) {
        refuse_second(vu, fd);
        return;
    }
    if (vu_session_begin(vu, fd) != 0 && vu->session == NULL)
        vio_log_peer(vu->p.log, &vu->limit, vu->name, "a front-end connected, but there is no memory for it");
}

/* ------------------------------------------------------------------ the public side */

/* Ends the session that asked for it, and sees to the next. Nothing of vu is touched after `ended`. */
static void after(struct vio_vu *vu)
{
    if (vu->session == NULL || !vu->session->over)
        return;
    vu_session_end(vu);
    if (vu->p.side == VIO_VU_CONNECT)
        retry_later(vu);
    else if (vu->p.side == VIO_VU_FD && vu->p.ended != NULL)
        vu->p.ended(vu->p.ctx, vu);
}

void vio_vu_event(struct vio_vu *vu, int fd, short revents)
{
    struct vu_session *s = vu->session;

    (void)revents; /* what is there is found by trying: the number may have been another descriptor's a moment ago */
    if (fd < 0)
        return;
    if (fd == vu->listen_fd)
        accept_one(vu);
    else if (s != NULL && fd == s->fd)
        vu_session_io(s);
    else if (s != NULL && fd == s->back_fd)
        vu_channel_io(s);
    else if (s != NULL && fd == s->state.fd)
        vu_state_io(s);
    else if (s != NULL && fd == s->inband_fd)
        vu_inband(s);
    after(vu);
}

void vio_vu_timer(struct vio_vu *vu)
{
    uint64_t now = vu_now_ns();

    if (vu->retry_ns != 0 && now >= vu->retry_ns) {
        vu->retry_ns = 0;
        if (vu->p.side == VIO_VU_CONNECT && vu->session == NULL)
            connect_now(vu);
        else if (vu->listen_fd >= 0)
            vu->p.watch(vu->p.ctx, vu, vu->listen_fd, POLLIN);
    }
    if (vu->session != NULL)
        vu_session_timer(vu->session, now);
    vu_arm_timer(vu);
    after(vu);
}

void vio_vu_drop(struct vio_vu *vu, const char *why)
{
    if (vu->session != NULL)
        vu_over(vu->session, "%s", why);
    after(vu);
}

bool vio_vu_connected(const struct vio_vu *vu)
{
    return vu->session != NULL;
}

void vio_vu_destroy(struct vio_vu *vu)
{
    struct stat st;

    if (vu == NULL)
        return;
    if (vu->session != NULL) {
        vu_gone(vu->session, "vio stops");
        vu_session_end(vu);
    }
    if (vu->listen_fd >= 0) {
        vu->p.watch(vu->p.ctx, vu, vu->listen_fd, 0);
        close(vu->listen_fd);
    }
    /* Another vio may have put its own there. */
    if (vu->made && lstat(vu->address.sun_path, &st) == 0 && st.st_dev == vu->bound.dev && st.st_ino == vu->bound.ino)
        unlink(vu->address.sun_path);
    free(vu);
}

static int begin(struct vio_vu *vu, char *why, size_t size)
{
    int err;

    switch (vu->p.side) {
    case VIO_VU_LISTEN:
        err = set_address(vu, vu->p.path, why, size);
        if (err == 0)
            err = make_listener(vu, why, size);
        if (err != 0)
            return err;
        vio_log(vu->p.log, VIO_LOG_INFO, vu->name, "listening at %s", vu->address.sun_path);
        break;
    case VIO_VU_LISTEN_FD:
        err = check_handed(vu->p.fd, true, why, size);
        if (err != 0)
            return err;
        vu->listen_fd = vu->p.fd;
        vio_log(vu->p.log, VIO_LOG_INFO, vu->name, "listening on descriptor %d", vu->listen_fd);
        break;
    case VIO_VU_CONNECT:
        err = set_address(vu, vu->p.path, why, size);
        if (err != 0)
            return err;
        connect_now(vu);
        return 0;
    case VIO_VU_FD:
        err = check_handed(vu->p.fd, false, why, size);
        if (err != 0)
            return err;
        err = vu_session_begin(vu, vu->p.fd);
        vu->p.fd = -1; /* the session's, or closed */
        return err == 0 ? 0 : fail(why, size, err, "the connection cannot be used: %s", strerror(-err));
    }
    vu->p.watch(vu->p.ctx, vu, vu->listen_fd, POLLIN);
    return 0;
}

int vio_vu_create(const struct vio_vu_params *params, struct vio_vu **out, char *why, size_t why_size)
{
    bool handed = params->side == VIO_VU_LISTEN_FD || params->side == VIO_VU_FD;
    struct vio_vu *vu = calloc(1, sizeof(*vu));
    int err;

    if (vu == NULL) {
        if (handed)
            close(params->fd);
        return fail(why, why_size, -ENOMEM, "out of memory");
    }
    vu->p = *params;
    vu->listen_fd = -1;
    vu->backoff_ms = BACKOFF_MIN_MS;
    snprintf(vu->name, sizeof(vu->name), "%s", vio_device_name(params->dev));
    *out = vu; /* the callbacks may want it */
    err = begin(vu, why, why_size);
    vu->p.path = NULL; /* the caller's */
    if (err == 0)
        return 0;
    if (handed && vu->p.fd >= 0 && vu->listen_fd < 0)
        close(vu->p.fd);
    vio_vu_destroy(vu);
    *out = NULL;
    return err;
}
