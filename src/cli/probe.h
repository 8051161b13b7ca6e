/* SPDX-License-Identifier: MIT */
/*
 * Purpose: asks a device behind a TARGET what it is, as one JSON object (`vio probe`). Where it sits: cli/, over the driver
 * side's transports. Threads: the caller's; it waits. Trust: all that the device says is checked for its form and shown, never
 * acted on.
 */
#ifndef VIO_CLI_PROBE_H
#define VIO_CLI_PROBE_H

#include <jansson.h>
#include <vio/types.h>

#include "cli/config_fields.h"

struct probe_params {
    const char *target;             /* "vhost-user:PATH" */
    const struct config_type *type; /* NULL: found out where that can be */
    unsigned timeout_ms;            /* of each answer */
    bool no_io;                     /* no queue is started, not even to ask a disk for its serial number */
};

/* NULL: the sentence is in why, TARGET_WHY bytes (cli/target.h). */
json_t *probe_target(const struct probe_params *params, char *why);

#endif
