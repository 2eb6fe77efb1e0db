/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and networks, see core/network.h. */

#include "core/network.h"

#include "core/err.h"

#include <arpa/inet.h>
#include <stdio.h>

static void
network_mask(struct network *network)
{
    size_t whole = network->bits / 8;
    if (network->bits % 8 != 0) {
        network->address[whole] &= (uint8_t) (0xff00 >> network->bits % 8);
        whole++;
    }
    memset(network->address + whole, 0, sizeof network->address - whole);
}

void
network_set(struct network *network, unsigned family, const uint8_t *address,
            unsigned bits)
{
    static const uint8_t mapped[12] = {[10] = 0xff, 0xff};

    if (family == 6 && bits >= 96
        && memcmp(address, mapped, sizeof mapped) == 0) {
        family = 4;
        address += sizeof mapped;
        bits -= 96;
    }
    *network =
        (struct network){.family = (uint8_t) family, .bits = (uint8_t) bits};
    memcpy(network->address, address, family == 4 ? 4 : 16);
    network_mask(network);
}

int
network_parse(const char *address, struct network *out)
{
    uint8_t bytes[16];

    if (inet_pton(AF_INET, address, bytes) == 1)
        network_set(out, 4, bytes, 32);
    else if (inet_pton(AF_INET6, address, bytes) == 1)
        network_set(out, 6, bytes, 128);
    else
        return ERR_INVALID;
    return 0;
}

int
network_parse_prefix(struct bytes text, struct network *out)
{
    char address[INET6_ADDRSTRLEN];
    const uint8_t *slash =
        text.len > 0 ? memchr(text.ptr, '/', text.len) : NULL;
    const size_t len = slash != NULL ? (size_t) (slash - text.ptr) : text.len;
    struct network parsed;
    uint64_t bits;

    if (len >= sizeof address)
        return ERR_INVALID;
    if (len > 0)
        memcpy(address, text.ptr, len);
    address[len] = '\0';
    if (memchr(address, '\0', len) != NULL
        || network_parse(address, &parsed) != 0)
        return ERR_INVALID;
    if (slash != NULL) {
        if (!bytes_number(bytes_of(slash + 1, text.len - len - 1), &bits)
            || bits > parsed.bits)
            return ERR_INVALID;
        network_widen(&parsed, (unsigned) bits, (unsigned) bits);
    }
    *out = parsed;
    return 0;
}

size_t
network_text(const struct network *network, char text[NETWORK_TEXT_SIZE])
{
    char address[INET6_ADDRSTRLEN] = "";
    inet_ntop(network->family == 4 ? AF_INET : AF_INET6, network->address,
              address, sizeof address);
    int len = snprintf(text, NETWORK_TEXT_SIZE, "%s/%u", address,
                       (unsigned) network->bits);
    return (size_t) len;
}

void
network_widen(struct network *network, unsigned bits4, unsigned bits6)
{
    unsigned bits = network->family == 4 ? bits4 : bits6;
    if (bits < network->bits) {
        network->bits = (uint8_t) bits;
        network_mask(network);
    }
}

bool
network_contains(const struct network *network, const struct network *address)
{
    struct network widened = *address;

    if (network->family == 0 || network->family != address->family
        || network->bits > address->bits)
        return false;
    network_widen(&widened, network->bits, network->bits);
    return memcmp(widened.address, network->address, sizeof widened.address)
           == 0;
}
