/* SPDX-License-Identifier: MIT */
/* Purpose: see net_switch_help.h. */
#include "net_switch_help.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "backend/net_switch.h"

static void must(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "the test's own part failed: %s\n", what);
        abort();
    }
}

/* ------------------------------------------------------------------ ears */

/* What vio/net.h promises of every packet. */
static bool sound(const struct vio_net_packet *p)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < p->nr; i++)
        sum += p->seg[i].len;
    return sum == p->len && p->len >= VIO_NET_FRAME_MIN && p->len <= VIO_NET_FRAME_MAX && p->nr > 0
           && p->nr <= VIO_NET_SEGS_MAX && p->hdr.hdr_len <= p->len
           && (!(p->hdr.flags & 1) || (uint32_t)p->hdr.csum_start + p->hdr.csum_offset + 2 <= p->len);
}

static unsigned hear(struct ear *ear, const struct vio_net_packet *p, unsigned n)
{
    unsigned done = n < ear->room ? n : ear->room;

    ear->calls++;
    if (ear->room != UINT32_MAX)
        ear->room -= done;
    for (unsigned i = 0; i < n; i++)
        ear->unsound |= !sound(&p[i]);
    for (unsigned i = 0; i < done; i++) {
        struct kept *k = &ear->kept[ear->frames % LAN_KEPT];

        if (ear->frames++ >= LAN_KEPT)
            continue;
        *k = (struct kept){ .hdr = p[i].hdr, .len = p[i].len, .nr = p[i].nr, .last = p[i].seg[p[i].nr - 1].base };
        (void)vio_net_packet_head(&p[i], k->head, LAN_HEAD);
    }
    ear->unflushed |= done > 0;
    return done;
}

static unsigned port_deliver(void *ctx, const struct vio_net_packet *p, unsigned n)
{
    struct lan_port *port = ctx;

    must(port->started, "a port that does not run gets no frames");
    return hear(&port->ear, p, n);
}

static void port_flush(void *ctx)
{
    struct lan_port *port = ctx;

    port->ear.flushes++;
    port->ear.unflushed = false;
}

/* ------------------------------------------------------------------ the uplink */

static struct fake_uplink *uplink(struct vio_net_backend *b)
{
    return (struct fake_uplink *)b;
}

static void up_info(struct vio_net_backend *b, struct vio_net_info *info)
{
    *info = uplink(b)->info;
}

static void up_destroy(struct vio_net_backend *b)
{
    must(!uplink(b)->running, "the uplink is stopped before it is destroyed");
    uplink(b)->destroyed++;
    close(uplink(b)->fd);
}

static int up_start(struct vio_net_backend *b, const struct vio_net_sink *sink)
{
    struct fake_uplink *up = uplink(b);

    must(!up->running, "the uplink is started once");
    if (up->start_error < 0)
        return up->start_error;
    up->starts++;
    up->running = true;
    up->sink = sink;
    return 0;
}

static void up_stop(struct vio_net_backend *b)
{
    must(uplink(b)->running && !uplink(b)->asleep, "the uplink is stopped once, and awake");
    uplink(b)->running = false;
    uplink(b)->stops++;
}

static void up_offloads(struct vio_net_backend *b, unsigned guest)
{
    uplink(b)->offloads = guest;
}

static unsigned up_send(struct vio_net_backend *b, const struct vio_net_packet *p, unsigned n)
{
    struct fake_uplink *up = uplink(b);

    must(up->running, "the uplink runs when it is sent something");
    if (up->echo) {
        must(up->sink->deliver(up->sink->ctx, p, n) == n, "the switch takes all that comes");
        up->sink->flush(up->sink->ctx);
    }
    return hear(&up->ear, p, n);
}

static unsigned up_poll(struct vio_net_backend *b, unsigned budget)
{
    struct fake_uplink *up = uplink(b);
    unsigned n = up->nr_pending < budget ? up->nr_pending : budget;

    must(up->running, "the uplink runs when it is polled");
    up->polls++;
    up->waiting = false;
    if (n == 0)
        return 0;
    must(up->sink->deliver(up->sink->ctx, up->pending, n) == n, "the switch takes all that comes");
    up->sink->flush(up->sink->ctx);
    up->pending += n;
    up->nr_pending -= n;
    return n;
}

static int up_fd(struct vio_net_backend *b)
{
    return uplink(b)->fd;
}

static bool up_arm(struct vio_net_backend *b, bool sleep, bool receive, bool blocked)
{
    struct fake_uplink *up = uplink(b);

    must(up->running && !blocked, "the switch does not wait for room");
    up->arms++;
    up->asleep = sleep;
    up->receive = receive;
    return sleep && receive && up->waiting;
}

static void up_counters(struct vio_net_backend *b, void (*line)(void *ctx, const char *name, uint64_t value), void *ctx)
{
    (void)b;
    line(ctx, "lost", 77);
}

static const struct vio_net_ops up_ops = {
    .name = "fake",
    .info = up_info,
    .destroy = up_destroy,
    .start = up_start,
    .stop = up_stop,
    .offloads = up_offloads,
    .send = up_send,
    .poll = up_poll,
    .fd = up_fd,
    .arm = up_arm,
    .counters = up_counters,
};

void uplink_receive(struct lan *lan, const struct vio_net_packet *p, unsigned n)
{
    (void)lan->up.sink->deliver(lan->up.sink->ctx, p, n);
    lan->up.sink->flush(lan->up.sink->ctx);
}

/* ------------------------------------------------------------------ the network */

static uint32_t lan_clock(void *ctx)
{
    return ((struct lan *)ctx)->now;
}

