/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the host's side of a tap: the interface is made or found, its header and offloads are agreed upon with the
 * kernel, and what was asked for (MTU, bridge, address) is set. Where it sits: base/, hosted: for the network backend of a
 * device, and for the driver side's transport to vhost-net. Threads: the control thread, but tap_host_offloads(): the owner.
 * How: an interface that we make lives as long as our descriptors; one that was there stays as it is, but for what is
 * asked for. Of one with several queues each has a descriptor; what is agreed upon holds for all.
 */
#include "base/tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>

#include "base/why.h"

/* Linux 6.2 and later; the headers may be older than the kernel. */
#define TAP_F_USO (0x20u | 0x40u) /* TUN_F_USO4, TUN_F_USO6: the kernel knows them together only */
#define TAP_DEVICE "/dev/net/tun"
#define TAP_DEFAULT_NAME "vio%d"

/* As linux/ipv6.h has it; that header and netinet/in.h do not go together everywhere. */
struct tap_in6_ifreq {
    struct in6_addr address;
    uint32_t prefix;
    int index;
};

struct address {
    int family;
    struct in_addr v4;
    struct in6_addr v6;
    unsigned prefix;
};

/* ------------------------------------------------------------------ offloads */

static unsigned tap_flags(unsigned offloads)
{
    unsigned flags = 0;

    if (!(offloads & VIO_NET_CSUM))
        return 0; /* all others stand on it */
    flags |= TUN_F_CSUM;
    flags |= offloads & VIO_NET_TSO4 ? TUN_F_TSO4 : 0;
    flags |= offloads & VIO_NET_TSO6 ? TUN_F_TSO6 : 0;
    if (flags & (TUN_F_TSO4 | TUN_F_TSO6))
        flags |= offloads & VIO_NET_ECN ? TUN_F_TSO_ECN : 0;
    flags |= offloads & VIO_NET_UFO ? TUN_F_UFO : 0;
    flags |= offloads & VIO_NET_USO ? TAP_F_USO : 0;
    return flags;
}

int tap_host_offloads(const struct tap_host *host, unsigned offloads)
{
    if (!host->vnet)
        return 0;
    return ioctl(host->fd, TUNSETOFFLOAD, (unsigned long)tap_flags(offloads)) < 0 ? -errno : 0;
}

/* One after the other: an older kernel refuses the whole set for one that it does not know. */
static int find_offloads(struct tap_host *host)
{
    static const unsigned each[] = {
        VIO_NET_CSUM, VIO_NET_TSO4, VIO_NET_TSO6, VIO_NET_TSO4 | VIO_NET_ECN, VIO_NET_UFO, VIO_NET_USO,
    };

    host->takes = host->gives = 0;
    if (!host->vnet)
        return 0;
    for (unsigned i = 0; i < sizeof each / sizeof each[0]; i++) {
        if (tap_host_offloads(host, VIO_NET_CSUM | each[i]) == 0)
            host->gives |= VIO_NET_CSUM | each[i];
    }
    /* What is written is judged by the kernel's virtio header code, which knows these as long as there are taps. */
    host->takes = VIO_NET_CSUM | VIO_NET_TSO4 | VIO_NET_TSO6 | VIO_NET_ECN | VIO_NET_UFO | (host->gives & VIO_NET_USO);
    return tap_host_offloads(host, 0);
}

/* ------------------------------------------------------------------ the descriptors */

static int check_name(const char *name, char *why, size_t why_size)
{
    const char *percent = strchr(name, '%');

    if (strlen(name) >= IFNAMSIZ)
        return vio_why(-ENAMETOOLONG, why, why_size, "the interface name %s has %zu characters; it may have %d", name,
                       strlen(name), IFNAMSIZ - 1);
    if (strchr(name, '/') || strchr(name, ' ') || !strcmp(name, ".") || !strcmp(name, ".."))
        return vio_why(-EINVAL, why, why_size, "\"%s\" cannot be the name of an interface", name);
    if (percent && (percent[1] != 'd' || strchr(percent + 1, '%')))
        return vio_why(-EINVAL, why, why_size, "the interface name %s may hold one %%d and no other %%", name);
    return 0;
}

