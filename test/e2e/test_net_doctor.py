"""`valija net` and its relatives: every verdict, in a network where it is true and in one where it is not."""

import json
import re

import pytest

import mails
import network
import valija
from network import CLIENT, LAN, OFFICE, PEER, WAN

NEEDS = ("dnsmasq", "dhclient", "knotd")
pytestmark = pytest.mark.skipif(bool(network.missing(*NEEDS)), reason=str(network.missing(*NEEDS)))
SERVER = "192.168.77.10"
HEAD = "$TTL 60\n@ SOA ns hostmaster 1 60 60 60 60\n@ NS ns.example.org.\n"
PEER_ZONE = HEAD + f"@ MX 10 mx\nmx A {PEER}\n"
BARE = HEAD + f"ns A 203.0.113.53\n@ MX 10 mail\nmail A {WAN}\n"
REVERSE = HEAD + "1 PTR mail.example.org.\n"


class Told:
    """What `valija net --json` said."""

    def __init__(self, suite, *arguments, words=("net",)):
        done = suite.valija(*words, *arguments, "--json", check=False)
        assert done.returncode in (0, 78), done.stderr
        self.code, self.all = done.returncode, json.loads(done.stdout)
        self.findings = self.all["findings"]
        worst = max(["ok", "warning", "problem"].index(f["verdict"]) for f in self.findings)
        assert self.all["verdict"] == ["ok", "warning", "problem"][worst]
        assert (self.code == 78) == (worst == 2)
        for f in self.findings:
            assert f["verdict"] == "ok" or f["advice"], f"a verdict without advice: {f}"

    def of(self, check):
        return [f for f in self.findings if f["check"] == check]

    def verdict(self, check, pattern=""):
        """The one verdict of a check, among those whose sentence matches."""
        found = [f for f in self.of(check) if re.search(pattern, f["says"])]
        assert len(found) == 1, f"{check} {pattern!r}: {self.of(check)}"
        return found[0]["verdict"]


@pytest.fixture(scope="module")
def home():
    """A leased address behind a router with forwarded ports and right DNS records, made by `valija net dns`."""
    with network.Network() as net:
        net.dhcp(SERVER, 7200)
        net.lan_lease()
        net.wait_for_address(SERVER)
        net.forward(SERVER, hairpin=True)
        zones = {"example.org": BARE, "example.net": PEER_ZONE, "113.0.203.in-addr.arpa": REVERSE}
        net.knot(zones)
        net.sink()
        net.suite = net.valija(listen='{"eth0", "127.0.0.1"}')
        net.suite.valija("cert", "dkim", "example.org", "--selector", "one")
        net.suite.configure(dkim='{"example.org:one"}')
        net.fragment = net.suite.valija("net", "dns").stdout
        net.knot({**zones, "example.org": HEAD + "ns A 203.0.113.53\n" + net.fragment})
        yield net


@pytest.fixture
def own():
    with network.Network() as net:
        yield net


def offline(net, hostname="mail.example.org", **settings):
    """A server that is not started: `valija net --offline` looks at it."""
    suite = network.Suite(net.server, hostname, begin=False, **settings)
    net.suites.append(suite)
    return suite


# ---- at home, everything right -------------------------------------------------------------------

def test_home_behind_a_router(home):
    told = Told(home.suite, "--probe", "example.net")
    assert told.verdict("address", SERVER) == "ok"
    assert told.verdict("lease", "leased .* lead nowhere") == "warning"
    assert re.search(r"reserve 192\.168\.77\.10 for the hardware address [0-9a-f:]{17}", told.of("lease")[0]["advice"])
    assert told.verdict("route", LAN) == "ok" and told.verdict("ipv6", "no IPv6") == "ok"
    assert told.verdict("nat", f"world comes to {WAN} .by the DNS") == "ok"
    assert told.verdict("forward", r"25 \(smtp\), 465 \(submissions\), 587 \(submission\), 993 \(imaps\)$") == "ok"
    assert told.verdict("helo") == told.verdict("certificate") == told.verdict("resolver") == "ok"
    assert told.verdict("inbound", f"answers at {WAN}, ports 25, 465, 587, 993, also from inside") == "ok"
    assert told.verdict("authority", "of this server, which nobody else knows") == "ok"
    assert told.of("authority")[0]["advice"].split()[7] == str(home.suite.dir / "state/tls/ca.crt;")
    assert told.verdict("name", WAN) == "ok" and told.verdict("ptr", "points back to mail.example.org$") == "ok"
    assert told.verdict("outbound", "mx.example.net") == "ok"
    assert told.all["public"] == [WAN] and told.all["translated"] is True
    assert told.all["router"]["forward"] == [25, 465, 587, 993] and told.all["router"]["server"] == SERVER
    assert told.all["verdict"] == "warning"


