/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that are encrypted to a certificate; what the openssl program made. */
#include "media/crypt/cpix.h"

#include "core/err.h"
#include "media/testing/recipient.h"

#include <stdarg.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#define XENC "http://www.w3.org/2001/04/xmlenc#"
#define OAEP XENC "rsa-oaep-mgf1p"
#define AES XENC "aes256-cbc"
#define HMAC "http://www.w3.org/2001/04/xmldsig-more#hmac-sha512"

static const struct crypt_systems none;

/* What may be wrong with a document; NULL: as it should be. */
struct document {
    const char *certificate, *document_key, *mac_key, *key, *mac;
    const char *wrapping, *encryption, *method;
    const char *digest; /* of OAEP; NULL: it is not said */
    bool is_plain;
};

static struct cpix_recipient *
recipient_new(void)
{
    struct cpix_recipient *recipient;
    const char *reason;
    assert_int_equal(cpix_recipient_new(bytes_of_text(RECIPIENT_CERTIFICATE),
                                        bytes_of_text(RECIPIENT_KEY),
                                        &recipient, &reason),
                     0);
    return recipient;
}

static const char * or (const char *text, const char *otherwise)
{
    return text != NULL ? text : otherwise;
}

/* The certificate's lines without those around them are its DER. */
static void
certificate_append(struct buffer *out)
{
    static const char pem[] = RECIPIENT_CERTIFICATE;
    const char *start = strchr(pem, '\n') + 1;
    const char *end = strstr(start, "-----END");
    buffer_append(out, start, (size_t) (end - start));
}

static void
wrapped_append(const char *value, const struct document *d, struct buffer *out)
{
    buffer_printf(out, "<e:EncryptionMethod Algorithm=\"%s\">",
                  or (d->wrapping, OAEP));
    if (d->digest != NULL)
        buffer_printf(out, "<d:DigestMethod Algorithm=\"%s\"/>", d->digest);
    buffer_printf(out,
                  "</e:EncryptionMethod><e:CipherData><e:CipherValue>%s"
                  "</e:CipherValue></e:CipherData>",
                  value);
}

/* As SPEKE v2 spells it: MACMethod has a Key and a ValueMAC that counts
 * nothing. */
static void
delivery_append(const struct document *d, struct buffer *out)
{
    buffer_append_text(out, "<c:DeliveryData id=\"a\"><c:DeliveryKey>"
                            "<d:X509Data><d:X509Certificate>");
    if (d->certificate != NULL)
        buffer_append_text(out, d->certificate);
    else
        certificate_append(out);
    buffer_append_text(out, "</d:X509Certificate></d:X509Data>"
                            "</c:DeliveryKey><c:DocumentKey><c:Data><p:Secret>"
                            "<p:EncryptedValue>");
    wrapped_append(or (d->document_key, RECIPIENT_DOCUMENT_KEY), d, out);
    buffer_printf(out,
                  "</p:EncryptedValue><p:ValueMAC>AAAA</p:ValueMAC></p:Secret>"
                  "</c:Data></c:DocumentKey><c:MACMethod Algorithm=\"%s\">"
                  "<c:Key><p:EncryptedValue>",
                  or (d->method, HMAC));
    wrapped_append(or (d->mac_key, RECIPIENT_MAC_KEY), d, out);
    buffer_append_text(out, "</p:EncryptedValue></c:Key></c:MACMethod>"
                            "</c:DeliveryData>");
}

static void
key_append(const struct document *d, struct buffer *out)
{
    buffer_append_text(out, "<c:ContentKey kid=\"00000001-0000-0000-0000-"
                            "000000000000\"><c:Data><p:Secret>");
    if (d->is_plain)
        buffer_append_text(out, "<p:PlainValue>AAAAAAAAAAAAAAAAAAAAAA=="
                                "</p:PlainValue>");
    else
        buffer_printf(out,
                      "<p:EncryptedValue><e:EncryptionMethod Algorithm=\"%s\"/>"
                      "<e:CipherData><e:CipherValue>\n %s\n</e:CipherValue>"
                      "</e:CipherData></p:EncryptedValue>",
                      or (d->encryption, AES),
                      or (d->key, RECIPIENT_CONTENT_KEY));
    if (d->mac == NULL || *d->mac != '\0')
        buffer_printf(out, "<p:ValueMAC>%s</p:ValueMAC>",
                      or (d->mac, RECIPIENT_CONTENT_MAC));
    buffer_append_text(out, "</p:Secret></c:Data></c:ContentKey>");
}

