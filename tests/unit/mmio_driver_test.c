/* SPDX-License-Identifier: MIT */
/* The driver side of virtio-mmio against a model of the registers: what it writes, how wide, and what it believes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <vio/mmio_driver.h>
#include "heap_platform.h"
#include "spec/mmio.h"
#include "spec/virtio.h"

enum { CONFIG = 0x100, WRITES = 128, QUEUES = 4 };

/* A device as far as registers go. What is read of a register that is not modelled is its last written value. */
struct model {
    struct heap_platform heap;
    uint32_t reg[0x40];            /* by offset / 4 */
    uint32_t features[4];          /* by selector... */
    bool two_words;                /* ...or any selector but 0 is 1 */
    uint32_t accepted[4];
    uint32_t queue_max[QUEUES], ready[QUEUES], pfn[QUEUES];
    uint64_t shm_len, shm_base;    /* of id 1 */
    uint8_t config[0x100];
    unsigned config_moves;         /* reads of byte 0 that find it changed */
    unsigned reset_takes;          /* reads of QueueReset, or of Status, until it is done */
    bool no_reset_register, deaf;  /* deaf: a queue does not become ready */
    struct {
        uint32_t offset, value;
        unsigned width;
    } writes[WRITES];
    unsigned nr_writes;
    unsigned config_width_seen;    /* bits: 1, 2, 4 */
    struct vio_transport *t;
};

static uint32_t sel(const struct model *m, uint32_t reg)
{
    uint32_t v = m->reg[reg / 4];

    return m->two_words && v > 1 ? 1 : v & 3;
}

static uint32_t model_read(void *ctx, uint64_t offset, unsigned width)
{
    struct model *m = ctx;
    uint32_t q = m->reg[VIRTIO_MMIO_QUEUE_SEL / 4], v = 0;

    if (offset >= CONFIG) {
        assert_true(offset + width <= CONFIG + sizeof(m->config) && offset % width == 0);
        m->config_width_seen |= width;
        if (offset == CONFIG && m->config_moves > 0) {
            m->config_moves--;
            m->config[0]++;
        }
        v = vio_io_load_bytes(m->config + (offset - CONFIG), width);
        return v;
    }
    assert_int_equal(width, 4);
    assert_int_equal(offset % 4, 0);
    switch (offset) {
    case VIRTIO_MMIO_DEVICE_FEATURES:
        return m->features[sel(m, VIRTIO_MMIO_DEVICE_FEATURES_SEL)];
    case VIRTIO_MMIO_QUEUE_SIZE_MAX:
        return q < QUEUES ? m->queue_max[q] : 0;
    case VIRTIO_MMIO_QUEUE_READY:
        return q < QUEUES ? m->ready[q] : 0;
    case VIRTIO_MMIO_QUEUE_PFN:
        return q < QUEUES ? m->pfn[q] : 0;
    case VIRTIO_MMIO_SHM_LEN_LOW:
        return m->reg[VIRTIO_MMIO_SHM_SEL / 4] == 1 ? (uint32_t)m->shm_len : UINT32_MAX;
    case VIRTIO_MMIO_SHM_LEN_HIGH:
        return m->reg[VIRTIO_MMIO_SHM_SEL / 4] == 1 ? (uint32_t)(m->shm_len >> 32) : UINT32_MAX;
    case VIRTIO_MMIO_SHM_BASE_LOW:
        return (uint32_t)m->shm_base;
    case VIRTIO_MMIO_SHM_BASE_HIGH:
        return (uint32_t)(m->shm_base >> 32);
    case VIRTIO_MMIO_QUEUE_RESET:
        if (m->no_reset_register)
            return 0;
        if (m->reg[offset / 4] == 1 && m->reset_takes > 0 && --m->reset_takes == 0) {
            m->reg[offset / 4] = 0;
            m->ready[q] = 0;
        }
        return m->reg[offset / 4];
    case VIRTIO_MMIO_STATUS:
        if (m->reg[offset / 4] == 0 && m->reset_takes > 0)
            return m->reset_takes-- > 1 ? 0xf : 0;
        return m->reg[offset / 4];
    default:
        return m->reg[offset / 4];
    }
}

