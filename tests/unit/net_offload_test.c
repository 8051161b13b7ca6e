/* SPDX-License-Identifier: MIT */
/*
 * Purpose: offloads in software: what is needed, sums, checksums finished, and large packets cut, each judged by a
 * reference of the test's own (net_segment_help.c); what cannot be cut is refused; bytes that lie read nothing outside.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net_segment_help.h"
#include "rng.h"
#include "spec/net.h"

static struct frame frame;
static struct pieces pieces;

/* ------------------------------------------------------------------ needs, sums, checksums */

static void needs(void **state)
{
    static const struct { uint8_t flags, gso; unsigned want; } cases[] = {
        { 0, 0, 0 },
        { 2, 0, 0 },
        { 1, 0, VIO_NET_CSUM },
        { 1, 1, VIO_NET_CSUM | VIO_NET_TSO4 },
        { 0, 1, VIO_NET_CSUM | VIO_NET_TSO4 },
        { 1, 0x81, VIO_NET_CSUM | VIO_NET_TSO4 | VIO_NET_ECN },
        { 1, 4, VIO_NET_CSUM | VIO_NET_TSO6 },
        { 1, 0x84, VIO_NET_CSUM | VIO_NET_TSO6 | VIO_NET_ECN },
        { 1, 3, VIO_NET_CSUM | VIO_NET_UFO },
        { 1, 5, VIO_NET_CSUM | VIO_NET_USO },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct vio_net_hdr hdr = { .flags = cases[i].flags, .gso_type = cases[i].gso };

        assert_int_equal(vio_net_needs(&hdr), cases[i].want);
    }
}

static uint16_t stored(uint16_t fold)
{
    uint8_t at[2];

    memcpy(at, &fold, 2);
    return frame_get16(at);
}

static void sums_of_any_length_and_place(void **state)
{
    struct rng rng = rng_of(1);
    uint8_t bytes[700];

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        size_t at = rng_below(&rng, 40), n = rng_below(&rng, round % 2 ? 70 : 600), half = rng_below(&rng, 300) & ~1u;
        uint64_t sum;

        for (unsigned i = 0; i < sizeof bytes; i++)
            bytes[i] = round % 3 ? (uint8_t)rng_u64(&rng) : 0xff;
        assert_int_equal(stored(vio_net_fold(vio_net_sum(bytes + at, n, 0))), 0xffff & ~frame_sum(bytes + at, n, 0));
        half = half < n ? half : 0;
        sum = vio_net_sum(bytes + at, half, 0);
        assert_int_equal(vio_net_fold(vio_net_sum(bytes + at + half, n - half, sum)), vio_net_fold(vio_net_sum(bytes + at, n, 0)));
    }
    /* All carries there can be, and none lost. */
    assert_int_equal(vio_net_fold(UINT64_MAX), 0);
    assert_int_equal(vio_net_fold(0), 0xffff);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(vio_net_fold(vio_net_sum(bytes, 64, UINT64_MAX)), 0);
    assert_int_equal(stored(vio_net_fold(vio_net_sum("\x00\x01\xf2\x03\xf4\xf5\xf6\xf7", 8, 0))), 0xffff & ~0xddf2); /* RFC 1071, 3 */
}

static void checksums_are_finished(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 400; i++) {
        struct vio_net_hdr hdr;

        frame = (struct frame){ .tags = i % 3, .v6 = i % 2, .options = i % 4, .ext = i % 16, .proto = i % 5 ? TCP : UDP,
                                .payload = i * 7 % 1500, .seed = i };
        frame_make(&frame);
        hdr = header_of(&frame, 0, 0);
        assert_true(vio_net_finish_csum(&hdr, frame.bytes, frame.len));
        assert_int_equal(vio_net_needs(&hdr), 0);
        assert_int_equal(frame_sum(frame.bytes + frame.l4, frame.len - frame.l4, frame_pseudo(&frame, frame.len - frame.l4)), 0xffff);
    }
}

