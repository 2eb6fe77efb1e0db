/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_S3_H
#define CORE_S3_H

/*
 * Where a bucket of S3-compatible storage is, how its objects are named in
 * requests, and the credentials for it, as all who use such a storage are told
 * of it.
 */

#include "core/bytes.h"

#define S3_BUCKET_SIZE 64 /* bytes, as of all of these with the end */
#define S3_PREFIX_SIZE 256
#define S3_HOST_SIZE 264
#define S3_REGION_SIZE 64
#define S3_BASE_SIZE (S3_BUCKET_SIZE + S3_PREFIX_SIZE + 2)

#define S3_REGION_DEFAULT "us-east-1" /* what others than AWS take */

struct s3_place {
    char bucket[S3_BUCKET_SIZE];
    char prefix[S3_PREFIX_SIZE]; /* "vod/", or empty */
    char region[S3_REGION_SIZE];
    bool is_tls;
    char host[S3_HOST_SIZE];       /* as the Host header has it */
    char address[S3_HOST_SIZE];    /* the same with the port in any case */
    char root[S3_BUCKET_SIZE + 2]; /* the bucket's path: "/films/", or "/" */
    char base[S3_BASE_SIZE];       /* what the objects' paths begin with:
                                      "/films/vod/", or "/vod/" */
};

/*
 * `url` is "s3://BUCKET[/PREFIX]", `endpoint` "http[s]://HOST[:PORT]",
 * `addressing` "path" (the bucket is in the path), "virtual-hosted" (it is in
 * the host's name) or NULL, which is path; a NULL region is the default.
 * ERR_INVALID; `reason` then says what is wrong with which of them.
 */
int s3_place_read(const char *url, const char *endpoint, const char *region,
                  const char *addressing, struct s3_place *out,
                  const char **reason);

#define S3_KEY_SIZE 257
#define S3_TOKEN_SIZE 4097

struct s3_credentials {
    char access_key[S3_KEY_SIZE];
    char secret_key[S3_KEY_SIZE];
    char session_token[S3_TOKEN_SIZE]; /* empty: none */
};

/*
 * Of a file as AWS' own programs have it: "name = value" on a line each, with
 * aws_access_key_id, aws_secret_access_key and maybe aws_session_token, at the
 * beginning or under [default]. Other names and profiles are passed over.
 * ERR_INVALID; `reason` then says what is wrong and never quotes, and `line`
 * where (0: the file as a whole).
 */
int s3_credentials_read(struct bytes text, struct s3_credentials *out,
                        unsigned *line, const char **reason);

/* One of the three by its own; ERR_INVALID when it cannot be one. */
int s3_credential_set(struct bytes value, char *out, size_t size);

#endif