static int say_no_device(int error, char *why, size_t why_size)
{
    if (error == -ENOENT || error == -ENODEV || error == -ENXIO)
        return vio_why(error, why, why_size, "no tap can be made, for " TAP_DEVICE " is missing: load the module "
                       "(modprobe tun), or in a container pass the device in");
    if (error == -EACCES || error == -EPERM)
        return vio_why(error, why, why_size, TAP_DEVICE " may not be opened by user %u: let it (chmod 0666 "
                       TAP_DEVICE "), or pass an open tap by fd=", (unsigned)geteuid());
    return vio_why(error, why, why_size, TAP_DEVICE " cannot be opened: %s", strerror(-error));
}

static int say_not_attached(int error, const char *name, bool existed, char *why, size_t why_size)
{
    switch (error) {
    case -EPERM:
        return vio_why(error, why, why_size, "the tap %s cannot be %s by user %u: give vio CAP_NET_ADMIN, or make "
                       "the tap for this user first (ip tuntap add dev %s mode tap user %u)", name,
                       existed ? "used" : "made", (unsigned)geteuid(), strchr(name, '%') ? "NAME" : name,
                       (unsigned)geteuid());
    case -EBUSY:
        return vio_why(error, why, why_size, "the tap %s is in use by another program: stop that, or choose another "
                       "name", name);
    case -EINVAL:
        return existed ? vio_why(error, why, why_size, "the interface %s is there and is not a tap: choose another "
                                 "name", name)
                       : vio_why(error, why, why_size, "the kernel makes no tap with the name %s", name);
    case -E2BIG:
        return vio_why(error, why, why_size, "the tap %s has as many queues open as it may have: stop a program that "
                       "uses it, or choose another name", name);
    default:
        return vio_why(error, why, why_size, "the tap %s cannot be %s: %s", name, existed ? "used" : "made",
                       strerror(-error));
    }
}

/* Whether a tap is there that was made for one queue: the kernel says EINVAL to that, too. Asked by attaching so. */
static bool has_one_queue(const char *name)
{
    struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
    int fd = open(TAP_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    bool attached;

    if (fd < 0)
        return false;
    memcpy(r.ifr_name, name, strlen(name) + 1); /* check_name() */
    attached = ioctl(fd, TUNSETIFF, &r) == 0 || errno == EBUSY;
    close(fd);
    return attached;
}

static int say_one_queue(const char *name, char *why, size_t why_size)
{
    return vio_why(-EINVAL, why, why_size, "the tap %s was made for one queue: make it for several (ip tuntap del dev %s "
                   "mode tap; ip tuntap add dev %s mode tap multi_queue), or ask for one queue", name, name, name);
}

static int attach(struct tap_host *host, const char *name, bool existed, bool several, char *why, size_t why_size)
{
    struct ifreq r = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (several ? IFF_MULTI_QUEUE : 0)) };
    int error;

    memcpy(r.ifr_name, name, strlen(name) + 1); /* check_name() */
    if (ioctl(host->fd, TUNSETIFF, &r) < 0) {
        error = -errno;
        if (error == -EINVAL && several && existed && has_one_queue(name))
            return say_one_queue(name, why, why_size);
        if (error == -EINVAL && existed && !several) { /* one that was made for several queues wants to hear so */
            r.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE;
            error = ioctl(host->fd, TUNSETIFF, &r) < 0 ? -errno : 0;
        }
        if (error)
            return say_not_attached(error, name, existed, why, why_size);
    }
    memcpy(host->name, r.ifr_name, IFNAMSIZ);
    host->name[IFNAMSIZ - 1] = 0;
    host->vnet = true;
    host->multi = several;
    return 0;
}

