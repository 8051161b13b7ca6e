/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a FUSE server of a small tree in memory, for tests of the file system driver, which can lie in every answer.
 * Threads: one.
 */
#ifndef VIO_TESTS_TREE_SERVER_H
#define VIO_TESTS_TREE_SERVER_H

#include "script_device.h"
#include "spec/fs.h"

enum { TREE_NODES = 64, TREE_FILE = 256 << 10, TREE_PAGE = 4096, TREE_WINDOW = 1 << 20 };

struct tree_node {
    bool used, directory;
    uint64_t parent;
    char name[256];
    uint8_t *bytes;
    uint64_t size;
    uint64_t lookups; /* that were not forgotten */
    unsigned opens;
};

struct tree_server {
    struct tree_node node[TREE_NODES]; /* by node id; 1 is the root */
    unsigned calls[64];
    bool began;
    uint32_t max_write;      /* 0: 128 KiB */
    uint32_t listing_max;    /* bytes of one READDIR at most; 0: as asked for */
    uint8_t *window;         /* TREE_WINDOW bytes, or NULL */
    /* How it lies. */
    int32_t error;           /* every answer's */
    int32_t len_more;        /* added to the answer's length */
    uint64_t unique_more;
    size_t cut;              /* answers end after so many bytes; 0: not */
    bool silent;             /* it writes nothing at all */
    bool node_zero;          /* what was found has no number */
    uint32_t took_more;      /* added to what a WRITE took */
    bool stuck;              /* listings do not move */
    uint32_t name_len;       /* of every entry of a listing; 0: the truth */
    char name_byte;          /* in every name of a listing; 0: none */
    uint32_t major, minor;   /* 0: 7, 31 */
    uint16_t alignment;      /* 0: 12 */
};

struct tree_server *tree_new(void);
void tree_free(struct tree_server *t);
/* As script.serve, with s->ctx a struct tree_server. */
size_t tree_serve(struct script *s, uint16_t queue, const uint8_t *in, size_t n, uint8_t *out, size_t max);

#endif
