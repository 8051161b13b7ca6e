/* SPDX-License-Identifier: MIT */
/*
 * Purpose: packets copied out of the memory they stand in; the end of a network backend, and its further lanes.
 * Where it sits: backend/, for devices too. Threads: no state.
 * Trust: the lengths of seg[] are ours, the bytes are a guest's: they are copied once and never looked at in place.
 */
#include "backend/backend.h"

#include <string.h>
#include <vio/net.h>

size_t vio_net_packet_head(const struct vio_net_packet *p, void *to, size_t n)
{
    unsigned char *out = to;
    size_t done = 0;

    for (uint32_t i = 0; i < p->nr && done < n; i++) {
        size_t piece = p->seg[i].len < n - done ? p->seg[i].len : n - done;

        if (piece > 0) /* an empty piece may have no address */
            memcpy(out + done, p->seg[i].base, piece);
        done += piece;
    }
    return done;
}

void vio_net_packet_copy(const struct vio_net_packet *p, void *to)
{
    (void)vio_net_packet_head(p, to, p->len);
}

void vio_net_close(struct vio_net_backend *b)
{
    if (b)
        b->ops->destroy(b);
}

int vio_net_open_lane(struct vio_net_backend *b, struct vio_net_backend **out, char *why, size_t why_size)
{
    if (b->ops->open_lane == NULL)
        return vio_why(-ENOTSUP, why, why_size, "the network \"%s\" is served by one thread", b->ops->name);
    return b->ops->open_lane(b, out, why, why_size);
}
