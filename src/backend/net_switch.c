/* SPDX-License-Identifier: MIT */
/*
 * Purpose: an L2 learning switch whose ports are backends of devices: making it and its ports, their start and stop,
 * counters.
 * Where it sits: backend/. Threads: making, ending and info are the control thread's; start, stop, send, poll, arm and
 * offloads the one thread's that serves all ports; counters may be read by any. See net_switch.h for what each has.
 * Trust: see net_switch.h. What a guest can make us hold is fixed when the switch is made: one table, nothing per frame.
 */
#include "backend/net_switch.h"
#include "backend/net_offload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum {
    CACHE_LINE = 64,
    CUT_ROOM = VIO_NET_FRAME_MAX + 256, /* as vio_net_segment() wants it */
};
_Static_assert(sizeof(struct net_table_entry) * NET_TABLE_WAYS == CACHE_LINE, "a bucket is a cache line");

/* ------------------------------------------------------------------ the switch */

static uint32_t coarse_seconds(void *ctx)
{
    struct timespec t;

    (void)ctx;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint32_t)t.tv_sec;
}

int vio_net_switch_create(const struct vio_log *log, struct vio_net_switch **out)
{
    size_t size = (sizeof(struct vio_net_switch) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    struct vio_net_switch *sw = aligned_alloc(CACHE_LINE, size);

    if (!sw)
        return -ENOMEM;
    memset(sw, 0, size);
    if (getrandom(sw->table.seed, sizeof sw->table.seed, 0) != (ssize_t)sizeof sw->table.seed) {
        int ret = errno ? -errno : -EIO;

        vio_log(log, VIO_LOG_ERROR, "switch", "the kernel gives no random numbers: %s", strerror(-ret));
        free(sw);
        return ret;
    }
    sw->clock = coarse_seconds;
    sw->log = log;
    sw->refs = 1;
    *out = sw;
    return 0;
}

void net_switch_set_clock(struct vio_net_switch *sw, uint32_t (*clock)(void *ctx), void *ctx)
{
    sw->clock = clock;
    sw->clock_ctx = ctx;
}

void vio_net_switch_release(struct vio_net_switch *sw)
{
    if (!sw || --sw->refs > 0)
        return;
    net_switch_uplink_free(net_switch_uplink(sw));
    free(sw);
}

/* ------------------------------------------------------------------ the uplink, made */

static int uplink_make(struct vio_net_backend *backend, struct net_switch_uplink **out)
{
    struct net_switch_uplink *up = calloc(1, sizeof *up);

    if (!up)
        return -ENOMEM;
    up->end.slot = NET_SWITCH_UPLINK;
    up->fd = -1;
    up->nudge_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (up->nudge_fd < 0) {
        int ret = -errno;

        net_switch_uplink_free(up);
        return ret;
    }
    backend->ops->info(backend, &up->info);
    if (!(up->info.takes & VIO_NET_CSUM))
        up->info.takes = 0; /* all others need it */
    if ((up->info.takes & VIO_NET_OFFLOADS) != VIO_NET_OFFLOADS) {
        up->frame = malloc(VIO_NET_FRAME_MAX);
        up->room = malloc(CUT_ROOM);
        if (!up->frame || !up->room) {
            net_switch_uplink_free(up);
            return -ENOMEM;
        }
    }
    up->backend = backend; /* last: free() closes it */
    *out = up;
    return 0;
}

int vio_net_switch_uplink(struct vio_net_switch *sw, struct vio_net_backend *uplink)
{
    struct net_switch_uplink *up;
    int ret;

    if (net_switch_uplink(sw)) {
        vio_log(sw->log, VIO_LOG_ERROR, "switch", "the switch has an uplink (%s), and can have only one: give %s to another "
                "switch, or to a device of its own", net_switch_uplink(sw)->backend->ops->name, uplink->ops->name);
        return -EBUSY;
    }
    ret = uplink_make(uplink, &up);
    if (ret < 0) {
        vio_log(sw->log, VIO_LOG_ERROR, "switch", "the uplink (%s) cannot be added: %s", uplink->ops->name, strerror(-ret));
        return ret;
    }
    /* Where ports run already, the next one that starts starts it. */
    atomic_store_explicit(&sw->uplink, up, memory_order_release);
    return 0;
}

/* ------------------------------------------------------------------ ports: the control thread */

static void port_info(struct vio_net_backend *b, struct vio_net_info *info)
{
    struct net_switch_port *port = (struct net_switch_port *)b;
    const struct net_switch_uplink *up = net_switch_uplink(port->sw);

    /* Frames go from guest to guest as they are; for the uplink the switch does what it does not take. */
    *info = (struct vio_net_info){
        .takes = VIO_NET_OFFLOADS,
        .gives = VIO_NET_OFFLOADS,
        .mtu = up ? up->info.mtu : 0,
        .has_mac = port->end.fixed,
        .mac_fixed = port->end.fixed,
    };
    memcpy(info->mac, port->end.mac, sizeof info->mac);
}

static void port_destroy(struct vio_net_backend *b)
{
    struct net_switch_port *port = (struct net_switch_port *)b;
    struct vio_net_switch *sw = port->sw;

    net_pins_clear(&sw->pins, port->end.slot);
    sw->given[port->end.slot] = false;
    close(port->epoll_fd);
    free(port);
    vio_net_switch_release(sw);
}

/* Those of a port, then those of the uplink as seen from the switch, then what the uplink itself counts. */
struct lines {
    void (*line)(void *ctx, const char *name, uint64_t value);
    void *ctx;
    const char *prefix;
};

static void prefixed(void *ctx, const char *name, uint64_t value)
{
    const struct lines *l = ctx;
    char full[96];

    snprintf(full, sizeof full, "uplink_%s%s%s", l->prefix, *l->prefix ? "_" : "", name);
    l->line(l->ctx, full, value);
}

static void end_counters(const struct net_switch_end *end, void (*line)(void *ctx, const char *name, uint64_t value),
                         void *ctx)
{
    static const char *const names[NET_SWITCH_COUNTS] = {
        [NET_SWITCH_IN_FRAMES] = "in_frames",
        [NET_SWITCH_IN_BYTES] = "in_bytes",
        [NET_SWITCH_OUT_FRAMES] = "out_frames",
        [NET_SWITCH_OUT_BYTES] = "out_bytes",
        [NET_SWITCH_FLOODED] = "flooded",
        [NET_SWITCH_MOVES] = "moves",
        [NET_SWITCH_NO_ROOM] = "dropped_no_room",
        [NET_SWITCH_ISOLATION] = "dropped_isolation",
        [NET_SWITCH_VLAN] = "dropped_vlan",
        [NET_SWITCH_SHORT] = "dropped_short",
        [NET_SWITCH_SPOOFED] = "dropped_spoofed",
        [NET_SWITCH_OFFLOAD] = "dropped_offload",
    };

    for (unsigned i = 0; i < NET_SWITCH_COUNTS; i++)
        line(ctx, names[i], atomic_load_explicit(&end->count[i], memory_order_relaxed));
}

static void port_counters(struct vio_net_backend *b, void (*line)(void *ctx, const char *name, uint64_t value), void *ctx)
{
    struct net_switch_port *port = (struct net_switch_port *)b;
    const struct net_switch_uplink *up = net_switch_uplink(port->sw);
    struct lines l = { .line = line, .ctx = ctx, .prefix = "" };

    end_counters(&port->end, line, ctx);
    if (!up)
        return;
    end_counters(&up->end, prefixed, &l);
    if (up->backend->ops->counters) {
        l.prefix = up->backend->ops->name;
        up->backend->ops->counters(up->backend, prefixed, &l);
    }
}

/* ------------------------------------------------------------------ ports: the owner */

static void unlist(struct net_switch_port *port)
{
    struct vio_net_switch *sw = port->sw;

    sw->live[port->end.slot] = NULL;
    sw->started[port->at] = sw->started[--sw->nr_started];
    sw->started[port->at]->at = port->at;
}

static int port_start(struct vio_net_backend *b, const struct vio_net_sink *sink)
{
    struct net_switch_port *port = (struct net_switch_port *)b;
    struct vio_net_switch *sw = port->sw;
    int ret;

    port->sink = *sink;
    /* Until its device polls, nobody knows that it ever will: it may run no receive queue. */
    port->asleep = port->starved = true;
    port->at = sw->nr_started;
    sw->started[sw->nr_started++] = port;
    sw->live[port->end.slot] = port;
    ret = net_switch_uplink_join(port);
    if (ret < 0) {
        unlist(port);
        return ret;
    }
    net_switch_uplink_offloads(sw);
    return 0;
}

static void port_stop(struct vio_net_backend *b)
{
    struct net_switch_port *port = (struct net_switch_port *)b;

    net_switch_flush(port->sw);
    unlist(port);
    net_table_forget(&port->sw->table, port->end.slot);
    net_switch_uplink_leave(port);
    net_switch_uplink_offloads(port->sw);
}

static void port_offloads(struct vio_net_backend *b, unsigned guest)
{
    struct net_switch_port *port = (struct net_switch_port *)b;

    port->guest = guest;
    net_switch_uplink_offloads(port->sw);
}

static unsigned port_send(struct vio_net_backend *b, const struct vio_net_packet *p, unsigned n)
{
    struct net_switch_port *port = (struct net_switch_port *)b;

    net_switch_forward(port->sw, &port->end, p, n);
    net_switch_flush(port->sw);
    return n;
}

static unsigned port_poll(struct vio_net_backend *b, unsigned budget)
{
    struct net_switch_port *port = (struct net_switch_port *)b;

    port->asleep = port->starved = false;
    return net_switch_uplink_poll(port, budget);
}

static int port_fd(struct vio_net_backend *b)
{
    return ((struct net_switch_port *)b)->epoll_fd;
}

/* blocked: never, send() takes everything. */
static bool port_arm(struct vio_net_backend *b, bool sleep, bool receive, bool blocked)
{
    struct net_switch_port *port = (struct net_switch_port *)b;

    (void)blocked;
    port->asleep = sleep;
    port->starved = sleep && !receive;
    return net_switch_uplink_arm(port, receive);
}

static const struct vio_net_ops port_ops = {
    .name = "switch",
    .info = port_info,
    .destroy = port_destroy,
    .start = port_start,
    .stop = port_stop,
    .offloads = port_offloads,
    .send = port_send,
    .poll = port_poll,
    .fd = port_fd,
    .arm = port_arm,
    .counters = port_counters,
};

/* ------------------------------------------------------------------ ports, made */

static const char *name_of(const struct vio_net_port_params *params)
{
    return params->name ? params->name : "port";
}

static int port_refused(const struct vio_net_switch *sw, const struct vio_net_port_params *params, uint16_t *slot)
{
    if (params->vlan > NET_SWITCH_VLAN_MAX) {
        vio_log(sw->log, VIO_LOG_ERROR, name_of(params), "there is no VLAN %u: give the port one from 1 to %u, or 0 for a trunk",
                params->vlan, NET_SWITCH_VLAN_MAX);
        return -EINVAL;
    }
    for (*slot = 0; *slot < NET_SWITCH_PORTS_MAX; (*slot)++) {
        if (!sw->given[*slot])
            return 0;
    }
    vio_log(sw->log, VIO_LOG_ERROR, name_of(params), "the switch has %u ports, and no more: use a second switch",
            NET_SWITCH_PORTS_MAX);
    return -ENOSPC;
}

static int fix_mac(struct net_switch_port *port, const uint8_t *mac)
{
    static const uint8_t nobody[VIO_NET_MAC];
    int other;

    if (mac[0] & 1 || memcmp(mac, nobody, VIO_NET_MAC) == 0) {
        vio_log(port->sw->log, VIO_LOG_ERROR, port->name, "the port cannot be fixed to an address that is no station's");
        return -EINVAL;
    }
    other = net_pins_set(&port->sw->pins, port->end.slot, net_table_key(port->end.vlan, mac));
    if (other >= 0) {
        vio_log(port->sw->log, VIO_LOG_ERROR, port->name, "the address %02x:%02x:%02x:%02x:%02x:%02x is fixed to another port of "
                "the switch (%d): give this one another", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], other);
        return -EEXIST;
    }
    port->end.fixed = true;
    memcpy(port->end.mac, mac, VIO_NET_MAC);
    return 0;
}

int vio_net_switch_port(struct vio_net_switch *sw, const struct vio_net_port_params *params, struct vio_net_backend **out)
{
    struct net_switch_port *port;
    uint16_t slot;
    int ret = port_refused(sw, params, &slot);

    if (ret < 0)
        return ret;
    port = calloc(1, sizeof *port);
    if (!port)
        return -ENOMEM;
    port->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (port->epoll_fd < 0) {
        ret = -errno;
        vio_log(sw->log, VIO_LOG_ERROR, name_of(params), "the port cannot be made: %s", strerror(-ret));
        free(port);
        return ret;
    }
    port->head.ops = &port_ops;
    port->sw = sw;
    port->end.slot = slot;
    port->end.vlan = params->vlan;
    port->end.isolated = params->isolated;
    snprintf(port->name, sizeof port->name, "%s", name_of(params));
    ret = params->fixed_mac ? fix_mac(port, params->fixed_mac) : 0;
    if (ret < 0) {
        close(port->epoll_fd);
        free(port);
        return ret;
    }
    sw->given[slot] = true;
    sw->refs++;
    *out = &port->head;
    return 0;
}
