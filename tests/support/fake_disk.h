/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a block backend for tests: bytes in memory, whose answers come when, in what order and with what error
 * the test wants, and which remembers what it was asked.
 * Threads: channels of one disk may be used by several threads only while hold is off.
 */
#ifndef VIO_TESTS_FAKE_DISK_H
#define VIO_TESTS_FAKE_DISK_H

#include <vio/block.h>

enum { FAKE_OPS_MAX = 512, FAKE_HELD_MAX = 1024 };

struct fake_op {
    uint8_t op, flags;
    uint64_t offset, length;
};

struct fake_disk {
    struct vio_block_backend head;
    struct vio_block_info info; /* what info() says; a test may change it before create or refresh */
    uint8_t *bytes;
    uint64_t room;

    bool hold;             /* keep what is submitted until released */
    bool newest_first;     /* the order of release */
    unsigned release_at;   /* > 0: this reap from now releases all that is held */
    int fail_op;           /* ios of this op end with fail_error; -1: none */
    int fail_error;
    int open_error;        /* open fails with this */
    bool spoil_segs;       /* use the pieces up in place, as a backend may */

    struct fake_op op[FAKE_OPS_MAX];
    unsigned nr_op, nr_submit;
    unsigned opened, closed, cancelled, memory_changes, regions;
    unsigned destroyed;

    struct vio_block_io *held[FAKE_HELD_MAX];
    unsigned nr_held;
    struct vio_block_io *ready[FAKE_HELD_MAX];
    unsigned nr_ready;
};

/* Makes *disk (the caller's memory) a writable disk that can do everything. */
void fake_disk_init(struct fake_disk *disk, uint64_t size);
/* Finishes n of the held ios, in the order of newest_first; reap will bring them. */
void fake_disk_release(struct fake_disk *disk, unsigned n);
/* How many ios of this op were submitted. */
unsigned fake_disk_count(const struct fake_disk *disk, enum vio_block_op op);

#endif
