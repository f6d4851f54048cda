"""Clients that leave, flood or keep silent before their login is done, in each state in which imap-login watches little or
nothing of them: their end is noticed in bounded time, their place freed, what they said neither lost nor taken twice."""

import contextlib
import os
import re
import select
import signal
import socket
import ssl
import time

import pytest

import valija

LOGIN_SECONDS, DELAY_SECONDS = 6, 3
NOOPS = 20000     # more than the sockets of client, worker and front end hold, in lines of 14 bytes


@pytest.fixture(scope="module")
def suite():
    instance = valija.Instance(settings={"login_seconds": LOGIN_SECONDS, "login_processes": 1, "auth_delay_seconds": DELAY_SECONDS,
                                         "auth_delay_most_seconds": DELAY_SECONDS, "tls_handshake_seconds": LOGIN_SECONDS + 3, "auth_block_failures": 0})
    yield instance
    assert not instance.close()


def shaken(suite, service, **how):
    """A connection with TLS, whose greeting was read."""
    raw = suite.connect(service, **how)
    if service == "imap":
        raw.recv(1000)
        raw.sendall(b"s STARTTLS\r\n")
        assert raw.recv(1000).startswith(b"s OK")
    sock = suite.tls().wrap_socket(raw, server_hostname=suite.host)
    if service == "imaps":
        assert sock.recv(1000).startswith(b"* OK")
    return sock


def ended(suite, before, words, seconds=10):
    """Waits for the line of the only connection that has ended since; nobody is in the front end any more."""
    pattern = rf"\]: (disconnect|logout) session=\w+ ip=127\.0\.0\.1 .*{words}"
    valija.wait_until(lambda: re.search(pattern, suite.log()[before:]), seconds, f"{words} in the log")
    valija.wait_until(lambda: suite.processes("imap-login")[0]["connections"] == 0, what="an empty front end")


def leave(sock, how):
    """With close_notify and FIN, or with a reset."""
    if how == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    elif hasattr(sock, "unwrap"):
        sock.settimeout(0)
        with contextlib.suppress(OSError):
            sock.unwrap()
    sock.close()


def busy(suite):
    """Clock ticks that imap-login has used."""
    with open(f"/proc/{suite.processes('imap-login')[0]['pid']}/stat", encoding="ascii") as stat:
        return sum(map(int, stat.read().rpartition(")")[2].split()[11:13]))


def flood(sock):
    """NOOPs, until no more fits, while nobody reads: what did not fit. One thread: an SSL object is for one at a time."""
    sock.settimeout(0)
    rest = memoryview(b"".join(b"%06d NOOP\r\n" % i for i in range(NOOPS)))
    while rest and select.select([], [sock], [], 0.5)[1]:
        rest = push(sock, rest)
    return rest


def push(sock, rest):
    with contextlib.suppress(ssl.SSLWantWriteError):
        rest = rest[sock.send(rest[:16384]):]
    return rest


def answers(sock, rest):
    """Sends the rest; tags of the tagged answers, in their order, when all NOOPs are answered."""
    words, last = b"", b"%06d OK" % (NOOPS - 1)
    while last not in words[-1000:]:
        reads, writes, _ = select.select([sock], [sock] if rest else [], [], 30)
        assert reads or writes, words[-200:]
        if writes:
            rest = push(sock, rest)
        with contextlib.suppress(ssl.SSLWantReadError):
            while more := sock.recv(65536):
                words += more
    return [line.split()[0] for line in words.splitlines() if not line.startswith(b"*")]


@pytest.fixture
def handed(suite):
    """A user whose process is stopped: who logs in waits, and master too, until go()."""
    user = suite.new_user("handed")
    suite.imap(user).logout()
    (process,) = [p for p in suite.processes("imap") if p["user"] == user]
    os.kill(process["pid"], signal.SIGSTOP)

    def go():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process["pid"], signal.SIGCONT)
    try:
        yield user, f'a LOGIN {user} "{suite.passwords[user]}"\r\n'.encode(), go
    finally:
        go()


@pytest.mark.parametrize("how", ["close", "reset"])
def test_who_leaves_before_tls(suite, how):
    before = len(suite.log())
    leave(suite.connect("imaps"), how)
    ended(suite, before, 'why="TLS failed"', seconds=4)


