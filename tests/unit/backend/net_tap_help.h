/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the tests of the tap share: a network namespace of this process only, the host's end of an interface,
 * and a started tap. Where it sits: tests/unit/backend.
 */
#ifndef NET_TAP_HELP_H
#define NET_TAP_HELP_H

#include "net_help.h"

#define TYPE 0x88b5 /* test_frame()'s */
#define NOT_SUCH ((struct vio_net_tap_params){ .name = "vtest0", .fd = -1 })

int tap_setup(void **state); /* of the group: the namespace */
void need_tap(void);         /* skips with the reason */

/* The host's side. */
short if_flags(const char *name);
bool has_address(const char *name, const char *address, const char *mask);
void delete_interface(const char *name);
/* A raw socket on the host's end, with the kernel's own virtio header before each frame if vnet. */
int raw_socket(const char *name, bool vnet, int type);
/* A tap that somebody else has made. */
int other_tap(const char *name, short flags, bool persistent);

/* Our side: started if there is a sink. */
struct vio_net_backend *tap_open(const struct vio_net_tap_params *params, struct fake_sink *f);
void tap_stop(struct vio_net_backend *b, struct fake_sink *f);
uint64_t tap_counter(struct vio_net_backend *b, const char *name);
/* The kernel sends frames of its own (IPv6): those that are not ours do not count. */
unsigned frames_of(struct fake_sink *f, unsigned type);
bool wait_for(struct vio_net_backend *b, struct fake_sink *f, unsigned type, unsigned want);

#endif
