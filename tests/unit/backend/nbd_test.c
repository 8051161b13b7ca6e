/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the NBD backend against real servers (nbdkit, qemu-nbd): data, block sizes, a server that is killed and comes
 * back, one that stays away, one that hangs. Where it sits: tests/unit/backend. Skipped where there is no nbdkit.
 */
#include "help.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (1u << 20)
#define SIZE (8 * MIB)

static struct {
    char folder[64], socket[96], image[96], uri[128];
    pid_t pid;
} server;

static void sleep_ms(unsigned ms)
{
    struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

    nanosleep(&t, NULL);
}

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool have(const char *program)
{
    char command[100];

    snprintf(command, sizeof command, "%s --version >/dev/null 2>&1", program);
    return system(command) == 0;
}

static bool answers(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok;

    snprintf(address.sun_path, sizeof address.sun_path, "%s", server.socket);
    ok = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return ok;
}

static void server_stop(int signal)
{
    int status;

    if (server.pid > 0) {
        kill(server.pid, signal);
        kill(server.pid, SIGCONT);
        waitpid(server.pid, &status, 0);
    }
    server.pid = 0;
    unlink(server.socket);
}

/* arguments: what follows `nbdkit -f -U SOCKET`. */
static void server_start(const char *program, const char *const *arguments)
{
    const char *argv[32] = { program };
    unsigned n = 1;

    if (strcmp(program, "nbdkit") == 0)
        argv[n++] = "-f", argv[n++] = "--log=null", argv[n++] = "-U", argv[n++] = server.socket;
    else
        argv[n++] = "-t", argv[n++] = "-k", argv[n++] = server.socket;
    while (*arguments && n < 31)
        argv[n++] = *arguments++;
    unlink(server.socket);
    server.pid = fork();
    assert_true(server.pid >= 0);
    if (server.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execvp(program, (char *const *)argv);
        _exit(127);
    }
    for (unsigned i = 0; access(server.socket, F_OK) < 0 || (strcmp(program, "nbdkit") == 0 && !answers()); i++) {
        assert_true(i < 500);
        sleep_ms(10);
    }
}

static struct vio_block_backend *connect_to(unsigned reconnect_s)
{
    struct vio_block_nbd_params params = { .uri = server.uri, .reconnect_s = reconnect_s };
    struct vio_block_backend *b = NULL;
    char why[300] = "";

    if (vio_block_nbd_open(&params, &b, why, sizeof why) < 0)
        fail_msg("%s", why);
    return b;
}

static void serve_image(const char *delay)
{
    char file[120], wait[40];
    const char *plain[] = { "file", file, NULL };
    const char *slow[] = { "--filter=delay", "file", file, wait, NULL };

    snprintf(file, sizeof file, "file=%s", server.image);
    snprintf(wait, sizeof wait, "wdelay=%s", delay ? delay : "");
    server_start("nbdkit", delay ? slow : plain);
}

