/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_STORAGE_H
#define PROGRAMS_VODST_INGEST_STORAGE_H

/*
 * Storage as an ingest sees it: a version of a content is put there as a
 * whole, or not at all. Versions never change: what is there already, with the
 * right bytes, is left alone. And as what takes versions away sees it.
 */

#include "programs/vodst/ingest_settings.h"

#include <stdint.h>

#define STORAGE_FILES_MAX 256

struct storage_file {
    const char *name; /* "v0.mp4" */
    const char *path; /* where it is now */
    uint64_t size;    /* bytes */
    uint8_t sha256[32];
};

/* One version's files, the one that makes it readable (asset.idx) last. */
struct storage_version {
    const char *content;
    const char *version;
    const struct storage_file *files;
    size_t file_count;
    uint64_t size; /* bytes of all files */
    /* An earlier run put what there is of it, and it was never playable: it is
     * ours to take away. */
    bool is_ours;
};

struct storage {
    /* Can it be reached, with these credentials? */
    int (*check)(struct storage *storage, struct progress *progress);
    /* Is the file there that makes the version readable? NULL: it cannot be
     * known, and what a killed run left is not taken away. */
    int (*has)(struct storage *storage, struct progress *progress,
               const struct storage_version *version, bool *out);
    /* Puts all files and reads them back: what is there, also from before, has
     * the right checksum, or is put again. (S3 compares the checksum itself as
     * it takes a file, and shows it as a whole or not at all: there sizes are
     * read.) After a failure nothing of what was
     * put remains, as far as the storage lets us. */
    int (*put)(struct storage *storage, struct progress *progress,
               const struct storage_version *version);
    /* Takes away what `put` put: the version did not become playable. */
    void (*discard)(struct storage *storage,
                    const struct storage_version *version);
    /* Takes away all files of a version, whoever put them, and without knowing
     * their names: first the one that makes it readable. Of `version` only
     * content and version are looked at, which must be valid ids. Nobody may be
     * putting it meanwhile. What is not there is success; *was_there tells.
     * After a failure some files may be left, and it can be done again. */
    int (*remove)(struct storage *storage, struct progress *progress,
                  const struct storage_version *version, bool *was_there);
    void (*free)(struct storage *storage);
};

/* The file that makes a version readable. */
#define STORAGE_INDEX "asset.idx"

/* All tell what is wrong by progress_error. ERR_UPSTREAM, ERR_DENIED, ERR_IO,
 * ERR_TIMEOUT (told to stop). The settings must outlive the storage. */
int storage_http_new(const struct settings *settings, struct storage **out);
int storage_folder_new(const struct settings *settings, struct storage **out);
int storage_s3_new(const struct settings *settings, struct storage **out);
/* The one of these that the settings are of. */
int storage_new(const struct settings *settings, struct storage **out);

/* May the same go well later? Of any step of an ingest. */
bool storage_err_is_temporary(int err);

/* "12.3 MB/s", for progress_update; started at `started_ms`. */
const char *transfer_speed(uint64_t bytes, uint64_t started_ms, char out[32]);

#endif
