/* SPDX-License-Identifier: Apache-2.0 */
/* Contents, versions and tracks; the schema. */

#include "programs/st-api/catalogue_private.h"

#include <limits.h>
#include <stdlib.h>

static const char *const migrations[] = {
    "CREATE TABLE contents("
    " id CTEXT PRIMARY KEY NOT NULL,"
    " title CTEXT NOT NULL,"
    " version CTEXT NOT NULL,"
    " duration_ms BIGINT NOT NULL,"
    " created BIGINT NOT NULL,"
    " updated BIGINT NOT NULL)",

    "CREATE TABLE versions("
    " content CTEXT NOT NULL,"
    " version CTEXT NOT NULL,"
    " duration_ms BIGINT NOT NULL,"
    " created BIGINT NOT NULL,"
    " retired BIGINT NOT NULL,"
    " PRIMARY KEY(content, version));"
    "INSERT INTO versions SELECT id, version, duration_ms, updated, 0"
    " FROM contents;"
    "CREATE INDEX versions_retired ON versions(retired) WHERE retired > 0;"
    "CREATE TABLE tracks("
    " content CTEXT NOT NULL,"
    " version CTEXT NOT NULL,"
    " name CTEXT NOT NULL,"
    " kind BIGINT NOT NULL,"
    " codecs CTEXT NOT NULL,"
    " language CTEXT NOT NULL,"
    " label CTEXT NOT NULL,"
    " width BIGINT NOT NULL,"
    " height BIGINT NOT NULL,"
    " bandwidth BIGINT NOT NULL,"
    " channels BIGINT NOT NULL,"
    " PRIMARY KEY(content, version, name),"
    " FOREIGN KEY(content, version) REFERENCES versions(content, version)"
    " ON DELETE CASCADE);"
    /* counted as they come and go: counting 370,000 takes tens of ms */
    "CREATE TABLE totals(name CTEXT PRIMARY KEY NOT NULL, n BIGINT NOT NULL);"
    "INSERT INTO totals SELECT 'contents', count(*) FROM contents",

    "CREATE TABLE services("
    " id CTEXT PRIMARY KEY NOT NULL,"
    " name CTEXT NOT NULL,"
    " rate_per_s BIGINT NOT NULL,"
    " burst BIGINT NOT NULL,"
    " created BIGINT NOT NULL);"
    "CREATE TABLE service_keys("
    " id CTEXT PRIMARY KEY NOT NULL,"
    " service CTEXT NOT NULL REFERENCES services(id) ON DELETE CASCADE,"
    " digest CTEXT NOT NULL," /* SHA-256 in hex digits */
    " created BIGINT NOT NULL,"
    " expires BIGINT NOT NULL);"
    /* goes up with each change, so that all st-api see that there was one */
    "INSERT INTO totals VALUES('services', 1)",

    "CREATE TABLE windows("
    " content CTEXT NOT NULL,"
    " starts BIGINT NOT NULL,"
    " ends BIGINT NOT NULL,"
    " region CTEXT NOT NULL,"
    " service CTEXT NOT NULL);"
    "CREATE INDEX windows_content ON windows(content);"
    "CREATE TABLE campaigns("
    " id CTEXT PRIMARY KEY NOT NULL,"
    " name CTEXT NOT NULL,"
    " starts BIGINT NOT NULL,"
    " ends BIGINT NOT NULL,"
    " region CTEXT NOT NULL,"
    " service CTEXT NOT NULL);"
    "CREATE TABLE campaign_contents("
    " campaign CTEXT NOT NULL REFERENCES campaigns(id) ON DELETE CASCADE,"
    " content CTEXT NOT NULL,"
    " PRIMARY KEY(content, campaign));"
    "CREATE INDEX campaign_contents_campaign ON campaign_contents(campaign)",

    "ALTER TABLE contents ADD COLUMN protected BIGINT NOT NULL DEFAULT 0;"
    /* plays that were asked for by an idempotency key */
    "CREATE TABLE plays_asked("
    " service CTEXT NOT NULL,"
    " name CTEXT NOT NULL,"
    " digest CTEXT NOT NULL," /* of the request, in hex digits */
    " session BIGINT NOT NULL,"
    " expires BIGINT NOT NULL,"
    " version CTEXT NOT NULL,"
    " PRIMARY KEY(service, name));"
    "CREATE INDEX plays_asked_expires ON plays_asked(expires);"
    "CREATE TABLE revocations("
    " session BIGINT PRIMARY KEY NOT NULL,"
    " ends BIGINT NOT NULL);" /* when none of its tokens is good any more */
    "CREATE INDEX revocations_ends ON revocations(ends);"
    "INSERT INTO totals VALUES('revocations', 0)",

    "ALTER TABLE services ADD COLUMN rule_url CTEXT NOT NULL DEFAULT '';"
    "ALTER TABLE services ADD COLUMN rule_timeout_ms BIGINT NOT NULL DEFAULT 0;"
    "ALTER TABLE services ADD COLUMN rule_ttl_s BIGINT NOT NULL DEFAULT 0;"
    /* 1: who does not answer allows */
    "ALTER TABLE services ADD COLUMN rule_default BIGINT NOT NULL DEFAULT 0;"
    /* a public key instead of the digest of a secret */
    "ALTER TABLE service_keys ADD COLUMN jwk CTEXT NOT NULL DEFAULT ''",

    /* of a version whose files are being taken away */
    "ALTER TABLE versions ADD COLUMN collecting BIGINT NOT NULL DEFAULT 0",

    /* who revoked; of those of before it is not known, and they end soon */
    "ALTER TABLE revocations ADD COLUMN service CTEXT NOT NULL DEFAULT '';"
    "CREATE INDEX revocations_service ON revocations(service)",
};

