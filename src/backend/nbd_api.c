/* SPDX-License-Identifier: MIT */
/*
 * Purpose: opens libnbd when a disk first asks for it: whoever has no NBD disk neither needs nor loads it.
 * Where it sits: backend/nbd. Threads: opening only.
 */
#include "backend/nbd.h"

#include <dlfcn.h>
#include <string.h>

int nbd_api_open(struct nbd_api *api, char *why, size_t why_size)
{
    /* NODELETE: libnbd and what it brings leave per-thread data behind, whose ends are code of theirs. */
    api->library = dlopen("libnbd.so.0", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!api->library)
        return vio_why(-ENOTSUP, why, why_size,
                       "NBD disks need libnbd (%s): on Debian it is in the package libnbd0", dlerror());
/* A function pointer out of a data pointer: copied, as ISO C knows no cast for it. */
#define NBD_LOAD(name, needed)                                                                                \
    {                                                                                                         \
        void *symbol = dlsym(api->library, "nbd_" #name);                                                     \
        memcpy(&api->name, &symbol, sizeof symbol);                                                           \
        if (!symbol && (needed)) {                                                                            \
            nbd_api_close(api);                                                                               \
            return vio_why(-ENOTSUP, why, why_size, "the libnbd here is too old: it has no %s",       \
                           "nbd_" #name);                                                             \
        }                                                                                                     \
    }
    NBD_CALLS(NBD_LOAD)
#undef NBD_LOAD
    return 0;
}

void nbd_api_close(struct nbd_api *api)
{
    if (api->library)
        dlclose(api->library);
    api->library = NULL;
}
