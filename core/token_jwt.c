/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Playback tokens as JSON Web Tokens: JWS compact serialization (RFC 7515
 * section 3.1) with HS256 or ES256, and the claims of URI Signing (RFC 9246
 * section 2.1). What is particular here:
 *
 *   - The signed JWT is a path segment of its own, and the URI that cdniuc is
 *     held against is that of the request without the segment.
 *   - cdniuc: "hash:" with sha-256, and "regex:" as far as core/token_uri.h
 *     goes; it has to match the whole URI.
 *   - exp must be there: a token that never ends cannot be taken back.
 *   - jti is a nonce by section 2.1.7, to be refused by who stores none. The
 *     session is in "sid": 16 hex digits, or any text.
 *   - renewal by cookie (cdnistt other than 0) is refused.
 */

#include "core/base64url.h"
#include "core/err.h"
#include "core/token_forms.h"
#include "core/token_json.h"
#include "core/token_uri.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>

#define HEADER_SIZE_MAX 384

#define CLAIMS(X)           \
    X(ISS, "iss")           \
    X(AUD, "aud")           \
    X(SUB, "sub")           \
    X(EXP, "exp")           \
    X(NBF, "nbf")           \
    X(IAT, "iat")           \
    X(JTI, "jti")           \
    X(SID, "sid")           \
    X(CDNIV, "cdniv")       \
    X(CDNICRIT, "cdnicrit") \
    X(CDNIIP, "cdniip")     \
    X(CDNIUC, "cdniuc")     \
    X(CDNIETS, "cdniets")   \
    X(CDNISTT, "cdnistt")   \
    X(CDNISTD, "cdnistd")

enum claim {
#define CLAIM(symbol, name) CLAIM_##symbol,
    CLAIMS(CLAIM)
#undef CLAIM
        CLAIM_COUNT
};

static const struct bytes claim_names[CLAIM_COUNT] = {
#define CLAIM(symbol, name) {(const uint8_t *) name, sizeof name - 1},
    CLAIMS(CLAIM)
#undef CLAIM
};

struct jwt {
    struct bytes signed_text, header, payload, signature;
    const struct token_key *key;
    const struct token_request *request;
    unsigned seen; /* a bit a claim */
    struct bytes sid;
    struct token_times times;
    struct network network;
};

static bool
jwt_split(struct bytes text, struct jwt *jwt)
{
    const uint8_t *first = memchr(text.ptr, '.', text.len);
    const uint8_t *end = text.ptr + text.len;
    const uint8_t *second =
        first != NULL ? memchr(first + 1, '.', (size_t) (end - first - 1))
                      : NULL;
    if (second == NULL)
        return false;
    jwt->header = bytes_of(text.ptr, (size_t) (first - text.ptr));
    jwt->payload = bytes_of(first + 1, (size_t) (second - first - 1));
    jwt->signature = bytes_of(second + 1, (size_t) (end - second - 1));
    jwt->signed_text = bytes_of(text.ptr, (size_t) (second - text.ptr));
    return true;
}

/* Finds the key that the header names. "alg" has to be the key's own: it
 * chooses nothing (RFC 8725 section 3.1). */
static bool
jwt_key_find(const struct token_keys *keys, struct jwt *jwt)
{
    uint8_t header[HEADER_SIZE_MAX];
    struct bytes alg = {0}, kid = {0};
    struct token_json json;
    struct token_json_member member;
    int more;

    if (BASE64URL_SIZE(jwt->header.len) > sizeof header
        || !base64url_decode(jwt->header, header)
        || !token_json_open(&json, header, BASE64URL_SIZE(jwt->header.len)))
        return false;
    while ((more = token_json_next(&json, &member)) == 1) {
        struct bytes *known =
            bytes_equal(member.name, BYTES_LITERAL("alg"))   ? &alg
            : bytes_equal(member.name, BYTES_LITERAL("kid")) ? &kid
                                                             : NULL;
        if (bytes_equal(member.name, BYTES_LITERAL("crit"))
            || (known != NULL
                && (known->ptr != NULL || member.type != TOKEN_JSON_STRING)))
            return false;
        if (known != NULL)
            *known = member.text;
    }
    if (more != 0 || alg.ptr == NULL || kid.ptr == NULL)
        return false;
    jwt->key = token_key_by_name(keys, kid);
    return jwt->key != NULL
           && bytes_equal(alg, jwt->key->algorithm == TOKEN_HS256
                                   ? BYTES_LITERAL("HS256")
                                   : BYTES_LITERAL("ES256"));
}

/* ---- claims ---- */

