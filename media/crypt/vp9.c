/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VP9 (the bitstream specification of 2016, §6.2 and annex B): the uncompressed
 * header of each frame is read to its end. It, the index of a superframe and
 * what is no frame stay in the clear.
 */
#include "media/crypt/subsample_codec.h"

#include "core/err.h"

#define REFS 8u
#define REFS_PER_FRAME 3u
#define COLOR_RGB 7u
#define SUPERFRAME_MAX 8u

struct size {
    uint32_t width, height;
};

struct vp9_reader {
    struct subsample_reader super;
    struct size refs[REFS];
};

struct frame {
    uint32_t profile;
    bool is_key, is_intra, is_resilient;
    uint32_t refresh; /* one bit for each of the refs */
    struct size size;
};

/* ---- uncompressed header ---- */

static void
sync_code_check(struct bits *b)
{
    if (bits_u(b, 24) != 0x498342)
        b->is_short = true;
}

static void
color_config_skip(struct bits *b, uint32_t profile)
{
    const bool is_odd = profile & 1; /* other than 4:2:0 */
    if (profile >= 2)
        (void) bits_flag(b);
    if (bits_u(b, 3) != COLOR_RGB)
        bits_skip(b, is_odd ? 4 : 1);
    else
        bits_skip(b, is_odd);
}

static void
frame_size_parse(struct bits *b, struct frame *frame)
{
    frame->size.width = bits_u(b, 16) + 1;
    frame->size.height = bits_u(b, 16) + 1;
}

static void
render_size_skip(struct bits *b)
{
    bits_skip(b, bits_flag(b) ? 32 : 0);
}

static void
references_parse(const struct vp9_reader *reader, struct bits *b,
                 struct frame *frame)
{
    uint32_t refs[REFS_PER_FRAME];
    bool is_found = false;
    frame->refresh = bits_u(b, 8);
    for (unsigned i = 0; i < REFS_PER_FRAME; i++) {
        refs[i] = bits_u(b, 3);
        (void) bits_flag(b);
    }
    for (unsigned i = 0; i < REFS_PER_FRAME && !is_found; i++) {
        is_found = bits_flag(b);
        frame->size = reader->refs[refs[i]];
    }
    if (!is_found)
        frame_size_parse(b, frame);
    render_size_skip(b);
    (void) bits_flag(b);
    if (!bits_flag(b))
        bits_skip(b, 2);
}

static void
intra_parse(struct bits *b, struct frame *frame)
{
    sync_code_check(b);
    if (frame->is_key || frame->profile > 0)
        color_config_skip(b, frame->profile);
    frame->refresh = frame->is_key ? 0xff : bits_u(b, 8);
    frame_size_parse(b, frame);
    render_size_skip(b);
}

/* What may be there, behind a flag. */
static void
optional_skip(struct bits *b, unsigned count, unsigned size)
{
    for (unsigned i = 0; i < count; i++)
        bits_skip(b, bits_flag(b) ? size : 0);
}

static void
loop_filter_skip(struct bits *b)
{
    bits_skip(b, 9);
    if (bits_flag(b) && bits_flag(b))
        optional_skip(b, 6, 7);
}

static void
segmentation_skip(struct bits *b)
{
    static const uint8_t feature_bits[] = {9, 7, 2, 0}; /* with the sign */
    if (!bits_flag(b))
        return;
    if (bits_flag(b)) {
        optional_skip(b, 7, 8);
        if (bits_flag(b))
            optional_skip(b, 3, 8);
    }
    if (!bits_flag(b))
        return;
    (void) bits_flag(b);
    for (unsigned i = 0; i < 8; i++)
        for (unsigned j = 0; j < sizeof feature_bits; j++)
            optional_skip(b, 1, feature_bits[j]);
}

static void
tiles_skip(struct bits *b, uint32_t width)
{
    const uint32_t columns = ((width + 7) / 8 + 7) / 8; /* of 64 pixels */
    unsigned least = 0, most = 1;
    while (64u << least < columns)
        least++;
    while (columns >> most >= 4)
        most++;
    while (least + 1 < most && bits_flag(b))
        least++;
    if (bits_flag(b))
        (void) bits_flag(b);
}

