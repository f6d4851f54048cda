"""Start, stop, start again: nothing is left behind, nothing is lost, twice is refused."""

import os
import signal
import socket
import subprocess
import time

import mails
import valija


def test_stop_leaves_nothing_and_start_has_everything(own_suite):
    user = own_suite.new_user("stays")
    for n in range(3):
        own_suite.receive("a@elsewhere.example", [user], mails.plain("a@elsewhere.example", user, f"m{n}"))
    with own_suite.imap(user) as imap:
        imap.select("INBOX")
        imap.store("2", "+FLAGS", "(\\Flagged \\Seen)")
        before = imap.uid("FETCH", "1:*", "(UID FLAGS)")[1]
        validity = imap.untagged_responses.get("UIDVALIDITY")
    family = own_suite.pids()
    own_suite.stop()
    assert not any(valija.alive(pid) for pid in family)
    own_suite.start()
    with own_suite.imap(user) as imap:
        imap.select("INBOX")
        after = imap.uid("FETCH", "1:*", "(UID FLAGS)")[1]
        assert imap.untagged_responses.get("UIDVALIDITY") == validity
    strip = lambda rows: [row.replace(b" \\Recent", b"").replace(b"\\Recent", b"") for row in rows]
    assert strip(after) == strip(before)


def test_second_start_is_refused(own_suite):
    master = own_suite.master_pid()
    done = own_suite.valija("start", check=False)
    assert done.returncode != 0 and "running" in done.stdout + done.stderr
    assert own_suite.master_pid() == master and valija.alive(master)


def test_stop_when_stopped_and_status_when_stopped(own_suite):
    own_suite.stop()
    assert own_suite.valija("status", check=False).returncode != 0
    assert own_suite.valija("stop", check=False).returncode in (0, 69, 75)


def test_stop_waits_for_what_is_in_flight_but_not_forever(own_suite):
    """A client in the middle of DATA may finish; one that only sits there is cut off."""
    user = own_suite.new_user("busy")
    own_suite.configure(stop_seconds=3)
    own_suite.valija("reload")
    idle = own_suite.connect("smtp")
    assert idle.recv(1000).startswith(b"220 ")
    begun = time.monotonic()
    own_suite.stop()
    assert time.monotonic() - begun < 8
    idle.settimeout(5)
    rest = b""
    while chunk := idle.recv(1000):
        rest += chunk
    assert rest == b"" or rest.startswith(b"421 ")
    assert not own_suite.pids() and user


def test_foreground_start_tells_systemd(own_suite, tmp_path):
    """With NOTIFY_SOCKET set: READY=1 when it serves, STOPPING=1 when it ends; SIGTERM is an orderly
    stop, SIGHUP a reload."""
    own_suite.stop()
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(path))
        notify.settimeout(15)
        with open(tmp_path / "said", "wb") as said:
            process = subprocess.Popen(own_suite.argv("start", "--foreground"), stdout=said, stderr=said,
                                       env=dict(os.environ, NOTIFY_SOCKET=str(path)))
        told = b""
        while b"READY=1" not in told:
            told += notify.recv(4096) + b"\n"
        with own_suite.smtp(service="smtp") as smtp:
            assert smtp.noop()[0] == 250
        pid = own_suite.master_pid()
        os.kill(pid, signal.SIGHUP)
        time.sleep(0.5)
        assert valija.alive(pid)
        os.kill(pid, signal.SIGTERM)
        while b"STOPPING=1" not in told:
            told += notify.recv(4096) + b"\n"
        assert process.wait(20) == 0


def test_two_instances_side_by_side():
    with valija.Instance() as one, valija.Instance() as two:
        for suite in (one, two):
            user = suite.user_add("same")
            suite.receive("a@elsewhere.example", [user], mails.plain("a@elsewhere.example", user))
            assert len(suite.delivered(user)) == 1
