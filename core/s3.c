/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See core/s3.h. What objects are called here never needs percent-encoding, so
 * prefixes that would are refused.
 */

#include "core/s3.h"
#include "core/err.h"

#include <stdio.h>

#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#define HOST_LEN_MAX 190 /* bytes, with room for the bucket and the port */

static bool
consists_of(const char *text, size_t len, const char *characters)
{
    return len > 0 && strspn(text, characters) >= len;
}

/* "a/b": no part is empty, "." or "..", which stores and proxies read as they
 * like. */
static bool
prefix_is_valid(const char *text, size_t len)
{
    if (!consists_of(text, len, ALNUM "._-/"))
        return false;
    for (size_t at = 0; at <= len;) {
        const size_t part = strcspn(text + at, "/");
        if (part == 0 || (part == 1 && text[at] == '.')
            || (part == 2 && text[at] == '.' && text[at + 1] == '.'))
            return false;
        at += part + 1;
    }
    return true;
}

static int
bucket_read(const char *url, struct s3_place *out, const char **reason)
{
    *reason = "expected s3://BUCKET or s3://BUCKET/PREFIX, a bucket of 3 to 63 "
              "of A-Z a-z 0-9 . _ -";
    if (strncmp(url, "s3://", 5) != 0)
        return ERR_INVALID;
    url += 5;
    const size_t len = strcspn(url, "/");
    if (len < 3 || len >= sizeof out->bucket
        || !consists_of(url, len, ALNUM "._-")
        || !consists_of(url, 1, ALNUM)) /* no "..", nothing hidden */
        return ERR_INVALID;
    snprintf(out->bucket, sizeof out->bucket, "%.*s", (int) len, url);
    const char *prefix = url[len] == '/' ? url + len + 1 : url + len;
    char text[S3_PREFIX_SIZE];
    size_t prefix_len = strlen(prefix);
    if (prefix_len > 0 && prefix[prefix_len - 1] == '/')
        prefix_len--;
    out->prefix[0] = '\0';
    if (prefix[0] == '\0')
        return 0;
    *reason = "expected a prefix of A-Z a-z 0-9 . _ - in parts with a slash "
              "between them";
    if (prefix_len == 0 || prefix_len + 2 > sizeof text)
        return ERR_INVALID;
    snprintf(text, sizeof text, "%.*s", (int) prefix_len, prefix);
    if (!prefix_is_valid(text, prefix_len))
        return ERR_INVALID;
    snprintf(out->prefix, sizeof out->prefix, "%.*s/",
             (int) sizeof out->prefix - 2, text);
    return 0;
}

static int
endpoint_read(const char *endpoint, bool is_virtual_hosted,
              struct s3_place *out, const char **reason)
{
    uint64_t port = 0;
    *reason = "expected an endpoint of http[s]://HOST[:PORT]";
    out->is_tls = strncmp(endpoint, "https://", 8) == 0;
    if (!out->is_tls && strncmp(endpoint, "http://", 7) != 0)
        return ERR_INVALID;
    const char *host = endpoint + (out->is_tls ? 8 : 7);
    size_t len = strcspn(host, "/");
    if (host[len] == '/' && host[len + 1] != '\0')
        return ERR_INVALID;
    const size_t name_len = strcspn(host, ":/");
    if (name_len > HOST_LEN_MAX || !consists_of(host, name_len, ALNUM ".-"))
        return ERR_INVALID;
    const unsigned port_default = out->is_tls ? 443 : 80;
    if (name_len == len)
        port = port_default;
    else if (len - name_len > 6
             || !bytes_number(bytes_of(host + name_len + 1, len - name_len - 1),
                              &port)
             || port < 1 || port > 65535)
        return ERR_INVALID;
    const char *bucket = is_virtual_hosted ? out->bucket : "";
    const char *dot = is_virtual_hosted ? "." : "";
    snprintf(out->address, sizeof out->address, "%s%s%.*s:%u", bucket, dot,
             (int) name_len, host, (unsigned) port);
    /* clients leave out the port that a scheme has anyway */
    memcpy(out->host, out->address, sizeof out->host);
    if (port == port_default)
        *strrchr(out->host, ':') = '\0';
    return 0;
}

