/* SPDX-License-Identifier: Apache-2.0 */
/* JOSE by libcjose; claims by jansson. */

#include "platform/jwt.h"

#include "core/base64url.h"
#include "core/err.h"

#include <cjose/cjose.h>
#include <stdlib.h>

#define RSA_BITS_MIN 2048
#define RSA_EXPONENT_MIN 65537 /* with 256 bits at most: FIPS 186-5, A.1.1 */
#define RSA_EXPONENT_BITS_MAX 256
#define NUMBER_LEN_MAX 2048 /* characters of base64url */

struct jwk {
    cjose_jwk_t *jwk;
    const char *alg; /* the one that it is for */
    char kid[JWT_KID_LEN_MAX + 1];
};

/* ---- keys ---- */

/* The algorithm of keys like this one, or NULL with the reason. */
static const char *
algorithm_of(json_t *json, const char **reason)
{
    static const char *const private[] = {"d", "p", "q", "dp", "dq", "qi", "k"};
    const char *kty = json_string_value(json_object_get(json, "kty"));
    const char *crv = json_string_value(json_object_get(json, "crv"));
    const char *alg = NULL;
    *reason = "must be an EC key of P-256 or an RSA key";
    if (kty != NULL && strcmp(kty, "RSA") == 0)
        alg = "RS256";
    else if (kty != NULL && strcmp(kty, "EC") == 0 && crv != NULL
             && strcmp(crv, "P-256") == 0)
        alg = "ES256";
    for (size_t i = 0; i < sizeof private / sizeof *private; i++)
        if (json_object_get(json, private[i]) != NULL) {
            *reason = "must be a public key: what is private stays with the "
                      "service";
            return NULL;
        }
    const char *own = json_string_value(json_object_get(json, "alg"));
    if (alg != NULL && own != NULL && strcmp(own, alg) != 0) {
        *reason = "is for another algorithm than ES256 and RS256";
        return NULL;
    }
    return alg;
}

static bool
is_base64url(const json_t *json)
{
    uint8_t decoded[BASE64URL_SIZE(NUMBER_LEN_MAX)];
    const size_t len = json_string_length(json);
    return len > 0 && len <= NUMBER_LEN_MAX
           && base64url_decode(bytes_of(json_string_value(json), len), decoded);
}

/* The numbers of a public key and nothing else: libcjose (0.6.2) ends the
 * program at a text that is no base64url. NULL: they make no key. */
static cjose_jwk_t *
numbers_import(json_t *json, const char *alg)
{
    static const char *const of_ec[] = {"kty", "crv", "x", "y"};
    static const char *const of_rsa[] = {"kty", "n", "e"};
    const bool is_ec = strcmp(alg, "ES256") == 0;
    const char *const *names = is_ec ? of_ec : of_rsa;
    const size_t count = is_ec ? 4 : 3;
    json_t *numbers = json_object();
    bool is_whole = numbers != NULL;
    for (size_t i = 0; i < count && is_whole; i++) {
        json_t *number = json_object_get(json, names[i]);
        const bool is_word = names[i][1] != '\0'; /* not one letter */
        is_whole = json_is_string(number) && (is_word || is_base64url(number))
                   && json_object_set(numbers, names[i], number) == 0;
    }
    char *text = is_whole ? json_dumps(numbers, JSON_COMPACT) : NULL;
    cjose_jwk_t *jwk =
        text != NULL ? cjose_jwk_import(text, strlen(text), NULL) : NULL;
    free(text);
    json_decref(numbers);
    return jwk;
}

struct number { /* big-endian, without zeros in front */
    uint8_t bytes[BASE64URL_SIZE(NUMBER_LEN_MAX)];
    size_t size;
};

/* Of text that is_base64url(). */
static void
number_read(const json_t *json, struct number *out)
{
    const size_t len = json_string_length(json);
    size_t zeros = 0;
    base64url_decode(bytes_of(json_string_value(json), len), out->bytes);
    out->size = BASE64URL_SIZE(len);
    while (zeros < out->size && out->bytes[zeros] == 0)
        zeros++;
    out->size -= zeros;
    memmove(out->bytes, out->bytes + zeros, out->size);
}

static size_t
number_bits(const struct number *number)
{
    size_t bits = 8 * number->size;
    for (unsigned first = number->size > 0 ? number->bytes[0] : 0x80;
         first < 0x80; first <<= 1)
        bits--;
    return bits;
}

static bool
number_is_odd(const struct number *number)
{
    return number->size > 0 && number->bytes[number->size - 1] % 2 == 1;
}

static bool
exponent_is_good(const struct number *e)
{
    uint64_t small = 0;
    for (size_t i = 0; i < e->size && e->size <= sizeof small; i++)
        small = small << 8 | e->bytes[i];
    return number_is_odd(e) && number_bits(e) <= RSA_EXPONENT_BITS_MAX
           && (e->size > sizeof small || small >= RSA_EXPONENT_MIN);
}

