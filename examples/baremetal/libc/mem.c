/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the four functions that the compiler and vio ask for where there is no C library. Built with -fno-builtin and, by gcc,
 * -fno-tree-loop-distribute-patterns: else each loop here would be turned into a call of itself.
 * Where it sits: under the programs of examples/baremetal, and under tests/freestanding. Threads: any.
 */
#include <stdint.h>
#include <string.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    unsigned char *t = to;
    const unsigned char *f = from;

    for (size_t i = 0; i < n; i++)
        t[i] = f[i];
    return to;
}

void *memmove(void *to, const void *from, size_t n)
{
    unsigned char *t = to;
    const unsigned char *f = from;

    if (t < f)
        return memcpy(to, from, n);
    while (n-- > 0)
        t[n] = f[n];
    return to;
}

void *memset(void *to, int byte, size_t n)
{
    unsigned char *t = to;

    for (size_t i = 0; i < n; i++)
        t[i] = (unsigned char)byte;
    return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *x = a;
    const unsigned char *y = b;

    for (size_t i = 0; i < n; i++) {
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    }
    return 0;
}

#if defined(__riscv)
/* What libatomic has; nobody else runs here. */
unsigned char vio_atomic_or(volatile void *at, unsigned char bits, int order) __asm__("__atomic_fetch_or_1");

unsigned char vio_atomic_or(volatile void *at, unsigned char bits, int order)
{
    unsigned char before = *(volatile unsigned char *)at;

    (void)order;
    *(volatile unsigned char *)at = before | bits;
    return before;
}
#endif
