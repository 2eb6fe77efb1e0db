/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_TESTING_RECIPIENT_H
#define MEDIA_TESTING_RECIPIENT_H

/*
 * A certificate and its key, of tests alone, and what the openssl program has
 * encrypted to it: a document key of the bytes 0 to 31, a MAC key of 100 to
 * 163, a content key of 16 to 31. The MACs are of Python's hmac.
 */

/* clang-format off */
#define RECIPIENT_CERTIFICATE \
    "-----BEGIN CERTIFICATE-----\n" \
    "MIIDCTCCAfGgAwIBAgIUGvD8xMAtIhL48kVY876GGvnMbzowDQYJKoZIhvcNAQEL\n" \
    "BQAwEzERMA8GA1UEAwwIcGFja2FnZXIwIBcNMjYxMTIzMDcyNjIzWhgPMjEyNjEw\n" \
    "MzAwNzI2MjNaMBMxETAPBgNVBAMMCHBhY2thZ2VyMIIBIjANBgkqhkiG9w0BAQEF\n" \
    "AAOCAQ8AMIIBCgKCAQEAqJaWLwJ4ikQT82Ap4yRx+S1XMnLHgcsT9XVqaquVRIbf\n" \
    "tc5crkIeJlF9RDWVJHaoO/CaH33FXNjG1R7sfs9H6hj9RA5JQNLjFJfXH8SOiK0C\n" \
    "GeLYhp0nQdadnCg/4Mc4uLy9WHUSyLE53yHt/f5RQytaHYYARA9V4vPUS6F4OEso\n" \
    "34P9I5YS5iYfy5FRUK7Uxk3KBjsl9FwY/0DmNmGw+rYgQgJugYFx1JYtMDVO+jTC\n" \
    "Qy50DB6V3KYAPwcivQaRH+3CPDx+3rySNzY4+GNBs/MPd99GuqUp6V1J+98hVJIV\n" \
    "gdUijZj9UYTUVWy1bCYVwKBKUj1NtmEgfEP+S2T5DwIDAQABo1MwUTAdBgNVHQ4E\n" \
    "FgQU8uCYhKqGUYVdibOUXoEsRFItlwEwHwYDVR0jBBgwFoAU8uCYhKqGUYVdibOU\n" \
    "XoEsRFItlwEwDwYDVR0TAQH/BAUwAwEB/zANBgkqhkiG9w0BAQsFAAOCAQEAGcVt\n" \
    "lw6gk3gHQ+Lzs0zLvZXnJUFw9KfgFCiOJXCxNHXTSBQYARLkU0dER7SEFwYOTPAD\n" \
    "LqOj8GBvAE2+rdsf4CYNfoGfWWKho2PLXUlnlsDAvelo2o9BRLQUzwK9g6emPcRJ\n" \
    "S26dpKFJbot5AhXUpUpvLLV7jRJdutrcLZIneT9G3uqvcUzw2bghYmghF8hkBS3v\n" \
    "TfOSCzLZTtDGN1X7x1yVwtBpRbNhVY8EXNJY4iwgYP/Gxuxgdeb7c97ySoKjCtM7\n" \
    "uKJ2XLFajgFdtyftVkQdXlXOd5CwldE6TCPViPjhbEgWpzvP5cwTW4Pg1qv+Vaw9\n" \
    "mukwRauevdD830HHHg==\n" \
    "-----END CERTIFICATE-----\n"

