/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AWS Signature Version 4, see core/sigv4.h. What is signed:
 *
 *   canonical request  METHOD \n path \n query \n name:value \n... \n
 *                      names;of;headers \n hash of the body
 *   string to sign     AWS4-HMAC-SHA256 \n time \n scope \n
 *                      hash of the canonical request
 *   scope              day/region/service/aws4_request
 *   key                HMAC of each part of the scope, one under the other,
 *                      beginning with "AWS4" and the secret
 */

#include "core/sigv4.h"
#include "core/err.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#define ALGORITHM "AWS4-HMAC-SHA256"
#define TERMINATION "aws4_request"
#define SECRET_LEN_MAX 1024

void
sigv4_time(time_t now, char out[SIGV4_TIME_SIZE])
{
    struct tm tm;
    /* years of more than four digits do not come up before those of clocks
     * that are wrong */
    if (gmtime_r(&now, &tm) == NULL
        || strftime(out, SIGV4_TIME_SIZE, "%Y%m%dT%H%M%SZ", &tm)
               != SIGV4_TIME_SIZE - 1)
        memcpy(out, "19700101T000000Z", SIGV4_TIME_SIZE);
}

void
sigv4_hex(const uint8_t digest[SIGV4_KEY_SIZE], char out[SIGV4_HASH_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < SIGV4_KEY_SIZE; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[SIGV4_HASH_SIZE - 1] = '\0';
}

void
sigv4_hash(struct bytes body, char out[SIGV4_HASH_SIZE])
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256(body.ptr, body.len, digest);
    sigv4_hex(digest, out);
}

static bool
is_unreserved(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')
           || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'
           || c == '~';
}

void
sigv4_encode(struct bytes text, bool keeps_slashes, struct buffer *out)
{
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t c = text.ptr[i];
        if (is_unreserved(c) || (c == '/' && keeps_slashes))
            buffer_append_u8(out, c);
        else
            buffer_printf(out, "%%%02X", c);
    }
}

static bool
hmac(struct bytes key, struct bytes text, uint8_t out[SIGV4_KEY_SIZE])
{
    unsigned len = SIGV4_KEY_SIZE;
    return HMAC(EVP_sha256(), key.ptr, (int) key.len, text.ptr, text.len, out,
                &len)
           != NULL;
}

static int
key_derive(struct sigv4_signer *signer, const char *time)
{
    const struct bytes parts[] = {bytes_of(time, SIGV4_DAY_LEN), signer->region,
                                  signer->service, BYTES_LITERAL(TERMINATION)};
    uint8_t secret[4 + SECRET_LEN_MAX] = "AWS4";
    uint8_t key[SIGV4_KEY_SIZE];
    if (signer->secret_key.len > SECRET_LEN_MAX)
        return ERR_LIMIT;
    memcpy(secret + 4, signer->secret_key.ptr, signer->secret_key.len);
    struct bytes above = bytes_of(secret, 4 + signer->secret_key.len);
    bool is_done = true;
    for (size_t i = 0; is_done && i < sizeof parts / sizeof *parts; i++) {
        is_done = hmac(above, parts[i], signer->key);
        memcpy(key, signer->key, sizeof key);
        above = bytes_of(key, sizeof key);
    }
    explicit_bzero(secret, sizeof secret);
    explicit_bzero(key, sizeof key);
    if (!is_done)
        return ERR_MEMORY;
    memcpy(signer->day, time, SIGV4_DAY_LEN);
    signer->day[SIGV4_DAY_LEN] = '\0';
    return 0;
}

/* Without the spaces around it, and with one for several in it. */
static void
value_append(struct bytes value, struct buffer *out)
{
    bool is_begun = false, has_space = false;
    for (size_t i = 0; i < value.len; i++) {
        const uint8_t c = value.ptr[i];
        if (c == ' ' || c == '\t') {
            has_space = is_begun;
            continue;
        }
        if (has_space)
            buffer_append_u8(out, ' ');
        buffer_append_u8(out, c);
        is_begun = true;
        has_space = false;
    }
}

static void
names_append(const struct sigv4_request *request, struct buffer *out)
{
    for (size_t i = 0; i < request->header_count; i++) {
        if (i > 0)
            buffer_append_u8(out, ';');
        buffer_append_text(out, request->headers[i].name);
    }
}

static void
canonical_append(const struct sigv4_request *request, struct buffer *out)
{
    buffer_append_bytes(out, request->method);
    buffer_append_u8(out, '\n');
    buffer_append_bytes(out, request->path);
    buffer_append_u8(out, '\n');
    buffer_append_bytes(out, request->query);
    buffer_append_u8(out, '\n');
    for (size_t i = 0; i < request->header_count; i++) {
        buffer_append_text(out, request->headers[i].name);
        buffer_append_u8(out, ':');
        value_append(request->headers[i].value, out);
        buffer_append_u8(out, '\n');
    }
    buffer_append_u8(out, '\n');
    names_append(request, out);
    buffer_append_u8(out, '\n');
    buffer_append_bytes(out, request->payload_hash);
}

static void
scope_append(const struct sigv4_signer *signer, struct buffer *out)
{
    buffer_append_text(out, signer->day);
    buffer_append_u8(out, '/');
    buffer_append_bytes(out, signer->region);
    buffer_append_u8(out, '/');
    buffer_append_bytes(out, signer->service);
    buffer_append_text(out, "/" TERMINATION);
}

int
sigv4_sign(struct sigv4_signer *signer, const struct sigv4_request *request,
           struct buffer *out)
{
    uint8_t mac[SIGV4_KEY_SIZE];
    char hex[SIGV4_HASH_SIZE];
    struct buffer text;
    int err;

    if (memcmp(signer->day, request->time, SIGV4_DAY_LEN) != 0
        && (err = key_derive(signer, request->time)) != 0)
        return err;
    buffer_init(&text, SIGV4_REQUEST_SIZE_MAX);
    canonical_append(request, &text);
    if ((err = text.err) != 0)
        goto done;
    sigv4_hash(buffer_bytes(&text), hex);
    text.len = 0;
    buffer_append_text(&text, ALGORITHM "\n");
    buffer_append_text(&text, request->time);
    buffer_append_u8(&text, '\n');
    scope_append(signer, &text);
    buffer_append_u8(&text, '\n');
    buffer_append_text(&text, hex);
    if ((err = text.err) != 0)
        goto done;
    if (!hmac(bytes_of(signer->key, sizeof signer->key), buffer_bytes(&text),
              mac)) {
        err = ERR_MEMORY;
        goto done;
    }
    sigv4_hex(mac, hex);
    buffer_append_text(out, ALGORITHM " Credential=");
    buffer_append_bytes(out, signer->access_key);
    buffer_append_u8(out, '/');
    scope_append(signer, out);
    buffer_append_text(out, ",SignedHeaders=");
    names_append(request, out);
    buffer_append_text(out, ",Signature=");
    buffer_append_text(out, hex);
    err = out->err;
done:
    buffer_fini(&text);
    return err;
}

void
sigv4_fini(struct sigv4_signer *signer)
{
    explicit_bzero(signer, sizeof *signer);
}
