"""kill -9 of each part of the delivery and of everything, at random and under load: with room on the disk, with a full spool,
with full mailboxes. What was acknowledged arrives whole, once or, rarely, twice; service is back each time; nothing stays behind."""

import collections
import contextlib
import hashlib
import json
import os
import random
import re
import secrets
import signal
import smtplib
import ssl
import threading
import time

import pytest

import peer
import valija
from disk import Ballast, mounted

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root to mount a small file system")

BACK_WITHIN_SECONDS = 2.0
TROUBLE = (OSError, smtplib.SMTPException, ssl.SSLError)
THERE = "x@sink.example"
VICTIMS = ["queue", "local", "relay", "spool", "everything"]


def message(sender, word):
    """Its Subject has the checksum of its body."""
    body = "\r\n".join(secrets.token_hex(30) for _ in range(random.randrange(1, 150))) + "\r\n.dot\r\n"
    return f"From: <{sender}>\r\nDate: Mon, 05 Jan 2026 10:11:12 +0100\r\nMessage-ID: <{word}@x.example>\r\n" \
           f"Subject: {word} {hashlib.sha256(body.encode()).hexdigest()}\r\n\r\n{body}"


def look_at(content, found):
    """Counts a copy by its word; it must be whole."""
    head, _, body = content.partition(b"\r\n\r\n")
    subject = re.search(rb"(?m)^Subject: (\w+) (\w+)", head)
    assert subject and hashlib.sha256(body).hexdigest() == subject[2].decode(), f"cut: {content[:300]}"
    found[subject[1].decode()] += 1


class Load:
    """One user here and one elsewhere get mail, each alone and both together; who sends it remembers what was acknowledged."""

    def __init__(self, suite, sink, senders=3):
        self.suite, self.sink, self.user = suite, sink, suite.user_add("storm")
        self.acknowledged, self.refused, self.over = {}, 0, threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(senders)]
        for thread in self.threads:
            thread.start()

    def send(self, smtp, to):
        word = secrets.token_hex(8)
        not_taken = smtp.sendmail(self.user, to, message(self.user, word))
        self.acknowledged[word] = [a for a in to if a not in not_taken]

    def run(self, n):
        while not self.over.is_set():
            with contextlib.suppress(*TROUBLE), self.suite.smtp(self.user, seconds=10) as smtp:
                while not self.over.is_set():
                    n += 1
                    try:
                        self.send(smtp, [[self.user], [self.user, THERE], [THERE]][n % 3])
                    except (smtplib.SMTPDataError, smtplib.SMTPRecipientsRefused):
                        self.refused += 1
                        time.sleep(0.02)
            time.sleep(0.02)

    def once(self, to):
        """Until it is taken; seconds."""
        begun = time.monotonic()
        while True:
            try:
                with self.suite.smtp(self.user, seconds=5) as smtp:
                    self.send(smtp, to)
                return time.monotonic() - begun
            except TROUBLE as trouble:
                assert time.monotonic() - begun < 15, f"no service for {to}: {trouble!r}{self.suite.log_tail()}"
                time.sleep(0.02)

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()

    def arrived(self):
        """How often, by word: here, and there."""
        here, there = collections.Counter(), collections.Counter()
        for path in self.suite.delivered(self.user):
            look_at(path.read_bytes(), here)
        with self.sink.lock:
            for taken in self.sink.messages:
                look_at(taken["body"], there)
        return here, there

    def lost(self):
        here, there = self.arrived()
        return [(word, a) for word, to in self.acknowledged.items() for a in to if not (there if a == THERE else here)[word]]


def kill(suite, what, chance):
    if what == "everything":
        for pid in reversed(suite.pids()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        valija.wait_until(lambda: not suite.pids(), 10, "the end of all")
        suite.start()
        return
    victims = suite.processes(what)
    for victim in chance.sample(victims, k=min(len(victims), chance.randint(1, 3))):
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim["pid"], signal.SIGKILL)


