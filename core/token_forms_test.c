/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/x509.h>
#include <stdio.h>

#include "core/base64url.h"
#include "core/err.h"
#include "core/test_random.h"
#include "core/token.h"
#include "core/token_cbor.h"
#include "core/token_forms.h"

#define HEX_A "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define HEX_B "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"
#define KEYS "7 " HEX_A " jwe=" HEX_B "\n8 " HEX_B " kid=eight iss=me aud=us\n"
#define NOW 1700000000u
#define COUNT(a) (sizeof(a) / sizeof *(a))

static const struct token_claims claims = {.session = 0x0123456789abcdef,
                                           .expires_s = 2000000000};

static const uint8_t secret_a[32] = {
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa,
    0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x00, 0x11, 0x22, 0x33, 0x44, 0x55,
    0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
static const uint8_t secret_b[32] = {
    0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99, 0x88, 0x77, 0x66, 0x55,
    0x44, 0x33, 0x22, 0x11, 0x00, 0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa,
    0x99, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x00};

static struct token_keys *
keys_of(const char *text)
{
    struct token_keys *keys = NULL;
    unsigned line = 0;
    assert_int_equal(token_keys_parse(bytes_of_text(text), &keys, &line), 0);
    return keys;
}

static struct network
address_of(const char *text)
{
    struct network address;
    assert_int_equal(network_parse(text, &address), 0);
    return address;
}

static struct token_request
request_of(const char *content)
{
    return (struct token_request){
        .scheme = BYTES_LITERAL("http"),
        .authority = BYTES_LITERAL("node.example:8080"),
        .prefix = BYTES_LITERAL("/p/"),
        .content = bytes_of_text(content),
        .rest = BYTES_LITERAL("v1/v0/3.m4s"),
        .now_s = NOW,
    };
}

/* A JWT of these parts, whatever they are. */
static struct bytes
jwt_of(const char *header, const char *payload, const uint8_t *secret,
       char *text)
{
    uint8_t mac[32];
    base64url_encode(bytes_of_text(header), text);
    size_t len = BASE64URL_LEN(strlen(header));
    text[len++] = '.';
    base64url_encode(bytes_of_text(payload), text + len);
    len += BASE64URL_LEN(strlen(payload));
    HMAC(EVP_sha256(), secret, 32, (uint8_t *) text, len, mac, NULL);
    text[len++] = '.';
    base64url_encode(bytes_of(mac, 32), text + len);
    return bytes_of(text, len + BASE64URL_LEN(32));
}

static size_t
hex_read(const char *hex, uint8_t *out)
{
    size_t size = 0;
    for (unsigned byte; *hex != '\0'; hex += 2)
        if (*hex == ' ')
            hex--;
        else if (sscanf(hex, "%2x", &byte) == 1)
            out[size++] = (uint8_t) byte;
    return size;
}

/* A CAT of these parts; the MAC is over what RFC 9052 says. */
static struct bytes
cat_of(const char *protected_hex, const char *unprotected_hex,
       const char *payload_hex, const uint8_t *secret, char *text)
{
    uint8_t part[256], data[1024], whole[1024], mac[32];
    uint8_t *at = data, *to = whole;
    memcpy(to, "\x84\x64MAC0", 6);
    to += 6;
    at = token_cbor_put(at, TOKEN_CBOR_TAG, 61);
    at = token_cbor_put(at, TOKEN_CBOR_TAG, 17);
    at = token_cbor_put(at, TOKEN_CBOR_ARRAY, 4);
    struct bytes bytes = bytes_of(part, hex_read(protected_hex, part));
    at = token_cbor_put_string(at, TOKEN_CBOR_BYTES, bytes);
    to = token_cbor_put_string(to, TOKEN_CBOR_BYTES, bytes);
    *to++ = 0x40;
    size_t size = hex_read(unprotected_hex, part);
    memcpy(at, part, size);
    at += size;
    bytes = bytes_of(part, hex_read(payload_hex, part));
    at = token_cbor_put_string(at, TOKEN_CBOR_BYTES, bytes);
    to = token_cbor_put_string(to, TOKEN_CBOR_BYTES, bytes);
    HMAC(EVP_sha256(), secret, 32, whole, (size_t) (to - whole), mac, NULL);
    at = token_cbor_put_string(at, TOKEN_CBOR_BYTES, bytes_of(mac, 32));
    bytes = bytes_of(data, (size_t) (at - data));
    base64url_encode(bytes, text);
    return bytes_of(text, BASE64URL_LEN(bytes.len));
}

static void
every_form_is_verified_for_its_content_until_it_ends(void **state)
{
    struct token_keys *keys = keys_of(KEYS);
    const char *contents[] = {"film", "a.b-c_d..e",
                              "0123456789012345678901234567890123456789"
                              "........................"};
    for (size_t i = 0; i < COUNT(contents); i++) {
        for (int form = TOKEN_COMPACT; form <= TOKEN_CAT; form++) {
            struct token_request request = request_of(contents[i]);
            struct token_claims found = {0};
            char text[TOKEN_ISSUED_LEN_MAX];
            size_t len;
            assert_int_equal(
                token_issue(keys, form, request.content, &claims, text, &len),
                0);
            struct bytes token = bytes_of(text, len);
            assert_int_equal(
                token_verify_request(keys, token, &request, &found), 0);
            assert_true(found.session == claims.session);
            assert_int_equal(found.expires_s, claims.expires_s);
            assert_int_equal(found.network.family, 0);
            /* the play as such, as steering and a renewal ask */
            assert_int_equal(
                token_verify(keys, token, request.content, NOW, &found), 0);
            request.content = BYTES_LITERAL("other");
            assert_int_equal(
                token_verify_request(keys, token, &request, &found),
                ERR_DENIED);
            request.content = bytes_of_text(contents[i]);
            request.now_s = 1999999999;
            assert_int_equal(
                token_verify_request(keys, token, &request, &found), 0);
            request.now_s = 2000000001;
            assert_int_equal(
                token_verify_request(keys, token, &request, &found),
                ERR_EXPIRED);
            request.late_s = 2;
            assert_int_equal(
                token_verify_request(keys, token, &request, &found), 0);
            request.late_s = 0;
            request.is_expiry_ignored = true;
            assert_int_equal(
                token_verify_request(keys, token, &request, &found), 0);
        }
    }
    token_keys_free(keys);
}

static void
every_form_is_bound_to_a_network_if_asked(void **state)
{
    static const struct {
        const char *viewer, *near, *far;
    } cases[] = {
        {"192.0.2.77", "192.0.2.200", "192.0.3.77"},
        {"::ffff:192.0.2.77", "192.0.2.200", "::ffff:192.0.3.77"},
        {"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1"},
        {"192.0.2.77", "192.0.2.1", "2001:db8::1"},
    };
    struct token_keys *keys = keys_of(KEYS);
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (int form = TOKEN_COMPACT; form <= TOKEN_CAT; form++) {
            struct token_request request = request_of("film");
            struct token_claims bound = claims, found;
            char text[TOKEN_ISSUED_LEN_MAX];
            size_t len;
            bound.network = address_of(cases[i].viewer);
            network_widen(&bound.network, 24, 64);
            assert_int_equal(
                token_issue(keys, form, request.content, &bound, text, &len),
                0);
            struct bytes token = bytes_of(text, len);
            struct network client = address_of(cases[i].viewer);
            request.client = &client;
            assert_int_equal(
                token_verify_request(keys, token, &request, &found), 0);
            assert_memory_equal(&found.network, &bound.network,
                                sizeof found.network);
            client = address_of(cases[i].near);
            assert_int_equal(
                token_verify_request(keys, token, &request, &found), 0);
            client = address_of(cases[i].far);
            assert_int_equal(
                token_verify_request(keys, token, &request, &found),
                ERR_DENIED);
            request.client = NULL;
            assert_int_equal(
                token_verify_request(keys, token, &request, &found),
                ERR_DENIED);
        }
    }
    token_keys_free(keys);
}

