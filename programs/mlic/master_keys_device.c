/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Master keys that stay in a device: PKCS #11 2.40 (OASIS), CKM_AES_GCM. The
 * device is found by p11-kit from a URI of RFC 7512; all AES keys with the
 * URI's label are taken, and the CKA_ID of each, as a number with the most
 * significant byte first, is its number.
 */

#include "programs/mlic/master_keys_private.h"

#include "core/err.h"
#include "platform/key_file.h"
#include "platform/log.h"

#include <p11-kit/p11-kit.h>
#include <p11-kit/uri.h>
#include <stdlib.h>

#define SLOTS_MAX 64
#define PIN_SIZE KEY_SIZE

struct device_keys {
    struct master_keys super;
    CK_FUNCTION_LIST **modules; /* of p11-kit's configuration; or NULL */
    CK_FUNCTION_LIST *loaded;   /* from module-path=; or NULL */
    CK_FUNCTION_LIST *module;   /* the one that has the device */
    CK_SESSION_HANDLE session;
    bool has_session;
    CK_OBJECT_HANDLE keys[MASTER_KEYS_MAX];
};

static int
failed(const char *what, CK_RV rv)
{
    log_error("master keys: %s failed (PKCS #11: %s)", what,
              p11_kit_strerror(rv));
    return rv == CKR_PIN_INCORRECT || rv == CKR_PIN_LOCKED ? ERR_DENIED
                                                           : ERR_IO;
}

static CK_MECHANISM
mechanism_of(CK_GCM_PARAMS *params, struct bytes name,
             const uint8_t nonce[WRAPPED_NONCE_SIZE])
{
    *params = (CK_GCM_PARAMS){
        .iv_ptr = (uint8_t *) (uintptr_t) nonce,
        .iv_len = WRAPPED_NONCE_SIZE,
        .iv_bits = WRAPPED_NONCE_SIZE * 8,
        .aad_ptr = (uint8_t *) (uintptr_t) name.ptr,
        .aad_len = name.len,
        .tag_bits = WRAPPED_TAG_SIZE * 8,
    };
    return (CK_MECHANISM){CKM_AES_GCM, params, sizeof *params};
}

static int
device_seal(struct master_keys *super, unsigned which, struct bytes name,
            const uint8_t nonce[WRAPPED_NONCE_SIZE],
            const uint8_t key[CRYPT_KEY_SIZE],
            uint8_t sealed[CRYPT_KEY_SIZE + WRAPPED_TAG_SIZE])
{
    struct device_keys *keys = (struct device_keys *) super;
    CK_GCM_PARAMS params;
    CK_MECHANISM mechanism = mechanism_of(&params, name, nonce);
    CK_ULONG len = CRYPT_KEY_SIZE + WRAPPED_TAG_SIZE;
    CK_RV rv = keys->module->C_EncryptInit(keys->session, &mechanism,
                                           keys->keys[which]);
    if (rv == CKR_OK)
        rv = keys->module->C_Encrypt(keys->session, (uint8_t *) (uintptr_t) key,
                                     CRYPT_KEY_SIZE, sealed, &len);
    if (rv != CKR_OK)
        return failed("wrap a key", rv);
    return len == CRYPT_KEY_SIZE + WRAPPED_TAG_SIZE ? 0 : ERR_IO;
}

static int
device_unseal(struct master_keys *super, unsigned which, struct bytes name,
              const uint8_t nonce[WRAPPED_NONCE_SIZE],
              const uint8_t sealed[CRYPT_KEY_SIZE + WRAPPED_TAG_SIZE],
              uint8_t key[CRYPT_KEY_SIZE])
{
    struct device_keys *keys = (struct device_keys *) super;
    CK_GCM_PARAMS params;
    CK_MECHANISM mechanism = mechanism_of(&params, name, nonce);
    uint8_t clear[CRYPT_KEY_SIZE + WRAPPED_TAG_SIZE]; /* devices differ in how
                                                       * much room they want */
    CK_ULONG len = sizeof clear;
    CK_RV rv = keys->module->C_DecryptInit(keys->session, &mechanism,
                                           keys->keys[which]);
    if (rv == CKR_OK)
        rv = keys->module->C_Decrypt(
            keys->session, (uint8_t *) (uintptr_t) sealed,
            CRYPT_KEY_SIZE + WRAPPED_TAG_SIZE, clear, &len);
    int err = 0;
    if (rv == CKR_ENCRYPTED_DATA_INVALID || rv == CKR_ENCRYPTED_DATA_LEN_RANGE
        || rv == CKR_GENERAL_ERROR) /* SoftHSM's word for a wrong tag */
        err = ERR_CHECKSUM;
    else if (rv != CKR_OK)
        err = failed("unwrap a key", rv);
    else if (len != CRYPT_KEY_SIZE)
        err = ERR_IO;
    if (err == 0)
        memcpy(key, clear, CRYPT_KEY_SIZE);
    explicit_bzero(clear, sizeof clear);
    return err;
}

