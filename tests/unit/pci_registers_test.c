/* SPDX-License-Identifier: MIT */
/* The driver side of virtio-pci against a model of a function: the registers of the modern interface, and the legacy ports. */
#include "pci_driver_help.h"

static void negotiates(void **state)
{
    struct vio_features offered, wanted = { { 0x100000004, 5 } };
    struct device d;
    uint8_t status;

    (void)state;
    make(&d);
    d.features[2] = 7;
    assert_int_equal(d.t->ops->features(d.t, &offered), 0);
    assert_true(offered.w[0] == 0x1d130000044 && offered.w[1] == 7);
    assert_int_equal(d.t->ops->accept(d.t, &wanted), 0);
    assert_int_equal(d.accepted[0], 4);
    assert_int_equal(d.accepted[1], 1);
    assert_int_equal(d.accepted[2], 5);
    d.features[2] = d.features[3] = d.features[1];
    assert_int_equal(d.t->ops->features(d.t, &offered), 0);
    assert_true(offered.w[1] == 0);
    assert_int_equal(d.t->ops->accept(d.t, &wanted), -EINVAL);
    assert_int_equal(d.t->ops->status_set(d.t, 0xb), 0);
    assert_int_equal(d.t->ops->status_get(d.t, &status), 0);
    assert_int_equal(status, 0xb);
    d.reset_takes = 2;
    assert_int_equal(d.t->ops->reset(d.t), -EINPROGRESS);
    assert_int_equal(d.t->ops->status_get(d.t, &status), 0);
    assert_int_equal(status, 0);
    d.status = 0xff;
    assert_int_equal(d.t->ops->status_get(d.t, &status), -ECONNRESET);
    unmake(&d);
}

static void a_short_common_structure(void **state)
{
    struct vio_features offered;
    struct device d;

    (void)state;
    blank(&d);
    pci_model_virtio_cap(&d.pci, VIRTIO_PCI_CAP_COMMON, BAR, COMMON, 58);
    pci_model_virtio_cap(&d.pci, VIRTIO_PCI_CAP_ISR, BAR, ISR, 1);
    pci_model_virtio_cap(&d.pci, VIRTIO_PCI_CAP_NOTIFY, BAR, NOTIFY, 2);
    assert_int_equal(try(&d, 0, false, NULL), 0);
    assert_int_equal(d.t->ops->features(d.t, &offered), 0);
    assert_true(vio_features_has(offered, VIRTIO_F_NOTIF_CONFIG_DATA));
    assert_false(vio_features_has(offered, VIRTIO_F_RING_RESET));
    unmake(&d);
}

static void configuration(void **state)
{
    uint8_t bytes[0x100];
    uint32_t generation;
    struct device d;

    (void)state;
    make(&d);
    for (unsigned i = 0; i < sizeof(d.config); i++)
        d.config[i] = (uint8_t)(i * 5);
    assert_int_equal(d.t->ops->config_read(d.t, 0, bytes, 16), 0);
    assert_int_equal(d.widths, 4);
    assert_int_equal(d.t->ops->config_read(d.t, 16, bytes + 16, sizeof(bytes) - 16), 0);
    assert_memory_equal(bytes, d.config, sizeof(bytes));
    assert_int_equal(d.t->ops->config_read(d.t, 0x100, bytes, 1), -EINVAL);
    assert_int_equal(d.t->ops->config_read(d.t, 0xfffffff0, bytes, 0x20), -EINVAL);
    assert_int_equal(d.t->ops->config_write(d.t, 32, "\x7f", 1), 0);
    assert_int_equal(d.config[32], 0x7f);
    d.common[VIRTIO_PCI_GENERATION] = 9;
    assert_int_equal(d.t->ops->generation(d.t, &generation), 0);
    assert_int_equal(generation, 9);
    unmake(&d);
}

