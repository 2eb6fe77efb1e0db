/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vodst ingest: a film in, a playable content out. The steps are a table; what
 * a failed one leaves behind is taken away again. What a killed run has
 * finished lies in its work folder, where the same command finds it.
 */

#include "core/content.h"
#include "core/err.h"
#include "platform/clock.h"
#include "platform/files.h"
#include "platform/options.h"
#include "programs/vodst/ingest_api.h"
#include "programs/vodst/ingest_child.h"
#include "programs/vodst/ingest_digest.h"
#include "programs/vodst/ingest_found.h"
#include "programs/vodst/ingest_index.h"
#include "programs/vodst/ingest_jobs.h"
#include "programs/vodst/ingest_ladder.h"
#include "programs/vodst/ingest_loudness.h"
#include "programs/vodst/ingest_pieces.h"
#include "programs/vodst/ingest_settings_options.h"
#include "programs/vodst/ingest_tracks.h"
#include "programs/vodst/ingest_transfer.h"
#include "programs/vodst/ingest_version.h"
#include "programs/vodst/ingest_work.h"
#include "programs/vodst/vodst.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define TITLE_LEN_MAX 200 /* bytes; what st-api takes */

struct config {
    const char *id, *title, *ladder, *preset, *temp, *jobs, *results, *codec;
    double loudness_lufs;
    struct option_list subtitles, forced_subtitles;
    struct settings_given given;
    int64_t segment_ms, crf, threads, thumbnail_ms, thumbnail_size, patience_ms,
        piece_ms, workers, retries, retry_pause_ms;
    bool no_thumbnails, copy, keep_work, json;
};

