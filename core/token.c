/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Playback tokens: which form one has, and the compact form.
 *
 *   0  version, 1 or 2               1  key id
 *   2  expiry, Unix s, be32          6  session, be64
 *  14  version 1: HMAC-SHA256 over bytes 0..13 and the content id, first 16
 *      bytes
 *  14  version 2: address family, 4 or 6;  15  bits of the prefix;  16  0
 *  17  HMAC-SHA256 over bytes 0..16, the content id and the network's 16
 *      bytes, first 16 bytes
 *
 * Neither the content id nor the network is in it: they are where the request
 * is, and the HMAC binds them.
 */

#include "core/base64url.h"
#include "core/content.h"
#include "core/err.h"
#include "core/token_forms.h"

#include <openssl/crypto.h>

#define COMPACT_SIGNED 14
#define COMPACT_BOUND 17 /* the same of version 2 */
#define COMPACT_MAC 16   /* of the 32 bytes of HMAC-SHA256 */
#define COMPACT_BOUND_LEN 44
#define COMPACT_SIZE_MAX (COMPACT_BOUND + COMPACT_MAC)

_Static_assert((COMPACT_SIGNED + COMPACT_MAC) * 4 == TOKEN_TEXT_LEN * 3
                   && COMPACT_SIZE_MAX * 4 == COMPACT_BOUND_LEN * 3,
               "whole groups: the text has no spare bits to vary");

/* ---- what all forms share ---- */

int
token_times_judge(const struct token_request *request,
                  const struct token_times *times)
{
    if (times->begins_s > request->now_s
        && times->begins_s - request->now_s > request->early_s)
        return ERR_DENIED;
    if (!request->is_expiry_ignored && request->now_s >= times->ends_s
        && request->now_s - times->ends_s >= request->late_s)
        return ERR_EXPIRED;
    return 0;
}

uint64_t
token_session(struct bytes name)
{
    return content_hash(name);
}

/* ---- the compact form ---- */

static int
compact_mac(const struct token_key *key, const uint8_t *token, size_t size,
            const struct network *network, struct bytes content,
            uint8_t mac[TOKEN_MAC_SIZE])
{
    const struct bytes parts[] = {
        bytes_of(token, size),
        content,
        /* last, as a content id has no fixed length */
        bytes_of(network->address, size == COMPACT_BOUND ? 16 : 0),
    };
    return token_key_mac(key, parts, 3, mac);
}

static int
compact_verify(struct token_keys *keys, struct bytes text,
               const struct token_request *request, struct token_claims *out)
{
    uint8_t token[COMPACT_SIZE_MAX];
    uint8_t mac[TOKEN_MAC_SIZE];
    const bool is_bound = text.len == COMPACT_BOUND_LEN;
    const size_t size = is_bound ? COMPACT_BOUND : COMPACT_SIGNED;
    struct token_claims claims = {0};

    if (!base64url_decode(text, token) || token[0] != 1 + is_bound)
        return ERR_DENIED;
    const struct token_key *key = token_key_by_id(keys, token[1]);
    if (key == NULL || key->algorithm != TOKEN_HS256)
        return ERR_DENIED;
    if (is_bound) {
        /* the client's own network, of the length that the token says */
        if (request->client == NULL || token[14] != request->client->family
            || token[15] > request->client->bits)
            return ERR_DENIED;
        claims.network = *request->client;
        network_widen(&claims.network, token[15], token[15]);
    }
    int err =
        compact_mac(key, token, size, &claims.network, request->content, mac);
    if (err != 0)
        return err;
    if (CRYPTO_memcmp(mac, token + size, COMPACT_MAC) != 0
        || (is_bound && token[16] != 0))
        return ERR_DENIED;
    claims.expires_s = load_be32(token + 2);
    claims.session = load_be64(token + 6);
    const struct token_times times = {0, (uint64_t) claims.expires_s + 1};
    err = token_times_judge(request, &times);
    if (err == 0)
        *out = claims;
    return err;
}

static int
compact_issue(const struct token_key *key, struct bytes content,
              const struct token_claims *claims, char *text, size_t *len)
{
    uint8_t token[COMPACT_SIZE_MAX];
    uint8_t mac[TOKEN_MAC_SIZE];
    const bool is_bound = claims->network.family != 0;
    const size_t size = is_bound ? COMPACT_BOUND : COMPACT_SIGNED;

    token[0] = (uint8_t) (1 + is_bound);
    token[1] = key->id;
    store_be32(token + 2, claims->expires_s);
    store_be64(token + 6, claims->session);
    token[14] = claims->network.family;
    token[15] = claims->network.bits;
    token[16] = 0;
    int err = compact_mac(key, token, size, &claims->network, content, mac);
    if (err != 0)
        return err;
    memcpy(token + size, mac, COMPACT_MAC);
    base64url_encode(bytes_of(token, size + COMPACT_MAC), text);
    *len = is_bound ? COMPACT_BOUND_LEN : TOKEN_TEXT_LEN;
    return 0;
}

/* ---- any form ---- */

int
token_sign(struct token_keys *keys, struct bytes content,
           const struct token_claims *claims, char *text)
{
    const struct token_key *key = token_key_signing(keys);
    const struct token_claims unbound = {
        claims->session, claims->expires_s, {0}};
    size_t len;
    return key == NULL ? ERR_UNSUPPORTED
                       : compact_issue(key, content, &unbound, text, &len);
}

int
token_issue(struct token_keys *keys, enum token_form form, struct bytes content,
            const struct token_claims *claims, char text[TOKEN_ISSUED_LEN_MAX],
            size_t *len)
{
    const struct token_key *key = token_key_signing(keys);
    if (key == NULL)
        return ERR_UNSUPPORTED;
    switch (form) {
    case TOKEN_COMPACT:
        return compact_issue(key, content, claims, text, len);
    case TOKEN_JWT:
        return token_jwt_issue(key, content, claims, text, len);
    case TOKEN_CAT:
        return token_cat_issue(key, content, claims, text, len);
    }
    return ERR_UNSUPPORTED;
}

int
token_verify_request(struct token_keys *keys, struct bytes text,
                     const struct token_request *request,
                     struct token_claims *out)
{
    if (text.len == 0 || text.len > TOKEN_TEXT_LEN_MAX)
        return ERR_DENIED;
    if (text.len == TOKEN_TEXT_LEN || text.len == COMPACT_BOUND_LEN)
        return compact_verify(keys, text, request, out);
    if (memchr(text.ptr, '.', text.len) != NULL)
        return token_jwt_verify(keys, text, request, out);
    return token_cat_verify(keys, text, request, out);
}

int
token_verify(struct token_keys *keys, struct bytes text, struct bytes content,
             uint64_t now_s, struct token_claims *out)
{
    const struct token_request request = {
        .scheme = BYTES_LITERAL("https"),
        .prefix = BYTES_LITERAL(TOKEN_PREFIX_DEFAULT),
        .content = content,
        .now_s = now_s,
    };
    return token_verify_request(keys, text, &request, out);
}
