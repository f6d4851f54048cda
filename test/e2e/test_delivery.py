"""delivery/: one inode for many, the queue and its listing, damage and trouble on disk, and kill -9 of
each part of it while mail comes in: nothing acknowledged is lost, nothing half written is seen."""

import contextlib
import json
import os
import pathlib
import signal
import smtplib
import ssl
import subprocess
import threading
import time

import pytest

import mails
import valija

REMOTE = "somebody@remote.example"


def queue(suite):
    """What waits; queue may have been killed a moment ago."""
    said = valija.wait_until(lambda: (done := suite.valija("queue", "--json", check=False)).returncode == 0 and done,
                             10, "an answer of queue")
    return json.loads(said.stdout)


def queue_files(suite, directory="queue"):
    return sorted(p.name for p in (suite.dir / "spool" / directory).iterdir())


def unnamed_left(suite):
    """Whatever lies in a tmp/ of a Maildir."""
    return [p for p in (suite.dir / "mail").glob("*/*/Maildir/tmp/*")]


def spooled(suite):
    """Path -> bytes of each message in the spool; what goes meanwhile is left out."""
    found = {}
    for path in (suite.dir / "spool").glob("*/*.msg"):
        with contextlib.suppress(FileNotFoundError):
            found[str(path)] = path.read_bytes()
    return found


def by_subject(suite, user):
    """Subject -> bytes of each message of that subject in INBOX."""
    found = {}
    for path in suite.delivered(user):
        content = path.read_bytes()
        head = content.split(b"\r\n\r\n")[0]
        (subject,) = [l[9:].decode() for l in head.split(b"\r\n") if l.startswith(b"Subject: ")]
        found.setdefault(subject, []).append(content)
    return found


def restart(suite):
    suite.stop()
    suite.start()


# ---- placement ---------------------------------------------------------------------------------------


def test_one_inode_for_many(either):
    users = [either.new_user("many") for _ in range(3)]
    either.receive("a@far.example", users + [users[0]], mails.plain("a@far.example", users[0], "many"))
    paths = [path for user in users for path in either.delivered(user)]
    assert len(paths) == 3
    assert len({p.stat().st_ino for p in paths}) == 1 and paths[0].stat().st_nlink == 3
    content = paths[0].read_bytes()
    assert content.startswith(b"Return-Path: <a@far.example>\r\n")
    for path in paths:
        assert path.parent.name == "new"
        assert f",S={len(content)},W={len(content)}" in path.name
    assert not unnamed_left(either)


def test_mixed_is_queued_and_listed(either):
    user, other = either.new_user("mixed"), either.new_user("mixed")
    before = {m["message"] for m in queue(either)}
    with either.smtp(user) as smtp:
        smtp.sendmail(user, [other, REMOTE], mails.plain(user, other, "mixed"))
    valija.wait_until(lambda: either.delivered(other), 5, "local delivery from the queue")
    (path,) = either.delivered(other)
    assert path.read_bytes().startswith(f"Return-Path: <{user}>\r\n".encode())
    assert path.read_bytes().count(b"Return-Path:") == 1
    (entry,) = [m for m in queue(either) if m["message"] not in before]
    assert entry["sender"] == user
    recipients = {r["address"]: r["reason"] for r in entry["recipients"]}
    assert REMOTE in recipients
    valija.wait_until(lambda: other not in {r["address"] for m in queue(either) if m["message"] == entry["message"]
                                            for r in m["recipients"]}, 5, "the record of the delivery")
    assert REMOTE in either.valija("queue").stdout
    assert {entry["message"] + ".msg", entry["message"] + ".env"} <= set(queue_files(either))


def test_postmaster_and_abuse_reach_the_first_user(own_suite):
    first, second = own_suite.user_add("first"), own_suite.user_add("second")
    for n, address in enumerate(["postmaster", "postmaster@example.org", "Abuse@example.org"], 1):
        own_suite.receive("a@far.example", [address], mails.plain("a@far.example", address, f"n{n}"))
        assert len(own_suite.delivered(first)) == n
    own_suite.configure(postmaster=f'"{second}"')
    own_suite.valija("reload")
    own_suite.receive("a@far.example", ["postmaster"], mails.plain("a@far.example", "postmaster", "to second"))
    assert len(own_suite.delivered(first)) == 3 and len(own_suite.delivered(second)) == 1


