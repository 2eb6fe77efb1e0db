/* SPDX-License-Identifier: Apache-2.0 */
/* The `pssh` boxes (ISO/IEC 23001-7 §8.1), what is in those that are made, and
 * which keys nothing is given of. */
#include "media/crypt/signal_private.h"

#include "core/err.h"
#include "media/markup.h"

#include <openssl/evp.h>

#define PSSH_SIZE_MAX (16u << 10)

#define SYSTEM_SIZE 16
static const uint8_t system_clearkey[] = {0x10, 0x77, 0xef, 0xec, 0xc0, 0xb2,
                                          0x4d, 0x02, 0xac, 0xe3, 0x3c, 0x1e,
                                          0x52, 0xe2, 0xfb, 0x4b};
static const uint8_t system_widevine[] = {0xed, 0xef, 0x8b, 0xa9, 0x79, 0xd6,
                                          0x4a, 0xce, 0xa3, 0xc8, 0x27, 0xdc,
                                          0xd5, 0x1d, 0x21, 0xed};
static const uint8_t system_playready[] = {0x9a, 0x04, 0xf0, 0x79, 0x98, 0x40,
                                           0x42, 0x86, 0xab, 0x92, 0xe6, 0x5b,
                                           0xe0, 0x88, 0x5f, 0x95};

void
signal_base64_append(struct bytes bytes, struct buffer *out)
{
    uint8_t text[64 + 1];
    while (bytes.len > 0) {
        const size_t len = bytes.len < 48 ? bytes.len : 48;
        const int n = EVP_EncodeBlock(text, bytes.ptr, (int) len);
        buffer_append(out, text, (size_t) n);
        bytes = bytes_of(bytes.ptr + len, bytes.len - len);
    }
}

static uint32_t
kid_count(const struct crypt_track *track)
{
    return track->period_count < SIGNAL_KEYS_MAX ? track->period_count
                                                 : SIGNAL_KEYS_MAX;
}

/* The head of a box whose `len` bytes of data come next; with the KIDs in it
 * or without. */
static void
pssh_begin(const uint8_t *system, const struct crypt_track *track,
           bool has_kids, size_t len, struct buffer *out)
{
    const size_t size = kid_count(track) * CRYPT_KEY_SIZE;
    const size_t kids = has_kids ? 4 + size : 0;
    buffer_append_be32(out, (uint32_t) (12 + SYSTEM_SIZE + kids + 4 + len));
    buffer_append_text(out, "pssh");
    buffer_append_be32(out, has_kids ? 1u << 24 : 0);
    buffer_append(out, system, SYSTEM_SIZE);
    if (has_kids) {
        buffer_append_be32(out, kid_count(track));
        buffer_append(out, track->kids, size);
    }
    buffer_append_be32(out, (uint32_t) len);
}

/* The common box of W3C's registry: the KIDs and nothing else. */
static void
clearkey_pssh_write(const struct crypt_track *track, struct buffer *out)
{
    struct crypt_track all = *track;
    if (track->film_kid_count > 0) {
        all.kids = track->film_kids;
        all.period_count = track->film_kid_count;
    }
    pssh_begin(system_clearkey, &all, true, 0, out);
}

/* WidevinePsshData: key_ids = 2, protection_scheme = 9 (of four letters). */
static void
widevine_pssh_write(const struct crypt_track *track, struct buffer *out)
{
    const char *scheme = track->scheme == CRYPT_CBCS ? "cbcs" : "cenc";
    uint32_t v = load_be32(scheme);
    pssh_begin(system_widevine, track, false,
               kid_count(track) * (2 + CRYPT_KEY_SIZE) + 6, out);
    for (uint32_t i = 0; i < kid_count(track); i++) {
        buffer_append_u8(out, 2 << 3 | 2);
        buffer_append_u8(out, CRYPT_KEY_SIZE);
        buffer_append(out, track->kids[i], CRYPT_KEY_SIZE);
    }
    buffer_append_u8(out, 9 << 3);
    for (; v >= 0x80; v >>= 7)
        buffer_append_u8(out, (uint8_t) (v | 0x80));
    buffer_append_u8(out, (uint8_t) v);
}

/* PlayReady has KIDs as GUIDs: the first three parts from behind. */
static void
guid_append(const uint8_t *kid, struct buffer *out)
{
    static const uint8_t order[] = {3, 2, 1,  0,  5,  4,  7,  6,
                                    8, 9, 10, 11, 12, 13, 14, 15};
    uint8_t guid[CRYPT_KEY_SIZE];
    for (size_t i = 0; i < sizeof guid; i++)
        guid[i] = kid[order[i]];
    signal_base64_append(bytes_of(guid, sizeof guid), out);
}

static void
playready_element_write(const char *name, struct bytes text, struct buffer *out)
{
    if (text.len == 0)
        return;
    buffer_printf(out, "<%s>", name);
    markup_append(out, text);
    buffer_printf(out, "</%s>", name);
}

