"""Searches that are kept up to date (RFC 5267) in a larger mailbox; the rest is in test/imap/context.txt."""

import re

import test_imap_model
import test_imap_notify
from test_imap_notify import said

MANY = 1700  # some slices of LOOKED_AT_A_TIME in imapd/context.h


def told(lines, tag, what):
    """UIDs of all ADDTO or REMOVEFROM of a search, in order."""
    found = []
    for line in lines:
        match = re.fullmatch(r'\* ESEARCH \(TAG "%s"\) UID %s \((.*)\)' % (tag, what), line.decode())
        for uids in match[1].split()[1::2] if match else []:
            found += test_imap_model.numbers(uids)
    return found


def test_changes_of_many_messages_come_in_slices(suite):
    user = suite.new_user("context")
    c = test_imap_notify.client(suite, user)
    c.say(b"a APPEND INBOX" + b"".join(b" {15+}\r\nSubject: %04d\r\n" % (i * 7 % MANY) for i in range(MANY)) + b"\r\n")
    assert c.line().startswith(b"a OK")
    assert said(c, "b SELECT INBOX")[-1].startswith(b"b OK")
    assert b"COUNT 0" in said(c, "c UID SEARCH RETURN (UPDATE COUNT) FLAGGED SUBJECT 0")[0]
    assert b"COUNT 0" in said(c, "d UID SORT RETURN (UPDATE COUNT) (SUBJECT) UTF-8 FLAGGED")[0]
    with_zero = {i + 1 for i in range(MANY) if "0" in f"{i * 7 % MANY:04d}"}
    lines = said(c, "e STORE 1:* +FLAGS.SILENT (\\Flagged)")
    assert set(told(lines, "c", "ADDTO")) == with_zero
    assert sorted(told(lines, "d", "ADDTO")) == list(range(1, MANY + 1))
    assert any(b'(TAG "c")' in line for line in lines[2:]), "all in one piece"
    c.lines = []
    lines = said(c, "f STORE 2:* -FLAGS.SILENT (\\Flagged)")
    assert set(told(lines, "c", "REMOVEFROM")) == with_zero - {1}
    assert sorted(told(lines, "d", "REMOVEFROM")) == list(range(2, MANY + 1))
    assert said(c, "g NOOP") == [b"g OK NOOP completed."]
