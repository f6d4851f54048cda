"""What other servers fell over, for imap (each by its name): names that lead elsewhere, and what a user can plant in his own
Maildir."""

import os
import pathlib
import time

import pytest

import valija

NAMES = ["../x", "a/../../x", "&AC4ALg-/x", "~root", "~/x", "cur", "new/x", "tmp", "/etc/passwd", "a//b", ".", "..", "x" * 5000,
         "../valija/shares", "a.b", "valija-mailbox/../x", "&", "a\x01b", "INBOX/../x"]
COMMANDS = ["CREATE {}", "DELETE {}", "RENAME {} New", "RENAME Sent {}", "SUBSCRIBE {}", "STATUS {} (MESSAGES)", "SELECT {}", "EXAMINE {}",
            "APPEND {} {{3+}}\r\nabc", "COPY 1 {}", "MOVE 1 {}", "GETMETADATA {} /private/comment",
            'SETMETADATA {} (/private/comment "x")', "GETACL {}", "SETACL {} anyone lr", "MYRIGHTS {}", "GETQUOTAROOT {}",
            "ESEARCH IN (mailboxes {}) ALL", "NOTIFY SET (mailboxes {} (MessageNew MessageExpunge))", 'LIST "" {}', 'LSUB {} ""',
            'APPEND Sent CATENATE (URL "/{}/;UID=1")', 'APPEND Sent CATENATE (URL "/%2e%2e/{}/;UID=1")']
ANSWERS_OK = ("ESEARCH", "NOTIFY", "LIST", "LSUB")      # of what is not there nothing is told


def tree(top):
    """Everything below, with its kind and size; not the index, which a session may write."""
    found = {}
    for where, directories, files in os.walk(top):
        if "valija" in directories:
            directories.remove("valija")
        for name in directories + files:
            path = pathlib.Path(where, name)
            found[str(path.relative_to(top))] = (path.lstat().st_mode, 0 if path.is_dir() else path.lstat().st_size)
    return found


def say(imap, command):
    """The untagged lines, and the tagged answer without its tag."""
    tag = imap._new_tag()
    imap.send(tag + b" " + command.encode() + b"\r\n")
    lines = []
    while not (line := imap.readline()).startswith(tag + b" "):
        assert line, f"hung up at {command!r}: {lines}"
        lines.append(line.decode("utf-8", "replace"))
    return lines, line[len(tag) + 1:].decode("utf-8", "replace")


def test_f2_names_that_lead_elsewhere_in_every_command(suite):
    user, other = suite.new_user("f2"), suite.new_user("f2")
    for who in (user, other):
        suite.receive("a@elsewhere.example", [who], b"Subject: one\r\n\r\nx\r\n")
    with suite.imap(user=user) as imap:
        imap.select("Sent")          # its index is there from now on
        imap.select("INBOX")
        said = say(imap, "FETCH 1 FLAGS")
        top = suite.maildir(user).parents[2]
        before = tree(top)
        for name in [*NAMES, f"../../{other.partition('@')[0]}/Maildir"]:
            for command in COMMANDS:
                lines, answer = say(imap, command.format('"' + name + '"' if "URL" not in command else name))
                told = [line for line in lines if "LIST" in line or "ESEARCH" in line or "METADATA" in line]
                if command.startswith(ANSWERS_OK):
                    assert not [line for line in told if "\\Noselect" not in line], (command, name[:40], lines)
                else:
                    assert answer.startswith(("NO ", "BAD ")) and not told, (command, name[:40], answer)
                if "selected mailbox" in answer or command.startswith(("SELECT", "EXAMINE")):
                    imap.select("INBOX")
        assert tree(top) == before
        assert say(imap, "FETCH 1 FLAGS")[1] == said[1]


PLACES = ["cur/1000000001.planted:2,", "new/1000000002.planted", "subscriptions", "dovecot-uidlist", "dovecot-keywords", "dovecot-acl",
          "courierimapuiddb", "maildirsize", "valija-acl", "valija-metadata", "valija-mailbox", ".Planted", ".Planted/cur",
          ".Planted/valija-acl", ".Planted/valija-metadata", ".Planted/valija-mailbox", "valija/metadata", "valija/shares",
          "valija/uidvalidity", "journal", "snapshot", "cache"]


