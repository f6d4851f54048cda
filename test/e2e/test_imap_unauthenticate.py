"""UNAUTHENTICATE (RFC 8437): one connection, several users, one after the other."""

import zlib

import pytest

import test_imap
import test_imap_compress
import valija
from test_imap_notify import said


@pytest.fixture(scope="module")
def reusing():
    instance = valija.Instance(settings={"imap_unauthenticate": "true"})
    yield instance
    left = instance.close()
    assert not left, f"still running after stop: {left}"


def login(c, suite, user, tag="L"):
    return said(c, f'{tag} LOGIN {user} "{suite.passwords[user]}"')


def test_users_in_turn(reusing):
    one, two = reusing.new_user("first"), reusing.new_user("second")
    c = test_imap.Client(reusing, "imaps")
    c.line()
    assert b" UNAUTHENTICATE " in login(c, reusing, one)[-1]
    said(c, "a CREATE mine")
    said(c, "b ENABLE QRESYNC UTF8=ACCEPT")
    said(c, "c NOTIFY SET (personal (MailboxName))")
    said(c, "d SELECT mine")
    assert said(c, "e UNAUTHENTICATE") == [b"e OK UNAUTHENTICATE completed."]
    # Nobody is logged in, and TLS is as it was.
    assert b"AUTH=PLAIN" in said(c, "f CAPABILITY")[0]
    assert said(c, "g SELECT mine")[-1].startswith(b"g BAD")
    assert said(c, f'h LOGIN {two} "wrong"')[-1].startswith(b"h NO [AUTHENTICATIONFAILED]")
    assert login(c, reusing, two, "i")[-1].startswith(b"i OK [CAPABILITY")
    assert not any(b"mine" in line for line in said(c, 'j LIST "" *'))
    assert said(c, "k SELECT INBOX")[-1].startswith(b"k OK")
    # What the first had enabled is not.
    assert said(c, "l FETCH 1:* FLAGS (CHANGEDSINCE 1 VANISHED)")[-1].startswith(b"l BAD")
    # All in one piece: the command, the next login, and what comes behind it.
    said(c, "m UNAUTHENTICATE")
    assert login(c, reusing, one, "n")[-1].startswith(b"n OK")
    c.say(f'o UNAUTHENTICATE\r\np LOGIN {two} "{reusing.passwords[two]}"\r\nq STATUS INBOX (MESSAGES)\r\n'.encode())
    assert c.line() == b"o OK UNAUTHENTICATE completed."
    assert c.line().startswith(b"p OK [CAPABILITY ")
    assert c.line() == b"* STATUS INBOX (MESSAGES 0)"
    assert c.line().startswith(b"q OK")
    assert said(c, "r UNAUTHENTICATE now")[-1].startswith(b"r BAD")
    assert said(c, "s LOGOUT")[-1].startswith(b"s OK")
    assert c.line() is None


def test_after_starttls_and_a_long_chain(reusing):
    users = [reusing.new_user("chain") for _ in range(2)]
    c = test_imap.Client(reusing, "imap")
    c.line()
    said(c, "t STARTTLS")
    c.tls()
    for i in range(20):
        assert login(c, reusing, users[i % 2])[-1].startswith(b"L OK")
        assert said(c, "u UNAUTHENTICATE")[-1].startswith(b"u OK")
    assert said(c, "v LOGOUT")[-1].startswith(b"v OK")


def test_compression_ends_with_it(reusing):
    user = reusing.new_user("deflate")
    c = test_imap_compress.Compressed(reusing, user)
    c.send(b"x UNAUTHENTICATE\r\n")
    assert c.line() == b"x OK UNAUTHENTICATE completed.\r\n"
    c.deflated = False
    c.send(b'y LOGIN %s "%s"\r\n' % (user.encode(), reusing.passwords[user].encode()))
    assert c.until(b"y ").startswith(b"y OK")
    # What is compressed behind the command is not understood: a last word, and the end.
    c.send(b"z COMPRESS DEFLATE\r\n")
    assert c.until(b"z ").startswith(b"z OK")
    c.deflated, c.out, c.into = True, zlib.compressobj(9, zlib.DEFLATED, -15), zlib.decompressobj(-15)
    c.send(b"x UNAUTHENTICATE\r\ny NOOP\r\n")
    assert b"* BYE [UNAVAILABLE]" in c.ends()


def test_it_is_off_unless_asked_for(suite):
    user = suite.new_user("off")
    c = test_imap.Client(suite, "imaps")
    c.line()
    assert b"UNAUTHENTICATE" not in login(c, suite, user)[-1]
    assert said(c, "a UNAUTHENTICATE")[-1].startswith(b"a BAD")
    assert said(c, "b NOOP")[-1].startswith(b"b OK")
