/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packager's document is read by expat, which gets no document type and so
 * no entities, as UTF-8 whatever it says of itself. Of the document these count
 * (CPIX 2.3 §5.2, SPEKE v2):
 *
 *   CPIX@contentId, @version
 *   DeliveryData  X509Certificate, and behind its DeliveryKey comes our key
 *   ContentKey@kid, @commonEncryptionScheme
 *   DRMSystem@kid, @systemId  PSSH  ContentProtectionData
 *                             HLSSignalingData@playlist
 *   ContentKeyPeriod@id, @index
 *   ContentKeyUsageRule@kid, @intendedTrackType  KeyPeriodFilter@periodId
 *                                                VideoFilter  AudioFilter
 *
 * The lists are in the schema's order: a kid or period is known when it is named.
 */
#include "media/crypt/cpix_private.h"
#include "media/crypt/cpix_provider_private.h"

#include "core/err.h"
#include "media/xml_attribute.h"

#include <expat.h>
#include <openssl/evp.h>
#include <stdlib.h>

#define CPIX(name) CPIX_NAMESPACE "|" name
#define DS(name) CPIX_DS_NAMESPACE "|" name
#define DEPTH_MAX 32
#define PERIOD_ID_LEN_MAX 96
#define CERTIFICATE_LEN_MAX (16u << 10) /* characters of base64 */
#define NONE SIZE_MAX

enum place {
    PLACE_TOP,
    PLACE_DELIVERY,
    PLACE_DELIVERY_KEY,
    PLACE_CERTIFICATE,
    PLACE_KEY,
    PLACE_SYSTEM,
    PLACE_PART,
    PLACE_RULE
};

struct period {
    char id[PERIOD_ID_LEN_MAX + 1];
    uint32_t index;
};

struct reader {
    XML_Parser parser;
    struct cpix_asked *asked;
    struct period *periods; /* CRYPT_PERIODS_MAX of them */
    size_t period_count, system_count, rule_count;
    bool is_speke, is_for_all;
    unsigned depth;
    enum place place;
    struct {
        size_t key; /* of the DRMSystem or rule */
        enum crypt_system system;
        enum crypt_part part;
        size_t filters; /* of the rule */
    } now;
    size_t value_start;   /* where the text of a part starts, in the document */
    struct bytes closing; /* it is an empty element of this name */
    struct buffer certificate;
    int err;
    const char *reason;
};

static void
fail(struct reader *reader, int err, const char *reason)
{
    if (reader->err == 0) {
        reader->err = err;
        reader->reason = reason;
    }
    (void) XML_StopParser(reader->parser, XML_FALSE);
}

/* Printable, with an end. */
static bool
text_take(const char *text, char *out, size_t size)
{
    const size_t len = text == NULL ? 0 : strlen(text);
    if (len == 0 || len >= size)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((uint8_t) text[i] < ' ' || text[i] == 0x7f)
            return false;
    memcpy(out, text, len + 1);
    return true;
}

static size_t
key_index(const struct reader *reader, const char *kid)
{
    const struct cpix_asked *asked = reader->asked;
    uint8_t bytes[CRYPT_KEY_SIZE];
    if (kid == NULL || !cpix_uuid_read(kid, bytes))
        return NONE;
    for (size_t i = 0; i < asked->key_count; i++)
        if (memcmp(asked->keys[i].kid, bytes, CRYPT_KEY_SIZE) == 0)
            return i;
    return NONE;
}

/* ---- where what is put in ---- */

/* The tag that the parser is at. */
static struct bytes
tag(const struct reader *reader)
{
    const XML_Index at = XML_GetCurrentByteIndex(reader->parser);
    return bytes_of(reader->asked->text.ptr + at,
                    (size_t) XML_GetCurrentByteCount(reader->parser));
}

static size_t
tag_at(const struct reader *reader)
{
    return (size_t) XML_GetCurrentByteIndex(reader->parser);
}

