/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the tests of network backends share: a sink that records frames and whose room is settable, packets
 * made in one line, and waiting the way a device does (poll, arm, sleep on fd). Where it sits: tests/unit/backend.
 */
#ifndef NET_HELP_H
#define NET_HELP_H

#include <vio/net.h>

#define FAKE_FRAMES 4096u
#define FAKE_NO_LIMIT (~0u)

struct fake_frame {
    struct vio_net_hdr hdr;
    uint32_t len;
    uint8_t *bytes; /* NULL where the sink does not record */
};

struct fake_sink {
    struct vio_net_sink sink; /* give this to start() */
    unsigned room;            /* frames that it takes; counts down, but FAKE_NO_LIMIT stays */
    bool count_only;          /* keeps no frames */
    unsigned offered, flushes;
    unsigned unflushed;       /* frames since the last flush */
    unsigned max_burst;       /* the largest n of one deliver() */
    uint64_t taken;
    unsigned nr;              /* frames kept */
    struct fake_frame frame[FAKE_FRAMES];
};

/* With room for any number. */
struct fake_sink *fake_sink_make(void);
void fake_sink_reset(struct fake_sink *f); /* forgets frames and counters; the room stays */
void fake_sink_free(struct fake_sink *f);

struct fake_packet {
    struct vio_net_packet packet;
    struct vio_seg seg[VIO_NET_SEGS_MAX];
};
/* A packet over these bytes, cut into `pieces` segments; no offload. The same pointer back. */
struct vio_net_packet *fake_packet(struct fake_packet *p, void *bytes, uint32_t len, uint32_t pieces);
/* Sends one frame in one piece; how many went: 0 or 1. */
unsigned net_send_one(struct vio_net_backend *b, void *bytes, uint32_t len);

/*
 * As a device with room: polls, and sleeps on fd, until the sink has kept (or with count_only taken) `want` frames or
 * `ms` are over. True: they came.
 */
bool net_wait_frames(struct vio_net_backend *b, struct fake_sink *f, unsigned want, int ms);
bool fd_readable(int fd, int ms);
uint64_t test_ms(void); /* of a clock that only goes on */

/* An Ethernet frame: addresses 02:00:00:00:00:TO and :FROM, a type of local experiments, then bytes that follow from seed. */
void test_frame(uint8_t *bytes, uint32_t len, uint8_t to, uint8_t from, uint8_t seed);
bool test_frame_is(const struct fake_frame *f, uint32_t len, uint8_t to, uint8_t from, uint8_t seed);

/* Collects lines of a log; ctx of its vio_log is this. */
struct test_log {
    struct vio_log log;
    unsigned lines;
    char last[512], all[8192];
};
void test_log_init(struct test_log *l);

#endif
