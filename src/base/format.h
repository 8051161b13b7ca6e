/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a sentence with numbers in it, where there is no printf. Where it sits: base/, freestanding.
 * Threads: any. Trust: none is needed; what does not fit is cut, and the end is always a NUL.
 */
#ifndef VIO_BASE_FORMAT_H
#define VIO_BASE_FORMAT_H

#include <stdarg.h>
#include <vio/types.h>

/*
 * %s %c %d %u %x %%, with l, ll or z; with a width, filled by zeros (%04x) or, for unsigned numbers, by spaces. Anything
 * else is shown as it stands, and so is what follows it.
 */
void vio_format(char *to, size_t size, const char *format, ...) VIO_PRINTF(3, 4);
void vio_vformat(char *to, size_t size, const char *format, va_list ap) VIO_PRINTF(3, 0);

#endif