static const struct option options[] = {
    {"id", OPTION_TEXT, offsetof(struct config, id), NULL, 0, 0, false, NULL,
     "Id of the content: 1 to 64 of A-Z a-z 0-9 . _ -; one that exists gets a "
     "new version."},
    {"title", OPTION_TEXT, offsetof(struct config, title), NULL, 0, 0, false,
     NULL, "Title for people; by default the file's name."},
    {"subtitles", OPTION_LIST, offsetof(struct config, subtitles), NULL, 0, 0,
     false, NULL,
     "FILE[:LANGUAGE[:LABEL]], as film.srt:en:English: subtitles beside the "
     "film, WebVTT or SubRip in UTF-8, UTF-16 with its mark, or Windows-1252. "
     "May be given often. A colon in FILE's name cannot be written. Tracks of "
     "text in an MP4 (wvtt, tx3g) are taken without this."},
    {"forced-subtitles", OPTION_LIST, offsetof(struct config, forced_subtitles),
     NULL, 0, 0, false, NULL,
     "FILE[:LANGUAGE[:LABEL]]: the same, of what a viewer who wants no "
     "subtitles has to read all the same, as signs and what is spoken in "
     "another language than the film's."},
    SETTINGS_STORAGE_OPTIONS(struct config, given),
    {"s3-part-size", OPTION_SIZE, offsetof(struct config, given.s3.part_size),
     NULL, 5 << 20, 5368709120.0, false, NULL,
     "Files above this go in parts of it, 16M by default; in larger ones when "
     "there would be over 1000."},
    {"fill-secret-file", OPTION_TEXT,
     offsetof(struct config, given.fill_secret_file), NULL, 0, 0, false, NULL,
     "File with the secret that lets one read from the storage; without it "
     "the stored sizes may not be readable, and are then not verified."},
    SETTINGS_API_OPTIONS(struct config, given),
    {"copy", OPTION_FLAG, offsetof(struct config, copy), NULL, 0, 0, false,
     NULL,
     "Takes MP4 and QuickTime files in as they are, with nothing encoded. "
     "Several are renditions of one film, with key frames at the same times; "
     "files without a picture are its sounds."},
    {"ladder", OPTION_TEXT, offsetof(struct config, ladder), "720,480,360", 0,
     0, false, NULL,
     "Heights of the renditions (of the shorter side, for upright films). "
     "Those above the film's own are left out. auto: some seconds of the film "
     "are encoded first at heights from 2160 to 216, and those are made that "
     "take much less than the one above, with peaks as they are needed."},
    {"segment", OPTION_DURATION, offsetof(struct config, segment_ms), "4s",
     1000, 30000, false, NULL,
     "Length of a segment; there is a key frame at every half of it. With "
     "--copy, where the film has its next key frame after that."},
    {"piece", OPTION_DURATION, offsetof(struct config, piece_ms), "2m", 1000,
     PIECE_MS_MAX, false, NULL,
     "A longer film of constant frame rate, in MP4 or Matroska, is encoded in "
     "pieces of this length, and one that was killed goes on behind the last "
     "whole piece. Shorter ones cost bytes at each start."},
    {"thumbnails", OPTION_DURATION, offsetof(struct config, thumbnail_ms),
     "10s", 1000, 600000, false, NULL,
     "Time from one thumbnail to the next, for seeking by eye."},
    {"thumbnail-size", OPTION_INTEGER, offsetof(struct config, thumbnail_size),
     "320", 32, 1024, false, NULL,
     "Pixels of the longer side of a thumbnail; no more than the film's."},
    {"no-thumbnails", OPTION_FLAG, offsetof(struct config, no_thumbnails), NULL,
     0, 0, false, NULL, "Makes no thumbnails."},
    {"preset", OPTION_TEXT, offsetof(struct config, preset), "veryfast", 0, 0,
     false, NULL,
     "How hard the encoder tries, by x264's names, ultrafast to veryslow: "
     "slower "
     "is smaller."},
    {"codec", OPTION_TEXT, offsetof(struct config, codec), "h264", 0, 0, false,
     NULL,
     "h264, which everything plays, hevc or av1, which take less. A film of "
     "high dynamic range (PQ, HLG) keeps it with hevc and av1, in 10 bits, and "
     "is brought into the standard range for h264."},
    {"loudness", OPTION_NUMBER, offsetof(struct config, loudness_lufs), NULL,
     -70, 0, false, "LUFS",
     "Brings each sound to this loudness by EBU R 128, -23 in broadcasting, by "
     "one gain as far as its peaks allow. It is read once more for that. "
     "Without this, or with 0, sounds are as loud as they are."},
    {"threads", OPTION_INTEGER, offsetof(struct config, threads), "0", 0, 64,
     false, NULL,
     "Threads of the video encoder; 0 takes what the machine has. With 1 the "
     "same film always gives the same bytes, and so the same version: x264's "
     "rate control over several threads depends on their timing."},
    {"crf", OPTION_INTEGER, offsetof(struct config, crf), "-1", -1, 63, false,
     NULL,
     "Quality, to 51, of av1 to 63: of h264, 18 is fine and 28 is coarse. -1 "
     "is 23 of h264, 26 of hevc and 35 of av1."},
    {"temp", OPTION_TEXT, offsetof(struct config, temp), NULL, 0, 0, false,
     NULL,
     "Folder for the files while they are made; by default $TMPDIR, else "
     "/var/tmp. It needs room for all renditions twice. A run that was killed "
     "leaves vodst-ingest-ID-... there, and the same command goes on with "
     "it; another one for the same ID takes it away, and any after a week."},
    {"keep-work", OPTION_FLAG, offsetof(struct config, keep_work), NULL, 0, 0,
     false, NULL,
     "Leaves what was done so far to the next run also when storage or st-api "
     "fails, or this program is told to stop; else only a kill does. A failure "
     "that may be over later then has exit status 75."},
    {"patience", OPTION_DURATION, offsetof(struct config, patience_ms), "5m", 0,
     86400000, false, NULL,
     "How long to wait, with growing pauses, for a storage or an st-api that "
     "goes away while files are put and the content is registered."},
    {"jobs", OPTION_TEXT, offsetof(struct config, jobs), NULL, 0, 0, false,
     NULL,
     "A list of films instead of FILE, one JSON object a line: \"film\" (a "
     "path "
     "or several), \"id\", and any of these options by name, as {\"film\": "
     "\"a.mov\", \"id\": \"a\", \"title\": \"A\", \"crf\": 20}. What is said "
     "here holds for all. One that fails does not stop the others."},
    {"workers", OPTION_INTEGER, offsetof(struct config, workers), "1", 1,
     JOB_WORKERS_MAX, false, NULL, "Jobs at a time."},
    {"retries", OPTION_INTEGER, offsetof(struct config, retries), "3", 0, 100,
     false, NULL,
     "How often a job is tried again that failed by what may be over later: a "
     "storage or an st-api that is away, a full disk, a kill. What is wrong "
     "with the film is not."},
    {"retry-pause", OPTION_DURATION, offsetof(struct config, retry_pause_ms),
     "10s", 0, 600000, false, NULL,
     "Time before a job is tried again; twice as long each time, 10m at most."},
    {"results", OPTION_TEXT, offsetof(struct config, results), NULL, 0, 0,
     false, NULL,
     "Where a JSON line is kept of each job that ended; by default the list's "
     "name and .results. Jobs that are done there are not done again, unless "
     "their line or their film changed."},
    {"json", OPTION_FLAG, offsetof(struct config, json), NULL, 0, 0, false,
     NULL,
     "Progress and result as JSON lines on standard output, for scripts."},
};