static void queues(void **state)
{
    struct vio_queue_state at;
    struct device d;
    uint16_t size;

    (void)state;
    make(&d);
    assert_int_equal(d.t->ops->queue_max(d.t, 1, &size), 0);
    assert_int_equal(size, 128);
    assert_int_equal(d.t->ops->queue_max(d.t, 2, &size), 0);
    assert_int_equal(size, 0);
    assert_int_equal(d.t->ops->queue_max(d.t, 3, &size), 0); /* not asked for: num_queues is 3 */
    assert_int_equal(size, 0);
    d.queue_max[1] = 0x8001;
    assert_int_equal(d.t->ops->queue_max(d.t, 1, &size), -EPROTO);
    assert_int_equal(d.t->ops->queue_start(d.t, 1, &ring), 0);
    assert_true(d.desc[1] == ring.cfg.desc && d.enabled[1] == 1);
    assert_int_equal(d.t->ops->queue_start(d.t, 1, &ring), -EPROTO); /* it is enabled */
    assert_int_equal(d.t->ops->queue_start(d.t, 3, &ring), -ENOENT);
    assert_int_equal(d.t->ops->queue_stop(d.t, 1, &at), -ENOTSUP);
    accept_low(&d, VIO_FEATURE(VIRTIO_F_RING_RESET));
    d.reset_takes = 4;
    assert_int_equal(d.t->ops->queue_stop(d.t, 1, &at), 0);
    assert_int_equal(d.t->ops->queue_start(d.t, 1, &ring), 0);
    d.reset_takes = 0;
    assert_int_equal(d.t->ops->queue_stop(d.t, 1, &at), -ETIMEDOUT);
    d.deaf = true;
    assert_int_equal(d.t->ops->queue_start(d.t, 0, &ring), -EPROTO);
    unmake(&d);
}

static void no_queue_and_too_many(void **state)
{
    struct device d;

    (void)state;
    blank(&d);
    add_caps(&d);
    d.num_queues = 0;
    assert_int_equal(try(&d, 0, false, NULL), -EPROTO);
    d.num_queues = 0xffff;
    assert_int_equal(try(&d, 0, false, NULL), 0);
    assert_int_equal(d.t->queues_max, VIO_DRV_QUEUES_MAX);
    unmake(&d);
    d.heap.refuse = true;
    d.pci.closed = 0;
    assert_int_equal(try(&d, 0, false, NULL), -ENOMEM);
}

static void kicks(void **state)
{
    struct device d;

    (void)state;
    make(&d);
    accept_low(&d, 0);
    assert_int_equal(d.t->ops->queue_start(d.t, 1, &ring), 0);
    d.t->ops->kick(d.t, 1, 0xaaaa0001);
    assert_true(d.kicks == 1 && d.kicked[0] == 1 && d.kicked_at[0] == 4 && d.kick_width[0] == 2);
    d.enabled[1] = 0;
    accept_low(&d, VIO_FEATURE(VIRTIO_F_NOTIF_CONFIG_DATA));
    assert_int_equal(d.t->ops->queue_start(d.t, 1, &ring), 0);
    d.t->ops->kick(d.t, 1, 0xaaaa0001);
    assert_true(d.kicked[1] == 0x701 && d.kick_width[1] == 2);
    d.enabled[1] = 0;
    accept_low(&d, VIO_FEATURE(VIRTIO_F_NOTIF_CONFIG_DATA) | VIO_FEATURE(VIRTIO_F_NOTIFICATION_DATA));
    assert_int_equal(d.t->ops->queue_start(d.t, 1, &ring), 0);
    d.t->ops->kick(d.t, 1, 0xaaaa0001);
    assert_true(d.kicked[2] == 0xaaaa0701 && d.kick_width[2] == 4);
    d.enabled[1] = 0;
    d.notify_off[1] = 0x3ff; /* the last 4 bytes */
    assert_int_equal(d.t->ops->queue_start(d.t, 1, &ring), 0);
    d.enabled[1] = 0;
    d.notify_off[1] = 0x400;
    assert_int_equal(d.t->ops->queue_start(d.t, 1, &ring), -EPROTO);
    unmake(&d);
}

static void notification_data_needs_four_bytes(void **state)
{
    struct device d;

    (void)state;
    blank(&d);
    pci_model_virtio_cap(&d.pci, VIRTIO_PCI_CAP_COMMON, BAR, COMMON, 64);
    pci_model_virtio_cap(&d.pci, VIRTIO_PCI_CAP_ISR, BAR, ISR, 1);
    pci_model_virtio_cap(&d.pci, VIRTIO_PCI_CAP_NOTIFY, BAR, NOTIFY, 2); /* multiplier 0: one place for all */
    assert_int_equal(try(&d, 0, false, NULL), 0);
    accept_low(&d, 0);
    assert_int_equal(d.t->ops->queue_start(d.t, 1, &ring), 0);
    d.t->ops->kick(d.t, 1, 0);
    assert_true(d.kicked[0] == 1 && d.kicked_at[0] == 0);
    d.enabled[1] = 0;
    accept_low(&d, VIO_FEATURE(VIRTIO_F_NOTIFICATION_DATA));
    assert_int_equal(d.t->ops->queue_start(d.t, 1, &ring), -EPROTO);
    unmake(&d);
}

