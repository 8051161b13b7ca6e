/* SPDX-License-Identifier: MIT */
/* Purpose: the grammar of SPEC: every form of value, quoting, and that what is refused is refused with the fix. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/spec.h"

static const char *const colours[] = { "red", "green", NULL };
static const struct spec_key paint_keys[] = {
    { .name = "path", .form = SPEC_PATH, .value = "PATH", .max = 12 },
    { .name = "size", .form = SPEC_SIZE, .value = "SIZE", .min = 512, .max = INT64_MAX, .multiple = 512 },
    { .name = "text", .form = SPEC_TEXT, .value = "TEXT" },
};
static const struct spec_key other_keys[] = {
    { .name = "queues", .form = SPEC_NUMBER, .value = "N", .min = 1, .max = 256, .fallback = "4" },
    { .name = "dry", .form = SPEC_FLAG, .value = "on|off", .fallback = "off" },
    { .name = "colour", .form = SPEC_WORD, .value = "COLOUR", .words = colours },
    { .name = "block", .form = SPEC_SIZE, .value = "SIZE", .min = 512, .max = 65536, .power_of_two = true },
};
static const struct spec_group paint = { .title = "paint", .keys = paint_keys, .nr = 3 };
static const struct spec_group other = { .title = "other", .keys = other_keys, .nr = 4 };
static const struct spec_key wet_keys[] = {
    { .name = "wet", .form = SPEC_FLAG, .value = "on|off", .fallback = "off" },
};
static const struct spec_group wet = { .title = "wet", .keys = wet_keys, .nr = 1 };
static const struct spec_group *const pool_groups[] = { &paint, &other, &wet, NULL };
static const struct spec_group *const groups[] = { &paint, &other, NULL };
static const char *const one_of[] = { "path", "size", NULL };
static const struct spec_type wall = { .name = "wall", .summary = "a wall", .groups = groups, .one_of = one_of };
static const char *const one_of_flags[] = { "dry", "path", "wet", NULL };
static const struct spec_type pool = {
    .name = "pool", .summary = "a pool", .groups = pool_groups, .one_of = one_of_flags, .one_of_default = "dry",
};
static const struct spec_type door = { .name = "door", .summary = "a door", .groups = groups };
static const struct spec_type *const types[] = { &wall, &door, &pool, NULL };

static char why[512];

static void takes(const char *text, struct spec *spec)
{
    int err = spec_parse(types, text, spec, why, sizeof(why));

    if (err < 0)
        fail_msg("%s: %s", text, why);
}

/* Refused, with all of the words in the sentence. */
static void refuses(const char *text, const char *word, const char *word2)
{
    struct spec spec;

    why[0] = '\0';
    if (spec_parse(types, text, &spec, why, sizeof(why)) == 0)
        fail_msg("%s was taken", text);
    assert_null(spec.value); /* nothing is left to free */
    if (strstr(why, word) == NULL || (word2 != NULL && strstr(why, word2) == NULL))
        fail_msg("%s: '%s' says neither '%s' nor '%s'", text, why, word, word2 != NULL ? word2 : "");
}

static void test_values(void **state)
{
    struct spec spec;

    (void)state;
    takes("wall,path=/a/b,queues=256,dry=on,colour=green,block=4K,text=", &spec);
    assert_ptr_equal(spec.type, &wall);
    assert_string_equal(spec_text(&spec, "path"), "/a/b");
    assert_int_equal(spec_number(&spec, "queues"), 256);
    assert_true(spec_flag(&spec, "dry"));
    assert_int_equal(spec_number(&spec, "colour"), 1);
    assert_int_equal(spec_number(&spec, "block"), 4096);
    assert_string_equal(spec_text(&spec, "text"), "");
    assert_true(spec_given(&spec, "text"));
    assert_false(spec_given(&spec, "size"));
    spec_free(&spec);
}

static void test_defaults(void **state)
{
    struct spec spec;

    (void)state;
    takes("door", &spec);
    assert_int_equal(spec_number(&spec, "queues"), 4);
    assert_false(spec_given(&spec, "queues"));
    assert_true(spec_is_set(&spec, "queues"));
    assert_false(spec_flag(&spec, "dry"));
    assert_false(spec_is_set(&spec, "colour"));
    assert_null(spec_text(&spec, "path"));
    spec_free(&spec);
}

