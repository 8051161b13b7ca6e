/* SPDX-License-Identifier: MIT */
/* A PCI function through VFIO, with a kernel that a test plays: how it is opened, what is said where it cannot be, what it gives. */
#include "vfio_fake.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "memory/arena_frames.h"

static struct vio_arena *memory(void)
{
    struct vio_arena_params params = { .size = 1 << 20, .small_pages = true };
    struct vio_arena *a;

    assert_int_equal(vio_arena_create(&params, &a), 0);
    return a;
}

/* Four huge pages in three places. */
static int tell(void *ctx, const uint8_t *host, uint64_t n, uint64_t *addr)
{
    static const uint64_t at[] = { 0x40000000, 0x10000000, 0x10200000, 0x80000000 };

    (void)ctx;
    (void)host;
    assert_int_equal(n, 4);
    memcpy(addr, at, sizeof(at));
    return 0;
}

static struct vio_arena *physical_memory(void)
{
    static const struct arena_frames frames = { .read = tell, .small = true };
    struct vio_arena_params params = { .size = 4 * (uint64_t)ARENA_HUGE_PAGE, .physical = true };
    struct vio_arena *a;

    assert_int_equal(arena_create(&params, &frames, &a), 0);
    return a;
}

static int open_it(struct vfio_fake *f, struct vio_arena *a, struct vio_transport **t, char *why)
{
    struct vio_vfio_params params = { .address = FAKE_ADDRESS, .arena = a };

    return vfio_create(&f->sys, &params, t, why);
}

/* It cannot be opened, for this reason; and nothing is left open. */
static void refused(struct vfio_fake *f, struct vio_arena *a, int error, const char *words)
{
    char why[VIO_DRV_WHY] = "";
    struct vio_transport *t;
    int r = open_it(f, a, &t, why);

    if (r != error || strstr(why, words) == NULL)
        fail_msg("%d, and not %d: '%s' does not say '%s'", r, error, why, words);
    assert_int_equal(f->opened, f->closed);
    assert_int_equal(f->nr_parts, 0);
}

/* ------------------------------------------------------------------ finding it */

static void test_addresses(void **state)
{
    static const char *const wrong[] = { "", "00", "00:04", "00:04.", "00:04.8", "00:4.0", "000:00:04.0", "0000:00:04.0x", "/sys/x",
                                         "0000:00:04:0", "123456789:00:04.0", "zz:04.0", "../../00:04.0", ":00:04.0" };
    struct vfio_place place;
    struct vfio_fake f;
    char why[VIO_DRV_WHY];

    (void)state;
    vfio_fake_init(&f);
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(vfio_find(&f.sys, wrong[i], &place, why), -EINVAL);
        assert_non_null(strstr(why, "no address"));
    }
    assert_int_equal(vfio_find(&f.sys, NULL, &place, why), -EINVAL);
    assert_int_equal(vfio_find(&f.sys, "00:04.0", &place, why), 0);
    assert_string_equal(place.address, FAKE_ADDRESS);
    assert_string_equal(place.group, "/dev/vfio/7");
    vfio_fake_link(&f, "bus/pci/devices/" FAKE_ADDRESS "/driver", "../x/virtio_vfio_pci"); /* adds to vfio-pci */
    assert_int_equal(vfio_find(&f.sys, FAKE_ADDRESS, &place, why), 0);
    assert_false(place.no_iommu);
    assert_int_equal(vfio_find(&f.sys, "0000:00:1F.7", &place, why), -ENODEV);
    assert_non_null(strstr(why, "0000:00:1f.7")); /* as sysfs has it */
    vfio_fake_end(&f);
}

