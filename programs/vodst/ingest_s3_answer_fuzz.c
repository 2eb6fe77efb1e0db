/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as an answer of S3. */

#include "programs/vodst/ingest_s3_answer.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* It ends, and may be shown on a terminal. */
static void
text_check(const char *text, size_t size)
{
    const size_t len = strnlen(text, size);
    if (len == size)
        abort();
    for (size_t i = 0; i < len; i++)
        if (text[i] < ' ' || text[i] > '~')
            abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct s3_answer answer; /* large */
    if (s3_answer_read(bytes_of(data, size), &answer) != 0
        && (answer.kind != S3_ANSWER_OTHER || answer.upload_count != 0
            || answer.object_count != 0))
        abort();
    text_check(answer.code, sizeof answer.code);
    text_check(answer.message, sizeof answer.message);
    text_check(answer.region, sizeof answer.region);
    text_check(answer.server_time, sizeof answer.server_time);
    text_check(answer.upload_id, sizeof answer.upload_id);
    if (answer.upload_count > S3_UPLOADS_MAX)
        abort();
    for (size_t i = 0; i < answer.upload_count; i++) {
        text_check(answer.uploads[i].object, sizeof answer.uploads[i].object);
        text_check(answer.uploads[i].id, sizeof answer.uploads[i].id);
    }
    if (answer.object_count > S3_OBJECTS_MAX)
        abort();
    for (size_t i = 0; i < answer.object_count; i++)
        text_check(answer.objects[i], sizeof answer.objects[i]);
    return 0;
}
