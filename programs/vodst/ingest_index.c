/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The encoder's file of a track stays until all track files are there, so that
 * they can be made again where a run was killed meanwhile.
 * Cuts are found in v0, or come with a copy, and hold for all: every other
 * video must have key frames at the same moments, audio is cut at the nearest
 * frame.
 */

#include "programs/vodst/ingest_index.h"

#include "core/err.h"
#include "media/image/image_track.h"
#include "media/index.h"
#include "media/mp4/mp4.h"
#include "media/text/text_track.h"
#include "platform/files.h"
#include "programs/vodst/ingest_child.h"
#include "programs/vodst/ingest_file.h"
#include "programs/vodst/ingest_pieces.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(LADDER_RUNGS_MAX + SOURCE_AUDIO_MAX + SUBTITLES_MAX
                       + THUMBNAIL_TRACKS
                   <= ASSET_TRACKS_MAX,
               "all are in the asset");

struct indexing {
    struct progress *progress;
    const struct source *source;
    const struct encode_plan *plan;
    const struct copy *copy; /* NULL: the tracks were encoded */
    const struct subtitles *subtitles;
    const char *folder;
    uint64_t written; /* bytes of track files */
    uint64_t *cuts;   /* presentation times; NULL before the first track */
    uint32_t cut_count, cut_timescale;
    char reason[160]; /* of what failed last, when there is more to tell */
    struct asset asset;
    struct buffer indexes[ASSET_TRACKS_MAX]; /* asset points into them */
};

struct track_file {
    int fd;
    uint64_t size;
    struct mp4_source source;
    struct mp4_movie movie;
    bool is_open;
};

static int
track_file_open(struct progress *progress, const char *folder, const char *name,
                struct track_file *out)
{
    char path[PATH_MAX];
    struct stat st;
    memset(out, 0, sizeof *out);
    snprintf(path, sizeof path, "%s/%s.mp4", folder, name);
    out->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (out->fd < 0 || fstat(out->fd, &st) != 0) {
        progress_error(progress, "cannot read %s.mp4: %s", name,
                       strerror(errno));
        return ERR_IO;
    }
    out->size = (uint64_t) st.st_size;
    out->source = file_mp4_source(&out->fd, out->size);
    struct mp4_error error = {.reason = ""};
    int err = mp4_open(&out->source, &out->movie, &error);
    if (err != 0) {
        progress_error(progress,
                       "%s.mp4 as encoded is broken: box '%s' at byte %llu: "
                       "%s",
                       name, error.box, (unsigned long long) error.offset,
                       error.reason);
        return err;
    }
    out->is_open = true;
    if (out->movie.track_count != 1) {
        progress_error(progress, "%s.mp4 has %zu tracks instead of one", name,
                       out->movie.track_count);
        return ERR_INVALID;
    }
    return 0;
}

static void
track_file_close(struct track_file *file)
{
    if (file->is_open)
        mp4_close(&file->movie);
    if (file->fd >= 0)
        close(file->fd);
}

static int
cuts_compare(struct indexing *ix, const struct mp4_track *track)
{
    uint64_t *cuts;
    uint32_t count;
    int err = segment_cuts_of_video(track, ix->plan->segment_ms, &cuts, &count);
    if (err != 0)
        return err;
    bool is_same = count == ix->cut_count
                   && track->timescale == ix->cut_timescale
                   && memcmp(cuts, ix->cuts, count * sizeof *cuts) == 0;
    free(cuts);
    if (is_same && track->sample_count == ix->asset.tracks[0].sample_count)
        return 0;
    snprintf(ix->reason, sizeof ix->reason,
             "it does not line up with v0.mp4: %u segments and %u frames "
             "instead of %u and %u",
             count, track->sample_count, ix->cut_count,
             ix->asset.tracks[0].sample_count);
    return ERR_INVALID;
}

