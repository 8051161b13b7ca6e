/* SPDX-License-Identifier: MIT */
/* Purpose: see cli/text.h. */
#include "cli/text.h"

#include <string.h>

enum { WIDTH = 96 };

void text_xml(const char *text, FILE *to)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&': fputs("&amp;", to); break;
        case '<': fputs("&lt;", to); break;
        case '>': fputs("&gt;", to); break;
        case '\'': fputs("&apos;", to); break;
        case '"': fputs("&quot;", to); break;
        default: fputc(*text, to); break;
        }
    }
}

void text_qemu(const char *text, FILE *to)
{
    for (; *text != '\0'; text++) {
        if (*text == ',')
            fputc(',', to);
        fputc(*text, to);
    }
}

void text_shell(const char *text, FILE *to)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%+,-./:=@_";

    if (*text != '\0' && text[strspn(text, plain)] == '\0') {
        fputs(text, to);
        return;
    }
    fputc('\'', to);
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            fputs("'\\''", to);
        else
            fputc(*text, to);
    }
    fputc('\'', to);
}

void text_wrap(const char *text, unsigned indent, FILE *to)
{
    unsigned column = indent;

    while (*text != '\0') {
        size_t word = strcspn(text, " ");

        if (column > indent && column + 1 + word > WIDTH) {
            fprintf(to, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', to);
            column++;
        }
        fwrite(text, 1, word, to);
        column += (unsigned)word;
        text += word;
        text += strspn(text, " ");
    }
    fputc('\n', to);
}
