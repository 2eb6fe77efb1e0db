/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_CRYPT_CPIX_PRIVATE_H
#define MEDIA_CRYPT_CPIX_PRIVATE_H

/*
 * What the writer and the reader of CPIX share. Internal to media/crypt/.
 */

#include "media/crypt/cpix.h"

#define CPIX_NAMESPACE "urn:dashif:org:cpix"
#define CPIX_PSKC_NAMESPACE "urn:ietf:params:xml:ns:keyprov:pskc"
#define CPIX_PERIOD_ID "keyPeriod_"

/* NULL: Common Encryption has no name for it. */
const char *cpix_scheme_name(enum crypt_scheme scheme);

/* Can this be put in as it is: whole `pssh` boxes of the system, XML that
 * stands alone but for CRYPT_PROTECTION_PREFIXES, lines of tags, one of which
 * tells a key? */
bool cpix_part_is_valid(struct bytes text, enum crypt_system system,
                        enum crypt_part part);

/* "edef8ba9-79d6-4ace-a3c8-27dcd51d21ed", in any case. */
bool cpix_uuid_read(const char *text, uint8_t out[CRYPT_KEY_SIZE]);

#endif
