/* SPDX-License-Identifier: MIT */
/* A number becomes a guest address by name, not by passing it. */
#include <vio/types.h>

uint64_t take(vio_gpa a);
uint64_t call(uint64_t host_pointer);

uint64_t call(uint64_t host_pointer)
{
#ifdef GOOD
    return take(vio_gpa_of(host_pointer));
#else
    return take(host_pointer);
#endif
}
