/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a device that lies to our driver side: every id, length, index and flag there is to get wrong. Each lie has
 * its fault; what was right before it is collected, nothing is read or written elsewhere, and after a reset the
 * driver has every buffer back, once. Then the same at random, against a list of what is in flight.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spec/ring.h"
#include "spec/virtio.h"
#include "support/guest.h"
#include "support/le.h"

enum { SIZE = 8, BYTES = 64 };

struct lie {
    struct vio_drvq *q;
    void *mem;
    size_t bytes;
    bool packed, in_order;
    uint8_t *desc, *driver, *device;
    uint16_t used, at; /* the lying device's index or position */
    bool wrap;
};

static void lie_open(struct lie *l, uint16_t size, bool packed, bool in_order)
{
    struct vio_queue_layout a = vio_queue_layout(size, packed);
    struct vio_drvq_params p = {
        .size = size,
        .features = vio_features_of(VIO_FEATURE(VIRTIO_F_VERSION_1) | (packed ? VIO_FEATURE(VIRTIO_F_RING_PACKED) : 0) |
                                    (in_order ? VIO_FEATURE(VIRTIO_F_IN_ORDER) : 0)),
    };

    *l = (struct lie){ .packed = packed, .in_order = in_order, .wrap = true };
    CHECK(posix_memalign((void **)&l->desc, 64, a.desc_bytes) == 0);
    CHECK(posix_memalign((void **)&l->driver, 64, a.driver_bytes) == 0);
    CHECK(posix_memalign((void **)&l->device, 64, a.device_bytes) == 0);
    p.desc = l->desc;
    p.driver = l->driver;
    p.device = l->device;
    l->bytes = vio_drvq_bytes(&p);
    l->mem = queue_mem(l->bytes);
    CHECK(vio_drvq_start(l->mem, &p, &l->q) == 0);
}

static void lie_close(struct lie *l)
{
    queue_mem_free(l->mem, l->bytes);
    free(l->desc);
    free(l->driver);
    free(l->device);
}

/* n buffers of one readable and one writable piece; tokens 0, 1, 2... Ids are 0, 2, 4 (split) or 0, 1, 2 (packed). */
static void give(struct lie *l, unsigned n)
{
    struct vio_buf bufs[2] = { { 0x1000, 16 }, { 0x2000, BYTES } };

    for (unsigned i = 0; i < n; i++)
        CHECK(vio_drvq_put(l->q, bufs, 1, 1, i) == 0);
    CHECK(vio_drvq_publish(l->q));
}

static uint16_t id_of(const struct lie *l, unsigned i)
{
    return (uint16_t)(l->packed ? i : 2 * i);
}

/* Packed: slots is how far the lying device steps. */
static void use(struct lie *l, uint32_t id, uint32_t len, unsigned slots)
{
    if (l->packed) {
        uint64_t flags = (l->wrap ? 0x8080u : 0u) | VIRTQ_DESC_F_WRITE;
        uint64_t word = len | (uint64_t)(id & 0xffff) << 32 | flags << 48;

        le_set64(l->desc + l->at * 16 + 8, word);
        l->at = (uint16_t)(l->at + slots);
        if (l->at >= SIZE) {
            l->at = (uint16_t)(l->at - SIZE);
            l->wrap = !l->wrap;
        }
    } else {
        le_set32(l->device + 4 + 8 * (l->used % SIZE), id);
        le_set32(l->device + 8 + 8 * (l->used % SIZE), len);
        l->used++;
        le_set16(l->device + 2, l->used);
    }
}

static void set_idx(struct lie *l, uint16_t idx)
{
    l->used = idx;
    le_set16(l->device + 2, idx);
}

