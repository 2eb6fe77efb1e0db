/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See programs/vodst/ingest_s3.h. Bodies are read twice: once for their hashes
 * and once to be sent. SHA-256 is signed; MD5 beside it is for stores that do
 * not look at the hash.
 */

#include "programs/vodst/ingest_s3.h"

#include "core/err.h"
#include "platform/clock.h"
#include "programs/vodst/ingest_child.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* Bytes that are altered so often are so each time. */
#define ALTERED_MAX 3
#define READ_SIZE (256u << 10) /* bytes at once */
#define HEADERS_MAX 8
#define URL_SIZE (S3_HOST_SIZE + S3_BASE_SIZE + 2 * S3_UPLOAD_ID_SIZE)
#define MD5_TEXT_SIZE 25 /* of 16 bytes in base64, with the end */

struct hashes {
    char sha256[SIGV4_HASH_SIZE];
    char md5[MD5_TEXT_SIZE]; /* empty: there is no body */
};

void
s3_client_init(struct s3_client *client, const struct s3_place *place,
               const struct s3_credentials *credentials, const char *ca_file)
{
    *client = (struct s3_client){
        .place = place,
        .credentials = credentials,
        .ca_file = ca_file,
        .signer = {.access_key = bytes_of_text(credentials->access_key),
                   .secret_key = bytes_of_text(credentials->secret_key),
                   .region = bytes_of_text(place->region),
                   .service = BYTES_LITERAL("s3")},
    };
}

void
s3_client_fini(struct s3_client *client)
{
    sigv4_fini(&client->signer);
}

/* ---- the body's hashes ---- */

static int
file_update(const struct s3_request *request, EVP_MD_CTX *sha256,
            EVP_MD_CTX *md5)
{
    static uint8_t block[READ_SIZE];
    const int fd = open(request->file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ERR_IO;
    uint64_t at = request->offset, left = request->size;
    int err = 0;
    for (;;) {
        const size_t want = request->size == 0 || left > sizeof block
                                ? sizeof block
                                : (size_t) left;
        const ssize_t got = want > 0 ? pread(fd, block, want, (off_t) at) : 0;
        if (got <= 0) {
            err = got < 0 || (request->size > 0 && left > 0) ? ERR_IO : 0;
            break;
        }
        if (EVP_DigestUpdate(sha256, block, (size_t) got) != 1
            || EVP_DigestUpdate(md5, block, (size_t) got) != 1) {
            err = ERR_MEMORY;
            break;
        }
        at += (uint64_t) got;
        left -= request->size > 0 ? (uint64_t) got : 0;
    }
    close(fd);
    return err;
}

static int
body_hash(const struct s3_request *request, struct hashes *out)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *sha256 = EVP_MD_CTX_new(), *md5 = EVP_MD_CTX_new();
    int err = ERR_MEMORY;
    memset(out, 0, sizeof *out);
    if (sha256 == NULL || md5 == NULL
        || EVP_DigestInit_ex(sha256, EVP_sha256(), NULL) != 1
        || EVP_DigestInit_ex(md5, EVP_md5(), NULL) != 1)
        goto done;
    if (request->file != NULL)
        err = file_update(request, sha256, md5);
    else if (EVP_DigestUpdate(sha256, request->xml.ptr, request->xml.len) == 1
             && EVP_DigestUpdate(md5, request->xml.ptr, request->xml.len) == 1)
        err = 0;
    if (err != 0)
        goto done;
    err = ERR_MEMORY;
    if (EVP_DigestFinal_ex(sha256, digest, NULL) != 1)
        goto done;
    sigv4_hex(digest, out->sha256);
    if (EVP_DigestFinal_ex(md5, digest, NULL) != 1)
        goto done;
    if (request->file != NULL || request->xml.len > 0)
        EVP_EncodeBlock((unsigned char *) out->md5, digest, 16);
    err = 0;
done:
    EVP_MD_CTX_free(sha256);
    EVP_MD_CTX_free(md5);
    return err;
}

/* ---- one attempt ---- */

/* Signed, and as they are sent. */
struct headers {
    struct sigv4_header list[HEADERS_MAX];
    size_t count;
    char texts[HEADERS_MAX + 2][S3_TOKEN_SIZE + 64];
    const char *lines[HEADERS_MAX + 2];
};

static void
header_add(struct headers *headers, const char *name, const char *value)
{
    if (value[0] == '\0')
        return;
    const size_t i = headers->count++;
    headers->list[i] = (struct sigv4_header){name, bytes_of_text(value)};
    snprintf(headers->texts[i], sizeof headers->texts[i], "%s: %s", name,
             value);
    headers->lines[i] = headers->texts[i];
}

