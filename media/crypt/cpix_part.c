/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether what a provider gives for a system can become part of segments,
 * playlists and MPDs as it is: whatever it says to the system, it does not
 * break what it is put into (CPIX 2.3 §5.2.7, §5.2.8).
 */
#include "media/crypt/cpix_private.h"

#include <expat.h>

static int
digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool
cpix_uuid_read(const char *text, uint8_t out[CRYPT_KEY_SIZE])
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

#define CLASS(name) (1u << CRYPT_CLASS_##name)

static const struct {
    const char *name;
    unsigned classes;
} track_types[] = {
    {"SD", CLASS(SD)},
    {"HD", CLASS(HD)},
    {"HD1", CLASS(HD)},
    {"HD2", CLASS(HD)},
    {"UHD", CLASS(UHD)},
    {"UHD1", CLASS(UHD)},
    {"UHD2", CLASS(UHD)},
    {"VIDEO", CLASS(SD) | CLASS(HD) | CLASS(UHD)},
    {"AUDIO", CLASS(AUDIO)},
    {"STEREO_AUDIO", CLASS(AUDIO)},
    {"MULTICHANNEL_AUDIO", CLASS(AUDIO)},
    {"MULTICHANNEL_AUDIO_3_6", CLASS(AUDIO)},
    {"MULTICHANNEL_AUDIO_7", CLASS(AUDIO)},
    {"ALL", CLASS(SD) | CLASS(HD) | CLASS(UHD) | CLASS(AUDIO)},
};

static unsigned
class_read(struct bytes name)
{
    for (size_t i = 0; i < sizeof track_types / sizeof *track_types; i++)
        if (bytes_equal(name, bytes_of_text(track_types[i].name)))
            return track_types[i].classes;
    return 0;
}

bool
cpix_classes_read(const char *text, unsigned *out)
{
    bool is_known = true;
    *out = 0;
    for (;;) {
        const size_t len = strcspn(text, "+");
        const unsigned classes = class_read(bytes_of(text, len));
        is_known = is_known && classes != 0;
        *out |= classes;
        if (text[len] == 0)
            return is_known;
        text += len + 1;
    }
}

/* ISO/IEC 23001-7 §8.1: size, type, version and flags, system, with version 1
 * a count and KIDs, size of the data, data. */
static bool
pssh_is_whole(struct bytes box, const uint8_t *system)
{
    size_t kids = 0;
    if (box.len < 32 || memcmp(box.ptr + 4, "pssh", 4) != 0 || box.ptr[8] > 1
        || memcmp(box.ptr + 12, system, CRYPT_KEY_SIZE) != 0)
        return false;
    if (box.ptr[8] == 1) {
        kids = 4 + (size_t) load_be32(box.ptr + 28) * CRYPT_KEY_SIZE;
        if (kids > box.len - 32)
            return false;
    }
    return load_be32(box.ptr + 28 + kids) == box.len - 32 - kids;
}

static bool
boxes_are_whole(struct bytes boxes, enum crypt_system system)
{
    uint8_t id[CRYPT_KEY_SIZE];
    if (!cpix_uuid_read(crypt_system_id(system), id))
        return false;
    do {
        const size_t size = boxes.len < 8 ? 0 : load_be32(boxes.ptr);
        if (size == 0 || size > boxes.len
            || !pssh_is_whole(bytes_of(boxes.ptr, size), id))
            return false;
        boxes = bytes_of(boxes.ptr + size, boxes.len - size);
    } while (boxes.len > 0);
    return true;
}

/* As it is going to stand: in an element that declares the prefixes. */
static bool
markup_is_whole(struct bytes text)
{
    static const char head[] = "<x" CRYPT_PROTECTION_PREFIXES ">";
    XML_Parser parser = XML_ParserCreateNS("UTF-8", '|');
    if (parser == NULL)
        return false;
    const bool is_whole =
        XML_Parse(parser, head, sizeof head - 1, XML_FALSE) == XML_STATUS_OK
        && XML_Parse(parser, (const char *) text.ptr, (int) text.len, XML_FALSE)
               == XML_STATUS_OK
        && XML_Parse(parser, "</x>", 4, XML_TRUE) == XML_STATUS_OK;
    XML_ParserFree(parser);
    return is_whole;
}

/* A line that is no tag or comment would be a segment's name. */
static bool
lines_are_tags(struct bytes text, struct bytes tag)
{
    bool has_tag = false;
    while (text.len > 0) {
        const uint8_t *end = memchr(text.ptr, '\n', text.len);
        const size_t len = end == NULL ? text.len : (size_t) (end - text.ptr);
        for (size_t i = 0; i < len; i++)
            if (text.ptr[i] < ' '
                && !(text.ptr[i] == '\r' && i == len - 1 && end != NULL))
                return false;
        if (len > 0 && text.ptr[0] != '#' && text.ptr[0] != '\r')
            return false;
        has_tag = has_tag
                  || (len > tag.len && memcmp(text.ptr, tag.ptr, tag.len) == 0);
        const size_t next = end == NULL ? len : len + 1;
        text = bytes_of(text.ptr + next, text.len - next);
    }
    return has_tag;
}

bool
cpix_part_is_valid(struct bytes text, enum crypt_system system,
                   enum crypt_part part)
{
    switch (part) {
    case CRYPT_PART_PSSH:
        return boxes_are_whole(text, system);
    case CRYPT_PART_PROTECTION:
        return markup_is_whole(text);
    case CRYPT_PART_MEDIA:
        return lines_are_tags(text, BYTES_LITERAL("#EXT-X-KEY:"));
    case CRYPT_PART_MULTIVARIANT:
        return lines_are_tags(text, BYTES_LITERAL("#EXT-X-SESSION-KEY:"));
    }
    return false;
}
