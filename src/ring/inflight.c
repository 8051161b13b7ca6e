/* SPDX-License-Identifier: MIT */
/*
 * Purpose: layout of the in-flight record, and working through one that an earlier owner left; see inflight.h and
 * the vhost-user document, "Inflight I/O tracking". Freestanding.
 * Trust: while the queue runs the record is written, never read. On recovery every number in it is checked.
 */
#include "ring/inflight_priv.h"

size_t vio_inflight_bytes(uint16_t size, bool packed)
{
    size_t bytes = packed ? PREC_HEAD + (size_t)size * PREC_ENTRY : SREC_HEAD + (size_t)size * SREC_ENTRY;

    return (bytes + 63) & ~(size_t)63;
}

void vio_inflight_init(struct vio_inflight *f, void *at, uint16_t size, bool packed, bool fresh)
{
    *f = (struct vio_inflight){ .p_ = at, .size = size, .packed = packed, .recover = !fresh, .counter_ = 1 };
    if (fresh)
        rec_store16(vio_shm_of(at), REC_VERSION, 0);
}

static void sift_down(struct vio_shm r, uint16_t *heads, uint32_t at, uint32_t nr, bool packed)
{
    for (;;) {
        uint32_t child = 2 * at + 1;
        uint16_t head = heads[at];

        if (child >= nr)
            return;
        if (child + 1 < nr && vio_inflight_counter(r, heads[child], packed) <
                                  vio_inflight_counter(r, heads[child + 1], packed))
            child++;
        if (vio_inflight_counter(r, head, packed) >= vio_inflight_counter(r, heads[child], packed))
            return;
        heads[at] = heads[child];
        heads[child] = head;
        at = child;
    }
}

/*
 * Sorts recovered heads by submission number: a heap, for the numbers are the front-end's to write, and 32768 in the
 * worst order must not take a second. They may even change meanwhile: that spoils the order and nothing else.
 */
void vio_inflight_sort(struct vio_shm r, uint16_t *heads, uint32_t nr, bool packed)
{
    for (uint32_t i = nr / 2; i > 0; i--)
        sift_down(r, heads, i - 1, nr, packed);
    for (uint32_t end = nr; end > 1; end--) {
        uint16_t last = heads[end - 1];

        heads[end - 1] = heads[0];
        heads[0] = last;
        sift_down(r, heads, 0, end - 1, packed);
    }
}

static bool split_empty(struct vio_shm r, uint16_t size)
{
    for (uint32_t i = 0; i < size; i++) {
        if (vio_shm_load8(r, srec_entry(i) + SREC_INFLIGHT) != 0)
            return false;
    }
    return true;
}

/* The last batch may have been shown to the driver and not yet struck off. */
static enum vio_fault split_strike_off(struct vio_shm r, uint16_t size, uint16_t used_idx)
{
    uint16_t batch = (uint16_t)(used_idx - rec_load16(r, SREC_USED_IDX));
    uint16_t head = rec_load16(r, SREC_LAST_BATCH);

    if (batch > size)
        return split_empty(r, size) ? VIO_FAULT_NONE : VIO_FAULT_INFLIGHT;
    for (; batch > 0; batch--) {
        if (head >= size)
            return VIO_FAULT_INFLIGHT;
        vio_shm_store8(r, srec_entry(head) + SREC_INFLIGHT, 0);
        head = rec_load16(r, srec_entry(head) + SREC_NEXT);
    }
    return VIO_FAULT_NONE;
}

static enum vio_fault split_recover(struct vio_devq *q, struct vio_shm r)
{
    struct vio_inflight *f = q->inflight;
    uint16_t avail_idx = vio_shm_load16_acquire(q->driver, VIRTQ_AVAIL_IDX);
    enum vio_fault fault = split_strike_off(r, q->size, q->used_idx);

    if (fault != VIO_FAULT_NONE)
        return fault;
    rec_store16(r, SREC_USED_IDX, q->used_idx);
    for (uint32_t i = 0; i < q->size; i++) {
        if (vio_shm_load8(r, srec_entry(i) + SREC_INFLIGHT) == 0)
            continue;
        q->recover[q->nr_recover++] = (uint16_t)i;
        if (rec_load64(r, srec_entry(i) + SREC_COUNTER) >= f->counter_)
            f->counter_ = rec_load64(r, srec_entry(i) + SREC_COUNTER) + 1;
    }
    /* What was taken and not used is what lies between the two indices. */
    q->avail_idx = (uint16_t)(q->used_idx + q->nr_recover);
    if ((uint16_t)(avail_idx - q->used_idx) > q->size || q->nr_recover > (uint16_t)(avail_idx - q->used_idx))
        return VIO_FAULT_INFLIGHT;
    q->avail_seen = q->avail_idx;
    vio_inflight_sort(r, q->recover, q->nr_recover, false);
    return VIO_FAULT_NONE;
}

