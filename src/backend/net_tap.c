/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the host's network stack behind a device: frames to and from a tap, with the virtio header, so that checksums and
 * segments are left to whoever does them best. Where it sits: backend/net. Threads: the owner's; counters are read by any.
 * Queues: of a tap with several each is a lane, a struct tap of its own. The first one is always attached, the others while
 * the device receives from them: the kernel puts frames into attached queues only, each flow into one.
 * Trust: what is written is judged by the kernel, which copies it first. The header that the kernel gives is checked
 * all the same, and so is that the driver accepts what it asks for: frames that waited in the kernel when offloads were
 * turned off are as they were.
 */
#include "backend/net_offload.h"
#include "base/tap.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "backend/backend.h"
#include "backend/net_wait.h"
#include "spec/net.h"

_Static_assert(TAP_HEADER == VIRTIO_NET_HDR_BYTES, "virtio 1.4, 5.1.9");

#define TAP_BURST 16u /* frames read before they are delivered together */
#define TAP_PIECES 64u /* of a frame that is written as it lies; in more, it is copied together first */
/* One more than the longest, so that a longer one is seen; rounded to lines, and not to pages: those share cache sets. */
#define TAP_ROOM ((VIRTIO_NET_HDR_BYTES + VIO_NET_FRAME_MAX + 1 + 63) / 64 * 64)
_Static_assert(TAP_ROOM % 4096 != 0, "see above");

struct tap {
    struct vio_net_backend head;
    struct tap_host host;
    const struct vio_log *log;
    struct vio_net_sink sink;
    int epoll_fd;
    struct net_watch watch;
    bool leads;     /* what belongs to the interface as a whole is set through it */
    bool detached;
    bool gone;      /* the interface was removed under us */
    unsigned guest; /* offloads that the driver accepts */
    uint8_t *rooms; /* TAP_BURST of TAP_ROOM, and one for a frame in many pieces */
    /* read and not delivered: packet[first .. first + kept) */
    unsigned first, kept;
    struct vio_seg seg[TAP_BURST];
    struct vio_net_packet packet[TAP_BURST];
    struct vio_log_limit limit;
    _Atomic uint64_t tx_refused, rx_unwanted, rx_bad;
    /* of the first: descriptors for lanes that have not been opened yet */
    unsigned nr_spare;
    int spare[];
};

