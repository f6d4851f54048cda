"""Full file systems: nothing is taken that cannot be kept, nothing is lost, and it goes on by itself. Small ext4
images are mounted for it."""

import contextlib
import json
import os
import pathlib
import re
import secrets
import shutil
import smtplib
import subprocess

import pytest

import mails
import valija
from disk import mounted

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root to mount a small file system")


def fill(suite, to, most=60, size=1_000_000):
    """Sends until it is refused; returns what was acknowledged, and the refusal."""
    acknowledged = []
    for _ in range(most):
        word = secrets.token_hex(6)
        body = mails.plain(suite.user, to, word, size=size)
        try:
            with suite.smtp(suite.user) as smtp:
                smtp.sendmail(suite.user, [to], body)
            acknowledged.append(body)
        except smtplib.SMTPResponseException as e:
            return acknowledged, (e.smtp_code, e.smtp_error.decode())
    raise AssertionError("it never became full")


def test_full_mail_file_system():
    with valija.Instance(start=False) as suite, mounted(suite.dir / "mail"):
        suite.start()
        suite.user = suite.user_add("ana")
        acknowledged, (code, text) = fill(suite, suite.user)
        assert code == 452 and text.startswith("4.3.1"), (code, text)
        contents = [p.read_bytes() for p in suite.delivered(suite.user)]
        assert len(contents) == len(acknowledged)
        assert all(any(c.endswith(body) for c in contents) for body in acknowledged)
        assert not list((suite.maildir(suite.user) / "tmp").iterdir())
        # Room again: mail again, with nobody's help.
        for path in suite.delivered(suite.user)[:6]:
            path.unlink()
        with suite.smtp(suite.user) as smtp:
            smtp.sendmail(suite.user, [suite.user], mails.plain(suite.user, suite.user, "room", size=1_000_000))
        assert not [p for p in suite.status() if p["restarts"]]
        suite.stop()


def test_full_spool():
    with valija.Instance(start=False) as suite, mounted(suite.dir / "spool"):
        suite.valija("init", "--hostname", "localhost", "--domain", valija.DOMAIN)   # makes what the mount hides
        suite.start()
        suite.user = suite.user_add("ana")
        (suite.conf.parent / "transport").write_text("far.example smtp:[127.0.0.1]:1\n")
        suite.valija("map", "transport")
        acknowledged, (code, text) = fill(suite, "x@far.example")
        assert code == 452 and text.startswith("4.3.1"), (code, text)
        listed = json.loads(suite.valija("queue", "list", "--json").stdout)
        assert len(listed) == len(acknowledged)
        # Mail for users here needs no spool.
        with suite.smtp(suite.user) as smtp:
            smtp.sendmail(suite.user, [suite.user], mails.plain(suite.user, suite.user, "local"))
        # A record cannot be written, perhaps; nothing that was taken is lost over a restart.
        suite.stop()
        suite.start()
        valija.wait_until(lambda: len(json.loads(suite.valija("queue", "list", "--json").stdout)) == len(acknowledged),
                          10, "all that was queued")
        suite.valija("queue", "hold", "--all", check=False)
        for message in listed[:8]:
            valija.wait_until(lambda: suite.valija("queue", "delete", message["message"], check=False).returncode == 0,
                              20, "room in the spool")
        with suite.smtp(suite.user) as smtp:
            smtp.sendmail(suite.user, ["x@far.example"], mails.plain(suite.user, "x", "room", size=1_000_000))
        suite.stop()


def test_mailboxes_on_other_file_systems():
    """One message for mailboxes on two file systems: linked where it can be, copied where not, for all or none."""
    with valija.Instance(start=False) as suite:
        suite.start()
        ana, ben = suite.user_add("ana"), suite.user_add("ben")
        with mounted(suite.maildir(ben).parent, 8):
            for n in range(3):
                suite.receive("a@far.example", [ana, ben], mails.plain("a@far.example", "both", f"w{n}"))
            assert len(suite.delivered(ana)) == len(suite.delivered(ben)) == 3
            assert os.stat(suite.delivered(ana)[0]).st_dev != os.stat(suite.delivered(ben)[0]).st_dev
            assert (sorted(p.read_bytes() for p in suite.delivered(ana)) ==
                    sorted(p.read_bytes() for p in suite.delivered(ben)))   # names do not sort by time
            assert not list((suite.maildir(ben) / "tmp").iterdir())
            suite.stop()


