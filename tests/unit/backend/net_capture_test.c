/* SPDX-License-Identifier: MIT */
/*
 * Purpose: captures: the file read back block by block, set and ended while another thread sends, a full disk, files that
 * must not be written over. Where it sits: tests/unit/backend.
 */
#include "pcapng.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <vio/net.h>

#include "spec/net.h"

#include <cmocka.h>

static char folder[] = "/tmp/vio-capture-XXXXXX";
static char target[sizeof folder + 20];

/* ------------------------------------------------------------------ a backend and a device that only count */

struct inner {
    struct vio_net_backend head;
    const struct vio_net_sink *sink;
    unsigned room, sent, started, stopped, offloads;
    bool *destroyed;
};

struct device {
    unsigned room, delivered, flushed;
};

static void inner_info(struct vio_net_backend *b, struct vio_net_info *info)
{
    (void)b;
    *info = (struct vio_net_info){ .mtu = 1234, .takes = VIO_NET_CSUM };
}

static void inner_destroy(struct vio_net_backend *b)
{
    struct inner *inner = (struct inner *)b;

    if (inner->destroyed)
        *inner->destroyed = true;
    free(inner);
}

static int inner_start(struct vio_net_backend *b, const struct vio_net_sink *sink)
{
    struct inner *inner = (struct inner *)b;

    inner->sink = sink;
    inner->started++;
    return 0;
}

static void inner_stop(struct vio_net_backend *b)
{
    ((struct inner *)b)->stopped++;
}

static unsigned inner_send(struct vio_net_backend *b, const struct vio_net_packet *p, unsigned n)
{
    struct inner *inner = (struct inner *)b;

    (void)p;
    n = n < inner->room ? n : inner->room;
    inner->sent += n;
    return n;
}

static unsigned inner_poll(struct vio_net_backend *b, unsigned budget)
{
    (void)b;
    return budget / 2;
}

static int inner_fd(struct vio_net_backend *b)
{
    (void)b;
    return -1;
}

static const struct vio_net_ops inner_ops = {
    .name = "inner", .info = inner_info, .destroy = inner_destroy, .start = inner_start, .stop = inner_stop,
    .send = inner_send, .poll = inner_poll, .fd = inner_fd,
};

static unsigned device_deliver(void *ctx, const struct vio_net_packet *p, unsigned n)
{
    struct device *d = ctx;

    (void)p;
    n = n < d->room ? n : d->room;
    d->delivered += n;
    return n;
}

static void device_flush(void *ctx)
{
    ((struct device *)ctx)->flushed++;
}

struct setup {
    struct inner *inner;
    struct vio_net_backend *b;
    struct device device;
    struct vio_net_sink sink;
    struct vio_log log;
    _Atomic unsigned lines;
    char line[600];
    bool destroyed;
};

static void keep_line(void *ctx, enum vio_log_level level, const char *name, const char *line)
{
    struct setup *s = ctx;

    (void)level;
    s->lines++;
    snprintf(s->line, sizeof s->line, "%s: %s", name, line);
}

static int setup(void **state)
{
    struct setup *s = calloc(1, sizeof *s);

    assert_non_null(s);
    s->log = (struct vio_log){ .write = keep_line, .ctx = s, .level = VIO_LOG_DEBUG };
    s->inner = calloc(1, sizeof *s->inner);
    assert_non_null(s->inner);
    *s->inner = (struct inner){ .head.ops = &inner_ops, .room = UINT32_MAX, .destroyed = &s->destroyed };
    assert_int_equal(vio_net_capture_open(&s->inner->head, "net0", &s->log, &s->b), 0);
    s->device.room = UINT32_MAX;
    s->sink = (struct vio_net_sink){ .deliver = device_deliver, .flush = device_flush, .ctx = &s->device };
    assert_int_equal(s->b->ops->start(s->b, &s->sink), 0);
    unlink(target);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct setup *s = *state;

    s->b->ops->stop(s->b);
    s->b->ops->destroy(s->b);
    assert_true(s->destroyed);
    free(s);
    unlink(target);
    return 0;
}

static unsigned from_driver(struct setup *s, const struct vio_net_packet *p, unsigned n)
{
    return s->b->ops->send(s->b, p, n);
}

