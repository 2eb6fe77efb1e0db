/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer is read by expat, which gets no document type and so no entities,
 * as UTF-8 whatever it says of itself, and memory that is wiped when it is
 * freed. Of the document these count (CPIX 2.3 §5.2):
 *
 *   DeliveryData  DeliveryKey/X509Data/X509Certificate
 *                 DocumentKey, MACMethod@Algorithm  CipherValue
 *   ContentKey@kid, @explicitIV  PlainValue, or CipherValue and ValueMAC
 *   DRMSystem@kid, @systemId  PSSH  ContentProtectionData
 *                             HLSSignalingData@playlist
 *   ContentKeyUsageRule@kid, @intendedTrackType  KeyPeriodFilter@periodId
 *
 * Systems that are not told to players are passed over, and so is what is
 * delivered to others than us. How deep a value lies in its element does not
 * matter: of MACMethod's key there are several spellings.
 */
#include "media/crypt/cpix_private.h"

#include "core/err.h"
#include "media/xml_attribute.h"

#include <expat.h>
#include <malloc.h>
#include <openssl/evp.h>
#include <stdlib.h>

#define CPIX(name) CPIX_NAMESPACE "|" name
#define PSKC(name) CPIX_PSKC_NAMESPACE "|" name
#define DS(name) CPIX_DS_NAMESPACE "|" name
#define ENC(name) CPIX_ENC_NAMESPACE "|" name
#define DEPTH_MAX 32
#define PART_SIZE_MAX (16u << 10) /* bytes, of what is given of a key */
#define TEXT_LEN_MAX ((PART_SIZE_MAX + 2) / 3 * 4) /* as base64 */

enum place {
    PLACE_TOP,
    PLACE_DELIVERY,
    PLACE_DOCUMENT_KEY,
    PLACE_MAC,
    PLACE_KEY,
    PLACE_SYSTEM,
    PLACE_RULE
};

struct reader {
    XML_Parser parser;
    const struct cpix_request *request;
    struct cpix_document *document;
    unsigned depth;
    enum place place;
    bool is_for_us; /* the DeliveryData */
    struct cpix_content_key
        *system_key; /* of the DRMSystem; NULL: passed over */
    enum crypt_system system;
    enum crypt_part part;
    const struct element *value; /* whose text is gathered, or NULL */
    char text[TEXT_LEN_MAX];
    size_t text_len;
    int err;
};

static void
reader_fail(struct reader *reader, int err, const char *reason)
{
    if (reader->err == 0) {
        reader->err = err;
        reader->document->reason = reason;
    }
    (void) XML_StopParser(reader->parser, XML_FALSE);
}

/* The length is what comes of it; false: it is not base64. */
static bool
base64_read(struct bytes text, uint8_t *out, size_t *len)
{
    size_t padding = 0;
    while (padding < 2 && padding < text.len
           && text.ptr[text.len - 1 - padding] == '=')
        padding++;
    if (text.len % 4 != 0 || memchr(text.ptr, '=', text.len - padding) != NULL
        || EVP_DecodeBlock(out, text.ptr, (int) text.len)
               != (int) (text.len / 4 * 3))
        return false;
    *len = text.len / 4 * 3 - padding;
    return true;
}

/* Base64 of exactly so many bytes. */
static bool
base64_read_all(struct bytes text, uint8_t *out, size_t size)
{
    uint8_t bytes[(CPIX_MAC_SIZE + 2) / 3 * 3];
    size_t len;
    const bool is_whole = text.len == (size + 2) / 3 * 4
                          && base64_read(text, bytes, &len) && len == size;
    if (is_whole)
        memcpy(out, bytes, size);
    explicit_bzero(bytes, sizeof bytes);
    return is_whole;
}

/* ---- elements ---- */

