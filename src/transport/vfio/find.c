/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a PCI function by its address: who drives it, its IOMMU group, and what its user must do where it cannot be opened.
 * Where it sits: transport/vfio, hosted. Threads: the control thread. Trust: the address is the user's; sysfs is the kernel's.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/format.h"
#include "spec/pci.h"
#include "transport/vfio/vfio.h"

/* ------------------------------------------------------------------ the address */

static bool hex(const char **at, unsigned digits)
{
    while (digits > 0 && isxdigit((unsigned char)**at)) {
        ++*at;
        digits--;
    }
    return digits == 0;
}

/* DDDD:BB:DD.F, lower case as sysfs has it; the domain may be left out, and may have up to eight digits. */
static int parse(const char *text, char address[VFIO_ADDRESS])
{
    const char *colon = strchr(text, ':'), *at = text;
    bool domain = colon != NULL && strchr(colon + 1, ':') != NULL;
    int n;

    if (domain && (colon - text < 4 || colon - text > 8 || !hex(&at, (unsigned)(colon - text)) || *at++ != ':'))
        return -EINVAL;
    if (!hex(&at, 2) || *at++ != ':' || !hex(&at, 2) || *at++ != '.' || *at < '0' || *at > '7' || at[1] != '\0')
        return -EINVAL;
    n = snprintf(address, VFIO_ADDRESS, "%s%s", domain ? "" : "0000:", text);
    if (n < 0 || n >= VFIO_ADDRESS)
        return -EINVAL;
    for (char *c = address; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    return 0;
}

/* ------------------------------------------------------------------ sysfs */

/* The last part of what a link of the function names. -ENOENT: there is no such link. */
static int link_of(const struct vfio_sys *sys, const char *address, const char *link, char name[VFIO_PATH])
{
    char path[VFIO_PATH], target[VFIO_PATH];
    const char *last;
    ssize_t n;

    snprintf(path, sizeof(path), "%s/bus/pci/devices/%s%s", sys->sysfs, address, link);
    n = readlink(path, target, sizeof(target) - 1);
    if (n < 0)
        return -errno;
    target[n] = '\0';
    last = strrchr(target, '/');
    snprintf(name, VFIO_PATH, "%s", last != NULL ? last + 1 : target);
    return 0;
}

static bool exists(const struct vfio_sys *sys, const char *address)
{
    char path[VFIO_PATH];

    snprintf(path, sizeof(path), "%s/bus/pci/devices/%s", sys->sysfs, address);
    return access(path, F_OK) == 0;
}

/* The first bytes of a file below sysfs; "" where there is none. */
static void read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 0;

    if (fd >= 0) {
        n = read(fd, text, size - 1);
        close(fd);
    }
    text[n > 0 ? n : 0] = '\0';
}

/* A group that VFIO made up for a function without an IOMMU has a name that says so. */
static bool group_is_no_iommu(const struct vfio_sys *sys, unsigned number)
{
    char path[VFIO_PATH], name[32];

    snprintf(path, sizeof(path), "%s/kernel/iommu_groups/%u/name", sys->sysfs, number);
    read_text(path, name, sizeof(name));
    return strncmp(name, "vfio-noiommu", 12) == 0;
}

/* Nobody shall take a function from its driver because of a wrong address. Where sysfs does not tell, its own registers will. */
static int check_vendor(const struct vfio_sys *sys, const char *address, char *why)
{
    char path[VFIO_PATH], vendor[16];

    snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/vendor", sys->sysfs, address);
    read_text(path, vendor, sizeof(vendor));
    if (vendor[0] == '\0' || strtoul(vendor, NULL, 16) == VIRTIO_PCI_VENDOR)
        return 0;
    vio_format(why, VIO_DRV_WHY, "pci@%s is no virtio device: its vendor is 0x%lx (virtio 1.4, 4.1.2)", address,
               strtoul(vendor, NULL, 16));
    return -ENODEV;
}

/* vfio-pci itself, or one of those that add to it for some devices: virtio_vfio_pci. */
static bool is_vfio(const char *driver)
{
    size_t n = strlen(driver);

    return n >= 8 && (strcmp(driver + n - 8, "vfio-pci") == 0 || strcmp(driver + n - 8, "vfio_pci") == 0);
}

/* ------------------------------------------------------------------ sentences */