static void interrupts(void **state)
{
    struct vio_transport_queue polled = ring;
    char why[VIO_DRV_WHY];
    struct device d;
    uint8_t at;

    (void)state;
    make(&d); /* INTx */
    d.isr = 3;
    assert_int_equal(d.t->ops->events(d.t), VIO_EVENT_QUEUES | VIO_EVENT_CONFIG);
    assert_int_equal(d.t->ops->events(d.t), 0);
    assert_int_equal(d.t->ops->event_fd(d.t, 0), -1);
    unmake(&d);

    blank(&d);
    add_caps(&d);
    assert_int_equal(try(&d, 3, false, why), -EINVAL); /* no MSI-X */
    at = pci_model_cap(&d.pci, PCI_CAP_ID_MSIX, 12);
    pci_model_put(&d.pci, at + 2u, 2, 2); /* 3 entries, not enabled */
    assert_int_equal(try(&d, 3, false, why), -EINVAL);
    pci_model_put(&d.pci, at + 2u, 2, 0x8002);
    assert_int_equal(try(&d, 4, false, why), -EINVAL);
    assert_non_null(strstr(why, "table has 3"));
    assert_int_equal(try(&d, 3, false, why), 0);
    d.vectors_held = 2;
    accept_low(&d, 0);
    assert_int_equal(pci_model_get(&d.pci, PCI_COMMAND, 2) & PCI_COMMAND_MASTER, PCI_COMMAND_MASTER);
    assert_int_equal(d.common[VIRTIO_PCI_CONFIG_MSIX_VECTOR], 0);
    assert_int_equal(d.t->ops->queue_start(d.t, 0, &ring), 0);
    assert_int_equal(d.vector[0], 1);
    assert_int_equal(d.t->ops->queue_start(d.t, 1, &ring), -EBUSY); /* vector 2 is refused */
    assert_int_equal(d.enabled[1], 0);
    polled.polled = true;
    assert_int_equal(d.t->ops->queue_start(d.t, 1, &polled), 0);
    assert_int_equal(d.vector[1], 0xffff);
    d.isr = 3; /* not looked at */
    assert_int_equal(d.t->ops->events(d.t), VIO_EVENT_QUEUES | VIO_EVENT_CONFIG);
    assert_int_equal(d.isr, 3);
    d.vectors_held = 0;
    struct vio_features f = vio_features_of(VIO_FEATURE(VIRTIO_F_VERSION_1));
    assert_int_equal(d.t->ops->accept(d.t, &f), -EBUSY);
    unmake(&d);
}

static uint8_t shared[4096];

static int map_shm(void *ctx, unsigned bar, uint64_t offset, uint64_t len, void **host)
{
    (void)ctx;
    if (bar != 2 || offset != 0x100000000 || len != 0x200000000)
        return -EFAULT;
    *host = shared;
    return 0;
}

/* Clearing one interrupt for all: ISR is read first, or INTx would come again before it is; and what it said is not lost. */
static unsigned cleared;
static uint16_t cleared_vector;

static void clear(void *ctx, uint16_t vector)
{
    assert_int_equal(((struct device *)ctx)->isr & 1, 0);
    cleared++;
    cleared_vector = vector;
}

static int descriptor(void *ctx, uint16_t vector)
{
    (void)ctx;
    return 100 + vector;
}

static void one_interrupt_for_all(void **state)
{
    struct device d;
    uint8_t at;

    (void)state;
    blank(&d);
    add_caps(&d);
    d.pci.access.event_fd = descriptor;
    d.pci.access.event_clear = clear;
    cleared = 0;
    assert_int_equal(try(&d, 0, false, NULL), 0);
    assert_int_equal(d.t->ops->event_fd(d.t, 0), 100);
    assert_int_equal(d.t->ops->event_fd(d.t, VIO_EVENT_QUEUE_CONFIG), 100);
    d.isr = 3;
    d.t->ops->event_clear(d.t, 1);
    assert_int_equal(cleared, 1);
    assert_int_equal(d.isr, 0);
    assert_int_equal(d.t->ops->events(d.t), VIO_EVENT_QUEUES | VIO_EVENT_CONFIG);
    assert_int_equal(cleared, 2);
    assert_int_equal(d.t->ops->events(d.t), 0);
    d.isr = 1;
    assert_int_equal(d.t->ops->events(d.t), VIO_EVENT_QUEUES);
    unmake(&d);

    blank(&d); /* a single vector: ISR is not looked at */
    add_caps(&d);
    at = pci_model_cap(&d.pci, PCI_CAP_ID_MSIX, 12);
    pci_model_put(&d.pci, at + 2u, 2, 0x8002);
    d.pci.access.event_fd = descriptor;
    d.pci.access.event_clear = clear;
    assert_int_equal(try(&d, 1, false, NULL), 0);
    d.isr = 2;
    cleared = 0;
    assert_int_equal(d.t->ops->events(d.t), VIO_EVENT_QUEUES | VIO_EVENT_CONFIG);
    assert_int_equal(cleared, 1);
    assert_int_equal(d.isr, 2);
    unmake(&d);
    assert_int_equal(try(&d, 3, false, NULL), 0); /* each its own: left to its owner */
    assert_int_equal(d.t->ops->event_fd(d.t, 1), 102);
    cleared = 0;
    (void)d.t->ops->events(d.t);
    assert_int_equal(cleared, 0);
    d.t->ops->event_clear(d.t, 1);
    assert_int_equal(cleared_vector, 2);
    unmake(&d);
}

