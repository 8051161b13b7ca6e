/* SPDX-License-Identifier: MIT */
/* The console driver over a fake transport: an echo, flow control, ports that come and go, and a device that lies. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <vio/drv_console.h>

#include "script_device.h"
#include "spec/console.h"
#include "spec/virtio.h"

#define PACKED VIO_FEATURE(VIRTIO_F_RING_PACKED)
#define EVENT_IDX VIO_FEATURE(VIRTIO_F_EVENT_IDX)
#define MULTIPORT VIO_FEATURE(VIRTIO_CONSOLE_F_MULTIPORT)
#define SIZE VIO_FEATURE(VIRTIO_CONSOLE_F_SIZE)
#define EMERG VIO_FEATURE(VIRTIO_CONSOLE_F_EMERG_WRITE)
#define SECOND UINT64_C(1000000000)

enum { PORTS = 7, QUEUES = 16 };

struct desk {
    bool echo;
    unsigned ready, port_ready[PORTS + 2], port_not_ready[PORTS + 2], opened[PORTS], closed[PORTS];
    size_t written;
    uint8_t last[64];
    unsigned events[PORTS]; /* bits that were told */
    unsigned told;
};

static void on_event(void *ctx, struct vio_drvdev *d, uint32_t port, unsigned what)
{
    struct desk *desk = ctx;

    (void)d;
    assert_true(port < PORTS);
    desk->events[port] |= what;
    desk->told++;
}

static void on_control(struct desk *desk, const uint8_t *in, size_t n)
{
    struct virtio_console_control m;
    uint32_t id;

    assert_int_equal(n, sizeof(m));
    memcpy(&m, in, sizeof(m));
    id = vio_cpu(m.id);
    switch (vio_cpu(m.event)) {
    case VIRTIO_CONSOLE_DEVICE_READY:
        assert_int_equal(vio_cpu(m.value), 1);
        desk->ready++;
        break;
    case VIRTIO_CONSOLE_PORT_READY:
        assert_true(id < PORTS + 2);
        (vio_cpu(m.value) != 0 ? desk->port_ready : desk->port_not_ready)[id]++;
        break;
    case VIRTIO_CONSOLE_PORT_OPEN:
        assert_true(id < PORTS);
        (vio_cpu(m.value) != 0 ? desk->opened : desk->closed)[id]++;
        break;
    default:
        fail_msg("the driver sends message %u", vio_cpu(m.event));
    }
}

static size_t serve(struct script *s, uint16_t queue, const uint8_t *in, size_t n, uint8_t *out, size_t max)
{
    struct desk *desk = s->ctx;

    (void)out;
    (void)max;
    if (queue == VIRTIO_CONSOLE_CONTROL_TX && s->keeps[VIRTIO_CONSOLE_CONTROL_RX]) {
        on_control(desk, in, n);
        return 0;
    }
    desk->written += n;
    memcpy(desk->last, in, n < sizeof(desk->last) ? n : sizeof(desk->last));
    if (desk->echo)
        (void)script_send(s, (uint16_t)(queue - 1), in, n);
    return 0;
}

static struct script *start(struct desk *desk, uint64_t features, struct vio_drv_console_driver *driver)
{
    struct virtio_console_config config = { vio_le16_of(80), vio_le16_of(25), vio_le32_of(PORTS), vio_le32_of(0) };
    struct script *s = script_new();
    bool multiport = (features & MULTIPORT) != 0;

    s->serve = serve;
    s->ctx = desk;
    for (unsigned i = 0; i < QUEUES; i += 2)
        s->keeps[i] = multiport || i == 0;
    script_start(s, multiport ? QUEUES : 2, features, &config, sizeof(config),
                 driver != NULL ? &driver->driver : &vio_driver_console);
    assert_int_equal(vio_drvdev_status(s->d), VIO_DRVDEV_RUNS);
    return s;
}

/* A control message from the device, with bytes behind it. */
static void tell(struct script *s, uint32_t id, unsigned event, unsigned value, const void *rest, size_t n)
{
    struct virtio_console_control m = { vio_le32_of(id), vio_le16_of((uint16_t)event), vio_le16_of((uint16_t)value) };
    uint8_t bytes[600];

    memcpy(bytes, &m, sizeof(m));
    if (n > 0)
        memcpy(bytes + sizeof(m), rest, n);
    assert_true(script_send(s, VIRTIO_CONSOLE_CONTROL_RX, bytes, sizeof(m) + n));
}

