/* SPDX-License-Identifier: MIT */
/*
 * The vhost-user driver side against a device end that a test makes up, message by message: what is said, in which
 * order, with which descriptors, and what becomes of answers that are none.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>
#include <vio/vhost_user_driver.h>
#include "spec/ring.h"
#include "spec/vhost_user.h"
#include "spec/virtio.h"

#define P(bit) VIO_FEATURE(VHOST_USER_PROTOCOL_F_##bit)

enum { SEEN_MAX = 128 };

/* How the device end answers the request `on`. */
enum quirk {
    NO_QUIRK, HANG_UP, SILENT, OTHER_REQUEST, NO_REPLY_FLAG, TOO_LONG, TOO_SHORT, REFUSE, EMPTY, WITH_FDS, CUT
};

struct seen {
    struct vhost_user_header header;
    unsigned nr_fds;
    union {
        uint64_t u64;
        struct vhost_user_vring_state state;
        struct vhost_user_vring_addr addr;
        struct vhost_user_mem_table table;
        struct vhost_user_inflight inflight;
        struct {
            struct vhost_user_config head;
            uint8_t bytes[256];
        } config;
    } u;
};

struct device {
    int fd, listener;
    uint64_t features, protocol;
    uint64_t queues;
    uint32_t quirk_on;
    enum quirk quirk;
    bool features_ok;
    atomic_bool keep_listening;
    pthread_t thread;

    uint64_t status;
    uint8_t config[64];
    int inflight_fd;
    ino_t inflight_seen; /* of SET_INFLIGHT_FD */
    struct seen seen[SEEN_MAX];
    unsigned nr_seen;
};

static bool read_all(int fd, void *to, size_t size, int *fds, unsigned *nr_fds)
{
    size_t done = 0;

    while (done < size) {
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(8 * sizeof(int))];
        } control;
        struct iovec iov = { (char *)to + done, size - done };
        struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
                            .msg_controllen = sizeof(control.bytes) };
        ssize_t n = recvmsg(fd, &m, 0);

        if (n <= 0)
            return false;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
            size_t got = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

            memcpy(fds + *nr_fds, CMSG_DATA(c), got * sizeof(int));
            *nr_fds += (unsigned)got;
        }
        done += (size_t)n;
    }
    return true;
}

static void answer(struct device *d, const struct seen *s, const void *payload, uint32_t size, int fd)
{
    struct vhost_user_header header = { s->header.request, VHOST_USER_VERSION | VHOST_USER_REPLY, size };
    uint8_t bytes[2048] = { 0 };
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control = { 0 };
    int fds[2] = { fd, fd };
    unsigned nr_fds = fd >= 0 ? 1 : 0;
    struct iovec iov = { bytes, sizeof(header) + size };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (s->header.request == d->quirk_on) {
        switch (d->quirk) {
        case SILENT: return;
        case OTHER_REQUEST: header.request++; break;
        case NO_REPLY_FLAG: header.flags = VHOST_USER_VERSION; break;
        case TOO_LONG: header.size = 1000; iov.iov_len = sizeof(header) + 1000; break;
        case TOO_SHORT: header.size = size - 1; iov.iov_len--; break;
        case EMPTY: header.size = 0; iov.iov_len = sizeof(header); break;
        case CUT: iov.iov_len--; break;
        case WITH_FDS:
            fds[0] = fds[1] = d->fd;
            nr_fds = 2;
            break;
        default: break;
        }
    }
    memcpy(bytes, &header, sizeof(header));
    if (size > 0)
        memcpy(bytes + sizeof(header), payload, size);
    if (nr_fds > 0) {
        struct cmsghdr *c;

        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(nr_fds * sizeof(int));
        c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(nr_fds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, nr_fds * sizeof(int));
    }
    (void)!sendmsg(d->fd, &m, MSG_NOSIGNAL);
    if (s->header.request == d->quirk_on && d->quirk == CUT)
        shutdown(d->fd, SHUT_RDWR);
}

static void answer_u64(struct device *d, const struct seen *s, uint64_t value)
{
    answer(d, s, &value, sizeof(value), -1);
}

