"""relay: mail to other servers, by a private signed zone and scripted peers on loopback addresses: routes, replies at each
stage, TLS, DANE, deferral, and bounces."""

import contextlib
import datetime
import email
import email.policy
import email.utils
import hashlib
import json
import os
import pathlib
import re
import socket
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
     "size", "early", "inject", "mixed", "reuse", "none", "greet", "wish", "urgent", "narrow", "old", "wide", "octets", "vast", "chat", "knows", "ignores", "sealed", "danebad2", "nodane", "nodane2", "both", "few", "early2", "overdue",
     "asks", "silent"], 10)}


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
mapped.example. MX 10 mx.mapped.example.
mx.mapped.example. AAAA ::ffff:0.0.0.0
nothing.example. TXT "no address"
implicit.example. A {DOMAINS['one']}
alias.example. CNAME one.example.
two.example. MX 20 mx.one.example.
_{port}._tcp.mx.dane.example. TLSA 3 1 1 {tlsa}
_{port}._tcp.mx.sealed.example. TLSA 3 1 1 {tlsa}
mx.both.example. AAAA ::1
six.example. MX 10 mx.six.example.
mx.six.example. AAAA ::1
_{port}._tcp.mx.danebad.example. TLSA 3 1 1 {'ab' * 32}
_{port}._tcp.mx.danebad2.example. TLSA 3 1 1 {'ab' * 32}
_{port}._tcp.mx.nodane.example. TLSA 3 1 1 {tlsa}
_{port}._tcp.mx.nodane2.example. TLSA 3 1 1 {tlsa}
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
                                         ("self.example", "5.4.6"), ("zero.example", "5.4.6"), ("mapped.example", "5.4.6")])
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
@pytest.mark.parametrize("kind, extensions", [("pipelining", PLAIN), ("one-by-one", ("8BITMIME",)), ("chunking", (*PLAIN, "CHUNKING")),
                                              ("tls", PLAIN)])
def test_each_stage(world, stage, answer, status, dsn, kind, extensions):
    if (stage == "data" and kind == "chunking") or (answer == "silence" and kind != "pipelining"):
        return
    tls = world.context if kind == "tls" else None
    # Under TLS the second EHLO, the one inside.
    said = [..., answer] if tls and stage == "ehlo" else answer
    with peer.Peer(DOMAINS["stage"], world.port, extensions=extensions, answers={stage: said}, tls=tls) as there:
        # Another next hop each time, or the connection to the last server would be used again.
        message = world.send(f"x@{os.urandom(4).hex()}.stage.example")
        told = world.outcome(message)[0]
        assert (told["status"], told["dsn"]) == (status, dsn), (told, there.commands)
        if isinstance(answer, str) and " " in answer:
            assert answer.split(" ", 2)[2] in told["reason"]
        assert len(there.messages) == (status == "sent")
        assert all(m["tls"] == bool(tls) for m in there.messages)
        if tls and stage not in ("greeting", "ehlo"):
            assert [c.split(" ")[0] for c in there.commands[:3]] == ["EHLO", "STARTTLS", "EHLO"]


@pytest.mark.parametrize("answer, status, dsn", [(None, "deferred", "4.4.2"), ("454 4.7.0 not now", "sent", "2.0.0"),
                                                 ("501 5.5.4 never", "sent", "2.0.0"), ("421 4.3.2 leaving", "deferred", "4.3.2"),
                                                 ("silence", "deferred", "4.4.2")])
def test_starttls_stage(world, answer, status, dsn):
    """TLS is not demanded of this one: without is better than not at all, where the server says so itself."""
    with peer.Peer(DOMAINS["stage"], world.port, answers={"starttls": answer}, tls=world.context) as there:
        told = world.outcome(world.send(f"x@{os.urandom(4).hex()}.stage.example"))[0]
        assert (told["status"], told["dsn"]) == (status, dsn), (told, there.commands)
        assert [m["tls"] for m in there.messages] == ([False] if status == "sent" else [])


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
    # "localhost" is no full name: the machine's public address stands in its place, where it has one.
    assert re.fullmatch(r"dns; (localhost|\[\S+\])", whole["Reporting-MTA"]) and whole["Original-Envelope-Id"] == "order+66" and whole["Arrival-Date"]
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


