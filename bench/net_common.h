/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the two DPDK programs have in common: starting DPDK on one core, frames with a running number, ports.
 * Where it sits: bench/; only built where DPDK is. Nothing of vio is in it but the measuring helpers of common.h.
 */
#ifndef VIO_BENCH_NET_COMMON_H
#define VIO_BENCH_NET_COMMON_H

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    NET_BURST = 32,
    NET_SIZE_MIN = 60,
    NET_SIZE_MAX = 2000,    /* one buffer of the pool holds a frame */
    NET_NUMBER_OFFSET = 42, /* of the running number: behind Ethernet, IPv4 and UDP */
};

/*
 * Starts DPDK on this CPU, in this process alone. huge: memory from the pool of 2 MiB pages, shareable with a device;
 * otherwise small pages, which DPDK shares too. vdevs: NULL-terminated, as for --vdev.
 */
void net_start(const char *program, int cpu, bool huge, const char *const *vdevs);
struct rte_mempool *net_pool(void);
/* interrupts: it can be waited for. */
void net_port_start(uint16_t port, struct rte_mempool *pool, uint16_t queue_size, bool interrupts);
/*
 * To sleep until queue 0 of the port is interrupted: arm, look once more whether something has come, wait if not (1 s at
 * most), disarm.
 */
void net_port_arm(uint16_t port);
void net_port_wait(void);
void net_port_disarm(uint16_t port);

struct net_frame {
    uint8_t bytes[NET_SIZE_MAX];
    uint16_t size;
};
/* UDP over IPv4 from address number `from` to `to` (02:00:00:00:00:NN, 192.0.2.NN), without a UDP checksum. */
void net_frame_make(struct net_frame *f, uint16_t size, uint8_t from, uint8_t to);
/* Writes the frame into every buffer of the pool: a buffer that comes back is filled already. */
void net_pool_fill(struct rte_mempool *pool, const struct net_frame *f);

/* Takes n buffers from the pool as frames of `size` bytes: n, or 0 if there are too few. */
static inline unsigned net_take(struct rte_mempool *pool, struct rte_mbuf **m, unsigned n, uint16_t size)
{
    if (rte_pktmbuf_alloc_bulk(pool, m, n) != 0)
        return 0;
    for (unsigned i = 0; i < n; i++) {
        m[i]->data_len = size;
        m[i]->pkt_len = size;
    }
    return n;
}

static inline void net_number_set(struct rte_mbuf *m, uint64_t number)
{
    rte_memcpy(rte_pktmbuf_mtod_offset(m, void *, NET_NUMBER_OFFSET), &number, sizeof(number));
}

/* The running number; false if the frame is of another kind. */
bool net_number(const struct rte_mbuf *m, uint64_t *number);

/* A decimal number in a range, or the end of the program. */
unsigned net_range(const char *option, const char *text, unsigned min, unsigned max);

#endif