static void model_write(void *ctx, uint64_t offset, unsigned width, uint32_t v)
{
    struct model *m = ctx;
    uint32_t q = m->reg[VIRTIO_MMIO_QUEUE_SEL / 4];

    assert_true(m->nr_writes < WRITES);
    m->writes[m->nr_writes].offset = (uint32_t)offset;
    m->writes[m->nr_writes].width = width;
    m->writes[m->nr_writes++].value = v;
    if (offset >= CONFIG) {
        assert_true(offset + width <= CONFIG + sizeof(m->config) && offset % width == 0);
        vio_io_store_bytes(m->config + (offset - CONFIG), width, v);
        return;
    }
    assert_int_equal(width, 4);
    m->reg[offset / 4] = v;
    if (offset == VIRTIO_MMIO_DRIVER_FEATURES)
        m->accepted[sel(m, VIRTIO_MMIO_DRIVER_FEATURES_SEL)] = v;
    else if (offset == VIRTIO_MMIO_QUEUE_READY && q < QUEUES && !m->deaf)
        m->ready[q] = v;
    else if (offset == VIRTIO_MMIO_QUEUE_PFN && q < QUEUES && !m->deaf)
        m->pfn[q] = v;
    else if (offset == VIRTIO_MMIO_INTERRUPT_ACK)
        m->reg[VIRTIO_MMIO_INTERRUPT_STATUS / 4] &= ~v;
}

static const struct vio_io_ops model_ops = { model_read, model_write };

static uint8_t shared[4096];

static int map_shm(void *ctx, uint64_t address, uint64_t len, void **host)
{
    (void)ctx;
    if (address != 0x4000000 || len > sizeof(shared))
        return -EFAULT;
    *host = shared;
    return 0;
}

static int try(struct model *m, char *why)
{
    struct vio_mmio_driver_params params = {
        .registers = vio_io_by(&model_ops, m), .len = 0x200, .address = 0xa000000, .platform = &m->heap.p,
        .map_shm = map_shm,
    };

    return vio_mmio_driver_create(&params, &m->t, why);
}

static void blank(struct model *m, uint32_t version)
{
    *m = (struct model){ .queue_max = { 256, 128, 0, 1024 } };
    heap_platform_init(&m->heap);
    m->reg[0] = VIRTIO_MMIO_MAGIC;
    m->reg[VIRTIO_MMIO_VERSION_REG / 4] = version;
    m->reg[VIRTIO_MMIO_DEVICE_ID / 4] = VIRTIO_ID_BLOCK;
    m->reg[VIRTIO_MMIO_VENDOR_ID / 4] = 0x554d4551;
    m->features[0] = 0x30000044;
    m->features[1] = 0x00000111; /* VERSION_1, ORDER_PLATFORM, RING_RESET */
}

static void make(struct model *m, uint32_t version)
{
    blank(m, version);
    assert_int_equal(try(m, NULL), 0);
    assert_int_equal(m->nr_writes, 0); /* a look touches nothing */
}

static void unmake(struct model *m)
{
    m->t->ops->destroy(m->t);
    assert_int_equal(m->heap.held, 0);
}

static uint32_t last(const struct model *m, uint32_t reg)
{
    for (unsigned i = m->nr_writes; i-- > 0;) {
        if (m->writes[i].offset == reg)
            return m->writes[i].value;
    }
    fail_msg("register 0x%x was not written", reg);
    return 0;
}

static void accept_all(struct model *m, uint64_t low)
{
    struct vio_features f = vio_features_of(low);

    assert_int_equal(m->t->ops->accept(m->t, &f), 0);
}

/* ------------------------------------------------------------------ discovery */

static void finds_what_is_there(void **state)
{
    char why[VIO_DRV_WHY];
    struct model m;

    (void)state;
    make(&m, 2);
    assert_string_equal(m.t->name, "mmio@0xa000000");
    assert_int_equal(m.t->type, VIRTIO_ID_BLOCK);
    assert_int_equal(m.t->vendor, 0x554d4551);
    assert_false(m.t->legacy);
    assert_int_equal(m.t->queue_align, 0);
    unmake(&m);
    make(&m, 1);
    assert_true(m.t->legacy);
    assert_int_equal(m.t->queue_align, 4096);
    assert_null(m.t->ops->generation);
    assert_null(m.t->ops->queue_stop);
    unmake(&m);

    blank(&m, 2);
    m.reg[0] = 0x12345678;
    assert_int_equal(try(&m, why), -ENODEV);
    assert_non_null(strstr(why, "0x12345678"));
    blank(&m, 3);
    assert_int_equal(try(&m, why), -EPROTO);
    assert_non_null(strstr(why, "version 3"));
    blank(&m, 2);
    m.reg[VIRTIO_MMIO_DEVICE_ID / 4] = 0; /* a place kept free is nothing to speak of */
    assert_int_equal(try(&m, why), -ENODEV);
    assert_string_equal(why, "");
    assert_int_equal(m.nr_writes, 0);
    blank(&m, 2);
    m.heap.refuse = true;
    assert_int_equal(try(&m, why), -ENOMEM);
}

