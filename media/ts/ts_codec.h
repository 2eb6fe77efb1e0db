/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_TS_TS_CODEC_H
#define MEDIA_TS_TS_CODEC_H

/*
 * How the samples of a codec stand in a transport stream: what is written
 * before them, and what the program map says of them. Internal to media/ts/.
 */

#include "media/track.h"

#define TS_ADTS_SIZE 7 /* bytes */
#define TS_AUD_SIZE_MAX 7

struct ts_codec {
    uint8_t stream_type, stream_id;
    const char *registration;                  /* four characters, or NULL */
    uint32_t sample_size_min, sample_size_max; /* bytes */

    /* H.264 and HEVC; length_size 0: neither. The length of a NAL unit gives
     * way to a start code of its size: nothing grows but what is known here. */
    uint8_t length_size;
    uint8_t aud_type, type_shift, type_mask; /* of a NAL unit's first byte */
    uint8_t aud_size;
    uint8_t aud[TS_AUD_SIZE_MAX]; /* with its start code */

    uint32_t frame_header_size; /* 0, or TS_ADTS_SIZE */
    uint8_t adts[TS_ADTS_SIZE]; /* of a frame of length 0 */
};

/* Appends the parameter sets, with start codes, to *parameters. */
int ts_codec_open(const struct track_info *info, struct ts_codec *out,
                  struct buffer *parameters);

/* The header of a frame of `size` bytes, header not counted. */
void ts_adts_write(const struct ts_codec *codec, uint32_t size,
                   uint8_t out[TS_ADTS_SIZE]);

#endif
