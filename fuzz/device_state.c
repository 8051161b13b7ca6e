/* SPDX-License-Identifier: MIT */
/*
 * Purpose: fuzzes the loading of a saved device: the input is the stream. What is taken must survive being resumed,
 * served, saved and loaded again; what is refused must leave a device in its reset state.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake_disk.h"
#include "rig.h"
#include "spec/blk.h"

enum { QUEUES = 2, SECTORS = 256, SERVES = 20 };

static void check(bool good)
{
    if (!good)
        abort();
}

static void use(struct rig *rig)
{
    uint8_t *bytes;
    size_t size;

    (void)!vio_device_resume(rig->dev);
    for (uint16_t q = 0; q < QUEUES; q++)
        for (unsigned i = 0; i < SERVES && vio_device_queue_service(rig->dev, q, 64) > 0; i++)
            ;
    vio_device_pause(rig->dev);
    check(vio_device_save(rig->dev, &bytes, &size) == 0);
    vio_device_reset(rig->dev);
    check(vio_device_load(rig->dev, bytes, size) == 0);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rig rig;
    static struct fake_disk disk;
    struct vio_device_params device = { .name = "fuzz" };
    struct vio_blk_params params = { .backend = &disk.head, .queues = QUEUES, .queue_size_max = 64, .device = &device };
    struct vio_device *dev;
    int ret;

    rig_init(&rig);
    fake_disk_init(&disk, SECTORS * 512);
    check(vio_blk_create(&params, &dev, NULL, 0) == 0);
    rig_device(&rig, dev);
    ret = vio_device_load(dev, data, size);
    check(ret == 0 || ret == -EINVAL);
    if (ret == 0)
        use(&rig);
    else
        check(vio_device_status(dev) == 0);
    rig_free(&rig);
    return 0;
}
