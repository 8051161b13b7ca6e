/* SPDX-License-Identifier: MIT */
/*
 * Purpose: pages into a balloon and out of it, hints and reports (virtio 1.4, 5.5.6). Where it sits: driver/, freestanding.
 * Threads: the owner's. Trust: of what the device writes nothing is read here but that a buffer came back.
 */
#include <errno.h>
#include <string.h>
#include "driver/balloon_internal.h"

enum { PAGES_AT_ONCE = 256 };

static struct vio_drvq *queue_of(const struct vio_drv_balloon *b, unsigned which)
{
    return vio_drvdev_queue(b->d, b->queue[which]);
}

/* ------------------------------------------------------------------ one buffer after the other */

static void tell_actual(struct vio_drv_balloon *b)
{
    vio_le32 actual = vio_le32_of(b->actual);

    /* A device that cannot be told is about to be found broken by whoever needs it; the count itself is ours. */
    if (vio_drvdev_config_write(b->d, offsetof(struct virtio_balloon_config, actual), &actual, sizeof(actual)) != 0)
        return;
}

/* Everything of queue `which` is back: the pages in the buffer that was out are inside, or outside. */
static void came_back(struct vio_drv_balloon *b, unsigned which)
{
    uint32_t told = b->telling;

    b->out = DRV_BALLOON_NO_QUEUE;
    b->telling = 0;
    if (told == 0)
        return;
    b->actual = which == VIRTIO_BALLOON_INFLATEQ ? b->actual + told : b->actual - told;
    tell_actual(b);
}

static int collect(struct vio_drv_balloon *b)
{
    unsigned which = b->out;
    struct vio_done done;

    if (which == DRV_BALLOON_NO_QUEUE)
        return 0;
    while (vio_drvq_collect(queue_of(b, which), &done, 1) == 1)
        ;
    if (drv_queue_broken(b->d, b->queue[which]))
        return -EIO;
    if (vio_drvq_in_flight(queue_of(b, which)) > 0)
        return -EBUSY;
    came_back(b, which);
    return 0;
}

/* Shows what was put into queue `which` and waits until all of it is back. */
static int turn(struct vio_drv_balloon *b, unsigned which, uint64_t deadline)
{
    int error;

    b->out = (uint16_t)which;
    vio_drvdev_publish(b->d, b->queue[which]);
    while ((error = collect(b)) == -EBUSY) {
        int waited = vio_drvdev_wait(b->d, b->queue[which], drv_time_left(b->d, deadline));

        if (waited != 0)
            return waited;
    }
    return error;
}

static int ready(struct vio_drv_balloon *b)
{
    return vio_drvdev_status(b->d) == VIO_DRVDEV_RUNS ? collect(b) : -EIO;
}

/* ------------------------------------------------------------------ inflate and deflate */

static int check_pages(const uint64_t *pages, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (pages[i] % VIO_DRV_BALLOON_PAGE != 0)
            return -EINVAL;
        if (pages[i] >> VIRTIO_BALLOON_PFN_SHIFT > UINT32_MAX)
            return -ERANGE;
    }
    return 0;
}

static int tell(struct vio_drv_balloon *b, unsigned which, const uint64_t *pages, size_t n, uint64_t ns)
{
    uint64_t deadline = drv_deadline(b->d, ns);
    int error = check_pages(pages, n);

    while (error == 0 && n > 0) {
        uint32_t now = (uint32_t)vio_min_u64(n, PAGES_AT_ONCE);
        vio_le32 *numbers = (vio_le32 *)(void *)drv_slots_host(&b->pages, 0);
        struct vio_buf buf = { drv_slots_addr(&b->pages, 0), now * (uint32_t)sizeof(numbers[0]) };

        for (uint32_t i = 0; i < now; i++)
            numbers[i] = vio_le32_of((uint32_t)(pages[i] >> VIRTIO_BALLOON_PFN_SHIFT));
        error = vio_drvq_put(queue_of(b, which), &buf, 1, 0, 0);
        if (error != 0)
            return error;
        b->telling = now;
        error = turn(b, which, deadline);
        pages += now;
        n -= now;
    }
    return error;
}

int vio_drv_balloon_inflate(struct vio_drv_balloon *b, const uint64_t *pages, size_t n, uint64_t ns)
{
    int error = ready(b);

    if (error != 0)
        return error;
    if (n > UINT32_MAX - b->actual)
        return -ERANGE;
    return tell(b, VIRTIO_BALLOON_INFLATEQ, pages, n, ns);
}

