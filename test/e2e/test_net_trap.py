"""The trap of translation: a router that puts its own address in place of everybody's."""

import base64
import contextlib
import json
import re
import time

import pytest

import mails
import network
import valija
from network import LAN, WAN

NEEDS = ("dnsmasq", "dhclient")
pytestmark = pytest.mark.skipif(bool(network.missing(*NEEDS)), reason=str(network.missing(*NEEDS)))
SERVER = "192.168.77.10"
ALONE, BESIDE = "10.9.9.50", "10.9.9.10"        # a machine on its own, and the server on the same wire


@pytest.fixture(scope="module")
def bad():
    """All that comes in by forwarding seems to come from the router; and an administrator who trusts his LAN."""
    with network.Network() as net:
        net.lan_static(SERVER)
        net.forward(SERVER, ports=(*network.FORWARDED, 2525), hairpin=True, translated=True)
        net.suite = net.valija(policy_exempt="{127.0.0.0/8, 192.168.0.0/16}", connections_per_address="5",
                               connections_per_user="3", client_errors_per_minute="5", auth_slow_failures="6",
                               auth_delay_seconds="1", auth_delay_most_seconds="4",
                               proxy_listen='"smtp@0.0.0.0:2525"', proxy_from="192.168.0.0/16")
        # What the defences are for is shown by who has none: an address that stands for one machine.
        net.server.ip(f"addr add {BESIDE}/24 dev eth0")
        net.office.ip(f"addr add {ALONE}/24 dev eth0")
        valija.wait_until(lambda: net.office.greeting(BESIDE, 25).startswith("220 "), what="the second address")
        yield net


def test_everybody_seems_to_be_the_router(bad):
    user = bad.suite.new_user("inbox")
    with network.Smtp(bad.world, bad.suite, WAN, 25) as smtp:
        smtp.sendmail("x@peer.example.net", [user], mails.plain("x@peer.example.net", user))
    assert f"[{LAN}]".encode() in bad.suite.delivered(user)[0].read_bytes(), "or the network is not the bad one"


def test_nothing_is_trusted(bad):
    """No open relay, though the router's address lies in a network that the administrator exempted."""
    with network.Smtp(bad.world, bad.suite, WAN, 25) as smtp:
        smtp.ehlo("mx.peer.example.net")
        smtp.mail("x@peer.example.net")
        assert smtp.rcpt("somebody@elsewhere.example")[0] in (550, 554)
    with network.Smtp(bad.office, bad.suite, SERVER, 25) as smtp:
        smtp.ehlo("pc.office")
        smtp.mail("x@peer.example.net")
        assert smtp.rcpt("somebody@elsewhere.example")[0] in (550, 554)


def test_one_guesser_does_not_lock_out_the_others(bad):
    """Forty wrong passwords from the one address that all share; others log in meanwhile, without a wait."""
    victim, other = bad.suite.new_user("victim"), bad.suite.new_user("other")
    guessers = []
    for i in range(4):
        sock = bad.world.connect(WAN, 993)
        tls = bad.suite.tls().wrap_socket(sock, server_hostname=bad.suite.host)
        tls.recv(500)
        for n in range(10):
            tls.sendall(b"a%d LOGIN %s wrong%d\r\n" % (n, victim.encode(), n))
        guessers.append(tls)
    valija.wait_until(lambda: bad.suite.log().count("auth-failed ") >= 1, what="a failure")
    for who in (other, victim):
        if who == victim:
            continue      # his own next try from the same address waits, as it must
        began = time.monotonic()
        imap = network.Imap(bad.world, bad.suite, WAN)
        imap.login(who, bad.suite.passwords[who])
        imap.logout()
        assert time.monotonic() - began < 2, "a right password is not held back for wrong ones of another"
    # And the victim himself, from elsewhere.
    imap = network.Imap(bad.office, bad.suite, SERVER)
    imap.login(victim, bad.suite.passwords[victim])
    imap.logout()
    for tls in guessers:
        tls.close()


def make_errors(space, address):
    for _ in range(6):
        with contextlib.suppress(OSError), space.connect(address, 25) as sock:      # who has made too many is sent away
            for _ in range(4):
                sock.recv(200)
                sock.sendall(b"BAD\r\n")
            sock.recv(200)


def test_errors_of_one_do_not_count_for_all(bad):
    """client_errors_per_minute is 5 here: a spammer behind the router makes many, and mail servers come in all the same.
    A spammer with an address of his own stays out."""
    make_errors(bad.world, WAN)
    assert all(bad.world.greeting(WAN, 25).startswith("220 ") for _ in range(8))
    # Each process counts by itself: until both have had enough of him.
    for _ in range(5):
        make_errors(bad.office, BESIDE)
        out = all(bad.office.greeting(BESIDE, 25).startswith("421 ") for _ in range(8))
        if out:
            break
    assert out


def test_trust_ends_at_the_router(bad):
    """policy_exempt holds office and router alike; only the office is let off, which calls itself by our own name."""
    user = bad.suite.new_user("exempt")

    def recipient(space, address):
        with network.Smtp(space, bad.suite, address, 25) as smtp:
            smtp.ehlo("mail.example.org")
            smtp.mail("x@peer.example.net")
            return smtp.rcpt(user)[0]
    assert recipient(bad.office, SERVER) == 250
    assert recipient(bad.world, WAN) == 550


