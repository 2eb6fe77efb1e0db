/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_SUBTITLES_H
#define PROGRAMS_VODST_INGEST_SUBTITLES_H

/* The subtitles of a film: those in its file, and those that come beside it,
 * each in a file of its own. */

#include "media/text/cues.h"
#include "platform/options.h"
#include "programs/vodst/ingest_source.h"

#define SUBTITLES_MAX 32

struct subtitles {
    struct cues cues;
    char language[TRACK_LANGUAGE_LEN_MAX + 1];
    char label[TRACK_LABEL_LEN_MAX + 1]; /* or empty */
    bool is_forced;
};

/*
 * Appends the text tracks of the film, where it is an MP4. Tells what is wrong
 * by progress_error: ERR_INVALID and the like, ERR_IO, ERR_MEMORY. What was
 * read before a failure is to be freed, too.
 */
int subtitles_of_film(struct progress *progress, const struct source *source,
                      struct subtitles list[SUBTITLES_MAX], unsigned *count);

/*
 * Appends what "FILE[:LANGUAGE[:LABEL]]" say, and makes sure that it can be
 * stored. Tells what is wrong by progress_error: ERR_INVALID, ERR_LIMIT,
 * ERR_IO, ERR_MEMORY. What was read before a failure is to be freed, too.
 */
int subtitles_read(struct progress *progress, const struct option_list *given,
                   bool is_forced, struct subtitles list[SUBTITLES_MAX],
                   unsigned *count);
void subtitles_free(struct subtitles *list, unsigned count);

#endif
