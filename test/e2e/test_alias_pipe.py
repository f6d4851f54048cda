"""Commands and files of aliases(5): what they are given, as whom they run, and what becomes of the message."""

import json
import os
import pathlib
import pwd
import re
import resource
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

import pytest

import mails
import test_channels
import valija
from test_addresses import compiled, refused, send

PROGRAM = """#!/usr/bin/python3
import json, os, sys, time
how = sys.argv[1]
if how == "not-reading":
    sys.exit(0)
if how == "slow-first" and not os.path.exists("@PLACE@/slow-first"):
    open("@PLACE@/slow-first", "w").close()
    if os.fork() == 0:
        time.sleep(60)
    time.sleep(60)
if how == "endless":
    try:
        for _ in range(400):
            os.write(1, b"too many words \\x1b[1m\\r\\n" * 2000)
    except OSError:
        pass
    sys.exit(69)
if how == "signal":
    if not os.path.exists("@PLACE@/signal"):
        open("@PLACE@/signal", "w").close()
        os.kill(os.getpid(), 11)
if how == "slowly":
    open("@PLACE@/slowly-begun", "a").write("x")
    time.sleep(2)
status = dict(l.split(":\\t", 1) for l in open("/proc/self/status").read().splitlines() if ":\\t" in l)
fds = sorted(int(f) for f in os.listdir("/proc/self/fd"))[:-1]
note = dict(argv=sys.argv, environment=dict(os.environ), message=sys.stdin.buffer.read().decode("latin-1"), uid=os.getuid(),
            gid=os.getgid(), groups=os.getgroups(), fds=fds, no_new=status["NoNewPrivs"], caps=status["CapEff"],
            seccomp=status["Seccomp"], cwd=os.getcwd())
name = "@PLACE@/%d-%d" % (time.time_ns(), os.getpid())
with open(name + ".tmp", "w") as file:
    json.dump(note, file)
os.rename(name + ".tmp", name + ".json")
if how == "exit":
    print("no, not", os.environ["RECIPIENT"])
    sys.exit(int(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def post():
    place = pathlib.Path(tempfile.mkdtemp(prefix="valija-alias-pipe-"))
    place.chmod(0o755)
    notes = place / "notes"
    notes.mkdir()
    notes.chmod(0o777)
    program = place / "program"
    program.write_text(PROGRAM.replace("@PLACE@", str(notes)))
    program.chmod(0o755)
    instance = valija.Instance(settings={"alias_commands": "yes", "alias_files": "yes", "alias_command_seconds": 3})
    instance.notes, instance.program = notes, program
    for name in ("ana", "ben"):
        instance.user_add(name)
    yield instance
    left = instance.close()
    shutil.rmtree(place)
    assert not left


def notes_with(post, word, count=1, seconds=15):
    def those():
        return [n for n in (json.loads(p.read_text()) for p in sorted(post.notes.glob("*.json"))) if word in n["message"]]
    valija.wait_until(lambda: len(those()) >= count, seconds, what="the command's note")
    return those()


def reports_of(post, user, text, seconds=15):
    """The user's messages with this text in them."""
    box = post.maildir(f"{user}@{valija.DOMAIN}") / "new"
    found = []

    def look():
        found[:] = [p.read_text(errors="replace") for p in box.glob("*") if text in p.read_text(errors="replace")]
        return found
    valija.wait_until(look, seconds, what=f"a report with {text}")
    return found


def anybody():
    """As whom a command of this file of aliases runs."""
    return pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())


