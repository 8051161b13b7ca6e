/* SPDX-License-Identifier: MIT */
/*
 * Lengths of used buffers that real devices tell against the specification.
 *
 * A device that says, of a buffer that it could only read, how many bytes it has read: vhost-device-console does, against
 * virtio 1.4, 2.7.8.2. The queue broke over it, and no byte could be written to that console. There is nothing to say of such
 * a buffer, and so nothing to believe: the length is 0. Of a buffer that it could write a length too large still is a fault.
 *
 * A device that tells lengths in a packed ring without the flag that says so, VIRTQ_DESC_F_WRITE (2.8.3, 2.8.4): QEMU does, of all
 * its devices. Every length was taken as 0: no random byte, no frame and no byte of a console ever came. The length is
 * taken where it can be, and one that cannot be is what it is by the specification: reserved.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <vio/queue.h>

#include "spec/ring.h"
#include "spec/virtio.h"

enum { SIZE = 8 };

struct rings {
    uint8_t *desc, *driver, *device, *mem;
    struct vio_drvq *q;
    bool packed;
};

static uint8_t *area(size_t n)
{
    uint8_t *at = aligned_alloc(64, (n + 63) & ~(size_t)63);

    assert_non_null(at);
    return memset(at, 0, (n + 63) & ~(size_t)63);
}

static void open_rings(struct rings *r, bool packed, bool in_order)
{
    struct vio_queue_layout l = vio_queue_layout(SIZE, packed);
    struct vio_drvq_params p = { .size = SIZE };

    vio_features_set(&p.features, VIRTIO_F_VERSION_1);
    if (packed)
        vio_features_set(&p.features, VIRTIO_F_RING_PACKED);
    if (in_order)
        vio_features_set(&p.features, VIRTIO_F_IN_ORDER);
    *r = (struct rings){ .desc = area(l.desc_bytes), .driver = area(l.driver_bytes), .device = area(l.device_bytes), .packed = packed };
    p.desc = r->desc;
    p.driver = r->driver;
    p.device = r->device;
    r->mem = area(vio_drvq_bytes(&p));
    assert_int_equal(vio_drvq_start(r->mem, &p, &r->q), 0);
}

static void close_rings(struct rings *r)
{
    free(r->desc);
    free(r->driver);
    free(r->device);
    free(r->mem);
}

/* The first buffer is used, with this length; flag: packed: VIRTQ_DESC_F_WRITE, by which it counts, or 0. */
static void use(struct rings *r, uint32_t len, uint16_t flag)
{
    if (r->packed) {
        struct pvirtq_desc *desc = (struct pvirtq_desc *)(void *)r->desc;

        desc->len = vio_le32_of(len);
        desc->flags = vio_le16_of((uint16_t)(VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED | flag));
    } else {
        struct virtq_used_elem elem = { vio_le32_of(0), vio_le32_of(len) };
        vio_le16 idx = vio_le16_of(1);

        memcpy(r->device + VIRTQ_USED_RING, &elem, sizeof(elem));
        memcpy(r->device + VIRTQ_USED_IDX, &idx, sizeof(idx));
    }
}

static void check(bool packed, bool in_order)
{
    const struct vio_buf buf = { 0x1000, 12 };
    struct vio_done done;
    struct rings r;

    open_rings(&r, packed, in_order);
    assert_int_equal(vio_drvq_put(r.q, &buf, 1, 0, 77), 0);
    (void)!vio_drvq_publish(r.q);
    if (packed)
        ((struct pvirtq_desc *)(void *)r.desc)->id = vio_le16_of(0);
    use(&r, 12, VIRTQ_DESC_F_WRITE);
    assert_int_equal(vio_drvq_collect(r.q, &done, 1), 1);
    assert_int_equal(done.token, 77);
    assert_int_equal(done.len, 0);
    assert_int_equal(vio_drvq_fault(r.q), VIO_FAULT_NONE);
    close_rings(&r);

    open_rings(&r, packed, in_order);
    assert_int_equal(vio_drvq_put(r.q, &buf, 0, 1, 77), 0);
    (void)!vio_drvq_publish(r.q);
    use(&r, 13, VIRTQ_DESC_F_WRITE);
    assert_int_equal(vio_drvq_collect(r.q, &done, 1), 0);
    assert_int_equal(vio_drvq_fault(r.q), VIO_FAULT_USED_LEN);
    close_rings(&r);
}

static void test_readable(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        check((i & 1) != 0, (i & 2) != 0);
}

/* len: told without the flag, of a buffer of 12 bytes. */
static void check_unflagged(bool in_order, uint32_t len, uint32_t want)
{
    const struct vio_buf buf = { 0x1000, 12 };
    struct vio_done done;
    struct rings r;

    open_rings(&r, true, in_order);
    assert_int_equal(vio_drvq_put(r.q, &buf, 0, 1, 77), 0);
    (void)!vio_drvq_publish(r.q);
    use(&r, len, 0);
    assert_int_equal(vio_drvq_collect(r.q, &done, 1), 1);
    assert_int_equal(done.token, 77);
    assert_int_equal(done.len, want);
    assert_int_equal(vio_drvq_fault(r.q), VIO_FAULT_NONE);
    close_rings(&r);
}

static void test_unflagged(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        check_unflagged(i != 0, 0, 0);
        check_unflagged(i != 0, 7, 7);
        check_unflagged(i != 0, 12, 12);
        check_unflagged(i != 0, 13, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_readable), cmocka_unit_test(test_unflagged) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
