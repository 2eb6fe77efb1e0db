/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vodst ingest: a film in, a playable content out. This is its command line;
 * what is done then is in ingest_run.c, or for a list of films in ingest_jobs.c.
 */

#include "programs/vodst/ingest.h"

#include "core/err.h"
#include "programs/vodst/ingest_child.h"
#include "programs/vodst/ingest_jobs.h"
#include "programs/vodst/ingest_pieces.h"
#include "programs/vodst/ingest_settings_options.h"
#include "programs/vodst/ingest_transfer.h"
#include "programs/vodst/vodst.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option options[] = {
    {"id", OPTION_TEXT, offsetof(struct ingest_config, id), NULL, 0, 0, false,
     NULL,
     "Id of the content: 1 to 64 of A-Z a-z 0-9 . _ -; one that exists gets a "
     "new version."},
    {"title", OPTION_TEXT, offsetof(struct ingest_config, title), NULL, 0, 0,
     false, NULL, "Title for people; by default the file's name."},
    {"subtitles", OPTION_LIST, offsetof(struct ingest_config, subtitles), NULL,
     0, 0, false, NULL,
     "FILE[:LANGUAGE[:LABEL]], as film.srt:en:English: subtitles beside the "
     "film, WebVTT or SubRip in UTF-8, UTF-16 with its mark, or Windows-1252. "
     "May be given often. A colon in FILE's name cannot be written. Tracks of "
     "text in an MP4 (wvtt, tx3g) are taken without this."},
    {"forced-subtitles", OPTION_LIST,
     offsetof(struct ingest_config, forced_subtitles), NULL, 0, 0, false, NULL,
     "FILE[:LANGUAGE[:LABEL]]: the same, of what a viewer who wants no "
     "subtitles has to read all the same, as signs and what is spoken in "
     "another language than the film's."},
    SETTINGS_STORAGE_OPTIONS(struct ingest_config, given),
    {"s3-part-size", OPTION_SIZE,
     offsetof(struct ingest_config, given.s3.part_size), NULL, 5 << 20,
     5368709120.0, false, NULL,
     "Files above this go in parts of it, 16M by default; in larger ones when "
     "there would be over 1000."},
    {"fill-secret-file", OPTION_TEXT,
     offsetof(struct ingest_config, given.fill_secret_file), NULL, 0, 0, false,
     NULL,
     "File with the secret that lets one read from the storage; without it "
     "the stored sizes may not be readable, and are then not verified."},
    SETTINGS_API_OPTIONS(struct ingest_config, given),
    {"copy", OPTION_FLAG, offsetof(struct ingest_config, copy), NULL, 0, 0,
     false, NULL,
     "Takes MP4 and QuickTime files in as they are, with nothing encoded. "
     "Several are renditions of one film, with key frames at the same times; "
     "files without a picture are its sounds."},
    {"protected", OPTION_FLAG, offsetof(struct ingest_config, is_protected),
     NULL, 0, 0, false, NULL,
     "The film is sent to nobody in the clear: players need licenses. Its "
     "version's name begins with drm-, which origins go by."},
    {"ladder", OPTION_TEXT, offsetof(struct ingest_config, ladder),
     "720,480,360", 0, 0, false, NULL,
     "Heights of the renditions (of the shorter side, for upright films). "
     "Those above the film's own are left out. auto: some seconds of the film "
     "are encoded first at heights from 2160 to 216, and those are made that "
     "take much less than the one above, with peaks as they are needed."},
    {"segment", OPTION_DURATION, offsetof(struct ingest_config, segment_ms),
     "4s", 1000, 30000, false, NULL,
     "Length of a segment; there is a key frame at every half of it. With "
     "--copy, where the film has its next key frame after that."},
    {"piece", OPTION_DURATION, offsetof(struct ingest_config, piece_ms), "2m",
     1000, PIECE_MS_MAX, false, NULL,
     "A longer film of constant frame rate, in MP4 or Matroska, is encoded in "
     "pieces of this length, and one that was killed goes on behind the last "
     "whole piece. Shorter ones cost bytes at each start."},
    {"thumbnails", OPTION_DURATION,
     offsetof(struct ingest_config, thumbnail_ms), "10s", 1000, 600000, false,
     NULL, "Time from one thumbnail to the next, for seeking by eye."},
    {"thumbnail-size", OPTION_INTEGER,
     offsetof(struct ingest_config, thumbnail_size), "320", 32, 1024, false,
     NULL,
     "Pixels of the longer side of a thumbnail; no more than the film's."},
    {"no-thumbnails", OPTION_FLAG,
     offsetof(struct ingest_config, no_thumbnails), NULL, 0, 0, false, NULL,
     "Makes no thumbnails."},
    {"preset", OPTION_TEXT, offsetof(struct ingest_config, preset), "veryfast",
     0, 0, false, NULL,
     "How hard the encoder tries, by x264's names, ultrafast to veryslow: "
     "slower "
     "is smaller."},
    {"codec", OPTION_TEXT, offsetof(struct ingest_config, codec), "h264", 0, 0,
     false, NULL,
     "h264, which everything plays, hevc or av1, which take less. A film of "
     "high dynamic range (PQ, HLG) keeps it with hevc and av1, in 10 bits, and "
     "is brought into the standard range for h264."},
    {"loudness", OPTION_NUMBER, offsetof(struct ingest_config, loudness_lufs),
     NULL, -70, 0, false, "LUFS",
     "Brings each sound to this loudness by EBU R 128, -23 in broadcasting, by "
     "one gain as far as its peaks allow. It is read once more for that. "
     "Without this, or with 0, sounds are as loud as they are."},
    {"threads", OPTION_INTEGER, offsetof(struct ingest_config, threads), "0", 0,
     64, false, NULL,
     "Threads of the video encoder; 0 takes what the machine has. With 1 the "
     "same film always gives the same bytes, and so the same version: x264's "
     "rate control over several threads depends on their timing."},
    {"crf", OPTION_INTEGER, offsetof(struct ingest_config, crf), "-1", -1, 63,
     false, NULL,
     "Quality, to 51, of av1 to 63: of h264, 18 is fine and 28 is coarse. -1 "
     "is 23 of h264, 26 of hevc and 35 of av1."},
    {"temp", OPTION_TEXT, offsetof(struct ingest_config, temp), NULL, 0, 0,
     false, NULL,
     "Folder for the files while they are made; by default $TMPDIR, else "
     "/var/tmp. It needs room for all renditions twice. A run that was killed "
     "leaves vodst-ingest-ID-... there, and the same command goes on with "
     "it; another one for the same ID takes it away, and any after a week."},
    {"keep-work", OPTION_FLAG, offsetof(struct ingest_config, keep_work), NULL,
     0, 0, false, NULL,
     "Leaves what was done so far to the next run also when storage or st-api "
     "fails, or this program is told to stop; else only a kill does. A failure "
     "that may be over later then has exit status 75."},
    {"patience", OPTION_DURATION, offsetof(struct ingest_config, patience_ms),
     "5m", 0, 86400000, false, NULL,
     "How long to wait, with growing pauses, for a storage or an st-api that "
     "goes away while files are put and the content is registered."},
    {"jobs", OPTION_TEXT, offsetof(struct ingest_config, jobs), NULL, 0, 0,
     false, NULL,
     "A list of films instead of FILE, one JSON object a line: \"film\" (a "
     "path "
     "or several), \"id\", and any of these options by name, as {\"film\": "
     "\"a.mov\", \"id\": \"a\", \"title\": \"A\", \"crf\": 20}. What is said "
     "here holds for all. One that fails does not stop the others."},
    {"workers", OPTION_INTEGER, offsetof(struct ingest_config, workers), "1", 1,
     JOB_WORKERS_MAX, false, NULL, "Jobs at a time."},
    {"retries", OPTION_INTEGER, offsetof(struct ingest_config, retries), "3", 0,
     100, false, NULL,
     "How often a job is tried again that failed by what may be over later: a "
     "storage or an st-api that is away, a full disk, a kill. What is wrong "
     "with the film is not."},
    {"retry-pause", OPTION_DURATION,
     offsetof(struct ingest_config, retry_pause_ms), "10s", 0, 600000, false,
     NULL,
     "Time before a job is tried again; twice as long each time, 10m at most."},
    {"results", OPTION_TEXT, offsetof(struct ingest_config, results), NULL, 0,
     0, false, NULL,
     "Where a JSON line is kept of each job that ended; by default the list's "
     "name and .results. Jobs that are done there are not done again, unless "
     "their line or their film changed."},
    {"json", OPTION_FLAG, offsetof(struct ingest_config, json), NULL, 0, 0,
     false, NULL,
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
    const struct ingest_config *config = in->config;
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

static int
jobs_main(struct ingest *in, char **argv)
{
    const struct ingest_config *config = in->config;
    if (in->film_count > 0 || config->id != NULL || config->title != NULL) {
        progress_error(&in->progress, "with --jobs, films, ids and titles are "
                                      "said in the list");
        return 2;
    }
    const struct jobs_config jobs = {
        .path = config->jobs,
        .results = config->results,
        .workers = (unsigned) config->workers,
        .retries = (unsigned) config->retries,
        .pause_ms = (uint64_t) config->retry_pause_ms,
        .program = &program,
        .argv = argv,
    };
    stop_signals_catch();
    return jobs_run(&in->progress, &jobs);
}

int
ingest_main(int argc, char **argv)
{
    static struct ingest_config config;
    static struct ingest in; /* too large for the stack */
    int first = options_parse(&program, argc, argv, &config);
    in.config = &config;
    in.film = argv[first];
    in.films = argv + first;
    in.film_count = (unsigned) (argc - first);
    progress_init(&in.progress, program.name, config.json);
    if (config.jobs != NULL && config.jobs[0] != '\0')
        return jobs_main(&in, argv);
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
