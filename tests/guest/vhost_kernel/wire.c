/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a wire between two network devices of the kernel's: what comes from one goes out of the other as it is, in the same
 * buffers, for one arena is given to both; large segments and checksums that are only begun pass through. Where it sits:
 * tests/guest/vhost_kernel.
 */
#include <signal.h>
#include <unistd.h>
#include <vio/drv_net.h>
#include "spec/net.h"
#include "vk.h"

enum { ENDS = 2, BURST = 32, BUFFERS = 2048, ROOM = 4096, SHARE = 256, LARGE = 1600 };

static volatile sig_atomic_t over;

struct end {
    struct rig rig;
    struct vio_drv_net *n;
    uint64_t frames, large, begun, dropped;
};

static void stop(int signal)
{
    (void)signal;
    over = 1;
}

static void refill(struct end *e, struct vio_net_pool *pool)
{
    struct vio_net_buf *buf;

    for (unsigned i = 0; i < SHARE && vio_drv_net_give_room(e->n, 0) > 0 && vio_net_pool_take(pool, &buf, 1); i++)
        if (vio_drv_net_give(e->n, 0, &buf, 1) == 0)
            vio_net_pool_give(pool, &buf, 1);
}

static void note(struct end *e, const struct vio_net_buf *b)
{
    uint32_t len = 0;

    for (const struct vio_net_buf *piece = b; piece != NULL; piece = piece->next)
        len += piece->len;
    e->frames++;
    e->large += len > LARGE && b->offload.gso_type != VIRTIO_NET_HDR_GSO_NONE;
    e->begun += (b->offload.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0;
}

static unsigned carry(struct end *from, struct end *to, struct vio_net_pool *pool)
{
    struct vio_net_buf *got[BURST], *done[BURST];
    unsigned n = vio_drv_net_receive(from->n, 0, got, BURST), sent, d;

    for (unsigned i = 0; i < n; i++) {
        CHECK(got[i]->pieces > 0);
        note(from, got[i]);
        got[i]->offload.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
    }
    sent = n > 0 ? vio_drv_net_send(to->n, 0, got, n) : 0;
    from->dropped += n - sent; /* the other end is full: TCP sends it again */
    vio_net_pool_give(pool, got + sent, n - sent);
    while ((d = vio_drv_net_send_done(to->n, 0, done, BURST)) > 0)
        vio_net_pool_give(pool, done, d);
    refill(from, pool);
    return n;
}

int wire(const struct options *o)
{
    static struct end end[ENDS];
    struct options other = *o;
    struct vio_net_pool *pool;

    other.params.tap = o->tap2;
    rig_open(&end[0].rig, o, &vio_driver_net);
    end[1].rig.arena = end[0].rig.arena;
    rig_open(&end[1].rig, &other, &vio_driver_net);
    CHECK(vio_net_pool_create(vio_drvdev_platform(end[0].rig.d), BUFFERS, ROOM, &pool) == 0);
    for (unsigned i = 0; i < ENDS; i++) {
        end[i].n = vio_drv_net_of(end[i].rig.d);
        CHECK(end[i].n != NULL);
        refill(&end[i], pool);
    }
    signal(SIGTERM, stop);
    puts("serving");
    while (!over)
        if (carry(&end[0], &end[1], pool) + carry(&end[1], &end[0], pool) == 0)
            usleep(50);
    for (unsigned i = 0; i < ENDS; i++)
        printf("%s: %llu frames, %llu large, %llu checksums begun, %llu dropped\n", vio_drvdev_name(end[i].rig.d),
               (unsigned long long)end[i].frames, (unsigned long long)end[i].large, (unsigned long long)end[i].begun,
               (unsigned long long)end[i].dropped);
    CHECK(end[0].large > 0 && end[1].large > 0 && end[0].begun > 0);
    vio_bus_destroy(end[1].rig.bus);
    rig_close(&end[0].rig);
    return 0;
}
