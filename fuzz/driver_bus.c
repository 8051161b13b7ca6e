/* SPDX-License-Identifier: MIT */
/*
 * Purpose: fuzz target: the driver side of PCI and MMIO against a device that the input plays: its configuration space, the
 * lengths of its BARs, and what each register reads. The first byte chooses the bus.
 * Invariants: nothing is asked for outside a BAR or the registers, accesses are aligned, nothing is leaked, an error has a
 * sentence, a queue that is notified is notified within the notification structure.
 */
#include <vio/mmio_driver.h>

#include "fuzz.h"
#include "heap_platform.h"
#include "pci_model.h"
#include "spec/mmio.h"
#include "spec/virtio.h"

enum { STEPS = 64, MMIO_BYTES = 0x200 };

struct bench {
    struct pci_model pci; /* first: the model's callbacks are given it */
    struct heap_platform heap;
    struct input in;
    uint32_t identity[3]; /* MMIO: what is fixed */
    struct vio_transport *t;
};

static struct bench bench;

static uint32_t pci_read(struct pci_model *m, unsigned bar, uint64_t offset, unsigned width)
{
    struct bench *b = (struct bench *)m;

    FUZZ_CHECK(bar < VIO_PCI_BARS && offset % width == 0 && vio_range_ok(offset, width, m->bar_len[bar]));
    return (uint32_t)input_u64(&b->in) & (width == 4 ? UINT32_MAX : (1u << 8 * width) - 1);
}

static void pci_write(struct pci_model *m, unsigned bar, uint64_t offset, unsigned width, uint32_t value)
{
    (void)value;
    FUZZ_CHECK(bar < VIO_PCI_BARS && offset % width == 0 && vio_range_ok(offset, width, m->bar_len[bar]));
}

static int map(void *ctx, unsigned bar, uint64_t offset, uint64_t len, struct vio_io *out)
{
    int r = pci_model_map(ctx, bar, offset, len, out);

    FUZZ_CHECK(r != -EFAULT && len > 0);
    return r;
}

static int map_shm(void *ctx, unsigned bar, uint64_t offset, uint64_t len, void **host)
{
    struct pci_model *m = ctx;

    FUZZ_CHECK(bar < VIO_PCI_BARS && len > 0 && vio_range_ok(offset, len, m->bar_len[bar]));
    *host = &bench;
    return 0;
}

/* Mostly a virtio function with a list of capabilities, so that there is something to walk. */
static void begin_pci(struct bench *b, struct input *in)
{
    uint8_t shape = input_u8(in), n = input_u8(in) % 12;

    pci_model_init(&b->pci, (uint16_t)(0x1000 + input_u8(in) % 0x84), input_u8(in) % 30);
    b->pci.read = pci_read;
    b->pci.write = pci_write;
    b->pci.access.map = map;
    b->pci.access.map_shm = map_shm;
    for (unsigned i = 0; i < VIO_PCI_BARS; i++) {
        uint8_t bits = input_u8(in);

        b->pci.bar_len[i] = bits & 1 ? UINT64_C(16) << (bits >> 3) : 0;
        b->pci.ports[i] = (bits & 2) != 0;
        b->pci.unmapped[i] = (bits & 4) != 0;
    }
    for (unsigned i = 0; i < n && b->pci.next < 0xe0; i++) {
        uint8_t type = input_u8(in) % 10, bar = input_u8(in) % 8;
        uint32_t offset = (uint32_t)input_u64(in), length = (uint32_t)input_u64(in);
        uint8_t at = type == 0 ? pci_model_cap(&b->pci, PCI_CAP_ID_MSIX, 12)
                               : pci_model_virtio_cap(&b->pci, type, bar, shape & 1 ? offset & 0x3fff : offset,
                                                      shape & 2 ? length & 0x1fff : length);

        if (type == 0)
            pci_model_put(&b->pci, at + 2u, 2, offset);
        else if (type != VIRTIO_PCI_CAP_WINDOW)
            pci_model_put(&b->pci, at + 16u, 4, shape & 4 ? 1u << (offset >> 27) : length >> 16);
    }
    for (n = shape >> 3; n > 0; n--) { /* bytes anywhere */
        uint8_t at = input_u8(in);

        b->pci.config[at] = input_u8(in);
    }
}

static int make_pci(struct bench *b, struct input *in, char *why)
{
    struct vio_pci_driver_params params = { .access = &b->pci.access, .name = "0000:00:01.0", .platform = &b->heap.p };
    uint8_t bits;

    begin_pci(b, in);
    bits = input_u8(in);
    params.vectors = bits % 5;
    params.legacy = (bits & 128) != 0;
    return vio_pci_driver_create(&params, &b->t, why);
}

static uint32_t mmio_read(void *ctx, uint64_t offset, unsigned width)
{
    struct bench *b = ctx;

    FUZZ_CHECK(offset % width == 0 && offset + width <= MMIO_BYTES && (width == 4 || offset >= VIRTIO_MMIO_CONFIG));
    return offset < 12 ? b->identity[offset / 4] : (uint32_t)input_u64(&b->in) & (width == 4 ? UINT32_MAX : (1u << 8 * width) - 1);
}

