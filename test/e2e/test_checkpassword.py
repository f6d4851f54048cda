"""A program of the administrator's as a source of passwords (checkpassword): what it is given, and what it can do."""

import json
import os
import pathlib
import pwd
import secrets
import shutil
import tempfile
import threading
import time

import pytest

import valija

PROGRAM = """#!/usr/bin/python3
import json, os, resource, signal, sys, time
given = b""
while True:
    more = os.read(3, 4096)
    if not more:
        break
    given += more
name, password, stamp, end = given.split(b"\\0")
status = dict(l.split(":\\t", 1) for l in open("/proc/self/status").read().splitlines() if ":\\t" in l)
note = dict(argv=sys.argv, environment=dict(os.environ), given=given.decode(), uid=os.getuid(), groups=os.getgroups(),
            fds=sorted(int(f) for f in os.listdir("/proc/self/fd"))[:-1], no_new=status["NoNewPrivs"], caps=status["CapEff"],
            core=resource.getrlimit(resource.RLIMIT_CORE)[0], sid=os.getsid(0) == os.getpid())
with open("@PLACE@/" + name.decode() + "." + str(os.getpid()), "w") as file:
    json.dump(note, file)
if password == b"hangs":
    if os.fork() == 0:
        time.sleep(60)
    time.sleep(60)
if password == b"crashes":
    os.kill(os.getpid(), signal.SIGSEGV)
if password == b"later":
    sys.exit(111)
if password == b"misused":
    sys.exit(2)
if password != b"right by the program":
    sys.exit(1)
os.environ.pop("LC_CTYPE", None)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(scope="module")
def asked():
    place = pathlib.Path(tempfile.mkdtemp(prefix="valija-checkpassword-"))
    place.chmod(0o755)
    notes = place / "notes"
    notes.mkdir()
    notes.chmod(0o777)
    program = place / "program"
    program.write_text(PROGRAM.replace("@PLACE@", str(notes)))
    program.chmod(0o755)
    instance = valija.Instance(settings={
        "auth_sources": '{"users", "checkpassword"}', "checkpassword": f'"{program}"', "checkpassword_seconds": 2,
        "checkpassword_processes": 2, "auth_delay_seconds": 0, "auth_block_failures": 0})
    instance.notes, instance.program = notes, program
    yield instance
    left = instance.close()
    shutil.rmtree(place)
    assert not left


def new_user(instance, name):
    """A mailbox whose password nobody here knows."""
    address = f"{name}-{secrets.token_hex(4)}@{valija.DOMAIN}"
    instance.valija("user", "add", "--no-password", address)
    return address


def login(instance, user, password):
    """None, or what was said against it."""
    imap = instance.imap()
    try:
        imap.login(user, password)
        imap.logout()
        return None
    except imap.error as error:
        imap.shutdown()
        return str(error)


def notes_of(instance, user):
    return [json.loads(p.read_text()) for p in sorted(instance.notes.glob(user + ".*"))]


def test_what_the_program_is_given(asked):
    """Name, password and time on descriptor 3, as checkpassword has them; nothing else of ours at all."""
    user = new_user(asked, "given")
    assert login(asked, user, "right by the program") is None
    (note,) = notes_of(asked, user)
    name, password, stamp, end = note["given"].split("\0")
    assert (name, password, end) == (user, "right by the program", "") and abs(int(stamp) - time.time()) < 60
    assert note["argv"] == [str(asked.program), "/bin/true"]
    note["environment"].pop("LC_CTYPE", None)  # Python's own
    assert set(note["environment"]) == {"PATH", "PROTO", "TCPREMOTEIP"}
    assert note["environment"]["TCPREMOTEIP"] == "127.0.0.1" and note["environment"]["PROTO"] == "imaps"
    assert set(note["fds"]) <= {0, 1, 2, 3} and note["sid"] and note["core"] == 0
    assert note["no_new"].strip() == "1" and int(note["caps"], 16) == 0
    if os.getuid() == 0:
        assert note["uid"] == pwd.getpwnam("nobody").pw_uid and note["groups"] == []
    with asked.smtp() as smtp:
        smtp.login(user, "right by the program")
    assert "right by the program" not in asked.log()


@pytest.mark.parametrize("password,answer,event", [
    ("wrong", "AUTHENTICATIONFAILED", "auth-failed"), ("later", "UNAVAILABLE", "checkpassword-failed"),
    ("misused", "UNAVAILABLE", "checkpassword-failed"), ("crashes", "UNAVAILABLE", "checkpassword-failed"),
    ("hangs", "UNAVAILABLE", "it took longer than checkpassword_seconds")])
def test_how_it_ends(asked, password, answer, event):
    user = new_user(asked, "ends")
    before = len(asked.log())
    assert answer in login(asked, user, password)
    valija.wait_until(lambda: event in asked.log()[before:], what=event)
    (note,) = notes_of(asked, user)
    pid = int(next(asked.notes.glob(user + ".*")).suffix[1:])
    # It, and what it started, are gone.
    valija.wait_until(lambda: not any(group_of(p) == pid for p in os.listdir("/proc") if p.isdigit()), what="the end of its children")
    assert login(asked, user, "right by the program") is None


def group_of(pid):
    try:
        state, _, group = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:3]
        return int(group) if state != "Z" else None
    except OSError:
        return None


def test_order_of_sources(asked):
    """Who has a password here is not asked about elsewhere; who is unknown here has no mailbox."""
    user = asked.new_user("known")
    assert login(asked, user, asked.passwords[user]) is None
    assert "AUTHENTICATIONFAILED" in login(asked, user, "right by the program")
    assert "AUTHENTICATIONFAILED" in login(asked, "nobody-here@example.org", "right by the program")
    assert not notes_of(asked, user) and not notes_of(asked, "nobody-here@example.org")


def test_programs_that_hang_delay_only_their_own_queue(asked):
    """Two run at a time, the third waits for one of them; who needs none of them is let in meanwhile."""
    slow, quick = new_user(asked, "slow"), asked.new_user("quick")
    said = []
    threads = [threading.Thread(target=lambda: said.append(login(asked, slow, "hangs"))) for _ in range(2)]
    for t in threads:
        t.start()
    valija.wait_until(lambda: len(notes_of_any(asked, slow)) == 2, what="two that run")
    threads.append(threading.Thread(target=lambda: said.append(login(asked, slow, "right by the program"))))
    threads[-1].start()
    before = time.monotonic()
    assert login(asked, quick, asked.passwords[quick]) is None
    assert all(t.is_alive() for t in threads), time.monotonic() - before
    for t in threads:
        t.join(20)
    assert sorted(s is None for s in said) == [False, False, True], said


def notes_of_any(instance, user):
    return list(instance.notes.glob(user + ".*"))


def test_a_program_that_cannot_be_used_is_refused(asked):
    """Not there, not to be run, writable by others, no such user: the reload says so, and what ran goes on."""
    bad = asked.program.parent / "bad"
    bad.write_text("#!/bin/sh\n")
    for mode in (0o644, 0o777):
        bad.chmod(mode)
        asked.configure(checkpassword=f'"{bad}"')
        assert "checkpassword" in asked.valija("check", check=False).stderr
    asked.configure(checkpassword=f'"{asked.program}"', checkpassword_user='"no-such-user"')
    if os.getuid() == 0:
        assert "checkpassword_user" in asked.valija("check", check=False).stderr
    asked.configure(checkpassword='""', checkpassword_user='"nobody"')
    assert "needs the option checkpassword" in asked.valija("check", check=False).stderr
    asked.configure(checkpassword=f'"{asked.program}"')
    asked.valija("check")
