/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Renditions are cut at the key frames of the one that has the fewest: where it
 * has one the others have theirs, too, or they cannot be switched between.
 */

#include "programs/vodst/ingest_copy.h"

#include "core/err.h"
#include "media/index.h"
#include "programs/vodst/ingest_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- files ---- */

/* A film that was cut short is so for FFmpeg, too. */
static int
film_refuse(struct progress *progress, const char *path, int err,
            const struct mp4_error *error)
{
    const bool is_short =
        err == ERR_TRUNCATED && strstr(error->reason, "truncated file") != NULL;
    progress_error(progress, "%s %s: box '%s' at byte %llu: %s%s", path,
                   is_short ? "is broken" : "cannot be copied", error->box,
                   (unsigned long long) error->offset, error->reason,
                   is_short ? "" : "; " COPY_REMEDY);
    return err;
}

static int
file_open(struct progress *progress, const char *path, struct source *source,
          struct copy_file *file)
{
    struct mp4_error error = {.reason = ""};
    int err = source_file_check(progress, path, source);
    if (err != 0)
        return err;
    if (!source_is_mp4(path)) {
        progress_error(progress,
                       "%s is neither MP4 nor QuickTime, and nothing else can "
                       "be copied: " COPY_REMEDY,
                       path);
        return ERR_UNSUPPORTED;
    }
    *file = (struct copy_file){.path = path};
    file->fd = open(source->path, O_RDONLY | O_CLOEXEC);
    if (file->fd < 0) {
        progress_error(progress, "cannot read %s: %s", path, strerror(errno));
        return ERR_IO;
    }
    file->source = file_mp4_source(&file->fd, source->size);
    err = mp4_open(&file->source, &file->movie, &error);
    if (err == 0)
        return 0;
    close(file->fd);
    return film_refuse(progress, path, err, &error);
}

/* ---- tracks ---- */

static struct copy_track
track_of(const struct copy_file *file, const struct mp4_track *track)
{
    struct copy_track one = {.file = file, .track = track};
    for (uint32_t i = 0; i < track->sample_count; i++)
        one.size += track->samples[i].size;
    return one;
}

static bool
has_picture(const struct mp4_movie *movie)
{
    for (size_t i = 0; i < movie->track_count; i++)
        if (movie->tracks[i].kind == TRACK_VIDEO)
            return true;
    return false;
}

/* The sound of a further rendition is that of the first once more. */
static int
tracks_take(struct progress *progress, const struct copy_file *file,
            struct copy *copy)
{
    const bool is_again = copy->video_count > 0 && has_picture(&file->movie);
    unsigned left_out = 0;
    for (size_t i = 0; i < file->movie.track_count; i++) {
        const struct mp4_track *track = &file->movie.tracks[i];
        if (track->kind == TRACK_AUDIO
            && (is_again || copy->audio_count == SOURCE_AUDIO_MAX)) {
            left_out++;
            continue;
        }
        if (track->kind == TRACK_VIDEO
            && copy->video_count == LADDER_RUNGS_MAX) {
            progress_error(progress, "%s: there are more than %d renditions",
                           file->path, LADDER_RUNGS_MAX);
            return ERR_LIMIT;
        }
        const struct copy_track one = track_of(file, track);
        if (track->kind == TRACK_VIDEO)
            copy->videos[copy->video_count++] = one;
        else
            copy->audio[copy->audio_count++] = one;
        copy->size += one.size;
    }
    if (left_out > 0)
        progress_note(progress, "%s: %u of its sounds left out: %s", file->path,
                      left_out,
                      is_again ? "those of the first rendition are taken"
                               : "there are too many");
    return 0;
}

static int
better_first(const void *left, const void *right)
{
    const struct copy_track *a = left, *b = right;
    const uint64_t a_pixels = (uint64_t) a->track->width * a->track->height;
    const uint64_t b_pixels = (uint64_t) b->track->width * b->track->height;
    if (a_pixels != b_pixels)
        return a_pixels > b_pixels ? -1 : 1;
    return a->size > b->size ? -1 : a->size < b->size;
}

/* ---- cuts ---- */

/* "1:02:03.456" */
static const char *
moment_text(uint64_t ticks, uint32_t timescale, char out[48])
{
    char second[32];
    time_text((double) (ticks / timescale), second);
    snprintf(out, 48, "%s.%03u", second,
             (unsigned) (ticks % timescale * 1000 / timescale));
    return out;
}

static uint32_t
key_frame_count(const struct mp4_track *track)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < track->sample_count; i++)
        count += track->samples[i].is_sync;
    return count;
}

static const struct copy_track *
sparsest_of(const struct copy *copy)
{
    const struct copy_track *sparsest = &copy->videos[0];
    uint32_t fewest = key_frame_count(sparsest->track);
    for (unsigned i = 1; i < copy->video_count; i++) {
        const uint32_t count = key_frame_count(copy->videos[i].track);
        if (count < fewest) {
            sparsest = &copy->videos[i];
            fewest = count;
        }
    }
    return sparsest;
}

