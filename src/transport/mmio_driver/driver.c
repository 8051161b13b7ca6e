/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the driver side of virtio over MMIO, version 2 (virtio 1.4, 4.2.2 and 4.2.3), and what version 1 shares with it.
 * Where it sits: transport/mmio_driver, freestanding. Threads: see vio/driver.h. Trust: the device is hostile.
 */
#include <errno.h>
#include <string.h>

#include "base/format.h"
#include "spec/config_io.h"
#include "spec/mmio.h"
#include "spec/virtio.h"
#include "transport/mmio_driver/mmio.h"

/* A queue that is reset has only to let go of its buffers (virtio 1.4, 2.6.1). */
static const uint64_t QUEUE_RESET_NS = UINT64_C(1000000000);

int mmio_fail(struct mmio *m, int error, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vio_vformat(m->why, sizeof(m->why), format, ap);
    va_end(ap);
    return error;
}

void mmio_destroy(struct vio_transport *t)
{
    t->platform->free(t->platform->ctx, t, sizeof(struct mmio));
}

const char *mmio_why(struct vio_transport *t)
{
    return mmio_of(t)->why;
}

/* ------------------------------------------------------------------ status and features */

int mmio_status_get(struct vio_transport *t, uint8_t *status)
{
    struct mmio *m = mmio_of(t);
    uint32_t v = mmio_read(m, VIRTIO_MMIO_STATUS);

    if (v == UINT32_MAX)
        return mmio_fail(m, -ECONNRESET, "%s: its registers read as all ones: the device is gone", t->name);
    if (v > UINT8_MAX)
        return mmio_fail(m, -EPROTO, "%s: Status reads 0x%x, and has 8 bits (virtio 1.4, 2.1)", t->name, v);
    *status = (uint8_t)v;
    return 0;
}

int mmio_status_set(struct vio_transport *t, uint8_t status)
{
    vio_io_barrier(); /* DRIVER_OK lets the device at the queues */
    mmio_write(mmio_of(t), VIRTIO_MMIO_STATUS, status);
    return 0;
}

static int reset(struct vio_transport *t)
{
    uint8_t status = 0;
    int r;

    mmio_write(mmio_of(t), VIRTIO_MMIO_STATUS, 0);
    r = mmio_status_get(t, &status);
    return r != 0 ? r : status != 0 ? -EINPROGRESS : 0;
}

static uint32_t feature_word(struct mmio *m, uint32_t word)
{
    mmio_write(m, VIRTIO_MMIO_DEVICE_FEATURES_SEL, word);
    return mmio_read(m, VIRTIO_MMIO_DEVICE_FEATURES);
}

/*
 * Bits 64 to 127 came late, and devices that take any selector but 0 for 1 (QEMU) show bits 32 to 63 once more. Both higher
 * words the same as word 1 are that: no bit from 96 on has a meaning yet (virtio 1.4, 2.2).
 */
static int features(struct vio_transport *t, struct vio_features *offered)
{
    struct mmio *m = mmio_of(t);
    uint32_t w[4];

    for (uint32_t i = 0; i < 4; i++)
        w[i] = feature_word(m, i);
    m->words_beyond = (w[2] | w[3]) != 0 && !(w[2] == w[1] && w[3] == w[1]);
    offered->w[0] = w[0] | (uint64_t)w[1] << 32;
    offered->w[1] = m->words_beyond ? w[2] | (uint64_t)w[3] << 32 : 0;
    return 0;
}

static int accept_features(struct vio_transport *t, const struct vio_features *wanted)
{
    struct mmio *m = mmio_of(t);

    if (wanted->w[1] != 0 && !m->words_beyond)
        return mmio_fail(m, -EINVAL, "%s: feature bits beyond 63 are wanted, and the device has none", t->name);
    /* From the top, so that word 1 is written last also to a device that takes 2 and 3 for 1. */
    for (uint32_t word = m->words_beyond ? 4 : 2; word-- > 0;) {
        mmio_write(m, VIRTIO_MMIO_DRIVER_FEATURES_SEL, word);
        mmio_write(m, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(wanted->w[word / 2] >> (word % 2 * 32)));
    }
    m->accepted = *wanted;
    return 0;
}

