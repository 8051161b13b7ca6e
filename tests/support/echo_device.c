/* SPDX-License-Identifier: MIT */
#include "echo_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int echo_enter(void *self, uint16_t index, struct vio_devq *vq)
{
    struct echo *e = self;

    e->queue[index] = (struct echo_queue){ .vq = vq };
    return 0;
}

static void echo_leave(void *self, uint16_t index)
{
    ((struct echo *)self)->queue[index].vq = NULL;
}

static void answer(struct echo_queue *q, struct vio_req *req)
{
    uint8_t bytes[256];
    size_t n;

    while ((n = vio_reader_get_some(&req->in, bytes, sizeof(bytes))) > 0)
        (void)!vio_writer_put(&req->out, bytes, n < req->out.left ? n : (size_t)req->out.left);
    vio_devq_put(q->vq, req);
}

/* budget 0: it is to end, and everything is answered. */
static unsigned echo_service(void *self, uint16_t index, unsigned budget)
{
    struct echo *e = self;
    struct echo_queue *q = &e->queue[index];
    struct vio_req *reqs[VIO_QUEUE_BATCH];
    unsigned nr = 0, put = 0;

    if (budget > 0)
        nr = vio_devq_take(q->vq, reqs, budget < VIO_QUEUE_BATCH ? budget : VIO_QUEUE_BATCH);
    for (unsigned i = 0; i < nr; i++)
        q->held[q->nr++] = reqs[i];
    for (; (!e->hold || budget == 0) && put < q->nr; put++)
        answer(q, q->held[put]);
    if (put > 0) {
        q->nr = 0;
        e->served += put;
        vio_device_publish(e->dev, index, put);
    }
    return nr + put;
}

static int echo_fd(void *self, uint16_t index)
{
    (void)self;
    (void)index;
    return -1;
}

static bool echo_arm(void *self, uint16_t index, bool sleep)
{
    (void)self;
    (void)index;
    (void)sleep;
    return false;
}

static bool echo_writable(void *self, uint32_t offset, uint32_t len)
{
    (void)self;
    return offset >= 16 && offset < 32 && len <= 32 - offset;
}

void echo_init(struct echo *e)
{
    memset(e, 0, sizeof(*e));
    e->type = (struct vio_device_type){
        .name = "echo", .id = ECHO_ID, .queue_size_max = 256, .config_size = ECHO_CONFIG,
        .config_writable = echo_writable, .queue_enter = echo_enter, .queue_leave = echo_leave, .service = echo_service,
        .queue_fd = echo_fd, .queue_arm = echo_arm,
    };
}

void echo_create(struct echo *e, uint16_t queues, struct vio_features features, struct vio_features ring_add,
                 const struct vio_log *log)
{
    struct vio_device_params params = { .type = &e->type, .self = e, .name = "echo", .queues = queues,
                                        .features = features, .ring_add = ring_add, .log = log };
    uint8_t bytes[ECHO_CONFIG];

    if (vio_device_create(&params, &e->dev) != 0) {
        fprintf(stderr, "echo_device.c: no device\n");
        abort();
    }
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    vio_device_config_set(e->dev, 0, bytes, sizeof(bytes), false);
}
