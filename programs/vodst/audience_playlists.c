/* SPDX-License-Identifier: Apache-2.0 */
/* Reference-counted media playlists, found again by their text. */

#include "programs/vodst/audience_playlists.h"

#include <assert.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define BUCKETS 256

struct entry {
    struct media_playlist playlist; /* first: what the players hold */
    struct entry *next;
    uint64_t hash;
    unsigned references;
    struct bytes text;
    uint8_t copy[];
};

struct playlists {
    struct entry *buckets[BUCKETS];
};

static int
entry_new(struct bytes text, uint64_t hash, struct entry **out)
{
    struct entry *entry = calloc(1, sizeof *entry + text.len);
    if (entry == NULL)
        return ERR_MEMORY;
    if (text.len > 0)
        memcpy(entry->copy, text.ptr, text.len);
    entry->text = bytes_of(entry->copy, text.len);
    entry->hash = hash;
    int err = media_playlist_parse(entry->text, &entry->playlist);
    if (err != 0) {
        free(entry);
        return err;
    }
    *out = entry;
    return 0;
}

struct playlists *
playlists_new(void)
{
    return calloc(1, sizeof(struct playlists));
}

void
playlists_free(struct playlists *playlists)
{
    if (playlists == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        assert(playlists->buckets[i] == NULL);
    free(playlists);
}

int
playlists_take(struct playlists *playlists, struct bytes text,
               const struct media_playlist **out)
{
    if (text.len > PLAYLIST_TEXT_BYTES_MAX)
        return ERR_LIMIT;
    uint64_t hash = XXH64(text.ptr, text.len, 0);
    struct entry **head = &playlists->buckets[hash % BUCKETS];
    struct entry *entry = *head;
    while (entry != NULL
           && (entry->hash != hash || !bytes_equal(entry->text, text)))
        entry = entry->next;
    if (entry == NULL) {
        int err = entry_new(text, hash, &entry);
        if (err != 0)
            return err;
        entry->next = *head;
        *head = entry;
    }
    entry->references++;
    *out = &entry->playlist;
    return 0;
}

void
playlists_release(struct playlists *playlists,
                  const struct media_playlist *playlist)
{
    if (playlist == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        struct entry **link = &playlists->buckets[i];
        while (*link != NULL && &(*link)->playlist != playlist)
            link = &(*link)->next;
        struct entry *entry = *link;
        if (entry == NULL)
            continue;
        if (--entry->references == 0) {
            *link = entry->next;
            media_playlist_fini(&entry->playlist);
            free(entry);
        }
        return;
    }
    assert(!"a playlist that was never taken");
}
