/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/st-api/entitlement.h"
#include "core/err.h"
#include "platform/files.h"
#include "platform/jwt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define SECRET                                                        \
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1" \
    "f"

static char folder[] = "/tmp/vodst-entitlement-XXXXXX";
static char path[sizeof folder + 16];

static int
setup(void **state)
{
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/key", folder);
    return 0;
}

static int
teardown(void **state)
{
    return folder_remove(folder);
}

static int
key_read(const char *text, unsigned mode, struct entitlement_key **out)
{
    unlink(path);
    assert_int_equal(file_write_atomic(path, bytes_of_text(text), mode, false),
                     0);
    return entitlement_key_read(path, "7", out);
}

static void
a_secret_is_hex_digits_that_nobody_else_may_read(void **state)
{
    static const char *const wrong[] = {"", "0123456789abcdef", SECRET "0",
                                        "not hex digits, but as many of them "
                                        "as there have to be: 64 and more"};
    struct entitlement_key *key = NULL;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_not_equal(key_read(wrong[i], 0600, &key), 0);
    assert_int_equal(key_read(SECRET "\n", 0644, &key), ERR_DENIED);
    assert_int_equal(entitlement_key_read("/nonexistent", "7", &key),
                     ERR_NOT_FOUND);
    assert_null(key);
    assert_int_equal(key_read(SECRET "\n", 0600, &key), 0);
    entitlement_key_free(key);
}

static void
a_viewer_is_another_one_at_each_service(void **state)
{
    struct entitlement_key *key;
    char one[PLAYBACK_VIEWER_LEN + 1], other[PLAYBACK_VIEWER_LEN + 1];
    assert_int_equal(key_read(SECRET, 0600, &key), 0);
    entitlement_viewer(key, "kino", "anna", one);
    assert_int_equal(strlen(one), PLAYBACK_VIEWER_LEN);
    entitlement_viewer(key, "kino", "anna", other);
    assert_string_equal(one, other);
    entitlement_viewer(key, "shop", "anna", other);
    assert_string_not_equal(one, other);
    entitlement_viewer(key, "kino", "hanna", other);
    assert_string_not_equal(one, other);
    entitlement_key_free(key);
}

static json_t *
claims_of(const struct playback_id *play)
{
    struct entitlement_key *key;
    struct jwk *jwk;
    struct jwt_claimed claimed;
    char text[ENTITLEMENT_LEN_MAX];
    uint8_t secret[32];
    json_t *claims;
    size_t len;
    for (unsigned i = 0; i < sizeof secret; i++)
        secret[i] = (uint8_t) i;
    assert_int_equal(key_read(SECRET, 0600, &key), 0);
    assert_int_equal(entitlement_write(key, "st-api", play, text, &len), 0);
    assert_int_equal(jwk_of_secret(bytes_of(secret, sizeof secret), "7", &jwk),
                     0);
    assert_true(jwt_peek(bytes_of(text, len), &claimed));
    assert_string_equal(claimed.kid, "7");
    assert_string_equal(claimed.issuer, "st-api");
    assert_int_equal(jwt_verify(bytes_of(text, len), jwk, &claims), 0);
    assert_int_equal(jwt_times_judge(claims, 999, 0), 0);
    assert_int_equal(jwt_times_judge(claims, 1000, 0), ERR_EXPIRED);
    assert_true(jwt_audience_has(claims, "mlic"));
    jwk_free(jwk);
    entitlement_key_free(key);
    return claims;
}

static const char *
claim(const json_t *claims, const char *name)
{
    return json_string_value(json_object_get(claims, name));
}

static void
it_says_what_the_play_may_have_and_no_more(void **state)
{
    struct playback_id play = {.content = "film",
                               .version = "drm-1",
                               .session = 0xabcdef,
                               .expires_s = 1000};
    json_t *claims = claims_of(&play);
    assert_int_equal(json_object_size(claims), 7);
    assert_string_equal(claim(claims, "content"), "film");
    assert_string_equal(claim(claims, "version"), "drm-1");
    assert_string_equal(claim(claims, "play"), "0000000000abcdef");
    assert_string_equal(claim(claims, "jti"), "0000000000abcdef-1000");
    json_decref(claims);
    play.terms = (struct play_terms){
        .quality = QUALITY_HD, .is_single_use = true, .plays = 3};
    memcpy(play.viewer, "v", 2);
    claims = claims_of(&play);
    assert_int_equal(json_object_size(claims), 11);
    assert_string_equal(claim(claims, "sub"), "v");
    assert_int_equal(json_integer_value(json_object_get(claims, "plays")), 3);
    assert_true(json_is_true(json_object_get(claims, "single_use")));
    char *classes =
        json_dumps(json_object_get(claims, "classes"), JSON_COMPACT);
    assert_string_equal(classes, "[\"AUDIO\",\"SD\",\"HD\"]");
    free(classes);
    json_decref(claims);
}

