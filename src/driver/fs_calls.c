/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the file system driver's calls: nodes, files, directories, mappings (virtio 1.4, 5.11.6). Where it sits: driver/,
 * freestanding. Threads: the owner's.
 * Trust: counts of bytes are held against what was asked for; entries of a listing against the bytes that came.
 */
#include <errno.h>
#include <string.h>
#include "driver/fs_internal.h"

/* ------------------------------------------------------------------ nodes */

static struct vio_drv_fs_attr attr_of(const struct fuse_attr *a)
{
    return (struct vio_drv_fs_attr){
        .ino = vio_cpu(a->ino), .size = vio_cpu(a->size), .blocks = vio_cpu(a->blocks), .atime = vio_cpu(a->atime),
        .mtime = vio_cpu(a->mtime), .ctime = vio_cpu(a->ctime), .mode = vio_cpu(a->mode), .nlink = vio_cpu(a->nlink),
        .uid = vio_cpu(a->uid), .gid = vio_cpu(a->gid),
    };
}

static int entry_of(const struct fuse_entry_out *out, struct vio_drv_fs_entry *entry)
{
    *entry = (struct vio_drv_fs_entry){ .node = vio_cpu(out->nodeid), .attr = attr_of(&out->attr) };
    return entry->node != 0 ? 0 : -ENOENT; /* so the protocol says that there is nothing, for a while */
}

int vio_drv_fs_lookup(struct vio_drv_fs *f, uint64_t parent, const char *name, struct vio_drv_fs_entry *entry, uint64_t ns)
{
    struct fuse_entry_out out;
    struct drv_fs_call call = {
        .opcode = FUSE_LOOKUP, .node = parent, .name = name, .answer = &out, .answer_min = sizeof(out), .answer_max = sizeof(out),
    };
    int error = drv_fs_call(f, &call, ns);

    return error < 0 ? error : entry_of(&out, entry);
}

/* The next component of a path; NULL: it has ended. */
static const char *component(const char **path, char *name)
{
    uint32_t n = 0;

    while (**path == '/')
        (*path)++;
    if (**path == 0)
        return NULL;
    for (; **path != 0 && **path != '/'; (*path)++)
        if (n <= VIO_DRV_FS_NAME_MAX)
            name[n++] = **path; /* one too many stays, and is refused */
    name[n] = 0;
    return name;
}

int vio_drv_fs_walk(struct vio_drv_fs *f, const char *path, struct vio_drv_fs_entry *entry, uint64_t ns)
{
    char name[VIO_DRV_FS_NAME_MAX + 2];
    uint64_t at = VIO_DRV_FS_ROOT;
    const char *next = component(&path, name);
    int error = 0;

    *entry = (struct vio_drv_fs_entry){ .node = VIO_DRV_FS_ROOT };
    if (next == NULL)
        return vio_drv_fs_getattr(f, VIO_DRV_FS_ROOT, &entry->attr, ns);
    for (; error == 0 && next != NULL; next = component(&path, name)) {
        int forgot = 0;

        error = vio_drv_fs_lookup(f, at, next, entry, ns);
        if (at != VIO_DRV_FS_ROOT)
            forgot = vio_drv_fs_forget(f, at, 1, ns);
        at = entry->node;
        if (error == 0)
            error = forgot;
    }
    return error;
}

int vio_drv_fs_getattr(struct vio_drv_fs *f, uint64_t node, struct vio_drv_fs_attr *attr, uint64_t ns)
{
    struct fuse_getattr_in in = { .fh = vio_le64_of(0) };
    struct fuse_attr_out out;
    struct drv_fs_call call = {
        .opcode = FUSE_GETATTR, .node = node, .args = &in, .args_len = sizeof(in), .answer = &out, .answer_min = sizeof(out),
        .answer_max = sizeof(out),
    };
    int error = drv_fs_call(f, &call, ns);

    if (error < 0)
        return error;
    *attr = attr_of(&out.attr);
    return 0;
}

