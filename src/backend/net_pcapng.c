/* SPDX-License-Identifier: MIT */
/* Purpose: writes pcapng files; see backend/net_pcapng.h. Where it sits: backend/. */
#include "backend/net_pcapng.h"

#include "backend/backend.h"
#include "spec/net.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_SECTION 0x0a0d0d0au
#define BLOCK_INTERFACE 1u
#define BLOCK_PACKET 6u
#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define LINKTYPE_ETHERNET 1u

#define OPTION_END 0u
#define OPTION_COMMENT 1u
#define OPTION_SECTION_PROGRAM 4u
#define OPTION_INTERFACE_NAME 2u
#define OPTION_INTERFACE_TIME 9u
#define OPTION_PACKET_FLAGS 2u

/* The packet's flags: the direction is in the lowest two bits. */
#define FLAG_CSUM_NOT_READY (1u << 9)
#define FLAG_CSUM_VALID (1u << 10)
#define FLAG_SEGMENTATION (1u << 11)

enum {
    NAME_MAX_BYTES = 200,
    PACKET_OVERHEAD = 28 + 8 + 4 + 4, /* before the frame; flags; end of options; length again */
    BUFFER_BYTES = 256 * 1024,
};
_Static_assert(BUFFER_BYTES >= VIO_NET_FRAME_MAX + 3 + PACKET_OVERHEAD, "the largest frame fits");

struct pcapng {
    int fd;
    int error;        /* the first one; nothing is written after it */
    uint64_t written; /* in the file, whole blocks */
    size_t used;      /* in buffer; begins and ends at a block */
    char *path;
    unsigned char buffer[BUFFER_BYTES];
};

static size_t padded(size_t n)
{
    return (n + 3) & ~(size_t)3;
}

/* ------------------------------------------------------------------ writing into the buffer, where there is room */

static void put16(struct pcapng *f, uint32_t value)
{
    vio_le16 v = vio_le16_of((uint16_t)value);

    memcpy(f->buffer + f->used, &v, sizeof v);
    f->used += sizeof v;
}

static void put32(struct pcapng *f, uint32_t value)
{
    vio_le32 v = vio_le32_of(value);

    memcpy(f->buffer + f->used, &v, sizeof v);
    f->used += sizeof v;
}

static void pad(struct pcapng *f)
{
    while (f->used % 4)
        f->buffer[f->used++] = 0;
}

static void put_option(struct pcapng *f, unsigned code, const void *value, size_t len)
{
    put16(f, code);
    put16(f, (uint32_t)len);
    memcpy(f->buffer + f->used, value, len);
    f->used += len;
    pad(f);
}

static void put_text(struct pcapng *f, unsigned code, const char *text)
{
    put_option(f, code, text, strlen(text));
}

/* A block starts with its length, which is known at its end, and repeats it there. */
static size_t begin_block(struct pcapng *f, uint32_t type)
{
    size_t start = f->used;

    put32(f, type);
    put32(f, 0);
    return start;
}

static void end_block(struct pcapng *f, size_t start)
{
    vio_le32 total = vio_le32_of((uint32_t)(f->used + 4 - start));

    put32(f, vio_cpu(total));
    memcpy(f->buffer + start + 4, &total, sizeof total);
}

static void put_head(struct pcapng *f, const char *interface)
{
    char name[NAME_MAX_BYTES + 1] = "";
    uint8_t nanoseconds = 9;
    size_t block = begin_block(f, BLOCK_SECTION);

    memcpy(name, interface, strnlen(interface, NAME_MAX_BYTES));
    put32(f, BYTE_ORDER_MAGIC);
    put16(f, 1);
    put16(f, 0);
    put32(f, UINT32_MAX); /* the section's length, 64 bits: not known */
    put32(f, UINT32_MAX);
    put_text(f, OPTION_COMMENT, "Captured by vio at a virtio network device. Direction as the guest sees it; frames with offloads "
                                "are as large as the guest made them, their checksums perhaps only begun.");
    put_text(f, OPTION_SECTION_PROGRAM, "vio");
    put32(f, OPTION_END);
    end_block(f, block);

    block = begin_block(f, BLOCK_INTERFACE);
    put16(f, LINKTYPE_ETHERNET);
    put16(f, 0);
    put32(f, 0); /* no limit on what is kept of a frame */
    put_text(f, OPTION_INTERFACE_NAME, name);
    put_option(f, OPTION_INTERFACE_TIME, &nanoseconds, 1);
    put32(f, OPTION_END);
    end_block(f, block);
}

/* ------------------------------------------------------------------ packets */