static void
device_close(struct master_keys *super)
{
    struct device_keys *keys = (struct device_keys *) super;
    if (keys->has_session)
        keys->module->C_CloseSession(keys->session);
    if (keys->loaded != NULL) {
        p11_kit_module_finalize(keys->loaded);
        p11_kit_module_release(keys->loaded);
    }
    if (keys->modules != NULL)
        p11_kit_modules_finalize_and_release(keys->modules);
    free(keys);
}

/* ---- opening ---- */

static int
modules_load(struct device_keys *keys, P11KitUri *uri)
{
    const char *path = p11_kit_uri_get_module_path(uri);
    if (path == NULL) {
        keys->modules = p11_kit_modules_load_and_initialize(0);
        if (keys->modules != NULL)
            return 0;
        log_error("master keys: cannot load PKCS #11 modules (%s)",
                  p11_kit_message());
        return ERR_IO;
    }
    keys->loaded = p11_kit_module_load(path, 0);
    if (keys->loaded == NULL) {
        log_error("master keys: cannot load %s (%s)", path, p11_kit_message());
        return ERR_IO;
    }
    const CK_RV rv = p11_kit_module_initialize(keys->loaded);
    return rv == CKR_OK ? 0 : failed("initialize the module", rv);
}

/* The slot of the device that the URI means. */
static bool
slot_find(CK_FUNCTION_LIST *module, P11KitUri *uri, CK_SLOT_ID *out)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG count = SLOTS_MAX;
    if (module->C_GetSlotList(CK_TRUE, slots, &count) != CKR_OK)
        return false;
    for (CK_ULONG i = 0; i < count; i++) {
        CK_TOKEN_INFO info;
        if (module->C_GetTokenInfo(slots[i], &info) == CKR_OK
            && p11_kit_uri_match_token_info(uri, &info) == 1) {
            *out = slots[i];
            return true;
        }
    }
    return false;
}

static int
device_find(struct device_keys *keys, P11KitUri *uri, CK_SLOT_ID *slot)
{
    CK_FUNCTION_LIST *one[] = {keys->loaded, NULL};
    CK_FUNCTION_LIST **module = keys->loaded != NULL ? one : keys->modules;
    for (; *module != NULL; module++)
        if (slot_find(*module, uri, slot)) {
            keys->module = *module;
            return 0;
        }
    log_error("master keys: no device of the PKCS #11 URI is there (token=)");
    return ERR_NOT_FOUND;
}

static int
log_in(struct device_keys *keys, P11KitUri *uri)
{
    const char *source = p11_kit_uri_get_pin_source(uri);
    char pin[PIN_SIZE];
    if (source == NULL) {
        log_error("master keys: the PKCS #11 URI has no pin-source= (a file "
                  "with the PIN)");
        return ERR_INVALID;
    }
    if (strncmp(source, "file:", 5) == 0)
        source += 5;
    int err = key_file_read(source, pin);
    if (err != 0)
        return err;
    const CK_RV rv = keys->module->C_Login(keys->session, CKU_USER,
                                           (uint8_t *) pin, strlen(pin));
    explicit_bzero(pin, sizeof pin);
    return rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN
               ? 0
               : failed("log in", rv);
}

/* 0: it is none. */
static uint32_t
number_of(const uint8_t *id, CK_ULONG size)
{
    uint32_t number = 0;
    if (size == 0 || size > sizeof number)
        return 0;
    for (CK_ULONG i = 0; i < size; i++)
        number = number << 8 | id[i];
    return number;
}