def test_fragment_of_the_zone_is_what_check_wants(home):
    """knot serves what `valija net dns` printed, and `valija check dns` finds nothing to complain of."""
    told = Told(home.suite, "example.org", words=("check", "dns"))
    assert not [f for f in told.findings if f["verdict"] != "ok"]
    assert told.verdict("mx") == told.verdict("spf") == told.verdict("dkim") == told.verdict("srv") == "ok"
    assert told.verdict("dmarc") == told.verdict("mta-sts") == told.verdict("tls-rpt") == told.verdict("tlsa") == "ok"
    assert {f["check"] for f in told.findings} >= {"mx", "spf", "dkim", "dmarc", "mta-sts", "tls-rpt", "srv", "tlsa", "ptr"}
    assert told.code == 0
    for line in ("_imap._tcp.example.org. +3600 IN SRV +0 0 0 \\.", "_pop3s._tcp.example.org. +3600 IN SRV +0 0 0 \\.",
                 "_submissions._tcp.example.org. +3600 IN SRV +0 1 465 mail.example.org.",
                 f"mail.example.org. +3600 IN A +{WAN}"):
        assert re.search(line, home.fragment), home.fragment


def test_text_has_the_same_verdicts(home):
    text = home.suite.valija("net", "--probe", "example.net").stdout
    lines = [line.split()[:2] for line in text.splitlines() if not line.startswith(" ")]
    told = Told(home.suite, "--probe", "example.net")
    assert lines == [[f["verdict"], f["check"]] for f in told.findings]


