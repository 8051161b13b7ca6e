/* SPDX-License-Identifier: MIT */
/*
 * Purpose: opens libslirp when a network first asks for it: whoever has none of this kind neither needs nor loads it.
 * Where it sits: backend/net_user. Threads: opening only.
 */
#include "backend/net_user.h"

#include <dlfcn.h>
#include <string.h>

int user_api_open(struct user_api *api, char *why, size_t why_size)
{
    /* NODELETE: glib, which it brings, leaves per-thread data behind, whose ends are code of its own. */
    api->library = dlopen("libslirp.so.0", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!api->library)
        return vio_why(-ENOTSUP, why, why_size,
                       "user-mode networking needs libslirp (%s): on Debian it is in the package libslirp0", dlerror());
/* A function pointer out of a data pointer: copied, as ISO C knows no cast for it. */
#define USER_LOAD(name)                                                                                       \
    {                                                                                                         \
        void *symbol = dlsym(api->library, "slirp_" #name);                                                   \
        memcpy(&api->name, &symbol, sizeof symbol);                                                           \
        if (!symbol) {                                                                                        \
            user_api_close(api);                                                                              \
            return vio_why(-ENOTSUP, why, why_size, "the libslirp here is too old: it has no %s",     \
                           "slirp_" #name);                                                           \
        }                                                                                                     \
    }
    USER_CALLS(USER_LOAD)
#undef USER_LOAD
    return 0;
}

void user_api_close(struct user_api *api)
{
    if (api->library)
        dlclose(api->library);
    api->library = NULL;
}
