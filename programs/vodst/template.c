/* SPDX-License-Identifier: Apache-2.0 */
/* Line by line, so that every complaint names its line. */

#include "programs/vodst/template.h"
#include "core/err.h"
#include "platform/files.h"

#include <stdio.h>

#define INCLUDE_MARK "@include "

struct render {
    const char *folder;
    const struct template_value *values;
    struct buffer *out;
    char *error;
    size_t error_size;
};

static int render_file(struct render *render, const char *file, unsigned depth);

/* The length of "name" in "@name@..." at `text`, or 0: a plain '@'. */
static size_t
name_length(struct bytes text)
{
    size_t i = 1;
    while (i < text.len
           && ((text.ptr[i] >= 'a' && text.ptr[i] <= 'z')
               || (text.ptr[i] >= '0' && text.ptr[i] <= '9')
               || text.ptr[i] == '_'))
        i++;
    return i < text.len && text.ptr[i] == '@' ? i - 1 : 0;
}

static const char *
value_find(const struct template_value *values, struct bytes name)
{
    for (; values->name != NULL; values++)
        if (bytes_equal(bytes_of_text(values->name), name))
            return values->value;
    return NULL;
}

static int
render_line(struct render *render, struct bytes line, const char *file,
            unsigned number)
{
    size_t done = 0;
    for (size_t i = 0; i < line.len; i++) {
        if (line.ptr[i] != '@')
            continue;
        const size_t length = name_length(bytes_of(line.ptr + i, line.len - i));
        if (length == 0)
            continue;
        const struct bytes name = bytes_of(line.ptr + i + 1, length);
        const char *value = value_find(render->values, name);
        if (value == NULL) {
            snprintf(render->error, render->error_size,
                     "%s/%s:%u: there is no value for @%.*s@", render->folder,
                     file, number, (int) name.len, (const char *) name.ptr);
            return ERR_NOT_FOUND;
        }
        buffer_append(render->out, line.ptr + done, i - done);
        buffer_append_text(render->out, value);
        i += length + 1;
        done = i + 1;
    }
    buffer_append(render->out, line.ptr + done, line.len - done);
    return 0;
}

static int
render_include(struct render *render, struct bytes line, const char *file,
               unsigned number, unsigned depth)
{
    const size_t mark = sizeof INCLUDE_MARK - 1;
    char name[256];
    /* "@include NAME@\n" */
    while (line.len > 0
           && (line.ptr[line.len - 1] == '\n' || line.ptr[line.len - 1] == ' '))
        line.len--;
    if (line.len <= mark + 1 || line.ptr[line.len - 1] != '@'
        || line.len - mark - 1 >= sizeof name) {
        snprintf(render->error, render->error_size,
                 "%s/%s:%u: an include is \"@include FILE@\", alone on its "
                 "line",
                 render->folder, file, number);
        return ERR_INVALID;
    }
    snprintf(name, sizeof name, "%.*s", (int) (line.len - mark - 1),
             (const char *) line.ptr + mark);
    if (depth == TEMPLATE_DEPTH_MAX) {
        snprintf(render->error, render->error_size,
                 "%s/%s:%u: includes are nested more than %d deep",
                 render->folder, file, number, TEMPLATE_DEPTH_MAX);
        return ERR_LIMIT;
    }
    return render_file(render, name, depth + 1);
}

static bool
is_include(struct bytes line)
{
    const struct bytes mark = BYTES_LITERAL(INCLUDE_MARK);
    return line.len >= mark.len && memcmp(line.ptr, mark.ptr, mark.len) == 0;
}

static int
render_file(struct render *render, const char *file, unsigned depth)
{
    char path[4096], name[256];
    struct buffer text;
    int err;

    /* templates carry ".in" after the name of what is made of them */
    snprintf(name, sizeof name, "%s.in", file);
    snprintf(path, sizeof path, "%s/%s", render->folder, name);
    buffer_init(&text, TEMPLATE_SIZE_MAX);
    if ((err = file_read(path, &text)) != 0) {
        snprintf(render->error, render->error_size,
                 "%s: the template cannot be read (%s)", path, err_text(err));
        goto done;
    }
    struct bytes rest = buffer_bytes(&text);
    for (unsigned number = 1; rest.len > 0 && err == 0; number++) {
        const uint8_t *end = memchr(rest.ptr, '\n', rest.len);
        const size_t len = end ? (size_t) (end - rest.ptr) + 1 : rest.len;
        const struct bytes line = bytes_of(rest.ptr, len);
        err = is_include(line)
                  ? render_include(render, line, name, number, depth)
                  : render_line(render, line, name, number);
        rest = bytes_of(rest.ptr + len, rest.len - len);
    }
done:
    buffer_fini(&text);
    return err;
}

int
template_render(const char *folder, const char *file,
                const struct template_value *values, struct buffer *out,
                char *error, size_t error_size)
{
    struct render render = {folder, values, out, error, error_size};
    int err = render_file(&render, file, 0);
    if (err == 0 && (err = out->err) != 0)
        snprintf(error, error_size, "%s/%s: %s", folder, file, err_text(err));
    return err;
}
