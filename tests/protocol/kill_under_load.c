/* SPDX-License-Identifier: MIT */
/*
 * vio serve is killed with SIGKILL while our driver side writes, and comes back: every write must be there, once, and
 * none that was done may come back over a later one. Split and packed, on a file; the environment's VIO is the program.
 */
#include <errno.h>
#include <fcntl.h>
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
#include "driver/blk.h"
#include "spec/blk.h"
#include "spec/virtio.h"

enum { BLOCKS = 256, BLOCK = 4096, DEPTH = 64, KILLS = 12, ROUND_MS = 60, DATA_AT = DEPTH * VIO_DRVBLK_SLOT };

struct rig {
    char dir[64], image[96], socket[96];
    pid_t vio;
    struct vio_arena *arena;
    struct vio_bus *bus;
    struct vio_drvdev *d;
    struct vio_drv_generic_driver driver;
    char why[VIO_DRV_WHY];
    struct vio_drvblk *client;
    void *client_memory;
    uint8_t *memory;
    uint64_t memory_addr;
    uint64_t version[BLOCKS];  /* of the last write that was submitted */
    uint32_t block_of[DEPTH];  /* by token */
    bool busy[BLOCKS];
    uint32_t idle[DEPTH], nr_idle;
    uint64_t versions, done, random;
};

static void die(const struct rig *r, const char *what)
{
    printf("not ok - %s: %s\n", what, r->d != NULL ? vio_drvdev_why(r->d) : r->why);
    if (r->vio > 0)
        kill(r->vio, SIGKILL);
    exit(1);
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void start_vio(struct rig *r)
{
    char spec[300], log[128];

    snprintf(spec, sizeof(spec), "blk,file=%s,vhost-user=%s", r->image, r->socket);
    snprintf(log, sizeof(log), "%s/log", r->dir);
    fflush(stdout);
    r->vio = fork();
    if (r->vio == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

        if (fd >= 0)
            dup2(fd, 2);
        execl(getenv("VIO"), "vio", "serve", spec, (char *)NULL);
        _exit(127);
    }
    if (r->vio < 0)
        die(r, "fork");
}

/* The first time: makes the transport. Later: the device came back. */
static struct vio_transport *connect_to(struct rig *r, bool again)
{
    struct vio_vud_params params = { .path = r->socket, .fd = -1, .type = VIRTIO_ID_BLOCK, .arena = r->arena };
    int64_t limit = now_ms() + 20000;
    struct vio_transport *t = NULL;
    int error;

    do {
        error = again ? vio_drvdev_reconnect(r->d) : vio_vud_create(&params, &t, r->why);
        if (error == 0)
            return t;
        usleep(2000);
    } while (now_ms() < limit && waitpid(r->vio, NULL, WNOHANG) == 0);
    die(r, again ? "cannot reconnect" : "cannot connect");
    return NULL;
}

/* A version of a block is told from every other in each of its 8-byte words. */
static void stamp(uint8_t *at, uint32_t block, uint64_t version)
{
    for (unsigned i = 0; i < BLOCK / 8; i++) {
        uint64_t word = version << 20 ^ (uint64_t)block << 10 ^ i;

        memcpy(at + i * 8, &word, 8);
    }
}

static uint32_t pick(struct rig *r)
{
    uint32_t block;

    do {
        r->random = r->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        block = (uint32_t)(r->random >> 33) % BLOCKS;
    } while (r->busy[block]);
    return block;
}

/* One write to each block at a time, so that which came last is known. */
static void submit(struct rig *r)
{
    while (r->nr_idle > 0) {
        uint32_t token = r->idle[r->nr_idle - 1], block = pick(r);
        uint64_t at = DATA_AT + (uint64_t)token * BLOCK;
        struct vio_buf data = { r->memory_addr + at, BLOCK };
        struct vio_drvblk_op op = { .type = VIRTIO_BLK_T_OUT, .sector = (uint64_t)block * BLOCK / VIRTIO_BLK_SECTOR,
                                    .nr_data = 1, .data = &data, .token = token };

        stamp(r->memory + at, block, r->versions + 1);
        if (vio_drvblk_put(r->client, &op, 1) != 1)
            die(r, "the queue is full too early");
        r->nr_idle--;
        r->version[block] = ++r->versions;
        r->block_of[token] = block;
        r->busy[block] = true;
    }
    vio_drvdev_publish(r->d, 0);
}

static unsigned collect(struct rig *r)
{
    struct vio_drvblk_result results[DEPTH];
    unsigned n = vio_drvblk_collect(r->client, results, DEPTH);

    for (unsigned i = 0; i < n; i++) {
        uint32_t token = (uint32_t)results[i].token;

        if (results[i].status != VIRTIO_BLK_S_OK)
            die(r, "a write failed");
        r->busy[r->block_of[token]] = false;
        r->idle[r->nr_idle++] = token;
    }
    r->done += n;
    if (n == 0 && vio_drvq_fault(vio_drvdev_queue(r->d, 0)) != VIO_FAULT_NONE)
        die(r, vio_fault_text(vio_drvq_fault(vio_drvdev_queue(r->d, 0))));
    return n;
}

static void setup(struct rig *r, bool packed)
{
    struct vio_arena_params memory = { .size = 8 << 20, .populate = true };
    struct vio_drv_generic_params wanted = { .queue_size = 256 };
    struct vio_transport *t;
    struct vio_drvblk_params blk = { .depth = DEPTH };
    int fd;

    snprintf(r->dir, sizeof(r->dir), "/tmp/vio-kill-XXXXXX");
    if (mkdtemp(r->dir) == NULL)
        die(r, "mkdtemp");
    snprintf(r->image, sizeof(r->image), "%s/disk.img", r->dir);
    snprintf(r->socket, sizeof(r->socket), "%s/disk.sock", r->dir);
    fd = open(r->image, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, BLOCKS * BLOCK) != 0)
        die(r, "no image");
    close(fd);
    if (vio_arena_create(&memory, &r->arena) != 0)
        die(r, "no arena");
    start_vio(r);
    t = connect_to(r, false);
    vio_features_set(&wanted.features, VIRTIO_BLK_F_FLUSH);
    if (packed)
        vio_features_set(&wanted.features, VIRTIO_F_RING_PACKED);
    wanted.needs = wanted.features;
    vio_drv_generic_driver(&r->driver, &wanted);
    if (vio_bus_create(t->platform, &r->bus) != 0 || vio_bus_add(r->bus, t, 0, &r->driver.driver, &r->d) != 0 ||
        vio_drvdev_status(r->d) != VIO_DRVDEV_RUNS)
        die(r, "cannot start");
    r->memory = t->platform->dma_alloc(t->platform->ctx, DATA_AT + DEPTH * BLOCK, 4096, &r->memory_addr);
    if (r->memory == NULL)
        die(r, "no buffers");
    r->client_memory = aligned_alloc(64, vio_drvblk_bytes(DEPTH));
    blk.queue = vio_drvdev_queue(r->d, 0);
    blk.slots = r->memory;
    blk.slots_addr = r->memory_addr;
    if (r->client_memory == NULL || vio_drvblk_init(r->client_memory, &blk, &r->client) != 0)
        die(r, "no client");
    for (uint32_t i = 0; i < DEPTH; i++)
        r->idle[r->nr_idle++] = i;
}

