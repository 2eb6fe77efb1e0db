/* SPDX-License-Identifier: Apache-2.0 */
/* The client against our server and against one that does what it is told, on
 * loopback in one loop. */

#include "platform/http_testing.h"

#include "platform/clock.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/dns.h>
#include <event2/dns_struct.h>
#include <event2/event.h>
#include <event2/listener.h>

#include <cmocka.h>

/* ---- a raw server that does what it is told ---- */

struct fake {
    struct evconnlistener *listener;
    unsigned port, accepted_count, asked_count;
    const char *first_answer, *next_answer; /* of a connection; NULL: close */
    bool closes_after;
};

struct fake_connection {
    struct fake *fake;
    unsigned asked_count;
};

static void
fake_event(struct bufferevent *stream, short what, void *arg)
{
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) {
        free(arg);
        bufferevent_free(stream);
    }
}

static void
fake_written(struct bufferevent *stream, void *arg)
{
    struct fake_connection *c = arg;
    if (c->fake->closes_after && c->asked_count > 0) {
        free(c);
        bufferevent_free(stream);
    }
}

static void
fake_read(struct bufferevent *stream, void *arg)
{
    struct fake_connection *c = arg;
    struct evbuffer *in = bufferevent_get_input(stream);
    struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
    if (end.pos < 0)
        return;
    evbuffer_drain(in, evbuffer_get_length(in));
    c->fake->asked_count++;
    const char *answer =
        c->asked_count++ == 0 ? c->fake->first_answer : c->fake->next_answer;
    if (answer == NULL) {
        free(c);
        bufferevent_free(stream);
    } else {
        bufferevent_write(stream, answer, strlen(answer));
    }
}

static void
fake_accept(struct evconnlistener *listener, evutil_socket_t fd,
            struct sockaddr *from, int from_len, void *arg)
{
    struct fake *fake = arg;
    struct bufferevent *stream =
        bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    struct fake_connection *c = calloc(1, sizeof *c);
    c->fake = fake;
    fake->accepted_count++;
    bufferevent_setcb(stream, fake_read, fake_written, fake_event, c);
    bufferevent_enable(stream, EV_READ | EV_WRITE);
}

static void
fake_start(struct fake *fake)
{
    struct sockaddr_in where = {.sin_family = AF_INET,
                                .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof where;
    fake->listener =
        evconnlistener_new_bind(base, fake_accept, fake, LEV_OPT_CLOSE_ON_FREE,
                                64, (struct sockaddr *) &where, sizeof where);
    assert_non_null(fake->listener);
    getsockname(evconnlistener_get_fd(fake->listener),
                (struct sockaddr *) &where, &len);
    fake->port = ntohs(where.sin_port);
}

static void
fake_stop(struct fake *fake)
{
    evconnlistener_free(fake->listener);
    /* the client's connections go, and the fake's with them */
    http_client_free(client);
    loop_for(30);
    client = http_client_new(base, 4);
}

static struct answer *
ask_fake(const struct fake *fake, const char *method, unsigned timeout_ms)
{
    static struct answer a;
    begin(&a, method, fake->port, "/", bytes_of("", 0), timeout_ms);
    loop_until(&a.done, timeout_ms + 2000);
    assert_true(a.done);
    return &a;
}

/* ---- a name server, in place of the system's ---- */

#define QUESTIONS_MAX 8

static struct {
    uint16_t port; /* 0: none */
    struct evdns_server_request *questions[QUESTIONS_MAX];
    size_t count;
} names;

static unsigned blocking_count;

int
getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
            struct addrinfo **out)
{
    blocking_count++;
    return EAI_AGAIN;
}

int
evdns_base_resolv_conf_parse(struct evdns_base *dns, int flags,
                             const char *path)
{
    const struct sockaddr_in where = {.sin_family = AF_INET,
                                      .sin_port = htons(names.port),
                                      .sin_addr = {htonl(INADDR_LOOPBACK)}};
    return names.port == 0
               ? 1
               : evdns_base_nameserver_sockaddr_add(
                   dns, (const struct sockaddr *) &where, sizeof where, 0);
}

static void
names_asked(struct evdns_server_request *question, void *arg)
{
    assert_true(names.count < QUESTIONS_MAX);
    names.questions[names.count++] = question;
}

static void
names_answer(void)
{
    const struct in_addr address = {htonl(INADDR_LOOPBACK)};
    while (names.count > 0) {
        struct evdns_server_request *question = names.questions[--names.count];
        const struct evdns_server_question *first = question->questions[0];
        if (first->type == EVDNS_TYPE_A)
            evdns_server_request_add_a_reply(question, first->name, 1, &address,
                                             60);
        evdns_server_request_respond(question, 0);
    }
}

