/* SPDX-License-Identifier: MIT */
/* Purpose: see raw.h. */
#include <stdlib.h>
#include <string.h>

#include "support/raw.h"

void raw_open(struct raw *r, uint16_t size, uint64_t bits, bool record)
{
    struct rng rng = rng_of(1);
    struct guest_cfg cfg = { .size = size, .table_bytes = RAW_TABLE, .payload_size = RAW_PAYLOAD };

    *r = (struct raw){ .size = size, .features = vio_features_of(bits | VIO_FEATURE(VIRTIO_F_VERSION_1)) };
    r->packed = vio_features_has(r->features, VIRTIO_F_RING_PACKED);
    cfg.packed = r->packed;
    r->g = guest_create(&cfg, &rng);
    if (record && posix_memalign(&r->record, 64, vio_inflight_bytes(size, r->packed)) != 0)
        FAIL("out of memory");
}

void raw_crash(struct raw *r)
{
    if (r->q != NULL)
        queue_mem_free(r->mem, r->bytes);
    r->q = NULL;
}

void raw_close(struct raw *r)
{
    raw_crash(r);
    guest_destroy(r->g);
    free(r->record);
}

static enum vio_fault start(struct raw *r, const struct vio_queue_state *state, bool fresh)
{
    struct vio_devq_params p = { .cfg = &r->cfg, .features = r->features, .priv_size = 8,
                                 .find_position = r->find_position };
    enum vio_fault fault;

    r->cfg = (struct vio_queue_cfg){
        .size = r->size,
        .ready = true,
        .desc = r->g->desc,
        .driver = r->g->driver,
        .device = r->g->device,
        .state = *state,
    };
    p.map = vio_memory_map(r->g->memory);
    if (r->record != NULL) {
        if (fresh)
            memset(r->record, 0, vio_inflight_bytes(r->size, r->packed));
        vio_inflight_init(&r->inflight, r->record, r->size, r->packed, fresh);
        p.inflight = &r->inflight;
    }
    r->bytes = vio_devq_bytes(&p);
    r->mem = queue_mem(r->bytes);
    fault = vio_devq_start(r->mem, &p, &r->q);
    if (fault != VIO_FAULT_NONE) {
        queue_mem_free(r->mem, r->bytes);
        r->q = NULL;
    }
    return fault;
}

/* Word by word: another thread may be at it too. */
static void zero(void *at, size_t bytes)
{
    uint16_t *p = at;

    for (size_t i = 0; i < bytes / 2; i++)
        __atomic_store_n(&p[i], 0, __ATOMIC_RELAXED);
}

void raw_start(struct raw *r)
{
    struct vio_queue_layout l = vio_queue_layout(r->size, r->packed);
    struct vio_queue_state state = vio_queue_state_initial(r->packed);

    zero(r->g->desc_host, l.desc_bytes);
    zero(r->g->driver_host, l.driver_bytes);
    zero(r->g->device_host, l.device_bytes);
    r->at = 0;
    r->wrap = true;
    if (start(r, &state, true) != VIO_FAULT_NONE)
        FAIL("the queue does not start");
}

enum vio_fault raw_resume(struct raw *r, const struct vio_queue_state *state)
{
    return start(r, state, false);
}

struct vio_queue_state raw_stop(struct raw *r)
{
    struct vio_queue_state state;

    vio_devq_stop(r->q, &state);
    raw_crash(r);
    return state;
}

void raw_desc(struct raw *r, uint32_t i, uint64_t addr, uint32_t len, uint32_t flags, uint32_t next)
{
    uint64_t *d = (uint64_t *)r->g->desc_host + 2 * (size_t)i;

    le_set64(&d[0], addr);
    le_set64(&d[1], len | (uint64_t)(flags & 0xffff) << 32 | (uint64_t)(next & 0xffff) << 48);
}

void raw_avail_idx(struct raw *r, uint16_t idx)
{
    r->at = idx;
    le_set16((uint16_t *)r->g->driver_host + 1, idx);
}

void raw_avail(struct raw *r, uint16_t head)
{
    le_set16((uint16_t *)r->g->driver_host + 2 + (r->at & (r->size - 1)), head);
    raw_avail_idx(r, (uint16_t)(r->at + 1));
}

void raw_packed_at(struct raw *r, uint32_t i, uint64_t addr, uint32_t len, uint32_t id, uint32_t flags)
{
    uint64_t *d = (uint64_t *)r->g->desc_host + 2 * (size_t)i;

    le_set64(&d[0], addr);
    le_set64(&d[1], len | (uint64_t)(id & 0xffff) << 32 | (uint64_t)(flags & 0xffff) << 48);
}

void raw_packed(struct raw *r, uint64_t addr, uint32_t len, uint32_t id, uint32_t flags)
{
    raw_packed_at(r, r->at, addr, len, id, flags | raw_avail_flags(r->wrap));
    if (++r->at == r->size) {
        r->at = 0;
        r->wrap = !r->wrap;
    }
}

void raw_table(struct raw *r, uint32_t i, uint64_t addr, uint32_t len, uint32_t flags, uint32_t next)
{
    uint64_t *d = (uint64_t *)r->g->table_host + 2 * (size_t)i;

    le_set64(&d[0], addr);
    le_set64(&d[1], r->packed ? len | (uint64_t)next << 32 | (uint64_t)flags << 48 :
                                 len | (uint64_t)flags << 32 | (uint64_t)next << 48);
}

void raw_good(struct raw *r, uint16_t id)
{
    uint16_t next = (uint16_t)((id + 1) % r->size);
    uint16_t first = r->at;

    if (!r->packed && r->size > 1) {
        raw_desc(r, id, raw_at(r, 0), 16, VIRTQ_DESC_F_NEXT, next);
        raw_desc(r, next, raw_at(r, 64), 16, VIRTQ_DESC_F_WRITE, 0);
        raw_avail(r, id);
    } else if (!r->packed) {
        raw_desc(r, id, raw_at(r, 0), 16, VIRTQ_DESC_F_WRITE, next);
        raw_avail(r, id);
    } else if (r->size > 1) {
        bool wrap = r->wrap;

        /* The head last. */
        r->at = (uint16_t)((first + 1) % r->size);
        r->wrap = first + 1 == r->size ? !wrap : wrap;
        raw_packed(r, raw_at(r, 64), 16, id, VIRTQ_DESC_F_WRITE);
        raw_packed_at(r, first, raw_at(r, 0), 16, id, VIRTQ_DESC_F_NEXT | raw_avail_flags(wrap));
    } else {
        raw_packed(r, raw_at(r, 64), 16, id, VIRTQ_DESC_F_WRITE);
    }
}

void raw_expect(struct raw *r, unsigned count, enum vio_fault fault)
{
    struct vio_req *reqs[VIO_QUEUE_BATCH];
    unsigned got, sum = 0;

    while ((got = vio_devq_take(r->q, reqs, VIO_QUEUE_BATCH)) > 0) {
        sum += got;
        if (sum > 65536)
            FAIL("take does not end");
    }
    if (vio_devq_fault(r->q) != fault)
        FAIL("fault %s, must be %s", vio_fault_name(vio_devq_fault(r->q)), vio_fault_name(fault));
    if (sum != count)
        FAIL("%u buffers taken, must be %u", sum, count);
}
