/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the names of feature bits, for people who read logs (virtio 1.4, 5 and 6).
 * Where it sits: device/core, freestanding; a table and two look-ups. Threads: any.
 */
#include <vio/device.h>

#include "base/format.h"

struct feature_name {
    uint8_t device; /* 0: every device */
    uint8_t bit;
    const char *name;
};

/* The device types' own bits, by device id; 41 and 42 are also a network device's (legacy). */
static const struct feature_name type_names[] = {
    { 1, 0, "CSUM" }, { 1, 1, "GUEST_CSUM" }, { 1, 2, "CTRL_GUEST_OFFLOADS" }, { 1, 3, "MTU" },
    { 1, 5, "MAC" }, { 1, 6, "GSO" }, { 1, 7, "GUEST_TSO4" }, { 1, 8, "GUEST_TSO6" },
    { 1, 9, "GUEST_ECN" }, { 1, 10, "GUEST_UFO" }, { 1, 11, "HOST_TSO4" }, { 1, 12, "HOST_TSO6" },
    { 1, 13, "HOST_ECN" }, { 1, 14, "HOST_UFO" }, { 1, 15, "MRG_RXBUF" }, { 1, 16, "STATUS" },
    { 1, 17, "CTRL_VQ" }, { 1, 18, "CTRL_RX" }, { 1, 19, "CTRL_VLAN" }, { 1, 20, "CTRL_RX_EXTRA" },
    { 1, 21, "GUEST_ANNOUNCE" }, { 1, 22, "MQ" }, { 1, 23, "CTRL_MAC_ADDR" },
    { 1, 41, "GUEST_RSC4" }, { 1, 42, "GUEST_RSC6" }, { 1, 50, "DEVICE_STATS" },
    { 1, 51, "HASH_TUNNEL" }, { 1, 52, "VQ_NOTF_COAL" }, { 1, 53, "NOTF_COAL" },
    { 1, 54, "GUEST_USO4" }, { 1, 55, "GUEST_USO6" }, { 1, 56, "HOST_USO" },
    { 1, 57, "HASH_REPORT" }, { 1, 59, "GUEST_HDRLEN" }, { 1, 60, "RSS" }, { 1, 61, "RSC_EXT" },
    { 1, 62, "STANDBY" }, { 1, 63, "SPEED_DUPLEX" }, { 1, 64, "RSS_CONTEXT" },
    { 1, 65, "GUEST_UDP_TUNNEL_GSO" }, { 1, 66, "GUEST_UDP_TUNNEL_GSO_CSUM" },
    { 1, 67, "HOST_UDP_TUNNEL_GSO" }, { 1, 68, "HOST_UDP_TUNNEL_GSO_CSUM" },
    { 1, 69, "OUT_NET_HEADER" }, { 1, 70, "IPSEC" }, { 2, 0, "BARRIER" }, { 2, 1, "SIZE_MAX" },
    { 2, 2, "SEG_MAX" }, { 2, 4, "GEOMETRY" }, { 2, 5, "RO" }, { 2, 6, "BLK_SIZE" },
    { 2, 7, "SCSI" }, { 2, 9, "FLUSH" }, { 2, 10, "TOPOLOGY" }, { 2, 11, "CONFIG_WCE" },
    { 2, 12, "MQ" }, { 2, 13, "DISCARD" }, { 2, 14, "WRITE_ZEROES" }, { 2, 15, "LIFETIME" },
    { 2, 16, "SECURE_ERASE" }, { 2, 17, "ZONED" }, { 3, 0, "SIZE" }, { 3, 1, "MULTIPORT" },
    { 3, 2, "EMERG_WRITE" }, { 5, 0, "MUST_TELL_HOST" }, { 5, 1, "STATS_VQ" },
    { 5, 2, "DEFLATE_ON_OOM" }, { 5, 3, "FREE_PAGE_HINT" }, { 5, 4, "PAGE_POISON" },
    { 5, 5, "PAGE_REPORTING" }, { 8, 0, "INOUT" }, { 8, 1, "HOTPLUG" }, { 8, 2, "CHANGE" },
    { 8, 3, "T10_PI" }, { 16, 0, "VIRGL" }, { 16, 1, "EDID" }, { 16, 2, "RESOURCE_UUID" },
    { 16, 3, "RESOURCE_BLOB" }, { 16, 4, "CONTEXT_INIT" }, { 16, 5, "BLOB_ALIGNMENT" },
    { 17, 0, "ALARM" }, { 19, 0, "STREAM" }, { 19, 1, "SEQPACKET" }, { 19, 2, "NO_IMPLIED_STREAM" },
    { 20, 0, "REVISION_1" }, { 20, 1, "CIPHER_STATELESS_MODE" }, { 20, 2, "HASH_STATELESS_MODE" },
    { 20, 3, "MAC_STATELESS_MODE" }, { 20, 4, "AEAD_STATELESS_MODE" },
    { 20, 5, "AKCIPHER_STATELESS_MODE" }, { 23, 0, "INPUT_RANGE" }, { 23, 1, "DOMAIN_RANGE" },
    { 23, 2, "MAP_UNMAP" }, { 23, 3, "BYPASS" }, { 23, 4, "PROBE" }, { 23, 5, "MMIO" },
    { 23, 6, "BYPASS_CONFIG" }, { 24, 0, "ACPI_PXM" }, { 24, 1, "UNPLUGGED_INACCESSIBLE" },
    { 24, 2, "PERSISTENT_SUSPEND" }, { 25, 0, "CTLS" }, { 26, 0, "NOTIFICATION" },
    { 27, 0, "SHMEM_REGION" }, { 32, 0, "P2A_CHANNELS" }, { 32, 1, "SHARED_MEMORY" },
    { 34, 0, "ZERO_LENGTH_REQUEST" }, { 36, 0, "CAN_CLASSIC" }, { 36, 1, "CAN_FD" },
    { 36, 2, "RTR_FRAMES" }, { 36, 3, "LATE_TX_ACK" }, { 41, 0, "IRQ" },
};

