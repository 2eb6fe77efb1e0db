/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_ST_API_SERVICE_JWT_H
#define PROGRAMS_ST_API_SERVICE_JWT_H

/*
 * What a service signs by itself, so that a viewer's player may ask for a play
 * in its name: a JWT (RFC 7519) by ES256 or RS256, as the service's public key
 * is, and no other.
 *
 *   kid       of the key: as its JWK has it, else as st-api called it
 *   iss       the service's id;  aud  "st-api", or a list with it
 *   exp       needed;  nbf, iat  where they are there: not in the future
 *   sub       the viewer
 *   region    two letters
 *   contents  a list of ids; without it: any
 *   quality   "SD", "HD" or "UHD": no better pictures of protected films
 *   plays     of protected films at once, for a sub: 1 to 1000
 *
 * Other claims are passed over.
 */

#include "platform/jwt.h"
#include "programs/st-api/body.h"

#define SERVICE_JWT_AUDIENCE "st-api"
#define SERVICE_JWT_CONTENTS_MAX 64
#define SERVICE_JWT_SKEW_S 60 /* that clocks may differ by */
#define SERVICE_VIEWER_LEN_MAX 128

/* What may be asked for by who presents it. */
struct service_grant {
    char viewer[SERVICE_VIEWER_LEN_MAX + 1]; /* empty: not told */
    char region[CATALOGUE_REGION_LEN + 1];   /* empty: not told */
    enum quality quality;                    /* at most */
    unsigned plays;                          /* at most; 0: not told */
    bool has_contents;                       /* these and no others */
    unsigned content_count;
    char contents[SERVICE_JWT_CONTENTS_MAX][CONTENT_ID_LEN_MAX + 1];
};

/* ERR_DENIED; ERR_EXPIRED: genuine, but not now. */
int service_jwt_verify(struct bytes text, const struct jwk *jwk,
                       const char *service, uint64_t now_s,
                       struct service_grant *out);

bool service_grant_has(const struct service_grant *grant, const char *content);

#endif