/* ------------------------------------------------------------------ configuration */

int mmio_config_range(struct mmio *m, uint32_t offset, uint32_t len)
{
    if (m->config_len == 0)
        return mmio_fail(m, -ENOTSUP, "%s: it has no configuration", m->t.name);
    if (!vio_range_ok(offset, len, m->config_len))
        return mmio_fail(m, -EINVAL, "%s: %u bytes of configuration from %u are more than the %u that are mapped",
                         m->t.name, len, offset, m->config_len);
    return 0;
}

static int config_read(struct vio_transport *t, uint32_t offset, void *to, uint32_t len)
{
    int r = mmio_config_range(mmio_of(t), offset, len);

    if (r == 0)
        virtio_config_get(vio_io_at(mmio_of(t)->io, VIRTIO_MMIO_CONFIG), t->type, offset, to, len);
    return r;
}

int mmio_config_write(struct vio_transport *t, uint32_t offset, const void *from, uint32_t len)
{
    int r = mmio_config_range(mmio_of(t), offset, len);

    if (r == 0)
        virtio_config_put(vio_io_at(mmio_of(t)->io, VIRTIO_MMIO_CONFIG), t->type, offset, from, len);
    return r;
}

static int generation(struct vio_transport *t, uint32_t *value)
{
    *value = mmio_read(mmio_of(t), VIRTIO_MMIO_CONFIG_GENERATION);
    return 0;
}

/* ------------------------------------------------------------------ queues */

int mmio_queue_max(struct vio_transport *t, uint16_t queue, uint16_t *size)
{
    struct mmio *m = mmio_of(t);
    uint32_t max;

    mmio_write(m, VIRTIO_MMIO_QUEUE_SEL, queue);
    max = mmio_read(m, VIRTIO_MMIO_QUEUE_SIZE_MAX);
    if (max > VIRTQ_SIZE_MAX)
        return mmio_fail(m, -EPROTO, "%s: queue %u is said to hold 0x%x entries; the most is %u (virtio 1.4, 2.7 and 2.8)",
                         t->name, queue, max, VIRTQ_SIZE_MAX);
    *size = (uint16_t)max;
    return 0;
}

static void write_address(struct mmio *m, uint32_t low_reg, uint64_t address)
{
    mmio_write(m, low_reg, (uint32_t)address);
    mmio_write(m, low_reg + 4, (uint32_t)(address >> 32));
}

static int queue_start(struct vio_transport *t, uint16_t queue, const struct vio_transport_queue *q)
{
    struct mmio *m = mmio_of(t);

    mmio_write(m, VIRTIO_MMIO_QUEUE_SEL, queue);
    if (mmio_read(m, VIRTIO_MMIO_QUEUE_READY) != 0)
        return mmio_fail(m, -EPROTO, "%s: queue %u is ready before it was set up; the device was not reset "
                         "(virtio 1.4, 4.2.3.2)", t->name, queue);
    mmio_write(m, VIRTIO_MMIO_QUEUE_SIZE, q->cfg.size);
    write_address(m, VIRTIO_MMIO_QUEUE_DESC_LOW, q->cfg.desc);
    write_address(m, VIRTIO_MMIO_QUEUE_DRIVER_LOW, q->cfg.driver);
    write_address(m, VIRTIO_MMIO_QUEUE_DEVICE_LOW, q->cfg.device);
    vio_io_barrier(); /* the device may look at the rings from here */
    mmio_write(m, VIRTIO_MMIO_QUEUE_READY, 1);
    if (mmio_read(m, VIRTIO_MMIO_QUEUE_READY) != 1)
        return mmio_fail(m, -EPROTO, "%s: the device does not take queue %u of %u entries: QueueReady does not read 1 "
                         "(virtio 1.4, 4.2.2)", t->name, queue, q->cfg.size);
    return 0;
}

