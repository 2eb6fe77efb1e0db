/* SPDX-License-Identifier: Apache-2.0 */
/* Windows as rows, and campaigns, which have one and contents. */

#include "programs/st-api/catalogue_private.h"

void
catalogue_window_bind(struct statement *statement, int parameter,
                      const struct catalogue_window *window)
{
    statement_bind_integer(statement, parameter, (int64_t) window->starts_s);
    statement_bind_integer(statement, parameter + 1, (int64_t) window->ends_s);
    statement_bind_text(statement, parameter + 2,
                        bytes_of_text(window->region));
    statement_bind_text(statement, parameter + 3,
                        bytes_of_text(window->service));
}

void
catalogue_window_read(struct statement *row, int column,
                      struct catalogue_window *out)
{
    out->starts_s = (uint64_t) statement_integer(row, column);
    out->ends_s = (uint64_t) statement_integer(row, column + 1);
    TEXT_READ(row, column + 2, out->region);
    TEXT_READ(row, column + 3, out->service);
}

static void
campaign_bind(struct statement *statement,
              const struct catalogue_campaign *campaign)
{
    statement_bind_text(statement, 1, bytes_of_text(campaign->id));
    statement_bind_text(statement, 2, bytes_of_text(campaign->name));
    catalogue_window_bind(statement, 3, &campaign->window);
}

static void
campaign_read(struct statement *row, struct catalogue_campaign *out)
{
    TEXT_READ(row, 0, out->id);
    TEXT_READ(row, 1, out->name);
    catalogue_window_read(row, 2, &out->window);
}

static int
contents_write(struct catalogue *catalogue,
               const struct catalogue_campaign *campaign)
{
    struct bytes id = bytes_of_text(campaign->id);
    statement_bind_text(catalogue->campaign_contents_remove, 1, id);
    int err = catalogue_step(catalogue->campaign_contents_remove);
    struct statement *put = catalogue->campaign_content_put;
    for (unsigned i = 0; i < campaign->content_count && err == 0; i++) {
        statement_bind_text(put, 1, id);
        statement_bind_text(put, 2, bytes_of_text(campaign->contents[i]));
        err = catalogue_step(put);
    }
    return err;
}

/* As contents: the row that two write is what orders them. */
static int
campaign_write(struct catalogue *catalogue,
               const struct catalogue_campaign *campaign, bool *is_new)
{
    campaign_bind(catalogue->campaign_add, campaign);
    int err = catalogue_step(catalogue->campaign_add);
    if (err != 0)
        return err;
    *is_new = database_changes(catalogue->database) > 0;
    if (!*is_new) {
        campaign_bind(catalogue->campaign_replace, campaign);
        err = catalogue_step(catalogue->campaign_replace);
    }
    return err != 0 ? err : contents_write(catalogue, campaign);
}

int
catalogue_campaign_put(struct catalogue *catalogue,
                       const struct catalogue_campaign *campaign, bool *is_new)
{
    bool was_added = false;
    int err = database_begin(catalogue->database);
    if (err == 0)
        err = campaign_write(catalogue, campaign, &was_added);
    err = catalogue_end(catalogue, err);
    if (err == 0)
        *is_new = was_added;
    return err;
}

int
catalogue_campaign_find(struct catalogue *catalogue, struct bytes id,
                        struct catalogue_campaign *out)
{
    struct statement *find = catalogue->campaign_find;
    statement_bind_text(find, 1, id);
    int step = statement_step(find);
    if (step == 1)
        campaign_read(find, out);
    statement_reset(find);
    if (step != 1)
        return catalogue_found(step);

    struct statement *contents = catalogue->campaign_contents;
    unsigned n = 0;
    statement_bind_text(contents, 1, id);
    statement_bind_integer(contents, 2, CATALOGUE_CAMPAIGN_MAX);
    while ((step = statement_step(contents)) == 1) {
        TEXT_READ(contents, 0, out->contents[n]);
        n++;
    }
    statement_reset(contents);
    out->content_count = n;
    return step;
}

int
catalogue_campaign_remove(struct catalogue *catalogue, struct bytes id)
{
    statement_bind_text(catalogue->campaign_remove, 1, id);
    int err = catalogue_step(catalogue->campaign_remove);
    if (err == 0 && database_changes(catalogue->database) == 0)
        err = ERR_NOT_FOUND;
    return err;
}

int
catalogue_campaigns(struct catalogue *catalogue, struct bytes after,
                    unsigned limit,
                    void (*each)(const struct catalogue_campaign *campaign,
                                 void *context),
                    void *context, bool *has_more)
{
    struct statement *list = catalogue->campaigns;
    static _Thread_local struct catalogue_campaign campaign; /* large */
    unsigned count = 0;
    int step;
    statement_bind_text(list, 1, after);
    statement_bind_integer(list, 2, (int64_t) limit + 1);
    while ((step = statement_step(list)) == 1 && count < limit) {
        campaign_read(list, &campaign);
        each(&campaign, context);
        count++;
    }
    statement_reset(list);
    if (step < 0)
        return step;
    *has_more = step == 1;
    return 0;
}