def test_records_that_are_wrong(own):
    """One zone in which everything is wrong in its own way."""
    own.lan_static(SERVER)
    own.forward(SERVER)
    own.knot({"example.org": HEAD + "ns A 203.0.113.53\nmail A 192.168.77.10\nmail AAAA 2001:db8::bad\nmail A 203.0.113.99\n"
              'one._domainkey TXT "v=DKIM1; k=rsa; p=AAAA"\n'
              "@ MX 10 alias\nalias CNAME mail\n@ MX 20 mx.example.net.\n"
              '@ TXT "v=spf1 ip4:198.51.100.0/24 -all"\n_dmarc TXT "v=DMARC1; rua=mailto:x@example.org"\n'
              '_mta-sts TXT "v=STSv1; id=1"\n_mta-sts TXT "v=STSv1; id=2"\n_smtp._tls TXT "v=TLSRPTv1;"\n'
              "_imaps._tcp SRV 0 1 993 old.example.org.\n_25._tcp.mail TLSA 3 1 1 "
              "0000000000000000000000000000000000000000000000000000000000000000\n",
              "example.net": HEAD + f"mx A {PEER}\n", "empty.example": HEAD,
              "113.0.203.in-addr.arpa": HEAD + "1 PTR host-1.provider.example.\n"})
    suite = own.valija(public_address=f'"{WAN}"', domains="{example.org, empty.example, gone.example}")
    for selector in ("one", "two"):
        suite.valija("cert", "dkim", "example.org", "--selector", selector)
    suite.configure(dkim='{"example.org:one", "example.org:two"}')
    told = Told(suite, "example.org", words=("check", "dns"))
    assert told.code == 78
    assert told.verdict("name", "192.168.77.10, which is private") == "problem"
    assert told.verdict("name", "2001:db8::bad, which is neither") == "problem"
    assert told.verdict("name", "203.0.113.99, which is neither") == "problem"
    assert told.verdict("name", f"no A record for {WAN}") == "warning"
    assert told.verdict("ptr", "host-1.provider.example, not to mail") == "warning"
    assert told.verdict("mx", "alias .CNAME. of mail.example.org") == "problem"
    assert told.verdict("mx", "some of its mail goes elsewhere") == "warning"
    assert told.verdict("spf", f"does not permit {WAN}") == "problem"
    assert told.verdict("dkim", "one._domainkey.example.org: another key") == "problem"
    assert told.verdict("dkim", "two._domainkey.example.org: no record") == "problem"
    assert told.verdict("dmarc", "lacks p=") == "problem"
    assert told.verdict("mta-sts", "2 records") == "problem"
    assert told.verdict("tls-rpt", "lacks rua=") == "problem"
    assert told.verdict("srv", "_imaps.*old.example.org") == "warning"
    assert told.verdict("tlsa", "another key") == "problem"
    told = Told(suite, "empty.example", words=("check", "dns"))
    assert told.verdict("mx", "no MX record") == "problem" and told.verdict("spf", "no SPF") == "problem"
    assert told.verdict("dmarc", "no record") == told.verdict("mta-sts", "no record") == "warning"
    assert told.verdict("tls-rpt", "no record") == "warning"
    assert told.verdict("dkim", "not signed") == "warning"
    told = Told(suite, "gone.example", words=("check", "dns"))
    assert told.verdict("mx") == "problem"
    told = Told(suite, "other.example", words=("check", "dns"))
    assert told.verdict("domain", "not in domains") == "warning"


# ---- routers and providers -----------------------------------------------------------------------

@pytest.mark.parametrize("tool", ["nftables", "iptables"])
@pytest.mark.parametrize("hairpin", [False, True])
def test_rules_for_the_router_work(own, tool, hairpin):
    """What is printed is loaded into a router that drops what nobody permits: the four ports answer, no other."""
    if tool == "iptables" and network.missing("iptables"):
        pytest.skip("needs iptables")
    own.lan_static(SERVER)
    own.nft("table ip filter {\nchain across { type filter hook forward priority filter; policy drop;\n"
            'ct state established,related accept\nct status dnat accept\niifname "lan0" oifname "wan0" accept\n}\n}\n')
    suite = own.valija()
    assert own.world.greeting(WAN, 25, 0.3) == ""
    options = [*(["--iptables"] if tool == "iptables" else []), *(["--hairpin"] if hairpin else [])]
    rules = suite.valija("net", "rules", *options).stdout
    own.router.run(*(["sh", "-e"] if tool == "iptables" else ["nft", "-f", "-"]), stdin=rules.encode())
    assert own.world.greeting(WAN, 25).startswith("220 ")
    assert [p for p in (25, 143, 465, 587, 993) if own.world.answers(WAN, p, 0.3)] == [25, 465, 587, 993]
    assert bool(own.office.greeting(WAN, 587, 0.5)) == hairpin
    user = suite.new_user("rules")
    with network.Smtp(own.world, suite, WAN, 25) as smtp:
        smtp.sendmail("x@peer.example.net", [user], mails.plain("x@peer.example.net", user))
    assert f"[{CLIENT}]".encode() in suite.delivered(user)[0].read_bytes(), "the client's own address"


def test_does_the_public_address_lead_here(own):
    """As far as that can be told from inside."""
    own.lan_static(SERVER)
    own.knot({"example.org": BARE, "example.net": PEER_ZONE})
    own.sink()
    suite = own.valija(public_address=f'"{WAN}"')

    def told():
        return Told(suite, "--probe", "example.net")
    own.forward(SERVER)
    assert told().verdict("inbound", f"whether {WAN} leads here cannot be told from inside") == "ok"
    own.forward(SERVER, ports=(25, 993), hairpin=True)
    assert told().verdict("inbound", "answers at 25, 993, but not at 465, 587$") == "warning"
    with own.office.inside():
        other = network.Sink(own.office, OFFICE, 25)
    own.sinks.append(other)
    own.forward(OFFICE, ports=(25,), hairpin=True)
    assert told().verdict("inbound", r'somebody else answers at 25 \("220 peer.example.net ESMTP sink"\)$') == "problem"
    suite.stop()
    assert told().verdict("inbound", f"cannot be told: nobody answers at {SERVER}") == "ok"


