/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_AGENT_COUNTER_SOURCE_H
#define PROGRAMS_AGENT_COUNTER_SOURCE_H

/*
 * The counter file as the agent sees it: mapped read-only, looked for again
 * when it is missing or replaced, and compared with what the Manager has
 * acknowledged, so that a report carries only what changed.
 */

#include "core/report.h"

/* Size of one report: what is more goes with the next. Bounds the memory of
 * agent and Manager, however many contents there are. */
#define REPORT_PART_SIZE_MAX (1u << 20) /* bytes */

struct counter_source;

struct counter_source *counter_source_new(const char *path); /* NULL: memory */
void counter_source_free(struct counter_source *source);

/* Maps the file, or the one that took its place. True when there is one. */
bool counter_source_refresh(struct counter_source *source);

/* 0 while there is no file. Changes when the file is replaced: nothing of the
 * new one is acknowledged. */
uint64_t counter_source_boot(const struct counter_source *source);
uint64_t counter_source_overflow(const struct counter_source *source);

/* What the next report builds on: the sequence of the last one that was
 * acknowledged; 0: none. */
uint64_t counter_source_base(const struct counter_source *source);

/* Adds to the report of that sequence what is not acknowledged and remembers
 * it as being on its way. What does not fit in the buffer stays for the next
 * report, and this one says that it has more. ERR_MEMORY; other errors stay in
 * the buffer. */
int counter_source_report(struct counter_source *source, uint64_t sequence,
                          struct buffer *report);

/* The report that was on its way arrived: it is acknowledged. Without this,
 * the next one carries it again. True when it had more. */
bool counter_source_acknowledge(struct counter_source *source);

/* The Manager lacks what was acknowledged: the next report begins anew. */
void counter_source_forget(struct counter_source *source);

/* A content was asked for much more than in the span of the last report: by
 * `least` and twice that span's requests, times the spans since then. After
 * an acknowledgement; costs a glance at what changed. */
bool counter_source_has_jumped(const struct counter_source *source,
                               uint32_t least, double spans);

#endif
