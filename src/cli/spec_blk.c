/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the block device as the command line has it: its keys, and how a spec becomes a device. All of cli/ that
 * knows of block devices is here. Where it sits: cli/. Threads: the control thread.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vio/block.h>

#include "cli/guard.h"
#include "cli/registry.h"
#include "cli/text.h"

enum { SECTOR = 512, QUEUES_MAX = 256, QUEUES_OFFERED = 16, RECONNECT_MAX_S = 86400 };

static const struct spec_key disk_keys[] = {
    { .name = "file", .form = SPEC_PATH, .value = "PATH", .help = "the disk is this file or block device" },
    { .name = "ram", .form = SPEC_SIZE, .value = "SIZE", .min = SECTOR, .max = INT64_MAX, .multiple = SECTOR,
      .help = "the disk is zeroed memory of vio, gone when vio ends" },
    { .name = "null", .form = SPEC_SIZE, .value = "SIZE", .min = SECTOR, .max = INT64_MAX, .multiple = SECTOR,
      .help = "no disk: each request succeeds and nothing is moved; for measuring" },
    { .name = "nbd", .form = SPEC_TEXT, .value = "URI",
      .help = "the disk is an NBD export: nbd://HOST/NAME, nbds://..., nbd+unix:///NAME?socket=PATH" },
    { .name = "ro", .form = SPEC_FLAG, .value = "on|off", .fallback = "off",
      .help = "read-only: the driver is told (VIRTIO_BLK_F_RO), and writes are refused" },
    { .name = "direct", .form = SPEC_FLAG, .value = "on|off", .fallback = "off",
      .help = "file=: O_DIRECT, past the host's page cache" },
    { .name = "pin", .form = SPEC_FLAG, .value = "on|off", .fallback = "off",
      .help = "file= with direct=on: register the guest's memory with the kernel. That pins all of it: a balloon cannot "
              "give any back" },
    { .name = "map", .form = SPEC_FLAG, .value = "on|off", .fallback = "on",
      .help = "file=: map the file, and copy what is cached there with no system call; while in use, cached parts of it "
              "then count as memory of vio's" },
    { .name = "lock", .form = SPEC_FLAG, .value = "on|off", .fallback = "on",
      .help = "file=: lock the file, so that nobody else who locks writes to it" },
    { .name = "reconnect", .form = SPEC_NUMBER, .value = "SECONDS", .min = 0, .max = RECONNECT_MAX_S, .fallback = "60",
      .help = "nbd=: how long requests wait for a server that went away before they fail" },
};

static const struct spec_key blk_keys[] = {
    { .name = "queues", .form = SPEC_NUMBER, .value = "N", .min = 1, .max = QUEUES_MAX,
      .fallback_says = "16, or as many as the host has processors",
      .help = "virtqueues that are offered (VIRTIO_BLK_F_MQ); QEMU takes one for each vCPU" },
    { .name = "queue-size", .form = SPEC_NUMBER, .value = "N", .min = 1, .max = VIO_QUEUE_SIZE_MAX, .fallback = "1024",
      .help = "the most entries that a queue may have; the front-end or the driver chooses" },
    { .name = "seg-max", .form = SPEC_NUMBER, .value = "N", .min = 1, .max = VIO_QUEUE_SIZE_MAX,
      .fallback_says = "what queue-size allows", .help = "pieces of memory in one request (VIRTIO_BLK_F_SEG_MAX)" },
    { .name = "size-max", .form = SPEC_SIZE, .value = "SIZE", .min = SECTOR, .max = UINT32_MAX, .multiple = SECTOR,
      .fallback_says = "not offered", .help = "bytes in one such piece (VIRTIO_BLK_F_SIZE_MAX)" },
    { .name = "block-size", .form = SPEC_SIZE, .value = "SIZE", .min = SECTOR, .max = 65536, .power_of_two = true,
      .fallback_says = "the disk's own", .help = "the block size that the driver is told (VIRTIO_BLK_F_BLK_SIZE)" },
    { .name = "serial", .form = SPEC_TEXT, .value = "TEXT", .max = 20, .fallback_says = "the disk's own",
      .help = "what the driver reads as the disk's serial (GET_ID), at most 20 bytes" },
    { .name = "writeback", .form = SPEC_FLAG, .value = "on|off", .fallback = "on",
      .help = "off: a write is stable before it is done, until the driver changes that (VIRTIO_BLK_F_CONFIG_WCE)" },
    { .name = "discard", .form = SPEC_FLAG, .value = "on|off", .fallback = "on",
      .help = "offer discard, where the disk can" },
};

static const char *const one_disk[] = { "file", "ram", "null", "nbd", NULL };

static const struct spec_group disk_group = {
    .title = "disk (one of file, ram, null, nbd)", .keys = disk_keys, .nr = sizeof(disk_keys) / sizeof(disk_keys[0]),
};
static const struct spec_group blk_group = {
    .title = "device", .keys = blk_keys, .nr = sizeof(blk_keys) / sizeof(blk_keys[0]),
};
static const struct spec_group *const blk_groups[] = {
    &disk_group, &blk_group, &spec_group_ring, &spec_group_serving, &spec_group_transport, NULL,
};

/* ------------------------------------------------------------------ the disk */

/* A key that means nothing for the disk that was chosen is a mistake, not a wish to be ignored. */
static int check_disk_keys(const struct spec *spec, char *why, size_t why_size)
{
    static const struct {
        const char *key, *needs;
    } rules[] = { { "direct", "file" }, { "pin", "file" }, { "map", "file" }, { "lock", "file" }, { "reconnect", "nbd" } };

    for (unsigned i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (!spec_given(spec, rules[i].key) || spec_given(spec, rules[i].needs))
            continue;
        snprintf(why, why_size, "%s= is for %s= only", rules[i].key, rules[i].needs);
        return -EINVAL;
    }
    return 0;
}

