/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue's contents, and their versions. */

#include "programs/st-api/api_private.h"

#include "platform/clock.h"

#include <stdlib.h>

static json_t *
content_json(const struct catalogue_content *content)
{
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:I}", "id", content->id, "title",
                  content->title, "version", content->version, "duration_ms",
                  (json_int_t) content->duration_ms, "created",
                  (json_int_t) content->created_s, "updated",
                  (json_int_t) content->updated_s);
    if (json != NULL && content->is_protected)
        json_object_set_new(json, "protected", json_true());
    return json;
}

/* ---- one content ---- */

struct content_task {
    struct task task;
    char id[CONTENT_ID_LEN_MAX + 1];
    struct catalogue_content content;
    struct catalogue_window windows[CATALOGUE_WINDOWS_MAX];
    unsigned window_count;
};

static struct content_task *
content_task_new(struct api *api, struct http_request *request,
                 int (*query)(struct task *, void *),
                 void (*answer)(struct task *))
{
    char id[CONTENT_ID_LEN_MAX + 1];
    struct content_task *content =
        api_id_take(api, request, 0, id)
            ? task_new(&api->tasks, request, sizeof *content, query, answer)
            : NULL;
    if (content != NULL)
        memcpy(content->id, id, sizeof id);
    return content;
}

static json_t *
content_whole_json(const struct content_task *content)
{
    json_t *json = content_json(&content->content), *windows;
    if (content->window_count == 0)
        return json;
    windows = json_array();
    for (unsigned i = 0; i < content->window_count; i++) {
        json_t *window = json_object();
        api_window_json(&content->windows[i], window);
        json_array_append_new(windows, window);
    }
    json_object_set_new(json, "windows", windows);
    return json;
}

static int
content_get_query(struct task *task, void *catalogue)
{
    struct content_task *content = (struct content_task *) task;
    struct bytes id = bytes_of_text(content->id);
    int err = catalogue_find(catalogue, id, &content->content);
    return err != 0 ? err
                    : catalogue_windows(catalogue, id, content->windows,
                                        &content->window_count);
}

static void
content_get_answer(struct task *task)
{
    const struct content_task *content = (struct content_task *) task;
    if (task->err != 0)
        api_reply_unknown(task->request, content->id);
    else
        api_reply_json(task->request, 200, content_whole_json(content));
}

void
content_get(struct http_request *request, void *context)
{
    if (!api_may_read(context, request))
        return;
    struct content_task *content = content_task_new(
        context, request, content_get_query, content_get_answer);
    if (content != NULL)
        task_ask(&content->task);
}

static int
content_delete_query(struct task *task, void *catalogue)
{
    struct content_task *content = (struct content_task *) task;
    return catalogue_remove(catalogue, bytes_of_text(content->id),
                            clock_unix_s());
}

static void
content_delete_answer(struct task *task)
{
    const struct content_task *content = (struct content_task *) task;
    if (task->err != 0) {
        api_reply_unknown(task->request, content->id);
    } else {
        api_count(api_of(task), API_METRIC_CHANGES);
        http_reply(task->request, 204, NULL, bytes_of(NULL, 0));
    }
}

void
content_delete(struct http_request *request, void *context)
{
    if (!api_is_admin(context, request))
        return;
    struct content_task *content = content_task_new(
        context, request, content_delete_query, content_delete_answer);
    if (content != NULL)
        task_ask(&content->task);
}

struct put_task {
    struct task task;
    struct catalogue_content content;
    struct body_content asked;
    bool is_new;
};

static int
content_put_query(struct task *task, void *catalogue)
{
    struct put_task *put = (struct put_task *) task;
    const struct catalogue_put all = {
        .content = put->content,
        .tracks = put->asked.tracks,
        .track_count = put->asked.track_count,
        .windows = put->asked.has_windows ? put->asked.windows : NULL,
        .window_count = put->asked.window_count,
        .is_protection_kept = put->asked.protection < 0,
    };
    return catalogue_put(catalogue, &all, clock_unix_s(), &put->content,
                         &put->is_new);
}

static void
content_put_answer(struct task *task)
{
    const struct put_task *put = (struct put_task *) task;
    if (task->err != 0) {
        http_reply_error(task->request, task->err,
                         "version \"%s\" is being taken away: `vodst collect` "
                         "ends that, then it can be stored again",
                         put->asked.version);
        return;
    }
    api_count(api_of(task), API_METRIC_CHANGES);
    api_reply_json(task->request, put->is_new ? 201 : 200,
                   content_json(&put->content));
}

