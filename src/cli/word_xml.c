/* SPDX-License-Identifier: MIT */
/*
 * Purpose: `vio xml SPEC`: what to write into a libvirt domain, or on QEMU's command line, to attach a device that
 * `vio serve SPEC` serves. Where it sits: cli/; what is special to a type is in its struct device_kind.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "cli/registry.h"
#include "cli/text.h"
#include "cli/words.h"

enum { WHY_SIZE = 1024, NAME_SIZE = 80, QEMU_ARGS_MAX = 12 };

enum { OPT_MEMORY, OPT_JSON, OPT_HELP };

static const struct option_text table[] = {
    [OPT_MEMORY] = { "memory", "SIZE", "the guest's memory in the lines for QEMU [1G]" },
    [OPT_JSON] = { "json", NULL, "print as JSON: the XML elements, and QEMU's arguments as a list" },
    [OPT_HELP] = { "help", NULL, "show this" },
    { NULL, NULL, NULL },
};

static const char memory_backing[] = "<memoryBacking>\n  <source type='memfd'/>\n  <access mode='shared'/>\n"
                                     "</memoryBacking>\n";

struct lines {
    char *libvirt;             /* the device's element; NULL: libvirt has none for this */
    char *qemu[QEMU_ARGS_MAX]; /* options and their values, in turn */
    unsigned nr;
};

static void add_arg(struct lines *l, const char *option, const char *text)
{
    l->qemu[l->nr++] = strdup(option);
    l->qemu[l->nr++] = strdup(text);
}

static void add_memory(struct lines *l, const char *memory)
{
    char text[128];

    add_arg(l, "-m", memory);
    snprintf(text, sizeof(text), "memory-backend-memfd,id=vio-memory,size=%s,share=on", memory);
    add_arg(l, "-object", text);
    add_arg(l, "-machine", "q35,memory-backend=vio-memory");
}

