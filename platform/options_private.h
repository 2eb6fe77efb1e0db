/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_OPTIONS_PRIVATE_H
#define PLATFORM_OPTIONS_PRIVATE_H

/* What reading options and printing them share: nothing for other files. */

#include "platform/options.h"

#include <stdio.h>

/* What a value looks like: "TEXT", "TIME"; NULL for a flag. */
const char *option_placeholder(const struct option *option);
/* "1 to 65535 ms", "" when any value will do. */
const char *option_range_text(const struct option *option, char *out,
                              size_t size);

void options_print_help(const struct program *program, FILE *out);
void options_print_man(const struct program *program, FILE *out);
void options_print_sample(const struct program *program, FILE *out);

#endif
