"""Senders that others wrote: other mail servers, libraries of other languages, the mail commands of Unix."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import threading

import pytest

import mails
import test_relay_peers
import valija

POSTFIX = """
compatibility_level = 3.6
queue_directory = {dir}/spool
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
data_directory = {dir}/data
mail_owner = postfix
setgid_group = postdrop
myhostname = sender.example
mydestination =
inet_interfaces = 127.0.0.1
maillog_file = {dir}/log/mail.log
maillog_file_prefixes = {dir}/log
relayhost = [127.0.0.1]:{port}
smtp_tls_security_level = {tls}
alias_maps =
"""


@pytest.fixture
def postfix(suite):
    """Postfix as a client of ours: start(tls) gives a function that hands it a message."""
    if os.getuid() != 0 or not shutil.which("postfix"):
        pytest.skip("needs root and postfix")
    directory = pathlib.Path("/tmp") / f"valija-postfix-{os.getpid()}-{id(suite)}"
    etc = directory / "etc"

    def postfix_command(what, check=True):
        subprocess.run(["postfix", "-c", etc, what], check=check, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start(tls, port=None):
        for part in ("etc", "spool", "data", "log"):
            (directory / part).mkdir(parents=True)
        directory.chmod(0o755)
        shutil.chown(directory / "data", "postfix")
        (etc / "main.cf").write_text(POSTFIX.format(dir=directory, port=port or suite.port("smtp"), tls=tls))
        lines = []
        for line in pathlib.Path("/usr/share/postfix/master.cf.dist").read_text().splitlines():
            fields = line.split()
            if len(fields) < 8 or line.startswith(("#", " ")) or fields[:2] == ["smtp", "inet"]:
                continue
            fields[4] = "n"
            lines.append("  ".join(fields))
        if not any(line.split()[0] == "postlog" for line in lines):
            lines.append("postlog unix-dgram n - n - 1 postlogd")
        (etc / "master.cf").write_text("\n".join(lines) + "\n")
        postfix_command("check")
        postfix_command("start")

        def send(sender, recipients, message, *more):
            valija.run(["sendmail", "-C", etc, "-i", "-f", sender, *more, *recipients],
                       stdin=message.replace(b"\r\n", b"\n"), env=dict(os.environ, MAIL_CONFIG=str(etc)))
        send.log = lambda: (directory / "log/mail.log").read_text()
        return send

    yield start
    postfix_command("stop", check=False)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize("tls", ["none", "encrypt"])
def test_postfix_delivers(suite, postfix, tls):
    """Many recipients in one group, dots, eight bits, DSN parameters; one of them is unknown, and only that one comes
    back."""
    users = [suite.new_user("pf") for _ in range(3)]
    send = postfix(tls)
    message = mails.with_attachment("bob@sender.example", users[0], size=200000)
    send("bob@sender.example", users + ["nobody-here@example.org"], message, "-N", "success,failure", "-V", "envid-17")
    valija.wait_until(lambda: all(suite.delivered(u) for u in users), 20, "the messages")
    for user in users:
        received, = (p.read_bytes() for p in suite.delivered(user))
        mails.assert_same(received, message)
        assert b"with ESMTP" + (b"S (TLS1.3" if tls == "encrypt" else b"") in received
    valija.wait_until(lambda: "status=bounced" in send.log(), 20, "the bounce of the unknown one")
    assert "No such user" in send.log()
    # Ours delivers when it has answered; that Postfix has read the answer, and logged it, comes later.
    valija.wait_until(lambda: send.log().count("status=sent") >= 3, 20, "what Postfix says of the others")


class Wire:
    """What lies between a sender and us: `said` has what the sender wrote, a piece for each of its packets."""

    def __init__(self, suite):
        self.said, self.suite = [], suite
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                one, _ = self.socket.accept()
                other = socket.create_connection((self.suite.host, self.suite.port("smtp")))
                for a, b, keep in ((one, other, self.said), (other, one, None)):
                    threading.Thread(target=self.carry, args=(a, b, keep), daemon=True).start()

    @staticmethod
    def carry(a, b, keep):
        with contextlib.suppress(OSError):
            while piece := a.recv(65536):
                if keep is not None:
                    keep.append(piece)
                b.sendall(piece)
            b.shutdown(socket.SHUT_WR)


@pytest.fixture
def wire(suite):
    w = Wire(suite)
    yield w
    w.socket.close()


def test_postfix_groups_its_commands(suite, postfix, wire):
    """PIPELINING by a client that others wrote: MAIL, each RCPT and DATA in one packet. Postfix takes BDAT, but does not say
    it, as the client of no version does: chunks come from Exim, below."""
    users = [suite.new_user("pp") for _ in range(3)]
    postfix("none", wire.port)("bob@sender.example", users, mails.plain("bob@sender.example", users[0]))
    valija.wait_until(lambda: all(suite.delivered(u) for u in users), 20, "the messages")
    (group,) = (piece for piece in wire.said if piece.startswith(b"MAIL FROM:"))
    assert group.count(b"RCPT TO:") == 3 and group.endswith(b"DATA\r\n")


EXIM = """exim_path = {program}
primary_hostname = sender.example
spool_directory = {dir}/spool
log_file_path = {dir}/log/%slog
pid_file_path = {dir}/pid
accept_8bitmime = true
begin routers
out:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = smtp
begin transports
smtp:
  driver = smtp
  port = {port}
  allow_localhost
  hosts_try_chunking = *
  hosts_avoid_tls = *
