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

struct device_kind;
struct endpoint;
struct switches;
struct vio_device;

struct endpoint_params {
    const struct spec *spec; /* borrowed, as all here */
    const char *name;
    int socket;              /* one that systemd handed over for this device (taken); -1: as the spec says */
    const struct vio_log *log;
    struct loop *loop;
    struct worker_pool *pool;
    struct switches *switches;
};

/* Whether the keys of a spec go together; -EINVAL with the sentence. handed: systemd gave sockets. */
int endpoint_check(const struct spec *spec, bool handed, char *why, size_t why_size) VIO_MUST_CHECK;
/* Whether the device's socket comes from systemd. */
bool endpoint_wants_activation(const struct spec *spec);
/* The most file descriptors it may need. */
uint64_t endpoint_descriptors(const struct spec *spec);

/* -errno: the sentence is in the log. */
int endpoint_create(const struct endpoint_params *params, struct endpoint **out) VIO_MUST_CHECK;
/*
 * Finishes what is in flight and removes the socket: no queue of the device runs any more. All that share something
 * (struct device_kind's shares) are stopped before the first of them is destroyed. NULL is fine.
 */
void endpoint_stop(struct endpoint *e);
/* Stops it, and frees the device. NULL is fine. */
void endpoint_destroy(struct endpoint *e);

const char *endpoint_name(const struct endpoint *e);
const struct device_kind *endpoint_kind(const struct endpoint *e);
struct vio_device *endpoint_device(const struct endpoint *e);
bool endpoint_connected(const struct endpoint *e); /* a front-end is there */
bool endpoint_shares(const struct endpoint *e);    /* it has something in common with other devices */
/* After a poke of the loop: does what the device's workers found to be done. */
void endpoint_poked(struct endpoint *e);
/* Its only front-end went away for good (a connected socket that was handed over). */
bool endpoint_ended(const struct endpoint *e);
/* SIGHUP: looks at the backend again. -errno, said in the log; 0 also where there is nothing to look at. */
int endpoint_refresh(struct endpoint *e);
/* Whether address lies in this device's guest memory: then the front-end, which took it away, is sent off. */
bool endpoint_lost_memory(struct endpoint *e, uintptr_t address);

#endif
