/* SPDX-License-Identifier: MIT */
/* Purpose: see cli/control.h. */
#include "cli/control.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    LINES_A_TURN = 16,    /* then others have theirs */
    BACKLOG = 16,
    NO_FILES_MS = 1000,
    REFUSED_BYTES_MAX = 256,
};

struct client {
    struct client *next;
    struct control *control;
    int fd;
    char *in;       /* [CONTROL_LINE_MAX] */
    size_t from, to; /* what of it is not answered yet */
    char *out;      /* NULL: nothing to send */
    size_t out_size, sent;
    struct loop_timer stuck;
};

struct control {
    struct control_params p;
    char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
    int fd;
    bool made;
    dev_t dev;
    ino_t ino;
    struct loop_timer again;
    struct client *clients;
    unsigned nr;
};

/* ------------------------------------------------------------------ one client */

static void drop(struct client *client)
{
    struct control *c = client->control;

    for (struct client **at = &c->clients; *at != NULL; at = &(*at)->next) {
        if (*at == client) {
            *at = client->next;
            break;
        }
    }
    c->nr--;
    loop_timer_cancel(c->p.loop, &client->stuck);
    loop_unwatch(c->p.loop, client->fd);
    close(client->fd);
    free(client->in);
    free(client->out);
    free(client);
}

static void stuck(void *ctx)
{
    struct client *client = ctx;

    vio_log(client->control->p.log, VIO_LOG_WARNING, "vio",
            "a client of the control socket did not read its answer for %d s: sent off", CONTROL_STUCK_MS / 1000);
    drop(client);
}

