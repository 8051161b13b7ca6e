/* SPDX-License-Identifier: MIT */
/* A host number does not become a field of a wire struct by assignment. */
#include <vio/types.h>

struct wire { vio_le32 len; };

void fill(struct wire *w, uint32_t len);
void fill(struct wire *w, uint32_t len)
{
#ifdef GOOD
    w->len = vio_le32_of(len);
#else
    w->len = len;
#endif
}
