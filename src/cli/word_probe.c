/* SPDX-License-Identifier: MIT */
/* Purpose: `vio probe TARGET`: what is behind a transport, for people and as JSON. Where it sits: cli/. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/ctl.h"
#include "cli/options.h"
#include "cli/probe.h"
#include "cli/target.h"
#include "cli/words.h"

enum { OPT_TYPE, OPT_NO_IO, OPT_TIMEOUT, OPT_JSON, OPT_HELP };

static const struct option_text table[] = {
    [OPT_TYPE] = { "type", "TYPE", "the device's type, where it cannot be seen from its features and configuration" },
    [OPT_NO_IO] = { "no-io", NULL, "start no queue: the serial number of a disk stays unknown" },
    [OPT_TIMEOUT] = { "timeout", "MS", "how long each answer may take, in milliseconds (default 2000)" },
    [OPT_JSON] = { "json", NULL, "print as JSON" },
    [OPT_HELP] = { "help", NULL, "show this" },
    { NULL, NULL, NULL },
};

enum { TIMEOUT_DEFAULT = 2000, TIMEOUT_MAX = 600000, NAME_COLUMN = 34 };

static int print_help(void)
{
    printf("usage: vio probe TARGET [OPTIONS]\n\n"
           "Asks the device behind TARGET, written\n"
           "    " TARGET_SYNTAX ",\n"
           "what it is: type, features (and which of them vio's driver would take), queues, configuration by\n"
           "field, protocol features, memory slots, serial number.\n"
           "The device is left as it was found.\n\nTypes:");
    for (unsigned i = 0; config_type_at(i) != NULL; i++)
        printf("%s%s", i == 13 ? "\n       " : " ", config_type_at(i)->name);
    printf("\n\n");
    options_help(table, stdout);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

/* ------------------------------------------------------------------ text */

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "?";
}

static void print_value(const json_t *value)
{
    if (json_is_integer(value))
        printf("%lld", (long long)json_integer_value(value));
    else
        ctl_print(json_string_value(value) != NULL ? json_string_value(value) : "?", stdout);
}

static void print_features(const json_t *answer)
{
    size_t i;
    json_t *f;

    printf("  features: + vio's driver takes it, - it leaves it\n");
    json_array_foreach(json_object_get(answer, "features"), i, f) {
        const char *name = json_string_value(json_object_get(f, "name"));

        printf("    %s %3lld  %s\n", json_is_true(json_object_get(f, "taken")) ? "+" : "-",
               (long long)json_integer_value(json_object_get(f, "bit")), name != NULL ? name : "(not in virtio 1.4)");
    }
}

static void print_config(const json_t *answer)
{
    const json_t *config = json_object_get(answer, "config");
    size_t i;
    json_t *f;

    if (!json_is_object(config)) {
        printf("  configuration: %s\n", json_object_get(answer, "memory_slots") != NULL ?
                                         "not shown (the device has none, or no CONFIG)" : "the device has none");
        return;
    }
    printf("  configuration (%lld bytes):\n", (long long)json_integer_value(json_object_get(config, "bytes")));
    json_array_foreach(json_object_get(config, "fields"), i, f) {
        const char *says = json_string_value(json_object_get(f, "says"));

        if (!json_is_true(json_object_get(f, "valid")))
            continue;
        printf("    %-*s ", NAME_COLUMN, text_of(f, "name"));
        print_value(json_object_get(f, "value"));
        printf(says != NULL ? " (%s)\n" : "\n", says);
    }
}

static void print_text(const json_t *answer)
{
    const json_t *type = json_object_get(answer, "type");
    const char *serial = json_string_value(json_object_get(answer, "serial"));
    const char *no_serial = json_string_value(json_object_get(answer, "serial_error"));
    bool vhost_user = json_object_get(answer, "memory_slots") != NULL;
    size_t i;
    json_t *p;

    printf("%s: ", text_of(answer, "target"));
    if (json_is_object(type))
        printf("%s (%s)%s\n", text_of(type, "says"), text_of(type, "clause"),
               json_is_true(json_object_get(answer, "type_guessed")) ? ", as its features look; --type=TYPE if not" : "");
    else
        printf("a device of a type that cannot be told from its features; --type=TYPE says it\n");
    /* of a network device over vhost-user MQ's number is of pairs, as every front-end takes it */
    printf("  queue%s: %lld\n", vhost_user && strcmp(text_of(type, "name"), "net") == 0 ? " pairs" : "s",
           (long long)json_integer_value(json_object_get(answer, "queues")));
    if (vhost_user)
        printf("  memory slots: %lld\n", (long long)json_integer_value(json_object_get(answer, "memory_slots")));
    if (serial != NULL) {
        printf("  serial: ");
        ctl_print(serial, stdout);
        printf("\n");
    }
    if (no_serial != NULL) {
        printf("  serial: unknown: ");
        ctl_print(no_serial, stdout);
        printf("\n");
    }
    print_config(answer);
    print_features(answer);
    if (!vhost_user)
        return;
    printf("  protocol features:");
    json_array_foreach(json_object_get(answer, "protocol_features"), i, p)
        printf(" %s", json_string_value(p));
    printf("\n");
}

static int run(const struct probe_params *params, bool json)
{
    char why[TARGET_WHY];
    json_t *answer = probe_target(params, why);

    if (answer == NULL) {
        fprintf(stderr, "vio probe: %s\n", why);
        return EXIT_FAILED;
    }
    if (json)
        return print_json(answer, stdout);
    print_text(answer);
    json_decref(answer);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

/* EXIT_DONE, or said. */
static int take(const struct option_seen *seen, struct probe_params *params)
{
    char *end;
    unsigned long ms;

    switch (seen->index) {
    case OPT_TYPE:
        params->type = config_type_named(seen->value);
        return params->type != NULL ? EXIT_DONE : usage_error("vio probe", "--type=%s: not a type of device", seen->value);
    case OPT_TIMEOUT:
        ms = strtoul(seen->value, &end, 10);
        if (*end != '\0' || seen->value[0] < '0' || seen->value[0] > '9' || ms == 0 || ms > TIMEOUT_MAX)
            return usage_error("vio probe", "--timeout=%s: milliseconds, from 1 to %d", seen->value, TIMEOUT_MAX);
        params->timeout_ms = (unsigned)ms;
        return EXIT_DONE;
    case OPT_NO_IO: params->no_io = true; return EXIT_DONE;
    default:
        if (params->target != NULL)
            return usage_error("vio probe", "'%s' is one TARGET too many", seen->value);
        params->target = seen->value;
        return EXIT_DONE;
    }
}

int word_probe(int argc, char **argv)
{
    struct options options = { .word = "vio probe", .table = table, .argc = argc, .argv = argv };
    struct probe_params params = { .timeout_ms = TIMEOUT_DEFAULT };
    struct target target = { 0 };
    char why[TARGET_WHY];
    struct option_seen seen;
    bool json = false;
    int more, status;

    while ((more = options_next(&options, &seen)) > 0) {
        if (seen.index == OPT_HELP)
            return print_help();
        if (seen.index == OPT_JSON)
            json = true;
        else if ((status = take(&seen, &params)) != EXIT_DONE)
            return status;
    }
    if (more < 0)
        return EXIT_USAGE;
    if (params.target == NULL)
        return usage_error("vio probe", "no TARGET is named: vio probe vhost-user:PATH");
    return target_parse(&target, params.target, why) == 0 ? run(&params, json) : usage_error("vio probe", "%s", why);
}