/* *is_shown: it shows a frame that was there before, and is nothing else. */
static void
frame_begin_parse(const struct vp9_reader *reader, struct bits *b,
                  struct frame *frame, bool *is_shown)
{
    if (bits_u(b, 2) != 2)
        b->is_short = true;
    frame->profile = bits_flag(b);
    frame->profile |= (uint32_t) bits_flag(b) << 1;
    bits_skip(b, frame->profile == 3);
    *is_shown = bits_flag(b);
    if (*is_shown)
        return;
    frame->is_key = !bits_flag(b);
    const bool is_visible = bits_flag(b);
    frame->is_resilient = bits_flag(b);
    frame->is_intra = frame->is_key;
    if (!frame->is_key) {
        frame->is_intra = !is_visible && bits_flag(b);
        bits_skip(b, frame->is_resilient ? 0 : 2);
    }
    if (frame->is_intra)
        intra_parse(b, frame);
    else
        references_parse(reader, b, frame);
}

/* *clear: the size of the uncompressed header. */
static int
frame_read(struct vp9_reader *reader, struct bytes bytes, size_t *clear)
{
    struct bits b = bits_of(bytes, false);
    struct frame frame = {0};
    bool is_shown;
    frame_begin_parse(reader, &b, &frame, &is_shown);
    *clear = bytes.len;
    if (b.is_short || is_shown)
        return b.is_short ? ERR_INVALID : 0;
    bits_skip(&b, frame.is_resilient ? 2 : 4);
    loop_filter_skip(&b);
    bits_skip(&b, 8);
    optional_skip(&b, 3, 5);
    segmentation_skip(&b);
    tiles_skip(&b, frame.size.width);
    if (bits_u(&b, 16) == 0 || b.is_short)
        return ERR_INVALID;
    for (unsigned i = 0; i < REFS; i++)
        if (frame.refresh >> i & 1)
            reader->refs[i] = frame.size;
    *clear = b.used;
    return 0;
}

/* ---- samples ---- */

/* The sizes of a superframe's frames; 0 when it is none. */
static unsigned
superframe_read(struct bytes sample, size_t sizes[SUPERFRAME_MAX])
{
    const uint8_t marker = sample.ptr[sample.len - 1];
    const unsigned count = (marker & 7u) + 1, width = (marker >> 3 & 3u) + 1;
    const size_t index_size = 2 + (size_t) count * width;
    if (marker >> 5 != 6 || sample.len < index_size
        || sample.ptr[sample.len - index_size] != marker)
        return 0;
    const uint8_t *p = sample.ptr + sample.len - index_size + 1;
    for (unsigned i = 0; i < count; i++) {
        sizes[i] = 0;
        for (unsigned j = 0; j < width; j++)
            sizes[i] |= (size_t) *p++ << 8 * j;
    }
    return count;
}

static int
vp9_next(struct subsample_reader *self, struct bytes sample,
         struct subsample_list *out)
{
    struct vp9_reader *reader = (struct vp9_reader *) self;
    size_t sizes[SUPERFRAME_MAX];
    if (sample.len == 0)
        return 0;
    unsigned count = superframe_read(sample, sizes);
    if (count == 0) {
        sizes[0] = sample.len;
        count = 1;
    }
    for (unsigned i = 0; i < count; i++) {
        size_t clear;
        if (sizes[i] > sample.len)
            return ERR_TRUNCATED;
        if (sizes[i] == 0)
            continue;
        const int err =
            frame_read(reader, bytes_of(sample.ptr, sizes[i]), &clear);
        if (err != 0)
            return err;
        subsample_list_add(out, clear, sizes[i] - clear);
        sample = bytes_of(sample.ptr + sizes[i], sample.len - sizes[i]);
    }
    subsample_list_add(out, sample.len, 0);
    return 0;
}

int
vp9_reader_new(struct bytes config, struct subsample_reader **out)
{
    struct vp9_reader *reader = calloc(1, sizeof *reader);
    (void) config; /* the frames say it all */
    if (reader == NULL)
        return ERR_MEMORY;
    reader->super.next = vp9_next;
    *out = &reader->super;
    return 0;
}
