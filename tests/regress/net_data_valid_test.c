/* SPDX-License-Identifier: MIT */
/*
 * A packet that came with DATA_VALID (a tap says so of what the host has checked) kept the flag on its way to a driver
 * without GUEST_CSUM, which must be given no flags (virtio 1.4, 5.1.9.4.1).
 */
#include <stdio.h>
#include <string.h>

#include "net_tape.h"
#include "rig.h"
#include "spec/net.h"
#include "spec/virtio.h"
#include "support/guest.h"

enum { SIZE = 64, RX = 0, BUFFER = 2000 };

static struct rig rig;
static struct net_tape tape;

int main(void)
{
    static uint8_t frame[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2 };
    struct vio_seg seg = { frame, sizeof(frame) };
    struct vio_net_packet p = { .hdr.flags = VIRTIO_NET_HDR_F_DATA_VALID, .len = sizeof(frame), .nr = 1, .seg = &seg };
    struct vio_device_params device = { .name = "net0", .log = &rig.log };
    struct vio_net_params params = { .backend = &tape.head, .pairs = 1, .device = &device };
    struct vio_device *dev;
    struct rig_at at;

    rig_init(&rig);
    net_tape_init(&tape);
    tape.info.gives = VIO_NET_CSUM;
    CHECK(vio_net_create(&params, &dev, NULL, 0) == 0);
    rig_device(&rig, dev);
    at = rig_alloc(&rig, BUFFER);
    for (unsigned accepts = 0; accepts < 2; accepts++) {
        struct vio_features f = vio_device_offered(dev);

        if (!accepts) {
            vio_features_clear(&f, VIRTIO_NET_F_GUEST_CSUM);
            vio_features_clear(&f, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
        }
        rig_restart(&rig, f, SIZE);
        at.host[0] = 0xaa;
        CHECK(vio_drvq_put(rig.queue[RX].drv, &(struct vio_buf){ at.gpa, BUFFER }, 0, 1, 1) == 0);
        (void)!vio_drvq_publish(rig.queue[RX].drv);
        CHECK(net_tape_deliver(&tape, &p));
        CHECK(at.host[0] == (accepts ? VIRTIO_NET_HDR_F_DATA_VALID : 0));
    }
    rig_free(&rig);
    puts("ok - DATA_VALID is for drivers with GUEST_CSUM");
    return 0;
}