static void check_data(struct vio_block_backend *b)
{
    static const struct { uint64_t at, n; uint32_t pieces; } shape[] = {
        { 0, 512, 1 }, { 512, 512, 1 }, { 4096, 4096, 1 }, { 512, 4096, 8 }, { 8192, 65536, 16 },
        { 1536, 1 * MIB, 128 }, { SIZE - MIB, MIB, 2 }, { 512, 3 * MIB, 7 }, { 4096, 5120, 3 }, { 0, 2 * MIB, 1000 },
        { 3584, 1024, 1 },
    };
    struct vio_block_channel *c = channel_open(b, 64);
    uint8_t *out = malloc(SIZE), *in = malloc(SIZE), *all = malloc(SIZE);

    assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 0, all, SIZE, 1), 0);
    for (unsigned i = 0; i < sizeof shape / sizeof shape[0]; i++) {
        uint64_t at = shape[i].at, n = shape[i].n;

        pattern(out, n, at, (uint8_t)i);
        memcpy(all + at, out, n);
        assert_int_equal(run_one(b, c, VIO_BLOCK_WRITE, i % 2 ? VIO_BLOCK_IO_FUA : 0, at, out, n, shape[i].pieces), 0);
        memset(in, 0xee, n);
        assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, at, in, n, shape[i].pieces), 0);
        assert_true(pattern_is(in, n, at, (uint8_t)i));
        assert_int_equal(run_one(b, c, VIO_BLOCK_FLUSH, 0, 0, NULL, 0, 0), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        uint64_t at = 512 + i * 65536, n = i % 2 ? 512 : 10240;

        assert_int_equal(run_one(b, c, VIO_BLOCK_WRITE_ZEROES, i < 2 ? VIO_BLOCK_IO_UNMAP : 0, at, NULL, n, 0), 0);
        memset(all + at, 0, n);
    }
    assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 0, in, SIZE, 4), 0);
    assert_memory_equal(in, all, SIZE);
    assert_int_equal(run_one(b, c, VIO_BLOCK_DISCARD, VIO_BLOCK_IO_FUA, 1024, NULL, MIB, 0), 0);
    assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 1024 + MIB, in, MIB, 1), 0);
    assert_memory_equal(in, all + 1024 + MIB, MIB);
    assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 0, in, 1024, 1), 0);
    assert_memory_equal(in, all, 1024);
    assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, SIZE, in, 512, 1), -EIO);
    assert_int_equal(run_one(b, c, VIO_BLOCK_SECURE_ERASE, 0, 0, NULL, 512, 0), -EOPNOTSUPP);
    b->ops->close(c);
    free(out);
    free(in);
    free(all);
}

static void what_is_written_is_read(void **state)
{
    const char *memory[] = { "memory", "8M", NULL };
    const char *plain[] = { "--filter=fua", "memory", "8M", NULL };
    struct vio_block_backend *b;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        server_start("nbdkit", i ? plain : memory);
        b = connect_to(5);
        assert_int_equal(backend_size(b), SIZE);
        check_data(b);
        model_run(b, MIB, 60, i);
        vio_block_close(b);
        server_stop(SIGTERM);
    }
}

static void larger_blocks_are_kept_whole(void **state)
{
    const char *blocks[] = { "--filter=blocksize-policy", "memory", "8M", "blocksize-minimum=4096",
                             "blocksize-preferred=4096", "blocksize-maximum=65536", "blocksize-error-policy=error", NULL };
    struct vio_block_backend *b;
    struct vio_block_info info;

    (void)state;
    server_start("nbdkit", blocks);
    b = connect_to(5);
    assert_int_equal(b->ops->info(b, &info), 0);
    if (info.logical_block != 4096) {
        vio_block_close(b);
        server_stop(SIGTERM);
        print_message("SKIP: this nbdkit does not tell block sizes\n");
        skip();
    }
    check_data(b);
    model_run(b, MIB, 60, 7);
    vio_block_close(b);
    server_stop(SIGTERM);
}

static void a_killed_server_comes_back(void **state)
{
    enum { DEPTH = 32 };
    uint8_t *buffer = malloc(DEPTH * 65536);
    struct vio_block_backend *b;
    struct vio_block_channel *c;
    struct request *r[DEPTH];

    (void)state;
    serve_image("200ms");
    b = connect_to(20);
    c = channel_open(b, DEPTH);
    for (unsigned round = 0; round < 3; round++) {
        unsigned in_flight;

        pattern(buffer, DEPTH * 65536, 0, (uint8_t)(round + 1));
        for (unsigned i = 0; i < DEPTH; i++)
            r[i] = request_make(VIO_BLOCK_WRITE, 0, i * 65536, buffer + i * 65536, 65536, 1 + i % 3);
        in_flight = requests_send(b, c, r, DEPTH);
        assert_int_equal(in_flight, DEPTH);
        sleep_ms(round * 60);
        server_stop(SIGKILL);
        sleep_ms(100);
        serve_image("1ms");
        requests_wait(b, c, in_flight);
        for (unsigned i = 0; i < DEPTH; i++) {
            assert_int_equal(r[i]->io.result, 0);
            free(r[i]);
        }
        memset(buffer, 0, DEPTH * 65536);
        assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 0, buffer, DEPTH * 65536, 1), 0);
        assert_true(pattern_is(buffer, DEPTH * 65536, 0, (uint8_t)(round + 1)));
    }
    b->ops->close(c);
    vio_block_close(b);
    server_stop(SIGTERM);
    free(buffer);
}

