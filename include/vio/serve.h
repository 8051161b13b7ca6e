/* SPDX-License-Identifier: MIT */
/*
 * Purpose: one device, given to front-ends over vhost-user by one thread that does nothing else: for programs with no event loop
 * of their own. Where it sits: transport/vhost_user, over vio/vhost_user.h, which programs with a loop use instead.
 * Threads: the caller's, until it returns; the device must have been created with no host operations.
 */
#ifndef VIO_SERVE_H
#define VIO_SERVE_H

#include <vio/vhost_user.h>

VIO_PUBLIC_BEGIN

struct vio_serve_params {
    const char *path;          /* a socket is made here; an orphan is replaced */
    int stop_fd;               /* returns when it polls readable (a signalfd, an eventfd); -1: never by itself */
    const struct vio_log *log; /* may be NULL */
};

/*
 * Serves until stop_fd says so: 0. Front-ends come and go, one at a time. The process must ignore SIGPIPE. -errno of
 * vio_vu_create(), -ENOMEM: the sentence is in why.
 */
int vio_serve(struct vio_device *dev, const struct vio_serve_params *params, char *why, size_t why_size) VIO_MUST_CHECK;

VIO_PUBLIC_END

#endif
