/* SPDX-License-Identifier: MIT */
/* All of a C library that the freestanding part of vio may ask for. */
#ifndef VIO_TEST_FREESTANDING_STRING_H
#define VIO_TEST_FREESTANDING_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);

#endif