static void shared_memory(void **state)
{
    struct vio_transport_shm region;
    struct device d;
    uint8_t at;

    (void)state;
    blank(&d);
    add_caps(&d);
    d.pci.bar_len[2] = 0x300000000;
    at = pci_model_virtio_cap(&d.pci, VIRTIO_PCI_CAP_SHARED_MEMORY, 2, 0, 0);
    d.pci.config[at + 5] = 1;
    pci_model_put(&d.pci, at + 16u, 4, 1);
    pci_model_put(&d.pci, at + 20u, 4, 2);
    at = pci_model_virtio_cap(&d.pci, VIRTIO_PCI_CAP_SHARED_MEMORY, 2, 0, 4096); /* the same id again: not used */
    d.pci.config[at + 5] = 1;
    at = pci_model_virtio_cap(&d.pci, VIRTIO_PCI_CAP_SHARED_MEMORY, 2, UINT32_MAX, 4096); /* wraps in 64 bits */
    d.pci.config[at + 5] = 2;
    pci_model_put(&d.pci, at + 16u, 4, UINT32_MAX);
    d.pci.access.map_shm = map_shm;
    assert_int_equal(try(&d, 0, false, NULL), 0);
    assert_int_equal(d.t->ops->shm(d.t, 0, &region), -ENOENT);
    assert_int_equal(d.t->ops->shm(d.t, 1, &region), 0);
    assert_ptr_equal(region.host, shared);
    assert_true(region.len == 0x200000000);
    assert_int_equal(d.t->ops->shm(d.t, 2, &region), -ENOENT);
    d.pci.access.map_shm = NULL;
    assert_int_equal(d.t->ops->shm(d.t, 1, &region), -ENOTSUP);
    unmake(&d);
}

/* A BAR that cannot be mapped is reached through configuration space, where there is a window. */
static void through_the_window(void **state)
{
    uint8_t bytes[8], status;
    struct device d;

    (void)state;
    blank(&d);
    add_caps(&d);
    d.pci.unmapped[BAR] = true;
    assert_int_equal(try(&d, 0, false, NULL), -ENOTSUP);
    pci_model_virtio_cap(&d.pci, VIRTIO_PCI_CAP_WINDOW, 0, 0, 0);
    memcpy(d.config, "abcdefgh", 8);
    assert_int_equal(try(&d, 0, false, NULL), 0);
    assert_int_equal(d.pci.maps, 0);
    assert_int_equal(d.t->queues_max, QUEUES);
    assert_int_equal(d.t->ops->status_set(d.t, 3), 0);
    assert_int_equal(d.t->ops->status_get(d.t, &status), 0);
    assert_int_equal(status, 3);
    assert_int_equal(d.t->ops->config_read(d.t, 0, bytes, 8), 0);
    assert_memory_equal(bytes, "abcdefgh", 8);
    accept_low(&d, 0);
    assert_int_equal(d.t->ops->queue_start(d.t, 1, &ring), 0);
    d.t->ops->kick(d.t, 1, 0);
    assert_true(d.kicks == 1 && d.kicked[0] == 1 && d.kicked_at[0] == 4);
    d.pci.no_config = true; /* gone in the middle of it: all ones */
    assert_int_equal(d.t->ops->status_get(d.t, &status), -ECONNRESET);
    d.pci.no_config = false;
    unmake(&d);
}

/* ------------------------------------------------------------------ legacy */

