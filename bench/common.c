/* SPDX-License-Identifier: MIT */
/* Purpose: see common.h. Where it sits: bench/. Threads: bench_line_ns starts one and joins it. */
#include "common.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

uint64_t bench_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void bench_die(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

void bench_pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) < 0)
        bench_die("cannot run on CPU %d: %s", cpu, strerror(errno));
}

enum { WINDOWS = 15, TURNS = 1000 };

struct pingpong {
    _Alignas(128) atomic_uint ball;
    _Alignas(128) int cpu;
};

static void *answer(void *arg)
{
    struct pingpong *p = arg;

    bench_pin(p->cpu);
    for (unsigned turn = 1; turn < 2 * WINDOWS * TURNS + 2; turn += 2) {
        while (atomic_load_explicit(&p->ball, memory_order_acquire) != turn)
            bench_pause();
        atomic_store_explicit(&p->ball, turn + 1, memory_order_release);
    }
    return NULL;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

double bench_line_ns(int here, int there)
{
    struct pingpong p = { .cpu = there };
    uint64_t window[WINDOWS];
    unsigned turn = 1;
    pthread_t thread;

    bench_pin(here);
    if (pthread_create(&thread, NULL, answer, &p) != 0)
        bench_die("no thread for the ping-pong");
    for (unsigned w = 0; w <= WINDOWS; w++) { /* the first, of one turn, waits until the other thread is there */
        unsigned turns = w == 0 ? 1 : TURNS;
        uint64_t start = bench_now_ns();

        for (unsigned i = 0; i < turns; i++, turn += 2) {
            atomic_store_explicit(&p.ball, turn, memory_order_release);
            while (atomic_load_explicit(&p.ball, memory_order_acquire) != turn + 1)
                bench_pause();
        }
        if (w > 0)
            window[w - 1] = bench_now_ns() - start;
    }
    pthread_join(thread, NULL);
    qsort(window, WINDOWS, sizeof(window[0]), compare_u64);
    return (double)window[WINDOWS / 2] / TURNS / 2;
}

uint32_t bench_latency_part(const struct bench_latency *l, double part)
{
    uint64_t seen = 0, wanted = (uint64_t)((double)l->count * part);
    uint32_t i;

    for (i = 0; i < BENCH_LATENCY_STEPS - 1 && (seen += l->step[i]) <= wanted; i++)
        ;
    return i * BENCH_LATENCY_STEP_NS;
}

uint64_t bench_number(const char *option, const char *text)
{
    char *end;
    uint64_t value;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *text == '-')
        bench_die("%s: '%s' is not a number", option, text);
    switch (*end) {
    case 'G':
        value <<= 10; /* fall through */
    case 'M':
        value <<= 10; /* fall through */
    case 'k':
        value <<= 10;
        end++;
    }
    if (*end != '\0')
        bench_die("%s: '%s' is not a number (k, M or G may follow one)", option, text);
    return value;
}

void *bench_memory(uint64_t size, enum bench_pages *pages)
{
    uint64_t huge = UINT64_C(2) << 20, whole = (size + huge - 1) & ~(huge - 1);
    void *at = mmap(NULL, whole, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);

    if (at != MAP_FAILED) {
        *pages = BENCH_PAGES_HUGETLB;
        return at;
    }
    at = mmap(NULL, whole + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        bench_die("no %llu bytes of memory", (unsigned long long)whole);
    at = (void *)(((uintptr_t)at + huge - 1) & ~(uintptr_t)(huge - 1));
    *pages = madvise(at, whole, MADV_HUGEPAGE) == 0 ? BENCH_PAGES_TRANSPARENT : BENCH_PAGES_SMALL;
    memset(at, 0, whole);
    return at;
}

static void *map_memfd(uint64_t size, unsigned flags, int *fd)
{
    void *at = MAP_FAILED;

    *fd = memfd_create("vio-bench", MFD_CLOEXEC | flags);
    if (*fd >= 0 && ftruncate(*fd, (off_t)size) == 0)
        at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    if (at == MAP_FAILED && *fd >= 0)
        close(*fd);
    return at;
}

void *bench_shared_memory(uint64_t size, enum bench_pages *pages, int *fd)
{
    uint64_t huge = UINT64_C(2) << 20, whole = (size + huge - 1) & ~(huge - 1);
    void *at = map_memfd(whole, MFD_HUGETLB, fd);

    *pages = BENCH_PAGES_HUGETLB;
    if (at == MAP_FAILED) {
        at = map_memfd(whole, 0, fd);
        *pages = BENCH_PAGES_SMALL;
    }
    if (at == MAP_FAILED)
        bench_die("no %llu bytes of memory to share", (unsigned long long)whole);
    memset(at, 0, whole);
    return at;
}

const char *bench_pages_name(enum bench_pages pages)
{
    switch (pages) {
    case BENCH_PAGES_HUGETLB:
        return "2 MiB pages of the hugetlb pool";
    case BENCH_PAGES_TRANSPARENT:
        return "transparent huge pages";
    default:
        return "4 KiB pages";
    }
}
