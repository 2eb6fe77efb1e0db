/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_COPY_H
#define PROGRAMS_VODST_INGEST_COPY_H

/*
 * A film that is taken in as it is, with nothing encoded: which tracks of which
 * files become its renditions and sounds, and where all of them are cut.
 */

#include "media/mp4/mp4.h"
#include "programs/vodst/ingest_encode.h"

#define COPY_FILES_MAX (LADDER_RUNGS_MAX + SOURCE_AUDIO_MAX)

/* What can be done where copying cannot. */
#define COPY_REMEDY "leave out --copy, and it is encoded"

struct copy_file {
    const char *path; /* as given */
    int fd;
    struct mp4_source source;
    struct mp4_movie movie;
};

struct copy_track {
    const struct copy_file *file;
    const struct mp4_track *track;
    uint64_t size; /* bytes of its samples */
};

struct copy {
    struct copy_file files[COPY_FILES_MAX];
    struct copy_track videos[LADDER_RUNGS_MAX]; /* v0, v1, ...: best first */
    struct copy_track audio[SOURCE_AUDIO_MAX];  /* a0, a1, ... */
    unsigned file_count, video_count, audio_count;
    uint64_t *cuts; /* malloc'ed; whoever takes it sets NULL */
    uint32_t cut_count, cut_timescale;
    uint64_t size; /* bytes of all samples */
};

/*
 * Opens the files: every picture is a rendition, and must have key frames where
 * the others are cut, or the message names the file and the time. Sounds are
 * those of the first file with a picture, and of the files without one, text
 * that of the first file (ingest_subtitles.h). What is
 * to be known of the film goes to `source` and `plan`, whose segment_ms says
 * how long segments should be. `out` is zero before, and for copy_close after,
 * whatever comes of it; the paths stay the caller's. Tells what is wrong by
 * progress_error: ERR_INVALID, ERR_UNSUPPORTED, ERR_LIMIT, ERR_NOT_FOUND,
 * ERR_IO, ERR_MEMORY.
 */
int copy_open(struct progress *progress, char *const *paths, unsigned count,
              struct source *source, struct encode_plan *plan,
              struct copy *out);
void copy_close(struct copy *copy);

#endif