static const struct program program = {
    .name = "vodst ingest",
    .summary = "encode or copy a film, store it and make it playable",
    .synopsis = "FILE...|--jobs LIST",
    .details =
        "Encodes FILE with FFmpeg into renditions of H.264, HEVC or AV1, and "
        "AAC, with key frames at the same moments and into sheets of "
        "thumbnails, cuts them "
        "into segments, stores the files "
        "under ID/VERSION/ and tells st-api. VERSION is a hash of the "
        "files.\n\n"
        "With --copy every picture and sound stays as it is, and the options "
        "of the encoder are not used: H.264, HEVC, AV1 and VP9; AAC, AC-3, "
        "E-AC-3, Opus, FLAC and MP3. Thumbnails alone need FFmpeg then, which "
        "decodes the film for them: where it cannot, there are none. The "
        "sounds of a further file with a picture are left out.\n\n"
        "A failure at any step leaves nothing behind, and what was playable "
        "before stays playable. After a kill or a power cut the same command "
        "goes on behind the last step that was finished. What is stored is "
        "read back and compared by its SHA-256 before st-api is told. Exit "
        "status: 0 playable, 1 failed, 2 wrong use, 75 failed for now (with "
        "--keep-work), 128 + signal when interrupted.\n\n"
        "With --jobs a list of films is ingested, some at a time; what came of "
        "each is kept beside the list, and the list goes on where it was. Exit "
        "status: 0 all are playable, 1 some failed.",
    .options = options,
    .option_count = OPTION_COUNT(options),
    .arguments_min = 0,
    .arguments_max = COPY_FILES_MAX,
};

struct ingest {
    const struct config *config;
    const char *film; /* the first of these */
    char *const *films;
    unsigned film_count;
    unsigned heights[LADDER_RUNGS_MAX], height_count;
    bool is_auto; /* the ladder is measured */
    enum video_codec codec;
    struct progress progress;
    struct settings settings;
    struct source source;
    struct encode_plan plan;
    struct copy copy;
    struct subtitles subtitles[SUBTITLES_MAX];
    char title[TITLE_LEN_MAX + 1];
    struct work work;
    uint64_t encoded_frame_count;
    struct indexed indexed;
    struct version version;
    struct storage *storage;
    bool is_stored;
    bool is_known;  /* st-api knew the version before it was stored */
    bool is_unsure; /* st-api may have taken it: what is stored must stay */
    char playable[CONTENT_ID_LEN_MAX + 1]; /* the version now; or empty */
};

/* ---- steps ---- */

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

static int
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

static int
step_probe_copy(struct ingest *in)
{
    in->plan.segment_ms = (uint32_t) in->config->segment_ms;
    const int err = copy_open(&in->progress, in->films, in->film_count,
                              &in->source, &in->plan, &in->copy);
    return err != 0 ? err : subtitles_take(in);
}

static int
api_answer_judge(struct ingest *in, int err,
                 const struct transfer_answer *answer)
{
    return api_judge(&in->progress, &in->settings, in->config->id, err, answer);
}

static void
api_url(const struct ingest *in, char out[SETTING_URL_SIZE + 128])
{
    snprintf(out, SETTING_URL_SIZE + 128, "%s/v1/contents/%s", in->settings.api,
             in->config->id);
}

