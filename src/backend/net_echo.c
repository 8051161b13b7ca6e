/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the network that sends back what it gets, with the Ethernet addresses swapped.
 * Where it sits: backend/net. Threads: the owner's.
 * How: send() copies into a private ring and poll() delivers from it, so that the device is never entered from inside
 * its own transmit path, and the order is one. A full ring is "no room now". It takes no offloads: whether the driver accepts back
 * what it left undone may change while frames wait.
 * Trust: the frame is copied first and changed on the copy.
 */
#include "backend/backend.h"

#include <stdlib.h>

#include "backend/net_wait.h"
#include <vio/net.h>

#define ECHO_FRAMES 256u
#define ECHO_BYTES (1u << 20) /* of frames that wait: at least 15 of the longest */
#define ECHO_LINE 64u

struct echo {
    struct vio_net_backend head;
    struct vio_net_sink sink;
    struct net_bell bell;
    bool waits; /* the device sleeps and has room: what send() brings must wake it */
    unsigned first, count; /* of frame[], around the end */
    uint32_t end;          /* behind the newest frame's bytes */
    uint32_t refused;      /* bytes of the frame that found no place last */
    struct echo_frame {
        uint32_t at, len;
    } frame[ECHO_FRAMES];
    uint8_t *bytes;
};
_Static_assert(ECHO_BYTES >= 2 * VIO_NET_FRAME_MAX, "an empty ring takes any frame");

/* Where a frame of so many bytes may go; false: nowhere now. Frames lie in one piece, in the order in which they came. */
static inline bool find_place(const struct echo *e, uint32_t len, uint32_t *at)
{
    uint32_t start;

    if (e->count == 0) { /* from the front again: few frames at a time stay in the cache */
        *at = 0;
        return len <= ECHO_BYTES;
    }
    if (e->count == ECHO_FRAMES)
        return false;
    start = e->frame[e->first].at;
    if (e->end <= start) { /* went around the end */
        *at = e->end;
        return len <= start - e->end;
    }
    *at = len <= ECHO_BYTES - e->end ? e->end : 0;
    return *at != 0 || len <= start;
}

static bool has_room(const struct echo *e)
{
    uint32_t at;

    return find_place(e, e->refused, &at);
}

static void echo_info(struct vio_net_backend *b, struct vio_net_info *info)
{
    (void)b;
    *info = (struct vio_net_info){ 0 };
}

static void echo_destroy(struct vio_net_backend *b)
{
    struct echo *e = (struct echo *)b;

    close(e->bell.fd);
    free(e->bytes);
    free(e);
}

static int echo_start(struct vio_net_backend *b, const struct vio_net_sink *sink)
{
    ((struct echo *)b)->sink = *sink;
    return 0;
}

/* What one driver sent is nothing for the next. */
static void echo_stop(struct vio_net_backend *b)
{
    struct echo *e = (struct echo *)b;

    net_bell_set(&e->bell, false);
    e->count = 0;
}

static void swap_addresses(uint8_t *frame)
{
    uint8_t to[VIO_NET_MAC];

    memcpy(to, frame, VIO_NET_MAC);
    memcpy(frame, frame + VIO_NET_MAC, VIO_NET_MAC);
    memcpy(frame + VIO_NET_MAC, to, VIO_NET_MAC);
}

static unsigned echo_send(struct vio_net_backend *b, const struct vio_net_packet *p, unsigned n)
{
    struct echo *e = (struct echo *)b;

    for (unsigned i = 0; i < n; i++) {
        uint32_t at;

        if (i + 1 < n && p[i + 1].nr > 0)
            __builtin_prefetch(p[i + 1].seg[0].base, 0);
        if (!find_place(e, p[i].len, &at)) {
            e->refused = p[i].len;
            return i;
        }
        vio_net_packet_copy(&p[i], e->bytes + at);
        swap_addresses(e->bytes + at);
        e->frame[(e->first + e->count) % ECHO_FRAMES] = (struct echo_frame){ at, p[i].len };
        e->end = (at + p[i].len + ECHO_LINE - 1) / ECHO_LINE * ECHO_LINE;
        e->count++;
        if (e->waits)
            net_bell_set(&e->bell, true);
    }
    return n;
}

/* The oldest frames, at most max of them, offered to the sink; how many it took. */
static unsigned burst(struct echo *e, unsigned max)
{
    struct vio_seg seg[VIO_NET_BURST];
    struct vio_net_packet packet[VIO_NET_BURST];
    unsigned n = max < e->count ? max : e->count, taken;

    if (n > VIO_NET_BURST)
        n = VIO_NET_BURST;
    if (n == 0)
        return 0;
    for (unsigned i = 0; i < n; i++) {
        const struct echo_frame *frame = &e->frame[(e->first + i) % ECHO_FRAMES];

        seg[i] = (struct vio_seg){ e->bytes + frame->at, frame->len };
        packet[i] = (struct vio_net_packet){ .len = frame->len, .nr = 1, .seg = &seg[i] };
    }
    taken = e->sink.deliver(e->sink.ctx, packet, n);
    e->first = (e->first + taken) % ECHO_FRAMES;
    e->count -= taken;
    return taken;
}

static unsigned echo_poll(struct vio_net_backend *b, unsigned budget)
{
    struct echo *e = (struct echo *)b;
    unsigned done = 0;

    while (done < budget) {
        unsigned taken = burst(e, budget - done);

        done += taken;
        if (taken < VIO_NET_BURST)
            break;
    }
    if (done)
        e->sink.flush(e->sink.ctx);
    return done;
}

static int echo_fd(struct vio_net_backend *b)
{
    return ((struct echo *)b)->bell.fd;
}

/* While one queue sleeps the owner serves others, which may send(): that rings. */
static bool echo_arm(struct vio_net_backend *b, bool sleep, bool receive, bool blocked)
{
    struct echo *e = (struct echo *)b;
    bool work = (receive && e->count > 0) || (blocked && has_room(e));

    e->waits = sleep && receive;
    if (!sleep)
        return false;
    net_bell_set(&e->bell, work);
    return work;
}

static int echo_open_lane(struct vio_net_backend *b, struct vio_net_backend **out, char *why, size_t why_size)
{
    (void)b;
    return vio_net_echo_open(out, why, why_size);
}

static const struct vio_net_ops echo_ops = {
    .name = "echo",
    .info = echo_info,
    .destroy = echo_destroy,
    .start = echo_start,
    .stop = echo_stop,
    .send = echo_send,
    .poll = echo_poll,
    .fd = echo_fd,
    .arm = echo_arm,
    .open_lane = echo_open_lane,
};

int vio_net_echo_open(struct vio_net_backend **out, char *why, size_t why_size)
{
    struct echo *e = calloc(1, sizeof *e);

    if (!e)
        return vio_why(-ENOMEM, why, why_size, "out of memory");
    e->head.ops = &echo_ops;
    e->bell.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    e->bytes = aligned_alloc(ECHO_LINE, ECHO_BYTES);
    if (e->bell.fd < 0 || !e->bytes) {
        int error = e->bell.fd < 0 ? -errno : -ENOMEM;

        if (e->bell.fd >= 0)
            close(e->bell.fd);
        free(e->bytes);
        free(e);
        return vio_why(error, why, why_size, "no echo can be made: %s", strerror(-error));
    }
    *out = &e->head;
    return 0;
}
