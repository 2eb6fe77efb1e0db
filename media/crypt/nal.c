/* SPDX-License-Identifier: Apache-2.0 */
#include "media/crypt/nal.h"

#include "core/err.h"

/* Takes the next NAL unit off the front of *sample, behind a length of
 * `length_size` bytes. */
static int
nal_take(struct bytes *sample, unsigned length_size, struct bytes *nal)
{
    if (sample->len < length_size)
        return ERR_TRUNCATED;
    size_t len = 0;
    for (unsigned i = 0; i < length_size; i++)
        len = len << 8 | sample->ptr[i];
    if (len > sample->len - length_size)
        return ERR_TRUNCATED;
    *nal = bytes_of(sample->ptr + length_size, len);
    *sample = bytes_of(nal->ptr + len, sample->len - length_size - len);
    return 0;
}

int
nal_next(struct subsample_reader *self, struct bytes sample,
         struct subsample_list *out)
{
    struct nal_reader *reader = (struct nal_reader *) self;
    while (sample.len > 0) {
        struct bytes nal;
        int err = nal_take(&sample, reader->length_size, &nal);
        if (err != 0)
            return err;
        size_t clear = nal.len;
        err = reader->read(reader, nal, &clear);
        if (err != 0)
            return err;
        subsample_list_add(out, reader->length_size + clear, nal.len - clear);
    }
    return 0;
}

int
nal_sets_read(struct nal_reader *reader, struct cursor *c, unsigned count)
{
    for (; count > 0; count--) {
        const struct bytes nal = cursor_bytes(c, cursor_be16(c));
        size_t clear = nal.len;
        const int err = reader->read(reader, nal, &clear);
        if (c->is_short || err != 0)
            return c->is_short ? ERR_TRUNCATED : err;
    }
    return 0;
}