static void test_sizes(void **state)
{
    static const struct {
        const char *text;
        int err;
        uint64_t bytes;
    } cases[] = {
        { "0", 0, 0 }, { "1", 0, 1 }, { "512", 0, 512 }, { "1K", 0, 1024 }, { "1k", 0, 1024 },
        { "64M", 0, UINT64_C(64) << 20 }, { "3G", 0, UINT64_C(3) << 30 }, { "2T", 0, UINT64_C(2) << 40 },
        { "18446744073709551615", 0, UINT64_MAX },
        { "18446744073709551616", -ERANGE, 0 }, { "16777216T", -ERANGE, 0 }, { "99999999999999999999G", -ERANGE, 0 },
        { "", -EINVAL, 0 }, { "K", -EINVAL, 0 }, { "-1", -EINVAL, 0 }, { "+1", -EINVAL, 0 }, { " 1", -EINVAL, 0 },
        { "1 ", -EINVAL, 0 }, { "1KB", -EINVAL, 0 }, { "1.5G", -EINVAL, 0 }, { "0x10", -EINVAL, 0 },
        { "1P", -EINVAL, 0 }, { "1[", -EINVAL, 0 },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t bytes = 77;

        if (spec_parse_size(cases[i].text, &bytes) != cases[i].err)
            fail_msg("'%s'", cases[i].text);
        assert_int_equal(bytes, cases[i].err == 0 ? cases[i].bytes : 77);
    }
}

static void test_commas(void **state)
{
    struct spec spec;

    (void)state;
    takes("wall,path=a,,b,text=,,,,", &spec);
    assert_string_equal(spec_text(&spec, "path"), "a,b");
    assert_string_equal(spec_text(&spec, "text"), ",,");
    spec_free(&spec);
    takes("wall,path=,,,queues=2", &spec); /* a pair from the left, then the end of the value */
    assert_string_equal(spec_text(&spec, "path"), ",");
    assert_int_equal(spec_number(&spec, "queues"), 2);
    spec_free(&spec);
    takes("wall,text=a=b=c,path=x", &spec); /* the first = is the one */
    assert_string_equal(spec_text(&spec, "text"), "a=b=c");
    spec_free(&spec);
    refuses("wall,path=x,", "two commas", NULL);
    refuses("wall,path=a,b", "'b' is not KEY=VALUE", "written twice");
}

static void test_refused_values(void **state)
{
    (void)state;
    refuses("wall,path=x,queues=0", "queues=0", "1..256");
    refuses("wall,path=x,queues=257", "queues=257", "1..256");
    refuses("wall,path=x,queues=4x", "queues=4x", "1..256");
    refuses("wall,path=x,queues=", "queues=", "1..256");
    refuses("wall,path=x,queues=99999999999999999999", "1..256", NULL);
    refuses("wall,path=x,dry=yes", "dry=yes", "on|off");
    refuses("wall,path=x,dry=", "dry=", "on|off");
    refuses("wall,path=x,queues", "'queues' has no value", "queues=1..256");
    refuses("wall,path=x,colour", "'colour' has no value", "colour=red|green");
    refuses("wall,path=x,colour=blue", "colour=blue", "red|green");
    refuses("wall,path=x,block=1000", "block=1000", "a power of two");
    refuses("wall,path=x,block=128K", "block=128K", "512..64K");
    refuses("wall,size=1000", "not whole 512-byte sectors", "512");
    refuses("wall,size=100", "size=100", NULL);
    refuses("wall,size=1Q", "size=1Q", "K, M, G or T");
    refuses("wall,path=", "path= is empty", "path=PATH");
    refuses("wall,path=/this/is/too/long", "17 bytes", "at most 12");
    refuses("wall,path=x,queues=2,queues=3", "queues= is given twice", NULL);
}

static void test_unknown(void **state)
{
    const char *list, *meant, *far;

    (void)state;
    refuses("wall,path=x,qeues=2", "no key 'qeues' (did you mean 'queues'?)", "its keys are: queues, path");
    refuses("wall,path=x,=2", "no key ''", NULL);
    refuses("window,path=x", "no device type 'window'", "wall, door, pool");
    refuses("", "no device type ''", "wall, door, pool");
    refuses(",path=x", "no device type ''", NULL);

    /* nothing is near: no guess, and all keys are named */
    refuses("wall,path=x,zzzzzzzz=2", "no key 'zzzzzzzz'; its keys are:", "colour");
    list = strstr(why, "its keys are:");
    meant = strstr(why, "did you mean");
    far = strstr(list, "block");
    assert_null(meant);
    assert_non_null(far);
}

