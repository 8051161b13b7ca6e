/* SPDX-License-Identifier: MIT */
#include "ram_target.h"

#include <string.h>

#include "spec/scsi.h"

/* ------------------------------------------------------------------ the unit */

/* What a command makes: data in, or a check condition. */
struct outcome {
    size_t len; /* bytes of data */
    uint8_t key, asc, ascq;
};

static uint64_t be(const uint8_t *at, unsigned n)
{
    uint64_t v = 0;

    while (n-- > 0)
        v = v << 8 | *at++;
    return v;
}

static void put_be(uint8_t *at, uint64_t v, unsigned n)
{
    while (n-- > 0) {
        at[n] = (uint8_t)v;
        v >>= 8;
    }
}

static struct outcome illegal(uint8_t asc)
{
    return (struct outcome){ .key = SCSI_KEY_ILLEGAL_REQUEST, .asc = asc };
}

static size_t cut(size_t n, size_t max)
{
    return n < max ? n : max;
}

static struct outcome inquiry(const uint8_t *cdb, uint8_t *data, size_t max)
{
    uint8_t answer[36] = { 0, 0, 6, 2, 31 };

    if ((cdb[1] & 1) != 0) {
        const uint8_t pages[6] = { 0, 0, 0, 2, 0, 0x83 };

        if (cdb[2] != 0)
            return illegal(0x24);
        memcpy(data, pages, cut(sizeof(pages), max));
        return (struct outcome){ .len = cut(sizeof(pages), max) };
    }
    memcpy(answer + 8, "VIO     RAM DISK\x01       1   ", 28);
    memcpy(data, answer, cut(sizeof(answer), max));
    return (struct outcome){ .len = cut(sizeof(answer), max) };
}

static struct outcome capacity(struct ram_target *t, const uint8_t *cdb, uint8_t *data, size_t max)
{
    uint64_t last = (t->blocks != 0 ? t->blocks : RAM_BLOCKS) - 1;
    uint8_t answer[32] = { 0 };

    if (cdb[0] == SCSI_READ_CAPACITY_10) {
        put_be(answer, last < UINT32_MAX ? last : UINT32_MAX, 4);
        put_be(answer + 4, RAM_BLOCK, 4);
        memcpy(data, answer, cut(8, max));
        return (struct outcome){ .len = cut(8, max) };
    }
    if (t->no_capacity_16 || (cdb[1] & 0x1f) != SCSI_SAI_READ_CAPACITY_16)
        return illegal(0x20);
    put_be(answer, last, 8);
    put_be(answer + 8, RAM_BLOCK, 4);
    answer[13] = 3;
    answer[14] = 0xc0;
    memcpy(data, answer, cut(sizeof(answer), max));
    return (struct outcome){ .len = cut(sizeof(answer), max) };
}

static struct outcome read_write(struct ram_target *t, const uint8_t *cdb, const uint8_t *out_data, size_t out_len, uint8_t *data,
                                 size_t max)
{
    bool ten = cdb[0] == SCSI_READ_10 || cdb[0] == SCSI_WRITE_10;
    uint64_t lba = ten ? be(cdb + 2, 4) : be(cdb + 2, 8), blocks = ten ? be(cdb + 7, 2) : be(cdb + 10, 4);
    uint8_t *at;

    if (lba > RAM_BLOCKS || blocks > RAM_BLOCKS - lba)
        return illegal(0x21);
    at = t->bytes + lba * RAM_BLOCK;
    if (cdb[0] == SCSI_READ_10 || cdb[0] == SCSI_READ_16) {
        memcpy(data, at, cut(blocks * RAM_BLOCK, max));
        return (struct outcome){ .len = cut(blocks * RAM_BLOCK, max) };
    }
    memcpy(at, out_data, cut(blocks * RAM_BLOCK, out_len));
    return (struct outcome){ .len = 0 };
}

static struct outcome unmap(struct ram_target *t, const uint8_t *list, size_t n)
{
    uint64_t lba, blocks;

    if (n != 24)
        return illegal(0x26);
    lba = be(list + 8, 8);
    blocks = be(list + 16, 4);
    if (lba > RAM_BLOCKS || blocks > RAM_BLOCKS - lba)
        return illegal(0x21);
    memset(t->bytes + lba * RAM_BLOCK, 0, blocks * RAM_BLOCK);
    t->unmaps++;
    return (struct outcome){ .len = 0 };
}

