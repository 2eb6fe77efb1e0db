/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_TEXT_ENCODING_H
#define MEDIA_TEXT_ENCODING_H

/*
 * Files of subtitles come in encodings that they do not always name. The rule:
 * a byte order mark decides (UTF-8, UTF-16 of either order); without one it is
 * UTF-8 when all of it is, else Windows-1252. Internal to media/.
 */

#include "core/buffer.h"

/* Appends the file as UTF-8: without the mark, each line ended by one LF, and
 * U+FFFD for zero characters, as WebVTT reads them. ERR_INVALID when the file
 * is not in the encoding that its mark names; *line, from 1, is where. */
int text_as_utf8(struct bytes file, struct buffer *out, uint32_t *line);

#endif
