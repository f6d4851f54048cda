"""port_mapping: ports that the router forwards because it is asked to (miniupnpd; by PCP, and by NAT-PMP where it knows
no better)."""

import json
import re
import socket
import threading
import time

import pytest

import network
import valija
from network import LAN

NEEDS = ("dnsmasq", "dhclient", "miniupnpd")
pytestmark = pytest.mark.skipif(bool(network.missing(*NEEDS)), reason=str(network.missing(*NEEDS)))
SERVER, SECOND = "192.168.77.10", "192.168.77.11"
WAN = "45.45.45.1"      # miniupnpd maps nothing where the outside is no public address; it stays in this namespace
PORTS = {"smtp": 25, "submissions": 465, "submission": 587, "imaps": 993}
# As Debian's nft_init.sh makes them.
TABLES = """table inet filter {
chain forward { type filter hook forward priority 0; policy drop; ct state established,related accept; jump miniupnpd; iifname "lan0" accept; }
chain miniupnpd { }
chain prerouting { type nat hook prerouting priority -100; policy accept; jump prerouting_miniupnpd; }
chain postrouting { type nat hook postrouting priority 100; policy accept; jump postrouting_miniupnpd; oifname "wan0" masquerade; }
chain prerouting_miniupnpd { }
chain postrouting_miniupnpd { }
}
"""


@pytest.fixture
def own():
    with network.Network() as net:
        net.lan_static(SERVER)
        yield net


def upnpd(net, allow="allow 25-1023 192.168.77.0/24 25-1023\n", most=86400):
    """A router that opens ports for whoever asks in the LAN."""
    net.nft(TABLES)
    net.router.ip(f"addr add {WAN}/24 dev wan0")
    net.world.ip("addr add 45.45.45.10/24 dev eth0")
    conf = net.router.tmp / "miniupnpd.conf"
    conf.write_text(f"ext_ifname=wan0\next_ip={WAN}\nlistening_ip=lan0\nenable_natpmp=yes\nenable_upnp=no\nport=0\nsecure_mode=yes\n"
                    "upnp_table_name=filter\nupnp_nat_table_name=filter\nupnp_forward_chain=miniupnpd\n"
                    "upnp_nat_chain=prerouting_miniupnpd\nupnp_nat_postrouting_chain=postrouting_miniupnpd\n"
                    f"uuid=00000000-0000-0000-0000-000000000000\nmin_lifetime=60\nmax_lifetime={most}\n{allow}deny 0-65535 0.0.0.0/0 0-65535\n")
    net.upnpd = net.router.start("miniupnpd", "-d", "-f", conf, "-P", net.router.tmp / "miniupnpd.pid")
    valija.wait_until(lambda: b":5351" in net.router.run("ss", "-lun").stdout, what="the router's NAT-PMP")


def mappings(suite):
    told = json.loads(suite.valija("status", "--json").stdout)
    return {m["service"]: m for m in told["port_mappings"]}


@pytest.mark.parametrize("protocol", ["PCP", "NAT-PMP"])
def test_ports_are_mapped_and_released(own, protocol):
    upnpd(own)
    if protocol == "NAT-PMP":       # a router that has never heard of PCP: its packets (version 2) find no ear
        own.nft("table ip old {\nchain in { type filter hook input priority 0; udp dport 5351 @th,64,8 2 drop; }\n}\n", add=True)
    assert own.world.greeting(WAN, 25, 0.3) == ""
    suite = own.valija(port_mapping="yes")
    valija.wait_until(lambda: {s for s, m in mappings(suite).items() if m["seconds"]} == set(PORTS), 15, "four mappings")
    assert all(m["outside"] == m["inside"] == PORTS[s] and m["public"] == WAN for s, m in mappings(suite).items())
    assert [p for p in (25, 143, 465, 587, 993) if own.world.answers(WAN, p, 0.3)] == [25, 465, 587, 993]
    assert f"renewed ({protocol})" in suite.valija("status").stdout and f"at {WAN}, for" in suite.valija("status").stdout
    assert {m["protocol"] for m in mappings(suite).values()} == {protocol}
    told = json.loads(suite.valija("status", "--json").stdout)["public_addresses"]
    assert told == [{"address": WAN, "source": "router"}, {"address": network.WAN, "source": "dns"}]
    assert f"public-address router={LAN} old=\"\" new={WAN}" in suite.log()
    assert not [p for p in suite.status() if p["restarts"]]
    suite.stop()
    assert suite.log().count("port-released ") == 4
    assert not own.world.answers(WAN, 25, 0.3)
    left = own.router.run("nft", "list", "table", "inet", "filter").stdout.decode()
    assert "dnat" not in left, left


