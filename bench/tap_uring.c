/* SPDX-License-Identifier: MIT */
/*
 * Purpose: whether io_uring carries a tap's frames faster than read() and writev() do: the same frames, one thread, into
 * and out of a tap in a network namespace of our own, by calls, by batches of requests and by a multishot read.
 * Prints one line of JSON a size: nanoseconds a frame, the best of many rounds. Needs root. Where it sits: bench/.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/if_packet.h>
#include <linux/if_tun.h>

enum {
    HEADER = 12,
    ROOM = 65664, /* as the backend's: whole lines, and no whole pages */
    ROOMS = 256,
    ROUNDS = 15,
    READ_MULTISHOT = 49, /* IORING_OP_READ_MULTISHOT: Linux 6.7, newer than some headers */
    QUEUE_LEN = 4096,
    MTU = 65000,
    NS_WAIT = 200 * 1000 * 1000,
};

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static void need(int fine, const char *what)
{
    if (fine)
        return;
    fprintf(stderr, "vio-bench-tap: %s: %s\n", what, strerror(errno));
    exit(1);
}

struct bench {
    int tap, raw;
    uint8_t *rooms;
    struct io_uring batch, multi; /* the latter's frames go where the kernel chooses */
    struct io_uring_buf_ring *buffers;
    int armed;
    uint32_t bytes;
    unsigned frames;
};

/* ------------------------------------------------------------------ the tap */

static void make_tap(struct bench *b)
{
    struct ifreq r = { .ifr_name = "vbench0", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
    struct sockaddr_ll at = { .sll_family = AF_PACKET };
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), header = HEADER, yes = 1, room = 64 << 20;

    b->tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    need(b->tap >= 0 && control >= 0 && ioctl(b->tap, TUNSETIFF, &r) == 0, "a tap");
    need(ioctl(b->tap, TUNSETVNETHDRSZ, &header) == 0 && ioctl(b->tap, TUNSETVNETLE, &yes) == 0, "its header");
    r.ifr_qlen = QUEUE_LEN;
    need(ioctl(control, SIOCSIFTXQLEN, &r) == 0, "the length of its queue");
    r.ifr_mtu = MTU;
    need(ioctl(control, SIOCSIFMTU, &r) == 0, "its MTU");
    need(ioctl(control, SIOCGIFFLAGS, &r) == 0, "its flags");
    r.ifr_flags |= IFF_UP;
    need(ioctl(control, SIOCSIFFLAGS, &r) == 0, "bringing it up");
    close(control);
    at.sll_ifindex = (int)if_nametoindex("vbench0");
    b->raw = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    need(b->raw >= 0 && bind(b->raw, (struct sockaddr *)&at, sizeof(at)) == 0, "a raw socket");
    need(setsockopt(b->raw, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) == 0, "its buffer");
    need(setsockopt(b->raw, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof(yes)) == 0, "the way past the qdisc");
}

static void make_rings(struct bench *b)
{
    struct io_uring_params p = { .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN }, q = p;
    struct io_uring_buf_reg reg = { .ring_entries = ROOMS, .bgid = 1 };

    errno = -io_uring_queue_init_params(2 * ROOMS, &b->batch, &p);
    need(errno == 0, "io_uring");
    errno = -io_uring_queue_init_params(2 * ROOMS, &b->multi, &q);
    need(errno == 0, "io_uring");
    need(io_uring_register_files(&b->batch, &b->tap, 1) == 0 && io_uring_register_files(&b->multi, &b->tap, 1) == 0,
         "registered files");
    b->rooms = aligned_alloc(4096, (size_t)ROOMS * ROOM);
    b->buffers = aligned_alloc(4096, ROOMS * sizeof(struct io_uring_buf));
    need(b->rooms != NULL && b->buffers != NULL, "memory");
    memset(b->rooms, 0, (size_t)ROOMS * ROOM);
    reg.ring_addr = (uintptr_t)b->buffers;
    errno = -io_uring_register_buf_ring(&b->multi, &reg, 0);
    need(errno == 0, "a ring of buffers");
    io_uring_buf_ring_init(b->buffers);
    for (unsigned short i = 0; i < ROOMS; i++)
        io_uring_buf_ring_add(b->buffers, b->rooms + (size_t)i * ROOM, ROOM, i, ROOMS - 1, i);
    io_uring_buf_ring_advance(b->buffers, ROOMS);
}

/* The tap's queue holds as many frames as there is room for, and nothing else. */
static unsigned fill(struct bench *b)
{
    static uint8_t frame[MTU] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 9, 0x88, 0xb5 };
    unsigned n = 0;

    while (n < b->frames && send(b->raw, frame, b->bytes, MSG_DONTWAIT) > 0)
        n++;
    return n;
}

static void empty(struct bench *b)
{
    while (read(b->tap, b->rooms, ROOM) > 0)
        ;
}

/* ------------------------------------------------------------------ out of the tap */

static unsigned by_read(struct bench *b, unsigned depth)
{
    unsigned n = 0;

    while (read(b->tap, b->rooms + (size_t)(n % depth) * ROOM, ROOM) > 0)
        n++;
    return n;
}

/* `depth` reads a system call. */
static unsigned by_batch(struct bench *b, unsigned depth)
{
    unsigned n = 0;

    for (int end = 0; !end;) {
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;

        for (unsigned i = 0; i < depth; i++) {
            struct io_uring_sqe *sqe = io_uring_get_sqe(&b->batch);

            io_uring_prep_read(sqe, 0, b->rooms + (size_t)i * ROOM, ROOM, 0);
            sqe->flags |= IOSQE_FIXED_FILE;
            sqe->rw_flags = RWF_NOWAIT;
        }
        need(io_uring_submit_and_wait(&b->batch, depth) >= 0, "submit");
        io_uring_for_each_cqe(&b->batch, head, cqe) {
            seen++;
            n += cqe->res > 0;
            end |= cqe->res <= 0;
        }
        io_uring_cq_advance(&b->batch, seen);
    }
    return n;
}

