"""Sending from a network that changes: a relay host, mail that waits for a route, a resolver that moves."""

import time

import pytest

import mails
import network
import valija
from network import DNS, PEER, WAN

NEEDS = ("dnsmasq", "dhclient", "knotd")
pytestmark = pytest.mark.skipif(bool(network.missing(*NEEDS)), reason=str(network.missing(*NEEDS)))
FIRST, SECOND = "192.168.77.10", "192.168.77.11"
HEAD = "$TTL 60\n@ SOA ns hostmaster 1 60 60 60 60\n@ NS ns.example.org.\n"
ZONES = {"example.org": HEAD + f"ns A {DNS}\n@ MX 10 mail\nmail A {WAN}\n",
         "example.net": HEAD + f"@ MX 10 mx\nmx A {PEER}\nsmarthost A {PEER}\n"}


@pytest.fixture
def own():
    with network.Network() as net:
        yield net


def submit(suite, space, address, user, recipient, subject):
    with network.Smtp(space, suite, address, 587) as smtp:
        smtp.login(user, suite.passwords[user])
        smtp.sendmail(user, [recipient], mails.plain(user, recipient, word=subject))


def test_relayhost_from_a_leased_address(own):
    """All mail goes by the provider's server, from whatever address the lease has at the time."""
    own.dhcp(FIRST)
    own.lan_lease()
    own.wait_for_address(FIRST)
    own.world.ip(f"route add {network.LAN_PREFIX}.0/24 via {WAN}")     # no translation: the relay host sees who comes
    own.knot(ZONES)
    sink = own.sink(port=587)
    suite = own.valija(listen="eth0", relayhost='"smarthost.example.net:587"', dnssec="off")
    user = suite.new_user("sender")
    submit(suite, own.office, FIRST, user, "ana@far.example", "word-one")
    valija.wait_until(lambda: len(sink.mails) == 1, 15, "the first mail at the relay host")
    own.dhcp(SECOND)
    own.lan_lease()
    own.wait_for_address(SECOND)
    valija.wait_until(lambda: own.office.greeting(SECOND, 587), 5)
    submit(suite, own.office, SECOND, user, "ana@far.example", "word-two")
    valija.wait_until(lambda: len(sink.mails) == 2, 15, "the second mail at the relay host")
    assert [word for m in sink.mails for word in (b"word-one", b"word-two") if word in m["data"]] == [b"word-one", b"word-two"]
    assert sink.peers == [FIRST, SECOND], "the source address is the one of the time"
    assert not any(p["restarts"] for p in suite.status())


@pytest.mark.parametrize("pause", [0, pytest.param(20, marks=pytest.mark.long)])
def test_mail_that_waits_for_a_route(own, pause):
    """Deferred for want of a network, and sent as soon as there is one; not when its turn would come."""
    own.lan_static(FIRST)
    own.forward(FIRST)
    own.knot(ZONES)
    sink = own.sink()
    suite = own.valija(dnssec="off")
    user = suite.new_user("sender")
    own.server.ip("route del default")
    submit(suite, own.office, FIRST, user, "bo@example.net", "waits")
    valija.wait_until(lambda: "status=deferred" in suite.log(), 30, "its first try")
    assert not sink.mails
    time.sleep(pause)       # its turn would come in less than a minute then: still not soon enough
    own.server.ip(f"route add default via {network.LAN}")
    valija.wait_until(lambda: sink.mails, 15, "the mail, after the route came")


def test_mail_that_waits_for_an_address(own):
    """The same for a machine that has no address at all, as before its first lease."""
    own.forward(FIRST)
    own.knot(ZONES)
    sink = own.sink()
    suite = own.valija(dnssec="off")
    user = suite.new_user("sender")
    submit(suite, own.server, "127.0.0.1", user, "bo@example.net", "waits")
    valija.wait_until(lambda: "status=deferred" in suite.log(), 30, "its first try")
    assert not sink.mails
    own.lan_static(FIRST)
    valija.wait_until(lambda: sink.mails, 15, "the mail, after the address came")


def test_resolver_follows_resolv_conf(own):
    """A lease brings another name server: names are asked there, without a restart."""
    own.lan_static(FIRST)
    own.forward(FIRST)
    own.knot(ZONES)
    own.server.resolv_conf.write_text("nameserver 127.0.0.9\n")
    suite = own.valija(dnssec="off")
    own.server.resolv_conf.write_text(f"nameserver {DNS}\n")
    own.server.ip("addr add 192.168.77.30/24 dev eth0")        # as a new lease would: looked at at once
    valija.wait_until(lambda: f"name-servers first={DNS}@53" in suite.log(), 10, "the other name server")
    assert PEER in suite.valija("dns", "mx.example.net", "a").stdout
    assert not any(p["restarts"] for p in suite.status())
