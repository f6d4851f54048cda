"""COPY and MOVE between mailboxes of different users (RFC 9051 6.4.7, RFC 6851, RFC 4314): from another's to one's own, from
one's own to another's, and between two others; all or nothing, whoever dies."""

import contextlib
import os
import re
import signal
import time

import pytest

import valija
from test_imap_shared import Session, kill

WAYS = (("ana", "own"), ("own", "ana"), ("ana", "carol"))
DATE = '"17-Jul-1996 02:44:25 +0000"'


class Place:
    """A folder, the session of its owner, and how Bob calls it."""

    def __init__(self, suite, user, folder, bob):
        self.suite, self.user, self.folder, self.bob = suite, user, folder, bob
        self.name = folder if user == bob else f"user/{user}/{folder}"
        with self.owner() as owner:
            owner.ok(f"CREATE {folder}")
        self.allow("lrswite")

    def owner(self):
        return Session(self.suite, self.user)

    def allow(self, rights):
        if self.user != self.bob:
            with self.owner() as owner:
                owner.ok(f"SETACL {self.folder} {self.bob} {rights}")

    def fill(self, texts, flags="\\Seen \\Flagged mine"):
        with self.owner() as owner:
            command = f"APPEND {self.folder}".encode()
            for text in texts:
                command += f' ({flags}) {DATE} {{{len(text)}+}}\r\n'.encode() + text
            owner.ok(command)

    def messages(self):
        """UID to (flags, date, octets), as the owner sees them."""
        with self.owner() as owner:
            owner.ok(f"EXAMINE {self.folder}")
            lines, answer = owner.say("UID FETCH 1:* (FLAGS INTERNALDATE BODY.PEEK[])")
            assert answer.startswith("OK")
        found, rest = {}, "\r\n".join(lines)
        for uid, flags, date, text in re.findall(
                r'\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\) INTERNALDATE ("[^"]*") BODY\[\] \{\d+\}\r\n(.*?)\)(?=\r\n\* \d|$)', rest, re.DOTALL):
            found[int(uid)] = (frozenset(flags.split()) - {"\\Recent"}, date, text)
        assert len(found) == sum(line.startswith("* ") and " FETCH (UID" in line for line in lines)
        return found

    def count(self):
        with self.owner() as owner:
            return int(re.search(r"MESSAGES (\d+)", owner.ok(f"STATUS {self.folder} (MESSAGES)")[0])[1])

    def files(self):
        """What lies in tmp/, and names in cur/."""
        box = self.suite.maildir(self.user)
        return len(list((box / "tmp").iterdir())), len(list((box / f".{self.folder}" / "cur").iterdir()))


@pytest.fixture
def place(suite):
    bob = suite.new_user("bob")
    users = {"own": bob, "ana": suite.new_user("ana"), "carol": suite.new_user("carol")}

    def make(who, folder):
        return Place(suite, users[who], folder, bob)

    make.bob = bob
    with Session(suite, bob) as make.member:
        yield make


def text(n, size=0):
    return f"Subject: {n}\r\n\r\n".encode() + b"(body) * 1 FETCH (UID 1 BODY[] {3}\r\n" + b"x" * size + b"\r\n"


def uids(code):
    return [n for part in code.split(",") for a, _, b in (part.partition(":"),) for n in range(int(a), int(b or a) + 1)]


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_copy_keeps_what_a_message_is(place, way):
    source, target = place(way[0], "From"), place(way[1], "To")
    source.fill([text(n, n * 40_000) for n in range(1, 6)])
    source.fill([text(6)], "")
    here = source.messages()
    member = place.member
    member.ok(f"SELECT {source.name}")
    lines, answer = member.say(f"COPY 2:4,6 {target.name}")
    validity, old, new = re.match(r"OK \[COPYUID (\d+) (\S+) (\S+)\]", answer).groups()
    there = target.messages()
    assert uids(old) == [2, 3, 4, 6] and uids(new) == sorted(there)
    assert [there[b] for b in uids(new)] == [here[a] for a in uids(old)]
    with target.owner() as owner:
        assert f"UIDVALIDITY {validity}" in owner.ok(f"STATUS {target.folder} (UIDVALIDITY)")[0]
    assert source.messages() == here
    # A literal as the name, "$", UIDs of which some are no more, none at all; then the numbers are as they were.
    assert member.say(f"UID COPY 1,3,9:20 {{{len(target.name)}}}", target.name.encode())[1].startswith("OK [COPYUID")
    member.ok("SEARCH RETURN (SAVE) SUBJECT 5")
    member.ok(f"COPY $ {target.name}")
    assert member.ok(f"UID COPY 77 {target.name}") == []
    assert [t[2].split("\r\n")[0] for t in target.messages().values()] == [f"Subject: {n}" for n in (2, 3, 4, 6, 1, 3, 5)]
    for bad in ("XREMOVE 1", "XREMOVE", "COPY 7", f"COPY 9 {target.name}", f"COPY 1 {target.name} x", f"COPY 1:x {target.name}", f"COPY 1  {target.name}", "COPY"):
        assert member.say(bad)[1].startswith("BAD"), bad
    member.no(f"COPY 1 {target.name}/none")
    assert re.match(r"\* 6 FETCH \(UID 6", member.ok("FETCH 6 UID")[0])
    assert target.count() == 7 and source.files()[0] == target.files()[0] == 0


