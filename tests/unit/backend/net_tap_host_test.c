/* SPDX-License-Identifier: MIT */
/*
 * Purpose: interfaces that the tap makes, finds, sets up and loses. Needs /dev/net/tun and the right to make a network
 * namespace. Where it sits: tests/unit/backend.
 */
#include "net_tap_help.h"

#include <errno.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/if_tun.h>
#include <linux/sockios.h>

#include <cmocka.h>

static char why[400];

static void refused(const struct vio_net_tap_params *params, int error, const char *part)
{
    struct vio_net_backend *b = NULL;

    why[0] = 0;
    assert_int_equal(vio_net_tap_open(params, &b, why, sizeof why), error);
    if (!strstr(why, part))
        fail_msg("no \"%s\" in \"%s\"", part, why);
    assert_int_equal(if_nametoindex("vtest0"), 0);
}

static void wrong_parameters_are_said(void **state)
{
    struct vio_net_tap_params p = NOT_SUCH;

    (void)state;
    need_tap();
    p.name = "a-name-that-is-too-long";
    refused(&p, -ENAMETOOLONG, "23 characters");
    p.name = "v%s";
    refused(&p, -EINVAL, "one %d");
    p.name = "v%d%d";
    refused(&p, -EINVAL, "one %d");
    p.name = "a/b";
    refused(&p, -EINVAL, "a/b");
    p.name = "lo";
    refused(&p, -EINVAL, "lo is there and is not a tap");
    p = NOT_SUCH;
    p.address = "192.0.2.1/33";
    refused(&p, -EINVAL, "192.0.2.1/24");
    p.address = "192.0.2.256/24";
    refused(&p, -EINVAL, "is not an address");
    p.address = "2001:db8::1/129";
    refused(&p, -EINVAL, "is not an address");
    p.address = "192.0.2.1/24x";
    refused(&p, -EINVAL, "is not an address");
    p.address = "192.0.2.1/";
    refused(&p, -EINVAL, "is not an address");
    p = NOT_SUCH;
    p.bridge = "no-bridge0";
    refused(&p, -ENODEV, "ip link add no-bridge0 type bridge");
    p.bridge = "a-name-that-is-too-long";
    refused(&p, -ENAMETOOLONG, "bridge name");
    p = NOT_SUCH;
    p.mtu = 67;
    refused(&p, -EINVAL, "an MTU of 67");
    p = NOT_SUCH;
    p.fd = 1000;
    refused(&p, -EBADF, "1000");
    p.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    refused(&p, -EINVAL, "is not a tap");
    assert_int_equal(close(p.fd), 0); /* still ours */
}

static void names_are_made(void **state)
{
    struct vio_net_tap_params p = { .fd = -1 }, v6 = { .name = "vsix0", .fd = -1, .address = "2001:db8::1/64" };
    struct test_log log;
    struct vio_net_backend *a, *b;
    char line[256], all[4096] = "";
    FILE *file;

    (void)state;
    need_tap();
    test_log_init(&log);
    p.log = &log.log;
    a = tap_open(&p, NULL);
    assert_non_null(strstr(log.all, "vio0: tap interface"));
    p.name = "vio%d";
    b = tap_open(&p, NULL);
    assert_non_null(strstr(log.all, "vio1: tap interface"));
    vio_net_close(a);
    vio_net_close(b);
    b = tap_open(&v6, NULL);
    file = fopen("/proc/self/net/if_inet6", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        strncat(all, line, sizeof all - strlen(all) - 1);
    if (file != NULL)
        fclose(file);
    assert_non_null(strstr(all, "20010db8000000000000000000000001"));
    vio_net_close(b);
}

static void existing_interfaces_stay(void **state)
{
    static const short kinds[] = { IFF_TAP | IFF_NO_PI, IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE };
    struct vio_net_tap_params busy = NOT_SUCH;
    struct vio_net_backend *b;

    (void)state;
    need_tap();
    for (unsigned i = 0; i < 2; i++) {
        int fd = other_tap("vold0", kinds[i], true);
        struct vio_net_tap_params p = { .name = "vold0", .fd = -1 };

        if (kinds[i] & IFF_MULTI_QUEUE)
            close(fd);
        else {
            b = NULL;
            assert_int_equal(vio_net_tap_open(&p, &b, why, sizeof why), -EBUSY);
            assert_non_null(strstr(why, "in use by another program"));
            close(fd);
        }
        b = tap_open(&p, NULL);
        assert_false(if_flags("vold0") & IFF_UP); /* nobody asked for that */
        vio_net_close(b);
        assert_true(if_nametoindex("vold0") > 0);
        p.address = "192.0.2.9/32";
        b = tap_open(&p, NULL);
        assert_true(if_flags("vold0") & IFF_UP);
        assert_true(has_address("vold0", "192.0.2.9", "255.255.255.255"));
        vio_net_close(b);
        assert_true(if_nametoindex("vold0") > 0);
        delete_interface("vold0");
    }
    b = tap_open(&busy, NULL);
    vio_net_close(b);
}

static void given_taps_are_used(void **state)
{
    static uint8_t frame[200], got[300];
    struct vio_net_tap_params p = { .name = "ignored/%%", .fd = -1 };

    (void)state;
    need_tap();
    for (int vnet = 0; vnet < 2; vnet++) {
        struct fake_sink *f = fake_sink_make();
        struct vio_net_backend *b;
        struct vio_net_info info;
        int raw;

        p.fd = other_tap("vgiven0", (short)(IFF_TAP | IFF_NO_PI | (vnet ? IFF_VNET_HDR : 0)), false);
        p.address = "192.0.2.5/24";
        b = tap_open(&p, f);
        b->ops->info(b, &info);
        assert_int_equal(info.takes != 0, vnet);
        assert_int_equal(info.gives != 0, vnet);
        b->ops->offloads(b, info.gives);
        raw = raw_socket("vgiven0", false, TYPE);
        test_frame(frame, sizeof frame, 9, 2, 1);
        assert_int_equal(net_send_one(b, frame, sizeof frame), 1);
        assert_int_equal(recv(raw, got, sizeof got, 0), sizeof frame);
        assert_memory_equal(got, frame, sizeof frame);
        test_frame(frame, sizeof frame, 2, 9, 2);
        assert_int_equal(send(raw, frame, sizeof frame, 0), sizeof frame);
        assert_true(wait_for(b, f, TYPE, 1));
        assert_true(test_frame_is(&f->frame[0], sizeof frame, 2, 9, 2));
        close(raw);
        tap_stop(b, f);
        assert_int_equal(if_nametoindex("vgiven0"), 0);
    }
    p.fd = other_tap("vgiven0", IFF_TUN | IFF_NO_PI, false);
    refused(&p, -EINVAL, "IFF_TAP");
    close(p.fd);
}

static void bridges_are_joined(void **state)
{
    struct vio_net_tap_params p = { .name = "vtest0", .fd = -1, .bridge = "vbr0" };
    struct vio_net_backend *b;
    struct ifreq r = { 0 };
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)state;
    need_tap();
    if (ioctl(control, SIOCBRADDBR, "vbr0") < 0) {
        printf("SKIP: no bridge can be made: %s\n", strerror(errno));
        close(control);
        skip();
    }
    b = tap_open(&p, NULL);
    snprintf(r.ifr_name, sizeof r.ifr_name, "vbr0");
    r.ifr_ifindex = (int)if_nametoindex("vtest0");
    assert_int_equal(ioctl(control, SIOCBRDELIF, &r), 0); /* it was in */
    vio_net_close(b);
    p.bridge = "lo";
    refused(&p, -EOPNOTSUPP, "is it a bridge?");
    assert_int_equal(ioctl(control, SIOCBRDELBR, "vbr0"), 0);
    close(control);
}

