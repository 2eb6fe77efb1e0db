/* SPDX-License-Identifier: Apache-2.0 */
/* The server against our client and against raw sockets, on loopback in one
 * loop. */

#include "platform/http_testing.h"

#include "platform/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- a raw client ---- */

static char raw_answer[65536];

static int
raw_connect(void)
{
    struct sockaddr_in where = {.sin_family = AF_INET,
                                .sin_port =
                                    htons((uint16_t) http_server_port(server)),
                                .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *) &where, sizeof where), 0);
    return fd;
}

/* Sends bytes, and gives what came back until the server closed or the time
 * was over. */
static bool
raw(const char *text, size_t len, unsigned wait_ms)
{
    const int fd = raw_connect();
    assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), len);
    const uint64_t end = clock_now_ms() + wait_ms;
    size_t got = 0;
    bool is_closed = false;
    while (!is_closed && clock_now_ms() < end) {
        loop_for(5);
        const ssize_t n = recv(fd, raw_answer + got,
                               sizeof raw_answer - 1 - got, MSG_DONTWAIT);
        is_closed = n == 0 || (n < 0 && errno == ECONNRESET);
        got += n > 0 ? (size_t) n : 0;
    }
    raw_answer[got] = '\0';
    close(fd);
    return is_closed;
}

static unsigned
count_in(const char *text, const char *part)
{
    unsigned count = 0;
    while ((text = strstr(text, part)) != NULL) {
        text += strlen(part);
        count++;
    }
    return count;
}

/* ---- tests ---- */

static void
a_route_gets_query_header_and_body(void **state)
{
    struct answer *a = ask("POST", "/echo?q=a%20b&r=1", "hello");
    assert_int_equal(a->err, 0);
    assert_int_equal(a->status, 200);
    assert_string_equal(a->body, "POST q=a b x=1 hello");
    assert_string_equal(a->type, "text/plain");
    assert_string_equal(a->extra, "yes");
    assert_string_equal(ask("GET", "/", "")->body, "GET q=- x=1 ");
}

