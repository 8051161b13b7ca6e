/* SPDX-License-Identifier: MIT */
/*
 * The transport to vhost in the kernel against a kernel that a test makes up: what it is told, in which order, what of it fails or
 * is a lie, and what becomes of that. Where it sits: tests/unit.
 */
#include <dirent.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>
#include <vio/drv_generic.h>
#include <vio/drv_net.h>
#include "fake_vhost.h"
#include "spec/net.h"
#include "spec/scsi.h"
#include "spec/vsock.h"

#define ALL_OF_64 { { UINT64_MAX, 0 } }

struct user {
    struct fake_vhost k;
    struct vio_arena *arena;
    struct vio_bus *bus;
    struct vio_drvdev *d;
    struct vio_drv_generic_driver driver;
    struct vio_drvdev_queue_plan plans[4];
    struct vio_vhost_kernel_params params;
    struct vio_transport *t;
    char why[VIO_DRV_WHY];
    unsigned changes, calls;
};

static const uint32_t kinds[] = { VIRTIO_ID_NET, VIRTIO_ID_VSOCK, VIRTIO_ID_SCSI };

static void changed(void *ctx, struct vio_drvdev *d)
{
    (void)d;
    ((struct user *)ctx)->changes++;
}

static void called(struct vio_drvdev *d, uint16_t queue)
{
    (void)d;
    (void)queue;
}

static void begin(struct user *u, uint32_t type)
{
    struct vio_arena_params memory = { .size = 16 << 20, .small_pages = true };

    memset(u, 0, sizeof(*u));
    fake_vhost_init(&u->k, type);
    assert_int_equal(vio_arena_create(&memory, &u->arena), 0);
    u->params = (struct vio_vhost_kernel_params){ .type = type, .arena = u->arena, .cid = 5, .wwpn = "naa.1", .tpgt = 1 };
}

static int make(struct user *u)
{
    u->why[0] = '\0';
    return vk_create(&u->params, &u->k.sys, &u->t, u->why);
}

/* The device on a bus, its first queues by interrupts but for the second, which is polled. */
static void drive(struct user *u, unsigned queues)
{
    struct vio_drv_generic_params params = { .features = ALL_OF_64, .plans = u->plans, .nr_plans = queues, .changed = changed, .ctx = u };

    for (uint16_t i = 0; i < queues; i++)
        u->plans[i] = (struct vio_drvdev_queue_plan){ .queue = i, .size = 16, .polled = i == 1, .callback = i == 1 ? NULL : called };
    vio_drv_generic_driver(&u->driver, &params);
    assert_int_equal(vio_bus_create(vio_arena_platform(u->arena), &u->bus), 0);
    assert_int_equal(vio_bus_add(u->bus, u->t, 0, &u->driver.driver, &u->d), 0);
}

static void runs(struct user *u, unsigned queues)
{
    if (make(u) != 0)
        fail_msg("%s", u->why);
    drive(u, queues);
    if (vio_drvdev_status(u->d) != VIO_DRVDEV_RUNS)
        fail_msg("%s", vio_drvdev_why(u->d));
}

static void end(struct user *u)
{
    vio_bus_destroy(u->bus);
    vio_arena_destroy(u->arena);
    fake_vhost_end(&u->k);
}

/* ------------------------------------------------------------------ what the kernel is told */

static void check_ring(const struct user *u, unsigned index, bool polled)
{
    const struct fake_ring *r = &u->k.file[0].ring[index];

    assert_int_equal(r->num, 16);
    assert_int_equal(r->base, 0);
    assert_true(r->kick >= 0 && r->error >= 0);
    assert_int_equal(r->call >= 0, !polled);
    assert_true(r->backend >= 0);
}

