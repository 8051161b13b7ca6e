/* SPDX-License-Identifier: MIT */
/*
 * Purpose: writes are done in submit until they are seen to wait, then go to the ring, and are tried in place again
 * later. What waits here is the source: memory that a thread fills in only after a while (userfaultfd).
 * Where it sits: tests/unit/backend. Skipped where that is not allowed, or where TMPDIR is in memory.
 */
#include "backend/file.h"
#include "help.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGES 64u
#define PAGE 4096u

struct slow_memory {
    int fd;
    uint8_t *base;
    pthread_t thread;
    unsigned waits_ms;
};

static void *fill(void *arg)
{
    struct slow_memory *m = arg;
    struct uffd_msg msg;
    uint8_t *page = aligned_alloc(PAGE, PAGE);

    memset(page, 7, PAGE);
    while (read(m->fd, &msg, sizeof msg) == sizeof msg) {
        struct timespec t = { 0, (long)m->waits_ms * 1000000 };
        struct uffdio_copy copy = {
            .dst = msg.arg.pagefault.address & ~(uint64_t)(PAGE - 1), .src = (uintptr_t)page, .len = PAGE,
        };

        if (copy.dst == (uintptr_t)m->base + (PAGES - 1) * PAGE) /* the last page ends it */
            t.tv_nsec = 0;
        nanosleep(&t, NULL);
        ioctl(m->fd, UFFDIO_COPY, &copy);
        if (!t.tv_nsec)
            break;
    }
    free(page);
    return NULL;
}

static bool slow_memory_make(struct slow_memory *m)
{
    struct uffdio_api api = { .api = UFFD_API };
    struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };

    m->fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    m->base = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    range.range.start = (uintptr_t)m->base;
    range.range.len = PAGES * PAGE;
    if (m->fd >= 0 && ioctl(m->fd, UFFDIO_API, &api) == 0 && ioctl(m->fd, UFFDIO_REGISTER, &range) == 0)
        return pthread_create(&m->thread, NULL, fill, m) == 0;
    return false;
}

/* True: it was done in submit. */
static bool write_in_place(struct vio_block_backend *b, struct vio_block_channel *c, void *page)
{
    struct request *r = request_make(VIO_BLOCK_WRITE, 0, 0, page, PAGE, 1);
    unsigned in_flight = requests_send(b, c, &r, 1);

    requests_wait(b, c, in_flight);
    assert_int_equal(r->io.result, 0);
    free(r);
    return in_flight == 0;
}

static void slow_writes_leave_the_thread(void **state)
{
    char *path = file_make(NULL, 1 << 20);
    struct vio_block_file_params params = { .path = path, .fd = -1 };
    struct slow_memory m = { .waits_ms = 8 };
    struct timespec pause = { .tv_nsec = 100000000 };
    struct vio_block_backend *b = NULL;
    struct vio_block_channel *c;
    uint8_t fast[PAGE] = { 1 };
    unsigned in_place = 0, page = 0;

    (void)state;
    assert_int_equal(vio_block_file_open(&params, &b, NULL, 0), 0);
    if (((struct file_backend *)b)->in_memory || !slow_memory_make(&m)) {
        vio_block_close(b);
        file_remove(path);
        print_message("SKIP: TMPDIR is in memory, or userfaultfd is not allowed\n");
        skip();
    }
    c = channel_open(b, 4);
    for (unsigned i = 0; i < 100; i++)
        in_place += write_in_place(b, c, fast);
    if (!((struct file_backend *)b)->no_nowait_write)
        print_message("SKIP: this file system can be asked not to wait: its guard is not needed\n");
    else {
        assert_true(in_place > 0);
        /* How many stay depends on how the pauses fall; without a guard all of them would. */
        for (in_place = 0; page < 12; page++)
            in_place += write_in_place(b, c, m.base + page * PAGE);
        assert_true(in_place >= 1 && in_place <= 8);
        for (unsigned i = 0; !write_in_place(b, c, fast); i++) { /* the longest pause is a second */
            assert_true(i < 100);
            nanosleep(&pause, NULL);
        }
    }
    m.base[(PAGES - 1) * PAGE] = 1;
    assert_int_equal(pthread_join(m.thread, NULL), 0);
    b->ops->close(c);
    vio_block_close(b);
    close(m.fd);
    munmap(m.base, PAGES * PAGE);
    file_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_writes_leave_the_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
