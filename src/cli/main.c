/* SPDX-License-Identifier: MIT */
/* Purpose: the command `vio`: finds the word and calls it. Where it sits: cli/, on top of all. */
#include <stdio.h>
#include <string.h>

#include "cli/options.h"
#include "cli/spec.h"
#include "cli/words.h"

static const struct {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv);
} words[] = {
    { "serve", "give devices to another VMM", word_serve },
    { "backend", "one device, by QEMU's conventions for back-end programs", word_backend },
    { "xml", "what attaches a device to a guest: libvirt's XML, QEMU's options", word_xml },
    { "ctl", "asks a vio that serves: its devices, counters, links, captures", word_ctl },
    { "top", "what the devices of a vio that serves do, each second", word_top },
    { "probe", "what is behind a transport: type, features, queues, configuration", word_probe },
    { "bench", "loads a device as its driver: rate, latency, CPU time", word_bench },
    { "version", "which vio this is, and what it was built with", word_version },
};

enum { WORDS = sizeof(words) / sizeof(words[0]) };

static int help(FILE *to)
{
    fprintf(to, "vio: devices for virtual machines, over virtio\n\nusage: vio WORD ...\n\n");
    for (int i = 0; i < WORDS; i++)
        fprintf(to, "  %-10s %s\n", words[i].name, words[i].summary);
    fprintf(to, "\n`vio WORD --help` says more. Exit status: 0 done, 1 failed, 2 wrong usage.\n");
    return fflush(to) == 0 ? EXIT_DONE : EXIT_FAILED;
}

static int unknown(const char *word)
{
    const char *meant = NULL;
    unsigned best = 3;

    for (int i = 0; i < WORDS; i++) {
        unsigned distance = spec_distance(word, words[i].name);

        if (distance < best) {
            best = distance;
            meant = words[i].name;
        }
    }
    if (meant != NULL)
        return usage_error("vio", "there is no word '%s': did you mean '%s'?", word, meant);
    return usage_error("vio", "there is no word '%s'", word);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)
        return help(stdout);
    if (strcmp(argv[1], "--version") == 0)
        return word_version(argc - 2, argv + 2);
    for (int i = 0; i < WORDS; i++)
        if (strcmp(argv[1], words[i].name) == 0)
            return words[i].run(argc - 2, argv + 2);
    return unknown(argv[1]);
}
