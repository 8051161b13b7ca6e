/* SPDX-License-Identifier: MIT */
#include "tree_server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct tree_server *tree_new(void)
{
    struct tree_server *t = calloc(1, sizeof(*t));

    t->node[FUSE_ROOT_ID] = (struct tree_node){ .used = true, .directory = true };
    return t;
}

void tree_free(struct tree_server *t)
{
    for (unsigned i = 0; i < TREE_NODES; i++)
        free(t->node[i].bytes);
    free(t->window);
    free(t);
}

/* ------------------------------------------------------------------ nodes */

static struct tree_node *node_of(struct tree_server *t, uint64_t id)
{
    return id < TREE_NODES && t->node[id].used ? &t->node[id] : NULL;
}

static uint64_t find(struct tree_server *t, uint64_t parent, const char *name)
{
    for (uint64_t i = 2; i < TREE_NODES; i++)
        if (t->node[i].used && t->node[i].parent == parent && strcmp(t->node[i].name, name) == 0)
            return i;
    return 0;
}

static uint64_t make(struct tree_server *t, uint64_t parent, const char *name, bool directory)
{
    for (uint64_t i = 2; i < TREE_NODES; i++) {
        if (t->node[i].used)
            continue;
        t->node[i] = (struct tree_node){ .used = true, .directory = directory, .parent = parent };
        strncpy(t->node[i].name, name, sizeof(t->node[i].name) - 1);
        if (!directory)
            t->node[i].bytes = calloc(1, TREE_FILE);
        return i;
    }
    return 0;
}

static struct fuse_attr attr_of(const struct tree_server *t, uint64_t id)
{
    const struct tree_node *n = &t->node[id];

    return (struct fuse_attr){
        .ino = vio_le64_of(id), .size = vio_le64_of(n->size), .blocks = vio_le64_of((n->size + 511) / 512),
        .mtime = vio_le64_of(1000000), .mode = vio_le32_of(n->directory ? 0x41ed : 0x81a4), .nlink = vio_le32_of(1),
    };
}

static int entry(struct tree_server *t, uint64_t id, struct fuse_entry_out *out)
{
    if (id == 0)
        return -ENOENT;
    t->node[id].lookups++;
    *out = (struct fuse_entry_out){ .nodeid = vio_le64_of(t->node_zero ? 0 : id), .attr = attr_of(t, id) };
    return sizeof(*out);
}

/* ------------------------------------------------------------------ each request: bytes behind the header, or -errno */

struct ask {
    uint64_t node;
    uint32_t opcode;
    const uint8_t *args;
    size_t n;
    uint8_t *out;
    size_t max;
};

static int on_init(struct tree_server *t, const struct ask *a)
{
    struct fuse_init_out out = {
        .major = vio_le32_of(t->major != 0 ? t->major : 7), .minor = vio_le32_of(t->minor != 0 ? t->minor : 31),
        .flags = vio_le32_of(FUSE_MAP_ALIGNMENT | FUSE_BIG_WRITES), .max_write = vio_le32_of(t->max_write != 0 ? t->max_write : 128 << 10),
        .map_alignment = vio_le16_of(t->alignment != 0 ? t->alignment : 12),
    };

    if (a->n != sizeof(struct fuse_init_in))
        return -EINVAL;
    t->began = true;
    memcpy(a->out, &out, sizeof(out));
    return sizeof(out);
}

static int on_named(struct tree_server *t, const struct ask *a, size_t skip)
{
    const char *name = (const char *)a->args + skip;
    struct fuse_create_out out;
    uint64_t id;
    int len;

    if (a->n <= skip || memchr(name, 0, a->n - skip) != name + (a->n - skip) - 1)
        abort(); /* the driver's names end where their bytes end */
    id = find(t, a->node, name);
    switch (a->opcode) {
    case FUSE_LOOKUP:
        return entry(t, id, (struct fuse_entry_out *)(void *)a->out);
    case FUSE_MKDIR:
        return id != 0 ? -EEXIST : entry(t, make(t, a->node, name, true), (struct fuse_entry_out *)(void *)a->out);
    case FUSE_CREATE:
        len = entry(t, id != 0 ? id : make(t, a->node, name, false), &out.entry);
        if (len < 0)
            return len;
        id = find(t, a->node, name);
        t->node[id].opens++;
        out.open = (struct fuse_open_out){ .fh = vio_le64_of(id + 100) };
        memcpy(a->out, &out, sizeof(out));
        return sizeof(out);
    default:
        if (id == 0)
            return -ENOENT;
        if (t->node[id].directory != (a->opcode == FUSE_RMDIR))
            return a->opcode == FUSE_RMDIR ? -ENOTDIR : -EISDIR;
        free(t->node[id].bytes);
        t->node[id] = (struct tree_node){ .used = false };
        return 0;
    }
}

