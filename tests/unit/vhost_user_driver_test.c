/* SPDX-License-Identifier: MIT */
/*
 * The vhost-user transport of the driver side against a device end that a test makes up, message by message: what is said,
 * in which order, with which descriptors, and what becomes of answers that are none.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>
#include <vio/drv_generic.h>
#include <vio/vhost_user_driver.h>
#include "fake_backend.h"
#include "spec/ring.h"

#define PLAIN                                                                                                            \
    (VIO_FEATURE(VIRTIO_F_VERSION_1) | VIO_FEATURE(VIRTIO_F_RING_PACKED) | VIO_FEATURE(VIRTIO_F_EVENT_IDX) |              \
     VIO_FEATURE(VIRTIO_F_INDIRECT_DESC))
#define FULL (PLAIN | VIO_FEATURE(VIRTIO_F_PROTOCOL_FEATURES))

/* The driver's end: everything that is ours. */
struct front {
    struct vio_arena *arena;
    struct vio_transport *t;
    struct vio_bus *bus;
    struct vio_drvdev *d;
    struct vio_drv_generic_driver driver;
    struct vio_drvdev_queue_plan plans[4];
    char why[VIO_DRV_WHY];
    char path[64];
    bool poll_kick;
};

static int connect_to(struct front *f, struct device *d)
{
    struct vio_arena_params memory = { .size = 16 << 20, .small_pages = true };
    struct vio_vud_params params = { .timeout_ms = 300, .poll_kick = f->poll_kick, .queue_size_max = 32768, .fd = -1 };
    int pair[2];

    assert_int_equal(vio_arena_create(&memory, &f->arena), 0);
    params.arena = f->arena;
    if (f->path[0] != '\0') {
        params.path = f->path;
    } else {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        d->fd = pair[0];
        params.fd = pair[1];
    }
    device_begin(d);
    return vio_vud_create(&params, &f->t, f->why);
}

/* So many queues of one size, all ring bits; wanted: feature bits that must be there. */
static void plan(struct front *f, uint64_t wanted, uint16_t queues, uint16_t size)
{
    struct vio_drv_generic_params params = { .plans = f->plans, .nr_plans = queues };

    for (uint16_t i = 0; i < queues; i++) {
        f->plans[i].queue = i;
        f->plans[i].size = size;
    }
    params.features = params.needs = vio_features_of(wanted);
    vio_drv_generic_driver(&f->driver, &params);
}

static enum vio_drvdev_state_name add(struct front *f)
{
    assert_int_equal(vio_bus_create(f->t->platform, &f->bus), 0);
    assert_int_equal(vio_bus_add(f->bus, f->t, 0, &f->driver.driver, &f->d), 0);
    return vio_drvdev_status(f->d);
}

/* Connected and running, or the test fails. */
static void start(struct front *f, struct device *d, uint64_t wanted, uint16_t queues, uint16_t size)
{
    if (connect_to(f, d) != 0)
        fail_msg("%s", f->why);
    plan(f, wanted, queues, size);
    if (add(f) != VIO_DRVDEV_RUNS)
        fail_msg("%s", vio_drvdev_why(f->d));
}

static void end(struct front *f, struct device *d)
{
    if (f->bus == NULL && f->t != NULL)
        f->t->ops->destroy(f->t);
    vio_bus_destroy(f->bus);
    device_end(d);
    vio_arena_destroy(f->arena);
    if (f->path[0] != '\0')
        unlink(f->path);
}

static void listen_at(struct front *f, struct device *d)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    snprintf(f->path, sizeof(f->path), "/tmp/vio-vud-test-%d.sock", (int)getpid());
    unlink(f->path);
    memcpy(address.sun_path, f->path, strlen(f->path) + 1);
    d->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(d->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(d->listener, 1), 0);
    d->keep_listening = true;
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
    const struct seen *s = device_find(d, request, nth);

    if (s == NULL)
        fail_msg("message %u did not come", request);
    return s;
}

/* ---------------------------------------------------------------- connecting */

