/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the region in which requests in flight are recorded, so that a vio that was killed loses nothing and does
 * nothing twice: made here, kept by the front-end, given back to whoever serves next. What it records is ring/'s.
 * Where it sits: transport/vhost_user.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spec/virtio.h"
#include "transport/vhost_user/session.h"

void vu_inflight_end(struct vu_session *s)
{
    for (uint16_t i = 0; i < s->queues; i++) {
        if (s->vring[i].recorded)
            vio_device_queue_inflight(s->dev, i, NULL);
        s->vring[i].recorded = false;
    }
    if (s->inflight.base != NULL)
        munmap(s->inflight.base, s->inflight.bytes);
    s->inflight = (struct vu_inflight_region){ .base = NULL };
}

static bool packed(const struct vu_session *s)
{
    return vu_has_feature(s, VIRTIO_F_RING_PACKED);
}

int vu_inflight_give(struct vu_session *s, uint16_t queue)
{
    const struct vu_inflight_region *r = &s->inflight;
    struct vu_vring *v = &s->vring[queue];
    size_t part;

    if (r->base == NULL)
        return 0;
    part = vio_inflight_bytes(r->queue_size, packed(s));
    if (queue >= r->queues || v->num > r->queue_size || (uint64_t)(queue + 1) * part > r->size)
        return vu_refuse(s, VU_BROKEN, "queue %u with %" PRIu32 " entries has no room in the in-flight region, which is for %u "
                         "queues of %u entries in %" PRIu64 " bytes", queue, v->num, r->queues, r->queue_size, r->size);
    if (!v->recorded || v->inflight.size != v->num || v->inflight.packed != packed(s))
        vio_inflight_init(&v->inflight, (uint8_t *)r->base + r->skip + queue * part, (uint16_t)v->num, packed(s), false);
    v->recorded = true;
    vio_device_queue_inflight(s->dev, queue, &v->inflight);
    return 0;
}

static int check(struct vu_session *s, const struct vhost_user_inflight *in)
{
    if (in->num_queues == 0 || in->num_queues > s->queues)
        return vu_refuse(s, -EINVAL, "it is for %u queues, but the device has %u", in->num_queues, s->queues);
    if (in->queue_size == 0 || in->queue_size > VIO_QUEUE_SIZE_MAX)
        return vu_refuse(s, -EINVAL, "it is for queues of %u entries; they have 1 to 32768 (virtio 1.4, 2.7)",
                         in->queue_size);
    return 0;
}

static int map(struct vu_session *s, int fd, const struct vhost_user_inflight *in)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t skip = in->mmap_offset & (page - 1), bytes;
    void *base;

    if (!vio_add_u64(in->mmap_size, skip, &bytes) || bytes > SIZE_MAX)
        return -EINVAL;
    base = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(in->mmap_offset - skip));
    if (base == MAP_FAILED)
        return -errno;
    vu_inflight_end(s);
    s->inflight = (struct vu_inflight_region){ .base = base, .bytes = (size_t)bytes, .skip = (size_t)skip,
                                               .size = in->mmap_size, .queues = in->num_queues,
                                               .queue_size = in->queue_size };
    return 0;
}

/* Zeroed memory that cannot shrink under us, whatever the front-end does with its descriptor. */
static int make(uint64_t size, int *out)
{
    int fd = memfd_create("vio-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING), err = 0;

    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)size) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        err = -errno;
    if (err != 0)
        close(fd);
    *out = err == 0 ? fd : -1;
    return err;
}

int vu_get_inflight_fd(struct vu_session *s, struct vu_msg *m)
{
    struct vhost_user_inflight in = { 0 };
    uint64_t part;
    int fd = -1, err;

    memcpy(&in, m->payload, m->head.size < sizeof(in) ? m->head.size : sizeof(in));
    err = check(s, &in);
    if (err != 0)
        return err;
    /* Before SET_FEATURES nobody knows the format: room for the larger one, packed. */
    part = vio_inflight_bytes(in.queue_size, !s->features_set || packed(s));
    in.mmap_size = part * in.num_queues;
    in.mmap_offset = 0;
    err = make(in.mmap_size, &fd);
    if (err == 0) {
        err = map(s, fd, &in);
        if (err != 0)
            close(fd);
    }
    if (err != 0)
        return vu_refuse(s, err, "no memory for the in-flight region of %" PRIu64 " bytes: %s", in.mmap_size,
                         strerror(-err));
    vu_reply(s, m, &in, m->head.size, fd);
    return VU_LATER;
}

int vu_set_inflight_fd(struct vu_session *s, struct vu_msg *m)
{
    struct vhost_user_inflight in = { 0 };
    struct stat st;
    int err;

    memcpy(&in, m->payload, m->head.size < sizeof(in) ? m->head.size : sizeof(in));
    err = check(s, &in);
    if (err != 0)
        return err;
    if (in.mmap_size < (uint64_t)in.num_queues * vio_inflight_bytes(in.queue_size, packed(s)))
        return vu_refuse(s, -EINVAL, "%" PRIu64 " bytes are too few for %u queues of %u entries, which need %" PRIu64,
                         in.mmap_size, in.num_queues, in.queue_size,
                         (uint64_t)in.num_queues * vio_inflight_bytes(in.queue_size, packed(s)));
    if (in.mmap_offset % 64 != 0)
        return vu_refuse(s, -EINVAL, "its offset %" PRIu64 " is not a multiple of 64", in.mmap_offset);
    if (fstat(m->fd[0], &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < 0 ||
        !vio_range_ok(in.mmap_offset, in.mmap_size, (uint64_t)st.st_size))
        return vu_refuse(s, -EINVAL, "%" PRIu64 " bytes at offset %" PRIu64 " are not in its file", in.mmap_size,
                         in.mmap_offset);
    /* Where the front-end kept another one's memory that has no seals, this is the best there is. */
    (void)fcntl(m->fd[0], F_ADD_SEALS, F_SEAL_SHRINK);
    err = map(s, m->fd[0], &in);
    if (err != 0)
        return vu_refuse(s, err, "the region cannot be mapped: %s", strerror(-err));
    return 0;
}
