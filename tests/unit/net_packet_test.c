/* SPDX-License-Identifier: MIT */
/* Purpose: frames copied out of pieces of every size; a backend closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <vio/net.h>

#include "rng.h"

enum { BYTES = 300, GUARD = 0xee };

static void head_and_copy_of_any_pieces(void **state)
{
    uint8_t bytes[BYTES], out[BYTES + 1];
    struct vio_seg seg[BYTES];
    struct rng rng = rng_of(7);

    (void)state;
    for (unsigned i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)rng_u64(&rng);
    for (unsigned round = 0; round < 2000; round++) {
        struct vio_net_packet p = { .len = 0, .nr = 0, .seg = seg };
        uint32_t len = rng_range(&rng, 14, BYTES);
        size_t want = rng_below(&rng, BYTES + 1), got;

        while (p.len < len) {
            size_t piece = rng_below(&rng, round % 2 ? 5 : 200);

            if (piece > len - p.len)
                piece = len - p.len;
            if (p.nr == BYTES - 1)
                piece = len - p.len;
            seg[p.nr++] = (struct vio_seg){ piece > 0 ? bytes + p.len : NULL, piece };
            p.len += (uint32_t)piece;
        }
        memset(out, GUARD, sizeof out);
        got = vio_net_packet_head(&p, out, want);
        assert_int_equal(got, want < len ? want : len);
        assert_memory_equal(out, bytes, got);
        assert_int_equal(out[got], GUARD);
        memset(out, GUARD, sizeof out);
        vio_net_packet_copy(&p, out);
        assert_memory_equal(out, bytes, len);
        assert_int_equal(out[len], GUARD);
    }
}

static void copy_goes_no_further_than_the_packet(void **state)
{
    uint8_t bytes[20] = "0123456789abcdefghi", out[20];
    struct vio_seg seg = { bytes, sizeof bytes };
    struct vio_net_packet p = { .len = 14, .nr = 1, .seg = &seg };

    (void)state;
    memset(out, GUARD, sizeof out);
    vio_net_packet_copy(&p, out);
    assert_memory_equal(out, bytes, 14);
    assert_int_equal(out[14], GUARD);
    assert_int_equal(vio_net_packet_head(&p, NULL, 0), 0);
}

struct fake {
    struct vio_net_backend head;
    unsigned destroyed;
};

static void destroy(struct vio_net_backend *b)
{
    ((struct fake *)b)->destroyed++;
}

static void close_destroys(void **state)
{
    static const struct vio_net_ops ops = { .name = "fake", .destroy = destroy };
    struct fake fake = { .head.ops = &ops };

    (void)state;
    vio_net_close(NULL);
    vio_net_close(&fake.head);
    assert_int_equal(fake.destroyed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(head_and_copy_of_any_pieces),
        cmocka_unit_test(copy_goes_no_further_than_the_packet),
        cmocka_unit_test(close_destroys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
