/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/st-api/entitlement.h"

#include "core/err.h"
#include "platform/jwt.h"
#include "platform/key_file.h"
#include "platform/log.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

struct entitlement_key {
    struct jwk *jwk;
    uint8_t secret[KEY_LEN_MAX / 2];
    size_t size;
};

static int
secret_read(const char *path, struct entitlement_key *out)
{
    char text[KEY_SIZE];
    int err = key_file_owner_check(path);
    if (err == 0)
        err = key_file_read(path, text);
    if (err != 0)
        return err;
    if (OPENSSL_hexstr2buf_ex(out->secret, sizeof out->secret, &out->size, text,
                              '\0')
            != 1
        || out->size < JWT_SECRET_SIZE_MIN) {
        log_error("keys: refuse %s (expected 64 hex digits or more)", path);
        err = ERR_INVALID;
    }
    explicit_bzero(text, sizeof text);
    return err;
}

int
entitlement_key_read(const char *path, const char *kid,
                     struct entitlement_key **out)
{
    struct entitlement_key *key = calloc(1, sizeof *key);
    if (key == NULL)
        return ERR_MEMORY;
    int err = secret_read(path, key);
    if (err == 0)
        err = jwk_of_secret(bytes_of(key->secret, key->size), kid, &key->jwk);
    if (err == 0)
        *out = key;
    else
        entitlement_key_free(key);
    return err;
}

void
entitlement_key_free(struct entitlement_key *key)
{
    if (key == NULL)
        return;
    jwk_free(key->jwk);
    explicit_bzero(key, sizeof *key);
    free(key);
}

void
entitlement_viewer(const struct entitlement_key *key, const char *service,
                   const char *viewer, char out[PLAYBACK_VIEWER_LEN + 1])
{
    /* no id of a service has a slash in it: where it ends is clear */
    char text[CONTENT_ID_LEN_MAX + BODY_VIEWER_LEN_MAX + 16];
    uint8_t digest[SHA256_DIGEST_LENGTH];
    const int len =
        snprintf(text, sizeof text, "viewer %s/%s", service, viewer);
    HMAC(EVP_sha256(), key->secret, (int) key->size, (const uint8_t *) text,
         (size_t) len, digest, NULL);
    for (size_t i = 0; i < PLAYBACK_VIEWER_LEN / 2; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static json_t *
classes_json(enum quality quality)
{
    static const char *const names[] = {
#define NAME_OF(symbol, name, ending) name,
        QUALITIES(NAME_OF)
#undef NAME_OF
    };
    json_t *classes = json_pack("[s]", "AUDIO");
    for (unsigned i = 0; i < (unsigned) quality; i++)
        json_array_append_new(classes, json_string(names[i]));
    return classes;
}

static json_t *
claims_json(const char *issuer, const struct playback_id *play)
{
    const struct play_terms *terms = &play->terms;
    char session[17];
    snprintf(session, sizeof session, "%016" PRIx64, play->session);
    json_t *claims = json_pack(
        "{s:s, s:s, s:I, s:s, s:s, s:s, s:o}", "iss", issuer, "aud",
        ENTITLEMENT_AUDIENCE, "exp", (json_int_t) play->expires_s, "content",
        play->content, "version", play->version, "play", session, "jti",
        /* that of a renewed play is another */
        json_sprintf("%s-%" PRIu32, session, play->expires_s));
    if (play->viewer[0] != '\0')
        json_object_set_new(claims, "sub", json_string(play->viewer));
    if (terms->quality != QUALITY_ANY)
        json_object_set_new(claims, "classes", classes_json(terms->quality));
    if (terms->plays > 0)
        json_object_set_new(claims, "plays",
                            json_integer((json_int_t) terms->plays));
    if (terms->is_single_use)
        json_object_set_new(claims, "single_use", json_true());
    return claims;
}

int
entitlement_write(const struct entitlement_key *key, const char *issuer,
                  const struct playback_id *play, char out[ENTITLEMENT_LEN_MAX],
                  size_t *len)
{
    json_t *claims = claims_json(issuer, play);
    *len = ENTITLEMENT_LEN_MAX;
    const int err =
        claims != NULL ? jwt_sign(claims, key->jwk, out, len) : ERR_MEMORY;
    json_decref(claims);
    return err;
}