/* ---- what a play is renewed with ---- */

static struct token_keys *
token_keys_make(void)
{
    struct token_keys *keys;
    unsigned line;
    assert_int_equal(
        token_keys_parse(BYTES_LITERAL("1 " SECRET "\n"), &keys, &line), 0);
    return keys;
}

static void
an_id_keeps_the_terms_of_its_play(void **state)
{
    struct token_keys *keys = token_keys_make();
    const struct playback_id plays[] = {
        {.content = "film", .version = "1", .expires_s = 1000},
        {.content = "film",
         .version = "1",
         .device = DEVICE_LEGACY,
         .steering = true,
         .terms = {PLAY_SCHEME_AES128, QUALITY_UHD, true, true, PLAYS_MAX},
         .viewer = "0123456789abcdef0123456789abcdef",
         .expires_s = 1000},
        {.content = "film",
         .version = "1",
         .trick_play = true,
         .terms = {PLAY_SCHEME_CLEAR, QUALITY_SD, false, true, 1},
         .expires_s = 1000},
    };
    for (size_t i = 0; i < sizeof plays / sizeof *plays; i++) {
        char text[PLAYBACK_ID_SIZE];
        struct playback_id read;
        assert_int_equal(playback_id_write(keys, &plays[i], text), 0);
        assert_int_equal(
            playback_id_read(keys, bytes_of_text(text), 999, &read), 0);
        assert_string_equal(read.viewer, plays[i].viewer);
        assert_int_equal(read.terms.scheme, plays[i].terms.scheme);
        assert_int_equal(read.terms.quality, plays[i].terms.quality);
        assert_int_equal(read.terms.plays, plays[i].terms.plays);
        assert_int_equal(read.terms.is_single_use,
                         plays[i].terms.is_single_use);
        assert_int_equal(read.terms.has_key_uris, plays[i].terms.has_key_uris);
        assert_int_equal(read.device, plays[i].device);
        assert_int_equal(read.steering, plays[i].steering);
        assert_int_equal(read.trick_play, plays[i].trick_play);
    }
    token_keys_free(keys);
}

static void
an_id_that_says_what_there_is_not_is_none(void **state)
{
    static const char *const rests[] = {
        "~film~1~~~20",                                  /* a device */
        "~film~1~~~160",                                 /* a scheme */
        "~film~1~~~4100096",                             /* 1001 plays */
        "~film~1~~~100000000",                           /* too long */
        "~film~1~~~0~0123",                              /* a viewer */
        "~film~1~~~0~0123456789abcdef0123456789abcdef~", /* more */
    };
    struct token_keys *keys = token_keys_make();
    const struct token_claims claims = {.session = 1, .expires_s = 1000};
    for (size_t i = 0; i < sizeof rests / sizeof *rests; i++) {
        char text[PLAYBACK_ID_SIZE];
        struct playback_id read;
        snprintf(text + TOKEN_TEXT_LEN, sizeof text - TOKEN_TEXT_LEN, "%s",
                 rests[i]);
        assert_int_equal(
            token_sign(keys, bytes_of_text(rests[i]), &claims, text), 0);
        assert_int_equal(
            playback_id_read(keys, bytes_of_text(text), 999, &read),
            ERR_DENIED);
    }
    token_keys_free(keys);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_is_hex_digits_that_nobody_else_may_read),
        cmocka_unit_test(a_viewer_is_another_one_at_each_service),
        cmocka_unit_test(it_says_what_the_play_may_have_and_no_more),
        cmocka_unit_test(an_id_keeps_the_terms_of_its_play),
        cmocka_unit_test(an_id_that_says_what_there_is_not_is_none),
    };
    return cmocka_run_group_tests_name("entitlement", tests, setup, teardown);
}