# ---- TLS -----------------------------------------------------------------------------------------------


def test_tls_where_it_is_offered(world):
    """Whoever it is: encrypted, EHLO again inside, and nothing from before is used."""
    there = world.peer("tls", tls=world.context)
    message = world.send("x@tls.example")
    assert world.outcome(message)[0]["status"] == "sent"
    assert there.messages[0]["tls"]
    assert [c.split(" ")[0] for c in there.commands[:4]] == ["EHLO", "STARTTLS", "EHLO", "MAIL"]
    assert any("relay-tls " in l and "verified=no" in l for l in world.lines(message))


def test_dane(world):
    """TLSA records that fit let mail through, verified; others stop it, whatever the server offers."""
    good, bad = world.peer("dane", tls=world.context), world.peer("danebad", tls=world.context)
    message = world.send("x@dane.example")
    assert world.outcome(message)[0]["status"] == "sent" and good.messages[0]["tls"]
    assert any("relay-tls " in l and "verified=dane" in l for l in world.lines(message))
    told = world.outcome(world.send("x@danebad.example"))[0]
    assert (told["status"], told["dsn"]) == ("deferred", "4.7.5") and not bad.messages
    assert not any(c.startswith("MAIL") for c in bad.commands)


def test_tls_that_the_sender_does_not_require(world):
    """TLS-Required: No (RFC 8689): whoever writes that a certificate is broken gets it through. REQUIRETLS is stronger, and
    nobody else's mail goes that way."""
    field = b"TLS-Required: No\r\n"
    bad, none = world.peer("danebad2", tls=world.context), world.peer("nodane")
    for there, to in ((bad, "x@danebad2.example"), (none, "x@nodane.example")):
        told = world.outcome(world.send(to, field + mails.plain(world.user, to)))[0]
        assert told["status"] == "sent" and field in there.messages[0]["body"], told
        # At once: the connection is still there.
        told = world.outcome(world.send(to, mails.plain(world.user, to)))[0]
        assert told["status"] == "deferred" and told["dsn"].startswith("4.7."), told
    assert bad.messages[0]["tls"] and not none.messages[0]["tls"]
    to = "x@nodane2.example"
    with peer.Peer(DOMAINS["nodane2"], world.port, extensions=PLAIN) as there:
        told = world.outcome(world.send(to, field + mails.plain(world.user, to), options=["REQUIRETLS"]))[0]
        assert told["status"] == "deferred" and told["dsn"].startswith("4.7."), told
        assert not there.messages
    assert len(bad.messages) == len(none.messages) == 1


def test_dane_without_starttls(world):
    """A server whose TLSA records DNSSEC proves, and that offers no TLS (somebody took STARTTLS out): no mail."""
    stripped = world.peer("late")
    world.zone.change(world.zone.records + f"\n_{world.port}._tcp.mx.late.example. TLSA 3 1 1 {'cd' * 32}\n")
    told = world.outcome(world.send("x@late.example"))[0]
    assert (told["status"], told["dsn"]) == ("deferred", "4.7.4") and not stripped.messages


def test_t2_response_injection(world):
    """What stands behind the answer to STARTTLS in one segment was put there by somebody: nothing of it is used."""
    there = world.peer("inject", tls=world.context, answers={"starttls": b"220 go\r\n250-fake\r\n250 AUTH PLAIN\r\n"})
    told = world.outcome(world.send("x@inject.example"))[0]
    assert told["status"] == "deferred" and "between" in told["reason"] and not there.messages


def test_a_broken_handshake_is_no_reason_to_keep_mail(world):
    """Opportunistic: the same server once more, without TLS."""
    there = world.peer("none", extensions=(*PLAIN, "STARTTLS"), answers={"starttls": b"220 go\r\n"})
    message = world.send("x@none.example")
    assert world.outcome(message)[0]["status"] == "sent" and not there.messages[0]["tls"]
    assert any("relay-tls-failed " in l and 'next="without TLS"' in l for l in world.lines(message))


