/* SPDX-License-Identifier: MIT */
/*
 * Purpose: fuzz target: the drivers of entropy, console, balloon, SCSI, socket and file system devices, each against a device
 * that does as it should until the input changes bytes of its answers, cuts them, sends messages of its own, or falls silent.
 * Invariants: no call hands out more than was asked for, names end, every piece of memory comes back.
 */
#include <string.h>

#include <vio/drv_balloon.h>
#include <vio/drv_console.h>
#include <vio/drv_fs.h>
#include <vio/drv_rng.h>
#include <vio/drv_scsi.h>
#include <vio/drv_vsock.h>

#include "fuzz.h"
#include "ram_target.h"
#include "spec/balloon.h"
#include "spec/console.h"
#include "spec/scsi.h"
#include "spec/virtio.h"
#include "tree_server.h"
#include "vsock_peer.h"

enum { RNG, CONSOLE, BALLOON, SCSI, VSOCK, FS, KINDS };
enum { STEPS = 200, SHORT_NS = 3000000, BUFFER = 4096 };

struct run {
    struct input in;
    struct script *s;
    unsigned kind;
    size_t (*model)(struct script *s, uint16_t queue, const uint8_t *in, size_t n, uint8_t *out, size_t max);
    uint8_t bytes[BUFFER];
    vio_drv_vsock_id id[4];
    uint64_t node, handle;
};

static struct run run; /* serve() has no other way to it beside the models' own ctx */

/* ------------------------------------------------------------------ the device */

static size_t serve(struct script *s, uint16_t queue, const uint8_t *in, size_t n, uint8_t *out, size_t max)
{
    size_t len = run.model != NULL ? run.model(s, queue, in, n, out, max) : max;
    uint8_t how = input_u8(&run.in);

    for (unsigned i = 0; i < (how & 7u) && max > 0; i++) {
        unsigned at = input_u8(&run.in);

        if ((how & 8) != 0)
            at = (unsigned)(at * 256 + input_u8(&run.in));
        out[at % max] = input_u8(&run.in);
    }
    if ((how & 0x30) == 0x30)
        len = input_u16(&run.in);
    return len < max ? len : max;
}

/* Something that nobody asked for: bytes of the input, on a queue that waits for them. */
static void device_sends(void)
{
    uint16_t queue = input_u8(&run.in) % 8;
    size_t n = input_u8(&run.in);
    uint8_t bytes[256];

    for (size_t i = 0; i < n; i++)
        bytes[i] = input_u8(&run.in);
    if (queue < vio_device_queues(run.s->dev) && run.s->keeps[queue])
        (void)script_send(run.s, queue, bytes, n);
}

/* The same with a header that is nearly right. */
static void device_sends_well(void)
{
    uint8_t bytes[64] = { 0 };
    unsigned a = input_u8(&run.in), b = input_u8(&run.in), n = input_u8(&run.in) % 48;

    if (run.kind == CONSOLE) {
        struct virtio_console_control m = { vio_le32_of(a % 4), vio_le16_of((uint16_t)(b % 8)), vio_le16_of((uint16_t)(n & 1)) };

        memcpy(bytes, &m, sizeof(m));
        memcpy(bytes + sizeof(m), "0123456789012345678901234567890123456789", 40);
        (void)script_send(run.s, VIRTIO_CONSOLE_CONTROL_RX, bytes, sizeof(m) + n % 41);
    } else if (run.kind == VSOCK) {
        const uint32_t ports[4] = { PEER_ECHO, PEER_SINK, 100, 101 };
        struct peer_conn *c = vsock_peer_conn(run.s, ports[a & 3]);

        (void)vsock_peer_send(run.s, ports[a & 3], c != NULL ? c->guest_port : 1000, 1 + (a >> 2 & 1), b % 9, n, 8192,
                              c != NULL ? (uint32_t)(input_u8(&run.in) & 1) * c->told_alloc : 0, bytes, n);
    } else if (run.kind == SCSI) {
        struct virtio_scsi_event e = { vio_le32_of(a % 4), { 1, 3, 0x40, 1 }, vio_le32_of(b) };

        (void)script_send(run.s, VIRTIO_SCSI_EVENTQ, &e, n % 20 < sizeof(e) ? n % 20 : sizeof(e));
    } else if (run.s->type.config_size > 0 && run.kind != FS) {
        bytes[0] = (uint8_t)b;
        script_config(run.s, (a % 4) * 4, bytes, 4);
    }
}

/* ------------------------------------------------------------------ the drivers */