"""


def test_exim_sends_chunks(suite, wire, tmp_path):
    """CHUNKING and PIPELINING by Exim: the envelope and BDAT LAST in one packet, and nothing of the message is changed."""
    if os.getuid() != 0:
        pytest.skip("needs root to run Exim")
    for parent in (tmp_path, *list(tmp_path.parents)[:3]):
        parent.chmod(0o755)
    program = test_relay_peers.exim_program(tmp_path)
    for name, line in (("passwd", "Debian-exim:x:64101:64101::/nonexistent:/usr/sbin/nologin\n"), ("group", "Debian-exim:x:64101:\n")):
        text = pathlib.Path("/etc", name).read_text()
        (tmp_path / name).write_text(text if "Debian-exim:" in text else text + line)
    uid = int(re.search(r"^Debian-exim:[^:]*:(\d+):", (tmp_path / "passwd").read_text(), re.M).group(1))
    for part in ("spool", "log"):
        (tmp_path / part).mkdir()
        os.chown(tmp_path / part, uid, -1)
    (tmp_path / "conf").write_text(EXIM.format(program=program, dir=tmp_path, port=wire.port))
    users = [suite.new_user("ex") for _ in range(2)]
    message = mails.with_attachment("bob@sender.example", users[0], size=150000)
    valija.run(["unshare", "--mount", "sh", "-c", 'd=$1 p=$2; shift 2; mount --bind "$d/passwd" /etc/passwd && '
                'mount --bind "$d/group" /etc/group && exec "$p" -C "$d/conf" -odf -i -f bob@sender.example "$@"',
                "sh", tmp_path, program, *users], stdin=message.replace(b"\r\n", b"\n"))
    logs = "".join(p.read_text() for p in (tmp_path / "log").glob("*"))
    valija.wait_until(lambda: all(suite.delivered(u) for u in users), 20, f"the messages: {logs}")
    for user in users:
        received, = (p.read_bytes() for p in suite.delivered(user))
        mails.assert_same(received, message)
    said = b"".join(wire.said)
    assert re.search(rb"\r\nBDAT \d+ LAST\r\n", said) and b"\r\nDATA\r\n" not in said and logs.count(" K ") >= 1
    assert any(p.startswith(b"MAIL FROM:") and p.count(b"RCPT TO:") == 2 for p in wire.said)


NODE = """
const nodemailer = require('/usr/share/nodejs/nodemailer'), fs = require('fs');
const o = JSON.parse(fs.readFileSync(0));
const t = nodemailer.createTransport({ host: o.host, port: o.port, secure: o.secure, requireTLS: true,
  auth: { user: o.sender, pass: o.password }, tls: { ca: fs.readFileSync(o.ca) } });
