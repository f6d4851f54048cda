"""The store behind imap as its users and administrators see it: many messages, many folders, and the way back to
another server."""

import os
import pathlib
import re
import shutil
import time

import pytest

import test_takeover
import valija


def raw(suite, user):
    """A logged-in connection, and a function that says a command and returns its lines."""
    imap = suite.imap(user=user, seconds=120)

    def say(command):
        tag = imap._new_tag().decode()
        imap.send(f"{tag} {command}\r\n".encode())
        lines = []
        while not (lines and lines[-1].startswith(tag + " ")):
            lines.append(imap.readline().decode().rstrip("\r\n"))
        assert lines[-1].startswith(f"{tag} OK"), lines[-1]
        return lines[:-1]
    return imap, say


def test_a_folder_whose_name_is_in_another_form(suite):
    """Net-Unicode (RFC 9051 5.1): names are in NFC. A folder that another program called otherwise is reached by that name, also what
    comes below it, and by RENAME gets the other."""
    user = suite.new_user("nfc")
    imap, say = raw(suite, user)
    with imap:
        say("CREATE model")
        maildir = suite.maildir(user)
        (maildir / ".model").rename(maildir / ".cafe&AwE-")
        assert '* LIST (\\HasNoChildren) "/" cafe&AwE-' in say('LIST "" c*')
        say("SELECT cafe&AwE-")
        say("CLOSE")
        say("CREATE cafe&AwE-/ete&AwE-")
        assert sorted(p.name for p in maildir.glob(".caf*")) == [".cafe&AwE-", ".cafe&AwE-.et&AOk-"]
        say("SELECT cafe&AwE-/ete&AwE-")
        say("RENAME cafe&AwE- caf&AOk-")
        assert sorted(p.name for p in maildir.glob(".caf*")) == [".caf&AOk-", ".caf&AOk-.et&AOk-"]
        say("SELECT cafe&AwE-/ete&AwE-")


@pytest.mark.skipif(os.getuid() != 0 or pathlib.Path("/proc/sys/fs/protected_hardlinks").read_text().strip() != "1",
                    reason="only root gives away files, and the kernel has to mind links to them")
def test_a_copy_where_no_link_may_be_made(suite):
    """A file of somebody else, which may be read: its bytes are copied, and nothing is left in tmp/."""
    user = suite.new_user("foreign")
    imap, say = raw(suite, user)
    with imap:
        maildir = suite.maildir(user)
        file = maildir / "cur" / "1700000000.M1P1.h:2,S"
        file.write_bytes(b"Subject: not mine\r\n\r\nbody\r\n")
        os.chown(file, 1, 1)
        file.chmod(0o644)
        say("SELECT INBOX")
        say("COPY 1 Sent")
        copy, = (maildir / ".Sent" / "cur").iterdir()
        assert copy.read_bytes() == file.read_bytes() and copy.stat().st_uid != 1 and copy.stat().st_nlink == 1
        # What else is written there (a list, a size) passes.
        valija.wait_until(lambda: not list((maildir / "tmp").iterdir()), what="an empty tmp/")


def test_what_another_program_subscribed_in_another_form(suite):
    """Its folder is gone: the name is taken off the list as it stands there, and so is its form in NFC."""
    user = suite.new_user("nfc")
    imap, say = raw(suite, user)
    with imap:
        (suite.maildir(user) / "subscriptions").write_text("cafe&AwE-\ncaf&AOk-\nSent\n")
        assert len(say('LSUB "" c*')) == 2
        say("UNSUBSCRIBE cafe&AwE-")
        assert say('LSUB "" *') == ['* LSUB () "/" Sent']


def test_multiappend_of_more_messages_than_files_may_be_open(suite):
    user = suite.new_user("many")
    imap, _ = raw(suite, user)
    with imap:
        count = 900
        messages = [f"Subject: {n}\r\n\r\nbody of {n}\r\n".encode() for n in range(count)]
        tag = imap._new_tag()
        said = b" APPEND Sent" + b"".join(b" {%d+}\r\n%s" % (len(m), m) for m in messages) + b"\r\n"
        imap.send(tag + said)
        line = imap.readline()
        while not line.startswith(tag):
            line = imap.readline()
        assert b"OK [APPENDUID" in line and b" 1:%d]" % count in line
        imap.select("Sent")
        done, said = imap.fetch("1:*", "(BODY.PEEK[])")
        assert [part[1] for part in said if isinstance(part, tuple)] == messages
    maildir = suite.maildir(user)
    assert len(list((maildir / ".Sent/cur").iterdir())) == count
    assert not list((maildir / "tmp").iterdir())


