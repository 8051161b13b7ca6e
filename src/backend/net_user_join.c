/* SPDX-License-Identifier: MIT */
/*
 * Purpose: puts the guest's IPv4 fragments together before libslirp sees them: it (4.7) follows
 * pointers that are none where they are not as it expects, and keeps them without a limit.
 * Where it sits: backend/net_user. Threads: the owner. Trust: works on private copies only.
 * A sender's fragments come in order over a virtqueue, so only what continues where the last one ended is taken: nothing can
 * overlap. Of packets that are begun the newest are kept.
 */
#include "backend/net_user.h"

#include <stdlib.h>
#include <string.h>

enum {
    ETHER_BYTES = 14,
    IP_BYTES = 20,
    IP_LEN_AT = 2,
    IP_ID_AT = 4,
    IP_OFFSET_AT = 6,
    IP_PROTOCOL_AT = 9,
    IP_SUM_AT = 10,
    IP_SOURCE_AT = 12,
    IP_ADDRESSES = 8,
    IP_MORE = 0x2000,
    IP_OFFSET_MASK = 0x1fff,
    IP_MAX = 65535,
};

struct user_join {
    uint32_t ip_bytes, header; /* of the packet so far; 0: free */
    unsigned char frame[VIO_NET_FRAME_MAX];
};
_Static_assert(ETHER_BYTES + IP_MAX <= VIO_NET_FRAME_MAX, "the largest packet fits");

static unsigned get16(const unsigned char *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

static void put16(unsigned char *at, uint32_t value)
{
    at[0] = (unsigned char)(value >> 8);
    at[1] = (unsigned char)value;
}

static bool same_packet(const unsigned char *a, const unsigned char *b)
{
    return get16(a + IP_ID_AT) == get16(b + IP_ID_AT) && a[IP_PROTOCOL_AT] == b[IP_PROTOCOL_AT] &&
           memcmp(a + IP_SOURCE_AT, b + IP_SOURCE_AT, IP_ADDRESSES) == 0;
}

static struct user_join *find(struct user *u, const unsigned char *ip)
{
    for (unsigned i = 0; u->join && i < USER_JOIN_MAX; i++) {
        if (u->join[i].ip_bytes && same_packet(u->join[i].frame + ETHER_BYTES, ip))
            return &u->join[i];
    }
    return NULL;
}

static struct user_join *begin(struct user *u, const unsigned char *ip)
{
    struct user_join *j = find(u, ip);

    if (!u->join)
        u->join = calloc(USER_JOIN_MAX, sizeof *u->join);
    if (j || !u->join)
        return j;
    return &u->join[u->join_next++ % USER_JOIN_MAX];
}

/* It is one packet now, and says so. */
static uint32_t finish(struct user *u, struct user_join *j)
{
    unsigned char *ip = j->frame + ETHER_BYTES;
    uint32_t len = ETHER_BYTES + j->ip_bytes, sum = 0;

    put16(ip + IP_LEN_AT, j->ip_bytes);
    put16(ip + IP_OFFSET_AT, 0);
    put16(ip + IP_SUM_AT, 0);
    for (uint32_t i = 0; i < j->header; i += 2)
        sum += get16(ip + i);
    sum = (sum & 0xffff) + (sum >> 16);
    put16(ip + IP_SUM_AT, ~(sum + (sum >> 16)));
    memcpy(u->frame, j->frame, len);
    j->ip_bytes = 0;
    return len;
}

uint32_t user_join(struct user *u, uint32_t len)
{
    const unsigned char *ip = u->frame + ETHER_BYTES;
    uint32_t header = (ip[0] & 15u) * 4, total = get16(ip + IP_LEN_AT), data;
    uint32_t offset = (get16(ip + IP_OFFSET_AT) & IP_OFFSET_MASK) * 8;
    bool more = get16(ip + IP_OFFSET_AT) & IP_MORE;
    struct user_join *j;

    if (ip[0] >> 4 != 4 || header < IP_BYTES || total <= header || total > len - ETHER_BYTES)
        goto drop;
    data = total - header;
    if (more && data % 8)
        goto drop;
    j = offset ? find(u, ip) : begin(u, ip);
    if (!j)
        goto drop;
    if (offset == 0) {
        memcpy(j->frame, u->frame, ETHER_BYTES + header);
        j->header = j->ip_bytes = header;
    }
    if (j->ip_bytes - j->header != offset || data > IP_MAX - j->ip_bytes) {
        j->ip_bytes = 0; /* it can never be whole */
        goto drop;
    }
    memcpy(j->frame + ETHER_BYTES + j->ip_bytes, ip + header, data);
    j->ip_bytes += data;
    return more ? 0 : finish(u, j);
drop:
    user_count(&u->fragment_drops);
    return 0;
}
