/* SPDX-License-Identifier: MIT */
/*
 * Purpose: `vio backend TYPE`: one device by QEMU's conventions for back-end programs (docs/interop/vhost-user.rst,
 * "Backend program conventions"), for management software that finds vio by its discovery file.
 * Where it sits: cli/; options of a type are in its struct device_kind.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/log.h"
#include "cli/options.h"
#include "cli/registry.h"
#include "cli/server.h"
#include "cli/words.h"

enum { WHY_SIZE = 1024, OPTIONS_MAX = 16, WORD_SIZE = 64 };

/* The conventions' options; the type's own come behind them. */
enum { OPT_SOCKET, OPT_FD, OPT_CAPABILITIES, OPT_LOG_LEVEL, OPT_HELP, OPT_OF_TYPE };

static const struct option_text common[] = {
    [OPT_SOCKET] = { "socket-path", "PATH", "listen at this UNIX socket" },
    [OPT_FD] = { "fd", "FDNUM", "a descriptor to use instead: a listening or a connected socket" },
    [OPT_CAPABILITIES] = { "print-capabilities", NULL, "print what this back-end can do, as JSON, and end" },
    [OPT_LOG_LEVEL] = { "log-level", "LEVEL", "what goes to standard error: error, warning, info or debug [info]" },
    [OPT_HELP] = { "help", NULL, "show this" },
};

struct program {
    const struct device_kind *kind;
    char word[WORD_SIZE];
    struct option_text table[OPTIONS_MAX];
    struct spec spec;
    enum vio_log_level level;
    bool capabilities, help;
};

static void make_table(struct program *p)
{
    unsigned n = OPT_OF_TYPE;

    memcpy(p->table, common, sizeof(common));
    for (const struct program_option *o = p->kind->program_options; o->name != NULL && n < OPTIONS_MAX - 1; o++)
        p->table[n++] = (struct option_text){ o->name, o->value, o->help };
    p->table[n] = (struct option_text){ NULL, NULL, NULL };
}

static int print_capabilities(const struct program *p)
{
    json_t *features = json_array();

    for (const char *const *f = p->kind->program_features; *f != NULL; f++)
        json_array_append_new(features, json_string(*f));
    return print_json(json_pack("{s:s, s:o}", "type", p->kind->program_type, "features", features), stdout);
}

static int print_help(const struct program *p)
{
    printf("usage: %s --socket-path=PATH|--fd=FDNUM [OPTIONS]\n\n"
           "Serves %s to one front-end, by QEMU's conventions for vhost-user back-end programs.\n"
           "`vio serve` has all that vio can do.\n\n", p->word, p->kind->spec.summary);
    options_help(p->table, stdout);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

static int take_option(struct program *p, const struct option_seen *seen)
{
    const char *key, *value = seen->value;
    char why[WHY_SIZE];

    switch (seen->index) {
    case -1: return usage_error(p->word, "'%s' is not an option", seen->value);
    case OPT_CAPABILITIES: p->capabilities = true; return EXIT_DONE;
    case OPT_HELP: p->help = true; return EXIT_DONE;
    case OPT_LOG_LEVEL:
        if (cli_log_level(seen->value, &p->level) < 0)
            return usage_error(p->word, "--log-level=%s is not one of error, warning, info, debug", seen->value);
        return EXIT_DONE;
    case OPT_SOCKET: key = "vhost-user"; break;
    case OPT_FD: key = "fd"; break;
    default:
        key = p->kind->program_options[seen->index - OPT_OF_TYPE].key;
        value = value != NULL ? value : "on";
        break;
    }
    if (spec_set(&p->spec, key, value, why, sizeof(why)) < 0)
        return usage_error(p->word, "--%s: %s", p->table[seen->index].name, why);
    return EXIT_DONE;
}

/* The rules between options, in the words of the options. */
static int check(const struct program *p)
{
    const struct program_option *first = p->kind->program_options;
    bool path = spec_given(&p->spec, "vhost-user"), fd = spec_given(&p->spec, "fd");

    if (path == fd)
        return usage_error(p->word, path ? "--socket-path and --fd exclude each other"
                                         : "no socket: give --socket-path=PATH or --fd=FDNUM");
    if (first->name != NULL && first->value != NULL && !spec_given(&p->spec, first->key))
        return usage_error(p->word, "--%s=%s is missing: %s", first->name, first->value, first->help);
    return EXIT_DONE;
}

static int run(struct program *p, int argc, char **argv)
{
    struct options options = { .word = p->word, .table = p->table, .argc = argc, .argv = argv };
    struct server_params server = { .word = p->word, .specs = &p->spec, .nr = 1 };
    struct option_seen seen;
    int more, status;

    while ((more = options_next(&options, &seen)) > 0)
        if (take_option(p, &seen) != EXIT_DONE)
            return EXIT_USAGE;
    if (more < 0)
        return EXIT_USAGE;
    if (p->help)
        return print_help(p);
    if (p->capabilities)
        return print_capabilities(p);
    status = check(p);
    if (status != EXIT_DONE)
        return status;
    server.level = p->level;
    return server_run(&server);
}

static int list_kinds(FILE *to)
{
    fprintf(to, "usage: vio backend TYPE --socket-path=PATH|--fd=FDNUM [OPTIONS]\n\n"
                "One device by QEMU's conventions for vhost-user back-end programs. The types, each with --help:\n\n");
    for (const struct device_kind *const *k = device_kinds; *k != NULL; k++)
        fprintf(to, "  %-10s %s\n", (*k)->spec.name, (*k)->spec.summary);
    return fflush(to) == 0 ? EXIT_DONE : EXIT_FAILED;
}

int word_backend(int argc, char **argv)
{
    struct program p = { .level = VIO_LOG_INFO };
    int status;

    if (argc > 0 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0 || strcmp(argv[0], "help") == 0))
        return list_kinds(stdout);
    if (argc == 0 || argv[0][0] == '-')
        return usage_error("vio backend", "no type of device is named: vio backend blk ...");
    p.kind = device_kind_find(argv[0]);
    if (p.kind == NULL) {
        (void)usage_error("vio backend", "there is no device type '%s'", argv[0]);
        (void)list_kinds(stderr);
        return EXIT_USAGE;
    }
    snprintf(p.word, sizeof(p.word), "vio backend %s", p.kind->spec.name);
    make_table(&p);
    if (spec_init(&p.kind->spec, &p.spec) < 0) {
        fprintf(stderr, "%s: out of memory\n", p.word);
        return EXIT_FAILED;
    }
    status = run(&p, argc - 1, argv + 1);
    spec_free(&p.spec);
    return status;
}
