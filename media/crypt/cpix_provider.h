/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_CRYPT_CPIX_PROVIDER_H
#define MEDIA_CRYPT_CPIX_PROVIDER_H

/*
 * A key server's side of CPIX 2.3 of the DASH Industry Forum, in the profile of
 * SPEKE v2: which keys a packager asks for, and its own document with the keys,
 * and what players are told of them, put in. All else of it stays as it came.
 */

#include "media/crypt/keys.h"
#include "media/crypt/signal.h"

#define CPIX_ASKED_SIZE_MAX (4u << 20) /* bytes, of a document */
#define CPIX_ASKED_KEYS_MAX (CRYPT_CLASS_COUNT * CRYPT_PERIODS_MAX)
#define CPIX_CONTENT_LEN_MAX 256
#define CPIX_TRACK_LEN_MAX 64
#define CPIX_RECIPIENTS_MAX 8

struct cpix_asked_key {
    uint8_t kid[CRYPT_KEY_SIZE];
    enum crypt_scheme scheme; /* CRYPT_AES128: the document names none */
    char track[CPIX_TRACK_LEN_MAX + 1]; /* intendedTrackType: "SD+HD1" */
    unsigned classes; /* that it is for: bits of enum crypt_class */
    uint32_t period;  /* by its index, or else its place in the list */
};

struct cpix_asked {
    char content[CPIX_CONTENT_LEN_MAX + 1]; /* contentId, printable */
    struct cpix_asked_key *keys;            /* KIDs differ */
    size_t key_count;
    size_t recipient_count; /* to whom keys are encrypted; 0: to nobody */

    /* where what is put in */
    struct bytes text;
    struct cpix_edit *edits;
    size_t edit_count, edit_capacity;
    struct cpix_certificate *recipients[CPIX_RECIPIENTS_MAX];
};

/*
 * Points into `text`, which must stay. `is_speke`: what SPEKE v2 wants must be
 * there, too: schemes, systems, filters. *reason says what is wrong.
 * ERR_INVALID; ERR_LIMIT; ERR_UNSUPPORTED: a signature, a scheme, a system or
 * an algorithm that is none of ours; ERR_MEMORY.
 */
int cpix_asked_read(struct bytes text, bool is_speke, struct cpix_asked *out,
                    const char **reason);
void cpix_asked_fini(struct cpix_asked *asked); /* may be empty */

/* keys[i] is that of asked->keys[i], with its KID. Wipe what is written; of it
 * err may be ERR_IO, too: no randomness. */
void cpix_asked_answer(const struct cpix_asked *asked,
                       const struct crypt_key *keys, struct buffer *out);

#endif