static void
segments_are_taken_and_decoded(void **state)
{
    static const struct {
        const char *path;
        int status;
        const char *body;
    } cases[] = {
        {"/v1/items/abc", 200, "abc|-"},
        {"/v1/items/a%2Fb%20c", 200, "a/b c|-"},
        {"/v1/items/abc/parts/7?x=/y", 200, "abc|7"},
        {"/v1/items/", 404, NULL},
        {"/v1/items", 404, NULL},
        {"/v1/items/a/b", 404, NULL},
        {"/v1/items/a/parts/1/2", 404, NULL},
        {"/v1/items/a%", 400, NULL},
        {"/v1/items/a%4", 400, NULL},
        {"/v1/items/a%zz", 400, NULL},
        {"/v1/items/a%00b", 400, NULL},
        {"//v1/items/a", 404, NULL},
        {"/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p", 404, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer *a = ask("GET", cases[i].path, "");
        if (a->status != cases[i].status)
            fail_msg("%s: %d", cases[i].path, a->status);
        if (cases[i].body != NULL)
            assert_string_equal(a->body, cases[i].body);
    }
}

static void
a_wrong_method_is_told_the_right_ones(void **state)
{
    struct answer *a = ask("PUT", "/v1/items/x", "");
    assert_int_equal(a->status, 405);
    assert_string_equal(a->extra, "GET, HEAD, DELETE");
    assert_string_equal(a->type, "application/problem+json");
    assert_int_equal(ask("PUT", "/nothing", "")->status, 404);
}

static void
errors_are_problem_documents(void **state)
{
    struct answer *a = ask("GET", "/error", "");
    assert_int_equal(a->status, 409);
    assert_string_equal(a->type, "application/problem+json");
    assert_string_equal(
        a->body, "{\"type\":\"about:blank\",\"status\":409,\"title\":\"older "
                 "than what is held\",\"detail\":\"it is \\\"old\\\"\\u000a"
                 "\\u00e9\"}\n");
}

static void
head_has_the_length_and_no_body(void **state)
{
    struct answer *a = ask("HEAD", "/echo?q=1", "");
    assert_int_equal(a->err, 0);
    assert_int_equal(a->status, 200);
    assert_int_equal(a->body_size, 0);
    assert_int_equal(ask("HEAD", "/nothing", "")->status, 404);
    const char text[] = "HEAD /echo HTTP/1.1\r\nHost: x\r\n\r\n"
                        "GET /empty HTTP/1.1\r\nHost: x\r\n"
                        "Connection: close\r\n\r\n";
    assert_true(raw(text, strlen(text), 2000));
    assert_non_null(strstr(raw_answer, "Content-Length: 13\r\n"));
    assert_null(strstr(raw_answer, "HEAD q="));
    assert_non_null(strstr(raw_answer, "\r\n\r\nHTTP/1.1 204 "));
    assert_null(strstr(raw_answer, "Server:"));
    /* nothing after the head of a 204, and no length in it */
    assert_int_equal(count_in(raw_answer, "Content-Length"), 1);
}

static void
pipelined_requests_are_answered_in_order(void **state)
{
    const char text[] = "GET /v1/items/1 HTTP/1.1\r\nHost: x\r\n\r\n"
                        "GET /v1/items/2 HTTP/1.1\r\nHost: x\r\n\r\n"
                        "GET /v1/items/3 HTTP/1.1\r\nHost: x\r\n"
                        "Connection: close\r\n\r\n";
    assert_true(raw(text, strlen(text), 2000));
    assert_int_equal(count_in(raw_answer, "HTTP/1.1 200"), 3);
    assert_true(strstr(raw_answer, "1|-") < strstr(raw_answer, "2|-"));
    assert_true(strstr(raw_answer, "2|-") < strstr(raw_answer, "3|-"));
}

static void
http_1_0_is_closed_after_the_answer(void **state)
{
    const char text[] = "GET /v1/items/1 HTTP/1.0\r\n\r\n";
    assert_true(raw(text, strlen(text), 800));
    assert_non_null(strstr(raw_answer, "1|-"));
}

static void
a_chunked_body_is_read(void **state)
{
    const char text[] = "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close"
                        "\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
    const char plain[] = "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close"
                         "\r\nTransfer-Encoding: chunked\r\n\r\n"
                         "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert_true(raw(plain, strlen(plain), 2000));
    assert_non_null(strstr(raw_answer, "x=- abcde"));
    assert_true(raw(text, strlen(text), 2000)); /* refused: no extensions */
    assert_int_equal(handled_count, 1);
}

static void
a_body_over_the_limit_is_413(void **state)
{
    char body[4 * BODY_SIZE_MAX + 1];
    memset(body, 'b', sizeof body);
    body[BODY_SIZE_MAX] = '\0';
    assert_int_equal(ask("POST", "/echo", body)->status, 200);
    body[BODY_SIZE_MAX] = 'b';
    body[BODY_SIZE_MAX + 1] = '\0';
    assert_int_equal(ask("POST", "/echo", body)->status, 413);
    body[BODY_SIZE_MAX + 1] = 'b';
    body[sizeof body - 1] = '\0';
    assert_int_equal(ask("POST", "/echo", body)->status, 413);
    assert_int_equal(handled_count, 1);
    const char chunked[] = "POST /echo HTTP/1.1\r\nHost: x\r\n"
                           "Transfer-Encoding: chunked\r\n\r\nFFFFFF\r\nx";
    assert_true(raw(chunked, strlen(chunked), 800));
    assert_non_null(strstr(raw_answer, "413"));
}

static void
what_is_not_http_is_refused_and_closed(void **state)
{
    static const char *const cases[] = {
        "hello\r\n\r\n",
        "GET /echo HTTP/1.1\r\nno colon\r\n\r\n",
        "GET\r\n\r\n",
        "POST /echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nContent-Length: 1x\r\n\r\n",
        "BREW /echo HTTP/1.1\r\nHost: x\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!raw(cases[i], strlen(cases[i]), 2500))
            fail_msg("not closed: %s", cases[i]);
        assert_null(strstr(raw_answer, " 200 "));
    }
    assert_int_equal(handled_count, 0);
    assert_int_equal(ask("GET", "/echo", "")->status, 200);
}

static void
a_head_over_the_limit_is_refused(void **state)
{
    static char text[40000];
    const int n = snprintf(text, sizeof text, "GET /echo HTTP/1.1\r\nX: ");
    memset(text + n, 'x', sizeof text - (size_t) n);
    assert_true(raw(text, sizeof text, 2000));
    assert_null(strstr(raw_answer, " 200 "));
    assert_int_equal(handled_count, 0);
}

static void
a_client_that_sends_half_a_request_is_closed(void **state)
{
    const char text[] = "GET /echo HTTP/1.1\r\nHo";
    const uint64_t from = clock_now_ms();
    assert_true(raw(text, strlen(text), 4000)); /* idle_timeout_s is 1 */
    assert_in_range(clock_now_ms() - from, 800, 3000);
    assert_string_equal(raw_answer, "");
}

static void
a_held_request_outlives_the_idle_timeout(void **state)
{
    struct answer a;
    begin(&a, "GET", http_server_port(server), "/hold", bytes_of("", 0), 5000);
    loop_until(&a.done, 1800);
    assert_false(a.done);
    assert_non_null(held);
    http_reply(held, 200, "text/plain", BYTES_LITERAL("at last"));
    loop_until(&a.done, 1000);
    assert_string_equal(a.body, "at last");
    loop_for(20);
    assert_int_equal(held_closed_count, 0);
}

static void
a_held_request_hears_its_client_leave(void **state)
{
    const char text[] = "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_false(raw(text, strlen(text), 100));
    const bool never = false;
    loop_until(&never, 100);
    assert_null(held);
    assert_int_equal(held_closed_count, 1);
}

static void
what_is_sent_behind_a_held_request_waits_for_its_reply(void **state)
{
    static char text[200000];
    const int n = snprintf(text, sizeof text,
                           "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"
                           "GET /v1/items/after HTTP/1.1\r\nHost: x\r\n"
                           "Connection: close\r\n\r\n");
    memset(text + n, 'x', sizeof text - (size_t) n);
    /* held, with more bytes behind it than are taken in */
    assert_false(raw(text, sizeof text, 200));
    loop_for(50);
    assert_int_equal(held_closed_count, held == NULL ? 1 : 0);
    struct answer a, b;
    begin(&a, "GET", http_server_port(server), "/hold", bytes_of("", 0), 5000);
    loop_for(50);
    assert_non_null(held);
    begin(&b, "GET", http_server_port(server), "/v1/items/x", bytes_of("", 0),
          5000);
    loop_until(&b.done, 1000);
    assert_string_equal(b.body, "x|-");
    http_reply(held, 200, "text/plain", BYTES_LITERAL("ok"));
    loop_until(&a.done, 1000);
    assert_string_equal(a.body, "ok");
}

static void
freeing_the_server_ends_what_it_holds(void **state)
{
    struct answer a, b;
    begin(&a, "GET", http_server_port(server), "/hold", bytes_of("", 0), 5000);
    begin(&b, "GET", http_server_port(server), "/never", bytes_of("", 0), 5000);
    loop_for(50);
    assert_non_null(held);
    http_server_free(server);
    server = NULL;
    assert_int_equal(held_closed_count, 1);
    loop_until(&a.done, 1000);
    loop_until(&b.done, 1000);
    assert_int_equal(a.err, ERR_UPSTREAM);
    assert_int_equal(b.err, ERR_UPSTREAM);
}

static struct rlimit
descriptors_allow_none(void)
{
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    return before;
}

static uint64_t
cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t) t.tv_sec * 1000 + (uint64_t) t.tv_nsec / 1000000;
}

