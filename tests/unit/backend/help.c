/* SPDX-License-Identifier: MIT */
/* Purpose: see help.h. */
#include "help.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct request *request_make(uint8_t op, uint8_t flags, uint64_t offset, void *buffer, uint64_t length,
                             uint32_t pieces)
{
    struct request *r = calloc(1, sizeof *r);
    uint64_t at = 0;

    assert_non_null(r);
    assert_true(pieces <= TEST_SEGS);
    for (uint32_t i = 0; i < pieces; i++) {
        uint64_t end = i + 1 == pieces ? length : length / pieces * (i + 1);

        r->seg[i] = (struct vio_seg){ (uint8_t *)buffer + at, end - at };
        at = end;
    }
    r->io = (struct vio_block_io){
        .op = op, .flags = flags, .nr_seg = pieces, .offset = offset, .length = length, .seg = r->seg, .result = 1,
    };
    return r;
}

static void finished(struct vio_block_io **done, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct request *r = (struct request *)done[i];

        assert_false(r->done); /* nothing comes back twice */
        assert_true(r->io.result <= 0);
        r->done = true;
    }
}

unsigned requests_send(struct vio_block_backend *b, struct vio_block_channel *c, struct request **r, unsigned n)
{
    struct vio_block_io **io = calloc(n, sizeof *io), **done = calloc(n, sizeof *done);
    unsigned got;

    assert_non_null(io);
    assert_non_null(done);
    for (unsigned i = 0; i < n; i++)
        io[i] = &r[i]->io;
    got = b->ops->submit(c, io, n, done);
    assert_true(got <= n);
    finished(done, got);
    free(io);
    free(done);
    return n - got;
}

void requests_wait(struct vio_block_backend *b, struct vio_block_channel *c, unsigned in_flight)
{
    struct vio_block_io *done[7];
    unsigned idle = 0;

    while (in_flight) {
        unsigned got = b->ops->reap(c, done, in_flight < 7 ? in_flight : 7);
        struct pollfd p = { .fd = b->ops->fd(c), .events = POLLIN };

        finished(done, got);
        in_flight -= got;
        if (got || !in_flight)
            continue;
        assert_true(p.fd >= 0);
        if (!b->ops->arm || !b->ops->arm(c, true))
            idle += poll(&p, 1, 1000) == 0;
        if (b->ops->arm)
            b->ops->arm(c, false);
        assert_true(idle < 30);
    }
}

void requests_run(struct vio_block_backend *b, struct vio_block_channel *c, struct request **r, unsigned n)
{
    requests_wait(b, c, requests_send(b, c, r, n));
    for (unsigned i = 0; i < n; i++)
        assert_true(r[i]->done);
}

int run_one(struct vio_block_backend *b, struct vio_block_channel *c, uint8_t op, uint8_t flags, uint64_t offset,
            void *buffer, uint64_t length, uint32_t pieces)
{
    struct request *r = request_make(op, flags, offset, buffer, length, pieces);
    int result;

    requests_run(b, c, &r, 1);
    result = r->io.result;
    free(r);
    return result;
}

struct vio_block_channel *channel_open(struct vio_block_backend *b, unsigned depth)
{
    struct vio_block_channel *c = NULL;

    assert_int_equal(b->ops->open(b, depth, NULL, &c), 0);
    return c;
}

uint64_t backend_size(struct vio_block_backend *b)
{
    struct vio_block_info info;

    assert_int_equal(b->ops->info(b, &info), 0);
    return info.size;
}

static uint8_t pattern_byte(uint64_t at, uint8_t seed)
{
    return (uint8_t)((at * 7 + (at >> 9) * 13 + (at >> 17)) ^ seed);
}

void pattern(void *buffer, uint64_t length, uint64_t offset, uint8_t seed)
{
    for (uint64_t i = 0; i < length; i++)
        ((uint8_t *)buffer)[i] = pattern_byte(offset + i, seed);
}

bool pattern_is(const void *buffer, uint64_t length, uint64_t offset, uint8_t seed)
{
    for (uint64_t i = 0; i < length; i++)
        if (((const uint8_t *)buffer)[i] != pattern_byte(offset + i, seed))
            return false;
    return true;
}

