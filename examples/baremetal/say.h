/* SPDX-License-Identifier: MIT */
/*
 * Purpose: lines for a person on the serial port, and the few comparisons of text that the program makes. Where it sits: over
 * machine.h. Threads: one. Trust: text of devices and disks goes through say_printable() first.
 */
#ifndef VIO_BAREMETAL_SAY_H
#define VIO_BAREMETAL_SAY_H

#include <vio/types.h>

/* "name: sentence", by vio_format() (base/format.h); cut at SAY_LINE characters. */
enum { SAY_LINE = 400 };
void say(const char *name, const char *format, ...) VIO_PRINTF(2, 3);
/* The same, and counted: the program ends with this number. */
void problem(const char *name, const char *format, ...) VIO_PRINTF(2, 3);
unsigned problems(void);

/* Bytes as text: what cannot be printed is a dot. to: n + 1 characters. */
void say_printable(char *to, const uint8_t *bytes, size_t n);

bool text_equal(const char *a, const char *b);
/* The value of "name=value" among words with blanks between them, copied and cut; false: there is no such word. */
bool text_word(const char *words, const char *name, char *value, size_t size);
/* Whether there is the word "name=on". */
bool text_on(const char *words, const char *name);
/* A decimal number; what is none, or above `most`, is `otherwise`. */
uint32_t text_number(const char *text, uint32_t most, uint32_t otherwise);

#endif