static int on_open(struct tree_server *t, const struct ask *a)
{
    struct fuse_open_out out = { .fh = vio_le64_of(a->node + 100) };
    struct tree_node *n = node_of(t, a->node);

    if (n == NULL)
        return -ENOENT;
    if (n->directory != (a->opcode == FUSE_OPENDIR))
        return n->directory ? -EISDIR : -ENOTDIR;
    n->opens++;
    memcpy(a->out, &out, sizeof(out));
    return sizeof(out);
}

static int on_readdir(struct tree_server *t, const struct ask *a, uint64_t from, size_t max)
{
    size_t at = 0;

    if (t->listing_max != 0 && max > t->listing_max)
        max = t->listing_max;
    for (uint64_t i = from < 2 ? 2 : from; i < TREE_NODES; i++) {
        struct tree_node *n = &t->node[i];
        size_t len = strlen(n->name), whole = (sizeof(struct fuse_dirent) + len + 7) & ~(size_t)7;
        struct fuse_dirent d = {
            .ino = vio_le64_of(i), .off = vio_le64_of(t->stuck ? from : i + 1), .type = vio_le32_of(n->directory ? 4 : 8),
            .namelen = vio_le32_of(t->name_len != 0 ? t->name_len : (uint32_t)len),
        };

        if (!n->used || n->parent != a->node)
            continue;
        if (at + whole > max)
            break;
        memcpy(a->out + at, &d, sizeof(d));
        memcpy(a->out + at + sizeof(d), n->name, len);
        if (t->name_byte != 0)
            a->out[at + sizeof(d)] = (uint8_t)(t->name_byte == 1 ? 0 : t->name_byte);
        at += whole;
    }
    return (int)at;
}

static int on_io(struct tree_server *t, const struct ask *a)
{
    struct fuse_io_in in;
    struct fuse_write_out out;
    struct tree_node *n = node_of(t, a->node);
    uint64_t offset, size;

    if (a->n < sizeof(in) || n == NULL)
        return -EINVAL;
    memcpy(&in, a->args, sizeof(in));
    offset = vio_cpu(in.offset);
    size = vio_cpu(in.size);
    if (n->directory != (a->opcode == FUSE_READDIR))
        return -EISDIR;
    if (vio_cpu(in.fh) != a->node + 100 || n->opens == 0)
        return -EBADF;
    if (a->opcode == FUSE_READDIR)
        return on_readdir(t, a, offset, size < a->max ? size : a->max);
    if (a->opcode == FUSE_READ) {
        if (offset >= n->size)
            return 0;
        if (size > n->size - offset)
            size = n->size - offset;
        memcpy(a->out, n->bytes + offset, size);
        return (int)size;
    }
    if (size != a->n - sizeof(in) || offset > TREE_FILE || size > TREE_FILE - offset)
        return -EFBIG;
    memcpy(n->bytes + offset, a->args + sizeof(in), size);
    n->size = offset + size > n->size ? offset + size : n->size;
    out = (struct fuse_write_out){ .size = vio_le32_of((uint32_t)size + t->took_more) };
    memcpy(a->out, &out, sizeof(out));
    return sizeof(out);
}

