/* SPDX-License-Identifier: MIT */
/* Purpose: a Linux with one function for VFIO; see vfio_fake.h. */
#include "vfio_fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONTAINER = 100000, GROUP, DEVICE, CONFIG_AT = 0x70000 }; /* descriptors that are none, so that no real call takes them */

static uint64_t bar_at(unsigned bar)
{
    return (uint64_t)bar << 20;
}

/* Each call may be the one that fails. */
static bool fails(struct vfio_fake *f)
{
    return ++f->calls == f->fail_at;
}

/* ------------------------------------------------------------------ files */

static int fake_open(void *ctx, const char *path, int flags)
{
    struct vfio_fake *f = ctx;
    size_t n = strlen(path), m = f->fail_path != NULL ? strlen(f->fail_path) : 0;

    (void)flags;
    if (fails(f))
        return -EMFILE;
    if (m > 0 && n >= m && strcmp(path + n - m, f->fail_path) == 0)
        return f->fail_error;
    f->opened++;
    if (strcmp(path, "/dev/vfio/vfio") == 0)
        return CONTAINER;
    assert_string_equal(path, f->no_iommu_kind ? "/dev/vfio/noiommu-7" : "/dev/vfio/7");
    return GROUP;
}

static void fake_close(void *ctx, int fd)
{
    struct vfio_fake *f = ctx;

    assert_true(fd >= CONTAINER && fd <= DEVICE);
    if (fd == DEVICE)
        assert_int_equal(f->nr_mapped, f->unmapped);
    f->closed++;
}

static int fake_map(void *ctx, int fd, uint64_t offset, uint64_t len, void **out)
{
    struct vfio_fake *f = ctx;

    assert_int_equal(fd, DEVICE);
    assert_int_equal((offset | len) % 4096, 0);
    if (fails(f))
        return -EINVAL;
    assert_true(f->nr_mapped < FAKE_MAPS);
    *out = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(*out, MAP_FAILED);
    f->mapped[f->nr_mapped] = *out;
    f->mapped_at[f->nr_mapped] = offset;
    f->mapped_len[f->nr_mapped++] = len;
    ((uint8_t *)*out)[VIRTIO_PCI_NUM_QUEUES] = QUEUES; /* whatever it is: memory that answers as a modern device must */
    ((uint8_t *)*out)[VIRTIO_PCI_DEVICE_FEATURE] = 2;  /* ACCESS_PLATFORM, in each word of features */
    return 0;
}

static void fake_unmap(void *ctx, void *at, uint64_t len)
{
    struct vfio_fake *f = ctx;

    munmap(at, len);
    f->unmapped++;
}

static int64_t fake_pread(void *ctx, int fd, void *to, size_t n, uint64_t offset)
{
    struct vfio_fake *f = ctx;
    struct pci_model *m = &f->dev.pci;
    uint32_t v = 0;

    assert_int_equal(fd, DEVICE);
    if (fails(f))
        return -EIO;
    if (offset >= CONFIG_AT && offset < CONFIG_AT + 256)
        assert_int_equal(m->access.config_read(m, (uint32_t)(offset - CONFIG_AT), (unsigned)n, &v), 0);
    else
        v = m->read(m, (unsigned)(offset >> 20), offset & 0xfffff, (unsigned)n);
    vio_io_store_bytes(to, (unsigned)n, v);
    return (int64_t)n;
}

static int64_t fake_pwrite(void *ctx, int fd, const void *from, size_t n, uint64_t offset)
{
    struct vfio_fake *f = ctx;
    struct pci_model *m = &f->dev.pci;
    uint32_t v = vio_io_load_bytes(from, (unsigned)n);

    assert_int_equal(fd, DEVICE);
    if (fails(f))
        return -EIO;
    if (offset >= CONFIG_AT && offset < CONFIG_AT + 256)
        assert_int_equal(m->access.config_write(m, (uint32_t)(offset - CONFIG_AT), (unsigned)n, v), 0);
    else
        m->write(m, (unsigned)(offset >> 20), offset & 0xfffff, (unsigned)n, v);
    return (int64_t)n;
}

/* ------------------------------------------------------------------ ioctls */

/* An answer of `first` bytes with capabilities behind it: all of it where there is room, else how long it would be. */
static void answer(void *arg, const void *info, size_t first, const void *caps, size_t caps_len)
{
    uint32_t room, whole = (uint32_t)(first + caps_len);

    memcpy(&room, arg, sizeof(room));
    assert_true(room >= first);
    memcpy(arg, info, first);
    if (room >= whole && caps_len > 0)
        memcpy((uint8_t *)arg + first, caps, caps_len);
    memcpy(arg, &whole, sizeof(whole));
}

