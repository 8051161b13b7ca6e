/* SPDX-License-Identifier: MIT */
/*
 * Purpose: hashes of frames: the published vectors of receive side scaling ("Verifying the RSS Hash Calculation",
 * Microsoft), which type applies to what (virtio 1.4, 5.1.9.4.3), and frames that are cut off or lie.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "device/net_internal.h"
#include "net_frame.h"
#include "rng.h"

static const uint8_t key[NET_RSS_KEY_MAX] = {
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
    0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

static const struct vector {
    const char *from, *to;
    uint16_t from_port, to_port;
    uint32_t ip, ports;
} vectors[] = {
    { "66.9.149.187", "161.142.100.80", 2794, 1766, 0x323e8fc2, 0x51ccc178 },
    { "199.92.111.2", "65.69.140.83", 14230, 4739, 0xd718262a, 0xc626b0ea },
    { "24.19.198.95", "12.22.207.184", 12898, 38024, 0xd2d0a5de, 0x5c2b394a },
    { "38.27.205.30", "209.142.163.6", 48228, 2217, 0x82989176, 0xafc7327f },
    { "153.39.163.191", "202.188.127.2", 44251, 1303, 0x5d1809c5, 0x10e828a2 },
    { "3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", 2794, 1766, 0x2cc18cd5, 0x40207d3d },
    { "3ffe:501:8::260:97ff:fe40:efab", "ff02::1", 14230, 4739, 0x0f0c461c, 0xdde51bbf },
    { "3ffe:1900:4545:3:200:f8ff:fe21:67cf", "fe80::200:f8ff:fe21:67cf", 44251, 38024, 0x4b61e985, 0x02d1feef },
};

enum { VECTORS = sizeof vectors / sizeof vectors[0], HEAD = NET_HEAD_BYTES };

static struct frame frame;

/* The frame has the shape that the caller gave it, and a vector's addresses and ports. */
static void make(const struct vector *v)
{
    bool v6 = strchr(v->from, ':') != NULL;
    uint8_t *addresses;

    frame.v6 = v6;
    frame_make(&frame);
    addresses = frame.bytes + frame.l3 + (v6 ? 8 : 12);
    assert_int_equal(inet_pton(v6 ? AF_INET6 : AF_INET, v->from, addresses), 1);
    assert_int_equal(inet_pton(v6 ? AF_INET6 : AF_INET, v->to, addresses + (v6 ? 16 : 4)), 1);
    frame_put16(frame.bytes + frame.l4, v->from_port);
    frame_put16(frame.bytes + frame.l4 + 2, v->to_port);
}

static void shape(unsigned tags, unsigned options, unsigned ext, uint8_t proto, unsigned payload)
{
    frame.tags = tags;
    frame.options = options;
    frame.ext = ext;
    frame.proto = proto;
    frame.payload = payload;
    frame.seed = 3;
}

/* The hash of the first `bytes` of the frame, from memory that ends there. */
static uint32_t hash(uint32_t types, size_t bytes, uint16_t *report)
{
    struct net_rss rss = { .types = types };
    uint8_t *head = malloc(bytes);
    uint32_t value;

    memcpy(rss.key, key, sizeof key);
    memcpy(head, frame.bytes, bytes);
    *report = 99;
    value = net_hash(&rss, head, bytes, report);
    free(head);
    return value;
}

static void gives(uint32_t types, uint32_t want, uint16_t want_report)
{
    size_t bytes = frame.len < HEAD ? frame.len : HEAD;
    uint16_t report;
    uint32_t value = hash(types, bytes, &report);

    assert_int_equal(report, want_report);
    assert_int_equal(value, want);
}