/* With a delivery to somebody else before ours. */
static int
read_document(const struct document *d, const struct cpix_recipient *recipient,
              struct cpix_answer *out, const char **reason)
{
    static const struct document other = {
        .certificate = "AAAA", .document_key = "AAAA", .mac_key = "AAAA"};
    const struct cpix_request request = {.folder = BYTES_LITERAL("film/1"),
                                         .scheme = CRYPT_CENC,
                                         .period_count = 1,
                                         .systems = &none,
                                         .recipient = recipient};
    struct buffer text;
    buffer_init(&text, 1u << 20);
    buffer_append_text(
        &text, "<c:CPIX xmlns:c=\"urn:dashif:org:cpix\" xmlns:p=\"urn:ietf:"
               "params:xml:ns:keyprov:pskc\" xmlns:e=\"" XENC
               "\" xmlns:d=\"http://www.w3.org/2000/09/xmldsig#\">"
               "<c:DeliveryDataList>");
    delivery_append(&other, &text);
    delivery_append(d, &text);
    buffer_append_text(&text, "</c:DeliveryDataList><c:ContentKeyList>");
    key_append(d, &text);
    buffer_append_text(&text,
                       "</c:ContentKeyList><c:ContentKeyUsageRuleList>"
                       "<c:ContentKeyUsageRule intendedTrackType=\"ALL\" kid=\""
                       "00000001-0000-0000-0000-000000000000\"/>"
                       "</c:ContentKeyUsageRuleList></c:CPIX>");
    const int err = cpix_read(buffer_bytes(&text), &request, out, reason);
    buffer_fini(&text);
    return err;
}

static void
keys_are_decrypted_that_are_for_our_certificate(void **state)
{
    struct cpix_recipient *recipient = recipient_new();
    const struct document as_it_should_be = {.digest = NULL};
    const struct document with_digest = {
        .digest = "http://www.w3.org/2000/09/xmldsig#sha1"};
    const struct document *const cases[] = {&as_it_should_be, &with_digest};
    for (size_t i = 0; i < 2; i++) {
        struct cpix_answer answer;
        const char *reason;
        assert_int_equal(read_document(cases[i], recipient, &answer, &reason),
                         0);
        for (unsigned class = 0; class < CRYPT_CLASS_COUNT; class ++)
            for (uint8_t j = 0; j < CRYPT_KEY_SIZE; j++)
                assert_int_equal(answer.keys[class].key[j], 16 + j);
        cpix_answer_fini(&answer);
    }
    cpix_recipient_free(recipient);
}

