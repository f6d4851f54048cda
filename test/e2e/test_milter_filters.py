"""Filters that others wrote, from the distribution: rspamd, clamav-milter, opendmarc (opendkim: test_milter.py). Each with a
private configuration, without network, over a UNIX socket or TCP."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess

import pytest

import mails
import valija
from test_milter import received, send

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="the filters are started as root")


@contextlib.contextmanager
def running(*argv, until, seconds=60):
    """A filter in the foreground, once until() is true."""
    if not shutil.which(argv[0]):
        pytest.skip(f"{argv[0]} is not installed")
    with subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        try:
            valija.wait_until(lambda: process.poll() is not None or until(), seconds, argv[0])
            assert process.poll() is None, f"{argv[0]} ended"
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def answering(path):
    """Does somebody listen at that UNIX socket? (A name is there before: clamd binds, then listens.)"""
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(str(path)) == 0


def listening(port):
    """Does somebody listen there?"""
    return f"0100007F:{port:04X} 00000000:0000 0A" in pathlib.Path("/proc/net/tcp").read_text()


@pytest.fixture
def place(own_suite):
    directory = own_suite.tmp / "filter"
    directory.mkdir()
    directory.chmod(0o755)
    return directory


def use(suite, *filters):
    """These filters for strangers' mail; a user to write to."""
    where = "{" + ", ".join(f'"{f}"' for f in filters) + "}"
    suite.configure(smtp_milters=where, submission_milters=where)
    suite.valija("reload")
    valija.wait_until(lambda: suite.processes("milter"), what="milter")
    return suite.new_user()


def lines(user, *body, subject="one"):
    """A message with these lines."""
    head = f"From: <a@elsewhere.example>\r\nTo: <{user}>\r\nSubject: {subject}\r\nDate: Sat, 28 Nov 2026 12:00:00 +0000\r\nMessage-ID: <x@y.example>\r\n\r\n"
    return head.encode() + b"".join(line.encode() + b"\r\n" for line in body)


RSPAMD = """
options {{ url_tld = "{dir}/tld"; disable_hyperscan = true; pidfile = "{dir}/pid"; tempdir = "{dir}"; cache_file = "{dir}/cache";
  history_file = "{dir}/history"; filters = ""; control_socket = "{dir}/control";
  dns {{ nameserver = ["127.0.0.1:1"]; timeout = 0.1s; retransmits = 1; }} }}
logging {{ type = "file"; filename = "{dir}/log"; level = "info"; }}
actions {{ reject = 15; add_header = 6; rewrite_subject = 8; subject = "[SPAM] %s"; }}
lua = "{dir}/rules.lua";
worker {{ type = "rspamd_proxy"; bind_socket = "{dir}/socket mode=0666"; milter = yes; count = 1; timeout = 20s;
  upstream "local" {{ default = yes; self_scan = yes; }} }}
"""
RULES = """
for _, rule in ipairs({{"marked", 7}, {"renamed", 9}}) do
  rspamd_config:register_symbol({name = "TEST_" .. rule[1]:upper(), score = rule[2], group = "test",
    callback = function(task) return task:get_header("Subject") == rule[1] end})
end
"""
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