/* Each state of a function that is not ready, and what its user is told. */
static void test_not_ready(void **state)
{
    struct vio_arena *a = memory();
    struct vfio_fake f;

    (void)state;
    vfio_fake_init(&f);
    vfio_fake_link(&f, "bus/pci/devices/" FAKE_ADDRESS "/driver", "../x/virtio-pci");
    refused(&f, a, -ENODEV, "driven by virtio-pci: cd /sys/bus/pci/devices/" FAKE_ADDRESS "; echo vfio-pci >driver_override; echo "
            FAKE_ADDRESS " >driver/unbind; echo " FAKE_ADDRESS " >/sys/bus/pci/drivers_probe");
    vfio_fake_link(&f, "bus/pci/devices/" FAKE_ADDRESS "/driver", NULL);
    refused(&f, a, -ENODEV, "has no driver: modprobe vfio-pci");
    vfio_fake_link(&f, "bus/pci/devices/" FAKE_ADDRESS "/iommu_group", NULL);
    refused(&f, a, -ENODEV, "has no IOMMU");
    vfio_fake_link(&f, "bus/pci/devices/" FAKE_ADDRESS "/driver", "../x/virtio-pci");
    refused(&f, a, -ENODEV, "has no IOMMU");
    vfio_fake_link(&f, "bus/pci/devices/" FAKE_ADDRESS "/driver", "../x/vfio-pci");
    vfio_fake_link(&f, "bus/pci/devices/" FAKE_ADDRESS "/iommu_group", "../x/seven");
    refused(&f, a, -EPROTO, "no number");
    vfio_fake_file(&f, "bus/pci/devices/" FAKE_ADDRESS "/vendor", "0x8086\n"); /* nobody is told to take this from its driver */
    vfio_fake_link(&f, "bus/pci/devices/" FAKE_ADDRESS "/driver", "../x/lpc_ich");
    refused(&f, a, -ENODEV, "no virtio device: its vendor is 0x8086");
    assert_int_equal(f.calls, 0);
    vfio_fake_end(&f);
    vio_arena_destroy(a);
}

static void test_group(void **state)
{
    struct vio_arena *a = memory();
    struct vfio_fake f;

    (void)state;
    vfio_fake_init(&f);
    vfio_fake_link(&f, "bus/pci/devices/0000:00:05.0/driver", "../x/e1000e");
    vfio_fake_file(&f, "kernel/iommu_groups/7/devices/0000:00:05.0", "");
    vfio_fake_link(&f, "bus/pci/devices/0000:00:06.0/driver", "../x/vfio-pci");
    vfio_fake_file(&f, "kernel/iommu_groups/7/devices/0000:00:06.0", "");
    f.not_viable = true;
    refused(&f, a, -EBUSY, "group 7 have drivers, and are to be bound to vfio-pci too, or to none: 0000:00:05.0 (e1000e)");
    for (unsigned i = 1; i < 8; i++) { /* more than fit into a sentence */
        char path[64];

        snprintf(path, sizeof(path), "bus/pci/devices/0000:00:05.%u/driver", i);
        vfio_fake_link(&f, path, "../x/a_driver_with_a_name");
        snprintf(path, sizeof(path), "kernel/iommu_groups/7/devices/0000:00:05.%u", i);
        vfio_fake_file(&f, path, "");
    }
    refused(&f, a, -EBUSY, "group 7 have drivers");
    vfio_fake_end(&f);
    vio_arena_destroy(a);
}

/* ------------------------------------------------------------------ opening */

static void test_refusals(void **state)
{
    static const struct {
        const char *path; /* or the request */
        unsigned long request;
        int error, said;
        const char *words;
    } cases[] = {
        { "/dev/vfio/vfio", 0, -ENOENT, -ENODEV, "modprobe vfio-pci" },
        { "/dev/vfio/vfio", 0, -EACCES, -EACCES, "Permission" },
        { "/dev/vfio/7", 0, -EACCES, -EACCES, "no right to open /dev/vfio/7" },
        { "/dev/vfio/7", 0, -EPERM, -EPERM, "no right to open" },
        { "/dev/vfio/7", 0, -EBUSY, -EBUSY, "in use" },
        { "/dev/vfio/7", 0, -EIO, -EIO, "cannot be opened" },
        { NULL, VFIO_GET_API_VERSION, 1, -ENOTSUP, "version 1" },
        { NULL, VFIO_CHECK_EXTENSION, 0, -ENOTSUP, "modprobe vfio_iommu_type1" },
        { NULL, VFIO_SET_IOMMU, -EPERM, -EPERM, "allow_unsafe_interrupts" },
        { NULL, VFIO_SET_IOMMU, -ENODEV, -ENODEV, "cannot be used" },
        { NULL, VFIO_IOMMU_MAP_DMA, -ENOMEM, -ENOMEM, "ulimit -l" },
        { NULL, VFIO_IOMMU_MAP_DMA, -EEXIST, -EEXIST, "0x100000000" },
        { NULL, VFIO_GROUP_GET_DEVICE_FD, -ENODEV, -ENODEV, "cannot be opened" },
        { NULL, VFIO_DEVICE_SET_IRQS, -EINVAL, -EINVAL, "MSI-X cannot be enabled" },
    };
    struct vio_vfio_params none = { .address = FAKE_ADDRESS };
    struct vio_arena *a = memory();
    struct vio_transport *t;
    struct vfio_fake f;

    (void)state;
    vfio_fake_init(&f);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        f.fail_path = cases[i].path;
        f.fail_request = cases[i].path != NULL ? 0 : cases[i].request;
        f.fail_error = cases[i].error;
        refused(&f, a, cases[i].said, cases[i].words);
    }
    assert_int_equal(vfio_create(&f.sys, &none, &t, NULL), -EINVAL); /* no arena */
    vfio_fake_end(&f);
    vio_arena_destroy(a);
}

