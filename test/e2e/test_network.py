"""Valija in networks: static, leased and translated addresses (network.py builds them)."""

import json
import os
import re
import time

import pytest

import mails
import network
import valija
from network import CLIENT, FORWARDED, LAN, OFFICE, PEER, WAN

NEEDS = ("dnsmasq", "dhclient")
pytestmark = pytest.mark.skipif(bool(network.missing(*NEEDS)), reason=str(network.missing(*NEEDS)))
FIRST, SECOND = "192.168.77.10", "192.168.77.11"


@pytest.fixture(scope="module")
def lan():
    """A server with a static address behind a router that forwards the four ports; with hairpin."""
    with network.Network() as net:
        net.lan_static(FIRST)
        net.forward(FIRST, hairpin=True)
        net.suite = net.valija()
        yield net


@pytest.fixture
def own():
    """Networks for tests that change them."""
    with network.Network() as net:
        yield net


def word(suite, pattern, seconds=10):
    """The first log line that matches."""
    return valija.wait_until(lambda: re.search(rf"^.*{pattern}.*$", suite.log(), re.M), seconds,
                             f"{pattern!r} in the log").group(0)


def addresses(suite):
    """What status tells: address -> row."""
    told = json.loads(suite.valija("status", "--json").stdout)
    return {a["address"]: a for a in told["addresses"]}, told.get("address_change")


# ---- behind a router with a static address -------------------------------------------------------

def test_outside_client_submits_and_reads(lan):
    user, other = lan.suite.new_user("away"), lan.suite.new_user("desk")
    with network.Smtp(lan.world, lan.suite, WAN, 587) as smtp:
        smtp.login(user, lan.suite.passwords[user])
        smtp.sendmail(user, [other], mails.plain(user, other))
    imap = network.Imap(lan.world, lan.suite, WAN)
    imap.login(other, lan.suite.passwords[other])
    assert imap.select("INBOX")[1] == [b"1"]
    imap.logout()
    trace = lan.suite.delivered(other)[0].read_bytes()
    assert f"[{CLIENT}]".encode() in trace, "the client's own address stands in Received"


def test_outside_mail_server_delivers(lan):
    user = lan.suite.new_user("inbox")
    with network.Smtp(lan.world, lan.suite, WAN, 25, source=PEER) as smtp:
        smtp.sendmail("ana@peer.example.net", [user], mails.plain("ana@peer.example.net", user))
    assert f"[{PEER}]".encode() in lan.suite.delivered(user)[0].read_bytes()


def test_only_the_forwarded_ports_answer_from_outside(lan):
    assert [port for port in (25, 143, 465, 587, 993) if lan.world.answers(WAN, port, 0.4)] == list(FORWARDED)
    assert all(lan.office.answers(FIRST, port) for port in (25, 143, 465, 587, 993))


def test_hairpin(lan):
    """Inside, the public address works too; everything from inside comes by the router then."""
    user = lan.suite.new_user("hairpin")
    imap = network.Imap(lan.office, lan.suite, WAN)
    imap.login(user, lan.suite.passwords[user])
    imap.logout()
    assert f"ip={LAN} service=imaps" in lan.suite.log()


def test_nobody_relays(lan):
    for space, address, source in ((lan.world, WAN, CLIENT), (lan.office, FIRST, None), (lan.office, WAN, None)):
        with network.Smtp(space, lan.suite, address, 25, source=source) as smtp:
            smtp.ehlo()
            smtp.mail("x@peer.example.net")
            code, text = smtp.rcpt("somebody@elsewhere.example")
            assert code in (550, 554), (code, text)


# ---- addresses that come and go ------------------------------------------------------------------

