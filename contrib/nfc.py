#!/usr/bin/python3
"""nfc.py > imapd/nfc-table.h - the tables of Unicode Normalization Form C, from Python's own Unicode data. Run by hand
when a new version of Unicode matters; the result is kept in the tree. Hangul syllables, which nfc.c computes, are left out."""

import unicodedata

parts, pairs, classes = [], [], []
for code in range(0x80, 0x110000):
    if 0xD800 <= code < 0xE000 or 0xAC00 <= code <= 0xD7A3:
        continue
    c = chr(code)
    decomposition = unicodedata.decomposition(c)
    if decomposition and not decomposition.startswith("<"):
        first, *second = (int(p, 16) for p in decomposition.split())
        second = second[0] if second else 0
        parts.append((code, first, second))
        # What NFC leaves apart is excluded from composition (UAX 15, section 5).
        if second and unicodedata.normalize("NFC", chr(first) + chr(second)) == c:
            pairs.append((first, second, code))
    kind = unicodedata.combining(c)
    if kind and classes and classes[-1][1] == code - 1 and classes[-1][2] == kind:
        classes[-1] = (classes[-1][0], code, kind)
    elif kind:
        classes.append((code, code, kind))
pairs.sort()


def table(name, plural, rows, each):
    print(f"\nstatic const struct {name} {plural}[] = {{")
    for i in range(0, len(rows), each):
        print("\t" + " ".join("{%s}," % ",".join(f"{x:#x}" for x in row) for row in rows[i:i + each]))
    print("};")


print("/* nfc-table - made by contrib/nfc.py from Unicode", unicodedata.unidata_version + ".")
print(" * Not for reading. Each table is in order of its first numbers. */")
print("#ifndef VALIJA_IMAPD_NFC_TABLE_H\n#define VALIJA_IMAPD_NFC_TABLE_H\n\n#include <stdint.h>\n")
print("/* A character and the one (second: 0) or two that it is made of. */")
print("struct nfc_part {\n\tuint32_t code, first, second;\n};\n")
print("/* Two that become one. */\nstruct nfc_pair {\n\tuint32_t first, second, code;\n};\n")
print("/* Characters with a canonical combining class other than 0. */")
print("struct nfc_class {\n\tuint32_t from, to, kind;\n};\n\n/* clang-format off */", end="")
table("nfc_part", "nfc_parts", parts, 4)
table("nfc_pair", "nfc_pairs", pairs, 4)
table("nfc_class", "nfc_classes", classes, 4)
print("/* clang-format on */\n\n#endif")
