"""At which address the world reaches a server behind a router: known, and used; nobody has told it."""

import json
import smtplib

import pytest

import mails
import network
import valija
from network import DNS, PEER, WAN

NEEDS = ("dnsmasq", "dhclient", "knotd")
pytestmark = pytest.mark.skipif(bool(network.missing(*NEEDS)), reason=str(network.missing(*NEEDS)))
SERVER, WAN2 = "192.168.77.10", "45.45.45.1"
HEAD = "$TTL 60\n@ SOA ns hostmaster 1 60 60 60 60\n@ NS ns.example.org.\n"


def zones(address):
    return {"example.org": HEAD + f"ns A {DNS}\n@ MX 10 mail\nmail A {address}\n",
            "loop.example": HEAD + f"@ MX 10 mx\nmx A {address}\n",
            "example.net": HEAD + f"@ MX 10 mx\nmx A {PEER}\n"}


@pytest.fixture
def own():
    """Behind a router that forwards, but lets nobody inside use its public address (no hairpin)."""
    with network.Network() as net:
        net.lan_static(SERVER)
        net.forward(SERVER)
        net.knot(zones(WAN))
        yield net


def reached(suite):
    told = json.loads(suite.valija("status", "--json").stdout)["public_addresses"]
    return [(a["address"], a["source"]) for a in told]


def deliver(net, suite, recipient):
    with network.Smtp(net.world, suite, WAN, 25, source=PEER) as smtp:
        smtp.sendmail("ana@example.net", [recipient], mails.plain("ana@example.net", recipient))


def submit(net, suite, user, recipient):
    with network.Smtp(net.office, suite, SERVER, 587) as smtp:
        smtp.login(user, suite.passwords[user])
        smtp.sendmail(user, [recipient], mails.plain(user, recipient))


def test_known_by_the_dns_and_used(own):
    sink = own.sink()
    suite = own.valija(dnssec="off")
    valija.wait_until(lambda: reached(suite) == [(WAN, "dns")], 15, "the address that the DNS has")
    assert f"the world reaches this server at {WAN} (by the DNS)" in suite.valija("status").stdout
    assert f'reached-at old="" new={WAN} by=dns' in suite.log()
    user, other = suite.new_user("inbox"), suite.new_user("other")
    # An address in brackets that is ours, the router's or our own, is our first domain; the stranger needs no right.
    deliver(own, suite, f"{user.split('@')[0]}@[{WAN}]")
    trace = suite.delivered(user)[0].read_bytes()
    assert f"[{PEER}]".encode() in trace and f"by mail.example.org ([{WAN}]) with ".encode() in trace
    deliver(own, suite, f"{other.split('@')[0]}@[{SERVER}]")
    assert len(suite.delivered(other)) == 1
    deliver(own, suite, f"postmaster@[{WAN}]")
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        deliver(own, suite, "x@[203.0.113.99]")
    assert refused.value.recipients["x@[203.0.113.99]"][0] == 550
    # A domain whose mail server is at the router's address: that is this server, which is told by no packet.
    submit(own, suite, other, "bo@loop.example")
    report = valija.wait_until(lambda: [p for p in suite.delivered(other) if b"5.4.6" in p.read_bytes()], 15, "the report")
    assert b"leads back to this server" in report[0].read_bytes()
    assert 'reason="is this server\'s own"' in suite.log()
    # And that is the reason: another server's domain gets its mail.
    submit(own, suite, other, "bo@example.net")
    valija.wait_until(lambda: sink.mails, 15, "the other domain's mail")
    assert sink.mails[0]["helo"] == "mail.example.org"
    # A stranger who calls himself by our address is none of us.
    with network.Smtp(own.world, suite, WAN, 25) as smtp:
        smtp.ehlo(f"[{WAN}]")
        smtp.mail("x@example.net")
        assert smtp.rcpt(user)[0] == 550
    assert not [p["program"] for p in suite.status() if p["restarts"]], suite.log_tail()


def test_follows_the_dns(own):
    """The provider gave the router another address, and dynamic DNS has published it: it is asked anew with each change."""
    suite = own.valija(dnssec="off")
    valija.wait_until(lambda: reached(suite) == [(WAN, "dns")], 15, "the first address")
    own.knot(zones(WAN2))
    own.server.ip("addr add 192.168.77.30/24 dev eth0")
    valija.wait_until(lambda: reached(suite) == [(WAN2, "dns")], 15, "the second address")
    assert f"reached-at old={WAN} new={WAN2} by=dns" in suite.log()
    # A server that stops answering takes nothing away; nor does a private address become one of ours.
    own.knot(zones("10.9.9.9"))
    own.server.ip("addr add 192.168.77.31/24 dev eth0")
    valija.wait_until(lambda: reached(suite) == [], 15, "no address")
    # A global address of this machine is better knowledge than any record.
    own.server.ip("addr add 198.51.100.7/24 dev eth0")
    valija.wait_until(lambda: reached(suite) == [("198.51.100.7", "this machine")], 15, "an own address")
    # Many of one family do not hide the other.
    for n in range(30, 50):
        own.server.ip(f"addr add 198.51.100.{n}/24 dev eth0")
    own.server.ip("addr add 2a01:4f8::7/64 dev eth0 nodad")
    valija.wait_until(lambda: len(reached(suite)) == 9 and ("2a01:4f8::7", "this machine") in reached(suite), 15, "both families")


def test_stands_for_a_name_that_nobody_knows(own):
    """hostname is no full name: other servers hear the address (RFC 5321 4.1.4), and so do senders of lost mail."""
    sink = own.sink()
    suite = own.valija(dnssec="off", public_address=f'"{WAN}"')
    user = suite.new_user("sender")
    suite.configure(hostname="mail")
    suite.valija("reload")
    assert reached(suite) == [(WAN, "public_address")]
    submit(own, suite, user, "bo@example.net")
    valija.wait_until(lambda: sink.mails, 15, "the mail at the peer")
    assert sink.mails[0]["helo"] == f"[{WAN}]"
    submit(own, suite, user, "bo@loop.example")
    report = valija.wait_until(lambda: suite.delivered(user), 15, "the report")[0].read_bytes()
    assert f"Reporting-MTA: dns; [{WAN}]\r\n".encode() in report and f"MAILER-DAEMON@[{WAN}]>".encode() in report
