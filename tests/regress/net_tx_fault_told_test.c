/* SPDX-License-Identifier: MIT */
/*
 * A transmit queue that waits for the backend is served by the first receive queue, which has its descriptor. A fault found
 * there was told by nobody: the transmit queue slept, and a broken queue is not kicked.
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
    struct vio_device_params device = { .name = "net0", .log = &rig.log };
    struct vio_net_params params = { .backend = &tape.head, .pairs = 1, .device = &device };
    struct vio_features f;
    struct vio_device *dev;
    struct rig_at at;

    rig_init(&rig);
    net_tape_init(&tape);
    CHECK(vio_net_create(&params, &dev, NULL, 0) == 0);
    rig_device(&rig, dev);
    f = vio_device_offered(dev);
    vio_features_clear(&f, VIRTIO_F_RING_PACKED);
    rig_start(&rig, f, SIZE);
    at = rig_alloc(&rig, 100);
    tape.room = 0;
    CHECK(vio_drvq_put(rig.queue[TX].drv, &(struct vio_buf){ at.gpa, 100 }, 1, 0, 1) == 0);
    CHECK(vio_drvq_put(rig.queue[TX].drv, &(struct vio_buf){ 0, 100 }, 1, 0, 1) == 0); /* is nowhere */
    (void)!vio_drvq_publish(rig.queue[TX].drv);
    (void)vio_device_queue_service(dev, TX, 1);
    CHECK(rig.needs_reset == 0 && tape.sent == 0);
    tape.room = 1000;
    (void)vio_device_queue_service(dev, RX, 64);
    vio_device_control(dev);
    CHECK(tape.sent == 1);
    CHECK(rig.needs_reset == 1 && rig.reset_queue == TX && rig.fault == VIO_FAULT_DESC_ADDR);
    rig_free(&rig);
    puts("ok - a transmit ring that breaks under a receive queue's service is told of");
    return 0;
}