#define RECIPIENT_KEY \
    "-----BEGIN PRIVATE KEY-----\n" \
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQColpYvAniKRBPz\n" \
    "YCnjJHH5LVcycseByxP1dWpqq5VEht+1zlyuQh4mUX1ENZUkdqg78JoffcVc2MbV\n" \
    "Hux+z0fqGP1EDklA0uMUl9cfxI6IrQIZ4tiGnSdB1p2cKD/gxzi4vL1YdRLIsTnf\n" \
    "Ie39/lFDK1odhgBED1Xi89RLoXg4Syjfg/0jlhLmJh/LkVFQrtTGTcoGOyX0XBj/\n" \
    "QOY2YbD6tiBCAm6BgXHUli0wNU76NMJDLnQMHpXcpgA/ByK9BpEf7cI8PH7evJI3\n" \
    "Njj4Y0Gz8w9330a6pSnpXUn73yFUkhWB1SKNmP1RhNRVbLVsJhXAoEpSPU22YSB8\n" \
    "Q/5LZPkPAgMBAAECggEAEiw9Xy7kgH8LKYJ1sXL1yDbvfdQqll6mNaDlCj+ZtQvW\n" \
    "5JmsmuosptPE7YvbGlWiF+f9LSTZGAOUF1gghSDh7yWnc2UY12CEMu2VNmrxNGF1\n" \
    "5wVxcr1RBINWdQVPsXK4Ng2+WWExV6nnA5r8NRNrfhKXwbP2pl+C0haXjVmIBIVE\n" \
    "wyUR+1NM+R3CqkujLEJOTpdv+5MuUM0PdgiWJW4G73BPgHdkQfd0T+qn0PglJXBQ\n" \
    "4Oz2wYeSVDFlKM3tbXwRGIZAz38n1Zk99dB96NH2/CG/oYgHUHPstWMi1JZnA898\n" \
    "3bua6NXfrGLCgC1aubiHq2BnEaqnmOMrUWxQIjXt7QKBgQDUtIgZP2lKuGIEl/ic\n" \
    "IJqIJo5qPIGrS6bEajLJ6FN1JQEF55UKqVEwAKzDIe9JH+spaFnrjOCJxNNZsqFY\n" \
    "k1N55b7u+4P17HDd52vt8fHtf3RI3hOiicepo24oKY3BM5Y/tJgJvBdktef5psZ/\n" \
    "lBaR9lNwnWN1dDkISfltmcL42wKBgQDK5z50NgZ30zfWtenvcYHFPoy2H5n+ISFP\n" \
    "CNUQ8aAhgmy4e9eYFgUpHlOi2oJ2fnaFJqUS1YMVuP/O0beD2N85oaolwbEA8BUc\n" \
    "QclAjzCGceQoquAs7xE+DlCs9y5dyKeYOeXeOXYgaq0lqPJ1JfGkFM1L2iY99R/F\n" \
    "Q3aONfOs3QKBgDhJugZsaHG0j4PFr62pVxuWkHN+pZXuBCjQLbaOu58xdq7YVPGo\n" \
    "UurQEufkkA0a3EFt8vXJpxXuNzvycI4fFqUYbkmR1575vfiLKF2kfDAsXVp3Il0N\n" \
    "9v9mV11beb7Z5vXe1akl1E77cHL5dmgGiV6BAB26GLrZUcpmwRIG8binAoGBAJBd\n" \
    "KXV7vuxgjtkog3KG2yMg1vL51xIWNmHKUfaFRD6zUnGMQ6AFAtT3q+AyAiMW5XLl\n" \
    "RQv6eBLrlq5rTlvz4RdbK/lDL5IQP6TkNbHGb2so+4Hn2ip+SlFR1BrMn+PAUWYg\n" \
    "w6lyTtbPr7Qc2a16OsxYtJzkcNMiZeFvl5mlT2PNAoGAJdJnGj1R27iaJasbgRK/\n" \
    "ay8g0Vd1g3Sj2+eeYgfWwAc4fvI6bwmgy+JhSEIheqSrK1+qLoZEj8KOe7k+9sXC\n" \
    "0QrzKINeYbaFJCPgiZJCOnNGv5ffJFcn1BS8hS99EBPcuLaV7nqzWf+Ek3m3o2Vz\n" \
    "0+voZIKC8iKe9KdhNTOFh58=\n" \
    "-----END PRIVATE KEY-----\n"

#define RECIPIENT_DOCUMENT_KEY \
    "bm08RyRrdgVp57rJ+U+Yq+V3B53UzxSxAIIk6tQv0XinTGnFqB2uZDtehugbkHijnxiN" \
    "7X7ZLKotQf6c/myVigPDBHN5FKrG7T0FkFBbFIGCNI7XLWpo+1u036+sdoltp9C4uuQ3" \
    "jE2rngjEbVfOYxCrpEQDT694sAfvrTwkmzkDRQfZ9d0M528j6zEH655j2IF65Azr17d9" \
    "Yw/7yW0XOm6z6Z/lpPFa/pXCihHuSrfy+sOSOiHgWjMvf5OjJeDNZ9RguKX3fQhVEv3z" \
    "ko9uiFcaVpKxl2OK4otGP1lim5/MUO+VDWqDjY4CfOw+lH4j0+q5CT2zoFcHD6sXvsRR" \
    "MA=="
