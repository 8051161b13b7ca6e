/* SPDX-License-Identifier: MIT */
/*
 * Purpose: see cli/spec.h. The values come from the person who starts vio, so errors are written for that person:
 * what is wrong, with which value, and what would be right.
 */
#include "cli/spec.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPEC_WORD_MAX = 32, SPEC_LIST_MAX = 768 };

/* ------------------------------------------------------------------ words that were meant */

unsigned spec_distance(const char *a, const char *b)
{
    size_t na = strnlen(a, SPEC_WORD_MAX), nb = strnlen(b, SPEC_WORD_MAX);
    unsigned row[SPEC_WORD_MAX + 1];

    for (size_t j = 0; j <= nb; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= na; i++) {
        unsigned diagonal = row[0];

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= nb; j++) {
            unsigned change = diagonal + (a[i - 1] != b[j - 1]);
            unsigned gap = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;

            diagonal = row[j];
            row[j] = change < gap ? change : gap;
        }
    }
    return row[nb];
}

struct list {
    char text[SPEC_LIST_MAX];
    size_t used;
};

static void list_add(struct list *list, const char *word)
{
    int n = snprintf(list->text + list->used, sizeof(list->text) - list->used, "%s%s", list->used > 0 ? ", " : "",
                     word);

    if (n > 0)
        list->used += (size_t)n < sizeof(list->text) - list->used ? (size_t)n : sizeof(list->text) - list->used - 1;
}

static bool close_enough(const char *word, const char *meant)
{
    return spec_distance(word, meant) <= (strlen(meant) > 4 ? 2u : 1u);
}

/* All keys of the spec, the one that was most likely meant first. */
static const char *keys_there_are(const struct spec *spec, const char *word, struct list *list, const char **meant)
{
    unsigned best = UINT32_MAX;

    list->used = 0;
    *meant = NULL;
    for (unsigned i = 0; i < spec->nr; i++) {
        unsigned distance = spec_distance(word, spec->value[i].key->name);

        if (distance < best && close_enough(word, spec->value[i].key->name)) {
            best = distance;
            *meant = spec->value[i].key->name;
        }
    }
    if (*meant != NULL)
        list_add(list, *meant);
    for (unsigned i = 0; i < spec->nr; i++)
        if (spec->value[i].key->name != *meant)
            list_add(list, spec->value[i].key->name);
    return list->text;
}

const struct spec_type *spec_find_type(const struct spec_type *const *types, const char *name)
{
    for (; *types != NULL; types++)
        if (strcmp((*types)->name, name) == 0)
            return *types;
    return NULL;
}

static int unknown_type(const struct spec_type *const *types, const char *name, char *why, size_t why_size)
{
    struct list list = { .used = 0 };

    for (; *types != NULL; types++)
        list_add(&list, (*types)->name);
    snprintf(why, why_size, "there is no device type '%s': a device is TYPE[,KEY=VALUE]..., and the types are: %s",
             name, list.text);
    return -EINVAL;
}

/* ------------------------------------------------------------------ values */

static const char *const form_names[] = {
    [SPEC_TEXT] = "text", [SPEC_PATH] = "path", [SPEC_SIZE] = "size",
    [SPEC_NUMBER] = "number", [SPEC_FLAG] = "flag", [SPEC_WORD] = "word",
};

const char *spec_form_name(enum spec_form form)
{
    return form_names[form];
}

/* Digits only: strtoull would take blanks and signs. */
static int parse_digits(const char **text, uint64_t *number)
{
    const char *p = *text;
    uint64_t n = 0;

    if (*p < '0' || *p > '9')
        return -EINVAL;
    for (; *p >= '0' && *p <= '9'; p++)
        if (!vio_mul_u64(n, 10, &n) || !vio_add_u64(n, (uint64_t)(*p - '0'), &n))
            return -ERANGE;
    *text = p;
    *number = n;
    return 0;
}

