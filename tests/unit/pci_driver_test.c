/* SPDX-License-Identifier: MIT */
/* The driver side of virtio-pci against a model of a function: ids, and capabilities true and false. */
#include "pci_driver_help.h"

static void knows_ids(void **state)
{
    char why[VIO_DRV_WHY];
    struct device d;

    (void)state;
    make(&d);
    assert_string_equal(d.t->name, "pci@0000:00:04.0");
    assert_int_equal(d.t->type, VIRTIO_ID_BLOCK);
    assert_int_equal(d.t->queues_max, QUEUES);
    assert_false(d.t->legacy);
    assert_int_equal(pci_model_get(&d.pci, PCI_COMMAND, 2), PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
    unmake(&d);

    blank(&d); /* transitional, with modern capabilities: modern */
    add_caps(&d);
    pci_model_put(&d.pci, PCI_DEVICE_ID, 2, 0x1000);
    pci_model_put(&d.pci, PCI_SUBSYSTEM_ID, 2, VIRTIO_ID_NET);
    assert_int_equal(try(&d, 0, false, NULL), 0);
    assert_int_equal(d.t->type, VIRTIO_ID_NET);
    assert_false(d.t->legacy);
    unmake(&d);

    blank(&d);
    add_caps(&d);
    pci_model_put(&d.pci, PCI_DEVICE_ID, 2, 0x1080);
    assert_int_equal(try(&d, 0, false, why), -ENODEV);
    pci_model_put(&d.pci, PCI_DEVICE_ID, 2, 0x1040);
    assert_int_equal(try(&d, 0, false, why), -EPROTO); /* type 0 */
    pci_model_put(&d.pci, PCI_DEVICE_ID, 2, 0x1042);
    d.pci.config[PCI_HEADER_TYPE] = 1; /* a bridge */
    assert_int_equal(try(&d, 0, false, why), -ENODEV);
    d.pci.config[PCI_HEADER_TYPE] = 0x80; /* one of several functions */
    assert_int_equal(try(&d, 0, false, why), 0);
    unmake(&d);
    memset(d.pci.config, 0xff, sizeof(d.pci.config)); /* nobody there */
    assert_int_equal(try(&d, 0, false, why), -ENODEV);
    d.pci.no_config = true;
    assert_int_equal(try(&d, 0, false, why), -EIO);
}

static void wants_the_capabilities_it_needs(void **state)
{
    static const uint8_t types[] = { VIRTIO_PCI_CAP_COMMON, VIRTIO_PCI_CAP_NOTIFY, VIRTIO_PCI_CAP_ISR };
    static const char *const words[] = { "common", "notif", "ISR" };
    char why[VIO_DRV_WHY];
    struct device d;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        blank(&d);
        for (unsigned j = 0; j < 3; j++) {
            if (j != i)
                pci_model_virtio_cap(&d.pci, types[j], BAR, j * 0x1000, 0x100);
        }
        assert_int_equal(try(&d, 0, false, why), -ENOTSUP);
        assert_non_null(strstr(why, words[i]));
    }
    blank(&d); /* no list at all */
    assert_int_equal(try(&d, 0, false, why), -ENOTSUP);
    make(&d); /* no device configuration is fine */
    unmake(&d);
    blank(&d);
    pci_model_virtio_cap(&d.pci, VIRTIO_PCI_CAP_COMMON, BAR, COMMON, 56);
    pci_model_virtio_cap(&d.pci, VIRTIO_PCI_CAP_ISR, BAR, ISR, 1);
    pci_model_virtio_cap(&d.pci, VIRTIO_PCI_CAP_NOTIFY, BAR, NOTIFY, 2);
    assert_int_equal(try(&d, 0, false, why), 0);
    assert_int_equal(d.t->ops->config_read(d.t, 0, why, 1), -ENOTSUP);
    unmake(&d);
}

/* One capability that lies, alone of its type: the device cannot be used, and the sentence says why. */
static void lying_capability(uint8_t type, uint8_t bar, uint32_t offset, uint32_t length, const char *word)
{
    char why[VIO_DRV_WHY];
    struct device d;

    blank(&d);
    pci_model_virtio_cap(&d.pci, type, bar, offset, length);
    if (type != VIRTIO_PCI_CAP_COMMON)
        pci_model_virtio_cap(&d.pci, VIRTIO_PCI_CAP_COMMON, BAR, COMMON, 64);
    if (type != VIRTIO_PCI_CAP_ISR)
        pci_model_virtio_cap(&d.pci, VIRTIO_PCI_CAP_ISR, BAR, ISR, 1);
    if (type != VIRTIO_PCI_CAP_NOTIFY)
        pci_model_virtio_cap(&d.pci, VIRTIO_PCI_CAP_NOTIFY, BAR, NOTIFY, 0x1000);
    assert_int_equal(try(&d, 0, false, why), -ENOTSUP);
    if (strstr(why, word) == NULL)
        fail_msg("'%s' is not in: %s", word, why);
    assert_int_equal(d.pci.maps, 0);
}

