/* SPDX-License-Identifier: Apache-2.0 */
/* Services and their keys: few, read as a whole. */

#include "programs/st-api/catalogue_private.h"

#include <stdio.h>
#include <stdlib.h>

/* Begins a transaction; whoever keeps services in memory looks at the number.
 * It is changed first, so that two wait for each other here, and count what is
 * there one after the other. */
static int
change_begin(struct catalogue *catalogue)
{
    int err = database_begin(catalogue->database);
    return err == 0 ? catalogue_step(catalogue->services_changed) : err;
}

/* Of a statement that has to have found its row. */
static int
one_step(struct catalogue *catalogue, struct statement *statement)
{
    int err = catalogue_step(statement);
    return err == 0 && database_changes(catalogue->database) == 0
               ? ERR_NOT_FOUND
               : err;
}

/* More than can be read as a whole must not come to be. */
static int
count_check(struct statement *count, uint64_t max)
{
    uint64_t n;
    int err = catalogue_number(count, &n);
    return err == 0 && n > max ? ERR_LIMIT : err;
}

static void
service_bind(struct statement *statement,
             const struct catalogue_service *service)
{
    statement_bind_text(statement, 1, bytes_of_text(service->id));
    statement_bind_text(statement, 2, bytes_of_text(service->name));
    statement_bind_integer(statement, 3, (int64_t) service->rate_per_s);
    statement_bind_integer(statement, 4, (int64_t) service->burst);
    statement_bind_text(statement, 5, bytes_of_text(service->rule_url));
    statement_bind_integer(statement, 6, (int64_t) service->rule_timeout_ms);
    statement_bind_integer(statement, 7, (int64_t) service->rule_ttl_s);
    statement_bind_integer(statement, 8, service->rule_allows_silence);
}

static int
service_write(struct catalogue *catalogue,
              const struct catalogue_service *service, uint64_t now_s,
              bool *was_added)
{
    service_bind(catalogue->service_add, service);
    statement_bind_integer(catalogue->service_add, 9, (int64_t) now_s);
    int err = catalogue_step(catalogue->service_add);
    if (err != 0)
        return err;
    *was_added = database_changes(catalogue->database) > 0;
    if (*was_added)
        return count_check(catalogue->services_count, CATALOGUE_SERVICES_MAX);
    service_bind(catalogue->service_replace, service);
    return catalogue_step(catalogue->service_replace);
}

int
catalogue_service_put(struct catalogue *catalogue,
                      const struct catalogue_service *service, uint64_t now_s,
                      bool *is_new)
{
    bool was_added = false;
    int err = change_begin(catalogue);
    if (err == 0)
        err = service_write(catalogue, service, now_s, &was_added);
    err = catalogue_end(catalogue, err);
    if (err == 0)
        *is_new = was_added;
    return err;
}

int
catalogue_service_remove(struct catalogue *catalogue, struct bytes id)
{
    int err = change_begin(catalogue);
    if (err == 0) {
        statement_bind_text(catalogue->service_remove, 1, id);
        err = one_step(catalogue, catalogue->service_remove);
    }
    return catalogue_end(catalogue, err);
}

int
catalogue_service_key_add(struct catalogue *catalogue,
                          const struct catalogue_service_key *key)
{
    char digest[2 * sizeof key->digest + 1];
    for (size_t i = 0; i < sizeof key->digest; i++)
        snprintf(digest + 2 * i, 3, "%02x", key->digest[i]);
    int err = change_begin(catalogue);
    if (err == 0) {
        struct statement *add = catalogue->key_add;
        statement_bind_text(add, 1, bytes_of_text(key->id));
        statement_bind_text(add, 2, bytes_of_text(key->service));
        statement_bind_text(add, 3, bytes_of_text(digest));
        statement_bind_integer(add, 4, (int64_t) key->created_s);
        statement_bind_integer(add, 5, (int64_t) key->expires_s);
        statement_bind_text(add, 6,
                            bytes_of_text(key->jwk != NULL ? key->jwk : ""));
        err = one_step(catalogue, add);
    }
    if (err == 0)
        err = count_check(catalogue->keys_count, CATALOGUE_SERVICE_KEYS_MAX);
    return catalogue_end(catalogue, err);
}

