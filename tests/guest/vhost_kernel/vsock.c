/* SPDX-License-Identifier: MIT */
/*
 * Purpose: vio's socket driver as a guest of this kernel's: streams both ways, opened by either side, with a hash of each; half-closed,
 * refused and reset. Where it sits: tests/guest/vhost_kernel. Threads: the driver's, and one that is the host, on AF_VSOCK.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <vio/drv_vsock.h>
#include <linux/vm_sockets.h>
#include "vk.h"

enum { BYTES = 4 << 20, PIECE = 3000, HOST_PORT = 1234, GUEST_PORT = 5678, NO_PORT = 4321 };
static const uint64_t HASH = UINT64_C(0xcbf29ce484222325);

struct guest {
    struct rig rig;
    struct vio_drv_vsock_driver driver;
    struct vio_drv_vsock *v;
    bool polled;
    uint64_t interrupts;
};

/* ------------------------------------------------------------------ the host */

static int host_socket(void)
{
    struct timeval patience = { .tv_sec = 30 };
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die("AF_VSOCK: %s", strerror(errno));
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0);
    return fd;
}

/* All that comes to its end, then as much of our own. */
static void host_exchange(int fd, uint64_t seed)
{
    uint8_t bytes[PIECE];
    uint64_t have = 0, hash = HASH, wanted = HASH;
    ssize_t n;

    while ((n = recv(fd, bytes, sizeof(bytes), 0)) > 0) {
        hash = hash_of(hash, bytes, (size_t)n);
        for (ssize_t i = 0; i < n; i++)
            wanted = hash_of(wanted, &(uint8_t){ pattern(seed, have + (uint64_t)i) }, 1);
        have += (uint64_t)n;
    }
    if (n < 0 || have != BYTES || hash != wanted)
        die("the host had %llu bytes, hash %llx instead of %llx: %s", (unsigned long long)have, (unsigned long long)hash,
            (unsigned long long)wanted, n < 0 ? strerror(errno) : "end");
    for (uint64_t at = 0; at < BYTES; at += (uint64_t)n) {
        size_t most = BYTES - at < PIECE ? BYTES - at : PIECE;

        for (size_t i = 0; i < most; i++)
            bytes[i] = pattern(seed + 1, at + i);
        n = send(fd, bytes, most, MSG_NOSIGNAL);
        CHECK(n > 0);
    }
    close(fd);
}

static void *host(void *ctx)
{
    const uint64_t *cid = ctx;
    struct sockaddr_vm here = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = HOST_PORT };
    struct sockaddr_vm there = { .svm_family = AF_VSOCK, .svm_cid = (unsigned)*cid, .svm_port = GUEST_PORT };
    int listener = host_socket(), fd;

    CHECK(bind(listener, (struct sockaddr *)&here, sizeof(here)) == 0 && listen(listener, 4) == 0);
    fd = accept(listener, NULL, NULL);
    CHECK(fd >= 0);
    host_exchange(fd, 10);
    fd = host_socket();
    while (connect(fd, (struct sockaddr *)&there, sizeof(there)) != 0) /* until the guest listens */
        if (errno != ECONNRESET)
            die("the host's connect: %s", strerror(errno));
        else
            CHECK(usleep(10000) == 0 && close(fd) == 0 && (fd = host_socket()) >= 0);
    host_exchange(fd, 20);
    fd = accept(listener, NULL, NULL); /* the one that is reset */
    CHECK(fd >= 0);
    CHECK(recv(fd, &(char){ 0 }, 1, 0) <= 0); /* Linux shows a reset as an end... */
    if (send(fd, &(char){ 0 }, 1, MSG_NOSIGNAL) != -1 || errno != EPIPE) /* ...but of both ways */
        die("the host noticed no reset: %s", strerror(errno));
    close(fd);
    close(listener);
    return NULL;
}

/* ------------------------------------------------------------------ the guest */

static void event(void *ctx, struct vio_drvdev *d, vio_drv_vsock_id id, uint32_t port, unsigned what)
{
    struct guest *g = ctx;

    (void)d;
    (void)id;
    (void)port;
    (void)what;
    g->interrupts++;
}

/* Until one of `what` is so; what is. */
static unsigned until(struct guest *g, vio_drv_vsock_id id, unsigned what)
{
    static const uint16_t queues[] = { 0, 1, 2 };
    time_t end = time(NULL) + 60;
    unsigned now;

    while (((now = vio_drv_vsock_state(g->v, id)) & what) == 0) {
        if (time(NULL) > end)
            die("connection %u: %x did not come, it is %x: %s", id, what, now, vio_drvdev_why(g->rig.d));
        if (g->polled)
            vio_drv_vsock_service(g->v);
        else
            (void)rig_event(&g->rig, queues, 3, 100);
        CHECK(vio_drvdev_status(g->rig.d) == VIO_DRVDEV_RUNS);
    }
    return now;
}

static void guest_send(struct guest *g, vio_drv_vsock_id id, uint64_t seed)
{
    uint8_t bytes[PIECE];

    for (uint64_t at = 0; at < BYTES;) {
        uint32_t n = BYTES - at < PIECE ? (uint32_t)(BYTES - at) : PIECE;
        int sent;

        for (uint32_t i = 0; i < n; i++)
            bytes[i] = pattern(seed, at + i);
        sent = vio_drv_vsock_send(g->v, id, bytes, n, false);
        if (sent == -EAGAIN)
            CHECK((until(g, id, VIO_DRV_VSOCK_WRITABLE | VIO_DRV_VSOCK_CLOSED) & VIO_DRV_VSOCK_CLOSED) == 0);
        else if (sent <= 0)
            die("sending after %llu bytes: %s", (unsigned long long)at, strerror(-sent));
        else
            at += (uint64_t)sent;
    }
    CHECK(vio_drv_vsock_shutdown(g->v, id, false, true) == 0);
}

