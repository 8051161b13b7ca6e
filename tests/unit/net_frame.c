/* SPDX-License-Identifier: MIT */
/* Purpose: Ethernet frames for tests. */
#include "net_frame.h"

#include <string.h>

#include "rng.h"

uint16_t frame_get16(const uint8_t *at)
{
    return (uint16_t)(at[0] * 256 + at[1]);
}

uint32_t frame_get32(const uint8_t *at)
{
    return frame_get16(at) * UINT32_C(65536) + frame_get16(at + 2);
}

void frame_put16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value / 256);
    at[1] = (uint8_t)(value % 256);
}

void frame_put32(uint8_t *at, uint32_t value)
{
    frame_put16(at, value / 65536);
    frame_put16(at + 2, value % 65536);
}

uint16_t frame_sum(const uint8_t *bytes, size_t n, uint32_t sum)
{
    for (size_t i = 0; i < n; i++) {
        sum += i % 2 == 0 ? bytes[i] * 256u : bytes[i];
        sum = sum % 65536 + sum / 65536;
    }
    return (uint16_t)sum;
}

uint16_t frame_pseudo(const struct frame *f, uint32_t n)
{
    uint8_t tail[8] = { 0 };

    frame_put32(tail, n);
    tail[7] = f->proto;
    return frame_sum(tail, sizeof tail, frame_sum(f->pseudo, f->pseudo_bytes, 0));
}

unsigned frame_check_at(const struct frame *f)
{
    return f->proto == TCP ? 16 : 6;
}

/* Differs by place as well as by seed. */
static void random_bytes(struct frame *f, uint32_t at, uint32_t n)
{
    struct rng rng = rng_of(f->seed << 20 | at);

    for (uint32_t i = 0; i < n; i++)
        f->bytes[at + i] = (uint8_t)rng_u64(&rng);
}

static void make_ethernet(struct frame *f)
{
    random_bytes(f, 0, 12);
    f->bytes[0] &= 0xfe;
    f->l3 = 14;
    for (unsigned i = 0; i < f->tags; i++, f->l3 += 4) {
        frame_put16(f->bytes + f->l3 - 2, f->tags == 2 && i == 0 ? 0x88a8 : 0x8100);
        frame_put16(f->bytes + f->l3, 0x6000u | f->vid[i]);
    }
    frame_put16(f->bytes + f->l3 - 2, f->v6 ? 0x86dd : 0x0800);
}

static void make_ipv4(struct frame *f)
{
    uint8_t *ip = f->bytes + f->l3;
    uint32_t header = 20 + 4 * f->options;

    memset(ip, 0, header);
    ip[0] = (uint8_t)(0x40 | header / 4);
    frame_put16(ip + 4, f->id);
    ip[8] = 64;
    ip[9] = f->proto;
    random_bytes(f, f->l3 + 12, 8);
    memcpy(f->pseudo, ip + 12, 8);
    f->pseudo_bytes = 8;
    /* the first word: an option to be copied into fragments; the others: options that are not */
    for (unsigned i = 0; i < f->options; i++)
        memcpy(ip + 20 + 4 * i, i == 0 ? "\x94\x04\x00\x00" : "\x44\x04\x05\x01", 4);
    f->l4 = f->unfragmentable = f->l3 + header;
}

/* One extension header of 8 * (units + 1) bytes; *next: the byte that names it. */
static void extend(struct frame *f, uint32_t *next, uint8_t kind, uint8_t units)
{
    uint8_t *at = f->bytes + f->l4;

    f->bytes[*next] = kind;
    *next = f->l4;
    memset(at, 0, 8 * (units + 1u));
    at[1] = kind == 44 ? 0 : units;
    if (kind == 0 || kind == 60) {
        at[2] = 1; /* PadN */
        at[3] = (uint8_t)(8 * (units + 1) - 4);
    }
    f->l4 += 8 * (units + 1u);
}

static void make_ipv6(struct frame *f)
{
    uint8_t *ip = f->bytes + f->l3;
    uint32_t next = f->l3 + 6;

    memset(ip, 0, 40);
    ip[0] = 0x60;
    ip[7] = 64;
    random_bytes(f, f->l3 + 8, 32);
    memcpy(f->pseudo, ip + 8, 32);
    f->pseudo_bytes = 32;
    f->l4 = f->unfragmentable = f->l3 + 40;
    if (f->ext & EXT_HOP) {
        extend(f, &next, 0, 0);
        f->unfragmentable = f->l4;
    }
    if (f->ext & EXT_DEST_FIRST)
        extend(f, &next, 60, 1);
    if (f->ext & EXT_ROUTING) {
        extend(f, &next, 43, 2);
        f->bytes[next + 2] = 2; /* of Mobile IPv6: the home address */
        f->bytes[next + 3] = 1;
        random_bytes(f, next + 8, 16);
        memcpy(f->pseudo + 16, f->bytes + next + 8, 16);
        f->unfragmentable = f->l4;
    }
    if (f->ext & EXT_DEST)
        extend(f, &next, 60, 0);
    if (f->ext & EXT_FRAGMENT)
        extend(f, &next, 44, 0);
    f->bytes[next] = f->proto;
}

static void make_transport(struct frame *f)
{
    uint8_t *at = f->bytes + f->l4;
    uint32_t header = f->proto == TCP ? 20 + 4 * f->tcp_options : 8;

    random_bytes(f, f->l4, header);
    f->data = f->l4 + header;
    f->len = f->data + f->payload;
    random_bytes(f, f->data, f->payload);
    if (f->proto == TCP) {
        frame_put32(at + 4, f->seq);
        at[12] = (uint8_t)(header / 4 * 16);
        at[13] = f->tcp_flags;
    } else {
        frame_put16(at + 4, header + f->payload);
    }
    frame_put16(at + frame_check_at(f), frame_pseudo(f, header + f->payload));
}

void frame_make(struct frame *f)
{
    make_ethernet(f);
    if (f->v6)
        make_ipv6(f);
    else
        make_ipv4(f);
    make_transport(f);
    if (f->v6) {
        frame_put16(f->bytes + f->l3 + 4, f->len - f->l3 - 40);
        return;
    }
    frame_put16(f->bytes + f->l3 + 2, f->len - f->l3);
    frame_put16(f->bytes + f->l3 + 10, 0xffffu & ~(unsigned)frame_sum(f->bytes + f->l3, f->l4 - f->l3, 0));
}
