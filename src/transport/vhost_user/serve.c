/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a loop of poll() around one device and its socket. Where it sits: transport/vhost_user, over its public calls alone.
 * Threads: one, which is the device's control thread and owns its queues. Trust: as server.c; nothing is looked at here.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <vio/serve.h>

enum { BATCH = 32, TURNS = 64 }; /* buffers a service, services before the socket is looked at again */

struct serve {
    struct vio_device *dev;
    struct vio_vu *vu;
    struct pollfd *watched; /* the socket's and the session's */
    struct pollfd *polled;  /* a copy of these, then the queues', then stop_fd: what poll() is given */
    unsigned nr_watched, room;
    uint64_t timer_ms;      /* when; 0: none */
    bool failed;            /* no memory to watch one more descriptor */
};

static uint64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* The loop itself allocates nothing: room is made where a descriptor is added. */
static bool more_room(struct serve *s)
{
    unsigned room = s->room + 16;
    struct pollfd *watched = realloc(s->watched, room * sizeof(*watched));
    struct pollfd *polled;

    if (watched == NULL)
        return false;
    s->watched = watched;
    polled = realloc(s->polled, (room + 2u * vio_device_queues(s->dev) + 1) * sizeof(*polled));
    if (polled == NULL)
        return false;
    s->polled = polled;
    s->room = room;
    return true;
}

static void watch(void *ctx, struct vio_vu *vu, int fd, short events)
{
    struct serve *s = ctx;
    unsigned i = 0;

    (void)vu;
    while (i < s->nr_watched && s->watched[i].fd != fd)
        i++;
    if (events == 0) {
        if (i < s->nr_watched)
            s->watched[i] = s->watched[--s->nr_watched];
        return;
    }
    if (i == s->nr_watched) {
        if (i == s->room && !more_room(s)) {
            s->failed = true;
            return;
        }
        s->nr_watched++;
    }
    s->watched[i] = (struct pollfd){ .fd = fd, .events = events };
}

static void timer(void *ctx, struct vio_vu *vu, unsigned ms)
{
    struct serve *s = ctx;

    (void)vu;
    s->timer_ms = now_ms() + ms;
}

/* Serves all queues once; whether any did something. */
static bool serve_queues(struct serve *s)
{
    bool busy = false;

    for (uint16_t i = 0; i < vio_device_queues(s->dev); i++)
        if (vio_device_queue_running(s->dev, i))
            busy |= vio_device_queue_service(s->dev, i, BATCH) > 0;
    return busy;
}

/* The descriptors of the queues behind those of the socket, and how long to sleep: 0 where there is work, or no kick. */
static int prepare(struct serve *s, unsigned *nr)
{
    struct pollfd *fds = s->polled;
    uint64_t now = now_ms();
    int wait = s->timer_ms == 0 ? -1 : s->timer_ms <= now ? 0 : (int)(s->timer_ms - now);

    memcpy(fds, s->watched, s->nr_watched * sizeof(fds[0]));
    *nr = s->nr_watched;
    for (uint16_t i = 0; i < vio_device_queues(s->dev); i++) {
        int kick;

        if (!vio_device_queue_running(s->dev, i))
            continue;
        kick = vio_device_queue_kick_fd(s->dev, i);
        if (vio_device_queue_arm(s->dev, i) || kick < 0)
            wait = 0;
        fds[(*nr)++] = (struct pollfd){ .fd = kick, .events = POLLIN };
        fds[(*nr)++] = (struct pollfd){ .fd = vio_device_queue_backend_fd(s->dev, i), .events = POLLIN };
    }
    return wait;
}

static void woken(struct serve *s)
{
    for (uint16_t i = 0; i < vio_device_queues(s->dev); i++) {
        if (!vio_device_queue_running(s->dev, i))
            continue;
        vio_device_queue_disarm(s->dev, i);
        vio_device_queue_kick_drain(s->dev, i);
    }
}

/* What the socket says. An event may end the watching of another: each is looked up again before it is passed on. */
static void socket_events(struct serve *s, unsigned nr)
{
    for (unsigned i = 0; i < nr; i++) {
        struct pollfd seen = s->polled[i];
        unsigned at = 0;

        while (at < s->nr_watched && s->watched[at].fd != seen.fd)
            at++;
        if (seen.revents != 0 && at < s->nr_watched)
            vio_vu_event(s->vu, seen.fd, seen.revents);
    }
}

static int run(struct serve *s, int stop_fd)
{
    while (!s->failed) {
        unsigned nr, watched = s->nr_watched;
        int wait = prepare(s, &nr), ready;

        s->polled[nr] = (struct pollfd){ .fd = stop_fd, .events = POLLIN };
        ready = poll(s->polled, nr + 1, wait);
        if (ready < 0 && errno != EINTR)
            return -errno;
        woken(s);
        if (ready > 0 && s->polled[nr].revents != 0)
            return 0;
        if (ready > 0)
            socket_events(s, watched);
        if (s->timer_ms != 0 && now_ms() >= s->timer_ms) {
            s->timer_ms = 0;
            vio_vu_timer(s->vu);
        }
        for (unsigned i = 0; i < TURNS && serve_queues(s); i++)
            ;
        vio_device_control(s->dev);
    }
    return -ENOMEM;
}

int vio_serve(struct vio_device *dev, const struct vio_serve_params *params, char *why, size_t why_size)
{
    struct serve s = { .dev = dev };
    struct vio_vu_params vu = { .dev = dev, .path = params->path, .fd = -1, .log = params->log, .watch = watch,
                                .timer = timer, .ctx = &s };
    int error;

    error = vio_vu_create(&vu, &s.vu, why, why_size);
    if (error == 0) {
        error = run(&s, params->stop_fd);
        if (error)
            (void)vio_device_refuse(why, why_size, "serving %s: %s", params->path, strerror(-error));
    }
    vio_vu_destroy(s.vu);
    free(s.watched);
    free(s.polled);
    return error;
}
