/* SPDX-License-Identifier: Apache-2.0 */

#include "media/plain.h"

#include "core/err.h"
#include "media/mp4/mp4_text.h"
#include "media/text/text_track.h"

#include <stdio.h>
#include <stdlib.h>

struct layout {
    const struct mp4_source *source;
    const struct plain_sink *sink;
    struct mp4_error *error;
    uint32_t segment_ms;
    bool has_texts;
    uint64_t *cuts;
    uint32_t cut_count, cut_timescale;
    struct mp4_movie movie;
    struct asset asset;
    struct buffer indexes[ASSET_TRACKS_MAX]; /* the asset points into them */
};

static int
layout_fail(struct layout *l, int err, const char *reason)
{
    *l->error = (struct mp4_error){.reason = reason};
    return err;
}

static const struct mp4_track *
first_of(const struct mp4_movie *movie, enum track_kind kind)
{
    for (size_t i = 0; i < movie->track_count; i++) {
        if (movie->tracks[i].kind == kind)
            return &movie->tracks[i];
    }
    return NULL;
}

static int
cuts_make(struct layout *l)
{
    const struct mp4_track *video = first_of(&l->movie, TRACK_VIDEO);
    if (video == NULL) {
        l->cut_timescale = 1000;
        return segment_cuts_of_audio(&l->movie.tracks[0], l->segment_ms,
                                     &l->cuts, &l->cut_count);
    }
    l->cut_timescale = video->timescale;
    return segment_cuts_of_video(video, l->segment_ms, &l->cuts, &l->cut_count);
}

/* No pictures are cut there: one of several might have key frames behind the
 * last cut of the first. */
static int
cuts_extend(struct layout *l)
{
    int err = 0;
    for (size_t i = 0; err == 0 && i < l->movie.track_count; i++) {
        if (l->movie.tracks[i].kind == TRACK_AUDIO)
            err =
                segment_cuts_extend(&l->movie.tracks[i], l->segment_ms,
                                    l->cut_timescale, &l->cuts, &l->cut_count);
    }
    return err == 0 ? 0 : layout_fail(l, err, err_text(err));
}

static int
file_write(const struct layout *l, const char *track, const char *suffix,
           const struct buffer *bytes)
{
    char name[TRACK_NAME_LEN_MAX + sizeof ".places"];
    snprintf(name, sizeof name, "%s%s", track, suffix);
    return l->sink->write(l->sink->context, name, buffer_bytes(bytes));
}

/* A player that switches between pictures needs them cut alike. */
static bool
is_cut_as_the_first(const struct layout *l, const struct track_info *info)
{
    return info->kind != TRACK_VIDEO || l->asset.track_count == 0
           || info->segment_count == l->asset.tracks[0].segment_count;
}

static int
track_write(struct layout *l, const struct mp4_track *track, const char *name)
{
    char label[TRACK_LABEL_LEN_MAX + 1];
    struct buffer *index = &l->indexes[l->asset.track_count], places;
    struct track_index opened;
    snprintf(label, sizeof label, "%up", track->height);
    const struct track_build build = {
        .track = track,
        .source = l->source,
        .cuts = l->cuts,
        .cut_count = l->cut_count,
        .cut_timescale = l->cut_timescale,
        .name = name,
        .label = track->kind == TRACK_VIDEO ? label : NULL,
    };
    buffer_init(index, INDEX_SIZE_MAX);
    buffer_init(&places, TRACK_PLACES_SIZE_MAX);
    int err = track_layout_build(&build, &places, index);
    if (err == 0)
        err = track_index_open(buffer_bytes(index), &opened);
    if (err != 0) {
        err = layout_fail(l, err, err_text(err));
    } else if (!is_cut_as_the_first(l, &opened.info)) {
        err = layout_fail(l, ERR_UNSUPPORTED,
                          "pictures have no key frames in common");
    } else if ((err = file_write(l, name, ".idx", index)) == 0) {
        err = file_write(l, name, ".places", &places);
        l->asset.tracks[l->asset.track_count++] = opened.info;
    }
    buffer_fini(&places);
    return err;
}

/* v0, v1, ..., a0, a1, ...: in the order of the file. */
static int
tracks_write(struct layout *l, enum track_kind kind)
{
    char name[TRACK_NAME_LEN_MAX + 1];
    int err = 0;
    unsigned number = 0;
    for (size_t i = 0; err == 0 && i < l->movie.track_count; i++) {
        if (l->movie.tracks[i].kind != kind)
            continue;
        snprintf(name, sizeof name, "%c%u", kind == TRACK_VIDEO ? 'v' : 'a',
                 number++);
        err = track_write(l, &l->movie.tracks[i], name);
    }
    return err;
}

