"""The table of messages (common/message.h), read from the source, and packets made of it: for tests that speak in the
place of a daemon. Nothing here repeats the table: a row that is added there is in these tests."""

import math
import re
import struct

import valija

NUMBERS = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "flag": 1}
HEADER = struct.Struct("=HQ")


class Message:
    """One row: name, number, the programs that may say it and hear it, fields [(kind, name, most)], descriptors."""

    def __init__(self, name, number, by, to, fields, fds):
        self.name, self.number, self.by, self.to, self.fields, self.fds = name, number, by, to, fields, fds

    def packet(self, ident, value):
        """value(kind, name, most) gives each field: a number, or bytes."""
        parts = [HEADER.pack(self.number, ident)]
        for kind, name, most in self.fields:
            said = value(kind, name, most)
            if kind in NUMBERS:
                parts.append(said.to_bytes(NUMBERS[kind], "little"))
            else:
                parts.append(struct.pack("=I", len(said)) + said)
        return b"".join(parts)


def _source(name):
    text = (valija.TOP / "common" / name).read_text()
    return re.sub(r"\\\n", " ", re.sub(r"/\*.*?\*/", " ", text, flags=re.S))


def table():
    """All rows, in the order of the source."""
    text, programs = _source("message.h"), re.findall(r'P\((\w+),\s*"([\w-]+)"\)', _source("program.h"))
    names = {f"BY_{symbol}": {name} for symbol, name in programs}
    names["BY_DAEMONS"] = {name for _, name in programs} - {"master", "command"}
    sizes = {}
    for name, said in re.findall(r"^#define (\w+)\s+(.+?)\s*$", text, re.M):
        if name.startswith("BY_"):
            names[name] = set().union(*(names[part] for part in re.findall(r"BY_\w+", said)))
        elif re.fullmatch(r"[\w\s()+*]+", said) and name.startswith("MOST_"):
            sizes[name] = _number(said, sizes)
    for name, said in re.findall(r"^#define (\w+)\(F\)(.*)$", text, re.M):
        if not name.endswith("_fields"):
            text = re.sub(rf"^#define {name}\(F\).*$", "", text, flags=re.M).replace(f"{name}(F)", said)
    fields = {name: [(kind, field, _number(most, sizes)) for kind, field, most in re.findall(r"F\((\w+), (\w+), ([\w *+]+)\)", said)]
              for name, said in re.findall(r"^#define (\w+)_fields\(F\)(.*)$", text, re.M)}
    sets = lambda said: set().union(*(names[part] for part in re.findall(r"BY_\w+", said)))
    rows = re.findall(r"M\((\w+),\s*(\d+),\s*([\w| ]+?),\s*([\w| ]+?),\s*([\w| ]+?),\s*(\d)\)", text)
    found = [Message(name, int(number), sets(by), sets(to), fields[name], int(fds)) for name, number, by, to, _, fds in rows]
    assert len(found) > 150 and len(found) == len(fields), (len(found), len(fields))
    assert sum(len(m.fields) for m in found) == len(re.findall(r"\bF\(", text))
    return found


def _number(said, sizes):
    """A ceiling: a number, a name, or a sum or product of them."""
    terms = [[int(part) if part.isdigit() else sizes[part] for part in re.findall(r"\w+", term)] for term in said.split("+")]
    return sum(math.prod(term) for term in terms)