def test_refusals(suite):
    user = suite.new_user("refusals")
    with suite.smtp(service="smtp") as smtp:
        smtp.ehlo()
        assert smtp.mail("a@far.example")[0] == 250
        for address, code, status in [("nobody-here@example.org", 550, b"5.1.1"), (REMOTE, 550, b"5.7.1"),
                                      ("a%remote.example@example.org", 550, b"5.1.1"),
                                      ("a@[127.0.0.1]", 550, b"5.7.1")]:
            got, text = smtp.rcpt(address)
            assert got == code and text.startswith(status), address
        assert smtp.docmd("DATA")[0] in (503, 554)
        smtp.rset()
        assert smtp.mail("a@far.example")[0] == 250 and smtp.rcpt(user)[0] == 250


# ---- trouble on disk ---------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["new", "tmp", "cur"])
@pytest.mark.parametrize("kind", ["symlink", "fifo", "file"])
def test_f1_planted_names(suite, where, kind, tmp_path):
    """Whoever owns a Maildir plants something in it: deferred, target untouched, no hang."""
    user = suite.new_user("planted")
    target = tmp_path / "target"
    target.mkdir()
    place = suite.maildir(user) / where
    place.rmdir()
    if kind == "symlink":
        place.symlink_to(target)
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.touch()
    begun = time.monotonic()
    with suite.smtp(service="smtp", seconds=10) as smtp:
        with pytest.raises(smtplib.SMTPException) as refused:
            smtp.sendmail("a@far.example", [user], mails.plain("a@far.example", user, "planted"))
    assert refused.value.smtp_code // 10 == 45
    assert time.monotonic() - begun < 5
    assert not list(target.iterdir())
    valija.wait_until(lambda: [l for l in suite.log().splitlines() if "mailbox-unusable" in l and
                               user.split("@")[0] in l], 5, "the log line that names the directory")


def test_trouble_of_one_does_not_keep_the_other_waiting(suite):
    """A mailbox that cannot be used defers only its own mail: from the second try on by the queue."""
    good, bad = suite.new_user("good"), suite.new_user("bad")
    box = suite.maildir(bad) / "new"
    box.rmdir()
    box.touch()
    with suite.smtp(service="smtp") as smtp:
        with pytest.raises(smtplib.SMTPDataError):
            smtp.sendmail("a@far.example", [good, bad], mails.plain("a@far.example", good, "shared"))
        assert not suite.delivered(good)
        smtp.sendmail("a@far.example", [good, bad], mails.plain("a@far.example", good, "shared"))
    valija.wait_until(lambda: suite.delivered(good), 5, "the good one's copy")
    assert [r["address"] for m in queue(suite) for r in m["recipients"] if r["address"] in (good, bad)] == [bad]
    box.unlink()


def needs_mount():
    if os.getuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0:
        pytest.skip("needs the right to mount")


