/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_CRYPT_CENC_PRIVATE_H
#define MEDIA_CRYPT_CENC_PRIVATE_H

/*
 * What boxes and cipher of an encrypted segment share. Internal to
 * media/crypt/.
 */

#include "core/buffer.h"
#include "media/crypt/cenc.h"

#define CENC_IV_SIZE 8 /* bytes, of cenc */

/* A segment's subsamples as senc has them: of cenc's and of the whole-block
 * codecs' whole blocks, and no clear part over 16 bits. malloc'ed. */
struct cenc_table {
    struct subsample *entries;
    uint16_t *counts; /* per sample */
    uint32_t sample_count;
    bool is_whole; /* one entry a sample, not written: audio */
    uint64_t size; /* of all samples */
};

int cenc_table_init(const struct track_info *info,
                    const struct segment_map *map, enum crypt_scheme scheme,
                    struct cenc_table *out);
void cenc_table_fini(struct cenc_table *table);

/* The header of the encrypted segment. */
int cenc_header_write(struct bytes clear, const struct cenc_table *table,
                      const struct crypt *crypt, bool is_video,
                      uint64_t first_iv, struct buffer *out);

#endif
