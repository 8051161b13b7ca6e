/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the SCSI driver's calls that wait: a command through a bounce buffer, and what one does with a disk.
 * Where it sits: driver/, freestanding. Threads: the control thread, which owns request queue 0 for them.
 * Trust: what a unit sends is copied out of the bounce buffer once, as much as the response says came; every length and count
 * in it is held against that.
 */
#include <errno.h>
#include <string.h>
#include "driver/scsi_internal.h"

enum {
    CAPACITY_16 = 32, LUNS_HEADER = 8, LUN_BYTES = 8, INQUIRY_BYTES = 36, UNMAP_BYTES = 24, SENSE_FIXED = 18,
    BLOCK_SIZE_MAX = VIO_DRV_SCSI_BOUNCE, TRIES = 8,
};

static uint32_t be32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint64_t be64(const uint8_t *at)
{
    return (uint64_t)be32(at) << 32 | be32(at + 4);
}

static void put_be(uint8_t *at, uint64_t value, unsigned bytes)
{
    while (bytes-- > 0) {
        at[bytes] = (uint8_t)value;
        value >>= 8;
    }
}

/* ------------------------------------------------------------------ one command */

static int ready(struct vio_drv_scsi *s)
{
    struct vio_drv_scsi_result result;

    if (vio_drvdev_status(s->d) != VIO_DRVDEV_RUNS)
        return -EIO;
    if (s->bounce.nr == 0)
        return -ENOTSUP;
    if (s->late && vio_drv_scsi_collect(s, 0, &result, 1) == 1)
        s->late = false;
    return vio_drv_scsi_in_flight(s, 0) == 0 ? 0 : -EBUSY;
}

static int run(struct vio_drv_scsi *s, const struct vio_drv_scsi_op *op, struct vio_drv_scsi_result *result, uint64_t ns)
{
    int put = vio_drv_scsi_put(s, 0, op, 1), error;

    if (put < 0)
        return put;
    s->late = true;
    vio_drv_scsi_publish(s, 0);
    error = vio_drvdev_wait(s->d, VIRTIO_SCSI_REQUESTQ, ns);
    if (error != 0)
        return error;
    if (vio_drv_scsi_collect(s, 0, result, 1) != 1)
        return -EIO;
    s->late = false;
    return result->error;
}

int vio_drv_scsi_command(struct vio_drv_scsi *s, struct vio_drv_scsi_lun lun, const uint8_t *cdb, uint32_t cdb_len,
                         const void *out, uint32_t out_len, void *in, uint32_t in_len, struct vio_drv_scsi_result *result,
                         uint64_t ns)
{
    struct vio_buf out_buf = { s->bounce.addr, out_len }, in_buf = { s->bounce.addr + out_len, in_len };
    struct vio_drv_scsi_op op = { .lun = lun, .nr_out = out_len > 0, .nr_in = in_len > 0, .out = &out_buf, .in = &in_buf };
    int error = ready(s);

    *result = (struct vio_drv_scsi_result){ .response = VIO_DRV_SCSI_NO_RESPONSE };
    if (error != 0)
        return error;
    if (cdb_len > sizeof(op.cdb))
        return -EINVAL;
    if (out_len > VIO_DRV_SCSI_BOUNCE || in_len > VIO_DRV_SCSI_BOUNCE - out_len)
        return -E2BIG;
    memcpy(op.cdb, cdb, cdb_len);
    if (out_len > 0)
        memcpy(s->bounce.host, out, out_len);
    memset(s->bounce.host + out_len, 0, in_len);
    error = run(s, &op, result, ns);
    if (error == 0 && in_len > 0)
        memcpy(in, s->bounce.host + out_len, in_len);
    return error;
}

/* A command that only reads; bytes that came, or -errno. */
static int ask(struct vio_drv_scsi *s, struct vio_drv_scsi_lun lun, const uint8_t *cdb, uint32_t cdb_len, void *to, uint32_t len,
               uint64_t ns)
{
    struct vio_drv_scsi_result result;
    int error = vio_drv_scsi_command(s, lun, cdb, cdb_len, NULL, 0, to, len, &result, ns);

    return error != 0 ? error : (int)(len - vio_min_u32(len, result.residual));
}