@contextlib.contextmanager
def file_system(at, size, owner):
    """A small file system of its own at a directory."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700,uid={owner.st_uid},gid={owner.st_gid}",
                           "none", str(at)], check=False)
    if done.returncode != 0:
        pytest.skip("needs the right to mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def test_mailbox_on_another_file_system(own_suite):
    """The same promise by a copy."""
    needs_mount()
    here, there = own_suite.user_add("here"), own_suite.user_add("there")
    box = own_suite.maildir(there)
    with file_system(box, "4m", box.stat()):
        own_suite.receive("a@far.example", [here, there], mails.plain("a@far.example", here, "two systems"))
        (a,), (b,) = own_suite.delivered(here), own_suite.delivered(there)
        assert a.read_bytes() == b.read_bytes() and a.stat().st_dev != b.stat().st_dev


def test_full_mail_file_system(own_suite):
    """452 4.3.1 while it is full, nothing half written, and service again by itself."""
    needs_mount()
    user = own_suite.user_add("full")
    box = own_suite.maildir(user)
    with file_system(box, "256k", box.stat()):
        refused, sent = 0, {}
        for n in range(8):
            sent[f"n{n}"] = mails.plain("a@far.example", user, f"n{n}", size=50000)
            with own_suite.smtp(service="smtp") as smtp:
                try:
                    smtp.sendmail("a@far.example", [user], sent[f"n{n}"])
                except smtplib.SMTPDataError as error:
                    assert error.smtp_code == 452, error
                    refused += 1
        assert refused
        assert len(own_suite.delivered(user)) == 8 - refused
        for word, (content,) in by_subject(own_suite, user).items():
            mails.assert_same(content, sent[word])
        for path in own_suite.delivered(user):
            path.unlink()
        own_suite.receive("a@far.example", [user], mails.plain("a@far.example", user, "again", size=50000))
        assert len(own_suite.delivered(user)) == 1


def test_full_spool(own_suite):
    needs_mount()
    user = own_suite.user_add("spooler")
    own_suite.stop()
    directory = own_suite.dir / "spool/queue"
    with file_system(directory, "256k", directory.stat()):
        own_suite.start()
        codes = []
        for n in range(8):
            with own_suite.smtp(user) as smtp:
                try:
                    smtp.sendmail(user, [REMOTE], mails.plain(user, REMOTE, f"n{n}", size=50000))
                    codes.append(250)
                except smtplib.SMTPDataError as error:
                    codes.append(error.smtp_code)
        assert set(codes) == {250, 452}, codes
        assert len(queue(own_suite)) == codes.count(250)
        # Local mail does not need the spool.
        own_suite.receive("a@far.example", [user], mails.plain("a@far.example", user, "local"))
        own_suite.stop()


# ---- the queue after a restart -----------------------------------------------------------------------


def test_queue_survives_and_sets_damage_aside(own_suite):
    user = own_suite.user_add("keeper")
    with own_suite.smtp(user) as smtp:
        for n in range(4):
            smtp.sendmail(user, [REMOTE], mails.plain(user, REMOTE, f"n{n}"))
    before = {m["message"] for m in queue(own_suite)}
    assert len(before) == 4
    damaged, torn, without, *_ = sorted(before)
    own_suite.stop()
    spool = own_suite.dir / "spool/queue"
    envelope = bytearray((spool / f"{damaged}.env").read_bytes())
    envelope[20] ^= 1
    (spool / f"{damaged}.env").write_bytes(envelope)
    with (spool / f"{torn}.env").open("ab") as file:
        file.write(b"\x30\0\0\0torn")
    (spool / f"{without}.msg").unlink()
    own_suite.start()
    valija.wait_until(lambda: len(queue(own_suite)) == 2, 5, "damaged messages set aside")
    assert {m["message"] for m in queue(own_suite)} == before - {damaged, without}
    assert queue_files(own_suite, "corrupt") == sorted([f"{damaged}.env", f"{damaged}.msg", f"{without}.env"])
    said = valija.wait_until(lambda: [l for l in own_suite.log().splitlines() if "unreadable-in-queue" in l][1:2] and
                             own_suite.log(), 5, "two log lines")
    for message in (damaged, without):
        assert f"unreadable-in-queue message={message}" in said


# ---- kill -9 -----------------------------------------------------------------------------------------


class Traffic:
    """Users who send to one local user, and every second time also to somebody elsewhere; they
    remember what was acknowledged."""

    def __init__(self, suite, senders=3):
        self.suite = suite
        self.user = suite.new_user("traffic")
        self.acknowledged, self.sent = {}, {}     # word: to whom it was taken; what it said
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.send, args=(n,)) for n in range(senders)]
        for thread in self.threads:
            thread.start()

    def send(self, thread):
        n = 0
        while not self.over.is_set():
            with contextlib.suppress(OSError, smtplib.SMTPException, ssl.SSLError):
                with self.suite.smtp(self.user, seconds=10) as smtp:
                    while not self.over.is_set():
                        n += 1
                        word = f"t{thread}n{n}"
                        to = [self.user, REMOTE] if n % 2 else [self.user]
                        body = mails.plain(self.user, self.user, word, size=5000)
                        self.sent[word] = body
                        not_taken = smtp.sendmail(self.user, to, body)
                        self.acknowledged[word] = [a for a in to if a not in not_taken]
            time.sleep(0.02)

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()


def waiting(suite, traffic):
    """The words of what the listing shows."""
    listed = {m["message"] for m in queue(suite)}
    return {word for path, content in spooled(suite).items() if pathlib.Path(path).stem in listed
            for word, sent in traffic.sent.items() if content.endswith(sent)}


def check_traffic(suite, traffic, most_twice=10):
    """Nothing lost, nothing cut; the queue holds what goes elsewhere."""
    local = {word for word, to in traffic.acknowledged.items() if traffic.user in to}
    valija.wait_until(lambda: local <= set(by_subject(suite, traffic.user)), 15, "what was acknowledged")
    arrived = by_subject(suite, traffic.user)
    assert set(arrived) <= set(traffic.sent)
    for word, copies in arrived.items():
        for content in copies:
            assert content.endswith(traffic.sent[word]), f"{word} is not what was sent"
    remote = {word for word, to in traffic.acknowledged.items() if REMOTE in to}
    try:
        valija.wait_until(lambda: remote <= waiting(suite, traffic), 10, "all that goes elsewhere in the queue")
    except AssertionError as late:
        missing = {word: [name for name, content in spooled(suite).items() if content.endswith(traffic.sent[word])]
                   for word in remote - waiting(suite, traffic)}
        ids = {pathlib.Path(name).stem for names in missing.values() for name in names}
        lines = [line for line in suite.log().splitlines()
                 if any(i in line for i in ids) or (f"to={REMOTE}" in line and "status=deferred" not in line)]
        raise AssertionError(f"{late}: not listed, and the files that have it: {missing}\n" + "\n".join(lines)) from None
    assert not unnamed_left(suite)
    twice = sum(len(copies) > 1 for copies in arrived.values())
    print(f"{len(traffic.acknowledged)} acknowledged, {twice} there twice")
    assert twice <= most_twice


def test_service_is_back_after_each_of_many_kills(suite):
    """Killed as soon as they serve again, eight times in a row: whoever was ready is never kept away for long."""
    programs = ["queue", "local", "spool", "relay"]
    user = suite.new_user("again")

    def accepted(word, to, begun):
        while True:
            try:
                with suite.smtp(user, seconds=5) as smtp:
                    smtp.sendmail(user, to, mails.plain(user, user, word))
                return
            except (OSError, smtplib.SMTPException, ssl.SSLError):
                assert time.monotonic() - begun < 10, f"no service for {word}"
                time.sleep(0.02)

    for n in range(8):
        victims = [p["pid"] for p in suite.status() if p["program"] in programs and p["pid"]]
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        begun = time.monotonic()
        accepted(f"local{n}", [user], begun)              # queue, local
        accepted(f"spool{n}", [user, REMOTE], begun)      # queue, spool
        valija.wait_until(lambda: len([p for p in suite.status() if p["program"] in programs and
                                       p["pid"] not in victims + [0, None]]) == len(victims), 10, "all of them")
        # Noisy machines: what is to be seen is that it does not grow with the number of deaths.
        took = time.monotonic() - begun
        assert took < 4, f"back after {took:.2f} s, death {n}{suite.log_tail()}"
    valija.wait_until(lambda: {f"{word}{n}" for word in ("local", "spool") for n in range(8)} <=
                      set(by_subject(suite, user)), 5, "what was acknowledged between the deaths")


@pytest.mark.parametrize("program", ["local", "spool", "queue"])
def test_kill_9_loses_nothing(suite, program):
    traffic = Traffic(suite)
    try:
        for _ in range(5):
            time.sleep(0.4)
            count = len(traffic.acknowledged)
            for process in suite.processes(program)[:2]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process["pid"], signal.SIGKILL)
            valija.wait_until(lambda: len(traffic.acknowledged) > count, 5, f"mail after the death of {program}")
    finally:
        traffic.stop()
    assert len(traffic.acknowledged) > 5
    check_traffic(suite, traffic)
    # What nobody was promised does not lie there until the next start, to be delivered again then.
    if program != "queue":
        known = {m["message"] for m in queue(suite)}
        assert {pathlib.Path(name).stem for name in queue_files(suite) if name.endswith(".env")} <= known


def test_kill_9_of_everything(own_suite):
    """As when the power goes, but for what the kernel still knows: master and all at once."""
    traffic = Traffic(own_suite)
    for _ in range(3):
        time.sleep(0.5)
        for pid in reversed(own_suite.pids()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        valija.wait_until(lambda: not own_suite.pids(), 10, "the end of all")
        own_suite.start()
    time.sleep(0.5)
    traffic.stop()
    check_traffic(own_suite, traffic)
    halves = [n for n in queue_files(own_suite) if n.endswith(".msg") and n[:-4] + ".env" not in queue_files(own_suite)]
    assert all(n[:-4] not in {m["message"] for m in queue(own_suite)} for n in halves)


def test_trace_tells_the_story(suite):
    """One id, one story: each line of a message's way carries it."""
    user = suite.new_user("trace")
    suite.receive("a@far.example", [user], mails.plain("a@far.example", user, "trace"))
    (line,) = valija.wait_until(lambda: [l for l in suite.log().splitlines()
                                         if f"to={user}" in l and " delivered " in l], 5, "the log line")
    words = dict(part.split("=", 1) for part in line.split() if "=" in part)
    assert words["status"] == "sent" and words["relay"] == "local" and words["dsn"] == "2.0.0"
    assert words["message"] in suite.valija("trace", words["message"]).stdout
