/* SPDX-License-Identifier: MIT */
/*
 * Purpose: see cli/process.h. Handlers and not a signalfd: when the control thread itself is stuck (a backend that
 * never answers while its queue is drained), a second SIGTERM must still end the process.
 */
#include "cli/process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/loop.h"
#include "cli/options.h"

static struct loop *loop_of_signals;
static volatile sig_atomic_t stops, refreshes;

static void raise_limit(__rlimit_resource_t resource)
{
    struct rlimit limit;

    if (getrlimit(resource, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(resource, &limit);
}

void process_prepare(void)
{
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    int fd;

    /* Nothing that is opened later may become standard error. */
    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGXFSZ, &ignore, NULL); /* a limit of files' sizes is an error of one write, not the end of all devices */
    raise_limit(RLIMIT_NOFILE);
    raise_limit(RLIMIT_MEMLOCK); /* buffers that are registered with io_uring count as locked */
    /* One heap: workers allocate next to nothing, and a heap for each costs resident memory. */
    mallopt(M_ARENA_MAX, 1);
}

int process_check_descriptors(uint64_t needed, const struct vio_log *log)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || needed <= limit.rlim_cur)
        return 0;
    vio_log(log, VIO_LOG_ERROR, "vio",
            "these devices may need %" PRIu64 " file descriptors, and the limit is %" PRIu64
            ": raise it (ulimit -Hn %" PRIu64 ", or LimitNOFILE=%" PRIu64
            " in a systemd unit), or give the devices fewer queues=",
            needed, (uint64_t)limit.rlim_cur, needed, needed);
    return -EMFILE;
}

static void on_stop(int number)
{
    static const char text[] = "vio: a second signal: ending at once, requests in flight are lost\n";

    (void)number;
    if (stops++ > 0) {
        (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
        _exit(EXIT_FAILED);
    }
    loop_poke(loop_of_signals);
}

static void on_refresh(int number)
{
    (void)number;
    refreshes = 1;
    loop_poke(loop_of_signals);
}

int process_catch_signals(struct loop *loop)
{
    struct sigaction stop = { .sa_handler = on_stop, .sa_flags = SA_RESTART };
    struct sigaction refresh = { .sa_handler = on_refresh, .sa_flags = SA_RESTART };

    loop_of_signals = loop;
    if (sigaction(SIGTERM, &stop, NULL) < 0 || sigaction(SIGINT, &stop, NULL) < 0 ||
        sigaction(SIGHUP, &refresh, NULL) < 0)
        return -errno;
    return 0;
}

bool process_stop_wanted(void)
{
    return stops != 0;
}

bool process_refresh_wanted(void)
{
    bool wanted = refreshes != 0;

    refreshes = 0;
    return wanted;
}

int process_write_pidfile(const char *path, const struct vio_log *log)
{
    char text[32];
    int length = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int err = 0;

    if (fd < 0 || write(fd, text, (size_t)length) != length) {
        err = errno != 0 ? -errno : -EIO;
        vio_log(log, VIO_LOG_ERROR, "vio", "cannot write the pid file %s: %s", path, strerror(-err));
    }
    if (fd >= 0)
        close(fd);
    return err;
}
