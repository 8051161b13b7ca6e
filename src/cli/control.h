/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the control socket of a vio that serves: a UNIX socket at which a client asks by one JSON object a line and
 * is answered by one. Where it sits: cli/; what can be asked is cli/requests.c.
 * Threads: the control thread; nothing here waits.
 * Trust: the socket is its owner's alone (0600), and a client still gets no more than CONTROL_LINE_MAX bytes of ours at a
 * time: lines are bounded, clients are counted, and one that does not read its answers is sent off.
 */
#ifndef VIO_CLI_CONTROL_H
#define VIO_CLI_CONTROL_H

#include <jansson.h>
#include <vio/log.h>

#include "cli/loop.h"

enum { CONTROL_LINE_MAX = 65536, CONTROL_CLIENTS_MAX = 16, CONTROL_STUCK_MS = 5000 };

struct control;

struct control_params {
    const char *path;
    struct loop *loop;
    const struct vio_log *log; /* borrowed, as all here */
    /* One request, a JSON object; the answer is the caller's. NULL: out of memory. */
    json_t *(*answer)(void *ctx, const json_t *request);
    void *ctx;
};

/* An orphan at path is replaced. -errno with the sentence. */
int control_create(const struct control_params *params, struct control **out, char *why, size_t why_size) VIO_MUST_CHECK;
/* Hangs up, and removes the socket if it is still ours. NULL is fine. */
void control_destroy(struct control *c);

#endif
