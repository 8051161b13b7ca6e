/* SPDX-License-Identifier: MIT */
/* Purpose: `vio ctl PATH WORD`: asks a vio that serves, at its control socket. Where it sits: cli/. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/ctl.h"
#include "cli/options.h"
#include "cli/words.h"

enum { OPT_JSON, OPT_HELP };

static const struct option_text table[] = {
    [OPT_JSON] = { "json", NULL, "print the answer as JSON" },
    [OPT_HELP] = { "help", NULL, "show this" },
    { NULL, NULL, NULL },
};

enum { OPERANDS_MAX = 4 }; /* PATH WORD NAME WHAT */

static void print_devices(const json_t *answer)
{
    size_t i;
    json_t *d;

    json_array_foreach(json_object_get(answer, "devices"), i, d) {
        const json_t *link = json_object_get(d, "link");
        const char *name = json_string_value(json_object_get(d, "name"));
        const char *type = json_string_value(json_object_get(d, "type"));
        const char *features = json_string_value(json_object_get(d, "features"));

        ctl_print(name != NULL ? name : "?", stdout);
        printf(": ");
        ctl_print(type != NULL ? type : "?", stdout);
        printf(", %s, %lld of %lld queues run%s\n",
               json_is_true(json_object_get(d, "connected")) ? "a front-end is connected" : "no front-end",
               (long long)json_integer_value(json_object_get(d, "running")),
               (long long)json_integer_value(json_object_get(d, "queues")),
               link == NULL ? "" : json_is_true(link) ? ", link up" : ", link down");
        printf("    features: ");
        ctl_print(features != NULL ? features : "?", stdout);
        printf("\n");
    }
}

/* "NAME.GROUP.COUNTER VALUE", for grep and awk. */
static void print_group(const char *device, const char *group, const json_t *counters)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)counters, key, value) {
        if (!json_is_integer(value) || strcmp(key, "queue") == 0)
            continue;
        ctl_print(device, stdout);
        printf(".");
        ctl_print(group, stdout);
        printf(".");
        ctl_print(key, stdout);
        printf(" %lld\n", (long long)json_integer_value(value));
    }
}

static void print_counters(const json_t *answer)
{
    size_t i, k;
    json_t *d, *q;

    json_array_foreach(json_object_get(answer, "devices"), i, d) {
        const char *name = json_string_value(json_object_get(d, "name")), *key;
        json_t *value;

        if (name == NULL)
            continue;
        json_array_foreach(json_object_get(d, "queues"), k, q) {
            char group[32];

            snprintf(group, sizeof(group), "queue%lld", (long long)json_integer_value(json_object_get(q, "queue")));
            print_group(name, group, q);
        }
        json_object_foreach(d, key, value)
            if (json_is_object(value))
                print_group(name, key, value);
    }
}

static const struct word {
    const char *name;
    const char *operands; /* behind it, as the help names them */
    int nr;
    const char *help;
    void (*print)(const json_t *answer); /* NULL: success says nothing */
} ctl_words[] = {
    { "devices", "", 0, "what is served, to whom, and with which features", print_devices },
    { "counters", "", 0, "all counters", print_counters },
    { "link", " NAME up|down", 2, "plugs the cable of a network device in, or out", NULL },
    { "capture", " NAME FILE|off", 2, "writes what crosses a network device into FILE (pcapng); off: ends that", NULL },
    { "refresh", " NAME", 1, "looks at a disk again: a file that grew becomes a disk that grew", NULL },
};

enum { CTL_WORDS = sizeof(ctl_words) / sizeof(ctl_words[0]), HELP_COLUMN = 26 };