static int
cuts_find(struct indexing *ix, const struct mp4_track *track)
{
    if (ix->copy != NULL || (track->kind == TRACK_AUDIO && ix->cuts != NULL))
        return 0;
    if (track->kind == TRACK_AUDIO) {
        ix->cut_timescale = 1000;
        return segment_cuts_of_audio(track, ix->plan->segment_ms, &ix->cuts,
                                     &ix->cut_count);
    }
    if (ix->cuts != NULL)
        return cuts_compare(ix, track);
    ix->cut_timescale = track->timescale;
    return segment_cuts_of_video(track, ix->plan->segment_ms, &ix->cuts,
                                 &ix->cut_count);
}

static int
file_save(struct indexing *ix, const char *name, struct bytes bytes)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", ix->folder, name);
    int err = file_write_atomic(path, bytes, 0644, false);
    if (err != 0)
        progress_error(ix->progress, "cannot write %s: %s", path,
                       strerror(errno));
    return err;
}

struct storing {
    struct indexing *ix;
    FILE *file;
};

/* The system's own word: no room left, perhaps. */
static int
io_failed(struct indexing *ix)
{
    snprintf(ix->reason, sizeof ix->reason, "%s", strerror(errno));
    return ERR_IO;
}

static int
stored_append(void *context, struct bytes bytes)
{
    const struct storing *s = context;
    struct indexing *ix = s->ix;
    if (stop_signal() != 0)
        return ERR_TIMEOUT;
    if (fwrite(bytes.ptr, 1, bytes.len, s->file) != bytes.len)
        return io_failed(ix);
    ix->written += bytes.len;
    if (ix->copy != NULL)
        progress_update(ix->progress,
                        (double) ix->written / (double) ix->copy->size, "");
    return 0;
}

static int
stored_write(struct indexing *ix, struct track_build *build,
             struct buffer *index)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s.mp4.part", ix->folder, build->name);
    struct storing storing = {ix, fopen(path, "wb")};
    if (storing.file == NULL)
        return io_failed(ix);
    build->sink = (struct track_sink){stored_append, &storing};
    int err = track_file_build(build, index);
    if (fclose(storing.file) != 0 && err == 0)
        err = io_failed(ix);
    return err;
}

/* `from` is the file's name for people. */
static int
track_store(struct indexing *ix, struct track_build *build, const char *from)
{
    const struct mp4_track *track = build->track;
    struct buffer *out = &ix->indexes[ix->asset.track_count];
    int err = cuts_find(ix, track);
    if (err == 0 && track->kind == TRACK_AUDIO)
        err = segment_cuts_extend(track, ix->plan->segment_ms,
                                  ix->cut_timescale, &ix->cuts, &ix->cut_count);
    if (err != 0)
        goto failed;
    build->cuts = ix->cuts;
    build->cut_count = ix->cut_count;
    build->cut_timescale = ix->cut_timescale;
    buffer_init(out, INDEX_SIZE_MAX);
    struct track_index index;
    err = stored_write(ix, build, out);
    if (err == 0)
        err = track_index_open(buffer_bytes(out), &index);
    if (err != 0)
        goto failed;
    ix->asset.tracks[ix->asset.track_count++] = index.info;
    char name[TRACK_NAME_LEN_MAX + 8];
    snprintf(name, sizeof name, "%s.idx", build->name);
    return file_save(ix, name, buffer_bytes(out));

failed:
    if (err != ERR_TIMEOUT)
        progress_error(
            ix->progress, "cannot store %s: %s%s", from,
            ix->reason[0] != '\0' ? ix->reason : err_text(err),
            ix->copy != NULL && ix->reason[0] == '\0' ? "; " COPY_REMEDY : "");
    return err;
}

static int
encoded_index(struct indexing *ix, struct track_build *build)
{
    struct track_file file;
    char from[TRACK_NAME_LEN_MAX + sizeof ".mp4"];
    snprintf(from, sizeof from, "%s.mp4", build->name);
    int err = track_file_open(ix->progress, ix->folder, build->name, &file);
    if (err == 0) {
        build->track = &file.movie.tracks[0];
        build->source = &file.source;
        err = track_store(ix, build, from);
    }
    track_file_close(&file);
    return err;
}

