/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_CRYPT_SUBSAMPLES_H
#define MEDIA_CRYPT_SUBSAMPLES_H

/*
 * Which bytes of a sample stay in the clear when it is encrypted, for players
 * to find their way: all but the slice data of H.264 and HEVC (ISO/IEC
 * 23001-7:2016 §9.5.2), the tiles of AV1, and what follows the uncompressed
 * header of VP9. Exact to the byte; rounding to blocks is the cipher's work.
 * The bytes come from strangers.
 */

#include "media/segment_map.h"

/* of a sample; what comes behind stays in the clear */
#define SUBSAMPLES_MAX 256u

/* What the samples' headers are read by: parameter sets, reference frames. */
struct subsample_reader;

/* Of the track whose stsd entry this is. *out is NULL for a codec whose
 * samples are encrypted whole: every audio. ERR_UNSUPPORTED, ERR_INVALID,
 * ERR_TRUNCATED, ERR_MEMORY. */
int subsample_reader_new(struct bytes sample_entry,
                         struct subsample_reader **out);
void subsample_reader_free(struct subsample_reader *reader);

/* The subsamples of one sample, SUBSAMPLES_MAX at most; their sum is its size.
 * The samples of a track come one after the other, from a sync sample on; a
 * sync sample makes the reader forget those before. ERR_INVALID, ERR_TRUNCATED,
 * ERR_UNSUPPORTED. */
int subsample_reader_next(struct subsample_reader *reader, struct bytes sample,
                          struct subsample *out, uint16_t *count);

#endif
