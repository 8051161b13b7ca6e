/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the control queue of a network device with several pairs (virtio 1.4, 5.1.9.5): the kernel has none, so it is served
 * here, as a device would, by the same ring code; its one command says how many pairs are in use.
 * Where it sits: transport/vhost_kernel, beside net.c. Threads: the control thread, which owns this queue: a kick of it is the
 * service, so that an answer is there before the kick returns.
 * Trust: the driver is the caller's own, but what is in its ring is read as from any other.
 */
#include <stdlib.h>
#include "spec/net.h"
#include "transport/vhost_kernel/control.h"

enum { ALIGN = 64 };

struct vk_control {
    struct vio_memory *memory; /* the arena, as the ring's addresses name it */
    struct vio_devq *ring;     /* NULL: it does not run */
    void *mem;
    enum vio_fault fault;
};

int vk_control_create(struct vio_vk *v, struct vk_control **out)
{
    struct vio_arena_region r = vio_arena_region(v->arena);
    struct vio_memory_region region = { .gpa = r.addr, .size = r.size, .uva = (uintptr_t)r.host };
    struct vk_control *c = calloc(1, sizeof(*c));
    int error = c == NULL ? -ENOMEM : vio_memory_create(&c->memory);

    if (error == 0)
        error = vio_memory_add_host(c->memory, &region, r.host);
    if (error != 0) {
        vk_control_destroy(c);
        return vk_fail(v, error, "the control queue: %s", strerror(-error));
    }
    *out = c;
    return 0;
}

void vk_control_destroy(struct vk_control *c)
{
    struct vio_queue_state ignored;

    if (c == NULL)
        return;
    vk_control_stop(c, &ignored);
    vio_memory_destroy(c->memory);
    free(c);
}

int vk_control_start(struct vio_vk *v, struct vk_control *c, const struct vio_queue_cfg *told)
{
    struct vio_queue_cfg cfg = *told;
    struct vio_devq_params params = { .cfg = &cfg, .features = v->features, .map = vio_memory_map(c->memory) };
    size_t bytes = (vio_devq_bytes(&params) + ALIGN - 1) & ~(size_t)(ALIGN - 1);

    cfg.ready = true;
    c->mem = aligned_alloc(ALIGN, bytes);
    if (c->mem == NULL)
        return vk_fail(v, -ENOMEM, "the control queue: out of memory");
    memset(c->mem, 0, bytes);
    c->fault = vio_devq_start(c->mem, &params, &c->ring);
    if (c->fault == VIO_FAULT_NONE)
        return 0;
    free(c->mem);
    c->mem = NULL;
    return vk_fail(v, -EINVAL, "the control queue: %s", vio_fault_text(c->fault));
}

void vk_control_stop(struct vk_control *c, struct vio_queue_state *state)
{
    if (c->ring != NULL)
        vio_devq_stop(c->ring, state);
    free(c->mem);
    c->ring = NULL;
    c->mem = NULL;
    c->fault = VIO_FAULT_NONE;
}

enum vio_fault vk_control_fault(const struct vk_control *c)
{
    return c->ring != NULL ? vio_devq_fault(c->ring) : VIO_FAULT_NONE;
}

/* Whether the command is one, and was carried out. */
static bool carry_out(struct vio_vk *v, const struct virtio_net_ctrl_hdr *head, struct vio_reader *in)
{
    vio_le16 pairs;

    if (head->class_ != VIRTIO_NET_CTRL_MQ || head->command != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET ||
        !vio_features_has(v->features, VIRTIO_NET_F_MQ) || !vio_reader_get(in, &pairs, sizeof(pairs)) || in->left != 0)
        return false;
    return vk_net_use_pairs(v, (uint16_t)vio_cpu(pairs)) == 0;
}

/* Without room for the command or for the answer it has no effect, and the queue breaks, as a device's would. */
static void answer(struct vio_vk *v, struct vk_control *c, struct vio_req *req)
{
    struct virtio_net_ctrl_hdr head;
    uint8_t ack;

    if (!vio_reader_get(&req->in, &head, sizeof(head))) {
        vio_devq_break(c->ring, VIO_FAULT_REQ_SHORT, req->id);
        return;
    }
    if (req->out.left == 0) {
        vio_devq_break(c->ring, VIO_FAULT_REQ_NO_STATUS, req->id);
        return;
    }
    ack = (uint8_t)(carry_out(v, &head, &req->in) ? VIRTIO_NET_OK : VIRTIO_NET_ERR);
    (void)vio_writer_put_some(&req->out, &ack, sizeof(ack)); /* there is room: see above */
    vio_devq_put(c->ring, req);
}

bool vk_control_serve(struct vio_vk *v, struct vk_control *c)
{
    struct vio_req *req;

    if (c->ring == NULL)
        return false;
    do {
        while (vio_devq_take(c->ring, &req, 1) == 1)
            answer(v, c, req);
    } while (vio_devq_fault(c->ring) == VIO_FAULT_NONE && vio_devq_arm_kick(c->ring));
    return vio_devq_publish(c->ring);
}
