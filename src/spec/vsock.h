/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the socket device's wire layout and constants (virtio 1.4, 5.10). Where it sits: spec/.
 */
#ifndef VIO_SPEC_VSOCK_H
#define VIO_SPEC_VSOCK_H

#include <vio/types.h>

/* virtio 1.4, 5.10.2: queues */
#define VIRTIO_VSOCK_RX 0u
#define VIRTIO_VSOCK_TX 1u
#define VIRTIO_VSOCK_EVENT 2u

/* virtio 1.4, 5.10.3: feature bits */
#define VIRTIO_VSOCK_F_STREAM 0
#define VIRTIO_VSOCK_F_SEQPACKET 1
#define VIRTIO_VSOCK_F_NO_IMPLIED_STREAM 2

/* virtio 1.4, 5.10.4: device configuration */
struct virtio_vsock_config {
    vio_le64 guest_cid;
};
_Static_assert(sizeof(struct virtio_vsock_config) == 8, "virtio 1.4, 5.10.4");

#define VIRTIO_VSOCK_CID_HOST 2u

/* virtio 1.4, 5.10.6: device operation */
struct virtio_vsock_hdr {
    vio_le64 src_cid;
    vio_le64 dst_cid;
    vio_le32 src_port;
    vio_le32 dst_port;
    vio_le32 len;
    vio_le16 type;
    vio_le16 op;
    vio_le32 flags;
    vio_le32 buf_alloc;
    vio_le32 fwd_cnt;
} __attribute__((packed));
_Static_assert(sizeof(struct virtio_vsock_hdr) == 44, "virtio 1.4, 5.10.6");

#define VIRTIO_VSOCK_TYPE_STREAM 1u
#define VIRTIO_VSOCK_TYPE_SEQPACKET 2u

#define VIRTIO_VSOCK_OP_INVALID 0u
#define VIRTIO_VSOCK_OP_REQUEST 1u
#define VIRTIO_VSOCK_OP_RESPONSE 2u
#define VIRTIO_VSOCK_OP_RST 3u
#define VIRTIO_VSOCK_OP_SHUTDOWN 4u
#define VIRTIO_VSOCK_OP_RW 5u
#define VIRTIO_VSOCK_OP_CREDIT_UPDATE 6u
#define VIRTIO_VSOCK_OP_CREDIT_REQUEST 7u

#define VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE 1u
#define VIRTIO_VSOCK_SHUTDOWN_F_SEND 2u

#define VIRTIO_VSOCK_SEQ_EOM 1u
#define VIRTIO_VSOCK_SEQ_EOR 2u

struct virtio_vsock_event {
    vio_le32 id;
};
_Static_assert(sizeof(struct virtio_vsock_event) == 4, "virtio 1.4, 5.10.6.7");

#define VIRTIO_VSOCK_EVENT_TRANSPORT_RESET 0u

#endif