static struct outcome execute(struct ram_target *t, const uint8_t *cdb, const uint8_t *out_data, size_t out_len, uint8_t *data,
                              size_t max)
{
    uint8_t luns[8 + 16] = { 0, 0, 0, 16, 0, 0, 0, 0, 0, 0 };

    if (t->attentions > 0 && cdb[0] != SCSI_INQUIRY && cdb[0] != SCSI_REPORT_LUNS) {
        t->attentions--;
        return (struct outcome){ .key = SCSI_KEY_UNIT_ATTENTION, .asc = 0x29 };
    }
    switch (cdb[0]) {
    case SCSI_TEST_UNIT_READY:
        return (struct outcome){ .len = 0 };
    case SCSI_REQUEST_SENSE:
        memset(data, 0, max);
        data[0] = 0x70;
        data[7] = 10;
        return (struct outcome){ .len = cut(18, max) };
    case SCSI_INQUIRY:
        return inquiry(cdb, data, max);
    case SCSI_READ_CAPACITY_10:
    case SCSI_SERVICE_ACTION_IN_16:
        return capacity(t, cdb, data, max);
    case SCSI_READ_10:
    case SCSI_READ_16:
    case SCSI_WRITE_10:
    case SCSI_WRITE_16:
        return read_write(t, cdb, out_data, out_len, data, max);
    case SCSI_SYNCHRONIZE_CACHE_10:
        t->flushes++;
        return (struct outcome){ .len = 0 };
    case SCSI_UNMAP:
        return unmap(t, out_data, out_len);
    case SCSI_REPORT_LUNS:
        luns[8 + 8] = 0x40;
        luns[8 + 9] = RAM_LUN;
        memcpy(data, luns, cut(sizeof(luns), max));
        return (struct outcome){ .len = cut(sizeof(luns), max) };
    default:
        return illegal(0x20);
    }
}

/* ------------------------------------------------------------------ the host */

static size_t command(struct ram_target *t, const uint8_t *in, size_t n, uint8_t *out, size_t max)
{
    struct virtio_scsi_req_cmd request;
    struct virtio_scsi_resp_cmd response = { .status = 0 };
    size_t data_max, data_len = 0;
    struct outcome o = { .len = 0 };

    if (n < sizeof(request) || max < sizeof(response))
        return 0;
    memcpy(&request, in, sizeof(request));
    data_max = max - sizeof(response);
    t->commands++;
    t->last_id = vio_cpu(request.id);
    if (request.lun[0] != 1 || request.lun[1] != RAM_TARGET) {
        response.response = VIRTIO_SCSI_S_BAD_TARGET;
    } else if (request.lun[3] != RAM_LUN && request.cdb[0] == SCSI_INQUIRY) {
        if (data_max > 0)
            out[sizeof(response)] = 0x7f; /* nothing at this number */
        data_len = cut(36, data_max);
    } else {
        o = execute(t, request.cdb, in + sizeof(request), n - sizeof(request), out + sizeof(response), data_max);
        data_len = o.len;
    }
    if (o.key != 0) {
        const uint8_t sense[18] = { 0x70, 0, o.key, 0, 0, 0, 0, 10, 0, 0, 0, 0, o.asc, o.ascq };

        response.status = SCSI_STATUS_CHECK_CONDITION;
        response.sense_len = vio_le32_of(sizeof(sense));
        memcpy(response.sense, sense, sizeof(sense));
    }
    response.residual = vio_le32_of((uint32_t)(data_max - data_len));
    if (t->sense_len != 0)
        response.sense_len = vio_le32_of(t->sense_len);
    if (t->residual != 0)
        response.residual = vio_le32_of(t->residual);
    if (t->response != 0)
        response.response = t->response;
    if (t->status != 0)
        response.status = t->status;
    memcpy(out, &response, sizeof(response));
    return t->silent ? 0 : sizeof(response) + data_len;
}

static size_t control(struct ram_target *t, const uint8_t *in, size_t n, uint8_t *out)
{
    struct virtio_scsi_ctrl_tmf tmf;
    struct virtio_scsi_ctrl_an an;
    struct virtio_scsi_ctrl_an_resp response;

    if (n == sizeof(tmf)) {
        memcpy(&tmf, in, sizeof(tmf));
        t->tmf++;
        t->tmf_subtype = vio_cpu(tmf.subtype);
        t->tmf_id = vio_cpu(tmf.id);
        out[0] = t->response != 0 ? t->response : VIRTIO_SCSI_S_FUNCTION_COMPLETE;
        return t->silent ? 0 : 1;
    }
    if (n != sizeof(an))
        return 0;
    memcpy(&an, in, sizeof(an));
    t->async = vio_cpu(an.event_requested) | (vio_cpu(an.type) == VIRTIO_SCSI_T_AN_SUBSCRIBE ? UINT32_C(1) << 31 : 0);
    response = (struct virtio_scsi_ctrl_an_resp){ vio_le32_of(0xffffffff), t->response };
    memcpy(out, &response, sizeof(response));
    return t->silent ? 0 : sizeof(response);
}

size_t ram_target_serve(struct script *s, uint16_t queue, const uint8_t *in, size_t n, uint8_t *out, size_t max)
{
    struct ram_target *t = s->ctx;
    size_t len = queue == VIRTIO_SCSI_CONTROLQ ? control(t, in, n, out) : command(t, in, n, out, max);

    return t->cut != 0 && len > t->cut ? t->cut : len;
}