static void test_create(void **state)
{
    struct vio_arena_params memory = { .size = 4096, .small_pages = true };
    struct vio_vud_params params = { .fd = -1 };
    struct vio_transport *t;
    char path[200], why[VIO_DRV_WHY];

    (void)state;
    assert_int_equal(vio_arena_create(&memory, &params.arena), 0);
    assert_int_equal(vio_vud_create(&params, &t, NULL), -EINVAL);
    memset(path, 'a', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    params.path = path;
    assert_int_equal(vio_vud_create(&params, &t, why), -EINVAL);
    params.path = "/nowhere/at/all.sock";
    assert_int_equal(vio_vud_create(&params, &t, why), -ENOENT);
    assert_non_null(strstr(why, "/nowhere/at/all.sock"));
    vio_arena_destroy(params.arena);
    params.arena = NULL;
    assert_int_equal(vio_vud_create(&params, &t, why), -EINVAL);
}

static void test_connect(void **state)
{
    struct device d = device_of(FULL | VIO_FEATURE(VIRTIO_F_ACCESS_PLATFORM) | VIO_FEATURE(VIRTIO_F_LOG_ALL),
                                ALL_PROTOCOL | P(PAGEFAULT));
    struct vio_features offered;
    struct front f = { 0 };
    uint16_t size;

    (void)state;
    assert_int_equal(connect_to(&f, &d), 0);
    assert_true(vio_vud_connected(f.t));
    assert_int_equal(f.t->ops->features(f.t, &offered), 0);
    assert_int_equal(offered.w[0], PLAIN | VIO_FEATURE(VIRTIO_F_RING_RESET)); /* which is the transport's own */
    assert_int_equal(vio_vud_protocol_offered(f.t), ALL_PROTOCOL | P(PAGEFAULT));
    assert_int_equal(vio_vud_protocol(f.t), ALL_PROTOCOL);
    assert_int_equal(vio_vud_slots_max(f.t), 32);
    assert_int_equal(f.t->queues_max, 4);
    assert_int_equal(f.t->ops->queue_max(f.t, 3, &size), 0);
    assert_int_equal(size, 32768);
    assert_int_equal(f.t->ops->queue_max(f.t, 4, &size), 0);
    assert_int_equal(size, 0);
    end(&f, &d);
    assert_int_equal(d.seen[0].header.request, VHOST_USER_GET_FEATURES);
    assert_int_equal(d.seen[0].header.flags, VHOST_USER_VERSION);
    assert_int_equal(find(&d, VHOST_USER_SET_OWNER, 0)->header.flags, VHOST_USER_VERSION | VHOST_USER_NEED_REPLY);
    assert_int_equal(find(&d, VHOST_USER_SET_PROTOCOL_FEATURES, 0)->header.flags, VHOST_USER_VERSION);
    assert_int_equal(find(&d, VHOST_USER_SET_BACKEND_REQ_FD, 0)->nr_fds, 1);
}

/* A device that knows no protocol features is one of one queue, with no acknowledgement of anything. */
static void test_old_device(void **state)
{
    struct device d = device_of(PLAIN, 0);
    struct front f = { 0 };
    uint8_t byte;

    (void)state;
    start(&f, &d, VIO_FEATURE(VIRTIO_F_EVENT_IDX), 1, 8);
    assert_int_equal(f.t->queues_max, 1);
    assert_int_equal(vio_drvdev_config_read(f.d, 0, &byte, 1), -ENOTSUP);
    assert_int_equal(f.t->ops->status_get(f.t, &byte), 0);
    assert_int_equal(byte, 15); /* what we wrote ourselves */
    assert_int_equal(vio_drvdev_recover(f.d), 0);
    end(&f, &d);
    assert_int_equal(find(&d, VHOST_USER_SET_FEATURES, 0)->u.u64,
                     VIO_FEATURE(VIRTIO_F_EVENT_IDX) | VIO_FEATURE(VIRTIO_F_VERSION_1));
    assert_int_equal(device_count(&d, VHOST_USER_SET_VRING_ENABLE), 0);
    assert_int_equal(device_count(&d, VHOST_USER_SET_STATUS), 0);
    assert_int_equal(device_count(&d, VHOST_USER_GET_VRING_BASE), 2); /* the recovery, and the end */
    for (unsigned i = 0; i < d.nr_seen; i++)
        assert_int_equal(d.seen[i].header.flags, VHOST_USER_VERSION);
}

/* Where nothing is acknowledged by itself, a question after each start tells that it was taken: no kick may come before. */
static void test_unacknowledged_start(void **state)
{
    struct device d = device_of(FULL, P(MQ));
    struct front f = { 0 };
    unsigned enabled = 0;

    (void)state;
    start(&f, &d, PLAIN, 3, 8);
    end(&f, &d);
    for (unsigned i = 0; i + 1 < d.nr_seen; i++)
        if (d.seen[i].header.request == VHOST_USER_SET_VRING_ENABLE) {
            assert_int_equal(d.seen[i + 1].header.request, VHOST_USER_GET_FEATURES);
            enabled++;
        }
    assert_int_equal(enabled, 3);
}

static void check_bad_answer(uint32_t on, enum quirk quirk, bool good)
{
    struct device d = device_of(FULL, ALL_PROTOCOL);
    unsigned before = open_fds();
    struct front f = { 0 };
    int error;
    bool works;

    d.quirk_on = on;
    d.quirk = quirk;
    error = connect_to(&f, &d);
    if (error == 0) {
        plan(&f, PLAIN, 1, 8);
        works = add(&f) == VIO_DRVDEV_RUNS;
        if (works && on == VHOST_USER_GET_VRING_BASE)
            works = vio_drvdev_recover(f.d) == 0;
        if (works != good)
            fail_msg("message %u, quirk %d: %s", on, (int)quirk, vio_drvdev_why(f.d));
        assert_true(good || strlen(vio_drvdev_why(f.d)) > 0);
        assert_true(good || vio_drvdev_queue(f.d, 0) == NULL || on == VHOST_USER_GET_VRING_BASE);
    } else {
        assert_false(good);
        assert_true(strlen(f.why) > 0);
        f.t = NULL;
    }
    end(&f, &d);
    assert_int_equal(open_fds(), before);
}

static void test_bad_answers(void **state)
{
    static const uint32_t replied[] = {
        VHOST_USER_GET_FEATURES, VHOST_USER_GET_PROTOCOL_FEATURES, VHOST_USER_GET_QUEUE_NUM, VHOST_USER_GET_STATUS,
        VHOST_USER_GET_INFLIGHT_FD, VHOST_USER_GET_VRING_BASE, VHOST_USER_GET_MAX_MEM_SLOTS,
    };
    static const uint32_t acknowledged[] = {
        VHOST_USER_SET_OWNER, VHOST_USER_SET_FEATURES, VHOST_USER_SET_STATUS, VHOST_USER_SET_MEM_TABLE,
        VHOST_USER_SET_INFLIGHT_FD, VHOST_USER_SET_VRING_NUM, VHOST_USER_SET_VRING_BASE, VHOST_USER_SET_VRING_ADDR,
        VHOST_USER_SET_VRING_CALL, VHOST_USER_SET_VRING_KICK, VHOST_USER_SET_VRING_ENABLE, VHOST_USER_SET_VRING_ERR,
        VHOST_USER_SET_BACKEND_REQ_FD,
    };
    static const enum quirk bad[] = { HANG_UP, OTHER_REQUEST, TOO_LONG, TOO_SHORT };
    static const enum quirk bad_reply[] = { CUT, NO_REPLY_FLAG, EMPTY };

    (void)state;
    for (size_t i = 0; i < sizeof(replied) / sizeof(replied[0]); i++) {
        for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++)
            check_bad_answer(replied[i], bad[k], false);
        for (size_t k = 0; k < sizeof(bad_reply) / sizeof(bad_reply[0]); k++)
            check_bad_answer(replied[i], bad_reply[k], false);
        check_bad_answer(replied[i], WITH_FDS, true);
    }
    for (size_t i = 0; i < sizeof(acknowledged) / sizeof(acknowledged[0]); i++) {
        for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++)
            check_bad_answer(acknowledged[i], bad[k], false);
        check_bad_answer(acknowledged[i], REFUSE, false);
    }
    check_bad_answer(VHOST_USER_GET_FEATURES, SILENT, false);
    check_bad_answer(VHOST_USER_SET_MEM_TABLE, SILENT, false);
}

