/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_NETWORK_H
#define CORE_NETWORK_H

/*
 * Addresses and networks of viewers: an address is a network of full length.
 * An IPv4 address inside IPv6 (::ffff:a.b.c.d) is the IPv4 address: which of
 * both a node sees depends on its listener and not on the viewer.
 */

#include "core/bytes.h"

struct network {
    uint8_t family;      /* 4 or 6; 0: none, which contains nothing */
    uint8_t bits;        /* of the prefix: up to 32 or 128 */
    uint8_t address[16]; /* 4 of them for IPv4; what is past the prefix is 0 */
};

/* family 4 or 6, and as many bytes as it has. */
void network_set(struct network *network, unsigned family,
                 const uint8_t *address, unsigned bits);

/* "192.0.2.1", "2001:db8::1": an address, no prefix. ERR_INVALID. */
int network_parse(const char *address, struct network *out);

/* The same, or "192.0.2.0/24": what is past the prefix counts as 0. */
int network_parse_prefix(struct bytes text, struct network *out);

#define NETWORK_TEXT_SIZE 52 /* with the end */

/* "192.0.2.0/24"; family 4 or 6. Returns its length. */
size_t network_text(const struct network *network,
                    char text[NETWORK_TEXT_SIZE]);

/* Shortens the prefix to so many bits, by family; never lengthens it. */
void network_widen(struct network *network, unsigned bits4, unsigned bits6);

bool network_contains(const struct network *network,
                      const struct network *address);

#endif
