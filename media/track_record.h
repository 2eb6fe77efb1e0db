/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_TRACK_RECORD_H
#define MEDIA_TRACK_RECORD_H

/*
 * A struct track_info as bytes: the part that the asset file and the index
 * share. Internal to media/.
 */

#include "media/cursor.h"
#include "media/track.h"

#define TRACK_SAMPLE_ENTRY_SIZE_MAX (64u << 10) /* bytes */

/* ERR_INVALID when a text would break a playlist or a URL, or a number that
 * is divided by is 0. Used on both sides, so what is read can be printed. */
int track_info_check(const struct track_info *info);

/* label NULL: none. ERR_INVALID where one is too long. */
int track_texts_set(struct track_info *info, const char *name,
                    const char *label, const char *language,
                    const char *codecs);

/* Bits a second, rounded up; the greatest number where it is more. */
uint32_t track_bit_rate(uint64_t bytes, uint64_t duration, uint32_t timescale);

/* The info is checked by the caller. */
void track_info_encode(const struct track_info *info, struct buffer *out);

/* Checked; sample_entry and timeline point into the bytes of the cursor. */
int track_info_decode(struct cursor *in, struct track_info *out);

#endif