int
catalogue_service_key_remove(struct catalogue *catalogue, struct bytes service,
                             struct bytes id)
{
    int err = change_begin(catalogue);
    if (err == 0) {
        statement_bind_text(catalogue->key_remove, 1, service);
        statement_bind_text(catalogue->key_remove, 2, id);
        err = one_step(catalogue, catalogue->key_remove);
    }
    return catalogue_end(catalogue, err);
}

int
catalogue_services_number(struct catalogue *catalogue, uint64_t *out)
{
    return catalogue_number(catalogue->services_number, out);
}

static void
service_read(struct statement *row, void *item)
{
    struct catalogue_service *out = item;
    TEXT_READ(row, 0, out->id);
    TEXT_READ(row, 1, out->name);
    out->rate_per_s = (uint64_t) statement_integer(row, 2);
    out->burst = (uint64_t) statement_integer(row, 3);
    out->created_s = (uint64_t) statement_integer(row, 4);
    TEXT_READ(row, 5, out->rule_url);
    out->rule_timeout_ms = (uint64_t) statement_integer(row, 6);
    out->rule_ttl_s = (uint64_t) statement_integer(row, 7);
    out->rule_allows_silence = statement_integer(row, 8) != 0;
}

/* A public key that there is no memory for is as one that is not there. */
static void
key_read(struct statement *row, void *item)
{
    struct catalogue_service_key *out = item;
    char digest[2 * sizeof out->digest + 1];
    TEXT_READ(row, 0, out->id);
    TEXT_READ(row, 1, out->service);
    TEXT_READ(row, 2, digest);
    for (size_t i = 0; i < sizeof out->digest; i++) {
        const char pair[3] = {digest[2 * i], digest[2 * i + 1], '\0'};
        out->digest[i] = (uint8_t) strtoul(pair, NULL, 16);
    }
    out->created_s = (uint64_t) statement_integer(row, 3);
    out->expires_s = (uint64_t) statement_integer(row, 4);
    const struct bytes jwk = statement_text(row, 5);
    out->jwk = jwk.len == 0 ? NULL : strndup((const char *) jwk.ptr, jwk.len);
}

void
catalogue_keys_free(struct catalogue_service_key *keys, unsigned count)
{
    for (unsigned i = 0; keys != NULL && i < count; i++)
        free(keys[i].jwk);
    free(keys);
}

/* All rows into one array; what was read until a failure is there, too. */
static int
rows_read(struct statement *rows, size_t size, unsigned max,
          void (*read)(struct statement *row, void *item), void *items,
          unsigned *count)
{
    char **array = items;
    unsigned room = 0;
    int step;
    *array = NULL;
    *count = 0;
    while ((step = statement_step(rows)) == 1) {
        if (*count == room) {
            room = room == 0 ? 16 : room * 2;
            if (room > max)
                room = max;
            char *larger =
                *count < max ? reallocarray(*array, room, size) : NULL;
            if (larger == NULL) {
                step = *count < max ? ERR_MEMORY : ERR_LIMIT;
                break;
            }
            *array = larger;
        }
        read(rows, *array + (*count)++ * size);
    }
    statement_reset(rows);
    return step;
}

int
catalogue_services(struct catalogue *catalogue,
                   struct catalogue_service **services, unsigned *service_count,
                   struct catalogue_service_key **keys, unsigned *key_count)
{
    *keys = NULL;
    *key_count = 0;
    int err = rows_read(catalogue->services, sizeof **services,
                        CATALOGUE_SERVICES_MAX, service_read, services,
                        service_count);
    if (err == 0)
        err = rows_read(catalogue->keys, sizeof **keys,
                        CATALOGUE_SERVICE_KEYS_MAX, key_read, keys, key_count);
    if (err != 0) {
        free(*services);
        catalogue_keys_free(*keys, *key_count);
        *services = NULL;
        *keys = NULL;
        *service_count = *key_count = 0;
    }
    return err;
}