@pytest.mark.parametrize(("way", "enabled"), [*((way, "") for way in WAYS), (WAYS[0], "QRESYNC"), (WAYS[1], "QRESYNC"), (WAYS[0], "UIDONLY")],
                         ids=lambda x: x if isinstance(x, str) else "-".join(x))
def test_move_takes_away_what_it_copied(place, way, enabled):
    source, target = place(way[0], "From"), place(way[1], "To")
    source.fill([text(n) for n in range(1, 6)], "\\Deleted")
    member = place.member
    if enabled:
        member.ok(f"ENABLE {enabled}")
    member.ok(f"SELECT {source.name}")
    with source.owner() as owner:
        owner.ok(f"SELECT {source.folder}")
        lines, answer = member.say(f"UID MOVE 2,4:5 {target.name}")
        assert re.match(r"\* OK \[COPYUID \d+ 2,4:5 1:3\]", lines[0]), lines
        left = [1, 2, 3, 4, 5]
        for number in re.findall(r"\* (\d+) EXPUNGE", "\n".join(lines[1:])):
            del left[int(number) - 1]
        assert "* VANISHED 2,4:5" in lines[1:] if enabled else left == [1, 3], lines
        assert answer.startswith("OK [HIGHESTMODSEQ " if enabled == "QRESYNC" else "OK "), answer
        assert sum("EXPUNGE" in line for line in owner.ok("NOOP")) == 3
    # What is marked \\Deleted and was not moved is there.
    assert sorted(source.messages()) == [1, 3] and target.count() == 3
    assert source.files()[0] == target.files()[0] == 0
    assert re.match(r"\* (2|3) (UID)?FETCH", member.ok("UID FETCH 3 (UID)")[0])


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_each_right_that_is_missing(place, way):
    """RFC 4314 section 4: "r" and, for MOVE, "t" and "e" at the source; "i" at the target, whose other rights say which flags
    come along."""
    source, target = place(way[0], "From"), place(way[1], "To")
    source.fill([text(1), text(2)], "\\Seen \\Flagged \\Deleted mine")
    member = place.member
    if way[0] != "own":
        for rights in ("lrie", "lrit"):
            source.allow(rights)
            member.ok(f"SELECT {source.name}")
            member.no(f"MOVE 1 {target.name}", "NOPERM")
        source.allow("lr")
        member.ok(f"SELECT {source.name}")
        assert member.say(f"MOVE 1 {target.name}")[1].startswith("NO [")
        source.allow("lrswite")
    member.ok(f"EXAMINE {source.name}")
    member.no(f"MOVE 1 {target.name}", "READ-ONLY")
    member.ok(f"SELECT {source.name}")
    assert target.count() == 0 and source.count() == 2
    if way[1] != "own":
        target.allow("lrswte")
        member.no(f"COPY 1 {target.name}", "NOPERM")
        member.no(f"MOVE 1 {target.name}", "NOPERM")
        target.allow("r")
        member.no(f"COPY 1 {target.name}", "NONEXISTENT")
        for rights, kept in (("lri", set()), ("lris", {"\\Seen"}), ("lrit", {"\\Deleted"}), ("lriw", {"\\Flagged", "mine"})):
            target.allow(rights)
            member.ok(f"COPY 2 {target.name}")
            newest = max(target.messages().items())[1]
            assert newest[0] == kept, rights
        # RFC 4315 section 3: no UIDs for who may not look.
        target.allow("li")
        lines, answer = member.say(f"MOVE 2 {target.name}")
        assert answer.startswith("OK ") and not [line for line in [*lines, answer] if "UID" in line], (lines, answer)
        assert source.count() == 1 and target.count() == 5
    if way[0] != "own":
        source.allow("lswite")
        member.imap.send(b"x COPY 1 " + target.name.encode() + b"\r\n")
        assert b"BYE" in member.imap.readline()


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_the_quota_of_the_targets_owner(place, way, suite):
    source, target = place(way[0], "From"), place(way[1], "To")
    source.fill([text(n, 30_000) for n in range(4)])
    suite.valija("user", "quota", target.user, "100K")
    member = place.member
    member.ok(f"SELECT {source.name}")
    member.no(f"COPY 1:* {target.name}", "OVERQUOTA")
    member.no(f"MOVE 1:* {target.name}", "OVERQUOTA")
    assert target.count() == 0 and source.count() == 4 and target.files() == (0, 0)
    assert len(member.ok("FETCH 1:4 UID")) == 4
    member.ok(f"MOVE 1:3 {target.name}")
    member.no(f"MOVE 1 {target.name}", "OVERQUOTA")
    with target.owner() as owner:
        assert "(STORAGE 89 100)" in owner.ok("GETQUOTAROOT INBOX")[1]


