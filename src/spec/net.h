/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the network device's wire layout and constants (virtio 1.4, 5.1). Where it sits: spec/. No code, freestanding.
 */
#ifndef VIO_SPEC_NET_H
#define VIO_SPEC_NET_H

#include <vio/types.h>

/* virtio 1.4, 5.1.3: feature bits */
#define VIRTIO_NET_F_CSUM 0
#define VIRTIO_NET_F_GUEST_CSUM 1
#define VIRTIO_NET_F_CTRL_GUEST_OFFLOADS 2
#define VIRTIO_NET_F_MTU 3
#define VIRTIO_NET_F_MAC 5
#define VIRTIO_NET_F_GUEST_TSO4 7
#define VIRTIO_NET_F_GUEST_TSO6 8
#define VIRTIO_NET_F_GUEST_ECN 9
#define VIRTIO_NET_F_GUEST_UFO 10
#define VIRTIO_NET_F_HOST_TSO4 11
#define VIRTIO_NET_F_HOST_TSO6 12
#define VIRTIO_NET_F_HOST_ECN 13
#define VIRTIO_NET_F_HOST_UFO 14
#define VIRTIO_NET_F_MRG_RXBUF 15
#define VIRTIO_NET_F_STATUS 16
#define VIRTIO_NET_F_CTRL_VQ 17
#define VIRTIO_NET_F_CTRL_RX 18
#define VIRTIO_NET_F_CTRL_VLAN 19
#define VIRTIO_NET_F_CTRL_RX_EXTRA 20
#define VIRTIO_NET_F_GUEST_ANNOUNCE 21
#define VIRTIO_NET_F_MQ 22
#define VIRTIO_NET_F_CTRL_MAC_ADDR 23
#define VIRTIO_NET_F_DEVICE_STATS 50
#define VIRTIO_NET_F_VQ_NOTF_COAL 52
#define VIRTIO_NET_F_NOTF_COAL 53
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO 56
#define VIRTIO_NET_F_HASH_REPORT 57
#define VIRTIO_NET_F_GUEST_HDRLEN 59
#define VIRTIO_NET_F_RSS 60
#define VIRTIO_NET_F_SPEED_DUPLEX 63

/* virtio 1.4, 5.1.4: device configuration */
struct virtio_net_config {
    uint8_t mac[6];
    vio_le16 status;
    vio_le16 max_virtqueue_pairs;
    vio_le16 mtu;
    vio_le32 speed; /* Mbit/s */
    uint8_t duplex;
    uint8_t rss_max_key_size;
    vio_le16 rss_max_indirection_table_length;
    vio_le32 supported_hash_types;
    vio_le32 supported_tunnel_types;
};
_Static_assert(offsetof(struct virtio_net_config, speed) == 12, "virtio 1.4, 5.1.4");
_Static_assert(sizeof(struct virtio_net_config) == 28, "virtio 1.4, 5.1.4");

#define VIRTIO_NET_S_LINK_UP 1u
#define VIRTIO_NET_S_ANNOUNCE 2u
#define VIRTIO_NET_MTU_MIN 68u
#define VIRTIO_NET_SPEED_MAX 0x7fffffffu
#define VIRTIO_NET_SPEED_UNKNOWN 0xffffffffu
#define VIRTIO_NET_DUPLEX_FULL 1u
#define VIRTIO_NET_DUPLEX_UNKNOWN 0xffu

/* virtio 1.4, 5.1.9: before each packet */
struct virtio_net_hdr {
    uint8_t flags;
    uint8_t gso_type;
    vio_le16 hdr_len;
    vio_le16 gso_size;
    vio_le16 csum_start;
    vio_le16 csum_offset;
    vio_le16 num_buffers;
    /* with HASH_REPORT */
    vio_le32 hash_value;
    vio_le16 hash_report;
    vio_le16 padding;
};
#define VIRTIO_NET_HDR_BYTES 12u
#define VIRTIO_NET_HDR_HASH_BYTES 20u
_Static_assert(offsetof(struct virtio_net_hdr, num_buffers) == 10, "virtio 1.4, 5.1.9");
_Static_assert(offsetof(struct virtio_net_hdr, hash_value) == VIRTIO_NET_HDR_BYTES, "virtio 1.4, 5.1.9");
_Static_assert(sizeof(struct virtio_net_hdr) == VIRTIO_NET_HDR_HASH_BYTES, "virtio 1.4, 5.1.9");

