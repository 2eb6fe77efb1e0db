/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_HTTP_PRIVATE_H
#define PLATFORM_HTTP_PRIVATE_H

/* What the HTTP server, the client and TLS share: nothing for other files. */

/* "127.0.0.1:7000", "[::1]:7000" into a host without brackets and a port.
 * ERR_INVALID. */
#define HTTP_HOST_SIZE 64
int http_address_split(const char *text, char host[HTTP_HOST_SIZE],
                       unsigned *port);

/* Once or often: libevent's own messages go to our log, and writing to a
 * connection the other side closed is an error, not a signal. */
void http_library_init(void);

/* Resolves names from the loop. NULL: memory; then it is done without, by calls
 * that block. */
struct event_base;
struct evdns_base;
struct http_names;
struct http_names *http_names_new(struct event_base *base);
void http_names_free(struct http_names *names);
/* For a new connection: reads the system's files again if they changed. NULL
 * gives NULL. */
struct evdns_base *http_names_current(struct http_names *names);

/* Where the streams of https:// come from; without it the client refuses such
 * URLs. NULL from `stream_new`: no memory. */
struct bufferevent;
struct http_client;
typedef struct bufferevent *http_stream_new(struct event_base *base,
                                            const char *host, void *context);
void http_client_set_stream(struct http_client *client,
                            http_stream_new *stream_new, void *context);

#endif
