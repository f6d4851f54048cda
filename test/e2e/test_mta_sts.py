"""MTA-STS (RFC 8461): policies of other domains are learned, remembered, and kept to; and what they hear of it (RFC 8460)."""

import contextlib
import email
import email.policy
import gzip
import json
import os
import re
import socket
import time

import pytest

import mails
import peer
import valija
import web
import zone

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root to serve policies at port 443")
A, MX, TXT = 1, 15, 16
# name: (mode, names in its server's certificate or None for no TLS, expired)
DOMAINS = {"good": ("enforce", "mx.good.example", False), "expired": ("enforce", "mx.expired.example", True),
           "wrong": ("enforce", "other.example", False), "clear": ("enforce", None, False), "stranger": ("enforce", "mx.stranger.example", False),
           "trial": ("testing", "mx.trial.example", True), "trialclear": ("testing", None, False),
           "off": ("none", "mx.off.example", True), "change": ("enforce", "mx.change.example", True),
           "html": ("enforce", "mx.html.example", True), "moved": ("enforce", "mx.moved.example", True),
           "unvouched": ("enforce", "mx.unvouched.example", True), "twice": ("enforce", "mx.twice.example", True),
           "both": ("enforce", "mx2.both.example", False), "tell": ("testing", "mx.tell.example", True), "post": ("enforce", "mx.post.example", False),
           "postbad": ("enforce", "mx.postbad.example", False)}

POSTBAD = "https://mta-sts.postbad.example/in"      # takes no report


def txt(text):
    return b"".join(bytes([len(text[i:i + 255])]) + text[i:i + 255].encode() for i in range(0, len(text), 255))


class World:
    def __init__(self, stack):
        self.authority = stack.enter_context(web.Authority())
        self.web_host = web.loopback()
        base = self.web_host.rsplit(".", 1)[0]
        free = [f"{base}.{n}" for n in range(20, 250) if f"{base}.{n}" != self.web_host]
        self.address = dict(zip(DOMAINS, free))
        self.record = {name: [f"v=STSv1; id={name}1;"] for name in DOMAINS}
        self.record["twice"] *= 2
        self.policy, self.asked, self.rua, self.posted = {}, [], {}, []
        self.dns = stack.enter_context(zone.Liar(self.answer))
        self.port = 0
        self.peers = {}
        for name, (mode, certified, expired) in DOMAINS.items():
            self.policy[name] = self.write(mode, f"mx.{name}.example" if name != "stranger" else "*.elsewhere.example")
            context = self.authority.context(certified, expired=expired) if certified else None
            made = peer.Peer(self.address[name], self.port, name=f"mx.{name}.example", tls=context)
            self.port = made.port
            self.peers[name] = made
            stack.callback(made.close)
        # Two servers: the first has a certificate for another name.
        self.policy["both"] = self.write("enforce", "*.both.example")
        self.second = stack.enter_context(peer.Peer(free[-1], self.port, name="mx2.both.example",
                                                    tls=self.authority.context("mx2.both.example")))
        self.web = stack.enter_context(web.Web(self.say, self.authority.context(
            *[f"mta-sts.{name}.example" for name in DOMAINS if name != "unvouched"]), self.web_host, 443))
        self.suite = stack.enter_context(valija.Instance(settings={
            "dns_servers": f'{{"127.0.0.1:{self.dns.port}"}}', "dnssec": '"off"', "relay_port": str(self.port), "relay_loopback": "yes",
            "tls_trust": f'"{self.authority.file}"', "relay_reply_seconds": "15", "tls_reports": "yes", "tls_report_contact": '"tls@example.org"'}))
        self.user = self.suite.new_user("sender")

    @staticmethod
    def write(mode, *mx, age=86400):
        return f"version: STSv1\r\nmode: {mode}\r\n{''.join(f'mx: {m}{chr(13)}{chr(10)}' for m in mx)}max_age: {age}\r\n".encode()

    def answer(self, name, kind):
        labels = name.split(".")
        if kind == TXT and labels[0] == "_mta-sts" and labels[1] in self.record:
            return [(TXT, txt(text)) for text in self.record[labels[1]]]
        if kind == TXT and labels[:2] == ["_smtp", "_tls"] and labels[2] in self.rua:
            return [(TXT, txt(f"v=TLSRPTv1; rua={self.rua[labels[2]]}"))]
        if kind == MX and len(labels) == 2 and labels[0] in DOMAINS:
            more = [(MX, b"\0\x14" + zone.wire_name("mx2.both.example"))] if labels[0] == "both" else []
            return [(MX, b"\0\x0a" + zone.wire_name(f"mx.{name}")), *more]
        if kind == A and name == "mx2.both.example":
            return [(A, socket.inet_aton(self.second.address))]
        if kind == A and labels[0] == "mx" and labels[1] in DOMAINS:
            return [(A, socket.inet_aton(self.address[labels[1]]))]
        if kind == A and labels[0] == "mta-sts":
            return [(A, socket.inet_aton(self.web_host))]
        return []

    def say(self, request):
        name = re.search(rb"Host: mta-sts\.(\w+)\.example\r\n", request).group(1).decode()
        if request.startswith(b"POST "):
            self.posted.append(request)
            return web.answer(b"", "500 No" if name == "postbad" else "201 Created")
        self.asked.append(name)
        assert request.startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\n")
        if name == "html":
            return web.answer(self.policy[name], kind="text/html")
        if name == "moved":
            return web.answer(b"", "301 Moved", "text/plain", "Location: https://mta-sts.good.example/.well-known/mta-sts.txt")
        return web.answer(self.policy[name]) if self.policy[name] else web.answer(b"gone", "404 Not Found")

    def sts(self, name):
        return json.loads(self.suite.valija("sts", "--json", f"{name}.example").stdout)

    def send(self, name, ahead=b""):
        """Sends to NAME.example, with fields `ahead` of the others; (delivered, what the log says of it)."""
        accepted = lambda: re.findall(r": accepted .*?message=(\w+)", self.suite.log())
        before = len(accepted())
        with self.suite.smtp(self.user) as smtp:
            smtp.sendmail(self.user, [f"somebody@{name}.example"], ahead + mails.plain(self.user, f"somebody@{name}.example", name))
        message = valija.wait_until(lambda: accepted()[before:], 5, "the log of the message")[-1]
        found = lambda: [l for l in self.suite.log().splitlines() if f"message={message}" in l and re.search(r": (not-)?delivered ", l)]
        line = valija.wait_until(found, 20, f"an outcome of {message}")[0]
        return ": delivered " in line, line


