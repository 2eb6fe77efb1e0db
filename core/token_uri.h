/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_TOKEN_URI_H
#define CORE_TOKEN_URI_H

/*
 * The URI that a token is held against, and the pattern a JWT may give for it.
 */

#include "core/token.h"

#define TOKEN_URI_LEN_MAX 2048

struct token_uri {
    char text[TOKEN_URI_LEN_MAX]; /* scheme://authority/path[?query] */
    struct bytes all, scheme, host, port, path; /* of text */
};

/* False: no URI that can be compared comes of it. Something in it is longer
 * than is looked at, or is written in more than one way. */
bool token_uri_make(const struct token_request *request, struct token_uri *uri);

/*
 * A part of POSIX extended regular expressions (XBD chapter 9.4): characters,
 * "\" before a special one, ".", bracket expressions of characters and ranges,
 * each with *, +, ?, {m}, {m,} or {m,n} behind it or not; "^" first and "$"
 * last. The whole text has to match. False also for a pattern with anything
 * else in it (groups, alternatives, classes), and for one that takes more than
 * a stated number of steps.
 */
bool token_pattern_matches(struct bytes pattern, struct bytes text);

#endif
