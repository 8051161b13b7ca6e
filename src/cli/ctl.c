/* SPDX-License-Identifier: MIT */
/* Purpose: see cli/ctl.h. */
#include "cli/ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { FIRST_BYTES = 4096 };

struct ctl {
    const char *word, *path; /* borrowed */
    int fd;
    char *in; /* the answer so far */
    size_t size;
};

struct ctl *ctl_open(const char *word, const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct timeval patience = { .tv_sec = CTL_PATIENCE_S };
    struct ctl *ctl = calloc(1, sizeof(*ctl));

    if (strlen(path) >= sizeof(address.sun_path) || ctl == NULL) {
        fprintf(stderr, "%s: %s\n", word, ctl == NULL ? "out of memory" : "the path of the control socket is too long");
        free(ctl);
        return NULL;
    }
    ctl->word = word;
    ctl->path = path;
    strcpy(address.sun_path, path);
    ctl->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (ctl->fd < 0 || setsockopt(ctl->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0 ||
        setsockopt(ctl->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) != 0 ||
        connect(ctl->fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        const char *hint = errno == ENOENT || errno == ECONNREFUSED ? ": is there a vio serve --control= of this path?" : "";

        fprintf(stderr, "%s: cannot connect to %s: %s%s\n", word, path, strerror(errno), hint);
        ctl_close(ctl);
        return NULL;
    }
    return ctl;
}

void ctl_close(struct ctl *ctl)
{
    if (ctl == NULL)
        return;
    if (ctl->fd >= 0)
        close(ctl->fd);
    free(ctl->in);
    free(ctl);
}

static bool send_line(struct ctl *ctl, const json_t *request)
{
    char *text = json_dumps(request, JSON_COMPACT);
    size_t n = text != NULL ? strlen(text) : 0, sent = 0;

    if (text == NULL) {
        fprintf(stderr, "%s: a name is not UTF-8\n", ctl->word);
        return false;
    }
    text[n++] = '\n'; /* in place of its end */
    while (sent < n) {
        ssize_t some = send(ctl->fd, text + sent, n - sent, MSG_NOSIGNAL);

        if (some < 0 && errno == EINTR)
            continue;
        if (some < 0)
            break; /* it may have said why before it hung up: the answer is read all the same */
        sent += (size_t)some;
    }
    free(text);
    return true;
}

/* More room for the answer. */
static bool grow(struct ctl *ctl)
{
    size_t size = ctl->size > 0 ? ctl->size * 2 : FIRST_BYTES;
    char *in = size <= CTL_ANSWER_MAX ? realloc(ctl->in, size) : NULL;

    if (in == NULL) {
        fprintf(stderr, "%s: the answer of %s is too long\n", ctl->word, ctl->path);
        return false;
    }
    ctl->in = in;
    ctl->size = size;
    return true;
}

/* One line, without its end; how many bytes. -1: said. */
static ssize_t receive_line(struct ctl *ctl)
{
    size_t used = 0;

    for (;;) {
        ssize_t n;
        char *end;

        if (used == ctl->size && !grow(ctl))
            return -1;
        n = recv(ctl->fd, ctl->in + used, ctl->size - used, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            fprintf(stderr, "%s: %s %s\n", ctl->word, ctl->path,
                    n == 0 ? "hung up: vio has ended" : errno == EAGAIN ? "does not answer" : strerror(errno));
            return -1;
        }
        end = memchr(ctl->in + used, '\n', (size_t)n);
        used += (size_t)n;
        if (end != NULL)
            return end - ctl->in;
    }
}

json_t *ctl_ask(struct ctl *ctl, json_t *request)
{
    bool sent = send_line(ctl, request);
    const json_t *error;
    json_t *answer;
    ssize_t n;

    json_decref(request);
    n = sent ? receive_line(ctl) : -1;
    if (n < 0)
        return NULL;
    answer = json_loadb(ctl->in, (size_t)n, 0, NULL);
    error = json_object_get(answer, "error");
    if (json_is_object(answer) && error == NULL)
        return answer;
    fprintf(stderr, "%s: ", ctl->word);
    ctl_print(json_is_string(error) ? json_string_value(error) : "what answers there is no vio", stderr);
    fprintf(stderr, "\n");
    json_decref(answer);
    return NULL;
}

void ctl_print(const char *text, FILE *to)
{
    for (; *text != '\0'; text++)
        fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, to);
}
