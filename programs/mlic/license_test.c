/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/mlic/license.h"

#include "core/err.h"
#include "platform/files.h"
#include "platform/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOW 1000
#define MASTER \
    "1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"
#define CLASS(name) (1u << CRYPT_CLASS_##name)

static char folder[64];
static struct master_keys *master;
static struct store *store;

/* Which keys there are, by the last byte of their KIDs. */
static const struct key_name names[] = {
    {"film", "v1", CRYPT_CENC, "SD", CLASS(SD), 0},
    {"film", "v1", CRYPT_CENC, "UHD", CLASS(UHD), 0},
    {"film", "v2", CRYPT_CENC, "SD", CLASS(SD), 0},
    {"other", "v1", CRYPT_CENC, "SD", CLASS(SD), 0},
};
enum { SD, UHD, SD_V2, OTHER, NONE };

static void
kid_of(unsigned which, uint8_t kid[CRYPT_KEY_SIZE])
{
    memset(kid, 0, CRYPT_KEY_SIZE);
    kid[CRYPT_KEY_SIZE - 1] = (uint8_t) (which + 1);
}

static int
setup(void **state)
{
    char place[128];
    log_init("license_test", LOG_LEVEL_ERROR);
    snprintf(folder, sizeof folder, "/tmp/license_test.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(place, sizeof place, "%s/master", folder);
    if (file_write_atomic(place, BYTES_LITERAL(MASTER), 0600, false) != 0
        || master_keys_open(place, &master) != 0)
        return -1;
    snprintf(place, sizeof place, "%s/db", folder);
    int err = store_open(place, master, &store);
    for (unsigned i = 0; i < sizeof names / sizeof *names && err == 0; i++) {
        uint8_t kid[CRYPT_KEY_SIZE];
        struct crypt_key key;
        kid_of(i, kid);
        err = key_store_take(store->keys, &names[i], kid, NOW, &key);
    }
    return err;
}

static int
teardown(void **state)
{
    store_close(store);
    master_keys_close(master);
    return folder_remove(folder);
}

/* ---- decisions ---- */

static const struct license_asker anybody = {
    .classes = UINT32_MAX,
    .service = "kino",
    .viewer = "kino/v",
    .entitlement = {.content = "film", .classes = 15, .expires_s = NOW + 600},
    .now_s = NOW,
    .lease_s = 60,
};

static struct license_key decided[LICENSE_KEYS_MAX];

/* A letter for each key that is asked for: "." granted, else why not. */
static const char *
decide(const struct license_asker *asker, bool is_persistent,
       const unsigned *which, unsigned count)
{
    static const char letters[REFUSAL_COUNT] = {
        [REFUSAL_NONE] = '.',     [REFUSAL_USED] = 'u',
        [REFUSAL_CONTENT] = 'c',  [REFUSAL_CLASS] = 'q',
        [REFUSAL_KEY] = 'k',      [REFUSAL_PLAYS] = 'p',
        [REFUSAL_SECURITY] = 's', [REFUSAL_PERSISTENCE] = 'o',
        [REFUSAL_SYSTEM] = 'n'};
    static char text[LICENSE_KEYS_MAX + 1];
    static const struct crypt_key nothing;
    struct license_request request = {.system = LICENSE_CLEARKEY,
                                      .is_persistent = is_persistent};
    memset(decided, 0, sizeof decided);
    for (unsigned i = 0; i < count; i++) {
        uint8_t kid[CRYPT_KEY_SIZE];
        kid_of(which[i], kid);
        assert_int_equal(license_kid_add(&request, kid), 0);
    }
    assert_int_equal(license_decide(store, &request, asker, decided), 0);
    for (unsigned i = 0; i < count; i++) {
        text[i] = letters[decided[i].refusal];
        /* where it is refused there is no key */
        assert_int_equal(memcmp(&decided[i].key, &nothing, sizeof nothing) == 0,
                         decided[i].refusal != REFUSAL_NONE);
    }
    text[count] = '\0';
    return text;
}

#define DECIDE(asker, ...)                                  \
    decide((asker), false, (const unsigned[]){__VA_ARGS__}, \
           sizeof((const unsigned[]){__VA_ARGS__}) / sizeof(unsigned))

static void
each_key_is_decided_on_by_itself(void **state)
{
    struct license_asker asker = anybody;
    assert_string_equal(DECIDE(&asker, SD, UHD, SD_V2, OTHER, NONE), "...ck");
    asker.entitlement.classes = CLASS(SD);
    assert_string_equal(DECIDE(&asker, SD, UHD, SD_V2, OTHER, NONE), ".q.ck");
    memcpy(asker.entitlement.version, "v1", 3);
    assert_string_equal(DECIDE(&asker, SD, UHD, SD_V2), ".qc");
    asker = anybody;
    asker.entitlement.security[CRYPT_CLASS_UHD] = SECURITY_HARDWARE;
    assert_string_equal(DECIDE(&asker, SD, UHD), ".s");
    asker.rules[0] = (struct policy_rule){.systems = 1u << LICENSE_CLEARKEY,
                                          .classes = CLASS(SD),
                                          .is_refused = true};
    asker.rule_count = 1;
    assert_string_equal(DECIDE(&asker, SD, UHD), "ns");
    const unsigned sd = SD;
    asker = anybody;
    assert_string_equal(decide(&asker, true, &sd, 1), "o");
    asker.entitlement.is_persistent = true;
    assert_string_equal(decide(&asker, true, &sd, 1), ".");
}

static void
a_play_is_taken_where_a_key_is_given(void **state)
{
    struct license_asker one = anybody, two = anybody;
    one.plays = two.plays = 1;
    memcpy(one.entitlement.play, "one", 4);
    memcpy(two.entitlement.play, "two", 4);
    /* nothing is given: no place is taken */
    assert_string_equal(DECIDE(&one, OTHER, NONE), "ck");
    assert_string_equal(DECIDE(&two, SD, OTHER), ".c");
    assert_string_equal(DECIDE(&two, UHD), ".");
    /* why else it is refused is told first */
    assert_string_equal(DECIDE(&one, SD, OTHER, UHD), "pcp");
    one.now_s += 60;
    assert_string_equal(DECIDE(&one, SD), ".");
    assert_string_equal(DECIDE(&two, SD), "p"); /* its place is gone */
    struct license_asker other = two;
    memcpy(other.viewer, "kino/w", 7);
    other.plays = 1;
    assert_string_equal(DECIDE(&other, SD), ".");
}

static void
what_is_good_once_gives_each_key_once(void **state)
{
    struct license_asker once = anybody;
    once.entitlement.is_single_use = true;
    memcpy(once.entitlement.id, "1", 2);
    assert_string_equal(DECIDE(&once, SD, OTHER), ".c");
    assert_string_equal(DECIDE(&once, SD, UHD), "u.");
    assert_string_equal(DECIDE(&once, SD, UHD), "uu");
    struct license_asker service = once;
    memcpy(service.service, "club", 5);
    assert_string_equal(DECIDE(&service, SD), ".");
}

/* ---- systems ---- */

static void
no_more_than_128_kids_are_taken(void **state)
{
    static struct license_request request;
    uint8_t kid[CRYPT_KEY_SIZE];
    for (unsigned i = 0; i < LICENSE_KEYS_MAX; i++) {
        kid_of(i, kid);
        kid[0] = (uint8_t) (i >> 7);
        assert_int_equal(license_kid_add(&request, kid), 0);
        assert_int_equal(license_kid_add(&request, kid), 0);
        assert_int_equal(request.kid_count, i + 1);
    }
    assert_int_equal(license_kid_add(&request, kid), 0); /* it is there */
    kid_of(200, kid);
    assert_int_equal(license_kid_add(&request, kid), ERR_LIMIT);
}

static void
clearkey_is_as_the_browsers_have_it(void **state)
{
    static struct license_request request;
    struct license_key keys[2] = {{0}};
    struct buffer out;
    const char *reason = NULL;
    /* the KIDs of Encrypted Media Extensions' own example */
    assert_int_equal(license_clearkey.read(
                         BYTES_LITERAL("{\"kids\":[\"LwVHf8JLtPrv2GUXFW2v_A\","
                                       "\"0DdtU9od-Bh5L3xbv0Xf_A\"],\"type\":"
                                       "\"temporary\"}"),
                         &request, &reason),
                     0);
    assert_int_equal(request.kid_count, 2);
    assert_int_equal(request.kids[0][0], 0x2f);
    assert_false(request.is_persistent);
    keys[0].refusal = REFUSAL_CLASS;
    memset(keys[1].key.key, 0xff, CRYPT_KEY_SIZE);
    buffer_init(&out, LICENSE_BODY_SIZE_MAX);
    license_clearkey.write(&request, keys, &out);
    buffer_append_u8(&out, '\0');
    assert_string_equal((char *) out.ptr,
                        "{\"keys\":[{\"kty\":\"oct\",\"kid\":"
                        "\"0DdtU9od-Bh5L3xbv0Xf_A\",\"k\":"
                        "\"_____________________w\"}],\"type\":"
                        "\"temporary\"}");
    buffer_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_key_is_decided_on_by_itself),
        cmocka_unit_test(a_play_is_taken_where_a_key_is_given),
        cmocka_unit_test(what_is_good_once_gives_each_key_once),
        cmocka_unit_test(no_more_than_128_kids_are_taken),
        cmocka_unit_test(clearkey_is_as_the_browsers_have_it),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
