/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_MP4_CODEC_H
#define MEDIA_MP4_CODEC_H

/*
 * What the configuration boxes of sample entries say of a track: the codecs
 * text of RFC 6381, size and colour, channels and rate. Internal to media/mp4/.
 */

#include "media/mp4/box.h"

/* Bits from the most significant on; 0 past the end, and is_short stays set. */
struct bit_reader {
    struct bytes bytes;
    size_t position; /* bits */
    bool is_short;
};
uint32_t bits_take(struct bit_reader *r, unsigned count); /* at most 32 */
/* Exp-Golomb (ITU-T H.264 §9.1). */
uint32_t bits_take_ue(struct bit_reader *r);

/* Code points of ISO/IEC 23091-2. */
struct colour {
    bool is_known;
    uint32_t primaries, transfer, matrix;
    bool is_full_range;
};
#define COLOUR_UNSPECIFIED 2u

/* Configuration box of the entry's type (avc1 ... vp09). `colour` is that of
 * colr, and where there is none set to what the configuration says. */
int video_config_parse(const struct mp4_parse *parse, const struct box *entry,
                       const struct box *config, struct colour *colour,
                       struct mp4_track *track);
/* Its type; 0: a codec that is not read. */
uint32_t video_config_type(uint32_t entry_type);

/* The same of sound (mp4a ... fLaC); channels and sample_rate are those of the
 * entry before, and stay where the configuration does not know better. */
int audio_config_parse(const struct mp4_parse *parse, const struct box *config,
                       struct mp4_track *track);
uint32_t audio_config_type(uint32_t entry_type);

/* Sequence parameter sets, for what their VUI says of colour; the NAL unit
 * with its header. Left as it is where they do not say or cannot be read. */
void avc_sps_colour(struct bytes nal, struct colour *colour);
void hevc_sps_colour(struct bytes nal, struct colour *colour);

#endif
