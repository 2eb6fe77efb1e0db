/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read by expat, which gets no document type and so no entities, as UTF-8
 * whatever it says of itself. Of the documents of the Amazon S3 API Reference
 * these count, in any namespace:
 *
 *   Error                          Code Message Region ServerTime
 *   InitiateMultipartUploadResult  UploadId
 *   ListMultipartUploadsResult     Upload: Key UploadId
 *   ListBucketResult               Contents: Key
 */

#include "programs/vodst/ingest_s3_answer.h"

#include "core/err.h"

#include <expat.h>
#include <limits.h>
#include <stdlib.h>

#define DEPTH_MAX 8

struct reader {
    XML_Parser parser;
    struct s3_answer *answer;
    unsigned depth; /* of the element that is open */
    bool is_in_upload, is_in_object;
    char *text; /* where that of the element goes, or NULL */
    size_t text_size, text_len;
    bool must_be_whole; /* a name or an id, cut, is another's */
    int err;
};

static void
reader_fail(struct reader *reader)
{
    reader->err = ERR_INVALID;
    (void) XML_StopParser(reader->parser, XML_FALSE);
}

static void
root_begin(struct reader *reader, const char *name)
{
    static const struct {
        const char *name;
        enum s3_answer_kind kind;
    } roots[] = {
        {"Error", S3_ANSWER_ERROR},
        {"InitiateMultipartUploadResult", S3_ANSWER_STARTED},
        {"ListMultipartUploadsResult", S3_ANSWER_UPLOADS},
        {"ListBucketResult", S3_ANSWER_OBJECTS},
    };
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++)
        if (strcmp(name, roots[i].name) == 0)
            reader->answer->kind = roots[i].kind;
}

/* Where the text of an element of this name, here, is to go. */
static void
text_begin(struct reader *reader, const char *name)
{
    struct s3_answer *answer = reader->answer;
    struct s3_upload *upload = reader->is_in_upload
                                   ? &answer->uploads[answer->upload_count - 1]
                                   : NULL;
    char *object =
        reader->is_in_object ? answer->objects[answer->object_count - 1] : NULL;
    const struct {
        enum s3_answer_kind kind;
        unsigned depth;
        const char *name;
        char *text;
        size_t size;
        bool must_be_whole;
    } texts[] = {
        {S3_ANSWER_ERROR, 2, "Code", answer->code, sizeof answer->code, false},
        {S3_ANSWER_ERROR, 2, "Message", answer->message, sizeof answer->message,
         false},
        {S3_ANSWER_ERROR, 2, "Region", answer->region, sizeof answer->region,
         false},
        {S3_ANSWER_ERROR, 2, "ServerTime", answer->server_time,
         sizeof answer->server_time, false},
        {S3_ANSWER_STARTED, 2, "UploadId", answer->upload_id,
         sizeof answer->upload_id, true},
        {S3_ANSWER_UPLOADS, 3, "Key", upload ? upload->object : NULL,
         S3_OBJECT_SIZE, true},
        {S3_ANSWER_UPLOADS, 3, "UploadId", upload ? upload->id : NULL,
         S3_UPLOAD_ID_SIZE, true},
        {S3_ANSWER_OBJECTS, 3, "Key", object, S3_OBJECT_SIZE, true},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (texts[i].kind != answer->kind || texts[i].depth != reader->depth
            || texts[i].text == NULL || strcmp(name, texts[i].name) != 0)
            continue;
        reader->text = texts[i].text;
        reader->text_size = texts[i].size;
        reader->text_len = 0;
        reader->text[0] = '\0';
        reader->must_be_whole = texts[i].must_be_whole;
    }
}

static void XMLCALL
element_begin(void *context, const char *name, const char **attributes)
{
    struct reader *reader = context;
    struct s3_answer *answer = reader->answer;
    const char *bar = strrchr(name, '|');
    if (bar != NULL)
        name = bar + 1;
    reader->text = NULL;
    if (++reader->depth > DEPTH_MAX) {
        reader_fail(reader);
        return;
    }
    if (reader->depth == 1)
        root_begin(reader, name);
    if (reader->depth == 2 && answer->kind == S3_ANSWER_UPLOADS)
        reader->is_in_upload = strcmp(name, "Upload") == 0
                               && answer->upload_count < S3_UPLOADS_MAX
                               && ++answer->upload_count > 0;
    if (reader->depth == 2 && answer->kind == S3_ANSWER_OBJECTS)
        reader->is_in_object = strcmp(name, "Contents") == 0
                               && answer->object_count < S3_OBJECTS_MAX
                               && ++answer->object_count > 0;
    text_begin(reader, name);
}

static void XMLCALL
element_end(void *context, const char *name)
{
    struct reader *reader = context;
    reader->text = NULL;
    if (reader->depth == 2)
        reader->is_in_upload = reader->is_in_object = false;
    reader->depth--;
}

static void XMLCALL
text_take(void *context, const char *text, int len)
{
    struct reader *reader = context;
    for (int i = 0; reader->text != NULL && i < len; i++) {
        const unsigned char c = (unsigned char) text[i];
        if (reader->text_len + 1 == reader->text_size) {
            if (reader->must_be_whole)
                reader_fail(reader);
            return;
        }
        reader->text[reader->text_len++] = c >= ' ' && c < 0x7f ? text[i] : '?';
        reader->text[reader->text_len] = '\0';
    }
}

static void XMLCALL
type_refuse(void *context, const char *name, const char *system_id,
            const char *public_id, int has_internal_subset)
{
    reader_fail(context);
}

int
s3_answer_read(struct bytes text, struct s3_answer *out)
{
    struct reader reader = {.answer = out};
    memset(out, 0, sizeof *out);
    if (text.len == 0)
        return 0;
    if (text.len > INT_MAX)
        return ERR_INVALID;
    reader.parser = XML_ParserCreateNS("UTF-8", '|');
    if (reader.parser == NULL)
        return ERR_MEMORY;
    XML_SetUserData(reader.parser, &reader);
    XML_SetElementHandler(reader.parser, element_begin, element_end);
    XML_SetCharacterDataHandler(reader.parser, text_take);
    XML_SetStartDoctypeDeclHandler(reader.parser, type_refuse);
    const enum XML_Status status = XML_Parse(
        reader.parser, (const char *) text.ptr, (int) text.len, XML_TRUE);
    int err = reader.err;
    if (err == 0 && status != XML_STATUS_OK)
        err = XML_GetErrorCode(reader.parser) == XML_ERROR_NO_MEMORY
                  ? ERR_MEMORY
                  : ERR_INVALID;
    XML_ParserFree(reader.parser);
    if (err != 0)
        memset(out, 0, sizeof *out);
    return err;
}
