"""The trap of translation: a router that puts its own address in place of everybody's."""

import base64
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


@pytest.fixture(scope="module")
def bad():
    """All that comes in by forwarding seems to come from the router; and an administrator who trusts his LAN."""
    with network.Network() as net:
        net.lan_static(SERVER)
        net.forward(SERVER, hairpin=True, translated=True)
        net.suite = net.valija(policy_exempt="{127.0.0.0/8, 192.168.0.0/16}", connections_per_address="5",
                               connections_per_user="3", client_errors_per_minute="5")
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


def test_errors_of_one_do_not_count_for_all(bad):
    """client_errors_per_minute is 5 here: a spammer behind the router makes twenty, and a mail server comes in."""
    for _ in range(2):
        with bad.world.connect(WAN, 25) as sock:
            sock.recv(200)
            sock.sendall(b"BAD\r\n" * 1)
            sock.recv(200)
            for _ in range(9):
                sock.sendall(b"BAD\r\n")
                sock.recv(200)
    assert bad.world.greeting(WAN, 25).startswith("220 ")


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
    assert LAN in found["says"] and "mx1.peer.example" in found["says"] and "source NAT" in found["advice"]
    trusts = [f for f in told() if f["check"] == "trust"]
    assert trusts and trusts[0]["verdict"] == "warning" and "policy_exempt" in trusts[0]["says"]
    assert LAN in trusts[0]["says"]
    assert re.search(rf"warning: .*policy_exempt.*{LAN}", bad.suite.valija("check").stdout)
