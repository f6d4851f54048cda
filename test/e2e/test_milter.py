"""Filters by Sendmail's milter protocol: the real opendkim, and one played here that does whatever a
hostile filter may do."""

import os
import pathlib
import re
import signal
import smtplib
import socket
import struct
import subprocess
import threading
import time

import pytest

import mails
import valija
from test_channels import HEADER, channels_of, say


class Filter:
    """A filter at a UNIX socket. `script`: what it answers to each command: bytes of whole packets, or a
    function (filter, connection). `heard`: each packet as (command, data)."""

    def __init__(self, path, script=None, steps=0, actions=0x33):
        self.path, self.script, self.steps, self.actions, self.heard = path, script or {}, steps, actions, []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        path.chmod(0o666)
        self.socket.listen(16)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection):
        stream = connection.makefile("rb")
        with connection:
            while len(head := stream.read(4)) == 4:
                data = stream.read(struct.unpack("!I", head)[0])
                command = data[:1].decode()
                self.heard.append((command, data[1:]))
                if command in "QA":
                    return
                answer = self.script.get(command, packet("O", struct.pack("!III", 6, self.actions, self.steps))
                                         if command == "O" else b"" if command == "D" else packet("c"))
                try:
                    if callable(answer):
                        if answer(self, connection):
                            return
                    elif answer:
                        connection.sendall(answer)
                except OSError:
                    return

    def close(self):
        self.socket.close()


def packet(command, data=b""):
    return struct.pack("!I", len(data) + 1) + command.encode() + data


def field(command, name, value, index=None):
    return packet(command, (struct.pack("!I", index) if index is not None else b"") + name + b"\0" + value + b"\0")


@pytest.fixture(scope="module")
def filtered():
    """An instance whose port 25 and submission ask a filter each."""
    instance = valija.Instance(start=False)
    instance.sockets = {name: instance.tmp / f"{name}.sock" for name in ("smtp", "submission")}
    instance.configure(smtp_milters=f'{{"unix:{instance.sockets["smtp"]}"}}',
                       submission_milters=f'{{"unix:{instance.sockets["submission"]}"}}', milter_processes=2,
                       milter_command_seconds=1, milter_content_seconds=2)
    instance.start()
    yield instance
    assert not instance.close()


@pytest.fixture
def play(filtered):
    playing = []

    def begin(script=None, which="smtp", **more):
        filtered.sockets[which].unlink(missing_ok=True)
        playing.append(Filter(filtered.sockets[which], script, **more))
        return playing[-1]

    yield begin
    for one in playing:
        one.close()


def send(instance, user, message=None, sender="a@elsewhere.example"):
    """The reply to the message, by DATA; or to its recipient, where that is refused."""
    with instance.smtp(service="smtp") as smtp:
        smtp.ehlo("client.example")
        smtp.mail(sender)
        said = smtp.rcpt(user)
        return said if said[0] != 250 else smtp.data(message or mails.plain(sender, user))


def received(instance, user):
    valija.wait_until(lambda: instance.delivered(user), what="the mail")
    (path,) = instance.delivered(user)
    return path.read_bytes()


def test_what_a_filter_hears(filtered, play):
    """Every stage, in its order, with macros; the message as the client sent it, without our trace."""
    one, user = play(), filtered.new_user()
    message = b"From: <a@elsewhere.example>\r\nSubject: one\r\n two\r\n\r\n..dots\r\n.\r\nend\r\n"
    assert send(filtered, user, message)[0] == 250
    commands = "".join(c for c, _ in one.heard)
    assert commands.replace("D", "") == "OCHMRTLLNBEQ"
    heard = {c: d for c, d in one.heard if c != "D"}
    assert heard["C"] == b"[127.0.0.1]\x004\0\x00127.0.0.1\0"
    assert heard["M"] == b"<a@elsewhere.example>\0" and heard["R"] == f"<{user}>\0".encode()
    assert [d for c, d in one.heard if c == "L"] == [b"From\0<a@elsewhere.example>\0", b"Subject\0one\n two\0"]
    macros = b"".join(d for c, d in one.heard if c == "D")
    assert b"j\0localhost\0" in macros and b"{client_addr}\x00127.0.0.1\0" in macros and b"\0i\0" in macros + b"\0i\0"
    assert received(filtered, user).endswith(heard["B"])


