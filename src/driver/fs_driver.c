/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the file system driver from probe to remove, and its configuration (virtio 1.4, 5.11.4 and 5.11.5).
 * Where it sits: driver/, over driver/core; freestanding. Threads: the control thread.
 * Trust: the tag is made printable. NOTIFICATION is not accepted: no device in use has it, and it moves the queues.
 */
#include <errno.h>
#include "driver/fs_internal.h"
#include "spec/virtio.h"

enum { QUEUE_SIZE = 16, PIECES = 5 };

static const struct vio_drv_fs_params defaults = { .uid = 0 };

static void set_tag(struct vio_drv_fs *f, const uint8_t *tag)
{
    unsigned n = 0;

    for (; n < VIRTIO_FS_TAG_BYTES && tag[n] != 0; n++)
        f->tag[n] = (char)(tag[n] < ' ' || tag[n] == 0x7f ? '?' : tag[n]);
    f->tag[n] = 0;
}

static int configure(struct vio_drv_fs *f)
{
    struct virtio_fs_config c;
    int error;

    if (f->params->tag != NULL) {
        set_tag(f, (const uint8_t *)f->params->tag);
        return 0;
    }
    error = vio_drvdev_config_read(f->d, 0, &c, offsetof(struct virtio_fs_config, notify_buf_size));
    if (error != 0)
        return error;
    if (vio_cpu(c.num_request_queues) == 0)
        return vio_drvdev_fail(f->d, -EPROTO, "num_request_queues is 0: there is at least one (virtio 1.4, 5.11.4)");
    set_tag(f, c.tag);
    return 0;
}

static void free_all(struct vio_drv_fs *f)
{
    drv_slots_close(&f->request);
    drv_slots_close(&f->bounce);
    drv_slots_close(&f->forgets);
}

static int make_queues(struct vio_drv_fs *f)
{
    const struct vio_drvdev_queue_plan plan[2] = {
        { .queue = VIRTIO_FS_HIPRIO, .size = QUEUE_SIZE, .polled = true },
        { .queue = VIRTIO_FS_REQUEST, .size = QUEUE_SIZE, .polled = true },
    };
    int error = vio_drvdev_queues(f->d, plan, 2);

    if (error != 0)
        return error;
    if (vio_drvdev_queue_size(f->d, VIRTIO_FS_REQUEST) < PIECES)
        return vio_drvdev_fail(f->d, -EPROTO, "queue %u has %u entries: a request takes %u", VIRTIO_FS_REQUEST,
                               vio_drvdev_queue_size(f->d, VIRTIO_FS_REQUEST), (unsigned)PIECES);
    return 0;
}

static int probe(struct vio_drvdev *d)
{
    const struct vio_driver *driver = vio_drvdev_driver(d);
    struct vio_drv_fs *f = vio_drvdev_state(d);
    int error;

    f->d = d;
    /* Ours, or the one that a struct vio_drv_fs_driver begins with. */
    f->params = driver == &vio_driver_fs ? &defaults : &((const struct vio_drv_fs_driver *)(const void *)driver)->params;
    error = configure(f);
    if (error == 0)
        error = make_queues(f);
    if (error != 0)
        return error;
    if (vio_drvdev_shm(d, VIRTIO_FS_SHMCAP_ID_CACHE, &f->window) != 0)
        f->window = (struct vio_transport_shm){ .host = NULL };
    error = drv_slots_open(d, &f->request, 1, DRV_FS_SLOT);
    if (error == 0)
        error = drv_slots_open(d, &f->bounce, 1, VIO_DRV_FS_BOUNCE);
    if (error == 0)
        error = drv_slots_open(d, &f->forgets, vio_min_u32(DRV_FS_FORGETS, vio_drvdev_queue_size(d, VIRTIO_FS_HIPRIO)), 64);
    if (error == 0)
        return 0;
    free_all(f);
    return vio_drvdev_fail(d, error, "no memory for %u bytes of files", (unsigned)VIO_DRV_FS_BOUNCE);
}

static void remove_(struct vio_drvdev *d)
{
    free_all(vio_drvdev_state(d));
}

static const uint32_t types[] = { VIRTIO_ID_FS, 0 };

const struct vio_driver vio_driver_fs = {
    .name = "fs",
    .types = types,
    .features = { { VIO_FEATURE(VIRTIO_F_RING_PACKED) | VIO_FEATURE(VIRTIO_F_EVENT_IDX) | VIO_FEATURE(VIRTIO_F_IN_ORDER), 0 } },
    .state_size = sizeof(struct vio_drv_fs),
    .probe = probe,
    .remove = remove_,
};

void vio_drv_fs_driver(struct vio_drv_fs_driver *driver, const struct vio_drv_fs_params *params)
{
    driver->driver = vio_driver_fs;
    driver->params = *params;
}

struct vio_drv_fs *vio_drv_fs_of(struct vio_drvdev *d)
{
    const struct vio_driver *driver = vio_drvdev_driver(d);

    if (driver == NULL || driver->probe != probe || vio_drvdev_status(d) != VIO_DRVDEV_RUNS)
        return NULL;
    return vio_drvdev_state(d);
}

void vio_drv_fs_tag(const struct vio_drv_fs *f, char tag[VIO_DRV_FS_TAG])
{
    for (unsigned i = 0; i < VIO_DRV_FS_TAG; i++)
        tag[i] = f->tag[i];
}
