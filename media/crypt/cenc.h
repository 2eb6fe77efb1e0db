/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_CRYPT_CENC_H
#define MEDIA_CRYPT_CENC_H

/*
 * Common Encryption (ISO/IEC 23001-7:2016) of CMAF: `cenc`, AES-CTR with an IV
 * of 8 bytes a sample, and `cbcs`, AES-CBC with a constant IV and of video one
 * block of ten. Init segments, and segments as a transform.
 */

#include "media/segment_map.h"
#include "media/transform.h"

#define CRYPT_KEY_SIZE 16 /* bytes; of KIDs and IVs, too */

enum crypt_scheme {
    CRYPT_CENC = 1,
    CRYPT_CBCS,
    CRYPT_AES128, /* of HLS, for whole segments: media/crypt/aes128.h */
};

struct crypt_key {
    uint8_t kid[CRYPT_KEY_SIZE];
    uint8_t key[CRYPT_KEY_SIZE];
    uint8_t iv[CRYPT_KEY_SIZE]; /* of cbcs */
};

struct crypt {
    enum crypt_scheme scheme;
    struct crypt_key key;
    bool is_clear;     /* the segment is in the clear lead */
    bool has_periods;  /* a segment says its key itself: it may be another than
                       * the init segment's, or the segment clear */
    uint64_t iv_base;  /* of cenc: sample n of segment s has the IV iv_base
                       * + (s << 32) + n. Another for each track of each
                       * version, since one IV may never be used twice with
                       * a key */
    struct bytes pssh; /* boxes that go into each fragment */
};

/* Changes with all that changes the bytes, and tells nothing of the key. */
uint64_t crypt_fingerprint(const struct crypt *crypt);

/* As cmaf_init_write, the sample entry being of the encrypted track; `pssh` are
 * boxes that go into moov. */
void cenc_init_write(const struct track_info *info, const struct crypt *crypt,
                     struct bytes pssh, struct buffer *out);

/* `header` is what precedes the samples of the clear segment: styp, moof and
 * the header of mdat. `map` and `header` are not kept. ERR_INVALID,
 * ERR_UNSUPPORTED (video whose subsamples are not known), ERR_LIMIT (a sample
 * with too many), ERR_MEMORY. */
struct cenc_segment {
    const struct track_info *info;
    struct bytes header;
    uint32_t number;
    const struct segment_map *map;
};
int cenc_transform_open(const struct cenc_segment *segment,
                        const struct crypt *crypt, struct transform **out);

#endif