def test_what_a_command_is_given(post):
    """Its words, its message, a clean environment, as the owner of the aliases; nobody else gets less."""
    compiled(post, "aliases", f'prog: "|{post.program} note \\"a  b\\" $HOME * ; `id`", ana\n')
    word = send(post, f"prog@{valija.DOMAIN}")
    (note,) = notes_with(post, word)
    assert note["argv"] == [str(post.program), "note", "a  b", "$HOME", "*", ";", "`id`"]
    user = anybody()
    if os.getuid() == 0:
        assert (note["uid"], note["gid"], note["groups"]) == (user.pw_uid, user.pw_gid, [])
    assert note["uid"] == user.pw_uid and int(note["caps"], 16) == 0 and note["no_new"].strip() == "1"
    assert note["fds"] == [0, 1, 2] and note["cwd"] == "/" and note["seccomp"].strip() == "0"
    note["environment"].pop("LC_CTYPE", None)  # Python's own
    assert note["environment"] == {
        "PATH": note["environment"]["PATH"], "HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name,
        "SHELL": "/bin/sh", "SENDER": "a@far.example", "RECIPIENT": f"prog@{valija.DOMAIN}",
        "ORIGINAL_RECIPIENT": f"prog@{valija.DOMAIN}", "LOCAL": "prog", "DOMAIN": valija.DOMAIN}
    lines = note["message"].split("\n")
    assert lines[0].startswith("From a@far.example ") and lines[1] == "Return-Path: <a@far.example>"
    assert f"Delivered-To: prog@{valija.DOMAIN}" in lines and "\r" not in note["message"]
    assert any(line.startswith("Received:") for line in lines)
    box = post.maildir(f"ana@{valija.DOMAIN}") / "new"
    valija.wait_until(lambda: any(word in p.read_text() for p in box.glob("*")), what="ana's copy")


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_as_the_owner_of_the_file(post):
    compiled(post, "aliases", f"prog: |{post.program} note\n")
    mail = pwd.getpwnam("mail")
    os.chown(post.conf.parent / "aliases", mail.pw_uid, 0)
    post.valija("map", "aliases")
    try:
        (note,) = notes_with(post, send(post, f"prog@{valija.DOMAIN}"))
        assert (note["uid"], note["gid"], note["groups"]) == (mail.pw_uid, mail.pw_gid, [])
    finally:
        os.chown(post.conf.parent / "aliases", 0, 0)


def test_i6_command_line_of_a_delivery_agent(post):
    """Local parts that a shell or a command line would take for something else (Postfix 1999, CVE-2020-7247)."""
    compiled(post, "aliases", f"@{valija.DOMAIN}: |{post.program} note\n")
    for local in ["-oX", ";id;", "`id`", "$(id)", "|/bin/sh", "a b", "'x'"]:
        plain = f'"{local}"' if not local.startswith("-") else local
        for sender in (f"{plain}@far.example", "a@far.example", ""):
            word = send(post, f"{plain}@{valija.DOMAIN}", sender=sender)
            (note,) = notes_with(post, word)
            assert note["argv"] == [str(post.program), "note"]
            for name in ("SENDER", "RECIPIENT", "ORIGINAL_RECIPIENT", "LOCAL", "DOMAIN"):
                value = note["environment"][name]
                assert not value.startswith("-") and not set(value) & set(" ;`$()|'\"\\\n"), value
    # Without a domain, or with a control character, it does not come so far.
    for bad in (b"<;id;>", b'<"a\rb"@x.example>', b'<"a\0b"@x.example>'):
        with socket.create_connection((post.host, post.port("smtp")), 15) as s:
            replies = s.makefile("rb")
            replies.readline()
            s.sendall(b"HELO x.example\r\n")
            assert replies.readline()[:3] == b"250"
            s.sendall(b"MAIL FROM:" + bad + b"\r\n")
            assert replies.readline()[:1] == b"5", bad


@pytest.mark.parametrize("status,dsn", [(65, "5.6.0"), (67, "5.1.1"), (69, "5.3.0"), (77, "5.7.0"), (78, "5.3.5"), (1, "5.3.0")])
def test_how_a_command_refuses(post, status, dsn):
    """The sender learns why, and what the command said."""
    compiled(post, "aliases", f"no{status}: |{post.program} exit {status}\n")
    send(post, f"no{status}@{valija.DOMAIN}", sender=f"ben@{valija.DOMAIN}")
    (report,) = reports_of(post, "ben", f"no{status}@{valija.DOMAIN}")
    assert f"Status: {dsn}" in report and f"no, not no{status}@{valija.DOMAIN}" in report.replace("\n ", " ")


