/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_INDEX_H
#define MEDIA_INDEX_H

/*
 * The index of a track file ("<track>.idx" beside "<track>.mp4"): where each
 * segment's bytes lie and what its samples are, so that a playlist, an init
 * segment and the header of any segment are written without reading the film.
 * Versioned, checksummed, position independent: mapped or read anywhere.
 */

#include "media/pathways.h"
#include "media/track.h"

#define INDEX_SIZE_MAX (256u << 20) /* bytes */
#define INDEX_SEGMENTS_MAX 1000000u
#define INDEX_SAMPLES_MAX 20000000u

struct segment {
    uint32_t number;       /* from 0 */
    uint32_t first_sample; /* from 0 */
    uint32_t sample_count;
    uint64_t offset; /* of its bytes in the track file: one range */
    uint32_t size;   /* bytes */
    uint64_t decode_time; /* ticks; of the first sample; tfdt */
    uint32_t duration;    /* ticks; what EXTINF says */
};

struct sample {
    uint32_t size;     /* bytes */
    uint32_t duration; /* ticks */
    int32_t composition_offset; /* ticks, media_time already taken off for
                                 * video: the first frame is presented at 0 */
    bool is_sync;
};

/* An opened index: plain data pointing into the file's bytes. */
struct track_index {
    struct track_info info;
    struct bytes file;
    const uint8_t *segments;
    const uint8_t *samples;
    uint32_t sample_record_size;
    /* of the format, for index_format.h */
    uint32_t sample_flags, duration_default, duration_last;
};

/* Checks all that the functions below rely on, sample records included.
 * ERR_TRUNCATED, ERR_VERSION, ERR_CHECKSUM, ERR_INVALID, ERR_LIMIT. */
int track_index_open(struct bytes file, struct track_index *out);

/* ERR_NOT_FOUND past the last. */
int track_index_segment(const struct track_index *index, uint32_t number,
                        struct segment *out);
/* number < index->info.sample_count, asserted. */
void track_index_sample(const struct track_index *index, uint32_t number,
                        struct sample *out);

/* ---- CMAF (ISO/IEC 23000-19), written from the index ---- */

/* ftyp + moov; an edit list passes over media_time: AAC priming, and the delay
 * of B-frames, so that the first frame is presented at 0. */
void cmaf_init_write(const struct track_info *info, struct buffer *out);

/* styp + moof + the header of mdat: exactly what precedes the segment's bytes.
 * sequence_number is segment number + 1. `segment` is one of this index. A
 * buffer over memory of cmaf_segment_header_size bytes never grows. */
void cmaf_segment_header_write(const struct track_index *index,
                               const struct segment *segment,
                               struct buffer *out);
size_t cmaf_segment_header_size(const struct track_index *index,
                                const struct segment *segment);

/* ---- HLS (RFC 8216bis), written from the index ---- */

/* Media playlist: "init.mp4", "<n>.m4s" relative to it; VOD, exact EXTINF. */
void hls_media_playlist_write(const struct track_index *index,
                              struct buffer *out);

/* Multivariant: "<track>/index.m3u8" relative to it, or to each pathway's base;
 * steering NULL: no pathways. */
void hls_multivariant_write(const struct asset *asset,
                            const struct pathways *steering,
                            struct buffer *out);

/* ---- DASH (ISO/IEC 23009-1), written from the tracks ---- */

/* MPD: "<track>/init.mp4", "<track>/<n>.m4s" relative to it, or to each
 * pathway's base. A URL of a segment is the same at every pathway: it has the
 * first query that one of them has. */
void dash_mpd_write(const struct asset *asset, const struct pathways *steering,
                    struct buffer *out);

/* ---- made at ingest ---- */

struct mp4_track;

/* Where video is cut: at 0, then at the first sync sample at or after the next
 * multiple of target_ms behind the last cut. The multiples count from 0 and
 * not from the last cut, or a key frame that an encoder forces at 44.002 s
 * would be passed over when the one before came at 40.04 s. Presentation times
 * in ticks of `track`; *cuts is malloc'ed. */
int segment_cuts_of_video(const struct mp4_track *track, uint32_t target_ms,
                          uint64_t **cuts, uint32_t *cut_count);

/*
 * Makes the index of a single-track file. `cuts` are presentation times in
 * ticks of cut_timescale, ascending from 0; audio is cut at the frame nearest
 * to each, video at the sync sample within half a frame of it (ERR_INVALID
 * where there is none). Cuts behind the end of the track are passed over.
 * ERR_UNSUPPORTED when a segment's samples are not one range of the file, or
 * a frame is presented before the edit list starts. `name`, `label` and
 * `language` go into the info; label NULL is none, language NULL the track's.
 * Appends nothing on failure.
 */
struct index_build {
    const struct mp4_track *track;
    uint64_t media_size;
    const uint64_t *cuts;
    uint32_t cut_count;
    uint32_t cut_timescale;
    const char *name, *label, *language;
};
int track_index_build(const struct index_build *build, struct buffer *out);

#endif
