/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PostgreSQL behind platform/database.h.
 *
 * Nothing here waits for longer than ANSWER_TIMEOUT_MS: a server that hangs is
 * left, and asked anew over a new connection. A read that lost its connection
 * is asked once more; a write is not, as it may have been done.
 */

#include "platform/clock.h"
#include "platform/database_private.h"
#include "platform/log.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define ANSWER_TIMEOUT_MS 5000
#define CONNECT_TIMEOUT_S "3"
#define CONNECT_PAUSE_MS 500 /* after an attempt that failed */
#define INTEGER_TEXT_SIZE 24

/* For pg_advisory_xact_lock: "vodst" in ASCII. Who migrates holds it. */
#define SCHEMA_LOCK "508773888884"

struct postgresql {
    struct database base;
    char *uri;
    PGconn *connection;
    uint64_t connection_number; /* statements are prepared in each anew */
    uint64_t tried_ms;          /* the attempt to connect that failed; or 0 */
    bool in_transaction;        /* also one whose connection is gone */
    int changes;
    unsigned statement_count;
};

struct postgresql_statement {
    struct statement base;
    char *sql; /* with $1 for ?1 */
    char name[16];
    uint64_t connection_number; /* it is prepared in that one */
    bool is_read;
    int parameter_count;
    const char *values[STATEMENT_PARAMETERS_MAX];
    int lens[STATEMENT_PARAMETERS_MAX];
    int formats[STATEMENT_PARAMETERS_MAX]; /* 1: bytes, 0: digits */
    char integers[STATEMENT_PARAMETERS_MAX][INTEGER_TEXT_SIZE];
    PGresult *result; /* NULL: not executed */
    int row;
};

static struct postgresql *
postgresql_of(struct database *database)
{
    return (struct postgresql *) database;
}

static struct postgresql_statement *
statement_of(struct statement *statement)
{
    return (struct postgresql_statement *) statement;
}

/* ---- errors ---- */

/* By the classes of SQLSTATE, appendix A of PostgreSQL's documentation. */
static int
err_of(const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    static const struct {
        const char *start;
        int err;
    } errs[] = {
        {"53100", ERR_FULL},        /* disk_full */
        {"53", ERR_UNAVAILABLE},    /* insufficient_resources */
        {"08", ERR_UNAVAILABLE},    /* connection_exception */
        {"57", ERR_UNAVAILABLE},    /* operator_intervention */
        {"40", ERR_UNAVAILABLE},    /* transaction_rollback */
        {"55P03", ERR_UNAVAILABLE}, /* lock_not_available */
        {"25006", ERR_UNAVAILABLE}, /* read_only_sql_transaction: a standby */
    };
    if (state == NULL)
        return ERR_UNAVAILABLE; /* libpq's own: the connection */
    for (size_t i = 0; i < sizeof errs / sizeof *errs; i++)
        if (strncmp(state, errs[i].start, strlen(errs[i].start)) == 0)
            return errs[i].err;
    return ERR_IO;
}

/* A message of libpq is lines, the last one ended too. */
static void
tell(const struct database *database, const char *what, const char *message)
{
    char line[512];
    snprintf(line, sizeof line, "%s", message);
    size_t len = strlen(line);
    while (len > 0 && line[len - 1] == '\n')
        line[--len] = '\0';
    for (char *p = line; *p != '\0'; p++)
        if ((uint8_t) *p < 0x20)
            *p = ' ';
    log_error("database: %s: %s failed (%s)", database->name, what, line);
}

/* ---- the connection ---- */

static void
connection_drop(struct postgresql *postgresql)
{
    PQfinish(postgresql->connection);
    postgresql->connection = NULL;
}

static void
notice_receive(void *context, const PGresult *result)
{
}

static int
connection_make(struct postgresql *postgresql)
{
    /* what the URI says of the same comes later, and counts */
    const char *const names[] = {"connect_timeout",  "tcp_user_timeout",
                                 "application_name", "client_encoding",
                                 "dbname",           NULL};
    const char *const values[] = {CONNECT_TIMEOUT_S, "5000", "vodst", "UTF8",
                                  postgresql->uri,   NULL};
    uint64_t now_ms = clock_now_ms();
    if (postgresql->tried_ms != 0
        && now_ms - postgresql->tried_ms < CONNECT_PAUSE_MS)
        return ERR_UNAVAILABLE;
    PGconn *connection = PQconnectdbParams(names, values, 1);
    if (PQstatus(connection) != CONNECTION_OK) {
        tell(&postgresql->base, "connect", PQerrorMessage(connection));
        PQfinish(connection);
        postgresql->tried_ms = clock_now_ms() | 1;
        return ERR_UNAVAILABLE;
    }
    PQsetNoticeReceiver(connection, notice_receive, NULL);
    postgresql->tried_ms = 0;
    postgresql->connection = connection;
    postgresql->connection_number++;
    return 0;
}

