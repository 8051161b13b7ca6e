/* SPDX-License-Identifier: MIT */
/* Purpose: between control.c and net.c: the control queue that is served here. Where it sits: transport/vhost_kernel. */
#ifndef VIO_TRANSPORT_VHOST_KERNEL_CONTROL_H
#define VIO_TRANSPORT_VHOST_KERNEL_CONTROL_H

#include <vio/fault.h>
#include <vio/memory.h>
#include "transport/vhost_kernel/internal.h"

struct vk_control;

int vk_control_create(struct vio_vk *v, struct vk_control **out) VIO_MUST_CHECK;
void vk_control_destroy(struct vk_control *c); /* NULL is fine */
/* The ring as the driver told it; from where it stands. */
int vk_control_start(struct vio_vk *v, struct vk_control *c, const struct vio_queue_cfg *told) VIO_MUST_CHECK;
/* state: where it stands, left alone where it did not run. */
void vk_control_stop(struct vk_control *c, struct vio_queue_state *state);
enum vio_fault vk_control_fault(const struct vk_control *c);
/* Answers all that is there. True: the driver wants to be told. */
bool vk_control_serve(struct vio_vk *v, struct vk_control *c) VIO_MUST_CHECK;

/* net.c: so many pairs are in use from now on. -EINVAL: there are not so many. */
int vk_net_use_pairs(struct vio_vk *v, uint16_t pairs) VIO_MUST_CHECK;

#endif
