/* SPDX-License-Identifier: Apache-2.0 */
/* Reads where storage and st-api are, and the secrets for them. */

#include "programs/vodst/ingest_settings.h"

#include "core/buffer.h"
#include "core/err.h"
#include "platform/files.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FILE_SIZE_MAX (1u << 20) /* bytes */

static int
file_load(struct progress *progress, const char *what, const char *path,
          struct buffer *out)
{
    errno = 0;
    int err = file_read(path, out);
    if (err == ERR_NOT_FOUND)
        progress_error(progress, "there is no %s %s", what, path);
    else if (err != 0)
        progress_error(progress, "cannot read %s %s: %s", what, path,
                       err == ERR_IO ? strerror(errno) : err_text(err));
    return err;
}

/* One line of printable characters. */
static int
secret_load(struct progress *progress, const char *what, const char *path,
            char out[SETTING_SECRET_SIZE])
{
    struct buffer text;
    buffer_init(&text, FILE_SIZE_MAX);
    int err = file_load(progress, what, path, &text);
    if (err != 0)
        goto done;
    size_t len = text.len;
    while (len > 0 && text.ptr[len - 1] <= ' ')
        len--;
    bool is_valid = len > 0 && len < SETTING_SECRET_SIZE;
    for (size_t i = 0; is_valid && i < len; i++)
        is_valid = text.ptr[i] >= ' ' && text.ptr[i] != 0x7f;
    if (!is_valid) {
        progress_error(progress,
                       "%s %s must hold one line of 1 to %d "
                       "characters",
                       what, path, SETTING_SECRET_SIZE - 1);
        err = ERR_IO;
        goto done;
    }
    memcpy(out, text.ptr, len);
    out[len] = '\0';
done:
    if (text.ptr != NULL)
        explicit_bzero(text.ptr, text.capacity);
    buffer_fini(&text);
    return err;
}

/* ---- the state folder ---- */

/* Where each setting stands in vodst.json. */
struct state_texts {
    char storage[SETTING_STORAGE_SIZE], user[SETTING_SECRET_SIZE],
        password_file[PATH_MAX], fill_secret_file[PATH_MAX],
        api[SETTING_URL_SIZE], key_file[PATH_MAX], endpoint[SETTING_URL_SIZE],
        region[S3_REGION_SIZE], addressing[32], credentials_file[PATH_MAX],
        ca_file[PATH_MAX];
};

static int
state_text(struct progress *progress, const char *path, const json_t *root,
           const char *part, const char *name, char *out, size_t size)
{
    const json_t *value = json_object_get(json_object_get(root, part), name);
    const char *text = json_string_value(value);
    if (value == NULL)
        return 0; /* whoever needs it says so */
    if (text == NULL || text[0] == '\0' || strlen(text) >= size) {
        progress_error(progress,
                       "%s: %s.%s must be a string of 1 to %zu "
                       "bytes",
                       path, part, name, size - 1);
        return ERR_IO;
    }
    memcpy(out, text, strlen(text) + 1);
    return 0;
}

static int
state_texts_read(struct progress *progress, const char *path,
                 const json_t *root, struct state_texts *out)
{
    const struct {
        const char *part, *name;
        char *text;
        size_t size;
    } texts[] = {
        {"storage", "url", out->storage, sizeof out->storage},
        {"storage", "user", out->user, sizeof out->user},
        {"storage", "password_file", out->password_file,
         sizeof out->password_file},
        {"storage", "fill_secret_file", out->fill_secret_file,
         sizeof out->fill_secret_file},
        {"storage", "endpoint", out->endpoint, sizeof out->endpoint},
        {"storage", "region", out->region, sizeof out->region},
        {"storage", "addressing", out->addressing, sizeof out->addressing},
        {"storage", "credentials_file", out->credentials_file,
         sizeof out->credentials_file},
        {"storage", "ca_file", out->ca_file, sizeof out->ca_file},
        {"api", "url", out->api, sizeof out->api},
        {"api", "key_file", out->key_file, sizeof out->key_file},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int err = state_text(progress, path, root, texts[i].part, texts[i].name,
                             texts[i].text, texts[i].size);
        if (err != 0)
            return err;
    }
    return 0;
}

