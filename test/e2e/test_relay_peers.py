"""relay against a real server of another kind: Debian's Postfix, by DNS, with STARTTLS."""

import email
import email.policy
import os
import pathlib
import pwd
import re
import shutil
import socket
import subprocess

import pytest

import mails
import valija
import zone

pytestmark = [zone.needs_knot, pytest.mark.long, pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("postfix", path="/usr/sbin"), reason="needs root and postfix")]
ADDRESS = "127.0.0.71"
MAIN_CF = """compatibility_level = 3.6
queue_directory = {dir}/spool
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
data_directory = {dir}/data
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.postfix.example
mydestination =
inet_interfaces = all
inet_protocols = ipv4
mynetworks = 192.0.2.1/32
maillog_file = {dir}/log/mail.log
maillog_file_prefixes = {dir}/log
virtual_mailbox_domains = postfix.example
virtual_mailbox_base = {dir}/mail
virtual_mailbox_maps = texthash:{dir}/etc/mailboxes
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
virtual_transport = virtual
mailbox_size_limit = 0
virtual_mailbox_limit = 0
alias_maps =
smtpd_tls_security_level = may
smtpd_tls_received_header = yes
smtpd_tls_cert_file = {dir}/etc/crt
smtpd_tls_key_file = {dir}/etc/key
"""


@pytest.fixture(scope="module")
def postfix(tmp_path_factory):
    """(port, directory of the Maildirs)"""
    d = tmp_path_factory.mktemp("postfix")
    for parent in (d, *list(d.parents)[:3]):
        parent.chmod(0o755)
    owner = pwd.getpwnam("nobody")
    for part in ("etc", "spool", "data", "log", "mail/box"):
        (d / part).mkdir(parents=True)
    shutil.chown(d / "data", "postfix")
    for part in ("mail", "mail/box"):
        shutil.chown(d / part, "nobody")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "9",
                    "-keyout", d / "etc/key", "-out", d / "etc/crt", "-subj", "/CN=mx.postfix.example"], check=True, capture_output=True)
    with socket.create_server((ADDRESS, 0)) as probe:
        port = probe.getsockname()[1]
    (d / "etc/main.cf").write_text(MAIN_CF.format(dir=d, uid=owner.pw_uid, gid=owner.pw_gid))
    (d / "etc/mailboxes").write_text("box@postfix.example box/Maildir/\n")
    lines = []
    for line in pathlib.Path("/usr/share/postfix/master.cf.dist").read_text().splitlines():
        fields = line.split()
        if len(fields) >= 8 and not line.startswith(("#", " ")):
            fields[4] = "n"
            if fields[:2] == ["smtp", "inet"]:
                fields[0] = f"{ADDRESS}:{port}"
            lines.append("  ".join(fields))
    if not any(line.split()[0] == "postlog" for line in lines):
        lines.append("postlog unix-dgram n - n - 1 postlogd")
    (d / "etc/master.cf").write_text("\n".join(lines) + "\n")
    for what in ("check", "start"):
        valija.run(["postfix", "-c", d / "etc", what])
    try:
        yield port, d / "mail/box/Maildir/new"
    finally:
        subprocess.run(["postfix", "-c", d / "etc", "stop"], check=False, capture_output=True)


def test_postfix_takes_our_mail(postfix):
    port, box = postfix
    with zone.Zone(f"postfix.example. MX 10 mx.postfix.example.\nmx.postfix.example. A {ADDRESS}\n") as names, \
            valija.Instance(settings={**names.settings(), "relay_port": port, "relay_loopback": "yes"}) as suite:
        user = suite.new_user("friend")
        recipient = "box@postfix.example"
        sent = {"attachment": mails.with_attachment(user, recipient), "dots": mails.plain(user, recipient, "dots") + mails.TRICKY,
                "large": mails.plain(user, recipient, "large", 3000000)}
        with suite.smtp(user) as smtp:
            for message in sent.values():
                smtp.sendmail(user, [recipient], message, mail_options=["BODY=8BITMIME"])
            for n in range(50):
                smtp.sendmail(user, [recipient], mails.plain(user, recipient, f"many {n}"))
        valija.wait_until(lambda: box.exists() and len(list(box.iterdir())) == 53, 30, "all mail at Postfix")
        arrived = [p.read_bytes().replace(b"\n", b"\r\n") for p in box.iterdir()]
        for name, message in sent.items():
            body = message.partition(b"\r\n\r\n")[2]
            assert any(a.endswith(body) for a in arrived), name
        assert all(b"(using TLSv1.3" in a for a in arrived)
        # Someone it does not know: its own words come back.
        with suite.smtp(user) as smtp:
            smtp.sendmail(user, ["nobody@postfix.example"], mails.plain(user, "nobody@postfix.example"))
        (path,) = valija.wait_until(lambda: suite.delivered(user), 10, "the report")
        report = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        assert "User unknown in virtual mailbox table" in report.as_string()
        assert re.search(r"Status: 5\.1\.1", report.as_string())
        valija.wait_until(lambda: not any((suite.dir / "spool/queue").iterdir()), 10, "an empty queue")
