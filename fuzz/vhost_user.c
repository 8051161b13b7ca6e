/* SPDX-License-Identifier: MIT */
/*
 * Purpose: fuzz target: vhost-user messages, device side, with guest memory and notification descriptors in hand.
 * An input is a list of steps, each a byte that chooses and some that fill in:
 *   a message of the table, innocent but for a few bytes that the input changes, with descriptors that it chooses;
 *   raw bytes; bytes written to guest memory; a kick; time for the device; a new connection.
 * The first byte says how far a well-behaved front-end gets first. Afterwards no descriptor may be left open.
 */
#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vio/vio.h>
#include "spec/virtio.h"
#include "transport/vhost_user/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { QUEUES = 2, GUEST = 1 << 16, WATCHED = 16, RING = 8, STEPS = 200 };
#define GPA UINT64_C(0x10000)
#define UVA UINT64_C(0x7f0000000000)

enum { FD_GUEST, FD_INFLIGHT, FD_EVENT, FD_PIPE_R, FD_PIPE_W, FD_SOCKET, NR_FDS };

struct fuzz {
    const uint8_t *at;
    size_t left;
    struct vio_device *dev;
    struct vio_vu *vu;
    struct vio_devq *vq[QUEUES];
    int fd[NR_FDS], peer, far;
    uint8_t *guest;
    struct pollfd watched[WATCHED];
    unsigned nr_watched;
};

static uint8_t byte(struct fuzz *f)
{
    if (f->left == 0)
        return 0;
    f->left--;
    return *f->at++;
}

/* ------------------------------------------------------------------ a device that echoes */

static unsigned service(void *self, uint16_t queue, unsigned budget)
{
    struct fuzz *f = self;
    struct vio_req *reqs[8];
    unsigned nr = vio_devq_take(f->vq[queue], reqs, budget < 8 ? budget : 8);

    for (unsigned i = 0; i < nr; i++) {
        uint8_t bytes[64];
        size_t n = vio_reader_get_some(&reqs[i]->in, bytes, sizeof(bytes));

        vio_writer_put_some(&reqs[i]->out, bytes, n);
        vio_devq_put(f->vq[queue], reqs[i]);
    }
    if (nr > 0)
        vio_device_publish(f->dev, queue, nr);
    return nr;
}

static int queue_enter(void *self, uint16_t queue, struct vio_devq *vq)
{
    ((struct fuzz *)self)->vq[queue] = vq;
    return 0;
}

static void queue_leave(void *self, uint16_t queue)
{
    ((struct fuzz *)self)->vq[queue] = NULL;
}

static bool config_writable(void *self, uint32_t offset, uint32_t len)
{
    (void)self;
    return offset >= 8 && len <= 8;
}

static int queue_fd(void *self, uint16_t queue)
{
    (void)self;
    (void)queue;
    return -1;
}

static bool queue_arm(void *self, uint16_t queue, bool sleep)
{
    (void)self;
    (void)queue;
    (void)sleep;
    return false;
}

static const struct vio_device_type type = {
    .name = "fuzz", .id = VIRTIO_ID_NET, .queue_size_max = 64, .config_size = 16, .config_writable = config_writable,
    .queue_enter = queue_enter, .queue_leave = queue_leave, .service = service, .queue_fd = queue_fd,
    .queue_arm = queue_arm,
};

/* ------------------------------------------------------------------ the embedder */

static void watch(void *ctx, struct vio_vu *vu, int fd, short events)
{
    struct fuzz *f = ctx;
    unsigned i = 0;

    (void)vu;
    while (i < f->nr_watched && f->watched[i].fd != fd)
        i++;
    if (events == 0) {
        if (i < f->nr_watched)
            f->watched[i] = f->watched[--f->nr_watched];
        return;
    }
    assert(i < WATCHED);
    f->watched[i] = (struct pollfd){ .fd = fd, .events = events };
    f->nr_watched += i == f->nr_watched;
}

static void timer(void *ctx, struct vio_vu *vu, unsigned ms)
{
    (void)ctx;
    (void)vu;
    assert(ms > 0);
}

