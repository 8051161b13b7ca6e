/* SPDX-License-Identifier: MIT */
/*
 * Purpose: fuzzes the switch by what guests can send: any bytes in any pieces, with any offloads that a device lets
 * through, from ports of all kinds, while ports stop and start, receivers are full, and the uplink takes what it likes.
 * Input: a byte of options, a byte for each of six ports, then operations.
 * Checked: send() takes all; frames that arrive are as vio/net.h promises; nobody hears itself, two isolated ports do
 * not hear each other, access ports hear their VLAN only and never a tag, and what they say has a tag on trunks; from an
 * address that is fixed to a port nothing comes but what that port said, and from that port nothing else.
 */
#include "../tests/unit/backend/net_switch_help.h"
#include "fuzz.h"

#include <string.h>

enum { PORTS = 6, BURST = 8, PIECES = 6, FRAME = 600, OPS_MAX = 2000, OPT_UPLINK = 1, OPT_ECHO = 2 };

struct run {
    struct lan lan;
    uint16_t vlan[PORTS + 1]; /* the last: the uplink */
    bool isolated[PORTS + 1];
    bool fixed[PORTS + 1]; /* to the address of its own number */
    uint8_t frame[BURST][FRAME];
    struct vio_seg seg[BURST][PIECES];
    struct vio_net_packet packet[BURST];
};

/* ------------------------------------------------------------------ frames */

static void make_addresses(struct input *in, uint8_t *frame)
{
    uint8_t who = input_u8(in);

    /* Few stations, so that they meet. */
    for (unsigned i = 0; i < 2; i++, who >>= 4) {
        memset(frame + 6 * i, 0, 6);
        frame[6 * i + 5] = who & 7;
        frame[6 * i] = (who & 8) && i == 0 ? 1 : 0x52;
    }
}

/* As a device checks it: offsets inside the frame, a size where there is a type. */
static void make_header(struct input *in, struct vio_net_packet *p)
{
    static const uint8_t types[] = { 0, 1, 3, 4, 5, 0x81, 0x84, 0 };
    uint8_t how = input_u8(in);

    memset(&p->hdr, 0, sizeof p->hdr);
    if (!(how & 1))
        return;
    p->hdr.flags = 1;
    p->hdr.csum_start = (uint16_t)(input_u8(in) % (p->len - 1));
    p->hdr.csum_offset = (uint16_t)(input_u8(in) % (p->len - 1 - p->hdr.csum_start));
    p->hdr.gso_type = types[how >> 1 & 7];
    if (p->hdr.gso_type == 0)
        return;
    p->hdr.gso_size = (uint16_t)(1 + input_u8(in));
    p->hdr.hdr_len = (uint16_t)(input_u8(in) % (p->len + 1));
}

static void make_pieces(struct input *in, struct vio_seg *seg, uint8_t *frame, struct vio_net_packet *p)
{
    uint32_t at = 0;

    p->nr = 1u + input_u8(in) % PIECES;
    for (uint32_t i = 0; i + 1 < p->nr; i++) {
        uint32_t n = input_u8(in) % 24;

        n = n < p->len - at ? n : p->len - at;
        seg[i] = (struct vio_seg){ frame + at, n };
        at += n;
    }
    seg[p->nr - 1] = (struct vio_seg){ frame + at, p->len - at };
    p->seg = seg;
}

/* Mostly TCP or UDP over IPv4 behind any Ethernet header, so that there is something to cut. */
static void make_frame(struct input *in, uint8_t *frame, struct vio_seg *seg, struct vio_net_packet *p)
{
    static const uint8_t ip[] = { 0x45, 0, 0, 0, 0, 1, 0, 0, 64 };
    uint8_t kind = input_u8(in);
    unsigned at = 12;

    p->len = 14u + input_u16(in) % (FRAME - 14);
    memset(frame, kind, FRAME);
    make_addresses(in, frame);
    for (unsigned tags = kind & 3; tags > 1; tags--) {
        frame[at] = 0x81;
        frame[at + 1] = 0;
        frame[at + 2] = kind & 4 ? input_u8(in) : 0;
        frame[at + 3] = input_u8(in) % 4;
        at += 4;
    }
    if (kind & 8) {
        unsigned total = p->len - (p->len < at + 2 ? p->len : at + 2);

        frame[at] = 8;
        frame[at + 1] = 0;
        memcpy(frame + at + 2, ip, sizeof ip);
        frame[at + 4] = (uint8_t)(total >> 8);
        frame[at + 5] = (uint8_t)total;
        frame[at + 11] = kind & 16 ? 6 : 17;
        frame[at + 34] = 5 << 4;
    }
    for (unsigned i = kind >> 5; i > 0; i--) {
        unsigned where = input_u8(in);

        frame[where] = input_u8(in);
    }
    make_header(in, p);
    make_pieces(in, seg, frame, p);
}

static unsigned make_burst(struct run *r, struct input *in)
{
    unsigned n = 1u + input_u8(in) % BURST;

    for (unsigned i = 0; i < n; i++)
        make_frame(in, r->frame[i], r->seg[i], &r->packet[i]);
    return n;
}