static void test_no_queue(void **state)
{
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct front f = { 0 };

    (void)state;
    d.queues = 0;
    assert_int_equal(connect_to(&f, &d), -EPROTO);
    f.t = NULL;
    end(&f, &d);
}

/* ---------------------------------------------------------------- starting */

static void test_features_not_ok(void **state)
{
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct front f = { 0 };

    (void)state;
    d.features_ok = false;
    assert_int_equal(connect_to(&f, &d), 0);
    plan(&f, PLAIN, 1, 8);
    assert_int_equal(add(&f), VIO_DRVDEV_FAILED);
    assert_non_null(strstr(vio_drvdev_why(f.d), "2.2.2"));
    assert_null(vio_drvdev_queue(f.d, 0));
    d.features_ok = true;
    assert_int_equal(vio_drvdev_recover(f.d), 0);
    end(&f, &d);
    assert_int_equal(device_count(&d, VHOST_USER_SET_MEM_TABLE), 1);
    assert_int_equal(find(&d, VHOST_USER_SET_STATUS, 4)->u.u64 & VIRTIO_STATUS_FAILED, VIRTIO_STATUS_FAILED);
}

/* Everything that a start says: what comes before what, and that all the addresses are inside the one region. */
static void check_start(uint64_t features, uint16_t queues, uint16_t size, bool polled)
{
    static const uint8_t steps[] = { 0, 1, 3, 11, 15, 0 };
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct front f = { .poll_kick = polled };
    bool packed = (features & VIO_FEATURE(VIRTIO_F_RING_PACKED)) != 0;
    struct vio_queue_layout layout = vio_queue_layout(size, packed);
    const struct vhost_user_region *region;
    const struct seen *table;

    for (unsigned i = 0; i < queues; i++) {
        f.plans[i].polled = polled;
        f.plans[i].indirect_max = 3;
    }
    start(&f, &d, features, queues, size);
    for (uint16_t i = 0; i < queues; i++) {
        assert_non_null(vio_drvdev_queue(f.d, i));
        assert_int_equal(vio_drvdev_event_fd(f.d, i) >= 0, !polled);
        vio_drvdev_kick(f.d, i);
        vio_drvdev_event(f.d, i);
    }
    assert_null(vio_drvdev_queue(f.d, queues));
    end(&f, &d);

    table = find(&d, VHOST_USER_SET_MEM_TABLE, 0);
    region = &table->u.table.region[0];
    assert_int_equal(table->nr_fds, 1);
    assert_int_equal(table->header.size, 8 + 32);
    assert_int_equal(table->u.table.nregions, 1);
    for (uint16_t i = 0; i < queues; i++) {
        const struct vhost_user_vring_addr *a = &find(&d, VHOST_USER_SET_VRING_ADDR, i)->u.addr;
        uint64_t base = region->user_addr;

        assert_int_equal(a->index, i);
        assert_true(vio_range_ok(a->desc - base, layout.desc_bytes, region->size));
        assert_true(vio_range_ok(a->avail - base, layout.driver_bytes, region->size));
        assert_true(vio_range_ok(a->used - base, layout.device_bytes, region->size));
        assert_int_equal(a->desc % layout.desc_align, 0);
        assert_int_equal(find(&d, VHOST_USER_SET_VRING_NUM, i)->u.state.num, size);
        assert_int_equal(find(&d, VHOST_USER_SET_VRING_KICK, i)->u.u64, i | (polled ? 0x100u : 0));
        assert_int_equal(find(&d, VHOST_USER_SET_VRING_KICK, i)->nr_fds, !polled);
        assert_int_equal(find(&d, VHOST_USER_SET_VRING_CALL, i)->u.u64, i);
        assert_int_equal(find(&d, VHOST_USER_SET_VRING_ERR, i)->nr_fds, 1);
        assert_int_equal(find(&d, VHOST_USER_SET_VRING_ENABLE, i)->u.state.num, 1);
        assert_int_equal(find(&d, VHOST_USER_GET_VRING_BASE, i)->u.state.index, i);
    }
    assert_int_equal(find(&d, VHOST_USER_SET_FEATURES, 0)->u.u64,
                     features | VIO_FEATURE(VIRTIO_F_VERSION_1) | VIO_FEATURE(VIRTIO_F_PROTOCOL_FEATURES));
    assert_int_equal(find(&d, VHOST_USER_GET_INFLIGHT_FD, 0)->u.inflight.num_queues, queues);
    assert_int_equal(find(&d, VHOST_USER_SET_INFLIGHT_FD, 0)->u.inflight.queue_size, size);
    assert_true(find(&d, VHOST_USER_SET_INFLIGHT_FD, 0) < find(&d, VHOST_USER_SET_VRING_KICK, 0));
    assert_true(table < find(&d, VHOST_USER_SET_VRING_ADDR, 0));
    assert_int_equal(device_count(&d, VHOST_USER_SET_STATUS), sizeof(steps));
    for (unsigned i = 0; i < sizeof(steps); i++)
        assert_int_equal(find(&d, VHOST_USER_SET_STATUS, i)->u.u64, steps[i]);
}

