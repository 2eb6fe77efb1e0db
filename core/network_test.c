/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/err.h"
#include "core/network.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void
networks_are_read_written_and_contain_addresses(void **state)
{
    static const struct {
        const char *network, *text, *inside, *outside;
    } cases[] = {
        {"192.0.2.77/24", "192.0.2.0/24", "192.0.2.255", "192.0.3.0"},
        {"192.0.2.77/31", "192.0.2.76/31", "192.0.2.77", "192.0.2.78"},
        {"192.0.2.77", "192.0.2.77/32", "192.0.2.77", "192.0.2.76"},
        {"0.0.0.0/0", "0.0.0.0/0", "255.255.255.255", "::1"},
        {"::ffff:192.0.2.77", "192.0.2.77/32", "::ffff:192.0.2.77", "::1"},
        {"2001:db8::/33", "2001:db8::/33", "2001:db8:7fff::1",
         "2001:db8:8000::1"},
        {"::/0", "::/0", "2001:db8::1", "192.0.2.1"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct network network, address;
        char text[NETWORK_TEXT_SIZE];
        assert_int_equal(
            network_parse_prefix(bytes_of_text(cases[i].network), &network), 0);
        assert_int_equal(network_text(&network, text), strlen(cases[i].text));
        assert_string_equal(text, cases[i].text);
        assert_int_equal(network_parse(cases[i].inside, &address), 0);
        assert_true(network_contains(&network, &address));
        assert_int_equal(network_parse(cases[i].outside, &address), 0);
        assert_false(network_contains(&network, &address));
    }
}

static void
what_is_no_network_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "1.2.3",
        "1.2.3.4/",
        "1.2.3.4/33",
        "1.2.3.4/-1",
        "1.2.3.4 ",
        "1.2.3.4/2/3",
        "1.2.3.4/x",
        "::1/129",
        "::g",
        "/24",
        "1.2.3.4\n",
        "01.02.03.04",
        "2001:0db8:0000:0000:0000:0000:0000:0000:0000:0000:00001"};
    struct network network;
    for (size_t i = 0; i < COUNT(texts); i++)
        assert_int_equal(
            network_parse_prefix(bytes_of_text(texts[i]), &network),
            ERR_INVALID);
    assert_int_equal(network_parse_prefix(bytes_of("1.2.3.4\0x", 9), &network),
                     ERR_INVALID);
    const struct network none = {0};
    assert_int_equal(network_parse("192.0.2.1", &network), 0);
    assert_false(network_contains(&none, &network));
    assert_false(network_contains(&none, &none));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_are_read_written_and_contain_addresses),
        cmocka_unit_test(what_is_no_network_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
