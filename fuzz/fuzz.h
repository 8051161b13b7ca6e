/* SPDX-License-Identifier: MIT */
/* Purpose: what fuzz targets share: bytes taken from the input's front, and a check that ends the program. */
#ifndef VIO_FUZZ_H
#define VIO_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *at;
    size_t left;
};

/* 0 when the input has ended. */
static inline uint8_t input_u8(struct input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

static inline uint16_t input_u16(struct input *in)
{
    uint16_t low = input_u8(in);

    return (uint16_t)(low | input_u8(in) << 8);
}

static inline uint64_t input_u64(struct input *in)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v |= (uint64_t)input_u8(in) << (8 * i);
    return v;
}

#define FUZZ_CHECK(cond)                                                                            \
    do {                                                                                            \
        if (!(cond)) {                                                                              \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond);                      \
            abort();                                                                                \
        }                                                                                           \
    } while (0)

#endif
