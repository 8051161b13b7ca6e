/* SPDX-License-Identifier: MIT */
/* Purpose: see spec/config_io.h. */
#include <string.h>

#include "spec/config_io.h"

enum { TRIES = 16, PIECE = 64 };

/* The widths in order; '*': the last one again and again. */
static const struct {
    uint8_t type;
    char widths[47];
} layouts[] = {
    { 1, "1111112224112" "44" },                             /* net, 5.1.4 */
    { 2, "84421141124112444441111444444441111" },            /* block, 5.2.4 */
    { 3, "2244" },                                           /* console, 5.3.4 */
    { 5, "4444" },                                           /* balloon, 5.5.4 */
    { 8, "4444444224" },                                     /* SCSI, 5.6.4 */
    { 9, "21*" },                                            /* 9P */
    { 16, "44444" },                                         /* GPU, 5.7.4 */
    { 18, "1*" },                                            /* input, 5.8.4 */
    { 19, "8" },                                             /* socket, 5.10.4 */
    { 20, "4444444444448" },                                 /* crypto, 5.9.4 */
    { 23, "8884441111" },                                    /* IOMMU, 5.13.4 */
    { 24, "8222288888" },                                    /* memory, 5.15.4 */
    { 25, "4444" },                                          /* sound, 5.14.4 */
    { 26, "11111111111111111111111111111111111144" },        /* file system, 5.11.4 */
    { 27, "88" },                                            /* persistent memory, 5.19.4 */
    { 28, "111" },                                           /* RPMB, 5.12.4 */
    { 36, "2" },                                             /* CAN, 5.20.4 */
    { 40, "1*" },                                            /* Bluetooth: packed */
    { 41, "2114" },                                          /* GPIO, 5.18.4 */
    { 45, "11114444444" },                                   /* SPI, 5.21.4 */
    { 48, "441*" },                                          /* media, 5.22.4 */
};

/* The width of the field that the byte at `offset` belongs to; 0: not in the table. */
static unsigned field_width(uint32_t type, uint32_t offset)
{
    for (unsigned i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
        const char *w = layouts[i].widths;
        uint32_t at = 0;

        if (layouts[i].type != type)
            continue;
        for (; *w != '\0' && *w != '*'; w++) {
            at += (uint32_t)(*w - '0');
            if (offset < at)
                return (unsigned)(*w - '0');
        }
        return *w == '*' ? (unsigned)(w[-1] - '0') : 0;
    }
    return 0;
}

unsigned virtio_config_step(uint32_t type, uint32_t offset, uint32_t len)
{
    unsigned width = field_width(type, offset);

    if (width == 0 || width > 4)
        width = 4;
    while (width > len || offset % width != 0)
        width /= 2;
    return width;
}

void virtio_config_get(struct vio_io io, uint32_t type, uint32_t offset, uint8_t *to, uint32_t len)
{
    while (len > 0) {
        unsigned width = virtio_config_step(type, offset, len);

        vio_io_store_bytes(to, width, vio_io_read(io, offset, width));
        offset += width;
        to += width;
        len -= width;
    }
}

void virtio_config_put(struct vio_io io, uint32_t type, uint32_t offset, const uint8_t *from, uint32_t len)
{
    while (len > 0) {
        unsigned width = virtio_config_step(type, offset, len);

        vio_io_write(io, offset, width, vio_io_load_bytes(from, width));
        offset += width;
        from += width;
        len -= width;
    }
}

static bool reads_again(struct vio_io io, uint32_t type, uint32_t offset, const uint8_t *bytes, uint32_t len)
{
    uint8_t again[PIECE];

    for (uint32_t at = 0; at < len; at += PIECE) {
        uint32_t n = vio_min_u32(len - at, PIECE);

        virtio_config_get(io, type, offset + at, again, n);
        if (memcmp(bytes + at, again, n) != 0)
            return false;
    }
    return true;
}

bool virtio_config_get_stable(struct vio_io io, uint32_t type, uint32_t offset, uint8_t *to, uint32_t len)
{
    for (unsigned i = 0; i < TRIES; i++) {
        virtio_config_get(io, type, offset, to, len);
        if (reads_again(io, type, offset, to, len))
            return true;
    }
    return false;
}
