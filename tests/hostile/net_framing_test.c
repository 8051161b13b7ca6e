/* SPDX-License-Identifier: MIT */
/*
 * Purpose: odd framings and headers of a hostile driver's that break no ring of a network device: each ends in the packet or
 * in a counted drop, and a service call does no more than it was told. In both formats, with and without MRG_RXBUF, on
 * the express way and beside it.
 */
#include <stdio.h>
#include <string.h>

#include "net_victim.h"

static unsigned lines_with(const struct rig *rig, const char *words)
{
    unsigned n = 0;

    for (unsigned i = 0; i < rig->lines && i < RIG_LINES; i++)
        n += strstr(rig->line[i], words) != NULL;
    return n;
}

static struct vio_net_counters counters(const struct victim *v)
{
    struct vio_net_counters c;

    vio_net_counters(v->rig.dev, &c);
    return c;
}

/* What was made available as one buffer (or `buffers`) is a packet of `len` bytes, or dropped for this reason. */
static void sends(struct victim *v, const char *what, unsigned packets, uint32_t len, int bad)
{
    struct vio_net_counters c = counters(v), after;
    unsigned buffers = v->packed ? victim_used(v) : v->avail;

    rig_serve(&v->rig, TX);
    after = counters(v);
    if (v->tape.sent != packets || (packets > 0 && v->tape.len != len))
        FAIL("%s: %u packets, the last of %u bytes", what, v->tape.sent, v->tape.len);
    if (packets > 0 && memcmp(v->tape.frame, v->page.host + HDR, len < 3000 ? len : 3000) != 0)
        FAIL("%s: not the bytes that were sent", what);
    CHECK(v->packed || victim_used(v) == buffers);
    CHECK(v->rig.needs_reset == 0);
    if (bad >= 0) {
        CHECK(after.tx_bad[bad] == c.tx_bad[bad] + 1);
        CHECK(v->rig.lines == 0 || lines_with(&v->rig, vio_net_bad_clause((enum vio_net_bad)bad)) >= 1);
    }
}

static void transmit_framings(struct victim *v)
{
    uint64_t page = v->page.gpa;

    victim_start(v, TX);
    for (unsigned i = 0; i < HDR + FRAME; i++)
        victim_desc(v, page + i, 1, i + 1 < HDR + FRAME ? N : 0);
    victim_offer(v, 0);
    sends(v, "byte by byte", 1, FRAME, -1);
    victim_start(v, TX);
    victim_table(v, page, 1, HDR + FRAME, 0);
    sends(v, "byte by byte in a table", 1, FRAME, -1);
    victim_start(v, TX);
    victim_table(v, page, HDR + 1012, 2, 0);
    sends(v, "header and frame in a table", 1, 2 * (HDR + 1012) - HDR, -1);
    victim_start(v, TX);
    victim_table(v, page, 1, VIO_CHAIN_INDIRECT_MAX, 0);
    sends(v, "1024 pieces", 1, VIO_CHAIN_INDIRECT_MAX - HDR, -1);
    victim_start(v, TX);
    victim_single(v, page + BUF, 2000, W);
    sends(v, "writable only", 0, 0, VIO_NET_BAD_SHORT);
    victim_start(v, TX);
    victim_desc(v, page, HDR + FRAME, N);
    victim_desc(v, page + BUF, 2000, W);
    victim_offer(v, 0);
    sends(v, "writable behind it", 1, FRAME, -1);
    for (uint32_t len = 1; len < HDR + VIO_NET_FRAME_MIN; len++) {
        victim_start(v, TX);
        victim_single(v, page, len, 0);
        sends(v, "too short", 0, 0, VIO_NET_BAD_SHORT);
    }
    victim_start(v, TX);
    victim_single(v, page, HDR + VIO_NET_FRAME_MIN, 0);
    sends(v, "the shortest", 1, VIO_NET_FRAME_MIN, -1);
    victim_start(v, TX);
    victim_single(v, page, HDR + VIO_NET_FRAME_MAX, 0);
    sends(v, "the longest", 1, VIO_NET_FRAME_MAX, -1);
    victim_start(v, TX);
    victim_single(v, page, HDR + VIO_NET_FRAME_MAX + 1, 0);
    sends(v, "too long", 0, 0, VIO_NET_BAD_LONG);
    victim_start(v, TX);
    if (!v->packed) {
        victim_desc(v, page, HDR + FRAME, 0);
        for (unsigned i = 0; i < 100; i++)
            victim_offer(v, 0);
        sends(v, "one head a hundred times", 100, FRAME, -1); /* the driver's own damage */
    }
}

/* No gso_type but those that there are, and they as negotiated. */
static void transmit_offloads(struct victim *v)
{
    for (unsigned type = 0; type < 256; type++) {
        for (unsigned flags = 0; flags < 8; flags++) {
            struct virtio_net_hdr h = { .flags = (uint8_t)flags, .gso_type = (uint8_t)type, .gso_size = vio_le16_of(100),
                                        .csum_start = vio_le16_of(34), .csum_offset = vio_le16_of(6) };

            if ((type * 8 + flags) % SIZE == 0)
                victim_start(v, TX);
            memcpy(v->page.host, &h, HDR);
            victim_single(v, v->page.gpa, HDR + FRAME, 0);
            rig_serve(&v->rig, TX); /* the tape judges */
        }
    }
    memset(v->page.host, 0, HDR);
    CHECK(v->rig.needs_reset == 0);
}