static void check(const struct rig *r)
{
    uint8_t want[BLOCK], have[BLOCK];
    int fd = open(r->image, O_RDONLY);

    for (uint32_t block = 0; block < BLOCKS; block++) {
        memset(want, 0, sizeof(want));
        if (r->version[block] != 0)
            stamp(want, block, r->version[block]);
        if (pread(fd, have, BLOCK, (off_t)block * BLOCK) != BLOCK)
            die(r, "cannot read the image");
        if (memcmp(want, have, BLOCK) != 0)
            die(r, "a block does not hold the last write to it");
    }
    close(fd);
}

static void remove_all(const struct rig *r)
{
    char log[128];

    snprintf(log, sizeof(log), "%s/log", r->dir);
    unlink(log);
    unlink(r->image);
    unlink(r->socket);
    rmdir(r->dir);
}

static void run(bool packed, uint64_t seed)
{
    struct rig r = { .random = seed };
    uint64_t left = 0;

    setup(&r, packed);
    for (unsigned round = 0; round < KILLS; round++) {
        int64_t limit = now_ms() + ROUND_MS + (int64_t)(round * 7 % 20);
        uint64_t before = r.done;

        while (now_ms() < limit || r.done == before) {
            if (now_ms() > limit + 20000)
                die(&r, "nothing comes back");
            submit(&r);
            collect(&r);
        }
        submit(&r); /* so that it dies at work */
        kill(r.vio, SIGKILL);
        waitpid(r.vio, NULL, 0);
        while (collect(&r) > 0)
            ;
        left += vio_drvblk_in_flight(r.client);
        submit(&r); /* also what is made available while nobody is there */
        start_vio(&r);
        (void)connect_to(&r, true);
    }
    for (int64_t limit = now_ms() + 20000; vio_drvblk_in_flight(r.client) > 0;) {
        if (now_ms() > limit)
            die(&r, "a write never came back");
        collect(&r);
    }
    vio_bus_destroy(r.bus);
    check(&r);
    kill(r.vio, SIGTERM);
    waitpid(r.vio, NULL, 0);
    vio_arena_destroy(r.arena);
    free(r.client_memory);
    remove_all(&r);
    printf("ok - %s: killed %d times under %llu writes, %llu of them in flight then: each is there\n",
           packed ? "packed" : "split", KILLS, (unsigned long long)r.done, (unsigned long long)left);
}

int main(void)
{
    if (getenv("VIO") == NULL) {
        printf("1..0 # SKIP the environment names no VIO to run\n");
        return 77;
    }
    signal(SIGPIPE, SIG_IGN);
    run(false, 1);
    run(true, 2);
    printf("1..2\n");
    return 0;
}
