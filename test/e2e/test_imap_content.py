"""Hostile messages through a whole session: what they cost, and that the answers stay valid."""

import re
import time

import pytest

import test_imap_notify


def nested_multiparts(depth):
    """Each with a boundary of its own."""
    head = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i) for i in range(depth))
    return b"Subject: x\r\n" + head + b"\r\nleaf\r\n" + b"".join(b"--b%d--\r\n" % i for i in reversed(range(depth)))


MESSAGES = {
    "3000 multiparts in each other": nested_multiparts(3000),
    "5000 messages in each other": b"Content-Type: message/rfc822\r\n\r\n" * 5000 + b"Subject: leaf\r\n\r\nleaf\r\n",
    "60000 parts": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 60000 + b"--b--\r\n",
}


def balanced(text):
    """Are the parentheses outside of quoted strings in pairs?"""
    depth = 0
    for c in re.sub(rb'"(?:[^"\\]|\\.)*"', b"", text):
        depth += (c == ord("(")) - (c == ord(")"))
        assert depth >= 0
    return depth == 0


@pytest.mark.parametrize("name", MESSAGES)
def test_c1_depth_and_count(suite, name):
    user = suite.new_user("content")
    c = test_imap_notify.client(suite, user)
    c.say(b"a APPEND INBOX {%d+}\r\n%s\r\n" % (len(MESSAGES[name]), MESSAGES[name]))
    assert c.line().startswith(b"a OK")
    assert test_imap_notify.said(c, "b SELECT INBOX")[-1].startswith(b"b OK")
    begin = time.monotonic()
    c.say(b"c FETCH 1 (BODYSTRUCTURE BODY)\r\n")
    structure = c.line()
    assert c.line().startswith(b"c OK")
    assert time.monotonic() - begin < 10          # seconds, where peers needed minutes or died
    assert structure.startswith(b"* 1 FETCH (BODYSTRUCTURE (") and balanced(structure)
    assert test_imap_notify.said(c, "d FETCH 1 BODY.PEEK[1.1.1.1.1.1.1.1.MIME]")[-1].startswith(b"d OK")
