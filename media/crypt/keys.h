/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_CRYPT_KEYS_H
#define MEDIA_CRYPT_KEYS_H

/*
 * The key file: which key a track of a content is encrypted with. A line for
 * each, the first that fits counts; # begins a comment.
 *
 *   <content> <class> <kid> <key> [<iv>]
 *
 * The content may be "*"; the class is sd (up to 576 lines), hd (up to 1088),
 * uhd, video (all three), audio or "*". KID, key and the IV of cbcs are 32
 * digits of hex; without an IV the KID is taken for it.
 */

#include "media/crypt/cenc.h"

#define CRYPT_KEYS_MAX 16384u
#define CRYPT_KEYS_SIZE_MAX (4u << 20) /* bytes, of the file */

struct crypt_keys {
    struct crypt_key_line *lines; /* malloc'ed; names point into the text */
    size_t count;
};

/* *line is set on failure, from 1. ERR_INVALID, ERR_LIMIT, ERR_MEMORY. */
int crypt_keys_parse(struct bytes text, struct crypt_keys *out, unsigned *line);
void crypt_keys_fini(struct crypt_keys *keys); /* wipes */

/* NULL: there is none. */
const struct crypt_key *crypt_keys_find(const struct crypt_keys *keys,
                                        struct bytes content,
                                        const struct track_info *track);

#endif
