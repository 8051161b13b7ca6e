/* SPDX-License-Identifier: MIT */
/*
 * Purpose: frames that libslirp has made and the driver has not taken yet. libslirp hands them out in the middle of its
 * work, when the driver may have no buffers, so they are copied.
 * Where it sits: backend/net_user. Threads: the owner.
 */
#include "backend/net_user.h"

#include <string.h>

/* Where len bytes in one piece are free: behind the last frame or, where the end is too near, at the start. */
static bool find_room(const struct user_queue *q, uint32_t len, uint32_t *at)
{
    uint32_t oldest = q->frame[q->first].at;

    if (q->nr == USER_QUEUE_FRAMES || len > USER_QUEUE_BYTES)
        return false;
    if (q->nr == 0) {
        *at = 0;
        return true;
    }
    *at = q->write;
    if (q->write <= oldest) /* the frames go around the end, or fill it all */
        return len <= oldest - q->write;
    if (len <= USER_QUEUE_BYTES - q->write)
        return true;
    *at = 0;
    return len <= oldest;
}

bool user_queue_put(struct user_queue *q, const void *frame, size_t len)
{
    uint32_t at;

    if (len < VIO_NET_FRAME_MIN || len > VIO_NET_FRAME_MAX || !find_room(q, (uint32_t)len, &at))
        return false;
    memcpy(q->bytes + at, frame, len);
    q->frame[(q->first + q->nr) % USER_QUEUE_FRAMES] = (struct user_frame){ at, (uint32_t)len };
    q->nr++;
    q->write = at + (uint32_t)len;
    q->waiting_bytes += (uint32_t)len;
    return true;
}

static void drop_first(struct user_queue *q, unsigned n)
{
    for (; n; n--) {
        q->waiting_bytes -= q->frame[q->first].len;
        q->first = (q->first + 1) % USER_QUEUE_FRAMES;
        q->nr--;
    }
}

void user_queue_clear(struct user_queue *q)
{
    drop_first(q, q->nr);
}

unsigned user_queue_deliver(struct user_queue *q, const struct vio_net_sink *sink, unsigned max)
{
    struct vio_net_packet packet[VIO_NET_BURST];
    struct vio_seg seg[VIO_NET_BURST];
    unsigned sent = 0;

    while (sent < max && q->nr) {
        unsigned n = vio_min_u32(vio_min_u32(max - sent, q->nr), VIO_NET_BURST), gone;

        for (unsigned i = 0; i < n; i++) {
            const struct user_frame *f = &q->frame[(q->first + i) % USER_QUEUE_FRAMES];

            seg[i] = (struct vio_seg){ q->bytes + f->at, f->len };
            packet[i] = (struct vio_net_packet){ .len = f->len, .nr = 1, .seg = &seg[i] };
        }
        gone = sink->deliver(sink->ctx, packet, n);
        drop_first(q, gone);
        sent += gone;
        if (gone < n)
            break;
    }
    if (sent)
        sink->flush(sink->ctx);
    return sent;
}