static void
key_begin(struct reader *reader, const char **attributes)
{
    const char *kid = xml_attribute(attributes, "kid");
    const char *iv = xml_attribute(attributes, "explicitIV");
    const char *scheme = xml_attribute(attributes, "commonEncryptionScheme");
    const char *wanted = cpix_scheme_name(reader->request->scheme);
    struct cpix_content_key found = {.has_iv = iv != NULL};
    if (kid == NULL || !cpix_uuid_read(kid, found.key.kid))
        reader_fail(reader, ERR_INVALID, "a ContentKey has no kid");
    else if (iv != NULL
             && !base64_read_all(bytes_of_text(iv), found.key.iv,
                                 CRYPT_KEY_SIZE))
        reader_fail(reader, ERR_INVALID, "an explicitIV is not of 16 bytes");
    else if (scheme != NULL && wanted != NULL && strcmp(scheme, wanted) != 0)
        reader_fail(reader, ERR_INVALID,
                    "a ContentKey is for another commonEncryptionScheme");
    else if (reader->document->key_count == reader->document->count_max)
        reader_fail(reader, ERR_LIMIT, "it has more keys than were asked for");
    else
        reader->document->keys[reader->document->key_count++] = found;
}

static void
value_end(struct reader *reader, struct bytes text)
{
    struct cpix_content_key *key =
        &reader->document->keys[reader->document->key_count - 1];
    if (key->has_value || key->has_cipher
        || !base64_read_all(text, key->key.key, CRYPT_KEY_SIZE))
        reader_fail(reader, ERR_INVALID, "a key is not of 16 bytes");
    else if (reader->request->recipient != NULL)
        reader_fail(reader, ERR_DENIED,
                    "a key is in the clear: the server is to encrypt keys to "
                    "the certificate in the request");
    key->has_value = true;
}

/* ---- encrypted keys ---- */

static void
delivery_begin(struct reader *reader, const char **attributes)
{
    reader->is_for_us = false;
}

static void
certificate_end(struct reader *reader, struct bytes text)
{
    const struct cpix_recipient *recipient = reader->request->recipient;
    uint8_t bytes[PART_SIZE_MAX + 2];
    size_t len = 0;
    reader->is_for_us = recipient != NULL && text.len > 0
                        && base64_read(text, bytes, &len)
                        && bytes_equal(bytes_of(bytes, len),
                                       cpix_recipient_certificate(recipient));
}

static void
algorithm_check(struct reader *reader, const char **attributes,
                const char *wanted)
{
    const char *algorithm = xml_attribute(attributes, "Algorithm");
    if (algorithm == NULL || strcmp(algorithm, wanted) != 0)
        reader_fail(reader, ERR_UNSUPPORTED,
                    "an algorithm is none of CPIX 2.3's: RSA-OAEP with SHA-1, "
                    "AES-256-CBC, HMAC-SHA512");
}

static void
mac_method_begin(struct reader *reader, const char **attributes)
{
    algorithm_check(reader, attributes,
                    "http://www.w3.org/2001/04/xmldsig-more#hmac-sha512");
}

static void
wrapping_begin(struct reader *reader, const char **attributes)
{
    algorithm_check(reader, attributes, CPIX_ENC_NAMESPACE "rsa-oaep-mgf1p");
}

static void
digest_begin(struct reader *reader, const char **attributes)
{
    algorithm_check(reader, attributes, CPIX_DS_NAMESPACE "sha1");
}

static void
encrypted_begin(struct reader *reader, const char **attributes)
{
    if (reader->request->recipient == NULL)
        reader_fail(reader, ERR_UNSUPPORTED,
                    "its keys are encrypted to a certificate: name yours with "
                    "package_key_certificate");
}

static void
encryption_begin(struct reader *reader, const char **attributes)
{
    algorithm_check(reader, attributes, CPIX_ENC_NAMESPACE "aes256-cbc");
}

