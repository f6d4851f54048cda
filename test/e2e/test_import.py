"""`valija import`: mail of Dovecot, Courier and mbox files, read over IMAP afterwards."""

import os
import pathlib
import pty
import re
import shutil
import subprocess
import time

import pytest

DATE = 1700000000       # 2023-11-14 22:13:20 UTC
MESSAGE = b"From: <ana@far.example>\r\nSubject: %s\r\n\r\nText of %s.\r\n"


@pytest.fixture
def source(tmp_path):
    """A tree that nobody but its owner may read, as the other server left it."""
    tmp_path.chmod(0o700)
    return tmp_path


def put(maildir, name, word, subdir="cur"):
    for sub in ("cur", "new", "tmp"):
        (maildir / sub).mkdir(parents=True, exist_ok=True)
    path = maildir / subdir / name
    path.write_bytes(MESSAGE % (word, word))
    os.utime(path, (DATE, DATE))
    return path


def dovecot(place):
    box = place / "Maildir"
    put(box, "1000.M1.old:2,S", b"one")
    put(box, "1001.M2.old,S=58:2,FSa", b"two")
    put(box, "1002.M3.old", b"three", "new")
    (box / "dovecot-uidlist").write_text("3 V1234567 N40 G0123456789abcdef0123456789abcdef\n7 :1000.M1.old\n9 :1001.M2.old,S=58\n31 :1002.M3.old\n")
    (box / "dovecot-keywords").write_text("0 $Label1\n")
    put(box / ".Sent.2024", "1003.M4.old:2,RS", b"four")
    (box / ".Sent.2024/maildirfolder").write_text("")
    (box / "subscriptions").write_text("V\t2\n\nSent\t2024\nDrafts\n")
    return box