/* Alters a token somewhere; false when nothing came of it. */
static bool
alter(const char *token, size_t len, unsigned how, uint64_t *random, char *text,
      size_t *text_len)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklm"
                                   "nopqrstuvwxyz0123456789-_+/= .%";
    size_t at = random_below(random, (unsigned) len), other;
    memcpy(text, token, len);
    *text_len = len;
    switch (how % 6) {
    case 0: /* one bit */
        text[at] = (char) (text[at] ^ 1 << random_below(random, 8));
        break;
    case 1: /* another character, of the alphabet or near it */
        text[at] = alphabet[random_below(random, sizeof alphabet - 1)];
        break;
    case 2: /* shorter */
        *text_len = at;
        break;
    case 3: /* longer */
        memcpy(text + len, "AAAA====", 8);
        *text_len = len + 1 + at % 8;
        break;
    case 4: /* two places swapped */
        other = random_below(random, (unsigned) len);
        text[at] = token[other];
        text[other] = token[at];
        break;
    case 5: /* a character too much or too little */
        if (random_below(random, 2) == 0) {
            memmove(text + at + 1, text + at, len - at);
            ++*text_len;
        } else {
            memmove(text + at, text + at + 1, len - at - 1);
            --*text_len;
        }
        break;
    }
    return *text_len != len || memcmp(text, token, len) != 0;
}

