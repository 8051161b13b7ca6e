/* SPDX-License-Identifier: MIT */
/* Purpose: what there is to write in a SPEC, for a person or as JSON. Where it sits: cli/. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli/options.h"
#include "cli/registry.h"
#include "cli/text.h"
#include "cli/words.h"

enum { HELP_COLUMN = 26 };

int print_json(json_t *json, FILE *to)
{
    int bad = json == NULL || json_dumpf(json, to, JSON_INDENT(2) | JSON_PRESERVE_ORDER) < 0;

    json_decref(json);
    if (bad || fputc('\n', to) == EOF || fflush(to) != 0) {
        fprintf(stderr, "vio: the output could not be written\n");
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

static json_t *key_json(const struct spec_group *group, const struct spec_key *key)
{
    json_t *j = json_pack("{s:s, s:s, s:s, s:s}", "name", key->name, "group", group->title, "form",
                          spec_form_name(key->form), "help", key->help);

    if (j == NULL)
        return NULL;
    if (key->fallback != NULL)
        json_object_set_new(j, "default", json_string(key->fallback));
    if (key->fallback_says != NULL)
        json_object_set_new(j, "default_is", json_string(key->fallback_says));
    if (key->form == SPEC_NUMBER || key->form == SPEC_SIZE) {
        json_object_set_new(j, "min", json_integer((json_int_t)key->min));
        json_object_set_new(j, "max", json_integer((json_int_t)key->max));
    } else if (key->max != 0) {
        json_object_set_new(j, "max_bytes", json_integer((json_int_t)key->max));
    }
    if (key->multiple > 1)
        json_object_set_new(j, "multiple", json_integer((json_int_t)key->multiple));
    if (key->power_of_two)
        json_object_set_new(j, "power_of_two", json_true());
    if (key->words != NULL) {
        json_t *words = json_array();

        for (const char *const *w = key->words; *w != NULL; w++)
            json_array_append_new(words, json_string(*w));
        json_object_set_new(j, "words", words);
    }
    return j;
}

static json_t *type_json(const struct spec_type *type)
{
    json_t *keys = json_array();

    for (const struct spec_group *const *g = type->groups; *g != NULL; g++)
        for (unsigned i = 0; i < (*g)->nr; i++)
            json_array_append_new(keys, key_json(*g, &(*g)->keys[i]));
    return json_pack("{s:s, s:s, s:o}", "type", type->name, "summary", type->summary, "keys", keys);
}

static void print_key(const struct spec_key *key, FILE *to)
{
    char help[512], values[256];
    int n = fprintf(to, "  %s=%s", key->name, key->value), used;

    if (n < HELP_COLUMN)
        fprintf(to, "%*s", HELP_COLUMN - n, "");
    else
        fprintf(to, "\n%*s", HELP_COLUMN, "");
    used = snprintf(help, sizeof(help), "%s", key->help);
    if (key->form == SPEC_NUMBER || key->form == SPEC_WORD || (key->form == SPEC_SIZE && key->max < INT64_MAX))
        used += snprintf(help + used, sizeof(help) - (size_t)used, "; %s", spec_values(key, values, sizeof(values)));
    if (key->fallback_says != NULL || key->fallback != NULL)
        snprintf(help + used, sizeof(help) - (size_t)used, " [%s]",
                 key->fallback_says != NULL ? key->fallback_says : key->fallback);
    text_wrap(help, HELP_COLUMN, to);
}

int help_type(const struct spec_type *type, bool json, FILE *to)
{
    if (json)
        return print_json(type_json(type), to);
    fprintf(to, "%s: %s\n\n  SPEC = %s[,KEY=VALUE]...\n", type->name, type->summary, type->name);
    for (const struct spec_group *const *g = type->groups; *g != NULL; g++) {
        fprintf(to, "\n%s\n", (*g)->title);
        for (unsigned i = 0; i < (*g)->nr; i++)
            print_key(&(*g)->keys[i], to);
    }
    fprintf(to, "\nSizes are bytes, or have the suffix K, M, G or T (powers of 1024). KEY alone is KEY=on, where on|off are its\n"
                "values. A comma inside a value is written twice. What a key is without being given stands in brackets.\n");
    return fflush(to) == 0 ? EXIT_DONE : EXIT_FAILED;
}

int help_types(bool json, FILE *to)
{
    json_t *types;

    if (json) {
        types = json_array();
        for (const struct spec_type *const *t = device_spec_types; *t != NULL; t++)
            json_array_append_new(types, type_json(*t));
        return print_json(types, to);
    }
    fprintf(to, "SPEC = TYPE[,KEY=VALUE]...\n\nThe types of device, each with `vio serve help TYPE` for its keys:\n\n");
    for (const struct spec_type *const *t = device_spec_types; *t != NULL; t++)
        fprintf(to, "  %-10s %s\n", (*t)->name, (*t)->summary);
    return fflush(to) == 0 ? EXIT_DONE : EXIT_FAILED;
}