def test_a_command_that_fails_for_now(post):
    """EX_TEMPFAIL, a signal, a program that is not there: the message stays."""
    compiled(post, "aliases", f"later: |{post.program} exit 75\nkilled: |{post.program} signal\n"
                              "gone: |/nonexistent/program\n")
    for name in ("later", "killed", "gone"):
        word = send(post, f"{name}@{valija.DOMAIN}")
    shown = {}

    def look():
        for message in json.loads(post.valija("queue", "list", "--json").stdout or "[]"):
            shown[json.dumps(message)] = True
        text = " ".join(shown)
        return all(f"{n}@" in text for n in ("later", "killed", "gone")) and text.count("4.3.0") >= 3
    valija.wait_until(look, 15, what="three deferrals")
    # After the crash it ends well; and where the administrator has mended the only command, so does what waited.
    before = len(post.log())
    compiled(post, "aliases", f"later: |{post.program} exit 75\nkilled: |{post.program} signal\ngone: |{post.program} note mended\n")
    for name in ("killed", "gone"):
        post.valija("queue", "retry", "--recipient", f"{name}@{valija.DOMAIN}")
        valija.wait_until(lambda: f"to={name}@{valija.DOMAIN}" in post.log()[before:] and "dsn=2.0.0" in post.log()[before:],
                          what=name)
    (note,) = notes_with(post, word)
    assert note["argv"][1:] == ["note", "mended"]
    post.valija("queue", "delete", "--recipient", f"later@{valija.DOMAIN}")


def test_a_command_that_hangs_is_killed(post):
    """With what it started; mail for others goes on meanwhile, and the message comes at the next try."""
    compiled(post, "aliases", f"slow: |{post.program} slow-first, ana\n")
    word = send(post, f"slow@{valija.DOMAIN}")
    valija.wait_until(lambda: (post.notes / "slow-first").exists(), what="the command")
    begun = time.monotonic()
    other = send(post, f"ana@{valija.DOMAIN}")
    box = post.maildir(f"ana@{valija.DOMAIN}") / "new"
    valija.wait_until(lambda: any(other in p.read_text() for p in box.glob("*")), what="other mail")
    assert time.monotonic() - begun < 3
    valija.wait_until(lambda: "it took longer than alias_command_seconds" in post.log(), 15, what="the end")
    assert not [p for p in pathlib.Path("/proc").glob("[0-9]*") if b"slow-first" in cmdline(p)]
    post.valija("queue", "flush")
    assert len(notes_with(post, word, seconds=40)) == 1
    assert sum(word in p.read_text() for p in box.glob("*")) == 1


def test_queue_dies_meanwhile(post):
    """Its successor asks for the same again, and hears how the one that runs ends: there is no second."""
    compiled(post, "aliases", f"slowly: |{post.program} slowly\n")
    before = len(post.log())
    word = send(post, f"slowly@{valija.DOMAIN}")
    valija.wait_until(lambda: (post.notes / "slowly-begun").exists(), what="the command")
    os.kill(post.processes("queue")[0]["pid"], 9)
    valija.wait_until(lambda: "relay=pipe" in post.log()[before:], 15, what="its end")
    assert len(notes_with(post, word)) == 1 and (post.notes / "slowly-begun").read_text() == "x"
    assert "2.0.0" in post.log()[before:]


def test_a_reload_meanwhile(post):
    """What runs is left to run; it is delivered once."""
    (post.notes / "slowly-begun").unlink(missing_ok=True)
    compiled(post, "aliases", f"slowly: |{post.program} slowly\n")
    before = len(post.log())
    word = send(post, f"slowly@{valija.DOMAIN}")
    valija.wait_until(lambda: (post.notes / "slowly-begun").exists(), what="the command")
    post.valija("reload")
    valija.wait_until(lambda: "relay=pipe" in post.log()[before:], 15, what="its end")
    assert len(notes_with(post, word)) == 1 and "dsn=2.0.0" in post.log()[before:]
    valija.wait_until(lambda: not listed(post, "slowly@"), what="its removal")


def listed(post, text=""):
    """What waits of which the listing has this text."""
    return [m for m in json.loads(post.valija("queue", "list", "--json").stdout) if text in str(m)]