int vio_drv_balloon_deflate(struct vio_drv_balloon *b, const uint64_t *pages, size_t n, uint64_t ns)
{
    int error = ready(b);

    if (error != 0)
        return error;
    if (n > b->actual)
        return -ERANGE;
    if (b->actual - n < b->target && !vio_drv_balloon_deflates_on_oom(b))
        return -EPERM;
    /* Always told and waited for: that is what MUST_TELL_HOST asks (5.5.3), and what no device minds. */
    return tell(b, VIRTIO_BALLOON_DEFLATEQ, pages, n, ns);
}

/* ------------------------------------------------------------------ hints and reports */

static int check_ranges(const struct vio_drv_balloon *b, unsigned which, const struct vio_buf *ranges, size_t n)
{
    if (b->queue[which] == DRV_BALLOON_NO_QUEUE)
        return -ENOTSUP;
    for (size_t i = 0; i < n; i++)
        if (ranges[i].len == 0)
            return -EINVAL;
    return 0;
}

/* The command that the ranges between belong to, or its end. */
static int send_command(struct vio_drv_balloon *b, uint32_t id, uint64_t deadline)
{
    vio_le32 command = vio_le32_of(id);
    struct vio_buf buf = { drv_slots_addr(&b->pages, 0), sizeof(command) };
    int error;

    memcpy(drv_slots_host(&b->pages, 0), &command, sizeof(command));
    error = vio_drvq_put(queue_of(b, VIRTIO_BALLOON_FREE_PAGE_VQ), &buf, 1, 0, 0);
    return error != 0 ? error : turn(b, VIRTIO_BALLOON_FREE_PAGE_VQ, deadline);
}

/* As many ranges as the queue has room for, a buffer each; how many, or -errno. */
static int hint_some(struct vio_drv_balloon *b, const struct vio_buf *ranges, size_t n, uint64_t deadline)
{
    struct vio_drvq *q = queue_of(b, VIRTIO_BALLOON_FREE_PAGE_VQ);
    int put = 0, error = 0;

    while ((size_t)put < n && put < VIO_DRV_BALLOON_RANGES_MAX && vio_drvq_free(q) > 0) {
        error = vio_drvq_put(q, &ranges[put], 0, 1, 0);
        if (error != 0)
            return error;
        put++;
    }
    error = turn(b, VIRTIO_BALLOON_FREE_PAGE_VQ, deadline);
    return error != 0 ? error : put;
}

int vio_drv_balloon_hint(struct vio_drv_balloon *b, const struct vio_buf *ranges, size_t n, uint64_t ns)
{
    uint64_t deadline = drv_deadline(b->d, ns);
    uint32_t id = b->hint_id;
    int error = ready(b), end;

    if (error == 0)
        error = check_ranges(b, VIRTIO_BALLOON_FREE_PAGE_VQ, ranges, n);
    if (error != 0)
        return error;
    if (id < VIRTIO_BALLOON_CMD_ID_MIN)
        return -ECANCELED;
    error = send_command(b, id, deadline);
    while (error == 0 && n > 0) {
        int told = b->hint_id == id ? hint_some(b, ranges, n, deadline) : -ECANCELED;

        if (told < 0) {
            error = told;
            break;
        }
        ranges += told;
        n -= (size_t)told;
    }
    if (error != 0 && error != -ECANCELED)
        return error;
    end = send_command(b, VIRTIO_BALLOON_CMD_ID_STOP, deadline);
    return error != 0 ? error : end;
}

int vio_drv_balloon_report(struct vio_drv_balloon *b, const struct vio_buf *ranges, size_t n, uint64_t ns)
{
    uint64_t deadline = drv_deadline(b->d, ns);
    int error = ready(b);

    if (error == 0)
        error = check_ranges(b, VIRTIO_BALLOON_REPORTING_VQ, ranges, n);
    while (error == 0 && n > 0) {
        struct vio_drvq *q = queue_of(b, VIRTIO_BALLOON_REPORTING_VQ);
        uint32_t now = vio_min_u32((uint32_t)vio_min_u64(n, VIO_DRV_BALLOON_RANGES_MAX), vio_drvq_free(q));

        error = vio_drvq_put(q, ranges, 0, now, 0);
        if (error == 0)
            error = turn(b, VIRTIO_BALLOON_REPORTING_VQ, deadline);
        ranges += now;
        n -= now;
    }
    return error;
}

/* ------------------------------------------------------------------ questions */

uint32_t vio_drv_balloon_target(const struct vio_drv_balloon *b)
{
    return b->target;
}

uint32_t vio_drv_balloon_actual(const struct vio_drv_balloon *b)
{
    return b->actual;
}

uint32_t vio_drv_balloon_hint_id(const struct vio_drv_balloon *b)
{
    return b->hint_id;
}

bool vio_drv_balloon_deflates_on_oom(const struct vio_drv_balloon *b)
{
    return vio_drvdev_has(b->d, VIRTIO_BALLOON_F_DEFLATE_ON_OOM);
}
