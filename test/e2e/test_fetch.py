"""fetch: HTTPS for others, by the command `valija fetch`: whom it believes, what it does not follow, and its limits."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time

import pytest

import valija
import web
import zone

A, AAAA = 1, 28
PRIVATE = {f"p{n}.example": address for n, address in enumerate(
    ["10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.0.1", "169.254.169.254", "100.64.0.1", "fd00::1", "fe80::1",
     "::ffff:10.1.2.3", "64:ff9b::a01:203", "64:ff9b::7f00:1"])}
HOSTS = {"good.example", "wrong.example", "expired.example", "foreign.example", "plain.example"}


class World:
    def __init__(self, stack):
        self.authority = stack.enter_context(web.Authority())
        self.host = web.loopback()
        address = socket.inet_aton(self.host)
        self.dns = stack.enter_context(zone.Liar(
            lambda name, kind: [(A, address)] if name in HOSTS and kind == A
            else [(A, b"\0\0\0\0")] if name == "nobody.example" and kind == A
            else [(AAAA, socket.inet_pton(socket.AF_INET6, "::ffff:0.0.0.0"))] if name == "mapped.example" and kind == AAAA
            else [(A, socket.inet_aton(PRIVATE[name]))] if kind == A and "." in PRIVATE.get(name, "")
            else [(AAAA, socket.inet_pton(socket.AF_INET6, PRIVATE[name]))] if kind == AAAA and ":" in PRIVATE.get(name, "")
            else [(A, b"\x7f\0\0\1"), (A, address)] if name == "second.example" and kind == A else []))
        self.suite = stack.enter_context(valija.Instance(settings={
            "dns_servers": f'{{"127.0.0.1:{self.dns.port}"}}', "relay_loopback": "yes", "tls_trust": f'"{self.authority.file}"'}))
        self.said = web.answer(b"hello")
        self.web = {name: stack.enter_context(web.Web(self.say, context, self.host)) for name, context in {
            "good": self.authority.context("good.example", "second.example"), "wrong": self.authority.context("other.example"),
            "expired": self.authority.context("expired.example", expired=True),
            "foreign": self.authority.context("foreign.example", foreign=True), "plain": None}.items()}

    def say(self, request):
        return self.said(request) if callable(self.said) else self.said

    def fetch(self, url, *more):
        return json.loads(self.suite.valija("fetch", "--json", *more, url, check=False).stdout)

    def get(self, said=None, name="good", path="/", *more):
        if said is not None:
            self.said = said
        return self.fetch(self.web[name].url(f"{name}.example", path), *more)


@pytest.fixture(scope="module")
def world():
    with contextlib.ExitStack() as stack:
        yield World(stack)


def test_what_a_server_says(world):
    told = world.get(web.answer(b"version: STSv1\r\n\0\xff", kind="text/plain; charset=utf-8"), path="/a/../b?c=%20d")
    assert told["status"] == 200 and told["type"] == "text/plain; charset=utf-8" and told["body"].startswith("version: STSv1\r\n\0")
    request = world.web["good"].requests[-1].decode().split("\r\n")
    assert request[0] == "GET /a/../b?c=%20d HTTP/1.1"
    assert f"Host: good.example:{world.web['good'].port}" in request
    assert not any(l.lower().startswith(("cookie", "authorization", "referer", "accept-encoding")) for l in request)
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert world.get(chunked)["body"] == "abcde"
    assert world.get(web.answer(b"no", "404 Not Found"))["status"] == 404
    assert world.get(b"HTTP/1.1 100 Continue\r\n\r\n" + web.answer(b"late"))["body"] == "late"
    # For people, with what a terminal would obey taken out.
    world.said = web.answer(b"\x1b[2Jtext\n")
    assert world.suite.valija("fetch", world.web["good"].url("good.example")).stdout == "200 text/plain\n?[2Jtext\n"


def test_whom_it_believes(world):
    for name, result in {"wrong": "certificate-host-mismatch", "expired": "certificate-expired", "foreign": "certificate-not-trusted"}.items():
        before = len(world.web[name].requests)
        told = world.get(name=name)
        assert told["status"] == 0 and told["result"] == result and told["fault"], told
        assert len(world.web[name].requests) == before and not told["body"]  # not even asked
    # Plain HTTP where TLS is expected, and the other way about.
    assert world.fetch(f"https://plain.example:{world.web['plain'].port}/")["status"] == 0
    assert world.fetch(f"http://good.example:{world.web['good'].port}/", "--plain")["status"] == 0
    assert world.get(name="plain")["fault"] == "not https"
    assert world.get(web.answer(b"hello"), "plain", "/", "--plain")["body"] == "hello"


def test_a_redirect_is_told_and_not_followed(world):
    loop = web.answer(b"", "302 Found", "text/plain", f"Location: {world.web['good'].url('good.example')}")
    before = world.web["good"].connections
    told = world.get(loop)
    assert told["status"] == 302 and world.web["good"].connections == before + 1


def test_limits(world):
    assert world.get(web.answer(b"x" * 60000))["status"] == 200
    assert world.get(web.answer(b"x" * 60001))["fault"] == "the answer is too long"

    def endless(_):
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        while True:
            yield b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    assert world.get(endless)["fault"] == "the answer is too long"

    def header(_):
        yield b"HTTP/1.1 200 OK\r\n"
        while True:
            yield b"X-More: " + b"x" * 1000 + b"\r\n"
    assert "header" in world.get(header)["fault"]

    def one_line(_):
        yield b"HTTP/1.1 200 OK\r\nX-More: "
        while True:
            yield b"x" * 10000
    assert world.get(one_line)["status"] == 0


def test_answers_that_are_none(world):
    for said in (None, b"", b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
                 b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 3\r\n\r\nshort",
                 b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"HTTP/1.1 200 OK\r\n\r\nwho knows where this ends",
                 b"hello", b"HTTP/0.9 999 \r\n\r\n"):
        world.said = (lambda _: None) if said is None else said
        told = world.get()
        assert told["status"] == 0 and told["fault"], (said, told)


def test_urls_and_addresses(world):
    for url in ("ftp://good.example/", "file:///etc/passwd", "https://", "https://user@good.example/", "https://good.example:0/",
                "https://good.example:65536/", "https://good..example/", "https://-good.example/", "https://127.1/", "https://[::1/",
                "https://good.example/#fragment", "https://good.example:443:443/"):
        told = world.fetch(url)
        assert told["status"] == 0 and told["fault"], url
    assert world.fetch("https://nowhere.example/")["fault"] == "the host has no address"
    assert "nobody's" in world.fetch("https://nobody.example/")["fault"]
    assert "nobody's" in world.fetch("https://mapped.example/")["fault"] and "nobody's" in world.fetch("https://[::ffff:0:0]/")["fault"]
    world.said = web.answer(b"by address")
    assert world.fetch(f"http://{world.host}:{world.web['plain'].port}/", "--plain")["body"] == "by address"
    # One address refuses; the next is tried.
    world.said = web.answer(b"second")
    assert world.fetch(world.web["good"].url("second.example"))["body"] == "second"


def test_slow_servers_cost_no_others(world):
    """Twenty that say nothing are waited for; meanwhile others are served, and a restart of fetch ends the waiting."""
    def slow(request):
        if b"GET /slow" in request:
            yield b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
            for _ in range(200):
                if world.web["good"].over:
                    return
                time.sleep(0.1)
                yield b"x"
        else:
            yield web.answer(b"quick")
    world.said = slow
    url = world.web["good"].url("good.example")
    waiting = [subprocess.Popen(world.suite.argv("fetch", "--json", url + f"slow{n}"), stdout=subprocess.PIPE) for n in range(20)]
    try:
        valija.wait_until(lambda: sum(b"GET /slow" in r for r in world.web["good"].requests) == 20, what="twenty slow requests")
        assert world.get()["body"] == "quick"
        (fetch,) = world.suite.processes("fetch")
        assert fetch["connections"] >= 20
        os.kill(fetch["pid"], signal.SIGKILL)
        for process in waiting:
            process.wait(10)
        valija.wait_until(lambda: world.suite.valija("fetch", url, check=False).stdout == "200 text/plain\nquick\n", what="fetch anew")
    finally:
        for process in waiting:
            if process.poll() is None:
                process.kill()
            process.wait()


def test_private_networks_are_not_asked(world, own_suite):
    """What strangers write into DNS, certificates and policies leads not behind the firewall, by name or by address; but to
    networks that an administrator names."""
    for name, address in PRIVATE.items():
        for host in (name, f"[{address}]" if ":" in address else address):
            told = world.fetch(f"https://{host}/")
            assert told["status"] == 0 and "private network" in told["fault"], (host, told)
    assert "fault=\"the server's address is of a private network" in world.suite.log()
    own_suite.configure(dns_servers=f'{{"127.0.0.1:{world.dns.port}"}}', tls_trust=f'"{world.authority.file}"',
                        fetch_networks=f'{{"10.9.0.0/16", "{world.host}"}}')
    own_suite.valija("reload")
    world.said = web.answer(b"ours")
    url = world.web["good"].url("good.example")
    valija.wait_until(lambda: json.loads(own_suite.valija("fetch", "--json", url, check=False).stdout)["body"] == "ours", 10, "ours")
    assert "private network" in json.loads(own_suite.valija("fetch", "--json", "https://10.8.0.1/", check=False).stdout)["fault"]


def test_this_machine_is_not_asked(world, own_suite):
    """Whatever DNS says of a policy's host: no connection to ourselves (HARDENING R5)."""
    own_suite.configure(dns_servers=f'{{"127.0.0.1:{world.dns.port}"}}', tls_trust=f'"{world.authority.file}"')
    own_suite.valija("reload")
    before = world.web["good"].connections
    told = json.loads(own_suite.valija("fetch", "--json", world.web["good"].url("good.example"), check=False).stdout)
    assert told["status"] == 0 and "own" in told["fault"] and world.web["good"].connections == before