/* Of the longest track, in ticks of the cuts, rounded up. */
static uint64_t
film_duration(const struct layout *l)
{
    uint64_t longest = 0;
    for (size_t i = 0; i < l->asset.track_count; i++) {
        const struct track_info *t = &l->asset.tracks[i];
        const uint64_t ticks =
            (uint64_t) (((unsigned __int128) t->duration * l->cut_timescale
                         + t->timescale - 1)
                        / t->timescale);
        longest = ticks > longest ? ticks : longest;
    }
    return longest;
}

static int
text_write(struct layout *l, const struct text_build *build)
{
    struct buffer *index = &l->indexes[l->asset.track_count], file;
    struct track_index opened;
    buffer_init(index, INDEX_SIZE_MAX);
    buffer_init(&file, TEXT_TRACK_SIZE_MAX);
    int err = text_track_build(build, &file, index);
    if (err == 0)
        err = track_index_open(buffer_bytes(index), &opened);
    if (err != 0) {
        err = layout_fail(l, err, err_text(err));
    } else if ((err = file_write(l, build->name, ".text", &file)) == 0) {
        err = file_write(l, build->name, ".idx", index);
        l->asset.tracks[l->asset.track_count++] = opened.info;
    }
    buffer_fini(&file);
    return err;
}

/* s0, s1, ...; none of a track without anything to see. */
static int
texts_write(struct layout *l)
{
    char name[TRACK_NAME_LEN_MAX + 1];
    const uint64_t duration = film_duration(l);
    int err = 0;
    unsigned number = 0;
    for (size_t i = 0; err == 0 && i < l->movie.text_count; i++) {
        const struct mp4_track *track = &l->movie.texts[i];
        struct cues cues;
        if (l->asset.track_count == ASSET_TRACKS_MAX)
            return layout_fail(l, ERR_LIMIT, "too many tracks");
        err = mp4_text_read(l->source, track, 0, &cues, l->error);
        if (err != 0)
            break;
        snprintf(name, sizeof name, "s%u", number);
        const struct text_build build = {
            .cues = &cues,
            .cuts = l->cuts,
            .cut_count = l->cut_count,
            .timescale = l->cut_timescale,
            .duration = duration,
            .name = name,
            .language = track->language,
            .is_forced = track->is_forced,
        };
        if (cues.count > 0) {
            err = text_write(l, &build);
            number++;
        }
        cues_free(&cues);
    }
    return err;
}

static int
asset_write(struct layout *l)
{
    struct buffer bytes;
    buffer_init(&bytes, ASSET_SIZE_MAX);
    int err = asset_encode(&l->asset, &bytes);
    if (err != 0)
        err = layout_fail(l, err, err_text(err));
    else
        err =
            l->sink->write(l->sink->context, "asset.idx", buffer_bytes(&bytes));
    buffer_fini(&bytes);
    return err;
}

static int
movie_layout(struct layout *l)
{
    if (l->movie.track_count == 0)
        return layout_fail(l, ERR_UNSUPPORTED, "no picture and no sound");
    int err = cuts_make(l);
    if (err != 0)
        return layout_fail(l, err, err_text(err));
    if ((err = tracks_write(l, TRACK_VIDEO)) != 0 || (err = cuts_extend(l)) != 0
        || (err = tracks_write(l, TRACK_AUDIO)) != 0
        || (l->has_texts && (err = texts_write(l)) != 0))
        return err;
    return asset_write(l);
}

int
plain_film_layout(const struct mp4_source *source, uint32_t segment_ms,
                  bool has_texts, const struct plain_sink *sink,
                  struct mp4_error *error)
{
    struct layout *l = calloc(1, sizeof *l); /* too large for the stack */
    *error = (struct mp4_error){.reason = ""};
    if (l == NULL)
        return ERR_MEMORY;
    l->source = source;
    l->sink = sink;
    l->error = error;
    l->segment_ms = segment_ms;
    l->has_texts = has_texts;
    int err = mp4_open(source, &l->movie, error);
    if (err == 0) {
        err = movie_layout(l);
        mp4_close(&l->movie);
    }
    for (size_t i = 0; i < ASSET_TRACKS_MAX; i++)
        if (l->indexes[i].ptr != NULL)
            buffer_fini(&l->indexes[i]);
    free(l->cuts);
    free(l);
    return err;
}