/* Sends what the socket takes. False: the client is gone. */
static bool flush(struct client *client)
{
    while (client->out != NULL) {
        ssize_t n = send(client->fd, client->out + client->sent, client->out_size - client->sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK;
        client->sent += (size_t)n;
        if (client->sent == client->out_size) {
            free(client->out);
            client->out = NULL;
        }
    }
    return true;
}

/* Takes the reference; NULL: there was no memory for an answer. False: the client cannot be answered. */
static bool reply(struct client *client, json_t *json)
{
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    size_t n = text != NULL ? strlen(text) : 0;

    json_decref(json);
    if (text == NULL)
        return false;
    text[n] = '\n'; /* in place of its end: the size is known */
    client->out = text;
    client->out_size = n + 1;
    client->sent = 0;
    return flush(client);
}

static char *end_of_line(const struct client *client)
{
    return memchr(client->in + client->from, '\n', client->to - client->from);
}

static bool answer_line(struct client *client, const char *line, size_t n)
{
    const struct control *c = client->control;
    json_error_t error;
    json_t *request = json_loadb(line, n, JSON_REJECT_DUPLICATES, &error), *answer;

    if (!json_is_object(request)) {
        json_decref(request);
        return reply(client, json_pack("{s:s}", "error", "a line is one JSON object, as {\"do\":\"devices\"}"));
    }
    answer = c->p.answer(c->p.ctx, request);
    json_decref(request);
    return reply(client, answer);
}

/* Reads what fits. False: it hung up, or sends a line without an end. */
static bool fill(struct client *client)
{
    ssize_t n;

    memmove(client->in, client->in + client->from, client->to - client->from);
    client->to -= client->from;
    client->from = 0;
    if (client->to == CONTROL_LINE_MAX) {
        (void)reply(client, json_pack("{s:s}", "error", "the line is too long: 65535 bytes are possible"));
        return false;
    }
    do
        n = recv(client->fd, client->in + client->to, CONTROL_LINE_MAX - client->to, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK;
    client->to += (size_t)n;
    return n > 0;
}

/* False: the client is to go. */
static bool serve(struct client *client)
{
    char *end;

    if (!flush(client))
        return false;
    if (client->out == NULL && end_of_line(client) == NULL && !fill(client))
        return false;
    for (unsigned i = 0; i < LINES_A_TURN && client->out == NULL && (end = end_of_line(client)) != NULL; i++) {
        const char *line = client->in + client->from;

        client->from = (size_t)(end + 1 - client->in);
        if (!answer_line(client, line, (size_t)(end - line)))
            return false;
    }
    return true;
}

static void client_event(void *ctx, int fd, short revents)
{
    struct client *client = ctx;
    struct loop *loop = client->control->p.loop;
    bool more;

    (void)revents;
    if (!serve(client)) {
        drop(client);
        return;
    }
    /* Whoever asks and does not read is waited for, for a while: a socket may be full for poll() before it is for send(). */
    more = client->out != NULL || end_of_line(client) != NULL;
    if (more)
        loop_timer_set(loop, &client->stuck, CONTROL_STUCK_MS);
    else
        loop_timer_cancel(loop, &client->stuck);
    if (loop_watch(loop, fd, more ? POLLOUT : POLLIN, client_event, client) < 0)
        drop(client);
}

/* ------------------------------------------------------------------ clients come */

static void refuse_client(int fd)
{
    char text[REFUSED_BYTES_MAX];
    int n = snprintf(text, sizeof(text), "{\"error\":\"there are %d clients already\"}\n", CONTROL_CLIENTS_MAX);

    (void)!send(fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
}

static void add_client(struct control *c, int fd)
{
    struct client *client = calloc(1, sizeof(*client));
    char *in = malloc(CONTROL_LINE_MAX);

    if (client == NULL || in == NULL || loop_watch(c->p.loop, fd, POLLIN, client_event, client) < 0) {
        free(client);
        free(in);
        close(fd);
        return;
    }
    client->control = c;
    client->fd = fd;
    client->in = in;
    client->stuck = (struct loop_timer){ .call = stuck, .ctx = client };
    client->next = c->clients;
    c->clients = client;
    c->nr++;
}

static void somebody_comes(void *ctx, int listener, short revents)
{
    struct control *c = ctx;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)revents;
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
        loop_unwatch(c->p.loop, listener); /* it would be told again and again */
        loop_timer_set(c->p.loop, &c->again, NO_FILES_MS);
    }
    if (fd < 0)
        return;
    if (c->nr == CONTROL_CLIENTS_MAX)
        refuse_client(fd);
    else
        add_client(c, fd);
}

static void listen_again(void *ctx)
{
    struct control *c = ctx;

    if (loop_watch(c->p.loop, c->fd, POLLIN, somebody_comes, c) < 0)
        loop_timer_set(c->p.loop, &c->again, NO_FILES_MS);
}

/* ------------------------------------------------------------------ the socket */

VIO_PRINTF(4, 5)
static int fail(char *why, size_t size, int err, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(why, size, format, ap);
    va_end(ap);
    return err;
}

/* What is at our path already: an orphan of a vio that was killed goes, everything else stays. */
static int clear_path(const struct control *c, const struct sockaddr_un *address, char *why, size_t size)
{
    struct stat st;
    int fd, err = 0;

    if (lstat(c->path, &st) != 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return fail(why, size, -EEXIST, "%s exists and is not a socket: choose another path, or remove it", c->path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0)
        err = -errno;
    if (fd >= 0)
        close(fd);
    if (err == 0 || err == -EAGAIN)
        return fail(why, size, -EADDRINUSE, "somebody listens at %s already: choose another path", c->path);
    if (err != -ECONNREFUSED)
        return fail(why, size, err, "there is a socket at %s, and whether anybody uses it cannot be found out: %s", c->path,
                    strerror(-err));
    if (unlink(c->path) != 0 && errno != ENOENT)
        return fail(why, size, -errno, "the orphaned socket %s cannot be removed: %s", c->path, strerror(errno));
    return 0;
}

static int listen_at(struct control *c, char *why, size_t size)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct stat st;
    int err;

    if (strlen(c->p.path) >= sizeof(c->path))
        return fail(why, size, -ENAMETOOLONG, "the path %s has %zu bytes, and a socket's may have %zu: choose a shorter one",
                    c->p.path, strlen(c->p.path), sizeof(c->path) - 1);
    strcpy(c->path, c->p.path);
    strcpy(address.sun_path, c->p.path);
    err = clear_path(c, &address, why, size);
    if (err < 0)
        return err;
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* Before it has a name: nobody else may get in between. */
    if (c->fd < 0 || fchmod(c->fd, 0600) != 0 || bind(c->fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
        return fail(why, size, -errno, "no socket can be made at %s: %s", c->path, strerror(errno));
    if (lstat(c->path, &st) == 0) {
        c->dev = st.st_dev;
        c->ino = st.st_ino;
        c->made = true;
    }
    if (listen(c->fd, BACKLOG) != 0)
        return fail(why, size, -errno, "nobody can be listened for at %s: %s", c->path, strerror(errno));
    err = loop_watch(c->p.loop, c->fd, POLLIN, somebody_comes, c);
    return err < 0 ? fail(why, size, err, "%s cannot be waited for: %s", c->path, strerror(-err)) : 0;
}

int control_create(const struct control_params *params, struct control **out, char *why, size_t why_size)
{
    struct control *c = calloc(1, sizeof(*c));
    int err;

    if (c == NULL)
        return fail(why, why_size, -ENOMEM, "out of memory");
    c->p = *params;
    c->fd = -1;
    c->again = (struct loop_timer){ .call = listen_again, .ctx = c };
    err = listen_at(c, why, why_size);
    if (err < 0) {
        control_destroy(c);
        return err;
    }
    vio_log(params->log, VIO_LOG_INFO, "vio", "control socket at %s", c->path);
    *out = c;
    return 0;
}

void control_destroy(struct control *c)
{
    struct stat st;

    if (c == NULL)
        return;
    while (c->clients != NULL)
        drop(c->clients);
    loop_timer_cancel(c->p.loop, &c->again);
    if (c->fd >= 0) {
        loop_unwatch(c->p.loop, c->fd);
        close(c->fd);
    }
    /* Another vio may have put its own there. */
    if (c->made && lstat(c->path, &st) == 0 && st.st_dev == c->dev && st.st_ino == c->ino)
        unlink(c->path);
    free(c);
}
