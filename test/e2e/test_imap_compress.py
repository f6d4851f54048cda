"""COMPRESS=DEFLATE (RFC 4978): a whole session through it, and what hostile clients send."""

import re
import socket
import zlib

import pytest

import valija


class Compressed:
    """A logged-in connection that has said COMPRESS."""

    def __init__(self, suite, user):
        raw = socket.create_connection((suite.host, suite.port("imaps")), timeout=20)
        self.socket = suite.tls().wrap_socket(raw, server_hostname=suite.host)
        self.plain, self.deflated = b"", False
        self.line()
        self.send(b"a LOGIN %s %s\r\n" % (user.encode(), suite.passwords[user].encode()))
        assert b" OK " in self.until(b"a ")
        self.send(b"b COMPRESS DEFLATE\r\n")
        assert self.until(b"b ").startswith(b"b OK ")
        self.deflated, self.out, self.into = True, zlib.compressobj(9, zlib.DEFLATED, -15), zlib.decompressobj(-15)

    def send(self, data):
        if self.deflated:
            data = self.out.compress(data) + self.out.flush(zlib.Z_SYNC_FLUSH)
        self.socket.sendall(data)

    def more(self):
        got = self.socket.recv(65536)
        if not got:
            return False
        self.plain += self.into.decompress(got) if self.deflated else got
        return True

    def line(self):
        while b"\n" not in self.plain:
            if not self.more():
                return b""
        line, _, self.plain = self.plain.partition(b"\n")
        return line + b"\n"

    def until(self, start):
        while True:
            line = self.line()
            if not line or line.startswith(start):
                return line

    def ends(self):
        try:
            while self.more():
                pass
        except (ConnectionError, zlib.error):
            pass
        return self.plain


def test_a_session(either):
    user = either.new_user("deflate")
    text = b"Subject: x\r\n\r\n" + b"0123456789" * 60000 + b"\r\n"
    client = Compressed(either, user)
    client.send(b"c COMPRESS DEFLATE\r\n")
    assert b"[COMPRESSIONACTIVE]" in client.until(b"c ")
    client.send(b"d APPEND INBOX {%d+}\r\n%s\r\ne SELECT INBOX\r\nf FETCH 1 BODY.PEEK[]\r\n" % (len(text), text))
    assert b"d OK" in client.until(b"d ")
    assert b"e OK" in client.until(b"e ")
    size = int(re.search(rb"\{(\d+)\}", client.until(b"* 1 FETCH"))[1])
    while len(client.plain) < size:
        assert client.more()
    assert client.plain[:size] == text
    client.plain = client.plain[size:]
    assert client.until(b"f ").startswith(b"f OK")
    client.send(b"g IDLE\r\n")
    assert client.line().startswith(b"+")
    either.receive("a@elsewhere.example", [user], b"Subject: y\r\n\r\ny\r\n")
    assert client.until(b"* 2 EXISTS")
    client.send(b"DONE\r\nh LOGOUT\r\n")
    assert client.until(b"h ").startswith(b"h OK")
    client.ends()


def test_bad_arguments(suite):
    imap = suite.imap(user=suite.new_user("deflate"))
    for command, answer in [(b"COMPRESS", b"BAD"), (b"COMPRESS LZW", b"NO"), (b"COMPRESS DEFLATE x", b"BAD")]:
        imap.send(b"x " + command + b"\r\n")
        assert imap.readline().startswith(b"x " + answer)
    imap.logout()


def test_p6_bomb(suite):
    """256 MiB of zeros in some 260 kB: cut off at the limit of a line, and the user's other sessions go on."""
    user = suite.new_user("bomb")
    other = suite.imap(user=user)
    client = Compressed(suite, user)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(256)) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert len(bomb) < 300000
    try:
        client.socket.sendall(bomb)
    except ConnectionError:
        pass
    assert b"BYE" in client.ends()
    assert other.noop()[0] == "OK"
    other.logout()


@pytest.mark.parametrize("junk", [b"z NOOP\r\n" * 10 + bytes([0xff] * 40), b"\x03\x00", bytes([0xff] * 100), zlib.compress(b"z NOOP\r\n")])
def test_what_is_not_compressed(suite, junk):
    user = suite.new_user("junk")
    other = suite.imap(user=user)
    client = Compressed(suite, user)
    client.socket.sendall(junk)
    assert client.ends() == b"* BYE What came is not compressed, or the stream has ended.\r\n"
    valija.wait_until(lambda: f"user={user} why=" in suite.log(), 10, "the end of the session")
    assert re.search(rf': refused .*why="what came is not compressed".*\n(.*\n)*.*: logout .*user={user}', suite.log())
    assert other.noop()[0] == "OK"
    other.logout()
