/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_ST_API_CATALOGUE_H
#define PROGRAMS_ST_API_CATALOGUE_H

/*
 * The catalogue: which contents can be played, under which version their files
 * are stored. Kept in platform/database.h. One thread.
 */

#include "core/content.h"

#define CATALOGUE_TITLE_LEN_MAX 200 /* bytes of UTF-8 */
#define CATALOGUE_LIST_MAX 1000
#define CATALOGUE_DURATION_MAX_MS (30ull * 24 * 3600 * 1000)

struct catalogue_content {
    char id[CONTENT_ID_LEN_MAX + 1];
    char title[CATALOGUE_TITLE_LEN_MAX + 1];
    char version[CONTENT_ID_LEN_MAX + 1];
    uint64_t duration_ms;
    uint64_t created_s; /* Unix time */
    uint64_t updated_s;
};

struct catalogue;

/* Logs the reason on failure. */
int catalogue_open(const char *path, struct catalogue **out);
void catalogue_close(struct catalogue *catalogue); /* NULL is fine */

/* Adds the content or replaces it, keeping `created_s`; then reads it back
 * into *out. *is_new tells which. `id` must be a valid content id. */
int catalogue_put(struct catalogue *catalogue,
                  const struct catalogue_content *content, uint64_t now_s,
                  struct catalogue_content *out, bool *is_new);

/* ERR_NOT_FOUND. */
int catalogue_find(struct catalogue *catalogue, struct bytes id,
                   struct catalogue_content *out);

/* The path of a play and how long it is, all that a playback needs to know: the
 * hot path. */
int catalogue_find_version(struct catalogue *catalogue, struct bytes id,
                           char version[CONTENT_ID_LEN_MAX + 1],
                           uint64_t *duration_ms);

/* ERR_NOT_FOUND. */
int catalogue_remove(struct catalogue *catalogue, struct bytes id);

/* Calls `each` for up to `limit` contents in order of id, from the first after
 * `after` (which need not exist). *has_more: there would be another. */
int catalogue_list(struct catalogue *catalogue, struct bytes after,
                   unsigned limit,
                   void (*each)(const struct catalogue_content *content,
                                void *context),
                   void *context, bool *has_more);

/* Contents, as counted at the start and kept by what went through here. */
uint64_t catalogue_count(const struct catalogue *catalogue);

/* 0 while the database answers. */
int catalogue_check(struct catalogue *catalogue);

#endif
