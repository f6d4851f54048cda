"""TLS as scanners and attackers see it: sslscan, testssl.sh, and a thousand handshakes that stand still."""

import contextlib
import json
import re
import shutil
import socket
import statistics
import subprocess
import time
import xml.etree.ElementTree

import pytest

import valija
from test_tls import line, tls


@pytest.mark.skipif(not shutil.which("sslscan"), reason="sslscan is not installed")
@pytest.mark.parametrize("service,more", [("imaps", []), ("smtp", ["--starttls-smtp"]),
                                          pytest.param("submission", ["--starttls-smtp"], marks=pytest.mark.long),
                                          pytest.param("submissions", [], marks=pytest.mark.long),
                                          pytest.param("imap", ["--starttls-imap"], marks=pytest.mark.long)])
def test_sslscan_finds_nothing_old(suite, service, more):
    done = subprocess.run(["sslscan", "--no-colour", "--xml=-", *more, f"127.0.0.1:{suite.port(service)}"],
                          capture_output=True, timeout=60, check=True)
    found = xml.etree.ElementTree.fromstring(done.stdout)
    spoken = {p.get("version"): p.get("enabled") for p in found.iter("protocol") if p.get("type") == "tls"}
    assert spoken == {"1.0": "0", "1.1": "0", "1.2": "1", "1.3": "1"}
    ciphers = [c.get("cipher") for c in found.iter("cipher")]
    assert len(ciphers) >= 6
    assert all(re.search("GCM|CHACHA20", c) and re.match("TLS_|ECDHE", c) for c in ciphers), ciphers
    assert found.find(".//renegotiation").get("supported") == "0"
    assert found.find(".//heartbleed[@vulnerable='1']") is None


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("testssl"), reason="testssl.sh is not installed")
@pytest.mark.parametrize("service,more", [("imaps", []), ("submissions", []), ("smtp", ["--starttls", "smtp"]),
                                          ("submission", ["--starttls", "smtp"]), ("imap", ["--starttls", "imap"])])
def test_testssl_finds_nothing_above_low(suite, tmp_path, service, more):
    told = tmp_path / "found.json"
    subprocess.run(["testssl", "--quiet", "--color", "0", "--warnings", "off", "--severity", "MEDIUM", "--nodns", "none",
                    "--add-ca", suite.dir / "state/tls/ca.crt", "--jsonfile", told, *more, "--ip", "127.0.0.1",
                    f"localhost:{suite.port(service)}"], capture_output=True, timeout=500, check=False)
    found = {f["id"]: f["finding"] for f in json.loads(told.read_text())
             if f["severity"] in ("MEDIUM", "HIGH", "CRITICAL")}
    # An authority that `valija init` made has no revocation service.
    found.pop("cert_revocation", None)
    assert not found, found
    assert told.stat().st_size > 2


def say_starttls(suite, service, sock):
    """The words that lead into TLS on a port that begins in clear."""
    line(sock)
    if service == "imap":
        sock.sendall(b"a STARTTLS\r\n")
    else:
        sock.sendall(b"EHLO c.example\r\n")
        while line(sock)[3:4] == b"-":
            pass
        sock.sendall(b"STARTTLS\r\n")
    line(sock)


def stall(suite, service, address, count):
    """Connections from `address` that begin a handshake and say no more."""
    stalled = []
    for _ in range(count):
        with contextlib.suppress(OSError):
            sock = socket.create_connection(("127.0.0.1", suite.port(service)), 5, (address, 0))
            stalled.append(sock)
            if service not in ("imaps", "submissions"):
                say_starttls(suite, service, sock)
            sock.setblocking(False)
            sock.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    return stalled


def handshake_milliseconds(suite, service):
    begun = time.monotonic()
    if service in ("imaps", "submissions"):
        tls(suite, service).close()
    else:
        raw = suite.connect(service)
        say_starttls(suite, service, raw)
        suite.tls().wrap_socket(raw, server_hostname="localhost").close()
    return (time.monotonic() - begun) * 1000


@pytest.mark.parametrize("addresses,each", [(1, 200), pytest.param(1, 1000, marks=pytest.mark.long),
                                            pytest.param(50, 20, marks=pytest.mark.long)])
def test_t7_stalled_handshakes_delay_nobody(addresses, each):
    """HARDENING T7: of one address or of many, stalled on every port; each port compared within one run."""
    with valija.Instance(settings={"tls_handshake_seconds": 60, "connections_per_address": 1000}) as suite:
        services = ["imaps", "submissions", "smtp", "submission", "imap"]

        def median(service):
            return statistics.median(handshake_milliseconds(suite, service) for _ in range(7))

        median("imaps")
        alone = {service: median(service) for service in services}
        stalled = [sock for n in range(addresses) for service in services for sock in
                   stall(suite, service, f"127.0.9.{n + 1}", each // len(services))]
        assert len(stalled) >= addresses * each * 0.9
        beside = {service: median(service) for service in services}
        for service in services:
            assert beside[service] < alone[service] + 100, (alone, beside)
        # Of one address, no more than a worker allows is left unfinished; of many, all may be.
        if addresses == 1:
            workers = len(suite.processes("tls"))
            valija.wait_until(lambda: sum(p["connections"] for p in suite.processes("tls")) <= 64 * workers, 20,
                              "most of them to be gone")
        for sock in stalled:
            sock.close()
