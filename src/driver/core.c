/* SPDX-License-Identifier: MIT */
/*
 * Purpose: one device's life: the initialization, its failure, another try, suspend and resume (virtio 1.4, 3.1.1, 2.1).
 * Where it sits: driver/core, freestanding. Threads: the control thread; vio_drvdev_broken() any.
 * Trust: status and features are the device's: a status is believed where it says no, and where it says yes as far as the
 * sequence goes; of features only what was offered and is known to the driver or the core is accepted.
 */
#include <errno.h>
#include <string.h>
#include <vio/log.h>
#include "base/format.h"
#include "driver/core_internal.h"

/* A device that resets is waited for this long. */
static const uint64_t RESET_NS = UINT64_C(5000000000);

enum { STATUS_GONE = 0xff }; /* what a register reads that nobody drives */

/* ------------------------------------------------------------------ sentences */

void core_say(const struct vio_drvdev *d, int level, const char *line)
{
    if (d->platform->say != NULL)
        d->platform->say(d->platform->ctx, level, d->t->name, line);
}

int vio_drvdev_fail(struct vio_drvdev *d, int error, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vio_vformat(d->why, sizeof(d->why), format, ap);
    va_end(ap);
    core_say(d, VIO_LOG_ERROR, d->why);
    return error;
}

int core_transport_failed(struct vio_drvdev *d, int error, const char *what)
{
    const char *why = d->ops->why(d->t);

    if (why[0] != '\0')
        return vio_drvdev_fail(d, error, "%s: %s", what, why);
    return vio_drvdev_fail(d, error, "%s: %s (error %d)", what,
                           error == -ETIMEDOUT ? "the device does not answer in time" :
                           error == -ECONNRESET || error == -ENOTCONN ? "the device is gone" : "it does not work", -error);
}

void vio_drvdev_broken(struct vio_drvdev *d, const char *what, const char *clause)
{
    if (core_is_broken(d))
        return;
    __atomic_store_n(&d->broken_clause, clause, __ATOMIC_RELAXED);
    __atomic_store_n(&d->broken, what, __ATOMIC_RELEASE);
}

bool core_broken(struct vio_drvdev *d)
{
    const char *clause;

    if (!core_is_broken(d))
        return false;
    if (d->broken_said)
        return true;
    d->broken_said = true;
    d->is = VIO_DRVDEV_BROKEN;
    if (d->link_lost)
        return true; /* it was said, and nobody hears FAILED */
    clause = __atomic_load_n(&d->broken_clause, __ATOMIC_RELAXED);
    if (clause != NULL)
        (void)vio_drvdev_fail(d, -EIO, "%s (%s): the device is not used before a reset", d->broken, clause);
    else
        (void)vio_drvdev_fail(d, -EIO, "%s: the device is not used before a reset", d->broken);
    (void)!core_write_status(d, d->status | VIRTIO_STATUS_FAILED);
    return true;
}

void core_link_lost(struct vio_drvdev *d, int error, const char *what)
{
    if (core_broken(d))
        return;
    (void)core_transport_failed(d, error, what);
    d->link_lost = true;
    vio_drvdev_broken(d, "the device cannot be reached", NULL);
    (void)core_broken(d);
}

/* ------------------------------------------------------------------ status */

int core_write_status(struct vio_drvdev *d, uint8_t status)
{
    int error = d->ops->status_set(d->t, status);

    d->fresh = false;
    if (error == 0)
        d->status = status;
    return error;
}

/* One step of the sequence. */
static int step(struct vio_drvdev *d, uint8_t bit, const char *name)
{
    int error = core_write_status(d, d->status | bit);

    return error != 0 ? core_transport_failed(d, error, name) : 0;
}

static int wait_reset(struct vio_drvdev *d)
{
    const struct vio_platform *p = d->platform;
    uint64_t end = p->now_ns(p->ctx) + RESET_NS;
    uint8_t status = 0;

    for (;;) {
        int error = d->ops->status_get(d->t, &status);

        if (error != 0)
            return core_transport_failed(d, error, "reset");
        if (status == 0)
            return 0;
        if (p->now_ns(p->ctx) > end)
            break;
        if (p->pause != NULL)
            p->pause(p->ctx);
    }
    return vio_drvdev_fail(d, -ETIMEDOUT, "the reset does not end: after 5 s its status reads 0x%x (virtio 1.4, 2.1.2)", status);
}

int core_reset(struct vio_drvdev *d)
{
    int error = d->ops->reset(d->t);

    if (error == -EINPROGRESS)
        error = wait_reset(d);
    else if (error != 0)
        error = core_transport_failed(d, error, "reset");
    if (error != 0)
        return error;
    d->status = 0;
    d->fresh = true;
    d->link_lost = false;
    d->broken_said = false;
    d->stuck = false;
    __atomic_store_n(&d->broken, NULL, __ATOMIC_RELEASE);
    return 0;
}

/* ------------------------------------------------------------------ features */