/* One service call does what its budget says. */
static void bounded(struct victim *v)
{
    for (unsigned budget = 1; budget <= 64; budget += 21) {
        unsigned done;

        victim_start(v, TX);
        for (unsigned i = 0; i < SIZE; i++)
            victim_single(v, v->page.gpa, HDR + FRAME, 0);
        done = vio_device_queue_service(v->rig.dev, TX, budget);
        CHECK(done == budget && v->tape.sent == budget);
    }
}

/* 32 buffers of n bytes, each direct or as one entry of a table, and a frame. */
static void small_buffers(struct victim *v, uint32_t n, bool indirect)
{
    struct vio_net_counters before = counters(v), after;
    uint32_t need = (HDR + FRAME + n - 1) / n;
    bool fits = v->mergeable ? need <= 32 : n >= HDR + FRAME, gone;

    victim_start(v, RX);
    for (unsigned i = 0; i < 32; i++) {
        uint64_t at = v->page.gpa + BUF + i * n, word = victim_word_of(v, n, W, 0);

        le_set64(v->page.host + TABLE + 16 * i, at);
        le_set64(v->page.host + TABLE + 16 * i + 8, word);
        if (indirect)
            victim_single(v, v->page.gpa + TABLE + 16 * i, 16, I);
        else
            victim_single(v, at, n, W);
    }
    gone = victim_deliver(v, FRAME);
    after = counters(v);
    CHECK(v->rig.needs_reset == 0);
    if (fits) {
        uint8_t want[HDR + FRAME] = { [10] = (uint8_t)(v->mergeable ? need : 1) };

        memcpy(want + HDR, v->page.host + HDR, FRAME);
        CHECK(gone && victim_used(v) == need && after.rx_packets == before.rx_packets + 1);
        CHECK(memcmp(v->page.host + BUF, want, sizeof(want)) == 0);
    } else if (v->mergeable) { /* more may come */
        CHECK(!gone && victim_used(v) == 0 && after.rx_no_buffer == before.rx_no_buffer + 1);
    } else {
        CHECK(gone && victim_used(v) == 0 && after.rx_bad == before.rx_bad + 1);
    }
}

static void receive_framings(struct victim *v)
{
    struct vio_net_counters before, after;

    for (uint32_t n = 1; n <= 20; n++)
        for (unsigned indirect = 0; indirect < 2; indirect++)
            small_buffers(v, n, indirect);
    small_buffers(v, HDR + FRAME - 1, false);
    small_buffers(v, HDR + FRAME, true);
    /* So many that together they could, but not more than a burst of them. */
    victim_start(v, RX);
    before = counters(v);
    for (unsigned i = 0; i < SIZE; i++)
        victim_single(v, v->page.gpa + BUF + i, 1, W);
    CHECK(victim_deliver(v, FRAME) && victim_used(v) == 0);
    after = counters(v);
    CHECK(after.rx_bad == before.rx_bad + 1);
    /* Nothing to write to. */
    victim_start(v, RX);
    victim_single(v, v->page.gpa, 2000, 0);
    CHECK(victim_deliver(v, FRAME) == !v->mergeable && victim_used(v) == 0 && v->rig.needs_reset == 0);
    victim_single(v, v->page.gpa + BUF, 2000, W);
    CHECK(victim_deliver(v, FRAME) && victim_used(v) == (v->mergeable ? 2 : 0) && v->rig.needs_reset == 0);
    /* Behind readable bytes. */
    victim_start(v, RX);
    victim_desc(v, v->page.gpa, 100, N);
    victim_desc(v, v->page.gpa + BUF, 2000, W);
    victim_offer(v, 0);
    CHECK(victim_deliver(v, FRAME) && memcmp(v->page.host + BUF + HDR, v->page.host + HDR, FRAME) == 0);
    CHECK(v->rig.needs_reset == 0 && (v->packed || victim_used(v) == 1));
    victim_start(v, RX);
    for (unsigned i = 0; i < 100; i++)
        victim_desc(v, v->page.gpa + BUF + i, 1, i < 99 ? W | N : W);
    victim_offer(v, 0);
    CHECK(victim_deliver(v, FRAME) && memcmp(v->page.host + BUF + HDR, v->page.host + HDR, FRAME) == 0);
    if (!v->packed) { /* one head many times: its own damage */
        victim_start(v, RX);
        victim_desc(v, v->page.gpa + BUF, 2000, W);
        for (unsigned i = 0; i < 10; i++)
            victim_offer(v, 0);
        for (unsigned i = 0; i < 10; i++)
            CHECK(victim_deliver(v, FRAME));
        CHECK(victim_used(v) == 10 && v->rig.needs_reset == 0);
    }
}

int main(void)
{
    static struct victim v;

    for (unsigned variant = 0; variant < 8; variant++) {
        test_context("variant %u", variant);
        victim_open(&v, variant);
        transmit_framings(&v);
        transmit_offloads(&v);
        bounded(&v);
        receive_framings(&v);
        victim_works(&v);
        victim_close(&v);
        printf("ok - %s, %s, frames %s\n", variant & 1 ? "packed" : "split", variant & 2 ? "merged buffers" : "whole buffers",
               variant & 4 ? "looked at" : "taken as they come");
    }
    return 0;
}