static void a_device_of_each_kind_runs(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct user u;
        struct vio_arena_region r;
        unsigned queues = kinds[i] == VIRTIO_ID_NET ? 2 : 3;

        begin(&u, kinds[i]);
        runs(&u, queues);
        r = vio_arena_region(u.arena);
        assert_int_equal(u.k.nr_files, 1);
        assert_int_equal(u.k.file[0].memory.region[0].guest_addr, r.addr);
        assert_int_equal(u.k.file[0].memory.region[0].size, r.size);
        assert_ptr_equal((void *)(uintptr_t)u.k.file[0].memory.region[0].user_addr, r.host);
        check_ring(&u, 0, false);
        check_ring(&u, 1, true);
        assert_int_equal(u.k.file[0].ring[2].num, kinds[i] == VIRTIO_ID_SCSI ? 16 : 0); /* events of sockets are not the kernel's */
        /* A kick goes where the kernel listens. */
        u.t->ops->kick(u.t, 0, 0);
        assert_true(vio_eventfd_clear(u.k.file[0].ring[0].kick));
        assert_int_equal(vio_drvdev_recover(u.d), 0); /* a reset, and all of it again */
        check_ring(&u, 0, false);
        assert_int_equal(vio_drvdev_suspend(u.d), 0);
        assert_int_equal(u.k.file[0].ring[0].backend, -1);
        assert_int_equal(vio_drvdev_resume(u.d), 0);
        check_ring(&u, 1, true);
        end(&u);
        assert_int_equal(u.k.file[0].ring[0].backend, -1);
    }
}

static uint64_t offered(struct user *u)
{
    struct vio_features f;

    assert_int_equal(u->t->ops->features(u->t, &f), 0);
    assert_int_equal(f.w[1], 0);
    return f.w[0];
}

#define B(bit) VIO_FEATURE(bit)
#define RING (B(VIRTIO_F_INDIRECT_DESC) | B(VIRTIO_F_EVENT_IDX) | B(VIRTIO_F_VERSION_1) | B(VIRTIO_F_IN_ORDER))

/* A kernel with every bit set, some of which are its own or unknown: only what is understood is offered, and told. */
static void only_known_features_are_offered(void **state)
{
    struct user u;

    (void)state;
    begin(&u, VIRTIO_ID_NET);
    assert_int_equal(make(&u), 0);
    assert_int_equal(offered(&u), RING | B(VIRTIO_F_RING_RESET) | B(VIRTIO_NET_F_MRG_RXBUF) | B(VIRTIO_NET_F_MAC) |
                                      B(VIRTIO_NET_F_STATUS) | B(VIRTIO_NET_F_MTU) | B(VIRTIO_NET_F_CSUM) |
                                      B(VIRTIO_NET_F_HOST_TSO4) | B(VIRTIO_NET_F_HOST_TSO6) | B(VIRTIO_NET_F_HOST_ECN) |
                                      B(VIRTIO_NET_F_HOST_UFO) | B(VIRTIO_NET_F_HOST_USO) | B(VIRTIO_NET_F_GUEST_CSUM) |
                                      B(VIRTIO_NET_F_GUEST_TSO4));
    drive(&u, 2);
    assert_int_equal(u.k.file[0].features, RING | B(VIRTIO_NET_F_MRG_RXBUF));
    assert_int_equal(u.k.offloads, VIO_NET_CSUM | VIO_NET_TSO4);
    end(&u);
    assert_int_equal(u.k.offloads, 0);

    begin(&u, VIRTIO_ID_VSOCK);
    u.k.features = B(VIRTIO_F_VERSION_1) | B(VIRTIO_VSOCK_F_SEQPACKET) | B(VIRTIO_F_RING_PACKED) | B(VIRTIO_F_ACCESS_PLATFORM);
    assert_int_equal(make(&u), 0);
    assert_int_equal(offered(&u), B(VIRTIO_F_VERSION_1) | B(VIRTIO_VSOCK_F_SEQPACKET));
    assert_int_equal(u.t->ops->accept(u.t, &(struct vio_features){ { B(VIRTIO_F_RING_PACKED), 0 } }), -EINVAL);
    assert_non_null(strstr(u.t->ops->why(u.t), "not offered"));
    drive(&u, 3);
    end(&u);

    begin(&u, VIRTIO_ID_SCSI);
    assert_int_equal(make(&u), 0);
    assert_int_equal(offered(&u), RING | B(VIRTIO_SCSI_F_HOTPLUG));
    drive(&u, 3);
    end(&u);
}

