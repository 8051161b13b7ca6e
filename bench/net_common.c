/* SPDX-License-Identifier: MIT */
/* Purpose: see net_common.h. Where it sits: bench/. Threads: none of its own. */
#include "net_common.h"
#include "common.h"
#include <rte_byteorder.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ether.h>
#include <rte_interrupts.h>
#include <rte_ip.h>
#include <rte_udp.h>
#include <rte_vect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POOL_SIZE = 8191, POOL_CACHE = 256, ARGUMENTS = 32 };
#define NET_IPV4 0xc0000200u /* 192.0.2.0; RTE_IPV4() shifts into the sign */

void net_start(const char *program, int cpu, bool huge, const char *const *vdevs)
{
    char core[16], name[ARGUMENTS][256];
    char *argument[ARGUMENTS + 1];
    int n = 0;

    snprintf(core, sizeof(core), "%d", cpu);
    const char *fixed[] = { program, "-l", core, "-m", "256", "--no-pci", "--no-telemetry", "--log-level=error",
                            "--force-max-simd-bitwidth=512",
                            /* one file for all memory: vhost-user passes on eight descriptors at most */
                            huge ? "--single-file-segments" : "--no-huge", huge ? "--in-memory" : "--no-shconf" };

    for (unsigned i = 0; i < RTE_DIM(fixed); i++)
        snprintf(name[n++], sizeof(name[0]), "%s", fixed[i]);
    for (; *vdevs != NULL && n < ARGUMENTS; vdevs++)
        if (snprintf(name[n++], sizeof(name[0]), "--vdev=%s", *vdevs) >= (int)sizeof(name[0]))
            bench_die("%s: too long for a socket", *vdevs);
    for (int i = 0; i < n; i++)
        argument[i] = name[i];
    argument[n] = NULL;
    if (rte_eal_init(n, argument) < 0)
        bench_die("DPDK does not start: %s%s", rte_strerror(rte_errno),
                  huge ? " (128 pages of 2 MiB must be free in /proc/sys/vm/nr_hugepages, or use --no-huge)" : "");
}

struct rte_mempool *net_pool(void)
{
    struct rte_mempool *pool =
        rte_pktmbuf_pool_create("frames", POOL_SIZE, POOL_CACHE, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);

    if (pool == NULL)
        bench_die("no pool of buffers: %s", rte_strerror(rte_errno));
    return pool;
}

void net_port_start(uint16_t port, struct rte_mempool *pool, uint16_t queue_size, bool interrupts)
{
    const struct rte_eth_conf conf = { .intr_conf.rxq = interrupts }; /* no offload */
    int error = rte_eth_dev_configure(port, 1, 1, &conf);

    if (error == 0)
        error = rte_eth_rx_queue_setup(port, 0, queue_size, 0, NULL, pool);
    if (error == 0)
        error = rte_eth_tx_queue_setup(port, 0, queue_size, 0, NULL);
    if (error == 0)
        error = rte_eth_dev_start(port);
    if (error == 0 && interrupts)
        error = rte_eth_dev_rx_intr_ctl_q(port, 0, RTE_EPOLL_PER_THREAD, RTE_INTR_EVENT_ADD, NULL);
    if (error != 0)
        bench_die("port %u does not start: %s", port, rte_strerror(-error));
}

void net_port_arm(uint16_t port)
{
    if (rte_eth_dev_rx_intr_enable(port, 0) != 0)
        bench_die("port %u has no interrupts", port);
}

void net_port_wait(void)
{
    struct rte_epoll_event event;

    rte_epoll_wait(RTE_EPOLL_PER_THREAD, &event, 1, 1000);
}

void net_port_disarm(uint16_t port)
{
    rte_eth_dev_rx_intr_disable(port, 0);
}

static void address(struct rte_ether_addr *a, uint8_t number)
{
    memset(a, 0, sizeof(*a));
    a->addr_bytes[0] = 2; /* locally administered */
    a->addr_bytes[5] = number;
}

void net_frame_make(struct net_frame *f, uint16_t size, uint8_t from, uint8_t to)
{
    struct rte_ether_hdr *ether = (struct rte_ether_hdr *)f->bytes;
    struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(ether + 1);
    struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);

    memset(f, 0, sizeof(*f));
    f->size = size;
    address(&ether->src_addr, from);
    address(&ether->dst_addr, to);
    ether->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
    ip->version_ihl = RTE_IPV4_VHL_DEF;
    ip->total_length = rte_cpu_to_be_16((uint16_t)(size - sizeof(*ether)));
    ip->time_to_live = 64;
    ip->next_proto_id = IPPROTO_UDP;
    ip->src_addr = rte_cpu_to_be_32(NET_IPV4 | from);
    ip->dst_addr = rte_cpu_to_be_32(NET_IPV4 | to);
    ip->hdr_checksum = rte_ipv4_cksum(ip);
    udp->src_port = rte_cpu_to_be_16(9);
    udp->dst_port = rte_cpu_to_be_16(9);
    udp->dgram_len = rte_cpu_to_be_16((uint16_t)(size - sizeof(*ether) - sizeof(*ip)));
}

static void fill(struct rte_mempool *pool, void *frame, void *object, unsigned i)
{
    struct rte_mbuf *m = object;
    const struct net_frame *f = frame;

    RTE_SET_USED(pool);
    RTE_SET_USED(i);
    memcpy((char *)m->buf_addr + RTE_PKTMBUF_HEADROOM, f->bytes, f->size);
}

void net_pool_fill(struct rte_mempool *pool, const struct net_frame *f)
{
    rte_mempool_obj_iter(pool, fill, (void *)(uintptr_t)f);
}

bool net_number(const struct rte_mbuf *m, uint64_t *number)
{
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
    uint64_t n, swapped;

    if (m->data_len < NET_NUMBER_OFFSET + sizeof(n) || frame[12] != 0x08 || frame[13] != 0x00 ||
        frame[23] != IPPROTO_UDP)
        return false;
    memcpy(&n, frame + NET_NUMBER_OFFSET, sizeof(n));
    /* senders may write it in either order: numbers of fewer than 2^32 frames are small in one of the two only */
    swapped = rte_bswap64(n);
    *number = swapped < n ? swapped : n;
    return true;
}

unsigned net_range(const char *option, const char *text, unsigned min, unsigned max)
{
    uint64_t n = bench_number(option, text);

    if (n < min || n > max)
        bench_die("%s=%s: a number from %u to %u", option, text, min, max);
    return (unsigned)n;
}
