/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   challenge: type = 1 (1: a license request), msg = 2
 *     license request: content_id = 2
 *       content_id: widevine_pssh_data = 1
 *         pssh_data = 1 (repeated), license_type = 2 (2: to be stored)
 *           WidevinePsshData: key_ids = 2 (repeated)
 *
 * What else is there is the service's to read.
 */

#include "programs/mlic/license_widevine.h"

#include "core/err.h"

#define TYPE_LICENSE_REQUEST 1
#define TYPE_CERTIFICATE_REQUEST 4
#define LICENSE_TYPE_OFFLINE 2

struct field {
    uint64_t number, value; /* of varints */
    struct bytes bytes;     /* of those with a length; else ptr is NULL */
};

static bool
varint_take(struct bytes *rest, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64 && rest->len > 0; shift += 7) {
        const uint8_t byte = *rest->ptr;
        *rest = bytes_of(rest->ptr + 1, rest->len - 1);
        *out |= (uint64_t) (byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

static bool
field_take(struct bytes *rest, struct field *out)
{
    uint64_t tag, size = 0;
    *out = (struct field){0};
    if (!varint_take(rest, &tag))
        return false;
    out->number = tag >> 3;
    switch (tag & 7) {
    case 0:
        return varint_take(rest, &out->value);
    case 1:
        size = 8;
        break;
    case 2:
        if (!varint_take(rest, &size))
            return false;
        break;
    case 5:
        size = 4;
        break;
    default:
        return false;
    }
    if (size > rest->len)
        return false;
    if ((tag & 7) == 2)
        out->bytes = bytes_of(rest->ptr, size);
    *rest = bytes_of(rest->ptr + size, rest->len - size);
    return true;
}

/* The last of that number, as Protocol Buffers have it. */
static bool
message_find(struct bytes message, uint64_t number, struct field *out)
{
    struct field field;
    bool is_found = false;
    while (message.len > 0) {
        if (!field_take(&message, &field))
            return false;
        if (field.number == number) {
            *out = field;
            is_found = true;
        }
    }
    return is_found;
}

int
widevine_pssh_read(struct bytes data, struct license_request *out,
                   const char **reason)
{
    struct field field;
    while (data.len > 0) {
        *reason = "its init data is no WidevinePsshData";
        if (!field_take(&data, &field))
            return ERR_INVALID;
        if (field.number != 2)
            continue;
        *reason = "a key_id is not 16 bytes";
        if (field.bytes.ptr == NULL || field.bytes.len != CRYPT_KEY_SIZE)
            return ERR_INVALID;
        *reason = "more than 128 KIDs";
        if (license_kid_add(out, field.bytes.ptr) != 0)
            return ERR_LIMIT;
    }
    *reason = "its init data has no key_ids";
    return out->kid_count > 0 ? 0 : ERR_INVALID;
}

int
widevine_challenge_read(struct bytes body, struct license_request *out,
                        const char **reason)
{
    struct field type, field;
    *reason = "it has more than 64 KiB";
    if (body.len > WIDEVINE_CHALLENGE_SIZE_MAX)
        return ERR_LIMIT;
    *reason = "it is no message of a Widevine client";
    if (!message_find(body, 1, &type))
        return ERR_INVALID;
    *reason = "it asks for a service certificate: give the player the "
              "license service's";
    if (type.value == TYPE_CERTIFICATE_REQUEST)
        return ERR_INVALID;
    *reason = "it is no license request for a content by its init data";
    if (type.value != TYPE_LICENSE_REQUEST || !message_find(body, 2, &field)
        || !message_find(field.bytes, 2, &field)
        || !message_find(field.bytes, 1, &field))
        return ERR_INVALID;
    struct bytes content = field.bytes;
    out->is_persistent =
        message_find(content, 2, &type) && type.value == LICENSE_TYPE_OFFLINE;
    while (content.len > 0 && field_take(&content, &field)) {
        if (field.number != 1)
            continue;
        const int err = widevine_pssh_read(field.bytes, out, reason);
        if (err != 0)
            return err;
    }
    return content.len == 0 && out->kid_count > 0 ? 0 : ERR_INVALID;
}
