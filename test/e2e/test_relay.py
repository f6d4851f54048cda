"""relay: mail to other servers, by a private signed zone and scripted peers on loopback addresses: routes, replies at each
stage, TLS, DANE, deferral, and bounces."""

import contextlib
import datetime
import email
import email.policy
import hashlib
import json
import os
import pathlib
import re
import ssl
import subprocess
import threading
import time

import pytest

import mails
import peer
import valija
import zone

pytestmark = zone.needs_knot
PLAIN = ("PIPELINING", "8BITMIME", "SIZE 50000000", "DSN", "ENHANCEDSTATUSCODES")
# name: (addresses of its servers)
DOMAINS = {name: f"127.0.0.{n}" for n, name in enumerate(
    ["one", "two", "three", "stage", "slow", "grey", "tls", "dane", "danebad", "late", "many", "odd", "lone", "smuggle", "chunk",
     "size", "early", "inject", "mixed", "reuse", "none", "greet", "wish"], 10)}


def records(port, tlsa):
    lines = "".join(f"{name}.example. MX 10 mx.{name}.example.\nmx.{name}.example. A {address}\n" for name, address in DOMAINS.items())
    return lines + f"""
*.stage.example. MX 10 mx.stage.example.
null.example. MX 0 .
self.example. MX 10 localhost.
loop.example. MX 10 mx.loop.example.
mx.loop.example. A 127.0.0.1
zero.example. MX 10 mx.zero.example.
mx.zero.example. A 0.0.0.0
nothing.example. TXT "no address"
implicit.example. A {DOMAINS['one']}
alias.example. CNAME one.example.
two.example. MX 20 mx.one.example.
_{port}._tcp.mx.dane.example. TLSA 3 1 1 {tlsa}
_{port}._tcp.mx.danebad.example. TLSA 3 1 1 {'ab' * 32}
"""