static void answer_config(struct device *d, const struct seen *s)
{
    uint32_t offset = s->u.config.head.offset, size = s->u.config.head.size;
    struct seen reply = *s;

    if (offset + size > sizeof(d->config)) {
        answer(d, s, NULL, 0, -1);
        return;
    }
    memcpy(reply.u.config.bytes, d->config + offset, size);
    answer(d, s, &reply.u, (uint32_t)sizeof(struct vhost_user_config) + size, -1);
}

static void respond(struct device *d, const struct seen *s)
{
    struct vhost_user_inflight inflight = { .mmap_size = 4096, .num_queues = s->u.inflight.num_queues };

    switch (s->header.request) {
    case VHOST_USER_GET_FEATURES: answer_u64(d, s, d->features); return;
    case VHOST_USER_GET_PROTOCOL_FEATURES: answer_u64(d, s, d->protocol); return;
    case VHOST_USER_GET_QUEUE_NUM: answer_u64(d, s, d->queues); return;
    case VHOST_USER_GET_STATUS: answer_u64(d, s, d->status); return;
    case VHOST_USER_GET_VRING_BASE: answer(d, s, &s->u.state, sizeof(s->u.state), -1); return;
    case VHOST_USER_GET_CONFIG: answer_config(d, s); return;
    case VHOST_USER_GET_INFLIGHT_FD: answer(d, s, &inflight, sizeof(inflight), d->inflight_fd); return;
    case VHOST_USER_SET_STATUS:
        d->status = d->features_ok ? s->u.u64 : s->u.u64 & ~(uint64_t)VIRTIO_STATUS_FEATURES_OK;
        break;
    default: break;
    }
    if (s->header.flags & VHOST_USER_NEED_REPLY)
        answer_u64(d, s, s->header.request == d->quirk_on && d->quirk == REFUSE);
}

/* One connection, from the first message to the hang-up. */
static void converse(struct device *d)
{
    for (;;) {
        struct seen s = { 0 };
        struct stat status;
        int fds[32];

        if (!read_all(d->fd, &s.header, sizeof(s.header), fds, &s.nr_fds) || s.header.size > sizeof(s.u) ||
            !read_all(d->fd, &s.u, s.header.size, fds, &s.nr_fds))
            break;
        if (s.header.request == VHOST_USER_SET_INFLIGHT_FD && s.nr_fds == 1 && fstat(fds[0], &status) == 0)
            d->inflight_seen = status.st_ino;
        if (d->nr_seen < SEEN_MAX)
            d->seen[d->nr_seen++] = s;
        if (s.header.request == d->quirk_on && d->quirk == HANG_UP) {
            for (unsigned i = 0; i < s.nr_fds; i++)
                close(fds[i]);
            break;
        }
        respond(d, &s);
        for (unsigned i = 0; i < s.nr_fds; i++)
            close(fds[i]);
    }
    close(d->fd);
    d->fd = -1;
}

static void *device_thread(void *arg)
{
    struct device *d = arg;

    do {
        if (d->listener >= 0) {
            d->fd = accept(d->listener, NULL, NULL);
            if (d->fd < 0)
                break;
        }
        converse(d);
    } while (d->keep_listening);
    return NULL;
}

/* ---------------------------------------------------------------- fixtures */

static struct device device_of(uint64_t features, uint64_t protocol)
{
    return (struct device){
        .fd = -1, .listener = -1, .features = features, .protocol = protocol, .queues = 4, .features_ok = true,
        .inflight_fd = -1,
    };
}

#define PLAIN (VIO_FEATURE(VIRTIO_F_VERSION_1) | VIO_FEATURE(VIRTIO_F_RING_PACKED) | VIO_FEATURE(VIRTIO_F_EVENT_IDX))
#define FULL (PLAIN | VIO_FEATURE(VIRTIO_F_PROTOCOL_FEATURES))
#define ALL_PROTOCOL (P(MQ) | P(REPLY_ACK) | P(CONFIG) | P(INFLIGHT_SHMFD) | P(STATUS) | P(LOG_SHMFD))

