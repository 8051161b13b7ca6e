/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the bytes of one request, taken from the front and only once.
 * Where it sits: memory/; freestanding. Threads: the owner of the request.
 */
#ifndef VIO_CURSOR_H
#define VIO_CURSOR_H

#include <vio/types.h>

VIO_PUBLIC_BEGIN

/*
 * Device-readable and device-writable bytes, consumed from the front. No peek, no seek: what was read once
 * cannot be read again. The segments are private copies; the bytes they name are shared with the driver.
 */
struct vio_reader {
    struct vio_seg *seg;
    uint32_t nr;
    uint64_t left; /* bytes */
};

struct vio_writer {
    struct vio_seg *seg;
    uint32_t nr;
    uint64_t left;    /* bytes */
    uint64_t written; /* contiguous from the start of the writable part (virtio 1.4, 2.7.8.2) */
    bool last_taken_;
};

/* Part of the functions below, out of line: what is not the common case. */
bool vio_reader_get_slow_(struct vio_reader *r, void *to, size_t n);

/*
 * Copies and consumes n bytes; false, nothing consumed, where fewer are left. The common case, all in one segment, is
 * inline, since a device reads one small header for each request.
 */
static inline VIO_MUST_CHECK bool vio_reader_get(struct vio_reader *r, void *to, size_t n)
{
    struct vio_seg *seg = r->seg;

    if (__builtin_expect(r->nr == 0 || seg->len < n, 0))
        return vio_reader_get_slow_(r, to, n);
    __builtin_memcpy(to, seg->base, n);
    seg->base = (uint8_t *)seg->base + n;
    seg->len -= n;
    r->left -= n;
    if (seg->len == 0) {
        r->seg++;
        r->nr--;
    }
    return true;
}

bool vio_writer_put(struct vio_writer *w, const void *from, size_t n) VIO_MUST_CHECK;
/* Up to n bytes; how many is returned. */
size_t vio_reader_get_some(struct vio_reader *r, void *to, size_t n);
size_t vio_writer_put_some(struct vio_writer *w, const void *from, size_t n);
bool vio_writer_zero(struct vio_writer *w, uint64_t n) VIO_MUST_CHECK;
/*
 * For system calls only, never for parsing: the remaining segments (r->seg, r->nr) may be handed to readv and the
 * like; afterwards `n` of the bytes are declared consumed or written.
 */
void vio_reader_skip(struct vio_reader *r, uint64_t n);
void vio_writer_wrote(struct vio_writer *w, uint64_t n);

/*
 * Takes the last byte off the writable part (a block request's status, virtio 1.4, 5.2.6): NULL where there is none.
 * The byte's address is valid until the request is put.
 */
static inline uint8_t *vio_writer_take_last(struct vio_writer *w)
{
    struct vio_seg *last;

    if (w->left == 0 || w->nr == 0 || w->last_taken_)
        return NULL;
    last = &w->seg[w->nr - 1];
    last->len--;
    w->left--;
    w->last_taken_ = true;
    if (last->len == 0)
        w->nr--;
    return (uint8_t *)last->base + last->len;
}

VIO_PUBLIC_END

#endif