/* ---------------------------------------------------------------- one port */

static void check_echo(uint64_t features)
{
    struct desk desk = { .echo = true };
    struct script *s = start(&desk, features, NULL);
    struct vio_drv_console *c = vio_drv_console_of(s->d);
    struct vio_drv_console_port info;
    uint8_t out[5000], in[5000];
    unsigned got = 0;

    assert_int_equal(vio_drv_console_ports(c), 1);
    assert_int_equal(vio_drv_console_port(c, 0, &info), 0);
    assert_int_equal(vio_drv_console_port(c, 1, &info), -ENOENT);
    assert_true(info.console && info.host_open && info.guest_open);
    assert_int_equal(vio_drv_console_read(c, 0, in, sizeof(in)), 0);
    assert_int_equal(vio_drv_console_wait(c, 0, VIO_DRV_CONSOLE_READABLE, SECOND / 100), -ETIMEDOUT);
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < sizeof(out); i++)
            out[i] = (uint8_t)(i * 7 + round);
        assert_int_equal(vio_drv_console_write_all(c, 0, out, sizeof(out), SECOND), 0);
        assert_int_equal(vio_drv_console_flush(c, 0, SECOND), 0);
        for (got = 0; got < sizeof(in);) {
            int n = vio_drv_console_read(c, 0, in + got, 100 + round);

            assert_true(n > 0);
            got += (unsigned)n > sizeof(in) - got ? (unsigned)(sizeof(in) - got) : (unsigned)n;
        }
        assert_memory_equal(in, out, sizeof(in));
    }
    script_free(s);
}

static void test_echo(void **state)
{
    (void)state;
    check_echo(0);
    check_echo(EVENT_IDX);
    check_echo(PACKED | EVENT_IDX);
    check_echo(PACKED | VIO_FEATURE(VIRTIO_F_IN_ORDER));
}

static void test_flow(void **state)
{
    struct vio_drv_console_params params = { .buffers = 4, .bytes = 16, .event = on_event };
    struct vio_drv_console_driver driver;
    struct desk desk = { .echo = false };
    struct vio_drv_console *c;
    uint8_t bytes[256] = { 1, 2, 3 };
    struct script *s;

    (void)state;
    params.ctx = &desk;
    vio_drv_console_driver(&driver, &params);
    s = start(&desk, 0, &driver);
    c = vio_drv_console_of(s->d);
    s->hold[1] = true;
    assert_int_equal(vio_drv_console_write(c, 0, bytes, sizeof(bytes)), 64); /* all there is room for */
    assert_int_equal(vio_drv_console_write(c, 0, bytes, sizeof(bytes)), 0);
    assert_int_equal(vio_drv_console_wait(c, 0, VIO_DRV_CONSOLE_WRITABLE, SECOND), -ETIMEDOUT);
    assert_int_equal(vio_drv_console_write_all(c, 0, bytes, sizeof(bytes), SECOND), -ETIMEDOUT);
    assert_int_equal(vio_drv_console_flush(c, 0, SECOND), -ETIMEDOUT);
    s->hold[1] = false;
    fake_serve(s->f);
    (void)vio_drvdev_interrupt(s->d);
    assert_int_equal(desk.events[0], VIO_DRV_CONSOLE_WRITABLE);
    assert_int_equal(desk.written, 64);
    assert_int_equal(vio_drv_console_write(c, 0, bytes, 3), 3);
    /* What nobody reads stays at the device: five messages, four buffers. */
    for (unsigned i = 0; i < 4; i++)
        assert_true(script_send(s, 0, bytes, 3));
    (void)vio_drvdev_interrupt(s->d);
    assert_true((desk.events[0] & VIO_DRV_CONSOLE_READABLE) != 0);
    assert_false(script_send(s, 0, bytes, 3));
    assert_int_equal(vio_drv_console_read(c, 0, bytes, 4), 4);
    assert_true(script_send(s, 0, bytes, 3)); /* one buffer was read to its end */
    assert_int_equal(vio_drv_console_read(c, 0, bytes, sizeof(bytes)), 11);
    assert_int_equal(vio_drv_console_read(c, 0, bytes, sizeof(bytes)), 0);
    assert_true(script_send(s, 0, NULL, 0)); /* an empty buffer is no news */
    assert_int_equal(vio_drv_console_read(c, 0, bytes, sizeof(bytes)), 0);
    script_free(s);
}

