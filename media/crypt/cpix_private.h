/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_CRYPT_CPIX_PRIVATE_H
#define MEDIA_CRYPT_CPIX_PRIVATE_H

/*
 * What the writer and the reader of CPIX share. Internal to media/crypt/.
 */

#include "core/buffer.h"
#include "media/crypt/cpix.h"

#define CPIX_NAMESPACE "urn:dashif:org:cpix"
#define CPIX_PSKC_NAMESPACE "urn:ietf:params:xml:ns:keyprov:pskc"
#define CPIX_DS_NAMESPACE "http://www.w3.org/2000/09/xmldsig#"
#define CPIX_ENC_NAMESPACE "http://www.w3.org/2001/04/xmlenc#"
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

/* "SD+HD1": bits of enum crypt_class. False: a part of it is none of SPEKE v2's
 * names, and passed over. */
bool cpix_classes_read(const char *text, unsigned *out);

/* ---- a document that was read ---- */

struct cpix_part { /* of what is given; offsets, since that grows */
    uint32_t at, len;
};

struct cpix_content_key {
    struct crypt_key key;
    bool has_value, has_iv;
    bool has_cipher, has_mac; /* it is encrypted */
    uint8_t cipher[CPIX_CIPHER_SIZE];
    uint8_t mac[CPIX_MAC_SIZE];
    struct cpix_part parts[CRYPT_SYSTEM_COUNT][CRYPT_PART_COUNT];
};

struct cpix_rule {
    uint8_t kid[CRYPT_KEY_SIZE];
    unsigned classes;
    uint32_t period; /* CRYPT_PERIODS_MAX: all */
};

struct cpix_wrapped { /* by RSA */
    uint8_t bytes[CPIX_WRAPPED_SIZE_MAX];
    size_t len; /* 0: not there */
};

struct cpix_document {
    const struct cpix_request *request;
    size_t count_max; /* of keys, and of rules */
    struct cpix_content_key *keys;
    size_t key_count;
    struct cpix_rule *rules;
    size_t rule_count;
    struct buffer given;
    struct cpix_wrapped document_key, mac_key; /* for us */
    const char *reason;                        /* of a failure */
};

/* NULL: there is none. */
struct cpix_content_key *cpix_key_find(const struct cpix_document *document,
                                       const uint8_t *kid);

/* Takes what is given. ERR_INVALID, ERR_CHECKSUM, ERR_NOT_FOUND, ERR_MEMORY,
 * and the document's reason. */
int cpix_answer_make(struct cpix_document *document, struct cpix_answer *out);

#endif
