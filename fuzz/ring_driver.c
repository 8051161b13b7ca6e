/* SPDX-License-Identifier: MIT */
/*
 * Purpose: fuzz target: the driver side of a queue against a device that the input plays: bytes into what a device may
 * write, true uses among them, and a row of calls. With two bits of the input a second thread changes bytes meanwhile.
 * Invariants: a token comes back once and only when it was published, lengths fit, counts add up, detach gives the rest.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include <vio/queue.h>

#include "fuzz.h"
#include "spec/ring.h"
#include "spec/virtio.h"

enum { SIZE_MAX_ = 64, TOKENS = 4096, TABLE = 4, PIECE = 100 };

struct bench {
    uint8_t *desc, *driver, *device, *table, *mem;
    struct vio_drvq_params params;
    struct vio_drvq *q;
    size_t bytes;
    bool packed, threaded;
    atomic_bool stop;
    uint64_t flips;
    /* by token: 0 not in flight, 1 put, 2 published; and its writable bytes */
    uint8_t state[TOKENS];
    uint16_t writable[TOKENS];
    unsigned next, fresh, in_flight;
};

static struct bench bench;

static uint8_t *area(size_t bytes)
{
    void *at;

    FUZZ_CHECK(posix_memalign(&at, 64, bytes > 0 ? bytes : 1) == 0);
    memset(at, 0, bytes);
    return at;
}

static void begin(struct bench *b, struct input *in)
{
    uint8_t bits = input_u8(in), size = input_u8(in);
    struct vio_queue_layout l;

    *b = (struct bench){ .packed = (bits & 1) != 0, .threaded = (bits & 64) != 0 && (bits & 128) != 0 };
    b->params.size = (uint16_t)(b->packed ? 1 + size % SIZE_MAX_ : 1 << size % 7);
    vio_features_set(&b->params.features, VIRTIO_F_VERSION_1);
    if (b->packed)
        vio_features_set(&b->params.features, VIRTIO_F_RING_PACKED);
    if (bits & 4)
        vio_features_set(&b->params.features, VIRTIO_F_EVENT_IDX);
    if (bits & 8)
        vio_features_set(&b->params.features, VIRTIO_F_IN_ORDER);
    b->params.in_turn = (bits & 16) != 0;
    l = vio_queue_layout(b->params.size, b->packed);
    b->params.desc = b->desc = area(l.desc_bytes);
    b->params.driver = b->driver = area(l.driver_bytes);
    b->params.device = b->device = area(l.device_bytes);
    if (bits & 2) {
        vio_features_set(&b->params.features, VIRTIO_F_INDIRECT_DESC);
        b->params.indirect = b->table = area((size_t)b->params.size * TABLE * 16);
        b->params.indirect_addr = 0x10000;
        b->params.indirect_max = TABLE;
    }
    b->bytes = vio_drvq_bytes(&b->params);
    b->mem = area(b->bytes);
    FUZZ_CHECK(vio_drvq_start(b->mem, &b->params, &b->q) == 0);
}

static void end(struct bench *b)
{
    uint64_t token;

    while (vio_drvq_detach(b->q, &token)) {
        FUZZ_CHECK(token < b->next && b->state[token] != 0);
        b->state[token] = 0;
        b->in_flight--;
    }
    FUZZ_CHECK(b->in_flight == 0 && vio_drvq_in_flight(b->q) == 0);
    free(b->desc);
    free(b->driver);
    free(b->device);
    free(b->table);
    free(b->mem);
}

static void put(struct bench *b, uint8_t shape)
{
    struct vio_buf bufs[16];
    unsigned nr_r = shape & 7, nr_w = shape >> 3 & 7;

    if (b->next == TOKENS)
        return;
    for (unsigned i = 0; i < 16; i++)
        bufs[i] = (struct vio_buf){ 0x5000 + i * 256, PIECE };
    if (vio_drvq_put(b->q, bufs, nr_r, nr_w, b->next) != 0)
        return;
    b->writable[b->next] = (uint16_t)(nr_w * PIECE);
    b->state[b->next++] = 1;
    b->fresh++;
    b->in_flight++;
}

/* A burst of one-piece buffers, at most one of them empty. */
static void express(struct bench *b, uint8_t shape)
{
    struct vio_packet packet[16];
    unsigned n = shape & 15, put, empty = shape >> 5 == 7 ? shape >> 1 & 7 : 16;
    bool writable = (shape & 16) != 0;

    if (b->next + n > TOKENS)
        return;
    for (unsigned i = 0; i < n; i++)
        packet[i] = (struct vio_packet){ 0x5000 + i * 256, b->next + i, i == empty ? 0 : PIECE };
    put = vio_drvq_express_put(b->q, packet, n, writable);
    FUZZ_CHECK(put <= n && put <= empty);
    for (unsigned i = 0; i < put; i++) {
        b->writable[b->next] = writable ? PIECE : 0;
        b->state[b->next++] = 1;
    }
    b->fresh += put;
    b->in_flight += put;
}

