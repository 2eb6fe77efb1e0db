/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MANAGER_OVERRIDES_H
#define PROGRAMS_MANAGER_OVERRIDES_H

/*
 * The overrides in force, and the file that keeps them over a restart. An
 * operator's change is in the file before it counts; the file is replaced as a
 * whole.
 */

#include "core/override.h"

struct overrides;

/* NULL for the path: they are kept in memory only. No file is an empty list;
 * a bad one is refused with a message in the log. ERR_INVALID, ERR_LIMIT,
 * ERR_IO, ERR_MEMORY. */
int overrides_new(const char *path, struct overrides **out);
void overrides_free(struct overrides *overrides);

/* Sorted; valid until the next change. */
const struct override *overrides_list(const struct overrides *overrides,
                                      size_t *count);

/* While they are not ready, as they are to be read from another place first, no
 * change is taken: ERR_UNAVAILABLE. They begin as ready. */
void overrides_set_ready(struct overrides *overrides, bool is_ready);
bool overrides_are_ready(const struct overrides *overrides);
/* `changed` is called after each change but overrides_replace. */
void overrides_on_change(struct overrides *overrides,
                         void (*changed)(void *context), void *context);

/* Where another place keeps them too, it says so; they begin as kept. `kept` is
 * called each time they become so. */
void overrides_set_kept(struct overrides *overrides, bool is_kept);
bool overrides_are_kept(const struct overrides *overrides);
void overrides_on_kept(struct overrides *overrides, void (*kept)(void *context),
                       void *context);

/* All of them as the file has them; freed with free(). NULL: memory. */
char *overrides_text(const struct overrides *overrides);
/* All of them from such a text, which another place keeps: they count even
 * when the file cannot be written. Bad ones change nothing. Both is logged.
 * ERR_INVALID, ERR_LIMIT. */
int overrides_replace(struct overrides *overrides, struct bytes text);

/* On failure nothing has changed. ERR_INVALID, ERR_LIMIT, ERR_NOT_FOUND,
 * ERR_IO, ERR_MEMORY. */
int overrides_put(struct overrides *overrides, const struct override *override);
int overrides_remove(struct overrides *overrides, enum override_target target,
                     struct bytes name);

/* Drops those whose time, the Unix time, is over. */
void overrides_expire(struct overrides *overrides, uint64_t now_ms);

#endif
