/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_TESTING_FILM_H
#define MEDIA_TESTING_FILM_H

/*
 * For test programs: files, and films in them. Where something cannot be done
 * the program says so and ends.
 */

#include "media/testing/track.h"

#define TEST_OUTPUT_SIZE_MAX (64u << 20) /* bytes */

_Noreturn void test_stop(const char *what, const char *why);
void test_stop_on(int err, const char *what); /* not of 0 */

/* The caller frees with test_file_free. */
struct bytes test_file_load(const char *path);
void test_file_free(struct bytes file);
void test_file_save(const char *path, struct bytes bytes);
/* Into a folder. */
void test_file_save_in(const char *folder, const char *name,
                       struct bytes bytes);

/* 32 hexadecimal digits: a key, a KID, an IV. */
void test_hex_read(const char *text, uint8_t out[16]);

/* mp4_open of a loaded file. */
void test_film_open(const char *path, const struct bytes *file,
                    struct mp4_movie *out);

/* Stores the first track of each "NAME=FILE". The first film, a video, is cut
 * at its key frames and the others where it is. */
void test_films_store(char *const *films, size_t count, uint32_t target_ms,
                      struct test_track *out);

#endif
