/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a network card: what it is, and a host on it that answers pings for as long as it is asked to. Where it sits: over
 * vio/drv_net.h; answer.c says what goes back.
 * Threads: one. Trust: frames come from an enemy; answer.c is where they are checked.
 *
 * arguments: serve=SECONDS, ip=ADDRESS (10.0.2.15), events=on: queues are looked at only when the device says that there is
 * something, as an interrupt's handler would
 */
#include <string.h>
#include <vio/drv_net.h>

#include "answer.h"
#include "devices.h"
#include "memory.h"
#include "say.h"

enum { CARDS = 4, BUFFERS = 96, SENDING = 32, BUFFER_BYTES = 2048, BURST = 16, SECONDS_MOST = 3600 };

/* Buffers go back to their own card's pool, also when the card goes away. */
static struct vio_net_pool *pools[CARDS];
static unsigned nr_pools;

struct card {
    struct vio_drv_net *net;
    struct vio_net_pool *pool;
    struct answer_host me;
    uint64_t answered[ANSWER_KINDS];
    uint64_t unsent;
    bool stop;
};

static struct card *serving; /* for network_used() */

static void give_back(struct vio_net_buf *buf)
{
    vio_net_pool_give(pools[buf->user], &buf, 1);
}

void network_lost(void *ctx, struct vio_drvdev *d, uint16_t queue, struct vio_net_buf *buf)
{
    (void)ctx;
    (void)d;
    (void)queue;
    give_back(buf);
}

void network_end(void)
{
    while (nr_pools > 0)
        vio_net_pool_destroy(pools[--nr_pools]);
}

static bool make_pool(struct card *c)
{
    if (nr_pools == CARDS || vio_net_pool_create(memory_platform(), BUFFERS, BUFFER_BYTES, &c->pool) != 0)
        return false;
    for (uint32_t i = 0; i < BUFFERS; i++)
        vio_net_pool_at(c->pool, i)->user = nr_pools;
    pools[nr_pools++] = c->pool;
    return true;
}

/* ------------------------------------------------------------------ frames */

static void reclaim(struct card *c)
{
    struct vio_net_buf *done[BURST];
    unsigned n = vio_drv_net_send_done(c->net, 0, done, BURST);

    vio_net_pool_give(c->pool, done, n);
}

/* Buffers to receive into: all but some that are kept for sending. */
static void refill(struct card *c)
{
    struct vio_net_buf *buf;

    while (vio_net_pool_free(c->pool) > SENDING && vio_drv_net_give_room(c->net, 0) > 0 &&
           vio_net_pool_take(c->pool, &buf, 1)) {
        if (vio_drv_net_give(c->net, 0, &buf, 1) == 0) {
            give_back(buf);
            return;
        }
    }
}

static void send(struct card *c, const uint8_t *frame, uint32_t len)
{
    struct vio_net_buf *buf;

    reclaim(c);
    if (!vio_net_pool_take(c->pool, &buf, 1)) {
        c->unsent++;
        return;
    }
    memcpy(vio_net_buf_data(buf), frame, len);
    buf->len = len;
    if (vio_drv_net_send(c->net, 0, &buf, 1) == 0) {
        c->unsent++;
        give_back(buf);
    }
}

/* A frame in one piece; 0: it is longer than any that is answered. */
static uint32_t in_one_piece(const struct vio_net_buf *frame, uint8_t to[ANSWER_FRAME_MOST])
{
    uint32_t len = 0;

    for (; frame != NULL; frame = frame->next) {
        if (frame->len > ANSWER_FRAME_MOST - len)
            return 0;
        memcpy(to + len, vio_net_buf_data(frame), frame->len);
        len += frame->len;
    }
    return len;
}

static enum answer_kind take(struct card *c, const struct vio_net_buf *frame)
{
    uint8_t in[ANSWER_FRAME_MOST], out[ANSWER_FRAME_MOST];
    uint32_t len = frame->pieces != 0 ? in_one_piece(frame, in) : 0, out_len = 0;
    enum answer_kind kind = answer(&c->me, in, len, out, &out_len);

    if (kind != ANSWER_NONE && kind != ANSWER_STOP)
        send(c, out, out_len);
    c->answered[kind]++;
    return kind;
}