static void expect(struct lie *l, unsigned good, enum vio_fault fault, unsigned in_flight)
{
    struct vio_done done[16];
    unsigned got = 0, n;
    uint64_t token, seen = 0;

    while ((n = vio_drvq_collect(l->q, done, 1 + got % 3)) > 0) {
        for (unsigned i = 0; i < n; i++)
            CHECK(done[i].len <= BYTES && done[i].token < 16);
        got += n;
        CHECK(got <= 16);
    }
    if (vio_drvq_fault(l->q) != fault)
        FAIL("fault %s, must be %s", vio_fault_name(vio_drvq_fault(l->q)), vio_fault_name(fault));
    if (got != good)
        FAIL("%u collected, must be %u", got, good);
    CHECK(vio_drvq_in_flight(l->q) == in_flight);
    if (fault != VIO_FAULT_NONE) {
        struct vio_buf one = { 0x1000, 1 };

        CHECK(!vio_drvq_pending(l->q) && !vio_drvq_arm_call(l->q));
        CHECK(vio_drvq_put(l->q, &one, 1, 0, 99) == -5);
        CHECK(!vio_drvq_publish(l->q));
    }
    for (n = 0; vio_drvq_detach(l->q, &token); n++) {
        CHECK(token < 64 && (seen >> token & 1) == 0);
        seen |= UINT64_C(1) << token;
    }
    CHECK(n == in_flight && vio_drvq_in_flight(l->q) == 0);
    lie_close(l);
}

static void both(bool packed)
{
    const char *form = packed ? "packed" : "split";
    struct lie l;

    test_context("%s: honest, any order", form);
    lie_open(&l, SIZE, packed, false);
    give(&l, 3);
    use(&l, id_of(&l, 2), 64, 2);
    use(&l, id_of(&l, 0), 0, 2);
    expect(&l, 2, VIO_FAULT_NONE, 1);

    test_context("%s: id past the queue", form);
    lie_open(&l, SIZE, packed, false);
    give(&l, 3);
    use(&l, id_of(&l, 0), 64, 2);
    use(&l, SIZE, 0, 2);
    expect(&l, 1, VIO_FAULT_USED_ID, 2);

    test_context("%s: id 65535", form);
    lie_open(&l, SIZE, packed, false);
    give(&l, 1);
    use(&l, 0xffff, 0, 2);
    expect(&l, 0, VIO_FAULT_USED_ID, 1);

    test_context("%s: id not in flight", form);
    lie_open(&l, SIZE, packed, false);
    give(&l, 2);
    use(&l, 7, 0, 2);
    expect(&l, 0, VIO_FAULT_USED_NOT_IN_FLIGHT, 2);

    test_context("%s: id twice", form);
    lie_open(&l, SIZE, packed, false);
    give(&l, 3);
    use(&l, id_of(&l, 1), 1, 2);
    use(&l, id_of(&l, 1), 1, 2);
    expect(&l, 1, VIO_FAULT_USED_NOT_IN_FLIGHT, 2);

    test_context("%s: a length beyond the buffer", form);
    lie_open(&l, SIZE, packed, false);
    give(&l, 3);
    use(&l, id_of(&l, 0), BYTES, 2);
    use(&l, id_of(&l, 1), BYTES + 1, 2);
    expect(&l, 1, VIO_FAULT_USED_LEN, 2);

    test_context("%s: a length of 4 GiB", form);
    lie_open(&l, SIZE, packed, false);
    give(&l, 1);
    use(&l, id_of(&l, 0), UINT32_MAX, 2);
    expect(&l, 0, VIO_FAULT_USED_LEN, 1);

    test_context("%s: used, with nothing available", form);
    lie_open(&l, SIZE, packed, false);
    use(&l, 0, 0, 1);
    expect(&l, 0, VIO_FAULT_USED_IDX, 0);
    printf("ok - %s: ids, lengths\n", form);
}

static void split_only(void)
{
    struct lie l;

    test_context("split: index runs away");
    lie_open(&l, SIZE, false, false);
    give(&l, 2);
    set_idx(&l, 3);
    expect(&l, 0, VIO_FAULT_USED_IDX, 2);

    test_context("split: index goes back");
    lie_open(&l, SIZE, false, false);
    give(&l, 2);
    set_idx(&l, 0xffff);
    expect(&l, 0, VIO_FAULT_USED_IDX, 2);

    test_context("split: a descriptor inside a chain");
    lie_open(&l, SIZE, false, false);
    give(&l, 2);
    use(&l, 1, 0, 0);
    expect(&l, 0, VIO_FAULT_USED_NOT_IN_FLIGHT, 2);

    test_context("split: id 2^16 + 0");
    lie_open(&l, SIZE, false, false);
    give(&l, 2);
    use(&l, 0x10000, 0, 0);
    expect(&l, 0, VIO_FAULT_USED_ID, 2);
    puts("ok - split: indices");
}

