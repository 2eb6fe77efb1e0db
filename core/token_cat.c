/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Playback tokens as Common Access Tokens: a CBOR Web Token (RFC 8392) in a
 * COSE_Mac0 with HMAC 256/256 or a COSE_Sign1 with ES256 (RFC 9052 sections 6.2
 * and 4.2), with the claims of CTA-5007-B, in base64url. What is particular
 * here:
 *
 *   - The token is a path segment of its own, and the URI that catu is held
 *     against is that of the request without the segment.
 *   - The algorithm is in the protected header; the key id in either. Any other
 *     header parameter refuses the token, and so does an envelope that is not
 *     in its shortest form: nothing outside the MAC can be altered.
 *   - exp has to be there, and catu with a path: a token is for something, and
 *     ends.
 *   - Any claim that is not in the table below refuses the token; of catu the
 *     query, regular expressions and SHA-512/256 do; catreplay other than
 *     "permitted" does, as tiers do not tell each other what they saw.
 *   - The session is cti: 8 bytes, or any.
 */

#include "core/base64url.h"
#include "core/err.h"
#include "core/token_cbor.h"
#include "core/token_forms.h"

enum {
    TAG_MAC0 = 17,
    TAG_SIGN1 = 18,
    TAG_CWT = 61,
    TAG_IPV4 = 52,
    TAG_IPV6 = 54
};
enum { HEADER_ALG = 1, HEADER_KID = 4 };
enum { ALG_ES256 = -7, ALG_HMAC256 = 5 };

/* IANA's registry of CWT claims */
enum {
    CLAIM_ISS = 1,
    CLAIM_SUB = 2,
    CLAIM_AUD = 3,
    CLAIM_EXP = 4,
    CLAIM_NBF = 5,
    CLAIM_IAT = 6,
    CLAIM_CTI = 7,
    CLAIM_CATREPLAY = 308,
    CLAIM_CATV = 310,
    CLAIM_CATNIP = 311,
    CLAIM_CATU = 312,
    CLAIM_CATM = 313,
    CLAIM_CATR = 323,
};

/* What is seen of a token's claims, for those that may not stand twice. */
static const int16_t claim_labels[] = {
    CLAIM_ISS,  CLAIM_SUB,  CLAIM_AUD,  CLAIM_EXP,       CLAIM_NBF,
    CLAIM_IAT,  CLAIM_CTI,  CLAIM_CATV, CLAIM_CATREPLAY, CLAIM_CATNIP,
    CLAIM_CATU, CLAIM_CATM, CLAIM_CATR,
};

struct cat {
    struct bytes protected_item, protected_map, payload_item, payload, tag;
    struct bytes kid;
    int64_t alg;
    bool is_sign1;
    const struct token_key *key;
    const struct token_request *request;
    bool has_exp, has_path;
    struct bytes cti;
    struct token_times times;
    struct network network;
};

/* ---- the envelope ---- */

static bool
headers_read(struct cat *cat, struct token_cbor *cbor, bool is_protected)
{
    uint64_t count;
    int64_t label;

    if (!token_cbor_take(cbor, TOKEN_CBOR_MAP, &count))
        return false;
    for (; count > 0; count--) {
        if (!token_cbor_integer_take(cbor, &label))
            return false;
        if (label == HEADER_ALG && is_protected && cat->alg == 0) {
            if (!token_cbor_integer_take(cbor, &cat->alg))
                return false;
        } else if (label != HEADER_KID || cat->kid.ptr != NULL
                   || !token_cbor_string_take(cbor, TOKEN_CBOR_BYTES,
                                              &cat->kid)) {
            return false;
        }
    }
    return true;
}

/* A byte string, and the bytes that it is with its head. */
static bool
item_take(struct token_cbor *cbor, struct bytes *item, struct bytes *inside)
{
    const uint8_t *start = cbor->at;
    if (!token_cbor_string_take(cbor, TOKEN_CBOR_BYTES, inside))
        return false;
    *item = bytes_of(start, (size_t) (cbor->at - start));
    return true;
}

static bool
tags_take(struct token_cbor *cbor, bool *is_mac0, bool *is_sign1)
{
    uint64_t tag = 0;

    *is_mac0 = *is_sign1 = false;
    if (!token_cbor_is(cbor, TOKEN_CBOR_TAG))
        return true;
    if (!token_cbor_take(cbor, TOKEN_CBOR_TAG, &tag))
        return false;
    if (tag == TAG_CWT && token_cbor_is(cbor, TOKEN_CBOR_TAG)
        && !token_cbor_take(cbor, TOKEN_CBOR_TAG, &tag))
        return false;
    *is_mac0 = tag == TAG_MAC0;
    *is_sign1 = tag == TAG_SIGN1;
    return *is_mac0 || *is_sign1;
}