/* The content's version as st-api has it. */
static void
version_parse(const struct transfer_answer *answer,
              char out[CONTENT_ID_LEN_MAX + 1])
{
    json_t *content = json_loads(answer->body, 0, NULL);
    const char *version =
        json_string_value(json_object_get(content, "version"));
    if (version != NULL)
        snprintf(out, CONTENT_ID_LEN_MAX + 1, "%s", version);
    json_decref(content);
}

/* Before an hour of encoding: would those behind us take the result? */
static int
step_check(struct ingest *in)
{
    int err = in->storage->check(in->storage, &in->progress);
    if (err != 0)
        return err;
    char url[SETTING_URL_SIZE + 128];
    struct transfer_answer answer;
    api_url(in, url);
    const struct transfer transfer = {
        .method = "GET", .url = url, .bearer = in->settings.api_key};
    err = transfer_run(&transfer, &answer);
    if (err != 0 || (answer.status != 200 && answer.status != 404))
        return api_answer_judge(in, err, &answer);
    if (answer.status == 200)
        version_parse(&answer, in->playable);
    return 0;
}

/* ---- the work folder ---- */

/* "FILE" or "FILE:LANGUAGE": what the name stands for now. */
static void
file_identity_add(struct digest *digest, const char *name)
{
    char path[PATH_MAX];
    struct stat st = {0};
    snprintf(path, sizeof path, "%s", name);
    while (stat(path, &st) != 0) {
        char *colon = strrchr(path, ':');
        if (colon == NULL)
            break;
        *colon = '\0';
    }
    char whole[PATH_MAX];
    const char *place = realpath(path, whole) != NULL ? whole : path;
    const int64_t numbers[] = {st.st_size, st.st_mtim.tv_sec,
                               st.st_mtim.tv_nsec};
    digest_add(digest, name, strlen(name) + 1);
    digest_add(digest, place, strlen(place) + 1);
    digest_add(digest, numbers, sizeof numbers);
}

/* All that the result is made from. */
static int
work_key_make(const struct ingest *in, char out[WORK_KEY_SIZE])
{
    const struct config *config = in->config;
    struct digest digest;
    uint8_t hash[DIGEST_SIZE];
    const int64_t numbers[] = {
        config->segment_ms,
        config->crf,
        config->threads,
        config->thumbnail_ms,
        config->thumbnail_size,
        config->no_thumbnails,
        config->copy,
        in->film_count,
        (int64_t) config->subtitles.count,
    };
    int err = digest_begin(&digest);
    if (err != 0)
        return err;
    digest_add(&digest, numbers, sizeof numbers);
    digest_add(&digest, config->ladder, strlen(config->ladder) + 1);
    digest_add(&digest, config->preset, strlen(config->preset) + 1);
    digest_add(&digest, config->codec, strlen(config->codec) + 1);
    digest_add(&digest, &config->loudness_lufs, sizeof config->loudness_lufs);
    for (unsigned i = 0; i < in->film_count; i++)
        file_identity_add(&digest, in->films[i]);
    for (size_t i = 0; i < config->subtitles.count; i++)
        file_identity_add(&digest, config->subtitles.items[i]);
    for (size_t i = 0; i < config->forced_subtitles.count; i++)
        file_identity_add(&digest, config->forced_subtitles.items[i]);
    err = digest_end(&digest, hash);
    if (err == 0)
        digest_text(hash, WORK_KEY_SIZE / 2, out);
    return err;
}

/* It was playable once, and plays of it may go on. False when st-api does not
 * say. */
static bool
version_ask(const struct ingest *in, const char *content, const char *version,
            bool *is_known)
{
    char url[SETTING_URL_SIZE + 2 * CONTENT_ID_LEN_MAX + 64];
    struct transfer_answer answer;
    snprintf(url, sizeof url, "%s/v1/contents/%.64s/versions/%.64s",
             in->settings.api, content, version);
    const struct transfer transfer = {
        .method = "GET", .url = url, .bearer = in->settings.api_key};
    if (transfer_run(&transfer, &answer) != 0
        || (answer.status != 200 && answer.status != 404))
        return false;
    *is_known = answer.status == 200;
    return true;
}

/* What was put for `content` by a run that was killed before it was playable.
 * False where it cannot be taken away now. */
