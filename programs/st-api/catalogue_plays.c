/* SPDX-License-Identifier: Apache-2.0 */
/* What plays are told, and which of them were asked for by name or revoked. */

#include "programs/st-api/catalogue_private.h"

#include "core/err.h"

#include <stdlib.h>

static void
asker_bind(struct statement *statement, struct bytes id,
           const struct catalogue_asker *asker)
{
    statement_bind_text(statement, 1, id);
    statement_bind_text(statement, 2, bytes_of_text(asker->service));
    statement_bind_text(statement, 3, bytes_of_text(asker->region));
    statement_bind_integer(statement, 4, (int64_t) asker->now_s);
}

/* Without windows it is always there. */
static bool
is_open(struct statement *row)
{
    return statement_integer(row, 4) == 0 || statement_integer(row, 5) > 0
           || statement_integer(row, 6) > 0;
}

static void
played_read(struct statement *row, struct catalogue_played *out)
{
    TEXT_READ(row, 0, out->version);
    out->duration_ms = (uint64_t) statement_integer(row, 1);
    out->is_protected = statement_integer(row, 2) != 0;
    TEXT_READ(row, 3, out->thumbnails);
}

int
catalogue_play(struct catalogue *catalogue, struct bytes id,
               const struct catalogue_asker *asker,
               struct catalogue_played *out)
{
    struct statement *play = catalogue->play;
    asker_bind(play, id, asker);
    int step = statement_step(play);
    int err = catalogue_found(step);
    if (err == 0 && !is_open(play))
        err = ERR_DENIED;
    if (err == 0) {
        played_read(play, out);
        out->retired_s = 0;
    }
    statement_reset(play);
    return err;
}

int
catalogue_renew(struct catalogue *catalogue, struct bytes id,
                struct bytes version, uint64_t session,
                const struct catalogue_asker *asker,
                struct catalogue_played *out)
{
    struct statement *renew = catalogue->renew;
    asker_bind(renew, id, asker);
    statement_bind_text(renew, 5, version);
    statement_bind_integer(renew, 6, (int64_t) session);
    int err = catalogue_found(statement_step(renew));
    if (err == 0 && statement_integer(renew, 8) > 0)
        err = ERR_REVOKED;
    if (err == 0 && !is_open(renew))
        err = ERR_DENIED;
    if (err == 0) {
        played_read(renew, out);
        out->retired_s = (uint64_t) statement_integer(renew, 7);
    }
    statement_reset(renew);
    return err;
}

/* ---- asked for by name ---- */

static void
once_bind(struct statement *add, const struct catalogue_once *once,
          uint64_t now_s)
{
    statement_bind_text(add, 1, bytes_of_text(once->service));
    statement_bind_text(add, 2, bytes_of_text(once->name));
    statement_bind_text(add, 3, bytes_of_text(once->digest));
    statement_bind_integer(add, 4, (int64_t) once->session);
    statement_bind_integer(add, 5, (int64_t) once->expires_s);
    statement_bind_text(add, 6, bytes_of_text(once->version));
    statement_bind_integer(add, 7, (int64_t) now_s);
    statement_bind_integer(add, 8, CATALOGUE_ONCE_NOBODYS_MAX);
}

int
catalogue_play_once(struct catalogue *catalogue, struct catalogue_once *once,
                    uint64_t now_s)
{
    struct statement *find = catalogue->once_find;
    char digest[sizeof once->digest];
    once_bind(catalogue->once_add, once, now_s);
    int err = catalogue_step(catalogue->once_add);
    if (err != 0)
        return err;
    statement_bind_text(find, 1, bytes_of_text(once->service));
    statement_bind_text(find, 2, bytes_of_text(once->name));
    statement_bind_integer(find, 3, (int64_t) now_s);
    int step = statement_step(find);
    err = step < 0 ? step : 0;
    if (step == 1) {
        TEXT_READ(find, 0, digest);
        if (strcmp(digest, once->digest) != 0)
            err = ERR_DENIED;
    }
    if (step == 1 && err == 0) {
        once->session = (uint64_t) statement_integer(find, 1);
        once->expires_s = (uint64_t) statement_integer(find, 2);
        TEXT_READ(find, 3, once->version);
    }
    statement_reset(find);
    return err;
}

/* ---- revoked ---- */

#define ADMIN "*" /* in the place of a service, of which it is no id */

