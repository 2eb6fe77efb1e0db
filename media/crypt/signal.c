/* SPDX-License-Identifier: Apache-2.0 */
#include "media/crypt/signal.h"

#include "core/err.h"
#include "media/markup.h"

#include <openssl/evp.h>

#define PSSH_KEYS_MAX 64u /* a PlayReady object has 15 kB at the most */
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

void
crypt_uuid_append(const uint8_t id[CRYPT_KEY_SIZE], struct buffer *out)
{
    static const uint8_t parts[] = {4, 2, 2, 2, 6};
    for (size_t i = 0; i < sizeof parts; id += parts[i++]) {
        if (i > 0)
            buffer_append_text(out, "-");
        hex_append(id, parts[i], out);
    }
}

/* ---- pssh ---- */

static uint32_t
kid_count(const struct crypt_track *track)
{
    return track->period_count < PSSH_KEYS_MAX ? track->period_count
                                               : PSSH_KEYS_MAX;
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
    pssh_begin(system_clearkey, track, true, 0, out);
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
    base64_append(bytes_of(guid, sizeof guid), out);
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
    buffer_append_text(&text, "</KIDS></PROTECTINFO></DATA></WRMHEADER>");
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

void
crypt_pssh_write(const struct crypt_track *track,
                 const struct crypt_systems *systems, struct buffer *out)
{
    if (systems->has_clearkey)
        clearkey_pssh_write(track, out);
    if (systems->has_widevine)
        widevine_pssh_write(track, out);
    if (systems->has_playready)
        playready_pssh_write(track, out);
}

typedef void box_write(const struct crypt_track *track, struct buffer *out);

/* What `write` writes, as base64. */
static void
encoded_append(box_write *write, const struct crypt_track *track,
               struct buffer *out)
{
    struct buffer box;
    buffer_init(&box, PSSH_SIZE_MAX);
    write(track, &box);
    base64_append(buffer_bytes(&box), out);
    if (box.err != 0)
        out->err = box.err;
    buffer_fini(&box);
}

/* ---- HLS ---- */

static void
key_begin(const char *tag, const struct crypt_track *track, struct buffer *out)
{
    buffer_printf(out, "#%s:METHOD=%s,URI=\"", tag,
                  track->scheme == CRYPT_CBCS ? "SAMPLE-AES"
                                              : "SAMPLE-AES-CTR");
}

static void
key_end(const char *format, const struct crypt_track *track, bool has_id,
        struct buffer *out)
{
    buffer_append_text(out, "\"");
    if (has_id) {
        buffer_append_text(out, ",KEYID=0x");
        hex_append(track->kids[0], CRYPT_KEY_SIZE, out);
    }
    buffer_printf(out, ",KEYFORMAT=\"%s\",KEYFORMATVERSIONS=\"1\"\n", format);
}

static void
keys_write(const char *tag, const struct crypt_track *track,
           const struct crypt_systems *systems, struct buffer *out)
{
    if (systems->has_widevine) {
        key_begin(tag, track, out);
        buffer_append_text(out, "data:text/plain;base64,");
        encoded_append(widevine_pssh_write, track, out);
        key_end("urn:uuid:" CRYPT_WIDEVINE, track, true, out);
    }
    if (systems->has_playready) {
        key_begin(tag, track, out);
        buffer_append_text(out, "data:text/plain;charset=UTF-16;base64,");
        encoded_append(playready_object_write, track, out);
        key_end("com.microsoft.playready", track, false, out);
    }
    if (systems->has_fairplay && track->scheme == CRYPT_CBCS) {
        key_begin(tag, track, out);
        buffer_append_text(out, "skd://");
        hex_append(track->kids[0], CRYPT_KEY_SIZE, out);
        key_end("com.apple.streamingkeydelivery", track, false, out);
    }
    if (systems->has_clearkey) {
        key_begin(tag, track, out);
        buffer_append_text(out, "data:text/plain;base64,");
        base64_append(bytes_of(track->kids[0], CRYPT_KEY_SIZE), out);
        key_end("org.w3.clearkey", track, true, out);
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

static struct crypt_track
track_period(const struct crypt_track *track, uint32_t number)
{
    struct crypt_track period = *track;
    period.kids += number;
    period.period_count = 1;
    return period;
}

static bool
is_same_kid(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, CRYPT_KEY_SIZE) == 0;
}

/* The period of the next segment, by the number in its URI: a playlist may
 * begin with any. */
static uint32_t
period_read(struct bytes playlist, const struct crypt_track *track)
{
    const uint8_t *end = memmem(playlist.ptr, playlist.len, ".m4s", 4);
    const uint8_t *digits = end;
    uint64_t number;
    while (digits != NULL && digits > playlist.ptr && digits[-1] >= '0'
           && digits[-1] <= '9')
        digits--;
    if (track->period_count < 2 || digits == NULL
        || !bytes_number(bytes_of(digits, (size_t) (end - digits)), &number))
        return 0;
    number /= track->period_segments;
    return number < track->period_count ? (uint32_t) number
                                        : track->period_count - 1;
}

void
crypt_playlist_write(struct bytes playlist, const struct crypt_track *track,
                     const struct crypt_systems *systems, struct buffer *out)
{
    const uint8_t *kid = NULL;
    size_t at = line_find(playlist, "#EXT-X-MAP", false);
    for (;;) {
        buffer_append(out, playlist.ptr, at);
        playlist = bytes_of(playlist.ptr + at, playlist.len - at);
        if (playlist.len == 0)
            break;
        const uint32_t number = period_read(playlist, track);
        if (kid == NULL || !is_same_kid(kid, track->kids[number])) {
            const struct crypt_track period = track_period(track, number);
            keys_write("EXT-X-KEY", &period, systems, out);
            kid = track->kids[number];
        }
        const size_t line = line_find(playlist, "", true);
        at = line
             + line_find(bytes_of(playlist.ptr + line, playlist.len - line),
                         "#EXTINF", false);
    }
}

#define KEY_FRAMES "#EXT-X-I-FRAME-STREAM-INF"

void
crypt_multivariant_write(struct bytes playlist,
                         const struct crypt_track *tracks, size_t count,
                         const struct crypt_systems *systems,
                         struct buffer *out)
{
    const size_t at = line_find(playlist, "#EXT-X-INDEPENDENT-SEGMENTS", true);
    buffer_append(out, playlist.ptr, at);
    for (size_t i = 0; i < count; i++) {
        size_t same = 0;
        if (tracks[i].scheme == 0)
            continue;
        while (tracks[same].scheme == 0
               || !is_same_kid(tracks[same].kids[0], tracks[i].kids[0]))
            same++;
        if (same < i)
            continue;
        const struct crypt_track first = track_period(&tracks[i], 0);
        keys_write("EXT-X-SESSION-KEY", &first, systems, out);
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
                      const struct crypt_track *track, struct buffer *out)
{
    buffer_printf(out,
                  "<ContentProtection schemeIdUri=\"urn:uuid:%s\">"
                  "<cenc:pssh xmlns:cenc=\"urn:mpeg:cenc:2013\">",
                  system);
    encoded_append(write, track, out);
    buffer_append_text(out, "</cenc:pssh></ContentProtection>\n");
}

static void
protections_write(const struct crypt_track *track,
                  const struct crypt_systems *systems, struct buffer *out)
{
    buffer_printf(out,
                  "<ContentProtection schemeIdUri=\""
                  "urn:mpeg:dash:mp4protection:2011\" value=\"%s\" "
                  "xmlns:cenc=\"urn:mpeg:cenc:2013\" cenc:default_KID=\"",
                  track->scheme == CRYPT_CBCS ? "cbcs" : "cenc");
    crypt_uuid_append(track->kids[0], out);
    buffer_append_text(out, "\"/>\n");
    if (systems->has_widevine)
        protection_pssh_write(CRYPT_WIDEVINE, widevine_pssh_write, track, out);
    if (systems->has_playready)
        protection_pssh_write(CRYPT_PLAYREADY, playready_pssh_write, track,
                              out);
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
        if (track->period_count > 1) /* else the default KID is enough */
            protection_pssh_write(CRYPT_COMMON, clearkey_pssh_write, track,
                                  out);
    }
}

#define SET "<AdaptationSet"
#define SET_END "</AdaptationSet>\n"
#define REPRESENTATION "<Representation id=\""
#define CHANNELS "<AudioChannelConfiguration"

/* A set of the clear MPD, in whose stead comes one for each key: all that is in
 * a set has one key (DASH-IF IOP, part 6), and that a player may switch to the
 * others of them is said (ISO/IEC 23009-1 §5.3.3.5). */
struct mpd_set {
    struct bytes head; /* to the first representation */
    struct bytes body; /* the representations */
    const struct asset *asset;
    const struct crypt_track *tracks;
    unsigned first_id; /* of the sets that are written */
    unsigned count;
};

struct representation {
    struct bytes text;
    const struct crypt_track *track; /* NULL: of no track */
};

static const struct crypt_track *
track_find(const struct mpd_set *set, struct bytes name)
{
    for (size_t i = 0; i < set->asset->track_count; i++) {
        const size_t len = strlen(set->asset->tracks[i].name);
        if (name.len > len && name.ptr[len] == '"'
            && memcmp(name.ptr, set->asset->tracks[i].name, len) == 0)
            return &set->tracks[i];
    }
    return NULL;
}

/* Takes one off the front; false at the end. */
static bool
representation_take(const struct mpd_set *set, struct bytes *body,
                    struct representation *out)
{
    if (body->len == 0)
        return false;
    const size_t head = strlen(REPRESENTATION);
    const size_t line = line_find(*body, REPRESENTATION, true);
    const struct bytes rest = bytes_of(body->ptr + line, body->len - line);
    const size_t len = line + line_find(rest, REPRESENTATION, false);
    out->text = bytes_of(body->ptr, len);
    out->track = track_find(set, bytes_of(body->ptr + head, line - head));
    *body = bytes_of(body->ptr + len, body->len - len);
    return true;
}

static bool
has_same_key(const struct crypt_track *a, const struct crypt_track *b)
{
    const uint32_t count =
        a->period_count < b->period_count ? a->period_count : b->period_count;
    if (a->scheme == 0 || a->scheme != b->scheme)
        return a->scheme == b->scheme;
    for (uint32_t i = 0; i < count; i++) {
        if (!is_same_kid(a->kids[i], b->kids[i]))
            return false;
    }
    return true;
}

/* The key of the number-th set that is written, or NULL. */
static const struct crypt_track *
set_track(const struct mpd_set *set, unsigned number)
{
    struct bytes body = set->body;
    struct representation r, before;
    while (representation_take(set, &body, &r)) {
        struct bytes all = set->body;
        while (representation_take(set, &all, &before)
               && !has_same_key(before.track, r.track))
            ;
        if (before.text.ptr == r.text.ptr && number-- == 0)
            return r.track;
    }
    return NULL;
}

static void
switching_write(const struct mpd_set *set, unsigned number, struct buffer *out)
{
    const char *comma = "";
    buffer_append_text(out, "<SupplementalProperty schemeIdUri=\"urn:mpeg:dash:"
                            "adaptation-set-switching:2016\" value=\"");
    for (unsigned i = 0; i < set->count; i++) {
        if (i == number)
            continue;
        buffer_printf(out, "%s%u", comma, set->first_id + i);
        comma = ",";
    }
    buffer_append_text(out, "\"/>\n");
}

static void
set_write(const struct mpd_set *set, unsigned number,
          const struct crypt_systems *systems, struct buffer *out)
{
    const struct crypt_track *track = set_track(set, number);
    struct bytes head = set->head, body = set->body;
    struct representation r;
    if (set->count > 1) {
        buffer_printf(out, SET " id=\"%u\"", set->first_id + number);
        head = bytes_of(head.ptr + strlen(SET), head.len - strlen(SET));
    }
    /* behind the channels, as the schema has it */
    size_t at = line_find(head, "", true);
    for (size_t next = at; next < head.len;) {
        next += line_find(bytes_of(head.ptr + next, head.len - next), CHANNELS,
                          true);
        if (next < head.len)
            at = next;
    }
    buffer_append(out, head.ptr, at);
    if (track->scheme != 0)
        protections_write(track, systems, out);
    if (set->count > 1)
        switching_write(set, number, out);
    buffer_append(out, head.ptr + at, head.len - at);
    while (representation_take(set, &body, &r)) {
        if (has_same_key(r.track, track))
            buffer_append_bytes(out, r.text);
    }
    buffer_append_text(out, SET_END);
}

/* ERR_INVALID: a representation is of no track. */
static int
set_count(struct mpd_set *set)
{
    struct bytes body = set->body;
    struct representation r;
    while (representation_take(set, &body, &r)) {
        if (r.track == NULL)
            return ERR_INVALID;
    }
    while (set_track(set, set->count) != NULL)
        set->count++;
    return 0;
}

void
crypt_mpd_write(struct bytes mpd, const struct asset *asset,
                const struct crypt_track *tracks,
                const struct crypt_systems *systems, struct buffer *out)
{
    unsigned next_id = 1;
    for (;;) {
        const size_t at = line_find(mpd, SET, false);
        buffer_append(out, mpd.ptr, at);
        mpd = bytes_of(mpd.ptr + at, mpd.len - at);
        if (mpd.len == 0)
            break;
        const size_t end = line_find(mpd, SET_END, false);
        const size_t head =
            line_find(bytes_of(mpd.ptr, end), REPRESENTATION, false);
        struct mpd_set set = {
            .head = bytes_of(mpd.ptr, head),
            .body = bytes_of(mpd.ptr + head, end - head),
            .asset = asset,
            .tracks = tracks,
            .first_id = next_id,
        };
        const int err = set_count(&set);
        if (err != 0) {
            out->err = err;
            return;
        }
        for (unsigned i = 0; i < set.count; i++)
            set_write(&set, i, systems, out);
        next_id += set.count;
        const size_t next = line_find(mpd, SET_END, true);
        mpd = bytes_of(mpd.ptr + next, mpd.len - next);
    }
}
