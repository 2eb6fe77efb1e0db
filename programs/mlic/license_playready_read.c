/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read by expat, which gets no document type and so no entities. Elements count
 * only where the specification has them: a content's own attributes, and what a
 * client adds for its service, may be called alike.
 */

#include "programs/mlic/license_playready.h"

#include "core/err.h"
#include "media/xml_attribute.h"

#include <expat.h>
#include <openssl/evp.h>

#define SOAP(name) "http://schemas.xmlsoap.org/soap/envelope/|" name
#define DRM "http://schemas.microsoft.com/DRM/2007/03/"
#define PROTOCOLS(name) DRM "protocols|" name
#define MESSAGES(name) DRM "protocols/messages|" name
#define WRM(name) DRM "PlayReadyHeader|" name

#define DEPTH_MAX 64
#define KID_TEXT_LEN 24 /* base64 */

enum place {
    PLACE_OTHER,
    PLACE_TOP,
    PLACE_ENVELOPE,
    PLACE_BODY,
    PLACE_ACQUIRE,
    PLACE_CHALLENGE,
    PLACE_MESSAGE,
    PLACE_LA,
    PLACE_CONTENT,
    PLACE_HEADER,
    PLACE_DATA,
    PLACE_PROTECTION,
    PLACE_KIDS,
    PLACE_KID
};

static const struct {
    enum place in;
    const char *name;
    enum place is;
} elements[] = {
    {PLACE_TOP, SOAP("Envelope"), PLACE_ENVELOPE},
    {PLACE_ENVELOPE, SOAP("Body"), PLACE_BODY},
    {PLACE_BODY, PROTOCOLS("AcquireLicense"), PLACE_ACQUIRE},
    {PLACE_ACQUIRE, PROTOCOLS("challenge"), PLACE_CHALLENGE},
    {PLACE_CHALLENGE, MESSAGES("Challenge"), PLACE_MESSAGE},
    {PLACE_MESSAGE, PROTOCOLS("LA"), PLACE_LA},
    {PLACE_LA, PROTOCOLS("ContentHeader"), PLACE_CONTENT},
    {PLACE_CONTENT, WRM("WRMHEADER"), PLACE_HEADER},
    {PLACE_HEADER, WRM("DATA"), PLACE_DATA},
    {PLACE_DATA, WRM("KID"), PLACE_KID}, /* 4.0 */
    {PLACE_DATA, WRM("PROTECTINFO"), PLACE_PROTECTION},
    {PLACE_PROTECTION, WRM("KID"), PLACE_KID}, /* 4.1 */
    {PLACE_PROTECTION, WRM("KIDS"), PLACE_KIDS},
    {PLACE_KIDS, WRM("KID"), PLACE_KID}, /* 4.2, 4.3 */
};