def test_changes(filtered, play):
    """Fields added, inserted, changed and removed, and a new body: the message is what the filter made of it,
    byte for byte, with the digest that was committed."""
    user = filtered.new_user()
    play({"E": field("h", b"X-Added", b"yes") + field("i", b"X-First", b"1\n 2", 0) + field("m", b"Subject", b"new", 1) +
          field("m", b"To", b"", 1) + packet("b", b"new body\nline\r\n") + packet("b", b"last") + packet("p") + packet("c")})
    assert send(filtered, user, b"From: <a@x.example>\r\nTo: b\r\nSubject: old\r\n\r\nold body\r\n" * 1)[0] == 250
    mail = received(filtered, user)
    head, _, body = mail.partition(b"\r\n\r\n")
    assert body == b"new body\r\nline\r\nlast\r\n"
    assert b"X-First: 1\r\n 2\r\nReceived: from" in head and head.endswith(b"From: <a@x.example>\r\nSubject: new\r\nX-Added: yes")


def test_quarantine(filtered, play):
    """The message is held, and the client has its 250."""
    user = filtered.new_user()
    play({"E": packet("q", b"looks bad\0") + packet("c")})
    assert send(filtered, user)[0] == 250
    assert not filtered.delivered(user)
    listing = filtered.valija("queue", "list").stdout
    assert user in listing and "looks bad" in listing + filtered.log()