/* Whichever call of all fails: there is an error or not, a sentence, and nothing left behind. */
static void test_any_call_fails(void **state)
{
    struct vio_arena *a = memory();
    unsigned refusals = 0, total;
    struct vio_transport *t;
    struct vfio_fake f;

    (void)state;
    for (unsigned ports = 0; ports < 2; ports++) {
        vfio_fake_init(&f);
        f.map_bars = ports == 1;
        assert_int_equal(open_it(&f, a, &t, NULL), 0);
        total = f.calls;
        t->ops->destroy(t);
        vfio_fake_end(&f);
        for (unsigned i = 1; i <= total; i++) {
            char why[VIO_DRV_WHY];
            int r;

            vfio_fake_init(&f);
            f.map_bars = ports == 1;
            f.fail_at = i;
            r = open_it(&f, a, &t, why);
            assert_true(r != 0 ? why[0] != '\0' : why[0] == '\0');
            refusals += r != 0;
            if (r == 0)
                t->ops->destroy(t);
            vfio_fake_end(&f);
        }
    }
    assert_true(refusals > 40);
    vio_arena_destroy(a);
}

/* ------------------------------------------------------------------ memory */

static void test_arena_is_mapped(void **state)
{
    struct vio_features bare = vio_features_of(VIO_FEATURE(VIRTIO_F_VERSION_1));
    struct vio_arena *a = memory();
    struct vio_transport *t;
    struct vfio_fake f;

    (void)state;
    vfio_fake_init(&f);
    f.iova[0] = (struct vfio_iova_range){ 0, 0xfedfffff };
    f.iova[1] = (struct vfio_iova_range){ 0xfef00000, 0x7fffffffff };
    f.nr_iova = 2;
    assert_int_equal(open_it(&f, a, &t, NULL), 0);
    assert_int_equal(f.nr_parts, 1);
    assert_int_equal(f.part[0].offset, vio_arena_region(a).addr);
    assert_int_equal(f.part[0].size, 1 << 20);
    assert_int_equal(vio_vfio_dma(t), VIO_VFIO_IOMMU);
    assert_int_equal(t->ops->accept(t, &bare), -EINVAL); /* without ACCESS_PLATFORM the device would go past the IOMMU */
    assert_non_null(strstr(t->ops->why(t), "ACCESS_PLATFORM"));
    vio_features_set(&bare, VIRTIO_F_ACCESS_PLATFORM);
    assert_int_equal(t->ops->accept(t, &bare), 0);
    assert_string_equal(t->ops->why(t), "");
    assert_string_equal(t->name, "pci@" FAKE_ADDRESS);
    t->ops->destroy(t);
    assert_int_equal(pci_model_get(&f.dev.pci, PCI_COMMAND, 2) & PCI_COMMAND_MASTER, 0);
    f.iova[1].start = 0x100001000; /* the arena begins before it */
    refused(&f, a, -ERANGE, "1048576 bytes at 0x100000000: its first range is 0x0 to 0xfedfffff");
    f.iova[1] = (struct vfio_iova_range){ 5, 4 };
    refused(&f, a, -EPROTO, "makes no sense");
    vfio_fake_end(&f);
    vio_arena_destroy(a);
}

