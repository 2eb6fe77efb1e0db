/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the pathways of a play, as one module of nginx tells them another. */

#include "media/pathways.h"

#include "core/err.h"

/* Takes a word off the front; what is between two spaces. */
static int
word_take(struct bytes *text, struct bytes *out)
{
    size_t len = 0;
    while (len < text->len && text->ptr[len] != ' ') {
        const uint8_t c = text->ptr[len++];
        if (c <= ' ' || c >= 0x7f || c == '"')
            return ERR_INVALID;
    }
    if (len == 0)
        return ERR_INVALID;
    *out = bytes_of(text->ptr, len);
    len += len < text->len;
    *text = bytes_of(text->ptr + len, text->len - len);
    return 0;
}

static int
pathway_take(struct bytes *text, struct pathway *out)
{
    int err;
    if ((err = word_take(text, &out->name)) != 0
        || (err = word_take(text, &out->base)) != 0)
        return err;
    size_t len = 0;
    while (len < out->base.len && out->base.ptr[len] != '?')
        len++;
    out->query = bytes_of(out->base.ptr + len, out->base.len - len);
    out->base = bytes_of(out->base.ptr, len);
    if (bytes_equal(out->base, BYTES_LITERAL(".")))
        out->base = bytes_of(NULL, 0);
    else if (len == 0 || out->base.ptr[len - 1] != '/')
        return ERR_INVALID;
    return 0;
}

int
pathways_parse(struct bytes text, struct pathways *out)
{
    struct pathways found = {.count = 0};
    int err = word_take(&text, &found.server_uri);
    while (err == 0 && text.len > 0) {
        if (found.count == PATHWAYS_MAX)
            return ERR_LIMIT;
        err = pathway_take(&text, &found.list[found.count++]);
    }
    if (err != 0)
        return err;
    if (found.count < 2)
        return ERR_INVALID;
    *out = found;
    return 0;
}
