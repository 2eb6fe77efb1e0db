/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_TEXT_TEXT_TS_H
#define MEDIA_TEXT_TEXT_TS_H

/*
 * A segment of WebVTT beside transport streams, whose time is not the
 * presentation's (RFC 8216bis §3.1.4): its X-TIMESTAMP-MAP says the difference.
 */

#include "media/transform.h"

/* The transform of a stored segment of `size` bytes. What does not start as one
 * is ERR_INVALID as it runs. ERR_INVALID, ERR_MEMORY. */
int text_ts_transform_open(uint64_t size, struct transform **out);

#endif
