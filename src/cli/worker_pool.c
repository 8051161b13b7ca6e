/* SPDX-License-Identifier: MIT */
/*
 * Purpose: see cli/worker.h: makes workers, shares queues out among them, and sends them commands.
 * Threads: the control thread.
 */
#include "cli/worker_internal.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
    STACK_BYTES = 256 * 1024,
    NUDGE_MS = 500,     /* no answer for so long: the worker may be held in a system call */
    NUDGES_TO_SAY = 10, /* then the log says what is waited for */
    NUDGE_SIGNAL = SIGUSR1,
};

/* The one worker of all groups of a name; gone with the last of them. */
struct worker_home {
    struct worker_home *next;
    char *name;
    unsigned groups;
    struct worker *own; /* NULL with shared workers */
    struct worker *worker;
};

struct worker_pool {
    const struct vio_log *log;
    struct worker_home *homes;
    unsigned shared;       /* workers that all groups share; 0: each group has its own */
    struct worker *worker; /* [shared] */
    unsigned turn;         /* where the next group starts among the shared ones */
    unsigned running;
    unsigned made;         /* for the names of threads */
};

struct worker_group {
    struct worker_pool *pool;
    struct worker_group_params params;
    struct worker_home *home;    /* of a group with a name; else NULL */
    struct worker *own;          /* [params.threads], or NULL with shared workers, or with a home */
    struct worker **worker;      /* [params.threads] */
    struct vio_device *dev;      /* set by the first attach */
    struct worker_queue **queue; /* by number of the queue; NULL: not attached */
    struct worker **where;
    uint16_t nr_queues;
};

/* ------------------------------------------------------------------ threads */

static struct worker *workers_new(unsigned nr)
{
    struct worker *workers = aligned_alloc(_Alignof(struct worker), nr * sizeof(*workers));

    if (workers == NULL)
        return NULL;
    memset(workers, 0, nr * sizeof(*workers));
    for (unsigned i = 0; i < nr; i++)
        workers[i].bell = workers[i].epoll = -1;
    return workers;
}

static void close_fds(struct worker *w)
{
    if (w->bell >= 0)
        close(w->bell);
    if (w->epoll >= 0)
        close(w->epoll);
    w->bell = w->epoll = -1;
}

static int open_fds(struct worker *w)
{
    struct epoll_event event = { .events = EPOLLIN, .data.u64 = 0 };
    int err = 0;

    w->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (w->bell < 0 || w->epoll < 0 || epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->bell, &event) < 0)
        err = -errno;
    if (err < 0)
        close_fds(w);
    return err;
}