const char *
catalogue_track_kind_name(enum catalogue_track_kind kind)
{
    static const char *const names[] = {
#define CATALOGUE_TRACK_KIND(symbol, name) name,
        CATALOGUE_TRACK_KINDS(CATALOGUE_TRACK_KIND)
#undef CATALOGUE_TRACK_KIND
    };
    return (unsigned) kind < CATALOGUE_TRACK_KIND_COUNT ? names[kind] : NULL;
}

/* ---- rows ---- */

void
catalogue_text_copy(char *out, size_t size, struct bytes text)
{
    size_t len = text.len < size ? text.len : size - 1;
    if (len > 0)
        memcpy(out, text.ptr, len);
    out[len] = '\0';
}

static void
content_read(struct statement *row, struct catalogue_content *out)
{
    TEXT_READ(row, 0, out->id);
    TEXT_READ(row, 1, out->title);
    TEXT_READ(row, 2, out->version);
    out->duration_ms = (uint64_t) statement_integer(row, 3);
    out->created_s = (uint64_t) statement_integer(row, 4);
    out->updated_s = (uint64_t) statement_integer(row, 5);
    out->is_protected = statement_integer(row, 6) != 0;
}

static void
version_read(struct statement *row, struct catalogue_version *out)
{
    TEXT_READ(row, 0, out->content);
    TEXT_READ(row, 1, out->version);
    out->duration_ms = (uint64_t) statement_integer(row, 2);
    out->created_s = (uint64_t) statement_integer(row, 3);
    out->retired_s = (uint64_t) statement_integer(row, 4);
    out->is_collecting = statement_integer(row, 5) != 0;
}

static void
track_read(struct statement *row, struct catalogue_track *out)
{
    TEXT_READ(row, 0, out->name);
    out->kind = (enum catalogue_track_kind) statement_integer(row, 1);
    TEXT_READ(row, 2, out->codecs);
    TEXT_READ(row, 3, out->language);
    TEXT_READ(row, 4, out->label);
    out->width = (uint64_t) statement_integer(row, 5);
    out->height = (uint64_t) statement_integer(row, 6);
    out->bandwidth = (uint64_t) statement_integer(row, 7);
    out->channels = (uint64_t) statement_integer(row, 8);
}

int
catalogue_step(struct statement *statement)
{
    int step = statement_step(statement);
    statement_reset(statement);
    return step < 0 ? step : 0;
}

int
catalogue_found(int step)
{
    return step == 1 ? 0 : step == 0 ? ERR_NOT_FOUND : step;
}

int
catalogue_number(struct statement *statement, uint64_t *out)
{
    int step = statement_step(statement);
    if (step == 1)
        *out = (uint64_t) statement_integer(statement, 0);
    statement_reset(statement);
    return catalogue_found(step);
}

int
catalogue_end(struct catalogue *catalogue, int err)
{
    if (err == 0)
        err = database_commit(catalogue->database);
    if (err != 0)
        database_rollback(catalogue->database);
    return err;
}