static int open_disk(const struct spec *spec, const struct vio_log *log, struct vio_block_backend **out, char *why,
                     size_t why_size)
{
    bool ro = spec_flag(spec, "ro");

    if (spec_given(spec, "file")) {
        struct vio_block_file_params params = {
            .path = spec_text(spec, "file"),
            .fd = -1,
            .read_only = ro,
            .direct = spec_flag(spec, "direct"),
            .register_memory = spec_flag(spec, "pin"),
            .no_lock = !spec_flag(spec, "lock"),
            .bus_faults = spec_flag(spec, "map") ? guard_faults() : NULL,
            .log = log,
        };

        return vio_block_file_open(&params, out, why, why_size);
    }
    if (spec_given(spec, "nbd")) {
        struct vio_block_nbd_params params = {
            .uri = spec_text(spec, "nbd"),
            .read_only = ro,
            .reconnect_s = (unsigned)spec_number(spec, "reconnect"),
            .log = log,
        };

        return vio_block_nbd_open(&params, out, why, why_size);
    }
    if (spec_given(spec, "ram"))
        return vio_block_ram_open(spec_number(spec, "ram"), ro, out, why, why_size);
    return vio_block_null_open(spec_number(spec, "null"), ro, out, why, why_size);
}

/* ------------------------------------------------------------------ the device */

static unsigned blk_queues(const struct spec *spec)
{
    long processors;

    if (spec_given(spec, "queues"))
        return (unsigned)spec_number(spec, "queues");
    /* QEMU asks for one a vCPU and refuses to start with fewer: an offer costs nothing, so it is a generous one. */
    processors = sysconf(_SC_NPROCESSORS_ONLN);
    return processors < QUEUES_OFFERED ? QUEUES_OFFERED : processors > QUEUES_MAX ? QUEUES_MAX : (unsigned)processors;
}

static int blk_create(const struct spec *spec, const struct vio_device_params *base, struct switches *switches,
                      struct vio_device **out, char *why, size_t why_size)
{
    struct vio_device_params device = *base;
    struct vio_blk_params params = {
        .queues = (uint16_t)blk_queues(spec),
        .queue_size_max = (uint16_t)spec_number(spec, "queue-size"),
        .seg_max = (uint32_t)spec_number(spec, "seg-max"),
        .size_max = (uint32_t)spec_number(spec, "size-max"),
        .block_size = (uint32_t)spec_number(spec, "block-size"),
        .read_only = spec_flag(spec, "ro"),
        .writeback_off = !spec_flag(spec, "writeback"),
        .no_discard = !spec_flag(spec, "discard"),
        .device = &device,
    };
    int err = check_disk_keys(spec, why, why_size);

    (void)switches;
    if (err < 0)
        return err;
    if (spec_given(spec, "serial"))
        snprintf(params.serial, sizeof(params.serial), "%s", spec_text(spec, "serial"));
    spec_ring_features(spec, &device);
    err = open_disk(spec, base->log, &params.backend, why, why_size);
    if (err < 0)
        return err;
    err = vio_blk_create(&params, out, why, why_size);
    if (err < 0)
        vio_block_close(params.backend);
    return err;
}

/* ------------------------------------------------------------------ QEMU and libvirt */

static const char *const program_features[] = { "read-only", "blk-file", NULL };

static const struct program_option program_options[] = {
    { .name = "blk-file", .key = "file", .value = "FILE", .help = "the disk: a file or block device" },
    { .name = "read-only", .key = "ro", .help = "the driver must not write" },
    { .name = NULL },
};

static void blk_qemu_properties(const struct spec *spec, FILE *to)
{
    if (spec_given(spec, "queues"))
        fprintf(to, ",num-queues=%u", blk_queues(spec));
    if (spec_given(spec, "queue-size"))
        fprintf(to, ",queue-size=%" PRIu64, spec_number(spec, "queue-size"));
    if (spec_given(spec, "packed"))
        fprintf(to, ",packed=%s", spec_text(spec, "packed"));
}

static void blk_libvirt(const struct spec *spec, const char *path, FILE *to)
{
    fprintf(to, "<disk type='vhostuser' device='disk'>\n  <driver name='qemu' type='raw'");
    if (spec_given(spec, "queues"))
        fprintf(to, " queues='%u'", blk_queues(spec));
    if (spec_given(spec, "queue-size"))
        fprintf(to, " queue_size='%" PRIu64 "'", spec_number(spec, "queue-size"));
    if (spec_given(spec, "packed"))
        fprintf(to, " packed='%s'", spec_text(spec, "packed"));
    fprintf(to, "/>\n  <source type='unix' path='");
    text_xml(path, to);
    fprintf(to, "'>\n    <reconnect enabled='yes' timeout='1'/>\n  </source>\n"
                "  <target dev='vda' bus='virtio'/>\n</disk>\n");
}

const struct device_kind device_kind_blk = {
    .spec = {
        .name = "blk",
        .summary = "a disk",
        .groups = blk_groups,
        .one_of = one_disk,
    },
    .create = blk_create,
    .queues = blk_queues,
    .refresh = vio_blk_refresh,
    .program_type = "block",
    .program_features = program_features,
    .program_options = program_options,
    .qemu_device = "vhost-user-blk-pci",
    .qemu_properties = blk_qemu_properties,
    .libvirt = blk_libvirt,
};