static void
revocation_bind(struct statement *write,
                const struct catalogue_revocation *revocation)
{
    statement_bind_integer(write, 1, (int64_t) revocation->session);
    statement_bind_integer(write, 2, (int64_t) revocation->ends_s);
}

/* One service, or nobody's players where anybody may ask, must not keep another
 * from revoking; nor all of them the admin. */
static int
revocation_has_room(struct catalogue *catalogue, const char *service)
{
    uint64_t count, own = 0;
    int err = catalogue_number(catalogue->revocations_count, &count);
    if (err != 0 || service == NULL)
        return err != 0 ? err : count < REVOCATIONS_MAX ? 0 : ERR_LIMIT;
    statement_bind_text(catalogue->revocations_of, 1, bytes_of_text(service));
    err = catalogue_number(catalogue->revocations_of, &own);
    if (err == 0
        && (own >= CATALOGUE_REVOCATIONS_SHARE
            || count >= REVOCATIONS_MAX - CATALOGUE_REVOCATIONS_SHARE))
        err = ERR_LIMIT;
    return err;
}

static int
revocation_write(struct catalogue *catalogue,
                 const struct catalogue_revocation *revocation, uint64_t now_ms)
{
    const char *service = revocation->service;
    /* first, so that two wait for each other here and not at the end */
    statement_bind_integer(catalogue->revocations_changed, 1, (int64_t) now_ms);
    int err = catalogue_step(catalogue->revocations_changed);
    if (err != 0)
        return err;
    revocation_bind(catalogue->revoke_again, revocation);
    err = catalogue_step(catalogue->revoke_again);
    if (err != 0 || database_changes(catalogue->database) > 0)
        return err;
    err = revocation_has_room(catalogue, service);
    if (err != 0)
        return err;
    revocation_bind(catalogue->revoke, revocation);
    statement_bind_text(catalogue->revoke, 3,
                        bytes_of_text(service != NULL ? service : ADMIN));
    return catalogue_step(catalogue->revoke);
}

int
catalogue_revoke(struct catalogue *catalogue,
                 const struct catalogue_revocation *revocation, uint64_t now_ms)
{
    int err = database_begin(catalogue->database);
    if (err == 0)
        err = revocation_write(catalogue, revocation, now_ms);
    return catalogue_end(catalogue, err);
}

int
catalogue_revocations_number(struct catalogue *catalogue, uint64_t *out)
{
    return catalogue_number(catalogue->revocations_number, out);
}

static int
revocations_read(struct catalogue *catalogue, uint64_t *sessions, size_t *count)
{
    struct statement *all = catalogue->revocations;
    int step;
    statement_bind_integer(all, 1, REVOCATIONS_MAX);
    for (*count = 0; (step = statement_step(all)) == 1; ++*count)
        sessions[*count] = (uint64_t) statement_integer(all, 0);
    statement_reset(all);
    return step;
}

int
catalogue_revocations(struct catalogue *catalogue, uint64_t *number,
                      struct buffer *out)
{
    uint64_t *sessions = malloc(REVOCATIONS_MAX * sizeof *sessions);
    size_t count;
    if (sessions == NULL)
        return ERR_MEMORY;
    /* before the list: of one that is older it is never the number */
    int err = catalogue_revocations_number(catalogue, number);
    if (err == 0)
        err = revocations_read(catalogue, sessions, &count);
    if (err == 0)
        err = revocations_encode(*number, sessions, count, out);
    free(sessions);
    return err;
}

/* Some at a time, so that whoever asks meanwhile does not wait for all. */
#define FORGET_COUNT 10000
#define FORGET_TIMES 50

static int
once_forget(struct catalogue *catalogue, uint64_t now_s)
{
    struct statement *forget = catalogue->once_forget;
    int err = 0;
    for (int i = 0; i < FORGET_TIMES && err == 0; i++) {
        statement_bind_integer(forget, 1, (int64_t) now_s);
        statement_bind_integer(forget, 2, FORGET_COUNT);
        err = catalogue_step(forget);
        if (database_changes(catalogue->database) < FORGET_COUNT)
            break;
    }
    return err;
}

int
catalogue_plays_forget(struct catalogue *catalogue, uint64_t now_s)
{
    int err = once_forget(catalogue, now_s);
    statement_bind_integer(catalogue->revocations_forget, 1, (int64_t) now_s);
    int other = catalogue_step(catalogue->revocations_forget);
    return err != 0 ? err : other;
}
