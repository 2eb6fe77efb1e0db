/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_FILES_H
#define PLATFORM_FILES_H

#include "core/buffer.h"

/* Appends a whole file. ERR_NOT_FOUND, ERR_LIMIT (over out->size_max), ERR_IO
 * (errno kept), ERR_MEMORY. */
int file_read(const char *path, struct buffer *out);

/* Writes beside the target and renames: a reader sees the old or the new file
 * whole. `mode` as open(2). fsync where `durable`. ERR_IO with errno kept;
 * nothing is left behind. */
int file_write_atomic(const char *path, struct bytes bytes, unsigned mode,
                      bool durable);

/* mkdir -p. */
int folder_make(const char *path, unsigned mode);

/* rm -r of what this program made; follows no link. ERR_NOT_FOUND is 0. */
int folder_remove(const char *path);

#endif
