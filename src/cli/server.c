/* SPDX-License-Identifier: MIT */
/* Purpose: see cli/server.h. */
#include "cli/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/control.h"
#include "cli/endpoint.h"
#include "cli/guard.h"
#include "cli/log.h"
#include "cli/options.h"
#include "cli/process.h"
#include "cli/requests.h"
#include "cli/switches.h"

enum { NAME_SIZE = 80, WHY_SIZE = 1024, FDS_OF_PROCESS = 32 + CONTROL_CLIENTS_MAX };

struct server {
    const struct server_params *params;
    struct cli_log log;
    struct activation activation;
    struct loop *loop;
    struct worker_pool *pool;
    struct switches *switches;
    struct control *control;      /* NULL: none */
    char (*name)[NAME_SIZE];      /* [nr] */
    int *socket;                  /* [nr]; from systemd, or -1 */
    struct endpoint **endpoint;   /* [nr]; NULL: not made yet, or ended */
    bool pidfile_written;
};

/* ------------------------------------------------------------------ arguments that do not go together */

/* A name of its own for each device. -EINVAL, said. */
static int name_devices(struct server *s)
{
    const struct server_params *p = s->params;

    for (unsigned i = 0; i < p->nr; i++) {
        const struct spec *spec = &p->specs[i];
        unsigned number = 0;

        for (unsigned k = 0; k < i; k++)
            number += p->specs[k].type == spec->type;
        if (spec_is_set(spec, "name"))
            snprintf(s->name[i], NAME_SIZE, "%s", spec_text(spec, "name"));
        else
            snprintf(s->name[i], NAME_SIZE, "%s%u", spec->type->name, number);
        for (unsigned k = 0; k < i; k++) {
            if (strcmp(s->name[i], s->name[k]) != 0)
                continue;
            (void)usage_error(p->word, "two devices have the name '%s': give one of them another name=", s->name[i]);
            return -EINVAL;
        }
    }
    return 0;
}

static bool same_text(const struct spec *a, const struct spec *b, const char *key)
{
    return spec_given(a, key) && spec_given(b, key) && strcmp(spec_text(a, key), spec_text(b, key)) == 0;
}

static int check_specs(struct server *s)
{
    const struct server_params *p = s->params;
    char why[WHY_SIZE];

    for (unsigned i = 0; i < p->nr; i++) {
        if (endpoint_check(&p->specs[i], s->activation.nr > 0, why, sizeof(why)) < 0) {
            (void)usage_error(p->word, "%s", why);
            return -EINVAL;
        }
        for (unsigned k = 0; k < i; k++) {
            const char *key = same_text(&p->specs[i], &p->specs[k], "fd") ? "fd"
                : same_text(&p->specs[i], &p->specs[k], "vhost-user") && !endpoint_wants_activation(&p->specs[i])
                ? "vhost-user" : NULL;

            if (key == NULL)
                continue;
            (void)usage_error(p->word, "%s and %s have the same %s=%s: each device needs a socket of its own",
                              s->name[k], s->name[i], key, spec_text(&p->specs[i], key));
            return -EINVAL;
        }
    }
    return 0;
}

/* ------------------------------------------------------------------ starting */

/* By name first; who has no socket of its name takes those that are left, in order. */
static int share_sockets(struct server *s)
{
    const struct server_params *p = s->params;
    unsigned wanted = 0;

    for (unsigned i = 0; i < p->nr; i++) {
        s->socket[i] = -1;
        if (!endpoint_wants_activation(&p->specs[i]))
            continue;
        wanted++;
        s->socket[i] = activation_take_named(&s->activation, s->name[i]);
    }
    for (unsigned i = 0; i < p->nr; i++) {
        if (!endpoint_wants_activation(&p->specs[i]) || s->socket[i] >= 0)
            continue;
        s->socket[i] = activation_take_next(&s->activation);
        if (s->socket[i] < 0) {
            vio_log(&s->log.log, VIO_LOG_ERROR, s->name[i],
                    "%u devices take their sockets from systemd, which handed over %u: add ListenStream= lines to the "
                    "socket unit", wanted, s->activation.nr);
            return -ENOENT;
        }
    }
    if (activation_left(&s->activation) > 0)
        vio_log(&s->log.log, VIO_LOG_WARNING, "vio", "%u of the sockets that systemd handed over are for no device",
                activation_left(&s->activation));
    return 0;
}

static int make_endpoints(struct server *s)
{
    const struct server_params *p = s->params;

    for (unsigned i = 0; i < p->nr; i++) {
        struct endpoint_params params = {
            .spec = &p->specs[i],
            .name = s->name[i],
            .socket = s->socket[i],
            .log = &s->log.log,
            .loop = s->loop,
            .pool = s->pool,
            .switches = s->switches,
        };
        int err = endpoint_create(&params, &s->endpoint[i]);

        s->socket[i] = -1; /* the endpoint's, also where it could not be made: the process ends then */
        if (err < 0)
            return err;
    }
    return 0;
}

/* ------------------------------------------------------------------ running */