int spec_parse_size(const char *text, uint64_t *bytes)
{
    static const char suffixes[] = "KMGT";
    unsigned shift = 0;
    uint64_t n;
    int err = parse_digits(&text, &n);

    if (err < 0)
        return err;
    if (*text != '\0') {
        const char *suffix = strchr(suffixes, *text >= 'a' && *text <= 'z' ? *text - 'a' + 'A' : *text);

        if (suffix == NULL || text[1] != '\0')
            return -EINVAL;
        shift = 10 * (unsigned)(suffix - suffixes + 1);
    }
    if (!vio_mul_u64(n, UINT64_C(1) << shift, &n))
        return -ERANGE;
    *bytes = n;
    return 0;
}

/* The shortest exact way to write a size. */
static const char *size_text(uint64_t bytes, char *buf, size_t size)
{
    static const char suffixes[] = "KMGT";
    int suffix = -1;

    while (bytes > 0 && bytes % 1024 == 0 && suffix < 3) {
        bytes /= 1024;
        suffix++;
    }
    if (suffix < 0)
        snprintf(buf, size, "%" PRIu64, bytes);
    else
        snprintf(buf, size, "%" PRIu64 "%c", bytes, suffixes[suffix]);
    return buf;
}

const char *spec_values(const struct spec_key *key, char *buf, size_t size)
{
    const char *shape = key->power_of_two ? ", a power of two" : "";
    struct list list = { .used = 0 };
    char low[32], high[32];

    switch (key->form) {
    case SPEC_FLAG:
        snprintf(buf, size, "on|off");
        break;
    case SPEC_WORD:
        for (const char *const *w = key->words; *w != NULL; w++)
            list.used += (size_t)snprintf(list.text + list.used, sizeof(list.text) - list.used, "%s%s",
                                          list.used > 0 ? "|" : "", *w);
        snprintf(buf, size, "%s", list.text);
        break;
    case SPEC_NUMBER:
        snprintf(buf, size, "%" PRIu64 "..%" PRIu64 "%s", key->min, key->max, shape);
        break;
    case SPEC_SIZE:
        size_text(key->min, low, sizeof(low));
        if (key->max == UINT64_MAX)
            snprintf(buf, size, "%s or more%s", low, shape);
        else
            snprintf(buf, size, "%s..%s%s", low, size_text(key->max, high, sizeof(high)), shape);
        break;
    default:
        snprintf(buf, size, "%s", key->value);
        break;
    }
    return buf;
}

static int bad_value(const struct spec *spec, const struct spec_key *key, const char *text, char *why, size_t why_size)
{
    char values[256];

    snprintf(why, why_size, "%s: %s=%s is not a value of %s=, which takes %s%s", spec->type->name, key->name, text,
             key->name, spec_values(key, values, sizeof(values)),
             key->form == SPEC_SIZE ? " (bytes, or with K, M, G or T)" : "");
    return -EINVAL;
}

static int check_text(const struct spec *spec, const struct spec_key *key, const char *text, char *why, size_t why_size)
{
    size_t length = strlen(text);

    if (length == 0 && key->form == SPEC_PATH) {
        snprintf(why, why_size, "%s: %s= is empty: give it as %s=%s", spec->type->name, key->name, key->name,
                 key->value);
        return -EINVAL;
    }
    if (key->max != 0 && length > key->max) {
        snprintf(why, why_size, "%s: %s=%s has %zu bytes, and at most %" PRIu64 " are possible", spec->type->name,
                 key->name, text, length, key->max);
        return -EINVAL;
    }
    return 0;
}

static int check_number(const struct spec *spec, const struct spec_key *key, const char *text, uint64_t n, char *why,
                        size_t why_size)
{
    if (n < key->min || n > key->max || (key->power_of_two && (n & (n - 1)) != 0))
        return bad_value(spec, key, text, why, why_size);
    if (key->multiple > 1 && n % key->multiple != 0) {
        snprintf(why, why_size, "%s: %s=%s is not whole %" PRIu64 "-byte sectors: %" PRIu64 " would be", spec->type->name,
                 key->name, text, key->multiple, n - n % key->multiple);
        return -EINVAL;
    }
    return 0;
}

