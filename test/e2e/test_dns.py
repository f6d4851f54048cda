"""program dns, by the command `valija dns`: a signed zone, forged and unsigned ones, the hosts file, servers that lie
(R5), and dnssec's three modes."""

import json
import os
import pathlib
import re
import socket
import struct

import pytest

import valija
import zone

RECORDS = """
good.example. MX 10 mx.good.example.
good.example. MX 20 mx2.good.example.
mx.good.example. A 192.0.2.7
mx.good.example. AAAA 2001:db8::7
_25._tcp.mx.good.example. TLSA 3 1 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
null.example. MX 0 .
alias.example. CNAME good.example.
text.example. TXT "v=spf1 " "-all"
xn--bcher-kva.example. A 192.0.2.8
7.2.0.192.in-addr.arpa. PTR mx.good.example.
"""


@pytest.fixture(scope="module")
def served():
    if not zone.available():
        pytest.skip("needs knotd (Debian: knot, knot-dnsutils)")
    with zone.Zone(RECORDS, plain={"plain.example.": "plain.example. MX 5 mx.plain.example."},
                   bogus={"bogus.example.": "bogus.example. MX 5 mx.bogus.example."}) as server, \
            valija.Instance(settings=server.settings()) as suite:
        yield server, suite


def ask(suite, name, kind, *more, check=False):
    return json.loads(suite.valija("dns", "--json", *more, name, kind, check=check).stdout)


def test_what_dnssec_proves(served):
    _, suite = served
    told = ask(suite, "Good.Example.", "mx")
    assert told["outcome"] == "found" and told["secure"]
    assert sorted(told["records"]) == ["10 mx.good.example.", "20 mx2.good.example."]
    assert ask(suite, "mx.good.example", "a")["records"] == ["192.0.2.7"]
    assert ask(suite, "mx.good.example", "aaaa")["records"] == ["2001:db8::7"]
    assert ask(suite, "_25._tcp.mx.good.example", "tlsa")["records"][0].startswith("3 1 1 e3b0c442")
    assert ask(suite, "null.example", "mx")["records"] == ["0 ."]
    assert ask(suite, "text.example", "txt")["records"] == ["v=spf1 -all"]
    assert ask(suite, "bücher.example", "a")["records"] == ["192.0.2.8"]
    assert ask(suite, "7.2.0.192.in-addr.arpa", "ptr")["records"] == ["mx.good.example."]
    alias = ask(suite, "alias.example", "mx")
    assert alias["canonical"] == "good.example" and len(alias["records"]) == 2 and alias["secure"]
    nothing, nowhere = ask(suite, "good.example", "txt"), ask(suite, "no.example", "mx")
    assert (nothing["outcome"], nothing["secure"]) == ("no-data", True)
    assert (nowhere["outcome"], nowhere["secure"]) == ("no-such-name", True)


def test_what_dnssec_does_not_prove(served):
    _, suite = served
    told = ask(suite, "plain.example", "mx")
    assert (told["outcome"], told["secure"], told["records"]) == ("found", False, ["5 mx.plain.example."])
    told = ask(suite, "bogus.example", "mx")
    assert (told["outcome"], told["records"]) == ("bogus", [])
    assert re.search(r"dns-bogus .*name=bogus.example type=15 reason=", suite.log())


def test_hosts_file_first(served):
    _, suite = served
    assert ask(suite, "localhost", "a", "--hosts")["records"] == ["127.0.0.1"]
    assert ask(suite, socket.gethostname(), "a")["records"] == []  # DNS has never heard of it
    if re.search(rf"^[0-9.]+\s.*\b{re.escape(socket.gethostname())}\b", pathlib.Path("/etc/hosts").read_text(), re.M):
        assert ask(suite, socket.gethostname(), "a", "--hosts")["records"]


def test_names_that_cannot_be(served):
    _, suite = served
    for name in ("a b", "a;b", "a..b", ".", "x" * 64 + ".example", "a" * 250, "%n", "a\tb", "a$(id)"):
        assert ask(suite, name, "a")["outcome"] == "no-such-name", name