static void test_size_and_emergency(void **state)
{
    struct virtio_console_resize size = { vio_le16_of(132), vio_le16_of(43) };
    struct vio_drv_console_params params = { .event = on_event };
    struct vio_drv_console_driver driver;
    struct vio_drv_console_port info;
    struct desk desk = { .echo = false };
    uint8_t word[4];
    struct script *s;

    (void)state;
    params.ctx = &desk;
    vio_drv_console_driver(&driver, &params);
    s = start(&desk, SIZE | EMERG, &driver);
    assert_int_equal(vio_drv_console_port(vio_drv_console_of(s->d), 0, &info), 0);
    assert_int_equal(info.cols, 80);
    assert_int_equal(info.rows, 25);
    script_config(s, 0, &size, sizeof(size));
    assert_true((desk.events[0] & VIO_DRV_CONSOLE_RESIZED) != 0);
    assert_int_equal(vio_drv_console_port(vio_drv_console_of(s->d), 0, &info), 0);
    assert_int_equal(info.cols, 132);
    assert_int_equal(info.rows, 43);
    assert_int_equal(vio_drv_console_emergency(s->d, '!'), 0);
    assert_int_equal(vio_device_config_read(s->dev, 8, word, 4), 0);
    assert_int_equal(word[0], '!');
    script_free(s);
    s = start(&desk, 0, NULL);
    assert_int_equal(vio_drv_console_emergency(s->d, '!'), -ENOTSUP);
    script_free(s);
}

/* ---------------------------------------------------------------- many ports */

static void check_ports(uint64_t features, bool events)
{
    struct virtio_console_resize size = { vio_le16_of(100), vio_le16_of(30) };
    struct vio_drv_console_params params = { .event = events ? on_event : NULL };
    struct vio_drv_console_driver driver;
    struct vio_drv_console_port info;
    struct desk desk = { .echo = true };
    struct vio_drv_console *c;
    uint8_t bytes[32];
    struct script *s;

    params.ctx = &desk;
    vio_drv_console_driver(&driver, &params);
    s = start(&desk, features | MULTIPORT, &driver);
    c = vio_drv_console_of(s->d);
    assert_int_equal(desk.ready, 1);
    assert_int_equal(vio_drv_console_ports(c), PORTS);
    assert_int_equal(vio_drv_console_port(c, 0, &info), -ENOENT); /* none was added yet */
    assert_int_equal(vio_drv_console_read(c, 0, bytes, 1), -ENOENT);
    tell(s, 0, VIRTIO_CONSOLE_DEVICE_ADD, 0, NULL, 0);
    tell(s, 3, VIRTIO_CONSOLE_DEVICE_ADD, 0, NULL, 0);
    assert_int_equal(vio_drv_console_wait(c, 3, VIO_DRV_CONSOLE_ADDED, SECOND), 0);
    assert_int_equal(desk.port_ready[0], 1);
    assert_int_equal(desk.port_ready[3], 1);
    assert_int_equal(vio_drv_console_write(c, 3, "x", 1), -EPIPE); /* nobody is there */
    tell(s, 0, VIRTIO_CONSOLE_CONSOLE_PORT, 1, NULL, 0);
    tell(s, 0, VIRTIO_CONSOLE_RESIZE, 0, &size, sizeof(size));
    tell(s, 3, VIRTIO_CONSOLE_PORT_NAME, 1, "org.vio\x1b[2Jtest", 15);
    tell(s, 3, VIRTIO_CONSOLE_PORT_OPEN, 1, NULL, 0);
    assert_int_equal(vio_drv_console_wait(c, 3, VIO_DRV_CONSOLE_OPENED, SECOND), 0);
    assert_int_equal(vio_drv_console_port(c, 0, &info), 0);
    assert_true(info.console && info.guest_open && !info.host_open);
    assert_int_equal(info.cols, 100);
    assert_int_equal(desk.opened[0], 1); /* the answer to CONSOLE_PORT */
    assert_int_equal(vio_drv_console_port(c, 3, &info), 0);
    assert_string_equal(info.name, "org.vio?[2Jtest");
    assert_true(info.host_open);
    assert_int_equal(vio_drv_console_open(c, 3, true), 0);
    assert_int_equal(desk.opened[3], 1);
    assert_int_equal(vio_drv_console_write(c, 3, "hello", 5), 5);
    assert_int_equal(vio_drv_console_wait(c, 3, VIO_DRV_CONSOLE_READABLE, SECOND), 0);
    assert_int_equal(vio_drv_console_read(c, 3, bytes, sizeof(bytes)), 5);
    assert_memory_equal(bytes, "hello", 5);
    assert_int_equal(vio_drv_console_write(c, 0, "c", 1), 1); /* a console is written to in any case */
    tell(s, 3, VIRTIO_CONSOLE_PORT_OPEN, 0, NULL, 0);
    assert_int_equal(vio_drv_console_wait(c, 3, VIO_DRV_CONSOLE_CLOSED, SECOND), 0);
    assert_int_equal(vio_drv_console_write(c, 3, "x", 1), -EPIPE);
    assert_int_equal(vio_drv_console_open(c, 3, false), 0);
    assert_int_equal(desk.closed[3], 1);
    if (events) {
        assert_int_equal(desk.events[3] & 0xf4, VIO_DRV_CONSOLE_ADDED | VIO_DRV_CONSOLE_OPENED | VIO_DRV_CONSOLE_CLOSED |
                                                VIO_DRV_CONSOLE_NAMED);
        assert_true((desk.events[0] & VIO_DRV_CONSOLE_RESIZED) != 0);
    }
    assert_int_equal(vio_drv_console_ignored(c), 0);
    script_free(s);
}