static int
alignment_check(struct progress *progress, const struct copy *copy,
                const struct copy_track *first, const struct copy_track *one,
                uint32_t segment_ms)
{
    const struct track_build build = {.track = one->track,
                                      .cuts = copy->cuts,
                                      .cut_count = copy->cut_count,
                                      .cut_timescale = copy->cut_timescale};
    const uint32_t missed = segment_cuts_missed(&build);
    const double end_s =
        (double) first->track->duration / first->track->timescale;
    const double own_end_s =
        (double) one->track->duration / one->track->timescale;
    char when[48], end[48];
    if (missed < copy->cut_count) {
        progress_error(
            progress,
            "%s has no key frame at %s, where %s has one and a "
            "segment starts: renditions need theirs at the same "
            "times. Leave out --copy, and all are encoded from the "
            "best one",
            one->file->path,
            moment_text(copy->cuts[missed], copy->cut_timescale, when),
            first->file->path);
        return ERR_INVALID;
    }
    const double apart_s =
        own_end_s > end_s ? own_end_s - end_s : end_s - own_end_s;
    if (apart_s * 2000 <= segment_ms)
        return 0;
    progress_error(
        progress,
        "%s ends at %s, and %s at %s: they are not renditions of "
        "one film",
        one->file->path,
        moment_text(one->track->duration, one->track->timescale, end),
        first->file->path,
        moment_text(first->track->duration, first->track->timescale, when));
    return ERR_INVALID;
}

/* A player waits for a whole segment before it shows anything of it. */
static void
long_segments_note(struct progress *progress, const struct copy *copy,
                   const struct mp4_track *track, uint32_t segment_ms)
{
    uint64_t longest = 0;
    char text[48];
    for (uint32_t i = 0; i < copy->cut_count; i++) {
        const uint64_t end =
            i + 1 < copy->cut_count ? copy->cuts[i + 1] : track->duration;
        if (end - copy->cuts[i] > longest)
            longest = end - copy->cuts[i];
    }
    if (longest / 2 * 1000 > (uint64_t) segment_ms * track->timescale)
        progress_note(progress,
                      "key frames are far apart: the longest segment is %s",
                      moment_text(longest, track->timescale, text));
}

static int
cuts_make(struct progress *progress, uint32_t segment_ms, struct copy *copy)
{
    if (copy->video_count == 0) {
        copy->cut_timescale = 1000;
        return segment_cuts_of_audio(copy->audio[0].track, segment_ms,
                                     &copy->cuts, &copy->cut_count);
    }
    const struct copy_track *first = sparsest_of(copy);
    copy->cut_timescale = first->track->timescale;
    int err = segment_cuts_of_video(first->track, segment_ms, &copy->cuts,
                                    &copy->cut_count);
    if (err != 0)
        return err;
    while (copy->cut_count > 1
           && copy->cuts[copy->cut_count - 1] >= first->track->duration)
        copy->cut_count--;
    for (unsigned i = 0; i < copy->video_count; i++) {
        if (&copy->videos[i] != first
            && (err = alignment_check(progress, copy, first, &copy->videos[i],
                                      segment_ms))
                   != 0)
            return err;
    }
    long_segments_note(progress, copy, first->track, segment_ms);
    return 0;
}

/* ---- what is known of the film ---- */

static void
film_describe(struct progress *progress, const struct copy *copy,
              struct source *source, struct encode_plan *plan)
{
    char duration[32];
    source->has_video = copy->video_count > 0;
    plan->rung_count = copy->video_count;
    for (unsigned i = 0; i < copy->video_count; i++) {
        const struct mp4_track *track = copy->videos[i].track;
        plan->rungs[i] =
            (struct rung){.width = track->width, .height = track->height};
        progress_note(
            progress, "v%u: %s, %ux%u, %s, %s", i, copy->videos[i].file->path,
            track->width, track->height, track->codecs,
            time_text((double) track->duration / track->timescale, duration));
    }
    plan->audio_count = source->audio_count = copy->audio_count;
    for (unsigned i = 0; i < copy->audio_count; i++) {
        const struct mp4_track *track = copy->audio[i].track;
        struct source_audio *audio = &source->audio[i];
        language_normalise(track->language, audio->language);
        snprintf(audio->label, sizeof audio->label, "Audio %u", i + 1);
        progress_note(
            progress, "a%u: %s, %s, %s, %s", i, copy->audio[i].file->path,
            audio->language, track->codecs,
            time_text((double) track->duration / track->timescale, duration));
    }
}

int
copy_open(struct progress *progress, char *const *paths, unsigned count,
          struct source *source, struct encode_plan *plan, struct copy *out)
{
    for (unsigned i = 0; i < count; i++) {
        struct copy_file *file = &out->files[i];
        int err = file_open(progress, paths[i], source, file);
        if (err != 0)
            return err;
        out->file_count++;
        if ((err = tracks_take(progress, file, out)) != 0)
            return err;
    }
    qsort(out->videos, out->video_count, sizeof *out->videos, better_first);
    /* text comes from the first */
    int err = source_file_check(progress, paths[0], source);
    if (err != 0)
        return err;
    source->is_mp4 = true;
    source->has_text = out->files[0].movie.text_count > 0;
    err = cuts_make(progress, plan->segment_ms, out);
    if (err == 0)
        film_describe(progress, out, source, plan);
    else if (err == ERR_MEMORY || err == ERR_LIMIT)
        progress_error(progress, "cannot cut %s into segments: %s", paths[0],
                       err_text(err));
    return err;
}

void
copy_close(struct copy *copy)
{
    for (unsigned i = 0; i < copy->file_count; i++) {
        mp4_close(&copy->files[i].movie);
        close(copy->files[i].fd);
    }
    free(copy->cuts);
}
