/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer: the packager's document, with what belongs there put in. Prefixes
 * are the document's own and not known here, so each element that is put in
 * declares its own.
 */
#include "media/crypt/cpix_private.h"
#include "media/crypt/cpix_provider_private.h"
#include "media/crypt/signal_private.h"

#include <openssl/crypto.h>

#define PART_SIZE_MAX (64u << 10)

#define C "xmlns:c=\"" CPIX_NAMESPACE "\""
#define P "xmlns:p=\"" CPIX_PSKC_NAMESPACE "\""
#define E "xmlns:e=\"" CPIX_ENC_NAMESPACE "\""
#define ENCRYPTED(algorithm)                           \
    "<p:EncryptedValue><e:EncryptionMethod "           \
    "Algorithm=\"" CPIX_ENC_NAMESPACE algorithm "\"/>" \
    "<e:CipherData><e:CipherValue>"
#define ENCRYPTED_END "</e:CipherValue></e:CipherData></p:EncryptedValue>"
#define HMAC_SHA512 "http://www.w3.org/2001/04/xmldsig-more#hmac-sha512"

static void
key_encrypted_write(const struct cpix_secrets *secrets,
                    const struct crypt_key *key, struct buffer *out)
{
    uint8_t cipher[CPIX_CIPHER_SIZE], mac[CPIX_MAC_SIZE];
    const int err = cpix_key_encrypt(secrets, key->key, cipher, mac);
    if (err != 0) {
        out->err = err;
        return;
    }
    buffer_append_text(out, "<c:Data " C " " P " " E
                            "><p:Secret>" ENCRYPTED("aes256-cbc"));
    signal_base64_append(bytes_of(cipher, sizeof cipher), out);
    buffer_append_text(out, ENCRYPTED_END "<p:ValueMAC>");
    signal_base64_append(bytes_of(mac, sizeof mac), out);
    buffer_append_text(out, "</p:ValueMAC></p:Secret></c:Data>");
}

static void
key_write(const struct crypt_key *key, struct buffer *out)
{
    buffer_append_text(out, "<c:Data " C " " P "><p:Secret><p:PlainValue>");
    signal_base64_append(bytes_of(key->key, sizeof key->key), out);
    buffer_append_text(out, "</p:PlainValue></p:Secret></c:Data>");
}

static void
iv_write(const struct crypt_key *key, struct buffer *out)
{
    buffer_append_text(out, " explicitIV=\"");
    signal_base64_append(bytes_of(key->iv, sizeof key->iv), out);
    buffer_append_text(out, "\"");
}

static void
part_write(const struct cpix_asked_key *key, const struct cpix_edit *edit,
           struct buffer *out)
{
    const struct crypt_track track = {
        .scheme = key->scheme, .kids = &key->kid, .period_count = 1};
    struct buffer part;
    buffer_init(&part, PART_SIZE_MAX);
    crypt_part_write(&track, edit->system, edit->part, &part);
    signal_base64_append(buffer_bytes(&part), out);
    if (part.err != 0)
        out->err = part.err;
    buffer_fini(&part);
}

static void
wrapped_write(const struct cpix_certificate *certificate, struct bytes key,
              struct buffer *out)
{
    uint8_t wrapped[CPIX_WRAPPED_SIZE_MAX];
    size_t len;
    const int err = cpix_wrap(certificate, key, wrapped, &len);
    if (err != 0)
        out->err = err;
    else
        signal_base64_append(bytes_of(wrapped, len), out);
}

static void
delivery_write(const struct cpix_certificate *certificate,
               const struct cpix_secrets *secrets, struct buffer *out)
{
    buffer_append_text(
        out, "<c:DocumentKey " C " " P " " E " Algorithm=\"" CPIX_ENC_NAMESPACE
             "aes256-cbc\"><c:Data><p:Secret>" ENCRYPTED("rsa-oaep-mgf1p"));
    wrapped_write(certificate,
                  bytes_of(secrets->document_key, sizeof secrets->document_key),
                  out);
    buffer_append_text(out, ENCRYPTED_END
                       "</p:Secret></c:Data></c:DocumentKey>"
                       "<c:MACMethod " C " " P " " E " Algorithm=\"" HMAC_SHA512
                       "\"><c:Key>" ENCRYPTED("rsa-oaep-mgf1p"));
    wrapped_write(certificate, bytes_of(secrets->mac_key, secrets->mac_key_len),
                  out);
    buffer_append_text(out, ENCRYPTED_END "</c:Key></c:MACMethod>");
}

static void
edit_write(const struct cpix_asked *asked, const struct crypt_key *keys,
           const struct cpix_secrets *secrets, const struct cpix_edit *edit,
           struct buffer *out)
{
    if (edit->closing.len > 0)
        buffer_append_text(out, ">");
    switch (edit->kind) {
    case CPIX_EDIT_IV:
        iv_write(&keys[edit->index], out);
        break;
    case CPIX_EDIT_KEY:
        if (asked->recipient_count > 0)
            key_encrypted_write(secrets, &keys[edit->index], out);
        else
            key_write(&keys[edit->index], out);
        break;
    case CPIX_EDIT_PART:
        part_write(&asked->keys[edit->index], edit, out);
        break;
    case CPIX_EDIT_DELIVERY:
        delivery_write(asked->recipients[edit->index], secrets, out);
        break;
    }
    if (edit->closing.len > 0) {
        buffer_append_text(out, "</");
        buffer_append_bytes(out, edit->closing);
        buffer_append_text(out, ">");
    }
}

void
cpix_asked_answer(const struct cpix_asked *asked, const struct crypt_key *keys,
                  struct buffer *out)
{
    struct cpix_secrets secrets;
    size_t at = 0;
    if (asked->recipient_count > 0 && out->err == 0)
        out->err = cpix_secrets_make(&secrets);
    for (size_t i = 0; i < asked->edit_count; i++) {
        const struct cpix_edit *edit = &asked->edits[i];
        buffer_append(out, asked->text.ptr + at, edit->at - at);
        edit_write(asked, keys, &secrets, edit, out);
        at = edit->at + edit->cut;
    }
    buffer_append(out, asked->text.ptr + at, asked->text.len - at);
    OPENSSL_cleanse(&secrets, sizeof secrets);
}
