/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/vodst/ingest_subtitles.h"

#include "core/err.h"
#include "media/mp4/mp4_text.h"
#include "media/text/text_track.h"
#include "platform/files.h"
#include "programs/vodst/ingest_file.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- in the film ---- */

static int
subtitles_too_many(struct progress *progress)
{
    progress_error(progress, "more than %d tracks of subtitles", SUBTITLES_MAX);
    return ERR_LIMIT;
}

/* Of a track without anything to see nothing is kept. */
static int
track_cues_read(struct progress *progress, const struct source *source,
                const struct mp4_source *file, const struct mp4_track *track,
                struct subtitles *out, bool *is_there)
{
    struct mp4_error error;
    const int err = mp4_text_read(
        file, track, llround(source->zero_s * 1000000), &out->cues, &error);
    if (err != 0) {
        progress_error(progress,
                       "the subtitles in %s are no good: track %u, box '%s' at "
                       "byte %llu: %s",
                       source->path, track->id, error.box,
                       (unsigned long long) error.offset, error.reason);
        return err;
    }
    *is_there = out->cues.count > 0;
    if (!*is_there)
        cues_free(&out->cues);
    language_normalise(track->language, out->language);
    out->label[0] = '\0';
    out->is_forced = track->is_forced;
    return 0;
}

static int
movie_cues_read(struct progress *progress, const struct source *source,
                const struct mp4_source *file, const struct mp4_movie *movie,
                struct subtitles list[SUBTITLES_MAX], unsigned *count)
{
    for (size_t i = 0; i < movie->text_count; i++) {
        bool is_there;
        if (*count == SUBTITLES_MAX)
            return subtitles_too_many(progress);
        const int err = track_cues_read(
            progress, source, file, &movie->texts[i], &list[*count], &is_there);
        if (err != 0)
            return err;
        *count += is_there;
    }
    return 0;
}

int
subtitles_of_film(struct progress *progress, const struct source *source,
                  struct subtitles list[SUBTITLES_MAX], unsigned *count)
{
    if (!source->is_mp4 || !source->has_text)
        return 0;
    int fd = open(source->path, O_RDONLY | O_CLOEXEC);
    struct mp4_movie *movie = calloc(1, sizeof *movie); /* large */
    struct mp4_error error;
    int err = movie == NULL ? ERR_MEMORY : ERR_IO;
    if (fd < 0 || movie == NULL) {
        progress_error(progress, "cannot read %s: %s", source->path,
                       strerror(errno));
        goto done;
    }
    const struct mp4_source file = file_mp4_source(&fd, source->size);
    err = mp4_open_texts(&file, movie, &error);
    if (err != 0) {
        progress_error(progress,
                       "the subtitles in %s cannot be read: box '%s' at byte "
                       "%llu: %s",
                       source->path, error.box,
                       (unsigned long long) error.offset, error.reason);
        goto done;
    }
    err = movie_cues_read(progress, source, &file, movie, list, count);
    mp4_close(movie);
done:
    free(movie);
    if (fd >= 0)
        close(fd);
    return err;
}

/* ---- beside it ---- */

static const char *
option_name(const struct subtitles *subtitles)
{
    return subtitles->is_forced ? "--forced-subtitles" : "--subtitles";
}

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
                   "%s %s: expected FILE[:LANGUAGE[:LABEL]], as "
                   "film.srt:en:English",
                   option_name(out), given);
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
               bool is_forced, struct subtitles list[SUBTITLES_MAX],
               unsigned *count)
{
    char path[PATH_MAX];
    for (size_t i = 0; i < given->count; i++) {
        struct subtitles *one = &list[*count];
        if (*count == SUBTITLES_MAX)
            return subtitles_too_many(progress);
        one->is_forced = is_forced;
        int err = given_parse(progress, given->items[i], path, one);
        if (err == 0)
            err = file_cues_read(progress, path, &one->cues);
        if (err != 0)
            return err;
        ++*count;
        if ((err = storing_try(one)) != 0) {
            progress_error(progress,
                           "%s %s: the label cannot stand in a playlist",
                           option_name(one), given->items[i]);
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