static void removed_interface_is_said_once(void **state)
{
    static uint8_t frame[60];
    struct vio_net_tap_params p = NOT_SUCH;
    struct fake_sink *f = fake_sink_make();
    struct vio_net_backend *b;
    struct test_log log;
    int fd;

    (void)state;
    need_tap();
    test_log_init(&log);
    p.log = &log.log;
    b = tap_open(&p, f);
    fd = b->ops->fd(b);
    test_frame(frame, sizeof frame, 1, 2, 0);
    assert_false(b->ops->arm(b, true, false, false));
    delete_interface("vtest0");
    assert_false(fd_readable(fd, 0)); /* it stands there with an error for ever, and wakes nobody who has no room */
    log.lines = 0;
    (void)b->ops->arm(b, true, true, false);
    assert_true(fd_readable(fd, 1000));
    assert_int_equal(b->ops->poll(b, 64), 0);
    assert_int_equal(net_send_one(b, frame, sizeof frame), 1);
    assert_int_equal(net_send_one(b, frame, sizeof frame), 1);
    assert_int_equal(tap_counter(b, "tx_refused"), 2);
    assert_int_equal(b->ops->poll(b, 64), 0);
    assert_int_equal(log.lines, 1);
    assert_non_null(strstr(log.last, "is gone"));
    assert_false(b->ops->arm(b, true, true, false));
    assert_false(fd_readable(fd, 0));
    b->ops->offloads(b, 0);
    tap_stop(b, f);
}

/* What somebody without rights reads. */
static void rights_are_said(void **state)
{
    struct vio_net_tap_params p = NOT_SUCH;
    struct vio_net_backend *b = NULL;
    int status;
    pid_t child;

    (void)state;
    need_tap();
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int ret = 0;

        if (setgid(65534) < 0 || setuid(65534) < 0)
            _exit(77);
        ret = vio_net_tap_open(&p, &b, why, sizeof why);
        _exit((ret == -EACCES && strstr(why, "chmod")) || (ret == -EPERM && strstr(why, "CAP_NET_ADMIN") &&
              strstr(why, "ip tuntap add dev vtest0 mode tap user 65534")) ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        printf("SKIP: this user cannot become another\n");
        skip();
    }
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_parameters_are_said),
        cmocka_unit_test(names_are_made),
        cmocka_unit_test(existing_interfaces_stay),
        cmocka_unit_test(given_taps_are_used),
        cmocka_unit_test(bridges_are_joined),
        cmocka_unit_test(removed_interface_is_said_once),
        cmocka_unit_test(rights_are_said),
    };

    return cmocka_run_group_tests_name("backend-net-tap-host", tests, tap_setup, NULL);
}
