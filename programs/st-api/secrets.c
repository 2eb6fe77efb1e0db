/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the key files. Of the admin key only a digest is kept, which is also
 * what makes the comparison independent of the length of what is presented.
 */

#include "programs/st-api/secrets.h"

#include "core/err.h"
#include "platform/files.h"
#include "platform/key_file.h"
#include "platform/log.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdlib.h>

#define KEY_FILE_SIZE_MAX (64u << 10) /* bytes */

struct secrets {
    struct token_keys *token_keys;
    struct entitlement_key *entitlement_key;
    uint8_t admin_digest[SHA256_DIGEST_LENGTH];
};

static void
buffer_wipe(struct buffer *b)
{
    if (b->ptr != NULL)
        explicit_bzero(b->ptr, b->capacity);
    buffer_fini(b);
}

static int
token_keys_load(const char *path, struct token_keys **out)
{
    struct buffer text;
    buffer_init(&text, KEY_FILE_SIZE_MAX);
    unsigned line = 0;
    errno = 0;
    int err = file_read(path, &text);
    if (err != 0) {
        log_error("keys: cannot read %s (%s)", path,
                  err == ERR_IO && errno != 0 ? strerror(errno)
                                              : err_text(err));
        goto done;
    }
    err = token_keys_parse(buffer_bytes(&text), out, &line);
    if (err == 0 && token_keys_can_sign(*out))
        goto done;
    if (err == 0) {
        err = ERR_INVALID;
        log_error("keys: refuse %s (none of its keys signs)", path);
    } else if (line > 0) {
        log_error("keys: refuse %s:%u (expected \"<id 0..255> <64 hex "
                  "digits>\": %s)",
                  path, line, err_text(err));
    } else {
        log_error("keys: refuse %s (it holds no key: %s)", path, err_text(err));
    }
done:
    buffer_wipe(&text);
    return err;
}

static int
admin_key_load(const char *path, uint8_t digest[SHA256_DIGEST_LENGTH])
{
    char key[KEY_SIZE];
    const int err = key_file_read(path, key);
    if (err == 0)
        SHA256((const uint8_t *) key, strlen(key), digest);
    explicit_bzero(key, sizeof key);
    return err;
}

int
secrets_load(const struct secrets_files *files, struct secrets **out)
{
    struct secrets *secrets = calloc(1, sizeof *secrets);
    if (secrets == NULL)
        return ERR_MEMORY;
    int err = token_keys_load(files->token_keys, &secrets->token_keys);
    if (err == 0)
        err = admin_key_load(files->admin_key, secrets->admin_digest);
    if (err == 0 && files->entitlement_key != NULL)
        err =
            entitlement_key_read(files->entitlement_key, files->entitlement_kid,
                                 &secrets->entitlement_key);
    if (err != 0) {
        secrets_free(secrets);
        return err;
    }
    *out = secrets;
    return 0;
}

void
secrets_free(struct secrets *secrets)
{
    if (secrets == NULL)
        return;
    token_keys_free(secrets->token_keys);
    entitlement_key_free(secrets->entitlement_key);
    explicit_bzero(secrets, sizeof *secrets);
    free(secrets);
}

struct token_keys *
secrets_token_keys(struct secrets *secrets)
{
    return secrets->token_keys;
}

const struct entitlement_key *
secrets_entitlement_key(const struct secrets *secrets)
{
    return secrets->entitlement_key;
}

bool
secrets_is_admin_key(const struct secrets *secrets, struct bytes key)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256(key.ptr, key.len, digest);
    return CRYPTO_memcmp(digest, secrets->admin_digest, sizeof digest) == 0;
}
