/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the tests of all block backends share: requests made in one line, and waiting for them the way a
 * worker does (submit, reap, arm, poll). Where it sits: tests/unit/backend.
 */
#ifndef BACKEND_HELP_H
#define BACKEND_HELP_H

#include <vio/block.h>

#define TEST_SEGS 2048

struct request {
    struct vio_block_io io;
    struct vio_seg seg[TEST_SEGS];
    bool done;
};

/* A request over one buffer, cut into `pieces` segments. Taken back with request_free. */
struct request *request_make(uint8_t op, uint8_t flags, uint64_t offset, void *buffer, uint64_t length,
                             uint32_t pieces);

/* Sends all of them and waits until they are done, at most 30 seconds (then the test fails). */
void requests_run(struct vio_block_backend *b, struct vio_block_channel *c, struct request **r, unsigned n);
/* The two halves of it. sent: how many are in flight after that. */
unsigned requests_send(struct vio_block_backend *b, struct vio_block_channel *c, struct request **r, unsigned n);
void requests_wait(struct vio_block_backend *b, struct vio_block_channel *c, unsigned in_flight);

/* One request, done: its result. */
int run_one(struct vio_block_backend *b, struct vio_block_channel *c, uint8_t op, uint8_t flags, uint64_t offset,
            void *buffer, uint64_t length, uint32_t pieces);

struct vio_block_channel *channel_open(struct vio_block_backend *b, unsigned depth);
uint64_t backend_size(struct vio_block_backend *b);

/* Bytes that differ by place and seed. */
void pattern(void *buffer, uint64_t length, uint64_t offset, uint8_t seed);
bool pattern_is(const void *buffer, uint64_t length, uint64_t offset, uint8_t seed);
bool all_bytes(const void *buffer, uint64_t length, uint8_t byte);

/*
 * Random requests in batches, on size bytes of the disk, against a copy in memory: reads, writes, zeroes, discards
 * (whole 4096-byte blocks, which must read as zeroes), flushes, of sectors and blocks, in one or many pieces, at odd
 * addresses. Within a batch no two touch the same bytes.
 */
void model_run(struct vio_block_backend *b, uint64_t size, unsigned batches, unsigned seed);

/* A new file of this size in a folder (NULL: TMPDIR or /tmp); its path, which file_remove deletes and frees. */
char *file_make(const char *folder, uint64_t size);
void file_remove(char *path);

#endif