/* A device that goes past the IOMMU must not be told of other addresses than physical ones. */
static void test_physical(void **state)
{
    static const uint64_t addr[] = { 0x10000000, 0x40000000, 0x80000000 };
    struct vio_arena *a = memory(), *physical = physical_memory();
    struct vio_transport *t;
    struct vfio_fake f;

    (void)state;
    vfio_fake_init(&f);
    f.dev.features[1] &= ~2u;
    refused(&f, a, -EADDRNOTAVAIL, "ACCESS_PLATFORM");
    assert_int_equal(open_it(&f, physical, &t, NULL), 0);
    assert_int_equal(vio_vfio_dma(t), VIO_VFIO_IDENTITY);
    assert_int_equal(f.nr_parts, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(f.part[i].offset, addr[i]);
    t->ops->destroy(t);
    vfio_fake_end(&f);

    vfio_fake_init(&f); /* no IOMMU at all */
    vfio_fake_file(&f, "kernel/iommu_groups/7/name", "vfio-noiommu\n");
    f.no_iommu_kind = true;
    refused(&f, a, -EADDRNOTAVAIL, "has no IOMMU");
    assert_int_equal(open_it(&f, physical, &t, NULL), 0);
    assert_int_equal(vio_vfio_dma(t), VIO_VFIO_UNGUARDED);
    assert_int_equal(f.nr_parts, 0);
    t->ops->destroy(t);
    f.fail_request = VFIO_SET_IOMMU;
    f.fail_error = -EPERM;
    refused(&f, physical, -EPERM, "CAP_SYS_RAWIO");
    vfio_fake_end(&f);
    vio_arena_destroy(physical);
    vio_arena_destroy(a);
}

static void test_legacy(void **state)
{
    struct vio_arena *a = memory(), *physical = physical_memory();
    struct vio_features wanted = vio_features_of(4);
    struct vio_transport *t;
    uint8_t bytes[8];
    struct vfio_fake f;

    (void)state;
    vfio_fake_init(&f);
    make_legacy(&f.dev, false);
    pci_model_put(&f.dev.pci, PCI_BAR(0), 4, 0xc001);
    f.irqs[VFIO_PCI_MSIX_IRQ_INDEX] = 2;
    refused(&f, a, -EADDRNOTAVAIL, "ACCESS_PLATFORM");
    assert_int_equal(open_it(&f, physical, &t, NULL), 0);
    assert_true(t->legacy);
    assert_int_equal(t->ops->accept(t, &wanted), 0);
    assert_int_equal(t->ops->config_read(t, 0, bytes, 8), 0); /* 4 bytes further on, for MSI-X is enabled */
    assert_memory_equal(bytes, "abcdefgh", 8);
    t->ops->kick(t, 1, 0);
    assert_int_equal(f.dev.kicks, 1);
    assert_int_equal(f.dev.kicked[0], 1);
    t->ops->destroy(t);
    vfio_fake_end(&f);
    vio_arena_destroy(physical);
    vio_arena_destroy(a);
}

/* ------------------------------------------------------------------ BARs */

static void put_cap(struct vfio_fake *f, const void *bytes, size_t n)
{
    memcpy(f->caps + f->caps_len, bytes, n);
    f->caps_len += n;
}

/* Of BAR 4 all may be mapped but the page at 0x2000, as with an MSI-X table there. */
static void put_sparse(struct vfio_fake *f)
{
    struct vfio_info_cap_header first = { VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, 1, sizeof(struct vfio_region_info) + 8 };
    struct vfio_region_info_cap_sparse_mmap sparse = { .header = { VFIO_REGION_INFO_CAP_SPARSE_MMAP, 1, 0 }, .nr_areas = 2 };
    struct vfio_region_sparse_mmap_area areas[] = { { 0, 0x2000 }, { 0x3000, 0x1000 } };

    put_cap(f, &first, sizeof(first));
    put_cap(f, &sparse, sizeof(sparse));
    put_cap(f, areas, sizeof(areas));
}

static void test_maps(void **state)
{
    struct vio_arena *a = memory();
    struct vio_transport *t;
    struct vfio_fake f;
    uint8_t byte = 0;

    (void)state;
    vfio_fake_init(&f);
    f.map_bars = true;
    assert_int_equal(open_it(&f, a, &t, NULL), 0);
    assert_int_equal(f.nr_mapped, 4);
    assert_int_equal(f.mapped_at[0], (BAR << 20) + COMMON);
    assert_int_equal(f.mapped_len[0], 4096);
    t->ops->destroy(t);
    vfio_fake_end(&f);

    vfio_fake_init(&f);
    f.map_bars = true;
    put_sparse(&f);
    assert_int_equal(open_it(&f, a, &t, NULL), 0);
    assert_int_equal(f.nr_mapped, 3); /* the configuration is read by calls */
    f.dev.config[5] = 77;
    assert_int_equal(t->ops->config_read(t, 5, &byte, 1), 0);
    assert_int_equal(byte, 77);
    t->ops->destroy(t);
    vfio_fake_end(&f);

    vfio_fake_init(&f); /* nothing may be mapped: all goes by calls, as a whole device does */
    assert_int_equal(open_it(&f, a, &t, NULL), 0);
    assert_int_equal(f.nr_mapped, 0);
    assert_int_equal(t->queues_max, QUEUES);
    t->ops->destroy(t);
    vfio_fake_end(&f);
    vio_arena_destroy(a);
}

/* A BAR that ends within a page may be mapped to that page's end; one that may be mapped in part, no further. */
static void test_small_bar(void **state)
{
    struct vio_arena *a = memory();
    struct vio_transport *t;
    struct vfio_fake f;

    (void)state;
    vfio_fake_init(&f);
    f.map_bars = true;
    f.dev.pci.bar_len[BAR] = 0x3000 + 0x800;
    pci_model_put(&f.dev.pci, f.dev.pci.last - 20u + 12u, 4, 0x800); /* notifications */
    assert_int_equal(open_it(&f, a, &t, NULL), 0);
    assert_int_equal(f.nr_mapped, 4);
    assert_int_equal(f.mapped_at[1], (BAR << 20) + NOTIFY);
    assert_int_equal(f.mapped_len[1], 4096);
    t->ops->destroy(t);
    vfio_fake_end(&f);
    vio_arena_destroy(a);
}

static void test_lying_answers(void **state)
{
    struct vio_arena *a = memory();
    struct vfio_fake f;

    (void)state;
    vfio_fake_init(&f);
    f.map_bars = true;
    put_sparse(&f);
    f.caps[8 + 8] = 200; /* areas that are not there */
    refused(&f, a, -EPROTO, "BAR 4 makes no sense");
    f.caps[8 + 8] = 2;
    f.caps[8 + 16 + 9] = 0xff; /* one beyond the BAR */
    refused(&f, a, -EPROTO, "BAR 4 makes no sense");
    f.caps[8 + 16 + 9] = 0x20;
    f.caps[4] = sizeof(struct vfio_region_info); /* the list is a circle */
    refused(&f, a, -EPROTO, "BAR 4 makes no sense");
    f.caps[4] = 0xff;
    refused(&f, a, -EPROTO, "BAR 4 makes no sense");
    f.fail_request = VFIO_DEVICE_GET_REGION_INFO;
    f.fail_error = -EIO;
    refused(&f, a, -EIO, "configuration space");
    vfio_fake_end(&f);
    vio_arena_destroy(a);
}

/* ------------------------------------------------------------------ interrupts */

static bool readable(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    return poll(&p, 1, 0) == 1;
}

static void signal_fd(int fd)
{
    uint64_t one = 1;

    assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

static void test_vectors(void **state)
{
    struct vio_arena *a = memory();
    struct vio_transport *t;
    struct vfio_fake f;

    (void)state;
    vfio_fake_init(&f);
    assert_int_equal(open_it(&f, a, &t, NULL), 0);
    assert_int_equal(vio_vfio_vectors(t), 5);
    assert_int_equal(f.nr_fds, 5);
    assert_int_equal(t->ops->event_fd(t, 2), f.fd[3]); /* queue 2, after the configuration's */
    assert_false(readable(t->ops->event_fd(t, 2)));
    signal_fd(f.fd[3]);
    signal_fd(f.fd[3]);
    assert_true(readable(t->ops->event_fd(t, 2)));
    assert_false(readable(t->ops->event_fd(t, 1)));
    t->ops->event_clear(t, 2);
    assert_false(readable(t->ops->event_fd(t, 2)));
    assert_int_equal(vio_vfio_interrupts(t, 3), 2);
    assert_int_equal(vio_vfio_interrupts(t, 2), 0);
    assert_int_equal(vio_vfio_interrupts(t, 1000), 0);
    signal_fd(f.fd[0]);
    assert_true(readable(t->ops->event_fd(t, VIO_EVENT_QUEUE_CONFIG)));
    t->ops->event_clear(t, VIO_EVENT_QUEUE_CONFIG);
    assert_false(readable(t->ops->event_fd(t, VIO_EVENT_QUEUE_CONFIG)));
    assert_int_equal(f.unmasked, 0);
    t->ops->destroy(t);
    assert_int_equal(f.nr_fds, 0); /* off, before their descriptors are closed */
    vfio_fake_end(&f);

    vfio_fake_init(&f); /* the kernel has fewer */
    f.vectors_free = 2;
    assert_int_equal(open_it(&f, a, &t, NULL), 0);
    assert_int_equal(vio_vfio_vectors(t), 2);
    assert_int_equal(t->ops->event_fd(t, 0), f.fd[1]);
    assert_int_equal(t->ops->event_fd(t, 2), f.fd[1]);
    t->ops->destroy(t);
    f.vectors_free = 0;
    refused(&f, a, -ENOSPC, "MSI-X cannot be enabled");
    vfio_fake_end(&f);
    vio_arena_destroy(a);
}

static void test_intx(void **state)
{
    struct vio_vfio_params polled = { .address = FAKE_ADDRESS, .no_interrupts = true };
    struct vio_arena *a = memory();
    struct vio_transport *t;
    struct vfio_fake f;

    (void)state;
    vfio_fake_init(&f);
    f.irqs[VFIO_PCI_MSIX_IRQ_INDEX] = 0;
    assert_int_equal(open_it(&f, a, &t, NULL), 0);
    assert_int_equal(vio_vfio_vectors(t), 0);
    assert_int_equal(f.nr_fds, 1);
    assert_int_equal(t->ops->event_fd(t, 0), t->ops->event_fd(t, VIO_EVENT_QUEUE_CONFIG));
    f.dev.isr = 1;
    signal_fd(f.fd[0]);
    assert_true(readable(t->ops->event_fd(t, 1)));
    assert_int_equal(t->ops->events(t), VIO_EVENT_QUEUES);
    assert_int_equal(f.unmasked, 1);
    assert_int_equal(vio_vfio_interrupts(t, 0), 1);
    assert_false(readable(t->ops->event_fd(t, 1)));
    t->ops->destroy(t);
    f.irqs[VFIO_PCI_INTX_IRQ_INDEX] = 0; /* none at all */
    assert_int_equal(open_it(&f, a, &t, NULL), 0);
    assert_int_equal(t->ops->event_fd(t, 0), -1);
    t->ops->event_clear(t, 0);
    t->ops->destroy(t);
    f.irqs[VFIO_PCI_MSIX_IRQ_INDEX] = 5; /* none wanted */
    f.msix_asked = 0;
    polled.arena = a;
    assert_int_equal(vfio_create(&f.sys, &polled, &t, NULL), 0);
    assert_int_equal(f.msix_asked, 0);
    assert_int_equal(t->ops->event_fd(t, 0), -1);
    t->ops->destroy(t);
    vfio_fake_end(&f);
    vio_arena_destroy(a);
}

/* The kernel wants it back: whoever waits for changes wakes, and the device is gone for its driver. */
static void test_asked_back(void **state)
{
    struct vio_arena *a = memory();
    struct vio_transport *t;
    struct vfio_fake f;
    uint8_t status;

    (void)state;
    vfio_fake_init(&f);
    assert_int_equal(open_it(&f, a, &t, NULL), 0);
    assert_true(f.request >= 0);
    assert_int_equal(t->ops->status_get(t, &status), 0);
    signal_fd(f.request);
    assert_true(readable(t->ops->event_fd(t, VIO_EVENT_QUEUE_CONFIG)));
    t->ops->event_clear(t, VIO_EVENT_QUEUE_CONFIG);
    assert_false(readable(t->ops->event_fd(t, VIO_EVENT_QUEUE_CONFIG))); /* nobody spins on it */
    assert_int_equal(t->ops->status_get(t, &status), -ECONNRESET);
    assert_non_null(strstr(t->ops->why(t), "unplugged"));
    t->ops->destroy(t);
    assert_int_equal(f.request, -1);
    f.irqs[VFIO_PCI_REQ_IRQ_INDEX] = 0;
    assert_int_equal(open_it(&f, a, &t, NULL), 0);
    assert_int_equal(t->ops->status_get(t, &status), 0);
    t->ops->destroy(t);
    vfio_fake_end(&f);
    vio_arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_not_ready),
        cmocka_unit_test(test_group),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_any_call_fails),
        cmocka_unit_test(test_arena_is_mapped),
        cmocka_unit_test(test_physical),
        cmocka_unit_test(test_legacy),
        cmocka_unit_test(test_maps),
        cmocka_unit_test(test_small_bar),
        cmocka_unit_test(test_lying_answers),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_intx),
        cmocka_unit_test(test_asked_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
