/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines, see programs/vodst/ingest_arguments.h. */

#include "programs/vodst/ingest_arguments.h"

#include "core/err.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

void
argument(struct arguments *a, const char *text)
{
    if (a->count == ARGUMENTS_MAX - 1) {
        a->text->err = ERR_LIMIT;
        return;
    }
    a->offsets[a->count++] = a->text->len;
    buffer_append(a->text, text, strlen(text) + 1);
}

void
arguments_of(struct arguments *a, const char *const *texts)
{
    for (; *texts != NULL; texts++)
        argument(a, *texts);
}

void
argument_printf(struct arguments *a, const char *format, ...)
{
    char text[PATH_MAX + 64];
    va_list values;
    va_start(values, format);
    int len = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    if (len < 0 || (size_t) len >= sizeof text)
        a->text->err = ERR_LIMIT;
    else
        argument(a, text);
}

int
arguments_end(const struct arguments *a, const char *argv[ARGUMENTS_MAX])
{
    if (a->text->err != 0)
        return a->text->err;
    for (size_t i = 0; i < a->count; i++)
        argv[i] = (const char *) a->text->ptr + a->offsets[i];
    argv[a->count] = NULL;
    return 0;
}