static int open_named(struct tap_host *host, const char *name, bool several, bool *made, char *why, size_t why_size)
{
    bool existed;
    int ret;

    if (!name || !*name)
        name = TAP_DEFAULT_NAME;
    ret = check_name(name, why, why_size);
    if (ret < 0)
        return ret;
    existed = if_nametoindex(name) != 0;
    host->fd = open(TAP_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (host->fd < 0)
        return say_no_device(-errno, why, why_size);
    ret = attach(host, name, existed, several, why, why_size);
    if (ret < 0)
        close(host->fd);
    else
        *made = !existed;
    return ret;
}

/* One that somebody else has opened: what cannot be changed any more is checked. */
static int use_given(struct tap_host *host, int fd, char *why, size_t why_size)
{
    struct ifreq r = { 0 };
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0)
        return vio_why(-EBADF, why, why_size, "descriptor %d is not open", fd);
    if (ioctl(fd, TUNGETIFF, &r) < 0)
        return vio_why(-EINVAL, why, why_size, "descriptor %d is not a tap: open " TAP_DEVICE
                       " and attach it to one (TUNSETIFF) before it is passed", fd);
    memcpy(host->name, r.ifr_name, IFNAMSIZ);
    host->name[IFNAMSIZ - 1] = 0;
    /* IFF_NO_PI must be set too, but cannot be asked for: the kernel says by the same bit that there is no filter. */
    if (!(r.ifr_flags & IFF_TAP))
        return vio_why(-EINVAL, why, why_size, "descriptor %d is the interface %s, but not a tap: attach it with "
                       "IFF_TAP, IFF_NO_PI and IFF_VNET_HDR", fd, host->name);
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return vio_why(-errno, why, why_size, "descriptor %d: %s", fd, strerror(errno));
    host->fd = fd;
    host->vnet = (r.ifr_flags & IFF_VNET_HDR) != 0;
    host->multi = (r.ifr_flags & IFF_MULTI_QUEUE) != 0;
    return 0;
}

int tap_host_use(int fd, bool use)
{
    struct ifreq r = { .ifr_flags = use ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

    return ioctl(fd, TUNSETQUEUE, &r) < 0 ? -errno : 0;
}

int tap_host_queue(const struct tap_host *host, int given, int *fd, char *why, size_t why_size)
{
    struct tap_host queue = { .fd = -1 };
    bool made;
    int ret;

    if (!host->multi)
        return say_one_queue(host->name, why, why_size);
    ret = given >= 0 ? use_given(&queue, given, why, why_size) : open_named(&queue, host->name, true, &made, why, why_size);
    if (ret < 0)
        return ret;
    if (strcmp(queue.name, host->name) != 0 || queue.vnet != host->vnet)
        ret = vio_why(-EINVAL, why, why_size, "descriptor %d is a queue of %s, and the first one is of %s: all must be "
                      "queues of one tap, made alike", given, queue.name, host->name);
    if (ret == 0) {
        ret = tap_host_use(queue.fd, false);
        if (ret < 0)
            ret = vio_why(ret, why, why_size, "a queue of the tap %s cannot be detached until it is needed: %s; Linux "
                          "3.8 or later does that", host->name, strerror(-ret));
    }
    if (ret < 0 && given < 0)
        close(queue.fd);
    if (ret == 0)
        *fd = queue.fd;
    return ret;
}

static int agree(struct tap_host *host, char *why, size_t why_size)
{
    int bytes = TAP_HEADER, yes = 1, ret;

    if (host->vnet && (ioctl(host->fd, TUNSETVNETHDRSZ, &bytes) < 0 || ioctl(host->fd, TUNSETVNETLE, &yes) < 0))
        return vio_why(-errno, why, why_size, "the kernel's tap %s does not do virtio 1 headers: %s; Linux 3.19 or "
                       "later does", host->name, strerror(errno));
    ret = find_offloads(host);
    return ret < 0 ? vio_why(ret, why, why_size, "the tap %s: its offloads cannot be set: %s", host->name,
                             strerror(-ret)) : 0;
}

/* ------------------------------------------------------------------ what was asked for */

static void request_for(struct ifreq *r, const char *name)
{
    memset(r, 0, sizeof *r);
    memcpy(r->ifr_name, name, strnlen(name, IFNAMSIZ - 1));
}

static int parse_address(const char *text, struct address *a, char *why, size_t why_size)
{
    char host[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : strlen(text);
    char *end = NULL;
    unsigned most;

    if (n < sizeof host) {
        memcpy(host, text, n);
        host[n] = 0;
        a->family = inet_pton(AF_INET, host, &a->v4) == 1    ? AF_INET
                    : inet_pton(AF_INET6, host, &a->v6) == 1 ? AF_INET6
                                                             : 0;
    }
    most = a->family == AF_INET ? 32 : 128;
    a->prefix = most;
    if (slash && slash[1] >= '0' && slash[1] <= '9') {
        unsigned long prefix = strtoul(slash + 1, &end, 10);

        a->prefix = prefix > most ? most + 1 : (unsigned)prefix;
    }
    if (!a->family || (slash && (!end || *end)) || a->prefix > most)
        return vio_why(-EINVAL, why, why_size, "\"%s\" is not an address with the length of its network, as in "
                       "192.0.2.1/24 or 2001:db8::1/64", text);
    return 0;
}

static int set_address4(const struct tap_host *host, int control, const struct address *a)
{
    struct ifreq r;
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = a->v4 };

    request_for(&r, host->name);
    memcpy(&r.ifr_addr, &in, sizeof in);
    if (ioctl(control, SIOCSIFADDR, &r) < 0)
        return -errno;
    in.sin_addr.s_addr = a->prefix ? htonl(UINT32_MAX << (32 - a->prefix)) : 0;
    memcpy(&r.ifr_netmask, &in, sizeof in);
    return ioctl(control, SIOCSIFNETMASK, &r) < 0 ? -errno : 0;
}

static int set_address6(const struct tap_host *host, const struct address *a)
{
    struct tap_in6_ifreq r = { .address = a->v6, .prefix = a->prefix, .index = (int)if_nametoindex(host->name) };
    int control = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), error = 0;

    if (control < 0)
        return -errno;
    if (ioctl(control, SIOCSIFADDR, &r) < 0 && errno != EEXIST)
        error = -errno;
    close(control);
    return error;
}

