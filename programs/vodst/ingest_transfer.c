/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP by libcurl, blocking: an ingest does one thing at a time. */

#include "programs/vodst/ingest_transfer.h"

#include "core/err.h"
#include "platform/clock.h"
#include "programs/vodst/ingest_child.h"

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#define CONNECT_TIMEOUT_S 10L
#define SILENCE_S 60L /* without a byte in either direction */
#define PAUSE_MS_MIN 500
#define PAUSE_MS_MAX 15000

struct sending {
    const struct transfer *transfer;
    struct transfer_answer *answer;
    struct bytes body;
    FILE *file;
    uint64_t file_offset, size, sent;
    size_t body_len; /* of the answer, as kept */
    CURL *curl;
};

static struct {
    uint64_t ms;
    transfer_waits *waits;
    void *context;
} patience = {.ms = TRANSFER_PATIENCE_MS};

void
transfer_patience_set(uint64_t patience_ms, transfer_waits *waits,
                      void *context)
{
    patience.ms = patience_ms;
    patience.waits = waits;
    patience.context = context;
}

static size_t
body_give(char *out, size_t size, size_t count, void *context)
{
    struct sending *s = context;
    size_t room = size * count, got;
    if (s->size - s->sent < room) /* a part ends before its file */
        room = s->size - s->sent;
    if (s->file != NULL) {
        got = fread(out, 1, room, s->file);
        if (got == 0 && ferror(s->file))
            return CURL_READFUNC_ABORT;
    } else {
        got = room;
        memcpy(out, s->body.ptr + s->sent, got);
    }
    s->sent += got;
    return got;
}

/* libcurl starts the body again when a kept connection turns out closed. */
static int
body_seek(void *context, curl_off_t offset, int origin)
{
    struct sending *s = context;
    if (origin != SEEK_SET || offset < 0 || (uint64_t) offset > s->size)
        return CURL_SEEKFUNC_FAIL;
    if (s->file != NULL
        && fseeko(s->file, (off_t) s->file_offset + offset, SEEK_SET) != 0)
        return CURL_SEEKFUNC_FAIL;
    s->sent = (uint64_t) offset;
    return CURL_SEEKFUNC_OK;
}

static size_t
answer_take(char *text, size_t size, size_t count, void *context)
{
    struct sending *s = context;
    long status = 0;
    if (s->transfer->received != NULL
        && curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status)
               == CURLE_OK
        && status == 200) {
        s->transfer->received(
            (struct bytes){(const uint8_t *) text, size * count},
            s->transfer->context);
        return size * count;
    }
    size_t room = TRANSFER_BODY_SIZE - 1 - s->body_len;
    size_t len = size * count < room ? size * count : room;
    memcpy(s->answer->body + s->body_len, text, len);
    s->body_len += len;
    s->answer->body[s->body_len] = '\0';
    return size * count;
}

static int
progress_told(void *context, curl_off_t down_total, curl_off_t down,
              curl_off_t up_total, curl_off_t up)
{
    struct sending *s = context;
    if (s->transfer->sent != NULL)
        s->transfer->sent((uint64_t) up, s->transfer->context);
    return stop_signal() != 0 && !s->transfer->is_cleanup;
}

/* NULL when out of memory. */
static struct curl_slist *
headers_make(const struct transfer *transfer)
{
    /* No pause for a "100 Continue" that some servers never send, no name. */
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    char text[512];
    if (list != NULL && transfer->json.len > 0)
        list = curl_slist_append(list, "Content-Type: application/json");
    for (size_t i = 0; list != NULL && transfer->headers != NULL
                       && transfer->headers[i] != NULL;
         i++)
        list = curl_slist_append(list, transfer->headers[i]);
    if (list != NULL && transfer->bearer != NULL) {
        snprintf(text, sizeof text, "Authorization: Bearer %s",
                 transfer->bearer);
        list = curl_slist_append(list, text);
    }
    if (list != NULL && transfer->fill_secret != NULL) {
        snprintf(text, sizeof text, "X-Vodst-Fill: %s", transfer->fill_secret);
        list = curl_slist_append(list, text);
    }
    explicit_bzero(text, sizeof text);
    return list;
}

