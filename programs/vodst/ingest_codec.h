/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_CODEC_H
#define PROGRAMS_VODST_INGEST_CODEC_H

/* The video encoders, and what each is told so that all do the same. */

#include "media/track.h"
#include "programs/vodst/ingest_arguments.h"

enum video_codec { CODEC_H264, CODEC_HEVC, CODEC_AV1 };

/* "h264", "hevc", "av1"; ERR_INVALID. */
int codec_parse(const char *text, enum video_codec *out);

/* Quality by default, and the coarsest that there is. */
unsigned codec_crf(enum video_codec codec);
unsigned codec_crf_max(enum video_codec codec);

/* Pixels that a side must have. */
unsigned codec_side_min(enum video_codec codec);

/* Of what H.264 takes for the same picture. */
double codec_bitrate_share(enum video_codec codec);

/* Does it keep what is brighter than the standard range? H.264 of 8 bits, which
 * is what players have, does not. */
static inline bool
codec_keeps_range(enum video_codec codec, enum video_range range)
{
    return codec != CODEC_H264
           && (range == VIDEO_RANGE_PQ || range == VIDEO_RANGE_HLG);
}

bool preset_is_known(const char *preset); /* x264's names */

struct codec_settings {
    enum video_codec codec;
    const char *preset;
    unsigned crf, threads; /* 0: what there is */
    unsigned bitrate_kbps_max;
    unsigned gop_frames; /* no key frame of its own before so many */
    enum video_range range;
};

/* All that is said of the encoder: the same settings and pictures give the same
 * bytes with one thread; key frames are those that are forced, and each can be
 * started from. */
void codec_arguments(struct arguments *a, const struct codec_settings *s);

#endif