/* What comes without a question is a notice, or why the connection ends and
 * then its end. */
static bool
has_ended(PGconn *connection)
{
    struct pollfd now = {PQsocket(connection), POLLIN, 0};
    while (PQstatus(connection) == CONNECTION_OK && poll(&now, 1, 0) > 0
           && PQconsumeInput(connection) == 1)
        PQisBusy(connection); /* it parses what came */
    return PQstatus(connection) != CONNECTION_OK;
}

/* A connection that the server ended while nothing was asked is replaced
 * before anything is: nothing is lost by that. */
static int
connection_ready(struct postgresql *postgresql)
{
    if (postgresql->connection != NULL && !postgresql->in_transaction
        && has_ended(postgresql->connection))
        connection_drop(postgresql);
    if (postgresql->connection != NULL)
        return 0;
    return postgresql->in_transaction ? ERR_UNAVAILABLE
                                      : connection_make(postgresql);
}

/* Sends what is left of the question and reads what has come. */
static bool
answer_wait(PGconn *connection, uint64_t deadline_ms)
{
    int unsent = PQflush(connection);
    uint64_t now_ms = clock_now_ms();
    if (unsent < 0 || now_ms >= deadline_ms)
        return false;
    struct pollfd wait = {PQsocket(connection),
                          (short) (POLLIN | (unsent ? POLLOUT : 0)), 0};
    int n = poll(&wait, 1, (int) (deadline_ms - now_ms));
    if (n < 0)
        return errno == EINTR;
    return n > 0
           && (!(wait.revents & ~POLLOUT) || PQconsumeInput(connection) == 1);
}

/* The last result of what was sent; else the connection is gone. */
static int
answer_take(struct postgresql *postgresql, const char *what, PGresult **out)
{
    PGconn *connection = postgresql->connection;
    uint64_t deadline_ms = clock_now_ms() + ANSWER_TIMEOUT_MS;
    PGresult *last = NULL;
    for (;;) {
        while (PQisBusy(connection)) {
            if (answer_wait(connection, deadline_ms))
                continue;
            bool is_late = clock_now_ms() >= deadline_ms;
            tell(&postgresql->base, what,
                 is_late ? "no answer in time" : PQerrorMessage(connection));
            PQclear(last);
            connection_drop(postgresql);
            return is_late ? ERR_TIMEOUT : ERR_UNAVAILABLE;
        }
        PGresult *next = PQgetResult(connection);
        if (next == NULL)
            break;
        PQclear(last);
        last = next;
    }
    *out = last;
    return last != NULL ? 0 : ERR_UNAVAILABLE;
}

/* `sent`: as the functions of libpq that send say it. The result is set where
 * 0 is returned. */
static int
answer_judge(struct postgresql *postgresql, const char *what, int sent,
             PGresult **out)
{
    if (sent != 1) {
        tell(&postgresql->base, what, PQerrorMessage(postgresql->connection));
        connection_drop(postgresql);
        return ERR_UNAVAILABLE;
    }
    PGresult *result;
    int err = answer_take(postgresql, what, &result);
    if (err != 0)
        return err;
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
        *out = result;
        return 0;
    }
    tell(&postgresql->base, what, PQresultErrorMessage(result));
    err = err_of(result);
    PQclear(result);
    if (PQstatus(postgresql->connection) != CONNECTION_OK)
        connection_drop(postgresql);
    return err;
}

/* ---- the database ---- */

static int
postgresql_query(struct postgresql *postgresql, const char *what,
                 const char *sql, PGresult **out)
{
    int err = connection_ready(postgresql);
    if (err != 0)
        return err;
    return answer_judge(postgresql, what,
                        PQsendQuery(postgresql->connection, sql), out);
}

static int
postgresql_execute(struct database *database, const char *what, const char *sql)
{
    PGresult *result;
    int err = postgresql_query(postgresql_of(database), what, sql, &result);
    if (err == 0)
        PQclear(result);
    return err;
}

static int
postgresql_begin(struct database *database)
{
    int err = postgresql_execute(database, "begin", "BEGIN");
    postgresql_of(database)->in_transaction = err == 0;
    return err;
}

/* Of a transaction in which something failed COMMIT is a ROLLBACK, and says
 * so. */
static int
postgresql_commit(struct database *database)
{
    struct postgresql *postgresql = postgresql_of(database);
    PGresult *result;
    int err = postgresql_query(postgresql, "commit", "COMMIT", &result);
    if (err != 0)
        return err;
    if (strcmp(PQcmdStatus(result), "COMMIT") != 0)
        err = ERR_IO;
    PQclear(result);
    postgresql->in_transaction = false;
    return err;
}