static void
of_ten_thousand_altered_tokens_of_each_form_none_is_accepted(void **state)
{
    struct token_keys *keys = keys_of(KEYS);
    struct network client = address_of("192.0.2.77");
    uint64_t random = 1;
    for (unsigned form = 0; form < 6; form++) {
        unsigned accepted = 0, altered = 0;
        for (unsigned i = 0; altered < 10000; i++) {
            char token[TOKEN_ISSUED_LEN_MAX], text[TOKEN_ISSUED_LEN_MAX + 8];
            char id[20];
            size_t len, text_len;
            struct token_claims some = claims, found;
            some.session = random_next(&random);
            snprintf(id, sizeof id, "film-%u", i);
            struct token_request request = request_of(id);
            request.client = &client;
            if (form >= 3) {
                some.network = client;
                network_widen(&some.network, 24, 64);
            }
            assert_int_equal(token_issue(keys, (enum token_form)(form % 3),
                                         request.content, &some, token, &len),
                             0);
            assert_int_equal(token_verify_request(keys, bytes_of(token, len),
                                                  &request, &found),
                             0);
            if (i % 7 == 6) { /* of another content */
                memcpy(text, token, text_len = len);
                request.content = bytes_of(id, request.content.len - 1);
            } else if (!alter(token, len, i % 7, &random, text, &text_len)) {
                continue;
            }
            altered++;
            accepted += token_verify_request(keys, bytes_of(text, text_len),
                                             &request, &found)
                        == 0;
        }
        assert_int_equal(accepted, 0);
    }
    token_keys_free(keys);
}

static void
every_character_of_every_form_counts(void **state)
{
    struct token_keys *keys = keys_of(KEYS);
    struct token_request request = request_of("film");
    for (int form = TOKEN_COMPACT; form <= TOKEN_CAT; form++) {
        char text[TOKEN_ISSUED_LEN_MAX];
        struct token_claims found;
        size_t len;
        token_issue(keys, form, request.content, &claims, text, &len);
        for (size_t i = 0; i < len; i++) {
            char before = text[i];
            for (int c = 0; c < 256; c++) {
                text[i] = (char) c;
                int err = token_verify_request(keys, bytes_of(text, len),
                                               &request, &found);
                assert_int_equal(err, text[i] == before ? 0 : ERR_DENIED);
            }
            text[i] = before;
        }
    }
    token_keys_free(keys);
}

static void
keys_of_every_form_are_rotated_without_a_gap(void **state)
{
    struct token_keys *old = keys_of("1 " HEX_A);
    struct token_keys *both = keys_of("2 " HEX_B "\n1 " HEX_A "\n");
    struct token_keys *new = keys_of("2 " HEX_B);
    struct token_request request = request_of("film");
    struct token_claims found;
    for (int form = TOKEN_COMPACT; form <= TOKEN_CAT; form++) {
        char text[TOKEN_ISSUED_LEN_MAX];
        size_t len;
        token_issue(old, form, request.content, &claims, text, &len);
        struct bytes token = bytes_of(text, len);
        assert_int_equal(token_verify_request(both, token, &request, &found),
                         0);
        assert_int_equal(token_verify_request(new, token, &request, &found),
                         ERR_DENIED);
        token_issue(both, form, request.content, &claims, text, &len);
        token = bytes_of(text, len);
        assert_int_equal(token_verify_request(new, token, &request, &found), 0);
        assert_int_equal(token_verify_request(old, token, &request, &found),
                         ERR_DENIED);
    }
    token_keys_free(old);
    token_keys_free(both);
    token_keys_free(new);
}

#define HS256 "{\"alg\":\"HS256\",\"kid\":\"7\"}"
#define UC "\"cdniuc\":\"regex:^[^:]*://[^/]*/p/film/.*$\""
#define EXP "\"exp\":1700000060"

