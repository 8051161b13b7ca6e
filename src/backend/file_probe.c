/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what a file or block device is and can do, found by asking and by harmless trying; the lock against a
 * second writer. Where it sits: backend/file. Threads: opening and the control thread.
 */
#include "backend/file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

/* Zeroes may have to be written: a range of this much takes a second on a slow disk. */
#define MAX_ZEROES (256u << 20)

int file_probe_size(struct file_backend *f, uint64_t *size)
{
    struct stat st;

    if (f->is_block)
        return ioctl(f->fd, BLKGETSIZE64, size) < 0 ? -errno : 0;
    if (fstat(f->fd, &st) < 0)
        return -errno;
    *size = (uint64_t)st.st_size;
    return 0;
}

/* ------------------------------------------------------------------ sysfs */

static bool sysfs_line(const char *dir, const char *name, char *line, size_t size)
{
    char path[256];
    FILE *file;
    bool ok;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    file = fopen(path, "re");
    if (!file)
        return false;
    ok = fgets(line, (int)size, file) != NULL;
    fclose(file);
    return ok;
}

bool file_probe_lifetime(const char *dir, struct vio_block_info *info)
{
    char line[64];
    unsigned a, b, eol;

    if (!sysfs_line(dir, "device/life_time", line, sizeof line) || sscanf(line, "%x %x", &a, &b) != 2)
        return false;
    if (!sysfs_line(dir, "device/pre_eol_info", line, sizeof line) || sscanf(line, "%x", &eol) != 1)
        return false;
    if (a > UINT16_MAX || b > UINT16_MAX || eol > UINT16_MAX)
        return false;
    info->has_lifetime = true;
    info->life_a = (uint16_t)a;
    info->life_b = (uint16_t)b;
    info->pre_eol = (uint16_t)eol;
    return true;
}

static void probe_sysfs(struct file_backend *f, dev_t dev)
{
    char dir[96], line[64];
    unsigned long value;

    /* A partition's directory lies inside its disk's, which has what belongs to the whole. */
    snprintf(dir, sizeof dir, "/sys/dev/block/%u:%u", major(dev), minor(dev));
    if (!sysfs_line(dir, "queue/discard_granularity", line, sizeof line))
        snprintf(dir, sizeof dir, "/sys/dev/block/%u:%u/..", major(dev), minor(dev));
    if (sysfs_line(dir, "queue/discard_granularity", line, sizeof line)) {
        value = strtoul(line, NULL, 10);
        if (value && value <= UINT32_MAX)
            f->info.discard_granularity = (uint32_t)value;
    }
    file_probe_lifetime(dir, &f->info);
}

/* ------------------------------------------------------------------ what it can do */

/* A range of one byte is refused as such where the device can, and as a whole where it cannot. */
static bool block_ioctl_works(int fd, unsigned long request)
{
    uint64_t range[2] = { 1, 1 };

    return ioctl(fd, request, range) < 0 && errno == EINVAL;
}

static void probe_block(struct file_backend *f, dev_t dev)
{
    unsigned value = 0;
    int logical = 0;

    if (ioctl(f->fd, BLKSSZGET, &logical) == 0 && logical >= (int)VIO_SECTOR)
        f->info.logical_block = (uint32_t)logical;
    f->info.physical_block = f->info.logical_block;
    if (ioctl(f->fd, BLKPBSZGET, &value) == 0 && value > f->info.logical_block)
        f->info.physical_block = value;
    if (ioctl(f->fd, BLKIOMIN, &value) == 0)
        f->info.min_io = value;
    if (ioctl(f->fd, BLKIOOPT, &value) == 0)
        f->info.opt_io = value;
    f->info.discard_granularity = f->info.logical_block;
    probe_sysfs(f, dev);
    if (f->read_only)
        return;
    f->info.can_discard = block_ioctl_works(f->fd, BLKDISCARD);
    f->info.can_secure_erase = block_ioctl_works(f->fd, BLKSECDISCARD);
    f->info.can_zero = f->info.can_zero_unmap = true;
}

