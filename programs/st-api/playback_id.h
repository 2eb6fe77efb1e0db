/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_ST_API_PLAYBACK_ID_H
#define PROGRAMS_ST_API_PLAYBACK_ID_H

/*
 * The id of a play: all that st-api needs to know of it to renew or revoke it,
 * signed. So none is kept, and every st-api of the same keys knows all of them.
 *
 *   <compact token>~<content>~<version>~<service>~<region>~<what was asked>
 *                  [~<viewer>]
 *
 * The token is signed over the rest, from the first '~' on. No content id has a
 * '~' in it: a token of the one kind is never one of the other.
 */

#include "core/token.h"
#include "programs/st-api/body.h"

/* A viewer as entitlements have them: entitlement.h. */
#define PLAYBACK_VIEWER_LEN 32

#define PLAYBACK_ID_SIZE                                                       \
    (TOKEN_TEXT_LEN + 3 * (CONTENT_ID_LEN_MAX + 1) + CATALOGUE_REGION_LEN + 16 \
     + PLAYBACK_VIEWER_LEN)

struct playback_id {
    char content[CONTENT_ID_LEN_MAX + 1];
    char version[CONTENT_ID_LEN_MAX + 1];
    char service[CONTENT_ID_LEN_MAX + 1];  /* empty: nobody's */
    char region[CATALOGUE_REGION_LEN + 1]; /* empty: not told */
    enum device device;
    bool steering, trick_play; /* as body_playback has them */
    struct play_terms terms;
    char viewer[PLAYBACK_VIEWER_LEN + 1]; /* empty: not told */
    uint64_t session;
    uint32_t expires_s;
};

/* Terminated. ERR_UNSUPPORTED: no key can sign. */
int playback_id_write(struct token_keys *keys, const struct playback_id *id,
                      char out[PLAYBACK_ID_SIZE]);

/* ERR_DENIED: not one that was written here. ERR_EXPIRED: it is over, unless it
 * was renewed under another id; as it is genuine *out is told even so. */
int playback_id_read(struct token_keys *keys, struct bytes text, uint64_t now_s,
                     struct playback_id *out);

#endif
