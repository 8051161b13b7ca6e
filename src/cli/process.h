/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what belongs to the process and not to a device: signals, limits, the pid file.
 * Where it sits: cli/. Threads: the control thread; the signal handlers run on it as well.
 */
#ifndef VIO_CLI_PROCESS_H
#define VIO_CLI_PROCESS_H

#include <vio/log.h>

struct loop;

/* Early, before anything is opened: standard descriptors exist, limits are as high as they may be, no SIGPIPE, no SIGXFSZ. */
void process_prepare(void);
/* -EMFILE, said in the log with the fix, where the limit is too low for so many descriptors. */
int process_check_descriptors(uint64_t needed, const struct vio_log *log) VIO_MUST_CHECK;

/*
 * SIGTERM and SIGINT poke the loop; a second one ends the process at once, with status 1. SIGHUP pokes it as well.
 */
int process_catch_signals(struct loop *loop) VIO_MUST_CHECK;
bool process_stop_wanted(void);
bool process_refresh_wanted(void); /* true once a SIGHUP, or several */

/* The process's number and a newline; replaces what is there. -errno, said in the log. */
int process_write_pidfile(const char *path, const struct vio_log *log) VIO_MUST_CHECK;

#endif