static void test_start(void **state)
{
    (void)state;
    check_start(0, 1, 1, false);
    check_start(0, 4, 256, false);
    check_start(0, 2, 32768, true);
    check_start(VIO_FEATURE(VIRTIO_F_RING_PACKED), 3, 13, false);
    check_start(VIO_FEATURE(VIRTIO_F_RING_PACKED), 1, 32768, true);
}

static void test_start_twice(void **state)
{
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct front f = { 0 };
    unsigned before;
    int fd;

    (void)state;
    start(&f, &d, PLAIN, 1, 8);
    before = open_fds();
    fd = vio_drvdev_event_fd(f.d, 0);
    assert_int_equal(vio_drvdev_suspend(f.d), 0);
    assert_int_equal(vio_drvdev_resume(f.d), 0);
    assert_int_equal(vio_drvdev_event_fd(f.d, 0), fd); /* a loop that watches it goes on */
    assert_int_equal(open_fds(), before);
    end(&f, &d);
    assert_int_equal(device_count(&d, VHOST_USER_GET_INFLIGHT_FD), 2);
    assert_int_equal(device_count(&d, VHOST_USER_SET_MEM_TABLE), 1);
}

/* ---------------------------------------------------------------- configuration and events */

static void test_config(void **state)
{
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct front f = { 0 };
    uint8_t bytes[300] = { 0 };

    (void)state;
    for (unsigned i = 0; i < sizeof(d.config); i++)
        d.config[i] = (uint8_t)i;
    start(&f, &d, PLAIN, 1, 8);
    assert_int_equal(vio_drvdev_config_read(f.d, 4, bytes, 8), 0);
    assert_memory_equal(bytes, d.config + 4, 8);
    assert_int_equal(vio_drvdev_config_read(f.d, 60, bytes, 8), -EINVAL); /* the device said no: an empty answer */
    assert_true(vio_vud_connected(f.t));
    assert_int_equal(vio_drvdev_config_read(f.d, 0, bytes, 257), -EINVAL);
    assert_int_equal(vio_drvdev_config_read(f.d, 0, bytes, 0), -EINVAL);
    assert_int_equal(vio_drvdev_config_write(f.d, 32, "\1", 1), 0);
    end(&f, &d);
    assert_int_equal(find(&d, VHOST_USER_SET_CONFIG, 0)->header.size, 13);
    assert_int_equal(find(&d, VHOST_USER_SET_CONFIG, 0)->u.config.head.offset, 32);
    assert_int_equal(find(&d, VHOST_USER_SET_CONFIG, 0)->u.config.bytes[0], 1);
}