static void count(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

static void tap_info(struct vio_net_backend *b, struct vio_net_info *info)
{
    const struct tap_host *host = &((const struct tap *)b)->host;

    *info = (struct vio_net_info){ .takes = host->takes, .gives = host->gives, .mtu = host->mtu };
}

static void tap_destroy(struct vio_net_backend *b)
{
    struct tap *tap = (struct tap *)b;

    close(tap->epoll_fd);
    if (tap->host.fd >= 0)
        close(tap->host.fd);
    while (tap->nr_spare > 0)
        close(tap->spare[--tap->nr_spare]);
    free(tap->rooms);
    free(tap);
}

static void set_offloads(struct tap *tap, unsigned guest)
{
    int ret = tap->leads ? tap_host_offloads(&tap->host, guest & tap->host.gives) : 0;

    if (ret < 0 && !tap->gone)
        vio_log(tap->log, VIO_LOG_WARNING, tap->host.name, "the interface's offloads cannot be changed: %s", strerror(-ret));
    /* What was read for a driver that accepted more is not for this one. */
    if (tap->guest & ~guest)
        tap->kept = 0;
    tap->guest = guest;
}

static int tap_start(struct vio_net_backend *b, const struct vio_net_sink *sink)
{
    ((struct tap *)b)->sink = *sink;
    return 0;
}

static void tap_stop(struct vio_net_backend *b)
{
    struct tap *tap = (struct tap *)b;

    net_watch_set(tap->epoll_fd, &tap->watch, 0);
}

static void tap_offloads(struct vio_net_backend *b, unsigned guest)
{
    set_offloads((struct tap *)b, guest);
}

/* The interface is no more: said once, and its descriptor, which reports an error for ever, wakes nobody again. */
static void lost(struct tap *tap, int error)
{
    if (!tap->gone)
        vio_log(tap->log, VIO_LOG_ERROR, tap->host.name, "the interface is gone (%s): nothing is sent or received until vio "
                "is started again", strerror(error));
    tap->gone = true;
    net_watch_set(tap->epoll_fd, &tap->watch, 0);
}

/* ------------------------------------------------------------------ to the host */

static struct virtio_net_hdr wire_header(const struct vio_net_hdr *h)
{
    return (struct virtio_net_hdr){
        .flags = h->flags,
        .gso_type = h->gso_type,
        .hdr_len = vio_le16_of(h->hdr_len),
        .gso_size = vio_le16_of(h->gso_size),
        .csum_start = vio_le16_of(h->csum_start),
        .csum_offset = vio_le16_of(h->csum_offset),
    };
}

static ssize_t write_packet(struct tap *tap, const struct vio_net_packet *p)
{
    struct virtio_net_hdr header = wire_header(&p->hdr);
    struct iovec iov[1 + TAP_PIECES] = { { &header, VIRTIO_NET_HDR_BYTES } };
    const struct iovec *from = tap->host.vnet ? iov : iov + 1;
    int n = tap->host.vnet ? 1 : 0;
    ssize_t ret;

    if (p->nr <= TAP_PIECES) {
        for (uint32_t i = 0; i < p->nr; i++)
            iov[1 + i] = (struct iovec){ p->seg[i].base, p->seg[i].len };
        n += (int)p->nr;
    } else {
        uint8_t *whole = tap->rooms + (size_t)TAP_BURST * TAP_ROOM;

        iov[1] = (struct iovec){ whole, vio_net_packet_head(p, whole, TAP_ROOM) };
        n += 1;
    }
    do
        ret = writev(tap->host.fd, from, n);
    while (ret < 0 && errno == EINTR);
    return ret;
}

static unsigned tap_send(struct vio_net_backend *b, const struct vio_net_packet *p, unsigned n)
{
    struct tap *tap = (struct tap *)b;

    for (unsigned i = 0; i < n; i++) {
        if (!tap->gone && !tap->detached) {
            if (write_packet(tap, &p[i]) >= 0)
                continue;
            if (errno == EAGAIN)
                return i;
            if (errno == EBADFD)
                lost(tap, errno);
        }
        /* A frame that the kernel does not like (EINVAL), an interface that is down (EIO), no memory: one frame less. */
        count(&tap->tx_refused);
    }
    return n;
}

/* ------------------------------------------------------------------ from the host */

/* The kernel's header, checked as a vio_net_hdr promises; *needs: what the driver must accept. */
static bool read_header(const uint8_t *at, uint32_t len, struct vio_net_hdr *h, unsigned *needs)
{
    struct virtio_net_hdr wire = { 0 };

    memcpy(&wire, at, VIRTIO_NET_HDR_BYTES);
    *h = (struct vio_net_hdr){
        .flags = wire.flags & (VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID),
        .gso_type = wire.gso_type,
    };
    *needs = 0;
    if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        h->csum_start = vio_cpu(wire.csum_start);
        h->csum_offset = vio_cpu(wire.csum_offset);
        *needs = VIO_NET_CSUM;
        if ((uint32_t)h->csum_start + h->csum_offset + 2 > len)
            return false;
    }
    if (h->gso_type == VIRTIO_NET_HDR_GSO_NONE)
        return true;
    h->gso_size = vio_cpu(wire.gso_size);
    h->hdr_len = vio_cpu(wire.hdr_len);
    if (h->hdr_len > len)
        h->hdr_len = (uint16_t)len; /* a hint: the kernel may mean the linear part of its buffer */
    *needs = vio_net_needs(h);
    return vio_net_gso_known(h->gso_type) && h->gso_size > 0 && (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
}

/* The frame of `bytes` in rooms[i], header and all, becomes packet[kept]; or is counted. */
static void keep(struct tap *tap, uint8_t *room, size_t bytes)
{
    size_t header = tap->host.vnet ? VIRTIO_NET_HDR_BYTES : 0;
    struct vio_net_packet *p = &tap->packet[tap->kept];
    struct vio_seg *seg = &tap->seg[tap->kept];
    uint32_t len = (uint32_t)(bytes - header);
    unsigned needs = 0;

    *p = (struct vio_net_packet){ .len = len, .nr = 1, .seg = seg };
    *seg = (struct vio_seg){ room + header, len };
    if (bytes < header + VIO_NET_FRAME_MIN || len > VIO_NET_FRAME_MAX || (header && !read_header(room, len, &p->hdr, &needs))) {
        count(&tap->rx_bad);
        vio_log_peer(tap->log, &tap->limit, tap->host.name, "a frame of %zu bytes with a header that makes no sense came from "
                     "the kernel and was dropped", bytes);
        return;
    }
    if (needs & ~tap->guest) {
        count(&tap->rx_unwanted);
        return;
    }
    tap->kept++;
}

/* Fills the empty buffers; how many system calls brought a frame. */
static unsigned read_burst(struct tap *tap, unsigned max)
{
    unsigned n = 0;

    tap->first = 0;
    while (n < max && n < TAP_BURST && !tap->gone && !tap->detached) {
        uint8_t *room = tap->rooms + (size_t)n * TAP_ROOM; /* not by kept: one that is dropped leaves its room empty */
        ssize_t got = read(tap->host.fd, room, TAP_ROOM);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno != EAGAIN)
            lost(tap, errno);
        if (got < 0)
            break;
        keep(tap, room, (size_t)got);
        n++;
    }
    return n;
}