static int
key_add(struct device_keys *keys, CK_OBJECT_HANDLE object)
{
    uint8_t id[sizeof(uint32_t)];
    CK_ATTRIBUTE attribute = {CKA_ID, id, sizeof id};
    const CK_RV rv =
        keys->module->C_GetAttributeValue(keys->session, object, &attribute, 1);
    const uint32_t number =
        rv == CKR_OK ? number_of(id, attribute.ulValueLen) : 0;
    int err = master_keys_number_add(&keys->super, number);
    if (err != 0)
        log_error("master keys: refuse the keys of the device (each needs a "
                  "CKA_ID of its own of 1 to 4 bytes, a number from 1, and %d "
                  "there may be: %s)",
                  MASTER_KEYS_MAX, err_text(err));
    else
        keys->keys[keys->super.count - 1] = object;
    return err;
}

static int
keys_find(struct device_keys *keys, P11KitUri *uri)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &class, sizeof class},
                             {CKA_KEY_TYPE, &type, sizeof type},
                             {0}};
    CK_ATTRIBUTE *label = p11_kit_uri_get_attribute(uri, CKA_LABEL);
    CK_OBJECT_HANDLE objects[MASTER_KEYS_MAX + 1];
    CK_ULONG count = 0;
    if (label == NULL) {
        log_error("master keys: the PKCS #11 URI has no object= (the label of "
                  "the keys)");
        return ERR_INVALID;
    }
    wanted[2] = *label;
    CK_RV rv = keys->module->C_FindObjectsInit(keys->session, wanted, 3);
    if (rv == CKR_OK) {
        rv = keys->module->C_FindObjects(keys->session, objects,
                                         MASTER_KEYS_MAX + 1, &count);
        keys->module->C_FindObjectsFinal(keys->session);
    }
    if (rv != CKR_OK)
        return failed("find the keys", rv);
    int err = 0;
    for (CK_ULONG i = 0; i < count && err == 0; i++)
        err = key_add(keys, objects[i]);
    if (err == 0 && count == 0) {
        log_error("master keys: the device has no AES key of that label");
        err = ERR_NOT_FOUND;
    }
    return err;
}

/* The one that wraps. */
static int
current_choose(struct device_keys *keys, P11KitUri *uri)
{
    struct master_keys *super = &keys->super;
    const CK_ATTRIBUTE *id = p11_kit_uri_get_attribute(uri, CKA_ID);
    const uint32_t wanted =
        id != NULL ? number_of(id->pValue, id->ulValueLen) : 0;
    for (unsigned i = 0; i < super->count; i++) {
        if (super->numbers[i] == wanted) {
            super->current = i;
            return 0;
        }
        if (super->numbers[i] > super->numbers[super->current])
            super->current = i;
    }
    if (id == NULL)
        return 0;
    log_error("master keys: the device has no key with the URI's id=");
    return ERR_NOT_FOUND;
}

static int
device_open(struct device_keys *keys, P11KitUri *uri)
{
    CK_SLOT_ID slot = 0;
    int err = modules_load(keys, uri);
    if (err == 0)
        err = device_find(keys, uri, &slot);
    if (err != 0)
        return err;
    const CK_RV rv = keys->module->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL,
                                                 NULL, &keys->session);
    if (rv != CKR_OK)
        return failed("open a session", rv);
    keys->has_session = true;
    err = log_in(keys, uri);
    if (err == 0)
        err = keys_find(keys, uri);
    if (err == 0)
        err = current_choose(keys, uri);
    return err;
}

int
master_keys_device_open(const char *text, struct master_keys **out)
{
    struct device_keys *keys = calloc(1, sizeof *keys);
    P11KitUri *uri = p11_kit_uri_new();
    int err = keys == NULL || uri == NULL ? ERR_MEMORY : 0;
    if (err == 0
        && p11_kit_uri_parse(text, P11_KIT_URI_FOR_OBJECT_ON_TOKEN_AND_MODULE,
                             uri)
               != P11_KIT_URI_OK) {
        log_error("master keys: '%s' is no PKCS #11 URI (RFC 7512)", text);
        err = ERR_INVALID;
    }
    if (err == 0) {
        keys->super.seal = device_seal;
        keys->super.unseal = device_unseal;
        keys->super.close = device_close;
        err = device_open(keys, uri);
    }
    p11_kit_uri_free(uri);
    if (err == 0)
        *out = &keys->super;
    else if (keys != NULL)
        device_close(&keys->super);
    return err;
}
