"""relay against real servers of other kinds: Debian's Postfix and Exim, by DNS, with STARTTLS."""

import contextlib
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

pytestmark = [zone.needs_knot, pytest.mark.long, pytest.mark.skipif(os.getuid() != 0, reason="needs root")]
needs_postfix = pytest.mark.skipif(not shutil.which("postfix", path="/usr/sbin"), reason="needs postfix")
ADDRESS, EXIM_ADDRESS = "127.0.0.71", "127.0.0.72"
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


EXIM_CONF = """exim_path = {program}
smtp_accept_queue_per_connection = 0
deliver_drop_privilege
primary_hostname = mx.exim.example
domainlist local_domains = exim.example
spool_directory = {dir}/spool
log_file_path = {dir}/log/%slog
pid_file_path = {dir}/exim.pid
local_interfaces = {address}
daemon_smtp_ports = {port}
tls_advertise_hosts = *
tls_certificate = {dir}/etc/crt
tls_privatekey = {dir}/etc/key
dsn_advertise_hosts = *
acl_smtp_rcpt = check_rcpt
acl_smtp_data = accept
begin acl
check_rcpt:
  accept domains = +local_domains
         local_parts = box
  deny message = No such person at this address
begin routers
all:
  driver = accept
  domains = +local_domains
  transport = maildir
begin transports
maildir:
  driver = appendfile
  directory = {dir}/mail/box/Maildir
  maildir_format
  create_directory
"""


def certificate(d, name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "9",
                    "-keyout", d / "etc/key", "-out", d / "etc/crt", "-subj", f"/CN={name}"], check=True, capture_output=True)


def exim_program(d):
    """Exim itself. Debian's package cannot be installed beside Postfix: its program is taken out of it, and nothing else."""
    found = shutil.which("exim4", path="/usr/sbin") or shutil.which("exim", path="/usr/sbin")
    if found:
        return found
    if shutil.which("apt-get"):
        subprocess.run(["apt-get", "-q", "download", "exim4-daemon-light"], cwd=d, check=False, capture_output=True, timeout=120)
        for package in d.glob("exim4-daemon-light_*.deb"):
            subprocess.run(["dpkg", "-x", package, d / "exim"], check=True)
            return d / "exim/usr/sbin/exim4"
    pytest.skip("needs Exim (Debian: exim4-daemon-light, installed or to be had by apt-get download)")


@pytest.fixture(scope="module")
def exim(tmp_path_factory):
    """(port, directory of the Maildir)"""
    d = tmp_path_factory.mktemp("exim")
    for parent in (d, *list(d.parents)[:3]):
        parent.chmod(0o755)
    for part in ("etc", "spool", "log", "mail/box"):
        (d / part).mkdir(parents=True)
    program = exim_program(d)
    certificate(d, "mx.exim.example")
    # The user that it is built for need not be there: in a mount namespace of its own it is.
    users = pathlib.Path("/etc/passwd").read_text()
    groups = pathlib.Path("/etc/group").read_text()
    if "Debian-exim:" not in users:
        users += "Debian-exim:x:64101:64101::/nonexistent:/usr/sbin/nologin\n"
        groups += "Debian-exim:x:64101:\n"
    (d / "etc/passwd").write_text(users)
    (d / "etc/group").write_text(groups)
    uid = int(re.search(r"^Debian-exim:[^:]*:(\d+):", users, re.M).group(1))
    for part in ("spool", "log", "etc/key", "mail/box"):
        os.chown(d / part, uid, -1)
    with socket.create_server((EXIM_ADDRESS, 0)) as probe:
        port = probe.getsockname()[1]
    (d / "etc/exim.conf").write_text(EXIM_CONF.format(dir=d, port=port, address=EXIM_ADDRESS, program=program))
    process = subprocess.Popen(["unshare", "--mount", "sh", "-c", 'mount --bind "$1/etc/passwd" /etc/passwd && '
                                'mount --bind "$1/etc/group" /etc/group && exec "$2" -bdf -q1m -C "$1/etc/exim.conf"', "sh", d, program],
                               stdin=subprocess.DEVNULL, stdout=open(d / "said", "wb"), stderr=subprocess.STDOUT)
    def answers():
        assert process.poll() is None, (d / "said").read_text()
        with contextlib.suppress(OSError), socket.create_connection((EXIM_ADDRESS, port), 1) as sock:
            return sock.recv(100).startswith(b"220")
    try:
        valija.wait_until(answers, 20, "Exim")
        yield port, d / "mail/box/Maildir/new"
    finally:
        process.terminate()
        process.wait(10)


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
    certificate(d, "mx.postfix.example")
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


def takes_our_mail(kind, address, port, box, tls, unknown, status):
    with zone.Zone(f"{kind}.example. MX 10 mx.{kind}.example.\nmx.{kind}.example. A {address}\n") as names, \
            valija.Instance(settings={**names.settings(), "relay_port": port, "relay_loopback": "yes"}) as suite:
        user = suite.new_user("friend")
        recipient = f"box@{kind}.example"
        sent = {"attachment": mails.with_attachment(user, recipient), "dots": mails.plain(user, recipient, "dots") + mails.TRICKY,
                "large": mails.plain(user, recipient, "large", 3000000)}
        with suite.smtp(user) as smtp:
            for message in sent.values():
                smtp.sendmail(user, [recipient], message, mail_options=["BODY=8BITMIME"])
            for n in range(50):
                smtp.sendmail(user, [recipient], mails.plain(user, recipient, f"many {n}"))
        valija.wait_until(lambda: box.exists() and len(list(box.iterdir())) == 53, 30, f"all mail at {kind}")
        arrived = [p.read_bytes().replace(b"\n", b"\r\n") for p in box.iterdir()]
        for name, message in sent.items():
            body = message.partition(b"\r\n\r\n")[2]
            assert any(a.endswith(body) for a in arrived), name
        assert all(tls in a for a in arrived)
        # Someone it does not know: its own words come back.
        with suite.smtp(user) as smtp:
            smtp.sendmail(user, [f"nobody@{kind}.example"], mails.plain(user, f"nobody@{kind}.example"))
        (path,) = valija.wait_until(lambda: suite.delivered(user), 10, "the report")
        report = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        assert unknown in report.as_string()
        assert f"Status: {status}" in report.as_string()
        valija.wait_until(lambda: not any((suite.dir / "spool/queue").iterdir()), 10, "an empty queue")


@needs_postfix
def test_postfix_takes_our_mail(postfix):
    takes_our_mail("postfix", ADDRESS, *postfix, b"(using TLSv1.3", "User unknown in virtual mailbox table", "5.1.1")


def test_exim_takes_our_mail(exim):
    takes_our_mail("exim", EXIM_ADDRESS, *exim, b"(TLS1.3)", "No such person at this address", "5.0.0")
