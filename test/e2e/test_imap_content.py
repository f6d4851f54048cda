"""Hostile messages through a whole session: what they cost, and that the answers stay valid."""

import os
import random
import re
import time

import pytest

import imap_grammar
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


DAMAGED = [
    b'From: "A (x) B" <a@b>, g: c@d, e@f;, <@x,@y:z@w>, =?utf-8?q?=C3=A9?= <q@r>\r\nTo: undisclosed-recipients:;\r\nCc: , ,, ;\r\n'
    b"Subject: =?iso-8859-1?Q?=E9=22=5C?= \xc3\xa9 \xff\x00\r\nDate: Mon, 1 Jan 1960 00:00:00 -0000\r\nMessage-ID: <a b@c>\r\nIn-Reply-To: \"x\r\n\r\nbody\r\n",
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"a b\"; name*0*=utf-8''%C3; name*1=\"\\\"x\"; =bad; x\r\nContent-Language: en, de (c), \"x\"\r\n"
    b"Content-Location: a\r\n b\r\nContent-MD5: \x80\r\n\r\npre\r\n--a b\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment; filename=\"\r\n\r\n"
    b"From: x\r\n\r\n--a b\r\nContent-Type: text/html; charset=\"\x00\"\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!\r\n--a b\r\nContent-Type: image/png; name=\xff\r\n"
    b"Content-ID: <\"\\>\r\nContent-Description: \"\\\r\n\r\nxx\r\n--a b--\r\npost",
    b"Content-Type: multipart/alternative; boundary=\r\n\r\n--\r\nx", b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nRnJvbTogeA==\r\n",
    b"\r\n\r\n", b"x", b"", b"NIL", b"Content-Type: ;;;\r\nSubject\r\n: x\r\n\r\ny\0\r\n", b"Content-Type: message/delivery-status\r\n\r\nA: b\r\n",
    b"Content-Type: multipart/digest; boundary=x\r\n\r\n--x\r\n\r\nFrom: a\r\n\r\nb\r\n--x--", b"Content-Type: message/global\r\n\r\nSubject: \xc3\xa9\r\n\r\nx",
    b'Content-Type: text\r\nContent-Transfer-Encoding: "\r\nContent-Disposition: "; a=b\r\n\r\nx\n y\r z']
PIECES = [b'"', b"\\", b"(", b")", b"\r\n", b"\r", b"\n", b"\0", b";", b":", b"<", b">", b"--a b", b"--x", b"{3}\r\n", b"=?utf-8?b?", b"?=", b"\x80", b"%", *DAMAGED]
ITEMS = ["FLAGS UID RFC822.SIZE INTERNALDATE ENVELOPE BODY BODYSTRUCTURE PREVIEW EMAILID THREADID SAVEDATE MODSEQ",
         "BODY.PEEK[] BODY.PEEK[HEADER] BODY.PEEK[TEXT] BODY.PEEK[1] BODY.PEEK[1.MIME] BODY.PEEK[1.1] BODY.PEEK[1.HEADER] BODY.PEEK[]<3.5> BODY.PEEK[]<99999.5> "
         'BODY.PEEK[2.1.HEADER.FIELDS (Subject "x y")] BODY.PEEK[HEADER.FIELDS.NOT (Subject)]']


def damage(rand, message):
    """Some octets more, less, or others."""
    for _ in range(rand.randrange(12)):
        at = rand.randrange(len(message) + 1)
        message = message[:at] + rand.choice([rand.randbytes(1), rand.choice(PIECES), message[rand.randrange(at + 1):at][:30]]) + message[at + rand.randrange(3):]
    return message


def test_what_is_told_of_damaged_mail(suite):
    """Whatever a client has enabled, it hears nothing but what the grammar has (test/e2e/imap_grammar.py); VALIJA_TEST_SEED chooses the mail."""
    seed = int(os.environ.get("VALIJA_TEST_SEED") or random.randrange(1 << 30))
    print(f"VALIJA_TEST_SEED={seed}")
    rand = random.Random(seed)
    user = suite.new_user("damaged")
    box = suite.maildir(user)
    for n in range(100):
        path = box / "new" / f"{1000000 + n}.M{n}.elsewhere"
        path.write_bytes(damage(rand, DAMAGED[n] if n < len(DAMAGED) else rand.choice(DAMAGED)))
        os.chown(path, box.stat().st_uid, box.stat().st_gid)
    for mode in ("CONDSTORE", "UTF8=ACCEPT", "IMAP4rev2", "UIDONLY QRESYNC"):
        c = test_imap_notify.client(suite, user)
        commands = ["ENABLE " + mode, "SELECT INBOX", *(f"UID FETCH 1:* ({items})" for items in ITEMS),
                    *(f"UID FETCH {rand.randrange(1, 101)} ({kind}[{part}])" for part in ("", "1", "1.1", "2") for kind in ("BINARY.SIZE", "BINARY.PEEK") for _ in range(3)),
                    "UID SEARCH TEXT x", 'UID SEARCH HEADER Subject ""', "UID SORT (REVERSE SUBJECT FROM) UTF-8 ALL", "UID SORT (DISPLAYFROM DISPLAYTO CC SIZE DATE) UTF-8 ALL",
                    "UID THREAD REFERENCES UTF-8 ALL", "UID THREAD ORDEREDSUBJECT UTF-8 ALL", "UID SEARCH RETURN (ALL COUNT MIN MAX) SENTBEFORE 1-Jan-1970"]
        for command in commands:
            # A tag that no line of the mail begins with.
            answer = test_imap_notify.said(c, "tag-of-ours " + command)[-1].removeprefix(b"tag-of-ours ")
            assert answer.startswith(b"OK" if "BINARY" not in command else (b"OK", b"NO [UNKNOWN-CTE]")), (command, answer)
        assert imap_grammar.check(c.heard) > 200