#define VIRTIO_NET_HDR_F_NEEDS_CSUM 1u
#define VIRTIO_NET_HDR_F_DATA_VALID 2u
#define VIRTIO_NET_HDR_F_RSC_INFO 4u

#define VIRTIO_NET_HDR_GSO_NONE 0u
#define VIRTIO_NET_HDR_GSO_TCPV4 1u
#define VIRTIO_NET_HDR_GSO_UDP 3u
#define VIRTIO_NET_HDR_GSO_TCPV6 4u
#define VIRTIO_NET_HDR_GSO_UDP_L4 5u
#define VIRTIO_NET_HDR_GSO_ECN 0x80u

/* virtio 1.4, 5.1.9.4.3: hash types (bits) and reports */
#define VIRTIO_NET_HASH_TYPE_IPv4 (1u << 0)
#define VIRTIO_NET_HASH_TYPE_TCPv4 (1u << 1)
#define VIRTIO_NET_HASH_TYPE_UDPv4 (1u << 2)
#define VIRTIO_NET_HASH_TYPE_IPv6 (1u << 3)
#define VIRTIO_NET_HASH_TYPE_TCPv6 (1u << 4)
#define VIRTIO_NET_HASH_TYPE_UDPv6 (1u << 5)
#define VIRTIO_NET_HASH_TYPE_IP_EX (1u << 6)
#define VIRTIO_NET_HASH_TYPE_TCP_EX (1u << 7)
#define VIRTIO_NET_HASH_TYPE_UDP_EX (1u << 8)
#define VIRTIO_NET_HASH_REPORT_NONE 0u
#define VIRTIO_NET_HASH_REPORT_IPv4 1u
#define VIRTIO_NET_HASH_REPORT_TCPv4 2u
#define VIRTIO_NET_HASH_REPORT_UDPv4 3u
#define VIRTIO_NET_HASH_REPORT_IPv6 4u
#define VIRTIO_NET_HASH_REPORT_TCPv6 5u
#define VIRTIO_NET_HASH_REPORT_UDPv6 6u
#define VIRTIO_NET_HASH_REPORT_IPv6_EX 7u
#define VIRTIO_NET_HASH_REPORT_TCPv6_EX 8u
#define VIRTIO_NET_HASH_REPORT_UDPv6_EX 9u

/* virtio 1.4, 5.1.9.5: the control queue */
struct virtio_net_ctrl_hdr {
    uint8_t class_;
    uint8_t command;
};
#define VIRTIO_NET_OK 0u
#define VIRTIO_NET_ERR 1u

#define VIRTIO_NET_CTRL_RX 0u
#define VIRTIO_NET_CTRL_RX_PROMISC 0u
#define VIRTIO_NET_CTRL_RX_ALLMULTI 1u
#define VIRTIO_NET_CTRL_RX_ALLUNI 2u
#define VIRTIO_NET_CTRL_RX_NOMULTI 3u
#define VIRTIO_NET_CTRL_RX_NOUNI 4u
#define VIRTIO_NET_CTRL_RX_NOBCAST 5u
#define VIRTIO_NET_CTRL_MAC 1u
#define VIRTIO_NET_CTRL_MAC_TABLE_SET 0u
#define VIRTIO_NET_CTRL_MAC_ADDR_SET 1u
#define VIRTIO_NET_CTRL_VLAN 2u
#define VIRTIO_NET_CTRL_VLAN_ADD 0u
#define VIRTIO_NET_CTRL_VLAN_DEL 1u
#define VIRTIO_NET_CTRL_ANNOUNCE 3u
#define VIRTIO_NET_CTRL_ANNOUNCE_ACK 0u
#define VIRTIO_NET_CTRL_MQ 4u
#define VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET 0u
#define VIRTIO_NET_CTRL_MQ_RSS_CONFIG 1u
#define VIRTIO_NET_CTRL_MQ_HASH_CONFIG 2u
#define VIRTIO_NET_CTRL_GUEST_OFFLOADS 5u
#define VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET 0u
#define VIRTIO_NET_CTRL_NOTF_COAL 6u
#define VIRTIO_NET_CTRL_NOTF_COAL_TX_SET 0u
#define VIRTIO_NET_CTRL_NOTF_COAL_RX_SET 1u
#define VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET 2u
#define VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET 3u
#define VIRTIO_NET_CTRL_STATS 8u
#define VIRTIO_NET_CTRL_STATS_QUERY 0u
#define VIRTIO_NET_CTRL_STATS_GET 1u