/* False: there was none. */
static bool take_burst(struct card *c)
{
    struct vio_net_buf *frames[BURST];
    unsigned n = vio_drv_net_receive(c->net, 0, frames, BURST);

    for (unsigned i = 0; i < n; i++)
        c->stop = take(c, frames[i]) == ANSWER_STOP || c->stop;
    vio_net_pool_give(c->pool, frames, n);
    reclaim(c);
    refill(c);
    return n > 0;
}

void network_used(void *ctx, struct vio_drvdev *d, uint16_t queue)
{
    (void)ctx;
    (void)d;
    if (serving == NULL)
        return;
    if (queue != 0)
        reclaim(serving);
    else
        while (take_burst(serving))
            ;
}

/* ------------------------------------------------------------------ the card */

/* "10.0.2.15" */
static bool parse_ip(const char *text, uint8_t ip[4])
{
    for (unsigned i = 0; i < 4; i++) {
        unsigned n = 0, digits = 0;

        for (; *text >= '0' && *text <= '9' && digits < 4; text++, digits++)
            n = n * 10 + (unsigned)(*text - '0');
        if (digits == 0 || n > 255 || *text != (i < 3 ? '.' : '\0'))
            return false;
        ip[i] = (uint8_t)n;
        text++;
    }
    return true;
}

/* With interrupts this would be: by_events' part in their handler, and here the CPU's instruction that waits for one. */
static void serve_until(struct vio_drvdev *d, struct card *c, uint64_t end, bool by_events)
{
    while (!c->stop && machine_now_ns() < end && vio_drvdev_status(d) == VIO_DRVDEV_RUNS) {
        if (by_events ? vio_drvdev_interrupt(d) : take_burst(c))
            continue;
        machine_pause();
    }
}

static void serve(struct vio_drvdev *d, struct card *c, uint32_t seconds, bool by_events)
{
    const char *name = vio_drvdev_name(d);

    refill(c);
    say(name, "answers as %u.%u.%u.%u for %u s, or until \"stop\" comes to UDP port 9%s", c->me.ip[0], c->me.ip[1], c->me.ip[2],
        c->me.ip[3], seconds, by_events ? "; by events" : "");
    serving = c;
    serve_until(d, c, machine_now_ns() + seconds * UINT64_C(1000000000), by_events);
    serving = NULL;
    say(name, "answered %llu ARP, %llu pings, %llu neighbours, %llu IPv6 pings; not answered: %llu; not sent: %llu%s",
        (unsigned long long)c->answered[ANSWER_ARP], (unsigned long long)c->answered[ANSWER_PING],
        (unsigned long long)c->answered[ANSWER_NEIGHBOUR], (unsigned long long)c->answered[ANSWER_PING6],
        (unsigned long long)c->answered[ANSWER_NONE], (unsigned long long)c->unsent, c->stop ? "; stopped" : "");
    if (vio_drvdev_status(d) != VIO_DRVDEV_RUNS)
        problem(name, "%s", vio_drvdev_why(d));
}

void use_network(struct vio_drvdev *d, const char *arguments)
{
    struct card c = { .net = vio_drv_net_of(d), .me.ip = { 10, 0, 2, 15 } };
    struct vio_drv_net_info info = vio_drv_net_info(c.net);
    const char *name = vio_drvdev_name(d);
    char word[24];

    say(name, "MAC %02x:%02x:%02x:%02x:%02x:%02x%s, link %s, MTU %u%s", info.mac[0], info.mac[1], info.mac[2], info.mac[3],
        info.mac[4], info.mac[5], info.mac_known ? "" : " (not told)", info.link_up ? "up" : "down", info.mtu,
        info.mtu != 0 ? "" : " (not told)");
    if (text_word(arguments, "ip", word, sizeof(word)) && !parse_ip(word, c.me.ip)) {
        problem(name, "ip=%s is no address", word);
        return;
    }
    if (!text_word(arguments, "serve", word, sizeof(word)))
        return;
    if (!make_pool(&c)) {
        problem(name, "no memory for %u buffers", (unsigned)BUFFERS);
        return;
    }
    memcpy(c.me.mac, info.mac, sizeof(c.me.mac));
    answer_link_local(c.me.ip6, c.me.mac);
    serve(d, &c, text_number(word, SECONDS_MOST, 1), text_on(arguments, "events"));
}
