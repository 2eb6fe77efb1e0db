/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "core/err.h"
#include "programs/vodst/ingest_s3_answer.h"

#define XMLNS " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""

static struct s3_answer answer;

static int
read_text(const char *text)
{
    return s3_answer_read(bytes_of_text(text), &answer);
}

static void
an_error_says_why(void **state)
{
    assert_int_equal(
        read_text("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>"
                  "<Code>AuthorizationHeaderMalformed</Code><Message>the "
                  "region is\nwrong \xc3\xa4</Message><Region>eu-central-1"
                  "</Region><Extra><Code>no</Code></Extra></Error>"),
        0);
    assert_int_equal(answer.kind, S3_ANSWER_ERROR);
    assert_string_equal(answer.code, "AuthorizationHeaderMalformed");
    assert_string_equal(answer.message, "the region is?wrong ??");
    assert_string_equal(answer.region, "eu-central-1");
}

static void
an_upload_has_an_id_in_any_namespace(void **state)
{
    static const char *const texts[] = {
        "<InitiateMultipartUploadResult" XMLNS "><Key>k</Key><UploadId>a.b_"
        "</UploadId></InitiateMultipartUploadResult>",
        "<InitiateMultipartUploadResult><UploadId>a.<!-- -->b_</UploadId>"
        "</InitiateMultipartUploadResult>",
    };
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(read_text(texts[i]), 0);
        assert_int_equal(answer.kind, S3_ANSWER_STARTED);
        assert_string_equal(answer.upload_id, "a.b_");
    }
}

static void
text_add(char text[4096], const char *more)
{
    const size_t len = strlen(text);
    snprintf(text + len, 4096 - len, "%s", more);
}

static void
of_uploads_under_way_the_first_are_told(void **state)
{
    char text[4096] =
        "<ListMultipartUploadsResult" XMLNS "><Key>no</Key><KeyMarker/>";
    for (size_t i = 0; i < S3_UPLOADS_MAX + 2; i++)
        text_add(text, "<Upload><Initiator><ID>x</ID><Key>no</Key></Initiator>"
                       "<UploadId>id</UploadId><Key>a/b</Key></Upload>");
    text_add(text, "</ListMultipartUploadsResult>");
    assert_int_equal(read_text(text), 0);
    assert_int_equal(answer.kind, S3_ANSWER_UPLOADS);
    assert_int_equal(answer.upload_count, S3_UPLOADS_MAX);
    for (size_t i = 0; i < S3_UPLOADS_MAX; i++) {
        assert_string_equal(answer.uploads[i].object, "a/b");
        assert_string_equal(answer.uploads[i].id, "id");
    }
}

static void
of_objects_the_first_are_told(void **state)
{
    char text[4096] = "<ListBucketResult" XMLNS "><Name>films</Name><Prefix>a/"
                      "</Prefix><Key>no</Key>";
    assert_int_equal(read_text("<ListBucketResult><KeyCount>0</KeyCount>"
                               "</ListBucketResult>"),
                     0);
    assert_int_equal(answer.kind, S3_ANSWER_OBJECTS);
    assert_int_equal(answer.object_count, 0);
    for (size_t i = 0; i < S3_OBJECTS_MAX + 2; i++)
        text_add(text, "<Contents><Owner><Key>no</Key></Owner><Key>a/&lt;b"
                       "</Key><Size>5</Size></Contents>");
    text_add(text, "<CommonPrefixes><Key>no</Key></CommonPrefixes>"
                   "</ListBucketResult>");
    assert_int_equal(read_text(text), 0);
    assert_int_equal(answer.object_count, S3_OBJECTS_MAX);
    for (size_t i = 0; i < S3_OBJECTS_MAX; i++)
        assert_string_equal(answer.objects[i], "a/<b");
}

static void
what_is_no_such_document_is_refused_or_passed_over(void **state)
{
    static const char *const bad[] = {
        "busy",
        "<Error>",
        "<Error><Code>x</Error>",
        "<!DOCTYPE Error [<!ENTITY a \"b\">]><Error><Code>&a;</Code></Error>",
        "<a><a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a></a>",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(read_text(bad[i]), ERR_INVALID);
        assert_int_equal(answer.kind, S3_ANSWER_OTHER);
    }
    assert_int_equal(read_text(""), 0);
    assert_int_equal(answer.kind, S3_ANSWER_OTHER);
    assert_int_equal(read_text("<html><Code>x</Code></html>"), 0);
    assert_int_equal(answer.kind, S3_ANSWER_OTHER);
    assert_string_equal(answer.code, "");
}

static void
a_message_is_cut_and_an_id_or_a_name_is_not(void **state)
{
    static char text[8192], filler[2048];
    memset(filler, 'x', sizeof filler - 1);
    snprintf(text, sizeof text, "<Error><Message>%s</Message></Error>", filler);
    assert_int_equal(read_text(text), 0);
    assert_int_equal(strlen(answer.message), sizeof answer.message - 1);
    snprintf(text, sizeof text,
             "<InitiateMultipartUploadResult><UploadId>%s</UploadId>"
             "</InitiateMultipartUploadResult>",
             filler);
    assert_int_equal(read_text(text), ERR_INVALID);
    assert_string_equal(answer.upload_id, "");
    snprintf(text, sizeof text,
             "<ListBucketResult><Contents><Key>%s</Key></Contents>"
             "</ListBucketResult>",
             filler);
    assert_int_equal(read_text(text), ERR_INVALID);
    assert_int_equal(answer.object_count, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_says_why),
        cmocka_unit_test(an_upload_has_an_id_in_any_namespace),
        cmocka_unit_test(of_uploads_under_way_the_first_are_told),
        cmocka_unit_test(of_objects_the_first_are_told),
        cmocka_unit_test(what_is_no_such_document_is_refused_or_passed_over),
        cmocka_unit_test(a_message_is_cut_and_an_id_or_a_name_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
