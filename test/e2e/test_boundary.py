"""Captured daemons that keep to the form: each packet is one that the table of messages lets this program say to that peer,
often about a conversation that is really under way, and what it says is a lie: numbers, names, times and descriptors that no
honest program would send. Nobody else may die of it, hang, or use memory without bound."""

import contextlib
import imaplib
import os
import random
import re
import select
import signal
import smtplib
import socket
import subprocess
import threading
import time

import pytest

import mails
import messages
import valija
from test_channels import PIDFD_GETFD, libc, needs_root, say

# LIARS="auth queue": only these; LIES=7: another course of events.
PROGRAMS = os.environ.get("LIARS", "").split() or ["smtpd", "imap-login", "imap", "auth", "auth-hash", "tls-key", "tls", "pickup", "policy", "queue", "dns",
            "relay", "spool", "local", "fetch", "sts", "ocsp"]
# Those that only some options start, and what is asked of them leads nowhere.
OPTIONAL = ["milter", "auth-pam", "auth-token", "auth-fetch", "local-home", "portmap", "gist"]
WITH_ALL = {"smtp_milters": '{"inet:127.0.0.1:1"}', "milter_down": '"accept"', "system_users": "yes", "system_domains": '{"sys.example.org"}',
            "system_homes": '{"/tmp"}', "domains": '{"example.org"}', "oauth_introspection": '"https://127.0.0.1:1/introspect"',
            "oauth_seconds": 2, "port_mapping": "yes", "cache_at_delivery": "yes"}
TABLE = messages.table()
BY_NAME = {m.name: m for m in TABLE}
TEXTS = [b"", b"x", b"ana@example.org", b"example.org", b"127.0.0.1", b"[::1]:65535", b"../../etc/passwd", b"%n%s${run{x}}",
         b"a\r\nBcc: b@example.org", b"\xff\xfe", b"2.0.0", b"250 2.0.0 ok", b"-", b"/", b"0", b"18446744073709551616"]


def channels_of(suite, program):
    """{(pid, peer): end} of every process of the program: copies of its ends of its channels."""
    programs = {p["pid"]: p["program"] for p in suite.status() if p["pid"]}
    ends, found = {}, {}
    for line in valija.run(["ss", "-xapHn"]).stdout.decode().splitlines():
        here = re.match(r"u_seq\s+ESTAB\s+\d+\s+\d+\s+\S+\s+(\d+)\s+\S+\s+(\d+)", line)
        if here:
            ends[here[1]] = (here[2], [(int(p), int(fd)) for p, fd in re.findall(r"pid=(\d+),fd=(\d+)", line)])
    for other, holders in ends.values():
        for pid, fd in holders:
            peers = {programs[peer] for peer, _ in ends.get(other, (None, []))[1] if peer in programs and peer != pid}
            if programs.get(pid) == program and peers:
                # master keeps a copy of the ends at which the log hears.
                with contextlib.suppress(ProcessLookupError):
                    pidfd = os.pidfd_open(pid)
                    copy = libc.syscall(PIDFD_GETFD, pidfd, fd, 0)
                    os.close(pidfd)
                    if copy >= 0:
                        found[pid, min(peers), fd] = socket.socket(fileno=copy)
    return found