static int queue_stop(struct vio_transport *t, uint16_t queue, struct vio_queue_state *state)
{
    const struct vio_platform *p = t->platform;
    struct mmio *m = mmio_of(t);
    uint64_t end;
    uint32_t v;

    if (!vio_features_has(m->accepted, VIRTIO_F_RING_RESET))
        return -ENOTSUP;
    end = p->now_ns(p->ctx) + QUEUE_RESET_NS;
    mmio_write(m, VIRTIO_MMIO_QUEUE_SEL, queue);
    mmio_write(m, VIRTIO_MMIO_QUEUE_RESET, 1);
    while ((v = mmio_read(m, VIRTIO_MMIO_QUEUE_RESET)) != 0) {
        if (v != 1)
            return mmio_fail(m, -EPROTO, "%s: QueueReset reads 0x%x; it is 0 or 1 (virtio 1.4, 2.6.1)", t->name, v);
        if (p->now_ns(p->ctx) > end)
            return mmio_fail(m, -ETIMEDOUT, "%s: queue %u is not reset after a second (virtio 1.4, 2.6.1)", t->name, queue);
        if (p->pause != NULL)
            p->pause(p->ctx);
    }
    /* A device that offers RING_RESET and has no such register is found out here. */
    if (mmio_read(m, VIRTIO_MMIO_QUEUE_READY) != 0)
        return mmio_fail(m, -EPROTO, "%s: queue %u is still ready after its reset: do not use RING_RESET with this device "
                         "(virtio 1.4, 2.6.1)", t->name, queue);
    if (state != NULL)
        *state = vio_queue_state_initial(vio_features_has(m->accepted, VIRTIO_F_RING_PACKED));
    return 0;
}

void mmio_kick(struct vio_transport *t, uint16_t queue, uint32_t data)
{
    struct mmio *m = mmio_of(t);

    vio_transport_barrier(t);
    mmio_write(m, VIRTIO_MMIO_QUEUE_NOTIFY, vio_features_has(m->accepted, VIRTIO_F_NOTIFICATION_DATA) ? data : queue);
}

unsigned mmio_events(struct vio_transport *t)
{
    struct mmio *m = mmio_of(t);
    uint32_t happened = mmio_read(m, VIRTIO_MMIO_INTERRUPT_STATUS) & (VIRTIO_MMIO_INT_QUEUE | VIRTIO_MMIO_INT_CONFIG);

    if (happened == 0)
        return 0;
    mmio_write(m, VIRTIO_MMIO_INTERRUPT_ACK, happened);
    vio_io_barrier(); /* used buffers are looked at after this, or one that comes now would wait for the next event */
    return ((happened & VIRTIO_MMIO_INT_QUEUE) != 0 ? (unsigned)VIO_EVENT_QUEUES : 0) |
           ((happened & VIRTIO_MMIO_INT_CONFIG) != 0 ? (unsigned)VIO_EVENT_CONFIG : 0);
}

/* ------------------------------------------------------------------ shared memory */

static uint64_t read_pair(struct mmio *m, uint32_t low_reg)
{
    uint64_t low = mmio_read(m, low_reg);

    return low | (uint64_t)mmio_read(m, low_reg + 4) << 32;
}

static int shm(struct vio_transport *t, uint8_t id, struct vio_transport_shm *region)
{
    struct mmio *m = mmio_of(t);
    uint64_t len, base, end;

    mmio_write(m, VIRTIO_MMIO_SHM_SEL, id);
    len = read_pair(m, VIRTIO_MMIO_SHM_LEN_LOW);
    base = read_pair(m, VIRTIO_MMIO_SHM_BASE_LOW);
    if (len == UINT64_MAX || len == 0)
        return -ENOENT; /* all ones: no such region. 0: what registers read that are not there */
    if (!vio_add_u64(base, len, &end))
        return mmio_fail(m, -EPROTO, "%s: shared memory %u is at 0x%llx, 0x%llx bytes: past the end of all memory "
                         "(virtio 1.4, 4.2.2)", t->name, id, (unsigned long long)base, (unsigned long long)len);
    if (m->map_shm == NULL)
        return mmio_fail(m, -ENOTSUP, "%s: shared memory %u cannot be mapped on this platform", t->name, id);
    *region = (struct vio_transport_shm){ .len = len };
    if (m->map_shm(m->ctx, base, len, &region->host) != 0)
        return mmio_fail(m, -EFAULT, "%s: shared memory %u, 0x%llx bytes at 0x%llx, is not where a device may have any",
                         t->name, id, (unsigned long long)len, (unsigned long long)base);
    return 0;
}

