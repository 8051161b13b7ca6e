/* SPDX-License-Identifier: MIT */
/*
 * Purpose: how vio speaks to its embedder. Where it sits: base/ (hosted only; ring and driver code
 * raise faults instead). Threads: the callback may be called from any thread that calls into vio.
 */
#ifndef VIO_LOG_H
#define VIO_LOG_H

#include <vio/types.h>

VIO_PUBLIC_BEGIN

enum vio_log_level { VIO_LOG_ERROR, VIO_LOG_WARNING, VIO_LOG_INFO, VIO_LOG_DEBUG };

/*
 * line: one finished line without a newline, valid during the call. name: which device or socket speaks.
 */
struct vio_log {
    void (*write)(void *ctx, enum vio_log_level level, const char *name, const char *line);
    void *ctx;
    enum vio_log_level level; /* what is above this is not formatted at all */
};

/* log may be NULL: nothing is said. */
void vio_log(const struct vio_log *log, enum vio_log_level level, const char *name, const char *format, ...)
    VIO_PRINTF(4, 5);

/*
 * At most `burst` lines in `window_ns`, then one line that says how many were held back. What a peer can
 * trigger is said through one of these. Owned by one thread at a time.
 */
struct vio_log_limit {
    uint64_t window_start_ns;
    uint32_t said;
    uint32_t held;
};
void vio_log_peer(const struct vio_log *log, struct vio_log_limit *limit, const char *name, const char *format,
                  ...) VIO_PRINTF(4, 5);

VIO_PUBLIC_END

#endif