static int rarp(void *ctx, struct vio_vu *vu, const uint8_t mac[6])
{
    (void)ctx;
    (void)vu;
    return mac[0] & 1 ? -1 : 0;
}

static int mtu(void *ctx, struct vio_vu *vu, uint16_t value)
{
    (void)ctx;
    (void)vu;
    assert(value >= 68);
    return 0;
}

static void ended(void *ctx, struct vio_vu *vu)
{
    struct fuzz *f = ctx;

    vio_vu_destroy(vu);
    f->vu = NULL;
}

static void connect_again(struct fuzz *f)
{
    struct vio_vu_params params = { .dev = f->dev, .side = VIO_VU_FD, .inband = true, .iommu = true, .net_rarp = rarp,
                                    .net_mtu = mtu, .watch = watch, .timer = timer, .ended = ended, .ctx = f };
    char why[200];
    int pair[2];

    vio_vu_destroy(f->vu);
    f->vu = NULL;
    if (f->peer >= 0)
        close(f->peer);
    f->peer = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        abort();
    f->peer = pair[0];
    params.fd = pair[1];
    if (vio_vu_create(&params, &f->vu, why, sizeof(why)) != 0)
        f->vu = NULL;
}

/* Lets everything run that can. */
static void pump(struct fuzz *f)
{
    char sink[4096];

    for (unsigned turn = 0; turn < 20; turn++) {
        struct pollfd fds[WATCHED];
        unsigned nr = f->nr_watched, ready = 0;

        memcpy(fds, f->watched, nr * sizeof(fds[0]));
        if (poll(fds, nr, 0) < 0)
            break;
        for (unsigned i = 0; i < nr && f->vu != NULL; i++) {
            if (fds[i].revents == 0)
                continue;
            ready++;
            vio_vu_event(f->vu, fds[i].fd, fds[i].revents);
        }
        for (uint16_t q = 0; q < QUEUES; q++) {
            if (!vio_device_queue_running(f->dev, q))
                continue;
            vio_device_queue_kick_drain(f->dev, q);
            ready += vio_device_queue_service(f->dev, q, 8) > 0;
        }
        vio_device_control(f->dev);
        if (f->vu != NULL)
            vio_vu_timer(f->vu);
        while (recv(f->peer, sink, sizeof(sink), MSG_DONTWAIT) > 0 || recv(f->far, sink, sizeof(sink), MSG_DONTWAIT) > 0)
            ;
        if (ready == 0)
            break;
    }
}

/* ------------------------------------------------------------------ steps */

