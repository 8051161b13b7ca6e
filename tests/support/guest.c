/* SPDX-License-Identifier: MIT */
/* Purpose: see guest.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support/guest.h"

static char context[512];

void test_context(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(context, sizeof(context), format, args);
    va_end(args);
}

_Noreturn void test_fail_(const char *file, int line, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "not ok - %s\n# %s:%d: ", context, file, line);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    fflush(NULL);
    _exit(1);
}

static void *must(void *p)
{
    if (p == NULL)
        FAIL("out of memory");
    return p;
}

/* Exactly this size, so that a sanitizer sees the first byte beyond. */
static void *aligned_zeroes(size_t size)
{
    void *p;

    if (posix_memalign(&p, 64, size) != 0)
        FAIL("out of memory");
    memset(p, 0, size);
    return p;
}

static void add_block(struct guest *g, uint64_t gpa, uint64_t size, uint8_t *host, void *owned)
{
    struct vio_memory_region r = { .gpa = gpa, .size = size, .uva = gpa };

    g->block = must(realloc(g->block, (g->nr_block + 1) * sizeof(*g->block)));
    g->block[g->nr_block++] = (struct guest_block){ gpa, size, host, owned };
    if (vio_memory_add_host(g->memory, &r, host) != 0)
        FAIL("region %llx + %llx refused", (unsigned long long)gpa, (unsigned long long)size);
}

/* One area of its own, at the next address that is aligned. */
static uint64_t add_area(struct guest *g, size_t size, void **host)
{
    uint64_t gpa = (g->end + 63) & ~UINT64_C(63);

    *host = aligned_zeroes(size);
    add_block(g, gpa, size, *host, *host);
    g->end = gpa + size;
    return gpa;
}

static uint32_t piece_size(struct rng *rng, uint64_t left, uint32_t pieces)
{
    uint32_t n = rng_below(rng, 3) == 0 ? rng_range(rng, 1, 40) : rng_range(rng, 1, 8192);

    if (n > left || pieces == 0)
        n = (uint32_t)left;
    return n;
}

/* The table area is one piece for the driver; for the device it falls into regions anywhere. */
static void add_table(struct guest *g, const struct guest_cfg *cfg, struct rng *rng)
{
    uint64_t left = cfg->table_bytes;
    uint8_t *at;
    uint32_t pieces = cfg->tiny ? 100 : 0;

    if (left == 0)
        return;
    at = aligned_zeroes(left);
    g->table = (g->end + 63) & ~UINT64_C(63);
    g->table_host = at;
    g->end = g->table;
    while (left > 0) {
        uint32_t n = piece_size(rng, left, pieces);

        add_block(g, g->end, n, at, at == g->table_host ? at : NULL);
        g->end += n;
        at += n;
        left -= n;
        pieces -= pieces > 0;
    }
}

static void add_payload(struct guest *g, const struct guest_cfg *cfg, struct rng *rng)
{
    uint64_t left = cfg->payload_size;
    uint32_t pieces = cfg->tiny ? 800 : 0;

    g->payload = (g->end + 4095) & ~UINT64_C(4095);
    g->payload_size = left;
    g->end = g->payload;
    while (left > 0) {
        uint32_t n = piece_size(rng, left, pieces);
        uint8_t *host = must(malloc(n));

        for (uint32_t i = 0; i < n; i++)
            host[i] = (uint8_t)rng_u64(rng);
        add_block(g, g->end, n, host, host);
        g->end += n;
        left -= n;
        pieces -= pieces > 0;
    }
    g->granules = cfg->payload_size / GUEST_GRANULE;
    g->granule = must(calloc(g->granules, 1));
}

struct guest *guest_create(const struct guest_cfg *cfg, struct rng *rng)
{
    struct guest *g = must(calloc(1, sizeof(*g)));
    struct vio_queue_layout l = vio_queue_layout(cfg->size, cfg->packed);

    if (vio_memory_create(&g->memory) != 0)
        FAIL("no memory object");
    g->end = GUEST_BASE;
    g->desc = add_area(g, l.desc_bytes, &g->desc_host);
    g->driver = add_area(g, l.driver_bytes, &g->driver_host);
    g->device = add_area(g, l.device_bytes, &g->device_host);
    add_table(g, cfg, rng);
    add_payload(g, cfg, rng);
    return g;
}

struct guest *guest_clone(const struct guest *from)
{
    struct guest *g = must(calloc(1, sizeof(*g)));
    uint64_t table_end = 0;
    uint8_t *table = NULL;