static int
state_read(struct progress *progress, const char *dir, struct state_texts *out)
{
    char path[PATH_MAX];
    struct buffer text;
    if (snprintf(path, sizeof path, "%s/vodst.json", dir)
        >= (int) sizeof path) {
        progress_error(progress, "--dir is too long");
        return ERR_INVALID;
    }
    buffer_init(&text, FILE_SIZE_MAX);
    int err = file_read(path, &text);
    if (err == ERR_NOT_FOUND) {
        progress_error(progress,
                       "nothing runs in %s: there is no %s (start "
                       "it with `vodst up --dir %s`)",
                       dir, path, dir);
    } else if (err != 0) {
        progress_error(progress, "cannot read %s: %s", path, err_text(err));
    } else {
        json_error_t error;
        json_t *root = json_loadb((const char *) text.ptr, text.len, 0, &error);
        if (!json_is_object(root)) {
            progress_error(progress, "%s:%d: %s", path,
                           root == NULL ? error.line : 1,
                           root == NULL ? error.text : "not a JSON object");
            err = ERR_IO;
        } else {
            err = state_texts_read(progress, path, root, out);
        }
        json_decref(root);
    }
    buffer_fini(&text);
    return err;
}

/* ---- what is given, else what the folder says ---- */

static const char *
choose(const char *given, const char *found)
{
    return given != NULL ? given : found[0] != '\0' ? found : NULL;
}

static bool
is_http(const char *text)
{
    return strncmp(text, "http://", 7) == 0
           || strncmp(text, "https://", 8) == 0;
}

static int
storage_set(struct progress *progress, const char *text, struct settings *out)
{
    if (text == NULL) {
        progress_error(progress, "say where films are stored: --storage URL "
                                 "or FOLDER, or --dir STATE");
        return ERR_INVALID;
    }
    out->is_storage_http = is_http(text);
    out->is_storage_s3 = strncmp(text, "s3://", 5) == 0;
    if (!out->is_storage_http && !out->is_storage_s3
        && strstr(text, "://") != NULL) {
        progress_error(progress,
                       "--storage %s: expected http://, https://, s3:// or "
                       "a folder",
                       text);
        return ERR_INVALID;
    }
    size_t len = strlen(text);
    if (len == 0 || len + 2 > sizeof out->storage) {
        progress_error(progress, "--storage must be 1 to %zu bytes",
                       sizeof out->storage - 2);
        return ERR_INVALID;
    }
    snprintf(out->storage, sizeof out->storage, "%s%s", text,
             text[len - 1] == '/' ? "" : "/");
    return 0;
}

static int
api_set(struct progress *progress, const char *text, struct settings *out)
{
    if (text == NULL) {
        progress_error(progress, "say who knows what is playable: --api URL, "
                                 "or --dir STATE");
        return ERR_INVALID;
    }
    size_t len = strlen(text);
    while (len > 0 && text[len - 1] == '/')
        len--;
    if (!is_http(text) || len >= sizeof out->api) {
        progress_error(progress, "--api %s: expected http://HOST[:PORT]", text);
        return ERR_INVALID;
    }
    memcpy(out->api, text, len);
    out->api[len] = '\0';
    return 0;
}

static int
storage_secrets_set(struct progress *progress, const char *user,
                    const char *password_file, const char *fill_secret_file,
                    struct settings *out)
{
    if ((user == NULL) != (password_file == NULL)) {
        progress_error(progress, "--storage-user and --storage-password-file "
                                 "belong together");
        return ERR_INVALID;
    }
    if (user != NULL
        && (strlen(user) >= sizeof out->storage_user
            || strchr(user, ':') != NULL || user[0] == '\0')) {
        progress_error(progress,
                       "--storage-user must be 1 to %d bytes "
                       "without a colon",
                       SETTING_SECRET_SIZE - 1);
        return ERR_INVALID;
    }
    int err = 0;
    if (user != NULL) {
        snprintf(out->storage_user, sizeof out->storage_user, "%s", user);
        err = secret_load(progress, "storage password file", password_file,
                          out->storage_password);
    }
    if (err == 0 && fill_secret_file != NULL)
        err = secret_load(progress, "fill secret file", fill_secret_file,
                          out->fill_secret);
    return err;
}

