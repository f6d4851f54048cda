"""What a captured daemon says to its peers over its channels, and what a stranger says to the sockets with
names: whoever talks nonsense is let go of, and nobody else dies of it."""

import array
import contextlib
import ctypes
import imaplib
import os
import pathlib
import pwd
import random
import socket
import struct

import pytest

import mails
import valija

PIDFD_GETFD = 438       # the system call, on every architecture
MOST_PACKET = 65536
HEADER = struct.Struct("=HQ")
libc = ctypes.CDLL(None, use_errno=True)
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root to speak for another process")

# master's and the log's are among the peers of each of them; imap has one for each session too.
PROGRAMS = ["smtpd", "imap-login", "imap", "auth", "auth-hash", "tls-key", "tls", "pickup", "policy", "queue", "dns",
            "relay", "spool", "local", "log"]


def channels_of(pid):
    """Copies of all packet sockets of a process: its ends of its channels."""
    pidfd, found = os.pidfd_open(pid), []
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                if not os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:"):
                    continue
            except FileNotFoundError:
                continue
            copy = libc.syscall(PIDFD_GETFD, pidfd, int(fd), 0)
            if copy < 0:
                continue
            end = socket.socket(fileno=copy)
            if end.family == socket.AF_UNIX and end.type & 0xff == socket.SOCK_SEQPACKET:
                found.append(end)
            else:
                end.close()
    finally:
        os.close(pidfd)
    return found


def say(end, packet, fds=()):
    """Sends one packet, as the process itself would; a closed or full channel takes nothing."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    try:
        end.sendmsg([packet], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        return True
    except OSError:
        return False


def random_bytes(end, rng):
    say(end, rng.randbytes(rng.choice([1, 9, 10, 300, MOST_PACKET])))


def too_long(end, rng):
    """More than a packet may hold, as far as the kernel's buffer takes it."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    for size in (1 << 20, 3 * MOST_PACKET, MOST_PACKET + 1):
        if say(end, rng.randbytes(size)):
            return


def cut_off(end, rng):
    """Numbers of messages that exist, their fields missing or huge."""
    for _ in range(40):
        say(end, HEADER.pack(rng.randrange(1, 300), rng.getrandbits(64)) +
            rng.choice([b"", b"\xff" * 4, rng.randbytes(40), b"\xff" * 6000]))


def laden(end, rng):
    """Descriptors that nobody asked for."""
    with open("/dev/null", "rb") as null:
        say(end, HEADER.pack(rng.randrange(1, 300), 1), [null.fileno()] * 2)
        say(end, HEADER.pack(rng.randrange(1, 300), 1), [null.fileno()] * 100)


def empty_and_laden(end, rng):
    """A packet of no bytes, with descriptors."""
    with open("/dev/null", "rb") as null:
        say(end, b"", [null.fileno()])


KINDS = [random_bytes, too_long, cut_off, laden, empty_and_laden]


def works(suite, user, word):
    with suite.smtp(user, seconds=5) as smtp:
        smtp.sendmail(user, [user], mails.plain(user, user, word))
    with suite.imap(user, seconds=5) as imap:
        imap.select("INBOX")
        return bool(imap.search(None, "SUBJECT", word)[1][0])


def works_again(suite, user, word):
    def attempt():
        try:
            return works(suite, user, word)
        except Exception:       # whatever a client meets in the first seconds
            return False
    valija.wait_until(attempt, 20, "the whole suite to serve again", pause=0.2)


def speak_for(suite, user, program, kind, rng):
    """All channels of the program's first process say something of this kind. Only that process may die."""
    imap = suite.imap(user)     # so that there is an imap process; the session may end with the victim
    imap.select("INBOX")
    before = {p["pid"]: p["program"] for p in suite.status()}
    victim = suite.processes(program)[0]["pid"]
    ends = channels_of(victim)
    assert ends, f"{program} has no channel"
    for end in ends:
        kind(end, rng)
        end.close()
    valija.wait_until(lambda: not valija.alive(victim), 10, f"the end of {program}, whom nobody hears any more")
    works_again(suite, user, f"{program}-{kind.__name__}")
    with contextlib.suppress(imaplib.IMAP4.error, OSError):
        imap.logout()
    after = {p["pid"] for p in suite.status()}
    gone = {who for pid, who in before.items() if pid not in after}
    # The last session of an imap process may have ended with its peer: it leaves by itself.
    assert gone <= {program, "imap"}, (program, kind.__name__, gone)