/* ------------------------------------------------------------------ what arrives */

static void check_sender(const struct run *r, const struct kept *k, unsigned from, unsigned to)
{
    static const uint8_t before[5] = { 0x52 };
    unsigned number = memcmp(k->head + 6, before, sizeof before) == 0 ? k->head[11] : PORTS;
    int tag = tag_of(k), vlan = r->vlan[from] != 0 ? r->vlan[from] : tag != NO_TAG ? tag : r->vlan[to];

    FUZZ_CHECK(!r->fixed[from] || number == from);
    if (number < PORTS && r->fixed[number] && (r->vlan[number] == 0 || r->vlan[number] == vlan))
        FUZZ_CHECK(number == from);
}

static void check_ear(const struct run *r, const struct ear *ear, unsigned from, unsigned to)
{
    if (ear->frames == 0)
        return;
    FUZZ_CHECK(from != to && !(r->isolated[from] && r->isolated[to]));
    FUZZ_CHECK(r->vlan[from] == 0 || r->vlan[to] == 0 || r->vlan[from] == r->vlan[to]);
    for (unsigned i = 0; i < ear->frames && i < LAN_KEPT; i++) {
        int tag = tag_of(&ear->kept[i]);

        check_sender(r, &ear->kept[i], from, to);
        FUZZ_CHECK(r->vlan[to] == 0 || tag == NO_TAG);
        FUZZ_CHECK(r->vlan[to] != 0 || r->vlan[from] == 0 || tag == r->vlan[from]);
    }
}

/* With an uplink that answers at once there are two senders: only what holds for any is checked, by heard(). */
static void check_arrived(struct run *r, unsigned from)
{
    for (unsigned i = 0; i < PORTS && !r->lan.up.echo; i++)
        check_ear(r, &r->lan.port[i].ear, from, i);
    if (!r->lan.up.echo)
        check_ear(r, &r->lan.up.ear, from, PORTS);
    (void)heard(&r->lan);
}

static void send_burst(struct run *r, struct input *in, unsigned from)
{
    struct lan_port *port = &r->lan.port[from];
    unsigned n = make_burst(r, in);

    if (!port->started)
        return;
    FUZZ_CHECK(port->b->ops->send(port->b, r->packet, n) == n);
    check_arrived(r, from);
}

static void uplink_burst(struct run *r, struct input *in)
{
    unsigned n = make_burst(r, in);

    if (!r->lan.up.running)
        return;
    uplink_receive(&r->lan, r->packet, n);
    check_arrived(r, PORTS);
}

/* ------------------------------------------------------------------ operations */

static void toggle(struct run *r, unsigned n)
{
    if (r->lan.port[n].started)
        lan_stop(&r->lan.port[n]);
    else
        lan_start(&r->lan.port[n]);
}

static void operate(struct run *r, struct input *in)
{
    uint8_t op = input_u8(in);
    unsigned n = (op >> 4) % PORTS;
    struct lan_port *port = &r->lan.port[n];
    uint8_t how;

    switch (op % 16) {
    case 8:
        uplink_burst(r, in);
        break;
    case 9:
        toggle(r, n);
        break;
    case 10:
        r->lan.now += input_u8(in) * 4u;
        break;
    case 11:
        if (port->started)
            FUZZ_CHECK(port->b->ops->poll(port->b, 8) == 0);
        break;
    case 12:
        how = input_u8(in);
        r->lan.up.waiting = (how & 4) != 0;
        if (port->started)
            (void)port->b->ops->arm(port->b, (how & 1) != 0, (how & 2) != 0, false);
        break;
    case 13:
        how = input_u8(in);
        port->ear.room = how & 1 ? UINT32_MAX : how >> 1;
        break;
    case 14:
        port->b->ops->offloads(port->b, input_u8(in) % 64);
        break;
    case 15:
        how = input_u8(in);
        r->lan.up.ear.room = how & 1 ? UINT32_MAX : how >> 1;
        break;
    default:
        send_burst(r, in, n);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct run run; /* large; made anew each time */
    struct input in = { data, size };
    uint8_t options = input_u8(&in);

    memset(&run, 0, sizeof run);
    lan_open(&run.lan, options & OPT_UPLINK ? options >> 2 : -1);
    run.lan.up.echo = (options & OPT_ECHO) != 0;
    for (unsigned i = 0; i < PORTS; i++) {
        uint8_t how = input_u8(&in);

        run.vlan[i] = how % 4;
        run.isolated[i] = (how & 4) != 0;
        run.fixed[i] = (how & 12) == 8;
        if (run.fixed[i])
            lan_fixed(&run.lan, run.vlan[i], (uint8_t)i);
        else
            lan_port(&run.lan, run.vlan[i], run.isolated[i]);
    }
    for (unsigned i = 0; i < OPS_MAX && in.left > 0; i++)
        operate(&run, &in);
    lan_close(&run.lan);
    return 0;
}