def test_provider_that_shares_addresses(own):
    own.server.ip("addr add 100.64.1.2/24 dev eth0")
    own.server.ip("route add default via 100.64.1.1")
    suite = offline(own)
    told = Told(suite, "--offline")
    assert told.verdict("nat", "RFC 6598") == "problem" and not told.of("forward")
    assert suite.valija("net", "rules", check=False).returncode == 69


def test_public_address_of_its_own(own):
    own.server.ip("addr add 198.51.100.7/24 dev eth0 valid_lft 600 preferred_lft 600")
    own.server.ip("route add default via 198.51.100.1")
    suite = offline(own)
    told = Told(suite, "--offline")
    assert told.verdict("nat", "is public") == "ok" and told.all["translated"] is False
    assert told.verdict("lease", "public address .* is leased") == "warning"
    assert told.verdict("exposed", "imap .port 143. is open to the world at 198.51.100.7") == "warning"
    suite.configure(services="{smtp, submission, submissions, imaps}")
    assert not Told(suite, "--offline").of("exposed")
    suite.configure(services="{smtp, imaps, lmtp}")
    assert Told(suite, "--offline").verdict("exposed", "lmtp") == "warning"
    suite.configure(port_base="10000")
    assert Told(suite, "--offline").verdict("ports", "only come to port 25") == "problem"
    assert suite.valija("net", "rules", check=False).returncode == 69


def test_nothing_there(own):
    own.server.ip("link set eth0 down")
    suite = offline(own, listen="{eth0, eth7, 192.0.2.77}", hostname="mail")
    told = Told(suite, "--offline")
    assert told.verdict("address", "no address beyond itself") == "problem"
    assert told.verdict("helo", "calls itself mail:") == "problem"
    assert told.verdict("listen", "eth7 in listen is not there") == "warning"
    assert told.verdict("listen", "eth0 in listen has no address") == "warning"
    assert told.verdict("listen", "192.0.2.77 in listen is not an address") == "warning"
    assert told.verdict("listen", "listens on no address") == "problem"
    own.server.ip("addr add 192.168.77.10/24 dev eth0")
    told = Told(suite, "--offline")
    assert told.verdict("address", "192.168.77.10 on eth0: the interface is switched off") == "warning"
    assert told.verdict("route", "no default route") == "problem"
    assert told.verdict("nat", "nobody told us the router's public address") == "warning"
    own.server.ip("link set eth0 up")
    own.server.ip("addr add 192.168.77.9/24 dev eth0")
    told = Told(suite, "--offline")
    assert told.verdict("lease", "no lifetime") == "ok"


def test_ipv6_half_configured(own):
    own.lan_static(SERVER)
    suite = offline(own, listen="0.0.0.0")
    assert Told(suite, "--offline").verdict("ipv6", "no IPv6 here") == "ok"
    own.server.ip("addr add 2001:db8:77::10/64 dev eth0 nodad")
    assert Told(suite, "--offline").verdict("ipv6", "no default route for IPv6") == "warning"
    own.server.ip("-6 route add default via 2001:db8:77::1")
    assert Told(suite, "--offline").verdict("ipv6", "does not listen on 2001:db8:77::10") == "warning"
    suite.configure(listen="any")
    assert Told(suite, "--offline").verdict("ipv6", "is listened on") == "ok"
    own.server.ip("addr del 2001:db8:77::10/64 dev eth0")
    own.server.ip("-6 route add default dev eth0", check=False)
    assert Told(suite, "--offline").verdict("ipv6", "route for IPv6, but no global address") == "warning"


