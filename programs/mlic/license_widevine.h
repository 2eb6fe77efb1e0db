/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_LICENSE_WIDEVINE_H
#define PROGRAMS_MLIC_LICENSE_WIDEVINE_H

/*
 * Widevine's messages that pass the license server, in Protocol Buffers' wire
 * format (protobuf.dev/programming-guides/encoding): the content's init data
 * (WidevinePsshData, published with Shaka Packager) and the challenge around it.
 */

#include "programs/mlic/license.h"

#define WIDEVINE_CHALLENGE_SIZE_MAX (64u << 10)

struct widevine_signer {
    char name[65];
    uint8_t key[32], iv[16];
};

/* `path` has a line, 64 hex digits of the key, a colon, 32 of the IV; nobody but
 * its owner may read it. The reason of a failure is logged: ERR_INVALID, or as
 * key_file_read. */
int widevine_signer_read(const char *path, const char *name,
                         struct widevine_signer *out);

/* Adds the key_ids. ERR_INVALID with the reason; ERR_LIMIT: too many keys. */
int widevine_pssh_read(struct bytes data, struct license_request *out,
                       const char **reason);
/* The same of the init data in a license request. */
int widevine_challenge_read(struct bytes body, struct license_request *out,
                            const char **reason);
/* The license in the service's answer; the reason is of this file. ERR_INVALID. */
int widevine_answer_read(struct bytes answer, struct buffer *out,
                         const char **reason);

#endif