static const char *
content_type(const struct s3_request *request)
{
    if (request->xml.len > 0)
        return "application/xml";
    return request->file != NULL || strcmp(request->method, "POST") == 0
               ? "application/octet-stream"
               : "";
}

static int
request_sign(struct s3_client *client, const struct s3_request *request,
             const char *path, const struct hashes *hashes, const char *time,
             struct headers *headers)
{
    /* by name */
    header_add(headers, "content-md5", hashes->md5);
    header_add(headers, "content-type", content_type(request));
    header_add(headers, "host", client->place->host);
    header_add(headers, "x-amz-content-sha256", hashes->sha256);
    header_add(headers, "x-amz-date", time);
    header_add(headers, "x-amz-security-token",
               client->credentials->session_token);
    const char *query = request->query != NULL ? request->query : "";
    const struct sigv4_request signed_one = {
        .method = bytes_of_text(request->method),
        .path = bytes_of_text(path),
        .query = bytes_of_text(query),
        .payload_hash = bytes_of_text(hashes->sha256),
        .headers = headers->list,
        .header_count = headers->count,
        .time = time,
    };
    struct buffer value;
    buffer_init(&value, S3_TOKEN_SIZE);
    buffer_append_text(&value, "Authorization: ");
    int err = sigv4_sign(&client->signer, &signed_one, &value);
    buffer_append_u8(&value, '\0');
    if (err == 0)
        err = value.err;
    if (err == 0) {
        char *text = headers->texts[headers->count];
        snprintf(text, sizeof headers->texts[0], "%s",
                 (const char *) value.ptr);
        headers->lines[headers->count] = text;
        headers->lines[headers->count + 1] = NULL;
    }
    buffer_fini(&value);
    return err;
}

static int
request_send(struct s3_client *client, const struct s3_request *request,
             const struct hashes *hashes, struct s3_result *out)
{
    const struct s3_place *place = client->place;
    char path[S3_BASE_SIZE + S3_OBJECT_SIZE], url[URL_SIZE];
    char time[SIGV4_TIME_SIZE];
    struct headers headers;
    headers.count = 0;
    snprintf(path, sizeof path, "%s%s",
             request->object != NULL ? place->base : place->root,
             request->object != NULL ? request->object : "");
    const char *query = request->query != NULL ? request->query : "";
    if (snprintf(url, sizeof url, "http%s://%s%s%s%s", place->is_tls ? "s" : "",
                 place->host, path, query[0] != '\0' ? "?" : "", query)
        >= (int) sizeof url)
        return ERR_LIMIT;
    /* signed anew each time: a signature is good for minutes */
    sigv4_time((time_t) clock_unix_s(), time);
    int err = request_sign(client, request, path, hashes, time, &headers);
    const struct transfer transfer = {
        .method = request->method,
        .url = url,
        .body = request->xml,
        .file = request->file,
        .file_offset = request->offset,
        .file_size = request->size,
        .headers = headers.lines,
        .ca_file = client->ca_file,
        .is_cleanup = request->is_cleanup,
        .sent = request->sent,
        .context = request->context,
    };
    if (err == 0)
        err = transfer_run(&transfer, &out->http);
    explicit_bzero(headers.texts, sizeof headers.texts);
    if (err != 0)
        return err;
    /* what is no XML, as a proxy's page, says nothing beyond its status */
    if (s3_answer_read(bytes_of_text(out->http.body), &out->answer)
        == ERR_MEMORY)
        return ERR_MEMORY;
    return 0;
}

/* ---- again, if need be ---- */

bool
s3_is_code(const struct s3_result *result, const char *code)
{
    return result->answer.kind == S3_ANSWER_ERROR
           && strcmp(result->answer.code, code) == 0;
}

bool
s3_is_done(const struct s3_result *result)
{
    return result->http.status >= 200 && result->http.status <= 299
           && result->answer.kind != S3_ANSWER_ERROR;
}

static bool
is_altered(const struct s3_result *result)
{
    return s3_is_code(result, "BadDigest")
           || s3_is_code(result, "XAmzContentSHA256Mismatch");
}

/* It may go well later. */
static bool
is_passing(int err, const struct s3_result *result)
{
    static const char *const codes[] = {
        "InternalError",  "SlowDown",   "ServiceUnavailable",
        "RequestTimeout", "Throttling", "OperationAborted",
    };
    const int status = result->http.status;
    if (err != 0)
        return err == ERR_UPSTREAM;
    if (status == 429 || status == 500 || (status >= 502 && status <= 504))
        return true;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (s3_is_code(result, codes[i]))
            return true;
    return false;
}

