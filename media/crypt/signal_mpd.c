/* SPDX-License-Identifier: Apache-2.0 */
/* Keys in an MPD: a set for each, and its ContentProtection. */
#include "media/crypt/signal_private.h"

#include "core/err.h"
#include "media/markup.h"

#define CLEARKEY "e2719d58-a985-b3c9-781a-b030af78d30e" /* of DASH-IF */

#define PROTECTION "<ContentProtection schemeIdUri=\"urn:uuid:%s\""
#define PROTECTION_END "</ContentProtection>\n"
#define PSSH "<cenc:pssh xmlns:cenc=\"urn:mpeg:cenc:2013\">"
#define PSSH_END "</cenc:pssh>"

static void
given_protection_write(const struct signal_given *given,
                       enum crypt_system system, struct buffer *out)
{
    buffer_printf(out, PROTECTION, crypt_system_id(system));
    if (given->part == CRYPT_PART_PSSH) {
        buffer_append_text(out, ">" PSSH);
        signal_base64_append(given->text, out);
        buffer_append_text(out, PSSH_END PROTECTION_END);
    } else {
        buffer_append_text(out, CRYPT_PROTECTION_PREFIXES ">");
        buffer_append_bytes(out, given->text);
        buffer_append_text(out, PROTECTION_END);
    }
}

static void
made_append(const struct crypt_track *track, enum crypt_system system,
            struct buffer *out)
{
    struct buffer box;
    buffer_init(&box, UINT16_MAX);
    signal_pssh_write(track, system, &box);
    signal_base64_append(buffer_bytes(&box), out);
    if (box.err != 0)
        out->err = box.err;
    buffer_fini(&box);
}

void
signal_protection_write(const struct crypt_track *track,
                        enum crypt_system system, struct buffer *out)
{
    if (!signal_has_pssh(system))
        return;
    buffer_append_text(out, PSSH);
    made_append(track, system, out);
    buffer_append_text(out, PSSH_END);
}

static void
system_protections_write(const struct crypt_track *track,
                         enum crypt_system system, bool has_own,
                         struct buffer *out)
{
    struct signal_told told;
    signal_told_init(track, system, CRYPT_PART_PROTECTION, &told);
    if (has_own && told.own.period_count > 0 && signal_has_pssh(system)) {
        buffer_printf(out, PROTECTION ">", crypt_system_id(system));
        signal_protection_write(&told.own, system, out);
        buffer_append_text(out, PROTECTION_END);
    }
    for (uint32_t i = 0; i < told.given_count; i++)
        given_protection_write(&told.given[i], system, out);
}

/* Of DASH-IF: where the licences are. */
static void
clearkey_protection_write(const struct crypt_systems *systems,
                          struct buffer *out)
{
    buffer_printf(out, PROTECTION " value=\"ClearKey1.0\">", CLEARKEY);
    if (systems->clearkey_url.len > 0) {
        buffer_append_text(out, "<dashif:Laurl xmlns:dashif=\"https://"
                                "dashif.org/CPS\" licenseType=\""
                                "EME-1.0\">");
        markup_append(out, systems->clearkey_url);
        buffer_append_text(out, "</dashif:Laurl>");
    }
    buffer_append_text(out, PROTECTION_END);
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
    for (enum crypt_system i = 0; i < CRYPT_SYSTEM_COUNT; i++) {
        if (!crypt_system_is_wanted(systems, i, track->scheme))
            continue;
        if (i == CRYPT_SYSTEM_COMMON)
            clearkey_protection_write(systems, out);
        /* of ClearKey the default KID says enough of one key */
        const bool has_own =
            i != CRYPT_SYSTEM_COMMON || track->period_count > 1;
        system_protections_write(track, i, has_own, out);
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
    const size_t line = signal_line_find(*body, REPRESENTATION, true);
    const struct bytes rest = bytes_of(body->ptr + line, body->len - line);
    const size_t len = line + signal_line_find(rest, REPRESENTATION, false);
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
        if (!signal_is_same_kid(a->kids[i], b->kids[i]))
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
    size_t at = signal_line_find(head, "", true);
    for (size_t next = at; next < head.len;) {
        next += signal_line_find(bytes_of(head.ptr + next, head.len - next),
                                 CHANNELS, true);
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
        const size_t at = signal_line_find(mpd, SET, false);
        buffer_append(out, mpd.ptr, at);
        mpd = bytes_of(mpd.ptr + at, mpd.len - at);
        if (mpd.len == 0)
            break;
        const size_t end = signal_line_find(mpd, SET_END, false);
        const size_t head =
            signal_line_find(bytes_of(mpd.ptr, end), REPRESENTATION, false);
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
        const size_t next = signal_line_find(mpd, SET_END, true);
        mpd = bytes_of(mpd.ptr + next, mpd.len - next);
    }
}
