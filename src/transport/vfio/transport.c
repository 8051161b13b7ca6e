/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a PCI function through VFIO made a transport: opened, its interrupts and its memory set up, and given to pci_driver, which
 * does all that is virtio. Where it sits: transport/vfio, hosted. Threads: see vio/driver.h. Trust: the device is hostile.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/format.h"
#include "spec/virtio.h"
#include "transport/vfio/vfio.h"

int vfio_fail(struct vfio *v, int error, const char *format, ...)
{
    char what[VIO_DRV_WHY];
    va_list ap;

    va_start(ap, format);
    vio_vformat(what, sizeof(what), format, ap);
    va_end(ap);
    vio_format(v->why, VIO_DRV_WHY, "pci@%s: %s", v->place.address, what);
    return error;
}

/* ------------------------------------------------------------------ what VFIO adds to pci_driver's calls */

static struct vfio *vfio_of(struct vio_transport *t)
{
    return (struct vfio *)(uintptr_t)((const char *)t->ops - offsetof(struct vfio, ops));
}

static const char asked_back[] = "the kernel asks for the device back: it is being unplugged or unbound";

static int status_get(struct vio_transport *t, uint8_t *status)
{
    struct vfio *v = vfio_of(t);

    return vfio_irqs_requested(v) ? -ECONNRESET : v->pci_ops->status_get(t, status);
}

/* Whoever does not take ACCESS_PLATFORM lets the device take each address for a physical one (virtio 1.4, 6.1). */
static int accept_features(struct vio_transport *t, const struct vio_features *wanted)
{
    struct vfio *v = vfio_of(t);

    v->bare = v->dma == VIO_VFIO_IOMMU && !vio_features_has(*wanted, VIRTIO_F_ACCESS_PLATFORM);
    return v->bare ? -EINVAL : v->pci_ops->accept(t, wanted);
}

static const char *why(struct vio_transport *t)
{
    struct vfio *v = vfio_of(t);

    if (__atomic_load_n(&v->requested, __ATOMIC_ACQUIRE))
        return asked_back;
    return v->bare ? "ACCESS_PLATFORM is not accepted, and this memory is not at physical addresses" : v->pci_ops->why(t);
}

/* Also after a failure on the way. Bus mastering is off already; no interrupt may come when its descriptor is closed. */
static void vfio_close(void *ctx)
{
    struct vfio *v = ctx;

    vfio_irqs_close(v);
    vfio_regions_close(v);
    vfio_container_close(v);
    free(v);
}

/* ------------------------------------------------------------------ making one */

static struct vfio *make(const struct vfio_sys *sys, const struct vio_vfio_params *params, char *sentence)
{
    struct vfio *v = aligned_alloc(_Alignof(struct vfio), sizeof(*v));

    if (v == NULL)
        return NULL;
    *v = (struct vfio){ .sys = sys, .arena = params->arena, .log = params->log, .container = -1, .group = -1, .device = -1,
                        .request = -1, .first = -1, .interrupts = !params->no_interrupts, .why = sentence };
    v->access.close = vfio_close;
    v->access.ctx = v;
    return v;
}

/*
 * A device that does not offer ACCESS_PLATFORM, none of the legacy ones does, takes each address for a physical one, and goes
 * past the IOMMU perhaps (virtio 1.4, 6): at any other address is somebody else's memory.
 */
static int check_addresses(struct vfio *v, struct vio_transport *t)
{
    struct vio_features offered;
    int r = t->ops->features(t, &offered);

    if (r != 0)
        return vfio_fail(v, r, "%s", t->ops->why(t));
    if (v->dma == VIO_VFIO_IOMMU && (t->legacy || !vio_features_has(offered, VIRTIO_F_ACCESS_PLATFORM)))
        return vfio_fail(v, -EADDRNOTAVAIL, "it does not offer ACCESS_PLATFORM (iommu_platform=on), so that memory for it must be "
                         "physical (huge pages: sysctl vm.nr_hugepages=64)");
    return 0;
}

static int open_all(struct vfio *v, const struct vio_vfio_params *params, struct vio_transport **out)
{
    struct vio_pci_driver_params pci = {
        .access = &v->access,
        .name = v->place.address,
        .platform = vio_arena_platform(v->arena),
        .legacy = params->legacy,
    };
    int r = vfio_container_open(v);

    if (r == 0)
        r = vfio_regions_open(v);
    if (r == 0)
        r = vfio_irqs_open(v);
    if (r != 0)
        return r;
    pci.vectors = v->msix ? v->nr_vectors : 0;
    return vio_pci_driver_create(&pci, out, v->why);
}

int vfio_create(const struct vfio_sys *sys, const struct vio_vfio_params *params, struct vio_transport **out, char *sentence)
{
    char unheard[VIO_DRV_WHY];
    struct vio_transport *t;
    struct vfio_place place;
    struct vfio *v;
    int r;

    if (sentence == NULL)
        sentence = unheard;
    sentence[0] = '\0';
    if (params->arena == NULL) {
        vio_format(sentence, VIO_DRV_WHY, "no arena: memory for the device's queues");
        return -EINVAL;
    }
    r = vfio_find(sys, params->address, &place, sentence);
    if (r != 0)
        return r;
    v = make(sys, params, sentence);
    if (v == NULL)
        return -ENOMEM;
    v->place = place;
    r = open_all(v, params, &t);
    if (r != 0) {
        vfio_close(v);
        return r;
    }
    r = check_addresses(v, t);
    if (r != 0) {
        t->ops->destroy(t);
        return r;
    }
    v->pci_ops = t->ops;
    v->ops = *t->ops;
    v->ops.accept = accept_features;
    v->ops.status_get = status_get;
    v->ops.why = why;
    t->ops = &v->ops;
    v->why = NULL; /* the caller's */
    if (v->dma == VIO_VFIO_UNGUARDED)
        vio_log(v->log, VIO_LOG_WARNING, t->name, "no IOMMU: nothing keeps this device from any memory of the machine");
    *out = t;
    return 0;
}

int vio_vfio_create(const struct vio_vfio_params *params, struct vio_transport **out, char *sentence)
{
    return vfio_create(&vfio_sys_linux, params, out, sentence);
}

enum vio_vfio_dma vio_vfio_dma(struct vio_transport *t)
{
    return vfio_of(t)->dma;
}

uint16_t vio_vfio_vectors(struct vio_transport *t)
{
    struct vfio *v = vfio_of(t);

    return v->msix ? v->nr_vectors : 0;
}

uint64_t vio_vfio_interrupts(struct vio_transport *t, uint16_t vector)
{
    struct vfio *v = vfio_of(t);

    return vector < v->nr_vectors ? __atomic_load_n(&v->vector[vector].count, __ATOMIC_RELAXED) : 0;
}
