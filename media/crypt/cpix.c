/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer is read by expat, which gets no document type and so no entities,
 * as UTF-8 whatever it says of itself, and memory that is wiped when it is
 * freed. Of the document three things count:
 *
 *   ContentKey@kid, @explicitIV  Data/Secret/PlainValue
 *   ContentKeyUsageRule@kid, @intendedTrackType  KeyPeriodFilter@periodId
 *
 * The signalling for the systems (DRMSystem) is written here, not taken.
 */
#include "media/crypt/cpix.h"

#include "core/err.h"

#include <expat.h>
#include <malloc.h>
#include <openssl/evp.h>
#include <stdlib.h>

#define CPIX "urn:dashif:org:cpix"
#define PSKC "urn:ietf:params:xml:ns:keyprov:pskc"
#define NAME(space, name) space "|" name
#define DEPTH_MAX 32
#define PERIOD_ID "keyPeriod_"
#define BASE64_LEN 24 /* of 16 bytes */

#define CLASS(name) (1u << CRYPT_CLASS_##name)

static const struct {
    const char *name;
    unsigned classes;
    const char *filter; /* of the request: pixels, as 1024x576 and 1920x1080 */
} track_types[] = {
    [CRYPT_CLASS_SD] = {"SD", CLASS(SD),
                        "<cpix:VideoFilter maxPixels=\"589824\"/>"},
    [CRYPT_CLASS_HD] = {"HD", CLASS(HD),
                        "<cpix:VideoFilter minPixels=\"589825\" "
                        "maxPixels=\"2073600\"/>"},
    [CRYPT_CLASS_UHD] = {"UHD", CLASS(UHD),
                         "<cpix:VideoFilter minPixels=\"2073601\"/>"},
    [CRYPT_CLASS_AUDIO] = {"AUDIO", CLASS(AUDIO), "<cpix:AudioFilter/>"},
    {"VIDEO", CLASS(SD) | CLASS(HD) | CLASS(UHD), NULL},
    {"ALL", CLASS(SD) | CLASS(HD) | CLASS(UHD) | CLASS(AUDIO), NULL},
};

static const char *
scheme_name(enum crypt_scheme scheme)
{
    switch (scheme) {
    case CRYPT_CENC:
        return "cenc";
    case CRYPT_CBCS:
        return "cbcs";
    case CRYPT_AES128: /* is none of Common Encryption's */
        break;
    }
    return NULL;
}

/* ---- the request ---- */

/* A UUID of version 8 (RFC 9562). */
static void
kid_make(const struct cpix_request *request, unsigned class, uint32_t period,
         uint8_t kid[CRYPT_KEY_SIZE])
{
    uint8_t digest[EVP_MAX_MD_SIZE] = {0};
    struct buffer what;
    buffer_init(&what, 512);
    buffer_append_bytes(&what, request->folder);
    buffer_printf(&what, " %d %s %u", request->scheme, track_types[class].name,
                  period);
    (void) EVP_Digest(what.ptr, what.len, digest, NULL, EVP_sha256(), NULL);
    buffer_fini(&what);
    memcpy(kid, digest, CRYPT_KEY_SIZE);
    kid[6] = (uint8_t) (kid[6] & 0x0f) | 0x80;
    kid[8] = (uint8_t) (kid[8] & 0x3f) | 0x80;
}

typedef void key_write(const struct cpix_request *request, unsigned class,
                       uint32_t period, const char *argument,
                       struct buffer *out);

static void
keys_write(const struct cpix_request *request, key_write *write,
           const char *argument, struct buffer *out)
{
    for (uint32_t period = 0; period < request->period_count; period++)
        for (unsigned class = 0; class < CRYPT_CLASS_COUNT; class ++)
            write(request, class, period, argument, out);
}

static void
kid_write(const struct cpix_request *request, unsigned class, uint32_t period,
          struct buffer *out)
{
    uint8_t kid[CRYPT_KEY_SIZE];
    kid_make(request, class, period, kid);
    buffer_append_text(out, " kid=\"");
    crypt_uuid_append(kid, out);
    buffer_append_text(out, "\"");
}

