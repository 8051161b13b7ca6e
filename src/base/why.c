/* SPDX-License-Identifier: MIT */
/* Purpose: see why.h. */
#include "base/why.h"

#include <stdarg.h>
#include <stdio.h>

int vio_why(int error, char *why, size_t why_size, const char *format, ...)
{
    va_list args;

    if (why && why_size) {
        va_start(args, format);
        vsnprintf(why, why_size, format, args);
        va_end(args);
    }
    return error;
}