@pytest.mark.parametrize("who", ["valija-pipe", "master"])
def test_a_command_takes_no_death_for_the_end(post, who):
    """valija-pipe is killed, or master: the command goes with it, and does not see a message that ends early; the message comes
    again, whole, and not beside what has begun."""
    (post.notes / "slowly-begun").unlink(missing_ok=True)
    compiled(post, "aliases", f"slowly: |{post.program} slowly\n")
    word = secrets.token_hex(6)
    post.receive("a@far.example", [f"slowly@{valija.DOMAIN}"], mails.plain("a@far.example", "x", word, size=300000) + b"the end\r\n")
    valija.wait_until(lambda: (post.notes / "slowly-begun").exists(), what="the command")
    if who == "master":
        family = post.pids()
        os.kill(post.master_pid(), signal.SIGKILL)
        valija.wait_until(lambda: not any(valija.alive(p) for p in family), 15, "the end of the daemons")
        assert not [p for p in pathlib.Path("/proc").glob("[0-9]*") if b"slowly" in cmdline(p)]
        post.start()
    else:
        (pid,) = [int(p.name) for p in pathlib.Path("/proc").glob("[0-9]*") if cmdline(p).startswith(b"valija-pipe\0|")]
        os.kill(pid, signal.SIGKILL)
        valija.wait_until(lambda: not [p for p in pathlib.Path("/proc").glob("[0-9]*") if b"program\0slowly" in cmdline(p)],
                          what="the command's end")
        valija.wait_until(lambda: [m["state"] for m in listed(post, "slowly@")] == ["deferred"], what="the deferral")
        post.valija("queue", "retry", "--all")
    valija.wait_until(lambda: not listed(post, "slowly@"), 20, what="its removal")
    notes = notes_with(post, word)
    assert len(notes) == 1
    assert all(n["message"].endswith("the end\n") for n in notes)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_an_owner_whom_nobody_knows(post):
    """Whose uid has no name, or whose name is root's, runs nothing; it is said, and waits."""
    compiled(post, "aliases", f"prog: |{post.program} note\n")
    os.chown(post.conf.parent / "aliases", 54321, 0)
    post.valija("map", "aliases")
    try:
        word = send(post, f"prog@{valija.DOMAIN}")
        valija.wait_until(lambda: "there is no such user" in post.valija("mailq").stdout, what="the reason")
    finally:
        os.chown(post.conf.parent / "aliases", 0, 0)
        post.valija("map", "aliases")
    post.valija("queue", "retry", "--all")
    assert len(notes_with(post, word)) == 1


# ---- a queue that belongs to an enemy ----------------------------------------------------------------

def crc32c(text):
    crc = 0xffffffff
    for byte in text.encode():
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


class Captured:
    """Says pipe_run to master in the name of the queue that runs."""

    def __init__(self, post):
        pidfd = os.pidfd_open(post.processes("queue")[0]["pid"])
        self.control = socket.socket(fileno=test_channels.libc.syscall(test_channels.PIDFD_GETFD, pidfd, CONTROL_FD, 0))
        os.close(pidfd)
        self.id = secrets.randbits(48)

    def asks(self, alias, member, message, sender="a@far.example", address="x@example.org", prefix=b"X: y\r\n"):
        octets = lambda b: struct.pack("=I", len(b)) + b
        self.id += 1
        packet = test_channels.HEADER.pack(PIPE_RUN, self.id) + struct.pack("=II", 0, crc32c(member)) + \
            b"".join(octets(f if isinstance(f, bytes) else f.encode()) for f in (alias, sender, address, address, prefix))
        return test_channels.say(self.control, packet, [message.fileno()])


