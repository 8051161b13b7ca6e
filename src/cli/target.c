/* SPDX-License-Identifier: MIT */
/* Purpose: see cli/target.h. */
#include "cli/target.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

int target_vhost_user(const char *target, const char **path, char *why, size_t why_size)
{
    static const char prefix[] = "vhost-user:";
    size_t room = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
    const char *colon = strchr(target, ':'), *slash = strchr(target, '/');

    if (strncmp(target, prefix, sizeof(prefix) - 1) == 0) {
        *path = target + sizeof(prefix) - 1;
    } else if (slash != NULL && (colon == NULL || slash < colon)) {
        *path = target;
    } else {
        snprintf(why, why_size, "'%s' is no TARGET: it is written vhost-user:PATH", target);
        return -EINVAL;
    }
    if (**path == '\0') {
        snprintf(why, why_size, "'%s' names no socket: vhost-user:PATH", target);
        return -EINVAL;
    }
    if (strlen(*path) > room) {
        snprintf(why, why_size, "'%s': a socket's path has at most %zu bytes", *path, room);
        return -EINVAL;
    }
    return 0;
}

void target_failed(const char *target, const char *path, const char *said, int error, char *why, size_t why_size)
{
    if (said[0] == '\0')
        said = strerror(-error);
    if (strncmp(said, path, strlen(path)) == 0) /* it names it already */
        snprintf(why, why_size, "%s", said);
    else
        snprintf(why, why_size, "%s: %s", target, said);
}