void
content_put(struct http_request *request, void *context)
{
    struct api *api = context;
    char id[CONTENT_ID_LEN_MAX + 1], message[BODY_MESSAGE_SIZE];
    if (!api_is_admin(api, request) || !api_has_json(api, request)
        || !api_id_take(api, request, 0, id))
        return;
    struct put_task *put = task_new(&api->tasks, request, sizeof *put,
                                    content_put_query, content_put_answer);
    if (put == NULL)
        return;
    int err =
        body_content_parse(http_request_body(request), &put->asked, message);
    if (err != 0) {
        api_reply_invalid(api, request, err, message);
        free(put);
        return;
    }
    struct catalogue_content *content = &put->content;
    memcpy(content->id, id, sizeof id);
    memcpy(content->title, put->asked.title, sizeof content->title);
    memcpy(content->version, put->asked.version, sizeof content->version);
    content->duration_ms = put->asked.duration_ms;
    content->is_protected = put->asked.protection > 0;
    task_ask(&put->task);
}

/* ---- lists ---- */

struct list_task {
    struct task task;
    char after[CONTENT_ID_LEN_MAX + 1];
    unsigned limit;
    struct catalogue_version last_retired; /* `after`, then the last listed */
    json_t *items;
    char last[CONTENT_ID_LEN_MAX + 1];
    bool has_more;
};

static void
list_fini(struct task *task)
{
    json_decref(((struct list_task *) task)->items);
}

static void
list_add(struct list_task *list, json_t *item)
{
    json_array_append_new(list->items, item);
}

static void
contents_add(const struct catalogue_content *content, void *context)
{
    struct list_task *list = context;
    list_add(list, content_json(content));
    memcpy(list->last, content->id, sizeof list->last);
}

static int
contents_query(struct task *task, void *catalogue)
{
    struct list_task *list = (struct list_task *) task;
    list->items = json_array();
    return catalogue_list(catalogue, bytes_of_text(list->after), list->limit,
                          contents_add, list, &list->has_more);
}

static void
contents_answer(struct task *task)
{
    const struct list_task *list = (struct list_task *) task;
    api_reply_json(task->request, 200,
                   json_pack("{s:O, s:s?}", "contents", list->items, "next",
                             list->has_more ? list->last : NULL));
}

void
contents_list(struct http_request *request, void *context)
{
    struct api *api = context;
    if (!api_may_read(api, request))
        return;
    char after[CONTENT_ID_LEN_MAX + 1];
    unsigned limit;
    if (!api_page_take(api, request, after, &limit))
        return;
    struct list_task *list = task_new(&api->tasks, request, sizeof *list,
                                      contents_query, contents_answer);
    if (list == NULL)
        return;
    list->task.fini = list_fini;
    list->limit = limit;
    memcpy(list->after, after, sizeof after);
    task_ask(&list->task);
}

/* ---- versions ---- */

static json_t *
version_json(const struct catalogue_version *version)
{
    json_t *json = json_pack("{s:s, s:s, s:I, s:I}", "content",
                             version->content, "version", version->version,
                             "duration_ms", (json_int_t) version->duration_ms,
                             "created", (json_int_t) version->created_s);
    if (json != NULL && version->retired_s > 0)
        json_object_set_new(json, "retired",
                            json_integer((json_int_t) version->retired_s));
    if (json != NULL && version->is_collecting)
        json_object_set_new(json, "collecting", json_true());
    return json;
}

static void
versions_add(const struct catalogue_version *version, void *context)
{
    list_add(context, version_json(version));
}

static int
versions_query(struct task *task, void *catalogue)
{
    struct list_task *list = (struct list_task *) task;
    list->items = json_array();
    return catalogue_versions(catalogue, bytes_of_text(list->after),
                              versions_add, list);
}

static void
versions_answer(struct task *task)
{
    const struct list_task *list = (struct list_task *) task;
    if (json_array_size(list->items) == 0)
        api_reply_unknown(task->request, list->after);
    else
        api_reply_json(task->request, 200,
                       json_pack("{s:O}", "versions", list->items));
}