def left_in_tmp(suite):
    return [path for directory in suite.dir.rglob("tmp") for path in directory.iterdir()]


def storm(phases, seed):
    """phases: (what is full: "spool", "mail" or None; how many are killed meanwhile)."""
    chance, back, usual = random.Random(seed), [], []
    # Each as fast as it can, with no limit by hour.
    with peer.Peer("127.0.0.61", extensions=("PIPELINING", "CHUNKING")) as sink, valija.Instance(start=False, settings={
            "dns_servers": '{"127.0.0.1:1"}', "relay_loopback": "yes", "submission_messages_per_hour": 0,
            "submission_recipients_per_hour": 0}) as suite, \
            mounted(suite.dir / "mail", 96), mounted(suite.dir / "spool", 48):
        suite.valija("init", "--hostname", "localhost", "--domain", valija.DOMAIN)   # makes what the mount hides
        suite.start()
        (suite.conf.parent / "transport").write_text(f"sink.example smtp:[127.0.0.61]:{sink.port}\n")
        suite.valija("map", "transport")
        load = Load(suite, sink)
        try:
            usual = [load.once([load.user, THERE]) for _ in range(3)]
            for full, rounds in phases:
                ballast, refused = Ballast(suite.dir / full) if full else None, load.refused
                for _ in range(rounds):
                    time.sleep(chance.uniform(0.05, 0.5))
                    what = chance.choice(VICTIMS)
                    begun = time.monotonic()
                    kill(suite, what, chance)
                    # With a full spool mail goes on for users here, with full mailboxes for others.
                    load.once({"spool": [load.user], "mail": [THERE], None: [load.user, THERE]}[full])
                    back.append((time.monotonic() - begun, what, full))
                if ballast:
                    assert load.refused > refused, f"nothing was refused with a full {full}"
                    ballast.close()
                    load.once([load.user, THERE])
        finally:
            load.stop()
        limit = time.monotonic() + 60
        while load.lost() and time.monotonic() < limit:
            suite.valija("queue", "retry", "--all", check=False)
            time.sleep(0.5)
        lost = load.lost()
        assert not lost, f"{len(lost)} of {len(load.acknowledged)} lost: {suite.valija('queue').stdout[-2000:]}{suite.log_tail()}"
        twice = sum(n - 1 for found in load.arrived() for n in found.values())
        copies = sum(len(to) for to in load.acknowledged.values())
        print(f"{len(back)} kills; {len(load.acknowledged)} messages acknowledged, for {copies} recipients; {load.refused} refused; "
              f"none lost, none cut, {twice} more than once; back after {max(back)[0]:.2f} s at most ({max(back)[1]}, full: "
              f"{max(back)[2]}), {sorted(back)[len(back) // 2][0]:.2f} s in the middle; usually a message takes {max(usual):.2f} s")
        assert load.acknowledged and twice <= max(10, copies // 20)
        late = [b for b in back if b[0] > BACK_WITHIN_SECONDS + max(usual)]
        assert not late, f"service was back late: {late}"
        valija.wait_until(lambda: json.loads(suite.valija("queue", "list", "--json").stdout) == [], 30, "an empty queue")
        suite.stop()
        suite.start()
        assert not left_in_tmp(suite) and not list((suite.dir / "spool/queue").iterdir())
        assert not list((suite.dir / "spool/corrupt").iterdir())
        assert "process-refused" not in suite.log(), "somebody sound was replaced, as one that had ended a channel"
        suite.stop()


def test_kill_9_while_it_is_full():
    storm([(None, 1), ("spool", 3), (None, 1), ("mail", 3)], 20261128)


@pytest.mark.long
@pytest.mark.parametrize("full", [None, "spool", "mail"])
def test_kill_9_fifty_rounds(full):
    storm([(full, 10), (None, 2)] * 5 if full else [(None, 50)], 20261129)
