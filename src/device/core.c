/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a device as a whole: its making and end, features, the status machine, reset, and what happens when
 * it needs one (virtio 1.4, 2.1, 2.2, 2.4 and 3.1). Queues are in core_queue.c.
 * Where it sits: device/core. Threads: the control thread only.
 * Trust: features and status come from the driver; every rule it breaks is said with its clause and refused.
 */
#include "device/core_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spec/virtio.h"

enum { NAMES_MAX = 400 };

#define STATUS_DRIVERS                                                                                       \
    (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_FEATURES_OK | \
     VIRTIO_STATUS_FAILED)

/* What every device of this core can do, whoever carries it. */
static struct vio_features ring_features(void)
{
    return vio_features_of(VIO_FEATURE(VIRTIO_F_VERSION_1) | VIO_FEATURE(VIRTIO_F_INDIRECT_DESC) |
                           VIO_FEATURE(VIRTIO_F_EVENT_IDX) | VIO_FEATURE(VIRTIO_F_RING_PACKED) |
                           VIO_FEATURE(VIRTIO_F_RING_RESET));
}

/* What is offered only where a transport carries it. */
static struct vio_features transport_bits(void)
{
    return vio_features_of(VIO_FEATURE(VIRTIO_F_ACCESS_PLATFORM) | VIO_FEATURE(VIRTIO_F_ORDER_PLATFORM) |
                           VIO_FEATURE(VIRTIO_F_SR_IOV) | VIO_FEATURE(VIRTIO_F_NOTIFICATION_DATA) |
                           VIO_FEATURE(VIRTIO_F_NOTIF_CONFIG_DATA));
}

/* virtio 1.4, 2.2: 0 to 23, 41, 42 and 50 to 127 belong to the device type. */
static struct vio_features type_bits(void)
{
    return (struct vio_features){ { UINT64_C(0xffffff) | UINT64_C(3) << 41 | ~((UINT64_C(1) << 50) - 1), UINT64_MAX } };
}

/* ------------------------------------------------------------------ making and ending */

static struct vio_features own_features(const struct vio_device_params *params)
{
    struct vio_features version = vio_features_of(VIO_FEATURE(VIRTIO_F_VERSION_1));
    struct vio_features add = vio_features_and(params->ring_add, vio_features_of(VIO_FEATURE(VIRTIO_F_IN_ORDER)));
    struct vio_features ring = vio_features_or(ring_features(), add);

    /* A device must offer VERSION_1 (virtio 1.4, 6.2): no mask takes it away. */
    ring = vio_features_minus(ring, vio_features_minus(params->ring_mask, version));
    return vio_features_or(vio_features_and(params->features, type_bits()), ring);
}

int vio_device_refuse(char *why, size_t why_size, const char *format, ...)
{
    va_list ap;

    if (why != NULL && why_size > 0) {
        va_start(ap, format);
        vsnprintf(why, why_size, format, ap);
        va_end(ap);
    }
    return -EINVAL;
}

int vio_device_create(const struct vio_device_params *params, struct vio_device **out)
{
    const struct vio_device_type *type = params->type;
    size_t size = sizeof(struct vio_device) + params->queues * sizeof(struct core_queue);
    struct vio_device *dev;
    int ret;

    if (params->queues == 0 || params->queues > VIO_DEVICE_QUEUES_MAX || type->config_size > VIO_DEVICE_CONFIG_MAX)
        return -EINVAL;
    dev = aligned_alloc(CORE_LINE, size);
    if (dev == NULL)
        return -ENOMEM;
    memset(dev, 0, size);
    dev->type = type;
    dev->self = params->self;
    dev->log = params->log;
    dev->host = params->host;
    dev->host_ctx = params->host_ctx;
    dev->queues = params->queues;
    dev->own = own_features(params);
    dev->name = strdup(params->name != NULL ? params->name : type->name);
    dev->config = calloc(1, type->config_size > 0 ? type->config_size : 1);
    ret = dev->name == NULL || dev->config == NULL ? -ENOMEM : vio_memory_create(&dev->memory);
    if (ret < 0) {
        free(dev->config);
        free(dev->name);
        free(dev);
        return ret;
    }
    for (uint16_t i = 0; i < dev->queues; i++) {
        dev->queue[i].index = i;
        core_queue_default(dev, &dev->queue[i]);
    }
    *out = dev;
    return 0;
}