static void
jwts_are_judged_by_all_they_claim(void **state)
{
    static const struct {
        const char *header, *payload;
        int err;
    } cases[] = {
        {HS256, "{" EXP "," UC "}", 0},
        {HS256, " { \"exp\" : 1700000060 , " UC " } ", 0},
        /* the header */
        {"{\"alg\":\"none\",\"kid\":\"7\"}", "{" EXP "," UC "}", ERR_DENIED},
        {"{\"alg\":\"HS512\",\"kid\":\"7\"}", "{" EXP "," UC "}", ERR_DENIED},
        {"{\"alg\":\"ES256\",\"kid\":\"7\"}", "{" EXP "," UC "}", ERR_DENIED},
        {"{\"alg\":\"HS256\"}", "{" EXP "," UC "}", ERR_DENIED},
        {"{\"kid\":\"7\"}", "{" EXP "," UC "}", ERR_DENIED},
        {"{\"alg\":\"HS256\",\"kid\":\"9\"}", "{" EXP "," UC "}", ERR_DENIED},
        {"{\"alg\":\"HS256\",\"kid\":7}", "{" EXP "," UC "}", ERR_DENIED},
        {"{\"alg\":\"HS256\",\"kid\":\"7\",\"kid\":\"7\"}", "{" EXP "," UC "}",
         ERR_DENIED},
        {"{\"alg\":\"HS256\",\"kid\":\"7\",\"crit\":[\"b64\"],\"b64\":false}",
         "{" EXP "," UC "}", ERR_DENIED},
        {"{\"typ\":\"JWT\",\"kid\":\"7\",\"alg\":\"HS256\"}",
         "{" EXP "," UC "}", 0},
        {"[]", "{" EXP "," UC "}", ERR_DENIED},
        /* times */
        {HS256, "{" UC "}", ERR_DENIED},
        {HS256, "{\"exp\":1700000000," UC "}", ERR_EXPIRED},
        {HS256, "{\"exp\":1700000001," UC "}", 0},
        {HS256, "{\"exp\":\"1700000060\"," UC "}", ERR_DENIED},
        {HS256, "{\"exp\":1700000060.5," UC "}", ERR_DENIED},
        {HS256, "{\"exp\":-1," UC "}", ERR_DENIED},
        {HS256, "{\"exp\":99999999999999999999," UC "}", ERR_DENIED},
        {HS256, "{\"exp\":9223372036854775807," UC "}", 0},
        {HS256, "{" EXP "," EXP "," UC "}", ERR_DENIED},
        {HS256, "{" EXP "," UC ",\"nbf\":1700000010}", 0},
        {HS256, "{" EXP "," UC ",\"nbf\":1700000011}", ERR_DENIED},
        {HS256, "{" EXP "," UC ",\"iat\":1800000000}", 0},
        /* the URI */
        {HS256, "{" EXP "}", ERR_DENIED},
        {HS256, "{" EXP ",\"cdniuc\":\"regex:.*\"}", 0},
        {HS256, "{" EXP ",\"cdniuc\":\"regex:film\"}", ERR_DENIED},
        {HS256, "{" EXP ",\"cdniuc\":\"regex:(.*)\"}", ERR_DENIED},
        {HS256, "{" EXP ",\"cdniuc\":\"glob:*\"}", ERR_DENIED},
        {HS256, "{" EXP ",\"cdniuc\":\".*\"}", ERR_DENIED},
        {HS256, "{" EXP ",\"cdniuc\":7}", ERR_DENIED},
        {HS256,
         "{" EXP ",\"cdniuc\":\"regex:http://node\\\\.example:8080"
         "\\/p/film/v1/v[0-9]/[0-9]{1,4}\\\\.m4s\"}",
         0},
        /* sha256 by another implementation (Python's hashlib) */
        {HS256,
         "{" EXP ",\"cdniuc\":\"hash:sha-256;"
         "i7pjAy0WivEmL6iHUO0M8T_btSUc7F5Sj0S9wutaB58\"}",
         0},
        {HS256,
         "{" EXP ",\"cdniuc\":\"hash:sha-256;"
         "i7pjAy0WivEmL6iHUO0M8T_btSUc7F5Sj0S9wutaB5A\"}",
         ERR_DENIED},
        {HS256, "{" EXP ",\"cdniuc\":\"hash:sha-256-32;i7pjAw\"}", ERR_DENIED},
        /* what restricts and is not judged */
        {HS256, "{" EXP "," UC ",\"jti\":\"1\"}", ERR_DENIED},
        {HS256, "{" EXP "," UC ",\"iss\":\"me\"}", ERR_DENIED},
        {HS256, "{" EXP "," UC ",\"aud\":\"us\"}", ERR_DENIED},
        {HS256, "{" EXP "," UC ",\"cdniv\":1}", 0},
        {HS256, "{" EXP "," UC ",\"cdniv\":2}", ERR_DENIED},
        {HS256, "{" EXP "," UC ",\"cdniip\":\"192.0.2.0/24\"}", ERR_DENIED},
        {HS256, "{" EXP "," UC ",\"cdnistt\":0,\"cdniets\":30}", 0},
        {HS256, "{" EXP "," UC ",\"cdnistt\":1,\"cdniets\":30}", ERR_DENIED},
        {HS256, "{" EXP "," UC ",\"cdnicrit\":\"exp,cdniuc\"}", 0},
        {HS256, "{" EXP "," UC ",\"cdnicrit\":\"exp,mine\"}", ERR_DENIED},
        {HS256, "{" EXP "," UC ",\"cdnicrit\":\"sub\"}", ERR_DENIED},
        {HS256, "{" EXP "," UC ",\"cdnicrit\":\"\"}", ERR_DENIED},
        {HS256, "{" EXP "," UC ",\"mine\":{\"a\":[1,2,{\"b\":null}]}}", 0},
        /* JSON that is none */
        {HS256, "", ERR_DENIED},
        {HS256, "{", ERR_DENIED},
        {HS256, "{" EXP "," UC "}x", ERR_DENIED},
        {HS256, "{" EXP "," UC ",}", ERR_DENIED},
        {HS256, "{" EXP "," UC " \"a\":1}", ERR_DENIED},
        {HS256, "{" EXP "," UC ",\"a\":01}", ERR_DENIED},
        {HS256, "{" EXP "," UC ",\"a\":\"\\x\"}", ERR_DENIED},
        {HS256, "{" EXP "," UC ",\"a\":\"\\ud800\"}", ERR_DENIED},
        {HS256, "{" EXP "," UC ",\"a\":[[[[[[[[[[1]]]]]]]]]]}", ERR_DENIED},
        {HS256, "{\"\\u0065xp\":1700000060," UC "}", 0},
    };
    struct token_keys *keys = keys_of(KEYS);
    struct token_request request = request_of("film");
    request.early_s = 10;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct token_claims found = {.session = 5};
        char text[1024];
        struct bytes token =
            jwt_of(cases[i].header, cases[i].payload, secret_a, text);
        int err = token_verify_request(keys, token, &request, &found);
        if (err != cases[i].err)
            print_error("case %zu: %s\n", i, cases[i].payload);
        assert_int_equal(err, cases[i].err);
        assert_int_equal(found.session == 5, err != 0);
    }
    token_keys_free(keys);
}