def test_rspamd(own_suite, place):
    """By UNIX socket: what it refuses is refused in its words, what it marks is marked, what it calls clean comes as it was
    sent; for one recipient and for several."""
    (place / "tld").write_text("example\norg\n")
    (place / "rules.lua").write_text(RULES)
    (place / "conf").write_text(RSPAMD.format(dir=place))
    with running("rspamd", "-f", "-i", "-c", place / "conf", until=(place / "socket").exists):
        user = use(own_suite, f"unix:{place}/socket")
        clean = lines(user, "nothing to see", ".", "here")
        assert send(own_suite, user, clean)[0] == 250
        assert received(own_suite, user).endswith(clean)
        code, words = send(own_suite, user, lines(user, GTUBE))
        assert code == 554 and words.startswith(b"5.7.1") and b"Gtube" in words
        marked, renamed = own_suite.new_user(), own_suite.new_user()
        assert send(own_suite, marked, lines(marked, "x", subject="marked"))[0] == 250
        assert b"\r\nX-Spam: Yes\r\n" in received(own_suite, marked)
        assert send(own_suite, renamed, lines(renamed, "x", subject="renamed"))[0] == 250
        mail = received(own_suite, renamed)
        assert mail.count(b"\r\nSubject: ") == 1 and b"\r\nSubject: [SPAM] renamed\r\n" in mail
        with own_suite.smtp(user) as smtp:
            smtp.sendmail(user, [marked, renamed], mails.plain(user, marked))
        valija.wait_until(lambda: len(own_suite.delivered(marked)) == 2, what="the clean one")


CLAMD = """
LocalSocket {dir}/clamd
LocalSocketMode 666
DatabaseDirectory {dir}/db
Foreground yes
User root
SelfCheck 0
"""
CLAMAV_MILTER = """
ClamdSocket unix:{dir}/clamd
MilterSocket inet:{port}@127.0.0.1
Foreground yes
User root
OnInfected {what}
RejectMsg infected with %v
AddHeader Replace
"""


@pytest.mark.parametrize("what", ["Reject", pytest.param("Quarantine", marks=pytest.mark.long)])
def test_clamav_milter(own_suite, place, what):
    """By TCP, with a database of one signature: what it finds is refused in its words, or held; what is clean says so."""
    port = own_suite.ports.base + 99
    (place / "db").mkdir()
    (place / "db/test.ndb").write_text("Valija.Test:0:*:" + b"VALIJA-TEST-VIRUS".hex() + "\n")
    (place / "clamd.conf").write_text(CLAMD.format(dir=place))
    (place / "milter.conf").write_text(CLAMAV_MILTER.format(dir=place, port=port, what=what))
    with running("clamd", "-c", place / "clamd.conf", until=lambda: answering(place / "clamd")), \
            running("clamav-milter", "-c", place / "milter.conf", until=lambda: listening(port)):
        user = use(own_suite, f"inet:127.0.0.1:{port}")
        assert send(own_suite, user, lines(user, "clean", *["x" * 70] * 3000))[0] == 250
        mail = received(own_suite, user)
        assert b"\r\nX-Virus-Status: Clean\r\n" in mail and mail.endswith(b"x" * 70 + b"\r\n")
        said = send(own_suite, user, lines(user, "VALIJA-TEST-VIRUS"))
        if what == "Reject":
            assert said[0] == 550 and b"infected with Valija.Test" in said[1], said
        else:
            assert said[0] == 250
            assert user in own_suite.valija("queue", "list").stdout and "quarantine=" in own_suite.log()
        assert len(own_suite.delivered(user)) == 1


OPENDMARC = """
AuthservID mail.example
TrustedAuthservIDs mail.example
Syslog false
SPFSelfValidate false
DNSTimeout 1
IgnoreHosts {dir}/nobody
"""


@pytest.mark.long
def test_opendmarc(own_suite, place):
    """By TCP, behind another filter, whose Authentication-Results field it reads: it adds its own on top."""
    port = own_suite.ports.base + 98
    (place / "nobody").write_text("192.0.2.1\n")
    (place / "conf").write_text(OPENDMARC.format(dir=place))
    with running("opendmarc", "-f", "-c", place / "conf", "-p", f"inet:{port}@127.0.0.1", until=lambda: listening(port)):
        user = use(own_suite, f"inet:127.0.0.1:{port}")
        message = b"Authentication-Results: mail.example; spf=pass smtp.mailfrom=a@elsewhere.example\r\n" + lines(user, "hello")
        assert send(own_suite, user, message)[0] == 250
        mail = received(own_suite, user)
        assert b"\r\nAuthentication-Results: mail.example; dmarc=" in mail and mail.endswith(b"\r\n\r\nhello\r\n")