static int set_address(const struct tap_host *host, int control, const char *text, char *why, size_t why_size)
{
    struct address a = { 0 };
    int ret = parse_address(text, &a, why, why_size);

    if (ret < 0)
        return ret;
    ret = a.family == AF_INET ? set_address4(host, control, &a) : set_address6(host, &a);
    return ret < 0 ? vio_why(ret, why, why_size, "the interface %s does not get the address %s: %s%s", host->name, text,
                             strerror(-ret), ret == -EPERM ? "; that needs CAP_NET_ADMIN" : "") : 0;
}

static bool in_bridge_already(const char *name, const char *bridge)
{
    char path[64], target[PATH_MAX];
    const char *last;
    ssize_t n;

    snprintf(path, sizeof path, "/sys/class/net/%s/master", name);
    n = readlink(path, target, sizeof target - 1);
    if (n <= 0)
        return false;
    target[n] = 0;
    last = strrchr(target, '/');
    return !strcmp(last ? last + 1 : target, bridge);
}

static int put_into_bridge(const struct tap_host *host, int control, const char *bridge, char *why, size_t why_size)
{
    struct ifreq r;
    int error;

    if (strlen(bridge) >= IFNAMSIZ)
        return vio_why(-ENAMETOOLONG, why, why_size, "the bridge name %s has %zu characters; it may have %d", bridge,
                       strlen(bridge), IFNAMSIZ - 1);
    request_for(&r, bridge);
    r.ifr_ifindex = (int)if_nametoindex(host->name);
    if (ioctl(control, SIOCBRADDIF, &r) == 0)
        return 0;
    error = -errno;
    if (error == -EBUSY && in_bridge_already(host->name, bridge))
        return 0;
    if (error == -ENODEV)
        return vio_why(error, why, why_size, "there is no bridge %s: make it first (ip link add %s type bridge)", bridge,
                       bridge);
    if (error == -EOPNOTSUPP || error == -EINVAL)
        return vio_why(error, why, why_size, "%s takes no interface in: is it a bridge?", bridge);
    if (error == -EBUSY)
        return vio_why(error, why, why_size, "the interface %s is in another bridge: take it out first (ip link set %s "
                       "nomaster)", host->name, host->name);
    return vio_why(error, why, why_size, "the interface %s does not get into the bridge %s: %s%s", host->name, bridge,
                   strerror(-error), error == -EPERM ? "; that needs CAP_NET_ADMIN" : "");
}

