/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_CRYPT_NAL_H
#define MEDIA_CRYPT_NAL_H

/*
 * What the readers of H.264 and HEVC have in common: samples of NAL units, each
 * behind its length, and lists of parameter sets in the configuration. Internal
 * to media/crypt/.
 */

#include "media/crypt/subsample_codec.h"
#include "media/cursor.h"

struct nal_reader {
    struct subsample_reader super;
    unsigned length_size;
    /* *clear, nal.len when it is called: how many bytes of it are not slice
     * data. */
    int (*read)(struct nal_reader *self, struct bytes nal, size_t *clear);
};

/* The `next` of such a reader. */
int nal_next(struct subsample_reader *self, struct bytes sample,
             struct subsample_list *out);

/* Reads so many parameter sets, each behind a length of 16 bits. */
int nal_sets_read(struct nal_reader *reader, struct cursor *c, unsigned count);

#endif
