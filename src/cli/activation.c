/* SPDX-License-Identifier: MIT */
/* Purpose: see cli/activation.h. */
#include "cli/activation.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static bool number_of(const char *text, unsigned long max, unsigned long *out)
{
    char *end;

    if (text == NULL || *text < '0' || *text > '9')
        return false;
    errno = 0;
    *out = strtoul(text, &end, 10);
    return errno == 0 && *end == '\0' && *out <= max;
}

int activation_init(struct activation *a)
{
    const char *names = getenv("LISTEN_FDNAMES");
    unsigned long pid, nr = 0;

    *a = (struct activation){ .nr = 0 };
    if (!number_of(getenv("LISTEN_PID"), ~0ul, &pid) || (pid_t)pid != getpid() ||
        !number_of(getenv("LISTEN_FDS"), ACTIVATION_MAX, &nr) || nr == 0)
        return 0;
    a->taken = calloc(nr, sizeof(*a->taken));
    a->names = names != NULL ? strdup(names) : NULL;
    if (a->taken == NULL || (names != NULL && a->names == NULL)) {
        activation_free(a);
        return -ENOMEM;
    }
    a->nr = (unsigned)nr;
    for (unsigned i = 0; i < a->nr; i++)
        (void)fcntl(ACTIVATION_FIRST_FD + (int)i, F_SETFD, FD_CLOEXEC);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return 0;
}

void activation_free(struct activation *a)
{
    for (unsigned i = 0; i < a->nr; i++)
        if (!a->taken[i])
            close(ACTIVATION_FIRST_FD + (int)i);
    free(a->taken);
    free(a->names);
    *a = (struct activation){ .nr = 0 };
}

unsigned activation_left(const struct activation *a)
{
    unsigned left = 0;

    for (unsigned i = 0; i < a->nr; i++)
        left += !a->taken[i];
    return left;
}

static int take(struct activation *a, unsigned i)
{
    a->taken[i] = true;
    return ACTIVATION_FIRST_FD + (int)i;
}

int activation_take_named(struct activation *a, const char *name)
{
    const char *at = a->names;
    size_t length = strlen(name);

    for (unsigned i = 0; at != NULL && i < a->nr; i++) {
        size_t n = strcspn(at, ":");

        if (!a->taken[i] && n == length && memcmp(at, name, n) == 0)
            return take(a, i);
        at = at[n] == ':' ? at + n + 1 : NULL;
    }
    return -1;
}

int activation_take_next(struct activation *a)
{
    for (unsigned i = 0; i < a->nr; i++)
        if (!a->taken[i])
            return take(a, i);
    return -1;
}

int socket_listens(int fd, bool *listens, char *why, size_t why_size)
{
    int domain = 0, type = 0, accepts = 0;
    socklen_t size = sizeof(int);

    if (fcntl(fd, F_GETFD) < 0) {
        snprintf(why, why_size, "descriptor %d is not open: whoever starts vio must leave it open (no close-on-exec)", fd);
        return -EBADF;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &size) < 0 || domain != AF_UNIX || type != SOCK_STREAM) {
        snprintf(why, why_size, "descriptor %d is not a UNIX stream socket, and vhost-user needs one", fd);
        return -ENOTSOCK;
    }
    *listens = accepts != 0;
    return 0;
}

void notify_manager(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    size_t length = path != NULL ? strlen(path) : 0;
    int fd;

    if (length == 0 || length >= sizeof(to.sun_path) || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(to.sun_path, path, length);
    if (path[0] == '@') /* the abstract name space */
        to.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    (void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&to,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
    close(fd);
}