static int parse_value(const struct spec *spec, const struct spec_key *key, const char *text, uint64_t *number,
                       char *why, size_t why_size)
{
    const char *rest = text;

    switch (key->form) {
    case SPEC_TEXT:
    case SPEC_PATH:
        return check_text(spec, key, text, why, why_size);
    case SPEC_SIZE:
        if (spec_parse_size(text, number) < 0)
            return bad_value(spec, key, text, why, why_size);
        return check_number(spec, key, text, *number, why, why_size);
    case SPEC_NUMBER:
        if (parse_digits(&rest, number) < 0 || *rest != '\0')
            return bad_value(spec, key, text, why, why_size);
        return check_number(spec, key, text, *number, why, why_size);
    case SPEC_FLAG:
        *number = strcmp(text, "on") == 0;
        return *number == 1 || strcmp(text, "off") == 0 ? 0 : bad_value(spec, key, text, why, why_size);
    case SPEC_WORD:
        for (*number = 0; key->words[*number] != NULL; ++*number)
            if (strcmp(key->words[*number], text) == 0)
                return 0;
        return bad_value(spec, key, text, why, why_size);
    }
    return -EINVAL;
}

/* ------------------------------------------------------------------ a spec */

int spec_init(const struct spec_type *type, struct spec *spec)
{
    unsigned nr = 0, i = 0;
    char why[256];

    *spec = (struct spec){ .type = type };
    for (const struct spec_group *const *g = type->groups; *g != NULL; g++)
        nr += (*g)->nr;
    spec->value = calloc(nr, sizeof(*spec->value));
    if (spec->value == NULL)
        return -ENOMEM;
    spec->nr = nr;
    for (const struct spec_group *const *g = type->groups; *g != NULL; g++) {
        for (unsigned k = 0; k < (*g)->nr; k++) {
            struct spec_value *v = &spec->value[i++];

            v->key = &(*g)->keys[k];
            if (v->key->fallback == NULL)
                continue;
            if (parse_value(spec, v->key, v->key->fallback, &v->number, why, sizeof(why)) < 0)
                abort(); /* a default that its own key refuses: our own mistake, found by any test */
            v->text = strdup(v->key->fallback);
            if (v->text == NULL) {
                spec_free(spec);
                return -ENOMEM;
            }
            v->set = true;
        }
    }
    return 0;
}

void spec_free(struct spec *spec)
{
    for (unsigned i = 0; i < spec->nr; i++)
        free(spec->value[i].text);
    free(spec->value);
    *spec = (struct spec){ .type = NULL };
}

static struct spec_value *find(const struct spec *spec, const char *key)
{
    for (unsigned i = 0; i < spec->nr; i++)
        if (strcmp(spec->value[i].key->name, key) == 0)
            return &spec->value[i];
    return NULL;
}

int spec_set(struct spec *spec, const char *key, const char *value, char *why, size_t why_size)
{
    struct spec_value *v = find(spec, key);
    uint64_t number = 0;
    const char *meant;
    struct list list;
    char *text;
    int err;

    if (v == NULL) {
        const char *keys = keys_there_are(spec, key, &list, &meant);

        snprintf(why, why_size, "%s has no key '%s'%s%s%s; its keys are: %s", spec->type->name, key,
                 meant != NULL ? " (did you mean '" : "", meant != NULL ? meant : "", meant != NULL ? "'?)" : "", keys);
        return -EINVAL;
    }
    if (v->given) {
        snprintf(why, why_size, "%s: %s= is given twice", spec->type->name, key);
        return -EINVAL;
    }
    err = parse_value(spec, v->key, value, &number, why, why_size);
    if (err < 0)
        return err;
    text = strdup(value);
    if (text == NULL)
        return -ENOMEM;
    free(v->text);
    v->text = text;
    v->number = number;
    v->given = v->set = true;
    return 0;
}

/* A flag that is off chooses nothing. */
static bool chooses(const struct spec *spec, const char *key)
{
    const struct spec_value *v = find(spec, key);

    return v->given && (v->key->form != SPEC_FLAG || v->number != 0);
}

const char *spec_chosen(const struct spec *spec)
{
    const char *by_default = spec->type->one_of_default;

    for (const char *const *name = spec->type->one_of; name != NULL && *name != NULL; name++)
        if (chooses(spec, *name))
            return *name;
    return by_default != NULL && !spec_given(spec, by_default) ? by_default : NULL;
}

