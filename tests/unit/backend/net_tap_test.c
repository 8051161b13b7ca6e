/* SPDX-License-Identifier: MIT */
/*
 * Purpose: frames and offloads through a tap, as the host's kernel sees them. Needs /dev/net/tun and the right to make a
 * network namespace. Where it sits: tests/unit/backend.
 */
#include "net_tap_help.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_ether.h>

#include <cmocka.h>

#include "spec/net.h"

static void frames_cross(void **state)
{
    static uint8_t frame[9014], got[70000];
    static struct fake_packet made;
    static const struct { uint32_t len, pieces; } row[] = { { 14, 1 }, { 60, 3 }, { 1514, 64 }, { 1514, 65 }, { 9014, 1000 } };
    struct vio_net_tap_params params = { .name = "vtest0", .fd = -1, .address = "192.0.2.1/24", .mtu = 9000 };
    struct fake_sink *f = fake_sink_make();
    struct vio_net_backend *b;
    struct vio_net_info info;
    int raw;

    (void)state;
    need_tap();
    b = tap_open(&params, f);
    raw = raw_socket("vtest0", false, TYPE);
    b->ops->info(b, &info);
    assert_int_equal(info.mtu, 9000);
    assert_int_equal(info.gives & ~(unsigned)VIO_NET_OFFLOADS, 0);
    assert_int_equal(info.takes & 15, VIO_NET_CSUM | VIO_NET_TSO4 | VIO_NET_TSO6 | VIO_NET_ECN);
    assert_int_equal(info.gives & 15, VIO_NET_CSUM | VIO_NET_TSO4 | VIO_NET_TSO6 | VIO_NET_ECN);
    assert_true(if_flags("vtest0") & IFF_UP);
    assert_true(has_address("vtest0", "192.0.2.1", "255.255.255.0"));
    for (unsigned i = 0; i < sizeof row / sizeof row[0]; i++) {
        test_frame(frame, row[i].len, 9, 2, (uint8_t)i);
        assert_int_equal(b->ops->send(b, fake_packet(&made, frame, row[i].len, row[i].pieces), 1), 1);
        assert_int_equal(recv(raw, got, sizeof got, 0), row[i].len);
        assert_memory_equal(got, frame, row[i].len);
        if (row[i].len < 60)
            continue;
        test_frame(frame, row[i].len, 2, 9, (uint8_t)i);
        assert_int_equal(send(raw, frame, row[i].len, 0), row[i].len);
        assert_true(wait_for(b, f, TYPE, 1));
        assert_true(test_frame_is(&f->frame[0], row[i].len, 2, 9, (uint8_t)i));
        assert_int_equal(f->unflushed, 0);
        fake_sink_reset(f);
    }
    assert_int_equal(tap_counter(b, "tx_refused"), 0);
    assert_int_equal(tap_counter(b, "rx_bad"), 0);
    close(raw);
    tap_stop(b, f);
    assert_int_equal(if_nametoindex("vtest0"), 0); /* ours, and gone with us */
}

static void full_sink_loses_nothing(void **state)
{
    static uint8_t frame[1514];
    struct fake_sink *f = fake_sink_make();
    struct vio_net_backend *b;
    unsigned ours = 0;
    int raw, fd;

    (void)state;
    need_tap();
    b = tap_open(&NOT_SUCH, f);
    raw = raw_socket("vtest0", false, TYPE);
    fd = b->ops->fd(b);
    for (unsigned i = 0; i < 200; i++) {
        test_frame(frame, 60 + i * 7, 2, 9, (uint8_t)i);
        assert_int_equal(send(raw, frame, 60 + i * 7, 0), 60 + i * 7);
    }
    for (unsigned round = 0; round < 4000 && ours < 200; round++) {
        unsigned before = f->nr;

        f->room = round * 3 % 23;
        if (f->room == 0) { /* packets have come, and must not wake a device that has no room */
            assert_int_equal(b->ops->poll(b, VIO_NET_BURST), 0);
            assert_false(b->ops->arm(b, true, false, false));
            assert_false(fd_readable(fd, 0));
            (void)b->ops->arm(b, false, false, false);
            continue;
        }
        if (!b->ops->arm(b, true, true, false))
            assert_true(fd_readable(fd, 1000));
        assert_in_range(b->ops->poll(b, 1 + round % 40), 1, 1 + round % 40);
        assert_true(f->nr - before <= 1 + round % 40);
        ours = frames_of(f, TYPE);
    }
    assert_int_equal(ours, 200);
    for (unsigned i = 0; i < 200; i++)
        assert_true(test_frame_is(&f->frame[i], 60 + i * 7, 2, 9, (uint8_t)i));
    f->room = FAKE_NO_LIMIT;
    while (b->ops->poll(b, VIO_NET_BURST) > 0) /* the kernel's own last words */
        ;
    assert_int_equal(b->ops->poll(b, 0), 0);
    close(raw);
    tap_stop(b, f);
}