static bool
envelope_read(struct cat *cat, struct bytes data)
{
    struct token_cbor cbor = token_cbor_of(data);
    struct bytes ignored;
    bool is_mac0, is_sign1;
    uint64_t count;

    if (!tags_take(&cbor, &is_mac0, &is_sign1)
        || !token_cbor_take(&cbor, TOKEN_CBOR_ARRAY, &count) || count != 4
        || !item_take(&cbor, &cat->protected_item, &cat->protected_map)
        || !headers_read(cat, &cbor, false)
        || !item_take(&cbor, &cat->payload_item, &cat->payload)
        || !item_take(&cbor, &ignored, &cat->tag) || cbor.at != cbor.end
        || !cbor.is_shortest)
        return false;
    struct token_cbor map = token_cbor_of(cat->protected_map);
    if (!headers_read(cat, &map, true) || map.at != map.end)
        return false;
    cat->is_sign1 = cat->alg == ALG_ES256;
    return (cat->alg == ALG_ES256 && !is_mac0)
           || (cat->alg == ALG_HMAC256 && !is_sign1);
}

/* MAC_structure and Sig_structure, RFC 9052 sections 6.3 and 4.4. */
static size_t
structure_parts(const struct cat *cat, struct bytes parts[4])
{
    parts[0] = cat->is_sign1 ? BYTES_LITERAL("\x84\x6aSignature1")
                             : BYTES_LITERAL("\x84\x64MAC0");
    parts[1] = cat->protected_item;
    parts[2] = BYTES_LITERAL("\x40"); /* nothing external */
    parts[3] = cat->payload_item;
    return 4;
}

/* ---- claims ---- */

/* An address or a prefix as RFC 9164 writes them; bytes at the end of a
 * prefix may be there or not. */
static bool
network_take(struct token_cbor *cbor, struct network *out)
{
    uint64_t tag, count, bits;
    uint8_t address[16] = {0};
    struct bytes given;

    if (!token_cbor_take(cbor, TOKEN_CBOR_TAG, &tag)
        || (tag != TAG_IPV4 && tag != TAG_IPV6))
        return false;
    const size_t size = tag == TAG_IPV4 ? 4 : 16;
    bits = size * 8;
    const bool is_prefix = token_cbor_is(cbor, TOKEN_CBOR_ARRAY);
    if (is_prefix
        && (!token_cbor_take(cbor, TOKEN_CBOR_ARRAY, &count) || count != 2
            || !token_cbor_take(cbor, TOKEN_CBOR_UNSIGNED, &bits)
            || bits > size * 8))
        return false;
    if (!token_cbor_string_take(cbor, TOKEN_CBOR_BYTES, &given)
        || given.len > size || (!is_prefix && given.len != size))
        return false;
    if (given.len > 0)
        memcpy(address, given.ptr, given.len);
    network_set(out, tag == TAG_IPV4 ? 4 : 6, address, (unsigned) bits);
    return true;
}

/* One of the networks is the client's. Numbers of autonomous systems are none
 * of these: nothing here knows whose address is in which. */
static bool
catnip_holds(struct cat *cat, struct token_cbor *cbor)
{
    struct network network;
    uint64_t count, number;
    bool holds = false;

    if (!token_cbor_take(cbor, TOKEN_CBOR_ARRAY, &count))
        return false;
    for (; count > 0; count--) {
        if (token_cbor_is(cbor, TOKEN_CBOR_UNSIGNED)) {
            if (!token_cbor_take(cbor, TOKEN_CBOR_UNSIGNED, &number))
                return false;
            continue;
        }
        if (!network_take(cbor, &network))
            return false;
        if (!holds && cat->request->client != NULL
            && network_contains(&network, cat->request->client)) {
            holds = true;
            cat->network = network;
        }
    }
    return holds;
}

static bool
methods_hold(const struct cat *cat, struct token_cbor *cbor)
{
    const struct bytes wanted = cat->request->method.len > 0
                                    ? cat->request->method
                                    : BYTES_LITERAL("GET");
    struct bytes method;
    uint64_t count;
    bool holds = false;

    if (!token_cbor_take(cbor, TOKEN_CBOR_ARRAY, &count))
        return false;
    for (; count > 0; count--) {
        if (!token_cbor_string_take(cbor, TOKEN_CBOR_TEXT, &method))
            return false;
        holds |= bytes_equal(method, wanted);
    }
    return holds;
}

static bool
name_is(struct token_cbor *cbor, const struct token_name *name)
{
    struct bytes text;
    return token_cbor_string_take(cbor, TOKEN_CBOR_TEXT, &text) && name->len > 0
           && bytes_equal(text, token_name_bytes(name));
}

