/* SPDX-License-Identifier: Apache-2.0 */
/* The keys out of a document that was read: decrypted, each class's in each
 * period, and what is given of them. */
#include "media/crypt/cpix_private.h"

#include "core/err.h"

#include <stdlib.h>

struct cpix_content_key *
cpix_key_find(const struct cpix_document *document, const uint8_t *kid)
{
    for (size_t i = 0; i < document->key_count; i++)
        if (memcmp(document->keys[i].key.kid, kid, CRYPT_KEY_SIZE) == 0)
            return &document->keys[i];
    return NULL;
}

/* The first rule that fits counts. */
static int
key_choose(struct cpix_document *document, unsigned class, uint32_t period,
           const struct cpix_content_key **out)
{
    for (size_t i = 0; i < document->rule_count; i++) {
        const struct cpix_rule *rule = &document->rules[i];
        if (!(rule->classes & 1u << class)
            || (rule->period != CRYPT_PERIODS_MAX && rule->period != period))
            continue;
        const struct cpix_content_key *found =
            cpix_key_find(document, rule->kid);
        if (found == NULL || !found->has_value) {
            document->reason = "a ContentKey that a rule names has no value";
            return ERR_NOT_FOUND;
        }
        *out = found;
        return 0;
    }
    document->reason = "a key that was asked for has no ContentKeyUsageRule";
    return ERR_NOT_FOUND;
}

static void
key_take(const struct cpix_content_key *found, size_t index,
         struct cpix_answer *out)
{
    struct crypt_key *key = &out->keys[index];
    *key = found->key;
    if (!found->has_iv)
        memcpy(key->iv, key->kid, CRYPT_KEY_SIZE);
    for (size_t i = 0; i < CRYPT_SYSTEM_COUNT && out->signals != NULL; i++) {
        for (size_t j = 0; j < CRYPT_PART_COUNT; j++) {
            const struct cpix_part *part = &found->parts[i][j];
            if (part->len > 0)
                out->signals[index].parts[i][j] =
                    bytes_of(out->given + part->at, part->len);
        }
    }
}

/* Takes what is given, which the parts lie in. */
static int
answer_alloc(struct cpix_document *document, struct cpix_answer *out)
{
    const size_t count = document->count_max;
    struct buffer *given = &document->given;
    out->keys = calloc(count, sizeof *out->keys);
    if (out->keys == NULL)
        return ERR_MEMORY;
    out->key_count = count;
    out->size = count * sizeof *out->keys;
    if (given->len == 0)
        return 0;
    out->signals = calloc(count, sizeof *out->signals);
    if (out->signals == NULL)
        return ERR_MEMORY;
    uint8_t *less = realloc(given->ptr, given->len);
    out->given = less != NULL ? less : given->ptr;
    out->size += count * sizeof *out->signals + given->len;
    given->ptr = NULL;
    return 0;
}

static int
key_decrypt(struct cpix_document *document, const struct cpix_secrets *secrets,
            struct cpix_content_key *key)
{
    int err = key->has_mac ? cpix_key_decrypt(secrets, key->cipher, key->mac,
                                              key->key.key)
                           : ERR_CHECKSUM;
    if (err == ERR_CHECKSUM)
        document->reason =
            "an encrypted key's ValueMAC is missing or not of it";
    else if (err != 0)
        document->reason = "what is encrypted is no key of 16 bytes";
    key->has_value = err == 0;
    return err;
}

static int
secrets_unwrap(struct cpix_document *document, struct cpix_secrets *out)
{
    const struct cpix_wrapped *document_key = &document->document_key;
    const struct cpix_wrapped *mac_key = &document->mac_key;
    if (document_key->len == 0 || mac_key->len == 0) {
        document->reason =
            "no DeliveryData with our certificate has a "
            "DocumentKey and a MACMethod: the server is to encrypt "
            "to the certificate in the request";
        return ERR_NOT_FOUND;
    }
    document->reason = "a DocumentKey or MACMethod is no key for our "
                       "certificate by RSA-OAEP with SHA-1";
    const int err =
        cpix_secrets_unwrap(document->request->recipient,
                            bytes_of(document_key->bytes, document_key->len),
                            bytes_of(mac_key->bytes, mac_key->len), out);
    if (err == 0)
        document->reason = NULL;
    return err;
}

static int
keys_decrypt(struct cpix_document *document)
{
    struct cpix_secrets secrets;
    bool is_unwrapped = false;
    int err = 0;
    for (size_t i = 0; i < document->key_count && err == 0; i++) {
        if (!document->keys[i].has_cipher)
            continue;
        if (!is_unwrapped)
            err = secrets_unwrap(document, &secrets);
        is_unwrapped = true;
        if (err == 0)
            err = key_decrypt(document, &secrets, &document->keys[i]);
    }
    explicit_bzero(&secrets, sizeof secrets);
    return err;
}

int
cpix_answer_make(struct cpix_document *document, struct cpix_answer *out)
{
    struct cpix_answer made = {0};
    int err = keys_decrypt(document);
    if (err == 0)
        err = answer_alloc(document, &made);
    for (uint32_t p = 0; p < document->request->period_count; p++) {
        for (unsigned c = 0; c < CRYPT_CLASS_COUNT && err == 0; c++) {
            const struct cpix_content_key *found;
            err = key_choose(document, c, p, &found);
            if (err == 0)
                key_take(found, cpix_key_index(c, p), &made);
        }
    }
    if (err == 0)
        *out = made;
    else
        cpix_answer_fini(&made);
    return err;
}

void
cpix_answer_fini(struct cpix_answer *answer)
{
    if (answer->keys != NULL)
        explicit_bzero(answer->keys, answer->key_count * sizeof *answer->keys);
    free(answer->keys);
    free(answer->signals);
    free(answer->given);
    *answer = (struct cpix_answer){0};
}
