/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_SETTINGS_H
#define PROGRAMS_VODST_INGEST_SETTINGS_H

/*
 * Where an ingest puts its files and to whom it tells of them: from the
 * command line, or from the vodst.json of a state folder.
 */

#include "programs/vodst/ingest_settings_s3.h"

#include <limits.h>
#include <stddef.h>

#define SETTING_URL_SIZE 512
#define SETTING_STORAGE_SIZE 1024 /* bytes of a URL or a folder's path */
#define SETTING_SECRET_SIZE 257

/* As given on the command line; NULL: not given. */
struct settings_given {
    const char *dir, *storage, *storage_user, *storage_password_file,
        *fill_secret_file, *api, *api_key_file;
    struct settings_s3_given s3;
};

struct settings {
    char storage[SETTING_STORAGE_SIZE]; /* "http://.../" or "s3://.../" with the
                                           slash, or a folder */
    bool is_storage_http, is_storage_s3;
    struct s3_place s3; /* of S3 storage, as the next two */
    struct s3_credentials s3_credentials;
    uint64_t s3_part_size;                  /* bytes */
    char s3_ca_file[PATH_MAX];              /* empty: none of its own */
    char storage_user[SETTING_SECRET_SIZE]; /* empty: no credentials */
    char storage_password[SETTING_SECRET_SIZE];
    char fill_secret[SETTING_SECRET_SIZE]; /* empty: not known */
    char api[SETTING_URL_SIZE];            /* "http://...", without a slash */
    char api_key[SETTING_SECRET_SIZE];
};

/*
 * What is given wins over what the state folder says. Tells what is wrong or
 * missing by progress_error: ERR_INVALID for wrong use, ERR_NOT_FOUND or
 * ERR_IO for files that cannot be read.
 */
int settings_read(struct progress *progress, const struct settings_given *given,
                  struct settings *out);

/* Wipes. */
void settings_fini(struct settings *settings);

#endif
