/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pieces lie in "piece.0/", "piece.1/", ... of the work folder. Their pictures
 * keep the film's times, by an empty edit, so what is put together is what was
 * cut: nothing is counted on but the times.
 */

#include "programs/vodst/ingest_pieces.h"

#include "core/err.h"
#include "platform/files.h"
#include "programs/vodst/ingest_file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the pictures are of all the work; sound and thumbnails are the rest. */
#define SHARE_OF_PICTURES 0.9

struct piece_file {
    int fd;
    uint64_t start, size; /* in all of them, one behind the other */
};

void
pieces_plan(const struct source *source, uint32_t piece_ms,
            struct encode_plan *plan)
{
    plan->piece_count = 0;
    if (!source->can_seek || !source->has_exact_duration
        || !source->is_constant_rate || plan->rung_count == 0
        || plan->segment_ms == 0)
        return;
    const double film_ms = 1000
                           * (source->video_duration_s > 0
                                  ? source->video_duration_s
                                  : source->duration_s - source->video_start_s);
    if (film_ms / PIECES_MAX > piece_ms)
        piece_ms = (uint32_t) (film_ms / PIECES_MAX) + 1;
    /* segments start where pieces do */
    plan->piece_ms =
        (piece_ms + plan->segment_ms - 1) / plan->segment_ms * plan->segment_ms;
    if (plan->piece_ms > PIECE_MS_MAX + plan->segment_ms)
        return;
    /* the last one takes what is less than half of one */
    plan->piece_count = (unsigned) (film_ms / plan->piece_ms + 0.5);
    if (plan->piece_count < 2)
        plan->piece_count = 0;
}

static void
piece_path(const char *folder, unsigned number, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%.*s/piece.%u", (int) WORK_FOLDER_SIZE, folder,
             number);
}

/* ---- encoding ---- */

struct encoding {
    struct progress *progress;
    const struct source *source;
    const struct encode_plan *plan;
    struct work *work;
};

static int
piece_encode(const struct encoding *e, unsigned number, uint64_t *frames)
{
    char folder[PATH_MAX];
    struct encode_plan plan = *e->plan;
    const struct encode_share share = {
        .before = SHARE_OF_PICTURES * number / plan.piece_count,
        .own = SHARE_OF_PICTURES / plan.piece_count};
    plan.is_piece = true;
    plan.audio_count = 0;
    plan.thumbnails = (struct thumbnails){0};
    plan.piece.from_ms = (uint64_t) number * plan.piece_ms;
    plan.piece.to_ms =
        number + 1 == plan.piece_count ? 0 : plan.piece.from_ms + plan.piece_ms;
    piece_path(e->work->folder, number, folder);
    if (folder_remove(folder) != 0 || folder_make(folder, 0700) != 0) {
        progress_error(e->progress, "cannot make %s: %s", folder,
                       strerror(errno));
        return ERR_IO;
    }
    int err = encode_run(e->progress, e->source, &plan, folder, &share, frames);
    if (err == 0 && folder_sync(folder) != 0) {
        progress_error(e->progress, "cannot write to %s: %s", folder,
                       strerror(errno));
        err = ERR_IO;
    }
    return err;
}

static int
pictures_encode(const struct encoding *e, uint64_t *frame_count)
{
    uint64_t total = 0;
    unsigned found = 0;
    for (unsigned i = 0; i < e->plan->piece_count; i++) {
        char step[32];
        uint64_t frames = 0;
        snprintf(step, sizeof step, "piece.%u", i);
        const json_t *done = work_step(e->work, step);
        if (done != NULL) {
            total +=
                (uint64_t) json_integer_value(json_object_get(done, "frames"));
            found++;
            e->progress->done_before =
                SHARE_OF_PICTURES * found / e->plan->piece_count;
            continue;
        }
        int err = piece_encode(e, i, &frames);
        if (err == 0)
            err = work_step_done(
                e->progress, e->work, step,
                json_pack("{s:I}", "frames", (json_int_t) frames));
        if (err != 0)
            return err;
        total += frames;
    }
    if (found > 0)
        progress_note(e->progress,
                      "%u of %u pieces were encoded by a run before this one",
                      found, e->plan->piece_count);
    *frame_count = total;
    return 0;
}

static int
rest_encode(const struct encoding *e)
{
    const struct encode_share share = {.before = SHARE_OF_PICTURES,
                                       .own = 1 - SHARE_OF_PICTURES};
    struct encode_plan plan = *e->plan;
    uint64_t none;
    plan.rung_count = 0;
    plan.counts_from_picture = true;
    if (plan.audio_count == 0 && plan.thumbnails.interval_ms == 0)
        return 0;
    return encode_run(e->progress, e->source, &plan, e->work->folder, &share,
                      &none);
}

static int
pieces_check(const struct encoding *e, const char **reason)
{
    int err = 0;
    for (unsigned i = 0; err == 0 && i < e->plan->rung_count; i++) {
        struct pieces pieces;
        err = pieces_open(e->work->folder, e->plan, i, &pieces, reason);
        pieces_close(&pieces);
    }
    return err;
}

int
pieces_encode(struct progress *progress, const struct source *source,
              struct encode_plan *plan, struct work *work,
              uint64_t *frame_count)
{
    const struct encoding e = {progress, source, plan, work};
    const char *reason = "";
    int err = pictures_encode(&e, frame_count);
    if (err != 0)
        return err;
    err = pieces_check(&e, &reason);
    if (err == 0)
        return rest_encode(&e);
    progress_note(progress,
                  "the pieces do not fit together (%s): the film is encoded "
                  "at once",
                  reason);
    plan->piece_count = 0;
    return encode_run(progress, source, plan, work->folder, NULL, frame_count);
}

