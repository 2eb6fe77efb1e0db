/* SPDX-License-Identifier: Apache-2.0 */
#include "media/crypt/signal.h"

#include "core/err.h"
#include "media/markup.h"

#include <openssl/evp.h>

#define PSSH_SIZE_MAX 2048u

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

#define WIDEVINE "edef8ba9-79d6-4ace-a3c8-27dcd51d21ed"
#define PLAYREADY "9a04f079-9840-4286-ab92-e65be0885f95"
#define CLEARKEY "e2719d58-a985-b3c9-781a-b030af78d30e" /* of DASH-IF */

static void
base64_append(struct bytes bytes, struct buffer *out)
{
    uint8_t text[64 + 1];
    while (bytes.len > 0) {
        const size_t len = bytes.len < 48 ? bytes.len : 48;
        const int n = EVP_EncodeBlock(text, bytes.ptr, (int) len);
        buffer_append(out, text, (size_t) n);
        bytes = bytes_of(bytes.ptr + len, bytes.len - len);
    }
}

static void
hex_append(const uint8_t *bytes, size_t len, struct buffer *out)
{
    for (size_t i = 0; i < len; i++)
        buffer_printf(out, "%02x", bytes[i]);
}

static void
uuid_append(const uint8_t *id, struct buffer *out)
{
    static const uint8_t parts[] = {4, 2, 2, 2, 6};
    for (size_t i = 0; i < sizeof parts; id += parts[i++]) {
        if (i > 0)
            buffer_append_text(out, "-");
        hex_append(id, parts[i], out);
    }
}

/* ---- pssh ---- */

/* The head of a box whose `len` bytes of data come next. */
static void
pssh_begin(const uint8_t *system, const struct crypt_key *key, size_t len,
           struct buffer *out)
{
    const size_t keys = key == NULL ? 0 : 4 + CRYPT_KEY_SIZE;
    buffer_append_be32(out, (uint32_t) (12 + SYSTEM_SIZE + keys + 4 + len));
    buffer_append_text(out, "pssh");
    buffer_append_be32(out, key == NULL ? 0 : 1u << 24);
    buffer_append(out, system, SYSTEM_SIZE);
    if (key != NULL) {
        buffer_append_be32(out, 1);
        buffer_append(out, key->kid, CRYPT_KEY_SIZE);
    }
    buffer_append_be32(out, (uint32_t) len);
}

/* The common box of W3C's registry: the KIDs and nothing else. */
static void
clearkey_pssh_write(const struct crypt *crypt, struct buffer *out)
{
    pssh_begin(system_clearkey, &crypt->key, 0, out);
}

/* WidevinePsshData: key_ids = 2, protection_scheme = 9 (of four letters). */
static void
widevine_pssh_write(const struct crypt *crypt, struct buffer *out)
{
    const char *scheme = crypt->scheme == CRYPT_CBCS ? "cbcs" : "cenc";
    uint32_t v = load_be32(scheme);
    pssh_begin(system_widevine, NULL, 2 + CRYPT_KEY_SIZE + 6, out);
    buffer_append_u8(out, 2 << 3 | 2);
    buffer_append_u8(out, CRYPT_KEY_SIZE);
    buffer_append(out, crypt->key.kid, CRYPT_KEY_SIZE);
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
    base64_append(bytes_of(guid, sizeof guid), out);
}

