/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/mlic/callback_question.h"

#include "core/buffer.h"
#include "media/crypt/keys.h"
#include "programs/mlic/names.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>

/* Each text with its end: "a","bc" is not "ab","c". */
bool
callback_question_digest(const struct callback_question *question,
                         const char *service, const char *url,
                         uint8_t out[CALLBACK_QUESTION_SIZE])
{
    char network[NETWORK_TEXT_SIZE] = "", classes[12];
    const char *const parts[] = {
        service,           url,     question->viewer, question->content,
        question->version, classes, network};
    struct buffer text;
    snprintf(classes, sizeof classes, "%u", question->classes);
    if (question->network->family != 0)
        network_text(question->network, network);
    buffer_init(&text, 64u << 10);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        buffer_append(&text, parts[i], strlen(parts[i]) + 1);
    SHA256(text.ptr, text.len, out);
    const bool is_whole = text.err == 0;
    buffer_fini(&text);
    return is_whole;
}

static void
text_add(json_t *json, const char *name, const char *value)
{
    if (value[0] != '\0')
        json_object_set_new(json, name, json_string(value));
}

char *
callback_question_text(const struct callback_question *question,
                       const char *service)
{
    char network[NETWORK_TEXT_SIZE] = "";
    json_t *classes = json_array();
    for (unsigned i = 0; i < CRYPT_CLASS_COUNT; i++)
        if ((question->classes & 1u << i) != 0)
            json_array_append_new(classes, json_string(class_names[i]));
    json_t *json = json_pack("{s:s, s:s, s:o}", "service", service, "content",
                             question->content, "classes", classes);
    if (json == NULL)
        return NULL;
    if (question->network->family != 0)
        network_text(question->network, network);
    text_add(json, "viewer", question->viewer);
    text_add(json, "version", question->version);
    text_add(json, "play", question->play);
    text_add(json, "network", network);
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    return text;
}

bool
callback_question_sign(struct bytes secret, const char *time, const char *body,
                       char out[CALLBACK_SIGNATURE_SIZE])
{
    uint8_t mac[SHA256_DIGEST_LENGTH];
    struct buffer text;
    buffer_init(&text, 64u << 10);
    buffer_printf(&text, "%s.%s", time, body);
    const bool is_signed = text.err == 0
                           && HMAC(EVP_sha256(), secret.ptr, (int) secret.len,
                                   text.ptr, text.len, mac, NULL)
                                  != NULL;
    buffer_fini(&text);
    size_t len = (size_t) snprintf(out, CALLBACK_SIGNATURE_SIZE, "sha256=");
    for (size_t i = 0; i < sizeof mac && is_signed; i++)
        len += (size_t) snprintf(out + len, 3, "%02x", mac[i]);
    return is_signed;
}
