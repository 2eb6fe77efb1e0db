/* SPDX-License-Identifier: Apache-2.0 */
/* The systems, and the tags of playlists. */
#include "media/crypt/signal_private.h"

/* ---- systems ---- */

const char *
crypt_system_id(enum crypt_system system)
{
    static const char *const ids[CRYPT_SYSTEM_COUNT] = {
        [CRYPT_SYSTEM_WIDEVINE] = CRYPT_WIDEVINE,
        [CRYPT_SYSTEM_PLAYREADY] = CRYPT_PLAYREADY,
        [CRYPT_SYSTEM_FAIRPLAY] = CRYPT_FAIRPLAY,
        [CRYPT_SYSTEM_COMMON] = CRYPT_COMMON,
    };
    return ids[system];
}

bool
crypt_system_is_wanted(const struct crypt_systems *systems,
                       enum crypt_system system, enum crypt_scheme scheme)
{
    switch (system) {
    case CRYPT_SYSTEM_WIDEVINE:
        return systems->has_widevine;
    case CRYPT_SYSTEM_PLAYREADY:
        return systems->has_playready;
    case CRYPT_SYSTEM_FAIRPLAY:
        return systems->has_fairplay && scheme == CRYPT_CBCS;
    case CRYPT_SYSTEM_COMMON:
        return systems->has_clearkey;
    }
    return false;
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

size_t
signal_line_find(struct bytes text, const char *start, bool is_behind)
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

/* Of boxes that are given, or are made. PlayReady's tags have the object alone,
 * which is the data of its box. */
static void
box_append(const struct crypt_track *track, enum crypt_system system,
           struct buffer *out)
{
    struct bytes box =
        signal_given_find(track, 0, system, CRYPT_PART_PSSH).text;
    struct buffer made;
    buffer_init(&made, UINT16_MAX);
    if (box.len == 0) {
        signal_pssh_write(track, system, &made);
        box = buffer_bytes(&made);
    }
    if (made.err != 0)
        out->err = made.err;
    else
        signal_base64_append(
            system == CRYPT_SYSTEM_PLAYREADY ? signal_pssh_data(box) : box,
            out);
    buffer_fini(&made);
}

static void
key_write(const char *tag, const struct crypt_track *track,
          enum crypt_system system, struct buffer *out)
{
    key_begin(tag, track, out);
    switch (system) {
    case CRYPT_SYSTEM_WIDEVINE:
        buffer_append_text(out, "data:text/plain;base64,");
        box_append(track, system, out);
        key_end("urn:uuid:" CRYPT_WIDEVINE, track, true, out);
        break;
    case CRYPT_SYSTEM_PLAYREADY:
        buffer_append_text(out, "data:text/plain;charset=UTF-16;base64,");
        box_append(track, system, out);
        key_end("com.microsoft.playready", track, false, out);
        break;
    case CRYPT_SYSTEM_FAIRPLAY:
        buffer_append_text(out, "skd://");
        hex_append(track->kids[0], CRYPT_KEY_SIZE, out);
        key_end("com.apple.streamingkeydelivery", track, false, out);
        break;
    case CRYPT_SYSTEM_COMMON:
        buffer_append_text(out, "data:text/plain;base64,");
        signal_base64_append(bytes_of(track->kids[0], CRYPT_KEY_SIZE), out);
        key_end("org.w3.clearkey", track, true, out);
        break;
    }
}

/* Of a session where only media playlists' lines are given, none are made,
 * which might say something else (CPIX 2.3 §5.2.8). */
static void
keys_write(bool is_session, const struct crypt_track *track,
           const struct crypt_systems *systems, struct buffer *out)
{
    for (enum crypt_system i = 0; i < CRYPT_SYSTEM_COUNT; i++) {
        if (!crypt_system_is_wanted(systems, i, track->scheme))
            continue;
        const struct signal_given media =
            signal_given_find(track, 0, i, CRYPT_PART_MEDIA);
        const struct signal_given session =
            signal_given_find(track, 0, i, CRYPT_PART_MULTIVARIANT);
        if (is_session && session.text.len > 0)
            buffer_append_bytes(out, session.text);
        else if (media.text.len == 0)
            key_write(is_session ? "EXT-X-SESSION-KEY" : "EXT-X-KEY", track, i,
                      out);
        else if (!is_session)
            buffer_append_bytes(out, media.text);
    }
}

void
crypt_part_write(const struct crypt_track *track, enum crypt_system system,
                 enum crypt_part part, struct buffer *out)
{
    switch (part) {
    case CRYPT_PART_PSSH:
        signal_pssh_write(track, system, out);
        break;
    case CRYPT_PART_PROTECTION:
        signal_protection_write(track, system, out);
        break;
    case CRYPT_PART_MEDIA:
        key_write("EXT-X-KEY", track, system, out);
        break;
    case CRYPT_PART_MULTIVARIANT:
        key_write("EXT-X-SESSION-KEY", track, system, out);
        break;
    }
}

/* RFC 8216 §4.3.2.4, with the method of an encryption that the document does not
 * know yet: Shaka Player takes it so. */
static void
identity_write(const struct crypt_track *track, struct buffer *out)
{
    key_begin("EXT-X-KEY", track, out);
    buffer_append_bytes(out, track->uris[0]);
    key_end("identity", track, false, out);
}

static struct crypt_track
track_period(const struct crypt_track *track, uint32_t number)
{
    struct crypt_track period = *track;
    period.kids += number;
    period.period_count = 1;
    if (track->signals != NULL)
        period.signals += number;
    if (track->uris != NULL)
        period.uris += number;
    return period;
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
    size_t at = signal_line_find(playlist, "#EXT-X-MAP", false);
    for (;;) {
        buffer_append(out, playlist.ptr, at);
        playlist = bytes_of(playlist.ptr + at, playlist.len - at);
        if (playlist.len == 0)
            break;
        const uint32_t number = period_read(playlist, track);
        if (kid == NULL || !signal_is_same_kid(kid, track->kids[number])) {
            const struct crypt_track period = track_period(track, number);
            if (period.uris != NULL)
                identity_write(&period, out);
            else
                keys_write(false, &period, systems, out);
            kid = track->kids[number];
        }
        const size_t line = signal_line_find(playlist, "", true);
        at = line
             + signal_line_find(
                 bytes_of(playlist.ptr + line, playlist.len - line), "#EXTINF",
                 false);
    }
}

#define KEY_FRAMES "#EXT-X-I-FRAME-STREAM-INF"

void
crypt_multivariant_write(struct bytes playlist,
                         const struct crypt_track *tracks, size_t count,
                         const struct crypt_systems *systems,
                         struct buffer *out)
{
    const size_t at =
        signal_line_find(playlist, "#EXT-X-INDEPENDENT-SEGMENTS", true);
    buffer_append(out, playlist.ptr, at);
    for (size_t i = 0; i < count; i++) {
        size_t same = 0;
        if (tracks[i].scheme == 0)
            continue;
        while (tracks[same].scheme == 0
               || !signal_is_same_kid(tracks[same].kids[0], tracks[i].kids[0]))
            same++;
        if (same < i)
            continue;
        const struct crypt_track first = track_period(&tracks[i], 0);
        keys_write(true, &first, systems, out);
    }
    playlist = bytes_of(playlist.ptr + at, playlist.len - at);
    while (playlist.len > 0) { /* without playlists of key frames */
        const size_t end = signal_line_find(playlist, KEY_FRAMES, false);
        const size_t next = signal_line_find(playlist, KEY_FRAMES, true);
        buffer_append(out, playlist.ptr, end);
        playlist = bytes_of(playlist.ptr + next, playlist.len - next);
    }
}