static void refuses_a_place_too_small(void **state)
{
    struct vio_mmio_driver_params params;
    struct model m;

    (void)state;
    blank(&m, 2);
    params = (struct vio_mmio_driver_params){ .registers = vio_io_by(&model_ops, &m), .len = 0xff,
                                              .platform = &m.heap.p };
    assert_int_equal(vio_mmio_driver_create(&params, &m.t, NULL), -EINVAL);
    params.len = 0x200;
    params.registers = vio_io_at(params.registers, 2);
    assert_int_equal(vio_mmio_driver_create(&params, &m.t, NULL), -EINVAL);
}

/* ------------------------------------------------------------------ features and status */

static void negotiates_128_bits(void **state)
{
    struct vio_features offered, wanted = { { 0x1100000004, 3 } };
    struct model m;

    (void)state;
    make(&m, 2);
    m.features[2] = 7;
    assert_int_equal(m.t->ops->features(m.t, &offered), 0);
    assert_true(offered.w[0] == 0x11130000044 && offered.w[1] == 7);
    assert_int_equal(m.t->ops->accept(m.t, &wanted), 0);
    assert_int_equal(m.accepted[0], 4);
    assert_int_equal(m.accepted[1], 0x11);
    assert_int_equal(m.accepted[2], 3);
    assert_int_equal(m.accepted[3], 0);
    unmake(&m);
}

static void a_device_of_64_bits_keeps_its_word_1(void **state)
{
    struct vio_features offered, wanted = { { 0x100000004, 1 } };
    struct model m;

    (void)state;
    make(&m, 2);
    m.two_words = true;
    assert_int_equal(m.t->ops->features(m.t, &offered), 0);
    assert_true(offered.w[0] == 0x11130000044 && offered.w[1] == 0);
    accept_all(&m, 0x100000004);
    assert_int_equal(m.accepted[1], 1);
    assert_int_equal(m.t->ops->accept(m.t, &wanted), -EINVAL);
    unmake(&m);
}

static void a_legacy_device_has_32_bits(void **state)
{
    struct vio_features offered, wanted = vio_features_of(0x100000004);
    struct model m;

    (void)state;
    make(&m, 1);
    assert_int_equal(m.t->ops->features(m.t, &offered), 0);
    assert_true(offered.w[0] == 0x30000044 && offered.w[1] == 0);
    assert_int_equal(m.t->ops->accept(m.t, &wanted), -EINVAL);
    accept_all(&m, 0x10000004);
    assert_int_equal(m.accepted[0], 0x10000004);
    unmake(&m);
}

static void status_is_eight_bits(void **state)
{
    struct model m;
    uint8_t status;

    (void)state;
    make(&m, 2);
    assert_int_equal(m.t->ops->status_set(m.t, 3), 0);
    assert_int_equal(m.t->ops->status_get(m.t, &status), 0);
    assert_int_equal(status, 3);
    m.reg[VIRTIO_MMIO_STATUS / 4] = 0x10003;
    assert_int_equal(m.t->ops->status_get(m.t, &status), -EPROTO);
    m.reg[VIRTIO_MMIO_STATUS / 4] = UINT32_MAX;
    assert_int_equal(m.t->ops->status_get(m.t, &status), -ECONNRESET);
    assert_non_null(strstr(m.t->ops->why(m.t), "gone"));
    m.reset_takes = 3;
    assert_int_equal(m.t->ops->reset(m.t), -EINPROGRESS);
    assert_int_equal(m.t->ops->status_get(m.t, &status), 0);
    assert_int_not_equal(status, 0);
    assert_int_equal(m.t->ops->status_get(m.t, &status), 0);
    assert_int_equal(status, 0);
    assert_int_equal(m.t->ops->reset(m.t), 0);
    unmake(&m);
    make(&m, 1);
    assert_int_equal(m.t->ops->reset(m.t), 0);
    assert_int_equal(last(&m, VIRTIO_MMIO_GUEST_PAGE_SIZE), 4096);
    unmake(&m);
}

/* ------------------------------------------------------------------ configuration */