/* ---- put together ---- */

static int
pieces_read(void *context, uint64_t offset, void *out, size_t len)
{
    const struct pieces *pieces = context;
    for (unsigned i = 0; i < pieces->count; i++) {
        struct piece_file *file = &pieces->files[i];
        if (offset < file->start || offset - file->start >= file->size)
            continue;
        const struct mp4_source source = file_mp4_source(&file->fd, file->size);
        return source.read(source.context, offset - file->start, out, len);
    }
    return ERR_TRUNCATED;
}

/* The times are the film's: what is presented when stays as it is, decoding
 * gets the first piece's delay. */
static int
samples_append(struct mp4_track *all, const struct mp4_track *one,
               uint64_t file_start, const char **reason)
{
    const int64_t shift = all->media_time - one->media_time;
    const size_t count = (size_t) all->sample_count + one->sample_count;
    struct mp4_sample *samples =
        count <= MP4_SAMPLES_MAX
            ? reallocarray(all->samples, count, sizeof *samples)
            : NULL;
    *reason = "there is no memory for them";
    if (samples == NULL)
        return ERR_MEMORY;
    all->samples = samples;
    for (uint32_t i = 0; i < one->sample_count; i++) {
        struct mp4_sample sample = one->samples[i];
        struct mp4_sample *last =
            all->sample_count > 0 ? &samples[all->sample_count - 1] : NULL;
        if (shift < 0 && sample.decode_time < (uint64_t) -shift) {
            *reason = "one of them starts before it";
            return ERR_UNSUPPORTED;
        }
        sample.decode_time = (uint64_t) ((int64_t) sample.decode_time + shift);
        sample.offset += file_start;
        if (last != NULL && sample.decode_time <= last->decode_time) {
            *reason = "one of them starts before the one in front of it ends";
            return ERR_UNSUPPORTED;
        }
        if (last != NULL)
            last->duration =
                (uint32_t) (sample.decode_time - last->decode_time);
        samples[all->sample_count++] = sample;
    }
    all->duration = one->duration;
    return 0;
}

static bool
is_alike(const struct mp4_track *a, const struct mp4_track *b)
{
    return a->timescale == b->timescale && a->width == b->width
           && a->height == b->height
           && a->sample_entry.len == b->sample_entry.len
           && memcmp(a->sample_entry.ptr, b->sample_entry.ptr,
                     a->sample_entry.len)
                  == 0;
}

static int
piece_add(struct pieces *pieces, const char *path, const char **reason)
{
    struct piece_file *file = &pieces->files[pieces->count];
    const uint64_t start =
        pieces->count > 0 ? file[-1].start + file[-1].size : 0;
    struct stat st;
    *reason = "one of them cannot be read";
    *file = (struct piece_file){.fd = open(path, O_RDONLY | O_CLOEXEC),
                                .start = start};
    if (file->fd < 0)
        return ERR_IO;
    pieces->count++;
    if (fstat(file->fd, &st) != 0)
        return ERR_IO;
    file->size = (uint64_t) st.st_size;
    const struct mp4_source source = file_mp4_source(&file->fd, file->size);
    struct mp4_error error = {.reason = ""};
    struct mp4_movie movie;
    int err = mp4_open(&source, &movie, &error);
    if (err != 0)
        return err;
    const struct mp4_track *one = &movie.tracks[0];
    *reason = "they are encoded in different ways";
    if (movie.track_count != 1 || one->kind != TRACK_VIDEO
        || (pieces->has_first && !is_alike(&pieces->first.tracks[0], one)))
        err = ERR_UNSUPPORTED;
    if (err == 0 && !pieces->has_first) {
        pieces->track = *one;
        pieces->track.samples = NULL;
        pieces->track.sample_count = 0;
    }
    if (err == 0)
        err = samples_append(&pieces->track, one, file->start, reason);
    if (pieces->has_first || err != 0) {
        mp4_close(&movie);
    } else {
        pieces->first = movie;
        pieces->has_first = true;
    }
    return err;
}

int
pieces_open(const char *folder, const struct encode_plan *plan, unsigned rung,
            struct pieces *out, const char **reason)
{
    memset(out, 0, sizeof *out);
    out->files = calloc(plan->piece_count, sizeof *out->files);
    *reason = "there is no memory for them";
    if (out->files == NULL)
        return ERR_MEMORY;
    for (unsigned i = 0; i < plan->piece_count; i++) {
        char path[PATH_MAX], file[PATH_MAX + 32];
        piece_path(folder, i, path);
        snprintf(file, sizeof file, "%s/v%u.mp4", path, rung);
        const int err = piece_add(out, file, reason);
        if (err != 0)
            return err;
    }
    const struct piece_file *last = &out->files[out->count - 1];
    out->source =
        (struct mp4_source){pieces_read, out, last->start + last->size};
    return 0;
}

void
pieces_close(struct pieces *pieces)
{
    for (unsigned i = 0; i < pieces->count; i++)
        close(pieces->files[i].fd);
    if (pieces->has_first)
        mp4_close(&pieces->first);
    free(pieces->track.samples);
    free(pieces->files);
}
