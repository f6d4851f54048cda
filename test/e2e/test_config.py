"""A wrong configuration is refused with file, line and reason, and never loaded over a running one."""

import socket

import pytest

import mails
import valija

# What is wrong, and a word that the reason must hold.
WRONG = {
    "unknown option": ("colour = blue", "colour"),
    "number too large": ("smtpd_processes = 65", "64"),
    "number too small": ("recipients = 99", "100"),
    "not a number": ("message_size_bytes = plenty", "message_size_bytes"),
    "negative": ("connections = -1", "connections"),
    "beyond 64 bits": ("connections = 99999999999999999999", "connections"),
    "unknown service": ('services = {"smtp", "pop3"}', "pop3"),
    "not an address": ('listen = {"300.1.2.3"}', "300.1.2.3"),
    "not a domain": ('domains = {"exam ple.org"}', "exam ple.org"),
    "no such level": ('log_level = "loud"', "loud"),
    "syntax": ("hostname hostname", "hostname"),
    "certificate that is not there": ('tls_certificate = "/nonexistent/certificate.pem"', "/nonexistent/certificate.pem"),
    "certificates without keys": ('tls_certificate = {"/etc/passwd", "/etc/passwd"}', "each certificate has its key"),
    "no such service": ('tls_default = {"pop3=mail.example.org"}', "pop3"),
    "authorities without": ("tls_client_required = yes", "tls_client_ca"),
    "no separator of mailboxes": ('imap_separator = "x"', "imap_separator"),
    "no prefix of mailboxes": ('imap_prefix = "INBOX"', "imap_prefix"),
    "open quotation mark": ('hostname = "unfinished', "valija.conf"),
}


@pytest.fixture(scope="module")
def configured():
    with valija.Instance() as instance:
        instance.user_add("reader")
        yield instance


@pytest.fixture
def spoiled(configured, request):
    """valija.conf with a wrong last line; mended afterwards."""
    good = configured.conf.read_text()
    line, word = WRONG[request.param]
    name = line.split("=")[0].split()[0]
    kept = [l for l in good.splitlines() if l.split("=")[0].strip() != name]
    configured.conf.write_text("\n".join([*kept, line]) + "\n")
    configured.good = good
    yield configured, len(kept) + 1, word
    configured.conf.write_text(good)


@pytest.mark.parametrize("spoiled", WRONG, indirect=True)
def test_check_and_reload_refuse(spoiled):
    instance, line, word = spoiled
    master, family = instance.master_pid(), set(instance.pids())
    for command in ("check", "reload"):
        done = instance.valija(command, check=False)
        said = done.stdout + done.stderr
        assert done.returncode != 0, (command, said)
        assert f"valija.conf:{line}: " in said or "unfinished" in instance.conf.read_text(), (command, said)
        assert word in said, (command, said)
    assert instance.master_pid() == master and family <= set(instance.pids())
    with instance.imap("reader@example.org") as imap:
        assert imap.select("INBOX")[0] == "OK"


@pytest.mark.parametrize("spoiled", ["unknown option", "syntax", "not an address"], indirect=True)
def test_start_refuses(spoiled):
    instance, line, word = spoiled
    instance.stop()
    done = instance.valija("start", check=False)
    said = done.stdout + done.stderr
    assert done.returncode not in (0, 70) and f"valija.conf:{line}: " in said and word in said
    assert not instance.pids()
    instance.conf.write_text(instance.good)
    instance.start()


def test_a_good_configuration_is_accepted(configured):
    assert configured.valija("check").returncode == 0


def test_reload_takes_effect_without_dropping_a_session(configured):
    with configured.imap("reader@example.org") as imap, configured.smtp(service="smtp") as smtp:
        imap.select("INBOX")
        smtp.ehlo()
        before = {p["pid"] for p in configured.status()}
        configured.configure(message_size_bytes=123456)
        configured.valija("reload")
        with configured.smtp(service="smtp") as new:
            new.ehlo()
            assert new.esmtp_features["size"] == "123456"
        assert imap.noop()[0] == "OK"
        assert smtp.noop()[0] == 250
        assert {p["pid"] for p in configured.status()} >= before


def test_new_certificate_for_new_connections_only(own_suite, tmp_path):
    """A certificate of another authority is put in: reload, and who is connected stays connected."""
    user = own_suite.new_user("tls")
    old = own_suite.imap(user)
    ca = tmp_path / "ca"
    valija.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=Other CA",
                "-keyout", f"{ca}.key", "-out", f"{ca}.crt"])
    valija.run(["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout",
                tmp_path / "server.key", "-out", tmp_path / "server.csr"])
    (tmp_path / "names").write_text("subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
    valija.run(["openssl", "x509", "-req", "-in", tmp_path / "server.csr", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key",
                "-CAcreateserial", "-days", "2", "-extfile", tmp_path / "names", "-out", tmp_path / "server.crt"])
    own_suite.configure(tls_certificate=f'"{tmp_path}/server.crt"', tls_key=f'"{tmp_path}/server.key"')
    own_suite.valija("reload")
    assert old.noop()[0] == "OK"
    with pytest.raises(Exception, match="verify failed"):
        own_suite.imap(user)
    own_suite.env["CAFILE"] = f"{ca}.crt"
    with own_suite.imap(user) as imap:
        assert imap.select("INBOX")[0] == "OK"
    assert old.noop()[0] == "OK"
    old.logout()


def test_port_in_use(tmp_path):
    """The message says which address and port."""
    instance = valija.Instance(start=False)
    try:
        with socket.socket() as squatter:
            squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            squatter.bind(("127.0.0.1", instance.port("imaps")))
            squatter.listen()
            done = instance.valija("start", check=False)
            said = done.stdout + done.stderr
            assert done.returncode != 0
            assert str(instance.port("imaps")) in said and "in use" in said
            assert not instance.pids()
    finally:
        instance.close()


def test_three_lines_suffice(own_suite):
    """hostname, domains and the port base: everything else has a default."""
    own_suite.conf.write_text(f'hostname = "localhost"\ndomains = {{"{valija.DOMAIN}"}}\n'
                              f"port_base = {own_suite.ports.base}\n")
    assert own_suite.valija("check").returncode == 0
    own_suite.stop()
    own_suite.start()
    user = own_suite.new_user("three")
    own_suite.receive("a@elsewhere.example", [user], mails.plain("a@elsewhere.example", user))
    assert len(own_suite.delivered(user)) == 1


def test_passwords_are_never_arguments(configured):
    done = configured.valija("user", "add", "x@example.org", "secret", check=False)
    assert done.returncode == 64