/* Signals are the control thread's, but nudges, and those that say what this thread itself did wrong. */
static int start_thread(struct worker *w)
{
    static const int own[] = { SIGBUS, SIGSEGV, SIGFPE, SIGILL, NUDGE_SIGNAL };
    sigset_t blocked, before;
    pthread_attr_t attr;
    char name[16];
    int err;

    sigfillset(&blocked);
    for (unsigned i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        sigdelset(&blocked, own[i]);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    err = pthread_create(&w->thread, &attr, worker_run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (err != 0)
        return -err;
    snprintf(name, sizeof(name), "vio-worker-%u", w->number % 1000);
    pthread_setname_np(w->thread, name);
    return 0;
}

static int worker_start(struct worker_pool *pool, struct worker *w)
{
    int err = open_fds(w);

    if (err == 0) {
        sem_init(&w->reply, 0, 0);
        atomic_init(&w->mail, NULL);
        w->quit = false;
        w->number = pool->made++;
        err = start_thread(w);
        if (err < 0)
            close_fds(w);
    }
    if (err < 0) {
        vio_log(pool->log, VIO_LOG_ERROR, "vio", "cannot start a worker thread: %s", strerror(-err));
        return err;
    }
    w->running = true;
    pool->running++;
    return 0;
}

/* ------------------------------------------------------------------ commands */

static void nudged(int number)
{
    (void)number; /* that the system call ends with EINTR is all */
}

/*
 * A front-end shares its call descriptor: it can make it block and fill it, and so hold our worker in write(). The
 * signal ends that write, so that a worker comes to its mail whatever a peer does.
 */
static int catch_nudges(void)
{
    struct sigaction action = { .sa_handler = nudged };

    return sigaction(NUDGE_SIGNAL, &action, NULL) < 0 ? -errno : 0;
}

static void wait_answer(struct worker *w, const struct command *command)
{
    const struct worker_queue *q = command->queue;
    struct timespec until;

    for (unsigned nudges = 1;; nudges++) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += NUDGE_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        if (sem_timedwait(&w->reply, &until) == 0)
            return;
        if (errno != ETIMEDOUT)
            continue;
        pthread_kill(w->thread, NUDGE_SIGNAL);
        if (nudges % NUDGES_TO_SAY == 0 && q != NULL)
            vio_log(vio_device_log(q->dev), VIO_LOG_WARNING, vio_device_name(q->dev), "queue %u: waiting for %s",
                    q->queue, command->what == COMMAND_DETACH ? "requests that its backend has not finished"
                                                              : "its worker");
    }
}

static int tell(struct worker *w, enum command_what what, struct worker_queue *q)
{
    struct command command = { .what = what, .queue = q };
    uint64_t one = 1;

    /* release: pairs with the acquire in take_command() */
    atomic_store_explicit(&w->mail, &command, memory_order_release);
    while (write(w->bell, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
    wait_answer(w, &command);
    return command.result;
}

static void worker_stop(struct worker_pool *pool, struct worker *w)
{
    if (!w->running)
        return;
    assert(w->queues == 0);
    (void)tell(w, COMMAND_QUIT, NULL);
    pthread_join(w->thread, NULL);
    sem_destroy(&w->reply);
    close_fds(w);
    w->running = false;
    pool->running--;
}

/* ------------------------------------------------------------------ host operations */

static struct worker *least_loaded(struct worker_group *group)
{
    struct worker *best = group->worker[0];

    for (unsigned i = 1; i < group->params.threads; i++)
        if (group->worker[i]->queues < best->queues)
            best = group->worker[i];
    return best;
}

static int know_device(struct worker_group *group, struct vio_device *dev)
{
    if (group->dev != NULL) {
        assert(group->dev == dev);
        return 0;
    }
    group->nr_queues = vio_device_queues(dev);
    group->queue = calloc(group->nr_queues, sizeof(struct worker_queue *));
    group->where = calloc(group->nr_queues, sizeof(struct worker *));
    if (group->queue == NULL || group->where == NULL) {
        free(group->queue);
        free(group->where);
        group->queue = NULL;
        group->where = NULL;
        return -ENOMEM;
    }
    group->dev = dev;
    return 0;
}

static int host_attach(void *ctx, struct vio_device *dev, uint16_t queue)
{
    struct worker_group *group = ctx;
    struct worker_queue *q;
    struct worker *w;
    int err = know_device(group, dev), lane;

    if (err < 0)
        return err;
    assert(queue < group->nr_queues && group->queue[queue] == NULL);
    lane = vio_device_queue_lane(dev, queue);
    w = lane >= 0 ? group->worker[(unsigned)lane % group->params.threads] : least_loaded(group);
    if (!w->running) {
        err = worker_start(group->pool, w);
        if (err < 0)
            return err;
    }
    q = calloc(1, sizeof(*q));
    if (q == NULL)
        return -ENOMEM;
    q->dev = dev;
    q->queue = queue;
    q->wanted = group->params.poll;
    err = tell(w, COMMAND_ATTACH, q);
    if (err < 0) {
        free(q);
        return err;
    }
    w->queues++;
    group->queue[queue] = q;
    group->where[queue] = w;
    return 0;
}

static struct worker_queue *attached(struct worker_group *group, uint16_t queue)
{
    assert(queue < group->nr_queues && group->queue[queue] != NULL);
    return group->queue[queue];
}

static void host_detach(void *ctx, struct vio_device *dev, uint16_t queue)
{
    struct worker_group *group = ctx;
    struct worker_queue *q = attached(group, queue);

    (void)dev;
    (void)tell(group->where[queue], COMMAND_DETACH, q);
    group->where[queue]->queues--;
    group->where[queue] = NULL;
    group->queue[queue] = NULL;
    free(q);
}

static void host_park(void *ctx, struct vio_device *dev, uint16_t queue)
{
    struct worker_group *group = ctx;

    (void)dev;
    (void)tell(group->where[queue], COMMAND_PARK, attached(group, queue));
}

static void host_unpark(void *ctx, struct vio_device *dev, uint16_t queue)
{
    struct worker_group *group = ctx;

    (void)dev;
    (void)tell(group->where[queue], COMMAND_UNPARK, attached(group, queue));
}

static void host_wake(void *ctx, struct vio_device *dev)
{
    struct worker_group *group = ctx;

    group->params.wake(group->params.wake_ctx, dev);
}

const struct vio_host_ops worker_host_ops = {
    .attach = host_attach,
    .detach = host_detach,
    .park = host_park,
    .unpark = host_unpark,
    .wake = host_wake,
};

/* ------------------------------------------------------------------ pools and groups */

int worker_pool_create(unsigned threads, const struct vio_log *log, struct worker_pool **out)
{
    struct worker_pool *pool = calloc(1, sizeof(*pool));
    int err;

    if (pool == NULL)
        return -ENOMEM;
    err = catch_nudges();
    if (err < 0) {
        free(pool);
        return err;
    }
    pool->log = log;
    pool->shared = threads;
    if (threads > 0) {
        pool->worker = workers_new(threads);
        if (pool->worker == NULL) {
            free(pool);
            return -ENOMEM;
        }
    }
    *out = pool;
    return 0;
}

void worker_pool_destroy(struct worker_pool *pool)
{
    if (pool == NULL)
        return;
    for (unsigned i = 0; i < pool->shared; i++)
        worker_stop(pool, &pool->worker[i]);
    free(pool->worker);
    free(pool);
}

unsigned worker_pool_running(const struct worker_pool *pool)
{
    return pool->running;
}

/* A worker that the shared ones take turns to be. */
static struct worker *next_shared(struct worker_pool *pool)
{
    return &pool->worker[pool->turn++ % pool->shared];
}

static void home_leave(struct worker_pool *pool, struct worker_home *home)
{
    if (home == NULL || --home->groups > 0)
        return;
    for (struct worker_home **at = &pool->homes; *at != NULL; at = &(*at)->next) {
        if (*at == home) {
            *at = home->next;
            break;
        }
    }
    if (home->own != NULL)
        worker_stop(pool, home->own);
    free(home->own);
    free(home->name);
    free(home);
}

static struct worker_home *home_enter(struct worker_pool *pool, const char *name)
{
    struct worker_home *home;

    for (home = pool->homes; home != NULL; home = home->next) {
        if (strcmp(home->name, name) == 0) {
            home->groups++;
            return home;
        }
    }
    home = calloc(1, sizeof(*home));
    if (home == NULL)
        return NULL;
    home->groups = 1;
    home->name = strdup(name);
    home->own = pool->shared == 0 ? workers_new(1) : NULL;
    if (home->name == NULL || (pool->shared == 0 && home->own == NULL)) {
        home_leave(pool, home);
        return NULL;
    }
    home->worker = home->own != NULL ? home->own : next_shared(pool);
    home->next = pool->homes;
    pool->homes = home;
    return home;
}

/* The workers of a group that has none of its own yet. */
static int find_workers(struct worker_group *group, const char *name)
{
    struct worker_pool *pool = group->pool;
    unsigned threads = group->params.threads;

    group->worker = calloc(threads, sizeof(struct worker *));
    if (group->worker == NULL)
        return -ENOMEM;
    if (name != NULL) {
        group->home = home_enter(pool, name);
        if (group->home == NULL)
            return -ENOMEM;
        group->worker[0] = group->home->worker;
        return 0;
    }
    if (pool->shared == 0) {
        group->own = workers_new(threads);
        if (group->own == NULL)
            return -ENOMEM;
    }
    for (unsigned i = 0; i < threads; i++)
        group->worker[i] = group->own != NULL ? &group->own[i] : next_shared(pool);
    return 0;
}

int worker_group_create(struct worker_pool *pool, const struct worker_group_params *params, struct worker_group **out)
{
    struct worker_group *group = calloc(1, sizeof(*group));

    if (group == NULL)
        return -ENOMEM;
    assert(params->name == NULL || params->threads == 1);
    group->pool = pool;
    group->params = *params;
    group->params.name = NULL; /* the caller's */
    if (pool->shared > 0 && params->threads > pool->shared)
        group->params.threads = pool->shared;
    if (find_workers(group, params->name) < 0) {
        worker_group_destroy(group);
        return -ENOMEM;
    }
    *out = group;
    return 0;
}

void worker_group_destroy(struct worker_group *group)
{
    if (group == NULL)
        return;
    for (unsigned i = 0; group->own != NULL && i < group->params.threads; i++)
        worker_stop(group->pool, &group->own[i]);
    home_leave(group->pool, group->home);
    free(group->own);
    free(group->worker);
    free(group->queue);
    free(group->where);
    free(group);
}
