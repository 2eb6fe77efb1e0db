/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_INDEX_H
#define MEDIA_INDEX_H

/*
 * The stored form of a track. "<track>.mp4" is a CMAF track file that any
 * player plays, one piece behind the other:
 *
 *   ftyp moov
 *   for each segment:
 *     free                map_size     media/segment_map.h
 *     styp moof mdat's    header_size  \  the segment as it is served:
 *     samples             size         /  one range, from a page's start
 *
 * Of text it is "<track>.text": all of it as one WebVTT file, then segments of
 * WebVTT, each with a header and the cues that are seen in it; no maps.
 *
 * Of thumbnails it is "<track>.sheets": JPEG pictures, each with a grid of
 * thumbnails, from left to right and then down; no maps, no headers.
 *
 * "<track>.idx" beside it says where each segment lies, so that a playlist, an
 * init segment and any segment are served without reading the film. Versioned,
 * checksummed, position independent: mapped or read anywhere.
 */

#include "media/pathways.h"
#include "media/track.h"

#define INDEX_SIZE_MAX (256u << 20) /* bytes */
#define INDEX_SEGMENTS_MAX 1000000u

struct segment {
    uint32_t number; /* from 0 */
    uint32_t sample_count;
    uint64_t offset;      /* in the track file, of its map */
    uint32_t map_size;    /* bytes */
    uint32_t header_size; /* bytes */
    uint32_t size;        /* bytes of its samples */
    uint32_t key_size;    /* bytes of the first if it is a sync sample, or 0 */
    uint64_t decode_time; /* ticks; of the first sample; tfdt */
    uint32_t duration;    /* ticks; what EXTINF says */
};

/* Where in the track file what is served starts, and its bytes. */
static inline uint64_t
segment_start(const struct segment *segment)
{
    return segment->offset + segment->map_size;
}

/* Where in it the samples start. */
static inline uint64_t
segment_samples_start(const struct segment *segment)
{
    return segment_start(segment) + segment->header_size;
}

static inline uint64_t
segment_length(const struct segment *segment)
{
    return (uint64_t) segment->header_size + segment->size;
}

/* Of those, the bytes to the end of its key frame. */
static inline uint64_t
segment_key_length(const struct segment *segment)
{
    return (uint64_t) segment->header_size + segment->key_size;
}

/* What the track file is called behind the track's name. */
static inline const char *
track_file_suffix(const struct track_info *info)
{
    switch (info->kind) {
    case TRACK_VIDEO:
    case TRACK_AUDIO:
        break;
    case TRACK_TEXT:
        return ".text";
    case TRACK_IMAGE:
        return ".sheets";
    }
    return ".mp4";
}

struct sample {
    uint32_t size;              /* bytes */
    uint32_t duration;          /* ticks */
    int32_t composition_offset; /* ticks, media_time already taken off for
                                 * video: the first frame is presented at 0 */
    bool is_sync;
};

/* An opened index: plain data pointing into the file's bytes. */
struct track_index {
    struct track_info info;
    const uint8_t *segments; /* records of index_format.h */
};

/* Checks all that the functions below rely on: segments that follow each other
 * in the file and in time, to the end of both.
 * ERR_TRUNCATED, ERR_VERSION, ERR_CHECKSUM, ERR_INVALID, ERR_LIMIT. */
int track_index_open(struct bytes file, struct track_index *out);

/* ERR_NOT_FOUND past the last. */
int track_index_segment(const struct track_index *index, uint32_t number,
                        struct segment *out);

/* The whole of a text as if it were a segment, behind the last by its number;
 * only where and how large it is is set. ERR_NOT_FOUND for other tracks. */
int track_index_whole(const struct track_index *index, struct segment *out);

/* ---- CMAF (ISO/IEC 23000-19) ---- */

/* ftyp + moov; an edit list passes over media_time: AAC priming, and the delay
 * of B-frames, so that the first frame is presented at 0. */
void cmaf_init_write(const struct track_info *info, struct buffer *out);

struct segment_map;

/* styp + moof + the header of mdat: exactly what precedes the segment's bytes.
 * sequence_number is segment number + 1; number, size and decode_time are used
 * of the segment, and the samples of its map. A buffer over memory of
 * cmaf_segment_header_size bytes never grows. */
void cmaf_segment_header_write(const struct track_info *info,
                               const struct segment *segment,
                               const struct segment_map *map,
                               struct buffer *out);
uint32_t cmaf_segment_header_size(const struct track_info *info,
                                  const struct segment *segment,
                                  const struct segment_map *map);

/* ---- HLS (RFC 8216bis), written from the index ---- */

