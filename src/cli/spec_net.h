/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what cli/spec_net.c (keys, the device, QEMU and libvirt) and cli/spec_net_backend.c (what stands behind the
 * device) share. Where it sits: cli/. Threads: the control thread.
 */
#ifndef VIO_CLI_SPEC_NET_H
#define VIO_CLI_SPEC_NET_H

#include <vio/net.h>

#include "cli/registry.h"

extern const struct spec_group net_backend_group;
extern const char *const net_one_backend[]; /* spec_type.one_of */

/* Rules between the keys of the backend. -EINVAL with the sentence. */
int net_backend_check(const struct spec *spec, char *why, size_t why_size) VIO_MUST_CHECK;
/* The backend of the device `name`, ready for vio_net_create(). -errno with the sentence. */
int net_backend_open(const struct spec *spec, const char *name, const struct vio_log *log, struct switches *switches,
                     struct vio_net_backend **out, char *why, size_t why_size) VIO_MUST_CHECK;

#endif
