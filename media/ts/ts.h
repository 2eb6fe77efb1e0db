/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_TS_TS_H
#define MEDIA_TS_TS_H

/*
 * A segment as an MPEG transport stream (ISO/IEC 13818-1) for HLS (RFC 8216
 * §3.2): one track, or a video track and an audio track muxed.
 *
 * Its size follows from the tables of samples alone, and no segment depends on
 * another: the packets of each track are a multiple of 16, so that the
 * continuity counters of every segment start at 0 and go on from the one
 * before; those of the two tables, of which a segment has one each, are its
 * number.
 */

#include "media/index.h"
#include "media/transform.h"

#define TS_PACKET_SIZE 188
#define TS_SOURCES_MAX 2

/* Presentation time 0 in the stream, 90 kHz: what is decoded or heard before
 * the first picture has a place before it. */
#define TS_TIME_SECOND 90000
#define TS_TIME_START (10 * TS_TIME_SECOND)

/* One track's part of a segment. */
struct ts_source {
    const struct track_info *info;
    const struct sample *samples; /* in decoding order */
    uint32_t sample_count;
    uint64_t decode_time; /* ticks; of the first */
};

/* 0, or why this track cannot be carried: ERR_UNSUPPORTED for a codec that HLS
 * has no mapping of to a transport stream (AV1, VP9, Opus, FLAC) or NAL units
 * with lengths of 1 or 2 bytes, ERR_INVALID or ERR_TRUNCATED for a bad sample
 * entry. */
int ts_track_check(const struct track_info *info);

/*
 * The transform of segment `number` (from 0). Two sources are video, then
 * audio, which may be over and have no samples left. What they point at stays
 * the caller's and outlives the transform. What goes in is of both tracks, in
 * the order that ts_inputs_next gives. ERR_INVALID for samples that no such
 * stream can have, ERR_UNSUPPORTED, ERR_LIMIT, ERR_MEMORY, and what
 * ts_track_check says.
 */
int ts_transform_open(const struct ts_source *sources, size_t count,
                      uint32_t number, struct transform **out);

/* ---- what goes in ---- */

struct ts_range {
    size_t source;   /* 0 or 1 */
    uint64_t offset; /* bytes from the first sample of that source */
    uint64_t size;   /* bytes, over 0 */
};

/* Where a track stands. */
struct ts_lane {
    uint32_t next;   /* sample */
    int64_t ticks;   /* decoding time of that, from the presentation's 0 */
    uint64_t offset; /* bytes before that */
};

/* Walks through the packetized elements of a segment in their order. */
struct ts_inputs {
    struct ts_source sources[TS_SOURCES_MAX];
    size_t count;
    struct ts_lane lanes[TS_SOURCES_MAX];
    size_t turn; /* source */
};

void ts_inputs_begin(struct ts_inputs *inputs, const struct ts_source *sources,
                     size_t count);
/* Adjoining ranges of one track are one. False at the end. */
bool ts_inputs_next(struct ts_inputs *inputs, struct ts_range *out);

#endif