void vio_drv_scsi_cdb_rw(uint8_t cdb[VIO_DRV_SCSI_CDB], bool write, uint64_t lba, uint32_t blocks)
{
    memset(cdb, 0, VIO_DRV_SCSI_CDB);
    if (lba <= UINT32_MAX && blocks <= UINT16_MAX) {
        cdb[0] = write ? SCSI_WRITE_10 : SCSI_READ_10;
        put_be(cdb + 2, lba, 4);
        put_be(cdb + 7, blocks, 2);
    } else {
        cdb[0] = write ? SCSI_WRITE_16 : SCSI_READ_16;
        put_be(cdb + 2, lba, 8);
        put_be(cdb + 10, blocks, 4);
    }
}

bool vio_drv_scsi_sense(const uint8_t *bytes, size_t len, struct vio_drv_scsi_sense *sense)
{
    uint8_t code = len > 0 ? bytes[0] & 0x7f : 0;

    *sense = (struct vio_drv_scsi_sense){ .deferred = code == 0x71 || code == 0x73 };
    if ((code == 0x70 || code == 0x71) && len >= 3) {
        sense->key = bytes[2] & 0xf;
        /* Byte 7 says how much there is behind it; less than 6 and there are no codes. */
        if (len >= 14 && bytes[7] >= 6) {
            sense->asc = bytes[12];
            sense->ascq = bytes[13];
        }
        return true;
    }
    if ((code != 0x72 && code != 0x73) || len < 4)
        return false;
    sense->key = bytes[1] & 0xf;
    sense->asc = bytes[2];
    sense->ascq = bytes[3];
    return true;
}

/* ------------------------------------------------------------------ questions to a unit */

int vio_drv_scsi_test_unit_ready(struct vio_drv_scsi *s, struct vio_drv_scsi_lun lun, uint64_t ns)
{
    static const uint8_t cdb[6] = { SCSI_TEST_UNIT_READY };

    return ask(s, lun, cdb, sizeof(cdb), NULL, 0, ns);
}

int vio_drv_scsi_inquiry(struct vio_drv_scsi *s, struct vio_drv_scsi_lun lun, int page, void *to, uint16_t len, uint64_t ns)
{
    uint8_t cdb[6] = { SCSI_INQUIRY, page >= 0, (uint8_t)(page >= 0 ? page : 0) };

    put_be(cdb + 3, len, 2);
    return ask(s, lun, cdb, sizeof(cdb), to, len, ns);
}

int vio_drv_scsi_request_sense(struct vio_drv_scsi *s, struct vio_drv_scsi_lun lun, struct vio_drv_scsi_sense *sense, uint64_t ns)
{
    static const uint8_t cdb[6] = { SCSI_REQUEST_SENSE, 0, 0, 0, SENSE_FIXED };
    uint8_t bytes[SENSE_FIXED];
    int got = ask(s, lun, cdb, sizeof(cdb), bytes, sizeof(bytes), ns);

    if (got < 0)
        return got;
    return vio_drv_scsi_sense(bytes, (size_t)got, sense) ? 0 : -EPROTO;
}

int vio_drv_scsi_report_luns(struct vio_drv_scsi *s, uint8_t target, uint16_t *luns, unsigned max, uint64_t ns)
{
    uint8_t cdb[12] = { SCSI_REPORT_LUNS }, bytes[LUNS_HEADER + 256 * LUN_BYTES];
    uint32_t len;
    unsigned n = 0;
    int got;

    put_be(cdb + 6, sizeof(bytes), 4);
    got = ask(s, vio_drv_scsi_lun(target, 0), cdb, sizeof(cdb), bytes, sizeof(bytes), ns);
    if (got < 0)
        return got;
    if (got < LUNS_HEADER)
        return -EPROTO;
    /* What the list says of its own length counts no further than what came. */
    len = vio_min_u32(be32(bytes), (uint32_t)got - LUNS_HEADER);
    for (uint32_t at = 0; at + LUN_BYTES <= len && n < max; at += LUN_BYTES) {
        const uint8_t *lun = bytes + LUNS_HEADER + at;
        bool flat = lun[0] >> 6 == 1 || lun[0] == 0; /* flat space, or a peripheral of bus 0 */

        if (flat && be32(lun + 2) == 0 && lun[6] == 0 && lun[7] == 0)
            luns[n++] = (uint16_t)((lun[0] & 0x3f) << 8 | lun[1]);
    }
    return (int)n;
}

