/* SPDX-License-Identifier: MIT */
/*
 * Purpose: fuzz target: the front-end against a back-end whose every answer is the input: what stands on the socket, from
 * the handshake to the end, and what stands on the back-end channel. Invariants: no descriptor is left open, nothing waits
 * (the input ends, and then the line), and a failure has a sentence.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vio/drv_generic.h>
#include <vio/vhost_user_driver.h>

#include "fuzz.h"
#include "spec/vhost_user.h"
#include "spec/virtio.h"

enum { STEPS = 24 };

/*
 * The input is answers: { request, flags' low bits, size } of a byte each, then `size` bytes; or, after 0xff, bytes as they
 * are. Bit 7 of the flags: a descriptor comes along.
 */
static void one_answer(struct input *in, int fd, int extra)
{
    struct vhost_user_header header = { .request = input_u8(in) };
    uint8_t flags = input_u8(in), bytes[sizeof(header) + 255];
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct iovec iov = { bytes, 0 };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

    header.flags = flags & 0x1f;
    header.size = input_u8(in);
    memcpy(bytes, &header, sizeof(header));
    iov.iov_len = header.request == 0xff ? 0 : sizeof(header);
    for (uint32_t i = 0; i < header.size; i++)
        bytes[iov.iov_len++] = input_u8(in);
    if (iov.iov_len == 0)
        return;
    if (flags & 128) {
        struct cmsghdr *c;

        m.msg_control = control.bytes;
        m.msg_controllen = sizeof(control.bytes);
        c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &extra, sizeof(int));
    }
    (void)!sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static unsigned open_fds(void)
{
    unsigned n = 0;

    for (int fd = 0; fd < 128; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void step(uint8_t what, struct vio_drvdev *d, struct vio_transport *t, struct vio_arena *more)
{
    struct vio_vud_log log;
    uint8_t bytes[64], *saved;
    size_t size;

    switch (what % 12) {
    case 0: (void)!vio_drvdev_config_read(d, what, bytes, 1 + what % 64u); break;
    case 1: (void)!vio_drvdev_config_write(d, 16, "ab", 2); break;
    case 2: (void)vio_drvdev_event(d, VIO_EVENT_QUEUE_CONFIG); break;
    case 3: (void)vio_drvdev_interrupt(d); break;
    case 4: (void)!vio_drvdev_recover(d); break;
    case 5: (void)!vio_drvdev_queue_reset(d, 0, 0, NULL, NULL); break;
    case 6: (void)!vio_drvdev_suspend(d); break;
    case 7: (void)!vio_drvdev_resume(d); break;
    case 8: (void)!vio_vud_log_start(t, &log); break;
    case 9: (void)!vio_vud_log_stop(t); break;
    case 10: (void)!(what & 64 ? vio_vud_memory_add(t, more) : vio_vud_memory_remove(t, more)); break;
    default:
        if (vio_vud_state_save(t, &saved, &size) == 0)
            free(saved);
    }
}

static void meet(struct input *in, int fd, struct vio_arena *arena, struct vio_arena *more)
{
    struct vio_vud_params params = { .fd = fd, .arena = arena, .timeout_ms = 20, .type = input_u8(in) % 3u };
    uint8_t steps[STEPS], n = 0;
    char why[VIO_DRV_WHY];
    struct vio_transport *t;
    struct vio_drvdev *d;
    struct vio_bus *bus;

    while (n < STEPS && (steps[n] = input_u8(in)) != 0)
        n++;
    if (vio_vud_create(&params, &t, why) != 0) {
        FUZZ_CHECK(why[0] != '\0');
        return;
    }
    FUZZ_CHECK(t->queues_max <= VIO_VUD_QUEUES_MAX);
    FUZZ_CHECK(vio_bus_create(t->platform, &bus) == 0);
    FUZZ_CHECK(vio_bus_add(bus, t, 0, &vio_driver_generic, &d) == 0);
    for (unsigned i = 0; i < n; i++) {
        step(steps[i], d, t, more);
        if (vio_drvdev_status(d) == VIO_DRVDEV_FAILED || vio_drvdev_status(d) == VIO_DRVDEV_BROKEN)
            FUZZ_CHECK(vio_drvdev_why(d)[0] != '\0');
    }
    vio_bus_destroy(bus);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vio_arena_params memory = { .size = 8 << 20, .small_pages = true };
    struct vio_arena *arena, *more;
    struct input calls = { data, size > 32 ? 32 : size }, in = { data + calls.left, size - calls.left };
    int pair[2];
    unsigned before;

    signal(SIGPIPE, SIG_IGN);
    FUZZ_CHECK(vio_arena_create(&memory, &arena) == 0);
    memory = (struct vio_arena_params){ .size = 4096, .small_pages = true, .base = UINT64_C(0x900000000) };
    FUZZ_CHECK(vio_arena_create(&memory, &more) == 0);
    before = open_fds();
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    while (in.left > 0)
        one_answer(&in, pair[0], STDERR_FILENO);
    shutdown(pair[0], SHUT_WR);
    meet(&calls, pair[1], arena, more);
    close(pair[0]);
    FUZZ_CHECK(open_fds() == before);
    vio_arena_destroy(more);
    vio_arena_destroy(arena);
    return 0;
}
