"""Two sessions, a member with whom the mailbox is shared (RFC 4314), an outsider in the Maildir and kill -9, against a
model of the mailbox.

What was acknowledged stays: UIDs, flags, messages. Numbers mean what each client was told. What others do in the directories is seen, with UIDs that never
come twice. Modification sequences never go back, and a client that comes back now and then, and asks only for what
changed since (QRESYNC), knows the same as one who asks for everything. So does one who searches once and is told what
changes in the results (CONTEXT), and one who asks to be told of all that happens (NOTIFY, UIDONLY). A failure prints the seed: VALIJA_TEST_SEED
repeats it."""

import imaplib
import os
import random
import re
import signal
import time

import pytest

import valija

imaplib.Commands["NOTIFY"] = ("SELECTED",)

FLAGS = ["\\Seen", "\\Flagged", "\\Answered", "\\Draft", "$Label", "work"]
LETTERS = {"\\Seen": "S", "\\Flagged": "F", "\\Answered": "R"}


class Numbered:
    """What a client makes of EXISTS, EXPUNGE and FETCH in their order: the UIDs of the messages by their numbers; None
    where it has not heard of one."""

    def __init__(self, imap):
        self.uids, tell = [], imap._append_untagged

        def append(kind, said):
            self.hear(kind, said[0] if isinstance(said, tuple) else said)
            tell(kind, said)

        imap._append_untagged = append

    def hear(self, kind, said):
        number = re.match(rb"\d+", said or b"")
        if not number:
            return           # what stands behind a literal
        number = int(number[0])
        if kind == "EXISTS":
            assert number >= len(self.uids), "EXISTS took messages away"
            self.uids += [None] * (number - len(self.uids))
        elif kind == "EXPUNGE":
            assert 1 <= number <= len(self.uids), f"{number} EXPUNGE of {len(self.uids)}"
            del self.uids[number - 1]
        elif kind == "FETCH":
            assert 1 <= number <= len(self.uids), f"{number} FETCH of {len(self.uids)}"
            uid = re.search(rb"UID (\d+)", said)
            if uid:
                assert self.uids[number - 1] in (None, int(uid[1])), f"number {number} was {self.uids[number - 1]}, is {uid[1]}"
                self.uids[number - 1] = int(uid[1])


