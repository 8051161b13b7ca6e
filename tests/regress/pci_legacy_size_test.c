/* SPDX-License-Identifier: MIT */
/*
 * The transport of a legacy PCI device did not say that its queues have the size that they have: a driver that wants another
 * (a control queue of 16 where the device has 64) was given that, and the transport refused the queue (virtio 1.4, 4.1.5.1.3.1).
 */
#include "pci_driver_help.h"
#include <vio/drv_generic.h>

enum { LOW = 0x200000 }; /* where a legacy device reaches */

static void *low_alloc(void *ctx, size_t size, size_t align, uint64_t *addr)
{
    static uint64_t next = LOW;
    void *at = heap_dma_alloc(ctx, size, align, addr);

    *addr = next;
    next += (size + align - 1) / align * align;
    return at;
}

static void sizes_are_the_device_s(void **state)
{
    const struct vio_drvdev_queue_plan plans[] = { { .queue = 0, .size = 16, .polled = true },
                                                   { .queue = 1, .size = 512, .polled = true } };
    struct vio_drv_generic_driver driver;
    struct vio_drvdev *d;
    struct vio_bus *bus;
    struct device device;

    (void)state;
    make_legacy(&device, false);
    device.heap.p.dma_alloc = low_alloc;
    assert_int_equal(try(&device, 0, false, NULL), 0);
    vio_drv_generic_driver(&driver, &(struct vio_drv_generic_params){ .plans = plans, .nr_plans = 2 });
    assert_int_equal(vio_bus_create(&device.heap.p, &bus), 0);
    assert_int_equal(vio_bus_add(bus, device.t, 0, &driver.driver, &d), 0);
    assert_string_equal(vio_drvdev_why(d), "");
    assert_int_equal(vio_drvdev_status(d), VIO_DRVDEV_RUNS);
    assert_int_equal(vio_drvdev_queue_size(d, 0), 256);
    assert_int_equal(vio_drvdev_queue_size(d, 1), 128);
    assert_int_equal(device.pfn[0], LOW / 4096);
    assert_true(device.pfn[1] > device.pfn[0]);
    vio_bus_destroy(bus);
    assert_int_equal(device.heap.held, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_the_device_s),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
