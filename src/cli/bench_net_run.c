/* SPDX-License-Identifier: MIT */
/*
 * Purpose: runs of the load of a network device: the device opened, workers made, one load or the search for the highest rate
 * at which hardly anything is lost, and the result. Where it sits: cli/. Threads: the caller's, while no worker runs.
 * Trust: see bench_net.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/bench_net.h"
#include "spec/net.h"
#include "spec/virtio.h"

enum { ROOM = 2048, SPARE = 1024, TRIALS = 24, HOPELESS = 64 };
#define KEEPS_UP 0.9 /* of a rate: fewer came through in time, so that it is none that the device can do */
#define NEAR 0.01     /* of the rate between what goes and what does not: the search ends */

/* One load, summed up. */
struct measured {
    double elapsed, rate;          /* s; packets a second, of what the mode counts */
    uint64_t cpu, peer_cpu;        /* ns */
    uint64_t packets, bytes;       /* while it was measured */
    uint64_t sent, unique, late, twice, corrupt, foreign, nonsense, lost; /* from beginning to end */
    double wanted;                 /* packets a second; 0: whatever goes */
    struct histogram latency;
};

/* ------------------------------------------------------------------ the device, and workers */

static void want(struct net_run *run)
{
    const struct bench_params *p = run->p;
    struct vio_drv_net_params params = { .pairs = p->queues, .queue_size = p->queue_size, .used = p->wait ? net_used : NULL,
                                         .ctx = run };
    struct vio_features mine = vio_features_of(~UINT64_C(0) >> 22 & ~UINT64_C(0) << VIRTIO_F_NOTIFY_ON_EMPTY); /* of rings */

    vio_drv_net_driver(&run->driver, &params);
    vio_features_set(&mine, VIRTIO_NET_F_STATUS);
    if (p->queues > 1) {
        vio_features_set(&mine, VIRTIO_NET_F_MQ);
        vio_features_set(&mine, VIRTIO_NET_F_CTRL_VQ);
    }
    if (p->mergeable)
        vio_features_set(&mine, VIRTIO_NET_F_MRG_RXBUF);
    /* no offloads: frames are as they are; no filters: they are to nobody */
    run->driver.driver.features = vio_features_and(run->driver.driver.features, mine);
}

static uint64_t frames_of(const struct bench_params *p)
{
    return (uint64_t)p->queue_size + SPARE;
}

static uint32_t receive_room(const struct bench_params *p)
{
    return !p->mergeable && p->size > ROOM ? (uint32_t)p->size : ROOM;
}

static uint32_t send_room(const struct bench_params *p)
{
    return p->size > ROOM ? (uint32_t)p->size : ROOM;
}

static int open_device(struct net_run *run, char *why)
{
    const struct bench_params *p = run->p;
    uint64_t frame = (uint64_t)receive_room(p) + send_room(p) + 2 * (VIO_DRV_NET_HEADROOM + 64 + 64);
    uint64_t bytes = p->queues * (frames_of(p) * frame + (uint64_t)p->queue_size * 512 + (256 << 10));
    int error = bench_connect(&run->device, p, VIRTIO_ID_NET, bytes, why);

    if (error)
        return error;
    want(run);
    error = bench_drive(&run->device, p, VIRTIO_ID_NET, &run->driver.driver, why);
    if (error)
        return error;
    run->n = vio_drv_net_of(run->device.d);
    if (vio_drv_net_info(run->n).pairs < p->queues) {
        snprintf(why, BENCH_WHY, "%s: %u pairs of queues: the device has %u", p->target, p->queues,
                 vio_drv_net_info(run->n).pairs);
        return -EINVAL;
    }
    return bench_check_calls(&run->device, p, 2, why);
}

