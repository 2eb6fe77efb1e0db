/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer is read by expat, which gets no document type and so no entities,
 * as UTF-8 whatever it says of itself, and memory that is wiped when it is
 * freed. Of the document these count (CPIX 2.3 §5.2):
 *
 *   ContentKey@kid, @explicitIV  Data/Secret/PlainValue
 *   DRMSystem@kid, @systemId  PSSH  ContentProtectionData
 *                             HLSSignalingData@playlist
 *   ContentKeyUsageRule@kid, @intendedTrackType  KeyPeriodFilter@periodId
 *
 * Systems that are not told to players are passed over.
 */
#include "media/crypt/cpix_private.h"

#include "core/err.h"

#include <expat.h>
#include <malloc.h>
#include <openssl/evp.h>
#include <stdlib.h>

#define CPIX(name) CPIX_NAMESPACE "|" name
#define PSKC(name) CPIX_PSKC_NAMESPACE "|" name
#define DEPTH_MAX 32
#define PART_SIZE_MAX (16u << 10) /* bytes, of what is given of a key */
#define TEXT_LEN_MAX ((PART_SIZE_MAX + 2) / 3 * 4) /* as base64 */

#define CLASS(name) (1u << CRYPT_CLASS_##name)

static const struct {
    const char *name;
    unsigned classes;
} track_types[] = {
    {"SD", CLASS(SD)},
    {"HD", CLASS(HD)},
    {"UHD", CLASS(UHD)},
    {"AUDIO", CLASS(AUDIO)},
    {"VIDEO", CLASS(SD) | CLASS(HD) | CLASS(UHD)},
    {"ALL", CLASS(SD) | CLASS(HD) | CLASS(UHD) | CLASS(AUDIO)},
};

struct part { /* of what is given; offsets, since that grows */
    uint32_t at, len;
};

struct content_key {
    struct crypt_key key;
    bool has_value, has_iv;
    struct part parts[CRYPT_SYSTEM_COUNT][CRYPT_PART_COUNT];
};

struct rule {
    uint8_t kid[CRYPT_KEY_SIZE];
    unsigned classes;
    uint32_t period; /* CRYPT_PERIODS_MAX: all */
};

enum place { PLACE_TOP, PLACE_KEY, PLACE_SYSTEM, PLACE_RULE };

struct reader {
    XML_Parser parser;
    const struct cpix_request *request;
    size_t count_max; /* of keys, and of rules */
    struct content_key *keys;
    size_t key_count;
    struct rule *rules;
    size_t rule_count;
    struct buffer given;
    unsigned depth;
    enum place place;
    struct content_key *system_key; /* of the DRMSystem; NULL: passed over */
    enum crypt_system system;
    enum crypt_part part;
    const struct element *value; /* whose text is gathered, or NULL */
    char text[TEXT_LEN_MAX];
    size_t text_len;
    int err;
    const char *reason;
};

