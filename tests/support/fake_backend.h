/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the device end of a vhost-user connection that a test makes up, message by message: it remembers what was said,
 * in which order, with how many descriptors, and answers wrongly where it is told to. Threads: one of its own.
 */
#ifndef VIO_TESTS_FAKE_BACKEND_H
#define VIO_TESTS_FAKE_BACKEND_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include <vio/features.h>

#include "spec/vhost_user.h"
#include "spec/virtio.h"

#define P(bit) VIO_FEATURE(VHOST_USER_PROTOCOL_F_##bit)
/* All that the driver side can use. */
#define ALL_PROTOCOL                                                                                                     \
    (P(MQ) | P(REPLY_ACK) | P(CONFIG) | P(INFLIGHT_SHMFD) | P(STATUS) | P(LOG_SHMFD) | P(BACKEND_REQ) |                   \
     P(CONFIGURE_MEM_SLOTS) | P(DEVICE_STATE) | P(RESET_DEVICE))

enum { SEEN_MAX = 256, STATE_BYTES = 100000 };

/* How the device end answers the request `on`. */
enum quirk {
    NO_QUIRK, HANG_UP, SILENT, OTHER_REQUEST, NO_REPLY_FLAG, TOO_LONG, TOO_SHORT, REFUSE, EMPTY, WITH_FDS, CUT
};

struct seen {
    struct vhost_user_header header;
    unsigned nr_fds;
    union {
        uint64_t u64;
        struct vhost_user_vring_state state;
        struct vhost_user_vring_addr addr;
        struct vhost_user_mem_table table;
        struct vhost_user_mem_reg reg;
        struct vhost_user_inflight inflight;
        struct vhost_user_log log;
        struct vhost_user_state_transfer transfer;
        struct {
            struct vhost_user_config head;
            uint8_t bytes[256];
        } config;
    } u;
};

struct device {
    int fd, listener;
    uint64_t features, protocol;
    uint64_t queues, slots;
    _Atomic uint32_t quirk_on; /* tests set these while the device runs */
    _Atomic enum quirk quirk;
    bool features_ok;
    atomic_bool keep_listening;
    pthread_t thread;

    uint64_t status;
    uint8_t config[64];
    int inflight_fd;
    int back_fd;         /* what SET_BACKEND_REQ_FD gave */
    ino_t inflight_seen; /* of SET_INFLIGHT_FD */
    struct seen seen[SEEN_MAX];
    unsigned nr_seen;
    uint8_t *state;      /* STATE_BYTES that save gives, and load must bring */
    bool state_ok;
};

struct device device_of(uint64_t features, uint64_t protocol);
/* Starts its thread on d->fd, or on what comes to d->listener. */
void device_begin(struct device *d);
/* After the driver's end has hung up. */
void device_end(struct device *d);
const struct seen *device_find(const struct device *d, uint32_t request, unsigned nth); /* NULL: it did not come */
unsigned device_count(const struct device *d, uint32_t request);

#endif