static void udp_checksum_is_never_zero(void **state)
{
    static const uint16_t offset[] = { 6, 16 };

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct vio_net_hdr hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 4, .csum_offset = offset[i] };
        uint8_t bytes[30] = { 0 };

        /* What stands in the field counts: with the rest it sums up to 0xffff, of which the inverse is 0. */
        frame_put16(bytes + 4 + offset[i], 0xaaaa);
        frame_put16(bytes + 28, 0x5555);
        assert_true(vio_net_finish_csum(&hdr, bytes, sizeof bytes));
        assert_int_equal(frame_get16(bytes + 4 + offset[i]), i == 0 ? 0xffff : 0);
    }
}

static void checksums_outside_are_refused(void **state)
{
    struct vio_net_hdr hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 20, .csum_offset = 9 };
    uint8_t *bytes = calloc(1, 30);

    (void)state;
    assert_false(vio_net_finish_csum(&hdr, bytes, 30));
    hdr.csum_offset = 8;
    assert_true(vio_net_finish_csum(&hdr, bytes, 30));
    assert_int_equal(frame_get16(bytes + 28), 0xffff);
    assert_true(vio_net_finish_csum(&hdr, bytes, 30)); /* needs nothing now */
    hdr = (struct vio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 0xffff, .csum_offset = 0xffff };
    assert_false(vio_net_finish_csum(&hdr, bytes, 30));
    hdr = (struct vio_net_hdr){ .csum_start = 0xffff, .csum_offset = 0xffff };
    assert_true(vio_net_finish_csum(&hdr, bytes, 30));
    free(bytes);
}

/* ------------------------------------------------------------------ what is cut */

static void random_shape(struct rng *rng, uint8_t proto, uint32_t payload_max)
{
    memset(&frame, 0, offsetof(struct frame, l3));
    frame.tags = rng_below(rng, 3);
    frame.vid[0] = (uint16_t)rng_below(rng, 4096);
    frame.v6 = rng_below(rng, 2);
    frame.options = frame.v6 ? 0 : rng_below(rng, 11);
    frame.ext = rng_below(rng, 2) ? rng_below(rng, EXT_ALL + 1) : 0;
    frame.proto = proto;
    frame.tcp_options = rng_below(rng, 11);
    frame.tcp_flags = (uint8_t)(rng_u64(rng) & 0xd9); /* CWR ECE ACK PSH FIN */
    frame.id = (uint16_t)rng_u64(rng);
    frame.seq = (uint32_t)rng_u64(rng);
    frame.payload = rng_range(rng, 1, payload_max);
    frame.seed = rng_u64(rng);
    frame_make(&frame);
}

/* A limit that IP's length leaves room for, with all headers there can be. */
enum { PAYLOAD_MAX = 65535 - 60 - 60 - 72 };

static uint16_t random_size(struct rng *rng, uint32_t payload)
{
    uint32_t least = payload / 1000 + 1;

    return (uint16_t)(rng_below(rng, 4) ? rng_range(rng, least, 3000) : rng_range(rng, least, 65535));
}

static void tcp_is_cut(void **state)
{
    struct rng rng = rng_of(2);

    (void)state;
    for (unsigned round = 0; round < 1500; round++) {
        unsigned takes = round % 2 ? VIO_NET_CSUM : 0;
        struct vio_net_hdr hdr;
        uint8_t type;

        random_shape(&rng, TCP, round % 10 ? 6000 : PAYLOAD_MAX);
        type = frame.v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
        hdr = header_of(&frame, (uint8_t)(type | (round % 3 ? 0 : VIRTIO_NET_HDR_GSO_ECN)), random_size(&rng, frame.payload));
        hdr.hdr_len = (uint16_t)rng_u64(&rng); /* only a hint */
        assert_int_equal(segment(&hdr, frame.bytes, frame.len, takes, &pieces), 0);
        check_segments(&frame, &pieces, hdr.gso_size, takes);
        pieces_free(&pieces);
    }
}

static void udp_is_cut_into_datagrams(void **state)
{
    struct rng rng = rng_of(3);

    (void)state;
    for (unsigned round = 0; round < 1000; round++) {
        unsigned takes = round % 2 ? VIO_NET_CSUM : 0;
        struct vio_net_hdr hdr;

        random_shape(&rng, UDP, round % 10 ? 6000 : PAYLOAD_MAX);
        hdr = header_of(&frame, VIRTIO_NET_HDR_GSO_UDP_L4, random_size(&rng, frame.payload));
        assert_int_equal(segment(&hdr, frame.bytes, frame.len, takes, &pieces), 0);
        check_segments(&frame, &pieces, hdr.gso_size, takes);
        pieces_free(&pieces);
    }
}

