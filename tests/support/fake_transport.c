/* SPDX-License-Identifier: MIT */
#include "fake_transport.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "spec/ring.h"
#include "spec/virtio.h"
#include "le.h"

#define need(what)                                                                     \
    do {                                                                               \
        if (!(what)) {                                                                 \
            fprintf(stderr, "fake_transport.c:%d: failed: %s\n", __LINE__, #what);     \
            abort();                                                                   \
        }                                                                              \
    } while (0)

static struct fake *fake_of(struct vio_transport *t)
{
    return (struct fake *)t;
}

/* ------------------------------------------------------------------ the platform */

static const struct vio_platform *arena(const struct fake *f)
{
    return vio_arena_platform(f->arena);
}

static bool refused(struct fake *f)
{
    f->allocations++;
    return f->fail_allocation > 0 && --f->fail_allocation == 0;
}

static void *p_dma_alloc(void *ctx, size_t size, size_t align, uint64_t *addr)
{
    struct fake *f = ctx;
    void *at = refused(f) ? NULL : arena(f)->dma_alloc(arena(f)->ctx, size, align, addr);

    f->held += at != NULL;
    return at;
}

static void p_dma_free(void *ctx, void *host, size_t size, uint64_t addr)
{
    struct fake *f = ctx;

    f->held -= host != NULL;
    arena(f)->dma_free(arena(f)->ctx, host, size, addr);
}

static void *p_alloc(void *ctx, size_t size)
{
    struct fake *f = ctx;
    void *at = refused(f) ? NULL : arena(f)->alloc(arena(f)->ctx, size);

    f->held += at != NULL;
    return at;
}

static void p_free(void *ctx, void *mem, size_t size)
{
    struct fake *f = ctx;

    f->held -= mem != NULL;
    arena(f)->free(arena(f)->ctx, mem, size);
}

static int p_map(void *ctx, void *host, size_t size, unsigned access, uint64_t *addr)
{
    return arena(ctx)->map(arena(ctx)->ctx, host, size, access, addr);
}

static void p_unmap(void *ctx, uint64_t addr, size_t size)
{
    arena(ctx)->unmap(arena(ctx)->ctx, addr, size);
}

static uint64_t p_now(void *ctx)
{
    struct fake *f = ctx;

    return f->now += f->tick;
}

static void p_pause(void *ctx)
{
    struct fake *f = ctx;

    f->now += f->pause_ns;
    if (!f->asleep)
        fake_serve(f);
}

static void p_say(void *ctx, int level, const char *name, const char *line)
{
    struct fake *f = ctx;

    (void)level;
    snprintf(f->line[f->lines++ % FAKE_LINES], sizeof(f->line[0]), "%s: %s", name, line);
}

bool fake_said(const struct fake *f, const char *words)
{
    for (unsigned i = 0; i < f->lines && i < FAKE_LINES; i++)
        if (strstr(f->line[i], words) != NULL)
            return true;
    fprintf(stderr, "nothing said \"%s\"; but:\n", words);
    for (unsigned i = 0; i < f->lines && i < FAKE_LINES; i++)
        fprintf(stderr, "  %s\n", f->line[i]);
    return false;
}

/* ------------------------------------------------------------------ the device's end */

static void signal_event(struct fake *f, unsigned at)
{
    uint64_t one = 1;

    (void)!write(f->fd[at], &one, sizeof(one));
}

static void on_used(void *ctx, uint16_t queue)
{
    struct fake *f = ctx;

    f->events |= VIO_EVENT_QUEUES;
    if (queue < FAKE_QUEUES && !f->queue[queue].polled)
        signal_event(f, queue);
}

static void on_config(void *ctx)
{
    struct fake *f = ctx;

    f->events |= VIO_EVENT_CONFIG;
    signal_event(f, FAKE_QUEUES);
}

static void on_needs_reset(void *ctx, uint16_t queue, enum vio_fault fault)
{
    (void)queue;
    (void)fault;
    on_config(ctx);
}

static void on_miss(void *ctx, uint16_t queue, uint64_t iova, unsigned access)
{
    (void)ctx;
    (void)queue;
    (void)iova;
    (void)access;
}

static const struct vio_device_transport_ops device_ops = {
    .used = on_used,
    .config_changed = on_config,
    .needs_reset = on_needs_reset,
    .iotlb_miss = on_miss,
};

void fake_serve(struct fake *f)
{
    bool busy = true;

    while (busy) {
        busy = false;
        for (uint16_t i = 0; i < vio_device_queues(f->dev); i++) {
            if (!vio_device_queue_running(f->dev, i))
                continue;
            vio_device_queue_disarm(f->dev, i);
            busy |= vio_device_queue_service(f->dev, i, VIO_QUEUE_BATCH) > 0;
            busy |= vio_device_queue_arm(f->dev, i);
        }
    }
    vio_device_control(f->dev);
}

/* ------------------------------------------------------------------ the driver's end */

static int enter(struct fake *f, enum fake_call call)
{
    f->calls[call]++;
    if (f->fail_error == 0 || f->fail_on != call)
        return 0;
    if (f->fail_after > 0) {
        f->fail_after--;
        return 0;
    }
    return f->fail_error;
}

static void t_destroy(struct vio_transport *t)
{
    struct fake *f = fake_of(t);

    vio_device_detach(f->dev);
    f->destroyed = true;
}

static const char *t_why(struct vio_transport *t)
{
    (void)t;
    return "";
}

static int t_features(struct vio_transport *t, struct vio_features *offered)
{
    struct fake *f = fake_of(t);
    int error = enter(f, FAKE_FEATURES);

    *offered = vio_features_or(vio_device_offered(f->dev), f->offer_more);
    if (f->no_version_1)
        vio_features_clear(offered, VIRTIO_F_VERSION_1);
    return error;
}

static int t_accept(struct vio_transport *t, const struct vio_features *wanted)
{
    struct fake *f = fake_of(t);
    int error = enter(f, FAKE_ACCEPT);

    struct vio_features given = *wanted;

    f->accepted = *wanted;
    if (t->legacy) /* the device behind it is of version 1 all the same */
        vio_features_set(&given, VIRTIO_F_VERSION_1);
    given = vio_features_and(given, vio_device_offered(f->dev));
    return error != 0 ? error : vio_device_set_features(f->dev, given);
}

static int t_status_get(struct vio_transport *t, uint8_t *status)
{
    struct fake *f = fake_of(t);
    int error = enter(f, FAKE_STATUS_GET);

    *status = vio_device_status(f->dev);
    if (f->refuse_features)
        *status &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
    *status |= f->status_or;
    if (f->reset_never || (f->reset_reads > 0 && f->reset_reads-- > 0))
        *status |= VIRTIO_STATUS_DRIVER_OK;
    if (f->status_reads >= 0)
        *status = (uint8_t)f->status_reads;
    return error;
}

static int t_status_set(struct vio_transport *t, uint8_t status)
{
    struct fake *f = fake_of(t);
    int error = enter(f, FAKE_STATUS_SET);

    f->status[f->nr_status++ % FAKE_STATUS] = status;
    if (t->legacy && (status & VIRTIO_STATUS_DRIVER_OK) != 0)
        status |= VIRTIO_STATUS_FEATURES_OK;
    return error != 0 ? error : vio_device_set_status(f->dev, status);
}

static int t_reset(struct vio_transport *t)
{
    struct fake *f = fake_of(t);
    int error = enter(f, FAKE_RESET);

    if (error != 0)
        return error;
    f->status[f->nr_status++ % FAKE_STATUS] = 0;
    need(vio_device_set_status(f->dev, 0) == 0);
    memset(f->running, 0, sizeof(f->running));
    f->events = 0;
    return f->reset_never || f->reset_reads > 0 ? -EINPROGRESS : 0;
}

static int t_config_read(struct vio_transport *t, uint32_t offset, void *to, uint32_t len)
{
    struct fake *f = fake_of(t);
    int error = enter(f, FAKE_CONFIG_READ);

    return error != 0 ? error : vio_device_config_read(f->dev, offset, to, len);
}

static int t_config_write(struct vio_transport *t, uint32_t offset, const void *from, uint32_t len)
{
    struct fake *f = fake_of(t);
    int error = enter(f, FAKE_CONFIG_WRITE);

    return error != 0 ? error : vio_device_config_write(f->dev, offset, from, len);
}

static int t_generation(struct vio_transport *t, uint32_t *generation)
{
    struct fake *f = fake_of(t);
    int error = enter(f, FAKE_GENERATION);

    *generation = vio_device_config_generation(f->dev);
    if (f->config_moves > 0)
        *generation += f->config_moves--;
    return error;
}

static int t_queue_max(struct vio_transport *t, uint16_t queue, uint16_t *size)
{
    struct fake *f = fake_of(t);
    int error = enter(f, FAKE_QUEUE_MAX);

    *size = queue >= vio_device_queues(f->dev) ? 0 :
            f->queue_max != 0 ? f->queue_max : vio_device_type(f->dev)->queue_size_max;
    return error;
}

static int t_queues_planned(struct vio_transport *t, uint16_t queues, uint16_t size)
{
    struct fake *f = fake_of(t);

    f->planned = queues;
    f->planned_size = size;
    return enter(f, FAKE_QUEUES_PLANNED);
}

static int t_queue_start(struct vio_transport *t, uint16_t queue, const struct vio_transport_queue *q)
{
    struct fake *f = fake_of(t);
    int error = enter(f, FAKE_QUEUE_START);

    if (error != 0)
        return error;
    need(queue < FAKE_QUEUES);
    f->queue[queue] = *q;
    *vio_device_queue_cfg(f->dev, queue) = q->cfg;
    error = vio_device_queue_start(f->dev, queue);
    f->running[queue] = error == 0;
    return error;
}

static int t_queue_stop(struct vio_transport *t, uint16_t queue, struct vio_queue_state *state)
{
    struct fake *f = fake_of(t);
    int error = enter(f, FAKE_QUEUE_STOP);

    if (error != 0)
        return error;
    vio_device_queue_reset(f->dev, queue);
    *state = vio_device_queue_cfg(f->dev, queue)->state;
    f->running[queue] = false;
    return 0;
}

static void t_kick(struct vio_transport *t, uint16_t queue, uint32_t data)
{
    struct fake *f = fake_of(t);

    f->kicks[queue]++;
    f->kick_data[queue] = data;
    if (!f->asleep)
        fake_serve(f);
}

static int t_event_fd(struct vio_transport *t, uint16_t queue)
{
    return fake_of(t)->fd[queue < FAKE_QUEUES ? queue : FAKE_QUEUES];
}

static void t_event_clear(struct vio_transport *t, uint16_t queue)
{
    uint64_t count;

    (void)!read(fake_of(t)->fd[queue < FAKE_QUEUES ? queue : FAKE_QUEUES], &count, sizeof(count));
}

static unsigned t_events(struct vio_transport *t)
{
    struct fake *f = fake_of(t);
    unsigned events = f->events;

    f->events = 0;
    return events;
}

/* The device has kept everything: as one that was only hidden for a while. */
static int t_reconnect(struct vio_transport *t, const struct vio_features *features)
{
    struct fake *f = fake_of(t);
    int error = enter(f, FAKE_RECONNECT);

    if (error != 0)
        return error;
    need(vio_device_set_status(f->dev, 0) == 0);
    need(vio_device_set_status(f->dev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER) == 0);
    need(vio_device_set_features(f->dev, *features) == 0);
    return vio_device_set_status(f->dev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK);
}

static const struct vio_transport_ops fake_ops = {
    .name = "fake",
    .destroy = t_destroy,
    .why = t_why,
    .features = t_features,
    .accept = t_accept,
    .status_get = t_status_get,
    .status_set = t_status_set,
    .reset = t_reset,
    .config_read = t_config_read,
    .config_write = t_config_write,
    .generation = t_generation,
    .queue_max = t_queue_max,
    .queues_planned = t_queues_planned,
    .queue_start = t_queue_start,
    .queue_stop = t_queue_stop,
    .kick = t_kick,
    .event_fd = t_event_fd,
    .event_clear = t_event_clear,
    .events = t_events,
    .reconnect = t_reconnect,
};

/* ------------------------------------------------------------------ making one */

static void give_memory(struct fake *f)
{
    struct vio_arena_region a = vio_arena_region(f->arena);
    struct vio_memory_region region = { .gpa = a.addr, .size = a.size, .uva = a.addr };

    need(vio_memory_add_host(vio_device_memory(f->dev), &region, a.host) == 0);
    vio_device_attach(f->dev, &device_ops, f);
}

struct fake *fake_create(struct vio_device *dev, uint32_t type)
{
    struct vio_arena_params params = { .size = FAKE_MEMORY, .small_pages = true };
    struct fake *f = calloc(1, sizeof(*f));

    need(f != NULL && vio_arena_create(&params, &f->arena) == 0);
    f->platform = (struct vio_platform){
        .dma_alloc = p_dma_alloc, .dma_free = p_dma_free, .alloc = p_alloc, .free = p_free, .map = p_map, .unmap = p_unmap,
        .now_ns = p_now, .pause = p_pause, .say = p_say, .ctx = f,
    };
    f->tick = 1000;
    f->pause_ns = 1000000;
    f->status_reads = -1;
    f->dev = dev;
    f->ops = fake_ops;
    f->t.ops = &f->ops;
    f->t.platform = &f->platform;
    f->t.type = type;
    snprintf(f->t.name, sizeof(f->t.name), "fake");
    for (unsigned i = 0; i <= FAKE_QUEUES; i++)
        need((f->fd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) >= 0);
    give_memory(f);
    return f;
}

void fake_free(struct fake *f)
{
    if (!f->destroyed)
        vio_device_detach(f->dev);
    vio_memory_clear(vio_device_memory(f->dev));
    for (unsigned i = 0; i <= FAKE_QUEUES; i++)
        close(f->fd[i]);
    vio_arena_destroy(f->arena);
    free(f);
}

/* ------------------------------------------------------------------ a hostile device */

void fake_used_idx(struct fake *f, uint16_t queue, uint16_t idx)
{
    le_set16((uint8_t *)f->queue[queue].device + VIRTQ_USED_IDX, idx);
}

void fake_used(struct fake *f, uint16_t queue, uint16_t position, uint32_t id, uint32_t len)
{
    const struct vio_transport_queue *q = &f->queue[queue];
    uint32_t at = position % q->cfg.size;

    if (vio_features_has(f->accepted, VIRTIO_F_RING_PACKED)) {
        bool wrap = position / q->cfg.size % 2 == 0;
        struct pvirtq_desc desc = {
            .len = vio_le32_of(len), .id = vio_le16_of((uint16_t)id),
            .flags = vio_le16_of((uint16_t)((wrap ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0) |
                                            (len > 0 ? VIRTQ_DESC_F_WRITE : 0))),
        };

        memcpy((uint8_t *)q->desc + at * sizeof(desc), &desc, sizeof(desc));
    } else {
        struct virtq_used_elem elem = { vio_le32_of(id), vio_le32_of(len) };

        memcpy((uint8_t *)q->device + VIRTQ_USED_RING + at * sizeof(elem), &elem, sizeof(elem));
        fake_used_idx(f, queue, (uint16_t)(position + 1));
    }
}
