/* SPDX-License-Identifier: Apache-2.0 */
/* JSON by jansson, base64 by OpenSSL. */

#include "platform/consul_answer.h"

#include "core/err.h"
#include "platform/http.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>

/* NULL unless it is an array. jansson limits the depth itself. */
static json_t *
array_load(struct bytes json)
{
    json_t *root = json_loadb((const char *) json.ptr, json.len, 0, NULL);
    if (json_is_array(root))
        return root;
    json_decref(root);
    return NULL;
}

/* Text without a zero byte in it that fits, or an error. A missing or null one
 * is empty. */
static int
text_copy(const json_t *object, const char *name, char *out, size_t size)
{
    const json_t *value = json_object_get(object, name);
    if (value == NULL || json_is_null(value)) {
        out[0] = '\0';
        return 0;
    }
    const char *text = json_string_value(value);
    if (text == NULL || strlen(text) != json_string_length(value))
        return ERR_INVALID;
    if (strlen(text) >= size)
        return ERR_LIMIT;
    memcpy(out, text, strlen(text) + 1);
    return 0;
}

static int
id_copy(const json_t *object, const char *name, char out[CONSUL_ID_SIZE])
{
    char id[CONSUL_ID_SIZE];
    const int err = text_copy(object, name, id, sizeof id);
    if (err != 0)
        return err;
    for (const char *p = id; *p != '\0'; p++)
        if (!isalnum((unsigned char) *p) && *p != '-')
            return ERR_INVALID;
    memcpy(out, id, sizeof id);
    return 0;
}

static int
base64_copy(const json_t *object, const char *name, uint8_t *out, size_t size,
            size_t *len)
{
    const json_t *value = json_object_get(object, name);
    *len = 0;
    if (value == NULL || json_is_null(value))
        return 0;
    const char *text = json_string_value(value);
    const size_t text_len = json_string_length(value);
    if (text == NULL || text_len % 4 != 0)
        return ERR_INVALID;
    if (text_len / 4 * 3 > size)
        return ERR_LIMIT;
    const int n = EVP_DecodeBlock(out, (const uint8_t *) text, (int) text_len);
    if (n < 0)
        return ERR_INVALID;
    /* what EVP_DecodeBlock counts is with the padding */
    size_t padding = 0;
    while (padding < 2 && padding < text_len
           && text[text_len - 1 - padding] == '=')
        padding++;
    *len = (size_t) n - padding;
    return 0;
}

int
consul_index_parse(const char *text, uint64_t *out)
{
    uint64_t index;
    if (!bytes_number(bytes_of_text(text), &index))
        return ERR_INVALID;
    *out = index;
    return 0;
}

static int
key_read(const json_t *entry, struct consul_key *out)
{
    const json_t *index = json_object_get(entry, "ModifyIndex");
    if (!json_is_integer(index) || json_integer_value(index) < 0)
        return ERR_INVALID;
    out->modify_index = (uint64_t) json_integer_value(index);
    const int err = id_copy(entry, "Session", out->session);
    if (err != 0)
        return err;
    return base64_copy(entry, "Value", out->value, sizeof out->value,
                       &out->value_len);
}

int
consul_key_parse(struct bytes json, struct consul_key *out)
{
    json_t *array = array_load(json);
    struct consul_key key;
    int err = ERR_INVALID;
    if (json_array_size(array) == 1)
        err = key_read(json_array_get(array, 0), &key);
    json_decref(array);
    if (err == 0)
        *out = key;
    return err;
}

int
consul_id_parse(struct bytes json, char out[CONSUL_ID_SIZE])
{
    json_t *object = json_loadb((const char *) json.ptr, json.len, 0, NULL);
    char id[CONSUL_ID_SIZE] = "";
    int err = id_copy(object, "ID", id);
    if (err == 0 && id[0] == '\0')
        err = ERR_INVALID;
    json_decref(object);
    if (err == 0)
        memcpy(out, id, sizeof id);
    return err;
}

int
consul_session_parse(struct bytes json, bool *exists)
{
    json_t *array = array_load(json);
    if (array == NULL)
        return ERR_INVALID;
    *exists = json_array_size(array) > 0;
    json_decref(array);
    return 0;
}

int
consul_events_parse(struct bytes json,
                    void (*each)(struct bytes payload, void *context),
                    void *context)
{
    uint8_t payload[CONSUL_PAYLOAD_SIZE];
    size_t i, len;
    json_t *event, *array = array_load(json);
    if (array == NULL)
        return ERR_INVALID;
    json_array_foreach(array, i, event)
        /* others may fire events of that name */
        if (base64_copy(event, "Payload", payload, sizeof payload, &len) == 0)
            each(bytes_of(payload, len), context);
    json_decref(array);
    return 0;
}

/* Whether there is one. */
static bool
service_url(const json_t *entry, char out[CONSUL_URL_SIZE])
{
    const json_t *service = json_object_get(entry, "Service");
    const json_t *port = json_object_get(service, "Port");
    char address[256];
    if (text_copy(json_object_get(service, "Meta"), "url", out, CONSUL_URL_SIZE)
        != 0)
        return false;
    if (out[0] != '\0')
        return http_url_is_valid(out);
    if (text_copy(service, "Address", address, sizeof address) != 0
        || (address[0] == '\0'
            && text_copy(json_object_get(entry, "Node"), "Address", address,
                         sizeof address)
                   != 0))
        return false;
    const bool is_v6 = strchr(address, ':') != NULL;
    snprintf(out, CONSUL_URL_SIZE, "http://%s%s%s:%lld", is_v6 ? "[" : "",
             address, is_v6 ? "]" : "", (long long) json_integer_value(port));
    return http_url_is_valid(out);
}

int
consul_services_parse(struct bytes json, struct consul_services *out)
{
    size_t i;
    json_t *entry, *array = array_load(json);
    if (array == NULL)
        return ERR_INVALID;
    out->count = 0;
    json_array_foreach(array, i,
                       entry) if (out->count < CONSUL_SERVICES_MAX
                                  && service_url(entry, out->urls[out->count]))
        out->count++;
    json_decref(array);
    return 0;
}
