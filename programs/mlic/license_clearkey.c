/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ClearKey (W3C Encrypted Media Extensions §9.1.3, §9.1.4):
 *
 *   {"kids": [BASE64URL ...], "type": "temporary"}
 *   {"keys": [{"kty": "oct", "kid": BASE64URL, "k": BASE64URL}, ...],
 *    "type": "temporary"}
 *
 * The key is seen by the page and whoever has the browser: nothing of a policy is
 * kept there but which keys are given.
 */

#include "programs/mlic/license.h"

#include "core/base64url.h"
#include "core/err.h"

#include <jansson.h>

#define KEY_TEXT_LEN BASE64URL_LEN(CRYPT_KEY_SIZE)

static int
kids_read(const json_t *list, struct license_request *out, const char **reason)
{
    const json_t *one;
    size_t i;
    *reason = "\"kids\" must be a list of KIDs";
    if (!json_is_array(list) || json_array_size(list) == 0)
        return ERR_INVALID;
    json_array_foreach(list, i, one)
    {
        uint8_t kid[CRYPT_KEY_SIZE];
        const struct bytes text =
            bytes_of(json_string_value(one), json_string_length(one));
        *reason = "a KID is not 16 bytes in base64url";
        if (text.len != KEY_TEXT_LEN || !base64url_decode(text, kid))
            return ERR_INVALID;
        *reason = "more than 128 KIDs";
        if (license_kid_add(out, kid) != 0)
            return ERR_LIMIT;
    }
    return 0;
}

static int
clearkey_read(struct bytes body, struct license_request *out,
              const char **reason)
{
    json_t *json = json_loadb((const char *) body.ptr, body.len,
                              JSON_REJECT_DUPLICATES, NULL);
    const json_t *type = json_object_get(json, "type");
    const char *text = json_string_value(type);
    int err = ERR_INVALID;
    if (!json_is_object(json))
        *reason = "it is no JSON object";
    else if (type != NULL
             && (text == NULL
                 || (strcmp(text, "temporary") != 0
                     && strcmp(text, "persistent-license") != 0)))
        *reason = "\"type\" is neither \"temporary\" nor "
                  "\"persistent-license\"";
    else
        err = kids_read(json_object_get(json, "kids"), out, reason);
    out->is_persistent = text != NULL && strcmp(text, "temporary") != 0;
    json_decref(json);
    return err;
}

static void
key_append(const uint8_t bytes[CRYPT_KEY_SIZE], struct buffer *out)
{
    char text[KEY_TEXT_LEN];
    base64url_encode(bytes_of(bytes, CRYPT_KEY_SIZE), text);
    buffer_append(out, text, sizeof text);
    explicit_bzero(text, sizeof text);
}

static void
clearkey_write(const struct license_request *request,
               const struct license_key *keys, struct buffer *out)
{
    const char *comma = "";
    buffer_append_text(out, "{\"keys\":[");
    for (unsigned i = 0; i < request->kid_count; i++) {
        if (keys[i].refusal != REFUSAL_NONE)
            continue;
        buffer_append_text(out, comma);
        buffer_append_text(out, "{\"kty\":\"oct\",\"kid\":\"");
        key_append(request->kids[i], out);
        buffer_append_text(out, "\",\"k\":\"");
        key_append(keys[i].key.key, out);
        buffer_append_text(out, "\"}");
        comma = ",";
    }
    buffer_append_text(out, request->is_persistent
                                ? "],\"type\":\"persistent-license\"}"
                                : "],\"type\":\"temporary\"}");
}

const struct license_system license_clearkey = {
    .content_type = "application/json",
    .read = clearkey_read,
    .write = clearkey_write,
};