static void a_server_that_stays_away_is_an_error(void **state)
{
    uint8_t buffer[4096];
    struct vio_block_backend *b;
    struct vio_block_channel *c;
    double start;

    (void)state;
    serve_image(NULL);
    b = connect_to(1);
    c = channel_open(b, 4);
    assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 0, buffer, 4096, 1), 0);
    server_stop(SIGKILL);
    start = seconds();
    assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 0, buffer, 4096, 1), -EIO);
    assert_true(seconds() - start > 0.8 && seconds() - start < 4);
    start = seconds();
    assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 0, buffer, 4096, 1), -EIO); /* at once by now */
    assert_true(seconds() - start < 0.5);
    serve_image(NULL);
    for (unsigned i = 0; run_one(b, c, VIO_BLOCK_READ, 0, 0, buffer, 4096, 1) != 0; i++) {
        assert_true(i < 50);
        sleep_ms(100);
    }
    b->ops->close(c);
    vio_block_close(b);
    server_stop(SIGTERM);
}

static void what_is_cancelled_ends_soon(void **state)
{
    uint8_t buffer[4096];
    struct vio_block_backend *b;
    struct vio_block_channel *c;
    struct request *r;
    double start;

    (void)state;
    /* A server that hangs. */
    serve_image(NULL);
    b = connect_to(60);
    c = channel_open(b, 4);
    kill(server.pid, SIGSTOP);
    r = request_make(VIO_BLOCK_READ, 0, 0, buffer, 4096, 1);
    assert_int_equal(requests_send(b, c, &r, 1), 1);
    start = seconds();
    b->ops->cancel(c);
    requests_wait(b, c, 1);
    assert_true(seconds() - start < 4);
    assert_true(r->io.result < 0);
    free(r);
    /* A server that is gone. */
    server_stop(SIGKILL);
    r = request_make(VIO_BLOCK_WRITE, 0, 0, buffer, 4096, 1);
    assert_int_equal(requests_send(b, c, &r, 1), 1);
    b->ops->cancel(c);
    requests_wait(b, c, 1);
    assert_true(r->io.result == -ECANCELED || r->io.result == -EIO);
    free(r);
    serve_image(NULL);
    assert_int_equal(run_one(b, c, VIO_BLOCK_WRITE, 0, 0, buffer, 4096, 1), 0);
    b->ops->close(c);
    vio_block_close(b);
    server_stop(SIGTERM);
}

static void the_size_is_asked_again(void **state)
{
    uint8_t sector[512];
    struct vio_block_backend *b;
    struct vio_block_channel *c;

    (void)state;
    serve_image(NULL);
    b = connect_to(5);
    c = channel_open(b, 4);
    assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, SIZE, sector, 512, 1), -EIO);
    assert_int_equal(truncate(server.image, SIZE + MIB), 0);
    assert_int_equal(b->ops->refresh(b), 0);
    assert_int_equal(backend_size(b), SIZE + MIB);
    assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, SIZE, sector, 512, 1), 0);
    assert_int_equal(truncate(server.image, SIZE), 0);
    b->ops->close(c);
    vio_block_close(b);
    server_stop(SIGTERM);
}

static void no_server_is_said(void **state)
{
    struct vio_block_nbd_params params = { .uri = server.uri };
    struct vio_block_backend *b = NULL;
    char why[300] = "";

    (void)state;
    assert_true(vio_block_nbd_open(&params, &b, why, sizeof why) < 0);
    assert_non_null(strstr(why, server.uri));
    params.uri = "what is this";
    assert_true(vio_block_nbd_open(&params, &b, why, sizeof why) < 0);
}

struct thread {
    struct vio_block_backend *b;
    unsigned nr;
    bool good;
    pthread_t id;
};

