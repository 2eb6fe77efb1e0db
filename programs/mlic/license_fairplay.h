/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_LICENSE_FAIRPLAY_H
#define PROGRAMS_MLIC_LICENSE_FAIRPLAY_H

/*
 * FairPlay Streaming's envelopes: what a player sends (SPC, version 1) and gets
 * (CKC), as key servers that are published have them. All numbers big-endian.
 *
 *   SPC  version 4, reserved 4, IV 16, AES key by RSA-OAEP 128,
 *        SHA-1 of the certificate 20, size 4, TLLVs by AES-CBC
 *   CKC  version 4, reserved 4, IV 16, size 4, TLLVs by AES-CBC
 *   TLLV tag 8, size of what follows 4, size of the value 4, value, padding
 */

#include "programs/mlic/license.h"

#define FAIRPLAY_SPC_SIZE_MAX (64u << 10)
#define FAIRPLAY_TAGS_MAX 16 /* that are to be returned */

struct fairplay;

struct fairplay_config {
    const char *plugin;      /* programs/mlic/fairplay_plugin.h */
    const char *certificate; /* PEM, of Apple */
    const char *key;         /* PEM, RSA of 1024 bits; private */
    const char *ask;         /* a line of 32 hex digits; private */
};

/* The reason of a failure is logged: ERR_INVALID, ERR_IO, ERR_MEMORY, or as
 * key_file_read. */
int fairplay_new(const struct fairplay_config *config, struct fairplay **out);
void fairplay_free(struct fairplay *fairplay); /* wipes; NULL is fine */

/* These point into what is read. */
struct fairplay_envelope {
    const uint8_t *iv, *key, *certificate_hash;
    struct bytes payload; /* encrypted */
};
struct fairplay_payload {
    struct bytes session, integrity, seed, r2, asset, tags;
    struct bytes whole;
};

/* ERR_INVALID, ERR_UNSUPPORTED, ERR_LIMIT, with the reason. */
int fairplay_envelope_read(struct bytes spc, struct fairplay_envelope *out,
                           const char **reason);
int fairplay_payload_read(struct bytes payload, struct fairplay_payload *out,
                          const char **reason);
/* "skd://<kid>" or the KID alone, 32 hex digits with dashes or without. */
int fairplay_asset_read(struct bytes asset, struct license_request *out,
                        const char **reason);
/* A whole block by its tag; false: there is none. */
bool fairplay_block_find(struct bytes payload, uint64_t tag,
                         struct bytes *block);

#endif
