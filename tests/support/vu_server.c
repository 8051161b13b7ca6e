/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a vhost-user back-end for tests/protocol: the library's device side with a small device behind it, all in one
 * thread, so that a script can say when a request is answered. Where it sits: tests/support; uses private headers of
 * transport/vhost_user for --table only.
 *
 * A request is {u8 op, 7 bytes, u64 tag} and more; it is answered by the tag and the rest of what was readable.
 *   op 0 at once | 1 held until op 2 (or until the queue is drained) | 2 answers all that is held, last first
 *   op 3 the configuration changes | 4 the queue breaks | 6 some time, in any order
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <vio/vio.h>
#include "transport/vhost_user/table.h"

enum { QUEUES = 4, CONFIG = 64, QUEUE_SIZE = 1024, FDS = 64, PRIV = 16, BATCH = 32 };
enum { OP_NOW, OP_HOLD, OP_RELEASE, OP_CONFIG, OP_BREAK, OP_SLOW = 6 };

struct held {
    uint8_t op;
    bool held; /* until it is released */
    uint64_t tag;
};
_Static_assert(sizeof(struct held) <= PRIV, "fits behind a request");

struct queue {
    struct vio_devq *vq;
    struct vio_req *held[QUEUE_SIZE];
    unsigned nr_held;
};

struct server {
    struct vio_device *dev;
    struct vio_vu *vu;
    struct vio_log log;
    struct queue queue[QUEUES];
    struct pollfd watched[FDS];
    unsigned nr_watched;
    uint64_t timer_ns;
    uint64_t seed;
    bool ended;
};

static volatile sig_atomic_t stop;

static void on_signal(int nr)
{
    (void)nr;
    stop = 1;
}

static void say(void *ctx, enum vio_log_level level, const char *name, const char *line)
{
    static const char *const names[] = { "error", "warning", "info", "debug" };

    (void)ctx;
    fprintf(stderr, "%s %s: %s\n", names[level], name, line);
}

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ------------------------------------------------------------------ the device */

static void answer(struct queue *q, struct vio_req *req)
{
    struct held *h = vio_req_priv(req);
    uint8_t bytes[4096];
    size_t n;

    (void)!vio_writer_put(&req->out, &h->tag, sizeof(h->tag));
    while ((n = vio_reader_get_some(&req->in, bytes, sizeof(bytes))) > 0)
        (void)!vio_writer_put(&req->out, bytes, n < req->out.left ? n : (size_t)req->out.left);
    vio_devq_put(q->vq, req);
}

static unsigned release(struct queue *q)
{
    unsigned n = q->nr_held;

    while (q->nr_held > 0)
        answer(q, q->held[--q->nr_held]);
    return n;
}

/* One slow request in three. */
static unsigned finish_some(struct server *s, struct queue *q)
{
    unsigned done = 0;

    for (unsigned i = 0; i < q->nr_held;) {
        struct held *h = vio_req_priv(q->held[i]);

        s->seed = s->seed * 6364136223846793005u + 1442695040888963407u;
        if (h->op != OP_SLOW || s->seed >> 33 < UINT64_C(1) << 30) {
            i++;
            continue;
        }
        answer(q, q->held[i]);
        q->held[i] = q->held[--q->nr_held];
        done++;
    }
    return done;
}

static unsigned begin(struct server *s, uint16_t index, struct vio_req *req)
{
    struct queue *q = &s->queue[index];
    struct held *h = vio_req_priv(req);
    struct { uint8_t op, pad[7]; uint64_t tag; } head;
    uint8_t byte;

    if (!vio_reader_get(&req->in, &head, sizeof(head))) {
        vio_devq_break(q->vq, VIO_FAULT_REQ_SHORT, req->in.left);
        vio_device_abandon(s->dev, index, req);
        return 0;
    }
    *h = (struct held){ .op = head.op, .tag = head.tag };
    switch (head.op) {
    case OP_HOLD:
    case OP_SLOW:
        q->held[q->nr_held++] = req;
        return 0;
    case OP_BREAK:
        vio_devq_break(q->vq, VIO_FAULT_REQ_NO_STATUS, head.tag);
        vio_device_abandon(s->dev, index, req);
        return 0;
    case OP_CONFIG:
        (void)!vio_device_config_read(s->dev, 8, &byte, 1);
        byte++;
        vio_device_config_set(s->dev, 8, &byte, 1, true);
        break;
    default:
        break;
    }
    answer(q, req);
    return 1 + (head.op == OP_RELEASE ? release(q) : 0);
}

static unsigned service(void *self, uint16_t index, unsigned budget)
{
    struct server *s = self;
    struct queue *q = &s->queue[index];
    struct vio_req *reqs[BATCH];
    unsigned done = budget == 0 ? release(q) : finish_some(s, q);
    unsigned put = done, nr = vio_devq_take(q->vq, reqs, budget < BATCH ? budget : BATCH);

    for (unsigned i = 0; i < nr; i++)
        put += begin(s, index, reqs[i]);
    if (put > 0)
        vio_device_publish(s->dev, index, put);
    return done + nr;
}