@pytest.mark.skipif(test_takeover.DOVECOT is None, reason="there is no Dovecot here")
def test_the_way_back_to_dovecot():
    """A tree of Dovecot's, served here for a while: back there, UIDVALIDITY, UIDs, flags, keywords and dates are those
    that our clients know."""
    with valija.Instance(as_user="nobody" if os.geteuid() == 0 else None,
                         settings={"imap_linger_seconds": "0"}) as suite:
        address = suite.new_user("ana")
        maildir = suite.maildir(address)
        shutil.rmtree(maildir)
        maildir.mkdir(mode=0o700)
        parent = maildir.parent.stat()
        os.chown(maildir, parent.st_uid, parent.st_gid)
        flags = [b"\\Seen", b"\\Flagged $Junk", b"", b"\\Answered Project \\Seen", b"\\Draft"]
        commands = b"".join(test_takeover.append(b"INBOX", flags[n % 5], b"%02d" % (n + 1), n) for n in range(15))
        test_takeover.dovecot(suite, maildir, commands + test_takeover.command_lines(
            b"SELECT INBOX", b"STORE 3,9 +FLAGS (\\Deleted)", b"EXPUNGE", b"LOGOUT"))

        def there():
            answer = test_takeover.dovecot(suite, maildir, test_takeover.command_lines(
                b"EXAMINE INBOX", b"FETCH 1:* (UID FLAGS INTERNALDATE)", b"LOGOUT"))
            return test_takeover.numbers(answer), test_takeover.fetched(answer.splitlines())

        def here(*commands):
            imap, say = raw(suite, address)
            with imap:
                said = say("SELECT INBOX")
                for command in commands:
                    say(command)
                fetched = test_takeover.fetched(say("FETCH 1:* (UID FLAGS INTERNALDATE)"))
            # What the flags are follows into the names of the files before the process leaves.
            valija.wait_until(lambda: not suite.processes("imap"), what="the end of imap")
            return test_takeover.numbers("\n".join(said)), fetched

        before = there()
        assert len(before[1]) == 13
        assert here() == before
        assert there() == before
        validity, after = here("STORE 1:5 +FLAGS (\\Flagged)", "STORE 2 -FLAGS (\\Seen)", "UID STORE 15 +FLAGS (\\Deleted)",
                               "EXPUNGE", "STORE 4 FLAGS (\\Answered)")
        assert validity == before[0] and len(after) == 12 and after != before[1]
        assert there() == (before[0], after)
        assert here() == (before[0], after)


def seconds(work):
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


@pytest.mark.long
def processor(suite, user):
    """Seconds of the processor that the user's process has used: a disk that others use, too, does not count."""
    pid, = (p["pid"] for p in suite.processes("imap") if p.get("user") == user)
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_ten_thousand_mailboxes(own_suite):
    """CREATE and DELETE cost the same at the end as at the beginning, and login does not slow."""
    user, other = own_suite.new_user("folders"), own_suite.new_user("few")

    def pieces_of(verb):
        marks = [processor(own_suite, user)]
        for first in range(0, 10000, 1000):
            for n in range(first, first + 1000):
                say(f'{verb} "work/f{n}"')
            marks.append(processor(own_suite, user))
        return [after - before for before, after in zip(marks, marks[1:])]

    imap, say = raw(own_suite, user)
    with imap:
        pieces = pieces_of("CREATE")
        assert max(pieces[7:]) < 3 * max(min(pieces[:3]), 0.05), pieces
        assert sum(1 for line in say('LIST "" *') if "work/f" in line) == 10000

    def login(name):
        session = own_suite.imap(user=name)
        session.logout()

    times = {name: sorted(seconds(lambda name=name: login(name)) for _ in range(9))[4] for name in (user, other)}
    assert times[user] < 3 * times[other] + 0.05, times
    imap, say = raw(own_suite, user)
    with imap:
        pieces = pieces_of("DELETE")
        assert max(pieces[:3]) < 3 * max(min(pieces[7:]), 0.05), pieces
        assert not [line for line in say('LIST "" *') if "work/f" in line]


