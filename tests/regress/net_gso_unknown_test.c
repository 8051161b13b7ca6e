/* SPDX-License-Identifier: MIT */
/*
 * A driver that had negotiated every offload could send a gso_type that there is none of (2, 7, ECN alone, ECN of UDP): it
 * "needed everything", everything was there, and it went on to the backend and from a switch into other guests.
 */
#include <stdio.h>
#include <string.h>

#include "net_tape.h"
#include "rig.h"
#include "spec/net.h"
#include "spec/virtio.h"
#include "support/guest.h"

enum { SIZE = 64, TX = 1, FRAME = 200 };

static const uint8_t none[] = { 2, 6, 7, 8, 9, 0x10, 0x20, 0x40, 0x7f, 0x80, 0x83, 0x85, 0xff };
static const uint8_t some[] = { 1, 3, 4, 5, 0x81, 0x84 };

static struct rig rig;
static struct net_tape tape;

static unsigned sent(uint8_t gso_type)
{
    struct virtio_net_hdr h = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = gso_type, .gso_size = vio_le16_of(100),
                                .csum_start = vio_le16_of(34), .csum_offset = vio_le16_of(6) };
    struct rig_at at = rig_alloc(&rig, VIRTIO_NET_HDR_BYTES + FRAME);
    struct vio_buf buf = { at.gpa, VIRTIO_NET_HDR_BYTES + FRAME };
    struct vio_done done;
    unsigned before = tape.sent;

    memcpy(at.host, &h, VIRTIO_NET_HDR_BYTES);
    CHECK(vio_drvq_put(rig.queue[TX].drv, &buf, 1, 0, 1) == 0);
    (void)!vio_drvq_publish(rig.queue[TX].drv);
    rig_serve(&rig, TX);
    CHECK(vio_drvq_collect(rig.queue[TX].drv, &done, 1) == 1);
    return tape.sent - before;
}

int main(void)
{
    struct vio_device_params device = { .name = "net0", .log = &rig.log };
    struct vio_net_params params = { .backend = &tape.head, .pairs = 1, .device = &device };
    struct vio_net_counters c;
    struct vio_features f;
    struct vio_device *dev;

    rig_init(&rig);
    net_tape_init(&tape);
    CHECK(vio_net_create(&params, &dev, NULL, 0) == 0);
    rig_device(&rig, dev);
    f = vio_device_offered(dev);
    vio_features_clear(&f, VIRTIO_NET_F_HASH_REPORT);
    rig_start(&rig, f, SIZE);
    for (unsigned i = 0; i < sizeof(none); i++)
        if (sent(none[i]) != 0)
            FAIL("gso_type %#x went through", none[i]);
    for (unsigned i = 0; i < sizeof(some); i++)
        if (sent(some[i]) != 1)
            FAIL("gso_type %#x did not", some[i]);
    vio_net_counters(dev, &c);
    CHECK(c.tx_bad[VIO_NET_BAD_GSO_TYPE] == sizeof(none));
    rig_free(&rig);
    puts("ok - a gso_type that there is none of is dropped");
    return 0;
}
