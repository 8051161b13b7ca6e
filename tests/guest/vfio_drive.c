/* SPDX-License-Identifier: MIT */
/*
 * Purpose: drives one PCI function through VFIO, in a guest: a disk read as a whole and written on every queue, random bytes, frames
 * that come back, a function that is taken away; sleeping on its interrupts. Says what it used, as words for the test.
 *
 *     vfio_drive ADDRESS blk FILE | rng | net | gone | open   [legacy] [physical] [split] [polled]
 */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vio/vio.h>

enum { SECTOR = 512, BLOCK = 4096, BLOCKS = 32, FRAMES = 64, FRAME = 900, PATIENCE_MS = 20000 };
enum { RING_PACKED = 34, READ = 0, WRITE = 1 }; /* virtio 1.4, 6; 5.2.6 */

static const uint64_t PATIENCE_NS = UINT64_C(20000000000);

struct run {
    const char *address, *what, *file;
    bool legacy, physical, split, polled;
    struct vio_arena *arena;
    const struct vio_platform *platform;
    struct vio_transport *t;
    struct vio_bus *bus;
    struct vio_drvdev *d;
    unsigned done; /* requests, since they were counted last */
};

static void fail(const char *format, ...) VIO_PRINTF(1, 2);

static void fail(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vfprintf(stdout, format, ap);
    va_end(ap);
    putchar('\n');
    exit(1);
}

static void say(void *ctx, enum vio_log_level level, const char *name, const char *line)
{
    (void)ctx;
    (void)level;
    printf("%s: %s\n", name, line);
}

static const struct vio_log out = { .write = say, .level = VIO_LOG_INFO };

/* ------------------------------------------------------------------ the device */

static void open_transport(struct run *r)
{
    struct vio_arena_params memory = { .size = 8 << 20, .physical = r->physical, .log = &out };
    struct vio_vfio_params params = { .address = r->address, .legacy = r->legacy, .no_interrupts = r->polled, .log = &out };
    char why[VIO_DRV_WHY];
    int error = vio_arena_create(&memory, &r->arena);

    if (error != 0)
        fail("no arena: %s", strerror(-error));
    params.arena = r->arena;
    r->platform = vio_arena_platform(r->arena);
    error = vio_vfio_create(&params, &r->t, why);
    if (error != 0)
        fail("error=%d %s", error, why);
}

static void add(struct run *r, struct vio_driver *driver)
{
    if (r->split)
        vio_features_clear(&driver->features, RING_PACKED);
    if (vio_bus_create(r->platform, &r->bus) != 0 || vio_bus_add(r->bus, r->t, 0, driver, &r->d) != 0)
        fail("no device");
    if (vio_drvdev_status(r->d) != VIO_DRVDEV_RUNS)
        fail("%s", vio_drvdev_why(r->d));
}

static void close_all(struct run *r)
{
    static const char *const dma[] = { "iommu", "identity", "unguarded" };

    if (r->d != NULL)
        printf("dma=%s vectors=%u packed=%d legacy=%d interrupts=", dma[vio_vfio_dma(r->t)], vio_vfio_vectors(r->t),
               vio_drvdev_has(r->d, RING_PACKED), r->t->legacy);
    for (uint16_t i = 0; r->d != NULL && (i == 0 || i < vio_vfio_vectors(r->t)); i++)
        printf("%s%llu", i > 0 ? "," : "", (unsigned long long)vio_vfio_interrupts(r->t, i));
    putchar('\n');
    if (r->bus != NULL)
        vio_bus_destroy(r->bus);
    else
        r->t->ops->destroy(r->t);
    vio_arena_destroy(r->arena);
}

/* Sleeps until `queue` (or CONFIG) has something; then lets the driver have it. */
static void sleep_for(struct run *r, uint16_t queue)
{
    struct pollfd call = { .fd = vio_drvdev_event_fd(r->d, queue), .events = POLLIN };

    if (r->polled) {
        if (vio_drvdev_wait(r->d, queue, PATIENCE_NS) != 0)
            fail("queue %u: nothing is used: %s", queue, vio_drvdev_why(r->d));
        while (vio_drvdev_event(r->d, queue))
            ;
        return;
    }
    if (call.fd < 0)
        fail("queue %u has no descriptor to sleep on", queue);
    if (poll(&call, 1, PATIENCE_MS) != 1)
        fail("queue %u: no interrupt in %d ms", queue, PATIENCE_MS);
    if (vio_vfio_vectors(r->t) <= 1)
        while (vio_drvdev_interrupt(r->d)) /* one for all */
            ;
    else
        while (vio_drvdev_event(r->d, queue))
            ;
}

