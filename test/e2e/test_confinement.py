"""Every process has the uid, capabilities, filters and root that ARCHITECTURE's table promises."""

import base64
import errno
import os
import pathlib
import pwd
import re

import pytest

import intrude
import mails
import valija

CAPABILITIES_OF_MASTER = {0: "CHOWN", 1: "DAC_OVERRIDE", 2: "DAC_READ_SEARCH", 5: "KILL", 6: "SETGID", 7: "SETUID", 8: "SETPCAP",
                          10: "NET_BIND_SERVICE", 18: "SYS_CHROOT", 24: "SYS_RESOURCE"}
# program: (system user, chrooted when started by root)
TABLE = {
    "log": ("_log", False), "smtpd": ("_smtpd", True), "imap-login": ("_imapd", True), "imap": ("vmail", False),
    "auth": ("_auth", False), "auth-hash": ("_auth", True), "tls-key": ("_tlskey", True), "tls": ("_tls", True),
    "pickup": ("_pickup", False),
    "policy": ("_smtpd", False),
    "queue": ("_queue", False), "dns": ("_dns", True), "fetch": ("_fetch", True), "sts": ("_relay", False), "ocsp": ("_ocsp", False), "relay": ("_relay", True), "spool": ("_queue", False), "local": ("vmail", False),
}
# Who may make sockets of the Internet: nobody else, and these no others.
INTERNET = {"dns", "relay", "fetch", "portmap", "milter"}
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root to look into processes")
needs_ptrace = pytest.mark.skipif(not intrude.supported(), reason="needs root and x86-64 to act as the captured process")


@pytest.fixture
def logged_in(either):
    """An instance with a logged-in user who has mail, so that every program runs and has worked."""
    user = either.new_user("inside")
    with either.smtp(user) as smtp:
        smtp.sendmail(user, [user], mails.plain(user, user))
    imap = either.imap(user)
    imap.select("INBOX")
    either.user_inside = user
    yield either
    imap.logout()


def test_status_names_every_program(logged_in):
    assert {p["program"] for p in logged_in.status()} >= {"master", *TABLE}
    # Two looks, between which the process of a user who logged out in another test may leave.
    valija.wait_until(lambda: {p["pid"] for p in logged_in.status()} == set(logged_in.pids()), what="status that tells what the kernel does")


