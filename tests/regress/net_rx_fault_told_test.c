/* SPDX-License-Identifier: MIT */
/*
 * A receive ring that broke while a packet came in from outside the queue's own service (a switch) was told of by that
 * service only, which nobody asks for any more: a broken queue wants no kicks. So DEVICE_NEEDS_RESET never came.
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
    struct vio_net_packet p = { .len = sizeof(frame), .nr = 1, .seg = &seg };
    struct vio_device_params device = { .name = "net0", .log = &rig.log };
    struct vio_net_params params = { .backend = &tape.head, .pairs = 1, .device = &device };
    struct vio_features f;
    struct vio_device *dev;

    rig_init(&rig);
    net_tape_init(&tape);
    CHECK(vio_net_create(&params, &dev, NULL, 0) == 0);
    rig_device(&rig, dev);
    for (unsigned looks = 0; looks < 2; looks++) {
        f = vio_device_offered(dev);
        vio_features_clear(&f, VIRTIO_F_RING_PACKED);
        vio_features_clear(&f, VIRTIO_NET_F_HASH_REPORT);
        for (unsigned bit = VIRTIO_NET_F_CTRL_RX; bit <= VIRTIO_NET_F_CTRL_RX_EXTRA && !looks; bit++)
            vio_features_clear(&f, bit);
        rig.needs_reset = 0;
        rig_restart(&rig, f, SIZE);
        memcpy(rig.queue[RX].driver.host + 2, &(uint16_t){ SIZE + 1 }, 2);
        (void)net_tape_deliver(&tape, &p);
        vio_device_control(dev);
        if (rig.needs_reset != 1 || rig.fault != VIO_FAULT_AVAIL_IDX)
            FAIL("looks %u: %u times NEEDS_RESET", looks, rig.needs_reset);
    }
    rig_free(&rig);
    puts("ok - a receive ring that breaks under another's packet is told of");
    return 0;
}