def test_policies(world):
    """tls_policy: encrypt and verify stop at servers that cannot."""
    there = world.peer("greet")
    world.suite.configure(tls_policy='{"greet.example encrypt", "early.example verify", ".stage.example none"}')
    world.suite.valija("reload")
    told = world.outcome(world.send("x@greet.example"))[0]
    assert (told["status"], told["dsn"]) == ("deferred", "4.7.4") and not there.messages
    early = world.peer("early", tls=world.context)
    told = world.outcome(world.send("x@early.example"))[0]
    assert (told["status"], told["dsn"]) == ("deferred", "4.7.5") and not early.messages
    with peer.Peer(DOMAINS["stage"], world.port, tls=world.context) as never:
        assert world.outcome(world.send("x@p.stage.example"))[0]["status"] == "sent" and not never.messages[0]["tls"]


# ---- hostile and slow servers ---------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [b"553-\r\n553-a\r\n5\r\n", b"5\r\n", b"\r\n", b"250-" + b"x" * 100000 + b"\r\n" * 2,
                                    b"550 a\0b\nc\r\n", b"250-more\r\n" * 400, b"x" * 80000, b"999 what\r\n"])
def test_s6_hostile_replies(world, answer):
    """Deferred or bounced with printable text; the relay lives; the envelope keeps its records."""
    with peer.Peer(DOMAINS["stage"], world.port, answers={"rcpt": answer}):
        told = world.outcome(world.send(f"x@{os.urandom(4).hex()}.stage.example"))[0]
    assert told["status"] in ("deferred", "bounced") and told["reason"].isprintable()
    assert not [p for p in world.suite.status() if p["restarts"]]


@pytest.mark.parametrize("stage, answer", [
    ("data", b"250 2.0.0 taken already\r\n"), ("data", b"354 go on\r\n250 2.0.0 taken before its end\r\n"),
    ("rcpt", b"250-2.1.5 yes\r\n550 5.1.1 no\r\n"), ("end", b"550-5.7.1 no\r\n250 2.0.0 yes\r\n"),
    ("end", b"354 2.0.0 go on\r\n")])
def test_what_nobody_asked_for_is_no_delivery(world, stage, answer):
    """A yes in the wrong place, and replies whose lines have different codes: the message stays, and is not counted as sent."""
    with peer.Peer(DOMAINS["stage"], world.port, answers={stage: answer}):
        message = world.send(f"x@{os.urandom(4).hex()}.stage.example", mails.plain("a@example.org", "x@stage.example", "long", 400000))
        told = world.outcome(message)[0]
    assert told["status"] == "deferred" and told["dsn"].startswith("4."), told
    assert any((world.suite.dir / "spool/queue").glob("*.env"))


def test_s1_smuggling_outbound(world):
    """A message with false ends, accepted by BDAT, reaches a server that honours LF.LF as one message."""
    there = world.peer("smuggle", extensions=("PIPELINING", "8BITMIME"), loose=True)
    body = b"Subject: smuggled\r\n\r\none\n.\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<v@smuggle.example>\r\nDATA\r\n\n.\r\nx\r.\r\nend\r\n"
    with world.suite.smtp(world.user) as smtp:
        smtp.ehlo_or_helo_if_needed()
        if not smtp.has_extn("chunking"):
            pytest.skip("the server offers no CHUNKING")
        assert smtp.mail(world.user)[0] == 250 and smtp.rcpt("x@smuggle.example")[0] == 250
        smtp.send(b"BDAT %d LAST\r\n" % len(body) + body)
        code, said = smtp.getreply()
    if code == 250:
        valija.wait_until(lambda: there.messages, 10, "the message")
        time.sleep(0.3)
    assert len(there.messages) <= 1 and sum(c.startswith("MAIL") for c in there.commands) <= 1


def test_greylisting(world):
    """A first try later, the second one taken: by hand here, by the schedule otherwise."""
    there = world.peer("grey", answers={"rcpt": ["451 4.7.1 greylisted", ...]})
    message = world.send("x@grey.example")
    assert world.outcome(message)[0]["dsn"] == "4.7.1"
    valija.wait_until(lambda: world.suite.valija("queue", "retry", message, check=False).returncode == 0, 5, "a retry")
    assert world.outcome(message, 2)[1]["status"] == "sent" and len(there.messages) == 1


