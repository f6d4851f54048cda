"""Dialogues with the IMAP server, read from test/imap/*.txt (test/imap/README tells their form)."""

import base64
import codecs
import pathlib
import re
import socket
import time
import zlib

import pytest

import imap_grammar
import test_sasl
import valija

DIALOGUES = pathlib.Path(__file__).resolve().parents[1] / "imap"
CLOSED = "(closed)"


class Dialogue:
    """One case: its name, its listener (None: logged in), its steps as (line number, what, text)."""

    def __init__(self, name):
        self.name, self.service, self.steps = name, None, []


def read(path):
    """The dialogues of one file."""
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("#") or not line.strip():
            continue
        if line.startswith("=="):
            found.append(Dialogue(f"{path.stem}: {line[2:].strip()}"))
        elif line.startswith("@"):
            found[-1].service = line[1:].strip()
        elif line.startswith(("SLEEP ", "TLS", "SCRAM ", "DEFLATE", "QUOTA ")):
            what, _, text = line.partition(" ")
            found[-1].steps.append((number, what, text))
        else:
            what, _, text = line.partition(":")
            found[-1].steps.append((number, what.strip(), text.removeprefix(" ")))
    return found


def unescape(text):
    return codecs.escape_decode(text.encode("utf-8"))[0]


def pattern(text):
    """What the server should say, as a regular expression over bytes."""
    out = b""
    for part in re.split(r"(\{\*\}|\{n\}|\{[A-Z]+=[n*]\})", text):
        named = re.fullmatch(r"\{([A-Z]+)=([n*])\}", part)
        what = {"{*}": b".*", "{n}": b"[0-9]+"}
        if named:
            out += b"(?P<%s>%s)" % (named[1].encode(), what["{%s}" % named[2]])
        else:
            out += what.get(part) or re.escape(unescape(part))
    return re.compile(out + b"\\Z", re.DOTALL)


class Client:
    """A raw client that keeps what it said until it has to listen: so pipelining is tried too."""

    def __init__(self, suite, service):
        self.suite = suite
        self.socket = suite.connect(service)
        self.received = self.unsaid = self.heard = b""
        self.lines = []
        self.deflating = self.inflating = None
        if service == "imaps":
            self.tls()

    def tls(self):
        self.flush()
        self.socket = self.suite.tls().wrap_socket(self.socket, server_hostname=self.suite.host)
        self.received = b""

    def deflate(self):
        self.flush()
        self.deflating, self.inflating = zlib.compressobj(wbits=-15), zlib.decompressobj(-15)

    def say(self, octets):
        self.unsaid += octets
        self.lines = []

    def flush(self):
        said, self.unsaid = self.unsaid, b""
        if said and self.deflating:
            said = self.deflating.compress(said) + self.deflating.flush(zlib.Z_SYNC_FLUSH)
        if said:
            try:
                self.socket.sendall(said)
            except OSError:
                pass  # the server may have hung up: its last words tell

    def line(self):
        """The next line without CR LF; None at the end."""
        self.flush()
        while b"\r\n" not in self.received:
            try:
                piece = self.socket.recv(65536)
            except (ConnectionError, socket.timeout) as error:
                if isinstance(error, socket.timeout):
                    raise AssertionError(f"the server says nothing; so far {self.lines}") from None
                piece = b""
            if not piece:
                assert not self.received, f"an unfinished line: {self.received!r}"
                return None
            if self.inflating:
                piece = self.inflating.decompress(piece)
            self.received += piece
            self.heard += piece
        line, _, self.received = self.received.partition(b"\r\n")
        self.lines.append(line)
        return line

    def login(self, names):
        assert self.line().startswith(b"* OK ")
        self.say(f'L LOGIN {names["user"]} "{names["password"]}"\r\n'.encode())
        assert self.line().startswith(b"L OK [CAPABILITY ")

    def close(self):
        self.socket.close()


def put(suite, user, text):
    """A message from another program."""
    folder, _, body = text.partition(" ")
    box = suite.maildir(user)
    if folder != "INBOX":
        box = box / ("." + folder.replace("/", "."))
    put.count += 1
    name = f"{1000000000 + put.count}.M{put.count}.elsewhere"
    owner = box.stat()
    (box / "tmp" / name).write_bytes(unescape(body))
    valija.os.chown(box / "tmp" / name, owner.st_uid, owner.st_gid)
    (box / "tmp" / name).rename(box / "new" / name)


put.count = 0


def names_of(suite, user):
    password = suite.passwords[user]

    def b64(text):
        return base64.b64encode(text.encode()).decode()

    return {"user": user, "user_size": str(len(user)), "password": password,
            "password_size": str(len(password)), "plain": b64(f"\0{user}\0{password}"), "user64": b64(user),
            "password64": b64(password), "wrong": b64(f"\0{user}\0{password}x")}


def fill(text, names):
    text = re.sub(r"\{(.)\*(\d+)\}", lambda m: m[1] * int(m[2]), text)
    for name, value in names.items():
        text = text.replace("{%s}" % name, value)
    return text


def with_literals(octets):
    """<<text>> is a literal that does not wait for the server's "+"."""
    return re.sub(rb"<<(.*?)>>", lambda m: b"{%d+}\r\n%s" % (len(m[1]), m[1]), octets, flags=re.DOTALL)


