/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the measuring programs share: time, pinning, random numbers, and how far apart two cores are.
 * Where it sits: bench/; not part of the library.
 */
#ifndef VIO_BENCH_COMMON_H
#define VIO_BENCH_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) || defined(__i386__)
#define bench_pause() __builtin_ia32_pause()
#else
#define bench_pause() __asm__ volatile("" ::: "memory")
#endif

uint64_t bench_now_ns(void);

/* Ends the program (status 1) with a sentence. */
void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Pins the calling thread; a CPU that is not there ends the program. */
void bench_pin(int cpu);

/*
 * One cache line, one way, from one CPU to the other and back, halved: the median of several short windows of a
 * ping-pong between two threads, in ns. The calling thread is pinned to `here` afterwards. The machine must leave
 * both CPUs to us for some ms, else the figure is far too large (and a caller gives the sample up).
 */
double bench_line_ns(int here, int there);

/* Uniform below n, from a state that is not 0. n < 2^32. */
static inline uint64_t bench_random(uint64_t *state, uint64_t n)
{
    uint64_t x = *state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return (x >> 32) * n >> 32;
}

/* How long requests took, in steps of 16 ns up to 1 ms; what took longer counts as that. All zero: none yet. */
enum { BENCH_LATENCY_STEP_NS = 16, BENCH_LATENCY_STEPS = 65536 };
struct bench_latency {
    uint64_t count;
    uint32_t step[BENCH_LATENCY_STEPS];
};

static inline void bench_latency_add(struct bench_latency *l, uint64_t ns)
{
    uint64_t step = ns / BENCH_LATENCY_STEP_NS;

    l->count++;
    l->step[step < BENCH_LATENCY_STEPS ? step : BENCH_LATENCY_STEPS - 1]++;
}

/* ns that this part of the requests (0.99, say) did not take, by the lower edge of a step. */
uint32_t bench_latency_part(const struct bench_latency *l, double part);

/* A decimal number with an optional k, M, G (powers of 1024); anything else ends the program. */
uint64_t bench_number(const char *option, const char *text);

/* Zeroed, populated memory: from the pool of 2 MiB pages, else transparent huge pages if the kernel gives them. */
enum bench_pages { BENCH_PAGES_HUGETLB, BENCH_PAGES_TRANSPARENT, BENCH_PAGES_SMALL };
void *bench_memory(uint64_t size, enum bench_pages *pages);
/* The same as vio's driver side gets for the buffers that it shares with a device: a memfd, in whole 2 MiB, which stays open. */
void *bench_shared_memory(uint64_t size, enum bench_pages *pages, int *fd);
const char *bench_pages_name(enum bench_pages pages);

#endif