@pytest.mark.long
def test_mappings_are_renewed(own):
    """At half of the life that the router gives: it never ends."""
    upnpd(own, most=120)
    suite = own.valija(port_mapping="yes")
    valija.wait_until(lambda: [m["seconds"] for m in mappings(suite).values()] == [120] * 4, 15, "four for two minutes")
    end = time.monotonic() + 135
    while time.monotonic() < end:
        assert own.world.answers(WAN, 25, 2) and own.world.answers(WAN, 993, 2), suite.log_tail()
        time.sleep(3)
    assert suite.log().count("port-mapped ") == 4 and "port-mapping-refused" not in suite.log()


def test_address_changes(own):
    """All is asked for anew. This router keeps the ports for the old address until their time is over, and gives others,
    which are given back."""
    upnpd(own)
    suite = own.valija(port_mapping="yes")
    valija.wait_until(lambda: {s for s, m in mappings(suite).items() if m["seconds"]} == set(PORTS), 15, "four mappings")
    own.server.ip(f"addr del {SERVER}/24 dev eth0")
    own.lan_static(SECOND)
    valija.wait_until(lambda: suite.log().count("the router gives another port") >= 4, 15, "other ports")
    valija.wait_until(lambda: suite.log().count("port-released ") >= 4, 15, "their release")
    rules = own.router.run("nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd").stdout.decode()
    assert SERVER in rules and SECOND not in rules, rules
    assert all(m["seconds"] == 0 for m in mappings(suite).values())


def test_off_unless_asked_for(own):
    upnpd(own)
    suite = own.valija()
    assert "portmap" not in {p["program"] for p in suite.status()}
    suite.configure(port_mapping="yes", services="{smtp, imap}")
    suite.valija("reload")
    valija.wait_until(lambda: {s for s, m in mappings(suite).items() if m["seconds"]} == {"smtp", "imap"}, 15, "mappings")
    suite.configure(port_mapping="no")
    suite.valija("reload")
    valija.wait_until(lambda: suite.log().count("port-released ") == 2, what="their release")
    valija.wait_until(lambda: "portmap" not in {p["program"] for p in suite.status()}, what="portmap's end")
    assert not own.world.answers(WAN, 25, 0.3)


def test_router_that_does_not_want(own):
    upnpd(own, allow="")
    suite = own.valija(port_mapping="yes")
    line = valija.wait_until(lambda: re.search(".*port-mapping-refused.*", suite.log()), 15, "the refusal").group(0)
    assert f"router={LAN}" in line
    told = valija.wait_until(lambda: mappings(suite), what="mappings in status")
    assert all(m["seconds"] == 0 and m["fault"] for m in told.values())
    assert "not mapped: " in suite.valija("status").stdout


def test_router_that_answers_nonsense(own):
    """Whoever plays the router: cut packets, foreign ones, wrong ports, results that are none."""
    with own.router.inside():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((LAN, 5351))
    stop = threading.Event()

    def play():
        sock.settimeout(0.2)
        junk = [b"", b"\x00", b"\x00\x80", b"\x00\x82" + b"\xff" * 14, b"\x00\x80\x00\x00" + b"\x00" * 8, b"\x00\x82\x00\x00" + b"\x00" * 12,
                b"\x01" * 500, b"\x00\x80\xff\xff" + b"\x00" * 20]
        while not stop.is_set():
            try:
                _, who = sock.recvfrom(100)
            except (TimeoutError, OSError):
                continue
            for packet in junk:
                sock.sendto(packet, who)
    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    suite = own.valija(port_mapping="yes")
    valija.wait_until(lambda: "port-mapping-refused" in suite.log(), 15, "the refusal")
    assert not [p for p in suite.status() if p["restarts"]]
    stop.set()
    thread.join()
    sock.close()