static void
a_jwt_names_the_keys_issuer_and_audience(void **state)
{
    static const char eight[] = "{\"alg\":\"HS256\",\"kid\":\"eight\"}";
    struct token_keys *keys = keys_of(KEYS);
    struct token_request request = request_of("film");
    struct token_claims found;
    char text[1024];
    struct bytes token =
        jwt_of(eight, "{" EXP "," UC ",\"iss\":\"me\",\"aud\":\"us\"}",
               secret_b, text);
    assert_int_equal(token_verify_request(keys, token, &request, &found), 0);
    token = jwt_of(eight, "{" EXP "," UC ",\"iss\":\"you\"}", secret_b, text);
    assert_int_equal(token_verify_request(keys, token, &request, &found),
                     ERR_DENIED);
    token = jwt_of("{\"alg\":\"HS256\",\"kid\":\"8\"}", "{" EXP "," UC "}",
                   secret_b, text);
    assert_int_equal(token_verify_request(keys, token, &request, &found),
                     ERR_DENIED);
    token = jwt_of(eight, "{" EXP "," UC "}", secret_a, text);
    assert_int_equal(token_verify_request(keys, token, &request, &found),
                     ERR_DENIED);
    token_keys_free(keys);
}

static void
a_session_is_64_bits_or_follows_from_what_there_is(void **state)
{
    struct token_keys *keys = keys_of(KEYS);
    struct token_request request = request_of("film");
    struct token_claims one, two;
    char text[1024];
    struct bytes token = jwt_of(
        HS256, "{" EXP "," UC ",\"sid\":\"00000000000000ff\"}", secret_a, text);
    assert_int_equal(token_verify_request(keys, token, &request, &one), 0);
    assert_true(one.session == 255);
    token = jwt_of(HS256, "{" EXP "," UC ",\"sid\":\"a\"}", secret_a, text);
    assert_int_equal(token_verify_request(keys, token, &request, &one), 0);
    token = jwt_of(HS256, "{\"exp\":1700000099," UC ",\"sid\":\"a\"}", secret_a,
                   text);
    assert_int_equal(token_verify_request(keys, token, &request, &two), 0);
    assert_true(one.session == two.session);
    token = jwt_of(HS256, "{" EXP "," UC "}", secret_a, text);
    assert_int_equal(token_verify_request(keys, token, &request, &two), 0);
    assert_true(one.session != two.session);
    token_keys_free(keys);
}

/* {4: 1700000060 and {312: {3: {1: "/p/film/"}} of maps with n claims */
#define C_EXP "04 1a6553f13c "
#define C_URI "190138 a103a101682f702f66696c6d2f "
#define ALG "a10105"
#define KID "a1044137"

