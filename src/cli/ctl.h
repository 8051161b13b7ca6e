/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a client of the control socket of a vio that serves (cli/control.h), for `vio ctl` and `vio top`.
 * Where it sits: cli/. Threads: the caller's; it waits. Trust: an answer is no longer than CTL_ANSWER_MAX.
 */
#ifndef VIO_CLI_CTL_H
#define VIO_CLI_CTL_H

#include <jansson.h>
#include <stdio.h>
#include <vio/types.h>

enum { CTL_ANSWER_MAX = 64 << 20, CTL_PATIENCE_S = 30 };

struct ctl;

/* word: "vio ctl"; who speaks in messages. NULL: said on standard error. */
struct ctl *ctl_open(const char *word, const char *path);
void ctl_close(struct ctl *ctl); /* NULL is fine */
/* The answer to a request (whose reference is taken), an object. NULL: said on standard error, also {"error"}. */
json_t *ctl_ask(struct ctl *ctl, json_t *request);

/* Text of another process's: nothing in it speaks to a terminal. */
void ctl_print(const char *text, FILE *to);

#endif
