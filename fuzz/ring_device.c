/* SPDX-License-Identifier: MIT */
/*
 * Purpose: fuzz target: the device side of a queue under a driver that the input plays: writes into the ring, tables and
 * the in-flight record, and a row of calls. With a bit of the input a second thread changes bytes meanwhile.
 * Invariants: what is taken lies in memory, counts add up, a fault stays, nothing is touched elsewhere (sanitizers).
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include <vio/memory.h>
#include <vio/queue.h>

#include "fuzz.h"
#include "ring/inflight.h"
#include "spec/ring.h"
#include "spec/virtio.h"

enum { SIZE_MAX_ = 64, REGIONS = 9, ZEROED = 96 << 10, LOG = 64 };

/* Ring areas, a table in three regions, payload in five; every region has host memory of its own. */
static const struct vio_memory_region regions[REGIONS] = {
    { 0x1000, SIZE_MAX_ * 16, 0x1000 }, { 0x2000, 6 + 2 * SIZE_MAX_, 0x2000 }, { 0x3000, 6 + 8 * SIZE_MAX_, 0x3000 },
    { 0x4000, 100, 0x4000 },            { 0x4064, 9, 0x4064 },                 { 0x406d, 915, 0x406d },
    { 0x8000, 1, 0x8000 },              { 0x8001, 7, 0x8001 },                 { 0x8008, 8000, 0x8008 },
};

struct bench {
    struct vio_memory *memory;
    uint8_t *host[REGIONS];
    uint8_t *mem;
    size_t mem_bytes;
    uint8_t *record;
    struct vio_inflight inflight;
    struct vio_queue_cfg cfg;
    struct vio_devq_params params;
    struct vio_devq *q;
    struct vio_req *held[2 * SIZE_MAX_ + VIO_QUEUE_BATCH];
    unsigned nr_held;
    bool packed, threaded;
    atomic_bool stop;
    uint64_t flips;
};

static struct bench bench;

static void setup(struct bench *b)
{
    struct vio_queue_cfg cfg = { .size = SIZE_MAX_ };
    struct vio_devq_params p = { .cfg = &cfg, .features = { { UINT64_MAX, 0 } } };
    void *at;

    FUZZ_CHECK(vio_memory_create(&b->memory) == 0);
    for (int i = 0; i < REGIONS; i++) {
        FUZZ_CHECK(posix_memalign(&at, 64, regions[i].size) == 0);
        b->host[i] = at;
        FUZZ_CHECK(vio_memory_add_host(b->memory, &regions[i], at) == 0);
    }
    b->mem_bytes = vio_devq_bytes(&p);
    b->mem = mmap(NULL, b->mem_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    FUZZ_CHECK(b->mem != MAP_FAILED);
    FUZZ_CHECK(posix_memalign(&at, 64, vio_inflight_bytes(SIZE_MAX_, true)) == 0);
    b->record = at;
}

static enum vio_fault start(struct bench *b, const struct vio_queue_state *state)
{
    b->cfg.state = *state;
    memset(b->mem, 0, b->mem_bytes < ZEROED ? b->mem_bytes : ZEROED);
    b->nr_held = 0;
    b->q = NULL;
    return vio_devq_start(b->mem, &b->params, &b->q);
}

static void begin(struct bench *b, struct input *in)
{
    uint8_t bits = input_u8(in), size = input_u8(in);
    struct vio_queue_state initial;

    for (int i = 0; i < REGIONS; i++)
        memset(b->host[i], 0, regions[i].size);
    b->packed = (bits & 1) != 0;
    b->threaded = (bits & 64) != 0 && (bits & 128) != 0;
    b->cfg = (struct vio_queue_cfg){ .desc = 0x1000, .driver = 0x2000, .device = 0x3000 };
    b->cfg.size = (uint16_t)(b->packed ? 1 + size % SIZE_MAX_ : 1 << size % 7);
    b->params = (struct vio_devq_params){ .cfg = &b->cfg, .map = vio_memory_map(b->memory), .priv_size = 8 };
    vio_features_set(&b->params.features, VIRTIO_F_VERSION_1);
    if (b->packed)
        vio_features_set(&b->params.features, VIRTIO_F_RING_PACKED);
    if (bits & 2)
        vio_features_set(&b->params.features, VIRTIO_F_INDIRECT_DESC);
    if (bits & 4)
        vio_features_set(&b->params.features, VIRTIO_F_EVENT_IDX);
    if (bits & 8)
        vio_features_set(&b->params.features, VIRTIO_F_IN_ORDER);
    if (bits & 16) {
        memset(b->record, 0, vio_inflight_bytes(b->cfg.size, b->packed));
        vio_inflight_init(&b->inflight, b->record, b->cfg.size, b->packed, false);
        b->params.inflight = &b->inflight;
    }
    initial = vio_queue_state_initial(b->packed);
    FUZZ_CHECK(start(b, &initial) == VIO_FAULT_NONE);
}

static void check_pieces(const struct bench *b, const struct vio_seg *seg, uint32_t nr, uint64_t left)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < nr; i++) {
        bool in = false;

        for (int k = 0; k < REGIONS; k++) {
            uintptr_t at = (uintptr_t)seg[i].base, base = (uintptr_t)b->host[k];

            in |= at >= base && vio_range_ok(at - base, seg[i].len, regions[k].size);
        }
        FUZZ_CHECK(in && seg[i].len > 0);
        sum += seg[i].len;
    }
    FUZZ_CHECK(sum == left);
}

