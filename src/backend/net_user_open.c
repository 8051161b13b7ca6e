/* SPDX-License-Identifier: MIT */
/*
 * Purpose: opens a user-mode network: its addresses, libslirp's callbacks, the forwards.
 * Where it sits: backend/net_user. Threads: opening is the control thread's, the callbacks come on whichever calls libslirp.
 */
#include "backend/net_user.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* ------------------------------------------------------------------ what libslirp calls */

static ssize_t send_packet(const void *frame, size_t len, void *opaque)
{
    struct user *u = opaque;

    /* Between stop and start nobody takes it. Dropped is as good as sent to libslirp, and less is an error it prints. */
    if (!u->sink || !user_queue_put(&u->queue, frame, len))
        user_count(&u->queue_drops);
    return (ssize_t)len;
}

static void guest_error(const char *message, void *opaque)
{
    struct user *u = opaque;

    user_count(&u->guest_errors);
    vio_log_peer(u->log, &u->limit, "user", "libslirp says of the guest: %s", message);
}

static int64_t clock_get_ns(void *opaque)
{
    struct timespec t;

    (void)opaque;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* It names its sockets each time it is asked (net_user_turn.c): nothing is kept of these. */
static void ignore_fd(int fd, void *opaque)
{
    (void)fd;
    (void)opaque;
}

static void ignore_notify(void *opaque)
{
    (void)opaque;
}

static const SlirpCb user_callbacks = {
    .send_packet = send_packet,
    .guest_error = guest_error,
    .clock_get_ns = clock_get_ns,
    .timer_new = user_timer_new,
    .timer_free = user_timer_free,
    .timer_mod = user_timer_mod,
    .register_poll_fd = ignore_fd,
    .unregister_poll_fd = ignore_fd,
    .notify = ignore_notify,
};

static Slirp *make_slirp(struct user *u, bool restricted)
{
    SlirpConfig config = {
        .version = 1, /* every libslirp knows it, and no more is needed */
        .restricted = restricted,
        .in_enabled = true,
        .vnetwork.s_addr = htonl(0x0a000200), /* 10.0.2.0/24 */
        .vnetmask.s_addr = htonl(0xffffff00),
        .vhost.s_addr = htonl(0x0a000202),
        .vnameserver.s_addr = htonl(0x0a000203),
        .vdhcp_start.s_addr = htonl(0x0a00020f),
        .in6_enabled = true,
        .vprefix_len = 64,
        .if_mtu = USER_MTU,
        .if_mru = USER_MTU,
    };

    config.vprefix_addr6.s6_addr[0] = 0xfe;
    config.vprefix_addr6.s6_addr[1] = 0xc0;
    config.vhost6 = config.vnameserver6 = config.vprefix_addr6;
    config.vhost6.s6_addr[15] = 2;
    config.vnameserver6.s6_addr[15] = 3;
    return u->api.new(&config, &user_callbacks, u);
}

/* ------------------------------------------------------------------ forwards */

struct forward {
    bool udp;
    struct in_addr host;
    uint16_t host_port, guest_port;
};

static bool parse_port(const char *text, uint16_t *port)
{
    unsigned long value = 0;

    for (const char *c = text; *c; c++) {
        if (*c < '0' || *c > '9' || c - text >= 5)
            return false;
        value = value * 10 + (unsigned long)(*c - '0');
    }
    *port = (uint16_t)value;
    return value >= 1 && value <= 65535;
}

/* tcp|udp:[HOSTADDR:]HOSTPORT:GUESTPORT */
static int parse_forward(const char *text, struct forward *f, char *why, size_t why_size)
{
    char copy[64], *part[4], *rest = copy;
    unsigned n = 0;

    if (strlen(text) >= sizeof copy)
        return vio_why(-EINVAL, why, why_size, "the forward '%.60s...' is too long: at most 63 characters", text);
    strcpy(copy, text);
    while (rest && n < 4)
        part[n++] = strsep(&rest, ":");
    if (rest || n < 3 || (strcmp(part[0], "tcp") != 0 && strcmp(part[0], "udp") != 0))
        return vio_why(-EINVAL, why, why_size,
                       "the forward '%s' is not tcp|udp:[HOSTADDR:]HOSTPORT:GUESTPORT; tcp:2222:22, for example", text);
    *f = (struct forward){ .udp = part[0][0] == 'u', .host.s_addr = htonl(INADDR_LOOPBACK) };
    if (n == 4 && inet_pton(AF_INET, part[1], &f->host) != 1)
        return vio_why(-EINVAL, why, why_size,
                       "the forward '%s': '%s' is no IPv4 address of this host; 127.0.0.1 and 0.0.0.0 (all) always are",
                       text, part[1]);
    if (!parse_port(part[n - 2], &f->host_port) || !parse_port(part[n - 1], &f->guest_port))
        return vio_why(-EINVAL, why, why_size, "the forward '%s': ports are numbers from 1 to 65535", text);
    return 0;
}

/* libslirp lets UDP ports be shared with others of its kind: whoever came last would get nothing, and not know why. */
static int try_udp(const struct forward *f)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = f->host, .sin_port = htons(f->host_port) };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret = 0;

    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        ret = -errno;
    close(fd);
    return ret;
}

