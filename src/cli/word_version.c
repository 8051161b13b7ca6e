/* SPDX-License-Identifier: MIT */
/* Purpose: `vio version`: which vio this is and what it can do here. Where it sits: cli/. */
#include <dlfcn.h>
#include <jansson.h>
#include <stdio.h>

#include "cli/options.h"
#include "cli/registry.h"
#include "cli/words.h"
#include "config.h"

enum { OPT_JSON, OPT_HELP };

static const struct option_text table[] = {
    [OPT_JSON] = { "json", NULL, "print as JSON" },
    [OPT_HELP] = { "help", NULL, "show this" },
    { NULL, NULL, NULL },
};

#ifdef __clang__
static const char compiler[] = "clang " __clang_version__;
#else
static const char compiler[] = "gcc " __VERSION__;
#endif

#ifdef __has_feature
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
static const char sanitizer[] = "address";
#elif defined(__SANITIZE_THREAD__) || HAS_FEATURE(thread_sanitizer)
static const char sanitizer[] = "thread";
#else
static const char sanitizer[] = "none";
#endif

/* libnbd is opened when the first nbd= disk is: whether it would be, and which one, is found by opening it here. */
static const char *libnbd_version(void)
{
#ifdef HAVE_LIBNBD
    void *library = dlopen("libnbd.so.0", RTLD_NOW | RTLD_LOCAL);
    const char *(*version)(void *);
    void *(*create)(void);
    void (*end)(void *);
    const char *text;
    void *nbd;

    if (library == NULL)
        return "not installed";
    *(void **)&create = dlsym(library, "nbd_create");
    *(void **)&version = dlsym(library, "nbd_get_version");
    *(void **)&end = dlsym(library, "nbd_close");
    nbd = create != NULL && version != NULL && end != NULL ? create() : NULL;
    if (nbd == NULL)
        return "unusable";
    text = version(nbd); /* the library's own, which stays open */
    end(nbd);
    return text;
#else
    return "built without";
#endif
}

/* The same of user-mode networks. */
static const char *libslirp_version(void)
{
#ifdef HAVE_SLIRP
    /* NODELETE: see backend/net_user_api.c. */
    void *library = dlopen("libslirp.so.0", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    const char *(*version)(void);

    if (library == NULL)
        return "not installed";
    *(void **)&version = dlsym(library, "slirp_version_string");
    return version != NULL ? version() : "unusable";
#else
    return "built without";
#endif
}

static json_t *types_json(void)
{
    json_t *types = json_array();

    for (const struct spec_type *const *t = device_spec_types; *t != NULL; t++)
        json_array_append_new(types, json_string((*t)->name));
    return types;
}

static int print_text(void)
{
    printf("vio %s\n", VIO_VERSION);
    printf("devices:    ");
    for (const struct spec_type *const *t = device_spec_types; *t != NULL; t++)
        printf(" %s", (*t)->name);
    printf("\ntransports:  vhost-user\n"
           "rings:       split packed\n"
           "io_uring:    liburing %s\n"
           "nbd:         libnbd %s\n"
           "user:        libslirp %s\n"
           "json:        jansson %s\n"
           "compiler:    %s\n"
           "sanitizer:   %s\n", VIO_LIBURING_VERSION, libnbd_version(), libslirp_version(),
           JANSSON_VERSION, compiler, sanitizer);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

int word_version(int argc, char **argv)
{
    struct options options = { .word = "vio version", .table = table, .argc = argc, .argv = argv };
    struct option_seen seen;
    bool json = false;
    int more;

    while ((more = options_next(&options, &seen)) > 0) {
        if (seen.index == OPT_HELP) {
            printf("usage: vio version [--json]\n\nSays which vio this is, and what it was built with.\n\n");
            options_help(table, stdout);
            return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
        }
        if (seen.index == -1)
            return usage_error("vio version", "'%s' is not an option", seen.value);
        json = true;
    }
    if (more < 0)
        return EXIT_USAGE;
    if (!json)
        return print_text();
    return print_json(json_pack("{s:s, s:o, s:[s], s:[ss], s:s, s:s, s:s, s:s, s:s, s:s}", "version", VIO_VERSION, "devices",
                                types_json(), "transports", "vhost-user", "rings", "split", "packed", "liburing",
                                VIO_LIBURING_VERSION, "libnbd", libnbd_version(), "libslirp",
                                libslirp_version(), "jansson", JANSSON_VERSION, "compiler", compiler, "sanitizer",
                                sanitizer), stdout);
}
