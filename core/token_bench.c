/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU time of one verification of each form of token, as a worker of nginx
 * does it: a line "<form> <microseconds>" each, the median of the rounds. The
 * first, "hmac", is a bare HMAC-SHA256 over as many bytes as a JWT has.
 */

#include "core/base64url.h"
#include "core/token_forms.h"

#include <assert.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SECRET \
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define NOW 1700000000u
enum { ROUNDS = 15, TOKENS = 64 };

struct verified {
    char text[TOKENS][TOKEN_ISSUED_LEN_MAX];
    size_t len[TOKENS];
    char content[TOKENS][16];
};

static struct token_keys *keys;
static struct network client;

static double
cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double) t.tv_sec * 1e6 + (double) t.tv_nsec / 1e3;
}

static int
compare(const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

static void
verify(const struct verified *tokens, unsigned i)
{
    const struct token_request request = {
        .scheme = BYTES_LITERAL("https"),
        .authority = BYTES_LITERAL("origin1.example.com:8443"),
        .prefix = BYTES_LITERAL("/p/"),
        .content = bytes_of_text(tokens->content[i]),
        .rest = BYTES_LITERAL("0123456789ab/v0/317.m4s"),
        .query = BYTES_LITERAL("hop=1"),
        .method = BYTES_LITERAL("GET"),
        .client = &client,
        .now_s = NOW,
    };
    struct token_claims claims;
    int err = token_verify_request(
        keys, bytes_of(tokens->text[i], tokens->len[i]), &request, &claims);
    assert(err == 0);
}

static void
mac(const struct verified *tokens, unsigned i)
{
    uint8_t out[TOKEN_MAC_SIZE];
    const struct bytes part = bytes_of(tokens->text[i], tokens->len[i] - 44);
    int err = token_key_mac(token_key_signing(keys), &part, 1, out);
    assert(err == 0);
}

static void
measure(const char *name, const struct verified *tokens,
        void (*run)(const struct verified *, unsigned), unsigned count)
{
    double rounds[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        double start = cpu_us();
        for (unsigned i = 0; i < count; i++)
            run(tokens, i % TOKENS);
        rounds[round] = (cpu_us() - start) / count;
    }
    qsort(rounds, ROUNDS, sizeof *rounds, compare);
    printf("%s %.3f %zu\n", name, rounds[ROUNDS / 2], tokens->len[0]);
}

static void
tokens_make(struct verified *tokens, enum token_form form, bool is_bound)
{
    for (unsigned i = 0; i < TOKENS; i++) {
        struct token_claims claims = {
            .session = 0x9e3779b97f4a7c15u * (i + 1),
            .expires_s = NOW + 21600,
        };
        if (is_bound) {
            claims.network = client;
            network_widen(&claims.network, 24, 64);
        }
        snprintf(tokens->content[i], sizeof tokens->content[i], "movie-%06u",
                 i);
        int err = token_issue(keys, form, bytes_of_text(tokens->content[i]),
                              &claims, tokens->text[i], &tokens->len[i]);
        assert(err == 0);
    }
}

/* The same claims, signed by another's private key. */
static void
tokens_sign_es256(struct verified *tokens, EVP_PKEY *pair)
{
    static const char header[] = "{\"alg\":\"ES256\",\"kid\":\"9\"}";
    for (unsigned i = 0; i < TOKENS; i++) {
        char text[TOKEN_ISSUED_LEN_MAX], *dot;
        uint8_t der[80], raw[64];
        const uint8_t *at = der;
        size_t size = sizeof der, len = BASE64URL_LEN(sizeof header - 1);
        tokens->text[i][tokens->len[i] - 44] = '\0';
        dot = strchr(tokens->text[i], '.');
        base64url_encode(BYTES_LITERAL("{\"alg\":\"ES256\",\"kid\":\"9\"}"),
                         text);
        len += (size_t) snprintf(text + len, sizeof text - len, "%s", dot);
        EVP_MD_CTX *context = EVP_MD_CTX_new();
        EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, pair);
        EVP_DigestSign(context, der, &size, (uint8_t *) text, len);
        EVP_MD_CTX_free(context);
        ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &at, (long) size);
        BN_bn2binpad(ECDSA_SIG_get0_r(signature), raw, 32);
        BN_bn2binpad(ECDSA_SIG_get0_s(signature), raw + 32, 32);
        ECDSA_SIG_free(signature);
        text[len++] = '.';
        base64url_encode(bytes_of(raw, 64), text + len);
        tokens->len[i] = len + BASE64URL_LEN(64);
        memcpy(tokens->text[i], text, tokens->len[i]);
    }
}

int
main(void)
{
    static struct verified tokens;
    static const struct {
        const char *name;
        enum token_form form;
        bool is_bound;
    } forms[] = {
        {"compact", TOKEN_COMPACT, false},
        {"jwt", TOKEN_JWT, false},
        {"cat", TOKEN_CAT, false},
        {"compact-network", TOKEN_COMPACT, true},
        {"cat-network", TOKEN_CAT, true},
        {"jwt-network", TOKEN_JWT, true},
    };
    char file[512];
    uint8_t *der = NULL;
    unsigned line;
    EVP_PKEY *pair = EVP_EC_gen("P-256");
    int size = i2d_PUBKEY(pair, &der);
    int len =
        snprintf(file, sizeof file, "1 " SECRET " jwe=" SECRET "\n9 es256 ");
    EVP_EncodeBlock((uint8_t *) file + len, der, size);
    OPENSSL_free(der);
    if (token_keys_parse(bytes_of_text(file), &keys, &line) != 0
        || network_parse("192.0.2.77", &client) != 0)
        return 1;

    tokens_make(&tokens, TOKEN_JWT, false);
    measure("hmac", &tokens, mac, 20000);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        tokens_make(&tokens, forms[i].form, forms[i].is_bound);
        measure(forms[i].name, &tokens, verify, 20000);
    }
    tokens_make(&tokens, TOKEN_JWT, false);
    tokens_sign_es256(&tokens, pair);
    measure("es256", &tokens, verify, 640);
    token_keys_free(keys);
    EVP_PKEY_free(pair);
    return 0;
}
