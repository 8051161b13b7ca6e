/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the file system driver's files share. Where it sits: driver/, private, freestanding. Threads: the owner's.
 */
#ifndef VIO_DRIVER_FS_INTERNAL_H
#define VIO_DRIVER_FS_INTERNAL_H

#include <vio/drv_fs.h>
#include "driver/core_slots.h"
#include "spec/fs.h"

/* The slot of requests: header, arguments and a name; then the answer's header and arguments. */
enum { DRV_FS_ANSWER_AT = 512, DRV_FS_SLOT = 1024, DRV_FS_FORGETS = 16 };

struct vio_drv_fs {
    struct vio_drvdev *d;
    const struct vio_drv_fs_params *params;
    struct drv_slots request; /* one */
    struct drv_slots bounce;  /* one */
    struct drv_slots forgets;
    uint64_t unique;
    uint32_t max_write;
    uint64_t map_align;
    struct vio_transport_shm window; /* host NULL: none */
    char tag[VIO_DRV_FS_TAG];
    bool started;
    bool late; /* a request that timed out is still in flight */
};

/* One request: arguments (two pieces, the second for a name), data of the bounce buffer there or back. */
struct drv_fs_call {
    uint32_t opcode;
    uint64_t node;
    const void *args;
    uint32_t args_len;
    const char *name;    /* NULL: none */
    uint32_t data_out;   /* bytes of the bounce buffer that the device reads */
    void *answer;        /* NULL: no arguments come back */
    uint32_t answer_min, answer_max;
    uint32_t data_in;    /* bytes of the bounce buffer that the device may write */
};

/* fs.c: bytes of the answer behind its header, or -errno. */
int drv_fs_call(struct vio_drv_fs *f, const struct drv_fs_call *call, uint64_t ns) VIO_MUST_CHECK;

#endif