@pytest.mark.long
def test_a_million_messages(own_suite):
    """SELECT, a search, flags, new mail: usable, and at the second opening without reading the directory."""
    user = own_suite.new_user("million")
    maildir, count = own_suite.maildir(user), 1000000
    with own_suite.imap(user=user):
        pass
    owner = maildir.stat()
    sources = []
    for n in range(25):     # a file has so many names at most
        source = maildir.parent / f"source{n}"
        source.write_bytes(f"Subject: {n}\r\n\r\nx\r\n".encode())
        os.chown(source, owner.st_uid, owner.st_gid)
        sources.append(source)
    size = sources[0].stat().st_size
    for n in range(count):
        os.link(sources[n % 25], maildir / "cur" / f"{1500000000 + n}.M1P1.host,S={size},W={size}:2,{'S' if n % 2 else ''}")
    for again in range(2):
        imap, say = raw(own_suite, user)
        with imap:
            took = seconds(lambda: say("SELECT INBOX"))
            assert took < (60, 10)[again], took
            uids = say("UID SEARCH RETURN (MIN MAX COUNT) SEEN")
            assert re.search(rf"COUNT {count // 2}\b", uids[0]), uids
            assert seconds(lambda: say("STORE 1:* +FLAGS.SILENT (\\Answered)" if again == 0 else "NOOP")) < 30
            assert say(f"FETCH {count // 2} (FLAGS UID)")[0].count("\\Answered") == 1
            own_suite.receive("a@elsewhere.example", [user], b"Subject: one more\r\n\r\nx\r\n")
            valija.wait_until(lambda: any(f"{count + again + 1} EXISTS" in line for line in say("NOOP")), 30, "EXISTS")
        valija.wait_until(lambda: not own_suite.processes("imap"), 120, "the end of imap")


def base_subject(text):
    """Of the plain ones below, as they are compared."""
    return re.sub(r"^(re: *)+", "", text, flags=re.I).upper().encode()


def test_sort_by_subject_again_and_again(suite):
    """The order that a SORT of many messages leaves on disk is the one that the next finds: when messages came and went, when
    the file was damaged, and in THREAD=ORDEREDSUBJECT, which does not read it."""
    user = suite.new_user("sorted")
    maildir = suite.maildir(user)
    imap, say = raw(suite, user)      # makes the Maildir, with its owner
    subjects = {}

    def deliver(uid):
        subjects[uid] = f"{'Re: ' if uid % 3 else ''}{'aB'[uid % 2]} subject {uid * 7919 % 701}"
        (maildir / "new" / f"{1700000000 + uid}.M1P1.host").write_text(f"Subject: {subjects[uid]}\r\n\r\n")

    def check():
        wanted = sorted(subjects, key=lambda uid: (base_subject(subjects[uid]), uid))
        uids = [f"* SORT {' '.join(map(str, wanted))}"]
        assert say("UID SORT (SUBJECT) UTF-8 ALL") == uids
        some = [uid for uid in wanted if uid <= 300]
        assert say("UID SORT (SUBJECT) UTF-8 UID 1:300") == [f"* SORT {' '.join(map(str, some))}"]
        backwards = sorted(subjects, key=lambda uid: [255 - c for c in base_subject(subjects[uid])] + [256, uid])
        assert say("UID SORT (REVERSE SUBJECT) UTF-8 ALL") == [f"* SORT {' '.join(map(str, backwards))}"]
        threads = re.findall(r"\(((?:[^()]|\([^()]*\))*)\)", say("UID THREAD ORDEREDSUBJECT UTF-8 ALL")[0])
        together = {frozenset(map(int, re.findall(r"\d+", thread))) for thread in threads}
        same = {}
        for uid, subject in subjects.items():
            same.setdefault(base_subject(subject), set()).add(uid)
        assert together == set(map(frozenset, same.values()))

    with imap:
        for uid in range(1, 1101):
            deliver(uid)
        say("SELECT INBOX")
        check()
        kept, = maildir.glob("valija/*/order-subject")
        before = kept.read_bytes()
        check()
        for uid in (1101, 1102):
            deliver(uid)
        say("NOOP")
        check()
        assert kept.read_bytes() == before       # not for so few
        for uid in range(1103, 1120):
            deliver(uid)
        say("NOOP")
        say("UID STORE 40:60,1101,1104 +FLAGS.SILENT (\\Deleted)")
        say("EXPUNGE")
        for uid in [*range(40, 61), 1101, 1104]:
            subjects.pop(uid)
        check()
        assert kept.read_bytes() != before
    kept.write_bytes(kept.read_bytes()[:500] + b"damage" + kept.read_bytes()[506:])
    imap, say = raw(suite, user)
    with imap:
        say("SELECT INBOX")
        check()


def test_a_client_that_asks_for_capabilities_only_before_login(suite):
    """Python's imaplib does: what it looks for there must stand there."""
    with suite.imap(suite.new_user("early")) as imap:
        assert {"ENABLE", "IDLE"} <= set(imap.capabilities)
        assert imap.enable("UTF8=ACCEPT")[0] == "OK"
