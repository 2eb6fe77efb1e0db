/* SPDX-License-Identifier: Apache-2.0 */
/* Names of contents and the path of a play, see core/content.h. */

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/content.h"
#include "core/err.h"

static const bool is_id_char[256] = {
    ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true,
    ['.'] = true,         ['_'] = true,         ['-'] = true,
};

/* Printable ASCII without the space: nothing that could end a header line
 * once a decoded path is copied into a Location. */
static bool
is_visible(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] <= ' ' || text.ptr[i] >= 0x7f)
            return false;
    }
    return true;
}

/* Takes the bytes up to the next slash, and the slash, off *path. */
static struct bytes
segment_take(struct bytes *path)
{
    const uint8_t *slash = path->len ? memchr(path->ptr, '/', path->len) : NULL;
    size_t len = slash ? (size_t) (slash - path->ptr) : path->len;
    struct bytes segment = bytes_of(path->ptr, len);
    size_t taken = slash ? len + 1 : len;
    *path = taken ? bytes_of(path->ptr + taken, path->len - taken) : *path;
    return segment;
}

static bool
segments_are_valid(struct bytes rest)
{
    /* a slash at the end is an empty last segment */
    if (rest.len == 0 || rest.ptr[rest.len - 1] == '/')
        return false;
    while (rest.len > 0) {
        struct bytes segment = segment_take(&rest);
        if (segment.len == 0 || bytes_equal(segment, BYTES_LITERAL("."))
            || bytes_equal(segment, BYTES_LITERAL("..")))
            return false;
    }
    return true;
}

bool
content_id_is_valid(struct bytes id)
{
    if (id.len == 0 || id.len > CONTENT_ID_LEN_MAX || id.ptr[0] == '.')
        return false;
    for (size_t i = 0; i < id.len; i++) {
        if (!is_id_char[id.ptr[i]])
            return false;
    }
    return true;
}

uint64_t
content_hash(struct bytes id)
{
    uint64_t hash = XXH3_64bits(id.ptr, id.len);
    return hash ? hash : 1; /* 0 marks a free slot in the counter file */
}

int
play_path_parse(struct bytes path, struct play_path *out)
{
    struct play_path parsed;

    if (!is_visible(path))
        return ERR_INVALID;
    parsed.token = segment_take(&path);
    parsed.content = segment_take(&path);
    parsed.rest = path;
    if (parsed.token.len == 0 || !content_id_is_valid(parsed.content)
        || !segments_are_valid(parsed.rest))
        return ERR_INVALID;
    *out = parsed;
    return 0;
}