static bool
orphan_discard(struct ingest *in, const json_t *stored, const char *content)
{
    const char *text, *storage;
    int is_ours;
    json_t *names;
    if (json_unpack((json_t *) (uintptr_t) stored, "{s:s, s:s, s:b, s:o}",
                    "version", &text, "storage", &storage, "is_ours", &is_ours,
                    "files", &names)
            != 0
        || !is_ours)
        return true;
    bool is_known;
    if (!content_id_is_valid(bytes_of_text(text))
        || strcmp(storage, in->settings.storage) != 0
        || !version_ask(in, content, text, &is_known))
        return false;
    if (is_known)
        return true;
    static struct storage_file files[STORAGE_FILES_MAX];
    struct storage_version version = {
        .content = content, .version = text, .files = files, .is_ours = true};
    size_t i;
    json_t *name;
    json_array_foreach(names, i, name)
    {
        if (i < STORAGE_FILES_MAX && json_is_string(name))
            files[version.file_count++] =
                (struct storage_file){.name = json_string_value(name)};
    }
    in->storage->discard(in->storage, &version);
    return true;
}

static bool
stale_found(const struct work *work, const char *content, void *context)
{
    struct ingest *in = context;
    const json_t *stored = work_step(work, "store");
    if (stored != NULL && !orphan_discard(in, stored, content))
        return false;
    progress_note(&in->progress,
                  "what an ingest of %s that was killed left in %s is taken "
                  "away",
                  content, work->folder);
    return true;
}

static int
work_begin(struct ingest *in)
{
    char key[WORK_KEY_SIZE];
    int err = work_key_make(in, key);
    if (err != 0) {
        progress_error(&in->progress, "out of memory");
        return err;
    }
    work_find_stale(in->config->temp, in->config->id, key, stale_found, in);
    return work_open(&in->progress, in->config->temp, in->config->id, key,
                     &in->work);
}

/* The film may have been replaced while it was read. */
static int
film_check(struct ingest *in)
{
    char key[WORK_KEY_SIZE];
    int err = work_key_make(in, key);
    const char *end = in->work.folder + strlen(in->work.folder);
    if (err == 0 && strcmp(end - (WORK_KEY_SIZE - 1), key) == 0)
        return 0;
    progress_error(&in->progress, "%s changed while it was read", in->film);
    return err != 0 ? err : ERR_INVALID;
}

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

