/* SPDX-License-Identifier: MIT */
/* Purpose: stands in for user-mode networking where vio is built without libslirp's header. Where it sits: backend/. */
#include "backend/backend.h"

#include <vio/net.h>

int vio_net_user_open(const struct vio_net_user_params *params, struct vio_net_backend **out, char *why, size_t why_size)
{
    (void)params;
    (void)out;
    return vio_why(-ENOTSUP, why, why_size,
                   "this vio was built without user-mode networking: on Debian, install libslirp-dev and build it again");
}
