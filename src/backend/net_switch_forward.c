/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the switch's data path. Each frame of a burst is judged by a copy of its first bytes; neighbours with the same
 * way ahead are handed over together, with the sender's own segments: who receives makes the one copy.
 * Where it sits: backend/, the switch's. Threads: the owner of all ports.
 * Trust: a frame may change after it was judged. Its way was chosen by the copy; where it gets another tag, or its sender
 * has a fixed address, its Ethernet header is the copy's too, so that no tag and no sender is slipped in later.
 */
#include "backend/net_switch.h"
#include "spec/net.h"

#include <string.h>

#define ETHERTYPE_VLAN 0x8100u
enum { MACS = 2 * VIO_NET_MAC, TAG = 4 };

/* What was decided about a frame. */
struct judged {
    uint64_t from, to; /* table keys */
    enum { NOWHERE, ONE, ALL } way;
    uint16_t slot; /* with ONE */
    uint16_t vlan;
    bool tagged;
};

/* Neighbours with the same decision. */
struct group {
    struct vio_net_switch *sw;
    struct net_switch_end *from;
    const struct judged *judged;
    const struct vio_net_packet *packet;
    uint8_t (*head)[NET_SWITCH_HEAD];
    unsigned n;
    struct net_switch_turned *turned;
    enum { AS_IT_CAME, HAS_TAG, HAS_NONE } made; /* what turned holds */
    unsigned nr_turned; /* less than n: what cannot be turned is dropped */
};

/* ------------------------------------------------------------------ judging */

