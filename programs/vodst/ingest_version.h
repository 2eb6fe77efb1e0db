/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_VERSION_H
#define PROGRAMS_VODST_INGEST_VERSION_H

/*
 * The files of one version of a content, as encoded and indexed, and the
 * version's name: a hash of their bytes, with "drm-" before it where the version
 * is protected.
 */

#include "programs/vodst/ingest_encode.h"
#include "programs/vodst/ingest_storage.h"
#include "programs/vodst/ingest_subtitles.h"

/* Of what is sent to nobody in the clear: origins go by it. */
#define VERSION_PROTECTED "drm-"
#define VERSION_HASH_SIZE 6
#define VERSION_TEXT_SIZE (sizeof VERSION_PROTECTED + 2 * VERSION_HASH_SIZE)
#define VERSION_FILES_MAX                                       \
    (2                                                          \
         * (LADDER_RUNGS_MAX + SOURCE_AUDIO_MAX + SUBTITLES_MAX \
            + THUMBNAIL_TRACKS)                                 \
     + 1)
_Static_assert(VERSION_FILES_MAX <= STORAGE_FILES_MAX, "all can be stored");

struct version {
    struct storage_version stored; /* points into what follows */
    struct storage_file files[VERSION_FILES_MAX];
    char names[VERSION_FILES_MAX][TRACK_NAME_LEN_MAX + 8];
    char paths[VERSION_FILES_MAX][PATH_MAX];
    char text[VERSION_TEXT_SIZE];
};

/*
 * Lists what the plan left in the folder and reads it all for the hash. Tells
 * what is wrong by progress_error: ERR_IO, ERR_MEMORY; ERR_TIMEOUT when told
 * to stop.
 */
int version_make(struct progress *progress, const struct encode_plan *plan,
                 const char *folder, const char *content, bool is_protected,
                 struct version *out);

#endif