static unsigned to_driver(struct setup *s, const struct vio_net_packet *p, unsigned n)
{
    n = s->inner->sink->deliver(s->inner->sink->ctx, p, n);
    s->inner->sink->flush(s->inner->sink->ctx);
    return n;
}

static void set(struct setup *s, const char *path)
{
    char why[300] = "";

    if (vio_net_capture_set(s->b, path, why, sizeof why) < 0)
        fail_msg("%s", why);
}

/* ------------------------------------------------------------------ tests */

static void both_ways_are_written(void **state)
{
    struct setup *s = *state;
    static uint8_t large[VIO_NET_FRAME_MAX];
    uint8_t out[61], in[14] = { 9, 8, 7 };
    struct vio_seg out_seg[2] = { { out, 20 }, { out + 20, 41 } }, in_seg = { in, sizeof in };
    struct vio_seg large_seg[2] = { { large, 1 }, { large + 1, sizeof large - 1 } };
    struct vio_net_packet from[2] = {
        { .len = sizeof out, .nr = 2, .seg = out_seg, .hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM },
        { .len = sizeof large, .nr = 2, .seg = large_seg,
          .hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN } },
    };
    struct vio_net_packet to = { .len = sizeof in, .nr = 1, .seg = &in_seg, .hdr.flags = VIRTIO_NET_HDR_F_DATA_VALID };
    struct timespec now;
    struct stat st;
    struct reader r;
    struct frame f;

    for (unsigned i = 0; i < sizeof out; i++)
        out[i] = (uint8_t)i;
    for (unsigned i = 0; i < sizeof large; i++)
        large[i] = (uint8_t)(i * 7 + i / 256);
    assert_int_equal(from_driver(s, from, 2), 2); /* before: not in the file */
    set(s, target);
    assert_int_equal(stat(target, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(from_driver(s, from, 2), 2);
    assert_int_equal(to_driver(s, &to, 1), 1);
    /* The file is whole after each burst, not only at the end. */
    r = open_capture(target);
    for (unsigned i = 0; i < 3; i++)
        assert_true(next_frame(&r, &f));
    free(r.bytes);
    set(s, NULL);
    assert_int_equal(to_driver(s, &to, 1), 1); /* behind: neither */
    clock_gettime(CLOCK_REALTIME, &now);

    r = open_capture(target);
    assert_true(next_frame(&r, &f));
    assert_int_equal(f.len, sizeof out);
    assert_memory_equal(f.bytes, out, sizeof out);
    assert_int_equal(f.flags, 2 | 1 << 9);
    assert_true(f.time_ns / 1000000000 <= (uint64_t)now.tv_sec && f.time_ns / 1000000000 + 60 > (uint64_t)now.tv_sec);
    assert_true(next_frame(&r, &f));
    assert_int_equal(f.len, sizeof large);
    assert_memory_equal(f.bytes, large, sizeof large);
    assert_int_equal(f.flags, 2 | 1 << 9 | 1 << 11);
    assert_true(next_frame(&r, &f));
    assert_int_equal(f.len, sizeof in);
    assert_memory_equal(f.bytes, in, sizeof in);
    assert_int_equal(f.flags, 1 | 1 << 10);
    assert_false(next_frame(&r, &f));
    free(r.bytes);
    assert_int_equal(s->lines, 0);
    assert_int_equal(s->device.delivered, 2);
    assert_int_equal(s->inner->sent, 4);
}

static void what_is_not_gone_is_not_written(void **state)
{
    struct setup *s = *state;
    uint8_t byte[3][60];
    struct vio_seg seg[3];
    struct vio_net_packet p[3];
    struct reader r;
    struct frame f;
    uint8_t expect[] = { 0, 1, 2, 0, 1, 2 };

    for (unsigned i = 0; i < 3; i++) {
        memset(byte[i], (int)i, 60);
        seg[i] = (struct vio_seg){ byte[i], 60 };
        p[i] = (struct vio_net_packet){ .len = 60, .nr = 1, .seg = &seg[i] };
    }
    set(s, target);
    s->inner->room = 2;
    assert_int_equal(from_driver(s, p, 3), 2);
    assert_int_equal(from_driver(s, p + 2, 1), 1);
    s->device.room = 1;
    assert_int_equal(to_driver(s, p, 3), 1);
    s->device.room = 0;
    assert_int_equal(to_driver(s, p + 1, 2), 0);
    s->device.room = 9;
    assert_int_equal(to_driver(s, p + 1, 2), 2);
    set(s, NULL);
    r = open_capture(target);
    for (unsigned i = 0; i < sizeof expect; i++) {
        assert_true(next_frame(&r, &f));
        assert_int_equal(f.bytes[0], expect[i]);
        assert_int_equal(f.flags & 3, i < 3 ? 2 : 1);
    }
    assert_false(next_frame(&r, &f));
    free(r.bytes);
}

static void find_captured(void *ctx, const char *name, uint64_t value)
{
    if (strcmp(name, "captured") == 0)
        *(uint64_t *)ctx = value;
}

static void all_else_passes_through(void **state)
{
    struct setup *s = *state;
    struct vio_net_info info;
    uint64_t captured = 77;
    char why[200] = "";

    s->b->ops->info(s->b, &info);
    assert_int_equal(info.mtu, 1234);
    assert_int_equal(info.takes, VIO_NET_CSUM);
    assert_int_equal(s->b->ops->poll(s->b, 8), 4);
    assert_int_equal(s->b->ops->fd(s->b), -1);
    assert_false(s->b->ops->arm(s->b, true, true, false));
    s->b->ops->offloads(s->b, VIO_NET_CSUM); /* inner has none of these two */
    s->b->ops->counters(s->b, find_captured, &captured);
    assert_int_equal(captured, 0);
    assert_int_equal(s->inner->started, 1);
    /* What is no capture is told so. */
    assert_int_equal(vio_net_capture_set(&s->inner->head, target, why, sizeof why), -ENOTSUP);
    set(s, NULL);
    assert_int_equal(access(target, F_OK), -1);
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void other_files_are_left_alone(void **state)
{
    struct setup *s = *state;
    uint8_t byte[60] = { 1 };
    struct vio_seg seg = { byte, sizeof byte };
    struct vio_net_packet p = { .len = sizeof byte, .nr = 1, .seg = &seg };
    char why[400] = "";
    struct reader r;
    struct frame f;

    write_text(target, "a disk image, say");
    assert_int_equal(vio_net_capture_set(s->b, target, why, sizeof why), -EEXIST);
    assert_non_null(strstr(why, target));
    r = read_file(target);
    assert_int_equal(r.len, 17);
    free(r.bytes);
    unlink(target);

    assert_int_equal(vio_net_capture_set(s->b, "/dev/null", why, sizeof why), -EINVAL);
    assert_int_equal(vio_net_capture_set(s->b, folder, why, sizeof why), -EISDIR);
    assert_int_equal(vio_net_capture_set(s->b, "/nowhere/at/all", why, sizeof why), -ENOENT);
    assert_int_equal(mkfifo(target, 0600), 0);
    assert_int_equal(vio_net_capture_set(s->b, target, why, sizeof why), -EINVAL);
    unlink(target);

    /* An empty file, and after that an older capture, are written over; one in use is not. */
    write_text(target, "");
    set(s, target);
    assert_int_equal(from_driver(s, &p, 1), 1);
    assert_int_equal(vio_net_capture_set(s->b, target, why, sizeof why), -EBUSY);
    assert_int_equal(from_driver(s, &p, 1), 1); /* the one before goes on */
    set(s, NULL);
    r = open_capture(target);
    assert_true(next_frame(&r, &f) && next_frame(&r, &f) && !next_frame(&r, &f));
    free(r.bytes);
    set(s, target);
    set(s, NULL);
    r = open_capture(target);
    assert_false(next_frame(&r, &f));
    free(r.bytes);
}

static void a_full_disk_ends_it_only(void **state)
{
    struct setup *s = *state;
    enum { LIMIT = 100000 };
    uint8_t byte[1000] = { 1 };
    struct vio_seg seg = { byte, sizeof byte };
    struct vio_net_packet p = { .len = sizeof byte, .nr = 1, .seg = &seg };
    struct rlimit old, small;
    char why[400] = "";
    struct reader r;
    struct frame f;
    unsigned frames = 0;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = LIMIT;
    signal(SIGXFSZ, SIG_IGN);
    set(s, target);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(from_driver(s, &p, 1), 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(s->inner->sent, 300);
    assert_int_equal(s->lines, 1);
    assert_non_null(strstr(s->line, "net0: the capture into "));
    assert_int_equal(vio_net_capture_set(s->b, NULL, why, sizeof why), -EFBIG);
    r = open_capture(target);
    while (next_frame(&r, &f))
        frames++;
    assert_true(frames > LIMIT / 1100 && frames < 100);
    free(r.bytes);
    set(s, NULL); /* said once */
    set(s, target);
    assert_int_equal(from_driver(s, &p, 1), 1);
    set(s, NULL);
    assert_int_equal(s->lines, 1);
}

/* ------------------------------------------------------------------ two threads */

enum { ROUNDS = 300 };

struct sender {
    struct setup *s;
    atomic_bool stop;
    _Atomic uint32_t sent;
};

/* Sends frames with a running number, half of them each way. */
static void *sender_main(void *arg)
{
    struct sender *t = arg;
    uint8_t byte[4][200];
    struct vio_seg seg[4];
    struct vio_net_packet p[4];
    uint32_t number = 0;

    memset(byte, 0, sizeof byte);
    while (!atomic_load(&t->stop)) {
        for (unsigned i = 0; i < 4; i++) {
            seg[i] = (struct vio_seg){ byte[i], sizeof byte[i] };
            p[i] = (struct vio_net_packet){ .len = sizeof byte[i] - i, .nr = 1, .seg = &seg[i] };
            seg[i].len = p[i].len;
            memcpy(byte[i], &number, sizeof number);
            number++;
        }
        from_driver(t->s, p, 2);
        to_driver(t->s, p + 2, 2);
        atomic_store(&t->sent, number);
    }
    return NULL;
}

static void wait_for_more(struct sender *t, uint32_t frames)
{
    uint32_t until = atomic_load(&t->sent) + frames;
    struct timespec wait = { .tv_nsec = 20000 };

    while (atomic_load(&t->sent) < until)
        nanosleep(&wait, NULL);
}

static void it_is_set_and_ended_while_frames_pass(void **state)
{
    struct setup *s = *state;
    struct sender t = { .s = s };
    char other[sizeof target + 2];
    uint32_t last = 0, number;
    pthread_t id;

    snprintf(other, sizeof other, "%s2", target);
    assert_int_equal(pthread_create(&id, NULL, sender_main, &t), 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        const char *path = i % 2 ? other : target, *next = i % 2 ? target : other;
        struct reader r;
        struct frame f;
        unsigned frames = 0;

        /* Each third time from one file to the next without a gap. */
        if (i % 3 != 1)
            set(s, path);
        wait_for_more(&t, 9);
        set(s, i % 3 == 0 ? next : NULL);
        /* At once: what was set before is whole now, and nobody writes there any more. */
        r = open_capture(path);
        for (; next_frame(&r, &f); frames++) {
            memcpy(&number, f.bytes, sizeof number);
            assert_true(frames == 0 ? number >= last : number == last + 1);
            assert_int_equal(f.len, 200 - number % 4);
            assert_int_equal(f.flags & 3, number % 4 < 2 ? 2 : 1);
            last = number;
        }
        assert_true(frames >= 4);
        free(r.bytes);
    }
    atomic_store(&t.stop, true);
    pthread_join(id, NULL);
    assert_int_equal(s->lines, 0);
    unlink(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_ways_are_written, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_gone_is_not_written, setup, teardown),
        cmocka_unit_test_setup_teardown(all_else_passes_through, setup, teardown),
        cmocka_unit_test_setup_teardown(other_files_are_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_ends_it_only, setup, teardown),
        cmocka_unit_test_setup_teardown(it_is_set_and_ended_while_frames_pass, setup, teardown),
    };
    int failed;

    if (!mkdtemp(folder))
        return 1;
    snprintf(target, sizeof target, "%s/capture", folder);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