/* ------------------------------------------------------------------ a disk */

static void blk_used(void *ctx, struct vio_drvdev *d, uint16_t queue)
{
    struct vio_drvblk_result results[BLOCKS];
    struct run *r = ctx;
    unsigned n = vio_drv_blk_collect(vio_drv_blk_of(d), queue, results, BLOCKS);

    for (unsigned i = 0; i < n; i++)
        if (results[i].error != 0)
            fail("queue %u: request %llu: %s", queue, (unsigned long long)results[i].token, strerror(-results[i].error));
    r->done += n;
}

/* What the host expects at each place: its number, in every eight bytes. */
static void fill(uint8_t *block, uint64_t number)
{
    for (unsigned i = 0; i < BLOCK; i += 8)
        memcpy(block + i, &number, 8);
}

/* BLOCKS requests on one queue, all at once; then sleeping until the last is done. */
static void blk_round(struct run *r, uint16_t queue, uint32_t type, uint64_t first, uint64_t addr)
{
    struct vio_drv_blk *disk = vio_drv_blk_of(r->d);

    r->done = 0;
    for (unsigned i = 0; i < BLOCKS; i++) {
        struct vio_buf data = { addr + i * (uint64_t)BLOCK, BLOCK };
        struct vio_drvblk_op op = { .type = type, .nr_data = 1, .data = &data, .sector = (first + i) * (BLOCK / SECTOR), .token = i };
        int n = vio_drv_blk_put(disk, queue, &op, 1);

        if (n != 1)
            fail("queue %u takes no request: %s", queue, strerror(-n));
    }
    vio_drv_blk_publish(disk, queue);
    while (r->done < BLOCKS)
        sleep_for(r, queue);
}

static void blk_queue(struct run *r, uint16_t queue, uint64_t first)
{
    uint64_t addr;
    uint8_t expected[BLOCK], *host = r->platform->dma_alloc(r->platform->ctx, BLOCKS * BLOCK, BLOCK, &addr);

    if (host == NULL)
        fail("no memory for queue %u", queue);
    for (unsigned i = 0; i < BLOCKS; i++)
        fill(host + i * BLOCK, first + i);
    blk_round(r, queue, WRITE, first, addr);
    memset(host, 0, BLOCKS * BLOCK);
    blk_round(r, queue, READ, first, addr);
    for (unsigned i = 0; i < BLOCKS; i++) {
        fill(expected, first + i);
        if (memcmp(expected, host + i * BLOCK, BLOCK) != 0)
            fail("queue %u: block %u does not read as it was written", queue, i);
    }
    r->platform->dma_free(r->platform->ctx, host, BLOCKS * BLOCK, addr);
}

static void blk(struct run *r)
{
    struct vio_drv_blk_params params = { .used = blk_used, .ctx = r };
    struct vio_drv_blk_driver driver;
    struct vio_drv_blk_info info;
    uint8_t bytes[64 * SECTOR];
    FILE *copy = fopen(r->file, "w");

    vio_drv_blk_driver(&driver, &params);
    open_transport(r);
    add(r, &driver.driver);
    info = vio_drv_blk_info(vio_drv_blk_of(r->d));
    for (uint64_t at = 0; copy != NULL && at < info.capacity; at += 64) {
        uint64_t n = info.capacity - at < 64 ? info.capacity - at : 64;
        int error = vio_drv_blk_read(vio_drv_blk_of(r->d), at, bytes, n * SECTOR, PATIENCE_NS);

        if (error != 0)
            fail("sector %llu: %s %s", (unsigned long long)at, strerror(-error), vio_drvdev_why(r->d));
        if (fwrite(bytes, SECTOR, n, copy) != n)
            fail("%s cannot be written", r->file);
    }
    if (copy == NULL || fclose(copy) != 0)
        fail("%s cannot be written", r->file);
    /* The second half, from its start, BLOCKS blocks a queue. */
    for (uint16_t q = 0; q < info.queues; q++)
        blk_queue(r, q, info.capacity * SECTOR / BLOCK / 2 + q * (uint64_t)BLOCKS);
    if (vio_drv_blk_flush(vio_drv_blk_of(r->d), PATIENCE_NS) != 0)
        fail("it cannot be flushed");
    printf("queues=%u ", info.queues);
    close_all(r);
}

/* ------------------------------------------------------------------ random bytes */

