/* SPDX-License-Identifier: MIT */
/* vhost-user messages in and out of a socket: pieces, descriptors, headers that are none; transport/vhost_user/codec.c. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "transport/vhost_user/codec.h"

struct wire {
    int near, far;
    struct vu_rx rx;
    struct vu_tx tx;
    struct vu_msg msg;
    const char *why;
};

static int setup(void **state)
{
    static struct wire wire;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0)
        return -1;
    wire = (struct wire){ .near = pair[0], .far = pair[1], .tx = { .fd = -1 } };
    *state = &wire;
    return 0;
}

static int teardown(void **state)
{
    struct wire *w = *state;

    vu_msg_drop(&w->msg);
    vu_tx_drop(&w->tx);
    close(w->near);
    if (w->far >= 0)
        close(w->far);
    return 0;
}

static enum vu_received receive(struct wire *w)
{
    w->why = NULL;
    return vu_receive(&w->rx, w->near, &w->msg, false, &w->why);
}

static void send_fds(struct wire *w, const void *bytes, size_t size, unsigned nr)
{
    char room[CMSG_SPACE(VU_FDS_MAX * sizeof(int))];
    struct iovec iov = { (void *)(uintptr_t)bytes, size };
    struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (nr > 0) {
        memset(room, 0, sizeof(room));
        h.msg_control = room;
        h.msg_controllen = CMSG_SPACE(nr * sizeof(int));
        *CMSG_FIRSTHDR(&h) = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
                                               .cmsg_len = CMSG_LEN(nr * sizeof(int)) };
        for (unsigned i = 0; i < nr; i++)
            memcpy(CMSG_DATA(CMSG_FIRSTHDR(&h)) + i * sizeof(int), &w->far, sizeof(int));
    }
    assert_int_equal(sendmsg(w->far, &h, 0), (ssize_t)size);
}

static int lowest_free(void)
{
    int fd = dup(0);

    close(fd);
    return fd;
}

static size_t make(uint8_t *to, uint32_t request, uint32_t flags, uint32_t size)
{
    struct vhost_user_header head = { request, flags, size };

    memcpy(to, &head, sizeof(head));
    for (uint32_t i = 0; i < size; i++)
        to[sizeof(head) + i] = (uint8_t)(i * 7);
    return sizeof(head) + size;
}

static void whole_messages_follow_each_other(void **state)
{
    struct wire *w = *state;
    uint8_t bytes[200];
    size_t n = make(bytes, 1, 1, 0);

    n += make(bytes + n, 2, 9, 8);
    n += make(bytes + n, 3, 1, 100);
    assert_int_equal(receive(w), VU_RX_WAIT);
    send_fds(w, bytes, n, 0);
    assert_int_equal(receive(w), VU_RX_MESSAGE);
    assert_int_equal(w->msg.head.request, 1);
    assert_int_equal(receive(w), VU_RX_MESSAGE);
    assert_int_equal(w->msg.head.request, 2);
    assert_int_equal(w->msg.head.flags, 9);
    assert_int_equal(receive(w), VU_RX_MESSAGE);
    assert_int_equal(w->msg.head.size, 100);
    assert_int_equal(w->msg.payload[99], (uint8_t)(99 * 7));
    assert_int_equal(receive(w), VU_RX_WAIT);
    assert_false(vu_rx_half(&w->rx));
}

static void any_split_gives_the_same_message(void **state)
{
    struct wire *w = *state;
    uint8_t bytes[64];
    size_t n = make(bytes, 5, 1, 24);

    for (size_t cut = 1; cut < n; cut++) {
        send_fds(w, bytes, cut, 2);
        assert_int_equal(receive(w), VU_RX_WAIT);
        assert_true(vu_rx_half(&w->rx));
        send_fds(w, bytes + cut, n - cut, 0);
        assert_int_equal(receive(w), VU_RX_MESSAGE);
        assert_int_equal(w->msg.head.size, 24);
        assert_memory_equal(w->msg.payload, bytes + sizeof(w->msg.head), 24);
        assert_int_equal(w->msg.nr_fds, 2);
        vu_msg_drop(&w->msg);
    }
}

static void descriptors_are_owned_and_closed(void **state)
{
    struct wire *w = *state;
    uint8_t bytes[16];
    size_t n = make(bytes, 5, 1, 0);
    int before = lowest_free();

    send_fds(w, bytes, n, VU_FDS_MAX);
    assert_int_equal(receive(w), VU_RX_MESSAGE);
    assert_int_equal(w->msg.nr_fds, VU_FDS_MAX);
    assert_int_equal(fcntl(w->msg.fd[0], F_GETFD), FD_CLOEXEC);
    vu_msg_drop(&w->msg);
    assert_int_equal(lowest_free(), before);
    /* What was taken stays open. */
    send_fds(w, bytes, n, 2);
    assert_int_equal(receive(w), VU_RX_MESSAGE);
    w->msg.fd[0] = -1;
    vu_msg_drop(&w->msg);
    assert_true(lowest_free() > before);
    close(before);
}

static void late_descriptors_are_refused(void **state)
{
    struct wire *w = *state;
    uint8_t bytes[16];
    size_t n = make(bytes, 5, 1, 0);
    int before = lowest_free();

    send_fds(w, bytes, 4, 1);
    assert_int_equal(receive(w), VU_RX_WAIT);
    send_fds(w, bytes + 4, n - 4, 1);
    assert_int_equal(receive(w), VU_RX_BAD);
    assert_non_null(strstr(w->why, "behind the first byte"));
    vu_msg_drop(&w->msg);
    assert_int_equal(lowest_free(), before);
}

