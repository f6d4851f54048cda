"""A provider's server that takes all mail: STARTTLS or TLS from the first byte, logins by each mechanism, others for some
senders, and what happens when the password is wrong."""

import base64
import hashlib
import hmac
import os
import re
import ssl
import subprocess

import pytest

import mails
import peer
import valija
import zone

pytestmark = zone.needs_knot
SECRET = "a secret with spaces"


def scram(talk, line):
    """The server's side of SCRAM-SHA-256 (RFC 7677)."""
    def say(text):
        talk.client.sendall(text.encode() + b"\r\n")
    first = base64.b64decode(line.split(" ")[2]).decode()
    bare = first.split(",", 2)[2]
    salt, rounds = os.urandom(12), 4096
    server_first = f"r={bare.split('r=')[1]}server,s={base64.b64encode(salt).decode()},i={rounds}"
    say("334 " + base64.b64encode(server_first.encode()).decode())
    final = base64.b64decode(talk.line()).decode()
    without, proof = final.rsplit(",p=", 1)
    salted = hashlib.pbkdf2_hmac("sha256", talk.peer.secret.encode(), salt, rounds)
    message = f"{bare},{server_first},{without}".encode()
    key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
    if bytes(a ^ b for a, b in zip(key, signature)) != base64.b64decode(proof):
        say("535 5.7.8 wrong")
        return
    mine = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
    say("334 " + base64.b64encode(b"v=" + base64.b64encode(mine)).decode())
    talk.line()
    talk.peer.logins.append("SCRAM")
    say("235 2.7.0 in")


def plain(talk, line):
    words = line.split(" ")
    if words[1] == "PLAIN":
        said = base64.b64decode(words[2]).split(b"\0")[1:]
    elif words[1] == "LOGIN":
        talk.client.sendall(b"334 VXNlcm5hbWU6\r\n")
        login = base64.b64decode(talk.line())
        talk.client.sendall(b"334 UGFzc3dvcmQ6\r\n")
        said = [login, base64.b64decode(talk.line())]
    else:
        said = re.fullmatch(rb"user=(.*)\1auth=Bearer (.*)\1\1".replace(rb"\1", b"\x01"), base64.b64decode(words[2])).groups()
    good = list(said) == [b"us@provider.example", talk.peer.secret.encode()]
    talk.peer.logins.append(words[1])
    talk.client.sendall(b"235 2.7.0 in\r\n" if good else b"535 5.7.8 wrong\r\n")