def test_each_process_is_what_the_table_says(logged_in):
    as_root = logged_in.as_user is None and os.getuid() == 0
    expected_uid = None if as_root else (pwd.getpwnam(logged_in.as_user).pw_uid if logged_in.as_user else os.getuid())
    wrong = []
    for told in logged_in.status():
        program, pid = told["program"], told["pid"]
        try:
            kernel = valija.proc_status(pid)
        except FileNotFoundError:
            assert program == "imap", program  # these leave by themselves, a while after the last logout
            continue
        uids, gids = kernel["Uid"].split(), kernel["Gid"].split()
        if len(set(uids)) != 1 or len(set(gids)) != 1:
            wrong.append((program, pid, "ids differ", uids, gids))
        if int(uids[0]) != told["uid"] or int(gids[0]) != told["gid"]:
            wrong.append((program, pid, "status tells another uid or gid", told))
        sets = {name: int(kernel[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        if program == "master":
            allowed = sum(1 << bit for bit in CAPABILITIES_OF_MASTER) if as_root else 0
            for name in ("CapPrm", "CapEff") + (("CapBnd",) if as_root else ()):
                if sets[name] & ~allowed:
                    wrong.append((program, pid, name, hex(sets[name])))
            continue
        user, chrooted = TABLE[program]
        uid = pwd.getpwnam(user).pw_uid if as_root else expected_uid
        if int(uids[0]) != uid:
            wrong.append((program, pid, f"uid {uids[0]}, not {uid}"))
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            if sets[name]:
                wrong.append((program, pid, name, hex(sets[name])))
        if kernel["Seccomp"].strip() != "2" or told["seccomp"] != 2:
            wrong.append((program, pid, "seccomp", kernel["Seccomp"], told["seccomp"]))
        if kernel["NoNewPrivs"].strip() != "1":
            wrong.append((program, pid, "no_new_privs", kernel["NoNewPrivs"]))
        if os.getuid() == 0:
            root = os.readlink(f"/proc/{pid}/root")
            if as_root and chrooted and root != str(logged_in.dir / "run/empty"):
                wrong.append((program, pid, "root", root))
            if bool(told["chroot"]) != (as_root and chrooted):
                wrong.append((program, pid, "status chroot", told["chroot"]))
    assert not wrong, "\n".join(map(str, wrong))


def test_supplementary_groups(logged_in):
    """As root only auth and queue have one, to read the users; without root nobody gains any."""
    processes = logged_in.status()
    had = set(valija.proc_status(logged_in.master_pid())["Groups"].split())
    for told in processes:
        if told["program"] == "master":
            continue
        groups = valija.proc_status(told["pid"])["Groups"].split()
        if logged_in.as_user or os.getuid() != 0:
            assert set(groups) == had, (told["program"], groups)
        else:
            assert len(groups) <= (1 if told["program"] in ("auth", "queue") else 0), (told["program"], groups)


@needs_root
def test_no_descriptor_leads_where_it_should_not(logged_in):
    """No daemon but tls-key holds a key file (master pins it, to hand it on); none holds the user database's secrets but auth. (master,
    which hands it out, is not a daemon and parses nothing that comes from the network.)"""
    for told in logged_in.status():
        if told["program"] == "master":
            continue
        for link in pathlib.Path(f"/proc/{told['pid']}/fd").iterdir():
            try:
                target = os.readlink(link)
            except OSError:
                continue
            assert not target.endswith(".key") or told["program"] in ("tls-key", "master"), (told["program"], target)
            if "passwd.db" in target:
                assert told["program"] == "auth", (told["program"], target)


def key_file(suite):
    return suite.dir / "state/tls/server.key"


@needs_root
def test_no_system_user_of_ours_can_read_the_key(suite):
    for user in {row[0] for row in TABLE.values()}:
        account = pwd.getpwnam(user)
        for secret in (key_file(suite), suite.dir / "state/passwords/passwd.db"):
            if secret.name == "passwd.db" and user == "_auth":
                continue
            done = valija.run(["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups",
                               "cat", secret], check=False)
            assert done.returncode != 0 and not done.stdout, (user, secret)


def der_integers(pem):
    """The long octet strings and integers of a private key: what must not be found in memory."""
    body = base64.b64decode(b"".join(l for l in pem.splitlines() if not l.startswith(b"--")).strip())
    found = []
    # ECPrivateKey: version 1, then an OCTET STRING of 32 (RFC 5915). The version belongs to the pattern: the
    # public point, which every worker has in its certificate, begins with 04, and then 20 once in 256 keys.
    for m in re.finditer(rb"\x02\x01\x01\x04\x20(.{32})", body, re.S):
        found.append(m.group(1))
    return found or [body[40:104]]


def memory_contains(pid, needles):
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            where, rights = line.split()[:2]
            if "r" not in rights or "[v" in line:
                continue
            begin, end = (int(n, 16) for n in where.split("-"))
            try:
                memory.seek(begin)
                block = memory.read(end - begin)
            except (OSError, ValueError, OverflowError):
                continue
            if any(n in block for n in needles):
                return True
    return False


@needs_root
def test_the_key_is_in_no_other_memory(logged_in):
    """After TLS sessions, the key is found in tls-key's memory and in no other."""
    pem = key_file(logged_in).read_bytes()
    needles = [*der_integers(pem), pem.splitlines()[2][:48]]  # the first line is the same in every key
    seen = set()
    for told in logged_in.status():
        try:
            found = memory_contains(told["pid"], needles)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has left since it was listed: a user's imap process may
        seen.add(told["program"])
        assert found == (told["program"] == "tls-key"), told["program"]
    assert {"tls", "tls-key", "smtpd", "imap-login", "auth"} <= seen
    assert not any(n in path.read_bytes() for n in needles for path in logged_in.dir.rglob("*")
                   if path.is_file() and path != key_file(logged_in) and path.suffix != ".key")


@needs_root
def test_tls_key_is_neither_dumpable_nor_readable(logged_in):
    (told,) = [p for p in logged_in.status() if p["program"] == "tls-key"]
    limits = pathlib.Path(f"/proc/{told['pid']}/limits").read_text()
    assert re.search(r"Max core file size\s+0\s+0", limits)
    # Locked, unless the machine forbids it (a container with a small limit and no CAP_SYS_RESOURCE).
    if "memory-not-locked room=tls-key" not in logged_in.log():
        assert int(valija.proc_status(told["pid"])["VmLck"].split()[0]) > 0
    # Not dumpable: its /proc entries belong to root, so even its own uid cannot open its memory.
    assert os.stat(f"/proc/{told['pid']}/mem").st_uid == 0
    uid = told["uid"]
    done = valija.run(["setpriv", f"--reuid={uid}", f"--regid={told['gid']}", "--clear-groups", "--inh-caps=-all",
                       "--bounding-set=-all", "head", "-c1", f"/proc/{told['pid']}/mem"], check=False)
    assert b"ermission denied" in done.stderr


def attempt(pid, name, *arguments):
    """What a captured process would get: a number, or the signal that ended it."""
    try:
        return intrude.call(pid, name, *arguments)
    except intrude.Killed as death:
        return str(death)


def refused(said):
    return said in ("SIGSYS", -errno.EACCES, -errno.EPERM, -errno.ENOENT, -errno.EAFNOSUPPORT)


@needs_ptrace
def test_one_users_imap_process_cannot_open_anothers_mail(logged_in):
    """Acting as the captured imap process of one user: own mail opens, another's does not, however
    the name is written."""
    other = logged_in.new_user("other")
    logged_in.receive("a@elsewhere.example", [other], mails.plain("a@elsewhere.example", other))
    theirs = logged_in.delivered(other)[0]
    own = logged_in.delivered(logged_in.user_inside)[0]
    (pid,) = [p["pid"] for p in logged_in.processes("imap") if p.get("user", logged_in.user_inside) == logged_in.user_inside]
    assert intrude.call(pid, "openat", intrude.AT_FDCWD, os.fsencode(own), os.O_RDONLY) >= 0
    home = logged_in.maildir(logged_in.user_inside)
    for name in (theirs, home / ".." / ".." / other.split("@")[0] / "Maildir/new" / theirs.name,
                 logged_in.maildir(other), logged_in.dir / "state/passwords/passwd.db", logged_in.dir / "state/users/users.db",
                 key_file(logged_in), "/etc/passwd", f"/proc/{pid}/root{theirs}"):
        said = intrude.call(pid, "openat", intrude.AT_FDCWD, os.fsencode(name), os.O_RDONLY)
        assert said in (-errno.EACCES, -errno.EPERM), (str(name), said)
    # A named message is never written again, not even by its owner's process.
    said = intrude.call(pid, "openat", intrude.AT_FDCWD, os.fsencode(own), os.O_WRONLY)
    assert said in (-errno.EACCES, -errno.EPERM), said


@needs_ptrace
@pytest.mark.parametrize("program", [p for p in TABLE if p != "imap"])
def test_a_captured_daemon_can_do_little(either, program):
    """No daemon can open the key or the system's files, execute a program, make a socket to the
    network, or become root; the filter ends most that try, and master replaces them."""
    tries = [("openat", intrude.AT_FDCWD, os.fsencode(key_file(either)), os.O_RDONLY),
             # Not the password hashes either, though without root all have one uid.
             *[("openat", intrude.AT_FDCWD, os.fsencode(either.dir / "state/passwords/passwd.db"), os.O_RDONLY)
               for _ in range(program != "auth")],
             ("openat", intrude.AT_FDCWD, b"/etc/passwd", os.O_RDONLY),
             ("openat", intrude.AT_FDCWD, b"/tmp/intruder", os.O_RDWR | os.O_CREAT, 0o600),
             ("socket", 1, 1, 0), ("socket", 16, 3, 0),
             *[("socket", 2, 1, 0) for _ in range(program not in INTERNET)], ("setuid", 0), ("execve", b"/bin/true", 0, 0)]
    for call in tries:
        told = valija.wait_until(lambda: either.processes(program), 10, f"{program} to be there")[0]
        valija.wait_until(lambda: pathlib.Path(f"/proc/{told['pid']}/syscall").read_text().split()[0] != "running",
                          5, f"{program} to sleep")
        said = attempt(told["pid"], *call)
        assert refused(said), (program, call, said)
        valija.wait_until(lambda: valija.alive(told["pid"]) and said != "SIGSYS" or not valija.alive(told["pid"]))
        valija.wait_until(lambda: any(p["pid"] != told["pid"] or said != "SIGSYS" for p in either.processes(program)),
                          10, f"a new {program}")


@needs_ptrace
def test_a_refused_daemon_is_replaced(own_suite):
    """What says nonsense loses its channel at once, and its life soon: no other daemon's, and the service
    is whole again."""
    before = {(p["program"], p["index"]): p["pid"] for p in own_suite.status()}
    victim = before["local", 0]
    sockets = [fd for fd in os.listdir(f"/proc/{victim}/fd")
               if int(fd) > 4 and os.readlink(f"/proc/{victim}/fd/{fd}").startswith("socket:")]
    assert len(sockets) == 1    # its only peer is queue: 3 and 4 are control and log
    valija.wait_until(lambda: pathlib.Path(f"/proc/{victim}/syscall").read_text().split()[0] != "running")
    intrude.call(victim, "write", int(sockets[0]), b"nonsense", 8)
    valija.wait_until(lambda: not valija.alive(victim), 6, "the end of the refused process")
    valija.wait_until(lambda: [p for p in own_suite.processes("local") if p["index"] == 0], 3, "its successor")
    after = {(p["program"], p["index"]): p["pid"] for p in own_suite.status()}
    assert {who for who in before if before[who] != after.get(who)} == {("local", 0)}
    assert "peer-refused peer=local index=0" in own_suite.log() and "process-refused program=local" in own_suite.log()
    user = own_suite.new_user("served")
    for n in range(8):
        own_suite.receive("a@elsewhere.example", [user], mails.plain("a@elsewhere.example", user, f"m{n}"))
    assert len(own_suite.delivered(user)) == 8
