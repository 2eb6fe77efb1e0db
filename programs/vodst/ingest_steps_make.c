/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps from a film to the files of a version, all in the work folder: what
 * the film is, its renditions, encoded or copied, and their index.
 */

#include "programs/vodst/ingest.h"

#include "core/err.h"
#include "programs/vodst/ingest_found.h"
#include "programs/vodst/ingest_ladder.h"
#include "programs/vodst/ingest_loudness.h"
#include "programs/vodst/ingest_pieces.h"

#include <jansson.h>
#include <stdio.h>

/* ---- probe ---- */

/* The film's own, and those beside it. */
static int
subtitles_take(struct ingest *in)
{
    unsigned *count = &in->plan.subtitles_count;
    int err =
        subtitles_of_film(&in->progress, &in->source, in->subtitles, count);
    if (err == 0)
        err = subtitles_read(&in->progress, &in->config->subtitles, false,
                             in->subtitles, count);
    if (err == 0)
        err = subtitles_read(&in->progress, &in->config->forced_subtitles, true,
                             in->subtitles, count);
    return err;
}

static int
rungs_check(struct ingest *in)
{
    const struct encode_plan *plan = &in->plan;
    const unsigned least = codec_side_min(plan->codec);
    for (unsigned i = 0; i < plan->rung_count; i++)
        if (plan->rungs[i].width < least || plan->rungs[i].height < least) {
            progress_error(&in->progress,
                           "%s cannot have a rendition of %ux%u: a side has %u "
                           "pixels at least; use another --ladder or --codec",
                           in->config->codec, plan->rungs[i].width,
                           plan->rungs[i].height, least);
            return ERR_UNSUPPORTED;
        }
    return 0;
}

int
step_probe(struct ingest *in)
{
    int err = source_probe(&in->progress, in->film, &in->source);
    if (err == 0)
        err = subtitles_take(in);
    if (err != 0)
        return err;
    const struct source *source = &in->source;
    in->plan.codec = in->codec;
    in->plan.loudness_lufs = in->config->loudness_lufs;
    if (in->is_auto)
        ladder_candidates(source, &in->plan);
    else
        ladder_fit(in->heights, in->height_count, source, &in->plan);
    if (!in->config->no_thumbnails)
        thumbnails_fit((unsigned) in->config->thumbnail_size,
                       (uint32_t) in->config->thumbnail_ms, source, &in->plan);
    in->plan.audio_count = source->audio_count;
    in->plan.segment_ms = (uint32_t) in->config->segment_ms;
    in->plan.crf =
        in->config->crf < 0 ? codec_crf(in->codec) : (unsigned) in->config->crf;
    in->plan.threads = (unsigned) in->config->threads;
    in->plan.preset = in->config->preset;
    err = rungs_check(in);
    if (err != 0)
        return err;
    pieces_plan(source, (uint32_t) in->config->piece_ms, &in->plan);
    char duration[32], picture[96] = "no video";
    if (source->has_video)
        snprintf(picture, sizeof picture, "%ux%u at %.5g frames/s",
                 source->width, source->height,
                 (double) source->frame_rate_num / source->frame_rate_den);
    progress_note(&in->progress, "%s: %s, %s, %u audio", in->film,
                  time_text(source->duration_s, duration), picture,
                  source->audio_count);
    return 0;
}

int
step_probe_copy(struct ingest *in)
{
    in->plan.segment_ms = (uint32_t) in->config->segment_ms;
    const int err = copy_open(&in->progress, in->films, in->film_count,
                              &in->source, &in->plan, &in->copy);
    return err != 0 ? err : subtitles_take(in);
}

/* ---- encode, thumbnails ---- */

static int
loudness_find(struct ingest *in)
{
    struct encode_plan *plan = &in->plan;
    int err = 0;
    for (unsigned i = 0; plan->loudness_lufs != 0 && i < plan->audio_count; i++)
        if ((err = loudness_measure(&in->progress, &in->source, i,
                                    plan->loudness_lufs, &plan->loudness[i]))
            != 0)
            break;
    return err;
}

/* Measured once: what comes after stands on it. */
static int
ladder_find(struct ingest *in)
{
    if (!in->is_auto || !in->source.has_video
        || found_ladder_parse(work_step(&in->work, "ladder"), &in->plan))
        return 0;
    int err =
        ladder_measure(&in->progress, &in->source, in->work.folder, &in->plan);
    return err != 0 ? err
                    : work_step_done(&in->progress, &in->work, "ladder",
                                     found_ladder_json(&in->plan));
}

int
step_encode(struct ingest *in)
{
    int err = work_resume(in);
    if (err != 0)
        return err;
    err = ladder_find(in);
    if (err != 0)
        return err;
    const json_t *done = work_step(&in->work, "encode");
    if (done != NULL) {
        in->encoded_frame_count =
            (uint64_t) json_integer_value(json_object_get(done, "frames"));
        progress_note(&in->progress, "was encoded by a run before this one");
        return 0;
    }
    err = loudness_find(in);
    if (err != 0)
        return err;
    err = in->plan.piece_count > 0
              ? pieces_encode(&in->progress, &in->source, &in->plan, &in->work,
                              &in->encoded_frame_count)
              : encode_run(&in->progress, &in->source, &in->plan,
                           in->work.folder, NULL, &in->encoded_frame_count);
    if (err == 0)
        err = film_check(in);
    return err != 0 ? err
                    : work_step_done(
                        &in->progress, &in->work, "encode",
                        json_pack("{s:I, s:I}", "frames",
                                  (json_int_t) in->encoded_frame_count,
                                  "pieces", (json_int_t) in->plan.piece_count));
}

