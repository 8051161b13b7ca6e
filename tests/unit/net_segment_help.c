/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the reference that segments and fragments are judged by: each field is worked out again from the whole frame,
 * checksums byte by byte, payloads put together again. Nothing of the library's is used but finish_csum().
 */
#include "net_segment_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "spec/net.h"

/* ------------------------------------------------------------------ collecting */

static bool collect(void *ctx, const struct vio_net_hdr *hdr, const uint8_t *frame, uint32_t len)
{
    struct pieces *p = ctx;

    assert_in_range(p->nr, 0, PIECES_MAX - 1);
    p->piece[p->nr].hdr = *hdr;
    p->piece[p->nr].len = len;
    p->piece[p->nr].bytes = malloc(len);
    memcpy(p->piece[p->nr].bytes, frame, len);
    p->nr++;
    return p->nr != p->stop_after;
}

int segment(const struct vio_net_hdr *hdr, const uint8_t *bytes, uint32_t len, unsigned takes, struct pieces *out)
{
    uint8_t *frame = malloc(len > 0 ? len : 1), *room = malloc(len + VIO_NET_CUT_ROOM);
    int rc;

    memcpy(frame, bytes, len);
    out->nr = 0;
    rc = vio_net_segment(hdr, frame, len, takes, room, collect, out);
    assert_memory_equal(frame, bytes, len);
    free(frame);
    free(room);
    return rc;
}

void pieces_free(struct pieces *p)
{
    for (unsigned i = 0; i < p->nr; i++)
        free(p->piece[i].bytes);
    p->nr = 0;
}

struct vio_net_hdr header_of(const struct frame *f, uint8_t gso_type, uint16_t gso_size)
{
    return (struct vio_net_hdr){
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = gso_type,
        .hdr_len = (uint16_t)f->data,
        .gso_size = gso_size,
        .csum_start = (uint16_t)f->l4,
        .csum_offset = (uint16_t)frame_check_at(f),
    };
}

/* ------------------------------------------------------------------ IP */

static void check_ip(const struct frame *f, const struct piece *s, uint16_t id)
{
    const uint8_t *ip = s->bytes + f->l3;

    assert_in_range(s->len, f->l3 + 20, VIO_NET_FRAME_MAX);
    assert_memory_equal(s->bytes, f->bytes, f->l3);
    if (f->v6) {
        assert_int_equal(frame_get16(ip + 4), s->len - f->l3 - 40);
        assert_memory_equal(ip, f->bytes + f->l3, 4);
        assert_memory_equal(ip + 7, f->bytes + f->l3 + 7, 33);
        return;
    }
    assert_int_equal(frame_get16(ip + 2), s->len - f->l3);
    assert_int_equal(frame_get16(ip + 4), id);
    assert_int_equal(frame_sum(ip, 20 + 4 * f->options, 0), 0xffff);
    assert_memory_equal(ip, f->bytes + f->l3, 2);
    assert_memory_equal(ip + 8, f->bytes + f->l3 + 8, 2);
    assert_memory_equal(ip + 12, f->bytes + f->l3 + 12, 8);
}

/* ------------------------------------------------------------------ segments and datagrams */

static void check_tcp(const struct frame *f, const uint8_t *tcp, uint32_t offset, bool last)
{
    uint8_t flags = f->tcp_flags;

    if (!last)
        flags &= (uint8_t)~0x09; /* FIN, PSH */
    if (offset > 0)
        flags &= 0x7f; /* CWR */
    assert_int_equal(frame_get32(tcp + 4), f->seq + offset);
    assert_int_equal(tcp[13], flags);
    assert_memory_equal(tcp, f->bytes + f->l4, 4);
    assert_memory_equal(tcp + 8, f->bytes + f->l4 + 8, 5);
    assert_memory_equal(tcp + 14, f->bytes + f->l4 + 14, 2);
    assert_memory_equal(tcp + 18, f->bytes + f->l4 + 18, f->data - f->l4 - 18);
}

static void check_sums(const struct frame *f, struct piece *s, unsigned takes)
{
    uint32_t bytes = s->len - f->l4;
    uint8_t *check = s->bytes + f->l4 + frame_check_at(f);
    uint16_t pseudo = frame_pseudo(f, bytes);

    assert_int_equal(s->hdr.gso_type, VIRTIO_NET_HDR_GSO_NONE);
    assert_int_equal(s->hdr.gso_size, 0);
    assert_int_equal(s->hdr.hdr_len, 0);
    assert_int_equal(vio_net_needs(&s->hdr), takes & VIO_NET_CSUM);
    if (takes & VIO_NET_CSUM) {
        assert_int_equal(s->hdr.csum_start, f->l4);
        assert_int_equal(s->hdr.csum_offset, frame_check_at(f));
        /* 0 and 0xffff are the same in one's complement */
        assert_int_equal(frame_get16(check) % 0xffff, pseudo % 0xffff);
        assert_true(vio_net_finish_csum(&s->hdr, s->bytes, s->len));
    }
    assert_int_equal(frame_sum(s->bytes + f->l4, bytes, pseudo), 0xffff);
    if (f->proto == UDP)
        assert_int_not_equal(frame_get16(check), 0);
}