static void
wrapped_take(struct reader *reader, struct bytes text, struct cpix_wrapped *out)
{
    uint8_t bytes[PART_SIZE_MAX + 2];
    size_t len = 0;
    if (!reader->is_for_us)
        return;
    if (text.len == 0 || !base64_read(text, bytes, &len)
        || len > sizeof out->bytes || out->len > 0) {
        reader_fail(reader, ERR_INVALID,
                    "a DocumentKey or MACMethod has no value, or several");
        return;
    }
    memcpy(out->bytes, bytes, len);
    out->len = len;
}

static void
document_key_end(struct reader *reader, struct bytes text)
{
    wrapped_take(reader, text, &reader->document->document_key);
}

static void
mac_key_end(struct reader *reader, struct bytes text)
{
    wrapped_take(reader, text, &reader->document->mac_key);
}

static void
cipher_end(struct reader *reader, struct bytes text)
{
    struct cpix_content_key *key =
        &reader->document->keys[reader->document->key_count - 1];
    if (key->has_value || key->has_cipher
        || !base64_read_all(text, key->cipher, sizeof key->cipher))
        reader_fail(reader, ERR_INVALID,
                    "an encrypted key is not of 48 bytes: IV, key, padding");
    key->has_cipher = true;
}

static void
mac_end(struct reader *reader, struct bytes text)
{
    struct cpix_content_key *key =
        &reader->document->keys[reader->document->key_count - 1];
    if (key->has_mac || !base64_read_all(text, key->mac, sizeof key->mac))
        reader_fail(reader, ERR_INVALID, "a ValueMAC is not of 64 bytes");
    key->has_mac = true;
}

/* ---- systems ---- */

static void
system_begin(struct reader *reader, const char **attributes)
{
    const char *kid = xml_attribute(attributes, "kid");
    const char *id = xml_attribute(attributes, "systemId");
    const struct cpix_request *request = reader->request;
    uint8_t bytes[CRYPT_KEY_SIZE];
    reader->system_key = NULL;
    if (kid == NULL || id == NULL || !cpix_uuid_read(kid, bytes)) {
        reader_fail(reader, ERR_INVALID, "a DRMSystem has no kid or systemId");
        return;
    }
    for (enum crypt_system i = 0; i < CRYPT_SYSTEM_COUNT; i++) {
        if (strcasecmp(id, crypt_system_id(i)) == 0
            && crypt_system_is_wanted(request->systems, i, request->scheme)) {
            reader->system = i;
            reader->system_key = cpix_key_find(reader->document, bytes);
        }
    }
}

static void
pssh_begin(struct reader *reader, const char **attributes)
{
    reader->part = CRYPT_PART_PSSH;
}

static void
protection_begin(struct reader *reader, const char **attributes)
{
    reader->part = CRYPT_PART_PROTECTION;
}

static void
hls_begin(struct reader *reader, const char **attributes)
{
    const char *playlist = xml_attribute(attributes, "playlist");
    reader->part = playlist != NULL && strcmp(playlist, "master") == 0
                       ? CRYPT_PART_MULTIVARIANT
                       : CRYPT_PART_MEDIA;
}

static const char *
part_reason(enum crypt_part part)
{
    switch (part) {
    case CRYPT_PART_PSSH:
        return "a PSSH is not made of whole pssh boxes of its system";
    case CRYPT_PART_PROTECTION:
        return "a ContentProtectionData is no XML that can stand alone";
    case CRYPT_PART_MEDIA:
        return "an HLSSignalingData is no tags with an EXT-X-KEY";
    case CRYPT_PART_MULTIVARIANT:
        break;
    }
    return "an HLSSignalingData is no tags with an EXT-X-SESSION-KEY";
}