static void probe_file(struct file_backend *f, const struct stat *st)
{
    off_t block = st->st_blksize > 0 ? (off_t)st->st_blksize : 4096;
    off_t behind = (st->st_size + block - 1) / block * block;
    struct statfs fs;

    f->in_memory = fstatfs(f->fd, &fs) == 0 &&
                   ((unsigned long)fs.f_type == TMPFS_MAGIC || (unsigned long)fs.f_type == RAMFS_MAGIC);
    f->info.discard_granularity = block <= 1 << 20 ? (uint32_t)block : 4096;
    f->info.physical_block = block >= (off_t)VIO_SECTOR && block <= 65536 ? (uint32_t)block : 4096;
    if (f->read_only)
        return;
    /* Behind the end there is nothing to lose. */
    if (fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, behind, block) < 0)
        f->no_punch = true;
    f->info.can_discard = f->info.can_zero_unmap = !f->no_punch;
    f->info.can_zero = true;
}

/* The smallest alignments with which a read goes through, by trying; 0: none up to a page. */
static void probe_direct(struct file_backend *f, uint64_t size)
{
    static const uint32_t memory[] = { 4, 512, 4096 };
    unsigned char *buffer = aligned_alloc(8192, 16384);

    f->align = 0;
    for (uint32_t align = VIO_SECTOR; buffer && !f->align && align <= 4096; align *= 2) {
        /* At its own multiple, so that a larger alignment does not hide a need for more. */
        off_t at = size >= 2 * (uint64_t)align ? (off_t)align : 0;

        if (pread(f->fd, buffer, align, at) < 0)
            continue;
        f->align = align;
        f->memory_align = 4096;
        for (unsigned i = sizeof memory / sizeof memory[0]; i-- > 0;)
            if (pread(f->fd, buffer + memory[i], align, at) >= 0)
                f->memory_align = memory[i];
            else
                break;
    }
    free(buffer);
}

static int make_direct(struct file_backend *f, uint64_t size, char *why, size_t why_size)
{
    int flags = fcntl(f->fd, F_GETFL);

    if (flags < 0 || fcntl(f->fd, F_SETFL, flags | O_DIRECT) < 0)
        return vio_why(-errno, why, why_size,
                       "%s cannot be opened with O_DIRECT (%s): its file system does not have that", f->name,
                       strerror(errno));
    probe_direct(f, size);
    if (!f->align)
        return vio_why(-EINVAL, why, why_size, "%s refuses every read with O_DIRECT up to blocks of 4096 bytes",
                       f->name);
    if (size % f->align)
        return vio_why(-EINVAL, why, why_size,
                       "%s has %" PRIu64 " bytes, and O_DIRECT there needs whole blocks of %u; the nearest good "
                       "size is %" PRIu64, f->name, size, f->align, (size / f->align + 1) * f->align);
    if (f->align > f->info.logical_block)
        f->info.logical_block = f->align;
    return 0;
}

/* Whether reads can be asked not to wait. Of writes this is found with the first one. */
static void probe_nowait(struct file_backend *f)
{
    char sector[VIO_SECTOR];
    struct iovec iov = { sector, sizeof sector };

    f->no_nowait_read = preadv2(f->fd, &iov, 1, 0, RWF_NOWAIT) < 0 && errno != EAGAIN;
}

int file_probe(struct file_backend *f, char *why, size_t why_size)
{
    struct stat st;
    uint64_t size;
    int ret;

    if (fstat(f->fd, &st) < 0)
        return vio_why(-errno, why, why_size, "%s: %s", f->name, strerror(errno));
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return vio_why(-EINVAL, why, why_size, "%s is a %s: a disk is a file or a block device", f->name,
                       S_ISDIR(st.st_mode)    ? "directory"
                       : S_ISCHR(st.st_mode)  ? "character device"
                       : S_ISFIFO(st.st_mode) ? "pipe"
                                                      : "socket");
    f->is_block = S_ISBLK(st.st_mode);
    ret = file_probe_size(f, &size);
    if (ret < 0)
        return vio_why(ret, why, why_size, "%s: its size cannot be read: %s", f->name, strerror(-ret));
    ret = vio_backend_check_size(size, f->name, why, why_size);
    if (ret < 0)
        return ret;
    f->align = f->memory_align = 1;
    f->info = (struct vio_block_info){
        .logical_block = VIO_SECTOR,
        .physical_block = VIO_SECTOR,
        .max_zeroes = MAX_ZEROES,
        .read_only = f->read_only,
        .can_flush = true,
        .can_fua = true,
    };
    if (f->is_block)
        probe_block(f, st.st_rdev);
    else
        probe_file(f, &st);
    f->size = size;
    probe_nowait(f);
    if (f->in_memory)
        f->direct = false; /* there is no copy to go around */
    return f->direct ? make_direct(f, size, why, why_size) : 0;
}

