/* SPDX-License-Identifier: MIT */
/* Purpose: see fdt.h. */
#include "fdt.h"

/* Devicetree Specification 0.4, 5.2 and 5.4 */
enum { MAGIC_AT = 0, TOTAL_AT = 4, STRUCT_AT = 8, STRINGS_AT = 12, VERSION_AT = 20, COMPATIBLE_AT = 24, STRINGS_LEN_AT = 32,
       STRUCT_LEN_AT = 36, HEADER = 40, VERSION = 17 };
enum { BEGIN_NODE = 1, END_NODE = 2, PROP = 3, NOP = 4, END = 9 };
static const uint32_t MAGIC = 0xd00dfeed;

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool same(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

bool fdt_open(struct fdt *t, const void *bytes, uint32_t most)
{
    const uint8_t *b = bytes;
    uint32_t len;

    if (b == NULL || most < HEADER || be32(b + MAGIC_AT) != MAGIC)
        return false;
    len = be32(b + TOTAL_AT);
    if (len < HEADER || len > most || be32(b + VERSION_AT) < VERSION || be32(b + COMPATIBLE_AT) > VERSION)
        return false;
    *t = (struct fdt){ .bytes = b, .len = len, .structs = be32(b + STRUCT_AT), .strings = be32(b + STRINGS_AT) };
    if (t->structs % 4 != 0 || !vio_range_ok(t->structs, be32(b + STRUCT_LEN_AT), len) ||
        !vio_range_ok(t->strings, be32(b + STRINGS_LEN_AT), len))
        return false;
    t->structs_end = t->structs + (be32(b + STRUCT_LEN_AT) & ~3u);
    t->strings_end = t->strings + be32(b + STRINGS_LEN_AT);
    return true;
}

/* Text that ends before `end`; NULL: it does not. */
static const char *text_at(const struct fdt *t, uint32_t at, uint32_t end)
{
    for (uint32_t i = at; i < end; i++) {
        if (t->bytes[i] == 0)
            return (const char *)t->bytes + at;
    }
    return NULL;
}

/* The token at *at, and behind it; END where none is left. */
static uint32_t token(const struct fdt *t, uint32_t *at)
{
    uint32_t found;

    do {
        if (!vio_range_ok(*at, 4, t->structs_end))
            return END;
        found = be32(t->bytes + *at);
        *at += 4;
    } while (found == NOP);
    return found;
}

/* What follows PROP; *at is moved behind it. */
static bool take_prop(const struct fdt *t, uint32_t *at, struct fdt_prop *prop)
{
    uint32_t name;

    if (!vio_range_ok(*at, 8, t->structs_end))
        return false;
    prop->len = be32(t->bytes + *at);
    name = be32(t->bytes + *at + 4);
    *at += 8;
    if (!vio_range_ok(*at, prop->len, t->structs_end) || !vio_range_ok(name, 1, t->strings_end - t->strings))
        return false;
    prop->name = text_at(t, t->strings + name, t->strings_end);
    prop->value = t->bytes + *at;
    *at += (prop->len + 3) & ~3u; /* at most structs_end, a multiple of 4 */
    return prop->name != NULL;
}

bool fdt_next_prop(const struct fdt *t, const struct fdt_node *n, uint32_t *at, struct fdt_prop *prop)
{
    if (*at == 0)
        *at = n->at;
    return token(t, at) == PROP && take_prop(t, at, prop);
}

bool fdt_prop(const struct fdt *t, const struct fdt_node *n, const char *name, struct fdt_prop *prop)
{
    uint32_t at = 0;

    while (fdt_next_prop(t, n, &at, prop)) {
        if (same(prop->name, name))
            return true;
    }
    return false;
}

/* ------------------------------------------------------------------ from node to node */

/* Devicetree Specification 0.4, 2.3.5 and 2.3.8: what holds where nothing is said; addresses pass a bus by an empty `ranges`. */
static void learn_cells(const struct fdt *t, struct fdt_node *n)
{
    struct fdt_cells *c = &n->cells[n->depth];
    struct fdt_prop prop;
    uint32_t v;

    *c = (struct fdt_cells){ .address = 2, .size = 1, .direct = n->depth == 0 };
    if (fdt_u32(t, n, "#address-cells", &v))
        c->address = v <= 3 ? (uint8_t)v : UINT8_MAX;
    if (fdt_u32(t, n, "#size-cells", &v))
        c->size = v <= 2 ? (uint8_t)v : UINT8_MAX;
    if (n->depth > 0 && fdt_prop(t, n, "ranges", &prop))
        c->direct = prop.len == 0 && n->cells[n->depth - 1].direct;
}

static bool enter(const struct fdt *t, struct fdt_node *n, uint32_t at, uint32_t depth)
{
    const char *name = text_at(t, at, t->structs_end);

    if (name == NULL || depth > FDT_DEPTH)
        return false;
    while (t->bytes[at] != 0)
        at++;
    n->name = name;
    n->at = (at + 4) & ~3u; /* behind the 0 */
    n->depth = depth;
    learn_cells(t, n);
    return true;
}

bool fdt_next(const struct fdt *t, struct fdt_node *n)
{
    uint32_t at = n->at, depth = n->depth;
    struct fdt_prop prop;

    if (at == 0) {
        at = t->structs;
        return token(t, &at) == BEGIN_NODE && enter(t, n, at, 0);
    }
    for (;;) {
        switch (token(t, &at)) {
        case PROP:
            if (!take_prop(t, &at, &prop))
                return false;
            break;
        case BEGIN_NODE:
            return enter(t, n, at, depth + 1);
        case END_NODE:
            if (depth-- == 0)
                return false;
            break;
        default:
            return false;
        }
    }
}

/* ------------------------------------------------------------------ what is in a node */

bool fdt_cells(const struct fdt_prop *p, uint32_t first, uint32_t cells, uint64_t *value)
{
    if (cells == 0 || cells > 2 || !vio_range_ok((uint64_t)first * 4, (uint64_t)cells * 4, p->len))
        return false;
    *value = be32(p->value + first * 4);
    if (cells == 2)
        *value = *value << 32 | be32(p->value + first * 4 + 4);
    return true;
}

bool fdt_is(const struct fdt *t, const struct fdt_node *n, const char *compatible)
{
    struct fdt_prop p;
    uint32_t at = 0;

    if (!fdt_prop(t, n, "compatible", &p))
        return false;
    while (at < p.len && p.value[p.len - 1] == 0) {
        if (same((const char *)p.value + at, compatible))
            return true;
        while (p.value[at] != 0)
            at++;
        at++;
    }
    return false;
}

const char *fdt_text(const struct fdt *t, const struct fdt_node *n, const char *name)
{
    struct fdt_prop p;

    if (!fdt_prop(t, n, name, &p) || p.len == 0 || p.value[p.len - 1] != 0)
        return NULL;
    return (const char *)p.value;
}

bool fdt_enabled(const struct fdt *t, const struct fdt_node *n)
{
    const char *status = fdt_text(t, n, "status");

    return status == NULL || same(status, "okay") || same(status, "ok");
}

bool fdt_reg(const struct fdt *t, const struct fdt_node *n, uint32_t i, uint64_t *address, uint64_t *len)
{
    const struct fdt_cells *c;
    struct fdt_prop p;
    uint64_t first, end;

    if (n->depth == 0)
        return false;
    c = &n->cells[n->depth - 1];
    first = (uint64_t)i * (uint64_t)(c->address + c->size);
    return c->direct && c->address <= 2 && c->size <= 2 && first < UINT32_MAX / 8 && fdt_prop(t, n, "reg", &p) &&
           fdt_cells(&p, (uint32_t)first, c->address, address) &&
           fdt_cells(&p, (uint32_t)first + c->address, c->size, len) && vio_add_u64(*address, *len, &end);
}
