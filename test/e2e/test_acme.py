"""A certificate by ACME (RFC 8555): certbot, the test server pebble, and the deploy hook, end to end."""

import json
import os
import shutil
import socket
import subprocess

import pytest

import valija
from test_cert import HOOK, der, fingerprint
from test_tls import openssl


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture
def pebble(tmp_path):
    """The address of a running server, and the file of the authority that vouches for it."""
    key, crt = tmp_path / "pebble.key", tmp_path / "pebble.crt"
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", crt,
            "-subj", "/CN=localhost", "-days", "2", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    port = free_port()
    (tmp_path / "pebble.json").write_text(json.dumps({"pebble": {
        "listenAddress": f"127.0.0.1:{port}", "managementListenAddress": f"127.0.0.1:{free_port()}",
        "certificate": str(crt), "privateKey": str(key), "httpPort": free_port(), "tlsPort": free_port(),
        "ocspResponderURL": "", "externalAccountBindingRequired": False}}))
    server = subprocess.Popen(["pebble", "-config", tmp_path / "pebble.json"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL,
                              env={"PEBBLE_VA_ALWAYS_VALID": "1", "PEBBLE_VA_NOSLEEP": "1", "PATH": os.environ["PATH"]})

    def answers():
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            return False

    valija.wait_until(answers, 20, "pebble")
    yield f"https://localhost:{port}/dir", crt
    server.terminate()
    server.wait()


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("pebble") or not shutil.which("certbot"), reason="pebble or certbot is not installed")
@pytest.mark.skipif(os.getuid() != 0, reason="certbot's hook changes root's files")
def test_certbot_gets_a_certificate_and_hands_it_over(tmp_path, pebble):
    server, authority = pebble
    with valija.Instance(hostname="mail.example.org") as suite:
        before = fingerprint(suite)
        env = {"PATH": f"{suite.command.parent}:/usr/sbin:/usr/bin:/sbin:/bin", "VALIJA_DIR": str(suite.dir),
               "REQUESTS_CA_BUNDLE": str(authority), "HOME": str(tmp_path)}
        common = ["certbot", "--config-dir", tmp_path / "conf", "--work-dir", tmp_path / "work", "--logs-dir", tmp_path / "log",
                  "--non-interactive", "--server", server]
        hooks = ["--manual", "--preferred-challenges", "http", "--manual-auth-hook", "true", "--deploy-hook", HOOK]
        done = subprocess.run([*common, "certonly", *hooks, "--agree-tos", "--register-unsafely-without-email",
                               "-d", "mail.example.org"], env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        chain = tmp_path / "conf/live/mail.example.org/fullchain.pem"
        valija.wait_until(lambda: fingerprint(suite) == der(chain.read_bytes()), 20, "the certificate in service")
        first = fingerprint(suite)
        assert first != before
        # Its renewal comes the same way.
        done = subprocess.run([*common, "renew", "--force-renewal", "--no-random-sleep-on-renew"], env=env,
                              capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        valija.wait_until(lambda: fingerprint(suite) == der(chain.read_bytes()) != first, 20, "the renewed one")
        # And back.
        suite.valija("cert", "rollback")
        valija.wait_until(lambda: fingerprint(suite) == first, 20, "the first one again")


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("pebble") or not shutil.which("uacme"), reason="pebble or uacme is not installed")
@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("unshare"), reason="mounts need root")
def test_uacme_gets_a_certificate_and_hands_it_over(tmp_path, pebble):
    """The other client of valija-certificates(7). It trusts the system's authorities alone: those are the test's, in a
    mount namespace of its own."""
    server, authority = pebble
    trusted = "/etc/ssl/certs/ca-certificates.crt"
    hook = tmp_path / "challenge"
    hook.write_text('#!/bin/sh\ntest "$2" = http-01\n')
    hook.chmod(0o755)
    with valija.Instance(hostname="mail.example.org") as suite:
        before = fingerprint(suite)
        env = {"PATH": f"{suite.command.parent}:/usr/sbin:/usr/bin:/sbin:/bin", "VALIJA_DIR": str(suite.dir), "HOME": str(tmp_path)}
        conf = tmp_path / "uacme"
        common = ["uacme", "--acme-url", server, "--confdir", conf, "--yes", "--hook", hook]

        def uacme(*more):
            argv = ["unshare", "--mount", "sh", "-c", f'mount --bind "{authority}" {trusted} && exec "$@"', "sh",
                    *map(str, common), *more]
            done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stdout + done.stderr

        def deploy():
            chain = conf / "mail.example.org/cert.pem"
            subprocess.run([HOOK, chain, conf / "private/mail.example.org/key.pem"], env=env, check=True, capture_output=True)
            return der(chain.read_bytes())

        uacme("new")
        uacme("issue", "mail.example.org")
        first = deploy()
        valija.wait_until(lambda: fingerprint(suite) == first, 20, "the certificate in service")
        assert first != before
        uacme("--force", "issue", "mail.example.org")
        second = deploy()
        assert second != first
        valija.wait_until(lambda: fingerprint(suite) == second, 20, "the renewed one")
