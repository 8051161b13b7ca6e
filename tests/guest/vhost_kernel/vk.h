/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the parts of the program have in common that runs in a guest on /dev/vhost-*: options, a device on a bus, and
 * waiting for it. Where it sits: tests/guest/vhost_kernel, over the public headers only. Threads: one, but the kernel's end of
 * a socket, which is a thread of its own.
 */
#ifndef VIO_TESTS_GUEST_VK_H
#define VIO_TESTS_GUEST_VK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <vio/vhost_kernel.h>

struct options {
    struct vio_vhost_kernel_params params;
    const char *tap2;    /* the other end of a wire */
    const char *file;    /* what a target's disk is made of */
    bool polled;         /* no interrupts */
    bool plain;          /* no offloads, no mergeable buffers */
    bool hold;           /* open: keeps it until it is killed */
    bool second;         /* the device is reset and taken again first, and suspended and resumed */
};

struct rig {
    struct vio_arena *arena;
    struct vio_bus *bus;
    struct vio_drvdev *d;
};

__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);
#define CHECK(what) ((what) ? (void)0 : die("%s:%d: %s", __FILE__, __LINE__, #what))

/* Dies with the library's sentence where there is no device or its driver does not run. An arena that is there is used. */
void rig_open(struct rig *r, const struct options *o, const struct vio_driver *driver);
void rig_close(struct rig *r);
/* Waits `ms` at most for a notification of any of these queues, or of a change, and gives it to the driver. */
bool rig_event(struct rig *r, const uint16_t *queues, unsigned n, int ms);

/* The words of the program. */
int net_serve(const struct options *o);
int wire(const struct options *o);
int udp_check(const char *address, unsigned count);
int vsock_check(const struct options *o);
int scsi_check(const struct options *o);

/* Bytes that tell where they belong. */
static inline uint8_t pattern(uint64_t seed, uint64_t at)
{
    return (uint8_t)((at * 0x9e3779b1u + seed * 0x85ebca6bu) >> 13);
}

static inline uint64_t hash_of(uint64_t hash, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

#endif