static void
cats_are_judged_by_all_they_claim(void **state)
{
    static const struct {
        const char *protected_header, *unprotected, *payload;
        int err;
    } cases[] = {
        {ALG, KID, "a2" C_EXP C_URI, 0},
        {"a2 0105 044137", "a0", "a2" C_EXP C_URI, 0},
        /* headers */
        {"a2 0105 044137", KID, "a2" C_EXP C_URI, ERR_DENIED},
        {ALG, "a0", "a2" C_EXP C_URI, ERR_DENIED},
        {ALG, "a1044139", "a2" C_EXP C_URI, ERR_DENIED},
        {ALG, "a104 6137", "a2" C_EXP C_URI, ERR_DENIED},
        {"a0", "a2 0105 044137", "a2" C_EXP C_URI, ERR_DENIED},
        {"", "a2 0105 044137", "a2" C_EXP C_URI, ERR_DENIED},
        {"a10104", KID, "a2" C_EXP C_URI, ERR_DENIED},         /* HMAC 256/64 */
        {"a10126", KID, "a2" C_EXP C_URI, ERR_DENIED},         /* ES256 */
        {"a2 0105 028101", KID, "a2" C_EXP C_URI, ERR_DENIED}, /* crit */
        {ALG, "a2 044137 0500", "a2" C_EXP C_URI, ERR_DENIED},
        {ALG, "a1 1804 4137", "a2" C_EXP C_URI, ERR_DENIED}, /* not shortest */
        {ALG, "bf 04 4137 ff", "a2" C_EXP C_URI, ERR_DENIED},
        /* times */
        {ALG, KID, "a1" C_URI, ERR_DENIED},
        {ALG, KID, "a2 04 1a6553f100" C_URI, ERR_EXPIRED},
        {ALG, KID, "a2 04 1a6553f101" C_URI, 0},
        {ALG, KID, "a2 04 fb41d954fc4f000000" C_URI, ERR_DENIED},
        {ALG, KID, "a2 04 1bffffffffffffffff" C_URI, 0},
        {ALG, KID, "a3" C_EXP C_EXP C_URI, ERR_DENIED},
        {ALG, KID, "a3" C_EXP C_URI "05 1a6553f10a", 0},
        {ALG, KID, "a3" C_EXP C_URI "05 1a6553f10b", ERR_DENIED},
        {ALG, KID, "a3" C_EXP C_URI "06 00", 0},
        /* the URI */
        {ALG, KID, "a1" C_EXP, ERR_DENIED},
        {ALG, KID, "a2" C_EXP "190138 a0", ERR_DENIED},
        {ALG, KID, "a2" C_EXP "190138 a103a0", ERR_DENIED},
        /* host "node.example" alone is not for something */
        {ALG, KID, "a2" C_EXP "190138 a101a1006c6e6f64652e6578616d706c65",
         ERR_DENIED},
        {ALG, KID,
         "a2" C_EXP "190138 a2 01a1006c6e6f64652e6578616d706c65"
         "03a101 682f702f66696c6d2f",
         0},
        {ALG, KID, "a2" C_EXP "190138 a2 02a1006438303830 03a101612f", 0},
        {ALG, KID, "a2" C_EXP "190138 a2 02a1006438303831 03a101612f",
         ERR_DENIED},
        {ALG, KID, "a2" C_EXP "190138 a2 00a1006468747470 03a101612f", 0},
        /* suffix ".m4s", contains "film" and "series", no query, regex */
        {ALG, KID, "a2" C_EXP "190138 a103a102642e6d3473", 0},
        {ALG, KID, "a2" C_EXP "190138 a103a1036466696c6d", 0},
        {ALG, KID, "a2" C_EXP "190138 a103a10366736572696573", ERR_DENIED},
        {ALG, KID, "a2" C_EXP "190138 a2 04a10060 03a101612f", ERR_DENIED},
        {ALG, KID, "a2" C_EXP "190138 a103a10481622e2a", ERR_DENIED},
        /* parent path, file name, stem, extension */
        {ALG, KID, "a2" C_EXP "190138 a105a1006d2f702f66696c6d2f76312f7630", 0},
        {ALG, KID, "a2" C_EXP "190138 a2 06a10065332e6d3473 03a101612f", 0},
        {ALG, KID, "a2" C_EXP "190138 a2 07a1006133 03a101612f", 0},
        {ALG, KID, "a2" C_EXP "190138 a2 08a100642e6d3473 03a101612f", 0},
        {ALG, KID, "a2" C_EXP "190138 a2 08a100642e6d7034 03a101612f",
         ERR_DENIED},
        /* networks: the client's prefix, another, an AS number, none */
        {ALG, KID, "a3" C_EXP C_URI "190137 81 d834 82 1818 43c00002", 0},
        {ALG, KID, "a3" C_EXP C_URI "190137 81 d834 82 1818 44c0000200", 0},
        {ALG, KID, "a3" C_EXP C_URI "190137 81 d834 44c000024d", 0},
        {ALG, KID, "a3" C_EXP C_URI "190137 81 d834 44c000024e", ERR_DENIED},
        {ALG, KID, "a3" C_EXP C_URI "190137 81 d834 43c00002", ERR_DENIED},
        {ALG, KID, "a3" C_EXP C_URI "190137 82 19fde8 d834 82 1818 43c00002",
         0},
        {ALG, KID, "a3" C_EXP C_URI "190137 81 19fde8", ERR_DENIED},
        {ALG, KID, "a3" C_EXP C_URI "190137 80", ERR_DENIED},
        {ALG, KID, "a3" C_EXP C_URI "190137 81 d834 82 1821 43c00002",
         ERR_DENIED},
        {ALG, KID, "a3" C_EXP C_URI "190137 81 d836 82 00 40", ERR_DENIED},
        /* methods: GET; HEAD and POST */
        {ALG, KID, "a3" C_EXP C_URI "190139 81 63474554", 0},
        {ALG, KID, "a3" C_EXP C_URI "190139 82 6448454144 64504f5354",
         ERR_DENIED},
        /* version, replay: permitted, prohibited, reuse detection */
        {ALG, KID, "a3" C_EXP C_URI "190136 01", 0},
        {ALG, KID, "a3" C_EXP C_URI "190136 02", ERR_DENIED},
        {ALG, KID, "a3" C_EXP C_URI "190134 00", 0},
        {ALG, KID, "a3" C_EXP C_URI "190134 01", ERR_DENIED},
        {ALG, KID, "a3" C_EXP C_URI "190134 02", ERR_DENIED},
        /* how to renew, a subject; an issuer, header, country, a text label */
        {ALG, KID, "a3" C_EXP C_URI "190143 a2 0000 011878", 0},
        {ALG, KID, "a3" C_EXP C_URI "02 6161", 0},
        {ALG, KID, "a3" C_EXP C_URI "01 626d65", ERR_DENIED},
        {ALG, KID, "a3" C_EXP C_URI "19013b a0", ERR_DENIED},
        {ALG, KID, "a3" C_EXP C_URI "19013c 81 625345", ERR_DENIED},
        {ALG, KID, "a3" C_EXP C_URI "6161 01", ERR_DENIED},
        /* CBOR that is none, or has something behind it */
        {ALG, KID, "a3" C_EXP C_URI, ERR_DENIED},
        {ALG, KID, "a2" C_EXP C_URI "00", ERR_DENIED},
        {ALG, KID, "bb ffffffffffffffff" C_EXP C_URI, ERR_DENIED},
        {ALG, KID, "82" C_EXP, ERR_DENIED},
        {ALG, KID, "", ERR_DENIED},
        /* heads under the MAC may be longer than they have to be */
        {ALG, KID, "b90002 1804 1b000000006553f13c" C_URI, 0},
    };
    struct token_keys *keys = keys_of(KEYS);
    struct network client = address_of("192.0.2.77");
    struct token_request request = request_of("film");
    request.early_s = 10;
    request.client = &client;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct token_claims found = {.session = 5};
        char text[1024];
        struct bytes token =
            cat_of(cases[i].protected_header, cases[i].unprotected,
                   cases[i].payload, secret_a, text);
        int err = token_verify_request(keys, token, &request, &found);
        if (err != cases[i].err)
            print_error("case %zu: %s %s\n", i, cases[i].unprotected,
                        cases[i].payload);
        assert_int_equal(err, cases[i].err);
        assert_int_equal(found.session == 5, err != 0);
    }
    token_keys_free(keys);
}