/* Media playlist: "init.mp4", "<n>.m4s" relative to it, "<n>.vtt" of text or
 * "<n>.jpg" of images; VOD, exact EXTINF. */
void hls_media_playlist_write(const struct track_index *index,
                              struct buffer *out);

/* I-frame playlist of video: the key frame that each segment starts with, as
 * a range of the segment. */
void hls_iframe_playlist_write(const struct track_index *index,
                               struct buffer *out);

/* Multivariant: "<track>/index.m3u8" relative to it, or to each pathway's base;
 * steering NULL: no pathways. */
void hls_multivariant_write(const struct asset *asset,
                            const struct pathways *steering,
                            struct buffer *out);

/* ---- DASH (ISO/IEC 23009-1), written from the tracks ---- */

/* MPD: "<track>/init.mp4", "<track>/<n>.m4s", of text "<track>/all.vtt" or, of
 * a part of the film, "<track>/<first>-<last>.vtt" (media/text/text_part.h), of
 * images "<track>/<n>.jpg" relative to it, or to each pathway's base; with
 * has_trick_play "<track>/iframes/<n>.m4s", media/key_frame.h, too. A URL of a
 * segment is the same at every pathway: it has the first query that one of
 * them has. */
void dash_mpd_write(const struct asset *asset, const struct pathways *steering,
                    struct buffer *out);

/* ---- made at ingest ---- */

struct mp4_source;
struct mp4_track;

/* Where video is cut: at 0, then at the first sync sample at or after the next
 * multiple of target_ms behind the last cut. The multiples count from 0 and
 * not from the last cut, or a key frame that an encoder forces at 44.002 s
 * would be passed over when the one before came at 40.04 s. Presentation times
 * in ticks of `track`; *cuts is malloc'ed. */
int segment_cuts_of_video(const struct mp4_track *track, uint32_t target_ms,
                          uint64_t **cuts, uint32_t *cut_count);

/* Of sound alone, which has no key frames: every target_ms, in ms. */
int segment_cuts_of_audio(const struct mp4_track *track, uint32_t target_ms,
                          uint64_t **cuts, uint32_t *cut_count);

/* Sound that goes on behind the last of these malloc'ed cuts is cut every
 * target_ms, too. It does nothing for the sound whose cuts they are. */
int segment_cuts_extend(const struct mp4_track *track, uint32_t target_ms,
                        uint32_t cut_timescale, uint64_t **cuts,
                        uint32_t *cut_count);

struct track_build;

/* The first of the cuts, from the second on, that the video of the build has no
 * key frame for; cut_count where there is one for each. Only track and cuts are
 * used. */
uint32_t segment_cuts_missed(const struct track_build *build);

/* What comes goes out in order; an error ends the building. */
struct track_sink {
    int (*write)(void *context, struct bytes bytes);
    void *context;
};

/*
 * Makes the stored form of one track of an MP4, whose samples may lie anywhere
 * in `source`: the track file goes to `sink`, the index is appended to *index,
 * or nothing on failure. `cuts` are presentation times in ticks of
 * cut_timescale, ascending from 0; audio is cut at the frame nearest to each,
 * video at the sync sample within half a frame of it (ERR_INVALID where there
 * is none). Cuts behind the end of the track are passed over. ERR_UNSUPPORTED
 * when a frame is presented before the edit list starts. `name`, `label` and
 * `language` go into the info; label NULL is none, language NULL the track's.
 */
struct track_build {
    const struct mp4_track *track;
    const struct mp4_source *source;
    struct track_sink sink;
    const uint64_t *cuts;
    uint32_t cut_count;
    uint32_t cut_timescale;
    const char *name, *label, *language;
};
int track_file_build(const struct track_build *build, struct buffer *index);

/* ---- made at first touch ---- */

/*
 * The index of the track file that track_file_build would write, which is not
 * written: build->sink is not used, and no sample is read. What a segment is to
 * be made from is appended to *places. The maps have room for the subsamples,
 * which only the samples tell of, and end at a page.
 */
#define TRACK_PLACES_SIZE_MAX (512u << 20) /* bytes */
int track_layout_build(const struct track_build *build, struct buffer *places,
                       struct buffer *index);

/* Where in the places of all segments those of this one are. */
struct place_range {
    uint64_t offset;
    size_t size; /* bytes */
};
struct place_range track_layout_places(const struct track_index *index,
                                       uint32_t number);

/* Makes the segment, its map first, as the index says it is. ERR_CHECKSUM, or
 * ERR_INVALID, for places that are not of this segment. */
int track_segment_build(const struct track_index *index, uint32_t number,
                        struct bytes places, const struct mp4_source *source,
                        struct track_sink sink);

#endif
