/* SPDX-License-Identifier: MIT */
/* Purpose: see cli/endpoint.h. */
#include "cli/endpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vio/device.h>
#include <vio/vhost_user.h>

#include "cli/registry.h"

enum {
    FDS_A_QUEUE = 5,   /* kick, call, error; the backend's ring and its event */
    FDS_A_DEVICE = 48, /* sockets, memory files while they are mapped, in-flight record, log, the backend itself */
    FDS_A_THREAD = 2,
    WHY_MAX = 512,
};

struct endpoint {
    const struct device_kind *kind;
    const struct vio_log *log;
    struct loop *loop;
    struct worker_group *group;
    struct vio_device *dev;
    struct vio_vu *vu;
    struct loop_timer timer;
    char *name;
    bool ended, shares;
    atomic_bool woken;
};

/* ------------------------------------------------------------------ which socket */

bool endpoint_wants_activation(const struct spec *spec)
{
    if (spec_given(spec, "fd"))
        return false;
    return !spec_given(spec, "vhost-user") || strcmp(spec_text(spec, "vhost-user"), "systemd") == 0;
}

int endpoint_check(const struct spec *spec, bool handed, char *why, size_t why_size)
{
    bool path = spec_given(spec, "vhost-user"), fd = spec_given(spec, "fd"), connect = spec_flag(spec, "connect");
    const struct device_kind *kind = device_kind_of(spec);
    const char *text = NULL;

    if (kind->check != NULL && kind->check(spec, why, why_size) < 0)
        return -EINVAL;
    if (connect && (fd || !path))
        text = "connect=on needs vhost-user=PATH, the socket at which the front-end listens";
    else if (!path && !fd && !handed)
        text = "does not say where its front-end is: add vhost-user=PATH (vio listens at this socket; with connect=on it "
               "connects to it), fd=N (a socket that vio was started with), or vhost-user=systemd (one from systemd)";
    else if (path && fd)
        text = "vhost-user= and fd= exclude each other";
    else if (connect && endpoint_wants_activation(spec))
        text = "connect=on is not for sockets from systemd, at which vio listens";
    if (text == NULL)
        return 0;
    snprintf(why, why_size, "%s: %s", spec->type->name, text);
    return -EINVAL;
}

static int handed_side(int fd, struct vio_vu_params *vu, char *why, size_t why_size)
{
    bool listens;
    int err = socket_listens(fd, &listens, why, why_size);

    if (err < 0)
        return err;
    vu->side = listens ? VIO_VU_LISTEN_FD : VIO_VU_FD;
    vu->fd = fd;
    return 0;
}

static int choose_side(const struct endpoint_params *params, struct vio_vu_params *vu, char *why, size_t why_size)
{
    const struct spec *spec = params->spec;

    if (params->socket >= 0)
        return handed_side(params->socket, vu, why, why_size);
    if (spec_given(spec, "fd"))
        return handed_side((int)spec_number(spec, "fd"), vu, why, why_size);
    vu->side = spec_flag(spec, "connect") ? VIO_VU_CONNECT : VIO_VU_LISTEN;
    vu->path = spec_text(spec, "vhost-user");
    return 0;
}

uint64_t endpoint_descriptors(const struct spec *spec)
{
    return FDS_A_DEVICE + FDS_A_QUEUE * (uint64_t)device_kind_of(spec)->queues(spec) +
           FDS_A_THREAD * spec_number(spec, "threads");
}

/* ------------------------------------------------------------------ what the library asks of us */

static void wake(void *ctx, struct vio_device *dev)
{
    struct endpoint *e = ctx;

    (void)dev;
    if (!atomic_exchange(&e->woken, true))
        loop_poke(e->loop);
}

static void vu_event(void *ctx, int fd, short revents)
{
    struct endpoint *e = ctx;

    vio_vu_event(e->vu, fd, revents);
}

static void vu_timer(void *ctx)
{
    struct endpoint *e = ctx;

    vio_vu_timer(e->vu);
}

static void vu_watch(void *ctx, struct vio_vu *vu, int fd, short events)
{
    struct endpoint *e = ctx;
    int err = loop_watch(e->loop, fd, events, vu_event, e);

    (void)vu;
    if (err < 0)
        vio_log(e->log, VIO_LOG_ERROR, e->name, "cannot wait for descriptor %d: %s", fd, strerror(-err));
}

static void vu_set_timer(void *ctx, struct vio_vu *vu, unsigned ms)
{
    struct endpoint *e = ctx;

    (void)vu;
    loop_timer_set(e->loop, &e->timer, ms);
}

static void vu_ended(void *ctx, struct vio_vu *vu)
{
    struct endpoint *e = ctx;

    (void)vu;
    e->ended = true;
    loop_poke(e->loop); /* destroyed from there, not from inside its own call */
}

static int vu_rarp(void *ctx, struct vio_vu *vu, const uint8_t mac[6])
{
    const struct endpoint *e = ctx;

    (void)vu;
    return e->kind->rarp(e->dev, mac);
}

static int vu_mtu(void *ctx, struct vio_vu *vu, uint16_t mtu)
{
    const struct endpoint *e = ctx;

    (void)vu;
    return e->kind->set_mtu(e->dev, mtu);
}

