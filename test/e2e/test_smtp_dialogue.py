"""Dialogues with smtpd, read from test/smtp/*.txt (test/smtp/README tells their form)."""

import base64
import codecs
import contextlib
import pathlib
import re
import smtplib
import socket
import time

import pytest

import valija

DIALOGUES = pathlib.Path(__file__).resolve().parents[1] / "smtp"
CLOSED = "(closed)"


# What a line may begin with, and what may stand behind it.
LINES = {"C": None, "S": r"(\d{3}[ -]?|\(closed\)$)", "S+": r"\d{3}[ -]", "S-": r"\d{3}[ -]", "M": r".", "M-": r".",
         **dict.fromkeys(("TLS", "HELLO", "LHLO", "MAIL", "RCPT", "LOGIN"), r"$")}


class Dialogue:
    """One case: its name, its listener, and its steps as (line number, what, text)."""

    def __init__(self, name):
        self.name, self.service, self.source, self.steps = name, "smtp", None, []


def take_step(line):
    """One line of a dialogue, as one or two steps of (what, text). What is written in another way is an error, never
    something else: a reply that was taken for a part of the command would be expected by nobody."""
    # A reply may stand on the line of its command.
    both = re.match(r"(C:.*?)\s+(S: (?:\d{3}|\(closed\)).*)$", line)
    steps = []
    for part in both.groups() if both else [line]:
        what, _, text = part.partition(":")
        text = text.removeprefix(" ")
        if what not in LINES or not re.match(LINES[what] or "", text) or \
                what == "C" and re.search(r"\s(S[+-]?|M-?|C):\s*(\d|\(|\w+ )", text):
            raise ValueError(f"what is {line!r}?")
        steps.append((what, text))
    return steps


