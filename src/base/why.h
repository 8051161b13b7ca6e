/* SPDX-License-Identifier: MIT */
/* Purpose: the reason of a call that failed, as a sentence. Where it sits: base/, hosted. Threads: no state. */
#ifndef VIO_BASE_WHY_H
#define VIO_BASE_WHY_H

#include <vio/types.h>

/* why may be NULL. Returns error, so that it ends a function in one line. */
int vio_why(int error, char *why, size_t why_size, const char *format, ...) VIO_PRINTF(4, 5);

#endif
