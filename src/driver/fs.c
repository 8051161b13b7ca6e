/* SPDX-License-Identifier: MIT */
/*
 * Purpose: FUSE requests over the file system device's queues (virtio 1.4, 5.11.6): one there and its answer back; messages
 * without an answer on the high priority queue. Where it sits: driver/, freestanding. Threads: the owner's.
 * Trust: an answer's header is copied once and judged on the copy: its length against what the ring says came, its number
 * against the request's, its error against the range of errors.
 */
#include <errno.h>
#include <string.h>
#include "driver/fs_internal.h"

enum { ERROR_MAX = 4095 };

static int ready(struct vio_drv_fs *f)
{
    struct vio_done done;

    if (vio_drvdev_status(f->d) != VIO_DRVDEV_RUNS)
        return -EIO;
    if (f->late && vio_drvq_collect(vio_drvdev_queue(f->d, VIRTIO_FS_REQUEST), &done, 1) == 1)
        f->late = false;
    return f->late ? -EBUSY : 0;
}

/* ------------------------------------------------------------------ a request */

/* A name is one component: what a server would take for more, or for less, is not sent. */
static int check_name(const char *name, uint32_t *len)
{
    size_t n = 0;

    while (name[n] != 0 && n <= VIO_DRV_FS_NAME_MAX) {
        if (name[n] == '/')
            return -EINVAL;
        n++;
    }
    if (n > VIO_DRV_FS_NAME_MAX)
        return -ENAMETOOLONG;
    *len = (uint32_t)n + 1;
    return n > 0 ? 0 : -EINVAL;
}

static void write_header(struct vio_drv_fs *f, uint8_t *to, const struct drv_fs_call *call, uint32_t len)
{
    struct fuse_in_header header = {
        .len = vio_le32_of(len), .opcode = vio_le32_of(call->opcode), .unique = vio_le64_of(f->unique),
        .nodeid = vio_le64_of(call->node), .uid = vio_le32_of(f->params->uid), .gid = vio_le32_of(f->params->gid),
    };

    memcpy(to, &header, sizeof(header));
}

static unsigned add(struct vio_buf *bufs, unsigned n, uint64_t addr, uint32_t len)
{
    if (len == 0)
        return n;
    bufs[n] = (struct vio_buf){ addr, len };
    return n + 1;
}

static int put(struct vio_drv_fs *f, const struct drv_fs_call *call)
{
    uint8_t *host = drv_slots_host(&f->request, 0);
    uint64_t addr = drv_slots_addr(&f->request, 0), data = drv_slots_addr(&f->bounce, 0);
    uint32_t name_len = 0, head = sizeof(struct fuse_in_header);
    struct vio_buf bufs[5];
    unsigned nr_r, nr;
    int error = call->name != NULL ? check_name(call->name, &name_len) : 0;

    if (error != 0)
        return error;
    f->unique += 2; /* odd ones mark interrupts */
    write_header(f, host, call, head + call->args_len + name_len + call->data_out);
    if (call->args_len > 0)
        memcpy(host + head, call->args, call->args_len);
    if (name_len > 0)
        memcpy(host + head + call->args_len, call->name, name_len);
    memset(host + DRV_FS_ANSWER_AT, 0, DRV_FS_SLOT - DRV_FS_ANSWER_AT);
    /* Header, arguments, data, each a piece, as every server has seen them. */
    nr_r = add(bufs, 0, addr, head);
    nr_r = add(bufs, nr_r, addr + head, call->args_len + name_len);
    nr_r = add(bufs, nr_r, data, call->data_out);
    nr = add(bufs, nr_r, addr + DRV_FS_ANSWER_AT, (uint32_t)sizeof(struct fuse_out_header) + call->answer_max);
    nr = add(bufs, nr, data, call->data_in);
    return vio_drvq_put(vio_drvdev_queue(f->d, VIRTIO_FS_REQUEST), bufs, nr_r, nr - nr_r, 0);
}

/* Bytes behind the header, or -errno. */
static int judge(const struct vio_drv_fs *f, const struct drv_fs_call *call, uint32_t came)
{
    const uint8_t *host = drv_slots_host(&f->request, 0) + DRV_FS_ANSWER_AT;
    struct fuse_out_header header;
    uint32_t len;
    int32_t error;

    /* The virtiofsd in Rust gives this one back without an answer. */
    if (call->opcode == FUSE_DESTROY && came == 0)
        return 0;
    memcpy(&header, host, sizeof(header));
    len = vio_cpu(header.len);
    error = (int32_t)vio_cpu(header.error);
    if (came < sizeof(header) || len < sizeof(header) || len > came || vio_cpu(header.unique) != f->unique ||
        error > 0 || error < -ERROR_MAX)
        return -EPROTO;
    if (error != 0)
        return error;
    len -= (uint32_t)sizeof(header);
    if (len < call->answer_min)
        return -EPROTO;
    if (call->answer != NULL)
        memcpy(call->answer, host + sizeof(header), vio_min_u32(len, call->answer_max));
    return (int)len;
}

