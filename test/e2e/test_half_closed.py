"""A client that says all it has to say and then closes its sending half, as `printf ... | nc -N` does: each whole command is done
and answered, then the connection ends; half a command is none."""

import contextlib
import re
import socket
import ssl
import time
import zlib

import pytest

import valija

MANY = 3000


class Secure:
    """TLS over a socket, with a close_notify that waits for nothing (ssl's unwrap() hears what comes meanwhile, and fails)."""

    def __init__(self, suite, raw):
        self.raw, self.arrives, self.leaves = raw, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = suite.tls().wrap_bio(self.arrives, self.leaves, server_hostname=suite.host)
        self.do(self.tls.do_handshake)

    def do(self, what, *arguments):
        while True:
            try:
                return what(*arguments)
            except ssl.SSLWantReadError:
                pass
            finally:
                self.raw.sendall(self.leaves.read())
            more = self.raw.recv(65536)
            if more:
                self.arrives.write(more)
            else:
                self.arrives.write_eof()

    def sendall(self, data):
        self.do(self.tls.write, data)

    def recv(self, size):
        try:
            return self.do(self.tls.read, size)
        except ssl.SSLZeroReturnError:
            return b""

    def shutdown(self, how):
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self.raw.sendall(self.leaves.read())

    def close(self):
        self.raw.close()


def say_no_more(connection):
    """shutdown(2), or close_notify."""
    connection.shutdown(socket.SHUT_WR)


def rest(connection):
    """All that is said until the connection ends; with TLS, by close_notify."""
    said = b""
    while more := connection.recv(65536):
        said += more
    return said


def line(connection):
    said = b""
    while not said.endswith(b"\n"):
        said += connection.recv(1)
    return said


def secure(suite, service, **how):
    return Secure(suite, suite.connect(service, **how))


def tags(said):
    return re.findall(rb"(?m)^(\w+) (OK|NO|BAD)\b", said)


@pytest.fixture
def ana(suite):
    user = suite.new_user("half")
    suite.receive("a@elsewhere.example", [user], b"Subject: one\r\n\r\nx\r\n")
    return user


def login(suite, user):
    connection = secure(suite, "imaps")
    line(connection)
    return connection, f"a LOGIN {user} {suite.passwords[user]}\r\n".encode()


@pytest.mark.parametrize("end", ("", "d LOGOUT\r\n", "d IDLE\r\n", "d NOO", "d APPEND INBOX {50+}\r\nhalf",
                                 "d APPEND INBOX {3+}\r\nabc", "d CREATE {10+}\r\nhalf", "d CREATE {3}\r\n"))
def test_imap(suite, ana, end):
    connection, first = login(suite, ana)
    connection.sendall(first + b"b SELECT INBOX\r\nc FETCH 1:* FLAGS\r\n" + end.encode())
    say_no_more(connection)
    said = rest(connection)
    assert tags(said) == [(t, b"OK") for t in (b"a", b"b", b"c", b"d")[:4 if "LOGOUT" in end else 3]], said
    assert b"* 1 FETCH (FLAGS" in said
    assert (b"+ idling" in said) == ("IDLE" in end) and (b"* BYE" in said) == ("LOGOUT" in end)
    with suite.imap(user=ana) as imap:
        assert imap.select() == ("OK", [b"1"]) and imap.list('""', "h*") == ("OK", [None])


def test_imap_more_than_is_kept(suite, ana):
    """The client reads nothing before it has said all: more commands than the buffers hold, more answers than they hold."""
    connection, first = login(suite, ana)
    connection.sendall(first + b"b SELECT INBOX\r\n" + b"".join(b"c%d FETCH 1 BODY[]\r\n" % n for n in range(MANY)))
    say_no_more(connection)
    assert tags(rest(connection))[-1] == (b"c%d" % (MANY - 1), b"OK")


def test_imap_compressed(suite, ana):
    connection, first = login(suite, ana)
    connection.sendall(first + b"b COMPRESS DEFLATE\r\n")
    while not line(connection).startswith(b"b OK"):
        pass
    out, into = zlib.compressobj(9, zlib.DEFLATED, -15), zlib.decompressobj(-15)
    commands = b"".join(b"c%d NOOP\r\n" % n for n in range(20000))
    connection.sendall(out.compress(commands + b"d SELECT INBOX\r\ne FETCH 1 BODY[]\r\n") + out.flush(zlib.Z_SYNC_FLUSH))
    say_no_more(connection)
    said = into.decompress(rest(connection))
    assert tags(said)[-2:] == [(b"d", b"OK"), (b"e", b"OK")] and len(tags(said)) == 20002


