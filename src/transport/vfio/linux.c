/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the calls of Linux that this transport makes, as a table. Where it sits: transport/vfio, hosted.
 * Threads: any. Trust: none is needed.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "transport/vfio/vfio.h"

static int sys_open(void *ctx, const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);

    (void)ctx;
    return fd < 0 ? -errno : fd;
}

static void sys_close(void *ctx, int fd)
{
    (void)ctx;
    close(fd);
}

static int sys_ioctl(void *ctx, int fd, unsigned long request, void *arg)
{
    int r = ioctl(fd, request, arg);

    (void)ctx;
    return r < 0 ? -errno : r;
}

static int sys_map(void *ctx, int fd, uint64_t offset, uint64_t len, void **out)
{
    void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);

    (void)ctx;
    if (at == MAP_FAILED)
        return -errno;
    *out = at;
    return 0;
}

static void sys_unmap(void *ctx, void *at, uint64_t len)
{
    (void)ctx;
    munmap(at, len);
}

static int64_t sys_pread(void *ctx, int fd, void *to, size_t n, uint64_t offset)
{
    ssize_t r = pread(fd, to, n, (off_t)offset);

    (void)ctx;
    return r < 0 ? -errno : r;
}

static int64_t sys_pwrite(void *ctx, int fd, const void *from, size_t n, uint64_t offset)
{
    ssize_t r = pwrite(fd, from, n, (off_t)offset);

    (void)ctx;
    return r < 0 ? -errno : r;
}

const struct vfio_sys vfio_sys_linux = {
    .open = sys_open,
    .close = sys_close,
    .ioctl = sys_ioctl,
    .map = sys_map,
    .unmap = sys_unmap,
    .pread = sys_pread,
    .pwrite = sys_pwrite,
    .sysfs = "/sys",
    .dev = "/dev/vfio",
};