@pytest.fixture(scope="module")
def world():
    with contextlib.ExitStack() as stack:
        yield World(stack)


def test_enforce(world):
    delivered, line = world.send("good")
    assert delivered and world.peers["good"].messages[0]["tls"], line
    told = world.sts("good")
    assert (told["mode"], told["id"], told["mx"]) == ("enforce", "good1", ["mx.good.example"]) and told["expires"] > time.time()
    # One fetch, however many messages.
    assert world.send("good")[0] and world.asked.count("good") == 1
    # Whoever writes that it is broken gets that through (RFC 8689).
    delivered, line = world.send("wrong", ahead=b"TLS-Required: No\r\n")
    assert delivered and world.peers["wrong"].messages.pop()["tls"], line
    for name in ("wrong", "clear", "stranger"):
        delivered, line = world.send(name)
        assert not delivered and "deferred" in line and "4.7." in line, line
        assert not world.peers[name].messages
    # A second server that fits takes it.
    assert world.send("both")[0] and world.second.messages and not world.peers["both"].messages


def test_r6_expired_certificate_in_both_modes(world):
    """HARDENING R6: enforce defers, and never sends in clear either; testing delivers."""
    delivered, line = world.send("expired")
    assert not delivered and "deferred" in line and not world.peers["expired"].messages, line
    assert not any(c.startswith("MAIL") for c in world.peers["expired"].commands)
    for name in ("trial", "trialclear"):
        assert world.send(name)[0] and len(world.peers[name].messages) == 1
        assert world.sts(name)["mode"] == "testing"
    assert world.peers["trial"].messages[0]["tls"]


def test_no_policy_where_there_is_none(world):
    """Not text/plain, a redirect, a certificate for another host, two records, mode none: mail goes as without."""
    for name in ("html", "moved", "unvouched", "twice", "off"):
        delivered, line = world.send(name)
        assert delivered and len(world.peers[name].messages) == 1, line
        assert world.sts(name)["mode"] == "none"
    assert world.sts("html")["fault"] == "the policy is not text/plain"
    assert "200" in world.sts("moved")["fault"] and "good" not in world.asked[world.asked.index("moved"):world.asked.index("moved") + 1]
    assert world.sts("twice")["fault"] == "it has more than one record" and "twice" not in world.asked
    assert world.sts("unvouched")["fault"] and "unvouched" not in world.asked
    assert world.sts("nowhere")["mode"] == "none"


def test_a_policy_lasts_and_changes(world):
    """Remembered over restarts; kept to when record or policy are gone; replaced when the id changes."""
    def again():
        world.suite.stop()
        world.suite.start()
        return world.send("change")[0]
    assert not world.send("change")[0]
    world.record["change"], world.policy["change"] = [], None
    assert not again()                                   # no record: still enforced
    world.record["change"] = ["v=STSv1; id=change2;"]
    assert not again() and world.asked[-1] == "change"   # a new id, but nothing to be had
    world.policy["change"] = b"version: STSv1\nmode: what\n"
    assert not again()                                   # nor is nonsense a policy
    assert world.sts("change")["id"] == "change1"
    world.policy["change"] = world.write("testing", "mx.change.example")
    assert again() and world.sts("change")["mode"] == "testing"
    assert world.sts("change")["id"] == "change2"
    listed = {d["domain"]: d["mode"] for d in json.loads(world.suite.valija("sts", "--json").stdout)}
    assert listed["change.example"] == "testing"
    assert re.search(r"^change\.example: testing, id change2, until 20", world.suite.valija("sts").stdout, re.M)
    # And an administrator may know better.
    world.suite.configure(tls_policy='{"expired.example may"}')
    world.suite.stop()
    world.suite.start()
    assert world.send("expired")[0]


