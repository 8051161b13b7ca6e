/* SPDX-License-Identifier: MIT */
/* Purpose: see say.h. */
#include "say.h"

#include "base/format.h"
#include "machine.h"

static unsigned counted;

static void put(const char *text)
{
    for (; *text != '\0'; text++)
        machine_putc(*text);
}

static void line(const char *name, const char *format, va_list ap)
{
    char text[SAY_LINE];

    vio_vformat(text, sizeof(text), format, ap);
    put(name);
    put(": ");
    put(text);
    put("\r\n");
}

void say(const char *name, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    line(name, format, ap);
    va_end(ap);
}

void problem(const char *name, const char *format, ...)
{
    va_list ap;

    counted++;
    put("PROBLEM ");
    va_start(ap, format);
    line(name, format, ap);
    va_end(ap);
}

unsigned problems(void)
{
    return counted;
}

void say_printable(char *to, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = bytes[i] >= 0x20 && bytes[i] < 0x7f ? (char)bytes[i] : '.';
    to[n] = '\0';
}

bool text_equal(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

bool text_word(const char *words, const char *name, char *value, size_t size)
{
    while (*words != '\0') {
        const char *w = words, *n = name;
        size_t len = 0;

        while (*n != '\0' && *w == *n) {
            w++;
            n++;
        }
        if (*n == '\0' && *w == '=') {
            for (w++; *w != '\0' && *w != ' ' && len + 1 < size; w++)
                value[len++] = *w;
            value[len] = '\0';
            return true;
        }
        while (*words != '\0' && *words != ' ')
            words++;
        while (*words == ' ')
            words++;
    }
    return false;
}

bool text_on(const char *words, const char *name)
{
    char value[4];

    return text_word(words, name, value, sizeof(value)) && text_equal(value, "on");
}

uint32_t text_number(const char *text, uint32_t most, uint32_t otherwise)
{
    uint64_t n = 0;

    if (*text == '\0')
        return otherwise;
    for (; *text >= '0' && *text <= '9' && n <= most; text++)
        n = n * 10 + (uint64_t)(*text - '0');
    return *text == '\0' && n <= most ? (uint32_t)n : otherwise;
}