static void udp_is_cut_into_fragments(void **state)
{
    struct rng rng = rng_of(4);

    (void)state;
    for (unsigned round = 0; round < 1000; round++) {
        unsigned takes = round % 2 ? VIO_NET_CSUM : 0;
        struct vio_net_hdr hdr;
        uint32_t part;

        random_shape(&rng, UDP, round % 10 ? 6000 : PAYLOAD_MAX);
        hdr = header_of(&frame, VIRTIO_NET_HDR_GSO_UDP, random_size(&rng, frame.payload));
        part = frame.len - frame.unfragmentable;
        if (hdr.gso_size < 48) /* the first fragment holds the headers */
            hdr.gso_size = 48;
        assert_int_equal(segment(&hdr, frame.bytes, frame.len, takes, &pieces), 0);
        if (part <= hdr.gso_size)
            check_segments(&frame, &pieces, frame.payload, takes);
        else
            check_fragments(&frame, &pieces, hdr.gso_size & ~7u);
        pieces_free(&pieces);
    }
}

/* Datagrams with other bytes have other identifications: a receiver would mix up their fragments else. */
static void ipv6_fragments_are_told_apart(void **state)
{
    uint32_t last = 0;

    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        struct vio_net_hdr hdr;
        uint32_t id;

        frame = (struct frame){ .v6 = true, .proto = UDP, .payload = 3000, .seed = 5 };
        frame_make(&frame);
        frame_put32(frame.bytes + frame.data + 100, i);
        hdr = header_of(&frame, VIRTIO_NET_HDR_GSO_UDP, 1448);
        assert_int_equal(segment(&hdr, frame.bytes, frame.len, 0, &pieces), 0);
        id = frame_get32(pieces.piece[0].bytes + frame.l3 + 44);
        assert_true(i == 0 || id != last);
        last = id;
        pieces_free(&pieces);
    }
}

static void the_largest_frames_are_cut(void **state)
{
    static const uint8_t types[] = { 1, 4, 5, 3 };

    (void)state;
    for (unsigned i = 0; i < 16; i++) {
        uint8_t type = types[i / 2 % 4];
        struct vio_net_hdr hdr;
        uint32_t headers;

        frame = (struct frame){ .v6 = type == 4 || (type != 1 && i % 2), .proto = type == 1 || type == 4 ? TCP : UDP };
        headers = (frame.v6 ? 40u : 20u) + (frame.proto == TCP ? 20u : 8u);
        frame.payload = (frame.v6 ? 65550u - 14 : 65535u) - headers;
        frame_make(&frame);
        hdr = header_of(&frame, type, i < 8 ? 1400 : 65528);
        assert_int_equal(segment(&hdr, frame.bytes, frame.len, 0, &pieces), 0);
        assert_true(pieces.nr > 1 || i >= 8);
        pieces_free(&pieces);
    }
}

/* A length that the driver left open; no NEEDS_CSUM: the checksums are made all the same. */
static void what_is_left_open_is_made(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct vio_net_hdr hdr;

        frame = (struct frame){ .v6 = i % 2, .proto = TCP, .tcp_flags = 0x18, .payload = 4000, .seed = i };
        frame_make(&frame);
        hdr = header_of(&frame, i % 2 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4, 1000);
        if (i < 2)
            hdr.flags = 0;
        frame_put16(frame.bytes + frame.l3 + (i % 2 ? 4 : 2), 0);
        frame_put16(frame.bytes + frame.l4 + 16, 0x1234);
        assert_int_equal(segment(&hdr, frame.bytes, frame.len, 0, &pieces), 0);
        check_segments(&frame, &pieces, 1000, 0);
        pieces_free(&pieces);
    }
}

static void emit_may_stop(void **state)
{
    (void)state;
    for (unsigned type = 3; type <= 5; type += 2) {
        struct vio_net_hdr hdr;

        frame = (struct frame){ .proto = UDP, .payload = 4000 };
        frame_make(&frame);
        hdr = header_of(&frame, (uint8_t)type, 800);
        pieces.stop_after = 2;
        assert_int_equal(segment(&hdr, frame.bytes, frame.len, 0, &pieces), 0);
        assert_int_equal(pieces.nr, 2);
        pieces.stop_after = 0;
        pieces_free(&pieces);
    }
}