static int
pieces_index(struct indexing *ix, struct track_build *build, unsigned rung)
{
    struct pieces pieces;
    const char *reason;
    int err = pieces_open(ix->folder, ix->plan, rung, &pieces, &reason);
    if (err != 0) {
        progress_error(ix->progress, "cannot put the pieces of %s together: %s",
                       build->name, reason);
    } else {
        build->track = &pieces.track;
        build->source = &pieces.source;
        err = track_store(ix, build, build->name);
    }
    pieces_close(&pieces);
    return err;
}

/* Of the copy, or NULL for what was encoded. */
static int
track_index(struct indexing *ix, const struct copy_track *copied,
            const char *name, const char *label, const char *language)
{
    struct track_build build = {
        .name = name, .label = label, .language = language};
    if (stop_signal() != 0)
        return ERR_TIMEOUT;
    if (copied == NULL && name[0] == 'v' && ix->plan->piece_count > 0)
        return pieces_index(ix, &build, (unsigned) atoi(name + 1));
    if (copied == NULL)
        return encoded_index(ix, &build);
    build.track = copied->track;
    build.source = &copied->file->source;
    return track_store(ix, &build, copied->file->path);
}

/* Of the longest track so far, in ticks of the cuts, rounded up. */
static uint64_t
duration_of_film(const struct indexing *ix)
{
    uint64_t longest = 0;
    for (size_t i = 0; i < ix->asset.track_count; i++) {
        const struct track_info *t = &ix->asset.tracks[i];
        const uint64_t ticks =
            (uint64_t) (((unsigned __int128) t->duration * ix->cut_timescale
                         + t->timescale - 1)
                        / t->timescale);
        if (ticks > longest)
            longest = ticks;
    }
    return longest;
}

static int
subtitles_save(struct indexing *ix, const char *track, struct bytes file,
               struct bytes index)
{
    char name[TRACK_NAME_LEN_MAX + 8];
    snprintf(name, sizeof name, "%s.text", track);
    const int err = file_save(ix, name, file);
    snprintf(name, sizeof name, "%s.idx", track);
    return err != 0 ? err : file_save(ix, name, index);
}

static int
subtitles_store(struct indexing *ix, unsigned number, uint64_t duration)
{
    const struct subtitles *subtitles = &ix->subtitles[number];
    struct buffer *out = &ix->indexes[ix->asset.track_count];
    char name[TRACK_NAME_LEN_MAX + 1];
    snprintf(name, sizeof name, "s%u", number);
    const struct text_build build = {
        .cues = &subtitles->cues,
        .cuts = ix->cuts,
        .cut_count = ix->cut_count,
        .timescale = ix->cut_timescale,
        .duration = duration,
        .name = name,
        .label = subtitles->label,
        .language = subtitles->language,
        .is_forced = subtitles->is_forced,
    };
    struct buffer file;
    struct track_index index;
    buffer_init(&file, TEXT_TRACK_SIZE_MAX);
    buffer_init(out, INDEX_SIZE_MAX);
    int err = text_track_build(&build, &file, out);
    if (err == 0)
        err = track_index_open(buffer_bytes(out), &index);
    if (err != 0)
        progress_error(ix->progress, "cannot store subtitles %u: %s",
                       number + 1, err_text(err));
    else {
        ix->asset.tracks[ix->asset.track_count++] = index.info;
        err = subtitles_save(ix, name, buffer_bytes(&file), buffer_bytes(out));
    }
    buffer_fini(&file);
    return err;
}

/* ---- thumbnails ---- */

/* As the encoder leaves them in the folder. */
struct thumbnail_kind {
    const char *name;
    uint32_t columns, rows;
    unsigned first_file;
};

static const struct thumbnail_kind thumbnail_kinds[THUMBNAIL_TRACKS] = {
    {"i0", THUMBNAIL_COLUMNS, THUMBNAIL_ROWS, 1}, /* behind the empty one */
    {"i1", 1, 1, 0},
};

struct thumbnail_files {
    struct indexing *ix;
    const struct thumbnail_kind *kind;
};

static void
thumbnail_path(const struct thumbnail_files *files, uint64_t number,
               char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/%s.%llu.jpg", files->ix->folder,
             files->kind->name,
             (unsigned long long) number + files->kind->first_file);
}