static int
step_encode(struct ingest *in)
{
    int err = work_begin(in);
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
static int
step_thumbnails(struct ingest *in)
{
    int err = work_begin(in);
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

static int
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

static int
step_index(struct ingest *in)
{
    return files_make(in, NULL, lengths_check);
}

/* Before the first byte is put: whoever finds this knows what to look for. */
static int
store_begin(struct ingest *in)
{
    struct storage_version *version = &in->version.stored;
    const json_t *before = work_step(&in->work, "store");
    const char *text = json_string_value(json_object_get(before, "version"));
    const char *storage = json_string_value(json_object_get(before, "storage"));
    if (text != NULL && storage != NULL && strcmp(text, version->version) == 0
        && strcmp(storage, in->settings.storage) == 0) {
        version->is_ours = json_is_true(json_object_get(before, "is_ours"))
                           && strcmp(in->playable, version->version) != 0;
        return 0;
    }
    bool is_there = true;
    const int err =
        in->storage->has == NULL
            ? 0
            : in->storage->has(in->storage, &in->progress, version, &is_there);
    if (err != 0)
        return err;
    json_t *files = json_array();
    for (size_t i = 0; i < version->file_count; i++)
        json_array_append_new(files, json_string(version->files[i].name));
    const bool is_ours =
        !is_there && strcmp(in->playable, version->version) != 0;
    return work_step_done(&in->progress, &in->work, "store",
                          json_pack("{s:s, s:s, s:b, s:o}", "version",
                                    version->version, "storage",
                                    in->settings.storage, "is_ours", is_ours,
                                    "files", files));
}

/* What is retired may be taken away at any moment, unless this is said. */
static int
version_keep(struct ingest *in, bool *is_known)
{
    return api_version_keep(&in->progress, &in->settings, in->config->id,
                            in->version.text, is_known);
}

static int
step_store(struct ingest *in)
{
    int err = version_make(&in->progress, &in->plan, in->work.folder,
                           in->config->id, &in->version);
    if (err == 0)
        err = version_keep(in, &in->is_known);
    if (err == 0)
        err = store_begin(in);
    if (err == 0)
        err = in->storage->put(in->storage, &in->progress, &in->version.stored);
    if (err == 0)
        in->is_stored = true;
    return err;
}

/* A version that was stored again for longer than tokens are good may have been
 * taken away meanwhile. From here on it is not. */
static int
stored_check(struct ingest *in)
{
    bool is_known = in->is_known;
    const int err = in->is_known ? version_keep(in, &is_known) : 0;
    if (err != 0 || is_known == in->is_known)
        return err;
    progress_error(&in->progress,
                   "version %s of %s was taken away while it was stored: run "
                   "the same command again",
                   in->version.text, in->config->id);
    return ERR_UPSTREAM;
}

static int
step_publish(struct ingest *in)
{
    char url[SETTING_URL_SIZE + 128];
    struct transfer_answer answer;
    api_url(in, url);
    json_int_t duration_ms = (json_int_t) (in->indexed.duration_s * 1000 + 0.5);
    json_t *tracks;
    int err = stored_check(in);
    if (err != 0)
        return err;
    err = tracks_read(in->work.folder, &tracks);
    if (err != 0) {
        progress_error(&in->progress, "cannot read %s/asset.idx: %s",
                       in->work.folder, err_text(err));
        return err;
    }
    json_t *json = json_pack(
        "{s:s, s:s, s:I, s:o}", "title", in->title, "version", in->version.text,
        "duration_ms", duration_ms > 0 ? duration_ms : 1, "tracks", tracks);
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (text == NULL) {
        progress_error(&in->progress, "out of memory");
        return ERR_MEMORY;
    }
    const struct transfer transfer = {.method = "PUT",
                                      .url = url,
                                      .bearer = in->settings.api_key,
                                      .json = bytes_of_text(text)};
    err = transfer_run_stubborn(&transfer, &answer);
    free(text);
    if (err == 0 && (answer.status == 200 || answer.status == 201))
        return 0;
    /* It was asked and nothing came back: it may have done it. */
    in->is_unsure = err != 0 && !answer.was_refused;
    return api_answer_judge(in, err, &answer);
}

struct step {
    const char *name;
    int (*run)(struct ingest *in);
};

static const struct step steps_of_encoding[] = {
    {"probe", step_probe}, {"check", step_check}, {"encode", step_encode},
    {"index", step_index}, {"store", step_store}, {"publish", step_publish},
    {NULL, NULL},
};

static const struct step steps_of_copying[] = {
    {"probe", step_probe_copy},
    {"check", step_check},
    {"thumbnails", step_thumbnails},
    {"copy", step_copy},
    {"store", step_store},
    {"publish", step_publish},
    {NULL, NULL},
};

/* ---- around the steps ---- */

static int
steps_run(struct ingest *in)
{
    const struct step *step =
        in->config->copy ? steps_of_copying : steps_of_encoding;
    for (; step->name != NULL; step++) {
        progress_begin(&in->progress, step->name);
        int err = stop_signal() != 0 ? ERR_TIMEOUT : step->run(in);
        if (err != 0)
            return err;
        progress_end(&in->progress);
    }
    return 0;
}

static void
result_tell(struct ingest *in)
{
    char duration[32], heights[128] = "";
    json_t *renditions = json_array();
    for (unsigned i = 0; i < in->plan.rung_count; i++) {
        const struct rung *rung = &in->plan.rungs[i];
        size_t len = strlen(heights);
        snprintf(heights + len, sizeof heights - len, " %ux%u", rung->width,
                 rung->height);
        json_array_append_new(renditions, json_pack("{s:i, s:i}", "width",
                                                    (int) rung->width, "height",
                                                    (int) rung->height));
    }
    if (!in->config->json)
        printf("%s is playable: version %s, %s, renditions%s, %u audio, "
               "%u segments, %.1f MB\n",
               in->config->id, in->version.text,
               time_text(in->indexed.duration_s, duration),
               heights[0] != '\0' ? heights : " none", in->plan.audio_count,
               in->indexed.segment_count,
               (double) in->version.stored.size / 1e6);
    progress_event(&in->progress, "done",
                   json_pack("{s:s, s:s, s:s, s:I, s:I, s:i, s:i, s:I, s:o}",
                             "id", in->config->id, "title", in->title,
                             "version", in->version.text, "duration_ms",
                             (json_int_t) (in->indexed.duration_s * 1000 + 0.5),
                             "frames", (json_int_t) in->indexed.frame_count,
                             "audio", (int) in->plan.audio_count, "segments",
                             (int) in->indexed.segment_count, "bytes",
                             (json_int_t) in->version.stored.size, "renditions",
                             renditions));
}

/* What a failed run has stored. */
static void
stored_settle(struct ingest *in, bool is_kept)
{
    if (!in->is_stored || is_kept
        || strcmp(in->playable, in->version.text) == 0)
        return;
    if (in->is_unsure)
        progress_note(&in->progress,
                      "the files stay at %s%s/%s/: st-api may have taken them "
                      "over; run the same command again to be sure",
                      in->settings.storage, in->config->id, in->version.text);
    else
        in->storage->discard(in->storage, &in->version.stored);
}

static int
ingest_run(struct ingest *in)
{
    int err = storage_new(&in->settings, &in->storage);
    if (err == 0)
        err = steps_run(in);
    const bool is_kept =
        err != 0 && in->config->keep_work
        && (stop_signal() != 0 || storage_err_is_temporary(err));
    if (stop_signal() != 0 && err != 0)
        progress_error(&in->progress, "interrupted: nothing was made playable");
    if (err != 0)
        stored_settle(in, is_kept);
    copy_close(&in->copy);
    subtitles_free(in->subtitles, in->plan.subtitles_count);
    if (is_kept)
        work_leave(&in->work);
    else
        work_end(&in->work);
    if (in->storage != NULL)
        in->storage->free(in->storage);
    if (err == 0)
        result_tell(in);
    return err;
}

static bool
is_title(const char *text)
{
    json_t *json = json_string(text); /* NULL when it is not UTF-8 */
    size_t len = strlen(text);
    bool is_plain = json != NULL && len >= 1 && len <= TITLE_LEN_MAX;
    for (size_t i = 0; i < len; i++)
        is_plain = is_plain && (uint8_t) text[i] >= 0x20 && text[i] != 0x7f;
    json_decref(json);
    return is_plain;
}

/* The file's name without its ending, where that can be a title. */
static void
title_set(struct ingest *in)
{
    const char *title = in->config->title;
    const char *slash = strrchr(in->film, '/');
    char name[TITLE_LEN_MAX + 1];
    if (title == NULL) {
        snprintf(name, sizeof name, "%s", slash ? slash + 1 : in->film);
        char *dot = strrchr(name, '.');
        if (dot != NULL && dot != name)
            *dot = '\0';
        title = is_title(name) ? name : in->config->id;
    }
    snprintf(in->title, sizeof in->title, "%s", title);
}

static int
config_check(struct ingest *in)
{
    const struct config *config = in->config;
    struct progress *progress = &in->progress;
    if (in->film_count == 0) {
        progress_error(progress, "say which film: FILE, or --jobs LIST");
        return ERR_INVALID;
    }
    if (config->id == NULL) {
        progress_error(progress, "say which content it is: --id ID");
        return ERR_INVALID;
    }
    if (in->film_count > 1 && !config->copy) {
        progress_error(progress,
                       "%u files given, expected one; several are renditions "
                       "of one film with --copy",
                       in->film_count);
        return ERR_INVALID;
    }
    if (!content_id_is_valid(bytes_of_text(config->id))) {
        progress_error(progress,
                       "--id '%s': expected 1 to %d of A-Z a-z 0-9 "
                       ". _ - and no dot at the start",
                       config->id, CONTENT_ID_LEN_MAX);
        return ERR_INVALID;
    }
    if (config->title != NULL && !is_title(config->title)) {
        progress_error(progress,
                       "--title: expected 1 to %d bytes of UTF-8 "
                       "without control characters",
                       TITLE_LEN_MAX);
        return ERR_INVALID;
    }
    in->is_auto = strcmp(config->ladder, "auto") == 0;
    if (!in->is_auto
        && ladder_parse(config->ladder, in->heights, &in->height_count) != 0) {
        progress_error(progress,
                       "--ladder '%s': expected 1 to %d different "
                       "heights of 64 to 4320, as 720,480,360, or auto",
                       config->ladder, LADDER_RUNGS_MAX);
        return ERR_INVALID;
    }
    if (codec_parse(config->codec, &in->codec) != 0) {
        progress_error(progress, "--codec '%s': expected h264, hevc or av1",
                       config->codec);
        return ERR_INVALID;
    }
    if (config->crf > (int64_t) codec_crf_max(in->codec)) {
        progress_error(progress, "--crf %lld: %s has %u at most",
                       (long long) config->crf, config->codec,
                       codec_crf_max(in->codec));
        return ERR_INVALID;
    }
    if (!preset_is_known(config->preset)) {
        progress_error(progress,
                       "--preset '%s': expected one of x264's, "
                       "ultrafast to veryslow",
                       config->preset);
        return ERR_INVALID;
    }
    return 0;
}

/* Is it this option, and is its value in the next argument? */
static bool
argument_is(const char *argument, const char *name, bool *has_next)
{
    const size_t len = strlen(name);
    if (strncmp(argument, "--", 2) != 0
        || strncmp(argument + 2, name, len) != 0)
        return false;
    *has_next = argument[2 + len] == '\0';
    return *has_next || argument[2 + len] == '=';
}

/* What is said for all jobs. The list's own options go. */
static void
jobs_arguments(int argc, char **argv, char **out)
{
    static const char *const own[] = {"jobs", "workers", "retries",
                                      "retry-pause", "results"};
    size_t count = 0;
    for (int i = 1; i < argc; i++) {
        bool is_own = false, has_next = false;
        for (size_t k = 0; !is_own && k < sizeof own / sizeof *own; k++)
            is_own = argument_is(argv[i], own[k], &has_next);
        if (is_own)
            i += has_next;
        else if (strcmp(argv[i], "--json") != 0 && strcmp(argv[i], "--") != 0)
            out[count++] = argv[i];
    }
    out[count] = NULL;
}

static int
jobs_main(struct ingest *in, int argc, char **argv)
{
    const struct config *config = in->config;
    char **common = calloc((size_t) argc + 1, sizeof *common);
    if (in->film_count > 0 || config->id != NULL || config->title != NULL) {
        progress_error(&in->progress, "with --jobs, films, ids and titles are "
                                      "said in the list");
        free(common);
        return 2;
    }
    if (common == NULL) {
        progress_error(&in->progress, "out of memory");
        return 1;
    }
    jobs_arguments(argc, argv, common);
    const struct jobs_config jobs = {
        .path = config->jobs,
        .results = config->results,
        .workers = (unsigned) config->workers,
        .retries = (unsigned) config->retries,
        .pause_ms = (uint64_t) config->retry_pause_ms,
        .program = &program,
        .argv = common,
    };
    stop_signals_catch();
    const int status = jobs_run(&in->progress, &jobs);
    free(common);
    return status;
}

int
ingest_main(int argc, char **argv)
{
    static struct config config;
    static struct ingest in; /* too large for the stack */
    int first = options_parse(&program, argc, argv, &config);
    in.config = &config;
    in.film = argv[first];
    in.films = argv + first;
    in.film_count = (unsigned) (argc - first);
    progress_init(&in.progress, program.name, config.json);
    if (config.jobs != NULL && config.jobs[0] != '\0')
        return jobs_main(&in, argc, argv);
    int err = config_check(&in);
    if (err == 0)
        err = settings_read(&in.progress, &config.given, &in.settings);
    if (err != 0)
        return err == ERR_INVALID ? 2 : 1;
    title_set(&in);
    stop_signals_catch();
    setenv("SVT_LOG", "1", 0); /* errors alone: it speaks past FFmpeg's log */
    transfer_patience_set((uint64_t) config.patience_ms, progress_waiting,
                          &in.progress);
    err = ingest_run(&in);
    settings_fini(&in.settings);
    if (err == 0)
        return 0;
    if (stop_signal() != 0)
        return 128 + stop_signal();
    return config.keep_work && storage_err_is_temporary(err) ? EXIT_TEMPORARY
                                                             : 1;
}