static int iommu_info(struct vfio_fake *f, void *arg)
{
    struct vfio_iommu_type1_info info = { .flags = VFIO_IOMMU_INFO_PGSIZES, .iova_pgsizes = ~UINT64_C(0xfff) };
    struct vfio_iommu_type1_info_cap_iova_range cap = { .header = { VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, 1, 0 },
                                                        .nr_iovas = f->nr_iova };
    uint8_t caps[sizeof(cap) + sizeof(f->iova)];

    memcpy(caps, &cap, sizeof(cap));
    memcpy(caps + sizeof(cap), f->iova, f->nr_iova * sizeof(f->iova[0]));
    if (f->nr_iova > 0) {
        info.flags |= VFIO_IOMMU_INFO_CAPS;
        info.cap_offset = sizeof(info);
    }
    answer(arg, &info, sizeof(info), caps, f->nr_iova > 0 ? sizeof(cap) + f->nr_iova * sizeof(f->iova[0]) : 0);
    return 0;
}

static int region_info(struct vfio_fake *f, void *arg)
{
    struct vfio_region_info info;
    bool mapped, caps;

    memcpy(&info, arg, sizeof(info));
    if (info.index > VFIO_PCI_CONFIG_REGION_INDEX)
        return -EINVAL;
    info.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
    info.size = info.index == VFIO_PCI_CONFIG_REGION_INDEX ? 256 : info.index < VIO_PCI_BARS ? f->dev.pci.bar_len[info.index] : 0;
    info.offset = info.index == VFIO_PCI_CONFIG_REGION_INDEX ? (uint64_t)CONFIG_AT : bar_at(info.index);
    mapped = f->map_bars && info.index == BAR;
    caps = info.index == BAR && f->caps_len > 0;
    info.flags |= (mapped ? (uint32_t)VFIO_REGION_INFO_FLAG_MMAP : 0) | (caps ? (uint32_t)VFIO_REGION_INFO_FLAG_CAPS : 0);
    info.cap_offset = caps ? sizeof(info) : 0;
    answer(arg, &info, sizeof(info), f->caps, caps ? f->caps_len : 0);
    return 0;
}

static int irq_info(struct vfio_fake *f, struct vfio_irq_info *info)
{
    if (info->index >= VFIO_PCI_NUM_IRQS)
        return -EINVAL;
    info->count = f->irqs[info->index];
    info->flags = VFIO_IRQ_INFO_EVENTFD | (info->index == VFIO_PCI_INTX_IRQ_INDEX ? VFIO_IRQ_INFO_AUTOMASKED : 0);
    return 0;
}

static int set_vectors(struct vfio_fake *f, const struct vfio_irq_set *set)
{
    int32_t fd;

    f->msix_asked = set->count;
    if (f->vectors_free >= 0 && set->count > (unsigned)f->vectors_free)
        return f->vectors_free > 0 ? f->vectors_free : -ENOSPC;
    assert_true(set->count <= FAKE_IRQS);
    for (f->nr_fds = 0; f->nr_fds < set->count; f->nr_fds++) {
        memcpy(&fd, set->data + f->nr_fds * sizeof(fd), sizeof(fd));
        f->fd[f->nr_fds] = fd;
    }
    if (set->index == VFIO_PCI_MSIX_IRQ_INDEX)
        pci_model_put(&f->dev.pci, f->dev.pci.last + 2u, 2,
                      (pci_model_get(&f->dev.pci, f->dev.pci.last + 2u, 2) & 0x7ff) | (set->count > 0 ? 0x8000u : 0));
    return 0;
}

static int set_irqs(struct vfio_fake *f, const struct vfio_irq_set *set)
{
    uint32_t data = set->flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
    int32_t fd = -1;

    assert_int_equal(set->argsz, sizeof(*set) + (data == VFIO_IRQ_SET_DATA_EVENTFD ? set->count * sizeof(int32_t) : 0));
    assert_true(set->count <= f->irqs[set->index]);
    if ((set->flags & VFIO_IRQ_SET_ACTION_UNMASK) != 0) {
        f->unmasked++;
        return 0;
    }
    if (set->index != VFIO_PCI_REQ_IRQ_INDEX)
        return set_vectors(f, set);
    if (set->count > 0)
        memcpy(&fd, set->data, sizeof(fd));
    f->request = fd;
    return 0;
}

static int dma_map(struct vfio_fake *f, const struct vfio_iommu_type1_dma_map *map)
{
    assert_true(f->nr_parts < FAKE_PARTS && map->vaddr != 0 && map->size > 0);
    assert_int_equal(map->flags, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE);
    f->part[f->nr_parts++] = (struct vfio_area){ map->iova, map->size };
    return 0;
}

static int dma_unmap(struct vfio_fake *f, const struct vfio_iommu_type1_dma_unmap *unmap)
{
    assert_true(f->nr_parts > 0);
    f->nr_parts--;
    assert_int_equal(f->part[f->nr_parts].offset, unmap->iova);
    assert_int_equal(f->part[f->nr_parts].size, unmap->size);
    return 0;
}

