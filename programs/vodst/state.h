/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_STATE_H
#define PROGRAMS_VODST_STATE_H

/*
 * The state folder of `vodst up`:
 *
 *   vodst.json    what runs and where, while it is ready; others read this
 *   lock          held by the running `vodst up`, with its process id
 *   secrets/      keys and passwords, made once (0700, files 0600);
 *                 s3.credentials is an operator's
 *   run/          configurations, counters, tables; new at each start
 *   log/          one log a process, new at each start
 *   cache/        slices held by origins and proxy caches
 *   storage/      media/: the stored files
 *   catalogue.db  st-api's contents
 *   licenses.db   mlic's content keys, wrapped, and plays
 *   licenses.audit  what it decided
 *   overrides.json  what operators decided by hand
 */

#include <stdbool.h>
#include <sys/types.h>

#define STATE_PATH_SIZE 512 /* bytes of the folder's path with its end */
#define STATE_FILE_SIZE 640 /* bytes of the path of a file in it */
#define SECRET_TEXT_SIZE 65 /* 32 bytes in hex and the end */

struct state {
    char folder[STATE_PATH_SIZE]; /* absolute */
    int lock_fd;
    char fill_secret[SECRET_TEXT_SIZE];
    char pull_secret[SECRET_TEXT_SIZE];
    char storage_password[SECRET_TEXT_SIZE];
    char manager_key[SECRET_TEXT_SIZE];
    char packager_key[SECRET_TEXT_SIZE];
};

#define STATE_STORAGE_USER "ingest"

/* Not made here: an operator puts it there, where storage is a bucket. */
#define STATE_S3_CREDENTIALS "secrets/s3.credentials"
#define STATE_S3_CA "secrets/s3.ca.pem" /* who vouches for its endpoint */

/*
 * Makes the folder if need be and takes its lock. Logs the reason on failure:
 * ERR_INVALID (a path that cannot stand in a configuration), ERR_UNAVAILABLE
 * (another `vodst up` holds it), ERR_IO.
 */
int state_open(const char *folder, struct state *out);
void state_close(struct state *state);

/* Writes the id of this process into the lock: after a fork. */
int state_lock_sign(struct state *state);

/* Reads or makes the secrets, and empties run/ and log/. Logs the reason. */
int state_prepare(struct state *state);

/* "FOLDER/NAME"; names are ours and short. */
void state_path(const struct state *state, const char *name,
                char out[STATE_FILE_SIZE]);

/* The process that holds the folder's lock, or 0: nothing runs there. */
pid_t state_running_pid(const char *folder);

#endif
