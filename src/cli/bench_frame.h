/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the frames that `vio bench` sends through a network device, and what it makes of those that come: UDP over IPv4 with a
 * running number, a time and a sum over both; which numbers came, twice, late, or not. Where it sits: cli/, for bench_net.c.
 * Threads: one for each struct frame_sequence. Trust: a frame that came may be anything.
 */
#ifndef VIO_CLI_BENCH_FRAME_H
#define VIO_CLI_BENCH_FRAME_H

#include <string.h>
#include <vio/types.h>

enum {
    FRAME_MIN = 60,       /* of Ethernet, without its check sequence; the stamp ends here */
    FRAME_MAX = 65535,
    FRAME_SOURCES = 64,   /* senders that can be told apart */
    FRAME_STAMP = 42,     /* behind Ethernet, IPv4 and UDP */
    FRAME_MARK = 0x7600,  /* and the sender's number in the lower byte */
    FRAME_TICK = 8,       /* ns; a time is told within 34 s */
};

/* At FRAME_STAMP, in host order: both ends are this program. */
struct frame_stamp {
    uint64_t number;
    uint32_t ticks, sum;
    uint16_t mark;
} __attribute__((packed));
_Static_assert(FRAME_STAMP + sizeof(struct frame_stamp) == FRAME_MIN, "the smallest frame holds it");

/* A frame of `size` bytes from sender number `source`, without its stamp. */
void frame_make(uint8_t *frame, uint32_t size, uint16_t source);

/* Of all that tells a frame from another. */
static inline uint32_t frame_sum(const struct frame_stamp *s, uint32_t size, uint64_t seed)
{
    uint64_t a = (s->number ^ seed) * 0x9e3779b97f4a7c15u, b = ((uint64_t)s->ticks << 32 | (uint32_t)s->mark << 16) + size;

    a ^= a >> 29;
    a = (a + b) * 0xbf58476d1ce4e5b9u;
    return (uint32_t)(a >> 32);
}

/* now: ns. fill: the rest of the frame follows from the stamp too, and can be checked. */
static inline void frame_stamp(uint8_t *frame, uint32_t size, uint64_t number, uint64_t now, uint16_t source, uint64_t seed)
{
    struct frame_stamp s = { .number = number, .ticks = (uint32_t)(now / FRAME_TICK), .mark = (uint16_t)(FRAME_MARK | source) };

    s.sum = frame_sum(&s, size, seed);
    memcpy(frame + FRAME_STAMP, &s, sizeof(s));
}

/* The bytes behind the stamp, made from it: for those who check them. */
void frame_fill(uint8_t *frame, uint32_t size);

enum frame_kind {
    FRAME_OURS,     /* as it was sent, as far as was looked */
    FRAME_CORRUPT,  /* ours by its addresses and ports, but not as it was sent */
    FRAME_NUMBERED, /* somebody else's UDP with a running number behind its header: stamp.number */
    FRAME_FOREIGN,
};

/* The stamp of a frame of `size` bytes whose first `held` are here; stamp is filled for OURS and NUMBERED. */
static inline bool frame_ours(const uint8_t *frame, uint32_t held, uint32_t size, uint64_t seed, struct frame_stamp *stamp)
{
    if (held < FRAME_MIN)
        return false;
    memcpy(stamp, frame + FRAME_STAMP, sizeof(*stamp));
    return (stamp->mark & 0xff00) == FRAME_MARK && (stamp->mark & 0xff) < FRAME_SOURCES &&
           stamp->sum == frame_sum(stamp, size, seed);
}

/* Of a frame that is not frame_ours(). only_ours: nobody else sends with these addresses. */
enum frame_kind frame_other(const uint8_t *frame, uint32_t held, bool only_ours, struct frame_stamp *stamp);
/* Of one that is: whether all of it, but the Ethernet addresses, is as it was made and filled. */
bool frame_whole(const uint8_t *frame, uint32_t size, const struct frame_stamp *stamp);
/* Whether the sums of IPv4 and, where there is one, of UDP are right. */
bool frame_sums_right(const uint8_t *frame, uint32_t size);

/* ------------------------------------------------------------------ which numbers came */

enum { SEQUENCE_WORDS = 64 };

struct frame_sequence {
    uint64_t first, next; /* the first number that came; one more than the highest */
    uint64_t unique, late, twice; /* late: behind a higher one */
    bool begun;
    uint64_t came[SEQUENCE_WORDS]; /* bits of the last numbers, around */
};

/* Below the highest so far, or above the next. */
void sequence_odd(struct frame_sequence *s, uint64_t number);

static inline void sequence_note(struct frame_sequence *s, uint64_t number)
{
    uint64_t *word = &s->came[number / 64 % SEQUENCE_WORDS];

    if (number != s->next || !s->begun) {
        sequence_odd(s, number);
        return;
    }
    if (number % 64 == 0)
        *word = 0;
    *word |= (uint64_t)1 << number % 64;
    s->next++;
    s->unique++;
}

#endif