static int make_worker(struct net_run *run, uint16_t pair)
{
    const struct bench_params *p = run->p;
    const struct vio_platform *platform = run->device.target.t->platform;
    struct net_worker *w = &run->worker[pair];
    unsigned room = vio_drv_net_send_room(run->n, pair);
    struct vio_net_buf *buf;

    w->run = run;
    w->pair = pair;
    w->stamps = p->mode == BENCH_LOOP || p->verify;
    w->burst = p->burst < room ? p->burst : room;
    w->burst = p->mode == BENCH_LOOP && run->window < w->burst ? run->window : w->burst;
    w->chunk = vio_drv_net_give_room(run->n, pair) / 2;
    w->chunk = w->chunk > NET_CHUNK ? NET_CHUNK : w->chunk == 0 ? 1 : w->chunk;
    w->sequence = calloc(FRAME_SOURCES, sizeof(*w->sequence));
    w->scratch = malloc(FRAME_MAX);
    if (w->sequence == NULL || w->scratch == NULL ||
        vio_net_pool_create(platform, (uint32_t)frames_of(p), send_room(p), &w->send_pool) != 0 ||
        vio_net_pool_create(platform, (uint32_t)frames_of(p), receive_room(p), &w->receive_pool) != 0)
        return -ENOMEM;
    for (uint32_t i = 0; (buf = vio_net_pool_at(w->send_pool, i)) != NULL; i++)
        frame_make(vio_net_buf_data(buf), (uint32_t)p->size, pair);
    return 0;
}

static void close_run(struct net_run *run)
{
    bench_disconnect(&run->device);
    for (uint16_t i = 0; run->worker != NULL && i < run->p->queues; i++) {
        vio_net_pool_destroy(run->worker[i].send_pool);
        vio_net_pool_destroy(run->worker[i].receive_pool);
        free(run->worker[i].sequence);
        free(run->worker[i].scratch);
    }
    free(run->worker);
    target_free_memory(&run->device.target);
}

/* ------------------------------------------------------------------ one load */

static void forget(struct net_worker *w)
{
    histogram_reset(&w->latency);
    w->sent_measured = w->received_measured = w->bytes = w->corrupt = w->foreign = w->nonsense = 0;
    w->given_up = w->number; /* what a load before this one lost */
    for (unsigned i = 0; i < FRAME_SOURCES; i++)
        w->sequence[i].unique = w->sequence[i].late = w->sequence[i].twice = 0;
    if (w->run->p->mode == BENCH_IN)
        memset(w->sequence, 0, FRAME_SOURCES * sizeof(*w->sequence));
}

/* -EIO: a device that stands still, with the sentence. */
static int check_worker(const struct net_run *run, const struct net_worker *w, char *why)
{
    static const char *const doing[] = { "took no frame", "gave no frame", "sent no frame back" };
    enum vio_fault fault = vio_drv_net_fault(run->n, w->pair);

    if (w->broken)
        snprintf(why, BENCH_WHY, "%s: pair %u of queues broke: %s (%s)", run->p->target, w->pair, vio_fault_text(fault),
                 vio_fault_clause(fault));
    else if (w->silent)
        snprintf(why, BENCH_WHY, "%s: pair %u: the device %s for %u ms", run->p->target, w->pair, doing[run->p->mode],
                 run->p->timeout_ms);
    return w->broken || w->silent ? -EIO : 0;
}

static void add(struct measured *m, const struct net_run *run, const struct net_worker *w)
{
    bool out = run->p->mode == BENCH_OUT;

    m->cpu += w->head.cpu_ns;
    m->packets += out ? w->sent_measured : w->received_measured;
    m->bytes += out ? w->sent_measured * run->p->size : w->bytes;
    m->sent += w->number - w->number_before;
    m->corrupt += w->corrupt;
    m->foreign += w->foreign;
    m->nonsense += w->nonsense;
    for (unsigned i = 0; i < FRAME_SOURCES; i++) {
        const struct frame_sequence *s = &w->sequence[i];

        m->unique += s->unique;
        m->late += s->late;
        m->twice += s->twice;
        m->lost += run->p->mode == BENCH_IN && s->begun ? s->next - s->first - s->unique : 0;
    }
    histogram_merge(&m->latency, &w->latency);
}