/* Neither libcjose nor OpenSSL looks: where the exponent is 1, a signature is
 * its own text, which anybody can write. NULL: nothing is wrong. */
static const char *
rsa_fault(const json_t *json)
{
    struct number n, e;
    number_read(json_object_get(json, "n"), &n);
    number_read(json_object_get(json, "e"), &e);
    if (number_bits(&n) < RSA_BITS_MIN)
        return "must have 2048 bits or more";
    if (!number_is_odd(&n))
        return "has an even modulus \"n\", which anybody can factor";
    if (!exponent_is_good(&e))
        return "must have an odd exponent \"e\" of 65537 or more and of 256 "
               "bits at most (FIPS 186-5): with others anybody may be able to "
               "sign";
    return NULL;
}

static int
public_read(json_t *json, const char *id, struct jwk *out, const char **reason)
{
    json_t *kid = json_object_get(json, "kid");
    out->alg = algorithm_of(json, reason);
    if (out->alg == NULL)
        return ERR_INVALID;
    memcpy(out->kid, id, strnlen(id, sizeof out->kid - 1));
    if (kid != NULL && !jwt_text_take(kid, out->kid, sizeof out->kid)) {
        *reason = "has a \"kid\" that is no text of 1 to 64 bytes";
        return ERR_INVALID;
    }
    out->jwk = numbers_import(json, out->alg);
    *reason = "has numbers that make no key";
    if (out->jwk == NULL)
        return ERR_INVALID;
    *reason = strcmp(out->alg, "RS256") == 0 ? rsa_fault(json) : NULL;
    return *reason != NULL ? ERR_INVALID : 0;
}

int
jwk_read(struct bytes text, const char *id, struct jwk **out,
         const char **reason)
{
    struct jwk *jwk = calloc(1, sizeof *jwk);
    json_t *json = json_loadb((const char *) text.ptr, text.len,
                              JSON_REJECT_DUPLICATES, NULL);
    *reason = "is no JSON object";
    int err = jwk == NULL             ? ERR_MEMORY
              : !json_is_object(json) ? ERR_INVALID
                                      : public_read(json, id, jwk, reason);
    json_decref(json);
    if (err != 0)
        jwk_free(jwk);
    else
        *out = jwk;
    return err;
}

int
jwk_of_secret(struct bytes secret, const char *kid, struct jwk **out)
{
    if (secret.len < JWT_SECRET_SIZE_MIN)
        return ERR_LIMIT;
    struct jwk *jwk = calloc(1, sizeof *jwk);
    if (jwk == NULL)
        return ERR_MEMORY;
    jwk->alg = "HS256";
    memcpy(jwk->kid, kid, strnlen(kid, sizeof jwk->kid - 1));
    jwk->jwk = cjose_jwk_create_oct_spec(secret.ptr, secret.len, NULL);
    if (jwk->jwk == NULL) {
        free(jwk);
        return ERR_MEMORY;
    }
    *out = jwk;
    return 0;
}

void
jwk_free(struct jwk *jwk)
{
    if (jwk == NULL)
        return;
    cjose_jwk_release(jwk->jwk);
    free(jwk);
}

const char *
jwk_kid(const struct jwk *jwk)
{
    return jwk->kid;
}

/* ---- tokens ---- */

/* Its claims, which nobody has vouched for yet. */
static json_t *
claims_of(cjose_jws_t *jws)
{
    uint8_t *text;
    size_t len;
    if (!cjose_jws_get_plaintext(jws, &text, &len, NULL))
        return NULL;
    json_t *claims =
        json_loadb((const char *) text, len, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(claims))
        return claims;
    json_decref(claims);
    return NULL;
}

/* Three parts in base64url, each in its one spelling: libcjose reads others,
 * too, and a token that was altered is to be no token at all. */
static bool
is_whole(struct bytes text)
{
    uint8_t decoded[BASE64URL_SIZE(JWT_LEN_MAX)];
    size_t start = 0, parts = 0;
    if (text.len > JWT_LEN_MAX)
        return false;
    for (size_t i = 0; i <= text.len; i++) {
        if (i < text.len && text.ptr[i] != '.')
            continue;
        if (i == start
            || !base64url_decode(bytes_of(text.ptr + start, i - start),
                                 decoded))
            return false;
        start = i + 1;
        parts++;
    }
    return parts == 3;
}

static cjose_jws_t *
jws_open(struct bytes text)
{
    return is_whole(text)
               ? cjose_jws_import((const char *) text.ptr, text.len, NULL)
               : NULL;
}

bool
jwt_peek(struct bytes text, struct jwt_claimed *out)
{
    cjose_jws_t *jws = jws_open(text);
    if (jws == NULL)
        return false;
    const char *kid =
        cjose_header_get(cjose_jws_get_protected(jws), CJOSE_HDR_KID, NULL);
    json_t *claims = claims_of(jws);
    const bool is_read = kid != NULL && strlen(kid) < sizeof out->kid
                         && jwt_text_take(json_object_get(claims, "iss"),
                                          out->issuer, sizeof out->issuer);
    if (is_read)
        memcpy(out->kid, kid, strlen(kid) + 1);
    json_decref(claims);
    cjose_jws_release(jws);
    return is_read;
}