/* ------------------------------------------------------------------ a disk */

/* Printable, without blanks at the end: it goes to a person's eyes. */
static void text(char *to, const uint8_t *from, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        to[i] = (char)(from[i] >= ' ' && from[i] < 0x7f ? from[i] : '?');
    while (n > 0 && to[n - 1] == ' ')
        n--;
    to[n] = 0;
}

static int identify(struct vio_drv_scsi *s, struct vio_drv_scsi_disk *disk, uint64_t ns)
{
    uint8_t bytes[INQUIRY_BYTES] = { 0 };
    int got = vio_drv_scsi_inquiry(s, disk->lun, -1, bytes, sizeof(bytes), ns);

    if (got < 0)
        return got;
    if (got < 1)
        return -EPROTO;
    if (bytes[0] >> 5 != 0)
        return -ENODEV; /* the target knows the number, and nothing is there */
    if ((bytes[0] & 0x1f) != 0)
        return -EINVAL;
    text(disk->vendor, bytes + 8, 8);
    text(disk->product, bytes + 16, 16);
    text(disk->revision, bytes + 32, 4);
    return 0;
}

/* A unit tells what happened to it before it does anything: attentions are heard out. */
static int wait_ready(struct vio_drv_scsi *s, struct vio_drv_scsi_lun lun, uint64_t ns)
{
    static const uint8_t cdb[6] = { SCSI_TEST_UNIT_READY };
    struct vio_drv_scsi_result result;
    struct vio_drv_scsi_sense sense;
    int error = 0;

    for (unsigned i = 0; i < TRIES; i++) {
        error = vio_drv_scsi_command(s, lun, cdb, sizeof(cdb), NULL, 0, NULL, 0, &result, ns);
        if (error == 0 || result.status != SCSI_STATUS_CHECK_CONDITION || result.response != VIRTIO_SCSI_S_OK)
            return error;
        if (!vio_drv_scsi_sense(result.sense, result.sense_len, &sense) || sense.key != SCSI_KEY_UNIT_ATTENTION)
            return error;
    }
    return error;
}

static int capacity_16(struct vio_drv_scsi *s, struct vio_drv_scsi_disk *disk, uint64_t *last, uint32_t *size, uint64_t ns)
{
    uint8_t cdb[16] = { SCSI_SERVICE_ACTION_IN_16, SCSI_SAI_READ_CAPACITY_16 }, bytes[CAPACITY_16];
    int got;

    put_be(cdb + 10, sizeof(bytes), 4);
    got = ask(s, disk->lun, cdb, sizeof(cdb), bytes, sizeof(bytes), ns);
    if (got < 0)
        return got;
    if (got < 12)
        return -EPROTO;
    *last = be64(bytes);
    *size = be32(bytes + 8);
    if (got < 16)
        return 0;
    disk->physical_exp = bytes[13] & 0xf;
    disk->unmap = (bytes[14] & 0x80) != 0;
    disk->unmapped_reads_zero = (bytes[14] & 0x40) != 0;
    return 0;
}

static int capacity(struct vio_drv_scsi *s, struct vio_drv_scsi_disk *disk, uint64_t ns)
{
    static const uint8_t cdb[10] = { SCSI_READ_CAPACITY_10 };
    uint8_t bytes[8];
    uint64_t last;
    uint32_t size;
    int got = ask(s, disk->lun, cdb, sizeof(cdb), bytes, sizeof(bytes), ns), error;

    if (got < 0)
        return got;
    if (got < (int)sizeof(bytes))
        return -EPROTO;
    last = be32(bytes);
    size = be32(bytes + 4);
    /* The long form says more; an old disk may not know it, and then this was all. */
    error = capacity_16(s, disk, &last, &size, ns);
    if (error != 0 && (error != -EIO || last == UINT32_MAX))
        return error;
    if (size < 512 || size > BLOCK_SIZE_MAX || (size & (size - 1)) != 0 || last >= UINT64_MAX / size)
        return -EPROTO;
    disk->blocks = last + 1;
    disk->block_size = size;
    return 0;
}

int vio_drv_scsi_disk_open(struct vio_drv_scsi *s, uint8_t target, uint16_t lun, struct vio_drv_scsi_disk *disk, uint64_t ns)
{
    int error;

    *disk = (struct vio_drv_scsi_disk){ .lun = vio_drv_scsi_lun(target, lun) };
    error = identify(s, disk, ns);
    if (error == 0)
        error = wait_ready(s, disk->lun, ns);
    return error != 0 ? error : capacity(s, disk, ns);
}