static EVP_PKEY *
key_pair(char line[256])
{
    EVP_PKEY *pair = EVP_EC_gen("P-256");
    uint8_t *der = NULL;
    assert_non_null(pair);
    int size = i2d_PUBKEY(pair, &der);
    assert_true(size > 0 && size < 128);
    memcpy(line, "9 es256 ", 9);
    EVP_EncodeBlock((uint8_t *) line + 8, der, size);
    OPENSSL_free(der);
    return pair;
}

/* r and s of 32 bytes each over the text. */
static void
es256_sign(EVP_PKEY *pair, struct bytes text, uint8_t raw[64])
{
    uint8_t der[80];
    size_t size = sizeof der;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_int_equal(
        EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, pair), 1);
    assert_int_equal(EVP_DigestSign(context, der, &size, text.ptr, text.len),
                     1);
    EVP_MD_CTX_free(context);
    const uint8_t *at = der;
    ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &at, (long) size);
    BN_bn2binpad(ECDSA_SIG_get0_r(signature), raw, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(signature), raw + 32, 32);
    ECDSA_SIG_free(signature);
}

static void
public_keys_verify_and_are_no_secrets(void **state)
{
    char line[256], text[1024];
    EVP_PKEY *pair = key_pair(line);
    struct token_keys *keys = keys_of(line);
    struct token_request request = request_of("film");
    struct token_claims found;
    uint8_t raw[64];
    static const char payload[] = "{" EXP "," UC "}";

    assert_false(token_keys_can_sign(keys));
    assert_int_equal(token_sign(keys, request.content, &claims, text),
                     ERR_UNSUPPORTED);
    for (int i = 0; i < 40; i++) { /* r and s of any length */
        struct bytes token = jwt_of("{\"alg\":\"ES256\",\"kid\":\"9\"}",
                                    payload, secret_a, text);
        size_t len = token.len - 44;
        assert_int_equal(token_verify_request(keys, token, &request, &found),
                         ERR_DENIED);
        es256_sign(pair, bytes_of(text, len), raw);
        base64url_encode(bytes_of(raw, 64), text + len + 1);
        token = bytes_of(text, len + 1 + 86);
        assert_int_equal(token_verify_request(keys, token, &request, &found),
                         0);
        raw[i % 64] ^= 1;
        base64url_encode(bytes_of(raw, 64), text + len + 1);
        assert_int_equal(token_verify_request(keys, token, &request, &found),
                         ERR_DENIED);
    }
    /* the public key as an HMAC's secret: the oldest of confusions */
    struct bytes token = jwt_of("{\"alg\":\"HS256\",\"kid\":\"9\"}", payload,
                                (const uint8_t *) line + 8, text);
    assert_int_equal(token_verify_request(keys, token, &request, &found),
                     ERR_DENIED);
    token_keys_free(keys);
    EVP_PKEY_free(pair);
}

