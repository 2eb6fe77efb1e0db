/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_KEY_FRAME_H
#define MEDIA_KEY_FRAME_H

/*
 * The key frame that a segment starts with as a segment of its own, for trick
 * play in DASH: one sample, seen from the segment's start to its end. It goes
 * with the init segment of the track.
 */

#include "media/index.h"
#include "media/transform.h"

/* Its only sample's bytes go in: key_size of them, behind the segment's header.
 * ERR_NOT_FOUND past the last segment, and where there is no key frame. */
int key_frame_transform_open(const struct track_index *index, uint32_t number,
                             struct transform **out);

#endif