static void test_config_refused(void **state)
{
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct front f = { 0 };

    (void)state;
    d.quirk_on = VHOST_USER_SET_CONFIG;
    d.quirk = REFUSE;
    start(&f, &d, PLAIN, 1, 8);
    assert_int_equal(vio_drvdev_config_write(f.d, 0, "\1", 1), -EINVAL);
    assert_true(vio_vud_connected(f.t));
    end(&f, &d);
}

static void count_change(void *ctx, struct vio_drvdev *d)
{
    (void)d;
    ++*(unsigned *)ctx;
}

static void say(int fd, uint32_t request, uint32_t flags, uint32_t size, size_t cut)
{
    struct vhost_user_header header = { request, VHOST_USER_VERSION | flags, size };
    uint8_t bytes[sizeof(header) + 512] = { 0 };
    size_t n = sizeof(header) + (size < 512 ? size : 512) - cut;

    memcpy(bytes, &header, sizeof(header));
    assert_int_equal(send(fd, bytes, n, MSG_NOSIGNAL), n);
}

/* What a reply says, behind its head: 0, or that it was refused. */
static uint64_t answered(const uint8_t *reply)
{
    uint64_t said;

    memcpy(&said, reply + 12, sizeof(said));
    return said;
}

static void test_back_channel(void **state)
{
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct front f = { 0 };
    struct pollfd p = { .events = POLLIN };
    uint8_t answer[32] = { 0 };
    unsigned changes = 0;

    (void)state;
    if (connect_to(&f, &d) != 0)
        fail_msg("%s", f.why);
    plan(&f, PLAIN, 1, 8);
    f.driver.params.changed = count_change;
    f.driver.params.ctx = &changes;
    assert_int_equal(add(&f), VIO_DRVDEV_RUNS);
    p.fd = vio_drvdev_event_fd(f.d, VIO_EVENT_QUEUE_CONFIG);
    assert_int_equal(poll(&p, 1, 0), 0);
    say(d.back_fd, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, VHOST_USER_NEED_REPLY, 0, 0);
    assert_int_equal(poll(&p, 1, 1000), 1);
    vio_drvdev_event(f.d, VIO_EVENT_QUEUE_CONFIG);
    assert_int_equal(changes, 1);
    assert_int_equal(poll(&p, 1, 0), 0);
    assert_int_equal(recv(d.back_fd, answer, sizeof(answer), MSG_DONTWAIT), 20);
    assert_int_equal(answered(answer), 0);
    /* what is not done is refused; a message may come in pieces */
    say(d.back_fd, VHOST_USER_BACKEND_IOTLB_MSG, VHOST_USER_NEED_REPLY, 32, 30);
    vio_drvdev_event(f.d, VIO_EVENT_QUEUE_CONFIG);
    assert_int_equal(recv(d.back_fd, answer, sizeof(answer), MSG_DONTWAIT), -1);
    assert_int_equal(send(d.back_fd, answer, 30, MSG_NOSIGNAL), 30);
    vio_drvdev_event(f.d, VIO_EVENT_QUEUE_CONFIG);
    assert_int_equal(recv(d.back_fd, answer, sizeof(answer), MSG_DONTWAIT), 20);
    assert_int_equal(answered(answer), 1);
    /* one that is too long ends the channel, and nothing else */
    say(d.back_fd, 1, 0, 100000, 0);
    vio_drvdev_event(f.d, VIO_EVENT_QUEUE_CONFIG);
    assert_int_equal(poll(&p, 1, 0), 0);
    assert_int_equal(vio_drvdev_status(f.d), VIO_DRVDEV_RUNS);
    end(&f, &d);
}

