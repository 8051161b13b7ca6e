/* SPDX-License-Identifier: MIT */
/*
 * Purpose: writing text so that another reader takes it as it was: XML, QEMU's options, the shell; and text for the
 * width of a terminal. Where it sits: cli/.
 */
#ifndef VIO_CLI_TEXT_H
#define VIO_CLI_TEXT_H

#include <stdio.h>
#include <vio/types.h>

void text_xml(const char *text, FILE *to);
void text_qemu(const char *text, FILE *to);  /* commas doubled */
void text_shell(const char *text, FILE *to); /* quoted where it must be */
/* Words, from column `indent` on (where the caller has written up to), with later lines indented alike. */
void text_wrap(const char *text, unsigned indent, FILE *to);

#endif
