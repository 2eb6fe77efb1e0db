/* SPDX-License-Identifier: Apache-2.0 */
#include "media/crypt/subsample_codec.h"

#include "core/err.h"
#include "media/cursor.h"

/* Of a VisualSampleEntry (14496-12 §12.1.3), in front of its boxes. */
#define VISUAL_ENTRY_SIZE 86

static const struct {
    char entry[5], config[5];
    int (*make)(struct bytes config, struct subsample_reader **out);
} codecs[] = {
    {"avc1", "avcC", h264_reader_new}, {"avc3", "avcC", h264_reader_new},
    {"hvc1", "hvcC", hevc_reader_new}, {"hev1", "hvcC", hevc_reader_new},
    {"av01", "av1C", av1_reader_new},  {"vp09", "vpcC", vp9_reader_new},
};

static const char whole_codecs[][5] = {"mp4a", "ac-3", "ec-3",
                                       "Opus", "fLaC", ".mp3"};

static bool
is_type(const uint8_t *type, const char *name)
{
    return memcmp(type, name, 4) == 0;
}

/* The body of the child box `name`, empty when there is none. */
static struct bytes
config_find(struct bytes entry, const char *name)
{
    struct cursor c = cursor_of(entry);
    (void) cursor_bytes(&c, VISUAL_ENTRY_SIZE);
    while (!c.is_short && c.rest.len >= 8) {
        const uint32_t size = cursor_be32(&c);
        const struct bytes type = cursor_bytes(&c, 4);
        const struct bytes body = cursor_bytes(&c, size < 8 ? 0 : size - 8);
        if (size < 8 || c.is_short)
            break;
        if (is_type(type.ptr, name))
            return body;
    }
    return bytes_of(NULL, 0);
}

void
subsample_list_add(struct subsample_list *list, size_t clear, size_t rest)
{
    list->clear += (uint32_t) clear;
    if (rest == 0 || list->count == SUBSAMPLES_MAX - 1) {
        list->clear += (uint32_t) rest;
        return;
    }
    list->entries[list->count++] =
        (struct subsample){list->clear, (uint32_t) rest};
    list->clear = 0;
}

int
subsample_reader_new(struct bytes sample_entry, struct subsample_reader **out)
{
    if (sample_entry.len < 8)
        return ERR_TRUNCATED;
    const uint8_t *type = sample_entry.ptr + 4;
    for (size_t i = 0; i < sizeof codecs / sizeof codecs[0]; i++)
        if (is_type(type, codecs[i].entry))
            return codecs[i].make(config_find(sample_entry, codecs[i].config),
                                  out);
    for (size_t i = 0; i < sizeof whole_codecs / sizeof whole_codecs[0]; i++)
        if (is_type(type, whole_codecs[i])) {
            *out = NULL;
            return 0;
        }
    return ERR_UNSUPPORTED;
}

void
subsample_reader_free(struct subsample_reader *reader)
{
    free(reader);
}

int
subsample_reader_next(struct subsample_reader *reader, struct bytes sample,
                      struct subsample *out, uint16_t *count)
{
    struct subsample_list list = {.entries = out};
    if (sample.len > UINT32_MAX)
        return ERR_LIMIT;
    const int err = reader->next(reader, sample, &list);
    if (err != 0)
        return err;
    if (list.clear != 0)
        out[list.count++] = (struct subsample){list.clear, 0};
    *count = (uint16_t) list.count;
    return 0;
}