def test_connections_are_used_again(world):
    there = world.peer("chunk", extensions=(*PLAIN, "CHUNKING"))
    for n in range(5):
        message = world.send("x@chunk.example", mails.plain(world.user, "x@chunk.example", f"again {n}"))
        assert world.outcome(message)[0]["status"] == "sent"
    assert there.connections == 1 and len(there.messages) == 5 and {m["by"] for m in there.messages} == {"BDAT"}
    large = mails.plain(world.user, "x@chunk.example", "large", 300000)
    assert world.outcome(world.send("x@chunk.example", large))[0]["status"] == "sent"
    assert there.messages[5]["body"].endswith(large[-200000:])


def test_a_connection_is_not_used_for_ever(world):
    """relay_reuse_messages of them, then a new one."""
    world.suite.configure(relay_reuse_messages="2")
    world.suite.valija("reload")
    few = world.peer("few")
    for n in range(5):
        assert world.outcome(world.send("x@few.example", mails.plain(world.user, "x@few.example", f"few {n}")))[0]["status"] == "sent"
    assert few.connections == 3 and len(few.messages) == 5
    assert few.commands.count("QUIT") >= 2
    world.suite.configure(relay_reuse_messages="100")
    world.suite.valija("reload")


def test_both_families(world):
    """IPv6 first (RFC 8305), IPv4 when it refuses or does not answer soon; from the address that is configured for each."""
    world.suite.configure(relay_source_ipv4='"127.0.0.77"', relay_source_ipv6='"::1"', relay_reuse_seconds="0")
    world.suite.valija("reload")
    try:
        four = world.peer("both")
        with peer.Peer("::1", world.port) as six:
            told = world.outcome(world.send("x@both.example"))[0]
            assert told["relay"] == f"mx.both.example[::1]:{world.port}" and six.messages[0]["from"] == ("::1",) and not four.messages
        # Nobody listens there: the other one at once.
        told = world.outcome(world.send("x@both.example"))[0]
        assert told["relay"] == f"mx.both.example[{DOMAINS['both']}]:{world.port}" and four.messages[0]["from"] == ("127.0.0.77",)
        # One that does not answer at all (its queue of connections is full).
        with contextlib.ExitStack() as stack:
            deaf = stack.enter_context(socket.socket(socket.AF_INET6))
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            deaf.bind(("::1", world.port))
            deaf.listen(0)
            for _ in range(3):
                filler = stack.enter_context(socket.socket(socket.AF_INET6))
                filler.setblocking(False)
                filler.connect_ex(("::1", world.port))
            told = world.outcome(world.send("x@both.example"))[0]
            assert (told["status"], told["relay"]) == ("sent", f"mx.both.example[{DOMAINS['both']}]:{world.port}")
        assert len(four.messages) == 2
        # None: that family is left alone, though it answers; whoever has no other address waits, and hears why.
        world.suite.configure(relay_source_ipv6='"none"')
        world.suite.valija("reload")
        with peer.Peer("::1", world.port) as six:
            told = world.outcome(world.send("x@both.example"))[0]
            assert told["relay"] == f"mx.both.example[{DOMAINS['both']}]:{world.port}" and not six.messages
            for address in ("x@six.example", "x@[IPv6:2001:db8::7]"):
                told = world.outcome(world.send(address))[0]
                assert told["status"] == "deferred" and "relay_source" in told["reason"], told
    finally:
        world.suite.configure(relay_source_ipv4='""', relay_source_ipv6='""', relay_reuse_seconds="5")
        world.suite.valija("reload")