static uint16_t be16_at(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static bool multicast(const uint8_t *mac)
{
    return mac[0] & 1;
}

/* Its VLAN and its keys. False: counted and dropped. */
static bool parse(struct net_switch_end *from, const uint8_t *head, size_t bytes, struct judged *j)
{
    bool tagged = bytes >= VIO_NET_FRAME_MIN && be16_at(head + MACS) == ETHERTYPE_VLAN;
    uint16_t vlan = from->vlan;

    if (bytes < VIO_NET_FRAME_MIN || (tagged && bytes < VIO_NET_FRAME_MIN + TAG)) {
        net_switch_count(from, NET_SWITCH_SHORT, 1);
        return false;
    }
    if (tagged && vlan == 0)
        vlan = be16_at(head + VIO_NET_FRAME_MIN) & 0xfff;
    else if (tagged)
        vlan = NET_SWITCH_VLAN_MAX + 1; /* on an access port */
    if (vlan > NET_SWITCH_VLAN_MAX) {
        net_switch_count(from, NET_SWITCH_VLAN, 1);
        return false;
    }
    j->tagged = tagged;
    j->vlan = vlan;
    j->to = net_table_key(vlan, head);
    j->from = net_table_key(vlan, head + VIO_NET_MAC);
    return true;
}

/* NULL: it has stopped, as the last frame handed to it told its device that something is wrong. */
static struct net_switch_end *end_of(struct vio_net_switch *sw, uint16_t slot)
{
    if (slot == NET_SWITCH_UPLINK)
        return net_switch_running(sw) ? &net_switch_uplink(sw)->end : NULL;
    return sw->live[slot] ? &sw->live[slot]->end : NULL;
}

/* Whether this end may send from this address. */
static bool may_speak(const struct vio_net_switch *sw, const struct net_switch_end *from, const uint8_t *head,
                      const struct judged *j)
{
    int slot;

    if (from->fixed)
        return memcmp(head + VIO_NET_MAC, from->mac, VIO_NET_MAC) == 0;
    slot = net_pins_find(&sw->pins, j->from);
    return slot < 0 || slot == from->slot;
}

/* Where a frame goes. Stations are learned here, after the lookup: who may not speak is not heard either. */
static void find(struct vio_net_switch *sw, struct net_switch_end *from, const uint8_t *head, uint32_t now, struct judged *j)
{
    static const uint8_t nobody[VIO_NET_MAC];
    const struct net_switch_end *to;
    int slot;

    if (!may_speak(sw, from, head, j)) {
        net_switch_count(from, NET_SWITCH_SPOOFED, 1);
        return;
    }
    slot = multicast(head) ? -1 : net_table_find(&sw->table, j->to, now);
    to = slot >= 0 ? end_of(sw, (uint16_t)slot) : NULL;
    if (to && from->isolated && to != from && to->isolated) {
        net_switch_count(from, NET_SWITCH_ISOLATION, 1);
        return;
    }
    if (!multicast(head + VIO_NET_MAC) && memcmp(head + VIO_NET_MAC, nobody, VIO_NET_MAC) != 0
        && net_table_learn(&sw->table, j->from, from->slot, now) == NET_TABLE_MOVED)
        net_switch_count(from, NET_SWITCH_MOVES, 1);
    if (slot == from->slot || j->from == j->to)
        return; /* it is on the sender's side already */
    j->way = slot < 0 ? ALL : ONE;
    j->slot = slot < 0 ? 0 : (uint16_t)slot;
}

static bool same_stations(const struct judged *a, const struct judged *b)
{
    return a->from == b->from && a->to == b->to && a->tagged == b->tagged;
}

/* Whether finishing its checksum would write into the Ethernet header: another sender, or another VLAN, than was judged. */
static bool writes_l2(const struct vio_net_hdr *h, const struct judged *j)
{
    return (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0 && h->csum_start < VIO_NET_FRAME_MIN + (j->tagged ? TAG : 0);
}

/* prev: the frame before, or NULL. Mostly it is of the same stations, and the table is not asked again. */
static void judge(struct vio_net_switch *sw, struct net_switch_end *from, const struct vio_net_packet *p,
                  const uint8_t *head, size_t bytes, uint32_t now, const struct judged *prev, struct judged *j)
{
    *j = (struct judged){ .way = NOWHERE };
    if (!parse(from, head, bytes, j))
        return;
    if (from->fixed && writes_l2(&p->hdr, j)) {
        net_switch_count(from, NET_SWITCH_SPOOFED, 1);
        return;
    }
    if (prev && prev->way != NOWHERE && same_stations(prev, j)) {
        j->way = prev->way;
        j->slot = prev->slot;
    } else {
        find(sw, from, head, now, j);
    }
    if (j->way == ALL)
        net_switch_count(from, NET_SWITCH_FLOODED, 1);
}

/* ------------------------------------------------------------------ tags */

/* Offsets in the header count from the frame's start. l2: bytes of its Ethernet header before; none of them may be meant. */
static bool shift(struct vio_net_hdr *h, int l2, int by)
{
    if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        if (h->csum_start < l2 || h->csum_start + by > UINT16_MAX)
            return false;
        h->csum_start = (uint16_t)(h->csum_start + by);
    }
    if (h->hdr_len != 0) {
        if (h->hdr_len < l2 || h->hdr_len + by > UINT16_MAX)
            return false;
        h->hdr_len = (uint16_t)(h->hdr_len + by);
    }
    return true;
}

/* The new Ethernet header, with a tag or without, from the copy of the old; its size, 0: a tag would be left. */
static unsigned turn_head(uint8_t *to, const uint8_t *head, const struct judged *j, bool tag)
{
    if (tag == j->tagged) {
        memcpy(to, head, NET_SWITCH_HEAD);
        return tag ? VIO_NET_FRAME_MIN + TAG : VIO_NET_FRAME_MIN;
    }
    memcpy(to, head, MACS);
    if (j->tagged) {
        if (be16_at(head + MACS + TAG) == ETHERTYPE_VLAN)
            return 0;
        memcpy(to + MACS, head + MACS + TAG, 2);
        return VIO_NET_FRAME_MIN;
    }
    to[MACS] = ETHERTYPE_VLAN >> 8;
    to[MACS + 1] = ETHERTYPE_VLAN & 0xff;
    to[MACS + 2] = (uint8_t)(j->vlan >> 8);
    to[MACS + 3] = (uint8_t)j->vlan;
    memcpy(to + MACS + TAG, head + MACS, 2);
    return VIO_NET_FRAME_MIN + TAG;
}

/* One frame with a header of our own, the rest as it lies. seg: room for p->nr + 1. False: it cannot have one. */
static bool turn(const struct vio_net_packet *p, const uint8_t *head, const struct judged *j, bool tag, uint8_t *new_head,
                 struct vio_seg *seg, struct vio_net_packet *out)
{
    unsigned skip = j->tagged ? VIO_NET_FRAME_MIN + TAG : VIO_NET_FRAME_MIN;
    unsigned bytes = turn_head(new_head, head, j, tag);

    *out = (struct vio_net_packet){ .hdr = p->hdr, .len = p->len - skip + bytes, .nr = 1, .seg = seg };
    if (p->nr > VIO_NET_SEGS_MAX || bytes == 0 || out->len > VIO_NET_FRAME_MAX
        || (bytes != skip && !shift(&out->hdr, (int)skip, (int)bytes - (int)skip)))
        return false;
    seg[0] = (struct vio_seg){ new_head, bytes };
    for (uint32_t i = 0; i < p->nr; i++) {
        size_t gone = p->seg[i].len < skip ? p->seg[i].len : skip;

        skip -= (unsigned)gone;
        if (p->seg[i].len > gone)
            seg[out->nr++] = (struct vio_seg){ (uint8_t *)p->seg[i].base + gone, p->seg[i].len - gone };
    }
    return out->nr <= VIO_NET_SEGS_MAX;
}

/* Where a group goes both to a trunk and to an access port it may be made more than once. */
static void turn_group(struct group *g, bool tag)
{
    struct net_switch_turned *t = g->turned;
    struct vio_seg *seg = t->seg;
    bool again = g->made != AS_IT_CAME;

    g->made = tag ? HAS_TAG : HAS_NONE;
    g->nr_turned = 0;
    for (unsigned i = 0; i < g->n; i++) {
        struct vio_net_packet *out = &t->packet[g->nr_turned];

        if (!turn(&g->packet[i], g->head[i], g->judged, tag, t->head[g->nr_turned], seg, out)) {
            net_switch_count(g->from, NET_SWITCH_VLAN, again ? 0 : 1);
            continue;
        }
        seg += out->nr;
        g->nr_turned++;
    }
}

/* ------------------------------------------------------------------ handing over */

static void deliver(struct net_switch_port *to, const struct vio_net_packet *p, unsigned n)
{
    unsigned done = to->sink.deliver(to->sink.ctx, p, n);
    uint64_t bytes = 0;

    for (unsigned i = 0; i < done; i++)
        bytes += p[i].len;
    net_switch_count(&to->end, NET_SWITCH_OUT_FRAMES, done);
    net_switch_count(&to->end, NET_SWITCH_OUT_BYTES, bytes);
    /* Dropped and not kept: whoever does not read must not stop those who do. */
    if (done < n)
        net_switch_count(&to->end, NET_SWITCH_NO_ROOM, n - done);
    if (done > 0 && !to->dirty) {
        to->dirty = true;
        to->sw->dirty[to->sw->nr_dirty++] = to;
    }
}

/* A trunk has every tag but on frames that came to one without; an access port has none. */
static void hand_over(struct group *g, struct net_switch_end *to)
{
    const struct judged *j = g->judged;
    bool tag = to->vlan == 0 && (j->tagged || j->vlan != 0);
    const struct vio_net_packet *p = g->packet;
    unsigned n = g->n;

    if (tag != j->tagged || g->from->fixed) {
        if (g->made != (tag ? HAS_TAG : HAS_NONE))
            turn_group(g, tag);
        p = g->turned->packet;
        n = g->nr_turned;
    }
    if (n == 0)
        return;
    if (to->slot == NET_SWITCH_UPLINK)
        net_switch_uplink_send(net_switch_uplink(g->sw), g->from, p, n);
    else
        deliver(g->sw->live[to->slot], p, n);
}

static bool may_hear(const struct group *g, const struct net_switch_end *to)
{
    return to != g->from && !(to->isolated && g->from->isolated) && (to->vlan == 0 || to->vlan == g->judged->vlan);
}

static void flood(struct group *g)
{
    struct net_switch_uplink *up;

    /* From the end: one that stops when it is handed something leaves its place to the last, who has had his. */
    for (unsigned i = g->sw->nr_started; i-- > 0;) {
        struct net_switch_end *to = &g->sw->started[i]->end;

        if (may_hear(g, to))
            hand_over(g, to);
    }
    up = net_switch_running(g->sw);
    if (up && may_hear(g, &up->end))
        hand_over(g, &up->end);
}

static bool same_way(const struct judged *a, const struct judged *b)
{
    return a->way == b->way && a->slot == b->slot && a->vlan == b->vlan && a->tagged == b->tagged;
}

/* At most VIO_NET_BURST frames that were judged. */
static void send_judged(struct group *all)
{
    unsigned end;

    for (unsigned i = 0; i < all->n; i = end) {
        struct group g = *all;
        uint64_t segs = (uint64_t)all->packet[i].nr + 1;

        g.judged += i;
        g.packet += i;
        g.head += i;
        for (end = i + 1; end < all->n && same_way(g.judged, &all->judged[end]); end++) {
            segs += (uint64_t)all->packet[end].nr + 1;
            if (segs > NET_SWITCH_SEGS)
                break;
        }
        g.n = end - i;
        if (g.judged->way == ONE) {
            struct net_switch_end *to = end_of(g.sw, g.judged->slot);

            if (to)
                hand_over(&g, to);
        } else if (g.judged->way == ALL) {
            flood(&g);
        }
    }
}

static void forward_some(struct vio_net_switch *sw, struct net_switch_end *from, const struct vio_net_packet *p, unsigned n,
                         uint32_t now)
{
    uint8_t head[VIO_NET_BURST][NET_SWITCH_HEAD];
    struct judged judged[VIO_NET_BURST];
    struct group all = { .sw = sw, .from = from, .judged = judged, .packet = p, .head = head, .n = n,
                         .turned = &sw->turned[from->slot == NET_SWITCH_UPLINK] };
    uint64_t bytes = 0;

    for (unsigned i = 0; i < n; i++) {
        size_t got = vio_net_packet_head(&p[i], head[i], NET_SWITCH_HEAD);

        bytes += p[i].len;
        judge(sw, from, &p[i], head[i], got, now, i > 0 ? &judged[i - 1] : NULL, &judged[i]);
    }
    net_switch_count(from, NET_SWITCH_IN_FRAMES, n);
    net_switch_count(from, NET_SWITCH_IN_BYTES, bytes);
    send_judged(&all);
}

void net_switch_forward(struct vio_net_switch *sw, struct net_switch_end *from, const struct vio_net_packet *p, unsigned n)
{
    uint32_t now = sw->clock(sw->clock_ctx);

    net_pins_look(&sw->pins, &sw->table);
    while (n > 0) {
        unsigned some = n < VIO_NET_BURST ? n : VIO_NET_BURST;

        forward_some(sw, from, p, some, now);
        p += some;
        n -= some;
    }
}

void net_switch_flush(struct vio_net_switch *sw)
{
    while (sw->nr_dirty > 0) {
        struct net_switch_port *port = sw->dirty[--sw->nr_dirty];

        port->dirty = false;
        port->sink.flush(port->sink.ctx);
    }
}