static int add_forward(struct user *u, const char *text, bool restricted, char *why, size_t why_size)
{
    struct in_addr guest = { 0 }; /* whoever has the first address that is given out */
    char host[INET_ADDRSTRLEN] = "";
    struct forward f;
    int ret = parse_forward(text, &f, why, why_size);

    if (ret < 0)
        return ret;
    if (f.udp && restricted)
        return vio_why(-ENOTSUP, why, why_size,
                       "the forward '%s': in a restricted network libslirp drops what the guest answers by UDP; use tcp, "
                       "or leave restricted out", text);
    inet_ntop(AF_INET, &f.host, host, sizeof host);
    ret = f.udp ? try_udp(&f) : 0;
    errno = 0;
    if (ret == 0 && u->api.add_hostfwd(u->slirp, f.udp, f.host, f.host_port, guest, f.guest_port) < 0)
        ret = errno ? -errno : -EIO;
    switch (ret) {
    case 0:
        return 0;
    case -EADDRINUSE:
        return vio_why(ret, why, why_size,
                       "the forward '%s': %s port %u on %s is taken by another program; choose another port", text,
                       f.udp ? "UDP" : "TCP", f.host_port, host);
    case -EADDRNOTAVAIL:
        return vio_why(ret, why, why_size, "the forward '%s': %s is no address of this host", text, host);
    case -EACCES:
        return vio_why(ret, why, why_size,
                       "the forward '%s': port %u is reserved (CAP_NET_BIND_SERVICE); choose one from 1024 on", text,
                       f.host_port);
    default:
        return vio_why(ret, why, why_size, "the forward '%s': %s", text, strerror(-ret));
    }
}

static int add_forwards(struct user *u, const struct vio_net_user_params *params, char *why, size_t why_size)
{
    const char *const *forward = params->forward;
    int ret = 0;

    for (unsigned n = 0; ret == 0 && forward && forward[n]; n++) {
        if (n == USER_FORWARDS_MAX)
            return vio_why(-E2BIG, why, why_size, "there are more than %d forwards; start another network for the rest",
                           USER_FORWARDS_MAX);
        ret = add_forward(u, forward[n], params->restricted, why, why_size);
    }
    return ret;
}

/* ------------------------------------------------------------------ opening */

static int fd_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur / 4 * 3 > USER_FD_MAX)
        return USER_FD_MAX;
    return (int)(limit.rlim_cur / 4 * 3);
}

static int open_user(struct user *u, const struct vio_net_user_params *params, char *why, size_t why_size)
{
    int ret = user_api_open(&u->api, why, why_size);

    if (ret < 0)
        return ret;
    u->queue.bytes = malloc(USER_QUEUE_BYTES);
    if (!u->queue.bytes)
        return vio_why(-ENOMEM, why, why_size, "out of memory");
    ret = user_turn_open(u);
    if (ret < 0)
        return vio_why(ret, why, why_size, "user-mode networking: %s", strerror(-ret));
    u->slirp = make_slirp(u, params->restricted);
    if (!u->slirp)
        return vio_why(-ENOTSUP, why, why_size, "libslirp %s refuses its configuration: install 4.0 or later",
                       u->api.version_string());
    user_turn_timers(u);
    return add_forwards(u, params, why, why_size);
}

int vio_net_user_open(const struct vio_net_user_params *params, struct vio_net_backend **out, char *why, size_t why_size)
{
    struct user *u = calloc(1, sizeof *u);
    int ret;

    if (!u)
        return vio_why(-ENOMEM, why, why_size, "out of memory");
    u->head.ops = &user_ops;
    u->log = params->log;
    u->epoll_fd = u->timer_fd = -1;
    u->fd_limit = fd_limit();
    ret = open_user(u, params, why, why_size);
    if (ret < 0) {
        user_ops.destroy(&u->head);
        return ret;
    }
    *out = &u->head;
    return 0;
}