int drv_fs_call(struct vio_drv_fs *f, const struct drv_fs_call *call, uint64_t ns)
{
    struct vio_done done;
    int error = ready(f);

    if (error == 0 && !f->started && call->opcode != FUSE_INIT)
        error = -EINVAL;
    if (error == 0)
        error = put(f, call);
    if (error != 0)
        return error;
    f->late = true;
    vio_drvdev_publish(f->d, VIRTIO_FS_REQUEST);
    error = vio_drvdev_wait(f->d, VIRTIO_FS_REQUEST, ns);
    if (error != 0)
        return error;
    if (vio_drvq_collect(vio_drvdev_queue(f->d, VIRTIO_FS_REQUEST), &done, 1) != 1) {
        (void)drv_queue_broken(f->d, VIRTIO_FS_REQUEST);
        return -EIO;
    }
    f->late = false;
    return judge(f, call, done.len);
}

/* ------------------------------------------------------------------ the session */

static int agree(struct vio_drv_fs *f, const struct fuse_init_out *out, uint32_t len)
{
    f->max_write = vio_cpu(out->max_write);
    f->map_align = 4096;
    if (vio_cpu(out->major) != FUSE_KERNEL_VERSION || vio_cpu(out->minor) < 12)
        return -EPROTO;
    if (f->max_write < 4096)
        return -EPROTO;
    if (len < sizeof(*out) || (vio_cpu(out->flags) & FUSE_MAP_ALIGNMENT) == 0)
        return 0;
    if (vio_cpu(out->map_alignment) > 30)
        return -EPROTO;
    f->map_align = UINT64_C(1) << vio_cpu(out->map_alignment);
    return 0;
}

int vio_drv_fs_start(struct vio_drv_fs *f, uint64_t ns)
{
    struct fuse_init_in in = {
        .major = vio_le32_of(FUSE_KERNEL_VERSION), .minor = vio_le32_of(FUSE_KERNEL_MINOR_VERSION),
        .max_readahead = vio_le32_of(VIO_DRV_FS_BOUNCE), .flags = vio_le32_of(FUSE_BIG_WRITES | FUSE_MAP_ALIGNMENT),
    };
    struct fuse_init_out out = { .major = vio_le32_of(0) };
    struct drv_fs_call call = {
        .opcode = FUSE_INIT, .args = &in, .args_len = sizeof(in), .answer = &out,
        .answer_min = FUSE_COMPAT_INIT_OUT_SIZE, .answer_max = sizeof(out),
    };
    int len;

    if (f->started)
        return -EINVAL;
    len = drv_fs_call(f, &call, ns);
    if (len < 0)
        return len;
    len = agree(f, &out, (uint32_t)len);
    f->started = len == 0;
    return len;
}

/* ------------------------------------------------------------------ high priority */

/* Messages that the device has taken in. -EIO: broken. */
static int reap_forgets(struct vio_drv_fs *f)
{
    struct vio_done done;

    while (drv_collect(f->d, VIRTIO_FS_HIPRIO, &done))
        drv_slots_give(&f->forgets, (uint32_t)done.token);
    return drv_queue_broken(f->d, VIRTIO_FS_HIPRIO) || vio_drvdev_status(f->d) != VIO_DRVDEV_RUNS ? -EIO : 0;
}

int vio_drv_fs_forget(struct vio_drv_fs *f, uint64_t node, uint64_t times, uint64_t ns)
{
    struct vio_drvq *q = vio_drvdev_queue(f->d, VIRTIO_FS_HIPRIO);
    struct fuse_forget_in in = { vio_le64_of(times) };
    struct drv_fs_call call = { .opcode = FUSE_FORGET, .node = node };
    struct vio_buf buf = { 0, (uint32_t)(sizeof(struct fuse_in_header) + sizeof(in)) };
    uint32_t slot;
    int error = f->started ? reap_forgets(f) : -EINVAL;

    while (error == 0 && f->forgets.nr_free == 0) {
        error = vio_drvdev_wait(f->d, VIRTIO_FS_HIPRIO, ns);
        if (error == 0)
            error = reap_forgets(f);
    }
    if (error != 0)
        return error;
    slot = drv_slots_take(&f->forgets);
    f->unique += 2;
    write_header(f, drv_slots_host(&f->forgets, slot), &call, buf.len);
    memcpy(drv_slots_host(&f->forgets, slot) + sizeof(struct fuse_in_header), &in, sizeof(in));
    buf.addr = drv_slots_addr(&f->forgets, slot);
    error = vio_drvq_put(q, &buf, 1, 0, slot);
    if (error != 0)
        drv_slots_give(&f->forgets, slot);
    else
        vio_drvdev_publish(f->d, VIRTIO_FS_HIPRIO);
    return error;
}

/* ------------------------------------------------------------------ the end */

int vio_drv_fs_end(struct vio_drv_fs *f, uint64_t ns)
{
    struct drv_fs_call call = { .opcode = FUSE_DESTROY };
    int error = reap_forgets(f);

    /* The queues do not wait for each other: a message that came after the end would be about nothing. */
    while (error == 0 && f->forgets.nr_free < f->forgets.nr) {
        error = vio_drvdev_wait(f->d, VIRTIO_FS_HIPRIO, ns);
        if (error == 0)
            error = reap_forgets(f);
    }
    if (error == 0)
        error = drv_fs_call(f, &call, ns);
    if (error >= 0)
        f->started = false;
    return error < 0 ? error : 0;
}
