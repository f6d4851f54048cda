"""What a server says, held against the grammar of RFC 9051 section 9 and of the extensions that are offered. check(octets) takes
all that came over one connection and raises Wrong at the first response that is none."""

import re

ATOM_SPECIALS = b'(){ %*"\\]'
NUMBER = re.compile(rb"(0|[1-9][0-9]*)")
DATE_TIME = re.compile(rb'"[ 0-3][0-9]-(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)-[0-9]{4} [0-2][0-9]:[0-5][0-9]:[0-6][0-9] [+-][0-9]{4}"')
SET = re.compile(rb"[1-9][0-9]*(:[1-9][0-9]*)?(,[1-9][0-9]*(:[1-9][0-9]*)?)*")
OBJECT_ID = re.compile(rb"[A-Za-z0-9_-]{1,255}")
STATUS_NUMBERS = ("MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "DELETED", "SIZE", "HIGHESTMODSEQ", "DELETED-STORAGE")


class Wrong(AssertionError):
    pass


class Response:
    """A cursor in one response."""

    def __init__(self, octets):
        self.all, self.at = octets, 0

    def fail(self, wanted):
        raise Wrong(f"{wanted} expected in {self.all[:self.at]!r} <HERE> {self.all[self.at:self.at + 80]!r}")

    def sees(self, octets):
        return self.all.startswith(octets, self.at)

    def may(self, octets):
        found = self.sees(octets)
        self.at += len(octets) * found
        return found

    def must(self, octets):
        if not self.may(octets):
            self.fail(octets)

    def match(self, pattern, wanted):
        found = pattern.match(self.all, self.at)
        if not found:
            self.fail(wanted)
        self.at = found.end()
        return found[0]

    def number(self, least=0):
        value = int(self.match(NUMBER, "a number"))
        if not least <= value < 1 << 63:
            self.fail(f"a number from {least} to 2^63-1")
        return value

    def atom(self, more=b""):
        start = self.at
        while self.at < len(self.all) and 0x20 < self.all[self.at] < 0x7f and (self.all[self.at] not in ATOM_SPECIALS or
                                                                            self.all[self.at] in more):
            self.at += 1
        if start == self.at:
            self.fail("an atom")
        return self.all[start:self.at]

    def literal(self, eight=False):
        eight = eight and self.may(b"~")
        self.must(b"{")
        size = self.number()
        self.must(b"}\r\n")
        octets = self.all[self.at:self.at + size]
        if len(octets) != size or (not eight and b"\0" in octets):
            self.fail("as many octets, none of them NUL")
        self.at += size
        return octets

    def string(self, eight=False):
        if not self.may(b'"'):
            return self.literal(eight)
        out = b""
        while not self.may(b'"'):
            if self.at >= len(self.all) or self.all[self.at] in b"\r\n\0":
                self.fail("the end of a quoted string")
            if self.may(b"\\") and self.all[self.at] not in b'"\\':
                self.fail("a quoted special")
            out += self.all[self.at:self.at + 1]
            self.at += 1
        out.decode("utf-8")
        return out

    def is_nil(self):
        if self.all[self.at:self.at + 3].upper() != b"NIL":
            return False
        self.at += 3
        return True

    def nstring(self, eight=False):
        return None if self.is_nil() else self.string(eight)

    def astring(self):
        return self.string() if self.sees(b'"') or self.sees(b"{") else self.atom(b"]")

    def listed(self, item, least=0, between=b" "):
        self.must(b"(")
        count = 0
        while not self.may(b")"):
            if count and between:
                self.must(between)
            item()
            count += 1
        if count < least:
            self.fail(f"at least {least} items")
        return count

    def flag(self):
        if self.may(b"\\") and self.may(b"*"):
            return
        self.atom(b"]")

    def end(self):
        if self.all[self.at:] != b"\r\n":
            self.fail("the end of the response")

    # --- messages ---

    def address(self):
        self.must(b"(")
        parts = [(self.nstring(), i < 3 and self.must(b" "))[0] for i in range(4)]
        self.must(b")")
        if parts[3] is None and parts[1] is not None and parts[2] == b"":
            self.fail("a group has a name")

    def addresses(self):
        if not self.is_nil():
            self.listed(self.address, 1, b"")

    def envelope(self):
        self.must(b"(")
        for i, what in enumerate([self.nstring] * 2 + [self.addresses] * 6 + [self.nstring] * 2):
            if i:
                self.must(b" ")
            what()
        self.must(b")")

    def parameters(self):
        if not self.is_nil() and self.listed(self.string, 2) % 2:
            self.fail("pairs of parameters")

    def disposition(self):
        if not self.is_nil():
            self.must(b"(")
            self.string()
            self.must(b" ")
            self.parameters()
            self.must(b")")

    def language(self):
        if self.sees(b"("):
            self.listed(self.string, 1)
        else:
            self.nstring()

    def anything(self):
        if self.sees(b"("):
            self.listed(self.anything, 1)
        elif NUMBER.match(self.all, self.at):
            self.number()
        else:
            self.nstring()

    def extension(self, fields):
        """[SP md5] [SP disposition [SP language [SP location *(SP more)]]]"""
        for field in fields:
            if not self.may(b" "):
                return
            field()
        while self.may(b" "):
            self.anything()

    def body(self, extended):
        self.must(b"(")
        rest = (self.disposition, self.language, self.nstring)
        if self.sees(b"("):
            while self.sees(b"("):
                self.body(extended)
            self.must(b" ")
            self.string()
            if extended:
                self.extension((self.parameters, *rest))
            self.must(b")")
            return
        media = self.string().lower()
        self.must(b" ")
        subtype = self.string().lower()
        for field in (self.parameters, self.nstring, self.nstring, self.string, self.number):
            self.must(b" ")
            field()
        if media == b"message" and subtype in (b"rfc822", b"global"):
            self.must(b" ")
            self.envelope()
            self.must(b" ")
            self.body(extended)
            self.must(b" ")
            self.number()
        elif media == b"text":
            self.must(b" ")
            self.number()
        if extended:
            self.extension((self.nstring, *rest))
        self.must(b")")

    def section(self):
        self.must(b"[")
        if NUMBER.match(self.all, self.at):
            self.match(re.compile(rb"[1-9][0-9]*(\.[1-9][0-9]*)*\.?"), "part numbers")
        if not self.sees(b"]"):
            word = self.match(re.compile(rb"HEADER\.FIELDS(\.NOT)?|HEADER|TEXT|MIME"), "a section")
            if word.startswith(b"HEADER.FIELDS"):
                self.must(b" ")
                self.listed(self.astring, 1)
        self.must(b"]")
        if self.may(b"<"):
            self.number()
            self.must(b">")

    def object_id(self):
        self.must(b"(")
        self.match(OBJECT_ID, "an object id")
        self.must(b")")

    def modseq(self):
        self.must(b"(")
        self.number(1)
        self.must(b")")

    def date_time(self):
        self.match(DATE_TIME, "a date-time")

    def fetched(self):
        name = self.match(re.compile(rb"[A-Z0-9]+(\.SIZE|\.HEADER|\.TEXT)?"), "a data item").decode()
        if name in ("BODY", "BINARY", "BINARY.SIZE") and self.sees(b"["):
            self.section()
            self.must(b" ")
            return self.number() if name == "BINARY.SIZE" else self.nstring(name == "BINARY")
        self.must(b" ")
        kinds = {"FLAGS": lambda: self.listed(self.flag), "UID": lambda: self.number(1), "RFC822.SIZE": self.number, "INTERNALDATE": self.date_time,
                 "ENVELOPE": self.envelope, "BODY": lambda: self.body(False), "BODYSTRUCTURE": lambda: self.body(True), "MODSEQ": self.modseq,
                 "EMAILID": self.object_id, "THREADID": lambda: self.is_nil() or self.object_id(), "PREVIEW": self.nstring,
                 "SAVEDATE": lambda: self.is_nil() or self.date_time(), "RFC822": self.nstring, "RFC822.HEADER": self.nstring, "RFC822.TEXT": self.nstring}
        if name not in kinds:
            self.fail("a data item")
        return kinds[name]()

    # --- mailboxes ---

    def listed_mailbox(self):
        self.listed(lambda: (self.must(b"\\"), self.atom()))
        self.must(b" ")
        if not self.is_nil() and len(self.string()) != 1:
            self.fail("one character as the separator")
        self.must(b" ")
        self.astring()
        if self.may(b" "):       # mbox-list-extended
            self.listed(lambda: (self.astring(), self.must(b" "), self.listed(self.astring, 1)), 1)

    def status_item(self):
        name = self.atom().decode()
        self.must(b" ")
        if name in STATUS_NUMBERS:
            self.number(1 if name in ("UIDNEXT", "UIDVALIDITY", "HIGHESTMODSEQ") else 0)
        elif name == "MAILBOXID":
            self.object_id()
        elif name == "APPENDLIMIT":
            self.is_nil() or self.number()
        else:
            self.fail("a status item")

    def esearch(self):
        if self.may(b" (TAG "):
            self.string()
            if self.may(b" MAILBOX "):
                self.astring()
                self.must(b" UIDVALIDITY ")
                self.number(1)
            self.must(b")")
        self.may(b" UID")
        while self.may(b" "):
            name = self.atom().decode()
            self.must(b" ")
            if name in ("MIN", "MAX", "MODSEQ"):
                self.number(1)
            elif name == "COUNT":
                self.number()
            elif name == "ALL":
                self.match(SET, "a set")
            elif name == "PARTIAL":
                self.must(b"(")
                self.match(re.compile(rb"[1-9][0-9]*:[1-9][0-9]*|-[1-9][0-9]*:-[1-9][0-9]*"), "a range")
                self.must(b" ")
                self.is_nil() or self.match(SET, "a set")
                self.must(b")")
            elif name in ("ADDTO", "REMOVEFROM"):
                self.must(b"(")
                while True:
                    self.number()
                    self.must(b" ")
                    self.match(SET, "a set")
                    if not self.may(b" "):
                        break
                self.must(b")")
            else:
                self.fail("a result of a search")

    def thread(self):
        """thread-list: "(" (members *(SP nested) / nested 2*) ")" """
        self.must(b"(")
        count = 0
        while self.sees(b"(") or NUMBER.match(self.all, self.at):
            if self.sees(b"("):
                branches = 0
                while self.sees(b"("):
                    self.thread()
                    branches += 1
                if branches < 2:
                    self.fail("two branches or none")
                break
            self.number(1)
            count += 1
            if not self.may(b" "):
                break
        self.must(b")")

    def namespace(self):
        if self.is_nil():
            return
        self.listed(lambda: self.listed(lambda: (self.string(), self.must(b" "), self.is_nil() or self.string()), 1), 1, b"")

    def metadata(self):
        self.astring()
        self.must(b" ")
        if self.sees(b"("):
            self.listed(lambda: (self.astring(), self.must(b" "), self.nstring(True)), 1)
        else:
            self.astring()
            while self.may(b" "):
                self.astring()

    # --- responses ---

    def code(self):
        """[code] of a response with text."""
        name = self.atom().decode()
        numbers = {"UIDNEXT": 1, "UIDVALIDITY": 1, "UNSEEN": 1, "HIGHESTMODSEQ": 1}
        if name == "CAPABILITY":
            while self.may(b" "):
                self.atom(b"+")
        elif name == "PERMANENTFLAGS":
            self.must(b" ")
            self.listed(self.flag)
        elif name in numbers:
            self.must(b" ")
            self.number(numbers[name])
        elif name == "APPENDUID":
            self.must(b" ")
            self.number(1)
            self.must(b" ")
            self.match(SET, "a set")
        elif name == "COPYUID":
            self.must(b" ")
            self.number(1)
            for _ in range(2):
                self.must(b" ")
                self.match(SET, "a set")
        elif name == "MODIFIED":
            self.must(b" ")
            self.match(SET, "a set")
        elif name == "MAILBOXID":
            self.must(b" ")
            self.object_id()
        elif name == "INPROGRESS" and self.may(b" ("):
            self.is_nil() or self.string()
            for _ in range(2):
                self.must(b" ")
                self.is_nil() or self.number()
            self.must(b")")
        elif name in ("BADCHARSET", "BADEVENT") and self.may(b" "):
            self.listed(self.astring, 1)
        else:
            self.match(re.compile(rb"( [^\]\r\n]+)?"), "its argument")
        self.must(b"]")

    def text(self):
        """resp-text: [code SP] text; text is not empty, and no code where none is meant."""
        if self.may(b"["):
            self.code()
            self.must(b" ")
        self.match(re.compile(rb"[^\r\n\0]+"), "text")

    def untagged(self):
        if NUMBER.match(self.all, self.at):
            self.number()
            word = self.match(re.compile(rb" (EXISTS|RECENT|EXPUNGE|FETCH|UIDFETCH)"), "what a number stands before")
            if word.endswith(b"FETCH"):
                self.must(b" ")
                self.listed(self.fetched, 1)
            return
        name = self.match(re.compile(rb"[A-Z]+"), "a response").decode()
        if name in ("OK", "NO", "BAD", "BYE", "PREAUTH"):
            self.must(b" ")
            self.text()
        elif name == "ESEARCH":
            self.esearch()
        elif name in ("SEARCH", "SORT"):
            while self.may(b" "):
                if self.may(b"(MODSEQ "):
                    self.number(1)
                    self.must(b")")
                    break
                self.number(1)
        elif name == "THREAD":
            if self.may(b" "):
                while self.sees(b"("):
                    self.thread()
        elif name in ("CAPABILITY", "ENABLED"):
            while self.may(b" "):
                self.atom(b"+")
        else:
            self.must(b" ")
            self.rest(name)

    def rest(self, name):
        if name in ("LIST", "LSUB"):
            self.listed_mailbox()
        elif name == "FLAGS":
            self.listed(self.flag)
        elif name == "STATUS":
            self.astring()
            self.must(b" ")
            self.listed(self.status_item)
        elif name == "VANISHED":
            self.may(b"(EARLIER) ")
            self.match(SET, "a set")
        elif name == "NAMESPACE":
            for i in range(3):
                if i:
                    self.must(b" ")
                self.namespace()
        elif name == "ID":
            self.is_nil() or self.listed(self.nstring)
        elif name == "METADATA":
            self.metadata()
        elif name == "QUOTA":
            self.astring()
            self.must(b" ")
            self.listed(lambda: (self.atom(), self.must(b" "), self.number(), self.must(b" "), self.number()))
        elif name in ("QUOTAROOT", "LISTRIGHTS", "MYRIGHTS", "ACL"):
            self.astring()
            while self.may(b" "):
                self.astring()
        else:
            self.fail("a response that is known")


def one(octets, at):
    """Where the response that begins at `at` ends; None: it is not whole."""
    while True:
        end = octets.find(b"\r\n", at)
        if end < 0:
            return None
        size = re.search(rb"\{([0-9]+)\}\Z", octets[at:end])
        at = end + 2
        if not size:
            return at
        at += int(size[1])


def check(octets):
    """Returns how many responses there were."""
    at = count = 0
    while (end := one(octets, at)) is not None:
        r = Response(octets[at:end])
        if r.may(b"+ "):
            r.match(re.compile(rb"[^\r\n]*"), "text")
        elif r.may(b"* "):
            r.untagged()
        else:
            r.atom()
            r.must(b" ")
            r.match(re.compile(rb"OK |NO |BAD "), "a result")
            r.text()
        r.end()
        at = end
        count += 1
    return count