static void
body_set(CURL *curl, struct sending *s)
{
    if (s->file == NULL && s->body.len == 0
        && strcmp(s->transfer->method, "POST") == 0) {
        /* said to be of no bytes, which some servers insist on */
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, 0L);
    }
    if (s->file == NULL && s->body.len == 0)
        return;
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, body_give);
    curl_easy_setopt(curl, CURLOPT_READDATA, s);
    curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, body_seek);
    curl_easy_setopt(curl, CURLOPT_SEEKDATA, s);
    curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t) s->size);
    curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, 1L << 20);
}

static void
request_set(CURL *curl, const struct transfer *transfer, struct sending *s)
{
    curl_easy_setopt(curl, CURLOPT_URL, transfer->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    if (transfer->ca_file != NULL)
        curl_easy_setopt(curl, CURLOPT_CAINFO, transfer->ca_file);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, SILENCE_S);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, progress_told);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, s);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, answer_take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, s);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, s->answer->reason);
    if (transfer->user != NULL) {
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long) CURLAUTH_BASIC);
        curl_easy_setopt(curl, CURLOPT_USERNAME, transfer->user);
        curl_easy_setopt(curl, CURLOPT_PASSWORD, transfer->password);
    }
    body_set(curl, s);
    if (strcmp(transfer->method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    else
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, transfer->method);
}

static int
answer_read(CURL *curl, CURLcode code, struct transfer_answer *out)
{
    if (code == CURLE_ABORTED_BY_CALLBACK && stop_signal() != 0)
        return ERR_TIMEOUT;
    if (code == CURLE_ABORTED_BY_CALLBACK) /* by body_give */
        return ERR_IO;
    if (code == CURLE_OUT_OF_MEMORY)
        return ERR_MEMORY;
    long status = 0;
    curl_off_t size = -1;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    /* A server that refuses a large body may close while it is being sent:
     * what it said counts. */
    if (code != CURLE_OK && status < 400) {
        out->was_refused = code == CURLE_COULDNT_CONNECT
                           || code == CURLE_COULDNT_RESOLVE_HOST
                           || code == CURLE_URL_MALFORMAT
                           || code == CURLE_UNSUPPORTED_PROTOCOL;
        if (out->reason[0] == '\0')
            snprintf(out->reason, sizeof out->reason, "%s",
                     curl_easy_strerror(code));
        return ERR_UPSTREAM;
    }
    curl_easy_getinfo(curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &size);
    out->status = (int) status;
    out->size = size;
    struct curl_header *etag;
    if (curl_easy_header(curl, "ETag", 0, CURLH_HEADER, -1, &etag) == CURLHE_OK)
        snprintf(out->etag, sizeof out->etag, "%s", etag->value);
    return 0;
}

static int
file_open(const struct transfer *transfer, struct sending *s)
{
    struct stat st;
    s->file = fopen(transfer->file, "rbe");
    if (s->file == NULL || fstat(fileno(s->file), &st) != 0)
        return ERR_IO;
    s->size =
        transfer->file_size > 0 ? transfer->file_size : (uint64_t) st.st_size;
    s->file_offset = transfer->file_offset;
    return s->file_offset > 0
                   && fseeko(s->file, (off_t) s->file_offset, SEEK_SET) != 0
               ? ERR_IO
               : 0;
}

int
transfer_run(const struct transfer *transfer, struct transfer_answer *out)
{
    /* one handle: connections are kept from request to request */
    static CURL *kept;
    memset(out, 0, sizeof *out);
    out->size = -1;
    struct sending s = {.transfer = transfer,
                        .answer = out,
                        .body = transfer->json.len > 0 ? transfer->json
                                                       : transfer->body};
    s.size = s.body.len;
    struct curl_slist *headers = NULL;
    int err = ERR_MEMORY;
    if (transfer->file != NULL && (err = file_open(transfer, &s)) != 0)
        goto done;
    if (kept == NULL)
        kept = curl_easy_init();
    if (kept == NULL || (headers = headers_make(transfer)) == NULL) {
        err = ERR_MEMORY;
        goto done;
    }
    curl_easy_reset(kept);
    s.curl = kept;
    request_set(kept, transfer, &s);
    curl_easy_setopt(kept, CURLOPT_HTTPHEADER, headers);
    err = answer_read(kept, curl_easy_perform(kept), out);
    curl_easy_setopt(kept, CURLOPT_HTTPHEADER, NULL);
done:
    curl_slist_free_all(headers);
    if (s.file != NULL)
        fclose(s.file);
    return err;
}

