/* SPDX-License-Identifier: MIT */
/*
 * With no host's threads, a device that is reset because of a frame that the switch hands it stops its port in the middle of
 * the burst. What the burst had left for it was looked for at a port that there was none any more; and where it was
 * flooded, the port that took its place among those that run was passed over.
 */
#include <stdio.h>
#include <string.h>

#include <vio/net.h>

#include "rig.h"
#include "spec/net.h"
#include "spec/virtio.h"
#include "support/guest.h"

enum { SIZE = 64, RX = 0, TX = 1, DEVICES = 4, BUFFER = 2000, FRAME = 60, HDR = VIRTIO_NET_HDR_BYTES };

static struct rig rig[DEVICES];

static void make(struct vio_net_switch *sw, unsigned i)
{
    static const char *const names[DEVICES] = { "net0", "net1", "net2", "net3" };
    struct vio_device_params device = { .name = names[i], .log = &rig[i].log };
    struct vio_net_params params = { .pairs = 1, .device = &device };
    struct vio_net_port_params port = { .name = names[i] };
    struct vio_device *dev;
    struct vio_features f;

    rig_init(&rig[i]);
    CHECK(vio_net_switch_port(sw, &port, &params.backend) == 0);
    CHECK(vio_net_create(&params, &dev, NULL, 0) == 0);
    rig_device(&rig[i], dev);
    f = vio_device_offered(dev);
    vio_features_clear(&f, VIRTIO_F_RING_PACKED);
    vio_features_clear(&f, VIRTIO_NET_F_HASH_REPORT);
    for (unsigned bit = VIRTIO_NET_F_CTRL_RX; bit <= VIRTIO_NET_F_CTRL_RX_EXTRA; bit++)
        vio_features_clear(&f, bit);
    rig_start(&rig[i], f, SIZE);
    rig[i].reset_on_fault = true;
    for (unsigned n = 0; n < 8; n++)
        CHECK(vio_drvq_put(rig[i].queue[RX].drv, &(struct vio_buf){ rig_alloc(&rig[i], BUFFER).gpa, BUFFER }, 0, 1, 1) == 0);
    (void)!vio_drvq_publish(rig[i].queue[RX].drv);
}

static void put(unsigned from, unsigned to)
{
    struct rig_at at = rig_alloc(&rig[from], HDR + FRAME);
    uint8_t *frame = at.host + HDR;

    memset(frame, to < DEVICES ? 2 : 0xff, 6);
    if (to < DEVICES)
        frame[5] = (uint8_t)to;
    memset(frame + 6, 2, 6);
    frame[11] = (uint8_t)from;
    CHECK(vio_drvq_put(rig[from].queue[TX].drv, &(struct vio_buf){ at.gpa, HDR + FRAME }, 1, 0, 1) == 0);
    (void)!vio_drvq_publish(rig[from].queue[TX].drv);
}

static unsigned received(unsigned i)
{
    struct vio_done done[SIZE];

    return vio_drvq_collect(rig[i].queue[RX].drv, done, SIZE);
}

int main(void)
{
    struct vio_net_switch *sw;

    CHECK(vio_net_switch_create(&rig[0].log, &sw) == 0);
    for (unsigned i = 0; i < DEVICES; i++)
        make(sw, i);
    vio_net_switch_release(sw);
    put(1, DEVICES);
    rig_serve(&rig[1], TX); /* the switch knows where it is */
    CHECK(received(0) == 1 && received(2) == 1 && received(3) == 1);
    memcpy(rig[1].queue[RX].driver.host + 2, &(uint16_t){ 1000 }, 2);
    put(0, DEVICES);
    for (unsigned i = 0; i < 3; i++)
        put(0, 1);
    put(0, 2);
    put(0, 1);
    rig_serve(&rig[0], TX);
    CHECK(rig[1].needs_reset == 1 && vio_device_status(rig[1].dev) == 0);
    CHECK(received(2) == 2 && received(3) == 2); /* all of what was for everybody: nobody knows where 2 is */
    for (unsigned i = 0; i < DEVICES; i++)
        rig_free(&rig[i]);
    puts("ok - a port that stops in the middle of a burst");
    return 0;
}