/* ------------------------------------------------------------------ offloads */

#define TCP_HEADERS 54u
#define TCP_PAYLOAD 4000u
#define TCP_SEGMENT 1000u

static uint32_t sum16(const uint8_t *bytes, size_t len, uint32_t sum)
{
    for (size_t i = 0; i < len; i++)
        sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

/* TCP from 192.0.2.FROM to .TO with its checksum begun (the pseudo header's sum), as an offload wants it. */
static uint32_t tcp_frame(uint8_t *frame, uint8_t from, uint8_t to, uint32_t payload)
{
    const uint8_t head[TCP_HEADERS] = {
        2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 8, 0,
        0x45, 0, (uint8_t)((40 + payload) >> 8), (uint8_t)(40 + payload), 0, 1, 0x40, 0, 64, 6, 0, 0,
        192, 0, 2, from, 192, 0, 2, to,
        0x10, 0, 0x20, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 16, 0, 0, 0, 0, 0,
    };
    const uint8_t pseudo[4] = { 0, 6, (uint8_t)((20 + payload) >> 8), (uint8_t)(20 + payload) };
    uint32_t sum;

    memcpy(frame, head, sizeof head);
    sum = 0xffff ^ sum16(frame + 14, 20, 0);
    frame[24] = (uint8_t)(sum >> 8);
    frame[25] = (uint8_t)sum;
    sum = sum16(pseudo, 4, sum16(frame + 26, 8, 0));
    frame[50] = (uint8_t)(sum >> 8);
    frame[51] = (uint8_t)sum;
    for (uint32_t i = 0; i < payload; i++)
        frame[TCP_HEADERS + i] = (uint8_t)(i * 11 + (i >> 8));
    return TCP_HEADERS + payload;
}

static bool tcp_checksum_holds(const uint8_t *frame, uint32_t len)
{
    const uint8_t pseudo[4] = { 0, 6, (uint8_t)((len - 34) >> 8), (uint8_t)(len - 34) };

    return sum16(frame + 34, len - 34, sum16(pseudo, 4, sum16(frame + 26, 8, 0))) == 0xffff;
}

static const struct vio_net_hdr tcp_gso = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
                                            .hdr_len = TCP_HEADERS, .gso_size = TCP_SEGMENT, .csum_start = 34,
                                            .csum_offset = 16 };

