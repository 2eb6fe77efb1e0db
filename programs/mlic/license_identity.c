/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HLS with METHOD=AES-128, or SAMPLE-AES with KEYFORMAT="identity" (RFC 8216
 * §4.3.2.4, §5.2): the URI of EXT-X-KEY names the KID in hex digits, and gives
 * the key's 16 bytes.
 */

#include "programs/mlic/license.h"

#include "core/err.h"

#include <openssl/crypto.h>

#define KID_TEXT_LEN (2 * CRYPT_KEY_SIZE)

/* What is read is the KID in the path. */
static int
identity_read(struct bytes body, struct license_request *out,
              const char **reason)
{
    char text[KID_TEXT_LEN + 1] = "";
    uint8_t kid[CRYPT_KEY_SIZE];
    size_t len;
    *reason = "a KID is 32 hex digits";
    if (body.len == KID_TEXT_LEN)
        memcpy(text, body.ptr, KID_TEXT_LEN);
    if (strspn(text, "0123456789abcdefABCDEF") != KID_TEXT_LEN
        || OPENSSL_hexstr2buf_ex(kid, sizeof kid, &len, text, '\0') != 1)
        return ERR_INVALID;
    return license_kid_add(out, kid);
}

static void
identity_write(const struct license_request *request,
               const struct license_key *keys, struct buffer *out)
{
    buffer_append(out, keys[0].key.key, CRYPT_KEY_SIZE);
}

const struct license_system license_identity = {
    .content_type = "application/octet-stream",
    .read = identity_read,
    .write = identity_write,
};
