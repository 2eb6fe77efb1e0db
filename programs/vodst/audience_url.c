/* SPDX-License-Identifier: Apache-2.0 */
/*
 * References against a base URL, as a player resolves them: absolute, with
 * another host, another path, relative with dot segments, query only.
 */

#include "programs/vodst/audience_url.h"

struct writer {
    char *out;
    size_t len, size;
};

static bool
writer_add(struct writer *w, const void *ptr, size_t len)
{
    if (len >= w->size - w->len)
        return false;
    if (len > 0)
        memcpy(w->out + w->len, ptr, len);
    w->len += len;
    return true;
}

static bool
is_clean(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] <= ' ' || text.ptr[i] >= 0x7f)
            return false;
    return text.len > 0;
}

static bool
starts_with(struct bytes text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len >= len && memcmp(text.ptr, prefix, len) == 0;
}

static struct bytes
cut_at(struct bytes text, const char *stops)
{
    size_t len = 0;
    while (len < text.len && strchr(stops, text.ptr[len]) == NULL)
        len++;
    return bytes_of(text.ptr, len);
}

static bool
has_scheme(struct bytes text)
{
    struct bytes head = cut_at(text, ":/?");
    return head.len > 0 && head.len < text.len && text.ptr[head.len] == ':';
}

static bool
is_http(struct bytes text)
{
    return starts_with(text, "http://") || starts_with(text, "https://");
}

/* Appends a path's segments, taking back one for each "..". `root` is where
 * the path begins in the output. */
static bool
path_add(struct writer *w, size_t root, struct bytes path)
{
    while (path.len > 0) {
        struct bytes segment = cut_at(path, "/");
        bool has_slash = segment.len < path.len;
        if (bytes_equal(segment, BYTES_LITERAL(".."))) {
            if (w->len > root + 1)
                w->len--; /* the slash this segment stands behind */
            while (w->len > root + 1 && w->out[w->len - 1] != '/')
                w->len--;
        } else if (!bytes_equal(segment, BYTES_LITERAL("."))) {
            if (!writer_add(w, segment.ptr, segment.len + has_slash))
                return false;
        }
        path.ptr += segment.len + has_slash;
        path.len -= segment.len + has_slash;
    }
    return true;
}

static int
relative_write(struct writer *w, struct bytes base, struct bytes reference)
{
    size_t scheme = (size_t) (starts_with(base, "https") ? 8 : 7);
    if (starts_with(reference, "//"))
        return writer_add(w, base.ptr, scheme - 2)
                       && writer_add(w, reference.ptr, reference.len)
                   ? 0
                   : ERR_LIMIT;
    struct bytes host =
        cut_at(bytes_of(base.ptr + scheme, base.len - scheme), "/?");
    size_t root = scheme + host.len;
    struct bytes path = cut_at(bytes_of(base.ptr + root, base.len - root), "?");
    if (!writer_add(w, base.ptr, root))
        return ERR_LIMIT;
    if (reference.ptr[0] == '?')
        return writer_add(w, path.ptr, path.len)
                       && writer_add(w, reference.ptr, reference.len)
                   ? 0
                   : ERR_LIMIT;
    if (reference.ptr[0] == '/')
        path.len = 0;
    while (path.len > 0 && path.ptr[path.len - 1] != '/')
        path.len--;
    bool ok = path.len == 0 && reference.ptr[0] != '/'
                  ? writer_add(w, "/", 1)
                  : writer_add(w, path.ptr, path.len);
    struct bytes own = cut_at(reference, "?");
    if (ok && reference.ptr[0] == '/') {
        ok = writer_add(w, "/", 1);
        own = bytes_of(own.ptr + 1, own.len - 1);
    }
    size_t own_len = (size_t) (own.ptr - reference.ptr) + own.len;
    ok = ok && path_add(w, root, own)
         && writer_add(w, reference.ptr + own_len, reference.len - own_len);
    return ok ? 0 : ERR_LIMIT;
}

int
url_resolve(const char *base, struct bytes reference, char *out, size_t size)
{
    struct bytes from = cut_at(bytes_of_text(base), "#");
    struct writer w = {out, 0, size};
    if (!is_clean(reference) || !is_clean(from) || !is_http(from))
        return ERR_INVALID;
    reference = cut_at(reference, "#");
    int err = 0;
    if (reference.len == 0)
        err = writer_add(&w, from.ptr, from.len) ? 0 : ERR_LIMIT;
    else if (is_http(reference))
        err = writer_add(&w, reference.ptr, reference.len) ? 0 : ERR_LIMIT;
    else if (has_scheme(reference))
        return ERR_UNSUPPORTED;
    else
        err = relative_write(&w, from, reference);
    if (err == 0)
        w.out[w.len] = '\0';
    return err;
}
