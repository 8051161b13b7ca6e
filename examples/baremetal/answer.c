/* SPDX-License-Identifier: MIT */
/* Purpose: see answer.h. */
#include "answer.h"

#include <string.h>

enum { ETHERNET = 14, TYPE_IPV4 = 0x0800, TYPE_ARP = 0x0806, TYPE_IPV6 = 0x86dd, FRAME_LEAST = 60 };
enum { ARP = 28, ARP_REQUEST = 1, ARP_REPLY = 2 };
enum { IPV4 = 20, IPV6 = 40, TTL = 64, PROTOCOL_ICMP = 1, PROTOCOL_UDP = 17, NEXT_ICMP6 = 58 };
enum { ICMP = 8, ECHO_REQUEST = 8, ECHO_REPLY = 0, ECHO6_REQUEST = 128, ECHO6_REPLY = 129, SOLICITATION = 135, ADVERTISEMENT = 136 };
enum { UDP = 8, PORT_STOP = 9 };
enum { NEIGHBOUR = 24, OPTION_TARGET_MAC = 2, SOLICITED_OVERRIDE = 0x60 };

static uint32_t get16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* RFC 1071, not yet folded: sums add up. */
static uint32_t sum_of(const uint8_t *p, uint32_t n)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i + 1 < n; i += 2)
        sum += get16(p + i);
    return n % 2 != 0 ? sum + ((uint32_t)p[n - 1] << 8) : sum;
}

static uint32_t folded(uint32_t sum)
{
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return ~sum & 0xffff;
}

/* From here to whom it came from; short frames are filled with zeros. */
static void ethernet_reply(const struct answer_host *me, const uint8_t *in, uint8_t *out, uint32_t *len)
{
    memcpy(out, in + 6, 6);
    memcpy(out + 6, me->mac, 6);
    memcpy(out + 12, in + 12, 2);
    if (*len < FRAME_LEAST) {
        memset(out + *len, 0, FRAME_LEAST - *len);
        *len = FRAME_LEAST;
    }
}

/* ------------------------------------------------------------------ ARP (RFC 826) */

static enum answer_kind arp(const struct answer_host *me, const uint8_t *in, uint32_t len, uint8_t *out, uint32_t *out_len)
{
    static const uint8_t ethernet_ipv4[6] = { 0, 1, TYPE_IPV4 >> 8, 0, 6, 4 };
    const uint8_t *a = in + ETHERNET;
    uint8_t *reply = out + ETHERNET;

    if (len < ETHERNET + ARP || memcmp(a, ethernet_ipv4, sizeof(ethernet_ipv4)) != 0 || get16(a + 6) != ARP_REQUEST ||
        memcmp(a + 24, me->ip, 4) != 0)
        return ANSWER_NONE;
    memcpy(reply, a, 6);
    put16(reply + 6, ARP_REPLY);
    memcpy(reply + 8, me->mac, 6);
    memcpy(reply + 14, me->ip, 4);
    memcpy(reply + 18, a + 8, 10); /* its addresses */
    *out_len = ETHERNET + ARP;
    return ANSWER_ARP;
}

/* ------------------------------------------------------------------ IPv4 (RFC 791, 792, 768) */

static enum answer_kind ping(const struct answer_host *me, const uint8_t *in, const uint8_t *icmp, uint32_t len, uint8_t *out,
                             uint32_t *out_len)
{
    uint8_t *ip = out + ETHERNET, *reply = ip + IPV4;

    if (len < ICMP || icmp[0] != ECHO_REQUEST || icmp[1] != 0 || folded(sum_of(icmp, len)) != 0)
        return ANSWER_NONE;
    memcpy(reply, icmp, len);
    reply[0] = ECHO_REPLY;
    put16(reply + 2, 0);
    put16(reply + 2, folded(sum_of(reply, len)));
    memset(ip, 0, IPV4);
    ip[0] = 0x45;
    put16(ip + 2, IPV4 + len);
    ip[6] = 0x40; /* not to be cut */
    ip[8] = TTL;
    ip[9] = PROTOCOL_ICMP;
    memcpy(ip + 12, me->ip, 4);
    memcpy(ip + 16, in + ETHERNET + 12, 4);
    put16(ip + 10, folded(sum_of(ip, IPV4)));
    *out_len = ETHERNET + IPV4 + len;
    return ANSWER_PING;
}