def test_requiretls(world):
    """RFC 8689: only over verified TLS to a server that keeps to it; else back to the sender, and no byte of it leaves."""
    good = world.peer("sealed", tls=world.context, extensions=(*PLAIN, "REQUIRETLS"))
    assert world.outcome(world.send("x@sealed.example", options=["REQUIRETLS"]))[0]["status"] == "sent"
    assert good.messages[0]["tls"] and " REQUIRETLS" in good.messages[0]["sender"]
    user = world.suite.new_user("author")
    for extensions, tls in ((PLAIN, True), ((*PLAIN, "REQUIRETLS"), False), ((*PLAIN, "REQUIRETLS"), True)):
        # The last one offers all, but nobody vouches for its certificate.
        with peer.Peer(DOMAINS["stage"], world.port, extensions=extensions, tls=world.context if tls else None) as there:
            told = world.outcome(world.send(f"x@{os.urandom(4).hex()}.stage.example", options=["REQUIRETLS"], user=user))[0]
            assert (told["status"], told["dsn"]) == ("bounced", "5.7.30"), told
            assert not any(c.startswith("MAIL") for c in there.commands)
    # Of what may not be read on its way back there is only the header, whatever RET says.
    other = world.suite.new_user("author")
    # A report keeps the option where it can, and it is no reason to throw it away where it cannot.
    assert world.outcome(world.send("x@sealed.example", sender="", options=["REQUIRETLS"]))[0]["status"] == "sent"
    assert good.messages[1]["sender"].startswith("MAIL FROM:<>") and " REQUIRETLS" in good.messages[1]["sender"]
    with peer.Peer(DOMAINS["stage"], world.port, extensions=PLAIN) as there:
        world.send("x@head.stage.example", options=["REQUIRETLS", "RET=FULL"], user=other)
        (report,) = reports(world, other)
        assert [p.get_content_type() for p in report.get_payload()][2] == "text/rfc822-headers"
        assert world.outcome(world.send("x@back.stage.example", sender="", options=["REQUIRETLS"]))[0]["status"] == "sent"
        assert "REQUIRETLS" not in there.messages[0]["sender"]


def test_internationalised_reports(world):
    """RFC 6533: an address that is not in US-ASCII goes to no server without SMTPUTF8; the sender is told in UTF-8."""
    there = world.peer("early2", extensions=("PIPELINING", "8BITMIME"))
    user = world.suite.new_user("author")
    with world.suite.smtp(user) as smtp:
        smtp.ehlo()
        assert smtp.docmd(f"MAIL FROM:<{user}> SMTPUTF8 RET=HDRS")[0] == 250
        smtp.send("RCPT TO:<grüße@early2.example>\r\n".encode())
        assert smtp.getreply()[0] == 250
        assert smtp.data("Subject: Grüße\r\n\r\nx\r\n".encode())[0] == 250
    (report,) = reports(world, user)
    _, status, back = report.get_payload()
    assert status.get_content_type() == "message/global-delivery-status" and back.get_content_type() == "message/global-headers"
    raw = next(iter(world.suite.delivered(user))).read_bytes()
    assert "Final-Recipient: utf-8; grüße@early2.example\r\n".encode() in raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert b"Status: 5.6.7" in raw and "Subject: Grüße".encode() in raw
    assert not any(c.startswith("MAIL") for c in there.commands)


def test_too_many_recipients_at_a_time(world):
    """452 after some were taken: the rest in the next transaction, at once (RFC 5321 4.5.3.1.10)."""
    class Few:
        taken = 0

        def __call__(self, line):
            self.taken += 1
            return "452 4.5.3 too many" if self.taken % 4 == 0 else ...
    there = world.peer("many", answers={"rcpt": Few()})
    message = world.send([f"u{n}@many.example" for n in range(6)])
    assert {told["status"] for told in world.outcome(message, 6)} == {"sent"}
    assert sum(len(m["recipients"]) for m in there.messages) == 6 and len(there.messages) >= 2


def test_larger_than_the_server_takes(world):
    world.peer("size", extensions=("SIZE 1000",))
    told = world.outcome(world.send("x@size.example", mails.plain(world.user, "x@size.example", "big", 5000)))[0]
    assert (told["status"], told["dsn"]) == ("bounced", "5.3.4")


