"""What `valija net` says in each network that these tests build: every check, and its worst verdict."""

import pathlib
import re

import pytest

import network
import valija
from network import LAN, PEER, WAN
from test_net_doctor import HEAD, PEER_ZONE, REVERSE, Told
from test_net_portmap import upnpd

NEEDS = ("dnsmasq", "dhclient", "knotd", "miniupnpd")
pytestmark = pytest.mark.skipif(bool(network.missing(*NEEDS)), reason=str(network.missing(*NEEDS)))
SERVER, OTHER = "192.168.77.10", "192.168.77.11"
RIGHT = HEAD + f'ns A {network.DNS}\n@ MX 10 mail\nmail A {WAN}\n@ TXT "v=spf1 mx -all"\n'

# Everywhere: a resolver that knows the domain, which has MX and SPF and nothing else; a certificate of our own
# authority; a peer whose port 25 answers.
EVERYWHERE = {
    "address": "ok", "lease": "ok", "route": "ok", "ipv6": "ok", "listen": "ok", "nat": "ok", "forward": "ok",
    "inbound": "ok", "helo": "ok", "certificate": "ok", "authority": "ok", "resolver": "ok", "name": "ok", "ptr": "ok",
    "mx": "ok", "spf": "ok", "dkim": "warning", "dmarc": "warning", "mta-sts": "warning", "tls-rpt": "warning",
    "srv": "warning", "tlsa": "ok", "outbound": "ok", "trust": "ok", "sources": "ok",
}


def static_with_hairpin(net):
    net.lan_static(SERVER)
    net.forward(SERVER, hairpin=True)
    return {}


def static_without_hairpin(net):
    net.lan_static(SERVER)
    net.forward(SERVER)
    return {}


def leased(net):
    net.dhcp(SERVER, 7200)
    net.lan_lease()
    net.wait_for_address(SERVER)
    net.forward(SERVER, hairpin=True)
    return {"listen": "eth0"}


def leased_to_another_address(net):
    """The lease has changed, and the router still forwards to the old address."""
    settings = leased(net)
    net.dhcp(OTHER)
    net.lan_lease()
    net.wait_for_address(OTHER)
    return settings


def before_the_address(net):
    """The configured address is not there yet; another one is."""
    net.lan_static(OTHER)
    net.forward(OTHER, hairpin=True)
    return {"listen": f"{{{SERVER}, {OTHER}}}"}


def link_is_down(net):
    net.lan_static(SERVER)
    net.forward(SERVER)
    net.router.ip("link set port1 down")
    return {"listen": "eth0"}


def public_address_of_its_own(net):
    net.lan_static(SERVER)
    net.server.ip("addr add 198.51.100.7/24 dev eth0")
    net.forward(SERVER)
    return {}


def bad_translation(net):
    net.lan_static(SERVER)
    net.forward(SERVER, hairpin=True, translated=True)
    return {"policy_exempt": "{127.0.0.0/8, 192.168.0.0/16}"}


def relayhost_from_a_lease(net):
    settings = leased(net)
    net.sink(port=587)
    return {**settings, "relayhost": '"smarthost.example.net:587"'}


def port_25_is_blocked(net):
    settings = static_with_hairpin(net)
    net.nft('table ip block {\nchain out { type filter hook forward priority -10;\niifname "lan0" oifname "wan0" tcp dport 25 reject\n}\n}\n',
            add=True)
    return settings


def mapped_by_pcp(net):
    net.lan_static(SERVER)
    upnpd(net)
    return {"port_mapping": "yes"}


def nothing_forwarded_but_25(net):
    net.lan_static(SERVER)
    net.forward(SERVER, ports=(25,), hairpin=True)
    return {}


NETWORKS = {
    static_with_hairpin: {},
    static_without_hairpin: {},
    leased: {"lease": "warning"},
    leased_to_another_address: {"lease": "warning"},
    before_the_address: {"listen": "warning"},
    # Nobody answers beyond a link that is down, whom else to ask is not made up.
    link_is_down: {"address": "warning", "route": "problem", "resolver": "problem", "outbound": "warning", "mx": "problem",
                   "nat": "warning", "inbound": None, "name": None, "ptr": None, "spf": None, "dkim": None, "dmarc": None,
                   "mta-sts": None, "tls-rpt": None, "srv": None, "tlsa": None},
    # Port 143 is open there, and nothing fits: the DNS has the router's address.
    public_address_of_its_own: {"exposed": "warning", "forward": None, "inbound": None, "name": "problem", "ptr": "warning",
                                "spf": "problem"},
    bad_translation: {"trust": "warning", "sources": "problem"},
    relayhost_from_a_lease: {"lease": "warning"},
    port_25_is_blocked: {"outbound": "problem"},
    mapped_by_pcp: {},
    nothing_forwarded_but_25: {"inbound": "warning"},
}


@pytest.mark.long
@pytest.mark.parametrize("build", NETWORKS, ids=lambda build: build.__name__)
def test_verdicts_in(build):
    with network.Network() as net:
        settings = build(net)
        net.sink()
        net.knot({"example.org": RIGHT, "example.net": PEER_ZONE + f"smarthost A {PEER}\n",
                  "113.0.203.in-addr.arpa": REVERSE})
        suite = net.valija(**settings)
        if build is bad_translation:
            for name in ("mx1.peer.example", "mail.bank.example", "out.shop.example"):
                with network.Smtp(net.world, suite, WAN, 25) as smtp:
                    smtp.ehlo(name)
            valija.wait_until(lambda: suite.log().count(f"ip={LAN} service=smtp") >= 3, what="three strangers in the log")
        told = Told(suite, "--probe", "example.net")
        wanted = {check: verdict for check, verdict in {**EVERYWHERE, **NETWORKS[build]}.items() if verdict}
        order = ["ok", "warning", "problem"]
        found = {f["check"]: max((g["verdict"] for g in told.of(f["check"])), key=order.index) for f in told.findings}
        assert found == wanted, "\n".join(f"{f['verdict']} {f['check']}: {f['says']}" for f in told.findings)


def test_every_verdict_is_asserted_somewhere():
    """Each verdict that the code can give stands in a test, in a network where it is true."""
    given = {(check, verdict) for check in ("dmarc", "mta-sts", "tls-rpt") for verdict in ("ok", "warning", "problem")}
    rooms = pathlib.Path(valija.TOP, "master")
    for path in [*rooms.glob("net-*.c"), rooms / "cmd-net.c"]:
        for call in re.finditer(r'finding_add\(&v->f,(.{0,160}?)"([\w-]+)"', path.read_text(), re.S):
            given |= {(call.group(2), word.lower()) for word in re.findall(r"FINDING_(\w+)", call.group(1))}
    assert len(given) > 50
    asserted = set(EVERYWHERE.items()) | {row for rows in NETWORKS.values() for row in rows.items()}
    for path in pathlib.Path(__file__).parent.glob("test_net_*.py"):
        for line in path.read_text().splitlines():
            verdict = re.search(r'== "(ok|warning|problem)"', line)
            if verdict:
                asserted |= {(check, verdict.group(1)) for check in re.findall(r'verdict\("([\w-]+)"', line)}
    assert given <= asserted, given - asserted