@pytest.mark.parametrize("way", [*WAYS[:2], pytest.param(WAYS[2], marks=pytest.mark.long)], ids="-".join)
def test_a_thousand_messages(place, way):
    source, target = place(way[0], "From"), place(way[1], "To")
    source.fill([text(n, 100) for n in range(1000)], "")
    member = place.member
    member.ok(f"SELECT {source.name}")
    every_other = ",".join(str(n) for n in range(1, 1001, 2))
    answer = member.say(f"COPY {every_other} {target.name}")[1]
    old, new = re.match(r"OK \[COPYUID \d+ (\S+) (\S+)\]", answer).groups()
    assert uids(old) == list(range(1, 1001, 2)) and uids(new) == list(range(1, 501))
    lines, answer = member.say(f"UID MOVE {every_other} {target.name}")
    assert answer.startswith("OK") and sum(line.endswith("EXPUNGE") for line in lines) == 500
    member.ok(f"MOVE 1:* {target.name}")
    assert source.count() == 0 and target.count() == 1500
    subjects = [m[2].split("\r\n")[0] for m in target.messages().values()]
    assert sorted(subjects) == sorted([f"Subject: {n}" for n in range(1000)] + [f"Subject: {n}" for n in range(0, 1000, 2)])


def test_news_come_between(place):
    """While a command copies, others change the source: the numbers of the session stay true."""
    source, target = place("ana", "From"), place("own", "To")
    source.fill([text(n) for n in range(5)], "")
    member = place.member
    member.ok(f"SELECT {source.name}")
    with source.owner() as owner:
        owner.ok(f"SELECT {source.folder}")
        owner.ok("STORE 1,2 +FLAGS (\\Deleted)")
        owner.ok("STORE 4 +FLAGS (\\Answered)")
        owner.ok("EXPUNGE")
        owner.ok(f"APPEND {source.folder} {{3+}}\r\na: ")
        lines, answer = member.say(f"UID COPY 1:5 {target.name}")
        assert re.match(r"OK \[COPYUID \d+ 3:5 1:3\]", answer), answer
        assert sum("EXPUNGE" in line for line in lines) == 2 and "* 4 EXISTS" in lines
        assert any("FETCH" in line and "\\Answered" in line for line in lines), lines
        assert not any("BODY" in line or "SIZE" in line for line in lines)
        owner.ok("STORE 1 +FLAGS (\\Deleted)")
        owner.ok("EXPUNGE")
        member.no(f"COPY 1:2 {target.name}", "EXPUNGEISSUED")
        # A number is that of the message which had it when the client spoke.
        member.ok("NOOP")
        assert member.ok("UID SEARCH ALL") == ["* SEARCH 4 5 6"]
        owner.ok("STORE 1 +FLAGS (\\Deleted)")
        owner.ok("EXPUNGE")
        lines = member.ok(f"MOVE 2 {target.name}")
        assert any(re.match(r"\* OK \[COPYUID \d+ 5 4\]", line) for line in lines), lines
        assert sorted(source.messages()) == [6]
    assert target.count() == 4


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_what_was_saved_and_is_no_more(place, way):
    """RFC 5182 2.1: "$" stands for UIDs, whatever the command: who is gone is passed over."""
    source, target = place(way[0], "From"), place(way[1], "To")
    source.fill([text(n) for n in range(1, 4)], "")
    member = place.member
    member.ok(f"SELECT {source.name}")
    member.ok("SEARCH RETURN (SAVE) ALL")
    with source.owner() as owner:
        owner.ok(f"SELECT {source.folder}")
        owner.ok("STORE 2 +FLAGS (\\Deleted)")
        owner.ok("EXPUNGE")
        assert re.match(r"OK \[COPYUID \d+ 1,3 1:2\]", member.say(f"COPY $ {target.name}")[1])
    member.ok(f"MOVE $ {target.name}")
    assert target.count() == 4 and source.count() == 0


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_as_many_keywords_as_there_may_be(place, way):
    source, target = place(way[0], "From"), place(way[1], "To")
    source.fill([text(1), text(2)], "")
    keywords = [f"k{n}" for n in range(256)]
    with source.owner() as owner:
        owner.ok(f"SELECT {source.folder}")
        for some in (keywords[:3], keywords[3:]):
            owner.ok(f"STORE 1 +FLAGS.SILENT ({' '.join(some)})")
        owner.ok(f"STORE 2 +FLAGS.SILENT ({' '.join(keywords[:9])})")
    place.member.ok(f"SELECT {source.name}")
    place.member.ok(f"COPY 1:2 {target.name}")
    assert [m[0] for m in target.messages().values()] == [set(keywords), set(keywords[:9])]


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_an_empty_message(place, way, suite):
    """A file of no byte, which another program left, is a message like others, but that no client can append one."""
    source, target = place(way[0], "From"), place(way[1], "To")
    source.fill([text(1)])
    box = suite.maildir(source.user) / ".From"
    (box / "new" / "1.M1P1.elsewhere").touch()
    os.chown(box / "new" / "1.M1P1.elsewhere", box.stat().st_uid, box.stat().st_gid)
    member = place.member
    member.ok(f"SELECT {source.name}")
    member.ok(f"COPY 1:2 {target.name}")
    assert [m[2] for m in target.messages().values()] == [text(1).decode(), ""]
    assert re.match(r"\* OK \[COPYUID \d+ 2 3\]", member.ok(f"MOVE 2 {target.name}")[0])
    assert sorted(source.messages()) == [1] and target.count() == 3
    for verb in ("APPEND", "XAPPEND"):
        assert re.match("NO \\[CANNOT\\]|BAD", member.say(f"{verb} {target.name} {{0+}}\r\n")[1])


