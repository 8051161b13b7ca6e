/* SPDX-License-Identifier: MIT */
/*
 * Purpose: 128 feature bits as one value (virtio 1.4, 2.2). Builds freestanding.
 */
#ifndef VIO_FEATURES_H
#define VIO_FEATURES_H

#include <vio/types.h>

VIO_PUBLIC_BEGIN

enum { VIO_FEATURE_WORDS = 2, VIO_FEATURE_BITS = 128 };

/* Bits 0-63 in w[0], bits 64-127 in w[1]. Plain data: copy and compare freely. */
struct vio_features {
    uint64_t w[VIO_FEATURE_WORDS];
};

#define VIO_FEATURE(bit) (UINT64_C(1) << (bit))

static inline struct vio_features vio_features_of(uint64_t low)
{
    return (struct vio_features){ { low, 0 } };
}

static inline bool vio_features_has(struct vio_features f, unsigned bit)
{
    return bit < VIO_FEATURE_BITS && (f.w[bit / 64] >> (bit % 64) & 1) != 0;
}

static inline void vio_features_set(struct vio_features *f, unsigned bit)
{
    if (bit < VIO_FEATURE_BITS)
        f->w[bit / 64] |= UINT64_C(1) << (bit % 64);
}

static inline void vio_features_clear(struct vio_features *f, unsigned bit)
{
    if (bit < VIO_FEATURE_BITS)
        f->w[bit / 64] &= ~(UINT64_C(1) << (bit % 64));
}

static inline struct vio_features vio_features_or(struct vio_features a, struct vio_features b)
{
    return (struct vio_features){ { a.w[0] | b.w[0], a.w[1] | b.w[1] } };
}

static inline struct vio_features vio_features_and(struct vio_features a, struct vio_features b)
{
    return (struct vio_features){ { a.w[0] & b.w[0], a.w[1] & b.w[1] } };
}

/* The bits of a that b lacks. */
static inline struct vio_features vio_features_minus(struct vio_features a, struct vio_features b)
{
    return (struct vio_features){ { a.w[0] & ~b.w[0], a.w[1] & ~b.w[1] } };
}

static inline bool vio_features_none(struct vio_features f)
{
    return (f.w[0] | f.w[1]) == 0;
}

VIO_PUBLIC_END

#endif
