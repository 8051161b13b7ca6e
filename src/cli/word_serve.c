/* SPDX-License-Identifier: MIT */
/* Purpose: `vio serve SPEC...`: gives devices to another VMM. Where it sits: cli/; the work is in cli/server.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/log.h"
#include "cli/options.h"
#include "cli/registry.h"
#include "cli/server.h"
#include "cli/words.h"
#include "cli/worker.h"

enum { WHY_SIZE = 1024 };

enum { OPT_THREADS, OPT_LOG_LEVEL, OPT_JSON, OPT_PIDFILE, OPT_CONTROL, OPT_HELP };

static const struct option_text table[] = {
    [OPT_THREADS] = { "threads", "N",
                      "all devices share N worker threads (without it each device has its own, as many as its threads= "
                      "says)" },
    [OPT_LOG_LEVEL] = { "log-level", "LEVEL", "what goes to standard error: error, warning, info or debug [info]" },
    [OPT_JSON] = { "json", NULL, "write the log as JSON, one object a line; with help: print it as JSON" },
    [OPT_PIDFILE] = { "pidfile", "PATH", "write the process's number there when all devices are ready" },
    [OPT_CONTROL] = { "control", "PATH",
                      "make a UNIX socket there, for `vio ctl` and `vio top` of the same user" },
    [OPT_HELP] = { "help", NULL, "show this" },
    { NULL, NULL, NULL },
};

static int print_help(void)
{
    printf("usage: vio serve [OPTIONS] SPEC...\n"
           "       vio serve help [TYPE] [--json]\n\n"
           "Gives devices to another VMM (QEMU, cloud-hypervisor...) over vhost-user: any number in one process, until\n"
           "SIGTERM or SIGINT. SIGHUP looks at the disks again: a file that grew becomes a disk that grew.\n\n"
           "  SPEC = TYPE[,KEY=VALUE]...      `vio serve help TYPE` lists the keys\n\n");
    options_help(table, stdout);
    printf("\nExample:\n"
           "  vio serve blk,file=disk.img,vhost-user=/run/vio/disk.sock\n"
           "  vio serve net,tap=vio0,bridge=br0,vhost-user=/run/vio/net.sock\n"
           "  vio xml blk,file=disk.img,vhost-user=/run/vio/disk.sock     shows what attaches it to a guest\n");
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

struct arguments {
    struct server_params server;
    const char **operand; /* [argc] */
    unsigned nr;
    bool help;
};

static int take_threads(const char *text, unsigned *threads)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || n < 1 || n > WORKER_THREADS_MAX)
        return usage_error("vio serve", "--threads=%s is not a number from 1 to %d", text, WORKER_THREADS_MAX);
    *threads = (unsigned)n;
    return EXIT_DONE;
}

static int read_arguments(int argc, char **argv, struct arguments *a)
{
    struct options options = { .word = "vio serve", .table = table, .argc = argc, .argv = argv };
    struct option_seen seen;
    int more;

    while ((more = options_next(&options, &seen)) > 0) {
        switch (seen.index) {
        case OPT_THREADS:
            if (take_threads(seen.value, &a->server.threads) != EXIT_DONE)
                return EXIT_USAGE;
            break;
        case OPT_LOG_LEVEL:
            if (cli_log_level(seen.value, &a->server.level) < 0)
                return usage_error("vio serve", "--log-level=%s is not one of error, warning, info, debug", seen.value);
            break;
        case OPT_JSON: a->server.json = true; break;
        case OPT_PIDFILE: a->server.pidfile = seen.value; break;
        case OPT_CONTROL: a->server.control = seen.value; break;
        case OPT_HELP: a->help = true; break;
        default: a->operand[a->nr++] = seen.value; break;
        }
    }
    return more < 0 ? EXIT_USAGE : EXIT_DONE;
}

static int serve_help(const struct arguments *a)
{
    const struct spec_type *type;

    if (a->nr == 1)
        return help_types(a->server.json, stdout);
    type = spec_find_type(device_spec_types, a->operand[1]);
    if (type == NULL || a->nr > 2) {
        (void)usage_error("vio serve help", "there is no device type '%s'", a->operand[a->nr > 2 ? 2 : 1]);
        (void)help_types(false, stderr);
        return EXIT_USAGE;
    }
    return help_type(type, a->server.json, stdout);
}

static int serve(struct arguments *a)
{
    struct spec *specs = calloc(a->nr, sizeof(*specs));
    int status = EXIT_DONE;
    char why[WHY_SIZE];

    if (specs == NULL) {
        fprintf(stderr, "vio serve: out of memory\n");
        return EXIT_FAILED;
    }
    for (unsigned i = 0; i < a->nr && status == EXIT_DONE; i++)
        if (spec_parse(device_spec_types, a->operand[i], &specs[i], why, sizeof(why)) < 0)
            status = usage_error("vio serve", "%s", why);
    a->server.word = "vio serve";
    a->server.specs = specs;
    a->server.nr = a->nr;
    if (status == EXIT_DONE)
        status = server_run(&a->server);
    for (unsigned i = 0; i < a->nr; i++)
        spec_free(&specs[i]);
    free(specs);
    return status;
}

int word_serve(int argc, char **argv)
{
    struct arguments a = { .server = { .level = VIO_LOG_INFO } };
    int status;

    a.operand = calloc((size_t)argc + 1, sizeof(*a.operand));
    if (a.operand == NULL) {
        fprintf(stderr, "vio serve: out of memory\n");
        return EXIT_FAILED;
    }
    status = read_arguments(argc, argv, &a);
    if (status == EXIT_DONE && a.nr > 0 && strcmp(a.operand[0], "help") == 0)
        status = serve_help(&a);
    else if (status == EXIT_DONE && a.help)
        status = print_help();
    else if (status == EXIT_DONE && a.nr == 0)
        status = usage_error("vio serve", "no device is named: give a SPEC such as "
                             "blk,file=disk.img,vhost-user=/run/vio/disk.sock");
    else if (status == EXIT_DONE)
        status = serve(&a);
    free(a.operand);
    return status;
}
