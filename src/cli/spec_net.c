/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the network device as the command line has it: its keys, how a spec becomes a device, and what QEMU and
 * libvirt are told. What stands behind it is in cli/spec_net_backend.c. Where it sits: cli/. Threads: the control thread.
 */
#include "cli/spec_net.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/text.h"
#include "spec/net.h"

enum { PAIRS_MAX = 64, PAIRS_OFFERED = 16, MTU_MIN = 68, QEMU_RING_MAX = 1024, COUNTER_NAME = 64 };

static const struct spec_key net_keys[] = {
    { .name = "mac", .form = SPEC_TEXT, .value = "ADDRESS", .fallback_says = "made from the device's name",
      .help = "the guest's address: 52:54:00:12:34:56 (VIRTIO_NET_F_MAC). QEMU and libvirt choose one themselves, unless "
              "`vio xml` gives them this" },
    { .name = "pairs", .form = SPEC_NUMBER, .value = "N", .min = 1, .max = PAIRS_MAX,
      .fallback_says = "as many as threads= or queues=; with one thread 16, or as many as the host has processors",
      .help = "pairs of a receive and a transmit queue that are offered (VIRTIO_NET_F_MQ)" },
    { .name = "queue-size", .form = SPEC_NUMBER, .value = "N", .min = 16, .max = VIO_QUEUE_SIZE_MAX, .fallback = "1024",
      .power_of_two = true, .help = "the most entries that a queue may have; the front-end or the driver chooses" },
    { .name = "mtu", .form = SPEC_NUMBER, .value = "BYTES", .min = MTU_MIN, .max = 65535,
      .fallback_says = "the network's own, or not offered", .help = "the largest packet (VIRTIO_NET_F_MTU); of a tap too" },
    { .name = "speed", .form = SPEC_NUMBER, .value = "MBIT", .min = 1, .max = INT32_MAX,
      .fallback_says = "the network's own, or unknown", .help = "what the guest shows as the link's speed, in Mbit/s" },
    { .name = "link", .form = SPEC_FLAG, .value = "on|off", .fallback = "on",
      .help = "off: the cable is not plugged in at first; `vio ctl PATH link NAME up` does that" },
    { .name = "mrg", .form = SPEC_FLAG, .value = "on|off", .fallback = "on",
      .help = "offer mergeable receive buffers (VIRTIO_NET_F_MRG_RXBUF)" },
    { .name = "csum", .form = SPEC_FLAG, .value = "on|off", .fallback = "on",
      .help = "offer checksums that are left to the other side; off: no gso either" },
    { .name = "gso", .form = SPEC_FLAG, .value = "on|off", .fallback = "on",
      .help = "offer packets larger than a segment (TSO, USO, UFO), both ways" },
    { .name = "rss", .form = SPEC_FLAG, .value = "on|off", .fallback = "on",
      .help = "offer receive queues chosen by the driver's hash, where one thread has them all, and the hash itself (VIRTIO_NET_F_RSS, "
              "HASH_REPORT)" },
    { .name = "config", .form = SPEC_FLAG, .value = "on|off", .fallback = "off",
      .help = "show a front-end that asks what the device is configured to. Never with QEMU before 8.0, which keeps that "
              "itself" },
};

static const struct spec_group net_group = {
    .title = "device", .keys = net_keys, .nr = sizeof(net_keys) / sizeof(net_keys[0]),
};
static const struct spec_group *const net_groups[] = {
    &net_backend_group, &net_group, &spec_group_ring, &spec_group_serving, &spec_group_transport, NULL,
};

/* ------------------------------------------------------------------ what is asked for */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Six pairs of digits with colons between them, the address of one station. */
static bool read_mac(const char *text, uint8_t mac[VIO_NET_MAC])
{
    unsigned any = 0;

    for (unsigned i = 0; i < VIO_NET_MAC; i++, text += 3) {
        int high = hex_digit(text[0]), low = high >= 0 ? hex_digit(text[1]) : -1;

        if (low < 0 || text[2] != (i + 1 < VIO_NET_MAC ? ':' : '\0'))
            return false;
        mac[i] = (uint8_t)(high << 4 | low);
        any |= mac[i];
    }
    return any != 0 && (mac[0] & 1) == 0;
}

void net_spec_mac(const struct spec *spec, const char *name, uint8_t mac[VIO_NET_MAC])
{
    if (!spec_given(spec, "mac") || !read_mac(spec_text(spec, "mac"), mac))
        vio_net_make_mac(name, mac);
}

static int net_check(const struct spec *spec, char *why, size_t why_size)
{
    uint8_t mac[VIO_NET_MAC];

    if (spec_given(spec, "mac") && !read_mac(spec_text(spec, "mac"), mac)) {
        snprintf(why, why_size, "net: mac=%s is not the address of a station: six pairs of hexadecimal digits, the first of "
                 "them even, as in 52:54:00:12:34:56", spec_text(spec, "mac"));
        return -EINVAL;
    }
    if (spec_given(spec, "pairs") && spec_number(spec, "pairs") < net_lanes(spec)) {
        snprintf(why, why_size, "net: pairs=%" PRIu64 " is less than the %u that threads= or queues= need: each needs a pair",
                 spec_number(spec, "pairs"), net_lanes(spec));
        return -EINVAL;
    }
    return net_backend_check(spec, why, why_size);
}