static struct vio_vud *make(struct device *d)
{
    struct vio_vud_params params = { .timeout_ms = 300 };
    struct vio_vud *v;
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    d->fd = pair[0];
    params.fd = pair[1];
    d->inflight_fd = memfd_create("inflight", MFD_CLOEXEC);
    assert_int_equal(ftruncate(d->inflight_fd, 4096), 0);
    assert_int_equal(vio_vud_create(&params, &v), 0);
    assert_int_equal(pthread_create(&d->thread, NULL, device_thread, d), 0);
    return v;
}

static void end(struct device *d, struct vio_vud *v)
{
    vio_vud_destroy(v);
    pthread_join(d->thread, NULL);
    close(d->inflight_fd);
}

static struct vio_vud_setup setup_of(uint64_t features, uint16_t queues, uint16_t size)
{
    return (struct vio_vud_setup){ .features = vio_features_of(features), .queues = queues, .queue_size = size,
                                   .buffer_bytes = 10000, .small_pages = true };
}

static unsigned open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static const struct seen *find(const struct device *d, uint32_t request, unsigned nth)
{
    for (unsigned i = 0; i < d->nr_seen; i++) {
        if (d->seen[i].header.request == request && nth-- == 0)
            return &d->seen[i];
    }
    fail_msg("message %u did not come", request);
    return NULL;
}

static unsigned count(const struct device *d, uint32_t request)
{
    unsigned n = 0;

    for (unsigned i = 0; i < d->nr_seen; i++)
        n += d->seen[i].header.request == request;
    return n;
}

/* ---------------------------------------------------------------- tests */

