/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A version is named by its bytes: the same film encoded in the same way is
 * the same version, and anything else is another.
 */

#include "programs/vodst/ingest_version.h"

#include "core/err.h"
#include "programs/vodst/ingest_digest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int
file_add(struct progress *progress, struct version *version, const char *folder,
         const char *track, const char *ending)
{
    struct stat st;
    size_t i = version->stored.file_count;
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s%s", folder, track, ending);
    if (strlen(path) >= PATH_MAX || stat(path, &st) != 0) {
        progress_error(progress, "cannot read %s: %s", path, strerror(errno));
        return ERR_IO;
    }
    memcpy(version->paths[i], path, strlen(path) + 1);
    snprintf(version->names[i], sizeof version->names[i], "%s%s", track,
             ending);
    version->files[i] = (struct storage_file){.name = version->names[i],
                                              .path = version->paths[i],
                                              .size = (uint64_t) st.st_size};
    version->stored.size += (uint64_t) st.st_size;
    version->stored.file_count++;
    return 0;
}

static int
tracks_add(struct progress *progress, struct version *version,
           const char *folder, char kind, const char *ending, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char track[TRACK_NAME_LEN_MAX + 1];
        snprintf(track, sizeof track, "%c%u", kind, i);
        int err = file_add(progress, version, folder, track, ending);
        if (err == 0)
            err = file_add(progress, version, folder, track, ".idx");
        if (err != 0)
            return err;
    }
    return 0;
}

/* Each file by its name, size and checksum: moving bytes between files changes
 * the version, too. */
static int
file_digest(struct digest *digest, struct storage_file *file)
{
    uint64_t size;
    const int err = digest_file(file->path, file->sha256, &size);
    if (err != 0)
        return err;
    digest_add(digest, file->name, strlen(file->name) + 1);
    digest_add(digest, &file->size, sizeof file->size);
    digest_add(digest, file->sha256, sizeof file->sha256);
    return size == file->size ? 0 : ERR_IO;
}

static int
version_name(struct progress *progress, struct version *version)
{
    uint8_t hash[DIGEST_SIZE];
    struct digest digest;
    int err = digest_begin(&digest);
    if (err == 0) {
        for (size_t i = 0; err == 0 && i < version->stored.file_count; i++)
            err = file_digest(&digest, &version->files[i]);
        if (err == 0)
            err = digest_end(&digest, hash);
        else
            digest_free(&digest);
    }
    if (err == 0)
        digest_text(hash, VERSION_HASH_SIZE,
                    version->text + strlen(version->text));
    else if (err != ERR_TIMEOUT)
        progress_error(progress, "cannot read the encoded files back: %s",
                       err_text(err));
    return err;
}

int
version_make(struct progress *progress, const struct encode_plan *plan,
             const char *folder, const char *content, bool is_protected,
             struct version *out)
{
    memset(out, 0, sizeof *out);
    out->stored.content = content;
    out->stored.version = out->text;
    out->stored.files = out->files;
    if (is_protected)
        memcpy(out->text, VERSION_PROTECTED, sizeof VERSION_PROTECTED);
    int err = tracks_add(progress, out, folder, 'v', ".mp4", plan->rung_count);
    if (err == 0)
        err = tracks_add(progress, out, folder, 'a', ".mp4", plan->audio_count);
    if (err == 0)
        err = tracks_add(progress, out, folder, 's', ".text",
                         plan->subtitles_count);
    if (err == 0)
        err = tracks_add(progress, out, folder, 'i', ".sheets",
                         plan->thumbnails.interval_ms != 0 ? THUMBNAIL_TRACKS
                                                           : 0);
    if (err == 0) /* last: it makes the version readable */
        err = file_add(progress, out, folder, "asset", ".idx");
    return err != 0 ? err : version_name(progress, out);
}
