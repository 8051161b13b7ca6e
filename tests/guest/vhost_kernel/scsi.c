/* SPDX-License-Identifier: MIT */
/*
 * Purpose: vio's SCSI driver on a target port of this kernel's: what the unit says of itself, blocks written and read, compared with the
 * file that the unit is made of; by calls that wait and by interrupts. Where it sits: tests/guest/vhost_kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vio/drv_scsi.h>
#include "spec/scsi.h"
#include "vk.h"

enum { COMMANDS = 64, BLOCKS = 8, LARGE = 1 << 20, FAR = 3000 };
static const uint64_t PATIENCE = UINT64_C(30000000000);

struct host {
    struct rig rig;
    struct vio_drv_scsi_driver driver;
    struct vio_drv_scsi *s;
    struct vio_drv_scsi_disk disk;
    unsigned done, interrupts;
};

static void used(void *ctx, struct vio_drvdev *d, uint16_t queue)
{
    struct host *h = ctx;
    struct vio_drv_scsi_result results[16];
    unsigned n;

    (void)d;
    h->interrupts++;
    while ((n = vio_drv_scsi_collect(h->s, queue, results, 16)) > 0)
        for (unsigned i = 0; i < n; i++, h->done++)
            if (results[i].error != 0 || results[i].residual != 0)
                die("command %u: %s, status %u, response %u, residual %u", (unsigned)results[i].token, strerror(-results[i].error),
                    results[i].status, results[i].response, results[i].residual);
}

static void must(const struct host *h, int error, const char *what)
{
    if (error < 0)
        die("%s: %s; %s", what, strerror(-error), vio_drvdev_why(h->rig.d));
}

static void fill(uint8_t *bytes, size_t n, uint64_t seed, uint64_t at)
{
    for (size_t i = 0; i < n; i++)
        bytes[i] = pattern(seed, at + i);
}

/* The file has what was written. */
static void compare(const struct options *o, uint64_t at, const uint8_t *bytes, size_t n)
{
    uint8_t *there = malloc(n);
    int fd = open(o->file, O_RDONLY | O_CLOEXEC);

    CHECK(fd >= 0 && there != NULL && pread(fd, there, n, (off_t)at) == (ssize_t)n);
    CHECK(memcmp(there, bytes, n) == 0);
    close(fd);
    free(there);
}

static void look_at_unit(struct host *h, const struct options *o)
{
    struct vio_drv_scsi_lun lun = vio_drv_scsi_lun((uint8_t)o->params.tpgt, 0);
    uint8_t inquiry[36];
    struct stat st;

    must(h, vio_drv_scsi_disk_open(h->s, (uint8_t)o->params.tpgt, 0, &h->disk, PATIENCE), "the disk");
    must(h, vio_drv_scsi_inquiry(h->s, lun, -1, inquiry, sizeof(inquiry), PATIENCE), "INQUIRY");
    CHECK(memcmp(inquiry + 8, "LIO-ORG ", 8) == 0);
    CHECK(stat(o->file, &st) == 0 && h->disk.blocks * h->disk.block_size == (uint64_t)st.st_size);
    printf("'%s' '%s' '%s', %llu blocks of %u\n", h->disk.vendor, h->disk.product, h->disk.revision,
           (unsigned long long)h->disk.blocks, h->disk.block_size);
    CHECK(vio_drv_scsi_disk_open(h->s, (uint8_t)(o->params.tpgt + 1), 0, &(struct vio_drv_scsi_disk){ 0 }, PATIENCE) == -ENODEV);
}

static void write_and_read(struct host *h, const struct options *o)
{
    uint8_t *bytes = malloc(LARGE), *back = calloc(1, LARGE);
    uint64_t at = (uint64_t)FAR * h->disk.block_size;

    CHECK(bytes != NULL && back != NULL);
    fill(bytes, LARGE, 1, 0);
    must(h, vio_drv_scsi_write(h->s, &h->disk, FAR, bytes, LARGE, PATIENCE), "write");
    must(h, vio_drv_scsi_flush(h->s, &h->disk, PATIENCE), "flush");
    compare(o, at, bytes, LARGE);
    must(h, vio_drv_scsi_read(h->s, &h->disk, FAR, back, LARGE, PATIENCE), "read");
    CHECK(memcmp(bytes, back, LARGE) == 0);
    CHECK(vio_drv_scsi_read(h->s, &h->disk, h->disk.blocks, back, h->disk.block_size, PATIENCE) == -ERANGE);
    free(bytes);
    free(back);
    puts("written, compared with the file, and read");
}

/* Many at once: writes of different blocks, then reads of them, told by interrupts. */
static void round_of_commands(struct host *h, bool write, uint8_t *data, uint64_t addr)
{
    uint32_t bytes = BLOCKS * h->disk.block_size;
    uint16_t queues[] = { VIRTIO_SCSI_REQUESTQ };

    h->done = 0;
    for (uint32_t i = 0; i < COMMANDS; i++) {
        struct vio_buf piece = { addr + (uint64_t)i * bytes, bytes };
        struct vio_drv_scsi_op op = { .lun = h->disk.lun, .token = i };

        vio_drv_scsi_cdb_rw(op.cdb, write, (uint64_t)i * BLOCKS, BLOCKS);
        *(write ? &op.out : &op.in) = &piece;
        *(write ? &op.nr_out : &op.nr_in) = 1;
        if (write)
            fill(data + (size_t)i * bytes, bytes, 2, (uint64_t)i * bytes);
        while (vio_drv_scsi_put(h->s, 0, &op, 1) != 1) {
            vio_drv_scsi_publish(h->s, 0);
            CHECK(rig_event(&h->rig, queues, 1, 30000));
        }
    }
    vio_drv_scsi_publish(h->s, 0);
    while (h->done < COMMANDS)
        CHECK(rig_event(&h->rig, queues, 1, 30000));
}

static void many(struct host *h, const struct options *o)
{
    const struct vio_platform *p = vio_drvdev_platform(h->rig.d);
    size_t bytes = (size_t)COMMANDS * BLOCKS * h->disk.block_size;
    uint64_t addr;
    uint8_t *data = p->dma_alloc(p->ctx, bytes, 4096, &addr), *keep = malloc(bytes);

    CHECK(data != NULL && keep != NULL);
    round_of_commands(h, true, data, addr);
    memcpy(keep, data, bytes);
    compare(o, 0, keep, bytes);
    memset(data, 0, bytes);
    round_of_commands(h, false, data, addr);
    CHECK(memcmp(keep, data, bytes) == 0 && h->interrupts > 0);
    p->dma_free(p->ctx, data, bytes, addr);
    free(keep);
    printf("%d writes and reads at once, %u interrupts\n", COMMANDS, h->interrupts);
}

int scsi_check(const struct options *o)
{
    static struct host h;
    struct vio_drv_scsi_params params = { .used = o->polled ? NULL : used, .ctx = &h };
    struct vio_drv_scsi_info info;

    vio_drv_scsi_driver(&h.driver, &params);
    rig_open(&h.rig, o, &h.driver.driver);
    h.s = vio_drv_scsi_of(h.rig.d);
    CHECK(h.s != NULL);
    info = vio_drv_scsi_info(h.s);
    CHECK(info.queues == (o->params.queues != 0 ? o->params.queues : 1) && info.max_lun == 16383 && info.hotplug);
    look_at_unit(&h, o);
    write_and_read(&h, o);
    if (!o->polled)
        many(&h, o);
    rig_close(&h.rig);
    return 0;
}