/* An empty one is as good as none: so were all in the request. */
static void
part_end(struct reader *reader, struct bytes text)
{
    uint8_t bytes[PART_SIZE_MAX + 2];
    size_t len = 0;
    if (reader->system_key == NULL || text.len == 0)
        return;
    struct cpix_part *part =
        &reader->system_key->parts[reader->system][reader->part];
    if (part->len > 0 || !base64_read(text, bytes, &len)
        || !cpix_part_is_valid(bytes_of(bytes, len), reader->system,
                               reader->part)) {
        reader_fail(reader, ERR_INVALID, part_reason(reader->part));
        return;
    }
    const bool is_line = reader->part == CRYPT_PART_MEDIA
                         || reader->part == CRYPT_PART_MULTIVARIANT;
    part->at = (uint32_t) reader->document->given.len;
    buffer_append(&reader->document->given, bytes, len);
    if (is_line && bytes[len - 1] != '\n')
        buffer_append_u8(&reader->document->given, '\n');
    part->len = (uint32_t) (reader->document->given.len - part->at);
    if (reader->document->given.err != 0)
        reader_fail(reader, reader->document->given.err, NULL);
}

static void
rule_add(struct reader *reader, const struct cpix_rule *rule)
{
    struct cpix_document *document = reader->document;
    if (document->rule_count == document->count_max)
        reader_fail(reader, ERR_LIMIT, "it has more rules than were asked for");
    else
        document->rules[document->rule_count++] = *rule;
}

static void
rule_begin(struct reader *reader, const char **attributes)
{
    const char *kid = xml_attribute(attributes, "kid");
    const char *type = xml_attribute(attributes, "intendedTrackType");
    struct cpix_rule found = {.period = CRYPT_PERIODS_MAX};
    if (kid == NULL || !cpix_uuid_read(kid, found.kid) || type == NULL) {
        reader_fail(reader, ERR_INVALID,
                    "a ContentKeyUsageRule has no kid or intendedTrackType");
    } else {
        (void) cpix_classes_read(type, &found.classes);
        rule_add(reader, &found);
    }
}

/* The period by the name that the request gave it. One of several is enough: a
 * rule with several is as many rules. */
static void
filter_read(struct reader *reader, const char **attributes)
{
    const char *id = xml_attribute(attributes, "periodId");
    const size_t head = strlen(CPIX_PERIOD_ID);
    uint64_t number;
    if (id == NULL || strncmp(id, CPIX_PERIOD_ID, head) != 0
        || !bytes_number(bytes_of_text(id + head), &number)
        || number >= reader->request->period_count) {
        reader_fail(reader, ERR_INVALID,
                    "a KeyPeriodFilter has a period that was not asked for");
        return;
    }
    struct cpix_rule *rule =
        &reader->document->rules[reader->document->rule_count - 1];
    struct cpix_rule other = *rule;
    other.period = (uint32_t) number;
    if (rule->period == CRYPT_PERIODS_MAX)
        *rule = other;
    else
        rule_add(reader, &other);
}