@contextlib.contextmanager
def power_cut(suite, features, part="mail"):
    """What the disk of this directory has at this moment, mounted elsewhere."""
    cut, at = suite.tmp / "cut.image", suite.tmp / "cut"
    at.mkdir(exist_ok=True)
    subprocess.run(["cp", "--sparse=always", pathlib.Path(f"{suite.dir / part}.image"), cut], check=True)
    if features == "^has_journal":       # which takes away what seems to be none of its own
        subprocess.run(["e2fsck", "-fy", str(cut)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    # Two file systems of one name are refused by xfs, unless it is told to.
    subprocess.run(["mount", "-o", "loop,nouuid" if features == "xfs" else "loop", str(cut), str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


@pytest.mark.parametrize("features, copies", [("has_journal", 1), ("has_journal,fast_commit", 1), ("has_journal,fast_commit", 3),
                                              ("^has_journal", 1), ("^has_journal", 3), ("xfs", 1), ("xfs", 3)])
def test_a_power_cut_after_the_250(features, copies):
    """What the disk has when the 250 comes is enough: the image of that moment has every message whole, under each of its
    names. With fast commits the fsync of the file alone would not do."""
    with valija.Instance(start=False, settings={"mail_journal": '"auto"', "mail_ledger": "no"}) as suite, mounted(suite.dir / "mail", features=features):
        suite.start()
        users = [suite.user_add(f"u{n}") for n in range(copies)]
        for word in ("first", "second", "third"):
            message = mails.plain("a@client.example", users[0], word)
            with suite.smtp(service="smtp") as smtp:
                smtp.sendmail("a@client.example", users, message)
            with power_cut(suite, features) as at:
                for user in users:
                    there = suite.delivered(user)
                    assert there and any(word.encode() in path.read_bytes() for path in there)
                    for path in there:
                        kept = at / path.relative_to(suite.dir / "mail")
                        assert kept.read_bytes() == path.read_bytes()
        suite.stop()


@pytest.mark.parametrize("features", ["has_journal", "has_journal,fast_commit", "^has_journal", "xfs"])
def test_a_power_cut_after_a_message_was_spooled(features):
    """Of one that waits for another server, message and envelope are on the disk when it is acknowledged."""
    with valija.Instance(start=False, settings={"relayhost": '"[127.0.0.1]:1"'}) as suite, mounted(suite.dir / "spool", features=features):
        suite.valija("init", "--hostname", "localhost", "--domain", valija.DOMAIN)   # makes what the mount hides
        suite.start()
        ana = suite.user_add("ana")
        for word in ("first", "second"):
            with suite.smtp(ana) as smtp:
                smtp.sendmail(ana, ["far@away.example"], mails.plain(ana, "far@away.example", word))
            with power_cut(suite, features, "spool") as at:
                waiting = [p for p in (suite.dir / "spool/queue").iterdir() if p.suffix == ".msg"]
                assert any(word.encode() in p.read_bytes() for p in waiting)
                for path in waiting:
                    kept = at / path.relative_to(suite.dir / "spool")
                    assert kept.read_bytes() == path.read_bytes()
                    assert kept.with_suffix(".env").stat().st_size > 0
        suite.stop()


@pytest.mark.parametrize("features, option, named_first", [("has_journal", "auto", True), ("xfs", "auto", True),
                                                           ("^has_journal", "auto", False),
                                                           ("has_journal", "no", False)])
def test_what_is_synced_first(features, option, named_first, tmp_path):
    """Where a journal keeps the order, a body gets its name when its data is written, and one sync is for both; everywhere
    else it is synced first, and once more when it has its name, and new/ before the 250."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    with valija.Instance(start=False, settings={"local_processes": 1, "mail_ledger": "no", "mail_journal": f'"{option}"'}) as suite, \
            mounted(suite.dir / "mail", features=features):
        suite.start()
        ana = suite.user_add("ana")
        (local,) = suite.processes("local")
        with subprocess.Popen(["strace", "-q", "-y", "-o", trace, "-e", "trace=linkat,fsync,fdatasync,sync_file_range,sendmsg", "-p",
                               str(local["pid"])]) as strace:
            valija.wait_until(lambda: int(valija.proc_status(local["pid"])["TracerPid"]), what="strace")
            with suite.smtp(service="smtp") as smtp:
                smtp.sendmail("a@client.example", [ana], mails.plain("a@client.example", ana))
            strace.terminate()
        calls = [line.split("(")[0] for line in trace.read_text().splitlines()]
        calls = calls[calls.index("sync_file_range"):]
        calls = calls[:calls.index("sendmsg") + 1]
        assert calls == ["sync_file_range", *(["sync_file_range", "linkat", "fsync"] if named_first else
                                              ["fdatasync", "linkat", "fsync", "fsync"]), "sendmsg"]
        # Of the file, whose journal commit has the name too; or of both.
        synced = [re.search(r"fsync\(\d+<([^>]*)>", line)[1] for line in trace.read_text().splitlines() if line.startswith("fsync")]
        assert "/tmp/#" in synced[0] or "/new/" in synced[0]
        assert synced[1:] == [] if named_first else synced[1].endswith("/new")


def append(imap, mailbox, messages):
    """One APPEND of them all (RFC 3502); what is answered."""
    tag = imap._new_tag()
    imap.send(tag + b" APPEND " + mailbox + b"".join(b" {%d+}\r\n%s" % (len(m), m) for m in messages) + b"\r\n")
    line = imap.readline()
    while not line.startswith(tag):
        line = imap.readline()
    return line[len(tag) + 1:].decode()


def contents(maildir):
    return sorted(path.read_bytes() for path in maildir.glob("cur/*"))


@pytest.mark.parametrize("features", ["has_journal", "has_journal,fast_commit", "^has_journal", "xfs"])
def test_a_power_cut_after_append(features):
    """The image of the moment in which APPEND is answered has every message whole, under its name, and the index knows it.
    The first fast commit of a file system is one on which nothing may be built."""
    with valija.Instance(start=False) as suite, mounted(suite.dir / "mail", features=features):
        suite.start()
        user = suite.user_add("ana")
        sent, sizes = [], iter([10, 70_000, 5000, 300_000] * 20)
        with suite.imap(user=user) as imap:
            for count in (1, 12, 2, 1):
                came = [mails.plain(user, user, f"m{len(sent) + n}", size=next(sizes)) for n in range(count)]
                sent += came
                assert append(imap, b"Sent", came).startswith("OK [APPENDUID")
                with power_cut(suite, features) as at:
                    there = suite.maildir(user) / ".Sent"
                    kept = at / there.relative_to(suite.dir / "mail")
                    assert contents(kept) == contents(there) == sorted(sent)
                    names = [path.name.partition(":")[0].encode() for path in kept.glob("cur/*")]
                    journals = [path.read_bytes() for path in kept.parent.glob("valija/*/journal")]
                    assert any(all(name in journal for name in names) for journal in journals)
        assert not list((suite.maildir(user) / "tmp").iterdir())
        suite.stop()


@pytest.mark.parametrize("features, option, bodies, names", [
    ("has_journal", "auto", ["sync_file_range"], "linkat"), ("xfs", "auto", ["sync_file_range"], "linkat"),
    ("^has_journal", "auto", ["linkat", "fsync"], "renameat2"), ("has_journal", "no", ["fsync"], "linkat")])
def test_what_append_syncs(features, option, bodies, names, tmp_path):
    """Where a journal keeps the order, the directory and the index, however many messages there are; everywhere else each
    message before it gets its name, on ext4 without a journal by another one."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    with valija.Instance(start=False, settings={"mail_journal": f'"{option}"'}) as suite, \
            mounted(suite.dir / "mail", features=features):
        suite.start()
        user = suite.user_add("ana")
        with suite.imap(user=user) as imap:
            append(imap, b"Sent", [b"Subject: opened\r\n\r\n"])
            (process,) = suite.processes("imap")
            with subprocess.Popen(["strace", "-q", "-y", "-o", trace, "-e", "trace=linkat,renameat2,fsync,fdatasync,sync_file_range,syncfs", "-p",
                                   str(process["pid"])]) as strace:
                valija.wait_until(lambda: int(valija.proc_status(process["pid"])["TracerPid"]), what="strace")
                assert append(imap, b"Sent", [b"Subject: %d\r\n\r\n" % n for n in range(5)]).startswith("OK ")
                strace.terminate()
        lines = trace.read_text().splitlines()
        calls = [line.split("(")[0] for line in lines]
        expected = ["sync_file_range"] * 5 + bodies * 5 + [names] * 5 + ["fsync", "fdatasync"]       # begun as they come
        assert calls[:len(expected)] == expected
        assert "/.Sent/cur>" in lines[len(expected) - 2] and "/journal>" in lines[len(expected) - 1]
        suite.stop()


def test_append_on_a_full_file_system():
    """Of a command that does not fit nothing is there; what was acknowledged is whole; with room it goes on."""
    with valija.Instance(start=False) as suite, mounted(suite.dir / "mail"):
        suite.start()
        user = suite.user_add("ana")
        there, sent = suite.maildir(user) / ".Sent", []
        with suite.imap(user=user) as imap:
            answer = "OK"
            while answer.startswith("OK") and len(sent) < 60:
                came = [mails.plain(user, user, f"m{len(sent) + n}", size=700_000) for n in range(3)]
                answer = append(imap, b"Sent", came)
                sent += came if answer.startswith("OK") else []
            assert answer.startswith("NO ") and 3 <= len(sent) < 60, answer
            assert contents(there) == sorted(sent)
            assert not list((suite.maildir(user) / "tmp").iterdir())
            imap.select("Sent")
            imap.store("1:6", "+FLAGS", "\\Deleted")
            imap.expunge()
            sent = sent[6:] + came
            assert append(imap, b"Sent", came).startswith("OK ")
            assert contents(there) == sorted(sent)
        suite.stop()