static int
thumbnail_read(void *context, uint32_t number, struct buffer *out)
{
    const struct thumbnail_files *files = context;
    char path[PATH_MAX];
    thumbnail_path(files, number, path);
    const int err = stop_signal() != 0 ? ERR_TIMEOUT : file_read(path, out);
    return err == ERR_IO || err == ERR_NOT_FOUND ? io_failed(files->ix) : err;
}

/* A picture that is shown for longer than a sheet at the film's end is not in
 * all of them: then the thumbnails end earlier. */
static void
thumbnails_shorten(const struct thumbnail_files *files,
                   struct image_build *build)
{
    const uint64_t needed = image_sheet_count(build);
    char path[PATH_MAX];
    uint64_t count = 0;
    for (; count < needed; count++) {
        thumbnail_path(files, count, path);
        if (access(path, R_OK) != 0)
            break;
    }
    if (count > 0 && count < needed)
        build->duration_ms =
            count * build->interval_ms * build->columns * build->rows;
}

static int
thumbnails_build(struct indexing *ix, struct image_build *build,
                 struct buffer *out)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s.sheets", ix->folder, build->name);
    struct storing storing = {ix, fopen(path, "wb")};
    if (storing.file == NULL)
        return io_failed(ix);
    build->sink = (struct track_sink){stored_append, &storing};
    int err = image_track_build(build, out);
    if (fclose(storing.file) != 0 && err == 0)
        err = io_failed(ix);
    struct track_index index;
    if (err == 0)
        err = track_index_open(buffer_bytes(out), &index);
    if (err == 0)
        ix->asset.tracks[ix->asset.track_count++] = index.info;
    return err;
}

/* For as long as there are pictures. */
static int
thumbnails_store(struct indexing *ix, const struct thumbnail_kind *kind)
{
    const struct thumbnails *thumbnails = &ix->plan->thumbnails;
    const struct track_info *video = &ix->asset.tracks[0];
    struct thumbnail_files files = {ix, kind};
    struct image_build build = {
        .sheet_read = thumbnail_read,
        .context = &files,
        .width = thumbnails->width,
        .height = thumbnails->height,
        .columns = kind->columns,
        .rows = kind->rows,
        .interval_ms = thumbnails->interval_ms,
        .duration_ms = (uint64_t) (((unsigned __int128) video->duration * 1000
                                    + video->timescale - 1)
                                   / video->timescale),
        .name = kind->name,
    };
    char name[TRACK_NAME_LEN_MAX + sizeof ".idx"];
    struct buffer *index = &ix->indexes[ix->asset.track_count];
    buffer_init(index, INDEX_SIZE_MAX);
    thumbnails_shorten(&files, &build);
    const int err = thumbnails_build(ix, &build, index);
    snprintf(name, sizeof name, "%s.idx", kind->name);
    if (err == 0)
        return file_save(ix, name, buffer_bytes(index));
    if (err != ERR_TIMEOUT)
        progress_error(ix->progress, "cannot store the thumbnails: %s",
                       ix->reason[0] != '\0' ? ix->reason : err_text(err));
    return err;
}

static int
tracks_index(struct indexing *ix)
{
    const struct encode_plan *plan = ix->plan;
    const struct copy *copy = ix->copy;
    unsigned total = plan->rung_count + plan->audio_count;
    char name[TRACK_NAME_LEN_MAX + 1], label[TRACK_LABEL_LEN_MAX + 1];
    for (unsigned i = 0; i < plan->rung_count; i++) {
        snprintf(name, sizeof name, "v%u", i);
        snprintf(label, sizeof label, "%up", plan->rungs[i].height);
        int err = track_index(ix, copy != NULL ? &copy->videos[i] : NULL, name,
                              label, "und");
        if (err != 0)
            return err;
        if (copy == NULL)
            progress_update(ix->progress, (double) (i + 1) / total, "");
    }
    for (unsigned i = 0; i < plan->audio_count; i++) {
        const struct source_audio *audio = &ix->source->audio[i];
        snprintf(name, sizeof name, "a%u", i);
        int err = track_index(ix, copy != NULL ? &copy->audio[i] : NULL, name,
                              audio->label, audio->language);
        if (err != 0)
            return err;
        if (copy == NULL)
            progress_update(ix->progress,
                            (double) (plan->rung_count + i + 1) / total, "");
    }
    const uint64_t duration = duration_of_film(ix);
    for (unsigned i = 0; i < plan->subtitles_count; i++) {
        int err = subtitles_store(ix, i, duration);
        if (err != 0)
            return err;
    }
    for (size_t i = 0; i < THUMBNAIL_TRACKS; i++) {
        int err = plan->thumbnails.interval_ms == 0
                      ? 0
                      : thumbnails_store(ix, &thumbnail_kinds[i]);
        if (err != 0)
            return err;
    }
    return 0;
}

