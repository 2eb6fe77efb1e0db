/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue's SQL: every statement is prepared once, at the start. */

#include "programs/st-api/catalogue.h"

#include "platform/database.h"

#include <stdlib.h>

static const char *const migrations[] = {
    "CREATE TABLE contents("
    " id TEXT PRIMARY KEY NOT NULL,"
    " title TEXT NOT NULL,"
    " version TEXT NOT NULL,"
    " duration_ms INTEGER NOT NULL,"
    " created INTEGER NOT NULL,"
    " updated INTEGER NOT NULL"
    ") WITHOUT ROWID",
};

#define COLUMNS "id, title, version, duration_ms, created, updated"

/* X(name, sql) */
#define STATEMENTS(X)                                                         \
    X(put, "INSERT INTO contents(" COLUMNS ") VALUES(?1, ?2, ?3, ?4, ?5, ?5)" \
           " ON CONFLICT(id) DO UPDATE SET title = ?2, version = ?3,"         \
           " duration_ms = ?4, updated = ?5")                                 \
    X(find, "SELECT " COLUMNS " FROM contents WHERE id = ?1")                 \
    X(version, "SELECT version, duration_ms FROM contents WHERE id = ?1")     \
    X(remove, "DELETE FROM contents WHERE id = ?1")                           \
    X(list, "SELECT " COLUMNS " FROM contents WHERE id > ?1"                  \
            " ORDER BY id LIMIT ?2")                                          \
    X(count, "SELECT count(*) FROM contents")                                 \
    X(check, "SELECT 1 FROM contents LIMIT 1")

struct catalogue {
    struct database *database;
#define STATEMENT(name, sql) struct statement *name;
    STATEMENTS(STATEMENT)
#undef STATEMENT
    uint64_t content_count;
};

static void
text_copy(char *out, size_t size, struct bytes text)
{
    size_t len = text.len < size ? text.len : size - 1;
    if (len > 0)
        memcpy(out, text.ptr, len);
    out[len] = '\0';
}

static void
row_read(struct statement *row, struct catalogue_content *out)
{
    text_copy(out->id, sizeof out->id, statement_text(row, 0));
    text_copy(out->title, sizeof out->title, statement_text(row, 1));
    text_copy(out->version, sizeof out->version, statement_text(row, 2));
    out->duration_ms = (uint64_t) statement_integer(row, 3);
    out->created_s = (uint64_t) statement_integer(row, 4);
    out->updated_s = (uint64_t) statement_integer(row, 5);
}

static int
prepare(struct catalogue *catalogue)
{
    int err;
#define STATEMENT(name, sql)                                                 \
    if ((err = database_prepare(catalogue->database, sql, &catalogue->name)) \
        != 0)                                                                \
        return err;
    STATEMENTS(STATEMENT)
#undef STATEMENT
    return 0;
}

/* The step of a statement that gives no row. */
static int
step_done(struct statement *statement)
{
    int step = statement_step(statement);
    statement_reset(statement);
    return step < 0 ? step : 0;
}

int
catalogue_open(const char *path, struct catalogue **out)
{
    struct catalogue *catalogue = calloc(1, sizeof *catalogue);
    if (catalogue == NULL)
        return ERR_MEMORY;
    int err =
        database_open(path, migrations, sizeof migrations / sizeof *migrations,
                      &catalogue->database);
    if (err != 0 || (err = prepare(catalogue)) != 0)
        goto failed;
    int step = statement_step(catalogue->count);
    if (step == 1)
        catalogue->content_count =
            (uint64_t) statement_integer(catalogue->count, 0);
    statement_reset(catalogue->count);
    if (step < 0) {
        err = step;
        goto failed;
    }
    *out = catalogue;
    return 0;

failed:
    catalogue_close(catalogue);
    return err;
}

void
catalogue_close(struct catalogue *catalogue)
{
    if (catalogue == NULL)
        return;
#define STATEMENT(name, sql) statement_free(catalogue->name);
    STATEMENTS(STATEMENT)
#undef STATEMENT
    database_close(catalogue->database);
    free(catalogue);
}

int
catalogue_put(struct catalogue *catalogue,
              const struct catalogue_content *content, uint64_t now_s,
              struct catalogue_content *out, bool *is_new)
{
    struct catalogue_content found;
    struct bytes id = bytes_of_text(content->id);
    int err = catalogue_find(catalogue, id, &found);
    if (err != 0 && err != ERR_NOT_FOUND)
        return err;
    bool was_missing = err == ERR_NOT_FOUND;

    struct statement *put = catalogue->put;
    statement_bind_text(put, 1, id);
    statement_bind_text(put, 2, bytes_of_text(content->title));
    statement_bind_text(put, 3, bytes_of_text(content->version));
    statement_bind_integer(put, 4, (int64_t) content->duration_ms);
    statement_bind_integer(put, 5, (int64_t) now_s);
    err = step_done(put);
    if (err != 0)
        return err;
    if (was_missing)
        catalogue->content_count++;
    err = catalogue_find(catalogue, id, out);
    if (err == 0)
        *is_new = was_missing;
    return err;
}

int
catalogue_find(struct catalogue *catalogue, struct bytes id,
               struct catalogue_content *out)
{
    struct statement *find = catalogue->find;
    statement_bind_text(find, 1, id);
    int step = statement_step(find);
    if (step == 1)
        row_read(find, out);
    statement_reset(find);
    return step == 1 ? 0 : step == 0 ? ERR_NOT_FOUND : step;
}

int
catalogue_find_version(struct catalogue *catalogue, struct bytes id,
                       char version[CONTENT_ID_LEN_MAX + 1],
                       uint64_t *duration_ms)
{
    struct statement *find = catalogue->version;
    statement_bind_text(find, 1, id);
    int step = statement_step(find);
    if (step == 1) {
        text_copy(version, CONTENT_ID_LEN_MAX + 1, statement_text(find, 0));
        *duration_ms = (uint64_t) statement_integer(find, 1);
    }
    statement_reset(find);
    return step == 1 ? 0 : step == 0 ? ERR_NOT_FOUND : step;
}

int
catalogue_remove(struct catalogue *catalogue, struct bytes id)
{
    statement_bind_text(catalogue->remove, 1, id);
    int err = step_done(catalogue->remove);
    if (err != 0)
        return err;
    if (database_changes(catalogue->database) == 0)
        return ERR_NOT_FOUND;
    if (catalogue->content_count > 0)
        catalogue->content_count--;
    return 0;
}

int
catalogue_list(struct catalogue *catalogue, struct bytes after, unsigned limit,
               void (*each)(const struct catalogue_content *content,
                            void *context),
               void *context, bool *has_more)
{
    struct statement *list = catalogue->list;
    statement_bind_text(list, 1, after);
    statement_bind_integer(list, 2, (int64_t) limit + 1);
    int step;
    unsigned count = 0;
    while ((step = statement_step(list)) == 1 && count < limit) {
        struct catalogue_content content;
        row_read(list, &content);
        each(&content, context);
        count++;
    }
    statement_reset(list);
    if (step < 0)
        return step;
    *has_more = step == 1;
    return 0;
}

uint64_t
catalogue_count(const struct catalogue *catalogue)
{
    return catalogue->content_count;
}

int
catalogue_check(struct catalogue *catalogue)
{
    int step = statement_step(catalogue->check);
    statement_reset(catalogue->check);
    return step < 0 ? step : 0;
}
