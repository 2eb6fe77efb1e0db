/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/vodst/fetch.h"
#include "core/err.h"

#include <curl/curl.h>

static size_t
body_take(char *ptr, size_t size, size_t count, void *context)
{
    struct buffer *body = context;
    buffer_append(body, ptr, size * count);
    return body->err == 0 ? size * count : 0;
}

int
fetch_send(const struct fetch_request *request, struct buffer *body,
           int *status)
{
    CURL *curl = curl_easy_init();
    if (curl == NULL)
        return ERR_MEMORY;
    struct curl_slist *headers =
        curl_slist_append(NULL, "Content-Type: application/json");
    if (request->json.len > 0) {
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long) request->json.len);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->json.ptr);
    }
    if (request->key[0] != '\0') {
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long) CURLAUTH_BEARER);
        curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, request->key);
        curl_easy_setopt(curl, CURLOPT_UNRESTRICTED_AUTH, 1L);
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(curl, CURLOPT_URL, request->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    /* from a Manager that stands by to the one that leads */
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 3L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long) request->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, body_take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    const CURLcode code = curl_easy_perform(curl);
    long http_status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &http_status);
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    if (body->err != 0)
        return body->err;
    if (code == CURLE_OPERATION_TIMEDOUT)
        return ERR_TIMEOUT;
    if (code != CURLE_OK)
        return ERR_UPSTREAM;
    *status = (int) http_status;
    return 0;
}

int
fetch(const char *url, unsigned timeout_ms, struct buffer *body, int *status)
{
    const struct fetch_request request = {
        .method = "GET", .url = url, .key = "", .timeout_ms = timeout_ms};
    return fetch_send(&request, body, status);
}
