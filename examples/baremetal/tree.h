/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what machines with a device tree ask it first: serial port, arguments. Where it sits: over fdt.h and machine.h; find.c
 * looks for the devices. Threads: one. Trust: see fdt.h.
 */
#ifndef VIO_BAREMETAL_TREE_H
#define VIO_BAREMETAL_TREE_H

#include <vio/io.h>

#include "fdt.h"

/* The tree that the loader has put at this address; at most 2 MiB, which is the most that loaders agree on. */
bool tree_open(struct fdt *t, uint64_t address) VIO_MUST_CHECK;
/* The first enabled node that is compatible to this, from `n` (of zeros) on. */
bool tree_find(const struct fdt *t, const char *compatible, struct fdt_node *n) VIO_MUST_CHECK;
/* That node's registers. */
bool tree_registers(const struct fdt *t, const char *compatible, struct vio_io *registers) VIO_MUST_CHECK;
/* What the loader was told to hand to the program; "": nothing. */
const char *tree_arguments(const struct fdt *t);

#endif
