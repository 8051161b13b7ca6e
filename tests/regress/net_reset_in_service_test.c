/* SPDX-License-Identifier: MIT */
/*
 * With no host's threads, a fault that was found while packets came in raised DEVICE_NEEDS_RESET in the middle of the queue's
 * service. A transport that resets the device at once took the queue from under it.
 */
#include <stdio.h>
#include <string.h>

#include "net_tape.h"
#include "rig.h"
#include "spec/net.h"
#include "spec/virtio.h"
#include "support/guest.h"

enum { SIZE = 64, RX = 0, TX = 1 };

static struct rig rig;
static struct net_tape tape;

int main(void)
{
    static uint8_t frame[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2 };
    struct vio_seg seg = { frame, sizeof(frame) };
    struct vio_device_params device = { .name = "net0", .log = &rig.log };
    struct vio_net_params params = { .backend = &tape.head, .pairs = 1, .device = &device };
    struct vio_features f;
    struct vio_device *dev;
    struct rig_at at;

    rig_init(&rig);
    net_tape_init(&tape);
    tape.packet = (struct vio_net_packet){ .len = sizeof(frame), .nr = 1, .seg = &seg };
    CHECK(vio_net_create(&params, &dev, NULL, 0) == 0);
    rig_device(&rig, dev);
    rig.reset_on_fault = true;
    at = rig_alloc(&rig, 2000);
    for (unsigned packed = 0; packed < 2; packed++) {
        f = vio_device_offered(dev);
        if (!packed)
            vio_features_clear(&f, VIRTIO_F_RING_PACKED);
        rig.needs_reset = 0;
        rig_restart(&rig, f, SIZE);
        CHECK(vio_drvq_put(rig.queue[RX].drv, &(struct vio_buf){ at.gpa, 2000 }, 0, 1, 1) == 0);
        CHECK(vio_drvq_put(rig.queue[RX].drv, &(struct vio_buf){ 0, 2000 }, 0, 1, 1) == 0); /* is nowhere */
        (void)!vio_drvq_publish(rig.queue[RX].drv);
        tape.feed = 5;
        (void)vio_device_queue_service(dev, RX, 64);
        CHECK(rig.needs_reset == 1 && rig.fault == VIO_FAULT_DESC_ADDR);
        CHECK(vio_device_status(dev) == 0 && !vio_device_queue_running(dev, RX) && tape.sink == NULL);
    }
    rig_free(&rig);
    puts("ok - a reset at once waits for the end of the service");
    return 0;
}