def test_port_25_is_blocked(own):
    """The world's DNS answers, its mail servers do not: a relay host is the way."""
    own.lan_static(SERVER)
    own.knot({"example.org": BARE, "example.net": PEER_ZONE})
    own.forward(SERVER)
    own.nft("table ip block {\nchain out { type filter hook forward priority -10;\n"
            'iifname "lan0" tcp dport 25 reject\n}\n}\n', add=True)
    own.sink()
    suite = offline(own)
    told = Told(suite, "--probe", "example.net")
    assert told.verdict("outbound", "does not answer .mx.example.net.") == "problem"
    assert "relayhost" in told.of("outbound")[0]["advice"]
    # And that way is open.
    own.knot({"example.org": BARE, "example.net": PEER_ZONE + "smarthost A 203.0.113.25\n"})
    own.sink(port=587)
    suite.configure(relayhost='"smarthost.example.net:587"')
    assert Told(suite).verdict("outbound", "by smarthost.example.net, whose port 587 answers") == "ok"
    suite.configure(relayhost='"smarthost.example.net:588"')
    assert Told(suite).verdict("outbound", "port 588 does not answer") == "problem"


def test_no_dns(own):
    """A resolver that refuses: the DNS is the problem, and nothing is made up."""
    own.lan_static(SERVER)
    own.forward(SERVER)
    own.knot({"nothing.example": HEAD})
    suite = offline(own)
    told = Told(suite, "--probe", "example.net")
    assert told.verdict("resolver", "does not answer") == "problem"
    assert told.verdict("outbound", "could not be tried") == "warning"
    # Localhost is known without the DNS.
    suite.configure(hostname='"localhost"')
    assert Told(suite, "--probe", "example.net").verdict("resolver", "does not answer") == "problem"
    own.knot({"example.org": BARE})
    assert Told(suite, "--probe", "example.net").verdict("resolver", "answers") == "ok"


def test_certificate_that_does_not_do(own):
    """For another name, or over; and one of an authority that is not ours needs no word about it."""
    suite = offline(own, "mail.example.org")

    def told():
        return Told(suite, "--offline")
    assert told().verdict("certificate", "for mail.example.org and good for") == "ok" and told().of("authority")
    key, certificate = own.tmp / "k.pem", own.tmp / "c.pem"

    def replace(name, days):
        suite.space.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                        "-out", certificate, "-days", days, "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
        suite.configure(tls_certificate=f'"{certificate}"', tls_key=f'"{key}"')
    replace("www.example.org", 90)
    assert told().verdict("certificate", "not for mail.example.org but for www.example.org") == "problem"
    assert not told().of("authority")
    replace("mail.example.org", 5)
    assert told().verdict("certificate", "ends in [45] days") == "warning"
    certificate.write_text("nothing")
    assert told().verdict("certificate", "cannot be used") == "problem"


def test_where_clients_come_from(own):
    """Behind a router all mail servers have addresses of the world, or something on the way hides them."""
    own.lan_static(SERVER)
    suite = offline(own)
    log = own.tmp / "log"
    line = "Nov 28 15:00:00 mail valija/smtpd[7]: disconnect session=A ip={} service=smtp helo=mx{}.example.net\n"

    def told(addresses):
        log.write_text("".join(line.format(ip, n) for n, ip in enumerate(addresses)))
        return Told(suite, "--offline", "--log", log)
    assert told([]).verdict("sources", "nobody has come") == "ok"
    assert told([CLIENT, PEER, OFFICE]).verdict("sources", "addresses of their own .2 of 3") == "ok"
    assert told([OFFICE] * 5).verdict("sources", "none of 5 connections") == "warning"
    assert told([LAN, LAN, LAN, PEER]).verdict("sources", "from the router: 3 of 4 .* from 192.168.77.1, under 3 names") == "problem"
    assert Told(suite, "--offline", "--log", "/nowhere/log").verdict("sources", "/nowhere/log: No such file") == "warning"
