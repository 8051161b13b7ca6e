/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the struct vio_platform of this program: memory from one piece of its own, time, the log. Where it sits: over
 * machine.h. Threads: one, no lock. Trust: the program's own.
 */
#ifndef VIO_BAREMETAL_MEMORY_H
#define VIO_BAREMETAL_MEMORY_H

#include <vio/platform.h>

/* Devices see memory where the CPU sees it: no IOMMU, and no translation on the bus. */
const struct vio_platform *memory_platform(void);

/* Bytes that are handed out now, and the most that there ever were. */
size_t memory_used(void);
size_t memory_peak(void);

#endif