static void
content_key_write(const struct cpix_request *request, unsigned class,
                  uint32_t period, const char *scheme, struct buffer *out)
{
    buffer_append_text(out, "<cpix:ContentKey");
    kid_write(request, class, period, out);
    if (scheme != NULL)
        buffer_printf(out, " commonEncryptionScheme=\"%s\"", scheme);
    buffer_append_text(out, "/>\n");
}

static void
system_write(const struct cpix_request *request, unsigned class,
             uint32_t period, const char *system, struct buffer *out)
{
    buffer_append_text(out, "<cpix:DRMSystem");
    kid_write(request, class, period, out);
    buffer_printf(out, " systemId=\"%s\"><cpix:PSSH/></cpix:DRMSystem>\n",
                  system);
}

static void
rule_write(const struct cpix_request *request, unsigned class, uint32_t period,
           const char *unused, struct buffer *out)
{
    buffer_append_text(out, "<cpix:ContentKeyUsageRule");
    kid_write(request, class, period, out);
    buffer_printf(out, " intendedTrackType=\"%s\">", track_types[class].name);
    if (request->has_periods)
        buffer_printf(out,
                      "<cpix:KeyPeriodFilter periodId=\"" PERIOD_ID "%u\"/>",
                      period);
    buffer_printf(out, "%s</cpix:ContentKeyUsageRule>\n",
                  track_types[class].filter);
}

static void
systems_write(const struct cpix_request *request, struct buffer *out)
{
    const struct crypt_systems *systems = request->systems;
    const struct {
        bool is_wanted;
        const char *id;
    } list[] = {
        {systems->has_widevine, CRYPT_WIDEVINE},
        {systems->has_playready, CRYPT_PLAYREADY},
        {systems->has_fairplay && request->scheme == CRYPT_CBCS,
         CRYPT_FAIRPLAY},
        {systems->has_clearkey, CRYPT_COMMON},
    };
    buffer_append_text(out, "<cpix:DRMSystemList>\n");
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        if (list[i].is_wanted)
            keys_write(request, system_write, list[i].id, out);
    }
    buffer_append_text(out, "</cpix:DRMSystemList>\n");
}

void
cpix_request_write(const struct cpix_request *request, struct buffer *out)
{
    buffer_append_text(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                            "<cpix:CPIX contentId=\"");
    buffer_append_bytes(out, request->folder);
    buffer_append_text(out, "\" version=\"2.3\" xmlns:cpix=\"" CPIX
                            "\" xmlns:pskc=\"" PSKC "\">\n"
                            "<cpix:ContentKeyList>\n");
    keys_write(request, content_key_write, scheme_name(request->scheme), out);
    buffer_append_text(out, "</cpix:ContentKeyList>\n");
    systems_write(request, out);
    if (request->has_periods) {
        buffer_append_text(out, "<cpix:ContentKeyPeriodList>\n");
        for (uint32_t i = 0; i < request->period_count; i++)
            buffer_printf(out,
                          "<cpix:ContentKeyPeriod id=\"" PERIOD_ID
                          "%u\" index=\"%u\"/>\n",
                          i, i);
        buffer_append_text(out, "</cpix:ContentKeyPeriodList>\n");
    }
    buffer_append_text(out, "<cpix:ContentKeyUsageRuleList>\n");
    keys_write(request, rule_write, NULL, out);
    buffer_append_text(out, "</cpix:ContentKeyUsageRuleList>\n</cpix:CPIX>\n");
}

/* ---- the answer ---- */

struct content_key {
    struct crypt_key key;
    bool has_value, has_iv;
};

struct rule {
    uint8_t kid[CRYPT_KEY_SIZE];
    unsigned classes;
    uint32_t period; /* CRYPT_PERIODS_MAX: all */
};

struct reader {
    XML_Parser parser;
    const struct cpix_request *request;
    size_t count_max; /* of keys, and of rules */
    struct content_key *keys;
    size_t key_count;
    struct rule *rules;
    size_t rule_count;
    unsigned depth;
    bool is_in_key, is_in_rule, is_in_value;
    char value[BASE64_LEN];
    size_t value_len;
    int err;
};

static void
reader_fail(struct reader *reader, int err)
{
    if (reader->err == 0)
        reader->err = err;
    (void) XML_StopParser(reader->parser, XML_FALSE);
}