/* ------------------------------------------------------------------ what is refused */

static void is_refused(const struct vio_net_hdr *hdr)
{
    assert_int_equal(segment(hdr, frame.bytes, frame.len, 0, &pieces), -EINVAL);
    assert_int_equal(pieces.nr, 0);
    pieces_free(&pieces);
}

static struct vio_net_hdr fresh(uint8_t type, uint32_t payload)
{
    frame = (struct frame){ .v6 = type == 4, .proto = type == 1 || type == 4 ? TCP : UDP, .payload = payload, .tcp_flags = 0x10 };
    frame_make(&frame);
    return header_of(&frame, type, 1000);
}

/* The frame with one byte changed is refused. */
static void refused_with(uint8_t type, unsigned at_l3, uint8_t value)
{
    struct vio_net_hdr hdr = fresh(type, 3000);

    frame.bytes[frame.l3 + at_l3] = value;
    is_refused(&hdr);
}

static void headers_that_do_not_fit_are_refused(void **state)
{
    struct vio_net_hdr hdr = fresh(1, 3000);

    (void)state;
    hdr.gso_size = 0;
    is_refused(&hdr);
    for (unsigned type = 0; type < 256; type++) {
        hdr = fresh(1, 3000);
        hdr.gso_type = (uint8_t)type;
        if ((type & 0x7f) != 1)
            is_refused(&hdr);
    }
    for (uint8_t type = 3; type <= 5; type += 2) {
        hdr = fresh(type, 3000);
        hdr.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
        is_refused(&hdr);
    }
    hdr = fresh(4, 3000);
    hdr.gso_type = 1;
    is_refused(&hdr);
    hdr = fresh(5, 3000);
    hdr.gso_type = 1;
    is_refused(&hdr);
    hdr = fresh(1, 3000);
    hdr.csum_start++;
    is_refused(&hdr);
    hdr = fresh(1, 3000);
    hdr.csum_offset = 6;
    is_refused(&hdr);
}

static void frames_that_lie_are_refused(void **state)
{
    struct vio_net_hdr hdr;

    (void)state;
    refused_with(1, 0, 0x44);      /* IPv4 header of 16 bytes */
    refused_with(1, 0, 0x65);      /* IPv6 under IPv4's ethertype */
    refused_with(1, 2, 0xff);      /* IP past the frame */
    refused_with(1, 2, 0x01);      /* the frame past IP */
    refused_with(1, 6, 0x20);      /* a fragment, the first */
    refused_with(1, 7, 0x01);      /* another */
    refused_with(1, 9, UDP);
    refused_with(1, 20 + 12, 0x40);  /* TCP header of 16 bytes */
    refused_with(1, 20 + 13, 0x12);  /* SYN */
    refused_with(1, 20 + 13, 0x14);  /* RST */
    refused_with(1, 20 + 13, 0x30);  /* URG */
    refused_with(4, 0, 0x40);
    refused_with(4, 4, 0xff);
    refused_with(4, 6, 44);        /* a fragment header, whatever stands in it */
    refused_with(4, 6, 0);         /* TCP's bytes as an extension header */
    refused_with(3, 6, 0x40);      /* not to be fragmented */
    refused_with(3, 20 + 5, 1);    /* UDP's length */
    hdr = fresh(1, 3000);
    frame_put16(frame.bytes + 12, 0x0806);
    is_refused(&hdr);
}