/* Commits or rolls back the update that was under way; the record's used position is the queue's then. */
static enum vio_fault packed_settle(struct vio_devq *q, struct vio_shm r)
{
    uint16_t old_idx = rec_load16(r, PREC_OLD_USED_IDX), idx = rec_load16(r, PREC_USED_IDX);
    bool old_wrap = vio_shm_load8(r, PREC_OLD_USED_WRAP) != 0, wrap = vio_shm_load8(r, PREC_USED_WRAP) != 0;
    uint16_t old_free = rec_load16(r, PREC_OLD_FREE), free_head = rec_load16(r, PREC_FREE);

    if (old_idx >= q->size || idx >= q->size || old_free > q->size || free_head > q->size)
        return VIO_FAULT_INFLIGHT;
    if (idx != old_idx || wrap != old_wrap) {
        uint16_t flags = vio_shm_load16_acquire(q->desc, (size_t)old_idx * 16 + 14);
        uint16_t avail = old_wrap ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED;

        if ((flags & (VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED)) != avail) {
            old_idx = idx; /* the driver has seen it: commit */
            old_wrap = wrap;
            old_free = free_head;
        }
    }
    rec_store16(r, PREC_FREE, old_free);
    rec_store16(r, PREC_OLD_FREE, old_free);
    prec_positions(r, old_idx, old_wrap, old_idx, old_wrap);
    q->rec_free = old_free;
    q->used_idx = old_idx;
    q->used_wrap = old_wrap;
    return VIO_FAULT_NONE;
}

/*
 * Reads the free list once, into rec_next, and counts what is on it. An entry met twice is a loop: rec_done serves
 * as the marks, it is unused until the queue runs.
 */
static enum vio_fault packed_free_list(struct vio_devq *q, struct vio_shm r, uint32_t *nr_free)
{
    uint16_t at = q->rec_free;

    *nr_free = 0;
    while (at < q->size) {
        if (q->rec_done[at] != 0)
            return VIO_FAULT_INFLIGHT;
        q->rec_done[at] = 1;
        vio_shm_store8(r, prec_entry(at) + PREC_INFLIGHT, 0);
        q->rec_next[at] = rec_load16(r, prec_entry(at) + PREC_NEXT);
        at = q->rec_next[at];
        ++*nr_free;
    }
    return VIO_FAULT_NONE;
}

/*
 * Follows one in-flight list from its head: each entry once, not on the free list, and ending where `last` says. Our
 * copy ends there too: what the record says of its length later is not asked.
 */
static enum vio_fault packed_entry_list(struct vio_devq *q, struct vio_shm r, uint16_t head, uint32_t *slots)
{
    uint16_t num = rec_load16(r, prec_entry(head) + PREC_NUM);
    uint16_t last = rec_load16(r, prec_entry(head) + PREC_LAST);
    uint16_t at = head;

    if (num == 0 || num > q->size || last >= q->size)
        return VIO_FAULT_INFLIGHT;
    for (uint16_t i = 0; i < num; i++) {
        if (at >= q->size || q->rec_done[at] != 0)
            return VIO_FAULT_INFLIGHT;
        q->rec_done[at] = 1;
        if (i + 1 == num && at != last)
            return VIO_FAULT_INFLIGHT;
        q->rec_next[at] = i + 1 == num ? q->size : rec_load16(r, prec_entry(at) + PREC_NEXT);
        at = q->rec_next[at];
    }
    *slots += num;
    return *slots > q->size ? VIO_FAULT_INFLIGHT : VIO_FAULT_NONE;
}

/*
 * A batch's first used descriptor is written last. An owner that died before it leaves those behind it marked used:
 * they would count as soon as the next owner writes the first. They become available again, as the record says.
 */
static enum vio_fault packed_undo_batch(struct vio_devq *q, uint32_t slots)
{
    uint16_t at = q->used_idx, both = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED;
    bool wrap = q->used_wrap;

