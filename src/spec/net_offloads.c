/* SPDX-License-Identifier: MIT */
/* Purpose: see net_offloads.h. */
#include "spec/net_offloads.h"
#include "spec/net.h"

uint64_t virtio_net_guest_bits(unsigned gives)
{
    uint64_t f = 0;

    f |= gives & VIO_NET_CSUM ? VIO_FEATURE(VIRTIO_NET_F_GUEST_CSUM) : 0;
    f |= gives & VIO_NET_TSO4 ? VIO_FEATURE(VIRTIO_NET_F_GUEST_TSO4) : 0;
    f |= gives & VIO_NET_TSO6 ? VIO_FEATURE(VIRTIO_NET_F_GUEST_TSO6) : 0;
    f |= gives & VIO_NET_ECN ? VIO_FEATURE(VIRTIO_NET_F_GUEST_ECN) : 0;
    f |= gives & VIO_NET_UFO ? VIO_FEATURE(VIRTIO_NET_F_GUEST_UFO) : 0;
    f |= gives & VIO_NET_USO ? VIO_FEATURE(VIRTIO_NET_F_GUEST_USO4) | VIO_FEATURE(VIRTIO_NET_F_GUEST_USO6) : 0;
    return f;
}

uint64_t virtio_net_host_bits(unsigned takes)
{
    uint64_t f = 0;

    f |= takes & VIO_NET_CSUM ? VIO_FEATURE(VIRTIO_NET_F_CSUM) : 0;
    f |= takes & VIO_NET_TSO4 ? VIO_FEATURE(VIRTIO_NET_F_HOST_TSO4) : 0;
    f |= takes & VIO_NET_TSO6 ? VIO_FEATURE(VIRTIO_NET_F_HOST_TSO6) : 0;
    f |= takes & VIO_NET_ECN ? VIO_FEATURE(VIRTIO_NET_F_HOST_ECN) : 0;
    f |= takes & VIO_NET_UFO ? VIO_FEATURE(VIRTIO_NET_F_HOST_UFO) : 0;
    f |= takes & VIO_NET_USO ? VIO_FEATURE(VIRTIO_NET_F_HOST_USO) : 0;
    return f;
}

unsigned virtio_net_guest_offloads(struct vio_features f)
{
    unsigned set = VIO_NET_CSUM;

    if (!vio_features_has(f, VIRTIO_NET_F_GUEST_CSUM))
        return 0; /* the others need it, also where a command switches one on alone */
    if (vio_features_has(f, VIRTIO_NET_F_GUEST_TSO4))
        set |= VIO_NET_TSO4;
    if (vio_features_has(f, VIRTIO_NET_F_GUEST_TSO6))
        set |= VIO_NET_TSO6;
    if (vio_features_has(f, VIRTIO_NET_F_GUEST_ECN) && (set & (VIO_NET_TSO4 | VIO_NET_TSO6)))
        set |= VIO_NET_ECN;
    if (vio_features_has(f, VIRTIO_NET_F_GUEST_UFO))
        set |= VIO_NET_UFO;
    /* A backend knows one USO for both: without one of them it gives none. */
    if (vio_features_has(f, VIRTIO_NET_F_GUEST_USO4) && vio_features_has(f, VIRTIO_NET_F_GUEST_USO6))
        set |= VIO_NET_USO;
    return set;
}

unsigned virtio_net_host_offloads(struct vio_features f)
{
    unsigned set = VIO_NET_CSUM;

    if (!vio_features_has(f, VIRTIO_NET_F_CSUM))
        return 0;
    if (vio_features_has(f, VIRTIO_NET_F_HOST_TSO4))
        set |= VIO_NET_TSO4;
    if (vio_features_has(f, VIRTIO_NET_F_HOST_TSO6))
        set |= VIO_NET_TSO6;
    if (vio_features_has(f, VIRTIO_NET_F_HOST_ECN) && (set & (VIO_NET_TSO4 | VIO_NET_TSO6)))
        set |= VIO_NET_ECN;
    if (vio_features_has(f, VIRTIO_NET_F_HOST_UFO))
        set |= VIO_NET_UFO;
    if (vio_features_has(f, VIRTIO_NET_F_HOST_USO))
        set |= VIO_NET_USO;
    return set;
}
