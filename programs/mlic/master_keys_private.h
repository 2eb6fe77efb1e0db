/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_MASTER_KEYS_PRIVATE_H
#define PROGRAMS_MLIC_MASTER_KEYS_PRIVATE_H

/* What holds master keys: a file that was read, or a device. */

#include "programs/mlic/master_keys.h"

struct master_keys {
    uint32_t numbers[MASTER_KEYS_MAX];
    unsigned count, current; /* `current` is a place in numbers[] */

    /* One block with the nonce; `which` is a place in numbers[]. ERR_IO, and of
     * unseal ERR_CHECKSUM. */
    int (*seal)(struct master_keys *keys, unsigned which, struct bytes name,
                const uint8_t nonce[WRAPPED_NONCE_SIZE],
                const uint8_t key[CRYPT_KEY_SIZE],
                uint8_t sealed[CRYPT_KEY_SIZE + WRAPPED_TAG_SIZE]);
    int (*unseal)(struct master_keys *keys, unsigned which, struct bytes name,
                  const uint8_t nonce[WRAPPED_NONCE_SIZE],
                  const uint8_t sealed[CRYPT_KEY_SIZE + WRAPPED_TAG_SIZE],
                  uint8_t key[CRYPT_KEY_SIZE]);
    void (*close)(struct master_keys *keys);
};

int master_keys_file_open(const char *path, struct master_keys **out);
int master_keys_device_open(const char *uri, struct master_keys **out);

/* ERR_INVALID: 0, or there already; ERR_LIMIT. */
int master_keys_number_add(struct master_keys *keys, uint32_t number);

#endif