    for (uint32_t i = 0; i < slots; i++) {
        size_t flags_at = (size_t)at * 16 + 14;
        uint16_t flags = vio_shm_load16(q->desc, flags_at) & both;

        if (flags == (wrap ? both : 0)) {
            if (i == 0) /* the driver has seen that, or may: no record says so */
                return VIO_FAULT_INFLIGHT;
            vio_shm_store16(q->desc, flags_at, wrap ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED);
            vio_devq_log_desc(q, (size_t)at * 16);
        }
        if (++at == q->size) {
            at = 0;
            wrap = !wrap;
        }
    }
    return VIO_FAULT_NONE;
}

static enum vio_fault packed_recover(struct vio_devq *q, struct vio_shm r)
{
    struct vio_inflight *f = q->inflight;
    uint32_t nr_free = 0, slots = 0, avail;
    enum vio_fault fault = packed_settle(q, r);

    if (fault == VIO_FAULT_NONE)
        fault = packed_free_list(q, r, &nr_free);
    for (uint32_t i = 0; fault == VIO_FAULT_NONE && i < q->size; i++) {
        if (vio_shm_load8(r, prec_entry(i) + PREC_INFLIGHT) == 0)
            continue;
        fault = packed_entry_list(q, r, (uint16_t)i, &slots);
        q->recover[q->nr_recover++] = (uint16_t)i;
        if (rec_load64(r, prec_entry(i) + PREC_COUNTER) >= f->counter_)
            f->counter_ = rec_load64(r, prec_entry(i) + PREC_COUNTER) + 1;
    }
    /* Every entry is on one of the lists: what we take later must find one free. */
    if (fault == VIO_FAULT_NONE && nr_free + slots != q->size)
        fault = VIO_FAULT_INFLIGHT;
    if (fault == VIO_FAULT_NONE)
        fault = packed_undo_batch(q, slots);
    if (fault != VIO_FAULT_NONE)
        return fault;
    avail = q->used_idx + slots;
    q->avail_wrap = avail >= q->size ? !q->used_wrap : q->used_wrap;
    q->avail_idx = (uint16_t)(avail >= q->size ? avail - q->size : avail);
    vio_inflight_sort(r, q->recover, q->nr_recover, true);
    for (uint32_t i = 0; i < q->size; i++)
        q->rec_done[i] = 0;
    return VIO_FAULT_NONE;
}

/*
 * A record that starts with this queue: its positions are the queue's. The version comes last, for whoever finds it
 * believes all the rest.
 */
static void begin_fresh(struct vio_devq *q, struct vio_shm r)
{
    rec_store16(r, REC_VERSION, 0);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    rec_store64(r, REC_FEATURES, 0);
    rec_store16(r, REC_DESC_NUM, q->size);
    if (!q->packed) {
        rec_store16(r, SREC_LAST_BATCH, 0);
        rec_store16(r, SREC_USED_IDX, q->used_idx);
    } else {
        rec_store16(r, PREC_FREE, 0);
        rec_store16(r, PREC_OLD_FREE, 0);
        prec_positions(r, q->used_idx, q->used_wrap, q->used_idx, q->used_wrap);
    }
    for (uint32_t i = 0; i < q->size; i++) {
        vio_shm_store8(r, q->packed ? prec_entry(i) + PREC_INFLIGHT : srec_entry(i) + SREC_INFLIGHT, 0);
        if (q->packed)
            rec_store16(r, prec_entry(i) + PREC_NEXT, (uint16_t)(i + 1));
        q->rec_next[i] = (uint16_t)(i + 1);
    }
    q->rec_free = 0;
    rec_store16_release(r, REC_VERSION, 1);
}

bool vio_inflight_old(const struct vio_devq *q)
{
    /* An owner that died before it wrote anything leaves zeroes: front-ends hand such a record back. */
    return q->inflight != NULL && q->inflight->recover && rec_load16(vio_inflight_shm(q), REC_VERSION) != 0;
}

enum vio_fault vio_inflight_start(struct vio_devq *q, bool old)
{
    struct vio_inflight *f = q->inflight;
    struct vio_shm r = vio_inflight_shm(q);
    enum vio_fault fault = VIO_FAULT_NONE;

    if (f->size != q->size || f->packed != q->packed)
        return VIO_FAULT_INFLIGHT;
    if (!old) {
        f->counter_ = 1;
        begin_fresh(q, r);
    } else if (rec_load16(r, REC_VERSION) != 1 || rec_load16(r, REC_DESC_NUM) != f->size) {
        fault = VIO_FAULT_INFLIGHT;
    } else {
        fault = q->packed ? packed_recover(q, r) : split_recover(q, r);
    }
    /* Whoever starts the queue after us finds what we leave. */
    f->recover = true;
    return fault;
}
