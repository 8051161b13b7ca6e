/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the process that serves devices until it is told to stop; what `vio serve` and `vio backend` have in common.
 * Where it sits: cli/. Threads: the caller's becomes the control thread.
 */
#ifndef VIO_CLI_SERVER_H
#define VIO_CLI_SERVER_H

#include <vio/log.h>

#include "cli/spec.h"

struct server_params {
    const char *word;         /* "vio serve"; for what is wrong with its arguments */
    const struct spec *specs;
    unsigned nr;
    unsigned threads;         /* as worker_pool_create() takes it */
    enum vio_log_level level;
    bool json;                /* log lines as JSON */
    const char *pidfile;      /* NULL: none */
    const char *control;      /* the path of the control socket; NULL: none */
};

/* The exit status. */
int server_run(const struct server_params *params);

#endif
