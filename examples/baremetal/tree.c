/* SPDX-License-Identifier: MIT */
/* Purpose: see tree.h. */
#include "tree.h"

#include "machine.h"
#include "say.h"

enum { TREE_MOST = 2 << 20, ARGUMENTS_MOST = 255 };

bool tree_open(struct fdt *t, uint64_t address)
{
    return address != 0 && fdt_open(t, (const void *)(uintptr_t)address, TREE_MOST);
}

bool tree_find(const struct fdt *t, const char *compatible, struct fdt_node *n)
{
    while (fdt_next(t, n)) {
        if (fdt_enabled(t, n) && fdt_is(t, n, compatible))
            return true;
    }
    return false;
}

bool tree_registers(const struct fdt *t, const char *compatible, struct vio_io *registers)
{
    struct fdt_node n = { 0 };
    uint64_t address, len;
    volatile void *at = NULL;

    if (tree_find(t, compatible, &n) && fdt_reg(t, &n, 0, &address, &len))
        at = machine_registers(address, len);
    if (at != NULL)
        *registers = vio_io_mapped(at);
    return at != NULL;
}

const char *tree_arguments(const struct fdt *t)
{
    struct fdt_node n = { 0 };
    const char *text = NULL;
    size_t len = 0;

    while (fdt_next(t, &n)) {
        if (n.depth == 1 && text_equal(n.name, "chosen"))
            text = fdt_text(t, &n, "bootargs");
    }
    while (text != NULL && text[len] != '\0')
        len++;
    return text != NULL && len <= ARGUMENTS_MOST ? text : "";
}
