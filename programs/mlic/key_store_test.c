/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/mlic/store.h"

#include "core/err.h"
#include "platform/database.h"
#include "platform/database_testing.h"
#include "platform/files.h"
#include "platform/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define ONE \
    "1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"
#define TWO \
    "2 ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100\n"
/* the number of ONE, and not its key */
#define OTHER \
    "1 0f0e0d0c0b0a09080706050403020100ffeeddccbbaa99887766554433221100\n"

static char folder[64], place[512], path[128];
static struct store *opened;
static struct key_store *store;

static struct master_keys *
masters(const char *text)
{
    struct master_keys *keys = NULL;
    assert_int_equal(file_write_atomic(path, bytes_of_text(text), 0600, false),
                     0);
    assert_int_equal(master_keys_open(path, &keys), 0);
    return keys;
}

static struct master_keys *master;

static void
use(const char *text)
{
    struct master_keys *before = master;
    master = masters(text);
    key_store_use(store, master);
    master_keys_close(before);
}

static int
folder_setup(void)
{
    log_init("key_store_test", LOG_LEVEL_ERROR);
    snprintf(folder, sizeof folder, "/tmp/key_store_test.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/master", folder);
    master = masters(ONE);
    return 0;
}

static int
store_setup(void)
{
    int err = store_open(place, master, &opened);
    if (err == 0)
        store = opened->keys;
    return err;
}

static int
file_setup(void **state)
{
    if (folder_setup() != 0)
        return -1;
    snprintf(place, sizeof place, "%s/db", folder);
    return store_setup();
}

static int
schema_setup(void **state)
{
    static unsigned number;
    if (folder_setup() != 0
        || database_testing_schema("k", ++number, place, sizeof place) != 0)
        return -1;
    return store_setup();
}

static int
teardown(void **state)
{
    store_close(opened);
    master_keys_close(master);
    master = NULL;
    return folder_remove(folder);
}

#define HD (1u << CRYPT_CLASS_HD)

static const struct key_name film = {"film", "v1", CRYPT_CENC, "HD", HD, 0};

static void
kid_of(uint8_t byte, uint8_t kid[CRYPT_KEY_SIZE])
{
    memset(kid, byte, CRYPT_KEY_SIZE);
}

static int
take(const struct key_name *name, uint8_t byte, struct crypt_key *out)
{
    uint8_t kid[CRYPT_KEY_SIZE];
    kid_of(byte, kid);
    return key_store_take(store, name, kid, 1000, out);
}

static int
find(uint8_t byte, struct key_name *name, struct crypt_key *out)
{
    uint8_t kid[CRYPT_KEY_SIZE];
    kid_of(byte, kid);
    return key_store_find(store, kid, name, out);
}

static void
a_key_is_made_once_and_found_by_its_kid(void **state)
{
    struct crypt_key made, again, other, found;
    struct key_name name;
    assert_int_equal(find(1, &name, &found), ERR_NOT_FOUND);
    assert_int_equal(take(&film, 1, &made), 0);
    assert_int_equal(made.kid[0], 1);
    assert_int_equal(take(&film, 1, &again), 0);
    assert_memory_equal(&made, &again, sizeof made);
    assert_int_equal(take(&film, 2, &other), 0);
    assert_memory_not_equal(made.key, other.key, CRYPT_KEY_SIZE);
    assert_int_equal(find(1, &name, &found), 0);
    assert_memory_equal(&made, &found, sizeof made);
    assert_string_equal(name.content, "film");
    assert_string_equal(name.version, "v1");
    assert_int_equal(name.scheme, CRYPT_CENC);
    assert_string_equal(name.track, "HD");
    assert_int_equal(name.classes, HD);
    assert_int_equal(name.period, 0);
}

static void
a_kid_is_of_one_name(void **state)
{
    const struct key_name names[] = {
        {"film2", "v1", CRYPT_CENC, "HD", HD, 0},
        {"film", "v2", CRYPT_CENC, "HD", HD, 0},
        {"film", "", CRYPT_CENC, "HD", HD, 0},
        {"film", "v1", CRYPT_CBCS, "HD", HD, 0},
        {"film", "v1", CRYPT_CENC, "SD+HD", HD | 1, 0},
        {"film", "v1", CRYPT_CENC, "HD", HD, 1},
    };
    struct crypt_key first, key;
    assert_int_equal(take(&film, 1, &first), 0);
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(take(&names[i], 1, &key), ERR_STALE);
        assert_int_equal(take(&names[i], (uint8_t) (i + 2), &key), 0);
        assert_memory_not_equal(first.key, key.key, CRYPT_KEY_SIZE);
    }
}

/* Two that begin at once both have the one that is kept. */
static void
two_stores_make_one_key(void **state)
{
    struct store *second;
    struct crypt_key one, two;
    uint8_t kid[CRYPT_KEY_SIZE];
    assert_int_equal(store_open(place, master, &second), 0);
    for (uint8_t i = 1; i < 20; i++) {
        kid_of(i, kid);
        assert_int_equal(take(&film, i, &one), 0);
        assert_int_equal(key_store_take(second->keys, &film, kid, 1000, &two),
                         0);
        assert_memory_equal(&one, &two, sizeof one);
    }
    store_close(second);
}