/* ------------------------------------------------------------------ the lock */

/*
 * The bytes that QEMU locks in an image, so that the two see each other: each permission that a program uses holds
 * a shared lock on 100 + n, and each that it does not grant to others one on 200 + n. 0: consistent reads, 1: writes.
 */
#define LOCK_USED 100
#define LOCK_REFUSED 200
#define LOCK_READS 0
#define LOCK_WRITES 1
/* A vio that was killed holds its lock until the last of its writes is done: exactly as long as one must wait. */
#define LOCK_WAIT_MS 2000u
#define LOCK_NAP_MS 20u

static int lock_byte(int fd, int command, short type, off_t byte)
{
    struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

    if (fcntl(fd, command, &lock) < 0)
        return -errno;
    return command == F_OFD_GETLK && lock.l_type != F_UNLCK ? -EBUSY : 0;
}

static int lock_take(const struct file_backend *f)
{
    int ret = lock_byte(f->fd, F_OFD_SETLK, F_RDLCK, LOCK_USED + LOCK_READS);

    if (ret == 0 && !f->read_only)
        ret = lock_byte(f->fd, F_OFD_SETLK, F_RDLCK, LOCK_USED + LOCK_WRITES);
    if (ret == 0)
        ret = lock_byte(f->fd, F_OFD_SETLK, F_RDLCK, LOCK_REFUSED + LOCK_WRITES);
    /* Ours stand; is somebody there who refuses what we use, or uses what we refuse? */
    if (ret == 0)
        ret = lock_byte(f->fd, F_OFD_GETLK, F_WRLCK, LOCK_REFUSED + LOCK_READS);
    if (ret == 0 && !f->read_only)
        ret = lock_byte(f->fd, F_OFD_GETLK, F_WRLCK, LOCK_REFUSED + LOCK_WRITES);
    if (ret == 0)
        ret = lock_byte(f->fd, F_OFD_GETLK, F_WRLCK, LOCK_USED + LOCK_WRITES);
    return ret == -EACCES || ret == -EAGAIN ? -EBUSY : ret;
}

static void lock_drop(const struct file_backend *f)
{
    struct flock all = { .l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = LOCK_USED, .l_len = 200 };

    fcntl(f->fd, F_OFD_SETLK, &all);
}

int file_lock(struct file_backend *f, char *why, size_t why_size)
{
    /* Of two that start together and see each other, one is back first. */
    const struct timespec nap = { .tv_nsec = (long)(LOCK_NAP_MS + (unsigned)getpid() % 8) * 1000000 };
    int ret = -EBUSY;

    for (unsigned waited = 0; waited < LOCK_WAIT_MS; waited += LOCK_NAP_MS) {
        ret = lock_take(f);
        if (ret != -EBUSY)
            break;
        lock_drop(f);
        nanosleep(&nap, NULL);
    }
    if (ret == 0)
        return 0;
    if (ret == -EBUSY)
        return vio_why(-EBUSY, why, why_size,
                       "%s is in use: another program (vio, QEMU) has it open %s; stop that one, or open it "
                       "read-only in all of them", f->name, f->read_only ? "for writing" : "and locked");
    vio_log(f->log, VIO_LOG_WARNING, f->name, "cannot be locked against a second writer: %s", strerror(-ret));
    return 0;
}