static void send_bytes(struct fuzz *f, const void *bytes, size_t size, const int *fds, unsigned nr)
{
    char room[CMSG_SPACE(16 * sizeof(int))];
    struct iovec iov = { (void *)(uintptr_t)bytes, size };
    struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (nr > 0) {
        memset(room, 0, sizeof(room));
        h.msg_control = room;
        h.msg_controllen = CMSG_SPACE(nr * sizeof(int));
        *CMSG_FIRSTHDR(&h) = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
                                               .cmsg_len = CMSG_LEN(nr * sizeof(int)) };
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&h)), fds, nr * sizeof(int));
    }
    (void)!sendmsg(f->peer, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static const struct vhost_user_region region = { GPA, GUEST, UVA, 0 };

/* What a well-behaved front-end would send. The number of bytes. */
static uint32_t innocent(const struct vu_message *row, uint8_t *to)
{
    struct vhost_user_vring_addr addr = { 0, 0, UVA, UVA + 0x1000, UVA + 0x800, GPA + 0x1000 };
    struct vhost_user_mem_table table = { .nregions = 1, .region = { region } };
    struct vhost_user_mem_reg reg = { .region = region };
    struct vhost_user_config config = { 8, 4, 0 };
    struct vhost_user_inflight inflight = { 0x4000, 0, 1, RING, { 0 } };
    struct vhost_user_iotlb iotlb = { .iova = UVA, .size = GUEST, .uaddr = UVA, .perm = 3, .type = VHOST_USER_IOTLB_UPDATE };
    struct vhost_user_log log = { 4096, 0 };
    uint64_t u64 = row->id == VHOST_USER_SET_PROTOCOL_FEATURES ? vu_protocol_spoken() :
                   row->id == VHOST_USER_SET_STATUS ? 15 :
                   row->id == VHOST_USER_SET_FEATURES ? VIO_FEATURE(VIRTIO_F_VERSION_1) |
                                                        VIO_FEATURE(VIRTIO_F_PROTOCOL_FEATURES) : 0;
    struct vhost_user_vring_state state = { 0, row->id == VHOST_USER_SET_VRING_NUM ? RING :
                                               row->id == VHOST_USER_SET_VRING_ENABLE };

    switch (row->id) {
    case VHOST_USER_SET_MEM_TABLE:
        memcpy(to, &table, 40);
        return 40;
    case VHOST_USER_SET_LOG_BASE:
        memcpy(to, &log, sizeof(log));
        return sizeof(log);
    case VHOST_USER_SET_VRING_ADDR:
        memcpy(to, &addr, sizeof(addr));
        return sizeof(addr);
    case VHOST_USER_ADD_MEM_REG:
    case VHOST_USER_REM_MEM_REG:
        memcpy(to, &reg, sizeof(reg));
        return sizeof(reg);
    case VHOST_USER_GET_CONFIG:
    case VHOST_USER_SET_CONFIG:
        memset(to, 0, sizeof(config) + 4);
        memcpy(to, &config, sizeof(config));
        return sizeof(config) + 4;
    case VHOST_USER_GET_INFLIGHT_FD:
    case VHOST_USER_SET_INFLIGHT_FD:
        memcpy(to, &inflight, sizeof(inflight));
        return sizeof(inflight);
    case VHOST_USER_IOTLB_MSG:
        memcpy(to, &iotlb, sizeof(iotlb));
        return sizeof(iotlb);
    default:
        break;
    }
    memset(to, 0, row->length);
    if (row->index == VU_INDEX_U32)
        memcpy(to, &state, sizeof(state));
    else if (row->length == sizeof(u64))
        memcpy(to, &u64, sizeof(u64));
    return row->length;
}

static unsigned right_fds(const struct fuzz *f, const struct vu_message *row, int *fds)
{
    switch (row->fds) {
    case VU_FDS_REGIONS:
        fds[0] = f->fd[FD_GUEST];
        return 1;
    case VU_FDS_UNLESS_FLAG:
        fds[0] = f->fd[FD_EVENT];
        return 1;
    case VU_FDS_ONE:
        fds[0] = row->id == VHOST_USER_ADD_MEM_REG ? f->fd[FD_GUEST] :
                 row->id == VHOST_USER_SET_BACKEND_REQ_FD ? f->fd[FD_SOCKET] :
                 row->id == VHOST_USER_SET_DEVICE_STATE_FD ? f->fd[FD_PIPE_W] : f->fd[FD_INFLIGHT];
        return 1;
    default:
        return 0;
    }
}

static void message(struct fuzz *f, const struct vu_message *row, bool changed)
{
    uint8_t bytes[sizeof(struct vhost_user_header) + 512] = { 0 };
    struct vhost_user_header head = { row->id, VHOST_USER_VERSION | VHOST_USER_NEED_REPLY, 0 };
    int fds[16];
    unsigned nr = right_fds(f, row, fds);
    uint8_t how = changed ? byte(f) : 0;

    head.size = innocent(row, bytes + sizeof(head));
    for (unsigned i = 0; i < (how & 7u); i++) {
        unsigned offset = byte(f);

        bytes[sizeof(head) + offset % (head.size > 0 ? head.size : 1)] = byte(f);
    }
    if (how & 0x08) {
        nr = byte(f) % 10;
        for (unsigned i = 0; i < nr; i++)
            fds[i] = f->fd[byte(f) % NR_FDS];
    }
    if (how & 0x10)
        head.size = byte(f);
    if (how & 0x20)
        head.flags ^= byte(f);
    memcpy(bytes, &head, sizeof(head));
    send_bytes(f, bytes, sizeof(head) + (how & 0x40 ? head.size / 2 : head.size), fds, nr);
}

static void tell(struct fuzz *f, uint32_t id)
{
    message(f, vu_message_find(id), false);
    pump(f);
}

/* As far as a well-behaved front-end gets before the input takes over. */
static void prologue(struct fuzz *f, unsigned how)
{
    static const uint32_t steps[] = { VHOST_USER_SET_PROTOCOL_FEATURES, VHOST_USER_SET_OWNER, VHOST_USER_SET_FEATURES,
                                      VHOST_USER_SET_BACKEND_REQ_FD, VHOST_USER_SET_MEM_TABLE, VHOST_USER_GET_INFLIGHT_FD,
                                      VHOST_USER_SET_VRING_NUM, VHOST_USER_SET_VRING_ADDR, VHOST_USER_SET_VRING_CALL,
                                      VHOST_USER_SET_VRING_KICK, VHOST_USER_SET_VRING_ENABLE };

    for (unsigned i = 0; i < how && i < sizeof(steps) / sizeof(steps[0]); i++)
        tell(f, steps[i]);
}

static void step(struct fuzz *f)
{
    uint8_t op = byte(f);
    unsigned n;

    if (op < 0xc0) {
        message(f, &vu_messages[op % vu_nr_messages], true);
        if (op & 0x80)
            return; /* the next one comes in the same breath */
    } else if (op < 0xd0) {
        n = byte(f) % 64;
        n = n < f->left ? n : (unsigned)f->left;
        if (n > 0)
            send_bytes(f, f->at, n, f->fd, op & 1u);
        f->at += n;
        f->left -= n;
    } else if (op < 0xf0) {
        /* Guest memory: the ring lies in the first pages. */
        unsigned at = byte(f) | (op & 0x1fu) << 8;

        n = 1 + byte(f) % 32;
        for (unsigned i = 0; i < n; i++)
            f->guest[(at + i) % GUEST] = byte(f);
        (void)!eventfd_write(f->fd[FD_EVENT], 1);
    } else if (op == 0xf0) {
        connect_again(f);
        prologue(f, byte(f) % 16);
    } else if (op == 0xf1) {
        vio_device_config_set(f->dev, 0, f->guest, 4, true);
    } else {
        (void)!eventfd_write(f->fd[FD_EVENT], 1);
    }
    pump(f);
}

/* ------------------------------------------------------------------ one input */

static int lowest_free(void)
{
    int fd = dup(0);

    if (fd >= 0)
        close(fd);
    return fd;
}

static void begin(struct fuzz *f)
{
    struct vio_device_params params = { .type = &type, .self = f, .name = "fuzz", .queues = QUEUES,
                                        .features = vio_features_of(3) };
    int pair[2], pipes[2];

    f->fd[FD_GUEST] = memfd_create("guest", MFD_CLOEXEC);
    f->fd[FD_INFLIGHT] = memfd_create("record", MFD_CLOEXEC);
    f->fd[FD_EVENT] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pipe2(pipes, O_CLOEXEC | O_NONBLOCK) != 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0 ||
        ftruncate(f->fd[FD_GUEST], GUEST) != 0 || ftruncate(f->fd[FD_INFLIGHT], 0x8000) != 0)
        abort();
    f->fd[FD_PIPE_R] = pipes[0];
    f->fd[FD_PIPE_W] = pipes[1];
    f->fd[FD_SOCKET] = pair[0];
    f->far = pair[1];
    f->guest = mmap(NULL, GUEST, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd[FD_GUEST], 0);
    if (f->guest == MAP_FAILED || vio_device_create(&params, &f->dev) != 0)
        abort();
    connect_again(f);
}

static void end(struct fuzz *f)
{
    vio_vu_destroy(f->vu);
    vio_device_destroy(f->dev);
    munmap(f->guest, GUEST);
    for (unsigned i = 0; i < NR_FDS; i++)
        close(f->fd[i]);
    close(f->far);
    close(f->peer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz f = { .at = data, .left = size, .peer = -1 };
    int before = lowest_free();

    signal(SIGPIPE, SIG_IGN);
    begin(&f);
    prologue(&f, byte(&f) % 16);
    for (unsigned i = 0; i < STEPS && f.left > 0; i++)
        step(&f);
    pump(&f);
    end(&f);
    assert(lowest_free() == before);
    return 0;
}