static void mmio_write(void *ctx, uint64_t offset, unsigned width, uint32_t value)
{
    (void)ctx;
    (void)value;
    FUZZ_CHECK(offset % width == 0 && offset + width <= MMIO_BYTES && (width == 4 || offset >= VIRTIO_MMIO_CONFIG));
}

static int map_mmio_shm(void *ctx, uint64_t address, uint64_t len, void **host)
{
    uint64_t end;

    FUZZ_CHECK(len > 0 && vio_add_u64(address, len, &end));
    *host = ctx;
    return address & 1 ? -EFAULT : 0;
}

static const struct vio_io_ops mmio_io = { mmio_read, mmio_write };

static int make_mmio(struct bench *b, struct input *in, char *why)
{
    struct vio_mmio_driver_params params = { .registers = vio_io_by(&mmio_io, b), .len = MMIO_BYTES, .address = 0xa000000,
                                             .platform = &b->heap.p, .map_shm = map_mmio_shm, .ctx = b };
    uint8_t bits = input_u8(in);

    b->identity[0] = bits & 0xf0 ? VIRTIO_MMIO_MAGIC : bits;
    b->identity[1] = bits & 3;
    b->identity[2] = input_u8(in) % 50;
    return vio_mmio_driver_create(&params, &b->t, why);
}

/* A ring where a legacy device may have it, or anywhere. */
static void start(struct bench *b, uint8_t queue, uint8_t bits)
{
    struct vio_transport_queue q = { .cfg.size = (uint16_t)(1u << (bits & 15)), .polled = (bits & 16) != 0 };
    uint64_t end;

    q.cfg.desc = bits & 32 ? input_u64(&b->in) : 0x200000;
    q.cfg.driver = q.cfg.desc + 16u * q.cfg.size;
    end = q.cfg.driver + 6 + 2u * q.cfg.size;
    q.cfg.device = (end + 4095) / 4096 * 4096;
    if (b->t->ops->queue_start(b->t, queue, &q) == 0)
        b->t->ops->kick(b->t, queue, (uint32_t)bits << 16 | queue);
    else
        FUZZ_CHECK(b->t->ops->why(b->t)[0] != '\0');
}

static void step(struct bench *b, uint8_t op, uint8_t arg)
{
    const struct vio_transport_ops *ops = b->t->ops;
    struct vio_features f = vio_features_of(0);
    struct vio_transport_shm region;
    struct vio_queue_state state;
    uint8_t bytes[64];
    uint32_t word;
    uint16_t size;

    switch (op % 10) {
    case 0:
        (void)ops->reset(b->t);
        break;
    case 1:
        (void)ops->features(b->t, &f);
        FUZZ_CHECK(!b->t->legacy || f.w[0] <= UINT32_MAX);
        break;
    case 2:
        f.w[0] = arg & 1 ? UINT64_MAX : arg;
        f.w[1] = arg & 2;
        (void)ops->accept(b->t, &f);
        break;
    case 3:
        (void)ops->status_get(b->t, bytes);
        (void)ops->status_set(b->t, arg);
        break;
    case 4:
        (void)ops->config_read(b->t, arg, bytes, op >> 2);
        (void)ops->config_write(b->t, arg, bytes, op >> 2);
        break;
    case 5:
        if (ops->generation != NULL)
            (void)ops->generation(b->t, &word);
        (void)ops->events(b->t);
        break;
    case 6:
        if (ops->queue_max(b->t, op >> 4, &size) == 0)
            FUZZ_CHECK(size <= VIRTQ_SIZE_MAX);
        break;
    case 7:
        start(b, op >> 4, arg);
        break;
    case 8:
        if (ops->queue_stop != NULL)
            (void)ops->queue_stop(b->t, op >> 4, &state);
        break;
    default:
        if (ops->shm != NULL && ops->shm(b->t, arg, &region) == 0)
            FUZZ_CHECK(region.host != NULL && region.len > 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bench *b = &bench;
    char why[VIO_DRV_WHY];
    int r;

    if (size > 4096)
        return 0;
    *b = (struct bench){ .in = { data, size } };
    heap_platform_init(&b->heap);
    b->heap.tick = 300000000; /* patience ends after a few looks */
    r = input_u8(&b->in) & 1 ? make_mmio(b, &b->in, why) : make_pci(b, &b->in, why);
    if (r == 0) {
        for (unsigned i = 0; i < STEPS && b->in.left > 0; i++) {
            uint8_t op = input_u8(&b->in);

            step(b, op, input_u8(&b->in));
        }
        b->t->ops->destroy(b->t);
    } else {
        FUZZ_CHECK(r == -ENODEV || why[0] != '\0');
    }
    FUZZ_CHECK(b->heap.held == 0);
    return 0;
}