def scram(client, tag, user, password):
    """AUTHENTICATE with an initial response, as RFC 9051 section 8 has it; the server proves itself too."""
    proof = test_sasl.Dialogue("SCRAM-SHA-256", user, password)
    said = f"{tag} AUTHENTICATE SCRAM-SHA-256 ".encode() + base64.b64encode(proof(b""))
    for _ in range(2):
        client.say(said + b"\r\n")
        challenge = client.line()
        assert challenge.startswith(b"+ "), f"said {challenge!r}"
        said = base64.b64encode(proof(base64.b64decode(challenge[2:])))
    proof.check()
    client.say(said + b"\r\n")
    answer = client.line()
    assert answer.startswith(f"{tag} OK ".encode()), f"said {answer!r}"


def expect(client, what, text, names):
    if what == "S-":
        wrong = pattern(text)
        assert not any(wrong.match(line) for line in client.lines), f"said {client.lines}"
        return
    if text == CLOSED:
        got = client.line()
        assert got is None, f"not closed, but {got!r}"
        return
    wanted = pattern(text)
    while True:
        got = client.line()
        assert got is not None, f"closed; before that {client.lines}"
        match = wanted.match(got)
        if match:
            names.update({name: value.decode() for name, value in match.groupdict().items()})
            return
        assert what == "S>", f"said {got!r}, not {text!r}"


@pytest.fixture(scope="module")
def user_factory(suite):
    return lambda: suite.new_user("imap")


ALL = [d for path in sorted(DIALOGUES.glob("*.txt")) for d in read(path)]


@pytest.mark.parametrize("dialogue", ALL, ids=lambda d: d.name)
def test_dialogue(suite, user_factory, dialogue):
    user = user_factory()
    names = names_of(suite, user)
    clients = {}
    try:
        first = clients[""] = Client(suite, dialogue.service or "imaps")
        if dialogue.service:
            assert first.line().startswith(b"* OK ")
        else:
            first.login(names)
        for number, what, text in dialogue.steps:
            kind, which, mode = re.fullmatch(r"([A-Z]+)(\d?)([->]?)", what).groups()
            if which not in clients:
                clients[which] = Client(suite, "imaps")
                clients[which].login(names)
            client = clients[which]
            try:
                if kind == "C":
                    whole = not text.endswith("\\c")
                    said = with_literals(unescape(fill(text if whole else text[:-2], names)))
                    client.say(said + (b"\r\n" if whole else b""))
                elif kind == "S":
                    expect(client, kind + mode, fill(text, names), names)
                elif kind == "F":
                    client.flush()
                    put(suite, user, text)
                elif kind == "TLS":
                    client.tls()
                elif kind == "DEFLATE":
                    client.deflate()
                elif kind == "QUOTA":
                    client.flush()
                    suite.valija("user", "quota", user, *text.split())
                elif kind == "SCRAM":
                    scram(client, text, user, names["password"])
                elif kind == "SLEEP":
                    client.flush()
                    time.sleep(float(text))
                else:
                    raise AssertionError(f"what is {what}?")
            except AssertionError as error:
                raise AssertionError(f"line {number}: {error}") from None
        for client in clients.values():
            imap_grammar.check(client.heard)
    finally:
        for client in clients.values():
            client.close()


def test_each_example_is_where_the_table_says():
    rows = [line.split(" | ") for line in (DIALOGUES / "EXAMPLES").read_text().splitlines() if re.match(r"[0-9]+ .* \| ", line)]
    assert len(rows) > 100 and all(len(row) == 2 for row in rows), rows
    here = pathlib.Path(__file__).parent
    for example, where in rows:
        test = re.match(r"(test_\w+\.py)::(test_\w+)$", where)
        if test:
            assert f"def {test[2]}(" in (here / test[1]).read_text(), f"{example}: there is no {where}"
        elif not where.startswith("- "):
            assert any(d.name.startswith(where) for d in ALL), f"{example}: there is no dialogue {where}"


@pytest.mark.parametrize("wrong", [
    b"* 1 FETCH (PREVIEW word)", b"* 1 FETCH ()", b"* 1 FETCH (FLAGS (\\Seen) UID 0)", b"* 1 FETCH (BODY[TEXT] {3}\r\na\0b)", b'* 1 FETCH (BODY[] "a\\b")',
    b'* 1 FETCH (INTERNALDATE "1-Jan-2020 00:00:00 +0000")', b'* 1 FETCH (ENVELOPE (NIL NIL () NIL NIL NIL NIL NIL NIL NIL))',
    b'* 1 FETCH (BODYSTRUCTURE ("text" "plain" NIL NIL NIL "7bit" 3))', b'* 1 FETCH (BODY ("mixed"))', b"* LIST () \"/\" a b", b"* LIST (Sent) \"/\" a",
    b"* STATUS a (MESSAGES x)", b"* SEARCH 1 0", b"* ESEARCH (TAG \"a\") ALL ", b"* ESEARCH COUNT", b"* THREAD (1 (2))", b"* OK ", b"a OK", b"* OK [UIDNEXT 0] x",
    b"* VANISHED ()", b"* 1 EXPUNGE ", b"* METADATA a (/b x y)", b"* NAMESPACE NIL NIL", b"a YES x", b"* FLAGS \\Seen", b"* OK [] x"])
def test_the_grammar_refuses(wrong):
    with pytest.raises(imap_grammar.Wrong):
        imap_grammar.check(b"* OK [CAPABILITY IMAP4rev1] before\r\n" + wrong + b"\r\n")