static bool
is_worth_another(int err, const struct transfer_answer *answer)
{
    return err == ERR_UPSTREAM
           || (err == 0 && answer->status >= 502 && answer->status <= 504);
}

/* False when told to stop. */
static bool
pause_wait(uint64_t ms)
{
    const uint64_t end_ms = clock_now_ms() + ms;
    for (uint64_t now_ms; (now_ms = clock_now_ms()) < end_ms;) {
        const uint64_t left_ms = end_ms - now_ms;
        const struct timespec pause = {(time_t) (left_ms / 1000),
                                       (long) (left_ms % 1000) * 1000000};
        nanosleep(&pause, NULL); /* a signal ends it */
        if (stop_signal() != 0)
            return false;
    }
    return stop_signal() == 0;
}

/* The attempts' own time is not counted: what took hours to fail gets as much
 * patience as what failed at once. */
int
transfer_wait(struct transfer_waiting *waiting, const char *url,
              const char *reason)
{
    waiting->pause_ms =
        waiting->pause_ms == 0 ? PAUSE_MS_MIN : 2 * waiting->pause_ms;
    if (waiting->pause_ms > PAUSE_MS_MAX)
        waiting->pause_ms = PAUSE_MS_MAX;
    if (waiting->waited_ms + waiting->pause_ms > patience.ms)
        return ERR_UNAVAILABLE;
    waiting->waited_ms += waiting->pause_ms;
    if (patience.waits != NULL)
        patience.waits(url, reason, waiting->pause_ms,
                       patience.ms - waiting->waited_ms, patience.context);
    return pause_wait(waiting->pause_ms) ? 0 : ERR_TIMEOUT;
}

int
transfer_run_stubborn(const struct transfer *transfer,
                      struct transfer_answer *out)
{
    struct transfer_waiting waiting = {0};
    for (;;) {
        char problem[512];
        int err = transfer_run(transfer, out);
        if (!is_worth_another(err, out))
            return err;
        int wait = transfer_wait(&waiting, transfer->url,
                                 err != 0 ? out->reason
                                          : transfer_problem(out, problem));
        if (wait != 0)
            return wait == ERR_TIMEOUT ? ERR_TIMEOUT : err;
        if (transfer->again != NULL)
            transfer->again(transfer->context);
    }
}

const char *
transfer_problem(const struct transfer_answer *answer, char out[512])
{
    json_t *problem = json_loads(answer->body, 0, NULL);
    const char *detail = json_string_value(json_object_get(problem, "detail"));
    if (detail != NULL)
        snprintf(out, 512, "%d: %s", answer->status, detail);
    else if (answer->status == 401)
        snprintf(out, 512, "401: user or password refused");
    else if (answer->status == 403)
        snprintf(out, 512, "403: not allowed");
    else if (answer->status == 405)
        snprintf(out, 512,
                 "405: it takes no such request (are WebDAV's PUT and DELETE "
                 "switched on?)");
    else if (answer->status == 413)
        snprintf(out, 512, "413: the file is larger than it takes");
    else if (answer->status == 507)
        snprintf(out, 512, "507: it has no room left");
    else
        snprintf(out, 512, "HTTP status %d", answer->status);
    json_decref(problem);
    return out;
}

int
transfer_err(const struct transfer_answer *answer)
{
    switch (answer->status) {
    case 401:
    case 403:
        return ERR_DENIED;
    case 408: /* was too slow */
    case 425: /* too early */
    case 429: /* too many */
        return ERR_UPSTREAM;
    default:
        return answer->status >= 400 && answer->status < 500 ? ERR_INVALID
                                                             : ERR_UPSTREAM;
    }
}