t.sendMail({ from: o.sender, to: o.to, bcc: o.bcc, subject: 'Grüße ☃', text: '.\\n..\\nfrom node\\n',
  dsn: { id: 'node 1', return: 'headers', notify: ['failure', 'delay'], recipient: o.to } })
  .then(i => console.log(JSON.stringify({ accepted: i.accepted, response: i.response })))
  .catch(e => { console.error(e); process.exit(1); });
"""


@pytest.mark.parametrize("service", ["submission", "submissions"])
def test_nodemailer_submits(suite, service):
    if not shutil.which("node") or not pathlib.Path("/usr/share/nodejs/nodemailer").exists():
        pytest.skip("needs node-nodemailer")
    sender, to, hidden = suite.new_user(), suite.new_user(), suite.new_user()
    said = valija.run(["node", "-e", NODE], stdin=json.dumps({
        "host": suite.host, "port": suite.port(service), "secure": service == "submissions", "sender": sender,
        "password": suite.passwords[sender], "to": to, "bcc": hidden, "ca": suite.cafile}).encode())
    told = json.loads(said.stdout)
    assert set(told["accepted"]) == {to, hidden} and told["response"].startswith("250 2.0.0 ")
    for user in (to, hidden):
        received, = (p.read_bytes() for p in valija.wait_until(lambda: suite.delivered(user), what="the message"))
        assert b".\r\n..\r\nfrom node\r\n" in received and b"Bcc" not in received


def test_s_nail_submits(suite, tmp_path):
    if not shutil.which("s-nail"):
        pytest.skip("needs s-nail")
    sender, to = suite.new_user(), suite.new_user()
    valija.run(["s-nail", "-:/", "-Sv15-compat", "-Smta=smtp://%s:%d" % (suite.host, suite.port("submission")),
                "-Ssmtp-use-starttls", f"-Stls-ca-file={suite.cafile}", "-Stls-verify=strict", f"-Suser={sender}",
                f"-Spassword={suite.passwords[sender]}", "-Ssmtp-auth=plain", f"-Sfrom={sender}", "-Ssendwait", "-s", "from s-nail",
                to], stdin=b".x\n..\nhello\n", cwd=tmp_path, env=dict(os.environ, HOME=str(tmp_path)))
    received, = (p.read_bytes() for p in valija.wait_until(lambda: suite.delivered(to), what="the message"))
    assert b"\r\nSubject: from s-nail\r\n" in received and b"\r\n\r\n.x\r\n..\r\nhello\r\n" in received


PERL = """
use Net::SMTP;
my ($host, $port, $ca, $sender, $password, @to) = @ARGV;
my $s = Net::SMTP->new($host, Port => $port, Hello => 'perl.example') or die "no connection";
$s->starttls(SSL_ca_file => $ca) or die $s->message;
require MIME::Base64;
$s->command('AUTH', 'PLAIN', MIME::Base64::encode_base64("\\0$sender\\0$password", ''))->response() == 2 or die $s->message;
$s->mail($sender, Return => 'HDRS', Envelope => 'perl 1', Bits => '8') or die $s->message;
$s->recipient(@to, { Notify => ['SUCCESS', 'FAILURE'] }) or die $s->message;
$s->data("Subject: perl\\r\\n\\r\\n.dot\\r\\n") or die $s->message;
$s->quit;
"""


def test_perl_submits(suite):
    """Net::SMTP, with the parameters of DSN."""
    if subprocess.run(["perl", "-MNet::SMTP", "-MIO::Socket::SSL", "-e", "1"], check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("needs perl with IO::Socket::SSL")
    sender, to = suite.new_user(), suite.new_user()
    valija.run(["perl", "-e", PERL, suite.host, suite.port("submission"), suite.cafile, sender, suite.passwords[sender], to])
    received, = (p.read_bytes() for p in valija.wait_until(lambda: suite.delivered(to), what="the message"))
    assert b"\r\nSubject: perl\r\n\r\n.dot\r\n" in received
