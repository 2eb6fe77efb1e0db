/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_CONSUL_ANSWER_H
#define PLATFORM_CONSUL_ANSWER_H

/*
 * Reads what a Consul agent answers. Bytes from outside: anything may be in
 * them, and only what is used is looked at. Errors: ERR_INVALID, ERR_LIMIT
 * (longer than there is room for), ERR_NOT_FOUND, ERR_MEMORY; results are
 * untouched then.
 */

#include "core/bytes.h"

#define CONSUL_ID_SIZE 64       /* a session's or an event's, with its end */
#define CONSUL_VALUE_SIZE 1024  /* bytes, of a value read along with its key */
#define CONSUL_PAYLOAD_SIZE 512 /* bytes; Consul's own limit is less */
#define CONSUL_URL_SIZE 512     /* with its end */
#define CONSUL_SERVICES_MAX 16

/* X-Consul-Index: the whole of 64 bits. */
int consul_index_parse(const char *text, uint64_t *out);

/* GET kv/KEY */
struct consul_key {
    uint64_t modify_index;
    char session[CONSUL_ID_SIZE]; /* of the lock's holder; "": nobody */
    uint8_t value[CONSUL_VALUE_SIZE];
    size_t value_len;
};
int consul_key_parse(struct bytes json, struct consul_key *out);

/* PUT session/create: {"ID": ...}, made of what may go into a path. */
int consul_id_parse(struct bytes json, char out[CONSUL_ID_SIZE]);

/* GET session/info/ID: whether there is such a session. */
int consul_session_parse(struct bytes json, bool *exists);

/* GET event/list: calls `each` with every payload, in the order told, which
 * need not be that of the events. */
int consul_events_parse(struct bytes json,
                        void (*each)(struct bytes payload, void *context),
                        void *context);

/* GET health/service/NAME: where the instances are, by their Meta "url" or
 * else by address and port. Those that make no valid URL are left out. */
struct consul_services {
    char urls[CONSUL_SERVICES_MAX][CONSUL_URL_SIZE];
    size_t count;
};
int consul_services_parse(struct bytes json, struct consul_services *out);

#endif
