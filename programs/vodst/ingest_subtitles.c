/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/vodst/ingest_subtitles.h"

#include "core/err.h"
#include "media/text/text_track.h"
#include "platform/files.h"
#include "programs/vodst/ingest_source.h"

#include <errno.h>
#include <stdio.h>

/* "FILE[:LANGUAGE[:LABEL]]"; the file's name goes to `path`. */
static int
given_parse(struct progress *progress, const char *given, char path[PATH_MAX],
            struct subtitles *out)
{
    const char *colon = strchrnul(given, ':');
    const char *language = *colon != '\0' ? colon + 1 : "und";
    const char *label = strchrnul(language, ':');
    char tag[TRACK_LANGUAGE_LEN_MAX + 1];
    const size_t path_len = (size_t) (colon - given);
    const size_t tag_len = (size_t) (label - language);
    snprintf(path, PATH_MAX, "%.*s", (int) path_len, given);
    snprintf(tag, sizeof tag, "%.*s", (int) tag_len, language);
    language_normalise(tag, out->language);
    label += *label == ':';
    const bool is_tag =
        strcmp(out->language, "und") != 0 || strcmp(tag, "und") == 0;
    if (is_tag && path_len > 0 && path_len < PATH_MAX && tag_len < sizeof tag
        && strlen(label) < sizeof out->label) {
        snprintf(out->label, sizeof out->label, "%s", label);
        return 0;
    }
    progress_error(progress,
                   "--subtitles %s: expected FILE[:LANGUAGE[:LABEL]], as "
                   "film.srt:en:English",
                   given);
    return ERR_INVALID;
}

/* Stored as it would be of a film of one second: will it be taken? */
static int
storing_try(const struct subtitles *subtitles)
{
    static const uint64_t cut = 0;
    const struct text_build build = {.cues = &subtitles->cues,
                                     .cuts = &cut,
                                     .cut_count = 1,
                                     .timescale = 1,
                                     .duration = 1,
                                     .name = "s0",
                                     .label = subtitles->label,
                                     .language = subtitles->language};
    struct buffer file, index;
    buffer_init(&file, TEXT_TRACK_SIZE_MAX);
    buffer_init(&index, INDEX_SIZE_MAX);
    const int err = text_track_build(&build, &file, &index);
    buffer_fini(&file);
    buffer_fini(&index);
    return err;
}

static int
file_cues_read(struct progress *progress, const char *path, struct cues *out)
{
    struct buffer file;
    struct cues_error error;
    buffer_init(&file, CUES_FILE_SIZE_MAX);
    int err = file_read(path, &file);
    if (err != 0) {
        progress_error(progress, "cannot read %s: %s", path,
                       err == ERR_LIMIT ? err_text(err) : strerror(errno));
        goto done;
    }
    err = cues_read(buffer_bytes(&file), out, &error);
    if (err != 0)
        progress_error(progress, "%s: line %u: %s", path, error.line,
                       error.reason);
    else if (out->count == 0) {
        progress_error(progress, "%s: no subtitles are in it", path);
        cues_free(out);
        err = ERR_INVALID;
    }
done:
    buffer_fini(&file);
    return err;
}

int
subtitles_read(struct progress *progress, const struct option_list *given,
               struct subtitles list[SUBTITLES_MAX], unsigned *count)
{
    char path[PATH_MAX];
    if (given->count > SUBTITLES_MAX) {
        progress_error(progress, "--subtitles: %d files at most",
                       SUBTITLES_MAX);
        return ERR_INVALID;
    }
    for (size_t i = 0; i < given->count; i++) {
        struct subtitles *one = &list[i];
        int err = given_parse(progress, given->items[i], path, one);
        if (err == 0)
            err = file_cues_read(progress, path, &one->cues);
        if (err != 0)
            return err;
        ++*count;
        if ((err = storing_try(one)) != 0) {
            progress_error(progress,
                           "--subtitles %s: the label cannot stand in a "
                           "playlist",
                           given->items[i]);
            return err;
        }
    }
    return 0;
}

void
subtitles_free(struct subtitles *list, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        cues_free(&list[i].cues);
}