/* By FFmpeg, of the best rendition. */
static int
thumbnails_of_copy(struct ingest *in)
{
    struct encode_plan plan = {.segment_ms = in->plan.segment_ms};
    static struct source film; /* large */
    int err = source_probe(&in->progress, in->copy.videos[0].file->path, &film);
    if (err != 0)
        return err;
    uint64_t frame_count;
    thumbnails_fit((unsigned) in->config->thumbnail_size,
                   (uint32_t) in->config->thumbnail_ms, &film, &plan);
    err = encode_run(&in->progress, &film, &plan, in->work.folder, NULL,
                     &frame_count);
    if (err == 0)
        in->plan.thumbnails = plan.thumbnails;
    return err;
}

/* What can be copied is playable without them. */
int
step_thumbnails(struct ingest *in)
{
    int err = work_resume(in);
    if (err != 0 || in->config->no_thumbnails || in->copy.video_count == 0)
        return err;
    const json_t *done = work_step(&in->work, "thumbnails");
    if (done != NULL) {
        found_thumbnails_parse(done, &in->plan.thumbnails);
        return 0;
    }
    in->progress.is_optional = true;
    err = thumbnails_of_copy(in);
    in->progress.is_optional = false;
    if (err == 0)
        return work_step_done(&in->progress, &in->work, "thumbnails",
                              found_thumbnails_json(&in->plan.thumbnails));
    if (err != ERR_TIMEOUT)
        progress_note(&in->progress, "so there are no thumbnails");
    return err == ERR_TIMEOUT ? err : 0;
}

/* ---- index, copy ---- */

/* Writes all files of the version, or finds them written. */
static int
files_make(struct ingest *in, struct copy *copy, int (*check)(struct ingest *))
{
    if (found_index_parse(work_step(&in->work, "index"), &in->indexed))
        return index_finish(&in->progress, &in->plan, in->work.folder);
    int err = index_write(&in->progress, &in->source, &in->plan, copy,
                          in->subtitles, in->work.folder, &in->indexed);
    if (err == 0)
        err = check(in);
    if (err == 0)
        err = work_step_done(&in->progress, &in->work, "index",
                             found_index_json(&in->indexed));
    return err != 0 ? err
                    : index_finish(&in->progress, &in->plan, in->work.folder);
}

int
step_copy(struct ingest *in)
{
    return files_make(in, &in->copy, film_check);
}

/* Was the whole film encoded? FFmpeg ends a film that breaks off as if it were
 * over. */
static int
length_check(struct ingest *in, const char *what, double expected_s,
             double found_s)
{
    double slack_s = expected_s * 0.01 > 1 ? expected_s * 0.01 : 1;
    if (expected_s <= 0 || found_s >= expected_s - slack_s)
        return 0;
    char expected[32], found[32];
    time_text(expected_s, expected);
    time_text(found_s, found);
    if (!in->source.has_exact_duration) {
        progress_note(&in->progress,
                      "the %s ends at %s; %s had been "
                      "estimated",
                      what, found, expected);
        return 0;
    }
    progress_error(&in->progress,
                   "%s is truncated or damaged: its %s should "
                   "last %s and ends at %s",
                   in->film, what, expected, found);
    return ERR_INVALID;
}

static int
lengths_check(struct ingest *in)
{
    const struct source *source = &in->source;
    const struct indexed *indexed = &in->indexed;
    double audio_end_s = 0;
    for (unsigned i = 0; i < source->audio_count; i++)
        if (source->audio[i].end_s > audio_end_s)
            audio_end_s = source->audio[i].end_s;
    int err =
        length_check(in, "film", source->duration_s - source->video_start_s,
                     indexed->duration_s);
    if (err == 0)
        err = length_check(in, "picture", source->video_duration_s,
                           indexed->video_duration_s);
    if (err == 0)
        err = length_check(in, "sound", audio_end_s - source->video_start_s,
                           indexed->audio_duration_s);
    if (err != 0)
        return err;
    if (indexed->frame_count != in->encoded_frame_count) {
        progress_error(&in->progress,
                       "FFmpeg encoded %llu frames and wrote "
                       "%llu",
                       (unsigned long long) in->encoded_frame_count,
                       (unsigned long long) indexed->frame_count);
        return ERR_INVALID;
    }
    if (source->frame_count != 0 && source->frame_count != indexed->frame_count)
        progress_note(&in->progress,
                      "%llu of %llu frames could be decoded or "
                      "are to be shown",
                      (unsigned long long) indexed->frame_count,
                      (unsigned long long) source->frame_count);
    return 0;
}

int
step_index(struct ingest *in)
{
    return files_make(in, NULL, lengths_check);
}