CONTROL_FD = 3          # common/daemon.h
PIPE_RUN = int(re.search(r"M\(pipe_run,\s+(\d+)", (valija.TOP / "common/message.h").read_text())[1])


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to speak for another process")
def test_l1_a_captured_queue_runs_what_is_allowed_and_no_more(post):
    """It chooses among what the administrator wrote, for a message of its own; never what is run, as whom, or with what options."""
    box = post.notes / "box-of-nobody"
    compiled(post, "aliases", f"one: |{post.program} note one\ntwo: |{post.program} note a, |{post.program} note b\nplain: ana\n"
                              f"box: {box}\nsleeper: |/bin/sleep 2\n")
    queue, word, master = Captured(post), secrets.token_hex(6), post.master_pid()
    restarts = [(p["program"], p["restarts"]) for p in post.status()]
    with tempfile.TemporaryFile() as message:
        message.write(f"Subject: {word}\r\n\r\nbody\r\n".encode())
        message.flush()
        # What it may: a member by its name; and what it makes of the rest.
        assert queue.asks("one", f"{post.program} note one", message, sender="-oX\n`id`", address="--help;id@$(id)",
                          prefix=b"LD_PRELOAD=/tmp/x\r\n\r\n|/bin/sh\r\n")
        (note,) = notes_with(post, word)
        assert note["argv"] == [str(post.program), "note", "one"] and note["uid"] == anybody().pw_uid
        assert int(note["caps"], 16) == 0 and note["no_new"].strip() == "1" and note["fds"] == [0, 1, 2]
        assert set(note["environment"]) - {"LC_CTYPE"} == {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "SENDER", "RECIPIENT",
                                                            "ORIGINAL_RECIPIENT", "LOCAL", "DOMAIN"}
        assert note["environment"]["SENDER"] == "_oX__id_" and note["environment"]["RECIPIENT"] == "_-help_id@__id_"
        # What it may not: a command of its own, by any name.
        for alias in ("two", "plain", "three", "", "|/bin/sh", "/etc/passwd", "../aliases", "*", "one\n", "@"):
            for member in ("/bin/sh -c id", "/usr/bin/touch /tmp/x", "ana", f"{post.program} note one"):
                assert queue.asks(alias, member, message)
        # Of two, the one that is meant; a file's text is no command.
        queue.asks("two", f"{post.program} note b", message)
        queue.asks("box", str(box), message)
        valija.wait_until(lambda: box.exists() and word in box.read_text(), what="the file")
        notes = notes_with(post, word, 2)
        assert [n["argv"][2] for n in notes] == ["one", "b"] and box.stat().st_uid == anybody().pw_uid
        # No more at a time than master wants.
        for _ in range(150):
            queue.asks("sleeper", "/bin/sleep 2", message)
        pipes = lambda: sum(cmdline(p).startswith(b"valija-pipe\0") for p in pathlib.Path("/proc").glob("[0-9]*"))
        assert valija.wait_until(pipes, what="some of them") <= 64
        # What is switched off stays off.
        post.configure(alias_commands="no")
        post.valija("reload")
        try:
            queue.asks("one", f"{post.program} note one", message)
            valija.wait_until(lambda: pipes() == 0, 15, what="their end")
        finally:
            post.configure(alias_commands="yes")
            post.valija("reload")
        assert len(notes_with(post, word, 2)) == 2
    # Nobody has died of it; and mail is delivered.
    assert post.master_pid() == master and [(p["program"], p["restarts"]) for p in post.status()] == restarts
    assert len(notes_with(post, send(post, f"one@{valija.DOMAIN}"))) == 1


def cmdline(p):
    try:
        return (p / "cmdline").read_bytes()
    except OSError:
        return b""


def test_a_command_that_writes_without_end(post):
    """Its first words are told, as what can be printed; the rest is nobody's."""
    compiled(post, "aliases", f"endless: |{post.program} endless\n")
    send(post, f"endless@{valija.DOMAIN}", sender=f"ben@{valija.DOMAIN}")
    (report,) = reports_of(post, "ben", f"endless@{valija.DOMAIN}")
    assert "too many words" in report and "\x1b" not in report and len(report) < 20000


def test_a_command_that_does_not_read(post):
    """A megabyte that it does not want: it is delivered all the same."""
    compiled(post, "aliases", f"deaf: |{post.program} not-reading\n")
    before = len(post.log())
    post.receive("a@far.example", [f"deaf@{valija.DOMAIN}"], mails.plain("a@far.example", "x", "y" * 60 + "\r\n" + ("z" * 70 + "\r\n") * 15000))
    valija.wait_until(lambda: f"to=deaf@{valija.DOMAIN}" in post.log()[before:] and "relay=pipe" in post.log()[before:], 15,
                      what="its end")
    assert "2.0.0" in post.log()[before:]


