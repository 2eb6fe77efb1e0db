/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_SOURCE_H
#define PROGRAMS_VODST_INGEST_SOURCE_H

/*
 * What the film to be ingested is, as ffprobe tells it, and whether it can be
 * played at all.
 */

#include "media/track.h"
#include "programs/vodst/ingest_progress.h"

#include <limits.h>

#define SOURCE_AUDIO_MAX 8

/* Kinds of files that are taken, by FFmpeg's names: films and music, and none
 * that would make FFmpeg open other files or addresses (playlists). */
#define SOURCE_FORMATS                                                      \
    "mov,matroska,mpegts,mpeg,avi,flv,asf,mxf,ogg,rm,wav,mp3,aac,flac,ac3," \
    "eac3,aiff,nut,dv,gif,ivf,w64,wtv,caf,yuv4mpegpipe"

struct source_audio {
    int stream; /* FFmpeg's number of it */
    unsigned channels, sample_rate;
    double end_s; /* when it ends, from the film's start; 0: not known */
    char language[TRACK_LANGUAGE_LEN_MAX + 1];
    char label[TRACK_LABEL_LEN_MAX + 1];
};

struct source {
    char path[PATH_MAX]; /* absolute */
    uint64_t size;       /* bytes */
    double duration_s;   /* 0: not known */
    bool is_mp4;
    bool has_text; /* of a kind that media/mp4/mp4_text.h reads */
    double zero_s; /* the film's time 0 in the times that the file has */
    bool has_exact_duration; /* as told by the file, not estimated */
    bool has_video;
    int video_stream;
    unsigned width, height; /* as displayed: turned, pixels square */
    unsigned frame_rate_num, frame_rate_den;
    unsigned time_base_num, time_base_den;
    int64_t video_start_ticks; /* the first picture's, as the file has it */
    bool can_seek;             /* to a picture, by an index of its own */
    bool is_constant_rate;
    bool is_interlaced;
    enum video_range video_range; /* as the file says; unknown: standard */
    uint64_t frame_count;         /* as the file says; 0: it does not */
    double video_start_s;         /* after the film's start */
    double video_duration_s;      /* 0: not known */
    struct source_audio audio[SOURCE_AUDIO_MAX];
    unsigned audio_count;
};

/*
 * Tells what is wrong by progress_error: ERR_INVALID (not a film, broken),
 * ERR_NOT_FOUND (no such file, no ffprobe), ERR_IO, ERR_TIMEOUT (told to
 * stop).
 */
int source_probe(struct progress *progress, const char *path,
                 struct source *out);

/* The part that looks at the file from outside: sets path and size, or tells
 * what is wrong with it. */
int source_file_check(struct progress *progress, const char *path,
                      struct source *out);

/* Does it begin with a box, as MP4 and QuickTime files do? */
bool source_is_mp4(const char *path);

/* The part that reads ffprobe's JSON; *reason is static text on failure. Sets
 * all but path and size. */
int source_parse(struct bytes json, struct source *out, const char **reason);

/* "ger" -> "de"; what has no two-letter code stays. out: BCP 47 or "und". */
void language_normalise(const char *tag, char out[TRACK_LANGUAGE_LEN_MAX + 1]);

#endif
