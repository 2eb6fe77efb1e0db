/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Any sample entries, tables of samples and bytes of samples:
 *
 *   u8 flags: muxed, two piece sizes, a picture
 *   for each track: u8 entry size / 4, u8 samples, u16 timescale,
 *   i16 media time, the entry,
 *   and each sample: u16 size, u16 duration, i16 composition offset, u8 sync
 *   the rest is the samples' bytes, over and over
 *
 * A run ends in an error, or whole packets of the size that was said, which
 * does not depend on the pieces.
 */

#include "core/err.h"
#include "media/cursor.h"
#include "media/ts/ts.h"

#include <stdlib.h>

#define SAMPLES_MAX 255
#define SIZE_OUT_MAX (4u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct film {
    struct track_info info;
    struct sample samples[SAMPLES_MAX];
};

static void
film_read(struct cursor *c, enum track_kind kind, struct film *film,
          struct ts_source *source)
{
    const size_t entry_size = 4u * cursor_u8(c);
    const uint32_t count = cursor_u8(c);
    film->info.kind = kind;
    film->info.timescale = cursor_be16(c);
    film->info.media_time = (int16_t) cursor_be16(c);
    film->info.sample_rate = 48000;
    film->info.sample_entry = cursor_bytes(c, entry_size);
    for (uint32_t i = 0; i < count; i++) {
        film->samples[i].size = cursor_be16(c);
        film->samples[i].duration = cursor_be16(c);
        film->samples[i].composition_offset = (int16_t) cursor_be16(c);
        film->samples[i].is_sync = cursor_u8(c) & 1;
    }
    *source = (struct ts_source){
        .info = &film->info, .samples = film->samples, .sample_count = count};
}

/* The bytes that came out, or less than were said after an error. */
static uint64_t
run(struct transform *t, struct bytes media, size_t piece_in, size_t piece_out,
    uint8_t *out)
{
    uint64_t in = 0, put = 0;
    while (put < t->size_out) {
        const size_t at = media.len > 0 ? (size_t) (in % media.len) : 0;
        size_t len = media.len - at < piece_in ? media.len - at : piece_in;
        if (len > t->size_in - in)
            len = (size_t) (t->size_in - in);
        size_t room = piece_out;
        if (room > t->size_out - put)
            room = (size_t) (t->size_out - put);
        struct transform_io io = {media.ptr + at, len, out + put, room};
        if (t->run(t, &io) != 0)
            break;
        if (io.in_len == len && io.out_len == room) {
            if (media.len > 0)
                abort(); /* it stands still */
            break;
        }
        in += len - io.in_len;
        put += room - io.out_len;
    }
    if (put == t->size_out && in != t->size_in)
        abort();
    return put;
}

static void
transform_try(const struct ts_source *sources, size_t count, struct bytes media,
              size_t piece_in, size_t piece_out)
{
    struct transform *t, *other;
    if (ts_transform_open(sources, count, 7, &t) != 0)
        return;
    if (t->size_out % TS_PACKET_SIZE != 0)
        abort();
    if (t->size_out > SIZE_OUT_MAX
        || ts_transform_open(sources, count, 7, &other) != 0) {
        t->close(t);
        return;
    }
    uint8_t *a = malloc((size_t) t->size_out);
    uint8_t *b = malloc((size_t) t->size_out);
    if (a == NULL || b == NULL)
        abort();
    const uint64_t put = run(t, media, piece_in, piece_out, a);
    const uint64_t again = run(other, media, SIZE_MAX, SIZE_MAX, b);
    if ((put == t->size_out) != (again == t->size_out))
        abort();
    if (put == t->size_out && memcmp(a, b, (size_t) put) != 0)
        abort();
    for (uint64_t at = 0; at < put; at += TS_PACKET_SIZE)
        if (a[at] != 0x47)
            abort();
    free(a);
    free(b);
    t->close(t);
    other->close(other);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t pieces[] = {1, 3, 183, 188, 189, 1000, 4096, 65536};
    static struct film films[TS_SOURCES_MAX];
    struct ts_source sources[TS_SOURCES_MAX];
    struct cursor c = cursor_of(bytes_of(data, size));
    const uint8_t flags = cursor_u8(&c);
    const bool is_muxed = flags & 1;
    film_read(&c, is_muxed || flags & 0x80 ? TRACK_VIDEO : TRACK_AUDIO,
              &films[0], &sources[0]);
    if (is_muxed)
        film_read(&c, TRACK_AUDIO, &films[1], &sources[1]);
    if (c.is_short)
        return 0;
    transform_try(sources, is_muxed ? 2 : 1, c.rest, pieces[flags >> 1 & 7],
                  pieces[flags >> 4 & 7]);
    return 0;
}