static bool
base64_read(struct bytes text, uint8_t out[CRYPT_KEY_SIZE])
{
    uint8_t bytes[BASE64_LEN / 4 * 3];
    const bool is_key =
        text.len == BASE64_LEN && text.ptr[BASE64_LEN - 3] != '='
        && text.ptr[BASE64_LEN - 2] == '=' && text.ptr[BASE64_LEN - 1] == '='
        && EVP_DecodeBlock(bytes, text.ptr, BASE64_LEN) == sizeof bytes;
    if (is_key)
        memcpy(out, bytes, CRYPT_KEY_SIZE);
    explicit_bzero(bytes, sizeof bytes);
    return is_key;
}

static int
digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool
uuid_read(const char *text, uint8_t out[CRYPT_KEY_SIZE])
{
    for (size_t i = 0; i < CRYPT_KEY_SIZE; i++) {
        if ((i == 4 || i == 6 || i == 8 || i == 10) && *text++ != '-')
            return false;
        const int high = digit_of(text[0]);
        const int low = high < 0 ? -1 : digit_of(text[1]);
        if (low < 0)
            return false;
        out[i] = (uint8_t) (high << 4 | low);
        text += 2;
    }
    return *text == 0;
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

static void
key_begin(struct reader *reader, const char **attributes)
{
    const char *kid = attribute(attributes, "kid");
    const char *iv = attribute(attributes, "explicitIV");
    const char *scheme = attribute(attributes, "commonEncryptionScheme");
    const char *wanted = scheme_name(reader->request->scheme);
    struct content_key found = {.has_iv = iv != NULL};
    if (reader->is_in_key || reader->is_in_rule || kid == NULL
        || !uuid_read(kid, found.key.kid)
        || (iv != NULL && !base64_read(bytes_of_text(iv), found.key.iv))
        || (scheme != NULL && wanted != NULL && strcmp(scheme, wanted) != 0)) {
        reader_fail(reader, ERR_INVALID);
    } else if (reader->key_count == reader->count_max) {
        reader_fail(reader, ERR_LIMIT);
    } else {
        reader->keys[reader->key_count++] = found;
        reader->is_in_key = true;
    }
}

static void
rule_begin(struct reader *reader, const char **attributes)
{
    const char *kid = attribute(attributes, "kid");
    const char *type = attribute(attributes, "intendedTrackType");
    struct rule found = {.period = CRYPT_PERIODS_MAX};
    if (reader->is_in_key || reader->is_in_rule || kid == NULL
        || !uuid_read(kid, found.kid) || type == NULL) {
        reader_fail(reader, ERR_INVALID);
    } else if (reader->rule_count == reader->count_max) {
        reader_fail(reader, ERR_LIMIT);
    } else {
        found.classes = classes_read(type);
        reader->rules[reader->rule_count++] = found;
        reader->is_in_rule = true;
    }
}

/* The period by the name that the request gave it. */
static void
filter_read(struct reader *reader, const char **attributes)
{
    const char *id = attribute(attributes, "periodId");
    const size_t head = strlen(PERIOD_ID);
    uint64_t number;
    if (!reader->is_in_rule || id == NULL || strncmp(id, PERIOD_ID, head) != 0
        || !bytes_number(bytes_of_text(id + head), &number)
        || number >= reader->request->period_count)
        reader_fail(reader, ERR_INVALID);
    else
        reader->rules[reader->rule_count - 1].period = (uint32_t) number;
}

static void
element_begin(void *context, const char *name, const char **attributes)
{
    struct reader *reader = context;
    if (++reader->depth > DEPTH_MAX)
        reader_fail(reader, ERR_LIMIT);
    else if (reader->is_in_value
             || (reader->depth == 1 && strcmp(name, NAME(CPIX, "CPIX")) != 0))
        reader_fail(reader, ERR_INVALID);
    else if (strcmp(name, NAME(CPIX, "ContentKey")) == 0)
        key_begin(reader, attributes);
    else if (strcmp(name, NAME(CPIX, "ContentKeyUsageRule")) == 0)
        rule_begin(reader, attributes);
    else if (strcmp(name, NAME(CPIX, "KeyPeriodFilter")) == 0)
        filter_read(reader, attributes);
    else if (reader->is_in_key
             && strcmp(name, NAME(PSKC, "EncryptedValue")) == 0)
        reader_fail(reader, ERR_UNSUPPORTED);
    else if (reader->is_in_key && strcmp(name, NAME(PSKC, "PlainValue")) == 0) {
        reader->is_in_value = true;
        reader->value_len = 0;
    }
}

static void
value_end(struct reader *reader)
{
    struct content_key *key = &reader->keys[reader->key_count - 1];
    reader->is_in_value = false;
    if (key->has_value
        || !base64_read(bytes_of(reader->value, reader->value_len),
                        key->key.key))
        reader_fail(reader, ERR_INVALID);
    key->has_value = true;
}

static void
element_end(void *context, const char *name)
{
    struct reader *reader = context;
    reader->depth--;
    if (reader->is_in_value)
        value_end(reader);
    else if (strcmp(name, NAME(CPIX, "ContentKey")) == 0)
        reader->is_in_key = false;
    else if (strcmp(name, NAME(CPIX, "ContentKeyUsageRule")) == 0)
        reader->is_in_rule = false;
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
    for (int i = 0; i < len && reader->is_in_value; i++) {
        if (is_blank(text[i]))
            continue;
        if (reader->value_len == sizeof reader->value) {
            reader_fail(reader, ERR_INVALID);
            return;
        }
        reader->value[reader->value_len++] = text[i];
    }
}

static void
type_refuse(void *context, const char *name, const char *system,
            const char *public, int has_more)
{
    reader_fail(context, ERR_INVALID);
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
    const bool is_memory =
        XML_GetErrorCode(reader->parser) == XML_ERROR_NO_MEMORY;
    XML_ParserFree(reader->parser);
    if (reader->err != 0)
        return reader->err;
    if (status != XML_STATUS_OK)
        return is_memory ? ERR_MEMORY : ERR_INVALID;
    return 0;
}

static const struct content_key *
key_find(const struct reader *reader, const uint8_t *kid)
{
    for (size_t i = 0; i < reader->key_count; i++)
        if (memcmp(reader->keys[i].key.kid, kid, CRYPT_KEY_SIZE) == 0)
            return &reader->keys[i];
    return NULL;
}

/* The first rule that fits counts. */
static int
key_choose(const struct reader *reader, unsigned class, uint32_t period,
           struct crypt_key *out)
{
    for (size_t i = 0; i < reader->rule_count; i++) {
        const struct rule *rule = &reader->rules[i];
        if (!(rule->classes & 1u << class)
            || (rule->period != CRYPT_PERIODS_MAX && rule->period != period))
            continue;
        const struct content_key *found = key_find(reader, rule->kid);
        if (found == NULL || !found->has_value)
            return ERR_NOT_FOUND;
        *out = found->key;
        if (!found->has_iv)
            memcpy(out->iv, out->kid, CRYPT_KEY_SIZE);
        return 0;
    }
    return ERR_NOT_FOUND;
}

static int
keys_choose(const struct reader *reader, struct crypt_key *out)
{
    int err = 0;
    for (uint32_t p = 0; p < reader->request->period_count; p++)
        for (unsigned c = 0; c < CRYPT_CLASS_COUNT && err == 0; c++)
            err = key_choose(reader, c, p, &out[cpix_key_index(c, p)]);
    return err;
}

int
cpix_read(struct bytes document, const struct cpix_request *request,
          struct crypt_key *out)
{
    struct reader reader = {.request = request,
                            .count_max = cpix_key_count(request)};
    if (document.len > CPIX_SIZE_MAX)
        return ERR_LIMIT;
    reader.keys = calloc(reader.count_max, sizeof *reader.keys);
    reader.rules = calloc(reader.count_max, sizeof *reader.rules);
    int err = reader.keys == NULL || reader.rules == NULL ? ERR_MEMORY : 0;
    if (err == 0)
        err = document_read(&reader, document);
    if (err == 0)
        err = keys_choose(&reader, out);
    wiped_free(reader.keys);
    free(reader.rules);
    explicit_bzero(&reader, sizeof reader);
    return err;
}
