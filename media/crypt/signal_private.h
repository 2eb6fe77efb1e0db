/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_CRYPT_SIGNAL_PRIVATE_H
#define MEDIA_CRYPT_SIGNAL_PRIVATE_H

/*
 * What boxes, playlists and MPDs share in telling of keys. Internal to
 * media/crypt/.
 */

#include "core/buffer.h"
#include "media/crypt/signal.h"

#define SIGNAL_KEYS_MAX 64u /* a PlayReady object has 15 kB at the most */

/* What is given of one key: this part, and of an MPD's or else the boxes. */
struct signal_given {
    struct bytes text;
    enum crypt_part part;
};
struct signal_given signal_given_find(const struct crypt_track *track,
                                      uint32_t number, enum crypt_system system,
                                      enum crypt_part part);

/* What is told of all keys for a system. Points into itself. */
struct signal_told {
    struct crypt_track own; /* those that nothing is given of; maybe none */
    uint8_t kids[SIGNAL_KEYS_MAX][CRYPT_KEY_SIZE];
    struct signal_given given[SIGNAL_KEYS_MAX]; /* of the others, each once */
    uint32_t given_count;
};
void signal_told_init(const struct crypt_track *track, enum crypt_system system,
                      enum crypt_part part, struct signal_told *out);

/* The box that is made of these keys; FairPlay has none. */
bool signal_has_pssh(enum crypt_system system);
void signal_pssh_write(const struct crypt_track *track,
                       enum crypt_system system, struct buffer *out);

/* That box as it stands in an MPD's ContentProtection. */
void signal_protection_write(const struct crypt_track *track,
                             enum crypt_system system, struct buffer *out);

/* The data of the first of boxes that are known to be whole. */
struct bytes signal_pssh_data(struct bytes boxes);

void signal_base64_append(struct bytes bytes, struct buffer *out);

/* Where the line that starts with `start` starts, or behind it. */
size_t signal_line_find(struct bytes text, const char *start, bool is_behind);

static inline bool
signal_is_same_kid(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, CRYPT_KEY_SIZE) == 0;
}

#endif
