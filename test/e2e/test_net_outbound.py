"""Sending from a network that changes: a relay host, mail that waits for a route, a resolver that moves."""

import pytest

import network
import valija
from network import DNS, PEER, WAN

NEEDS = ("dnsmasq", "dhclient", "knotd")
pytestmark = pytest.mark.skipif(bool(network.missing(*NEEDS)), reason=str(network.missing(*NEEDS)))
FIRST = "192.168.77.10"
HEAD = "$TTL 60\n@ SOA ns hostmaster 1 60 60 60 60\n@ NS ns.example.org.\n"
ZONES = {"example.org": HEAD + f"ns A {DNS}\n@ MX 10 mail\nmail A {WAN}\n",
         "example.net": HEAD + f"@ MX 10 mx\nmx A {PEER}\nsmarthost A {PEER}\n"}


@pytest.fixture
def own():
    with network.Network() as net:
        yield net


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