void vio_device_destroy(struct vio_device *dev)
{
    if (dev == NULL)
        return;
    vio_device_detach(dev);
    if (dev->type->destroy != NULL)
        dev->type->destroy(dev->self);
    vio_memory_destroy(dev->memory);
    free(dev->config);
    free(dev->name);
    free(dev);
}

const char *vio_device_name(const struct vio_device *dev)
{
    return dev->name;
}

const struct vio_device_type *vio_device_type(const struct vio_device *dev)
{
    return dev->type;
}

void *vio_device_self(const struct vio_device *dev)
{
    return dev->self;
}

const struct vio_log *vio_device_log(const struct vio_device *dev)
{
    return dev->log;
}

uint16_t vio_device_queues(const struct vio_device *dev)
{
    return dev->queues;
}

int vio_device_queue_lane(const struct vio_device *dev, uint16_t queue)
{
    return dev->type->queue_lane != NULL ? (int)dev->type->queue_lane(dev->self, queue) : -1;
}

struct vio_memory *vio_device_memory(struct vio_device *dev)
{
    return dev->memory;
}

void vio_device_attach(struct vio_device *dev, const struct vio_device_transport_ops *ops, void *ctx)
{
    dev->transport = ops;
    dev->transport_ctx = ctx;
    for (uint16_t i = 0; i < dev->queues; i++)
        atomic_fetch_and_explicit(&dev->queue[i].orders, ~(unsigned)CORE_ORDER_DISABLED, memory_order_relaxed);
}

void vio_device_detach(struct vio_device *dev)
{
    vio_device_reset(dev);
    dev->transport = NULL;
    dev->transport_ctx = NULL;
    dev->add = vio_features_of(0);
    dev->remove = vio_features_of(0);
}

/* ------------------------------------------------------------------ features (2.2) */

struct vio_features vio_device_offered(const struct vio_device *dev)
{
    return vio_features_minus(vio_features_or(dev->own, dev->add), dev->remove);
}

int vio_device_transport_features(struct vio_device *dev, struct vio_features add, struct vio_features remove)
{
    if (dev->status & VIRTIO_STATUS_FEATURES_OK)
        return -EBUSY;
    dev->add = vio_features_and(add, transport_bits());
    dev->remove = vio_features_minus(remove, vio_features_of(VIO_FEATURE(VIRTIO_F_VERSION_1)));
    dev->chosen = vio_features_and(dev->chosen, vio_device_offered(dev));
    return 0;
}

struct vio_features vio_device_negotiated(const struct vio_device *dev)
{
    return dev->status & VIRTIO_STATUS_FEATURES_OK ? dev->chosen : vio_features_of(0);
}

static bool features_equal(struct vio_features a, struct vio_features b)
{
    return a.w[0] == b.w[0] && a.w[1] == b.w[1];
}

/* virtio 1.4, 2.2.1. */
static bool refuse_unoffered(struct vio_device *dev, struct vio_features features)
{
    struct vio_features extra = vio_features_minus(features, vio_device_offered(dev));
    char names[NAMES_MAX];

    if (vio_features_none(extra))
        return false;
    vio_log_peer(dev->log, &dev->limit, dev->name,
                 "features refused: the driver accepts %s, which was not offered (virtio 1.4, 2.2.1)",
                 vio_features_text(dev->type->id, extra, names, sizeof(names)));
    return true;
}

int vio_device_set_features(struct vio_device *dev, struct vio_features features)
{
    if (dev->status & VIRTIO_STATUS_FEATURES_OK) {
        if (features_equal(features, dev->chosen))
            return 0;
        vio_log_peer(dev->log, &dev->limit, dev->name,
                     "features refused: the driver changes them after FEATURES_OK; it must reset first "
                     "(virtio 1.4, 3.1.1)");
        return -EBUSY;
    }
    if (refuse_unoffered(dev, features))
        return -EPROTO;
    dev->chosen = features;
    return 0;
}

