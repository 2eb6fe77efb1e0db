/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as each of the things that Consul may answer. */

#include "platform/consul_answer.h"

#include "platform/coordination_values.h"
#include "platform/http.h"

#include <assert.h>
#include <stdio.h>

static void
payload(struct bytes bytes, void *context)
{
    struct table_version version;
    assert(bytes.len <= CONSUL_PAYLOAD_SIZE);
    (void) table_version_parse(bytes, &version);
}

static void
json(struct bytes data)
{
    struct consul_key key;
    struct consul_services services;
    char id[CONSUL_ID_SIZE];
    bool exists;
    if (consul_key_parse(data, &key) == 0) {
        assert(memchr(key.session, '\0', sizeof key.session) != NULL);
        assert(key.value_len <= sizeof key.value);
        assert(strpbrk(key.session, "/?&# ") == NULL);
    }
    if (consul_id_parse(data, id) == 0)
        assert(id[0] != '\0' && strpbrk(id, "/?&# ") == NULL);
    if (consul_services_parse(data, &services) == 0)
        for (size_t i = 0; i < services.count; i++)
            assert(http_url_is_valid(services.urls[i]));
    (void) consul_session_parse(data, &exists);
    (void) consul_events_parse(data, payload, NULL);
}

static void
values(struct bytes data)
{
    struct leader_value leader;
    struct table_value table;
    struct table_snapshot *snapshot;
    if (leader_value_parse(data, &leader) == 0)
        assert(http_url_is_valid(leader.url));
    if (table_value_parse(data, &table) == 0) {
        assert(http_url_is_valid(table.url));
        assert(table.encoded.len < data.len);
        if (table_decode(table.encoded, &snapshot) == 0)
            table_free(snapshot);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[64];
    uint64_t index;
    json(bytes_of(data, size));
    values(bytes_of(data, size));
    snprintf(text, sizeof text, "%.*s", (int) size, (const char *) data);
    (void) consul_index_parse(text, &index);
    return 0;
}