static void use_rng(void)
{
    struct vio_drv_rng *r = vio_drv_rng_of(run.s->d);
    struct vio_drv_rng_result results[4];
    unsigned n = vio_drv_rng_collect(r, results, 4);

    FUZZ_CHECK(n == 0);
    if (vio_drv_rng_of(run.s->d) != NULL)
        (void)!vio_drv_rng_read(r, run.bytes, input_u8(&run.in), SHORT_NS);
}

static void use_console(void)
{
    struct vio_drv_console *c = vio_drv_console_of(run.s->d);
    uint32_t port = input_u8(&run.in) % 4, n = input_u8(&run.in);
    struct vio_drv_console_port info;
    int got = vio_drv_console_read(c, port, run.bytes, n);

    FUZZ_CHECK(got <= (int)n);
    got = vio_drv_console_write(c, port, run.bytes, n * 8);
    FUZZ_CHECK(got <= (int)n * 8);
    (void)!vio_drv_console_open(c, port, (n & 1) != 0);
    if ((n & 2) != 0)
        (void)!vio_drv_console_wait(c, port, n, SHORT_NS);
    if (vio_drv_console_port(c, port, &info) == 0)
        FUZZ_CHECK(memchr(info.name, 0, sizeof(info.name)) != NULL);
    (void)!vio_drv_console_emergency(run.s->d, 'x');
    vio_drv_console_service(c);
}

static void use_balloon(void)
{
    struct vio_drv_balloon *b = vio_drv_balloon_of(run.s->d);
    uint8_t what = input_u8(&run.in);
    uint64_t pages[16];
    struct vio_buf range = { 0x1000, 4096 };

    for (unsigned i = 0; i < 16; i++)
        pages[i] = (uint64_t)VIO_DRV_BALLOON_PAGE * input_u8(&run.in);
    if (what % 4 == 0)
        (void)!vio_drv_balloon_inflate(b, pages, what >> 4, SHORT_NS);
    else if (what % 4 == 1)
        (void)!vio_drv_balloon_deflate(b, pages, what >> 4, SHORT_NS);
    else if (what % 4 == 2)
        (void)!vio_drv_balloon_hint(b, &range, 0, SHORT_NS);
    vio_drv_balloon_service(b);
}

static void use_scsi(void)
{
    struct vio_drv_scsi *x = vio_drv_scsi_of(run.s->d);
    struct vio_drv_scsi_lun lun = vio_drv_scsi_lun(RAM_TARGET, RAM_LUN);
    struct vio_drv_scsi_result result;
    struct vio_drv_scsi_disk disk;
    struct vio_drv_scsi_sense sense;
    uint8_t what = input_u8(&run.in), answer, cdb[16] = { 0 };
    uint16_t luns[8];
    uint32_t actual;
    int n;

    switch (what % 6) {
    case 0:
        n = vio_drv_scsi_report_luns(x, RAM_TARGET, luns, 8, SHORT_NS);
        FUZZ_CHECK(n <= 8);
        break;
    case 1:
        if (vio_drv_scsi_disk_open(x, RAM_TARGET, RAM_LUN, &disk, SHORT_NS) != 0)
            break;
        FUZZ_CHECK(disk.block_size >= 512 && disk.blocks > 0 && strlen(disk.vendor) < 9 && strlen(disk.product) < 17);
        if (disk.block_size <= BUFFER)
            (void)!vio_drv_scsi_read(x, &disk, what, run.bytes, disk.block_size, SHORT_NS);
        (void)!vio_drv_scsi_unmap(x, &disk, what, 1, SHORT_NS);
        break;
    case 2:
        n = vio_drv_scsi_inquiry(x, lun, what, run.bytes, 96, SHORT_NS);
        FUZZ_CHECK(n <= 96);
        break;
    case 3:
        (void)!vio_drv_scsi_tmf(x, what >> 4, lun, 0, what, &answer, SHORT_NS);
        break;
    case 4:
        (void)!vio_drv_scsi_async(x, lun, (what & 8) != 0, what, &actual, SHORT_NS);
        break;
    default:
        cdb[0] = input_u8(&run.in);
        n = vio_drv_scsi_command(x, lun, cdb, 16, run.bytes, what, run.bytes, what, &result, SHORT_NS);
        FUZZ_CHECK(result.sense_len <= VIO_DRV_SCSI_SENSE && result.residual <= 2u * what);
        FUZZ_CHECK(n != 0 || result.response == 0);
        (void)!vio_drv_scsi_sense(result.sense, result.sense_len, &sense);
    }
    vio_drv_scsi_events(x);
}

