/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Widevine licenses are made by Google's cloud license service, or one of the
 * same form, for those who have a contract. It is asked by JSON in base64 within
 * JSON:
 *
 *   {"request": BASE64, "signature": BASE64, "signer": NAME}
 *   {"payload": the challenge, "provider", "content_id", "content_key_specs":
 *    [{"key_id", "key", "security_level", "required_output_protection":
 *      {"hdcp"}}], "policy_overrides": {..}}
 *
 * The names are those that Microsoft documents for its own service of that form
 * ("Widevine license template overview", learn.microsoft.com); the signature, AES-
 * 256-CBC of the SHA-1 of the request, is Shaka Packager's. Nothing here was
 * tried with Google's service.
 */

#include "programs/mlic/license_widevine.h"

#include "core/err.h"
#include "platform/key_file.h"
#include "platform/log.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#define KEY_TEXT_LEN (2 * 32 + 1 + 2 * 16)

int
widevine_signer_read(const char *path, const char *name,
                     struct widevine_signer *out)
{
    char text[KEY_SIZE] = "";
    size_t len;
    int err = key_file_owner_check(path);
    if (err == 0)
        err = key_file_read(path, text);
    const bool is_split = strlen(text) == KEY_TEXT_LEN && text[64] == ':';
    if (is_split)
        text[64] = '\0';
    if (err == 0
        && (!is_split
            || OPENSSL_hexstr2buf_ex(out->key, sizeof out->key, &len, text,
                                     '\0')
                   != 1
            || OPENSSL_hexstr2buf_ex(out->iv, sizeof out->iv, &len, text + 65,
                                     '\0')
                   != 1)) {
        log_error("keys: refuse %s (it must hold 64 hex digits, a colon and "
                  "32 hex digits)",
                  path);
        err = ERR_INVALID;
    }
    if (err == 0 && (name == NULL || strlen(name) >= sizeof out->name)) {
        log_error("keys: a Widevine signer needs a name of up to 64 bytes");
        err = ERR_INVALID;
    }
    if (err == 0)
        memcpy(out->name, name, strlen(name) + 1);
    explicit_bzero(text, sizeof text);
    return err;
}

/* NULL: no memory. */
static json_t *
base64_json(struct bytes bytes)
{
    uint8_t *text = malloc(bytes.len / 3 * 4 + 5);
    if (text == NULL)
        return NULL;
    const int len = EVP_EncodeBlock(text, bytes.ptr, (int) bytes.len);
    json_t *json = json_stringn((const char *) text, (size_t) len);
    explicit_bzero(text, (size_t) len);
    free(text);
    return json;
}

/* The levels that ask for hardware: of sound only its decryption is there. */
static int
level_of(const struct license_key *key)
{
    if (key->policy.security == SECURITY_SOFTWARE)
        return 1;
    return (key->name.classes & 1u << CRYPT_CLASS_AUDIO) != 0 ? 3 : 5;
}

static json_t *
keys_json(const struct license_request *request, const struct license_key *keys)
{
    static const char *const hdcp[] = {[OUTPUT_NONE] = "HDCP_NONE",
                                       [OUTPUT_HDCP_1] = "HDCP_V1",
                                       [OUTPUT_HDCP_2_2] = "HDCP_V2_2"};
    json_t *list = json_array();
    for (unsigned i = 0; i < request->kid_count; i++) {
        if (keys[i].refusal != REFUSAL_NONE)
            continue;
        json_array_append_new(
            list,
            json_pack("{s:o, s:o, s:i, s:{s:s}}", "key_id",
                      base64_json(bytes_of(request->kids[i], CRYPT_KEY_SIZE)),
                      "key",
                      base64_json(bytes_of(keys[i].key.key, CRYPT_KEY_SIZE)),
                      "security_level", level_of(&keys[i]),
                      "required_output_protection", "hdcp",
                      hdcp[keys[i].policy.output]));
    }
    return list;
}

