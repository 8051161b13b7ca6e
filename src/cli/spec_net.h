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

/* How many threads the backend can be driven by: queues of a tap, else threads=. */
unsigned net_lanes(const struct spec *spec);
/* The address that the device has: mac=, which was checked, or one made from its name. */
void net_spec_mac(const struct spec *spec, const char *name, uint8_t mac[VIO_NET_MAC]);
/* Rules between the keys of the backend. -EINVAL with the sentence. */
int net_backend_check(const struct spec *spec, char *why, size_t why_size) VIO_MUST_CHECK;
/* The backend of the device `name`, ready for vio_net_create(). -errno with the sentence. */
int net_backend_open(const struct spec *spec, const char *name, const struct vio_log *log, struct switches *switches,
                     struct vio_net_backend **out, char *why, size_t why_size) VIO_MUST_CHECK;

#endif
