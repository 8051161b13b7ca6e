/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the file system device's wire layout and constants (virtio 1.4, 5.11), and of the FUSE protocol 7.31 that it carries
 * what a driver of files needs. FUSE numbers have the driver's byte order; a driver of virtio 1 on a little-endian machine and
 * one on a big-endian machine tell which by the opcode of FUSE_INIT (5.11.6.1). Ours is always little-endian.
 * Where it sits: spec/.
 */
#ifndef VIO_SPEC_FS_H
#define VIO_SPEC_FS_H

#include <vio/types.h>

/* virtio 1.4, 5.11.2: queues; without NOTIFICATION requests begin at 1 */
#define VIRTIO_FS_HIPRIO 0u
#define VIRTIO_FS_REQUEST 1u

/* virtio 1.4, 5.11.3: feature bits */
#define VIRTIO_FS_F_NOTIFICATION 0

/* virtio 1.4, 5.11.4: device configuration */
#define VIRTIO_FS_TAG_BYTES 36u
struct virtio_fs_config {
    uint8_t tag[VIRTIO_FS_TAG_BYTES];
    vio_le32 num_request_queues;
    vio_le32 notify_buf_size;
};
_Static_assert(sizeof(struct virtio_fs_config) == 44, "virtio 1.4, 5.11.4");

/* virtio 1.4, 5.11.5.4: the shared memory region of the DAX window */
#define VIRTIO_FS_SHMCAP_ID_CACHE 0u

/* FUSE 7.31 */
#define FUSE_KERNEL_VERSION 7u
#define FUSE_KERNEL_MINOR_VERSION 31u
#define FUSE_ROOT_ID 1u

#define FUSE_LOOKUP 1u
#define FUSE_FORGET 2u
#define FUSE_GETATTR 3u
#define FUSE_MKDIR 9u
#define FUSE_UNLINK 10u
#define FUSE_RMDIR 11u
#define FUSE_OPEN 14u
#define FUSE_READ 15u
#define FUSE_WRITE 16u
#define FUSE_STATFS 17u
#define FUSE_RELEASE 18u
#define FUSE_FSYNC 20u
#define FUSE_INIT 26u
#define FUSE_OPENDIR 27u
#define FUSE_READDIR 28u
#define FUSE_RELEASEDIR 29u
#define FUSE_CREATE 35u
#define FUSE_DESTROY 38u
#define FUSE_SETUPMAPPING 48u
#define FUSE_REMOVEMAPPING 49u

struct fuse_in_header {
    vio_le32 len;
    vio_le32 opcode;
    vio_le64 unique;
    vio_le64 nodeid;
    vio_le32 uid;
    vio_le32 gid;
    vio_le32 pid;
    vio_le32 padding;
};
_Static_assert(sizeof(struct fuse_in_header) == 40, "FUSE 7.31");

struct fuse_out_header {
    vio_le32 len;
    vio_le32 error; /* 0, or a negative error number of Linux */
    vio_le64 unique;
};
_Static_assert(sizeof(struct fuse_out_header) == 16, "FUSE 7.31");

#define FUSE_BIG_WRITES (1u << 5)
#define FUSE_MAP_ALIGNMENT (1u << 26)

struct fuse_init_in {
    vio_le32 major;
    vio_le32 minor;
    vio_le32 max_readahead;
    vio_le32 flags;
};
_Static_assert(sizeof(struct fuse_init_in) == 16, "FUSE 7.31");

struct fuse_init_out {
    vio_le32 major;
    vio_le32 minor;
    vio_le32 max_readahead;
    vio_le32 flags;
    vio_le16 max_background;
    vio_le16 congestion_threshold;
    vio_le32 max_write;
    vio_le32 time_gran; /* from here on not in old answers */
    vio_le16 max_pages;
    vio_le16 map_alignment; /* a power of two */
    vio_le32 unused[8];
};
_Static_assert(sizeof(struct fuse_init_out) == 64, "FUSE 7.31");
#define FUSE_COMPAT_INIT_OUT_SIZE 24u