def test_forwarded_mail_has_a_sender_of_ours(world):
    """SRS: an alias leads to another server; SPF there sees our domain; a report to that sender goes on to the true one."""
    suite, there = world.suite, peer.Peer(DOMAINS["stage"], world.port)
    (suite.conf.parent / "aliases").write_text("away: x@fwd.stage.example\n")
    suite.valija("map", "aliases")
    suite.configure(srs="yes")
    suite.valija("reload")
    with there:
        suite.receive("bob@wish.example", ["away@example.org"], mails.plain("bob@wish.example", "away@example.org", "forward"))
        valija.wait_until(lambda: there.messages, 10, "the forwarded message")
        sender = re.search(r"<(SRS0=[^>]+@example\.org)>", there.messages[0]["sender"]).group(1)
    suite.receive("", [sender], mails.plain("mailer@far.example", sender, "a report"))
    told = valija.wait_until(lambda: [l for l in suite.log().splitlines() if "to=bob@wish.example" in l], 10, "the report")
    assert any(f"orig_to={sender}" in l or f"orig_to=\"{sender}\"" in l for l in told), told
    with suite.smtp(service="smtp") as smtp:
        smtp.ehlo()
        smtp.mail("")
        forged = sender.replace("SRS0=", "SRS0=x")
        assert smtp.rcpt(forged)[0] == 550


def test_urgency_is_passed_on(world):
    """DELIVERBY (RFC 2852) and MT-PRIORITY (RFC 6710): told to servers that know them; "R" goes to no others."""
    knows = world.peer("urgent", extensions=("PIPELINING", "DELIVERBY 120", "MT-PRIORITY"))
    plain = world.peer("old")
    assert world.outcome(world.send("x@urgent.example", options=["BY=1000;N", "MT-PRIORITY=2"]))[0]["status"] == "sent"
    said = re.search(r"^MAIL FROM:<[^>]*> BY=(\d+);N MT-PRIORITY=2$", knows.messages[0]["sender"])
    assert said and 900 < int(said.group(1)) <= 1000, knows.messages[0]["sender"]
    assert world.outcome(world.send("x@urgent.example", options=["BY=1000;RT"]))[0]["status"] == "sent"
    assert re.search(r" BY=\d+;RT$", knows.messages[1]["sender"])
    # Not so soon as that one wants; and one that promises nothing.
    assert world.outcome(world.send("x@urgent.example", options=["BY=100;R"]))[0]["dsn"] == "5.4.7"
    assert world.outcome(world.send("x@old.example", options=["BY=1000;R"]))[0]["dsn"] == "5.3.3" and not plain.messages
    assert world.outcome(world.send("x@old.example", options=["BY=1000;N", "MT-PRIORITY=-3"]))[0]["status"] == "sent"
    assert "BY=" not in plain.messages[0]["sender"] and "PRIORITY" not in plain.messages[0]["sender"]
    # Over while the server was waited for: relay does not judge, queue does, by a clock of which it knows whether it is right.
    slow = world.peer("overdue", extensions=("PIPELINING", "DELIVERBY"), answers={"greeting": lambda _: time.sleep(2.5) or "220 slow"})
    first, last = world.outcome(world.send("x@overdue.example", options=["BY=2;R"]), 2)
    assert (first["status"], first["dsn"], last["status"], last["dsn"]) == ("deferred", "4.4.7", "bounced", "5.4.7")
    assert not slow.messages


def test_solicitations_are_passed_on(world):
    """NO-SOLICITING (RFC 3865 2.7): a server that offers it hears what the header says; no other, and nothing malformed."""
    knows, plain = world.peer("asks", extensions=("PIPELINING", "NO-SOLICITING net.example:ADV")), world.peer("silent")

    def sent(to, field):
        message = mails.plain(world.user, to, "relayed")
        message = field.encode() + (message if isinstance(message, bytes) else message.encode())
        assert world.outcome(world.send(to, message))[0]["status"] == "sent"
        return (knows if "asks" in to else plain).messages[-1]["sender"]

    folded = "Solicitation: net.example:ADV,\r\n\torg.example:ADV:ADLT\r\n"
    assert sent("x@asks.example", folded).endswith("> SOLICIT=net.example:ADV,org.example:ADV:ADLT")
    assert "SOLICIT" not in sent("x@silent.example", folded)
    for none in ("", "X-Solicitation: a\r\n", "Solicitation: a b\r\n", "Solicitation: a=b\r\n", f"Solicitation: {'a' * 900},{'b' * 100}\r\n"):
        assert "SOLICIT" not in sent("x@asks.example", none), none
    assert sent("x@asks.example", f"Solicitation: {'a' * 900},\r\n {'b' * 99}\r\n").endswith("b" * 99)


