"""DKIM: what one of ours submits for elsewhere is signed; another implementation verifies it."""

import json
import re
import shutil
import subprocess
import time

import pytest

import mails
import valija

dkim = pytest.importorskip("dkim", reason="python3-dkim is not installed")

DOMAIN = "example.org"


def make_key(suite, selector, algorithm):
    done = suite.valija("cert", "dkim", DOMAIN, "--selector", selector, "--algorithm", algorithm, "--json")
    return json.loads(done.stdout)


def configure(suite, *members, code=0):
    """The reload's exit code is as expected."""
    suite.configure(dkim="{" + ", ".join(f'"{m}"' for m in members) + "}")
    done = suite.valija("reload", check=False)
    assert done.returncode == code, done.stderr


def verifies(message, keys, index=0):
    def txt(name, timeout=5):
        for key in keys:
            if name.decode().rstrip(".") == f"{key['selector']}._domainkey.{key['domain']}":
                return key["record"].encode()
        return None
    return dkim.DKIM(message).verify(idx=index, dnsfunc=txt)


def arrived(suite, user, seconds=20):
    for _ in range(seconds * 10):
        files = suite.delivered(user)
        if files:
            return files[0].read_bytes()
        time.sleep(0.1)
    raise AssertionError("nothing arrived" + suite.log_tail(40))


@pytest.fixture(scope="module")
def signing():
    instance = valija.Instance()
    keys = [make_key(instance, "r1", "rsa"), make_key(instance, "e1", "ed25519")]
    configure(instance, "example.org:r1", "example.org:e1:ed25519")
    yield instance, keys
    left = instance.close()
    assert not left


def submit(suite, sender, recipients, message, **more):
    with suite.smtp(user=sender, service="submission") as smtp:
        return smtp.sendmail(sender, recipients, message, **more)


@pytest.mark.parametrize("body", [b"plain\r\n", b"", b"\r\n\r\n", b"  odd \t blanks  \r\n\r\n \r\nx\r\n\r\n\r\n",
                                  b"0123456789" * 70000 + b"\r\n", b"\xc3\xa4\r\n"], ids=range(6))
def test_both_signatures_verify(signing, body):
    suite, keys = signing
    sender, other = suite.new_user("signer"), suite.new_user("reader")
    message = (b"From: \"A\" <%s>\r\nTo: %s\r\nSubject: signed\r\n  and folded\r\nDate: Mon, 2 Jan 2006 15:04:05 +0000\r\n"
               b"Message-ID: <1@x>\r\n\r\n" % (sender.encode(), other.encode())) + body
    submit(suite, sender, [other, "far@elsewhere.example"], message)
    got = arrived(suite, other)
    assert got.count(b"DKIM-Signature:") == 2
    assert verifies(got, keys, 0) and verifies(got, keys, 1)
    changed = got.replace(b"Subject: signed", b"Subject: zigned")
    assert not verifies(changed, keys, 0) and not verifies(changed, keys, 1)
    added = got.replace(b"Subject: signed", b"From: <evil@elsewhere.example>\r\nSubject: signed")
    assert not verifies(added, keys, 0)
    # DSN, Return-Path and the like come above; what is between the signatures and From is Received alone
    assert b"Received:" in got


@pytest.mark.skipif(not shutil.which("opendkim"), reason="opendkim is not installed")
def test_a_third_implementation_verifies_both(signing, tmp_path):
    """opendkim, with the records that valija cert dkim printed in place of the DNS."""
    suite, keys = signing
    sender, other = suite.new_user("signer"), suite.new_user("reader")
    submit(suite, sender, [other, "far@elsewhere.example"],
           b"From: %s\r\nTo: %s\r\nSubject: a third\r\n\r\nhello\r\n" % (sender.encode(), other.encode()))
    message = arrived(suite, other)
    (tmp_path / "data").write_text("".join(f"{k['selector']}._domainkey.{k['domain']} {k['record']}\n" for k in keys))
    (tmp_path / "conf").write_text(f"TestDNSData file:{tmp_path}/data\nMode v\n")

    def says(content):
        (tmp_path / "message").write_bytes(content)
        done = subprocess.run(["opendkim", "-x", tmp_path / "conf", "-v", "-v", "-t", tmp_path / "message"],
                              capture_output=True, text=True, timeout=30)
        return done.stdout + done.stderr

    for algorithm in ["rsa-sha256", "ed25519-sha256"]:
        assert re.search(rf"dkim=pass[^;]* header.a={algorithm} ", says(message)), algorithm
    changed = says(message.replace(b"hello", b"hallo"))
    assert "dkim=pass" not in changed and "signature verification failed" in changed


def test_not_signed_for_mailboxes_here_nor_for_other_domains(signing):
    suite, keys = signing
    sender, other = suite.new_user("signer"), suite.new_user("reader")
    submit(suite, sender, [other], mails.plain(sender, other, "local"))
    assert b"DKIM-Signature" not in arrived(suite, other)
    third = suite.new_user("reader")
    message = mails.plain("someone@unsigned.example", third, "foreign From")
    submit(suite, sender, [third, "far@elsewhere.example"], message)
    assert b"DKIM-Signature" not in arrived(suite, third)


def test_strangers_mail_is_not_signed(signing):
    suite, keys = signing
    other = suite.new_user("reader")
    suite.receive("a@example.org", [other], mails.plain("a@example.org", other, "from a stranger"))
    assert b"DKIM-Signature" not in arrived(suite, other)


def test_command_and_mistakes(signing):
    suite, keys = signing
    again = make_key(suite, "r1", "rsa")
    assert again["record"] == keys[0]["record"]
    for bad in [["../x"], ["example.org", "--selector", "a/b"], ["example.org", "--algorithm", "dsa"], [""]]:
        assert suite.valija("cert", "dkim", *bad, check=False).returncode == 64
    configure(suite, "example.org:r1", "example.org:missing", code=78)
    configure(suite, "example.org:e1", code=78)      # an Ed25519 key, called RSA
    configure(suite, "nonsense", code=78)
    # The key of a certificate signs no mail: who asks for that chooses hashes freely.
    where = suite.dir / "state/tls"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", where / "both.key", "-out",
                    where / "both.crt", "-subj", "/CN=both.example", "-days", "9", "-addext", "subjectAltName=DNS:both.example",
                    "-addext", "keyUsage=digitalSignature"], check=True, capture_output=True)
    shutil.copy(where / "both.key", where / f"dkim/{DOMAIN}/both.key")
    suite.configure(tls_certificate=f'{{"{where}/server.crt", "{where}/both.crt"}}',
                    tls_key=f'{{"{where}/server.key", "{where}/both.key"}}')
    configure(suite, "example.org:r1", "example.org:e1:ed25519")
    suite.configure(dkim='{"example.org:both"}')
    done = suite.valija("reload", check=False)
    assert done.returncode == 78 and "a key is that of a TLS certificate" in done.stderr, done
    suite.configure(tls_certificate=f'"{where}/server.crt"', tls_key=f'"{where}/server.key"')
    configure(suite, "example.org:r1", "example.org:e1:ed25519")
