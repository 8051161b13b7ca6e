/* SPDX-License-Identifier: MIT */
/* What spec/vhost.h says of the kernel's interface is what the system's header says. Where it sits: tests/unit. */
#include <linux/vhost.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "spec/vhost.h"

#define SAME(field, a, b)                                                                                                  \
    _Static_assert(offsetof(struct a, field) == offsetof(struct b, field), "a field is elsewhere")

_Static_assert(sizeof(struct vio_vhost_vring_state) == sizeof(struct vhost_vring_state), "size");
_Static_assert(sizeof(struct vio_vhost_vring_file) == sizeof(struct vhost_vring_file), "size");
_Static_assert(sizeof(struct vio_vhost_vring_addr) == sizeof(struct vhost_vring_addr), "size");
_Static_assert(sizeof(struct vio_vhost_region) == sizeof(struct vhost_memory_region), "size");
_Static_assert(sizeof(struct vio_vhost_scsi_target) == sizeof(struct vhost_scsi_target), "size");
_Static_assert(offsetof(struct vio_vhost_memory, region) == offsetof(struct vhost_memory, regions), "an array is elsewhere");
_Static_assert(offsetof(struct vio_vhost_vring_addr, desc) == offsetof(struct vhost_vring_addr, desc_user_addr), "desc");
_Static_assert(offsetof(struct vio_vhost_vring_addr, used) == offsetof(struct vhost_vring_addr, used_user_addr), "used");
_Static_assert(offsetof(struct vio_vhost_vring_addr, avail) == offsetof(struct vhost_vring_addr, avail_user_addr), "avail");
_Static_assert(offsetof(struct vio_vhost_vring_addr, log) == offsetof(struct vhost_vring_addr, log_guest_addr), "log");
_Static_assert(offsetof(struct vio_vhost_region, guest_addr) == offsetof(struct vhost_memory_region, guest_phys_addr), "guest");
_Static_assert(offsetof(struct vio_vhost_region, size) == offsetof(struct vhost_memory_region, memory_size), "size");
_Static_assert(offsetof(struct vio_vhost_region, user_addr) == offsetof(struct vhost_memory_region, userspace_addr), "user");
SAME(index, vio_vhost_vring_state, vhost_vring_state);
SAME(num, vio_vhost_vring_state, vhost_vring_state);
SAME(fd, vio_vhost_vring_file, vhost_vring_file);
SAME(abi_version, vio_vhost_scsi_target, vhost_scsi_target);
_Static_assert(offsetof(struct vio_vhost_scsi_target, tpgt) == offsetof(struct vhost_scsi_target, vhost_tpgt), "tpgt");
_Static_assert(offsetof(struct vio_vhost_scsi_target, wwpn) == offsetof(struct vhost_scsi_target, vhost_wwpn), "wwpn");

static void numbers_are_the_kernels(void **state)
{
    static const unsigned long pairs[][2] = {
        { VIO_VHOST_GET_FEATURES, VHOST_GET_FEATURES },
        { VIO_VHOST_SET_FEATURES, VHOST_SET_FEATURES },
        { VIO_VHOST_SET_OWNER, VHOST_SET_OWNER },
        { VIO_VHOST_SET_MEM_TABLE, VHOST_SET_MEM_TABLE },
        { VIO_VHOST_SET_VRING_NUM, VHOST_SET_VRING_NUM },
        { VIO_VHOST_SET_VRING_ADDR, VHOST_SET_VRING_ADDR },
        { VIO_VHOST_SET_VRING_BASE, VHOST_SET_VRING_BASE },
        { VIO_VHOST_GET_VRING_BASE, VHOST_GET_VRING_BASE },
        { VIO_VHOST_SET_VRING_KICK, VHOST_SET_VRING_KICK },
        { VIO_VHOST_SET_VRING_CALL, VHOST_SET_VRING_CALL },
        { VIO_VHOST_SET_VRING_ERR, VHOST_SET_VRING_ERR },
        { VIO_VHOST_NET_SET_BACKEND, VHOST_NET_SET_BACKEND },
        { VIO_VHOST_SCSI_SET_ENDPOINT, VHOST_SCSI_SET_ENDPOINT },
        { VIO_VHOST_SCSI_CLEAR_ENDPOINT, VHOST_SCSI_CLEAR_ENDPOINT },
        { VIO_VHOST_SCSI_GET_ABI_VERSION, VHOST_SCSI_GET_ABI_VERSION },
        { VIO_VHOST_VSOCK_SET_GUEST_CID, VHOST_VSOCK_SET_GUEST_CID },
        { VIO_VHOST_VSOCK_SET_RUNNING, VHOST_VSOCK_SET_RUNNING },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        assert_int_equal(pairs[i][0], pairs[i][1]);
    assert_int_equal(VIO_VHOST_SCSI_ABI_VERSION, VHOST_SCSI_ABI_VERSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(numbers_are_the_kernels) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
