/* SPDX-License-Identifier: Apache-2.0 */
/* Multipart uploads: started, put part by part, and ended or aborted. */

#include "programs/vodst/ingest_s3_upload.h"

#include "core/err.h"

#include <stdio.h>
#include <string.h>

#define ENDING_SIZE_MAX (S3_PARTS_MAX * 256u)
#define QUERY_SIZE (3 * S3_UPLOAD_ID_SIZE + 64)
#define CLEAR_ROUNDS_MAX 20

uint64_t
s3_part_size(uint64_t size, uint64_t wanted)
{
    const uint64_t least = (size + S3_PARTS_MAX - 1) / S3_PARTS_MAX;
    return least > wanted ? least : wanted;
}

/* What is sent of a part, as what was sent of the file. */
struct part_sent {
    const struct s3_upload_file *file;
    uint64_t before;
};

static void
part_sent(uint64_t bytes, void *context)
{
    const struct part_sent *part = context;
    if (part->file->sent != NULL)
        part->file->sent(part->before + bytes, part->file->context);
}

/* "partNumber=N&uploadId=ID", or the second alone. */
static int
query_write(unsigned number, const char *id, char out[QUERY_SIZE])
{
    struct buffer text;
    buffer_init(&text, QUERY_SIZE);
    if (number > 0)
        buffer_printf(&text, "partNumber=%u&", number);
    buffer_append_text(&text, "uploadId=");
    sigv4_encode(bytes_of_text(id), false, &text);
    buffer_append_u8(&text, '\0');
    const int err = text.err;
    if (err == 0)
        memcpy(out, text.ptr, text.len);
    buffer_fini(&text);
    return err;
}

/* Into XML as it is. */
static bool
etag_is_plain(const char *etag)
{
    for (size_t i = 0; etag[i] != '\0'; i++)
        if (etag[i] < ' ' || etag[i] > '~' || strchr("<>&", etag[i]) != NULL)
            return false;
    return etag[0] != '\0';
}

static int
part_put(struct s3_client *client, const struct s3_upload_file *file,
         unsigned number, const char *id, struct buffer *ending,
         struct s3_result *out)
{
    const uint64_t offset = (number - 1) * file->part_size;
    const uint64_t left = file->size - offset;
    struct part_sent sent = {file, offset};
    char query[QUERY_SIZE];
    int err = query_write(number, id, query);
    const struct s3_request request = {
        .method = "PUT",
        .object = file->object,
        .query = query,
        .file = file->path,
        .offset = offset,
        .size = left < file->part_size ? left : file->part_size,
        .sent = part_sent,
        .context = &sent,
    };
    if (err == 0)
        err = s3_client_run(client, &request, out);
    if (err != 0 || !s3_is_done(out))
        return err;
    if (!etag_is_plain(out->http.etag)) {
        snprintf(out->http.reason, sizeof out->http.reason,
                 "it gives no ETag for a part");
        return ERR_UPSTREAM;
    }
    buffer_printf(ending,
                  "<Part><PartNumber>%u</PartNumber><ETag>%s</ETag></Part>",
                  number, out->http.etag);
    return ending->err;
}

static int
parts_put(struct s3_client *client, const struct s3_upload_file *file,
          const char *id, struct buffer *ending, struct s3_result *out)
{
    unsigned number = 0;
    int err = 0;
    for (uint64_t at = 0; at < file->size && err == 0; at += file->part_size) {
        err = part_put(client, file, ++number, id, ending, out);
        if (err == 0 && !s3_is_done(out))
            return 0;
    }
    return err;
}

static int
parts_join(struct s3_client *client, const struct s3_upload_file *file,
           const char *id, struct buffer *ending, struct s3_result *out)
{
    char query[QUERY_SIZE];
    buffer_append_text(ending, "</CompleteMultipartUpload>");
    int err = ending->err != 0 ? ending->err : query_write(0, id, query);
    const struct s3_request request = {
        .method = "POST",
        .object = file->object,
        .query = query,
        .xml = buffer_bytes(ending),
    };
    return err != 0 ? err : s3_client_run(client, &request, out);
}

static void
upload_abort(struct s3_client *client, const char *object, const char *id)
{
    static struct s3_result result; /* large */
    char query[QUERY_SIZE];
    const struct s3_request request = {
        .method = "DELETE",
        .object = object,
        .query = query,
        .is_once = true,
        .is_cleanup = true,
    };
    /* No answer worth telling on top of the first error. */
    if (query_write(0, id, query) == 0)
        s3_client_run(client, &request, &result);
}

int
s3_upload(struct s3_client *client, const struct s3_upload_file *given,
          struct s3_result *out)
{
    struct s3_upload_file file = *given;
    char id[S3_UPLOAD_ID_SIZE];
    struct buffer ending;
    const struct s3_request start = {
        .method = "POST", .object = file.object, .query = "uploads="};
    file.part_size = s3_part_size(file.size, file.part_size);
    int err = s3_client_run(client, &start, out);
    if (err != 0 || !s3_is_done(out))
        return err;
    if (out->answer.kind != S3_ANSWER_STARTED
        || out->answer.upload_id[0] == '\0') {
        snprintf(out->http.reason, sizeof out->http.reason,
                 "it gives no id for an upload in parts");
        return ERR_UPSTREAM;
    }
    memcpy(id, out->answer.upload_id, sizeof id);
    buffer_init(&ending, ENDING_SIZE_MAX);
    buffer_append_text(&ending, "<CompleteMultipartUpload xmlns="
                                "\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    err = parts_put(client, &file, id, &ending, out);
    if (err == 0 && s3_is_done(out))
        err = parts_join(client, &file, id, &ending, out);
    if (err != 0 || !s3_is_done(out))
        upload_abort(client, file.object, id);
    buffer_fini(&ending);
    return err;
}

void
s3_uploads_clear(struct s3_client *client, const char *prefix)
{
    static struct s3_result result; /* large */
    char base[S3_PREFIX_SIZE + S3_OBJECT_SIZE];
    struct buffer query;
    const size_t own_len = strlen(client->place->prefix);
    snprintf(base, sizeof base, "%s%s", client->place->prefix, prefix);
    buffer_init(&query, 4 * sizeof base);
    buffer_printf(&query, "max-uploads=%d&prefix=", S3_UPLOADS_MAX);
    sigv4_encode(bytes_of_text(base), false, &query);
    buffer_append_text(&query, "&uploads=");
    buffer_append_u8(&query, '\0');
    const struct s3_request request = {
        .method = "GET",
        .query = (const char *) query.ptr,
        .is_once = true,
        .is_cleanup = true,
    };
    for (unsigned round = 0; query.err == 0 && round < CLEAR_ROUNDS_MAX;
         round++) {
        if (s3_client_run(client, &request, &result) != 0
            || !s3_is_done(&result) || result.answer.kind != S3_ANSWER_UPLOADS
            || result.answer.upload_count == 0)
            break;
        const struct s3_answer answer = result.answer;
        bool is_ours = true;
        for (size_t i = 0; is_ours && i < answer.upload_count; i++) {
            const struct s3_upload *one = &answer.uploads[i];
            is_ours = strncmp(one->object, base, strlen(base)) == 0;
            if (is_ours)
                upload_abort(client, one->object + own_len, one->id);
        }
        if (!is_ours) /* a store that does not know prefixes here */
            break;
    }
    buffer_fini(&query);
}
