/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/vodst/state.h"
#include "core/bytes.h"
#include "core/err.h"
#include "platform/clock.h"
#include "platform/files.h"
#include "platform/log.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define SECRET_SIZE 32u /* bytes */

/* Paths are written into configurations between double quotes. */
static bool
path_is_quotable(const char *path)
{
    for (const char *c = path; *c != '\0'; c++)
        if ((unsigned char) *c < ' ' || strchr("\"\\$@", *c) != NULL)
            return false;
    return true;
}

static void
secret_make(char out[SECRET_TEXT_SIZE])
{
    uint8_t secret[SECRET_SIZE];
    random_fill(secret, sizeof secret);
    for (size_t i = 0; i < sizeof secret; i++)
        snprintf(out + 2 * i, 3, "%02x", secret[i]);
    explicit_bzero(secret, sizeof secret);
}

static bool
secret_is_valid(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (strchr("0123456789abcdef", text.ptr[i]) == NULL
            || text.ptr[i] == '\0')
            return false;
    return text.len == 2 * SECRET_SIZE;
}

static int
secret_write(struct state *state, const char *name, const char *text)
{
    char path[STATE_FILE_SIZE];
    state_path(state, name, path);
    const int err = file_write_atomic(path, bytes_of_text(text), 0600, true);
    if (err != 0)
        log_error("up: cannot write %s (%s)", path, strerror(errno));
    return err;
}

/* The secret of the file, made and kept if there is none yet. */
static int
secret_keep(struct state *state, const char *name, char out[SECRET_TEXT_SIZE])
{
    char path[STATE_FILE_SIZE];
    struct buffer file;
    state_path(state, name, path);
    buffer_init(&file, 4096);
    int err = file_read(path, &file);
    if (err == ERR_NOT_FOUND) {
        secret_make(out);
        err = secret_write(state, name, out);
    } else if (err == 0 && secret_is_valid(buffer_bytes(&file))) {
        memcpy(out, file.ptr, file.len);
        out[file.len] = '\0';
    } else {
        log_error("up: %s is not a secret of %u hex digits: remove it and a "
                  "new one is made",
                  path, 2 * SECRET_SIZE);
        err = ERR_INVALID;
    }
    buffer_fini(&file);
    return err;
}

/* What content keys are wrapped under: lost, so are they. */
static int
master_keys_keep(struct state *state)
{
    char path[STATE_FILE_SIZE], secret[SECRET_TEXT_SIZE];
    char line[SECRET_TEXT_SIZE + 16];
    state_path(state, "secrets/master.keys", path);
    if (access(path, F_OK) == 0)
        return 0;
    secret_make(secret);
    snprintf(line, sizeof line, "1 %s\n", secret);
    const int err = secret_write(state, "secrets/master.keys", line);
    explicit_bzero(secret, sizeof secret);
    explicit_bzero(line, sizeof line);
    return err;
}

static int
token_keys_keep(struct state *state)
{
    char path[STATE_FILE_SIZE], secret[SECRET_TEXT_SIZE];
    char hiding[SECRET_TEXT_SIZE], line[2 * SECRET_TEXT_SIZE + 16];
    state_path(state, "secrets/token.keys", path);
    if (access(path, F_OK) == 0)
        return 0;
    secret_make(secret);
    secret_make(hiding);
    snprintf(line, sizeof line, "1 %s jwe=%s\n", secret, hiding);
    const int err = secret_write(state, "secrets/token.keys", line);
    explicit_bzero(secret, sizeof secret);
    explicit_bzero(hiding, sizeof hiding);
    explicit_bzero(line, sizeof line);
    return err;
}

/* The password is 32 random bytes: a plain hash of it gives nothing away. */
static int
htpasswd_write(struct state *state)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned char text[2 * EVP_MAX_MD_SIZE];
    char line[sizeof text + 32];
    unsigned size = 0;
    if (EVP_Digest(state->storage_password, strlen(state->storage_password),
                   digest, &size, EVP_sha1(), NULL)
        != 1)
        return ERR_MEMORY;
    EVP_EncodeBlock(text, digest, (int) size);
    snprintf(line, sizeof line, "%s:{SHA}%s\n", STATE_STORAGE_USER,
             (const char *) text);
    return secret_write(state, "secrets/storage.htpasswd", line);
}

static int
folder_ready(struct state *state, const char *name, unsigned mode, bool empty)
{
    char path[STATE_FILE_SIZE];
    int err = 0;
    state_path(state, name, path);
    if (empty)
        err = folder_remove(path);
    if (err == 0)
        err = folder_make(path, mode);
    if (err != 0)
        log_error("up: cannot make %s (%s)", path, strerror(errno));
    return err;
}