/* ---------------------------------------------------------------- coming back */

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
    static const uint8_t steps[] = { 0, 1, 3, 11, 15, 3, 11, 15, 0 };
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct front f = { 0 };
    struct vio_buf buf;
    struct vio_done done[4];
    struct pollfd waiting = { .events = POLLIN };
    struct stat inflight;
    struct vio_drvq *q;

    (void)state;
    listen_at(&f, &d);
    start(&f, &d, VIO_FEATURE(VIRTIO_F_VERSION_1), 1, 8);
    assert_int_equal(fstat(d.inflight_fd, &inflight), 0);
    assert_int_equal(d.inflight_seen, inflight.st_ino);
    assert_int_equal(find(&d, VHOST_USER_SET_VRING_BASE, 0)->u.state.num, 0);
    q = vio_drvdev_queue(f.d, 0);
    buf = (struct vio_buf){ vio_arena_region(f.arena).addr, 16 };
    assert_int_equal(vio_drvq_put(q, &buf, 1, 0, 70), 0);
    assert_int_equal(vio_drvq_put(q, &buf, 1, 0, 71), 0);
    (void)!vio_drvq_publish(q);
    use_first((uint8_t *)(uintptr_t)find(&d, VHOST_USER_SET_VRING_ADDR, 0)->u.addr.used);

    assert_int_equal(vio_drvdev_reconnect(f.d), -EBUSY); /* a used buffer first */
    assert_int_equal(vio_drvq_collect(q, done, 4), 1);
    assert_int_equal(done[0].token, 70);
    d.inflight_seen = 0;
    assert_int_equal(vio_drvdev_reconnect(f.d), 0);
    assert_ptr_equal(vio_drvdev_queue(f.d, 0), q);
    assert_int_equal(vio_drvq_in_flight(q), 1);
    assert_int_equal(d.inflight_seen, inflight.st_ino); /* the same record... */
    assert_int_equal(device_count(&d, VHOST_USER_GET_INFLIGHT_FD), 1); /* ...not a new one */
    assert_int_equal(find(&d, VHOST_USER_SET_VRING_BASE, 1)->u.state.num, 1); /* from the first that is not used */
    assert_int_equal(find(&d, VHOST_USER_SET_VRING_ADDR, 1)->u.addr.desc,
                     find(&d, VHOST_USER_SET_VRING_ADDR, 0)->u.addr.desc);
    waiting.fd = vio_vud_fd(f.t);
    assert_int_equal(poll(&waiting, 1, 0), 0);
    end(&f, &d);
    assert_int_equal(device_count(&d, VHOST_USER_SET_STATUS), sizeof(steps));
    for (unsigned i = 0; i < sizeof(steps); i++) /* no reset between */
        assert_int_equal(find(&d, VHOST_USER_SET_STATUS, i)->u.u64, steps[i]);
}

