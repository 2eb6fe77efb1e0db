/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_CRYPT_KEYS_H
#define MEDIA_CRYPT_KEYS_H

/*
 * The key file: which key a track of a content is encrypted with. A line for
 * each, the first that fits counts; # begins a comment.
 *
 *   <content>[/<version>] <class>[:<period>] <kid> <key> [<iv>]
 *
 * The content may be "*"; the class is sd (up to 576 lines), hd (up to 1088),
 * uhd, video (all three), audio or "*"; a film on its side has as many lines
 * as it has columns otherwise. Periods count from 0, where a location has
 * them. KID, key and the IV of cbcs are 32 digits of hex; without an IV the KID
 * is taken for it.
 */

#include "media/crypt/cenc.h"

#define CRYPT_KEYS_MAX 16384u
#define CRYPT_KEYS_SIZE_MAX (4u << 20) /* bytes, of the file */
#define CRYPT_PERIODS_MAX 256u         /* of a track */

struct crypt_keys {
    struct crypt_key_line *lines; /* malloc'ed; names point into the text */
    size_t count;
};

/* *line is set on failure, from 1. ERR_INVALID, ERR_LIMIT, ERR_MEMORY. */
int crypt_keys_parse(struct bytes text, struct crypt_keys *out, unsigned *line);
void crypt_keys_fini(struct crypt_keys *keys); /* wipes */

enum crypt_class {
    CRYPT_CLASS_SD,
    CRYPT_CLASS_HD,
    CRYPT_CLASS_UHD,
    CRYPT_CLASS_AUDIO
};
#define CRYPT_CLASS_COUNT 4

enum crypt_class crypt_class_of(const struct track_info *track);

struct crypt_key_name {
    struct bytes folder; /* "<content>/<version>" */
    enum crypt_class class;
    uint32_t period;
};

/* NULL: there is none. */
const struct crypt_key *crypt_keys_find(const struct crypt_keys *keys,
                                        const struct crypt_key_name *name);

#endif
