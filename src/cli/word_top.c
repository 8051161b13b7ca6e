/* SPDX-License-Identifier: MIT */
/*
 * Purpose: `vio top PATH`: what the devices of a vio that serves do, in rates, again and again. The counters come from
 * its control socket; rates are made here. Where it sits: cli/.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/ctl.h"
#include "cli/options.h"
#include "cli/words.h"

enum { OPT_JSON, OPT_INTERVAL, OPT_COUNT, OPT_HELP };

static const struct option_text table[] = {
    [OPT_JSON] = { "json", NULL, "one JSON object a line instead of a table" },
    [OPT_INTERVAL] = { "interval", "SECONDS", "from one table to the next, 0.1 to 3600 [1]" },
    [OPT_COUNT] = { "count", "N", "end after N tables [never]" },
    [OPT_HELP] = { "help", NULL, "show this" },
    { NULL, NULL, NULL },
};

static const double INTERVAL_MIN = 0.1, INTERVAL_MAX = 3600;

/* ------------------------------------------------------------------ from counters to rates */

/* The element of `list` whose `key` is as that of `like`. */
static const json_t *same(const json_t *list, const char *key, const json_t *like)
{
    const json_t *wanted = json_object_get(like, key);
    size_t i;
    json_t *one;

    json_array_foreach(list, i, one)
        if (wanted != NULL && json_equal(json_object_get(one, key), wanted))
            return one;
    return NULL;
}

/* A device that was not there before has done nothing before; a counter that fell was begun anew. */
static double rate(const json_t *before, const char *key, const json_t *now, double seconds)
{
    json_int_t a = json_integer_value(json_object_get(before, key)), b = json_integer_value(now);

    return b > a ? (double)(b - a) / seconds : 0;
}

/* Every integer of `now` but `keep` becomes a rate. */
static json_t *rates_of(const json_t *before, const json_t *now, const char *keep, double seconds)
{
    json_t *rates = json_object(), *value;
    const char *key;

    json_object_foreach((json_t *)(uintptr_t)now, key, value) {
        if (!json_is_integer(value) || (keep != NULL && strcmp(key, keep) == 0))
            json_object_set(rates, key, value);
        else
            json_object_set_new(rates, key, json_real(rate(before, key, value, seconds)));
    }
    return rates;
}

static json_t *device_rates(const json_t *before, const json_t *now, double seconds)
{
    json_t *rates = json_object(), *value, *q;
    const char *key;
    size_t i;

    json_object_foreach((json_t *)(uintptr_t)now, key, value) {
        if (json_is_object(value)) {
            json_object_set_new(rates, key, rates_of(json_object_get(before, key), value, NULL, seconds));
        } else if (json_is_array(value)) {
            json_t *list = json_array();

            json_array_foreach(value, i, q)
                json_array_append_new(list, rates_of(same(json_object_get(before, key), "queue", q), q, "queue", seconds));
            json_object_set_new(rates, key, list);
        } else {
            json_object_set(rates, key, value);
        }
    }
    return rates;
}

/* {"seconds": how long, "devices": as in the counters, with rates a second in place of counters} */
static json_t *all_rates(const json_t *before, const json_t *now)
{
    json_int_t from = json_integer_value(json_object_get(before, "time_ns"));
    json_int_t to = json_integer_value(json_object_get(now, "time_ns"));
    double seconds = to > from ? (double)(to - from) / 1e9 : INTERVAL_MIN;
    json_t *list = json_array(), *d;
    size_t i;

    json_array_foreach(json_object_get(now, "devices"), i, d)
        json_array_append_new(list, device_rates(same(json_object_get(before, "devices"), "name", d), d, seconds));
    return json_pack("{s:f, s:o}", "seconds", seconds, "devices", list);
}

/* ------------------------------------------------------------------ as a table */

enum { NAME_COLUMN = 20 };

static double value(const json_t *of, const char *key)
{
    return json_number_value(json_object_get(of, key));
}

static const char *text_of(const json_t *of, const char *key)
{
    const char *text = json_string_value(json_object_get(of, key));

    return text != NULL ? text : "?";
}

/* A name, cut or filled up to its column. */
static void print_name(const char *name)
{
    char cut[NAME_COLUMN + 1];

    snprintf(cut, sizeof(cut), "%-*s", NAME_COLUMN, name);
    ctl_print(cut, stdout);
}

static void print_queues(const json_t *devices)
{
    size_t i, k;
    json_t *d, *q;

    printf("%-*s %5s %12s %12s %12s %12s %8s\n", NAME_COLUMN, "DEVICE", "QUEUE", "BUFFERS/s", "KICKS/s", "CALLS/s",
           "SERVICES/s", "BATCH");
    json_array_foreach(devices, i, d) {
        const json_t *queues = json_object_get(d, "queues");

        if (json_array_size(queues) == 0) {
            print_name(text_of(d, "name"));
            printf(" %5s %s\n", "-", json_is_true(json_object_get(d, "connected")) ? "no queue runs" : "no front-end");
        }
        json_array_foreach(queues, k, q) {
            double buffers = value(q, "buffers"), publishes = value(q, "publishes");

            print_name(text_of(d, "name"));
            printf(" %5.0f %12.0f %12.0f %12.0f %12.0f %8.1f%s\n", value(q, "queue"), buffers, value(q, "kicks"),
                   value(q, "calls"), value(q, "services"), publishes > 0 ? buffers / publishes : 0,
                   value(q, "faults") > 0 ? "  FAULTS" : json_is_true(json_object_get(q, "running")) ? "" : "  stopped");
        }
    }
}