static struct evdns_server_port *
names_start(void)
{
    struct sockaddr_in where = {.sin_family = AF_INET,
                                .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof where;
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *) &where, sizeof where), 0);
    getsockname(fd, (struct sockaddr *) &where, &len);
    names.port = ntohs(where.sin_port);
    names.count = 0;
    blocking_count = 0;
    /* it reads the name servers when it is made */
    http_client_free(client);
    client = http_client_new(base, 4);
    return evdns_add_server_port_with_base(base, fd, 0, names_asked, NULL);
}

static void
names_stop(struct evdns_server_port *server_port)
{
    names_answer();
    loop_for(30);
    evdns_close_server_port(server_port);
    names.port = 0;
}

static void
begin_by_name(struct answer *a, const char *name, unsigned timeout_ms)
{
    char url[128];
    memset(a, 0, sizeof *a);
    snprintf(url, sizeof url, "http://%s:%u/echo", name,
             http_server_port(server));
    const struct http_fetch_config config = {.method = "GET",
                                             .url = url,
                                             .timeout_ms = timeout_ms,
                                             .done = answer_take,
                                             .context = a};
    assert_non_null(http_fetch(client, &config));
}

static unsigned
descriptor_count(void)
{
    unsigned count = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

/* ---- tests ---- */

static void
a_slow_name_server_stops_nothing_else(void **state)
{
    struct answer by_name, again;
    struct evdns_server_port *server_port = names_start();
    begin_by_name(&by_name, "slow.example", 700);
    assert_int_equal(ask("GET", "/echo", "")->status, 200);
    assert_false(by_name.done);
    loop_until(&by_name.done, 2000);
    assert_int_equal(by_name.err, ERR_TIMEOUT);
    /* and when it answers at last the next one is not taken for the last */
    const unsigned before = descriptor_count();
    begin_by_name(&again, "slow.example", 3000);
    loop_for(50);
    assert_int_equal(names.count, 4); /* IPv4 and IPv6, twice */
    names_answer();
    loop_until(&again.done, 2000);
    assert_int_equal(again.err, 0);
    assert_int_equal(again.status, 200);
    loop_for(50);
    /* the connection, on both sides */
    assert_in_range(descriptor_count(), before, before + 2);
    assert_int_equal(blocking_count, 0);
    names_stop(server_port);
}

static void
a_client_may_be_freed_while_a_name_is_asked(void **state)
{
    struct answer a;
    struct evdns_server_port *server_port = names_start();
    begin_by_name(&a, "slow.example", 3000);
    loop_for(50);
    assert_true(names.count > 0);
    http_client_free(client);
    client = http_client_new(base, 4);
    names_answer();
    loop_for(50);
    assert_false(a.done);
    names_stop(server_port);
}

static void
localhost_needs_no_name_server(void **state)
{
    struct answer a;
    blocking_count = 0;
    begin_by_name(&a, "localhost", 2000);
    loop_until(&a.done, 2000);
    assert_int_equal(a.err, 0);
    assert_int_equal(a.status, 200);
    begin_by_name(&a, "other.example", 200);
    loop_until(&a.done, 1000);
    assert_int_equal(a.err, ERR_TIMEOUT);
    assert_int_equal(blocking_count, 0);
}

static void
connections_are_kept_and_shared(void **state)
{
    struct fake fake = {
        .first_answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        .next_answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"};
    fake_start(&fake);
    assert_string_equal(ask_fake(&fake, "GET", 2000)->body, "ok");
    assert_string_equal(ask_fake(&fake, "POST", 2000)->body, "yes");
    assert_string_equal(ask_fake(&fake, "GET", 2000)->body, "yes");
    assert_int_equal(fake.accepted_count, 1);
    fake_stop(&fake);
}

static void
what_is_over_the_connections_waits_in_line(void **state)
{
    struct fake fake = {
        .first_answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        .next_answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"};
    static struct answer answers[50];
    fake_start(&fake);
    for (size_t i = 0; i < 50; i++)
        begin(&answers[i], "GET", fake.port, "/", bytes_of("", 0), 3000);
    for (size_t i = 0; i < 50; i++) {
        loop_until(&answers[i].done, 3000);
        assert_int_equal(answers[i].status, 200);
    }
    assert_int_equal(fake.accepted_count, 4);
    fake_stop(&fake);
}

static void
a_stale_connection_is_tried_again_for_what_may_be_repeated(void **state)
{
    struct fake fake = {.first_answer =
                            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                        .next_answer = NULL};
    fake_start(&fake);
    assert_int_equal(ask_fake(&fake, "GET", 2000)->status, 200);
    struct answer *a = ask_fake(&fake, "GET", 2000);
    assert_int_equal(a->err, 0);
    assert_int_equal(a->status, 200);
    assert_int_equal(fake.accepted_count, 2);
    assert_int_equal(fake.asked_count, 3);
    a = ask_fake(&fake, "POST", 2000);
    assert_int_equal(a->err, ERR_UPSTREAM);
    assert_int_equal(fake.asked_count, 4);

    assert_int_equal(ask_fake(&fake, "GET", 2000)->status, 200);
    char url[64];
    struct answer again = {0};
    snprintf(url, sizeof url, "http://127.0.0.1:%u/", fake.port);
    const struct http_fetch_config config = {.method = "POST",
                                             .url = url,
                                             .body = BYTES_LITERAL("what?"),
                                             .timeout_ms = 2000,
                                             .may_repeat = true,
                                             .done = answer_take,
                                             .context = &again};
    assert_non_null(http_fetch(client, &config));
    loop_until(&again.done, 2000);
    assert_int_equal(again.err, 0);
    assert_int_equal(again.status, 200);
    assert_int_equal(fake.asked_count, 7);
    fake_stop(&fake);
}

static void
a_fresh_connection_that_closes_is_not_tried_again(void **state)
{
    struct fake fake = {0};
    fake_start(&fake);
    assert_int_equal(ask_fake(&fake, "GET", 2000)->err, ERR_UPSTREAM);
    assert_int_equal(fake.asked_count, 1);
    fake_stop(&fake);
}

static void
broken_answers_are_errors(void **state)
{
    static const struct {
        const char *answer;
        int err;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", ERR_UPSTREAM},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
         ERR_UPSTREAM},
        {"SSH-2.0-x\r\n\r\n", ERR_UPSTREAM},
        {"HTTP/1.1 200 OK\r\nConten", ERR_UPSTREAM},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", ERR_LIMIT},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fake fake = {.first_answer = cases[i].answer,
                            .closes_after = true};
        fake_start(&fake);
        struct answer *a = ask_fake(&fake, "GET", 1000);
        if (a->err != cases[i].err)
            fail_msg("%s: %s", cases[i].answer, err_text(a->err));
        fake_stop(&fake);
    }
}

static void
a_redirect_is_the_answer(void **state)
{
    struct fake fake = {.first_answer =
                            "HTTP/1.1 302 Found\r\nX-Answer: there\r\n"
                            "Content-Length: 0\r\n\r\n"};
    fake_start(&fake);
    struct answer *a = ask_fake(&fake, "GET", 1000);
    assert_int_equal(a->status, 302);
    assert_string_equal(a->extra, "there");
    fake_stop(&fake);
}

static void
a_silent_server_is_a_timeout_in_ms(void **state)
{
    struct fake fake = {.first_answer = ""};
    fake_start(&fake);
    const uint64_t from = clock_now_ms();
    assert_int_equal(ask_fake(&fake, "GET", 150)->err, ERR_TIMEOUT);
    assert_in_range(clock_now_ms() - from, 140, 1000);
    fake_stop(&fake);
}

static void
nobody_listening_is_an_error(void **state)
{
    struct fake fake = {0};
    fake_start(&fake);
    fake_stop(&fake);
    const uint64_t from = clock_now_ms();
    assert_int_equal(ask_fake(&fake, "GET", 3000)->err, ERR_UPSTREAM);
    assert_in_range(clock_now_ms() - from, 0, 1000);
    /* waiting in line behind the refused ones too */
    static struct answer answers[10];
    for (size_t i = 0; i < 10; i++)
        begin(&answers[i], "GET", fake.port, "/", bytes_of("", 0), 3000);
    for (size_t i = 0; i < 10; i++) {
        loop_until(&answers[i].done, 1000);
        assert_int_equal(answers[i].err, ERR_UPSTREAM);
    }
}

static void
a_cancelled_fetch_is_never_called_back(void **state)
{
    struct answer a, b;
    struct http_fetch *at_once = begin(&a, "GET", http_server_port(server),
                                       "/echo", bytes_of("", 0), 1000);
    http_fetch_cancel(at_once);
    struct http_fetch *under_way = begin(&b, "GET", http_server_port(server),
                                         "/hold", bytes_of("", 0), 1000);
    loop_for(50);
    assert_non_null(held);
    http_fetch_cancel(under_way);
    loop_for(50);
    assert_int_equal(held_closed_count, 1); /* the server noticed */
    assert_false(a.done);
    assert_false(b.done);
    assert_int_equal(ask("GET", "/echo", "")->status, 200);
}

static void
a_discarded_body_is_counted(void **state)
{
    static struct answer a;
    char url[64];
    memset(&a, 0, sizeof a);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/big",
             http_server_port(server));
    struct http_fetch_config config = {.method = "GET",
                                       .url = url,
                                       .timeout_ms = 5000,
                                       .discard_body = true,
                                       .done = answer_take,
                                       .context = &a};
    assert_non_null(http_fetch(client, &config));
    loop_until(&a.done, 5000);
    assert_int_equal(a.err, 0);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body_size, 4u << 20);
    assert_string_equal(a.body, "");
    config.body_size_max = 1u << 20;
    memset(&a, 0, sizeof a);
    assert_non_null(http_fetch(client, &config));
    loop_until(&a.done, 5000);
    assert_int_equal(a.err, ERR_LIMIT);
}