static void use_vsock(void)
{
    struct vio_drv_vsock *v = vio_drv_vsock_of(run.s->d);
    uint8_t what = input_u8(&run.in), n = input_u8(&run.in);
    vio_drv_vsock_id *id = &run.id[n % 4];
    unsigned type = 1 + (what >> 4 & 1);
    bool last;
    int got;

    switch (what % 8) {
    case 0:
        (void)!vio_drv_vsock_connect(v, type, PEER_CID, PEER_ECHO + (n >> 4) % 4, id);
        break;
    case 1:
        (void)!vio_drv_vsock_listen(v, type, 1000, n);
        break;
    case 2:
        (void)!vio_drv_vsock_accept(v, type, 1000, id);
        break;
    case 3:
        got = vio_drv_vsock_send(v, *id, run.bytes, n * 16u, (what & 32) != 0);
        FUZZ_CHECK(got <= n * 16);
        break;
    case 4:
        got = vio_drv_vsock_receive(v, *id, run.bytes, n, &last);
        FUZZ_CHECK(got <= n);
        break;
    case 5:
        (void)!vio_drv_vsock_shutdown(v, *id, (what & 32) != 0, (what & 64) != 0);
        break;
    case 6:
        if ((what & 32) != 0)
            vio_drv_vsock_close(v, *id);
        else
            vio_drv_vsock_reset(v, *id);
        break;
    default:
        if ((what & 32) != 0)
            vio_drv_vsock_unlisten(v, type, 1000);
        (void)!vio_drv_vsock_wait(v, *id, n, SHORT_NS);
    }
    vsock_peer_flush(run.s);
    vio_drv_vsock_service(v);
}

static void on_entry(void *ctx, const struct vio_drv_fs_dirent *entry)
{
    (void)ctx;
    FUZZ_CHECK(entry->len > 0 && strlen(entry->name) == entry->len && strchr(entry->name, '/') == NULL);
}

static void use_fs(void)
{
    static const char *const names[4] = { "a", "b", "a/b", "" };
    struct vio_drv_fs *f = vio_drv_fs_of(run.s->d);
    uint8_t what = input_u8(&run.in), n = input_u8(&run.in);
    struct vio_drv_fs_entry e;
    struct vio_drv_fs_attr attr;
    struct vio_drv_fs_stat stat;
    uint64_t offset = 0;
    int got;

    switch (what % 12) {
    case 0:
        (void)!vio_drv_fs_start(f, SHORT_NS);
        break;
    case 1:
        if (vio_drv_fs_walk(f, names[n % 4], &e, SHORT_NS) == 0)
            run.node = e.node;
        break;
    case 2:
        if (vio_drv_fs_create(f, 1, names[n % 4], 2, 0644, &e, &run.handle, SHORT_NS) == 0)
            run.node = e.node;
        break;
    case 3:
        got = vio_drv_fs_read(f, run.node, run.handle, n, run.bytes, n * 16u, SHORT_NS);
        FUZZ_CHECK(got <= n * 16);
        break;
    case 4:
        got = vio_drv_fs_write(f, run.node, run.handle, n, run.bytes, n * 16u, SHORT_NS);
        FUZZ_CHECK(got <= n * 16);
        break;
    case 5:
        (void)!vio_drv_fs_opendir(f, 1, &run.handle, SHORT_NS);
        (void)!vio_drv_fs_readdir(f, 1, run.handle, &offset, on_entry, NULL, SHORT_NS);
        break;
    case 6:
        (void)!vio_drv_fs_mkdir(f, 1, names[n % 4], 0755, &e, SHORT_NS);
        break;
    case 7:
        (void)!vio_drv_fs_unlink(f, 1, names[n % 4], SHORT_NS);
        break;
    case 8:
        (void)!vio_drv_fs_forget(f, run.node, 1, SHORT_NS);
        break;
    case 9:
        (void)!vio_drv_fs_getattr(f, run.node, &attr, SHORT_NS);
        (void)!vio_drv_fs_statfs(f, &stat, SHORT_NS);
        break;
    case 10:
        (void)!vio_drv_fs_release(f, run.node, run.handle, SHORT_NS);
        break;
    default:
        (void)!vio_drv_fs_end(f, SHORT_NS);
    }
}

static void use(void)
{
    static void (*const uses[KINDS])(void) = { use_rng, use_console, use_balloon, use_scsi, use_vsock, use_fs };

    if (vio_drvdev_status(run.s->d) == VIO_DRVDEV_RUNS)
        uses[run.kind]();
}

/* ------------------------------------------------------------------ one run */

static void step(void)
{
    uint8_t op = input_u8(&run.in);

    switch (op % 8) {
    case 0:
        device_sends();
        break;
    case 1:
        device_sends_well();
        break;
    case 2:
        run.s->hold[(op >> 4) % 4] = (op & 8) != 0;
        fake_serve(run.s->f);
        break;
    case 3:
        (void)vio_drvdev_interrupt(run.s->d);
        if (vio_drvdev_status(run.s->d) != VIO_DRVDEV_RUNS && (op & 0x80) != 0) {
            memset(run.s->hold, 0, sizeof(run.s->hold));
            (void)!vio_drvdev_recover(run.s->d);
        }
        break;
    default:
        use();
    }
}