#define RECIPIENT_MAC_KEY \
    "LK25C6//iPgML2xLCqs5JPdgtatfwuXzdYqsZOYuVqBJwVZrmgkOOUVAVpi8Rgw5EV5r" \
    "IzyLcfGIMH2pC+k8WHwKEB83DJBxdUlEBlB59aG3I3Z28gHVmTgTbMWVBjuDTljJjPpI" \
    "Cb3LVHKWgF2/fwRT/VPkWbPJrBHtn18B8RRrY75JPOseTf1LggYYjakLfMsvS1L5SH0M" \
    "116wm3TxDpLu1Ok6pfcPnZYYrovukrmIMRVpargfr2PvsUWYsrM5SPudounQahhbeIVV" \
    "oPiNM2UYkWI3WFSsp0NM2RXTrswvncfGMJeMzTlsM9noJYngQw9m05shh9bloi7NDcnD" \
    "4Q=="

/* In place of the document key: of 16 bytes. */
#define RECIPIENT_SHORT_KEY \
    "Xs/L8cDtYYDqfXQY4HdW56AFllZSZLYXwxu13uLzU80Cbs4GeFMG1xthwS1kWaS1tSsc" \
    "yIMYaHtZqi31Ac+cDGFyPmIBKwsVNjVoJDKIDm85/1hIPV3hFSO9iJ2uNTfbOUD6XvTT" \
    "qGXfwFow8uopyhOqI4J9bdCbZO6E1FDnJNdMw2M5bylUZgdtfpP4kjd8HcuUksQqTzka" \
    "cBegcrhAeGLjcmj2AXdp1gtQ/CSUTExXF1GTz4H2UT5ScrBbSC0MP+2wJ20aEaucchOW" \
    "0MBA3eanKlIVMYrzG3Tl0HhjpYfhSd/XEjenk/YhNO2ynVFexlJG4AQwv7uomvr4ontn" \
    "AQ=="

/* By OAEP with SHA-256. */
#define RECIPIENT_SHA256_KEY \
    "U14yrdWIF75uBswqdqRqtvhYPpRu6YCRqsw7BIDjIoWc008d9ymLoHejVS4u/M1kh1k8" \
    "2Mt7FcbaQLzi8QbIDeXKoMz0q2A61gSJoI8SSV57RiD6Ke2DMw2sNpkRhR19W1xEXNsL" \
    "7+QixMtb0QJZWOEOn7LpNGW8z/awnHU3NzzsYCaHWbbWuCI/Bjt3rvQtTaJROHXmOlix" \
    "aglX41Sh85+lOusV817Bo9aGQpIKCQxy0IgkPIbY0xOPK2VUv2GFF6bhIERKL7WLuK0O" \
    "8Z9a/SVOoQ7Y/gasnNsyHt3GKMPgQTdG6ZQk13S8D1MiejDMVxgOorqAQwMndxPh+dfn" \
    "9Q=="

#define RECIPIENT_CONTENT_KEY \
    "yMnKy8zNzs/Q0dLT1NXW1/x7mCFwHRck8BHT78ZuLWxtm5gBdTMXHcODhrOahhen"
#define RECIPIENT_CONTENT_MAC \
    "oM4qnCj3oj32LvgUSuLKCwCdKd69xrISleGvIw0ZACuaI85aSb6Wqs15o0Sdj8dPz1gt" \
    "9DROdTOyfU4kxfBh8A=="

/* A content key of 20 bytes. */
#define RECIPIENT_LONG_KEY \
    "yMnKy8zNzs/Q0dLT1NXW1+QlKh+G095HgIf+0scrCNjbDGIcJNRXS700Vjdbh75Z"
#define RECIPIENT_LONG_MAC \
    "dlo9PI2aVh6uXwtG2g2p83TnjnN7hX1aAO3tRQVQ+dcsxxHec5HIcGdk7cJFva3BB6kb" \
    "dBQvAqFdj7INKUUjQw=="

/* One of 32 bytes, without padding. */
#define RECIPIENT_BARE_KEY \
    "yMnKy8zNzs/Q0dLT1NXW1+QlKh+G095HgIf+0scrCNiiyT5d9l5FvzNAm3omMXNU"
#define RECIPIENT_BARE_MAC \
    "WZziDuGCUq8ehf5yO5+50GxnVOQLCzLpCTJcSovkfsQ+dV7YAHdGx5jhLSFLwgGSgyFE" \
    "B2bWD+/BzUuUbTOSMA=="
/* clang-format on */

#endif
