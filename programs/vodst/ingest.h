/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_H
#define PROGRAMS_VODST_INGEST_H

/* What the parts of `vodst ingest` share: the options, the one run and its
 * steps. All tell what is wrong by progress_error. */

#include "core/content.h"
#include "platform/options.h"
#include "programs/vodst/ingest_copy.h"
#include "programs/vodst/ingest_index.h"
#include "programs/vodst/ingest_progress.h"
#include "programs/vodst/ingest_settings.h"
#include "programs/vodst/ingest_version.h"
#include "programs/vodst/ingest_work.h"

#define TITLE_LEN_MAX 200 /* bytes; what st-api takes */

struct ingest_config {
    const char *id, *title, *ladder, *preset, *temp, *jobs, *results, *codec;
    double loudness_lufs;
    struct option_list subtitles, forced_subtitles;
    struct settings_given given;
    int64_t segment_ms, crf, threads, thumbnail_ms, thumbnail_size, patience_ms,
        piece_ms, workers, retries, retry_pause_ms;
    bool no_thumbnails, copy, keep_work, json, is_protected;
};

struct ingest {
    const struct ingest_config *config;
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

/* From the first step to what is told at the end. A failed run leaves nothing
 * behind but, with --keep-work, what another can go on with. */
int ingest_run(struct ingest *in);

/* Opens the work folder of this film, this content and these options, with what
 * a run before this one finished. What killed runs left that nobody will ask
 * for goes, also from the storage. As work_open. */
int work_resume(struct ingest *in);

/* The film may have been replaced while it was read: ERR_INVALID. Of an open
 * work folder. */
int film_check(struct ingest *in);

/* Would storage and st-api take the result? Finds which version is playable. */
int step_check(struct ingest *in);

/* What the film is, and what to make of it. */
int step_probe(struct ingest *in);
int step_probe_copy(struct ingest *in);

/* Into the work folder: renditions, or thumbnails alone, and then all files of
 * the version. */
int step_encode(struct ingest *in);
int step_index(struct ingest *in);
int step_thumbnails(struct ingest *in);
int step_copy(struct ingest *in);

/* From there into the storage, and then st-api is told. */
int step_store(struct ingest *in);
int step_publish(struct ingest *in);

#endif
