/* SPDX-License-Identifier: MIT */
/* A big-endian number is not a little-endian one. */
#include <vio/types.h>

vio_le64 turn(vio_be64 number);
vio_le64 turn(vio_be64 number)
{
#ifdef GOOD
    return vio_le64_of(vio_cpu(number));
#else
    return number;
#endif
}
