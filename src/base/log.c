/* SPDX-License-Identifier: MIT */
/* Purpose: formatting a log line and holding back what a peer could flood; see vio/log.h. */
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <vio/log.h>

enum { LINE_MAX_BYTES = 512, PEER_BURST = 10 };
static const uint64_t PEER_WINDOW_NS = UINT64_C(10) * 1000 * 1000 * 1000;

VIO_PRINTF(4, 0)
static void say(const struct vio_log *log, enum vio_log_level level, const char *name, const char *format, va_list ap)
{
    char line[LINE_MAX_BYTES];

    if (log == NULL || log->write == NULL || level > log->level)
        return;
    vsnprintf(line, sizeof(line), format, ap);
    log->write(log->ctx, level, name, line);
}

void vio_log(const struct vio_log *log, enum vio_log_level level, const char *name, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    say(log, level, name, format, ap);
    va_end(ap);
}

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void vio_log_peer(const struct vio_log *log, struct vio_log_limit *limit, const char *name, const char *format, ...)
{
    uint64_t now = now_ns();
    va_list ap;

    if (limit->window_start_ns == 0 || now - limit->window_start_ns >= PEER_WINDOW_NS) {
        if (limit->held > 0)
            vio_log(log, VIO_LOG_WARNING, name, "%u more such lines were held back", limit->held);
        *limit = (struct vio_log_limit){ .window_start_ns = now };
    }
    if (limit->said >= PEER_BURST) {
        limit->held++;
        return;
    }
    limit->said++;
    va_start(ap, format);
    say(log, VIO_LOG_WARNING, name, format, ap);
    va_end(ap);
}
