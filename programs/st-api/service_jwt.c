/* SPDX-License-Identifier: Apache-2.0 */
/* What services' JWTs say. */

#include "programs/st-api/service_jwt.h"

#include "core/err.h"

static bool
contents_read(const json_t *list, struct service_grant *out)
{
    const json_t *one;
    size_t i;
    if (list == NULL)
        return true;
    out->has_contents = true;
    if (!json_is_array(list)
        || json_array_size(list) > SERVICE_JWT_CONTENTS_MAX)
        return false;
    json_array_foreach(list, i, one)
    {
        if (!jwt_text_take(one, out->contents[i], sizeof out->contents[i]))
            return false;
        out->content_count++;
    }
    return true;
}

static bool
quality_read(const json_t *json, enum quality *out)
{
    static const char *const names[] = {
#define NAME_OF(symbol, name, ending) name,
        QUALITIES(NAME_OF)
#undef NAME_OF
    };
    const char *text = json_string_value(json);
    unsigned i = 0;
    if (json == NULL)
        return true;
    while (text != NULL && i < sizeof names / sizeof *names
           && strcmp(text, names[i]) != 0)
        i++;
    *out = (enum quality)(i + 1);
    return text != NULL && *out < QUALITY_COUNT;
}

static bool
plays_read(const json_t *json, unsigned *out)
{
    const json_int_t plays = json_integer_value(json);
    *out = (unsigned) plays;
    return json == NULL || (plays >= 1 && plays <= PLAYS_MAX);
}

static int
claims_judge(const json_t *claims, const char *service, uint64_t now_s,
             struct service_grant *out)
{
    const char *iss = json_string_value(json_object_get(claims, "iss"));
    const json_t *sub = json_object_get(claims, "sub");
    const json_t *region = json_object_get(claims, "region");
    if (iss == NULL || strcmp(iss, service) != 0
        || !jwt_audience_has(claims, SERVICE_JWT_AUDIENCE)
        || (sub != NULL && !jwt_text_take(sub, out->viewer, sizeof out->viewer))
        || (region != NULL
            && (!jwt_text_take(region, out->region, sizeof out->region)
                || strspn(out->region, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
                       != CATALOGUE_REGION_LEN))
        || !contents_read(json_object_get(claims, "contents"), out)
        || !quality_read(json_object_get(claims, "quality"), &out->quality)
        || !plays_read(json_object_get(claims, "plays"), &out->plays)
        || (out->plays > 0 && sub == NULL))
        return ERR_DENIED;
    return jwt_times_judge(claims, now_s, SERVICE_JWT_SKEW_S);
}

int
service_jwt_verify(struct bytes text, const struct jwk *jwk,
                   const char *service, uint64_t now_s,
                   struct service_grant *out)
{
    json_t *claims;
    int err = jwt_verify(text, jwk, &claims);
    if (err != 0)
        return err;
    memset(out, 0, sizeof *out);
    err = claims_judge(claims, service, now_s, out);
    json_decref(claims);
    return err;
}

bool
service_grant_has(const struct service_grant *grant, const char *content)
{
    bool has = !grant->has_contents;
    for (unsigned i = 0; i < grant->content_count && !has; i++)
        has = strcmp(grant->contents[i], content) == 0;
    return has;
}
