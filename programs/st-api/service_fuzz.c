/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as what a service's rule answers, and as a token and a key of a
 * service. */

#include "programs/st-api/rules.h"
#include "programs/st-api/service_jwt.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char known[] =
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"k\","
    "\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\","
    "\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\"}";

static struct jwk *
key_get(void)
{
    static struct jwk *jwk;
    const char *reason;
    if (jwk == NULL)
        assert(jwk_read(bytes_of_text(known), "id", &jwk, &reason) == 0);
    return jwk;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct bytes text = bytes_of(data, size);
    struct jwt_claimed claimed;
    static struct service_grant grant; /* large */
    struct jwk *jwk = NULL;
    const char *reason = "";
    bool allows;
    uint64_t ttl_s = 7;
    if (!rule_answer_read(text, &allows, &ttl_s))
        assert(ttl_s == 7);
    if (jwk_read(text, "id", &jwk, &reason) == 0)
        assert(jwk_kid(jwk)[0] != '\0');
    else
        assert(reason[0] != '\0');
    jwk_free(jwk);
    if (jwt_peek(text, &claimed))
        assert(claimed.issuer[0] != '\0');
    /* nobody has its private key any more */
    assert(service_jwt_verify(text, key_get(), "shop", 1000, &grant) != 0);
    return 0;
}