static void guest_receive(struct guest *g, vio_drv_vsock_id id, uint64_t seed)
{
    uint8_t bytes[PIECE];
    uint64_t have = 0, hash = HASH, wanted = HASH;
    int n;

    while ((n = vio_drv_vsock_receive(g->v, id, bytes, sizeof(bytes), NULL)) != 0) {
        if (n == -EAGAIN) {
            (void)until(g, id, VIO_DRV_VSOCK_READABLE | VIO_DRV_VSOCK_CLOSED);
            continue;
        }
        if (n < 0)
            die("receiving after %llu bytes: %s", (unsigned long long)have, strerror(-n));
        hash = hash_of(hash, bytes, (size_t)n);
        for (int i = 0; i < n; i++)
            wanted = hash_of(wanted, &(uint8_t){ pattern(seed, have + (uint64_t)i) }, 1);
        have += (uint64_t)n;
    }
    if (have != BYTES || hash != wanted)
        die("the guest had %llu bytes, hash %llx instead of %llx", (unsigned long long)have, (unsigned long long)hash,
            (unsigned long long)wanted);
}

static void exchange(struct guest *g, vio_drv_vsock_id id, uint64_t seed, const char *who)
{
    CHECK((until(g, id, VIO_DRV_VSOCK_WRITABLE | VIO_DRV_VSOCK_CLOSED) & VIO_DRV_VSOCK_WRITABLE) != 0);
    guest_send(g, id, seed);
    guest_receive(g, id, seed + 1);
    (void)until(g, id, VIO_DRV_VSOCK_CLOSED);
    vio_drv_vsock_close(g->v, id);
    printf("%s connected: %d bytes each way\n", who, BYTES);
}

static vio_drv_vsock_id connect_to(struct guest *g, uint32_t port)
{
    vio_drv_vsock_id id = 0;
    int error = vio_drv_vsock_connect(g->v, VIO_DRV_VSOCK_STREAM, VIO_DRV_VSOCK_HOST, port, &id);

    if (error != 0)
        die("connect: %s", strerror(-error));
    return id;
}

static vio_drv_vsock_id accept_one(struct guest *g)
{
    static const uint16_t queues[] = { 0, 1, 2 };
    vio_drv_vsock_id id = 0;
    uint64_t cid = 0;
    uint32_t port;
    time_t end = time(NULL) + 60;

    CHECK(vio_drv_vsock_listen(g->v, VIO_DRV_VSOCK_STREAM, GUEST_PORT, 4) == 0);
    while (vio_drv_vsock_accept(g->v, VIO_DRV_VSOCK_STREAM, GUEST_PORT, &id) == -EAGAIN) {
        CHECK(time(NULL) < end);
        if (g->polled)
            vio_drv_vsock_service(g->v);
        else
            (void)rig_event(&g->rig, queues, 3, 100);
    }
    CHECK(id != 0 && vio_drv_vsock_peer(g->v, id, &cid, &port) == 0 && cid == VIO_DRV_VSOCK_HOST);
    return id;
}

int vsock_check(const struct options *o)
{
    static struct guest g;
    struct vio_drv_vsock_params params = { .event = o->polled ? NULL : event, .ctx = &g };
    uint64_t cid = o->params.cid;
    vio_drv_vsock_id id;
    pthread_t thread;

    g.polled = o->polled;
    vio_drv_vsock_driver(&g.driver, &params);
    rig_open(&g.rig, o, &g.driver.driver);
    g.v = vio_drv_vsock_of(g.rig.d);
    CHECK(g.v != NULL && vio_drv_vsock_cid(g.v) == cid);
    CHECK(pthread_create(&thread, NULL, host, &cid) == 0);
    usleep(100000); /* it listens */
    exchange(&g, connect_to(&g, HOST_PORT), 10, "the guest");
    exchange(&g, accept_one(&g), 20, "the host");

    id = connect_to(&g, NO_PORT);
    CHECK((until(&g, id, VIO_DRV_VSOCK_WRITABLE | VIO_DRV_VSOCK_CLOSED) & VIO_DRV_VSOCK_CLOSED) != 0);
    CHECK(vio_drv_vsock_receive(g.v, id, &(char){ 0 }, 1, NULL) == -ECONNREFUSED);
    vio_drv_vsock_close(g.v, id);

    id = connect_to(&g, HOST_PORT);
    CHECK((until(&g, id, VIO_DRV_VSOCK_WRITABLE | VIO_DRV_VSOCK_CLOSED) & VIO_DRV_VSOCK_WRITABLE) != 0);
    vio_drv_vsock_reset(g.v, id);
    for (unsigned i = 0; i < 100; i++)
        vio_drv_vsock_service(g.v);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK((g.interrupts > 0) == !o->polled);
    printf("refused and reset; %llu interrupts, %llu packets for nobody\n", (unsigned long long)g.interrupts,
           (unsigned long long)vio_drv_vsock_ignored(g.v));
    rig_close(&g.rig);
    return 0;
}