static void
a_bad_url_or_method_is_refused(void **state)
{
    static const char *const urls[] = {
        "",
        "https://x:1/",
        "http://",
        "http://:80/",
        "http://x:0/",
        "http://x:99999/",
        "http://x:1y/",
        "ftp://x/",
        "http://u@x:1/",
        "http://x:1/a b",
        "http://x:1/\r\nX: y",
        "http://[::1/",
    };
    struct http_fetch_config config = {.method = "GET", .done = answer_take};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        config.url = urls[i];
        if (http_fetch(client, &config) != NULL || http_url_is_valid(urls[i]))
            fail_msg("taken: %s", urls[i]);
    }
    assert_true(http_url_is_valid("http://[::1]:80/a?b"));
    assert_true(http_url_is_valid("http://host"));
    static const char *const private[] = {
        "https://host/a", "http://127.0.0.1/", "http://127.1.2.3:80",
        "http://[::1]:80/a", "http://localhost:7/"};
    static const char *const public[] = {"http://host/a",
                                         "http://127.0.0.1.example/",
                                         "http://localhost.a/",
                                         "http://10.0.0.1/",
                                         "http://[::2]:80/",
                                         "http://127.0.0.1@a/",
                                         ""};
    for (size_t i = 0; i < sizeof private / sizeof *private; i++)
        assert_true(http_url_is_private(private[i]));
    for (size_t i = 0; i < sizeof public / sizeof *public; i++)
        assert_false(http_url_is_private(public[i]));
    config.url = "http://127.0.0.1:1/";
    config.method = "BREW";
    assert_null(http_fetch(client, &config));
}

