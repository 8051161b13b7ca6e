/* SPDX-License-Identifier: MIT */
/* Purpose: see cli/requests.h. */
#include "cli/requests.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <vio/device.h>

#include "cli/registry.h"

enum { SENTENCE_MAX = 1024, FEATURES_TEXT_MAX = 2048 };

struct asked {
    struct endpoint *const *endpoints;
    unsigned nr;
    const json_t *request;
};

/*
 * A device's name is what a user wrote: any bytes; and a sentence may be cut in the middle of a character. What JSON does
 * not know becomes question marks.
 */
static json_t *json_text(const char *text)
{
    json_t *json = json_string(text);
    char *copy;

    if (json != NULL)
        return json;
    copy = strdup(text);
    for (char *p = copy; p != NULL && *p != '\0'; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    json = copy != NULL ? json_string(copy) : NULL;
    free(copy);
    return json;
}

VIO_PRINTF(1, 2)
static json_t *error_of(const char *format, ...)
{
    char text[SENTENCE_MAX];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    return json_pack("{s:o}", "error", json_text(text));
}

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

/* JSON's integers are signed here: a counter past that has gone wrong anyway. */
static json_t *json_count(uint64_t n)
{
    return json_integer((json_int_t)(n <= INT64_MAX ? n : INT64_MAX));
}

/* ------------------------------------------------------------------ devices, counters */

static json_t *describe(const struct endpoint *e)
{
    const struct device_kind *kind = endpoint_kind(e);
    struct vio_device *dev = endpoint_device(e);
    char features[FEATURES_TEXT_MAX];
    uint16_t running = 0;
    json_t *j;

    for (uint16_t q = 0; q < vio_device_queues(dev); q++)
        running = (uint16_t)(running + vio_device_queue_running(dev, q));
    vio_features_text(vio_device_type(dev)->id, vio_device_negotiated(dev), features, sizeof(features));
    j = json_pack("{s:o, s:s, s:b, s:i, s:i, s:s}", "name", json_text(endpoint_name(e)), "type", kind->spec.name,
                  "connected", endpoint_connected(e), "queues", (int)vio_device_queues(dev), "running", (int)running,
                  "features", features);
    if (j != NULL && kind->link != NULL)
        json_object_set_new(j, "link", json_boolean(kind->link(dev)));
    return j;
}

static json_t *queue_counters(const struct vio_device *dev, uint16_t q)
{
    struct vio_queue_counters c;

    vio_device_queue_counters(dev, q, &c);
    return json_pack("{s:i, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "queue", (int)q, "running",
                     vio_device_queue_running(dev, q), "buffers", json_count(c.buffers), "publishes",
                     json_count(c.publishes), "calls", json_count(c.calls), "services", json_count(c.services), "idle",
                     json_count(c.idle), "kicks", json_count(c.kicks), "faults", json_count(c.faults));
}

static bool ever_ran(const struct vio_device *dev, uint16_t q)
{
    struct vio_queue_counters c;

    vio_device_queue_counters(dev, q, &c);
    return (c.buffers | c.publishes | c.calls | c.services | c.kicks | c.faults) != 0 || vio_device_queue_running(dev, q);
}

static void add_counter(void *ctx, const char *group, const char *name, uint64_t value)
{
    json_t *device = ctx, *of = json_object_get(device, group);

    if (of == NULL && json_object_set_new(device, group, json_object()) == 0)
        of = json_object_get(device, group);
    if (of != NULL)
        json_object_set_new(of, name, json_count(value));
}

static json_t *count(const struct endpoint *e)
{
    const struct device_kind *kind = endpoint_kind(e);
    struct vio_device *dev = endpoint_device(e);
    json_t *queues = json_array(), *j;

    for (uint16_t q = 0; q < vio_device_queues(dev); q++)
        if (ever_ran(dev, q))
            json_array_append_new(queues, queue_counters(dev, q));
    j = json_pack("{s:o, s:s, s:b, s:o}", "name", json_text(endpoint_name(e)), "type", kind->spec.name, "connected",
                  endpoint_connected(e), "queues", queues);
    if (j != NULL && kind->counters != NULL)
        kind->counters(dev, add_counter, j);
    return j;
}

static json_t *each(const struct asked *a, json_t *(*one)(const struct endpoint *e))
{
    json_t *list = json_array();

    for (unsigned i = 0; i < a->nr; i++)
        if (a->endpoints[i] != NULL)
            json_array_append_new(list, one(a->endpoints[i]));
    return list;
}

static json_t *do_devices(const struct asked *a)
{
    return json_pack("{s:o}", "devices", each(a, describe));
}

static json_t *do_counters(const struct asked *a)
{
    return json_pack("{s:o, s:o}", "time_ns", json_count(now_ns()), "devices", each(a, count));
}

/* ------------------------------------------------------------------ what changes something */

/* The device that the request names; NULL with the error. */
static struct endpoint *named(const struct asked *a, json_t **error)
{
    const char *name = json_string_value(json_object_get(a->request, "device"));

    for (unsigned i = 0; name != NULL && i < a->nr; i++)
        if (a->endpoints[i] != NULL && strcmp(endpoint_name(a->endpoints[i]), name) == 0)
            return a->endpoints[i];
    *error = name != NULL ? error_of("there is no device '%s': {\"do\":\"devices\"} lists those that there are", name)
                          : error_of("which device? \"device\" is its name");
    return NULL;
}

static json_t *done(void)
{
    return json_pack("{s:b}", "done", true);
}

static json_t *no_network_device(const struct endpoint *e, const char *lacks)
{
    return error_of("%s is a %s device: it has no %s", endpoint_name(e), endpoint_kind(e)->spec.name, lacks);
}

static json_t *do_link(const struct asked *a)
{
    const json_t *up = json_object_get(a->request, "up");
    json_t *error = NULL;
    struct endpoint *e = named(a, &error);

    if (e == NULL)
        return error;
    if (endpoint_kind(e)->set_link == NULL)
        return no_network_device(e, "link");
    if (!json_is_boolean(up))
        return error_of("\"up\" is true or false");
    endpoint_kind(e)->set_link(endpoint_device(e), json_is_true(up));
    return done();
}

static json_t *do_capture(const struct asked *a)
{
    const json_t *file = json_object_get(a->request, "file");
    json_t *error = NULL;
    struct endpoint *e = named(a, &error);
    char why[SENTENCE_MAX / 2] = "";
    int err;

    if (e == NULL)
        return error;
    if (endpoint_kind(e)->capture == NULL)
        return no_network_device(e, "frames to capture");
    if (!json_is_null(file) && (!json_is_string(file) || json_string_value(file)[0] == '\0'))
        return error_of("\"file\" is a path, or null to end the capture");
    err = endpoint_kind(e)->capture(endpoint_device(e), json_string_value(file), why, sizeof(why));
    if (err < 0)
        return error_of("%s: %s", endpoint_name(e), why[0] != '\0' ? why : strerror(-err));
    return done();
}

static json_t *do_refresh(const struct asked *a)
{
    json_t *error = NULL;
    struct endpoint *e = named(a, &error);
    int err;

    if (e == NULL)
        return error;
    if (endpoint_kind(e)->refresh == NULL)
        return no_network_device(e, "disk to look at again");
    err = endpoint_refresh(e);
    return err < 0 ? error_of("%s: the disk cannot be looked at again: %s", endpoint_name(e), strerror(-err)) : done();
}

/* ------------------------------------------------------------------ all of them */

static const struct {
    const char *name;
    json_t *(*run)(const struct asked *a);
    const char *keys[3]; /* beside "do" */
} words[] = {
    { "devices", do_devices, { NULL } },
    { "counters", do_counters, { NULL } },
    { "link", do_link, { "device", "up", NULL } },
    { "capture", do_capture, { "device", "file", NULL } },
    { "refresh", do_refresh, { "device", NULL } },
};

enum { WORDS = sizeof(words) / sizeof(words[0]) };

/* A key that nobody reads is a mistake of the one who wrote it. */
static const char *unknown_key(const json_t *request, const char *const *keys)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)request, key, value) {
        bool known = strcmp(key, "do") == 0;

        for (const char *const *k = keys; *k != NULL; k++)
            known = known || strcmp(*k, key) == 0;
        if (!known)
            return key;
    }
    return NULL;
}

json_t *requests_answer(struct endpoint *const *endpoints, unsigned nr, const json_t *request)
{
    struct asked a = { .endpoints = endpoints, .nr = nr, .request = request };
    const char *word = json_string_value(json_object_get(request, "do"));

    for (unsigned i = 0; word != NULL && i < WORDS; i++) {
        const char *key;

        if (strcmp(words[i].name, word) != 0)
            continue;
        key = unknown_key(request, words[i].keys);
        return key != NULL ? error_of("\"%s\" has no key \"%.64s\"", word, key) : words[i].run(&a);
    }
    return error_of("\"do\" is one of devices, counters, link, capture, refresh");
}
