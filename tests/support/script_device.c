/* SPDX-License-Identifier: MIT */
#include "script_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define need(what)                                                                 \
    do {                                                                           \
        if (!(what)) {                                                             \
            fprintf(stderr, "script_device.c:%d: failed: %s\n", __LINE__, #what);  \
            abort();                                                               \
        }                                                                          \
    } while (0)

static int enter(void *self, uint16_t index, struct vio_devq *vq)
{
    struct script *s = self;

    s->queue[index] = (struct script_queue){ .vq = vq };
    return 0;
}

static void leave(void *self, uint16_t index)
{
    ((struct script *)self)->queue[index].vq = NULL;
}

static void answer(struct script *s, uint16_t index, struct vio_req *req)
{
    size_t n = vio_reader_get_some(&req->in, s->in, sizeof(s->in));
    size_t max = req->out.left < sizeof(s->out) ? (size_t)req->out.left : sizeof(s->out);

    memset(s->out, 0, max);
    n = s->serve != NULL ? s->serve(s, index, s->in, n, s->out, max) : 0;
    need(n <= max);
    need(n == 0 || vio_writer_put(&req->out, s->out, n));
    vio_devq_put(s->queue[index].vq, req);
}

/* budget 0: it is to end, and everything is given back. */
static unsigned service(void *self, uint16_t index, unsigned budget)
{
    struct script *s = self;
    struct script_queue *q = &s->queue[index];
    struct vio_req *reqs[VIO_QUEUE_BATCH];
    unsigned nr = 0, put = 0;

    if (budget > 0)
        nr = vio_devq_take(q->vq, reqs, budget < VIO_QUEUE_BATCH ? budget : VIO_QUEUE_BATCH);
    for (unsigned i = 0; i < nr; i++) {
        need(q->nr < SCRIPT_HELD);
        q->held[q->nr++] = reqs[i];
    }
    if (budget == 0) {
        for (; put < q->nr; put++)
            vio_devq_put(q->vq, q->held[put]);
    } else if (!s->keeps[index] && !s->hold[index]) {
        while (put < q->nr)
            answer(s, index, q->held[put++]);
    }
    if (put > 0) {
        q->nr = 0;
        vio_device_publish(s->dev, index, put);
    }
    return nr + put;
}

bool script_send(struct script *s, uint16_t index, const void *bytes, size_t n)
{
    struct script_queue *q = &s->queue[index];
    struct vio_req *req;

    if (q->nr == 0)
        return false;
    req = q->held[0];
    memmove(&q->held[0], &q->held[1], --q->nr * sizeof(q->held[0]));
    if (n > req->out.left)
        n = (size_t)req->out.left;
    need(n == 0 || vio_writer_put(&req->out, bytes, n));
    vio_devq_put(q->vq, req);
    vio_device_publish(s->dev, index, 1);
    return true;
}

static int no_fd(void *self, uint16_t index)
{
    (void)self;
    (void)index;
    return -1;
}

static bool no_arm(void *self, uint16_t index, bool sleep)
{
    (void)self;
    (void)index;
    (void)sleep;
    return false;
}

static bool writable(void *self, uint32_t offset, uint32_t len)
{
    (void)offset;
    (void)len;
    return !((struct script *)self)->deaf;
}

struct script *script_new(void)
{
    struct script *s = calloc(1, sizeof(*s));

    need(s != NULL);
    s->type = (struct vio_device_type){
        .name = "script", .queue_size_max = 256, .config_writable = writable, .queue_enter = enter, .queue_leave = leave,
        .service = service, .queue_fd = no_fd, .queue_arm = no_arm,
    };
    return s;
}

void script_start(struct script *s, uint16_t queues, uint64_t features, const void *config, uint32_t config_bytes,
                  const struct vio_driver *driver)
{
    struct vio_device_params params = { .type = &s->type, .self = s, .name = "script", .queues = queues,
                                        .features = vio_features_of(features & 0xffffff),
                                        .ring_add = vio_features_of(features & ~UINT64_C(0xffffff)) };

    /* Ring formats are what the driver asks for, and it asks for all: what a test does not want is masked. */
    params.ring_mask = vio_features_of(~features & (UINT64_C(1) << 34 | UINT64_C(1) << 29));
    s->type.id = (uint16_t)driver->types[0];
    s->type.config_size = config_bytes;
    need(vio_device_create(&params, &s->dev) == 0);
    if (config_bytes > 0)
        vio_device_config_set(s->dev, 0, config, config_bytes, false);
    s->f = fake_create(s->dev, driver->types[0]);
    need(vio_bus_create(&s->f->platform, &s->bus) == 0);
    need(vio_bus_add(s->bus, &s->f->t, 0, driver, &s->d) == 0);
}

void script_free(struct script *s)
{
    vio_bus_destroy(s->bus);
    need(s->f->held == 0 && s->f->destroyed);
    fake_free(s->f);
    vio_device_destroy(s->dev);
    free(s);
}

void script_config(struct script *s, uint32_t offset, const void *bytes, uint32_t n)
{
    vio_device_config_set(s->dev, offset, bytes, n, true);
    while (vio_drvdev_interrupt(s->d))
        ;
}