/* A device that went away while it ran: the event tells; a new session goes on, or starts afresh. */
static void test_hang_up(void **state)
{
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct front f = { 0 };
    struct pollfd p = { .events = POLLIN };

    (void)state;
    listen_at(&f, &d);
    start(&f, &d, PLAIN, 1, 8);
    p.fd = vio_drvdev_event_fd(f.d, VIO_EVENT_QUEUE_CONFIG);
    shutdown(d.fd, SHUT_RDWR);
    assert_int_equal(poll(&p, 1, 1000), 1);
    vio_drvdev_event(f.d, VIO_EVENT_QUEUE_CONFIG);
    assert_int_equal(vio_drvdev_status(f.d), VIO_DRVDEV_BROKEN);
    assert_false(vio_vud_connected(f.t));
    assert_int_equal(vio_drvdev_reconnect(f.d), 0);
    assert_int_equal(vio_drvdev_status(f.d), VIO_DRVDEV_RUNS);
    shutdown(d.fd, SHUT_RDWR);
    assert_int_equal(poll(&p, 1, 1000), 1);
    vio_drvdev_event(f.d, VIO_EVENT_QUEUE_CONFIG);
    assert_int_equal(vio_drvdev_recover(f.d), 0); /* or a new life, on a new connection */
    assert_int_equal(vio_drvdev_status(f.d), VIO_DRVDEV_RUNS);
    end(&f, &d);
    assert_int_equal(device_count(&d, VHOST_USER_SET_MEM_TABLE), 3);
    assert_int_equal(device_count(&d, VHOST_USER_GET_INFLIGHT_FD), 2);
}

/* A device that came back with less than before does not get the rings; once it has all again, it does. */
static void test_reconnect_to_less(void **state)
{
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct front f = { 0 };

    (void)state;
    listen_at(&f, &d);
    start(&f, &d, PLAIN, 2, 8);
    d.features &= ~VIO_FEATURE(VIRTIO_F_EVENT_IDX);
    assert_int_equal(vio_drvdev_reconnect(f.d), -EPROTO);
    assert_false(vio_vud_connected(f.t));
    d.features = FULL;
    d.queues = 1;
    assert_int_equal(vio_drvdev_reconnect(f.d), -EPROTO);
    d.queues = 2;
    assert_int_equal(vio_drvdev_reconnect(f.d), 0);
    assert_true(vio_vud_connected(f.t));
    end(&f, &d);
}

static void test_given_fd_is_used_once(void **state)
{
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct front f = { 0 };

    (void)state;
    start(&f, &d, PLAIN, 1, 8);
    assert_int_equal(vio_drvdev_reconnect(f.d), -ENOTCONN);
    assert_int_equal(vio_drvdev_recover(f.d), -ENOTCONN);
    assert_int_equal(vio_drvdev_status(f.d), VIO_DRVDEV_FAILED);
    end(&f, &d);
}

/* ---------------------------------------------------------------- what only vhost-user has */

static void test_memory(void **state)
{
    struct vio_arena_params memory = { .size = 65536, .small_pages = true, .base = UINT64_C(0x900000000) };
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct vio_arena *more, *same;
    struct front f = { 0 };

    (void)state;
    assert_int_equal(vio_arena_create(&memory, &more), 0);
    assert_int_equal(vio_arena_create(&memory, &same), 0);
    assert_int_equal(connect_to(&f, &d), 0);
    assert_int_equal(vio_vud_memory_add(f.t, more), 0);
    assert_int_equal(vio_vud_memory_add(f.t, same), -EEXIST);
    plan(&f, PLAIN, 1, 8);
    assert_int_equal(add(&f), VIO_DRVDEV_RUNS);
    assert_int_equal(vio_vud_memory_remove(f.t, more), 0);
    assert_int_equal(vio_vud_memory_remove(f.t, more), -ENOENT);
    assert_int_equal(vio_vud_memory_remove(f.t, f.arena), -EBUSY);
    assert_int_equal(vio_vud_memory_add(f.t, same), 0);
    end(&f, &d);
    assert_int_equal(device_count(&d, VHOST_USER_SET_MEM_TABLE), 0);
    assert_int_equal(device_count(&d, VHOST_USER_ADD_MEM_REG), 3);
    assert_int_equal(find(&d, VHOST_USER_ADD_MEM_REG, 1)->u.reg.region.guest_addr, memory.base);
    assert_int_equal(find(&d, VHOST_USER_ADD_MEM_REG, 1)->nr_fds, 1);
    assert_int_equal(find(&d, VHOST_USER_REM_MEM_REG, 0)->nr_fds, 0);

    /* a device without slots gets one table, and later no more */
    d = device_of(FULL, P(REPLY_ACK) | P(MQ));
    f = (struct front){ 0 };
    assert_int_equal(connect_to(&f, &d), 0);
    assert_int_equal(vio_vud_memory_add(f.t, more), 0);
    plan(&f, PLAIN, 1, 8);
    assert_int_equal(add(&f), VIO_DRVDEV_RUNS);
    assert_int_equal(vio_vud_memory_remove(f.t, more), -ENOTSUP);
    end(&f, &d);
    assert_int_equal(find(&d, VHOST_USER_SET_MEM_TABLE, 0)->nr_fds, 2);
    vio_arena_destroy(more);
    vio_arena_destroy(same);
}