def read_text(text, stem):
    """The dialogues of one file."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#") or not line.strip():
            continue
        if line.startswith("=="):
            found.append(Dialogue(f"{stem}: {line[2:].strip()}"))
        elif line.startswith("@"):
            found[-1].service, found[-1].source = (line[1:].split() + [None])[:2]
        else:
            try:
                found[-1].steps += [(number, what, text) for what, text in take_step(line)]
            except (ValueError, IndexError) as e:
                raise ValueError(f"{stem}.txt:{number}: {e}") from e
    for dialogue in found:
        if not any(what[0] in "SM" for _, what, _ in dialogue.steps):
            raise ValueError(f"{dialogue.name}: it expects nothing")
    return found


def read(path):
    return read_text(path.read_text(), path.stem)


def unescape(text):
    """The octets that the text stands for."""
    return codecs.escape_decode(text.encode("utf-8"))[0]


class Client:
    """A raw client that keeps what it said until it has to listen."""

    def __init__(self, suite, dialogue, names):
        self.suite, self.names = suite, names
        self.socket = socket.create_connection((suite.host, suite.port(dialogue.service)), timeout=20,
                                               source_address=(dialogue.source, 0) if dialogue.source else None)
        self.replies = self.unsaid = b""
        self.reply = []
        if dialogue.service == "submissions":
            self.tls()

    def fill(self, text):
        text = re.sub(r"\{([^{}*]+)\*(\d+)\}", lambda m: m[1] * int(m[2]), text)
        for name, value in self.names.items():
            text = text.replace("{%s}" % name, value)
        return text

    def tls(self):
        self.flush()
        self.socket = self.suite.tls().wrap_socket(self.socket, server_hostname=self.suite.host)
        self.replies = b""

    def say(self, text):
        whole = not text.endswith("\\c")
        self.unsaid += unescape(self.fill(text if whole else text[:-2])) + (b"\r\n" if whole else b"")

    def flush(self):
        said, self.unsaid = self.unsaid, b""
        if said:
            try:
                self.socket.sendall(said)
            except OSError:
                pass  # the server may have hung up: its last words tell

    def line(self):
        while b"\r\n" not in self.replies:
            try:
                more = self.socket.recv(65536)
            except ConnectionError:
                more = b""
            if not more:
                return None
            self.replies += more
        line, self.replies = self.replies.split(b"\r\n", 1)
        assert len(line) <= 510 or line.startswith(b"334"), "a reply line over 512 octets"
        return line.decode("ascii")

    def listen(self):
        """The next reply, as a list of lines; [CLOSED] at the end."""
        self.flush()
        self.reply = []
        while True:
            line = self.line()
            self.reply.append(CLOSED if line is None else line)
            if line is None or line[3:4] != "-":
                return self.reply

    def expect(self, start):
        said = self.listen()
        assert said[-1].startswith(start), f"expected {start!r}, heard {said}"

    def newest(self):
        """The octets of the message that came last to {user}."""
        def latest():
            files = self.suite.delivered(self.names["user"])
            return max(files, key=lambda p: (p.stat().st_mtime_ns, p.name)) if files else None
        return valija.wait_until(latest, what="a message").read_bytes()

    def hello(self):
        self.expect("220 ")
        self.say("EHLO client.example")
        self.expect("250 ")

    def step(self, what, text):
        """One line of a dialogue."""
        if what == "C":
            self.say(text)
        elif what == "S":
            self.expect(self.fill(text))
        elif what == "S+":
            assert any(line.startswith(text) for line in self.reply), f"no {text!r} in {self.reply}"
        elif what == "S-":
            assert not any(line.startswith(text) for line in self.reply), f"{text!r} in {self.reply}"
        elif what == "TLS":
            self.tls()
        elif what == "HELLO":
            self.hello()
        elif what == "LHLO":
            self.expect("220 ")
            self.say("LHLO client.example")
            self.expect("250 ")
        elif what == "LOGIN":
            self.hello()
            self.say("AUTH PLAIN {plain}")
            self.expect("235 ")
        elif what in ("MAIL", "RCPT"):
            self.hello()
            for say, expect in (("MAIL FROM:<a@client.example>", "250 2.1.0"), ("RCPT TO:<{user}>", "250 2.1.5"),
                                ("DATA", "354 "))[:3 if what == "MAIL" else 2]:
                self.say(say)
                self.expect(expect)
        elif what == "M":
            assert unescape(self.fill(text)) in self.newest()
        elif what == "M-":
            assert unescape(self.fill(text)) not in self.newest()
        else:
            raise ValueError(f"what is {what!r}?")


def b64(text):
    return base64.b64encode(text.encode()).decode()


@pytest.fixture(scope="module")
def server():
    """An instance where failures cost no time, with two users."""
    with valija.Instance(settings={"auth_delay_seconds": 0, "auth_delay_most_seconds": 0,
                                   "services": '{"smtp", "submission", "submissions", "lmtp"}',
                                   "policy_exempt": '{"127.0.0.0/8", "192.0.2.0/24", "2001:db8::/32"}',
                                   "access_client": '{"192.0.2.66 reject not this one"}',
                                   "xclient_from": '{"127.0.0.7"}', "xforward_from": '{"127.0.0.7"}',
                                   "normalise_newlines": '{"lmtp"}',
                                   "no_soliciting": '{"com.example:ADV", "org.example:ADV:ADLT"}'}) as suite:
        user, other = suite.user_add("ana"), suite.user_add("ben")
        password = suite.passwords[user]
        names = {"user": user, "USER": user.upper(), "other": other, "unknown": f"nobody@{valija.DOMAIN}",
                 "plain": b64(f"\0{user}\0{password}"), "wrong": b64(f"\0{user}\0not this"),
                 "user64": b64(user), "password64": b64(password)}
        yield suite, names


@pytest.mark.parametrize("line", ["C: NOOP S: 5", "C: NOOP    S: 25", "S: 5", "S: ok", "S:", "S : 250", "s: 250", "X: 250", "HELO",
                                  "HELLO: 250", "S+: SIZE", "M:", "TLS now", "C: NOOP  S+: 250-x"])
def test_a_line_that_is_none_is_an_error(line):
    """A dialogue whose expectation is overlooked could never fail."""
    with pytest.raises(ValueError, match=r"t\.txt:2: "):
        read_text(f"== a\n{line}\nS: 250", "t")


def test_a_dialogue_that_expects_nothing_is_an_error():
    with pytest.raises(ValueError, match="expects nothing"):
        read_text("== a\nHELLO\nC: NOOP", "t")


@pytest.mark.parametrize("dialogue", [d for p in sorted(DIALOGUES.glob("*.txt")) for d in read(p)],
                         ids=lambda d: d.name)
def test_dialogue(server, dialogue):
    suite, names = server
    client = Client(suite, dialogue, names)
    try:
        for number, what, text in dialogue.steps:
            try:
                client.step(what, text)
            except AssertionError as e:
                raise AssertionError(f"line {number}: {what}: {text[:100]}: {e}") from e
    finally:
        client.socket.close()


@pytest.mark.parametrize("octets, code", [(99999, 250), (100000, 250), (100001, 552)])
def test_limit_of_size(octets, code):
    """RFC 1870 section 5: exactly what SIZE announces is taken; the trace lines are not the client's."""
    with valija.Instance(settings={"message_size_bytes": 100000}) as suite:
        user = suite.user_add("ana")
        head = b"Subject: size\r\n\r\n"
        message = head + b"x" * (octets - len(head) - 2) + b"\r\n"
        with suite.smtp(service="smtp") as smtp:
            assert smtp.ehlo()[0] == 250 and smtp.esmtp_features["size"] == "100000"
            assert smtp.mail("a@client.example")[0] == 250 and smtp.rcpt(user)[0] == 250
            assert smtp.data(message)[0] == code
        assert len(suite.delivered(user)) == (code == 250)