class Provider(peer.Peer):
    def __init__(self, mechanisms, *more, **options):
        self.secret, self.logins = SECRET, []
        super().__init__(*more, auth=(mechanisms, scram if mechanisms.startswith("SCRAM") else plain),
                         answers={"mail": lambda line: ... if self.logins else "530 5.7.0 log in first"}, **options)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    if not zone.available():
        pytest.skip("needs knotd (Debian: knot, knot-dnsutils)")
    d = tmp_path_factory.mktemp("relayhost")
    for name, subject, more in (("ca", "/CN=test authority", ["-x509", "-days", "30"]),):
        subprocess.run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                        d / f"{name}.key", "-out", d / f"{name}.crt", "-subj", subject, *more], check=True, capture_output=True)
    subprocess.run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                    d / "server.key", "-out", d / "server.csr", "-subj", "/CN=smtp.provider.example"], check=True, capture_output=True)
    (d / "ext").write_text("subjectAltName=DNS:smtp.provider.example\n")
    subprocess.run(["openssl", "x509", "-req", "-in", d / "server.csr", "-CA", d / "ca.crt", "-CAkey", d / "ca.key", "-days", "30",
                    "-CAcreateserial", "-extfile", d / "ext", "-out", d / "server.crt"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(d / "server.crt", d / "server.key")
    credentials = d / "credentials"
    with zone.Zone("smtp.provider.example. A 127.0.0.1\nother.provider.example. A 127.0.0.1\n") as names, \
            valija.Instance(settings={**names.settings(), "tls_trust": f'"{d}/ca.crt"', "relay_reply_seconds": "5",
                                      "relay_reuse_seconds": "0"}) as suite:
        yield suite, context, credentials


def configure(suite, credentials, lines, **settings):
    credentials.write_text(lines)
    credentials.chmod(0o600)
    suite.configure(relay_credentials=f'"{credentials}"', **settings)
    suite.valija("reload")


def send(suite, user, recipient="x@anywhere.example"):
    with suite.smtp(user) as smtp:
        smtp.sendmail(user, [recipient], mails.plain(user, recipient))


@pytest.mark.parametrize("mechanisms, used, secret", [
    ("PLAIN LOGIN", "PLAIN", SECRET), ("LOGIN", "LOGIN", SECRET), ("SCRAM-SHA-256 PLAIN", "SCRAM", SECRET),
    ("XOAUTH2 PLAIN", "XOAUTH2", "oauth:tok3n")])
def test_a_login_at_the_provider(world, mechanisms, used, secret):
    suite, context, credentials = world
    user = suite.new_user("sender")
    with Provider(mechanisms, tls=context) as there:
        there.secret = secret.removeprefix("oauth:")
        configure(suite, credentials, f"# logins\nsmtp.provider.example:{there.port} us@provider.example {secret}\n",
                  relayhost=f'"smtp.provider.example:{there.port}"')
        send(suite, user)
        valija.wait_until(lambda: there.messages, 10, "the message")
        assert there.logins == [used] and there.messages[0]["tls"]


def test_no_password_without_a_certificate(world):
    """A server whose certificate is for another name, or that offers no TLS, never sees the password; the mail waits."""
    suite, context, credentials = world
    user = suite.new_user("sender")
    for name, tls in (("other.provider.example", context), ("smtp.provider.example", None)):
        with Provider("PLAIN", tls=tls) as there:
            configure(suite, credentials, f"{name}:{there.port} us@provider.example {SECRET}\n", relayhost=f'"{name}:{there.port}"')
            before = suite.log().count("status=deferred")
            send(suite, user)
            valija.wait_until(lambda: suite.log().count("status=deferred") > before, 10, "the deferral")
            assert not there.logins and not there.messages and not suite.delivered(user)


def test_a_wrong_password_is_no_bounce(world):
    suite, context, credentials = world
    user = suite.new_user("sender")
    with Provider("PLAIN", tls=context) as there:
        configure(suite, credentials, f"smtp.provider.example:{there.port} us@provider.example wrong\n",
                  relayhost=f'"smtp.provider.example:{there.port}"')
        before = suite.log().count("relayhost-login")
        send(suite, user)
        valija.wait_until(lambda: suite.log().count("relayhost-login") > before, 10, "the error")
        assert not there.messages and not suite.delivered(user)
        valija.wait_until(lambda: "(in reply to AUTH)" in suite.valija("queue").stdout, 5, "the reason in the queue")


def test_a_relayhost_for_some_senders(world):
    suite, context, credentials = world
    first, second = suite.new_user("first"), suite.new_user("second")
    with Provider("PLAIN", tls=context) as there, peer.Peer() as usual:
        configure(suite, credentials, f"smtp.provider.example:{there.port} for={first} us@provider.example {SECRET}\n",
                  relayhost=f'"127.0.0.1:{usual.port}"', sender_relayhosts=f'{{"{first} smtp.provider.example:{there.port}"}}')
        send(suite, first)
        send(suite, second)
        valija.wait_until(lambda: there.messages and usual.messages, 10, "both messages")
        assert first in there.messages[0]["sender"] and second in usual.messages[0]["sender"]


def test_nobody_else_reads_the_credentials(world):
    suite, _, credentials = world
    suite.configure(relay_credentials=f'"{credentials}"')
    credentials.chmod(0o644)
    done = suite.valija("check", check=False)
    assert done.returncode != 0 and "relay_credentials" in done.stdout + done.stderr
    credentials.chmod(0o600)