static unsigned burst_ok_count;

static void
burst_done(const struct http_response *r, void *context)
{
    burst_ok_count += r->err == 0 && r->status == 200;
    if (--*(unsigned *) context == 0)
        event_base_loopbreak(base);
}

static void
thousands_of_fetches_run_at_once(void **state)
{
    unsigned left = 3000;
    char url[64];
    struct http_client *many = http_client_new(base, 1000);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/v1/items/x",
             http_server_port(server));
    burst_ok_count = 0;
    for (unsigned i = 0; i < 3000; i++) {
        const struct http_fetch_config config = {.method = "GET",
                                                 .url = url,
                                                 .timeout_ms = 20000,
                                                 .done = burst_done,
                                                 .context = &left};
        assert_non_null(http_fetch(many, &config));
    }
    event_base_dispatch(base);
    assert_int_equal(left, 0);
    assert_int_equal(burst_ok_count, 3000);
    http_client_free(many);
}

int
main(void)
{
#define TEST(f) \
    cmocka_unit_test_setup_teardown(f, http_testing_start, http_testing_stop)
    const struct CMUnitTest tests[] = {
        TEST(a_slow_name_server_stops_nothing_else),
        TEST(a_client_may_be_freed_while_a_name_is_asked),
        TEST(localhost_needs_no_name_server),
        TEST(connections_are_kept_and_shared),
        TEST(what_is_over_the_connections_waits_in_line),
        TEST(a_stale_connection_is_tried_again_for_what_may_be_repeated),
        TEST(a_fresh_connection_that_closes_is_not_tried_again),
        TEST(broken_answers_are_errors),
        TEST(a_redirect_is_the_answer),
        TEST(a_silent_server_is_a_timeout_in_ms),
        TEST(nobody_listening_is_an_error),
        TEST(a_cancelled_fetch_is_never_called_back),
        TEST(a_discarded_body_is_counted),
        TEST(a_bad_url_or_method_is_refused),
        TEST(thousands_of_fetches_run_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
