/* SPDX-License-Identifier: MIT */
/* Purpose: what the tests of the tap share; see net_tap_help.h. Where it sits: tests/unit/backend. */
#include "net_tap_help.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>

#include <cmocka.h>

static char no_tap[200]; /* why the tests are skipped */

void need_tap(void)
{
    if (!no_tap[0])
        return;
    printf("SKIP: %s\n", no_tap);
    skip();
}

int tap_setup(void **state)
{
    int fd;

    (void)state;
    if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
        snprintf(no_tap, sizeof no_tap, "no network namespace can be made: %s", strerror(errno));
        return 0;
    }
    fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        snprintf(no_tap, sizeof no_tap, "/dev/net/tun: %s", strerror(errno));
    else
        close(fd);
    return 0;
}

/* ------------------------------------------------------------------ the host's side */

short if_flags(const char *name)
{
    struct ifreq r = { 0 };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(r.ifr_name, sizeof r.ifr_name, "%s", name);
    if (ioctl(fd, SIOCGIFFLAGS, &r) < 0)
        r.ifr_flags = 0;
    close(fd);
    return r.ifr_flags;
}

bool has_address(const char *name, const char *address, const char *mask)
{
    struct ifreq r = { 0 };
    struct sockaddr_in in;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok;

    snprintf(r.ifr_name, sizeof r.ifr_name, "%s", name);
    ok = ioctl(fd, SIOCGIFADDR, &r) == 0;
    memcpy(&in, &r.ifr_addr, sizeof in);
    ok = ok && in.sin_addr.s_addr == inet_addr(address) && ioctl(fd, SIOCGIFNETMASK, &r) == 0;
    memcpy(&in, &r.ifr_netmask, sizeof in);
    close(fd);
    return ok && in.sin_addr.s_addr == inet_addr(mask);
}

void delete_interface(const char *name)
{
    struct {
        struct nlmsghdr head;
        struct ifinfomsg info;
    } m = { { sizeof m, RTM_DELLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0 }, { .ifi_index = (int)if_nametoindex(name) } };
    char answer[256];
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

    assert_true(fd >= 0 && m.info.ifi_index > 0);
    assert_int_equal(send(fd, &m, sizeof m, 0), sizeof m);
    assert_true(recv(fd, answer, sizeof answer, 0) > 0);
    assert_int_equal(if_nametoindex(name), 0);
    close(fd);
}

int raw_socket(const char *name, bool vnet, int type)
{
    struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons((uint16_t)type),
                              .sll_ifindex = (int)if_nametoindex(name) };
    struct timeval wait = { .tv_sec = 5 };
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons((uint16_t)type)), yes = 1;

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait), 0);
    if (vnet)
        assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &yes, sizeof yes), 0);
    return fd;
}

int other_tap(const char *name, short flags, bool persistent)
{
    struct ifreq r = { .ifr_flags = flags };
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    snprintf(r.ifr_name, sizeof r.ifr_name, "%s", name);
    assert_true(fd >= 0);
    assert_int_equal(ioctl(fd, TUNSETIFF, &r), 0);
    if (persistent)
        assert_int_equal(ioctl(fd, TUNSETPERSIST, 1), 0);
    return fd;
}

/* ------------------------------------------------------------------ our side */

struct vio_net_backend *tap_open(const struct vio_net_tap_params *params, struct fake_sink *f)
{
    struct vio_net_backend *b = NULL;
    char why[400];
    int ret = vio_net_tap_open(params, &b, why, sizeof why);

    if (ret < 0)
        fail_msg("%s", why);
    if (f)
        assert_int_equal(b->ops->start(b, &f->sink), 0);
    return b;
}

void tap_stop(struct vio_net_backend *b, struct fake_sink *f)
{
    b->ops->stop(b);
    vio_net_close(b);
    fake_sink_free(f);
}

static struct { const char *name; uint64_t value; } wanted;
static void counter_line(void *ctx, const char *name, uint64_t value)
{
    (void)ctx;
    if (!strcmp(name, wanted.name))
        wanted.value = value;
}
uint64_t tap_counter(struct vio_net_backend *b, const char *name)
{
    wanted.name = name;
    wanted.value = UINT64_MAX;
    b->ops->counters(b, counter_line, NULL);
    return wanted.value;
}

unsigned frames_of(struct fake_sink *f, unsigned type)
{
    unsigned n = 0;

    for (unsigned i = 0; i < f->nr; i++) {
        if ((unsigned)(f->frame[i].bytes[12] << 8 | f->frame[i].bytes[13]) == type)
            f->frame[n++] = f->frame[i];
        else
            free(f->frame[i].bytes);
    }
    f->nr = n;
    return n;
}

bool wait_for(struct vio_net_backend *b, struct fake_sink *f, unsigned type, unsigned want)
{
    uint64_t end = test_ms() + 5000;

    while (frames_of(f, type) < want && test_ms() < end)
        (void)net_wait_frames(b, f, (unsigned)f->taken + 1, 100);
    return f->nr >= want;
}
