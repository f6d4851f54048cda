"""kill -9 of each daemon in turn during traffic: service is back within two seconds, and nothing that
was acknowledged is lost."""

import contextlib
import fcntl
import os
import signal
import smtplib
import ssl
import threading
import time

import pytest

import mails
import valija

BACK_WITHIN_SECONDS = 2.0


class Traffic:
    """Strangers and users who send without pause, and remember what was acknowledged."""

    def __init__(self, suite, senders=3):
        self.suite = suite
        self.user = suite.new_user("traffic")
        self.acknowledged, self.unsure, self.failures = set(), set(), 0
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.send, args=(n,)) for n in range(senders)]
        for thread in self.threads:
            thread.start()

    def send(self, thread):
        n = 0
        while not self.over.is_set():
            try:
                submit = thread % 2 == 0
                with self.suite.smtp(self.user if submit else None, "submission" if submit else "smtp", 10) as smtp:
                    for _ in range(5):
                        n += 1
                        word = f"t{thread}n{n}"
                        message = mails.plain(self.user, self.user, word, size=20000)
                        sender = self.user if submit else "a@elsewhere.example"
                        with self.lock:
                            self.unsure.add(word)
                        smtp.sendmail(sender, [self.user], message)
                        with self.lock:
                            self.acknowledged.add(word)
                        time.sleep(0.02)
            except (OSError, smtplib.SMTPException, ssl.SSLError):
                self.failures += 1
                time.sleep(0.05)

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()

    def arrived(self):
        """Every Subject in INBOX, and how often."""
        found = {}
        for path in self.suite.delivered(self.user):
            head = path.read_bytes().split(b"\r\n\r\n")[0]
            (word,) = [l.split(b": ")[1].decode() for l in head.split(b"\r\n") if l.startswith(b"Subject: ")]
            found[word] = found.get(word, 0) + 1
        return found


def works(suite, user):
    """The main job once: submit with STARTTLS and AUTH, read it by IMAPS. True, or raises."""
    word = f"probe{time.monotonic_ns()}"
    with suite.smtp(user, seconds=3) as smtp:
        smtp.sendmail(user, [user], mails.plain(user, user, word))
    with suite.imap(user, seconds=3) as imap:
        imap.select("INBOX")
        assert imap.search(None, "SUBJECT", word)[1][0]
    return True


def seconds_until_it_works(suite, user, limit):
    begun = time.monotonic()
    last = None
    while time.monotonic() - begun < limit:
        try:
            works(suite, user)
            return time.monotonic() - begun
        except (OSError, smtplib.SMTPException, ssl.SSLError, suite_errors(), AssertionError) as failure:
            last = failure
            time.sleep(0.02)
    raise AssertionError(f"no service after {limit} s: {last!r}{suite.log_tail()}")


def suite_errors():
    import imaplib
    return imaplib.IMAP4.error


@pytest.mark.parametrize("program", valija.DAEMONS + ["imap"])
def test_kill_one(suite, program):
    """Each process of the program is killed once."""
    prober = suite.new_user("prober")
    works(suite, prober)
    traffic, refused = Traffic(suite), suite.log().count("process-refused")
    try:
        time.sleep(0.3)
        victims = [p["pid"] for p in suite.processes(program)]
        assert victims
        for victim in victims[:3]:
            os.kill(victim, signal.SIGKILL)
            # The probe itself takes a while; what is measured is until its end.
            took = seconds_until_it_works(suite, prober, 8)
            assert took < BACK_WITHIN_SECONDS, f"{program}: service back after {took:.2f} s"
        if program != "imap":
            valija.wait_until(lambda: len(suite.processes(program)) == len(victims), 5, f"every {program} again")
    finally:
        traffic.stop()
    arrived = traffic.arrived()
    assert traffic.acknowledged, "no message went through"
    lost = traffic.acknowledged - set(arrived)
    assert not lost, f"{program}: {len(lost)} of {len(traffic.acknowledged)} acknowledged messages are lost"
    assert set(arrived) <= traffic.unsure
    # Nobody sound was replaced, as one that had ended a channel.
    assert suite.log().count("process-refused") == refused, suite.log_tail()


def test_login_while_the_killed_imap_dies(suite):
    """A session that is handed to an imap process which is already dying goes to the next one: the
    client notices nothing."""
    user = suite.new_user("quick")
    for _ in range(15):
        suite.imap(user)
        for process in suite.processes("imap"):
            if process.get("user") == user:      # one that has just come has none yet
                os.kill(process["pid"], signal.SIGKILL)
        with suite.imap(user) as imap:
            assert imap.select("INBOX")[0] == "OK"


@pytest.mark.parametrize("program", ["auth", "tls-key"])
def test_a_process_that_hangs_is_replaced(own_suite, program):
    """SIGSTOP: it lives and answers nobody. After hang_seconds master kills it and service is back."""
    prober = own_suite.new_user("prober")
    own_suite.configure(hang_seconds=5)
    own_suite.valija("reload")
    (victim,) = [p["pid"] for p in own_suite.processes(program)]
    begun = time.monotonic()
    os.kill(victim, signal.SIGSTOP)
    took = seconds_until_it_works(own_suite, prober, 25)
    assert took < 20, took
    assert victim not in own_suite.pids()
    assert "process-hangs" in (own_suite.dir / "log/valija.log").read_text()
    # Nobody who answers is ever killed.
    time.sleep(max(0, 8 - (time.monotonic() - begun)))
    assert (own_suite.dir / "log/valija.log").read_text().count("process-hangs") == 1


def test_kill_all_at_once(own_suite):
    """Every daemon but master dies in the same moment."""
    prober = own_suite.new_user("prober")
    traffic = Traffic(own_suite)
    time.sleep(0.5)
    master = own_suite.master_pid()
    for pid in own_suite.pids():
        if pid != master:
            os.kill(pid, signal.SIGKILL)
    took = seconds_until_it_works(own_suite, prober, 10)
    traffic.stop()
    assert own_suite.master_pid() == master
    assert traffic.acknowledged <= set(traffic.arrived())
    assert took < 4, took


def test_kill_master(own_suite):
    """Without master its daemons end by themselves; the next start works and has everything."""
    prober = own_suite.new_user("prober")
    traffic = Traffic(own_suite)
    time.sleep(0.5)
    family = own_suite.pids()
    os.kill(own_suite.master_pid(), signal.SIGKILL)
    valija.wait_until(lambda: not any(valija.alive(pid) for pid in family), 15, "the end of the daemons")
    own_suite.start()
    seconds_until_it_works(own_suite, prober, 5)
    traffic.stop()
    assert traffic.acknowledged <= set(traffic.arrived())


def test_start_after_all_were_killed(own_suite):
    """A child that was being made when its master was killed has the lock for a moment longer: that is no master."""
    for pid in reversed(own_suite.pids()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    valija.wait_until(lambda: not own_suite.pids(), 10, "the end of all")
    lock = open(own_suite.dir / "run/lock")
    valija.wait_until(lambda: locks(lock), 10, "the lock")
    refused = own_suite.valija("start", check=False)
    assert refused.returncode == 75 and "it is running already" in refused.stderr
    release = threading.Timer(0.3, lock.close)
    release.start()
    own_suite.start()
    release.join()


def locks(file):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def test_restarts_are_counted(own_suite):
    user = own_suite.new_user("counter")
    (before,) = own_suite.processes("tls-key")
    os.kill(before["pid"], signal.SIGKILL)
    seconds_until_it_works(own_suite, user, 5)
    (after,) = own_suite.processes("tls-key")
    assert after["pid"] != before["pid"] and after["restarts"] == before["restarts"] + 1