static void
postgresql_rollback(struct database *database)
{
    struct postgresql *postgresql = postgresql_of(database);
    if (postgresql->in_transaction && postgresql->connection != NULL)
        postgresql_execute(database, "rollback", "ROLLBACK");
    postgresql->in_transaction = false;
}

/* The first value of a query, 0 where it has none. */
static int
postgresql_number(struct postgresql *postgresql, const char *sql, long *out)
{
    PGresult *result;
    int err = postgresql_query(postgresql, "schema", sql, &result);
    if (err != 0)
        return err;
    *out =
        PQntuples(result) > 0 ? strtol(PQgetvalue(result, 0, 0), NULL, 10) : 0;
    PQclear(result);
    return 0;
}

static int
postgresql_schema_version_read(struct database *database, unsigned *version)
{
    struct postgresql *postgresql = postgresql_of(database);
    long is_there, number = 0;
    /* asked of pg_class: of a name alone the server remembers within a
     * transaction that it was not there */
    int err = postgresql_number(postgresql,
                                "SELECT count(*) FROM pg_class"
                                " WHERE oid = to_regclass('schema_version')",
                                &is_there);
    if (err == 0 && is_there)
        err = postgresql_number(postgresql,
                                "SELECT version FROM schema_version", &number);
    if (err == 0)
        *version = (unsigned) number;
    return err;
}

static int
postgresql_schema_version_write(struct database *database, unsigned version)
{
    char sql[64];
    snprintf(sql, sizeof sql, "UPDATE schema_version SET version = %u",
             version);
    return postgresql_execute(database, "migration", sql);
}

static int
postgresql_schema_begin(struct database *database)
{
    unsigned version;
    int err = postgresql_begin(database);
    if (err == 0)
        err =
            postgresql_execute(database, "migration",
                               "SELECT pg_advisory_xact_lock(" SCHEMA_LOCK ")");
    if (err == 0)
        err = postgresql_schema_version_read(database, &version);
    if (err == 0 && version == 0)
        err = postgresql_execute(
            database, "migration",
            "CREATE DOMAIN ctext AS text COLLATE \"C\";"
            "CREATE TABLE schema_version(version bigint NOT NULL);"
            "INSERT INTO schema_version VALUES(0)");
    if (err != 0)
        database_rollback(database);
    return err;
}

static void
postgresql_close(struct database *database)
{
    struct postgresql *postgresql = postgresql_of(database);
    PQfinish(postgresql->connection);
    free(postgresql->uri);
    free(database->name);
    free(postgresql);
}

static int
postgresql_changes(struct database *database)
{
    return postgresql_of(database)->changes;
}

/* ---- statements ---- */

static int
postgresql_prepare(struct database *database, const char *sql,
                   struct statement **out)
{
    struct postgresql *postgresql = postgresql_of(database);
    struct postgresql_statement *statement = calloc(1, sizeof *statement);
    if (statement == NULL)
        return ERR_MEMORY;
    statement->sql = strdup(sql);
    if (statement->sql == NULL) {
        free(statement);
        return ERR_MEMORY;
    }
    for (char *p = statement->sql; (p = strchr(p, '?')) != NULL;)
        *p = '$';
    statement->is_read = strncasecmp(sql, "SELECT", 6) == 0;
    snprintf(statement->name, sizeof statement->name, "s%u",
             postgresql->statement_count++);
    *out = &statement->base;
    return 0;
}

static void
postgresql_reset(struct statement *base)
{
    struct postgresql_statement *statement = statement_of(base);
    PQclear(statement->result);
    statement->result = NULL;
    statement->parameter_count = 0;
}

static void
postgresql_statement_free(struct statement *base)
{
    postgresql_reset(base);
    free(statement_of(base)->sql);
    free(base);
}

static void
parameter_set(struct postgresql_statement *statement, int parameter,
              const char *value, size_t len, int format)
{
    statement->values[parameter - 1] = value;
    statement->lens[parameter - 1] = (int) len;
    statement->formats[parameter - 1] = format;
    if (parameter > statement->parameter_count)
        statement->parameter_count = parameter;
}

static void
postgresql_bind_text(struct statement *base, int parameter, struct bytes text)
{
    parameter_set(statement_of(base), parameter, (const char *) text.ptr,
                  text.len, 1);
}

static void
postgresql_bind_integer(struct statement *base, int parameter, int64_t value)
{
    struct postgresql_statement *statement = statement_of(base);
    char *text = statement->integers[parameter - 1];
    int len = snprintf(text, INTEGER_TEXT_SIZE, "%lld", (long long) value);
    parameter_set(statement, parameter, text, (size_t) len, 0);
}