bool core_features_ok(struct vio_device *dev, struct vio_features features)
{
    const char *missing;

    if (refuse_unoffered(dev, features))
        return false;
    if (!vio_features_has(features, VIRTIO_F_VERSION_1)) {
        vio_log_peer(dev->log, &dev->limit, dev->name,
                     "FEATURES_OK refused: the driver does not accept VERSION_1; legacy drivers are not served "
                     "(virtio 1.4, 6.1)");
        return false;
    }
    missing = dev->type->features_refused != NULL ? dev->type->features_refused(dev->self, features) : NULL;
    if (missing != NULL) {
        vio_log_peer(dev->log, &dev->limit, dev->name, "FEATURES_OK refused: %s (virtio 1.4, 2.2.1)", missing);
        return false;
    }
    return true;
}

/* ------------------------------------------------------------------ status (2.1, 3.1.1) */

uint8_t vio_device_status(const struct vio_device *dev)
{
    return dev->status;
}

static const char *status_text(unsigned status, char *text, size_t size)
{
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = {
        { VIRTIO_STATUS_ACKNOWLEDGE, "ACKNOWLEDGE" }, { VIRTIO_STATUS_DRIVER, "DRIVER" },
        { VIRTIO_STATUS_FEATURES_OK, "FEATURES_OK" }, { VIRTIO_STATUS_DRIVER_OK, "DRIVER_OK" },
        { VIRTIO_STATUS_FAILED, "FAILED" },
    };
    size_t at = 0;

    text[0] = '\0';
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t need = strlen(names[i].name) + 2;

        if ((status & names[i].bit) == 0 || at + need >= size)
            continue;
        memcpy(text + at, at > 0 ? ", " : "", at > 0 ? 3 : 1);
        at += at > 0 ? 2 : 0;
        memcpy(text + at, names[i].name, need - 1);
        at += need - 2;
    }
    return text;
}

/* Whether the driver may ask for these bits now: nothing is cleared, and no step comes before its time. */
static bool status_allowed(struct vio_device *dev, unsigned now, unsigned want)
{
    const char *broken = NULL;
    unsigned added = want & ~now;
    char text[96];

    if (now & ~want) {
        vio_log_peer(dev->log, &dev->limit, dev->name,
                     "status 0x%02x refused: the driver clears %s, which only a reset may do (virtio 1.4, 2.1.1)", want,
                     status_text(now & ~want, text, sizeof(text)));
        return false;
    }
    if ((now & VIRTIO_STATUS_FAILED) && added)
        broken = "a driver that set FAILED must reset first (virtio 1.4, 2.1.1)";
    else if ((added & VIRTIO_STATUS_DRIVER) && !(want & VIRTIO_STATUS_ACKNOWLEDGE))
        broken = "DRIVER comes after ACKNOWLEDGE (virtio 1.4, 3.1.1)";
    else if ((added & VIRTIO_STATUS_FEATURES_OK) && !(want & VIRTIO_STATUS_DRIVER))
        broken = "FEATURES_OK comes after DRIVER (virtio 1.4, 3.1.1)";
    else if ((added & VIRTIO_STATUS_DRIVER_OK) && !(want & VIRTIO_STATUS_FEATURES_OK))
        broken = "DRIVER_OK comes after FEATURES_OK (virtio 1.4, 3.1.1)";
    if (broken != NULL)
        vio_log_peer(dev->log, &dev->limit, dev->name, "status 0x%02x refused: %s", want, broken);
    return broken == NULL;
}

static bool accept_features(struct vio_device *dev)
{
    char names[NAMES_MAX];

    if (!core_features_ok(dev, dev->chosen))
        return false;
    dev->status |= VIRTIO_STATUS_FEATURES_OK;
    vio_log(dev->log, VIO_LOG_INFO, dev->name, "features: %s",
            vio_features_text(dev->type->id, dev->chosen, names, sizeof(names)));
    if (dev->type->negotiated != NULL)
        dev->type->negotiated(dev->self, dev->chosen);
    return true;
}