/* virtio 1.4, 5.1.9.5: what follows class and command. Tables and keys of variable length follow their heads. */
#define VIRTIO_NET_VLANS 4096u

struct virtio_net_rss_head {
    vio_le32 hash_types;
    vio_le16 indirection_table_mask;
    vio_le16 unclassified_queue;
    /* vio_le16 indirection_table[mask + 1]; then virtio_net_rss_tail */
};

struct virtio_net_rss_tail {
    uint8_t max_tx_vq[2]; /* le16, at any address */
    uint8_t hash_key_length;
    /* uint8_t hash_key_data[] */
};

struct virtio_net_hash_head {
    vio_le32 hash_types;
    vio_le16 reserved[4];
    /* uint8_t hash_key_length; uint8_t hash_key_data[] */
};
_Static_assert(sizeof(struct virtio_net_rss_head) == 8, "virtio 1.4, 5.1.9.5.7");
_Static_assert(sizeof(struct virtio_net_rss_tail) == 3, "virtio 1.4, 5.1.9.5.7");
_Static_assert(sizeof(struct virtio_net_hash_head) == 12, "virtio 1.4, 5.1.9.5.6");

/* virtio 1.4, 5.1.9.5.10. VQ_GET has the head of the second, and is answered with the first. */
struct virtio_net_ctrl_coal {
    vio_le32 max_packets;
    vio_le32 max_usecs;
};

struct virtio_net_ctrl_coal_vq {
    vio_le16 vq_index;
    vio_le16 reserved;
    struct virtio_net_ctrl_coal coal;
};
_Static_assert(sizeof(struct virtio_net_ctrl_coal_vq) == 12, "virtio 1.4, 5.1.9.5.10");

/* virtio 1.4, 5.1.9.5.11: numbers of the bits in types_bitmap, and what a reply's type says */
#define VIRTIO_NET_STATS_RX_BASIC 0u
#define VIRTIO_NET_STATS_RX_CSUM 1u
#define VIRTIO_NET_STATS_RX_GSO 2u
#define VIRTIO_NET_STATS_RX_SPEED 3u
#define VIRTIO_NET_STATS_TX_BASIC 16u
#define VIRTIO_NET_STATS_TX_CSUM 17u
#define VIRTIO_NET_STATS_TX_GSO 18u
#define VIRTIO_NET_STATS_TX_SPEED 19u
#define VIRTIO_NET_STATS_CVQ 32u

/* One wish of STATS_GET, which is a list of them. */
struct virtio_net_stats_want {
    vio_le16 vq_index;
    vio_le16 reserved[3];
    vio_le64 types_bitmap;
};

/* Before each reply; counters, le64 each, follow it. */
struct virtio_net_stats_reply {
    uint8_t type;
    uint8_t reserved;
    vio_le16 vq_index;
    vio_le16 reserved1;
    vio_le16 size; /* with this head */
};
_Static_assert(sizeof(struct virtio_net_stats_want) == 16, "virtio 1.4, 5.1.9.5.11");
_Static_assert(sizeof(struct virtio_net_stats_reply) == 8, "virtio 1.4, 5.1.9.5.11");

#endif
