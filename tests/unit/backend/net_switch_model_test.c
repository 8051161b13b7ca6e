/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the switch against a model of itself that is as simple as can be: a list of who was heard where and when, and
 * for each frame who must have it and how it must look. Random networks, bursts, starts, stops and pauses, by seed.
 * Where it sits: tests/unit/backend.
 */
#include "net_switch_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "backend/net_switch.h"

enum { STATIONS = 12, VLANS = 4, STEPS = 4000, SEEDS = 20, BURST_MAX = 12, LEN_MAX = 100, UPLINK = LAN_PORTS };

struct expected {
    unsigned n;
    uint32_t len[BURST_MAX];
    uint8_t frame[BURST_MAX][LEN_MAX + 4];
    uint16_t csum_start[BURST_MAX];
};

struct model {
    struct lan lan;
    uint64_t random;
    /* ends are numbered: ports, then the uplink */
    uint16_t vlan[LAN_PORTS + 1];
    bool isolated[LAN_PORTS + 1], up[LAN_PORTS + 1];
    int where[VLANS][STATIONS]; /* which end; -1: never heard */
    uint32_t when[VLANS][STATIONS];
    struct expected expected[LAN_PORTS + 1];
};

static unsigned pick(struct model *m, unsigned n)
{
    m->random = m->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(m->random >> 33) % n;
}

static bool apart(const struct model *m, unsigned a, unsigned b)
{
    return m->isolated[a] && m->isolated[b];
}

static void expect(struct model *m, unsigned end, uint16_t vlan, int tag, const uint8_t *frame, uint32_t len, uint16_t csum)
{
    struct expected *e = &m->expected[end];
    uint8_t *out = e->frame[e->n];
    uint32_t at = 12;

    memcpy(out, frame, 12);
    if (m->vlan[end] == 0 && (vlan != 0 || tag != NO_TAG)) {
        out[at++] = 0x81;
        out[at++] = 0;
        out[at++] = (uint8_t)((tag == NO_TAG ? vlan : tag) >> 8);
        out[at++] = (uint8_t)(tag == NO_TAG ? vlan : tag);
    }
    frame += tag == NO_TAG ? 12 : 16;
    len -= tag == NO_TAG ? 12 : 16;
    memcpy(out + at, frame, len);
    e->csum_start[e->n] = (uint16_t)(csum + at - (tag == NO_TAG ? 12 : 16));
    e->len[e->n++] = at + len;
}

/* What a frame does to the model. */
static void model_frame(struct model *m, unsigned from, uint8_t dst, uint8_t src, int tag, const uint8_t *frame, uint32_t len,
                        uint16_t csum)
{
    uint16_t vlan = m->vlan[from];
    int to = -1;

    if (tag != NO_TAG && vlan != 0)
        return;
    if (tag != NO_TAG)
        vlan = (uint16_t)(tag & 0xfff);
    if (dst < STATIONS && m->where[vlan][dst] >= 0 && m->lan.now - m->when[vlan][dst] < NET_TABLE_AGE)
        to = m->where[vlan][dst];
    if (to >= 0 && to != (int)from && apart(m, from, (unsigned)to))
        return;
    m->where[vlan][src] = (int)from;
    m->when[vlan][src] = m->lan.now;
    if (to == (int)from || dst == src)
        return;
    for (unsigned end = 0; end <= UPLINK; end++) {
        bool reached = to >= 0 ? (int)end == to : !apart(m, from, end) && (m->vlan[end] == 0 || m->vlan[end] == vlan);

        if (end != from && m->up[end] && reached)
            expect(m, end, vlan, tag, frame, len, csum);
    }
}

static void compare(struct model *m, unsigned end)
{
    const struct ear *ear = end == UPLINK ? &m->lan.up.ear : &m->lan.port[end].ear;
    struct expected *e = &m->expected[end];

    assert_int_equal(ear->frames, e->n);
    for (unsigned i = 0; i < e->n; i++) {
        assert_int_equal(ear->kept[i].len, e->len[i]);
        assert_int_equal(ear->kept[i].hdr.csum_start, e->csum_start[i]);
        assert_memory_equal(ear->kept[i].head, e->frame[i], e->len[i]);
    }
    e->n = 0;
}

