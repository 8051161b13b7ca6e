/* SPDX-License-Identifier: MIT */
/* Purpose: see cli/options.h. */
#include "cli/options.h"

#include <stdarg.h>
#include <string.h>

#include "cli/spec.h"
#include "cli/text.h"

enum { HELP_COLUMN = 26 };

int usage_error(const char *word, const char *format, ...)
{
    va_list ap;

    fprintf(stderr, "%s: ", word);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fprintf(stderr, " (see %s --help)\n", word);
    return EXIT_USAGE;
}

static int unknown(const struct options *o, const char *name, size_t length)
{
    const char *meant = NULL;
    unsigned best = 3;
    char word[32];

    snprintf(word, sizeof(word), "%.*s", (int)(length < sizeof(word) ? length : sizeof(word) - 1), name);
    for (const struct option_text *t = o->table; t->name != NULL; t++) {
        unsigned distance = spec_distance(word, t->name);

        if (distance < best) {
            best = distance;
            meant = t->name;
        }
    }
    if (meant != NULL)
        usage_error(o->word, "there is no option --%.*s: did you mean --%s?", (int)length, name, meant);
    else
        usage_error(o->word, "there is no option --%.*s", (int)length, name);
    return -1;
}

static int take_option(struct options *o, const char *name, struct option_seen *seen)
{
    size_t length = strcspn(name, "=");

    for (int i = 0; o->table[i].name != NULL; i++) {
        const struct option_text *t = &o->table[i];

        if (strlen(t->name) != length || memcmp(t->name, name, length) != 0)
            continue;
        *seen = (struct option_seen){ .index = i };
        if (t->value == NULL && name[length] == '=') {
            usage_error(o->word, "--%s takes no value", t->name);
            return -1;
        }
        if (t->value == NULL)
            return 1;
        if (name[length] == '=')
            seen->value = name + length + 1;
        else if (o->at < o->argc)
            seen->value = o->argv[o->at++];
        if (seen->value == NULL || *seen->value == '\0') {
            usage_error(o->word, "--%s needs a value: --%s=%s", t->name, t->name, t->value);
            return -1;
        }
        return 1;
    }
    return unknown(o, name, length);
}

int options_next(struct options *o, struct option_seen *seen)
{
    const char *arg;

    if (o->at >= o->argc)
        return 0;
    arg = o->argv[o->at++];
    if (!o->operands_only && strcmp(arg, "--") == 0) {
        o->operands_only = true;
        return options_next(o, seen);
    }
    if (o->operands_only || arg[0] != '-') {
        *seen = (struct option_seen){ .index = -1, .value = arg };
        return 1;
    }
    if (strcmp(arg, "-h") == 0)
        arg = "--help";
    if (arg[1] != '-') {
        usage_error(o->word, "there is no option %s", arg);
        return -1;
    }
    return take_option(o, arg + 2, seen);
}

void options_help(const struct option_text *table, FILE *to)
{
    for (; table->name != NULL; table++) {
        int n = fprintf(to, "  --%s%s%s", table->name, table->value != NULL ? "=" : "",
                        table->value != NULL ? table->value : "");

        if (n < HELP_COLUMN)
            fprintf(to, "%*s", HELP_COLUMN - n, "");
        else
            fprintf(to, "\n%*s", HELP_COLUMN, "");
        text_wrap(table->help, HELP_COLUMN, to);
    }
}
