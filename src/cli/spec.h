/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the grammar of SPEC = TYPE[,KEY=VALUE]..., read by one parser from tables of keys.
 * Where it sits: cli/. It knows no device type: a type hands in its groups of keys (cli/spec_blk.c), and what
 * holds for each type (threads, the transport) is a group of its own (cli/endpoint.c).
 * Threads: one. Errors: one sentence for a person in `why`.
 * In a value, `,,` stands for one comma, as in QEMU's options; nothing else is special. A flag's key alone means on.
 */
#ifndef VIO_CLI_SPEC_H
#define VIO_CLI_SPEC_H

#include <vio/types.h>

enum spec_form {
    SPEC_TEXT,   /* any bytes, at most max of them (0: no limit) */
    SPEC_PATH,   /* the same; not empty */
    SPEC_SIZE,   /* a number with an optional suffix K, M, G, T: powers of 1024 */
    SPEC_NUMBER, /* decimal */
    SPEC_FLAG,   /* on or off */
    SPEC_WORD,   /* one of words[] */
};

struct spec_key {
    const char *name;
    enum spec_form form;
    const char *value;        /* how the help names the value: "PATH" */
    const char *fallback;     /* the default, written as a user would; NULL: not set */
    const char *fallback_says; /* what the help says of the default where that says more; may be NULL */
    const char *help;
    uint64_t min, max;        /* SIZE and NUMBER: the range; TEXT and PATH: max bytes */
    uint64_t multiple;        /* SIZE: whole multiples only; 0: any */
    bool power_of_two;        /* SIZE and NUMBER */
    const char *const *words; /* WORD: NULL-terminated; the number is the index */
};

struct spec_group {
    const char *title;
    const struct spec_key *keys;
    unsigned nr;
};

/* A type of device as the grammar sees it. */
struct spec_type {
    const char *name;
    const char *summary;
    const struct spec_group *const *groups; /* NULL-terminated */
    const char *const *one_of;              /* exactly one of these keys; NULL: no such rule */
    const char *one_of_default;             /* the flag among them that holds where none is given; may be NULL */
};

struct spec_value {
    const struct spec_key *key;
    bool given;      /* by the user, not by default */
    bool set;        /* given, or there is a default */
    uint64_t number; /* SIZE NUMBER FLAG WORD */
    char *text;      /* as it was given, commas resolved; or the default */
};

struct spec {
    const struct spec_type *type;
    unsigned nr;
    struct spec_value *value;
};

/*
 * Reads text; types is NULL-terminated. -EINVAL with the reason in why, -ENOMEM. spec_free() afterwards, also of a
 * spec that is all zero.
 */
int spec_parse(const struct spec_type *const *types, const char *text, struct spec *spec, char *why, size_t why_size)
    VIO_MUST_CHECK;
/* The same piecemeal: every key at its default, then set, then the rules between keys. */
int spec_init(const struct spec_type *type, struct spec *spec) VIO_MUST_CHECK;
int spec_set(struct spec *spec, const char *key, const char *value, char *why, size_t why_size) VIO_MUST_CHECK;
int spec_finish(const struct spec *spec, char *why, size_t why_size) VIO_MUST_CHECK;
void spec_free(struct spec *spec);

/* The values; the key must be one of the type's. */
bool spec_given(const struct spec *spec, const char *key);
bool spec_is_set(const struct spec *spec, const char *key);
uint64_t spec_number(const struct spec *spec, const char *key);
bool spec_flag(const struct spec *spec, const char *key);
const char *spec_text(const struct spec *spec, const char *key); /* NULL: not set */
/* Which of the type's one_of keys holds; NULL: none (before spec_finish()). A flag that is off is not given. */
const char *spec_chosen(const struct spec *spec);

const struct spec_type *spec_find_type(const struct spec_type *const *types, const char *name);
/* Bytes from "64M"; -EINVAL, -ERANGE. */
int spec_parse_size(const char *text, uint64_t *bytes) VIO_MUST_CHECK;
/* How the help writes the values a key takes: "1..256", "on|off"; into buf. */
const char *spec_values(const struct spec_key *key, char *buf, size_t size);
const char *spec_form_name(enum spec_form form);
/* Edits from one word to another; for "did you mean". */
unsigned spec_distance(const char *a, const char *b);

#endif
