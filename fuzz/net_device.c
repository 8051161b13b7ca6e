/* SPDX-License-Identifier: MIT */
/*
 * Purpose: fuzzes the network device's data path by what a driver can do, and a backend: any features, packets with any
 * header in any framing, buffers of any size, packets to be received, a backend without room, rings poked at, resets.
 * Input: offloads of the backend, feature bits not accepted, then operations.
 * Checked: the backend (tests/support/net_tape.c) gets whole packets and no offload that it does not take or that was not
 * negotiated; what the driver receives has a header that it negotiated, offsets inside the packet, and buffers and lengths
 * that add up to the packet's; nothing is done beyond a budget; after a reset the device works.
 */
#include <limits.h>
#include <string.h>

#include "device/net_internal.h"
#include "fuzz.h"
#include "net_tape.h"
#include "rig.h"
#include "spec/virtio.h"

enum { RX = 0, TX = 1, RING = 32, ARENA = 96 << 10, SLOT = 4096, PIECES_MAX = 8, RESTARTS_MAX = 20, LONG = 70000 };

struct run {
    struct rig rig;
    struct net_tape tape;
    struct net *net;
    struct vio_features features;
    struct rig_at arena, slots; /* slots: RING of them, to receive into */
    uint64_t ring_from;         /* what rings occupy of the driver's memory */
    bool posted[RING];
    bool poked;                 /* what comes back means nothing */
    unsigned restarts;
    uint64_t rx_packets;        /* seen by the driver since the restart */
    uint64_t rx_before;         /* the device's counter at that time */
    /* a packet of several buffers that is being collected */
    unsigned buffers_left;
};

/* ------------------------------------------------------------------ what the driver gets */

