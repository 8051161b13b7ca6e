/* SPDX-License-Identifier: MIT */
/* Purpose: stands in for the NBD backend where vio is built without libnbd's header. Where it sits: backend/. */
#include "backend/backend.h"

int vio_block_nbd_open(const struct vio_block_nbd_params *params, struct vio_block_backend **out, char *why,
                       size_t why_size)
{
    (void)params;
    (void)out;
    return vio_why(-ENOTSUP, why, why_size,
                   "this vio was built without NBD: on Debian, install libnbd-dev and build it again");
}
