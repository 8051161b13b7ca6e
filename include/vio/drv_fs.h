/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the driver of file system devices (virtio 1.4, 5.11): a FUSE session, by calls that wait: find, list, read, write,
 * create, remove, and map files where the device has a window for that.
 * Where it sits: driver/, over driver/core; freestanding.
 * Threads: one owner, which makes all of these calls and is the control thread of the device; one request at a time.
 * Trust: the device is hostile. Each answer is held against the request: its number, its length, the range of its error;
 * names in listings are checked; what is in a mapped file changes as the device likes.
 */
#ifndef VIO_DRV_FS_H
#define VIO_DRV_FS_H

#include <vio/driver.h>

VIO_PUBLIC_BEGIN

enum {
    VIO_DRV_FS_ROOT = 1,        /* the node that everything is found from */
    VIO_DRV_FS_NAME_MAX = 255,  /* bytes of one name */
    VIO_DRV_FS_TAG = 37,        /* bytes of a tag, with the 0 behind it */
    VIO_DRV_FS_BOUNCE = 64 << 10,

    /* Flags of open and create: numbers of Linux, on every machine. */
    VIO_DRV_FS_READ = 0,
    VIO_DRV_FS_WRITE = 1,
    VIO_DRV_FS_READ_WRITE = 2,
    VIO_DRV_FS_EXCLUSIVE = 0x80,
    VIO_DRV_FS_TRUNCATE = 0x200,

    /* Kinds, in mode. */
    VIO_DRV_FS_KIND = 0xf000,
    VIO_DRV_FS_DIRECTORY = 0x4000,
    VIO_DRV_FS_FILE = 0x8000,
};

struct vio_drv_fs_params {
    uint32_t uid, gid; /* who asks */
    /*
     * Not NULL: the configuration is not read, and this is the tag. File servers over vhost-user have no configuration: their
     * front-end keeps it. Borrowed.
     */
    const char *tag;
};

/* All defaults: root asks. */
extern const struct vio_driver vio_driver_fs;

/* The same driver, wanted otherwise: `driver` goes to the bus, and this outlives its devices. */
struct vio_drv_fs_driver {
    struct vio_driver driver;
    struct vio_drv_fs_params params;
};
void vio_drv_fs_driver(struct vio_drv_fs_driver *driver, const struct vio_drv_fs_params *params);

struct vio_drv_fs;

/* NULL: this device is not run by this driver, or does not run. */
struct vio_drv_fs *vio_drv_fs_of(struct vio_drvdev *d);
/* The name it is mounted by; printable. */
void vio_drv_fs_tag(const struct vio_drv_fs *f, char tag[VIO_DRV_FS_TAG]);

struct vio_drv_fs_attr {
    uint64_t ino, size, blocks; /* blocks of 512 bytes */
    uint64_t atime, mtime, ctime; /* seconds */
    uint32_t mode, nlink, uid, gid;
};

/* A node that was found: to be forgotten as often. */
struct vio_drv_fs_entry {
    uint64_t node;
    struct vio_drv_fs_attr attr;
};

struct vio_drv_fs_dirent {
    uint64_t ino;
    uint32_t type; /* of Linux's directory entries: 4 a directory, 8 a file */
    uint32_t len;
    char name[VIO_DRV_FS_NAME_MAX + 1]; /* no '/', no 0 but the one behind it */
};

struct vio_drv_fs_stat {
    uint64_t blocks, free, available, files, files_free;
    uint32_t block_size, name_max;
};

/*
 * All wait, at most `ns` for each answer. An error of the file system's is its error number of Linux, negative. Of our own:
 * -ETIMEDOUT: and -EBUSY from then on until the answer comes; -EPROTO: an answer that cannot be; -EINVAL: no session, or
 * a name that cannot be; -ENAMETOOLONG; -EIO: broken.
 */
/* The session; before everything else, once. */
int vio_drv_fs_start(struct vio_drv_fs *f, uint64_t ns) VIO_MUST_CHECK;
int vio_drv_fs_end(struct vio_drv_fs *f, uint64_t ns) VIO_MUST_CHECK;

int vio_drv_fs_lookup(struct vio_drv_fs *f, uint64_t parent, const char *name, struct vio_drv_fs_entry *entry, uint64_t ns)
    VIO_MUST_CHECK;
