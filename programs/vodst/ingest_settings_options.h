/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_SETTINGS_OPTIONS_H
#define PROGRAMS_VODST_INGEST_SETTINGS_OPTIONS_H

/*
 * The options that fill a struct settings_given, for the table of each command
 * that has them: `field` of `type`, the command's own struct.
 */

#include "platform/options.h"
#include "programs/vodst/ingest_settings.h"

#define SETTINGS_TEXT(type, field, name, member, unit, description)         \
    {                                                                       \
        name, OPTION_TEXT, offsetof(type, field.member), NULL, 0, 0, false, \
            unit, description                                               \
    }

#define SETTINGS_STORAGE_OPTIONS(type, field)                                  \
    SETTINGS_TEXT(type, field, "dir", dir, NULL,                               \
                  "State folder of `vodst up`: storage and API are taken "     \
                  "from there."),                                              \
        SETTINGS_TEXT(type, field, "storage", storage, NULL,                   \
                      "Where the files are stored: a URL that takes HTTP "     \
                      "PUT and DELETE, s3://BUCKET[/PREFIX], or a folder."),   \
        SETTINGS_TEXT(type, field, "storage-user", storage_user, NULL,         \
                      "User for the storage (HTTP basic)."),                   \
        SETTINGS_TEXT(type, field, "storage-password-file",                    \
                      storage_password_file, NULL,                             \
                      "File with the password for the storage."),              \
        SETTINGS_TEXT(type, field, "s3-endpoint", s3.endpoint, "URL",          \
                      "Where the bucket is: http[s]://HOST[:PORT] of "         \
                      "S3-compatible storage."),                               \
        SETTINGS_TEXT(type, field, "s3-region", s3.region, "name",             \
                      "Its region; by default AWS_REGION's, else us-east-1, "  \
                      "which most storages but Amazon's take."),               \
        SETTINGS_TEXT(type, field, "s3-addressing", s3.addressing, NULL,       \
                      "path (the default): the bucket is in the path; "        \
                      "virtual-hosted: it is before the host's name."),        \
        SETTINGS_TEXT(type, field, "s3-credentials-file", s3.credentials_file, \
                      NULL,                                                    \
                      "File with aws_access_key_id, aws_secret_access_key "    \
                      "and maybe aws_session_token as NAME = VALUE, at its "   \
                      "beginning or under [default]; without it "              \
                      "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "          \
                      "AWS_SESSION_TOKEN of the environment count."),          \
        SETTINGS_TEXT(type, field, "s3-ca-file", s3.ca_file, NULL,             \
                      "File with the certificates that may vouch for an "      \
                      "https endpoint, as PEM; by default those that this "    \
                      "machine trusts.")

#define SETTINGS_API_OPTIONS(type, field)                              \
    SETTINGS_TEXT(type, field, "api", api, NULL,                       \
                  "URL of st-api, which knows what is playable."),     \
        SETTINGS_TEXT(type, field, "api-key-file", api_key_file, NULL, \
                      "File with the admin key of st-api.")

#endif
