"""A Maildir that Dovecot has written is served with the UIDs, flags, keywords and dates that its clients know."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

import valija

# Debian's place, and that of RPM distributions.
DOVECOT = next((path for path in map(pathlib.Path, ("/usr/lib/dovecot/imap", "/usr/libexec/dovecot/imap"))
                if path.exists()), None)
CONF = """
base_dir = {tmp}
log_path = /dev/stderr
protocols = imap
ssl = no
mail_location = maildir:{maildir}
first_valid_uid = 1
first_valid_gid = 1
namespace inbox {{
  inbox = yes
  separator = /
}}
"""


@pytest.fixture
def suite():
    # Dovecot serves nobody's mail as root.
    with valija.Instance(as_user="nobody" if os.geteuid() == 0 else None) as instance:
        yield instance


def dovecot(suite, maildir, commands):
    """What Dovecot's imap process answers to the commands, run for this Maildir alone."""
    tmp = suite.tmp / "dovecot"
    tmp.mkdir(exist_ok=True)
    owner = maildir.stat()
    os.chown(tmp, owner.st_uid, owner.st_gid)
    (tmp / "dovecot.conf").write_text(CONF.format(tmp=tmp, maildir=maildir))
    become = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    done = subprocess.run([DOVECOT, "-c", tmp / "dovecot.conf"], input=commands, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60, check=False, cwd="/",
                          env={"USER": "ana", "HOME": str(tmp)}, **become)
    assert done.returncode == 0, done.stderr.decode()
    assert not re.search(rb"^\w+ (NO|BAD)", done.stdout, re.M), done.stdout.decode()
    return done.stdout.decode()


def command_lines(*lines):
    return b"".join(b"a " + line + b"\r\n" for line in lines)


def append(folder, flags, day, n):
    body = b"Subject: %d\r\n\r\nmessage %d\r\n" % (n, n)
    return b'a APPEND %s (%s) "%s-Feb-2020 10:20:30 +0100" {%d+}\r\n%s\r\n' % (folder, flags, day, len(body), body)


def fetched(lines):
    """{uid: (flags, date)} of FETCH responses; \\Recent is not kept by anybody."""
    messages = {}
    for line in lines:
        flags = re.search(r"FLAGS \(([^)]*)\)", line)
        uid = re.search(r"UID (\d+)", line)
        date = re.search(r'INTERNALDATE "([^"]*)"', line)
        if flags and uid and date:
            kept = frozenset(f for f in flags[1].split() if f != "\\Recent")
            messages[int(uid[1])] = (kept, date[1].lstrip("0 ").split()[0:2])
    return messages


def numbers(text):
    return (int(re.search(r"UIDVALIDITY (\d+)", text)[1]), int(re.search(r"UIDNEXT (\d+)", text)[1]))


@pytest.mark.skipif(DOVECOT is None, reason="there is no Dovecot here")
def test_what_dovecot_wrote_is_taken_over(suite):
    address = suite.new_user("ana")
    maildir = suite.maildir(address)
    shutil.rmtree(maildir)
    maildir.mkdir(mode=0o700)
    parent = maildir.parent.stat()
    os.chown(maildir, parent.st_uid, parent.st_gid)

    flags = [b"\\Seen", b"\\Flagged $Junk", b"", b"\\Answered Project \\Seen", b"\\Draft", b"$Label1 Project"]
    commands = command_lines(b"CREATE Work", b"CREATE Work/Deep", b"SUBSCRIBE Work/Deep", b"SUBSCRIBE INBOX")
    for n in range(12):
        commands += append(b"INBOX", flags[n % len(flags)], b"%02d" % (n + 1), n)
        commands += append(b"Work/Deep", flags[n % len(flags)], b"%02d" % (n + 10), n)
    commands += command_lines(b"SELECT INBOX", b"STORE 2,5,12 +FLAGS (\\Deleted)", b"EXPUNGE",
                              b"STORE 4:6 +FLAGS ($Forwarded)", b"STORE 1 -FLAGS (\\Seen)", b"CLOSE")
    dovecot(suite, maildir, commands + command_lines(b"LOGOUT"))

    known = {}
    for folder in ("INBOX", "Work/Deep"):
        # A session of its own: Dovecot writes names and lists at the end of one.
        answer = dovecot(suite, maildir, command_lines(
            b"EXAMINE " + folder.encode(), b"FETCH 1:* (UID FLAGS INTERNALDATE)", b"LOGOUT"))
        known[folder] = (numbers(answer), fetched(answer.splitlines()))
    assert len(known["INBOX"][1]) == 9 and len(known["Work/Deep"][1]) == 12
    assert any("$Forwarded" in kept for kept, _ in known["INBOX"][1].values())

    for _ in range(2):      # at the first opening, and when it is our own index
        with suite.imap(address) as imap:
            for folder, (state, messages) in known.items():
                imap.select(f'"{folder}"', readonly=True)
                now = tuple(int(imap.response(name)[1][0]) for name in ("UIDVALIDITY", "UIDNEXT"))
                assert now == state
                answer = imap.fetch("1:*", "(UID FLAGS INTERNALDATE)")[1]
                assert fetched([line.decode() for line in answer]) == messages
            assert {line.split(b" ")[-1].strip(b'"') for line in imap.lsub()[1]} == {b"INBOX", b"Work/Deep"}
    log = suite.log()
    assert log.count("taken-over") >= 2
    assert "list-damaged" not in log


@pytest.mark.skipif(DOVECOT is None, reason="there is no Dovecot here")
def test_new_mail_comes_behind_what_dovecot_numbered(suite):
    address = suite.new_user("ana")
    maildir = suite.maildir(address)
    commands = b"".join(append(b"INBOX", b"", b"01", n) for n in range(3))
    state = numbers(dovecot(suite, maildir, commands + command_lines(b"SELECT INBOX", b"STORE 3 +FLAGS (\\Deleted)",
                                                                     b"EXPUNGE", b"LOGOUT")))
    suite.receive("b@elsewhere.example", [address], b"Subject: new\r\n\r\nnew\r\n")
    with suite.imap(address) as imap:
        imap.select("INBOX")
        assert int(imap.response("UIDVALIDITY")[1][0]) == state[0]
        assert imap.uid("SEARCH", "ALL")[1] == [b"1 2 4"]
