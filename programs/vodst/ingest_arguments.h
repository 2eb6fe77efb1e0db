/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_ARGUMENTS_H
#define PROGRAMS_VODST_INGEST_ARGUMENTS_H

/*
 * A command line under way. Arguments are written one after the other, each
 * with its end, and turned into pointers when all are there: the buffer moves
 * while it grows. What goes wrong is in text->err.
 */

#include "core/buffer.h"

#define ARGUMENTS_MAX 640
#define ARGUMENTS_SIZE_MAX (512u << 10) /* bytes */

struct arguments {
    struct buffer *text;
    size_t offsets[ARGUMENTS_MAX];
    size_t count;
};

void argument(struct arguments *a, const char *text);
void arguments_of(struct arguments *a, const char *const *texts); /* to NULL */
void argument_printf(struct arguments *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Pointers into the text, NULL behind the last. */
int arguments_end(const struct arguments *a, const char *argv[ARGUMENTS_MAX]);

#endif
