"""Mistakes that administrators make: each message says what is wrong, where, and what to do."""

import os
import shutil
import socket

import pytest

import valija


@pytest.fixture
def own():
    with valija.Instance(start=False) as instance:
        yield instance


def refused(instance, *sentences, words=("check", "start"), code=78):
    for word in words:
        done = instance.valija(word, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        for sentence in sentences:
            assert sentence in done.stderr, f"{word}: {sentence!r} is not in {done.stderr!r}"


def test_wrong_options(own):
    """All of them at once, with file and line."""
    conf = own.dir / "etc/valija.conf"
    good = conf.read_text()
    lines = len(good.splitlines())
    conf.write_text(good + 'colour = "red"\nqueue_days = 999\nlisten = {"127.0.0.1"}\ndns_servers = "10.1.1"\n')
    refused(own, f'{conf}:{lines + 1}: there is no option "colour"', f"{conf}:{lines + 2}: queue_days = 999 is out of range: from 1 to 60",
            f"{conf}:{lines + 3}: listen is set twice: first in line", f'{conf}:{lines + 4}: "10.1.1" in dns_servers')


def test_missing_configuration(own):
    conf = own.dir / "etc/valija.conf"
    conf.rename(own.dir / "etc/elsewhere")
    refused(own, f"{conf}: is not there; `valija init` makes one")


def test_missing_certificate(own):
    certificate = own.dir / "state/tls/server.crt"
    certificate.unlink()
    refused(own, f"{certificate} is not there; `valija init` makes one")


def test_port_in_use(own):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", own.ports.base + 25))
        other.listen()
        refused(own, f"smtp cannot listen on 127.0.0.1:{own.ports.base + 25}: Address already in use", "ss -ltnp shows which",
                words=("start",), code=69)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to give files to others")
def test_wrong_owner(own):
    """Of a directory of the suite: it does not start, and says the command. Of one mailbox: the rest is served; its
    user is told that he must wait, and nothing runs in circles."""
    spool = own.dir / "spool"
    right = spool.stat().st_uid
    os.chown(spool, 65534, -1)
    refused(own, f"{spool}: belongs to uid 65534, not to _queue (uid {right}): chown {right} {spool}")
    os.chown(spool, right, -1)
    user, other = own.new_user("restored"), own.new_user("other")
    home = own.maildir(user).parent
    uid = home.stat().st_uid
    for path in [home, *home.rglob("*")]:
        os.chown(path, 0, -1)
    own.start()
    with own.imap() as imap, pytest.raises(imap.error, match="UNAVAILABLE"):
        imap.login(user, own.passwords[user])
    assert own.log().count("process-died program=imap") == 2
    with own.imap(other) as imap:
        assert imap.select("INBOX")[0] == "OK"
    said = own.valija("check").stdout
    assert f"the mailbox of {user} cannot be used: {home} belongs to uid 0, not to {uid}: chown -R {uid} {home}" in said
    shutil.chown(home, uid)
    for path in home.rglob("*"):
        os.chown(path, uid, -1)
    with own.imap(user) as imap:
        assert imap.select("INBOX")[0] == "OK"
