/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_LOG_H
#define PLATFORM_LOG_H

/*
 * The daemons' error log, for people: one line on standard error, lower case,
 * "module: verb object (reason)". Under systemd (JOURNAL_STREAM set) lines
 * carry the "<priority>" prefix, elsewhere the time. Never a key or a token.
 */

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG
};

void log_init(const char *program, enum log_level level);
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