def imported(suite, *arguments, code=0):
    done = suite.valija("import", *arguments, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def fetched(imap, folder):
    """{subject: (uid, flags, date)} of a folder, and its UIDVALIDITY."""
    assert imap.select(folder, readonly=True)[0] == "OK", folder
    validity = imap.response("UIDVALIDITY")[1][0]
    found = {}
    for row in imap.fetch("1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]:
        if isinstance(row, tuple):
            said = row[0].decode()
            found[row[1].decode().split(":")[1].strip()] = (
                int(re.search(r"UID (\d+)", said).group(1)), set(re.search(r"FLAGS \(([^)]*)\)", said).group(1).split()),
                re.search(r'INTERNALDATE "([^"]*)"', said).group(1))
    return found, validity


def test_maildir_of_dovecot(suite, source):
    """UIDs, flags, keywords, times, folders and subscriptions come along; and a second time nothing comes twice."""
    user, box = suite.new_user("mover"), dovecot(source)
    said = imported(suite, "--user", user, box)
    assert f"{user}: INBOX: 3 messages, UIDs kept\n" in said and f"{user}: Sent.2024: 1 messages\n" in said
    assert f"{user}: 2 folders, 4 messages, 0 MiB; 0 were there already; 0 failed\n" in said
    with suite.imap(user) as imap:
        inbox, validity = fetched(imap, "INBOX")
        assert validity == b"1234567"
        assert {s: uid for s, (uid, _, _) in inbox.items()} == {"one": 7, "two": 9, "three": 31}
        assert inbox["one"][1] == {"\\Seen"} and {"\\Flagged", "\\Seen", "$Label1"} <= inbox["two"][1]
        assert all(date.startswith("14-Nov-2023 22:13:20") for _, _, date in inbox.values())
        assert {"\\Answered", "\\Seen"} <= fetched(imap, '"Sent/2024"')[0]["four"][1]
        subscribed = b" ".join(imap.lsub()[1])
        assert b"2024" in subscribed and b"Drafts" in subscribed and b"Junk" in subscribed
    home = suite.maildir(user)
    assert {p.stat().st_uid for p in home.rglob("*")} == {home.stat().st_uid}
    # Mail came in meanwhile, and one was read: only what is new is taken, under a new UID, without keywords of no list.
    (box / "new/1002.M3.old").rename(box / "cur/1002.M3.old:2,S")
    put(box, "1005.M5.old:2,Sa", b"five")
    said = imported(suite, "--user", user, box)
    assert f"{user}: INBOX: 1 messages, 3 there already\n" in said
    with suite.imap(user) as imap:
        inbox, validity = fetched(imap, "INBOX")
        assert validity == b"1234567" and inbox["five"][0] >= 40 and inbox["five"][1] & {"\\Seen", "$Label1"} == {"\\Seen"}
        assert {s: uid for s, (uid, _, _) in inbox.items() if s != "five"} == {"one": 7, "two": 9, "three": 31}


def test_maildir_of_courier(suite, source):
    user = suite.new_user("courier")
    put(source / "Maildir", "1000.M1.old:2,S", b"one")
    (source / "Maildir/courierimapuiddb").write_text("1 77 12\n11 1000.M1.old\n")
    (source / "Maildir/courierimapkeywords").mkdir()
    (source / "Maildir/courierimapkeywords/:list").write_text("$Label2\n\n1000.M1.old:0\n")
    put(source / "Maildir/.Lists", "1001.M2.old:2,S", b"two")
    (source / "Maildir/courierimapsubscribed").write_text("INBOX\nINBOX.Lists\n")
    assert "INBOX: 1 messages, UIDs kept" in imported(suite, "--user", user, source / "Maildir")
    with suite.imap(user) as imap:
        inbox, validity = fetched(imap, "INBOX")
        assert validity == b"77" and inbox["one"][0] == 11 and "$Label2" in inbox["one"][1]
        assert b"Lists" in b" ".join(imap.lsub()[1])


MBOX = (b"From MAILER-DAEMON Tue Nov 14 22:13:20 2023\nFrom: x\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n"
        b"X-IMAP: 1 2\nStatus: RO\n\nNotes of a program.\n\n"
        b"From ana@far.example Tue Nov 14 22:13:20 2023\nSubject: read\nStatus: RO\nX-Status: AF\nX-Keywords: a\n  b\nX-UID: 5\n\n"
        b"One.\n>From quoted, >>From twice.\n\nFrom nowhere in the text\n\nlast\n\n"
        b"From ana@far.example Tue Nov 14 22:13:21 2023\r\nSubject: new\r\n\r\nTwo.\r\n\r\n"
        b"From - Tue Nov 14 22:13:22 2023\nSubject: gone\nX-Status: D\nStatus: O\n\n")


def test_mbox(suite, source):
    user = suite.new_user("mbox")
    (source / "mail").write_bytes(MBOX)
    said = imported(suite, "--user", user, "--folder", "Old/Mail", source / "mail")
    assert f"{user}: Old.Mail: 3 messages\n" in said
    (folder,) = [p for p in suite.maildir(user).iterdir() if p.name == ".Old.Mail"]
    mails = {path.read_bytes().split(b"\r\n")[0]: path for sub in ("cur", "new") for path in (folder / sub).iterdir()}
    read, new, gone = (mails[b"Subject: " + word] for word in (b"read", b"new", b"gone"))
    assert read.read_bytes() == b"Subject: read\r\n\r\nOne.\r\nFrom quoted, >>From twice.\r\n\r\nFrom nowhere in the text\r\n\r\nlast\r\n"
    assert new.read_bytes() == b"Subject: new\r\n\r\nTwo.\r\n" and new.parent.name == "new"
    assert read.name.endswith(":2,FRS") and gone.name.endswith(":2,T") and f",S={read.stat().st_size}," in read.name
    assert new.stat().st_mtime - read.stat().st_mtime == 1
    (source / "mail").write_bytes(MBOX + b"From x Tue Nov 14 22:13:23 2023\nSubject: more\n\nThree.\n")
    assert f"{user}: Old.Mail: 1 messages, 3 there already\n" in imported(
        suite, "--user", user, "--folder", "Old/Mail", source / "mail")


def test_everybody_from_a_directory_of_mboxes(suite, source):
    """%-letters stand for each user's name; some have no mail, and what is no mbox is left alone."""
    users = [suite.new_user("many") for _ in range(2)]
    for user in users:
        home = source / user.split("@")[1] / user.split("@")[0]
        (home / "Archive").mkdir(parents=True)
        (home / "inbox").write_bytes(MBOX)
        (home / "Archive/2024.old").write_bytes(MBOX)
        (home / "notes.txt").write_text("Not From anybody.")
    said = imported(suite, source / "%d/%n")
    for user in users:
        assert f"{user}: INBOX: 3 messages\n" in said and f"{user}: Archive.2024_old: 3 messages\n" in said
        assert len(suite.delivered(user)) == 3


def test_what_cannot_be_imported(suite, source):
    user = suite.new_user("wrong")
    (source / "file").write_text("This is no mbox.\n")
    (source / "empty").mkdir()

    def complaint(*arguments, code):
        done = suite.valija("import", *arguments, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr
    assert "whose mail is it?" in complaint(source / "file", code=64)
    assert "is no mbox" in complaint("--user", user, source / "file", code=74)
    assert "neither Maildirs nor mbox files" in complaint("--user", user, source / "empty", code=74)
    assert "No such file" in complaint("--user", user, source / "none", code=74)
    assert "is no user" in complaint("--user", "nobody@example.org", source / "file", code=74)
    assert "no user has mail at" in complaint(source / "%n/none", code=74)
    # A name that would steer the terminal of whoever reads it.
    put(source / "Other/.\x1b[2Jx", "1.M1.old:2,S", b"one")
    (source / "Other/.\x1b[2Jx/cur/2.M1.old:2,S").symlink_to("/etc/passwd")
    said = complaint("--user", user, source / "Other", code=74)
    assert "\x1b" not in said and "2.M1.old:2,S: " in said
    # A link in the user's place leads root nowhere.
    os.symlink("/etc", suite.maildir(user) / ".Trap")
    put(source / "Maildir/.Trap", "1000.M1.old:2,S", b"one")
    (source / "Maildir/nothing").mkdir()
    assert "the folder Trap cannot be made" in complaint("--user", user, source / "Maildir", code=74)
    assert not pathlib.Path("/etc/cur").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, who may read what belongs to others")
def test_source_that_is_a_link(suite, source):
    """Root reads nothing for somebody who only points at it; links of root's lead where he put them."""
    user = suite.new_user("thief")
    put(source / "boss", "1000.M1.old:2,S", b"secret")
    place = source / "home"
    place.mkdir()
    (place / "direct").symlink_to(source / "boss")
    (place / "above").symlink_to(source)
    (place / "relative").symlink_to("../boss")
    for link in ("direct", "above", "relative"):
        os.chown(place / link, 65534, 65534, follow_symlinks=False)
    for path in ("direct", "direct/", "above/boss", "relative", "../home/./relative/../home/relative"):
        done = suite.valija("import", "--user", user, f"{place}/{path}", check=False)
        assert done.returncode == 74 and "a link of somebody else's on the way" in done.stderr, (path, done.stderr)
    for link in ("direct", "above", "relative"):
        os.chown(place / link, 0, 0, follow_symlinks=False)
    assert "INBOX: 1 messages\n" in imported(suite, "--user", user, place / "direct")
    for path in ("above/boss", "relative", "direct/../boss//", "above/home/above/boss"):
        assert "INBOX: 0 messages, 1 there already\n" in imported(suite, "--user", user, f"{place}/{path}")
    (place / "round").symlink_to("round")
    assert "a link" in suite.valija("import", "--user", user, place / "round", check=False).stderr


def test_nothing_is_left_out_in_silence(suite, source):
    """A folder that is a link, and ends up nowhere, is told; so is a disk that does not take the messages: they have no
    name then, and come the next time."""
    user = suite.new_user("whole")
    put(source / "Maildir", "1000.M1.old:2,S", b"one")
    put(source / "elsewhere", "1001.M2.old:2,S", b"two")
    (source / "Maildir/.Big").symlink_to(source / "elsewhere")
    (source / "Maildir/.sieve").symlink_to(source / "script")
    done = suite.valija("import", "--user", user, source / "Maildir", check=False)
    assert done.returncode == 74 and ".Big is left out: a link; name the place that it leads to" in done.stderr
    assert "1 messages, 0 MiB; 0 were there already; 1 failed" in done.stdout and ".sieve" not in done.stderr
    # Only the first message of an mbox can be the notes of a program.
    (source / "mbox").write_bytes(MBOX + b"From x Tue Nov 14 22:13:23 2023\nX-IMAP: 1\nSubject: a mail\n\nThree.\n")
    assert f"{user}: Box: 4 messages\n" in imported(suite, "--user", user, "--folder", "Box", source / "mbox")


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_disk_that_fails(suite, source):
    user = suite.new_user("unsynced")
    for n in range(70):
        put(source / "Maildir", f"{n}.M1.old:2,S", b"m%d" % n)
    done = subprocess.run(["strace", "-f", "-o", "/dev/null", "-e", "inject=syncfs:error=EIO:when=1",
                           *suite.argv("import", "--user", user, source / "Maildir")], capture_output=True, text=True)
    assert done.returncode == 74 and "64 messages of INBOX are left out: Input/output error" in done.stderr, done.stderr
    assert f"{user}: INBOX: 6 messages\n" in done.stdout and len(list((suite.maildir(user) / "cur").iterdir())) == 6
    assert f"{user}: INBOX: 64 messages, 6 there already\n" in imported(suite, "--user", user, source / "Maildir")
    assert not list((suite.maildir(user) / "tmp").iterdir())


def test_progress_at_a_terminal(suite, source):
    """Whoever watches sees how far it is."""
    user = suite.new_user("watcher")
    for n in range(300):
        put(source / "Maildir", f"{n}.M1.old:2,S", b"m%d" % n)
    outer, inner = pty.openpty()
    process = subprocess.Popen(suite.argv("import", "--user", user, source / "Maildir"), stdout=subprocess.PIPE, stderr=inner)
    os.close(inner)
    said, seen = process.communicate(timeout=60)[0].decode(), b""
    time.sleep(0.1)
    while True:
        try:
            seen += os.read(outer, 65536) or b""
        except OSError:
            break
    os.close(outer)
    assert process.returncode == 0 and f"{user}: INBOX: 300 messages" in said
    assert re.search(rb"INBOX: \d+ messages, 0 there already; in all \d+, 0 MiB", seen), seen


def test_what_was_lost_comes_back_from_a_backup(suite, tmp_path):
    """valija-mail(7), Backup: a copy of the live Maildir; what is there stays as it is, what was lost gets new UIDs."""
    user = suite.new_user("backup")
    with suite.imap(user) as imap:
        for number in range(3):
            imap.append("INBOX", r"(\Seen)" if number == 1 else None, None, b"Subject: %d\r\n\r\nx\r\n" % number)
        subprocess.run(["cp", "-a", suite.maildir(user), tmp_path / "copy"], check=True)
        imap.select("INBOX")
        imap.store("2", "+FLAGS", r"(\Deleted)")
        imap.expunge()
        suite.valija("import", "--user", user, tmp_path / "copy")
        imap.noop()
        rows = b" ".join(imap.fetch("1:*", "(UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1][i][0] for i in (0, 2, 4))
        assert re.findall(rb"UID (\d+)", rows) == [b"1", b"3", b"4"] and rows.count(rb"\Seen") == 1