static const struct element {
    const char *name;
    enum place place;  /* where it counts */
    enum place inside; /* where its children are */
    bool is_strict;    /* elsewhere it is an error, not somebody else's */
    void (*begin)(struct reader *reader, const char **attributes);
    void (*end)(struct reader *reader, struct bytes text); /* it is a value */
} elements[] = {
    {CPIX("DeliveryData"), PLACE_TOP, PLACE_DELIVERY, true, delivery_begin,
     NULL},
    {DS("X509Certificate"), PLACE_DELIVERY, PLACE_DELIVERY, false, NULL,
     certificate_end},
    {CPIX("DocumentKey"), PLACE_DELIVERY, PLACE_DOCUMENT_KEY, true, NULL, NULL},
    {ENC("EncryptionMethod"), PLACE_DOCUMENT_KEY, PLACE_DOCUMENT_KEY, false,
     wrapping_begin, NULL},
    {DS("DigestMethod"), PLACE_DOCUMENT_KEY, PLACE_DOCUMENT_KEY, false,
     digest_begin, NULL},
    {ENC("CipherValue"), PLACE_DOCUMENT_KEY, PLACE_DOCUMENT_KEY, false, NULL,
     document_key_end},
    {CPIX("MACMethod"), PLACE_DELIVERY, PLACE_MAC, true, mac_method_begin,
     NULL},
    {ENC("EncryptionMethod"), PLACE_MAC, PLACE_MAC, false, wrapping_begin,
     NULL},
    {DS("DigestMethod"), PLACE_MAC, PLACE_MAC, false, digest_begin, NULL},
    {ENC("CipherValue"), PLACE_MAC, PLACE_MAC, false, NULL, mac_key_end},
    {CPIX("ContentKey"), PLACE_TOP, PLACE_KEY, true, key_begin, NULL},
    {PSKC("PlainValue"), PLACE_KEY, PLACE_KEY, false, NULL, value_end},
    {ENC("EncryptionMethod"), PLACE_KEY, PLACE_KEY, false, encryption_begin,
     NULL},
    {PSKC("EncryptedValue"), PLACE_KEY, PLACE_KEY, false, encrypted_begin,
     NULL},
    {ENC("CipherValue"), PLACE_KEY, PLACE_KEY, false, encrypted_begin,
     cipher_end},
    {PSKC("ValueMAC"), PLACE_KEY, PLACE_KEY, false, NULL, mac_end},
    {CPIX("DRMSystem"), PLACE_TOP, PLACE_SYSTEM, true, system_begin, NULL},
    {CPIX("PSSH"), PLACE_SYSTEM, PLACE_SYSTEM, true, pssh_begin, part_end},
    {CPIX("ContentProtectionData"), PLACE_SYSTEM, PLACE_SYSTEM, true,
     protection_begin, part_end},
    {CPIX("HLSSignalingData"), PLACE_SYSTEM, PLACE_SYSTEM, true, hls_begin,
     part_end},
    {CPIX("ContentKeyUsageRule"), PLACE_TOP, PLACE_RULE, true, rule_begin,
     NULL},
    {CPIX("KeyPeriodFilter"), PLACE_RULE, PLACE_RULE, true, filter_read, NULL},
};

/* That has its children in, or is in, this place; NULL with *is_strict: it is
 * one of ours that is not. */
static const struct element *
element_find(const char *name, enum place place, bool is_end, bool *is_strict)
{
    *is_strict = false;
    for (size_t i = 0; i < sizeof elements / sizeof elements[0]; i++) {
        const struct element *e = &elements[i];
        if (strcmp(e->name, name) != 0)
            continue;
        if ((is_end ? e->inside : e->place) == place)
            return e;
        *is_strict = *is_strict || e->is_strict;
    }
    return NULL;
}

static void
element_enter(struct reader *reader, const struct element *element,
              const char **attributes)
{
    if (element->begin != NULL)
        element->begin(reader, attributes);
    reader->place = element->inside;
    reader->value = element->end == NULL ? NULL : element;
    reader->text_len = 0;
}

static void
element_begin(void *context, const char *name, const char **attributes)
{
    struct reader *reader = context;
    bool is_strict;
    const struct element *element =
        element_find(name, reader->place, false, &is_strict);
    if (reader->err != 0) /* of an empty one both ends come */
        return;
    if (reader->depth++ == DEPTH_MAX)
        reader_fail(reader, ERR_LIMIT, "its elements are nested too deep");
    else if (reader->depth == 1 && strcmp(name, CPIX("CPIX")) != 0)
        reader_fail(reader, ERR_INVALID, "it is no CPIX document");
    else if (reader->value != NULL)
        reader_fail(reader, ERR_INVALID, "a value has elements in it");
    else if (element != NULL)
        element_enter(reader, element, attributes);
    else if (is_strict)
        reader_fail(reader, ERR_INVALID, "an element is out of place");
}