static void
without_descriptors_the_server_waits_for_some(void **state)
{
    const char text[] = "GET /empty HTTP/1.0\r\n\r\n";
    char answer[32] = "";
    const int fd = raw_connect();
    const struct rlimit before = descriptors_allow_none();
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    const uint64_t from_ms = cpu_ms();
    loop_for(1000);
    const uint64_t spent_ms = cpu_ms() - from_ms;
    assert_int_equal(recv(fd, answer, 1, MSG_DONTWAIT), -1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_in_range(spent_ms, 0, 150); /* of 1000 ms */
    loop_for(300);
    assert_true(recv(fd, answer, sizeof answer - 1, MSG_DONTWAIT) > 0);
    assert_non_null(strstr(answer, " 204 "));
    close(fd);
}

static void
a_server_that_waits_for_descriptors_may_be_freed(void **state)
{
    const int fd = raw_connect();
    const struct rlimit before = descriptors_allow_none();
    loop_for(50);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    http_server_free(server);
    server = NULL;
    loop_for(200);
    close(fd);
}

static void
a_taken_port_or_a_bad_address_is_an_error(void **state)
{
    char taken[32];
    struct http_server *other = NULL;
    snprintf(taken, sizeof taken, "127.0.0.1:%u", http_server_port(server));
    const struct {
        const char *listen;
        int err;
    } cases[] = {{taken, ERR_IO},
                 {"127.0.0.1", ERR_INVALID},
                 {"nowhere:1", ERR_INVALID},
                 {":1", ERR_INVALID},
                 {"127.0.0.1:x", ERR_INVALID},
                 {"127.0.0.1:65536", ERR_INVALID},
                 {"::1:80", ERR_INVALID},
                 {"[::1]80", ERR_INVALID}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct http_server_config config = {.listen = cases[i].listen};
        assert_int_equal(http_server_new(base, &config, &other), cases[i].err);
        assert_null(other);
    }
}

int
main(void)
{
#define TEST(f) \
    cmocka_unit_test_setup_teardown(f, http_testing_start, http_testing_stop)
    const struct CMUnitTest tests[] = {
        TEST(a_route_gets_query_header_and_body),
        TEST(segments_are_taken_and_decoded),
        TEST(a_wrong_method_is_told_the_right_ones),
        TEST(errors_are_problem_documents),
        TEST(head_has_the_length_and_no_body),
        TEST(pipelined_requests_are_answered_in_order),
        TEST(http_1_0_is_closed_after_the_answer),
        TEST(a_chunked_body_is_read),
        TEST(a_body_over_the_limit_is_413),
        TEST(what_is_not_http_is_refused_and_closed),
        TEST(a_head_over_the_limit_is_refused),
        TEST(a_client_that_sends_half_a_request_is_closed),
        TEST(a_held_request_outlives_the_idle_timeout),
        TEST(a_held_request_hears_its_client_leave),
        TEST(what_is_sent_behind_a_held_request_waits_for_its_reply),
        TEST(freeing_the_server_ends_what_it_holds),
        TEST(without_descriptors_the_server_waits_for_some),
        TEST(a_server_that_waits_for_descriptors_may_be_freed),
        TEST(a_taken_port_or_a_bad_address_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