static enum claim
claim_find(struct bytes name)
{
    int claim = 0;
    while (claim < CLAIM_COUNT && !bytes_equal(claim_names[claim], name))
        claim++;
    return (enum claim) claim;
}

/* "exp,nbf": all of them have to be known. A subject is not judged here. */
static bool
critical_are_known(struct bytes list)
{
    size_t start = 0;
    for (size_t i = 0; i <= list.len; i++) {
        if (i < list.len && list.ptr[i] != ',')
            continue;
        enum claim claim = claim_find(bytes_of(list.ptr + start, i - start));
        if (claim == CLAIM_COUNT || claim == CLAIM_SUB)
            return false;
        start = i + 1;
    }
    return true;
}

/* "sha-256;" and the digest, as a URL segment of RFC 6920 section 5. */
static bool
hash_matches(struct bytes value, struct bytes uri)
{
    static const char name[] = "sha-256;";
    const size_t skip = sizeof name - 1;
    uint8_t wanted[SHA256_DIGEST_LENGTH], digest[SHA256_DIGEST_LENGTH];

    if (value.len != skip + BASE64URL_LEN(sizeof wanted)
        || memcmp(value.ptr, name, skip) != 0
        || !base64url_decode(bytes_of(value.ptr + skip, value.len - skip),
                             wanted))
        return false;
    SHA256(uri.ptr, uri.len, digest);
    return CRYPTO_memcmp(wanted, digest, sizeof digest) == 0;
}

static bool
container_matches(struct bytes value, const struct token_request *request)
{
    static const char hash[] = "hash:", regex[] = "regex:";
    struct token_uri uri;

    if (!token_uri_make(request, &uri))
        return false;
    if (value.len >= 5 && memcmp(value.ptr, hash, 5) == 0)
        return hash_matches(bytes_of(value.ptr + 5, value.len - 5), uri.all);
    if (value.len >= 6 && memcmp(value.ptr, regex, 6) == 0)
        return token_pattern_matches(bytes_of(value.ptr + 6, value.len - 6),
                                     uri.all);
    return false;
}

static bool
name_is(const struct token_json_member *member, const struct token_name *name)
{
    return member->type == TOKEN_JSON_STRING && name->len > 0
           && bytes_equal(member->text, token_name_bytes(name));
}

/* A restriction holds, or there is none in it. */
static bool
claim_holds(struct jwt *jwt, enum claim claim,
            const struct token_json_member *member)
{
    const bool is_text = member->type == TOKEN_JSON_STRING;
    const bool is_integer = member->type == TOKEN_JSON_INTEGER;

    switch (claim) {
    case CLAIM_ISS:
        return name_is(member, &jwt->key->issuer);
    case CLAIM_AUD:
        return name_is(member, &jwt->key->audience);
    case CLAIM_EXP:
        jwt->times.ends_s = member->integer;
        return is_integer;
    case CLAIM_NBF:
        jwt->times.begins_s = member->integer;
        return is_integer;
    case CLAIM_SID:
        jwt->sid = member->text;
        return is_text && member->text.len > 0;
    case CLAIM_CDNIV:
        return is_integer && member->integer == 1;
    case CLAIM_CDNICRIT:
        return is_text && critical_are_known(member->text);
    case CLAIM_CDNIUC:
        return is_text && container_matches(member->text, jwt->request);
    case CLAIM_CDNIIP:
        return is_text && jwt->request->client != NULL
               && token_jwe_open(jwt->key, member->text, &jwt->network) == 0
               && network_contains(&jwt->network, jwt->request->client);
    case CLAIM_CDNISTT:
        return is_integer && member->integer == 0;
    case CLAIM_JTI:
        return false;
    case CLAIM_SUB:
    case CLAIM_IAT:
    case CLAIM_CDNIETS:
    case CLAIM_CDNISTD:
    case CLAIM_COUNT: /* another: RFC 7519 section 4 has it ignored */
        return true;
    }
    return false;
}

static int
claims_judge(struct jwt *jwt, uint8_t *payload, size_t size)
{
    const unsigned needed = 1u << CLAIM_EXP | 1u << CLAIM_CDNIUC;
    struct token_json json;
    struct token_json_member member = {0};
    int more;

    if (!token_json_open(&json, payload, size))
        return ERR_DENIED;
    while ((more = token_json_next(&json, &member)) == 1) {
        enum claim claim = claim_find(member.name);
        if (claim != CLAIM_COUNT && (jwt->seen & 1u << claim) != 0)
            return ERR_DENIED;
        jwt->seen |= 1u << claim;
        if (!claim_holds(jwt, claim, &member))
            return ERR_DENIED;
    }
    if (more != 0 || (jwt->seen & needed) != needed)
        return ERR_DENIED;
    return token_times_judge(jwt->request, &jwt->times);
}