static void test_ports(void **state)
{
    (void)state;
    check_ports(0, false);
    check_ports(EVENT_IDX, true);
    check_ports(PACKED, true);
}

/* Unplugged with bytes unread and buffers out, and plugged again, many times: no memory grows, nothing stale comes out. */
static void test_hotplug(void **state)
{
    struct desk desk = { .echo = true };
    struct script *s = start(&desk, MULTIPORT, NULL);
    struct vio_drv_console *c = vio_drv_console_of(s->d);
    uint8_t bytes[8];
    unsigned held = 0;

    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        tell(s, 2, VIRTIO_CONSOLE_DEVICE_ADD, 0, NULL, 0);
        tell(s, 2, VIRTIO_CONSOLE_PORT_OPEN, 1, NULL, 0);
        assert_int_equal(vio_drv_console_wait(c, 2, VIO_DRV_CONSOLE_OPENED, SECOND), 0);
        assert_int_equal(vio_drv_console_read(c, 2, bytes, sizeof(bytes)), 0);
        assert_int_equal(vio_drv_console_write(c, 2, "left", 4), 4);
        vio_drv_console_service(c);
        tell(s, 2, VIRTIO_CONSOLE_DEVICE_REMOVE, 0, NULL, 0);
        assert_int_equal(vio_drv_console_wait(c, 2, VIO_DRV_CONSOLE_REMOVED, SECOND), 0);
        assert_int_equal(vio_drv_console_read(c, 2, bytes, sizeof(bytes)), -ENOENT);
        assert_true(script_send(s, 6, "late", 4)); /* for a port that is not there: not for the one that comes after */
        vio_drv_console_service(c);
        if (i == 0)
            held = s->f->held;
        assert_int_equal(s->f->held, held);
    }
    assert_int_equal(desk.port_ready[2], 50);
    assert_int_equal(vio_drvdev_recover(s->d), 0);
    assert_int_equal(desk.ready, 2);
    script_free(s);
}

/* ---------------------------------------------------------------- a device that lies */