int
s3_place_read(const char *url, const char *endpoint, const char *region,
              const char *addressing, struct s3_place *out, const char **reason)
{
    struct s3_place place = {0};
    const bool is_path = addressing == NULL || strcmp(addressing, "path") == 0;
    int err = bucket_read(url, &place, reason);
    if (err == 0)
        err = endpoint_read(endpoint, !is_path, &place, reason);
    if (err != 0)
        return err;
    if (region == NULL)
        region = S3_REGION_DEFAULT;
    if (strlen(region) >= sizeof place.region
        || !consists_of(region, strlen(region), ALNUM "_-")) {
        *reason = "expected a region of 1 to 63 of A-Z a-z 0-9 _ -";
        return ERR_INVALID;
    }
    if (!is_path && strcmp(addressing, "virtual-hosted") != 0) {
        *reason = "expected an addressing of path or virtual-hosted";
        return ERR_INVALID;
    }
    if (!is_path && strchr(place.bucket, '_') != NULL) {
        *reason = "a bucket with an underscore cannot be part of a host's "
                  "name: use path addressing";
        return ERR_INVALID;
    }
    memcpy(place.region, region, strlen(region) + 1);
    if (is_path)
        snprintf(place.root, sizeof place.root, "/%s/", place.bucket);
    else
        snprintf(place.root, sizeof place.root, "/");
    snprintf(place.base, sizeof place.base, "%s%s", place.root, place.prefix);
    *out = place;
    return 0;
}

/* ---- credentials ---- */

static struct bytes
trimmed(struct bytes text)
{
    while (text.len > 0 && text.ptr[0] <= ' ')
        text = bytes_of(text.ptr + 1, text.len - 1);
    while (text.len > 0 && text.ptr[text.len - 1] <= ' ')
        text.len--;
    return text;
}

int
s3_credential_set(struct bytes value, char *out, size_t size)
{
    bool is_valid = value.len > 0 && value.len < size;
    for (size_t i = 0; is_valid && i < value.len; i++)
        is_valid = value.ptr[i] > ' ' && value.ptr[i] < 0x7f;
    if (!is_valid)
        return ERR_INVALID;
    memcpy(out, value.ptr, value.len);
    out[value.len] = '\0';
    return 0;
}

struct credential {
    const char *name;
    char *out;
    size_t size;
};

static int
value_take(struct bytes line, const struct credential *credentials,
           size_t count, const char **reason)
{
    const uint8_t *equals = memchr(line.ptr, '=', line.len);
    if (equals == NULL) {
        *reason = "expected NAME = VALUE";
        return ERR_INVALID;
    }
    const struct bytes name =
        trimmed(bytes_of(line.ptr, (size_t) (equals - line.ptr)));
    const struct bytes value = trimmed(
        bytes_of(equals + 1, (size_t) (line.ptr + line.len - equals - 1)));
    for (size_t i = 0; i < count; i++) {
        const struct credential *one = &credentials[i];
        if (!bytes_equal(name, bytes_of_text(one->name)))
            continue;
        if (one->out[0] != '\0') {
            *reason = "is given before";
            return ERR_INVALID;
        }
        if (s3_credential_set(value, one->out, one->size) != 0) {
            *reason = "the value is empty, too long, or has a space in it";
            return ERR_INVALID;
        }
    }
    return 0;
}

int
s3_credentials_read(struct bytes text, struct s3_credentials *out,
                    unsigned *line, const char **reason)
{
    struct s3_credentials found;
    const struct credential credentials[] = {
        {"aws_access_key_id", found.access_key, sizeof found.access_key},
        {"aws_secret_access_key", found.secret_key, sizeof found.secret_key},
        {"aws_session_token", found.session_token, sizeof found.session_token},
    };
    bool is_ours = true; /* the profile */
    int err = 0;
    memset(&found, 0, sizeof found);
    for (*line = 0; text.len > 0 && err == 0;) {
        const uint8_t *end = memchr(text.ptr, '\n', text.len);
        const size_t len = end ? (size_t) (end - text.ptr) : text.len;
        const size_t step = end ? len + 1 : len;
        const struct bytes one = trimmed(bytes_of(text.ptr, len));
        ++*line;
        if (one.len > 0 && one.ptr[0] == '[')
            is_ours = bytes_equal(one, BYTES_LITERAL("[default]"));
        else if (is_ours && one.len > 0 && one.ptr[0] != '#'
                 && one.ptr[0] != ';')
            err = value_take(one, credentials, 3, reason);
        text = bytes_of(text.ptr + step, text.len - step);
    }
    if (err == 0
        && (found.access_key[0] == '\0' || found.secret_key[0] == '\0')) {
        *line = 0;
        *reason = "there is no aws_access_key_id and aws_secret_access_key, at "
                  "its beginning or under [default]";
        err = ERR_INVALID;
    }
    if (err == 0)
        *out = found;
    explicit_bzero(&found, sizeof found);
    return err;
}