void
versions_list(struct http_request *request, void *context)
{
    char id[CONTENT_ID_LEN_MAX + 1];
    if (!api_may_read(context, request)
        || !api_id_take(context, request, 0, id))
        return;
    struct list_task *list =
        task_new(&((struct api *) context)->tasks, request, sizeof *list,
                 versions_query, versions_answer);
    if (list == NULL)
        return;
    list->task.fini = list_fini;
    memcpy(list->after, id, sizeof id);
    task_ask(&list->task);
}

/* ---- those whose files may be taken away ---- */

#define RETIRED_AFTER_SIZE (24 + 2 * (CONTENT_ID_LEN_MAX + 1))

static void
retired_add(const struct catalogue_version *version, void *context)
{
    struct list_task *list = context;
    list_add(list, version_json(version));
    list->last_retired = *version;
}

static int
retired_query(struct task *task, void *catalogue)
{
    struct list_task *list = (struct list_task *) task;
    const struct catalogue_version after = list->last_retired;
    list->items = json_array();
    return catalogue_retired(catalogue, clock_unix_s(),
                             api_of(task)->token_ttl_s, &after, list->limit,
                             retired_add, list, &list->has_more);
}

static void
retired_answer(struct task *task)
{
    const struct list_task *list = (struct list_task *) task;
    const struct catalogue_version *last = &list->last_retired;
    char next[RETIRED_AFTER_SIZE];
    snprintf(next, sizeof next, "%llu/%s/%s",
             (unsigned long long) last->retired_s, last->content,
             last->version);
    api_reply_json(task->request, 200,
                   json_pack("{s:O, s:s?}", "versions", list->items, "next",
                             list->has_more ? next : NULL));
}

/* RETIRED/CONTENT/VERSION */
static bool
retired_after_parse(const char *text, struct catalogue_version *out)
{
    const size_t digits = strspn(text, "0123456789");
    const char *content = text + digits + 1;
    const char *slash = digits > 0 && digits <= 18 && text[digits] == '/'
                            ? strchr(content, '/')
                            : NULL;
    if (slash == NULL)
        return false;
    const struct bytes id = bytes_of(content, (size_t) (slash - content));
    if (!content_id_is_valid(id)
        || !content_id_is_valid(bytes_of_text(slash + 1)))
        return false;
    out->retired_s = strtoull(text, NULL, 10);
    snprintf(out->content, sizeof out->content, "%.*s", (int) id.len, content);
    snprintf(out->version, sizeof out->version, "%s", slash + 1);
    return true;
}

void
retired_list(struct http_request *request, void *context)
{
    struct catalogue_version after = {.retired_s = 0};
    if (!api_is_admin(context, request))
        return;
    const char *text = http_request_query(request, "after");
    if (text != NULL && !retired_after_parse(text, &after)) {
        api_reply_invalid(context, request, ERR_INVALID,
                          "after must be the `next` of the page before");
        return;
    }
    struct list_task *list =
        task_new(&((struct api *) context)->tasks, request, sizeof *list,
                 retired_query, retired_answer);
    if (list == NULL)
        return;
    list->task.fini = list_fini;
    list->last_retired = after;
    list->limit = CATALOGUE_LIST_MAX;
    task_ask(&list->task);
}

struct version_task {
    struct task task;
    char content[CONTENT_ID_LEN_MAX + 1];
    char version[CONTENT_ID_LEN_MAX + 1];
    struct catalogue_version found;
    struct catalogue_track tracks[CATALOGUE_TRACKS_MAX];
    unsigned track_count;
};

static struct version_task *
version_task_new(struct api *api, struct http_request *request,
                 int (*query)(struct task *, void *),
                 void (*answer)(struct task *))
{
    char content[CONTENT_ID_LEN_MAX + 1], version[CONTENT_ID_LEN_MAX + 1];
    struct version_task *task =
        api_id_take(api, request, 0, content)
                && api_id_take(api, request, 1, version)
            ? task_new(&api->tasks, request, sizeof *task, query, answer)
            : NULL;
    if (task != NULL) {
        memcpy(task->content, content, sizeof content);
        memcpy(task->version, version, sizeof version);
    }
    return task;
}

static void
reply_unknown_version(const struct version_task *version)
{
    http_reply_error(version->task.request, ERR_NOT_FOUND,
                     "content \"%s\" has no version \"%s\"", version->content,
                     version->version);
}

static int
version_get_query(struct task *task, void *catalogue)
{
    struct version_task *version = (struct version_task *) task;
    int err = catalogue_version_find(catalogue, bytes_of_text(version->content),
                                     bytes_of_text(version->version),
                                     &version->found);
    return err != 0
               ? err
               : catalogue_tracks(catalogue, bytes_of_text(version->content),
                                  bytes_of_text(version->version),
                                  version->tracks, &version->track_count);
}

