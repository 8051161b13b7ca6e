/* SPDX-License-Identifier: MIT */
/* Purpose: see base/format.h. */
#include "base/format.h"

struct out {
    char *at;
    size_t left; /* without the NUL */
};

static void put(struct out *o, char c)
{
    if (o->left == 0)
        return;
    *o->at++ = c;
    o->left--;
}

static void put_number(struct out *o, uint64_t value, unsigned base, unsigned width, char pad)
{
    char digits[20];
    unsigned n = 0;

    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value > 0);
    for (; width > n; width--)
        put(o, pad);
    while (n > 0)
        put(o, digits[--n]);
}

static void put_signed(struct out *o, int64_t value, unsigned width, char pad)
{
    if (value < 0) {
        put(o, '-');
        width -= width > 0;
    }
    put_number(o, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10, width, pad);
}

/* 0: int, 1: long or size_t, 2: long long */
#define NEXT_(ap, wide, sign)                                                                       \
    ((wide) == 2 ? va_arg(ap, sign long long) : (wide) == 1 ? va_arg(ap, sign long) : va_arg(ap, sign int))

void vio_vformat(char *to, size_t size, const char *format, va_list ap)
{
    struct out o = { to, size > 0 ? size - 1 : 0 };
    const char *s;

    for (const char *f = format; *f != '\0'; f++) {
        unsigned width = 0, wide = 0;
        const char *began = f;
        char pad = ' ';

        if (*f != '%') {
            put(&o, *f);
            continue;
        }
        f++;
        if (*f == '0')
            pad = '0';
        while (*f >= '0' && *f <= '9' && width < 64)
            width = width * 10 + (unsigned)(*f++ - '0');
        while ((*f == 'l' || *f == 'z') && wide < 2) {
            wide++;
            f++;
        }
        switch (*f) {
        case 's':
            s = va_arg(ap, const char *);
            while (s != NULL && *s != '\0')
                put(&o, *s++);
            break;
        case 'c':
            put(&o, (char)va_arg(ap, int));
            break;
        case 'd':
            put_signed(&o, NEXT_(ap, wide, signed), width, pad);
            break;
        case 'u':
            put_number(&o, NEXT_(ap, wide, unsigned), 10, width, pad);
            break;
        case 'x':
            put_number(&o, NEXT_(ap, wide, unsigned), 16, width, pad);
            break;
        case '%':
            put(&o, '%');
            break;
        default: /* not ours: as it stands, and no further, for the arguments are not known any more */
            for (; *began != '\0'; began++)
                put(&o, *began);
            f = began - 1;
        }
    }
    if (size > 0)
        *o.at = '\0';
}

void vio_format(char *to, size_t size, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vio_vformat(to, size, format, ap);
    va_end(ap);
}