def stop(suite, user):
    """SIGSTOP to the process of a user, which is then said to be held."""
    pid, = valija.wait_until(lambda: [p["pid"] for p in suite.processes("imap") if p.get("user") == user], 10, "the process")
    os.kill(pid, signal.SIGSTOP)
    return pid


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS[:2], ids="-".join)
def test_a_process_that_stands_still(place, way, suite):
    """It is waited for, holds up no other session of the member, and who waits hears how far it is (RFC 9585)."""
    source, target = place(way[0], "From"), place(way[1], "To")
    source.fill([text(n) for n in range(300)], "")
    member = place.member
    member.ok(f"SELECT {source.name}")
    held = stop(suite, next(place_.user for place_ in (source, target) if place_.user != place.bob))
    try:
        member.imap.send(f"x COPY 1:* {target.name}\r\n".encode())
        with Session(suite, place.bob) as other:
            other.ok("SELECT INBOX")
            other.ok("NOOP")
        time.sleep(11)
    finally:
        os.kill(held, signal.SIGCONT)
    line = member.imap.readline()
    assert re.match(rb'\* OK \[INPROGRESS \("x" \d+ 300\)\]', line), line
    while not line.startswith(b"x "):
        line = member.imap.readline()
    assert line.startswith(b"x OK [COPYUID") and target.count() == 300, line