/* One buffer's first bytes, where it begins a packet. */
static void check_header(struct run *r, const uint8_t *at, uint32_t len)
{
    unsigned guest = virtio_net_guest_offloads(r->features);
    struct virtio_net_hdr h = { 0 };
    unsigned buffers;

    FUZZ_CHECK(len > r->net->hdr_bytes);
    memcpy(&h, at, r->net->hdr_bytes);
    buffers = vio_cpu(h.num_buffers);
    FUZZ_CHECK(buffers >= 1 && (r->net->mergeable ? buffers <= RING : buffers == 1));
    r->buffers_left = buffers;
    r->rx_packets++;
    FUZZ_CHECK((h.flags & ~(VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID)) == 0);
    if (h.flags != 0)
        FUZZ_CHECK(guest & VIO_NET_CSUM);
    if (buffers == 1 && (h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
        FUZZ_CHECK((uint32_t)vio_cpu(h.csum_start) + vio_cpu(h.csum_offset) + 2 <= len - r->net->hdr_bytes);
    switch (h.gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_NONE: FUZZ_CHECK(h.gso_type == 0); return;
    case VIRTIO_NET_HDR_GSO_TCPV4: FUZZ_CHECK(guest & VIO_NET_TSO4); break;
    case VIRTIO_NET_HDR_GSO_TCPV6: FUZZ_CHECK(guest & VIO_NET_TSO6); break;
    case VIRTIO_NET_HDR_GSO_UDP: FUZZ_CHECK(guest & VIO_NET_UFO); break;
    default: FUZZ_CHECK(h.gso_type == VIRTIO_NET_HDR_GSO_UDP_L4 && (guest & VIO_NET_USO)); break;
    }
    FUZZ_CHECK(!(h.gso_type & VIRTIO_NET_HDR_GSO_ECN) || (guest & VIO_NET_ECN));
}

static void collect(struct run *r)
{
    struct vio_done done[RING];
    unsigned n = vio_drvq_collect(r->rig.queue[TX].drv, done, RING);

    n = vio_drvq_collect(r->rig.queue[RX].drv, done, RING);
    if (r->poked) {
        memset(r->posted, 0, sizeof(r->posted));
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        unsigned slot = (unsigned)done[i].token;

        FUZZ_CHECK(slot < RING && r->posted[slot] && done[i].len <= SLOT);
        r->posted[slot] = false;
        if (r->buffers_left == 0 && done[i].len <= r->net->hdr_bytes)
            return; /* a header in several buffers: the driver's own fault */
        if (r->buffers_left == 0)
            check_header(r, r->slots.host + slot * SLOT, done[i].len);
        r->buffers_left--;
    }
    FUZZ_CHECK(r->buffers_left == 0); /* all of a packet are shown together */
}

/* ------------------------------------------------------------------ life */

static void start(struct run *r)
{
    struct vio_net_counters c;

    r->rig.next = r->ring_from;
    rig_start(&r->rig, r->features, RING);
    memset(r->posted, 0, sizeof(r->posted));
    r->poked = false;
    r->buffers_left = 0;
    r->tape.host = virtio_net_host_offloads(r->features);
    r->rig.needs_reset = 0;
    vio_net_counters(r->rig.dev, &c);
    r->rx_packets = 0;
    r->rx_before = c.rx_packets;
}

static void restart(struct run *r)
{
    if (r->restarts++ >= RESTARTS_MAX)
        return;
    vio_device_reset(r->rig.dev);
    FUZZ_CHECK(r->tape.sink == NULL);
    start(r);
}

static void after(struct run *r)
{
    for (uint16_t q = 0; q < 2; q++)
        FUZZ_CHECK(vio_device_queue_in_flight(r->rig.dev, q) <= RING);
    if (r->rig.needs_reset > 0) {
        r->restarts = 0;
        restart(r);
    } else {
        collect(r);
    }
}

/* ------------------------------------------------------------------ operations */

/* Sometimes any bytes, mostly near what is allowed. */
static void make_header(struct input *in, struct virtio_net_hdr *h, unsigned how)
{
    static const uint8_t types[] = { 0, 1, 3, 4, 5, 0x81, 0x84, 0x80 };

    memset(h, 0, sizeof(*h));
    if (how == 0)
        return;
    h->flags = how == 1 ? 1 : input_u8(in);
    h->gso_type = how == 1 ? types[input_u8(in) % sizeof(types)] : input_u8(in);
    h->hdr_len = vio_le16_of(how == 3 ? input_u16(in) : 54);
    h->gso_size = vio_le16_of(how == 3 ? input_u16(in) : input_u8(in));
    h->csum_start = vio_le16_of(how == 3 ? input_u16(in) : 34);
    h->csum_offset = vio_le16_of(how == 3 ? input_u16(in) : input_u8(in) % 20);
    h->num_buffers = vio_le16_of(how == 3 ? input_u16(in) : 0);
}

/* A frame's headers that may be cut: TCP or UDP over IPv4 or IPv6, of len bytes together; and the input over that. */
static void make_frame(struct input *in, uint8_t *at, uint32_t len)
{
    uint8_t kind = input_u8(in), given = input_u8(in) % 64;
    bool six = kind & 1;
    uint32_t total = len > 14 ? len - 14 : 0;

    memset(at, 0, 128);
    memset(at, 0xff, 6);
    at[6] = 2;
    memcpy(at + 12, six ? "\x86\xdd" : "\x08\x00", 2);
    at[14] = six ? 0x60 : 0x45;
    if (six) {
        at[18] = (uint8_t)((total - 40) >> 8);
        at[19] = (uint8_t)(total - 40);
        at[20] = kind & 2 ? 17 : 6;
    } else {
        at[16] = (uint8_t)(total >> 8);
        at[17] = (uint8_t)total;
        at[23] = kind & 2 ? 17 : 6;
    }
    at[(six ? 54 : 34) + 12] = 0x50;
    for (unsigned i = 0; i < given && kind & 4; i++)
        at[input_u8(in)] ^= input_u8(in);
}

static unsigned cut(struct vio_buf *bufs, uint64_t gpa, uint32_t len, unsigned pieces, uint32_t step)
{
    unsigned n = 0;

    for (; step > 0 && len > step && n + 1 < pieces; n++, gpa += step, len -= step)
        bufs[n] = (struct vio_buf){ gpa, step };
    bufs[n++] = (struct vio_buf){ gpa, len > 0 ? len : 1 };
    return n;
}

static void transmit(struct run *r, struct input *in)
{
    uint8_t shape = input_u8(in);
    uint32_t len = shape & 1 ? input_u16(in) + (shape & 2 ? 5000u : 0u) : 20u + input_u8(in);
    struct vio_buf bufs[PIECES_MAX + 1];
    struct virtio_net_hdr h;
    unsigned nr;

    make_header(in, &h, shape >> 6);
    memcpy(r->arena.host, &h, r->net->hdr_bytes);
    make_frame(in, r->arena.host + r->net->hdr_bytes, len > r->net->hdr_bytes ? len - r->net->hdr_bytes : 0);
    nr = cut(bufs, r->arena.gpa, len, PIECES_MAX, shape >> 2 & 15);
    if (shape == 0x3e)
        bufs[nr - 1].addr = UINT64_C(0x123456789000); /* nowhere */
    (void)!vio_drvq_put(r->rig.queue[TX].drv, bufs, nr, shape == 0x3f, 1);
    (void)!vio_drvq_publish(r->rig.queue[TX].drv);
}

static void post(struct run *r, struct input *in)
{
    uint8_t shape = input_u8(in);
    uint32_t len = shape & 1 ? 1 + input_u16(in) % SLOT : 2048;
    struct vio_buf bufs[PIECES_MAX];
    unsigned slot = 0, nr;

    while (slot < RING && r->posted[slot])
        slot++;
    if (slot == RING)
        return;
    nr = cut(bufs, r->slots.gpa + slot * SLOT, len, PIECES_MAX, shape >> 1 & 31);
    if (vio_drvq_put(r->rig.queue[RX].drv, bufs, 0, nr, slot) == 0)
        r->posted[slot] = true;
    (void)!vio_drvq_publish(r->rig.queue[RX].drv);
}

/* A header as a backend may give one: what it said it gives, and true of the frame. */
static struct vio_net_hdr good_header(const struct run *r, struct input *in, uint32_t len)
{
    static const struct {
        unsigned needs;
        uint8_t type;
    } types[] = { { 0, 0 }, { VIO_NET_TSO4, 1 }, { VIO_NET_TSO6, 4 }, { VIO_NET_UFO, 3 }, { VIO_NET_USO, 5 },
                  { VIO_NET_TSO4 | VIO_NET_ECN, 0x81 }, { VIO_NET_TSO6 | VIO_NET_ECN, 0x84 } };
    unsigned which = input_u8(in) % 7, how = input_u8(in);
    struct vio_net_hdr h = { 0 };

    if (!(r->tape.info.gives & VIO_NET_CSUM) || len < 60 || how < 64)
        return h;
    h.flags = how < 96 ? VIRTIO_NET_HDR_F_DATA_VALID : VIRTIO_NET_HDR_F_NEEDS_CSUM;
    if (how < 96)
        return h;
    h.csum_start = (uint16_t)(how & 1 ? 34 : input_u8(in) % (len - 2));
    h.csum_offset = (uint16_t)(how & 2 ? 16 : 6);
    if (h.csum_start + h.csum_offset + 2u > len)
        h.csum_start = 0;
    if (types[which].needs & ~r->tape.info.gives)
        return h;
    h.gso_type = types[which].type;
    h.gso_size = (uint16_t)(types[which].type ? 1 + input_u16(in) % 2000 : 0);
    h.hdr_len = (uint16_t)(types[which].type ? how % len : 0);
    return h;
}

static void receive(struct run *r, struct input *in)
{
    static uint8_t frame[LONG];
    uint8_t shape = input_u8(in);
    uint32_t len = 14 + (shape & 1 ? input_u16(in) : input_u8(in));
    uint32_t first = shape & 2 ? 1u + input_u8(in) % 13 : len;
    struct vio_seg seg[] = { { frame, first }, { frame + first, len - first } };
    struct vio_net_packet p = { .len = len, .nr = first < len ? 2 : 1, .seg = seg };

    make_frame(in, frame, len);
    p.hdr = good_header(r, in, len);
    if (shape & 4) {
        r->tape.packet = p;
        r->tape.feed = 1 + (shape >> 4);
        FUZZ_CHECK(vio_device_queue_service(r->rig.dev, RX, 8) <= 8 + RING);
        r->tape.feed = 0;
    } else {
        (void)net_tape_deliver(&r->tape, &p);
    }
}

static void operate(struct run *r, struct input *in)
{
    uint8_t op = input_u8(in);
    uint16_t queue = op & 16 ? TX : RX;

    switch (op % 16) {
    case 0: case 1: case 2: case 3:
        transmit(r, in);
        break;
    case 4: case 5:
        (void)vio_device_queue_service(r->rig.dev, TX, 1u + (op >> 4));
        break;
    case 6: case 7: case 8:
        post(r, in);
        break;
    case 9: case 10: case 11:
        receive(r, in);
        break;
    case 12:
        r->tape.room = op & 128 ? UINT_MAX : op >> 4 & 7;
        break;
    case 13:
        r->poked = true;
        r->rig.host[r->ring_from + input_u16(in) % (r->rig.next - r->ring_from)] = input_u8(in);
        break;
    case 14:
        if (op & 32)
            restart(r);
        else
            vio_net_set_link(r->rig.dev, (op & 64) != 0);
        break;
    default:
        vio_device_queue_stop(r->rig.dev, queue);
        if (vio_device_queue_start(r->rig.dev, queue) < 0) /* the ring may be anything by now */
            restart(r);
        break;
    }
    after(r);
}

/* ------------------------------------------------------------------ one input */

static void works(struct run *r)
{
    static uint8_t frame[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2 };
    struct vio_seg seg = { frame, sizeof(frame) };
    struct vio_net_packet p = { .len = sizeof(frame), .nr = 1, .seg = &seg };
    struct vio_buf out = { r->arena.gpa, r->net->hdr_bytes + 60u }, into = { r->slots.gpa, SLOT };
    unsigned sent;

    r->restarts = 0;
    restart(r);
    vio_net_set_link(r->rig.dev, true);
    r->tape.room = UINT_MAX;
    sent = r->tape.sent;
    memset(r->arena.host, 0, 100);
    FUZZ_CHECK(vio_drvq_put(r->rig.queue[TX].drv, &out, 1, 0, 1) == 0);
    (void)!vio_drvq_publish(r->rig.queue[TX].drv);
    FUZZ_CHECK(vio_device_queue_service(r->rig.dev, TX, 64) == 1 && r->tape.sent == sent + 1 && r->tape.len == 60);
    FUZZ_CHECK(vio_drvq_put(r->rig.queue[RX].drv, &into, 0, 1, 0) == 0);
    (void)!vio_drvq_publish(r->rig.queue[RX].drv);
    r->posted[0] = true;
    FUZZ_CHECK(net_tape_deliver(&r->tape, &p));
    collect(r);
    FUZZ_CHECK(r->rx_packets == 1 && memcmp(r->slots.host + r->net->hdr_bytes, frame, sizeof(frame)) == 0);
}

static void choose(struct run *r, struct input *in)
{
    struct vio_features without = { { input_u64(in), 0 } };

    vio_features_clear(&without, VIRTIO_F_VERSION_1);
    r->features = vio_features_minus(vio_device_offered(r->rig.dev), without);
    if (net_features_refused(r->net, r->features) != NULL)
        r->features = net_features_fit(r->features);
}

/* Those that need CSUM are not without it. */
static unsigned offloads(uint8_t wanted)
{
    return wanted & VIO_NET_CSUM ? wanted & VIO_NET_OFFLOADS : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct run run; /* large; made anew each time */
    struct vio_device_params device = { .name = "fuzz" };
    struct vio_net_params params = { .backend = &run.tape.head, .pairs = 1, .queue_size_max = 64, .device = &device };
    struct input in = { data, size };
    struct vio_device *dev;

    memset(&run, 0, sizeof(run));
    rig_init(&run.rig);
    net_tape_init(&run.tape);
    run.tape.info.takes = offloads(input_u8(&in));
    run.tape.info.gives = offloads(input_u8(&in));
    vio_features_set(&device.ring_add, VIRTIO_F_IN_ORDER);
    FUZZ_CHECK(vio_net_create(&params, &dev, NULL, 0) == 0);
    rig_device(&run.rig, dev);
    run.net = vio_device_self(dev);
    choose(&run, &in);
    run.arena = rig_alloc(&run.rig, ARENA);
    run.slots = rig_alloc(&run.rig, RING * SLOT);
    run.ring_from = run.rig.next;
    start(&run);
    while (in.left > 0)
        operate(&run, &in);
    works(&run);
    rig_free(&run.rig);
    FUZZ_CHECK(run.tape.destroyed == 1);
    return 0;
}