/* The PlayReady object: one record, the header, in UTF-16. */
static void
playready_object_write(const struct crypt *crypt, struct buffer *out)
{
    struct buffer text;
    buffer_init(&text, PSSH_SIZE_MAX);
    buffer_printf(&text,
                  "<WRMHEADER xmlns=\"http://schemas.microsoft.com/DRM/2007/03/"
                  "PlayReadyHeader\" version=\"4.3.0.0\"><DATA><PROTECTINFO>"
                  "<KIDS><KID ALGID=\"%s\" VALUE=\"",
                  crypt->scheme == CRYPT_CBCS ? "AESCBC" : "AESCTR");
    guid_append(crypt->key.kid, &text);
    buffer_append_text(&text,
                       "\"></KID></KIDS></PROTECTINFO></DATA></WRMHEADER>");
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
playready_pssh_write(const struct crypt *crypt, struct buffer *out)
{
    struct buffer object;
    buffer_init(&object, PSSH_SIZE_MAX);
    playready_object_write(crypt, &object);
    pssh_begin(system_playready, NULL, object.len, out);
    buffer_append_bytes(out, buffer_bytes(&object));
    if (object.err != 0)
        out->err = object.err;
    buffer_fini(&object);
}

void
crypt_pssh_write(const struct crypt *crypt, const struct crypt_systems *systems,
                 struct buffer *out)
{
    if (systems->has_clearkey)
        clearkey_pssh_write(crypt, out);
    if (systems->has_widevine)
        widevine_pssh_write(crypt, out);
    if (systems->has_playready)
        playready_pssh_write(crypt, out);
}

typedef void box_write(const struct crypt *crypt, struct buffer *out);

/* What `write` writes, as base64. */
static void
encoded_append(box_write *write, const struct crypt *crypt, struct buffer *out)
{
    struct buffer box;
    buffer_init(&box, PSSH_SIZE_MAX);
    write(crypt, &box);
    base64_append(buffer_bytes(&box), out);
    if (box.err != 0)
        out->err = box.err;
    buffer_fini(&box);
}

/* ---- HLS ---- */

static void
key_begin(const char *tag, const struct crypt *crypt, struct buffer *out)
{
    buffer_printf(out, "#%s:METHOD=%s,URI=\"", tag,
                  crypt->scheme == CRYPT_CBCS ? "SAMPLE-AES"
                                              : "SAMPLE-AES-CTR");
}

static void
key_end(const char *format, const struct crypt *crypt, bool has_id,
        struct buffer *out)
{
    buffer_append_text(out, "\"");
    if (has_id) {
        buffer_append_text(out, ",KEYID=0x");
        hex_append(crypt->key.kid, CRYPT_KEY_SIZE, out);
    }
    buffer_printf(out, ",KEYFORMAT=\"%s\",KEYFORMATVERSIONS=\"1\"\n", format);
}

static void
keys_write(const char *tag, const struct crypt *crypt,
           const struct crypt_systems *systems, struct buffer *out)
{
    if (systems->has_widevine) {
        key_begin(tag, crypt, out);
        buffer_append_text(out, "data:text/plain;base64,");
        encoded_append(widevine_pssh_write, crypt, out);
        key_end("urn:uuid:" WIDEVINE, crypt, true, out);
    }
    if (systems->has_playready) {
        key_begin(tag, crypt, out);
        buffer_append_text(out, "data:text/plain;charset=UTF-16;base64,");
        encoded_append(playready_object_write, crypt, out);
        key_end("com.microsoft.playready", crypt, false, out);
    }
    if (systems->has_fairplay && crypt->scheme == CRYPT_CBCS) {
        key_begin(tag, crypt, out);
        buffer_append_text(out, "skd://");
        hex_append(crypt->key.kid, CRYPT_KEY_SIZE, out);
        key_end("com.apple.streamingkeydelivery", crypt, false, out);
    }
    if (systems->has_clearkey) {
        key_begin(tag, crypt, out);
        buffer_append_text(out, "data:text/plain;base64,");
        base64_append(bytes_of(crypt->key.kid, CRYPT_KEY_SIZE), out);
        key_end("org.w3.clearkey", crypt, true, out);
    }
}

/* Where the line that starts with `start` starts, or behind it. */
static size_t
line_find(struct bytes text, const char *start, bool is_behind)
{
    const size_t len = strlen(start);
    for (size_t at = 0; at + len <= text.len; at++) {
        const uint8_t *p = text.ptr + at;
        const uint8_t *end = memchr(p, '\n', text.len - at);
        const size_t next =
            end == NULL ? text.len : (size_t) (end - text.ptr) + 1;
        if (memcmp(p, start, len) == 0)
            return is_behind ? next : at;
        at = next - 1;
    }
    return text.len;
}

void
crypt_playlist_write(struct bytes playlist, const struct crypt *crypt,
                     const struct crypt_systems *systems, struct buffer *out)
{
    const size_t at = line_find(playlist, "#EXT-X-MAP", false);
    buffer_append(out, playlist.ptr, at);
    keys_write("EXT-X-KEY", crypt, systems, out);
    buffer_append(out, playlist.ptr + at, playlist.len - at);
}

#define KEY_FRAMES "#EXT-X-I-FRAME-STREAM-INF"

void
crypt_multivariant_write(struct bytes playlist, const struct crypt *crypts,
                         size_t count, const struct crypt_systems *systems,
                         struct buffer *out)
{
    const size_t at = line_find(playlist, "#EXT-X-INDEPENDENT-SEGMENTS", true);
    buffer_append(out, playlist.ptr, at);
    for (size_t i = 0; i < count; i++) {
        size_t same = 0;
        if (crypts[i].scheme == 0)
            continue;
        while (memcmp(&crypts[same].key, &crypts[i].key, sizeof crypts[i].key)
               != 0)
            same++;
        if (same == i)
            keys_write("EXT-X-SESSION-KEY", &crypts[i], systems, out);
    }
    playlist = bytes_of(playlist.ptr + at, playlist.len - at);
    while (playlist.len > 0) { /* without playlists of key frames */
        const size_t end = line_find(playlist, KEY_FRAMES, false);
        const size_t next = line_find(playlist, KEY_FRAMES, true);
        buffer_append(out, playlist.ptr, end);
        playlist = bytes_of(playlist.ptr + next, playlist.len - next);
    }
}

/* ---- DASH ---- */

static void
protection_pssh_write(const char *system, box_write *write,
                      const struct crypt *crypt, struct buffer *out)
{
    buffer_printf(out,
                  "<ContentProtection schemeIdUri=\"urn:uuid:%s\">"
                  "<cenc:pssh xmlns:cenc=\"urn:mpeg:cenc:2013\">",
                  system);
    encoded_append(write, crypt, out);
    buffer_append_text(out, "</cenc:pssh></ContentProtection>\n");
}

static void
protections_write(const struct crypt *crypt,
                  const struct crypt_systems *systems, struct buffer *out)
{
    buffer_printf(out,
                  "<ContentProtection schemeIdUri=\""
                  "urn:mpeg:dash:mp4protection:2011\" value=\"%s\" "
                  "xmlns:cenc=\"urn:mpeg:cenc:2013\" cenc:default_KID=\"",
                  crypt->scheme == CRYPT_CBCS ? "cbcs" : "cenc");
    uuid_append(crypt->key.kid, out);
    buffer_append_text(out, "\"/>\n");
    if (systems->has_widevine)
        protection_pssh_write(WIDEVINE, widevine_pssh_write, crypt, out);
    if (systems->has_playready)
        protection_pssh_write(PLAYREADY, playready_pssh_write, crypt, out);
    if (systems->has_clearkey) {
        buffer_append_text(out,
                           "<ContentProtection schemeIdUri=\"urn:uuid:" CLEARKEY
                           "\" value=\"ClearKey1.0\">");
        if (systems->clearkey_url.len > 0) {
            buffer_append_text(out, "<dashif:Laurl xmlns:dashif=\"https://"
                                    "dashif.org/CPS\" licenseType=\""
                                    "EME-1.0\">");
            markup_append(out, systems->clearkey_url);
            buffer_append_text(out, "</dashif:Laurl>");
        }
        buffer_append_text(out, "</ContentProtection>\n");
    }
}

#define ADAPTATION_SET "<AdaptationSet "
#define CHANNELS "<AudioChannelConfiguration "
#define REPRESENTATION "<Representation id=\""

/* Of the representation whose line `line` starts with. */
static const struct crypt *
track_crypt(const struct asset *asset, const struct crypt *crypts,
            struct bytes line)
{
    const size_t head = strlen(REPRESENTATION);
    line = bytes_of(line.ptr + head, line.len - head);
    for (size_t i = 0; i < asset->track_count; i++) {
        const size_t len = strlen(asset->tracks[i].name);
        if (line.len > len && line.ptr[len] == '"'
            && memcmp(line.ptr, asset->tracks[i].name, len) == 0)
            return &crypts[i];
    }
    return NULL;
}

/* Inside of the element that the line opens, which may be an empty one; a
 * line's element ends with the line. */
static void
representation_write(struct bytes line, const struct crypt *crypt,
                     const struct crypt_systems *systems, struct buffer *out)
{
    const bool is_empty =
        line.len > 3 && memcmp(line.ptr + line.len - 3, "/>\n", 3) == 0;
    if (is_empty) {
        buffer_append(out, line.ptr, line.len - 3);
        buffer_append_text(out, ">\n");
    } else {
        buffer_append_bytes(out, line);
    }
    protections_write(crypt, systems, out);
    if (is_empty)
        buffer_append_text(out, "</Representation>\n");
}

/* The set's tracks, each with what it has itself. */
static void
set_of_many_write(struct bytes set, const struct asset *asset,
                  const struct crypt *crypts,
                  const struct crypt_systems *systems, struct buffer *out)
{
    while (set.len > 0) {
        const size_t at = line_find(set, REPRESENTATION, false);
        buffer_append(out, set.ptr, at);
        set = bytes_of(set.ptr + at, set.len - at);
        if (set.len == 0)
            break;
        const struct bytes line =
            bytes_of(set.ptr, line_find(set, REPRESENTATION, true));
        const struct crypt *crypt = track_crypt(asset, crypts, line);
        if (crypt == NULL)
            out->err = ERR_INVALID;
        else if (crypt->scheme == 0)
            buffer_append_bytes(out, line);
        else
            representation_write(line, crypt, systems, out);
        set = bytes_of(set.ptr + line.len, set.len - line.len);
    }
}

/* What all of the set's tracks are encrypted with, or NULL. */
static const struct crypt *
set_crypt(struct bytes set, const struct asset *asset,
          const struct crypt *crypts)
{
    const struct crypt *first = NULL;
    for (;;) {
        const size_t at = line_find(set, REPRESENTATION, false);
        set = bytes_of(set.ptr + at, set.len - at);
        if (set.len == 0)
            return first;
        const struct crypt *crypt = track_crypt(asset, crypts, set);
        if (crypt == NULL || crypt->scheme == 0
            || (first != NULL
                && memcmp(&crypt->key, &first->key, sizeof crypt->key) != 0))
            return NULL;
        first = crypt;
        set = bytes_of(set.ptr + 1, set.len - 1);
    }
}

/* One key is named once, in front of all but how many channels there are:
 * there dash.js finds it, and the order is the schema's. */
static void
set_write(struct bytes set, const struct asset *asset,
          const struct crypt *crypts, const struct crypt_systems *systems,
          struct buffer *out)
{
    const struct crypt *crypt = set_crypt(set, asset, crypts);
    size_t at = line_find(set, CHANNELS, true);
    if (crypt == NULL) {
        set_of_many_write(set, asset, crypts, systems, out);
        return;
    }
    if (at == set.len)
        at = line_find(set, ADAPTATION_SET, true);
    buffer_append(out, set.ptr, at);
    protections_write(crypt, systems, out);
    buffer_append(out, set.ptr + at, set.len - at);
}

void
crypt_mpd_write(struct bytes mpd, const struct asset *asset,
                const struct crypt *crypts, const struct crypt_systems *systems,
                struct buffer *out)
{
    while (mpd.len > 0) {
        const size_t at = line_find(mpd, ADAPTATION_SET, false);
        buffer_append(out, mpd.ptr, at);
        mpd = bytes_of(mpd.ptr + at, mpd.len - at);
        const struct bytes set =
            bytes_of(mpd.ptr, line_find(mpd, "</AdaptationSet>", true));
        if (set.len > 0)
            set_write(set, asset, crypts, systems, out);
        mpd = bytes_of(mpd.ptr + set.len, mpd.len - set.len);
    }
}
