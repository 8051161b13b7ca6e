/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the process's network switches by name: the first device that names one makes it. Where it sits: cli/, owned
 * by the server and handed to the types of device that want it. Threads: the control thread. While it is destroyed no
 * queue of a port runs.
 */
#ifndef VIO_CLI_SWITCHES_H
#define VIO_CLI_SWITCHES_H

#include <vio/net.h>

struct switches;

int switches_create(const struct vio_log *log, struct switches **out) VIO_MUST_CHECK;
/* Gives up our reference to each. NULL is fine. */
void switches_destroy(struct switches *s);

/* The one of this name; made where there is none yet. */
int switches_find(struct switches *s, const char *name, struct vio_net_switch **out) VIO_MUST_CHECK;
/* Who gave the switch its uplink: a device's name; NULL: nobody so far. */
const char *switches_uplink_of(const struct switches *s, const char *name);
/* Gives it one (taken on success), on behalf of `device`. */
int switches_set_uplink(struct switches *s, const char *name, const char *device, struct vio_net_backend *uplink)
    VIO_MUST_CHECK;

#endif