static void take(struct bench *b, unsigned max)
{
    enum vio_fault before = vio_devq_fault(b->q);
    unsigned got = vio_devq_take(b->q, b->held + b->nr_held, max);

    FUZZ_CHECK(got <= max && b->nr_held + got <= b->cfg.size);
    FUZZ_CHECK(before == VIO_FAULT_NONE || (got == 0 && vio_devq_fault(b->q) == before && !vio_devq_pending(b->q)));
    for (unsigned i = 0; i < got; i++) {
        struct vio_req *r = b->held[b->nr_held + i];
        uint8_t bytes[40];

        check_pieces(b, r->in.seg, r->in.nr, r->in.left);
        check_pieces(b, r->out.seg, r->out.nr, r->out.left);
        FUZZ_CHECK(r->in.left + r->out.left > 0 && r->in.left + r->out.left <= UINT64_C(1) << 32);
        FUZZ_CHECK(r->index < b->cfg.size && r->slots >= 1 && r->slots <= b->cfg.size);
        for (unsigned k = 0; k < b->nr_held + i; k++)
            FUZZ_CHECK(b->held[k]->index != r->index);
        (void)vio_reader_get_some(&r->in, bytes, sizeof(bytes));
    }
    b->nr_held += got;
    FUZZ_CHECK(vio_devq_in_flight(b->q) == b->nr_held);
}

static void put(struct bench *b, unsigned which, uint8_t how)
{
    struct vio_req *r;

    if (b->nr_held == 0)
        return;
    which %= b->nr_held;
    r = b->held[which];
    if (how & 1) {
        uint8_t *last = vio_writer_take_last(&r->out);

        if (last != NULL)
            *last = how;
    }
    if (how & 2)
        FUZZ_CHECK(vio_writer_zero(&r->out, r->out.left));
    else
        (void)vio_writer_put_some(&r->out, "twelve bytes", how % 13);
    b->held[which] = b->held[--b->nr_held];
    vio_devq_put(b->q, r);
    FUZZ_CHECK(vio_devq_in_flight(b->q) == b->nr_held);
}

/* An address that is likely to mean something, or any. */
static uint64_t address(struct input *in)
{
    uint16_t v = input_u16(in);

    switch (v >> 14) {
    case 0:
        return 0x4000 + (v & 0x3ff);
    case 1:
    case 2:
        return 0x8000 + (v & 0x1fff);
    default:
        return v & 1 ? input_u64(in) : UINT64_MAX - (v & 0xff);
    }
}

static void write_desc(struct bench *b, struct input *in, uint8_t *table, unsigned entries, bool lap)
{
    uint8_t *d = table + 16u * (input_u8(in) % entries);
    uint64_t addr = address(in);
    uint32_t len = input_u8(in);
    uint8_t flags = input_u8(in);
    uint16_t other = input_u8(in), word = flags & 7;

    if (flags & 8)
        len = len << 24 | 0xfff0;
    if (flags & 16)
        other = (uint16_t)(other << 8);
    if (b->packed) {
        if (lap)
            word = (uint16_t)(word | (flags & 0x80) | (flags & 0x40 ? 0x8000 : 0));
        memcpy(d + 12, &other, 2);
        memcpy(d + 14, &word, 2);
    } else {
        memcpy(d + 12, &word, 2);
        memcpy(d + 14, &other, 2);
    }
    memcpy(d, &addr, 8);
    memcpy(d + 8, &len, 4);
}