static double lost(const json_t *net, const char *direction)
{
    const char *key;
    json_t *v;
    double sum = 0;
    size_t n = strlen(direction);

    /* All but packets and bytes is why a packet was not passed on. */
    json_object_foreach((json_t *)(uintptr_t)net, key, v)
        if (strncmp(key, direction, n) == 0 && strcmp(key + n, "packets") != 0 && strcmp(key + n, "bytes") != 0)
            sum += json_number_value(v);
    return sum;
}

static void print_net(const json_t *devices)
{
    bool head = false;
    size_t i;
    json_t *d;

    json_array_foreach(devices, i, d) {
        const json_t *net = json_object_get(d, "net");

        if (net == NULL)
            continue;
        if (!head)
            printf("\n%-*s %12s %10s %10s %12s %10s %10s\n", NAME_COLUMN, "NETWORK", "TO GUEST/s", "MBIT/s", "LOST/s",
                   "OF GUEST/s", "MBIT/s", "LOST/s");
        head = true;
        print_name(text_of(d, "name"));
        printf(" %12.0f %10.1f %10.0f %12.0f %10.1f %10.0f\n", value(net, "rx_packets"), value(net, "rx_bytes") * 8 / 1e6,
               lost(net, "rx_"), value(net, "tx_packets"), value(net, "tx_bytes") * 8 / 1e6, lost(net, "tx_"));
    }
}

static void print_backends(const json_t *devices)
{
    const char *key;
    bool head = false;
    size_t i;
    json_t *d, *v;

    json_array_foreach(devices, i, d) {
        json_object_foreach(json_object_get(d, "backend"), key, v) {
            if (json_number_value(v) <= 0)
                continue;
            if (!head)
                printf("\n%-*s %-24s %12s\n", NAME_COLUMN, "BEHIND", "COUNTER", "PER SECOND");
            head = true;
            print_name(text_of(d, "name"));
            printf(" ");
            ctl_print(key, stdout);
            printf("%*s %12.0f\n", strlen(key) < 24 ? 24 - (int)strlen(key) : 0, "", json_number_value(v));
        }
    }
}

static int print_table(const json_t *rates, bool first)
{
    const json_t *devices = json_object_get(rates, "devices");

    if (isatty(STDOUT_FILENO) == 1)
        printf("\033[H\033[2J"); /* home, and all empty */
    else if (!first)
        printf("\n");
    print_queues(devices);
    print_net(devices);
    print_backends(devices);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

/* ------------------------------------------------------------------ again and again */

struct top {
    struct ctl *ctl;
    double interval;
    unsigned long count; /* 0: for ever */
    bool json;
};

static int show(const struct top *top, const json_t *rates, bool first)
{
    if (!top->json)
        return print_table(rates, first);
    if (json_dumpf(rates, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9)) < 0 || putchar('\n') == EOF)
        return EXIT_FAILED;
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

static void wait_for(double seconds)
{
    struct timespec t = { .tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9) };

    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

static json_t *counters(const struct top *top)
{
    return ctl_ask(top->ctl, json_pack("{s:s}", "do", "counters"));
}

static int run(const struct top *top)
{
    json_t *before = counters(top), *now, *rates;
    int status = before != NULL ? EXIT_DONE : EXIT_FAILED;

    for (unsigned long n = 0; status == EXIT_DONE && (top->count == 0 || n < top->count); n++) {
        wait_for(top->interval);
        now = counters(top);
        rates = now != NULL ? all_rates(before, now) : NULL;
        status = rates != NULL ? show(top, rates, n == 0) : EXIT_FAILED;
        json_decref(rates);
        json_decref(before);
        before = now;
    }
    json_decref(before);
    return status;
}

/* ------------------------------------------------------------------ arguments */

static int print_help(void)
{
    printf("usage: vio top PATH [OPTIONS]\n\n"
           "Shows what the devices of a vio that serves do, each second: buffers, notifications and, of network devices,\n"
           "packets. PATH is the control socket that `vio serve --control=PATH` has made.\n\n");
    options_help(table, stdout);
    printf("\nBATCH: buffers that were shown to the driver at a time.\n");
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

static int take_interval(const char *text, double *interval)
{
    char *end;
    double n = strtod(text, &end);

    if (text[strspn(text, "0123456789.")] != '\0' || *end != '\0' || !(n >= INTERVAL_MIN && n <= INTERVAL_MAX))
        return usage_error("vio top", "--interval=%s is not a number of seconds from 0.1 to 3600", text);
    *interval = n;
    return EXIT_DONE;
}

static int take_count(const char *text, unsigned long *count)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || n < 1 || n > UINT32_MAX)
        return usage_error("vio top", "--count=%s is not a number from 1 on", text);
    *count = n;
    return EXIT_DONE;
}

int word_top(int argc, char **argv)
{
    struct options options = { .word = "vio top", .table = table, .argc = argc, .argv = argv };
    struct top top = { .interval = 1 };
    const char *path = NULL;
    struct option_seen seen;
    int more, status;

    while ((more = options_next(&options, &seen)) > 0) {
        status = EXIT_DONE;
        switch (seen.index) {
        case OPT_HELP: return print_help();
        case OPT_JSON: top.json = true; break;
        case OPT_INTERVAL: status = take_interval(seen.value, &top.interval); break;
        case OPT_COUNT: status = take_count(seen.value, &top.count); break;
        default:
            if (path != NULL)
                status = usage_error("vio top", "one socket at a time: '%s' is a second one", seen.value);
            path = seen.value;
            break;
        }
        if (status != EXIT_DONE)
            return status;
    }
    if (more < 0)
        return EXIT_USAGE;
    if (path == NULL)
        return usage_error("vio top", "no socket is named: vio top PATH, of a vio serve --control=PATH");
    top.ctl = ctl_open("vio top", path);
    if (top.ctl == NULL)
        return EXIT_FAILED;
    status = run(&top);
    ctl_close(top.ctl);
    return status;
}