class World:
    """Peers by name, all at one port; a zone; an instance that relays to them."""

    def __init__(self):
        self.dir = pathlib.Path(os.path.join("/tmp", f"valija-relay-{os.getpid()}-{os.urandom(4).hex()}"))
        self.dir.mkdir()
        self.stack = contextlib.ExitStack()
        self.peers, self.port = {}, 0
        self.key, self.certificate = self.dir / "key", self.dir / "certificate"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                        "30", "-keyout", self.key, "-out", self.certificate, "-subj", "/CN=mx.dane.example", "-addext",
                        "subjectAltName=DNS:mx.dane.example"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        der = subprocess.run(["openssl", "x509", "-in", self.certificate, "-pubkey", "-noout"], check=True,
                             stdout=subprocess.PIPE).stdout
        spki = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=der, check=True, stdout=subprocess.PIPE).stdout
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, self.key)
        first = peer.Peer("127.0.0.200")
        self.port = first.port
        first.close()
        self.zone = self.stack.enter_context(zone.Zone(records(self.port, hashlib.sha256(spki).hexdigest())))
        self.suite = self.stack.enter_context(valija.Instance(settings={
            **self.zone.settings(), "relay_port": str(self.port), "relay_loopback": "yes", "relay_reply_seconds": "3",
            "relay_data_seconds": "5", "relay_end_seconds": "5", "relay_connect_seconds": "3"}))
        self.user = self.suite.new_user("sender")

    def peer(self, name, **more):
        """The server of NAME.example."""
        made = peer.Peer(DOMAINS[name], self.port, name=f"mx.{name}.example", **more)
        self.stack.callback(made.close)
        return made

    def send(self, recipients, message=None, sender=None, options=(), rcpt_options=(), user=None):
        """Hands a message to submission; returns its id in the log."""
        user = user or self.user
        accepted = lambda: re.findall(r": accepted .*?message=(\w+)", self.suite.log())
        before = len(accepted())
        recipients = [recipients] if isinstance(recipients, str) else recipients
        with self.suite.smtp(user) as smtp:
            smtp.ehlo_or_helo_if_needed()
            code, said = smtp.mail(user if sender is None else sender, list(options))
            assert code == 250, said
            for recipient in recipients:
                code, said = smtp.rcpt(recipient, list(rcpt_options))
                assert code == 250, said
            code, said = smtp.data(message or mails.plain(user, recipients[0], "relayed"))
            assert code == 250, said
        return valija.wait_until(lambda: accepted()[before:], 5, "the log of the message")[-1]

    def lines(self, message):
        return [l for l in self.suite.log().splitlines() if f"message={message}" in l]

    def outcome(self, message, count=1, seconds=10):
        """The lines that tell what became of recipients, as dictionaries."""
        def told():
            lines = [l for l in self.lines(message) if re.search(r": (?:not-)?delivered ", l)]
            return lines if len(lines) >= count else None
        lines = valija.wait_until(told, seconds, f"an outcome of {message}")
        return [dict((k, v.strip('"')) for k, v in re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)', line)) for line in lines]

    def close(self):
        self.stack.close()
        for path in self.dir.iterdir():
            path.unlink()
        self.dir.rmdir()


@pytest.fixture(scope="module")
def world():
    if not zone.available():
        pytest.skip("needs knotd (Debian: knot, knot-dnsutils)")
    made = World()
    try:
        yield made
        assert not [p for p in made.suite.status() if p["restarts"]], made.suite.log_tail(60)
    finally:
        made.close()


# ---- the way of one message ----------------------------------------------------------------------------


def test_a_message_goes_out(world):
    there = world.peer("three")
    message = world.send(["a@three.example", "B@three.example"], mails.plain(world.user, "a@three.example", "out"))
    for told in world.outcome(message, 2):
        assert told["status"] == "sent" and told["dsn"].startswith("2.") and told["relay"].startswith("mx.three.example[127.0.0.")
        assert "taken" in told["reason"]
    (got,) = there.messages
    assert got["sender"].startswith(f"MAIL FROM:<{world.user}>")
    assert [r.split(" ")[1] for r in got["recipients"]] == ["TO:<a@three.example>", "TO:<B@three.example>"]
    assert b"Subject: out\r\n" in got["body"] and got["body"].startswith(b"Received: ")
    valija.wait_until(lambda: any(": removed " in l for l in world.lines(message)), 5, "the end of the message")


def test_routes(world):
    one = world.peer("one")
    for domain in ("implicit.example", "alias.example", "two.example"):
        before = len(one.messages)
        # two.example's own server is away: the second one takes it.
        message = world.send(f"x@{domain}")
        assert world.outcome(message)[0]["status"] == "sent", domain
        assert len(one.messages) == before + 1


@pytest.mark.parametrize("domain, dsn", [("null.example", "5.1.10"), ("nowhere.example", "5.1.2"), ("nothing.example", "5.4.4"),
                                         ("self.example", "5.4.6"), ("zero.example", "5.4.6")])
def test_r3_nowhere_to_go(world, domain, dsn):
    """Null MX, no such domain, nothing there, and our own name and addresses: at once, without a connection."""
    told = world.outcome(world.send(f"x@{domain}"))[0]
    assert (told["status"], told["dsn"], told["relay"]) == ("bounced", dsn, "none")


@pytest.mark.parametrize("stage, answer, status, dsn", [
    ("mail", "550 5.7.1 not you", "bounced", "5.7.1"), ("mail", "451 4.3.0 not now", "deferred", "4.3.0"),
    ("rcpt", "550 5.1.1 unknown", "bounced", "5.1.1"), ("rcpt", "450 4.2.0 later", "deferred", "4.2.0"),
    ("data", "554 5.6.0 no data", "bounced", "5.6.0"), ("data", "421 4.3.2 leaving", "deferred", "4.3.2"),
    ("end", "554 5.7.1 spam", "bounced", "5.7.1"), ("end", "452 4.3.1 full", "deferred", "4.3.1"),
    ("greeting", "554 5.7.1 go away", "deferred", "4.7.1"), ("ehlo", "421 4.3.2 busy", "deferred", "4.3.2"),
    ("greeting", None, "deferred", "4.4.2"), ("ehlo", None, "deferred", "4.4.2"), ("mail", None, "deferred", "4.4.2"),
    ("rcpt", None, "deferred", "4.4.2"), ("data", None, "deferred", "4.4.2"), ("end", None, "deferred", "4.4.2"),
    ("rcpt", "silence", "deferred", "4.4.2"),
    ("rcpt", "250", "sent", "2.0.0"), ("mail", "550", "bounced", "5.0.0")])
@pytest.mark.parametrize("extensions", [PLAIN, ("8BITMIME",), (*PLAIN, "CHUNKING")], ids=["pipelining", "one-by-one", "chunking"])
def test_each_stage(world, stage, answer, status, dsn, extensions):
    if (stage == "data" and "CHUNKING" in extensions) or (answer == "silence" and extensions is not PLAIN):
        return
    with peer.Peer(DOMAINS["stage"], world.port, extensions=extensions, answers={stage: answer}) as there:
        # Another next hop each time, or the connection to the last server would be used again.
        message = world.send(f"x@{os.urandom(4).hex()}.stage.example")
        told = world.outcome(message)[0]
        assert (told["status"], told["dsn"]) == (status, dsn), (told, there.commands)
        if isinstance(answer, str) and " " in answer:
            assert answer.split(" ", 2)[2] in told["reason"]
        assert len(there.messages) == (status == "sent")


# ---- what senders are told -----------------------------------------------------------------------------


def reports(world, user, count=1, seconds=10):
    """The messages in the inbox of `user`, parsed, once there are `count`."""
    paths = valija.wait_until(lambda: (p := world.suite.delivered(user)) and len(p) >= count and p, seconds, "a report")
    return [email.message_from_bytes(p.read_bytes(), policy=email.policy.default) for p in paths]


def fields(report):
    """The per-recipient fields of a report, a dictionary for each."""
    (status,) = [p for p in report.walk() if p.get_content_type() == "message/delivery-status"]
    return [dict(part.items()) for part in status.get_payload()[1:]]


def test_a_failure_goes_back(world):
    there = world.peer("mixed", answers={"rcpt": lambda line: "550 5.1.1 no such <user>" if "TO:<bad" in line else ...})
    user = world.suite.new_user("author")
    message = world.send(["good@mixed.example", "bad@mixed.example"], user=user, options=["ENVID=order+2B66", "RET=HDRS"],
                         rcpt_options=["ORCPT=rfc822;first+2Bbad@mixed.example"])
    (report,) = reports(world, user)
    assert report["From"].addresses[0].addr_spec.startswith("MAILER-DAEMON@") and report["To"].addresses[0].addr_spec == user
    assert report["Auto-Submitted"] == "auto-replied" and report["Return-Path"] == "<>"
    assert report.get_content_type() == "multipart/report" and report["Content-Type"].params["report-type"] == "delivery-status"
    assert report["In-Reply-To"] == "<relayed@client.example>"
    text, status, back = report.get_payload()
    assert "bad@mixed.example" in text.get_content() and "good@mixed.example" not in text.get_content()
    whole = dict(status.get_payload()[0].items())
    assert whole["Reporting-MTA"] == "dns; localhost" and whole["Original-Envelope-Id"] == "order+66" and whole["Arrival-Date"]
    (one,) = fields(report)
    assert one["Final-Recipient"] == "rfc822; bad@mixed.example" and one["Original-Recipient"] == "rfc822; first+bad@mixed.example"
    assert (one["Action"], one["Status"]) == ("failed", "5.1.1")
    assert one["Remote-MTA"] == "dns; mx.mixed.example" and one["Diagnostic-Code"].startswith("smtp; 550 5.1.1 no such <user>")
    assert back.get_content_type() == "text/rfc822-headers" and "Subject: relayed" in back.get_content()
    assert len(there.messages) == 1
    valija.wait_until(lambda: any(": removed " in l for l in world.lines(message)), 5, "the end of the message")


def test_the_whole_message_goes_back(world):
    user = world.suite.new_user("author")
    world.send("x@nowhere.example", user=user)
    (report,) = reports(world, user)
    assert report.get_payload()[2].get_content_type() == "message/rfc822"
    assert "fill the line" in report.get_payload()[2].as_string()


def test_i7_generated_messages(world):
    """What a hostile server answers adds no header and no line of its own."""
    world.peer("odd", answers={"rcpt": b"550-5.1.1 a\r\n550-Bcc: victim@example.org\n550 5.1.1 \x00\x1b[2J\rSubject: x\r\n"})
    user = world.suite.new_user("author")
    world.send("x@odd.example", user=user)
    (report,) = reports(world, user)
    raw = report.as_bytes()
    assert not re.search(rb"(?m)^Bcc:", raw) and b"\x1b" not in raw and b"\x00" not in raw and raw.count(b"\nSubject: ") == 2


def test_never_a_bounce_to_a_bounce(world):
    """The null sender, NOTIFY=NEVER: silence, and the message is gone."""
    user = world.suite.new_user("author")
    message = world.send("x@nowhere.example", user=user, rcpt_options=["NOTIFY=NEVER"])
    valija.wait_until(lambda: any(": removed " in l for l in world.lines(message)), 5, "the end of the message")
    # A report that cannot be delivered itself: nobody is told.
    world.peer("lone", answers={"mail": lambda line: "550 5.7.1 no reports" if "<>" in line else ...,
                                "rcpt": "550 5.1.1 unknown"})
    world.suite.configure()
    assert not world.suite.delivered(user)
    assert not [l for l in world.suite.log().splitlines() if re.search(r"notice .*to=" + re.escape(user), l)]


def test_success_is_told(world):
    """NOTIFY=SUCCESS: a server without DSN makes it "relayed", told by us; one with DSN is asked itself."""
    plain = world.peer("wish", extensions=("PIPELINING",))
    user = world.suite.new_user("author")
    world.send("x@wish.example", user=user, rcpt_options=["NOTIFY=SUCCESS,FAILURE"])
    (report,) = reports(world, user)
    (one,) = fields(report)
    assert (one["Action"], one["Status"]) == ("relayed", "2.0.0") and "NOTIFY" not in plain.messages[0]["recipients"][0]
    three = world.peer("reuse")
    world.send("x@reuse.example", user=user, rcpt_options=["NOTIFY=SUCCESS,DELAY"])
    valija.wait_until(lambda: three.messages, 5, "the message")
    assert "NOTIFY=SUCCESS,DELAY" in three.messages[0]["recipients"][0]
    assert len(world.suite.delivered(user)) == 1