static int queue_enter(void *self, uint16_t index, struct vio_devq *vq)
{
    struct server *s = self;

    s->queue[index] = (struct queue){ .vq = vq };
    return 0;
}

static void queue_leave(void *self, uint16_t index)
{
    struct server *s = self;

    s->queue[index] = (struct queue){ 0 };
}

/* Suspended: what is held stays in the record. */
static void queue_cancel(void *self, uint16_t index)
{
    struct server *s = self;
    struct queue *q = &s->queue[index];

    while (q->nr_held > 0)
        vio_device_abandon(s->dev, index, q->held[--q->nr_held]);
}

static int queue_fd(void *self, uint16_t index)
{
    (void)self;
    (void)index;
    return -1;
}

static bool queue_arm(void *self, uint16_t index, bool sleep)
{
    (void)self;
    (void)index;
    (void)sleep;
    return false;
}

static bool config_writable(void *self, uint32_t offset, uint32_t len)
{
    (void)self;
    return offset >= 16 && offset < 32 && len <= 32 - offset;
}

static int type_save(void *self, struct vio_state *state)
{
    struct server *s = self;
    uint64_t seed = s->seed;

    return vio_state_put(state, 1, &seed, sizeof(seed));
}

static int type_load(void *self, struct vio_state *state)
{
    struct server *s = self;

    return vio_state_get(state, 1, &s->seed, sizeof(s->seed));
}

static const struct vio_device_type type = {
    .name = "test",
    .id = 2,
    .queue_size_max = QUEUE_SIZE,
    .config_size = CONFIG,
    .req_priv_size = PRIV,
    .config_writable = config_writable,
    .queue_enter = queue_enter,
    .queue_leave = queue_leave,
    .service = service,
    .queue_cancel = queue_cancel,
    .queue_fd = queue_fd,
    .queue_arm = queue_arm,
    .save = type_save,
    .load = type_load,
};

/* ------------------------------------------------------------------ the loop */

static void watch(void *ctx, struct vio_vu *vu, int fd, short events)
{
    struct server *s = ctx;
    unsigned i = 0;

    (void)vu;
    while (i < s->nr_watched && s->watched[i].fd != fd)
        i++;
    if (events == 0) {
        if (i < s->nr_watched)
            s->watched[i] = s->watched[--s->nr_watched];
    } else if (i < FDS) {
        s->watched[i] = (struct pollfd){ .fd = fd, .events = events };
        if (i == s->nr_watched)
            s->nr_watched++;
    }
}

static void timer(void *ctx, struct vio_vu *vu, unsigned ms)
{
    struct server *s = ctx;

    (void)vu;
    s->timer_ns = now_ns() + ms * UINT64_C(1000000);
}

static void ended(void *ctx, struct vio_vu *vu)
{
    struct server *s = ctx;

    (void)vu;
    s->ended = true;
}