/* The PlayReady object: one record, the header, in UTF-16. */
static void
playready_object_write(const struct crypt_track *track, struct buffer *out)
{
    struct buffer text;
    buffer_init(&text, PSSH_SIZE_MAX);
    buffer_append_text(
        &text, "<WRMHEADER xmlns=\"http://schemas.microsoft.com/DRM/2007/03/"
               "PlayReadyHeader\" version=\"4.3.0.0\"><DATA><PROTECTINFO>"
               "<KIDS>");
    for (uint32_t i = 0; i < kid_count(track); i++) {
        buffer_printf(&text, "<KID ALGID=\"%s\" VALUE=\"",
                      track->scheme == CRYPT_CBCS ? "AESCBC" : "AESCTR");
        guid_append(track->kids[i], &text);
        buffer_append_text(&text, "\"></KID>");
    }
    buffer_append_text(&text, "</KIDS></PROTECTINFO>");
    if (track->playready != NULL) {
        playready_element_write("LA_URL", track->playready->la_url, &text);
        playready_element_write("LUI_URL", track->playready->lui_url, &text);
        playready_element_write("DS_ID", track->playready->ds_id, &text);
    }
    buffer_append_text(&text, "</DATA></WRMHEADER>");
    buffer_append_le32(out, (uint32_t) (10 + 2 * text.len));
    buffer_append_le16(out, 1);
    buffer_append_le16(out, 1);
    buffer_append_le16(out, (uint16_t) (2 * text.len));
    for (size_t i = 0; i < text.len; i++)
        buffer_append_le16(out, text.ptr[i]);
    if (text.err != 0)
        out->err = text.err;
    buffer_fini(&text);
}

static void
playready_pssh_write(const struct crypt_track *track, struct buffer *out)
{
    struct buffer object;
    buffer_init(&object, PSSH_SIZE_MAX);
    playready_object_write(track, &object);
    pssh_begin(system_playready, track, false, object.len, out);
    buffer_append_bytes(out, buffer_bytes(&object));
    if (object.err != 0)
        out->err = object.err;
    buffer_fini(&object);
}

typedef void box_write(const struct crypt_track *track, struct buffer *out);

static box_write *const pssh_writes[CRYPT_SYSTEM_COUNT] = {
    [CRYPT_SYSTEM_WIDEVINE] = widevine_pssh_write,
    [CRYPT_SYSTEM_PLAYREADY] = playready_pssh_write,
    [CRYPT_SYSTEM_FAIRPLAY] = NULL, /* has none */
    [CRYPT_SYSTEM_COMMON] = clearkey_pssh_write,
};

bool
signal_has_pssh(enum crypt_system system)
{
    return pssh_writes[system] != NULL;
}

void
signal_pssh_write(const struct crypt_track *track, enum crypt_system system,
                  struct buffer *out)
{
    if (signal_has_pssh(system))
        pssh_writes[system](track, out);
}

struct bytes
signal_pssh_data(struct bytes boxes)
{
    const size_t kids =
        boxes.ptr[8] == 0
            ? 0
            : 4 + (size_t) load_be32(boxes.ptr + 28) * CRYPT_KEY_SIZE;
    const uint8_t *size = boxes.ptr + 12 + SYSTEM_SIZE + kids;
    return bytes_of(size + 4, load_be32(size));
}

/* ---- what is given ---- */

struct signal_given
signal_given_find(const struct crypt_track *track, uint32_t number,
                  enum crypt_system system, enum crypt_part part)
{
    struct signal_given given = {.part = part};
    if (track->signals == NULL || track->signals[number] == NULL)
        return given;
    const struct bytes *parts = track->signals[number]->parts[system];
    if (part == CRYPT_PART_PROTECTION && parts[part].len == 0)
        given.part = CRYPT_PART_PSSH;
    given.text = parts[given.part];
    return given;
}

static bool
told_has(const struct signal_told *told, struct bytes text)
{
    for (uint32_t i = 0; i < told->given_count; i++)
        if (bytes_equal(told->given[i].text, text))
            return true;
    return false;
}

void
signal_told_init(const struct crypt_track *track, enum crypt_system system,
                 enum crypt_part part, struct signal_told *out)
{
    out->own = *track;
    out->own.kids = (const uint8_t(*)[CRYPT_KEY_SIZE]) out->kids;
    out->own.signals = NULL;
    out->own.period_count = out->given_count = 0;
    for (uint32_t i = 0; i < kid_count(track); i++) {
        const struct signal_given given =
            signal_given_find(track, i, system, part);
        if (given.text.len == 0)
            memcpy(out->kids[out->own.period_count++], track->kids[i],
                   CRYPT_KEY_SIZE);
        else if (!told_has(out, given.text))
            out->given[out->given_count++] = given;
    }
}

static void
system_pssh_write(const struct crypt_track *track,
                  const struct crypt_systems *systems, enum crypt_system system,
                  struct buffer *out)
{
    struct signal_told told;
    if (!crypt_system_is_wanted(systems, system, track->scheme))
        return;
    signal_told_init(track, system, CRYPT_PART_PSSH, &told);
    if (told.own.period_count > 0)
        signal_pssh_write(&told.own, system, out);
    for (uint32_t i = 0; i < told.given_count; i++)
        buffer_append_bytes(out, told.given[i].text);
}

void
crypt_pssh_write(const struct crypt_track *track,
                 const struct crypt_systems *systems, struct buffer *out)
{
    system_pssh_write(track, systems, CRYPT_SYSTEM_COMMON, out);
    system_pssh_write(track, systems, CRYPT_SYSTEM_WIDEVINE, out);
    system_pssh_write(track, systems, CRYPT_SYSTEM_PLAYREADY, out);
    system_pssh_write(track, systems, CRYPT_SYSTEM_FAIRPLAY, out);
}