static void legacy_interface(void **state)
{
    struct vio_transport_queue q = { .cfg = { .size = 128, .desc = 0x200000, .driver = 0x200800, .device = 0x201000 } };
    struct vio_features offered, wanted = vio_features_of(0x10000004);
    struct device d;
    uint8_t bytes[8];
    uint16_t size;

    (void)state;
    make_legacy(&d, false);
    assert_int_equal(try(&d, 0, false, NULL), 0);
    assert_true(d.t->legacy);
    assert_int_equal(d.t->queue_align, 4096);
    assert_int_equal(d.t->type, VIRTIO_ID_BLOCK);
    assert_int_equal(pci_model_get(&d.pci, PCI_COMMAND, 2) & PCI_COMMAND_IO, PCI_COMMAND_IO);
    assert_int_equal(d.t->ops->reset(d.t), 0);
    assert_int_equal(d.t->ops->features(d.t, &offered), 0);
    assert_true(offered.w[0] == 0x30000044);
    assert_int_equal(d.t->ops->accept(d.t, &wanted), 0);
    assert_int_equal(pci_model_get(&d.pci, 0, 2), 0x1af4);
    assert_int_equal(d.t->ops->config_read(d.t, 0, bytes, 8), 0);
    assert_memory_equal(bytes, "abcdefgh", 8);
    assert_int_equal(d.t->ops->config_read(d.t, 0x6c, bytes, 1), -EINVAL);
    assert_int_equal(d.t->ops->queue_max(d.t, 1, &size), 0);
    assert_int_equal(size, 128);
    d.queue_max[1] = 96;
    assert_int_equal(d.t->ops->queue_max(d.t, 1, &size), -EPROTO);
    d.queue_max[1] = 128;
    assert_int_equal(d.t->ops->queue_start(d.t, 1, &q), 0);
    assert_int_equal(d.pfn[1], 0x200);
    assert_int_equal(d.t->ops->queue_start(d.t, 1, &q), -EPROTO); /* in use */
    assert_int_equal(d.t->ops->queue_start(d.t, 0, &q), -EINVAL); /* that one has 256 */
    assert_non_null(strstr(d.t->ops->why(d.t), "256"));
    d.t->ops->kick(d.t, 1, 0);
    assert_int_equal(d.kicked[0], 1);
    d.isr = 2;
    assert_int_equal(d.t->ops->events(d.t), VIO_EVENT_CONFIG);
    wanted.w[0] = VIO_FEATURE(VIRTIO_F_VERSION_1);
    assert_int_equal(d.t->ops->accept(d.t, &wanted), -EINVAL);
    unmake(&d);
}

static void legacy_with_vectors(void **state)
{
    struct vio_transport_queue q = { .cfg = { .size = 128, .desc = 0x200000, .driver = 0x200800, .device = 0x201000 } };
    struct vio_features wanted = vio_features_of(4);
    struct device d;
    uint8_t bytes[8];

    (void)state;
    make_legacy(&d, true);
    assert_int_equal(try(&d, 2, true, NULL), 0);
    assert_int_equal(d.t->ops->accept(d.t, &wanted), 0);
    assert_int_equal(d.t->ops->config_read(d.t, 0, bytes, 8), 0); /* 4 bytes further on */
    assert_memory_equal(bytes, "abcdefgh", 8);
    assert_int_equal(d.t->ops->queue_start(d.t, 1, &q), 0);
    assert_int_equal(d.vector[1], 1);
    unmake(&d);
}

static void legacy_where_there_is_none(void **state)
{
    char why[VIO_DRV_WHY];
    struct device d;

    (void)state;
    blank(&d);
    add_caps(&d);
    assert_int_equal(try(&d, 0, true, why), -ENOTSUP);
    assert_non_null(strstr(why, "not transitional"));
    make_legacy(&d, false);
    d.pci.ports[0] = false;
    assert_int_equal(try(&d, 0, true, why), -ENOTSUP);
    make_legacy(&d, false);
    d.pci.bar_len[0] = 0x13;
    assert_int_equal(try(&d, 0, true, why), -ENOTSUP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(negotiates),
        cmocka_unit_test(a_short_common_structure),
        cmocka_unit_test(configuration),
        cmocka_unit_test(queues),
        cmocka_unit_test(no_queue_and_too_many),
        cmocka_unit_test(kicks),
        cmocka_unit_test(notification_data_needs_four_bytes),
        cmocka_unit_test(interrupts),
        cmocka_unit_test(one_interrupt_for_all),
        cmocka_unit_test(shared_memory),
        cmocka_unit_test(through_the_window),
        cmocka_unit_test(legacy_interface),
        cmocka_unit_test(legacy_with_vectors),
        cmocka_unit_test(legacy_where_there_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