/* Messages too early, twice, unknown, or about ports that are not there change nothing. */
static void test_senseless(void **state)
{
    struct vio_drv_console_params params = { .ports = 3 };
    struct vio_drv_console_driver driver;
    struct desk desk = { .echo = false };
    struct vio_drv_console_port info;
    struct vio_drv_console *c;
    struct script *s;
    char name[500];

    (void)state;
    vio_drv_console_driver(&driver, &params);
    s = start(&desk, MULTIPORT, &driver);
    c = vio_drv_console_of(s->d);
    assert_int_equal(vio_drv_console_ports(c), 3);
    for (unsigned event = 2; event < 9; event++)
        tell(s, 1, event, 1, "abcd", 4);
    vio_drv_console_service(c);
    assert_int_equal(vio_drv_console_ignored(c), 7);
    tell(s, 1, VIRTIO_CONSOLE_DEVICE_ADD, 1, NULL, 0);
    tell(s, 1, VIRTIO_CONSOLE_DEVICE_ADD, 1, NULL, 0);
    tell(s, 1, 99, 1, NULL, 0);
    tell(s, 1, VIRTIO_CONSOLE_PORT_READY, 1, NULL, 0);
    vio_drv_console_service(c);
    assert_int_equal(vio_drv_console_ignored(c), 10);
    assert_int_equal(desk.port_ready[1], 1);
    tell(s, 5, VIRTIO_CONSOLE_DEVICE_ADD, 1, NULL, 0); /* the device has it, we do not take it */
    vio_drv_console_service(c);
    assert_int_equal(desk.port_not_ready[5], 1);
    assert_int_equal(vio_drv_console_port(c, 5, &info), -ENOENT);
    memset(name, 'n', sizeof(name));
    tell(s, 1, VIRTIO_CONSOLE_PORT_NAME, 1, name, sizeof(name));
    vio_drv_console_service(c);
    assert_int_equal(vio_drv_console_port(c, 1, &info), 0);
    assert_int_equal(strlen(info.name), VIO_DRV_CONSOLE_NAME - 1);
    tell(s, 1, VIRTIO_CONSOLE_PORT_NAME, 1, NULL, 0);
    vio_drv_console_service(c);
    assert_int_equal(vio_drv_console_port(c, 1, &info), 0);
    assert_string_equal(info.name, "");
    assert_int_equal(vio_drvdev_status(s->d), VIO_DRVDEV_RUNS);
    script_free(s);
}

static void check_breaks(const void *bytes, size_t n, const char *why)
{
    struct desk desk = { .echo = false };
    struct script *s = start(&desk, MULTIPORT, NULL);
    struct vio_drv_console *c = vio_drv_console_of(s->d);
    uint8_t byte;

    tell(s, 1, VIRTIO_CONSOLE_DEVICE_ADD, 0, NULL, 0);
    assert_true(script_send(s, VIRTIO_CONSOLE_CONTROL_RX, bytes, n));
    vio_drv_console_service(c);
    assert_int_equal(vio_drvdev_status(s->d), VIO_DRVDEV_BROKEN);
    assert_int_equal(vio_drv_console_read(c, 1, &byte, 1), -EIO);
    assert_int_equal(vio_drv_console_write(c, 1, &byte, 1), -EIO);
    assert_int_equal(vio_drv_console_wait(c, 1, VIO_DRV_CONSOLE_READABLE, SECOND), -EIO);
    (void)vio_drvdev_interrupt(s->d);
    assert_true(fake_said(s->f, why));
    assert_true(fake_said(s->f, "virtio 1.4, 5.3.6.2"));
    assert_int_equal(vio_drvdev_recover(s->d), 0);
    script_free(s);
}

static void test_lies(void **state)
{
    static const uint8_t beyond[8] = { PORTS, 0, 0, 0, 1 }, far[8] = { 255, 255, 255, 255, 6 }, resize[10] = { 1, 0, 0, 0, 5 };

    (void)state;
    check_breaks(beyond, 0, "shorter than its 8 bytes");
    check_breaks(beyond, 7, "shorter than its 8 bytes");
    check_breaks(beyond, 8, "beyond max_nr_ports");
    check_breaks(far, 8, "beyond max_nr_ports");
    check_breaks(resize, 10, "RESIZE without a size");
}

