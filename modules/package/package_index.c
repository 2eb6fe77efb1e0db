/* SPDX-License-Identifier: Apache-2.0 */
#include "modules/package/package_index.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/err.h"
#include "media/hls/ts_playlist.h"

/* far beyond any file, and offsets can be added to without a thought */
#define PACKAGE_MEDIA_SIZE_MAX (1ull << 50)

static struct {
    ngx_rbtree_t tree;
    ngx_rbtree_node_t sentinel;
    ngx_queue_t ages; /* head: used last */
    size_t memory, memory_max;
} indexes;

static void
index_free(struct package_index *index)
{
    buffer_fini(&index->playlist.bytes);
    buffer_fini(&index->iframes.bytes);
    buffer_fini(&index->init.bytes);
    buffer_fini(&index->mpd.bytes);
    buffer_fini(&index->ts.bytes);
    ngx_free(index->file);
    ngx_free(index);
}

static void
index_forget(struct package_index *index)
{
    ngx_rbtree_delete(&indexes.tree, &index->node.node);
    indexes.memory -= index->size;
}

static void
indexes_shrink(void)
{
    while (indexes.memory > indexes.memory_max
           && !ngx_queue_empty(&indexes.ages)) {
        ngx_queue_t *oldest = ngx_queue_last(&indexes.ages);
        struct package_index *index =
            ngx_queue_data(oldest, struct package_index, age);

        ngx_queue_remove(oldest);
        index_forget(index);
        index_free(index);
    }
}

static void
index_grow(struct package_index *index, size_t size)
{
    index->size += size;
    indexes.memory += size;
}

/* Ends the loading: whoever waited is resumed from the event loop. */
static void
index_settle(struct package_index *index, enum package_index_state state)
{
    index->state = state;
    if (state != PACKAGE_INDEX_READY) {
        index_forget(index);
    }
    while (!ngx_queue_empty(&index->waiters)) {
        ngx_queue_t *first = ngx_queue_head(&index->waiters);
        struct package_use *use =
            ngx_queue_data(first, struct package_use, queue);

        ngx_queue_remove(first);
        use->is_waiting = false;
        ngx_post_event(&use->ready, &ngx_posted_events);
    }
}

static struct package_index *
index_new(ngx_str_t *key, size_t name_len, uint32_t hash, bool is_asset)
{
    /* the copy of the key is terminated */
    size_t size = sizeof(struct package_index) + key->len + 1;
    struct package_index *index = ngx_calloc(size, ngx_cycle->log);

    if (index == NULL) {
        return NULL;
    }
    index->node.node.key = hash;
    index->node.str.len = key->len;
    index->node.str.data = (u_char *) (index + 1);
    ngx_memcpy(index->node.str.data, key->data, key->len);
    index->name.len = name_len;
    index->name.data = index->node.str.data;
    ngx_queue_init(&index->waiters);
    index->is_asset = is_asset;
    buffer_init(&index->playlist.bytes, PACKAGE_TEXT_SIZE_MAX);
    buffer_init(&index->iframes.bytes, PACKAGE_TEXT_SIZE_MAX);
    buffer_init(&index->init.bytes, PACKAGE_TEXT_SIZE_MAX);
    buffer_init(&index->mpd.bytes, PACKAGE_TEXT_SIZE_MAX);
    buffer_init(&index->ts.bytes, PACKAGE_TEXT_SIZE_MAX);
    ngx_rbtree_insert(&indexes.tree, &index->node.node);
    index_grow(index, size);
    return index;
}

static bool
text_is_written(const struct package_text *text)
{
    return text->bytes.len != 0 || text->bytes.err != 0;
}

static void
text_finish(struct package_text *text)
{
    text->hash = XXH3_64bits(text->bytes.ptr, text->bytes.len);
}

static const struct package_manifest written_once;

/* Decoded for the moment: a hundredth of its size as a file. `clip` NULL: all
 * of it. ngx_free'd by the caller. */
