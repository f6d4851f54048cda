"""OCSP: what is stapled, whose word counts, and certificates that must come with a response."""

import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest

import valija
from test_cert import subjects
from test_tls import ask, openssl, put, tls


class Authority:
    """The instance's own authority as an OCSP service, that lets others sign, or not."""

    def __init__(self, suite):
        self.suite, self.where = suite, suite.dir / "state/tls"
        self.tmp = suite.tmp
        # (name, extended key usage): whom the authority lets sign, and whom not.
        for name, usage in [("delegate", "extendedKeyUsage=OCSPSigning"), ("clerk", "extendedKeyUsage=serverAuth")]:
            self.certify(name, usage, serial=f"0x5{len(name)}")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                self.tmp / "stranger.key", "-out", self.tmp / "stranger.crt", "-subj", "/CN=stranger", "-days", "9",
                "-addext", "extendedKeyUsage=OCSPSigning")

    def certify(self, name, extensions, serial, key=None):
        key = key or self.key(name)
        (self.tmp / "extensions").write_text(f"[x]\nkeyUsage=digitalSignature\n{extensions}\n")
        request = openssl("req", "-new", "-key", key, "-subj", f"/CN={name}")
        made = openssl("x509", "-req", "-CA", self.where / "ca.crt", "-CAkey", self.where / "ca.key", "-days", "50",
                       "-set_serial", serial, "-extfile", self.tmp / "extensions", "-extensions", "x", stdin=request)
        (self.tmp / f"{name}.crt").write_bytes(made)
        return made

    def key(self, name):
        path = self.tmp / f"{name}.key"
        path.write_bytes(openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"))
        path.chmod(0o400)
        return path

    def server(self, serial, *extensions, name="localhost"):
        """A certificate, with its chain, for the key in service."""
        rows = "\n".join([f"subjectAltName=DNS:{name}", *extensions])
        return self.certify("server", rows, f"0x{serial}", self.where / "server.key") + (self.where / "ca.crt").read_bytes()

    def index(self, serial, revoked=False):
        state = "R\t480101000000Z\t250101000000Z" if revoked else "V\t480101000000Z\t"
        (self.tmp / "index").write_text(f"{state}\t{serial}\tunknown\t/CN=localhost\n")
        return self.tmp / "index"

    def signer(self, who):
        if who == "ca":
            return self.where / "ca.crt", self.where / "ca.key"
        return self.tmp / f"{who}.crt", self.tmp / f"{who}.key"

    def response(self, serial, *more, signer="ca", revoked=False):
        crt, key = self.signer(signer)
        openssl("ocsp", "-index", self.index(serial, revoked), "-CA", self.where / "ca.crt", "-rsigner", crt, "-rkey", key,
                "-issuer", self.where / "ca.crt", "-serial", f"0x{serial}", *(more or ["-ndays", "3"]), "-respout",
                self.tmp / "response")
        return (self.tmp / "response").read_bytes()


def shown(suite, *more):
    """Is a good response stapled?"""
    done = subprocess.run(["openssl", "s_client", "-status", "-CAfile", suite.dir / "state/tls/ca.crt", *more, "-connect",
                           f"127.0.0.1:{suite.port('imaps')}"], stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    return "Cert Status: good" in done.stdout.decode(errors="replace")


def test_only_the_authority_is_believed(own_suite):
    """FILE.ocsp beside a certificate: stapled when its authority signed it, or who may sign for it, for this
    certificate, now; anything else is left out, with a reason."""
    suite = own_suite
    authority = Authority(suite)
    crt = suite.dir / "state/tls/server.crt"
    put(crt, authority.server("7A31"), crt)
    rows = [(authority.response("7A31"), None),
            (authority.response("7A32"), "not of this certificate"),
            (authority.response("7A31", signer="delegate"), None),
            (authority.response("7A31", signer="clerk"), "not signed by the certificate's authority"),
            (authority.response("7A31", signer="stranger"), "not signed by the certificate's authority"),
            (authority.response("7A31", revoked=True), "the certificate is revoked"),
            (authority.response("7A31")[:-40], "cannot be read"),
            (b"nonsense", "cannot be read")]
    for number, (response, reason) in enumerate(rows):
        before = len(suite.log())
        (suite.dir / "state/tls/server.crt.ocsp").write_bytes(response)
        suite.valija("reload")
        assert shown(suite, "-tls1_2" if number % 2 else "-tls1_3") == (reason is None), (number, reason)
        said = [line for line in suite.log()[before:].splitlines() if "ocsp-response-unused" in line]
        assert bool(said) == bool(reason), (number, said)
        assert all(reason in line for line in said), (number, reason, said)
    sock = tls(suite, "imaps")
    assert ask(sock, b"NOOP").startswith(b"t OK")
    sock.close()


@pytest.mark.long
def test_a_response_is_not_shown_beyond_its_end(own_suite):
    suite = own_suite
    authority = Authority(suite)
    crt = suite.dir / "state/tls/server.crt"
    put(crt, authority.server("7A33"), crt)
    response = authority.response("7A33", "-nmin", "1")   # the shortest that openssl makes
    (suite.dir / "state/tls/server.crt.ocsp").write_bytes(response)
    suite.valija("reload")
    assert shown(suite)
    valija.wait_until(lambda: not shown(suite), 80, "the end of the response", pause=1)


def test_one_that_needs_a_response_gives_way(own_suite):
    """Must-staple (RFC 7633): with a response it serves; without, another certificate for the name does."""
    suite = own_suite
    authority = Authority(suite)
    where = suite.dir / "state/tls"
    owed, other = suite.tmp / "owed.crt", suite.tmp / "other.crt"
    owed.write_bytes(authority.server("7A34", "tlsfeature=status_request"))
    key = authority.key("other")
    other.write_bytes(authority.certify("other", "subjectAltName=DNS:localhost", "0x7A35", key)
                      + (where / "ca.crt").read_bytes())
    suite.configure(tls_certificate=f'{{"{owed}", "{other}"}}', tls_key=f'{{"{where}/server.key", "{key}"}}')

    def serial():
        with tls(suite, "imaps") as sock:
            return sock.getpeercert()["serialNumber"]

    suite.valija("reload")
    assert serial() == "7A35"
    (suite.tmp / "owed.crt.ocsp").write_bytes(authority.response("7A34"))
    suite.valija("reload")
    assert serial() == "7A34" and shown(suite)
    # Alone, it is better than nothing.
    (suite.tmp / "owed.crt.ocsp").unlink()
    suite.configure(tls_certificate=f'"{owed}"', tls_key=f'"{where}/server.key"')
    suite.valija("reload")
    assert serial() == "7A34"


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Responder:
    """openssl ocsp as the authority's service, which lets a delegate sign."""

    def __init__(self, authority):
        self.authority, self.port, self.process = authority, free_port(), None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/ocsp"

    def start(self, serial, *more, revoked=False, signer="delegate"):
        self.stop()
        crt, key = self.authority.signer(signer)
        said = self.authority.tmp / "responder"
        with open(said, "wb") as out:
            self.process = subprocess.Popen(
                ["openssl", "ocsp", "-port", str(self.port), "-index", self.authority.index(serial, revoked), "-CA",
                 self.authority.where / "ca.crt", "-rsigner", crt, "-rkey", key, *(more or ["-ndays", "4"])],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        # It serves one after the other: one that only connects would hold it up.
        valija.wait_until(lambda: b"waiting for" in said.read_bytes(), 10, "the responder")

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
        self.process = None


@pytest.fixture
def responder(own_suite):
    made = Responder(Authority(own_suite))
    own_suite.configure(relay_loopback="yes")     # fetch connects to this machine only then
    own_suite.valija("reload")
    yield own_suite, made.authority, made
    made.stop()


def told(suite):
    """What `valija status` says of the one certificate."""
    return json.loads(suite.valija("status", "--json").stdout)["certificates"][0]


def stapled_everywhere(suite):
    """By every worker: they take turns."""
    return all(shown(suite) for _ in range(2 * len(suite.processes("tls"))))


def test_an_answer_is_fetched_and_kept(responder):
    """From the URL in the certificate, by a delegate of the authority; after a restart it is there without asking."""
    suite, authority, service = responder
    crt = suite.dir / "state/tls/server.crt"
    service.start("7A41")
    put(crt, authority.server("7A41", f"authorityInfoAccess=OCSP;URI:{service.url}", "tlsfeature=status_request"), crt)
    suite.valija("reload")
    valija.wait_until(lambda: stapled_everywhere(suite), 15, "the answer of the authority")
    assert re.search(r"ocsp-answered .*name=localhost hours=9[56]", suite.log())
    kept = list((suite.dir / "state/ocsp").iterdir())
    assert len(kept) == 1 and kept[0].name == openssl("dgst", "-sha256", "-r", stdin=openssl(
        "x509", "-outform", "der", "-in", crt)).decode().split()[0]
    # Other settings, the same certificate: workers read it anew, and its answer stays.
    suite.valija("reload")
    assert stapled_everywhere(suite)
    assert told(suite)["ocsp"] == "good" and told(suite)["ocsp_until"] > time.time() + 90 * 3600
    service.stop()
    asked = suite.log().count(" fetch ")
    # A worker that comes anew is told; so are all after a restart. Nobody is asked: half of the time is not over.
    pid = suite.processes("tls")[0]["pid"]
    os.kill(pid, signal.SIGKILL)
    valija.wait_until(lambda: len(suite.processes("tls")) == 2 and pid not in [p["pid"] for p in suite.processes("tls")],
                      10, "another worker")
    valija.wait_until(lambda: stapled_everywhere(suite), 5, "what is known, at the new one")
    suite.stop()
    suite.start()
    valija.wait_until(lambda: stapled_everywhere(suite), 5, "what was kept")
    assert suite.log().count(" fetch ") == asked and "ocsp-failed" not in suite.log()
    # Another certificate: the old answer is of nobody now. The service is away: one line, whatever is tried.
    put(crt, authority.server("7A42", f"authorityInfoAccess=OCSP;URI:{service.url}"), crt)
    suite.valija("reload")
    valija.wait_until(lambda: "ocsp-failed" in suite.log(), 10, "a line in the log")
    assert not shown(suite) and not list((suite.dir / "state/ocsp").iterdir())
    assert told(suite)["ocsp"] == "no answer"
    ocsp = suite.processes("ocsp")[0]
    assert ocsp["seccomp"] == 2 and ocsp["landlock"] > 0 and ocsp["capabilities"] == []
    # An administrator's own file goes before.
    (suite.dir / "state/tls/server.crt.ocsp").write_bytes(authority.response("7A42"))
    suite.valija("reload")
    valija.wait_until(lambda: stapled_everywhere(suite), 5, "the response of the file")
    assert told(suite)["ocsp"] is None
    suite.configure(tls_ocsp="no")
    suite.valija("reload")
    valija.wait_until(lambda: not suite.processes("ocsp"), 5, "the end of ocsp")


def test_a_dropped_offer_changes_nothing(responder):
    """It had a file for what is asked about: whoever refuses the offer, the asking goes on."""
    suite, authority, service = responder
    crt = suite.dir / "state/tls/server.crt"
    service.start("7A46")
    put(crt, authority.server("7A46", f"authorityInfoAccess=OCSP;URI:{service.url}"), crt)
    suite.valija("reload")
    valija.wait_until(lambda: stapled_everywhere(suite), 15, "the answer of the authority")
    own_file = suite.dir / "state/tls/server.crt.ocsp"
    own_file.write_bytes(authority.response("7A46"))
    key = authority.key("another")
    suite.configure(tls_certificate=f'{{"{crt}", "{authority.where}/ca.crt"}}',
                    tls_key=f'{{"{suite.dir}/state/tls/server.key", "{key}"}}')
    done = suite.valija("reload", check=False)
    assert done.returncode and "does not belong to the certificate" in done.stdout + done.stderr + suite.log()
    own_file.unlink()
    assert told(suite)["ocsp"] == "good"
    # It still has the answer: a worker that comes anew is told.
    pids = [p["pid"] for p in suite.processes("tls")]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    valija.wait_until(lambda: len({p["pid"] for p in suite.processes("tls")} - set(pids)) == len(pids), 10, "other workers")
    valija.wait_until(lambda: stapled_everywhere(suite), 5, "what is known, at the new ones")
    assert told(suite)["ocsp"] == "good"


def test_a_lie_is_not_stapled(responder):
    """What is revoked is said, loudly; what others sign is nothing."""
    suite, authority, service = responder
    crt = suite.dir / "state/tls/server.crt"
    service.start("7A43", signer="stranger")
    put(crt, authority.server("7A43", f"authorityInfoAccess=OCSP;URI:{service.url}"), crt)
    suite.valija("reload")
    valija.wait_until(lambda: "nor by whom it lets sign" in suite.log(), 10, "the refusal")
    assert not shown(suite) and not list((suite.dir / "state/ocsp").iterdir())
    service.start("7A44", revoked=True)
    put(crt, authority.server("7A44", f"authorityInfoAccess=OCSP;URI:{service.url}"), crt)
    postmaster = suite.user_add("postmaster")
    suite.valija("reload")
    valija.wait_until(lambda: "certificate-revoked" in suite.log(), 10, "the line about it")
    assert not shown(suite)
    revoked = "The certificate of localhost is revoked"
    valija.wait_until(lambda: revoked in subjects(suite, postmaster), 15, "the mail to postmaster")
    assert "REVOKED by its authority" in suite.valija("status").stdout
    # Said once, whatever is put in force, and also across a restart.
    suite.valija("reload")
    suite.stop()
    suite.start()
    valija.wait_until(lambda: told(suite)["ocsp"] == "revoked", 10, "what is known, after a restart")
    time.sleep(1)      # master looks, 0.2 s after it was told
    assert subjects(suite, postmaster).count(revoked) == 1
    sock = tls(suite, "imaps")          # it serves on: who is cut off by what an authority says can mend nothing
    assert ask(sock, b"NOOP").startswith(b"t OK")
    sock.close()


@pytest.mark.long
def test_a_service_that_fails_and_returns(responder):
    """The old answer goes on until its end, one warning meanwhile, and again when the service is back."""
    suite, authority, service = responder
    crt = suite.dir / "state/tls/server.crt"
    service.start("7A45", "-nmin", "2")
    put(crt, authority.server("7A45", f"authorityInfoAccess=OCSP;URI:{service.url}"), crt)
    suite.valija("reload")
    valija.wait_until(lambda: stapled_everywhere(suite), 15, "the answer of the authority")
    service.stop()
    valija.wait_until(lambda: "ocsp-failed" in suite.log(), 90, "the first attempt that fails", pause=1)
    assert shown(suite)
    valija.wait_until(lambda: not shown(suite), 100, "the end of the answer", pause=1)
    assert suite.log().count("ocsp-failed") == 1
    assert suite.log().count(" fetch ") >= 3
    service.start("7A45")
    valija.wait_until(lambda: stapled_everywhere(suite), 100, "the next answer", pause=1)
    assert re.search(r"ocsp-answered name=localhost hours=9[56]", suite.log())