struct fuse_attr {
    vio_le64 ino;
    vio_le64 size;
    vio_le64 blocks;
    vio_le64 atime;
    vio_le64 mtime;
    vio_le64 ctime;
    vio_le32 atimensec;
    vio_le32 mtimensec;
    vio_le32 ctimensec;
    vio_le32 mode;
    vio_le32 nlink;
    vio_le32 uid;
    vio_le32 gid;
    vio_le32 rdev;
    vio_le32 blksize;
    vio_le32 flags;
};
_Static_assert(sizeof(struct fuse_attr) == 88, "FUSE 7.31");

struct fuse_entry_out {
    vio_le64 nodeid;
    vio_le64 generation;
    vio_le64 entry_valid;
    vio_le64 attr_valid;
    vio_le32 entry_valid_nsec;
    vio_le32 attr_valid_nsec;
    struct fuse_attr attr;
};
_Static_assert(sizeof(struct fuse_entry_out) == 128, "FUSE 7.31");

struct fuse_forget_in {
    vio_le64 nlookup;
};

struct fuse_getattr_in {
    vio_le32 getattr_flags;
    vio_le32 dummy;
    vio_le64 fh;
};

struct fuse_attr_out {
    vio_le64 attr_valid;
    vio_le32 attr_valid_nsec;
    vio_le32 dummy;
    struct fuse_attr attr;
};
_Static_assert(sizeof(struct fuse_attr_out) == 104, "FUSE 7.31");

struct fuse_mkdir_in {
    vio_le32 mode;
    vio_le32 umask;
};

struct fuse_open_in {
    vio_le32 flags;
    vio_le32 open_flags;
};

struct fuse_create_in {
    vio_le32 flags;
    vio_le32 mode;
    vio_le32 umask;
    vio_le32 open_flags;
};

struct fuse_open_out {
    vio_le64 fh;
    vio_le32 open_flags;
    vio_le32 padding;
};
_Static_assert(sizeof(struct fuse_open_out) == 16, "FUSE 7.31");

struct fuse_create_out {
    struct fuse_entry_out entry;
    struct fuse_open_out open;
};
_Static_assert(sizeof(struct fuse_create_out) == 144, "FUSE 7.31");

struct fuse_io_in { /* of READ, READDIR and WRITE */
    vio_le64 fh;
    vio_le64 offset;
    vio_le32 size;
    vio_le32 io_flags;
    vio_le64 lock_owner;
    vio_le32 flags;
    vio_le32 padding;
};
_Static_assert(sizeof(struct fuse_io_in) == 40, "FUSE 7.31");

struct fuse_write_out {
    vio_le32 size;
    vio_le32 padding;
};

struct fuse_release_in {
    vio_le64 fh;
    vio_le32 flags;
    vio_le32 release_flags;
    vio_le64 lock_owner;
};
_Static_assert(sizeof(struct fuse_release_in) == 24, "FUSE 7.31");

struct fuse_fsync_in {
    vio_le64 fh;
    vio_le32 fsync_flags;
    vio_le32 padding;
};

struct fuse_statfs_out {
    vio_le64 blocks;
    vio_le64 bfree;
    vio_le64 bavail;
    vio_le64 files;
    vio_le64 ffree;
    vio_le32 bsize;
    vio_le32 namelen;
    vio_le32 frsize;
    vio_le32 spare[7];
};
_Static_assert(sizeof(struct fuse_statfs_out) == 80, "FUSE 7.31");

struct fuse_dirent { /* the name follows, padded to 8 bytes */
    vio_le64 ino;
    vio_le64 off;
    vio_le32 namelen;
    vio_le32 type;
};
_Static_assert(sizeof(struct fuse_dirent) == 24, "FUSE 7.31");

#define FUSE_SETUPMAPPING_FLAG_WRITE 1u
#define FUSE_SETUPMAPPING_FLAG_READ 2u
struct fuse_setupmapping_in {
    vio_le64 fh;
    vio_le64 foffset;
    vio_le64 len;
    vio_le64 flags;
    vio_le64 moffset;
};
_Static_assert(sizeof(struct fuse_setupmapping_in) == 40, "FUSE 7.31");

struct fuse_removemapping_in { /* with one range */
    vio_le32 count;
    vio_le64 moffset;
    vio_le64 len;
} __attribute__((packed));
_Static_assert(sizeof(struct fuse_removemapping_in) == 20, "FUSE 7.31");

#endif
