/* SPDX-License-Identifier: MIT */
/*
 * Purpose: consuming a request's bytes, piece by piece; see vio/cursor.h. Where it sits: memory/, for the copies
 * dereference shared memory. Freestanding. Trust: the bytes may change under us; each is read once.
 */
#include <vio/cursor.h>

/* The compiler's builtin where there is no libc: freestanding code may use mem* only. */
#define copy_bytes __builtin_memcpy

static void seg_eat(struct vio_seg **seg, uint32_t *nr, size_t n)
{
    (*seg)->base = (uint8_t *)(*seg)->base + n;
    (*seg)->len -= n;
    if ((*seg)->len == 0) {
        ++*seg;
        --*nr;
    }
}

size_t vio_reader_get_some(struct vio_reader *r, void *to, size_t n)
{
    size_t done = 0;

    while (done < n && r->nr > 0) {
        size_t part = r->seg->len < n - done ? r->seg->len : n - done;

        copy_bytes((uint8_t *)to + done, r->seg->base, part);
        seg_eat(&r->seg, &r->nr, part);
        done += part;
    }
    r->left -= done;
    return done;
}

bool vio_reader_get_slow_(struct vio_reader *r, void *to, size_t n)
{
    if (n > r->left)
        return false;
    return vio_reader_get_some(r, to, n) == n;
}

void vio_reader_skip(struct vio_reader *r, uint64_t n)
{
    n = vio_min_u64(n, r->left);
    r->left -= n;
    while (n > 0 && r->nr > 0) {
        size_t part = (size_t)vio_min_u64(r->seg->len, n);

        seg_eat(&r->seg, &r->nr, part);
        n -= part;
    }
}

size_t vio_writer_put_some(struct vio_writer *w, const void *from, size_t n)
{
    size_t done = 0;

    while (done < n && w->nr > 0) {
        size_t part = w->seg->len < n - done ? w->seg->len : n - done;

        copy_bytes(w->seg->base, (const uint8_t *)from + done, part);
        seg_eat(&w->seg, &w->nr, part);
        done += part;
    }
    w->left -= done;
    w->written += done;
    return done;
}

bool vio_writer_put(struct vio_writer *w, const void *from, size_t n)
{
    if (n > w->left)
        return false;
    return vio_writer_put_some(w, from, n) == n;
}

bool vio_writer_zero(struct vio_writer *w, uint64_t n)
{
    if (n > w->left)
        return false;
    w->left -= n;
    w->written += n;
    while (n > 0 && w->nr > 0) {
        size_t part = (size_t)vio_min_u64(w->seg->len, n);

        __builtin_memset(w->seg->base, 0, part);
        seg_eat(&w->seg, &w->nr, part);
        n -= part;
    }
    return true;
}

void vio_writer_wrote(struct vio_writer *w, uint64_t n)
{
    n = vio_min_u64(n, w->left);
    w->left -= n;
    w->written += n;
    if (w->left == 0) { /* the common case; nobody asks for segments any more */
        w->nr = 0;
        return;
    }
    while (n > 0 && w->nr > 0) {
        size_t part = (size_t)vio_min_u64(w->seg->len, n);

        if (part == 0) { /* a backend used this piece up in place */
            w->seg++;
            w->nr--;
            continue;
        }
        seg_eat(&w->seg, &w->nr, part);
        n -= part;
    }
}
