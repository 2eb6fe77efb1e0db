/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/vodst/audience_playlists.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define SHORT "#EXTM3U\n#EXTINF:4,\n0.m4s\n#EXT-X-ENDLIST\n"
#define LONG "#EXTM3U\n#EXTINF:4,\n0.m4s\n#EXTINF:4,\n1.m4s\n#EXT-X-ENDLIST\n"

static void
equal_texts_are_kept_once_until_the_last_player_goes(void **state)
{
    struct playlists *playlists = playlists_new();
    assert_non_null(playlists);
    char text[] = SHORT;
    const struct media_playlist *one, *same, *other;
    assert_int_equal(playlists_take(playlists, bytes_of_text(text), &one), 0);
    memset(text, 'x', sizeof text - 1); /* the text was copied */
    assert_int_equal(playlists_take(playlists, BYTES_LITERAL(SHORT), &same), 0);
    assert_int_equal(playlists_take(playlists, BYTES_LITERAL(LONG), &other), 0);
    assert_ptr_equal(one, same);
    assert_ptr_not_equal(one, other);
    playlists_release(playlists, one);
    assert_int_equal(same->segment_count, 1);
    assert_true(bytes_equal(same->segments[0].uri, BYTES_LITERAL("0.m4s")));
    assert_int_equal(other->segment_count, 2);
    playlists_release(playlists, same);
    playlists_release(playlists, other);
    playlists_release(playlists, NULL);
    playlists_free(playlists);
}

static void
a_bad_playlist_leaves_nothing_behind(void **state)
{
    struct playlists *playlists = playlists_new();
    assert_non_null(playlists);
    const struct media_playlist *found = NULL;
    assert_int_equal(playlists_take(playlists, BYTES_LITERAL("<html>"), &found),
                     ERR_INVALID);
    assert_null(found);
    playlists_free(playlists);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_texts_are_kept_once_until_the_last_player_goes),
        cmocka_unit_test(a_bad_playlist_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