static bool
claim_holds(struct cat *cat, int64_t label, struct token_cbor *cbor)
{
    uint64_t value;

    switch (label) {
    case CLAIM_ISS:
        return name_is(cbor, &cat->key->issuer);
    case CLAIM_AUD:
        return name_is(cbor, &cat->key->audience);
    case CLAIM_EXP:
        return cat->has_exp = token_cbor_take(cbor, TOKEN_CBOR_UNSIGNED,
                                              &cat->times.ends_s);
    case CLAIM_NBF:
        return token_cbor_take(cbor, TOKEN_CBOR_UNSIGNED, &cat->times.begins_s);
    case CLAIM_CTI:
        return token_cbor_string_take(cbor, TOKEN_CBOR_BYTES, &cat->cti);
    case CLAIM_CATREPLAY:
        return token_cbor_take(cbor, TOKEN_CBOR_UNSIGNED, &value) && value == 0;
    case CLAIM_CATV:
        return token_cbor_take(cbor, TOKEN_CBOR_UNSIGNED, &value) && value == 1;
    case CLAIM_CATNIP:
        return catnip_holds(cat, cbor);
    case CLAIM_CATU:
        return token_catu_holds(cat->request, cbor, &cat->has_path);
    case CLAIM_CATM:
        return methods_hold(cat, cbor);
    case CLAIM_SUB:
    case CLAIM_IAT:
    case CLAIM_CATR: /* how to renew it: asks nothing of who does not */
        return token_cbor_skip(cbor);
    }
    return false;
}

/* Its bit among those seen; 0: no such claim. */
static unsigned
claim_bit(int64_t label)
{
    for (unsigned i = 0; i < sizeof claim_labels / sizeof *claim_labels; i++)
        if (claim_labels[i] == label)
            return 1u << i;
    return 0;
}

static int
claims_judge(struct cat *cat)
{
    struct token_cbor cbor = token_cbor_of(cat->payload);
    unsigned seen = 0;
    uint64_t count;
    int64_t label;

    if (!token_cbor_take(&cbor, TOKEN_CBOR_MAP, &count))
        return ERR_DENIED;
    for (; count > 0; count--) {
        if (!token_cbor_integer_take(&cbor, &label))
            return ERR_DENIED;
        const unsigned bit = claim_bit(label);
        if (bit == 0 || (seen & bit) != 0 || !claim_holds(cat, label, &cbor))
            return ERR_DENIED;
        seen |= bit;
    }
    if (cbor.at != cbor.end || !cat->has_exp || !cat->has_path)
        return ERR_DENIED;
    return token_times_judge(cat->request, &cat->times);
}

int
token_cat_verify(struct token_keys *keys, struct bytes text,
                 const struct token_request *request, struct token_claims *out)
{
    struct cat cat = {.request = request};
    uint8_t data[TOKEN_SIZE_MAX];
    struct bytes parts[4];

    if (!base64url_decode(text, data)
        || !envelope_read(&cat, bytes_of(data, BASE64URL_SIZE(text.len)))
        || cat.kid.ptr == NULL)
        return ERR_DENIED;
    cat.key = token_key_by_name(keys, cat.kid);
    if (cat.key == NULL || cat.is_sign1 != (cat.key->algorithm == TOKEN_ES256))
        return ERR_DENIED;
    int err =
        token_key_check(cat.key, parts, structure_parts(&cat, parts), cat.tag);
    if (err == 0)
        err = claims_judge(&cat);
    if (err != 0)
        return err;
    *out = (struct token_claims){
        .session = cat.cti.len == 8
                       ? load_be64(cat.cti.ptr)
                       : token_session(cat.cti.len > 0 ? cat.cti : text),
        .expires_s = cat.times.ends_s > UINT32_MAX
                         ? UINT32_MAX
                         : (uint32_t) cat.times.ends_s,
        .network = cat.network,
    };
    return 0;
}

/* ---- issuing ---- */

/* [52([24, h'c00002'])], without the zeros at its end: RFC 9164 section 3. */
static uint8_t *
network_put(uint8_t *out, const struct network *network)
{
    const size_t size = network->family == 4 ? 4 : 16;
    size_t len = size;

    out = token_cbor_put(out, TOKEN_CBOR_ARRAY, 1);
    out = token_cbor_put(out, TOKEN_CBOR_TAG,
                         network->family == 4 ? TAG_IPV4 : TAG_IPV6);
    if (network->bits < size * 8) {
        while (len > 0 && network->address[len - 1] == 0)
            len--;
        out = token_cbor_put(out, TOKEN_CBOR_ARRAY, 2);
        out = token_cbor_put(out, TOKEN_CBOR_UNSIGNED, network->bits);
    }
    return token_cbor_put_string(out, TOKEN_CBOR_BYTES,
                                 bytes_of(network->address, len));
}