/* One policy for all keys: the strictest. */
static json_t *
policy_json(const struct license_request *request,
            const struct license_key *keys)
{
    uint32_t license_s = 0, playback_s = 0;
    bool is_persistent = true;
    for (unsigned i = 0; i < request->kid_count; i++) {
        const struct license_policy *policy = &keys[i].policy;
        if (keys[i].refusal != REFUSAL_NONE)
            continue;
        is_persistent = is_persistent && policy->is_persistent;
        if (license_s == 0 || policy->license_s < license_s)
            license_s = policy->license_s;
        if (playback_s == 0
            || (policy->playback_s != 0 && policy->playback_s < playback_s))
            playback_s = policy->playback_s;
    }
    json_t *json = json_pack(
        "{s:b, s:b, s:b, s:I}", "can_play", 1, "can_persist", is_persistent,
        "can_renew", 0, "license_duration_seconds", (json_int_t) license_s);
    if (playback_s > 0)
        json_object_set_new(json, "playback_duration_seconds",
                            json_integer(playback_s));
    return json;
}

/* False: it could not be made. */
static bool
sign(const struct widevine_signer *signer, struct bytes request,
     uint8_t out[32])
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned hash_len;
    int len, more;
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    const bool is_done =
        cipher != NULL
        && EVP_Digest(request.ptr, request.len, hash, &hash_len, EVP_sha1(),
                      NULL)
               == 1
        && EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, signer->key,
                              signer->iv)
               == 1
        && EVP_EncryptUpdate(cipher, out, &len, hash, (int) hash_len) == 1
        && EVP_EncryptFinal_ex(cipher, out + len, &more) == 1;
    EVP_CIPHER_CTX_free(cipher);
    return is_done;
}

static void
widevine_write(const struct license_request *request,
               const struct license_key *keys, struct buffer *out)
{
    const struct widevine_signer *signer = request->signer;
    const char *content = "";
    uint8_t signature[32];
    char *whole = NULL;
    for (unsigned i = 0; i < request->kid_count; i++)
        if (keys[i].refusal == REFUSAL_NONE)
            content = keys[i].name.content;
    json_t *json =
        json_pack("{s:o, s:s, s:o, s:o, s:o}", "payload",
                  base64_json(request->body), "provider", signer->name,
                  "content_id", base64_json(bytes_of_text(content)),
                  "content_key_specs", keys_json(request, keys),
                  "policy_overrides", policy_json(request, keys));
    char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT);
    json_decref(json);
    json = NULL;
    if (text != NULL && sign(signer, bytes_of_text(text), signature))
        json = json_pack("{s:o, s:o, s:s}", "request",
                         base64_json(bytes_of_text(text)), "signature",
                         base64_json(bytes_of(signature, sizeof signature)),
                         "signer", signer->name);
    if (json != NULL)
        whole = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    if (whole != NULL)
        buffer_append_text(out, whole);
    else
        out->err = ERR_MEMORY;
    free(whole);
    free(text);
}

int
widevine_answer_read(struct bytes answer, struct buffer *out,
                     const char **reason)
{
    json_t *json = json_loadb((const char *) answer.ptr, answer.len,
                              JSON_REJECT_DUPLICATES, NULL);
    const char *status = json_string_value(json_object_get(json, "status"));
    const json_t *license = json_object_get(json, "license");
    const size_t len = json_string_length(license);
    const char *text = json_string_value(license);
    int err = ERR_INVALID;
    if (status == NULL) {
        *reason = "answered no JSON with a status";
    } else if (strcmp(status, "OK") != 0) {
        *reason = "refused";
        log_warn("widevine: the service answers %.64s", status);
    } else if (len == 0 || len % 4 != 0 || len > (1u << 20)) {
        *reason = "answered without a license in base64";
    } else {
        uint8_t *bytes = malloc(len);
        const int size =
            bytes == NULL
                ? -1
                : EVP_DecodeBlock(bytes, (const uint8_t *) text, (int) len);
        const size_t padding =
            (size_t) (text[len - 1] == '=') + (text[len - 2] == '=');
        *reason = "answered without a license in base64";
        if (size > (int) padding) {
            buffer_append(out, bytes, (size_t) size - padding);
            err = out->err;
        }
        free(bytes);
    }
    json_decref(json);
    return err;
}

const struct license_system license_widevine = {
    .content_type = "application/octet-stream",
    .upstream_type = "application/json",
    .read = widevine_challenge_read,
    .write = widevine_write,
    .take = widevine_answer_read,
};
