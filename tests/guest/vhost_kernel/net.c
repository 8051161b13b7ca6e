/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a station on /dev/vhost-net: it answers ARP, echo requests of any size, in fragments too, and sends back what comes to UDP
 * port 7, with every checksum looked at; and the kernel's end of the last. Where it sits: tests/guest/vhost_kernel.
 * Frames go back in the buffers in which they came.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <vio/drv_net.h>
#include "spec/net.h"
#include "spec/virtio.h"
#include "vk.h"

enum { BURST = 32, SHARE = 128, BUFFERS = 1024, ROOM = 4096, BIG = 65408, WINDOW = 8, ETHERNET = 14, IP = 20, UDP = 8, ECHO_PORT = 7, PAIRS = 4 };

static volatile sig_atomic_t over, restart;

struct station {
    struct rig rig;
    struct vio_drv_net_driver driver;
    struct vio_net_pool *pool;
    uint8_t mac[6], address[4];
    uint64_t received, sent, bad, large, unfinished, interrupts, of_pair[PAIRS];
    uint16_t pairs;
    bool link;
};

static void stop(int signal)
{
    (void)signal;
    over = 1;
}

static void start_again(int signal)
{
    (void)signal;
    restart = 1;
}

static struct vio_drv_net *net_of(struct station *s)
{
    struct vio_drv_net *n = vio_drv_net_of(s->rig.d);

    if (n == NULL)
        die("%s", vio_drvdev_why(s->rig.d));
    return n;
}

/* ------------------------------------------------------------------ checksums */

struct sum {
    uint64_t value;
    bool odd;
};

static void add(struct sum *sum, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++, sum->odd = !sum->odd)
        sum->value += sum->odd ? bytes[i] : (uint64_t)bytes[i] << 8;
}

static uint16_t folded(struct sum sum)
{
    while (sum.value >> 16 != 0)
        sum.value = (sum.value & 0xffff) + (sum.value >> 16);
    return (uint16_t)sum.value;
}

/* Of the frame from `from` to `end`, over its pieces. */
static void add_frame(struct sum *sum, const struct vio_net_buf *b, size_t from, size_t end)
{
    for (size_t at = 0; b != NULL && at < end; at += b->len, b = b->next) {
        size_t first = from > at ? from - at : 0, last = end - at < b->len ? end - at : b->len;

        if (first < last)
            add(sum, vio_net_buf_data(b) + first, last - first);
    }
}

