/* SPDX-License-Identifier: MIT */
/* Purpose: see cli/bench.h. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cli/bench.h"

uint64_t bench_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t bench_mix(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t x = a * 0x9e3779b97f4a7c15u ^ b * 0xbf58476d1ce4e5b9u ^ c * 0x94d049bb133111ebu;

    x ^= x >> 31;
    return x * 0xd6e8feb86659fd93u;
}

const char *bench_mode_name(enum bench_mode mode)
{
    static const char *const names[] = { [BENCH_OUT] = "out", [BENCH_IN] = "in", [BENCH_LOOP] = "loop", [BENCH_OPS] = "ops" };

    return names[mode];
}

json_t *bench_latency_json(const struct histogram *h)
{
    json_t *buckets = json_array();

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        if (h->bucket[i] != 0)
            json_array_append_new(buckets, json_pack("[II]", (json_int_t)histogram_upper(i), (json_int_t)h->bucket[i]));
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "count", (json_int_t)h->count, "mean",
                     (json_int_t)(h->count ? h->sum / h->count : 0), "min", (json_int_t)(h->count ? h->min : 0), "p50",
                     (json_int_t)histogram_at(h, 0.5), "p90", (json_int_t)histogram_at(h, 0.9), "p99",
                     (json_int_t)histogram_at(h, 0.99), "p99.9", (json_int_t)histogram_at(h, 0.999), "max",
                     (json_int_t)h->max, "histogram", buckets);
}

json_t *bench_peer_json(const struct bench_device *device, uint64_t cpu, uint64_t count)
{
    if (target_socket(&device->target) < 0)
        return json_null();
    return json_real(count > 0 ? (double)cpu / (double)count : 0);
}

/* The two times behind the name of the program, which may hold anything, ')' too. */
uint64_t bench_peer_cpu(int socket)
{
    unsigned long long user, system;
    struct ucred peer;
    socklen_t size = sizeof(peer);
    char path[64], text[1024];
    long tick = sysconf(_SC_CLK_TCK);
    const char *behind;
    size_t got;
    FILE *file;

    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.pid <= 0 || tick <= 0)
        return 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)peer.pid);
    file = fopen(path, "re");
    if (file == NULL)
        return 0;
    got = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[got] = '\0';
    behind = strrchr(text, ')');
    if (behind == NULL ||
        sscanf(behind + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) != 2)
        return 0;
    return (user + system) * (1000000000u / (unsigned long)tick);
}
