/* SPDX-License-Identifier: MIT */
/* Purpose: see pcapng.h. Where it sits: tests/unit/backend. */
#include "pcapng.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static uint32_t get32(const uint8_t *at)
{
    vio_le32 v;

    memcpy(&v, at, sizeof v);
    return vio_cpu(v);
}

static uint16_t get16(const uint8_t *at)
{
    vio_le16 v;

    memcpy(&v, at, sizeof v);
    return vio_cpu(v);
}

/* The value of an option, its length in *len; NULL: there is none. The list must end as it should. */
static const uint8_t *option(const uint8_t *at, const uint8_t *end, unsigned code, size_t *len)
{
    const uint8_t *found = NULL;

    for (;;) {
        assert_true(end - at >= 4);
        if (get16(at) == 0) {
            assert_int_equal(get16(at + 2), 0);
            assert_true(at + 4 == end);
            return found;
        }
        if (get16(at) == code) {
            found = at + 4;
            *len = get16(at + 2);
        }
        at += 4 + (get16(at + 2) + 3u) / 4 * 4;
    }
}

static const uint8_t *next_block(struct reader *r, uint32_t type, size_t *len)
{
    const uint8_t *block = r->bytes + r->at;

    if (r->at == r->len)
        return NULL;
    assert_true(r->len - r->at >= 12);
    *len = get32(block + 4);
    assert_int_equal(*len % 4, 0);
    assert_true(*len >= 12 && *len <= r->len - r->at);
    assert_int_equal(get32(block), type);
    assert_int_equal(get32(block + *len - 4), *len);
    r->at += *len;
    return block;
}

struct reader read_file(const char *path)
{
    struct reader r = { 0 };
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    r.len = (size_t)st.st_size;
    r.bytes = malloc(r.len + 1);
    assert_non_null(r.bytes);
    assert_int_equal(read(fd, r.bytes, r.len), st.st_size);
    close(fd);
    return r;
}

struct reader open_capture(const char *path)
{
    struct reader r = read_file(path);
    size_t len = 0, bytes = 0;
    const uint8_t *block = next_block(&r, 0x0a0d0d0a, &len), *value;

    assert_non_null(block);
    assert_int_equal(get32(block + 8), 0x1a2b3c4d);
    assert_int_equal(get16(block + 12), 1);
    assert_int_equal(get16(block + 14), 0);
    value = option(block + 24, block + len - 4, 1, &bytes);
    assert_non_null(value);
    assert_non_null(memmem(value, bytes, "vio", 3));

    block = next_block(&r, 1, &len);
    assert_non_null(block);
    assert_int_equal(get16(block + 8), 1);
    assert_int_equal(get32(block + 12), 0);
    value = option(block + 16, block + len - 4, 2, &bytes);
    assert_non_null(value);
    assert_int_equal(bytes, 4);
    assert_memory_equal(value, "net0", 4);
    value = option(block + 16, block + len - 4, 9, &bytes);
    assert_non_null(value);
    assert_int_equal(bytes, 1);
    assert_int_equal(value[0], 9);
    return r;
}

bool next_frame(struct reader *r, struct frame *f)
{
    size_t len = 0, bytes = 0;
    const uint8_t *block = next_block(r, 6, &len), *flags;

    if (!block)
        return false;
    assert_int_equal(get32(block + 8), 0);
    f->time_ns = (uint64_t)get32(block + 12) << 32 | get32(block + 16);
    f->len = get32(block + 20);
    assert_int_equal(get32(block + 24), f->len);
    f->bytes = block + 28;
    flags = option(block + 28 + (f->len + 3) / 4 * 4, block + len - 4, 2, &bytes);
    assert_non_null(flags);
    assert_int_equal(bytes, 4);
    f->flags = get32(flags);
    return true;
}