int vio_drv_fs_statfs(struct vio_drv_fs *f, struct vio_drv_fs_stat *stat, uint64_t ns)
{
    struct fuse_statfs_out out;
    struct drv_fs_call call = {
        .opcode = FUSE_STATFS, .node = VIO_DRV_FS_ROOT, .answer = &out, .answer_min = sizeof(out), .answer_max = sizeof(out),
    };
    int error = drv_fs_call(f, &call, ns);

    if (error < 0)
        return error;
    *stat = (struct vio_drv_fs_stat){
        .blocks = vio_cpu(out.blocks), .free = vio_cpu(out.bfree), .available = vio_cpu(out.bavail),
        .files = vio_cpu(out.files), .files_free = vio_cpu(out.ffree), .block_size = vio_cpu(out.bsize),
        .name_max = vio_cpu(out.namelen),
    };
    return 0;
}

/* ------------------------------------------------------------------ files */

static int open_node(struct vio_drv_fs *f, uint32_t opcode, uint64_t node, uint32_t flags, uint64_t *handle, uint64_t ns)
{
    struct fuse_open_in in = { .flags = vio_le32_of(flags) };
    struct fuse_open_out out;
    struct drv_fs_call call = {
        .opcode = opcode, .node = node, .args = &in, .args_len = sizeof(in), .answer = &out, .answer_min = sizeof(out),
        .answer_max = sizeof(out),
    };
    int error = drv_fs_call(f, &call, ns);

    if (error < 0)
        return error;
    *handle = vio_cpu(out.fh);
    return 0;
}

static int release_node(struct vio_drv_fs *f, uint32_t opcode, uint64_t node, uint64_t handle, uint64_t ns)
{
    struct fuse_release_in in = { .fh = vio_le64_of(handle) };
    struct drv_fs_call call = { .opcode = opcode, .node = node, .args = &in, .args_len = sizeof(in) };
    int error = drv_fs_call(f, &call, ns);

    return error < 0 ? error : 0;
}

int vio_drv_fs_open(struct vio_drv_fs *f, uint64_t node, uint32_t flags, uint64_t *handle, uint64_t ns)
{
    return open_node(f, FUSE_OPEN, node, flags, handle, ns);
}

int vio_drv_fs_release(struct vio_drv_fs *f, uint64_t node, uint64_t handle, uint64_t ns)
{
    return release_node(f, FUSE_RELEASE, node, handle, ns);
}

int vio_drv_fs_create(struct vio_drv_fs *f, uint64_t parent, const char *name, uint32_t flags, uint32_t mode,
                      struct vio_drv_fs_entry *entry, uint64_t *handle, uint64_t ns)
{
    struct fuse_create_in in = { .flags = vio_le32_of(flags | 0x40), .mode = vio_le32_of(mode) }; /* O_CREAT */
    struct fuse_create_out out;
    struct drv_fs_call call = {
        .opcode = FUSE_CREATE, .node = parent, .args = &in, .args_len = sizeof(in), .name = name, .answer = &out,
        .answer_min = sizeof(out), .answer_max = sizeof(out),
    };
    int error = drv_fs_call(f, &call, ns);

    if (error < 0)
        return error;
    *handle = vio_cpu(out.open.fh);
    return entry_of(&out.entry, entry);
}

static struct fuse_io_in io_of(uint64_t handle, uint64_t offset, uint32_t n)
{
    return (struct fuse_io_in){ .fh = vio_le64_of(handle), .offset = vio_le64_of(offset), .size = vio_le32_of(n) };
}

/* One request into the bounce buffer: bytes that came, or -errno. */
static int read_some(struct vio_drv_fs *f, uint32_t opcode, uint64_t node, uint64_t handle, uint64_t offset, uint32_t n, uint64_t ns)
{
    struct fuse_io_in in = io_of(handle, offset, n);
    struct drv_fs_call call = { .opcode = opcode, .node = node, .args = &in, .args_len = sizeof(in), .data_in = n };

    return drv_fs_call(f, &call, ns); /* no more than n: the ring has checked that */
}

int vio_drv_fs_read(struct vio_drv_fs *f, uint64_t node, uint64_t handle, uint64_t offset, void *to, uint32_t n, uint64_t ns)
{
    uint8_t *at = to;
    uint32_t done = 0;

    n = vio_min_u32(n, INT32_MAX);
    if (n > UINT64_MAX - offset)
        return -EINVAL;
    while (done < n) {
        uint32_t now = vio_min_u32(n - done, VIO_DRV_FS_BOUNCE);
        int got = read_some(f, FUSE_READ, node, handle, offset + done, now, ns);

        if (got < 0)
            return done > 0 ? (int)done : got;
        memcpy(at + done, f->bounce.host, (size_t)got);
        done += (uint32_t)got;
        if ((uint32_t)got < now)
            break;
    }
    return (int)done;
}