void lan_open(struct lan *lan, int takes)
{
    memset(lan, 0, sizeof *lan);
    lan->now = 1000;
    must(vio_net_switch_create(NULL, &lan->sw) == 0, "create");
    net_switch_set_clock(lan->sw, lan_clock, lan);
    if (takes >= 0)
        lan_uplink(lan, (unsigned)takes);
}

void lan_uplink(struct lan *lan, unsigned takes)
{
    lan->up.head.ops = &up_ops;
    lan->up.info.takes = lan->up.info.gives = takes;
    lan->up.info.mtu = 1400;
    lan->up.ear.room = UINT32_MAX;
    lan->up.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    must(lan->up.fd >= 0 && vio_net_switch_uplink(lan->sw, &lan->up.head) == 0, "uplink");
}

static void address(uint8_t *to, uint8_t number)
{
    memset(to, number == ALL_HEAR ? 0xff : 0, VIO_NET_MAC);
    to[0] = number == ALL_HEAR ? 0xff : number == GROUP_HEARS ? 0x33 : 0x52;
    to[5] = number;
}

static struct lan_port *next_port(struct lan *lan, const struct vio_net_port_params *params)
{
    struct lan_port *port = &lan->port[lan->n++];

    memset(port, 0, sizeof *port);
    must(lan->n <= LAN_PORTS && vio_net_switch_port(lan->sw, params, &port->b) == 0, "port");
    port->sink = (struct vio_net_sink){ .deliver = port_deliver, .flush = port_flush, .ctx = port };
    port->ear.room = UINT32_MAX;
    lan_start(port);
    return port;
}

struct lan_port *lan_port(struct lan *lan, uint16_t vlan, bool isolated)
{
    struct vio_net_port_params params = { .name = "port", .vlan = vlan, .isolated = isolated };

    return next_port(lan, &params);
}

struct lan_port *lan_fixed(struct lan *lan, uint16_t vlan, uint8_t number)
{
    uint8_t mac[VIO_NET_MAC];
    struct vio_net_port_params params = { .name = "port", .vlan = vlan, .fixed_mac = mac };

    address(mac, number);
    return next_port(lan, &params);
}

void lan_start(struct lan_port *port)
{
    port->started = true;
    must(port->b->ops->start(port->b, &port->sink) == 0, "start");
}

void lan_stop(struct lan_port *port)
{
    port->b->ops->stop(port->b);
    port->started = false;
}

void lan_close(struct lan *lan)
{
    for (unsigned i = 0; i < lan->n; i++) {
        if (lan->port[i].started)
            lan_stop(&lan->port[i]);
        vio_net_close(lan->port[i].b);
    }
    vio_net_switch_release(lan->sw);
    must(!lan->up.head.ops || (lan->up.destroyed == 1 && lan->up.starts == lan->up.stops), "the uplink's end");
}

/* ------------------------------------------------------------------ frames */

void frame_make(uint8_t *frame, uint32_t len, uint8_t to, uint8_t from, int tag, uint8_t seed)
{
    unsigned at = 12;

    for (uint32_t i = 0; i < len; i++)
        frame[i] = (uint8_t)(seed + i * 7);
    address(frame, to);
    address(frame + 6, from);
    if (tag != NO_TAG) {
        frame[at++] = 0x81;
        frame[at++] = 0;
        frame[at++] = (uint8_t)(tag >> 8);
        frame[at++] = (uint8_t)tag;
    }
    frame[at++] = 0x88;
    frame[at] = 0xb5;
}

void say_tagged(struct lan_port *port, uint8_t from, uint8_t to, int tag)
{
    uint8_t frame[64];
    struct vio_seg seg = { frame, sizeof frame };
    struct vio_net_packet p = { .len = sizeof frame, .nr = 1, .seg = &seg };

    frame_make(frame, sizeof frame, to, from, tag, from);
    must(port->b->ops->send(port->b, &p, 1) == 1, "send() takes all");
}

void say(struct lan_port *port, uint8_t from, uint8_t to)
{
    say_tagged(port, from, to, NO_TAG);
}

void uplink_say(struct lan *lan, uint8_t from, uint8_t to, int tag)
{
    uint8_t frame[64];
    struct vio_seg seg = { frame, sizeof frame };
    struct vio_net_packet p = { .len = sizeof frame, .nr = 1, .seg = &seg };

    frame_make(frame, sizeof frame, to, from, tag, from);
    uplink_receive(lan, &p, 1);
}

static bool listened(struct ear *ear)
{
    bool any = ear->frames > 0;

    must(!ear->unsound, "a frame keeps what vio/net.h promises");
    ear->frames = ear->calls = ear->flushes = 0;
    return any;
}

unsigned heard(struct lan *lan)
{
    unsigned mask = listened(&lan->up.ear) ? LAN_UPLINK : 0;

    for (unsigned i = 0; i < lan->n; i++) {
        must(!lan->port[i].ear.unflushed, "what was delivered was flushed");
        mask |= listened(&lan->port[i].ear) ? 1u << i : 0;
    }
    return mask;
}

struct wanted {
    const char *name;
    uint64_t value;
};

static void look(void *ctx, const char *name, uint64_t value)
{
    struct wanted *w = ctx;

    if (!strcmp(name, w->name))
        w->value = value;
}

uint64_t counter(struct lan_port *port, const char *name)
{
    struct wanted w = { name, UINT64_MAX };

    port->b->ops->counters(port->b, look, &w);
    return w.value;
}

int tag_of(const struct kept *k)
{
    return k->head[12] == 0x81 && k->head[13] == 0 ? (k->head[14] & 0xf) << 8 | k->head[15] : NO_TAG;
}
