/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_TRACK_H
#define MEDIA_TRACK_H

/*
 * What the packager knows of one track without opening its media: enough for a
 * line of a multivariant playlist, for an MPD and for an init segment.
 */

#include "core/buffer.h"

#define TRACK_NAME_LEN_MAX 15 /* "v0", "a0": a path segment of the URL */
#define TRACK_CODECS_LEN_MAX 47
#define TRACK_LANGUAGE_LEN_MAX 15
#define TRACK_LABEL_LEN_MAX 63

enum track_kind {
    TRACK_VIDEO = 1,
    TRACK_AUDIO = 2,
    TRACK_TEXT = 3,
    TRACK_IMAGE = 4 /* thumbnails */
};

/* HLS's VIDEO-RANGE. */
enum video_range {
    VIDEO_RANGE_UNKNOWN,
    VIDEO_RANGE_SDR,
    VIDEO_RANGE_PQ,
    VIDEO_RANGE_HLG
};

/* The segments that a manifest of a part of the film has; all 0: it has all of
 * them. Not stored; see media/clip.h. */
struct track_part {
    uint32_t first_segment;
    uint64_t start; /* ticks; of that segment */
    uint64_t zero;  /* ticks; what the part's times count from */
};

struct track_info {
    enum track_kind kind;
    char name[TRACK_NAME_LEN_MAX + 1];
    char codecs[TRACK_CODECS_LEN_MAX + 1];     /* RFC 6381: "avc1.64001f" */
    char language[TRACK_LANGUAGE_LEN_MAX + 1]; /* BCP 47, or "und" */
    char label[TRACK_LABEL_LEN_MAX + 1];       /* for people: "English" */
    uint32_t timescale;  /* ticks per s; the source's own, never 90 kHz
                          * by habit: 44.1 kHz audio stays exact */
    uint64_t duration;   /* presented, ticks */
    uint64_t media_size; /* bytes of the track file */
    uint32_t sample_count;
    uint32_t segment_count;
    uint32_t segment_duration_max;  /* ticks */
    uint32_t bandwidth_peak;        /* bit/s of the largest segment */
    uint32_t bandwidth_average;     /* bit/s */
    uint32_t key_bandwidth_peak;    /* the same of key frames alone; 0: */
    uint32_t key_bandwidth_average; /* there are none */
    int64_t media_time;     /* ticks of composition time at which presentation
                             * starts (edit list): B-frame delay or AAC priming */
    uint32_t width, height; /* video; as shown. Image; of one thumbnail */
    uint32_t matrix[9];     /* video; of tkhd; all 0: shown as decoded */
    uint32_t frame_rate_num, frame_rate_den; /* video; average. Image: the
                                              * timescale, and the ticks of
                                              * one thumbnail */
    uint32_t columns, rows;                  /* image; of a sheet */
    enum video_range video_range;            /* video */
    uint32_t channels, sample_rate;          /* audio */
    uint32_t channel_map;      /* audio; Dolby's speakers as chanmap of ETSI
                                * TS 102 366 has them, or 0 */
    uint32_t joc_complexity;   /* audio; of Dolby Atmos, or 0 */
    bool is_forced;            /* text; for whoever wants no subtitles: what
                                * is not in the film's language */
    struct bytes sample_entry; /* the stsd entry box, verbatim: 'avc1'; only
                                * where there are samples */
    struct bytes timeline;     /* of its segments: media/timeline.h */
    struct track_part part;
};

/* Thumbnails that are each a picture of its own. They are those of parts of a
 * film, which may begin in the middle of a sheet; the film has sheets. */
static inline bool
track_is_of_parts(const struct track_info *info)
{
    return info->kind == TRACK_IMAGE && info->columns == 1 && info->rows == 1;
}

/* Video and sound; what else there is is sent as it is, and never encrypted. */
static inline bool
track_has_samples(const struct track_info *info)
{
    return info->kind == TRACK_VIDEO || info->kind == TRACK_AUDIO;
}

/* A quarter turn either way: what is shown is as wide as the decoded picture is
 * high. */
static inline bool
track_is_on_its_side(const uint32_t matrix[9])
{
    return matrix[0] == 0 && matrix[4] == 0 && matrix[1] != 0 && matrix[3] != 0;
}

/*
 * The asset file ("asset.idx"): the tracks of one version of a content.
 * Versioned, checksummed, position independent. Written at ingest.
 */
#define ASSET_TRACKS_MAX 64
#define ASSET_SIZE_MAX (16u << 20) /* bytes */

struct asset {
    struct track_info tracks[ASSET_TRACKS_MAX];
    size_t track_count;
    /* of its manifests; not stored */
    char query[64];      /* that playlists of a part of it are asked for with */
    bool has_trick_play; /* an MPD has sets of key frames alone */
};

/* Is it thumbnails that the manifests have? */
static inline bool
asset_shows_images(const struct asset *asset, const struct track_info *track)
{
    const bool is_part = asset->query[0] != 0;
    return track->kind == TRACK_IMAGE && track_is_of_parts(track) == is_part;
}

int asset_encode(const struct asset *asset, struct buffer *out);
/* Verifies everything; sample_entry and timeline point into `file`. */
int asset_decode(struct bytes file, struct asset *out);

#endif