static void
a_key_goes_over_to_another_master_key(void **state)
{
    struct crypt_key before, after;
    struct key_name name;
    uint64_t total, old;
    unsigned count;
    for (unsigned period = 0; period < 5; period++) {
        struct key_name one = film;
        one.period = period;
        assert_int_equal(take(&one, (uint8_t) (period + 1), &before), 0);
    }
    assert_int_equal(key_store_count(store, &total, &old), 0);
    assert_int_equal(total, 5);
    assert_int_equal(old, 0);
    use(TWO ONE);
    assert_int_equal(key_store_count(store, &total, &old), 0);
    assert_int_equal(old, 5);
    assert_int_equal(key_store_rewrap(store, 3, &count), 0);
    assert_int_equal(count, 3);
    assert_int_equal(find(5, &name, &after), 0); /* the rest is as it was */
    assert_int_equal(key_store_rewrap(store, 3, &count), 0);
    assert_int_equal(count, 2);
    assert_int_equal(key_store_rewrap(store, 3, &count), 0);
    assert_int_equal(count, 0);
    use(TWO);
    assert_int_equal(find(5, &name, &after), 0);
    assert_memory_equal(&before, &after, sizeof before);
    use(ONE);
    assert_int_equal(find(5, &name, &after), ERR_UNAVAILABLE);
    use(OTHER TWO);
    assert_int_equal(find(5, &name, &after), 0);
}

static void
change(const char *sql)
{
    struct statement *statement;
    assert_int_equal(database_prepare(opened->database, sql, &statement), 0);
    assert_int_equal(statement_step(statement), 0);
    statement_reset(statement);
    statement_free(statement);
}

/* Each column of it is bound to the key, so that who can write to the database
 * gets no key for another right. */
static void
a_row_that_was_changed_is_noticed(void **state)
{
    static const char *const changes[] = {
        "UPDATE content_keys SET content = 'cheap'",
        "UPDATE content_keys SET version = 'v0'",
        "UPDATE content_keys SET scheme = 2",
        "UPDATE content_keys SET track = 'SD'",
        "UPDATE content_keys SET classes = 1",
        "UPDATE content_keys SET period = 7",
        "UPDATE content_keys SET iv = kid",
        "UPDATE content_keys SET wrapped = iv || iv || substr(wrapped, 65)",
    };
    struct crypt_key key;
    struct key_name name;
    assert_int_equal(take(&film, 1, &key), 0);
    use(OTHER);
    assert_int_equal(find(1, &name, &key), ERR_CHECKSUM);
    use(ONE);
    for (uint8_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        assert_int_equal(take(&film, i + 0x10, &key), 0);
        change(changes[i]);
        assert_int_equal(find(i + 0x10, &name, &key), ERR_CHECKSUM);
    }
    assert_int_equal(take(&film, 0x20, &key), 0);
    change("UPDATE content_keys SET kid = '21212121212121212121212121212121'"
           " WHERE kid = '20202020202020202020202020202020'");
    assert_int_equal(find(0x21, &name, &key), ERR_CHECKSUM);
}

static void
a_file_of_master_keys_is_read_strictly(void **state)
{
    static const char *const bad[] = {
        "",
        "# nothing\n",
        "1 00\n",
        "x" ONE,
        ONE ONE, /* one number twice */
        "4294967296 00112233445566778899aabbccddeeff"
        "00112233445566778899aabbccddeeff\n",
        "1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeefg\n",
    };
    struct master_keys *keys = NULL;
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(
            file_write_atomic(path, bytes_of_text(bad[i]), 0600, false), 0);
        assert_int_equal(master_keys_open(path, &keys), ERR_INVALID);
    }
    keys = masters("# the first wraps\n\n" TWO "\t" ONE);
    assert_int_equal(master_keys_current(keys), 2);
    master_keys_close(keys);
    for (unsigned mode = 0601; mode <= 0640; mode += 037) {
        assert_int_equal(chmod(path, mode), 0);
        assert_int_equal(master_keys_open(path, &keys), ERR_DENIED);
    }
    unlink(path);
    assert_int_equal(master_keys_open(path, &keys), ERR_NOT_FOUND);
}

#define CASE(setup, name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define CASES(setup)                                        \
    CASE(setup, a_key_is_made_once_and_found_by_its_kid),   \
        CASE(setup, a_kid_is_of_one_name),                  \
        CASE(setup, two_stores_make_one_key),               \
        CASE(setup, a_key_goes_over_to_another_master_key), \
        CASE(setup, a_row_that_was_changed_is_noticed)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASES(file_setup),
        CASES(schema_setup),
        CASE(file_setup, a_file_of_master_keys_is_read_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