static void configuration_is_there(void **state)
{
    static const uint8_t mac[6] = { 2, 1, 2, 3, 4, 5 };
    struct virtio_net_config net;
    struct virtio_scsi_config scsi;
    struct virtio_vsock_config vsock;
    struct user u;

    (void)state;
    begin(&u, VIRTIO_ID_NET);
    memcpy(u.params.mac, mac, sizeof(mac));
    u.k.link.mtu = 9000;
    runs(&u, 2);
    assert_int_equal(vio_drvdev_config_read(u.d, 0, &net, 12), 0);
    assert_memory_equal(net.mac, mac, sizeof(mac));
    assert_int_equal(vio_cpu(net.status), VIRTIO_NET_S_LINK_UP);
    assert_int_equal(vio_cpu(net.max_virtqueue_pairs), 1);
    assert_int_equal(vio_cpu(net.mtu), 9000);
    assert_int_equal(vio_drvdev_config_read(u.d, 10, &net, 4), -EINVAL);
    assert_int_equal(vio_drvdev_config_write(u.d, 0, mac, sizeof(mac)), 0);
    assert_int_equal(vio_drvdev_config_write(u.d, 0, "abcdef", sizeof(mac)), -EINVAL);
    end(&u);

    begin(&u, VIRTIO_ID_VSOCK);
    runs(&u, 3);
    assert_int_equal(vio_drvdev_config_read(u.d, 0, &vsock, sizeof(vsock)), 0);
    assert_int_equal(vio_cpu(vsock.guest_cid), 5);
    assert_int_equal(u.k.cid, 5);
    assert_string_equal(u.t->name, "vhost-vsock@5");
    end(&u);

    begin(&u, VIRTIO_ID_SCSI);
    u.params.queues = 3;
    runs(&u, 3);
    assert_int_equal(u.t->queues_max, 5);
    assert_int_equal(vio_drvdev_config_read(u.d, 0, &scsi, sizeof(scsi)), 0);
    assert_int_equal(vio_cpu(scsi.num_queues), 3);
    assert_int_equal(vio_cpu(scsi.sense_size), 96);
    assert_int_equal(vio_drvdev_config_write(u.d, offsetof(struct virtio_scsi_config, sense_size), &scsi.sense_size, 4), 0);
    scsi.sense_size = vio_le32_of(252);
    assert_int_equal(vio_drvdev_config_write(u.d, offsetof(struct virtio_scsi_config, sense_size), &scsi.sense_size, 4), -EINVAL);
    end(&u);
}

static void a_made_up_address_is_a_local_one(void **state)
{
    struct user u;
    uint8_t first[6], second[6];

    (void)state;
    for (uint8_t *mac = first; mac != NULL; mac = mac == first ? second : NULL) {
        begin(&u, VIRTIO_ID_NET);
        runs(&u, 2);
        assert_int_equal(vio_drvdev_config_read(u.d, 0, mac, 6), 0);
        assert_int_equal(mac[0] & 3, 2);
        end(&u);
    }
    assert_memory_not_equal(first, second, 6);
}

/* ------------------------------------------------------------------ what changes */

static void a_changed_link_is_told(void **state)
{
    struct pollfd p = { .events = POLLIN };
    struct virtio_net_config c;
    struct user u;

    (void)state;
    begin(&u, VIRTIO_ID_NET);
    runs(&u, 2);
    p.fd = vio_drvdev_event_fd(u.d, VIO_EVENT_QUEUE_CONFIG);
    assert_int_equal(poll(&p, 1, 0), 0);
    u.k.link = (struct tap_link){ false, 1400 };
    assert_int_equal(write(u.k.watch[1], "x", 1), 1);
    assert_int_equal(poll(&p, 1, 0), 1);
    (void)vio_drvdev_event(u.d, VIO_EVENT_QUEUE_CONFIG);
    assert_int_equal(u.changes, 1);
    assert_int_equal(poll(&p, 1, 0), 0);
    assert_int_equal(vio_drvdev_config_read(u.d, 0, &c, 12), 0);
    assert_int_equal(vio_cpu(c.status), 0);
    assert_int_equal(vio_cpu(c.mtu), 1400);
    u.k.no_link = true; /* it was deleted */
    assert_int_equal(write(u.k.watch[1], "x", 1), 1);
    (void)vio_drvdev_interrupt(u.d);
    assert_int_equal(u.changes, 2);
    assert_int_equal(vio_drvdev_config_read(u.d, 0, &c, 12), 0);
    assert_int_equal(vio_cpu(c.mtu), 1400);
    end(&u);

    /* One that is not to be seen from here has no link to tell of. */
    begin(&u, VIRTIO_ID_NET);
    u.k.no_link = true;
    assert_int_equal(make(&u), 0);
    assert_int_equal(offered(&u) & (B(VIRTIO_NET_F_STATUS) | B(VIRTIO_NET_F_MTU)), 0);
    drive(&u, 2);
    end(&u);
}