# Each stage in the long run; three in the quick one.
STAGES = [s if s in "CRE" else pytest.param(s, marks=pytest.mark.long) for s in "CHMRTLNBE"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("answer, code", [(packet("r"), 550), (packet("t"), 451), (packet("y", b"554 5.7.9 not this one\0"), 554)],
                         ids=["reject", "tempfail", "code"])
def test_refusals(filtered, play, stage, answer, code):
    """Whatever the stage: one answer, to the recipient or to the message; nothing delivered."""
    user = filtered.new_user()
    play({stage: answer})
    said = send(filtered, user)
    assert said[0] == code and (code != 554 or said[1] == b"5.7.9 not this one")
    assert not filtered.delivered(user)


@pytest.mark.parametrize("stage", STAGES)
def test_accept_and_discard(filtered, play, stage):
    user = filtered.new_user()
    one = play({stage: packet("a")})
    assert send(filtered, user)[0] == 250 and received(filtered, user)
    assert one.heard[-1][0] == "Q" or one.heard[-1][0] == stage
    play({stage: packet("d")})
    assert send(filtered, user)[0] == 250
    assert len(filtered.delivered(user)) == 1


def test_steps_that_are_not_wanted(filtered, play):
    """What a filter does not want to hear it does not hear, and where it does not answer nobody waits."""
    user = filtered.new_user()
    one = play(steps=0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x200)
    assert send(filtered, user)[0] == 250
    assert "".join(c for c, _ in one.heard if c != "D") == "OEQ"
    silent = {c: b"" for c in "CHMRTLNB"}
    two = play(silent, steps=0x80 | 0x1000 | 0x2000 | 0x4000 | 0x8000 | 0x10000 | 0x40000 | 0x80000)
    assert send(filtered, user)[0] == 250
    assert "".join(c for c, _ in two.heard if c != "D").startswith("OCHMRTL")


def dribble(filter, connection):
    connection.sendall(b"\0\0")
    filter.socket.settimeout(None)
    threading.Event().wait(2)
    return True


HOSTILE = {
    "garbage": b"\xde\xad\xbe\xef" * 10, "length 0": b"\0\0\0\0", "4 GiB": b"\xff\xff\xff\xff" + b"c", "HTTP": b"HTTP/1.1 400 Bad\r\n\r\n",
    "unknown answer": packet("z"), "early change": field("h", b"X", b"y"), "silence": b"", "dribble": dribble,
    "death": lambda f, c: True, "bad code": packet("y", b"250 fine\0"), "no code": packet("y"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_filter(filtered, play, what):
    """At some stage it says nonsense, nothing, or dies: the message is put off, no process dies, and the next
    one goes through."""
    user = filtered.new_user()
    before = {p["pid"] for p in filtered.processes("milter")}
    for stage in ("OHE" if what not in ("silence", "dribble") else "M"):
        play({stage: HOSTILE[what]})
        if what == "early change" and stage == "E":
            continue
        assert send(filtered, user)[0] == 451, stage
    play()
    assert send(filtered, user)[0] == 250 and received(filtered, user)
    assert {p["pid"] for p in filtered.processes("milter")} == before
    assert "milter-failed" in filtered.log()


@pytest.mark.parametrize("changes, code", [(10_000, 250), (10_001, 451)])
def test_limit_of_changes(filtered, play, changes, code):
    user = filtered.new_user()
    play({"E": field("h", b"X", b"y") * changes + packet("c")})
    assert send(filtered, user)[0] == code
    if code == 250:
        assert received(filtered, user).split(b"\r\n\r\n")[0].splitlines().count(b"X: y") == changes


@pytest.mark.parametrize("changes", [field("h", b"Bad name", b"x"), field("i", b"X", b"y"), packet("b", b"x" * 100) * 3 + b"\xff\xff\xff\xff",
                                     field("h", b"X", b"y" * 900_000) * 4], ids=["name", "no index", "half a body", "too much"])
def test_malformed_changes(filtered, play, changes):
    """Half a change is none: the message is put off."""
    user = filtered.new_user()
    play({"E": changes + packet("c")})
    assert send(filtered, user)[0] == 451
    assert not filtered.delivered(user)


def test_each_recipient_has_its_answer(filtered, play):
    """A filter refuses one, puts off another, and lets two in: the replies come in the order of RCPT, also when all is
    said at once, and the refused ones get nothing."""
    users = [filtered.new_user() for _ in range(4)]
    answers = dict(zip(users, [packet("c"), packet("y", b"550 5.7.1 not him\0"), packet("t"), packet("c")]))
    one = play({"R": lambda f, c: c.sendall(next(a for u, a in answers.items() if f.heard[-1][1] == f"<{u}>\0".encode()))})
    with filtered.connect("smtp") as s, s.makefile("rb") as stream:
        stream.readline()
        s.sendall(b"EHLO client.example\r\n")
        while stream.readline()[3:4] == b"-":
            pass
        s.sendall(b"MAIL FROM:<a@elsewhere.example>\r\n" + b"".join(f"RCPT TO:<{u}>\r\n".encode() for u in users) + b"DATA\r\n")
        heard = [stream.readline() for _ in range(6)]
        assert [h[:9] for h in heard] == [b"250 2.1.0", b"250 2.1.5", b"550 5.7.1", b"451 4.7.1", b"250 2.1.5", b"354 send "]
        assert heard[2] == b"550 5.7.1 not him\r\n"
        s.sendall(mails.plain("a@elsewhere.example", users[0]) + b".\r\n")
        assert stream.readline().startswith(b"250 2.0.0")
    assert received(filtered, users[0]) and received(filtered, users[3])
    assert not filtered.delivered(users[1]) and not filtered.delivered(users[2])
    assert [c for c, _ in one.heard if c in "RT"] == list("RRRRT")


def test_refused_recipients_are_counted_too(filtered, play):
    """A filter that refuses everybody for now: what it must remember is bounded all the same."""
    user = filtered.new_user()
    one = play({"R": packet("t")})
    with filtered.smtp(service="smtp") as smtp:
        smtp.ehlo("client.example")
        assert smtp.mail("a@elsewhere.example")[0] == 250
        codes = []
        for _ in range(11):
            smtp.send(f"RCPT TO:<{user}>\r\n" * 100)
            codes += [smtp.getreply() for _ in range(100)]
        assert [code for code, _ in codes] == [451] * 1000 + [452] * 100 and codes[-1][1].startswith(b"4.5.3 ")
        assert smtp.rset()[0] == 250 and smtp.mail("a@elsewhere.example")[0] == 250 and smtp.rcpt(user)[0] == 451
    assert sum(command == "R" for command, _ in one.heard) == 1001


def test_what_queue_refuses_no_filter_hears(filtered, play):
    one = play()
    with filtered.smtp(service="smtp") as smtp:
        smtp.ehlo("client.example")
        smtp.mail("a@elsewhere.example")
        assert smtp.rcpt(f"nobody-here@{valija.DOMAIN}")[0] == 550
        assert smtp.rcpt("x@elsewhere.example")[0] == 550
    assert not one.heard


def test_changes_of_the_envelope(filtered, play):
    """CHGFROM, ADDRCPT, ADDRCPT_PAR and DELRCPT: mail for who was added, none for who was taken out, and the new sender
    in Return-Path. One that does not exist, or is not ours, is logged, and the others get theirs."""
    first, second, third, fourth = (filtered.new_user() for _ in range(4))
    play({"E": packet("e", b"<changed@elsewhere.example>\0SIZE=1\0") + packet("+", f"<{third}>\0".encode()) +
          packet("2", f"{fourth}\0NOTIFY=NEVER\0".encode()) + packet("-", f"<{second.upper()}>\0".encode()) +
          packet("+", b"<nobody-at-all@example.org>\0") + packet("+", b"x@not.ours.example\0") + packet("-", b"<absent@example.org>\0") +
          packet("+", b"gone@example.org\0") + packet("-", b"<gone@example.org>\0") + packet("c")}, actions=0x1ff)
    with filtered.smtp(service="smtp") as smtp:
        smtp.sendmail("a@elsewhere.example", [first, second], mails.plain("a@elsewhere.example", first))
    for user in (first, third, fourth):
        assert received(filtered, user).startswith(b"Return-Path: <changed@elsewhere.example>\r\n"), user
    assert not filtered.delivered(second)
    log = filtered.log()
    assert log.count("filter-recipient-refused") >= 2 and "gone@example.org" not in log


def test_all_recipients_taken_out(filtered, play):
    """Then there is nothing to deliver, and the sender need not know."""
    user = filtered.new_user()
    play({"E": packet("-", f"<{user}>\0".encode()) + packet("c")}, actions=0x1ff)
    assert send(filtered, user)[0] == 250
    assert not filtered.delivered(user)


def test_a_login_keeps_its_own_sender(filtered, play):
    """A filter may not have somebody write in another's name."""
    user, other = filtered.new_user(), filtered.new_user()
    play({"E": packet("e", f"<{other}>\0".encode()) + packet("c")}, "submission", actions=0x1ff)
    with filtered.smtp(user) as smtp:
        smtp.sendmail(user, [other], mails.plain(user, other))
    assert f"Return-Path: <{user}>".encode() in received(filtered, other)
    assert "sender-kept" in filtered.log()


@pytest.mark.parametrize("changes", [packet("e", b"no NUL"), packet("+", b"\0"), packet("-", b""), packet("+", b"a@b\r\nX: y\0"),
                                     packet("e", b"a@b\0c\0d\0"), packet("+", b"x" * 900_000 + b"\0")],
                         ids=["no end", "nobody", "nothing", "line break", "too many", "long"])
def test_malformed_changes_of_the_envelope(filtered, play, changes):
    user = filtered.new_user()
    play({"E": changes + packet("c")}, actions=0x1ff)
    assert send(filtered, user)[0] == 451
    assert not filtered.delivered(user)


def test_changes_that_were_not_announced(filtered, play):
    user = filtered.new_user()
    for change in (packet("e", b"a@b.example\0"), packet("+", b"a@b.example\0"), packet("2", b"a@b.example\0"), packet("-", b"a@b.example\0")):
        play({"E": change + packet("c")}, actions=0x33)
        assert send(filtered, user)[0] == 451
    assert not filtered.delivered(user)


def test_touched_and_then_dead(own_suite):
    """A filter that has changed something and then fails leaves half a message: put off, even when milter_down says accept."""
    one = Filter(own_suite.tmp / "half.sock", {"E": lambda f, c: (c.sendall(field("h", b"X-Half", b"done")), True)[1]})
    try:
        own_suite.configure(smtp_milters=f'{{"unix:{one.path}"}}', milter_down="accept")
        own_suite.valija("reload")
        valija.wait_until(lambda: own_suite.processes("milter"), what="milter")
        user = own_suite.new_user()
        assert send(own_suite, user) == (451, b"4.7.1 a filter of this server failed, try again later")
        assert not own_suite.delivered(user)
    finally:
        one.close()


def test_macros_that_a_filter_wishes_for(filtered, play):
    """SETSYMLIST: those, where there is something to tell, and no others."""
    wishes = b"".join(struct.pack("!I", stage) + names + b"\0" for stage, names in
                      ((0, b"j, {client_addr} {no_such}"), (2, b""), (3, b"{rcpt_host} i"), (5, b"{mail_addr}")))
    one = play({"O": packet("O", struct.pack("!III", 6, 0x100, 0) + wishes)})
    user = filtered.new_user()
    assert send(filtered, user)[0] == 250
    macros = {d[:1]: d[1:].split(b"\0")[:-1] for c, d in one.heard if c == "D"}
    assert macros[b"C"] == [b"j", b"localhost", b"{client_addr}", b"127.0.0.1"] and b"M" not in macros
    assert macros[b"R"][:2] == [b"{rcpt_host}", valija.DOMAIN.encode()] and macros[b"R"][2] == b"i"
    assert macros[b"E"] == [b"{mail_addr}", b"a@elsewhere.example"]


def test_skip(filtered, play):
    """A filter that has seen enough of recipients, fields or body hears no more of them."""
    users = [filtered.new_user() for _ in range(3)]
    one = play({"R": packet("s"), "L": packet("s"), "B": packet("s")}, steps=0x400)
    with filtered.smtp(service="smtp") as smtp:
        smtp.sendmail("a@elsewhere.example", users, mails.plain("a@elsewhere.example", users[0], size=300_000))
    assert "".join(c for c, _ in one.heard if c != "D") == "OCHMRTLNBEQ"
    assert all(received(filtered, u) for u in users)


@pytest.mark.parametrize("seconds, code", [(1.5, 250), pytest.param(8, 451, marks=pytest.mark.long)])
def test_progress_prolongs(filtered, play, seconds, code):
    """"Still working" says more time, but not for ever: four times as much."""
    user = filtered.new_user()

    def work(seconds):
        def answer(f, connection):
            for _ in range(int(seconds / 0.5)):
                threading.Event().wait(0.5)
                connection.sendall(packet("p"))
            connection.sendall(packet("c"))
        return answer

    play({"M": work(seconds)})
    assert send(filtered, user)[0] == code


def test_a_hanging_filter_delays_nobody_for_long(own_suite):
    """milter_down=accept: each message waits its time for the filter, all together as long as one; and who hangs up takes
    his conversation along when its time is over."""
    one = Filter(own_suite.tmp / "hang.sock", {"M": b""})
    try:
        own_suite.configure(smtp_milters=f'{{"unix:{one.path}"}}', milter_down="accept", milter_processes=1, milter_command_seconds=3)
        own_suite.valija("reload")
        valija.wait_until(lambda: own_suite.processes("milter"), what="milter")
        users, took = [own_suite.new_user() for _ in range(10)], []

        def one_message(user):
            begun = time.monotonic()
            assert send(own_suite, user)[0] == 250
            took.append(time.monotonic() - begun)

        threads = [threading.Thread(target=one_message, args=(u,)) for u in users]
        begun = time.monotonic()
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        together = time.monotonic() - begun
        assert len(took) == 10 and together < 3 * 3, took   # one after the other would take thirty seconds
        assert all(received(own_suite, u) for u in users)
        with own_suite.connect("smtp") as s:
            s.recv(1000)
            s.sendall(b"EHLO a.example\r\n")
            s.recv(4000)
            s.sendall(b"MAIL FROM:<>\r\nRCPT TO:<%s>\r\n" % users[0].encode())
            valija.wait_until(lambda: [p for p in own_suite.processes("milter") if p["connections"]], what="the filter is asked")
        # By TCP nobody can tell who hangs up from who only says no more and waits for the answer: until the filter's time is over.
        valija.wait_until(lambda: not [p for p in own_suite.processes("milter") if p["connections"]], 3 + 2, "it is forgotten")
    finally:
        one.close()


def test_a_reload_does_not_wait_for_filters(own_suite):
    """While a filter hangs, a new configuration is agreed on as ever, and what hangs goes on under the old limits."""
    one = Filter(own_suite.tmp / "hang.sock", {"M": b""})
    try:
        own_suite.configure(smtp_milters=f'{{"unix:{one.path}"}}', milter_down="accept", milter_command_seconds=6)
        own_suite.valija("reload")
        valija.wait_until(lambda: own_suite.processes("milter"), what="milter")
        user = own_suite.new_user()
        replies = []
        waits = threading.Thread(target=lambda: replies.append(send(own_suite, user)[0]))
        waits.start()
        valija.wait_until(lambda: [p for p in own_suite.processes("milter") if p["connections"]], what="the filter is asked")
        begun = time.monotonic()
        own_suite.configure(smtp_milters="{}", submission_milters=f'{{"unix:{one.path}"}}')
        own_suite.valija("reload")
        assert time.monotonic() - begun < 4
        assert send(own_suite, user)[0] == 250          # no filter any more
        waits.join()
        assert replies == [250]
        valija.wait_until(lambda: len(own_suite.delivered(user)) == 2, what="both messages")
    finally:
        one.close()


@pytest.mark.parametrize("policy, code", [("accept", 250), ("tempfail", 451), ("reject", 550)])
def test_a_filter_that_is_down(own_suite, policy, code):
    own_suite.configure(smtp_milters='{"unix:/nonexistent/socket"}', milter_down=policy)
    own_suite.valija("reload")
    user = own_suite.new_user()
    valija.wait_until(lambda: own_suite.processes("milter"), what="milter")
    assert send(own_suite, user)[0] == code
    assert len(own_suite.delivered(user)) == 0 if code != 250 else received(own_suite, user)


def text_of(*words):
    return b"".join(struct.pack("=I", len(word)) + word for word in words)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to speak for another process")
def test_a_captured_smtpd_cannot_fill_milter():
    """More open messages than there may be connections, or more recipients: their speaker is ended, nobody else."""
    def begins(n):
        return HEADER.pack(221, n) + struct.pack("=QBB", 1, 0, 0) + text_of(b"192.0.2.1", b"", b"c", b"", b"", b"", b"a@b.example")
    settings = {"smtp_milters": '{"unix:/nonexistent/socket"}', "milter_down": "accept", "connections": 5, "recipients": 100,
                "smtpd_processes": 1, "milter_processes": 1}
    with valija.Instance(settings=settings) as suite:
        (milter,), user = suite.processes("milter"), suite.new_user()
        for what, packets in (("filter_begin", [begins(n) for n in range(1, 7)]),
                              ("filter_recipient", [begins(9)] + [HEADER.pack(222, 9) + struct.pack("=I", n) + text_of(b"a@b.example")
                                                                 for n in range(101)])):
            (smtpd,) = suite.processes("smtpd")
            # The others hear it too, and refuse it; milter must count. Meanwhile master ends nobody for what they say.
            os.kill(suite.master_pid(), signal.SIGSTOP)
            try:
                for end in channels_of(smtpd["pid"]):
                    for p in packets:
                        say(end, p)
                    end.close()
                valija.wait_until(lambda: re.search(rf'peer-refused peer=smtpd .*"not at this hour" message={what} ', suite.log()),
                                  10, f"the refusal of {what}")
            finally:
                os.kill(suite.master_pid(), signal.SIGCONT)
            valija.wait_until(lambda: not valija.alive(smtpd["pid"]), 10, "the end of smtpd")
            valija.wait_until(lambda: len(suite.processes("smtpd")) == 1, 10, "another smtpd")
        assert suite.processes("milter")[0]["pid"] == milter["pid"]

        def sent():
            try:
                return send(suite, user)[0] == 250
            except OSError:
                return False
        valija.wait_until(sent, 20, "mail to go through again", 0.2)
        assert received(suite, user)


def test_milter_is_confined(filtered):
    for told in filtered.processes("milter"):
        status = valija.proc_status(told["pid"])
        assert int(status["CapPrm"], 16) == 0 and status["Seccomp"].strip() == "2" and status["NoNewPrivs"].strip() == "1"
        assert told["uid"] != 0


def test_opendkim_signs_and_verifies(own_suite):
    """Debian's opendkim: signs what is submitted here, and tells of strangers' mail what it thinks."""
    place = own_suite.tmp / "dkim"
    place.mkdir()
    place.chmod(0o755)
    subprocess.run(["opendkim-genkey", "-b", "2048", "-d", valija.DOMAIN, "-s", "test", "-D", place], check=True, stdin=subprocess.DEVNULL)
    (place / "conf").write_text(f"Domain {valija.DOMAIN}\nSelector test\nKeyFile {place}/test.private\nSocket local:{place}/socket\n"
                                "Mode sv\nSyslog no\nUMask 000\nRequireSafeKeys no\nAlwaysAddARHeader yes\nDNSTimeout 1\n"
                                "Nameservers 127.0.0.1\n")
    with subprocess.Popen(["opendkim", "-f", "-x", place / "conf"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as opendkim:
        try:
            valija.wait_until(lambda: (place / "socket").exists(), what="opendkim")
            where = f'{{"unix:{place}/socket"}}'
            own_suite.configure(smtp_milters=where, submission_milters=where)
            own_suite.valija("reload")
            valija.wait_until(lambda: own_suite.processes("milter"), what="milter")
            user, other = own_suite.new_user(), own_suite.new_user()
            with own_suite.smtp(user) as smtp:
                smtp.sendmail(user, [other], mails.plain(user, other))
            mail = received(own_suite, other)
            assert f"DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d={valija.DOMAIN}; s=test;".encode() in mail
            dkim = pytest.importorskip("dkim", reason="python3-dkim is not installed")
            public = "".join(p for p in (place / "test.txt").read_text().split('"')[1::2])
            signed = mail[mail.index(b"DKIM-Signature:"):]
            assert dkim.verify(signed, dnsfunc=lambda name, timeout=5: public.encode())
        finally:
            opendkim.terminate()