static void what_cannot_be_cut_is_refused(void **state)
{
    struct vio_net_hdr hdr = fresh(1, 0);

    (void)state;
    is_refused(&hdr);
    hdr = fresh(5, 0);
    is_refused(&hdr);
    hdr = fresh(3, 0);
    is_refused(&hdr);
    hdr = fresh(1, 10);
    frame.bytes[frame.l4 + 12] = 0xf0; /* TCP's header past the end */
    is_refused(&hdr);
    hdr = fresh(3, 3000);
    hdr.gso_size = 7; /* fragments are of 8 bytes, or more */
    is_refused(&hdr);
    hdr = fresh(1, VIO_NET_CUTS_MAX + 1);
    hdr.gso_size = 1;
    is_refused(&hdr);
    hdr = fresh(1, VIO_NET_CUTS_MAX);
    hdr.gso_size = 1;
    assert_int_equal(segment(&hdr, frame.bytes, frame.len, 0, &pieces), 0);
    check_segments(&frame, &pieces, 1, 0);
    pieces_free(&pieces);
    hdr = fresh(1, 3000);
    frame.len = VIO_NET_FRAME_MAX + 1;
    frame_put16(frame.bytes + frame.l3 + 2, 0);
    is_refused(&hdr);
    /* The first fragment cannot hold all headers. */
    frame = (struct frame){ .v6 = true, .ext = EXT_DEST, .proto = UDP, .payload = 3000 };
    frame_make(&frame);
    hdr = header_of(&frame, VIRTIO_NET_HDR_GSO_UDP, 15);
    is_refused(&hdr);
    /* A routing header changes what the checksum is made with, and nobody said how. */
    frame = (struct frame){ .v6 = true, .ext = EXT_ROUTING, .proto = TCP, .payload = 3000 };
    frame_make(&frame);
    hdr = header_of(&frame, VIRTIO_NET_HDR_GSO_TCPV6, 1000);
    hdr.flags = 0;
    is_refused(&hdr);
}

static void cut_off_frames_are_refused(void **state)
{
    static const uint8_t types[] = { 1, 4, 5, 3 };

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct vio_net_hdr hdr = fresh(types[i], 1500);
        uint32_t whole = frame.len;

        for (frame.len = 0; frame.len < whole; frame.len++)
            is_refused(&hdr);
    }
}

/* Frames with wrong bytes: read and written inside only (the sanitizer sees), and what comes out is a frame. */
static void random_bytes_do_no_harm(void **state)
{
    static const uint8_t types[] = { 1, 4, 5, 3 };
    struct rng rng = rng_of(6);
    unsigned cut = 0;

    (void)state;
    for (unsigned round = 0; round < 40000; round++) {
        uint32_t len, limit;
        struct vio_net_hdr hdr;
        int rc;

        random_shape(&rng, round % 2 ? TCP : UDP, 400);
        hdr = header_of(&frame, types[rng_below(&rng, 4)], (uint16_t)rng_range(&rng, 1, 300));
        if (rng_permille(&rng, 200))
            hdr.flags = 0;
        len = rng_permille(&rng, 300) ? rng_below(&rng, frame.len + 1) : frame.len;
        limit = rng_permille(&rng, 700) && len > frame.data ? frame.data : len;
        for (unsigned n = rng_below(&rng, 4); n > 0 && limit > 12; n--)
            frame.bytes[rng_range(&rng, 12, limit - 1)] = (uint8_t)rng_u64(&rng);
        rc = segment(&hdr, frame.bytes, len, rng_below(&rng, 64), &pieces);
        assert_int_equal(rc == 0, pieces.nr > 0);
        for (unsigned i = 0; i < pieces.nr; i++) {
            assert_in_range(pieces.piece[i].len, 35, len + 8);
            assert_int_equal(pieces.piece[i].hdr.gso_type, VIRTIO_NET_HDR_GSO_NONE);
        }
        cut += rc == 0;
        pieces_free(&pieces);
    }
    assert_in_range(cut, 4000, 30000); /* the test tries both */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(needs),
        cmocka_unit_test(sums_of_any_length_and_place),
        cmocka_unit_test(checksums_are_finished),
        cmocka_unit_test(udp_checksum_is_never_zero),
        cmocka_unit_test(checksums_outside_are_refused),
        cmocka_unit_test(tcp_is_cut),
        cmocka_unit_test(udp_is_cut_into_datagrams),
        cmocka_unit_test(udp_is_cut_into_fragments),
        cmocka_unit_test(ipv6_fragments_are_told_apart),
        cmocka_unit_test(the_largest_frames_are_cut),
        cmocka_unit_test(what_is_left_open_is_made),
        cmocka_unit_test(emit_may_stop),
        cmocka_unit_test(headers_that_do_not_fit_are_refused),
        cmocka_unit_test(frames_that_lie_are_refused),
        cmocka_unit_test(what_cannot_be_cut_is_refused),
        cmocka_unit_test(cut_off_frames_are_refused),
        cmocka_unit_test(random_bytes_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
