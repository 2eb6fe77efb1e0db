/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_DIGEST_H
#define PROGRAMS_VODST_INGEST_DIGEST_H

/* SHA-256 of what comes in pieces. */

#include "core/bytes.h"

#include <openssl/evp.h>

#define DIGEST_SIZE 32

struct digest {
    EVP_MD_CTX *context;
    bool has_failed;
};

/* ERR_MEMORY. digest_end or digest_free ends what was begun. */
int digest_begin(struct digest *digest);
void digest_again(struct digest *digest); /* from nothing */
void digest_add(struct digest *digest, const void *ptr, size_t len);
int digest_end(struct digest *digest, uint8_t out[DIGEST_SIZE]);
void digest_free(struct digest *digest);

/* Of a file's bytes as the disk has them, not as the kernel still remembers
 * them, where it can be made to forget. *size: how many there were. ERR_IO with
 * errno kept; ERR_MEMORY; ERR_TIMEOUT when told to stop. */
int digest_file(const char *path, uint8_t out[DIGEST_SIZE], uint64_t *size);

/* 2 * len digits and the end. */
void digest_text(const uint8_t *digest, size_t len, char *out);

#endif