int
s3_client_run(struct s3_client *client, const struct s3_request *request,
              struct s3_result *out)
{
    struct transfer_waiting waiting = {0};
    struct hashes hashes;
    unsigned altered_count = 0;
    memset(out, 0, sizeof *out);
    int err = body_hash(request, &hashes);
    if (err != 0)
        return err;
    for (;;) {
        char problem[S3_PROBLEM_SIZE];
        err = request_send(client, request, &hashes, out);
        if (request->is_once
            || !(is_passing(err, out)
                 || (err == 0 && is_altered(out)
                     && ++altered_count < ALTERED_MAX)))
            return err;
        int wait = transfer_wait(&waiting, client->place->address,
                                 err != 0 ? out->http.reason
                                          : s3_problem(client, out, problem));
        if (wait != 0)
            return wait == ERR_TIMEOUT ? ERR_TIMEOUT : err;
    }
}

/* ---- what is wrong ---- */

static const char *
remedy(const char *code)
{
    static const struct {
        const char *code, *remedy;
    } remedies[] = {
        {"InvalidAccessKeyId", "the key id is not known there: see "
                               "--s3-credentials-file"},
        {"SignatureDoesNotMatch", "the secret key is wrong, or its id: see "
                                  "--s3-credentials-file"},
        {"InvalidToken", "the session token is wrong: get new credentials"},
        {"ExpiredToken", "the session is over: get new credentials"},
        {"TokenRefreshRequired", "the session is over: get new credentials"},
        {"RequestTimeTooSkewed", "set the clock of this machine, or the "
                                 "storage's"},
        {"AccessDenied", "the key must be allowed to read, put and delete "
                         "objects there, and to list the bucket"},
        {"AllAccessDisabled", "the bucket is closed"},
        {"NoSuchBucket", "make the bucket, or correct --storage"},
        {"InvalidBucketName", "correct --storage"},
        {"AuthorizationHeaderMalformed", "give the right --s3-region"},
        {"IllegalLocationConstraintException", "give the right --s3-region "
                                               "and --s3-endpoint"},
        {"PermanentRedirect", "the bucket is elsewhere: give the right "
                              "--s3-endpoint and --s3-region"},
        {"TemporaryRedirect", "the bucket is elsewhere: give the right "
                              "--s3-endpoint and --s3-region"},
        {"BadDigest", "bytes were altered on the way, again and again"},
        {"XAmzContentSHA256Mismatch", "bytes were altered on the way, again "
                                      "and again"},
        {"SlowDown", "the storage is overloaded: try again later"},
        {"ServiceUnavailable", "the storage is overloaded: try again later"},
        {"QuotaExceeded", "it has no room left"},
        {"InsufficientStorage", "it has no room left"},
    };
    for (size_t i = 0; i < sizeof remedies / sizeof *remedies; i++)
        if (strcmp(code, remedies[i].code) == 0)
            return remedies[i].remedy;
    return NULL;
}

static const char *
status_remedy(int status)
{
    switch (status) {
    case 301:
    case 307:
        return remedy("PermanentRedirect");
    case 403:
        return remedy("AccessDenied");
    case 507:
        return remedy("QuotaExceeded");
    default:
        return NULL;
    }
}

const char *
s3_problem(const struct s3_client *client, const struct s3_result *result,
           char out[S3_PROBLEM_SIZE])
{
    const struct s3_answer *answer = &result->answer;
    const char *what = remedy(answer->code);
    if (what == NULL)
        what = status_remedy(result->http.status);
    int len = snprintf(out, S3_PROBLEM_SIZE, "%d", result->http.status);
    if (answer->code[0] != '\0')
        len += snprintf(out + len, S3_PROBLEM_SIZE - (size_t) len, " %s: %s",
                        answer->code, answer->message);
    if (answer->region[0] != '\0'
        && strcmp(answer->region, client->place->region) != 0
        && strstr(answer->message, answer->region) == NULL)
        len += snprintf(out + len, S3_PROBLEM_SIZE - (size_t) len,
                        " (region %s, not %s)", answer->region,
                        client->place->region);
    if (answer->server_time[0] != '\0')
        len += snprintf(out + len, S3_PROBLEM_SIZE - (size_t) len,
                        " (there it is %s)", answer->server_time);
    if (what != NULL)
        snprintf(out + len, S3_PROBLEM_SIZE - (size_t) len, "; %s", what);
    return out;
}