static enum answer_kind stop(const uint8_t *ip, const uint8_t *udp, uint32_t len)
{
    uint32_t sum;

    if (len < UDP + 4 || get16(udp + 4) != len || get16(udp + 2) != PORT_STOP || memcmp(udp + UDP, "stop", 4) != 0)
        return ANSWER_NONE;
    sum = sum_of(ip + 12, 8) + PROTOCOL_UDP + len + sum_of(udp, len); /* with the pseudo-header */
    return get16(udp + 6) == 0 || folded(sum) == 0 ? ANSWER_STOP : ANSWER_NONE;
}

static enum answer_kind ipv4(const struct answer_host *me, const uint8_t *in, uint32_t len, uint8_t *out, uint32_t *out_len)
{
    const uint8_t *ip = in + ETHERNET;
    uint32_t header, total;

    if (len < ETHERNET + IPV4 || ip[0] >> 4 != 4)
        return ANSWER_NONE;
    header = (ip[0] & 15u) * 4;
    total = get16(ip + 2);
    if (header < IPV4 || total < header || total > len - ETHERNET || folded(sum_of(ip, header)) != 0)
        return ANSWER_NONE;
    if ((get16(ip + 6) & 0xbfff) != 0 || memcmp(ip + 16, me->ip, 4) != 0 || ip[12] >= 224 || ip[12] == 0 || ip[12] == 127)
        return ANSWER_NONE; /* a fragment, not for us, or from nobody that could be answered */
    if (ip[9] == PROTOCOL_ICMP)
        return ping(me, in, ip + header, total - header, out, out_len);
    return ip[9] == PROTOCOL_UDP ? stop(ip, ip + header, total - header) : ANSWER_NONE;
}

/* ------------------------------------------------------------------ IPv6 (RFC 8200, 4443, 4861) */

void answer_link_local(uint8_t ip6[16], const uint8_t mac[6])
{
    static const uint8_t front[8] = { 0xfe, 0x80 };

    memcpy(ip6, front, 8);
    memcpy(ip6 + 8, mac, 3);
    ip6[8] ^= 2;
    ip6[11] = 0xff;
    ip6[12] = 0xfe;
    memcpy(ip6 + 13, mac + 3, 3);
}

/* Both addresses, length and protocol (RFC 8200, 8.1): `ip` is a header without extensions. */
static uint32_t icmp6_sum(const uint8_t *ip, const uint8_t *icmp, uint32_t len)
{
    return sum_of(ip + 8, 32) + len + NEXT_ICMP6 + sum_of(icmp, len);
}

static void ipv6_reply(const struct answer_host *me, const uint8_t *in, uint8_t *out, uint32_t len, uint8_t hops)
{
    uint8_t *ip = out + ETHERNET, *icmp = ip + IPV6;

    memset(ip, 0, 8);
    ip[0] = 0x60;
    put16(ip + 4, len);
    ip[6] = NEXT_ICMP6;
    ip[7] = hops;
    memcpy(ip + 8, me->ip6, 16);
    memcpy(ip + 24, in + ETHERNET + 8, 16);
    put16(icmp + 2, 0);
    put16(icmp + 2, folded(icmp6_sum(ip, icmp, len)));
}

