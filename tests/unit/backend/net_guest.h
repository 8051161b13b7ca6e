/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a guest on a user-mode network, frame by frame: what it sends, what it waits for, and sockets of the host for the
 * other end. Loopback only. Where it sits: tests/unit/backend.
 */
#ifndef TESTS_NET_GUEST_H
#define TESTS_NET_GUEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <vio/net.h>

#include <cmocka.h>

enum { ETH = 14, IP = 20, UDP = 8, TCP = 20, KEPT = 512, WAIT_MS = 5000 };
enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

#define GUEST 0x0a00020fu
#define GATEWAY 0x0a000202u
#define NAMES 0x0a000203u

struct frame {
    size_t len;
    uint8_t byte[2000];
};

/* A device: what came is kept, oldest first. */
struct guest {
    struct vio_net_backend *b;
    struct vio_net_sink sink;
    struct vio_log log;
    unsigned room, nr, flushes;
    uint8_t gateway_mac[6];
    struct frame kept[KEPT];
};

extern const uint8_t guest_mac[6];

int open_network(struct guest *g, const char *const *forward, bool restricted, char *why, size_t why_size);
struct guest *guest_make(const char *const *forward, bool restricted);
void guest_free(struct guest *g);
/* Sleeps as a worker does, then takes what there is. False: nothing in that time. */
bool turn(struct guest *g, int wait_ms);
uint64_t counter(struct guest *g, const char *name);

void put16(uint8_t *at, unsigned v);
void put32(uint8_t *at, uint32_t v);
unsigned get16(const uint8_t *at);
uint32_t get32(const uint8_t *at);
/* The checksum of RFC 1071: sums that may be added, and what is written into a header. */
uint32_t sum(const uint8_t *at, size_t n);
unsigned fold(uint32_t s);

void ethernet(struct frame *f, const uint8_t *to, unsigned type);
/* An IPv4 packet with `bytes` of payload to be filled in behind it; its checksum is right. */
uint8_t *ipv4(const struct guest *g, struct frame *f, uint32_t from, uint32_t to, unsigned protocol, size_t bytes);
void send_raw(struct guest *g, struct frame *f);
void send_udp(struct guest *g, uint32_t from, unsigned from_port, uint32_t to, unsigned to_port, const void *data, size_t n);
void send_tcp(struct guest *g, unsigned from_port, uint32_t to, unsigned to_port, uint32_t seq, uint32_t ack, unsigned flags,
              const char *data);
void send_arp(struct guest *g, unsigned op, uint32_t target);

const uint8_t *payload(const struct frame *f); /* of IPv4 */
size_t tcp_data(const struct frame *f);

typedef bool match(const struct frame *f, unsigned arg);
match is_arp_reply, is_arp_request; /* arg: from whom, for whom */
match is_udp_to, is_tcp_data;       /* arg: the port */
match is_tcp;                       /* arg: port << 8 | flags that it must have */
match is_ping_reply;                /* arg: the identifier */
match is_router;
/*
 * The first frame like this, which is forgotten with all before it. ARP is answered on the way, as the gateway asks for us.
 * expect() fails the test after WAIT_MS.
 */
bool try_expect(struct guest *g, struct frame *out, match *m, unsigned arg, int wait_ms);
struct frame expect(struct guest *g, match *m, unsigned arg);
/* The gateway's address, and ours made known. */
void learn(struct guest *g);

/* Bound to 127.0.0.1; a stream listens. */
int host_socket(int type, uint16_t *port);
uint16_t free_port(int type);
void host_connect(int fd, uint16_t port);

#endif