def test_the_router_is_no_proxy(bad):
    """proxy_from holds it with the whole LAN: a machine of the LAN is heard, the router, who may be anybody, is not."""
    header = b"PROXY TCP4 198.51.100.9 192.0.2.1 4711 25\r\n"
    with bad.office.connect(SERVER, 2525) as sock:
        sock.sendall(header)
        assert sock.recv(100).startswith(b"220 ")
    with bad.world.connect(WAN, 2525) as sock:
        assert sock.recv(100) == b""
    valija.wait_until(lambda: f'turned-away ip={LAN} service=smtp reason="not a proxy of proxy_from"' in bad.suite.log())


def guess_many_names(space, address, suite):
    """Ten names, once each."""
    def guess(n):
        with contextlib.suppress(OSError):      # five connections at once are what one address may have here
            tls = suite.tls().wrap_socket(space.connect(address, 993), server_hostname=suite.host)
            tls.recv(500)
            tls.sendall(b"a LOGIN name%d@example.org wrong\r\n" % n)
            return tls
    before, held = suite.log().count("auth-failed "), []
    for n in range(10):
        held.append(valija.wait_until(lambda n=n: guess(n), 20, "a connection"))
        valija.wait_until(lambda n=n: suite.log().count("auth-failed ") > before + n, 20, "a failure")
        if len(held) == 4:
            held.pop(0).close()
    for tls in held:
        tls.close()


def seconds_of_login(space, address, suite):
    user, began = suite.new_user("newcomer"), time.monotonic()
    imap = network.Imap(space, suite, address)
    imap.login(user, suite.passwords[user])
    imap.logout()
    return time.monotonic() - began


@pytest.mark.long
def test_guesses_at_many_names_slow_nobody_behind_the_router(bad):
    """auth_slow_failures is 6 here: an address of one machine is slowed after that, with everybody who is new there."""
    guess_many_names(bad.world, WAN, bad.suite)
    behind_router = seconds_of_login(bad.world, WAN, bad.suite)
    guess_many_names(bad.office, BESIDE, bad.suite)
    alone = seconds_of_login(bad.office, BESIDE, bad.suite)
    assert alone >= 4 > behind_router, (alone, behind_router)


def test_many_connections_from_the_shared_address(bad):
    """connections_per_address is 5 for each process; from the address of all, more than that come in."""
    held = [bad.world.connect(WAN, 25) for _ in range(20)]
    assert all(sock.recv(200).startswith(b"220 ") for sock in held)
    for sock in held:
        sock.close()
    # A machine of the office is one guest.
    held = [bad.office.connect(SERVER, 25) for _ in range(20)]
    answers = [sock.recv(200)[:3] for sock in held]
    assert answers.count(b"421") >= 10 and answers.count(b"220") <= 10
    for sock in held:
        sock.close()
    valija.wait_until(lambda: sum(p["connections"] for p in bad.suite.processes("smtpd")) == 0, what="all gone")


def test_an_office_is_found_to_be_shared(bad):
    """Three users log in from one machine: more connections than connections_per_address come in then; one user has
    his own limit, and the log names the setting."""
    users = [bad.suite.new_user("office") for _ in range(3)]
    held = []

    def come(user):
        smtp = network.Smtp(bad.office, bad.suite, SERVER, 587)
        held.append(smtp)
        smtp.ehlo()
        return smtp.docmd("AUTH", "PLAIN " + base64.b64encode(f"\0{user}\0{bad.suite.passwords[user]}".encode()).decode())
    for user in users * 4:      # two processes: each has to see three of them
        come(user)
    valija.wait_until(lambda: bad.suite.log().count(f"shared-address ip={network.OFFICE}") >= 1, what="shared-address")
    codes = [come(users[0])[0] for _ in range(8)]      # 3 for each of two processes
    assert 421 in codes and set(codes) <= {235, 421}, codes
    assert "too-many-connections" in bad.suite.log() and "setting=connections_per_user" in bad.suite.log()
    for smtp in held:
        smtp.close()


def test_doctor_sees_it(bad):
    for name in ("mx1.peer.example", "mail.bank.example", "out.shop.example"):
        with network.Smtp(bad.world, bad.suite, WAN, 25) as smtp:
            smtp.ehlo(name)
    valija.wait_until(lambda: all(name in bad.suite.log() for name in ("out.shop.example",)), what="the log")

    def told():
        return json.loads(bad.suite.valija("net", "--offline", "--json", check=False).stdout)["findings"]
    found = valija.wait_until(lambda: [f for f in told() if f["check"] == "sources" and f["verdict"] == "problem"],
                              what="the verdict")[0]
    assert f"from {LAN}, under " in found["says"] and "mx.peer.example.net" in found["says"] and "source NAT" in found["advice"]
    trusts = [f for f in told() if f["check"] == "trust"]
    assert trusts and trusts[0]["verdict"] == "warning" and "policy_exempt" in trusts[0]["says"]
    assert LAN in trusts[0]["says"]
    # And loudly in the log, at the start: the router among those who are let off, and a whole range of private addresses.
    for option in ("policy_exempt", "proxy_from"):
        assert re.search(rf"trust-too-wide reason=.{option} holds the default gateway {LAN}", bad.suite.log())
        assert re.search(rf"trust-too-wide reason=.{option}: 192.168.0.0/16 holds all private addresses", bad.suite.log())
    assert re.search(rf"warning: .*policy_exempt.*{LAN}", bad.suite.valija("check").stdout)