@pytest.mark.parametrize("way", WAYS, ids="-".join)
@pytest.mark.parametrize("dies", ("source", "target", "member"))
@pytest.mark.parametrize("verb", (pytest.param("COPY", marks=pytest.mark.long), "MOVE"))
def test_a_process_dies_in_the_midst(place, way, dies, verb, suite):
    """While a large message is on its way: nothing is at the target, all is at the source, and the answer says so; a target
    that dies before it was told anything is waited for. The other process stands still meanwhile, where there is one."""
    source, target = place(way[0], "From"), place(way[1], "To")
    source.fill([text(1), text(2, 10_000_000), text(3)], "")
    member = place.member
    member.ok(f"SELECT {source.name}")
    victim = {"source": source.user, "target": target.user, "member": place.bob}[dies]
    runs = dies == "target" and victim != place.bob
    held = None if runs else stop(suite, next(user for user in (target.user, source.user) if user != place.bob))
    try:
        member.imap.send(f"x {verb} 1:3 {target.name}\r\n".encode())
        if runs:
            time.sleep(0.02)
        kill(suite, victim)
    finally:
        with contextlib.suppress(ProcessLookupError):
            if held is not None:
                os.kill(held, signal.SIGCONT)
    answer = member.imap.readline()
    if victim == place.bob:
        assert answer == b"", answer
    elif dies == "source":
        assert answer.startswith(b"* BYE [UNAVAILABLE]") and b"nothing was copied" in answer, answer
    elif b"OK" in answer:
        if verb == "MOVE":
            while not answer.startswith(b"x OK"):
                answer = member.imap.readline()
        assert (source.count(), target.count()) == (3 if verb == "COPY" else 0, 3)
        return
    else:
        assert answer.startswith(b"x NO [UNAVAILABLE]"), answer
        assert b"may have been" in answer or target.count() == 0
        assert source.count() == 3
        return
    assert (source.count(), target.count()) == (3, 0)


def over(suite, word, user):
    """How many sessions of a user, or guests of his, have ended."""
    return len(re.findall(rf": {word} .*\buser={user}\b", suite.log()))


def leave(suite, member):
    """The client goes without a word; returns when its session is over."""
    before = over(suite, "logout", member.user)
    member.imap.shutdown()
    valija.wait_until(lambda: over(suite, "logout", member.user) > before, 10, "the end of the session")


@pytest.mark.parametrize("way", WAYS, ids="-".join)
@pytest.mark.parametrize("verb", (pytest.param("COPY", marks=pytest.mark.long), "MOVE"))
def test_the_client_leaves_in_the_midst(place, way, verb, suite):
    """While a large message is on its way; it stands still there until the session is over. Nothing came of it, nothing of it is left
    anywhere, and all processes go on."""
    source, target = place(way[0], "From"), place(way[1], "To")
    source.fill([text(1), text(2, 10_000_000), text(3)], "")
    member = place.member
    member.ok(f"SELECT {source.name}")
    with target.owner() as owner:
        owner.ok("NOOP")
    others = {source.user, target.user} - {place.bob}
    before = {p["pid"] for p in suite.processes("imap") if p.get("user") in {*others, place.bob}}
    guests = {user: over(suite, "guest-left", user) for user in others}
    held = stop(suite, target.user if target.user != place.bob else source.user)
    try:
        member.imap.send(f"x {verb} 1:3 {target.name}\r\n".encode())
        with Session(suite, place.bob) as other:      # the process that reads both has read the first meanwhile
            other.ok("NOOP")
            leave(suite, member)
    finally:
        os.kill(held, signal.SIGCONT)
    for user, count in guests.items():
        valija.wait_until(lambda u=user, n=count: over(suite, "guest-left", u) > n, 10, "the end of the guest")
    assert (source.count(), target.count()) == (3, 0)
    assert source.files() == (0, 3) and target.files() == (0, 0)
    assert before <= {p["pid"] for p in suite.processes("imap")} and len(before) == len(others) + 1


@pytest.mark.parametrize("way", (("own", "own"), WAYS[0], *(pytest.param(way, marks=pytest.mark.long) for way in WAYS[1:])), ids="-".join)
def test_the_client_leaves_when_all_is_copied(place, way, suite):
    """MOVE, as soon as the target's owner sees the messages: then they go at the source, though nobody waits for the answer; those that
    were not meant stay."""
    source, target = place(way[0], "From"), place(way[1], "To")
    source.fill([text(n) for n in range(1200)], "")
    member = place.member
    member.ok(f"SELECT {source.name}")
    every_other = ",".join(str(n) for n in range(1, 1201, 2))
    with target.owner() as owner:
        owner.ok(f"SELECT {target.folder}")
        owner.imap.send(b"i IDLE\r\n")
        assert owner.imap.readline().startswith(b"+")
        member.imap.send(f"x MOVE {every_other} {target.name}\r\n".encode())
        assert owner.imap.readline() == b"* 600 EXISTS\r\n"
        leave(suite, member)
    assert (source.count(), target.count()) == (600, 600)
    assert sorted(source.messages()) == list(range(2, 1201, 2))
    assert source.files()[0] == target.files()[0] == 0