def test_who_keeps_silent_before_tls(suite):
    """The front end counts him no more after login_seconds, the TLS worker hangs up after tls_handshake_seconds."""
    before = len(suite.log())
    with suite.connect("imaps") as sock:
        ended(suite, before, 'why="TLS takes too long"', seconds=LOGIN_SECONDS + 3)
        assert sock.recv(100) == b""


def test_who_floods_before_tls(suite):
    before, used = len(suite.log()), busy(suite)
    with suite.connect("imaps") as sock, contextlib.suppress(ConnectionError):
        sock.sendall(b"x" * 4000000)
    ended(suite, before, 'why="TLS failed"')
    assert busy(suite) - used < 20


@pytest.mark.parametrize("service", ["imap", "imaps"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_who_leaves_while_auth_works(suite, service, how):
    before = len(suite.log())
    sock = shaken(suite, service)
    sock.sendall(b"a LOGIN nobody wrong\r\n")
    valija.wait_until(lambda: "auth-failed" in suite.log()[before:], what="the verdict, whose answer waits")
    leave(sock, how)
    ended(suite, before, "why=", seconds=DELAY_SECONDS + 3)


@pytest.mark.parametrize("service", ["imap", "imaps"])
def test_who_floods_while_auth_works(suite, service):
    """It costs nothing until auth has spoken; then each command is answered once."""
    before = len(suite.log())
    with shaken(suite, service) as sock:
        sock.sendall(b"a LOGIN nobody wrong\r\n")
        valija.wait_until(lambda: "auth-failed" in suite.log()[before:], what="the verdict, whose answer waits")
        rest, used = flood(sock), busy(suite)
        time.sleep(DELAY_SECONDS - 1.5)
        assert busy(suite) - used < 20
        assert answers(sock, rest) == [b"a"] + [b"%06d" % i for i in range(NOOPS)]
    ended(suite, before, "why=")


@pytest.mark.parametrize("service", ["imap", "imaps"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_who_leaves_while_master_works(suite, handed, service, how):
    _, login, go = handed
    before = len(suite.log())
    sock = shaken(suite, service)
    sock.sendall(login)
    valija.wait_until(lambda: "auth-ok" in suite.log()[before:], what="the verdict")
    leave(sock, how)
    go()
    ended(suite, before, "why=", seconds=4)


@pytest.mark.parametrize("service", ["imap", "imaps"])
def test_who_floods_while_master_works(suite, handed, service):
    _, login, go = handed
    before = len(suite.log())
    with shaken(suite, service) as sock:
        sock.sendall(login)
        valija.wait_until(lambda: "auth-ok" in suite.log()[before:], what="the verdict")
        rest, used = flood(sock), busy(suite)
        time.sleep(1)
        assert busy(suite) - used < 20
        go()
        assert answers(sock, rest) == [b"a"] + [b"%06d" % i for i in range(NOOPS)]
    ended(suite, before, "why=")


@pytest.mark.parametrize("floods", [False, True])
def test_a_limit_that_comes_while_master_works(suite, handed, floods):
    """Nobody waits longer than login_seconds, whoever is slow; and the next login works."""
    user, login, go = handed
    before = len(suite.log())
    with shaken(suite, "imaps") as sock:
        sock.sendall(login)
        valija.wait_until(lambda: "auth-ok" in suite.log()[before:], what="the verdict")
        if floods:
            flood(sock)
            sock.settimeout(30)
        assert sock.recv(1000).startswith(b"* BYE [UNAVAILABLE]")
        ended(suite, before, "why=closed")
        go()
    suite.imap(user).logout()


@pytest.mark.parametrize("service", ["imap", "imaps"])
def test_who_floods_and_never_reads(suite, service):
    """Costs nothing but his place, until login_seconds and the time for last words are over."""
    before = len(suite.log())
    with (shaken if service == "imaps" else valija.Instance.connect)(suite, service, holds=4096) as sock:
        sock.settimeout(1)
        with contextlib.suppress(TimeoutError):
            while True:
                sock.sendall(b"1 NOOP\r\n" * 1000)
        used = busy(suite)
        ended(suite, before, 'why="client does not read"', seconds=LOGIN_SECONDS + 9)
        assert busy(suite) - used < 20