static void packed_only(void)
{
    struct lie l;

    test_context("packed: garbage that is not used");
    lie_open(&l, SIZE, true, false);
    give(&l, 2);
    l.desc[14] = 0x80;
    l.desc[15] = 0x7f; /* AVAIL, and not USED */
    expect(&l, 0, VIO_FAULT_NONE, 2);

    test_context("packed: garbage that is used");
    lie_open(&l, SIZE, true, false);
    give(&l, 2);
    memset(l.desc, 0xff, 16); /* id 65535 */
    expect(&l, 0, VIO_FAULT_USED_ID, 2);

    test_context("packed: without WRITE the length means nothing (2.8.4)");
    lie_open(&l, SIZE, true, false);
    give(&l, 1);
    memset(l.desc + 8, 0xff, 4);
    memset(l.desc + 12, 0, 2);
    l.desc[14] = l.desc[15] = 0x80;
    expect(&l, 1, VIO_FAULT_NONE, 0);

    test_context("packed: used before the driver's own position");
    lie_open(&l, SIZE, true, false);
    give(&l, 1);
    use(&l, 0, 0, 2);
    use(&l, 0, 0, 2);
    expect(&l, 1, VIO_FAULT_USED_IDX, 0);
    puts("ok - packed: flags");
}

static void in_order(bool packed)
{
    const char *form = packed ? "packed" : "split";
    struct lie l;

    test_context("%s in order: a batch by its last", form);
    lie_open(&l, SIZE, packed, true);
    give(&l, 3);
    use(&l, id_of(&l, 2), 5, 6);
    if (!packed)
        set_idx(&l, 3);
    expect(&l, 3, VIO_FAULT_NONE, 0);

    test_context("%s in order: the middle one, but only one", form);
    lie_open(&l, SIZE, packed, true);
    give(&l, 3);
    use(&l, id_of(&l, 1), 5, 4);
    if (packed)
        expect(&l, 2, VIO_FAULT_NONE, 1);
    else /* the index says one, the id says two */
        expect(&l, 1, VIO_FAULT_USED_ORDER, 2);

    test_context("%s in order: id past the queue", form);
    lie_open(&l, SIZE, packed, true);
    give(&l, 2);
    use(&l, 100, 5, 4);
    expect(&l, 0, VIO_FAULT_USED_ID, 2);

    test_context("%s in order: not in flight", form);
    lie_open(&l, SIZE, packed, true);
    give(&l, 2);
    use(&l, 7, 5, 4);
    expect(&l, 0, VIO_FAULT_USED_NOT_IN_FLIGHT, 2);

    test_context("%s in order: length", form);
    lie_open(&l, SIZE, packed, true);
    give(&l, 2);
    use(&l, id_of(&l, 1), BYTES + 1, 4);
    expect(&l, 0, VIO_FAULT_USED_LEN, 2);
    printf("ok - %s in order\n", form);
}

/* ------------------------------------------------------------------ at random */

static void scribble(struct lie *l, struct rng *rng, uint16_t size)
{
    struct vio_queue_layout a = vio_queue_layout(size, l->packed);

    for (unsigned n = rng_range(rng, 1, 4); n > 0; n--) {
        if (l->packed) {
            uint32_t i = rng_below(rng, size);
            uint64_t word = rng_below(rng, 80) | (uint64_t)rng_below(rng, size + 1u) << 32 |
                            (uint64_t)((rng_u64(rng) & 0x8083) | (rng_below(rng, 2) != 0 ? 0x8080 : 0)) << 48;

            le_set64(l->desc + i * 16 + 8, word);
        } else if (rng_below(rng, 3) == 0) {
            uint16_t idx;

            idx = le_get16(l->device + 2);
            idx = (uint16_t)(idx + rng_below(rng, 4));
            le_set16(l->device + 2, idx);
        } else {
            uint32_t at = 4 + 8 * rng_below(rng, size);

            le_set32(l->device + at, rng_below(rng, size + 1u));
            le_set32(l->device + at + 4, rng_below(rng, 80));
        }
        if (rng_below(rng, 6) == 0)
            l->device[rng_below(rng, (uint32_t)a.device_bytes)] = (uint8_t)rng_u64(rng);
        if (l->packed && rng_below(rng, 6) == 0)
            l->desc[rng_below(rng, (uint32_t)a.desc_bytes)] = (uint8_t)rng_u64(rng);
    }
}