static int on_mapping(struct tree_server *t, const struct ask *a)
{
    struct fuse_setupmapping_in in;
    struct tree_node *n = node_of(t, a->node);

    if (a->opcode == FUSE_REMOVEMAPPING)
        return a->n == sizeof(struct fuse_removemapping_in) ? 0 : -EINVAL;
    memcpy(&in, a->args, sizeof(in));
    if (t->window == NULL || n == NULL || n->bytes == NULL || !vio_range_ok(vio_cpu(in.moffset), vio_cpu(in.len), TREE_WINDOW) ||
        !vio_range_ok(vio_cpu(in.foffset), vio_cpu(in.len), TREE_FILE))
        return -EINVAL;
    memcpy(t->window + vio_cpu(in.moffset), n->bytes + vio_cpu(in.foffset), vio_cpu(in.len));
    return 0;
}

static int perform(struct tree_server *t, const struct ask *a)
{
    struct fuse_attr_out attr;
    struct fuse_statfs_out stat = { .blocks = vio_le64_of(1000), .bfree = vio_le64_of(500), .bsize = vio_le32_of(4096),
                                    .namelen = vio_le32_of(255) };

    if (!t->began && a->opcode != FUSE_INIT)
        return -EINVAL;
    switch (a->opcode) {
    case FUSE_INIT:
        return on_init(t, a);
    case FUSE_LOOKUP:
    case FUSE_UNLINK:
    case FUSE_RMDIR:
        return on_named(t, a, 0);
    case FUSE_MKDIR:
        return on_named(t, a, sizeof(struct fuse_mkdir_in));
    case FUSE_CREATE:
        return on_named(t, a, sizeof(struct fuse_create_in));
    case FUSE_GETATTR:
        if (node_of(t, a->node) == NULL)
            return -ENOENT;
        attr = (struct fuse_attr_out){ .attr = attr_of(t, a->node) };
        memcpy(a->out, &attr, sizeof(attr));
        return sizeof(attr);
    case FUSE_STATFS:
        memcpy(a->out, &stat, sizeof(stat));
        return sizeof(stat);
    case FUSE_OPEN:
    case FUSE_OPENDIR:
        return on_open(t, a);
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
        if (node_of(t, a->node) == NULL)
            return -EBADF;
        t->node[a->node].opens--;
        return 0;
    case FUSE_READ:
    case FUSE_READDIR:
    case FUSE_WRITE:
        return on_io(t, a);
    case FUSE_SETUPMAPPING:
    case FUSE_REMOVEMAPPING:
        return on_mapping(t, a);
    case FUSE_DESTROY:
        t->began = false;
        return 0;
    default:
        return 0;
    }
}

size_t tree_serve(struct script *s, uint16_t queue, const uint8_t *in, size_t n, uint8_t *out, size_t max)
{
    struct tree_server *t = s->ctx;
    struct fuse_in_header header;
    struct fuse_out_header answer;
    struct ask a;
    size_t len;
    int got;

    if (n < sizeof(header))
        abort();
    memcpy(&header, in, sizeof(header));
    if (vio_cpu(header.len) != n)
        abort();
    a = (struct ask){ .node = vio_cpu(header.nodeid), .opcode = vio_cpu(header.opcode), .args = in + sizeof(header),
                      .n = n - sizeof(header), .out = out + sizeof(answer), .max = max - sizeof(answer) };
    t->calls[a.opcode % 64]++;
    if (queue == VIRTIO_FS_HIPRIO) {
        struct fuse_forget_in forget;

        if (a.opcode != FUSE_FORGET || a.n != sizeof(forget) || max != 0)
            abort();
        memcpy(&forget, a.args, sizeof(forget));
        if (a.node < TREE_NODES)
            t->node[a.node].lookups -= vio_cpu(forget.nlookup);
        return 0;
    }
    if (max < sizeof(answer))
        abort();
    got = t->error != 0 ? t->error : perform(t, &a);
    len = sizeof(answer) + (got > 0 && t->error == 0 ? (size_t)got : 0);
    if (len > max)
        len = max;
    answer = (struct fuse_out_header){ .len = vio_le32_of((uint32_t)((int64_t)len + t->len_more)),
                                       .error = vio_le32_of((uint32_t)(got < 0 || t->error != 0 ? got : 0)),
                                       .unique = vio_le64_of(vio_cpu(header.unique) + t->unique_more) };
    memcpy(out, &answer, sizeof(answer));
    if (t->silent)
        return 0;
    return t->cut != 0 && len > t->cut ? t->cut : len;
}
