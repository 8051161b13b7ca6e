/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the types that keep wire bytes, addresses and host numbers apart.
 * Where it sits: base/. Builds freestanding.
 * Trust: a value that came from a peer is a vio_le*, vio_be* or vio_gpa until it was read once and
 * checked; none of them can be compared, added or passed as a host number, nor mixed in width.
 */
#ifndef VIO_TYPES_H
#define VIO_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIO_MUST_CHECK __attribute__((warn_unused_result))
/* Around what a public header declares: that alone can be linked to from outside the shared library. */
#define VIO_PUBLIC_BEGIN _Pragma("GCC visibility push(default)")
#define VIO_PUBLIC_END _Pragma("GCC visibility pop")
#define VIO_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Little-endian numbers as they stand in shared memory and in configuration space (virtio 1.4, 1.4). */
typedef struct { uint16_t v_; } vio_le16;
typedef struct { uint32_t v_; } vio_le32;
typedef struct { uint64_t v_; } vio_le64;
/* Big-endian numbers (channel I/O, NBD and network headers). */
typedef struct { uint16_t v_; } vio_be16;
typedef struct { uint32_t v_; } vio_be32;
typedef struct { uint64_t v_; } vio_be64;

/* An address as the driver knows it (guest-physical, or an IOVA with ACCESS_PLATFORM): not a pointer. */
typedef struct { uint64_t a_; } vio_gpa;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define VIO_LE_(bits, x) (x)
#define VIO_BE_(bits, x) __builtin_bswap##bits(x)
#else
#define VIO_LE_(bits, x) __builtin_bswap##bits(x)
#define VIO_BE_(bits, x) (x)
#endif

#define VIO_DEFINE_WIRE_(bits)                                                                      \
    static inline uint##bits##_t vio_le##bits##_get_(vio_le##bits w)                                \
    {                                                                                               \
        return VIO_LE_(bits, w.v_);                                                                 \
    }                                                                                               \
    static inline vio_le##bits vio_le##bits##_of(uint##bits##_t host)                               \
    {                                                                                               \
        return (vio_le##bits){ VIO_LE_(bits, host) };                                               \
    }                                                                                               \
    static inline uint##bits##_t vio_be##bits##_get_(vio_be##bits w)                                \
    {                                                                                               \
        return VIO_BE_(bits, w.v_);                                                                 \
    }                                                                                               \
    static inline vio_be##bits vio_be##bits##_of(uint##bits##_t host)                               \
    {                                                                                               \
        return (vio_be##bits){ VIO_BE_(bits, host) };                                               \
    }
VIO_DEFINE_WIRE_(16)
VIO_DEFINE_WIRE_(32)
VIO_DEFINE_WIRE_(64)
#undef VIO_DEFINE_WIRE_

/* The host-order number in any wire type; the width of the result is the width of the type. */
#define vio_cpu(w)                                                                                  \
    _Generic((w),                                                                                   \
        vio_le16: vio_le16_get_, vio_le32: vio_le32_get_, vio_le64: vio_le64_get_,                  \
        vio_be16: vio_be16_get_, vio_be32: vio_be32_get_, vio_be64: vio_be64_get_)(w)

static inline vio_gpa vio_gpa_of(uint64_t address)
{
    return (vio_gpa){ address };
}

/* For messages, logs and comparison only; nothing that came from this number is dereferenced. */
static inline uint64_t vio_gpa_raw(vio_gpa a)
{
    return a.a_;
}

/* Checked sums: false, and *out untouched, where the result would not fit. */
static inline bool vio_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t sum;

    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *out = sum;
    return true;
}

static inline bool vio_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t product;

    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *out = product;
    return true;
}

static inline bool vio_gpa_add(vio_gpa a, uint64_t n, vio_gpa *out)
{
    return vio_add_u64(a.a_, n, &out->a_);
}

/* Whether [start, start + len) lies inside [0, limit), with no overflow on the way. */
static inline bool vio_range_ok(uint64_t start, uint64_t len, uint64_t limit)
{
    return start <= limit && len <= limit - start;
}

static inline uint64_t vio_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint32_t vio_min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* The one contiguous piece of a buffer as a host may hand it to a system call: laid out as struct iovec. */
struct vio_seg {
    void *base;
    size_t len;
};

#endif
