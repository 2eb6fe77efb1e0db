/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_PLACES_H
#define PROGRAMS_VODST_PLACES_H

/*
 * Where the programs, nginx modules, templates and web files are: in the build
 * tree this program was started from, else where packages install them.
 */

#define PLACE_SIZE 1024 /* bytes of a path with its end */

struct places {
    char vodst[PLACE_SIZE], manager[PLACE_SIZE], agent[PLACE_SIZE],
        st_api[PLACE_SIZE], mlic[PLACE_SIZE];
    char nginx[PLACE_SIZE], varnishd[PLACE_SIZE], ffmpeg[PLACE_SIZE];
    char meter[PLACE_SIZE], redirect[PLACE_SIZE], package[PLACE_SIZE],
        s3[PLACE_SIZE];
    char nginx_templates[PLACE_SIZE], varnish_templates[PLACE_SIZE];
    char web[PLACE_SIZE], hls_js[PLACE_SIZE];
};

/*
 * Looks for everything and logs each thing that is missing, with what to
 * install or build; ERR_NOT_FOUND when there was one. `share` is the folder
 * with deploy/ and web/, NULL: where it is expected.
 */
int places_find(const char *share, struct places *out);

#endif