def test_imap_before_the_login(suite):
    for connection in (suite.connect("imap", source="127.0.7.1"), secure(suite, "imaps", source="127.0.7.1")):
        connection.sendall(b"a NOOP\r\nb CAPABILITY\r\nc AUTHENTICATE PLAIN AAAA\r\nd NOO")
        say_no_more(connection)
        assert [t for t, _ in tags(rest(connection))] == [b"a", b"b", b"c"]


def test_imap_of_another_user(suite, ana):
    """Commands that another user's process does; a client that is gone altogether is not waited for."""
    guest = suite.new_user("half")
    with suite.imap(user=ana) as imap:
        assert imap.setacl("INBOX", guest, "lrs")[0] == "OK"
    name = f"user/{ana}".encode()
    connection, first = login(suite, guest)
    connection.sendall(first + b"b SELECT %s\r\nc FETCH 1 BODY[]\r\nd STATUS %s (MESSAGES)\r\ne IDLE\r\n" % (name, name))
    say_no_more(connection)
    said = rest(connection)
    assert tags(said) == [(t, b"OK") for t in (b"a", b"b", b"c", b"d")], said
    connection, first = login(suite, guest)
    connection.sendall(first + b"b SELECT %s\r\nc IDLE\r\n" % name)
    while not line(connection).startswith(b"+ idling"):
        pass
    connection.close()
    valija.wait_until(lambda: len(re.findall(rf" logout .*user={guest} .*why=\"client closed\"", suite.log())) == 2, 5,
                      "the end of both sessions")


def hello(connection, verb="EHLO"):
    line(connection)
    connection.sendall(f"{verb} client.example\r\n".encode())
    while line(connection)[3:4] == b"-":
        pass


def codes(said):
    return [int(code) for code in re.findall(rb"(?m)^(\d{3}) ", said)]


def local_socket(suite):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(suite.env["LMTP_SOCKET"])
    return connection


def ways(suite, user):
    """Each way into smtpd, greeted."""
    yield "smtp", suite.connect("smtp")
    yield "lmtp", local_socket(suite)
    connection = suite.connect("smtp")
    hello(connection)
    connection.sendall(b"STARTTLS\r\n")
    line(connection)
    yield "tls", Secure(suite, connection)


def begun(suite, user):
    for name, connection in ways(suite, user):
        if name == "tls":
            connection.sendall(b"EHLO client.example\r\n")
            while line(connection)[3:4] == b"-":
                pass
        else:
            hello(connection, "LHLO" if name == "lmtp" else "EHLO")
        yield name, connection


@pytest.mark.parametrize("quits", (True, False), ids=("quit", "no-quit"))
def test_smtp_chunks(suite, ana, quits):
    """A whole transaction in one go, with BDAT; a second one stays without its last chunk."""
    for name, connection in begun(suite, ana):
        before = len(suite.delivered(ana))
        half = b"" if quits else b"MAIL FROM:<>\r\nRCPT TO:<%s>\r\nBDAT 100 LAST\r\nSubject: half\r\n\r\n" % ana.encode()
        whole = b"MAIL FROM:<a@client.example>\r\nRCPT TO:<%s>\r\nBDAT 19 LAST\r\nSubject: two\r\n\r\nx\r\n" % ana.encode()
        connection.sendall(whole + (b"QUIT\r\n" if quits else half))
        say_no_more(connection)
        said = rest(connection)
        assert codes(said) == [250, 250, 250, *([221] if quits else [250, 250])], (name, said)
        assert len(suite.delivered(ana)) == before + 1, name


def test_smtp_data(suite, ana):
    """After 354: the message is whole with its last line, and nothing without it."""
    for end, expected in ((b".\r\nQUIT\r\n", [250, 221]), (b".\r\n", [250]), (b".\r\nMAIL FROM:<>\r\nNOOP", [250, 250]), (b"", []),
                          (b".", [])):
        for name, connection in begun(suite, ana):
            before = len(suite.delivered(ana))
            connection.sendall(b"MAIL FROM:<a@client.example>\r\nRCPT TO:<%s>\r\nDATA\r\n" % ana.encode())
            while not line(connection).startswith(b"354"):
                pass
            connection.sendall(b"Subject: three\r\n\r\nx\r\n" + end)
            say_no_more(connection)
            said = rest(connection)
            assert codes(said) == expected, (name, end, said)
            assert len(suite.delivered(ana)) == before + bool(expected), name


def test_smtp_commands_before_the_end(suite):
    """More answers than go out at once, to a client that reads late."""
    for name, connection in begun(suite, ""):
        connection.sendall(b"VRFY nobody\r\n" * 90 + b"NOO")
        say_no_more(connection)
        time.sleep(0.2)
        assert codes(rest(connection)) == [252] * 90, name
