/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the memory of a driver in the same process, for ring tests: ring areas, indirect tables and payload, as
 * many regions of any size, each with host bytes of its own (so that a sanitizer sees a step beyond), neighbours in
 * guest addresses and strangers in the host. Its translation is its own, not vio's.
 */
#ifndef VIO_TEST_GUEST_H
#define VIO_TEST_GUEST_H

#include <vio/memory.h>
#include <vio/queue.h>

#include "support/rng.h"

struct guest_block {
    uint64_t gpa;
    uint64_t size;
    uint8_t *host;
    void *owned; /* what free() wants, or NULL */
};

struct guest {
    struct vio_memory *memory;
    struct guest_block *block; /* by gpa */
    uint32_t nr_block;
    uint64_t desc, driver, device, table; /* guest addresses */
    void *desc_host, *driver_host, *device_host, *table_host;
    uint64_t payload, payload_size;
    uint64_t end;       /* one past the last address */
    uint8_t *granule;   /* payload in use, by 32 bytes */
    uint32_t granules, cursor;
};

struct guest_cfg {
    uint16_t size;
    bool packed;
    uint32_t table_bytes;  /* room for indirect tables; may be 0 */
    uint32_t payload_size;
    bool tiny;             /* payload and tables in many regions, down to a byte */
};

enum { GUEST_BASE = 0x10000, GUEST_GRANULE = 32 };

/* Ends the program where memory is short: a test can't go on. */
struct guest *guest_create(const struct guest_cfg *cfg, struct rng *rng);
/* The same addresses, sizes and bytes in other host memory. */
struct guest *guest_clone(const struct guest *from);
void guest_destroy(struct guest *g);

/* Moves one payload region to other host memory, contents and all, while nothing runs. */
void guest_remap(struct guest *g, struct rng *rng);

void guest_write(struct guest *g, uint64_t gpa, const void *from, uint64_t len);
void guest_read(const struct guest *g, uint64_t gpa, void *to, uint64_t len);
uint8_t guest_byte(const struct guest *g, uint64_t gpa);
/* All bytes from GUEST_BASE on, gaps as 0: end - GUEST_BASE of them. */
void guest_image(const struct guest *g, uint8_t *to);

/* Free payload bytes, not aligned; 0: none. */
uint64_t guest_alloc(struct guest *g, struct rng *rng, uint32_t len);
void guest_release(struct guest *g, uint64_t gpa, uint32_t len);

/* Zeroed memory for a queue, ending where an inaccessible page begins (64-byte aligned). */
void *queue_mem(size_t bytes);
void queue_mem_free(void *mem, size_t bytes);

/* Prints the message with file and line and ends the program with 1. */
#define FAIL(...) test_fail_(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(cond)                                                                                 \
    do {                                                                                            \
        if (!(cond))                                                                                \
            FAIL("not so: %s", #cond);                                                              \
    } while (0)
_Noreturn void test_fail_(const char *file, int line, const char *format, ...) VIO_PRINTF(3, 4);
/* What FAIL says first: which run it was. */
void test_context(const char *format, ...) VIO_PRINTF(1, 2);

#endif