static uint8_t *
claims_put(uint8_t *out, struct bytes content,
           const struct token_claims *claims)
{
    static const char prefix[] = TOKEN_PREFIX_DEFAULT;
    const bool is_bound = claims->network.family != 0;
    uint8_t cti[8];

    store_be64(cti, claims->session);
    out = token_cbor_put(out, TOKEN_CBOR_MAP, 4 + is_bound);
    out = token_cbor_put(out, TOKEN_CBOR_UNSIGNED, CLAIM_EXP);
    out = token_cbor_put(out, TOKEN_CBOR_UNSIGNED, claims->expires_s);
    out = token_cbor_put(out, TOKEN_CBOR_UNSIGNED, CLAIM_CTI);
    out =
        token_cbor_put_string(out, TOKEN_CBOR_BYTES, bytes_of(cti, sizeof cti));
    out = token_cbor_put(out, TOKEN_CBOR_UNSIGNED, CLAIM_CATV);
    out = token_cbor_put(out, TOKEN_CBOR_UNSIGNED, 1);
    if (is_bound) {
        out = token_cbor_put(out, TOKEN_CBOR_UNSIGNED, CLAIM_CATNIP);
        out = network_put(out, &claims->network);
    }
    /* {path: {prefix: "/p/<content>/"}} */
    out = token_cbor_put(out, TOKEN_CBOR_UNSIGNED, CLAIM_CATU);
    out = token_cbor_put(out, TOKEN_CBOR_MAP, 1);
    out = token_cbor_put(out, TOKEN_CBOR_UNSIGNED, TOKEN_CATU_PATH);
    out = token_cbor_put(out, TOKEN_CBOR_MAP, 1);
    out = token_cbor_put(out, TOKEN_CBOR_UNSIGNED, TOKEN_CATU_PREFIX);
    out = token_cbor_put(out, TOKEN_CBOR_TEXT,
                         sizeof prefix - 1 + content.len + 1);
    memcpy(out, prefix, sizeof prefix - 1);
    out += sizeof prefix - 1;
    memcpy(out, content.ptr, content.len);
    out += content.len;
    *out++ = '/';
    return out;
}

int
token_cat_issue(const struct token_key *key, struct bytes content,
                const struct token_claims *claims, char *text, size_t *len)
{
    uint8_t headers[TOKEN_NAME_LEN_MAX + 16], payload[256], data[512];
    uint8_t mac[TOKEN_MAC_SIZE], *at = headers;
    struct bytes parts[4];
    struct cat cat = {0};

    /* the key id is under the MAC as well */
    at = token_cbor_put(at, TOKEN_CBOR_MAP, 2);
    at = token_cbor_put(at, TOKEN_CBOR_UNSIGNED, HEADER_ALG);
    at = token_cbor_put(at, TOKEN_CBOR_UNSIGNED, ALG_HMAC256);
    at = token_cbor_put(at, TOKEN_CBOR_UNSIGNED, HEADER_KID);
    at = token_cbor_put_string(at, TOKEN_CBOR_BYTES,
                               token_name_bytes(&key->kid));
    const struct bytes header = bytes_of(headers, (size_t) (at - headers));
    at = claims_put(payload, content, claims);
    const struct bytes claims_map = bytes_of(payload, (size_t) (at - payload));

    at = token_cbor_put(data, TOKEN_CBOR_TAG, TAG_CWT);
    at = token_cbor_put(at, TOKEN_CBOR_TAG, TAG_MAC0);
    at = token_cbor_put(at, TOKEN_CBOR_ARRAY, 4);
    cat.protected_item.ptr = at;
    at = token_cbor_put_string(at, TOKEN_CBOR_BYTES, header);
    cat.protected_item.len = (size_t) (at - cat.protected_item.ptr);
    at = token_cbor_put(at, TOKEN_CBOR_MAP, 0);
    cat.payload_item.ptr = at;
    at = token_cbor_put_string(at, TOKEN_CBOR_BYTES, claims_map);
    cat.payload_item.len = (size_t) (at - cat.payload_item.ptr);
    int err = token_key_mac(key, parts, structure_parts(&cat, parts), mac);
    if (err != 0)
        return err;
    at = token_cbor_put_string(at, TOKEN_CBOR_BYTES, bytes_of(mac, sizeof mac));
    const struct bytes all = bytes_of(data, (size_t) (at - data));
    base64url_encode(all, text);
    *len = BASE64URL_LEN(all.len);
    return 0;
}
