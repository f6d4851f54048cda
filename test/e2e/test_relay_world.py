"""relay in a network of its own (namespaces), on the real ports, behind a router: MX, DANE and MTA-STS by a signed zone (Knot DNS),
policies by HTTPS, and servers that fail in every way."""

import contextlib
import hashlib
import re
import subprocess

import pytest

import mails
import network
import peer
import valija
import web
import zone
from network import DNS

NEEDS = ("knotd", "certtool", "openssl")
pytestmark = pytest.mark.skipif(bool(network.missing(*NEEDS)), reason=str(network.missing(*NEEDS)))
SERVER, WEB = "192.168.77.10", "203.0.113.80"
# name: what its server says instead of the usual
DYING = {"greeting": None, "ehlo": None, "mail": None, "rcpt": None, "data": None, "end": None}
REFUSING = {"later": {"rcpt": "450 4.2.1 later"}, "never": {"rcpt": "550 5.1.1 nobody"}, "laterdata": {"data": "451 4.3.0 later"},
            "neverend": {"end": "554 5.6.0 no"}, "neverhello": {"greeting": "554 5.3.2 no"}, "slow": {"rcpt": "silence"}}
TLS = ["danegood", "danebad", "stsgood", "stsbad", "daneover", "danefirst"]
NAMES = ["first", "second", "grey", *(f"dies{stage}" for stage in DYING), *REFUSING, *TLS]
ADDRESS = {name: f"203.0.113.{n}" for n, name in enumerate(NAMES, 100)}


class SignedZone(zone.Zone):
    """In the world of the network."""

    def __init__(self, space, records):
        self.space = space
        super().__init__(records, host=DNS, port=53, ttl=60)

    def _argv(self, *argv):
        return self.space.argv(*argv)


def fingerprint(context_file):
    key = subprocess.run(["openssl", "x509", "-in", context_file, "-pubkey", "-noout"], check=True, stdout=subprocess.PIPE).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key, check=True, stdout=subprocess.PIPE).stdout
    return hashlib.sha256(der).hexdigest()


class World:
    def __init__(self, stack):
        self.net = stack.enter_context(network.Network())
        self.net.lan_static(SERVER)
        self.net.forward(SERVER)
        authority = stack.enter_context(web.Authority())
        for address in [*ADDRESS.values(), WEB]:
            self.net.world.ip(f"addr add {address}/24 dev eth0")
        contexts = {"danegood": {"foreign": True}, "danebad": {}, "stsgood": {}, "stsbad": {"expired": True},
                    "daneover": {"foreign": True}, "danefirst": {}}
        answers = {**{f"dies{stage}": {stage: None} for stage in DYING}, **REFUSING,
                   "grey": {"rcpt": ["450 4.7.1 greylisted", "250 2.1.5 welcome back"]}}
        self.peers, prints = {}, {}
        for name, address in ADDRESS.items():
            if name == "first":
                continue  # nobody is there
            context = authority.context(f"mx.{name}.example", **contexts[name]) if name in contexts else None
            if context:
                prints[name] = fingerprint(authority.dir / f"{authority.count}.pem")
            with self.net.world.inside():
                made = peer.Peer(address, 25, name=f"mx.{name}.example", tls=context, answers=answers.get(name))
            self.peers[name] = made
            stack.callback(made.close)
        policies = ["stsgood", "stsbad", "daneover", "danefirst"]
        with self.net.world.inside():
            self.web = web.Web(self.policy, authority.context(*[f"mta-sts.{n}.example" for n in policies]), WEB, 443)
        stack.callback(self.web.close)
        lines = [f"{n}.example. MX 10 mx.{n}.example.\nmx.{n}.example. A {a}" for n, a in ADDRESS.items()]
        lines += [f"_mta-sts.{n}.example. TXT \"v=STSv1; id=1;\"\nmta-sts.{n}.example. A {WEB}" for n in policies]
        lines += [f"_25._tcp.mx.{n}.example. TLSA 3 1 1 {prints[n] if n in ('danegood', 'daneover') else 'ab' * 32}"
                  for n in ("danegood", "danebad", "daneover", "danefirst")]
        lines += ["first.example. MX 20 mx.second.example.", "null.example. MX 0 .", "deaf.example. MX 10 mx.first.example."]
        self.zone = stack.enter_context(SignedZone(self.net.world, "\n".join(lines) + "\n"))
        settings = self.zone.settings()
        self.suite = self.net.valija(tls_trust=f'"{authority.file}"', relay_reply_seconds="3", relay_connect_seconds="3", **settings)
        self.user = self.suite.new_user("sender")

    @staticmethod
    def policy(request):
        name = re.search(rb"Host: mta-sts\.(\w+)\.example\r\n", request).group(1).decode()
        mx = "mx.elsewhere.example" if name == "daneover" else f"mx.{name}.example"
        return web.answer(f"version: STSv1\r\nmode: enforce\r\nmx: {mx}\r\nmax_age: 86400\r\n".encode())

    def send(self, *names):
        """One message to each; {name: the words of its outcome in the log}."""
        with network.Smtp(self.net.office, self.suite, SERVER, 587) as smtp:
            smtp.login(self.user, self.suite.passwords[self.user])
            for name in names:
                smtp.sendmail(self.user, [f"x@{name}.example"], mails.plain(self.user, f"x@{name}.example", name))

    def told(self, name, count=1, seconds=20):
        found = lambda: [l for l in self.suite.log().splitlines()
                         if re.search(r": (not-)?delivered ", l) and re.search(rf'to="?x@{name}\.example', l)]
        line = valija.wait_until(lambda: len(found()) >= count and found(), seconds, f"an outcome of {name}")[-1]
        return dict((k, v.strip('"')) for k, v in re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)', line))