static bool
is_of_s3(const struct settings_s3_given *given)
{
    return given->endpoint != NULL || given->region != NULL
           || given->addressing != NULL || given->credentials_file != NULL
           || given->ca_file != NULL || given->part_size != 0;
}

static int
storage_s3_set(struct progress *progress, const char *url,
               const struct settings_given *all,
               const struct state_texts *found, struct settings *out)
{
    const struct settings_s3_given *given = &all->s3;
    if (!out->is_storage_s3 && is_of_s3(given)) {
        progress_error(progress,
                       "--s3-... are for --storage s3://BUCKET[/PREFIX]");
        return ERR_INVALID;
    }
    if (!out->is_storage_s3)
        return 0;
    if (all->storage_user != NULL || all->storage_password_file != NULL
        || all->fill_secret_file != NULL) {
        progress_error(progress,
                       "--storage-user, --storage-password-file and "
                       "--fill-secret-file are not for a bucket: give "
                       "--s3-credentials-file");
        return ERR_INVALID;
    }
    const struct settings_s3_given chosen = {
        .endpoint = choose(given->endpoint, found->endpoint),
        .region = choose(given->region, found->region),
        .addressing = choose(given->addressing, found->addressing),
        .credentials_file =
            choose(given->credentials_file, found->credentials_file),
        .ca_file = choose(given->ca_file, found->ca_file),
        .part_size = given->part_size,
    };
    if (chosen.ca_file != NULL
        && (access(chosen.ca_file, R_OK) != 0
            || strlen(chosen.ca_file) >= sizeof out->s3_ca_file)) {
        progress_error(progress, "cannot read CA file %s: %s", chosen.ca_file,
                       strerror(errno));
        return ERR_NOT_FOUND;
    }
    snprintf(out->s3_ca_file, sizeof out->s3_ca_file, "%s",
             chosen.ca_file != NULL ? chosen.ca_file : "");
    return settings_s3_read(progress, url, &chosen, &out->s3,
                            &out->s3_credentials, &out->s3_part_size);
}

int
settings_read(struct progress *progress, const struct settings_given *given,
              struct settings *out)
{
    struct state_texts found = {0};
    int err;
    memset(out, 0, sizeof *out);
    if (given->dir != NULL
        && (err = state_read(progress, given->dir, &found)) != 0)
        return err;
    /* Credentials go only where they belong: not to another storage. */
    if (given->storage != NULL)
        found.user[0] = found.password_file[0] = found.fill_secret_file[0] =
            found.endpoint[0] = found.region[0] = found.addressing[0] =
                found.credentials_file[0] = found.ca_file[0] = '\0';
    if (given->api != NULL)
        found.key_file[0] = '\0';
    err = storage_set(progress, choose(given->storage, found.storage), out);
    if (err == 0)
        err = storage_s3_set(progress, choose(given->storage, found.storage),
                             given, &found, out);
    if (err == 0)
        err = storage_secrets_set(
            progress, choose(given->storage_user, found.user),
            choose(given->storage_password_file, found.password_file),
            choose(given->fill_secret_file, found.fill_secret_file), out);
    if (err == 0)
        err = api_set(progress, choose(given->api, found.api), out);
    if (err != 0)
        goto failed;
    const char *key_file = choose(given->api_key_file, found.key_file);
    if (key_file == NULL) {
        progress_error(progress, "say where the key of st-api is: "
                                 "--api-key-file FILE, or --dir STATE");
        err = ERR_INVALID;
        goto failed;
    }
    err = secret_load(progress, "API key file", key_file, out->api_key);
    if (err == 0)
        return 0;
failed:
    settings_fini(out);
    return err;
}

void
settings_fini(struct settings *settings)
{
    explicit_bzero(settings, sizeof *settings);
}
