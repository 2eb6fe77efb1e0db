/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The URI claim of Common Access Tokens (CTA-5007-B, catu): a map of parts of a
 * URI, and for each a map of ways to compare it. All have to hold.
 */

#include "core/token_forms.h"
#include "core/token_uri.h"

#include <openssl/sha.h>

/* Parts of a URI, and ways to compare one. */
enum {
    PART_SCHEME,
    PART_HOST,
    PART_PORT,
    PART_PATH = TOKEN_CATU_PATH,
    PART_QUERY,
    PART_PARENT_PATH,
    PART_FILENAME,
    PART_STEM,
    PART_EXTENSION,
};
enum {
    MATCH_EXACT = 0,
    MATCH_PREFIX = TOKEN_CATU_PREFIX,
    MATCH_SUFFIX = 2,
    MATCH_CONTAINS = 3,
    MATCH_SHA256 = -1,
};

static bool
part_compare(struct bytes value, int64_t match, struct bytes wanted)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];

    if (match == MATCH_SHA256) {
        SHA256(value.ptr, value.len, digest);
        return wanted.len == sizeof digest
               && memcmp(digest, wanted.ptr, sizeof digest) == 0;
    }
    if (wanted.len > value.len)
        return false;
    switch (match) {
    case MATCH_EXACT:
        return bytes_equal(value, wanted);
    case MATCH_PREFIX:
        return memcmp(value.ptr, wanted.ptr, wanted.len) == 0;
    case MATCH_SUFFIX:
        return memcmp(value.ptr + value.len - wanted.len, wanted.ptr,
                      wanted.len)
               == 0;
    case MATCH_CONTAINS:
        return wanted.len == 0
               || memmem(value.ptr, value.len, wanted.ptr, wanted.len) != NULL;
    }
    return false;
}

static const uint8_t *
last_of(struct bytes text, char c)
{
    return text.len > 0 ? memrchr(text.ptr, c, text.len) : NULL;
}

static bool
part_find(const struct token_uri *uri, int64_t part, struct bytes *out)
{
    const uint8_t *end = uri->path.ptr + uri->path.len;
    const uint8_t *slash = last_of(uri->path, '/');
    const uint8_t *name = slash + 1; /* a path begins with one */
    const uint8_t *dot = memchr(name, '.', (size_t) (end - name));

    if (dot == NULL)
        dot = end;
    switch (part) {
    case PART_SCHEME:
        *out = uri->scheme;
        return true;
    case PART_HOST:
        *out = uri->host;
        return true;
    case PART_PORT:
        *out = uri->port;
        return true;
    case PART_PATH:
        *out = uri->path;
        return true;
    case PART_PARENT_PATH:
        *out = bytes_of(uri->path.ptr, (size_t) (slash - uri->path.ptr));
        return true;
    case PART_FILENAME:
        *out = bytes_of(name, (size_t) (end - name));
        return true;
    case PART_STEM:
        *out = bytes_of(name, (size_t) (dot - name));
        return true;
    case PART_EXTENSION:
        *out = bytes_of(dot, (size_t) (end - dot));
        return true;
    }
    return false;
}

/* One part's map of matches: all have to hold, and one has to be there. */
static bool
matches_hold(struct token_cbor *cbor, struct bytes value)
{
    uint64_t count;
    int64_t match;
    struct bytes wanted;

    if (!token_cbor_take(cbor, TOKEN_CBOR_MAP, &count) || count == 0)
        return false;
    for (; count > 0; count--) {
        if (!token_cbor_integer_take(cbor, &match)
            || !token_cbor_string_take(cbor,
                                       match == MATCH_SHA256 ? TOKEN_CBOR_BYTES
                                                             : TOKEN_CBOR_TEXT,
                                       &wanted)
            || !part_compare(value, match, wanted))
            return false;
    }
    return true;
}

bool
token_catu_holds(const struct token_request *request, struct token_cbor *cbor,
                 bool *has_path)
{
    struct token_uri uri;
    struct bytes value;
    uint64_t count;
    int64_t part;

    *has_path = false;
    if (!token_uri_make(request, &uri) || uri.path.len == 0
        || uri.path.ptr[0] != '/'
        || !token_cbor_take(cbor, TOKEN_CBOR_MAP, &count))
        return false;
    for (; count > 0; count--) {
        if (!token_cbor_integer_take(cbor, &part)
            || !part_find(&uri, part, &value) || !matches_hold(cbor, value))
            return false;
        *has_path |= part == PART_PATH || part == PART_PARENT_PATH;
    }
    return true;
}