static void publish(struct bench *b)
{
    bool broken = vio_drvq_fault(b->q) != VIO_FAULT_NONE;

    (void)!vio_drvq_publish(b->q);
    if (broken)
        return;
    for (; b->fresh > 0; b->fresh--)
        b->state[b->next - b->fresh] = 2;
}

static void rewind_all(struct bench *b)
{
    vio_drvq_rewind(b->q);
    for (; b->fresh > 0; b->fresh--, b->in_flight--)
        b->state[--b->next] = 0;
}

static void collect(struct bench *b, unsigned max)
{
    struct vio_done done[16];
    unsigned n = vio_drvq_collect(b->q, done, max % 16);

    FUZZ_CHECK(n <= max % 16);
    for (unsigned i = 0; i < n; i++) {
        FUZZ_CHECK(done[i].token < b->next && b->state[done[i].token] == 2);
        FUZZ_CHECK(done[i].len <= b->writable[done[i].token]);
        b->state[done[i].token] = 0;
    }
    b->in_flight -= n;
}

/* What a device may write: all of the device area, and of a packed ring. */
static void scribble(struct bench *b, struct input *in)
{
    struct vio_queue_layout l = vio_queue_layout(b->params.size, b->packed);
    uint8_t *to = b->packed && input_u8(in) != 0 ? b->desc : b->device;
    size_t bytes = to == b->desc ? l.desc_bytes : l.device_bytes;
    unsigned at = input_u16(in), n = input_u8(in) % 9;

    for (unsigned i = 0; i < n; i++)
        to[(at + i) % bytes] = input_u8(in);
}

/* One used element or descriptor, where the input says, that looks as it should. */
static void use(struct bench *b, struct input *in)
{
    unsigned at = input_u8(in) % b->params.size;
    uint16_t id = input_u8(in) & 0x7f, idx;
    uint32_t len = input_u8(in);

    if (b->packed) {
        uint64_t flags = (input_u8(in) & 1 ? 0x8080u : 0) | (len > 0 ? VIRTQ_DESC_F_WRITE : 0);
        uint64_t word = len | (uint64_t)id << 32 | flags << 48;

        memcpy(b->desc + at * 16 + 8, &word, 8);
        return;
    }
    memcpy(&idx, b->device + 2, 2);
    memcpy(b->device + 4 + 8 * (idx % b->params.size), &(uint32_t){ id }, 4);
    memcpy(b->device + 8 + 8 * (idx % b->params.size), &len, 4);
    idx++;
    memcpy(b->device + 2, &idx, 2);
}

static void step(struct bench *b, struct input *in)
{
    uint8_t op = input_u8(in);

    switch (op % 10) {
    case 0:
    case 1:
        put(b, input_u8(in));
        break;
    case 2:
        publish(b);
        break;
    case 3:
        if (op & 16)
            express(b, input_u8(in));
        else
            rewind_all(b);
        break;
    case 4:
    case 5:
        collect(b, op >> 4);
        break;
    case 6:
        if (op & 16)
            vio_drvq_disarm_call(b->q);
        else
            (void)!vio_drvq_arm_call(b->q);
        break;
    case 7:
        scribble(b, in);
        break;
    default:
        use(b, in);
    }
    FUZZ_CHECK(vio_drvq_in_flight(b->q) == b->in_flight && vio_drvq_free(b->q) <= b->params.size);
    FUZZ_CHECK(b->in_flight > 0 || vio_drvq_free(b->q) == b->params.size);
    (void)vio_drvq_notify_data(b->q, 1);
}

static void *flipper(void *arg)
{
    struct bench *b = arg;
    struct vio_queue_layout l = vio_queue_layout(b->params.size, b->packed);
    uint64_t x = b->flips | 1;

    while (!atomic_load_explicit(&b->stop, memory_order_relaxed)) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        if (b->packed && x % 3 != 0)
            __atomic_store_n(&b->desc[(x >> 8) % l.desc_bytes], (uint8_t)(x >> 40), __ATOMIC_RELAXED);
        else
            __atomic_store_n(&b->device[(x >> 8) % l.device_bytes], (uint8_t)((x >> 40) % 80), __ATOMIC_RELAXED);
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
    begin(b, &in);
    b->flips = size > 10 ? data[9] * UINT64_C(0x9e3779b97f4a7c15) : size;
    if (b->threaded)
        FUZZ_CHECK(pthread_create(&thread, NULL, flipper, b) == 0);
    while (in.left > 0)
        step(b, &in);
    if (b->threaded) {
        atomic_store(&b->stop, true);
        pthread_join(thread, NULL);
    }
    end(b);
    return 0;
}
