/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_KEY_FILE_H
#define PLATFORM_KEY_FILE_H

/* A file that holds one secret: a line of printable characters. */

#define KEY_LEN_MIN 16 /* characters */
#define KEY_LEN_MAX 256
#define KEY_SIZE (KEY_LEN_MAX + 1)

/* The key without what follows it on its line; wipe it after use. On failure
 * the reason is logged, with the path and never the key: ERR_NOT_FOUND, ERR_IO,
 * ERR_LIMIT, ERR_INVALID (its length or its characters). */
int key_file_read(const char *path, char out[KEY_SIZE]);

/* Whether nobody but its owner, who is this user or root, may read or change a
 * file. Else the reason is logged: ERR_NOT_FOUND, ERR_IO, ERR_DENIED. */
int key_file_owner_check(const char *path);

#endif
