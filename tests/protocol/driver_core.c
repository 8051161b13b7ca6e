/* SPDX-License-Identifier: MIT */
/*
 * The driver core over the vhost-user transport against a device end in another process (tests/support/vu_server.c, named by
 * the environment's VU_SERVER): traffic, changes, a broken device, suspend, queue reset, a device that is killed and comes
 * back, one that moves, the dirty log, memory that comes later. Split and packed. Prints TAP.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <vio/drv_generic.h>
#include <vio/vhost_user_driver.h>
#include "spec/virtio.h"

enum { QUEUES = 4, BUFFERS = 512, BYTES = 64, WAIT_MS = 10000 };
enum { OP_NOW, OP_HOLD, OP_RELEASE, OP_CONFIG, OP_BREAK };

struct rig {
    char dir[64], socket[96];
    pid_t server;
    struct vio_arena *arena;
    struct vio_transport *t;
    struct vio_bus *bus;
    struct vio_drvdev *d;
    struct vio_drv_generic_driver driver;
    struct vio_drvdev_queue_plan plans[QUEUES];
    uint8_t *memory; /* a request and its answer a buffer */
    uint64_t memory_addr;
    uint64_t next; /* tag */
    unsigned back[QUEUES], lost, changes;
    char why[VIO_DRV_WHY];
};

static struct rig r;
static unsigned tests;