struct vio_features vio_driver_takes(const struct vio_driver *driver, const struct vio_transport *t)
{
    /* What the core does by itself for every driver. */
    struct vio_features f = vio_features_of(VIO_FEATURE(VIRTIO_F_VERSION_1) | VIO_FEATURE(VIRTIO_F_ACCESS_PLATFORM) |
                                            VIO_FEATURE(VIRTIO_F_ORDER_PLATFORM) | VIO_FEATURE(VIRTIO_F_NOTIFICATION_DATA));

    if (t->ops->queue_stop != NULL)
        vio_features_set(&f, VIRTIO_F_RING_RESET);
    return vio_features_or(driver->features, f);
}

/* virtio 1.4, 2.2.2: a bit is only accepted with what it needs; as one goes, others may have to. */
static void drop_dependents(const struct vio_drvdev *d, struct vio_features *f)
{
    const struct vio_driver_depend *depends = d->driver->depends;
    bool again = depends != NULL;

    while (again) {
        again = false;
        for (const struct vio_driver_depend *x = depends; x->bit != x->needs; x++) {
            if (vio_features_has(*f, x->bit) && !vio_features_has(*f, x->needs)) {
                vio_features_clear(f, x->bit);
                again = true;
            }
        }
    }
}

static unsigned lowest(struct vio_features f)
{
    unsigned bit = 0;

    while (bit < VIO_FEATURE_BITS && !vio_features_has(f, bit))
        bit++;
    return bit;
}

/* The set to ask for. */
static int choose(struct vio_drvdev *d, struct vio_features *wanted)
{
    const struct vio_driver *driver = d->driver;
    struct vio_features most, missing;
    int error = d->ops->features(d->t, &d->offered);

    if (error != 0)
        return core_transport_failed(d, error, "features");
    if (d->t->legacy)
        d->offered = vio_features_and(d->offered, vio_features_of(UINT32_MAX));
    else if (!vio_features_has(d->offered, VIRTIO_F_VERSION_1))
        return vio_drvdev_fail(d, -EPROTO, "the device does not offer VERSION_1: it is older than virtio 1.0 (virtio 1.4, 6.2)");
    most = vio_features_and(d->offered, vio_driver_takes(driver, d->t));
    drop_dependents(d, &most);
    *wanted = most;
    if (driver->validate != NULL) {
        error = driver->validate(d, wanted);
        if (error != 0)
            return error;
        *wanted = vio_features_and(*wanted, most); /* it may drop, not add */
        if (!d->t->legacy)
            vio_features_set(wanted, VIRTIO_F_VERSION_1);
        drop_dependents(d, wanted);
    }
    missing = vio_features_minus(driver->needs, *wanted);
    if (!vio_features_none(missing))
        return vio_drvdev_fail(d, -ENOTSUP, "driver %s needs feature bit %u, which this device does not offer, or not with what that bit needs",
                               driver->name, lowest(missing));
    return 0;
}

static int negotiate(struct vio_drvdev *d)
{
    struct vio_features wanted;
    uint8_t status = 0;
    int error = choose(d, &wanted);

    if (error != 0)
        return error;
    if (d->probed && (wanted.w[0] != d->features.w[0] || wanted.w[1] != d->features.w[1]))
        return vio_drvdev_fail(d, -EPROTO, "after the suspend the device has other features than before: recover it");
    error = d->ops->accept(d->t, &wanted);
    if (error != 0)
        return core_transport_failed(d, error, "accepting features");
    if (!d->t->legacy) {
        error = step(d, VIRTIO_STATUS_FEATURES_OK, "FEATURES_OK");
        if (error != 0)
            return error;
        error = d->ops->status_get(d->t, &status);
        if (error != 0)
            return core_transport_failed(d, error, "FEATURES_OK");
        if (status == STATUS_GONE)
            return vio_drvdev_fail(d, -ECONNRESET, "the device is gone: its status reads 0xff");
        if ((status & (VIRTIO_STATUS_NEEDS_RESET | VIRTIO_STATUS_FAILED)) != 0)
            return vio_drvdev_fail(d, -EPROTO, "the device fails while its features are agreed: status 0x%x (virtio 1.4, 2.1)", status);
        if ((status & VIRTIO_STATUS_FEATURES_OK) == 0)
            return vio_drvdev_fail(d, -EPROTO, "the device does not accept the features 0x%llx (virtio 1.4, 2.2.2, 3.1.1)",
                                   (unsigned long long)wanted.w[0]);
    }
    d->features = wanted;
    return 0;
}

/* ------------------------------------------------------------------ the sequence */

/* probe, or restore. */
static int hand_over(struct vio_drvdev *d)
{
    const struct vio_driver *driver = d->driver;
    int error;

    if (d->probed)
        return driver->restore(d);
    if (driver->state_size > 0) {
        d->state = d->platform->alloc(d->platform->ctx, driver->state_size);
        if (d->state == NULL)
            return vio_drvdev_fail(d, -ENOMEM, "no %zu bytes for driver %s", driver->state_size, driver->name);
    }
    error = driver->probe(d);
    d->probed = error == 0;
    return error;
}

