/* SPDX-License-Identifier: MIT */
/*
 * Purpose: where the log goes: one line a message on standard error, for a person, for the journal (no time of its
 * own, priorities by "<N>") or as JSON objects. Where it sits: cli/. Threads: any thread may write; a line is one
 * write(2), so lines do not mix.
 */
#ifndef VIO_CLI_LOG_H
#define VIO_CLI_LOG_H

#include <vio/log.h>

enum log_shape { LOG_PLAIN, LOG_JOURNAL, LOG_JSON };

struct cli_log {
    struct vio_log log; /* what the library is given; its ctx is this struct */
    enum log_shape shape;
    int fd;             /* borrowed */
};

/* Chooses LOG_JOURNAL where standard error is a stream to the journal (JOURNAL_STREAM), unless json. */
void cli_log_init(struct cli_log *log, enum vio_log_level level, bool json);
/* "error", "warning", "info", "debug"; -EINVAL. */
int cli_log_level(const char *word, enum vio_log_level *level) VIO_MUST_CHECK;

#endif
