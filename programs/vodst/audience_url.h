/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_AUDIENCE_URL_H
#define PROGRAMS_VODST_AUDIENCE_URL_H

/* Where a playlist's URI or a Location header leads (RFC 3986 §5.2). */

#include "core/bytes.h"
#include "core/err.h"

#define AUDIENCE_URL_BYTES_MAX 4096

/* Writes the terminated URL, without fragment. ERR_INVALID (base or reference
 * malformed), ERR_UNSUPPORTED (not http), ERR_LIMIT (longer than the room). */
int url_resolve(const char *base, struct bytes reference, char *out,
                size_t size);

#endif