/* The device is live (3.1.1, step 8). What fails here is said; the driver learns of it through NEEDS_RESET. */
static void driver_ok(struct vio_device *dev)
{
    int ret;

    dev->status |= VIRTIO_STATUS_DRIVER_OK;
    ret = dev->type->activate != NULL ? dev->type->activate(dev->self) : 0;
    if (ret < 0) {
        vio_log(dev->log, VIO_LOG_ERROR, dev->name, "the device cannot start: %s", strerror(-ret));
        core_needs_reset(dev, 0, VIO_FAULT_NONE);
        return;
    }
    for (uint16_t i = 0; i < dev->queues; i++)
        dev->queue[i].wanted |= dev->queue[i].cfg.ready;
    ret = core_queues_start(dev);
    if (ret < 0)
        vio_log(dev->log, VIO_LOG_DEBUG, dev->name, "DRIVER_OK: not every queue started: %s", strerror(-ret));
}

int vio_device_set_status(struct vio_device *dev, uint8_t status)
{
    unsigned now = dev->status & STATUS_DRIVERS;
    unsigned want = status & STATUS_DRIVERS;
    unsigned added = want & ~now;

    if (status == 0) {
        vio_device_reset(dev);
        return 0;
    }
    if (!status_allowed(dev, now, want))
        return -EPROTO;
    dev->status |= (uint8_t)(added & (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER));
    if ((added & VIRTIO_STATUS_FEATURES_OK) && !accept_features(dev))
        return added & VIRTIO_STATUS_DRIVER_OK ? -EPROTO : 0;
    if (added & VIRTIO_STATUS_FAILED) {
        vio_log(dev->log, VIO_LOG_WARNING, dev->name, "the driver gave the device up (FAILED)");
        dev->status |= VIRTIO_STATUS_FAILED;
        for (uint16_t i = 0; i < dev->queues; i++)
            vio_device_queue_stop(dev, i);
    } else if (added & VIRTIO_STATUS_DRIVER_OK) {
        driver_ok(dev);
    }
    return 0;
}

void vio_device_reset(struct vio_device *dev)
{
    dev->resetting = true;
    for (uint16_t i = 0; i < dev->queues; i++) {
        struct core_queue *q = &dev->queue[i];

        q->wanted = false;
        q->paused = false;
        if (core_queue_live(q))
            core_queue_end(dev, q, true);
        core_queue_default(dev, q);
    }
    dev->status = 0;
    dev->chosen = vio_features_of(0);
    if (dev->type->reset != NULL)
        dev->type->reset(dev->self);
    dev->resetting = false;
}

/* ------------------------------------------------------------------ needing a reset (2.1.2) */

void core_needs_reset(struct vio_device *dev, uint16_t queue, enum vio_fault fault)
{
    bool first = (dev->status & VIRTIO_STATUS_NEEDS_RESET) == 0;
    bool live = (dev->status & VIRTIO_STATUS_DRIVER_OK) != 0;

    if (dev->resetting)
        return;
    dev->status |= VIRTIO_STATUS_NEEDS_RESET;
    if (dev->transport == NULL)
        return;
    if (first && live && dev->transport->config_changed != NULL)
        dev->transport->config_changed(dev->transport_ctx);
    /* The transport may answer with a detach: look again. */
    if (dev->transport != NULL && dev->transport->needs_reset != NULL)
        dev->transport->needs_reset(dev->transport_ctx, queue, fault);
}

void core_fault(struct vio_device *dev, struct core_queue *q, enum vio_fault fault, uint64_t detail)
{
    vio_log_peer(dev->log, &dev->limit, dev->name, "queue %u: %s (%s, 0x%" PRIx64 "; %s): the device needs a reset",
                 q->index, vio_fault_text(fault), vio_fault_name(fault), detail, vio_fault_clause(fault));
    core_count(&q->faults, 1);
    core_needs_reset(dev, q->index, fault);
}

void vio_device_control(struct vio_device *dev)
{
    if (atomic_exchange_explicit(&dev->asked, false, memory_order_acquire))
        core_type_control(dev);
    for (uint16_t i = 0; i < dev->queues; i++)
        core_queue_events(dev, &dev->queue[i]);
}