const struct vio_transport_ops mmio_ops = {
    .name = "mmio",
    .destroy = mmio_destroy,
    .why = mmio_why,
    .features = features,
    .accept = accept_features,
    .status_get = mmio_status_get,
    .status_set = mmio_status_set,
    .reset = reset,
    .config_read = config_read,
    .config_write = mmio_config_write,
    .generation = generation,
    .queue_max = mmio_queue_max,
    .queue_start = queue_start,
    .queue_stop = queue_stop,
    .kick = mmio_kick,
    .events = mmio_events,
    .shm = shm,
};

/* ------------------------------------------------------------------ making one */

static int look(const struct vio_mmio_driver_params *params, uint32_t *version, uint32_t *type, char *why)
{
    struct vio_io io = params->registers;
    uint32_t magic = vio_io_read32(io, VIRTIO_MMIO_MAGIC_VALUE);

    if (magic != VIRTIO_MMIO_MAGIC) {
        vio_format(why, VIO_DRV_WHY, "mmio@0x%llx: no virtio device: MagicValue is 0x%x, not 0x%x (virtio 1.4, 4.2.2)",
                   (unsigned long long)params->address, magic, VIRTIO_MMIO_MAGIC);
        return -ENODEV;
    }
    *version = vio_io_read32(io, VIRTIO_MMIO_VERSION_REG);
    if (*version != VIRTIO_MMIO_VERSION && *version != VIRTIO_MMIO_VERSION_LEGACY) {
        vio_format(why, VIO_DRV_WHY, "mmio@0x%llx: version %u of virtio-mmio; 1 and 2 are known (virtio 1.4, 4.2.2)",
                   (unsigned long long)params->address, *version);
        return -EPROTO;
    }
    *type = vio_io_read32(io, VIRTIO_MMIO_DEVICE_ID);
    return *type != 0 ? 0 : -ENODEV; /* a place that is kept free: nothing to say of it (virtio 1.4, 4.2.2.2) */
}

int vio_mmio_driver_create(const struct vio_mmio_driver_params *params, struct vio_transport **out, char *why)
{
    const struct vio_platform *p = params->platform;
    char unheard[VIO_DRV_WHY];
    uint32_t version = 0, type = 0;
    struct mmio *m;
    int r;

    if (why == NULL)
        why = unheard;
    why[0] = '\0';
    if (params->len < VIRTIO_MMIO_CONFIG || !vio_io_aligned(params->registers, 4)) {
        vio_format(why, VIO_DRV_WHY, "mmio@0x%llx: 0x%llx bytes of registers; a device has 0x100 at least, aligned to 4",
                   (unsigned long long)params->address, (unsigned long long)params->len);
        return -EINVAL;
    }
    r = look(params, &version, &type, why);
    if (r != 0)
        return r;
    m = p->alloc(p->ctx, sizeof(*m));
    if (m == NULL) {
        vio_format(why, VIO_DRV_WHY, "mmio@0x%llx: no memory for the device", (unsigned long long)params->address);
        return -ENOMEM;
    }
    m->io = params->registers;
    m->config_len = (uint32_t)vio_min_u64(params->len - VIRTIO_MMIO_CONFIG, UINT32_MAX);
    m->map_shm = params->map_shm;
    m->ctx = params->ctx;
    m->t.ops = version == VIRTIO_MMIO_VERSION ? &mmio_ops : &mmio_legacy_ops;
    m->t.platform = p;
    m->t.type = type;
    m->t.vendor = vio_io_read32(m->io, VIRTIO_MMIO_VENDOR_ID);
    m->t.legacy = version == VIRTIO_MMIO_VERSION_LEGACY;
    m->t.queue_align = m->t.legacy ? VIRTIO_MMIO_LEGACY_PAGE : 0;
    vio_format(m->t.name, sizeof(m->t.name), "mmio@0x%llx", (unsigned long long)params->address);
    *out = &m->t;
    return 0;
}