static int
asset_save(struct indexing *ix)
{
    struct buffer text;
    /* too large for the stack; decoded only to see that it can be */
    struct asset *decoded = malloc(sizeof *decoded);
    buffer_init(&text, ASSET_SIZE_MAX);
    int err = decoded == NULL ? ERR_MEMORY : asset_encode(&ix->asset, &text);
    if (err == 0)
        err = asset_decode(buffer_bytes(&text), decoded);
    if (err != 0)
        progress_error(ix->progress, "cannot write asset.idx: %s",
                       err_text(err));
    else
        err = file_save(ix, "asset.idx", buffer_bytes(&text));
    buffer_fini(&text);
    free(decoded);
    return err;
}

static void
indexed_sum(const struct asset *asset, struct indexed *out)
{
    memset(out, 0, sizeof *out);
    out->track_count = (unsigned) asset->track_count;
    out->segment_count = asset->tracks[0].segment_count;
    for (size_t i = 0; i < asset->track_count; i++) {
        const struct track_info *track = &asset->tracks[i];
        double seconds = (double) track->duration / track->timescale;
        if (!track_has_samples(track))
            continue;
        double *longest = track->kind == TRACK_VIDEO ? &out->video_duration_s
                                                     : &out->audio_duration_s;
        if (seconds > *longest)
            *longest = seconds;
        if (seconds > out->duration_s)
            out->duration_s = seconds;
        if (track->kind == TRACK_VIDEO && out->frame_count == 0)
            out->frame_count = track->sample_count;
    }
}

int
index_write(struct progress *progress, const struct source *source,
            const struct encode_plan *plan, struct copy *copy,
            const struct subtitles *subtitles, const char *folder,
            struct indexed *out)
{
    struct indexing *ix = calloc(1, sizeof *ix);
    if (ix == NULL) {
        progress_error(progress, "out of memory");
        return ERR_MEMORY;
    }
    ix->progress = progress;
    ix->source = source;
    ix->plan = plan;
    ix->subtitles = subtitles;
    ix->folder = folder;
    if (copy != NULL) {
        ix->copy = copy;
        ix->cuts = copy->cuts;
        ix->cut_count = copy->cut_count;
        ix->cut_timescale = copy->cut_timescale;
        copy->cuts = NULL;
    }
    int err = tracks_index(ix);
    if (err == 0)
        err = asset_save(ix);
    if (err == 0)
        indexed_sum(&ix->asset, out);
    for (size_t i = 0; i < ASSET_TRACKS_MAX; i++)
        if (ix->indexes[i].ptr != NULL)
            buffer_fini(&ix->indexes[i]);
    free(ix->cuts);
    free(ix);
    return err;
}

static int
part_take(struct progress *progress, const char *folder, char kind,
          unsigned number)
{
    char part[PATH_MAX], whole[PATH_MAX];
    snprintf(part, sizeof part, "%s/%c%u.mp4.part", folder, kind, number);
    snprintf(whole, sizeof whole, "%s/%c%u.mp4", folder, kind, number);
    if (rename(part, whole) == 0 || errno == ENOENT)
        return 0;
    progress_error(progress, "cannot rename %s: %s", part, strerror(errno));
    return ERR_IO;
}

int
index_finish(struct progress *progress, const struct encode_plan *plan,
             const char *folder)
{
    int err = 0;
    for (unsigned i = 0; err == 0 && i < plan->rung_count; i++)
        err = part_take(progress, folder, 'v', i);
    for (unsigned i = 0; err == 0 && i < plan->audio_count; i++)
        err = part_take(progress, folder, 'a', i);
    return err;
}