static uint32_t packet_flags(const struct vio_net_hdr *hdr, enum pcapng_direction direction)
{
    uint32_t flags = direction;

    if (hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
        flags |= FLAG_CSUM_NOT_READY;
    if (hdr->flags & VIRTIO_NET_HDR_F_DATA_VALID)
        flags |= FLAG_CSUM_VALID;
    if ((hdr->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) == VIRTIO_NET_HDR_GSO_TCPV4 ||
        (hdr->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) == VIRTIO_NET_HDR_GSO_TCPV6)
        flags |= FLAG_SEGMENTATION;
    return flags;
}

int pcapng_put(struct pcapng *f, const struct vio_net_packet *p, enum pcapng_direction direction, uint64_t time_ns)
{
    vio_le32 flags = vio_le32_of(packet_flags(&p->hdr, direction));
    size_t block;
    int ret = f->error;

    if (p->len > VIO_NET_FRAME_MAX)
        return -EMSGSIZE;
    if (ret == 0 && BUFFER_BYTES - f->used < padded(p->len) + PACKET_OVERHEAD)
        ret = pcapng_flush(f);
    if (ret < 0)
        return ret;
    block = begin_block(f, BLOCK_PACKET);
    put32(f, 0); /* which interface */
    put32(f, (uint32_t)(time_ns >> 32));
    put32(f, (uint32_t)time_ns);
    put32(f, p->len); /* kept */
    put32(f, p->len); /* on the wire */
    vio_net_packet_copy(p, f->buffer + f->used);
    f->used += p->len;
    pad(f);
    put_option(f, OPTION_PACKET_FLAGS, &flags, sizeof flags);
    put32(f, OPTION_END);
    end_block(f, block);
    return 0;
}

/* How much of the first `bytes` of the buffer are whole blocks. */
static size_t whole_blocks(const struct pcapng *f, size_t bytes)
{
    size_t at = 0;

    while (at + 8 <= bytes) {
        vio_le32 len;

        memcpy(&len, f->buffer + at + 4, sizeof len);
        if (vio_cpu(len) > bytes - at)
            break;
        at += vio_cpu(len);
    }
    return at;
}

int pcapng_flush(struct pcapng *f)
{
    size_t done = 0;

    while (f->error == 0 && done < f->used) {
        ssize_t n = write(f->fd, f->buffer + done, f->used - done);

        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            f->error = n == 0 ? -EIO : -errno;
    }
    done = whole_blocks(f, done);
    f->written += done;
    /* A piece of a block would make readers complain. Where even this fails, they may: the first error is the one to tell. */
    if (done < f->used && ftruncate(f->fd, (off_t)f->written) < 0 && f->error == 0)
        f->error = -errno;
    f->used = 0;
    return f->error;
}

const char *pcapng_path(const struct pcapng *f)
{
    return f->path;
}

uint64_t pcapng_bytes(const struct pcapng *f)
{
    return f->written;
}

/* ------------------------------------------------------------------ opening and closing */

/* A slip of the pen must not cost a disk image: only what is no file of another kind is written over. */
static int check_target(int fd, const char *path, char *why, size_t why_size)
{
    vio_le32 magic;
    struct stat st;

    if (fstat(fd, &st) < 0)
        return vio_why(-errno, why, why_size, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return vio_why(-EINVAL, why, why_size, "%s is not a regular file: a capture goes into one, or a new one",
                       path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return vio_why(-EBUSY, why, why_size,
                       "%s is in use, perhaps by another capture: end that first, or choose another name", path);
    if (st.st_size == 0)
        return 0;
    if (pread(fd, &magic, sizeof magic, 0) != sizeof magic || vio_cpu(magic) != BLOCK_SECTION)
        return vio_why(-EEXIST, why, why_size,
                       "%s exists and is no capture: remove it, or choose another name", path);
    if (ftruncate(fd, 0) < 0)
        return vio_why(-errno, why, why_size, "%s: %s", path, strerror(errno));
    return 0;
}

int pcapng_open(const char *path, const char *interface, struct pcapng **out, char *why, size_t why_size)
{
    /* NONBLOCK: a FIFO with nobody at its other end must not stop us before it is refused. */
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
    struct pcapng *f;
    int ret;

    if (fd < 0)
        return vio_why(-errno, why, why_size, "%s cannot be opened for a capture: %s", path, strerror(errno));
    ret = check_target(fd, path, why, why_size);
    if (ret < 0) {
        close(fd);
        return ret;
    }
    f = calloc(1, sizeof *f);
    if (!f || !(f->path = strdup(path))) {
        free(f);
        close(fd);
        return vio_why(-ENOMEM, why, why_size, "out of memory");
    }
    f->fd = fd;
    put_head(f, interface);
    ret = pcapng_flush(f);
    if (ret < 0) {
        vio_why(ret, why, why_size, "%s cannot be written: %s", path, strerror(-ret));
        pcapng_close(f);
        return ret;
    }
    *out = f;
    return 0;
}

int pcapng_close(struct pcapng *f)
{
    int ret;

    if (!f)
        return 0;
    ret = pcapng_flush(f);
    if (close(f->fd) < 0 && ret == 0)
        ret = -errno;
    free(f->path);
    free(f);
    return ret;
}
