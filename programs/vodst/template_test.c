/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/vodst/template.h"
#include "core/err.h"
#include "platform/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

static char folder[] = "/tmp/template-test-XXXXXX";
static char error[512];

static void
put(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(file_write_atomic(path, bytes_of_text(text), 0600, false),
                     0);
}

static int
render(const char *file, char *out, size_t out_size)
{
    const struct template_value values[] = {
        {"port", "8080"}, {"nodes", "a\nb"}, {"empty", ""}, {NULL, NULL}};
    struct buffer buffer;
    buffer_init(&buffer, TEMPLATE_SIZE_MAX);
    error[0] = '\0';
    const int err =
        template_render(folder, file, values, &buffer, error, sizeof error);
    snprintf(out, out_size, "%.*s", (int) buffer.len,
             buffer.ptr ? (const char *) buffer.ptr : "");
    buffer_fini(&buffer);
    return err;
}

static void
values_and_includes_are_put_in_place(void **state)
{
    char out[256];
    put("part.in", "part of @port@\n");
    put("whole.in", "listen @port@;@empty@\n@include part@\n@nodes@\nend");
    assert_int_equal(render("whole", out, sizeof out), 0);
    assert_string_equal(out, "listen 8080;\npart of 8080\na\nb\nend");
}

static void
a_lone_at_sign_stays(void **state)
{
    char out[256];
    put("at.in", "location @fill { } a@b @@ @port @Port@\n");
    assert_int_equal(render("at", out, sizeof out), 0);
    assert_string_equal(out, "location @fill { } a@b @@ @port @Port@\n");
}

static void
a_name_without_a_value_is_named_with_its_line(void **state)
{
    char out[256], expected[512];
    put("bad.in", "one\ntwo @prot@\n");
    put("outer.in", "\n@include bad@\n");
    assert_int_equal(render("outer", out, sizeof out), ERR_NOT_FOUND);
    snprintf(expected, sizeof expected,
             "%s/bad.in:2: there is no value for @prot@", folder);
    assert_string_equal(error, expected);
}

static void
includes_that_cannot_be_are_refused(void **state)
{
    char out[256];
    put("open.in", "@include part\n");
    assert_int_equal(render("open", out, sizeof out), ERR_INVALID);
    assert_non_null(strstr(error, "open.in:1: "));
    put("self.in", "@include self@\n");
    assert_int_equal(render("self", out, sizeof out), ERR_LIMIT);
    assert_non_null(strstr(error, "self.in:1: "));
    put("lost.in", "@include nowhere@\n");
    assert_int_equal(render("lost", out, sizeof out), ERR_NOT_FOUND);
    assert_non_null(strstr(error, "nowhere.in: "));
}

static int
folder_open(void **state)
{
    return mkdtemp(folder) == NULL;
}

static int
folder_close(void **state)
{
    return folder_remove(folder);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_and_includes_are_put_in_place),
        cmocka_unit_test(a_lone_at_sign_stays),
        cmocka_unit_test(a_name_without_a_value_is_named_with_its_line),
        cmocka_unit_test(includes_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests_name("template", tests, folder_open,
                                       folder_close);
}