@pytest.mark.long
@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory"])
def test_f1_what_is_planted_in_a_maildir(own_suite, kind, tmp_path):
    """By its owner, or who has his uid: nothing outside is read or changed, and nothing hangs."""
    suite = own_suite        # every user would hear of what these share
    secret = tmp_path / "secret"
    secret.write_text("Subject: secret\n\nTOP SECRET\n")
    for place in PLACES:
        user = suite.new_user("f1")
        suite.receive("a@elsewhere.example", [user], b"Subject: one\r\n\r\nx\r\n")
        maildir = suite.maildir(user)
        owner = maildir.stat()
        if place in ("journal", "snapshot", "cache"):
            with suite.imap(user=user) as imap:
                imap.select("INBOX")
            suite.valija("user", "disable", user)       # its process leaves
            suite.valija("user", "enable", user)
            path = next(p for p in (maildir / "valija").iterdir() if p.is_dir()) / place
        else:
            path = maildir / place
        if place.startswith(".Planted/"):
            for name in ("cur", "new", "tmp"):
                (maildir / ".Planted" / name).mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            for each in path.iterdir():
                each.unlink()
            path.rmdir()
        path.unlink(missing_ok=True)
        path.parent.mkdir(exist_ok=True)
        {"symlink": lambda: path.symlink_to(secret), "fifo": lambda: os.mkfifo(path), "directory": path.mkdir}[kind]()
        for each in (path, *path.parents):
            if each == maildir:
                break
            os.chown(each, owner.st_uid, owner.st_gid, follow_symlinks=False)
        if (maildir / ".Planted").is_dir():
            for each in (maildir / ".Planted").iterdir():
                os.chown(each, owner.st_uid, owner.st_gid, follow_symlinks=False)
        imap = suite.imap(user=user, seconds=15)
        said = []
        for folder in ("INBOX", "Planted"):
            for command in (f"SELECT {folder}", "FETCH 1:* BODY.PEEK[]", "STORE 1:* +FLAGS (\\Seen)", f"GETACL {folder}",
                            f"GETMETADATA {folder} (/private/comment)", f"STATUS {folder} (MESSAGES)", f"GETQUOTAROOT {folder}",
                            f'SETMETADATA {folder} (/private/comment "mine")', f"SETACL {folder} anyone lr",
                            f"SUBSCRIBE {folder}", f"APPEND {folder} {{3+}}\r\nabc"):
                lines, answer = say(imap, command)
                said += [*lines, answer]
        said += say(imap, 'LIST "" * RETURN (SUBSCRIBED)')[0]
        imap.logout()
        assert "SECRET" not in "".join(said), (place, said)
        assert secret.read_text() == "Subject: secret\n\nTOP SECRET\n", place
        assert sorted(p.name for p in tmp_path.iterdir()) == ["secret"], place


@pytest.mark.parametrize("service", ["imap", "imaps"])
def test_commands_behind_a_login_wait_for_whoever_gets_the_connection(suite, service):
    """What comes while auth and master work is read by nobody but imap-login, when the login fails, or the user's own
    process: nothing is lost, nothing said twice, whenever it comes."""
    user = suite.new_user("behind-login")
    with suite.connect(service) as raw:
        sock = raw
        if service == "imap":
            raw.recv(1000)
            raw.sendall(b"s STARTTLS\r\n")
            assert raw.recv(1000).startswith(b"s OK")
        sock = suite.tls().wrap_socket(raw, server_hostname=suite.host)
        words = sock.makefile("rb")
        if service == "imaps":
            words.readline()
        sock.sendall(f'0 LOGIN {user} wrong\r\n'.encode())
        time.sleep(0.0005)
        sock.sendall(b"1 NOOP\r\n")
        assert words.readline().startswith(b"0 NO ")
        assert words.readline().startswith(b"1 OK ")
        said = 2
        sock.sendall(f'{said} LOGIN {user} "{suite.passwords[user]}"\r\n'.encode())
        for i in range(1, 6):
            time.sleep(0.0004)
            sock.sendall(f"{said + i} NOOP\r\n".encode())
        for i in range(6):
            line = words.readline()
            assert line.startswith(b"%d OK " % (said + i)), line


def test_a_message_that_is_cut_while_it_is_read(suite):
    """Ends the session that reads it, and nothing of zeros is told or kept; the user's other sessions hear nothing of it."""
    user = suite.new_user("cut")
    maildir = suite.maildir(user)
    owner = maildir.stat()
    path = maildir / "tmp" / "1999999999.M1P1.cut"
    path.write_bytes(b"Subject: large\r\n\r\n" + (b"y" * 78 + b"\r\n") * 400000)
    os.chown(path, owner.st_uid, owner.st_gid)
    path.rename(maildir / "cur" / f"{path.name}:2,S")
    with suite.imap(user=user) as other:
        other.select("INBOX")
        reading = suite.imap(user=user)
        reading.select("INBOX")
        pid = next(p["pid"] for p in suite.processes("imap") if p.get("user") == user)
        reading.send(b"f FETCH 1 BODY.PEEK[]\r\n")
        assert reading.readline().endswith(b"{32000018}\r\n")
        time.sleep(0.3)              # the socket is full: the server waits in the midst of it
        os.truncate(maildir / "cur" / f"{path.name}:2,S", 300000)
        got = b""
        while data := reading.file.read1(1 << 20):
            got += data
        assert len(got) < 32000018
        assert set(got.removeprefix(b"Subject: large\r\n\r\n")) == set(b"y\r\n")
        assert other.noop()[0] == "OK"
        assert [p["pid"] for p in suite.processes("imap") if p.get("user") == user] == [pid]
        assert other.fetch("1", "BODY.PEEK[HEADER.FIELDS (SUBJECT)]")[0] == "OK"
    assert "message-unreadable" in suite.log()
