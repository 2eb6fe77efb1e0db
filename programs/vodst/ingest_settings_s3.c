/* SPDX-License-Identifier: Apache-2.0 */
/* See programs/vodst/ingest_settings_s3.h. */

#include "programs/vodst/ingest_settings_s3.h"

#include "core/buffer.h"
#include "core/err.h"
#include "platform/files.h"
#include "programs/vodst/ingest_s3_upload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FILE_SIZE_MAX (1u << 20)        /* bytes */
#define PART_SIZE_DEFAULT (16ull << 20) /* bytes */

static int
file_credentials(struct progress *progress, const char *path,
                 struct s3_credentials *out)
{
    const char *reason;
    unsigned line;
    struct buffer text;
    buffer_init(&text, FILE_SIZE_MAX);
    errno = 0;
    int err = file_read(path, &text);
    if (err != 0) {
        progress_error(progress, "cannot read credentials file %s: %s", path,
                       err == ERR_IO ? strerror(errno) : err_text(err));
    } else if (s3_credentials_read(buffer_bytes(&text), out, &line, &reason)
               != 0) {
        err = ERR_IO;
        if (line > 0)
            progress_error(progress, "%s:%u: %s", path, line, reason);
        else
            progress_error(progress, "%s: %s", path, reason);
    }
    if (text.ptr != NULL)
        explicit_bzero(text.ptr, text.capacity);
    buffer_fini(&text);
    return err;
}

static int
variable_credential(struct progress *progress, const char *name, char *out,
                    size_t size)
{
    const char *value = getenv(name);
    if (value == NULL || value[0] == '\0')
        return ERR_NOT_FOUND;
    const int err = s3_credential_set(bytes_of_text(value), out, size);
    if (err != 0)
        progress_error(progress, "%s is too long, or has a space in it", name);
    return err;
}

static int
environment_credentials(struct progress *progress, struct s3_credentials *out)
{
    memset(out, 0, sizeof *out);
    int err = variable_credential(progress, "AWS_ACCESS_KEY_ID",
                                  out->access_key, sizeof out->access_key);
    if (err == 0)
        err = variable_credential(progress, "AWS_SECRET_ACCESS_KEY",
                                  out->secret_key, sizeof out->secret_key);
    if (err == ERR_NOT_FOUND) {
        progress_error(progress,
                       "say who may put to the bucket: --s3-credentials-file "
                       "FILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
                       "in the environment");
        err = ERR_INVALID;
    }
    if (err == 0)
        err =
            variable_credential(progress, "AWS_SESSION_TOKEN",
                                out->session_token, sizeof out->session_token);
    return err == ERR_NOT_FOUND ? 0 : err;
}

int
settings_s3_read(struct progress *progress, const char *url,
                 const struct settings_s3_given *given, struct s3_place *place,
                 struct s3_credentials *credentials, uint64_t *part_size)
{
    const char *reason;
    const char *region =
        given->region != NULL ? given->region : getenv("AWS_REGION");
    if (region != NULL && region[0] == '\0' && given->region == NULL)
        region = NULL;
    if (given->endpoint == NULL) {
        progress_error(progress,
                       "say where the bucket of %s is: --s3-endpoint "
                       "http[s]://HOST[:PORT]",
                       url);
        return ERR_INVALID;
    }
    if (s3_place_read(url, given->endpoint, region, given->addressing, place,
                      &reason)
        != 0) {
        progress_error(progress, "--storage %s at %s: %s", url, given->endpoint,
                       reason);
        return ERR_INVALID;
    }
    const uint64_t size =
        given->part_size > 0 ? (uint64_t) given->part_size : PART_SIZE_DEFAULT;
    if (size < S3_PART_SIZE_MIN || size > S3_PART_SIZE_MAX) {
        progress_error(progress, "--s3-part-size: expected 5M to 5G");
        return ERR_INVALID;
    }
    *part_size = size;
    return given->credentials_file != NULL
               ? file_credentials(progress, given->credentials_file,
                                  credentials)
               : environment_credentials(progress, credentials);
}