static struct bytes
tag_name(struct bytes tag)
{
    size_t end = 1;
    while (end < tag.len && strchr(" \t\r\n/>", tag.ptr[end]) == NULL)
        end++;
    return bytes_of(tag.ptr + 1, end - 1);
}

static bool
tag_is_empty(struct bytes tag)
{
    return tag.len > 2 && tag.ptr[tag.len - 2] == '/';
}

static struct cpix_edit *
edit_add(struct reader *reader, size_t at, enum cpix_edit_kind kind,
         size_t index)
{
    struct cpix_asked *asked = reader->asked;
    if (asked->edit_count == asked->edit_capacity) {
        const size_t more =
            asked->edit_capacity == 0 ? 64 : 2 * asked->edit_capacity;
        struct cpix_edit *grown = realloc(asked->edits, more * sizeof *grown);
        if (grown == NULL) {
            fail(reader, ERR_MEMORY, NULL);
            return NULL;
        }
        asked->edits = grown;
        asked->edit_capacity = more;
    }
    struct cpix_edit *edit = &asked->edits[asked->edit_count++];
    *edit = (struct cpix_edit){.at = at, .kind = kind, .index = index};
    return edit;
}

/* Behind the start of the element that the parser is at; an empty one becomes
 * one of two tags. */
static struct cpix_edit *
edit_inside(struct reader *reader, enum cpix_edit_kind kind, size_t index)
{
    const struct bytes start = tag(reader);
    const bool is_empty = tag_is_empty(start);
    const size_t at = tag_at(reader) + start.len - (is_empty ? 2 : 0);
    struct cpix_edit *edit = edit_add(reader, at, kind, index);
    if (edit != NULL && is_empty) {
        edit->cut = 2;
        edit->closing = tag_name(start);
    }
    return edit;
}

/* ---- elements ---- */

static void
document_begin(struct reader *reader, const char **attributes)
{
    const char *version = xml_attribute(attributes, "version");
    if (version == NULL || strcmp(version, "2.3") != 0)
        fail(reader, ERR_UNSUPPORTED, "its version is not 2.3");
    else if (!text_take(xml_attribute(attributes, "contentId"),
                        reader->asked->content, sizeof reader->asked->content))
        fail(reader, ERR_INVALID,
             "it has no contentId of 1 to 256 printable bytes");
}

static void
signature_begin(struct reader *reader, const char **attributes)
{
    fail(reader, ERR_UNSUPPORTED,
         "it is signed, which SPEKE v2 has no place for: TLS and the key in "
         "Authorization say who asks");
}

static void
delivery_begin(struct reader *reader, const char **attributes)
{
    reader->certificate.len = 0;
}

static void
delivery_key_end(struct reader *reader)
{
    struct cpix_asked *asked = reader->asked;
    struct buffer *text = &reader->certificate;
    uint8_t der[CERTIFICATE_LEN_MAX];
    size_t padding = 0;
    while (padding < 2 && padding < text->len
           && text->ptr[text->len - 1 - padding] == '=')
        padding++;
    const int len =
        text->len == 0 || text->len > CERTIFICATE_LEN_MAX || text->len % 4 != 0
            ? -1
            : EVP_DecodeBlock(der, text->ptr, (int) text->len);
    struct cpix_certificate *certificate =
        len < 0 ? NULL
                : cpix_certificate_new(bytes_of(der, (size_t) len - padding));
    if (certificate == NULL) {
        fail(reader, ERR_UNSUPPORTED,
             "a DeliveryKey has no X509Certificate for RSA of 2048 bits and "
             "more");
        return;
    }
    if (asked->recipient_count == CPIX_RECIPIENTS_MAX) {
        cpix_certificate_free(certificate);
        fail(reader, ERR_LIMIT, "it has more than 8 DeliveryData");
        return;
    }
    asked->recipients[asked->recipient_count] = certificate;
    (void) edit_add(reader, tag_at(reader) + tag(reader).len,
                    CPIX_EDIT_DELIVERY, asked->recipient_count++);
}

