/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_AUDIT_H
#define PROGRAMS_MLIC_AUDIT_H

/*
 * Every decision, a line of JSON each, in a file of one license server alone:
 *
 *   {"n":1,"at":1700000000.123,"service":"kino","viewer":"<32 hex>",
 *    "content":"film","version":"v1","kid":"<32 hex>","system":"clearkey",
 *    "decision":"granted","mac":"<64 hex>"}
 *
 * The MAC (HMAC-SHA256 by the audit key) is of the line before's MAC and of the
 * line up to its own, so that no line can be changed, left out or put in by who
 * has not the key. That the last lines were cut off is seen by comparing with
 * `n` and `mac` of a later time: the log tells them, and the metrics. A viewer is
 * a hash by the same key, bound to the service. For one thread.
 */

#include "core/bytes.h"

#define AUDIT_KEY_SIZE 32
#define AUDIT_MAC_SIZE 32
#define AUDIT_VIEWER_LEN 32 /* hex digits */

struct audit;

struct audit_record { /* texts that are valid as ids; empty: not known */
    const char *service, *content, *version, *kid, *system, *decision;
    const char *viewer; /* by audit_viewer */
};

/* Goes on behind what is there; what a crash left of a line is taken away. The
 * reason of a failure is logged: ERR_IO; ERR_DENIED: others may write to it;
 * ERR_CHECKSUM: its last line is not by this key; ERR_MEMORY. */
int audit_open(const char *path, const uint8_t key[AUDIT_KEY_SIZE],
               struct audit **out);
void audit_close(struct audit *audit); /* NULL is fine */

/* Opens the path anew, where the file may have been moved away: the first line
 * of a new file goes on behind the last of the old one. */
int audit_reopen(struct audit *audit);

/* In the file before this returns, and on the disk after audit_sync. ERR_FULL,
 * ERR_IO: the decision is not to be acted on. */
int audit_write(struct audit *audit, const struct audit_record *record,
                uint64_t now_ms);
int audit_sync(struct audit *audit);

/* The last line's. */
uint64_t audit_count(const struct audit *audit);
void audit_mac_text(const struct audit *audit,
                    char out[2 * AUDIT_MAC_SIZE + 1]);

void audit_viewer(const struct audit *audit, const char *service,
                  const char *viewer, char out[AUDIT_VIEWER_LEN + 1]);

/* What tells the key from others, and nothing of it. */
void audit_key_mark(const uint8_t key[AUDIT_KEY_SIZE],
                    char out[AUDIT_VIEWER_LEN + 1]);

/* Looks through a file, which begins anew or behind `before` (a MAC in hex; NULL:
 * any). *lines is how many are good, *last the last one's MAC. ERR_CHECKSUM: line
 * *lines + 1 is not the next; ERR_NOT_FOUND, ERR_IO. */
int audit_verify(const char *path, const uint8_t key[AUDIT_KEY_SIZE],
                 const char *before, uint64_t *lines,
                 char last[2 * AUDIT_MAC_SIZE + 1]);

#endif
