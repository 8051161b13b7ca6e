/* SPDX-License-Identifier: MIT */
/*
 * Purpose: sockets that vio was started with: by systemd (LISTEN_FDS, sd_listen_fds(3)) or as fd=N; and telling systemd
 * that vio is ready. Where it sits: cli/. Threads: the control thread.
 */
#ifndef VIO_CLI_ACTIVATION_H
#define VIO_CLI_ACTIVATION_H

#include <vio/types.h>

enum { ACTIVATION_FIRST_FD = 3, ACTIVATION_MAX = 1024 };

struct activation {
    unsigned nr;   /* descriptors ACTIVATION_FIRST_FD.. that were handed over */
    char *names;   /* LISTEN_FDNAMES; may be NULL */
    bool *taken;
};

/* Reads LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES and removes them from the environment. */
int activation_init(struct activation *a) VIO_MUST_CHECK;
void activation_free(struct activation *a); /* closes what nobody took */
unsigned activation_left(const struct activation *a);
/* The one of this name; -1: none. */
int activation_take_named(struct activation *a, const char *name);
/* The first that is left; -1: none. */
int activation_take_next(struct activation *a);

/* Whether fd is a UNIX stream socket, and whether it listens. -errno with a sentence in why. */
int socket_listens(int fd, bool *listens, char *why, size_t why_size) VIO_MUST_CHECK;

/* "READY=1" and the like to NOTIFY_SOCKET; nothing where there is none (sd_notify(3)). */
void notify_manager(const char *state);

#endif
