/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/st-api/secrets.h"

#include "platform/files.h"
#include "platform/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define HEX_64 \
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static char folder[64], keys_path[96], admin_path[96];

static int
setup(void **state)
{
    log_init("secrets_test", LOG_LEVEL_ERROR);
    snprintf(folder, sizeof folder, "/tmp/secrets_test.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(keys_path, sizeof keys_path, "%s/keys", folder);
    snprintf(admin_path, sizeof admin_path, "%s/admin", folder);
    return 0;
}

static int
teardown(void **state)
{
    return folder_remove(folder);
}

static int
load(const char *keys, const char *admin, struct secrets **out)
{
    assert_int_equal(
        file_write_atomic(keys_path, bytes_of_text(keys), 0600, false), 0);
    assert_int_equal(
        file_write_atomic(admin_path, bytes_of_text(admin), 0600, false), 0);
    const struct secrets_files files = {keys_path, admin_path, NULL, NULL};
    return secrets_load(&files, out);
}

static void
only_the_whole_admin_key_is_the_admin_key(void **state)
{
    struct secrets *secrets;
    assert_int_equal(load("1 " HEX_64 "\n", "0123456789abcdef\n", &secrets), 0);
    assert_non_null(secrets_token_keys(secrets));
    assert_true(
        secrets_is_admin_key(secrets, BYTES_LITERAL("0123456789abcdef")));
    static const char *const wrong[] = {
        "",
        "0123456789abcde",
        "0123456789abcdef\n",
        "0123456789abcdeg",
        "0123456789ABCDEF",
        "0123456789abcdef0",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(secrets_is_admin_key(secrets, bytes_of_text(wrong[i])));
    secrets_free(secrets);
}

static void
one_bad_file_refuses_both(void **state)
{
    static const struct {
        const char *keys, *admin;
    } cases[] = {
        {"", "0123456789abcdef"},
        {"1 nothex", "0123456789abcdef"},
        {"1 " HEX_64, ""},
        {"1 " HEX_64, "short"},
        {"1 " HEX_64, "0123456789 abcdef with spaces"},
        {"1 " HEX_64, "0123456789abcdef\nsecond line"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct secrets *secrets = NULL;
        assert_int_not_equal(load(cases[i].keys, cases[i].admin, &secrets), 0);
        assert_null(secrets);
    }
    struct secrets *secrets = NULL;
    const struct secrets_files files = {"/nonexistent", admin_path, NULL, NULL};
    assert_int_not_equal(secrets_load(&files, &secrets), 0);
    assert_null(secrets);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            only_the_whole_admin_key_is_the_admin_key, setup, teardown),
        cmocka_unit_test_setup_teardown(one_bad_file_refuses_both, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
