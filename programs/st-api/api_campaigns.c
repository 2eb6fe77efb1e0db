/* SPDX-License-Identifier: Apache-2.0 */
/* Campaigns: contents that may be played for a time. */

#include "programs/st-api/api_private.h"

#include <stdlib.h>

struct campaign_task {
    struct task task;
    struct catalogue_campaign campaign;
    bool is_new;
};

static json_t *
campaign_json(const struct catalogue_campaign *campaign)
{
    json_t *json =
        json_pack("{s:s, s:s}", "id", campaign->id, "name", campaign->name);
    api_window_json(&campaign->window, json);
    return json;
}

static json_t *
campaign_whole_json(const struct catalogue_campaign *campaign)
{
    json_t *json = campaign_json(campaign), *contents = json_array();
    for (unsigned i = 0; i < campaign->content_count; i++)
        json_array_append_new(contents,
                              json_pack("{s:s}", "id", campaign->contents[i]));
    json_object_set_new(json, "contents", contents);
    return json;
}

static struct campaign_task *
campaign_task_new(struct api *api, struct http_request *request,
                  int (*query)(struct task *, void *),
                  void (*answer)(struct task *))
{
    char id[CONTENT_ID_LEN_MAX + 1];
    struct campaign_task *campaign =
        api_is_admin(api, request) && api_id_take(api, request, 0, id)
            ? task_new(&api->tasks, request, sizeof *campaign, query, answer)
            : NULL;
    if (campaign != NULL)
        memcpy(campaign->campaign.id, id, sizeof id);
    return campaign;
}

static void
reply_unknown_campaign(const struct campaign_task *campaign)
{
    http_reply_error(campaign->task.request, ERR_NOT_FOUND,
                     "no campaign \"%s\"", campaign->campaign.id);
}

static int
get_query(struct task *task, void *catalogue)
{
    struct campaign_task *campaign = (struct campaign_task *) task;
    return catalogue_campaign_find(
        catalogue, bytes_of_text(campaign->campaign.id), &campaign->campaign);
}

static void
get_answer(struct task *task)
{
    const struct campaign_task *campaign = (struct campaign_task *) task;
    if (task->err != 0)
        reply_unknown_campaign(campaign);
    else
        api_reply_json(task->request, 200,
                       campaign_whole_json(&campaign->campaign));
}

void
campaign_get(struct http_request *request, void *context)
{
    struct campaign_task *campaign =
        campaign_task_new(context, request, get_query, get_answer);
    if (campaign != NULL)
        task_ask(&campaign->task);
}

static int
put_query(struct task *task, void *catalogue)
{
    struct campaign_task *campaign = (struct campaign_task *) task;
    return catalogue_campaign_put(catalogue, &campaign->campaign,
                                  &campaign->is_new);
}

static void
put_answer(struct task *task)
{
    const struct campaign_task *campaign = (struct campaign_task *) task;
    api_count(api_of(task), API_METRIC_CHANGES);
    api_reply_json(task->request, campaign->is_new ? 201 : 200,
                   campaign_whole_json(&campaign->campaign));
}

void
campaign_put(struct http_request *request, void *context)
{
    struct api *api = context;
    char message[BODY_MESSAGE_SIZE];
    struct campaign_task *campaign =
        campaign_task_new(api, request, put_query, put_answer);
    if (campaign == NULL)
        return;
    char id[CONTENT_ID_LEN_MAX + 1];
    memcpy(id, campaign->campaign.id, sizeof id);
    if (!api_has_json(api, request)) {
        free(campaign);
        return;
    }
    int err = body_campaign_parse(http_request_body(request),
                                  &campaign->campaign, message);
    if (err != 0) {
        api_reply_invalid(api, request, err, message);
        free(campaign);
        return;
    }
    memcpy(campaign->campaign.id, id, sizeof id);
    task_ask(&campaign->task);
}

static int
delete_query(struct task *task, void *catalogue)
{
    struct campaign_task *campaign = (struct campaign_task *) task;
    return catalogue_campaign_remove(catalogue,
                                     bytes_of_text(campaign->campaign.id));
}

static void
delete_answer(struct task *task)
{
    if (task->err != 0) {
        reply_unknown_campaign((struct campaign_task *) task);
        return;
    }
    api_count(api_of(task), API_METRIC_CHANGES);
    http_reply(task->request, 204, NULL, bytes_of(NULL, 0));
}

void
campaign_delete(struct http_request *request, void *context)
{
    struct campaign_task *campaign =
        campaign_task_new(context, request, delete_query, delete_answer);
    if (campaign != NULL)
        task_ask(&campaign->task);
}

/* ---- the list ---- */

struct campaigns_task {
    struct task task;
    char after[CONTENT_ID_LEN_MAX + 1], last[CONTENT_ID_LEN_MAX + 1];
    unsigned limit;
    bool has_more;
    json_t *items;
};

static void
campaigns_fini(struct task *task)
{
    json_decref(((struct campaigns_task *) task)->items);
}

static void
campaigns_add(const struct catalogue_campaign *campaign, void *context)
{
    struct campaigns_task *list = context;
    json_array_append_new(list->items, campaign_json(campaign));
    memcpy(list->last, campaign->id, sizeof list->last);
}

static int
campaigns_query(struct task *task, void *catalogue)
{
    struct campaigns_task *list = (struct campaigns_task *) task;
    list->items = json_array();
    return catalogue_campaigns(catalogue, bytes_of_text(list->after),
                               list->limit, campaigns_add, list,
                               &list->has_more);
}

static void
campaigns_answer(struct task *task)
{
    const struct campaigns_task *list = (struct campaigns_task *) task;
    api_reply_json(task->request, 200,
                   json_pack("{s:O, s:s?}", "campaigns", list->items, "next",
                             list->has_more ? list->last : NULL));
}

void
campaigns_list(struct http_request *request, void *context)
{
    struct api *api = context;
    char after[CONTENT_ID_LEN_MAX + 1];
    unsigned limit;
    if (!api_is_admin(api, request)
        || !api_page_take(api, request, after, &limit))
        return;
    struct campaigns_task *list = task_new(&api->tasks, request, sizeof *list,
                                           campaigns_query, campaigns_answer);
    if (list == NULL)
        return;
    list->task.fini = campaigns_fini;
    memcpy(list->after, after, sizeof after);
    list->limit = limit;
    task_ask(&list->task);
}
