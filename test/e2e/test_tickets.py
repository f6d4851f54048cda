"""HARDENING L5: what a captured front end gets with tickets that are forged, reused, expired or stolen: nothing.

The tests play the captured front end: they take its channels while it is stopped, and speak in its place."""

import array
import contextlib
import ctypes
import os
import re
import secrets
import signal
import socket
import struct
import time

import pytest

import messages
import valija

PIDFD_GETFD = 438  # the number is the same on every architecture
CONTROL_FD = 3
MESSAGES = {message.name: message for message in messages.table()}
AUTH_RIGHT = 1
SERVICE_SUBMISSION, SERVICE_LOCAL, SERVICE_IMAPS = 1, 4, 6

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root to speak in another process's place")


def descriptor_of(pid, number):
    """A descriptor of a process, here."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    fd = libc.syscall(PIDFD_GETFD, pidfd, number, 0)
    os.close(pidfd)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    return socket.socket(fileno=fd)


def control_of(pid):
    """The control channel of a daemon: from here we speak to master as that process."""
    return descriptor_of(pid, CONTROL_FD)


def channel_of(pid, peer):
    """The channel of a daemon to another one: `ss` knows which sockets belong together."""
    ends, owner = {}, {}
    for line in valija.run(["ss", "-xapHn"]).stdout.decode().splitlines():
        found = re.match(r"u_seq\s+\S+\s+\d+\s+\d+\s+\S+\s+(\d+)\s+\S+\s+(\d+)", line)
        if found:
            mine, other = found.groups()
            ends[mine] = other
            owner[mine] = [(int(p), int(fd)) for p, fd in re.findall(r"pid=(\d+),fd=(\d+)", line)]
    for mine, other in ends.items():
        for holder, fd in owner[mine]:
            if holder == pid and any(p == peer for p, _ in owner.get(other, [])):
                return descriptor_of(pid, fd)
    raise AssertionError(f"no channel between {pid} and {peer}")


@contextlib.contextmanager
def captured(pid):
    """The process rests; what it would hear is ours."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def say(name, ident, **values):
    """A packet of the table of messages; what is not given is zero, or empty."""
    assert set(values) <= {field for _, field, _ in MESSAGES[name].fields}
    return MESSAGES[name].packet(ident, lambda kind, field, _: values.get(field, 0 if kind in messages.NUMBERS else b""))


def imap_open(ticket, session, tag=b"a", text=b""):
    return say("imap_open", session, ticket=ticket, tag=tag, input=text, ip=b"192.0.2.1", verb=b"LOGIN", service=SERVICE_IMAPS)


def hand_over(control, packet):
    """Gives master one end of a connection, as imap-login does; returns the other."""
    ours, theirs = socket.socketpair()
    control.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))])
    theirs.close()
    ours.settimeout(3)
    return ours


def is_closed(end):
    try:
        return end.recv(100) == b""
    except socket.timeout:
        return False


def wait_for(instance, words, before, count=1):
    limit = time.monotonic() + 5
    while instance.log()[before:].count(words) < count and time.monotonic() < limit:
        time.sleep(0.02)
    assert instance.log()[before:].count(words) >= count, instance.log()[before:]


def test_l5_forged_tickets(suite):
    """Made up, of zeros, too short, too long, empty: no mailbox is opened, and the front end is no use for it."""
    user = suite.new_user("victim")
    with suite.imap(user) as imap:
        imap.select("INBOX")  # his process is there
        front = suite.processes("imap-login")[0]["pid"]
        control, before = control_of(front), len(suite.log())
        tickets = [secrets.token_bytes(16) for _ in range(20)] + [bytes(16)]
        for i, ticket in enumerate(tickets):
            assert is_closed(hand_over(control, imap_open(ticket, 1000 + i)))
        wait_for(suite, "the ticket is unknown or too old", before, len(tickets))
        assert "imap-opened" not in suite.log()[before:]
        assert imap.noop()[0] == "OK"
    control.close()


def test_l5_garbage_of_a_front_end_ends_only_it():
    """What is no message ends the front end's channel, not master: another front end takes its place. (That a ticket is
    taken once, within its time, for its session, by its front end alone: test/unit/test_master_ticket.c.)"""
    instance = valija.Instance(settings={"login_processes": 2, "auth_delay_seconds": 0})
    try:
        user = instance.new_user("owner")
        fronts = [p["pid"] for p in instance.processes("imap-login")]
        control, master = control_of(fronts[0]), instance.master_pid()
        control.send(struct.pack("=HQ", 9999, 1) + b"garbage")
        limit = time.monotonic() + 10
        while fronts[0] in [p["pid"] for p in instance.processes("imap-login")] and time.monotonic() < limit:
            time.sleep(0.05)
        assert fronts[0] not in [p["pid"] for p in instance.processes("imap-login")]
        assert instance.master_pid() == master
        instance.imap(user).logout()
        control.close()
    finally:
        assert not instance.close()