static void lost_memory(struct server *s)
{
    uintptr_t address;

    while (guard_take(&address)) {
        bool known = false;

        for (unsigned i = 0; i < s->params->nr && !known; i++)
            known = s->endpoint[i] != NULL && endpoint_lost_memory(s->endpoint[i], address);
        if (!known)
            vio_log(&s->log.log, VIO_LOG_WARNING, "vio",
                    "a mapped file became shorter in use, or could not be read: a disk's, or memory that a front-end had "
                    "shared");
    }
}

/* Its only front-end went away. What others use as well, on a thread that is not this one, stays until the end. */
static void endpoint_gone(struct server *s, unsigned i)
{
    if (endpoint_shares(s->endpoint[i])) {
        endpoint_stop(s->endpoint[i]);
        return;
    }
    endpoint_destroy(s->endpoint[i]);
    s->endpoint[i] = NULL;
}

static void poked(void *ctx)
{
    struct server *s = ctx;
    bool refresh = process_refresh_wanted();
    unsigned left = 0;

    lost_memory(s);
    for (unsigned i = 0; i < s->params->nr; i++) {
        struct endpoint *e = s->endpoint[i];

        if (e == NULL)
            continue;
        endpoint_poked(e);
        if (endpoint_ended(e)) {
            endpoint_gone(s, i);
            continue;
        }
        left++;
        if (refresh)
            (void)endpoint_refresh(e);
    }
    if (left == 0 || process_stop_wanted())
        loop_stop(s->loop);
}

static json_t *answer(void *ctx, const json_t *request)
{
    const struct server *s = ctx;

    return requests_answer(s->endpoint, s->params->nr, request);
}

static int make_control(struct server *s)
{
    struct control_params params = {
        .path = s->params->control, .loop = s->loop, .log = &s->log.log, .answer = answer, .ctx = s,
    };
    char why[WHY_SIZE];
    int err;

    if (params.path == NULL)
        return 0;
    err = control_create(&params, &s->control, why, sizeof(why));
    if (err < 0)
        vio_log(&s->log.log, VIO_LOG_ERROR, "vio", "--control: %s", why);
    return err;
}

static int serve_until_stopped(struct server *s)
{
    const struct server_params *p = s->params;
    int err = make_control(s);

    if (err == 0 && p->pidfile != NULL)
        err = process_write_pidfile(p->pidfile, &s->log.log);
    if (err < 0)
        return err;
    s->pidfile_written = p->pidfile != NULL;
    notify_manager("READY=1");
    vio_log(&s->log.log, VIO_LOG_INFO, "vio", "serving %u device%s", p->nr, p->nr == 1 ? "" : "s");
    if (!process_stop_wanted())
        err = loop_run(s->loop);
    notify_manager("STOPPING=1");
    vio_log(&s->log.log, VIO_LOG_INFO, "vio", "stopping: %s",
            process_stop_wanted() ? "told to by a signal" : "no front-end is left");
    return err;
}

static int start_and_serve(struct server *s)
{
    uint64_t descriptors = FDS_OF_PROCESS;
    int err;

    for (unsigned i = 0; i < s->params->nr; i++)
        descriptors += endpoint_descriptors(&s->params->specs[i]);
    err = process_check_descriptors(descriptors, &s->log.log);
    if (err == 0)
        err = share_sockets(s);
    if (err < 0)
        return err;
    err = loop_create(&s->loop);
    if (err == 0)
        err = worker_pool_create(s->params->threads, &s->log.log, &s->pool);
    if (err == 0)
        err = switches_create(&s->log.log, &s->switches);
    if (err == 0)
        err = guard_install(s->loop);
    if (err == 0)
        err = process_catch_signals(s->loop);
    if (err < 0) {
        vio_log(&s->log.log, VIO_LOG_ERROR, "vio", "cannot start: %s", strerror(-err));
        return err;
    }
    loop_on_poke(s->loop, poked, s);
    err = make_endpoints(s);
    return err < 0 ? err : serve_until_stopped(s);
}

static void stop(struct server *s)
{
    control_destroy(s->control);
    for (unsigned i = 0; i < s->params->nr; i++)
        endpoint_stop(s->endpoint[i]);
    for (unsigned i = 0; i < s->params->nr; i++)
        endpoint_destroy(s->endpoint[i]);
    switches_destroy(s->switches);
    worker_pool_destroy(s->pool);
    if (s->pidfile_written)
        unlink(s->params->pidfile);
    /* The loop stays: the handlers of signals may poke it until the process ends. */
}

int server_run(const struct server_params *params)
{
    struct server s = { .params = params };
    int status = EXIT_FAILED;

    process_prepare();
    cli_log_init(&s.log, params->level, params->json);
    s.name = calloc(params->nr, sizeof(*s.name));
    s.socket = calloc(params->nr, sizeof(*s.socket));
    s.endpoint = calloc(params->nr, sizeof(struct endpoint *));
    if (s.name == NULL || s.socket == NULL || s.endpoint == NULL || activation_init(&s.activation) < 0) {
        fprintf(stderr, "%s: out of memory\n", params->word);
    } else if (name_devices(&s) < 0 || check_specs(&s) < 0) {
        status = EXIT_USAGE;
    } else {
        status = start_and_serve(&s) < 0 ? EXIT_FAILED : EXIT_DONE;
        stop(&s);
    }
    activation_free(&s.activation);
    free(s.name);
    free(s.socket);
    free(s.endpoint);
    return status;
}
