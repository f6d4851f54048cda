"""A provider's server that takes all mail: STARTTLS or TLS from the first byte, logins by each mechanism, others for some
senders, and what happens when the password is wrong."""

import base64
import hashlib
import hmac
import os
import pathlib
import re
import signal
import shutil
import ssl
import subprocess
import tempfile
import time

import pytest

import mails
import peer
import valija
import web
import zone

pytestmark = zone.needs_knot
SECRET = "a secret with spaces"
IMPLICIT = web.loopback()               # of the server at port 465


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
    (d / "ext").write_text("subjectAltName=DNS:smtp.provider.example,DNS:tls.provider.example\n")
    subprocess.run(["openssl", "x509", "-req", "-in", d / "server.csr", "-CA", d / "ca.crt", "-CAkey", d / "ca.key", "-days", "30",
                    "-CAcreateserial", "-extfile", d / "ext", "-out", d / "server.crt"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(d / "server.crt", d / "server.key")
    credentials = d / "credentials"
    with zone.Zone("smtp.provider.example. A 127.0.0.1\nother.provider.example. A 127.0.0.1\n"
                   f"tls.provider.example. A {IMPLICIT}\n") as names, \
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


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to serve at port 465")
def test_tls_from_the_first_byte(world):
    """At port 465; a server that does not speak it there hears nothing, no password above all."""
    suite, context, credentials = world
    user = suite.new_user("sender")
    configure(suite, credentials, f"tls.provider.example:465 us@provider.example {SECRET}\n", relayhost='"tls.provider.example:465"')
    with Provider("PLAIN", IMPLICIT, 465) as clear:
        before = suite.log().count("status=deferred")
        send(suite, user)
        valija.wait_until(lambda: suite.log().count("status=deferred") > before, 15, "the deferral")
        assert clear.connections and not clear.logins and not any(word in c for c in clear.commands for word in ("EHLO", "AUTH", "MAIL"))
    with Provider("PLAIN", IMPLICIT, 465, tls=context, implicit=True) as there:
        suite.valija("queue", "retry", "--all")
        valija.wait_until(lambda: there.messages, 10, "the message")
        assert there.logins == ["PLAIN"] and there.messages[0]["tls"]
        assert not [c for c in there.commands if c.upper().startswith("STARTTLS")]


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


def token_program(tmp_path, text):
    program = tmp_path / "token"
    program.write_text("#!/bin/sh\n" + text)
    program.chmod(0o755)
    tmp_path.chmod(0o755)
    return program


@pytest.fixture
def public_path():
    place = pathlib.Path(tempfile.mkdtemp(prefix="valija-token-", dir="/tmp"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


def test_a_token_from_a_program(world, public_path):
    """It runs once for several messages, as nobody, with its login and nothing of ours; a refusal is no reason for many runs."""
    suite, context, credentials = world
    user = suite.new_user("sender")
    runs = public_path / "runs"
    runs.mkdir(mode=0o777)
    runs.chmod(0o777)
    program = token_program(public_path, f'env > {runs}/$$; id -u >> {runs}/$$; echo "$1" >> {runs}/$$; echo trouble >&2; echo tok3n\n')
    with Provider("XOAUTH2 PLAIN", tls=context) as there:
        there.secret = "tok3n"
        configure(suite, credentials, f"smtp.provider.example:{there.port} us@provider.example oauth-command:\n",
                  relayhost=f'"smtp.provider.example:{there.port}"', relay_processes=1,
                  relay_token_commands=f'{{"us@provider.example {program}"}}')
        for n in range(3):
            send(suite, user)
            valija.wait_until(lambda: len(there.messages) > n, 10, "the message")
        assert there.logins == ["XOAUTH2"] * 3
        (said,) = [p.read_text() for p in runs.iterdir()]
        assert "VALIJA_LOGIN=us@provider.example\n" in said and said.endswith("us@provider.example\n")
        assert {l.split("=")[0] for l in said.splitlines() if "=" in l} <= {"PATH", "VALIJA_LOGIN", "PWD", "_", "SHLVL", "OLDPWD"}
        if os.getuid() == 0 and not suite.as_user:
            assert said.splitlines()[-2] != "0"
        assert "tok3n" not in suite.log() and "trouble" not in suite.log()
        there.secret = "another"
        send(suite, user)
        valija.wait_until(lambda: suite.log().count("relayhost-login"), 10, "the refusal")
        assert len(list(runs.iterdir())) == 1           # and a while before it is asked again


def slow_token(public_path, token):
    """A program that says that it runs, in runs/, and prints the token when there is a file "go"."""
    runs = public_path / "runs"
    if not runs.exists():
        runs.mkdir()
        runs.chmod(0o777)
    return runs, token_program(public_path, f': > {runs}/$$\nwhile [ ! -e {public_path}/go ]; do sleep 0.05; done\necho {token}\n')


def test_a_reload_while_the_program_runs(world, public_path):
    """Who waits gets the token of the program that runs; it is not kept: the next mail asks the new one."""
    suite, context, credentials = world
    user = suite.new_user("sender")
    runs, program = slow_token(public_path, "old")
    login = f"us@provider.example {program}"
    with Provider("XOAUTH2 PLAIN", tls=context) as there:
        there.secret = "old"
        line, hop = f"smtp.provider.example:{there.port} us@provider.example oauth-command:\n", f'"smtp.provider.example:{there.port}"'
        configure(suite, credentials, line, relayhost=hop, relay_processes=1, relay_token_commands=f'{{"{login}"}}')
        send(suite, user)
        valija.wait_until(lambda: list(runs.iterdir()), 10, "the program")
        new = public_path / "new"
        new.write_text("#!/bin/sh\necho new\n")
        new.chmod(0o755)
        configure(suite, credentials, line, relayhost=hop, relay_processes=1, relay_token_commands=f'{{"us@provider.example {new}"}}')
        (public_path / "go").touch()
        valija.wait_until(lambda: len(there.messages) == 1, 10, "the first message")
        there.secret = "new"
        send(suite, user)
        valija.wait_until(lambda: len(there.messages) == 2, 10, "the second message")
        assert there.logins == ["XOAUTH2"] * 2 and len(list(runs.iterdir())) == 1


def test_relay_dies_while_the_program_runs(world, public_path):
    """A new relay asks anew; what the first program prints is nobody's any more, and it harms nobody."""
    suite, context, credentials = world
    user = suite.new_user("sender")
    runs, program = slow_token(public_path, "tok3n")
    with Provider("XOAUTH2 PLAIN", tls=context) as there:
        there.secret = "tok3n"
        configure(suite, credentials, f"smtp.provider.example:{there.port} us@provider.example oauth-command:\n",
                  relayhost=f'"smtp.provider.example:{there.port}"', relay_processes=1,
                  relay_token_commands=f'{{"us@provider.example {program}"}}')
        send(suite, user)
        valija.wait_until(lambda: list(runs.iterdir()), 10, "the program")
        (relay,) = suite.processes("relay")
        os.kill(relay["pid"], signal.SIGKILL)
        valija.wait_until(lambda: len(list(runs.iterdir())) == 2, 20, "the program once more")
        (public_path / "go").touch()
        valija.wait_until(lambda: there.messages, 10, "the message")
        valija.wait_until(lambda: not any(pathlib.Path("/proc", p.name).exists() for p in runs.iterdir()), 10, "the end of both")
        assert len(there.messages) == 1 and not suite.delivered(user)
        assert "tok3n" not in suite.log()


@pytest.mark.long
def test_a_program_that_hangs_is_killed(world, public_path):
    """After half a minute, with all that it began; the mail waits, and other mail does not wait for it."""
    suite, context, credentials = world
    user = suite.new_user("sender")
    runs = public_path / "runs"
    runs.mkdir()
    runs.chmod(0o777)
    program = token_program(public_path, f"sleep 500 &\n: > {runs}/$!\n: > {runs}/$$\necho half a\nwait\n")
    with Provider("XOAUTH2 PLAIN", tls=context) as there, peer.Peer() as usual:
        other = suite.new_user("other")
        configure(suite, credentials, f"smtp.provider.example:{there.port} us@provider.example oauth-command:\n",
                  relayhost=f'"smtp.provider.example:{there.port}"', relay_processes=1, relay_token_commands=f'{{"us@provider.example {program}"}}',
                  sender_relayhosts=f'{{"{other} 127.0.0.1:{usual.port}"}}')
        begun, deferred = time.monotonic(), suite.log().count("dsn=4.7.0")
        send(suite, user)
        valija.wait_until(lambda: len(list(runs.iterdir())) == 2, 10, "the program")
        send(suite, other)
        valija.wait_until(lambda: usual.messages, 10, "the other's mail")
        assert suite.log().count("dsn=4.7.0") == deferred
        valija.wait_until(lambda: suite.log().count("dsn=4.7.0") > deferred, 60, "the deferral")
        assert time.monotonic() - begun >= 29 and "it took longer than 30 seconds" in suite.log()
        valija.wait_until(lambda: not any(pathlib.Path("/proc", p.name).exists() for p in runs.iterdir()), 5, "the end of both processes")
        assert not there.messages and not suite.delivered(user)


@pytest.mark.parametrize("text, reason", [
    ("echo no network >&2; exit 3\n", "it ended with status 3"), ("kill -9 $$\n", "signal 9"), ("exit 0\n", "did not print a token"),
    ("echo two words\n", "did not print a token"), ("printf '%05000d' 7\n", "did not print a token"),
    ("echo one; echo two\n", "did not print a token"), (None, "no program for this login")])
def test_no_token_is_no_bounce(world, public_path, text, reason):
    suite, context, credentials = world
    user = suite.new_user("sender")
    program = token_program(public_path, text or "exit 0\n")
    with Provider("XOAUTH2 PLAIN", tls=context) as there:
        login = "us@provider.example" if text else "other@provider.example"
        configure(suite, credentials, f"smtp.provider.example:{there.port} us@provider.example oauth-command:\n",
                  relayhost=f'"smtp.provider.example:{there.port}"', relay_token_commands=f'{{"{login} {program}"}}')
        before, deferred = suite.log().count(reason), suite.log().count("dsn=4.7.0")
        send(suite, user)
        valija.wait_until(lambda: suite.log().count("dsn=4.7.0") > deferred, 10, "the deferral")
        assert suite.log().count(reason) > before and "relay-token-failed" in suite.log()
        if "no network" in (text or ""):
            assert 'said="no network"' in suite.log() or "said=no network" in suite.log()
        assert not there.connections and not suite.delivered(user)