static void published_vectors(void **state)
{
    (void)state;
    for (unsigned i = 0; i < VECTORS * 3; i++) {
        const struct vector *v = &vectors[i % VECTORS];
        bool v6 = strchr(v->from, ':') != NULL;
        uint16_t add = v6 ? 3 : 0; /* the types and reports of IPv6 follow those of IPv4 */

        shape(i / VECTORS, i / VECTORS, i / VECTORS == 2 ? EXT_HOP : 0, TCP, 10);
        make(v);
        gives(NET_HASH_TYPES, v->ports, (uint16_t)(VIRTIO_NET_HASH_REPORT_TCPv4 + add));
        gives(VIRTIO_NET_HASH_TYPE_TCPv4 << add, v->ports, (uint16_t)(VIRTIO_NET_HASH_REPORT_TCPv4 + add));
        gives(VIRTIO_NET_HASH_TYPE_IPv4 << add, v->ip, (uint16_t)(VIRTIO_NET_HASH_REPORT_IPv4 + add));
        gives(NET_HASH_TYPES & ~(VIRTIO_NET_HASH_TYPE_TCPv4 << add), v->ip, (uint16_t)(VIRTIO_NET_HASH_REPORT_IPv4 + add));
        gives(VIRTIO_NET_HASH_TYPE_UDPv4 << add, 0, VIRTIO_NET_HASH_REPORT_NONE);
        gives(VIRTIO_NET_HASH_TYPE_TCPv4 << (3 - add) | VIRTIO_NET_HASH_TYPE_IPv4 << (3 - add), 0, VIRTIO_NET_HASH_REPORT_NONE);
        gives(0, 0, VIRTIO_NET_HASH_REPORT_NONE);
        shape(i / VECTORS, 0, 0, UDP, 10);
        make(v);
        gives(NET_HASH_TYPES, v->ports, (uint16_t)(VIRTIO_NET_HASH_REPORT_UDPv4 + add));
        gives(VIRTIO_NET_HASH_TYPE_TCPv4 << add, 0, VIRTIO_NET_HASH_REPORT_NONE);
        shape(0, 0, 0, 47, 10);
        make(v);
        gives(NET_HASH_TYPES, v->ip, (uint16_t)(VIRTIO_NET_HASH_REPORT_IPv4 + add));
    }
}

static void extension_headers_are_passed_over(void **state)
{
    (void)state;
    for (unsigned ext = 1; ext <= EXT_ALL; ext++) {
        shape(0, 0, ext, TCP, 40);
        make(&vectors[5]);
        gives(NET_HASH_TYPES, vectors[5].ports, VIRTIO_NET_HASH_REPORT_TCPv6);
    }
    /* A fragment header around a whole packet parts nothing (RFC 6946). */
    shape(0, 0, EXT_FRAGMENT, UDP, 40);
    make(&vectors[5]);
    gives(NET_HASH_TYPES, vectors[5].ports, VIRTIO_NET_HASH_REPORT_UDPv6);
    shape(2, 0, EXT_ALL | EXT_FRAGMENT, TCP, 40); /* the ports are beyond the head */
    make(&vectors[5]);
    gives(NET_HASH_TYPES, vectors[5].ip, VIRTIO_NET_HASH_REPORT_IPv6);
}

static void fragments_go_by_addresses(void **state)
{
    static const unsigned parts[] = { 0x2000, 0x2001, 1, 0x1fff };

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        shape(1, 0, 0, TCP, 40);
        make(&vectors[0]);
        frame_put16(frame.bytes + frame.l3 + 6, parts[i]);
        gives(NET_HASH_TYPES, vectors[0].ip, VIRTIO_NET_HASH_REPORT_IPv4);
        gives(VIRTIO_NET_HASH_TYPE_TCPv4, 0, VIRTIO_NET_HASH_REPORT_NONE);
        shape(1, 0, EXT_FRAGMENT, TCP, 40);
        make(&vectors[5]);
        frame_put16(frame.bytes + frame.l4 - 6, (parts[i] & 0x1fff) << 3 | parts[i] >> 13);
        gives(NET_HASH_TYPES, vectors[5].ip, VIRTIO_NET_HASH_REPORT_IPv6);
    }
    shape(0, 0, 0, TCP, 40);
    make(&vectors[0]);
    frame_put16(frame.bytes + frame.l3 + 6, 0x4000); /* only: not to be fragmented */
    gives(NET_HASH_TYPES, vectors[0].ports, VIRTIO_NET_HASH_REPORT_TCPv4);
}

