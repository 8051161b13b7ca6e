/* SPDX-License-Identifier: MIT */
/*
 * Purpose: one device given to one front-end: made from a SPEC, with its workers and its vhost-user socket.
 * Where it sits: cli/, between the words of the command and the library. Threads: the control thread.
 */
#ifndef VIO_CLI_ENDPOINT_H
#define VIO_CLI_ENDPOINT_H

#include <vio/log.h>

#include "cli/activation.h"
#include "cli/loop.h"
#include "cli/spec.h"
#include "cli/worker.h"

struct endpoint;

struct endpoint_params {
    const struct spec *spec; /* borrowed, as all here */
    const char *name;
    int socket;              /* one that systemd handed over for this device (taken); -1: as the spec says */
    const struct vio_log *log;
    struct loop *loop;
    struct worker_pool *pool;
};

/* Whether the transport keys of a spec go together; -EINVAL with the sentence. handed: systemd gave sockets. */
int endpoint_check(const struct spec *spec, bool handed, char *why, size_t why_size) VIO_MUST_CHECK;
/* Whether the device's socket comes from systemd. */
bool endpoint_wants_activation(const struct spec *spec);
/* The most file descriptors it may need. */
uint64_t endpoint_descriptors(const struct spec *spec);

/* -errno: the sentence is in the log. */
int endpoint_create(const struct endpoint_params *params, struct endpoint **out) VIO_MUST_CHECK;
/* Finishes what is in flight, removes the socket, frees the device. NULL is fine. */
void endpoint_destroy(struct endpoint *e);

const char *endpoint_name(const struct endpoint *e);
/* After a poke of the loop: does what the device's workers found to be done. */
void endpoint_poked(struct endpoint *e);
/* Its only front-end went away for good (a connected socket that was handed over). */
bool endpoint_ended(const struct endpoint *e);
/* SIGHUP. */
void endpoint_refresh(struct endpoint *e);
/* Whether address lies in this device's guest memory: then the front-end, which took it away, is sent off. */
bool endpoint_lost_memory(struct endpoint *e, uintptr_t address);

#endif