static void configuration_is_read_as_wide_as_its_fields(void **state)
{
    uint8_t bytes[0x100];
    struct model m;

    (void)state;
    make(&m, 2); /* a disk */
    for (unsigned i = 0; i < sizeof(m.config); i++)
        m.config[i] = (uint8_t)(i * 7);
    assert_int_equal(m.t->ops->config_read(m.t, 0, bytes, 16), 0); /* capacity, size_max, seg_max */
    assert_int_equal(m.config_width_seen, 4);
    m.config_width_seen = 0;
    assert_int_equal(m.t->ops->config_read(m.t, 16, bytes + 16, 4), 0); /* geometry: 2, 1, 1 */
    assert_int_equal(m.config_width_seen, 1 | 2);
    m.config_width_seen = 0;
    assert_int_equal(m.t->ops->config_read(m.t, 33, bytes + 33, 1), 0);
    assert_int_equal(m.config_width_seen, 1);
    assert_int_equal(m.t->ops->config_read(m.t, 20, bytes + 20, 13), 0);
    assert_int_equal(m.t->ops->config_read(m.t, 34, bytes + 34, sizeof(bytes) - 34), 0);
    assert_memory_equal(bytes, m.config, sizeof(bytes));
    assert_int_equal(m.t->ops->config_read(m.t, 0xff, bytes, 2), -EINVAL);
    assert_int_equal(m.t->ops->config_read(m.t, UINT32_MAX, bytes, 2), -EINVAL);
    assert_int_equal(m.t->ops->config_write(m.t, 0x100, bytes, 1), -EINVAL);
    m.nr_writes = 0;
    assert_int_equal(m.t->ops->config_write(m.t, 32, "\1", 1), 0);
    assert_int_equal(m.nr_writes, 1);
    assert_int_equal(m.writes[0].width, 1);
    assert_int_equal(m.config[32], 1);
    m.reg[VIRTIO_MMIO_CONFIG_GENERATION / 4] = 77;
    uint32_t generation;
    assert_int_equal(m.t->ops->generation(m.t, &generation), 0);
    assert_int_equal(generation, 77);
    unmake(&m);
}

static void a_mac_is_read_by_the_byte(void **state)
{
    uint8_t mac[6];
    struct model m;

    (void)state;
    blank(&m, 2);
    m.reg[VIRTIO_MMIO_DEVICE_ID / 4] = VIRTIO_ID_NET;
    assert_int_equal(try(&m, NULL), 0);
    assert_int_equal(m.t->ops->config_read(m.t, 0, mac, 6), 0);
    assert_int_equal(m.config_width_seen, 1);
    m.config_width_seen = 0;
    assert_int_equal(m.t->ops->config_read(m.t, 6, mac, 6), 0);
    assert_int_equal(m.config_width_seen, 2);
    unmake(&m);
}

static void legacy_configuration_is_read_until_it_stands_still(void **state)
{
    uint8_t bytes[200];
    struct model m;

    (void)state;
    make(&m, 1);
    m.config_moves = 3;
    assert_int_equal(m.t->ops->config_read(m.t, 0, bytes, sizeof(bytes)), 0);
    assert_memory_equal(bytes, m.config, sizeof(bytes));
    assert_int_equal(m.config_moves, 0);
    m.config_moves = 1000;
    assert_int_equal(m.t->ops->config_read(m.t, 0, bytes, sizeof(bytes)), -EAGAIN);
    unmake(&m);
}

/* ------------------------------------------------------------------ queues */

static const struct vio_transport_queue three = {
    .cfg = { .size = 128, .desc = 0x123456000, .driver = 0x123456800, .device = 0x223457000 },
};