/* What a true device does: the oldest buffer that is available, if there is one. */
static void honest(struct lie *l, uint16_t size)
{
    uint16_t avail, id, flags;
    unsigned slots = 1;

    if (!l->packed) {
        avail = le_get16(l->driver + 2);
        if (avail == l->used)
            return;
        id = le_get16(l->driver + 4 + 2 * (l->used % size));
        le_set32(l->device + 4 + 8 * (l->used % size), id);
        memset(l->device + 8 + 8 * (l->used % size), 0, 4);
        set_idx(l, (uint16_t)(l->used + 1));
        return;
    }
    flags = le_get16(l->desc + l->at * 16 + 14);
    if ((flags & 0x8080) != (l->wrap ? 0x80 : 0x8000))
        return;
    for (uint16_t at = l->at; (flags & VIRTQ_DESC_F_NEXT) != 0 && slots < size; slots++) {
        at = (uint16_t)(at + 1 == size ? 0 : at + 1);
        flags = le_get16(l->desc + at * 16 + 14);
    }
    flags = l->wrap ? 0x8080 : 0;
    le_set16(l->desc + l->at * 16 + 14, flags);
    l->at = (uint16_t)(l->at + slots);
    if (l->at >= size) {
        l->at = (uint16_t)(l->at - size);
        l->wrap = !l->wrap;
    }
}

/* Whatever the device writes, the driver's own books stay right: tokens once, counts that add up. */
static bool books(uint64_t seed, uint64_t *collected)
{
    struct rng rng = rng_of(seed);
    static const uint16_t sizes[] = { 1, 2, 4, 8, 16 };
    uint16_t size = sizes[rng_below(&rng, 5)];
    struct lie l;
    bool out[4096] = { false };
    unsigned next = 0, in_flight = 0, fresh = 0;
    struct vio_done done[8];
    uint64_t token;
    bool broke;

    test_context("a lying device at random, seed %llu", (unsigned long long)seed);
    lie_open(&l, size, rng_below(&rng, 2) != 0, rng_below(&rng, 2) != 0);
    for (int step = 0; step < 300; step++) {
        struct vio_buf bufs[3] = { { 1, 16 }, { 2, 30 }, { 3, 30 } };
        unsigned n, nr = rng_range(&rng, 1, 3);

        switch (rng_below(&rng, 6)) {
        case 0:
        case 1:
            if (vio_drvq_put(l.q, bufs, 1, nr - 1, next) == 0) {
                out[next++] = true;
                in_flight++;
                fresh++;
            }
            break;
        case 2:
            (void)!vio_drvq_publish(l.q);
            if (vio_drvq_fault(l.q) == VIO_FAULT_NONE)
                fresh = 0;
            break;
        case 3:
            vio_drvq_rewind(l.q);
            for (; fresh > 0; fresh--, in_flight--)
                out[--next] = false;
            break;
        case 4:
            n = vio_drvq_collect(l.q, done, rng_range(&rng, 1, 8));
            for (unsigned i = 0; i < n; i++) {
                CHECK(done[i].token < next - fresh && out[done[i].token] && done[i].len <= 60);
                out[done[i].token] = false;
            }
            in_flight -= n;
            *collected += n;
            break;
        default:
            if (rng_below(&rng, 60) == 0)
                scribble(&l, &rng, size);
            else
                honest(&l, size);
        }
        CHECK(vio_drvq_in_flight(l.q) == in_flight && vio_drvq_free(l.q) <= size);
        CHECK(in_flight > 0 || vio_drvq_free(l.q) == size);
    }
    broke = vio_drvq_fault(l.q) != VIO_FAULT_NONE;
    while (vio_drvq_detach(l.q, &token)) {
        CHECK(token < next && out[token]);
        out[token] = false;
        in_flight--;
    }
    CHECK(in_flight == 0);
    lie_close(&l);
    return broke;
}

int main(void)
{
    const char *env = getenv("VIO_LIE_RUNS");
    uint64_t runs = env != NULL ? strtoull(env, NULL, 0) : 4000, broke = 0, collected = 0;

    both(false);
    both(true);
    split_only();
    packed_only();
    in_order(false);
    in_order(true);
    for (uint64_t seed = 0; seed < runs; seed++)
        broke += books(seed, &collected);
    printf("ok - %llu lying devices at random, %llu caught, %llu buffers used\n", (unsigned long long)runs,
           (unsigned long long)broke, (unsigned long long)collected);
    CHECK(broke > runs / 10 && broke < runs && collected > runs);
    return 0;
}