static void test_log(void **state)
{
    struct device d = device_of(FULL | VIO_FEATURE(VIRTIO_F_LOG_ALL), ALL_PROTOCOL);
    struct vio_vud_log log;
    struct front f = { 0 };

    (void)state;
    start(&f, &d, VIO_FEATURE(VIRTIO_F_EVENT_IDX), 1, 8);
    assert_int_equal(vio_vud_log_start(f.t, &log), 0);
    assert_true(log.bytes >= (vio_arena_region(f.arena).addr + vio_arena_region(f.arena).size) / 32768);
    assert_int_equal(log.bits[log.bytes - 1], 0);
    assert_int_equal(vio_vud_log_start(f.t, &log), -EBUSY);
    assert_int_equal(vio_vud_log_stop(f.t), 0);
    assert_int_equal(vio_vud_log_stop(f.t), 0);
    end(&f, &d);
    assert_int_equal(find(&d, VHOST_USER_SET_LOG_BASE, 0)->nr_fds, 1);
    assert_true((find(&d, VHOST_USER_SET_FEATURES, 1)->u.u64 & VIO_FEATURE(VIRTIO_F_LOG_ALL)) != 0);
    assert_true((find(&d, VHOST_USER_SET_FEATURES, 2)->u.u64 & VIO_FEATURE(VIRTIO_F_LOG_ALL)) == 0);
    assert_int_equal(find(&d, VHOST_USER_SET_VRING_ADDR, 1)->u.addr.flags, 1);
    assert_true(find(&d, VHOST_USER_SET_VRING_ADDR, 1)->u.addr.log >= UINT64_C(0x100000000));
    assert_int_equal(find(&d, VHOST_USER_SET_VRING_ADDR, 2)->u.addr.flags, 0);

    d = device_of(FULL, ALL_PROTOCOL);
    f = (struct front){ 0 };
    start(&f, &d, PLAIN, 1, 8);
    assert_int_equal(vio_vud_log_start(f.t, &log), -ENOTSUP);
    end(&f, &d);
}

static void test_state(void **state)
{
    struct device d = device_of(FULL, ALL_PROTOCOL);
    struct front f = { 0 };
    uint8_t *bytes;
    size_t size;

    (void)state;
    listen_at(&f, &d);
    start(&f, &d, PLAIN, 2, 8);
    assert_int_equal(vio_vud_state_save(f.t, &bytes, &size), 0);
    assert_int_equal(size, STATE_BYTES);
    assert_memory_equal(bytes, d.state, size);
    assert_int_equal(device_count(&d, VHOST_USER_GET_VRING_BASE), 2);
    assert_int_equal(vio_vud_state_load(f.t, bytes, size), 0);
    d.state_ok = false;
    assert_int_equal(vio_drvdev_reconnect(f.d), 0);
    assert_true(d.state_ok);
    bytes[77] ^= 1;
    assert_int_equal(vio_vud_state_load(f.t, bytes, size), 0);
    assert_int_equal(vio_drvdev_reconnect(f.d), -EPROTO); /* the device does not like it */
    assert_non_null(strstr(vio_drvdev_why(f.d), "CHECK_DEVICE_STATE"));
    free(bytes);
    end(&f, &d);
    assert_int_equal(find(&d, VHOST_USER_SET_DEVICE_STATE_FD, 1)->u.transfer.direction, 1);
    assert_true(find(&d, VHOST_USER_SET_DEVICE_STATE_FD, 1) < find(&d, VHOST_USER_SET_VRING_NUM, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_connect),
        cmocka_unit_test(test_old_device),
        cmocka_unit_test(test_unacknowledged_start),
        cmocka_unit_test(test_bad_answers),
        cmocka_unit_test(test_no_queue),
        cmocka_unit_test(test_features_not_ok),
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_start_twice),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_config_refused),
        cmocka_unit_test(test_back_channel),
        cmocka_unit_test(test_reconnect),
        cmocka_unit_test(test_hang_up),
        cmocka_unit_test(test_reconnect_to_less),
        cmocka_unit_test(test_given_fd_is_used_once),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
