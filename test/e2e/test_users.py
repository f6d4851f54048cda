"""Users come, change and go while the suite runs; and a guessed password leaves a line that fail2ban
finds."""

import base64
import configparser
import imaplib
import json
import os
import re
import smtplib

import pytest

import valija


@pytest.fixture(scope="module", params=[None, valija.UNPRIVILEGED] if os.getuid() == 0 else [None])
def quick(request):
    """Failures cost no time here: they are what is tested, not their price."""
    instance = valija.Instance(as_user=request.param, settings={"auth_delay_seconds": 0})
    yield instance
    assert not instance.close()


def can_log_in(instance, user):
    try:
        instance.smtp(user).close()
        by_smtp = True
    except smtplib.SMTPAuthenticationError as error:
        assert error.smtp_code == 535
        by_smtp = False
    try:
        instance.imap(user).logout()
        by_imap = True
    except imaplib.IMAP4.error as error:
        assert "AUTHENTICATIONFAILED" in str(error)
        by_imap = False
    assert by_smtp == by_imap
    return by_smtp


def test_a_password_changes_at_once(quick):
    """Also where the old one was remembered a moment ago."""
    user = quick.new_user("change")
    old = quick.passwords[user]
    assert can_log_in(quick, user)
    quick.valija("user", "passwd", user, "--stdin", stdin="another one\n")
    assert not can_log_in(quick, user)
    quick.passwords[user] = "another one"
    assert can_log_in(quick, user)
    assert old != "another one"


def test_who_is_removed_is_unknown_at_once(quick):
    """Logins fail, mail is refused in the dialogue, the mail stays; others are untouched."""
    user, other = quick.new_user("goes"), quick.new_user("stays")
    quick.receive("a@example.net", [user], "Subject: kept\r\n\r\n")
    assert can_log_in(quick, user)
    done = quick.valija("user", "del", user)
    assert "the mail stays in" in done.stdout
    assert not can_log_in(quick, user)
    assert can_log_in(quick, other)
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        quick.receive("a@example.net", [user], "Subject: lost\r\n\r\n")
    assert refused.value.recipients[user][0] == 550 and b"5.1.1" in refused.value.recipients[user][1]
    assert len(quick.delivered(user)) == 1
    assert quick.valija("user", "del", user, check=False).returncode == 67
    assert quick.valija("user", "passwd", user, "--stdin", stdin="x\n", check=False).returncode == 67


def test_list_and_show(quick):
    user = quick.new_user("shown")
    assert user in quick.valija("user", "list").stdout.splitlines()
    listed = json.loads(quick.valija("user", "list", "--json").stdout)
    (row,) = [u for u in listed if u["address"] == user]
    assert row == json.loads(quick.valija("user", "show", user, "--json").stdout)
    assert row["home"] == "/".join(reversed(user.split("@"))) and not row["disabled"]
    quick.valija("user", "del", user)
    assert user not in quick.valija("user", "list").stdout.splitlines()


def fail2ban_pattern():
    """failregex of contrib/fail2ban/valija.conf as fail2ban reads it: <HOST> is an address, in brackets or not."""
    conf = configparser.ConfigParser()
    conf.read(valija.TOP / "contrib/fail2ban/valija.conf")
    host = r"\[?(?P<host>[0-9A-Fa-f:.]+)\]?"
    return re.compile(conf["Definition"]["failregex"].replace("<HOST>", host))


@pytest.mark.parametrize("name", ["nobody@example.org", "x ip=192.0.2.9 service=imap ", "a\\\" auth[1]: auth-failed"])
def test_fail2ban_finds_each_failure_and_only_the_real_address(quick, name):
    """fail2ban takes the date from the front of a line, then looks for failregex in the rest."""
    pattern, before = fail2ban_pattern(), len(quick.log())
    with quick.smtp() as smtp:
        smtp.ehlo()
        code, _ = smtp.docmd("AUTH PLAIN", base64.b64encode(f"\0{name}\0guessed".encode()).decode())
    assert code == 535
    valija.wait_until(lambda: re.search(r"(?m)^\S+ auth\[\d+\]: auth-failed .*$", quick.log()[before:]), what="the line")
    lines = [re.sub(r"^\S+Z", "", line) for line in quick.log()[before:].splitlines()]
    hits = [m["host"] for m in map(pattern.search, lines) if m]
    assert hits == ["127.0.0.1"]
