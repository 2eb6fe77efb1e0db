/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_ST_API_CATALOGUE_PRIVATE_H
#define PROGRAMS_ST_API_CATALOGUE_PRIVATE_H

/* The catalogue's SQL: every statement is prepared once, at the start. */

#include "platform/database.h"
#include "programs/st-api/catalogue.h"

#define CONTENT "id, title, version, duration_ms, created, updated, protected"
#define VERSION "content, version, duration_ms, created, retired, collecting"
#define TRACK \
    "name, kind, codecs, language, label, width, height, bandwidth, channels"

#define SERVICE                             \
    "id, name, rate_per_s, burst, created," \
    " rule_url, rule_timeout_ms, rule_ttl_s, rule_default"
#define KEY "id, service, digest, created, expires, jwk"

#define ONCE "service, name, digest, session, expires, version"
#define WINDOW "starts, ends, region, service"
#define FITS                                                          \
    "starts <= ?4 AND (ends = 0 OR ends > ?4) AND region IN ('', ?3)" \
    " AND service IN ('', ?2)"

/* What a play is told, where `version` is the one it is of. */
#define PLAYED(version)                                                   \
    " protected, coalesce((SELECT min(name) FROM tracks"                  \
    " WHERE content = ?1 AND tracks.version = " version " AND kind = 3)," \
    " ''),"                                                               \
    " (SELECT count(*) FROM windows WHERE content = ?1),"                 \
    " (SELECT count(*) FROM windows WHERE content = ?1 AND " FITS "),"    \
    " (SELECT count(*) FROM campaign_contents, campaigns"                 \
    " WHERE content = ?1 AND id = campaign AND " FITS ")"

/* No token of it is good any more: these are good for as long as is said, and for
 * one and a half times the film. */
#define IS_OVER(now, ttl)                               \
    "retired + CASE WHEN duration_ms * 3 / 2000 > " ttl \
    " THEN duration_ms * 3 / 2000 ELSE " ttl " END < " now

/* Its files may be taken away. Once that has begun it goes on, however long
 * tokens are good for meanwhile. */
#define MAY_GO(now, ttl) \
    "retired > 0 AND (collecting > 0 OR " IS_OVER(now, ttl) ")"

