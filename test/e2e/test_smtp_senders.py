"""Senders that others wrote: other mail servers, libraries of other languages, the mail commands of Unix."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

import mails
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

    def start(tls):
        for part in ("etc", "spool", "data", "log"):
            (directory / part).mkdir(parents=True)
        directory.chmod(0o755)
        shutil.chown(directory / "data", "postfix")
        (etc / "main.cf").write_text(POSTFIX.format(dir=directory, port=suite.port("smtp"), tls=tls))
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
