/* SPDX-License-Identifier: Apache-2.0 */
/* Master keys that a file's lines hold. */

#include "programs/mlic/master_keys_private.h"

#include "core/err.h"
#include "platform/files.h"
#include "platform/key_file.h"
#include "platform/log.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>

#define FILE_SIZE_MAX (64u << 10) /* bytes */
#define LINE_SIZE 1024            /* a comment may be long */

struct file_keys {
    struct master_keys super;
    uint8_t secrets[MASTER_KEYS_MAX][MASTER_KEY_SIZE];
    EVP_CIPHER_CTX *cipher;
};

static int
file_seal(struct master_keys *super, unsigned which, struct bytes name,
          const uint8_t nonce[WRAPPED_NONCE_SIZE],
          const uint8_t key[CRYPT_KEY_SIZE],
          uint8_t sealed[CRYPT_KEY_SIZE + WRAPPED_TAG_SIZE])
{
    struct file_keys *keys = (struct file_keys *) super;
    EVP_CIPHER_CTX *cipher = keys->cipher;
    int len;
    const bool is_sealed =
        EVP_EncryptInit_ex(cipher, EVP_aes_256_gcm(), NULL,
                           keys->secrets[which], nonce)
            == 1
        && EVP_EncryptUpdate(cipher, NULL, &len, name.ptr, (int) name.len) == 1
        && EVP_EncryptUpdate(cipher, sealed, &len, key, CRYPT_KEY_SIZE) == 1
        && EVP_EncryptFinal_ex(cipher, sealed + len, &len) == 1
        && EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, WRAPPED_TAG_SIZE,
                               sealed + CRYPT_KEY_SIZE)
               == 1;
    EVP_CIPHER_CTX_reset(cipher);
    return is_sealed ? 0 : ERR_IO;
}

static int
file_unseal(struct master_keys *super, unsigned which, struct bytes name,
            const uint8_t nonce[WRAPPED_NONCE_SIZE],
            const uint8_t sealed[CRYPT_KEY_SIZE + WRAPPED_TAG_SIZE],
            uint8_t key[CRYPT_KEY_SIZE])
{
    struct file_keys *keys = (struct file_keys *) super;
    EVP_CIPHER_CTX *cipher = keys->cipher;
    uint8_t tag[WRAPPED_TAG_SIZE], clear[CRYPT_KEY_SIZE];
    int len;
    memcpy(tag, sealed + CRYPT_KEY_SIZE, sizeof tag);
    int err = ERR_IO;
    if (EVP_DecryptInit_ex(cipher, EVP_aes_256_gcm(), NULL,
                           keys->secrets[which], nonce)
            == 1
        && EVP_DecryptUpdate(cipher, NULL, &len, name.ptr, (int) name.len) == 1
        && EVP_DecryptUpdate(cipher, clear, &len, sealed, sizeof clear) == 1
        && EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag)
               == 1)
        err = EVP_DecryptFinal_ex(cipher, clear + len, &len) == 1
                  ? 0
                  : ERR_CHECKSUM;
    if (err == 0)
        memcpy(key, clear, sizeof clear);
    explicit_bzero(clear, sizeof clear);
    EVP_CIPHER_CTX_reset(cipher);
    return err;
}

static void
file_close(struct master_keys *super)
{
    struct file_keys *keys = (struct file_keys *) super;
    EVP_CIPHER_CTX_free(keys->cipher);
    explicit_bzero(keys, sizeof *keys);
    free(keys);
}

/* "<number> <64 hex digits>", or a comment. */
static int
line_read(struct file_keys *keys, char *line)
{
    char *hex;
    if (*line == '\0' || *line == '#')
        return 0;
    errno = 0;
    const unsigned long number = strtoul(line, &hex, 10);
    const size_t gap = strspn(hex, " \t");
    if (*line < '0' || *line > '9' || errno != 0 || number > UINT32_MAX
        || gap == 0)
        return ERR_INVALID;
    hex += gap;
    hex[strcspn(hex, " \t\r")] = '\0';
    size_t len = 0;
    int err = master_keys_number_add(&keys->super, (uint32_t) number);
    if (err == 0
        && (strlen(hex) != 2 * MASTER_KEY_SIZE
            || OPENSSL_hexstr2buf_ex(keys->secrets[keys->super.count - 1],
                                     MASTER_KEY_SIZE, &len, hex, '\0')
                   != 1))
        err = ERR_INVALID;
    return err;
}

static int
text_read(const char *path, struct bytes text, struct file_keys *keys)
{
    unsigned number = 0;
    int err = 0;
    char line[LINE_SIZE];
    while (text.len > 0 && err == 0) {
        const uint8_t *end = memchr(text.ptr, '\n', text.len);
        const size_t len = end != NULL ? (size_t) (end - text.ptr) : text.len;
        number++;
        if (len < sizeof line) {
            memcpy(line, text.ptr, len);
            line[len] = '\0';
            err = line_read(keys, line + strspn(line, " \t\r"));
        } else {
            err = ERR_INVALID;
        }
        text = bytes_of(text.ptr + len, text.len - len);
        if (text.len > 0)
            text = bytes_of(text.ptr + 1, text.len - 1);
    }
    explicit_bzero(line, sizeof line);
    if (err == 0 && keys->super.count > 0)
        return 0;
    if (err != 0) {
        log_error("master keys: refuse %s:%u (expected a number of its own "
                  "from 1 and %d hex digits, on %d lines at most: %s)",
                  path, number, 2 * MASTER_KEY_SIZE, MASTER_KEYS_MAX,
                  err_text(err));
        return err;
    }
    log_error("master keys: refuse %s (it holds no key; a line of it is made "
              "by: echo \"1 $(openssl rand -hex %d)\")",
              path, MASTER_KEY_SIZE);
    return ERR_INVALID;
}

int
master_keys_file_open(const char *path, struct master_keys **out)
{
    int err = key_file_owner_check(path);
    if (err != 0)
        return err;
    struct buffer text;
    buffer_init(&text, FILE_SIZE_MAX);
    struct file_keys *keys = calloc(1, sizeof *keys);
    if (keys == NULL || (keys->cipher = EVP_CIPHER_CTX_new()) == NULL) {
        err = ERR_MEMORY;
    } else {
        keys->super.seal = file_seal;
        keys->super.unseal = file_unseal;
        keys->super.close = file_close;
        err = file_read(path, &text);
        if (err != 0)
            log_error("master keys: cannot read %s (%s)", path, err_text(err));
        else
            err = text_read(path, buffer_bytes(&text), keys);
    }
    if (text.ptr != NULL)
        explicit_bzero(text.ptr, text.capacity);
    buffer_fini(&text);
    if (err == 0)
        *out = &keys->super;
    else if (keys != NULL)
        file_close(&keys->super);
    return err;
}