def test_s5_endless_line_costs_no_memory(server):
    suite, _ = server

    def memory():
        return sum(int(valija.proc_status(p["pid"])["VmRSS"].split()[0]) for p in suite.processes("smtpd"))

    before = memory()
    with suite.connect("smtp") as s:
        s.recv(1000)
        try:
            for _ in range(128):
                s.sendall(b"x" * 65536)
        except OSError:
            pass
    assert memory() - before < 1024


@pytest.mark.parametrize("last, half", [(b"DATA\r\n", b"Subject: half\r\n\r\n"), (b"BDAT 7\r\nHalf: x", b"BDAT 80 LAST\r\n\r\n\r\nhalf"),
                                        (b"NOOP\r\n", b"BDAT 9 LA"), (b"RSET\r\n", b"AUTH PLAIN\r\n")], ids=repr)
def test_t3_end_of_tls_in_the_middle(server, last, half):
    """close_notify in the middle of a message, a chunk, a command or a login, then octets in clear: the connection is over, and
    nobody answers them (Exim's "Dead.Letter" was in BDAT)."""
    suite, names = server
    count = len(suite.delivered(names["user"]))
    raw = suite.connect("smtp")
    raw.recv(1000)
    raw.sendall(b"EHLO client.example\r\n")
    raw.recv(1000)
    raw.sendall(b"STARTTLS\r\n")
    assert raw.recv(1000).startswith(b"220")
    descriptor = raw.dup()
    tls = suite.tls().wrap_socket(raw, server_hostname=suite.host)
    for said in (b"EHLO client.example\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<" + names["user"].encode() + b">\r\n", last):
        tls.sendall(said)
        assert tls.recv(10000)[:1] in b"23", said
    tls.sendall(half)
    time.sleep(0.05)
    with contextlib.suppress(OSError):
        tls.unwrap()
    descriptor.settimeout(5)
    heard = b""
    with contextlib.suppress(ConnectionError), descriptor:
        descriptor.sendall(b".\r\nNOOP\r\n" + b"x" * 200)
        while more := descriptor.recv(1000):
            heard += more
    # At most the end of TLS in its own words.
    assert heard == b"" or heard[0] in (0x15, 0x17) and b"250" not in heard and b"421" not in heard, heard
    assert len(suite.delivered(names["user"])) == count
    assert not [p for p in suite.status() if p["restarts"]]


def test_lmtp_by_socket(server):
    """The socket is there without being asked for, and is LMTP of its own kind: no port, no TLS."""
    suite, names = server
    user, other = names["user"], names["other"]
    before = len(suite.delivered(other))
    with smtplib.LMTP(suite.env["LMTP_SOCKET"]) as lmtp:
        assert lmtp.ehlo("fetcher.example")[0] == 250
        assert lmtp.mail("a@client.example")[0] == 250
        assert [lmtp.rcpt(to)[0] for to in (user, names["unknown"], other)] == [250, 550, 250]
        lmtp.putcmd("DATA")
        assert lmtp.getreply()[0] == 354
        lmtp.send("Subject: by the socket\r\n\r\n.\r\n")
        assert [lmtp.getreply()[0] for _ in range(2)] == [250, 250]
        assert lmtp.noop()[0] == 250
    assert len(suite.delivered(other)) == before + 1
    newest = max(suite.delivered(other), key=lambda p: p.stat().st_mtime_ns).read_bytes()
    assert b"Received: from fetcher.example (local)\r\n\tby localhost with LMTP\r\n" in newest