static int run(struct vio_drvdev *d)
{
    int error = d->fresh ? 0 : core_reset(d);

    if (error == 0)
        error = step(d, VIRTIO_STATUS_ACKNOWLEDGE, "ACKNOWLEDGE");
    if (error == 0)
        error = step(d, VIRTIO_STATUS_DRIVER, "DRIVER");
    if (error == 0)
        error = negotiate(d);
    if (error == 0)
        error = hand_over(d);
    if (error == 0)
        error = step(d, VIRTIO_STATUS_DRIVER_OK, "DRIVER_OK");
    if (error == 0) {
        d->is = VIO_DRVDEV_RUNS;
        if (d->driver->scan != NULL)
            error = d->driver->scan(d);
    }
    return error;
}

int core_initialize(struct vio_drvdev *d)
{
    char why[VIO_DRV_WHY];
    int error;

    d->why[0] = '\0';
    error = run(d);
    if (error == 0)
        return 0;
    if (d->why[0] == '\0')
        (void)vio_drvdev_fail(d, error, "driver %s does not take the device (error %d)", d->driver->name, -error);
    d->is = VIO_DRVDEV_FAILED;
    memcpy(why, d->why, sizeof(why));
    /* What the device knows of stays until it has let go of it: to the next recover, or the removal. */
    if (!d->probed && d->queue == NULL)
        core_release(d);
    else if (core_reset(d) == 0)
        core_release(d);
    else
        d->stuck = true;
    memcpy(d->why, why, sizeof(why));
    (void)!core_write_status(d, d->status | VIRTIO_STATUS_FAILED); /* virtio 1.4, 3.1.1: given up */
    return error;
}

void core_release(struct vio_drvdev *d)
{
    if (d->probed)
        d->driver->remove(d);
    d->probed = false;
    core_queues_free(d);
    if (d->state != NULL)
        d->platform->free(d->platform->ctx, d->state, d->driver->state_size);
    d->state = NULL;
    d->features = vio_features_of(0);
}

/* ------------------------------------------------------------------ another life */

int vio_drvdev_recover(struct vio_drvdev *d)
{
    int error;

    if (d->is == VIO_DRVDEV_WAITS)
        return vio_drvdev_fail(d, -ENODEV, "no driver takes devices of type %u", d->type);
    if (d->is == VIO_DRVDEV_SUSPENDED)
        return vio_drvdev_fail(d, -EBUSY, "it is suspended: resume it");
    (void)core_broken(d);
    error = core_reset(d);
    if (error != 0) {
        d->is = VIO_DRVDEV_FAILED;
        d->stuck = true;
        return error;
    }
    core_release(d);
    return core_initialize(d);
}

int vio_drvdev_suspend(struct vio_drvdev *d)
{
    bool keeps = d->driver != NULL && d->driver->freeze != NULL;
    int error = 0;

    if (core_broken(d) || d->is != VIO_DRVDEV_RUNS)
        return vio_drvdev_fail(d, -EINVAL, "only a device that runs can be suspended");
    if (keeps)
        error = d->driver->freeze(d);
    if (error != 0)
        return error;
    error = core_reset(d);
    if (error != 0) {
        d->is = VIO_DRVDEV_FAILED;
        d->stuck = true;
        return error;
    }
    if (keeps)
        core_queues_free(d);
    else
        core_release(d);
    d->is = VIO_DRVDEV_SUSPENDED;
    return 0;
}

int vio_drvdev_resume(struct vio_drvdev *d)
{
    if (d->is != VIO_DRVDEV_SUSPENDED)
        return vio_drvdev_fail(d, -EINVAL, "it is not suspended");
    return core_initialize(d);
}

/* ------------------------------------------------------------------ what there is to know */

enum vio_drvdev_state_name vio_drvdev_status(const struct vio_drvdev *d)
{
    return core_is_broken(d) && d->is == VIO_DRVDEV_RUNS ? VIO_DRVDEV_BROKEN : d->is;
}

const char *vio_drvdev_why(const struct vio_drvdev *d)
{
    const char *broken = __atomic_load_n(&d->broken, __ATOMIC_ACQUIRE);

    return broken != NULL && !d->broken_said ? broken : d->why;
}

const char *vio_drvdev_name(const struct vio_drvdev *d)
{
    return d->t->name;
}

uint32_t vio_drvdev_type(const struct vio_drvdev *d)
{
    return d->type;
}

struct vio_transport *vio_drvdev_transport(struct vio_drvdev *d)
{
    return d->t;
}

const struct vio_platform *vio_drvdev_platform(const struct vio_drvdev *d)
{
    return d->platform;
}

void *vio_drvdev_state(struct vio_drvdev *d)
{
    return d->state;
}

const struct vio_driver *vio_drvdev_driver(const struct vio_drvdev *d)
{
    return d->driver;
}

struct vio_features vio_drvdev_offered(const struct vio_drvdev *d)
{
    return d->offered;
}

struct vio_features vio_drvdev_features(const struct vio_drvdev *d)
{
    return d->features;
}