static void starts_a_queue(void **state)
{
    struct model m;
    uint16_t size;

    (void)state;
    make(&m, 2);
    assert_int_equal(m.t->ops->queue_max(m.t, 3, &size), 0);
    assert_int_equal(size, 1024);
    assert_int_equal(m.t->ops->queue_max(m.t, 2, &size), 0);
    assert_int_equal(size, 0);
    m.queue_max[3] = 32769;
    assert_int_equal(m.t->ops->queue_max(m.t, 3, &size), -EPROTO);
    m.queue_max[3] = 32768;
    assert_int_equal(m.t->ops->queue_max(m.t, 3, &size), 0);
    assert_int_equal(size, 32768);
    assert_int_equal(m.t->ops->queue_start(m.t, 3, &three), 0);
    assert_int_equal(last(&m, VIRTIO_MMIO_QUEUE_SEL), 3);
    assert_int_equal(last(&m, VIRTIO_MMIO_QUEUE_SIZE), 128);
    assert_int_equal(last(&m, VIRTIO_MMIO_QUEUE_DESC_LOW), 0x23456000);
    assert_int_equal(last(&m, VIRTIO_MMIO_QUEUE_DESC_HIGH), 1);
    assert_int_equal(last(&m, VIRTIO_MMIO_QUEUE_DRIVER_LOW), 0x23456800);
    assert_int_equal(last(&m, VIRTIO_MMIO_QUEUE_DEVICE_LOW), 0x23457000);
    assert_int_equal(last(&m, VIRTIO_MMIO_QUEUE_DEVICE_HIGH), 2);
    assert_int_equal(m.writes[m.nr_writes - 1].offset, VIRTIO_MMIO_QUEUE_READY); /* the last of all */
    assert_int_equal(m.t->ops->queue_start(m.t, 3, &three), -EPROTO); /* it is ready */
    m.deaf = true;
    assert_int_equal(m.t->ops->queue_start(m.t, 1, &three), -EPROTO);
    assert_non_null(strstr(m.t->ops->why(m.t), "queue 1"));
    unmake(&m);
}

static void starts_a_legacy_queue(void **state)
{
    struct vio_transport_queue q = { .cfg = { .size = 128, .desc = 0x200000, .driver = 0x200800, .device = 0x201000 } };
    struct model m;

    (void)state;
    make(&m, 1);
    assert_int_equal(m.t->ops->queue_start(m.t, 0, &q), 0);
    assert_int_equal(last(&m, VIRTIO_MMIO_QUEUE_SIZE), 128);
    assert_int_equal(last(&m, VIRTIO_MMIO_QUEUE_ALIGN), 4096);
    assert_int_equal(last(&m, VIRTIO_MMIO_QUEUE_PFN), 0x200);
    assert_int_equal(m.t->ops->queue_start(m.t, 0, &q), -EPROTO); /* in use */
    q.cfg.device += 0x1000;
    assert_int_equal(m.t->ops->queue_start(m.t, 1, &q), -EINVAL);
    q.cfg = (struct vio_queue_cfg){ .size = 128, .desc = UINT64_C(1) << 44, .driver = (UINT64_C(1) << 44) + 0x800,
                                    .device = (UINT64_C(1) << 44) + 0x1000 };
    assert_int_equal(m.t->ops->queue_start(m.t, 1, &q), -ERANGE);
    unmake(&m);
}

static void resets_a_queue(void **state)
{
    struct vio_queue_state at;
    struct model m;

    (void)state;
    make(&m, 2);
    assert_int_equal(m.t->ops->queue_stop(m.t, 3, &at), -ENOTSUP); /* not negotiated */
    accept_all(&m, VIO_FEATURE(VIRTIO_F_VERSION_1) | VIO_FEATURE(VIRTIO_F_RING_RESET));
    assert_int_equal(m.t->ops->queue_start(m.t, 3, &three), 0);
    m.reset_takes = 5;
    assert_int_equal(m.t->ops->queue_stop(m.t, 3, &at), 0);
    assert_int_equal(m.ready[3], 0);
    assert_int_equal(at.avail_idx, 0);
    assert_int_equal(m.t->ops->queue_start(m.t, 3, &three), 0);
    m.reset_takes = 0; /* it never ends */
    assert_int_equal(m.t->ops->queue_stop(m.t, 3, &at), -ETIMEDOUT);
    m.reg[VIRTIO_MMIO_QUEUE_RESET / 4] = 0;
    m.no_reset_register = true; /* as QEMU 7.2: offered, and not there */
    assert_int_equal(m.t->ops->queue_stop(m.t, 3, &at), -EPROTO);
    unmake(&m);
}

