/* SPDX-License-Identifier: MIT */
/* Purpose: see cli/bench_frame.h. */
#include "cli/bench_frame.h"

#include "cli/pattern.h"

enum { ETHERNET = 14, UDP = 34, PORT = 9 /* discard */, PROTOCOL_UDP = 17 };

/* From 02:00:00:00:00:01 and 192.0.2.1 to number 2 of both, without a UDP checksum. */
static const uint8_t head[FRAME_STAMP] = {
    2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, PROTOCOL_UDP, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
    0, PORT, 0, PORT,
};

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static uint32_t get16(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

/* Of the Internet (RFC 1071), folded. */
static uint32_t sum16(const uint8_t *bytes, uint32_t n, uint64_t sum)
{
    for (uint32_t i = 0; i + 1 < n; i += 2)
        sum += get16(bytes + i);
    if (n % 2 != 0)
        sum += (uint32_t)bytes[n - 1] << 8;
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint32_t)sum;
}

/* Each sender is a flow of its own, by its port. */
static void make_head(uint8_t *f, uint32_t size, uint16_t source)
{
    memcpy(f, head, sizeof(head));
    put16(f + 16, size - ETHERNET);
    put16(f + UDP, PORT + (uint32_t)source);
    put16(f + UDP + 4, size - UDP);
    put16(f + 24, ~sum16(f + ETHERNET, UDP - ETHERNET, 0));
}

void frame_make(uint8_t *frame, uint32_t size, uint16_t source)
{
    memset(frame, 0, size);
    make_head(frame, size, source);
}

static uint64_t first_word(const struct frame_stamp *s)
{
    return s->number * 0x9e3779b97f4a7c15u ^ s->sum;
}

void frame_fill(uint8_t *frame, uint32_t size)
{
    struct frame_stamp s;

    memcpy(&s, frame + FRAME_STAMP, sizeof(s));
    pattern_fill(frame + FRAME_MIN, size - FRAME_MIN, first_word(&s));
}

bool frame_whole(const uint8_t *frame, uint32_t size, const struct frame_stamp *stamp)
{
    uint8_t made[FRAME_STAMP];

    make_head(made, size, stamp->mark & 0xff);
    return memcmp(frame + 12, made + 12, sizeof(made) - 12) == 0 &&
           pattern_is(frame + FRAME_MIN, size - FRAME_MIN, first_word(stamp));
}

static bool is_udp(const uint8_t *f, uint32_t held)
{
    return held >= FRAME_STAMP + 8 && f[12] == 8 && f[13] == 0 && f[ETHERNET] == 0x45 && f[23] == PROTOCOL_UDP;
}

enum frame_kind frame_other(const uint8_t *frame, uint32_t held, bool only_ours, struct frame_stamp *stamp)
{
    uint64_t number, swapped;

    if (!is_udp(frame, held))
        return FRAME_FOREIGN;
    if (only_ours && memcmp(frame + 26, head + 26, 8) == 0)
        return FRAME_CORRUPT;
    memcpy(&number, frame + FRAME_STAMP, sizeof(number));
    swapped = __builtin_bswap64(number); /* a sender may write it in either order: small in one of them only */
    *stamp = (struct frame_stamp){ .number = swapped < number ? swapped : number };
    return FRAME_NUMBERED;
}

bool frame_sums_right(const uint8_t *frame, uint32_t size)
{
    uint32_t length;

    if (!is_udp(frame, size))
        return true;
    length = get16(frame + UDP + 4);
    if (sum16(frame + ETHERNET, UDP - ETHERNET, 0) != 0xffff || length > size - UDP || length < 8)
        return false;
    return get16(frame + UDP + 6) == 0 ||
           sum16(frame + UDP, length, sum16(frame + 26, 8, PROTOCOL_UDP + length)) == 0xffff;
}

/* ------------------------------------------------------------------ which numbers came */

static uint64_t *word_of(struct frame_sequence *s, uint64_t number)
{
    return &s->came[number / 64 % SEQUENCE_WORDS];
}

/* Up to this number: the bits of those between are cleared. */
static void advance(struct frame_sequence *s, uint64_t number)
{
    uint64_t from = s->next / 64 + (s->next % 64 != 0), to = number / 64;

    for (uint64_t word = from; word <= to && word < from + SEQUENCE_WORDS; word++)
        s->came[word % SEQUENCE_WORDS] = 0;
    s->next = number + 1;
}

static bool remembered(const struct frame_sequence *s, uint64_t number)
{
    return number / 64 + SEQUENCE_WORDS > (s->next - 1) / 64;
}

void sequence_odd(struct frame_sequence *s, uint64_t number)
{
    uint64_t bit = (uint64_t)1 << number % 64;

    if (!s->begun) {
        s->begun = true;
        s->first = s->next = number;
        memset(s->came, 0, sizeof(s->came));
        advance(s, number);
    } else if (number >= s->next) {
        advance(s, number);
    } else if (remembered(s, number) && *word_of(s, number) & bit) {
        s->twice++;
        return;
    } else {
        s->late++;
        if (number < s->first)
            s->first = number;
        if (!remembered(s, number)) {
            s->unique++;
            return;
        }
    }
    *word_of(s, number) |= bit;
    s->unique++;
}
