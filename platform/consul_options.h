/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_CONSUL_OPTIONS_H
#define PLATFORM_CONSUL_OPTIONS_H

/* The options of every program that coordinates by Consul. What they leave
 * open comes from the environment that Consul's own tools use. */

#include "platform/consul.h"
#include "platform/options.h"

struct consul_options {
    const char *coordination, *prefix, *url, *token_file;
    const char *ca_file, *certificate_file, *key_file;
};

/* `at` is the offset of the struct in the program's config. */
#define CONSUL_OPTION(at, field) ((at) + offsetof(struct consul_options, field))
/* clang-format off */
#define CONSUL_OPTIONS(at)                                                    \
    {"coordination", OPTION_TEXT, CONSUL_OPTION(at, coordination), "static",  \
     0, 0, false, "WAY",                                                      \
     "static: Managers and nodes know each other from their options. consul: "\
     "by Consul, which also makes one of several Managers lead."},            \
    {"consul", OPTION_TEXT, CONSUL_OPTION(at, url), NULL, 0, 0, false, "URL", \
     "The Consul agent of this host. Without it CONSUL_HTTP_ADDR says, or it "\
     "is http://127.0.0.1:8500."},                                            \
    {"consul-prefix", OPTION_TEXT, CONSUL_OPTION(at, prefix), "vodst",        \
     0, 0, false, "NAME",                                                     \
     "What the names of keys and events begin with; the same for all that "  \
     "belong together."},                                                     \
    {"consul-token-file", OPTION_TEXT, CONSUL_OPTION(at, token_file), NULL,   \
     0, 0, false, "FILE",                                                     \
     "File with the ACL token. Without it CONSUL_HTTP_TOKEN_FILE or "         \
     "CONSUL_HTTP_TOKEN says."},                                              \
    {"consul-ca-file", OPTION_TEXT, CONSUL_OPTION(at, ca_file), NULL,         \
     0, 0, false, "FILE",                                                     \
     "Whom to trust when the agent is asked by https. Without it "            \
     "CONSUL_CACERT says, or the system's list."},                            \
    {"consul-certificate-file", OPTION_TEXT,                                  \
     CONSUL_OPTION(at, certificate_file), NULL, 0, 0, false, "FILE",          \
     "Own certificate for an agent that asks for one. Without it "            \
     "CONSUL_CLIENT_CERT says."},                                             \
    {"consul-key-file", OPTION_TEXT, CONSUL_OPTION(at, key_file), NULL,       \
     0, 0, false, "FILE",                                                     \
     "Its key. Without it CONSUL_CLIENT_KEY says."}
/* clang-format on */

#define CONSUL_PREFIX_LEN_MAX 32

/* "" or what is wrong with them, for people, with the option's name. */
const char *consul_options_fault(const struct consul_options *options);
bool consul_options_chosen(const struct consul_options *options);

/* The client that they describe. Logs the reason on failure. */
int consul_options_open(const struct consul_options *options,
                        struct event_base *base, struct consul **out);

#endif