static int
asset_open(struct bytes file, const struct clip *clip, struct asset **out)
{
    struct asset *asset = ngx_alloc(sizeof *asset, ngx_cycle->log);
    int err = ERR_MEMORY;

    if (asset == NULL) {
        return err;
    }
    err = asset_decode(file, asset);
    if (err == 0 && clip != NULL) {
        err = asset_clip(asset, clip);
    }
    if (err != 0) {
        ngx_free(asset);
        return err;
    }
    *out = asset;
    return 0;
}

/* Pictures that a viewer has no right to are not offered: the license server
 * would refuse their keys, and players take that in different ways. */
static void
asset_limit(struct asset *asset, enum crypt_class best)
{
    size_t kept = 0;

    for (size_t i = 0; i < asset->track_count; i++) {
        const struct track_info *track = &asset->tracks[i];
        const enum crypt_class class = crypt_class_of(track);

        if (!track_has_samples(track) || class == CRYPT_CLASS_AUDIO
            || class <= best) {
            asset->tracks[kept++] = *track;
        }
    }
    asset->track_count = kept;
}

static bool
asset_has_class(const struct asset *asset, enum crypt_class best)
{
    bool has_any = false;

    for (size_t i = 0; i < asset->track_count; i++) {
        has_any = has_any
                  || (track_has_samples(&asset->tracks[i])
                      && crypt_class_of(&asset->tracks[i]) <= best);
    }
    return has_any;
}

static int
asset_write(struct bytes file, package_asset_write *write,
            const struct package_manifest *what, struct buffer *out)
{
    struct asset *asset;
    int err = asset_open(file, what->clip, &asset);

    if (err != 0) {
        return err;
    }
    if (what->clip != NULL) {
        asset_rates_set(asset, what->rates);
    }
    asset->has_trick_play = what->has_trick_play;
    if (what->is_limited && asset_has_class(asset, what->best)) {
        asset_limit(asset, what->best);
    }
    write(asset, what->steering, out);
    ngx_free(asset);
    return out->err;
}

int
package_index_manifest(const struct package_index *index,
                       package_asset_write *write,
                       const struct package_manifest *what, struct buffer *out)
{
    return asset_write(bytes_of(index->file, index->file_size), write, what,
                       out);
}

int
package_index_rates(const struct package_index *index, const struct clip *clip,
                    struct clip_rates *out)
{
    struct asset *asset;
    int err = asset_open(bytes_of(index->file, index->file_size), clip, &asset);

    if (err != 0) {
        return err;
    }
    err = clip_rates_init(out, asset);
    ngx_free(asset);
    return err;
}

int
package_index_part(const struct package_index *index,
                   package_track_write *write, const struct clip *clip,
                   struct buffer *out)
{
    struct track_index part = index->track;
    int err = track_index_clip(&part, clip);

    if (err == 0) {
        write(&part, out);
        err = out->err;
    }
    return err;
}

void
package_index_init(size_t memory_max)
{
    ngx_rbtree_init(&indexes.tree, &indexes.sentinel,
                    ngx_str_rbtree_insert_value);
    ngx_queue_init(&indexes.ages);
    indexes.memory_max = memory_max;
}

int
package_index_get(ngx_str_t *key, size_t name_len, bool is_asset,
                  struct package_use *use)
{
    uint32_t hash = ngx_murmur_hash2(key->data, key->len);
    ngx_str_node_t *node = ngx_str_rbtree_lookup(&indexes.tree, key, hash);
    struct package_index *index;

    if (node == NULL) {
        index = index_new(key, name_len, hash, is_asset);
        if (index == NULL) {
            return ERR_MEMORY;
        }
        use->is_loader = true;
    } else {
        index = (struct package_index *) node;
        if (index->use_count == 0) {
            ngx_queue_remove(&index->age);
        }
    }
    index->use_count++;
    use->index = index;
    return 0;
}

