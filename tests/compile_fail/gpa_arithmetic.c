/* SPDX-License-Identifier: MIT */
/* Guest addresses are added with a check only. */
#include <vio/types.h>

bool next(vio_gpa a, vio_gpa *out);
bool next(vio_gpa a, vio_gpa *out)
{
#ifdef GOOD
    return vio_gpa_add(a, 16, out);
#else
    *out = a + 16;
    return true;
#endif
}
