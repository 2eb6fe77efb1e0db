/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_CRYPT_CPIX_H
#define MEDIA_CRYPT_CPIX_H

/*
 * What a key server is asked for and answers: CPIX 2.3 of the DASH Industry
 * Forum, in the profile of SPEKE v2. One key for each class in each period; the
 * server may give another KID than the one that it is asked for, and what tells
 * players of it (§5.2.7), which is taken as it is.
 */

#include "media/crypt/cpix_recipient.h"
#include "media/crypt/keys.h"
#include "media/crypt/signal.h"

#define CPIX_SIZE_MAX (16u << 20) /* bytes, of an answer */

struct cpix_request {
    struct bytes folder; /* "<content>/<version>" */
    enum crypt_scheme scheme;
    uint32_t period_count; /* to CRYPT_PERIODS_MAX */
    bool has_periods;      /* the document names them */
    const struct crypt_systems *systems;
    const struct cpix_recipient *recipient; /* NULL: keys come in the clear;
                                             * else none do */
};

/* False: it names no license system, which SPEKE v2 has no place for, and is of
 * CPIX alone: AES-128, or no other system than ClearKey. */
bool cpix_request_is_speke(const struct cpix_request *request);

/* The same bytes for the same request: a KID is a hash of what it is for. */
void cpix_request_write(const struct cpix_request *request, struct buffer *out);

/* The number of keys, and where the key of a class in a period is. */
static inline size_t
cpix_key_count(const struct cpix_request *request)
{
    return (size_t) CRYPT_CLASS_COUNT * request->period_count;
}

static inline size_t
cpix_key_index(enum crypt_class class, uint32_t period)
{
    return (size_t) CRYPT_CLASS_COUNT * period + class;
}

struct cpix_answer {
    struct crypt_key *keys; /* cpix_key_count of them */
    size_t key_count;
    struct crypt_signals *signals; /* as many, or NULL: none are given */
    uint8_t *given;                /* which they point into */
    size_t size;                   /* bytes, of all three */
};

/* All keys, and what is given for the systems that the request names. What was
 * read is wiped but for `text` and `out`. *reason says what is wrong, or is
 * NULL. ERR_INVALID; ERR_LIMIT; ERR_UNSUPPORTED: keys that are encrypted to
 * nobody here, or by something else than CPIX has (§6.1.4); ERR_DENIED: keys in
 * the clear that are not to be; ERR_CHECKSUM: a MAC is wrong; ERR_NOT_FOUND: a
 * key that was asked for is missing; ERR_MEMORY. */
int cpix_read(struct bytes text, const struct cpix_request *request,
              struct cpix_answer *out, const char **reason);
void cpix_answer_fini(struct cpix_answer *answer); /* wipes; may be empty */

#endif
