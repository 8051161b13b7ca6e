/* SPDX-License-Identifier: MIT */
/*
 * Purpose: see cli/log.h. What arrives here may hold bytes that a peer chose (a serial, a name): they are made
 * printable, so that no line can forge another one or speak to a terminal.
 */
#include "cli/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LOG_LINE_MAX = 2048 };

static const char *const level_names[] = { "error", "warning", "info", "debug" };

int cli_log_level(const char *word, enum vio_log_level *level)
{
    for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (strcmp(word, level_names[i]) == 0) {
            *level = (enum vio_log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

struct line {
    char text[LOG_LINE_MAX];
    size_t used; /* one byte is kept for the newline */
};

static void add_byte(struct line *line, char c)
{
    if (line->used < sizeof(line->text) - 1)
        line->text[line->used++] = c;
}

VIO_PRINTF(2, 3) static void add(struct line *line, const char *format, ...)
{
    char text[128];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    for (const char *p = text; *p != '\0'; p++)
        add_byte(line, *p);
}

static void add_plain(struct line *line, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        add_byte(line, c < 0x20 || c == 0x7f ? '?' : (char)c);
    }
}

/* JSON is UTF-8; bytes past ASCII may be anything here, so they are written as the code points of the same number. */
static void add_json(struct line *line, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if (line->used + 16 > sizeof(line->text)) /* leaves room to close the object */
            return;
        if (c == '"' || c == '\\')
            add(line, "\\%c", c);
        else if (c < 0x20 || c >= 0x7f)
            add(line, "\\u%04x", c);
        else
            add_byte(line, (char)c);
    }
}

static void add_time(struct line *line, enum log_shape shape)
{
    struct timespec now;
    struct tm tm;

    clock_gettime(CLOCK_REALTIME, &now);
    if (shape == LOG_JSON) {
        add(line, "%" PRId64 ".%03ld", (int64_t)now.tv_sec, now.tv_nsec / 1000000);
        return;
    }
    localtime_r(&now.tv_sec, &tm);
    add(line, "%02d:%02d:%02d.%03ld", tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec / 1000000);
}

static void write_line(void *ctx, enum vio_log_level level, const char *name, const char *text)
{
    static const int priorities[] = { 3, 4, 6, 7 }; /* as in syslog(3): what sd-daemon(3) reads at a line's start */
    struct cli_log *log = ctx;
    struct line line = { .used = 0 };
    ssize_t n;

    switch (log->shape) {
    case LOG_JSON:
        add(&line, "{\"time\": ");
        add_time(&line, LOG_JSON);
        add(&line, ", \"level\": \"%s\", \"name\": \"", level_names[level]);
        add_json(&line, name);
        add(&line, "\", \"line\": \"");
        add_json(&line, text);
        add(&line, "\"}");
        break;
    case LOG_JOURNAL:
        add(&line, "<%d>", priorities[level]);
        add_plain(&line, name);
        add(&line, ": ");
        add_plain(&line, text);
        break;
    case LOG_PLAIN:
        add_time(&line, LOG_PLAIN);
        add(&line, " %-7s ", level_names[level]);
        add_plain(&line, name);
        add(&line, ": ");
        add_plain(&line, text);
        break;
    }
    line.text[line.used++] = '\n';
    do
        n = write(log->fd, line.text, line.used);
    while (n < 0 && errno == EINTR);
}

/* The journal names the device and inode of its stream, so that a redirected standard error is told apart. */
static bool is_journal(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    uint64_t device, inode;
    struct stat st;

    if (stream == NULL || sscanf(stream, "%" SCNu64 ":%" SCNu64, &device, &inode) != 2 || fstat(fd, &st) < 0)
        return false;
    return st.st_dev == device && st.st_ino == inode;
}

void cli_log_init(struct cli_log *log, enum vio_log_level level, bool json)
{
    log->fd = STDERR_FILENO;
    log->shape = json ? LOG_JSON : is_journal(log->fd) ? LOG_JOURNAL : LOG_PLAIN;
    log->log = (struct vio_log){ .write = write_line, .ctx = log, .level = level };
}