/* Bytes of a signature by this key. */
static size_t
signature_size(const struct jwk *jwk)
{
    if (strcmp(jwk->alg, "HS256") == 0)
        return 32;
    return strcmp(jwk->alg, "ES256") == 0
               ? 64
               : cjose_jwk_get_keysize(jwk->jwk, NULL) / 8;
}

/* RFC 8725: the key says which algorithm, not the token; and a header that must
 * be understood is not. */
static bool
signature_is_good(cjose_jws_t *jws, struct bytes text, const struct jwk *jwk)
{
    const uint8_t *dot = memrchr(text.ptr, '.', text.len);
    const size_t len = (size_t) (text.ptr + text.len - dot - 1);
    cjose_header_t *header = cjose_jws_get_protected(jws);
    const char *alg = cjose_header_get(header, CJOSE_HDR_ALG, NULL);
    char *critical = cjose_header_get_raw(header, "crit", NULL);
    const bool has_critical = critical != NULL;
    cjose_get_dealloc()(critical);
    return alg != NULL && strcmp(alg, jwk->alg) == 0 && !has_critical
           && len == BASE64URL_LEN(signature_size(jwk)) /* and nothing more */
           && cjose_jws_verify(jws, jwk->jwk, NULL);
}

int
jwt_verify(struct bytes text, const struct jwk *jwk, json_t **claims)
{
    cjose_jws_t *jws = jws_open(text);
    json_t *found = jws != NULL && signature_is_good(jws, text, jwk)
                        ? claims_of(jws)
                        : NULL;
    cjose_jws_release(jws);
    if (found == NULL)
        return ERR_DENIED;
    *claims = found;
    return 0;
}

static cjose_jws_t *
jws_make(const json_t *claims, const struct jwk *jwk)
{
    char *text = json_dumps(claims, JSON_COMPACT);
    cjose_header_t *header = cjose_header_new(NULL);
    cjose_jws_t *jws = NULL;
    if (text != NULL && header != NULL
        && cjose_header_set(header, CJOSE_HDR_ALG, jwk->alg, NULL)
        && cjose_header_set(header, CJOSE_HDR_KID, jwk->kid, NULL))
        jws = cjose_jws_sign(jwk->jwk, header, (const uint8_t *) text,
                             strlen(text), NULL);
    cjose_header_release(header);
    free(text);
    return jws;
}

int
jwt_sign(const json_t *claims, const struct jwk *jwk, char *out, size_t *size)
{
    const char *text;
    int err = ERR_MEMORY;
    cjose_jws_t *jws = jws_make(claims, jwk);
    if (jws != NULL && cjose_jws_export(jws, &text, NULL)) {
        const size_t len = strlen(text);
        err = len <= *size ? 0 : ERR_LIMIT;
        if (err == 0) {
            memcpy(out, text, len);
            *size = len;
        }
    }
    cjose_jws_release(jws);
    return err;
}

/* ---- claims ---- */

bool
jwt_text_take(const json_t *json, char *out, size_t size)
{
    const char *text = json_string_value(json);
    const size_t len = json_string_length(json);
    if (text == NULL || len == 0 || len >= size || strlen(text) != len)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((uint8_t) text[i] < 0x20 || text[i] == 0x7f)
            return false;
    memcpy(out, text, len + 1);
    return true;
}

bool
jwt_audience_has(const json_t *claims, const char *audience)
{
    const json_t *aud = json_object_get(claims, "aud"), *one;
    size_t i;
    if (json_is_string(aud))
        return strcmp(json_string_value(aud), audience) == 0;
    json_array_foreach(aud, i,
                       one) if (json_is_string(one)
                                && strcmp(json_string_value(one), audience)
                                       == 0) return true;
    return false;
}

/* A NumericDate may have a fraction, which is passed over. False: it is none. */
static bool
date_read(const json_t *json, double *out)
{
    *out = json_number_value(json);
    return json_is_number(json) && *out >= 0 && *out < 1e12;
}

/* ERR_EXPIRED: now is not between them. */
int
jwt_times_judge(const json_t *claims, uint64_t now_s, unsigned skew_s)
{
    static const char *const begins[] = {"nbf", "iat"};
    double date;
    int err = 0;
    if (!date_read(json_object_get(claims, "exp"), &date))
        return ERR_DENIED;
    if ((double) now_s >= date + skew_s)
        err = ERR_EXPIRED;
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++) {
        const json_t *json = json_object_get(claims, begins[i]);
        if (json == NULL)
            continue;
        if (!date_read(json, &date))
            return ERR_DENIED;
        if (date > (double) now_s + skew_s)
            err = ERR_EXPIRED;
    }
    return err;
}
