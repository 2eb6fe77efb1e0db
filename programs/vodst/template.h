/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_TEMPLATE_H
#define PROGRAMS_VODST_TEMPLATE_H

/*
 * Configuration files from templates: FILE is made of FILE.in. "@name@" in it
 * stands for a value, "@include FILE@" alone on a line for another template of
 * the same folder, any other '@' for itself. A value may have several lines.
 */

#include "core/buffer.h"

#define TEMPLATE_SIZE_MAX (1u << 20) /* bytes, each file and the result */
#define TEMPLATE_DEPTH_MAX 4         /* of includes */

struct template_value {
    const char *name;
    const char *value;
};

/*
 * Appends the rendered file. `values` ends with a NULL name. On failure `error`
 * says "file:line: what is wrong" and the result is ERR_NOT_FOUND (no such
 * file, or a name without a value), ERR_INVALID (an unfinished include),
 * ERR_LIMIT or ERR_MEMORY; `out` then holds a part, which is of no use.
 */
int template_render(const char *folder, const char *file,
                    const struct template_value *values, struct buffer *out,
                    char *error, size_t error_size);

#endif
