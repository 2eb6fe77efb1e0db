/* SPDX-License-Identifier: Apache-2.0 */
/* The overrides in force and their file, see programs/manager/overrides.h. */

#include "programs/manager/overrides.h"

#include "core/err.h"
#include "platform/files.h"
#include "platform/log.h"
#include "programs/manager/override_json.h"

#include <errno.h>
#include <stdlib.h>

struct list {
    struct override items[OVERRIDES_MAX];
    size_t count;
};

struct overrides {
    const char *path; /* NULL: no file */
    struct list list, next;
    bool is_ready, is_kept;
    void (*changed)(void *context);
    void *changed_context;
    void (*kept)(void *context);
    void *kept_context;
};

static char *
text_of(const struct list *list)
{
    json_t *array = override_array(list->items, list->count);
    char *text = json_dumps(array, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
    json_decref(array);
    return text;
}

static int
file_write(const struct overrides *o, const struct list *list)
{
    if (o->path == NULL)
        return 0;
    char *text = text_of(list);
    if (text == NULL)
        return ERR_MEMORY;
    const int err = file_write_atomic(o->path, bytes_of_text(text), 0600, true);
    if (err != 0)
        log_error("overrides: cannot write %s (%s)", o->path, strerror(errno));
    free(text);
    return err;
}

static int
file_load(struct overrides *o)
{
    char message[OVERRIDE_MESSAGE_SIZE];
    struct buffer text;
    buffer_init(&text, OVERRIDES_SIZE_MAX);
    int err = file_read(o->path, &text);
    if (err == 0) {
        err = override_array_parse(buffer_bytes(&text), o->list.items,
                                   &o->list.count, message);
        if (err != 0)
            log_error("overrides: refuse %s (%s)", o->path, message);
    } else if (err == ERR_NOT_FOUND) {
        err = 0;
    } else {
        log_error("overrides: cannot read %s (%s)", o->path, err_text(err));
    }
    buffer_fini(&text);
    return err;
}

static void
tell_changed(const struct overrides *o)
{
    if (o->changed != NULL)
        o->changed(o->changed_context);
}

/* The change made in `next` counts once it is in the file. */
static int
next_take(struct overrides *o)
{
    const int err = file_write(o, &o->next);
    if (err == 0)
        o->list = o->next;
    return err;
}

int
overrides_new(const char *path, struct overrides **out)
{
    struct overrides *o = calloc(1, sizeof *o);
    if (o == NULL)
        return ERR_MEMORY;
    o->path = path;
    o->is_ready = o->is_kept = true;
    const int err = path == NULL ? 0 : file_load(o);
    if (err != 0) {
        free(o);
        return err;
    }
    *out = o;
    return 0;
}

void
overrides_free(struct overrides *o)
{
    free(o);
}

const struct override *
overrides_list(const struct overrides *o, size_t *count)
{
    *count = o->list.count;
    return o->list.items;
}

void
overrides_set_ready(struct overrides *o, bool is_ready)
{
    o->is_ready = is_ready;
}

bool
overrides_are_ready(const struct overrides *o)
{
    return o->is_ready;
}

void
overrides_on_change(struct overrides *o, void (*changed)(void *context),
                    void *context)
{
    o->changed = changed;
    o->changed_context = context;
}

void
overrides_set_kept(struct overrides *o, bool is_kept)
{
    const bool was_kept = o->is_kept;
    o->is_kept = is_kept;
    if (is_kept && !was_kept && o->kept != NULL)
        o->kept(o->kept_context);
}

bool
overrides_are_kept(const struct overrides *o)
{
    return o->is_kept;
}

void
overrides_on_kept(struct overrides *o, void (*kept)(void *context),
                  void *context)
{
    o->kept = kept;
    o->kept_context = context;
}

char *
overrides_text(const struct overrides *o)
{
    return text_of(&o->list);
}

int
overrides_replace(struct overrides *o, struct bytes text)
{
    char message[OVERRIDE_MESSAGE_SIZE];
    const int err =
        override_array_parse(text, o->next.items, &o->next.count, message);
    if (err != 0) {
        log_warn("overrides: refuse a list (%s)", message);
        return err;
    }
    /* it is kept where it came from, whatever becomes of the file */
    (void) file_write(o, &o->next);
    o->list = o->next;
    return 0;
}

int
overrides_put(struct overrides *o, const struct override *override)
{
    if (!o->is_ready)
        return ERR_UNAVAILABLE;
    o->next = o->list;
    int err = override_put(o->next.items, &o->next.count, override);
    if (err == 0 && (err = next_take(o)) == 0)
        tell_changed(o);
    return err;
}

int
overrides_remove(struct overrides *o, enum override_target target,
                 struct bytes name)
{
    if (!o->is_ready)
        return ERR_UNAVAILABLE;
    o->next = o->list;
    int err = override_remove(o->next.items, &o->next.count, target, name);
    if (err == 0 && (err = next_take(o)) == 0)
        tell_changed(o);
    return err;
}

void
overrides_expire(struct overrides *o, uint64_t now_ms)
{
    for (size_t i = 0; i < o->list.count; i++) {
        if (o->list.items[i].until_ms <= now_ms)
            log_info("overrides: %s is over", o->list.items[i].name[0] != '\0'
                                                  ? o->list.items[i].name
                                                  : "the CDN's");
    }
    /* over is over, whatever becomes of the file */
    if (!override_expire(o->list.items, &o->list.count, now_ms))
        return;
    (void) file_write(o, &o->list);
    tell_changed(o);
}