static void test_one_of(void **state)
{
    struct spec spec;

    (void)state;
    refuses("wall", "needs one of: path=PATH, size=SIZE", NULL);
    refuses("wall,path=x,size=512", "path=, size= exclude each other", NULL);
    takes("door,path=x,size=512", &spec);
    spec_free(&spec);
}

/* A flag among the one_of keys: alone it means on, off it chooses nothing, and one may hold where nothing is given. */
static void test_flags_alone(void **state)
{
    struct spec spec;

    (void)state;
    takes("wall,dry,path=x", &spec);
    assert_true(spec_flag(&spec, "dry"));
    assert_true(spec_given(&spec, "dry"));
    assert_string_equal(spec_text(&spec, "dry"), "on");
    assert_string_equal(spec_chosen(&spec), "path");
    spec_free(&spec);
    refuses("wall,dry,dry=off,path=x", "dry= is given twice", NULL);
    refuses("wall,dry,dry,path=x", "dry= is given twice", NULL);
    refuses("wall,path=x,dr", "'dr' is not KEY=VALUE", NULL);

    takes("pool", &spec);
    assert_string_equal(spec_chosen(&spec), "dry");
    assert_false(spec_given(&spec, "dry"));
    spec_free(&spec);
    takes("pool,wet", &spec);
    assert_string_equal(spec_chosen(&spec), "wet");
    spec_free(&spec);
    takes("pool,wet=off,dry=off,path=x", &spec);
    assert_string_equal(spec_chosen(&spec), "path");
    spec_free(&spec);
    takes("pool,wet=off", &spec); /* off is as good as not given */
    assert_string_equal(spec_chosen(&spec), "dry");
    spec_free(&spec);
    refuses("pool,dry=off", "needs one of: dry, path=PATH, wet", NULL);
    refuses("pool,dry,wet", "dry, wet exclude each other", NULL);
    refuses("pool,wet,path=x", "path=, wet exclude each other", NULL);
}

static void test_piecemeal(void **state)
{
    struct spec spec;

    (void)state;
    assert_int_equal(spec_init(&wall, &spec), 0);
    assert_int_equal(spec_finish(&spec, why, sizeof(why)), -EINVAL);
    assert_int_equal(spec_set(&spec, "path", "a,b", why, sizeof(why)), 0); /* no quoting here */
    assert_int_equal(spec_set(&spec, "path", "c", why, sizeof(why)), -EINVAL);
    assert_int_equal(spec_set(&spec, "nope", "c", why, sizeof(why)), -EINVAL);
    assert_int_equal(spec_finish(&spec, why, sizeof(why)), 0);
    assert_string_equal(spec_text(&spec, "path"), "a,b");
    spec_free(&spec);
    spec_free(&spec); /* of one that is all zero */
}

static void test_distance(void **state)
{
    (void)state;
    assert_int_equal(spec_distance("", ""), 0);
    assert_int_equal(spec_distance("abc", "abc"), 0);
    assert_int_equal(spec_distance("abc", ""), 3);
    assert_int_equal(spec_distance("", "abc"), 3);
    assert_int_equal(spec_distance("queues", "qeues"), 1);
    assert_int_equal(spec_distance("kitten", "sitting"), 3);
    /* longer than the words it keeps: bounded, and no crash */
    assert_true(spec_distance("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "b") >= 31);
}

/* A sentence that does not fit is cut, not written past its end. */
static void test_short_why(void **state)
{
    struct spec spec;
    char tiny[9];

    (void)state;
    memset(tiny, 'x', sizeof(tiny));
    assert_int_equal(spec_parse(types, "wall,path=x,qeues=2", &spec, tiny, 8), -EINVAL);
    assert_int_equal(strlen(tiny), 7);
    assert_int_equal(tiny[8], 'x');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),    cmocka_unit_test(test_defaults), cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_commas),    cmocka_unit_test(test_refused_values), cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_one_of),    cmocka_unit_test(test_piecemeal), cmocka_unit_test(test_distance),
        cmocka_unit_test(test_short_why), cmocka_unit_test(test_flags_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