static void padding_is_no_header(void **state)
{
    (void)state;
    shape(0, 0, 0, UDP, 18);
    make(&vectors[0]);
    frame_put16(frame.bytes + frame.l3 + 2, 27); /* IP ends a byte before the UDP header does */
    gives(NET_HASH_TYPES, vectors[0].ip, VIRTIO_NET_HASH_REPORT_IPv4);
    frame_put16(frame.bytes + frame.l3 + 2, 28);
    gives(NET_HASH_TYPES, vectors[0].ports, VIRTIO_NET_HASH_REPORT_UDPv4);
    frame_put16(frame.bytes + frame.l3 + 2, 19); /* shorter than the header itself */
    gives(NET_HASH_TYPES, 0, VIRTIO_NET_HASH_REPORT_NONE);
    make(&vectors[0]);
    frame.bytes[frame.l3] = 0x44;
    gives(NET_HASH_TYPES, 0, VIRTIO_NET_HASH_REPORT_NONE);
    make(&vectors[0]);
    frame.bytes[frame.l3] = 0x65;
    gives(NET_HASH_TYPES, 0, VIRTIO_NET_HASH_REPORT_NONE);
    make(&vectors[0]);
    frame_put16(frame.bytes + 12, 0x0806);
    gives(NET_HASH_TYPES, 0, VIRTIO_NET_HASH_REPORT_NONE);
}

/* Where the ports, or the addresses, are cut off, less is hashed, and nothing behind the end is read. */
static void cut_anywhere(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        const struct vector *v = &vectors[i * 5];

        shape(2, 3, EXT_HOP, TCP, 60);
        make(v);
        for (size_t bytes = 14; bytes <= HEAD; bytes++) {
            uint32_t header = frame.l3 + (i ? 40u : 32u);
            uint16_t report;
            uint32_t value = hash(NET_HASH_TYPES, bytes, &report);

            assert_int_equal(value, bytes < header ? 0 : bytes < frame.l4 + 4 ? v->ip : v->ports);
            assert_int_equal(report == VIRTIO_NET_HASH_REPORT_NONE, bytes < header);
        }
    }
}

static void random_bytes_read_nothing_outside(void **state)
{
    struct rng rng = rng_of(11);

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        size_t bytes = rng_range(&rng, 14, HEAD);
        uint8_t *head = malloc(bytes);
        uint16_t report;

        shape(i % 3, i % 4, i / 4 % 32, i % 2 ? TCP : UDP, 60);
        frame.v6 = i % 5 != 0;
        frame_make(&frame);
        memcpy(head, frame.bytes, bytes);
        for (unsigned n = 0; n < i % 4; n++)
            head[rng_range(&rng, 12, (uint32_t)bytes - 1)] = (uint8_t)rng_u64(&rng);
        memcpy(frame.bytes, head, bytes);
        (void)hash(NET_HASH_TYPES, bytes, &report);
        assert_in_range(report, 0, VIRTIO_NET_HASH_REPORT_UDPv6);
        (void)net_flow(head, bytes);
        free(head);
    }
}

/* One flow, one value; different flows spread over queues, however few bits differ. */
static void flows_spread(void **state)
{
    enum { FLOWS = 4096, QUEUES = 8 };

    (void)state;
    for (unsigned what = 0; what < 5; what++) {
        unsigned low[QUEUES] = { 0 }, high[QUEUES] = { 0 };

        shape(what == 4, 0, 0, what % 2 ? TCP : UDP, 30);
        make(&vectors[what == 2 ? 5 : 0]);
        if (what == 3)
            frame_put16(frame.bytes + 12, 0x0806);
        for (unsigned i = 0; i < FLOWS; i++) {
            uint8_t *at = frame.bytes + (what == 3 ? 8 : what == 1 ? frame.l3 + 14 : frame.l4 + 2);
            uint32_t flow;

            frame_put16(at, i);
            flow = net_flow(frame.bytes, frame.len);
            frame.bytes[frame.len - 1]++;
            assert_int_equal(net_flow(frame.bytes, frame.len), flow);
            low[flow % QUEUES]++;
            high[flow >> 29]++;
        }
        for (unsigned q = 0; q < QUEUES; q++) {
            assert_in_range(low[q], FLOWS / QUEUES * 8 / 10, FLOWS / QUEUES * 12 / 10);
            assert_in_range(high[q], FLOWS / QUEUES * 8 / 10, FLOWS / QUEUES * 12 / 10);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors),
        cmocka_unit_test(extension_headers_are_passed_over),
        cmocka_unit_test(fragments_go_by_addresses),
        cmocka_unit_test(padding_is_no_header),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(random_bytes_read_nothing_outside),
        cmocka_unit_test(flows_spread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