def test_lease_changes_its_address(own):
    """Served on the new address within two seconds, without a restart; log, status and hook tell."""
    told, hook = own.tmp / "told/by-hook", own.tmp / "hook"
    told.parent.mkdir()
    os.chown(told.parent, 65534, 65534)
    hook.write_text(f'#!/bin/sh\n/usr/bin/env >"{told}.new"; /usr/bin/id -u >>"{told}.new"\n'
                    f'ls /proc/self/fd >>"{told}.new"; mv "{told}.new" "{told}"; echo "hook said: $VALIJA_NEW"\n')
    hook.chmod(0o755)
    own.dhcp(FIRST, seconds=7200)
    own.lan_lease()
    own.wait_for_address(FIRST)
    suite = own.valija(listen="{eth0, 127.0.0.1}", address_hook=f'"{hook}"')
    masters = suite.master_pid()
    rows, change = addresses(suite)
    assert rows[FIRST]["life"] == "leased" and rows[FIRST]["kind"] == "private" and rows[FIRST]["interface"] == "eth0"
    assert 7000 < rows[FIRST]["seconds_left"] <= 7200 and change is None
    user = suite.new_user("stays")
    imap = network.Imap(own.office, suite, FIRST)
    imap.login(user, suite.passwords[user])
    clear = own.office.connect(FIRST, 25)
    login = own.office.connect(FIRST, 143)
    local = own.server.connect("127.0.0.1", 25)
    assert clear.recv(100) and login.recv(100) and local.recv(100)

    own.dhcp(SECOND)
    own.lan_lease()
    own.wait_for_address(SECOND)
    came = time.monotonic()
    assert valija.wait_until(lambda: own.office.greeting(SECOND, 25, 1), 10).startswith("220 ")
    assert time.monotonic() - came < 2
    assert own.office.greeting(SECOND, 143).startswith("* OK ")
    # Sessions whose address is gone hear no more, and count for nobody; the others go on.
    imap.sock.close()
    word(suite, "dropped session=.*the address that it came to is gone")
    word(suite, "disconnect session=.*service=imap .*the address that it came to is gone")
    word(suite, "connection-lost session=")
    valija.wait_until(lambda: sum(p["connections"] for p in suite.processes("smtpd")) == 1, what="one session in smtpd")
    local.sendall(b"QUIT\r\n")
    assert local.recv(100).startswith(b"221 ")
    line = word(suite, "address-changed ")
    assert f"interface=eth0 family=ipv4 old={FIRST} new={SECOND}" in line
    assert suite.log().count("address-changed ") == 1
    rows, change = addresses(suite)
    assert SECOND in rows and FIRST not in rows
    assert (change["old"], change["new"]) == (FIRST, SECOND)
    assert f"{FIRST} -> {SECOND}" in suite.valija("status").stdout
    assert suite.master_pid() == masters and not any(p["restarts"] for p in suite.status())

    valija.wait_until(told.exists, what="the hook")
    for name in ("lmtp", "local"):      # sockets that have no address stay
        assert own.unix_greeting(suite.dir / "run" / name).startswith("220 "), name
    said = told.read_text().split("\n")
    assert f"VALIJA_OLD={FIRST}" in said and f"VALIJA_NEW={SECOND}" in said and "VALIJA_INTERFACE=eth0" in said
    assert {line.split("=")[0] for line in said if "=" in line} <= {
        "PATH", "PWD", "SHLVL", "_", "OLDPWD", "VALIJA_OLD", "VALIJA_NEW", "VALIJA_INTERFACE", "VALIJA_FAMILY",
        "VALIJA_HOSTNAME"}
    numbers = [line for line in said if line.isdigit()]
    assert numbers[0] == "65534" and set(numbers[1:]) <= {"0", "1", "2", "3"}, said   # 3: ls itself
    assert "hook-done" in word(suite, "hook-") and f'said="hook said: {SECOND}"' in word(suite, "hook-done")


def test_hook_that_does_not_end(own):
    """It is killed with what it started; the next change is told all the same."""
    hook = own.tmp / "hook"
    hook.write_text("#!/bin/sh\n[ \"$VALIJA_NEW\" = 192.168.77.30 ] && exit 3\nsleep 600 & sleep 600\n")
    hook.chmod(0o755)
    suite = own.valija(address_hook=f'"{hook}"', address_hook_seconds="1")
    own.server.ip("addr add 192.168.77.29/24 dev eth0")
    word(suite, "address-came .*new=192.168.77.29")
    own.server.ip("addr add 192.168.77.30/24 dev eth0")
    line = word(suite, "hook-failed .*signal=9")
    assert "address_hook_seconds" in line
    word(suite, "hook-failed .*status=3")


def test_address_that_is_not_there_yet(own):
    """A static address that comes after the start is served at once; the rest of the machine is not."""
    suite = own.valija(listen=f"{{{FIRST}, 2001:db8:77::10}}")
    own.server.ip("addr add 192.168.77.99/24 dev eth0")
    assert own.office.greeting("192.168.77.99", 25) == ""
    own.lan_static(FIRST)
    assert own.office.greeting(FIRST, 25, 2).startswith("220 ")
    own.server.ip("addr add 2001:db8:77::10/64 dev eth0 nodad")
    own.office.ip("addr add 2001:db8:77::50/64 dev eth0 nodad")
    assert valija.wait_until(lambda: own.office.greeting("2001:db8:77::10", 25), 5).startswith("220 ")
    assert not any(p["restarts"] for p in suite.status())