static void places_that_are_not_there(void **state)
{
    (void)state;
    lying_capability(VIRTIO_PCI_CAP_COMMON, BAR, BAR_LEN - 60, 64, "beyond");
    lying_capability(VIRTIO_PCI_CAP_COMMON, BAR, 0xfffffff0, 64, "beyond"); /* offset + length wraps in 32 bits */
    lying_capability(VIRTIO_PCI_CAP_COMMON, BAR, 0, UINT32_MAX, "beyond");
    lying_capability(VIRTIO_PCI_CAP_COMMON, BAR, 0, 0, "0 bytes");
    lying_capability(VIRTIO_PCI_CAP_COMMON, BAR, 0, 55, "at least 56");
    lying_capability(VIRTIO_PCI_CAP_COMMON, BAR, 2, 64, "aligned");
    lying_capability(VIRTIO_PCI_CAP_COMMON, 2, 0, 64, "BAR 2");
    lying_capability(VIRTIO_PCI_CAP_COMMON, 6, 0, 64, "common"); /* reserved: ignored */
    lying_capability(VIRTIO_PCI_CAP_COMMON, 255, 0, 64, "common");
    lying_capability(VIRTIO_PCI_CAP_NOTIFY, BAR, BAR_LEN, 2, "beyond");
    lying_capability(VIRTIO_PCI_CAP_NOTIFY, BAR, NOTIFY, 1, "at least 2");
    lying_capability(VIRTIO_PCI_CAP_NOTIFY, BAR, NOTIFY + 1, 2, "aligned");
    lying_capability(VIRTIO_PCI_CAP_ISR, BAR, BAR_LEN, 1, "beyond");
    lying_capability(VIRTIO_PCI_CAP_ISR, BAR, ISR, 0, "0 bytes");
}

static void absurd_multipliers(void **state)
{
    static const uint32_t wrong[] = { 1, 3, 6, 0xffffffff, 0x80000001 };
    char why[VIO_DRV_WHY];
    struct device d;

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        blank(&d);
        add_caps(&d);
        pci_model_put(&d.pci, d.pci.last + 16u, 4, wrong[i]);
        assert_int_equal(try(&d, 0, false, why), -ENOTSUP);
        assert_non_null(strstr(why, "multiplier"));
    }
    /* A power of two so large that only queue 0 has a place. */
    blank(&d);
    add_caps(&d);
    pci_model_put(&d.pci, d.pci.last + 16u, 4, 0x80000000);
    d.notify_off[1] = 0xffff;
    assert_int_equal(try(&d, 0, false, why), 0);
    assert_int_equal(d.t->ops->queue_start(d.t, 0, &ring), 0);
    assert_int_equal(d.t->ops->queue_start(d.t, 1, &ring), -EPROTO);
    assert_non_null(strstr(d.t->ops->why(d.t), "notified at"));
    assert_int_equal(d.enabled[1], 0);
    unmake(&d);
}

static void lists_that_do_not_end(void **state)
{
    char why[VIO_DRV_WHY];
    struct device d;

    (void)state;
    blank(&d);
    add_caps(&d);
    d.pci.config[d.pci.last + 1] = 0x40; /* back to the first */
    assert_int_equal(try(&d, 0, false, why), -EPROTO);
    assert_non_null(strstr(why, "loops at 0x40"));
    d.pci.config[d.pci.last + 1] = d.pci.last;
    assert_int_equal(try(&d, 0, false, why), -EPROTO);
    d.pci.config[d.pci.last + 1] = 0x10;
    assert_int_equal(try(&d, 0, false, why), -EPROTO);
    assert_non_null(strstr(why, "header"));
    /* A capability that would end behind configuration space. */
    blank(&d);
    add_caps(&d);
    d.pci.config[d.pci.last + 1] = 0xf8;
    memcpy(&d.pci.config[0xf8], "\x09\x00\x10\x08", 4);
    assert_int_equal(try(&d, 0, false, why), 0);
    unmake(&d);
}

static void the_first_that_can_be_used(void **state)
{
    uint8_t at;
    struct device d;

    (void)state;
    blank(&d);
    pci_model_cap(&d.pci, 0x05, 14);                                           /* MSI: not ours */
    pci_model_virtio_cap(&d.pci, VIRTIO_PCI_CAP_COMMON, BAR, BAR_LEN, 64);     /* beyond: the next one */
    pci_model_virtio_cap(&d.pci, 7, BAR, 0, 64);                               /* reserved type */
    add_caps(&d);
    pci_model_virtio_cap(&d.pci, VIRTIO_PCI_CAP_COMMON, BAR, 0x1800, 64);      /* a second one: not used */
    at = pci_model_virtio_cap(&d.pci, VIRTIO_PCI_CAP_ISR, BAR, ISR + 8, 1);
    d.pci.config[at + 2] = 8; /* too short */
    assert_int_equal(try(&d, 0, false, NULL), 0);
    assert_int_equal(d.t->queues_max, QUEUES);
    d.isr = 1;
    assert_int_equal(d.t->ops->events(d.t), VIO_EVENT_QUEUES);
    unmake(&d);
}

static void registers_over_registers(void **state)
{
    char why[VIO_DRV_WHY];
    struct device d;

    (void)state;
    blank(&d);
    pci_model_virtio_cap(&d.pci, VIRTIO_PCI_CAP_COMMON, BAR, COMMON, 64);
    pci_model_virtio_cap(&d.pci, VIRTIO_PCI_CAP_ISR, BAR, ISR, 1);
    pci_model_virtio_cap(&d.pci, VIRTIO_PCI_CAP_NOTIFY, BAR, 60, 0x1000);
    assert_int_equal(try(&d, 0, false, why), -EPROTO);
    assert_non_null(strstr(why, "overlap"));
    blank(&d);
    add_caps(&d);
    pci_model_virtio_cap(&d.pci, VIRTIO_PCI_CAP_SHARED_MEMORY, BAR, 0x2080, 0x1000);
    assert_int_equal(try(&d, 0, false, why), -EPROTO);
    assert_non_null(strstr(why, "shared memory 0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_ids),
        cmocka_unit_test(wants_the_capabilities_it_needs),
        cmocka_unit_test(places_that_are_not_there),
        cmocka_unit_test(absurd_multipliers),
        cmocka_unit_test(lists_that_do_not_end),
        cmocka_unit_test(the_first_that_can_be_used),
        cmocka_unit_test(registers_over_registers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