class Mailbox:
    """The model: message name -> [UID or None while nobody has looked, set of flags]."""

    def __init__(self, suite, seed):
        self.suite, self.random = suite, random.Random(seed)
        self.user = suite.new_user("model")
        self.member = suite.new_user("member")
        self.expected, self.largest, self.count, self.acknowledged = {}, 0, 0, 0
        with suite.imap(user=self.user) as owner:
            for folder in ("INBOX", "Archive"):
                assert owner.setacl(folder, self.member, "lrswite")[0] == "OK"
        self.connect()
        self.validity = self.sessions[0].response("UIDVALIDITY")[1][0]
        self.path = suite.maildir(self.user)
        self.owner = self.path.stat()

    def connect(self):
        self.sessions = [self.suite.imap(user=user) for user in (self.user, self.user, self.member)]
        for session in self.sessions:
            shared = session == self.sessions[2]
            session.inbox = f"user/{self.user}" if shared else "INBOX"
            session.archive = f"user/{self.user}/Archive" if shared else "Archive"
            session.numbered = Numbered(session)
            done, said = session.select(f'"{session.inbox}"')
            assert done == "OK", said

    def some(self, most=5):
        known = sorted(name for name, (uid, _) in self.expected.items() if uid)
        return self.random.sample(known, min(len(known), self.random.randint(1, most)))

    def uids(self, names):
        return ",".join(str(self.expected[name][0]) for name in names)

    def name(self):
        self.count += 1
        return f"t{self.count}"

    # ---- what may happen -------------------------------------------------------------------------

    def append(self, session):
        name, flags = self.name(), set(self.random.sample(FLAGS, self.random.randint(0, 2)))
        done, said = session.append(session.inbox, f"({' '.join(flags)})", None, f"Subject: {name}\r\n\r\nx\r\n".encode())
        assert done == "OK", said
        self.expected[name] = [int(re.search(rb"APPENDUID \d+ (\d+)", said[0])[1]), flags]

    def store(self, session):
        names = self.some()
        if not names:
            return
        how, flags = self.random.choice(["+", "-", ""]), set(self.random.sample(FLAGS, self.random.randint(1, 3)))
        done, said = session.uid("STORE", self.uids(names), f"{how}FLAGS{self.random.choice(['', '.SILENT'])}",
                                 f"({' '.join(flags)})")
        assert done == "OK", said
        for name in names:
            old = self.expected[name][1]
            self.expected[name][1] = old | flags if how == "+" else old - flags if how == "-" else set(flags)

    def store_by_number(self, session):
        """By the numbers that this client knows: they are of the same messages until it is told otherwise."""
        named = {uid: name for name, (uid, _) in self.expected.items() if uid}
        numbers = [n for n, uid in enumerate(session.numbered.uids, 1) if uid in named]
        if not numbers:
            return
        number, flag = self.random.choice(numbers), self.random.choice(FLAGS)
        name = named[session.numbered.uids[number - 1]]
        done, said = session.store(str(number), "+FLAGS", f"({flag})")
        assert done == "OK", said
        self.expected[name][1] = self.expected[name][1] | {flag}

    def expunge(self, session):
        names = self.some(2)
        if not names:
            return
        session.uid("STORE", self.uids(names), "+FLAGS.SILENT", "(\\Deleted)")
        assert session.uid("EXPUNGE", self.uids(names))[0] == "OK"
        for name in names:
            del self.expected[name]

    def move(self, session):
        names = self.some(2)
        if names:
            assert session.uid("MOVE", self.uids(names), session.archive)[0] == "OK"
        for name in names:
            del self.expected[name]

    def replace(self, session):
        """One message for another (REPLACE): never both, never none. In one's own mailboxes only."""
        session = self.sessions[0]
        session.noop()
        names = self.some(1)
        if not names:
            return
        name, flags = self.name(), set(self.random.sample(FLAGS, self.random.randint(0, 2)))
        session.literal = f"Subject: {name}\r\n\r\nz\r\n".encode()
        done, said = session._simple_command("UID", "REPLACE", self.uids(names), "INBOX", f"({' '.join(flags)})")
        assert done == "OK", said
        uid = int(session.response("APPENDUID")[1][-1].split()[1])
        del self.expected[names[0]]
        self.expected[name] = [uid, flags]

    def drop(self, _):
        for _ in range(self.random.randint(1, 3)):
            name = self.name()
            base = f"{2000000000 + self.count}.M{self.count}.elsewhere"
            written = self.path / "tmp" / base
            written.write_bytes(f"Subject: {name}\r\n\r\ny\r\n".encode())
            os.chown(written, self.owner.st_uid, self.owner.st_gid)
            flags = set()
            if self.random.random() < 0.5:
                written.rename(self.path / "new" / base)
            else:
                flags = {self.random.choice(sorted(LETTERS))}
                written.rename(self.path / "cur" / f"{base}:2,{''.join(LETTERS[f] for f in flags)}")
            self.expected[name] = [None, flags]

    def file(self):
        files = sorted(p for p in (self.path / "cur").iterdir() if ":2," in p.name)
        return self.random.choice(files) if files else None

    def subject(self, path):
        return re.search(rb"Subject: (\S+)", path.read_bytes())[1].decode()

    def outsider(self, _):
        """Removes a file, or changes a letter of its name."""
        path = self.file()
        if not path:
            return
        try:
            name = self.subject(path)
            if self.random.random() < 0.3:
                path.unlink()
                del self.expected[name]
                return
            flag = self.random.choice(sorted(LETTERS))
            base, letters = path.name.split(":2,")
            now = set(letters) ^ {LETTERS[flag]}
            path.rename(path.parent / f"{base}:2,{''.join(sorted(now))}")
        except FileNotFoundError:
            return  # the server renamed it meanwhile
        flags = self.expected[name][1]
        self.expected[name][1] = flags | {flag} if LETTERS[flag] in now else flags - {flag}

    def kill(self, _):
        victims = self.random.choice([[self.user], [self.user], [self.user, self.member], [self.member]])
        time.sleep(self.random.choice([0, 0, 0.1, 0.4]))
        for process in self.suite.processes("imap"):
            try:
                status = open(f"/proc/{process['pid']}/status").read()
            except FileNotFoundError:
                continue  # it ended by itself since it was listed
            assert "Name:\tvalija-imap" in status
            if process.get("user", self.user) in victims:
                os.kill(process["pid"], signal.SIGKILL)
                valija.wait_until(lambda pid=process["pid"]: not valija.alive(pid), what="its end")
        self.connect()
        assert self.sessions[0].response("UIDVALIDITY")[1][0] == self.validity

    def kill_at_work(self, _):
        """In the middle of what the owner's process does: what it said OK to is done, what it did not say may be."""
        session, names, told = self.sessions[0], self.some(8), []
        if not names:
            return
        pids = [p["pid"] for p in self.suite.processes("imap") if p.get("user") == self.user]
        flags = {name: self.random.choice(FLAGS) for name in names}
        drops = {f"k{self.count}.{n}" for n in range(3)}
        self.count += 1
        words = [f"s{n} UID STORE {self.expected[name][0]} +FLAGS.SILENT ({flag})\r\n" for n, (name, flag) in enumerate(flags.items())]
        texts = [f"Subject: {name}\r\n\r\nk\r\n" for name in sorted(drops)]
        words += [f"a{n} APPEND INBOX {{{len(text)}+}}\r\n{text}\r\n" for n, text in enumerate(texts)]
        self.random.shuffle(words)
        session.send("".join(words).encode())
        time.sleep(self.random.random() * 0.03)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        try:
            while line := session.readline():
                told += re.findall(rb"^([sa]\d+) OK", line)
        except (imaplib.IMAP4.abort, OSError):
            pass
        valija.wait_until(lambda: not any(map(valija.alive, pids)), what="their end")
        self.connect()
        assert self.sessions[0].response("UIDVALIDITY")[1][0] == self.validity
        done, said = self.sessions[0].uid("FETCH", "1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        assert done == "OK", said
        there = {text.decode().split(":")[1].strip(): set(re.search(rb"FLAGS \(([^)]*)\)", head)[1].decode().split())
                 for head, text in (part for part in said if isinstance(part, tuple))}
        for n, (name, flag) in enumerate(flags.items()):
            assert flag in there[name] or b"s%d" % n not in told, f"{flag} of {name} was acknowledged"
            if flag in there[name]:
                self.expected[name][1] = self.expected[name][1] | {flag}
        for n, name in enumerate(sorted(drops)):
            assert name in there or b"a%d" % n not in told, f"{name} was acknowledged"
            if name in there:
                self.expected[name] = [None, set()]
        self.acknowledged += len(told)

    # ---- the comparison --------------------------------------------------------------------------

    def check(self, session):
        session.noop()
        done, said = session.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        assert done == "OK", said
        seen = {}
        for head, text in (part for part in said if isinstance(part, tuple)):
            flags = set(re.search(rb"FLAGS \(([^)]*)\)", head)[1].decode().split()) - {"\\Recent"}
            seen[text.decode().split(":")[1].strip()] = [int(re.search(rb"UID (\d+)", head)[1]), flags]
        assert set(seen) == set(self.expected)
        assert session.numbered.uids == sorted(uid for uid, _ in seen.values())
        for name, (uid, flags) in seen.items():
            if self.expected[name][0] is None:
                assert uid > self.largest, f"{name} has UID {uid}, which came before"
                self.expected[name][0] = uid
            assert [uid, flags] == self.expected[name], name
        self.largest = max([self.largest, *(uid for uid, _ in seen.values())])


class Updating:
    """A client whose searches are kept up to date: one by UIDs, one sorted."""

    SEARCHES = [("SEARCH", ["UNSEEN"]), ("SORT", ["(REVERSE SUBJECT)", "UTF-8", "UNDELETED", "UNFLAGGED"])]

    def __init__(self, box):
        self.box, self.updates = box, 0
        self.begin()

    def begin(self):
        self.imap = self.box.suite.imap(user=self.box.user)
        self.imap.select("INBOX")
        self.results = []
        for command, keys in self.SEARCHES:
            tag, found = self.ask(command, "RETURN (UPDATE ALL)", keys)
            self.results.append([tag, found])

    def ask(self, command, options, keys):
        """The tag, and the UIDs that were found; what changed before is applied."""
        done, said = self.imap.uid(command, options, *keys)
        assert done == "OK", said
        for line in self.imap.response("ESEARCH")[1]:
            tag, rest = re.fullmatch(r'\(TAG "([^"]+)"\) UID ?(.*)', line.decode()).groups()
            if rest.startswith(("ADDTO", "REMOVEFROM")):
                self.apply(tag, rest)
            else:
                answer = tag, list(numbers(rest.removeprefix("ALL "))) if rest else []
        return answer

    def apply(self, tag, said):
        self.updates += 1
        result = next(r for r in self.results if r[0] == tag)
        what, pairs = re.fullmatch(r"(\w+) \((.*)\)", said).groups()
        words = pairs.split()
        for place, uids in zip(map(int, words[::2]), (list(numbers(w)) for w in words[1::2])):
            if place == 0 and what == "ADDTO":
                assert not set(result[1]) & set(uids), "told twice"
                result[1] = sorted(result[1] + uids)
            elif place == 0:
                assert set(uids) <= set(result[1]), "removed what was not there"
                result[1] = [uid for uid in result[1] if uid not in uids]
            elif what == "ADDTO":
                result[1][place - 1:place - 1] = uids
            else:
                assert result[1][place - 1:place - 1 + len(uids)] == uids, "removed at another place"
                del result[1][place - 1:place - 1 + len(uids)]

    def visit(self):
        self.imap.noop()
        for (command, keys), result in zip(self.SEARCHES, self.results):
            _, found = self.ask(command, "RETURN (ALL)", keys)
            assert result[1] == found, f"{command}: told {result[1]}, there is {found}"


class Notified:
    """A client that is told: {uid: flags}, from what came by itself alone, in UIDs."""

    def __init__(self, box):
        self.box, self.news = box, 0
        self.begin()

    def begin(self):
        self.imap = self.box.suite.imap(user=self.box.user)
        for command in (("ENABLE", "UIDONLY"), ("ENABLE", "QRESYNC")):
            assert self.imap._simple_command(*command)[0] == "OK"
        self.imap.select("INBOX")
        assert self.imap._simple_command("NOTIFY", "SET",
                                         "(selected (MessageNew (UID FLAGS) MessageExpunge FlagChange))")[0] == "OK"
        assert self.imap.uid("FETCH", "1:*", "(FLAGS)")[0] == "OK"
        self.known = {}
        self.hear()

    def hear(self):
        for line in self.imap.response("UIDFETCH")[1]:
            if line:
                uid, flags = re.match(rb"(\d+) \(.*?FLAGS \(([^)]*)\)", line).groups()
                self.known[int(uid)] = set(flags.decode().split()) - {"\\Recent"}
                self.news += 1
        for line in self.imap.response("VANISHED")[1]:
            for uid in numbers(line.decode().split()[-1]) if line else []:
                assert self.known.pop(uid, None) is not None, f"{uid} vanished, and never was"

    def visit(self):
        self.imap.noop()
        self.hear()
        there = {uid: flags for uid, flags in self.box.expected.values()}
        assert self.known == there, f"told {self.known}, there is {there}"


class Returning:
    """A client with a memory: {uid: (flags, modseq)}, brought up to date by QRESYNC alone."""

    def __init__(self, box):
        self.box, self.known, self.highest, self.visits = box, {}, 1, 0

    def visit(self, _=None):
        self.visits += 1
        imap = self.box.suite.imap(user=self.box.user)
        imap._simple_command("ENABLE", "QRESYNC")
        done, said = imap._simple_command("SELECT", "INBOX",
                                          f"(QRESYNC ({self.box.validity.decode()} {self.highest}))")
        assert done == "OK", said
        imap.state = "SELECTED"
        for answer in imap.untagged_responses.get("VANISHED", []):
            for uid in numbers(answer.decode().split()[-1]):
                self.known.pop(uid, None)
        self.learn(imap.untagged_responses.get("FETCH", []))
        highest = int(imap.response("HIGHESTMODSEQ")[1][0])
        assert highest >= self.highest, "modification sequences went back"
        self.highest = highest
        everything = fetched(imap.uid("FETCH", "1:*", "(FLAGS MODSEQ)")[1])
        assert self.known == everything, f"known {self.known}, there is {everything}"
        assert all(modseq <= highest for _, modseq in everything.values())
        imap.logout()

    def learn(self, said):
        self.known.update(fetched(said))


def numbers(text):
    for part in text.split(","):
        first, _, last = part.partition(":")
        yield from range(int(first), int(last or first) + 1)


def fetched(said):
    """{uid: (flags, modseq)} of FETCH responses."""
    found = {}
    for line in said:
        line = (line[0] if isinstance(line, tuple) else line or b"").decode()
        uid, modseq = re.search(r"UID (\d+)", line), re.search(r"MODSEQ \((\d+)\)", line)
        if uid and modseq:
            flags = re.search(r"FLAGS \(([^)]*)\)", line)[1].split()
            found[int(uid[1])] = (frozenset(flags) - {"\\Recent"}, int(modseq[1]))
    return found


def play(suite, seed, seconds):
    box = Mailbox(suite, seed)
    acts = [box.append, box.append, box.store, box.store, box.store_by_number, box.store_by_number, box.expunge, box.move, box.drop, box.drop,
            box.replace, box.outsider, box.outsider]
    returning, updating, notified = Returning(box), Updating(box), Notified(box)
    limit, steps = time.monotonic() + seconds, 0
    while time.monotonic() < limit:
        steps += 1
        act = box.kill if steps % 40 == 0 else box.kill_at_work if steps % 40 == 20 else box.random.choice(acts)
        session = box.random.choice(box.sessions)
        session.noop()
        try:
            act(session)
            if act in (box.kill, box.kill_at_work):
                updating.begin()
                notified.begin()
            box.check(box.random.choice(box.sessions))
            if steps % 5 == 0:
                updating.visit()
            if steps % 3 == 0:
                notified.visit()
            if steps % 13 == 0:
                returning.visit()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, step {steps}, {act.__name__}: {error}") from error
    for session in box.sessions:
        box.check(session)
    returning.visit()
    updating.visit()
    notified.visit()
    assert returning.visits > 2 and updating.updates > 2 and notified.news > 2
    assert steps > 40, "too slow to prove anything"
    return box


def seed():
    return int(os.environ.get("VALIJA_TEST_SEED", random.randrange(1 << 30)))


def test_model(suite):
    play(suite, seed(), 8)


@pytest.mark.long
def test_model_for_long(own_suite):
    assert play(own_suite, seed(), 120).acknowledged > 10