static int set_mtu(const struct tap_host *host, int control, uint16_t mtu, char *why, size_t why_size)
{
    struct ifreq r;
    int error;

    request_for(&r, host->name);
    r.ifr_mtu = mtu;
    if (ioctl(control, SIOCSIFMTU, &r) == 0)
        return 0;
    error = -errno;
    return vio_why(error, why, why_size, "the interface %s does not get an MTU of %u: %s%s", host->name, mtu,
                   strerror(-error),
                   error == -EPERM ? "; that needs CAP_NET_ADMIN" : "; 68 to 65521 is possible");
}

static int bring_up(const struct tap_host *host, int control, char *why, size_t why_size)
{
    struct ifreq r;
    int error;

    request_for(&r, host->name);
    if (ioctl(control, SIOCGIFFLAGS, &r) == 0) {
        if (r.ifr_flags & IFF_UP)
            return 0;
        r.ifr_flags |= IFF_UP;
        if (ioctl(control, SIOCSIFFLAGS, &r) == 0)
            return 0;
    }
    error = -errno;
    return vio_why(error, why, why_size, "the interface %s cannot be brought up: %s%s", host->name, strerror(-error),
                   error == -EPERM ? "; that needs CAP_NET_ADMIN" : "");
}

/* 0: not known. */
static uint16_t read_mtu(const struct tap_host *host, int control)
{
    struct ifreq r;

    request_for(&r, host->name);
    return ioctl(control, SIOCGIFMTU, &r) == 0 && r.ifr_mtu > 0 && r.ifr_mtu <= UINT16_MAX ? (uint16_t)r.ifr_mtu : 0;
}

static int set_up(struct tap_host *host, const struct vio_net_tap_params *p, bool made, char *why, size_t why_size)
{
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret = 0;

    if (control < 0)
        return vio_why(-errno, why, why_size, "no socket to set %s up with: %s", host->name, strerror(errno));
    if (p->mtu)
        ret = set_mtu(host, control, p->mtu, why, why_size);
    if (ret == 0 && p->bridge)
        ret = put_into_bridge(host, control, p->bridge, why, why_size);
    if (ret == 0 && p->address)
        ret = set_address(host, control, p->address, why, why_size);
    if (ret == 0 && (made || p->bridge || p->address))
        ret = bring_up(host, control, why, why_size);
    if (ret == 0)
        host->mtu = read_mtu(host, control);
    close(control);
    return ret;
}

int tap_host_open(const struct vio_net_tap_params *params, struct tap_host *out, char *why, size_t why_size)
{
    struct tap_host host = { .fd = -1 };
    bool made = false;
    int ret = params->fd >= 0 ? use_given(&host, params->fd, why, why_size)
                              : open_named(&host, params->name, params->queues > 1, &made, why, why_size);

    if (ret < 0)
        return ret;
    ret = agree(&host, why, why_size);
    if (ret == 0)
        ret = set_up(&host, params, made, why, why_size);
    if (ret < 0) {
        if (params->fd < 0)
            close(host.fd);
        return ret;
    }
    *out = host;
    return 0;
}

/* ------------------------------------------------------------------ what changes */

int tap_host_link(const struct tap_host *host, struct tap_link *link)
{
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), error = 0;
    struct ifreq r;

    if (control < 0)
        return -errno;
    request_for(&r, host->name);
    if (ioctl(control, SIOCGIFFLAGS, &r) < 0)
        error = -errno;
    else
        *link = (struct tap_link){ .up = (r.ifr_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING),
                                   .mtu = read_mtu(host, control) };
    close(control);
    return error;
}

int tap_host_watch(void)
{
    struct sockaddr_nl all = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE), error;

    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&all, sizeof all) == 0)
        return fd;
    error = -errno;
    close(fd);
    return error;
}