/* Hands over what is kept, at most max; true: all of it went. */
static bool deliver(struct tap *tap, unsigned max, unsigned *done)
{
    unsigned n = tap->kept < max ? tap->kept : max, taken;

    if (n == 0)
        return tap->kept == 0;
    taken = tap->sink.deliver(tap->sink.ctx, &tap->packet[tap->first], n);
    *done += taken;
    tap->first += taken;
    tap->kept -= taken;
    return tap->kept == 0;
}

static unsigned tap_poll(struct vio_net_backend *b, unsigned budget)
{
    struct tap *tap = (struct tap *)b;
    unsigned done = 0, dropped = 0;

    while (deliver(tap, budget - done, &done) && done + dropped < budget) {
        unsigned max = budget - done - dropped, got = read_burst(tap, max);

        dropped += got - tap->kept;
        if (got < TAP_BURST || got == max) { /* the kernel has no more, or we may not have it */
            (void)deliver(tap, budget, &done);
            break;
        }
    }
    if (done)
        tap->sink.flush(tap->sink.ctx);
    return done + dropped;
}

/* ------------------------------------------------------------------ one of several queues */

static void tap_use(struct vio_net_backend *b, bool use)
{
    struct tap *tap = (struct tap *)b;
    int ret;

    if (tap->leads || tap->gone || tap->detached == !use)
        return;
    if (!use) {
        net_watch_set(tap->epoll_fd, &tap->watch, 0); /* detached, it polls as broken */
        tap->kept = 0;
    }
    ret = tap_host_use(tap->host.fd, use);
    if (ret < 0)
        vio_log(tap->log, VIO_LOG_WARNING, tap->host.name, "a queue of the interface cannot be %s: %s",
                use ? "attached" : "detached", strerror(-ret));
    else
        tap->detached = !use;
}

/* ------------------------------------------------------------------ sleeping */

static int tap_fd(struct vio_net_backend *b)
{
    return ((struct tap *)b)->epoll_fd;
}

static bool tap_arm(struct vio_net_backend *b, bool sleep, bool receive, bool blocked)
{
    struct tap *tap = (struct tap *)b;
    uint32_t events = (receive ? (uint32_t)EPOLLIN : 0) | (blocked ? (uint32_t)EPOLLOUT : 0);

    if (!sleep)
        return false;
    if (tap->gone || tap->detached)
        return blocked; /* to be dropped */
    net_watch_set(tap->epoll_fd, &tap->watch, events);
    return receive && tap->kept > 0;
}