static int check_range(const struct vio_drv_scsi_disk *disk, uint64_t lba, size_t bytes)
{
    if (disk->block_size == 0 || bytes % disk->block_size != 0)
        return -EINVAL; /* 0: it was not opened */
    return vio_range_ok(lba, bytes / disk->block_size, disk->blocks) ? 0 : -ERANGE;
}

/* What one command takes through the bounce buffer, in whole blocks. */
static uint32_t chunk_of(const struct vio_drv_scsi *s, const struct vio_drv_scsi_disk *disk)
{
    uint32_t bytes = (uint32_t)vio_min_u64((uint64_t)s->info.max_sectors * 512, VIO_DRV_SCSI_BOUNCE);

    /* max_sectors is a hint (5.6.4): less than a block is none. */
    bytes -= bytes % disk->block_size;
    return bytes > 0 ? bytes : disk->block_size;
}

int vio_drv_scsi_read(struct vio_drv_scsi *s, const struct vio_drv_scsi_disk *disk, uint64_t lba, void *to, size_t bytes,
                      uint64_t ns)
{
    int error = check_range(disk, lba, bytes);
    uint32_t chunk = error == 0 ? chunk_of(s, disk) : 0;
    uint8_t *at = to, cdb[VIO_DRV_SCSI_CDB];

    while (error == 0 && bytes > 0) {
        uint32_t now = (uint32_t)vio_min_u64(bytes, chunk);
        int got;

        vio_drv_scsi_cdb_rw(cdb, false, lba, now / disk->block_size);
        got = ask(s, disk->lun, cdb, sizeof(cdb), at, now, ns);
        error = got < 0 ? got : (uint32_t)got == now ? 0 : -EIO;
        lba += now / disk->block_size;
        at += now;
        bytes -= now;
    }
    return error;
}

int vio_drv_scsi_write(struct vio_drv_scsi *s, const struct vio_drv_scsi_disk *disk, uint64_t lba, const void *from, size_t bytes,
                       uint64_t ns)
{
    int error = check_range(disk, lba, bytes);
    uint32_t chunk = error == 0 ? chunk_of(s, disk) : 0;
    const uint8_t *at = from;
    uint8_t cdb[VIO_DRV_SCSI_CDB];

    while (error == 0 && bytes > 0) {
        uint32_t now = (uint32_t)vio_min_u64(bytes, chunk);
        struct vio_drv_scsi_result result;

        vio_drv_scsi_cdb_rw(cdb, true, lba, now / disk->block_size);
        error = vio_drv_scsi_command(s, disk->lun, cdb, sizeof(cdb), at, now, NULL, 0, &result, ns);
        if (error == 0 && result.residual > 0)
            error = -EIO;
        lba += now / disk->block_size;
        at += now;
        bytes -= now;
    }
    return error;
}

int vio_drv_scsi_flush(struct vio_drv_scsi *s, const struct vio_drv_scsi_disk *disk, uint64_t ns)
{
    static const uint8_t cdb[10] = { SCSI_SYNCHRONIZE_CACHE_10 }; /* no blocks: all of them */

    return ask(s, disk->lun, cdb, sizeof(cdb), NULL, 0, ns);
}

int vio_drv_scsi_unmap(struct vio_drv_scsi *s, const struct vio_drv_scsi_disk *disk, uint64_t lba, uint32_t blocks, uint64_t ns)
{
    uint8_t cdb[10] = { SCSI_UNMAP }, list[UNMAP_BYTES] = { 0 };
    struct vio_drv_scsi_result result;

    if (!disk->unmap)
        return -ENOTSUP;
    if (!vio_range_ok(lba, blocks, disk->blocks))
        return -ERANGE;
    put_be(cdb + 7, sizeof(list), 2);
    put_be(list, sizeof(list) - 2, 2);
    put_be(list + 2, sizeof(list) - 8, 2);
    put_be(list + 8, lba, 8);
    put_be(list + 16, blocks, 4);
    return vio_drv_scsi_command(s, disk->lun, cdb, sizeof(cdb), list, sizeof(list), NULL, 0, &result, ns);
}
