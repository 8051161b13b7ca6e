/* SPDX-License-Identifier: MIT */
/*
 * Purpose: fuzz target: the answers of VFIO with capabilities behind them, as a kernel gives them that passes on what a device says:
 * how long each is, and what is in it. The first byte chooses whether it tells of a BAR or of an IOMMU.
 * Invariants: nothing is read outside the answer, a list ends, what may be mapped lies in the BAR, a range is one.
 */
#include <linux/vfio.h>
#include <string.h>

#include "fuzz.h"
#include "transport/vfio/vfio.h"

/* Fills as much as the caller has room for, and says how long it would be. */
static int kernel(void *ctx, int fd, unsigned long request, void *arg)
{
    struct input *in = ctx;
    uint32_t room, said = input_u16(in);

    (void)fd;
    (void)request;
    memcpy(&room, arg, sizeof(room));
    if (input_u8(in) % 16 == 1)
        return -22;
    for (uint32_t i = 4; i < room && in->left > 0; i++)
        ((uint8_t *)arg)[i] = input_u8(in);
    if (said % 4 == 0)
        said = room + 16 * (said / 4 % 64); /* mostly something near */
    memcpy(arg, &said, sizeof(said));
    return 0;
}

static void check_bar(const void *info, size_t size)
{
    struct vfio_area areas[VFIO_AREAS_MAX];
    struct vfio_region_info region;
    unsigned nr = 0;

    if (vfio_areas(info, size, areas, &nr) != 0)
        return;
    memcpy(&region, info, sizeof(region));
    FUZZ_CHECK(nr <= VFIO_AREAS_MAX);
    for (unsigned i = 0; i < nr; i++)
        FUZZ_CHECK(areas[i].size > 0 && vio_range_ok(areas[i].offset, areas[i].size, region.size));
}

static void check_iommu(const void *info, size_t size, uint64_t addr)
{
    struct vfio_range ranges[VFIO_RANGES_MAX];
    bool inside = false;
    unsigned nr = 0;

    if (vfio_ranges(info, size, ranges, &nr) != 0)
        return;
    FUZZ_CHECK(nr <= VFIO_RANGES_MAX);
    for (unsigned i = 0; i < nr; i++) {
        FUZZ_CHECK(ranges[i].first <= ranges[i].last);
        inside |= addr >= ranges[i].first && addr <= ranges[i].last;
    }
    FUZZ_CHECK(vfio_range_takes(ranges, nr, addr, 1) == (inside || nr == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { data, size };
    const struct vfio_sys sys = { .ioctl = kernel, .ctx = &in };
    struct vfio_region_info bar = { .index = 4 };
    struct vfio_iommu_type1_info iommu = { 0 };
    bool is_bar = (input_u8(&in) & 1) != 0;
    uint64_t addr = input_u64(&in);
    size_t bytes = 0;
    void *info;
    int r;

    if (is_bar)
        r = vfio_ask(&sys, 0, VFIO_DEVICE_GET_REGION_INFO, &bar, sizeof(bar), &info, &bytes);
    else
        r = vfio_ask(&sys, 0, VFIO_IOMMU_GET_INFO, &iommu, sizeof(iommu), &info, &bytes);
    if (r != 0)
        return 0;
    if (is_bar)
        check_bar(info, bytes);
    else
        check_iommu(info, bytes, addr);
    free(info);
    return 0;
}