static void make_available(struct bench *b, struct input *in)
{
    uint16_t idx;

    if (b->packed)
        return;
    memcpy(&idx, b->host[1] + 2, 2);
    b->host[1][4 + 2 * (idx % b->cfg.size)] = input_u8(in) & 0x7f;
    idx++;
    __atomic_store_n((uint16_t *)(void *)(b->host[1] + 2), idx, __ATOMIC_RELEASE);
}

static void restart(struct bench *b, bool crash)
{
    struct vio_queue_state state;

    if (crash) {
        vio_queue_state_unpack(&state, b->packed, b->packed ? 0x80008000u : 0);
        if (b->params.inflight != NULL)
            vio_inflight_init(&b->inflight, b->record, b->cfg.size, b->packed, false);
    } else {
        while (b->nr_held > 0)
            put(b, 0, 2);
        (void)!vio_devq_publish(b->q);
        vio_devq_stop(b->q, &state);
        vio_queue_state_unpack(&state, b->packed, vio_queue_state_pack(&state, b->packed));
    }
    if (start(b, &state) != VIO_FAULT_NONE) {
        /* Refused, as it may be: begin anew. */
        state = vio_queue_state_initial(b->packed);
        if (b->params.inflight != NULL)
            vio_inflight_init(&b->inflight, b->record, b->cfg.size, b->packed, true);
        FUZZ_CHECK(start(b, &state) == VIO_FAULT_NONE);
    }
}

static void step(struct bench *b, struct input *in)
{
    uint8_t op = input_u8(in);

    switch (op % 16) {
    case 0:
    case 1:
    case 2:
        write_desc(b, in, b->host[0], b->cfg.size, true);
        break;
    case 3: {
        uint8_t table[100] = { 0 };

        write_desc(b, in, table, 6, false);
        for (unsigned i = 0; i < 96; i++)
            b->host[3][i] = table[i] != 0 ? table[i] : b->host[3][i];
        break;
    }
    case 4: {
        unsigned area = op >> 4 & 3, at = input_u16(in) % (unsigned)regions[area].size;

        b->host[area][at] = input_u8(in);
        break;
    }
    case 5:
    case 6:
        make_available(b, in);
        break;
    case 7:
    case 8:
        take(b, op >> 4);
        break;
    case 9:
    case 10:
        put(b, op >> 4, input_u8(in));
        break;
    case 11:
        (void)!vio_devq_publish(b->q);
        break;
    case 12:
        if (op & 16)
            vio_devq_disarm_kick(b->q);
        else
            (void)!vio_devq_arm_kick(b->q);
        break;
    case 13:
        restart(b, (op & 16) != 0);
        break;
    case 14:
        if (b->params.inflight != NULL) {
            unsigned at = input_u16(in) % (unsigned)vio_inflight_bytes(b->cfg.size, b->packed);

            b->record[at] = input_u8(in);
        }
        break;
    default: {
        enum vio_fault f = vio_devq_check_notify_data(b->q, op >> 4, (uint32_t)input_u64(in));

        FUZZ_CHECK(f == VIO_FAULT_NONE || f == VIO_FAULT_NOTIFY_DATA);
        FUZZ_CHECK(vio_devq_map_changed(b->q) == VIO_FAULT_NONE);
    }
    }
}

static void *flipper(void *arg)
{
    struct bench *b = arg;
    uint64_t x = b->flips | 1;

    while (!atomic_load_explicit(&b->stop, memory_order_relaxed)) {
        unsigned area;

        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        area = x % 4;
        __atomic_store_n(&b->host[area][(x >> 8) % (regions[area].size < 200 ? regions[area].size : 200)],
                         (uint8_t)(x >> 40), __ATOMIC_RELAXED);
    }
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bench *b = &bench;
    struct input in = { data, size };
    pthread_t thread;

    if (size > 4096)
        return 0;
    if (b->memory == NULL)
        setup(b);
    begin(b, &in);
    b->flips = size > 10 ? data[9] * UINT64_C(0x9e3779b97f4a7c15) : size;
    atomic_store(&b->stop, false);
    if (b->threaded)
        FUZZ_CHECK(pthread_create(&thread, NULL, flipper, b) == 0);
    while (in.left > 0)
        step(b, &in);
    while (b->nr_held > 0)
        put(b, 0, 3);
    (void)!vio_devq_publish(b->q);
    if (b->threaded) {
        atomic_store(&b->stop, true);
        pthread_join(thread, NULL);
    }
    return 0;
}