static void large_packet_goes_in_whole(void **state)
{
    static uint8_t frame[TCP_HEADERS + TCP_PAYLOAD], got[70000];
    static struct fake_packet made[3];
    struct fake_sink *f = fake_sink_make();
    struct vio_net_packet p[3];
    struct vio_net_backend *b;
    struct virtio_net_hdr seen = { 0 };
    int raw;
    ssize_t n;

    (void)state;
    need_tap();
    b = tap_open(&NOT_SUCH, f);
    raw = raw_socket("vtest0", true, ETH_P_IP);
    p[0] = p[2] = *fake_packet(&made[0], frame, tcp_frame(frame, 2, 1, TCP_PAYLOAD), 5);
    p[1] = *fake_packet(&made[1], frame, 300, 2);
    p[0].hdr = p[2].hdr = tcp_gso;
    p[2].hdr.gso_type = VIRTIO_NET_HDR_GSO_NONE;
    p[1].hdr = (struct vio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 65000, .csum_offset = 16 };
    /* The one in the middle makes no sense to the kernel: counted, and the others go. */
    assert_int_equal(b->ops->send(b, p, 3), 3);
    assert_int_equal(tap_counter(b, "tx_refused"), 1);
    n = recv(raw, got, sizeof got, 0);
    assert_int_equal(n, 10 + sizeof frame);
    memcpy(&seen, got, 10);
    assert_int_equal(seen.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
    assert_int_equal(vio_cpu(seen.gso_size), TCP_SEGMENT);
    assert_true(seen.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
    assert_memory_equal(got + 10, frame, sizeof frame);
    assert_int_equal(recv(raw, got, sizeof got, 0), 10 + sizeof frame);
    assert_int_equal(got[1], VIRTIO_NET_HDR_GSO_NONE);
    close(raw);
    tap_stop(b, f);
}

static void send_gso(int raw, uint8_t *room, uint32_t payload)
{
    struct virtio_net_hdr h = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
                                .hdr_len = vio_le16_of(TCP_HEADERS), .gso_size = vio_le16_of(TCP_SEGMENT),
                                .csum_start = vio_le16_of(34), .csum_offset = vio_le16_of(16) };
    uint32_t len = tcp_frame(room + 10, 1, 2, payload);

    memcpy(room, &h, 10);
    assert_int_equal(send(raw, room, 10 + len, 0), 10 + len);
}

static void large_packet_comes_as_accepted(void **state)
{
    static uint8_t room[10 + TCP_HEADERS + 60000];
    struct fake_sink *f = fake_sink_make();
    struct vio_net_backend *b;
    struct vio_net_info info;
    uint32_t at = 0;
    int raw;

    (void)state;
    need_tap();
    b = tap_open(&NOT_SUCH, f);
    b->ops->info(b, &info);
    raw = raw_socket("vtest0", true, ETH_P_IP);

    /* All accepted: whole, with what is left to do. */
    b->ops->offloads(b, info.gives);
    send_gso(raw, room, 60000);
    assert_true(wait_for(b, f, ETH_P_IP, 1));
    assert_int_equal(f->frame[0].len, TCP_HEADERS + 60000);
    assert_memory_equal(f->frame[0].bytes, room + 10, TCP_HEADERS + 60000);
    assert_int_equal(f->frame[0].hdr.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
    assert_int_equal(f->frame[0].hdr.gso_size, TCP_SEGMENT);
    assert_int_equal(f->frame[0].hdr.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
    assert_int_equal(f->frame[0].hdr.csum_start, 34);
    assert_int_equal(f->frame[0].hdr.csum_offset, 16);
    fake_sink_reset(f);

    /* Turned off: what waits for somebody who would not understand it is dropped, and then the kernel cuts. */
    send_gso(raw, room, TCP_PAYLOAD);
    b->ops->offloads(b, 0);
    send_gso(raw, room, TCP_PAYLOAD);
    assert_true(wait_for(b, f, ETH_P_IP, TCP_PAYLOAD / TCP_SEGMENT));
    assert_int_equal(tap_counter(b, "rx_unwanted"), 1);
    assert_int_equal(f->nr, TCP_PAYLOAD / TCP_SEGMENT);
    for (unsigned i = 0; i < f->nr; i++) {
        assert_int_equal(f->frame[i].len, TCP_HEADERS + TCP_SEGMENT);
        assert_int_equal(f->frame[i].hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, 0);
        assert_int_equal(f->frame[i].hdr.gso_type, VIRTIO_NET_HDR_GSO_NONE);
        assert_true(tcp_checksum_holds(f->frame[i].bytes, f->frame[i].len));
        assert_memory_equal(f->frame[i].bytes + TCP_HEADERS, room + 10 + TCP_HEADERS + at, TCP_SEGMENT);
        at += TCP_SEGMENT;
    }
    fake_sink_reset(f);

    /* Read already, but not taken, when they were turned off. */
    b->ops->offloads(b, VIO_NET_CSUM | VIO_NET_TSO4);
    send_gso(raw, room, TCP_PAYLOAD);
    f->room = 0;
    (void)b->ops->poll(b, VIO_NET_BURST);
    b->ops->offloads(b, VIO_NET_CSUM);
    f->room = FAKE_NO_LIMIT;
    (void)b->ops->poll(b, VIO_NET_BURST);
    assert_int_equal(frames_of(f, ETH_P_IP), 0);
    b->ops->offloads(b, VIO_NET_ECN | VIO_NET_USO); /* nothing to stand on */
    b->ops->offloads(b, VIO_NET_CSUM | VIO_NET_ECN);
    close(raw);
    tap_stop(b, f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_cross),
        cmocka_unit_test(full_sink_loses_nothing),
        cmocka_unit_test(large_packet_goes_in_whole),
        cmocka_unit_test(large_packet_comes_as_accepted),
    };

    return cmocka_run_group_tests_name("backend-net-tap", tests, tap_setup, NULL);
}
