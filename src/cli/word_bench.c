/* SPDX-License-Identifier: MIT */
/* Purpose: `vio bench TARGET`: runs one after the other or two targets in turn, and what came of them. Where it sits: cli/. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/bench_options.h"
#include "cli/options.h"
#include "cli/words.h"

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, unsigned n)
{
    qsort(values, n, sizeof(*values), by_value);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* The run of a list whose rate is the median: one that was, not a mixture. */
static json_t *median_run(const json_t *runs)
{
    double rates[BENCH_REPEATS_MAX], wanted;
    unsigned n = (unsigned)json_array_size(runs);

    for (unsigned i = 0; i < n; i++)
        rates[i] = bench_real(json_array_get(runs, i), "rate");
    qsort(rates, n, sizeof(*rates), by_value);
    wanted = rates[n / 2];
    for (unsigned i = 0; i < n; i++)
        if (bench_real(json_array_get(runs, i), "rate") == wanted)
            return json_array_get(runs, i);
    return NULL;
}

static json_t *ratio_json(json_t *const *runs, unsigned n)
{
    double ratio[BENCH_REPEATS_MAX], middle;

    for (unsigned i = 0; i < n; i++)
        ratio[i] = bench_real(json_array_get(runs[1], i), "rate") / bench_real(json_array_get(runs[0], i), "rate");
    middle = median(ratio, n); /* sorts them too */
    return json_pack("{s:f, s:f, s:f, s:i}", "median", middle, "lowest", ratio[0], "highest", ratio[n - 1], "pairs", (int)n);
}

/* One size of frame: the runs of each target. */
struct group {
    json_t *runs[BENCH_TARGETS_MAX];
};

/* What a device must never do, whatever it is loaded with; and a search that found nothing. */
static bool is_wrong(const json_t *run)
{
    const json_t *search = json_object_get(run, "search");

    return bench_real(run, "wrong_blocks") > 0 || bench_real(run, "corrupted") > 0 ||
           (search != NULL && !json_is_true(json_object_get(search, "found")));
}

static bool any_wrong(const struct group *g, unsigned targets)
{
    for (unsigned t = 0; t < targets; t++)
        for (size_t i = 0; i < json_array_size(g->runs[t]); i++)
            if (is_wrong(json_array_get(g->runs[t], i)))
                return true;
    return false;
}

static void print_group(const struct bench_job *job, const struct group *g)
{
    json_t *ratio;

    for (unsigned t = 0; t < job->targets; t++)
        bench_print(median_run(g->runs[t]), job->histogram);
    if (!job->compare)
        return;
    ratio = ratio_json(g->runs, job->repeats);
    printf("the second is %.2fx of the first (%.2fx to %.2fx in %u pairs)\n", bench_real(ratio, "median"),
           bench_real(ratio, "lowest"), bench_real(ratio, "highest"), job->repeats);
    json_decref(ratio);
}

/* All runs in one list; the ratios by size, and, where there is one size, by itself. */
static json_t *all_json(const struct bench_job *job, const struct group *groups)
{
    json_t *runs = json_array(), *ratios = json_array(), *all;

    for (unsigned i = 0; i < job->nr_sizes; i++) {
        for (unsigned t = 0; t < job->targets; t++)
            json_array_extend(runs, groups[i].runs[t]);
        if (job->compare) {
            json_t *ratio = ratio_json(groups[i].runs, job->repeats);

            json_object_set_new(ratio, "size", json_integer((json_int_t)job->sizes[i]));
            json_array_append_new(ratios, ratio);
        }
    }
    all = json_pack("{s:o}", "runs", runs);
    if (job->compare && job->nr_sizes == 1)
        json_object_set(all, "ratio", json_array_get(ratios, 0));
    else if (job->compare)
        json_object_set(all, "ratios", ratios);
    json_decref(ratios);
    return all;
}

static int report(const struct bench_job *job, const struct group *groups)
{
    bool wrong = false;
    int status;

    for (unsigned i = 0; i < job->nr_sizes; i++)
        wrong = wrong || any_wrong(&groups[i], job->targets);
    if (job->json) {
        status = print_json(all_json(job, groups), stdout);
    } else {
        for (unsigned i = 0; i < job->nr_sizes; i++)
            print_group(job, &groups[i]);
        status = fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
    }
    return status == EXIT_DONE && wrong ? EXIT_FAILED : status;
}

static int run_group(struct bench_job *job, struct group *g)
{
    char why[BENCH_WHY];

    for (unsigned i = 0; i < job->repeats; i++) {
        for (unsigned t = 0; t < job->targets; t++) {
            json_t *result;

            job->params.target = job->target[t];
            result = job->load(&job->params, why);
            if (result == NULL || json_array_append_new(g->runs[t], result) != 0) {
                fprintf(stderr, "vio bench: %s\n", why);
                return EXIT_FAILED;
            }
        }
    }
    return EXIT_DONE;
}

static int run(struct bench_job *job)
{
    struct group groups[BENCH_SIZES_MAX];
    int status = EXIT_DONE;

    job->params.progress = !job->json && isatty(STDERR_FILENO);
    for (unsigned i = 0; i < job->nr_sizes; i++)
        groups[i] = (struct group){ { json_array(), json_array() } };
    for (unsigned i = 0; status == EXIT_DONE && i < job->nr_sizes; i++) {
        job->params.size = job->sizes[i];
        status = run_group(job, &groups[i]);
    }
    if (status == EXIT_DONE)
        status = report(job, groups);
    for (unsigned i = 0; i < job->nr_sizes; i++)
        for (unsigned t = 0; t < BENCH_TARGETS_MAX; t++)
            json_decref(groups[i].runs[t]);
    return status;
}

/* A connection of its own: a device that was only looked at is as it was. */
static int find_type(struct bench_job *job)
{
    struct bench_device device = { 0 };
    struct bench_params params = job->params;
    char why[BENCH_WHY];
    bool guessed;
    int error;

    if (job->type != NULL)
        return EXIT_DONE;
    params.target = job->target[0];
    error = bench_connect(&device, &params, 0, 0, why);
    if (!error)
        error = target_look(&device.target, CONFIG_BYTES_MAX, why);
    if (!error)
        job->type = target_type(&device.target, &guessed);
    bench_disconnect(&device);
    target_free_memory(&device.target);
    if (error)
        fprintf(stderr, "vio bench: %s\n", why);
    else if (job->type == NULL)
        fprintf(stderr, "vio bench: %s: of which type the device is cannot be seen: say --type=TYPE\n", job->target[0]);
    return job->type != NULL ? EXIT_DONE : EXIT_FAILED;
}

int word_bench(int argc, char **argv)
{
    struct bench_job job;
    bool help;
    int status = bench_options_parse(&job, argc, argv, &help);

    if (status != EXIT_DONE || help)
        return status;
    status = find_type(&job);
    if (status == EXIT_DONE)
        status = bench_options_check(&job);
    return status == EXIT_DONE ? run(&job) : status;
}
