/* SPDX-License-Identifier: MIT */
/*
 * Purpose: reads a pcapng file back, block by block; whatever is not as it should be fails the test.
 * Where it sits: tests/unit/backend.
 */
#ifndef TESTS_PCAPNG_H
#define TESTS_PCAPNG_H

#include <vio/types.h>

struct reader {
    uint8_t *bytes;
    size_t len, at;
};

struct frame {
    uint64_t time_ns;
    uint32_t len, flags;
    const uint8_t *bytes;
};

/* Its bytes are the caller's to free. */
struct reader read_file(const char *path);
/* Past the heads, which must be vio's for the interface "net0". */
struct reader open_capture(const char *path);
/* False: that was all. */
bool next_frame(struct reader *r, struct frame *f);

#endif