static void a_ring_that_the_kernel_cannot_use_breaks_the_device(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct user u;

        begin(&u, kinds[i]);
        runs(&u, kinds[i] == VIRTIO_ID_NET ? 2 : 3);
        vio_eventfd_notify(u.k.file[0].ring[1].error);
        if (i == 0)
            (void)vio_drvdev_event(u.d, VIO_EVENT_QUEUE_CONFIG);
        else if (i == 1)
            assert_int_equal(vio_drvdev_wait(u.d, 1, UINT64_C(1000000000)), -EIO); /* also who only looks finds it */
        else
            (void)vio_drvdev_interrupt(u.d);
        assert_int_equal(vio_drvdev_status(u.d), VIO_DRVDEV_BROKEN);
        assert_non_null(strstr(vio_drvdev_why(u.d), "queue 1: the kernel cannot go on with this ring (VRING_ERR)"));
        assert_int_equal(vio_drvdev_recover(u.d), 0);
        assert_int_equal(vio_drvdev_status(u.d), VIO_DRVDEV_RUNS);
        end(&u);
    }
}

static void lost(void *ctx, uint64_t token)
{
    (void)token;
    ((struct user *)ctx)->calls++;
}

static void one_queue_is_reset(void **state)
{
    struct vio_queue_state at;
    struct user u;

    (void)state;
    begin(&u, VIRTIO_ID_NET);
    runs(&u, 2);
    u.k.file[0].ring[1].base = 7; /* as far as the kernel came */
    assert_int_equal(vio_drvdev_queue_reset(u.d, 1, 8, lost, &u), 0);
    assert_int_equal(u.k.file[0].ring[1].num, 8);
    assert_int_equal(u.k.file[0].ring[1].base, 0);
    assert_true(u.k.file[0].ring[1].backend >= 0);
    assert_int_equal(u.k.file[0].ring[0].num, 16);

    u.k.file[0].ring[1].base = 0xfffe;
    assert_int_equal(u.t->ops->queue_stop(u.t, 1, &at), 0);
    assert_int_equal(at.avail_idx, 0xfffe);
    assert_int_equal(u.k.file[0].ring[1].backend, -1);
    assert_true(u.k.file[0].ring[0].backend >= 0);
    assert_int_equal(u.t->ops->queue_stop(u.t, 1, &at), -EINVAL); /* it does not run */
    end(&u);

    begin(&u, VIRTIO_ID_NET);
    runs(&u, 2);
    u.k.base_or = 0x10000;
    assert_int_equal(u.t->ops->queue_stop(u.t, 0, &at), -EPROTO);
    assert_non_null(strstr(u.t->ops->why(u.t), "an index has 16 bits"));
    end(&u);

    begin(&u, VIRTIO_ID_NET);
    runs(&u, 2);
    u.k.base_index = 1;
    assert_int_equal(u.t->ops->queue_stop(u.t, 0, &at), -EPROTO);
    end(&u);

    begin(&u, VIRTIO_ID_SCSI);
    runs(&u, 3);
    assert_int_equal(u.t->ops->queue_stop(u.t, 0, &at), -ENOTSUP);
    end(&u);
}

/* ------------------------------------------------------------------ several pairs */

