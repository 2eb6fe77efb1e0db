/* SPDX-License-Identifier: Apache-2.0 */

#include "platform/key_file.h"
#include "core/err.h"
#include "platform/files.h"
#include "platform/log.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_SIZE_MAX (64u << 10) /* bytes */

static bool
key_is_valid(struct bytes key)
{
    if (key.len < KEY_LEN_MIN || key.len > KEY_LEN_MAX)
        return false;
    for (size_t i = 0; i < key.len; i++)
        if (key.ptr[i] <= ' ' || key.ptr[i] > '~')
            return false;
    return true;
}

int
key_file_read(const char *path, char out[KEY_SIZE])
{
    struct buffer text;
    buffer_init(&text, FILE_SIZE_MAX);
    errno = 0;
    int err = file_read(path, &text);
    struct bytes key = buffer_bytes(&text);
    while (key.len > 0 && key.ptr[key.len - 1] <= ' ')
        key.len--;
    if (err != 0) {
        log_error("keys: cannot read %s (%s)", path,
                  err == ERR_IO && errno != 0 ? strerror(errno)
                                              : err_text(err));
    } else if (!key_is_valid(key)) {
        log_error("keys: refuse %s (expected one line of %d to %d printable "
                  "characters)",
                  path, KEY_LEN_MIN, KEY_LEN_MAX);
        err = ERR_INVALID;
    } else {
        memcpy(out, key.ptr, key.len);
        out[key.len] = '\0';
    }
    if (text.ptr != NULL)
        explicit_bzero(text.ptr, text.capacity);
    buffer_fini(&text);
    return err;
}

int
key_file_owner_check(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        const int err = errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
        log_error("keys: cannot read %s (%s)", path, strerror(errno));
        return err;
    }
    if ((status.st_mode & (S_IRWXG | S_IRWXO)) == 0
        && (status.st_uid == geteuid() || status.st_uid == 0))
        return 0;
    log_error("keys: refuse %s (others than its owner may read or change it, "
              "or somebody else owns it: chmod 600, chown)",
              path);
    return ERR_DENIED;
}