/* An identifier of QEMU's: letters, digits and -._ only, a letter first. */
static void make_id(const struct spec *spec, char *id, size_t size)
{
    const char *name = spec_is_set(spec, "name") ? spec_text(spec, "name") : spec->type->name;
    size_t n = (size_t)snprintf(id, size, "vio-%s", name);

    for (size_t i = 0; i < n && i < size; i++)
        if (id[i] != '\0' && strspn(&id[i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == 0)
            id[i] = '-';
}

static bool add_device(struct lines *l, const struct spec *spec)
{
    const struct device_kind *kind = device_kind_of(spec);
    bool connect = spec_flag(spec, "connect");
    char id[NAME_SIZE], *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);

    if (to == NULL)
        return false;
    make_id(spec, id, sizeof(id));
    fprintf(to, "socket,id=%s,path=", id);
    text_qemu(spec_text(spec, "vhost-user"), to);
    /* The one who listens waits; the one who connects tries again: a restart of vio is not seen by the guest. */
    fprintf(to, connect ? ",server=on" : ",reconnect=1");
    fclose(to);
    add_arg(l, "-chardev", text);
    free(text);

    if (kind->qemu_between != NULL) {
        char option[32];

        to = open_memstream(&text, &size);
        if (to == NULL)
            return false;
        fprintf(to, "vhost-user,id=%s,chardev=%s", id, id);
        kind->qemu_between_properties(spec, to);
        fclose(to);
        snprintf(option, sizeof(option), "-%s", kind->qemu_between);
        add_arg(l, option, text);
        free(text);
    }
    to = open_memstream(&text, &size);
    if (to == NULL)
        return false;
    fprintf(to, "%s,%s=%s", kind->qemu_device, kind->qemu_between != NULL ? kind->qemu_between : "chardev", id);
    kind->qemu_properties(spec, to);
    fclose(to);
    add_arg(l, "-device", text);
    free(text);

    if (connect && !kind->libvirt_listens)
        return true;
    to = open_memstream(&l->libvirt, &size);
    if (to == NULL)
        return false;
    kind->libvirt(spec, spec_text(spec, "vhost-user"), to);
    fclose(to);
    return true;
}

static void print_indented(const char *text, unsigned indent)
{
    while (*text != '\0') {
        size_t n = strcspn(text, "\n");

        printf("%*s%.*s\n", (int)indent, "", (int)n, text);
        text += n + (text[n] == '\n');
    }
}

static int print_text(const struct lines *l)
{
    if (l->libvirt != NULL) {
        printf("libvirt: inside <domain>, so that vio can map the guest's memory:\n\n");
        print_indented(memory_backing, 2);
        printf("\nand inside its <devices>:\n\n");
        print_indented(l->libvirt, 2);
    } else {
        printf("libvirt: has no element for this device with a front-end that listens (connect=on)\n");
    }
    printf("\nQEMU:\n\n");
    for (unsigned i = 0; i < l->nr; i += 2) {
        printf("  %s ", l->qemu[i]);
        text_shell(l->qemu[i + 1], stdout);
        printf(i + 2 < l->nr ? " \\\n" : "\n");
    }
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

static int print_as_json(const struct lines *l)
{
    json_t *qemu = json_array();

    for (unsigned i = 0; i < l->nr; i++)
        json_array_append_new(qemu, json_string(l->qemu[i]));
    return print_json(json_pack("{s:{s:s, s:s?}, s:o}", "libvirt", "memoryBacking", memory_backing, "device", l->libvirt,
                                "qemu", qemu), stdout);
}

static int show(const struct spec *spec, const char *memory, bool json)
{
    struct lines l = { .nr = 0 };
    int status = EXIT_FAILED;

    add_memory(&l, memory);
    if (add_device(&l, spec))
        status = json ? print_as_json(&l) : print_text(&l);
    else
        fprintf(stderr, "vio xml: out of memory\n");
    for (unsigned i = 0; i < l.nr; i++)
        free(l.qemu[i]);
    free(l.libvirt);
    return status;
}

static int print_help(void)
{
    printf("usage: vio xml SPEC [OPTIONS]\n\n"
           "Prints what attaches the device of a SPEC to a guest: the elements of a libvirt domain, and QEMU's options.\n"
           "SPEC is the same as for `vio serve`; nothing is opened.\n\n");
    options_help(table, stdout);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

static int xml(const char *text, const char *memory, bool json)
{
    const struct device_kind *kind;
    struct spec spec;
    char why[WHY_SIZE];
    int status;

    if (spec_parse(device_spec_types, text, &spec, why, sizeof(why)) < 0)
        return usage_error("vio xml", "%s", why);
    kind = device_kind_of(&spec);
    if (kind->check != NULL && kind->check(&spec, why, sizeof(why)) < 0)
        status = usage_error("vio xml", "%s", why);
    else if (!spec_given(&spec, "vhost-user") || strcmp(spec_text(&spec, "vhost-user"), "systemd") == 0)
        status = usage_error("vio xml", "%s: a front-end needs the path of the socket: add vhost-user=PATH",
                             spec.type->name);
    else
        status = show(&spec, memory, json);
    spec_free(&spec);
    return status;
}

int word_xml(int argc, char **argv)
{
    struct options options = { .word = "vio xml", .table = table, .argc = argc, .argv = argv };
    const char *memory = "1G", *spec = NULL;
    struct option_seen seen;
    bool json = false;
    uint64_t bytes;
    int more;

    while ((more = options_next(&options, &seen)) > 0) {
        if (seen.index == OPT_HELP)
            return print_help();
        if (seen.index == OPT_JSON)
            json = true;
        else if (seen.index == OPT_MEMORY)
            memory = seen.value;
        else if (spec == NULL)
            spec = seen.value;
        else
            return usage_error("vio xml", "one SPEC at a time: '%s' is a second one", seen.value);
    }
    if (more < 0)
        return EXIT_USAGE;
    if (spec == NULL)
        return usage_error("vio xml", "no device is named: vio xml blk,file=disk.img,vhost-user=/run/vio/disk.sock");
    if (spec_parse_size(memory, &bytes) < 0 || bytes == 0)
        return usage_error("vio xml", "--memory=%s is not a size such as 512M or 4G", memory);
    return xml(spec, memory, json);
}
