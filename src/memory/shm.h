/* SPDX-License-Identifier: MIT */
/*
 * Purpose: shared bytes as a by-value handle: ring areas and in-flight records are read and written through these
 * few loads and stores only; there is no dereference, index or memcpy outside memory/.
 * Where it sits: memory/, freestanding. Trust: each load is one access of the compiler's and the machine's; the
 * result is a host-order copy. Offsets are the ring code's own, bounded by the sizes checked when a queue starts.
 */
#ifndef VIO_MEMORY_SHM_H
#define VIO_MEMORY_SHM_H

#include <vio/types.h>

/* Members are private to memory/. */
struct vio_shm {
    uint8_t *p_;
};

static inline struct vio_shm vio_shm_of(void *p)
{
    return (struct vio_shm){ p };
}

static inline bool vio_shm_null(struct vio_shm s)
{
    return s.p_ == NULL;
}

#define VIO_SHM_AT_(bits, s, off) ((uint##bits##_t *)__builtin_assume_aligned((s).p_ + (off), sizeof(uint##bits##_t)))

#define VIO_SHM_DEFINE_(bits)                                                                       \
    static inline uint##bits##_t vio_shm_load##bits(struct vio_shm s, size_t off)                   \
    {                                                                                               \
        return VIO_LE_(bits, __atomic_load_n(VIO_SHM_AT_(bits, s, off), __ATOMIC_RELAXED));         \
    }                                                                                               \
    static inline uint##bits##_t vio_shm_load##bits##_acquire(struct vio_shm s, size_t off)         \
    {                                                                                               \
        return VIO_LE_(bits, __atomic_load_n(VIO_SHM_AT_(bits, s, off), __ATOMIC_ACQUIRE));         \
    }                                                                                               \
    static inline void vio_shm_store##bits(struct vio_shm s, size_t off, uint##bits##_t v)          \
    {                                                                                               \
        __atomic_store_n(VIO_SHM_AT_(bits, s, off), VIO_LE_(bits, v), __ATOMIC_RELAXED);            \
    }                                                                                               \
    static inline void vio_shm_store##bits##_release(struct vio_shm s, size_t off, uint##bits##_t v) \
    {                                                                                               \
        __atomic_store_n(VIO_SHM_AT_(bits, s, off), VIO_LE_(bits, v), __ATOMIC_RELEASE);            \
    }
VIO_SHM_DEFINE_(16)
VIO_SHM_DEFINE_(32)
VIO_SHM_DEFINE_(64)
#undef VIO_SHM_DEFINE_

static inline uint8_t vio_shm_load8(struct vio_shm s, size_t off)
{
    return __atomic_load_n(s.p_ + off, __ATOMIC_RELAXED);
}

static inline void vio_shm_store8(struct vio_shm s, size_t off, uint8_t v)
{
    __atomic_store_n(s.p_ + off, v, __ATOMIC_RELAXED);
}

static inline void vio_shm_prefetch(struct vio_shm s, size_t off)
{
    __builtin_prefetch(s.p_ + off);
}

/* For a line that will be written next. */
static inline void vio_shm_prefetch_write(struct vio_shm s, size_t off)
{
    __builtin_prefetch(s.p_ + off, 1);
}

/* The full barrier between publishing an index and reading the peer's notification wish (virtio 1.4, 2.7.13.4.1). */
static inline void vio_shm_full_barrier(void)
{
#if defined(__x86_64__)
    /* A locked add on the stack is what mfence promises for ordinary memory, at a third of its price. */
    __asm__ volatile("lock; addl $0,-4(%%rsp)" ::: "memory", "cc");
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

#endif
