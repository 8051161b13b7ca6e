/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the options (--name, --name=value, --name value) of a word of the command, from a table that is also its
 * help. Where it sits: cli/.
 */
#ifndef VIO_CLI_OPTIONS_H
#define VIO_CLI_OPTIONS_H

#include <stdio.h>
#include <vio/types.h>

/* The command's exit status. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct option_text {
    const char *name;  /* without the dashes; NULL ends a table */
    const char *value; /* how the help names its value; NULL: a flag */
    const char *help;
};

/* What was given: the table's index and, of an option with a value, the value; else an operand. */
struct option_seen {
    int index;         /* -1: an operand */
    const char *value; /* of a flag: NULL */
};

struct options {
    const char *word;                  /* "vio serve"; for messages */
    const struct option_text *table;
    int argc;
    char **argv;
    int at;
    bool operands_only; /* after "--" */
};

/* 1: *seen is filled. 0: nothing is left. -1: wrong; the sentence is on standard error. */
int options_next(struct options *options, struct option_seen *seen) VIO_MUST_CHECK;
void options_help(const struct option_text *table, FILE *to);
/* "WORD: sentence" and where the help is, on standard error; returns EXIT_USAGE. */
int usage_error(const char *word, const char *format, ...) VIO_PRINTF(2, 3);

#endif
