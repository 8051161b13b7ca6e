/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what can be asked at the control socket: {"do": WORD, ...} of the devices that are served.
 * Where it sits: cli/, between cli/control.c and the devices. Threads: the control thread.
 * Trust: a request is checked as any input: its keys, their types, the device's name.
 */
#ifndef VIO_CLI_REQUESTS_H
#define VIO_CLI_REQUESTS_H

#include <jansson.h>

#include "cli/endpoint.h"

/*
 * The answer, an object; {"error": SENTENCE} where it cannot be done. endpoints: nr of them, NULL for those that have
 * ended. NULL: out of memory.
 */
json_t *requests_answer(struct endpoint *const *endpoints, unsigned nr, const json_t *request);

#endif