static void
attributes_of_keys_are_read_strictly(void **state)
{
    static const struct {
        const char *text;
        int err;
        unsigned line;
    } cases[] = {
        {"1 " HEX_A " kid=a iss=b aud=c jwe=" HEX_B, 0, 0},
        {"1 " HEX_A " kid=", ERR_INVALID, 1},
        {"1 " HEX_A " kid", ERR_INVALID, 1},
        {"1 " HEX_A " kid=a kid=b", ERR_INVALID, 1},
        {"1 " HEX_A " who=a", ERR_INVALID, 1},
        {"1 " HEX_A " kid=\"", ERR_INVALID, 1},
        {"1 " HEX_A " jwe=00", ERR_INVALID, 1},
        {"1 " HEX_A "\n2 " HEX_B " kid=1", ERR_INVALID, 2},
        {"1 " HEX_A " kid=2\n2 " HEX_B, ERR_INVALID, 2},
        {"1 es256", ERR_INVALID, 1},
        {"1 es256 AAAA", ERR_INVALID, 1},
        {"1 es256 " HEX_A, ERR_INVALID, 1},
        /* P-384 */
        {"1 es256 MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE", ERR_INVALID, 1},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct token_keys *keys = NULL;
        unsigned line = 0;
        assert_int_equal(
            token_keys_parse(bytes_of_text(cases[i].text), &keys, &line),
            cases[i].err);
        assert_int_equal(line, cases[i].line);
        token_keys_free(keys);
    }
}

static void
a_jwt_hides_a_network_only_with_a_key_for_it(void **state)
{
    struct token_keys *keys = keys_of("7 " HEX_A);
    struct token_claims bound = claims;
    char text[TOKEN_ISSUED_LEN_MAX];
    size_t len;
    bound.network = address_of("192.0.2.1");
    assert_false(token_keys_can_hide(keys));
    assert_int_equal(
        token_issue(keys, TOKEN_JWT, BYTES_LITERAL("film"), &bound, text, &len),
        ERR_UNSUPPORTED);
    token_keys_free(keys);
}

static void
a_hidden_network_is_authentic_or_not_read(void **state)
{
    struct token_keys *keys = keys_of(KEYS);
    const struct token_key *key = token_key_signing(keys);
    const struct network network = address_of("2001:db8::7");
    struct network found;
    char text[TOKEN_JWE_LEN_MAX];
    size_t len;
    assert_int_equal(token_jwe_seal(key, &network, text, &len), 0);
    for (size_t i = 0; i < len; i++) {
        char before = text[i];
        text[i] = before == 'A' ? 'B' : 'A';
        assert_int_equal(token_jwe_open(key, bytes_of(text, len), &found),
                         ERR_DENIED);
        text[i] = before;
        /* what was refused leaves nothing behind */
        memset(&found, 0, sizeof found);
        assert_int_equal(token_jwe_open(key, bytes_of(text, len), &found), 0);
        assert_memory_equal(&found, &network, sizeof found);
        assert_int_equal(token_jwe_open(key, bytes_of(text, i), &found),
                         ERR_DENIED);
    }
    token_keys_free(keys);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_is_verified_for_its_content_until_it_ends),
        cmocka_unit_test(every_form_is_bound_to_a_network_if_asked),
        cmocka_unit_test(
            of_ten_thousand_altered_tokens_of_each_form_none_is_accepted),
        cmocka_unit_test(every_character_of_every_form_counts),
        cmocka_unit_test(keys_of_every_form_are_rotated_without_a_gap),
        cmocka_unit_test(jwts_are_judged_by_all_they_claim),
        cmocka_unit_test(a_jwt_names_the_keys_issuer_and_audience),
        cmocka_unit_test(a_session_is_64_bits_or_follows_from_what_there_is),
        cmocka_unit_test(cats_are_judged_by_all_they_claim),
        cmocka_unit_test(public_keys_verify_and_are_no_secrets),
        cmocka_unit_test(attributes_of_keys_are_read_strictly),
        cmocka_unit_test(a_jwt_hides_a_network_only_with_a_key_for_it),
        cmocka_unit_test(a_hidden_network_is_authentic_or_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