static int of_container(struct vfio_fake *f, unsigned long request, void *arg)
{
    unsigned long kind = f->no_iommu_kind ? VFIO_NOIOMMU_IOMMU : VFIO_TYPE1v2_IOMMU;

    switch (request) {
    case VFIO_GET_API_VERSION: return VFIO_API_VERSION;
    case VFIO_CHECK_EXTENSION: return (unsigned long)(uintptr_t)arg == kind;
    case VFIO_SET_IOMMU: assert_int_equal((unsigned long)(uintptr_t)arg, kind); return 0;
    case VFIO_IOMMU_GET_INFO: return iommu_info(f, arg);
    case VFIO_IOMMU_MAP_DMA: return dma_map(f, arg);
    case VFIO_IOMMU_UNMAP_DMA: return dma_unmap(f, arg);
    default: fail_msg("ioctl 0x%lx of the container", request); return -1;
    }
}

static int of_group(struct vfio_fake *f, unsigned long request, void *arg)
{
    switch (request) {
    case VFIO_GROUP_GET_STATUS:
        ((struct vfio_group_status *)arg)->flags = f->not_viable ? 0 : VFIO_GROUP_FLAGS_VIABLE;
        return 0;
    case VFIO_GROUP_SET_CONTAINER: assert_int_equal(*(int *)arg, CONTAINER); return 0;
    case VFIO_GROUP_GET_DEVICE_FD:
        assert_string_equal(arg, FAKE_ADDRESS);
        f->opened++;
        return DEVICE;
    default: fail_msg("ioctl 0x%lx of the group", request); return -1;
    }
}

static int of_device(struct vfio_fake *f, unsigned long request, void *arg)
{
    switch (request) {
    case VFIO_DEVICE_GET_INFO: ((struct vfio_device_info *)arg)->flags = VFIO_DEVICE_FLAGS_PCI; return 0;
    case VFIO_DEVICE_GET_REGION_INFO: return region_info(f, arg);
    case VFIO_DEVICE_GET_IRQ_INFO: return irq_info(f, arg);
    case VFIO_DEVICE_SET_IRQS: return set_irqs(f, arg);
    default: fail_msg("ioctl 0x%lx of the device", request); return -1;
    }
}

static int fake_ioctl(void *ctx, int fd, unsigned long request, void *arg)
{
    struct vfio_fake *f = ctx;

    /* What ends something does not fail: there is nothing that could be done. */
    if (request != VFIO_IOMMU_UNMAP_DMA && fails(f))
        return -EPROTONOSUPPORT;
    if (request == f->fail_request)
        return f->fail_error;
    return fd == CONTAINER ? of_container(f, request, arg) : fd == GROUP ? of_group(f, request, arg) : of_device(f, request, arg);
}

/* ------------------------------------------------------------------ sysfs */

static void folders(const char *path)
{
    char part[256];

    for (const char *end = strchr(path + 1, '/'); end != NULL; end = strchr(end + 1, '/')) {
        snprintf(part, sizeof(part), "%.*s", (int)(end - path), path);
        assert_true(mkdir(part, 0700) == 0 || errno == EEXIST);
    }
}

void vfio_fake_link(struct vfio_fake *f, const char *path, const char *target)
{
    char whole[256];

    snprintf(whole, sizeof(whole), "%s/%s", f->root, path);
    folders(whole);
    (void)unlink(whole);
    if (target != NULL)
        assert_int_equal(symlink(target, whole), 0);
}

void vfio_fake_file(struct vfio_fake *f, const char *path, const char *text)
{
    char whole[256];
    FILE *file;

    snprintf(whole, sizeof(whole), "%s/%s", f->root, path);
    folders(whole);
    file = fopen(whole, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

void vfio_fake_init(struct vfio_fake *f)
{
    *f = (struct vfio_fake){ .irqs = { 1, 0, 5, 0, 1 }, .vectors_free = -1, .request = -1 };
    f->sys = (struct vfio_sys){ fake_open, fake_close, fake_ioctl, fake_map, fake_unmap, fake_pread, fake_pwrite, f, f->root,
                                "/dev/vfio" };
    strcpy(f->root, "/tmp/vio-vfio-XXXXXX");
    assert_non_null(mkdtemp(f->root));
    vfio_fake_link(f, "bus/pci/devices/" FAKE_ADDRESS "/driver", "../../../../bus/pci/drivers/vfio-pci");
    vfio_fake_link(f, "bus/pci/devices/" FAKE_ADDRESS "/iommu_group", "../../../../kernel/iommu_groups/7");
    vfio_fake_file(f, "kernel/iommu_groups/7/devices/" FAKE_ADDRESS, "");
    vfio_fake_file(f, "bus/pci/devices/" FAKE_ADDRESS "/vendor", "0x1af4\n");
    blank(&f->dev);
    add_caps(&f->dev);
    f->dev.features[1] |= 2; /* ACCESS_PLATFORM */
    f->dev.vectors_held = 16;
    pci_model_cap(&f->dev.pci, PCI_CAP_ID_MSIX, 12);
    pci_model_put(&f->dev.pci, f->dev.pci.last + 2u, 2, 4);
}

void vfio_fake_end(struct vfio_fake *f)
{
    char command[128];

    assert_int_equal(f->opened, f->closed);
    assert_int_equal(f->nr_mapped, f->unmapped);
    assert_int_equal(f->nr_parts, 0);
    snprintf(command, sizeof(command), "rm -r %s", f->root);
    assert_int_equal(system(command), 0);
}
