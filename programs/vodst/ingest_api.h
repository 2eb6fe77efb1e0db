/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_API_H
#define PROGRAMS_VODST_INGEST_API_H

/*
 * What st-api is asked of contents and their versions. An st-api that is away
 * is waited for, and what is wrong is told by progress_error, where nothing else
 * is said.
 */

#include "core/content.h"
#include "programs/vodst/ingest_settings.h"
#include "programs/vodst/ingest_transfer.h"

struct json_t;

/* The error that an answer is which is not what was expected, told. `what` was
 * asked about. */
int api_judge(struct progress *progress, const struct settings *settings,
              const char *what, int err, const struct transfer_answer *answer);

/* Its version that is playable; empty: there is none. Does not wait. */
int api_content_version(struct progress *progress,
                        const struct settings *settings, const char *content,
                        char out[CONTENT_ID_LEN_MAX + 1]);

/* Makes it playable, as `json` says. After a failure *is_unsure tells whether
 * st-api may have done it all the same. */
int api_content_put(struct progress *progress, const struct settings *settings,
                    const char *content, struct bytes json, bool *is_unsure);

/* *is_known: it was playable once, and plays of it may go on. False when st-api
 * does not say; does not wait, and tells nothing. */
bool api_version_find(const struct settings *settings, const char *content,
                      const char *version, bool *is_known);

/* METHOD .../versions/VERSION + action ("/collect", or ""). 0 when it answers
 * 204, or 404 or 409, which the status tells. */
int api_version_ask(struct progress *progress, const struct settings *settings,
                    const char *method, const char *content,
                    const char *version, const char *action,
                    struct transfer_answer *answer);

/* The version is about to be stored: its files stay for another lifetime of
 * tokens. Waits while they are being taken away. *is_known: it was stored
 * before, as st-api has it. */
int api_version_keep(struct progress *progress, const struct settings *settings,
                     const char *content, const char *version, bool *is_known);

#define API_AFTER_SIZE 192

/* Versions whose files may be taken away, as an array, which the caller frees:
 * the page behind `after`, which becomes that of the next one. Empty: the first
 * one; there is none. */
int api_retired(struct progress *progress, const struct settings *settings,
                char after[API_AFTER_SIZE], struct json_t **out);

#endif