def test_who_traces_is_told_of_each_hand_over(world):
    """DELIVERBY (RFC 2852): T tells the sender that another server has the message; N does so where that one will not tell
    when it is late. NOTIFY=NEVER is stronger; R without T says nothing."""
    world.peer("knows", extensions=("PIPELINING", "DSN", "DELIVERBY"))
    ignores = world.peer("ignores", extensions=("PIPELINING", "DSN"))
    for domain, by, notify, told in (("knows", "RT", (), True), ("knows", "NT", (), True), ("knows", "N", (), False),
                                     ("knows", "R", (), False), ("knows", "RT", ("NOTIFY=NEVER",), False), ("ignores", "N", (), True),
                                     ("ignores", "N", ("NOTIFY=FAILURE",), True), ("ignores", "N", ("NOTIFY=NEVER",), False)):
        user = world.suite.new_user("author")
        before = time.time()
        message = world.send(f"x@{domain}.example", user=user, options=[f"BY=1000;{by}"], rcpt_options=list(notify))
        assert world.outcome(message)[0]["status"] == "sent"
        # Nothing is forgotten before it is told.
        valija.wait_until(lambda: any(": removed " in l for l in world.lines(message)), 5, "the end of the message")
        if told:
            (report,) = reports(world, user)
            (one,) = fields(report)
            assert (one["Action"], one["Status"]) == ("relayed", "2.0.0"), (domain, by, notify)
            (status,) = [p for p in report.walk() if p.get_content_type() == "message/delivery-status"]
            by_date = email.utils.parsedate_to_datetime(status.get_payload()[0]["Deliver-By-Date"]).timestamp()
            assert before + 990 < by_date < time.time() + 1001
        else:
            assert not [l for l in world.suite.log().splitlines() if re.search(r"notice .*to=" + re.escape(user), l)]
            assert not world.suite.delivered(user), (domain, by, notify)
    # Who does not know it is asked to tell at least that it is late.
    asked = [m["recipients"][0].partition(" NOTIFY=")[2] for m in ignores.messages]
    assert asked == ["FAILURE,DELAY", "FAILURE,DELAY", "NEVER"], asked


EIGHT_BIT = b"""From: a@example.org\r
To: x@narrow.example\r
Subject: eight bits\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=outer\r
\r
--outer\r
Content-Type: text/plain; charset=utf-8\r
Content-Transfer-Encoding: 8bit\r
\r
Gr\xc3\xbc\xc3\x9fe = \r
.dot\r
--outer\r
Content-Type: application/octet-stream\r
Content-Transfer-Encoding: 8bit\r
\r
\xff\xfe raw\r
--outer\r
Content-Type: multipart/signed; boundary=inner; protocol="application/pgp-signature"\r
\r
--inner\r
Content-Type: text/plain; charset=utf-8\r
\r
\xc3\xa9\r
--inner\r
Content-Type: application/pgp-signature\r
\r
signature\r
--inner--\r
--outer--\r
"""