static void notifies(void **state)
{
    struct model m;

    (void)state;
    make(&m, 2);
    accept_all(&m, VIO_FEATURE(VIRTIO_F_VERSION_1));
    m.t->ops->kick(m.t, 3, 0x80050003);
    assert_int_equal(last(&m, VIRTIO_MMIO_QUEUE_NOTIFY), 3);
    accept_all(&m, VIO_FEATURE(VIRTIO_F_VERSION_1) | VIO_FEATURE(VIRTIO_F_NOTIFICATION_DATA));
    m.t->ops->kick(m.t, 3, 0x80050003);
    assert_int_equal(last(&m, VIRTIO_MMIO_QUEUE_NOTIFY), 0x80050003);
    m.nr_writes = 0;
    assert_int_equal(m.t->ops->events(m.t), 0);
    assert_int_equal(m.nr_writes, 0); /* nothing to acknowledge */
    m.reg[VIRTIO_MMIO_INTERRUPT_STATUS / 4] = 0xfffffff1;
    assert_int_equal(m.t->ops->events(m.t), VIO_EVENT_QUEUES);
    assert_int_equal(last(&m, VIRTIO_MMIO_INTERRUPT_ACK), 1); /* only what is known */
    m.reg[VIRTIO_MMIO_INTERRUPT_STATUS / 4] = 3;
    assert_int_equal(m.t->ops->events(m.t), VIO_EVENT_QUEUES | VIO_EVENT_CONFIG);
    unmake(&m);
}

static void shared_memory(void **state)
{
    struct vio_transport_shm region;
    struct model m;

    (void)state;
    make(&m, 2);
    assert_int_equal(m.t->ops->shm(m.t, 0, &region), -ENOENT);
    m.shm_len = 4096;
    m.shm_base = 0x4000000;
    assert_int_equal(m.t->ops->shm(m.t, 1, &region), 0);
    assert_ptr_equal(region.host, shared);
    assert_int_equal(region.len, 4096);
    m.shm_len = UINT64_C(1) << 40; /* over memory that is not the device's */
    assert_int_equal(m.t->ops->shm(m.t, 1, &region), -EFAULT);
    m.shm_base = UINT64_MAX - 4095;
    assert_int_equal(m.t->ops->shm(m.t, 1, &region), -EPROTO);
    m.shm_len = 0;
    assert_int_equal(m.t->ops->shm(m.t, 1, &region), -ENOENT);
    unmake(&m);
}

/* The same registers as plain memory: what a pointer reads is what the functions read. */
static void mapped_registers(void **state)
{
    static _Alignas(8) uint32_t reg[0x80];
    struct heap_platform heap;
    struct vio_mmio_driver_params params = { .registers = vio_io_mapped(reg), .len = sizeof(reg),
                                             .platform = heap_platform_init(&heap) };
    uint8_t capacity[8], status;
    struct vio_transport *t;

    (void)state;
    memcpy(reg, (uint8_t[]){ 'v', 'i', 'r', 't', 2, 0, 0, 0, 2, 0, 0, 0 }, 12);
    memcpy(&reg[0x40], "\x11\x22\x33\x44\x55\x66\x77\x88", 8);
    assert_int_equal(vio_mmio_driver_create(&params, &t, NULL), 0);
    assert_int_equal(t->ops->config_read(t, 0, capacity, 8), 0);
    assert_memory_equal(capacity, "\x11\x22\x33\x44\x55\x66\x77\x88", 8);
    assert_int_equal(t->ops->config_write(t, 2, "\xaa\xbb", 2), 0);
    assert_memory_equal(&reg[0x40], "\x11\x22\xaa\xbb\x55", 5);
    assert_int_equal(t->ops->status_set(t, 0x0f), 0);
    assert_int_equal(t->ops->status_get(t, &status), 0);
    assert_int_equal(status, 0x0f);
    assert_memory_equal(&reg[VIRTIO_MMIO_STATUS / 4], "\x0f\0\0", 4);
    t->ops->kick(t, 0x102, 0);
    assert_memory_equal(&reg[VIRTIO_MMIO_QUEUE_NOTIFY / 4], "\x02\x01\0", 4);
    t->ops->destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_is_there),
        cmocka_unit_test(refuses_a_place_too_small),
        cmocka_unit_test(negotiates_128_bits),
        cmocka_unit_test(a_device_of_64_bits_keeps_its_word_1),
        cmocka_unit_test(a_legacy_device_has_32_bits),
        cmocka_unit_test(status_is_eight_bits),
        cmocka_unit_test(configuration_is_read_as_wide_as_its_fields),
        cmocka_unit_test(a_mac_is_read_by_the_byte),
        cmocka_unit_test(legacy_configuration_is_read_until_it_stands_still),
        cmocka_unit_test(starts_a_queue),
        cmocka_unit_test(starts_a_legacy_queue),
        cmocka_unit_test(resets_a_queue),
        cmocka_unit_test(notifies),
        cmocka_unit_test(shared_memory),
        cmocka_unit_test(mapped_registers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