/* X(name, sql) */
#define STATEMENTS(X)                                                          \
    X(add, "INSERT INTO contents(" CONTENT ") VALUES(?1, ?2, ?3, ?4, ?5, ?5,"  \
           " CASE WHEN ?6 > 0 THEN 1 ELSE 0 END) ON CONFLICT(id) DO NOTHING")  \
    X(replace, "UPDATE contents SET title = ?2, version = ?3,"                 \
               " duration_ms = ?4, updated = ?5, protected ="                  \
               " CASE WHEN ?6 < 0 THEN protected ELSE ?6 END WHERE id = ?1")   \
    X(find, "SELECT " CONTENT " FROM contents WHERE id = ?1")                  \
    X(play, "SELECT version, duration_ms," PLAYED(                             \
                "contents.version") " FROM contents WHERE id = ?1")            \
    X(renew, "SELECT versions.version, versions.duration_ms," PLAYED(          \
                 "?5") ","                                                     \
                       " retired, (SELECT count(*) FROM revocations WHERE "    \
                       "session = ?6)"                                         \
                       " FROM contents, versions WHERE contents.id = ?1"       \
                       " AND versions.content = ?1 AND versions.version = ?5") \
    X(once_add,                                                                \
      "INSERT INTO plays_asked(" ONCE ")"                                      \
      " SELECT CAST(?1 AS CTEXT), CAST(?2 AS CTEXT),"                          \
      " CAST(?3 AS CTEXT), CAST(?4 AS BIGINT), CAST(?5 AS BIGINT),"            \
      " CAST(?6 AS CTEXT) WHERE ?1 <> '' OR (SELECT count(*) FROM"             \
      " (SELECT 1 FROM plays_asked WHERE service = '' LIMIT ?8)"               \
      " AS kept) < ?8 ON CONFLICT(service, name) DO UPDATE SET digest = ?3,"   \
      " session = ?4, expires = ?5, version = ?6"                              \
      " WHERE plays_asked.expires < ?7")                                       \
    X(once_find, "SELECT digest, session, expires, version FROM plays_asked"   \
                 " WHERE service = ?1 AND name = ?2 AND expires >= ?3")        \
    X(once_forget, "DELETE FROM plays_asked WHERE (service, name) IN"          \
                   " (SELECT service, name FROM plays_asked"                   \
                   " WHERE expires < ?1 LIMIT ?2)")                            \
    X(revoke, "INSERT INTO revocations(session, ends, service)"                \
              " VALUES(?1, ?2, ?3)")                                           \
    X(revoke_again, "UPDATE revocations SET ends = CASE WHEN ends < ?2"        \
                    " THEN ?2 ELSE ends END WHERE session = ?1")               \
    X(revocations, "SELECT session FROM revocations LIMIT ?1")                 \
    X(revocations_count, "SELECT count(*) FROM revocations")                   \
    X(revocations_of, "SELECT count(*) FROM revocations WHERE service = ?1")   \
    X(revocations_number, "SELECT n FROM totals WHERE name = 'revocations'")   \
    X(revocations_changed, "UPDATE totals SET n = CASE WHEN n < ?1 THEN"       \
                           " ?1 ELSE n + 1 END WHERE name = 'revocations'")    \
    X(revocations_forget, "DELETE FROM revocations WHERE ends < ?1")           \
    X(windows, "SELECT " WINDOW " FROM windows WHERE content = ?1"             \
               " ORDER BY starts, ends, service, region LIMIT ?2")             \
    X(window_put, "INSERT INTO windows(content, " WINDOW ")"                   \
                  " VALUES(?1, ?2, ?3, ?4, ?5)")                               \
    X(windows_remove, "DELETE FROM windows WHERE content = ?1")                \
    X(campaign_add, "INSERT INTO campaigns(id, name, " WINDOW ")"              \
                    " VALUES(?1, ?2, ?3, ?4, ?5, ?6)"                          \
                    " ON CONFLICT(id) DO NOTHING")                             \
    X(campaign_replace, "UPDATE campaigns SET name = ?2, starts = ?3,"         \
                        " ends = ?4, region = ?5, service = ?6 WHERE id = ?1") \
    X(campaign_find, "SELECT id, name, " WINDOW " FROM campaigns"              \
                     " WHERE id = ?1")                                         \
    X(campaign_remove, "DELETE FROM campaigns WHERE id = ?1")                  \
    X(campaigns, "SELECT id, name, " WINDOW " FROM campaigns WHERE id > ?1"    \
                 " ORDER BY id LIMIT ?2")                                      \
    X(campaign_contents, "SELECT content FROM campaign_contents"               \
                         " WHERE campaign = ?1 ORDER BY content LIMIT ?2")     \
    X(campaign_content_put, "INSERT INTO campaign_contents(campaign, content)" \
                            " VALUES(?1, ?2)")                                 \
    X(campaign_contents_remove, "DELETE FROM campaign_contents"                \
                                " WHERE campaign = ?1")                        \
    X(remove, "DELETE FROM contents WHERE id = ?1")                            \
    X(list, "SELECT " CONTENT " FROM contents WHERE id > ?1"                   \
            " ORDER BY id LIMIT ?2")                                           \
    X(total, "SELECT n FROM totals WHERE name = 'contents'")                   \
    X(total_add, "UPDATE totals SET n = n + ?1 WHERE name = 'contents'")       \
    X(check, "SELECT 1 FROM contents LIMIT 1")                                 \
    X(version_put, "INSERT INTO versions(" VERSION ")"                         \
                   " VALUES(?1, ?2, ?3, ?4, 0, 0)"                             \
                   " ON CONFLICT(content, version)"                            \
                   " DO UPDATE SET duration_ms = ?3, retired = 0"              \
                   " WHERE versions.collecting = 0")                           \
    X(version_retire, "UPDATE versions SET retired = ?3 WHERE content = ?1"    \
                      " AND version <> ?2 AND retired = 0")                    \
    X(version_find, "SELECT " VERSION " FROM versions"                         \
                    " WHERE content = ?1 AND version = ?2")                    \
    X(version_remove, "DELETE FROM versions WHERE content = ?1"                \
                      " AND version = ?2 AND " MAY_GO("?3", "?4"))             \
    X(version_collect, "UPDATE versions SET collecting = 1 WHERE content = ?1" \
                       " AND version = ?2 AND " MAY_GO("?3", "?4"))            \
    X(version_keep, "UPDATE versions SET retired = ?3 WHERE content = ?1"      \
                    " AND version = ?2 AND retired > 0 AND collecting = 0")    \
    X(versions, "SELECT " VERSION " FROM versions WHERE content = ?1"          \
                " ORDER BY created, version")                                  \
    X(version_release, "UPDATE versions SET collecting = 0 WHERE content = ?1" \
                       " AND version = ?2")                                    \
    X(retired,                                                                 \
      "SELECT " VERSION " FROM versions WHERE " MAY_GO(                        \
          "?1", "?3") " AND (retired, content, version) > (?4, ?5, ?6)"        \
                      " ORDER BY retired, content, version LIMIT ?2")          \
    X(track_put, "INSERT INTO tracks(content, version, " TRACK ")"             \
                 " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")      \
    X(tracks, "SELECT " TRACK " FROM tracks WHERE content = ?1"                \
              " AND version = ?2 ORDER BY name LIMIT ?3")                      \
    X(tracks_remove, "DELETE FROM tracks WHERE content = ?1"                   \
                     " AND version = ?2")                                      \
    X(services_number, "SELECT n FROM totals WHERE name = 'services'")         \
    X(services_changed, "UPDATE totals SET n = n + 1 WHERE name = 'services'") \
    X(services, "SELECT " SERVICE " FROM services ORDER BY id")                \
    X(services_count, "SELECT count(*) FROM services")                         \
    X(service_add, "INSERT INTO services(" SERVICE ")"                         \
                   " VALUES(?1, ?2, ?3, ?4, ?9, ?5, ?6, ?7, ?8)"               \
                   " ON CONFLICT(id) DO NOTHING")                              \
    X(service_replace, "UPDATE services SET name = ?2, rate_per_s = ?3,"       \
                       " burst = ?4, rule_url = ?5, rule_timeout_ms = ?6,"     \
                       " rule_ttl_s = ?7, rule_default = ?8 WHERE id = ?1")    \
    X(service_remove, "DELETE FROM services WHERE id = ?1")                    \
    X(keys, "SELECT " KEY " FROM service_keys ORDER BY service, created, id")  \
    X(keys_count, "SELECT count(*) FROM service_keys")                         \
    X(key_add, "INSERT INTO service_keys(" KEY ")"                             \
               " SELECT ?1, id, ?3, CAST(?4 AS BIGINT), CAST(?5 AS BIGINT),"   \
               " ?6 FROM services WHERE id = ?2")                              \
    X(key_remove, "DELETE FROM service_keys WHERE service = ?1 AND id = ?2")

struct catalogue {
    struct database *database;
#define STATEMENT(name, sql) struct statement *name;
    STATEMENTS(STATEMENT)
#undef STATEMENT
};

void catalogue_text_copy(char *out, size_t size, struct bytes text);

#define TEXT_READ(row, column, field) \
    catalogue_text_copy(field, sizeof(field), statement_text(row, column))

/* Four parameters, or columns, from there on. */
void catalogue_window_bind(struct statement *statement, int parameter,
                           const struct catalogue_window *window);
void catalogue_window_read(struct statement *row, int column,
                           struct catalogue_window *out);

/* The step of a statement that gives no row. */
int catalogue_step(struct statement *statement);
/* One that gives a row of one number. */
int catalogue_number(struct statement *statement, uint64_t *out);
/* 0 of a step that gave a row; ERR_NOT_FOUND of one that did not. */
int catalogue_found(int step);

/* Ends the transaction by what came of it. */
int catalogue_end(struct catalogue *catalogue, int err);

#endif
