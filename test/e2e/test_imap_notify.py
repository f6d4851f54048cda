"""NOTIFY (RFC 5465) at its limits; what it says is in test/imap/notify.txt."""

import contextlib
import re
import socket
import subprocess
import sys
import time

import pytest

import test_imap

WATCHED = 120  # MOST_WATCHED in imapd/notify.h


def client(suite, user):
    c = test_imap.Client(suite, "imaps")
    c.login(test_imap.names_of(suite, user))
    return c


def said(c, line):
    """The answer to a command, all its lines."""
    c.say(line.encode() + b"\r\n")
    tag = line.split()[0].encode() + b" "
    while not c.line().startswith(tag):
        pass
    return c.lines


def test_too_many_mailboxes_are_refused(suite):
    user = suite.new_user("notify")
    one = client(suite, user)
    one.say(b"".join(b"c%d CREATE x/%d\r\n" % (i, i) for i in range(WATCHED)))
    while not one.line().startswith(b"c%d " % (WATCHED - 1)):
        pass
    assert said(one, "a NOTIFY SET (personal (MessageNew MessageExpunge))")[-1].startswith(
        b"a NO [NOTIFICATIONOVERFLOW]")
    # Names need no mailbox to be open, and a subtree of few is fine.
    assert said(one, "b NOTIFY SET (personal (MailboxName SubscriptionChange))")[-1].startswith(b"b OK")
    assert said(one, "c NOTIFY SET (subtree (x/1 x/2) (MessageNew MessageExpunge))")[-1].startswith(b"c OK")
    assert said(one, "d NOOP")[-1].startswith(b"d OK")


def test_a_client_that_does_not_hear_loses_its_notifications(suite):
    user = suite.new_user("notify")
    one, two = client(suite, user), client(suite, user)
    long = b"x" * 190
    assert said(two, f"a CREATE {long.decode()}")[-1].startswith(b"a OK")
    assert said(one, "a NOTIFY SET (personal (SubscriptionChange))")[-1].startswith(b"a OK")
    one.say(b"b APPEND INBOX {3}\r\n")
    assert one.line().startswith(b"+ ")
    # It is within a command now: what happens has to wait, and there is too much of it.
    for n in range(400):
        two.say(b"%d %s %s\r\n" % (n, (b"SUBSCRIBE", b"UNSUBSCRIBE")[n % 2], long))
    while not two.line().startswith(b"399 "):
        pass
    one.say(b"abc\r\n")
    one.line()
    while not one.lines[-1].startswith(b"* OK [NOTIFICATIONOVERFLOW]"):
        assert one.line() is not None
    assert not any(line.startswith(b"* LIST") for line in one.lines)
    said(two, "z SUBSCRIBE INBOX")
    assert said(one, "c NOOP") == [b"c OK NOOP completed."]


def test_it_ends_with_the_session_and_holds_nothing(suite):
    """A session that ends with mailboxes watched leaves others theirs."""
    user = suite.new_user("notify")
    one, two = client(suite, user), client(suite, user)
    for c in (one, two):
        assert said(c, "a NOTIFY SET (mailboxes Sent (MessageNew MessageExpunge))")[-1].startswith(b"a OK")
    one.close()
    three = client(suite, user)
    assert said(three, "a APPEND Sent {3+}\r\nabc")[-1].startswith(b"a OK")
    assert re.match(rb"\* STATUS Sent \(UIDVALIDITY \d+ UIDNEXT 2 MESSAGES 1\)", two.line())
    assert said(three, "b DELETE Sent")[-1].startswith(b"b OK")
    assert said(two, "b NOOP")[-1].startswith(b"b OK")
    assert said(three, "c CREATE Sent")[-1].startswith(b"c OK")
    assert said(three, "d APPEND Sent {3+}\r\nabc")[-1].startswith(b"d OK")
    assert re.match(rb"\* STATUS Sent \(UIDVALIDITY \d+ UIDNEXT 2 MESSAGES 1\)", two.line())


@pytest.mark.long
def test_news_reach_a_client_that_reads_slowly(suite):
    """A thousand messages, each with its items, to a client with a small window: nothing is lost, nothing held in
    memory."""
    user = suite.new_user("notify")
    one, two = client(suite, user), client(suite, user)
    one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    assert said(one, "a SELECT INBOX")[-1].startswith(b"a OK")
    assert said(one, "b NOTIFY SET (selected (MessageNew (UID BODY.PEEK[]) MessageExpunge))")[-1].startswith(b"b OK")
    many = 1000
    for _ in range(0, many, 500):
        text = b"Subject: x\r\n\r\n" + b"y" * 2000 + b"\r\n"
        two.say(b"c APPEND INBOX" + b"".join(b" {%d+}\r\n%s" % (len(text), text) for _ in range(500)) + b"\r\n")
        while not two.line().startswith(b"c OK"):
            pass
    uids = set()
    while len(uids) < many:
        match = re.match(rb"\* \d+ FETCH \(UID (\d+) ", one.line())
        if match:
            uids.add(int(match[1]))
        one.lines = []
    assert uids == set(range(1, many + 1))


TAKE_ALL = """
import ctypes, os, sys
uid = int(sys.argv[1])
os.getuid() == uid or os.setuid(uid)
libc = ctypes.CDLL(None)
while libc.inotify_init1(os.O_CLOEXEC) >= 0:
    pass
print("taken", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def no_inotify(uid):
    """Every instance of inotify that the kernel gives this user (128, as a rule) is in use, as where many are logged in
    whose mail belongs to one user of the system."""
    with subprocess.Popen([sys.executable, "-c", TAKE_ALL, str(uid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"taken\n"
        yield
        process.stdin.close()
        process.wait(10)


def test_idle_without_inotify(suite):
    """The kernel tells nothing of the folder: IDLE looks by itself, also when the process has had nothing to do for a while."""
    user = suite.new_user("unwatched")
    with no_inotify(suite.maildir(user).stat().st_uid):
        c = client(suite, user)
        said(c, "a SELECT INBOX")
        assert "no-inotify" in suite.log()
        time.sleep(1)
        c.say(b"b IDLE\r\n")
        assert c.line() == b"+ idling"
        suite.receive("a@elsewhere.example", [user], b"Subject: new\r\n\r\nx\r\n")
        assert c.line() == b"* 1 EXISTS"
        c.say(b"DONE\r\n")