static unsigned net_pairs(const struct spec *spec)
{
    long processors;

    if (spec_given(spec, "pairs"))
        return (unsigned)spec_number(spec, "pairs");
    if (net_lanes(spec) > 1)
        return net_lanes(spec); /* what stands behind spreads flows over so many */
    /* As with disks: who asks for more than is offered does not start, and an offer costs nothing. */
    processors = sysconf(_SC_NPROCESSORS_ONLN);
    return processors < PAIRS_OFFERED ? PAIRS_OFFERED : processors > PAIRS_MAX ? PAIRS_MAX : (unsigned)processors;
}

static unsigned net_queues(const struct spec *spec)
{
    return 2 * net_pairs(spec) + 1; /* and the control queue */
}

/* Devices on one switch hand frames to each other without a lock. */
static const char *net_shares(const struct spec *spec)
{
    return spec_text(spec, "switch");
}

static bool net_shows_config(const struct spec *spec)
{
    return spec_flag(spec, "config");
}

static void add_bits(struct vio_features *mask, const uint8_t *bits, size_t nr)
{
    for (size_t i = 0; i < nr; i++)
        vio_features_set(mask, bits[i]);
}

/* Bits that are not to be offered, and with each those that cannot be without it (virtio 1.4, 5.1.3.1). */
static struct vio_features net_mask(const struct spec *spec)
{
    static const uint8_t csum[] = { VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM };
    static const uint8_t gso[] = {
        VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN,  VIRTIO_NET_F_GUEST_UFO,
        VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_USO6, VIRTIO_NET_F_HOST_TSO4,  VIRTIO_NET_F_HOST_TSO6,
        VIRTIO_NET_F_HOST_ECN,   VIRTIO_NET_F_HOST_UFO,   VIRTIO_NET_F_HOST_USO,   VIRTIO_NET_F_GUEST_HDRLEN,
    };
    static const uint8_t rss[] = { VIRTIO_NET_F_RSS, VIRTIO_NET_F_HASH_REPORT };
    struct vio_features mask = { { 0 } };

    if (!spec_flag(spec, "mrg"))
        vio_features_set(&mask, VIRTIO_NET_F_MRG_RXBUF);
    if (!spec_flag(spec, "csum"))
        add_bits(&mask, csum, sizeof(csum));
    if (!spec_flag(spec, "csum") || !spec_flag(spec, "gso"))
        add_bits(&mask, gso, sizeof(gso));
    if (!spec_flag(spec, "rss"))
        add_bits(&mask, rss, sizeof(rss));
    return mask;
}

static int net_create(const struct spec *spec, const struct vio_device_params *base, struct switches *switches,
                      struct vio_device **out, char *why, size_t why_size)
{
    struct vio_device_params device = *base;
    struct vio_net_params params = {
        .pairs = (uint16_t)net_pairs(spec),
        .lanes = (uint16_t)net_lanes(spec),
        .queue_size_max = (uint16_t)spec_number(spec, "queue-size"),
        .mac_given = spec_given(spec, "mac"),
        .mtu = (uint16_t)spec_number(spec, "mtu"),
        .speed = (uint32_t)spec_number(spec, "speed"),
        .link_down = !spec_flag(spec, "link"),
        .mask = net_mask(spec),
        .device = &device,
    };
    int err = net_check(spec, why, why_size);

    if (err < 0)
        return err;
    if (params.mac_given)
        (void)read_mac(spec_text(spec, "mac"), params.mac);
    spec_ring_features(spec, &device);
    err = net_backend_open(spec, base->name, base->log, switches, &params.backend, why, why_size);
    if (err < 0)
        return err;
    err = vio_net_create(&params, out, why, why_size);
    if (err < 0)
        vio_net_close(params.backend);
    return err;
}

/* ------------------------------------------------------------------ while it serves */

struct lines_to {
    counter_line *line;
    void *ctx;
};

static void backend_line(void *ctx, const char *name, uint64_t value)
{
    const struct lines_to *to = ctx;

    to->line(to->ctx, "backend", name, value);
}

static void net_counters(struct vio_device *dev, counter_line *line, void *ctx)
{
    struct lines_to to = { .line = line, .ctx = ctx };
    struct vio_net_counters c;
    char name[COUNTER_NAME];

    vio_net_counters(dev, &c);
    line(ctx, "net", "rx_packets", c.rx_packets);
    line(ctx, "net", "rx_bytes", c.rx_bytes);
    line(ctx, "net", "rx_filtered", c.rx_filtered);
    line(ctx, "net", "rx_no_buffer", c.rx_no_buffer);
    line(ctx, "net", "rx_link_down", c.rx_link_down);
    line(ctx, "net", "rx_bad", c.rx_bad);
    line(ctx, "net", "tx_packets", c.tx_packets);
    line(ctx, "net", "tx_bytes", c.tx_bytes);
    line(ctx, "net", "tx_link_down", c.tx_link_down);
    for (unsigned i = 0; i < VIO_NET_BAD_COUNT_; i++) {
        snprintf(name, sizeof(name), "tx_bad_%s", vio_net_bad_name((enum vio_net_bad)i));
        for (char *p = name; *p != '\0'; p++)
            *p = *p == '-' ? '_' : *p;
        line(ctx, "net", name, c.tx_bad[i]);
    }
    vio_net_backend_counters(dev, backend_line, &to);
}