static void
delivered_begin(struct reader *reader, const char **attributes)
{
    fail(reader, ERR_INVALID,
         "it has a DocumentKey, a MACMethod or a key already, which are the "
         "key server's to make");
}

static int
scheme_read(const char *name, enum crypt_scheme *out)
{
    if (name == NULL)
        *out = CRYPT_AES128;
    else if (strcmp(name, "cenc") == 0)
        *out = CRYPT_CENC;
    else if (strcmp(name, "cbcs") == 0)
        *out = CRYPT_CBCS;
    else
        return ERR_UNSUPPORTED;
    return 0;
}

static void
key_begin(struct reader *reader, const char **attributes)
{
    struct cpix_asked *asked = reader->asked;
    const char *kid = xml_attribute(attributes, "kid");
    const char *scheme = xml_attribute(attributes, "commonEncryptionScheme");
    struct cpix_asked_key key = {0};
    if (kid == NULL || !cpix_uuid_read(kid, key.kid))
        fail(reader, ERR_INVALID, "a ContentKey has no kid that is a UUID");
    else if (key_index(reader, kid) != NONE)
        fail(reader, ERR_INVALID, "two ContentKeys have the same kid");
    else if (asked->key_count == CPIX_ASKED_KEYS_MAX)
        fail(reader, ERR_LIMIT, "it has more than 1024 keys");
    else if (scheme == NULL && reader->is_speke)
        fail(reader, ERR_INVALID, "a ContentKey has no commonEncryptionScheme");
    else if (scheme_read(scheme, &key.scheme) != 0)
        fail(reader, ERR_UNSUPPORTED,
             "a ContentKey's commonEncryptionScheme is neither cenc nor cbcs");
    else if (xml_attribute(attributes, "explicitIV") != NULL)
        fail(reader, ERR_INVALID,
             "a ContentKey has an explicitIV, which is the key server's to "
             "give");
    else {
        const size_t index = asked->key_count++;
        const struct bytes start = tag(reader);
        asked->keys[index] = key;
        if (key.scheme == CRYPT_CBCS)
            (void) edit_add(reader, tag_at(reader) + 1 + tag_name(start).len,
                            CPIX_EDIT_IV, index);
        (void) edit_inside(reader, CPIX_EDIT_KEY, index);
    }
}

static bool
system_read(const char *id, enum crypt_system *out)
{
    for (enum crypt_system i = 0; id != NULL && i < CRYPT_SYSTEM_COUNT; i++)
        if (strcasecmp(id, crypt_system_id(i)) == 0) {
            *out = i;
            return true;
        }
    return false;
}

static void
system_begin(struct reader *reader, const char **attributes)
{
    const char *id = xml_attribute(attributes, "systemId");
    const size_t key = key_index(reader, xml_attribute(attributes, "kid"));
    if (key == NONE || id == NULL) {
        fail(reader, ERR_INVALID,
             "a DRMSystem has no systemId, or no kid of a ContentKey");
        return;
    }
    const enum crypt_scheme scheme = reader->asked->keys[key].scheme;
    if (!system_read(id, &reader->now.system))
        fail(reader, ERR_UNSUPPORTED,
             "a DRMSystem is none of Widevine, PlayReady, FairPlay and "
             "ClearKey (1077efec-c0b2-4d02-ace3-3c1e52e2fb4b)");
    else if (scheme == CRYPT_AES128)
        fail(reader, ERR_INVALID,
             "a DRMSystem is of a key without a commonEncryptionScheme");
    else if (reader->now.system == CRYPT_SYSTEM_FAIRPLAY
             && scheme != CRYPT_CBCS)
        fail(reader, ERR_INVALID, "FairPlay takes cbcs alone");
    reader->now.key = key;
    reader->system_count++;
}

static void
part_begin(struct reader *reader, enum crypt_part part)
{
    const struct bytes start = tag(reader);
    reader->now.part = part;
    reader->value_start = tag_at(reader) + start.len;
    reader->closing = tag_is_empty(start) ? tag_name(start) : bytes_of(NULL, 0);
}

