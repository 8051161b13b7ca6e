/* SPDX-License-Identifier: MIT */
/*
 * A receive queue that waited for buffers and was then stopped went on waiting: the backend was told that there is no room,
 * and woke nobody for packets that another queue would have taken. The same with a transmit queue that was blocked.
 */
#include <stdio.h>
#include <string.h>

#include "net_tape.h"
#include "rig.h"
#include "spec/net.h"
#include "spec/virtio.h"
#include "support/guest.h"

enum { SIZE = 64, PAIRS = 2, BUFFERS = 60 };

static struct rig rig;
static struct net_tape tape;

/* UDP from this port. */
static bool deliver(unsigned port)
{
    uint8_t frame[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17,
                          0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 7, (uint8_t)port, 0, 9, 0, 26 };
    struct vio_seg seg = { frame, sizeof(frame) };
    struct vio_net_packet p = { .len = sizeof(frame), .nr = 1, .seg = &seg };

    return net_tape_deliver(&tape, &p);
}

static void start(struct vio_device *dev)
{
    struct vio_features f = vio_device_offered(dev);

    /* All pairs are in use, and no commands of the driver's say which. */
    for (unsigned bit = VIRTIO_NET_F_CTRL_VQ; bit <= VIRTIO_NET_F_CTRL_MAC_ADDR; bit++)
        if (bit != VIRTIO_NET_F_MQ)
            vio_features_clear(&f, bit);
    vio_features_clear(&f, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
    vio_features_clear(&f, VIRTIO_NET_F_RSS);
    vio_features_clear(&f, VIRTIO_NET_F_HASH_REPORT);
    vio_features_clear(&f, VIRTIO_NET_F_DEVICE_STATS);
    rig_restart(&rig, f, SIZE);
}

static void receive(struct vio_device *dev)
{
    struct rig_at at = rig_alloc(&rig, 2000);
    unsigned port = 0;

    start(dev);
    for (unsigned i = 0; i < BUFFERS; i++)
        CHECK(vio_drvq_put(rig.queue[0].drv, &(struct vio_buf){ at.gpa, 2000 }, 0, 1, 1) == 0);
    (void)!vio_drvq_publish(rig.queue[0].drv);
    while (deliver(port))
        CHECK(++port < BUFFERS); /* some flow is the second queue's, which has no buffers */
    vio_device_queue_stop(dev, 2);
    CHECK(deliver(port));
    (void)vio_device_queue_service(dev, 0, 0);
    CHECK(!vio_device_queue_arm(dev, 0));
    CHECK(tape.receive);
}

static void transmit(struct vio_device *dev)
{
    struct rig_at at = rig_alloc(&rig, 2000);

    start(dev);
    tape.room = 0;
    CHECK(vio_drvq_put(rig.queue[3].drv, &(struct vio_buf){ at.gpa, 100 }, 1, 0, 1) == 0);
    (void)!vio_drvq_publish(rig.queue[3].drv);
    (void)vio_device_queue_service(dev, 3, 64);
    (void)!vio_device_queue_arm(dev, 0);
    CHECK(tape.blocked);
    vio_device_queue_stop(dev, 3);
    (void)!vio_device_queue_arm(dev, 0);
    CHECK(!tape.blocked);
}

int main(void)
{
    struct vio_device_params device = { .name = "net0", .log = &rig.log };
    struct vio_net_params params = { .backend = &tape.head, .pairs = PAIRS, .device = &device };
    struct vio_device *dev;

    rig_init(&rig);
    net_tape_init(&tape);
    CHECK(vio_net_create(&params, &dev, NULL, 0) == 0);
    rig_device(&rig, dev);
    receive(dev);
    transmit(dev);
    rig_free(&rig);
    puts("ok - a queue that has stopped waits for nothing");
    return 0;
}