static int pick_tag(struct model *m, unsigned from)
{
    if (pick(m, 8) < (m->vlan[from] ? 7u : 2u))
        return NO_TAG;
    return (int)(pick(m, 8) << 13 | pick(m, VLANS));
}

static void step_send(struct model *m)
{
    static uint8_t frame[BURST_MAX][LEN_MAX];
    struct vio_seg seg[BURST_MAX][3];
    struct vio_net_packet p[BURST_MAX];
    unsigned from = pick(m, m->lan.n + 1), n = 1 + pick(m, BURST_MAX);
    uint8_t src = (uint8_t)pick(m, STATIONS), dst = (uint8_t)pick(m, STATIONS);

    from = from == m->lan.n ? UPLINK : from;
    if (!m->up[from])
        return;
    for (unsigned i = 0; i < n; i++) {
        uint32_t len = 40 + pick(m, LEN_MAX - 40), cut = 1 + pick(m, 30);
        uint16_t csum = (uint16_t)(18 + pick(m, 10));
        int tag = pick_tag(m, from);

        if (pick(m, 3) == 0)
            src = (uint8_t)pick(m, STATIONS);
        if (pick(m, 3) == 0)
            dst = (uint8_t)(pick(m, 5) ? pick(m, STATIONS + 1) : ALL_HEAR);
        frame_make(frame[i], len, dst, src, tag, (uint8_t)pick(m, 256));
        seg[i][0] = (struct vio_seg){ frame[i], cut };
        seg[i][1] = (struct vio_seg){ frame[i] + cut, 3 };
        seg[i][2] = (struct vio_seg){ frame[i] + cut + 3, len - cut - 3 };
        p[i] = (struct vio_net_packet){ .hdr = { .flags = 1, .csum_start = csum, .csum_offset = 2 }, .len = len, .nr = 3,
                                        .seg = seg[i] };
        model_frame(m, from, dst, src, tag, frame[i], len, csum);
    }
    if (from == UPLINK)
        uplink_receive(&m->lan, p, n);
    else
        assert_int_equal(m->lan.port[from].b->ops->send(m->lan.port[from].b, p, n), n);
}

/* A port stops or starts; the uplink with the last and the first. */
static void step_toggle(struct model *m)
{
    unsigned end = pick(m, m->lan.n), any = 0;

    if (m->up[end])
        lan_stop(&m->lan.port[end]);
    else
        lan_start(&m->lan.port[end]);
    m->up[end] = !m->up[end];
    for (unsigned i = 0; i < m->lan.n; i++)
        any |= m->up[i];
    m->up[UPLINK] = any && m->lan.up.head.ops;
    for (unsigned i = 0; i < VLANS * STATIONS; i++) {
        int *where = &m->where[i / STATIONS][i % STATIONS];

        if (*where >= 0 && !m->up[*where])
            *where = -1;
    }
}

static void run(uint64_t seed)
{
    static struct model model;
    struct model *m = &model;

    memset(m, 0, sizeof *m);
    m->random = seed;
    memset(m->where, 0xff, sizeof m->where);
    lan_open(&m->lan, seed % 4 ? VIO_NET_OFFLOADS : -1);
    for (unsigned n = 2 + pick(m, LAN_PORTS - 1); m->lan.n < n;) {
        unsigned i = m->lan.n;

        m->vlan[i] = (uint16_t)(pick(m, 2) ? 0 : pick(m, VLANS));
        m->isolated[i] = pick(m, 3) == 0;
        m->up[i] = true;
        lan_port(&m->lan, m->vlan[i], m->isolated[i]);
    }
    m->up[UPLINK] = m->lan.up.head.ops != NULL;
    for (unsigned i = 0; i < STEPS; i++) {
        if (pick(m, 50) == 0)
            step_toggle(m);
        if (pick(m, 50) == 0)
            m->lan.now += pick(m, 200);
        step_send(m);
        for (unsigned end = 0; end <= UPLINK; end++)
            compare(m, end);
        heard(&m->lan);
    }
    lan_close(&m->lan);
}

static void it_does_what_the_model_does(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        print_message("seed %u\n", (unsigned)seed);
        run(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_does_what_the_model_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
