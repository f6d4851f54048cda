"""TLS in numbers: resumption on every port at every worker, and thousands of connections in one."""

import contextlib
import resource
import socket
import ssl
import time

import pytest

import valija
from test_tls import line

SERVICES = ["smtp", "submission", "submissions", "imap", "imaps"]


def secured(suite, service, context, session=None):
    """A TLS connection to a service, by STARTTLS where that is how; nothing of what comes inside is read."""
    raw = suite.connect(service)
    if service in ("smtp", "submission", "imap"):
        line(raw)
        if service == "imap":
            raw.sendall(b"a STARTTLS\r\n")
        else:
            raw.sendall(b"EHLO c.example\r\n")
            while line(raw)[3:4] == b"-":
                pass
            raw.sendall(b"STARTTLS\r\n")
        line(raw)
    return context.wrap_socket(raw, server_hostname="localhost", session=session)


def speak(sock, service):
    """One command and its answer: a ticket comes with it."""
    if service in ("imaps", "submissions"):
        line(sock)
    sock.sendall(b"t NOOP\r\n" if service.startswith("imap") else b"NOOP\r\n")
    assert line(sock).startswith((b"t OK", b"250"))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("service", SERVICES)
def test_resumption_on_every_port_at_every_worker(suite, service, version):
    context = suite.tls()
    context.minimum_version = context.maximum_version = version
    served = {p["index"]: p["served"] for p in suite.processes("tls")}
    first = secured(suite, service, context)
    assert not first.session_reused
    speak(first, service)
    session = first.session
    first.close()
    for _ in range(4):          # twice at each worker: they take turns, but in quick succession
        time.sleep(0.03)
        again = secured(suite, service, context, session)
        assert again.session_reused
        speak(again, service)
        session = again.session if version == ssl.TLSVersion.TLSv1_3 else session
        again.close()
    assert all(p["served"] > served[p["index"]] for p in suite.processes("tls")), "every worker had its part"


def descriptors(wanted):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, wanted)), hard))
    return min(hard, max(soft, wanted))


def rss(pid):
    return int(valija.proc_status(pid)["VmRSS"].split()[0])


@pytest.mark.long
def test_thousands_of_connections_in_one_worker():
    """3,000 at a time through one worker: all answer, in turn and at once; an idle one costs it at most 24 KiB."""
    count = 3000
    if descriptors(count + 500) < count + 500:
        pytest.skip("RLIMIT_NOFILE is too low for 3,000 connections")
    more = {"tls_processes": 1, "connections": 20000, "connections_per_address": 20000}
    with valija.Instance(settings=more) as suite:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

        def one():
            sock = context.wrap_socket(socket.create_connection(("127.0.0.1", suite.port("imaps")), 20))
            assert line(sock).startswith(b"* OK")
            return sock

        worker = suite.processes("tls")[0]["pid"]
        held = [one() for _ in range(200)]
        before = rss(worker)
        held += [one() for _ in range(count - 200)]
        each = (rss(worker) - before) / (count - 200)
        print(f"{each:.1f} KiB for an idle connection")
        assert each <= 24
        assert suite.processes("tls")[0]["connections"] == count
        begun = time.monotonic()
        for sock in held:
            sock.sendall(b"t NOOP\r\n")
        for sock in held:
            assert line(sock).startswith(b"t OK")
        print(f"{count} commands at once: {time.monotonic() - begun:.1f} s")
        # Beside all of them a mailbox works.
        user = suite.new_user("many")
        with contextlib.closing(suite.imap(user).socket()) as _:
            pass
        for sock in held:
            sock.close()
        valija.wait_until(lambda: suite.processes("tls")[0]["connections"] == 0, 30, "the end of all")
        assert suite.processes("tls")[0]["pid"] == worker
