/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODULES_PACKAGE_PACKAGE_PATH_H
#define MODULES_PACKAGE_PACKAGE_PATH_H

/*
 * The texts of strangers that the package module reads: the path of a play
 * below its prefix, and the Content-Range of a slice. Pure functions, no nginx.
 */

#include "core/bytes.h"

enum package_kind {
    PACKAGE_MULTIVARIANT, /* <content>/<version>/master.m3u8 */
    PACKAGE_MPD,          /* <content>/<version>/manifest.mpd */
    PACKAGE_PLAYLIST,     /* <content>/<version>/<track>/index.m3u8 */
    PACKAGE_IFRAMES,      /* <content>/<version>/<track>/iframes.m3u8 */
    PACKAGE_INIT,         /* <content>/<version>/<track>/init.mp4, and
                           * <content>/<version>/<track>/iframes/init.mp4 */
    PACKAGE_SEGMENT,      /* <content>/<version>/<track>/<n>.m4s */
    PACKAGE_KEY_SEGMENT,  /* <content>/<version>/<track>/iframes/<n>.m4s */
    PACKAGE_TEXT_SEGMENT, /* <content>/<version>/<track>/<n>.vtt */
    PACKAGE_TEXT,         /* <content>/<version>/<track>/all.vtt */
    PACKAGE_TEXT_PART,    /* <content>/<version>/<track>/<first>-<last>.vtt */
    PACKAGE_IMAGE,        /* <content>/<version>/<track>/<n>.jpg */
    /* transport streams; <tracks> is <track> or <video>~<audio> */
    PACKAGE_TS_MULTIVARIANT, /* <content>/<version>/ts/master.m3u8 */
    PACKAGE_TS_PLAYLIST,     /* <content>/<version>/ts/<tracks>/index.m3u8 */
    PACKAGE_TS_SEGMENT,      /* <content>/<version>/ts/<tracks>/<n>.ts */
    PACKAGE_TS_TEXT_SEGMENT, /* <content>/<version>/ts/<track>/<n>.vtt */
};

const char *package_kind_name(enum package_kind kind);

struct package_path {
    enum package_kind kind;
    struct bytes folder; /* "<content>/<version>": points into the path */
    struct bytes track;  /* empty for what is of all tracks */
    struct bytes muxed;  /* with it; empty: none */
    uint32_t segment;    /* where there is an <n>, or the first */
    uint32_t last;       /* where there are two, no less than the first */
};

/* One spelling for each thing: no empty, dotted or doubled parts, no leading
 * zeros. ERR_NOT_FOUND for anything else. */
int package_path_parse(struct bytes path, struct package_path *out);

/* "bytes 0-99/1000" is start 0, end 100, total 1000. ERR_INVALID, also when
 * the total is unknown ("*") or the three contradict each other. */
struct content_range {
    uint64_t start, end, total;
};
int content_range_parse(struct bytes text, struct content_range *out);

/* The Range of a request for `size` bytes; "bytes=0-99" is start 0, end 100.
 * ERR_NOT_FOUND: none that can be met (416). ERR_UNSUPPORTED: another unit,
 * several ranges or nonsense, all of which are passed over (200). */
struct byte_range {
    uint64_t start, end;
};
int byte_range_parse(struct bytes text, uint64_t size, struct byte_range *out);

#endif