/* ------------------------------------------------------------------ making and ending */

static int make_device(struct endpoint *e, const struct endpoint_params *params, char *why, size_t why_size)
{
    static const enum worker_poll polls[] = { WORKER_POLL_OFF, WORKER_POLL_ON, WORKER_POLL_AUTO };
    struct worker_group_params group = {
        .threads = (unsigned)spec_number(params->spec, "threads"),
        .poll = polls[spec_number(params->spec, "poll")],
        .wake = wake,
        .wake_ctx = e,
    };
    struct vio_device_params base = { .name = e->name, .log = e->log, .host = &worker_host_ops };
    int err;

    if (e->kind->shares != NULL)
        group.name = e->kind->shares(params->spec);
    e->shares = group.name != NULL;
    err = worker_group_create(params->pool, &group, &e->group);
    if (err < 0)
        return err;
    base.host_ctx = e->group;
    return e->kind->create(params->spec, &base, params->switches, &e->dev, why, why_size);
}

static int make_transport(struct endpoint *e, const struct endpoint_params *params, char *why, size_t why_size)
{
    struct vio_vu_params vu = {
        .dev = e->dev,
        .fd = -1,
        .inband = spec_flag(params->spec, "inband"),
        .iommu = spec_flag(params->spec, "iommu"),
        .net_config = e->kind->shows_config != NULL && e->kind->shows_config(params->spec),
        .net_rarp = e->kind->rarp != NULL ? vu_rarp : NULL,
        .net_mtu = e->kind->set_mtu != NULL ? vu_mtu : NULL,
        .log = e->log,
        .watch = vu_watch,
        .timer = vu_set_timer,
        .ended = vu_ended,
        .ctx = e,
    };
    int err = choose_side(params, &vu, why, why_size);

    return err < 0 ? err : vio_vu_create(&vu, &e->vu, why, why_size);
}

int endpoint_create(const struct endpoint_params *params, struct endpoint **out)
{
    struct endpoint *e = calloc(1, sizeof(*e));
    char why[WHY_MAX] = "";
    int err = -ENOMEM;

    if (e == NULL || (e->name = strdup(params->name)) == NULL)
        goto out;
    e->kind = device_kind_of(params->spec);
    e->log = params->log;
    e->loop = params->loop;
    e->timer = (struct loop_timer){ .call = vu_timer, .ctx = e };
    err = make_device(e, params, why, sizeof(why));
    if (err == 0)
        err = make_transport(e, params, why, sizeof(why));
out:
    if (err < 0) {
        vio_log(params->log, VIO_LOG_ERROR, params->name, "%s", why[0] != '\0' ? why : strerror(-err));
        endpoint_destroy(e);
        return err;
    }
    *out = e;
    return 0;
}

void endpoint_stop(struct endpoint *e)
{
    if (e == NULL)
        return;
    vio_vu_destroy(e->vu);
    e->vu = NULL;
    if (e->loop != NULL)
        loop_timer_cancel(e->loop, &e->timer);
}

void endpoint_destroy(struct endpoint *e)
{
    if (e == NULL)
        return;
    endpoint_stop(e);
    vio_device_destroy(e->dev);
    worker_group_destroy(e->group);
    free(e->name);
    free(e);
}

/* ------------------------------------------------------------------ while it serves */

const char *endpoint_name(const struct endpoint *e)
{
    return e->name;
}

const struct device_kind *endpoint_kind(const struct endpoint *e)
{
    return e->kind;
}

struct vio_device *endpoint_device(const struct endpoint *e)
{
    return e->dev;
}

bool endpoint_connected(const struct endpoint *e)
{
    return e->vu != NULL && vio_vu_connected(e->vu);
}

bool endpoint_shares(const struct endpoint *e)
{
    return e->shares;
}

bool endpoint_ended(const struct endpoint *e)
{
    return e->ended;
}

void endpoint_poked(struct endpoint *e)
{
    if (atomic_exchange(&e->woken, false))
        vio_device_control(e->dev);
}

int endpoint_refresh(struct endpoint *e)
{
    int err = e->kind->refresh != NULL ? e->kind->refresh(e->dev) : 0;

    if (err < 0)
        vio_log(e->log, VIO_LOG_ERROR, e->name, "cannot look at the disk again: %s", strerror(-err));
    return err;
}

bool endpoint_lost_memory(struct endpoint *e, uintptr_t address)
{
    const struct vio_memory *memory = vio_device_memory(e->dev);
    unsigned nr = vio_memory_regions(memory);

    for (unsigned i = 0; i < nr; i++) {
        struct vio_memory_region region;
        char why[160];
        void *host;

        vio_memory_region_at(memory, i, &region, &host);
        if (address < (uintptr_t)host || address - (uintptr_t)host >= region.size)
            continue;
        snprintf(why, sizeof(why),
                 "guest memory at 0x%" PRIx64 " is gone: the front-end made the file of its memory shorter while vio "
                 "was using it", region.gpa + (address - (uintptr_t)host));
        if (e->vu != NULL)
            vio_vu_drop(e->vu, why);
        return true;
    }
    return false;
}