static unsigned stats(void *ctx, struct vio_drvdev *d, struct vio_drv_balloon_stat *to, unsigned max)
{
    (void)ctx;
    (void)d;
    to[0] = (struct vio_drv_balloon_stat){ VIRTIO_BALLOON_S_MEMFREE, 1 };
    return max > 0;
}

/* The configuration as it should be, and some bytes of it as the input wants. */
static void start(uint64_t features)
{
    static const struct vio_drv_balloon_params balloon = { .hints = true, .stats = stats };
    static const struct vio_driver *const drivers[KINDS] = { &vio_driver_rng, &vio_driver_console, NULL, &vio_driver_scsi,
                                                             &vio_driver_vsock, &vio_driver_fs };
    static const uint16_t queues[KINDS] = { 1, 8, 5, 4, 3, 2 };
    struct vio_drv_balloon_driver balloon_driver;
    union {
        uint8_t bytes[SCRIPT_CONFIG];
        struct virtio_console_config console;
        struct virtio_scsi_config scsi;
        struct virtio_vsock_config vsock;
        struct virtio_fs_config fs;
    } c = { { 0 } };
    static const uint8_t sizes[KINDS] = { 0, 12, 16, 36, 8, 44 };
    uint8_t changes = input_u8(&run.in) % 4;

    if (run.kind == CONSOLE)
        c.console.max_nr_ports = vio_le32_of(3);
    else if (run.kind == SCSI)
        c.scsi = (struct virtio_scsi_config){ .num_queues = vio_le32_of(2), .seg_max = vio_le32_of(8), .sense_size = vio_le32_of(96),
                                              .cdb_size = vio_le32_of(32), .event_info_size = vio_le32_of(16) };
    else if (run.kind == VSOCK)
        c.vsock.guest_cid = vio_le64_of(GUEST_CID);
    else if (run.kind == FS)
        c.fs = (struct virtio_fs_config){ .tag = "fuzz", .num_request_queues = vio_le32_of(1) };
    for (unsigned i = 0; i < changes && run.kind != VSOCK && sizes[run.kind] > 0; i++) {
        uint8_t at = input_u8(&run.in);

        c.bytes[at % sizes[run.kind]] = input_u8(&run.in);
    }
    vio_drv_balloon_driver(&balloon_driver, &balloon);
    script_start(run.s, queues[run.kind], features, c.bytes, sizes[run.kind],
                 drivers[run.kind] != NULL ? drivers[run.kind] : &balloon_driver.driver);
    /* The driver's params must outlive it, and this device lives only here. */
    for (unsigned i = 0; i < STEPS && run.in.left > 0; i++)
        step();
    run.in.left = 0; /* what the end of the device still asks is answered as it should be */
    script_free(run.s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t bits[KINDS] = { 0, 7, 0x3f, 7, 3, 0 };
    struct tree_server *tree = NULL;
    struct vsock_peer *peer = NULL;
    struct ram_target *target = NULL;
    uint8_t first, second;
    uint64_t features;

    if (size < 3 || size > 4096)
        return 0;
    memset(&run, 0, sizeof(run));
    run.in = (struct input){ data, size };
    first = input_u8(&run.in);
    second = input_u8(&run.in);
    run.kind = first % KINDS;
    features = bits[run.kind] & second;
    features |= (first & 0x40) != 0 ? VIO_FEATURE(VIRTIO_F_RING_PACKED) : 0;
    features |= (first & 0x80) != 0 ? VIO_FEATURE(VIRTIO_F_EVENT_IDX) : 0;
    run.s = script_new();
    run.s->serve = serve;
    if (run.kind == CONSOLE)
        run.s->keeps[0] = run.s->keeps[2] = run.s->keeps[4] = run.s->keeps[6] = true;
    if (run.kind == BALLOON)
        run.s->keeps[2] = true;
    if (run.kind == SCSI) {
        run.s->keeps[VIRTIO_SCSI_EVENTQ] = true;
        run.model = ram_target_serve;
        run.s->ctx = target = calloc(1, sizeof(*target));
    } else if (run.kind == VSOCK) {
        run.s->keeps[0] = run.s->keeps[2] = true;
        run.model = vsock_peer_serve;
        run.s->ctx = peer = calloc(1, sizeof(*peer));
    } else if (run.kind == FS) {
        run.model = tree_serve;
        run.s->ctx = tree = tree_new();
    }
    start(features);
    if (tree != NULL)
        tree_free(tree);
    if (peer != NULL)
        vsock_peer_free(peer);
    free(target);
    return 0;
}