static void
reader_fail(struct reader *reader, int err, const char *reason)
{
    if (reader->err == 0) {
        reader->err = err;
        reader->reason = reason;
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

/* Of a key's size. */
static bool
base64_key_read(struct bytes text, uint8_t out[CRYPT_KEY_SIZE])
{
    uint8_t bytes[(CRYPT_KEY_SIZE + 2) / 3 * 3];
    size_t len;
    const bool is_key = text.len == sizeof bytes / 3 * 4
                        && base64_read(text, bytes, &len)
                        && len == CRYPT_KEY_SIZE;
    if (is_key)
        memcpy(out, bytes, CRYPT_KEY_SIZE);
    explicit_bzero(bytes, sizeof bytes);
    return is_key;
}

/* "SD+HD"; what else a server may have names for is passed over. */
static unsigned
classes_read(const char *text)
{
    unsigned classes = 0;
    for (;;) {
        const size_t len = strcspn(text, "+");
        for (size_t i = 0; i < sizeof track_types / sizeof track_types[0]; i++)
            if (bytes_equal(bytes_of(text, len),
                            bytes_of_text(track_types[i].name)))
                classes |= track_types[i].classes;
        if (text[len] == 0)
            return classes;
        text += len + 1;
    }
}

static const char *
attribute(const char **attributes, const char *name)
{
    for (; attributes[0] != NULL; attributes += 2)
        if (strcmp(attributes[0], name) == 0)
            return attributes[1];
    return NULL;
}

/* ---- elements ---- */

static void
key_begin(struct reader *reader, const char **attributes)
{
    const char *kid = attribute(attributes, "kid");
    const char *iv = attribute(attributes, "explicitIV");
    const char *scheme = attribute(attributes, "commonEncryptionScheme");
    const char *wanted = cpix_scheme_name(reader->request->scheme);
    struct content_key found = {.has_iv = iv != NULL};
    if (kid == NULL || !cpix_uuid_read(kid, found.key.kid))
        reader_fail(reader, ERR_INVALID, "a ContentKey has no kid");
    else if (iv != NULL && !base64_key_read(bytes_of_text(iv), found.key.iv))
        reader_fail(reader, ERR_INVALID, "an explicitIV is not of 16 bytes");
    else if (scheme != NULL && wanted != NULL && strcmp(scheme, wanted) != 0)
        reader_fail(reader, ERR_INVALID,
                    "a ContentKey is for another commonEncryptionScheme");
    else if (reader->key_count == reader->count_max)
        reader_fail(reader, ERR_LIMIT, "it has more keys than were asked for");
    else
        reader->keys[reader->key_count++] = found;
}

static void
value_end(struct reader *reader, struct bytes text)
{
    struct content_key *key = &reader->keys[reader->key_count - 1];
    if (key->has_value || !base64_key_read(text, key->key.key))
        reader_fail(reader, ERR_INVALID, "a key is not of 16 bytes");
    key->has_value = true;
}

/* Until the keys can be decrypted: */
static void
encrypted_begin(struct reader *reader, const char **attributes)
{
    reader_fail(reader, ERR_UNSUPPORTED,
                "its keys are encrypted to a certificate");
}

static struct content_key *
key_find(const struct reader *reader, const uint8_t *kid)
{
    for (size_t i = 0; i < reader->key_count; i++)
        if (memcmp(reader->keys[i].key.kid, kid, CRYPT_KEY_SIZE) == 0)
            return &reader->keys[i];
    return NULL;
}

static void
system_begin(struct reader *reader, const char **attributes)
{
    const char *kid = attribute(attributes, "kid");
    const char *id = attribute(attributes, "systemId");
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
            reader->system_key = key_find(reader, bytes);
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
    const char *playlist = attribute(attributes, "playlist");
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
    struct part *part =
        &reader->system_key->parts[reader->system][reader->part];
    if (part->len > 0 || !base64_read(text, bytes, &len)
        || !cpix_part_is_valid(bytes_of(bytes, len), reader->system,
                               reader->part)) {
        reader_fail(reader, ERR_INVALID, part_reason(reader->part));
        return;
    }
    const bool is_line = reader->part == CRYPT_PART_MEDIA
                         || reader->part == CRYPT_PART_MULTIVARIANT;
    part->at = (uint32_t) reader->given.len;
    buffer_append(&reader->given, bytes, len);
    if (is_line && bytes[len - 1] != '\n')
        buffer_append_u8(&reader->given, '\n');
    part->len = (uint32_t) (reader->given.len - part->at);
    if (reader->given.err != 0)
        reader_fail(reader, reader->given.err, NULL);
}

static void
rule_begin(struct reader *reader, const char **attributes)
{
    const char *kid = attribute(attributes, "kid");
    const char *type = attribute(attributes, "intendedTrackType");
    struct rule found = {.period = CRYPT_PERIODS_MAX};
    if (kid == NULL || !cpix_uuid_read(kid, found.kid) || type == NULL) {
        reader_fail(reader, ERR_INVALID,
                    "a ContentKeyUsageRule has no kid or intendedTrackType");
    } else if (reader->rule_count == reader->count_max) {
        reader_fail(reader, ERR_LIMIT, "it has more rules than were asked for");
    } else {
        found.classes = classes_read(type);
        reader->rules[reader->rule_count++] = found;
    }
}

/* The period by the name that the request gave it. */
static void
filter_read(struct reader *reader, const char **attributes)
{
    const char *id = attribute(attributes, "periodId");
    const size_t head = strlen(CPIX_PERIOD_ID);
    uint64_t number;
    if (id == NULL || strncmp(id, CPIX_PERIOD_ID, head) != 0
        || !bytes_number(bytes_of_text(id + head), &number)
        || number >= reader->request->period_count)
        reader_fail(reader, ERR_INVALID,
                    "a KeyPeriodFilter has a period that was not asked for");
    else
        reader->rules[reader->rule_count - 1].period = (uint32_t) number;
}

static const struct element {
    const char *name;
    enum place place;  /* where it counts */
    enum place inside; /* where its children are */
    bool is_strict;    /* elsewhere it is an error, not somebody else's */
    void (*begin)(struct reader *reader, const char **attributes);
    void (*end)(struct reader *reader, struct bytes text); /* it is a value */
} elements[] = {
    {CPIX("ContentKey"), PLACE_TOP, PLACE_KEY, true, key_begin, NULL},
    {PSKC("PlainValue"), PLACE_KEY, PLACE_KEY, false, NULL, value_end},
    {PSKC("EncryptedValue"), PLACE_KEY, PLACE_KEY, false, encrypted_begin,
     NULL},
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

static const struct element *
element_find(const char *name)
{
    for (size_t i = 0; i < sizeof elements / sizeof elements[0]; i++)
        if (strcmp(elements[i].name, name) == 0)
            return &elements[i];
    return NULL;
}

static void
element_begin(void *context, const char *name, const char **attributes)
{
    struct reader *reader = context;
    const struct element *element = element_find(name);
    if (reader->err != 0) /* of an empty one both ends come */
        return;
    if (reader->depth++ == DEPTH_MAX)
        reader_fail(reader, ERR_LIMIT, "its elements are nested too deep");
    else if (reader->depth == 1 && strcmp(name, CPIX("CPIX")) != 0)
        reader_fail(reader, ERR_INVALID, "it is no CPIX document");
    else if (reader->value != NULL)
        reader_fail(reader, ERR_INVALID, "a value has elements in it");
    else if (element == NULL)
        return;
    else if (element->place == reader->place) {
        if (element->begin != NULL)
            element->begin(reader, attributes);
        reader->place = element->inside;
        reader->value = element->end == NULL ? NULL : element;
        reader->text_len = 0;
    } else if (element->is_strict)
        reader_fail(reader, ERR_INVALID, "an element is out of place");
}

static void
element_end(void *context, const char *name)
{
    struct reader *reader = context;
    const struct element *element = element_find(name);
    if (reader->err != 0)
        return;
    reader->depth--;
    if (reader->value != NULL) {
        reader->value = NULL;
        element->end(reader, bytes_of(reader->text, reader->text_len));
    }
    if (element != NULL && element->inside == reader->place)
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
        reader->reason = XML_ErrorString(error);
        return error == XML_ERROR_NO_MEMORY ? ERR_MEMORY : ERR_INVALID;
    }
    return 0;
}

/* The first rule that fits counts. */
static int
key_choose(struct reader *reader, unsigned class, uint32_t period,
           const struct content_key **out)
{
    for (size_t i = 0; i < reader->rule_count; i++) {
        const struct rule *rule = &reader->rules[i];
        if (!(rule->classes & 1u << class)
            || (rule->period != CRYPT_PERIODS_MAX && rule->period != period))
            continue;
        const struct content_key *found = key_find(reader, rule->kid);
        if (found == NULL || !found->has_value) {
            reader->reason = "a ContentKey that a rule names has no value";
            return ERR_NOT_FOUND;
        }
        *out = found;
        return 0;
    }
    reader->reason = "a key that was asked for has no ContentKeyUsageRule";
    return ERR_NOT_FOUND;
}

static void
key_take(const struct content_key *found, size_t index, struct cpix_answer *out)
{
    struct crypt_key *key = &out->keys[index];
    *key = found->key;
    if (!found->has_iv)
        memcpy(key->iv, key->kid, CRYPT_KEY_SIZE);
    for (size_t i = 0; i < CRYPT_SYSTEM_COUNT && out->signals != NULL; i++) {
        for (size_t j = 0; j < CRYPT_PART_COUNT; j++) {
            const struct part *part = &found->parts[i][j];
            if (part->len > 0)
                out->signals[index].parts[i][j] =
                    bytes_of(out->given + part->at, part->len);
        }
    }
}

/* Takes what is given, which the parts lie in. */
static int
answer_alloc(struct reader *reader, struct cpix_answer *out)
{
    const size_t count = reader->count_max;
    struct buffer *given = &reader->given;
    out->keys = calloc(count, sizeof *out->keys);
    if (out->keys == NULL)
        return ERR_MEMORY;
    out->size = count * sizeof *out->keys;
    if (given->len == 0)
        return 0;
    out->signals = calloc(count, sizeof *out->signals);
    if (out->signals == NULL)
        return ERR_MEMORY;
    uint8_t *less = realloc(given->ptr, given->len);
    out->given = less != NULL ? less : given->ptr;
    out->size += count * sizeof *out->signals + given->len;
    given->ptr = NULL;
    return 0;
}

static int
answer_make(struct reader *reader, struct cpix_answer *out)
{
    struct cpix_answer made = {0};
    int err = answer_alloc(reader, &made);
    for (uint32_t p = 0; p < reader->request->period_count; p++) {
        for (unsigned c = 0; c < CRYPT_CLASS_COUNT && err == 0; c++) {
            const struct content_key *found;
            err = key_choose(reader, c, p, &found);
            if (err == 0)
                key_take(found, cpix_key_index(c, p), &made);
        }
    }
    if (err == 0)
        *out = made;
    else
        cpix_answer_fini(&made);
    return err;
}

void
cpix_answer_fini(struct cpix_answer *answer)
{
    wiped_free(answer->keys);
    free(answer->signals);
    free(answer->given);
    *answer = (struct cpix_answer){0};
}

int
cpix_read(struct bytes document, const struct cpix_request *request,
          struct cpix_answer *out, const char **reason)
{
    struct reader reader = {.request = request,
                            .count_max = cpix_key_count(request)};
    *reason = "it is over 16 MB: longer periods make it smaller";
    if (document.len > CPIX_SIZE_MAX)
        return ERR_LIMIT;
    buffer_init(&reader.given, CPIX_SIZE_MAX);
    reader.keys = calloc(reader.count_max, sizeof *reader.keys);
    reader.rules = calloc(reader.count_max, sizeof *reader.rules);
    int err = reader.keys == NULL || reader.rules == NULL ? ERR_MEMORY : 0;
    if (err == 0)
        err = document_read(&reader, document);
    if (err == 0)
        err = answer_make(&reader, out);
    *reason = reader.reason;
    wiped_free(reader.keys);
    free(reader.rules);
    buffer_fini(&reader.given);
    explicit_bzero(&reader, sizeof reader);
    return err;
}