def session_id(name):
    return int(name, 32)


def mail_begin(message, session, login, service=SERVICE_SUBMISSION):
    login = login.encode()
    return say("mail_begin", message, session=session, service=service, sender=login, login=login, body=1, ip=b"192.0.2.1",
               helo=b"x", priority=10)


class Front:
    """A captured smtpd, as queue hears it."""

    def __init__(self, instance, pid):
        self.channel = channel_of(pid, instance.processes("queue")[0]["pid"])
        self.channel.settimeout(10)

    def begin(self, session, login, **more):
        """The code of queue's answer to MAIL."""
        message = secrets.randbits(63) | 1
        self.channel.send(mail_begin(message, session, login, **more))
        while True:
            packet = self.channel.recv(65536)
            number, about = struct.unpack_from("=HQ", packet)
            if (number, about) == (MESSAGES["mail_begun"].number, message):
                code = struct.unpack_from("=H", packet, 11)[0]
                if code == 250:
                    self.channel.send(say("mail_abort", message))
                return code


def logged_in(instance, user):
    """A client who has logged in to send mail: the connection, its front end, its session."""
    before = len(instance.log())
    smtp = instance.smtp(user)
    login = valija.wait_until(lambda: re.search(r"auth-ok session=(\S+) .*user=" + re.escape(user), instance.log()[before:]),
                              what="the login in the log")
    front = re.search(rf"smtpd\[(\d+)\]: tls session={login[1]} ", instance.log()[before:])
    return smtp, int(front[1]), session_id(login[1])


def test_l5_mail_of_a_captured_front_end():
    """smtpd names a login that was none, another user's, another front end's, one that has ended: queue believes none of
    it. What it says of who is logged in there is true, and believed."""
    instance = valija.Instance(settings={"smtpd_processes": 2})
    try:
        ana, bob = instance.new_user("ana"), instance.new_user("bob")
        smtp, front, session = logged_in(instance, ana)
        with captured(front):  # the other one takes the next
            other, elsewhere, session_elsewhere = logged_in(instance, bob)
        assert elsewhere != front
        before = len(instance.log())
        with captured(front):
            captive = Front(instance, front)
            assert captive.begin(session, ana) == 250
            assert captive.begin(secrets.randbits(63), ana) == 421, "forged"
            assert captive.begin(session, bob) == 421, "in another's name"
            assert captive.begin(session, ana, service=SERVICE_LOCAL) == 421, "for another service"
            assert captive.begin(session_elsewhere, bob) == 421, "stolen"
        wait_for(instance, "mail-login-unknown", before, 4)
        smtp.sendmail(ana, [bob], "Subject: still here\r\n\r\nyes\r\n")
        smtp.quit()
        name = re.search(r"auth-ok session=(\S+) .*user=" + re.escape(ana), instance.log())[1]
        valija.wait_until(lambda: f"disconnect session={name}" in instance.log(), what="the end of the session")

        def reused():
            with captured(front):
                return captive.begin(session, ana)
        valija.wait_until(lambda: reused() == 421, what="the end of the login")
        assert reused() == 421
        captive.channel.close()
        other.quit()
    finally:
        assert not instance.close()


def test_l5_a_queue_that_comes_anew(own_suite):
    """It knows no logins: the session ends with 421 when it wants to send, and a new one works."""
    user = own_suite.new_user("user")
    smtp = own_suite.smtp(user)
    queue = own_suite.processes("queue")[0]["pid"]
    os.kill(queue, signal.SIGKILL)
    valija.wait_until(lambda: [p for p in own_suite.processes("queue") if p["pid"] != queue and p["landlock"] >= 0],
                      what="another queue")
    codes = []
    while not codes or codes[-1] == 451 and len(codes) < 100:  # nobody is there yet
        codes.append(smtp.docmd("MAIL", f"FROM:<{user}>")[0])
        time.sleep(0.05)
    assert codes[-1] == 421, codes
    with own_suite.smtp(user) as again:
        again.sendmail(user, [user], "Subject: x\r\n\r\nx\r\n")


