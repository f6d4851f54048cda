"""Mailboxes of others (RFC 4314, RFC 2342): a member lists, selects, reads, flags, adds and removes what the owner's rights
allow, in the owner's process, and nothing else; p7, every command with a mailbox argument against somebody else's."""

import contextlib
import os
import re
import signal
import time

import pytest

import imap_grammar
import valija


class Session:
    """A logged-in connection; say() returns the lines before the tagged one, and that without its tag."""

    def __init__(self, suite, user):
        self.imap = suite.imap(user=user, seconds=30)
        self.user = user
        self.heard = b""
        self.imap.readline, self.readline = self.listen, self.imap.readline

    def listen(self):
        line = self.readline()
        self.heard += line
        return line

    def say(self, command, more=None):
        tag = self.imap._new_tag()
        if isinstance(command, str):
            command = command.encode()
        self.imap.send(tag + b" " + command + b"\r\n")
        lines = []
        while True:
            line = self.imap.readline()
            assert line, f"hung up after {lines}"
            if more is not None and line.startswith(b"+"):
                self.imap.send(more + b"\r\n")
            elif line.startswith(tag + b" "):
                return [l.decode("utf-8", "replace").rstrip("\r\n") for l in lines], line[len(tag) + 1:].decode().rstrip("\r\n")
            else:
                lines.append(line)

    def ok(self, command, more=None):
        lines, answer = self.say(command, more)
        assert answer.startswith("OK"), (command, answer, lines)
        return lines

    def no(self, command, code=None):
        lines, answer = self.say(command)
        assert answer.startswith("NO" if code is None else f"NO [{code}]"), (command, answer, lines)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError, self.imap.abort):
            self.imap.logout()
        imap_grammar.check(self.heard)


def kill(suite, user):
    """kill -9 to the process of a user: what follows comes before master has heard of it."""
    pid, = valija.wait_until(lambda: [p["pid"] for p in suite.processes("imap") if p.get("user") == user], 10, "the process")
    os.kill(pid, signal.SIGKILL)


def append(folder, n):
    message = f"Subject: {n}\r\nFrom: x@y.z\r\n\r\nbody"
    return f"APPEND {folder} {{{len(message)}+}}\r\n{message}"


@pytest.fixture
def two(suite):
    """Ana, with a folder Work of two messages that Bob shares, and Bob."""
    ana, bob = suite.new_user("ana"), suite.new_user("bob")
    with Session(suite, ana) as owner:
        owner.ok("CREATE Work")
        owner.ok("CREATE Secret")
        for n in range(2):
            owner.ok(append("Work", n))
        owner.ok(f"SETACL Work {bob} lrswite")
    with Session(suite, bob) as member:
        yield suite, ana, bob, member


def names(lines):
    return [re.search(r'"/" "?([^"]*)"?$', line)[1] for line in lines if line.startswith("* LIST")]


