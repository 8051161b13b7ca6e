/* SPDX-License-Identifier: MIT */
#include "net_victim.h"

#include <string.h>

void victim_open(struct victim *v, unsigned variant)
{
    struct vio_device_params device = { .name = "net0" };
    struct vio_net_params params = { .backend = &v->tape.head, .pairs = 1, .queue_size_max = SIZE, .device = &device };
    struct vio_device *dev;
    char why[200] = "";

    memset(v, 0, sizeof(*v));
    v->packed = variant & 1;
    v->mergeable = variant & 2;
    v->look = variant & 4;
    rig_init(&v->rig);
    net_tape_init(&v->tape);
    device.log = &v->rig.log;
    if (vio_net_create(&params, &dev, why, sizeof(why)) != 0)
        FAIL("no device: %s", why);
    rig_device(&v->rig, dev);
    v->page = rig_alloc(&v->rig, PAGE);
    v->ring_from = v->rig.next;
}

void victim_close(struct victim *v)
{
    rig_free(&v->rig);
    CHECK(v->tape.destroyed == 1 && v->tape.sink == NULL);
}

void victim_start(struct victim *v, uint16_t queue)
{
    static const unsigned off[] = { VIRTIO_F_IN_ORDER, VIRTIO_NET_F_HASH_REPORT };
    static const unsigned looks[] = { VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_RX_EXTRA, VIRTIO_NET_F_CTRL_VLAN };
    struct vio_features f = vio_device_offered(v->rig.dev);

    for (unsigned i = 0; i < 2; i++)
        vio_features_clear(&f, off[i]);
    for (unsigned i = 0; i < 3 && !v->look; i++)
        vio_features_clear(&f, looks[i]);
    if (!v->packed)
        vio_features_clear(&f, VIRTIO_F_RING_PACKED);
    if (!v->mergeable)
        vio_features_clear(&f, VIRTIO_NET_F_MRG_RXBUF);
    v->rig.next = v->ring_from;
    rig_restart(&v->rig, f, SIZE);
    v->queue = queue;
    v->at = v->avail = 0;
    v->rig.lines = v->rig.needs_reset = 0;
    v->rig.fault = VIO_FAULT_NONE;
    v->tape.sent = 0;
    memset(v->page.host, 0, PAGE);
    memset(v->page.host + HDR, 0xff, 6); /* to all */
    for (unsigned i = 12; i < 4000 - HDR; i++)
        v->page.host[HDR + i] = (uint8_t)(i * 7);
}

uint64_t victim_word_of(const struct victim *v, uint32_t len, unsigned flags, unsigned next)
{
    return v->packed ? len | (uint64_t)next << 32 | (uint64_t)flags << 48 : len | (uint64_t)flags << 32 | (uint64_t)next << 48;
}

void victim_desc(struct victim *v, uint64_t addr, uint32_t len, unsigned flags)
{
    uint8_t *d = v->rig.queue[v->queue].desc.host + 16 * (v->at % SIZE);
    uint64_t word = v->packed ? victim_word_of(v, len, flags | VIRTQ_DESC_F_AVAIL, 1) : victim_word_of(v, len, flags, (v->at + 1u) % SIZE);

    le_set64(d, addr);
    le_set64(d + 8, word);
    v->at++;
}

void victim_offer(struct victim *v, uint16_t head)
{
    uint8_t *ring = v->rig.queue[v->queue].driver.host;

    if (v->packed)
        return;
    le_set16(ring + 4 + 2 * (v->avail % SIZE), head);
    v->avail++;
    le_set16(ring + 2, v->avail);
}

void victim_single(struct victim *v, uint64_t addr, uint32_t len, unsigned flags)
{
    uint16_t head = v->at;

    victim_desc(v, addr, len, flags);
    victim_offer(v, head);
}

void victim_table(struct victim *v, uint64_t addr, uint32_t step, unsigned pieces, unsigned flags)
{
    for (unsigned i = 0; i < pieces; i++) {
        uint64_t at = addr + (uint64_t)i * step, word = victim_word_of(v, step, flags | (i + 1 < pieces ? N : 0), i + 1);

        le_set64(v->page.host + TABLE + 16 * i, at);
        le_set64(v->page.host + TABLE + 16 * i + 8, word);
    }
    victim_single(v, v->page.gpa + TABLE, 16 * pieces, I);
}

uint16_t victim_used(const struct victim *v)
{
    uint16_t n = 0;

    if (!v->packed)
        return le_get16(v->rig.queue[v->queue].device.host + 2);
    for (unsigned i = 0; i < v->at && i < SIZE; i++)
        n = (uint16_t)(n + ((v->rig.queue[v->queue].desc.host[16 * i + 15] & 0x80) != 0));
    return n;
}

bool victim_deliver(struct victim *v, uint32_t len)
{
    struct vio_seg seg = { v->page.host + HDR, len };
    struct vio_net_packet p = { .len = len, .nr = 1, .seg = &seg };

    return net_tape_deliver(&v->tape, &p);
}

void victim_works(struct victim *v)
{
    victim_start(v, TX);
    victim_single(v, v->page.gpa, HDR + FRAME, 0);
    rig_serve(&v->rig, TX);
    CHECK(v->tape.sent == 1 && v->tape.len == FRAME && memcmp(v->tape.frame, v->page.host + HDR, FRAME) == 0);
    CHECK(victim_used(v) == 1);
    victim_start(v, RX);
    victim_single(v, v->page.gpa + BUF, 2000, W);
    CHECK(victim_deliver(v, FRAME) && victim_used(v) == 1);
    CHECK(memcmp(v->page.host + BUF + HDR, v->page.host + HDR, FRAME) == 0);
    CHECK(v->rig.needs_reset == 0);
}