static int
statement_prepare_here(struct postgresql *postgresql,
                       struct postgresql_statement *statement)
{
    if (statement->connection_number == postgresql->connection_number)
        return 0;
    PGresult *result;
    int err =
        answer_judge(postgresql, statement->sql,
                     PQsendPrepare(postgresql->connection, statement->name,
                                   statement->sql, 0, NULL),
                     &result);
    if (err != 0)
        return err;
    PQclear(result);
    statement->connection_number = postgresql->connection_number;
    return 0;
}

static int
statement_execute(struct postgresql *postgresql,
                  struct postgresql_statement *statement)
{
    int err = connection_ready(postgresql);
    if (err == 0)
        err = statement_prepare_here(postgresql, statement);
    if (err != 0)
        return err;
    return answer_judge(
        postgresql, statement->sql,
        PQsendQueryPrepared(postgresql->connection, statement->name,
                            statement->parameter_count, statement->values,
                            statement->lens, statement->formats, 0),
        &statement->result);
}

static int
postgresql_step(struct statement *base)
{
    struct postgresql_statement *statement = statement_of(base);
    struct postgresql *postgresql = postgresql_of(base->database);
    if (statement->result == NULL) {
        bool may_repeat = statement->is_read && !postgresql->in_transaction;
        int err = statement_execute(postgresql, statement);
        if (err == ERR_UNAVAILABLE && may_repeat
            && postgresql->connection == NULL)
            err = statement_execute(postgresql, statement);
        if (err != 0)
            return err;
        postgresql->changes = atoi(PQcmdTuples(statement->result));
        statement->row = -1;
    }
    return ++statement->row < PQntuples(statement->result);
}

static struct bytes
postgresql_text(struct statement *base, int column)
{
    const struct postgresql_statement *statement = statement_of(base);
    int len = PQgetlength(statement->result, statement->row, column);
    return bytes_of(
        (const uint8_t *) PQgetvalue(statement->result, statement->row, column),
        len > 0 ? (size_t) len : 0);
}

static int64_t
postgresql_integer(struct statement *base, int column)
{
    const struct postgresql_statement *statement = statement_of(base);
    return strtoll(PQgetvalue(statement->result, statement->row, column), NULL,
                   10);
}

static const struct database_kind kind = {
    .close = postgresql_close,
    .execute = postgresql_execute,
    .begin = postgresql_begin,
    .commit = postgresql_commit,
    .rollback = postgresql_rollback,
    .schema_begin = postgresql_schema_begin,
    .schema_version_read = postgresql_schema_version_read,
    .schema_version_write = postgresql_schema_version_write,
    .changes = postgresql_changes,
    .prepare = postgresql_prepare,
    .statement_free = postgresql_statement_free,
    .bind_text = postgresql_bind_text,
    .bind_integer = postgresql_bind_integer,
    .step = postgresql_step,
    .reset = postgresql_reset,
    .text = postgresql_text,
    .integer = postgresql_integer,
};

/* "postgresql://HOST:PORT/NAME": who reads a log needs no more. */
static char *
name_of(const char *uri)
{
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(uri, &message);
    if (options == NULL) {
        log_error("database: refuse the PostgreSQL URI (%s)",
                  message != NULL ? message : "out of memory");
        PQfreemem(message);
        return NULL;
    }
    const char *host = "", *port = "", *name = "";
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
        const char *value = o->val != NULL ? o->val : "";
        if (strcmp(o->keyword, "host") == 0)
            host = value;
        else if (strcmp(o->keyword, "port") == 0)
            port = value;
        else if (strcmp(o->keyword, "dbname") == 0)
            name = value;
    }
    char *out = NULL;
    if (asprintf(&out, "postgresql://%s%s%s/%s", host, *port ? ":" : "", port,
                 name)
        < 0)
        out = NULL;
    PQconninfoFree(options);
    return out;
}

int
database_open_postgresql(const char *uri, struct database **out)
{
    struct postgresql *postgresql = calloc(1, sizeof *postgresql);
    if (postgresql == NULL)
        return ERR_MEMORY;
    postgresql->base.kind = &kind;
    postgresql->uri = strdup(uri);
    postgresql->base.name = name_of(uri);
    int err = postgresql->uri == NULL         ? ERR_MEMORY
              : postgresql->base.name == NULL ? ERR_INVALID
                                              : connection_make(postgresql);
    if (err != 0) {
        postgresql_close(&postgresql->base);
        return err;
    }
    *out = &postgresql->base;
    return 0;
}
