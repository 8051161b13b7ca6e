/* SPDX-License-Identifier: MIT */
/* Purpose: the options of `vio bench`, and which types of device each is for. Where it sits: cli/. Threads: none. */
#ifndef VIO_CLI_BENCH_OPTIONS_H
#define VIO_CLI_BENCH_OPTIONS_H

#include "cli/bench.h"

enum { BENCH_TARGETS_MAX = 2, BENCH_REPEATS_MAX = 1000, BENCH_SIZES_MAX = 16 };

struct bench_job {
    struct bench_params params;
    const struct config_type *type; /* NULL: to be seen of the first TARGET */
    bench_load_fn *load;            /* after bench_options_check() */
    const char *target[BENCH_TARGETS_MAX];
    unsigned targets, repeats;
    bool compare, histogram, json;
    uint64_t sizes[BENCH_SIZES_MAX];
    unsigned nr_sizes; /* at least one after bench_options_check(); 0 stands for all of a disk */
    uint64_t given;    /* options that were, as bits */
};

/* EXIT_DONE, or EXIT_USAGE with the sentence said; *help: only that was asked for, and was printed. */
int bench_options_parse(struct bench_job *job, int argc, char **argv, bool *help);
/* Of a device of job->type: options of others are refused, its own defaults filled in. */
int bench_options_check(struct bench_job *job);

#endif
