#!/usr/bin/python3
"""casemap.py > imapd/casemap-table.h - the table of i;unicode-casemap (RFC 5051), from Python's own
Unicode data. Run by hand when a new version of Unicode matters; the result is kept in the tree.

For each character: its simple titlecase, then its decomposition, applied again and again. Characters
that stay what they are, and Hangul syllables (casemap.c computes them), are left out."""

import unicodedata


def simple_title(c):
    t = c.title()
    return t if len(t) == 1 else c


def decompose(c):
    d = unicodedata.decomposition(c)
    if not d:
        return [ord(c)]
    parts = [p for p in d.split() if not p.startswith("<")]
    return [x for p in parts for x in decompose(chr(int(p, 16)))]


pool, rows = [], []
where = {}
for code in range(0x80, 0x110000):
    if 0xD800 <= code < 0xE000 or 0xAC00 <= code <= 0xD7A3:
        continue
    to = decompose(simple_title(chr(code)))
    if to == [code]:
        continue
    key = tuple(to)
    if key not in where:
        where[key] = len(pool)
        pool += to
    rows.append((code, where[key], len(to)))

print("/* casemap-table - made by contrib/casemap.py from Unicode", unicodedata.unidata_version + ".")
print(" * Not for reading: rows { character, where it leads in the pool, how many }. */")
print("#ifndef VALIJA_IMAPD_CASEMAP_TABLE_H\n#define VALIJA_IMAPD_CASEMAP_TABLE_H\n\n#include <stdint.h>\n")
print("struct casemap_row {\n\tuint32_t code;\n\tuint16_t at;\n\tuint16_t len;\n};\n")
print("/* clang-format off */\nstatic const uint32_t casemap_pool[] = {")
for i in range(0, len(pool), 12):
    print("\t" + " ".join(f"{x:#x}," for x in pool[i:i + 12]))
print("};\n\nstatic const struct casemap_row casemap_rows[] = {")
for i in range(0, len(rows), 4):
    print("\t" + " ".join(f"{{{c:#x},{a},{n}}}," for c, a, n in rows[i:i + 4]))
print("};\n/* clang-format on */\n\n#endif")