static void rng(struct run *r)
{
    uint8_t bytes[2][BLOCK];
    struct vio_driver driver = vio_driver_rng;
    unsigned seen[256] = { 0 }, kinds = 0;

    open_transport(r);
    add(r, &driver);
    for (unsigned i = 0; i < 2; i++) {
        int error = vio_drv_rng_read(vio_drv_rng_of(r->d), bytes[i], BLOCK, PATIENCE_NS);

        if (error != 0)
            fail("no random bytes: %s %s", strerror(-error), vio_drvdev_why(r->d));
    }
    for (unsigned i = 0; i < BLOCK; i++)
        kinds += seen[bytes[0][i]]++ == 0;
    if (kinds < 200 || memcmp(bytes[0], bytes[1], BLOCK) == 0)
        fail("bytes that are not random: %u different ones of %d", kinds, BLOCK);
    close_all(r);
}

/* ------------------------------------------------------------------ frames */

static void net_used(void *ctx, struct vio_drvdev *d, uint16_t queue)
{
    struct vio_net_buf *frames[FRAMES];
    struct run *r = ctx;
    unsigned n;

    if (queue != 0)
        return;
    n = vio_drv_net_receive(vio_drv_net_of(d), 0, frames, FRAMES);
    for (unsigned i = 0; i < n; i++) {
        const uint8_t *data = vio_net_buf_data(frames[i]);

        if (frames[i]->len != FRAME || data[20] != r->done + i || data[FRAME - 1] != (uint8_t)(r->done + i))
            fail("frame %u came back as %u bytes in %u pieces, %u", r->done + i, frames[i]->len, frames[i]->pieces, data[20]);
    }
    r->done += n;
}

static void net(struct run *r)
{
    struct vio_drv_net_params params = { .used = net_used, .ctx = r };
    struct vio_net_buf *frames[2 * FRAMES];
    struct vio_drv_net_driver driver;
    struct vio_net_pool *pool;
    struct vio_drv_net *card;

    vio_drv_net_driver(&driver, &params);
    open_transport(r);
    add(r, &driver.driver);
    card = vio_drv_net_of(r->d);
    if (vio_net_pool_create(r->platform, 2 * FRAMES, 2048, &pool) != 0 || !vio_net_pool_take(pool, frames, 2 * FRAMES))
        fail("no buffers");
    if (vio_drv_net_give(card, 0, frames, FRAMES) != FRAMES)
        fail("no room for %d buffers", FRAMES);
    for (unsigned i = 0; i < FRAMES; i++) {
        uint8_t *data = vio_net_buf_data(frames[FRAMES + i]);

        memset(data, 0xff, 6); /* for anybody: the peer sends it back as it is */
        memset(data + 6, (int)i, FRAME - 6);
        frames[FRAMES + i]->len = FRAME;
        if (vio_drv_net_send(card, 0, &frames[FRAMES + i], 1) != 1)
            fail("frame %u is not sent", i);
        while (r->done <= i)
            sleep_for(r, 0);
    }
    printf("frames=%u ", r->done);
    close_all(r);
}

/* ------------------------------------------------------------------ taken away */

static void gone(struct run *r)
{
    struct vio_drv_blk_params params = { .used = blk_used, .ctx = r };
    struct vio_drv_blk_driver driver;

    vio_drv_blk_driver(&driver, &params);
    open_transport(r);
    add(r, &driver.driver);
    printf("ready\n");
    fflush(stdout);
    while (vio_drvdev_status(r->d) == VIO_DRVDEV_RUNS)
        sleep_for(r, VIO_EVENT_QUEUE_CONFIG);
    printf("why=%s\n", vio_drvdev_why(r->d));
    close_all(r);
}

int main(int argc, char **argv)
{
    struct run r = { 0 };
    int word = 3;

    if (argc < 3)
        return 2;
    r.address = argv[1];
    r.what = argv[2];
    if (strcmp(r.what, "blk") == 0)
        r.file = argv[word++];
    for (; word < argc; word++) {
        r.legacy |= strcmp(argv[word], "legacy") == 0;
        r.physical |= strcmp(argv[word], "physical") == 0;
        r.split |= strcmp(argv[word], "split") == 0;
        r.polled |= strcmp(argv[word], "polled") == 0;
    }
    if (strcmp(r.what, "blk") == 0) {
        blk(&r);
    } else if (strcmp(r.what, "rng") == 0) {
        rng(&r);
    } else if (strcmp(r.what, "net") == 0) {
        net(&r);
    } else if (strcmp(r.what, "gone") == 0) {
        gone(&r);
    } else {
        open_transport(&r);
        close_all(&r);
    }
    return 0;
}