def test_a_member_uses_a_shared_mailbox(two):
    suite, ana, bob, member = two
    work = f"user/{ana}/Work"
    assert work in names(member.ok('LIST "" *')) and f"user/{ana}/Secret" not in names(member.ok('LIST "" *'))
    assert names(member.ok(f'LIST "" user/{ana}/%')) == [work]
    lines = member.ok(f'LIST "" {work} RETURN (SUBSCRIBED MYRIGHTS STATUS (MESSAGES UNSEEN))')
    assert lines[1:] == [f"* MYRIGHTS {work} lrswited", f"* STATUS {work} (MESSAGES 2 UNSEEN 2)"], lines
    assert "\\Subscribed" not in lines[0]
    member.ok(f"SUBSCRIBE {work}")
    assert "\\Subscribed" in member.ok(f'LIST "" {work} RETURN (SUBSCRIBED)')[0]
    assert any(line.endswith(work) for line in member.ok('LSUB "" *'))
    assert work in names(member.ok('LIST (SUBSCRIBED) "" *'))
    member.ok(f"UNSUBSCRIBE {work}")
    assert not any(line.endswith(work) for line in member.ok('LSUB "" *'))
    lines = member.ok(f"SELECT {work}")
    assert "* 2 EXISTS" in lines
    fetched = member.ok("FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    assert sum("Subject: " in line for line in fetched) == 2
    assert member.ok("SEARCH SUBJECT 1") == ["* SEARCH 2"]
    assert member.ok("STORE 1 +FLAGS (\\Seen \\Flagged work)")[-1].startswith("* 1 FETCH (FLAGS (\\Flagged \\Seen")
    # The owner sees it at once, in her own session; what she does is told to the member.
    with Session(suite, ana) as owner:
        owner.ok("SELECT Work")
        assert "\\Flagged" in owner.ok("FETCH 1 (FLAGS)")[0]
        owner.ok(append("Work", 7))
        assert "* 3 EXISTS" in member.ok("NOOP")
        # APPEND into it, with literals that wait and that do not, while it is selected and from elsewhere.
        assert "[APPENDUID" in member.say(f"APPEND {work} (\\Seen) {{17}}", b"Subject: 1\r\n\r\nx\r\n")[1]
        assert "[APPENDUID" in member.say(f"APPEND {work} {{3+}}\r\na:  {{3+}}\r\nb: ")[1]
        assert "* 6 EXISTS" in owner.ok("NOOP")
        # IDLE there.
        tag = member.imap._new_tag()
        member.imap.send(tag + b" IDLE\r\n")
        assert member.imap.readline().startswith(b"+ ")
        owner.ok("STORE 2 +FLAGS (\\Answered)")
        assert member.imap.readline().startswith(b"* 2 FETCH")
        member.imap.send(b"DONE\r\n")
        assert member.imap.readline().startswith(tag + b" OK")
    member.ok("COPY 1 " + work)
    assert f"* STATUS {work} (MESSAGES 7)" in member.ok(f"STATUS {work} (MESSAGES)")
    member.ok("STORE 7 +FLAGS (\\Deleted)")
    assert member.ok("EXPUNGE") == ["* 7 EXPUNGE"]
    # What is one's own is still there.
    assert "* STATUS INBOX (MESSAGES 0)" in member.ok("STATUS INBOX (MESSAGES)")
    member.ok("SELECT INBOX")
    assert member.say("FETCH 1 FLAGS")[1].startswith("BAD")
    member.ok(f"EXAMINE {work}")
    member.no("STORE 1 +FLAGS (\\Seen)", "READ-ONLY")
    member.ok("CLOSE")
    assert member.say("FETCH 1 FLAGS")[1].startswith("BAD")


def test_levels_above_what_is_shared(two):
    """RFC 3501 6.3.8: "%" tells the level that leads to a mailbox, though it may not be seen itself."""
    suite, ana, bob, member = two
    above = f"user/{ana}"
    hidden, seen = (f'* LIST ({a}\\HasChildren) "/" {above}' for a in ("\\Noselect ", ""))

    def told(pattern):      # others may have given rights to anyone
        return [line for line in member.ok(f"LIST \"\" {pattern}") if above in line]

    assert told("user/%") == [hidden]
    assert told("user/*") == [hidden, f'* LIST (\\HasNoChildren) "/" {above}/Work']
    with Session(suite, ana) as owner:
        owner.ok(f"SETACL INBOX {bob} lr")
        assert told("user/%") == [seen]
        assert member.say(f"SELECT {above}")[1] == "OK [READ-ONLY] SELECT completed."
        member.ok("UNSELECT")
        owner.ok(f"SETACL Work {bob} \"\"")
        assert told("user/%") == [seen.replace("HasChildren", "HasNoChildren")]
        owner.ok(f"SETACL INBOX {bob} \"\"")
        assert told("user/*") == []


def test_level_above_all_others(two):
    """RFC 3501 6.3.8: who goes down level by level finds where the mailboxes of others are, and wakes nobody for that."""
    suite, ana, bob, member = two

    def told(command):
        return [line for line in member.ok(command) if re.search(r'" user$', line)]

    kill(suite, ana)
    for pattern in ("%", "u%", "user"):
        assert told(f'LIST "" {pattern}') == ['* LIST (\\Noselect \\HasChildren) "/" user']
    assert ana not in [p.get("user") for p in suite.processes("imap")]
    assert told('LIST "" % RETURN (STATUS (MESSAGES))') == ['* LIST (\\NonExistent \\HasChildren) "/" user']
    assert told('LIST "" *') == told('LIST "" user/%') == told('LIST (SUBSCRIBED) "" %') == []
    member.ok("CREATE user")
    assert told('LIST "" %') == ['* LIST (\\HasNoChildren) "/" user']
    member.ok("DELETE user")


def test_levels_above_what_is_subscribed(two):
    """RFC 3501 6.3.9, RFC 5258 3.5: LSUB with "%", and RECURSIVEMATCH, tell each level above it, once."""
    suite, ana, bob, member = two
    with Session(suite, ana) as owner:
        owner.ok("CREATE More")
        owner.ok(f"SETACL More {bob} lr")
    for name in ("Work", "More"):
        member.ok(f"SUBSCRIBE user/{ana}/{name}")
    quoted = f"user/{ana}"

    def told(command):
        return [line for line in member.ok(command) if "user" in line]

    assert told('LSUB "" %') == ['* LSUB (\\Noselect) "/" user']
    assert told('LSUB "" user/%') == [f'* LSUB (\\Noselect) "/" {quoted}']
    assert told('LSUB "" *') == [f'* LSUB () "/" {quoted}/{name}' for name in ("Work", "More")]
    above = '* LIST (\\NonExistent \\HasChildren) "/" {} ("CHILDINFO" ("SUBSCRIBED"))'
    assert told('LIST (SUBSCRIBED RECURSIVEMATCH) "" %') == [above.format("user")]
    assert told('LIST (SUBSCRIBED RECURSIVEMATCH) "" user/%') == [above.format(quoted)]
    assert told('LIST (SUBSCRIBED RECURSIVEMATCH) "" (user user/*/More)')[0] == above.format("user")
    assert len(told('LIST (SUBSCRIBED RECURSIVEMATCH) "" *')) == len(told('LIST (SUBSCRIBED) "" %/%/%')) == 2
    member.ok(f"SUBSCRIBE user/{ana}")
    assert told('LSUB "" user/%') == [f'* LSUB () "/" {quoted}']


def test_esearch_of_the_selected_mailbox(two):
    """RFC 7377: another user's mailbox that is selected is searched by its owner's process, alone."""
    suite, ana, bob, member = two
    work = f"user/{ana}/Work"
    validity = re.search(r"UIDVALIDITY (\d+)", member.ok(f"STATUS {work} (UIDVALIDITY)")[0])[1]
    member.ok(f"SELECT {work}")
    found = f'(TAG "{{}}" MAILBOX {work} UIDVALIDITY {validity}) UID'
    for command, result in (("ALL", " ALL 1:2"), ("IN (selected) ALL", " ALL 1:2"), ("IN (Selected) RETURN (MIN COUNT) 2", " MIN 2 COUNT 1"),
                            ("IN (selected) RETURN (SAVE) SUBJECT 1", None), ("RETURN (COUNT) $", " COUNT 1")):
        lines = member.ok("ESEARCH " + command)
        wanted = [f"* ESEARCH {found}{result}"] if result else []
        assert [re.sub(r'TAG "[^"]*"', 'TAG "{}"', line) for line in lines] == wanted, (command, lines)
    for sources in ("selected personal", "personal selected", f"selected mailboxes {work}"):
        member.no(f"ESEARCH IN ({sources}) ALL", "CANNOT")
    assert member.ok("ESEARCH IN (mailboxes INBOX) ALL") == []
    assert member.ok(f"ESEARCH IN (mailboxes {work}) ALL") == []
    assert member.say("ESEARCH IN (selected) NONSENSE")[1].startswith("BAD")
    member.ok("UNSELECT")
    assert member.say("ESEARCH IN (selected) ALL")[1].startswith("BAD")


@pytest.mark.parametrize("rights, kept", (("lrwis", ["\\Draft", "\\Answered", "\\Seen $Forwarded"]),
                                          ("lrsti", ["\\Deleted", "", "\\Seen"]), ("lri", ["", "", ""])))
def test_flags_that_a_copy_may_not_bring(two, rights, kept):
    """The example of RFC 4314 section 4; APPEND likewise."""
    suite, ana, bob, member = two
    target = f"Target-{rights}"
    with Session(suite, ana) as owner:
        owner.ok(f"CREATE {target}")
        owner.ok(f"SETACL {target} {bob} {rights}")
    name, given = f"user/{ana}/{target}", ("\\Draft \\Deleted", "\\Answered", "$Forwarded \\Seen")
    member.ok(f"CREATE {target}")
    for flags in given:
        member.ok(f"APPEND {target} ({flags}) {{3+}}\r\nabc")
        member.ok(f"APPEND {name} ({flags}) {{3+}}\r\nabc")
    member.ok(f"SELECT {target}")
    member.ok(f"COPY 1:3 {name}")
    member.ok(f"SELECT {name}")
    told = [re.search(r"FLAGS \((.*)\)\)", line)[1].replace("\\Recent", "").strip() for line in member.ok("FETCH 1:6 (FLAGS)")]
    assert [sorted(flags.split()) for flags in told] == [sorted(flags.split()) for flags in kept * 2]


def test_what_is_subscribed_and_is_no_more(two):
    """RFC 5258 3.1: \\NonExistent, also where another user's mailbox is deleted, hidden, or the user is gone; and what RETURN asks for of
    those that are there (RFC 5819)."""
    suite, ana, bob, member = two
    carol = suite.new_user("carol")
    with Session(suite, ana) as owner, Session(suite, carol) as other:
        for session in (owner, other):
            for name in ("Old", "One"):
                session.ok(f"CREATE {name}")
                session.ok(f"SETACL {name} {bob} lr")
        names_ = sorted(f"user/{user}/{name}" for user in (ana, carol) for name in ("Old", "One"))
        for name in (*names_, f"user/{ana}/Work"):
            member.ok(f"SUBSCRIBE {name}")
        owner.ok("DELETE Old")
        other.ok(f"SETACL Old {bob} \"\"")
        told = [line for line in member.ok('LIST (SUBSCRIBED) "" * RETURN (STATUS (MESSAGES))') if "user/" in line]
        wanted = [f'* LIST (\\Subscribed \\HasNoChildren) "/" user/{ana}/One', f"* STATUS user/{ana}/One (MESSAGES 0)",
                  f'* LIST (\\Subscribed \\HasNoChildren) "/" user/{ana}/Work', f"* STATUS user/{ana}/Work (MESSAGES 2)",
                  f'* LIST (\\NonExistent \\HasNoChildren \\Subscribed) "/" user/{ana}/Old',
                  f'* LIST (\\Subscribed \\HasNoChildren) "/" user/{carol}/One', f"* STATUS user/{carol}/One (MESSAGES 0)",
                  f'* LIST (\\NonExistent \\HasNoChildren \\Subscribed) "/" user/{carol}/Old']
        assert sorted(told) == sorted(wanted)
        assert [line for line in member.ok('LIST (SUBSCRIBED) "" */Old') if "NonExistent" not in line] == []
        assert not [line for line in member.ok('LIST (SUBSCRIBED SPECIAL-USE) "" *') if "user/" in line]
        member.ok("ENABLE UTF8=ACCEPT")
        assert len([line for line in member.ok('LIST (SUBSCRIBED) "" user/*') if "NonExistent" in line]) == 2
    suite.valija("user", "del", carol)
    told = member.ok(f'LIST (SUBSCRIBED) "" user/{carol}/*')
    assert len(told) == 2 and all("\\NonExistent" in line for line in told), told


def test_who_may_ask_for_his_rights(two):
    """RFC 4314 section 4: "l", "r", "i", "k", "x" or "a"; the other rights alone do not say that there is a mailbox."""
    suite, ana, bob, member = two
    work = f"user/{ana}/Work"
    with Session(suite, ana) as owner:
        for right in "lrswipkxtea":
            owner.ok(f"SETACL Work {bob} {right}")
            lines, answer = member.say(f"MYRIGHTS {work}")
            if right in "lrikxa":
                assert answer.startswith("OK") and lines[0].startswith(f"* MYRIGHTS {work} {right}"), (right, lines)
            else:
                assert (lines, answer) == ([], member.say(f"MYRIGHTS user/{ana}/None")[1]), (right, lines, answer)


def test_rights_are_kept(two):
    """Each right, given and not given; what is taken away is gone at the next command."""
    suite, ana, bob, member = two
    work = f"user/{ana}/Work"
    with Session(suite, ana) as owner:
        owner.ok(f"SETACL Work {bob} lr")
        lines = member.ok(f"SELECT {work}")
        assert "PERMANENTFLAGS ()" in " ".join(lines)
        member.no("STORE 1 +FLAGS (\\Seen)")
        member.ok("FETCH 1 BODY[]")
        assert "\\Seen" not in member.ok("FETCH 1 FLAGS")[0]
        member.no("EXPUNGE")
        member.no(b"APPEND " + work.encode() + b" {3+}\r\na: ", "NOPERM")
        member.no(f"APPEND {work} {{3000}}", "NOPERM")
        member.no("COPY 1 " + work, "NOPERM")
        member.no("MOVE 1 " + work)
        member.no(f"CREATE {work}/below", "NOPERM")
        member.no(f"DELETE {work}", "NOPERM")
        member.no(f"RENAME {work} user/{ana}/New", "NOPERM")
        member.no(f"GETACL {work}", "NOPERM")
        member.no(f"SETACL {work} {bob} +a", "NOPERM")
        owner.ok(f"SETACL Work {bob} lrs")
        member.ok(f"SELECT {work}")
        member.ok("STORE 1 +FLAGS (\\Seen \\Flagged)")
        flags = member.ok("FETCH 1 FLAGS")[0]
        assert "\\Seen" in flags and "\\Flagged" not in flags
        member.no("STORE 1 +FLAGS (\\Flagged)", "NOPERM")
        member.no("STORE 1 +FLAGS (\\Deleted)", "NOPERM")
        member.no("STORE 1 FLAGS (\\Flagged)", "NOPERM")
        # CLOSE is OK, and removes nothing (RFC 4314 section 4).
        owner.ok(f"SETACL Work {bob} lrt")
        member.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
        member.no("EXPUNGE", "NOPERM")
        assert member.ok("CLOSE") == []
        assert "* 2 EXISTS" in member.ok(f"SELECT {work}")
        member.ok("STORE 2 -FLAGS.SILENT (\\Deleted)")
        owner.ok(f"SETACL Work {bob} lrtek")
        member.ok("STORE 1 +FLAGS (\\Deleted)")
        assert member.ok("EXPUNGE") == ["* 1 EXPUNGE"]
        member.ok(f"CREATE {work}/below")
        assert member.ok(f"MYRIGHTS {work}/below") == [f"* MYRIGHTS {work}/below lrktecd"]
        member.no(f"CREATE user/{ana}/top")
        owner.ok(f"SETACL Work {bob} lrxka")
        assert bob in member.ok(f"GETACL {work}")[0]
        member.ok(f"SETACL {work} anyone l")
        owner.ok(f"SETACL Work {bob} -r")
        # He has it selected, and may read it no more.
        member.imap.send(b"x FETCH 1 FLAGS\r\n")
        assert b"BYE" in member.imap.readline()
    with Session(suite, bob) as member:
        member.no(f"SELECT {work}", "NOPERM")
        with Session(suite, ana) as owner:
            owner.ok(f"DELETEACL Work {bob}")
            owner.ok("DELETEACL Work anyone")
            owner.ok("DELETE Work/below")
        member.no(f"SELECT {work}", "NONEXISTENT")
        assert not [n for n in names(member.ok('LIST "" *')) if n.startswith("user")]


def test_flags_that_come_along_are_kept_within_the_rights(two):
    """RFC 4314 section 4: APPEND and COPY leave out the flags that the member may not set in their target."""
    suite, ana, bob, member = two
    work, drop = f"user/{ana}/Work", f"user/{ana}/Drop"
    with Session(suite, ana) as owner:
        owner.ok("CREATE Drop")
        owner.ok("SELECT Work")
        owner.ok("STORE 1 +FLAGS (\\Seen \\Deleted \\Flagged mine)")
        for rights, kept in (("lri", set()), ("lris", {"\\Seen"}), ("lrit", {"\\Deleted"}), ("lriw", {"\\Flagged", "mine"}),
                             ("lriswt", {"\\Seen", "\\Deleted", "\\Flagged", "mine"})):
            owner.ok(f"SETACL Drop {bob} {rights}")
            member.ok(f"SELECT {work}")
            member.ok(f"APPEND {drop} (\\Seen \\Deleted \\Flagged mine) {{3+}}\r\na: ")
            member.ok(f"COPY 1 {drop}")
            owner.ok("SELECT Drop")
            for line in owner.ok("FETCH 1:* (FLAGS)"):
                if " FETCH " in line:
                    assert set(re.search(r"FLAGS \(([^)]*)\)", line)[1].split()) - {"\\Recent"} == kept, (rights, line)
            owner.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")
            owner.ok("EXPUNGE")


def test_metadata_between_users(two):
    """RFC 5464 section 3.3: who may use the mailbox shares its shared entries; private ones are the owner's."""
    suite, ana, bob, member = two
    work = f"user/{ana}/Work"
    with Session(suite, ana) as owner:
        owner.ok('SETMETADATA Work (/shared/comment "Ours" /private/comment "Mine")')
        assert member.ok(f"GETMETADATA {work} /shared/comment") == [f'* METADATA {work} (/shared/comment "Ours")']
        for private in ("/private/comment", "/private/none"):
            assert member.ok(f"GETMETADATA {work} ({private})") == [f"* METADATA {work} ({private} NIL)"]
        for options in ("(DEPTH infinity) {} (/private /shared)", "{} (DEPTH infinity) (/private /shared)"):
            assert member.ok("GETMETADATA " + options.format(work)) == [f'* METADATA {work} (/shared/comment "Ours")']
        assert member.ok(f"GETMETADATA (MAXSIZE 1) {work} /shared/comment") == []
        assert member.say(f"GETMETADATA (DEPTH 1 MAXSIZE 2) {work} /shared/comment")[1].startswith("OK [METADATA LONGENTRIES 4]")
        member.no(f"SETMETADATA {work} (/shared/comment \"x\" /private/comment \"y\")", "METADATA NOPRIVATE")
        # A literal, which waits and which does not; the owner hears of it at once, who asked to (RFC 5465 5.6).
        owner.ok("NOTIFY SET (selected (MessageNew MessageExpunge)) (personal (MailboxMetadataChange))")
        member.ok(f"SETMETADATA {work} (/shared/comment {{5+}}\r\na\r\nbc)")
        assert any(line.startswith("* METADATA Work ") and "/shared/comment" in line for line in owner.ok("NOOP"))
        owner.ok("NOTIFY NONE")
        assert member.say(f"SETMETADATA {work} (/shared/vendor/x {{3}}", b"xyz)")[1].startswith("OK")
        assert "xyz" in owner.ok("GETMETADATA Work /shared/vendor/x")[0]
        assert owner.ok("GETMETADATA Work (/private/comment)") == ['* METADATA Work (/private/comment "Mine")']
        member.ok(f"SETMETADATA {work} (/shared/vendor/x NIL)")
        assert owner.ok("GETMETADATA Work /shared/vendor/x") == ["* METADATA Work (/shared/vendor/x NIL)"]
        # Of the mailbox that he has selected a member hears, who asked to (section 4.1), but not what is the owner's.
        member.ok("ENABLE METADATA")
        member.ok(f"SELECT {work}")
        owner.ok('SETMETADATA Work (/private/comment "z" /shared/comment "z")')
        owner.ok('SETMETADATA INBOX (/shared/comment "z")')
        assert [line for line in member.ok("NOOP") if "METADATA" in line] == [f"* METADATA {work} /shared/comment"]
        member.ok("UNSELECT")
        for rights, answer in (("l", "NO [NOPERM]"), ("lp", "OK"), ("r", "NO [NONEXISTENT]"), ("li", "OK")):
            owner.ok(f"SETACL Work {bob} {rights}")
            for command in (f"GETMETADATA {work} /shared/comment", f"SETMETADATA {work} (/shared/comment \"z\")"):
                assert member.say(command)[1].startswith(answer), (rights, command)


def test_the_owners_quota_root(two):
    """RFC 9208: it has a name of its own, which a member may ask for as long as he may count messages."""
    suite, ana, bob, member = two
    work, root = f"user/{ana}/Work", f"user/{ana}"
    assert member.ok(f"GETQUOTAROOT {work}") == [f"* QUOTAROOT {work}"]
    member.no(f'GETQUOTA "{root}"', "NONEXISTENT")
    suite.valija("user", "quota", ana, "10K", "--messages", "50")
    suite.valija("user", "quota", bob, "20K")
    with Session(suite, ana) as owner:
        hers = f"* QUOTA {root} (STORAGE 1 10 MESSAGE 2 50)"
        assert owner.ok("GETQUOTAROOT Work") == ['* QUOTAROOT Work ""', hers.replace(root, '""')]
        assert member.ok(f"GETQUOTAROOT {work}") == [f"* QUOTAROOT {work} {root}", hers]
        assert member.ok(f'GETQUOTA "{root}"') == [hers]
        assert member.ok('GETQUOTA ""') == ['* QUOTA "" (STORAGE 0 20)']
        member.no(f"GETQUOTA {work}", "NONEXISTENT")
        member.no(f'GETQUOTA "user/{bob}"', "NONEXISTENT")
        member.no(f'SETQUOTA "{root}" (STORAGE 1)')
        # What a member puts in counts for the owner.
        assert member.say(f"APPEND {work} {{12000}}")[1].startswith("NO [OVERQUOTA]")
        owner.ok(f"SETACL Work {bob} li")
        member.no(f'GETQUOTA "{root}"', "NONEXISTENT")
        member.no(f"GETQUOTAROOT {work}", "NOPERM")


def test_who_may_only_add_hears_of_no_uids(two):
    """RFC 4315 section 3, RFC 9051 6.4.7: who may put mail into a mailbox and not look at it."""
    suite, ana, bob, member = two
    work, drop = f"user/{ana}/Work", f"user/{ana}/Drop"
    with Session(suite, ana) as owner:
        owner.ok("CREATE Drop")
        for rights, told in (("lri", True), ("li", False)):
            owner.ok(f"SETACL Drop {bob} {rights}")
            member.ok(f"SELECT {work}")
            owner.ok(append("Work", 7))
            answers = [member.say(command) for command in (append(drop, 1), "COPY 1 " + drop, "MOVE 2 " + drop)]
            for lines, answer in answers:
                assert answer.startswith("OK"), answer
                assert any("UID " in line for line in [*lines, answer]) == told, (rights, lines, answer)
        assert "* STATUS Drop (MESSAGES 6)" in owner.ok("STATUS Drop (MESSAGES)")


def test_who_idles_and_may_read_no_more_hears_no_more(two):
    suite, ana, bob, member = two
    member.ok(f"SELECT user/{ana}/Work")
    member.imap.send(b"i IDLE\r\n")
    assert member.imap.readline().startswith(b"+ ")
    with Session(suite, ana) as owner:
        owner.ok(f"SETACL Work {bob} l")
        owner.ok(append("Work", "told to nobody"))
        assert b"BYE" in member.imap.readline()


def test_an_answer_that_breaks_off_is_not_gone_on_with(two):
    """What is said behind half a literal would be taken for its rest."""
    suite, ana, bob, member = two
    with Session(suite, ana) as owner:
        size = 8_000_000
        owner.ok(f"APPEND Work {{{size}+}}\r\n" + "x: y\r\n\r\n" + "z" * (size - 8))
        member.ok(f"SELECT user/{ana}/Work")
        member.imap.send(b"f FETCH 3 BODY.PEEK[]\r\n")
        assert member.imap.readline().startswith(b"* 3 FETCH (BODY[] {8000000}")
        kill(suite, ana)
        rest = member.imap.file.read()
        assert 0 < len(rest) < size and rest.strip(b"z\r\n") in (b"x: y\r\n\r\n".strip(), b"x: y"), rest[-100:]


@pytest.mark.parametrize("selected", (False, True))
def test_the_rest_of_a_literal_is_no_command(two, selected):
    """The owner's process dies while the member says a message for it: the rest is passed over, not obeyed."""
    suite, ana, bob, member = two
    if selected:
        member.ok(f"SELECT user/{ana}/Work")
    member.imap.send(f"a APPEND user/{ana}/Work {{1000+}}\r\nx: y\r\n".encode())
    time.sleep(0.5)
    kill(suite, ana)
    time.sleep(0.5)
    with contextlib.suppress(OSError):
        member.imap.send(b"\r\nb CREATE Obeyed\r\n".ljust(994, b"x") + b"\r\n")
    line = member.imap.readline()
    if selected:
        assert line.startswith(b"* BYE [UNAVAILABLE]"), line
        return
    assert line.startswith(b"a NO [UNAVAILABLE]"), line
    assert names(member.ok('LIST "" Obeyed')) == [] and member.ok("NOOP") == []


ARGUMENTS = ["SELECT {}", "EXAMINE {}", "CREATE {}", "DELETE {}", "RENAME {} {}x", "STATUS {} (MESSAGES)", "APPEND {} {{1+}}\r\nx",
             "GETACL {}", "SETACL {} anyone lr", "DELETEACL {} anyone", "LISTRIGHTS {} anyone", "MYRIGHTS {}", "GETQUOTAROOT {}",
             "GETQUOTA {}", "GETMETADATA {} /private/comment", "GETMETADATA (DEPTH 1) {} /shared/comment", "SETMETADATA {} (/shared/comment \"x\")", "CREATE {}/below", "STATUS {}/below (MESSAGES)"]


def test_p7_commands_that_skip_the_access_check(two):
    """Every command with a mailbox argument, against a mailbox of hers that he may not know of, one that is not there, and
    one of somebody who is not there: the same answer."""
    suite, ana, bob, member = two
    stranger = suite.new_user("stranger")
    with Session(suite, stranger) as other:
        for who, owner in ((member, ana), (other, ana), (other, "nobody@example.org")):
            for command in ARGUMENTS:
                answers = []
                for mailbox in ("Secret", "Missing") if who is member else ("Work", "Missing"):
                    name = f"user/{owner}/{mailbox}"
                    answers.append(who.say(command.format(name, name))[1])
                assert answers[0].startswith("NO") and len(set(answers)) == 1, (command, answers)
        # Nor is a mailbox that he may rename a way to ask.
        with Session(suite, ana) as owner:
            owner.ok(f"SETACL Work {bob} +x")
        answers = {member.say(f"RENAME user/{ana}/Work user/{ana}/{mailbox}/x")[1] for mailbox in ("Secret", "Missing")}
        assert len(answers) == 1 and answers.pop().startswith("NO"), answers
        # Names that lead elsewhere.
        for name in (f"user/{ana}/../../x", f"user/{ana}//Work", f"user/{ana}/~root", f"user/{ana}/cur", f"user/{ana}/&AC4ALg-/x",
                     "user/../x@y", "user/@", "user/a@", "user/@b", "user/" + "a" * 3000 + "@b", f"user/{ana}/" + "x" * 3000,
                     f"user/{ana}/user/{ana}/Work", f"user/{bob}/INBOX"):
            for who in (member, other):
                assert who.say(f'SELECT "{name}"')[1].startswith("NO"), name
        assert suite.maildir(ana).joinpath(".Work").is_dir()
        # Nobody is his own guest.
        member.no(f"SELECT user/{bob}/INBOX", "NONEXISTENT")


@pytest.fixture
def leaving():
    """Where an imap process leaves with its last session."""
    with valija.Instance(settings={"imap_linger_seconds": "0"}) as suite:
        yield suite


def test_the_owner_is_not_there(leaving):
    """Her process is started for the member, and ends after him; one who may not log in shares all the same; a process that
    is killed while he is there ends his session only."""
    suite = leaving
    ana, bob = suite.new_user("ana"), suite.new_user("bob")
    with Session(suite, ana) as owner:
        owner.ok("CREATE Work")
        owner.ok(f"SETACL Work {bob} lrswi")
    suite.valija("user", "disable", ana)
    valija.wait_until(lambda: not suite.processes("imap"), 10, "the end of imap")
    suite.stop()
    suite.start()
    work = f"user/{ana}/Work"
    with Session(suite, bob) as member:
        assert work in names(member.ok('LIST "" *'))
        valija.wait_until(lambda: len(suite.processes("imap")) == 1, 10, "her process leaves")
        member.ok(f"SELECT {work}")
        member.ok(f"APPEND {work} {{3+}}\r\na: ")
        assert len(suite.processes("imap")) == 2
        kill(suite, ana)
        member.imap.send(b"x NOOP\r\n")
        assert b"BYE [UNAVAILABLE]" in member.imap.readline()
    with Session(suite, bob) as member:
        assert "* 1 EXISTS" in member.ok(f"SELECT {work}")


def test_a_command_waits_for_the_owners_next_process(two):
    """Her process was killed a moment ago, and master may not know yet: whatever the member says then is done by the next
    one, once."""
    suite, ana, bob, member = two
    work = f"user/{ana}/Work"
    for n in range(8):
        with Session(suite, ana) as owner:
            owner.ok("NOOP")
            kill(suite, ana)
        member.ok(f"SELECT {work}") if n % 4 == 0 else member.ok(append(work, n)) if n % 4 == 1 else \
            member.ok(f"STATUS {work} (MESSAGES)")
        if n % 4 == 3:
            kill(suite, ana)
            assert work in names(member.ok('LIST "" *'))
        if n % 4 == 0:
            member.ok("UNSELECT")
    assert member.ok(f"STATUS {work} (MESSAGES)") == [f"* STATUS {work} (MESSAGES 4)"]


@pytest.mark.long
def test_an_owner_whose_process_does_not_come(two):
    """After a few seconds the member hears so, and his session stays."""
    suite, ana, bob, member = two
    work = f"user/{ana}/Work"
    kill(suite, ana)
    away = suite.maildir(ana).rename(suite.maildir(ana).with_name("away"))
    suite.maildir(ana).write_text("no directory")
    begun = time.monotonic()
    member.no(f"STATUS {work} (MESSAGES)", "UNAVAILABLE")
    assert 2 < time.monotonic() - begun < 25
    member.ok("NOOP")
    suite.maildir(ana).unlink()
    away.rename(suite.maildir(ana))
    member.ok(f"STATUS {work} (MESSAGES)")


def test_rights_that_dovecot_kept(leaving):
    """Its files are read, and members hear of them once the owner's process has been there; a change writes our own."""
    suite = leaving
    ana, bob = suite.new_user("ana"), suite.new_user("bob")
    maildir = suite.maildir(ana)
    for folder, rights in ((".Work", f"owner lrwstipekxa\nuser={bob} lrs:post\n# so\ngroup=x lr\n"), (".Other", f"user={bob} ?\n")):
        for name in ("cur", "new", "tmp"):
            (maildir / folder / name).mkdir(parents=True)
        (maildir / folder / "dovecot-acl").write_text(rights)
        for path in (maildir / folder, *(maildir / folder).iterdir()):
            os.chown(path, maildir.stat().st_uid, maildir.stat().st_gid)
    with Session(suite, ana) as owner, Session(suite, bob) as member:
        assert names(member.ok(f'LIST "" user/{ana}/*')) == [f"user/{ana}/Work"]
        assert member.ok(f"MYRIGHTS user/{ana}/Work") == [f"* MYRIGHTS user/{ana}/Work lrs"]
        owner.ok(f"SETACL Work {bob} +w")
        assert member.ok(f"MYRIGHTS user/{ana}/Work") == [f"* MYRIGHTS user/{ana}/Work lrsw"]
        # What would not be heard where it is selected cannot be enabled.
        member.ok(f"SELECT user/{ana}/Work")
        assert member.say("ENABLE QRESYNC")[1].startswith("BAD")


def test_a_process_for_a_guest_who_is_gone_leaves(leaving):
    """The member's process dies while the owner's is started for him: nobody comes, and it ends all the same."""
    suite = leaving
    ana, bob = suite.new_user("ana"), suite.new_user("bob")
    with Session(suite, ana) as owner:
        owner.ok(f"SETACL INBOX {bob} lr")
    for n in range(20):
        valija.wait_until(lambda: not suite.processes("imap"), 10, "the end of imap")
        member = Session(suite, bob)
        pid = suite.processes("imap")[0]["pid"]
        member.imap.send(f"x SELECT user/{ana}\r\n".encode())
        time.sleep(n / 1000)
        os.kill(pid, signal.SIGKILL)
    valija.wait_until(lambda: not suite.processes("imap"), 10, "the end of imap")


@pytest.fixture(scope="module")
def courier():
    """An instance whose clients learned the names of their mailboxes from Courier."""
    with valija.Instance(settings={"imap_separator": ".", "imap_prefix": "INBOX."}) as suite:
        yield suite


def test_separator_and_prefix(courier):
    suite = courier
    ana, bob = suite.new_user("ana"), suite.new_user("bob")
    with Session(suite, ana) as owner:
        assert owner.ok("NAMESPACE") == ['* NAMESPACE (("INBOX." ".")) (("user." ".")) NIL']
        assert owner.ok('LIST "" ""') == ['* LIST (\\Noselect) "." ""']
        owner.ok('CREATE "INBOX.Sent Mail"')             # RFC 9051 6.3.10, example 5
        owner.ok("CREATE INBOX.Work.2024")
        owner.ok("CREATE inbox.Work.2025.")
        assert suite.maildir(ana).joinpath(".Work.2024").is_dir() and suite.maildir(ana).joinpath(".Work.2025").is_dir()

        def listed(command):
            return [line.partition('"." ')[2] for line in owner.ok(command)]
        assert listed('LIST "" INBOX.Work*') == ["INBOX.Work", "INBOX.Work.2024", "INBOX.Work.2025"]
        assert listed('LIST INBOX. Work.%') == ["INBOX.Work.2024", "INBOX.Work.2025"]
        assert listed('LIST "" %') == ["INBOX"] and "\\HasChildren" in owner.ok('LIST "" INBOX')[0]
        assert "INBOX.Sent" in listed('LIST "" INBOX.%') and "INBOX.Work.2024" not in listed('LIST "" INBOX.%')
        owner.ok("SUBSCRIBE INBOX.Work.2024")
        assert "INBOX.Work.2024" in listed('LSUB "" *')
        assert owner.ok("STATUS INBOX.Work.2024 (MESSAGES)") == ["* STATUS INBOX.Work.2024 (MESSAGES 0)"]
        owner.ok("SELECT INBOX")
        for name in ("Work", "INBOX.Work/2024", "INBOX..", "INBOX.a..b", "INBOX.~root", "INBOX.cur"):
            assert owner.say(f'CREATE "{name}"')[1].startswith("NO [CANNOT]"), name
        owner.ok(f"SETACL INBOX.Work.2024 {bob} lri")
        owner.ok("RENAME INBOX.Work.2025 INBOX.Other")
        assert suite.maildir(ana).joinpath(".Other").is_dir()
    with Session(suite, bob) as member:
        name = "user." + ana.replace(".", "^") + ".Work.2024"
        assert any(line.endswith(f'"." {name}') for line in member.ok('LIST "" *'))
        member.ok(f"SELECT {name}")
        assert member.ok(f"MYRIGHTS {name}") == [f"* MYRIGHTS {name} lri"]
        member.ok(f"SUBSCRIBE {name}")
        assert any(line.endswith(f'"." {name}') for line in member.ok('LSUB "" *'))
        member.no("SELECT user." + ana, "NONEXISTENT")