static void tap_counters(struct vio_net_backend *b, void (*line)(void *ctx, const char *name, uint64_t value), void *ctx)
{
    struct tap *tap = (struct tap *)b;

    line(ctx, "tx_refused", atomic_load_explicit(&tap->tx_refused, memory_order_relaxed));
    line(ctx, "rx_unwanted", atomic_load_explicit(&tap->rx_unwanted, memory_order_relaxed));
    line(ctx, "rx_bad", atomic_load_explicit(&tap->rx_bad, memory_order_relaxed));
}

static int tap_open_lane(struct vio_net_backend *b, struct vio_net_backend **out, char *why, size_t why_size);

static const struct vio_net_ops tap_ops = {
    .name = "tap",
    .info = tap_info,
    .destroy = tap_destroy,
    .start = tap_start,
    .stop = tap_stop,
    .offloads = tap_offloads,
    .send = tap_send,
    .poll = tap_poll,
    .fd = tap_fd,
    .arm = tap_arm,
    .open_lane = tap_open_lane,
    .use = tap_use,
    .counters = tap_counters,
};

/* All but the descriptor of the interface. */
static struct tap *make_tap(const struct vio_log *log, unsigned spare, char *why, size_t why_size)
{
    struct tap *tap = calloc(1, sizeof *tap + spare * sizeof(tap->spare[0]));

    if (!tap) {
        (void)vio_why(-ENOMEM, why, why_size, "out of memory");
        return NULL;
    }
    tap->head.ops = &tap_ops;
    tap->log = log;
    tap->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    tap->rooms = aligned_alloc(64, (size_t)(TAP_BURST + 1) * TAP_ROOM);
    if (tap->epoll_fd >= 0 && tap->rooms)
        return tap;
    (void)vio_why(-ENOMEM, why, why_size, "no room for a tap: out of memory or descriptors");
    if (tap->epoll_fd >= 0)
        close(tap->epoll_fd);
    free(tap->rooms);
    free(tap);
    return NULL;
}

static int tap_open_lane(struct vio_net_backend *b, struct vio_net_backend **out, char *why, size_t why_size)
{
    struct tap *first = (struct tap *)b, *tap; /* the one that leads */

    if (first->nr_spare == 0)
        return vio_why(-ENOTSUP, why, why_size, "the tap %s has a queue for each thread that it was opened for, and no "
                       "more", first->host.name);
    tap = make_tap(first->log, 0, why, why_size);
    if (!tap)
        return -ENOMEM;
    tap->host = first->host;
    tap->host.fd = first->spare[--first->nr_spare];
    tap->watch = (struct net_watch){ .fd = tap->host.fd };
    tap->detached = true;
    *out = &tap->head;
    return 0;
}

/* The other queues. Those that are given stay the caller's until all are taken. */
static int open_queues(struct tap *tap, const struct vio_net_tap_params *params, char *why, size_t why_size)
{
    int ret = 0;

    for (unsigned i = 1; ret == 0 && i < params->queues; i++) {
        ret = tap_host_queue(&tap->host, params->fd >= 0 ? params->fds[i - 1] : -1, &tap->spare[i - 1], why, why_size);
        tap->nr_spare += ret == 0;
    }
    if (ret < 0 && params->fd >= 0)
        tap->nr_spare = 0;
    return ret;
}

int vio_net_tap_open(const struct vio_net_tap_params *params, struct vio_net_backend **out, char *why, size_t why_size)
{
    struct tap *tap = make_tap(params->log, params->queues > 1 ? params->queues - 1u : 0, why, why_size);
    int ret;

    if (!tap)
        return -ENOMEM;
    ret = tap_host_open(params, &tap->host, why, why_size);
    if (ret == 0) {
        tap->leads = true;
        tap->watch = (struct net_watch){ .fd = tap->host.fd };
        ret = open_queues(tap, params, why, why_size);
        if (ret < 0 && params->fd >= 0)
            tap->host.fd = -1; /* the caller's */
    } else {
        tap->host.fd = -1;
    }
    if (ret < 0) {
        tap_destroy(&tap->head);
        return ret;
    }
    vio_log(tap->log, VIO_LOG_INFO, tap->host.name, "tap interface, MTU %u, queues: %u", tap->host.mtu, tap->nr_spare + 1);
    *out = &tap->head;
    return 0;
}
