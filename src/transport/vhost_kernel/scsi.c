/* SPDX-License-Identifier: MIT */
/*
 * Purpose: /dev/vhost-scsi: a target port of the kernel's as a SCSI host device. Where it sits: transport/vhost_kernel.
 * Threads: the control thread.
 * The configuration is what the kernel's side does, for it has none itself: commands of at most 2048 pages of data, sense data
 * and commands of the sizes that are the default (virtio 1.4, 5.6.4), and no others.
 */
#include "base/why.h"
#include "spec/scsi.h"
#include "transport/vhost_kernel/internal.h"

enum {
    QUEUE_SIZE = 128,     /* the kernel keeps about 100 KiB for each command that a queue can hold */
    SEG_MAX = QUEUE_SIZE - 2,
    SECTORS_MAX = (2048 - 1) * 8, /* of 512 bytes, in pages of 4096; the first and the last may be parts */
    TARGET_MAX = 255,
    LUN_MAX = 16383,
};

static bool place(const struct vio_vk *v, uint16_t queue, unsigned *file, unsigned *index)
{
    (void)v;
    *file = 0;
    *index = queue;
    return true;
}

static void configure(struct vio_vk *v, uint16_t queues)
{
    struct virtio_scsi_config c = {
        .num_queues = vio_le32_of(queues),
        .seg_max = vio_le32_of(SEG_MAX),
        .max_sectors = vio_le32_of(SECTORS_MAX),
        .cmd_per_lun = vio_le32_of(QUEUE_SIZE),
        .event_info_size = vio_le32_of(sizeof(struct virtio_scsi_event)),
        .sense_size = vio_le32_of(VIRTIO_SCSI_SENSE_DEFAULT_SIZE),
        .cdb_size = vio_le32_of(VIRTIO_SCSI_CDB_DEFAULT_SIZE),
        .max_channel = vio_le16_of(0),
        .max_target = vio_le16_of(TARGET_MAX),
        .max_lun = vio_le32_of(LUN_MAX),
    };

    memcpy(v->config, &c, sizeof(c));
    v->config_size = sizeof(c);
}

static int take_target(struct vio_vk *v, const struct vio_vhost_kernel_params *params)
{
    size_t n = params->wwpn != NULL ? strlen(params->wwpn) : 0;

    if (n == 0 || n >= sizeof(v->scsi.wwpn))
        return vk_fail(v, -EINVAL, "a SCSI host needs the name of its target port, as in naa.5001405bd6a5f9c0, of at most %zu "
                       "characters", sizeof(v->scsi.wwpn) - 1);
    if (params->queues > VIO_VHOST_KERNEL_REQUEST_QUEUES_MAX)
        return vk_fail(v, -EINVAL, "%u request queues: 1 to %d can be", params->queues, VIO_VHOST_KERNEL_REQUEST_QUEUES_MAX);
    v->scsi = (struct vio_vhost_scsi_target){ .abi_version = VIO_VHOST_SCSI_ABI_VERSION, .tpgt = params->tpgt };
    memcpy(v->scsi.wwpn, params->wwpn, n);
    return 0;
}

static int check_version(struct vio_vk *v)
{
    int version = 0, error = vk_ioctl(v, 0, VIO_VHOST_SCSI_GET_ABI_VERSION, &version, "VHOST_SCSI_GET_ABI_VERSION");

    if (error == 0 && version > VIO_VHOST_SCSI_ABI_VERSION)
        return vk_fail(v, -ENOTSUP, "%s speaks version %d of its interface, and we %d", v->node, version,
                       VIO_VHOST_SCSI_ABI_VERSION);
    return error;
}

static int scsi_open(struct vio_vk *v, const struct vio_vhost_kernel_params *params)
{
    uint16_t queues = params->queues != 0 ? params->queues : 1;
    int error = take_target(v, params);

    if (error == 0)
        error = vk_open_file(v);
    if (error == 0)
        error = check_version(v);
    if (error != 0)
        return error;
    configure(v, queues);
    v->t.queues_max = (uint16_t)(VIRTIO_SCSI_REQUESTQ + queues);
    vio_why(0, v->t.name, sizeof(v->t.name), "vhost-scsi@%s", v->scsi.wwpn);
    return 0;
}

static void set_running(struct vio_vk *v, bool on)
{
    for (uint16_t q = 0; q < v->t.queues_max; q++)
        v->queue[q].running = on && v->queue[q].started;
}

static int scsi_run(struct vio_vk *v)
{
    int error = vk_ioctl(v, 0, VIO_VHOST_SCSI_SET_ENDPOINT, &v->scsi, "VHOST_SCSI_SET_ENDPOINT");

    if (error == -EEXIST || error == -ENODEV || error == -ENOENT) /* the first is the kernel's word for a target that is not there */
        return vk_fail(v, error, "%s: no target port %s for vhost with a nexus, or another has it: see /sys/kernel/config/target/vhost",
                       v->node, v->scsi.wwpn);
    if (error == 0)
        set_running(v, true);
    return error;
}

static int scsi_halt(struct vio_vk *v)
{
    int error = 0;

    if (v->queue[VIRTIO_SCSI_CONTROLQ].running || v->queue[VIRTIO_SCSI_REQUESTQ].running)
        error = vk_ioctl(v, 0, VIO_VHOST_SCSI_CLEAR_ENDPOINT, &v->scsi, "VHOST_SCSI_CLEAR_ENDPOINT");
    if (error == 0)
        set_running(v, false);
    return error;
}

const struct vk_kind vk_scsi_kind = {
    .type = VIRTIO_ID_SCSI,
    .name = "vhost-scsi",
    .node = "/dev/vhost-scsi",
    .module = "vhost_scsi",
    .kernel = VIO_FEATURE(VIRTIO_SCSI_F_HOTPLUG),
    .queue_size_max = QUEUE_SIZE,
    .open = scsi_open,
    .run = scsi_run,
    .halt = scsi_halt,
    .place = place,
};