static void arm(struct bench *b)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&b->multi);

    if (sqe == NULL)
        exit(1); /* there is room for 512 */
    io_uring_prep_read(sqe, 0, NULL, 0, 0);
    sqe->opcode = READ_MULTISHOT;
    sqe->flags = IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
    sqe->buf_group = 1;
    b->armed = 1;
}

/* One request for all frames; what is there completes by itself. */
static unsigned by_multishot(struct bench *b, unsigned want)
{
    uint64_t until = now_ns() + NS_WAIT;
    unsigned n = 0;

    while (n < want && now_ns() < until) {
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;
        int back = 0;

        io_uring_for_each_cqe(&b->multi, head, cqe) {
            unsigned short id = (unsigned short)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);

            seen++;
            if (cqe->res > 0)
                io_uring_buf_ring_add(b->buffers, b->rooms + (size_t)id * ROOM, ROOM, id, ROOMS - 1, back++);
            if (!(cqe->flags & IORING_CQE_F_MORE))
                b->armed = 0;
        }
        io_uring_buf_ring_advance(b->buffers, back);
        io_uring_cq_advance(&b->multi, seen);
        n += (unsigned)back;
        if (!b->armed)
            arm(b);
        if (n < want)
            io_uring_submit_and_get_events(&b->multi);
    }
    return n;
}

static void disarm(struct bench *b)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&b->multi);
    struct io_uring_cqe *cqe;
    unsigned head, seen = 0;

    io_uring_prep_cancel(sqe, NULL, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
    io_uring_submit_and_wait(&b->multi, b->armed ? 2 : 1);
    io_uring_for_each_cqe(&b->multi, head, cqe)
        seen++;
    io_uring_cq_advance(&b->multi, seen);
    b->armed = 0;
}

/* ------------------------------------------------------------------ into the tap */

static void piece(struct bench *b, unsigned i, struct iovec iov[2])
{
    static uint8_t header[HEADER];

    iov[0] = (struct iovec){ header, HEADER };
    iov[1] = (struct iovec){ b->rooms + (size_t)(i % 16) * ROOM, b->bytes };
}

static unsigned write_by_call(struct bench *b, unsigned depth)
{
    struct iovec iov[2];

    (void)depth;
    for (unsigned i = 0; i < b->frames; i++) {
        piece(b, i, iov);
        need(writev(b->tap, iov, 2) > 0, "writev");
    }
    return b->frames;
}

static unsigned write_by_batch(struct bench *b, unsigned depth)
{
    static struct iovec iov[ROOMS][2];
    unsigned n = 0;

    for (; n < b->frames; n += depth) {
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;

        for (unsigned i = 0; i < depth; i++) {
            struct io_uring_sqe *sqe = io_uring_get_sqe(&b->batch);

            piece(b, i, iov[i]);
            io_uring_prep_writev(sqe, 0, iov[i], 2, 0);
            sqe->flags |= IOSQE_FIXED_FILE;
        }
        need(io_uring_submit_and_wait(&b->batch, depth) >= 0, "submit");
        io_uring_for_each_cqe(&b->batch, head, cqe) {
            seen++;
            need(cqe->res > 0, "a write");
        }
        io_uring_cq_advance(&b->batch, seen);
    }
    return n;
}

/* ------------------------------------------------------------------ all of it */

static double best(struct bench *b, unsigned (*move)(struct bench *b, unsigned depth), unsigned depth, int out)
{
    double least = 0;

    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t begun;
        unsigned n;

        empty(b);
        if (out)
            need(fill(b) > 0, "frames");
        begun = now_ns();
        n = move(b, depth);
        if (n > 0 && (least == 0 || (double)(now_ns() - begun) / n < least))
            least = (double)(now_ns() - begun) / n;
    }
    return least;
}

static double best_multishot(struct bench *b)
{
    double least = 0;

    empty(b);
    arm(b);
    io_uring_submit(&b->multi);
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned want = fill(b), n;
        uint64_t begun = now_ns();

        n = by_multishot(b, want);
        if (n == want && n > 0 && (least == 0 || (double)(now_ns() - begun) / n < least))
            least = (double)(now_ns() - begun) / n;
    }
    disarm(b);
    return least;
}

int main(void)
{
    static const uint32_t sizes[] = { 64, 1514, 30000 };
    struct bench b = { .tap = -1 };

    need(unshare(CLONE_NEWNET) == 0, "a network namespace");
    make_tap(&b);
    make_rings(&b);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        b.bytes = sizes[i];
        b.frames = sizes[i] > 10000 ? 320 : 1920; /* whole batches */
        printf("{\"bytes\": %u, \"read\": %.0f, \"read_batch16\": %.0f, \"read_batch64\": %.0f, \"read_multishot\": %.0f, ", b.bytes,
               best(&b, by_read, 16, 1), best(&b, by_batch, 16, 1), best(&b, by_batch, 64, 1), best_multishot(&b));
        printf("\"writev\": %.0f, \"write_batch16\": %.0f, \"write_batch64\": %.0f}\n", best(&b, write_by_call, 0, 0),
               best(&b, write_by_batch, 16, 0), best(&b, write_by_batch, 64, 0));
    }
    return 0;
}