static void
element_end(void *context, const char *name)
{
    struct reader *reader = context;
    bool is_strict;
    const struct element *element =
        element_find(name, reader->place, true, &is_strict);
    if (reader->err != 0)
        return;
    reader->depth--;
    if (reader->value != NULL) {
        const struct element *value = reader->value;
        reader->value = NULL;
        value->end(reader, bytes_of(reader->text, reader->text_len));
    }
    if (element != NULL)
        reader->place = element->place;
}

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void
text_take(void *context, const char *text, int len)
{
    struct reader *reader = context;
    for (int i = 0; i < len && reader->value != NULL; i++) {
        if (is_blank(text[i]))
            continue;
        if (reader->text_len == sizeof reader->text) {
            reader_fail(reader, ERR_LIMIT, "a value is over 16 kB");
            return;
        }
        reader->text[reader->text_len++] = text[i];
    }
}

static void
type_refuse(void *context, const char *name, const char *system,
            const char *public, int has_more)
{
    reader_fail(context, ERR_INVALID, "it has a document type");
}

/* ---- memory that holds keys ---- */

static void
wiped_free(void *memory)
{
    if (memory != NULL)
        explicit_bzero(memory, malloc_usable_size(memory));
    free(memory);
}

static void *
wiped_realloc(void *memory, size_t size)
{
    const size_t before = memory == NULL ? 0 : malloc_usable_size(memory);
    void *grown = malloc(size);
    if (grown == NULL)
        return NULL;
    if (before > 0)
        memcpy(grown, memory, before < size ? before : size);
    wiped_free(memory);
    return grown;
}

static const XML_Memory_Handling_Suite wiped_memory = {malloc, wiped_realloc,
                                                       wiped_free};

/* ---- all of it ---- */

/* ---- all of it ---- */

static int
document_read(struct reader *reader, struct bytes document)
{
    reader->parser = XML_ParserCreate_MM("UTF-8", &wiped_memory, "|");
    if (reader->parser == NULL)
        return ERR_MEMORY;
    XML_SetUserData(reader->parser, reader);
    XML_SetElementHandler(reader->parser, element_begin, element_end);
    XML_SetCharacterDataHandler(reader->parser, text_take);
    XML_SetStartDoctypeDeclHandler(reader->parser, type_refuse);
    const enum XML_Status status =
        XML_Parse(reader->parser, (const char *) document.ptr,
                  (int) document.len, XML_TRUE);
    const enum XML_Error error = XML_GetErrorCode(reader->parser);
    XML_ParserFree(reader->parser);
    if (reader->err != 0)
        return reader->err;
    if (status != XML_STATUS_OK) {
        reader->document->reason = XML_ErrorString(error);
        return error == XML_ERROR_NO_MEMORY ? ERR_MEMORY : ERR_INVALID;
    }
    return 0;
}

/* Takes what `document` has room for. */
static int
document_fill(struct bytes text, struct cpix_document *document)
{
    struct reader reader = {.request = document->request, .document = document};
    const int err = document_read(&reader, text);
    explicit_bzero(&reader, sizeof reader);
    return err;
}

int
cpix_read(struct bytes text, const struct cpix_request *request,
          struct cpix_answer *out, const char **reason)
{
    struct cpix_document document = {.request = request,
                                     .count_max = cpix_key_count(request)};
    *reason = "it is over 16 MB: longer periods make it smaller";
    if (text.len > CPIX_SIZE_MAX)
        return ERR_LIMIT;
    buffer_init(&document.given, CPIX_SIZE_MAX);
    document.keys = calloc(document.count_max, sizeof *document.keys);
    document.rules = calloc(document.count_max, sizeof *document.rules);
    int err = document.keys == NULL || document.rules == NULL ? ERR_MEMORY : 0;
    if (err == 0)
        err = document_fill(text, &document);
    if (err == 0)
        err = cpix_answer_make(&document, out);
    *reason = document.reason;
    if (document.keys != NULL)
        explicit_bzero(document.keys,
                       document.count_max * sizeof *document.keys);
    free(document.keys);
    free(document.rules);
    buffer_fini(&document.given);
    explicit_bzero(&document, sizeof document);
    return err;
}
