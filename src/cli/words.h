/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the words of the command, `vio WORD ...`; one file each. Each gets the arguments behind its word and
 * returns the exit status. Where it sits: cli/.
 */
#ifndef VIO_CLI_WORDS_H
#define VIO_CLI_WORDS_H

#include <jansson.h>
#include <stdio.h>

#include "cli/spec.h"

int word_serve(int argc, char **argv);
int word_backend(int argc, char **argv);
int word_xml(int argc, char **argv);
int word_ctl(int argc, char **argv);
int word_top(int argc, char **argv);
int word_probe(int argc, char **argv);
int word_bench(int argc, char **argv);
int word_version(int argc, char **argv);

/* `vio serve help [TYPE]`: the types, or the keys of one (cli/spec_help.c). EXIT_FAILED where output fails. */
int help_types(bool json, FILE *to);
int help_type(const struct spec_type *type, bool json, FILE *to);
/* One JSON document and a newline; the exit status. Takes the reference. */
int print_json(json_t *json, FILE *to);

#endif
