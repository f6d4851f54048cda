"""`valija net autoconfig`: what mail programs fetch, read by parsers that are not ours."""

import plistlib
import re
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest

import valija

THUNDERBIRD = ("mail/config-v1.1.xml", ".well-known/autoconfig/mail/config-v1.1.xml")
OUTLOOK = "{http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a}"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    place = tmp_path_factory.mktemp("web") / "mail"
    with valija.Instance(start=False, hostname="mail.example.org") as suite:
        suite.configure(port_base="0", public_address="203.0.113.1")
        said = suite.valija("net", "autoconfig", "--to", place).stdout.split()
        suite.ca = (suite.dir / "state/tls/ca.crt").read_bytes()
        yield suite, place, said


def profile(suite, place, tmp_path):
    """The signed profile, opened and verified by openssl against the instance's authority."""
    (tmp_path / "ca.crt").write_bytes(suite.ca)
    done = subprocess.run(["openssl", "smime", "-verify", "-inform", "DER", "-in",
                           place / "example.org/example.org.mobileconfig", "-CAfile", tmp_path / "ca.crt",
                           "-purpose", "any"], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return plistlib.loads(done.stdout)


def test_files(written):
    suite, place, said = written
    assert {str(p.relative_to(place)) for p in place.rglob("*") if p.is_file()} == set(said)
    assert set(said) >= {f"example.org/{name}" for name in (
        *THUNDERBIRD, "autodiscover/autodiscover.xml", ".well-known/mta-sts.txt", "records.zone", "nginx.conf",
        "apache.conf", "example.org.mobileconfig")}
    assert all(p.stat().st_mode & 0o777 == 0o644 for p in place.rglob("*") if p.is_file())


@pytest.mark.parametrize("name", THUNDERBIRD)
def test_thunderbird(written, name):
    root = ElementTree.parse(written[1] / "example.org" / name).getroot()
    assert root.tag == "clientConfig" and root.get("version") == "1.1"
    provider = root.find("emailProvider")
    assert provider.find("domain").text == "example.org"
    servers = [(s.get("type"), s.find("hostname").text, int(s.find("port").text), s.find("socketType").text,
                s.find("authentication").text, s.find("username").text) for s in provider if s.tag.endswith("Server")]
    same = ("password-cleartext", "%EMAILADDRESS%")
    assert servers == [("imap", "mail.example.org", 993, "SSL", *same),
                       ("smtp", "mail.example.org", 465, "SSL", *same),
                       ("smtp", "mail.example.org", 587, "STARTTLS", *same)]


def test_outlook(written):
    root = ElementTree.parse(written[1] / "example.org/autodiscover/autodiscover.xml").getroot()
    account = root.find(f"{OUTLOOK}Response/{OUTLOOK}Account")
    assert account.find(f"{OUTLOOK}AccountType").text == "email"
    found = [tuple(p.find(OUTLOOK + t).text for t in ("Type", "Server", "Port", "SSL", "AuthRequired"))
             for p in account.findall(f"{OUTLOOK}Protocol")]
    assert found == [("IMAP", "mail.example.org", "993", "on", "on"), ("SMTP", "mail.example.org", "465", "on", "on")]


def test_apple(written, tmp_path):
    told = profile(*written[:2], tmp_path)
    mail = told["PayloadContent"][0]
    assert told["PayloadType"] == "Configuration" and mail["PayloadType"] == "com.apple.mail.managed"
    assert (mail["IncomingMailServerHostName"], mail["IncomingMailServerPortNumber"],
            mail["IncomingMailServerUseSSL"]) == ("mail.example.org", 993, True)
    assert (mail["OutgoingMailServerHostName"], mail["OutgoingMailServerPortNumber"]) == ("mail.example.org", 465)
    assert told["PayloadIdentifier"].startswith("org.example.mail.") and "EmailAddress" not in mail
    assert told["PayloadUUID"] != mail["PayloadUUID"]
    for uuid in (told["PayloadUUID"], mail["PayloadUUID"]):
        assert re.fullmatch(r"[0-9A-F]{8}-[0-9A-F]{4}-5[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}", uuid)


def test_again_gives_the_same_uuids(written, tmp_path):
    suite, place, _ = written
    before = profile(suite, place, tmp_path)
    suite.valija("net", "autoconfig", "--to", place)
    assert profile(suite, place, tmp_path) == before


def test_policy_and_record_belong_together(written):
    suite, place, _ = written
    policy = (place / "example.org/.well-known/mta-sts.txt").read_bytes()
    assert policy.split(b"\r\n") == [b"version: STSv1", b"mode: testing", b"mx: mail.example.org", b"max_age: 604800",
                                     b""]
    import hashlib
    assert f"v=STSv1; id={hashlib.sha256(policy).hexdigest()[:16]}" in (place / "example.org/records.zone").read_text()


def test_only_what_is_offered(written, tmp_path):
    suite, _, _ = written
    suite.configure(services="{smtp, submission, imap}")
    suite.valija("net", "autoconfig", "--to", tmp_path / "web")
    text = (tmp_path / "web/example.org/mail/config-v1.1.xml").read_text()
    assert "<port>143</port>" in text and "<port>587</port>" in text and "SSL" not in text
    zone = (tmp_path / "web/example.org/records.zone").read_text()
    assert re.search(r"_imaps._tcp.example.org. +3600 IN SRV +0 0 0 \.", zone)
    assert re.search(r"_imap._tcp.example.org. +3600 IN SRV +10 1 143 mail", zone)


def test_a_directory_that_cannot_be(written):
    done = written[0].valija("net", "autoconfig", "--to", "/proc/none", check=False)
    assert done.returncode == 73 and "/proc/none" in done.stderr