static const struct feature_name common_names[] = {
    { 0, 24, "NOTIFY_ON_EMPTY" }, { 0, 27, "ANY_LAYOUT" }, { 0, 28, "INDIRECT_DESC" },
    { 0, 29, "EVENT_IDX" }, { 0, 32, "VERSION_1" }, { 0, 33, "ACCESS_PLATFORM" },
    { 0, 34, "RING_PACKED" }, { 0, 35, "IN_ORDER" }, { 0, 36, "ORDER_PLATFORM" },
    { 0, 37, "SR_IOV" }, { 0, 38, "NOTIFICATION_DATA" }, { 0, 39, "NOTIF_CONFIG_DATA" },
    { 0, 40, "RING_RESET" }, { 0, 41, "ADMIN_VQ" }, { 0, 43, "SUSPEND" },
};

static const char *find(const struct feature_name *names, size_t nr, uint16_t device_id, unsigned bit)
{
    for (size_t i = 0; i < nr; i++)
        if (names[i].device == device_id && names[i].bit == bit)
            return names[i].name;
    return NULL;
}

const char *vio_feature_name(uint16_t device_id, unsigned bit)
{
    const char *name = find(type_names, sizeof(type_names) / sizeof(type_names[0]), device_id, bit);

    return name != NULL ? name : find(common_names, sizeof(common_names) / sizeof(common_names[0]), 0, bit);
}

const char *vio_features_text(uint16_t device_id, struct vio_features features, char *text, size_t size)
{
    size_t at = 0;

    if (size == 0)
        return text;
    vio_format(text, size, "none");
    for (unsigned bit = 0; bit < VIO_FEATURE_BITS; bit++) {
        const char *name = vio_feature_name(device_id, bit);
        const char *comma = at > 0 ? ", " : "";

        if (!vio_features_has(features, bit))
            continue;
        if (name != NULL)
            vio_format(text + at, size - at, "%s%s", comma, name);
        else
            vio_format(text + at, size - at, "%sbit %u", comma, bit);
        while (text[at] != '\0')
            at++;
    }
    return text;
}
