/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the switch's uplink. It runs while a port runs, and one of them, its carrier, polls it and wakes for it: the
 * carrier's descriptor is an epoll that holds the uplink's. When the carrier stops, has no buffers left, or is not
 * served while others are, another port carries on.
 * Where it sits: backend/, the switch's. Threads: the owner of all ports, but for net_switch_uplink_free().
 * Trust: a guest that takes nothing from its queues must not keep the uplink from the others. Offloads that the uplink
 * does not take are done on a private copy of the frame.
 */
#include "backend/net_switch.h"
#include "backend/net_offload.h"
#include "spec/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* How often each port is polled, on average, while the carrier is not, before another takes over. */
enum { CARRIER_MISSED = 64 };

/* ------------------------------------------------------------------ from the uplink */

static unsigned uplink_deliver(void *ctx, const struct vio_net_packet *p, unsigned n)
{
    struct vio_net_switch *sw = ctx;

    net_switch_forward(sw, &net_switch_uplink(sw)->end, p, n);
    return n;
}

static void uplink_flush(void *ctx)
{
    net_switch_flush(ctx);
}

/* ------------------------------------------------------------------ who carries it */

static bool arm(struct net_switch_uplink *up, bool sleep, bool receive)
{
    const struct vio_net_ops *ops = up->backend->ops;

    up->armed = sleep;
    return ops->arm && ops->arm(up->backend, sleep, receive, false);
}

static void nudge(struct net_switch_uplink *up, bool on)
{
    uint64_t one = 1;

    if (up->nudged == on)
        return;
    up->nudged = on;
    /* Neither can fail: the counter is 0 or 1. */
    if (on)
        (void)!write(up->nudge_fd, &one, sizeof one);
    else
        (void)!read(up->nudge_fd, &one, sizeof one);
}

