/* SPDX-License-Identifier: MIT */
/*
 * Purpose: little-endian numbers in shared memory, read and written as one by a test that goes past the library: another
 * thread may be at them too.
 */
#ifndef VIO_TEST_LE_H
#define VIO_TEST_LE_H

#include <vio/types.h>

#define LE_ACCESS_(bits)                                                                            \
    static inline uint##bits##_t le_get##bits(const void *at)                                       \
    {                                                                                               \
        return VIO_LE_(bits, __atomic_load_n((const uint##bits##_t *)at, __ATOMIC_RELAXED));        \
    }                                                                                               \
    static inline void le_set##bits(void *at, uint##bits##_t v)                                     \
    {                                                                                               \
        __atomic_store_n((uint##bits##_t *)at, VIO_LE_(bits, v), __ATOMIC_RELEASE);                 \
    }
LE_ACCESS_(16)
LE_ACCESS_(32)
LE_ACCESS_(64)
#undef LE_ACCESS_

#endif