static int not_ours(const char *address, const char *driver, char *why)
{
    if (driver != NULL)
        vio_format(why, VIO_DRV_WHY, "pci@%s is driven by %s: cd /sys/bus/pci/devices/%s; echo vfio-pci >driver_override; echo %s "
                   ">driver/unbind; echo %s >/sys/bus/pci/drivers_probe", address, driver, address, address, address);
    else
        vio_format(why, VIO_DRV_WHY, "pci@%s has no driver: modprobe vfio-pci; echo vfio-pci >/sys/bus/pci/devices/%s/"
                   "driver_override; echo %s >/sys/bus/pci/drivers_probe", address, address, address);
    return -ENODEV;
}

static int no_iommu(const char *address, char *why)
{
    vio_format(why, VIO_DRV_WHY, "pci@%s has no IOMMU: turn it on (intel_iommu=on), or do without protection: "
               "echo 1 >/sys/module/vfio/parameters/enable_unsafe_noiommu_mode, and bind it again", address);
    return -ENODEV;
}

/* ------------------------------------------------------------------ finding it */

static int find_group(const struct vfio_sys *sys, struct vfio_place *out, char *why)
{
    char name[VFIO_PATH], *end;
    unsigned long number;

    if (link_of(sys, out->address, "/iommu_group", name) != 0)
        return no_iommu(out->address, why);
    errno = 0;
    number = strtoul(name, &end, 10);
    if (errno != 0 || end == name || *end != '\0' || number > UINT32_MAX) {
        vio_format(why, VIO_DRV_WHY, "pci@%s: its IOMMU group is '%.64s', which is no number", out->address, name);
        return -EPROTO;
    }
    out->number = (unsigned)number;
    out->no_iommu = group_is_no_iommu(sys, out->number);
    snprintf(out->group, sizeof(out->group), "%s/%s%u", sys->dev, out->no_iommu ? "noiommu-" : "", out->number);
    return 0;
}

int vfio_find(const struct vfio_sys *sys, const char *address, struct vfio_place *out, char *why)
{
    char driver[VFIO_PATH], group[VFIO_PATH];
    int r;

    *out = (struct vfio_place){ 0 };
    if (address == NULL || parse(address, out->address) != 0) {
        vio_format(why, VIO_DRV_WHY, "'%s' is no address of a PCI function, as 0000:00:04.0 is one", address != NULL ? address : "");
        return -EINVAL;
    }
    if (!exists(sys, out->address)) {
        vio_format(why, VIO_DRV_WHY, "there is no PCI function %s (ls /sys/bus/pci/devices)", out->address);
        return -ENODEV;
    }
    r = check_vendor(sys, out->address, why);
    if (r != 0)
        return r;
    r = link_of(sys, out->address, "/driver", driver);
    if (r == 0 && is_vfio(driver))
        return find_group(sys, out, why);
    /* Without a group vfio-pci does not take it: then binding is not the first thing to do. */
    if (link_of(sys, out->address, "/iommu_group", group) != 0)
        return no_iommu(out->address, why);
    return not_ours(out->address, r == 0 ? driver : NULL, why);
}

/* Drivers that do no DMA of their own do not stand in the way. */
static bool in_the_way(const char *driver)
{
    return !is_vfio(driver) && strcmp(driver, "pci-stub") != 0 && strcmp(driver, "pcieport") != 0;
}

void vfio_group_others(const struct vfio_sys *sys, const struct vfio_place *place, char *why)
{
    char path[VFIO_PATH], driver[VFIO_PATH], others[96] = "";
    struct dirent *entry;
    size_t used = 0;
    DIR *folder;

    snprintf(path, sizeof(path), "%s/kernel/iommu_groups/%u/devices", sys->sysfs, place->number);
    folder = opendir(path);
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        int n;

        if (entry->d_name[0] == '.' || strcmp(entry->d_name, place->address) == 0 ||
            link_of(sys, entry->d_name, "/driver", driver) != 0 || !in_the_way(driver))
            continue;
        n = snprintf(others + used, sizeof(others) - used, " %s (%s)", entry->d_name, driver);
        if (n < 0 || (size_t)n >= sizeof(others) - used) {
            others[used] = '\0'; /* as many as there is room for, whole */
            break;
        }
        used += (size_t)n;
    }
    if (folder != NULL)
        closedir(folder);
    vio_format(why, VIO_DRV_WHY, "pci@%s: others of its IOMMU group %u have drivers, and are to be bound to vfio-pci too, or to "
               "none:%s", place->address, place->number, others);
}