int
package_index_open(struct package_use *use, u_char *file, size_t file_size,
                   time_t modified)
{
    struct package_index *index = use->index;
    struct bytes bytes = bytes_of(file, file_size);
    int err;

    if (index->is_asset) {
        err = asset_write(bytes, hls_multivariant_write, &written_once,
                          &index->playlist.bytes);
        text_finish(&index->playlist);
    } else {
        err = track_index_open(bytes, &index->track);
        if (err == 0 && index->track.info.media_size > PACKAGE_MEDIA_SIZE_MAX) {
            err = ERR_LIMIT;
        }
    }
    if (err != 0) {
        ngx_free(file);
        return err;
    }
    index->modified = modified;
    index->hash = XXH3_64bits(file, file_size);
    index->file = file;
    index->file_size = file_size;
    index_grow(index, file_size + index->playlist.bytes.capacity);
    use->is_loader = false;
    index_settle(index, PACKAGE_INDEX_READY);
    indexes_shrink();
    return 0;
}

void
package_index_fail(struct package_use *use, ngx_int_t status)
{
    use->is_loader = false;
    use->index->status = status;
    index_settle(use->index, PACKAGE_INDEX_FAILED);
}

void
package_index_wait(struct package_use *use)
{
    if (!use->is_waiting) {
        use->is_waiting = true;
        ngx_queue_insert_tail(&use->index->waiters, &use->queue);
    }
}

const struct package_text *
package_index_playlist(struct package_index *index)
{
    struct package_text *text = &index->playlist;

    if (!text_is_written(text)) {
        hls_media_playlist_write(&index->track, &text->bytes);
        text_finish(text);
        index_grow(index, text->bytes.capacity);
    }
    return text;
}

const struct package_text *
package_index_mpd(struct package_index *index)
{
    struct package_text *text = &index->mpd;

    if (!text_is_written(text)) {
        int err = package_index_manifest(index, dash_mpd_write, &written_once,
                                         &text->bytes);

        text->bytes.err = err;
        text_finish(text);
        index_grow(index, text->bytes.capacity);
    }
    return text;
}

const struct package_text *
package_index_iframes(struct package_index *index)
{
    struct package_text *text = &index->iframes;

    if (!text_is_written(text)) {
        hls_iframe_playlist_write(&index->track, &text->bytes);
        text_finish(text);
        index_grow(index, text->bytes.capacity);
    }
    return text;
}

const struct package_text *
package_index_init_segment(struct package_index *index)
{
    struct package_text *text = &index->init;

    if (!text_is_written(text)) {
        cmaf_init_write(&index->track.info, &text->bytes);
        text_finish(text);
        index_grow(index, text->bytes.capacity);
    }
    return text;
}

const struct package_text *
package_index_ts(struct package_index *index)
{
    struct package_text *text = &index->ts;

    if (!text_is_written(text)) {
        if (index->is_asset) {
            text->bytes.err = package_index_manifest(
                index, ts_multivariant_write, &written_once, &text->bytes);
        } else {
            ts_media_playlist_write(&index->track.info, NULL, &text->bytes);
        }
        text_finish(text);
        index_grow(index, text->bytes.capacity);
    }
    return text;
}

uint64_t
package_index_hash(const struct package_index *index, struct bytes what)
{
    return XXH3_64bits_withSeed(what.ptr, what.len, index->hash);
}

void
package_index_release(struct package_use *use)
{
    struct package_index *index = use->index;

    if (index == NULL) {
        return;
    }
    if (use->is_loader) {
        index_settle(index, PACKAGE_INDEX_ABANDONED);
    }
    if (use->is_waiting) {
        ngx_queue_remove(&use->queue);
    }
    if (use->ready.posted) {
        ngx_delete_posted_event(&use->ready);
    }
    use->index = NULL;
    use->is_loader = false;
    use->is_waiting = false;

    index->use_count--;
    if (index->use_count > 0) {
        return;
    }
    if (index->state == PACKAGE_INDEX_READY) {
        ngx_queue_insert_head(&indexes.ages, &index->age);
        indexes_shrink();
    } else {
        index_free(index);
    }
}
