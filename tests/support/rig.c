/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "spec/virtio.h"

enum { INDIRECT_MAX = 16 };

static const uint64_t rig_gpa = UINT64_C(0x100000000);

/* A rig that does not work is no test result: stop, loudly. */
#define need(what)                                                             \
    do {                                                                       \
        if (!(what)) {                                                         \
            fprintf(stderr, "rig.c:%d: failed: %s\n", __LINE__, #what);        \
            abort();                                                           \
        }                                                                      \
    } while (0)

static void on_log(void *ctx, enum vio_log_level level, const char *name, const char *line)
{
    struct rig *rig = ctx;

    (void)level;
    snprintf(rig->line[rig->lines++ % RIG_LINES], sizeof(rig->line[0]), "%s: %s", name, line);
}

bool rig_said(const struct rig *rig, const char *words)
{
    for (unsigned i = 0; i < rig->lines && i < RIG_LINES; i++)
        if (strstr(rig->line[i], words) != NULL)
            return true;
    fprintf(stderr, "nothing said \"%s\"; but:\n", words);
    for (unsigned i = 0; i < rig->lines && i < RIG_LINES; i++)
        fprintf(stderr, "  %s\n", rig->line[i]);
    return false;
}

void rig_init(struct rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    rig->log = (struct vio_log){ .write = on_log, .ctx = rig, .level = VIO_LOG_DEBUG };
    rig->gpa = rig_gpa;
    rig->host = mmap(NULL, RIG_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    need(rig->host != MAP_FAILED);
}

struct rig_at rig_alloc(struct rig *rig, uint64_t size)
{
    struct rig_at at;

    size = (size + 63) & ~UINT64_C(63);
    need(size <= RIG_MEMORY - rig->next);
    at = (struct rig_at){ rig->gpa + rig->next, rig->host + rig->next };
    rig->next += size;
    memset(at.host, 0, size);
    return at;
}

/* ------------------------------------------------------------------ the transport */

static void on_used(void *ctx, uint16_t queue)
{
    struct rig *rig = ctx;

    __atomic_add_fetch(&rig->used[queue], 1, __ATOMIC_RELAXED);
}

static void on_config(void *ctx)
{
    ((struct rig *)ctx)->config_changed++;
}

static void on_needs_reset(void *ctx, uint16_t queue, enum vio_fault fault)
{
    struct rig *rig = ctx;

    rig->needs_reset++;
    rig->reset_queue = queue;
    rig->fault = fault;
    if (rig->reset_on_fault)
        vio_device_reset(rig->dev);
}

static void on_miss(void *ctx, uint16_t queue, uint64_t iova, unsigned access)
{
    struct rig *rig = ctx;

    (void)queue;
    rig->misses++;
    rig->miss_addr = iova;
    rig->miss_access = access;
}

static const struct vio_device_transport_ops rig_ops = {
    .used = on_used,
    .config_changed = on_config,
    .needs_reset = on_needs_reset,
    .iotlb_miss = on_miss,
};

void rig_device(struct rig *rig, struct vio_device *dev)
{
    struct vio_memory_region region = { .gpa = rig->gpa, .size = RIG_MEMORY, .uva = rig->gpa };

    rig->dev = dev;
    need(vio_memory_add_host(vio_device_memory(dev), &region, rig->host) == 0);
    vio_device_attach(dev, &rig_ops, rig);
}

void rig_free(struct rig *rig)
{
    vio_device_destroy(rig->dev);
    for (unsigned i = 0; i < RIG_QUEUES_MAX; i++)
        free(rig->queue[i].mem);
    munmap(rig->host, RIG_MEMORY);
}

/* ------------------------------------------------------------------ the driver */

bool rig_negotiate(struct rig *rig, struct vio_features features)
{
    unsigned status = VIRTIO_STATUS_ACKNOWLEDGE;

    need(vio_device_set_status(rig->dev, (uint8_t)status) == 0);
    status |= VIRTIO_STATUS_DRIVER;
    need(vio_device_set_status(rig->dev, (uint8_t)status) == 0);
    if (vio_device_set_features(rig->dev, features) < 0)
        return false;
    status |= VIRTIO_STATUS_FEATURES_OK;
    need(vio_device_set_status(rig->dev, (uint8_t)status) == 0);
    return (vio_device_status(rig->dev) & VIRTIO_STATUS_FEATURES_OK) != 0;
}

void rig_queue(struct rig *rig, uint16_t queue, uint16_t size)
{
    struct vio_features features = vio_device_negotiated(rig->dev);
    bool packed = vio_features_has(features, VIRTIO_F_RING_PACKED);
    struct vio_queue_layout layout = vio_queue_layout(size, packed);
    struct vio_queue_cfg *cfg = vio_device_queue_cfg(rig->dev, queue);
    struct rig_queue *q = &rig->queue[queue];
    struct rig_at indirect = rig_alloc(rig, (uint64_t)size * INDIRECT_MAX * 16);
    struct vio_drvq_params params = { .size = size, .features = features };

    q->size = size;
    q->desc = rig_alloc(rig, layout.desc_bytes);
    q->driver = rig_alloc(rig, layout.driver_bytes);
    q->device = rig_alloc(rig, layout.device_bytes);
    params.desc = q->desc.host;
    params.driver = q->driver.host;
    params.device = q->device.host;
    params.indirect = indirect.host;
    params.indirect_addr = indirect.gpa;
    params.indirect_max = INDIRECT_MAX;
    free(q->mem);
    q->mem = aligned_alloc(64, (vio_drvq_bytes(&params) + 63) & ~(size_t)63);
    need(q->mem != NULL);
    memset(q->mem, 0, vio_drvq_bytes(&params));
    need(vio_drvq_start(q->mem, &params, &q->drv) == 0);
    cfg->size = size;
    cfg->desc = q->desc.gpa;
    cfg->driver = q->driver.gpa;
    cfg->device = q->device.gpa;
    cfg->ready = true;
}

void rig_driver_ok(struct rig *rig)
{
    unsigned status = vio_device_status(rig->dev) | VIRTIO_STATUS_DRIVER_OK;

    need(vio_device_set_status(rig->dev, (uint8_t)status) == 0);
}

void rig_start(struct rig *rig, struct vio_features features, uint16_t size)
{
    need(rig_negotiate(rig, features));
    for (uint16_t i = 0; i < vio_device_queues(rig->dev); i++)
        rig_queue(rig, i, size);
    rig_driver_ok(rig);
    for (uint16_t i = 0; i < vio_device_queues(rig->dev); i++)
        need(vio_device_queue_running(rig->dev, i));
}

void rig_restart(struct rig *rig, struct vio_features features, uint16_t size)
{
    need(vio_device_set_status(rig->dev, 0) == 0);
    rig_start(rig, features, size);
}

void rig_serve(struct rig *rig, uint16_t queue)
{
    while (vio_device_queue_service(rig->dev, queue, VIO_QUEUE_BATCH) > 0)
        ;
}
