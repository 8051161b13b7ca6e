/* SPDX-License-Identifier: MIT */
/*
 * Purpose: registers of a device as a by-value handle: little-endian, each call one access of its width, in the order of
 * the program. They are mapped, or reached by two functions (I/O ports, a file of VFIO, a model in a test).
 * Where it sits: base/, freestanding; the driver side of the buses reads and writes registers by nothing else.
 * Threads: any. Trust: what is read is the device's word: a host-order copy that is to be checked.
 */
#ifndef VIO_IO_H
#define VIO_IO_H

#include <vio/types.h>

VIO_PUBLIC_BEGIN

/* width: 1, 2 or 4; value in host order. A read that fails is all ones, as on a bus where nobody answers. */
struct vio_io_ops {
    uint32_t (*read)(void *ctx, uint64_t offset, unsigned width);
    void (*write)(void *ctx, uint64_t offset, unsigned width, uint32_t value);
};

/* The members are private to this header. */
struct vio_io {
    volatile uint8_t *p_; /* NULL: by ops_ */
    const struct vio_io_ops *ops_;
    void *ctx_;
    uint64_t base_;
};

static inline struct vio_io vio_io_mapped(volatile void *registers)
{
    return (struct vio_io){ .p_ = registers };
}

static inline struct vio_io vio_io_by(const struct vio_io_ops *ops, void *ctx)
{
    return (struct vio_io){ .ops_ = ops, .ctx_ = ctx };
}

static inline bool vio_io_none(struct vio_io io)
{
    return io.p_ == NULL && io.ops_ == NULL;
}

static inline struct vio_io vio_io_at(struct vio_io io, uint64_t offset)
{
    if (io.p_ != NULL)
        io.p_ += offset;
    else
        io.base_ += offset;
    return io;
}

/* Whether registers are aligned to `align`, a power of two. */
static inline bool vio_io_aligned(struct vio_io io, unsigned align)
{
    return (((uintptr_t)io.p_ | io.base_) & (align - 1)) == 0;
}

#if defined(__aarch64__)
/* Plain loads and stores by name: a hypervisor cannot emulate those that also move the address, which compilers like. */
#define VIO_IO_LOAD_(bits, p, v)                                                                    \
    __asm__ volatile(VIO_IO_LDR_##bits " %w0, [%1]" : "=r"(v) : "r"(p) : "memory")
#define VIO_IO_STORE_(bits, p, v)                                                                   \
    __asm__ volatile(VIO_IO_STR_##bits " %w0, [%1]" : : "r"(v), "r"(p) : "memory")
#define VIO_IO_LDR_8 "ldrb"
#define VIO_IO_LDR_16 "ldrh"
#define VIO_IO_LDR_32 "ldr"
#define VIO_IO_STR_8 "strb"
#define VIO_IO_STR_16 "strh"
#define VIO_IO_STR_32 "str"
#else
#define VIO_IO_LOAD_(bits, p, v) ((v) = *(const volatile uint##bits##_t *)(p))
#define VIO_IO_STORE_(bits, p, v) (*(volatile uint##bits##_t *)(p) = (v))
#endif

#define VIO_IO_SWAP_8(x) (x)
#define VIO_IO_SWAP_16(x) VIO_LE_(16, x)
#define VIO_IO_SWAP_32(x) VIO_LE_(32, x)

#define VIO_IO_DEFINE_(bits)                                                                        \
    static inline uint##bits##_t vio_io_read##bits(struct vio_io io, uint64_t offset)               \
    {                                                                                               \
        volatile void *at;                                                                          \
        uint##bits##_t v;                                                                           \
                                                                                                    \
        if (io.p_ == NULL)                                                                          \
            return (uint##bits##_t)io.ops_->read(io.ctx_, io.base_ + offset, bits / 8);             \
        at = io.p_ + offset;                                                                        \
        VIO_IO_LOAD_(bits, at, v);                                                                  \
        return VIO_IO_SWAP_##bits(v);                                                               \
    }                                                                                               \
    static inline void vio_io_write##bits(struct vio_io io, uint64_t offset, uint##bits##_t v)      \
    {                                                                                               \
        volatile void *at;                                                                          \
                                                                                                    \
        if (io.p_ == NULL) {                                                                        \
            io.ops_->write(io.ctx_, io.base_ + offset, bits / 8, v);                                \
            return;                                                                                 \
        }                                                                                           \
        at = io.p_ + offset;                                                                        \
        VIO_IO_STORE_(bits, at, VIO_IO_SWAP_##bits(v));                                             \
    }
VIO_IO_DEFINE_(8)
VIO_IO_DEFINE_(16)
VIO_IO_DEFINE_(32)
#undef VIO_IO_DEFINE_

/* width: 1, 2 or 4. */
static inline uint32_t vio_io_read(struct vio_io io, uint64_t offset, unsigned width)
{
    return width == 1 ? vio_io_read8(io, offset) : width == 2 ? vio_io_read16(io, offset) : vio_io_read32(io, offset);
}

static inline void vio_io_write(struct vio_io io, uint64_t offset, unsigned width, uint32_t v)
{
    if (width == 1)
        vio_io_write8(io, offset, (uint8_t)v);
    else if (width == 2)
        vio_io_write16(io, offset, (uint16_t)v);
    else
        vio_io_write32(io, offset, v);
}

/*
 * Between memory and registers, both ways: what was written to memory is there before the register is written, and memory
 * is read after the register was.
 */
static inline void vio_io_barrier(void)
{
#if defined(__aarch64__)
    __asm__ volatile("dmb osh" ::: "memory");
#elif defined(__riscv)
    __asm__ volatile("fence iorw, iorw" ::: "memory");
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* A number of `width` bytes as it lies in configuration space: least byte first. */
static inline void vio_io_store_bytes(uint8_t *to, unsigned width, uint32_t v)
{
    for (unsigned i = 0; i < width; i++)
        to[i] = (uint8_t)(v >> (8 * i));
}

static inline uint32_t vio_io_load_bytes(const uint8_t *from, unsigned width)
{
    uint32_t v = 0;

    for (unsigned i = 0; i < width; i++)
        v |= (uint32_t)from[i] << (8 * i);
    return v;
}

VIO_PUBLIC_END

#endif