def test_members_of_one_alias_and_of_one_message(post):
    """Four commands at a time of one message: each gets all of it."""
    compiled(post, "aliases", "".join(f"w{i}: |{post.program} note {i}\n" for i in range(4)) +
             f"all: w0, w1, w2, w3, |{post.program} note x, |{post.program} note y\n")
    word = send(post, f"all@{valija.DOMAIN}")
    notes = notes_with(post, word, 6)
    assert sorted(n["argv"][2] for n in notes) == ["0", "1", "2", "3", "x", "y"]
    assert len({n["message"].split("\n\n", 1)[1] for n in notes}) == 1


def test_a_file(post):
    """An mbox; what is no file of its user's is left alone."""
    place = post.notes / "boxes"
    place.mkdir()
    os.chown(place, anybody().pw_uid, anybody().pw_gid)
    box = place / "box"
    compiled(post, "aliases", f"box: {box}\nlink: {place}/link\nhard: {place}/hard\nfifo: {place}/fifo\n")
    for text in ("first", "second"):
        post.receive("a@far.example", [f"box@{valija.DOMAIN}"],
                     f"Subject: {text}\r\n\r\nFrom here on\r\n>From x\r\nFrom\r\nlast {text}\r\n".encode())
        valija.wait_until(lambda: box.exists() and f"last {text}" in box.read_text(), what=text)
    words = box.read_text()
    assert words.count("\n>From here on\n>From x\nFrom\n") == 2 and words.startswith("From a@far.example ")
    assert words.count("\n\nFrom a@far.example ") == 1 and words.endswith("last second\n\n") and "\r" not in words
    assert box.stat().st_mode & 0o777 == 0o600 and box.stat().st_uid == anybody().pw_uid
    victim = place / "victim"
    victim.write_text("")
    os.chown(victim, anybody().pw_uid, anybody().pw_gid)
    (place / "link").symlink_to(victim)
    os.link(victim, place / "hard")
    os.mkfifo(place / "fifo")
    os.chown(place / "fifo", anybody().pw_uid, anybody().pw_gid)
    before = len(post.log())
    for name in ("link", "hard", "fifo"):
        send(post, f"{name}@{valija.DOMAIN}")
    valija.wait_until(lambda: post.log()[before:].count("pipe-failed") >= 3, 15, what="three refusals")
    assert victim.read_text() == ""


def test_switched_off(post):
    """The default; also for what waits in the queue already."""
    compiled(post, "aliases", f"prog: |{post.program} note\nbox: {post.notes}/never\nlater: |{post.program} exit 75\n")
    send(post, f"later@{valija.DOMAIN}", sender=f"ben@{valija.DOMAIN}")
    valija.wait_until(lambda: [m for m in listed(post, "later@") if m["state"] == "deferred" and "4.3.0" in str(m)],
                      what="a deferral")
    post.configure(alias_commands="no", alias_files="no")
    post.valija("reload")
    try:
        for name in ("prog", "box"):
            code, text = refused(post, f"{name}@{valija.DOMAIN}")
            assert code == 550 and "5.7.1" in text
        post.valija("queue", "flush")
        reports_of(post, "ben", f"later@{valija.DOMAIN}")
        assert "alias_commands is off" in post.valija("map", "aliases").stderr
    finally:
        post.configure(alias_commands="yes", alias_files="yes")
        post.valija("reload")
    assert not (post.notes / "never").exists()


def pipe_alone(member, message, **limits):
    """valija-pipe as master starts it, but for the user."""
    with tempfile.TemporaryFile() as file:
        file.write(message)
        file.flush()

        def arrange():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            for name, value in limits.items():
                resource.setrlimit(getattr(resource, name), (value, value))
            os.dup2(file.fileno(), 3)
        return subprocess.run([str(valija.BUILD / "libexec/valija-pipe"), member], preexec_fn=arrange, restore_signals=False,
                              close_fds=False, capture_output=True, timeout=20,
                              env={"SENDER": "a@far.example", "VALIJA_PREFIX": "Return-Path: <a@far.example>\r\n"})