static void
version_bind(struct statement *statement, struct bytes content,
             struct bytes version)
{
    statement_bind_text(statement, 1, content);
    statement_bind_text(statement, 2, version);
}

/* ---- opening ---- */

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

int
catalogue_open(const char *place, struct catalogue **out)
{
    struct catalogue *catalogue = calloc(1, sizeof *catalogue);
    if (catalogue == NULL)
        return ERR_MEMORY;
    int err =
        database_open(place, migrations, sizeof migrations / sizeof *migrations,
                      &catalogue->database);
    if (err == 0)
        err = prepare(catalogue);
    if (err != 0) {
        catalogue_close(catalogue);
        return err;
    }
    *out = catalogue;
    return 0;
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

/* ---- contents ---- */

static int
total_add(struct catalogue *catalogue, int64_t n)
{
    statement_bind_integer(catalogue->total_add, 1, n);
    return catalogue_step(catalogue->total_add);
}

static void
content_bind(struct statement *statement, const struct catalogue_put *put,
             uint64_t now_s)
{
    const struct catalogue_content *content = &put->content;
    statement_bind_text(statement, 1, bytes_of_text(content->id));
    statement_bind_text(statement, 2, bytes_of_text(content->title));
    statement_bind_text(statement, 3, bytes_of_text(content->version));
    statement_bind_integer(statement, 4, (int64_t) content->duration_ms);
    statement_bind_integer(statement, 5, (int64_t) now_s);
    statement_bind_integer(
        statement, 6, put->is_protection_kept ? -1 : content->is_protected);
}

/* Its row is locked from here on: two that replace a content do so one after
 * the other, in the order of their versions' rows too. */
static int
content_write(struct catalogue *catalogue, const struct catalogue_put *put,
              uint64_t now_s, bool *is_new)
{
    content_bind(catalogue->add, put, now_s);
    int err = catalogue_step(catalogue->add);
    if (err != 0)
        return err;
    *is_new = database_changes(catalogue->database) > 0;
    if (*is_new)
        return total_add(catalogue, 1);
    content_bind(catalogue->replace, put, now_s);
    return catalogue_step(catalogue->replace);
}

static int
versions_write(struct catalogue *catalogue, struct bytes content,
               struct bytes version, uint64_t duration_ms, uint64_t now_s)
{
    version_bind(catalogue->version_put, content, version);
    statement_bind_integer(catalogue->version_put, 3, (int64_t) duration_ms);
    statement_bind_integer(catalogue->version_put, 4, (int64_t) now_s);
    int err = catalogue_step(catalogue->version_put);
    if (err == 0 && database_changes(catalogue->database) == 0)
        err = ERR_STALE; /* it is being taken away */
    if (err != 0)
        return err;
    version_bind(catalogue->version_retire, content, version);
    statement_bind_integer(catalogue->version_retire, 3, (int64_t) now_s);
    return catalogue_step(catalogue->version_retire);
}

static int
tracks_write(struct catalogue *catalogue, struct bytes content,
             struct bytes version, const struct catalogue_track *tracks,
             unsigned count)
{
    if (count == 0)
        return 0;
    version_bind(catalogue->tracks_remove, content, version);
    int err = catalogue_step(catalogue->tracks_remove);
    struct statement *put = catalogue->track_put;
    for (unsigned i = 0; i < count && err == 0; i++) {
        const struct catalogue_track *track = &tracks[i];
        version_bind(put, content, version);
        statement_bind_text(put, 3, bytes_of_text(track->name));
        statement_bind_integer(put, 4, (int64_t) track->kind);
        statement_bind_text(put, 5, bytes_of_text(track->codecs));
        statement_bind_text(put, 6, bytes_of_text(track->language));
        statement_bind_text(put, 7, bytes_of_text(track->label));
        statement_bind_integer(put, 8, (int64_t) track->width);
        statement_bind_integer(put, 9, (int64_t) track->height);
        statement_bind_integer(put, 10, (int64_t) track->bandwidth);
        statement_bind_integer(put, 11, (int64_t) track->channels);
        err = catalogue_step(put);
    }
    return err;
}

static int
windows_write(struct catalogue *catalogue, struct bytes content,
              const struct catalogue_window *windows, unsigned count)
{
    if (windows == NULL)
        return 0;
    statement_bind_text(catalogue->windows_remove, 1, content);
    int err = catalogue_step(catalogue->windows_remove);
    for (unsigned i = 0; i < count && err == 0; i++) {
        statement_bind_text(catalogue->window_put, 1, content);
        catalogue_window_bind(catalogue->window_put, 2, &windows[i]);
        err = catalogue_step(catalogue->window_put);
    }
    return err;
}

int
catalogue_put(struct catalogue *catalogue, const struct catalogue_put *put,
              uint64_t now_s, struct catalogue_content *out, bool *is_new)
{
    const struct catalogue_content *content = &put->content;
    struct bytes id = bytes_of_text(content->id);
    struct bytes version = bytes_of_text(content->version);
    struct catalogue_content written;
    bool was_missing = false;
    int err = database_begin(catalogue->database);
    if (err == 0)
        err = content_write(catalogue, put, now_s, &was_missing);
    if (err == 0)
        err =
            versions_write(catalogue, id, version, content->duration_ms, now_s);
    if (err == 0)
        err =
            tracks_write(catalogue, id, version, put->tracks, put->track_count);
    if (err == 0)
        err = windows_write(catalogue, id, put->windows, put->window_count);
    if (err == 0)
        err = catalogue_find(catalogue, id, &written);
    err = catalogue_end(catalogue, err);
    if (err != 0)
        return err;
    *out = written;
    *is_new = was_missing;
    return 0;
}

int
catalogue_find(struct catalogue *catalogue, struct bytes id,
               struct catalogue_content *out)
{
    struct statement *find = catalogue->find;
    statement_bind_text(find, 1, id);
    int step = statement_step(find);
    if (step == 1)
        content_read(find, out);
    statement_reset(find);
    return catalogue_found(step);
}

int
catalogue_windows(struct catalogue *catalogue, struct bytes content,
                  struct catalogue_window *out, unsigned *count)
{
    struct statement *windows = catalogue->windows;
    unsigned n = 0;
    int step;
    statement_bind_text(windows, 1, content);
    statement_bind_integer(windows, 2, CATALOGUE_WINDOWS_MAX);
    while ((step = statement_step(windows)) == 1)
        catalogue_window_read(windows, 0, &out[n++]);
    statement_reset(windows);
    if (step == 0)
        *count = n;
    return step;
}

static int
content_remove(struct catalogue *catalogue, struct bytes id, uint64_t now_s)
{
    statement_bind_text(catalogue->remove, 1, id);
    int err = catalogue_step(catalogue->remove);
    if (err != 0)
        return err;
    if (database_changes(catalogue->database) == 0)
        return ERR_NOT_FOUND;
    err = total_add(catalogue, -1);
    if (err != 0)
        return err;
    /* of no version's name: all that are played */
    version_bind(catalogue->version_retire, id, BYTES_LITERAL(""));
    statement_bind_integer(catalogue->version_retire, 3, (int64_t) now_s);
    err = catalogue_step(catalogue->version_retire);
    if (err != 0)
        return err;
    statement_bind_text(catalogue->windows_remove, 1, id);
    return catalogue_step(catalogue->windows_remove);
}

int
catalogue_remove(struct catalogue *catalogue, struct bytes id, uint64_t now_s)
{
    int err = database_begin(catalogue->database);
    if (err == 0)
        err = content_remove(catalogue, id, now_s);
    return catalogue_end(catalogue, err);
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
        content_read(list, &content);
        each(&content, context);
        count++;
    }
    statement_reset(list);
    if (step < 0)
        return step;
    *has_more = step == 1;
    return 0;
}