static int print_help(void)
{
    printf("usage: vio ctl PATH WORD [OPTIONS]\n\n"
           "Asks a vio that serves, at the control socket that `vio serve --control=PATH` has made:\n\n");
    for (int i = 0; i < CTL_WORDS; i++)
        printf("  %s%-*s %s\n", ctl_words[i].name, HELP_COLUMN - 3 - (int)strlen(ctl_words[i].name), ctl_words[i].operands,
               ctl_words[i].help);
    printf("\n");
    options_help(table, stdout);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

/* vio serve may have another working directory than ours. NULL: said. */
static json_t *absolute(const char *file)
{
    char *folder = file[0] == '/' ? NULL : getcwd(NULL, 0);
    json_t *json = NULL;

    if (file[0] == '/')
        json = json_string(file);
    else if (folder != NULL)
        json = json_sprintf("%s/%s", folder, file);
    free(folder);
    if (json == NULL)
        fprintf(stderr, "vio ctl: %s is not UTF-8, or there is no working directory\n", file);
    return json;
}

/* The request of a word and its operands. NULL: said; *status is set. */
static json_t *make_request(const struct word *word, const char *const *operand, int *status)
{
    json_t *file;

    *status = EXIT_USAGE;
    if (strcmp(word->name, "link") == 0) {
        if (strcmp(operand[1], "up") != 0 && strcmp(operand[1], "down") != 0) {
            (void)usage_error("vio ctl", "link: '%s' is not up or down", operand[1]);
            return NULL;
        }
        return json_pack("{s:s, s:s, s:b}", "do", word->name, "device", operand[0], "up", strcmp(operand[1], "up") == 0);
    }
    if (strcmp(word->name, "capture") == 0) {
        file = strcmp(operand[1], "off") == 0 ? json_null() : absolute(operand[1]);
        return file != NULL ? json_pack("{s:s, s:s, s:o}", "do", word->name, "device", operand[0], "file", file) : NULL;
    }
    if (word->nr == 1)
        return json_pack("{s:s, s:s}", "do", word->name, "device", operand[0]);
    return json_pack("{s:s}", "do", word->name);
}

static int ask(const char *path, const struct word *word, const char *const *operand, bool json)
{
    int status;
    json_t *request = make_request(word, operand, &status), *answer;
    struct ctl *ctl;

    if (request == NULL)
        return status;
    ctl = ctl_open("vio ctl", path);
    if (ctl == NULL) {
        json_decref(request);
        return EXIT_FAILED;
    }
    answer = ctl_ask(ctl, request);
    ctl_close(ctl);
    if (answer == NULL)
        return EXIT_FAILED;
    if (json)
        return print_json(answer, stdout);
    if (word->print != NULL)
        word->print(answer);
    json_decref(answer);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

static int run(int nr, const char *const *operand, bool json)
{
    if (nr < 2)
        return usage_error("vio ctl", nr == 0 ? "no socket is named: vio ctl PATH devices"
                                              : "nothing is asked: vio ctl PATH devices|counters|link|capture|refresh");
    for (int i = 0; i < CTL_WORDS; i++) {
        if (strcmp(ctl_words[i].name, operand[1]) != 0)
            continue;
        if (nr != 2 + ctl_words[i].nr)
            return usage_error("vio ctl", "it is written %s%s", ctl_words[i].name, ctl_words[i].operands);
        return ask(operand[0], &ctl_words[i], operand + 2, json);
    }
    return usage_error("vio ctl", "'%s' is not one of devices, counters, link, capture, refresh", operand[1]);
}

int word_ctl(int argc, char **argv)
{
    struct options options = { .word = "vio ctl", .table = table, .argc = argc, .argv = argv };
    const char *operand[OPERANDS_MAX];
    struct option_seen seen;
    bool json = false;
    int more, nr = 0;

    while ((more = options_next(&options, &seen)) > 0) {
        if (seen.index == OPT_HELP)
            return print_help();
        if (seen.index == OPT_JSON)
            json = true;
        else if (nr == OPERANDS_MAX)
            return usage_error("vio ctl", "'%s' is one word too many", seen.value);
        else
            operand[nr++] = seen.value;
    }
    return more < 0 ? EXIT_USAGE : run(nr, operand, json);
}
