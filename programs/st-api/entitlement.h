/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_ST_API_ENTITLEMENT_H
#define PROGRAMS_ST_API_ENTITLEMENT_H

/*
 * What a play's player shows to the license server: a JWT by HS256 with the claims
 * that mlic reads (programs/mlic/entitlement.h). A viewer is in it as a keyed hash
 * of service and viewer: it stands in URLs, where nobody's name belongs, and
 * viewers of two services are two.
 */

#include "programs/st-api/playback_id.h"

#define ENTITLEMENT_LEN_MAX 1024
#define ENTITLEMENT_AUDIENCE "mlic"

struct entitlement_key; /* one thread */

/* The secret's file, hex digits as mlic's services have it. The reason of a
 * failure is logged: as key_file_read; ERR_MEMORY. */
int entitlement_key_read(const char *path, const char *kid,
                         struct entitlement_key **out);
void entitlement_key_free(
    struct entitlement_key *key); /* NULL is fine; wipes */

/* Terminated. */
void entitlement_viewer(const struct entitlement_key *key, const char *service,
                        const char *viewer, char out[PLAYBACK_VIEWER_LEN + 1]);

/* Of this play, as long as it lasts; *len becomes its length. ERR_MEMORY. */
int entitlement_write(const struct entitlement_key *key, const char *issuer,
                      const struct playback_id *play,
                      char out[ENTITLEMENT_LEN_MAX], size_t *len);

#endif
