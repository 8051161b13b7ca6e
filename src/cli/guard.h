/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a front-end that truncates the memory file it shares must not end the process for the others.
 * Where it sits: cli/, process-wide. Threads: see each.
 */
#ifndef VIO_CLI_GUARD_H
#define VIO_CLI_GUARD_H

#include <stdatomic.h>
#include <vio/types.h>

struct loop;

/*
 * From here on a SIGBUS in a shared mapping puts zeroed memory of our own there, pokes the loop and goes on. One in
 * anything else ends the process as ever. loop: outlives the guard. Control thread, once.
 */
int guard_install(struct loop *loop) VIO_MUST_CHECK;
/* Any thread: how many pages were replaced so far, counted before each is. */
const atomic_uint *guard_faults(void);
/* Control thread: the next address that was lost since the last call; false: none. */
bool guard_take(uintptr_t *address);

#endif
