/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_WORK_H
#define PROGRAMS_VODST_INGEST_WORK_H

/*
 * The folder that an ingest works in. It belongs to one content, one film and
 * one way to make it, so that the same command finds it again after it was
 * killed, and goes on behind the last step that it had finished. The folder is
 * locked while a run works in it; the lock dies with the run.
 */

#include "programs/vodst/ingest_progress.h"

#include <limits.h>

#define WORK_KEY_SIZE 13                 /* 12 hex digits and the end */
#define WORK_FOLDER_SIZE (PATH_MAX - 64) /* room for a name in it */

struct json_t;

struct work {
    char folder[WORK_FOLDER_SIZE]; /* empty: there is none */
    int lock;
    struct json_t *steps; /* finished ones by name: what is known of each */
};

/*
 * `base` is where such folders are; NULL is $TMPDIR, else /var/tmp. Without
 * steps that were finished the folder is empty. Tells what is wrong by
 * progress_error: ERR_IO, ERR_MEMORY; ERR_UNAVAILABLE: another run works in it.
 */
int work_open(struct progress *progress, const char *base, const char *content,
              const char key[WORK_KEY_SIZE], struct work *out);

/* What was told of a finished step, or NULL. */
struct json_t *work_step(const struct work *work, const char *step);

/* All files in the folder are on the disk, and then the step is finished; takes
 * `fields` over. As work_open. */
int work_step_done(struct progress *progress, struct work *work,
                   const char *step, struct json_t *fields);

/* Takes the folder away, or leaves it for another run. */
void work_end(struct work *work);
void work_leave(struct work *work);

/*
 * Folders that killed runs left and that nobody will ask for: of this content
 * with another key, and of any that were not touched for a week. `found` is
 * told of each, which is locked, and whose content it is; false leaves it.
 */
void work_find_stale(const char *base, const char *content,
                     const char key[WORK_KEY_SIZE],
                     bool (*found)(const struct work *work, const char *content,
                                   void *context),
                     void *context);

/* Puts the files of a folder, and their names, on the disk. -1 with errno. */
int folder_sync(const char *path);

#endif