static bool
hex64_parse(struct bytes text, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned) c - '0'
                         : c >= 'a' && c <= 'f' ? c - 'a' + 10u
                                                : 16u;
        if (digit > 15)
            return false;
        *out = *out << 4 | digit;
    }
    return text.len == 16;
}

int
token_jwt_verify(struct token_keys *keys, struct bytes text,
                 const struct token_request *request, struct token_claims *out)
{
    struct jwt jwt = {.request = request};
    uint8_t signature[TOKEN_ES256_SIZE];
    uint8_t payload[TOKEN_SIZE_MAX];

    if (!jwt_split(text, &jwt)
        || BASE64URL_SIZE(jwt.signature.len) > sizeof signature
        || !base64url_decode(jwt.signature, signature)
        || !jwt_key_find(keys, &jwt))
        return ERR_DENIED;
    int err =
        token_key_check(jwt.key, &jwt.signed_text, 1,
                        bytes_of(signature, BASE64URL_SIZE(jwt.signature.len)));
    if (err != 0)
        return err;
    if (!base64url_decode(jwt.payload, payload))
        return ERR_DENIED;
    err = claims_judge(&jwt, payload, BASE64URL_SIZE(jwt.payload.len));
    if (err != 0)
        return err;
    *out = (struct token_claims){
        .expires_s = jwt.times.ends_s > UINT32_MAX
                         ? UINT32_MAX
                         : (uint32_t) jwt.times.ends_s,
        .network = jwt.network,
    };
    if (!hex64_parse(jwt.sid, &out->session))
        out->session = token_session(jwt.sid.len > 0 ? jwt.sid : text);
    return 0;
}

/* ---- issuing ---- */

/* The URI of any file of the content, at any of our hosts. */
static size_t
pattern_write(struct bytes content, char *out)
{
    static const char before[] = "regex:^[^:]*://[^/]*" TOKEN_PREFIX_DEFAULT;
    size_t len = sizeof before - 1;

    memcpy(out, before, len);
    for (size_t i = 0; i < content.len; i++) {
        const bool is_dot = content.ptr[i] == '.';
        if (is_dot)
            out[len++] = '[';
        out[len++] = (char) content.ptr[i];
        if (is_dot)
            out[len++] = ']';
    }
    memcpy(out + len, "/.*$", 4);
    return len + 4;
}

int
token_jwt_issue(const struct token_key *key, struct bytes content,
                const struct token_claims *claims, char *text, size_t *len)
{
    char header[TOKEN_NAME_LEN_MAX + 64], payload[640];
    char pattern[256], hidden[TOKEN_JWE_LEN_MAX];
    uint8_t mac[TOKEN_MAC_SIZE];
    size_t pattern_len = pattern_write(content, pattern), hidden_len = 0;
    int err = 0;

    if (claims->network.family != 0)
        err = key->has_jwe
                  ? token_jwe_seal(key, &claims->network, hidden, &hidden_len)
                  : ERR_UNSUPPORTED;
    if (err != 0)
        return err;
    int header_len =
        snprintf(header, sizeof header, "{\"alg\":\"HS256\",\"kid\":\"%.*s\"}",
                 (int) key->kid.len, (const char *) key->kid.text);
    int size = snprintf(
        payload, sizeof payload,
        "{\"cdniv\":1,\"exp\":%lu,\"cdniuc\":\"%.*s\",\"sid\":\"%016llx\"",
        (unsigned long) claims->expires_s, (int) pattern_len, pattern,
        (unsigned long long) claims->session);
    if (hidden_len > 0)
        size += snprintf(payload + size, sizeof payload - (size_t) size,
                         ",\"cdniip\":\"%.*s\"", (int) hidden_len, hidden);
    payload[size++] = '}';

    size_t at = BASE64URL_LEN((size_t) header_len);
    base64url_encode(bytes_of(header, (size_t) header_len), text);
    text[at++] = '.';
    base64url_encode(bytes_of(payload, (size_t) size), text + at);
    at += BASE64URL_LEN((size_t) size);
    const struct bytes signed_text = bytes_of(text, at);
    err = token_key_mac(key, &signed_text, 1, mac);
    if (err != 0)
        return err;
    text[at++] = '.';
    base64url_encode(bytes_of(mac, sizeof mac), text + at);
    *len = at + BASE64URL_LEN(sizeof mac);
    return 0;
}