#define need(what)                                                                                        \
    do {                                                                                                  \
        if (!(what))                                                                                      \
            die(__LINE__, #what);                                                                         \
    } while (0)

static void die(int line, const char *what)
{
    printf("not ok - line %d: %s: %s\n", line, what, r.d != NULL ? vio_drvdev_why(r.d) : r.why);
    if (r.server > 0)
        kill(r.server, SIGKILL);
    exit(1);
}

static void ok(const char *name, const char *what)
{

    printf("ok - %s: %s\n", name, what);
    tests++;
}

/* ------------------------------------------------------------------ the server */

static void start_server(void)
{
    char listen[128], log[128];

    snprintf(listen, sizeof(listen), "listen=%s", r.socket);
    snprintf(log, sizeof(log), "%s/log", r.dir);
    fflush(stdout);
    r.server = fork();
    need(r.server >= 0);
    if (r.server == 0) {
        FILE *out = freopen(log, "a", stderr);

        execl(getenv("VU_SERVER"), "vu-server", listen, (char *)NULL);
        _exit(out != NULL ? 127 : 126);
    }
}

static void end_server(int how)
{
    kill(r.server, how);
    waitpid(r.server, NULL, 0);
    r.server = 0;
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void reconnect(void)
{
    int64_t limit = now_ms() + WAIT_MS;

    while (vio_drvdev_reconnect(r.d) != 0) {
        need(now_ms() < limit);
        usleep(2000);
    }
}

/* ------------------------------------------------------------------ requests */

static uint64_t put_at(uint16_t queue, uint8_t op, uint8_t *at, uint64_t addr)
{
    struct vio_buf bufs[2] = { { addr, BYTES }, { addr + BYTES, BYTES } };
    uint64_t tag = r.next++;

    memset(at, (int)(tag % 200 + 1), 2 * BYTES);
    memset(at, op, 8);
    memcpy(at + 8, &tag, 8);
    need(vio_drvq_put(vio_drvdev_queue(r.d, queue), bufs, 1, 1, (uintptr_t)at) == 0);
    return tag;
}

static uint64_t put(uint16_t queue, uint8_t op)
{
    uint64_t at = r.next % BUFFERS * 2 * BYTES;

    return put_at(queue, op, r.memory + at, r.memory_addr + at);
}

/* A request is its tag and more bytes; so is the answer, of all that follows the head. */
static unsigned collect(uint16_t queue)
{
    struct vio_done done[64];
    unsigned n = vio_drvq_collect(vio_drvdev_queue(r.d, queue), done, 64);

    for (unsigned i = 0; i < n; i++) {
        const uint8_t *at = (const uint8_t *)(uintptr_t)done[i].token;

        need(done[i].len == 8 + BYTES - 16);
        need(memcmp(at + 8, at + BYTES, 8) == 0);
        need(memcmp(at + 16, at + BYTES + 8, BYTES - 16) == 0);
    }
    r.back[queue] += n;
    return n;
}

static void used(struct vio_drvdev *d, uint16_t queue)
{
    (void)d;
    while (collect(queue) > 0)
        ;
}

/* Sleeps on the queue's event until so many have come back in all. */
static void wait_back(uint16_t queue, unsigned n)
{
    int64_t limit = now_ms() + WAIT_MS;

    while (r.back[queue] < n) {
        struct pollfd p = { .fd = vio_drvdev_event_fd(r.d, queue), .events = POLLIN };

        need(now_ms() < limit);
        need(poll(&p, 1, WAIT_MS) == 1);
        while (vio_drvdev_event(r.d, queue))
            ;
    }
}

static void round_trip(uint16_t queue, unsigned n)
{
    unsigned before = r.back[queue];

    need(vio_drvdev_status(r.d) == VIO_DRVDEV_RUNS);
    for (unsigned i = 0; i < n; i++) {
        put(queue, OP_NOW);
        if (i % 3 == 0)
            vio_drvdev_publish(r.d, queue);
    }
    vio_drvdev_publish(r.d, queue);
    wait_back(queue, before + n);
}

static void wait_config_event(void)
{
    struct pollfd p = { .fd = vio_drvdev_event_fd(r.d, VIO_EVENT_QUEUE_CONFIG), .events = POLLIN };

    need(poll(&p, 1, WAIT_MS) == 1);
    vio_drvdev_event(r.d, VIO_EVENT_QUEUE_CONFIG);
}

static void changed(void *ctx, struct vio_drvdev *d)
{
    (void)ctx;
    (void)d;
    r.changes++;
}

static void lost(void *ctx, struct vio_drvdev *d, uint16_t queue, uint64_t token)
{
    (void)ctx;
    (void)d;
    (void)queue;
    (void)token;
    r.lost++;
}

static void lost_in_reset(void *ctx, uint64_t token)
{
    (void)ctx;
    (void)token;
    r.lost++;
}

/* ------------------------------------------------------------------ from the beginning to the end */

static void begin(uint64_t ring)
{
    struct vio_arena_params memory = { .size = 8 << 20, .small_pages = true };
    struct vio_drv_generic_params params = { .features = vio_features_of(ring), .needs = vio_features_of(ring),
                                             .plans = r.plans, .nr_plans = QUEUES, .changed = changed, .lost = lost };
    struct vio_vud_params vud = { .path = r.socket, .fd = -1, .type = 2 };
    int64_t limit = now_ms() + WAIT_MS;

    memset(&r, 0, sizeof(r));
    snprintf(r.dir, sizeof(r.dir), "/tmp/vio-driver-XXXXXX");
    need(mkdtemp(r.dir) != NULL);
    snprintf(r.socket, sizeof(r.socket), "%s/sock", r.dir);
    start_server();
    need(vio_arena_create(&memory, &r.arena) == 0);
    vud.arena = r.arena;
    while (vio_vud_create(&vud, &r.t, r.why) != 0) {
        need(now_ms() < limit);
        usleep(2000);
    }
    for (uint16_t i = 0; i < QUEUES; i++)
        r.plans[i] = (struct vio_drvdev_queue_plan){ .queue = i, .size = 128, .indirect_max = 4, .callback = used };
    vio_drv_generic_driver(&r.driver, &params);
    need(vio_bus_create(r.t->platform, &r.bus) == 0);
    need(vio_bus_add(r.bus, r.t, 0, &r.driver.driver, &r.d) == 0);
    need(vio_drvdev_status(r.d) == VIO_DRVDEV_RUNS);
    need((vio_drvdev_features(r.d).w[0] & ring) == ring);
    r.memory = r.t->platform->dma_alloc(r.t->platform->ctx, BUFFERS * 2 * BYTES, 4096, &r.memory_addr);
    need(r.memory != NULL);
}

static void finish(void)
{
    char log[128];

    vio_bus_destroy(r.bus);
    r.d = NULL;
    end_server(SIGTERM);
    vio_arena_destroy(r.arena);
    snprintf(log, sizeof(log), "%s/log", r.dir);
    unlink(log);
    unlink(r.socket);
    rmdir(r.dir);
}

static void check_traffic_and_changes(const char *name)
{
    uint8_t before, after;

    for (uint16_t i = 0; i < QUEUES; i++)
        round_trip(i, 37u + i);
    ok(name, "requests on four queues, by events");
    need(vio_drvdev_config_read(r.d, 8, &before, 1) == 0);
    put(0, OP_CONFIG);
    vio_drvdev_publish(r.d, 0);
    wait_config_event();
    need(r.changes == 1);
    need(vio_drvdev_config_read(r.d, 8, &after, 1) == 0 && after == (uint8_t)(before + 1));
    need(vio_drvdev_config_write(r.d, 16, "abc", 3) == 0);
    wait_back(0, r.back[0] + 1);
    ok(name, "a change of the configuration is told of");
}

static void check_broken(const char *name)
{
    put(1, OP_BREAK);
    vio_drvdev_publish(r.d, 1);
    wait_config_event();
    need(vio_drvdev_status(r.d) == VIO_DRVDEV_BROKEN);
    need(vio_drvdev_recover(r.d) == 0);
    need(r.lost == 1);
    round_trip(1, 20);
    round_trip(0, 20);
    ok(name, "a device that needs a reset gets it, and goes on");
    need(vio_drvdev_suspend(r.d) == 0);
    need(vio_drvdev_resume(r.d) == 0);
    round_trip(2, 20);
    ok(name, "suspended and resumed");
}

static void check_queue_reset(const char *name)
{
    unsigned held = r.back[1];

    for (unsigned i = 0; i < 5; i++)
        put(1, OP_HOLD);
    vio_drvdev_publish(r.d, 1);
    r.lost = 0;
    for (unsigned i = 0; i < 3; i++)
        put(0, OP_HOLD);
    vio_drvdev_publish(r.d, 0);
    round_trip(2, 1); /* so that the held ones were taken, or will be told of as lost */
    need(vio_drvdev_queue_reset(r.d, 0, 64, lost_in_reset, NULL) == 0);
    need(r.lost == 3 && vio_drvdev_queue_size(r.d, 0) == 64);
    round_trip(0, 30);
    put(1, OP_RELEASE);
    vio_drvdev_publish(r.d, 1);
    wait_back(1, held + 6);
    ok(name, "one queue reset, while another holds requests and answers them later");
}

static void check_reconnect(const char *name)
{
    unsigned before = r.back[1];

    for (unsigned i = 0; i < 10; i++)
        put(1, i % 2 ? OP_HOLD : OP_NOW);
    vio_drvdev_publish(r.d, 1);
    wait_back(1, before + 5);
    end_server(SIGKILL);
    wait_config_event();
    need(vio_drvdev_status(r.d) == VIO_DRVDEV_BROKEN);
    used(r.d, 1);
    start_server();
    reconnect();
    need(vio_drvdev_status(r.d) == VIO_DRVDEV_RUNS);
    need(vio_drvq_in_flight(vio_drvdev_queue(r.d, 1)) == 5);
    put(1, OP_RELEASE);
    vio_drvdev_publish(r.d, 1);
    wait_back(1, before + 11);
    need(vio_drvq_in_flight(vio_drvdev_queue(r.d, 1)) == 0);
    round_trip(3, 40);
    ok(name, "killed and back: what was in flight is answered once");

    end_server(SIGKILL);
    start_server();
    wait_config_event();
    for (int64_t limit = now_ms() + WAIT_MS; vio_drvdev_recover(r.d) != 0;) {
        need(now_ms() < limit);
        usleep(2000);
    }
    round_trip(1, 10);
    ok(name, "killed, and a new life on the new one");
}

static void check_move(const char *name)
{
    uint8_t *bytes, byte;
    size_t size;

    need(vio_drvdev_config_write(r.d, 16, "xyz", 3) == 0);
    need(vio_vud_state_save(r.t, &bytes, &size) == 0 && size > 0);
    end_server(SIGTERM);
    start_server();
    need(vio_vud_state_load(r.t, bytes, size) == 0);
    free(bytes);
    reconnect();
    need(vio_drvdev_config_read(r.d, 18, &byte, 1) == 0 && byte == 'z');
    for (uint16_t i = 0; i < QUEUES; i++)
        round_trip(i, 20);
    ok(name, "moved to another process, state and all");
}

static void check_log_and_memory(const char *name)
{
    struct vio_arena_params memory = { .size = 65536, .small_pages = true, .base = UINT64_C(0x800000000) };
    struct vio_arena_region region;
    struct vio_vud_log log;
    struct vio_arena *more;
    uint64_t page, at = r.next % BUFFERS * 2 * BYTES, addr = r.memory_addr + at + BYTES;

    need(vio_vud_log_start(r.t, &log) == 0);
    round_trip(0, 1);
    page = addr / 4096;
    need((log.bits[page / 8] >> page % 8 & 1) == 1);
    need(vio_vud_log_stop(r.t) == 0);
    round_trip(0, 5);
    ok(name, "the dirty log has what the device wrote to");

    need(vio_arena_create(&memory, &more) == 0);
    region = vio_arena_region(more);
    need(vio_vud_memory_add(r.t, more) == 0);
    put_at(2, OP_NOW, region.host, region.addr);
    vio_drvdev_publish(r.d, 2);
    wait_back(2, r.back[2] + 1);
    need(vio_vud_memory_remove(r.t, more) == 0);
    vio_arena_destroy(more);
    round_trip(2, 5);
    ok(name, "memory comes and goes while queues run");
}

int main(void)
{
    static const struct {
        uint64_t ring;
        const char *name;
    } runs[] = {
        { 0, "split" },
        { VIO_FEATURE(VIRTIO_F_RING_PACKED), "packed" },
        { VIO_FEATURE(VIRTIO_F_EVENT_IDX) | VIO_FEATURE(VIRTIO_F_INDIRECT_DESC), "split, event-idx, indirect" },
        { VIO_FEATURE(VIRTIO_F_RING_PACKED) | VIO_FEATURE(VIRTIO_F_EVENT_IDX) | VIO_FEATURE(VIRTIO_F_INDIRECT_DESC),
          "packed, event-idx, indirect" },
    };

    if (getenv("VU_SERVER") == NULL) {
        printf("1..0 # SKIP the environment names no VU_SERVER to run\n");
        return 77;
    }
    signal(SIGPIPE, SIG_IGN);
    for (unsigned i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
        begin(runs[i].ring);
        check_traffic_and_changes(runs[i].name);
        check_broken(runs[i].name);
        check_queue_reset(runs[i].name);
        check_log_and_memory(runs[i].name);
        check_reconnect(runs[i].name);
        check_move(runs[i].name);
        finish();
    }
    printf("1..%u\n", tests);
    return 0;
}
