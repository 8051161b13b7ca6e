/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a pcapng file that frames are written into (draft-ietf-opsawg-pcapng): section header, one Ethernet interface,
 * enhanced packet blocks; all numbers little-endian, times in nanoseconds.
 * Where it sits: backend/, private to net_capture.c. Threads: one at a time; whoever shares a file locks around it.
 * Trust: a packet's bytes are another guest's memory: they are copied once, and nothing is decided on them.
 */
#ifndef VIO_BACKEND_NET_PCAPNG_H
#define VIO_BACKEND_NET_PCAPNG_H

#include <vio/net.h>

/* Seen from the guest, as on a computer of its own. */
enum pcapng_direction { PCAPNG_TO_DRIVER = 1, PCAPNG_FROM_DRIVER = 2 };

struct pcapng;

/*
 * A new file gets mode 0600. One that exists is written over only if it is a regular file, empty or pcapng already, and
 * no other capture writes into it. The reason of a failure is in why.
 */
int pcapng_open(const char *path, const char *interface, struct pcapng **out, char *why, size_t why_size) VIO_MUST_CHECK;
/* 0, or -errno: nothing more goes into this file. Its blocks are whole all the same. */
int pcapng_put(struct pcapng *f, const struct vio_net_packet *p, enum pcapng_direction direction, uint64_t time_ns)
    VIO_MUST_CHECK;
/* What is buffered goes into the file. As above; the same error as often as it is asked for. */
int pcapng_flush(struct pcapng *f) VIO_MUST_CHECK;
const char *pcapng_path(const struct pcapng *f);
uint64_t pcapng_bytes(const struct pcapng *f); /* in the file */
/* The last flush, and the end. NULL is fine. The first error that there was. */
int pcapng_close(struct pcapng *f);

#endif