@pytest.fixture(scope="module")
def world():
    with contextlib.ExitStack() as stack:
        yield World(stack)


def test_a_world_of_servers(world):
    everyone = ["first", "null", "deaf", "grey", *(f"dies{stage}" for stage in DYING), *REFUSING, *TLS]
    world.send(*everyone)
    # MX: the first does not answer, the second takes it; none at all; null MX (RFC 7505).
    assert world.told("first")["status"] == "sent" and len(world.peers["second"].messages) == 1
    assert (world.told("null")["status"], world.told("null")["dsn"]) == ("bounced", "5.1.10")
    assert (world.told("deaf")["status"], world.told("deaf")["dsn"]) == ("deferred", "4.4.1")
    # Whoever dies at whatever stage: later. Whoever says never is believed, but for a greeting.
    for stage in DYING:
        assert world.told(f"dies{stage}")["status"] == "deferred", stage
        assert not world.peers[f"dies{stage}"].messages
    for name, status in {"later": "deferred", "never": "bounced", "laterdata": "deferred", "neverend": "bounced",
                         "neverhello": "deferred", "slow": "deferred"}.items():
        assert world.told(name)["status"] == status, name
    # Greylisting: deferred, and taken at the next attempt.
    assert world.told("grey")["status"] == "deferred"
    world.suite.valija("queue", "retry", "--recipient", "x@grey.example")
    assert world.told("grey", 2)["status"] == "sent" and len(world.peers["grey"].messages) == 1


def test_dane_and_mta_sts(world):
    """Good and bad of each; DANE alone counts where it is proved, for good and for bad (RFC 8461 2)."""
    if not any("danefirst" in l for l in world.suite.log().splitlines()):
        world.send(*TLS)
    for name, status in {"danegood": "sent", "danebad": "deferred", "stsgood": "sent", "stsbad": "deferred",
                         "daneover": "sent", "danefirst": "deferred"}.items():
        assert world.told(name)["status"] == status, name
        assert [m["tls"] for m in world.peers[name].messages] == ([True] if status == "sent" else []), name
    log = world.suite.log()
    assert len(re.findall(r"relay-tls .*verified=dane", log)) == 2 and re.search(r"relay-tls .*mx\.stsgood.*verified=pki", log)
