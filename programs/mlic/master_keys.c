/* SPDX-License-Identifier: Apache-2.0 */
/* Wraps and unwraps, whatever holds the master keys. */

#include "programs/mlic/master_keys_private.h"

#include "core/err.h"

#include <openssl/rand.h>
#include <string.h>

int
master_keys_open(const char *place, struct master_keys **out)
{
    return strncmp(place, "pkcs11:", strlen("pkcs11:")) == 0
               ? master_keys_device_open(place, out)
               : master_keys_file_open(place, out);
}

void
master_keys_close(struct master_keys *keys)
{
    if (keys != NULL)
        keys->close(keys);
}

int
master_keys_number_add(struct master_keys *keys, uint32_t number)
{
    if (keys->count == MASTER_KEYS_MAX)
        return ERR_LIMIT;
    for (unsigned i = 0; i < keys->count; i++)
        if (keys->numbers[i] == number)
            return ERR_INVALID;
    if (number == 0)
        return ERR_INVALID;
    keys->numbers[keys->count++] = number;
    return 0;
}

uint32_t
master_keys_current(const struct master_keys *keys)
{
    return keys->numbers[keys->current];
}

int
master_keys_wrap(struct master_keys *keys, struct bytes name,
                 const uint8_t key[CRYPT_KEY_SIZE], struct wrapped_key *out)
{
    struct wrapped_key wrapped = {.master = master_keys_current(keys)};
    if (RAND_bytes(wrapped.bytes, WRAPPED_NONCE_SIZE) != 1)
        return ERR_IO;
    int err = keys->seal(keys, keys->current, name, wrapped.bytes, key,
                         wrapped.bytes + WRAPPED_NONCE_SIZE);
    if (err == 0)
        *out = wrapped;
    return err;
}

int
master_keys_unwrap(struct master_keys *keys, struct bytes name,
                   const struct wrapped_key *wrapped,
                   uint8_t key[CRYPT_KEY_SIZE])
{
    for (unsigned i = 0; i < keys->count; i++)
        if (keys->numbers[i] == wrapped->master)
            return keys->unseal(keys, i, name, wrapped->bytes,
                                wrapped->bytes + WRAPPED_NONCE_SIZE, key);
    return ERR_NOT_FOUND;
}
