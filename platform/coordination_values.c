/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and writes the values in the KV. */

#include "platform/coordination_values.h"

#include "core/err.h"
#include "platform/http.h"

/* Takes what is before the separator, and the separator. */
static bool
word_take(struct bytes *rest, char separator, struct bytes *out)
{
    const uint8_t *end =
        rest->len == 0 ? NULL : memchr(rest->ptr, separator, rest->len);
    if (end == NULL)
        return false;
    *out = bytes_of(rest->ptr, (size_t) (end - rest->ptr));
    *rest = bytes_of(end + 1, rest->len - out->len - 1);
    return true;
}

static int
url_take(struct bytes *rest, char out[COORDINATION_URL_SIZE])
{
    struct bytes url;
    if (!word_take(rest, '\n', &url) || memchr(url.ptr, '\0', url.len) != NULL)
        return ERR_INVALID;
    if (url.len >= COORDINATION_URL_SIZE)
        return ERR_LIMIT;
    memcpy(out, url.ptr, url.len);
    out[url.len] = '\0';
    return http_url_is_valid(out) ? 0 : ERR_INVALID;
}

int
leader_value_parse(struct bytes value, struct leader_value *out)
{
    struct leader_value leader;
    struct bytes term;
    if (!word_take(&value, ' ', &term) || !bytes_number(term, &leader.term))
        return ERR_INVALID;
    const int err = url_take(&value, leader.url);
    if (err != 0)
        return err;
    if (value.len != 0)
        return ERR_INVALID;
    *out = leader;
    return 0;
}

int
table_value_parse(struct bytes value, struct table_value *out)
{
    struct table_value table;
    struct table_version inside;
    struct bytes version;
    if (!word_take(&value, ' ', &version)
        || table_version_parse(version, &table.version) != 0)
        return ERR_INVALID;
    int err = url_take(&value, table.url);
    table.encoded = value;
    if (err == 0 && value.len > 0) {
        err = table_peek_version(value, &inside);
        if (err == 0 && table_version_compare(inside, table.version) != 0)
            err = ERR_INVALID;
    }
    if (err == 0)
        *out = table;
    return err;
}

void
leader_value_write(struct buffer *out, uint64_t term, const char *url)
{
    buffer_printf(out, "%llu %s\n", (unsigned long long) term, url);
}

void
table_value_write(struct buffer *out, struct table_version version,
                  const char *url, struct bytes encoded)
{
    buffer_printf(out, "%llu.%llu %s\n", (unsigned long long) version.term,
                  (unsigned long long) version.sequence, url);
    buffer_append_bytes(out, encoded);
}