static void test_create(void **state)
{
    struct vio_vud_params params = { .fd = -1 };
    struct vio_vud *v;
    char path[200];

    (void)state;
    assert_int_equal(vio_vud_create(&params, &v), -EINVAL);
    memset(path, 'a', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    params.path = path;
    assert_int_equal(vio_vud_create(&params, &v), -EINVAL);
    params.path = "/nowhere/at/all.sock";
    assert_int_equal(vio_vud_create(&params, &v), 0);
    assert_int_equal(vio_vud_connect(v), -ENOENT);
    assert_non_null(strstr(vio_vud_why(v), "/nowhere/at/all.sock"));
    assert_false(vio_vud_connected(v));
    vio_vud_destroy(v);
    vio_vud_destroy(NULL);
}

static void test_connect(void **state)
{
    struct device d = device_of(FULL, ALL_PROTOCOL | P(PAGEFAULT));
    struct vio_vud *v = make(&d);

    (void)state;
    assert_int_equal(vio_vud_connect(v), 0);
    assert_true(vio_vud_connected(v));
    assert_int_equal(vio_vud_offered(v).w[0], PLAIN);
    assert_int_equal(vio_vud_protocol_offered(v), ALL_PROTOCOL | P(PAGEFAULT));
    assert_int_equal(vio_vud_protocol(v), ALL_PROTOCOL & ~(P(LOG_SHMFD) | P(PAGEFAULT)));
    assert_int_equal(vio_vud_queues_max(v), 4);
    end(&d, v);
    assert_int_equal(d.seen[0].header.request, VHOST_USER_GET_FEATURES);
    assert_int_equal(d.seen[0].header.flags, VHOST_USER_VERSION);
    assert_int_equal(find(&d, VHOST_USER_SET_OWNER, 0)->header.flags, VHOST_USER_VERSION | VHOST_USER_NEED_REPLY);
    assert_int_equal(find(&d, VHOST_USER_SET_PROTOCOL_FEATURES, 0)->header.flags, VHOST_USER_VERSION);
}

/* A device that knows no protocol features is one of one queue, with no acknowledgement of anything. */
static void test_old_device(void **state)
{
    struct device d = device_of(PLAIN, 0);
    struct vio_vud *v = make(&d);
    struct vio_vud_setup setup = setup_of(PLAIN & ~VIO_FEATURE(VIRTIO_F_RING_PACKED), 1, 8);
    uint8_t byte;

    (void)state;
    assert_int_equal(vio_vud_connect(v), 0);
    assert_int_equal(vio_vud_queues_max(v), 1);
    assert_int_equal(vio_vud_config_read(v, 0, &byte, 1), -ENOTSUP);
    assert_int_equal(vio_vud_status(v, &byte), -ENOTSUP);
    assert_int_equal(vio_vud_start(v, &setup), 0);
    assert_int_equal(vio_vud_stop(v), 0);
    end(&d, v);
    assert_int_equal(find(&d, VHOST_USER_SET_FEATURES, 0)->u.u64, setup.features.w[0]);
    assert_int_equal(count(&d, VHOST_USER_SET_VRING_ENABLE), 0);
    assert_int_equal(count(&d, VHOST_USER_SET_STATUS), 0);
    for (unsigned i = 0; i < d.nr_seen; i++)
        assert_int_equal(d.seen[i].header.flags, VHOST_USER_VERSION);
}

static void check_bad_answer(uint32_t on, enum quirk quirk, int expected)
{
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct vio_vud_setup setup = setup_of(PLAIN, 1, 8);
    unsigned before = open_fds();
    struct vio_vud *v;
    int error;

    d.quirk_on = on;
    d.quirk = quirk;
    v = make(&d);
    error = vio_vud_connect(v);
    if (!error)
        error = vio_vud_start(v, &setup);
    if (!error)
        error = vio_vud_stop(v);
    if (error != expected)
        fail_msg("message %u, quirk %d: %d, not %d", on, (int)quirk, error, expected);
    if (expected != 0) {
        assert_true(strlen(vio_vud_why(v)) > 0);
        assert_null(vio_vud_queue(v, 1));
    }
    end(&d, v);
    assert_int_equal(open_fds(), before);
}

static void test_bad_answers(void **state)
{
    static const uint32_t replied[] = {
        VHOST_USER_GET_FEATURES, VHOST_USER_GET_PROTOCOL_FEATURES, VHOST_USER_GET_QUEUE_NUM, VHOST_USER_GET_STATUS,
        VHOST_USER_GET_INFLIGHT_FD, VHOST_USER_GET_VRING_BASE,
    };
    static const uint32_t acknowledged[] = {
        VHOST_USER_SET_OWNER, VHOST_USER_SET_FEATURES, VHOST_USER_SET_STATUS, VHOST_USER_SET_MEM_TABLE,
        VHOST_USER_SET_INFLIGHT_FD, VHOST_USER_SET_VRING_NUM, VHOST_USER_SET_VRING_BASE, VHOST_USER_SET_VRING_ADDR,
        VHOST_USER_SET_VRING_CALL, VHOST_USER_SET_VRING_KICK, VHOST_USER_SET_VRING_ENABLE,
    };

    (void)state;
    for (size_t i = 0; i < sizeof(replied) / sizeof(replied[0]); i++) {
        check_bad_answer(replied[i], HANG_UP, -ECONNRESET);
        check_bad_answer(replied[i], CUT, -ECONNRESET);
        check_bad_answer(replied[i], OTHER_REQUEST, -EPROTO);
        check_bad_answer(replied[i], NO_REPLY_FLAG, -EPROTO);
        check_bad_answer(replied[i], TOO_LONG, -EPROTO);
        check_bad_answer(replied[i], TOO_SHORT, -EPROTO);
        check_bad_answer(replied[i], EMPTY, -EPROTO);
        check_bad_answer(replied[i], WITH_FDS, 0);
    }
    for (size_t i = 0; i < sizeof(acknowledged) / sizeof(acknowledged[0]); i++) {
        check_bad_answer(acknowledged[i], HANG_UP, -ECONNRESET);
        check_bad_answer(acknowledged[i], OTHER_REQUEST, -EPROTO);
        check_bad_answer(acknowledged[i], TOO_LONG, -EPROTO);
        check_bad_answer(acknowledged[i], TOO_SHORT, -EPROTO);
        check_bad_answer(acknowledged[i], REFUSE, -EPROTO);
    }
    check_bad_answer(VHOST_USER_GET_FEATURES, SILENT, -ETIMEDOUT);
    check_bad_answer(VHOST_USER_SET_MEM_TABLE, SILENT, -ETIMEDOUT);
}

static void test_no_queue(void **state)
{
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct vio_vud *v;

    (void)state;
    d.queues = 0;
    v = make(&d);
    assert_int_equal(vio_vud_connect(v), -EPROTO);
    assert_false(vio_vud_connected(v));
    end(&d, v);
}

static void test_setup_that_cannot_be(void **state)
{
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct vio_vud *v = make(&d);
    struct vio_vud_setup setup = setup_of(PLAIN & ~VIO_FEATURE(VIRTIO_F_RING_PACKED), 1, 12);
    unsigned messages;

    (void)state;
    assert_int_equal(vio_vud_start(v, &setup), -ENOTCONN);
    assert_int_equal(vio_vud_connect(v), 0);
    messages = d.nr_seen;
    assert_int_equal(vio_vud_start(v, &setup), -EINVAL);
    assert_non_null(strstr(vio_vud_why(v), "power of two"));
    setup.queue_size = 0;
    assert_int_equal(vio_vud_start(v, &setup), -EINVAL);
    setup.queue_size = 16;
    setup.queues = 5;
    assert_int_equal(vio_vud_start(v, &setup), -EINVAL);
    setup.queues = 0;
    assert_int_equal(vio_vud_start(v, &setup), -EINVAL);
    setup.queues = 1;
    setup.features.w[0] |= VIO_FEATURE(VIRTIO_F_IN_ORDER);
    assert_int_equal(vio_vud_start(v, &setup), -EPROTO);
    setup.features = (struct vio_features){ { PLAIN, 1 } };
    assert_int_equal(vio_vud_start(v, &setup), -EPROTO);
    assert_int_equal(d.nr_seen, messages); /* all of it was refused here */
    setup = setup_of(PLAIN, 1, 12); /* packed: any size */
    assert_int_equal(vio_vud_start(v, &setup), 0);
    assert_int_equal(vio_vud_start(v, &setup), -EBUSY);
    assert_int_equal(vio_vud_connect(v), -EBUSY);
    end(&d, v);
}

static void test_features_not_ok(void **state)
{
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct vio_vud_setup setup = setup_of(PLAIN, 1, 8);
    struct vio_vud *v;

    (void)state;
    d.features_ok = false;
    v = make(&d);
    assert_int_equal(vio_vud_connect(v), 0);
    assert_int_equal(vio_vud_start(v, &setup), -EPROTO);
    assert_non_null(strstr(vio_vud_why(v), "2.2.2"));
    assert_null(vio_vud_queue(v, 0));
    end(&d, v);
    assert_int_equal(count(&d, VHOST_USER_SET_MEM_TABLE), 0);
}

/* Everything that a start says: what comes before what, and that all the addresses are inside the one region. */
static void check_start(uint64_t features, uint16_t queues, uint16_t size, bool polled)
{
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct vio_vud *v = make(&d);
    struct vio_vud_setup setup = setup_of(features, queues, size);
    struct vio_queue_layout layout = vio_queue_layout(size, (features & VIO_FEATURE(VIRTIO_F_RING_PACKED)) != 0);
    struct vio_vud_memory memory;
    const struct vhost_user_region *region;
    const struct seen *table;
    uint64_t addr_to_host;

    setup.poll_kick = setup.poll_call = polled;
    setup.indirect_max = 3;
    assert_int_equal(vio_vud_connect(v), 0);
    assert_int_equal(vio_vud_start(v, &setup), 0);
    assert_int_equal(vio_vud_queues(v), queues);
    memory = vio_vud_memory(v);
    assert_true(memory.size >= setup.buffer_bytes);
    memset(memory.host, 0x5a, memory.size);
    addr_to_host = (uintptr_t)memory.host - memory.addr;
    for (uint16_t i = 0; i < queues; i++) {
        assert_non_null(vio_vud_queue(v, i));
        assert_int_equal(vio_vud_call_fd(v, i) >= 0, !polled);
        vio_vud_kick(v, i);
        vio_vud_call_clear(v, i);
    }
    assert_null(vio_vud_queue(v, queues));
    assert_int_equal(vio_vud_stop(v), 0);
    end(&d, v);

    table = find(&d, VHOST_USER_SET_MEM_TABLE, 0);
    region = &table->u.table.region[0];
    assert_int_equal(table->nr_fds, 1);
    assert_int_equal(table->header.size, 8 + 32);
    assert_int_equal(table->u.table.nregions, 1);
    assert_int_equal(region->user_addr - region->guest_addr, addr_to_host);
    assert_true(vio_range_ok(memory.addr - region->guest_addr, memory.size, region->size));
    for (uint16_t i = 0; i < queues; i++) {
        const struct vhost_user_vring_addr *a = &find(&d, VHOST_USER_SET_VRING_ADDR, i)->u.addr;
        uint64_t base = region->user_addr, end_of_rings = memory.addr + addr_to_host - base;

        assert_int_equal(a->index, i);
        assert_true(vio_range_ok(a->desc - base, layout.desc_bytes, end_of_rings));
        assert_true(vio_range_ok(a->avail - base, layout.driver_bytes, end_of_rings));
        assert_true(vio_range_ok(a->used - base, layout.device_bytes, end_of_rings));
        assert_int_equal(a->desc % layout.desc_align, 0);
        assert_int_equal(find(&d, VHOST_USER_SET_VRING_NUM, i)->u.state.num, size);
        assert_int_equal(find(&d, VHOST_USER_SET_VRING_KICK, i)->u.u64, i | (polled ? 0x100u : 0));
        assert_int_equal(find(&d, VHOST_USER_SET_VRING_KICK, i)->nr_fds, !polled);
        assert_int_equal(find(&d, VHOST_USER_SET_VRING_CALL, i)->u.u64, i | (polled ? 0x100u : 0));
        assert_int_equal(find(&d, VHOST_USER_SET_VRING_ENABLE, i)->u.state.num, 1);
        assert_int_equal(find(&d, VHOST_USER_GET_VRING_BASE, i)->u.state.index, i);
    }
    assert_int_equal(find(&d, VHOST_USER_SET_FEATURES, 0)->u.u64,
                     features | VIO_FEATURE(VIRTIO_F_PROTOCOL_FEATURES));
    assert_int_equal(find(&d, VHOST_USER_GET_INFLIGHT_FD, 0)->u.inflight.num_queues, queues);
    assert_int_equal(find(&d, VHOST_USER_SET_INFLIGHT_FD, 0)->u.inflight.queue_size, size);
    assert_true(find(&d, VHOST_USER_SET_INFLIGHT_FD, 0) < find(&d, VHOST_USER_SET_VRING_KICK, 0));
    assert_true(table < find(&d, VHOST_USER_SET_VRING_ADDR, 0));
    /* reset, driver, features ok, driver ok, reset */
    assert_int_equal(count(&d, VHOST_USER_SET_STATUS), 5);
    assert_int_equal(find(&d, VHOST_USER_SET_STATUS, 3)->u.u64, 15);
    assert_int_equal(find(&d, VHOST_USER_SET_STATUS, 4)->u.u64, 0);
}

static void test_start(void **state)
{
    (void)state;
    check_start(VIO_FEATURE(VIRTIO_F_VERSION_1), 1, 1, false);
    check_start(VIO_FEATURE(VIRTIO_F_VERSION_1), 4, 256, false);
    check_start(VIO_FEATURE(VIRTIO_F_VERSION_1), 2, 32768, true);
    check_start(VIO_FEATURE(VIRTIO_F_VERSION_1) | VIO_FEATURE(VIRTIO_F_RING_PACKED), 3, 13, false);
    check_start(VIO_FEATURE(VIRTIO_F_VERSION_1) | VIO_FEATURE(VIRTIO_F_RING_PACKED), 1, 32768, true);
}

static void test_start_twice(void **state)
{
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct vio_vud *v = make(&d);
    struct vio_vud_setup setup = setup_of(PLAIN, 1, 8);
    unsigned before;

    (void)state;
    assert_int_equal(vio_vud_connect(v), 0);
    assert_int_equal(vio_vud_start(v, &setup), 0);
    before = open_fds();
    assert_int_equal(vio_vud_stop(v), 0);
    assert_int_equal(vio_vud_stop(v), 0); /* nothing runs: nothing to do */
    setup.queues = 1;
    setup.queue_size = 64;
    assert_int_equal(vio_vud_start(v, &setup), 0);
    assert_int_equal(open_fds(), before);
    end(&d, v);
    assert_int_equal(count(&d, VHOST_USER_GET_INFLIGHT_FD), 2);
}

static void test_config(void **state)
{
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct vio_vud *v;
    uint8_t bytes[300] = { 0 };

    (void)state;
    for (unsigned i = 0; i < sizeof(d.config); i++)
        d.config[i] = (uint8_t)i;
    v = make(&d);
    assert_int_equal(vio_vud_connect(v), 0);
    assert_int_equal(vio_vud_config_read(v, 4, bytes, 8), 0);
    assert_memory_equal(bytes, d.config + 4, 8);
    assert_int_equal(vio_vud_config_read(v, 60, bytes, 8), -EINVAL); /* the device said no: an empty answer */
    assert_true(vio_vud_connected(v));
    assert_int_equal(vio_vud_config_read(v, 0, bytes, 257), -EINVAL);
    assert_int_equal(vio_vud_config_read(v, 0, bytes, 0), -EINVAL);
    assert_int_equal(vio_vud_config_write(v, 32, "\1", 1), 0);
    end(&d, v);
    assert_int_equal(find(&d, VHOST_USER_SET_CONFIG, 0)->header.size, 13);
    assert_int_equal(find(&d, VHOST_USER_SET_CONFIG, 0)->u.config.head.offset, 32);
    assert_int_equal(find(&d, VHOST_USER_SET_CONFIG, 0)->u.config.bytes[0], 1);
}

static void test_config_refused(void **state)
{
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct vio_vud *v;

    (void)state;
    d.quirk_on = VHOST_USER_SET_CONFIG;
    d.quirk = REFUSE;
    v = make(&d);
    assert_int_equal(vio_vud_connect(v), 0);
    assert_int_equal(vio_vud_config_write(v, 0, "\1", 1), -EINVAL);
    assert_true(vio_vud_connected(v));
    end(&d, v);
}

static struct vio_vud *make_listening(struct device *d, char *path, size_t size)
{
    struct vio_vud_params params = { .path = path, .fd = -1, .timeout_ms = 300 };
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct vio_vud *v;

    snprintf(path, size, "/tmp/vio-vud-test-%d.sock", (int)getpid());
    unlink(path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    d->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(d->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(d->listener, 1), 0);
    d->keep_listening = true;
    d->inflight_fd = memfd_create("inflight", MFD_CLOEXEC);
    assert_int_equal(ftruncate(d->inflight_fd, 4096), 0);
    assert_int_equal(vio_vud_create(&params, &v), 0);
    assert_int_equal(pthread_create(&d->thread, NULL, device_thread, d), 0);
    return v;
}

static void end_listening(struct device *d, struct vio_vud *v, const char *path)
{
    vio_vud_destroy(v);
    d->keep_listening = false;
    shutdown(d->listener, SHUT_RDWR);
    pthread_join(d->thread, NULL);
    close(d->listener);
    close(d->inflight_fd);
    unlink(path);
}

/* What the device side of a split ring writes for the first buffer: used.ring[0] and used.idx. */
static void use_first(uint8_t *used)
{
    struct virtq_used_elem element = { vio_le32_of(0), vio_le32_of(0) };
    vio_le16 idx = vio_le16_of(1);

    memcpy(used + VIRTQ_USED_RING, &element, sizeof(element));
    memcpy(used + VIRTQ_USED_IDX, &idx, sizeof(idx));
}

static void test_reconnect(void **state)
{
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct vio_vud_setup setup = setup_of(VIO_FEATURE(VIRTIO_F_VERSION_1), 1, 8);
    struct vio_buf buf;
    struct vio_done done[4];
    struct pollfd waiting = { .events = POLLIN };
    struct stat inflight;
    struct vio_drvq *q;
    struct vio_vud *v;
    char path[64];

    (void)state;
    v = make_listening(&d, path, sizeof(path));
    assert_int_equal(vio_vud_reconnect(v), -EINVAL);
    assert_int_equal(vio_vud_connect(v), 0);
    assert_int_equal(vio_vud_start(v, &setup), 0);
    assert_int_equal(fstat(d.inflight_fd, &inflight), 0);
    assert_int_equal(d.inflight_seen, inflight.st_ino);
    assert_int_equal(find(&d, VHOST_USER_SET_VRING_BASE, 0)->u.state.num, 0);
    q = vio_vud_queue(v, 0);
    buf = (struct vio_buf){ vio_vud_memory(v).addr, 16 };
    assert_int_equal(vio_drvq_put(q, &buf, 1, 0, 70), 0);
    assert_int_equal(vio_drvq_put(q, &buf, 1, 0, 71), 0);
    (void)!vio_drvq_publish(q);
    use_first((uint8_t *)(uintptr_t)find(&d, VHOST_USER_SET_VRING_ADDR, 0)->u.addr.used);

    assert_int_equal(vio_vud_reconnect(v), -EBUSY); /* a used buffer first */
    assert_int_equal(vio_drvq_collect(q, done, 4), 1);
    assert_int_equal(done[0].token, 70);
    d.inflight_seen = 0;
    assert_int_equal(vio_vud_reconnect(v), 0);
    assert_ptr_equal(vio_vud_queue(v, 0), q);
    assert_int_equal(vio_drvq_in_flight(q), 1);
    assert_int_equal(d.inflight_seen, inflight.st_ino); /* the same record... */
    assert_int_equal(count(&d, VHOST_USER_GET_INFLIGHT_FD), 1); /* ...not a new one */
    assert_int_equal(find(&d, VHOST_USER_SET_VRING_BASE, 1)->u.state.num, 1); /* from the first that is not used */
    assert_int_equal(find(&d, VHOST_USER_SET_VRING_ADDR, 1)->u.addr.desc,
                     find(&d, VHOST_USER_SET_VRING_ADDR, 0)->u.addr.desc);
    /* reset, driver, features ok, driver ok; then no reset, but driver, features ok, driver ok */
    assert_int_equal(count(&d, VHOST_USER_SET_STATUS), 7);
    assert_int_equal(find(&d, VHOST_USER_SET_STATUS, 4)->u.u64, 3);
    waiting.fd = vio_vud_fd(v);
    assert_int_equal(poll(&waiting, 1, 0), 0);
    end_listening(&d, v, path);
}

/* A device that came back with less than before does not get the rings; once it has all again, it does. */
static void test_reconnect_to_less(void **state)
{
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct vio_vud_setup setup = setup_of(PLAIN, 2, 8);
    struct vio_vud *v;
    char path[64];

    (void)state;
    v = make_listening(&d, path, sizeof(path));
    assert_int_equal(vio_vud_connect(v), 0);
    assert_int_equal(vio_vud_start(v, &setup), 0);
    d.features &= ~VIO_FEATURE(VIRTIO_F_EVENT_IDX);
    assert_int_equal(vio_vud_reconnect(v), -EPROTO);
    assert_false(vio_vud_connected(v));
    d.features = FULL;
    d.queues = 1;
    assert_int_equal(vio_vud_reconnect(v), -EPROTO);
    d.queues = 2;
    assert_int_equal(vio_vud_reconnect(v), 0);
    assert_true(vio_vud_connected(v));
    end_listening(&d, v, path);
}

static void test_given_fd_is_used_once(void **state)
{
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct vio_vud_setup setup = setup_of(PLAIN, 1, 8);
    struct vio_vud *v = make(&d);

    (void)state;
    assert_int_equal(vio_vud_connect(v), 0);
    assert_int_equal(vio_vud_start(v, &setup), 0);
    assert_int_equal(vio_vud_reconnect(v), -ENOTCONN);
    end(&d, v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_connect),
        cmocka_unit_test(test_old_device),
        cmocka_unit_test(test_bad_answers),
        cmocka_unit_test(test_no_queue),
        cmocka_unit_test(test_setup_that_cannot_be),
        cmocka_unit_test(test_features_not_ok),
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_start_twice),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_config_refused),
        cmocka_unit_test(test_reconnect),
        cmocka_unit_test(test_reconnect_to_less),
        cmocka_unit_test(test_given_fd_is_used_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