int
state_open(const char *folder, struct state *out)
{
    char path[STATE_FILE_SIZE];
    char *resolved = NULL;
    memset(out, 0, sizeof *out);
    out->lock_fd = -1;

    if (folder_make(folder, 0755) != 0
        || (resolved = realpath(folder, NULL)) == NULL) {
        log_error("up: cannot make %s (%s)", folder, strerror(errno));
        return ERR_IO;
    }
    if (strlen(resolved) >= sizeof out->folder || !path_is_quotable(resolved)) {
        log_error("up: --dir %s cannot be used (over %zu bytes, or one of "
                  "\" \\ $ @ in it)",
                  resolved, sizeof out->folder - 1);
        free(resolved);
        return ERR_INVALID;
    }
    memcpy(out->folder, resolved, strlen(resolved) + 1);
    free(resolved);

    state_path(out, "lock", path);
    out->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (out->lock_fd < 0) {
        log_error("up: cannot open %s (%s)", path, strerror(errno));
        return ERR_IO;
    }
    if (flock(out->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        log_error("up: already running in %s as process %d: `vodst down "
                  "--dir %s` ends it",
                  out->folder, (int) state_running_pid(out->folder), folder);
        state_close(out);
        return ERR_UNAVAILABLE;
    }
    return state_lock_sign(out);
}

int
state_lock_sign(struct state *state)
{
    char text[32];
    const int len = snprintf(text, sizeof text, "%d\n", (int) getpid());
    if (ftruncate(state->lock_fd, 0) != 0
        || pwrite(state->lock_fd, text, (size_t) len, 0) != len) {
        log_error("up: cannot write %s/lock (%s)", state->folder,
                  strerror(errno));
        return ERR_IO;
    }
    return 0;
}

void
state_close(struct state *state)
{
    if (state->lock_fd >= 0) {
        /* the pid stays behind, but without the lock it means nothing */
        close(state->lock_fd);
        state->lock_fd = -1;
    }
    explicit_bzero(state->fill_secret, sizeof state->fill_secret);
    explicit_bzero(state->pull_secret, sizeof state->pull_secret);
    explicit_bzero(state->manager_key, sizeof state->manager_key);
    explicit_bzero(state->packager_key, sizeof state->packager_key);
    explicit_bzero(state->storage_password, sizeof state->storage_password);
}

int
state_prepare(struct state *state)
{
    char others[SECRET_TEXT_SIZE]; /* read from their files, not from here */
    int err;
    if ((err = folder_ready(state, "secrets", 0700, false)) != 0
        || (err = folder_ready(state, "run", 0700, true)) != 0
        || (err = folder_ready(state, "log", 0755, true)) != 0
        || (err = folder_ready(state, "cache", 0755, false)) != 0
        || (err = folder_ready(state, "storage/media", 0755, false)) != 0
        || (err = token_keys_keep(state)) != 0
        || (err = secret_keep(state, "secrets/fill", state->fill_secret)) != 0
        || (err = secret_keep(state, "secrets/pull", state->pull_secret)) != 0
        || (err = secret_keep(state, "secrets/storage.password",
                              state->storage_password))
               != 0
        || (err = secret_keep(state, "secrets/manager.key", state->manager_key))
               != 0
        || (err =
                secret_keep(state, "secrets/packager.key", state->packager_key))
               != 0
        || (err = master_keys_keep(state)) != 0
        || (err = secret_keep(state, "secrets/admin.key", others)) != 0
        || (err = secret_keep(state, "secrets/audit.key", others)) != 0
        || (err = secret_keep(state, "secrets/entitlement.key", others)) != 0)
        return err;
    explicit_bzero(others, sizeof others);
    return htpasswd_write(state);
}

void
state_path(const struct state *state, const char *name,
           char out[STATE_FILE_SIZE])
{
    snprintf(out, STATE_FILE_SIZE, "%s/%s", state->folder, name);
}

pid_t
state_running_pid(const char *folder)
{
    char path[4096], text[32];
    pid_t pid = 0;
    snprintf(path, sizeof path, "%s/lock", folder);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    if (flock(fd, LOCK_SH | LOCK_NB) != 0) {
        const ssize_t len = read(fd, text, sizeof text - 1);
        if (len > 0) {
            text[len] = '\0';
            pid = (pid_t) strtol(text, NULL, 10);
        }
    }
    close(fd);
    return pid;
}