void check_segments(const struct frame *f, const struct pieces *p, uint32_t size, unsigned takes)
{
    uint32_t offset = 0;

    assert_int_equal(p->nr, (f->payload + size - 1) / size);
    for (unsigned i = 0; i < p->nr; i++) {
        struct piece s = p->piece[i];
        uint32_t want = f->payload - offset < size ? f->payload - offset : size;

        assert_int_equal(s.len, f->data + want);
        check_ip(f, &s, (uint16_t)(f->id + i));
        /* IP's flags and options, or extension headers */
        if (f->v6)
            assert_memory_equal(s.bytes + f->l3 + 6, f->bytes + f->l3 + 6, f->l4 - f->l3 - 6);
        else
            assert_memory_equal(s.bytes + f->l3 + 6, f->bytes + f->l3 + 6, 2);
        assert_memory_equal(s.bytes + f->l3 + 20, f->bytes + f->l3 + 20, f->l4 - f->l3 - 20);
        if (f->proto == TCP) {
            check_tcp(f, s.bytes + f->l4, offset, i + 1 == p->nr);
        } else {
            assert_memory_equal(s.bytes + f->l4, f->bytes + f->l4, 4);
            assert_int_equal(frame_get16(s.bytes + f->l4 + 4), 8 + want);
        }
        assert_memory_equal(s.bytes + f->data, f->bytes + f->data + offset, want);
        check_sums(f, &s, takes);
        offset += want;
    }
    assert_int_equal(offset, f->payload);
}

/* ------------------------------------------------------------------ fragments */

/* What a receiver has put together so far. */
struct whole {
    uint32_t bytes;
    uint8_t byte[FRAME_ROOM];
};

static void gather(struct whole *w, const struct piece *s, uint32_t at, uint32_t offset, bool more, bool last)
{
    assert_int_equal(more, !last);
    assert_int_equal(offset, w->bytes);
    assert_true(last || (s->len - at) % 8 == 0);
    memcpy(w->byte + w->bytes, s->bytes + at, s->len - at);
    w->bytes += s->len - at;
}

static void gather_ipv4(const struct frame *f, struct whole *w, const struct piece *s, bool first, bool last)
{
    const uint8_t *ip = s->bytes + f->l3;
    unsigned flags = frame_get16(ip + 6);

    check_ip(f, s, f->id);
    assert_int_equal(flags & 0xc000, 0);
    for (unsigned i = 0; i < f->options; i++)
        assert_memory_equal(ip + 20 + 4 * i, i == 0 ? "\x94\x04\x00\x00" : first ? "\x44\x04\x05\x01" : "\x01\x01\x01\x01", 4);
    gather(w, s, f->l4, (flags & 0x1fff) * 8, (flags & 0x2000) != 0, last);
}

static void gather_ipv6(const struct frame *f, struct whole *w, const struct piece *s, uint32_t *id, bool last)
{
    uint32_t end = f->unfragmentable, next = f->l3 + 6;
    const uint8_t *header = s->bytes + end;
    unsigned offset = frame_get16(header + 2);

    check_ip(f, s, 0);
    for (uint32_t at = f->l3 + 40; at < end; at += 8u + 8u * s->bytes[at + 1])
        next = at;
    assert_int_equal(s->bytes[next], 44);
    assert_int_equal(header[0], f->bytes[next]);
    assert_int_equal(header[1], 0);
    if (w->bytes == 0)
        *id = frame_get32(header + 4);
    assert_int_equal(frame_get32(header + 4), *id);
    for (uint32_t at = f->l3 + 40; at < end; at++)
        assert_true(at == next || s->bytes[at] == f->bytes[at]);
    gather(w, s, end + 8, offset & 0xfff8, (offset & 1) != 0, last);
    assert_int_equal(offset & 6, 0);
}

void check_fragments(const struct frame *f, const struct pieces *p, uint32_t size)
{
    static struct whole w;
    uint32_t id = 0, part = f->len - f->unfragmentable, udp = f->l4 - f->unfragmentable;

    w.bytes = 0;
    assert_int_equal(p->nr, (part + size - 1) / size);
    for (unsigned i = 0; i < p->nr; i++) {
        const struct piece *s = &p->piece[i];

        assert_int_equal(vio_net_needs(&s->hdr), 0);
        assert_int_equal(s->hdr.gso_type, VIRTIO_NET_HDR_GSO_NONE);
        if (f->v6)
            gather_ipv6(f, &w, s, &id, i + 1 == p->nr);
        else
            gather_ipv4(f, &w, s, i == 0, i + 1 == p->nr);
    }
    assert_int_equal(w.bytes, part);
    assert_int_equal(frame_sum(w.byte + udp, w.bytes - udp, frame_pseudo(f, w.bytes - udp)), 0xffff);
    memcpy(w.byte + udp + 6, f->bytes + f->l4 + 6, 2);
    assert_memory_equal(w.byte, f->bytes + f->unfragmentable, part);
}
