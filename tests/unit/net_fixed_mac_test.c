/* SPDX-License-Identifier: MIT */
/* A network device whose backend takes frames from one address only: what the creator and the driver may say of it. */
#include "net_ctrl_help.h"

#include <errno.h>

static int setup(void **state)
{
    static struct nbench bench;

    nbench_init(&bench, PAIRS, false, false);
    *state = &bench;
    return 0;
}

static int teardown(void **state)
{
    struct nbench *b = *state;

    rig_free(&b->rig);
    return 0;
}

/* The driver is told that it cannot have another, and keeps the one that it has. */
static void the_driver_keeps_its_address(void **state)
{
    struct nbench *b = *state;
    const uint8_t other[] = { 2, 3, 4, 5, 6, 7 };
    uint8_t mac[VIO_NET_MAC];

    nbench_start(b, nbench_all(b));
    memcpy(mac, b->fake.net->mac, sizeof(mac));
    b->fake.net->info.mac_fixed = true;
    assert_int_equal(command(b, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other, 6), VIRTIO_NET_ERR);
    assert_memory_equal(b->fake.net->filter.mac, mac, 6);
    assert_int_equal(command(b, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, 6), VIRTIO_NET_OK);
    assert_memory_equal(b->fake.net->filter.mac, mac, 6);
}

/* The address that is given must be the one that the backend takes. */
static void the_creator_says_the_same(void **state)
{
    struct nbench *b = *state;
    struct fake_net fake;

    fake_net_init(&fake);
    fake.info.has_mac = fake.info.mac_fixed = true;
    fake.info.mac[0] = 2;
    assert_int_equal(fake_net_create(&fake, 1, &b->rig.log), -EINVAL);
    assert_int_equal(fake.destroyed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_driver_keeps_its_address, setup, teardown),
        cmocka_unit_test_setup_teardown(the_creator_says_the_same, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