static void *thread_main(void *arg)
{
    struct thread *t = arg;
    struct vio_block_channel *c = channel_open(t->b, 4);
    uint8_t out[1024], in[1024];

    t->good = true;
    for (unsigned i = 0; i < 300; i++) {
        uint64_t at = 1024ull * (t->nr + 3 * (i % 100));

        pattern(out, sizeof out, at, (uint8_t)(i + t->nr * 30));
        t->good &= run_one(t->b, c, VIO_BLOCK_WRITE, 0, at, out, sizeof out, 2) == 0;
        t->good &= run_one(t->b, c, VIO_BLOCK_READ, 0, at, in, sizeof in, 1) == 0;
        t->good &= pattern_is(in, sizeof in, at, (uint8_t)(i + t->nr * 30));
    }
    t->b->ops->close(c);
    return NULL;
}

static void run_threads(void)
{
    struct vio_block_backend *b = connect_to(5);
    struct thread t[3];

    for (unsigned i = 0; i < 3; i++) {
        t[i] = (struct thread){ .b = b, .nr = i };
        assert_int_equal(pthread_create(&t[i].id, NULL, thread_main, &t[i]), 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(t[i].id, NULL), 0);
        assert_true(t[i].good);
    }
    vio_block_close(b);
    server_stop(SIGTERM);
}

static void channels_of_many_connections(void **state)
{
    (void)state;
    serve_image(NULL);
    run_threads();
}

/* nbdkit's plugins that do not say "multi-conn": all channels on one link, and larger blocks on top. */
static void channels_of_one_connection(void **state)
{
    const char *one[] = { "--filter=multi-conn", "memory", "8M", "multi-conn-mode=disable", NULL };
    const char *blocks[] = { "--filter=blocksize-policy", "memory", "8M", "blocksize-minimum=4096",
                             "blocksize-preferred=4096", "blocksize-maximum=65536", NULL };

    (void)state;
    server_start("nbdkit", one);
    run_threads();
    server_start("nbdkit", blocks);
    run_threads();
}

static void qemu_as_the_server(void **state)
{
    const char *arguments[] = { "-f", "raw", server.image, NULL };

    (void)state;
    if (!have("qemu-nbd")) {
        print_message("SKIP: no qemu-nbd here\n");
        skip();
    }
    server_start("qemu-nbd", arguments);
    run_threads();
}

static int before_each(void **state)
{
    (void)state;
    server_stop(SIGKILL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(what_is_written_is_read, before_each),
        cmocka_unit_test_teardown(larger_blocks_are_kept_whole, before_each),
        cmocka_unit_test_teardown(a_killed_server_comes_back, before_each),
        cmocka_unit_test_teardown(a_server_that_stays_away_is_an_error, before_each),
        cmocka_unit_test_teardown(what_is_cancelled_ends_soon, before_each),
        cmocka_unit_test_teardown(the_size_is_asked_again, before_each),
        cmocka_unit_test_teardown(no_server_is_said, before_each),
        cmocka_unit_test_teardown(channels_of_many_connections, before_each),
        cmocka_unit_test_teardown(channels_of_one_connection, before_each),
        cmocka_unit_test_teardown(qemu_as_the_server, before_each),
    };
    int failed, fd;

    if (!have("nbdkit")) {
        printf("SKIP: no nbdkit here, so the NBD backend is not tested\n");
        return 77;
    }
    snprintf(server.folder, sizeof server.folder, "/tmp/vio-nbd-XXXXXX");
    if (!mkdtemp(server.folder))
        return 1;
    snprintf(server.socket, sizeof server.socket, "%s/socket", server.folder);
    snprintf(server.image, sizeof server.image, "%s/image", server.folder);
    snprintf(server.uri, sizeof server.uri, "nbd+unix:///?socket=%s", server.socket);
    fd = open(server.image, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, SIZE) < 0)
        return 1;
    close(fd);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    server_stop(SIGKILL);
    unlink(server.image);
    rmdir(server.folder);
    return failed;
}
