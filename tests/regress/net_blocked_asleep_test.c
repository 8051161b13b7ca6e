/* SPDX-License-Identifier: MIT */
/*
 * A transmit queue that found the backend full while the first receive queue was asleep: nobody told the backend that room is
 * waited for, so that nobody was woken when there was some. And once the receive queue had sent what was held, the rest of a
 * queue whose owner slept stayed where it was: no kick had been asked for.
 */
#include <stdio.h>

#include "net_tape.h"
#include "rig.h"
#include "spec/net.h"
#include "spec/virtio.h"
#include "support/guest.h"

enum { SIZE = 256, RX = 0, TX = 1, FRAMES = 200 };

static struct rig rig;
static struct net_tape tape;

/* Whether the device is to be told. */
static bool put(struct rig_at at, unsigned n)
{
    while (n-- > 0)
        CHECK(vio_drvq_put(rig.queue[TX].drv, &(struct vio_buf){ at.gpa, 100 }, 1, 0, 1) == 0);
    return vio_drvq_publish(rig.queue[TX].drv);
}

static unsigned used(void)
{
    struct vio_done done[SIZE];

    return vio_drvq_collect(rig.queue[TX].drv, done, SIZE);
}

static void run(struct vio_device *dev, bool packed, bool events)
{
    struct vio_features f = vio_device_offered(dev);
    struct rig_at at;

    if (!packed)
        vio_features_clear(&f, VIRTIO_F_RING_PACKED);
    if (!events)
        vio_features_clear(&f, VIRTIO_F_EVENT_IDX);
    vio_features_clear(&f, VIRTIO_NET_F_HASH_REPORT);
    tape.room = 10;
    tape.sent = 0;
    rig_restart(&rig, f, SIZE);
    at = rig_alloc(&rig, 100);
    CHECK(!vio_device_queue_arm(dev, RX) && !tape.blocked);
    (void)put(at, FRAMES);
    while (vio_device_queue_service(dev, TX, 64) > 0)
        ;
    CHECK(tape.sent == 10);
    CHECK(!vio_device_queue_arm(dev, TX));
    CHECK(tape.blocked);

    /* Some room, not enough: woken for it, it waits for more. */
    tape.room = 5;
    vio_device_queue_disarm(dev, RX);
    while (vio_device_queue_service(dev, RX, 64) > 0)
        ;
    CHECK(tape.sent == 15);
    CHECK(!vio_device_queue_arm(dev, RX) && tape.blocked);

    tape.room = 1000;
    vio_device_queue_disarm(dev, RX);
    while (vio_device_queue_service(dev, RX, 64) > 0)
        ;
    CHECK(tape.sent == FRAMES && used() == FRAMES);
    CHECK(!vio_device_queue_arm(dev, RX) && !tape.blocked);
    CHECK(put(at, 1)); /* its owner sleeps still: now a kick wakes it */
    vio_device_queue_disarm(dev, TX);
    CHECK(vio_device_queue_service(dev, TX, 64) == 1);
    CHECK(tape.sent == FRAMES + 1 && used() == 1);
}

int main(void)
{
    struct vio_device_params device = { .name = "net0", .log = &rig.log };
    struct vio_net_params params = { .backend = &tape.head, .pairs = 1, .queue_size_max = SIZE, .device = &device };
    struct vio_device *dev;

    rig_init(&rig);
    net_tape_init(&tape);
    CHECK(vio_net_create(&params, &dev, NULL, 0) == 0);
    rig_device(&rig, dev);
    for (unsigned i = 0; i < 4; i++) {
        test_context("variant %u", i);
        run(dev, i & 1, i & 2);
    }
    rig_free(&rig);
    printf("ok - a full backend is waited for by the queue that sleeps\n");
    return 0;
}