    *g = *from;
    g->block = NULL;
    g->nr_block = 0;
    g->granule = must(malloc(from->granules));
    memcpy(g->granule, from->granule, from->granules);
    if (vio_memory_create(&g->memory) != 0)
        FAIL("no memory object");
    for (uint32_t i = 0; i < from->nr_block; i++) {
        const struct guest_block *b = &from->block[i];
        uint8_t *host, *owned;

        if (b->owned != NULL && b->owned == from->table_host) {
            table_end = from->payload;
            table = aligned_zeroes(table_end - from->table);
            g->table_host = table;
        }
        if (b->gpa < table_end) {
            host = table + (b->gpa - from->table);
            owned = host == table ? table : NULL;
        } else {
            host = owned = aligned_zeroes(b->size);
        }
        memcpy(host, b->host, b->size);
        add_block(g, b->gpa, b->size, host, owned);
        if (b->host == from->desc_host)
            g->desc_host = host;
        if (b->host == from->driver_host)
            g->driver_host = host;
        if (b->host == from->device_host)
            g->device_host = host;
    }
    return g;
}

void guest_destroy(struct guest *g)
{
    if (g == NULL)
        return;
    vio_memory_destroy(g->memory);
    for (uint32_t i = 0; i < g->nr_block; i++)
        free(g->block[i].owned);
    free(g->block);
    free(g->granule);
    free(g);
}

static struct guest_block *find(const struct guest *g, uint64_t gpa)
{
    uint32_t lo = 0, hi = g->nr_block;

    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;

        if (g->block[mid].gpa + g->block[mid].size <= gpa)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == g->nr_block || gpa < g->block[lo].gpa)
        FAIL("the test itself uses address %llx, where nothing is", (unsigned long long)gpa);
    return &g->block[lo];
}

void guest_remap(struct guest *g, struct rng *rng)
{
    struct guest_block *b = find(g, g->payload + rng_below(rng, (uint32_t)g->payload_size));
    struct vio_memory_region r = { .gpa = b->gpa, .size = b->size, .uva = b->gpa };
    uint8_t *host = must(malloc(b->size));

    memcpy(host, b->host, b->size);
    if (vio_memory_remove(g->memory, &r) != 0 || vio_memory_add_host(g->memory, &r, host) != 0)
        FAIL("a region can't be moved");
    free(b->owned);
    b->host = b->owned = host;
}

void guest_write(struct guest *g, uint64_t gpa, const void *from, uint64_t len)
{
    const uint8_t *p = from;

    while (len > 0) {
        struct guest_block *b = find(g, gpa);
        uint64_t n = vio_min_u64(len, b->gpa + b->size - gpa);

        memcpy(b->host + (gpa - b->gpa), p, n);
        gpa += n;
        p += n;
        len -= n;
    }
}

void guest_read(const struct guest *g, uint64_t gpa, void *to, uint64_t len)
{
    uint8_t *p = to;

    while (len > 0) {
        struct guest_block *b = find(g, gpa);
        uint64_t n = vio_min_u64(len, b->gpa + b->size - gpa);

        memcpy(p, b->host + (gpa - b->gpa), n);
        gpa += n;
        p += n;
        len -= n;
    }
}

uint8_t guest_byte(const struct guest *g, uint64_t gpa)
{
    uint8_t byte;

    guest_read(g, gpa, &byte, 1);
    return byte;
}

void guest_image(const struct guest *g, uint8_t *to)
{
    memset(to, 0, g->end - GUEST_BASE);
    for (uint32_t i = 0; i < g->nr_block; i++)
        memcpy(to + (g->block[i].gpa - GUEST_BASE), g->block[i].host, g->block[i].size);
}

uint64_t guest_alloc(struct guest *g, struct rng *rng, uint32_t len)
{
    uint32_t need = (len + GUEST_GRANULE - 1) / GUEST_GRANULE, run = 0;
    uint32_t slack = need * GUEST_GRANULE - len;

    if (need > g->granules)
        return 0;
    for (uint32_t tried = 0; tried < 512 + need; tried++) {
        if (g->cursor == g->granules) {
            g->cursor = 0;
            run = 0;
        }
        run = g->granule[g->cursor++] != 0 ? 0 : run + 1;
        if (run == need) {
            memset(g->granule + (g->cursor - need), 1, need);
            return g->payload + (uint64_t)(g->cursor - need) * GUEST_GRANULE + rng_below(rng, slack + 1);
        }
    }
    return 0;
}

void guest_release(struct guest *g, uint64_t gpa, uint32_t len)
{
    uint64_t first = (gpa - g->payload) / GUEST_GRANULE, need = (len + GUEST_GRANULE - 1) / GUEST_GRANULE;

    memset(g->granule + first, 0, need);
}

static size_t queue_mem_whole(size_t bytes)
{
    return ((bytes + 4095) & ~(size_t)4095) + 4096;
}

void *queue_mem(size_t bytes)
{
    size_t whole = queue_mem_whole(bytes);
    uint8_t *p = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED || mprotect(p + whole - 4096, 4096, PROT_NONE) != 0)
        FAIL("no memory for a queue of %zu bytes", bytes);
    return p + (whole - 4096 - ((bytes + 63) & ~(size_t)63));
}

void queue_mem_free(void *mem, size_t bytes)
{
    size_t whole = queue_mem_whole(bytes);

    munmap((uint8_t *)mem - (whole - 4096 - ((bytes + 63) & ~(size_t)63)), whole);
}