static json_t *
track_json(const struct catalogue_track *track)
{
    json_t *json = json_object();
    const char *kind = catalogue_track_kind_name(track->kind);
    api_text_set(json, "name", track->name);
    api_text_set(json, "kind", kind != NULL ? kind : "");
    api_text_set(json, "codecs", track->codecs);
    api_text_set(json, "language", track->language);
    api_text_set(json, "label", track->label);
    api_number_set(json, "width", track->width);
    api_number_set(json, "height", track->height);
    api_number_set(json, "bandwidth", track->bandwidth);
    api_number_set(json, "channels", track->channels);
    return json;
}

static void
version_get_answer(struct task *task)
{
    const struct version_task *version = (struct version_task *) task;
    if (task->err != 0) {
        reply_unknown_version(version);
        return;
    }
    json_t *json = version_json(&version->found), *tracks = json_array();
    for (unsigned i = 0; i < version->track_count; i++)
        json_array_append_new(tracks, track_json(&version->tracks[i]));
    json_object_set_new(json, "tracks", tracks);
    api_reply_json(task->request, 200, json);
}

void
version_get(struct http_request *request, void *context)
{
    if (!api_may_read(context, request))
        return;
    struct version_task *version = version_task_new(
        context, request, version_get_query, version_get_answer);
    if (version != NULL)
        task_ask(&version->task);
}

/* ---- what becomes of a version that is retired ---- */

static int
version_collect_query(struct task *task, void *catalogue)
{
    struct version_task *version = (struct version_task *) task;
    return catalogue_version_collect(catalogue, bytes_of_text(version->content),
                                     bytes_of_text(version->version),
                                     clock_unix_s(), api_of(task)->token_ttl_s);
}

static int
version_release_query(struct task *task, void *catalogue)
{
    struct version_task *version = (struct version_task *) task;
    return catalogue_version_release(catalogue, bytes_of_text(version->content),
                                     bytes_of_text(version->version));
}

static int
version_keep_query(struct task *task, void *catalogue)
{
    struct version_task *version = (struct version_task *) task;
    return catalogue_version_keep(catalogue, bytes_of_text(version->content),
                                  bytes_of_text(version->version),
                                  clock_unix_s());
}

static int
version_delete_query(struct task *task, void *catalogue)
{
    struct version_task *version = (struct version_task *) task;
    return catalogue_version_remove(catalogue, bytes_of_text(version->content),
                                    bytes_of_text(version->version),
                                    clock_unix_s(), api_of(task)->token_ttl_s);
}

static void
version_change_answer(struct task *task)
{
    if (task->err != 0) {
        reply_unknown_version((struct version_task *) task);
    } else {
        api_count(api_of(task), API_METRIC_CHANGES);
        http_reply(task->request, 204, NULL, bytes_of(NULL, 0));
    }
}

static void
version_over_answer(struct task *task)
{
    if (task->err == ERR_STALE)
        http_reply_error(task->request, ERR_STALE,
                         "version \"%s\" is played, or plays that began "
                         "before it was replaced may still be on it",
                         ((struct version_task *) task)->version);
    else
        version_change_answer(task);
}

static void
version_keep_answer(struct task *task)
{
    if (task->err == ERR_STALE)
        http_reply_error(task->request, ERR_STALE,
                         "version \"%s\" is being taken away",
                         ((struct version_task *) task)->version);
    else
        version_change_answer(task);
}

static void
version_change(struct http_request *request, struct api *api,
               int (*query)(struct task *, void *),
               void (*answer)(struct task *))
{
    if (!api_is_admin(api, request))
        return;
    struct version_task *version =
        version_task_new(api, request, query, answer);
    if (version != NULL)
        task_ask(&version->task);
}

void
version_collect(struct http_request *request, void *context)
{
    version_change(request, context, version_collect_query,
                   version_over_answer);
}

void
version_release(struct http_request *request, void *context)
{
    version_change(request, context, version_release_query,
                   version_change_answer);
}

void
version_keep(struct http_request *request, void *context)
{
    version_change(request, context, version_keep_query, version_keep_answer);
}

void
version_delete(struct http_request *request, void *context)
{
    version_change(request, context, version_delete_query, version_over_answer);
}