static int watch(const struct net_switch_port *port, int fd)
{
    struct epoll_event event = { .events = EPOLLIN };

    return epoll_ctl(port->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static void put_down(struct net_switch_uplink *up)
{
    if (!up->carrier)
        return;
    nudge(up, false);
    (void)epoll_ctl(up->carrier->epoll_fd, EPOLL_CTL_DEL, up->nudge_fd, NULL);
    if (up->fd >= 0)
        (void)epoll_ctl(up->carrier->epoll_fd, EPOLL_CTL_DEL, up->fd, NULL);
    up->carrier = NULL;
}

static int take_up(struct net_switch_uplink *up, struct net_switch_port *port)
{
    int ret = watch(port, up->nudge_fd);

    if (ret == 0 && up->fd >= 0) {
        ret = watch(port, up->fd);
        if (ret < 0)
            (void)epoll_ctl(port->epoll_fd, EPOLL_CTL_DEL, up->nudge_fd, NULL);
    }
    if (ret == 0)
        up->carrier = port;
    up->others_polled = 0;
    return ret;
}

/* Another port carries on. It may be asleep: then the uplink is told so, and what has come meanwhile wakes it. */
static void carry(struct net_switch_uplink *up, struct net_switch_port *to)
{
    int ret;

    put_down(up);
    if (up->armed)
        (void)arm(up, false, true);
    ret = take_up(up, to);
    if (ret < 0) {
        /* Without a carrier the next poll() or arm() of any port tries again. */
        vio_log(to->sw->log, VIO_LOG_ERROR, to->name, "the switch cannot wait for its uplink here: %s", strerror(-ret));
        return;
    }
    if (to->asleep && arm(up, true, !to->starved))
        nudge(up, true);
}

/* A started port but this one that can take frames; NULL: none. */
static struct net_switch_port *willing(const struct net_switch_port *but)
{
    for (unsigned i = 0; i < but->sw->nr_started; i++) {
        struct net_switch_port *port = but->sw->started[i];

        if (port != but && !port->starved)
            return port;
    }
    return NULL;
}

unsigned net_switch_uplink_poll(struct net_switch_port *port, unsigned budget)
{
    struct net_switch_uplink *up = net_switch_running(port->sw);

    if (!up)
        return 0;
    if (up->carrier != port) {
        up->others_polled++;
        if (up->carrier && !up->carrier->starved && up->others_polled <= CARRIER_MISSED * port->sw->nr_started)
            return 0;
        carry(up, port);
        if (up->carrier != port)
            return 0;
    }
    up->others_polled = 0;
    nudge(up, false);
    return up->backend->ops->poll(up->backend, budget);
}

bool net_switch_uplink_arm(struct net_switch_port *port, bool receive)
{
    struct net_switch_uplink *up = net_switch_running(port->sw);
    struct net_switch_port *other;

    if (!up)
        return false;
    if (up->carrier != port) {
        if (up->carrier && !(port->asleep && receive && up->carrier->starved))
            return false;
        carry(up, port);
        return up->nudged && up->carrier == port;
    }
    other = port->starved ? willing(port) : NULL;
    if (other) {
        carry(up, other);
        return false;
    }
    return arm(up, port->asleep, receive);
}

/* ------------------------------------------------------------------ its life */

void net_switch_uplink_offloads(struct vio_net_switch *sw)
{
    struct net_switch_uplink *up = net_switch_running(sw);
    unsigned guest = 0;

    if (!up || !up->backend->ops->offloads)
        return;
    /* All that any driver accepts: the other ports' devices do for their drivers what those cannot. */
    for (unsigned i = 0; i < sw->nr_started; i++)
        guest |= sw->started[i]->guest;
    guest &= up->info.gives;
    if (guest == up->guest)
        return;
    up->guest = guest;
    up->backend->ops->offloads(up->backend, guest);
}

static void uplink_stop(struct net_switch_uplink *up)
{
    put_down(up);
    if (up->armed)
        (void)arm(up, false, true);
    up->running = false;
    up->backend->ops->stop(up->backend);
}

int net_switch_uplink_join(struct net_switch_port *port)
{
    struct vio_net_switch *sw = port->sw;
    struct net_switch_uplink *up = net_switch_uplink(sw);
    struct vio_net_sink sink = { .deliver = uplink_deliver, .flush = uplink_flush, .ctx = sw };
    int ret;

    if (!up || up->running)
        return 0;
    up->sink = sink;
    ret = up->backend->ops->start(up->backend, &up->sink);
    if (ret < 0)
        return ret;
    up->running = true;
    up->guest = VIO_NET_OFFLOADS + 1; /* unlike any: the next call tells */
    up->fd = up->backend->ops->fd(up->backend);
    ret = take_up(up, port);
    if (ret < 0) {
        vio_log(sw->log, VIO_LOG_ERROR, port->name, "the switch cannot wait for its uplink: %s", strerror(-ret));
        uplink_stop(up);
    }
    return ret;
}

void net_switch_uplink_leave(struct net_switch_port *port)
{
    struct vio_net_switch *sw = port->sw;
    struct net_switch_uplink *up = net_switch_running(sw);
    struct net_switch_port *other;

    if (!up)
        return;
    if (sw->nr_started == 0) {
        uplink_stop(up);
        net_table_forget(&sw->table, NET_SWITCH_UPLINK);
    } else if (up->carrier == port) {
        other = willing(port);
        carry(up, other ? other : sw->started[0]);
    }
}

void net_switch_uplink_free(struct net_switch_uplink *up)
{
    if (!up)
        return;
    vio_net_close(up->backend);
    if (up->nudge_fd >= 0)
        close(up->nudge_fd);
    free(up->frame);
    free(up->room);
    free(up);
}

/* ------------------------------------------------------------------ to the uplink */

static unsigned pass(struct net_switch_uplink *up, const struct vio_net_packet *p, unsigned n)
{
    unsigned done = up->backend->ops->send(up->backend, p, n);
    uint64_t bytes = 0;

    for (unsigned i = 0; i < done; i++)
        bytes += p[i].len;
    net_switch_count(&up->end, NET_SWITCH_OUT_FRAMES, done);
    net_switch_count(&up->end, NET_SWITCH_OUT_BYTES, bytes);
    /* Dropped, as a full port of any switch does: to wait would stop what goes elsewhere. */
    if (done < n)
        net_switch_count(&up->end, NET_SWITCH_NO_ROOM, n - done);
    return done;
}

static bool pass_cut(void *ctx, const struct vio_net_hdr *hdr, const uint8_t *frame, uint32_t len)
{
    struct net_switch_uplink *up = ctx;
    struct vio_seg seg = { (void *)(uintptr_t)frame, len };
    struct vio_net_packet p = { .hdr = *hdr, .len = len, .nr = 1, .seg = &seg };

    up->cuts++;
    return pass(up, &p, 1) == 1;
}

/* One that needs what the uplink does not take. */
static void pass_done_here(struct net_switch_uplink *up, struct net_switch_end *from, const struct vio_net_packet *p)
{
    struct vio_net_hdr hdr = p->hdr;
    bool good = up->frame && p->len <= VIO_NET_FRAME_MAX && up->cuts < NET_SWITCH_CUTS_MAX;

    if (good) {
        vio_net_packet_copy(p, up->frame);
        if (hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE)
            good = vio_net_segment(&hdr, up->frame, p->len, up->info.takes, up->room, pass_cut, up) >= 0;
        else if (vio_net_finish_csum(&hdr, up->frame, p->len))
            pass_cut(up, &hdr, up->frame, p->len);
        else
            good = false;
    }
    if (!good)
        net_switch_count(from, NET_SWITCH_OFFLOAD, 1);
}

void net_switch_uplink_send(struct net_switch_uplink *up, struct net_switch_end *from, const struct vio_net_packet *p,
                            unsigned n)
{
    unsigned i = 0, start;

    up->cuts = 0;
    while (i < n) {
        for (start = i; i < n && (vio_net_needs(&p[i].hdr) & ~up->info.takes) == 0; i++)
            ;
        if (i > start)
            pass(up, p + start, i - start);
        if (i < n)
            pass_done_here(up, from, &p[i++]);
    }
}