struct reader {
    XML_Parser parser;
    struct license_request *out;
    enum place path[DEPTH_MAX + 1];
    unsigned depth;
    bool has_value; /* the KID is an attribute */
    bool has_header;
    char text[KID_TEXT_LEN];
    size_t text_len; /* may be more than there is place for */
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

static void
kid_take(struct reader *reader, const char *text, size_t len)
{
    static const uint8_t order[] = {3, 2, 1,  0,  5,  4,  7,  6,
                                    8, 9, 10, 11, 12, 13, 14, 15};
    uint8_t guid[18], kid[CRYPT_KEY_SIZE];
    if (len != KID_TEXT_LEN || memcmp(text + 22, "==", 2) != 0
        || memchr(text, '=', 22) != NULL
        || EVP_DecodeBlock(guid, (const uint8_t *) text, KID_TEXT_LEN) != 18) {
        fail(reader, ERR_INVALID, "a KID is not 16 bytes in base64");
        return;
    }
    for (size_t i = 0; i < sizeof kid; i++)
        kid[i] = guid[order[i]];
    if (license_kid_add(reader->out, kid) != 0)
        fail(reader, ERR_LIMIT, "more than 128 KIDs");
}

static void
header_begin(struct reader *reader, const char **attributes)
{
    const char *version = xml_attribute(attributes, "version");
    if (reader->has_header)
        fail(reader, ERR_INVALID, "it has two WRMHEADERs");
    reader->has_header = true;
    if (version == NULL || strlen(version) != 7
        || strncmp(version, "4.", 2) != 0 || version[2] < '0'
        || version[2] > '3' || strcmp(version + 3, ".0.0") != 0)
        fail(reader, ERR_INVALID, "the WRMHEADER is not of version 4.0 to 4.3");
}

static void
element_begin(void *context, const char *name, const char **attributes)
{
    struct reader *reader = context;
    const enum place in = reader->path[reader->depth];
    enum place is = PLACE_OTHER;
    if (reader->depth == DEPTH_MAX) {
        fail(reader, ERR_LIMIT, "its elements lie too deep");
        return;
    }
    for (size_t i = 0; i < sizeof elements / sizeof *elements; i++)
        if (elements[i].in == in && strcmp(elements[i].name, name) == 0)
            is = elements[i].is;
    reader->path[++reader->depth] = is;
    if (is == PLACE_HEADER)
        header_begin(reader, attributes);
    if (is != PLACE_KID)
        return;
    const char *value = xml_attribute(attributes, "VALUE");
    reader->has_value = value != NULL;
    reader->text_len = 0;
    if (value != NULL)
        kid_take(reader, value, strlen(value));
}

static void
element_end(void *context, const char *name)
{
    struct reader *reader = context;
    if (reader->path[reader->depth--] == PLACE_KID && !reader->has_value)
        kid_take(reader, reader->text, reader->text_len);
}

static void
text_add(void *context, const char *text, int len)
{
    struct reader *reader = context;
    if (reader->path[reader->depth] != PLACE_KID)
        return;
    for (int i = 0; i < len; i++) {
        if (strchr(" \t\r\n", text[i]) != NULL)
            continue;
        if (reader->text_len < sizeof reader->text)
            reader->text[reader->text_len] = text[i];
        reader->text_len++;
    }
}

static void
doctype_begin(void *context, const char *name, const char *system,
              const char *public, int has_subset)
{
    fail(context, ERR_INVALID, "it has a document type");
}

static int
xml_read(struct bytes text, const char *encoding, enum place place,
         struct license_request *out, const char **reason)
{
    struct reader reader = {.out = out, .path = {place}};
    reader.parser = XML_ParserCreateNS(encoding, '|');
    if (reader.parser == NULL) {
        *reason = "no memory";
        return ERR_MEMORY;
    }
    XML_SetUserData(reader.parser, &reader);
    XML_SetElementHandler(reader.parser, element_begin, element_end);
    XML_SetCharacterDataHandler(reader.parser, text_add);
    XML_SetStartDoctypeDeclHandler(reader.parser, doctype_begin);
    const bool is_read =
        XML_Parse(reader.parser, (const char *) text.ptr, (int) text.len, 1)
        == XML_STATUS_OK;
    XML_ParserFree(reader.parser);
    if (reader.err == 0 && !is_read) {
        reader.err = ERR_INVALID;
        reader.reason = "it is no well-formed XML";
    } else if (reader.err == 0 && out->kid_count == 0) {
        reader.err = ERR_INVALID;
        reader.reason = !reader.has_header ? "it has no WRMHEADER"
                                           : "its WRMHEADER has no KID";
    }
    if (reader.err != 0)
        *reason = reader.reason;
    return reader.err;
}

int
playready_header_read(struct bytes header, struct license_request *out,
                      const char **reason)
{
    if (header.len > PLAYREADY_OBJECT_SIZE_MAX) {
        *reason = "the WRMHEADER has more than 15 KiB";
        return ERR_LIMIT;
    }
    return xml_read(header, "UTF-16LE", PLACE_CONTENT, out, reason);
}

int
playready_object_read(struct bytes object, struct license_request *out,
                      const char **reason)
{
    struct bytes header = {NULL, 0};
    *reason = "it is no PlayReady object with one header";
    if (object.len < 6 || load_le32(object.ptr) != object.len)
        return ERR_INVALID;
    unsigned count = load_le16(object.ptr + 4);
    size_t at = 6;
    for (; count > 0 && object.len - at >= 4; count--) {
        const uint8_t *record = object.ptr + at;
        const size_t len = load_le16(record + 2);
        if (len > object.len - at - 4)
            return ERR_INVALID;
        if (load_le16(record) == 1 && header.ptr != NULL)
            return ERR_INVALID;
        if (load_le16(record) == 1)
            header = bytes_of(record + 4, len);
        at += 4 + len;
    }
    if (count > 0 || at != object.len || header.ptr == NULL)
        return ERR_INVALID;
    return playready_header_read(header, out, reason);
}

int
playready_challenge_read(struct bytes body, struct license_request *out,
                         const char **reason)
{
    if (body.len > PLAYREADY_CHALLENGE_SIZE_MAX) {
        *reason = "it has more than 64 KiB";
        return ERR_LIMIT;
    }
    return xml_read(body, "UTF-8", PLACE_TOP, out, reason);
}
