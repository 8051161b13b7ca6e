/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the kernel's vhost and a tap, as far as a transport can tell: it keeps what it is told, refuses what the real one
 * refuses, fails when it is asked to, and can lie. Where it sits: tests/support, behind struct vk_sys. Threads: one.
 */
#ifndef VIO_TESTS_FAKE_VHOST_H
#define VIO_TESTS_FAKE_VHOST_H

#include "transport/vhost_kernel/internal.h"

enum { FAKE_VHOST_FILES = 4, FAKE_VHOST_RINGS = 8, FAKE_VHOST_TAPS = 4 };

struct fake_ring {
    uint32_t num, base;
    struct vio_vhost_vring_addr addr;
    int kick, call, error;
    int backend; /* -1: it stands; a tap, or 0 where there is nothing to name */
};

struct fake_vhost_file {
    int fd;
    bool open, owned, remembered;
    uint64_t features;
    struct vio_vhost_memory memory;
    struct fake_ring ring[FAKE_VHOST_RINGS];
};

struct fake_vhost {
    struct vk_sys sys;
    uint32_t type;
    uint64_t features; /* that it offers */
    uint64_t cid;
    char wwpn[224];
    struct fake_vhost_file file[FAKE_VHOST_FILES];
    unsigned nr_files;

    /* the tap */
    int tap[FAKE_VHOST_TAPS];
    bool attached[FAKE_VHOST_TAPS];
    unsigned nr_taps, offloads;
    bool no_vnet, no_link;
    struct tap_link link;
    int watch[2]; /* a pipe */

    /* how it fails: the call number fail_at, counted from 1, ends with fail_error */
    unsigned calls, fail_at;
    int fail_error;
    /* or every one of this request */
    unsigned long fail_request;

    /* how it lies */
    uint32_t base_index, base_or; /* added to GET_VRING_BASE's answer */
    int abi_version;

    unsigned closed;
    char path[64];
};

void fake_vhost_init(struct fake_vhost *k, uint32_t type);
/* Ends what is the test's; asserts that the transport closed all that it had. */
void fake_vhost_end(struct fake_vhost *k);

#endif