static int rarp(void *ctx, struct vio_vu *vu, const uint8_t mac[6])
{
    (void)ctx;
    (void)vu;
    fprintf(stderr, "info test: rarp %02x:%02x:%02x:%02x:%02x:%02x\n", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
    return 0;
}

static int mtu(void *ctx, struct vio_vu *vu, uint16_t value)
{
    (void)ctx;
    (void)vu;
    return value <= 9000 ? 0 : -EINVAL;
}

/* Serves all queues once; whether any did something. */
static bool serve_all(struct server *s)
{
    bool busy = false;

    for (uint16_t i = 0; i < QUEUES; i++) {
        if (vio_device_queue_running(s->dev, i))
            busy |= vio_device_queue_service(s->dev, i, BATCH) > 0;
    }
    return busy;
}

static int sleep_for(struct server *s, struct pollfd *fds, unsigned *nr)
{
    uint64_t now = now_ns();
    int wait = s->timer_ns == 0 ? -1 : s->timer_ns <= now ? 0 : (int)((s->timer_ns - now) / 1000000) + 1;

    memcpy(fds, s->watched, s->nr_watched * sizeof(fds[0]));
    *nr = s->nr_watched;
    for (uint16_t i = 0; i < QUEUES; i++) {
        int fd;

        if (!vio_device_queue_running(s->dev, i))
            continue;
        fd = vio_device_queue_kick_fd(s->dev, i);
        if (vio_device_queue_arm(s->dev, i))
            wait = 0;
        else if (fd < 0 || s->queue[i].nr_held > 0)
            wait = wait < 0 || wait > 1 ? 1 : wait;
        fds[(*nr)++] = (struct pollfd){ .fd = fd, .events = POLLIN };
    }
    return wait;
}

static void turn(struct server *s)
{
    struct pollfd fds[FDS + QUEUES];
    unsigned nr, watched = s->nr_watched;
    int wait = sleep_for(s, fds, &nr);
    struct timespec ts = { wait / 1000, wait % 1000 * 1000000L };
    sigset_t none, pending;
    int ready;

    /* SIGTERM comes while we wait and at no other time, so that none is missed; or we look whether it waits for us. */
    sigemptyset(&none);
    ready = ppoll(fds, nr, wait < 0 ? NULL : &ts, &none);
    if (sigpending(&pending) == 0 && sigismember(&pending, SIGTERM) == 1)
        stop = 1;
    if (ready < 0 || stop)
        return;
    for (uint16_t i = 0; i < QUEUES; i++) {
        if (!vio_device_queue_running(s->dev, i))
            continue;
        vio_device_queue_disarm(s->dev, i);
        vio_device_queue_kick_drain(s->dev, i);
    }
    for (unsigned i = 0; i < watched && !s->ended; i++) {
        if (fds[i].revents != 0)
            vio_vu_event(s->vu, fds[i].fd, fds[i].revents);
    }
    if (s->timer_ns != 0 && now_ns() >= s->timer_ns && !s->ended) {
        s->timer_ns = 0;
        vio_vu_timer(s->vu);
    }
    for (unsigned i = 0; i < 64 && serve_all(s); i++)
        ;
    vio_device_control(s->dev);
}

/* ------------------------------------------------------------------ main */

static void print_table(void)
{
    printf("[");
    for (unsigned i = 0; i < vu_nr_messages; i++) {
        const struct vu_message *m = &vu_messages[i];

        printf("%s{\"id\": %u, \"name\": \"%s\", \"kind\": %d, \"length\": %u, \"padded\": %u, \"fds\": %d, \"index\": %d, "
               "\"protocol\": %d, \"virtio\": %d, \"when\": %u, \"reply\": %d, \"refusal\": %d}\n", i > 0 ? "," : "", m->id,
               m->name, m->length_kind, m->length, m->length_padded, m->fds, m->index, m->protocol_bit, m->virtio_bit,
               m->when, m->reply, m->refusal);
    }
    printf("]\n");
}

static int make(struct server *s, int argc, char **argv)
{
    struct vio_vu_params vu = { .fd = -1, .log = &s->log, .watch = watch, .timer = timer, .ended = ended, .ctx = s };
    struct vio_device_params dev = { .type = &type, .self = s, .name = "test", .queues = QUEUES,
                                     .features = vio_features_of(0xf), .log = &s->log };
    char why[400];
    int err;

    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "connect=", 8) == 0) {
            vu.side = VIO_VU_CONNECT;
            vu.path = argv[i] + 8;
        } else if (strncmp(argv[i], "listen=", 7) == 0) {
            vu.path = argv[i] + 7;
        } else if (strncmp(argv[i], "fd=", 3) == 0) {
            vu.side = VIO_VU_FD;
            vu.fd = atoi(argv[i] + 3);
        } else if (strncmp(argv[i], "listen-fd=", 10) == 0) {
            vu.side = VIO_VU_LISTEN_FD;
            vu.fd = atoi(argv[i] + 10);
        } else if (strncmp(argv[i], "files=", 6) == 0) {
            struct rlimit limit = { (rlim_t)atoi(argv[i] + 6), (rlim_t)atoi(argv[i] + 6) };

            (void)setrlimit(RLIMIT_NOFILE, &limit);
        } else if (strcmp(argv[i], "inband") == 0) {
            vu.inband = true;
        } else if (strcmp(argv[i], "iommu") == 0) {
            vu.iommu = true;
        } else if (strcmp(argv[i], "net") == 0) {
            vu.net_rarp = rarp;
            vu.net_mtu = mtu;
        } else if (strcmp(argv[i], "in-order") == 0) {
            dev.ring_add = vio_features_of(VIO_FEATURE(35));
        } else if (strcmp(argv[i], "debug") == 0) {
            s->log.level = VIO_LOG_DEBUG;
        } else {
            fprintf(stderr, "error test: unknown word %s\n", argv[i]);
            return -EINVAL;
        }
    }
    err = vio_device_create(&dev, &s->dev);
    if (err != 0)
        return err;
    vu.dev = s->dev;
    err = vio_vu_create(&vu, &s->vu, why, sizeof(why));
    if (err != 0)
        fprintf(stderr, "error test: %s\n", why);
    return err;
}

int main(int argc, char **argv)
{
    static struct server s = { .log = { .write = say, .level = VIO_LOG_INFO }, .seed = 1 };
    struct sigaction act = { .sa_handler = on_signal };
    sigset_t block;
    int err;

    if (argc == 2 && strcmp(argv[1], "table") == 0) {
        print_table();
        return 0;
    }
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGTERM, &act, NULL);
    sigemptyset(&block);
    sigaddset(&block, SIGTERM);
    sigprocmask(SIG_BLOCK, &block, NULL);
    setvbuf(stderr, NULL, _IOLBF, 0);
    err = make(&s, argc, argv);
    while (err == 0 && !stop && !s.ended)
        turn(&s);
    vio_vu_destroy(s.vu);
    vio_device_destroy(s.dev);
    return err == 0 ? 0 : 1;
}