@pytest.mark.long
def test_the_client_leaves_and_the_source_stands_still(place, suite):
    """All is copied, and the source's owner stands still: after a minute the MOVE is given up; what is not taken away by then is at both."""
    source, target = place("ana", "From"), place("own", "To")
    source.fill([text(n) for n in range(1200)], "")
    member = place.member
    member.ok(f"SELECT {source.name}")
    with target.owner() as owner:
        owner.ok(f"SELECT {target.folder}")
        owner.imap.send(b"i IDLE\r\n")
        assert owner.imap.readline().startswith(b"+")
        member.imap.send(f"x MOVE 1:* {target.name}\r\n".encode())
        assert owner.imap.readline() == b"* 1200 EXISTS\r\n"
        held = stop(suite, source.user)
        try:
            before = over(suite, "logout", member.user)
            member.imap.shutdown()
            gone = valija.wait_until(lambda: over(suite, "logout", member.user) > before, 90, "the end of the session")
        finally:
            os.kill(held, signal.SIGCONT)
    assert gone and target.count() == 1200
    assert source.count() == 0 or " not-ended " in suite.log()


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS, ids="-".join)
@pytest.mark.parametrize("dies", ("source", "target", "member"))
def test_moves_and_deaths_at_any_moment(place, way, dies, suite):
    """Whenever a process dies, each message is at the source, at the target, or at both; and at the target are all or none."""
    source, target = place(way[0], "From"), place(way[1], "To")
    victim = {"source": source.user, "target": target.user, "member": place.bob}[dies]
    before = 0
    for round_ in range(12):
        with source.owner() as owner:
            owner.ok(f"SELECT {source.folder}")
            owner.ok("UID STORE 1:* +FLAGS.SILENT (\\Deleted)")
            owner.ok("EXPUNGE")
        source.fill([text(f"{round_}-{n}", 2000) for n in range(60)], "")
        with Session(suite, place.bob) as member:
            member.ok(f"SELECT {source.name}")
            member.imap.send(f"x MOVE 1:* {target.name}\r\n".encode())
            time.sleep(round_ * 0.004)
            kill(suite, victim)
            with contextlib.suppress(OSError, member.imap.abort):
                member.imap.readline()
        came = target.count() - before
        assert came in (0, 60), came
        assert came == 60 or source.count() == 60
        before += came


def test_replace_within_a_shared_mailbox(place):
    """RFC 8508, with the rights that APPEND, STORE and EXPUNGE ask for; between users it is refused."""
    source, other = place("ana", "From"), place("own", "To")
    source.fill([text(n) for n in range(1, 4)], "")
    other.fill([text(9)], "")
    member, message = place.member, text(7).decode()
    size = len(message)
    member.ok(f"SELECT {source.name}")
    lines = member.ok(f"REPLACE 2 {source.name} (\\Flagged) {{{size}+}}\r\n{message}")
    assert re.match(r"\* OK \[APPENDUID \d+ 4\]", lines[0]) and "* 2 EXPUNGE" in lines, lines
    lines, answer = member.say(f"UID REPLACE 3 {{{len(source.name)}+}}\r\n{source.name} {{{size}}}", message.encode())
    assert answer.startswith("OK") and "* 2 EXPUNGE" in lines, (lines, answer)
    assert {uid: m[2] for uid, m in source.messages().items()} == {1: text(1).decode(), 4: message, 5: message}
    for command in (f"REPLACE 1 {other.name} {{{size}+}}\r\n{message}", f"UID REPLACE 1 {other.name} {{{size}}}"):
        member.no(command, "CANNOT")
    for bad in ("REPLACE", "REPLACE 1", f"REPLACE 1 {{{size}+}}\r\n{message}", f"REPLACE x {source.name}", "REPLACE {3+}\r\na: "):
        assert re.match("BAD|NO", member.say(bad)[1]), bad
    for rights in ("lrite", "lrwst", "lrwse", "lrwite"):
        source.allow(rights.replace("i", ""))
        member.ok(f"SELECT {source.name}")
        member.no(f"REPLACE 1 {source.name} {{{size}+}}\r\n{message}", "NOPERM")
    for rights in ("lrit", "lrie"):
        source.allow(rights)
        member.no(f"REPLACE 1 {source.name} {{{size}+}}\r\n{message}", "NOPERM")
    member.ok(f"SELECT {other.folder}")
    member.no(f"REPLACE 1 {source.name} {{{size}+}}\r\n{message}", "CANNOT")
    member.ok(f"REPLACE 1 {other.folder} {{{size}+}}\r\n{message}")
    assert source.count() == 3 and other.count() == 1