@needs_root
@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_l1_nobody_dies_of_a_captured_peer(own_suite, kind):
    """Each daemon in turn says nonsense to each of its peers, master among them."""
    user, master, rng = own_suite.new_user("victim"), own_suite.master_pid(), random.Random(kind.__name__)
    for program in PROGRAMS:
        speak_for(own_suite, user, program, kind, rng)
        assert own_suite.master_pid() == master and valija.alive(master)
    # No end by a signal but master's own, for those who were refused and did not leave.
    log = own_suite.log()
    assert "signal=11" not in log and "signal=6" not in log
    # Its first part might be a packet in order.
    assert kind is not too_long or 'reason="packet too long"' in log


@needs_root
@pytest.mark.parametrize("program", ["smtpd", "tls", "queue", "local"])
def test_l1_nonsense_ends_its_sender_alone(own_suite, program):
    user, rng = own_suite.new_user("victim"), random.Random(program)
    master = own_suite.master_pid()
    speak_for(own_suite, user, program, rng.choice(KINDS), rng)
    assert own_suite.master_pid() == master
    assert "signal=11" not in own_suite.log()


def strange_connections(path, rng):
    """What L1 asks for, at one socket with a name."""
    held = []
    for n in range(100):
        end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET if path.name == "control" else socket.SOCK_STREAM)
        end.settimeout(2)
        try:
            end.connect(str(path))
        except OSError:
            end.close()
            continue
        held.append(end)
        if n % 4 == 0:
            with open("/dev/null", "rb") as null:
                say(end, rng.randbytes(50), [null.fileno()] * rng.choice([1, 2, 50]))
        elif n % 4 == 1:
            say(end, HEADER.pack(rng.randrange(1, 300), 0) + b"\xff" * 4)      # a huge length, then silence
        elif n % 4 == 2:
            for _ in range(16):
                say(end, rng.randbytes(MOST_PACKET))
        # and one in four says nothing
    return held


def test_l1_strangers_at_the_sockets_with_names(own_suite):
    user, rng = own_suite.new_user("named"), random.Random(1)
    pids = {p["pid"] for p in own_suite.status() if p["program"] != "imap"}
    run = own_suite.dir / "run"
    names = [p for p in run.iterdir() if p.is_socket()]
    assert {"control", "local", "lmtp"} <= {p.name for p in names}
    for path in names:
        held = strange_connections(path, rng)
        assert held, path
        for end in held:
            end.close()
        valija.wait_until(lambda: own_suite.valija("status", check=False).returncode == 0, 10, "an answer to status")
    assert works(own_suite, user, "named")
    assert {p["pid"] for p in own_suite.status() if p["program"] != "imap"} == pids


@needs_root
def test_l1_an_unprivileged_stranger_reaches_only_sendmail(own_suite):
    """Of the sockets with names, another user of the machine can open the one for sendmail alone."""
    account = pwd.getpwnam("nobody")
    names = [p for p in (own_suite.dir / "run").iterdir() if p.is_socket()]
    for directory in [*own_suite.dir.parents, own_suite.dir, own_suite.dir / "run"]:
        if directory.stat().st_uid == os.getuid() and directory != pathlib.Path("/"):
            directory.chmod(directory.stat().st_mode | 0o011)
    reached = []
    pid = os.fork()
    if pid == 0:        # pragma: no cover
        os.setgroups([])
        os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
        os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
        code = 0
        for n, path in enumerate(sorted(names)):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET if path.name == "control" else socket.SOCK_STREAM) as s:
                try:
                    s.connect(str(path))
                    code |= 1 << n
                except PermissionError:
                    pass
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    reached = [path.name for n, path in enumerate(sorted(names)) if code & 1 << n]
    assert reached == ["local"]