/* A whole UDP checksum, or one that is only begun, as the header before the frame says. */
static bool udp_is_right(const struct vio_net_buf *b, const uint8_t *f, size_t ip_len)
{
    struct sum sum = { 17 + ip_len - IP, false };

    add(&sum, f + ETHERNET + 12, 8);
    if ((b->offload.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0)
        return b->offload.csum_start == ETHERNET + IP && b->offload.csum_offset == 6 &&
               folded(sum) == (f[ETHERNET + IP + 6] << 8 | f[ETHERNET + IP + 7]);
    add_frame(&sum, b, ETHERNET + IP, ETHERNET + ip_len);
    return folded(sum) == 0xffff;
}

/* ------------------------------------------------------------------ answers */

static void swap(uint8_t *a, uint8_t *b, size_t n)
{
    uint8_t keep[8];

    memcpy(keep, a, n);
    memcpy(a, b, n);
    memcpy(b, keep, n);
}

static bool answer_arp(const struct station *s, uint8_t *f, size_t len)
{
    uint8_t *arp = f + ETHERNET;

    if (len < ETHERNET + 28 || arp[7] != 1 || memcmp(arp + 24, s->address, 4) != 0)
        return false;
    arp[7] = 2;
    memcpy(arp + 18, arp + 8, 6); /* target: who asked */
    memcpy(arp + 8, s->mac, 6);
    swap(arp + 14, arp + 24, 4);
    memcpy(f, f + 6, 6);
    memcpy(f + 6, s->mac, 6);
    return true;
}

/* The first fragment has the type; all are turned round. */
static bool answer_echo(uint8_t *f, bool first)
{
    uint8_t *icmp = f + ETHERNET + IP;
    uint32_t sum;

    if (!first)
        return true;
    if (icmp[0] != 8)
        return false;
    sum = (uint32_t)(icmp[2] << 8 | icmp[3]) + 0x0800;
    sum = (sum & 0xffff) + (sum >> 16);
    icmp[0] = 0;
    icmp[2] = (uint8_t)(sum >> 8);
    icmp[3] = (uint8_t)sum;
    return true;
}

static bool answer_udp(struct station *s, const struct vio_net_buf *b, uint8_t *f, size_t ip_len)
{
    uint8_t *udp = f + ETHERNET + IP;

    if ((udp[2] << 8 | udp[3]) != ECHO_PORT)
        return false;
    s->unfinished += (b->offload.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0;
    if (!udp_is_right(b, f, ip_len)) {
        s->bad++;
        return false;
    }
    swap(udp, udp + 2, 2);
    return true;
}

/* Whether the frame, changed, goes back. */
static bool answer(struct station *s, struct vio_net_buf *b)
{
    uint8_t *f = vio_net_buf_data(b), *ip = f + ETHERNET;
    size_t len = b->len, all = 0, ip_len;
    struct sum sum = { 0 };
    unsigned fragment, offset;
    bool good;

    for (const struct vio_net_buf *piece = b; piece != NULL; piece = piece->next)
        all += piece->len;
    s->large += b->pieces > 1;
    if (len >= ETHERNET && f[12] == 8 && f[13] == 6)
        return answer_arp(s, f, len);
    if (len < ETHERNET + IP || f[12] != 8 || f[13] != 0 || ip[0] != 0x45 || memcmp(ip + 16, s->address, 4) != 0)
        return false;
    add(&sum, ip, IP);
    ip_len = (size_t)(ip[2] << 8 | ip[3]);
    fragment = (unsigned)(ip[6] << 8 | ip[7]) & 0x3fff; /* its place, and whether more follow */
    offset = fragment & 0x1fff;
    if (folded(sum) != 0xffff || ETHERNET + ip_len > all || (offset == 0 && (ip_len < IP + UDP || len < ETHERNET + IP + UDP))) {
        s->bad++;
        return false;
    }
    good = ip[9] == 1 ? answer_echo(f, offset == 0) : ip[9] == 17 && fragment == 0 && answer_udp(s, b, f, ip_len);
    if (good) {
        swap(ip + 12, ip + 16, 4);
        swap(f, f + 6, 6);
    }
    return good;
}

/* ------------------------------------------------------------------ queues */

static void refill(struct station *s, uint16_t pair)
{
    struct vio_drv_net *n = net_of(s);
    struct vio_net_buf *buf;

    for (unsigned given = 0; given < SHARE && vio_drv_net_give_room(n, pair) > 0 && vio_net_pool_take(s->pool, &buf, 1); given++)
        if (vio_drv_net_give(n, pair, &buf, 1) == 0) {
            vio_net_pool_give(s->pool, &buf, 1);
            break;
        }
}

static void recycle(struct station *s, uint16_t pair)
{
    struct vio_net_buf *done[BURST];
    unsigned got;

    while ((got = vio_drv_net_send_done(net_of(s), pair, done, BURST)) > 0)
        vio_net_pool_give(s->pool, done, got);
}

static void send_back(struct station *s, uint16_t pair, struct vio_net_buf *b)
{
    b->offload.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
    b->offload.gso_type = VIRTIO_NET_HDR_GSO_NONE;
    b->offload.hdr_len = b->offload.gso_size = 0;
    for (unsigned i = 0; vio_drv_net_send(net_of(s), pair, &b, 1) == 0; i++) {
        CHECK(i < 1000000);
        recycle(s, pair);
    }
    s->sent++;
}

static bool work(struct station *s, uint16_t pair)
{
    struct vio_net_buf *got[BURST];
    unsigned n = vio_drv_net_receive(net_of(s), pair, got, BURST);

    s->received += n;
    s->of_pair[pair] += n;
    for (unsigned i = 0; i < n; i++) {
        CHECK(got[i]->pieces > 0);
        if (answer(s, got[i]))
            send_back(s, pair, got[i]);
        else
            vio_net_pool_give(s->pool, &got[i], 1);
    }
    recycle(s, pair);
    refill(s, pair);
    return n > 0;
}

static void used(void *ctx, struct vio_drvdev *d, uint16_t queue)
{
    struct station *s = ctx;

    (void)d;
    s->interrupts++;
    while (work(s, queue / 2))
        ;
}

static void changed(void *ctx, struct vio_drvdev *d)
{
    struct station *s = ctx;
    struct vio_drv_net_info info = vio_drv_net_info(vio_drv_net_of(d));

    if (info.link_up != s->link)
        printf("link %s\n", info.link_up ? "up" : "down");
    s->link = info.link_up;
}

static void lost(void *ctx, struct vio_drvdev *d, uint16_t queue, struct vio_net_buf *buf)
{
    struct station *s = ctx;

    (void)d;
    (void)queue;
    vio_net_pool_give(s->pool, &buf, 1);
}

static void open_station(struct station *s, const struct options *o)
{
    static const uint8_t address[] = { 192, 0, 2, 2 };
    struct vio_drv_net_params params = { .pairs = o->params.queues, .used = o->polled ? NULL : used, .changed = changed, .lost = lost, .ctx = s };
    struct vio_drv_net_info info;

    memcpy(s->address, address, sizeof(address));
    vio_drv_net_driver(&s->driver, &params);
    if (o->plain)
        s->driver.driver.features.w[0] &= VIO_FEATURE(VIRTIO_NET_F_MAC) | VIO_FEATURE(VIRTIO_NET_F_STATUS) |
                                              VIO_FEATURE(VIRTIO_F_VERSION_1);
    rig_open(&s->rig, o, &s->driver.driver);
    info = vio_drv_net_info(net_of(s));
    CHECK(info.mac_known && (info.mac[0] & 3) == 2 && info.mergeable == !o->plain);
    memcpy(s->mac, info.mac, sizeof(s->mac));
    s->link = info.link_up;
    CHECK(vio_net_pool_create(vio_drvdev_platform(s->rig.d), o->plain ? 256 : BUFFERS, o->plain ? BIG : ROOM, &s->pool) == 0);
    s->pairs = info.pairs;
    CHECK(s->pairs == (o->params.queues != 0 ? o->params.queues : 1) && s->pairs <= PAIRS);
    for (uint16_t pair = 0; pair < s->pairs; pair++)
        refill(s, pair);
    printf("%s: features 0x%llx, mtu %u, link %s\n", vio_drvdev_name(s->rig.d), (unsigned long long)vio_drvdev_features(s->rig.d).w[0],
           info.mtu, info.link_up ? "up" : "down");
}

static void look(struct station *s)
{
    bool any = false;

    for (uint16_t pair = 0; pair < s->pairs; pair++)
        any |= work(s, pair);
    if (any)
        return;
    usleep(200);
    (void)vio_drvdev_interrupt(s->rig.d);
}

/* Each queue reset by itself, while the others go on; its buffers come back by lost(). */
static void restart_queues(struct station *s)
{
    restart = 0;
    for (uint16_t queue = 0; queue < 2 * s->pairs; queue++)
        if (vio_drv_net_restart(net_of(s), queue, 0) != 0)
            die("queue %u: %s", queue, vio_drvdev_why(s->rig.d));
    for (uint16_t pair = 0; pair < s->pairs; pair++)
        refill(s, pair);
    puts("restarted");
}

int net_serve(const struct options *o)
{
    static const uint16_t queues[] = { 0, 1, 2, 3, 4, 5, 6, 7 };
    static struct station s;

    open_station(&s, o);
    signal(SIGTERM, stop);
    signal(SIGUSR1, start_again);
    puts("serving");
    while (!over) {
        if (restart)
            restart_queues(&s);
        if (o->polled)
            look(&s);
        else
            (void)rig_event(&s.rig, queues, 2u * s.pairs, 500);
    }
    printf("received %llu (on the last pair %llu), sent back %llu, larger than a buffer %llu, checksums begun %llu, interrupts %llu, "
           "bad %llu\n", (unsigned long long)s.received, (unsigned long long)s.of_pair[s.pairs - 1], (unsigned long long)s.sent,
           (unsigned long long)s.large, (unsigned long long)s.unfinished, (unsigned long long)s.interrupts, (unsigned long long)s.bad);
    CHECK(s.bad == 0 && (o->polled ? s.interrupts == 0 : s.interrupts > 0) && (s.large > 0) == (!o->plain && s.received > 100));
    for (uint16_t pair = 0; pair < s.pairs; pair++)
        CHECK(s.of_pair[pair] > 0);
    vio_bus_remove(s.rig.d);
    CHECK(vio_net_pool_free(s.pool) == (o->plain ? 256u : BUFFERS)); /* every buffer came back */
    vio_net_pool_destroy(s.pool);
    rig_close(&s.rig);
    return 0;
}

/* ------------------------------------------------------------------ the kernel's end */

static size_t size_of(unsigned i)
{
    return 8 + (i * 397u) % 1400;
}

static void send_one(int fd, unsigned i)
{
    uint8_t bytes[2048];
    size_t n = size_of(i);

    for (size_t k = 8; k < n; k++)
        bytes[k] = pattern(i, k);
    memcpy(bytes, &(uint64_t){ i }, 8);
    CHECK(send(fd, bytes, n, 0) == (ssize_t)n);
}

static void receive_one(int fd, unsigned i)
{
    uint8_t bytes[2048];
    uint64_t number;
    ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

    if (n < 0)
        die("datagram %u did not come back: %s", i, strerror(errno));
    memcpy(&number, bytes, 8);
    if (number != i || (size_t)n != size_of(i))
        die("datagram %llu of %zd bytes came for %u of %zu", (unsigned long long)number, n, i, size_of(i));
    for (size_t k = 8; k < (size_t)n; k++)
        CHECK(bytes[k] == pattern(i, k));
}

int udp_check(const char *address, unsigned count)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(ECHO_PORT), .sin_addr.s_addr = inet_addr(address) };
    struct timeval patience = { .tv_sec = 10 };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0);
    for (unsigned i = 0; i < count + WINDOW; i++) {
        if (i < count)
            send_one(fd, i);
        if (i >= WINDOW)
            receive_one(fd, i - WINDOW);
    }
    printf("%u datagrams went there and came back\n", count);
    return 0;
}