static void drive_net(struct user *u, const struct vio_driver *driver)
{
    assert_int_equal(vio_bus_create(vio_arena_platform(u->arena), &u->bus), 0);
    assert_int_equal(vio_bus_add(u->bus, u->t, 0, driver, &u->d), 0);
}

static void check_pairs(const struct user *u, unsigned used, unsigned all)
{
    for (unsigned i = 0; i < all; i++) {
        assert_int_equal(u->k.attached[i], i < used);
        assert_int_equal(u->k.file[i].ring[0].backend, i < used ? u->k.tap[i] : -1);
        assert_int_equal(u->k.file[i].ring[1].backend, i < used ? u->k.tap[i] : -1);
    }
}

static void pairs_are_used_by_the_control_queue(void **state)
{
    struct vio_drv_net_driver driver;
    struct vio_drv_net *n;
    vio_le16 nonsense = vio_le16_of(4);
    struct user u;

    (void)state;
    begin(&u, VIRTIO_ID_NET);
    u.params.queues = 3;
    vio_drv_net_driver(&driver, &(struct vio_drv_net_params){ .pairs = 3 });
    assert_int_equal(make(&u), 0);
    assert_int_equal(u.t->queues_max, 7);
    drive_net(&u, &driver.driver);
    if (vio_drvdev_status(u.d) != VIO_DRVDEV_RUNS)
        fail_msg("%s", vio_drvdev_why(u.d));
    n = vio_drv_net_of(u.d);
    assert_int_equal(vio_drv_net_info(n).pairs, 3);
    check_pairs(&u, 3, 3);
    assert_int_equal(vio_drv_net_pairs(n, 1), 0);
    check_pairs(&u, 1, 3);
    assert_int_equal(vio_drv_net_pairs(n, 2), 0);
    check_pairs(&u, 2, 3);
    /* What there is not, and what is no command: refused, and nothing changes. */
    assert_int_equal(vio_drv_net_command(n, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &nonsense, 2, NULL, 0), -EIO);
    nonsense = vio_le16_of(0);
    assert_int_equal(vio_drv_net_command(n, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &nonsense, 2, NULL, 0), -EIO);
    assert_int_equal(vio_drv_net_command(n, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &nonsense, 1, NULL, 0), -EIO);
    assert_int_equal(vio_drv_net_command(n, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, "\1\0\0", 3, NULL, 0), -EIO);
    assert_int_equal(vio_drv_net_command(n, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\1", 1, NULL, 0), -EIO);
    check_pairs(&u, 2, 3);
    u.k.fail_request = VIO_VHOST_NET_SET_BACKEND; /* the third pair's ring is refused: the two go on */
    assert_int_equal(vio_drv_net_pairs(n, 3), -EIO);
    u.k.fail_request = 0;
    check_pairs(&u, 2, 3);
    assert_int_equal(vio_drvdev_recover(u.d), 0);
    check_pairs(&u, 3, 3);
    end(&u);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(u.k.tap[i], -1);
}

/* A driver that does not know MQ has one pair, and its control queue is the third (virtio 1.4, 5.1.2). */
static void without_mq_the_control_queue_is_the_third(void **state)
{
    struct vio_drv_net_driver driver;
    struct user u;

    (void)state;
    begin(&u, VIRTIO_ID_NET);
    u.params.queues = 2;
    vio_drv_net_driver(&driver, &(struct vio_drv_net_params){ .pairs = 1 });
    driver.driver.features.w[0] &= ~B(VIRTIO_NET_F_MQ);
    assert_int_equal(make(&u), 0);
    drive_net(&u, &driver.driver);
    assert_int_equal(vio_drvdev_status(u.d), VIO_DRVDEV_RUNS);
    check_pairs(&u, 1, 2);
    assert_int_equal(u.k.file[1].ring[0].num, 0);
    assert_int_equal(vio_drv_net_command(vio_drv_net_of(u.d), VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, "\1", 2, NULL, 0),
                     -EIO);
    end(&u);
}

/* A buffer with no room for the answer: the queue breaks, as it would on any device. */
static void a_command_without_an_answer_breaks_the_queue(void **state)
{
    struct vio_buf buf;
    struct user u;

    (void)state;
    begin(&u, VIRTIO_ID_NET);
    u.params.queues = 2;
    assert_int_equal(make(&u), 0);
    u.plans[0] = (struct vio_drvdev_queue_plan){ .queue = 4, .size = 8, .polled = true };
    vio_drv_generic_driver(&u.driver, &(struct vio_drv_generic_params){ .features = ALL_OF_64, .plans = u.plans, .nr_plans = 1 });
    drive_net(&u, &u.driver.driver);
    if (vio_drvdev_status(u.d) != VIO_DRVDEV_RUNS)
        fail_msg("%s", vio_drvdev_why(u.d));
    buf = (struct vio_buf){ vio_arena_region(u.arena).addr, 2 };
    assert_int_equal(vio_drvq_put(vio_drvdev_queue(u.d, 4), &buf, 1, 0, 1), 0);
    vio_drvdev_publish(u.d, 4);
    assert_int_equal(vio_drvdev_wait(u.d, 4, UINT64_C(1000000000)), -EIO);
    assert_non_null(strstr(vio_drvdev_why(u.d), "the control queue: "));
    assert_int_equal(vio_drvdev_recover(u.d), 0);
    end(&u);
}

/* ------------------------------------------------------------------ failures */

static unsigned open_files(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;

    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

/* Each call to the system fails once: a sentence, nothing left open, and a device that runs after the next try. */
static bool fails_at(uint32_t type, uint16_t queues, unsigned call)
{
    struct vio_drv_net_driver net;
    unsigned files = open_files();
    bool failed = false;
    struct user u;

    begin(&u, type);
    u.params.queues = queues;
    u.k.fail_at = call;
    vio_drv_net_driver(&net, &(struct vio_drv_net_params){ .pairs = queues });
    if (make(&u) != 0) {
        assert_true(u.k.calls >= call && u.why[0] != '\0');
        vio_arena_destroy(u.arena);
        fake_vhost_end(&u.k);
        failed = true;
    } else {
        if (queues > 1)
            drive_net(&u, &net.driver);
        else
            drive(&u, type == VIRTIO_ID_NET ? 2 : 3);
        failed = u.k.calls >= call;
        assert_int_equal(vio_drvdev_status(u.d), failed ? VIO_DRVDEV_FAILED : VIO_DRVDEV_RUNS);
        assert_int_equal(failed, vio_drvdev_why(u.d)[0] != '\0');
        if (failed) {
            assert_int_equal(vio_drvdev_recover(u.d), 0);
            assert_int_equal(vio_drvdev_status(u.d), VIO_DRVDEV_RUNS);
        }
        end(&u);
    }
    assert_int_equal(open_files(), files);
    return failed;
}

static void each_failure_is_said(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        unsigned call = 1;

        while (fails_at(kinds[i], 1, call))
            call++;
        assert_true(call > 18); /* as many as it takes to start two rings */
    }
    for (unsigned call = 1; fails_at(VIRTIO_ID_NET, 2, call); call++)
        assert_true(call < 100);
}

static void refused(struct user *u, int error, const char *part)
{
    int got = make(u);

    assert_int_equal(got, error);
    if (strstr(u->why, part) == NULL)
        fail_msg("no \"%s\" in \"%s\"", part, u->why);
    vio_arena_destroy(u->arena);
    fake_vhost_end(&u->k);
}

static void wrong_use_is_said(void **state)
{
    struct user u;

    (void)state;
    begin(&u, VIRTIO_ID_BLOCK);
    refused(&u, -EINVAL, "no device of type 2");
    begin(&u, VIRTIO_ID_VSOCK);
    u.params.cid = 2;
    refused(&u, -EINVAL, "2 is the host's");
    begin(&u, VIRTIO_ID_VSOCK);
    u.params.cid = UINT32_MAX;
    refused(&u, -EINVAL, "cannot have the CID 4294967295");
    begin(&u, VIRTIO_ID_VSOCK);
    u.params.cid = 99;
    refused(&u, -EADDRINUSE, "the CID 99 is another guest's");
    begin(&u, VIRTIO_ID_SCSI);
    u.params.wwpn = NULL;
    refused(&u, -EINVAL, "name of its target port");
    begin(&u, VIRTIO_ID_SCSI);
    u.params.queues = 65;
    refused(&u, -EINVAL, "65 request queues");
    begin(&u, VIRTIO_ID_NET);
    u.params.mac[0] = 1;
    refused(&u, -EINVAL, "a group's");
    begin(&u, VIRTIO_ID_NET);
    u.k.no_vnet = true;
    refused(&u, -EINVAL, "without IFF_VNET_HDR");
    begin(&u, VIRTIO_ID_NET);
    u.k.features = B(VIRTIO_F_INDIRECT_DESC);
    refused(&u, -ENOTSUP, "does not offer VERSION_1");
    begin(&u, VIRTIO_ID_SCSI);
    u.k.abi_version = 2;
    refused(&u, -ENOTSUP, "version 2");
    begin(&u, VIRTIO_ID_NET);
    u.params.arena = NULL;
    refused(&u, -EINVAL, "no memory");
}

static void a_node_that_cannot_be_opened_is_said(void **state)
{
    static const struct {
        int error;
        const char *part;
    } cases[] = {
        { ENOENT, "modprobe vhost_vsock" }, { ENXIO, "modprobe vhost_vsock" }, { ENODEV, "/dev/vhost-vsock is not there" },
        { EACCES, "chmod 0666 /dev/vhost-vsock" }, { EPERM, "may not be opened by user" }, { EMFILE, "cannot be opened: " },
    };
    struct user u;

    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin(&u, VIRTIO_ID_VSOCK);
        u.k.fail_at = 1;
        u.k.fail_error = cases[i].error;
        refused(&u, -cases[i].error, cases[i].part);
    }
    begin(&u, VIRTIO_ID_NET);
    u.params.node = "/dev/other";
    u.k.fail_request = VIO_VHOST_GET_FEATURES;
    u.k.fail_error = ENOTTY;
    refused(&u, -ENOTTY, "/dev/other: VHOST_GET_FEATURES is not known there: is it a node of vhost_net?");
    assert_string_equal(u.k.path, "/dev/other");

    begin(&u, VIRTIO_ID_SCSI);
    u.params.wwpn = "naa.2";
    assert_int_equal(make(&u), 0);
    drive(&u, 3);
    assert_int_equal(vio_drvdev_status(u.d), VIO_DRVDEV_FAILED);
    assert_non_null(strstr(vio_drvdev_why(u.d), "no target port naa.2"));
    end(&u);
}

/* A tap that is handed over is the caller's until there is a transport. */
static void handed_over_taps_are_taken_on_success(void **state)
{
    static const int taps[] = { 3000 };
    struct user u;

    (void)state;
    begin(&u, VIRTIO_ID_NET);
    u.params.tap_fds = taps;
    u.k.no_vnet = true;
    refused(&u, -EINVAL, "IFF_VNET_HDR");
    assert_int_equal(u.k.tap[0], 3000);
    begin(&u, VIRTIO_ID_NET);
    u.params.tap_fds = taps;
    runs(&u, 2);
    assert_int_equal(u.k.file[0].ring[0].backend, 3000);
    end(&u);
    assert_int_equal(u.k.tap[0], -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_of_each_kind_runs),
        cmocka_unit_test(only_known_features_are_offered),
        cmocka_unit_test(configuration_is_there),
        cmocka_unit_test(a_made_up_address_is_a_local_one),
        cmocka_unit_test(a_changed_link_is_told),
        cmocka_unit_test(a_ring_that_the_kernel_cannot_use_breaks_the_device),
        cmocka_unit_test(one_queue_is_reset),
        cmocka_unit_test(pairs_are_used_by_the_control_queue),
        cmocka_unit_test(without_mq_the_control_queue_is_the_third),
        cmocka_unit_test(a_command_without_an_answer_breaks_the_queue),
        cmocka_unit_test(each_failure_is_said),
        cmocka_unit_test(wrong_use_is_said),
        cmocka_unit_test(a_node_that_cannot_be_opened_is_said),
        cmocka_unit_test(handed_over_taps_are_taken_on_success),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