def test_reports(world):
    """RFC 8460: counted by domain and policy, sent by mail and by HTTPS to who asks, and to nobody else."""
    reader = world.suite.user_add("tls-reports")
    world.rua = {"tell": f"mailto:{reader},ftp://tell.example/", "post": "https://mta-sts.post.example/in?a=b",
                 "postbad": POSTBAD}
    for _ in range(2):
        assert world.send("tell")[0]
    assert world.send("post")[0] and world.send("postbad")[0]
    assert not world.posted and not world.suite.delivered(reader)
    world.suite.valija("sts", "--send-reports")
    (path,) = valija.wait_until(lambda: world.suite.delivered(reader), 10, "a report by mail")
    mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    assert mail["TLS-Report-Domain"] == "tell.example" and mail["TLS-Report-Submitter"] == "example.org"
    assert mail.get_content_type() == "multipart/report" and mail["Content-Type"].params["report-type"] == "tlsrpt"
    assert mail["Subject"].startswith("Report Domain: tell.example Submitter: example.org Report-ID: <") and mail["Return-Path"] == "<>"
    _, attached = mail.get_payload()
    assert attached.get_content_type() == "application/tlsrpt+gzip" and attached.get_filename().startswith("example.org!tell.example!")
    report = json.loads(gzip.decompress(attached.get_payload(decode=True)))
    day = report["date-range"]["start-datetime"][:10]
    assert report["organization-name"] == "example.org" and report["contact-info"] == "tls@example.org"
    assert report["date-range"] == {"start-datetime": f"{day}T00:00:00Z", "end-datetime": f"{day}T23:59:59Z"} and report["report-id"]
    (policy,) = report["policies"]
    assert policy["policy"] == {"policy-type": "sts", "policy-domain": "tell.example", "mx-host": ["mx.tell.example"],
                                "policy-string": ["version: STSv1", "mode: testing", "max_age: 86400", "mx: mx.tell.example"]}
    bad = policy["summary"]["total-failure-session-count"]
    assert bad >= 1 and policy["summary"]["total-successful-session-count"] == 0
    (failure,) = policy["failure-details"]
    assert failure["result-type"] == "certificate-expired" and failure["failed-session-count"] == bad
    assert failure["receiving-mx-hostname"] == "mx.tell.example" and failure["receiving-ip"] == world.address["tell"]
    assert failure["sending-mta-ip"].startswith("127.")
    # By HTTPS; a place that does not take it is tried again later.
    posts = valija.wait_until(lambda: len(world.posted) >= 2 and world.posted, 10, "reports by HTTPS")
    (post,) = [p for p in posts if b"Host: mta-sts.post.example" in p]
    head, _, body = post.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /in?a=b HTTP/1.1\r\n") and b"Content-Type: application/tlsrpt+gzip\r\n" in head + b"\r\n"
    (policy,) = json.loads(gzip.decompress(body))["policies"]
    assert policy["summary"] == {"total-successful-session-count": 1, "total-failure-session-count": 0}
    valija.wait_until(lambda: re.search(r"tls-report-failed domain=postbad\.example", world.suite.log()), 5, "the refusal in the log")
    before = len(world.posted)
    world.suite.valija("sts", "--send-reports")
    valija.wait_until(lambda: len(world.posted) > before, 10, "another try")
    assert all(b"Host: mta-sts.postbad.example" in p for p in world.posted[before:])
    assert len(world.suite.delivered(reader)) == 1


def test_unsent_reports_outlast_a_restart(world):
    world.rua = {"postbad": POSTBAD}
    assert world.send("postbad")[0]
    before = len(world.posted)
    world.suite.valija("sts", "--send-reports")
    valija.wait_until(lambda: len(world.posted) > before, 10, "a try")
    before = len(world.posted)
    world.suite.stop()
    world.suite.start()
    world.suite.valija("sts", "--send-reports")
    valija.wait_until(lambda: len(world.posted) > before, 10, "another try")
    assert b"Host: mta-sts.postbad.example" in world.posted[-1]


def test_a_damaged_table_is_begun_anew(world):
    world.suite.stop()
    (world.suite.dir / "state/sts/policies.db").write_bytes(b"x" * 5000)
    world.suite.start()
    assert world.sts("good")["mode"] == "enforce"