static int load(struct net_run *run, double rate, double warmup, struct measured *m, char *why)
{
    const struct bench_params *p = run->p;
    struct bench_load load = { .p = p, .work = net_work, .unit = "packets", .warmup = warmup, .seconds = p->seconds,
                               .workers = p->queues, .socket = target_socket(&run->device.target) };
    int error;

    run->rate = rate;
    atomic_store(&run->ended, 0);
    for (uint16_t i = 0; i < p->queues; i++)
        forget(&run->worker[i]);
    error = bench_load(&load, &run->worker->head, sizeof(*run->worker), why);
    memset(m, 0, sizeof(*m));
    histogram_reset(&m->latency);
    for (uint16_t i = 0; !error && i < p->queues; i++) {
        error = check_worker(run, &run->worker[i], why);
        add(m, run, &run->worker[i]);
    }
    m->elapsed = (double)load.elapsed / 1e9;
    m->peer_cpu = load.peer_cpu;
    m->wanted = rate;
    m->rate = m->elapsed > 0 ? (double)m->packets / m->elapsed : 0;
    if (p->mode == BENCH_LOOP)
        m->lost = m->sent > m->unique ? m->sent - m->unique : 0;
    return error;
}

static double loss_of(const struct measured *m)
{
    uint64_t all = m->unique + m->lost;

    return all > 0 ? (double)m->lost / (double)all : 0;
}

/* ------------------------------------------------------------------ the search (RFC 2544, 26.1, by halves) */

struct search {
    double low, high; /* packets a second: went; did not, or is more than can be sent */
    bool found;
    struct measured best, last;
    json_t *trials;
};

static bool trial(struct net_run *run, struct search *s, double rate, char *why, int *error)
{
    struct measured *m = &s->last;
    bool good;

    *error = load(run, rate, run->p->warmup, m, why);
    if (*error)
        return false;
    good = m->sent > 0 && loss_of(m) <= run->p->loss && (rate <= 0 || m->rate >= rate * KEEPS_UP * (1 - run->p->loss));
    json_array_append_new(s->trials, json_pack("{s:f, s:f, s:I, s:I, s:f, s:b}", "wanted", rate, "rate", m->rate, "sent",
                                               (json_int_t)m->sent, "lost", (json_int_t)m->lost, "loss", loss_of(m), "good",
                                               good));
    if (run->p->progress)
        fprintf(stderr, "%12.0f packets/s: %.6f %% lost%s\n", m->rate, loss_of(m) * 100, good ? "" : ": too many");
    if (good) {
        s->found = true;
        s->best = *m;
    }
    return good;
}

/* First as fast as it goes; then at what came of that; then between what went and what did not. */
static int search(struct net_run *run, struct search *s, char *why)
{
    double came, next;
    int error;

    run->flood = true;
    if (trial(run, s, 0, why, &error) || error)
        return error;
    s->high = s->last.elapsed > 0 ? (double)s->last.sent / (s->last.elapsed + run->p->warmup) : 0;
    next = came = s->last.rate;
    for (unsigned i = 0; i < TRIALS && s->high - s->low > NEAR * s->high && next >= 1; i++) {
        if (trial(run, s, next, why, &error))
            s->low = next;
        else
            s->high = next;
        if (error)
            return error;
        if (!s->found && next < came / HOPELESS)
            break;
        /* far apart: a device that is flooded may have said little of what it can do */
        next = s->low > 0 && s->high > 4 * s->low ? 2 * s->low : (s->low + s->high) / 2;
    }
    return 0;
}

/* ------------------------------------------------------------------ results */

static json_t *integrity_json(const struct bench_params *p, const struct measured *m)
{
    bool known = p->mode == BENCH_LOOP || (p->mode == BENCH_IN && p->verify && m->unique > 0);
    json_t *lost = known ? json_integer((json_int_t)m->lost) : json_null();
    json_t *loss = known ? json_real(loss_of(m)) : json_null();

    return json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:I}", "lost", lost, "loss", loss, "reordered", (json_int_t)m->late,
                     "duplicated", (json_int_t)m->twice, "corrupted", (json_int_t)m->corrupt, "foreign",
                     (json_int_t)m->foreign, "not_frames", (json_int_t)m->nonsense);
}