class Liar:
    """Speaks in the place of all processes of a program, which rest meanwhile."""

    def __init__(self, suite, program, rng):
        self.suite, self.program, self.rng = suite, program, rng
        self.said, self.seen, self.stopped, self.ends = set(), {}, set(), {}
        self.things = self._things()

    def _things(self):
        """Descriptors that hurt who takes them for what they should be."""
        fifo = self.suite.tmp / f"fifo-{self.program}"
        os.mkfifo(fifo)
        one, other = socket.socketpair()
        listening = socket.create_server(("127.0.0.1", 0))
        memory = os.memfd_create("lies")
        os.ftruncate(memory, 1 << 40)
        full = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while os.write(full, bytes(4096)):
                pass
        os.set_blocking(full, True)     # who writes waits for ever
        self.keep = [one, other, listening]
        fd = lambda path, flags: os.open(path, flags)
        return [fd("/dev/null", os.O_RDWR), fd("/dev/zero", os.O_RDWR), fd("/dev/full", os.O_RDWR), full,
                fd("/", os.O_PATH), fd("/", os.O_RDONLY | os.O_DIRECTORY), one.fileno(), listening.fileno(), memory,
                os.eventfd(0), fd("/proc/self/mem", os.O_RDONLY),
                fd(self.suite.conf, os.O_RDONLY)]

    def capture(self):
        """Newly started processes of the program rest too; all their channels are ours."""
        for process in self.suite.processes(self.program):
            if process["pid"] not in self.stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process["pid"], signal.SIGSTOP)
                    self.stopped.add(process["pid"])
        for end in self.ends.values():
            end.close()
        self.ends = channels_of(self.suite, self.program)

    def value(self, kind, name, most):
        rng = self.rng
        if kind in messages.NUMBERS:
            top = 1 if kind == "flag" else (1 << 8 * messages.NUMBERS[kind]) - 1
            return rng.choice([0, 1, top, top // 2 + 1, rng.randrange(top + 1), rng.randrange(min(top, 6) + 1)])
        if rng.random() < 0.2:
            return b"x" * most
        if kind == "text":
            return rng.choice(TEXTS)[:most]
        return rng.randbytes(rng.choice([0, 1, 32, min(most, 300), most]))[:most]

    def lie(self, end, peer, ident):
        """One packet that the table allows; the id is one that the peer knows, if there is any."""
        may = [m for m in TABLE if self.program in m.by and peer in m.to and m.name != "peer_lost"]    # test_master_dispute.c
        if not may:
            return
        # What was not said yet comes first, and what certainly ends the sender (it is confined already) once.
        fresh = [m for m in may if (m.name, peer) not in self.said]
        may = [m for m in may if m.name != "confined"] or may
        message = self.rng.choice(fresh if fresh and self.rng.random() < 0.7 else may)
        fds = [self.rng.choice(self.things) for _ in range(message.fds)]
        packet = message.packet(ident, self.value)
        if len(packet) <= 65536 and say(end, packet, fds):
            self.said.add((message.name, peer))

    def unsaid(self):
        """What it may say to peers that are there, and has not yet."""
        peers = {peer for _, peer, _ in self.ends}
        return [(m.name, peer) for m in TABLE for peer in peers
                if self.program in m.by and peer in m.to and (m.name, peer) not in self.said and m.name != "peer_lost"]

    def turn(self):
        """Hears what peers say, and answers; says something to somebody who asked nothing."""
        by_fd = {end.fileno(): (key, end) for key, end in self.ends.items()}
        dead = False
        for fd in select.select(list(by_fd), [], [], 0.02)[0]:
            (_, peer, _), end = by_fd[fd]
            try:
                packet, laden, _, _ = socket.recv_fds(end, 65536, 4, socket.MSG_DONTWAIT)
            except OSError:
                continue
            for one in laden:
                os.close(one)
            if len(packet) < messages.HEADER.size:
                dead = True
                continue
            _, ident = messages.HEADER.unpack_from(packet)
            self.seen.setdefault(peer, []).append(ident)
            for _ in range(self.rng.choice([1, 1, 2, 5])):
                self.lie(end, peer, ident)
        for (_, peer, _), end in self.ends.items():
            if self.rng.random() < 0.03:
                known = self.seen.get(peer, [])[-20:]
                self.lie(end, peer, self.rng.choice([*known, 0, 1, 2**64 - 1]))
        return dead

    def run(self, seconds):
        begun = time.monotonic()
        self.capture()
        while (took := time.monotonic() - begun) < seconds or (self.unsaid() and took < 5 * seconds):
            if self.turn():
                time.sleep(0.05)
                self.capture()

    def close(self):
        for end in [*self.ends.values(), *self.keep]:
            end.close()
        for fd in self.things:
            with contextlib.suppress(OSError):
                os.close(fd)
        for process in self.suite.processes(self.program):
            if process["pid"] in self.stopped:
                self.suite.kill(process)


def clients(suite, user, over):
    """What makes the daemons speak with each other, until `over`; whatever they meet is all right."""
    def mail():
        with suite.smtp(service="smtp", seconds=1) as smtp:
            smtp.sendmail("a@elsewhere.example", [user], mails.plain("a@elsewhere.example", user, "lies"))

    def send():
        with suite.smtp(user, seconds=2) as smtp:
            smtp.sendmail(user, [user, "x@elsewhere.example"], mails.plain(user, user, "lies"))

    def read():
        with suite.imap(user, seconds=2) as imap:
            imap.select("INBOX")
            imap.search(None, "ALL")

    def asks():
        subprocess.run(suite.argv("queue", "list"), capture_output=True, timeout=2, check=False)

    def guess():
        with suite.imap(seconds=2) as imap:
            imap.login("nobody@sys.example.org", "wrong")

    def token():
        with suite.imap(seconds=2) as imap:
            imap.authenticate("XOAUTH2", lambda _: f"user={user}\1auth=Bearer lies\1\1".encode())

    def home():
        with suite.smtp(service="smtp", seconds=2) as smtp:
            smtp.sendmail("a@elsewhere.example", ["nobody@sys.example.org"], mails.plain("a@elsewhere.example", user, "lies"))

    def again(work):
        while not over.is_set():
            with contextlib.suppress(OSError, smtplib.SMTPException, imaplib.IMAP4.error, subprocess.TimeoutExpired):
                work()
            over.wait(0.05)
    threads = [threading.Thread(target=again, args=(work,)) for work in (mail, mail, send, read, asks, guess, token, home)]
    for thread in threads:
        thread.start()
    return threads


def asleep(pid):
    """Does it wait for events, and not inside of some other call or in a loop?"""
    try:
        with open(f"/proc/{pid}/syscall", encoding="ascii") as file:
            number = file.read().split()[0]
        return number in ("232", "281", "7", "271") or os.uname().machine != "x86_64"       # epoll_wait, epoll_pwait, poll, ppoll
    except OSError:
        return True


def lies(suite, user, program, rng, seconds):
    """The program lies for so long. Everybody else is as before, and the suite works."""
    assert suite.processes(program) or program == "imap", f"no {program} is there"
    others = {p["pid"]: p["program"] for p in suite.status() if p["pid"] and p["program"] not in (program, "imap")}
    over = threading.Event()
    with contextlib.suppress(OSError, imaplib.IMAP4.error):
        suite.imap(user, seconds=2).select()     # an imap process is there; whoever holds the session may end it
    threads, liar = clients(suite, user, over), Liar(suite, program, rng)
    try:
        liar.run(seconds)
    finally:
        over.set()
        for thread in threads:
            thread.join()
        liar.close()
    after = {p["pid"] for p in suite.status() if p["pid"]}
    suite.killed.update({(p["program"], p["index"]): p["restarts"] for p in suite.status() if p["program"] == program})
    gone = {who for pid, who in others.items() if pid not in after}
    assert not gone, (program, gone, suite.log_tail(60))
    # Blocking workers may be in the midst of something; nobody is for long.
    for pid, who in others.items():
        valija.wait_until(lambda: asleep(pid), 20, f"{who} to wait for events again, after {program}'s lies")

    def works():
        try:
            with suite.smtp(user, seconds=5) as smtp:
                smtp.sendmail(user, [user], mails.plain(user, user, f"after-{program}"))
            with suite.imap(user, seconds=5) as imap:
                imap.select("INBOX")
                return bool(imap.search(None, "SUBJECT", f"after-{program}")[1][0])
        except (OSError, smtplib.SMTPException, imaplib.IMAP4.error):
            return False
    valija.wait_until(works, 40, f"service after the lies of {program}{suite.log_tail(30)}", pause=0.2)
    return liar.unsaid()


@needs_root
@pytest.mark.long
@pytest.mark.parametrize("programs", [PROGRAMS, OPTIONAL], ids=["usual", "optional"])
def test_l1_a_captured_daemon_that_keeps_to_the_form(programs):
    """Each daemon in turn, for a few seconds. Everything that it may say to somebody who is there was said."""
    with valija.Instance(settings=WITH_ALL if programs is OPTIONAL else None) as suite:
        everybody_lies(suite, programs)


def everybody_lies(own_suite, programs):
    seed, user, master = os.environ.get("LIES", "9"), own_suite.new_user("lied"), own_suite.master_pid()
    unsaid = {}
    for program in programs:
        if left := lies(own_suite, user, program, random.Random(f"{seed}-{program}"), 5):
            unsaid[program] = left
        assert own_suite.master_pid() == master
    log = own_suite.log()
    assert "signal=11" not in log and "signal=6" not in log and "signal=31" not in log
    assert "no handler" not in log, [line for line in log.splitlines() if "no handler" in line][:5]
    assert not unsaid, unsaid


@needs_root
@pytest.mark.long
@pytest.mark.parametrize("program", ["smtpd", "local"])
def test_l1_who_closes_channels_ends_itself_alone(own_suite, program):
    """A captured daemon that ends its channels, and lives: none of its peers is replaced in its stead."""
    user, before = own_suite.new_user("closed"), {p["pid"]: p["program"] for p in own_suite.status() if p["pid"]}
    victim = own_suite.processes(program)[0]["pid"]
    os.kill(victim, signal.SIGSTOP)
    for (pid, peer, _), end in channels_of(own_suite, program).items():
        if pid == victim and peer not in ("master", "log"):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
    valija.wait_until(lambda: not valija.alive(victim), 20, f"the end of {program}")
    after = {p["pid"] for p in own_suite.status()}
    own_suite.killed[program, 0] = 1
    assert {pid for pid in before if pid not in after} == {victim}, own_suite.log_tail()
    with own_suite.smtp(user) as smtp:
        smtp.sendmail(user, [user], mails.plain(user, user, "served"))
    assert own_suite.delivered(user)


@needs_root
def test_l1_what_is_lent_is_a_file(own_suite):
    """A captured local lends what would make smtpd wait for ever: the message comes later, and nobody hangs."""
    user, lend, lent = own_suite.new_user("lent"), BY_NAME["lend"], BY_NAME["lent"]
    stopped = [p["pid"] for p in own_suite.processes("local")]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    ends = [end for (_, peer, _), end in channels_of(own_suite, "local").items() if peer == "queue"]
    reading, full = os.pipe()
    os.set_blocking(full, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(full, bytes(65536)):
            pass
    os.set_blocking(full, True)
    try:
        with own_suite.smtp(service="smtp") as smtp:
            smtp.ehlo()
            smtp.mail("a@elsewhere.example")
            smtp.rcpt(user)
            smtp.putcmd("DATA")
            end = select.select(ends, [], [], 5)[0][0]
            number, ident = messages.HEADER.unpack_from(end.recv(65536))
            assert number == lend.number
            assert say(end, lent.packet(ident, None), [full])
            code = smtp.getreply()[0]
            if code == 354:     # said before the file is there; then the end of the message hears what became of it
                smtp.send(b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n.\r\n")
                code = smtp.getreply()[0]
            assert code == 451
            assert smtp.noop()[0] == 250
    finally:
        for end in ends:
            end.close()
        os.close(reading)
        os.close(full)
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    valija.wait_until(lambda: "lent-no-file by=local" in own_suite.log(), 5, "a line in the log")


@needs_root
def test_l1_a_captured_local_writes_to_nobody_elsewhere(own_suite):
    """Notices are about a mailbox that is here: one to the world, in postmaster's name, goes nowhere."""
    user, notice = own_suite.new_user("noticed"), BY_NAME["notice"]
    ends = [end for (_, peer, _), end in channels_of(own_suite, "local").items() if peer == "queue"]
    for to in ("victim@elsewhere.example", user):
        said = {"recipient": to.encode(), "subject": b"told", "body": b"by local"}
        assert say(ends[0], notice.packet(1, lambda kind, name, most: said[name]))
    for end in ends:
        end.close()
    valija.wait_until(lambda: own_suite.delivered(user), 10, "the notice to a mailbox")
    valija.wait_until(lambda: "notice-undeliverable to=victim@elsewhere.example" in own_suite.log(), 5, "a line in the log")
    assert "victim" not in own_suite.valija("queue", "list").stdout