def test_down_conversion(world):
    """RFC 6152: a server without 8BITMIME gets quoted-printable and base64 that say the same; what is signed is not touched.
    The next server, which takes it, gets it as it is."""
    narrow = world.peer("narrow", extensions=("PIPELINING", "SIZE 50000000", "DSN"))
    wide = world.peer("wide")
    for name in ("narrow", "wide"):
        assert world.outcome(world.send(f"x@{name}.example", EIGHT_BIT, options=["BODY=8BITMIME"]))[0]["status"] == "sent"
    assert wide.messages[0]["body"].endswith(EIGHT_BIT.partition(b"\r\n\r\n")[2]) and "BODY=8BITMIME" in wide.messages[0]["sender"]
    (got,) = narrow.messages
    assert "BODY=" not in got["sender"] and int(re.search(r"SIZE=(\d+)", got["sender"]).group(1)) == len(got["body"])
    text, raw, signed = email.message_from_bytes(got["body"]).get_payload()
    assert text["Content-Transfer-Encoding"] == "quoted-printable" and raw["Content-Transfer-Encoding"] == "base64"
    assert text.get_payload(decode=True).replace(b"\r\n", b"\n") == "Grüße = \n.dot".encode() and raw.get_payload(decode=True) == b"\xff\xfe raw"
    before_signed, _, signed_part = got["body"].partition(b"--inner\r\n")
    assert not re.search(rb"[\x80-\xff]", before_signed) and signed_part == EIGHT_BIT.partition(b"--inner\r\n")[2]


def test_a_large_message_to_encode_holds_up_nobody(world):
    """20 MiB for a server without 8BITMIME: while the only relay looks at them, its conversation with another server goes on.
    That one has 200 recipients, one at a time; the tenth waits until the large message is about to be looked at."""
    tenth, hello, count = threading.Event(), threading.Event(), {"rcpt": 0, "at hello": 0, "at mail": 0}

    def ehlo(_):
        assert tenth.wait(20)
        count["at hello"] = count["rcpt"]
        hello.set()
        return ...

    def mail(_):
        count["at mail"] = count["rcpt"]
        return ...

    def rcpt(_):
        count["rcpt"] += 1
        if count["rcpt"] == 10:
            tenth.set()
            assert hello.wait(20)
        return ...
    world.suite.configure(relay_processes="1", relay_reply_seconds="30")
    world.suite.valija("reload")
    valija.wait_until(lambda: len(world.suite.processes("relay")) == 1, 10, "one relay")
    vast = world.peer("vast", extensions=("SIZE 50000000",), answers={"ehlo": ehlo, "mail": mail})
    chat = world.peer("chat", extensions=("8BITMIME",), answers={"rcpt": rcpt})
    large = b"Subject: large\r\n\r\n" + "zwanzig Mebibyte für einen, der nur US-ASCII nimmt\r\n".encode() * 400000
    first = world.send("x@vast.example", large, options=["BODY=8BITMIME"])
    second = world.send([f"u{n}@chat.example" for n in range(200)])
    assert world.outcome(first, seconds=60)[0]["status"] == "sent", count
    assert {o["status"] for o in world.outcome(second, 200, 30)} == {"sent"}
    # Were it looked at in one go, one reply at most could come between.
    assert count["at mail"] - count["at hello"] >= 20, count
    assert email.message_from_bytes(vast.messages[0]["body"]).get_payload(decode=True) == large.partition(b"\r\n\r\n")[2]
    assert sum(len(m["recipients"]) for m in chat.messages) == 200
    world.suite.configure(relay_reply_seconds="3")
    world.suite.valija("reload")


def test_binary_is_encoded(world):
    """BINARYMIME (RFC 3030) to a server that does not know it: base64; NUL, bare LF and endless lines arrive."""
    narrow = world.peer("octets", extensions=("PIPELINING", "8BITMIME"))
    content = bytes(range(256)) * 20 + b"\n\r\0"
    message = (b"From: a@example.org\r\nSubject: binary\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
               b"Content-Transfer-Encoding: binary\r\n\r\n" + content)
    with world.suite.smtp(world.user) as smtp:
        smtp.ehlo()
        assert smtp.docmd(f"MAIL FROM:<{world.user}> BODY=BINARYMIME")[0] == 250
        assert smtp.docmd("RCPT TO:<x@octets.example>")[0] == 250
        smtp.send(f"BDAT {len(message)} LAST\r\n".encode() + message)
        assert smtp.getreply()[0] == 250
    valija.wait_until(lambda: narrow.messages, 10, "the message")
    assert email.message_from_bytes(narrow.messages[0]["body"]).get_payload(decode=True) == content
    assert "BINARYMIME" not in narrow.messages[0]["sender"]