class Challenged:
    """A client of IMAP who has said AUTHENTICATE PLAIN: all but the password."""

    def __init__(self, instance):
        before = len(instance.log())
        self.socket = instance.tls().wrap_socket(instance.connect("imaps"), server_hostname=instance.host)
        self.socket.recv(1000)
        self.socket.send(b"a AUTHENTICATE PLAIN\r\n")
        assert self.socket.recv(100).startswith(b"+")
        line = valija.wait_until(lambda: re.search(r"imap-login\[(\d+)\]: tls session=(\S+) ", instance.log()[before:]),
                                 what="the connection in the log")
        self.front, self.session = int(line[1]), session_id(line[2])


def true_ticket(channel, session, user, password):
    """auth's own ticket: the captured front end passed a right password on, and keeps what it is told."""
    secret = b"\0" + user.encode() + b"\0" + password.encode()
    channel.send(say("auth_answer", session, data=secret))
    while True:
        packet = channel.recv(65536)
        number, about, verdict = struct.unpack_from("=HQB", packet)
        if (number, about) == (MESSAGES["auth_told"].number, session):
            break
    assert verdict == AUTH_RIGHT
    length = struct.unpack_from("I", packet, 11)[0]
    ticket = packet[15 + length + 4:15 + length + 20]
    assert len(ticket) == 16
    return ticket


def captured_login(instance, wanted):
    """A front end with so many clients who are asked for their password; and another front end."""
    by_front = {}
    for _ in range(60):
        client = Challenged(instance)
        by_front.setdefault(client.front, []).append(client)
        if len(by_front[client.front]) == wanted:
            other = [p["pid"] for p in instance.processes("imap-login") if p["pid"] != client.front][0]
            return client.front, by_front[client.front], other, by_front
    raise AssertionError("connections are spread over too many front ends")


def test_l5_true_tickets_misused():
    """A ticket that auth did make: for another session, at another front end (stolen), a second time (reused)."""
    instance = valija.Instance(settings={"login_processes": 2})
    try:
        user = instance.new_user("owner")
        front, clients, other, kept = captured_login(instance, 3)
        with captured(front):
            auth = channel_of(front, instance.processes("auth")[0]["pid"])
            auth.settimeout(10)
            control, control_of_other = control_of(front), control_of(other)
            tickets = [true_ticket(auth, c.session, user, instance.passwords[user]) for c in clients]
            before = len(instance.log())
            # For another session; then it is worth nothing for its own either.
            assert is_closed(hand_over(control, imap_open(tickets[0], clients[1].session)))
            assert is_closed(hand_over(control, imap_open(tickets[0], clients[0].session)))
            wait_for(instance, "ticket-misused", before)
            wait_for(instance, "the ticket is for another session", before)
            wait_for(instance, "the ticket is unknown or too old", before)
            # Stolen: at another front end, with the right session.
            assert is_closed(hand_over(control_of_other, imap_open(tickets[1], clients[1].session)))
            wait_for(instance, "ticket-misused", before, 2)
            assert "imap-opened" not in instance.log()[before:]
            # As it should be: the mailbox opens. Once.
            end = hand_over(control, imap_open(tickets[2], clients[2].session))
            assert end.recv(1000).startswith(b"a OK")
            wait_for(instance, "imap-opened", before)
            assert is_closed(hand_over(control, imap_open(tickets[2], clients[2].session)))
            wait_for(instance, "the ticket is unknown or too old", before, 2)
            assert instance.log()[before:].count("imap-opened") == 1
        for s in (auth, control, control_of_other, end, *(c.socket for some in kept.values() for c in some)):
            s.close()
    finally:
        assert not instance.close()


@pytest.mark.long
def test_l5_expired_ticket():
    """True, never used, for the right session at the right front end; but 31 seconds old."""
    instance = valija.Instance(settings={"login_processes": 1})
    try:
        user = instance.new_user("owner")
        client = Challenged(instance)
        with captured(client.front):
            auth = channel_of(client.front, instance.processes("auth")[0]["pid"])
            auth.settimeout(10)
            control = control_of(client.front)
            ticket = true_ticket(auth, client.session, user, instance.passwords[user])
            before = len(instance.log())
            time.sleep(31)
            assert is_closed(hand_over(control, imap_open(ticket, client.session)))
            wait_for(instance, "the ticket is unknown or too old", before)
            assert "imap-opened" not in instance.log()[before:]
        auth.close()
        control.close()
    finally:
        assert not instance.close()
