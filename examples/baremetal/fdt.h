/* SPDX-License-Identifier: MIT */
/*
 * Purpose: reads a flattened device tree (Devicetree Specification 0.4, 5): nodes in their order, a node's properties, and
 * addresses through `reg`. Where it sits: by itself; also built into a fuzz target.
 * Threads: any; the tree does not change. Trust: the tree is checked as if it came from an enemy: every offset, length and name
 * lies within it, or is not there.
 */
#ifndef VIO_BAREMETAL_FDT_H
#define VIO_BAREMETAL_FDT_H

#include <vio/types.h>

enum { FDT_DEPTH = 16 }; /* deeper nodes end the walk */

struct fdt {
    const uint8_t *bytes;
    uint32_t len;
    uint32_t structs, structs_end; /* where the block of nodes lies; multiples of 4 */
    uint32_t strings, strings_end; /* where the names of properties lie */
};

struct fdt_prop {
    const char *name;
    const uint8_t *value;
    uint32_t len;
};

/* Cells of 32 bits that the addresses and sizes of a node's children have; and whether those addresses are the CPU's own. */
struct fdt_cells {
    uint8_t address, size;
    bool direct;
};

struct fdt_node {
    const char *name;  /* "virtio_mmio@a000000" */
    uint32_t at;       /* its properties; 0: the walk has not begun */
    uint32_t depth;    /* 0: the root */
    struct fdt_cells cells[FDT_DEPTH + 1]; /* [depth]: of this node's children */
};

/* bytes: at most `most` of them are there. False: no tree that could be read. */
bool fdt_open(struct fdt *t, const void *bytes, uint32_t most) VIO_MUST_CHECK;
/* The next node of all, in their order, from a node of zeros. False: the end. */
bool fdt_next(const struct fdt *t, struct fdt_node *n) VIO_MUST_CHECK;
bool fdt_prop(const struct fdt *t, const struct fdt_node *n, const char *name, struct fdt_prop *prop) VIO_MUST_CHECK;
/* The next property, from a prop of zeros; *at is kept for the caller. False: there is no other. */
bool fdt_next_prop(const struct fdt *t, const struct fdt_node *n, uint32_t *at, struct fdt_prop *prop) VIO_MUST_CHECK;

/* Whether one of the names in `compatible` is this. */
bool fdt_is(const struct fdt *t, const struct fdt_node *n, const char *compatible) VIO_MUST_CHECK;
/* False: `status` says that it is not to be used. */
bool fdt_enabled(const struct fdt *t, const struct fdt_node *n) VIO_MUST_CHECK;
/* The i-th place in `reg`, as the CPU sees it. False: there is none, or a bus between translates it. */
bool fdt_reg(const struct fdt *t, const struct fdt_node *n, uint32_t i, uint64_t *address, uint64_t *len) VIO_MUST_CHECK;

/* A number of 1 or 2 cells; others are refused. */
bool fdt_cells(const struct fdt_prop *p, uint32_t first, uint32_t cells, uint64_t *value) VIO_MUST_CHECK;
static inline bool fdt_u32(const struct fdt *t, const struct fdt_node *n, const char *name, uint32_t *value)
{
    struct fdt_prop p;
    uint64_t v;

    if (!fdt_prop(t, n, name, &p) || !fdt_cells(&p, 0, 1, &v))
        return false;
    *value = (uint32_t)v;
    return true;
}
/* A property that is text: ended by 0 within itself; NULL: it is not. */
const char *fdt_text(const struct fdt *t, const struct fdt_node *n, const char *name);

#endif
