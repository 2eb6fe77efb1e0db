/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_JWT_H
#define PLATFORM_JWT_H

/*
 * JWTs (RFC 7519), by libcjose: each by its key's one algorithm
 * and no other (RFC 8725). Claims are jansson's. Apart from core/token.h, which
 * is for what is looked at with every segment.
 */

#include "core/bytes.h"

#include <jansson.h>

#define JWT_LEN_MAX 8192
#define JWT_KID_LEN_MAX 64
#define JWT_ISSUER_LEN_MAX 256
#define JWT_SECRET_SIZE_MIN 32 /* bytes: as much as SHA-256 gives (RFC 7518) */

struct jwk; /* what it is known by that a JWT is somebody's */

/* From a JWK (RFC 7517): EC of P-256, or RSA of 2048 bits and more with an
 * exponent of FIPS 186-5, and nothing private in it. Without a "kid" it is called
 * `id`. ERR_INVALID with the reason; ERR_MEMORY. */
int jwk_read(struct bytes json, const char *id, struct jwk **out,
             const char **reason);
/* For HS256. ERR_LIMIT: too short; ERR_MEMORY. */
int jwk_of_secret(struct bytes secret, const char *kid, struct jwk **out);
void jwk_free(struct jwk *jwk); /* NULL is fine; wipes */
const char *jwk_kid(const struct jwk *jwk);

/* Who and by which key it says it is: to find the key, and not to be believed. */
struct jwt_claimed {
    char issuer[JWT_ISSUER_LEN_MAX + 1];
    char kid[JWT_KID_LEN_MAX + 1];
};
bool jwt_peek(struct bytes text, struct jwt_claimed *out);

/* Whether the key has signed it. The claims are to be json_decref'ed; when it is
 * said to be good is not looked at. ERR_DENIED. */
int jwt_verify(struct bytes text, const struct jwk *jwk, json_t **claims);

/* By a key of jwk_of_secret; *size becomes its length. ERR_MEMORY; ERR_LIMIT: it
 * is longer. */
int jwt_sign(const json_t *claims, const struct jwk *jwk, char *out,
             size_t *size);

/* ---- claims ---- */

/* By exp, which is needed, nbf and iat. ERR_EXPIRED: not now, by clocks that
 * differ by `skew_s`; ERR_DENIED. */
int jwt_times_judge(const json_t *claims, uint64_t now_s, unsigned skew_s);

/* `aud` is a text or a list. */
bool jwt_audience_has(const json_t *claims, const char *audience);

/* A text of 1 to size - 1 bytes without control characters. */
bool jwt_text_take(const json_t *json, char *out, size_t size);

#endif