/* A device that takes none of our messages, and adds and removes ports for ever. */
static void test_deaf(void **state)
{
    struct desk desk = { .echo = false };
    struct script *s = start(&desk, MULTIPORT, NULL);
    struct vio_drv_console *c = vio_drv_console_of(s->d);
    unsigned held = 0;

    (void)state;
    s->hold[VIRTIO_CONSOLE_CONTROL_TX] = true;
    for (unsigned i = 0; i < 200; i++) {
        tell(s, i % PORTS, VIRTIO_CONSOLE_DEVICE_ADD, 0, NULL, 0);
        tell(s, i % PORTS, VIRTIO_CONSOLE_CONSOLE_PORT, 0, NULL, 0);
        vio_drv_console_service(c);
        if (i < 199 - PORTS)
            tell(s, i % PORTS, VIRTIO_CONSOLE_DEVICE_REMOVE, 0, NULL, 0);
        vio_drv_console_service(c);
        if (i == PORTS)
            held = s->f->held;
    }
    assert_int_equal(s->f->held, held);
    s->hold[VIRTIO_CONSOLE_CONTROL_TX] = false;
    fake_serve(s->f);
    vio_drv_console_service(c);
    for (unsigned i = 0; i < PORTS; i++)
        assert_true(desk.port_ready[i] > 0 && desk.opened[i] > 0); /* what was owed is said in the end */
    script_free(s);
}

/* A device that went away while we wait for it: the wait ends before its time. */
static void test_gone(void **state)
{
    struct desk desk = { .echo = false };
    struct script *s = start(&desk, 0, NULL);
    struct vio_drv_console *c = vio_drv_console_of(s->d);

    (void)state;
    s->f->fail_on = FAKE_STATUS_GET;
    s->f->fail_error = -ECONNRESET;
    assert_int_equal(vio_drv_console_wait(c, 0, VIO_DRV_CONSOLE_READABLE, 3600 * SECOND), -EIO);
    assert_int_equal(vio_drvdev_status(s->d), VIO_DRVDEV_BROKEN);
    assert_true(s->f->now < 10 * SECOND);
    s->f->fail_error = 0;
    script_free(s);
}

static void test_config(void **state)
{
    struct virtio_console_config config = { vio_le16_of(80), vio_le16_of(25), vio_le32_of(0), vio_le32_of(0) };
    struct script *s = script_new();
    struct desk desk = { .echo = false };

    (void)state;
    s->serve = serve;
    s->ctx = &desk;
    script_start(s, 6, MULTIPORT, &config, sizeof(config), &vio_driver_console);
    assert_int_equal(vio_drvdev_status(s->d), VIO_DRVDEV_FAILED);
    assert_non_null(strstr(vio_drvdev_why(s->d), "max_nr_ports is 0"));
    script_free(s);
    /* More ports than queues, or than anyone has: those that are there are taken. */
    s = script_new();
    s->serve = serve;
    s->ctx = &desk;
    s->keeps[0] = s->keeps[2] = s->keeps[4] = true;
    config.max_nr_ports = vio_le32_of(UINT32_MAX);
    script_start(s, 6, MULTIPORT, &config, sizeof(config), &vio_driver_console);
    assert_int_equal(vio_drvdev_status(s->d), VIO_DRVDEV_RUNS);
    assert_int_equal(vio_drv_console_ports(vio_drv_console_of(s->d)), 2);
    script_free(s);
}

static void test_memory(void **state)
{
    struct desk desk = { .echo = false };
    unsigned fail = 1;

    (void)state;
    for (bool ran = false; !ran; fail++) {
        struct script *s = start(&desk, fail % 2 != 0 ? MULTIPORT : 0, NULL);

        s->f->fail_allocation = fail;
        ran = vio_drvdev_recover(s->d) == 0;
        assert_true(ran || vio_drvdev_why(s->d)[0] != 0);
        if (ran && fail % 2 != 0) {
            struct vio_drv_console_port info;

            /* A port that gets no memory is not ready, and the rest goes on. */
            memset(&desk, 0, sizeof(desk));
            s->f->fail_allocation = 1;
            tell(s, 1, VIRTIO_CONSOLE_DEVICE_ADD, 0, NULL, 0);
            vio_drv_console_service(vio_drv_console_of(s->d));
            assert_int_equal(desk.port_not_ready[1], 1);
            assert_int_equal(vio_drv_console_port(vio_drv_console_of(s->d), 1, &info), -ENOENT);
        }
        script_free(s);
    }
    assert_true(fail > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo), cmocka_unit_test(test_flow), cmocka_unit_test(test_size_and_emergency),
        cmocka_unit_test(test_ports), cmocka_unit_test(test_hotplug), cmocka_unit_test(test_senseless),
        cmocka_unit_test(test_lies), cmocka_unit_test(test_deaf), cmocka_unit_test(test_gone), cmocka_unit_test(test_config), cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