bool all_bytes(const void *buffer, uint64_t length, uint8_t byte)
{
    for (uint64_t i = 0; i < length; i++)
        if (((const uint8_t *)buffer)[i] != byte)
            return false;
    return true;
}

/* ------------------------------------------------------------------ the model */

#define MODEL_BATCH 8u

struct model {
    struct vio_block_backend *b;
    struct vio_block_channel *c;
    uint64_t size;
    uint8_t *copy;
    unsigned seed;
    struct vio_block_info info;
};

static uint64_t draw(struct model *m, uint64_t n)
{
    return (uint64_t)rand_r(&m->seed) % n;
}

/* One request inside [at, at + room), and its effect on the copy. A read is compared when it is done. */
static struct request *model_request(struct model *m, uint64_t at, uint64_t room, uint8_t *buffer)
{
    uint64_t unit = draw(m, 3) ? 512 : 4096, first = draw(m, room / unit), n = 1 + draw(m, room / unit - first);
    uint64_t offset = at + first * unit, length = n * unit;
    uint8_t op = (uint8_t)draw(m, 7), flags = draw(m, 4) ? 0 : VIO_BLOCK_IO_FUA;
    uint32_t pieces = draw(m, 2) ? 1 : (uint32_t)(1 + draw(m, n < 40 ? n : 40));

    if (op == VIO_BLOCK_DISCARD && m->info.can_discard && unit == 4096) {
        memset(m->copy + offset, 0, length);
        return request_make(op, flags, offset, NULL, length, 0);
    }
    if (op == VIO_BLOCK_WRITE_ZEROES && m->info.can_zero) {
        memset(m->copy + offset, 0, length);
        flags |= (uint8_t)(draw(m, 2) ? VIO_BLOCK_IO_UNMAP : 0);
        return request_make(op, flags, offset, NULL, length, 0);
    }
    if (op == VIO_BLOCK_FLUSH)
        return request_make(op, 0, 0, NULL, 0, 0);
    op = op % 2 ? VIO_BLOCK_WRITE : VIO_BLOCK_READ;
    if (op == VIO_BLOCK_WRITE) {
        pattern(buffer, length, offset, (uint8_t)draw(m, 256));
        memcpy(m->copy + offset, buffer, length);
    }
    return request_make(op, flags, offset, buffer, length, pieces);
}

void model_run(struct vio_block_backend *b, uint64_t size, unsigned batches, unsigned seed)
{
    struct model m = { .b = b, .c = channel_open(b, MODEL_BATCH), .size = size, .copy = malloc(size), .seed = seed };
    uint64_t room = size / MODEL_BATCH / 4096 * 4096;
    uint8_t *buffers = aligned_alloc(4096, size + 4096);
    struct request *r[MODEL_BATCH];

    assert_int_equal(b->ops->info(b, &m.info), 0);
    assert_int_equal(run_one(b, m.c, VIO_BLOCK_READ, 0, 0, m.copy, size, 1), 0);
    for (unsigned batch = 0; batch < batches; batch++) {
        static const unsigned odd[] = { 0, 0, 512, 8, 3 };
        uint8_t *buffer = buffers + odd[draw(&m, 5)];

        for (unsigned i = 0; i < MODEL_BATCH; i++)
            r[i] = model_request(&m, i * room, room, buffer + i * room);
        requests_run(b, m.c, r, MODEL_BATCH);
        for (unsigned i = 0; i < MODEL_BATCH; i++) {
            assert_int_equal(r[i]->io.result, 0);
            if (r[i]->io.op == VIO_BLOCK_READ)
                assert_memory_equal(buffer + i * room, m.copy + r[i]->io.offset, r[i]->io.length);
            free(r[i]);
        }
    }
    assert_int_equal(run_one(b, m.c, VIO_BLOCK_READ, 0, 0, buffers, size, 1), 0);
    assert_memory_equal(buffers, m.copy, size);
    b->ops->close(m.c);
    free(buffers);
    free(m.copy);
}

char *file_make(const char *folder, uint64_t size)
{
    const char *tmp = getenv("TMPDIR");
    char *path = NULL;
    int fd;

    if (!folder)
        folder = tmp && *tmp ? tmp : "/tmp";
    assert_true(asprintf(&path, "%s/vio-test-XXXXXX", folder) > 0);
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    close(fd);
    return path;
}

void file_remove(char *path)
{
    unlink(path);
    free(path);
}