def test_a_file_that_cannot_grow(tmp_path):
    """What is not written as a whole is taken back; after a crash, messages stay apart."""
    box = tmp_path / "box"
    assert pipe_alone(str(box), b"Subject: a\r\n\r\nshort\r\n").returncode == 0
    before = box.read_bytes()
    done = pipe_alone(str(box), b"Subject: b\r\n\r\n" + b"long\r\n" * 50000, RLIMIT_FSIZE=100000)
    assert done.returncode == 75 and b"box" in done.stdout and box.read_bytes() == before
    box.write_bytes(before + b"From x Sat Nov 28 16:45:00 2026\ncut off")
    assert pipe_alone(str(box), b"Subject: c\r\n\r\nno newline").returncode == 0
    assert b"cut off\n\nFrom a@far.example " in box.read_bytes() and box.read_bytes().endswith(b"\n\nno newline\n\n")


@pytest.mark.parametrize("message", [b"", b"\r", b"\n", b"F", b"From", b"From ", b"a\rb\r\r\nFrom \r\nFro", b"From \r\n" * 5000,
                                     b"\xff\0\r\n" * 9000, b"x" * 70000, b"\rFoo", b"\r\n\rFrom a", b"\rF\r\nFr\r\nFro\rm"])
def test_every_byte_comes(tmp_path, message):
    """Through the command and into the file: CR LF is a newline, nothing else changes."""
    box, out = tmp_path / "box", tmp_path / "out"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\nexec cat >{out}\n")
    script.chmod(0o755)
    assert pipe_alone(f"|{script}", message).returncode == 0
    assert out.read_bytes().split(b"\n", 2)[2] == message.replace(b"\r\n", b"\n")
    assert pipe_alone(str(box), message).returncode == 0
    body = b"\n" + message.replace(b"\r\n", b"\n")
    body = body.replace(b"\nFrom ", b"\n>From ").removeprefix(b"\n")
    assert box.read_bytes().split(b"\n", 2)[2] == body + (b"\n" if body.endswith(b"\n") or not body else b"\n\n")


def test_without_root():
    """Files of the user who runs it: as that user."""
    if os.getuid() != 0:
        pytest.skip("the tests above are this one")
    with valija.Instance(as_user="nobody", settings={"alias_commands": "yes", "alias_files": "yes"}) as suite:
        suite.user_add("ana")
        box = suite.dir / "box"
        path = suite.conf.parent / "aliases"
        path.write_text(f"box: {box}\n")
        nobody = pwd.getpwnam("nobody")
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
        suite.valija("map", "aliases")
        word = send(suite, f"box@{valija.DOMAIN}")
        valija.wait_until(lambda: box.exists() and word in box.read_text(), what="the file")
        assert box.stat().st_uid == nobody.pw_uid


def test_requeue_keeps_each_member(post):
    """Commands of one alias have one address; resolved anew they are two all the same."""
    compiled(post, "aliases", f"two: |{post.program} exit 75 a, |{post.program} exit 75 b\n")
    said = post.valija("check", "address", f"two@{valija.DOMAIN}").stdout
    assert said.count("-> a command or file of two@") == 2 and "exit 75 b" in said
    before = len(post.log())
    word = send(post, f"two@{valija.DOMAIN}")
    notes_with(post, word, 2)
    valija.wait_until(lambda: post.log()[before:].count("relay=pipe") == 2, what="two deferrals")
    # Where the alias leads elsewhere meanwhile, requeue is what sends it there; the member itself is gone.
    post.valija("queue", "requeue", "--recipient", f"two@{valija.DOMAIN}")
    notes_with(post, word, 4)
    compiled(post, "aliases", "two: ana\n")
    post.valija("queue", "requeue", "--recipient", f"two@{valija.DOMAIN}")
    box = post.maildir(f"ana@{valija.DOMAIN}") / "new"
    valija.wait_until(lambda: sum(word in p.read_text() for p in box.glob("*")) == 1, what="ana's copy")