int spec_finish(const struct spec *spec, char *why, size_t why_size)
{
    struct list all = { .used = 0 }, given = { .used = 0 };
    unsigned nr = 0;
    char word[64];

    if (spec->type->one_of == NULL)
        return 0;
    for (const char *const *name = spec->type->one_of; *name != NULL; name++) {
        const struct spec_key *key = find(spec, *name)->key;

        snprintf(word, sizeof(word), "%s%s%s", *name, key->form == SPEC_FLAG ? "" : "=",
                 key->form == SPEC_FLAG ? "" : key->value);
        list_add(&all, word);
        if (chooses(spec, *name)) {
            snprintf(word, sizeof(word), "%s%s", *name, key->form == SPEC_FLAG ? "" : "=");
            list_add(&given, word);
            nr++;
        }
    }
    if (nr == 1 || (nr == 0 && spec_chosen(spec) != NULL))
        return 0;
    if (nr == 0)
        snprintf(why, why_size, "%s: needs one of: %s", spec->type->name, all.text);
    else
        snprintf(why, why_size, "%s: %s exclude each other: give one of: %s", spec->type->name, given.text, all.text);
    return -EINVAL;
}

/* ------------------------------------------------------------------ text to spec */

/* Cuts the next piece off *rest, up to a single comma; `,,` becomes one comma, in place. NULL: nothing is left. */
static char *next_piece(char **rest)
{
    char *start = *rest, *from = start, *to = start;

    if (start == NULL)
        return NULL;
    for (; *from != '\0'; from++) {
        if (*from == ',' && from[1] != ',')
            break;
        if (*from == ',')
            from++;
        *to++ = *from;
    }
    *rest = *from == ',' ? from + 1 : NULL;
    *to = '\0';
    return start;
}

static int set_piece(struct spec *spec, char *piece, char *why, size_t why_size)
{
    char *equals = strchr(piece, '=');
    const struct spec_value *v;
    char values[256];

    if (equals != NULL) {
        *equals = '\0';
        return spec_set(spec, piece, equals + 1, why, why_size);
    }
    v = find(spec, piece);
    if (v != NULL && v->key->form == SPEC_FLAG)
        return spec_set(spec, piece, "on", why, why_size);
    if (v != NULL)
        snprintf(why, why_size, "%s: '%s' has no value: give it as %s=%s", spec->type->name, piece, piece,
                 spec_values(v->key, values, sizeof(values)));
    else if (*piece == '\0')
        snprintf(why, why_size, "%s: nothing stands between two commas (or behind the last): write KEY=VALUE",
                 spec->type->name);
    else
        snprintf(why, why_size, "%s: '%s' is not KEY=VALUE (a comma inside a value is written twice)",
                 spec->type->name, piece);
    return -EINVAL;
}

int spec_parse(const struct spec_type *const *types, const char *text, struct spec *spec, char *why, size_t why_size)
{
    char *copy = strdup(text), *rest = copy, *piece;
    const struct spec_type *type;
    int err;

    *spec = (struct spec){ .type = NULL };
    if (copy == NULL)
        return -ENOMEM;
    piece = next_piece(&rest);
    type = spec_find_type(types, piece);
    err = type != NULL ? spec_init(type, spec) : unknown_type(types, piece, why, why_size);
    while (err == 0 && (piece = next_piece(&rest)) != NULL)
        err = set_piece(spec, piece, why, why_size);
    if (err == 0)
        err = spec_finish(spec, why, why_size);
    if (err == -ENOMEM)
        snprintf(why, why_size, "out of memory");
    if (err < 0)
        spec_free(spec);
    free(copy);
    return err;
}

/* ------------------------------------------------------------------ reading it */

static const struct spec_value *must_find(const struct spec *spec, const char *key)
{
    const struct spec_value *v = find(spec, key);

    assert(v != NULL);
    return v;
}

bool spec_given(const struct spec *spec, const char *key)
{
    return must_find(spec, key)->given;
}

bool spec_is_set(const struct spec *spec, const char *key)
{
    return must_find(spec, key)->set;
}

uint64_t spec_number(const struct spec *spec, const char *key)
{
    return must_find(spec, key)->number;
}

bool spec_flag(const struct spec *spec, const char *key)
{
    return must_find(spec, key)->number != 0;
}

const char *spec_text(const struct spec *spec, const char *key)
{
    return must_find(spec, key)->text;
}