int vio_drv_fs_write(struct vio_drv_fs *f, uint64_t node, uint64_t handle, uint64_t offset, const void *from, uint32_t n,
                     uint64_t ns)
{
    uint32_t most = vio_min_u32(f->max_write, VIO_DRV_FS_BOUNCE), done = 0;
    const uint8_t *at = from;

    n = vio_min_u32(n, INT32_MAX);
    if (n > UINT64_MAX - offset)
        return -EINVAL;
    while (done < n) {
        uint32_t now = vio_min_u32(n - done, most), took;
        struct fuse_io_in in = io_of(handle, offset + done, now);
        struct fuse_write_out out;
        struct drv_fs_call call = {
            .opcode = FUSE_WRITE, .node = node, .args = &in, .args_len = sizeof(in), .data_out = now, .answer = &out,
            .answer_min = sizeof(out), .answer_max = sizeof(out),
        };
        int error = -EBUSY;

        /* What timed out may still be read by the device: its bytes stay. */
        if (!f->late) {
            memcpy(f->bounce.host, at + done, now);
            error = drv_fs_call(f, &call, ns);
        }
        took = error >= 0 ? vio_cpu(out.size) : 0;
        if (error >= 0 && took > now)
            error = -EPROTO;
        if (error < 0)
            return done > 0 ? (int)done : error;
        done += took;
        if (took < now)
            break;
    }
    return (int)done;
}

int vio_drv_fs_fsync(struct vio_drv_fs *f, uint64_t node, uint64_t handle, uint64_t ns)
{
    struct fuse_fsync_in in = { .fh = vio_le64_of(handle) };
    struct drv_fs_call call = { .opcode = FUSE_FSYNC, .node = node, .args = &in, .args_len = sizeof(in) };
    int error = drv_fs_call(f, &call, ns);

    return error < 0 ? error : 0;
}

/* ------------------------------------------------------------------ directories */

int vio_drv_fs_opendir(struct vio_drv_fs *f, uint64_t node, uint64_t *handle, uint64_t ns)
{
    return open_node(f, FUSE_OPENDIR, node, VIO_DRV_FS_READ, handle, ns);
}

int vio_drv_fs_releasedir(struct vio_drv_fs *f, uint64_t node, uint64_t handle, uint64_t ns)
{
    return release_node(f, FUSE_RELEASEDIR, node, handle, ns);
}

/* One entry from `len` bytes at `at`: how many it takes, or -EPROTO. Copied first: the device can write there still. */
static int dirent_of(const uint8_t *at, uint32_t len, struct vio_drv_fs_dirent *entry, uint64_t *offset)
{
    struct fuse_dirent wire;
    uint32_t bytes;

    if (len < sizeof(wire))
        return -EPROTO;
    memcpy(&wire, at, sizeof(wire));
    entry->len = vio_cpu(wire.namelen);
    if (entry->len == 0 || entry->len > VIO_DRV_FS_NAME_MAX || entry->len > len - sizeof(wire))
        return -EPROTO;
    memcpy(entry->name, at + sizeof(wire), entry->len);
    entry->name[entry->len] = 0;
    for (uint32_t i = 0; i < entry->len; i++)
        if (entry->name[i] == 0 || entry->name[i] == '/')
            return -EPROTO;
    entry->ino = vio_cpu(wire.ino);
    entry->type = vio_cpu(wire.type);
    *offset = vio_cpu(wire.off);
    bytes = ((uint32_t)sizeof(wire) + entry->len + 7) & ~7u;
    return (int)vio_min_u32(bytes, len); /* the last one may come without its padding */
}