static void headers_that_are_none(void **state)
{
    struct wire *w = *state;
    static const struct {
        uint32_t flags, size;
        const char *why;
    } bad[] = {
        { 0, 0, "version" }, { 2, 0, "version" }, { 3, 0, "version" }, { 5, 0, "back-end too" },
        { 0x11, 0, "undefined bits" }, { 0x80000001u, 0, "undefined bits" }, { 1, VU_PAYLOAD_MAX + 1, "longer" },
        { 1, UINT32_MAX, "longer" },
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct vhost_user_header head = { 1, bad[i].flags, bad[i].size };

        send_fds(w, &head, sizeof(head), 0);
        assert_int_equal(receive(w), VU_RX_BAD);
        assert_non_null(strstr(w->why, bad[i].why));
        w->rx = (struct vu_rx){ 0 };
    }
}

static void only_replies_on_the_other_channel(void **state)
{
    struct wire *w = *state;
    struct vhost_user_header reply = { 1, 5, 0 }, request = { 1, 1, 0 };

    send_fds(w, &reply, sizeof(reply), 0);
    assert_int_equal(vu_receive(&w->rx, w->near, &w->msg, true, &w->why), VU_RX_MESSAGE);
    send_fds(w, &request, sizeof(request), 0);
    assert_int_equal(vu_receive(&w->rx, w->near, &w->msg, true, &w->why), VU_RX_BAD);
}

static void the_end_is_told_apart(void **state)
{
    struct wire *w = *state;
    uint8_t bytes[16];

    make(bytes, 1, 1, 0);
    send_fds(w, bytes, 5, 0);
    close(w->far);
    w->far = -1;
    assert_int_equal(receive(w), VU_RX_END);
    assert_true(vu_rx_half(&w->rx));
}

static void missing_descriptors_are_noticed(void **state)
{
    struct wire *w = *state;
    struct rlimit old, few;
    uint8_t bytes[16];
    size_t n = make(bytes, 5, 1, 0);
    int before = lowest_free();

    send_fds(w, bytes, n, 8);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = (struct rlimit){ (rlim_t)before + 3, old.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    assert_int_equal(receive(w), VU_RX_MESSAGE);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_true(w->rx.truncated);
    assert_true(w->msg.nr_fds < 8);
    vu_msg_drop(&w->msg);
    assert_int_equal(lowest_free(), before);
}

static void a_full_socket_keeps_the_rest(void **state)
{
    struct wire *w = *state;
    static uint8_t payload[VU_PAYLOAD_MAX], back[sizeof(struct vhost_user_header) + VU_PAYLOAD_MAX];
    unsigned sent = 0, got = 0;
    int err;

    memset(payload, 0x5a, sizeof(payload));
    do {
        vu_tx_put(&w->tx, sent++, VHOST_USER_REPLY, payload, sizeof(payload), -1);
        err = vu_tx_send(&w->tx, w->near);
    } while (err == 0);
    assert_int_equal(err, -EAGAIN);
    assert_true(vu_tx_busy(&w->tx));
    while (got < sent) {
        size_t have = 0;
        struct vhost_user_header head;

        while (have < sizeof(back)) {
            ssize_t n = recv(w->far, back + have, sizeof(back) - have, MSG_DONTWAIT);

            if (n < 0) {
                assert_int_equal(errno, EAGAIN);
                err = vu_tx_send(&w->tx, w->near);
                assert_true(err == 0 || err == -EAGAIN);
                continue;
            }
            have += (size_t)n;
        }
        memcpy(&head, back, sizeof(head));
        assert_int_equal(head.request, got++);
        assert_int_equal(head.flags, 5);
        assert_memory_equal(back + sizeof(head), payload, sizeof(payload));
    }
    assert_false(vu_tx_busy(&w->tx));
}

static void a_descriptor_goes_once(void **state)
{
    struct wire *w = *state;
    struct vu_rx rx = { 0 };
    int before = lowest_free(), fd = dup(0);

    vu_tx_put(&w->tx, 31, VHOST_USER_REPLY, "12345678", 8, fd);
    assert_int_equal(vu_tx_send(&w->tx, w->near), 0);
    assert_int_equal(lowest_free(), before);
    assert_int_equal(vu_receive(&rx, w->far, &w->msg, true, &w->why), VU_RX_MESSAGE);
    assert_int_equal(w->msg.nr_fds, 1);
    assert_memory_equal(w->msg.payload, "12345678", 8);
    vu_msg_drop(&w->msg);
    /* One that is never sent is closed, too. */
    vu_tx_put(&w->tx, 31, VHOST_USER_REPLY, NULL, 0, dup(0));
    vu_tx_drop(&w->tx);
    assert_int_equal(lowest_free(), before);
}

static void a_peer_that_went_away(void **state)
{
    struct wire *w = *state;
    int err;

    close(w->far);
    w->far = -1;
    vu_tx_put(&w->tx, 1, VHOST_USER_REPLY, NULL, 0, -1);
    err = vu_tx_send(&w->tx, w->near); /* and no SIGPIPE */
    assert_true(err == -EPIPE || err == -ECONNRESET);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(whole_messages_follow_each_other), TEST(any_split_gives_the_same_message),
        TEST(descriptors_are_owned_and_closed), TEST(late_descriptors_are_refused),
        TEST(headers_that_are_none),            TEST(only_replies_on_the_other_channel),
        TEST(the_end_is_told_apart),            TEST(missing_descriptors_are_noticed),
        TEST(a_full_socket_keeps_the_rest),     TEST(a_descriptor_goes_once),
        TEST(a_peer_that_went_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