/* By a path of names with '/' between; "" is the root. */
int vio_drv_fs_walk(struct vio_drv_fs *f, const char *path, struct vio_drv_fs_entry *entry, uint64_t ns) VIO_MUST_CHECK;
/* Needs no answer, and waits only where the queue is full. */
int vio_drv_fs_forget(struct vio_drv_fs *f, uint64_t node, uint64_t times, uint64_t ns) VIO_MUST_CHECK;
int vio_drv_fs_getattr(struct vio_drv_fs *f, uint64_t node, struct vio_drv_fs_attr *attr, uint64_t ns) VIO_MUST_CHECK;
int vio_drv_fs_statfs(struct vio_drv_fs *f, struct vio_drv_fs_stat *stat, uint64_t ns) VIO_MUST_CHECK;

int vio_drv_fs_open(struct vio_drv_fs *f, uint64_t node, uint32_t flags, uint64_t *handle, uint64_t ns) VIO_MUST_CHECK;
int vio_drv_fs_create(struct vio_drv_fs *f, uint64_t parent, const char *name, uint32_t flags, uint32_t mode,
                      struct vio_drv_fs_entry *entry, uint64_t *handle, uint64_t ns) VIO_MUST_CHECK;
int vio_drv_fs_release(struct vio_drv_fs *f, uint64_t node, uint64_t handle, uint64_t ns) VIO_MUST_CHECK;
/* As many requests as it takes. How many bytes; fewer: the file's end, or the device took no more. At most INT32_MAX. */
int vio_drv_fs_read(struct vio_drv_fs *f, uint64_t node, uint64_t handle, uint64_t offset, void *to, uint32_t n, uint64_t ns)
    VIO_MUST_CHECK;
int vio_drv_fs_write(struct vio_drv_fs *f, uint64_t node, uint64_t handle, uint64_t offset, const void *from, uint32_t n,
                     uint64_t ns) VIO_MUST_CHECK;
int vio_drv_fs_fsync(struct vio_drv_fs *f, uint64_t node, uint64_t handle, uint64_t ns) VIO_MUST_CHECK;

int vio_drv_fs_opendir(struct vio_drv_fs *f, uint64_t node, uint64_t *handle, uint64_t ns) VIO_MUST_CHECK;
int vio_drv_fs_releasedir(struct vio_drv_fs *f, uint64_t node, uint64_t handle, uint64_t ns) VIO_MUST_CHECK;
/* Some entries from *offset (0: the first) on, which moves; how many, 0: the end. "." and ".." are among them. */
int vio_drv_fs_readdir(struct vio_drv_fs *f, uint64_t node, uint64_t handle, uint64_t *offset,
                       void (*each)(void *ctx, const struct vio_drv_fs_dirent *entry), void *ctx, uint64_t ns) VIO_MUST_CHECK;

int vio_drv_fs_mkdir(struct vio_drv_fs *f, uint64_t parent, const char *name, uint32_t mode, struct vio_drv_fs_entry *entry,
                     uint64_t ns) VIO_MUST_CHECK;
int vio_drv_fs_unlink(struct vio_drv_fs *f, uint64_t parent, const char *name, uint64_t ns) VIO_MUST_CHECK;
int vio_drv_fs_rmdir(struct vio_drv_fs *f, uint64_t parent, const char *name, uint64_t ns) VIO_MUST_CHECK;

/*
 * The window (DAX): bytes of a file appear at `at` of it, until unmapped. NULL: this device, or its transport, has none.
 * -ENOTSUP: so; -ERANGE: not inside it; -EINVAL: not aligned as the device asks.
 */
void *vio_drv_fs_window(const struct vio_drv_fs *f, uint64_t *len);
int vio_drv_fs_map(struct vio_drv_fs *f, uint64_t node, uint64_t handle, uint64_t offset, uint64_t len, uint64_t at, bool writable,
                   uint64_t ns) VIO_MUST_CHECK;
int vio_drv_fs_unmap(struct vio_drv_fs *f, uint64_t node, uint64_t at, uint64_t len, uint64_t ns) VIO_MUST_CHECK;

VIO_PUBLIC_END

#endif
