"""HARDENING L5: what a captured front end can get from master with tickets of its own making: nothing."""

import array
import ctypes
import os
import secrets
import socket
import struct
import time

import pytest

import valija

PIDFD_GETFD = 438  # the number is the same on every architecture
CONTROL_FD = 3
IMAP_OPEN = 50

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root to speak in another process's place")


def control_of(pid):
    """The control channel of a daemon: from here we speak to master as that process."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    fd = libc.syscall(PIDFD_GETFD, pidfd, CONTROL_FD, 0)
    os.close(pidfd)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    return socket.socket(fileno=fd)


def imap_open(ticket, session, tag=b"a", text=b""):
    field = lambda data: struct.pack("I", len(data)) + data
    return struct.pack("=HQ", IMAP_OPEN, session) + b"".join(field(f) for f in (ticket, tag, text, b"192.0.2.1", b"LOGIN"))


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
