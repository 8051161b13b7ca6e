/* SPDX-License-Identifier: MIT */
/* A number from the wire is not a host number. */
#include <vio/types.h>

bool check(vio_le16 index);
bool check(vio_le16 index)
{
#ifdef GOOD
    return vio_cpu(index) == 3;
#else
    return index == 3;
#endif
}