static void
pssh_begin(struct reader *reader, const char **attributes)
{
    part_begin(reader, CRYPT_PART_PSSH);
}

static void
protection_begin(struct reader *reader, const char **attributes)
{
    part_begin(reader, CRYPT_PART_PROTECTION);
}

static void
hls_begin(struct reader *reader, const char **attributes)
{
    const char *playlist = xml_attribute(attributes, "playlist");
    part_begin(reader, playlist != NULL && strcmp(playlist, "master") == 0
                           ? CRYPT_PART_MULTIVARIANT
                           : CRYPT_PART_MEDIA);
}

/* In place of what it holds, blanks most often; nothing where the system has
 * none. */
static void
part_end(struct reader *reader)
{
    const bool is_empty = reader->closing.len > 0;
    const size_t start = reader->value_start - (is_empty ? 2 : 0);
    if (reader->now.system == CRYPT_SYSTEM_FAIRPLAY
        && (reader->now.part == CRYPT_PART_PSSH
            || reader->now.part == CRYPT_PART_PROTECTION))
        return;
    struct cpix_edit *edit =
        edit_add(reader, start, CPIX_EDIT_PART, reader->now.key);
    if (edit == NULL)
        return;
    edit->cut = is_empty ? 2 : tag_at(reader) - start;
    edit->closing = reader->closing;
    edit->system = reader->now.system;
    edit->part = reader->now.part;
}

static void
period_begin(struct reader *reader, const char **attributes)
{
    const char *index = xml_attribute(attributes, "index");
    struct period *period = &reader->periods[reader->period_count];
    uint64_t number = reader->period_count;
    if (reader->period_count == CRYPT_PERIODS_MAX)
        fail(reader, ERR_LIMIT, "it has more than 256 periods");
    else if (!text_take(xml_attribute(attributes, "id"), period->id,
                        sizeof period->id))
        fail(reader, ERR_INVALID, "a ContentKeyPeriod has no id");
    else if (index != NULL
             && (!bytes_number(bytes_of_text(index), &number)
                 || number > UINT32_MAX))
        fail(reader, ERR_INVALID,
             "a ContentKeyPeriod's index is no number of 32 bits");
    else {
        period->index = (uint32_t) number;
        reader->period_count++;
    }
}

static void
rule_begin(struct reader *reader, const char **attributes)
{
    const char *type = xml_attribute(attributes, "intendedTrackType");
    const size_t index = key_index(reader, xml_attribute(attributes, "kid"));
    char track[CPIX_TRACK_LEN_MAX + 1];
    unsigned classes = 0;
    if (index == NONE || !text_take(type, track, sizeof track)) {
        fail(reader, ERR_INVALID,
             "a ContentKeyUsageRule has no intendedTrackType, or no kid of a "
             "ContentKey");
        return;
    }
    if (!cpix_classes_read(track, &classes)) {
        fail(reader, ERR_UNSUPPORTED,
             "an intendedTrackType is none of SPEKE v2's: VIDEO, SD, HD, UHD, "
             "HD1, HD2, UHD1, UHD2, AUDIO, STEREO_AUDIO, MULTICHANNEL_AUDIO, "
             "MULTICHANNEL_AUDIO_3_6, MULTICHANNEL_AUDIO_7, ALL, or several "
             "with + between");
        return;
    }
    struct cpix_asked_key *key = &reader->asked->keys[index];
    if (key->track[0] == '\0')
        memcpy(key->track, track, sizeof track);
    key->classes |= classes;
    reader->is_for_all = reader->is_for_all || strcmp(track, "ALL") == 0;
    reader->now.key = index;
    reader->now.filters = 0;
    reader->rule_count++;
}

static void
rule_end(struct reader *reader)
{
    if (reader->is_speke && reader->now.filters == 0)
        fail(reader, ERR_INVALID,
             "a ContentKeyUsageRule has neither VideoFilter nor AudioFilter");
}

static void
filter_begin(struct reader *reader, const char **attributes)
{
    reader->now.filters++;
}

