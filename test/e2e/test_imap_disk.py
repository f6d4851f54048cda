"""What IMAP promises of the disk: durable before it is acknowledged, with one sync for a command; and a full one."""

import os
import re
import shutil
import subprocess
import time

import pytest

import mails
import valija
from disk import Ballast, mounted


def say(imap, command):
    """The answer's word and code, of a command that may be refused; fails where the connection ends."""
    tag = imap._new_tag()
    imap.send(tag + b" " + command + b"\r\n")
    while line := imap.readline():
        if line.startswith(tag):
            return line[len(tag) + 1:].decode()
    raise AssertionError(f"hung up at {command[:60]!r}")


def append(size, word):
    text = b"Subject: " + word + b"\r\n\r\n" + b"x" * size + b"\r\n"
    return b"APPEND INBOX {%d+}\r\n%s" % (len(text), text)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("command", [b"STORE 1:200 +FLAGS (\\Flagged Word)", b"COPY 1:200 Archive", b"MOVE 1:200 Archive",
                                     b"STORE 1:200 +FLAGS.SILENT (\\Deleted)", append(10, b"one")])
def test_one_sync_before_the_answer(suite, tmp_path, command):
    """However many messages a command changes: the journal is synced once, and each directory, and only then OK is said."""
    user, trace = suite.new_user("sync"), tmp_path / "trace"
    with suite.imap(user=user) as imap:
        imap.select("INBOX")
        text = b"Subject: x\r\n\r\nx\r\n"
        imap.send(b"m APPEND INBOX" + b" {%d+}\r\n%s" % (len(text), text) * 200 + b"\r\n")
        while not imap.readline().startswith(b"m OK"):
            pass
        imap.status("Archive", "(MESSAGES)")         # its index is there from now on
        time.sleep(0.5)              # names have followed
        (pid,) = (p["pid"] for p in suite.processes("imap") if p.get("user") == user)
        with subprocess.Popen(["strace", "-q", "-y", "-s", "100000", "-o", trace, "-e", "trace=fsync,fdatasync,sendto", "-p", str(pid)]) as strace:
            valija.wait_until(lambda: int(valija.proc_status(pid)["TracerPid"]), what="strace")
            assert say(imap, command).startswith("OK ")
            strace.terminate()
    calls = trace.read_text().splitlines()
    answer = next(i for i, line in enumerate(calls) if line.startswith("sendto") and re.search(r" OK .*(COPY|MOVE|STORE|APPEND) completed", line))
    synced = [re.search(r"<([^>]*)>", line)[1] for line in calls[:answer] if "sync(" in line]
    journals = [path for path in synced if path.endswith("/journal")]
    assert 1 <= len(journals) == len(set(journals)), synced
    assert len(synced) <= len(set(synced)) + 1 and len(synced) <= 6, synced


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("command", [b"COPY 1:2 Archive", b"MOVE 1:2 Archive"])
def test_what_came_just_now_is_written_before_it_is_copied(suite, tmp_path, command):
    """A ledger knows a message by the name that it was delivered under; the copy has another, and must be whole too."""
    user, trace = suite.new_user("fresh"), tmp_path / "trace"
    for word in "old", "new":
        suite.receive("a@far.example", [user], mails.plain("a@far.example", user, word))
    (old,) = (path for path in suite.delivered(user) if b"old" in path.read_bytes())
    old.rename(old.with_name("1000000000." + old.name.partition(".")[2]))
    with suite.imap(user=user) as imap:
        imap.select("INBOX")
        imap.status("Archive", "(MESSAGES)")
        (pid,) = (p["pid"] for p in suite.processes("imap") if p.get("user") == user)
        with subprocess.Popen(["strace", "-q", "-y", "-o", trace, "-e", "trace=sync_file_range,linkat", "-p", str(pid)]) as strace:
            valija.wait_until(lambda: int(valija.proc_status(pid)["TracerPid"]), what="strace")
            assert say(imap, command).startswith("OK ")
            strace.terminate()
    calls = [re.match(r"(\w+)\(.*?/cur(?:>, \"|/)(\d+)", line) for line in trace.read_text().splitlines()]
    calls = [(call[1], call[2] == "1000000000") for call in calls if call]
    fresh = calls.index(("sync_file_range", False))
    assert calls[fresh + 1] == ("linkat", False) and sorted(calls) == [
        ("linkat", False), ("linkat", True), ("sync_file_range", False)], trace.read_text()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to mount a small file system")
def test_a_full_file_system():
    """Whatever is refused, no session ends, what was acknowledged stays, and it goes on by itself when there is room."""
    with valija.Instance(start=False) as suite, mounted(suite.dir / "mail"):
        suite.start()
        user = suite.user_add("ana")
        with suite.imap(user=user) as imap, suite.imap(user=user) as other:
            for each in (imap, other):
                each.select("INBOX")
            for n in range(20):
                assert say(imap, append(100, b"%d" % n)).startswith("OK ")
            ballast = Ballast(suite.dir / "mail")
            flagged, kept = set(), 20
            try:
                assert say(imap, append(500_000, b"large")).startswith("NO [")
                for n in range(1, 21):
                    if say(imap, b"STORE %d +FLAGS (\\Flagged)" % n).startswith("OK "):
                        flagged.add(n)
                    kept += say(imap, append(5000, b"more")).startswith("OK ")
                    assert say(other, b"NOOP").startswith("OK ")
                for command in (b"COPY 1:20 Archive", b"CREATE Full", b"SUBSCRIBE INBOX", b"SETMETADATA INBOX (/private/comment \"x\")",
                                b"SETACL INBOX anyone l", b"RENAME Trash Gone", b"STATUS Sent (MESSAGES)", b"FETCH 1:* (ENVELOPE BODYSTRUCTURE)",
                                b"MOVE 1 Archive", b"NOOP"):
                    answer = say(imap, command)
                    assert re.match(r"OK |NO \[", answer), (command, answer)
                    if command.startswith(b"MOVE") and answer.startswith("OK "):
                        flagged, kept = {n - 1 for n in flagged if n > 1}, kept - 1
            finally:
                ballast.close()
            assert say(imap, append(500_000, b"room")).startswith("OK ")
        assert not [p for p in suite.status() if p["restarts"]]
        for process in suite.processes("imap"):
            suite.kill(process)
        with suite.imap(user=user) as imap:
            assert int(imap.select("INBOX")[1][0]) == kept + 1
            assert {int(n) for n in imap.search(None, "FLAGGED")[1][0].split()} >= flagged
        suite.stop()
