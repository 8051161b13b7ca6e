/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the other end of a socket device, for tests of its driver: echoes what it gets on some ports, within the credit it
 * was given, and can be told to send whatever a hostile one would. Threads: one.
 */
#ifndef VIO_TESTS_VSOCK_PEER_H
#define VIO_TESTS_VSOCK_PEER_H

#include "script_device.h"
#include "spec/vsock.h"

enum {
    PEER_CID = VIRTIO_VSOCK_CID_HOST, GUEST_CID = 42,
    PEER_ECHO = 7,    /* answers, and sends back */
    PEER_SINK = 8,    /* answers, and takes until its credit is used up; never says that it took */
    PEER_SILENT = 9,  /* never answers */
    PEER_CONNS = 8, PEER_CHUNKS = 512, PEER_ALLOC = 8192,
};

struct peer_chunk {
    uint32_t len, at, flags;
    uint8_t *bytes;
};

struct peer_conn {
    bool used;
    uint16_t type;
    uint32_t port, guest_port;
    uint32_t rx_cnt, told_alloc, tx_cnt, guest_alloc, guest_fwd;
    struct peer_chunk chunk[PEER_CHUNKS];
    unsigned first, nr;
    unsigned beyond; /* bytes that the guest sent without credit */
};

struct vsock_peer {
    struct peer_conn conn[PEER_CONNS];
    unsigned ops[8];          /* packets by operation */
    struct virtio_vsock_hdr last;
    uint8_t payload[256];     /* of the last RW */
};

size_t vsock_peer_serve(struct script *s, uint16_t queue, const uint8_t *in, size_t n, uint8_t *out, size_t max);
/* A packet from the host. False: the driver has no buffer out. */
bool vsock_peer_send(struct script *s, uint32_t port, uint32_t guest_port, unsigned type, unsigned op, uint32_t flags,
                     uint32_t alloc, uint32_t fwd, const void *payload, uint32_t len);
/* Sends what waits, as far as there is credit and room. */
void vsock_peer_flush(struct script *s);
struct peer_conn *vsock_peer_conn(struct script *s, uint32_t port);
void vsock_peer_free(struct vsock_peer *p);

#endif
