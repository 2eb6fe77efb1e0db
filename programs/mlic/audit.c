/* SPDX-License-Identifier: Apache-2.0 */
/* A line is written by one write(2), and the file grows at its end alone. */

#include "programs/mlic/audit.h"

#include "core/err.h"
#include "platform/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_SIZE 1024
#define MAC_LEN (2 * AUDIT_MAC_SIZE)
#define MAC_MEMBER ",\"mac\":\""
#define TAIL_LEN (sizeof MAC_MEMBER - 1 + MAC_LEN + 3) /* "}\n behind it */

struct audit {
    char *path;
    int fd;
    uint64_t count;
    uint8_t key[AUDIT_KEY_SIZE];
    uint8_t mac[AUDIT_MAC_SIZE]; /* of the last line; 0 before the first */
    bool is_dirty;
};

static void
hex_write(const uint8_t *bytes, size_t size, char *out)
{
    for (size_t i = 0; i < size; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static bool
hex_read(const char *text, uint8_t out[AUDIT_MAC_SIZE])
{
    char copy[MAC_LEN + 1];
    size_t len;
    memcpy(copy, text, MAC_LEN);
    copy[MAC_LEN] = '\0';
    return OPENSSL_hexstr2buf_ex(out, AUDIT_MAC_SIZE, &len, copy, '\0') == 1
           && len == AUDIT_MAC_SIZE;
}

/* Of the line before and of this one, up to its own MAC. */
static int
line_mac(const uint8_t key[AUDIT_KEY_SIZE],
         const uint8_t before[AUDIT_MAC_SIZE], const char *line, size_t len,
         uint8_t out[AUDIT_MAC_SIZE])
{
    uint8_t text[AUDIT_MAC_SIZE + LINE_SIZE];
    unsigned size = 0;
    memcpy(text, before, AUDIT_MAC_SIZE);
    memcpy(text + AUDIT_MAC_SIZE, line, len);
    return HMAC(EVP_sha256(), key, AUDIT_KEY_SIZE, text, AUDIT_MAC_SIZE + len,
                out,
                &size) != NULL
                   && size == AUDIT_MAC_SIZE
               ? 0
               : ERR_IO;
}

/* ---- writing ---- */

/* What is there has ended with a line; else that one is not begun. */
static int
line_append(struct audit *audit, const char *line, size_t len)
{
    const off_t end = lseek(audit->fd, 0, SEEK_END);
    ssize_t written;
    do
        written = write(audit->fd, line, len);
    while (written < 0 && errno == EINTR);
    if (written == (ssize_t) len) {
        audit->is_dirty = true;
        return 0;
    }
    const int err =
        written >= 0 || errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO;
    log_error("audit: cannot write %s (%s)", audit->path,
              err == ERR_FULL ? "the disk is full" : strerror(errno));
    if (written > 0 && ftruncate(audit->fd, end) != 0)
        log_error("audit: cannot take a torn line off %s (%s)", audit->path,
                  strerror(errno));
    return err;
}

int
audit_write(struct audit *audit, const struct audit_record *record,
            uint64_t now_ms)
{
    char line[LINE_SIZE];
    uint8_t mac[AUDIT_MAC_SIZE];
    int len = snprintf(
        line, sizeof line - TAIL_LEN,
        "{\"n\":%" PRIu64 ",\"at\":%" PRIu64 ".%03u,\"service\":\"%s\","
        "\"viewer\":\"%s\",\"content\":\"%s\",\"version\":\"%s\",\"kid\":\"%s\""
        ",\"system\":\"%s\",\"decision\":\"%s\"",
        audit->count + 1, now_ms / 1000, (unsigned) (now_ms % 1000),
        record->service, record->viewer, record->content, record->version,
        record->kid, record->system, record->decision);
    if (len < 0 || (size_t) len >= sizeof line - TAIL_LEN)
        return ERR_LIMIT;
    int err = line_mac(audit->key, audit->mac, line, (size_t) len, mac);
    if (err != 0)
        return err;
    memcpy(line + len, MAC_MEMBER, sizeof MAC_MEMBER - 1);
    len += (int) sizeof MAC_MEMBER - 1;
    hex_write(mac, sizeof mac, line + len);
    len += MAC_LEN;
    memcpy(line + len, "\"}\n", 3);
    err = line_append(audit, line, (size_t) len + 3);
    if (err == 0) {
        memcpy(audit->mac, mac, sizeof mac);
        audit->count++;
    }
    return err;
}

int
audit_sync(struct audit *audit)
{
    if (!audit->is_dirty)
        return 0;
    if (fdatasync(audit->fd) != 0) {
        log_error("audit: cannot put %s on the disk (%s)", audit->path,
                  strerror(errno));
        return ERR_IO;
    }
    audit->is_dirty = false;
    return 0;
}

uint64_t
audit_count(const struct audit *audit)
{
    return audit->count;
}

void
audit_mac_text(const struct audit *audit, char out[2 * AUDIT_MAC_SIZE + 1])
{
    hex_write(audit->mac, sizeof audit->mac, out);
}

/* Empty: it could not be made. */
static void
text_hash(const uint8_t key[AUDIT_KEY_SIZE], const char *text,
          char out[AUDIT_VIEWER_LEN + 1])
{
    uint8_t mac[AUDIT_MAC_SIZE];
    unsigned size;
    out[0] = '\0';
    if (HMAC(EVP_sha256(), key, AUDIT_KEY_SIZE, (const uint8_t *) text,
             strlen(text), mac, &size)
        != NULL)
        hex_write(mac, AUDIT_VIEWER_LEN / 2, out);
}

void
audit_key_mark(const uint8_t key[AUDIT_KEY_SIZE],
               char out[AUDIT_VIEWER_LEN + 1])
{
    text_hash(key, "key", out); /* as of no viewer */
}

void
audit_viewer(const struct audit *audit, const char *service, const char *viewer,
             char out[AUDIT_VIEWER_LEN + 1])
{
    char text[512];
    out[0] = '\0';
    if (viewer[0] == '\0')
        return;
    /* an id has no slash in it: where it ends is clear */
    snprintf(text, sizeof text, "viewer %s/%s", service, viewer);
    text_hash(audit->key, text, out);
}

/* ---- reading ---- */

/* A line with its end; false: it is none of ours. */
static bool
line_parse(const char *line, size_t len, uint64_t *number,
           uint8_t mac[AUDIT_MAC_SIZE])
{
    static const char head[] = "{\"n\":";
    char *end;
    if (len <= sizeof head + TAIL_LEN || len > LINE_SIZE
        || memcmp(line, head, sizeof head - 1) != 0
        || memcmp(line + len - 3, "\"}\n", 3) != 0
        || memcmp(line + len - TAIL_LEN, MAC_MEMBER, sizeof MAC_MEMBER - 1)
               != 0)
        return false;
    errno = 0;
    *number = strtoull(line + sizeof head - 1, &end, 10);
    return errno == 0 && *end == ',' && hex_read(line + len - 3 - MAC_LEN, mac);
}

static bool
line_is_next(const uint8_t key[AUDIT_KEY_SIZE],
             const uint8_t before[AUDIT_MAC_SIZE], const char *line, size_t len,
             const uint8_t mac[AUDIT_MAC_SIZE])
{
    uint8_t own[AUDIT_MAC_SIZE];
    return line_mac(key, before, line, len - TAIL_LEN, own) == 0
           && CRYPTO_memcmp(own, mac, sizeof own) == 0;
}

/* The last two lines, of which the last one's MAC is known by. */
static int
tail_take(struct audit *audit, off_t size)
{
    char text[2 * LINE_SIZE + 1];
    const size_t len =
        (size_t) size < sizeof text ? (size_t) size : sizeof text;
    if (pread(audit->fd, text, len, size - (off_t) len) != (ssize_t) len)
        return ERR_IO;
    size_t end = len;
    while (end > 0 && text[end - 1] != '\n')
        end--;
    if (end < len) {
        log_warn("audit: take %zu bytes of a torn line off %s", len - end,
                 audit->path);
        if (ftruncate(audit->fd, size - (off_t) (len - end)) != 0)
            return ERR_IO;
    }
    if (end == 0)
        return len == (size_t) size ? 0 : ERR_CHECKSUM;
    size_t start = end - 1, before = 0;
    while (start > 0 && text[start - 1] != '\n')
        start--;
    for (before = start; before > 1 && text[before - 2] != '\n';)
        before--;
    before = before > 0 ? before - 1 : 0;
    uint64_t number;
    uint8_t mac[AUDIT_MAC_SIZE];
    const bool has_before =
        start > 0
        && line_parse(text + before, start - before, &number, audit->mac);
    if (!line_parse(text + start, end - start, &audit->count, mac)
        || (has_before
            && !line_is_next(audit->key, audit->mac, text + start, end - start,
                             mac))
        || (!has_before && start > 0))
        return ERR_CHECKSUM;
    memcpy(audit->mac, mac, sizeof mac);
    return 0;
}

static int
file_open(struct audit *audit)
{
    struct stat status;
    const int fd =
        open(audit->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || fstat(fd, &status) != 0) {
        log_error("audit: cannot open %s (%s)", audit->path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return ERR_IO;
    }
    if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        log_error("audit: refuse %s (others may write to it: chmod 600)",
                  audit->path);
        close(fd);
        return ERR_DENIED;
    }
    if (audit->fd >= 0)
        close(audit->fd);
    audit->fd = fd;
    int err = status.st_size > 0 ? tail_take(audit, status.st_size) : 0;
    if (err == ERR_CHECKSUM)
        log_error("audit: refuse %s (its last line is not by this key, or was "
                  "changed: move the file away, and keep it)",
                  audit->path);
    return err;
}

int
audit_open(const char *path, const uint8_t key[AUDIT_KEY_SIZE],
           struct audit **out)
{
    struct audit *audit = calloc(1, sizeof *audit);
    if (audit == NULL)
        return ERR_MEMORY;
    audit->fd = -1;
    memcpy(audit->key, key, sizeof audit->key);
    audit->path = strdup(path);
    int err = audit->path == NULL ? ERR_MEMORY : file_open(audit);
    if (err != 0)
        audit_close(audit);
    else
        *out = audit;
    return err;
}

int
audit_reopen(struct audit *audit)
{
    (void) audit_sync(audit);
    return file_open(audit);
}

void
audit_close(struct audit *audit)
{
    if (audit == NULL)
        return;
    if (audit->fd >= 0) {
        (void) audit_sync(audit);
        close(audit->fd);
    }
    free(audit->path);
    explicit_bzero(audit, sizeof *audit);
    free(audit);
}

int
audit_verify(const char *path, const uint8_t key[AUDIT_KEY_SIZE],
             const char *before, uint64_t *lines,
             char last[2 * AUDIT_MAC_SIZE + 1])
{
    uint8_t now[AUDIT_MAC_SIZE] = {0}, mac[AUDIT_MAC_SIZE];
    uint64_t number, expected = 0;
    char *line = NULL;
    size_t size = 0;
    ssize_t len;
    int err = 0;
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    if (before != NULL && (strlen(before) != MAC_LEN || !hex_read(before, now)))
        err = ERR_INVALID;
    *lines = 0;
    while (err == 0 && (len = getline(&line, &size, file)) > 0) {
        if (!line_parse(line, (size_t) len, &number, mac)
            || (*lines > 0 && number != expected)
            || !line_is_next(key, now, line, (size_t) len, mac)) {
            err = ERR_CHECKSUM;
            break;
        }
        memcpy(now, mac, sizeof now);
        expected = number + 1;
        (*lines)++;
    }
    if (ferror(file))
        err = ERR_IO;
    free(line);
    fclose(file);
    hex_write(now, sizeof now, last);
    return err;
}