def test_it_comes_back(served):
    """Killed with a question under way: the next one answers."""
    _, suite = served
    (pid,) = [p["pid"] for p in suite.status() if p["program"] == "dns"]
    os.kill(pid, 9)
    valija.wait_until(lambda: suite.valija("dns", "good.example", check=False).returncode == 0, 5, "dns again")


# ---- R5: DNS answers as input --------------------------------------------------------------------------


def lie(name, kind):
    here = wire = zone.wire_name
    if name == "cut.example":
        return b"\x81\x80" + struct.pack(">HHHH", 1, 1, 0, 0) + wire(name) + struct.pack(">HH", kind, 1) + b"\xc0\x0c\0\x0f"
    if name == "loop.example":
        return [(5, b"\xc0\x0c")]
    if name == "many.example" and kind == 15:
        return [(15, struct.pack(">H", n) + here(f"m{n}.example")) for n in range(1000)]
    if name == "huge.example" and kind == 16:
        return [(16, (b"\xff" + b"x" * 255) * 240)]
    if name == "names.example" and kind == 15:
        return [(15, b"\0\x0a\x03a\0b\0"), (15, b"\0\x0a\x03a b\0"), (15, b"\0\x0a\x03a;b\0")]
    if name == "zero.example" and kind == 1:
        return [(1, b"\0\0\0\0"), (1, b"\x7f\0\0\1")]
    if name == "garbage.example":
        return os.urandom(200)
    return []


@pytest.fixture(scope="module")
def lied_to():
    with zone.Liar(lie) as liar, valija.Instance(settings={
            "dns_servers": f'{{"127.0.0.1:{liar.port}"}}', "dnssec": '"off"'}) as suite:
        yield liar, suite


def test_r5_dns_answers_as_input(lied_to):
    """None of it is a crash, and none of it is "there is no MX", which would be delivered to the domain's address."""
    _, suite = lied_to
    for name, kind in (("cut.example", "mx"), ("names.example", "mx"), ("huge.example", "txt"),
                       ("garbage.example", "mx"), ("loop.example", "a")):
        told = ask(suite, name, kind)
        assert told["outcome"] == "later" and told["records"] == [], (name, told)
    assert len(ask(suite, "many.example", "mx")["records"]) == 1000
    assert ask(suite, "zero.example", "a")["outcome"] == "found"  # relay judges addresses
    assert not [p for p in suite.status() if p["restarts"]]


def test_dnssec_auto_goes_on_without():
    """A server that keeps DNSSEC from us: auto answers, unproved, and warns; required does not answer."""
    with zone.Liar(lambda name, kind: [(1, b"\xc0\0\2\x09")] if kind == 1 else []) as liar, valija.Instance(settings={
            "dns_servers": f'{{"127.0.0.1:{liar.port}"}}', "dnssec": '"auto"'}) as suite:
        told = ask(suite, "any.example", "a")
        assert (told["outcome"], told["secure"], told["records"]) == ("found", False, ["192.0.2.9"])
        assert suite.log().count("dnssec-unavailable") == 1
        suite.configure(dnssec='"required"')
        suite.valija("reload")
        assert ask(suite, "any.example", "a")["outcome"] in ("later", "bogus")


def test_other_servers_by_reload(served):
    """New servers are asked after a reload, and the old cache is gone."""
    server, _ = served
    with zone.Liar(lambda name, kind: [(1, b"\xc0\0\2\x0a")] if kind == 1 else []) as liar, valija.Instance(settings={
            "dns_servers": f'{{"127.0.0.1:{liar.port}"}}', "dnssec": '"off"'}) as suite:
        assert ask(suite, "mx.good.example", "a")["records"] == ["192.0.2.10"]
        suite.configure(**server.settings())
        suite.valija("reload")
        told = ask(suite, "mx.good.example", "a")
        assert told["records"] == ["192.0.2.7"] and told["secure"]


def test_wrong_options_are_refused(own_suite):
    for name, value in (("dns_servers", '{"localhost"}'), ("dns_servers", '{"192.0.2.1:0"}'), ("dnssec", '"maybe"')):
        own_suite.configure(**{name: value})
        done = own_suite.valija("check", check=False)
        assert done.returncode != 0 and name in done.stdout + done.stderr
        own_suite.configure(**{name: '"auto"' if name == "dnssec" else "{}"})