/* ---- versions ---- */

static int
versions_each(struct statement *statement, unsigned limit,
              void (*each)(const struct catalogue_version *version,
                           void *context),
              void *context, bool *has_more)
{
    int step;
    unsigned count = 0;
    while ((step = statement_step(statement)) == 1 && count++ < limit) {
        struct catalogue_version version;
        version_read(statement, &version);
        each(&version, context);
    }
    statement_reset(statement);
    if (step < 0)
        return step;
    *has_more = step == 1;
    return 0;
}

int
catalogue_versions(struct catalogue *catalogue, struct bytes content,
                   void (*each)(const struct catalogue_version *version,
                                void *context),
                   void *context)
{
    statement_bind_text(catalogue->versions, 1, content);
    bool has_more; /* never */
    return versions_each(catalogue->versions, UINT_MAX, each, context,
                         &has_more);
}

int
catalogue_retired(struct catalogue *catalogue, uint64_t now_s, uint64_t ttl_s,
                  const struct catalogue_version *after, unsigned limit,
                  void (*each)(const struct catalogue_version *version,
                               void *context),
                  void *context, bool *has_more)
{
    struct statement *retired = catalogue->retired;
    statement_bind_integer(retired, 1, (int64_t) now_s);
    statement_bind_integer(retired, 2, (int64_t) limit + 1);
    statement_bind_integer(retired, 3, (int64_t) ttl_s);
    statement_bind_integer(retired, 4, (int64_t) after->retired_s);
    statement_bind_text(retired, 5, bytes_of_text(after->content));
    statement_bind_text(retired, 6, bytes_of_text(after->version));
    return versions_each(retired, limit, each, context, has_more);
}

