"""Quota: a full mailbox is told in the session, for now; emptied, it takes mail again; nothing bounces."""

import json
import os
import secrets
import smtplib
import time

import pytest

import mails
import valija


def code_of(suite, to, size=2000):
    try:
        suite.receive("a@far.example", [to], mails.plain("a@far.example", to, secrets.token_hex(size // 2)))
        return 250, ""
    except smtplib.SMTPRecipientsRefused as e:
        (code, text), = e.recipients.values()
    except smtplib.SMTPDataError as e:
        code, text = e.smtp_code, e.smtp_error
    return code, text.decode()


def test_r2_a_full_mailbox(suite):
    user = suite.new_user("quota")
    suite.valija("user", "quota", user, "6000")
    answers = [code_of(suite, user) for _ in range(6)]
    codes = [code for code, _ in answers]
    # One may pass the limit; then none, at DATA and from then on at RCPT.
    assert codes[:2] == [250, 250] and codes[-1] == 452 and codes == sorted(codes), answers
    assert answers[-1][1].startswith("4.2.2")
    file = suite.maildir(user) / "maildirsize"
    assert file.read_text().startswith("6000S\n")
    assert not [m for m in json.loads(suite.valija("queue", "list", "--json").stdout)
                if m["sender"] and any(r["address"] == user for r in m["recipients"])]   # its warning may wait
    # Its owner makes room, and the file is not fresh any more.
    for path in suite.delivered(user):
        path.unlink()
    os.utime(file, (time.time() - 60, time.time() - 60))
    other = suite.new_user("quota")
    both = "both-" + secrets.token_hex(4)
    suite.valija("alias", "add", both, user, other)
    # To several, mail is queued then: the Maildir itself is asked, whatever was remembered.
    suite.receive("a@far.example", [f"{both}@example.org"], mails.plain("a@far.example", both, "room"))
    limit = time.monotonic() + 15
    while not suite.delivered(user) and time.monotonic() < limit:
        time.sleep(0.05)
    assert len(suite.delivered(user)) == 1 and len(suite.delivered(other)) == 1


def test_larger_than_the_mailbox(suite):
    user = suite.new_user("quota")
    suite.valija("user", "quota", user, "1000")
    code, text = code_of(suite, user)
    assert code == 552 and text.startswith("5.2.2") and not suite.delivered(user)


def test_warnings(suite):
    """At 80 and 95 percent, each once, in the mailbox itself; emptied and filled again, once more."""
    user = suite.new_user("quota")
    assert code_of(suite, user, size=6000)[0] == 250
    quota = suite.delivered(user)[0].stat().st_size * 20      # 5 percent each
    suite.valija("user", "quota", user, str(quota))

    def warnings(percent):
        return [p for p in suite.delivered(user) if b"Subject: Your mailbox is %d %% full" % percent in p.read_bytes()]

    def fill(n):
        for _ in range(n):
            assert code_of(suite, user, size=6000)[0] == 250

    fill(14)
    assert not warnings(80)
    fill(2)
    valija.wait_until(lambda: warnings(80), 10, "the first warning")
    fill(2)
    valija.wait_until(lambda: warnings(95), 10, "the second warning")
    assert len(warnings(80)) == 1 and len(warnings(95)) == 1
    text = warnings(95)[0].read_bytes()
    assert b"%d bytes" % quota in text and b"Auto-Submitted: auto-generated" in text and b"Return-Path: <>" in text
    for path in suite.delivered(user):
        path.unlink()
    (suite.maildir(user) / "maildirsize").unlink()             # it is counted anew
    fill(17)
    valija.wait_until(lambda: warnings(80), 10, "the warning after it was emptied")