int vio_drv_fs_readdir(struct vio_drv_fs *f, uint64_t node, uint64_t handle, uint64_t *offset,
                       void (*each)(void *ctx, const struct vio_drv_fs_dirent *entry), void *ctx, uint64_t ns)
{
    uint64_t from = *offset, next = from;
    int got = read_some(f, FUSE_READDIR, node, handle, from, VIO_DRV_FS_BOUNCE, ns), n = 0;
    uint32_t at = 0;

    if (got < 0)
        return got;
    while (at < (uint32_t)got) {
        struct vio_drv_fs_dirent entry;
        int bytes = dirent_of(f->bounce.host + at, (uint32_t)got - at, &entry, &next);

        if (bytes < 0)
            return bytes;
        each(ctx, &entry);
        at += (uint32_t)bytes;
        n++;
    }
    if (n > 0 && next == from)
        return -EPROTO; /* a listing that does not move has no end */
    *offset = next;
    return n;
}

int vio_drv_fs_mkdir(struct vio_drv_fs *f, uint64_t parent, const char *name, uint32_t mode, struct vio_drv_fs_entry *entry,
                     uint64_t ns)
{
    struct fuse_mkdir_in in = { .mode = vio_le32_of(mode) };
    struct fuse_entry_out out;
    struct drv_fs_call call = {
        .opcode = FUSE_MKDIR, .node = parent, .args = &in, .args_len = sizeof(in), .name = name, .answer = &out,
        .answer_min = sizeof(out), .answer_max = sizeof(out),
    };
    int error = drv_fs_call(f, &call, ns);

    return error < 0 ? error : entry_of(&out, entry);
}

static int remove_name(struct vio_drv_fs *f, uint32_t opcode, uint64_t parent, const char *name, uint64_t ns)
{
    struct drv_fs_call call = { .opcode = opcode, .node = parent, .name = name };
    int error = drv_fs_call(f, &call, ns);

    return error < 0 ? error : 0;
}

int vio_drv_fs_unlink(struct vio_drv_fs *f, uint64_t parent, const char *name, uint64_t ns)
{
    return remove_name(f, FUSE_UNLINK, parent, name, ns);
}

int vio_drv_fs_rmdir(struct vio_drv_fs *f, uint64_t parent, const char *name, uint64_t ns)
{
    return remove_name(f, FUSE_RMDIR, parent, name, ns);
}

/* ------------------------------------------------------------------ the window */

void *vio_drv_fs_window(const struct vio_drv_fs *f, uint64_t *len)
{
    *len = f->window.host != NULL ? f->window.len : 0;
    return f->window.host;
}

static int check_window(const struct vio_drv_fs *f, uint64_t at, uint64_t len)
{
    if (f->window.host == NULL)
        return -ENOTSUP;
    if (len == 0 || (at | len) % f->map_align != 0)
        return -EINVAL;
    return vio_range_ok(at, len, f->window.len) ? 0 : -ERANGE;
}

int vio_drv_fs_map(struct vio_drv_fs *f, uint64_t node, uint64_t handle, uint64_t offset, uint64_t len, uint64_t at, bool writable,
                   uint64_t ns)
{
    struct fuse_setupmapping_in in = {
        .fh = vio_le64_of(handle), .foffset = vio_le64_of(offset), .len = vio_le64_of(len), .moffset = vio_le64_of(at),
        .flags = vio_le64_of(FUSE_SETUPMAPPING_FLAG_READ | (writable ? FUSE_SETUPMAPPING_FLAG_WRITE : 0u)),
    };
    struct drv_fs_call call = { .opcode = FUSE_SETUPMAPPING, .node = node, .args = &in, .args_len = sizeof(in) };
    int error = check_window(f, at, len);

    if (error == 0 && offset % f->map_align != 0)
        error = -EINVAL;
    if (error == 0)
        error = drv_fs_call(f, &call, ns);
    return error < 0 ? error : 0;
}

int vio_drv_fs_unmap(struct vio_drv_fs *f, uint64_t node, uint64_t at, uint64_t len, uint64_t ns)
{
    struct fuse_removemapping_in in = { .count = vio_le32_of(1), .moffset = vio_le64_of(at), .len = vio_le64_of(len) };
    struct drv_fs_call call = { .opcode = FUSE_REMOVEMAPPING, .node = node, .args = &in, .args_len = sizeof(in) };
    int error = check_window(f, at, len);

    if (error == 0)
        error = drv_fs_call(f, &call, ns);
    return error < 0 ? error : 0;
}
