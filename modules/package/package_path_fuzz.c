/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>

#include "media/track.h"
#include "modules/package/package_path.h"

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len)
{
    struct package_path path;
    struct content_range range;
    struct byte_range asked;

    if (package_path_parse(bytes_of(ptr, len), &path) == 0) {
        assert(path.folder.ptr == ptr && path.folder.len < len);
        assert(path.folder.ptr[0] != '.' && path.folder.ptr[0] != '/');
        assert(path.track.len <= TRACK_NAME_LEN_MAX);
        assert(path.muxed.len <= TRACK_NAME_LEN_MAX);
        assert(path.muxed.len == 0 || path.track.len != 0);
    }
    if (content_range_parse(bytes_of(ptr, len), &range) == 0) {
        assert(range.start < range.end && range.end <= range.total);
    }
    if (byte_range_parse(bytes_of(ptr, len), 1000, &asked) == 0) {
        assert(asked.start < asked.end && asked.end <= 1000);
    }
    return 0;
}
