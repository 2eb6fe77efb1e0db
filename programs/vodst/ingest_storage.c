/* SPDX-License-Identifier: Apache-2.0 */
/* Which storage it is, and what its errors mean. */

#include "programs/vodst/ingest_storage.h"

#include "core/err.h"

int
storage_new(const struct settings *settings, struct storage **out)
{
    return settings->is_storage_http ? storage_http_new(settings, out)
           : settings->is_storage_s3 ? storage_s3_new(settings, out)
                                     : storage_folder_new(settings, out);
}

bool
storage_err_is_temporary(int err)
{
    return err == ERR_UPSTREAM || err == ERR_UNAVAILABLE || err == ERR_FULL
           || err == ERR_IO || err == ERR_MEMORY;
}
