/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_SEGMENT_MAP_H
#define MEDIA_SEGMENT_MAP_H

/*
 * What a transformation of a segment needs to know of its samples and a clear
 * answer does not: their records and their subsamples. It lies as a box before
 * the segment in the track file, of a type that players pass over.
 */

#include "media/index.h"

#define SEGMENT_MAP_SIZE_MAX (16u << 20) /* bytes, of the box */

/* Bytes. The rest may be encrypted; exact, cbcs counts from here. */
struct subsample {
    uint32_t clear, rest;
};

/* The arrays are owned by the caller. */
struct segment_map {
    const struct sample *samples;
    uint32_t sample_count;
    const struct subsample *subsamples; /* of all samples in order */
    const uint16_t *subsample_counts;   /* per sample; NULL: whole samples may
                                         * be encrypted (audio) */
};

/* Appends the box. The subsamples of a sample are all of its bytes. */
void segment_map_encode(const struct segment_map *map, struct buffer *out);
/* Makes the box that starts at `box` and ends the buffer larger. */
void segment_map_pad(struct buffer *out, size_t box, size_t padding);

/* The bytes of memory that decoding the box takes: a few times its size.
 * ERR_TRUNCATED, ERR_VERSION, ERR_CHECKSUM, ERR_INVALID. */
int segment_map_memory_size(struct bytes box, size_t *size);

/* `memory` is of that size and aligned as malloc's; *out points into it. The
 * map of another segment is ERR_INVALID. */
int segment_map_decode(struct bytes box, const struct segment *segment,
                       void *memory, struct segment_map *out);

#endif