static json_t *result_json(const struct net_run *run, const struct measured *m)
{
    const struct bench_params *p = run->p;
    double per = m->packets > 0 ? 1.0 / (double)m->packets : 0;
    struct vio_drvdev *d = run->device.d;
    json_t *result = json_pack("{s:s, s:s, s:s, s:I, s:s, s:i, s:i, s:b, s:i, s:b, s:f, s:f, s:I, s:f, s:f, s:f, s:o, s:I}",
                               "target", p->target, "type", "net", "mode", bench_mode_name(p->mode), "size", (json_int_t)p->size, "ring",
                               vio_drvdev_has(d, VIRTIO_F_RING_PACKED) ? "packed" : "split", "queues", (int)p->queues,
                               "queue_size", (int)vio_drvdev_queue_size(d, 0), "mergeable",
                               vio_drvdev_has(d, VIRTIO_NET_F_MRG_RXBUF), "burst", (int)run->worker[0].burst, "verified",
                               p->verify, "wanted_rate", m->wanted, "seconds", m->elapsed, "packets", (json_int_t)m->packets,
                               "rate", m->rate, "bytes_per_second", m->elapsed > 0 ? (double)m->bytes / m->elapsed : 0,
                               "cpu_ns_per_packet", (double)m->cpu * per, "peer_cpu_ns_per_packet",
                               bench_peer_json(&run->device, m->peer_cpu, m->packets), "sent", (json_int_t)m->sent);

    if (result == NULL)
        return NULL;
    json_object_update_new(result, integrity_json(p, m));
    if (p->mode == BENCH_LOOP) {
        json_object_set_new(result, "depth", json_integer((json_int_t)run->window));
        json_object_set_new(result, "latency_ns", bench_latency_json(&m->latency));
    }
    return result;
}

static json_t *run_search(struct net_run *run, char *why)
{
    struct search *s = calloc(1, sizeof(*s));
    json_t *result = NULL;

    if (s == NULL) {
        snprintf(why, BENCH_WHY, "%s: no memory", run->p->target);
        return NULL;
    }
    s->trials = json_array();
    if (search(run, s, why) == 0)
        result = result_json(run, s->found ? &s->best : &s->last);
    if (result != NULL)
        json_object_set_new(result, "search", json_pack("{s:f, s:b, s:O}", "loss", run->p->loss, "found", s->found, "trials",
                                                        s->trials));
    if (result != NULL && !s->found)
        json_object_set_new(result, "rate", json_real(0));
    json_decref(s->trials);
    free(s);
    return result;
}

/* A device that moves nothing at all has no figures. */
static bool any_packet(const struct net_run *run, const struct measured *m, char *why)
{
    static const char *const doing[] = { "was taken", "came", "came back" };

    if (m->packets == 0)
        snprintf(why, BENCH_WHY, "%s: no packet %s in %.3g s", run->p->target, doing[run->p->mode], m->elapsed);
    return m->packets > 0;
}

static json_t *run_once(struct net_run *run, char *why)
{
    struct measured *m = calloc(1, sizeof(*m));
    json_t *result = NULL;

    if (m == NULL)
        snprintf(why, BENCH_WHY, "%s: no memory", run->p->target);
    else if (load(run, run->p->rate, run->p->warmup, m, why) == 0 && any_packet(run, m, why))
        result = result_json(run, m);
    free(m);
    return result;
}

json_t *bench_net(const struct bench_params *params, char *why)
{
    struct net_run run = { .p = params, .window = params->depth };
    json_t *result = NULL;
    int error = open_device(&run, why);

    if (!error) {
        run.worker = calloc(params->queues, sizeof(*run.worker));
        error = run.worker != NULL ? 0 : -ENOMEM;
        for (uint16_t i = 0; !error && i < params->queues; i++)
            error = make_worker(&run, i);
        if (error)
            snprintf(why, BENCH_WHY, "%s: no memory for %u pairs of queues", params->target, params->queues);
    }
    if (!error)
        result = params->loss >= 0 ? run_search(&run, why) : run_once(&run, why);
    close_run(&run);
    return result;
}