int
catalogue_version_find(struct catalogue *catalogue, struct bytes content,
                       struct bytes version, struct catalogue_version *out)
{
    struct statement *find = catalogue->version_find;
    version_bind(find, content, version);
    int step = statement_step(find);
    if (step == 1)
        version_read(find, out);
    statement_reset(find);
    return catalogue_found(step);
}

int
catalogue_tracks(struct catalogue *catalogue, struct bytes content,
                 struct bytes version, struct catalogue_track *out,
                 unsigned *count)
{
    struct statement *tracks = catalogue->tracks;
    unsigned n = 0;
    int step;
    version_bind(tracks, content, version);
    statement_bind_integer(tracks, 3, CATALOGUE_TRACKS_MAX);
    while ((step = statement_step(tracks)) == 1)
        track_read(tracks, &out[n++]);
    statement_reset(tracks);
    if (step == 0)
        *count = n;
    return step;
}

/* What a change of such a version came to. */
static int
over_judge(struct catalogue *catalogue, struct statement *change,
           struct bytes content, struct bytes version, uint64_t now_s,
           uint64_t ttl_s)
{
    version_bind(change, content, version);
    statement_bind_integer(change, 3, (int64_t) now_s);
    statement_bind_integer(change, 4, (int64_t) ttl_s);
    int err = catalogue_step(change);
    if (err != 0 || database_changes(catalogue->database) > 0)
        return err;
    struct catalogue_version found;
    err = catalogue_version_find(catalogue, content, version, &found);
    return err != 0 ? err : ERR_STALE;
}

int
catalogue_version_collect(struct catalogue *catalogue, struct bytes content,
                          struct bytes version, uint64_t now_s, uint64_t ttl_s)
{
    return over_judge(catalogue, catalogue->version_collect, content, version,
                      now_s, ttl_s);
}

int
catalogue_version_remove(struct catalogue *catalogue, struct bytes content,
                         struct bytes version, uint64_t now_s, uint64_t ttl_s)
{
    return over_judge(catalogue, catalogue->version_remove, content, version,
                      now_s, ttl_s);
}

int
catalogue_version_release(struct catalogue *catalogue, struct bytes content,
                          struct bytes version)
{
    struct statement *release = catalogue->version_release;
    version_bind(release, content, version);
    const int err = catalogue_step(release);
    return err != 0 || database_changes(catalogue->database) > 0
               ? err
               : ERR_NOT_FOUND;
}

int
catalogue_version_keep(struct catalogue *catalogue, struct bytes content,
                       struct bytes version, uint64_t now_s)
{
    struct statement *keep = catalogue->version_keep;
    version_bind(keep, content, version);
    statement_bind_integer(keep, 3, (int64_t) now_s);
    int err = catalogue_step(keep);
    if (err != 0 || database_changes(catalogue->database) > 0)
        return err;
    struct catalogue_version found;
    err = catalogue_version_find(catalogue, content, version, &found);
    return err != 0 ? err : found.is_collecting ? ERR_STALE : 0;
}

/* ---- the whole ---- */

int
catalogue_count(struct catalogue *catalogue, uint64_t *out)
{
    return catalogue_number(catalogue->total, out);
}

int
catalogue_check(struct catalogue *catalogue)
{
    int step = statement_step(catalogue->check);
    statement_reset(catalogue->check);
    return step < 0 ? step : 0;
}
