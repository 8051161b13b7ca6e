/* SPDX-License-Identifier: MIT */
/* A guest address is not a pointer, nor can it be cast to one. */
#include <vio/types.h>

uint64_t look(vio_gpa a);
uint64_t look(vio_gpa a)
{
#ifdef GOOD
    return vio_gpa_raw(a);
#else
    return *(const uint64_t *)a;
#endif
}