static enum answer_kind neighbour(const struct answer_host *me, const uint8_t *in, const uint8_t *icmp, uint32_t len, uint8_t *out,
                                  uint32_t *out_len)
{
    uint8_t *reply = out + ETHERNET + IPV6;

    /* RFC 4861, 7.1.1: from a neighbour, not through a router */
    if (len < NEIGHBOUR || icmp[1] != 0 || in[ETHERNET + 7] != 255 || memcmp(icmp + 8, me->ip6, 16) != 0)
        return ANSWER_NONE;
    memset(reply, 0, NEIGHBOUR + 8);
    reply[0] = ADVERTISEMENT;
    reply[4] = SOLICITED_OVERRIDE;
    memcpy(reply + 8, me->ip6, 16);
    reply[NEIGHBOUR] = OPTION_TARGET_MAC;
    reply[NEIGHBOUR + 1] = 1; /* times 8 bytes */
    memcpy(reply + NEIGHBOUR + 2, me->mac, 6);
    ipv6_reply(me, in, out, NEIGHBOUR + 8, 255);
    *out_len = ETHERNET + IPV6 + NEIGHBOUR + 8;
    return ANSWER_NEIGHBOUR;
}

static enum answer_kind ping6(const struct answer_host *me, const uint8_t *in, const uint8_t *icmp, uint32_t len, uint8_t *out,
                              uint32_t *out_len)
{
    if (icmp[1] != 0)
        return ANSWER_NONE;
    memcpy(out + ETHERNET + IPV6, icmp, len);
    out[ETHERNET + IPV6] = ECHO6_REPLY;
    ipv6_reply(me, in, out, len, TTL);
    *out_len = ETHERNET + IPV6 + len;
    return ANSWER_PING6;
}

/* To our address, or to the multicast address that solicitations for it go to (RFC 4291, 2.7.1). */
static bool ipv6_for_us(const struct answer_host *me, const uint8_t *to, bool solicitation)
{
    static const uint8_t group[13] = { 0xff, 2, [11] = 1, [12] = 0xff };

    return memcmp(to, me->ip6, 16) == 0 ||
           (solicitation && memcmp(to, group, sizeof(group)) == 0 && memcmp(to + 13, me->ip6 + 13, 3) == 0);
}

static enum answer_kind ipv6(const struct answer_host *me, const uint8_t *in, uint32_t len, uint8_t *out, uint32_t *out_len)
{
    static const uint8_t nobody[16];
    const uint8_t *ip = in + ETHERNET, *icmp = ip + IPV6;
    uint32_t n;

    if (len < ETHERNET + IPV6 + ICMP || ip[0] >> 4 != 6 || ip[6] != NEXT_ICMP6)
        return ANSWER_NONE;
    n = get16(ip + 4);
    if (n < ICMP || n > len - ETHERNET - IPV6 || ip[8] == 0xff || memcmp(ip + 8, nobody, 16) == 0 ||
        !ipv6_for_us(me, ip + 24, icmp[0] == SOLICITATION) || folded(icmp6_sum(ip, icmp, n)) != 0)
        return ANSWER_NONE;
    if (icmp[0] == SOLICITATION)
        return neighbour(me, in, icmp, n, out, out_len);
    return icmp[0] == ECHO6_REQUEST ? ping6(me, in, icmp, n, out, out_len) : ANSWER_NONE;
}

/* ------------------------------------------------------------------ */

enum answer_kind answer(const struct answer_host *me, const uint8_t *in, uint32_t len, uint8_t out[ANSWER_FRAME_MOST],
                        uint32_t *out_len)
{
    enum answer_kind kind = ANSWER_NONE;

    /* Not to a group's address, which nobody may send from (IEEE 802.3, 3.2.3). */
    if (len < ETHERNET || len > ANSWER_FRAME_MOST || (in[6] & 1) != 0)
        return ANSWER_NONE;
    switch (get16(in + 12)) {
    case TYPE_ARP:
        kind = arp(me, in, len, out, out_len);
        break;
    case TYPE_IPV4:
        kind = ipv4(me, in, len, out, out_len);
        break;
    case TYPE_IPV6:
        kind = ipv6(me, in, len, out, out_len);
        break;
    }
    if (kind != ANSWER_NONE && kind != ANSWER_STOP)
        ethernet_reply(me, in, out, out_len);
    return kind;
}
