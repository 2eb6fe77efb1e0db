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

/* Where the streams of https:// come from; without it the client refuses such
 * URLs. NULL from `stream_new`: no memory. */
struct bufferevent;
struct event_base;
struct http_client;
typedef struct bufferevent *http_stream_new(struct event_base *base,
                                            const char *host, void *context);
void http_client_set_stream(struct http_client *client,
                            http_stream_new *stream_new, void *context);

#endif
