/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_CRYPT_SUBSAMPLE_CODEC_H
#define MEDIA_CRYPT_SUBSAMPLE_CODEC_H

/*
 * What the readers of the codecs have in common. Internal to media/crypt/.
 */

#include "media/crypt/bits.h"
#include "media/crypt/subsamples.h"

#include <stdlib.h>

struct subsample_list {
    struct subsample *entries; /* room for SUBSAMPLES_MAX */
    uint32_t count;
    uint32_t clear; /* bytes since the last entry */
};

struct subsample_reader {
    int (*next)(struct subsample_reader *self, struct bytes sample,
                struct subsample_list *out);
};

/* The next `clear + rest` bytes of the sample. */
void subsample_list_add(struct subsample_list *list, size_t clear, size_t rest);

/* Makers: `config` is the body of avcC, hvcC, av1C; VP9 needs none. */
int h264_reader_new(struct bytes config, struct subsample_reader **out);
int hevc_reader_new(struct bytes config, struct subsample_reader **out);
int av1_reader_new(struct bytes config, struct subsample_reader **out);
int vp9_reader_new(struct bytes config, struct subsample_reader **out);

#endif