static void
period_filter_begin(struct reader *reader, const char **attributes)
{
    const char *id = xml_attribute(attributes, "periodId");
    for (size_t i = 0; id != NULL && i < reader->period_count; i++)
        if (strcmp(reader->periods[i].id, id) == 0) {
            reader->asked->keys[reader->now.key].period =
                reader->periods[i].index;
            return;
        }
    fail(reader, ERR_INVALID,
         "a KeyPeriodFilter names no ContentKeyPeriod of the document");
}

static const struct element {
    const char *name;
    enum place place;  /* where it counts */
    enum place inside; /* where its children are */
    void (*begin)(struct reader *reader, const char **attributes);
    void (*end)(struct reader *reader);
} elements[] = {
    {DS("Signature"), PLACE_TOP, PLACE_TOP, signature_begin, NULL},
    {CPIX("DeliveryData"), PLACE_TOP, PLACE_DELIVERY, delivery_begin, NULL},
    {CPIX("DeliveryKey"), PLACE_DELIVERY, PLACE_DELIVERY_KEY, NULL,
     delivery_key_end},
    {CPIX("DocumentKey"), PLACE_DELIVERY, PLACE_DELIVERY, delivered_begin,
     NULL},
    {CPIX("MACMethod"), PLACE_DELIVERY, PLACE_DELIVERY, delivered_begin, NULL},
    {DS("X509Certificate"), PLACE_DELIVERY_KEY, PLACE_CERTIFICATE, NULL, NULL},
    {CPIX("ContentKey"), PLACE_TOP, PLACE_KEY, key_begin, NULL},
    {CPIX("Data"), PLACE_KEY, PLACE_KEY, delivered_begin, NULL},
    {CPIX("DRMSystem"), PLACE_TOP, PLACE_SYSTEM, system_begin, NULL},
    {CPIX("PSSH"), PLACE_SYSTEM, PLACE_PART, pssh_begin, part_end},
    {CPIX("ContentProtectionData"), PLACE_SYSTEM, PLACE_PART, protection_begin,
     part_end},
    {CPIX("HLSSignalingData"), PLACE_SYSTEM, PLACE_PART, hls_begin, part_end},
    {CPIX("ContentKeyPeriod"), PLACE_TOP, PLACE_TOP, period_begin, NULL},
    {CPIX("ContentKeyUsageRule"), PLACE_TOP, PLACE_RULE, rule_begin, rule_end},
    {CPIX("KeyPeriodFilter"), PLACE_RULE, PLACE_RULE, period_filter_begin,
     NULL},
    {CPIX("VideoFilter"), PLACE_RULE, PLACE_RULE, filter_begin, NULL},
    {CPIX("AudioFilter"), PLACE_RULE, PLACE_RULE, filter_begin, NULL},
};

/* That is in this place, or has its children in it. */
static const struct element *
element_find(const char *name, enum place place, bool is_end)
{
    for (size_t i = 0; i < sizeof elements / sizeof *elements; i++) {
        const struct element *e = &elements[i];
        if (strcmp(e->name, name) == 0
            && (is_end ? e->inside : e->place) == place)
            return e;
    }
    return NULL;
}

static void
element_begin(void *context, const char *name, const char **attributes)
{
    struct reader *reader = context;
    if (reader->err != 0) /* of an empty one both ends come */
        return;
    const struct element *element = element_find(name, reader->place, false);
    if (reader->depth++ == DEPTH_MAX)
        fail(reader, ERR_LIMIT, "its elements are nested too deep");
    else if (reader->depth == 1 && strcmp(name, CPIX("CPIX")) != 0)
        fail(reader, ERR_INVALID, "it is no CPIX document");
    else if (reader->depth == 1)
        document_begin(reader, attributes);
    else if (reader->place == PLACE_PART || reader->place == PLACE_CERTIFICATE)
        fail(reader, ERR_INVALID, "a value has elements in it");
    else if (element != NULL) {
        reader->place = element->inside;
        if (element->begin != NULL)
            element->begin(reader, attributes);
    }
}

