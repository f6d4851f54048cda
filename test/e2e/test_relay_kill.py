"""kill -9 of relay and queue while mail goes to another server: every message that was acknowledged arrives there, whole, once
or, rarely, twice."""

import collections
import contextlib
import hashlib
import os
import random
import re
import secrets
import signal
import smtplib
import threading
import time

import pytest

import peer
import valija
import zone

pytestmark = zone.needs_knot


def traffic(suite, user, recipient, until, acknowledged):
    """Sends messages with a checksum of their body until the event; notes what was acknowledged."""
    while not until.is_set():
        with contextlib.suppress(OSError, smtplib.SMTPException), suite.smtp(user, seconds=15) as smtp:
            for _ in range(20):
                if until.is_set():
                    break
                body = "\r\n".join(secrets.token_hex(30) for _ in range(random.randrange(1, 60))) + "\r\n.dot\r\n"
                word = secrets.token_hex(8)
                message = f"From: <{user}>\r\nDate: Mon, 05 Jan 2026 10:11:12 +0100\r\nMessage-ID: <{word}@x.example>\r\n" \
                          f"Subject: {word} {hashlib.sha256(body.encode()).hexdigest()}\r\n\r\n{body}"
                smtp.sendmail(user, [recipient], message)
                acknowledged.append(word)


def rounds(count, pause):
    with peer.Peer("127.0.0.60", extensions=("PIPELINING", "CHUNKING")) as sink, \
            zone.Zone("sink.example. MX 10 mx.sink.example.\nmx.sink.example. A 127.0.0.60\n") as names, \
            valija.Instance(settings={**names.settings(), "relay_port": sink.port, "relay_loopback": "yes"}) as suite:
        user, acknowledged, until = suite.new_user("killer"), [], threading.Event()
        threads = [threading.Thread(target=traffic, args=(suite, user, "x@sink.example", until, acknowledged)) for _ in range(3)]
        for thread in threads:
            thread.start()
        killed = 0
        for _ in range(count):
            time.sleep(random.uniform(pause / 2, pause))
            for program in random.choice((["relay"], ["queue"], ["relay", "queue"], ["spool"], ["tls"], ["dns"])):
                for told in suite.processes(program):
                    with contextlib.suppress(OSError):
                        os.kill(told["pid"], signal.SIGKILL)
                        killed += 1
        until.set()
        for thread in threads:
            thread.join(60)

        def arrived():
            with sink.lock:
                return collections.Counter(re.search(rb"(?m)^Subject: (\w+) ", m["body"]).group(1).decode() for m in sink.messages)
        # What was deferred because something was away has its next turn soon.
        limit = time.monotonic() + 100
        while set(acknowledged) - set(arrived()) and time.monotonic() < limit:
            suite.valija("queue", "retry", "--all", check=False)
            time.sleep(1)
        lost = set(acknowledged) - set(arrived())
        assert not lost, f"{len(lost)} of {len(acknowledged)} lost: {suite.valija('queue').stdout[-2000:]}{suite.log_tail(40)}"
        for message in sink.messages:
            head, _, body = message["body"].partition(b"\r\n\r\n")
            assert hashlib.sha256(body).hexdigest() == re.search(rb"(?m)^Subject: \w+ (\w+)", head).group(1).decode(), "cut"
        twice = sum(n - 1 for n in arrived().values())
        print(f"{killed} processes killed, {len(acknowledged)} acknowledged, {twice} more than once")
        assert acknowledged and twice <= max(10, len(acknowledged) // 10)
        left = [p.name for p in (suite.dir / "spool/queue").iterdir()]
        valija.wait_until(lambda: not any((suite.dir / "spool/queue").iterdir()), 30, f"an empty queue ({left[:4]})")


def test_kill_9_of_relay_and_queue_loses_nothing():
    rounds(6, 0.6)


@pytest.mark.long
def test_kill_9_fifty_times():
    rounds(50, 0.8)