static int net_capture(struct vio_device *dev, const char *file, char *why, size_t why_size)
{
    return vio_net_capture_set(vio_net_backend_of(dev), file, why, why_size);
}

/* ------------------------------------------------------------------ QEMU and libvirt */

static const char *const program_features[] = { NULL };
static const struct program_option program_options[] = { { .name = NULL } };

static bool many_pairs(const struct spec *spec)
{
    return (spec_given(spec, "pairs") || net_lanes(spec) > 1) && net_pairs(spec) > 1;
}

static uint64_t qemu_ring(const struct spec *spec)
{
    return vio_min_u64(spec_number(spec, "queue-size"), QEMU_RING_MAX);
}

static void net_qemu_between(const struct spec *spec, FILE *to)
{
    if (many_pairs(spec))
        fprintf(to, ",queues=%u", net_pairs(spec));
}

/* A vector for each queue, one for the control queue and one for the configuration. */
static void net_qemu_properties(const struct spec *spec, FILE *to)
{
    if (many_pairs(spec))
        fprintf(to, ",mq=on,vectors=%u", 2 * net_pairs(spec) + 2);
    if (spec_given(spec, "mac"))
        fprintf(to, ",mac=%s", spec_text(spec, "mac"));
    if (spec_given(spec, "mtu"))
        fprintf(to, ",host_mtu=%" PRIu64, spec_number(spec, "mtu"));
    if (spec_given(spec, "speed"))
        fprintf(to, ",speed=%" PRIu64 ",duplex=full", spec_number(spec, "speed"));
    if (spec_given(spec, "queue-size"))
        fprintf(to, ",rx_queue_size=%" PRIu64 ",tx_queue_size=%" PRIu64, qemu_ring(spec), qemu_ring(spec));
    if (spec_given(spec, "packed"))
        fprintf(to, ",packed=%s", spec_text(spec, "packed"));
}

static void net_libvirt_driver(const struct spec *spec, FILE *to)
{
    if (!many_pairs(spec) && !spec_given(spec, "queue-size") && !spec_given(spec, "packed"))
        return;
    fprintf(to, "  <driver");
    if (many_pairs(spec))
        fprintf(to, " queues='%u'", net_pairs(spec));
    if (spec_given(spec, "queue-size"))
        fprintf(to, " rx_queue_size='%" PRIu64 "' tx_queue_size='%" PRIu64 "'", qemu_ring(spec), qemu_ring(spec));
    if (spec_given(spec, "packed"))
        fprintf(to, " packed='%s'", spec_text(spec, "packed"));
    fprintf(to, "/>\n");
}

static void net_libvirt(const struct spec *spec, const char *path, FILE *to)
{
    bool listens = spec_flag(spec, "connect"); /* the front-end */

    fprintf(to, "<interface type='vhostuser'>\n");
    if (spec_given(spec, "mac"))
        fprintf(to, "  <mac address='%s'/>\n", spec_text(spec, "mac"));
    fprintf(to, "  <source type='unix' path='");
    text_xml(path, to);
    if (listens)
        fprintf(to, "' mode='server'/>\n");
    else
        fprintf(to, "' mode='client'>\n    <reconnect enabled='yes' timeout='1'/>\n  </source>\n");
    fprintf(to, "  <model type='virtio'/>\n");
    net_libvirt_driver(spec, to);
    if (spec_given(spec, "mtu"))
        fprintf(to, "  <mtu size='%" PRIu64 "'/>\n", spec_number(spec, "mtu"));
    fprintf(to, "</interface>\n");
}

const struct device_kind device_kind_net = {
    .spec = {
        .name = "net",
        .summary = "a network card",
        .groups = net_groups,
        .one_of = net_one_backend,
        .one_of_default = "user",
    },
    .check = net_check,
    .create = net_create,
    .queues = net_queues,
    .shares = net_shares,
    .shows_config = net_shows_config,
    .counters = net_counters,
    .rarp = vio_net_rarp,
    .set_mtu = vio_net_set_mtu,
    .set_link = vio_net_set_link,
    .link = vio_net_link,
    .capture = net_capture,
    .program_type = "net",
    .program_features = program_features,
    .program_options = program_options,
    .qemu_device = "virtio-net-pci",
    .qemu_properties = net_qemu_properties,
    .qemu_between = "netdev",
    .qemu_between_properties = net_qemu_between,
    .libvirt = net_libvirt,
    .libvirt_listens = true,
};