def test_interface_that_is_not_there_yet_and_flaps(own):
    suite = own.valija(listen="{dmz0, 127.0.0.1}")
    assert "interface-without-address interface=dmz0" in suite.log()
    own.server.ip(f"link add dmz0 type veth peer name dmz1 netns {own.office.pid}")
    own.office.ip("addr add 192.168.78.50/24 dev dmz1")
    own.office.ip("link set dmz1 up")
    own.server.ip("addr add 192.168.78.10/24 dev dmz0")
    own.server.ip("addr add 2001:db8:78::10/64 dev dmz0 nodad")
    own.server.ip("link set dmz0 up")
    own.office.ip("addr add 2001:db8:78::50/64 dev dmz1 nodad")
    for address in ("192.168.78.10", "2001:db8:78::10"):
        assert valija.wait_until(lambda: own.office.greeting(address, 587), 5).startswith("220 "), address
    kept = own.office.connect("192.168.78.10", 25)
    assert kept.recv(100)
    own.server.ip("link set dmz0 down")     # takes the IPv6 address with it, not the IPv4 one
    word(suite, "listener-closed .*2001:db8:78::10")
    own.server.ip("link set dmz0 up")
    own.server.ip("addr add 2001:db8:78::10/64 dev dmz0 nodad")
    for address in ("192.168.78.10", "2001:db8:78::10"):
        assert valija.wait_until(lambda: own.office.greeting(address, 587), 5).startswith("220 "), address
    kept.sendall(b"NOOP\r\n")
    assert kept.recv(100).startswith(b"250 "), "a connection outlives the flap of its link"
    own.server.ip("link del dmz0")
    word(suite, "listener-closed .*192.168.78.10")
    assert own.server.greeting("127.0.0.1", 25).startswith("220 ")
    assert not any(p["restarts"] for p in suite.status())


def test_reload_moves_between_address_interface_and_any(own):
    own.lan_static(FIRST)
    suite = own.valija(listen="eth0")
    assert own.office.greeting(FIRST, 25).startswith("220 ") and own.server.greeting("127.0.0.1", 25) == ""
    suite.configure(listen="{eth0, 127.0.0.1}")
    suite.valija("reload")
    assert own.office.greeting(FIRST, 25).startswith("220 ") and own.server.greeting("127.0.0.1", 25).startswith("220 ")
    # An address that comes is served though the interface was not named anew.
    own.server.ip("addr add 192.168.77.20/24 dev eth0")
    assert valija.wait_until(lambda: own.office.greeting("192.168.77.20", 25), 5).startswith("220 ")
    suite.configure(listen="127.0.0.1")
    suite.valija("reload")
    assert own.office.greeting(FIRST, 25) == "" and own.office.greeting("192.168.77.20", 25) == ""


# ---- the shipped hook ----------------------------------------------------------------------------

@pytest.mark.skipif(bool(network.missing("knotd", "nsupdate")), reason=str(network.missing("knotd", "nsupdate")))
def test_hook_updates_dns_by_rfc_2136(own):
    key = own.knot({"example.org": "$TTL 60\n@ SOA ns hostmaster 1 60 60 60 60\n@ NS ns\nns A 203.0.113.53\n"
                                   "mail A 203.0.113.200\n"})
    conf = own.tmp / "dns-update.conf"
    conf.write_text(f"SERVER={network.DNS}\nKEYFILE={key}\nZONE=example.org\n")
    for path in (conf, key):
        os.chown(path, 65534, 65534)
        path.chmod(0o400)
    hook = own.tmp / "hook"
    hook.write_text(f"#!/bin/sh\nDNS_UPDATE_CONF={conf} exec {valija.TOP}/contrib/hooks/dns-update\n")
    hook.chmod(0o755)
    own.lan_static(FIRST)
    own.forward(FIRST)
    own.server.ip("addr add 203.0.113.200/32 dev eth0")
    suite = own.valija(address_hook=f'"{hook}"')

    def told():
        found = own.world.run("kdig", "+short", f"@{network.DNS}", "mail.example.org", "A").stdout.decode().split()
        return found
    assert told() == ["203.0.113.200"]
    own.server.ip("addr del 203.0.113.200/32 dev eth0")
    own.server.ip("addr add 203.0.113.201/32 dev eth0")
    word(suite, "address-changed .*old=203.0.113.200 new=203.0.113.201")
    assert "status=0" in word(suite, "hook-"), suite.log_tail()
    assert told() == ["203.0.113.201"]
    own.server.ip("addr add 192.168.77.44/24 dev eth0")
    line = word(suite, "hook-done .*private")
    assert told() == ["203.0.113.201"], line