static void
element_end(void *context, const char *name)
{
    struct reader *reader = context;
    if (reader->err != 0)
        return;
    reader->depth--;
    const struct element *element = element_find(name, reader->place, true);
    if (element == NULL)
        return;
    reader->place = element->place;
    if (element->end != NULL)
        element->end(reader);
}

static void
characters(void *context, const char *text, int len)
{
    struct reader *reader = context;
    for (int i = 0; i < len && reader->place == PLACE_CERTIFICATE; i++)
        if (strchr(" \t\r\n", text[i]) == NULL)
            buffer_append_u8(&reader->certificate, (uint8_t) text[i]);
}

static void
type_refuse(void *context, const char *name, const char *system,
            const char *public, int has_more)
{
    fail(context, ERR_INVALID, "it has a document type");
}

/* ---- all of it ---- */

static void
whole_check(struct reader *reader)
{
    const struct cpix_asked *asked = reader->asked;
    if (asked->key_count == 0)
        fail(reader, ERR_INVALID, "it has no ContentKey");
    else if (reader->system_count == 0 && reader->is_speke)
        fail(reader, ERR_INVALID, "it has no DRMSystem");
    else if (reader->is_for_all && reader->rule_count > 1)
        fail(reader, ERR_INVALID,
             "one intendedTrackType is ALL, so there can be no other "
             "ContentKeyUsageRule");
    for (size_t i = 0; i < asked->key_count; i++)
        if (asked->keys[i].classes == 0)
            fail(reader, ERR_INVALID,
                 "a ContentKey has no ContentKeyUsageRule");
}

static int
document_read(struct reader *reader)
{
    const struct bytes text = reader->asked->text;
    reader->parser = XML_ParserCreateNS("UTF-8", '|');
    if (reader->parser == NULL)
        return ERR_MEMORY;
    XML_SetUserData(reader->parser, reader);
    XML_SetElementHandler(reader->parser, element_begin, element_end);
    XML_SetCharacterDataHandler(reader->parser, characters);
    XML_SetStartDoctypeDeclHandler(reader->parser, type_refuse);
    const enum XML_Status status = XML_Parse(
        reader->parser, (const char *) text.ptr, (int) text.len, XML_TRUE);
    const enum XML_Error error = XML_GetErrorCode(reader->parser);
    if (reader->err == 0 && status != XML_STATUS_OK)
        fail(reader, error == XML_ERROR_NO_MEMORY ? ERR_MEMORY : ERR_INVALID,
             XML_ErrorString(error));
    if (reader->err == 0)
        whole_check(reader);
    XML_ParserFree(reader->parser);
    return reader->err;
}

int
cpix_asked_read(struct bytes text, bool is_speke, struct cpix_asked *out,
                const char **reason)
{
    struct cpix_asked asked = {.text = text};
    struct reader reader = {.asked = &asked, .is_speke = is_speke};
    *reason = "it is over 4 MB";
    if (text.len > CPIX_ASKED_SIZE_MAX)
        return ERR_LIMIT;
    buffer_init(&reader.certificate, CERTIFICATE_LEN_MAX + 1);
    asked.keys = calloc(CPIX_ASKED_KEYS_MAX, sizeof *asked.keys);
    reader.periods = calloc(CRYPT_PERIODS_MAX, sizeof *reader.periods);
    int err = asked.keys == NULL || reader.periods == NULL ? ERR_MEMORY : 0;
    if (err == 0)
        err = document_read(&reader);
    *reason = reader.reason;
    free(reader.periods);
    buffer_fini(&reader.certificate);
    if (err == 0)
        *out = asked;
    else
        cpix_asked_fini(&asked);
    return err;
}

void
cpix_asked_fini(struct cpix_asked *asked)
{
    for (size_t i = 0; i < asked->recipient_count; i++)
        cpix_certificate_free(asked->recipients[i]);
    free(asked->keys);
    free(asked->edits);
    *asked = (struct cpix_asked){0};
}
