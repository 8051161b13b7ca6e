/* SPDX-License-Identifier: MIT */
/*
 * A translation that was missing was forgotten by the next take only. Once the front-end had given it, and all buffers went
 * the express way, the device asked for it once more and served nothing until the next change of the map: for ever where the
 * driver had taken that address back meanwhile.
 */
#include <stdio.h>
#include <string.h>

#include "net_tape.h"
#include "rig.h"
#include "spec/net.h"
#include "spec/virtio.h"
#include "support/guest.h"

enum { SIZE = 64, TX = 1, BYTES = 100 };

static const uint64_t elsewhere = UINT64_C(0x900000000);
static struct rig rig;
static struct net_tape tape;

static void send(uint64_t addr)
{
    CHECK(vio_drvq_put(rig.queue[TX].drv, &(struct vio_buf){ addr, BYTES }, 1, 0, 1) == 0);
    (void)!vio_drvq_publish(rig.queue[TX].drv);
    (void)vio_device_queue_service(rig.dev, TX, 1);
    vio_device_control(rig.dev);
}

int main(void)
{
    struct vio_device_params device = { .name = "net0", .log = &rig.log };
    struct vio_net_params params = { .backend = &tape.head, .pairs = 1, .device = &device };
    struct vio_features f;
    struct vio_memory *memory;
    struct vio_device *dev;
    struct rig_at at;

    rig_init(&rig);
    net_tape_init(&tape);
    CHECK(vio_net_create(&params, &dev, NULL, 0) == 0);
    rig_device(&rig, dev);
    memory = vio_device_memory(dev);
    at = rig_alloc(&rig, 4096);
    vio_memory_iotlb_enable(memory, true);
    CHECK(vio_memory_iotlb_update(memory, rig.gpa, RIG_MEMORY, rig.gpa, VIO_ACCESS_BOTH) == 0);
    f = vio_device_offered(dev);
    rig_start(&rig, f, SIZE);
    send(elsewhere);
    CHECK(rig.misses == 1 && rig.miss_addr == elsewhere && tape.sent == 0);
    vio_device_memory_begin(dev, false);
    CHECK(vio_memory_iotlb_update(memory, elsewhere, 4096, at.gpa, VIO_ACCESS_BOTH) == 0);
    vio_device_memory_end(dev);
    (void)vio_device_queue_service(dev, TX, 1);
    vio_device_control(dev);
    CHECK(tape.sent == 1);
    send(at.gpa);
    CHECK(tape.sent == 2 && rig.misses == 1);
    rig_free(&rig);
    puts("ok - a miss is over with what comes the express way");
    return 0;
}
