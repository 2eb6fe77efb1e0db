/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODULES_PACKAGE_PACKAGE_INDEX_H
#define MODULES_PACKAGE_PACKAGE_INDEX_H

/*
 * The index files a worker holds in memory: opened once, shared by the requests
 * that use them at the moment, forgotten in the order of last use when they
 * take more than package_index_memory. Single-threaded, as a worker is.
 *
 *            get                 open
 *   (none) ------> LOADING --------------> READY ---> (none) by age
 *                     |  fail
 *                     +------> FAILED     not found by get any more
 *                     |  loader gone
 *                     +------> ABANDONED  not found by get any more; who waits
 *                                         asks again and one of them loads
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "media/clip.h"
#include "media/crypt/keys.h"

enum package_index_state {
    PACKAGE_INDEX_LOADING,
    PACKAGE_INDEX_READY,
    PACKAGE_INDEX_FAILED,
    PACKAGE_INDEX_ABANDONED,
};

/* 1,000,000 segments in a playlist, each with its EXTINF line */
#define PACKAGE_TEXT_SIZE_MAX (64u << 20)

/* What is written once and sent often. */
struct package_text {
    struct buffer bytes;
    uint64_t hash;
};

struct package_index {
    ngx_str_node_t node; /* first: the tree's functions cast to it; the key is
                          * a terminated copy */
    ngx_str_t name;      /* what the key begins with: the file's */
    ngx_queue_t age;     /* while READY and unused */
    ngx_queue_t waiters;
    unsigned use_count;
    enum package_index_state state;
    ngx_int_t status; /* FAILED: the HTTP status it ends requests with */
    size_t size;      /* bytes it is accounted for */

    /* READY */
    bool is_asset;
    time_t modified; /* of the file; -1: not known */
    time_t touched;  /* its film, when plain: package_kept.h */
    uint64_t hash;   /* of the file's bytes */
    u_char *file;    /* what `track` points into */
    size_t file_size;
    struct track_index track;     /* tracks only */
    struct package_text playlist; /* the asset's or the track's */
    struct package_text iframes;  /* tracks only */
    struct package_text init;     /* tracks only */
    struct package_text mpd;      /* assets only */
    struct package_text ts;       /* the playlist of its transport streams */
};

/* A request's hold on an index. Zeroed is empty. */
struct package_use {
    struct package_index *index;
    bool is_loader;  /* it owes the index an open or a fail */
    bool is_waiting; /* `ready` is posted once the index is no longer LOADING */
    ngx_queue_t queue;
    ngx_event_t ready; /* handler, data and log set by the user */
};

/* Once a worker. */
void package_index_init(size_t memory_max);

/* The index of `key`, which begins with the file's name and is nothing else in
 * a folder, into the empty `use`: READY, LOADING with use->is_loader, or LOADING
 * by another request. ERR_MEMORY. */
int package_index_get(ngx_str_t *key, size_t name_len, bool is_asset,
                      struct package_use *use);

/* Takes the malloc'ed file over, in either outcome. The error is that of the
 * file; the loader then owes a fail. */
int package_index_open(struct package_use *use, u_char *file, size_t file_size,
                       time_t modified);
void package_index_fail(struct package_use *use, ngx_int_t status);

/* Posts use->ready when the loading by another is over. */
void package_index_wait(struct package_use *use);

/* The playlist, MPD, I-frame playlist or init segment, written at first use;
 * valid until release. bytes.err says whether that went well. */
const struct package_text *package_index_playlist(struct package_index *index);
const struct package_text *package_index_mpd(struct package_index *index);
const struct package_text *package_index_iframes(struct package_index *index);
const struct package_text *package_index_init_segment(
    struct package_index *index);

/* The same of transport streams: bytes.err is ERR_NOT_FOUND when none of an
 * asset's tracks can be one. */
const struct package_text *package_index_ts(struct package_index *index);

/* Of which there are many. Zeroed is what is written once. */
struct package_manifest {
    const struct pathways *steering; /* of one play, or NULL */
    const struct clip *clip;         /* a part of the film, or NULL: all */
    const struct clip_rates *rates;  /* of the part */
    bool has_trick_play;             /* in an MPD */
    bool is_limited;                 /* pictures above this are left out, where
                                      * that leaves any */
    enum crypt_class best;
};

/* Writes an asset's multivariant playlist or MPD, by the function of
 * media/index.h that does. ERR_MEMORY, ERR_LIMIT; ERR_NOT_FOUND: the film is
 * over before that part. */
typedef void package_asset_write(const struct asset *asset,
                                 const struct pathways *steering,
                                 struct buffer *out);
int package_index_manifest(const struct package_index *index,
                           package_asset_write *write,
                           const struct package_manifest *what,
                           struct buffer *out);

/* What tracks are in a part of the asset's film: the bandwidths are still to be
 * found. ERR_MEMORY; ERR_NOT_FOUND as above, ERR_INVALID. */
int package_index_rates(const struct package_index *index,
                        const struct clip *clip, struct clip_rates *out);

/* A track's playlist or I-frame playlist, by the function of media/index.h that
 * does, of a part of it. ERR_MEMORY, ERR_LIMIT; ERR_NOT_FOUND: nothing is in
 * it. */
typedef void package_track_write(const struct track_index *track,
                                 struct buffer *out);
int package_index_part(const struct package_index *index,
                       package_track_write *write, const struct clip *clip,
                       struct buffer *out);

/* Of an answer from this index that `what` tells from the others: for an entity
 * tag. */
uint64_t package_index_hash(const struct package_index *index,
                            struct bytes what);

/* Empties `use`; a loader that has not finished abandons the index. */
void package_index_release(struct package_use *use);

#endif