static void
what_is_not_encrypted_to_us_or_was_changed_is_refused(void **state)
{
    struct cpix_recipient *recipient = recipient_new();
    static const struct {
        struct document document;
        int err;
        const char *reason;
    } cases[] = {
        {{.certificate = ""}, ERR_NOT_FOUND, "our certificate"},
        {{.certificate = "AAAA"}, ERR_NOT_FOUND, "our certificate"},
        {{.document_key = "AAAA"}, ERR_INVALID, "RSA-OAEP"},
        {{.document_key = RECIPIENT_SHORT_KEY}, ERR_INVALID, "RSA-OAEP"},
        {{.document_key = RECIPIENT_SHA256_KEY}, ERR_INVALID, "RSA-OAEP"},
        {{.document_key = "A"}, ERR_INVALID, "DocumentKey"},
        {{.mac_key = "AAAA"}, ERR_INVALID, "RSA-OAEP"},
        {{.mac_key = ""}, ERR_INVALID, "MACMethod"},
        {{.mac_key = RECIPIENT_SHORT_KEY}, ERR_CHECKSUM, "ValueMAC"},
        {{.mac = ""}, ERR_CHECKSUM, "ValueMAC"},
        {{.mac = RECIPIENT_LONG_MAC}, ERR_CHECKSUM, "ValueMAC"},
        {{.mac = "AAAA"}, ERR_INVALID, "ValueMAC"},
        {{.key = RECIPIENT_LONG_KEY}, ERR_CHECKSUM, "ValueMAC"},
        {{.key = RECIPIENT_LONG_KEY, .mac = RECIPIENT_LONG_MAC},
         ERR_INVALID,
         "16 bytes"},
        {{.key = RECIPIENT_BARE_KEY, .mac = RECIPIENT_BARE_MAC},
         ERR_INVALID,
         "16 bytes"},
        {{.key = "AAAA"}, ERR_INVALID, "48 bytes"},
        {{.wrapping = XENC "rsa-1_5"}, ERR_UNSUPPORTED, "RSA-OAEP"},
        {{.digest = XENC "sha256"}, ERR_UNSUPPORTED, "SHA-1"},
        {{.encryption = XENC "aes128-cbc"}, ERR_UNSUPPORTED, "AES-256-CBC"},
        {{.method = "http://www.w3.org/2000/09/xmldsig#hmac-sha1"},
         ERR_UNSUPPORTED,
         "HMAC-SHA512"},
        {{.is_plain = true}, ERR_DENIED, "in the clear"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cpix_answer answer;
        const char *reason;
        const int err =
            read_document(&cases[i].document, recipient, &answer, &reason);
        if (err != cases[i].err || strstr(reason, cases[i].reason) == NULL)
            fail_msg("case %zu: %s, %s", i, err_text(err), or (reason, ""));
        assert_int_equal(ERR_peek_error(), 0); /* left for nobody else */
    }
    cpix_recipient_free(recipient);
}

static void
encrypted_keys_need_a_certificate_here(void **state)
{
    const struct document document = {.digest = NULL};
    struct cpix_answer answer;
    const char *reason;
    assert_int_equal(read_document(&document, NULL, &answer, &reason),
                     ERR_UNSUPPORTED);
    assert_non_null(strstr(reason, "package_key_certificate"));
}

static void
a_request_has_the_certificate(void **state)
{
    struct cpix_recipient *recipient = recipient_new();
    const struct cpix_request request = {.folder = BYTES_LITERAL("film/1"),
                                         .scheme = CRYPT_CENC,
                                         .period_count = 1,
                                         .systems = &none,
                                         .recipient = recipient};
    struct buffer out, certificate;
    char *line;
    buffer_init(&out, 1u << 20);
    buffer_init(&certificate, 4096);
    cpix_request_write(&request, &out);
    certificate_append(&certificate);
    buffer_append_u8(&certificate, '\0');
    buffer_append_u8(&out, '\0');
    const char *at = strstr((char *) out.ptr, "<ds:X509Certificate>");
    assert_non_null(at);
    at += strlen("<ds:X509Certificate>");
    for (line = strtok((char *) certificate.ptr, "\n"); line != NULL;
         line = strtok(NULL, "\n")) {
        assert_memory_equal(at, line, strlen(line));
        at += strlen(line);
    }
    assert_memory_equal(at, "</ds:X509Certificate>", 21);
    buffer_fini(&out);
    buffer_fini(&certificate);
    cpix_recipient_free(recipient);
}

/* Of a new key, in a buffer that ends with a zero. */
static struct buffer
pem_of(EVP_PKEY *key, const EVP_CIPHER *lock)
{
    char passphrase[] = "secret";
    struct buffer out;
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    assert_non_null(key);
    assert_int_equal(PEM_write_bio_PrivateKey(bio, key, lock, NULL, 0, NULL,
                                              lock == NULL ? NULL : passphrase),
                     1);
    buffer_init(&out, 1u << 16);
    const long len = BIO_get_mem_data(bio, &text);
    buffer_append(&out, text, (size_t) len);
    buffer_append_u8(&out, '\0');
    BIO_free(bio);
    EVP_PKEY_free(key);
    return out;
}

static void
a_pair_that_cannot_be_used_is_refused_and_why(void **state)
{
    struct buffer pems[] = {
        pem_of(EVP_EC_gen("P-256"), NULL),
        pem_of(EVP_RSA_gen(1024), NULL),
        pem_of(EVP_RSA_gen(2048), NULL),
        pem_of(EVP_RSA_gen(1024), EVP_aes_128_cbc()),
    };
    const struct {
        const char *certificate, *key, *reason;
    } cases[] = {
        {"", RECIPIENT_KEY, "no certificate"},
        {RECIPIENT_KEY, RECIPIENT_KEY, "no certificate"},
        {RECIPIENT_CERTIFICATE, "", "no private key"},
        {RECIPIENT_CERTIFICATE, RECIPIENT_CERTIFICATE, "no private key"},
        {RECIPIENT_CERTIFICATE, (char *) pems[0].ptr, "not RSA"},
        {RECIPIENT_CERTIFICATE, (char *) pems[1].ptr, "not RSA of 2048"},
        {RECIPIENT_CERTIFICATE, (char *) pems[2].ptr, "one pair"},
        {RECIPIENT_CERTIFICATE, (char *) pems[3].ptr, "without a passphrase"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cpix_recipient *recipient;
        const char *reason;
        assert_int_equal(cpix_recipient_new(bytes_of_text(cases[i].certificate),
                                            bytes_of_text(cases[i].key),
                                            &recipient, &reason),
                         ERR_INVALID);
        if (strstr(reason, cases[i].reason) == NULL)
            fail_msg("case %zu: %s", i, reason);
        assert_int_equal(ERR_peek_error(), 0);
    }
    for (size_t i = 0; i < sizeof pems / sizeof pems[0]; i++)
        buffer_fini(&pems[i]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_decrypted_that_are_for_our_certificate),
        cmocka_unit_test(what_is_not_encrypted_to_us_or_was_changed_is_refused),
        cmocka_unit_test(encrypted_keys_need_a_certificate_here),
        cmocka_unit_test(a_request_has_the_certificate),
        cmocka_unit_test(a_pair_that_cannot_be_used_is_refused_and_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
