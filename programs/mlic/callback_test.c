/* SPDX-License-Identifier: Apache-2.0 */
/* What services answer, and how long it is remembered, by a given clock. */

#include "core/err.h"
#include "media/crypt/keys.h"
#include "programs/mlic/callback_cache.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SD (1u << CRYPT_CLASS_SD)
#define AUDIO (1u << CRYPT_CLASS_AUDIO)

static void
an_answer_says_what_it_allows(void **state)
{
    static const struct {
        const char *body;
        struct callback_answer answer;
    } cases[] = {
        {"{\"allow\":true}",
         {true, "", UINT32_MAX, 0, 0, CALLBACK_AGE_UNKNOWN}},
        {"{\"allow\":false,\"reason\":\"not paid\",\"max_age\":0}",
         {false, "not paid", UINT32_MAX, 0, 0, 0}},
        {"{\"allow\":true,\"classes\":[\"SD\",\"AUDIO\"],\"license_s\":600,"
         "\"playback_s\":60,\"max_age\":30,\"reason\":\"\"}",
         {true, "", SD | AUDIO, 600, 60, 30}},
        {"{\"allow\":true,\"classes\":[]}",
         {true, "", 0, 0, 0, CALLBACK_AGE_UNKNOWN}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct callback_answer answer;
        const struct callback_answer *expected = &cases[i].answer;
        const char *reason;
        assert_int_equal(callback_answer_read(bytes_of_text(cases[i].body),
                                              &answer, &reason),
                         0);
        assert_int_equal(answer.allows, expected->allows);
        assert_string_equal(answer.reason, expected->reason);
        assert_int_equal(answer.classes, expected->classes);
        assert_int_equal(answer.license_s, expected->license_s);
        assert_int_equal(answer.playback_s, expected->playback_s);
        assert_int_equal(answer.max_age_s, expected->max_age_s);
    }
}

static void
what_is_not_understood_is_no_answer(void **state)
{
    static const char *const bodies[] = {
        "",
        "true",
        "[]",
        "{}",
        "{\"allow\":1}",
        "{\"allow\":\"true\"}",
        "{\"allow\":true",
        "{\"allow\":true}x",
        "{\"allow\":false,\"allow\":true}",
        "{\"allow\":true,\"country\":\"DE\"}",
        "{\"allow\":true,\"classes\":\"SD\"}",
        "{\"allow\":true,\"classes\":[\"8K\"]}",
        "{\"allow\":true,\"license_s\":0}",
        "{\"allow\":true,\"playback_s\":-1}",
        "{\"allow\":true,\"playback_s\":4294967296}",
        "{\"allow\":true,\"max_age\":1.5}",
        "{\"allow\":false,\"reason\":7}",
        "{\"allow\":false,\"reason\":\"a\\nb\"}",
        "{\"allow\":true,\"Allow\":false}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct callback_answer answer = {.license_s = 7};
        const char *reason = NULL;
        assert_int_equal(
            callback_answer_read(bytes_of_text(bodies[i]), &answer, &reason),
            ERR_INVALID);
        assert_non_null(reason);
        assert_int_equal(answer.license_s, 7);
    }
}

static void
an_age_is_read_from_a_header(void **state)
{
    static const struct {
        const char *header;
        uint32_t age_s;
    } cases[] = {
        {NULL, CALLBACK_AGE_UNKNOWN},
        {"", CALLBACK_AGE_UNKNOWN},
        {"private", CALLBACK_AGE_UNKNOWN},
        {"max-age=60", 60},
        {"private, max-age=60", 60},
        {"Max-Age=60,must-revalidate", 60},
        {"max-age=60, max-age=5", 5},
        {"max-age=60, no-store", 0},
        {"No-Cache", 0},
        {"max-age=", 0},
        {"max-age=x", 0},
        {"max-age=-1", 0},
        {"max-age=99999999999999999999", 0},
        {"max-age=99999999999", CALLBACK_AGE_UNKNOWN - 1},
        {"s-maxage=7", CALLBACK_AGE_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(callback_age_read(cases[i].header), cases[i].age_s);
}

static void
a_question_is_known_by_all_but_the_play(void **state)
{
    struct network network = {0}, other;
    assert_int_equal(network_parse("192.0.2.1", &other), 0);
    const struct callback_question asked = {"film", "anna", "v1",
                                            "p",    SD,     &network};
    struct callback_question others[] = {asked, asked, asked,
                                         asked, asked, asked};
    others[0].play = "q"; /* the same */
    others[1].content = "movie";
    others[2].viewer = "ann";
    others[3].version = "";
    others[4].classes = SD | AUDIO;
    others[5].network = &other;
    uint8_t one[CALLBACK_QUESTION_SIZE], two[CALLBACK_QUESTION_SIZE];
    assert_true(callback_question_digest(&asked, "kino", "https://a/", one));
    for (size_t i = 0; i < 6; i++) {
        assert_true(
            callback_question_digest(&others[i], "kino", "https://a/", two));
        assert_int_equal(memcmp(one, two, sizeof one) == 0, i == 0);
    }
    assert_true(callback_question_digest(&asked, "club", "https://a/", two));
    assert_memory_not_equal(one, two, sizeof one);
    assert_true(callback_question_digest(&asked, "kino", "https://b/", two));
    assert_memory_not_equal(one, two, sizeof one);
}

static void
a_question_is_signed_with_its_time(void **state)
{
    char out[CALLBACK_SIGNATURE_SIZE];
    const uint8_t secret[32] = {7};
    /* printf '1.{}' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0700.. */
    assert_true(callback_question_sign(bytes_of(secret, 32), "1", "{}", out));
    assert_string_equal(
        out,
        "sha256="
        "9fb183cc926354c351ef2895a92cf52386f8037bdd64017ab4d8ca27cd0bde3f");
}

static const struct callback_answer allows = {.allows = true}, refuses = {0};

static int
cache_make(void **state)
{
    return callback_cache_new((struct callback_cache **) state);
}

static int
cache_forget(void **state)
{
    callback_cache_free(*state);
    return 0;
}

static void
an_answer_holds_for_its_age(void **state)
{
    struct callback_cache *cache = *state;
    const uint8_t one[CALLBACK_QUESTION_SIZE] = {1},
                  other[CALLBACK_QUESTION_SIZE] = {2};
    assert_null(callback_cache_get(cache, one, true, 1000));
    callback_cache_put(cache, one, &allows, 10, 0, 1000);
    assert_true(callback_cache_get(cache, one, false, 10999)->allows);
    assert_null(callback_cache_get(cache, one, false, 11000));
    assert_null(callback_cache_get(cache, one, true, 11000));
    assert_null(callback_cache_get(cache, other, true, 1000));
}

static void
what_allows_can_be_stale_and_what_refuses_cannot(void **state)
{
    struct callback_cache *cache = *state;
    const uint8_t one[CALLBACK_QUESTION_SIZE] = {1};
    callback_cache_put(cache, one, &allows, 10, 20, 1000);
    assert_null(callback_cache_get(cache, one, false, 11000));
    assert_true(callback_cache_get(cache, one, true, 30999)->allows);
    assert_null(callback_cache_get(cache, one, true, 31000));
    callback_cache_put(cache, one, &refuses, 10, 20, 1000);
    assert_false(callback_cache_get(cache, one, true, 10999)->allows);
    assert_null(callback_cache_get(cache, one, true, 11000));
}

static void
what_is_said_now_takes_the_place_of_before(void **state)
{
    struct callback_cache *cache = *state;
    const uint8_t one[CALLBACK_QUESTION_SIZE] = {1};
    callback_cache_put(cache, one, &allows, 100, 100, 1000);
    callback_cache_put(cache, one, &refuses, 0, 100, 2000);
    assert_null(callback_cache_get(cache, one, true, 2000));
    /* so does another question in its place, and is not taken for it */
    uint8_t other[CALLBACK_QUESTION_SIZE] = {1, [31] = 1};
    callback_cache_put(cache, one, &allows, 100, 0, 1000);
    callback_cache_put(cache, other, &refuses, 100, 0, 1000);
    assert_null(callback_cache_get(cache, one, true, 1000));
    assert_false(callback_cache_get(cache, other, true, 1000)->allows);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_says_what_it_allows),
        cmocka_unit_test(what_is_not_understood_is_no_answer),
        cmocka_unit_test(an_age_is_read_from_a_header),
        cmocka_unit_test(a_question_is_known_by_all_but_the_play),
        cmocka_unit_test(a_question_is_signed_with_its_time),
        cmocka_unit_test_setup_teardown(an_answer_holds_for_its_age, cache_make,
                                        cache_forget),
        cmocka_unit_test_setup_teardown(
            what_allows_can_be_stale_and_what_refuses_cannot, cache_make,
            cache_forget),
        cmocka_unit_test_setup_teardown(
            what_is_said_now_takes_the_place_of_before, cache_make,
            cache_forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
